"""Resampling by a rational factor as matrix products: filter, raise and lower the rate at once.

With the rates up = p and down = q::

    y[i] = Σ_k h[q·i + c − p·k] · x[k]

n outputs in a row, n = p·R, read a window of x that moves by q·R points from one row of outputs to
the next. So x is laid out in frames of q·R points, and a row of outputs is one product of a few
neighbouring frames with a matrix whose column j is every p-th tap, from tap q·j + c on: no zero
between samples is ever multiplied, and every size is chosen to fill a matrix product. The matrix is
sparse only where the window moves on within a row; rows that move far are computed in groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .. import _ops
from ..geometry import Sliding, Span
from ..primitives import sliding_windows
from ..sliding import correlate as product

__all__ = ["inner", "points_read", "polyphase"]

# Outputs in a row, and points between rows, below which a product does not fill BLAS.
_LEAST = 32
# Points between rows beyond which longer ones gain nothing.
_MOST = 128
# Groups of one row at most: each is a product of its own in a compiled program.
_GROUPS = 16


@dataclass(frozen=True)
class _Group:
    """Outputs `first` … first+rows−1 of every row.

    Its windows of `size` points start at `start` for row 0; `frames` frames hold one.
    """

    first: int
    rows: int
    start: int
    size: int
    frames: int
    hop: int

    @property
    def depth(self) -> int:
        return self.size if self.frames == 1 else self.hop


@dataclass(frozen=True)
class _Rows:
    """All outputs: `count` rows of `n` in groups, and the stretch of x that they read."""

    n: int
    count: int
    groups: tuple[_Group, ...]
    start: int
    length: int


def points_read(taps: int, up: int, down: int, offset: int, count: int) -> tuple[int, int]:
    """The first and the last point of x that any of the outputs 0 … count−1 reads."""
    return -((taps - 1 - offset) // up), (down * (count - 1) + offset) // up


@lru_cache(maxsize=1024)
def _rows(taps: int, p: int, q: int, offset: int, count: int) -> _Rows:
    branch = -(-taps // p)
    repeats = max(-(-_LEAST // p), -(-min(max(branch, _LEAST), _MOST) // q))
    repeats = max(1, min(repeats, -(-count // p)))
    n, hop = min(p * repeats, count), q * repeats
    rows = -(-count // n)
    # A window grows by q / p points with every output; beyond twice the taps it is mostly zeros.
    wide = max(branch, _LEAST, 64)
    step = n
    if branch + n * q // p > 2 * wide:
        step = min(n, max(wide * p // q, _LEAST, -(-n // _GROUPS)))
        step = -(-n // -(-n // step))
    groups = []
    for first in range(0, n, step):
        last = min(first + step, n) - 1
        start = -((taps - 1 - offset - first * q) // p)
        size = max(start, (last * q + offset) // p) - start + 1
        # A single row needs no second frame.
        own = max(hop, size) if rows == 1 else hop
        groups.append(_Group(first, last - first + 1, start, size, -(-size // own), own))
    start = groups[0].start
    ends = [
        g.start + (rows - 1) * g.hop + (g.size if rows == 1 else g.frames * g.hop) for g in groups
    ]
    return _Rows(n, rows, tuple(groups), start, max(ends) - start)


def inner(taps: int, up: int, down: int, offset: int, length: int) -> tuple[int, int]:
    """First output and number of outputs in whole rows whose frames lie within `length` points.

    (0, 0) where there are but few.
    """
    first = max(0, -((up + offset - taps) // down))
    begin = points_read(taps, up, down, offset + down * first, 1)[0]
    count = ((length - begin) * up) // down
    if up == down == 1:
        return first, max(0, length - begin - taps + 1)
    if count < 1:
        return 0, 0
    plan = _rows(taps, up, down, offset + down * first - up * begin, count)
    hop = plan.groups[0].hop
    rows = (length - begin - plan.length + plan.count * hop) // hop
    return (first, rows * plan.n) if plan.count > 1 and rows > 1 else (0, 0)


def polyphase(
    h: Any, x: Any, up: int, down: int, offset: int, count: int, method: str = "auto"
) -> Any:
    """y[b, g, i] = Σ_k h[g, q·i + c − p·k] · x[b, ·, k] for 0 <= i < count; x is 0 outside.

    Parameters
    ----------
    h : array or node of shape (G·O, K)
        Filters, O for every one of the G groups of x.
    x : array or node of shape (B, G, N)
        Of the same dtype.
    up, down, offset, count : int
        p, q, c and the number of outputs; p and q without a common divisor.
    method : str
        The algorithm where the rate does not change.

    Returns
    -------
    array or node of shape (B, G·O, count)
    """
    batch, channels, length = x.shape
    filters, taps = h.shape
    if up == down == 1:
        low = taps - 1 - offset
        span = Span(length, taps, low=low, high=count + taps - 1 - length - low)
        kernel = _ops.flip(_ops.reshape(h, (filters, 1, taps)), (2,))
        return product(Sliding((span,), channels, False, method), x, kernel)
    plan = _rows(taps, up, down, offset, count)
    x = _stretch(x, plan.start, plan.length)
    parts = []
    for g in plan.groups:
        frames = g.frames + plan.count - 1
        begin = g.start - plan.start
        reads = g.size if plan.count == 1 else frames * g.hop
        part = _ops.cut(x, slice(None), slice(None), slice(begin, begin + reads))
        part = _ops.reshape(part, (batch, channels, frames, reads // frames))
        part = _ops.cut(part, slice(None), slice(None), slice(None), slice(0, g.depth))
        part = _ops.permute(part, (0, 2, 1, 3))
        part = _ops.reshape(part, (batch, frames, channels * g.depth))
        # Windows of one frame are the frames themselves: one matrix product as it stands.
        single = "im2col" if g.frames == 1 else "auto"
        geometry = Sliding((Span(frames, g.frames),), channels, True, single)
        y = product(geometry, part, _matrix(h, up, down, offset, g))
        y = _ops.reshape(y, (batch, plan.count, filters, g.rows))
        parts.append(_ops.permute(y, (0, 2, 1, 3)))
    y = _ops.concat(parts, 3) if len(parts) > 1 else parts[0]
    y = _ops.reshape(y, (batch, filters, plan.count * plan.n))
    return _ops.cut(y, slice(None), slice(None), slice(0, count))


def _matrix(h: Any, p: int, q: int, offset: int, g: _Group) -> Any:
    """h (F, K) to the weights (frames, depth, F·rows) of one group.

    Column j, row s is tap q·j + c' − p·s with c' the tap that the first point meets: backwards in s
    these are windows of the padded taps with stride q and dilation p.
    """
    filters = h.shape[0]
    first = q * g.first + offset - p * (g.start + g.size - 1)
    length = q * (g.rows - 1) + p * (g.size - 1) + 1
    windows = sliding_windows(_stretch(h, first, length), g.size, stride=q, dilation=p)
    windows = _ops.flip(windows, (2,))
    width = g.frames * g.depth
    windows = _ops.pad(windows, [(0, 0), (0, 0), (0, width - g.size)])
    windows = _ops.permute(windows, (2, 0, 1))
    return _ops.reshape(windows, (g.frames, g.depth, filters * g.rows))


def _stretch(x: Any, start: int, length: int) -> Any:
    """Points start … start+length−1 of the last axis, zeros where x has none."""
    n, stop = x.shape[-1], start + length
    lead = [slice(None)] * (x.ndim - 1)
    first, last = min(max(start, 0), n), max(min(stop, n), 0)
    last = max(first, last)
    x = _ops.cut(x, *lead, slice(first, last))
    low = min(max(0, -start), length)
    return _ops.pad(x, [*[(0, 0)] * len(lead), (low, length - low - (last - first))])
