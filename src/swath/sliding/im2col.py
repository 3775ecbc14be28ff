"""The sliding product as matrix products with gathered windows.

A window of all channels becomes a column (channels first) or a row (channels last). With enough
channels only the taps of the inner axes are gathered: those of the first sliding axis read the same
columns, whole rows of outputs further on, so their products are views, added up::

    y[:, i] = Σ_j W_j · columns[:, i + j],      columns[(c, j'), p, p'] = x[c, p, s'·p' + d'·j']

and every input point is copied once for every inner tap only. A stride of that axis sorts its rows
by their remainder first. Columns are made for a slab of outputs at a time (see `plan`), never for
the whole input; a kernel of one tap needs none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, reduce
from itertools import pairwise
from math import prod
from typing import Any

from .._backends import Backend
from ..geometry import Sliding
from . import col2im
from .costs import Costs
from .problem import Estimate, Problem, Slabs, roughly, unframed
from .taps import fitted

__all__ = [
    "estimate",
    "exact",
    "frames",
    "last",
    "pack",
    "pieces",
    "roles",
    "run",
    "scratch",
    "shifting",
    "tile",
    "unpack",
]

Array = Any
Windows = list[tuple[int, Array]]
exact = roughly
frames = unframed

# Bytes of gathered windows at a time: near the caches until the product, which begins its threads
# seldom enough.
_COLUMNS = 2**22
# Bytes of a channel by itself that are padded and read at a time, and points of the first axis that
# they have for each of a window's at least.
_CHANNEL, _HALO = 2**21, 32
# Bytes whose multiples fall on the same lines of a first-level cache, or on few; bytes of a line.
_PAGE, _LINE = 2**10, 2**6
# Places that one product should have at least: the kernel is read once for all of them.
_PLACES = 1024
# Multiply-adds of a product up to which a library makes it in the thread that asks.
_SHARED = 2**18
# Bytes of windows and results from which on a thread gains that takes them, and kernels of so many
# parts that are kept until they are added up.
_ENOUGH, _TOGETHER = 2**18, 16
# Beginning a run of points, as a part of starting one array operation.
_RUN_CALLS = 0.0016
# Time of a product beside that of one of as many columns, of role "y" and of role "w", which reads
# and writes its small result for every piece.
_LOSS = {"y": 0.85, "w": 1.1}
# Terms that one product should sum: with fewer, adding up products costs more than copying taps.
_TERMS = 96


def last(p: Problem) -> bool:
    """Whether it takes channels last: few of a group are gathered one by one there."""
    return p.g.groups == 1 or p.depth >= 16


def roles(p: Problem) -> tuple[str, ...]:
    """Those of the forward product and of its kernel; that of the transpose where it pays."""
    if p.role == "x" and col2im.pays(p, sum(_gathered(q) for q in p.residues())):
        return ("y", "w", "x")
    return ("y", "w")


def shifting(g: Sliding, depth: int, wide: int) -> int:
    """Taps of the first axis that are views of the columns; 1 where all are gathered.

    On a GPU gathering costs less than the products that there are more of.
    """
    if wide > 1:
        return 1
    first, *rest = g.sizes
    return first if rest and depth * prod(rest) >= _TERMS else 1


def estimate(p: Problem, cost: Costs) -> Estimate | str:
    """Matrix products, and the copying of windows."""
    if p.role == "x":
        return col2im.estimate(p, cost)
    if p.traces:
        return _compiled(p, cost)
    shifts = shifting(p.g, p.depth, p.wide)
    gathered = p.width * _gathered(p)
    # Operands and result are read and written even where nothing is gathered.
    # Of one tap groups are laid out anew, those of entries side by side, and back.
    copies = (4 if p.taps == 1 < p.g.groups else 2) * (p.x_bytes + p.y_bytes)
    started = 0.0
    if p.taps > 1:
        run = _run(p)
        # Points of a stride are copied one by one. The threads of a GPU copy each by itself anyway.
        copies += (1.6 if run > 1 else 4) * gathered
        if p.wide == 1:
            started = gathered / p.width / (run if run > 1 else p.g.out[-1])
    if p.g.last and not last(p):
        # Channels are brought to the front, point by point.
        copies += 4 * p.x_bytes
    added = 3 * (shifts - 1) * p.y_bytes if p.role == "y" else 0
    calls = 14
    if _plain(p):
        # One product of matrices, of which x lies in memory unless points are left out.
        copies, calls = p.width * p.places * p.depth + p.y_bytes, 4
        if not p.g.strideless:
            copies, calls = 2 * copies, 5
    inner = p.depth * p.taps // shifts
    if p.wide == p.g.groups == 1 < p.rows:
        loss = _LOSS[p.role] * p.narrow.loss(inner, p.rows)
    else:
        # Products of few rows, or sums of few terms; those of groups are many small ones.
        few = 8 if p.wide > 1 else 16
        loss = 1 + few / min(p.rows, 64) + few / inner
    seconds = p.heavy * p.flops * loss / cost.gemm
    seconds += copies / cost.gather + added / cost.stream
    calls += _RUN_CALLS * started
    return Estimate(seconds + calls * cost.call, p.flops, copies + added)


def _run(p: Problem) -> int:
    """Points of gathered windows that lie side by side in x too."""
    span = p.g.spans[-1]
    if p.g.last and last(p):
        return p.g.groups * p.depth * (span.size if span.dilation == p.g.groups == 1 else 1)
    return span.out if span.stride == 1 else 1


def _plain(p: Problem) -> bool:
    """Whether points of x, all their channels in a row, become those of y one by one."""
    g = p.g
    padded = any(s.low or s.high for s in g.spans)
    return p.taps == g.groups == 1 and p.role == "y" and g.last and not padded


def _compiled(p: Problem, cost: Costs) -> Estimate:
    """As a compiler does it, without strided views (measured under XLA on a processor)."""
    shifts = shifting(p.g, p.depth, p.wide)
    # Windows are gathered by index, best where channels are runs.
    passes = 0 if p.taps == 1 else 2 if p.g.last or (p.single and p.g.rank == 1) else 3
    moved = passes * p.width * _gathered(p)
    moved += 2 * (p.x_bytes + p.y_bytes) if p.g.last and not last(p) else 0
    added = (0.5 if p.taps == 1 else 1.0) * (p.x_bytes + p.y_bytes)
    added += 8 * (shifts - 1) * p.y_bytes if p.role == "y" else 0
    loss = (2.5 if p.role == "w" else 1) + 8 / min(p.rows, 64) + 32 / (p.depth * p.taps / shifts)
    if p.g.groups > 1:
        # Small as they are, they lose no more.
        loss = 1.0
    seconds = p.dense * p.flops * loss / cost.gemm
    moved += p.w_bytes
    seconds += moved / cost.gather + added / cost.stream + 16 * cost.call
    return Estimate(seconds, p.flops, moved + added)


def _gathered(p: Problem) -> int:
    """Points of all gathered windows."""
    g, shifts = p.g, shifting(p.g, p.depth, p.wide)
    if shifts == 1:
        return p.places * p.depth * p.taps
    first = g.spans[0]
    rows = first.out + (first.extent - 1) // first.stride
    remainders = len({first.dilation * j % first.stride for j in range(shifts)})
    return p.places // max(1, first.out) * rows * remainders * p.depth * (p.taps // shifts)


def _most(g: Sliding, depth: int, rows: int, width: int, wide: int) -> int:
    """Points of the first axis whose windows and results stay in the cache."""
    taps = prod(g.sizes)
    if taps == 1:
        # Channels last the points of a whole batch are the rows of one matrix.
        return g.out[0] * (2**31 if g.last and g.groups == 1 else 1)
    line, inner = g.groups * (depth * taps // shifting(g, depth, wide) + 2 * rows), prod(g.out[1:])
    return max(1, _PLACES // inner, _COLUMNS * wide // (width * inner * line))


def scratch(p: Problem) -> int:
    """The windows, operands in the order of a product, and products that are added up."""
    g, q = p.g, p
    if p.role == "x":
        return col2im.scratch(p)
    shifts = shifting(g, p.depth, p.wide)
    shared = p.mutable and p.wide == 1 and _shared(g, p.depth, p.rows, p.width) > 0
    if p.mutable:
        # Eight threads take a quarter each.
        most = (2 if shared else 1) * _most(g, p.depth, p.rows, p.width, p.wide)
        q = p.slab(Slabs(min(p.batch, max(1, most // g.out[0])), min(most, g.out[0])))
    # Groups of channels that lie apart are gathered before they are joined.
    copies = 0 if p.taps == 1 else 2 if g.last and g.groups > 1 else 1
    terms = max(2, shifts) if p.traces else 3
    whole = p.mutable and p.role == "y" and _one(g, p.batch, shifts) and q.places == p.places
    if whole and p.taps == 1 and g.strideless:
        # The product is the result.
        terms = 0
    found = copies * p.width * _gathered(q) + p.x_bytes + terms * q.y_bytes + 2 * p.w_bytes
    kept = _TOGETHER if shared else 2
    return found + (kept * p.w_bytes + q.y_bytes if p.role == "w" else 0)


def tile(p: Problem) -> tuple[int, int]:
    """Of single channels what is padded and read, beside what fits the cache.

    Else whatever the workspace allows: `run` goes by stretches of columns that fit.
    """
    first = p.g.spans[0]
    least = _HALO * first.extent
    # Stretches of large volumes fit no cache.
    fits = least * p.x_bytes // (p.batch * first.length) <= 4 * _CHANNEL
    if p.role != "y" or p.depth > 1 or p.points <= least or not fits:
        return 0, 0
    return p.x_bytes, _CHANNEL * p.wide


def _windows(be: Backend, g: Sliding, x: Array, shifts: int) -> Windows:
    """For every shift how many rows it is away, and the windows that it reads: views of x.

    (B, C, *K', rows, …), channels last (B, rows, …, *K', C), where the library has views.
    """
    r = g.rank
    at = 1 if g.last else 2
    axes, first = tuple(range(at, at + r)), g.spans[0]
    if shifts == 1:
        sizes, strides = g.sizes, [s.stride for s in g.spans]
        places = [(0, 0)]
    else:
        sizes, strides = (1, *g.sizes[1:]), [1, *(s.stride for s in g.spans[1:])]
        places = [divmod(first.dilation * j, first.stride) for j in range(shifts)]
    made: dict[int, Array] = {}
    for remainder in {r for _, r in places}:
        part = x
        if shifts > 1:
            rows = first.out + max(q for q, r in places if r == remainder)
            stop = remainder + first.stride * (rows - 1) + 1
            part = x[(*[slice(None)] * at, slice(remainder, stop, first.stride), ...)]
        if prod(sizes) == 1:
            cuts = [slice(0, n, s) for n, s in zip(part.shape[at : at + r], strides, strict=True)]
            made[remainder] = part[(*[slice(None)] * at, *cuts, ...)]
            continue
        found = be.windows(part, sizes, strides, [s.dilation for s in g.spans], axes)
        inner = range(r + 2, 2 * r + 2)
        # The last runs of a window are contiguous in x.
        order = (0, *axes, *inner, r + 1) if g.last else (0, 1, *inner, *axes)
        made[remainder] = be.permute(found, order)
    return [(q, made[r]) for q, r in places]


def _moved(be: Backend, a: Array, axis: int, to: int) -> Array:
    """An axis in another place; PyTorch cannot batch its own `moveaxis`."""
    order = [i for i in range(a.ndim) if i != axis]
    order.insert(to, axis)
    return be.permute(a, tuple(order))


def _columns(
    be: Backend, g: Sliding, found: Array, entries: slice, rows: slice, *, shifts: bool
) -> Array:
    """Some windows as (G, C·K', P), channels last (G, P, K'·C).

    P runs over entries of the batch, then rows; the other way round where other taps read the same
    columns rows further on.
    """
    if g.last:
        found = found[entries, rows, ...]
        if shifts:
            found = _moved(be, found, 1, 0)
        places, depth = prod(found.shape[: g.rank + 1]), found.shape[-1] // g.groups
        if g.groups == 1:
            return be.reshape(found, (1, places, -1))
        found = be.reshape(found, (places, -1, g.groups, depth))
        return be.reshape(be.permute(found, (2, 0, 1, 3)), (g.groups, places, -1))
    at = found.ndim - g.rank
    found = found[(entries, *[slice(None)] * (at - 1), rows, ...)]
    # (B, C, *K', rows, …) -> (C, *K', B, rows, …) or (C, *K', rows, B, …)
    found = _moved(be, found, 0, at if shifts else at - 1)
    places = prod(found.shape[at - 1 :])
    return _spaced(be, found, (g.groups, prod(found.shape[: at - 1]) // g.groups, places))


def _spaced(be: Backend, a: Array, shape: tuple[int, ...]) -> Array:
    """A copy of a as matrices, whose rows do not begin at the same place of their pages.

    A BLAS that reads down such columns finds them all in the same few lines of the cache.
    """
    width = be.itemsize(a.dtype)
    if not be.mutable or be.wide(a) > 1 or width * shape[-1] % _PAGE:
        return be.reshape(a, shape)
    out = be.empty_like(a, (*shape[:-1], shape[-1] + _LINE // width))[..., : shape[-1]]
    be.reshape(out, a.shape)[...] = a
    return out


def pack(be: Backend, g: Sliding, w: Array) -> Array:
    """w as (shifts, G, O/G, D·K'); channels last: (shifts, G, K'·D, O/G)."""
    if g.last:
        depth, rows = w.shape[-2], w.shape[-1] // g.groups
        w = be.reshape(w, (shifting(g, depth, be.wide(w)), -1, g.groups, rows))
        return be.permute(w, (0, 2, 1, 3))
    depth = w.shape[1]
    w = be.reshape(w, (w.shape[0], depth, shifting(g, depth, be.wide(w)), -1))
    w = be.permute(w, (2, 0, 1, 3))
    # A BLAS takes no kernel that is read backwards.
    return be.packed(be.reshape(w, (w.shape[0], g.groups, w.shape[1] // g.groups, -1)))


def unpack(be: Backend, g: Sliding, w: Array, sizes: tuple[int, int]) -> Array:
    """The inverse of `pack`."""
    rows, depth = sizes
    if g.last:
        w = be.permute(w, (0, 2, 1, 3))
    else:
        w = be.reshape(w, (w.shape[0], g.groups * rows, depth, -1))
        w = be.permute(w, (1, 2, 0, 3))
    return be.reshape(w, g.w_shape(g.groups * rows, depth))


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """The product of a role, both layouts, by stretches that fit the cache."""
    if role == "x":
        return _spread(be, g, a, b)
    batch = a.shape[0]
    depth = a.shape[-1 if g.last else 1] // g.groups
    last, packed = (-1, b.shape[-1]) if g.last else (1, b.shape[-2])
    rows = b.shape[last] // g.groups if role == "w" else packed
    total: Any = None
    out: Any = None
    shifts, parts = _parts(
        be, g, batch, depth, rows, be.itemsize(a.dtype), be.wide(a), mutable=be.mutable
    )
    x = fitted(be, g, a)
    if not g.last and prod(g.sizes) > 1:
        # Channels that lie beside each other would be gathered point by point, once for every tap.
        x = be.packed(x)
    windows = _windows(be, g, x, shifts)
    if role == "y" and len(parts) == 1 and _one(g, batch, shifts):
        return _at_once(be, g, windows[0][1], b)
    if be.shares and (several := _several(be, g, batch, depth, rows, be.itemsize(a.dtype))):
        return _side_by_side(be, role, g, windows, several, (a, b), (batch, rows))
    for entries, low, high in parts:
        here = _place(g, entries, low, high)
        if role == "w":
            found = _kernels(be, g, windows, entries, low, high, b[here])
            total = found if total is None else be.add_into(total, found)
            continue
        value = _sums(be, g, windows, entries, low, high, b)
        if entries.stop - entries.start == batch and high - low == g.out[0]:
            return value
        if out is None:
            out = be.empty_like(value, g.y_shape(batch, rows * g.groups))
        out[here] = value
    return total if role == "w" else out


def _place(g: Sliding, entries: slice, low: int, high: int) -> tuple[Any, ...]:
    """Where outputs low … high−1 of some batch entries lie."""
    cut = slice(low, high)
    return (entries, cut, ...) if g.last else (entries, slice(None), cut, ...)


@lru_cache(maxsize=4096)
def _several(
    be: Backend, g: Sliding, batch: int, depth: int, rows: int, width: int
) -> list[tuple[slice, int, int]]:
    """Parts for threads to share; none where there are not several."""
    most = _shared(g, depth, rows, width)
    parts = list(pieces(be, batch, g.out[0], most)) if most else []
    return parts if len(parts) > 1 else []


def _shared(g: Sliding, depth: int, rows: int, width: int) -> int:
    """Points of the first axis of a part where one thread makes its products; 0 where several do.

    Products of more multiply-adds are shared by the library, whose threads ours would wait for.
    """
    taps = prod(g.sizes)
    # Where little but the product is computed a thread takes as long to begin as it saves.
    if g.rank == 1 or (g.groups > 1) + g.last + (taps > 1) < 2:
        return 0
    terms, inner = depth * taps // shifting(g, depth, 1), prod(g.out[1:])
    line = width * g.groups * (terms + 2 * rows) * inner
    most = min(_COLUMNS // 4 // line, _SHARED // (rows * terms * inner))
    return most if most * line >= _ENOUGH else 0


def _side_by_side(
    be: Backend,
    role: str,
    g: Sliding,
    windows: Windows,
    parts: Sequence[tuple[slice, int, int]],
    operands: tuple[Array, Array],
    sizes: tuple[int, int],
) -> Array:
    """The product of a role, each of the parts in a thread."""
    a, b = operands
    if role == "w":

        def kernels(i: int) -> Array:
            entries, low, high = parts[i]
            return _kernels(be, g, windows, entries, low, high, b[_place(g, *parts[i])])

        total: Any = None
        for i in range(0, len(parts), _TOGETHER):
            found = be.results(kernels, range(i, min(i + _TOGETHER, len(parts))))
            total = reduce(be.add_into, found if total is None else [total, *found])
        return total
    batch, rows = sizes
    out = be.empty_like(a, g.y_shape(batch, rows * g.groups))

    def one(_: None, part: tuple[slice, int, int]) -> None:
        entries, low, high = part
        out[_place(g, *part)] = _sums(be, g, windows, entries, low, high, b)

    be.each(parts, lambda: None, one)
    return out


def _spread(be: Backend, g: Sliding, w: Array, y: Array) -> Array:
    """The transpose, by columns that are added up."""
    shifts, groups = w.shape[:2]
    taps = prod(g.sizes)
    if g.last:  # (shifts, G, K'·D, O/G)
        depth, rows = w.shape[2] * shifts // taps, w.shape[3]
        w = be.permute(w, (1, 0, 2, 3))
    else:  # (shifts, G, O/G, D·K')
        depth, rows = w.shape[3] * shifts // taps, w.shape[2]
        w = be.permute(be.reshape(w, (shifts, groups, rows, depth, -1)), (1, 0, 4, 3, 2))
    most = col2im.most(g, depth, rows, be.itemsize(y.dtype))
    parts = pieces(be, y.shape[0], g.out[0], most)
    return col2im.run(be, g, be.reshape(w, (groups, taps * depth, rows)), y, parts)


@lru_cache(maxsize=4096)
def _parts(
    be: Backend,
    g: Sliding,
    batch: int,
    depth: int,
    rows: int,
    width: int,
    wide: int,
    *,
    mutable: bool,
) -> tuple[int, list[tuple[slice, int, int]]]:
    """Taps that are views, and what is computed at a time; `mutable` as the library is now."""
    most = _most(g, depth, rows, width, wide) if mutable else 0
    return shifting(g, depth, wide), list(pieces(be, batch, g.out[0], most))


def _one(g: Sliding, batch: int, shifts: int) -> bool:
    """Whether outputs that are computed together are one product, in their order."""
    return shifts == g.groups == 1 and (g.last or batch == 1)


def _at_once(be: Backend, g: Sliding, found: Array, w: Array) -> Array:
    """All outputs in one product, without groups, of one batch entry or channels last."""
    if g.last:
        batch = found.shape[0]
        out = be.matmul(be.reshape(found, (batch * prod(g.out), -1)), w[0, 0, ...])
        return be.reshape(out, (batch, *g.out, w.shape[-1]))
    out = be.matmul(w[0, 0, ...], be.reshape(found, (-1, prod(g.out))))
    return be.reshape(out, (1, w.shape[2], *g.out))


def _sums(
    be: Backend, g: Sliding, windows: Windows, entries: slice, low: int, high: int, w: Array
) -> Array:
    """Outputs low … high−1 of some batch entries."""
    total: Any = None
    for j, part in enumerate(_shifted(be, g, windows, entries, low, high)):
        term = be.matmul(part, w[j, ...]) if g.last else be.matmul(w[j, ...], part)
        total = term if total is None else be.add_into(total, term)
    return _signal(be, g, total, entries.stop - entries.start, high - low, shifts=len(windows) > 1)


def _kernels(
    be: Backend, g: Sliding, windows: Windows, entries: slice, low: int, high: int, y: Array
) -> Array:
    """Σ over some places for every shift: (shifts, G, O/G, C·K'), last (shifts, G, K'·C, O/G)."""
    y = _matrix(be, g, y, shifts=len(windows) > 1)
    found = []
    for part in _shifted(be, g, windows, entries, low, high):
        turned = be.xp.matrix_transpose(part)
        found.append(be.matmul(turned, y) if g.last else be.matmul(y, turned))
    return be.xp.stack(found, axis=0)


def _matrix(be: Backend, g: Sliding, y: Array, *, shifts: bool) -> Array:
    """A piece of y as (G, O/G, P), channels last (G, P, O/G); P as of the columns."""
    if g.last:
        y = _moved(be, y, 1, 0) if shifts else y
        return be.permute(be.reshape(y, (-1, g.groups, y.shape[-1] // g.groups)), (1, 0, 2))
    y = _moved(be, y, 0, 2 if shifts else 1)
    shape = (g.groups, y.shape[0] // g.groups, prod(y.shape[1:]))
    return be.reshape(y, shape) if y.shape[2 if shifts else 1] == 1 else _spaced(be, y, shape)


def _signal(be: Backend, g: Sliding, value: Array, batch: int, rows: int, *, shifts: bool) -> Array:
    """The inverse of `_matrix`."""
    places = (rows, batch) if shifts else (batch, rows)
    if g.last:
        value = be.reshape(be.permute(value, (1, 0, 2)), (*places, *g.out[1:], -1))
        return _moved(be, value, 0, 1) if shifts else value
    return _moved(be, be.reshape(value, (-1, *places, *g.out[1:])), 2 if shifts else 1, 0)


def _shifted(
    be: Backend, g: Sliding, windows: Windows, entries: slice, low: int, high: int
) -> list[Array]:
    """Columns of outputs low … high−1 of every shift."""
    if len(windows) == 1:
        return [_columns(be, g, windows[0][1], entries, slice(low, high), shifts=False)]
    line = prod(g.out[1:]) * (entries.stop - entries.start)
    # The last tap of each remainder reaches furthest.
    reach = {id(found): q for q, found in windows}
    made: dict[int, Array] = {}
    columns = []
    for q, found in windows:
        key = id(found)
        if key not in made:
            rows = slice(low, high + reach[key])
            made[key] = _columns(be, g, found, entries, rows, shifts=True)
        cut = slice(q * line, (q + high - low) * line)
        columns.append(made[key][:, cut, :] if g.last else made[key][..., cut])
    return columns


def pieces(be: Backend, batch: int, points: int, most: int) -> Iterator[tuple[slice, int, int]]:
    """Batch entries and stretches of the first axis of about `most` points each.

    All at once where arrays cannot be written in place: nothing is held in a cache by hand there.
    """
    if not be.mutable:
        yield slice(0, batch), 0, points
        return
    chunk = min(batch, max(1, most // points))
    count = -(-points // most)
    ends = [points * i // count for i in range(count + 1)]
    for entry in range(0, batch, chunk):
        for first, last in pairwise(ends):
            yield slice(entry, min(entry + chunk, batch)), first, last
