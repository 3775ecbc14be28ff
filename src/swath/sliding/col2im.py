"""The transpose of a sliding product as one matrix product whose columns are added up.

Every output of the layer gives all taps of all channels at once, and each tap is added where it
came from::

    columns[(j, c), i] = Σ_o w[o, c, j] y[o, i],      x[c, s·i + d·j − low] += columns[(j, c), i]

so y is read once and never copied, whatever the strides: with few channels in x that is less work
than windows of y (see `im2col`), of which there are more the more channels y has. Sums are kept
channels first, and apart for every remainder of the strides, so that additions run along memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from math import prod
from typing import Any

from .._backends import Backend
from ..geometry import Sliding
from .costs import Costs
from .problem import Estimate, Problem

__all__ = ["estimate", "most", "pays", "run", "scratch"]

Array = Any

# Bytes of columns at a time: they stay in the second-level caches until they are added.
_COLUMNS = 2**22
# Multiply-adds in the time of adding a point, and of copying one into a window; points in the time
# of beginning a run of them.
_ADD, _COPY, _RUN = 60, 24, 20


def _added(p: Problem) -> int:
    """Points that are added up."""
    return p.places * p.depth * p.taps


def _loss(p: Problem) -> float:
    return 1 + 8 / min(p.depth * p.taps, 64) + 8 / min(p.rows, 64)


def pays(p: Problem, gathered: int) -> bool:
    """Whether it is less work than products with so many points of windows of y."""
    if p.role != "x" or p.taps == 1 or p.wide > 1 or not p.mutable or p.traces:
        return False
    windows = p.flops * (1 + 8 / min(p.depth, 64)) + _COPY * gathered
    return p.flops * _loss(p) + _ADD * (1 + _RUN / p.g.out[-1]) * _added(p) < windows


def estimate(p: Problem, cost: Costs) -> Estimate:
    """One matrix product, and a pass over its columns."""
    added = 3 * p.width * _added(p)
    laid = 6 * p.x_bytes if p.g.last or not p.g.strideless else 0
    blocks = max(1, p.places * p.depth * p.taps * p.width // _COLUMNS)
    seconds = p.heavy * p.flops * _loss(p) / cost.gemm
    seconds += added * (1 + _RUN / p.g.out[-1]) / cost.stream + laid / cost.gather
    seconds += (10 + blocks * (6 + 4 * p.taps)) * cost.call
    return Estimate(seconds, p.flops, added + laid + p.x_bytes + p.y_bytes)


def most(g: Sliding, depth: int, rows: int, width: int) -> int:
    """Points of the first axis whose columns stay in the cache."""
    line = g.groups * (depth * prod(g.sizes) + rows) * prod(g.out[1:])
    return max(1, _COLUMNS // (width * line))


def scratch(p: Problem) -> int:
    """The columns and the y they are of, sums that are laid into x, and the kernel turned."""
    entry = p.g.groups * (p.depth * p.taps + p.rows) * prod(p.g.out[1:]) * p.width
    step = min(most(p.g, p.depth, p.rows, p.width), p.batch * p.g.out[0])
    return step * entry + 2 * p.x_bytes + 2 * p.w_bytes


def run(
    be: Backend, g: Sliding, m: Array, y: Array, parts: Iterable[tuple[slice, int, int]]
) -> Array:
    """x from the matrix (G, taps·D, O/G) and y, by entries and stretches of the first axis."""
    batch, groups = y.shape[0], g.groups
    taps = prod(g.sizes)
    depth = m.shape[1] // taps
    steps = [s.stride for s in g.spans]
    plain = not g.last and g.strideless
    kind = be.xp.result_type(m, y)
    make = be.new_like if plain else be.empty_like
    x: Array = make(y, g.x_shape(batch, groups * depth), dtype=kind)
    sums: Array = None
    for entries, low, high in parts:
        here = x[entries, ...]
        if low == 0:
            lead = here.shape[0], groups, depth
            if plain:
                sums = be.reshape(here, (*steps, *lead, *g.lengths))
            else:
                counts = [-(-s.length // s.stride) for s in g.spans]
                sums = be.new_like(y, (*steps, *lead, *counts), dtype=kind)
        # (B, G, taps, D, rows, …)
        columns = be.matmul(m, _matrix(be, g, y, entries, low, high))
        shape = (columns.shape[0], groups, taps, depth, high - low, *g.out[1:])
        _add(g, be.reshape(columns, shape), sums, low, high)
        if high == g.out[0] and not plain:
            _lay(be, g, sums, here)
    return x


def _matrix(be: Backend, g: Sliding, y: Array, entries: slice, low: int, high: int) -> Array:
    """A piece of y as (B, G, O/G, P)."""
    if g.last:
        y = y[entries, low:high, ...]
        y = be.reshape(y, (y.shape[0], -1, g.groups, y.shape[-1] // g.groups))
        return be.permute(y, (0, 2, 3, 1))
    y = y[entries, :, low:high, ...]
    return be.reshape(y, (y.shape[0], g.groups, y.shape[1] // g.groups, -1))


def _add(g: Sliding, columns: Array, sums: Array, low: int, high: int) -> None:
    """Add the columns of outputs low … high−1 of the first axis to the sums of their points."""
    lead = (slice(None),) * 3
    for tap, outputs, inputs in g.each_tap():
        number = 0
        for j, size in zip(tap, g.sizes, strict=True):
            number = number * size + j
        first, last = max(low, outputs[0].start), min(high, outputs[0].stop)
        if first >= last:
            continue
        begins = [cut.start for cut in inputs]
        begins[0] += g.spans[0].stride * (first - outputs[0].start)
        counts = last - first, *(cut.stop - cut.start for cut in outputs[1:])
        starts = [b // s.stride for b, s in zip(begins, g.spans, strict=True)]
        remainders = [b % s.stride for b, s in zip(begins, g.spans, strict=True)]
        cuts = (slice(b, b + n) for b, n in zip(starts, counts, strict=True))
        # An array of its own: a[…] += … would be written back by some libraries.
        place = sums[(*remainders, *lead, *cuts)]
        source = slice(first - low, last - low), *outputs[1:]
        place += columns[(slice(None), slice(None), number, slice(None), *source)]


def _lay(be: Backend, g: Sliding, sums: Array, x: Array) -> None:
    """Sums of every remainder into x, in its layout."""
    r = g.rank
    for remainders in product(*(range(min(s.stride, s.length)) for s in g.spans)):
        part = sums[remainders]
        counts = [-(-(s.length - f) // s.stride) for s, f in zip(g.spans, remainders, strict=True)]
        part = part[(*[slice(None)] * 3, *(slice(0, n) for n in counts))]
        part = be.reshape(part, (part.shape[0], -1, *counts))
        cuts = [slice(f, None, s.stride) for s, f in zip(g.spans, remainders, strict=True)]
        if g.last:
            x[(slice(None), *cuts, slice(None))] = be.permute(part, (0, *range(2, r + 2), 1))
        else:
            x[(slice(None), slice(None), *cuts)] = part
