"""A window reduction piece by piece, where programs are compiled.

A compiler holds whole arrays between the passes of a reduction. Of arrays too large for the
workspace, or on a processor for the memory that a process keeps, it gets pieces: those that differ
only in where they lie are one loop; the ends of an axis, with their padding, stand beside it. On a
GPU, which pieces do not fill, they are made only for a workspace that the user has set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

from .._backends import Backend
from .._backends.base import WORKSPACE
from ..division import Division, Piece, replaced, whole
from ..geometry import Windows
from ..settings import current_workspace

__all__ = ["in_pieces"]

Array = Any
# Bytes that a process on Linux keeps when they are given back: larger arrays are new pages at every
# call, which take longer than the passes. And of a piece on a processor.
_KEPT, _PIECE = 2**25, 2**21
# Arrays of the size of its largest that a reduction may hold: over few taps, over many, which are
# merged two by two, and where the places of extremes are followed, marked in every pass.
_COPIES, _MANY, _MARKED = 2, 3, 9
_TAPS = 8
# Points that a piece has for each of its windows' extent, if they fit the workspace.
_HALO = 4


def in_pieces(
    be: Backend,
    division: Division,
    run: Callable[..., Array],
    geometry: Any,
    arrays: Sequence[Array],
) -> Array:
    """run(geometry, *arrays), whose result is cut as `division` says."""
    found = _where(be, division, getattr(geometry, "windows", geometry), arrays)
    if found is None:
        return run(geometry, *arrays)
    like = arrays[division.like]
    fill = 0 if division.vacant is None else division.vacant(be, like)
    out = be.new_like(like, division.shape, fill=fill)
    # Loops last: what is written into the result of one would copy it.
    for part in sorted(_runs(division, *found), key=lambda run: run.pieces):
        out = part.put(be, run, arrays, out)
    return out


def _where(
    be: Backend, division: Division, g: Windows, arrays: Sequence[Array]
) -> tuple[int, int] | None:
    """The axis to cut and the points of its pieces; None: all in one go."""
    if len(arrays) == 1 and all(span.extent <= span.stride for span in g.spans):
        # Of windows that do not overlap a compiler makes one pass.
        return None
    like = arrays[division.like]
    given = max(be.itemsize(a.dtype) * prod(a.shape) for a in arrays)
    size = max(given, be.itemsize(like.dtype) * prod(division.shape))
    limit, kept = current_workspace(given), be.wide(like) == 1
    if not kept and WORKSPACE.get() is None:
        return None
    held = _MANY if max(g.sizes, default=1) > _TAPS else _COPIES
    held = held if len(arrays) == 1 else _MARKED
    if held * size <= (min(limit, _COPIES * _KEPT) if kept else limit):
        return None
    # What is read, and what is read next, comes on top.
    most = limit // (held + 2)
    return _cut(division, g, size, min(most, _PIECE) if kept else most, most)


def _cut(
    division: Division, g: Windows, size: int, piece: int, most: int
) -> tuple[int, int] | None:
    """The axis that is cut and the points of its pieces, of `piece` bytes, with halos up to `most`.

    Axes before it, that do not slide, are cut point by point. One sliding axis is cut only: more
    halos cost more than a larger piece. None: there is nothing to cut.
    """
    spans, found = dict(zip(g.axes, g.spans, strict=True)), None
    for axis, n in enumerate(division.shape):
        if size <= piece:
            break
        span, along = spans.get(axis), division.along[axis]
        if n == 1:
            continue
        if along is None:
            break
        step = max(1, n * piece // size)
        if span is None:
            # Equal parts, as far as it goes.
            even = next(d for d in range(step, 0, -1) if n % d == 0)
            found = axis, even if even > step // 2 else step
            if step > 1:
                break
            size //= n
            continue
        least = -(-span.extent // along.down)
        step = max(step, least, min(_HALO * least, n * most // size))
        # Equal parts, that begin at one phase of the stride.
        step = -(-n // -(-n // step))
        step = -(-step // along.up) * along.up
        return (axis, step) if step < n else found
    return found


class _Run(NamedTuple):
    """Pieces that differ in where they lie alone.

    Attributes
    ----------
    piece : Piece
        The first one.
    axis, start, hop, pieces : int
        The axis that they lie along, where the first begins there, from one to the next, how many.
    hops : tuple of int
        From one to the next in every operand.
    lead : tuple of int
        The axes before, where all points have such pieces.
    """

    piece: Piece
    axis: int
    start: int
    hop: int
    pieces: int
    hops: tuple[int, ...]
    lead: tuple[int, ...]

    def put(
        self, be: Backend, run: Callable[..., Array], arrays: Sequence[Array], out: Array
    ) -> Array:
        """`out` with the results of the pieces."""
        piece, axis = self.piece, self.axis
        if any(cut.stop == cut.start for cuts in piece.reads for cut in cuts):
            return out
        begins = [0] * out.ndim if piece.place is None else [cut.start for cut in piece.place]
        begins[axis] += self.start

        def moved(i: Any, starts: list[int], hop: int) -> list[Any]:
            number, lead, at = i % self.pieces, i // self.pieces, []
            for n in reversed(self.lead):
                at.append(lead % n)
                lead = lead // n
            ahead = [start + k for start, k in zip(starts, reversed(at), strict=False)]
            return [*ahead, starts[axis] + number * hop, *starts[axis + 1 :]]

        def fetched(i: Any) -> list[Array]:
            parts = []
            for a, cuts, hop in zip(arrays, piece.reads, self.hops, strict=True):
                starts = moved(i, [cut.start for cut in cuts], hop)
                parts.append(be.box(a, starts, [cut.stop - cut.start for cut in cuts]))
            return parts

        def put(i: Any, out: Array, parts: Sequence[Array]) -> Array:
            found = run(piece.geometry, *parts)
            found = found if piece.keep is None else found[piece.keep]
            return be.put_slab(out, found, moved(i, begins, self.hop))

        def step(i: Any, state: tuple[Array, ...]) -> tuple[Array, ...]:
            out, *parts = state
            return put(i, out, parts), *fetched(i + 1)

        total = prod(self.lead) * self.pieces
        if total == 1:
            return put(0, out, fetched(0))
        return be.fori_loop(0, total, step, (out, *fetched(0)))[0]


def _runs(division: Division, axis: int, step: int) -> Iterator[_Run]:
    """The pieces of so many points of an axis, like ones together; of one point on axes before."""
    lead, n, run = division.shape[:axis], division.shape[axis], None
    for start in range(0, n, step):
        cuts = (*whole([1] * axis), slice(start, min(start + step, n)))
        piece = division.piece((*cuts, *whole(division.shape[axis + 1 :])))
        if run is not None:
            longer = _joined(run, piece)
            if longer is not None:
                run = longer
                continue
            yield run
        run = _Run(piece, axis, start, step, 1, (0,) * len(piece.reads), lead)
    if run is not None:
        yield run


def _joined(run: _Run, piece: Piece) -> _Run | None:
    """The run with one more piece, if that is of its kind and lies where the next one would."""
    axis, count, reads = run.axis, run.pieces, run.piece.reads
    hops = tuple(
        (new[axis].start - old[axis].start) // count
        for old, new in zip(reads, piece.reads, strict=True)
    )
    moved = tuple(
        replaced(cuts, [axis], [slice(cuts[axis].start + by, cuts[axis].stop + by)])
        for cuts, by in zip(reads, (count * hop for hop in hops), strict=True)
    )
    if piece != run.piece._replace(reads=moved) or (count > 1 and hops != run.hops):
        return None
    return run._replace(pieces=count + 1, hops=hops)
