"""Places of extremes: which tap of every window won, values taken there, values put back there.

Places are kept as numbers that are as narrow as windows allow: how far the first extreme of a
window lies behind its first tap. Where the window begins is added slab by slab.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from .._backends import Backend
from ..geometry import Span, Windows
from . import sweep
from .padded import Extreme, elements, first_places
from .scratch import Scratch
from .sweep import Index, Slab, filled, in_slabs

__all__ = ["ahead_of_start", "extreme_places", "put_back", "taken_at"]

Array = Any


def extreme_places(be: Backend, g: Windows, x: Array, *, largest: bool) -> tuple[Array, Array]:
    """Extremes of all windows, and the first place of each in the flattened sliding axes.

    Places count points of the unpadded axes in row-major order; −1 in a window wholly in padding.
    """
    native = be.native_pool("places", g, elements(g), x) if largest else None
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
    y, places = first_places(be, g, x, [scales[axis] * span.dilation for axis, span in spans])
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

    return filled(be, windows, x, part), places


def ahead_of_start(be: Backend, g: Extreme, x: Array) -> tuple[Array, Array]:
    """Extremes, and how far in the flattened x each lies behind the first tap of its window."""
    windows = g.windows
    units, small = _units(be, windows, _scales(windows))
    ahead = be.empty_like(x, windows.out, small)

    def part(s: Scratch, slab: Windows, inputs: Index, at: Index, out: Array) -> None:
        sweep.places_into(be, s, slab, x[inputs], out, ahead[at], units, largest=g.largest)

    return filled(be, windows, x, part), ahead


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


def taken_at(be: Backend, g: Windows, t: Array, ahead: Array) -> Array:
    """t at the extremes; 0 in windows wholly in padding."""
    y = be.empty_like(t, g.out)

    def one(inputs: Index, at: Index, places: Array) -> None:
        y[at] = be.reshape(be.take_at(t[inputs], places), y[at].shape)

    parts = in_slabs(g, be.itemsize(be.default_int(t)), be.wide(t))
    _at_places(be, g, t, ahead, parts, one)
    for cut in _lost(g):
        y[cut] = 0
    return y


def put_back(be: Backend, g: Windows, y: Array, ahead: Array) -> Array:
    """Every value of y added at the place of its window's extreme, 0 elsewhere."""
    lost = _lost(g)
    if lost:
        y = be.xp.asarray(y, copy=True)
        for cut in lost:
            y[cut] = 0
    parts = in_slabs(g, be.itemsize(be.default_int(y)), be.wide(y))
    # Neighbours along a sliding axis share points: never two of them at once, for the same sums
    # every time.
    shared = parts[0].windows.spans != g.spans
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
