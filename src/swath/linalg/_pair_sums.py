"""ZᵀWZ of blocks of rows in about twice the working precision, for sums that go on and on.

Z holds numbers of at most 1. It is cut in three, z = h + g + l with h and g of so few bits that
hᵀh and hᵀg are exact over the rows of one product, whatever the order of summation; what is
smaller, hᵀl and (g + l)ᵀ(g + l), is near eps of the whole, so that products in working precision
do. Four plain products, hence, in place of the 25 of `extended.gram_words`, and an error of about
2^−97 of the largest entries in float64 (2^−41 in float32) for each product of a few hundred rows,
which averages out over many.

Weights: the products w·z are pairs, and zᵀ(w z) has a slice of each on both sides; six products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._backends import Backend
from ..autodiff import Core, apply
from ..division import Division, problems
from . import extended

__all__ = ["Layout", "block_rows", "narrow", "pair_sums", "products", "sums"]

Array = Any
# Rows of one exact product.
_LENGTH = {53: 512, 24: 64}
# Bytes and most rows of what is summed before it is added with care.
_BLOCK_BYTES, _BLOCK_ROWS = 1 << 21, 1 << 14
# Columns of which OpenBLAS makes each product in one thread, and none is waited for.
_NARROW = 32


def narrow(columns: int) -> bool:
    """Whether blocks are best summed side by side on a processor."""
    return columns <= _NARROW


def block_rows(be: Backend, dtype: Any, columns: int) -> int:
    """Rows that are best summed at once: some exact products, in a few MB."""
    length = _LENGTH[extended.precision(be, dtype)]
    most = min(_BLOCK_ROWS, _BLOCK_BYTES // (columns * be.itemsize(dtype)))
    return max(length, most // length * length)


@dataclass(frozen=True)
class Layout:
    """Geometry: the columns of Z, made of rows of A and b.

    Attributes
    ----------
    complex : bool
        Whether A and b count as [Re A, Im A, Re b, Im b].
    weighted : bool
        Whether there are weights.
    """

    complex: bool
    weighted: bool


class _PairSums(Core):
    """hi beside lo, (q, 2q), of ZᵀWZ with Z = [A b 1 0] / top.

    From A (m, n), b (m, k), 1 / top (q,), the number 1 made of data, and w (m,). The derivative is
    that of hi, ŻᵀWZ + ZᵀWŻ + ZᵀẆZ; lo, a rounding error, has none. Transposed, with H the cotangent
    of hi: Z̄ = W Z (H + Hᵀ), w̄_i = z_i H z_iᵀ.
    """

    name = "pair_sums"

    def divide(self, geometry: Any, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        (q,) = shapes[2]
        return problems(geometry, shapes, 0, (q, 2 * q))._replace(like=2)

    def forward(self, be: Backend, geometry: Layout, *arrays: Array) -> Array:
        a, b, inverse, one, *rest = arrays
        w = rest[0][:, None] if geometry.weighted else None
        xp, m, q = be.xp, a.shape[0], inverse.shape[0]
        blocks = max(1, -(-m // block_rows(be, inverse.dtype, q)))
        step = -(-m // blocks)
        rows = [a, b, be.new_like(inverse, (m, 1), fill=1), w]
        if blocks > 1 and blocks * step != m:
            more = [(0, step * blocks - m), (0, 0)]
            rows = [None if v is None else be.pad(v, more) for v in rows]

        def block(i: Any) -> tuple[Array, Array]:
            some = rows
            if blocks > 1:
                some = [None if v is None else be.slab(v, 0, i * step, step) for v in rows]
            return _block(be, geometry, some, inverse, one)

        def summed(i: Any, total: Array) -> Array:
            found = extended.add((total[:, :q], total[:, q:]), block(i))
            return xp.concat(list(found), axis=-1)

        first = xp.concat(list(block(0)), axis=-1)
        return first if blocks == 1 else be.fori_loop(1, blocks, summed, first)

    def push(
        self,
        be: Backend,
        geometry: Layout,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        a, b, inverse, _, *rest = arrays
        turn = be.xp.matrix_transpose
        z = _columns(be, geometry, a, b, inverse, 1)
        value = be.new_like(out, (out.shape[0], out.shape[0]))
        if tangents[0] is not None or tangents[1] is not None:
            ta = be.xp.zeros_like(a) if tangents[0] is None else tangents[0]
            tb = be.xp.zeros_like(b) if tangents[1] is None else tangents[1]
            moved = _columns(be, geometry, ta, tb, inverse, 0)
            half = be.matmul(turn(rest[0][:, None] * z if geometry.weighted else z), moved)
            value = half + turn(half)
        if geometry.weighted and tangents[4] is not None:
            value = value + be.matmul(turn(tangents[4][:, None] * z), z)
        return be.xp.concat([value, be.xp.zeros_like(value)], axis=-1)

    def pull(
        self,
        be: Backend,
        geometry: Layout,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        a, b, inverse, _, *rest = arrays
        xp, h = be.xp, cotangent[:, : inverse.shape[0]]
        z = _columns(be, geometry, a, b, inverse, 1)
        rows = be.matmul(z, h + xp.matrix_transpose(h))
        w_bar = None
        if geometry.weighted:
            w_bar = xp.sum(0.5 * rows * z, axis=-1, dtype=z.dtype)
            rows = rest[0][:, None] * rows
        rows = rows * inverse
        found, start = [], 0
        for v in (a, b):
            size = v.shape[-1]
            part = rows[:, start : start + size]
            start += size
            if geometry.complex:
                # Paired without a conjugate: Re t − i Im t.
                part = xp.astype(part, v.dtype)
                low = xp.astype(rows[:, start : start + size], v.dtype)
                part = part - be.new_like(part, (), fill=1j) * low
                start += size
            found.append(part)
        return (*found, None, None, *([w_bar] if geometry.weighted else []))


_PAIR_SUMS = _PairSums()


def pair_sums(
    be: Backend, a: Array, b: Array, w: Array | None, inverse: Array, one: Array
) -> tuple[Array, Array]:
    """ZᵀWZ as a pair (q, q), symmetric bit for bit, with Z = [A b 1 0] · inverse and |Z| <= 1.

    Weights are from 0 to 1. `one` is 1 and made of data: where it were a constant of a compiled
    program, the compiler would remove the roundings.
    """
    is_complex = be.is_complex(a)
    rest = () if w is None else (w,)
    out = apply(_PAIR_SUMS, Layout(is_complex, w is not None), a, b, inverse, one, *rest)
    q = inverse.shape[0]
    return out[:, :q], out[:, q:]


def _parts(be: Backend, layout: Layout, a: Array, b: Array) -> list[Array]:
    if not layout.complex:
        return [a, b]
    return [part for v in (a, b) for part in (be.xp.real(v), be.xp.imag(v))]


def _columns(be: Backend, layout: Layout, a: Array, b: Array, inverse: Array, one: int) -> Array:
    """Z (m, q), with `one` in the column of ones."""
    parts = _parts(be, layout, a, b)
    m, used = a.shape[0], sum(v.shape[-1] for v in parts)
    ones = be.new_like(inverse, (m, 1), fill=one)
    zeros = be.new_like(inverse, (m, inverse.shape[0] - used - 1))
    return be.xp.concat([*parts, ones, zeros], axis=-1) * inverse


def _block(
    be: Backend, layout: Layout, rows: Sequence[Any], inverse: Array, one: Array
) -> tuple[Array, Array]:
    """As `pair_sums`, of rows (A, b, 1, w) that are summed at once; w may be None."""
    found = products(be, layout, rows, inverse, one)
    return sums(be, layout, rows[0].shape[0], found, one)


def _cut(be: Backend, dtype: Any, m: int) -> tuple[int, int, int]:
    """Bits of the dtype, and for m rows, rows of an exact product and bits of h and g."""
    p = extended.precision(be, dtype)
    length = min(_LENGTH[p], 1 << max(0, m - 1).bit_length())
    return p, length, (p - (length - 1).bit_length()) // 2


def products(
    be: Backend, layout: Layout, rows: Sequence[Any], inverse: Array, one: Array
) -> tuple[Array, ...]:
    """What `sums` adds up: products of the slices of so many rows each, (count, q, q).

    Of a block of rows (A, b, 1, w); w may be None.

    hᵀh and hᵀg, exact, hᵀl and (g + l)ᵀ(g + l). With weights hᵀh, hᵀg, gᵀh, exact, and the rest.
    In-place operations are on arrays made here.
    """
    xp, q, m = be.xp, inverse.shape[0], rows[0].shape[0]
    p, length, bits = _cut(be, inverse.dtype, m)
    a, b, ones, w = rows
    parts = [*_parts(be, layout, a, b), ones]
    zeros = be.new_like(inverse, (m, q - sum(v.shape[1] for v in parts)))
    # Compilers make more of a few long rows.
    turned = be.traces and narrow(q)

    def whole(*parts: Array) -> Array:
        """Columns side by side, with zeros for the rows that the last products lack."""
        more = [(0, -m % length), (0, 0)]
        if not turned:
            return be.pad(xp.concat(list(parts), axis=1), more)
        return be.pad(xp.concat([xp.matrix_transpose(v) for v in parts], axis=0), more[::-1])

    def along(v: Array) -> Array:
        return xp.matrix_transpose(across(v)) if turned else xp.reshape(v, (-1, length, q))

    def across(v: Array) -> Array:
        if not turned:
            return xp.matrix_transpose(along(v))
        return xp.permute_dims(xp.reshape(v, (q, -1, length)), (1, 0, 2))

    z, w = whole(*parts, zeros), None if w is None else whole(w)
    if turned:
        z = z * inverse[:, None]
    else:
        # A few rows at a time: short ones take longer.
        shape, few = tuple(z.shape), min(length, 16)
        z = xp.reshape(z, (-1, few * q))
        z *= xp.tile(inverse, (few,))
        z = xp.reshape(z, shape)
    shift = one * (1.5 * 2.0 ** (p - 1 - bits))
    small = shift * 2.0 ** (-bits - 1)
    h = z + shift
    h -= shift
    low = z - h
    g = low + small
    g -= small
    if w is None:
        rest = be.gram(along(low))
        low -= g
        left = across(h)
        return be.gram(along(h)), *(be.matmul(left, along(v)) for v in (g, low)), rest
    hi, lo = extended.multiply(be, (z, xp.zeros_like(z)), w)
    wh = (hi + shift) - shift
    hi, lo = extended.two_sum(hi - wh, lo)
    wg = (hi + small) - small
    wl = (hi - wg) + lo
    rest = be.matmul(across(h), along(wl)) + be.matmul(across(low - g), along(wh))
    rest += be.matmul(across(low), along(wg + wl))
    cross = be.matmul(across(h), along(wg)), be.matmul(across(g), along(wh))
    return be.matmul(across(h), along(wh)), *cross, rest


def sums(
    be: Backend, layout: Layout, m: int, found: Sequence[Array], one: Array
) -> tuple[Array, Array]:
    """ZᵀWZ as a pair (..., q, q) from `products` (..., count, q, q) of m rows."""
    xp, dtype = be.xp, found[0].dtype
    p, _, bits = _cut(be, dtype, m)

    def total(v: Array) -> Array:
        return xp.sum(v, axis=-3, dtype=dtype)

    # Sums of exact products: two words of half the bits each.
    unit = 1.5 * 2.0 ** (p - 1 + -(-p // 2) - 2 * bits)
    words = []
    weighted = layout.weighted
    for level, v in enumerate(found[: 3 if weighted else 2]):
        big = one * (unit if level == 0 else unit * 2.0 ** (-bits - 1))
        head = (v + big) - big
        words.append([total(head), total(v - head)])
    turn = xp.matrix_transpose
    others = words[2] if weighted else [turn(x) for x in words[1]]
    cross = [u + v for u, v in zip(words[1], others, strict=True)]
    rest = total(found[-1])
    if not weighted:
        rest = total(found[2]) + 0.5 * rest
        rest = rest + turn(rest)
    hi, *terms = *words[0], *cross
    errors = []
    for term in terms:
        hi, error = extended.two_sum(hi, term)
        errors.append(error)
    for error in reversed(errors):
        rest = rest + error
    hi, lo = extended.fast_two_sum(hi, rest)
    if not weighted:
        return hi, lo
    # The halves of both triangles were rounded apart.
    return extended.add((0.5 * hi, 0.5 * lo), (0.5 * turn(hi), 0.5 * turn(lo)))
