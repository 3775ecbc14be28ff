"""Arithmetic beyond the working precision, for devices that have no wider dtype to offer.

A number is an unevaluated sum (hi, lo) of two numbers of one dtype, |lo| at most half a unit in the
last place of hi: about 106 bits in float64, 48 in float32. Two kinds of tools:

- error-free transformations, element by element: `two_sum`, `split`, `exact_products`, and what is
  made of them (`add`, `multiply`, `total`);
- matrix products by exact slices (Ozaki's scheme): operands are cut into slices of so few bits that
  every product and every partial sum of a matrix product is a number of the dtype, whatever the
  order of summation. The device's own matrix product is then exact, and only a few matrices remain
  to be added with care (`slices`, `matmul`, `gram_words`, `distill`).

Compilers are the danger. Whatever multiplies and adds may become one fused operation that skips the
rounding of the product, and an expression such as (x + c) − c is "simplified" where c is a constant
of the program. Hence two rules here, which hold under `jax.jit` as well: every product that enters
a sum is exact itself, so that fusing changes nothing; and constants that are added and taken away
again are made of the data. Dekker's product keeps neither and is wrong when compiled.

Exactness ends where numbers underflow or overflow: operands should be scaled to near 1 by powers of
two. A unit that computes float32 products in fewer bits must be told not to, as `Backend.matmul`
does.

References: T. Ozaki, T. Ogita, S. Oishi and S. M. Rump, Numerical Algorithms 59, 2012; T. Ogita,
S. M. Rump and S. Oishi, SIAM J. Sci. Comput. 26, 2005.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import Core, apply
from ..division import Division, problems
from ..registry import operation
from ._scaling import adjoint, matrices, power

__all__ = [
    "Cut",
    "add",
    "block_rows",
    "both",
    "cut_for",
    "distill",
    "exact_products",
    "fast_two_sum",
    "from_real_rows",
    "gram_extended",
    "gram_words",
    "in_blocks",
    "level_sums",
    "matmul",
    "multiply",
    "pair_matmul",
    "pair_slices",
    "power_above",
    "precision",
    "product_words",
    "real_form",
    "slice_bits",
    "slices",
    "split",
    "total",
    "two_sum",
    "words",
]

Array = Any
# Rows of a block of `matmul` and `gram_words`: more rows leave fewer bits for each slice.
_BLOCK = {53: 256, 24: 64}
# Of `distill`.
_PASSES = 3


def precision(be: Backend, dtype: Any) -> int:
    """Bits of the significand: 53 for float64 and complex128, 24 for float32 and complex64."""
    return 1 - round(log2(float(be.xp.finfo(dtype).eps)))


# -- error-free transformations --------------------------------------------------------------------


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """(s, e) with s = fl(a + b) and s + e = a + b exactly; complex arrays part by part."""
    s = a + b
    other = s - a
    return s, (a - (s - other)) + (b - other)


def fast_two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """As `two_sum`, where |a| >= |b| or a is 0, element by element."""
    s = a + b
    return s, b - (s - a)


def split(be: Backend, a: Array) -> tuple[Array, Array]:
    """(high, low) with high + low = a exactly, each of at most half the bits (rounded up) of a.

    Products of such halves are exact. |a| must stay below 2^−(bits/2) times the largest number.
    """
    # The product with a power of two is exact, and no constant of the program.
    far = a * 2.0 ** ((precision(be, a.dtype) + 1) // 2)
    high = (a + far) - far
    return high, a - high


def exact_products(be: Backend, a: Array, b: Array) -> tuple[Array, Array, Array, Array]:
    """Four exact products whose exact sum is a·b, the largest first (real arrays)."""
    (ah, al), (bh, bl) = split(be, a), split(be, b)
    return ah * bh, ah * bl, al * bh, al * bl


def both(function: Callable[[Array], Array], pair: tuple[Array, Array]) -> tuple[Array, Array]:
    """A function of either word of a pair."""
    hi, lo = pair
    return function(hi), function(lo)


def add(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    """Sum of two pairs, relative error about 3·eps² also where they cancel."""
    s, e = two_sum(a[0], b[0])
    t, f = two_sum(a[1], b[1])
    s, e = fast_two_sum(s, e + t)
    return fast_two_sum(s, e + f)


def multiply(be: Backend, a: tuple[Array, Array], b: Array) -> tuple[Array, Array]:
    """A pair times a number of working precision (real arrays), relative error about 4·eps²."""
    one, two, three, four = exact_products(be, a[0], b)
    # The product with the low word is small enough to be rounded, but not to be fused.
    rest, *more = exact_products(be, a[1], b)
    s, e = two_sum(one, two)
    t, f = two_sum(s, three)
    u, g = two_sum(t, four)
    v, h = two_sum(u, rest)
    return fast_two_sum(v, h + (g + (f + (e + (more[0] + (more[1] + more[2]))))))


def total(be: Backend, a: tuple[Array, Array], axis: int) -> tuple[Array, Array]:
    """Sum of pairs along an axis, pairwise: n terms have error about 3·log2(n)·eps²·Σ|a|."""
    hi, lo = (be.xp.moveaxis(v, axis, 0) for v in a)
    n = int(hi.shape[0])
    if n == 0:
        empty = be.new_like(hi, tuple(hi.shape[1:]))
        return empty, empty
    while n > 1:
        half = n // 2
        found = add(
            (hi[0 : 2 * half : 2, ...], lo[0 : 2 * half : 2, ...]),
            (hi[1 : 2 * half : 2, ...], lo[1 : 2 * half : 2, ...]),
        )
        if n % 2:
            found = tuple(
                be.xp.concat([f, v[n - 1 :, ...]], axis=0)
                for f, v in zip(found, (hi, lo), strict=True)
            )
        hi, lo = found
        n = half + n % 2
    return hi[0, ...], lo[0, ...]


def distill(terms: Sequence[Array]) -> tuple[Array, Array]:
    """The sum of some arrays as a pair, computed as in (_PASSES + 1)-fold precision."""
    values = list(terms)
    for _ in range(_PASSES):
        for i in range(1, len(values)):
            values[i], values[i - 1] = two_sum(values[i], values[i - 1])
    rest = values[0] * 0 if len(values) == 1 else values[0]
    for v in values[1:-1]:
        rest = rest + v
    return two_sum(values[-1], rest)


# -- exact slices ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """How operands are sliced: for a contraction of `length` terms, `count` slices of `bits`.

    Attributes
    ----------
    bits : int
        A slice holds integers of magnitude at most 2^bits, times a power of two.
    count : int
        Number of slices; together they hold count·(bits + 1) bits below the power of two given.
    length : int
        Longest contraction for which products of slices sum exactly.
    """

    bits: int
    count: int
    length: int


def slice_bits(be: Backend, dtype: Any, length: int) -> int:
    """Bits of slices of which `length` products add up exactly; below 1 there are none."""
    # A hair more: a slice of a pair may reach one unit beyond 2^bits.
    return (precision(be, dtype) - ceil(log2(length) + 1e-3)) // 2


def cut_for(be: Backend, dtype: Any, length: int, *, bits: int | None = None) -> Cut:
    """The fewest slices that hold `bits` bits (twice the precision) and keep products exact.

    A sum of `length` products of slices, added up over all pairs of slices of one level (see
    `level_sums`), stays an integer of at most the precision's bits.
    """
    p = precision(be, dtype)
    wanted = 2 * p if bits is None else bits
    for count in range(1, wanted + 1):
        each = slice_bits(be, dtype, max(1, length) * count)
        if each >= 1 and count * (each + 1) >= wanted:
            return Cut(each, count, length)
    raise ValueError(f"no slices of {p} bits for a contraction of {length} terms")


def power_above(be: Backend, a: Array, axes: int | tuple[int, ...] | None) -> Array:
    """A power of two of at least max |a| over axes (kept, at length 1); 1 where all is 0.

    A normal one, whose reciprocal is one too. NaN where a has a NaN or an infinity.
    """
    xp = be.xp
    top = xp.max(xp.abs(a), axis=axes, keepdims=True)
    safe = xp.where(top > 0, top, xp.ones_like(top))
    two = be.new_like(safe, (), fill=2.0)
    found = power(be, two, xp.floor(xp.log2(safe)) + 1)
    found = xp.maximum(found, xp.full_like(found, float(xp.finfo(found.dtype).smallest_normal)))
    return xp.where(xp.isfinite(top), found, xp.full_like(found, float("nan")))


def slices(be: Backend, x: Array, top: Array, cut: Cut) -> list[Array]:
    """Slices of a real array that sum to x, to count·(bits + 1) bits below `top`.

    `top` holds powers of two of at least |x| (`power_above`), broadcast against x; it must come
    from data: where it is a constant of a compiled program the compiler removes the rounding. Slice
    s is an integer of magnitude at most 2^bits times top·2^(−bits − s·(bits + 1)).
    """
    out, shift = [], 1.5 * 2.0 ** (precision(be, x.dtype) - 1 - cut.bits)
    for s in range(cut.count):
        # Adding this number rounds x to the slice's unit, taking it away leaves the slice.
        big = top * (shift * 2.0 ** (-s * (cut.bits + 1)))
        part = (x + big) - big
        out.append(part)
        if s + 1 < cut.count:
            x = x - part
    return out


def pair_slices(be: Backend, pair: tuple[Array, Array], top: Array, cut: Cut) -> list[Array]:
    """Slices of a pair: what is left of the high word takes in the low word at each step."""
    hi, lo = pair
    found, shift = [], 1.5 * 2.0 ** (precision(be, hi.dtype) - 1 - cut.bits)
    for s in range(cut.count):
        big = top * (shift * 2.0 ** (-s * (cut.bits + 1)))
        part = (hi + big) - big
        found.append(part)
        if s + 1 < cut.count:
            hi, lo = two_sum(hi - part, lo)
    return found


def level_sums(be: Backend, product: Array, cut: Cut, levels: int) -> list[Array]:
    """Sums over pairs of slices (i, j) with i + j = level, from products of stacked slices.

    `product` (..., count, M, count, N) holds the product of slice i of the left operand and slice j
    of the right one; all of one level have one unit, so the sums are exact. Level 0 is the largest;
    each next one is smaller by 2^(bits + 1).
    """
    found = []
    for level in range(levels):
        pairs = [(i, level - i) for i in range(cut.count) if 0 <= level - i < cut.count]
        first, *rest = [product[..., i, :, j, :] for i, j in pairs]
        for part in rest:
            first = first + part
        found.append(first)
    return found


def words(
    be: Backend, levels: Sequence[Array], top: Array, cut: Cut, axis: int, blocks: int
) -> list[Array]:
    """Exact sums of level sums along an axis of blocks, the smallest words first.

    Every level sum is an integer of at most p bits times a unit; it is cut into words of so few
    bits that the sum over `blocks` blocks (of this call, or of all calls whose words will be added)
    is exact. `top` is the product of both operands' powers of two, without the axis of blocks.
    """
    xp, p = be.xp, precision(be, levels[0].dtype)
    spare = ceil(log2(max(1, blocks)))
    parts = ceil(p / (p - spare))
    each = ceil(p / parts)
    found = []
    for level, rest in enumerate(levels):
        unit = 2.0 ** (-2 * cut.bits - level * (cut.bits + 1))
        for part in range(parts - 1, 0, -1):
            big = xp.expand_dims(top, axis=axis) * (1.5 * unit * 2.0 ** (p - 1 + part * each))
            head = (rest + big) - big
            rest = rest - head
            found.append(xp.sum(head, axis=axis, dtype=head.dtype))
        found.append(xp.sum(rest, axis=axis, dtype=rest.dtype))
    return found[::-1]


def in_blocks(be: Backend, a: Array, rows: int) -> Array:
    """(..., K, N) as (..., blocks, rows, N), zeros behind."""
    k, n = a.shape[-2:]
    count = max(1, -(-k // rows))
    lead = tuple(a.shape[:-2])
    if count * rows != k:
        a = be.pad(a, [(0, 0)] * len(lead) + [(0, count * rows - k), (0, 0)])
    return be.xp.reshape(a, (*lead, count, rows, n))


def _side_by_side(be: Backend, parts: Sequence[Array]) -> Array:
    """Slices (..., K, N) next to each other: (..., K, count·N)."""
    return be.xp.concat(list(parts), axis=-1) if len(parts) > 1 else parts[0]


def _apart(be: Backend, product: Array, cut: Cut) -> Array:
    """(..., count·M, count·N) as (..., count, M, count, N)."""
    *lead, m, n = product.shape
    c = cut.count
    return be.xp.reshape(product, (*lead, c, m // c, c, n // c))


def block_rows(be: Backend, dtype: Any, k: int) -> int:
    """Rows of a block of a contraction over k rows."""
    most = _BLOCK[precision(be, dtype)]
    return min(most, 1 << max(0, k - 1).bit_length()) if k > 1 else 1


def product_words(
    be: Backend,
    left: Sequence[Array],
    right: Sequence[Array],
    top: Array,
    cut: Cut,
    levels: int,
    blocks: int | None = None,
) -> list[Array]:
    """leftᵀ · right from slices (..., blocks, rows, N): exact words, the smallest first.

    `top` (..., M, N) is the product of both operands' powers of two; `blocks` counts those of all
    calls whose words will be added, by default of this one.
    """
    stacked = be.xp.matrix_transpose(_side_by_side(be, left))
    product = be.matmul(stacked, _side_by_side(be, right))
    sums = level_sums(be, _apart(be, product, cut), cut, levels)
    return words(be, sums, top, cut, -3, blocks or left[0].shape[-3])


def matmul(be: Backend, a: Array, b: Array) -> tuple[Array, Array]:
    """The product of real or complex a (..., M, K) and b (..., K, N) as a pair.

    |error| <= K·eps²·max|row of a|·max|column of b|, about: exact products of slices, added with
    care. Cost: 5 slices in float64 and 6 in float32, hence 25 to 36 plain products.
    """
    if be.is_complex(a) or be.is_complex(b):
        m, n = a.shape[-2], b.shape[-1]
        found = matmul(be, real_form(be, a), real_form(be, b)[..., :n])
        return both(lambda v: from_real_rows(be, v, m), found)
    return _product(be, a, b, a, b, slices)


def pair_matmul(be: Backend, a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    """As `matmul`, of real pairs."""
    return _product(be, a, b, a[0], b[0], pair_slices)


def _product(
    be: Backend, a: Any, b: Any, left: Array, right: Array, sliced: Callable[..., list[Array]]
) -> tuple[Array, Array]:
    """a·b as a pair by the slices that `sliced` makes; `left` and `right` are their high words."""
    turn = be.xp.matrix_transpose
    rows = block_rows(be, left.dtype, left.shape[-1])
    cut = cut_for(be, left.dtype, rows)
    tops = power_above(be, left, -1), power_above(be, right, -2)
    turned = tuple(turn(v) for v in a) if isinstance(a, tuple) else turn(a)
    one, other = (
        [in_blocks(be, v, rows) for v in sliced(be, x, top, cut)]
        for x, top in ((turned, turn(tops[0])), (b, tops[1]))
    )
    return distill(product_words(be, one, other, tops[0] * tops[1], cut, cut.count + 1))


def gram_words(be: Backend, a: Array) -> tuple[Array, Array]:
    """AᴴA of a (..., m, n) as a pair (hi, lo), Hermitian bit for bit.

    |error| <= m·eps²·max|column i|·max|column j|, about.
    """
    if be.is_complex(a):
        n = a.shape[-1]
        embedded = real_form(be, a)
        found = matmul(be, be.xp.matrix_transpose(embedded), embedded[..., :n])
        pair = both(lambda v: from_real_rows(be, v, n), found)
    else:
        rows = block_rows(be, a.dtype, a.shape[-2])
        cut = cut_for(be, a.dtype, rows)
        top = power_above(be, a, -2)
        parts = [in_blocks(be, v, rows) for v in slices(be, a, top, cut)]
        tops = be.xp.matrix_transpose(top) * top
        pair = distill(product_words(be, parts, parts, tops, cut, cut.count + 1))
    # Both triangles come from the same products, added in another order within a level, exactly.
    # Where a library sums a matrix product otherwise, the mean makes them equal.
    return both(lambda v: 0.5 * v + 0.5 * adjoint(be, v), pair)


def real_form(be: Backend, a: Array) -> Array:
    """The real matrix [[Re, −Im], [Im, Re]], (..., 2M, 2N): its products are those of a."""
    xp = be.xp
    if not be.is_complex(a):
        zero = xp.zeros_like(a)
        re, im = a, zero
    else:
        re, im = xp.real(a), xp.imag(a)
    top = xp.concat([re, -im], axis=-1)
    return xp.concat([top, xp.concat([im, re], axis=-1)], axis=-2)


def from_real_rows(be: Backend, v: Array, m: int) -> Array:
    """Real part above imaginary part, (..., 2m, N), as a complex array (..., m, N)."""
    kind = be.complex_dtype(v.dtype)
    re, im = (be.xp.astype(x, kind) for x in (v[..., :m, :], v[..., m:, :]))
    return re + be.new_like(re, (), fill=1j) * im


# -- the public Gram matrix ------------------------------------------------------------------------


class _GramPair(Core):
    """hi beside lo, (..., n, 2n).

    hi + lo is AᴴA; the derivative is that of hi, (ȦᴴA + AᴴȦ), and lo, a rounding error, has none.
    Transposed without conjugates, with H the cotangent of hi: Ā = conj(A) Hᵀ… for real A,
    A (H + Hᵀ); for complex A the conjugated factor Aᴴ adds conj(A conj(H)).
    """

    name = "gram_extended"

    def divide(self, geometry: Any, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        *lead, _, n = shapes[0]
        return problems(geometry, shapes, len(lead), (n, 2 * n))

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        (a,) = arrays
        scale = power_above(be, a, -2)
        one = be.new_like(scale, (), fill=1.0)
        typed = be.xp.astype(one / scale, a.dtype)
        hi, lo = gram_words(be, a * typed)
        back = be.xp.astype(scale, a.dtype)
        both = be.xp.matrix_transpose(back) * back
        return be.xp.concat([hi * both, lo * both], axis=-1)

    def push(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        (a,), (t,) = arrays, tangents
        if t is None:
            return be.new_like(out, tuple(out.shape))
        first = be.matmul(adjoint(be, a), t)
        value = first + adjoint(be, first)
        return be.xp.concat([value, be.xp.zeros_like(value)], axis=-1)

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        (a,) = arrays
        h = cotangent[..., : a.shape[-1]]
        turned = be.xp.matrix_transpose(h)
        if not be.is_complex(a):
            return (be.matmul(a, h + turned),)
        # Σ h_ij conj(a_ki) ȧ_kj + Σ h_ij a_kj conj(ȧ_ki): the second conjugated once more.
        return (be.matmul(be.xp.conj(a), h) + be.xp.conj(be.matmul(a, turned)),)


_GRAM_PAIR = _GramPair()


@operation("linalg.gram_extended", differentiable=("A",))
def gram_extended(A: Any) -> tuple[Any, Any]:
    """The Gram matrix AᴴA in twice the working precision, as a pair (high, low).

    ``hi[i, j] + lo[i, j] = Σ_k conj(A[k, i]) · A[k, j]``, with plain matrix products of A's dtype
    alone: float32 data give float64's accuracy on a device without float64.

    Parameters
    ----------
    A : array
        (..., m, n), real or complex floating; integers become the default float.

    Returns
    -------
    hi, lo : array
        (..., n, n) each, Hermitian bit for bit, in the dtype of A (float32 for the half
        precisions): hi is the sum rounded, lo what rounding left. The error of the sum is at most
        about m·eps²·max_k|A[k, i]|·max_k|A[k, j]|. NaN where a column holds NaN or infinities.

    Raises
    ------
    ValueError
        If A has fewer than two axes.
    TypeError
        If A is no array of numbers.

    Notes
    -----
    Ozaki's scheme [1]_: the entries are cut into slices of so few bits that every matrix product of
    two slices is exact, in whatever order the library sums. Float64 takes 5 slices, float32 6 or
    7, so it costs 25 to 49 plain products, batched in blocks of rows. Columns are scaled by powers
    of two, so only entries below 2^−(twice the precision) of their column's largest are lost.
    Derivatives are those of AᴴA, taken by hi.

    References
    ----------
    .. [1] T. Ozaki, T. Ogita, S. Oishi and S. M. Rump, "Error-free transformations of matrix
       multiplication by using fast routines of matrix multiplication", Numer. Algorithms 59, 2012.

    Examples
    --------
    >>> import numpy as np, swath
    >>> hi, lo = swath.linalg.gram_extended(np.array([[1.0, 2.0**-30], [1.0, 2.0**-60]]))
    >>> hi[1, 1] == 2.0**-60, lo[1, 1] == 2.0**-120
    (np.True_, np.True_)
    """
    be, a = matrices(A, "A")
    (a,) = arguments.summable(be, *arguments.solvable(be, a))
    n = int(a.shape[-1])
    if 0 in a.shape:
        zero = _ops.vacant((*a.shape[:-2], n, n), a)
        return zero, zero
    out = apply(_GRAM_PAIR, None, a)
    lead = [slice(None)] * (a.ndim - 1)
    return _ops.cut(out, *lead, slice(0, n)), _ops.cut(out, *lead, slice(n, 2 * n))
