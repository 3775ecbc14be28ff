"""Entries of the matrix of a layer convolution: which weight stands where, dense or sparse.

The matrix maps C channels of shape S, flattened in C order with channels first, to O channels of
shape S'; which tap joins which output and point is integers alone, computed on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import Core, apply, primal
from ..errors import ArgumentError, describe
from ..geometry import Sliding, Span, resolve_padding

__all__ = ["Layer", "dense", "diagonal", "layer_of", "sparse_rows"]

Array = Any


@dataclass(frozen=True)
class Layer:
    """The geometry of one layer convolution on one input.

    Attributes
    ----------
    rows, depth, groups : int
        Output channels, input channels of one group, groups.
    spans : tuple of Span
        The sliding axes.
    """

    rows: int
    depth: int
    groups: int
    spans: tuple[Span, ...]

    @property
    def space(self) -> tuple[int, ...]:
        """Spatial shape of the input."""
        return tuple(s.length for s in self.spans)

    @property
    def out(self) -> tuple[int, ...]:
        """Spatial shape of the output."""
        return tuple(s.out for s in self.spans)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Taps per sliding axis."""
        return tuple(s.size for s in self.spans)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return self.rows * prod(self.out), self.groups * self.depth * prod(self.space)

    @property
    def sliding(self) -> Sliding:
        """The sliding product that multiplies by the matrix."""
        return Sliding(self.spans, self.groups)


def layer_of(
    weight: Any, spatial_shape: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Layer:
    """The geometry, from a layer's checked arguments."""
    rank = weight.ndim - 2
    if not 1 <= rank <= 4:
        raise ArgumentError(
            f"weight must be (O, C/groups, *K) with 1 to 4 sliding axes, got "
            f"{describe(primal(weight))}"
        )
    if 0 in weight.shape:
        raise ArgumentError(f"weight must not be empty, got {describe(primal(weight))}")
    space = arguments.per_axis("spatial_shape", spatial_shape, rank)
    strides = arguments.per_axis("stride", stride, rank)
    dilations = arguments.per_axis("dilation", dilation, rank)
    groups = arguments.positive("groups", groups)
    rows, depth, *sizes = (int(n) for n in weight.shape)
    if rows % groups:
        raise ArgumentError(
            f"weight has {rows} output channels, which is no multiple of groups={groups}"
        )
    pads = resolve_padding(padding, space, sizes, strides, dilations)
    spans = tuple(
        Span(n, k, s, d, low, high)
        for n, k, s, d, (low, high) in zip(space, sizes, strides, dilations, pads, strict=True)
    )
    for axis, span in enumerate(spans):
        if span.out == 0:
            raise ArgumentError(
                f"the kernel spans {span.extent} points on sliding axis {axis}, but the padded "
                f"axis has {span.length + span.low + span.high}; use more padding"
            )
    return Layer(rows, depth, groups, spans)


def _axis_table(span: Span) -> list[int]:
    """For every (output, input point) of one axis the tap that joins them; `size` where none."""
    table = [span.size] * (span.out * span.length)
    for j in range(span.size):
        outputs, inputs = span.tap(j)
        points = range(inputs.start, inputs.stop, inputs.step or 1)
        for i, p in zip(range(outputs.start, outputs.stop), points, strict=True):
            table[i * span.length + p] = j
    return table


def dense(layer: Layer, weight: Any) -> Any:
    """The matrix as an array; entries are placed, never multiplied by 0 or 1."""
    rank = len(layer.spans)
    # A slot of zeros behind the last tap, for the pairs that no tap joins.
    blocks = _ops.pad(weight, [(0, 0), (0, 0), *[(0, 1)] * rank])
    for axis, span in enumerate(layer.spans):
        blocks = _ops.take(blocks, _axis_table(span), axis + 2)
    pairs = [n for span in layer.spans for n in (span.out, span.length)]
    blocks = _ops.reshape(blocks, (layer.rows, layer.depth, *pairs))
    # (O, C, S'1, S1, S'2, S2, …) -> (O, *S', C, *S)
    order = (0, *(2 + 2 * a for a in range(rank)), 1, *(3 + 2 * a for a in range(rank)))
    rows, columns = layer.shape[0], layer.depth * prod(layer.space)
    matrix = _ops.reshape(_ops.permute(blocks, order), (rows, columns))
    groups = layer.groups
    if groups == 1:
        return matrix
    share = rows // groups
    parts = [
        _ops.pad(
            _ops.cut(matrix, slice(g * share, (g + 1) * share)),
            [(0, 0), (g * columns, (groups - 1 - g) * columns)],
        )
        for g in range(groups)
    ]
    return _ops.concat(parts, axis=0)


class Table:
    """Places in a vector of `size` entries, and for every entry the places that took it."""

    def __init__(self, indices: np.ndarray, size: int) -> None:
        self.indices = indices
        self.size = size

    @cached_property
    def takers(self) -> np.ndarray:
        """(size, most takers of one entry), filled up with the number of places."""
        counts = np.bincount(self.indices, minlength=self.size)
        order = np.argsort(self.indices, kind="stable")
        rank = np.arange(order.size) - np.repeat(np.cumsum(counts) - counts, counts)
        found = np.full((self.size, int(counts.max(initial=0))), self.indices.size)
        found[self.indices[order], rank] = order
        return found


class _Gather(Core):
    """A vector's entries by a table; the transpose sums over the takers of every entry."""

    name = "gather"
    native = True

    def forward(self, be: Backend, geometry: Table, *arrays: Array) -> Array:
        (x,) = arrays
        return be.take(x, geometry.indices, 0)

    def pull(
        self,
        be: Backend,
        geometry: Table,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        xp, takers = be.xp, geometry.takers
        padded = be.pad(cotangent, [(0, 1)])
        taken = xp.reshape(be.take(padded, takers.ravel(), 0), takers.shape)
        return (xp.sum(taken, axis=1, dtype=taken.dtype),)


_GATHER = _Gather()


def diagonal(layer: Layer, weight: Any) -> Any:
    """The entries (d, d)."""
    count = min(layer.shape)
    o, *i = np.unravel_index(np.arange(count), (layer.rows, *layer.out))
    c, *p = np.unravel_index(np.arange(count), (layer.groups * layer.depth, *layer.space))
    met = o // (layer.rows // layer.groups) == c // layer.depth
    place = o * layer.depth + c % layer.depth
    for span, out, point in zip(layer.spans, i, p, strict=True):
        tap, rest = np.divmod(point + span.low - span.stride * out, span.dilation)
        met &= (rest == 0) & (tap >= 0) & (tap < span.size)
        place = place * span.size + tap
    size = prod(weight.shape)
    flat = _ops.pad(_ops.reshape(weight, (size,)), [(0, 1)])
    return apply(_GATHER, Table(np.where(met, place, size), size + 1), flat)


def sparse_rows(layer: Layer, weight: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """Values row by row in ascending columns, their columns, and where each row starts."""
    met = np.ones(1, bool).reshape((1,) * (2 * len(layer.spans)))
    place = np.zeros(1, np.int64).reshape(met.shape)
    rank = len(layer.spans)
    for axis, span in enumerate(layer.spans):
        i, j = np.arange(span.out)[:, None], np.arange(span.size)[None, :]
        point = span.stride * i + span.dilation * j - span.low
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = point.shape
        met = met & ((point >= 0) & (point < span.length)).reshape(shape)
        place = place * span.length + point.reshape(shape)
    outs, taps, points = prod(layer.out), prod(layer.sizes), prod(layer.space)
    met, place = (np.broadcast_to(v, (*layer.out, *layer.sizes)) for v in (met, place))
    # One output channel of the first group: (outputs, depth, taps), then only what is inside.
    keep = np.broadcast_to(met.reshape(outs, 1, taps), (outs, layer.depth, taps))
    channel = np.arange(layer.depth)[:, None]
    column = (channel * points + place.reshape(outs, 1, taps))[keep]
    entry = np.broadcast_to(channel * taps + np.arange(taps), keep.shape)[keep]
    count = keep.sum(axis=(1, 2))
    group = np.arange(layer.rows) // (layer.rows // layer.groups)
    columns = (group[:, None] * (layer.depth * points) + column).ravel()
    entries = (np.arange(layer.rows)[:, None] * (layer.depth * taps) + entry).ravel()
    starts = np.concatenate([[0], np.cumsum(np.tile(count, layer.rows))])
    size = prod(weight.shape)
    values = apply(_GATHER, Table(entries, size), _ops.reshape(weight, (size,)))
    return values, columns, starts
