"""Conjugate gradients for Toeplitz systems with circulant preconditioners, in lanes.

A step costs two FFT products, O(n log n), and holds a few vectors. Hermitian positive definite
systems are solved as they are, all others through their normal equations. Layout as in
`_toeplitz_maps`: (L, n) for columns and rows, (L, k, n) for right-hand sides.
"""

from __future__ import annotations

from typing import Any

from .._backends import Backend
from ._toeplitz_maps import Product, inner, length

__all__ = ["Circulant", "circulant_eigenvalues", "conjugate_gradients"]

Array = Any
# Times that the recursion starts again from the residual b − T x itself.
_RESTARTS = 6


def circulant_eigenvalues(be: Backend, c: Array, r: Array, *, hermitian: bool) -> Array:
    """Eigenvalues (L, n) of a circulant matrix near T, real and positive where T is Hermitian.

    Strang's matrix copies the central diagonals of T and wraps them around. Where T is positive
    definite it nearly always is too; otherwise T. Chan's is taken, the circulant matrix nearest to
    T in the Frobenius norm, which then always is.
    """
    xp, n = be.xp, c.shape[-1]
    m = be.arange(n, c, be.default_int(c))
    around = xp.concat([xp.zeros_like(r[:, :1]), xp.flip(r[:, 1:], axis=1)], axis=1)  # t_{m−n}
    # The middle diagonal of an even number of them is shared, which keeps the matrix Hermitian.
    near = xp.where(2 * m < n, c, xp.where(2 * m > n, around, 0.5 * (c + around)))
    share = xp.astype(m, xp.abs(c).dtype) / n
    mean = c + xp.astype(share, c.dtype) * (around - c)
    complex_ = c if be.is_complex(c) else xp.astype(c, be.fft(c, (1,), (n,)).dtype)
    strang, chan = (xp.fft.fft(xp.astype(v, complex_.dtype), axis=-1) for v in (near, mean))
    eps = float(xp.finfo(c.dtype).eps)
    if hermitian:
        strang, chan = xp.real(strang), xp.real(chan)
        size = xp.abs(chan)
        floor = eps * xp.max(size, axis=-1, keepdims=True)
        chan = xp.where(size > floor, size, floor)
        good = strang > eps * xp.max(xp.abs(strang), axis=-1, keepdims=True)
    else:
        size = xp.abs(chan)
        floor = eps**0.5 * xp.max(size, axis=-1, keepdims=True)
        chan = xp.where(size > floor, chan, xp.astype(floor, chan.dtype))
        size = xp.abs(strang)
        good = size > eps**0.5 * xp.max(size, axis=-1, keepdims=True)
    return xp.where(xp.all(good, axis=-1, keepdims=True), strang, chan)


class Circulant:
    """C⁻¹ and C⁻ᴴ by FFT."""

    def __init__(self, be: Backend, eigenvalues: Array, real: bool) -> None:
        self.be, self.real = be, real
        self.inverse = (1 / eigenvalues)[:, None, :]
        n = eigenvalues.shape[-1]
        self.points = int(n)
        if real:
            self.inverse = self.inverse[:, :, : n // 2 + 1]

    def _with(self, values: Array, x: Array) -> Array:
        y = self.be.fft(x, (2,), (self.points,)) * values
        return self.be.ifft(y, (2,), (self.points,), real=self.real)

    def solve(self, x: Array) -> Array:
        """C⁻¹ x."""
        return self._with(self.inverse, x)

    def adjoint_solve(self, x: Array) -> Array:
        """C⁻ᴴ x."""
        values = self.inverse
        return self._with(self.be.xp.conj(values) if self.be.is_complex(values) else values, x)


def conjugate_gradients(
    be: Backend,
    c: Array,
    r: Array,
    y: Array,
    *,
    hermitian: bool,
    rtol: float,
    limit: int,
) -> tuple[Array, Array]:
    """x (L, k, n) with ‖y − T x‖₂ ≤ rtol·‖y‖₂ as far as it goes, and the steps made (L, k).

    The residual of the recursion drifts from that of x: where it has become small enough, the
    recursion starts anew from y − T x, until that is small enough or stops falling.
    """
    xp = be.xp
    product = Product(be, c, r)
    eigenvalues = circulant_eigenvalues(be, c, r, hermitian=hermitian)
    near = Circulant(be, eigenvalues, product.real)
    goal = rtol * length(be, y)
    zero = xp.zeros_like(goal)

    def going(state: tuple[Array, ...]) -> Array:
        return xp.any(state[4])

    def again(state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, rest, size, steps, open_ = state
        # Below the goal on the way: what the recursion loses against y − T x is small then.
        d, made = _descend(be, product, near, rest, 0.5 * goal, open_, limit, steps, hermitian)
        new = x + d
        found = y - product.times(new)
        left = length(be, found)
        better = open_ & (left < size)
        falls = better & (left < 0.5 * size) & (left > goal) & (made < limit)
        keep = better[:, :, None]
        return (
            xp.where(keep, new, x),
            xp.where(keep, found, rest),
            xp.where(better, left, size),
            made,
            falls,
        )

    size = length(be, y)
    start = (xp.zeros_like(y), y, size, zero, size > 0)
    x, _, _, steps, _ = be.while_loop(going, again, start, _RESTARTS)
    return x, steps


def _descend(
    be: Backend,
    product: Product,
    near: Circulant,
    rest: Array,
    goal: Array,
    open_: Array,
    limit: int,
    steps: Array,
    definite: bool,
) -> tuple[Array, Array]:
    """A correction d with ‖rest − T d‖₂ below the goal, and the steps made so far.

    Conjugate gradients on T d = rest, preconditioned by C; or on AᴴA w = Aᴴrest for A = T C⁻¹ and
    d = C⁻¹w, in the form that keeps the residual itself (CGLS).
    """
    xp = be.xp

    def gradient(r: Array) -> tuple[Array, Array]:
        z = near.solve(r) if definite else near.adjoint_solve(product.adjoint_times(r))
        return z, inner(be, r if definite else z, z)

    def going(state: tuple[Array, ...]) -> Array:
        return xp.any(state[4])

    def ratio(active: Array, a: Array, b: Array) -> Array:
        part = xp.where(active, a / xp.where(active, b, xp.ones_like(b)), xp.zeros_like(a))
        return xp.astype(part, rest.dtype)[:, :, None]

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        d, r, p, rho, active, made = state
        direction = p if definite else near.solve(p)
        q = product.times(direction)
        curve = inner(be, direction if definite else q, q)
        # An indefinite matrix shows here: the lane stays where it is.
        active = active & (curve > 0)
        alpha = ratio(active, rho, curve)
        d, r = d + alpha * direction, r - alpha * q
        made = made + xp.astype(active, made.dtype)
        active = active & (length(be, r) > goal) & (made < limit)
        z, new = gradient(r)
        p = z + ratio(active, new, rho) * p
        return d, r, p, xp.where(active, new, rho), active, made

    z, rho = gradient(rest)
    start = (xp.zeros_like(rest), rest, z, rho, open_ & (rho > 0) & (steps < limit), steps)
    d, _, _, _, _, made = be.while_loop(going, step, start, limit)
    return d, made
