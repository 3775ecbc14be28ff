"""Window reductions as functions: merges of padded slices, where no array can be written.

For compiled and lazy arrays and the bare standard. Windows of many taps that lie end to end are
reduced by the library, over their taps as an axis of their own, whatever can be written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from math import prod
from typing import Any, NamedTuple

from .._backends import Backend
from ..geometry import Span, Windows, strided
from .passes import LONG, PLAIN, by_axis, shifts
from .sweep import last_axis_first, lowest

__all__ = [
    "Extreme",
    "chosen",
    "elements",
    "end_to_end",
    "extreme_axis",
    "first_places",
    "reduced",
    "scattered",
    "spread_axis",
    "sum_axis",
]

Array = Any


class Extreme(NamedTuple):
    """Geometry of what concerns the extremes of windows."""

    windows: Windows
    largest: bool


def _shift(x: Array, axis: int, start: int, stop: int | None) -> Array:
    return _cut(x, axis, slice(start, stop))


def _pad_axis(be: Backend, x: Array, axis: int, low: int, high: int, value: Any) -> Array:
    if low < 0 or high < 0:
        start, stop = max(0, -low), x.shape[axis] - max(0, -high)
        if stop <= start:
            # More may be cropped than there is, and made up for on the other side.
            low, high, start, stop = 0, x.shape[axis] + low + high, 0, 0
        x = _shift(x, axis, start, stop)
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


def extreme_axis(be: Backend, x: Array, axis: int, span: Span, largest: bool) -> Array:
    """The extremes of windows over one axis."""
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


def first_places(be: Backend, g: Extreme, x: Array, units: Sequence[int]) -> tuple[Array, Array]:
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


def chosen(be: Backend, g: Extreme, t: Array, x: Array) -> Array:
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


def scattered(be: Backend, g: Extreme, y: Array, x: Array) -> Array:
    """The transpose of `chosen`."""
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


def sum_axis(be: Backend, x: Array, axis: int, span: Span) -> Array:
    """The sums of windows over one axis."""
    native = be.native_pass("sum", x, axis, span)
    if native is not None:
        return native
    x = _pad_axis(be, x, axis, span.low, span.high, 0)
    total = None
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
            term = _cut(x, axis, strided(start, span.out, span.stride))
            total = term if total is None else total + term
            offset += width
        if 2 * width <= span.size:
            n -= width * span.dilation
            x = _shift(x, axis, 0, n) + _shift(x, axis, width * span.dilation, None)
        width *= 2
    return total


def spread_axis(be: Backend, y: Array, axis: int, span: Span) -> Array:
    """The transpose of `sum_axis`."""
    if span.stride == 1:
        return sum_axis(be, y, axis, span.transposed())
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
    return sum_axis(be, y, axis, dense)


# -- windows of many taps that lie end to end ------------------------------------------------------


@lru_cache(maxsize=1024)
def end_to_end(g: Windows) -> tuple[tuple[int, Span], ...]:
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


def reduced(be: Backend, name: str, g: Windows, x: Array) -> Array | None:
    """A reduction of the standard over their taps as axes of their own."""
    passes = end_to_end(g)
    if not passes:
        return None
    taps = tuple(axis + 1 + number for number, (axis, _) in enumerate(passes))
    for axis, span in reversed(passes):
        shape = (*x.shape[:axis], span.out, span.size, *x.shape[axis + 1 :])
        x = be.xp.reshape(_shift(x, axis, 0, span.out * span.size), shape)
    settings = {"dtype": x.dtype} if name == "sum" else {}
    return getattr(be.xp, name)(x, axis=taps, **settings)


@lru_cache(maxsize=1024)
def elements(g: Windows) -> int:
    """Elements that passes over the axes compute."""
    shape, found = list(g.shape), 0
    for axis, span, _ in chain.from_iterable(by_axis(g)):
        shape[axis] = span.out
        full = 0 if shifts(span) is None else span.stride * (len(_merges(span)) - 1) + 1
        found += prod(shape) * (full or span.size - 1)
    return found
