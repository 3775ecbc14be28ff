"""Padding that reads the array itself: reflect, symmetric, replicate, circular.

Two linear cores, each the other's transpose: `extend` copies points of the array into its padding,
`fold` adds the padding back to the points it was copied from. Zero padding never comes here: it is
part of the sliding geometry and costs no copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .._backends import Backend
from ..autodiff import Core, apply
from ..errors import ArgumentError

__all__ = ["MODES", "extend"]

Array = Any
MODES = ("reflect", "replicate", "circular", "symmetric")


class Run(NamedTuple):
    """Neighbouring padding points and the neighbouring points they are copied from.

    `at` is the first padding point (0 is the first point of the array), `width` their number;
    the sources are low … high, taken forwards (step 1), backwards (−1), or one repeated (0).
    """

    at: int
    width: int
    low: int
    high: int
    step: int


class Extension(NamedTuple):
    """Geometry of both cores: (low, high) points of padding on each of `axes`."""

    axes: tuple[int, ...]
    widths: tuple[tuple[int, int], ...]
    mode: str


def _source(p: int, n: int, mode: str) -> int:
    """The point of 0 … n−1 that padding point p is copied from."""
    if mode == "replicate":
        return min(max(p, 0), n - 1)
    if mode == "circular":
        return p % n
    if mode == "symmetric":
        q = p % (2 * n)
        return q if q < n else 2 * n - 1 - q
    period = max(1, 2 * (n - 1))
    q = p % period
    return q if q < n else period - q


def _runs(n: int, low: int, high: int, mode: str) -> list[Run]:
    runs: list[Run] = []
    for side in (range(-low, 0), range(n, n + high)):
        start = side.start
        while start < side.stop:
            first = _source(start, n, mode)
            stop, step = start + 1, 1
            if stop < side.stop and abs(_source(stop, n, mode) - first) <= 1:
                step = _source(stop, n, mode) - first
                while stop < side.stop and _source(stop, n, mode) == first + step * (stop - start):
                    stop += 1
            last = first + step * (stop - start - 1)
            runs.append(Run(start, stop - start, min(first, last), max(first, last), step))
            start = stop
    return runs


def _axis_cut(ndim: int, axis: int, start: int, stop: int) -> tuple[slice, ...]:
    cut = [slice(None)] * ndim
    cut[axis] = slice(start, stop)
    return tuple(cut)


class _Extend(Core):
    """x to x with its padding."""

    name = "extend"
    linear = (0,)

    def forward(self, be: Backend, geometry: Extension, *arrays: Array) -> Array:
        (x,) = arrays
        xp = be.xp
        if be.mutable:
            return self._into(be, geometry, x)
        for axis, (low, high) in zip(geometry.axes, geometry.widths, strict=True):
            n = x.shape[axis]
            pieces: dict[bool, list[Array]] = {True: [], False: []}
            for run in _runs(n, low, high, geometry.mode):
                piece = x[_axis_cut(x.ndim, axis, run.low, run.high + 1)]
                if run.step < 0:
                    piece = xp.flip(piece, axis=axis)
                elif run.step == 0:
                    shape = (*x.shape[:axis], run.width, *x.shape[axis + 1 :])
                    piece = xp.broadcast_to(piece, shape)
                pieces[run.at < 0].append(piece)
            x = xp.concat([*pieces[True], x, *pieces[False]], axis=axis)
        return x

    def _into(self, be: Backend, g: Extension, x: Array) -> Array:
        # One new array, filled axis by axis: corners are copies of copies.
        shape, body = list(x.shape), [slice(None)] * x.ndim
        for axis, (low, high) in zip(g.axes, g.widths, strict=True):
            shape[axis] += low + high
            body[axis] = slice(low, low + x.shape[axis])
        out = be.new_like(x, tuple(shape))
        out[tuple(body)] = x
        for axis, (low, high) in zip(g.axes, g.widths, strict=True):
            for run in _runs(x.shape[axis], low, high, g.mode):
                body[axis] = slice(low + run.low, low + run.high + 1)
                piece = out[tuple(body)]
                body[axis] = slice(low + run.at, low + run.at + run.width)
                out[tuple(body)] = be.xp.flip(piece, axis=axis) if run.step < 0 else piece
            body[axis] = slice(None)
        return out

    def pull(
        self,
        be: Backend,
        geometry: Extension,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        return (apply(_FOLD, geometry, cotangent),)

    def batch(
        self, be: Backend, geometry: Extension, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        return _shifted(geometry), arrays, lambda out: out


class _Fold(Core):
    """The transpose of `_Extend`: padding added to where it came from, then cut off."""

    name = "fold"
    linear = (0,)

    def forward(self, be: Backend, geometry: Extension, *arrays: Array) -> Array:
        (y,) = arrays
        xp = be.xp
        if be.mutable:
            # A copy of our own to write into.
            own = be.new_like(y, tuple(y.shape))
            own[...] = y
            y = own
        pairs = list(zip(geometry.axes, geometry.widths, strict=True))
        for axis, (low, high) in reversed(pairs):
            n = y.shape[axis] - low - high
            body = y[_axis_cut(y.ndim, axis, low, low + n)]
            for run in _runs(n, low, high, geometry.mode):
                piece = y[_axis_cut(y.ndim, axis, low + run.at, low + run.at + run.width)]
                if run.step < 0:
                    piece = xp.flip(piece, axis=axis)
                elif run.step == 0:
                    piece = xp.sum(piece, axis=axis, keepdims=True, dtype=piece.dtype)
                if be.mutable:
                    body[_axis_cut(y.ndim, axis, run.low, run.high + 1)] += piece
                else:
                    widths = [(0, 0)] * y.ndim
                    widths[axis] = (run.low, n - 1 - run.high)
                    body = body + be.pad(piece, widths)
            y = body
        return y

    def pull(
        self,
        be: Backend,
        geometry: Extension,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        return (apply(_EXTEND, geometry, cotangent),)

    def batch(
        self, be: Backend, geometry: Extension, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        return _shifted(geometry), arrays, lambda out: out


def _shifted(g: Extension) -> Extension:
    return g._replace(axes=tuple(a + 1 for a in g.axes))


_EXTEND, _FOLD = _Extend(), _Fold()


def extend(
    x: Any, axes: Sequence[int], widths: Sequence[tuple[int, int]], mode: str
) -> tuple[Any, bool]:
    """x with `widths` points of padding on `axes`, and whether there was any to add."""
    wide = [(a, (lo, hi)) for a, (lo, hi) in zip(axes, widths, strict=True) if lo or hi]
    for axis, _ in wide:
        if x.shape[axis] == 0:
            raise ArgumentError(
                f"padding_mode {mode!r} copies points of x, but axis {axis} of x has none "
                f'(shape {tuple(x.shape)}); use padding_mode "zeros"'
            )
    if not wide:
        return x, False
    geometry = Extension(tuple(a for a, _ in wide), tuple(w for _, w in wide), mode)
    return apply(_EXTEND, geometry, x), True
