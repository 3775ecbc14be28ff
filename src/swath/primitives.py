"""Windows of an array and their transpose: two linear cores, each the other's derivative.

Public function -> geometry -> core -> adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from . import _ops, arguments
from ._backends import Backend
from .autodiff import Core, apply
from .division import Cuts, Division, Piece, follow, inside, replaced, whole
from .errors import ArgumentError, ArgumentTypeError, describe
from .geometry import Span, Windows
from .registry import operation

__all__ = ["overlap_add", "sliding_windows"]

Array = Any


class _Pair(Core):
    """A linear core whose transpose is its sibling."""

    linear = (0,)
    sibling: Core

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        return (apply(self.sibling, geometry, cotangent),)

    def batch(
        self, be: Backend, geometry: Windows, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        return geometry.shifted(1, (arrays[0].shape[0],)), arrays, lambda out: out


class _Take(_Pair):
    """x to its windows, taps appended as trailing axes."""

    name = "take_windows"

    def divide(self, geometry: Windows, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        g, taps = geometry, geometry.sizes

        def piece(cuts: Cuts) -> Piece:
            windows, reads = inside(g, cuts[: len(g.shape)])
            return Piece(windows, (reads,))

        return Division((*g.out, *taps), (*follow(g), *[None] * len(taps)), piece)

    def forward(self, be: Backend, geometry: Windows, *arrays: Array) -> Array:
        (x,) = arrays
        spans = geometry.spans
        return be.windows(
            x,
            geometry.sizes,
            [s.stride for s in spans],
            [s.dilation for s in spans],
            geometry.axes,
        )


class _Add(_Pair):
    """Blocks added into place, one sliding axis after the other."""

    name = "add_windows"

    def divide(self, geometry: Windows, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        g = geometry

        def piece(cuts: Cuts) -> Piece:
            shape = [c.stop - c.start for c in cuts]
            met, spans, keep = [], [], list(whole(shape))
            for axis, span in zip(g.axes, g.spans, strict=True):
                at = cuts[axis]
                # A window at the piece's start or before it, so that the rest begins with one.
                first = min(span.source_start(at.start), at.start // span.stride)
                first = min(max(first, 0), span.out - 1)
                last = max(first + 1, min((at.stop - 1) // span.stride + 1, span.out))
                start = span.stride * first
                stop = max(at.stop, span.stride * (last - 1) + span.extent)
                met.append(slice(first, last))
                spans.append(replace(span, length=stop - start))
                shape[axis] = stop - start
                keep[axis] = slice(at.start - start, at.stop - start)
            reads = (*replaced(cuts, g.axes, met), *whole(g.sizes))
            return Piece(Windows(tuple(shape), g.axes, tuple(spans)), (reads,), tuple(keep))

        return Division(g.shape, follow(g, spreads=True), piece)

    def forward(self, be: Backend, geometry: Windows, *arrays: Array) -> Array:
        (blocks,) = arrays
        kind = blocks.dtype
        wide = be.dtype("float32") if be.is_half(kind) else kind
        for axis, span in reversed(list(zip(geometry.axes, geometry.spans, strict=True))):
            blocks = _add_axis(be, blocks, axis, replace(span, low=0, high=0), wide)
        return be.cast(blocks, kind)


def _add_axis(be: Backend, blocks: Array, axis: int, span: Span, wide: Any) -> Array:
    """Reduce the last axis (taps) of blocks into `axis`, in sums of the dtype `wide`."""
    if span.dilation == 1 < span.stride:
        return _add_runs(be, blocks, axis, span, wide)
    shape = (*blocks.shape[:axis], span.length, *blocks.shape[axis + 1 : -1])
    if be.mutable:
        out = be.new_like(blocks, shape, dtype=wide)
        for j in range(span.size):
            _, inputs = span.tap(j)
            out[(*[slice(None)] * axis, inputs)] += blocks[..., j]
        return out
    total = None
    gaps = [span.stride - 1 if i == axis else 0 for i in range(len(shape))]
    used = span.stride * (span.out - 1) + 1
    for j in range(span.size):
        start = span.dilation * j
        widths = [(0, 0)] * len(shape)
        widths[axis] = (start, span.length - start - used)
        term = be.pad(be.cast(blocks[..., j], wide), widths, 0, gaps)
        total = term if total is None else total + term
    return total


def _add_runs(be: Backend, blocks: Array, axis: int, span: Span, wide: Any) -> Array:
    """The same for windows more than a point apart: runs of `stride` taps lie end to end.

    So ⌈size / stride⌉ terms are added, not one for every tap.
    """
    xp, n, step = be.xp, span.out, span.stride
    runs = -(-span.size // step)
    last = blocks.ndim - 1
    blocks = xp.permute_dims(blocks, (*range(axis + 1), last, *range(axis + 1, last)))
    lead, rest = blocks.shape[:axis], blocks.shape[axis + 2 :]
    every = [slice(None)] * axis
    if be.mutable:
        total = be.new_like(blocks, (*lead, n - 1 + runs, step, *rest), dtype=wide)
        for i in range(runs):
            taps = slice(i * step, min((i + 1) * step, span.size))
            total[(*every, slice(i, i + n), slice(0, taps.stop - taps.start))] += blocks[
                (*every, slice(None), taps)
            ]
    else:
        widths = [(0, 0)] * blocks.ndim
        widths[axis + 1] = (0, runs * step - span.size)
        blocks, total = be.pad(blocks, widths), None
        for i in range(runs):
            widths = [(0, 0)] * blocks.ndim
            widths[axis] = (i, runs - 1 - i)
            taps = slice(i * step, (i + 1) * step)
            term = be.pad(be.cast(blocks[(*every, slice(None), taps, ...)], wide), widths)
            total = term if total is None else total + term
    total = xp.reshape(total, (*lead, (n - 1 + runs) * step, *rest))
    if total.shape[axis] > span.length:
        return total[(*every, slice(0, span.length), ...)]
    widths = [(0, 0)] * total.ndim
    widths[axis] = (0, span.length - total.shape[axis])
    return be.pad(total, widths)


_TAKE, _ADD = _Take(), _Add()
_TAKE.sibling, _ADD.sibling = _ADD, _TAKE


def _sizes(size: Any) -> tuple[int, ...]:
    return arguments.per_axis("size", size, len(size) if isinstance(size, tuple | list) else 1)


def _geometry(shape: tuple[int, ...], size: Any, stride: Any, dilation: Any, axes: Any) -> Windows:
    sizes = _sizes(size)
    rank = len(sizes)
    if rank > len(shape):
        raise ArgumentError(f"size has {rank} entries, but the array has {len(shape)} axes")
    places = arguments.axes_of("axes", axes, len(shape), count=rank)
    strides = arguments.per_axis("stride", stride, rank)
    dilations = arguments.per_axis("dilation", dilation, rank)
    spans = []
    for place, k, s, d in zip(places, sizes, strides, dilations, strict=True):
        span = Span(shape[place], k, s, d)
        if span.extent > span.length:
            raise ArgumentError(
                f"a window of size {k} with dilation {d} spans {span.extent} points, but axis "
                f"{place} has {span.length}; pad the array or use a smaller window"
            )
        spans.append(span)
    return Windows(tuple(shape), places, tuple(spans))


@operation("sliding_windows", differentiable=("x",), linear=("x",))
def sliding_windows(
    x: Any, size: int | tuple[int, ...], *, stride: Any = 1, dilation: Any = 1, axes: Any = None
) -> Any:
    """Every window of x along the sliding axes.

    Parameters
    ----------
    x : array
        Of numbers or booleans, with any number of axes.
    size : int or tuple of int
        Taps of the window, one entry per sliding axis.
    stride, dilation : int or tuple of int, default 1
        Step between windows; step between the taps of one window.
    axes : int or tuple of int, optional
        The sliding axes, one for each entry of `size`; by default the last ones.

    Returns
    -------
    array
        x's shape with each sliding axis n replaced by ⌊(n − dilation·(size − 1) − 1) / stride⌋ + 1
        windows, and the sizes appended: ``out[..., i, ..., j] = x[..., stride·i + dilation·j,
        ...]``. A read-only view on NumPy, a view on CuPy and PyTorch, a copy elsewhere.

    Raises
    ------
    ValueError
        If a window is longer than its axis.

    Notes
    -----
    With `axes=None` NumPy's `sliding_window_view` slides over all axes and wants a size for each;
    here the sizes belong to the last axes. The transpose is `overlap_add`.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.sliding_windows(np.arange(6), 3, stride=2)
    array([[0, 1, 2],
           [2, 3, 4]])
    """
    _, x = arguments.one_array("x", x)
    return apply(_TAKE, _geometry(tuple(x.shape), size, stride, dilation, axes), x)


@operation("overlap_add", differentiable=("blocks",), linear=("blocks",))
def overlap_add(
    blocks: Any, shape: tuple[int, ...], *, stride: Any = 1, dilation: Any = 1, axes: Any = None
) -> Any:
    """Add windows back to where they came from: the transpose of `sliding_windows`.

    Parameters
    ----------
    blocks : array
        Windows as `sliding_windows` returns them: the number of windows on each sliding axis, the
        taps appended as trailing axes.
    shape : tuple of int
        The full shape of the result.
    stride, dilation : int or tuple of int, default 1
        As in `sliding_windows`.
    axes : int or tuple of int, optional
        The sliding axes; by default the last ones of `shape`.

    Returns
    -------
    array
        Of shape `shape` and the dtype of `blocks`; every block value added at its place, points
        that no window covers are 0.

    Raises
    ------
    ValueError
        If `blocks` is not what `sliding_windows` gives for an array of shape `shape`.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.overlap_add(np.ones((3, 2)), (4,))
    array([1., 2., 2., 1.])
    """
    be, blocks = arguments.one_array("blocks", blocks)
    arguments.numeric(be, "blocks", blocks)
    if not arguments.is_int(shape) and not isinstance(shape, tuple | list):
        raise ArgumentTypeError(f"shape must be an int or a tuple of ints, got {describe(shape)}")
    lengths = shape if isinstance(shape, tuple | list) else (shape,)
    shape = tuple(arguments.positive("shape", n, least=0) for n in lengths)
    rank = blocks.ndim - len(shape)
    if rank < 1:
        raise ArgumentError(
            f"blocks must have one trailing axis of taps per sliding axis: blocks has "
            f"{blocks.ndim} axes, shape {shape} has {len(shape)}"
        )
    g = _geometry(shape, tuple(blocks.shape[len(shape) :]), stride, dilation, axes)
    expected = (*g.out, *g.sizes)
    if tuple(blocks.shape) != expected:
        raise ArgumentError(
            f"blocks has shape {tuple(blocks.shape)}, but windows of an array of shape {shape} "
            f"have shape {expected}"
        )
    if 0 in blocks.shape:
        return _ops.vacant(shape, blocks)
    return apply(_ADD, g, blocks)
