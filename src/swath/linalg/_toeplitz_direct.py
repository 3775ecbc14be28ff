"""Direct solvers of Toeplitz systems in O(n²) time and O(n) memory, in lanes.

Levinson's recursion is the fast one; it divides by leading minors. Gaussian elimination with
partial pivoting on the Cauchy-like matrix that an FFT makes of T is the stable one.

Layout as in `_toeplitz_maps`: columns and rows (L, n), right-hand sides (L, k, n). Each recursion
is written twice: in place where arrays may be written, and in arrays of fixed length with masks,
as one step of a compiled loop.
"""

from __future__ import annotations

from math import pi
from typing import Any

from .._backends import Backend
from ._toeplitz_maps import modulation

__all__ = ["eliminate", "levinson"]

Array = Any


# -- Levinson --------------------------------------------------------------------------------------


def levinson(be: Backend, c: Array, r: Array, y: Array) -> Array:
    """T⁻¹y (L, k, n), NaN or garbage where a leading minor vanishes.

    The last two of y must be `fundamental_sides`: their solutions p = T⁻¹e₀ and
    z = T⁻¹(0, t_{1−n}, …) come from the recursion itself.

    f and b are the solutions of T_m f = e·e₀ and T_m b = e·e_{m−1} with f₀ = b_{m−1} = 1; from
    order m to m + 1, with [·; 0] and [0; ·] for a zero appended and put in front::

        f' = [f; 0] − (Σ t_{m−j} f_j / e) [0; b]      b' = [0; b] − (Σ t_{−1−j} b_j / e) [f; 0]
        e' = e − Σ t_{m−j} f_j · Σ t_{−1−j} b_j / e   x' = [x; 0] + (y_m − Σ t_{m−j} x_j)/e' · b'
    """
    n = c.shape[-1]
    run = _levinson_in_place if be.mutable else _levinson_masked
    rows, b, e = run(be, c, r, y[:, :-2, :])
    xp = be.xp
    f, x = rows[:, 0, :], rows[:, 1:, :]
    p = f / _nonzero(be, e)[:, None]
    down = xp.concat([xp.zeros_like(b[:, :1]), b[:, : n - 1]], axis=1)
    z = p * xp.sum(r[:, 1:] * b[:, : n - 1], axis=1, dtype=p.dtype)[:, None] - down
    return xp.concat([x, p[:, None, :], z[:, None, :]], axis=1)


def _nonzero(be: Backend, e: Array) -> Array:
    return be.xp.where(e == 0, be.xp.ones_like(e), e)


def _levinson_in_place(be: Backend, c: Array, r: Array, y: Array) -> tuple[Array, Array, Array]:
    xp = be.xp
    lanes, k, n = y.shape
    rows = be.new_like(y, (lanes, 1 + k, n))  # f, then the solutions
    b, spare = be.new_like(y, (lanes, n)), be.new_like(y, (lanes, n))
    back = xp.flip(c, axis=1)
    e = c[:, 0]
    rows[:, 0, 0], b[:, 0] = 1, 1
    rows[:, 1:, 0] = y[:, :, 0] / e[:, None]
    for m in range(1, n):
        products = xp.matmul(rows[:, :, :m], back[:, n - 1 - m : n - 1, None])[:, :, 0]
        forward = products[:, 0] / e
        backward = xp.matmul(b[:, None, :m], r[:, 1 : m + 1, None])[:, 0, 0] / e
        spare[:, 0] = 0
        spare[:, 1 : m + 1] = b[:, :m]
        spare[:, :m] -= backward[:, None] * rows[:, 0, :m]
        rows[:, 0, 1 : m + 1] -= forward[:, None] * b[:, :m]
        b, spare = spare, b
        e = e - forward * backward * e  # 0 makes NaN of all that follows
        gain = (y[:, :, m] - products[:, 1:]) / e[:, None]
        rows[:, 1:, : m + 1] += gain[:, :, None] * b[:, None, : m + 1]
        if m % 256 == 0 and not xp.all(xp.isfinite(e)):
            break
    return rows, b, e


def _levinson_masked(be: Backend, c: Array, r: Array, y: Array) -> tuple[Array, Array, Array]:
    xp, n = be.xp, y.shape[-1]
    zero = xp.zeros_like(c)
    back = xp.concat([xp.flip(c[:, 1:], axis=1), zero], axis=1)
    ahead = xp.concat([r[:, 1:], zero[:, :1]], axis=1)
    first = be.arange(n, c, be.default_int(c)) == 0
    e = _nonzero(be, c[:, 0])
    f = xp.where(first, xp.ones_like(c), zero)
    x = xp.where(first, y / e[:, None, None], xp.zeros_like(y))

    def step(m: Any, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rows, b, e = state
        row = be.slab(back, 1, n - 1 - m, n)
        products = xp.sum(rows * row[:, None, :], axis=2, dtype=rows.dtype)
        forward = products[:, :1] / e[:, None]
        backward = xp.sum(b * ahead, axis=1, dtype=b.dtype)[:, None] / e[:, None]
        down = xp.concat([xp.zeros_like(b[:, :1]), b[:, : n - 1]], axis=1)
        f, x = rows[:, 0, :], rows[:, 1:, :]
        b = down - backward * f
        f = f - forward * down
        e = _nonzero(be, e - (forward * backward)[:, 0] * e)
        gain = (be.slab(y, 2, m, 1)[:, :, 0] - products[:, 1:]) / e[:, None]
        x = x + gain[:, :, None] * b[:, None, :]
        return xp.concat([f[:, None, :], x], axis=1), b, e

    start = (xp.concat([f[:, None, :], x], axis=1), f, e)
    return be.fori_loop(1, n, step, start)


# -- elimination with pivoting ---------------------------------------------------------------------


def eliminate(be: Backend, c: Array, r: Array, y: Array) -> Array:
    """T⁻¹y (L, k, n) by Gaussian elimination with partial pivoting.

    Derivation. Z T − T W = G Bᵀ has rank two (see `Inverse`), and FFTs diagonalise Z and W, with
    eigenvalues exp(−iπq/n) on interleaved points of the unit circle, q_i = 2i for rows, 2k + 1 for
    columns. So M = F T ∆ F⁻¹, ∆ diagonal, is Cauchy-like::

        M_{ik} = G_i·B_k / (exp(−iπq_i/n) − exp(−iπq_k/n)) = exp(iπq_k/n) τ(q_i − q_k) G_i·B_k
        τ(d) = 1/(exp(−iπd/n) − 1) = (i cot(πd/(2n)) − 1)/2

    Elimination preserves the form and needs only G and B, two numbers for each row and column
    (Gohberg, Kailath and Olshevsky 1995), so that pivoting is free. To store no factor either, M is
    extended by rows of −I below, whose Schur complement is M⁻¹y in the end (Rodriguez 2006). Row k
    of −I has an entry, −1, only in column k, where the row of the pivot is done with: it takes over
    its place, with q = 2k + 1. That is Gauss and Jordan's elimination in 2 + k vectors.
    """
    xp = be.xp
    n = c.shape[-1]
    first = be.arange(n, c, be.default_int(c)) == 0
    unit = xp.where(first, xp.ones_like(c), xp.zeros_like(c))
    turn = modulation(be, n, c)
    kind = turn.dtype
    fft, ifft, root = xp.fft.fft, xp.fft.ifft, float(n) ** 0.5
    # Row generators and right-hand sides go through the same operations, in one array.
    double = xp.where(first, 2 * c, c + xp.concat([r[:, :1], xp.flip(r[:, 1:], axis=1)], axis=1))
    g = xp.where(first, xp.zeros_like(c), double)
    jw = xp.where(first, 2 * c, 2 * c - double)
    ones, g = (xp.astype(v, kind)[:, None, :] for v in (unit, g))
    rows = fft(xp.concat([ones, g], axis=1), axis=-1) / root
    rows = xp.concat([rows, fft(xp.astype(y, kind), axis=-1) / root], axis=1)
    last = xp.astype(xp.flip(unit, axis=1), kind)[:, None, :]
    w = xp.astype(xp.flip(jw, axis=1), kind)[:, None, :]
    columns = ifft(turn * xp.concat([w, last], axis=1), axis=-1) * root
    run = _eliminate_in_place if be.mutable else _eliminate_masked
    spin = modulation(be, n, c, quarter=2, step=4)
    rows, nodes = run(be, rows, columns, _quotients(be, n, c), spin)
    order = xp.argsort(nodes, axis=1)
    # The standard takes along one axis with one list of indices: every lane with its own offset.
    lanes, count = rows.shape[0], rows.shape[1] - 2
    offset = be.arange(lanes * count, c, order.dtype) * n
    index = xp.reshape(offset, (lanes, count, 1)) + order[:, None, :]
    flat = xp.reshape(rows[:, 2:, :], (lanes * count * n,))
    solved = xp.reshape(xp.take(flat, xp.reshape(index, (-1,)), axis=0), (lanes, count, n))
    x = turn * ifft(solved, axis=-1) * root
    return x if be.is_complex(c) else xp.real(x)


def _quotients(be: Backend, n: int, like: Array) -> Array:
    """τ(d) for d = −2n … 2n − 1; finite nonsense where it is infinite, which no step uses."""
    xp = be.xp
    d = be.arange(4 * n, like, be.default_int(like)) - 2 * n
    size = xp.abs(d)
    near = xp.where(size > n, 2 * n - size, size)  # τ has period 2n; sines near π would lose digits
    near = xp.where(near == 0, xp.ones_like(near), near)
    sign = xp.where((d < 0) == (size > n), xp.ones_like(d), -xp.ones_like(d))
    real = xp.abs(like[:1, :0]).dtype
    kind = be.complex_dtype(real)
    angle = xp.astype(near, real) * (pi / (2 * n))
    cot = xp.astype(sign, real) * xp.cos(angle) / xp.sin(angle)
    return 0.5j * xp.astype(cot, kind) - 0.5


def _size(be: Backend, z: Array) -> Array:
    """|Re z| + |Im z|, which chooses a pivot as well as |z|."""
    return be.xp.abs(be.xp.real(z)) + be.xp.abs(be.xp.imag(z))


def _pivot(be: Backend, value: Array) -> Array:
    """The pivot, or the least number that may stand for an exact zero."""
    least = float(be.xp.finfo(value.dtype).eps) ** 2
    return be.xp.where(value == 0, be.xp.full_like(value, least), value)


def _eliminate_in_place(
    be: Backend, rows: Array, columns: Array, tau: Array, spin: Array
) -> tuple[Array, Array]:
    xp = be.xp
    lanes, _, n = rows.shape
    integer = be.default_int(tau)
    lane = be.arange(lanes, tau, integer)
    nodes = be.new_like(tau, (lanes, n), dtype=integer) + 2 * be.arange(n, tau, integer)
    odd = 2 * be.arange(n, tau, integer) + 1
    free = nodes >= 0
    none = -xp.ones_like(xp.real(rows[:, 0, :]))
    for k in range(n):
        head = columns[:, :, k] + 0
        entry = rows[:, 0, :] * head[:, :1]
        entry += rows[:, 1, :] * head[:, 1:]
        entry *= tau[nodes + (2 * n - 2 * k - 1)]
        entry *= spin[k]
        place = xp.argmax(xp.where(free, _size(be, entry), none), axis=1)
        pivot = _pivot(be, entry[lane, place])
        row = rows[lane, :, place]
        node = nodes[lane, place]
        entry /= pivot[:, None]
        top = columns[:, 0, k + 1 :] * row[:, :1]
        top += columns[:, 1, k + 1 :] * row[:, 1:2]
        top *= tau[node[:, None] + 2 * n - odd[k + 1 :]]
        top *= spin[k + 1 :]
        top /= pivot[:, None]
        columns[:, :, k + 1 :] -= head[:, :, None] * top[:, None, :]
        rows -= row[:, :, None] * entry[:, None, :]
        rows[lane, :, place] = row / pivot[:, None]
        nodes[lane, place] = 2 * k + 1
        free[lane, place] = False
    return rows, nodes


def _eliminate_masked(
    be: Backend, rows: Array, columns: Array, tau: Array, spin: Array
) -> tuple[Array, Array]:
    xp, n = be.xp, rows.shape[-1]
    integer = be.default_int(tau)
    place = be.arange(n, tau, integer)
    none = xp.zeros_like(rows[:, :1, :])

    def quotients(d: Array) -> Array:
        return xp.reshape(xp.take(tau, xp.reshape(d + 2 * n, (-1,)), axis=0), tuple(d.shape))

    def step(k: Any, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rows, columns, nodes = state
        head = be.slab(columns, 2, k, 1)
        entry = rows[:, 0, :] * head[:, 0, :] + rows[:, 1, :] * head[:, 1, :]
        entry = entry * quotients(nodes - (2 * k + 1)) * be.slab(spin, 0, k, 1)
        size = _size(be, entry)
        size = xp.where(nodes % 2 == 0, size, -xp.ones_like(size))
        chosen = xp.argmax(size, axis=1)[:, None] == place
        pivot = xp.sum(xp.where(chosen, entry, none[:, 0, :]), axis=1, dtype=entry.dtype)
        pivot = _pivot(be, pivot)[:, None]
        row = xp.sum(xp.where(chosen[:, None, :], rows, none), axis=2, dtype=rows.dtype)
        node = xp.sum(xp.where(chosen, nodes, xp.zeros_like(nodes)), axis=1, dtype=nodes.dtype)
        top = columns[:, 0, :] * row[:, :1] + columns[:, 1, :] * row[:, 1:2]
        top = top * quotients(node[:, None] - (2 * place + 1)) * spin
        top = xp.where(place > k, top / pivot, none[:, 0, :])
        columns = columns - head * top[:, None, :]
        rest = rows - row[:, :, None] * (entry / pivot)[:, None, :]
        rows = xp.where(chosen[:, None, :], (row / pivot)[:, :, None], rest)
        return rows, columns, xp.where(chosen, xp.zeros_like(nodes) + 2 * k + 1, nodes)

    nodes = xp.zeros_like(xp.astype(xp.real(rows[:, 0, :]), integer)) + 2 * place
    rows, _, nodes = be.fori_loop(0, n, step, (rows, columns, nodes))
    return rows, nodes
