"""The sliding product of three taps by Winograd's minimal filtering, F(m, 3) on one or two axes.

m neighbouring outputs of a window of three share m + 2 input points; as many products give all of
them::

    y = Aᵀ [(G w) ⊙ (Bᵀ d)]

m is 2, and 4 where `precision("fast")` allows larger constants, which weigh errors more. On two
axes the transforms are Kronecker products, and 16 products do the work of 36, or 36 that of 144.
All of it is matrix products: Bᵀ ⊗ Bᵀ times tiles of m + 2 points gathered every m points, one over
channels for each of their points, Aᵀ ⊗ Aᵀ times that. The last sliding axes of three taps are
filtered so, two at most; taps of the axes before them are shifts of the transformed input, added.

The error is bounded relative to Aᵀ|·| of the transformed operands, not to the window, and a
non-finite sample reaches the other outputs of its tile.

Source: S. Winograd, Arithmetic Complexity of Computations, SIAM 1980; for layers A. Lavin and
S. Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np

from .._backends import Backend
from ..geometry import Sliding
from .costs import Costs
from .im2col import pieces
from .problem import Estimate, Problem, as_is, roughly, unframed
from .taps import fitted

__all__ = [
    "estimate",
    "exact",
    "frames",
    "last",
    "pack",
    "roles",
    "run",
    "scratch",
    "tile",
    "unpack",
]

Array = Any
Table = tuple[tuple[float, ...], ...]
unpack = as_is
exact = roughly
frames = unframed
_BOUND = "|err| <= 2·(C+{slack})·eps·|Aᵀ|((|G||w|)⊙(|Bᵀ||x|)), C = {depth}, F({size}, 3)"

# Bytes of gathered tiles and of their products at a time.
_CELLS = 4 * 2**20
# Tiles that one product should have at least: the kernel is read once for all of them.
_TILES = 192
# Products in one transformed output from which on the bound allows transforms of both axes at once.
_ENOUGH = 4


@dataclass(frozen=True)
class Filter:
    """F(size, 3): outputs of a tile, its transforms Bᵀ, G and Aᵀ, and what they add to C."""

    size: int
    ahead: Table
    kernel: Table
    back: Table
    slack: int

    @property
    def points(self) -> int:
        """Points of a tile."""
        return self.size + 2


_EXACT = Filter(
    2,
    ahead=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, -1, 0, 1)),
    kernel=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
    back=((1, 1, 1, 0), (0, 1, -1, 1)),
    slack=2,
)
# Through the points 0, ±1, ±2 and infinity.
_FAST = Filter(
    4,
    ahead=(
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    kernel=(
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
    back=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
    slack=12,
)


def _filter(fast: bool) -> Filter:
    return _FAST if fast else _EXACT


@lru_cache(maxsize=64)
def _tables(table: Table, axes: int, at_once: bool) -> tuple[np.ndarray, ...]:
    """A transform of all axes: as one matrix, or of one axis after the other, which rounds less."""
    one = np.array(table, np.float64)
    if axes == 1:
        return (one,)
    if at_once:
        return (np.kron(one, one),)
    rows, columns = one.shape
    return np.kron(np.eye(columns), one), np.kron(one, np.eye(rows))


def _turned(be: Backend, x: Array, table: Table, axes: int, *, at_once: bool = True) -> Array:
    """The transform of x, whose first axis runs over the points of all axes."""
    for matrix in _tables(table, axes, at_once):
        x = be.matmul(be.constant(matrix, x, x.dtype), x)
    return x


def last(p: Problem) -> bool:
    """Whether it takes channels last."""
    return True


def roles(p: Problem) -> tuple[str, ...]:
    """That of the forward product: of a kernel's gradient the bound would be weaker."""
    return ("y",)


def _filtered(g: Sliding) -> int:
    """How many of the last axes are filtered: those of three neighbouring taps, at most two."""
    count = 0
    for s in reversed(g.spans[-2:]):
        if s.size != 3 or not s.unit:
            break
        count += 1
    return count


def _depth(p: Problem) -> int:
    """Products summed in one transformed output (C of the bound)."""
    return p.depth * prod(p.g.sizes[: p.g.rank - _filtered(p.g)])


def _terms(p: Problem) -> int:
    """C of the bound, and what transforms add to it."""
    return _depth(p) + _filter(p.fast).slack


def _excess(p: Problem) -> float:
    """The bound for data of one size, over that of windows: each axis makes 3 terms 8."""
    return (8 / 3) ** _filtered(p.g) * _terms(p) / p.terms


def estimate(p: Problem, cost: Costs) -> Estimate | str:
    """Matrix products of the transformed operands, and their transforms."""
    count, f = _filtered(p.g), _filter(p.fast)
    if p.role != "y":
        return "used for the forward product only"
    if count == 0:
        return "filters three neighbouring taps only"
    tiles, cells, ends = _tiles(p), f.points**count, f.size**count
    taps = prod(p.g.sizes[: p.g.rank - count])
    flops = float(p.depth * p.rows * cells * tiles * taps)
    turned = float(tiles * cells * (cells * p.depth + ends * p.rows))
    loss = 0.9 + 8 / min(p.rows, 64) + 8 / min(p.depth, 64)
    # Transforms are narrow products, of half the rate; many products at once are slow under XLA.
    rates, copies, padded = ((1.5, 4), 1, (0, 8)) if p.traces else ((1, 2), 3, (1.5, 6))
    work = p.heavy * (rates[0] * flops * loss + rates[1] * turned) / cost.gemm
    gathered = copies * p.width * tiles * (cells * p.depth + ends * p.rows)
    gathered += padded[0 if p.g.last else 1] * (p.x_bytes + p.y_bytes)
    # Taps before the filtered axes read a copy of their tiles and add their products.
    added = (taps - 1) * (p.depth + 2 * p.rows)
    passed = 0.7 * p.width * tiles * cells * (p.depth + p.rows + added)
    if p.traces and p.g.groups > 1:
        # A compiler's products of groups are slow; these are smaller than those of windows.
        work *= 2
    seconds = work + gathered / cost.gather + passed / cost.stream + 30 * cost.call
    bound = _BOUND.format(slack=f.slack, depth=_depth(p), size=f.size)
    excess = 0 if p.fast else _excess(p)
    against = f"its error bound is {excess:.1f}× that of windows" if excess > 1 else ""
    moved = gathered + passed
    return Estimate(seconds, flops + turned, moved, bound, against=against, terms=_terms(p))


def _tiles(p: Problem) -> int:
    """Tiles of all batch entries and groups, points of other axes counted."""
    count, size = _filtered(p.g), _filter(p.fast).size
    lead = p.g.rank - count
    ends = prod(-(-n // size) for n in p.g.out[lead:])
    return p.batch * p.g.groups * prod(_line(p.g, lead)) * ends


def _line(g: Sliding, lead: int) -> list[int]:
    """Points of the axes before the filtered ones, with padding."""
    return [max(0, s.length + s.low + s.high) for s in g.spans[:lead]]


def _most(f: Filter, g: Sliding, depth: int, rows: int, width: int, wide: int) -> int:
    """Rows of tiles whose transformed input and products stay in the cache."""
    count = _filtered(g)
    lead = g.rank - count
    across = prod(-(-n // f.size) for n in g.out[lead + 1 :])
    line = prod(_line(g, lead)) * across
    cells = width * f.points**count * line * g.groups * (depth + rows)
    return max(1, _TILES // across, _CELLS * wide // max(1, cells))


def scratch(p: Problem) -> int:
    """Input with its padding, the kernel's transform, and two arrays of tiles or products."""
    g, count, f = p.g, _filtered(p.g), _filter(p.fast)
    tiles, cells = _tiles(p), f.points**count
    if p.mutable:
        ends = -(-g.out[g.rank - count] // f.size)
        most = _most(f, g, p.depth, p.rows, p.width, p.wide)
        chunk = min(p.batch, max(1, most // ends))
        tiles = tiles // p.batch * chunk * min(most, ends) // ends
    # With taps before the filtered axes a copy of what they read, and products that are added up.
    held = max(2 * p.depth, p.depth + 2 * p.rows) if count == g.rank else 2 * (p.depth + p.rows)
    found = p.width * tiles * cells * held + p.x_bytes + (p.y_bytes if p.traces else 0)
    return found + p.w_bytes * (1 + cells // 3**count)


def tile(p: Problem) -> tuple[int, int]:
    """Whatever the workspace allows: `run` goes by rows of tiles that fit the cache."""
    return 0, 0


class _Tiles:
    """Tiles of an input, their products, and the result: channels last until the products.

    Axes of tiles are (points…, *lead, B, *tiles, C): points of a tile along every filtered axis,
    then the axes before those, so that a shift along the first of them moves whole rows.
    """

    def __init__(self, be: Backend, f: Filter, g: Sliding, depth: int, rows: int) -> None:
        self.be, self.f, self.g = be, f, g
        self.depth, self.rows = depth, rows
        self.axes = _filtered(g)
        self.lead = g.rank - self.axes
        self.counts = [-(-n // f.size) for n in g.out[self.lead :]]
        # Whole tiles: points beyond the padding are zeros, and so are outputs beyond the last.
        spans = [
            replace(s, high=f.size * t + 2 - s.length - s.low)
            for s, t in zip(g.spans[self.lead :], self.counts, strict=True)
        ]
        self.whole = replace(g, spans=(*g.spans[: self.lead], *spans), last=True)
        # Shifts along the axes before those filtered.
        self.taps = list(product(*(range(n) for n in g.sizes[: self.lead])))

    def of(self, x: Array) -> Array:
        """All tiles, gathered where the library has no views."""
        be, f, n, lead = self.be, self.f, self.axes, self.lead
        if not self.g.last:
            x = be.permute(x, (0, *range(2, x.ndim), 1))
        x = be.packed(fitted(be, self.whole, x))
        axes = tuple(range(1 + lead, 1 + lead + n))
        found = be.windows(x, [f.points] * n, [f.size] * n, [1] * n, axes)
        points = range(lead + n + 2, lead + n + 2 + n)
        return be.permute(found, (*points, *range(1, 1 + lead), 0, *axes, lead + n + 1))

    def products(self, part: Array, w: Array) -> Array:
        """Bᵀ of some tiles times the kernel: (points, G, P, R); channels first (…, R, P)."""
        be, g, n = self.be, self.g, self.axes
        shape = part.shape[n:]
        cells = self.f.points**n
        part = _turned(be, be.reshape(part, (cells, -1)), self.f.ahead, n)
        part = be.reshape(part, (cells, *shape))
        total: Any = None
        for j, tap in enumerate(self.taps):
            cuts = [s.placed(i) for s, i in zip(g.spans, tap, strict=False)]
            read = be.reshape(part[(slice(None), *cuts, ...)], (cells, -1, g.groups, self.depth))
            read = be.permute(read, (0, 2, 1, 3) if g.last else (0, 2, 3, 1))
            term = be.matmul(read, w[j, ...]) if g.last else be.matmul(w[j, ...], read)
            total = term if total is None else be.add_into(total, term)
        return total

    def results(self, m: Array, batch: int, counts: Sequence[int]) -> Array:
        """Aᵀ of products: (size…, G, *lead, B, *tiles, R), or (size…, G, R, *lead, B, *tiles)."""
        be, g, n = self.be, self.g, self.axes
        enough = self.depth * len(self.taps) >= _ENOUGH
        m = be.reshape(m, (self.f.points**n, -1))
        m = _turned(be, m, self.f.back, n, at_once=enough)
        space = (*g.out[: self.lead], batch, *counts)
        body = (*space, self.rows) if g.last else (self.rows, *space)
        return be.reshape(m, (*[self.f.size] * n, g.groups, *body))

    def write(self, found: Array, y: Array, first: int) -> None:
        """Results of rows of tiles from `first` on to their places in y, (…, G, R, …)."""
        g, n, size = self.g, self.axes, self.f.size
        r, lead, at = g.rank, self.lead, 1 if g.last else 3
        # y as results lie.
        space = (*range(at, at + lead), 0, *range(at + lead, at + r))
        y = self.be.permute(y, (r + 1, *space, r + 2) if g.last else (1, 2, *space))
        axis = (1 if g.last else 2) + lead + 1
        rows = found.shape[n + axis]
        for half in product(range(size), repeat=n):
            index = [slice(None)] * axis
            index += [slice(h, None, size) for h in half]
            index[axis] = slice(size * first + half[0], size * (first + rows), size)
            place = y[(*index, ...)]
            place[...] = found[(*half, *(slice(0, k) for k in place.shape))]

    def joined(self, found: Array) -> Array:
        """y from all results."""
        be, g, n, r, lead = self.be, self.g, self.axes, self.g.rank, self.lead
        first = n + (1 if g.last else 2)  # the first axis of `lead`
        order = [first + lead, *range(first, first + lead)]
        for i in range(n):
            order += [first + lead + 1 + i, i]
        channels = [n, first + r + 1] if g.last else [n, n + 1]
        order = [*order, *channels] if g.last else [order[0], *channels, *order[1:]]
        batch = found.shape[first + lead]
        space = (*g.out[:lead], *(self.f.size * t for t in self.counts))
        shape = (*space, g.groups * self.rows) if g.last else (g.groups * self.rows, *space)
        y = be.reshape(be.permute(found, tuple(order)), (batch, *shape))
        at = 1 if g.last else 2
        return y[(*[slice(None)] * at, *(slice(0, k) for k in g.out), ...)]


def pack(be: Backend, g: Sliding, w: Array) -> Array:
    """G w: (taps before, points, G, R, C); channels last: (taps before, points, G, C, R)."""
    f, n, r = _filter(be.fast), _filtered(g), g.rank
    # The filtered axes first.
    if g.last:
        w = be.permute(w, (*range(r - n, r), *range(r - n), r, r + 1))
    else:
        w = be.permute(w, (*range(r + 2 - n, r + 2), *range(2, r + 2 - n), 0, 1))
    shape = w.shape[-2:]
    depth = (shape[0] if g.last else shape[1]) * prod(g.sizes[: r - n])
    w = _turned(be, be.reshape(w, (3**n, -1)), f.kernel, n, at_once=depth >= _ENOUGH)
    w = be.reshape(w, (f.points**n, -1, *shape))
    if g.last:
        w = be.reshape(w, (*w.shape[:3], g.groups, -1))
        return be.permute(w, (1, 0, 3, 2, 4))
    w = be.reshape(w, (*w.shape[:2], g.groups, -1, w.shape[3]))
    return be.permute(w, (1, 0, 2, 3, 4))


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """The product of role "y", in both layouts, by rows of tiles that fit the cache."""
    f, batch = _filter(be.fast), a.shape[0]
    depth, rows = (b.shape[-2], b.shape[-1]) if g.last else (b.shape[-1], b.shape[-2])
    t = _Tiles(be, f, g, depth, rows)
    found = t.of(a)
    if not be.mutable:
        return t.joined(t.results(t.products(found, b), batch, t.counts))
    y = be.empty_like(a, g.y_shape(batch, g.groups * rows))
    most = _most(f, g, depth, rows, be.itemsize(a.dtype), be.wide(a))
    before, split = [slice(None)] * (t.axes + t.lead), (g.groups, rows)
    for entries, first, final in pieces(be, batch, t.counts[0], most):
        part = found[(*before, entries, slice(first, final), ...)]
        m = t.products(part, b)
        made = t.results(m, entries.stop - entries.start, (final - first, *t.counts[1:]))
        del m  # before the next is made
        here = y[entries, ...]
        shape = (*here.shape[:-1], *split) if g.last else (here.shape[0], *split, *here.shape[2:])
        t.write(made, be.reshape(here, shape), first)
    return y
