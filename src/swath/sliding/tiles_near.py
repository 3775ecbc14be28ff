"""Block-Toeplitz products of small arrays: a few copies, a matrix and one batched product.

What `tiles_interleaved` does for arrays of any size, where the whole stays in the caches: sequences
of tiles along the first axis are laid end to end, and the J matrices of boxes, whose rows have a
common stride, are one array. Where these have few rows boxes are copied instead: the BLAS reads and
lays out the whole of M for each of J products, which takes longer than the copies. For small arrays
Python takes longer than the product, so everything that shapes decide (cuts, steps, segments) is
made once.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

from .._backends import Backend
from ..geometry import Sliding
from .tiles import ALONE, Tiles, Tiling, counts, steps_of

__all__ = ["Laid", "NearTiles", "alone", "laid"]

Array = Any

# Bytes of boxes and tiles at most: of larger arrays the copies count for more than the calls.
_NEAR = 2**21
# Rows of matrices of boxes at most for which these are copied, and bytes of the copies.
_ROWS, _COPIES = 128, 2**24
# Rows of so few that products of all J in one thread take longer than one of several threads.
_FEW = 12


class Laid(NamedTuple):
    """Tiles of a sequence, with those in vain; of each of the J matrices; points of all, a group.

    `unit` are the points from one box to the next; `copied` is whether boxes are.
    """

    row: int
    each: int
    unit: int
    points: int
    copied: bool


@lru_cache(maxsize=4096)
def laid(g: Sliding, made: Tiling, batch: int, depth: int, rows: int, width: int) -> Laid | None:
    """How boxes are laid end to end; None for arrays that are not small.

    `width` are the bytes of an element.
    """
    number = counts(g.spans, made.t)
    across = depth * prod(made.box[1:])
    row, unit = number[0] + made.frames - 1, g.spans[0].stride * made.t[0] * across
    each = -(-batch * prod(number[1:]) * row // made.frames)
    points = each * made.frames * unit + made.box[0] * across
    boxes = each * made.frames
    if width * g.groups * (points + boxes * rows * prod(made.t)) > _NEAR:
        return None
    few = made.frames > 1 and each <= _ROWS
    copied = few and width * g.groups * boxes * depth * prod(made.box) <= _COPIES
    return Laid(row, each, unit, points, copied)


def alone(g: Sliding, made: Tiling, way: Laid, depth: int, rows: int) -> Laid | None:
    """How one thread computes all, if it does: those of two libraries would wait for each other."""
    product = g.groups * way.each * depth * prod(made.box) * rows * prod(made.t)
    small = product * made.frames <= ALONE
    if product > ALONE or (way.copied and not small and way.each <= _FEW):
        return None
    return way._replace(copied=way.copied and small)


class NearTiles(Tiles):
    """Tiles of small arrays, for libraries with views that write in place, on a processor."""

    def __init__(
        self, be: Backend, g: Sliding, batch: int, depth: int, rows: int, made: Tiling, way: Laid
    ) -> None:
        super().__init__(be, g, batch, depth, rows, made)
        r, groups = g.rank, g.groups
        others = self.counts[1:]
        line, number = way.row * self.hops[0], way.each * self.J
        self.y_shape = g.y_shape(batch, groups * rows)
        # Points (G, B, *n, rows, D, *E) and zeros behind them, and the J matrices (each, inner),
        # or one that is copied.
        self.points = groups, way.points
        shape = (groups, batch, *others, line, depth, *self.box[1:])
        self.wide = prod(shape[1:])
        self.lines = shape, [way.points, *steps_of(shape)[1:]]
        self.copied, parts = way.copied, 1 if way.copied else self.J
        self.boxes = (
            (parts, groups, number // parts, self.inner),
            (way.unit, way.points, parts * way.unit, 1),
        )
        # Tiles, and their matrices (each, R·t).
        self.tiles = groups, number, self.columns
        self.found = (
            (parts, groups, number // parts, self.columns),
            (self.columns, number * self.columns, parts * self.columns, 1),
        )
        # x in zeros, (B, G·D, rows, …), and the windows of it that are the lines.
        cuts, widths = self.read([(0, n) for n in self.counts], self.J * self.hops[0])
        sizes = [c.stop - c.start for c in cuts[2:]]
        beside = list(zip(sizes, widths[2:], strict=True))
        self.inside = cuts
        self.place = (*cuts[:2], *(slice(low, low + n) for n, (low, _) in beside))
        self.padded = batch, groups * depth, *(low + n + high for n, (low, high) in beside)
        entry, channel, row, *rest = steps_of(self.padded)
        moved = [step * hop for step, hop in zip(rest, self.hops[1:], strict=True)]
        self.windows = shape, (depth * channel, entry, *moved, row, channel, *rest)
        # Where tiles (G, B, *n, row, R, *t) lie in y: pairs of views of the same shape.
        self.used = batch * prod(others) * way.row
        self.whole = (groups, batch, *others, way.row, rows, *self.t)
        pairs = [i for k in range(r) for i in ((1 + r, *range(2, 1 + r))[k], 3 + r + k)]
        self.order = (1, 0, 2 + r, *pairs)
        self.segments = list(self.cuts([(0, n) for n in self.counts], batch))
        # Tiles of single rows are the outputs as they lie.
        self.single = r == groups == rows == 1

    def product(self, x: Array, w: Array) -> Array:
        """The sliding product."""
        be = self.be
        tiles = be.empty_like(x, self.tiles)
        boxes = be.view(self._points(x), *self.boxes)
        if self.copied:
            boxes = be.packed(boxes)
        be.matmul_into(be.view(tiles, *self.found), boxes, self.matrix(w))
        tiles = be.reshape(tiles[:, : self.used, :], self.whole)
        if self.single:
            rows = be.reshape(tiles, (self.batch, 1, -1))
            return be.packed(rows[:, :, : self.g.out[0]])
        tiles = be.permute(tiles, self.order)
        y = be.empty_like(x, self.y_shape)
        for tile, place, shape in self.segments:
            be.reshape(y[place], shape)[...] = tiles[tile]
        return y

    def _points(self, x: Array) -> Array:
        """The points of all boxes, every point of the other axes as often as boxes have it."""
        be = self.be
        points = be.empty_like(x, self.points)
        points[:, self.wide :] = 0
        lines = be.view(points, *self.lines)
        if self.rank == 1:
            place = self.place[2]
            x = be.reshape(x[self.inside], (self.batch, self.g.groups, self.depth, -1))
            lines[:, :, : place.start, :] = 0
            lines[:, :, place, :] = be.permute(x, (1, 0, 3, 2))
            lines[:, :, place.stop :, :] = 0
        else:
            padded = be.new_like(x, self.padded)
            padded[self.place] = x[self.inside]
            lines[...] = be.view(padded, *self.windows)
        return points
