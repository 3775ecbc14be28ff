"""Least squares with tall Toeplitz matrices that are never formed.

- Up to `MOST` unknowns by an inverse of AᴴA: where that is a Toeplitz matrix and large from
  Levinson's recursion, else from Cholesky's factor, and where the condition is too large for these
  from a QR factorisation of A, one block of rows after another; at deficient rank the
  pseudo-inverse. The solution is refined with b − A x as long as corrections shrink.
- Beyond by conjugate gradients on AᴴA x = Aᴴb in the form that keeps b − A x, started again from
  the residual of the system itself until that is as small as rounding lets it be. They are
  preconditioned by the inverse of the Toeplitz matrix near AᴴA by Levinson's recursion, or of a
  circulant matrix near that.

In lanes, on plain arrays, without derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log2
from typing import Any

import numpy as np

from .._backends import Backend
from ._scaling import adjoint, conj, identity, power_of_two, scaled_root
from ._sliding_maps import Shape, gram_lags, gram_of, rows_of
from ._toeplitz_costs import inverts
from ._toeplitz_iterative import Circulant, circulant_eigenvalues
from ._toeplitz_maps import inner, length
from ._toeplitz_systems import inverse_of
from ._triangles import scaled_cholesky

__all__ = ["MOST", "minimiser"]

Array = Any
Map = Callable[[Array], Array]
#: Unknowns up to which AᴴA is made and factored.
MOST = 2048
# Unknowns from which Levinson's n² steps take too long.
_LARGE = 2**15
# Refinements; times that conjugate gradients start again, and their steps each time.
_REFINEMENTS, _RESTARTS, _STEPS = 12, 4, 500
# Steps without a smaller residual after which rounding is taken to be all that is left.
_PATIENCE = 50
# Residuals of the normal equations that count as rounding, in units of eps·log2(rows).
_SOUND = 64.0


# -- inverses, and matrices near them --------------------------------------------------------------


def _triangle(be: Backend, g: Shape, a: Array, ridge: Array) -> Array:
    """R (L, n, n) with RᴴR = AᴴA + Γ, by QR of the rows of A, block after block."""
    xp, n = be.xp, g.unknowns
    g, a = g.windowed(be, a)
    count = min(g.rows, 2 * n + 64)
    blocks = -(-g.rows // count)
    a = be.pad(a, [(0, 0), (0, blocks * count + n - 1 - g.points)])
    root = xp.sqrt(ridge)[:, None, None]
    eye = identity(be, n, a)
    start = xp.astype(xp.where(eye, root, xp.zeros_like(root)), a.dtype)

    def block(i: Any, r: Array) -> Array:
        rows = rows_of(be, g, a, i * count, count)
        return xp.linalg.qr(xp.concat([r, rows], axis=1), mode="reduced")[1]

    return be.fori_loop(0, blocks, block, start)


def _inverse(be: Backend, g: Shape, a: Array, ridge: Array) -> tuple[Map, Array]:
    """s ↦ (AᴴA + Γ)⁺ s, and whether the rank is full (L,)."""
    xp, n = be.xp, g.unknowns
    eps = float(xp.finfo(a.dtype).eps)
    more = xp.astype(ridge, a.dtype)[:, None, None]
    gram = gram_of(be, g, a)
    gram = gram + xp.where(identity(be, n, a), more, xp.zeros_like(more))
    found = scaled_cholesky(be, gram, max(g.rows, n))
    root = scaled_root(be, found.scale, found.root)
    good = found.within(0.1 * eps**-0.5)
    yes = be.new_like(good, tuple(good.shape), fill=True)

    def easy(*_: Array) -> tuple[Array, ...]:
        return root, yes

    def hard(a: Array, ridge: Array) -> tuple[Array, ...]:
        _, s, vh = xp.linalg.svd(_triangle(be, g, a, ridge), full_matrices=False)
        kept = s > n * eps * s[:, :1]
        inverse = xp.where(kept, 1 / xp.where(kept, s, xp.ones_like(s)), xp.zeros_like(s))
        found = adjoint(be, vh) * xp.astype(inverse, a.dtype)[:, None, :]
        return xp.where(good[:, None, None], root, found), good | xp.all(kept, axis=-1)

    root, whole = be.cond(xp.all(good), easy, hard, a, ridge)
    right = xp.matrix_transpose(root)
    left = conj(be, root)
    return lambda s: be.matmul(be.matmul(s, left), right), whole


def _column(be: Backend, g: Shape, a: Array, ridge: Array, floor: float) -> tuple[Array, Array]:
    """The first column of the Toeplitz matrix near AᴴA + Γ, with `floor` of its diagonal added.

    Of size 1; and the power of two that made it that (L, 1).
    """
    xp = be.xp
    lags = gram_lags(be, g, a)
    top = xp.real(lags[:, :1]) if be.is_complex(lags) else lags[:, :1]
    unit = power_of_two(be, top + ridge[:, None], 1.0)
    first = be.arange(g.unknowns, a, be.default_int(a)) == 0
    more = xp.astype(ridge[:, None] + floor * top, a.dtype)
    column = lags + xp.where(first, more, xp.zeros_like(more))
    return column * xp.astype(unit, a.dtype), unit


def _recursive(be: Backend, g: Shape, a: Array, ridge: Array) -> tuple[Map, Array]:
    """s ↦ (AᴴA + Γ)⁻¹ s by Levinson's recursion, and where the condition allows for that (L,)."""
    column, unit = _column(be, g, a, ridge, 0.0)
    inverse, sure = inverse_of(be, column)
    unit = be.xp.astype(unit, a.dtype)[:, :, None]
    return lambda s: inverse.times(s) * unit, sure


def _near(be: Backend, g: Shape, a: Array, ridge: Array) -> Map:
    """The inverse of the Toeplitz matrix near AᴴA + Γ, or of a circulant matrix near that."""
    xp = be.xp
    # Kept definite: that of a short record may not be, but for rounding.
    column, unit = _column(be, g, a, ridge, g.unknowns * float(xp.finfo(a.dtype).eps))
    if g.full or g.unknowns > _LARGE:
        # A short kernel's matrix is banded, and nearly circulant.
        values = circulant_eigenvalues(be, column, conj(be, column), hermitian=True)
        solve = Circulant(be, values, not be.is_complex(a)).solve
    else:
        solve = inverse_of(be, column)[0].times
    return lambda s: solve(s) * xp.astype(unit, s.dtype)[:, :, None]


# -- steps to the minimum -------------------------------------------------------------------------


class _System:
    """Minimise ‖b − A x‖² + γ‖x‖² − 2 Re tᴴx; b or t may be missing."""

    def __init__(
        self, be: Backend, g: Shape, a: Array, ridge: Array, b: Array | None, t: Array | None
    ) -> None:
        self.be, self.g, self.a, self.b, self.t = be, g, a, b, t
        self.ridge = be.xp.astype(ridge, a.dtype)[:, None, None]
        self.size = length(be, a)[:, None]
        self.eps = float(be.xp.finfo(a.dtype).eps)

    def rest(self, x: Array) -> Array:
        """b − A x."""
        y = self.g.times(self.be, self.a, x)
        return -y if self.b is None else self.b - y

    def slope(self, x: Array, r: Array) -> Array:
        """Aᴴr + t − γx: 0 at the solution."""
        s = self.g.adjoint(self.be, self.a, r) - self.ridge * x
        return s if self.t is None else s + self.t

    def sound(self, x: Array, r: Array, s: Array, units: float) -> Array:
        """Whether s is no larger than rounding makes it (L, k)."""
        be = self.be
        size = self.size * (length(be, r) + self.size * length(be, x))
        size = size + be.xp.abs(self.ridge[:, :, 0]) * length(be, x)
        return length(be, s) <= units * self.eps * max(1.0, log2(self.g.rows)) * size


def _refined(system: _System, inverse: Map, x: Array) -> Array:
    """x (L, k, n) from corrections M s, on while they shrink and matter."""
    be, xp = system.be, system.be.xp

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, before, goal, _ = state
        s = system.slope(x, system.rest(x))
        z = inverse(s)
        now = inner(be, s, z)
        # The first correction is x itself. What a later one leaves is not told by how much smaller
        # it is than the one before: the directions that A shrinks most come out last.
        goal = xp.where(goal < 0, now, goal)
        useful = (now < 0.25 * before) & (now > system.eps**2 * goal)
        return x + z, now, goal, useful

    size = length(be, x)  # of 0
    start = (x, xp.full_like(size, float("inf")), size - 1, size == 0)
    return be.while_loop(lambda state: xp.any(state[3]), step, start, _REFINEMENTS)[0]


def _by_inverse(system: _System, ridge: Array, x: Array) -> tuple[Array, ...]:
    """x (L, k, n) by an inverse, and whether it is the only one (L,)."""
    be, g, a = system.be, system.g, system.a

    def dense(x: Array) -> tuple[Array, ...]:
        inverse, whole = _inverse(be, g, a, ridge)
        return _refined(system, inverse, x), whole

    if not g.toeplitz or not inverts(be, a, int(a.shape[0]), g.unknowns):
        return dense(x)
    inverse, sure = _recursive(be, g, a, ridge)

    def quick(x: Array) -> tuple[Array, ...]:
        return _refined(system, inverse, x), sure

    return be.cond(be.xp.all(sure), quick, dense, x)


def _descend(
    system: _System, near: Map, x: Array, r: Array, s: Array, rho: Array, goal: Array, on: Array
) -> Array:
    """x after steps from the residuals r and s, until ⟨s, M s⟩ meets the goal or falls no more."""
    be, xp = system.be, system.be.xp

    def ratio(active: Array, a: Array, b: Array) -> Array:
        part = xp.where(active, a / xp.where(active, b, xp.ones_like(b)), xp.zeros_like(a))
        return xp.astype(part, x.dtype)[:, :, None]

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, r, p, rho, best, stalled, active = state
        q = system.g.times(be, system.a, p)
        curve = inner(be, q, q) + inner(be, p, system.ridge * p)
        active = active & (curve > 0)
        alpha = ratio(active, rho, curve)
        x, r = x + alpha * p, r - alpha * q
        s = system.slope(x, r)
        z = near(s)
        new = inner(be, s, z)
        gains = new < 0.9 * best
        stalled = xp.where(gains, xp.zeros_like(stalled), stalled + 1)
        going = active & (new > goal) & (stalled < _PATIENCE) & ~system.sound(x, r, s, 1.0)
        p = z + ratio(going, new, rho) * p
        return x, r, p, xp.where(going, new, rho), xp.where(gains, new, best), stalled, going

    start = (x, r, near(s), rho, rho, xp.zeros_like(rho), on & (rho > 0))
    return be.while_loop(lambda state: xp.any(state[-1]), step, start, _STEPS)[0]


def _minimum(system: _System, near: Map, x: Array) -> tuple[Array, Array]:
    """x (L, k, n) from 0, and whether it solves the normal equations to rounding (L, k)."""
    be, xp = system.be, system.be.xp

    def residuals(x: Array) -> tuple[Array, Array, Array]:
        r = system.rest(x)
        s = system.slope(x, r)
        return r, s, inner(be, s, near(s))

    def again(state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, r, s, rho, top, on = state
        goal = (0.25 * system.eps) ** 2 * top
        new = _descend(system, near, x, r, s, rho, goal, on)
        r2, s2, rho2 = residuals(new)
        better = on & (rho2 < rho)
        keep = better[:, :, None]
        x, r, s = xp.where(keep, new, x), xp.where(keep, r2, r), xp.where(keep, s2, s)
        on = better & (rho2 < 0.1 * rho) & (rho2 > goal)
        return x, r, s, xp.where(better, rho2, rho), top, on

    r, s, rho = residuals(x)
    state = (x, r, s, rho, rho, rho > 0)
    x, r, s, *_ = be.while_loop(lambda state: xp.any(state[-1]), again, state, _RESTARTS)
    return x, system.sound(x, r, s, _SOUND)


def minimiser(
    be: Backend, g: Shape, a: Array, ridge: Array, b: Array | None, t: Array | None
) -> tuple[Array, Array, Array]:
    """The x (L, k, n) that minimises ‖b − A x‖² + γ‖x‖² − 2 Re tᴴx, of least norm of several.

    a (L, N), ridge (L,), b (L, k, M) or None, t (L, k, n) or None. Also whether x was found (L, k)
    and whether it is the only one (L,). Where a, ridge or a column is not finite, x is NaN.
    """
    with np.errstate(all="ignore"):  # an overflow shows in the result
        xp = be.xp
        given = b if t is None else t
        fine = xp.all(xp.isfinite(a), axis=-1) & xp.isfinite(ridge)
        finite = fine[:, None] & xp.all(xp.isfinite(given), axis=-1)
        # In place of a matrix that is not finite one of orthogonal columns, as far as it goes.
        first = be.arange(g.points, a, be.default_int(a)) == (0 if g.full else g.unknowns - 1)
        a = xp.where(fine[:, None], a, xp.astype(first, a.dtype))
        ridge = xp.where(fine, ridge, xp.ones_like(ridge))
        given = xp.where(finite[:, :, None], given, xp.zeros_like(given))
        # Powers of two: nothing is rounded, nothing overflows.
        size = xp.maximum(xp.max(xp.abs(a), axis=-1), xp.sqrt(ridge))
        scale = power_of_two(be, size, 1.0)[:, None]
        sizes = power_of_two(be, xp.max(xp.abs(given), axis=-1), 1.0)[:, :, None]
        a, given = a * xp.astype(scale, a.dtype), given * xp.astype(sizes, given.dtype)
        ridge = ridge * scale[:, 0] * scale[:, 0]
        if t is None:
            system, back = _System(be, g, a, ridge, given, None), scale[:, :, None]
        else:
            system, back = _System(be, g, a, ridge, None, given), scale[:, :, None] ** 2
        x = be.new_like(given, (*given.shape[:2], g.unknowns))
        if g.unknowns <= MOST:
            x, whole = _by_inverse(system, ridge, x)
            found = xp.all(xp.isfinite(x), axis=-1)
        else:
            whole = fine | ~fine
            x, sound = _minimum(system, _near(be, g, a, ridge), x)
            found = sound & xp.all(xp.isfinite(x), axis=-1)
        nan = be.new_like(ridge, (), fill=float("nan"))
        x = x * xp.astype(back / sizes, x.dtype)
        x = xp.where((finite & found)[:, :, None], x, xp.astype(nan, x.dtype))
        return x, found, whole
