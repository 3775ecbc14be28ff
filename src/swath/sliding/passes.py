"""Programs of window reductions: which slices meet, axis by axis, worked out before any array.

A program reduces the windows of one axis in steps, each an elementwise operation on slices of a few
registers: SOURCE (the input), RESULT, and temporaries. Few taps are merged one after the other;
many by doubling (windows of 1, 2, 4 … taps), on overlapping windows where the reduction allows it.
Windows of many taps, far apart, are windows of smaller ones that lie end to end: a pass for each.
Padding is never stored: outputs are split where the taps that reach the input change.

The steps keep the order of taps, left before right, so that the same program serves values, the
places of extremes (ties to the left).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from math import gcd
from typing import NamedTuple

from ..geometry import Span, Windows

__all__ = [
    "LONG",
    "PLAIN",
    "RESULT",
    "SOURCE",
    "Pass",
    "Program",
    "Step",
    "by_axis",
    "extreme_program",
    "shifts",
    "spread_program",
    "sum_program",
]

SOURCE, RESULT = 0, 1
# Taps that are merged one after the other at most: each is a call.
LONG = 512
# Taps of windows that are not made of smaller ones.
PLAIN = 16


class Pass(NamedTuple):
    """Windows over one axis; neighbouring taps are `unit` taps of the problem's apart."""

    axis: int
    span: Span
    unit: int = 1


@lru_cache(maxsize=1024)
def by_axis(g: Windows, *, places: bool = False) -> tuple[tuple[Pass, ...], ...]:
    """The passes of every axis on which something happens, first axis first.

    Those of one axis go one after the other, the smallest windows first. `places`: whether a value
    of padding may not stand for one of the data.
    """
    found = []
    for axis, span in zip(g.axes, g.spans, strict=True):
        if span.idle:
            continue
        passes, unit = [], 1
        while (tile := _tile(span, places=places)) > 1:
            stride, size = span.stride // tile, span.size // tile
            count = stride * (span.out - 1) + size
            high = tile * count - span.length - span.low
            passes.append(Pass(axis, Span(span.length, tile, tile, 1, span.low, high), unit))
            span, unit = Span(count, size, stride), unit * tile
        found.append((*passes, Pass(axis, span, unit)))
    return tuple(found)


def _tile(span: Span, *, places: bool) -> int:
    """Taps of smaller windows that the windows of a span are made of; 1 for none."""
    common = gcd(span.size, span.stride)
    if span.size <= PLAIN or common == 1 or span.dilation > 1 or span.low < 0 or span.out == 0:
        return 1
    tile = next((t for t in range(PLAIN, 1, -1) if common % t == 0), 0)
    tile = tile or next((t for t in range(PLAIN, LONG) if common % t == 0), 1)
    # A smaller window wholly in padding has no place.
    return 1 if tile == span.size or (places and span.low >= tile) else tile


class Step(NamedTuple):
    """One elementwise operation: a fill (no operand), a copy (one) or a merge (two).

    Attributes
    ----------
    to, at : int, slice
        Register and place of the outcome.
    left, left_at, right, right_at : int, slice
        Operands; −1 where there is none.
    taps : tuple of int
        The taps that the operands begin at, counted from the first tap of the outcome.
    forced : int
        So many outcomes from the first have a left operand wholly in padding.
    """

    to: int
    at: slice
    left: int = -1
    left_at: slice = slice(0)
    right: int = -1
    right_at: slice = slice(0)
    taps: tuple[int, int] = (0, 0)
    forced: int = 0


class Program(NamedTuple):
    """Steps on registers.

    Attributes
    ----------
    lengths : tuple of int
        Of the registers.
    steps : tuple of Step
        In order.
    memory : tuple of int
        Which memory every temporary takes: one that nothing still to be read lies in.
    """

    lengths: tuple[int, ...]
    steps: tuple[Step, ...]
    memory: tuple[int, ...] = ()


_UNTOUCHED, _MERGED = -1, -2
# What outputs first … last−1 are so far: one of these, or the number of the one tap they have.
Run = tuple[int, int, int]


class _Tap(NamedTuple):
    """Outputs first … last−1 read source points from start on, a stride apart."""

    first: int
    last: int
    start: int
    stride: int

    def read(self, first: int, last: int) -> slice:
        p = self.start + self.stride * (first - self.first)
        return slice(p, p + self.stride * (last - first - 1) + 1, self.stride)


def _chained(
    to: int,
    count: int,
    taps: Sequence[_Tap],
    place: tuple[int, int] = (0, 1),
) -> list[Step]:
    """Merge taps one after the other into outputs 0 … count−1 of a register.

    `place` = (offset, step) of those outputs in the register. The first two taps that reach an
    output are merged at once, so that nothing is filled that is overwritten.
    """
    offset, step = place

    def at(first: int, last: int) -> slice:
        start = offset + step * first
        return slice(start, start + step * (last - first - 1) + 1, step)

    pieces: list[Run] = [(0, count, _UNTOUCHED)]
    found: list[Step] = []
    for number, tap in enumerate(taps):
        later: list[Run] = []
        for first, last, state in pieces:
            a, b = max(first, tap.first), min(last, tap.last)
            if a >= b:
                later.append((first, last, state))
                continue
            if first < a:
                later.append((first, a, state))
            if state == _UNTOUCHED:
                later.append((a, b, number))
            else:
                right = SOURCE, tap.read(a, b)
                if state == _MERGED:
                    step_ = Step(to, at(a, b), to, at(a, b), *right, (0, number))
                else:
                    left = SOURCE, taps[state].read(a, b)
                    step_ = Step(to, at(a, b), *left, *right, (state, number))
                found.append(step_)
                later.append((a, b, _MERGED))
            if b < last:
                later.append((b, last, state))
        pieces = later
    for first, last, state in pieces:
        if state == _UNTOUCHED:
            found.append(Step(to, at(first, last)))
        elif state != _MERGED:
            left = SOURCE, taps[state].read(first, last)
            found.append(Step(to, at(first, last), *left, taps=(state, 0)))
    return found


def _taps(span: Span) -> list[_Tap]:
    found = []
    for j in range(span.size):
        outputs, inputs = span.tap(j)
        found.append(_Tap(outputs.start, outputs.stop, inputs.start, span.stride))
    return found


def shifts(span: Span) -> list[int] | None:
    """Steps, in taps, of merging by doubling; None where tap by tap is no more work."""
    found, width = [], 1
    while 2 * width <= span.size:
        found.append(width)
        width *= 2
    if width < span.size:
        found.append(span.size - width)
    # All but the last merge run over every position, not over every output.
    less = (len(found) - 1) * span.stride + 1 < span.size - 1 or span.size > LONG
    return found if found and less else None


def _first_level(span: Span) -> tuple[Span, int]:
    """Windows of two taps at every position, and how many positions the windows of `span` read."""
    points = span.stride * (span.out - 1) + span.extent
    high = points - span.length - span.low
    return Span(span.length, 2, 1, span.dilation, span.low, high), points


@lru_cache(maxsize=1024)
def extreme_program(span: Span) -> Program:
    """The largest or smallest tap of every window."""
    steps = shifts(span)
    if steps is None or span.out == 0:
        chain = _chained(RESULT, span.out, _taps(span))
        return Program((span.length, span.out), tuple(chain))
    level, points = _first_level(span)
    d, n = span.dilation, points - span.dilation
    lengths, found = [span.length, span.out, n], _chained(2, n, _taps(level))
    width, here = 2, 2
    for number, shift in enumerate(steps[1:], 1):
        # The windows of the left operand that begin so early lie wholly in padding.
        outside = max(0, span.low - d * (width - 1))
        if number == len(steps) - 1:
            count, stride, to = span.out, span.stride, RESULT
        else:
            count, stride, to = n - d * shift, 1, len(lengths)
            lengths.append(count)
        reach = stride * (count - 1) + 1
        left = slice(0, reach, stride)
        right = slice(d * shift, d * shift + reach, stride)
        forced = min(count, -(-outside // stride))
        found.append(Step(to, slice(0, count), here, left, here, right, (0, shift), forced))
        n, here, width = count, to, width + shift
    # One is read while the other is written.
    return Program(tuple(lengths), tuple(found), tuple(i % 2 for i in range(len(lengths) - 2)))


@lru_cache(maxsize=1024)
def sum_program(span: Span) -> Program:
    """The sum of the taps of every window: sums of 1, 2, 4 … taps, those of the size's digits."""
    digits = [i for i in range(span.size.bit_length()) if span.size >> i & 1]
    work = digits[-1] * span.stride + len(digits) - 1
    if (work >= span.size - 1 and span.size <= LONG) or span.size == 1 or span.out == 0:
        chain = _chained(RESULT, span.out, _taps(span))
        return Program((span.length, span.out), tuple(chain))
    level, points = _first_level(span)
    d, n = span.dilation, points - span.dilation
    lengths, found = [span.length, span.out, n], _chained(2, n, _taps(level))
    here, width, offset, memory = 2, 2, 0, [0]
    held: tuple[int, slice] | None = None
    full = slice(0, span.out)
    while True:
        if span.size & width:
            start = d * offset
            term = here, slice(start, start + span.stride * (span.out - 1) + 1, span.stride)
            offset += width
            if held is None:
                held = term
            else:
                found.append(Step(RESULT, full, *held, *term))
                held = RESULT, full
        if 2 * width > span.size:
            break
        if 2 * width == span.size:
            reach = span.stride * (span.out - 1) + 1
            pair = slice(0, reach, span.stride), slice(d * width, d * width + reach, span.stride)
            found.append(Step(RESULT, full, here, pair[0], here, pair[1]))
            return Program(tuple(lengths), tuple(found), tuple(memory))
        n -= d * width
        pair = slice(0, n), slice(d * width, d * width + n)
        found.append(Step(len(lengths), slice(0, n), here, pair[0], here, pair[1]))
        # One is read, one written, one held for a sum to come.
        used = {memory[i - 2] for i in (here, held[0] if held else RESULT) if i > RESULT}
        memory.append(next(m for m in range(3) if m not in used))
        here = len(lengths)
        lengths.append(n)
        width *= 2
    if span.size & 1:
        # The last tap by itself, where it reaches the input.
        outputs, inputs = span.tap(span.size - 1)
        tap = _Tap(outputs.start, outputs.stop, inputs.start, span.stride)
        for first, last, inside in _split(span.out, tap.first, tap.last):
            left = held or (RESULT, full)
            if left[0] == RESULT:
                left = RESULT, slice(first, last)
            else:
                p = left[1].start + span.stride * first
                left = left[0], slice(p, p + span.stride * (last - first - 1) + 1, span.stride)
            if inside:
                found.append(Step(RESULT, slice(first, last), *left, SOURCE, tap.read(first, last)))
            elif left[0] != RESULT:
                found.append(Step(RESULT, slice(first, last), *left))
    return Program(tuple(lengths), tuple(found), tuple(memory))


def _split(count: int, first: int, last: int) -> list[tuple[int, int, bool]]:
    """0 … count−1 in runs, with whether they lie in first … last−1."""
    cuts = [(0, min(first, count), False), (first, last, True), (max(last, first), count, False)]
    if last <= first:
        return [(0, count, False)] if count else []
    return [c for c in cuts if c[1] > c[0]]


@lru_cache(maxsize=1024)
def spread_program(span: Span) -> Program:
    """The transpose of `sum_program`: every input point the sum of the windows that reach it.

    Phase by phase of the stride; with stride 1 a sum under the transposed span is less work.
    """
    found: list[Step] = []
    meeting: dict[int, list[int]] = defaultdict(list)
    for j in range(span.size):
        meeting[(span.dilation * j - span.low) % span.stride].append(j)
    for phase in range(min(span.stride, span.length)):
        # Input points phase, phase + stride, …: the taps that meet them, the latest window first
        count = -(-(span.length - phase) // span.stride)
        taps = []
        for j in meeting[phase]:
            # Point number q of the class is reached from window q + shift, where there are both.
            shift = (phase + span.low - span.dilation * j) // span.stride
            taps.append(_Tap(-shift, span.out - shift, 0, 1))
        found += _chained(RESULT, count, taps, (phase, span.stride))
    return Program((span.out, span.length), tuple(found))
