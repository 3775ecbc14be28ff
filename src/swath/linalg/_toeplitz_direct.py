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
# Lanes of a block that a compiled loop keeps in the cache (XLA, 1000 lanes of order 64: 12.6 ms
# beside 30.8 ms in one).
_LANES = 128


# -- Levinson --------------------------------------------------------------------------------------


def levinson(be: Backend, c: Array, r: Array, y: Array, *, ends: bool = True) -> Array:
    """T⁻¹y (L, k, n), NaN or garbage where a leading minor vanishes.

    With `ends` p = T⁻¹e₀ and z = T⁻¹(0, t_{1−n}, …, t_{−1}) are appended to it, the solutions of
    `fundamental_sides`, which come from the recursion itself.

    f and b are the solutions of T_m f = e·e₀ and T_m b = e·e_{m−1} with f₀ = b_{m−1} = 1; from
    order m to m + 1, with [·; 0] and [0; ·] for a zero appended and put in front::

        f' = [f; 0] − (Σ t_{m−j} f_j / e) [0; b]      b' = [0; b] − (Σ t_{−1−j} b_j / e) [f; 0]
        e' = e − Σ t_{m−j} f_j · Σ t_{−1−j} b_j / e   x' = [x; 0] + (y_m − Σ t_{m−j} x_j)/e' · b'

    Inside, the lanes are the last axis: sums then run over rows that lie in memory end to end.
    """
    xp, n = be.xp, int(c.shape[-1])
    c, r = (be.packed(xp.matrix_transpose(v)) for v in (c, r))
    y = be.packed(xp.permute_dims(y, (1, 2, 0)))
    if be.mutable:
        rows, b, e = _levinson_in_place(be, c, r, y)
    elif be.traces and c.shape[1] > _LANES:
        rows, b, e = _levinson_in_blocks(be, c, r, y)
    else:
        rows, b, e = _levinson_masked(be, c, r, y)
    x = rows[1:, :, :]
    if ends:
        p = rows[0, :, :] / _nonzero(be, e)
        down = xp.concat([xp.zeros_like(b[:1, :]), b[: n - 1, :]], axis=0)
        z = p * xp.sum(r[1:, :] * b[: n - 1, :], axis=0, dtype=p.dtype) - down
        x = xp.concat([x, p[None, :, :], z[None, :, :]], axis=0)
    return xp.permute_dims(x, (2, 0, 1))


def _nonzero(be: Backend, e: Array) -> Array:
    return be.xp.where(e == 0, be.xp.ones_like(e), e)


def _levinson_in_place(be: Backend, c: Array, r: Array, y: Array) -> tuple[Array, Array, Array]:
    xp = be.xp
    k, n, lanes = y.shape
    rows = be.new_like(y, (1 + k, n, lanes))  # f, then the solutions
    # b grows towards the front, so that [0; b] is b and the zero before it.
    buffer = be.new_like(y, (n, lanes))
    back = be.packed(be.flip(c, (0,)))
    e = c[0, :]
    rows[0, 0, :], buffer[n - 1, :] = 1, 1
    rows[1:, 0, :] = y[:, 0, :] / e
    for m in range(1, n):
        b, f = buffer[n - m :, :], rows[0, :m, :]
        products = xp.sum(rows[:, :m, :] * back[n - 1 - m : n - 1, :], axis=1, dtype=y.dtype)
        backward = xp.sum(b * r[1 : m + 1, :], axis=0, dtype=y.dtype)
        forward = products[0, :] / e
        change = forward * b
        # The entries in front of b take the change; the last one is 1 and stays.
        buffer[n - m - 1 : n - 1, :] -= (backward / e) * f
        rows[0, 1 : m + 1, :] -= change
        e = e - forward * backward  # 0 makes NaN of all that follows
        gain = (y[:, m, :] - products[1:, :]) / e
        rows[1:, : m + 1, :] += gain[:, None, :] * buffer[n - m - 1 :, :]
        if m % 256 == 0 and be.concrete(xp.all(xp.isfinite(e))) is False:
            break
    return rows, buffer, e


def _levinson_masked(be: Backend, c: Array, r: Array, y: Array) -> tuple[Array, Array, Array]:
    xp, n = be.xp, y.shape[1]
    zero = xp.zeros_like(c)
    back = xp.concat([xp.flip(c[1:, :], axis=0), zero], axis=0)
    ahead = xp.concat([r[1:, :], zero[:1, :]], axis=0)
    first = (be.arange(n, c, be.default_int(c)) == 0)[:, None]
    e = _nonzero(be, c[0, :])
    f = xp.where(first, xp.ones_like(c), zero)
    x = xp.where(first, y / e, xp.zeros_like(y))

    def step(m: Any, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rows, b, e = state
        row = be.slab(back, 0, n - 1 - m, n)
        products = xp.sum(rows * row, axis=1, dtype=rows.dtype)
        backward = xp.sum(b * ahead, axis=0, dtype=b.dtype)
        forward = products[0, :] / e
        down = xp.concat([xp.zeros_like(b[:1, :]), b[: n - 1, :]], axis=0)
        f, x = rows[0, :, :], rows[1:, :, :]
        b = down - (backward / e) * f
        f = f - forward * down
        e = _nonzero(be, e - forward * backward)
        gain = (be.slab(y, 1, m, 1)[:, 0, :] - products[1:, :]) / e
        x = x + gain[:, None, :] * b
        return xp.concat([f[None, :, :], x], axis=0), b, e

    start = (xp.concat([f[None, :, :], x], axis=0), f, e)
    return be.fori_loop(1, n, step, start)


def _levinson_in_blocks(be: Backend, c: Array, r: Array, y: Array) -> tuple[Array, ...]:
    """`_levinson_masked` for so many lanes at a time; the last blocks overlap."""
    xp = be.xp
    k, n, lanes = y.shape
    out = (be.new_like(y, (1 + k, n, lanes)), be.new_like(y, (n, lanes)), be.new_like(y, (lanes,)))
    blocks = -(-lanes // _LANES)
    starts = xp.minimum(be.arange(blocks, y, be.default_int(y)) * _LANES, lanes - _LANES)

    def block(i: Any, out: tuple[Array, ...]) -> tuple[Array, ...]:
        start = be.slab(starts, 0, i, 1)[0]
        given = [be.slab(v, v.ndim - 1, start, _LANES) for v in (c, r, y)]
        found = _levinson_masked(be, *given)
        return tuple(
            be.put_slab(whole, part, [0] * (whole.ndim - 1) + [start])
            for whole, part in zip(out, found, strict=True)
        )

    return be.fori_loop(0, blocks, block, out)


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
