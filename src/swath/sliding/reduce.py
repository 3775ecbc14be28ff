"""Window reductions as cores: extremes, the choice of the extreme's place, sums.

`choose` and `scatter` are transposes of each other, linear in their first argument; the second,
`taps`, holds for every window the row-major number of the tap that was taken (−1: none). The
derivative of an extreme is `choose` at the first tap that attains it, its transpose `scatter`:
ties go to the first place in row-major order on every path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .._backends import Backend
from ..autodiff import Core, apply
from ..geometry import Span, Windows

__all__ = [
    "Mean",
    "choose",
    "first_taps",
    "flat_index",
    "mean_windows",
    "scatter",
    "sum_windows",
    "window_extreme",
]

Array = Any


class Extreme(NamedTuple):
    """Geometry of `window_extreme`."""

    windows: Windows
    largest: bool


def lowest(be: Backend, x: Array, *, largest: bool) -> Any:
    """The identity of the reduction in the dtype of x."""
    if be.is_floating(x.dtype):
        return float("-inf") if largest else float("inf")
    info = be.xp.iinfo(x.dtype)
    return int(info.min if largest else info.max)


def _shift(x: Array, axis: int, start: int, stop: int, step: int = 1) -> Array:
    return x[(*[slice(None)] * axis, slice(start, stop, step), ...)]


def _pad_axis(be: Backend, x: Array, axis: int, low: int, high: int, value: Any) -> Array:
    if low < 0 or high < 0:
        x = _shift(x, axis, max(0, -low), x.shape[axis] - max(0, -high))
    widths = [(0, 0)] * x.ndim
    widths[axis] = (max(0, low), max(0, high))
    return be.pad(x, widths, value)


def _few(span: Span) -> bool:
    """Whether a pass per tap costs less than doubling over all positions."""
    return span.size <= 3 or span.size <= span.stride * span.size.bit_length()


def _extreme_axis(be: Backend, x: Array, axis: int, span: Span, largest: bool) -> Array:
    xp = be.xp
    better = xp.maximum if largest else xp.minimum
    bottom = lowest(be, x, largest=largest)
    if _few(span) and be.mutable:
        shape = (*x.shape[:axis], span.out, *x.shape[axis + 1 :])
        out = be.new_like(x, shape, fill=bottom)
        for j in range(span.size):
            outputs, inputs = span.tap(j)
            at = (*[slice(None)] * axis, outputs)
            out[at] = better(out[at], x[(*[slice(None)] * axis, inputs)])
        return out
    x = _pad_axis(be, x, axis, span.low, span.high, bottom)
    if _few(span):
        out = None
        for j in range(span.size):
            p = span.placed(j)
            term = _shift(x, axis, p.start, p.stop, span.stride)
            out = term if out is None else better(out, term)
        return out
    width, n = 1, x.shape[axis]
    while 2 * width <= span.size:
        n -= width * span.dilation
        x = better(_shift(x, axis, 0, n), _shift(x, axis, width * span.dilation, None))  # type: ignore[arg-type]
        width *= 2
    if width < span.size:
        step = (span.size - width) * span.dilation
        n -= step
        x = better(_shift(x, axis, 0, n), _shift(x, axis, step, None))  # type: ignore[arg-type]
    return _shift(x, axis, 0, span.stride * (span.out - 1) + 1, span.stride)


def _sum_axis(be: Backend, x: Array, axis: int, span: Span) -> Array:
    if _few(span) and be.mutable:
        out = be.new_like(x, (*x.shape[:axis], span.out, *x.shape[axis + 1 :]))
        for j in range(span.size):
            outputs, inputs = span.tap(j)
            out[(*[slice(None)] * axis, outputs)] += x[(*[slice(None)] * axis, inputs)]
        return out
    x = _pad_axis(be, x, axis, span.low, span.high, 0)
    total, need = None, span.stride * (span.out - 1) + 1
    if _few(span):
        for j in range(span.size):
            p = span.placed(j)
            term = _shift(x, axis, p.start, p.stop, span.stride)
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
            x = _shift(x, axis, 0, n) + _shift(x, axis, width * span.dilation, None)  # type: ignore[arg-type]
        width *= 2
    return total


def _spread_axis(be: Backend, y: Array, axis: int, span: Span) -> Array:
    """The transpose of `_sum_axis`."""
    if span.stride == 1:
        return _sum_axis(be, y, axis, span.transposed())
    shape = (*y.shape[:axis], span.length, *y.shape[axis + 1 :])
    if be.mutable:
        out = be.new_like(y, shape)
        for j in range(span.size):
            outputs, inputs = span.tap(j)
            out[(*[slice(None)] * axis, inputs)] += y[(*[slice(None)] * axis, outputs)]
        return out
    gaps = [span.stride - 1 if i == axis else 0 for i in range(y.ndim)]
    y = be.pad(y, [(0, 0)] * y.ndim, 0, gaps)
    points = y.shape[axis]
    reach = span.extent - 1
    dense = Span(
        points, span.size, 1, span.dilation, reach - span.low, span.length - points + span.low
    )
    return _sum_axis(be, y, axis, dense)


# Bytes of one slab: a few arrays of this size stay in a core's cache.
_SLAB = 2**20

Index = tuple[slice, ...]


def _slabs(be: Backend, g: Windows, itemsize: int) -> Iterator[tuple[Index, Index, Windows]]:
    """The problem in parts: what a part reads, what it writes, and its windows.

    Parts fit the cache and keep scratch arrays small. Where arrays cannot be written in place the
    problem stays whole: a compiler, or nobody, fuses its passes.
    """
    out = g.out
    full = tuple(slice(0, n) for n in g.shape), tuple(slice(0, n) for n in out)
    if not be.mutable:
        yield (*full, g)
        return
    spans = dict(zip(g.axes, g.spans, strict=True))

    def walk(axis: int, inputs: Index, outputs: Index) -> Iterator[tuple[Index, Index]]:
        size = itemsize * prod(
            max(i.stop - i.start, o.stop - o.start) for i, o in zip(inputs, outputs, strict=True)
        )
        if size <= _SLAB or axis == len(out):
            yield inputs, outputs
            return
        count = out[axis]
        step = max(1, count * _SLAB // size)
        span = spans.get(axis)
        if span is not None:
            # Halos are read twice: let them be the smaller part.
            step = max(step, -(-2 * span.extent // span.stride))
        for first in range(0, count, step):
            cut = slice(first, min(first + step, count))
            inside = cut if span is None else span.part(cut.start, cut.stop)[0]
            pair = (
                (*inputs[:axis], inside, *inputs[axis + 1 :]),
                (*outputs[:axis], cut, *outputs[axis + 1 :]),
            )
            # Cut one sliding axis only: more halos cost more than a slab beyond the cache.
            yield from [pair] if span is not None else walk(axis + 1, *pair)

    for inputs, outputs in walk(0, *full):
        parts = tuple(
            span
            if outputs[axis] == full[1][axis]
            else span.part(outputs[axis].start, outputs[axis].stop)[1]
            for axis, span in spans.items()
        )
        shape = tuple(i.stop - i.start for i in inputs)
        yield inputs, outputs, Windows(shape, g.axes, parts)


def _by_axis(be: Backend, x: Array, g: Windows, reduce: Callable[..., Array], *rest: Any) -> Array:
    # The last axis first: with ties to the first place a separable maximum needs this order, and
    # contiguous data are shortened before the strided passes.
    for axis, span in sorted(zip(g.axes, g.spans, strict=True), key=lambda p: -p[0]):
        trivial = span.size == 1 and span.stride == 1 and span.low == 0 and span.high == 0
        if not trivial:
            x = reduce(be, x, axis, span, *rest)
    return x


def _gathered(
    be: Backend, g: Windows, like: Array, kind: Any, part: Callable[[Index, Index, Windows], Array]
) -> Array:
    """The output whose every slab is `part(inputs, outputs, windows)`."""
    slabs = list(_slabs(be, g, be.itemsize(like.dtype)))
    if len(slabs) == 1:
        return part(*slabs[0])
    out = be.new_like(like, g.out, dtype=kind)
    for inputs, outputs, windows in slabs:
        out[outputs] = part(inputs, outputs, windows)
    return out


def _added(
    be: Backend, g: Windows, y: Array, part: Callable[[Index, Index, Windows], Array]
) -> Array:
    """The input-shaped array to which every slab of outputs adds `part(…)`."""
    slabs = list(_slabs(be, g, be.itemsize(y.dtype)))
    if len(slabs) == 1:
        return part(*slabs[0])
    out = be.new_like(y, g.shape)
    for inputs, outputs, windows in slabs:
        out[inputs] += part(inputs, outputs, windows)
    return out


def _tap_dtype(be: Backend, g: Windows) -> Any:
    """The smallest integer dtype that numbers the taps of one window."""
    return be.dtype("int8" if g.taps < 2**7 else "int16" if g.taps < 2**15 else "int32")


def first_taps(be: Backend, g: Windows, x: Array, y: Array) -> Array:
    """For every window the first tap whose value equals y (or is NaN like y); −1 if none."""

    def part(inputs: Index, outputs: Index, windows: Windows) -> Array:
        return _first_taps(be, windows, x[inputs], y[outputs])

    return _gathered(be, g, y, _tap_dtype(be, g), part)


def _first_taps(be: Backend, g: Windows, x: Array, y: Array) -> Array:
    chosen = be.new_like(y, tuple(y.shape), dtype=_tap_dtype(be, g), fill=-1)
    floating = be.is_floating(x.dtype)
    # Compared once, not once for every tap.
    nan_x, nan_y = (x != x, y != y) if floating else (None, None)
    for number, outputs, inputs in reversed(list(g.each_tap())):
        hit = x[inputs] == y[outputs]
        if nan_x is not None and nan_y is not None:
            hit = hit | (nan_x[inputs] & nan_y[outputs])
        chosen = _put(be, chosen, g, outputs, hit, number)
    return chosen


def _put(
    be: Backend, chosen: Array, g: Windows, outputs: tuple[slice, ...], hit: Array, number: int
) -> Array:
    xp = be.xp
    if be.mutable:
        part = chosen[outputs]
        chosen[outputs] = xp.where(hit, be.new_like(part, (), dtype=part.dtype, fill=number), part)
        return chosen
    widths = [
        (o.start or 0, n - (n if o.stop is None else o.stop))
        for o, n in zip(outputs, chosen.shape, strict=True)
    ]
    hit = be.pad(hit, widths, False)
    return xp.where(hit, be.new_like(chosen, (), fill=number), chosen)


def flat_index(be: Backend, g: Windows, taps: Array) -> Array:
    """Position of the chosen taps in the unpadded sliding axes, flattened; −1 where none."""
    xp = be.xp
    kind = be.default_int(taps)
    taps = xp.astype(taps, kind)
    rest, index, scale = taps, xp.zeros_like(taps), 1
    for axis, span in reversed(list(zip(g.axes, g.spans, strict=True))):
        tap = rest % span.size
        rest = rest // span.size
        shape = [1] * taps.ndim
        shape[axis] = span.out
        start = xp.reshape(be.arange(span.out, taps, kind), tuple(shape)) * span.stride - span.low
        index = index + (start + tap * span.dilation) * scale
        scale *= span.length
    return xp.where(taps < 0, be.new_like(taps, (), fill=-1), index)


def _with_batch(
    be: Backend, g: Windows, arrays: Sequence[Array], batched: Sequence[bool]
) -> tuple[Windows, list[Array]]:
    size = next(a.shape[0] for a, b in zip(arrays, batched, strict=True) if b)
    full = [
        a if b else be.xp.broadcast_to(a[None, ...], (size, *a.shape))
        for a, b in zip(arrays, batched, strict=True)
    ]
    return g.shifted(1, (size,)), full


class _Choose(Core):
    """y = x at the chosen tap of every window; 0 where none is chosen."""

    name = "choose"
    linear = (0,)

    def forward(self, be: Backend, geometry: Windows, *arrays: Array) -> Array:
        x, taps = arrays

        def part(inputs: Index, outputs: Index, windows: Windows) -> Array:
            return self._part(be, windows, x[inputs], taps[outputs])

        return _gathered(be, geometry, x, x.dtype, part)

    def _part(self, be: Backend, g: Windows, x: Array, taps: Array) -> Array:
        xp = be.xp
        y = be.new_like(x, g.out)
        for number, outputs, inputs in g.each_tap():
            hit = taps[outputs] == number
            if be.mutable:
                y[outputs] = xp.where(hit, x[inputs], y[outputs])
            else:
                widths = [
                    (o.start or 0, n - (n if o.stop is None else o.stop))
                    for o, n in zip(outputs, y.shape, strict=True)
                ]
                y = xp.where(be.pad(hit, widths, False), be.pad(x[inputs], widths), y)
        return y

    def pull(
        self,
        be: Backend,
        geometry: Windows,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        return apply(_SCATTER, geometry, cotangent, arrays[1]), None

    def batch(
        self, be: Backend, geometry: Windows, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        return (*_with_batch(be, geometry, arrays, batched), lambda out: out)


class _Scatter(Core):
    """The transpose of `_Choose`: every window's value added at its chosen tap."""

    name = "scatter"
    linear = (0,)

    def forward(self, be: Backend, geometry: Windows, *arrays: Array) -> Array:
        y, taps = arrays

        def part(inputs: Index, outputs: Index, windows: Windows) -> Array:
            return self._part(be, windows, y[outputs], taps[outputs])

        return _added(be, geometry, y, part)

    def _part(self, be: Backend, g: Windows, y: Array, taps: Array) -> Array:
        xp = be.xp
        x = be.new_like(y, g.shape)
        zero = be.new_like(y, ())
        for number, outputs, inputs in g.each_tap():
            term = xp.where(taps[outputs] == number, y[outputs], zero)
            if be.mutable:
                x[inputs] += term
            else:
                widths, gaps = [], []
                for cut, n, m in zip(inputs, g.shape, term.shape, strict=True):
                    start, _, step = cut.indices(n)
                    widths.append((start, n - start - (step * (m - 1) + 1)))
                    gaps.append(step - 1)
                x = x + be.pad(term, widths, 0, gaps)
        return x

    def pull(
        self,
        be: Backend,
        geometry: Windows,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        return apply(_CHOOSE, geometry, cotangent, arrays[1]), None

    def batch(
        self, be: Backend, geometry: Windows, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        return (*_with_batch(be, geometry, arrays, batched), lambda out: out)


class _Extreme(Core):
    """Maximum or minimum of every window."""

    name = "window_extreme"

    def forward(self, be: Backend, geometry: Extreme, *arrays: Array) -> Array:
        (x,) = arrays

        def part(inputs: Index, outputs: Index, windows: Windows) -> Array:
            return _by_axis(be, x[inputs], windows, _extreme_axis, geometry.largest)

        return _gathered(be, geometry.windows, x, x.dtype, part)

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
        taps = first_taps(be, geometry.windows, arrays[0], out)
        return apply(_CHOOSE, geometry.windows, tangent, taps)

    def pull(
        self,
        be: Backend,
        geometry: Extreme,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        taps = first_taps(be, geometry.windows, arrays[0], out)
        return (apply(_SCATTER, geometry.windows, cotangent, taps),)


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


def _divided(be: Backend, g: Mean, y: Array, outputs: Index) -> Array:
    """The part `outputs` of the sums divided by what they are to be divided by."""
    if g.divisor is not None:
        return y / g.divisor
    alike = 1
    for axis, span, bounds in zip(g.windows.axes, g.windows.spans, g.bounds, strict=True):
        counts = _counts(span, *bounds)
        if counts.size == 1:
            alike *= int(counts[0])
            continue
        shape = [1] * y.ndim
        shape[axis] = -1
        kind = y.dtype
        if be.is_complex(y):
            kind = be.dtype("float32" if be.name_of(kind) == "complex64" else "float64")
        y = y / be.constant(counts[outputs[axis]].reshape(shape), y, kind)
    return y if alike == 1 else y / float(alike)


class _Linear(Core):
    """Sums or means over windows and their transposes."""

    linear = (0,)
    sibling: Core

    def __init__(self, name: str, axis_rule: Callable[..., Array], *, spreads: bool) -> None:
        self.name = name
        self._axis_rule = axis_rule
        self._spreads = spreads

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        (x,) = arrays
        kind = x.dtype
        if be.is_half(kind):
            # Half precision accumulates in float32 and rounds once.
            x = be.xp.astype(x, be.dtype("float32"))
        mean = isinstance(geometry, Mean)
        g = geometry.windows if mean else geometry

        def gather(inputs: Index, outputs: Index, windows: Windows) -> Array:
            y = _by_axis(be, x[inputs], windows, self._axis_rule)
            return _divided(be, geometry, y, outputs) if mean else y

        def spread(inputs: Index, outputs: Index, windows: Windows) -> Array:
            y = x[outputs]
            y = _divided(be, geometry, y, outputs) if mean else y
            return _by_axis(be, y, windows, self._axis_rule)

        x = _added(be, g, x, spread) if self._spreads else _gathered(be, g, x, x.dtype, gather)
        return x if x.dtype == kind else be.xp.astype(x, kind)

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
_SUM = _Linear("sum_windows", _sum_axis, spreads=False)
_SPREAD = _Linear("spread_windows", _spread_axis, spreads=True)
_SUM.sibling, _SPREAD.sibling = _SPREAD, _SUM


def choose(geometry: Windows, x: Any, taps: Array) -> Any:
    """x at the chosen tap of every window."""
    return apply(_CHOOSE, geometry, x, taps)


def scatter(geometry: Windows, y: Any, taps: Array) -> Any:
    """The transpose of `choose`."""
    return apply(_SCATTER, geometry, y, taps)


def sum_windows(geometry: Windows, x: Any) -> Any:
    """Sum of every window; padding counts as 0."""
    return apply(_SUM, geometry, x)


def mean_windows(geometry: Mean, x: Any) -> Any:
    """Sum of every window over the number of its points that count."""
    return apply(_SUM, geometry, x)


def window_extreme(geometry: Windows, x: Any, *, largest: bool) -> Any:
    """Maximum (or minimum) of every window; padding never wins."""
    return apply(_EXTREME, Extreme(geometry, largest), x)
