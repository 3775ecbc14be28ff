"""Solutions from an approximate inverse Z Zᴴ of the Gram matrix, refined until they are right.

x ← x + D Z Zᴴ D (AᴴW(b − A x) − Γ x). Every step multiplies the error by about n·κ·eps if Z is as
good as the triangle of a QR factorisation (κ²·eps for Cholesky's), measured as ‖A·error‖; what it
ends at depends on the residual alone:

- `standard`: b − A x in working precision. One step where the condition is small, else until
  corrections stop shrinking: Householder QR's accuracy. Of few numbers, and where the condition is
  large, the leading bits of the factors are multiplied without rounding: some digits more.
- `full`: x as a pair of numbers, b − A x in twice the working precision, Aᴴ times it exactly, by
  the slices of `extended`: x correct to the last digit. What is lost in b − A x is amplified by
  the condition; what were lost in Aᴴ(b − A x), by its square, so nothing may be.

All loops run over the scaled unknowns D⁻¹x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, log2
from typing import Any

from .._backends import Backend
from .._backends.base import WORKSPACE
from . import extended
from ._equations import System
from ._rows import (
    beside,
    block_count,
    by_problems,
    by_rows,
    few,
    problem_count,
    residual_sums,
    weigh,
)
from ._scaling import (
    adjoint,
    adjoint_times,
    not_below_zero,
    power_of_two,
    quiet,
    real_product,
    squares,
)
from ._steps import Steps

__all__ = ["Plan", "iterated", "plan_for", "refined"]

Array = Any
# Steps at most: at condition 0.1/(n·eps) a step may gain no more than one digit.
_STEPS = 12
_FULL_STEPS = 50
_SCRATCH = 64 << 20


@dataclass(frozen=True)
class Plan:
    """Geometry of one solution.

    Attributes
    ----------
    system : System
        Which arrays there are.
    full : bool
        Whether residuals are computed in twice the working precision.
    blocks, slabs : int
        Blocks of rows of the passes in working and in extended precision.
    full_rank : bool
        Whether every problem is known to have the full rank min(m, n).
    """

    system: System
    full: bool = False
    blocks: int = 1
    slabs: int = 1
    full_rank: bool = False

    @property
    def full_columns(self) -> bool:
        """Whether A is known to have no null space (or a ridge stands in for it)."""
        return self.full_rank and not self.system.wide


def plan_for(
    be: Backend, system: System, a: Array, columns: int, *, full: bool, full_rank: bool
) -> Plan:
    """The plan for A (..., m, n) and `columns` right-hand sides."""
    slabs = 1
    if full and not system.wide:
        limit = WORKSPACE.get() or _SCRATCH
        copies = 10 * (2 if be.is_complex(a) else 1)
        size = copies * be.itemsize(a.dtype) * (a.shape[-1] + 4 * columns)
        for n in a.shape[:-1]:
            size *= n
        slabs = max(1, min(ceil(size / limit), ceil(a.shape[-2] / 256)))
    return Plan(system, full, block_count(be, a), slabs, full_rank)


def refined(be: Backend, plan: Plan, arrays: Sequence[Array]) -> Array:
    """x (..., n, k), and below it Σ w|b − A x|² and the relative size of the last correction."""

    def found(be: Backend, *arrays: Array) -> tuple[Array, ...]:
        if plan.full:
            return ((_full_wide if plan.system.wide else _full)(be, plan, arrays),)

        def some(*arrays: Array) -> tuple[Array, ...]:
            return (_standard(be, plan, arrays),)

        # Infinities less infinities are NaN, as they should be.
        with be.quiet():
            return by_problems(be, problem_count(be, arrays[0]), some, *arrays)

    return beside(be, found, *arrays, passes=not plan.full)[0]


def _packed(be: Backend, x: Array, *rows: Array) -> Array:
    return be.xp.concat([x, *(be.xp.astype(r, x.dtype) for r in rows)], axis=-2)


def _standard(be: Backend, plan: Plan, arrays: Sequence[Array]) -> Array:
    xp, system = be.xp, plan.system
    a, b, w, ridge, rest = system.named(arrays)
    w = None if w is None else w[..., None]
    root, scale, start, square, goal, again, many = rest
    steps = Steps(be, system, root, scale, ridge)

    def residual(x: Array, *, sharp: bool) -> tuple[Array, ...]:
        """What a correction is computed from, and Σ w|b − A x|²."""
        if system.wide:
            r = weigh(be, w, b - be.matmul(a, x))
            return r, squares(be, r)
        length = max(int(x.shape[-2]), -(-int(a.shape[-2]) // plan.blocks))
        sharp = sharp and _Leading.bits(be, x, length) >= 1
        leading = _Leading(be, scale, x, length) if sharp else None

        def rows(a: Array, b: Array, w: Array | None) -> tuple[Array, ...]:
            return leading.sums(a, b, w) if leading else residual_sums(be, a, b, w, x)

        return by_rows(be, plan.blocks, rows, a, b, w)

    def corrected(x: Array, *, sharp: bool) -> tuple[Array, ...]:
        """x one step on, Σ w|b − A x|² there, and the size of the step."""
        low, square = residual(x, sharp=sharp)
        change, square, now = steps.correction(x, low, square)
        if system.wide:
            change = adjoint_times(be, a, weigh(be, w, change))
        return x + change, square, now

    def more(x: Array, square: Array) -> tuple[Array, ...]:
        """As many steps as it takes: x and Σ w|b − A x|² there."""
        info = xp.finfo(x.dtype)
        eps, tiny = float(info.eps), float(info.smallest_normal)
        size = xp.where(goal > tiny, goal, xp.full_like(goal, tiny))

        def useful(before: Array, now: Array) -> Array:
            # While corrections shrink, unless the next one will be below what is asked for.
            return (now < 0.01 * before) & (now * (now / before) > eps * eps * size)

        def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
            x, _, before, going = state
            x, square, now = corrected(x, sharp=not system.wide)
            return x, square, now, going & useful(before, now)

        state = (x, square, size, size >= size)
        return be.while_loop(lambda s: xp.any(s[3]), step, state, _STEPS)[:2]

    x = start
    if system.wide:
        x = adjoint_times(be, a, weigh(be, w, x))
    small = not system.wide and few(a)

    def kept(x: Array, square: Array) -> tuple[Array, ...]:
        return x, square

    def once(x: Array, square: Array) -> tuple[Array, ...]:
        return corrected(x, sharp=small)[:2]

    x, square = be.cond(again & ~many, once, kept, x, square)
    x, square = be.cond(many, more, kept, x, square)
    if system.wide:
        square = residual(x, sharp=False)[1]
    x = xp.where(xp.isfinite(x), x, be.new_like(x, (), fill=float("nan")))
    return _packed(be, x, not_below_zero(be, square), xp.zeros_like(square))


class _Leading:
    """b − A x and Aᴴ r with the leading bits of the factors multiplied and added without rounding.

    Where the terms cancel, as they do near a solution, what rounding is left is smaller by 2^−bits.
    The columns of A D are at most 2 long, so all products of leading bits have one unit.
    """

    @staticmethod
    def bits(be: Backend, x: Array, length: int) -> int:
        """Leading bits of factors of so many products; below 1 there are none left."""
        # Complex products are sums of two, or of three of larger numbers.
        return extended.slice_bits(be, x.dtype, 8 * length)

    def __init__(self, be: Backend, scale: Array, x: Array, length: int) -> None:
        self.be, self.x, xp = be, x, be.xp
        kind = xp.real(x).dtype if be.is_complex(x) else x.dtype
        self.shift = 1.5 * 2.0 ** (extended.precision(be, kind) - 1 - self.bits(be, x, length))
        size = scale[..., None]
        big = (2 * self.shift) / xp.matrix_transpose(size)
        # Near overflow there is no room to cut in.
        self.big = self.both(xp.where(xp.isfinite(big), big, xp.zeros_like(big)))
        self.halves = be.xp.concat(self.cut(x, size), axis=-1)

    def both(self, v: Array) -> Array:
        """v + v·i for complex x."""
        be = self.be
        if not be.is_complex(self.x):
            return v
        return be.xp.astype(v, self.x.dtype) * be.new_like(self.x, (), fill=1 + 1j)

    def cut(self, v: Array, size: Array | None = None) -> tuple[Array, Array]:
        """The leading bits of v (of v / size) below the largest of each column, and the rest."""
        unit = None if size is None else self.be.xp.astype(size, v.dtype)
        scaled = v if unit is None else v / unit
        big = self.both(extended.power_above(self.be, scaled, -2) * self.shift)
        head = (scaled + big) - big
        head = head if unit is None else head * unit
        return head, v - head

    def parts(self, a: Array) -> tuple[Array, Array]:
        """The leading bits of rows of A, and the rest."""
        top = a + self.big
        top -= self.big
        return top, a - top

    def sums(self, a: Array, b: Array, w: Array | None) -> tuple[Array, Array]:
        """AᴴW r and Σ w|r|² with r = b − A x; weights a column."""
        be, k = self.be, self.x.shape[-1]
        top, low = self.parts(a)
        # Both halves in one pass over the rows.
        found = be.matmul(top, self.halves)
        r = (b - found[..., :k]) - (found[..., k:] + be.matmul(low, self.x))
        wr = r if w is None else be.xp.astype(w, r.dtype) * r
        found = adjoint_times(be, top, be.xp.concat(self.cut(wr), axis=-1))
        part = real_product(be, r, wr)
        square = be.xp.sum(part, axis=-2, keepdims=True, dtype=part.dtype)
        return found[..., :k] + (found[..., k:] + adjoint_times(be, low, wr)), square


# -- twice the working precision -------------------------------------------------------------------


def _real(be: Backend, v: Array) -> Array:
    """Real part above imaginary part, (..., 2m, k)."""
    return be.xp.concat([be.xp.real(v), be.xp.imag(v)], axis=-2) if be.is_complex(v) else v


def _like(be: Backend, v: Array, model: Array) -> Array:
    """Back from `_real`, where the model is complex."""
    return extended.from_real_rows(be, v, v.shape[-2] // 2) if be.is_complex(model) else v


def _residual(
    be: Backend,
    b: Array,
    parts: list[Array],
    x: tuple[Array, Array],
    tops: tuple[Array, Array],
    cut: extended.Cut,
) -> tuple[Array, Array]:
    """b − A x as a pair, from slices of A (..., m, n) and a pair x (..., n, k)."""
    xp = be.xp
    right = xp.concat(extended.pair_slices(be, x, tops[1], cut), axis=-1)
    product = be.matmul(xp.concat(parts, axis=-2), right)
    *lead, rows, columns = product.shape
    shape = (*lead, cut.count, rows // cut.count, cut.count, columns // cut.count)
    sums = extended.level_sums(be, xp.reshape(product, shape), cut, cut.count + 1)
    hi = -sums[-1]
    lo = xp.zeros_like(hi)
    for term in (*(-v for v in reversed(sums[:-1])), b):
        hi, error = extended.two_sum(hi, term)
        lo = lo + error
    return extended.two_sum(hi, lo)


def _full(be: Backend, plan: Plan, arrays: Sequence[Array]) -> Array:
    xp = be.xp
    a, b, w, ridge, (root, scale, start, *_) = plan.system.named(arrays)
    w, ridge = (None if v is None else v[..., None] for v in (w, ridge))
    b = quiet(be, b)
    d = scale[..., None, :]
    start = start * (1 / xp.matrix_transpose(d))
    model, turned = start, adjoint(be, root)
    # Complex: the real system of twice the size. All scaling is by powers of two.
    a = a * d
    if be.is_complex(a):
        a, b = extended.real_form(be, a), _real(be, b)
        w = None if w is None else xp.concat([w, w], axis=-2)
    if ridge is not None:
        ridge = ridge * xp.matrix_transpose(d) * xp.matrix_transpose(d)
        ridge = xp.concat([ridge, ridge], axis=-2) if be.is_complex(model) else ridge
    m, n = a.shape[-2:]
    rows = extended.block_rows(be, a.dtype, m)
    cut = extended.cut_for(be, a.dtype, max(rows, n))
    length = -(-m // plan.slabs)
    length = -(-length // rows) * rows
    slabs = -(-m // length)
    if slabs * length != m:
        more = [(0, 0)] * (a.ndim - 2) + [(0, slabs * length - m), (0, 0)]
        a, b = be.pad(a, more), be.pad(b, more)
        w = None if w is None else be.pad(w, more)
    top = extended.power_above(be, a, (-2, -1))
    top_b = extended.power_above(be, b, -2)
    top_w = None if w is None else extended.power_above(be, w, -2)
    blocks = slabs * length // rows
    axis = a.ndim - 2

    def correction(x: tuple[Array, Array]) -> tuple[Array, Array]:
        top_x = extended.power_above(be, x[0], -2)
        # A bound of the residual, the same for all slabs.
        top_r = top_b + (top * top_x) * 2.0 ** ceil(log2(n))
        top_r = extended.power_above(be, top_r, -2)
        top_r = top_r if top_w is None else top_r * top_w

        def slab(i: Any) -> Array:
            cut_out = [be.slab(v, axis, i * length, length) for v in (a, b)]
            parts = extended.slices(be, cut_out[0], top, cut)
            r = _residual(be, cut_out[1], parts, x, (top, top_x), cut)
            wr = r
            if w is not None:
                wr = extended.multiply(be, r, be.slab(w, axis, i * length, length))
            right = extended.pair_slices(be, wr, top_r, cut)
            left = [extended.in_blocks(be, v, rows) for v in parts]
            found = extended.product_words(
                be,
                left,
                [extended.in_blocks(be, v, rows) for v in right],
                top * top_r,
                cut,
                2 * cut.count - 1,
                blocks,
            )
            square = xp.sum(r[0] * wr[0], axis=-2, keepdims=True, dtype=r[0].dtype)
            return xp.concat([*found, square], axis=-2)

        total = slab(0)
        if slabs > 1:
            total = be.fori_loop(1, slabs, lambda i, t: t + slab(i), total)
        square = total[..., -1:, :]
        exact = [total[..., i * n : (i + 1) * n, :] for i in range((total.shape[-2] - 1) // n)]
        pair = extended.distill(exact)
        if ridge is not None:
            penalty = extended.multiply(be, x, ridge)
            pair = extended.add(pair, (-penalty[0], -penalty[1]))
        return pair[0], square

    return iterated(be, correction, model, turned, root, d, a.dtype)


def iterated(
    be: Backend, correction: Any, start: Array, turned: Array, root: Array, d: Array, kind: Any
) -> Array:
    """Steps until each unknown stands, or corrections stop shrinking; packed as `refined` says."""
    xp = be.xp
    eps = float(xp.finfo(kind).eps)

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        hi, lo, _, now, _, _ = state
        z, square = correction((hi, lo))
        y = be.matmul(turned, _like(be, z, start))
        change = _real(be, be.matmul(root, y))
        new = extended.add((hi, lo), (change, xp.zeros_like(change)))
        # No digit of any unknown moves any more, or it is far below the largest.
        reach = xp.max(xp.abs(new[0]), axis=-2, keepdims=True)
        least = eps * (xp.abs(new[0]) / 16 + eps * reach)
        stands = xp.all(xp.abs(change) <= least, axis=-2, keepdims=True)
        largest = xp.max(xp.abs(change), axis=-2, keepdims=True)
        last = largest / xp.where(reach > 0, reach, xp.ones_like(reach))
        return new[0], new[1], square, squares(be, y), now, xp.where(stands, -last, last)

    def going(state: tuple[Array, ...]) -> Array:
        *_, now, before, last = state
        # Two steps tell whether corrections shrink.
        shrinks = (before == float("inf")) | (now < 0.64 * before)
        return xp.any((last > 0) & shrinks)

    hi = _real(be, start)
    none = xp.zeros_like(hi[..., :1, :])
    far = xp.full_like(none, float("inf"))
    state = (hi, xp.zeros_like(hi), none, far, far, far)
    hi, lo, square, _, _, last = be.while_loop(going, step, state, _FULL_STEPS)
    # Each word scaled back exactly; their sum is rounded once.
    x = _like(be, hi + lo, start) * xp.matrix_transpose(d)
    return _packed(be, x, square, xp.abs(last))


def _full_wide(be: Backend, plan: Plan, arrays: Sequence[Array]) -> Array:
    """The minimum-norm solution x = Aᴴy: y as a pair, x and b − A x from it in extended precision.

    Weights other than 0 do not matter where all equations can be met.
    """
    xp = be.xp
    a, b, w, _, (root, scale, start, *_) = plan.system.named(arrays)
    w = None if w is None else w[..., None]
    b = quiet(be, b)
    d = scale[..., None]
    start = start * (1 / d)
    if w is not None:
        # Z belongs to √W A.
        exact = xp.sqrt(w) * d
        d = d / power_of_two(be, xp.sqrt(w), 1.0)
        ratio = exact / d
        root = ratio * root
        start = start * ratio
    a, b = d * a, d * b
    model, turned = start, adjoint(be, root)
    kind = xp.real(a).dtype if be.is_complex(a) else a.dtype

    def times(a: Array, v: tuple[Array, Array]) -> tuple[Array, Array]:
        """a v as a pair of real rows, of such a pair."""
        hi, lo = (extended.matmul(be, a, _like(be, word, model)) for word in v)
        return extended.add(
            extended.both(partial(_real, be), hi), extended.both(partial(_real, be), lo)
        )

    def raised(y: tuple[Array, Array]) -> tuple[Array, Array]:
        """Aᴴ y as a pair of real rows."""
        return times(adjoint(be, a), y)

    def left(x: tuple[Array, Array]) -> Array:
        """b − A x as real rows."""
        pair = times(a, x)
        return extended.add((_real(be, b), xp.zeros_like(pair[0])), (-pair[0], -pair[1]))[0]

    def correction(y: tuple[Array, Array]) -> tuple[Array, Array]:
        r = left(raised(y))
        return r, squares(be, r)

    found = iterated(be, correction, model, turned, root, xp.ones_like(scale)[..., None, :], kind)
    m = a.shape[-2]
    y = _real(be, found[..., :m, :])
    # The pair y was rounded for the result: one more correction restores what x needs of it.
    z, _ = correction((y, xp.zeros_like(y)))
    more = _real(be, be.matmul(root, be.matmul(turned, _like(be, z, model))))
    x = raised(extended.two_sum(y, more))
    # In the units of b, and of this x: where not all equations can be met it is no rounding error.
    with be.quiet():
        square = squares(be, weigh(be, w, _like(be, left(x), model) * (1 / d)))
    return _packed(be, _like(be, x[0] + x[1], model), square, found[..., m + 1 :, :])
