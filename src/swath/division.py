"""How the result of a core is made of pieces: frozen integers, no arrays.

A lazy, chunked library computes a core piece by piece: `Division.piece` says what one piece of the
result reads of every operand, and under which geometry it is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .geometry import Span, Windows

__all__ = [
    "Along",
    "Cuts",
    "Division",
    "Piece",
    "back",
    "follow",
    "inside",
    "part",
    "problems",
    "reaching",
    "replaced",
    "whole",
]

#: First and last point (exclusive) on every axis.
Cuts = tuple[slice, ...]


class Along(NamedTuple):
    """An axis that is cut where an operand is: at its bounds times `up` over `down`."""

    operand: int
    axis: int
    up: int = 1
    down: int = 1


class Piece(NamedTuple):
    """One call of a core.

    Attributes
    ----------
    geometry : object
        Of the call.
    reads : tuple of Cuts
        The part of every operand that it is given; where one is empty nothing is computed.
    keep, place : Cuts, optional
        The part of its result that counts, and where that lies in the piece, which is zero
        elsewhere. By default all of it.
    """

    geometry: Any
    reads: tuple[Cuts, ...]
    keep: Cuts | None = None
    place: Cuts | None = None


class Division(NamedTuple):
    """How a core's result is cut.

    Attributes
    ----------
    shape : tuple of int
        Of the result.
    along : tuple of Along or None
        For every axis, what its cuts follow; None: it is not cut.
    piece : callable
        From the cuts of one piece to the call that gives it.
    terms : tuple of int, optional
        The result is a sum of terms, each of its own shape: this shape is cut instead of it.
    like : int, default 0
        The operand whose dtype the result has.
    vacant : callable, optional
        From the adapter and the first operand to the value of pieces that read nothing; by default
        they are zero.
    """

    shape: tuple[int, ...]
    along: tuple[Along | None, ...]
    piece: Callable[[Cuts], Piece]
    terms: tuple[int, ...] | None = None
    like: int = 0
    vacant: Callable[[Any, Any], Any] | None = None


def part(span: Span, cut: slice) -> tuple[slice, Span]:
    """The input points that the outputs of a cut read, and their span."""
    return span.part(cut.start, cut.stop)


def back(span: Span, cut: slice) -> tuple[slice, Span]:
    """The outputs that reach the input points of a cut, and their span."""
    return span.source(cut.start, cut.stop)


def replaced(cuts: Cuts, places: Sequence[int], by: Sequence[slice]) -> Cuts:
    """The cuts, those of some axes replaced."""
    new = dict(zip(places, by, strict=True))
    return tuple(new.get(axis, cut) for axis, cut in enumerate(cuts))


def follow(g: Windows, *, spreads: bool = False) -> tuple[Along, ...]:
    """All axes are cut; those that slide follow the operand by their strides."""
    along = [Along(0, axis) for axis in range(len(g.shape))]
    for axis, span in zip(g.axes, g.spans, strict=True):
        along[axis] = Along(0, axis, *((span.stride, 1) if spreads else (1, span.stride)))
    return tuple(along)


def inside(g: Windows, cuts: Cuts) -> tuple[Windows, Cuts]:
    """The windows of some outputs, and the input that they read."""
    found = [part(span, cuts[axis]) for axis, span in zip(g.axes, g.spans, strict=True)]
    reads = replaced(cuts, g.axes, [at for at, _ in found])
    shape = tuple(c.stop - c.start for c in reads)
    return Windows(shape, g.axes, tuple(span for _, span in found)), reads


def reaching(g: Windows, cuts: Cuts) -> tuple[Windows, Cuts]:
    """Of a transpose: the windows that reach some input points, over those, and their outputs."""
    found = [back(span, cuts[axis]) for axis, span in zip(g.axes, g.spans, strict=True)]
    shape = tuple(c.stop - c.start for c in cuts)
    windows = Windows(shape, g.axes, tuple(span for _, span in found))
    return windows, replaced(cuts, g.axes, [at for at, _ in found])


def whole(shape: Sequence[int]) -> Cuts:
    """All of an array."""
    return tuple(slice(0, n) for n in shape)


def problems(
    geometry: Any, shapes: Sequence[tuple[int, ...]], lead: int, tail: Sequence[int]
) -> Division:
    """Problems that are solved whole: only the leading axes, a batch, are cut.

    `tail` is the rest of the result's shape; operands of fewer axes than the batch are of all
    problems.
    """

    def piece(cuts: Cuts) -> Piece:
        reads = (whole(s) if len(s) < lead else (*cuts[:lead], *whole(s[lead:])) for s in shapes)
        return Piece(geometry, tuple(reads))

    batch = tuple(Along(0, axis) for axis in range(lead))
    shape = (*shapes[0][:lead], *tail)
    return Division(shape, (*batch, *[None] * len(tail)), piece)
