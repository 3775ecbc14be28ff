"""Layers and their gradients by windows and tensor products: the reference, and NumPy's peer.

What someone writes who has `sliding_window_view` and `tensordot` and no library for layers. Arrays
are channels first or last as `Shape.last` says; weights (O, C, *K) or (*K, C, O). Works on NumPy
and on CuPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Shape:
    """One layer, channels first; of a transposed one x and w are the transposed layer's."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    transposed: bool = False

    @property
    def rank(self) -> int:
        return len(self.x) - 2

    @property
    def out(self) -> tuple[int, ...]:
        """Shape of the result, channels first."""
        sizes = self.w[2:]
        if self.transposed:
            points = tuple(
                (n - 1) * self.stride - 2 * self.padding + self.dilation * (k - 1) + 1
                for n, k in zip(self.x[2:], sizes, strict=True)
            )
            return (self.x[0], self.w[1] * self.groups, *points)
        points = tuple(
            (n + 2 * self.padding - self.dilation * (k - 1) - 1) // self.stride + 1
            for n, k in zip(self.x[2:], sizes, strict=True)
        )
        return (self.x[0], self.w[0], *points)

    @property
    def multiply_adds(self) -> int:
        """Of the forward product, and of either gradient."""
        many = self.x if self.transposed else self.out
        return many[0] * many[1] * prod(many[2:]) * prod(self.w[1:])


def _windows(xp: Any, x: Any, s: Shape, sizes: tuple[int, ...], stride: int, last: bool) -> Any:
    """Windows of a padded array: sizes are the last axes."""
    axes = tuple(range(1, 1 + s.rank)) if last else tuple(range(2, 2 + s.rank))
    reach = tuple(s.dilation * (k - 1) + 1 for k in sizes)
    view = xp.lib.stride_tricks.sliding_window_view(x, reach, axes)
    step = [slice(None)] * view.ndim
    for axis in axes:
        step[axis] = slice(None, None, stride)
    for i in range(s.rank):
        step[-1 - i] = slice(None, None, s.dilation)
    return view[tuple(step)]


def _padded(xp: Any, x: Any, pairs: list[tuple[int, int]], last: bool) -> Any:
    none = [(0, 0)]
    widths = [*none, *pairs, *none] if last else [*none, *none, *pairs]
    return xp.pad(x, widths) if any(any(p) for p in pairs) else x


def _product(xp: Any, view: Any, w: Any, groups: int, last: bool) -> Any:
    """Windows times weights, group by group."""
    rank = w.ndim - 2
    taps = tuple(range(view.ndim - rank, view.ndim))
    if groups == 1:
        if last:
            return xp.tensordot(view, w, axes=((1 + rank, *taps), (rank, *range(rank))))
        out = xp.tensordot(view, w, axes=((1, *taps), tuple(range(1, w.ndim))))
        return xp.moveaxis(out, -1, 1)
    channel = 1 + rank if last else 1
    depth = w.shape[rank] if last else w.shape[1]
    if depth == 1 and view.shape[channel] == (w.shape[-1] if last else w.shape[0]):
        letters = "uvw"[:rank]
        spots = "xyz"[:rank]
        if last:
            return xp.einsum(f"b{spots}c{letters},{letters}c->b{spots}c", view, w[..., 0, :])
        return xp.einsum(f"bc{spots}{letters},c{letters}->bc{spots}", view, w[:, 0])
    views = xp.split(view, groups, axis=channel)
    parts = xp.split(w, groups, axis=-1 if last else 0)
    found = [_product(xp, v, p, 1, last) for v, p in zip(views, parts, strict=True)]
    return xp.concatenate(found, axis=-1 if last else 1)


def _correlate(xp: Any, x: Any, w: Any, s: Shape, last: bool) -> Any:
    """The layer that is not transposed."""
    sizes = w.shape[: s.rank] if last else w.shape[2:]
    x = _padded(xp, x, [(s.padding, s.padding)] * s.rank, last)
    return _product(xp, _windows(xp, x, s, sizes, s.stride, last), w, s.groups, last)


def _spread(xp: Any, y: Any, w: Any, s: Shape, points: tuple[int, ...], last: bool) -> Any:
    """The transpose of `_correlate` in x, whose sliding axes have so many points."""
    sizes = w.shape[: s.rank] if last else w.shape[2:]
    spots = y.shape[1 : 1 + s.rank] if last else y.shape[2:]
    if s.stride > 1:
        apart = tuple((n - 1) * s.stride + 1 for n in spots)
        place = (slice(None, None, s.stride),) * s.rank
        shape = (y.shape[0], *apart, y.shape[-1]) if last else (*y.shape[:2], *apart)
        wide = xp.zeros(shape, y.dtype)
        wide[(slice(None), *place) if last else (slice(None), slice(None), *place)] = y
        y, spots = wide, apart
    pairs = []
    for n, m, k in zip(points, spots, sizes, strict=True):
        low = s.dilation * (k - 1) - s.padding
        pairs.append((low, n + s.dilation * (k - 1) - m - low))
    y = _padded(xp, y, pairs, last)
    turned = tuple(range(s.rank)) if last else tuple(range(2, 2 + s.rank))
    w = xp.flip(w, turned)
    g = s.groups
    if last:
        *k, c, o = w.shape
        w = xp.moveaxis(w.reshape(*k, c, g, o // g), (-3, -1), (-1, -3))  # (*k, o, g, c)
        w = w.reshape(*k, o // g, g * c)
    else:
        o, c, *k = w.shape
        w = xp.swapaxes(w.reshape(g, o // g, c, *k), 1, 2).reshape(g * c, o // g, *k)
    return _product(xp, _windows(xp, y, s, sizes, 1, last), w, g, last)


def _kernel(xp: Any, x: Any, y: Any, s: Shape, last: bool) -> Any:
    """The transpose of `_correlate` in w."""
    x = _padded(xp, x, [(s.padding, s.padding)] * s.rank, last)
    view = _windows(xp, x, s, s.w[2:], s.stride, last)
    spots = tuple(range(1, 1 + s.rank)) if last else tuple(range(2, 2 + s.rank))
    channel = 1 + s.rank if last else 1
    # As many points as the result has: a stride may leave some at the end.
    cut = [slice(None)] * view.ndim
    for axis in spots:
        cut[axis] = slice(y.shape[axis])
    view = view[tuple(cut)]
    if s.groups == view.shape[channel] == y.shape[channel]:
        many, few = "xyz"[: s.rank], "uvw"[: s.rank]
        if last:
            w = xp.einsum(f"b{many}c{few},b{many}c->{few}c", view, y)
            return w[..., None, :]
        return xp.einsum(f"bc{many}{few},bc{many}->c{few}", view, y)[:, None]
    parts = []
    for v, t in zip(
        xp.split(view, s.groups, axis=channel), xp.split(y, s.groups, axis=channel), strict=True
    ):
        if last:
            out = xp.tensordot(v, t, axes=((0, *spots), (0, *spots)))  # (C, *K, O)
            parts.append(xp.moveaxis(out, 0, -2))
        else:
            parts.append(xp.tensordot(t, v, axes=((0, *spots), (0, *spots))))  # (O, C, *K)
    return xp.concatenate(parts, axis=-1 if last else 0)


def forward(x: Any, w: Any, s: Shape, last: bool = False, xp: Any = np) -> Any:
    """The layer."""
    if s.transposed:
        return _spread(xp, x, w, s, s.out[2:], last)
    return _correlate(xp, x, w, s, last)


def gradients(x: Any, w: Any, y: Any, s: Shape, last: bool = False, xp: Any = np) -> tuple:
    """Its two transposes, applied to a cotangent y."""
    if s.transposed:
        return _correlate(xp, y, w, s, last), _kernel(xp, y, x, s, last)
    points = s.x[2:]
    return _spread(xp, y, w, s, points, last), _kernel(xp, x, y, s, last)
