"""Block-Toeplitz products in place: overlapping boxes as rows of interleaved matrices.

Box number b begins b·unit points into a buffer and has `inner` points, J·unit of them or fewer, so
boxes b, b + J, b + 2J … do not overlap: they are a matrix whose rows lie J·unit points apart, as a
BLAS takes it, and their products the rows b, b + J … of the result. Signals of one channel are such
a buffer as they lie; else the points of the other axes' boxes are brought beside each other, for as
many tiles as fit the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

from .tiles import Tiles

__all__ = ["BUFFER", "InterleavedTiles", "steps"]

Array = Any
Ends = tuple[tuple[int, int], ...]

# Bytes of a buffer: it stays in the second-level caches until the product, which reads M once for
# all of it.
BUFFER = 2**22
# Frames that a piece has along the first axis at least.
_TALL = 32
# Points of a signal for every product from which on it is not copied.
_LONG = 2**13


class _Piece(NamedTuple):
    """Batch entries and tiles of every axis that are computed at a time; whether x lies so."""

    entries: slice
    ends: Ends
    lies: bool = False


def steps(counts: Sequence[int], batch: int, frames: int, most: int) -> tuple[int, int, int]:
    """Batch entries, and tiles of the first two axes, of one piece.

    A piece is `most` tiles of them, with all of the other axes.
    """
    first, second = counts[0], counts[1] if len(counts) > 1 else 1
    # Pieces along the first axis share J − 1 tiles' points; those narrow along the second one take
    # little of many pages.
    cut = min(first, max(_TALL * frames, most // second))
    cut = -(-first // -(-first // cut))
    if cut < first:
        return 1, cut, max(1, min(second, most // (cut + frames - 1)))
    across = max(1, min(second, most // (first + frames - 1)))
    chunk = most // ((first + frames - 1) * second)
    return max(1, min(batch, chunk)), first, across


class InterleavedTiles(Tiles):
    """Tiles of libraries with views that write in place, on a processor."""

    def product(self, x: Array, w: Array) -> Array:
        """The sliding product."""
        be, g = self.be, self.g
        matrix = self.matrix(w)
        out = be.empty_like(x, g.y_shape(x.shape[0], g.groups * self.rows))
        for piece in self._pieces(x):
            boxes, count = self._boxes(x, piece)
            target = self._lying(out, piece)
            found = target
            if found is None:
                found = be.empty_like(x, self._shape(piece))
            for p, rows in enumerate(boxes):
                be.matmul_into(found[:, p : count : self.J, :], rows, matrix)
            if target is None:
                for tile, place in self._segments(out, found, piece):
                    place[...] = tile
        return out

    def kernel(self, x: Array, y: Array) -> Array:
        """Its kernel's gradient."""
        be, total = self.be, None
        for piece in self._pieces(x):
            boxes, count = self._boxes(x, piece)
            tiles = self._lying(y, piece)
            if tiles is None:
                tiles = be.new_like(y, self._shape(piece))
                for tile, place in self._segments(y, tiles, piece):
                    tile[...] = place
            for p, rows in enumerate(boxes):
                turned = self.xp.matrix_transpose(rows)
                term = be.matmul(turned, tiles[:, p : count : self.J, :])
                total = term if total is None else be.add_into(total, term)
        return self.matrix_back(total)

    @property
    def _unit(self) -> int:
        """Points of the buffer from one box to the next."""
        return self.hops[0] * self.inner // self.box[0]

    def _shape(self, piece: _Piece) -> tuple[int, int, int]:
        """Shape of the tiles of a piece, J − 1 in vain after every sequence of them."""
        (first, last), *others = piece.ends
        count = (piece.entries.stop - piece.entries.start) * prod(b - a for a, b in others)
        return self.g.groups, count * (last - first + self.J - 1), self.columns

    def _pieces(self, x: Array) -> Iterator[_Piece]:
        batch, width = x.shape[0], self.be.itemsize(x.dtype)
        first, rest = self.counts[0], self.counts[2:]
        edges = [(0, first)]
        if self.rank == self.depth == 1:
            (s,), hop = self.g.spans, self.hops[0]
            # Tiles whose boxes lie in x, and whose outputs are all wanted.
            begin = max(0, -(-s.low // hop))
            end = min((s.length + s.low - self.box[0]) // hop + 1, s.out // self.t[0])
            if (end - begin) * hop > _LONG * self.J:
                # Each of the J products reads what the one before did.
                long = max(1, BUFFER // (width * hop)) if self.J > 1 else end - begin
                for entry in range(batch):
                    for a in range(begin, end, long):
                        ends = ((a, min(a + long, end)),)
                        yield _Piece(slice(entry, entry + 1), ends, True)
                edges = [e for e in ((0, begin), (end, first)) if e[0] < e[1]]
        each = width * self.g.groups * max(self._unit, self.columns) * prod(rest)
        most = BUFFER // each
        for low, high in edges:
            sizes = (high - low, *self.counts[1:])
            chunk, cut, across = steps(sizes, batch, self.J, most)
            others = self.counts[1] if self.rank > 1 else 1
            for entry in range(0, batch, chunk):
                entries = slice(entry, min(entry + chunk, batch))
                for a in range(low, high, cut):
                    for b in range(0, others, across):
                        ends = (
                            (a, min(a + cut, high)),
                            (b, min(b + across, others)),
                            *((0, n) for n in rest),
                        )
                        yield _Piece(entries, ends[: self.rank])

    def _boxes(self, x: Array, piece: _Piece) -> tuple[list[Array], int]:
        """The J matrices (G, every J-th box, inner) of a piece, and how many boxes there are."""
        be, g, r = self.be, self.g, self.rank
        (first, last), hop = piece.ends[0], self.hops[0]
        x = x[piece.entries, ...]
        if piece.lies:
            start = first * hop - g.spans[0].low
            x = x[0, :, start : start + (last - first - 1) * hop + self.box[0]]
        else:
            # Of several sequences of boxes each is as long as J frames after its last begin.
            alone = x.shape[0] == 1 and all(b - a == 1 for a, b in piece.ends[1:])
            cuts, widths = self.read(piece.ends, self.box[0] if alone else self.J * hop)
            x, (low, high) = x[cuts], widths[2]
            if r == 1 or any(map(any, widths[3:])):
                x, low, high = be.pad(x, widths), 0, 0
            if r > 1:
                x = be.windows(x, self.box[1:], self.hops[1:], (1,) * (r - 1), range(3, 2 + r))
            x = be.reshape(x, (x.shape[0], g.groups, self.depth, *x.shape[2:]))
            # (B, G, D, rows, *n, *E) -> (G, B, *n, rows, D, *E)
            x = be.permute(x, (1, 0, *range(4, 3 + r), 3, 2, *range(3 + r, 2 + 2 * r)))
            if low or high:
                # Zeros of the first axis alone are written where the copy goes.
                lead, rows = (slice(None),) * (r + 1), x.shape[r + 1]
                whole = list(x.shape)
                whole[r + 1] = low + rows + high
                buffer = be.empty_like(x, tuple(whole))
                buffer[(*lead, slice(0, low))] = 0
                buffer[(*lead, slice(low, low + rows))] = x
                buffer[(*lead, slice(low + rows, None))] = 0
                x = buffer
            x = be.reshape(be.packed(x), (g.groups, -1))
        unit = self._unit
        count = (x.shape[1] - self.inner) // unit + 1
        step = (self.J * unit,)
        boxes = [
            be.windows(x[:, p * unit :], (self.inner,), step, (1,), (1,))
            for p in range(min(self.J, count))
        ]
        return boxes, count

    def _lying(self, y: Array, piece: _Piece) -> Array | None:
        """Tiles of y as they lie, (G, n₁, t), where their outputs are beside each other."""
        (first, last), t = piece.ends[0], self.t[0]
        entries = piece.entries
        if self.rank * self.rows > 1 or entries.stop - entries.start > 1:
            return None
        if last * t > self.g.out[0]:
            return None
        y = y[entries.start, :, first * t : last * t]
        return self.be.reshape(y, (self.g.groups, last - first, t))

    def _segments(self, y: Array, tiles: Array, piece: _Piece) -> Iterator[tuple[Array, Array]]:
        """Tiles (G, boxes, R·t) and their places in y, in one order of axes.

        Tiles that reach beyond y along an axis come by themselves.
        """
        be, g, r = self.be, self.g, self.rank
        y = y[piece.entries, ...]
        sizes = [b - a for a, b in piece.ends]
        number = sizes[0] + self.J - 1
        tiles = be.reshape(tiles, (g.groups, y.shape[0], *sizes[1:], number, self.rows, *self.t))
        # -> (B, G, R, n₁, t₁, n₂, t₂ …)
        places = [1 + r, *range(2, 1 + r)]
        pairs = [i for k in range(r) for i in (places[k], 3 + r + k)]
        tiles = be.permute(tiles, (1, 0, 2 + r, *pairs))
        for cut, here, shape in self.cuts(piece.ends, y.shape[0]):
            yield tiles[cut], be.reshape(y[here], shape)
