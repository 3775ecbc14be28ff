"""Block-Toeplitz products of short rows of one channel: a copy, a matrix and one batched product.

What `tiles_interleaved` does for arrays of any size, where the whole stays in the caches: rows are
laid end to end, and the J matrices of boxes, whose rows have a common stride, are one array.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from .._backends import Backend
from ..geometry import Sliding
from .tiles import Tiles, Tiling, counts

__all__ = ["RowTiles", "alone", "fits", "laid"]

Array = Any

# Bytes of rows that are copied at once; the points of longer ones are multiplied where they lie.
_SHORT = 2**21
# Multiply-adds of a product that OpenBLAS computes in the thread that asks.
_ALONE = 2**18


class _Laid(NamedTuple):
    """Tiles of one row, those in vain with them; tiles of each of the J matrices; all points."""

    row: int
    each: int
    points: int


@lru_cache(maxsize=4096)
def laid(g: Sliding, made: Tiling, batch: int) -> _Laid:
    """How rows are laid end to end."""
    hop = g.spans[0].stride * made.t[0]
    row = counts(g.spans, made.t)[0] + made.frames - 1
    each = -(-batch * row // made.frames)
    return _Laid(row, each, each * made.frames * hop + made.box[0])


def fits(g: Sliding, batch: int, depth: int, rows: int, width: int) -> bool:
    """Whether this is for a problem; `width` are the bytes of an element."""
    one = g.rank == g.groups == depth == rows == 1
    return one and width * batch * (g.lengths[0] + g.out[0]) <= _SHORT


def alone(g: Sliding, made: Tiling, batch: int) -> bool:
    """Whether one thread computes all: those of two libraries would wait for each other."""
    return laid(g, made, batch).each * made.box[0] * made.t[0] <= _ALONE


class RowTiles(Tiles):
    """Tiles of a few short rows."""

    def __init__(self, be: Backend, g: Sliding, batch: int, made: Tiling) -> None:
        super().__init__(be, g, batch, 1, 1, made)
        self.row, self.each, self.points = laid(g, made, batch)
        (hop,) = self.hops
        (*_, self.inside), (*_, (low, high)) = self.read([(0, self.counts[0])], self.J * hop)
        self.place = slice(low, self.row * hop - high)

    def product(self, x: Array, w: Array) -> Array:
        """The sliding product."""
        be, batch = self.be, self.batch
        number, wide = batch * self.row, self.row * self.hops[0]
        points = be.empty_like(x, (self.points,))
        points[batch * wide :] = 0
        lines = be.reshape(points[: batch * wide], (batch, wide))
        lines[:, : self.place.start] = 0
        lines[:, self.place] = x[:, 0, self.inside]
        lines[:, self.place.stop :] = 0
        boxes = be.windows(points, self.box, self.hops, (1,), (0,))[: self.each * self.J]
        tiles = be.empty_like(x, (self.each * self.J, self.columns))
        split = self.each, self.J, -1
        rows, out = (be.permute(be.reshape(a, split), (1, 0, 2)) for a in (boxes, tiles))
        be.matmul_into(out, rows, self._matrix(w)[None, ...])
        tiles = be.reshape(tiles[:number], (batch, 1, -1))
        return be.packed(tiles[:, :, : self.g.out[0]])

    def _matrix(self, w: Array) -> Array:
        """`matrix` of one kernel: rows of the box, laid end to end and cut at a hop more."""
        be, (span,), (box,) = self.be, self.g.spans, self.box
        turned = be.new_like(w, (self.columns, box + span.stride))
        turned[:, : span.extent : span.dilation] = w[0, 0, :]
        turned = be.reshape(be.reshape(turned, (-1,))[: self.columns * box], (self.columns, box))
        # BLASes are slow with small matrices that lie the other way round.
        return be.packed(be.permute(turned, (1, 0)))
