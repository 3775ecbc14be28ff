"""Window reductions where arrays can be written: slab by slab, in scratch memory that is reused.

A slab fits the cache. Each of its axes is one pass, a program of `passes` run on slices; of several
taps, away from padding, one call of a library that merges them all. Rows of a contiguous array that
are too short for a library's inner loop are taken as one long row; the outputs whose windows would
reach into a neighbouring row are then done again by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from math import prod
from typing import Any, NamedTuple

from .._backends import Backend
from ..geometry import Span, Windows
from .passes import (
    LONG,
    SOURCE,
    Pass,
    Program,
    Step,
    by_axis,
    extreme_program,
    spread_program,
    sum_program,
)
from .scratch import Outer, Scratch

__all__ = [
    "Index",
    "Slab",
    "extreme_into",
    "filled",
    "in_slabs",
    "last_axis_first",
    "lowest",
    "narrowest",
    "places_into",
    "spread_into",
    "sum_into",
]

Array = Any
Index = tuple[slice, ...]

# Bytes of one slab: a few arrays of this size stay in a core's cache.
_SLAB = 2**21


class Slab(NamedTuple):
    """A part of a problem: what it reads, what it writes, and its windows."""

    inputs: Index
    outputs: Index
    windows: Windows


@lru_cache(maxsize=64)
def in_slabs(g: Windows, itemsize: int, wide: int, *, back: bool = False) -> tuple[Slab, ...]:
    """The problem in parts that fit the cache and keep scratch arrays small.

    Parts of the outputs with the inputs that they read; `back`: parts of the inputs with the
    outputs whose windows reach them.
    """
    limit = _SLAB * wide
    out = g.out
    spans = dict(zip(g.axes, g.spans, strict=True))
    found = []

    def walk(axis: int, inputs: Index, outputs: Index, cuts: dict[int, Span]) -> None:
        size = itemsize * prod(
            max(i.stop - i.start, o.stop - o.start) for i, o in zip(inputs, outputs, strict=True)
        )
        if size <= limit or axis == len(out):
            shape = tuple(i.stop - i.start for i in inputs)
            windows = Windows(shape, g.axes, tuple({**spans, **cuts}.values()))
            found.append(Slab(inputs, outputs, windows))
            return
        span = spans.get(axis)
        count = g.shape[axis] if back else out[axis]
        step = max(1, count * limit // size)
        if span is not None:
            # Halos are read twice: let them be the smaller part.
            step = max(step, 4 * span.extent if back else -(-4 * span.extent // span.stride))
        # Equal parts, for threads that share them.
        step = -(-count // -(-count // step))
        if span is not None and back:
            # All begin at the same phase of the stride.
            step = -(-step // span.stride) * span.stride
        for first in range(0, count, step):
            cut = slice(first, min(first + step, count))
            other, own = cut, {}
            if span is not None:
                other, part = (span.source if back else span.part)(cut.start, cut.stop)
                own = {axis: part}
            pair = (cut, other) if back else (other, cut)
            rest = (
                (*inputs[:axis], pair[0], *inputs[axis + 1 :]),
                (*outputs[:axis], pair[1], *outputs[axis + 1 :]),
            )
            # Cut one sliding axis only: more halos cost more than a slab beyond the cache.
            walk(axis + 1 if span is None else len(out), *rest, own)

    walk(0, tuple(slice(0, n) for n in g.shape), tuple(slice(0, n) for n in out), {})
    return tuple(found)


# Rows of at most so many elements go together.
_SHORT = 1024
# One element of a column costs as much as this share of starting an inner loop.
_COLUMN = 16
# Elements at least of an array whose taps are merged at once, and at most of an inner loop of it.
_FEW, _MANY = 2**14, 2**15
# Remainders of a stride that are laid side by side at most.
_PHASES = 4
# Taps that are merged at once in the time of a step of a program, and of merging their results.
_STEP, _AGAIN = 8, 6


def filled(
    be: Backend,
    g: Windows,
    x: Array,
    part: Callable[[Scratch, Windows, Index, Index, Array], None],
    *,
    back: bool = False,
) -> Array:
    """The array of outputs, or `back` of inputs, whose every slab `part` writes."""
    out = be.empty_like(x, g.shape if back else g.out)

    def one(scratch: Scratch, slab: Slab) -> None:
        inputs, outputs, windows = slab
        part(scratch, windows, inputs, outputs, out[inputs if back else outputs])

    parts = in_slabs(g, be.itemsize(x.dtype), be.wide(x), back=back)
    be.each(parts, lambda: Scratch(be, x, once=len(parts) == 1), one)
    return out


class Part(NamedTuple):
    """One program of a pass: on rows taken as one (`flat`), or on some outputs of the axis."""

    program: Program
    flat: bool
    source: slice
    result: slice


@lru_cache(maxsize=1024)
def _parts(
    make: Callable[[Span], Program], shape: tuple[int, ...], axis: int, span: Span, flat: bool
) -> tuple[Part, ...]:
    """How a pass over `axis` of a contiguous array goes (`flat` where both arrays are)."""
    whole = Part(make(span), False, slice(None), slice(None))
    inner = prod(shape[axis + 1 :])
    if make is spread_program:
        # Windows that tile an axis reach into no neighbouring row.
        tiles = (span.size, span.dilation, span.low) == (span.stride, 1, 0)
        tiles = tiles and span.stride * span.out == span.length
        if not (flat and tiles and inner == 1):
            return (whole,)
        n = prod(shape) * span.stride
        return (Part(make(Span(n, span.size, span.stride)), True, slice(0), slice(0)),)
    rows = prod(shape[:axis])
    even = span.length == span.stride * span.out and (inner == 1 or span.stride == 1)
    if not flat or rows == 1 or not even or span.out * inner > _SHORT or span.size == 1:
        return (whole,)
    inside = [
        i
        for i in range(span.out)
        if i * span.stride >= span.low and i * span.stride - span.low + span.extent <= span.length
    ]
    if not inside:
        return (whole,)
    edges = [i for i in range(span.out) if not inside[0] <= i <= inside[-1]]
    if len(edges) * inner * (span.size - 1) > _COLUMN * len(whole.program.steps):
        return (whole,)
    n, out = rows * span.length * inner, rows * span.out * inner
    d, low = span.dilation * inner, span.low * inner
    high = span.stride * (out - 1) + d * (span.size - 1) + 1 - n - low
    parts = [Part(make(Span(n, span.size, span.stride, d, low, high)), True, slice(0), slice(0))]
    for i in edges:
        inputs, one = span.part(i, i + 1)
        parts.append(Part(make(one), False, inputs, slice(i, i + 1)))
    return tuple(parts)


@lru_cache(maxsize=1024)
def _folded(
    make: Callable[[Span], Program], shape: tuple[int, ...], axis: int, span: Span, least: int
) -> slice:
    """Outputs along `axis` whose taps are best merged at once: all that touch no padding, or none.

    A tap then costs about an eighth of a step of the program, which reads and writes memory beyond
    the first cache.
    """
    first = max(0, -(-span.low // span.stride))
    last = min(span.out, (span.length + span.low - span.extent) // span.stride + 1)
    run, none = prod(shape[axis + 1 :]), slice(0, 0)
    if last <= first or prod(shape) < _FEW:
        return none
    if run < least:
        run *= (last - first) * (span.stride == 1)
    elif span.dilation > span.stride:
        return none
    if not least <= run <= _MANY:
        return none
    inside = span.part(first, last)[1]
    steps = make(inside).steps
    return slice(first, last) if len(steps) > 2 + _levels(inside).taps / _STEP else none


class _Levels(NamedTuple):
    """Windows as `number` windows of `size` taps end to end, and `more` taps; or as they are.

    `taps` is what it costs, in taps that are merged at once.
    """

    size: int
    number: int
    more: int
    taps: int


@lru_cache(maxsize=1024)
def _levels(span: Span) -> _Levels:
    """The cheapest way to merge the taps of a span without padding."""
    found = [_Levels(1, span.size, 0, span.size)]
    if span.stride == 1:
        for size in range(2, span.size // 2 + 1):
            count, more = divmod(span.size, size)
            # Another pass, and single taps, write and read memory beyond the first cache.
            found.append(_Levels(size, count, more, size + count + _AGAIN + _STEP * more))
    return min(found, key=lambda way: way.taps)


def _fold(scratch: Scratch, name: str, axis: int, span: Span, source: Array, result: Array) -> None:
    """Merge the taps of windows without padding, in one call or by smaller windows."""
    size, count, *_ = _levels(span)
    if size == 1:
        scratch.fold(result, source, name, axis, span)
        return
    d = span.dilation
    small = Span(span.out + d * (size * count - 1), size, 1, d)
    parts = scratch("level", _with(tuple(source.shape), axis, small.out))
    scratch.fold(parts, cut(source, axis, slice(0, small.length)), name, axis, small)
    scratch.fold(result, parts, name, axis, Span(small.out, count, 1, d * size))
    for number in range(size * count, span.size):
        tap = cut(source, axis, slice(d * number, d * number + span.out))
        scratch.into(name, result, result, tap)


class _Phases:
    """An array whose last axis is read with a stride: what each remainder reads, side by side."""

    __slots__ = ("parts", "stride")

    def __init__(self, scratch: Scratch, source: Array, stride: int) -> None:
        self.stride, axis = stride, len(source.shape) - 1
        self.parts = []
        for phase in range(stride):
            read = cut(source, axis, slice(phase, None, stride))
            part = scratch(("phase", phase), tuple(read.shape), source.dtype)
            scratch.put(part, read)
            self.parts.append(part)

    def cut(self, axis: int, at: slice) -> Array:
        """What a slice with the stride reads."""
        first = at.start // self.stride
        count = len(range(at.start, at.stop, at.step))
        return cut(self.parts[at.start % self.stride], axis, slice(first, first + count))


def _phased(scratch: Scratch, program: Program, axis: int, source: Array) -> Any:
    """The source of comparisons, side by side where the program reads it with a stride.

    A tap is compared and then taken, and with a stride NumPy takes several times as long for both.
    """
    reads = [(s.left, s.left_at) for s in program.steps]
    reads += [(s.right, s.right_at) for s in program.steps]
    strides = {at.step for number, at in reads if number == SOURCE}
    stride = min(strides, default=None) or 1
    row = axis == len(source.shape) - 1 and prod(source.shape) >= _FEW
    if not scratch.be.folds or not row or len(strides) > 1 or not 1 < stride <= _PHASES:
        return source
    return _Phases(scratch, source, stride)


def cut(a: Any, axis: int, at: slice) -> Array:
    """A slice of one axis."""
    if type(a) is _Phases:
        return a.cut(axis, at)
    return a[(*[slice(None)] * axis, at)] if axis else a[at]


def _views(part: Part, axis: int, source: Array, result: Array) -> tuple[int, Array, Array]:
    if part.flat:
        return 0, source.reshape(-1), result.reshape(-1)
    return axis, cut(source, axis, part.source), cut(result, axis, part.result)


def _registers(
    scratch: Scratch, program: Program, axis: int, source: Array, result: Array
) -> list[Array]:
    shape = tuple(source.shape)
    found = [source, result]
    for memory, n in zip(program.memory, program.lengths[2:], strict=True):
        found.append(scratch(("register", memory), _with(shape, axis, n)))
    return found


def last_axis_first(g: Windows) -> list[Pass]:
    """The passes in the order that ties to the first place need."""
    return list(chain.from_iterable(reversed(by_axis(g, places=True))))


def _with(shape: tuple[int, ...], axis: int, n: int) -> tuple[int, ...]:
    return (*shape[:axis], n, *shape[axis + 1 :])


def _merged(
    scratch: Scratch,
    name: str,
    fill: Any,
    make: Callable[[Span], Program],
    axis: int,
    span: Span,
    source: Array,
    result: Array,
) -> None:
    """One pass of an operation that merges two values (maximum, minimum, add)."""
    inside = slice(0, 0)
    if scratch.be.folds and make is not spread_program:
        inside = _folded(make, tuple(source.shape), axis, span, scratch.be.folds)
    if inside.stop > inside.start:
        inputs, whole = span.part(inside.start, inside.stop)
        to, taps = cut(result, axis, inside), cut(source, axis, inputs)
        _fold(scratch, name, axis, whole, taps, to)
        for first, last in ((0, inside.start), (inside.stop, span.out)):
            if first < last:
                inputs, part = span.part(first, last)
                edge = cut(source, axis, inputs), cut(result, axis, slice(first, last))
                _merged(scratch, name, fill, make, axis, part, *edge)
        return
    flat = scratch.contiguous(source) and scratch.contiguous(result)
    for part in _parts(make, tuple(source.shape), axis, span, flat):
        along, a, b = _views(part, axis, source, result)
        registers = _registers(scratch, part.program, along, a, b)
        for step in part.program.steps:
            to = cut(registers[step.to], along, step.at)
            if step.right >= 0:
                left = cut(registers[step.left], along, step.left_at)
                scratch.into(name, to, left, cut(registers[step.right], along, step.right_at))
            elif step.left >= 0:
                scratch.put(to, cut(registers[step.left], along, step.left_at))
            else:
                scratch.put(to, fill)


def _through(
    g: Windows, scratch: Scratch, x: Array, result: Array, *, back: bool = False
) -> Iterator[tuple[int, Span, Array, Array]]:
    """Axis, span, source and result of every pass from x to `result`."""
    passes = list(chain.from_iterable(by_axis(g)))
    if back:
        passes.reverse()
    if not passes:
        scratch.put(result, x)
    for number, (axis, span, _) in enumerate(passes):
        target = result
        if number < len(passes) - 1:
            n = span.length if back else span.out
            target = scratch(("pass", number % 2), _with(tuple(x.shape), axis, n))
        yield axis, span, x, target
        x = target


def extreme_into(
    be: Backend, scratch: Scratch, g: Windows, x: Array, result: Array, *, largest: bool
) -> None:
    """result = the largest or smallest of every window; the identity if it is all padding."""
    name, fill = "maximum" if largest else "minimum", lowest(be, x, largest=largest)

    def note(x: Outer, result: Outer) -> None:
        # Whole rows first: then there is less to be read with a stride.
        for axis, span, a, b in _through(g, scratch, x, result):
            _merged(scratch, name, fill, extreme_program, axis, span, a, b)

    scratch.run((name, g), note, x, result)


def sum_into(scratch: Scratch, g: Windows, x: Array, result: Array) -> None:
    """result = the sum of every window."""

    def note(x: Outer, result: Outer) -> None:
        for axis, span, a, b in _through(g, scratch, x, result):
            _merged(scratch, "add", 0, sum_program, axis, span, a, b)

    scratch.run(("sum", g), note, x, result)


def spread_into(scratch: Scratch, g: Windows, y: Array, result: Array) -> None:
    """The transpose of `sum_into`: result = the sum of y over the windows that reach a point."""

    def note(y: Outer, result: Outer) -> None:
        for axis, span, a, b in _through(g, scratch, y, result, back=True):
            if span.stride == 1:
                _merged(scratch, "add", 0, sum_program, axis, span.transposed(), a, b)
            elif span.size > LONG:
                # Zeros between, and windows that are neighbours.
                points, reach = span.stride * (span.out - 1) + 1, span.extent - 1
                gaps = scratch("gaps", _with(tuple(a.shape), axis, points))
                scratch.put(gaps, 0)
                scratch.put(cut(gaps, axis, slice(0, points, span.stride)), a)
                high = span.length - points + span.low
                dense = Span(points, span.size, 1, span.dilation, reach - span.low, high)
                _merged(scratch, "add", 0, sum_program, axis, dense, gaps, b)
            else:
                _merged(scratch, "add", 0, spread_program, axis, span, a, b)

    scratch.run(("spread", g), note, y, result)


def lowest(be: Backend, x: Array, *, largest: bool) -> Any:
    """The identity of the reduction in the dtype of x."""
    if be.is_floating(x.dtype):
        return float("-inf") if largest else float("inf")
    info = be.xp.iinfo(x.dtype)
    return int(info.min if largest else info.max)


class _Chooser:
    """Which of two values is taken, the left one if they are equal, and NaN before numbers."""

    def __init__(
        self, be: Backend, scratch: Scratch, x: Array, *, largest: bool, nan: bool
    ) -> None:
        self.be, self.scratch, self.nan = be, scratch, nan
        self.bottom = lowest(be, x, largest=largest)
        self.beats = "greater" if largest else "less"
        self.better = "maximum" if largest else "minimum"
        self.bool = be.dtype("bool")

    def right(self, name: Any, left: Array, right: Array, step: Step, axis: int) -> Array:
        """Where the right one is taken."""
        scratch, shape = self.scratch, tuple(left.shape)
        found = scratch(("right", name), shape, self.bool)
        scratch.into(self.beats, found, right, left)
        if self.nan:
            mark = scratch("nan", shape, self.bool)
            scratch.into("not_equal", mark, right, right)
            scratch.into("logical_or", found, found, mark)
            scratch.into("equal", mark, left, left)
            scratch.into("logical_and", found, found, mark)
        if step.forced:
            scratch.put(cut(found, axis, slice(0, step.forced)), True)
        return found


def _extreme_parts(
    scratch: Scratch, axis: int, span: Span, source: Array, result: Array
) -> tuple[Part, ...]:
    flat = scratch.contiguous(source) and scratch.contiguous(result)
    return _parts(extreme_program, tuple(source.shape), axis, span, flat)


def places_into(
    be: Backend,
    scratch: Scratch,
    g: Windows,
    x: Array,
    result: Array,
    places: Array,
    units: Sequence[int],
    *,
    largest: bool,
) -> None:
    """As `extreme_into`; `places` = how far the first such value lies behind the first tap.

    A tap counts as `units` of its axis. The last axis goes first, so that ties go to the first
    place in row-major order. Windows wholly in padding get any number.
    """
    nan = be.is_floating(x.dtype) and be.may_hold_nan(x)

    def note(x: Outer, result: Outer, places: Outer) -> None:
        chooser = _Chooser(be, scratch, x, largest=largest, nan=nan)
        _places(chooser, g, x, result, places, units)

    scratch.run(("places", g, largest, nan, tuple(units)), note, x, result, places)


def _places(
    chooser: _Chooser, g: Windows, x: Array, result: Array, places: Array, units: Sequence[int]
) -> None:
    scratch = chooser.scratch
    unit_of = dict(zip(g.axes, units, strict=True))
    before: Array | None = None
    passes = last_axis_first(g)
    if not passes:
        scratch.put(result, x)
        scratch.put(places, 0)
    for number, (axis, span, unit) in enumerate(passes):
        unit *= unit_of[axis]
        end = number == len(passes) - 1
        shape = _with(tuple(x.shape), axis, span.out)
        y = result if end else scratch(("pass", number % 2), shape)
        found = places if end else scratch(("places", number % 2), shape, places.dtype)
        for part in _extreme_parts(scratch, axis, span, x, y):
            along, a, b = _views(part, axis, x, y)
            values = _registers(scratch, part.program, along, a, b)
            values[SOURCE] = _phased(scratch, part.program, along, a)
            _, old, new = _views(part, axis, x if before is None else before, found)
            numbers: list[Array | None] = [None if before is None else old, new]
            for i, v in zip(part.program.memory, values[2:], strict=True):
                numbers.append(scratch(("numbers", i), tuple(v.shape), places.dtype))
            for step in part.program.steps:
                _place(chooser, step, along, values, numbers, unit)
        x, before = y, found


def narrowest(be: Backend, reach: int) -> Any:
    """The narrowest dtype of numbers up to `reach`."""
    names = ("uint8", "int16", "int32", "int64")
    return be.dtype(next(n for n in names if reach <= be.xp.iinfo(be.dtype(n)).max))


def _place(
    chooser: _Chooser,
    step: Step,
    axis: int,
    values: list[Array],
    numbers: list[Array | None],
    unit: int,
) -> None:
    be, scratch = chooser.be, chooser.scratch
    to = cut(values[step.to], axis, step.at)
    number: Array = cut(numbers[step.to], axis, step.at)
    first = step.taps[0] * unit
    if step.left < 0:
        scratch.put(to, chooser.bottom)
        scratch.put(number, 0)
        return
    left = cut(values[step.left], axis, step.left_at)
    old = numbers[step.left]
    kept = None if old is None else cut(old, axis, step.left_at)
    if step.right < 0:
        scratch.put(to, left)
        scratch.put(number, first)
        if kept is not None:
            scratch.into("add", number, number, kept)
        return
    right = cut(values[step.right], axis, step.right_at)
    taken = chooser.right("place", left, right, step, axis)
    scratch.into(chooser.better, to, left, right)
    jump = (step.taps[1] - step.taps[0]) * unit
    taken = be.as_numbers(taken)
    new = numbers[step.right]
    if kept is None and new is None:
        # Bytes hold no jump over 255.
        scratch.put(number, taken)
        if jump != 1:
            scratch.into("multiply", number, number, jump)
        if first:
            scratch.into("add", number, number, first)
        return
    # Selected by arithmetic: an unpredictable branch costs more than four operations.
    ahead = scratch("ahead", tuple(number.shape), number.dtype)
    if kept is None or new is None:
        # Only where the left one is a merged value: numbers of single taps are all 0.
        assert kept is not None
        scratch.into("subtract", ahead, jump, kept)
    else:
        scratch.into("subtract", ahead, cut(new, axis, step.right_at), kept)
        scratch.into("add", ahead, ahead, jump)
    scratch.into("multiply", ahead, ahead, taken)
    scratch.into("add", number, kept, ahead)
    if first:
        scratch.into("add", number, number, first)
