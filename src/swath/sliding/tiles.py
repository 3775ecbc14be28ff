"""Tiles of a block-Toeplitz product: how many outputs each has, and the matrix that all share.

A tile of t₁ × … × t_r outputs reads a box of s·(t_i − 1) + extent points along each axis, of every
channel, and is the product of the box with one matrix: M[p, i] = w[j] where p = s·i + d·j on every
axis, else 0. Boxes of neighbouring tiles overlap. Along the first axis they are had in one of three
ways:

- interleaved: with the first axis outermost in memory a box is one run of points, and so is the
  next, s·t₁ rows further on. Every J-th box overlaps no other, so the boxes are the rows of J
  matrices with a common stride, and no point is copied twice;
- summed: x is cut into frames of s·t₁ rows, and the product is the sum of J products of frames with
  the blocks of M;
- gathered: every box is copied.

The first needs strided views and results written in place, and many products.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, product
from math import prod
from operator import mul
from typing import Any, NamedTuple

from .._backends import Backend, Narrow
from ..geometry import Sliding, Span

__all__ = [
    "ALONE",
    "BAND",
    "COPY",
    "MAKE",
    "RUN",
    "Tiles",
    "Tiling",
    "counts",
    "extra",
    "runs",
    "steps_of",
    "tiling",
]

Array = Any

# Elements of M at most: its making, and its place in the cache, cost too.
BAND = 2**20
# Multiply-adds in the time of copying a point, of adding one to a sum, of beginning a run of
# points, of making one element of M, and of starting a product.
COPY, _ADD, RUN, MAKE, _CALL = 24, 60, 800, 60, 2e5
# Multiply-adds of a product that OpenBLAS computes in the thread that asks.
ALONE = 2**18
# Outputs of a tile beyond which wider products are no faster.
_WIDE = 512


class Tiling(NamedTuple):
    """Outputs per tile; points that one product reads along every axis; how many products.

    `way` is "interleaved", "summed" or "gathered", as above.
    """

    t: tuple[int, ...]
    box: tuple[int, ...]
    frames: int
    way: str


def counts(spans: Sequence[Span], t: Sequence[int]) -> list[int]:
    """How many tiles cover the outputs of every axis."""
    return [-(-s.out // n) for s, n in zip(spans, t, strict=True)]


@lru_cache(maxsize=4096)
def tiling(
    spans: tuple[Span, ...],
    batch: int,
    depth: int,
    rows: int,
    narrow: Narrow,
    interleaves: bool,
) -> Tiling:
    """The tiles of least work, counted in multiply-adds.

    Long tiles multiply more zeros beside the kernel; short ones copy each point more often and
    leave matrix products too narrow to be fast.
    """
    best, found = float("inf"), None
    ways = ("interleaved",) if interleaves else ("gathered", "summed")[: len(spans)]
    for t in product(*(_lengths(s.out) for s in spans)):
        if prod(t) > _WIDE:
            continue
        whole = [s.stride * (n - 1) + s.extent for s, n in zip(spans, t, strict=True)]
        hop, number = spans[0].stride * t[0], counts(spans, t)
        frames = -(-whole[0] // hop)
        for way in ways:
            box = (hop if way == "summed" else whole[0], *whole[1:])
            made = Tiling(t, box, 1 if way == "gathered" else frames, way)
            inner, columns = depth * prod(box), rows * prod(t)
            terms = made.frames if way == "summed" else 1
            if terms * inner * columns > BAND and columns > rows:
                continue
            work = terms * columns * inner * narrow.loss(inner, columns)
            work *= 1 + extra(made, number[0])
            if not (way == "interleaved" and len(t) == depth == rows == 1):
                points = inner // box[0] * (whole[0] if way == "gathered" else hop)
                work += COPY * (points + columns) + _ADD * (terms - 1) * columns
                work += RUN * runs(made, hop, depth, columns)
            work *= batch * prod(number)
            work += MAKE * terms * inner * columns + _CALL * min(made.frames, number[0])
            if batch * prod(number) * inner * columns > ALONE * made.frames:
                work += narrow.start
            if work < best:
                best, found = work, made
    assert found is not None  # tiles of one output are always tried
    return found


def extra(made: Tiling, number: int) -> float:
    """Products in vain beside those wanted: boxes that begin in one run of tiles only."""
    several = len(made.t) > 1 and made.way != "gathered"
    return (made.frames - 1) / number if several else 0.0


def steps_of(shape: Sequence[int]) -> list[int]:
    """Elements from one entry to the next of every axis of an array without gaps."""
    return list(accumulate(reversed(shape[1:]), mul, initial=1))[::-1]


@lru_cache(maxsize=1024)
def _lengths(out: int) -> tuple[int, ...]:
    """Lengths to try: even divisions of few outputs, powers of two of many."""
    some = [1, *(m * 2**i for i in range(8) for m in (2, 3))]
    return tuple(sorted({-(-out // -(-out // n)) if out < 8 * n else n for n in some}))


def runs(made: Tiling, hop: int, depth: int, columns: int) -> float:
    """Contiguous runs that are copied for one tile: of its points, and of its outputs."""
    if len(made.t) == 1:
        return depth
    first = made.box[0] if made.way == "gathered" else hop
    return depth * first * prod(made.box[1:-1]) + columns / made.t[-1]


class Tiles:
    """Sizes of a tiled problem, and its matrix."""

    def __init__(
        self, be: Backend, g: Sliding, batch: int, depth: int, rows: int, made: Tiling
    ) -> None:
        self.be, self.xp, self.g = be, be.xp, g
        self.batch, self.depth, self.rows, self.rank = batch, depth, rows, g.rank
        self.t, self.box, self.J, self.way = made
        self.hops = [s.stride * n for s, n in zip(g.spans, self.t, strict=True)]
        self.counts = counts(g.spans, self.t)
        self.inner, self.columns = depth * prod(self.box), rows * prod(self.t)

        if self.way == "interleaved":
            self._diagonals()

    def _diagonals(self) -> None:
        """Where a kernel lies in M, (G, box₁, D, box₂ …, R, t): a view (G, R, D, *K, *t) of it."""
        g, r = self.g, self.rank
        self.band = (g.groups, self.box[0], self.depth, *self.box[1:], self.rows, *self.t)
        steps = steps_of(self.band)
        box, tile = (steps[1], *steps[3 : 2 + r]), steps[3 + r :]
        taps = [s.dilation * p for s, p in zip(g.spans, box, strict=True)]
        along = [s.stride * p + i for s, p, i in zip(g.spans, box, tile, strict=True)]
        self.diagonals = (
            (g.groups, self.rows, self.depth, *g.sizes, *self.t),
            (steps[0], steps[2 + r], steps[2], *taps, *along),
        )
        self.taps = (g.groups, self.rows, self.depth, *g.sizes, *(1,) * r)

    def matrix(self, w: Array) -> Array:
        """w (O, D, *K) to M, (G, box₁·D·box₂ …, R·t); else in blocks, (J, G, D·box, R·t)."""
        if self.way == "interleaved":
            m = self.be.new_like(w, self.band)
            self.be.view(m, *self.diagonals)[...] = self.be.reshape(w, self.taps)
            return self.be.reshape(m, (self.g.groups, self.inner, self.columns))
        g, r = self.g, self.rank
        dilations = [s.dilation for s in g.spans]
        if any(d > 1 for d in dilations):
            w = self.be.pad(w, [(0, 0)] * w.ndim, 0, [0, 0, *(d - 1 for d in dilations)])
        # M[p, i] = w[p − s·i]: windows over the padded kernel, backwards in i.
        reach = [(s.stride * (n - 1),) * 2 for s, n in zip(g.spans, self.t, strict=True)]
        blocks = self.J if self.way == "summed" else 1
        low, high = reach[0]
        reach[0] = (low, high + blocks * self.box[0] - low - g.spans[0].extent)
        w = self.be.pad(w, [(0, 0), (0, 0), *((a, b) for a, b in reach)])
        strides = [s.stride for s in g.spans]
        w = self.be.windows(w, self.t, (1,) * r, strides, range(2, 2 + r))
        w = self.be.flip(w, tuple(range(2 + r, 2 + 2 * r)))  # (G·R, D, J·box₁, *E, *t)
        lead = g.groups, self.rows, self.depth
        behind = 1, *range(4 + r, 4 + 2 * r)
        w = self.be.reshape(w, (*lead, blocks, self.box[0], *w.shape[3:]))
        # (G, R, D, J, box₁, *E, *t) -> (J, G, D, box₁, *E, R, *t)
        w = self.be.packed(self.be.permute(w, (3, 0, 2, *range(4, 4 + r), *behind)))
        return self.be.reshape(w, (blocks, g.groups, self.inner, self.columns))

    def matrix_back(self, m: Array) -> Array:
        """The transpose of `matrix`: sums along the diagonals."""
        g, xp, r = self.g, self.xp, self.rank
        if self.way == "interleaved":
            m = xp.reshape(m, self.band)
            # (G, box₁, D, *E, R, *t) -> (G, R, D, t, box₁, t, E …)
            pairs = [3 + r, 1, *(i for k in range(1, r) for i in (3 + r + k, 2 + k))]
            m, first = xp.permute_dims(m, (0, 2 + r, 2, *pairs)), self.box[0]
        else:
            blocks = m.shape[0]
            m = xp.reshape(m, (blocks, g.groups, self.depth, *self.box, self.rows, *self.t))
            # (J, G, D, box₁, *E, R, *t) -> (G, R, D, t, J, box₁, t, E …)
            pairs = [4 + r, 0, 3, *(i for k in range(1, r) for i in (4 + r + k, 3 + k))]
            m, first = xp.permute_dims(m, (1, 3 + r, 2, *pairs)), blocks * self.box[0]
        box = [first, *self.box[1:]]
        behind = prod(self.t) * prod(box)
        for s, n, e in zip(g.spans, self.t, box, strict=True):
            behind //= n * e
            # Rows of E points, laid end to end and cut at E + s, shift back by s a row.
            m = xp.reshape(m, (-1, n * e * behind))
            m = self.be.pad(m, [(0, 0), (0, n * s.stride * behind)])
            m = xp.reshape(m, (-1, n, e + s.stride, behind))
            m = xp.sum(m, axis=1, dtype=m.dtype)[:, : s.extent : s.dilation, :]
        return xp.reshape(m, g.w_shape(g.groups * self.rows, self.depth))

    def read(
        self, ends: Sequence[tuple[int, int]], rows: int
    ) -> tuple[tuple[slice, ...], list[tuple[int, int]]]:
        """What tiles first … last−1 of every axis read of x: cuts, and zeros beside.

        `rows` are the points of the first axis beyond the beginning of the last tile.
        """
        cuts, widths = [slice(None)] * 2, [(0, 0)] * 2
        for i, (s, hop, box) in enumerate(zip(self.g.spans, self.hops, self.box, strict=True)):
            begin, end = ends[i]
            start = begin * hop - s.low
            stop = start + (end - begin - 1) * hop + (box if i else rows)
            inside = slice(min(max(start, 0), s.length), max(0, min(stop, s.length)))
            low = min(max(0, -start), stop - start)
            cuts.append(inside)
            widths.append((low, stop - start - low - (inside.stop - inside.start)))
        return tuple(cuts), widths

    def cuts(
        self, ends: Sequence[tuple[int, int]], batch: int
    ) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...], tuple[int, ...]]]:
        """Segments of the tiles first … last−1 of every axis: cuts of them and of y, their shape.

        Of tiles (B, G, R, n₁, t₁, n₂, t₂ …) and of y; those that reach beyond y along an axis come
        by themselves.
        """
        parts = []
        for (a, b), t, out in zip(ends, self.t, self.g.out, strict=True):
            full = min(b, out // t)
            along = [(a, full, t)] if full > a else []
            parts.append(along if full == b else [*along, (full, b, out - full * t)])
        lead = (slice(None),) * 3
        for segment in product(*parts):
            cut, here, shape = [], [], [batch, self.g.groups, self.rows]
            for (a, b, have), (begin, _), t in zip(segment, ends, self.t, strict=True):
                cut += [slice(a - begin, b - begin), slice(0, have)]
                here.append(slice(a * t, a * t + (b - a - 1) * t + have))
                shape += [b - a, have]
            yield (*lead, *cut), (*lead[:2], *here), tuple(shape)
