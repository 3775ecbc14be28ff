"""Window reductions as cores: extremes, values taken at their places, sums.

`choose` and `scatter` are transposes of each other, linear in their first argument; the second, the
key, says by its extremes which tap of every window is meant. The derivative of an extreme is
`choose` keyed by its own input, its transpose `scatter`: ties go to the first place in row-major
order on every path.

Every reduction goes axis by axis. Where arrays can be written, `sweep` computes slab by slab;
elsewhere (compiled or lazy arrays, the bare standard) the same merges are made of padded slices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import chain
from math import frexp, prod
from typing import Any, NamedTuple

import numpy as np

from .._backends import Backend
from ..autodiff import Core, apply, with_batch
from ..division import Cuts, Division, Piece, back, follow, inside, replaced
from ..geometry import Span, Windows
from . import sweep
from .passes import LONG, PLAIN, by_axis, shifts
from .sweep import Index, Scratch, Slab, last_axis_first, lowest, slabs

__all__ = [
    "Extreme",
    "Mean",
    "choose",
    "extreme_places",
    "lowest",
    "mean_windows",
    "scatter",
    "sum_windows",
    "window_extreme",
]

Array = Any


class Extreme(NamedTuple):
    """Geometry of what concerns the extremes of windows."""

    windows: Windows
    largest: bool


# -- as functions of padded slices -----------------------------------------------------------------


def _shift(x: Array, axis: int, start: int, stop: int | None, step: int = 1) -> Array:
    return x[(*[slice(None)] * axis, slice(start, stop, step), ...)]


def _pad_axis(be: Backend, x: Array, axis: int, low: int, high: int, value: Any) -> Array:
    if low < 0 or high < 0:
        x = _shift(x, axis, max(0, -low), x.shape[axis] - max(0, -high))
    widths = [(0, 0)] * x.ndim
    widths[axis] = (max(0, low), max(0, high))
    return be.pad(x, widths, value)


def _cut(x: Array, axis: int, at: slice) -> Array:
    return x[(*[slice(None)] * axis, at, ...)]


def _put(be: Backend, x: Array, axis: int, at: slice, length: int) -> Array:
    """The transpose of `_cut`: x at a slice of `length` points, 0 elsewhere."""
    step = at.step or 1
    widths, gaps = [(0, 0)] * x.ndim, [0] * x.ndim
    widths[axis] = (at.start, length - at.start - (step * (x.shape[axis] - 1) + 1))
    gaps[axis] = step - 1
    return be.pad(x, widths, 0, gaps)


class _Merge(NamedTuple):
    """Two slices of a padded axis that meet; the left one is None where it is the merger before.

    `jump` taps lie between their first ones; so many outputs from the first have a left operand
    wholly in padding as `forced` says; `length` is that of what is cut.
    """

    left: slice | None
    right: slice
    jump: int
    forced: int
    length: int


@lru_cache(maxsize=1024)
def _merges(span: Span) -> tuple[_Merge, ...]:
    steps, d, s = shifts(span), span.dilation, span.stride
    found, n, width = [], s * (span.out - 1) + span.extent, 1
    if steps is None:
        for j in range(1, span.size):
            forced = min(span.out, max(0, -(-(span.low - d * (j - 1)) // s)))
            left = span.placed(0) if j == 1 else None
            found.append(_Merge(left, span.placed(j), j, forced, n))
        return tuple(found)
    for number, shift in enumerate(steps):
        last = number == len(steps) - 1
        count, step = (span.out, s) if last else (n - d * shift, 1)
        reach = step * (count - 1) + 1
        forced = min(count, max(0, -(-(span.low - d * (width - 1)) // step)))
        right = slice(d * shift, d * shift + reach, step)
        found.append(_Merge(slice(0, reach, step), right, shift, forced, n))
        n, width = count, width + shift
    return tuple(found)


def _fold(
    span: Span, axis: int, start: tuple[Array, ...], merge: Callable[..., tuple[Array, ...]]
) -> tuple[Array, ...]:
    """Windows of padded arrays, merged two by two: `merge(left, right, step)`."""
    y = start
    for step in _merges(span):
        # Tap by tap the right one is cut from the input, by doubling from the merger before.
        source = start if step.left is None else y
        left = y if step.left is None else tuple(_cut(a, axis, step.left) for a in y)
        y = merge(left, tuple(_cut(a, axis, step.right) for a in source), step)
    return y if span.size > 1 else tuple(_cut(a, axis, span.placed(0)) for a in start)


def _better(be: Backend, largest: bool) -> Callable[[Array, Array], Array]:
    return be.xp.maximum if largest else be.xp.minimum


def _extreme_axis(be: Backend, x: Array, axis: int, span: Span, largest: bool) -> Array:
    native = be.native_pass("max" if largest else "min", x, axis, span)
    if native is not None:
        return native
    better = _better(be, largest)
    x = _pad_axis(be, x, axis, span.low, span.high, lowest(be, x, largest=largest))
    return _fold(span, axis, (x,), lambda a, b, _: (better(a[0], b[0]),))[0]


def _right_taken(
    be: Backend, left: Array, right: Array, axis: int, forced: int, *, largest: bool
) -> Array:
    """Where the right value is the extreme: the left one if equal, NaN before numbers."""
    found = right > left if largest else right < left
    if be.is_floating(left.dtype):
        found = found | ((right != right) & (left == left))
    if forced:
        n = left.shape[axis]
        shape = [1] * left.ndim
        shape[axis] = n
        outside = be.arange(n, left, be.default_int(left)) < forced
        found = found | be.xp.reshape(outside, tuple(shape))
    return found


def _places(be: Backend, g: Extreme, x: Array, units: Sequence[int]) -> tuple[Array, Array]:
    """Extremes, and how far their first place lies behind the first tap of the window."""
    better, xp = _better(be, g.largest), be.xp
    unit_of = dict(zip(g.windows.axes, units, strict=True))
    places = be.new_like(x, tuple(x.shape), dtype=be.default_int(x))
    for axis, span, unit in last_axis_first(g.windows):
        unit *= unit_of[axis]
        x = _pad_axis(be, x, axis, span.low, span.high, lowest(be, x, largest=g.largest))
        places = _pad_axis(be, places, axis, span.low, span.high, 0)

        def merge(
            a: Any, b: Any, step: _Merge, axis: int = axis, unit: int = unit
        ) -> tuple[Array, Array]:
            taken = _right_taken(be, a[0], b[0], axis, step.forced, largest=g.largest)
            number = xp.where(taken, b[1] + step.jump * unit, a[1])
            return better(a[0], b[0]), number

        x, places = _fold(span, axis, (x, places), merge)
    return x, places


def _choose(be: Backend, g: Extreme, t: Array, x: Array) -> Array:
    """t at the place of every window's extreme in x; 0 where there is none."""
    better = _better(be, g.largest)
    for axis, span, _ in last_axis_first(g.windows):
        x = _pad_axis(be, x, axis, span.low, span.high, lowest(be, x, largest=g.largest))
        t = _pad_axis(be, t, axis, span.low, span.high, 0)

        def merge(a: Any, b: Any, step: _Merge, axis: int = axis) -> tuple[Array, Array]:
            taken = _right_taken(be, a[0], b[0], axis, step.forced, largest=g.largest)
            return better(a[0], b[0]), be.xp.where(taken, b[1], a[1])

        x, t = _fold(span, axis, (x, t), merge)
    return t


def _scatter(be: Backend, g: Extreme, y: Array, x: Array) -> Array:
    """The transpose of `_choose`."""
    better, xp = _better(be, g.largest), be.xp
    passes = []
    for axis, span, _ in last_axis_first(g.windows):
        x = _pad_axis(be, x, axis, span.low, span.high, lowest(be, x, largest=g.largest))
        taken: list[Array] = []

        def merge(a: Any, b: Any, step: _Merge, axis: int = axis, taken: Any = taken) -> Any:
            taken.append(_right_taken(be, a[0], b[0], axis, step.forced, largest=g.largest))
            return (better(a[0], b[0]),)

        (x,) = _fold(span, axis, (x,), merge)
        passes.append((axis, span, taken))
    zero = be.new_like(y, ())
    for axis, span, taken in reversed(passes):
        steps = _merges(span)
        total = None
        for step, right in zip(reversed(steps), reversed(taken), strict=True):
            won = _put(be, xp.where(right, y, zero), axis, step.right, step.length)
            y = xp.where(right, zero, y)
            if step.left is None:
                total = won if total is None else total + won
            else:
                y = _put(be, y, axis, step.left, step.length) + won
        if not steps:
            y = _put(be, y, axis, span.placed(0), span.extent + span.stride * (span.out - 1))
        y = y if total is None else y + total
        # Points behind the last window get nothing.
        behind = span.length + span.low - y.shape[axis]
        y = _pad_axis(be, y, axis, -span.low, behind, 0)
    return y


def _sum_axis(be: Backend, x: Array, axis: int, span: Span) -> Array:
    native = be.native_pass("sum", x, axis, span)
    if native is not None:
        return native
    x = _pad_axis(be, x, axis, span.low, span.high, 0)
    total, need = None, span.stride * (span.out - 1) + 1
    few = span.size <= span.stride * span.size.bit_length() and span.size <= LONG
    if span.size <= 3 or few:
        for j in range(span.size):
            term = _cut(x, axis, span.placed(j))
            total = term if total is None else total + term
        return total
    # Sums of 1, 2, 4 … neighbours; those that the binary digits of the size name are added.
    width, offset, n = 1, 0, x.shape[axis]
    while width <= span.size:
        if span.size & width:
            start = offset * span.dilation
            term = _shift(x, axis, start, start + need, span.stride)
            total = term if total is None else total + term
            offset += width
        if 2 * width <= span.size:
            n -= width * span.dilation
            x = _shift(x, axis, 0, n) + _shift(x, axis, width * span.dilation, None)
        width *= 2
    return total


def _spread_axis(be: Backend, y: Array, axis: int, span: Span) -> Array:
    """The transpose of `_sum_axis`."""
    if span.stride == 1:
        return _sum_axis(be, y, axis, span.transposed())
    if span.size == span.stride and span.dilation == 1 and span.low == 0:
        # Windows that tile: every value as often as its window has taps.
        shape = tuple(y.shape)
        y = be.xp.broadcast_to(
            be.xp.expand_dims(y, axis=axis + 1), (*shape[: axis + 1], span.size, *shape[axis + 1 :])
        )
        y = be.xp.reshape(y, (*shape[:axis], shape[axis] * span.size, *shape[axis + 1 :]))
        return _pad_axis(be, y, axis, 0, span.length - y.shape[axis], 0)
    gaps = [span.stride - 1 if i == axis else 0 for i in range(y.ndim)]
    y = be.pad(y, [(0, 0)] * y.ndim, 0, gaps)
    points = y.shape[axis]
    reach = span.extent - 1
    dense = Span(
        points, span.size, 1, span.dilation, reach - span.low, span.length - points + span.low
    )
    return _sum_axis(be, y, axis, dense)


# -- windows of many taps that lie end to end ------------------------------------------------------


@lru_cache(maxsize=1024)
def _end_to_end(g: Windows) -> tuple[tuple[int, Span], ...]:
    """The axes on which something happens, where on all of them such windows do it; else none."""
    found = []
    for axis, span in zip(g.axes, g.spans, strict=True):
        if span.idle:
            continue
        whole = span.size == span.stride and span.dilation == 1 and span.low == 0
        if span.size <= PLAIN or not whole or not 0 < span.out * span.size <= span.length:
            return ()
        found.append((axis, span))
    return tuple(found)


def _reduced(be: Backend, name: str, g: Windows, x: Array) -> Array | None:
    """A reduction of the standard over their taps as axes of their own."""
    passes = _end_to_end(g)
    if not passes:
        return None
    taps = tuple(axis + 1 + number for number, (axis, _) in enumerate(passes))
    for axis, span in reversed(passes):
        shape = (*x.shape[:axis], span.out, span.size, *x.shape[axis + 1 :])
        x = be.xp.reshape(_shift(x, axis, 0, span.out * span.size), shape)
    settings = {"dtype": x.dtype} if name == "sum" else {}
    return getattr(be.xp, name)(x, axis=taps, **settings)


# -- by the library's own kernel -------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _work(g: Windows) -> int:
    """Elements that passes over the axes compute."""
    shape, found = list(g.shape), 0
    for axis, span, _ in chain.from_iterable(by_axis(g)):
        shape[axis] = span.out
        full = 0 if shifts(span) is None else span.stride * (len(_merges(span)) - 1) + 1
        found += prod(shape) * (full or span.size - 1)
    return found


# -- slab by slab ----------------------------------------------------------------------------------


def _filled(
    be: Backend,
    g: Windows,
    x: Array,
    kind: Any,
    part: Callable[[Scratch, Windows, Index, Index, Array], None],
) -> Array:
    """The array of outputs whose every slab `part` writes."""
    out = be.empty_like(x, g.out, kind)

    def one(scratch: Scratch, slab: Slab) -> None:
        inputs, outputs, windows = slab
        part(scratch, windows, inputs, outputs, out[outputs])

    be.each(slabs(g, be.itemsize(x.dtype), be.wide(x)), lambda: Scratch(be, x), one)
    return out


def _gathered_back(
    be: Backend,
    g: Windows,
    y: Array,
    part: Callable[[Scratch, Windows, Index, Index, Array], None],
) -> Array:
    """The array of inputs whose every slab `part` writes."""
    out = be.empty_like(y, g.shape)

    def one(scratch: Scratch, slab: Slab) -> None:
        inputs, outputs, windows = slab
        part(scratch, windows, inputs, outputs, out[inputs])

    parts = slabs(g, be.itemsize(y.dtype), be.wide(y), back=True)
    be.each(parts, lambda: Scratch(be, y), one)
    return out


# -- cores -----------------------------------------------------------------------------------------


def _windowed(g: Windows, piece: Callable[[Cuts], Piece], *, spreads: bool = False) -> Division:
    """All axes are cut."""
    return Division(g.shape if spreads else g.out, follow(g, spreads=spreads), piece)


class _Keyed(Core):
    """Linear in the first array; the second says which taps."""

    linear = (0,)

    def batch(
        self, be: Backend, geometry: Extreme, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        full = with_batch(be, arrays, batched)
        windows = geometry.windows.shifted(1, (full[0].shape[0],))
        return geometry._replace(windows=windows), full, lambda out: out


class _Choose(_Keyed):
    """y = t at the place of every window's extreme in x; 0 in windows wholly in padding."""

    name = "choose"

    def divide(self, geometry: Extreme, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        def piece(cuts: Cuts) -> Piece:
            windows, reads = inside(geometry.windows, cuts)
            return Piece(geometry._replace(windows=windows), (reads, reads))

        return _windowed(geometry.windows, piece)

    def forward(self, be: Backend, geometry: Extreme, *arrays: Array) -> Array:
        t, x = arrays
        if not be.in_place:
            return _choose(be, geometry, t, x)
        return _taken(be, geometry.windows, t, _ahead(be, geometry, x)[1])

    def pull(
        self,
        be: Backend,
        geometry: Extreme,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        return apply(_SCATTER, geometry, cotangent, arrays[1]), None


class _Scatter(_Keyed):
    """The transpose of `_Choose`: every window's value added at the place of its extreme.

    The places may be given as a third array, as `kept` of the extreme makes them.
    """

    name = "scatter"

    def divide(self, geometry: Extreme, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        """A piece needs the whole windows that reach it: what lies around it is cut off again."""
        g = geometry.windows

        def piece(cuts: Cuts) -> Piece:
            met = [back(span, cuts[axis])[0] for axis, span in zip(g.axes, g.spans, strict=True)]
            outputs = replaced(cuts, g.axes, met)
            windows, reads = inside(g, outputs)
            keep, place = [], []
            for cut, read in zip(cuts, reads, strict=True):
                start, stop = max(cut.start, read.start), min(cut.stop, read.stop)
                keep.append(slice(start - read.start, stop - read.start))
                place.append(slice(start - cut.start, stop - cut.start))
            inner = geometry._replace(windows=windows)
            return Piece(inner, (outputs, reads), tuple(keep), tuple(place))

        return _windowed(g, piece, spreads=True)

    def forward(self, be: Backend, geometry: Extreme, *arrays: Array) -> Array:
        y, x, *places = arrays
        kind = y.dtype
        if be.is_half(kind):
            # Half precision accumulates in float32 and rounds once.
            y = be.xp.astype(y, be.dtype("float32"))
        g, largest = geometry
        # Numbers in one row are ours, arrays of places the library's own.
        ours = bool(places) and places[0].ndim == 1
        out = None
        if largest and not ours:
            out = be.native_pool("scatter", g, _work(g), y, *places, x)
        if out is None and not be.in_place:
            out = _scatter(be, geometry, y, x)
        if out is None:
            ahead = places[0] if ours else _ahead(be, geometry, x)[1]
            out = _put_back(be, g, y, ahead)
        return out if out.dtype == kind else be.xp.astype(out, kind)

    def pull(
        self,
        be: Backend,
        geometry: Extreme,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        none = [None] * (len(arrays) - 1)
        return apply(_CHOOSE, geometry, cotangent, arrays[1]), *none


class _Extreme(Core):
    """Maximum or minimum of every window."""

    name = "window_extreme"

    def divide(self, geometry: Extreme, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        def piece(cuts: Cuts) -> Piece:
            windows, reads = inside(geometry.windows, cuts)
            return Piece(geometry._replace(windows=windows), (reads,))

        vacant = partial(lowest, largest=geometry.largest)
        return _windowed(geometry.windows, piece)._replace(vacant=vacant)

    def forward(self, be: Backend, geometry: Extreme, *arrays: Array) -> Array:
        (x,) = arrays
        g, largest = geometry
        native = be.native_pool("max", g, _work(g), x) if largest else None
        if native is None:
            native = _reduced(be, "max" if largest else "min", g, x)
        if native is not None:
            return native
        if not be.in_place:
            # Whole rows first: then there is less to be read with a stride.
            for axis, span, _ in chain.from_iterable(by_axis(g)):
                x = _extreme_axis(be, x, axis, span, largest)
            return x

        def part(s: Scratch, windows: Windows, inputs: Index, _: Index, out: Array) -> None:
            sweep.extreme_into(be, s, windows, x[inputs], out, largest=largest)

        return _filled(be, g, x, x.dtype, part)

    def push(
        self,
        be: Backend,
        geometry: Extreme,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        (tangent,) = tangents
        if tangent is None:
            return be.xp.zeros_like(out)
        return apply(_CHOOSE, geometry, tangent, arrays[0])

    def pull(
        self,
        be: Backend,
        geometry: Extreme,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        return (apply(_SCATTER, geometry, cotangent, arrays[0]),)

    def kept(self, be: Backend, geometry: Extreme, *arrays: Array) -> tuple[Array, Array] | None:
        (x,) = arrays
        g, largest = geometry
        native = be.native_pool("kept", g, _work(g), x) if largest else None
        if native is not None or not be.in_place:
            return native
        if largest and be.native_pool("fits", g, 0, x):
            return extreme_places(be, g, x, largest=True)
        y, ahead = _ahead(be, geometry, x)
        return y, be.xp.reshape(ahead, (-1,))

    def pull_kept(
        self,
        be: Backend,
        geometry: Extreme,
        arrays: Sequence[Array],
        kept: Array,
        cotangent: Array,
    ) -> Sequence[Any]:
        return (apply(_SCATTER, geometry, cotangent, arrays[0], kept),)


class Mean(NamedTuple):
    """Geometry of `mean_windows`: sums divided by `divisor`, or by the taps that count.

    `bounds` are the first point that counts, and the first behind it that does not, per sliding
    axis. A window without any point that counts is divided by one.
    """

    windows: Windows
    bounds: tuple[tuple[int, int], ...]
    divisor: float | None = None


@lru_cache(maxsize=256)
def _counts(span: Span, first: int, last: int) -> np.ndarray:
    """Taps of every window of an axis that lie in first … last−1; of length 1 where all agree."""
    start = span.stride * np.arange(span.out) - span.low
    begin = np.clip(-((start - first) // span.dilation), 0, span.size)
    end = np.clip(-((start - last) // span.dilation), 0, span.size)
    counts = np.maximum(end - begin, 1)
    return counts[:1] if np.all(counts == counts[:1]) else counts


def _divisors(be: Backend, g: Mean, like: Array, outputs: Index | None) -> list[Any]:
    """What the sums are divided by: numbers and arrays that broadcast, of the part `outputs`."""
    if g.divisor is not None:
        return [g.divisor]
    alike, found = 1, []
    for axis, span, bounds in zip(g.windows.axes, g.windows.spans, g.bounds, strict=True):
        counts = _counts(span, *bounds)
        if counts.size == 1:
            alike *= int(counts[0])
            continue
        shape = [1] * len(g.windows.shape)
        shape[axis] = -1
        kind = be.real_dtype(like.dtype)
        part = counts if outputs is None else counts[outputs[axis]]
        found.append(be.constant(part.reshape(shape), like, kind))
    return found if found and alike == 1 else [*found, float(alike)]


def _divided(y: Any, divisors: Sequence[Any]) -> Array:
    for divisor in divisors:
        y = y / divisor
    return y


def _divide_into(be: Backend, divisors: Sequence[Any], y: Array, source: Array) -> None:
    """y = source over its divisors."""
    for divisor in divisors:
        if isinstance(divisor, float) and frexp(divisor)[0] == 0.5:
            # A power of two: the product is the quotient, and cheaper.
            be.into("multiply", y, source, 1 / divisor)
        else:
            be.into("divide", y, source, divisor)
        source = y
    if source is not y:
        y[...] = source


class _Linear(Core):
    """Sums or means over windows and their transposes."""

    linear = (0,)
    sibling: Core

    def __init__(self, name: str, *, spreads: bool) -> None:
        self.name = name
        self._spreads = spreads

    def divide(self, geometry: Any, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        mean = geometry if isinstance(geometry, Mean) else None
        g: Windows = geometry if mean is None else mean.windows  # type: ignore[assignment]

        def piece(cuts: Cuts) -> Piece:
            if self._spreads:
                found = [back(span, cuts[axis]) for axis, span in zip(g.axes, g.spans, strict=True)]
                reads, inputs = replaced(cuts, g.axes, [at for at, _ in found]), cuts
                shape = tuple(c.stop - c.start for c in cuts)
                windows = Windows(shape, g.axes, tuple(span for _, span in found))
            else:
                windows, reads = inside(g, cuts)
                inputs = reads
            if mean is None:
                return Piece(windows, (reads,))
            starts = [inputs[axis].start for axis in g.axes]
            bounds = [(a - s, b - s) for s, (a, b) in zip(starts, mean.bounds, strict=True)]
            return Piece(mean._replace(windows=windows, bounds=tuple(bounds)), (reads,))

        return _windowed(g, piece, spreads=self._spreads)

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        (x,) = arrays
        kind = x.dtype
        if be.is_half(kind):
            # Half precision accumulates in float32 and rounds once.
            x = be.xp.astype(x, be.dtype("float32"))
        mean = geometry if isinstance(geometry, Mean) else None
        g: Windows = geometry if mean is None else mean.windows  # type: ignore[assignment]
        divisors = [] if mean is None else _divisors(be, mean, x, None)
        with be.quiet():
            found = self._native(be, g, divisors, x)
            if found is None and _end_to_end(g):
                found = self._whole(be, g, divisors, x)
            elif found is None and be.in_place:
                found = self._sweep(be, g, mean, divisors, x)
            elif found is None:
                found = self._fold(be, g, divisors, x)
        return found if found.dtype == kind else be.xp.astype(found, kind)

    def _native(self, be: Backend, g: Windows, divisors: list[Any], x: Array) -> Array | None:
        divisor, *more = divisors or [1.0]
        if more or not isinstance(divisor, float) or divisor % 1:
            return None
        role = "spread" if self._spreads else "sum"
        return be.native_pool(role, g, _work(g), x, divisor=int(divisor))

    def _whole(self, be: Backend, g: Windows, divisors: list[Any], x: Array) -> Array:
        if not self._spreads:
            return _divided(_reduced(be, "sum", g, x), divisors)
        x = _divided(x, divisors)
        for axis, span in _end_to_end(g):
            x = _spread_axis(be, x, axis, span)
        return x

    def _fold(self, be: Backend, g: Windows, divisors: list[Any], x: Array) -> Array:
        if self._spreads:
            x = _divided(x, divisors)
            for axis, span, _ in reversed(list(chain.from_iterable(by_axis(g)))):
                x = _spread_axis(be, x, axis, span)
            return x
        for axis, span, _ in chain.from_iterable(by_axis(g)):
            x = _sum_axis(be, x, axis, span)
        return _divided(x, divisors)

    def _sweep(
        self, be: Backend, g: Windows, mean: Mean | None, whole: list[Any], x: Array
    ) -> Array:
        def divisors(at: Index) -> list[Any]:
            if mean is None or all(isinstance(d, float) for d in whole):
                return whole
            return _divisors(be, mean, x, at)

        def gather(s: Scratch, windows: Windows, inputs: Index, at: Index, out: Array) -> None:
            sweep.sum_into(s, windows, x[inputs], out)
            _divide_into(be, divisors(at), out, out)

        def spread(s: Scratch, windows: Windows, _: Index, at: Index, out: Array) -> None:
            y = x[at]
            if mean is not None:
                y = s("divided", tuple(y.shape))
                _divide_into(be, divisors(at), y, x[at])
            sweep.spread_into(s, windows, y, out)

        if self._spreads:
            return _gathered_back(be, g, x, spread)
        return _filled(be, g, x, x.dtype, gather)

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
        self, be: Backend, geometry: Any, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        lead = (arrays[0].shape[0],)
        if isinstance(geometry, Mean):
            moved: Any = geometry._replace(windows=geometry.windows.shifted(1, lead))
        else:
            moved = geometry.shifted(1, lead)
        return moved, arrays, lambda out: out


_CHOOSE, _SCATTER, _EXTREME = _Choose(), _Scatter(), _Extreme()
_SUM = _Linear("sum_windows", spreads=False)
_SPREAD = _Linear("spread_windows", spreads=True)
_SUM.sibling, _SPREAD.sibling = _SPREAD, _SUM


def choose(geometry: Windows, x: Any, key: Array, *, largest: bool = True) -> Any:
    """x at the place of the extreme of every window of `key`."""
    return apply(_CHOOSE, Extreme(geometry, largest), x, key)


def scatter(geometry: Windows, y: Any, key: Array, *, largest: bool = True) -> Any:
    """The transpose of `choose`."""
    return apply(_SCATTER, Extreme(geometry, largest), y, key)


def sum_windows(geometry: Windows, x: Any) -> Any:
    """Sum of every window; padding counts as 0."""
    return apply(_SUM, geometry, x)


def mean_windows(geometry: Mean, x: Any) -> Any:
    """Sum of every window over the number of its points that count."""
    return apply(_SUM, geometry, x)


def window_extreme(geometry: Windows, x: Any, *, largest: bool) -> Any:
    """Maximum (or minimum) of every window; padding never wins."""
    return apply(_EXTREME, Extreme(geometry, largest), x)


# -- places ----------------------------------------------------------------------------------------


def extreme_places(be: Backend, g: Windows, x: Array, *, largest: bool) -> tuple[Array, Array]:
    """Extremes of all windows, and the first place of each in the flattened sliding axes.

    Places count points of the unpadded axes in row-major order; −1 in a window wholly in padding.
    """
    native = be.native_pool("places", g, _work(g), x) if largest else None
    if native is not None:
        return native
    scales = [0] * len(g.shape)
    for i, axis in enumerate(g.axes):
        scales[axis] = prod(s.length for s in g.spans[i + 1 :])
    if be.in_place:
        y, places = _located(be, Extreme(g, largest), x, scales)
    else:
        y, places = _searched(be, Extreme(g, largest), x, scales)
    for cut in _lost(g):
        if be.in_place:
            places[cut] = -1
        else:
            axis = len(cut) - 2
            at = be.arange(g.out[axis], x, be.default_int(x))
            shape = [1] * len(g.shape)
            shape[axis] = -1
            lost = (at >= cut[axis].start) & (at < cut[axis].stop)
            lost = be.xp.reshape(lost, tuple(shape))
            places = be.xp.where(lost, be.new_like(places, (), fill=-1), places)
    return y, places


def _starts(be: Backend, g: Windows, x: Array, scales: Sequence[int]) -> list[tuple[int, Array]]:
    """Where windows begin, axis by axis; a point counts as the scale of its axis, 0 as nothing."""
    spans, found = dict(zip(g.axes, g.spans, strict=True)), []
    for axis, (scale, n) in enumerate(zip(scales, g.out, strict=True)):
        if not scale:
            continue
        start = be.arange(n, x, be.default_int(x))
        if axis in spans:
            start = start * spans[axis].stride - spans[axis].low
        shape = [1] * len(g.shape)
        shape[axis] = n
        found.append((axis, be.xp.reshape(start * scale, tuple(shape))))
    return found


def _searched(be: Backend, g: Extreme, x: Array, scales: Sequence[int]) -> tuple[Array, Array]:
    """Extremes and their places, as functions of padded slices."""
    spans = zip(g.windows.axes, g.windows.spans, strict=True)
    y, places = _places(be, g, x, [scales[axis] * span.dilation for axis, span in spans])
    for _, start in _starts(be, g.windows, x, scales):
        places = places + start
    return y, places


def _located(be: Backend, g: Extreme, x: Array, scales: Sequence[int]) -> tuple[Array, Array]:
    """The same, slab by slab."""
    windows = g.windows
    starts, (units, small) = _starts(be, windows, x, scales), _units(be, windows, scales)
    places = be.empty_like(x, windows.out, be.default_int(x))

    def part(s: Scratch, slab: Windows, inputs: Index, at: Index, out: Array) -> None:
        ahead = s("ahead of start", slab.out, small)
        sweep.places_into(be, s, slab, x[inputs], out, ahead, units, largest=g.largest)
        be.into("add", places[at], _begin(starts, at), ahead)

    return _filled(be, windows, x, x.dtype, part), places


def _ahead(be: Backend, g: Extreme, x: Array) -> tuple[Array, Array]:
    """Extremes, and how far in the flattened x each lies behind the first tap of its window."""
    windows = g.windows
    units, small = _units(be, windows, _scales(windows))
    ahead = be.empty_like(x, windows.out, small)

    def part(s: Scratch, slab: Windows, inputs: Index, at: Index, out: Array) -> None:
        sweep.places_into(be, s, slab, x[inputs], out, ahead[at], units, largest=g.largest)

    return _filled(be, windows, x, x.dtype, part), ahead


def _scales(g: Windows) -> list[int]:
    """How far apart neighbours of every axis lie in the flattened input."""
    return [prod(g.shape[i + 1 :]) for i in range(len(g.shape))]


def _units(be: Backend, g: Windows, scales: Sequence[int]) -> tuple[list[int], Any]:
    """What a tap of every sliding axis counts, and the dtype of sums of them."""
    units = [scales[a] * s.dilation for a, s in zip(g.axes, g.spans, strict=True)]
    return units, sweep.narrowest(
        be, sum(u * (s.size - 1) for u, s in zip(units, g.spans, strict=True))
    )


def _begin(starts: Sequence[tuple[int, Array]], at: Index) -> Array:
    """The sum of starts in a part of the outputs."""
    total: Any = None
    for axis, start in starts:
        here = start[(*[slice(None)] * axis, at[axis])]
        total = here if total is None else total + here
    return total


def _at_places(
    be: Backend,
    g: Windows,
    like: Array,
    ahead: Array,
    parts: Sequence[Slab],
    work: Callable[[Index, Index, Array], None],
) -> None:
    """work(inputs, outputs, places) for parts; places in what is read, flattened, in one row."""
    ahead, kind, lost = be.xp.reshape(ahead, g.out), be.default_int(like), bool(_lost(g))
    # Where windows begin in what is read: most parts are alike.
    begin = {
        windows: _begin(_starts(be, windows, like, _scales(windows)), (slice(None),) * len(g.out))
        for windows in {slab.windows for slab in parts if 0 not in slab.windows.shape}
    }

    def one(scratch: Scratch, slab: Slab) -> None:
        inputs, at, windows = slab
        if windows not in begin:
            return
        places = scratch("places", windows.out, kind)
        be.into("add", places, begin[windows], ahead[at])
        if lost:
            # Numbers of windows that lie wholly in padding name no place.
            places[...] = be.xp.clip(places, 0, prod(windows.shape) - 1)
        work(inputs, at, be.reshape(places, (-1,)))

    be.each(parts, lambda: Scratch(be, like), one)


def _taken(be: Backend, g: Windows, t: Array, ahead: Array) -> Array:
    """t at the extremes; 0 in windows wholly in padding."""
    y = be.empty_like(t, g.out)

    def one(inputs: Index, at: Index, places: Array) -> None:
        y[at] = be.reshape(be.take_at(t[inputs], places), y[at].shape)

    parts = slabs(g, be.itemsize(be.default_int(t)), be.wide(t))
    _at_places(be, g, t, ahead, parts, one)
    for cut in _lost(g):
        y[cut] = 0
    return y


def _put_back(be: Backend, g: Windows, y: Array, ahead: Array) -> Array:
    """Every value of y added at the place of its window's extreme, 0 elsewhere."""
    lost = _lost(g)
    if lost:
        y = be.xp.asarray(y, copy=True)
        for cut in lost:
            y[cut] = 0
    parts = slabs(g, be.itemsize(be.default_int(y)), be.wide(y))
    # Neighbours along a sliding axis share points: never two of them at once, for the same sums
    # every time.
    shared = not parts or parts[0].windows.spans != g.spans
    out = (be.new_like if shared else be.empty_like)(y, g.shape)

    def one(inputs: Index, at: Index, places: Array) -> None:
        here = out[inputs]
        if not shared:
            here[...] = 0
        be.add_at(here, places, y[at])

    for some in (parts[::2], parts[1::2]) if shared else (parts,):
        _at_places(be, g, y, ahead, some, one)
    return out


def _lost(g: Windows) -> list[tuple[Any, ...]]:
    """Where windows lie wholly in padding."""
    return [
        (*[slice(None)] * axis, cut, ...)
        for axis, span in zip(g.axes, g.spans, strict=True)
        for cut in _nowhere(span)
    ]


def _nowhere(span: Span) -> list[slice]:
    """The windows wholly in padding, as runs."""
    found: list[slice] = []
    for i in range(span.out):
        start = span.stride * i - span.low
        first = max(0, -(start // span.dilation))
        last = min(span.size - 1, (span.length - 1 - start) // span.dilation)
        if first > last:
            if found and found[-1].stop == i:
                found[-1] = slice(found[-1].start, i + 1)
            else:
                found.append(slice(i, i + 1))
    return found
