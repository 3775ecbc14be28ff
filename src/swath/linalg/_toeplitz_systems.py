"""One way to solve a Toeplitz system after another, until the residual is that of a solution.

`solution` brings systems into lanes and to size 1, solves them by the route that it is given, and
says how accurate the solutions are. On plain arrays, without derivatives; `toeplitz_solvers` adds
those.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .._backends import Backend
from . import _toeplitz_costs as costs
from ._scaling import conj, identity, power_of_two
from ._toeplitz_direct import eliminate, levinson
from ._toeplitz_iterative import conjugate_gradients
from ._toeplitz_maps import (
    Inverse,
    Product,
    fundamental_sides,
    inverse_norm,
    length,
    one_norm,
    rounding,
)

__all__ = ["Route", "inverse_of", "solution"]

Array = Any
# Refinements with the inverse's formula, and runs of the elimination.
_REFINEMENTS, _RUNS = 2, 3
# Residuals that count as rounding, in units of the bound of a product by FFT, 4·log2(2n)·eps: of
# matrices that their symbol shows to be regular, of any other, and those that need no correction.
_CLOSE, _SOUND, _FINE = 0.25, 0.1, 0.03
# Residuals that show a solution to be none, in the same units.
_WRONG = 1e3
# Condition times eps from which on no digit of a solution is sure.
_SINGULAR = 0.5
# A bound of the condition, times eps, that settles it; otherwise the condition is estimated.
_REGULAR = 0.01
# Up to these orders a dense solution comes with the inverse and the exact condition: in any case,
# and where a statement is asked for.
_ALWAYS_EXACT, _EXACT = 32, 256


@dataclass(frozen=True)
class Route:
    """How a system is solved: the geometry of the cores.

    Attributes
    ----------
    method : str
        "dense", "levinson", "gko" or "pcg".
    hermitian : bool
        Whether T is known to be Hermitian; matters to "pcg" alone.
    rtol, limit
        Relative residual and steps of conjugate gradients.
    statement : bool
        Whether residual, condition and error bound are asked for beside x.
    """

    method: str
    hermitian: bool
    rtol: float
    limit: int
    statement: bool = False


@dataclass
class _Found:
    """A solution of a scaled system in lanes: x (L, k, n), the others (L,) or (L, k)."""

    x: Array
    condition: Array
    iterations: Array
    fallback: Array


class _System:
    """A system in lanes, T and every right-hand side brought to size 1 by powers of two."""

    def __init__(self, be: Backend, c: Array, r: Array, y: Array) -> None:
        self.be, self.c, self.r, self.y = be, c, r, y
        self.n = int(c.shape[-1])
        self.eps = float(be.xp.finfo(c.dtype).eps)
        self.noise = rounding(be, self.n, c.dtype)
        self.product = Product(be, c, r)
        self.all = be.xp.concat([c, r[:, 1:]], axis=1)
        self.weight = length(be, self.all)

    @cached_property
    def norm(self) -> Array:
        """‖T‖₁ (L,)."""
        return one_norm(self.be, self.c, self.r)

    @cached_property
    def sides(self) -> Array:
        """The right-hand sides, and the two whose solutions determine the inverse."""
        return self.be.xp.concat([self.y, fundamental_sides(self.be, self.c, self.r)], axis=1)

    def backward(self, y: Array, x: Array) -> Array:
        """‖y − T x‖₂ in units of what a product by FFT rounds to at most (L, k)."""
        rest = y - self.product.times(x)
        scale = self.weight[:, None] * length(self.be, x) + length(self.be, y)
        scale = self.be.xp.where(scale > 0, scale, self.be.xp.ones_like(scale))
        return length(self.be, rest) / (self.noise * scale)

    def inverse(self, x: Array) -> Inverse:
        """T⁻¹ from its products with the last two of `sides`."""
        return Inverse(self.be, self.c[:, 0], x[:, -2, :], x[:, -1, :])

    def refined(self, x: Array) -> Array:
        """T⁻¹ of `sides` after corrections by the inverse's formula, where they lessen residuals.

        Solutions that are not finite become 0.
        """
        be, xp = self.be, self.be.xp
        x = _finite(be, x)
        inverse = self.inverse(x)

        def correct(_: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
            x, rest = state
            new = x + inverse.times(rest)
            left = self.sides - self.product.times(new)
            better = (length(be, left) < length(be, rest))[:, :, None]
            return xp.where(better, new, x), xp.where(better, left, rest)

        start = (x, self.sides - self.product.times(x))
        return be.fori_loop(0, _REFINEMENTS, correct, start)[0]

    def condition(self, x: Array) -> Array:
        """Estimate of ‖T‖₁‖T⁻¹‖₁ (L,) from T⁻¹ of `sides`; infinite where that is wrong."""
        xp = self.be.xp
        value = self.norm * inverse_norm(self.be, self.inverse(x), self.c)
        right = xp.all(self.backward(self.sides, x)[:, -2:] < _WRONG, axis=-1)
        return xp.where(right & xp.isfinite(value), value, xp.full_like(value, float("inf")))

    def bound_by_symbol(self) -> Array:
        """Bound of ‖T‖₁‖T⁻¹‖₁ (L,); infinite where T need not be regular for all that it tells.

        T is a corner of the circulant matrix of `product`, so its field of values lies within the
        hull of that matrix's eigenvalues. Where a line at a distance d from 0 parts them from 0,
        ‖T⁻¹‖₂ ≤ 1/d, and no leading minor vanishes either. One line is tried, orthogonal to t₀.
        """
        xp, values = self.be.xp, self.product.values
        # In any order; half of those of a real T are the conjugates of the others.
        head, values = self.c[:, 0], xp.reshape(values, (values.shape[0], -1))
        if self.product.real:
            values = xp.real(values)
            values = xp.where(head[:, None] < 0, -values, values)
        else:
            size = xp.abs(head)
            turn = xp.conj(head) / xp.astype(xp.where(size > 0, size, size + 1), head.dtype)
            values = xp.real(values * turn[:, None])
        away = xp.min(values, axis=-1) - self.noise * self.weight
        # No column of T has a larger sum than all diagonals.
        norm = xp.sum(xp.abs(self.all), axis=-1)
        bound = norm * self.n**0.5 / xp.where(away > 0, away, xp.ones_like(away))
        return xp.where(away > 0, bound, xp.full_like(bound, float("inf")))

    def bound_by_inverse(self, x: Array) -> Array:
        """Bound of ‖T‖₁‖T⁻¹‖₁ (L,) from T⁻¹ of `sides`: the norms in the formula of `Inverse`.

        Raised by what the residuals of the two that determine the inverse are over eps.
        """
        xp = self.be.xp
        p, z = x[:, -2, :], x[:, -1, :]
        size, rest = (xp.sum(xp.abs(v), axis=-1) for v in (p, self.c[:, :1] * p - z))
        left = xp.max(self.backward(self.sides, x)[:, -2:], axis=-1)
        bound = self.norm * size * (1 + rest) * (1 + left * (self.noise / self.eps))
        return xp.where(self.norm > 0, bound, xp.full_like(bound, float("inf")))

    def regular(self, bound: Array) -> Array:
        """Whether a bound of the condition shows every matrix to be regular."""
        return self.be.xp.all(bound * self.eps < _REGULAR)


def _finite(be: Backend, x: Array) -> Array:
    """x with 0 for solutions that are not finite."""
    finite = be.xp.all(be.xp.isfinite(x), axis=-1, keepdims=True)
    return be.xp.where(finite, x, be.xp.zeros_like(x))


def _matrix(s: _System) -> Array:
    be, xp = s.be, s.be.xp
    v = xp.concat([xp.flip(s.c, axis=1), s.r[:, 1:]], axis=1)
    return xp.flip(be.windows(v, (s.n,), (1,), (1,), (1,)), axis=1)


def _exact(s: _System) -> _Found:
    """By a dense factorisation, with the inverse."""
    be, xp, n = s.be, s.be.xp, s.n
    matrix = _matrix(s)
    eye = xp.broadcast_to(identity(be, n, s.c), tuple(matrix.shape))
    eye = xp.astype(eye, s.c.dtype)
    both = be.solve(matrix, xp.concat([xp.matrix_transpose(s.y), eye], axis=2))
    k = s.y.shape[1]
    inverse = both[:, :, k:]
    condition = s.norm * xp.max(xp.sum(xp.abs(inverse), axis=1), axis=1)
    sound = xp.isfinite(condition)
    condition = xp.where(sound, condition, xp.full_like(condition, float("inf")))
    x, b = both[:, :, :k], xp.matrix_transpose(s.y)
    x = x + be.matmul(inverse, b - be.matmul(matrix, x))
    return _Found(xp.matrix_transpose(x), condition, *_nothing(s))


def _nothing(s: _System) -> tuple[Array, Array]:
    """No iterations, no fallback."""
    lanes, k, _ = s.y.shape
    be = s.be
    return (
        be.new_like(s.c, (lanes, k), dtype=be.default_int(s.c)),
        be.new_like(s.c, (lanes,), dtype=be.dtype("bool"), fill=False),
    )


def _stable(s: _System) -> Array:
    """T⁻¹ of `sides` by elimination, run again on the residual where one run does not do."""
    be, xp = s.be, s.be.xp

    def going(state: tuple[Array, ...]) -> Array:
        return xp.any(state[2])

    def again(state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, size, _ = state
        new = s.refined(x + eliminate(be, s.c, s.r, s.sides - s.product.times(x)))
        left = s.backward(s.sides, new)
        better = left < size
        x = xp.where(better[:, :, None], new, x)
        return x, xp.where(better, left, size), better & (left > _SOUND) & (left < 0.5 * size)

    zero = xp.zeros_like(s.sides)
    size = xp.full_like(length(be, zero), float("inf"))
    return be.while_loop(going, again, (zero, size, size > 0), _RUNS)[0]


def _recursion(s: _System, y: Array, *, ends: bool) -> Array:
    """T⁻¹y by Levinson's recursion, and with `ends` T⁻¹ of the fundamental sides behind it."""
    be = s.be
    lanes, k, n = (int(v) for v in y.shape)
    wanted = be.xp.concat([y, s.sides[:, -2:, :]], axis=1) if ends else y
    if costs.native(be, y, lanes, int(wanted.shape[1]), n) < costs.recursion(be, y, lanes, k, n):
        return be.native_levinson(s.c, s.r, wanted)
    return levinson(be, s.c, s.r, y, ends=ends)


def _levinson(s: _System, bound: Array) -> tuple[Array, Array]:
    """T⁻¹ of `sides` by the recursion, or by elimination, and where (L,) by the latter."""
    be, xp = s.be, s.be.xp
    x = _finite(be, _recursion(s, s.y, ends=True))
    # The residuals of the last two as well: where a minor vanished, they are no part of an inverse.
    close, near = xp.full_like(bound, _CLOSE), xp.full_like(bound, _FINE)
    fine = s.backward(s.sides, x) <= xp.where(bound * s.eps < _REGULAR, close, near)[:, None]
    none = be.new_like(s.c, (int(s.c.shape[0]),), dtype=be.dtype("bool"), fill=False)

    def keep(x: Array, bad: Array) -> tuple[Array, ...]:
        return x, bad

    def mended(x: Array, _: Array) -> tuple[Array, ...]:
        x = s.refined(x)
        good = xp.all(s.backward(s.sides, x) <= _SOUND, axis=-1)
        return be.cond(xp.all(good), keep, replaced, x, ~good)

    def replaced(x: Array, bad: Array) -> tuple[Array, ...]:
        return xp.where(bad[:, None, None], _stable(s), x), bad

    found = be.cond(xp.all(fine), keep, mended, x, none)
    return found[0], found[1]


def _hermitian_ends(s: _System) -> Array:
    """T⁻¹ of the fundamental sides by the recursion, of a Hermitian T."""
    be, xp = s.be, s.be.xp
    lanes, n = int(s.c.shape[0]), s.n
    if costs.recursion(be, s.y, lanes, 0, n) <= costs.native(be, s.y, lanes, 1, n):
        return levinson(be, s.c, s.r, s.y)
    # T⁻¹e_{n−1} is T⁻¹e₀ turned round and conjugated, and tells the second (see `levinson`).
    p = be.native_levinson(s.c, s.r, s.sides[:, :1, :])
    back = conj(be, be.flip(p, (2,)))[:, :, : n - 1] / conj(be, p[:, :, :1])
    z = p * xp.sum(s.r[:, None, 1:] * back, axis=2, keepdims=True, dtype=p.dtype)
    return xp.concat([p, z - be.pad(back, [(0, 0), (0, 0), (1, 0)])], axis=1)


def inverse_of(be: Backend, c: Array) -> tuple[Inverse, Array]:
    """T⁻¹ by Levinson's recursion of Hermitian matrices with minors far from 0: (L, n), of size 1.

    Also whether a bound shows the condition to be far below 1/eps (L,).
    """
    s = _System(be, c, conj(be, c), be.new_like(c, (c.shape[0], 0, c.shape[1])))
    x = s.refined(_hermitian_ends(s))
    bound, other = s.bound_by_symbol(), s.bound_by_inverse(x)
    bound = be.xp.where(other < bound, other, bound)
    return s.inverse(x), bound * s.eps < _REGULAR


def _factorised(s: _System, y: Array) -> Array:
    """T⁻¹y by a dense factorisation."""
    xp = s.be.xp
    return xp.matrix_transpose(s.be.solve(_matrix(s), xp.matrix_transpose(y)))


def _direct(s: _System, g: Route) -> _Found:
    """By a method that needs no iteration."""
    be = s.be
    iterations, fallback = _nothing(s)
    if g.method == "dense" and s.n <= (_EXACT if g.statement else _ALWAYS_EXACT):
        return _exact(s)
    bound = s.bound_by_symbol()
    if not g.statement and g.method != "gko" and be.concrete(s.regular(bound)) is True:
        # T is known to be regular and far from any zero minor: nothing but x is needed.
        if g.method == "dense":
            return _Found(_factorised(s, s.y), bound, iterations, fallback)
        x = _recursion(s, s.y, ends=False)
        if be.concrete(be.xp.all(s.backward(s.y, x) <= _CLOSE)) is True:
            return _Found(x, bound, iterations, fallback)
    if g.method == "dense":
        x = _factorised(s, s.sides)
    elif g.method == "levinson":
        x, fallback = _levinson(s, bound)
    else:
        x = _stable(s)
    condition = s.condition(x) if g.statement else _condition(s, x, bound)
    return _Found(x[:, :-2, :], condition, iterations, fallback)


def _condition(s: _System, x: Array, bound: Array) -> Array:
    """A bound of the condition number, or where that is too large an estimate (L,)."""
    be, xp = s.be, s.be.xp
    other = s.bound_by_inverse(x)
    bound = xp.where(other < bound, other, bound)

    def keep(bound: Array, _: Array) -> tuple[Array, ...]:
        return (bound,)

    def estimated(_: Array, x: Array) -> tuple[Array, ...]:
        return (s.condition(x),)

    return be.cond(s.regular(bound), keep, estimated, bound, x)[0]


def _iterated(s: _System, g: Route) -> _Found:
    """Conjugate gradients; through the normal equations where T is not positive definite."""
    be, xp = s.be, s.be.xp
    k = s.y.shape[1]
    y = s.sides if g.statement else s.y

    def run(hermitian: bool, c: Array, r: Array, y: Array) -> tuple[Array, Array]:
        return conjugate_gradients(be, c, r, y, hermitian=hermitian, rtol=g.rtol, limit=g.limit)

    x, steps = run(g.hermitian, s.c, s.r, y)
    fallback = _nothing(s)[1]
    if g.hermitian:
        left = length(be, y - s.product.times(x))
        scale = s.weight[:, None] * length(be, x)
        good = xp.all(left <= g.rtol * length(be, y) + s.noise * scale, axis=-1)

        def keep(*arrays: Array) -> tuple[Array, ...]:
            return arrays[:2]

        def normal(*arrays: Array) -> tuple[Array, ...]:
            x, steps, good, c, r, y = arrays
            new = run(False, c, r, y)
            return (
                xp.where(good[:, None, None], x, new[0]),
                xp.where(good[:, None], steps, steps + new[1]),
            )

        x, steps = be.cond(xp.all(good), keep, normal, x, steps, good, s.c, s.r, y)
        fallback = ~good
    if g.statement:
        condition = s.condition(x)
    else:
        condition = xp.full_like(s.norm, float("nan"))
    steps = xp.astype(steps[:, :k], be.default_int(s.c))
    return _Found(x[:, :k, :], condition, steps, fallback)


def solution(be: Backend, g: Route, c: Array, r: Array, b: Array) -> tuple[Any, ...]:
    """x (..., n, k), and what is known of it; x is NaN where there is no success.

    In this order, (..., k) or (...): residual, condition, error bound, iterations, fallback,
    success, and whether the system is finite. All leading axes must be there already. Without a
    statement the condition of a direct method is only a bound, and what it does not need is None:
    the error bound, and of direct methods the residual.
    """
    with np.errstate(all="ignore"):  # an overflow shows in the result
        return _solution(be, g, c, r, b)


def _solution(be: Backend, g: Route, c: Array, r: Array, b: Array) -> tuple[Any, ...]:
    xp = be.xp
    *lead, n, k = (int(v) for v in b.shape)
    c, r = (xp.reshape(v, (-1, n)) for v in (c, r))
    y = xp.matrix_transpose(xp.reshape(b, (-1, n, k)))
    # NaN and infinities show in the largest value.
    top = xp.max(xp.abs(xp.concat([c, r[:, 1:]], axis=1)), axis=-1)
    tops = xp.concat([top[:, None], xp.max(xp.abs(y), axis=-1)], axis=1)
    finite = xp.isfinite(tops)
    whole, finite = finite[:, 0], finite[:, :1] & finite[:, 1:]
    if be.concrete(xp.all(finite)) is not True:
        # A system that is not finite is replaced by the identity's, and its solution by NaN.
        first = be.arange(n, c, be.default_int(c)) == 0
        c = xp.where(whole[:, None], c, xp.where(first, xp.ones_like(c), xp.zeros_like(c)))
        r = xp.where(whole[:, None] & ~first, r, xp.zeros_like(r))
        y = xp.where(finite[:, :, None], y, xp.zeros_like(y))
    scales = power_of_two(be, tops, 1.0)
    scale, sizes = scales[:, :1], scales[:, 1:, None]
    typed = xp.astype(scale, c.dtype)
    s = _System(be, c * typed, r * typed, y * xp.astype(sizes, y.dtype))
    found = _iterated(s, g) if g.method == "pcg" else _direct(s, g)
    sound = xp.all(xp.isfinite(found.x), axis=-1)
    x = _where(be, sound, found.x, 0.0)
    known = sound & finite
    success = known & (found.condition * s.eps < _SINGULAR)[:, None]
    residual = error = None
    lanes = (tuple(lead), (*lead, k))
    nan = be.new_like(found.condition, (), fill=float("nan"))
    if g.statement or g.method == "pcg":
        rest = s.y - s.product.times(x)
        size, target = length(be, rest), length(be, s.y)
        if g.method == "pcg":
            level = s.noise * (s.weight[:, None] * length(be, x) + target)
            # Where T is nearly singular x can be so large that any residual counts as rounding.
            most = s.eps**0.25 * target
            success = known & (size <= g.rtol * target + xp.where(level < most, level, most))
        some = target > 0
        residual = xp.where(some, size / xp.where(some, target, xp.ones_like(target)), size)
        residual = xp.reshape(xp.where(known, residual, nan), lanes[1])
        if g.statement:
            error = xp.where(success, _error_bound(s, found.condition, x, rest), nan)
            error = xp.reshape(error, lanes[1])
    x = _where(be, success, x * xp.astype(scale[:, :, None] / sizes, x.dtype), float("nan"))
    return (
        xp.reshape(xp.matrix_transpose(x), (*lead, n, k)),
        residual,
        xp.reshape(xp.where(whole, found.condition, nan), lanes[0]),
        error,
        xp.reshape(found.iterations, lanes[1]),
        xp.reshape(found.fallback, lanes[0]),
        xp.reshape(success, lanes[1]),
        xp.reshape(finite, lanes[1]),
    )


def _where(be: Backend, mask: Array, x: Array, value: float) -> Array:
    """The solutions that a mask (L, k) holds for; where values can be read nearly always all."""
    if be.concrete(be.xp.all(mask)) is True:
        return x
    return be.xp.where(mask[:, :, None], x, be.xp.full_like(x, value))


def _error_bound(s: _System, condition: Array, x: Array, rest: Array) -> Array:
    """‖x − x*‖ ≤ ‖T⁻¹‖ (‖rest‖ + its rounding), in the 1-norm and relative to ‖x‖ (L, k)."""
    be, xp = s.be, s.be.xp
    error = xp.sum(xp.abs(rest), axis=-1)
    error = error + s.n**0.5 * s.noise * s.weight[:, None] * length(be, x)
    size = xp.sum(xp.abs(x), axis=-1) * s.norm[:, None]
    some = size > 0
    error = error / xp.where(some, size, xp.ones_like(size))
    return condition[:, None] * xp.where(some, error, xp.zeros_like(error))
