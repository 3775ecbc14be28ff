"""The sliding product as a product with the blocks of its Toeplitz matrix.

Outputs are cut into tiles of t₁ × … × t_r. A tile reads a box of s·(t_i − 1) + extent points along
each sliding axis (s the stride), and is the product of that box with a banded matrix that all tiles
share::

    y[tile] = x[box] M,     M[p, i] = w[j] where p = s·i + d·j on every axis, else 0

so a filter runs at the speed of matrix multiplication, with a long inner length. Boxes overlap and
are gathered, as long contiguous runs. Along the first of several axes they need not be: with x cut
into frames of s·t₁ points a box is J neighbouring frames, and the product a sum of J products with
the blocks of M, which long kernels prefer. Channels ride along in the rows and columns of M. Where
arrays may be written in place all this is done for as many tiles as fit the cache.

The band holds zeros beside the kernel: a non-finite sample can reach the other outputs of its
tiles (0·∞), at most 2·s·t + extent points away along each axis, and no further.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, NamedTuple

from .._backends import Backend
from ..geometry import Sliding, Span
from .costs import Costs
from .problem import Estimate, Problem, as_is

__all__ = ["estimate", "frame_length", "last", "roles", "run", "scratch", "tile", "tiling"]

Array = Any
pack = unpack = as_is

# Bytes of boxes gathered at a time: they stay in the second-level cache until the product.
_BOXES = 2**20
# Elements of M at most: its making, and its place in the cache, cost too.
_BAND = 2**20
# Multiply-adds in the time of copying a point, of adding one to a sum, of beginning a run of
# points, and of making one element of M.
_COPY, _ADD, _RUN, _MAKE = 12, 60, 600, 60
# The same beginning as a part of starting one array operation.
_RUN_CALLS = 0.005
# Inner lengths and columns of a product at which it runs at half its speed.
_SHORT, _NARROW = 8, 12


def last(p: Problem) -> bool:
    """Whether it takes channels last."""
    return False


def roles(p: Problem) -> tuple[str, ...]:
    """Those of the forward product and of its kernel."""
    return ("y", "w")


def estimate(p: Problem, cost: Costs) -> Estimate:
    """The products of all boxes with the blocks of one matrix."""
    t, box, frames, _ = tiling(p.g.spans, p.batch * p.g.groups, p.depth, p.rows)
    tiles = _count(p.g.spans, t) * p.batch * p.g.groups
    inner, columns = p.depth * frames * prod(box), p.rows * prod(t)
    flops = float(tiles * inner * columns)
    seconds = p.heavy * flops * (1 + _SHORT * frames / inner + _NARROW / columns) / cost.gemm
    gathered, band = p.width * tiles * inner // frames, p.width * p.g.groups * inner * columns
    moved = p.x_bytes + 2 * gathered + (2 + frames) * p.y_bytes + 4 * band
    # Boxes and outputs are copied run by run.
    runs = _runs(t, box, p.depth, columns) * tiles
    pieces = 1 if p.traces else max(1, gathered // (_BOXES * p.wide))
    calls = 12 + 4 * p.g.rank + (8 + 2 * frames) * pieces
    if p.traces:
        # Without strided views boxes and the matrix are gathered by index.
        moved += 5 * gathered
        seconds += 50 * band / cost.stream
    seconds += moved / cost.gather + (_RUN_CALLS * runs + calls) * cost.call
    return Estimate(seconds, flops, moved)


def scratch(p: Problem) -> int:
    """Frames and their products, and the matrix in two orders."""
    spans = p.g.spans
    t, box, frames, joined = tiling(spans, p.batch * p.g.groups, p.depth, p.rows)
    tiles = _count(spans, t) * p.batch * p.g.groups
    inner, columns = p.depth * frames * prod(box), p.rows * prod(t)
    band = 3 * p.width * p.g.groups * inner * columns
    if p.traces or not p.mutable:
        # A compiler may keep the padded input, the frames, all products and both orders of a sum.
        terms = frames if p.traces else 2
        return p.x_bytes + 2 * p.width * tiles * (inner // frames + (1 + terms) * columns) + band
    # A piece is at least one tile along the axis that is cut, and whole along the others.
    least = tiles // p.batch // -(-spans[joined].out // t[joined])
    each = p.width * max(inner // frames, columns)
    piece = min(tiles, max(least, _BOXES * p.wide // each) + frames)
    return 2 * p.width * piece * (inner // frames + 2 * columns) + band


def tile(p: Problem) -> tuple[int, int]:
    """Whatever the workspace allows: pieces that fit the cache are made by `run`."""
    return 0, 0


def frame_length(span: Span, depth: int = 1, rows: int = 1) -> int:
    """Outputs per tile of a single sliding axis."""
    return tiling((span,), 1, depth, rows).t[0]


class Tiling(NamedTuple):
    """Outputs per tile; points that one product reads, and how many are summed; whether by frames.

    Along the first axis the points of a product are a frame's, or a whole box's where boxes are
    gathered along it too.
    """

    t: tuple[int, ...]
    box: tuple[int, ...]
    frames: int
    joined: bool


@lru_cache(maxsize=4096)
def tiling(spans: tuple[Span, ...], batch: int, depth: int, rows: int) -> Tiling:
    """The tiles of least work, counted in multiply-adds.

    Long tiles multiply more zeros beside the kernel, short ones gather each point more often and
    leave matrix products too narrow to be fast.
    """
    best, found = float("inf"), None
    for t in product(*(_lengths(s.out) for s in spans)):
        boxes = [s.stride * (n - 1) + s.extent for s, n in zip(spans, t, strict=True)]
        hop, columns = spans[0].stride * t[0], rows * prod(t)
        tiles = batch * _count(spans, t)
        for joined in (False, True)[: len(t)]:
            first, frames = (hop, -(-boxes[0] // hop)) if joined else (boxes[0], 1)
            box = (first, *boxes[1:])
            each = depth * prod(box)
            if frames * each * columns > _BAND and columns > rows:
                continue
            work = frames * columns * (each + _SHORT + _NARROW * each / columns)
            work += _COPY * (each + columns) + _ADD * (frames - 1) * columns
            work += _RUN * _runs(t, box, depth, columns)
            work = tiles * work + _MAKE * frames * each * columns
            if work < best:
                best, found = work, Tiling(t, box, frames, joined)
    assert found is not None  # tiles of one output are always tried
    return found


@lru_cache(maxsize=1024)
def _lengths(out: int) -> tuple[int, ...]:
    """Lengths to try: even divisions of few outputs, powers of two of many."""
    powers = [2**i for i in range(9)]
    return tuple(sorted({-(-out // -(-out // n)) if out < 8 * n else n for n in powers}))


def _runs(t: Sequence[int], box: Sequence[int], depth: int, columns: int) -> float:
    """Contiguous runs that are copied for one tile: of its boxes, and of its outputs."""
    if len(t) == 1:
        return depth
    return depth * prod(box[:-1]) + columns / t[-1]


def _count(spans: Sequence[Span], t: Sequence[int]) -> int:
    """How many tiles cover the outputs."""
    return prod(-(-s.out // n) for s, n in zip(spans, t, strict=True))


class _Tiles:
    """Sizes of the tiled problem, and the rearrangements between arrays and tiles."""

    def __init__(self, be: Backend, g: Sliding, batch: int, depth: int, rows: int) -> None:
        self.be, self.xp, self.g = be, be.xp, g
        self.depth, self.rows, self.rank = depth, rows, g.rank
        self.tiling = tiling(g.spans, batch * g.groups, depth, rows)
        self.t, self.box, self.J, self.joined = self.tiling
        self.hops = [s.stride * n for s, n in zip(g.spans, self.t, strict=True)]
        self.counts = [-(-s.out // n) for s, n in zip(g.spans, self.t, strict=True)]
        self.inner, self.columns = depth * prod(self.box), rows * prod(self.t)
        # The axis along which pieces are cut: the first would repeat J − 1 frames.
        self.cut = 1 if self.joined else 0

    def pieces(self, batch: int, width: int, wide: int) -> list[tuple[int, int, int, int]]:
        """(first and last batch entry, first and last tile of one axis) of every piece."""
        count = self.counts[self.cut]
        if not self.be.mutable:
            return [(0, batch, 0, count)]
        row = width * self.g.groups * max(self.inner, self.columns)
        row *= prod(self.counts) // count
        rows = max(1, _BOXES * wide // row)
        chunk = max(1, rows // count)
        return [
            (entry, min(entry + chunk, batch), first, min(first + rows, count))
            for entry in range(0, batch, chunk)
            for first in range(0, count, rows)
        ]

    def ends(self, first: int, last: int) -> list[tuple[int, int]]:
        """First and last tile of every axis of a piece."""
        return [(first, last) if i == self.cut else (0, n) for i, n in enumerate(self.counts)]

    def x(self, x: Array, first: int, last: int) -> Array:
        """(B, G·D, *S) to the boxes (G, B·other tiles, n₁ + J − 1, D·box) of a piece."""
        be, g, r = self.be, self.g, self.rank
        cuts, widths = _read(g.spans, self.tiling, self.cut, first, last)
        x = be.pad(x[cuts], widths)
        skip = 1 if self.joined else 0
        axes = range(2 + skip, 2 + r)
        if axes:
            x = be.windows(x, self.box[skip:], self.hops[skip:], (1,) * len(axes), axes)
        if self.joined:
            # (B, G·D, n₁·hop, *n, *E): a frame's points beside those of the boxes
            count = x.shape[2] // self.hops[0]
            x = be.reshape(x, (*x.shape[:2], count, self.hops[0], *x.shape[3:]))
            others, inner = range(5, 4 + r), (4, *range(4 + r, 3 + 2 * r))
        else:
            # (B, G·D, n₁, *n, *E)
            count = x.shape[2]
            others, inner = range(4, 3 + r), range(3 + r, 3 + 2 * r)
        if r > 1 or self.depth > 1 or g.groups > 1:
            x = be.reshape(x, (x.shape[0], g.groups, self.depth, *x.shape[2:]))
            # -> (G, B, *n, n₁, D, *box)
            x = self.xp.permute_dims(x, (1, 0, *others, 3, 2, *inner))
        # Products of overlapping rows would not be a BLAS's.
        return be.reshape(be.packed(x), (g.groups, -1, count, self.inner))

    def times(self, frames: Array, band: Array) -> Array:
        """Σ_j of the frames shifted by j times block j: (G, B·other tiles, n₁, R·t)."""
        be, count = self.be, frames.shape[2] - self.J + 1
        groups, others = frames.shape[:2]
        if others > 1 or not be.mutable:
            # All rows of all tiles in one product, a few of them in vain.
            frames = be.reshape(frames, (groups, -1, self.inner))
        total = None
        for j in range(self.J):
            if frames.ndim == 4:
                term = be.matmul(frames[:, 0, j : j + count, :], band[j, ...])
                term = be.reshape(term, (groups, 1, count, self.columns))
            else:
                term = be.matmul(frames, band[j, ...])
                term = be.reshape(term, (groups, others, -1, self.columns))
                term = term[:, :, j : j + count, :]
            total = term if total is None else be.add_into(total, term)
        return total

    def y(self, y: Array, first: int, last: int) -> Array:
        """(B, G·R, *out) to (G, B·other tiles·n₁, R·t)."""
        xp, g, r = self.xp, self.g, self.rank
        t, ends = self.t, self.ends(first, last)
        cuts = [
            slice(a * n, min(b * n, have))
            for (a, b), n, have in zip(ends, t, y.shape[2:], strict=True)
        ]
        y = y[(slice(None), slice(None), *cuts)]
        counts = [b - a for a, b in ends]
        fill = [(0, n * m - have) for n, m, have in zip(counts, t, y.shape[2:], strict=True)]
        y = self.be.pad(y, [(0, 0), (0, 0), *fill])
        split = [n for pair in zip(counts, t, strict=True) for n in pair]
        y = xp.reshape(y, (y.shape[0], g.groups, self.rows, *split))
        # (B, G, R, n, t, n, t …) -> (G, B, *n but the first, n₁, R, *t)
        order = (1, 0, *range(5, 3 + 2 * r, 2), 3, 2, *range(4, 4 + 2 * r, 2))
        return xp.reshape(xp.permute_dims(y, order), (g.groups, -1, self.columns))

    def y_back(self, y: Array, batch: int, first: int, last: int) -> Array:
        """(G, B·other tiles, n₁, R·t) to (B, G·R, *out) of a piece."""
        be, g, r = self.be, self.g, self.rank
        ends = self.ends(first, last)
        counts = [b - a for a, b in ends]
        whole = [n * m for n, m in zip(counts, self.t, strict=True)]
        if r > 1 or self.rows > 1 or (batch > 1 and g.groups > 1):
            y = be.reshape(y, (g.groups, batch, *counts[1:], counts[0], self.rows, *self.t))
            # (G, B, *n but the first, n₁, R, *t) -> (B, G, R, n, t, n, t …)
            places = [1 + r, *range(2, 1 + r)]
            pairs = [i for k in range(r) for i in (places[k], 3 + r + k)]
            y = self.xp.permute_dims(y, (1, 0, 2 + r, *pairs))
        y = be.reshape(y, (batch, g.groups * self.rows, *whole))
        out = [
            min(n, s.out - a * m)
            for n, (a, _), m, s in zip(whole, ends, self.t, g.spans, strict=True)
        ]
        if out == whole:
            return y
        return y[(slice(None), slice(None), *(slice(0, n) for n in out))]

    def band(self, w: Array) -> Array:
        """w (O, D, *K) to the blocks of M, (J, G, D·box, R·t)."""
        g, r = self.g, self.rank
        dilations = [s.dilation for s in g.spans]
        if any(d > 1 for d in dilations):
            w = self.be.pad(w, [(0, 0)] * w.ndim, 0, [0, 0, *(d - 1 for d in dilations)])
        # M[p, i] = w[p − s·i]: windows over the padded kernel, backwards in i.
        reach = [(s.stride * (n - 1),) * 2 for s, n in zip(g.spans, self.t, strict=True)]
        low, high = reach[0]
        reach[0] = (low, high + self.J * self.box[0] - low - g.spans[0].extent)
        w = self.be.pad(w, [(0, 0), (0, 0), *((a, b) for a, b in reach)])
        strides = [s.stride for s in g.spans]
        w = self.be.windows(w, self.t, (1,) * r, strides, range(2, 2 + r))
        w = self.be.flip(w, tuple(range(2 + r, 2 + 2 * r)))  # (G·R, D, J·hop, *E, *t)
        w = self.be.reshape(w, (g.groups, self.rows, self.depth, self.J, self.box[0], *w.shape[3:]))
        # (G, R, D, J, hop, *E, *t) -> (J, G, D, hop, *E, R, *t)
        w = self.xp.permute_dims(w, (3, 0, 2, *range(4, 4 + r), 1, *range(4 + r, 4 + 2 * r)))
        return self.be.reshape(self.be.packed(w), (self.J, g.groups, self.inner, self.columns))

    def band_back(self, m: Array) -> Array:
        """The transpose of `band`: sums along the diagonals."""
        g, xp, r = self.g, self.xp, self.rank
        m = xp.reshape(m, (self.J, g.groups, self.depth, *self.box, self.rows, *self.t))
        # (J, G, D, hop, *E, R, *t) -> (G, R, D, t, J, hop, t, E …)
        pairs = [4 + r, 0, 3, *(i for k in range(1, r) for i in (4 + r + k, 3 + k))]
        m = xp.permute_dims(m, (1, 3 + r, 2, *pairs))
        box = [self.J * self.box[0], *self.box[1:]]
        behind = prod(self.t) * prod(box)
        for s, n, e in zip(g.spans, self.t, box, strict=True):
            behind //= n * e
            # Rows of E points, laid end to end and cut at E + s, shift back by s a row.
            m = xp.reshape(m, (-1, n * e * behind))
            m = self.be.pad(m, [(0, 0), (0, n * s.stride * behind)])
            m = xp.reshape(m, (-1, n, e + s.stride, behind))
            m = xp.sum(m, axis=1, dtype=m.dtype)[:, : s.extent : s.dilation, :]
        return xp.reshape(m, g.w_shape(g.groups * self.rows, self.depth))


@lru_cache(maxsize=4096)
def _read(
    spans: tuple[Span, ...], tiles: Tiling, cut: int, first: int, last: int
) -> tuple[tuple[slice, ...], list[tuple[int, int]]]:
    """What tiles first … last−1 of the axis `cut` read of x: cuts, and zeros beside.

    The other axes are read whole; of the first, whole frames are.
    """
    cuts, widths = [slice(None)] * 2, [(0, 0)] * 2
    for i, (s, n, box) in enumerate(zip(spans, tiles.t, tiles.box, strict=True)):
        hop = s.stride * n
        begin, end = (first, last) if i == cut else (0, -(-s.out // n))
        start = begin * hop - s.low
        stop = start + (end - begin - 1) * hop + box * (1 if i else tiles.frames)
        inside = slice(min(max(start, 0), s.length), max(0, min(stop, s.length)))
        inside = slice(inside.start, max(inside.start, inside.stop))
        low = min(max(0, -start), stop - start)
        cuts.append(inside)
        widths.append((low, stop - start - low - (inside.stop - inside.start)))
    return tuple(cuts), widths


_tiles = lru_cache(maxsize=4096)(_Tiles)


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """The products of role "y" and "w", channels first."""
    batch, width, wide = a.shape[0], be.itemsize(a.dtype), be.wide(a)
    if role == "y":
        f = _tiles(be, g, batch, b.shape[1], b.shape[0] // g.groups)
        band = f.band(b)
        pieces = f.pieces(batch, width, wide)
        if len(pieces) == 1:
            _, _, first, last = pieces[0]
            return f.y_back(f.times(f.x(a, first, last), band), batch, first, last)
        out = be.empty_like(a, g.y_shape(batch, b.shape[0]))
        for entry, stop, first, last in pieces:
            part = f.times(f.x(a[entry:stop, ...], first, last), band)
            tiles = zip(f.ends(first, last), f.t, g.out, strict=True)
            here = (slice(i * t, min(j * t, n)) for (i, j), t, n in tiles)
            out[(slice(entry, stop), slice(None), *here)] = f.y_back(
                part, stop - entry, first, last
            )
        return out
    f = _tiles(be, g, batch, a.shape[1] // g.groups, b.shape[1] // g.groups)
    total = None
    for entry, stop, first, last in f.pieces(batch, width, wide):
        frames = f.x(a[entry:stop, ...], first, last)
        y = f.y(b[entry:stop, ...], first, last)
        count, terms = frames.shape[2] - f.J + 1, []
        for j in range(f.J):
            rows = be.xp.reshape(frames[:, :, j : j + count, :], (g.groups, -1, f.inner))
            terms.append(be.matmul(be.xp.matrix_transpose(rows), y))
        term = be.xp.stack(terms, axis=0)
        total = term if total is None else be.add_into(total, term)
    return f.band_back(total)
