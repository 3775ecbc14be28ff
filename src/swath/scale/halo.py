"""The halo of swath's operations: which input each block of outputs needs, from their arguments.

A rule takes a `Call` (an operation with all arguments but the data) and gives a
`swath.geometry.Halo` along one axis of the data. Operations without a rule, and unknown functions,
need the halo stated.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from numbers import Number
from typing import Any

from .. import arguments
from ..errors import ArgumentError, UnsupportedError
from ..geometry import Block, Halo, Span
from ..nn._layout import channels_last, sliding_axes
from ..nn.adaptive import part_counts
from ..nn.pooling import pool_windows
from ..nn.shapes import conv_spans, output_shape, spread_spans
from ..nn.whole import whole_axes
from ..registry import Operation
from ..signal._polyphase import points_read
from ..signal._slide import MODES, outcome
from ..signal.boundary import BOUNDARIES
from ..signal.resampling import FilterAxes, centred, decimating, raising
from ..signal.savgol import MODES as SMOOTHING_MODES
from ..signal.savgol import neighbours
from ..signal.zero_phase import padding_of

__all__ = ["Call", "Resampled", "halo_of", "rules", "stated"]


@dataclass(frozen=True)
class Resampled(Halo):
    """The halo of a change of rate by up / down: output i reads x[k] for taps q·i + c − p·k.

    Pieces start at multiples of q, where an output of the whole is output 0 of a piece.

    Attributes
    ----------
    taps, up, down, offset : int
        K, p, q and c; p and q without a common divisor.
    beyond : int
        Points of a piece after the last that is read.
    """

    taps: int = 1
    up: int = 1
    down: int = 1
    offset: int = 0
    beyond: int = 1

    def block(self, first: int, last: int) -> Block:
        """The step that gives outputs first … last−1."""
        n, p, q = self.span.length, self.up, self.down
        low, high = points_read(self.taps, p, q, self.offset + q * first, last - first)
        least = min(self.least, n)
        # Sparse taps may read nothing near an output: it is a sample of the piece all the same.
        start = min(max(0, min(low, q * first // p)), n - least) // q * q
        stop = min(n, max(high + 1 + self.beyond, start + least))
        ahead = start // q * p
        return Block(slice(start, stop), slice(first - ahead, last - ahead), slice(first, last))


@dataclass(frozen=True)
class Call:
    """An operation applied to data of a known shape, in blocks along one axis.

    Attributes
    ----------
    operation : Operation
        The record of the registry.
    data : str
        The parameter that takes the blocks.
    shape : tuple of int
        Of the whole data.
    axis : int
        Along which the blocks are cut, non-negative.
    given : dict
        All other parameters, defaults included.
    """

    operation: Operation
    data: str
    shape: tuple[int, ...]
    axis: int
    given: dict[str, Any]

    @property
    def points(self) -> int:
        """Input points along the axis."""
        return self.shape[self.axis]

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Shape of an array argument."""
        value = self.given[name]
        shape = getattr(value, "shape", None)
        if shape is None:
            raise ArgumentError(f"{name} must be an array, got {type(value).__name__}")
        return tuple(shape)

    def each_point(self, shape: tuple[int, ...] | None = None) -> Halo:
        """Every point along the axis by itself."""
        return Halo(Span(self.points, 1), self.axis, shape or self.shape)

    def along(self, spans: dict[int, Span], *, least: int = 1) -> Halo:
        """Windows on some axes, which keep their places."""
        shape = tuple(spans[i].out if i in spans else n for i, n in enumerate(self.shape))
        span = spans.get(self.axis, Span(self.points, 1))
        return Halo(span, self.axis, shape, least if self.axis in spans else 1)


def stated(overlap: tuple[int, int], points: int, axis: int) -> Halo:
    """The halo of a function that keeps the length along the axis."""
    before, after = overlap
    return Halo(Span(points, before + after + 1, low=before, high=after), axis)


def halo_of(
    record: Operation,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    shape: tuple[int, ...],
    axis: int,
) -> Halo:
    """The halo of a registered operation whose next positional argument is the data."""
    rule = _RULES.get(record.name)
    if rule is None:
        raise UnsupportedError(
            f"{record.name} has no rule for its halo; state it as overlap=(before, after) if the "
            f"operation keeps the length along the axis (known: {', '.join(rules())})"
        )
    signature = inspect.signature(record.function)
    marker = object()
    try:
        bound = signature.bind(*args, marker, **kwargs)
    except TypeError as error:
        raise ArgumentError(f"fn does not fit {record.name}: {error}") from None
    bound.apply_defaults()
    data = next(name for name, value in bound.arguments.items() if value is marker)
    wanted, build = rule
    if data != wanted:
        raise ArgumentError(
            f"fn passes the blocks to {record.name} as {data}; they must be {wanted}: give the "
            f"other array by name, as functools.partial({record.name}, {data}=...)"
        )
    given = {name: value for name, value in bound.arguments.items() if name != data}
    return build(Call(record, data, shape, axis, given))


def rules() -> tuple[str, ...]:
    """Names of the operations whose halo is known."""
    return tuple(sorted(_RULES))


# -- rules, one for every kind of operation -----------------------------------------------------


def _correlation(call: Call, kernel: str, *, exchange: bool = True) -> Halo:
    """`signal.convolve` and its relatives: SciPy's modes on some axes, the rest broadcast.

    `exchange`: with mode="valid" the kernel may be the larger input.
    """
    shape, sizes = call.shape, call.shape_of(kernel)
    mode = arguments.choice("mode", call.given["mode"], MODES)
    axes = call.given.get("axes")
    rank = len(shape)
    places = tuple(range(rank)) if axes is None else arguments.axes_of("axes", axes, rank)
    if len(sizes) == len(places) != rank:
        full = [1] * rank
        for place, size in zip(places, sizes, strict=True):
            full[place] = size
        sizes = tuple(full)
    if len(sizes) != rank:
        raise ArgumentError(
            f"{kernel} must have {rank} axes like the source, or {len(places)} (one for each "
            f"entry of axes); got {len(sizes)}"
        )
    if mode == "valid" and any(shape[i] < sizes[i] for i in places):
        if not exchange or any(shape[i] > sizes[i] for i in places):
            raise ArgumentError(
                f'mode="valid" needs {"one input" if exchange else "a source"} at least as large '
                f"as the other along every sliding axis {places}; got shapes {shape} and {sizes}"
            )
        # The roles are exchanged: every output sees the whole (short) source.
        _, out = outcome(sizes, shape, places, mode)
        return Halo(Span(call.points, call.points), call.axis, out, call.points)
    g, out = outcome(shape, sizes, places, mode)
    if call.axis not in places:
        if sizes[call.axis] != 1:
            raise UnsupportedError(
                f"{kernel} changes along axis {call.axis}, along which the blocks are cut (length "
                f"{sizes[call.axis]}); cut along another axis"
            )
        return call.each_point(out)
    span = g.spans[sorted(places).index(call.axis)]
    # With more taps than points the two would exchange roles, and round differently.
    taps, others = 1, 1
    for i in places:
        taps *= sizes[i]
        others *= shape[i] if i != call.axis else 1
    return Halo(span, call.axis, out, -(-taps // max(1, others)))


def _template(call: Call) -> Halo:
    return _correlation(call, "template", exchange=False)


def _kernel(call: Call) -> Halo:
    return _correlation(call, "in2")


def _planar(call: Call) -> Halo:
    """`signal.convolve2d` and `correlate2d`: a matrix and what lies beyond its edges."""
    halo = _kernel(call)
    span, given = halo.span, call.given
    if given["mode"] == "same" and call.operation.name == "signal.correlate2d":
        # SciPy's other middle of an even kernel.
        span = replace(span, low=span.high, high=span.low)
    boundary = arguments.choice("boundary", given["boundary"], BOUNDARIES)
    edge = max(span.low, span.high) if given["mode"] != "valid" else 0
    if edge and boundary == "wrap":
        raise UnsupportedError(
            f'boundary="wrap" joins both ends of axis {call.axis}, along which the blocks are cut; '
            f"cut along another axis, or continue the matrix otherwise"
        )
    # The mirror image is made of the points at an end.
    return replace(halo, span=span, least=max(halo.least, edge + 1))


def _filter(call: Call) -> Halo:
    """`signal.lfilter`: causal, FIR; the state of a block is its halo."""
    axis = arguments.axis_of("axis", call.given["axis"], len(call.shape))
    if call.given["zi"] is not None:
        raise UnsupportedError(
            "lfilter with zi returns a final state beside the output, which no sink takes; "
            "leave zi out"
        )
    taps = prod(call.shape_of("b"))
    return call.along({axis: Span(call.shape[axis], taps, low=taps - 1)}, least=taps)


def _smoothing(call: Call) -> Halo:
    """`signal.savgol_filter`: a window around each sample, and the mode's rule at both ends."""
    given, rank = call.given, len(call.shape)
    axis = arguments.axis_of("axis", given["axis"], rank)
    mode = arguments.choice("mode", given["mode"], SMOOTHING_MODES)
    length = arguments.positive("window_length", given["window_length"])
    points = call.shape[axis]
    low, high = neighbours(length)
    least = max(low, high) + 1
    if mode == "interp":
        if points < length:
            raise ArgumentError(
                f'mode="interp" needs at least the {length} samples of window_length along axis '
                f"{axis}, got {points}"
            )
        # Each end is one polynomial over a whole window; that of a piece must not reach what is
        # kept, and that of an even window reaches one sample further.
        low, least = high, length
    elif mode == "wrap" and call.axis == axis and max(low, high):
        raise UnsupportedError(
            f'mode="wrap" joins both ends of axis {axis}, along which the blocks are cut; cut '
            f"along another axis"
        )
    return call.along({axis: Span(points, low + high + 1, low=low, high=high)}, least=least)


def _bank(call: Call) -> Halo:
    """`signal.filter_bank`: as a filter, with an axis for the filters before that of time."""
    axis = arguments.axis_of("axis", call.given["axis"], len(call.shape))
    bank = call.shape_of("bank")
    if len(bank) != 2:
        raise ArgumentError(f"bank must have shape (F, K), one filter per row; got {bank}")
    stride = arguments.positive("stride", call.given["stride"])
    span = Span(call.shape[axis], bank[1], stride, low=bank[1] - 1)
    halo = call.along({axis: span}, least=bank[1])
    shape = halo.shape or ()
    place = call.axis + (call.axis >= axis)
    return replace(halo, axis=place, shape=(*shape[:axis], bank[0], *shape[axis:]))


def _forth_and_back(call: Call) -> Halo:
    """`signal.filtfilt`: the filter on both sides of a sample; the padding belongs to the ends."""
    given = call.given
    axis = arguments.axis_of("axis", given["axis"], len(call.shape))
    taps = prod(call.shape_of("b"))
    edge = padding_of(given["padtype"], given["padlen"], taps)
    reached = taps - 1
    span = Span(call.shape[axis], 2 * taps - 1, low=reached, high=reached)
    # A piece must be longer than the padding, and its own padding must not reach what is kept.
    return call.along({axis: span}, least=max(edge + 1, 2 * taps))


def _rate(call: Call) -> Halo:
    """`signal.upfirdn`."""
    given, rank = call.given, len(call.shape)
    axis = arguments.axis_of("axis", given["axis"], rank)
    h = call.shape_of("h")
    axes = FilterAxes(h[:-1], call.shape, axis)
    p, q, taps, count = raising(given["up"], given["down"], h[-1], call.shape[axis])
    return _resampled(call, axis, axes, (taps, p, q, 0), count, given["mode"])


def _polyphase(call: Call) -> Halo:
    """`signal.resample_poly`."""
    given = call.given
    axis = arguments.axis_of("axis", given["axis"], len(call.shape))
    axes = FilterAxes((), call.shape, axis)
    points = call.shape[axis]
    window = given["window"]
    # NumPy's numbers have a shape too: they are parameters of a window, not taps.
    shape = None if isinstance(window, Number) else getattr(window, "shape", None)
    taps, p, q, offset, count = centred(given["up"], given["down"], shape, points)
    return _resampled(call, axis, axes, (taps, p, q, offset), count, given["padtype"])


def _decimated(call: Call) -> Halo:
    """`signal.decimate`."""
    given = call.given
    axis = arguments.axis_of("axis", given["axis"], len(call.shape))
    axes = FilterAxes((), call.shape, axis)
    points = call.shape[axis]
    taps, q, offset = decimating(given["q"], given["n"], given["ftype"], given["zero_phase"])
    return _resampled(call, axis, axes, (taps, 1, q, offset), -(-points // q), "constant")


def _resampled(
    call: Call,
    axis: int,
    axes: FilterAxes,
    rates: tuple[int, int, int, int],
    count: int,
    mode: str,
) -> Halo:
    out = axes.out(count)
    if call.axis != axis:
        # Axes of x are the last ones of the result, time included.
        place = call.axis + len(out) - len(call.shape)
        at = [i for i in range(len(out)) if i != axes.time].index(place)
        if axes.h[at] != 1:
            raise UnsupportedError(
                f"h changes along axis {call.axis}, along which the blocks are cut (length "
                f"{axes.h[at]}); cut along another axis"
            )
        return Halo(Span(call.points, 1), place, out)
    if mode in ("wrap", "line", "mean", "median", "maximum", "minimum"):
        raise UnsupportedError(
            f"{mode!r} continues the signal by what lies far away along axis {axis}, along which "
            f"the blocks are cut; cut along another axis, or continue it otherwise"
        )
    taps, p, q, offset = rates
    first, last = points_read(taps, p, q, offset, count)
    low, high = max(0, -first), max(0, last + 1 - call.points)
    # The span tells how much is read for an output, and that blocks are not independent.
    span = Span(call.points, max(2, -(-taps // p)), -(-q // p), low=low)
    # Images of the signal beyond an end are made of the points at that end.
    return Resampled(span, axes.time, out, max(low, high) + 2, taps, p, q, offset)


def _windows(call: Call) -> Halo:
    size = call.given["size"]
    rank = len(size) if isinstance(size, tuple | list) else 1
    sizes = arguments.per_axis("size", size, rank)
    axes = arguments.axes_of("axes", call.given["axes"], len(call.shape), count=rank)
    strides = arguments.per_axis("stride", call.given["stride"], rank)
    dilations = arguments.per_axis("dilation", call.given["dilation"], rank)
    halo = call.along(
        {
            a: Span(call.shape[a], k, s, d)
            for a, k, s, d in zip(axes, sizes, strides, dilations, strict=True)
        }
    )
    return replace(halo, shape=(*(halo.shape or ()), *sizes))


def _layer_axes(call: Call, rank: int, last: bool) -> tuple[tuple[int, ...], int]:
    """The sliding axes of a layer and that of its channels, along which it is not cut."""
    axes = sliding_axes(len(call.shape), rank, last)
    channel = len(call.shape) - 1 if last else axes[0] - 1
    if call.axis == channel:
        name = call.operation.name.rpartition(".")[2]
        raise UnsupportedError(
            f"axis {channel} holds the channels, and every output of {name} needs all of them; cut "
            f"along the batch or a spatial axis"
        )
    return axes, channel


def _layer(call: Call) -> Halo:
    """`nn.conv`: windows on the spatial axes, all channels."""
    weight, shape, given = call.shape_of("weight"), call.shape, call.given
    last = channels_last(given["channels"])
    settings = (given["stride"], given["padding"], given["dilation"], given["groups"])
    spans = conv_spans(shape, weight, *settings, last)
    axes, channel = _layer_axes(call, len(spans), last)
    least = 1
    if call.axis in axes:
        span = spans[axes.index(call.axis)]
        edge = max(span.low, span.high)
        if edge and given["padding_mode"] == "circular":
            raise UnsupportedError(
                f'padding_mode="circular" joins both ends of axis {call.axis}, along which the '
                f"blocks are cut; cut along another axis"
            )
        # Padding that copies points finds them in the blocks at both ends.
        least = edge + 1
    halo = call.along(dict(zip(axes, spans, strict=True)), least=least)
    full = list(halo.shape or ())
    full[channel] = weight[-1] if last else weight[0]
    return replace(halo, shape=tuple(full))


def _spread(call: Call) -> Halo:
    """`nn.conv_transpose`: every point adds its copy of the kernel, a stride further."""
    weight, shape, given = call.shape_of("weight"), call.shape, call.given
    last = channels_last(given["channels"])
    stride, padding, dilation = (given[n] for n in ("stride", "padding", "dilation"))
    extra = given["output_padding"], given["output_shape"]
    groups = given["groups"]
    spans, rows = spread_spans(shape, weight, stride, padding, *extra, dilation, groups, last)
    axes, _ = _layer_axes(call, len(spans), last)
    out = output_shape(shape, [s.length for s in spans], rows, last)
    if call.axis not in axes:
        return call.each_point(out)
    if given["output_shape"] is not None:
        raise UnsupportedError(
            "output_shape is that of the whole, and no block has it; give output_padding"
        )
    # Output o adds w[j] x[i] over s·i + d·j − l = o: a change of rate by s.
    s = spans[axes.index(call.axis)]
    span = Span(call.points, max(2, -(-s.extent // s.stride)), low=s.low)
    # What is cut off the end of a piece must not be kept.
    beyond = 1 + max(0, -(-(s.high - s.extent) // s.stride))
    return Resampled(span, call.axis, out, 1, s.extent, s.stride, 1, s.low, beyond)


def _parts(call: Call) -> Halo:
    """Adaptive pooling: every other axis by itself."""
    given = call.given
    if given.get("return_indices"):
        raise UnsupportedError(
            "return_indices=True gives two arrays, and a sink takes one; leave it out"
        )
    counts = part_counts(call.shape, given["output_size"], given["channels"], given["axes"])
    shape = list(call.shape)
    for axis, count in counts:
        if axis == call.axis and count != call.points:
            raise _all_points(call)
        shape[axis] = count
    return call.each_point(tuple(shape))


def _whole(call: Call) -> Halo:
    """Global pooling: every other axis by itself."""
    given = call.given
    places = whole_axes(call.shape, given["channels"], given["axes"])
    if call.axis in places:
        raise _all_points(call)
    if given["keepdims"]:
        return call.each_point(tuple(1 if i in places else n for i, n in enumerate(call.shape)))
    kept = [i for i in range(len(call.shape)) if i not in places]
    shape = tuple(call.shape[i] for i in kept)
    return Halo(Span(call.points, 1), kept.index(call.axis), shape)


def _all_points(call: Call) -> UnsupportedError:
    return UnsupportedError(
        f"{call.operation.name} needs all points of axis {call.axis} at once, along which the "
        f"blocks are cut; cut along another axis"
    )


def _pool(call: Call) -> Halo:
    """Pooling: windows on some axes, everything else by itself."""
    given = call.given
    if given.get("return_indices"):
        raise UnsupportedError(
            "return_indices=True gives two arrays, and a sink takes one; leave it out"
        )
    settings = (given["stride"], given["padding"], given.get("dilation", 1), given["ceil_mode"])
    windows, _ = pool_windows(
        call.shape, given["size"], *settings, given["channels"], given["axes"]
    )
    return call.along(dict(zip(windows.axes, windows.spans, strict=True)))


_RULES: dict[str, tuple[str, Callable[[Call], Halo]]] = {
    "signal.convolve": ("in1", _kernel),
    "signal.correlate": ("in1", _kernel),
    "signal.fftconvolve": ("in1", _kernel),
    "signal.oaconvolve": ("in1", _kernel),
    "signal.convolve2d": ("in1", _planar),
    "signal.correlate2d": ("in1", _planar),
    "signal.match_template": ("x", _template),
    "signal.lfilter": ("x", _filter),
    "signal.filter_bank": ("x", _bank),
    "signal.savgol_filter": ("x", _smoothing),
    "signal.filtfilt": ("x", _forth_and_back),
    "signal.upfirdn": ("x", _rate),
    "signal.resample_poly": ("x", _polyphase),
    "signal.decimate": ("x", _decimated),
    "sliding_windows": ("x", _windows),
    "nn.conv": ("x", _layer),
    "nn.conv_transpose": ("x", _spread),
    "nn.max_pool": ("x", _pool),
    "nn.min_pool": ("x", _pool),
    "nn.avg_pool": ("x", _pool),
    "nn.lp_pool": ("x", _pool),
    "nn.adaptive_max_pool": ("x", _parts),
    "nn.adaptive_avg_pool": ("x", _parts),
    "nn.global_max_pool": ("x", _whole),
    "nn.global_avg_pool": ("x", _whole),
    "nn.global_lp_pool": ("x", _whole),
}
