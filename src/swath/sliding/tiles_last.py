"""Block-Toeplitz products of layers with channels last: tiles along the last sliding axis.

With channels last a box of s·(t − 1) + extent points is one run in memory, channels and all, and so
are the t outputs of a tile: x and y are read and written as they lie. The product is that of a
layer with windows as wide as a box, a stride of s·t and t times as many output channels, whose
kernel is the block-Toeplitz matrix; `im2col` computes it. Against windows of single outputs, fewer
points are copied, in longer runs, for matrix products of more columns.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import inf, prod
from typing import Any, NamedTuple

from .._backends import Backend, Narrow
from ..geometry import Sliding
from . import im2col
from .problem import Problem
from .tiles import BAND, COPY, MAKE, RUN

__all__ = ["Widened", "kernel", "problem", "product", "widened"]

Array = Any

# Outputs of a tile that are tried.
_LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


class Widened(NamedTuple):
    """Outputs per tile, and the layer that computes a tile as its channels."""

    t: int
    g: Sliding


@lru_cache(maxsize=4096)
def widened(g: Sliding, depth: int, rows: int, narrow: Narrow) -> Widened:
    """The tiles of least work for one batch entry, counted as in `tiles`."""
    *before, s = g.spans
    best, found = inf, Widened(1, g)
    for t in _LENGTHS:
        if t > max(1, s.out):
            break
        box, hop, number = s.stride * (t - 1) + s.extent, s.stride * t, -(-s.out // t)
        layer = g
        if t > 1:
            reach = hop * (number - 1) + box
            span = replace(s, size=box, stride=hop, dilation=1, high=reach - s.length - s.low)
            layer = replace(g, spans=(*before, span))
        inner, columns = depth * prod(layer.sizes), rows * t
        if t > 1 and inner * columns > BAND:
            break
        shifts = im2col.shifting(layer, depth, 1)
        run = depth * (box if t > 1 or s.dilation == 1 else 1)
        copied = inner // shifts
        work = inner * columns * narrow.loss(inner // shifts, columns)
        work += COPY * (copied + (columns if number * t != s.out else 0)) + RUN * copied / run
        work = work * number * prod(b.out for b in before) + MAKE * inner * columns
        if work < best:
            best, found = work, Widened(t, layer)
    return found


def problem(p: Problem, made: Widened) -> Problem:
    """The product that computes tiles as channels."""
    return replace(p, g=made.g, rows=p.rows * made.t)


def product(be: Backend, g: Sliding, made: Widened, x: Array, w: Array) -> Array:
    """The sliding product."""
    rows = w.shape[-1]
    y = im2col.run(be, "y", made.g, x, im2col.pack(be, made.g, _matrix(be, g, made, w)))
    y = be.reshape(y, (*y.shape[:-2], -1, rows))
    return y if y.shape[-2] == g.out[-1] else be.packed(y[..., : g.out[-1], :])


def kernel(be: Backend, g: Sliding, made: Widened, x: Array, y: Array) -> Array:
    """Its kernel's gradient."""
    rows, depth, number = y.shape[-1], x.shape[-1], made.g.out[-1]
    fill = number * made.t - g.out[-1]
    y = be.pad(y, [(0, 0)] * (y.ndim - 2) + [(0, fill), (0, 0)])
    y = be.reshape(y, (*y.shape[:-2], number, made.t * rows))
    m = im2col.unpack(be, made.g, im2col.run(be, "w", made.g, x, y), (made.t * rows, depth))
    if made.t == 1:
        return m
    m = be.reshape(m, (*m.shape[:-1], made.t, rows))
    total: Any = None
    for i, cut in enumerate(_cuts(g, made)):
        part = m[(*cut, slice(None), i)]
        total = part if total is None else total + part
    return total


def _matrix(be: Backend, g: Sliding, made: Widened, w: Array) -> Array:
    """w (*K, D, O) as the kernel of the widened layer, (*K', box, D, t·O)."""
    if made.t == 1:
        return w
    depth, rows = w.shape[-2:]
    m = be.new_like(w, (*made.g.sizes, depth, made.t, rows))
    for i, cut in enumerate(_cuts(g, made)):
        m[(*cut, slice(None), i)] = w
    return be.reshape(m, (*made.g.sizes, depth, made.t * rows))


def _cuts(g: Sliding, made: Widened) -> list[tuple[slice, ...]]:
    """Where the kernel of every output of a tile lies in its box."""
    s, full = g.spans[-1], (slice(None),) * (g.rank - 1)
    return [
        (*full, slice(i, i + s.extent, s.dilation)) for i in range(0, s.stride * made.t, s.stride)
    ]
