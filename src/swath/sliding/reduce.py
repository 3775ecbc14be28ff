"""Window reductions as cores: extremes, values taken at their places, sums.

`choose` and `scatter` are transposes of each other, linear in their first argument; the second, the
key, says by its extremes which tap of every window is meant. The derivative of an extreme is
`choose` keyed by its own input, its transpose `scatter`: ties go to the first place in row-major
order on every path.

Every reduction goes axis by axis. Where arrays can be written, `sweep` computes slab by slab;
elsewhere `padded` makes the same merges as functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import chain
from math import frexp
from typing import Any, NamedTuple

import numpy as np

from .._backends import Backend
from ..autodiff import Core, apply, with_batch
from ..division import Cuts, Division, Piece, follow, inside, reaching
from ..geometry import Span, Windows
from . import sweep
from .padded import (
    Extreme,
    chosen,
    elements,
    end_to_end,
    extreme_axis,
    reduced,
    scattered,
    spread_axis,
    sum_axis,
)
from .passes import by_axis
from .pieces import in_pieces
from .places import ahead_of_start, extreme_places, put_back, taken_at
from .scratch import Scratch
from .sweep import Index, filled, lowest

__all__ = [
    "Mean",
    "choose",
    "mean_windows",
    "scatter",
    "sum_windows",
    "window_extreme",
]

Array = Any


def _windowed(g: Windows, piece: Callable[[Cuts], Piece], *, spreads: bool = False) -> Division:
    """All axes are cut."""
    return Division(g.shape if spreads else g.out, follow(g, spreads=spreads), piece)


class _Reduction(Core):
    """Something made of every window."""

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        """In pieces where programs are compiled: what writes in place has slabs of its own."""
        if not be.traces:
            return self.whole(be, geometry, *arrays)
        division = self.divide(geometry, [tuple(a.shape) for a in arrays])
        return in_pieces(be, division, partial(self.whole, be), geometry, arrays)

    def divide(self, geometry: Any, shapes: Sequence[tuple[int, ...]]) -> Division:
        raise NotImplementedError

    def whole(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        """The value in one go."""
        raise NotImplementedError


class _Keyed(_Reduction):
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

    def divide(self, geometry: Extreme, shapes: Sequence[tuple[int, ...]]) -> Division:
        def piece(cuts: Cuts) -> Piece:
            windows, reads = inside(geometry.windows, cuts)
            return Piece(geometry._replace(windows=windows), (reads, reads))

        return _windowed(geometry.windows, piece)

    def whole(self, be: Backend, geometry: Extreme, *arrays: Array) -> Array:
        t, x = arrays
        if not be.in_place:
            return chosen(be, geometry, t, x)
        return taken_at(be, geometry.windows, t, ahead_of_start(be, geometry, x)[1])

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

    def divide(self, geometry: Extreme, shapes: Sequence[tuple[int, ...]]) -> Division:
        """A piece needs the whole windows that reach it: what lies around it is cut off again."""
        g = geometry.windows

        def piece(cuts: Cuts) -> Piece:
            outputs = reaching(g, cuts)[1]
            windows, reads = inside(g, outputs)
            keep, place = [], []
            for cut, read in zip(cuts, reads, strict=True):
                start, stop = max(cut.start, read.start), min(cut.stop, read.stop)
                keep.append(slice(start - read.start, stop - read.start))
                place.append(slice(start - cut.start, stop - cut.start))
            inner = geometry._replace(windows=windows)
            return Piece(inner, (outputs, reads), tuple(keep), tuple(place))

        return _windowed(g, piece, spreads=True)

    def whole(self, be: Backend, geometry: Extreme, *arrays: Array) -> Array:
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
            out = be.native_pool("scatter", g, elements(g), y, *places, x)
        if out is None and not be.in_place:
            out = scattered(be, geometry, y, x)
        if out is None:
            ahead = places[0] if ours else ahead_of_start(be, geometry, x)[1]
            out = put_back(be, g, y, ahead)
        return be.cast(out, kind)

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


class _Extreme(_Reduction):
    """Maximum or minimum of every window."""

    name = "window_extreme"

    def divide(self, geometry: Extreme, shapes: Sequence[tuple[int, ...]]) -> Division:
        def piece(cuts: Cuts) -> Piece:
            windows, reads = inside(geometry.windows, cuts)
            return Piece(geometry._replace(windows=windows), (reads,))

        vacant = partial(lowest, largest=geometry.largest)
        return _windowed(geometry.windows, piece)._replace(vacant=vacant)

    def whole(self, be: Backend, geometry: Extreme, *arrays: Array) -> Array:
        (x,) = arrays
        g, largest = geometry
        native = be.native_pool("max", g, elements(g), x) if largest else None
        if native is None:
            native = reduced(be, "max" if largest else "min", g, x)
        if native is not None:
            return native
        if not be.in_place:
            # Whole rows first: then there is less to be read with a stride.
            for axis, span, _ in chain.from_iterable(by_axis(g)):
                x = extreme_axis(be, x, axis, span, largest)
            return x

        def part(s: Scratch, windows: Windows, inputs: Index, _: Index, out: Array) -> None:
            sweep.extreme_into(be, s, windows, x[inputs], out, largest=largest)

        return filled(be, g, x, part)

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
        native = be.native_pool("kept", g, elements(g), x) if largest else None
        if native is not None or not be.in_place:
            return native
        if largest and be.native_pool("fits", g, 0, x):
            return extreme_places(be, g, x, largest=True)
        y, ahead = ahead_of_start(be, geometry, x)
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


def _parted(geometry: Windows | Mean) -> tuple[Windows, Mean | None]:
    """The windows, and what divides their sums if anything does."""
    return (geometry.windows, geometry) if isinstance(geometry, Mean) else (geometry, None)


@lru_cache(maxsize=256)
def _counts(span: Span, first: int, last: int) -> np.ndarray:
    """Taps of every window of an axis that lie in first … last−1; of length 1 where all agree."""
    start = span.stride * np.arange(span.out) - span.low
    begin = np.clip(-((start - first) // span.dilation), 0, span.size)
    end = np.clip(-((start - last) // span.dilation), 0, span.size)
    counts = np.maximum(end - begin, 1)
    return counts[:1] if np.all(counts == counts[:1]) else counts


@lru_cache(maxsize=1024)
def _shares(g: Mean) -> tuple[float, list[tuple[int, np.ndarray]]]:
    """A number that all sums are divided by, and the taps that count along axes where they vary."""
    if g.divisor is not None:
        return g.divisor, []
    alike, varying = 1, []
    for axis, span, bounds in zip(g.windows.axes, g.windows.spans, g.bounds, strict=True):
        counts = _counts(span, *bounds)
        if counts.size == 1:
            alike *= int(counts[0])
        else:
            varying.append((axis, counts))
    return float(alike), varying


def _divisors(be: Backend, g: Mean, like: Array, outputs: Index | None) -> list[Any]:
    """What the sums are divided by: numbers and arrays that broadcast, of the part `outputs`."""
    alike, varying = _shares(g)
    found: list[Any] = []
    for axis, counts in varying:
        shape = [1] * len(g.windows.shape)
        shape[axis] = -1
        kind = be.real_dtype(like.dtype)
        part = counts if outputs is None else counts[outputs[axis]]
        found.append(be.constant(part.reshape(shape), like, kind))
    return found if found and alike == 1 else [*found, alike]


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


class _Linear(_Reduction):
    """Sums or means over windows and their transposes."""

    linear = (0,)
    sibling: Core

    def __init__(self, name: str, *, spreads: bool) -> None:
        self.name = name
        self._spreads = spreads

    def divide(self, geometry: Any, shapes: Sequence[tuple[int, ...]]) -> Division:
        g, mean = _parted(geometry)

        def piece(cuts: Cuts) -> Piece:
            windows, reads = reaching(g, cuts) if self._spreads else inside(g, cuts)
            inputs = cuts if self._spreads else reads
            if mean is None:
                return Piece(windows, (reads,))
            starts = [inputs[axis].start for axis in g.axes]
            # Cut to where windows reach, so that pieces away from the ends are alike.
            bounds = [
                (max(a - s, -span.low), min(b - s, span.length + span.high))
                for s, span, (a, b) in zip(starts, windows.spans, mean.bounds, strict=True)
            ]
            return Piece(mean._replace(windows=windows, bounds=tuple(bounds)), (reads,))

        return _windowed(g, piece, spreads=self._spreads)

    def whole(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        (x,) = arrays
        kind = x.dtype
        if be.is_half(kind):
            # Half precision accumulates in float32 and rounds once.
            x = be.xp.astype(x, be.dtype("float32"))
        g, mean = _parted(geometry)
        divisors = [] if mean is None else _divisors(be, mean, x, None)
        with be.quiet():
            found = self._native(be, g, divisors, x)
            if found is None and end_to_end(g):
                found = self._end_to_end(be, g, divisors, x)
            elif found is None and be.in_place:
                found = self._sweep(be, g, mean, divisors, x)
            elif found is None:
                found = self._fold(be, g, divisors, x)
        return be.cast(found, kind)

    def _native(self, be: Backend, g: Windows, divisors: list[Any], x: Array) -> Array | None:
        divisor, *more = divisors or [1.0]
        if more or not isinstance(divisor, float) or divisor % 1:
            return None
        role = "spread" if self._spreads else "sum"
        return be.native_pool(role, g, elements(g), x, divisor=int(divisor))

    def _end_to_end(self, be: Backend, g: Windows, divisors: list[Any], x: Array) -> Array:
        if not self._spreads:
            return _divided(reduced(be, "sum", g, x), divisors)
        x = _divided(x, divisors)
        for axis, span in end_to_end(g):
            x = spread_axis(be, x, axis, span)
        return x

    def _fold(self, be: Backend, g: Windows, divisors: list[Any], x: Array) -> Array:
        if self._spreads:
            x = _divided(x, divisors)
            for axis, span, _ in reversed(list(chain.from_iterable(by_axis(g)))):
                x = spread_axis(be, x, axis, span)
            return x
        for axis, span, _ in chain.from_iterable(by_axis(g)):
            x = sum_axis(be, x, axis, span)
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
            return filled(be, g, x, spread, back=True)
        return filled(be, g, x, gather)

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
        g, mean = _parted(geometry)
        windows = g.shifted(1, (arrays[0].shape[0],))
        moved = windows if mean is None else mean._replace(windows=windows)
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
