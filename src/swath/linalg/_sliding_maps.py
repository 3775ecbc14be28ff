"""Tall Toeplitz matrices as linear maps: products, their adjoints, and the Gram matrix.

In lanes, vectors on the last axis: entries a of (L, N), unknowns x of (L, k, n), rows of (L, k, M).
The maps are the cores of the sliding product, so they may be differentiated and batched.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .._backends import Backend
from ..geometry import Sliding, Span
from ..sliding import correlate, kernel_gradient, spread

__all__ = ["Shape", "gram_lags", "gram_of", "rows_of"]

Array = Any


@dataclass(frozen=True)
class Shape:
    """A matrix A of n columns whose rows are windows of a, or whose product is a convolution.

    Attributes
    ----------
    points, unknowns : int
        Entries of a, N, and columns of A, n.
    full : bool
        False: A[i, j] = a[i + n − 1 − j], with the N − n + 1 windows that lie inside a; the short x
        slides over a. True: A[i, j] = a[i − j], 0 outside, with N + n − 1 rows; the short a slides
        over x.
    silent : bool
        Whether the n − 1 entries at both ends of a are 0: then the windows are a convolution too.
    """

    points: int
    unknowns: int
    full: bool
    silent: bool = False

    @property
    def toeplitz(self) -> bool:
        """Whether AᴴA is a Toeplitz matrix."""
        return self.full or self.silent

    @property
    def rows(self) -> int:
        """Rows of A."""
        return self.points + (self.unknowns - 1) * (1 if self.full else -1)

    @cached_property
    def _span(self) -> Span:
        if self.full:
            return Span(self.unknowns, self.points, low=self.points - 1, high=self.points - 1)
        return Span(self.points, self.unknowns)

    def _of(self, be: Backend, a: Array, x: Array | None, v: Array | None) -> tuple[Any, ...]:
        """The geometry, and the arguments as signal, kernel and output of a sliding product."""
        xp = be.xp
        some: Array = v if x is None else x
        lanes, k = (int(n) for n in some.shape[:2])
        g = Sliding((self._span,), groups=lanes)
        if self.full:
            signal = None if x is None else xp.permute_dims(x, (1, 0, 2))
            kernel = None if a is None else xp.flip(a, axis=-1)[:, None, :]
            out = None if v is None else xp.permute_dims(v, (1, 0, 2))
        else:
            signal = None if a is None else a[None, ...]
            kernel = None
            if x is not None:
                kernel = xp.reshape(xp.flip(x, axis=-1), (lanes * k, 1, self.unknowns))
            out = None if v is None else xp.reshape(v, (1, lanes * k, self.rows))
        return g, signal, kernel, out, (lanes, k)

    def times(self, be: Backend, a: Array, x: Array) -> Array:
        """A x, (L, k, M)."""
        g, signal, kernel, _, lead = self._of(be, a, x, None)
        y = correlate(g, signal, kernel)
        if self.full:
            return be.xp.permute_dims(y, (1, 0, 2))
        return be.xp.reshape(y, (*lead, self.rows))

    def turned(self, be: Backend, a: Array, v: Array) -> Array:
        """Aᵀ v, (L, k, n)."""
        g, signal, kernel, out, lead = self._of(be, a, None, v)
        if self.full:
            return be.xp.permute_dims(spread(g, kernel, out), (1, 0, 2))
        w = be.xp.reshape(kernel_gradient(g, signal, out), (*lead, self.unknowns))
        return be.xp.flip(w, axis=-1)

    def adjoint(self, be: Backend, a: Array, v: Array) -> Array:
        """Aᴴ v, (L, k, n)."""
        if not be.is_complex(v):
            return self.turned(be, a, v)
        return be.xp.conj(self.turned(be, a, be.xp.conj(v)))

    def entries(self, be: Backend, x: Array, v: Array) -> Array:
        """The derivative of Σ v (A x) with respect to a, (L, N), summed over k."""
        g, signal, kernel, out, _ = self._of(be, None, x, v)
        if self.full:
            return be.xp.flip(kernel_gradient(g, signal, out)[:, 0, :], axis=-1)
        return spread(g, kernel, out)[0, ...]

    def windowed(self, be: Backend, a: Array) -> tuple[Shape, Array]:
        """The same matrix by windows inside a longer a."""
        if not self.full:
            return self, a
        edge = self.unknowns - 1
        shape = Shape(self.points + 2 * edge, self.unknowns, False)
        return shape, be.pad(a, [(0, 0), (edge, edge)])


def _lag_sums(be: Backend, a: Array, b: Array) -> Array:
    """Σ_l conj(a[l + d]) b[l] for d = 0 … len(a) − len(b), in lanes."""
    xp = be.xp
    g = Sliding((Span(int(a.shape[-1]), int(a.shape[-1] - b.shape[-1]) + 1),), groups=a.shape[0])
    a = xp.conj(a) if be.is_complex(a) else a
    return kernel_gradient(g, a[None, ...], b[None, ...])[:, 0, :]


def gram_lags(be: Backend, g: Shape, a: Array) -> Array:
    """The column of a Toeplitz matrix near AᴴA (L, n); of AᴴA itself where it is one."""
    lags = min(g.unknowns, g.points)
    found = _lag_sums(be, be.pad(a, [(0, 0), (0, lags - 1)]), a)
    found = be.xp.conj(found) if be.is_complex(a) else found
    found = be.pad(found, [(0, 0), (0, g.unknowns - lags)])
    # Windows count every entry but those of the ends n times, of M + n − 1.
    return found if g.toeplitz else found * (g.rows / g.points)


def rows_of(be: Backend, g: Shape, a: Array, first: Any, count: int) -> Array:
    """Rows first … first + count − 1 of A (L, count, n), 0 beyond the last, by windows."""
    xp, n = be.xp, g.unknowns
    piece = be.slab(a, 1, first, count + n - 1)
    found = xp.flip(be.windows(piece, (n,), (1,), (1,), (1,)), axis=-1)
    inside = be.arange(count, a, be.default_int(a)) + first < g.rows
    return xp.where(inside[None, :, None], found, xp.zeros_like(found))


def gram_of(be: Backend, g: Shape, a: Array) -> Array:
    """AᴴA (L, n, n), from correlations and what its corners add, in O(N log N + n²).

    For i = n − 1 − p and j = n − 1 − q, with d = p − q >= 0::

        (AᴴA)[i, j] = Σ conj(a[l + d]) a[l]  over  q <= l < q + M
                    = core[d] (n − 1 <= l < M) + head[q, d] (q <= l < n − 1) + tail[q, d] (M <= l)

    Only the core is a long sum, and it knows no q; heads and tails are running sums along q. All
    terms are added and none taken away, so nothing cancels.
    """
    xp, n, rows = be.xp, g.unknowns, g.rows
    g, a = g.windowed(be, a)
    if rows < n:
        m = rows_of(be, g, a, 0, rows)
        left = xp.matrix_transpose(m)
        return be.matmul(xp.conj(left) if be.is_complex(a) else left, m)
    long = be.pad(a, [(0, 0), (0, n - 1)])
    core = _lag_sums(be, a[:, n - 1 :], a[:, n - 1 : rows])[:, None, :]

    def products(start: int) -> Array:
        """conj(a[l + d]) a[l] for n − 1 values of l from `start`, (L, n − 1, n)."""
        part = long[:, start : start + 2 * n - 2]
        windows = be.windows(part, (n,), (1,), (1,), (1,))
        windows = xp.conj(windows) if be.is_complex(a) else windows
        return windows * part[:, : n - 1, None]

    sums = xp.broadcast_to(core, (core.shape[0], n, n))
    if n > 1:
        head = xp.flip(xp.cumulative_sum(xp.flip(products(0), axis=1), axis=1), axis=1)
        tail = xp.cumulative_sum(products(rows), axis=1)
        sums = (
            sums + be.pad(head, [(0, 0), (0, 1), (0, 0)]) + be.pad(tail, [(0, 0), (1, 0), (0, 0)])
        )
    # Row q moves right by q: what was column d is column p.
    wide = xp.reshape(be.pad(sums, [(0, 0), (0, 0), (0, n)]), (-1, 2 * n * n))
    wide = xp.reshape(wide[:, : 2 * n * n - n], (-1, n, 2 * n - 1))[:, :, :n]
    lower = xp.flip(wide, axis=(1, 2))
    i = be.arange(n, a, be.default_int(a))
    below = i[:, None] > i
    upper = xp.matrix_transpose(lower)
    lower = xp.conj(lower) if be.is_complex(a) else lower
    return xp.where(below, lower, upper)
