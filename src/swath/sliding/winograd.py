"""The sliding product of three taps by Winograd's minimal filtering, F(2, 3) on one or two axes.

Two neighbouring outputs of a window of three share four input points; four products give both::

    y = Aᵀ [(G w) ⊙ (Bᵀ d)]       m0 = (d0 − d2)·w0                   y0 = m0 + m1 + m2
                                  m1 = (d1 + d2)·(w0 + w1 + w2)/2     y1 = m1 − m2 + m3
                                  m2 = (d2 − d1)·(w0 − w1 + w2)/2
                                  m3 = (d3 − d1)·w2

On two axes 16 products, each a matrix product over channels, do the work of 36. The last sliding
axes of three taps are filtered so, two at most; taps of the axes before them are shifts of the
transformed input, added up.

The error is bounded relative to Aᵀ|·| of the transformed operands, not to the window, and a
non-finite sample reaches the other outputs of its tile: one point further than its windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

from .._backends import Backend
from ..geometry import Sliding
from .costs import Costs
from .direct import fitted
from .im2col import pieces
from .problem import Estimate, Problem, as_is

__all__ = [
    "BOUND",
    "estimate",
    "filtered",
    "last",
    "pack",
    "roles",
    "run",
    "scratch",
    "terms",
    "tile",
    "unpack",
]

Array = Any
unpack = as_is
BOUND = "|err| <= 2·(C+2)·eps·|Aᵀ|((|G||w|)⊙(|Bᵀ||x|)), C = {}"

# Bytes of transformed input and products at a time.
_CELLS = 4 * 2**20
# Tiles that one product should have at least: the kernel is read once for all of them.
_TILES = 192
_ALL = slice(None)


def last(p: Problem) -> bool:
    """Whether it takes channels last."""
    return True


def roles(p: Problem) -> tuple[str, ...]:
    """That of the forward product: of a kernel's gradient the bound would be weaker."""
    return ("y",)


def filtered(g: Sliding) -> int:
    """How many of the last axes are filtered: those of three neighbouring taps, at most two."""
    count = 0
    for s in reversed(g.spans[-2:]):
        if s.size != 3 or not s.unit:
            break
        count += 1
    return count


def terms(p: Problem) -> int:
    """C + 2 of the bound: C products summed in one transformed output."""
    depth = p.rows if p.role == "x" else p.depth
    return 2 + depth * prod(p.g.sizes[: p.g.rank - filtered(p.g)])


def _excess(p: Problem) -> float:
    """The bound for data of one size, over that of windows: each axis makes 3 terms 8."""
    return (8 / 3) ** filtered(p.g) * terms(p) / p.terms


def estimate(p: Problem, cost: Costs) -> Estimate | str:
    """Matrix products of the transformed operands, and their transforms."""
    count = filtered(p.g)
    if p.role != "y":
        return "used for the forward product only"
    if count == 0:
        return "filters three neighbouring taps only"
    tiles, cells = _tiles(p), 4**count
    flops = float(p.depth * p.rows * cells * tiles * prod(p.g.sizes[: p.g.rank - count]))
    loss = 1 + 8 / min(p.rows, 64) + 8 / min(p.depth, 64)
    # Passes over single points of x and y cost more where channels do not lie beside each other. A
    # compiler joins some.
    passes = (3 if p.traces else 6) if p.g.last else 9
    moved = passes * p.width * tiles * (1.5 * cells + 2**count) * (p.depth + p.rows)
    kernel = 3 * p.w_bytes * (4 / 3) ** count
    seconds = p.heavy * flops * loss / cost.gemm + (moved + kernel) / cost.stream
    excess = _excess(p)
    against = f"its error bound is {excess:.1f}× that of windows" if excess > 1 else ""
    bound = BOUND.format(terms(p) - 2)
    return Estimate(seconds + 60 * cost.call, flops, moved + kernel, bound, against=against)


def _tiles(p: Problem) -> int:
    """Tiles of all batch entries and groups, points of other axes counted."""
    count = filtered(p.g)
    lead = p.g.rank - count
    ends = prod(-(-n // 2) for n in p.g.out[lead:])
    return p.batch * p.g.groups * prod(s.length + s.low + s.high for s in p.g.spans[:lead]) * ends


def _most(g: Sliding, depth: int, rows: int, width: int, wide: int) -> int:
    """Rows of tiles whose transformed input and products stay in the cache."""
    count = filtered(g)
    lead = g.rank - count
    line = prod(s.length + s.low + s.high for s in g.spans[:lead])
    line *= prod(-(-n // 2) for n in g.out[lead + 1 :])
    least = _TILES // prod(-(-n // 2) for n in g.out[lead + 1 :])
    return max(1, least, _CELLS * wide // (width * 4**count * line * g.groups * (depth + rows)))


def scratch(p: Problem) -> int:
    """Transformed input and kernel, products, and the halves of transforms."""
    g, count = p.g, filtered(p.g)
    tiles = _tiles(p)
    if p.mutable:
        ends = -(-g.out[g.rank - count] // 2)
        most = _most(g, p.depth, p.rows, p.width, p.wide)
        chunk = min(p.batch, max(1, most // ends))
        tiles = tiles // p.batch * chunk * min(most, ends) // ends
    # A half of one pass, and with taps before the filtered axes a product to be added.
    found = p.width * tiles * 4**count * (2 * p.depth + 3 * p.rows)
    found *= 2 if p.traces else 1
    found += 2 * (p.x_bytes + p.y_bytes) if p.traces else 0
    return found + int(3 * p.w_bytes * (4 / 3) ** count)


def tile(p: Problem) -> tuple[int, int]:
    """Whatever the workspace allows: `run` goes by rows of tiles that fit the cache."""
    return 0, 0


Terms = Sequence[tuple[Array, Array, int]]


def _combined(be: Backend, terms: Terms, out: Array | None = None) -> Array:
    """a + b or a − b of every entry, along a new first axis."""
    if not be.in_place:
        found = [a + b if sign > 0 else a - b for a, b, sign in terms]
        return be.xp.stack(found, axis=0)
    like = terms[0][0]
    made = be.empty_like(like, (len(terms), *like.shape)) if out is None else out
    for i, (a, b, sign) in enumerate(terms):
        be.into("add" if sign > 0 else "subtract", made[i, ...], a, b)
    return made


def _cut(axis: int, cut: slice) -> tuple[slice, ...]:
    return (*[_ALL] * axis, cut)


def _ahead(d: Sequence[Array]) -> Terms:
    """Bᵀ d."""
    d0, d1, d2, d3 = d
    return [(d0, d2, -1), (d1, d2, 1), (d2, d1, -1), (d3, d1, -1)]


def _back(be: Backend, m: Array) -> Array:
    """Aᵀ m along the first axis."""
    m0, m1, m2, m3 = (m[i, ...] for i in range(4))
    found = _combined(be, [(m1, m2, 1), (m1, m2, -1)])
    if not be.in_place:
        return found + be.xp.stack([m0, m3], axis=0)
    be.into("add", found[0, ...], found[0, ...], m0)
    be.into("add", found[1, ...], found[1, ...], m3)
    return found


def _every(be: Backend, x: Array, axes: Sequence[int]) -> Array:
    """Bᵀ along the axes of tiles of x: (4, …, *x with one point per tile)."""
    for done, axis in enumerate(axes):
        at, count = done + axis, x.shape[done + axis] // 2 - 1
        cuts = [slice(i, i + 2 * (count - 1) + 1, 2) for i in range(4)]
        x = _combined(be, _ahead([x[(*_cut(at, c), ...)] for c in cuts]))
    # The last axis came first.
    order = (*range(len(axes) - 1, -1, -1), *range(len(axes), x.ndim))
    return be.xp.permute_dims(x, order)


class _Tiles:
    """Sizes of the problem in tiles, and the rearrangements between arrays and tiles.

    Channels first: (C, B, *lead, *tiles), else (B, *lead, *tiles, C), behind an axis of four for
    every filtered axis.
    """

    def __init__(self, be: Backend, g: Sliding) -> None:
        self.be, self.xp, self.g = be, be.xp, g
        self.count = filtered(g)
        self.lead = g.rank - self.count
        self.tiles = [-(-n // 2) for n in g.out[self.lead :]]
        # Whole tiles: points beyond the padding are zeros, and so are outputs beyond the last.
        spans = [
            replace(s, high=2 * t + 2 - s.length - s.low)
            for s, t in zip(g.spans[self.lead :], self.tiles, strict=True)
        ]
        self.whole = replace(g, spans=(*g.spans[: self.lead], *spans))
        self.at = 1 if g.last else 2
        self.axes = [self.at + self.lead + i for i in range(self.count)]
        # Axes of x or y with the channels in the place that products want.
        r = g.rank
        self.order = tuple(range(r + 2)) if g.last else (1, 0, *range(2, r + 2))

    def whole_x(self, x: Array) -> Array:
        """Bᵀ x of all tiles."""
        x = fitted(self.be, self.whole, x)
        return _every(self.be, self.xp.permute_dims(x, self.order), self.axes)

    def matrices(self, cells: Array, tap: Sequence[int]) -> Array:
        """(cells, G, C, N) of the outputs of a tap of the axes before; last: (cells, G, N, C)."""
        g, xp, n = self.g, self.xp, self.count
        if tap:
            lead = [s.placed(j) for s, j in zip(g.spans, tap, strict=False)]
            cells = cells[(*[_ALL] * (n + self.at), *lead, ...)]
        if not g.last:
            return xp.reshape(cells, (4**n, g.groups, cells.shape[n] // g.groups, -1))
        depth = cells.shape[-1] // g.groups
        cells = xp.reshape(cells, (4**n, prod(cells.shape[n:-1]), g.groups, depth))
        return xp.permute_dims(cells, (0, 2, 1, 3))

    def _body(self, m: Array, batch: int, ends: Sequence[int]) -> Array:
        """The products with the axes of y, `ends` tiles along those filtered."""
        g, xp, n = self.g, self.xp, self.count
        space = (*g.out[: self.lead], *ends)
        if g.last:  # (cells, G, N, R)
            m = xp.permute_dims(m, (0, 2, 1, 3))
            return xp.reshape(m, (*[4] * n, batch, *space, g.groups * m.shape[-1]))
        return xp.reshape(m, (*[4] * n, g.groups * m.shape[2], batch, *space))

    def write(self, m: Array, y: Array, entries: slice, first: int, last: int) -> None:
        """The products of rows of tiles into y."""
        be, xp, n = self.be, self.xp, self.count
        y = y[entries, ...]
        m = self._body(m, y.shape[0], (last - first, *(t + 1 for t in self.tiles[1:])))
        if n == 2:  # to (4, 2, …), the last axis first
            m = xp.permute_dims(_back(be, m), (1, 0, *range(2, m.ndim)))
        else:
            m = m[:, None, ...]
        ends = _combined(be, [(m[1, ...], m[2, ...], 1), (m[1, ...], m[2, ...], -1)])
        for half in product((0, 1), repeat=n):
            index = [_ALL] * y.ndim
            for axis, j in zip(self.axes, half, strict=True):
                index[axis] = slice(j, None, 2)
            index[self.axes[0]] = slice(2 * first + half[0], 2 * last, 2)
            place = xp.permute_dims(y[tuple(index)], self.order)
            within = tuple(slice(0, k) for k in place.shape)
            row, j = half[0] if n == 2 else 0, half[-1]
            be.into("add", place, ends[(j, row, *within)], m[(3 * j, row, *within)])

    def result(self, m: Array, batch: int) -> Array:
        """y from all products."""
        g, xp, n = self.g, self.xp, self.count
        y = self._body(m, batch, self.tiles)
        for i in range(n):
            others = [j for j in range(y.ndim) if j != i]
            y = _back(self.be, xp.permute_dims(y, (i, *others)))
        # (2, …, *body), the halves of the last axis first: halves of a tile beside each other.
        order: list[int] = [n] if g.last else [n + 1, n]
        first = n + len(order)
        order += range(first, first + self.lead)
        for i in range(n):
            order += [first + self.lead + i, n - 1 - i]
        order += range(first + self.lead + n, y.ndim)
        y = xp.permute_dims(y, order)
        channels = g.groups * m.shape[3] if g.last else g.groups * m.shape[2]
        space = (*g.out[: self.lead], *(2 * t for t in self.tiles))
        y = xp.reshape(y, (batch, *space, channels) if g.last else (batch, channels, *space))
        return y[(*[_ALL] * self.at, *(slice(0, k) for k in g.out), ...)]


class _Pieces:
    """Bᵀ x for some rows of tiles, in passes over long stretches of memory.

    Points of even and of odd numbers are laid apart first, zeros around them, and one point more
    than there are tiles along the last of two filtered axes, so that rows lie end to end.
    """

    def __init__(self, f: _Tiles, x: Array) -> None:
        self.be, self.count, self.axes = f.be, f.count, f.axes
        x = f.xp.permute_dims(x, f.order)
        self.batch = f.order.index(0)
        self.shape, self.place = list(x.shape), [_ALL] * x.ndim
        source = [_ALL] * x.ndim
        for axis, s in enumerate(f.g.spans[: f.lead], f.at):
            cut, (before, after) = s.kept
            end = before + cut.stop - cut.start
            self.shape[axis], source[axis] = end + after, cut
            self.place[axis] = slice(before, end)
        self.x = x[tuple(source)]
        # The points of either half, one pair more than there are tiles.
        pairs = [replace(s, size=2, stride=2) for s in f.whole.spans[f.lead :]]
        self.halves = [[pair.tap(j) for j in (0, 1)] for pair in pairs]
        for axis, tiles in zip(self.axes, f.tiles, strict=True):
            self.shape[axis] = tiles + 1

    def __call__(self, entries: slice, first: int, last: int) -> Array:
        """Of some batch entries and rows of tiles: (4, …, *body)."""
        shape, place = self.shape, self.place
        shape[self.axes[0]] = last + 1 - first
        shape[self.batch] = entries.stop - entries.start
        out = self.be.new_like(self.x, (*[2] * self.count, *shape))
        source = [_ALL] * self.x.ndim
        source[self.batch] = entries
        for i, (outputs, inputs) in enumerate(self.halves[0]):
            low, high = max(outputs.start, first), min(outputs.stop, last + 1)
            if high <= low:
                continue
            begin = inputs.start + 2 * (low - outputs.start)
            place[self.axes[0]] = slice(low - first, high - first)
            source[self.axes[0]] = slice(begin, begin + 2 * (high - low - 1) + 1, 2)
            if self.count == 1:
                out[(i, *place)] = self.x[tuple(source)]
                continue
            for j, (outer, inner) in enumerate(self.halves[1]):
                place[self.axes[1]], source[self.axes[1]] = outer, inner
                out[(i, j, *place)] = self.x[tuple(source)]
        return self._flat(out, last - first)

    def _flat(self, phases: Array, rows: int) -> Array:
        be, xp, n = self.be, self.be.xp, self.count
        shape, axis = phases.shape, n + self.axes[0]
        unit = prod(shape[n + self.axes[-1] + 1 :])
        if n == 2:
            # Along the last axis neighbours lie one unit apart, also across the ends of rows.
            flat = xp.reshape(phases, (2, 2, -1))
            even, odd = flat[:, 0, :], flat[:, 1, :]
            made = be.empty_like(flat, (4, 2, flat.shape[2]))
            size = flat.shape[2] - unit
            made[:, :, size:] = 0
            four = even[:, :size], odd[:, :size], even[:, unit:], odd[:, unit:]
            _combined(be, _ahead(four), made[:, :, :size])
            unit *= shape[axis + 1]
            phases = xp.permute_dims(made, (1, 0, 2))
        # Along the first one neighbours lie a row apart.
        phases = xp.reshape(phases, (2, *[4] * (n - 1), prod(shape[n:axis]), shape[axis] * unit))
        even, odd = phases[0, ...], phases[1, ...]
        low, high = slice(0, rows * unit), slice(unit, unit + rows * unit)
        terms = _ahead((even[..., low], odd[..., low], even[..., high], odd[..., high]))
        cells = _combined(be, terms)
        return xp.reshape(cells, (*[4] * n, *shape[n:axis], rows, *shape[axis + 1 :]))


def _taps(g: Sliding) -> list[tuple[int, ...]]:
    """Taps of the axes before those filtered."""
    return list(product(*(range(n) for n in g.sizes[: g.rank - filtered(g)])))


def pack(be: Backend, g: Sliding, w: Array) -> Array:
    """G w: (taps before, cells, G, O/G, C); channels last: (taps before, cells, G, C, O/G)."""
    xp, n, r = be.xp, filtered(g), g.rank
    # The filtered axes first.
    if g.last:
        w = xp.permute_dims(w, (*range(r - n, r), *range(r - n), r, r + 1))
    else:
        w = xp.permute_dims(w, (*range(r + 2 - n, r + 2), *range(2, r + 2 - n), 0, 1))
    for i in range(n):
        g0, g1, g2 = (w[(*_cut(i, slice(j, j + 1)), ...)] for j in range(3))
        ends, middle = (g0 + g2) * 0.5, g1 * 0.5
        w = xp.concat([g0, ends + middle, ends - middle, g2], axis=i)
    lead = w.shape[n:-2]
    w = xp.reshape(w, (4**n, prod(lead), *w.shape[-2:]))
    if g.last:
        w = xp.reshape(w, (*w.shape[:3], g.groups, w.shape[3] // g.groups))
        return xp.permute_dims(w, (1, 0, 3, 2, 4))
    w = xp.reshape(w, (*w.shape[:2], g.groups, w.shape[2] // g.groups, w.shape[3]))
    return xp.permute_dims(w, (1, 0, 2, 3, 4))


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """The product of role "y", in both layouts, by rows of tiles that fit the cache."""
    f, taps, batch = _Tiles(be, g), _taps(g), a.shape[0]
    if not be.in_place:
        return f.result(_products(be, f, f.whole_x(a), b, taps), batch)
    depth, rows = a.shape[-1 if g.last else 1] // g.groups, b.shape[-1 if g.last else -2]
    y = be.empty_like(a, g.y_shape(batch, g.groups * rows))
    part = _Pieces(f, a)
    most = _most(g, depth, rows, be.itemsize(a.dtype), be.wide(a))
    for entries, first, last in pieces(be, batch, f.tiles[0], most):
        m = _products(be, f, part(entries, first, last), b, taps)
        f.write(m, y, entries, first, last)
        del m  # before the next is made
    return y


def _products(be: Backend, f: _Tiles, cells: Array, w: Array, taps: list[tuple[int, ...]]) -> Array:
    """The products, summed over the taps of the axes before."""
    total: Any = None
    for j, tap in enumerate(taps):
        part = f.matrices(cells, tap)
        term = be.matmul(part, w[j, ...]) if f.g.last else be.matmul(w[j, ...], part)
        total = term if total is None else be.add_into(total, term)
    return total
