"""The sliding product as a product with the blocks of its Toeplitz matrix.

Outputs are cut into tiles of t₁ × … × t_r. A tile reads a box of s·(t_i − 1) + extent points along
each sliding axis (s the stride), and is the product of that box with a banded matrix that all tiles
share::

    y[tile] = x[box] M,     M[p, i] = w[j] where p = s·i + d·j on every axis, else 0

so a filter runs at the speed of matrix multiplication, with a long inner length. How overlapping
boxes become rows of matrices is told in `tiles`. Channels ride along in the rows and columns of M.

The band holds zeros beside the kernel: a non-finite sample can reach the other outputs of its
tiles (0·∞), at most 2·s·t + extent points away along each axis, and no further.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

from .._backends import Backend, Narrow, backend_of
from ..geometry import Sliding, Span
from . import im2col, tiles_last
from .costs import Costs
from .problem import Estimate, Problem, as_is, roughly, unframed
from .tiles import Tiling, counts, extra, runs, tiling
from .tiles_gathered import GatheredTiles
from .tiles_interleaved import BUFFER, InterleavedTiles, steps
from .tiles_near import Laid, NearTiles, alone, laid

__all__ = ["estimate", "exact", "frame_length", "last", "roles", "run", "scratch", "tile"]

Array = Any
pack = unpack = as_is
exact = roughly
frames = unframed

# Results of channels that a compiler takes twice as long for, of as many channels or more.
_FEW = 8
# Passes over the operands that it takes longer where lines of tiles lie apart in memory.
_FAR = 4
# Time of a product of several channels beside that of one of as much work (measured on NumPy).
_CHANNELS = 0.85
# Rates of a processor by which it is decided along which axes tiles go.
_USUAL = Costs(gemm=9.4e10, stream=1.6e10, gather=3.6e10, fft=6e9, call=2.6e-6)
# Beginning a run of points, as a part of starting one array operation.
_RUN_CALLS = 0.005


def last(p: Problem) -> bool:
    """Whether it takes channels last, for tiles along the last axis."""
    g = p.g
    if not g.last or g.groups > 1 or g.rank < 2 or not _interleaves(p.mutable, p.traces, p.wide):
        return False
    parts = list(p.residues()) if p.role == "x" else [p]
    along = sum(_along(q, _USUAL).seconds for q in parts)
    return along < sum(_first(q, _USUAL).seconds for q in parts)


def roles(p: Problem) -> tuple[str, ...]:
    """Those of the forward product and of its kernel."""
    return ("y", "w")


def _interleaves(mutable: bool, traces: bool, wide: int) -> bool:
    """Whether boxes are multiplied where they lie: a GPU copies them in less than a few calls."""
    return mutable and not traces and wide == 1


def _tiling(p: Problem) -> Tiling:
    interleaves = _interleaves(p.mutable, p.traces, p.wide)
    narrow = _narrow(p.narrow, p.wide)
    return tiling(p.g.spans, p.batch * p.g.groups, p.depth, p.rows, narrow, interleaves)


def _widened(p: Problem) -> tiles_last.Widened:
    return tiles_last.widened(p.g, p.depth, p.rows, p.narrow)


def _narrow(found: Narrow, wide: int) -> Narrow:
    """What the library says of a processor; the kernels of a GPU are others."""
    return found if wide == 1 else Narrow(found.half)


def _near(p: Problem, made: Tiling) -> Laid | None:
    """How a small problem is laid out."""
    if made.way != "interleaved" or p.role != "y":
        return None
    return laid(p.g, made, p.batch, p.depth, p.rows, p.width)


def estimate(p: Problem, cost: Costs) -> Estimate:
    """The products of all boxes with the blocks of one matrix."""
    return (_along if last(p) else _first)(p, cost)


def _first(p: Problem, cost: Costs) -> Estimate:
    """Tiles along all axes, channels first."""
    made, g = _tiling(p), p.g
    number = counts(g.spans, made.t)
    tiles = prod(number) * p.batch * g.groups
    inner, columns = p.depth * prod(made.box), p.rows * prod(made.t)
    terms = made.frames if made.way == "summed" else 1
    near, hop = _near(p, made), g.spans[0].stride * made.t[0]
    started = runs(made, hop, p.depth, columns) * tiles
    boxes = tiles * (1 + extra(made, number[0]))
    if near is not None:
        boxes = g.groups * near.each * made.frames
    flops = float(boxes * inner * columns * terms)
    loss = _narrow(p.narrow, p.wide).loss(inner, columns)
    share = _CHANNELS if made.way == "interleaved" and not p.single else 1.0
    if p.traces and p.role == "w":
        # A compiler's products that sum over the points are slower (XLA on a processor).
        loss *= 1.3
    seconds = share * p.heavy * flops * loss / cost.gemm
    band = p.width * g.groups * terms * inner * columns
    if near is not None:
        moved = p.x_bytes + p.width * g.groups * near.points + 2 * p.y_bytes + 2 * band
        if near.copied:
            moved += 2 * p.width * boxes * inner
        calls = 11 + (1 if near.copied else made.frames / 2)
        if g.rank > 1:
            # Boxes are windows of x in zeros.
            moved += 2 * p.x_bytes
            calls += _RUN_CALLS * started
        return Estimate(seconds + moved / cost.gather + calls * cost.call, flops, moved)
    points = inner // made.box[0] * (made.box[0] if made.way == "gathered" else hop)
    copied = p.width * tiles * points
    if made.way == "interleaved":
        lies = g.rank == p.depth == 1
        pieces = 1 if lies else 1 + (copied + p.y_bytes) // BUFFER
        moved = p.x_bytes + p.y_bytes
        # Every product reads M anew: of long kernels each has few rows.
        moved += 6 * band * (min(made.frames, number[0]) - 1) * pieces
        if lies:
            started = 0.0
        else:
            moved += 2 * copied + p.y_bytes
            if p.x_bytes + p.y_bytes > 2 * BUFFER:
                # Lines of tiles lie apart in arrays that no cache holds.
                moved += _FAR * (p.x_bytes + p.y_bytes)
            moved *= share
        calls = 20 + 6 * g.rank + (8 + 3 * min(made.frames, number[0])) * pieces
    elif p.traces:
        # As XLA does it on a processor: points that lie apart are copied one by one, but of a line.
        alone = g.rank == p.depth == p.rows == 1
        moved = (1.0 if alone else 2.0 if g.strideless else 4.0) * copied + 2.0 * band
        # Outputs of a tile are laid between those of others, lines in the shorter runs.
        moved += (0.0 if g.rank == p.rows == 1 else 4.0 if g.rank == 1 else 2.0) * p.y_bytes
        seconds += moved / cost.gather + 2 * terms * p.y_bytes / cost.stream
        seconds += (12 if alone else 16) * cost.call
        # Measured of gradients of layers that read few channels.
        few = p.role == "y" and p.rows < _FEW <= p.depth
        return Estimate(seconds * (2 if few else 1), flops, moved)
    elif p.mutable:
        # A GPU copies short runs as it copies long ones.
        started = 0.0
        moved = p.x_bytes + 2 * copied + (2 + terms) * p.y_bytes
        calls = 20 + 6 * g.rank + 2 * terms
    else:
        # Without strided views boxes and the matrix are gathered by index.
        moved = p.x_bytes + 7 * copied + (2 + terms) * p.y_bytes
        calls = 12 + 4 * g.rank + 8 + 2 * terms
        seconds += 50 * band / cost.stream
    moved += 4 * band
    seconds += moved / cost.gather + (_RUN_CALLS * started + calls) * cost.call
    return Estimate(seconds, flops, moved)


def _along(p: Problem, cost: Costs) -> Estimate:
    """Tiles along the last axis, channels last."""
    made = _widened(p)
    q = tiles_last.problem(p, made)
    found = im2col.estimate(q, cost)
    assert not isinstance(found, str)
    moved = 2 * q.w_bytes + (0 if q.y_bytes == p.y_bytes else 2 * p.y_bytes)
    seconds = found.seconds + moved / cost.gather + (6 + 2 * made.t) * cost.call
    return replace(found, seconds=seconds, moved=found.moved + moved)


def scratch(p: Problem) -> int:
    """Boxes and their products, and the matrix in several orders."""
    if last(p):
        q = tiles_last.problem(p, _widened(p))
        return im2col.scratch(q) + 2 * q.w_bytes + (0 if q.y_bytes == p.y_bytes else q.y_bytes)
    made, g = _tiling(p), p.g
    number = counts(g.spans, made.t)
    inner, columns = p.depth * prod(made.box), p.rows * prod(made.t)
    terms = made.frames if made.way == "summed" else 1
    band = (5 if p.role == "w" else 3) * p.width * g.groups * terms * inner * columns
    near = _near(p, made)
    if near is not None:
        padded = p.x_bytes if g.rank > 1 else 0
        found = near.points + near.each * made.frames * (columns + inner * near.copied)
        return p.width * g.groups * found + padded + band
    if made.way != "interleaved":
        tiles = prod(number) * p.batch * g.groups
        # A compiler may keep the padded input, the frames, all products and both orders of a sum.
        sums = terms if p.traces else 2
        return p.x_bytes + 2 * p.width * tiles * (inner + (1 + sums) * columns) + band
    unit = g.spans[0].stride * made.t[0] * inner // made.box[0]
    each = p.width * g.groups * max(unit, columns) * prod(number[2:])
    chunk, first, across = steps(number, p.batch, made.frames, BUFFER // each)
    # The points of a piece, its boxes and its tiles.
    return 3 * chunk * across * (first + made.frames - 1) * each + band


def tile(p: Problem) -> tuple[int, int]:
    """Whatever the workspace allows: pieces that fit the cache are made by `run`."""
    return 0, 0


def frame_length(be: Backend, x: Array, span: Span) -> int:
    """Outputs per tile of one channel along one axis, where x is."""
    interleaves = _interleaves(be.mutable, be.traces, be.wide(x))
    narrow = _narrow(be.narrow(x.dtype), be.wide(x))
    return tiling((span,), 1, 1, 1, narrow, interleaves).t[0]


@lru_cache(maxsize=4096)
def _tiles(
    be: Backend, g: Sliding, batch: int, depth: int, rows: int, made: Tiling
) -> GatheredTiles | InterleavedTiles:
    kind = InterleavedTiles if made.way == "interleaved" else GatheredTiles
    return kind(be, g, batch, depth, rows, made)


_near_tiles = lru_cache(maxsize=4096)(NearTiles)


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """The products of role "y" and "w", channels first or, along the last axis, last."""
    if g.last:
        depth, rows = b.shape[-2:] if role == "y" else (a.shape[-1], b.shape[-1])
        made = tiles_last.widened(g, depth, rows, be.narrow(a.dtype))
        return (tiles_last.product if role == "y" else tiles_last.kernel)(be, g, made, a, b)
    of = b.shape if role == "y" else (b.shape[1], a.shape[1] // g.groups)
    batch, depth, rows = a.shape[0], of[1], of[0] // g.groups
    wide = be.wide(a)
    interleaves = _interleaves(be.mutable, be.traces, wide)
    narrow = _narrow(be.narrow(a.dtype), wide)
    made = tiling(g.spans, batch * g.groups, depth, rows, narrow, interleaves)
    if role == "y" and interleaves:
        way = laid(g, made, batch, depth, rows, be.itemsize(a.dtype))
        if way is not None:
            lone = alone(g, made, way, depth, rows)
            shared = be.near(a, b) if lone else None
            if lone is None or shared is None:
                return _near_tiles(be, g, batch, depth, rows, made, way).product(a, b)
            own = backend_of(shared[0])
            with own.quiet():
                tiles = _near_tiles(own, g, batch, depth, rows, made, lone)
                return be.from_host(tiles.product(*shared), "cpu")
    tiles = _tiles(be, g, batch, depth, rows, made)
    return tiles.product(a, b) if role == "y" else tiles.kernel(a, b)
