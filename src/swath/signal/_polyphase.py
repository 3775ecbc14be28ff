"""Resampling by a rational factor as matrix products: filter, raise and lower the rate at once.

With the rates up = p and down = q::

    y[i] = Σ_k h[q·i + c − p·k] · x[k]

n outputs in a row, n = p·R, read a window of x that moves by q·R points from one row of outputs to
the next. So x is laid out in frames of q·R points, and a row of outputs is one product of a few
neighbouring frames with a matrix whose column j is every p-th tap, from tap q·j + c on: no zero
between samples is ever multiplied, and every size is chosen to fill a matrix product. The matrix is
sparse only where the window moves on within a row; rows that move far are computed in groups. Long
signals go slab by slab, a slab being some rows of outputs, so that frames are never all laid out.

The sum is one trilinear form of x, h and a cotangent of y; the core of y computes the one of x too,
with the rates exchanged and the taps reversed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from .. import _ops
from .._backends import Backend
from ..autodiff import apply
from ..division import Along, Cuts, Division, Piece, whole
from ..geometry import Sliding, Span
from ..primitives import overlap_add
from ..settings import current_workspace
from ..sliding import correlate, plan
from ..sliding.product import Trilinear
from ..sliding.slabs import within

__all__ = ["inner", "points_read", "polyphase"]

# Outputs in a row, and points between rows, below which a product does not fill BLAS.
_LEAST = 32
# Points between rows beyond which longer ones gain nothing.
_MOST = 128
# Groups of one row at most: each is a product of its own in a compiled program.
_GROUPS = 16
# Bytes of signal and outputs that a slab reads and writes, where the result is written in place.
_SLAB = 2**22
# A compiled program keeps a slab in a few orders (XLA, measured: 1 to 1.4, of gradients up to 3).
_COPIES = 4


@dataclass(frozen=True)
class _Group:
    """Outputs `first` … first+rows−1 of every row.

    Its windows of `size` points start at `start` for row 0; `frames` frames hold one.
    """

    first: int
    rows: int
    start: int
    size: int
    frames: int
    hop: int

    @property
    def depth(self) -> int:
        return self.size if self.frames == 1 else self.hop


@dataclass(frozen=True)
class _Rows:
    """All outputs: `count` rows of `n` in groups, and the stretch of x that they read."""

    n: int
    count: int
    groups: tuple[_Group, ...]
    start: int
    length: int


def points_read(taps: int, up: int, down: int, offset: int, count: int) -> tuple[int, int]:
    """The first and the last point of x that any of the outputs 0 … count−1 reads."""
    return -((taps - 1 - offset) // up), (down * (count - 1) + offset) // up


@lru_cache(maxsize=1024)
def _rows(taps: int, p: int, q: int, offset: int, count: int) -> _Rows:
    branch = -(-taps // p)
    repeats = max(-(-_LEAST // p), -(-min(max(branch, _LEAST), _MOST) // q))
    repeats = max(1, min(repeats, -(-count // p)))
    n, hop = min(p * repeats, count), q * repeats
    rows = -(-count // n)
    # A window grows by q / p points with every output; beyond twice the taps it is mostly zeros.
    wide = max(branch, _LEAST, 64)
    step = n
    if branch + n * q // p > 2 * wide:
        step = min(n, max(wide * p // q, _LEAST, -(-n // _GROUPS)))
        step = -(-n // -(-n // step))
    groups = []
    for first in range(0, n, step):
        last = min(first + step, n) - 1
        start = -((taps - 1 - offset - first * q) // p)
        size = max(start, (last * q + offset) // p) - start + 1
        # A single row needs no second frame.
        own = max(hop, size) if rows == 1 else hop
        groups.append(_Group(first, last - first + 1, start, size, -(-size // own), own))
    start = groups[0].start
    ends = [
        g.start + (rows - 1) * g.hop + (g.size if rows == 1 else g.frames * g.hop) for g in groups
    ]
    return _Rows(n, rows, tuple(groups), start, max(ends) - start)


def inner(taps: int, up: int, down: int, offset: int, length: int) -> tuple[int, int]:
    """First output and number of outputs in whole rows whose frames lie within `length` points.

    (0, 0) where there are but few.
    """
    first = max(0, -((up + offset - taps) // down))
    begin = points_read(taps, up, down, offset + down * first, 1)[0]
    count = ((length - begin) * up) // down
    if up == down == 1:
        return first, max(0, length - begin - taps + 1)
    if count < 1:
        return 0, 0
    plan = _rows(taps, up, down, offset + down * first - up * begin, count)
    hop = plan.groups[0].hop
    rows = (length - begin - plan.length + plan.count * hop) // hop
    return (first, rows * plan.n) if plan.count > 1 and rows > 1 else (0, 0)


@dataclass(frozen=True)
class Rate:
    """y[b, g·R + r, i] = Σ_d Σ_k h[g·R + r, d, q·i + c − p·k] · x[b, g·D + d, k].

    x is (B, G·D, length) and 0 outside, h (G·R, D, taps), y (B, G·R, count); p is `up`, q `down`, c
    `offset` and G `groups`. p and q have no common divisor.
    """

    length: int
    taps: int
    up: int
    down: int
    offset: int
    count: int
    groups: int = 1
    last: bool = False

    def turned(self) -> Rate:
        """The transpose: x from y and the reversed taps."""
        return replace(
            self,
            length=self.count,
            up=self.down,
            down=self.up,
            offset=self.taps - 1 - self.offset,
            count=self.length,
        )

    @property
    def rows(self) -> _Rows:
        """How the outputs are laid out."""
        return _rows(self.taps, self.up, self.down, self.offset, self.count)


@dataclass(frozen=True)
class _Slabs:
    """Batch entries and rows of outputs at a time."""

    chunk: int
    rows: int


def _fit(be: Backend, g: Rate, batch: int, each: int, x: Any) -> _Slabs:
    """Slabs whose scratch stays within the workspace; `each` counts the channels of x and y.

    Everything at once where results cannot be written into place, or the plan alone is wanted.
    """
    layout = g.rows
    whole = _Slabs(batch, layout.count)
    if plan.capturing() or not (be.mutable or be.traces):
        return whole
    width = be.itemsize(x.dtype) * each
    row = width * max(layout.n, layout.groups[0].hop)
    budget = current_workspace(width * batch * max(g.length, g.count))
    # Beside a slab of x and y lie its frames and their products.
    budget = budget // _COPIES if be.traces else min(budget // 2, _SLAB * be.wide(x))
    if batch * layout.count * row <= budget:
        return whole
    if layout.count * row <= budget:
        counts = range(min(batch, budget // (layout.count * row)), 0, -1)
        return _Slabs(next(n for n in counts if be.mutable or batch % n == 0), layout.count)
    # As few as fit, of equal length: the last of a compiled loop repeats what it has too much.
    count = -(-layout.count // max(1, budget // row))
    return _Slabs(1, -(-layout.count // count))


class _Resampling(Trilinear):
    def divide(self, geometry: Rate, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        """Batch and time are cut, channels are not; gradients of h are sums."""
        g, of = geometry, dict(zip(self.operands, shapes, strict=True))

        def read(g: Rate, cut: slice) -> tuple[slice, Rate]:
            """The stretch of the operand that outputs read, and their rate."""
            count = cut.stop - cut.start
            low, high = points_read(g.taps, g.up, g.down, g.offset + g.down * cut.start, count)
            at = slice(min(max(low, 0), g.length), max(min(high + 1, g.length), 0))
            at = slice(at.start, max(at.start, at.stop))
            offset = g.offset + g.down * cut.start - g.up * at.start
            return at, replace(g, length=at.stop - at.start, offset=offset, count=count)

        def every(cuts: Cuts, letter: str, time: slice) -> Cuts:
            return (cuts[0], slice(0, of[letter][1]), time)

        if self.role == "x":

            def spread(cuts: Cuts) -> Piece:
                at, turned = read(g.turned(), cuts[2])
                return Piece(turned.turned(), (whole(of["w"]), every(cuts, "y", at)))

            shape = (of["y"][0], g.groups * of["w"][1], g.length)
            return Division(shape, (Along(1, 0), None, Along(1, 2, g.down, g.up)), spread)
        if self.role == "w":

            def term(cuts: Cuts) -> Piece:
                at, inner = read(g, cuts[2])
                return Piece(inner, (every(cuts, "x", at), cuts))

            shape = (of["y"][1], of["x"][1] // g.groups, g.taps)
            return Division(shape, (Along(1, 0), None, Along(1, 2)), term, of["y"])

        def window(cuts: Cuts) -> Piece:
            at, inner = read(g, cuts[2])
            return Piece(inner, (every(cuts, "x", at), whole(of["w"])))

        shape = (of["x"][0], of["w"][0], g.count)
        return Division(shape, (Along(0, 0), None, Along(0, 2, g.up, g.down)), window)

    def forward(self, be: Backend, geometry: Rate, *arrays: Any) -> Any:
        a, b = arrays
        if self.role == "y":
            return _resampled(be, geometry, a, b)
        if self.role == "x":
            return _resampled(be, geometry.turned(), b, _turned(be, geometry.groups, a))
        return _tap_gradient(be, geometry, a, b)


def _turned(be: Backend, groups: int, h: Any) -> Any:
    """h (G·R, D, K) to (G·D, R, K), taps reversed."""
    xp, (_, depth, taps) = be.xp, h.shape
    h = xp.reshape(xp.flip(h, axis=2), (groups, -1, depth, taps))
    return xp.reshape(xp.permute_dims(h, (0, 2, 1, 3)), (groups * depth, -1, taps))


def _resampled(be: Backend, g: Rate, x: Any, h: Any) -> Any:
    if not plan.capturing():
        y = be.native_resample(g, x, h)
        if y is not None:
            return y
    xp, batch, filters, layout = be.xp, x.shape[0], h.shape[0], g.rows
    slabs = _fit(be, g, batch, x.shape[1] + filters, x)

    def block(group: _Group, table: Any, x: Any, rows: int) -> Any:
        """A group's outputs in `rows` rows, of the stretch of x that they read."""
        y = plan.run(be, "y", *_frames(be, g, group, x, rows), table)
        y = xp.reshape(y, (x.shape[0], rows, filters, group.rows))
        return xp.permute_dims(y, (0, 2, 1, 3))

    def joined(tables: Callable[[_Group], Any], x: Any, rows: int) -> Any:
        parts = [block(group, tables(group), x, rows) for group in layout.groups]
        y = xp.concat(parts, axis=3) if len(parts) > 1 else parts[0]
        return xp.reshape(y, (x.shape[0], filters, rows * layout.n))

    if be.traces or (slabs.chunk >= batch and slabs.rows >= layout.count):
        full = layout.count - bool(g.count % layout.n)
        if slabs.chunk >= batch and slabs.rows >= full:
            part = _stretch(be, x, layout.start, layout.length)
            # One matrix at a time.
            y = joined(lambda group: _matrix(be, h, g, group), part, layout.count)
            return y[:, :, : g.count]
        tables = {group: _matrix(be, h, g, group) for group in layout.groups}.__getitem__

        def body(entry: Any, first: Any, new: Any, out: Any) -> Any:
            del new
            y = joined(tables, _part(be, g, x, slabs, full, entry, first), slabs.rows)
            return be.put_slab(out, y, (entry, 0, first * layout.n))

        out = be.new_like(x, (batch, filters, g.count), dtype=x.dtype)
        if full < layout.count:
            # Before the loop, whose result is then the output itself.
            rest = joined(tables, _stretch(be, x, *_place(layout, full, 1)), 1)
            rest = rest[:, :, : g.count - full * layout.n]
            out = be.put_slab(out, rest, (0, 0, full * layout.n))
        return _compiled(be, slabs, batch, full, body, out)
    out = be.new_like(x, (batch, filters, layout.count, layout.n), dtype=x.dtype)
    for group in layout.groups:
        table = _matrix(be, h, g, group)
        columns = slice(group.first, group.first + group.rows)
        for entries, first, rows in _each(slabs, batch, layout.count):
            part = _stretch(be, x[entries, ...], *_place(layout, first, rows))
            out[entries, :, first : first + rows, columns] = block(group, table, part, rows)
    return xp.reshape(out, (batch, filters, -1))[:, :, : g.count]


def _tap_gradient(be: Backend, g: Rate, x: Any, y: Any) -> Any:
    taps = None
    for group in g.rows.groups:
        table = _table_gradient(be, g, group, x, y)
        term = _matrix_back(be, g, group, table, x.shape[1] // g.groups)
        taps = term if taps is None else taps + term
    return taps


def _table_gradient(be: Backend, g: Rate, group: _Group, x: Any, y: Any) -> Any:
    """The gradient of a group's matrix."""
    xp, batch, filters, layout = be.xp, x.shape[0], y.shape[1], g.rows
    slabs = _fit(be, g, batch, x.shape[1] + filters, x)

    def block(x: Any, y: Any, rows: int) -> Any:
        y = xp.reshape(y, (y.shape[0], filters, rows, layout.n))
        y = xp.permute_dims(y[..., group.first : group.first + group.rows], (0, 2, 1, 3))
        y = xp.reshape(y, (y.shape[0], rows, -1))
        return plan.run(be, "w", *_frames(be, g, group, x, rows), y)

    if slabs.chunk >= batch and slabs.rows >= layout.count:
        part = _stretch(be, x, layout.start, layout.length)
        return block(part, _stretch(be, y, 0, layout.count * layout.n), layout.count)
    if not be.traces:
        total = None
        for entries, first, rows in _each(slabs, batch, layout.count):
            part = _stretch(be, x[entries, ...], *_place(layout, first, rows))
            term = block(
                part, _stretch(be, y[entries, ...], first * layout.n, rows * layout.n), rows
            )
            total = term if total is None else be.add_into(total, term)
        return total

    def body(entry: Any, first: Any, new: Any, total: Any) -> Any:
        width = slabs.rows * layout.n
        part = be.slab(y, 0, entry, slabs.chunk) if slabs.chunk < batch else y
        last = (layout.count - slabs.rows) * layout.n
        part = within(be, part, 2, first * layout.n, width, 0, last)
        # Rows that the slab before has had do not count again.
        row = be.arange(slabs.rows, y, be.default_int(y)) + first
        row = xp.reshape(xp.broadcast_to(row[:, None], (slabs.rows, layout.n)), (width,))
        part = xp.where(row >= new, part, xp.zeros_like(part))
        return total + block(_part(be, g, x, slabs, layout.count, entry, first), part, slabs.rows)

    shape = (group.frames, x.shape[1] // g.groups * group.depth, filters * group.rows)
    return _compiled(be, slabs, batch, layout.count, body, be.new_like(x, shape, dtype=x.dtype))


def _each(slabs: _Slabs, batch: int, count: int) -> list[tuple[slice, int, int]]:
    """Batch entries, first row and number of rows of each slab."""
    return [
        (slice(entry, min(entry + slabs.chunk, batch)), first, min(slabs.rows, count - first))
        for entry in range(0, batch, slabs.chunk)
        for first in range(0, count, slabs.rows)
    ]


def _compiled(
    be: Backend, slabs: _Slabs, batch: int, count: int, body: Callable[..., Any], init: Any
) -> Any:
    """body(entry, first, new, state) over equal slabs; the last of an entry begins earlier.

    `first` is the first row of the slab, `new` the first that no slab has had.
    """
    each = -(-count // slabs.rows)
    final = count - slabs.rows

    def step(i: Any, state: Any) -> Any:
        new = (i % each) * slabs.rows
        return body((i // each) * slabs.chunk, be.xp.minimum(new, final), new, state)

    return be.fori_loop(0, (batch // slabs.chunk) * each, step, init)


def _place(layout: _Rows, first: int, rows: int) -> tuple[int, int]:
    """Where the stretch of x begins that `rows` rows from `first` on read, and its length."""
    hop = layout.groups[0].hop
    return layout.start + first * hop, layout.length - (layout.count - rows) * hop


def _part(be: Backend, g: Rate, x: Any, slabs: _Slabs, count: int, entry: Any, first: Any) -> Any:
    """The stretch of a slab in a compiled loop over `count` rows."""
    layout = g.rows
    lowest, length = _place(layout, 0, slabs.rows)
    hop = layout.groups[0].hop
    highest = lowest + (count - slabs.rows) * hop
    if slabs.chunk < x.shape[0]:
        x = be.slab(x, 0, entry, slabs.chunk)
    return within(be, x, 2, lowest + first * hop, length, lowest, highest)


def _frames(be: Backend, g: Rate, group: _Group, x: Any, rows: int) -> tuple[Sliding, Any]:
    """A group's product over `rows` rows: its geometry and the frames of the stretch x."""
    batch, channels, _ = x.shape
    frames, depth = group.frames + rows - 1, group.depth
    begin = group.start - g.rows.start
    hop = group.hop if g.rows.count > 1 else depth
    part = be.reshape(x[:, :, begin : begin + frames * hop], (batch, channels, frames, hop))
    if channels > 1 or depth < hop:
        part = be.permute(part[:, :, :, :depth], (0, 2, 1, 3))
    part = be.reshape(part, (batch, frames, channels * depth))
    # Windows of one frame are the frames themselves: one matrix product as it stands.
    single = "im2col" if group.frames == 1 else "auto"
    return Sliding((Span(frames, group.frames),), g.groups, True, single), part


def _reach(g: Rate, group: _Group) -> tuple[int, int, int]:
    """Points of a group's frames, the first tap that the last one meets, and the taps in reach.

    Points behind the group's window meet none: those taps would be negative.
    """
    width = group.frames * group.depth
    first = g.down * group.first + g.offset - g.up * (group.start + width - 1)
    return width, first, g.down * (group.rows - 1) + g.up * (width - 1) + 1


def _matrix(be: Backend, h: Any, g: Rate, group: _Group) -> Any:
    """h (F, D, K) to the weights (frames, D·depth, F·rows) of one group.

    Column j, row s is tap q·j + c' − p·s with c' the tap that the first point meets: backwards in s
    these are windows of the padded taps with stride q and dilation p.
    """
    filters, channels, _ = h.shape
    width, first, length = _reach(g, group)
    taps = _stretch(be, h, first, length)
    windows = be.flip(be.windows(taps, (width,), (g.down,), (g.up,), (2,)), (3,))
    windows = be.reshape(windows, (filters, channels, group.rows, group.frames, group.depth))
    windows = be.permute(windows, (3, 1, 4, 0, 2))
    return be.reshape(windows, (group.frames, channels * group.depth, filters * group.rows))


def _matrix_back(be: Backend, g: Rate, group: _Group, table: Any, channels: int) -> Any:
    """The transpose of `_matrix`."""
    xp = be.xp
    width, first, length = _reach(g, group)
    windows = xp.reshape(table, (group.frames, channels, group.depth, -1, group.rows))
    windows = xp.permute_dims(windows, (3, 1, 4, 0, 2))
    windows = xp.flip(xp.reshape(windows, (*windows.shape[:3], width)), axis=3)
    taps = overlap_add(windows, (*windows.shape[:2], length), stride=g.down, dilation=g.up)
    return _stretch(be, taps, -first, g.taps)


def _stretch(be: Backend, x: Any, start: int, length: int) -> Any:
    """Points start … start+length−1 of the last axis, zeros where x has none."""
    n, stop = x.shape[-1], start + length
    first, last = min(max(start, 0), n), max(min(stop, n), 0)
    last = max(first, last)
    if last - first < n:
        x = x[..., first:last]
    low = min(max(0, -start), length)
    return be.pad(x, [*[(0, 0)] * (x.ndim - 1), (low, length - low - (last - first))])


_CORES: dict[str, Trilinear] = {}
for _role, _name in (("y", "resample"), ("x", "resample_back"), ("w", "resampling_taps")):
    _Resampling(_role, _name, _CORES)


def polyphase(
    h: Any, x: Any, up: int, down: int, offset: int, count: int, method: str = "auto"
) -> Any:
    """y[b, g, i] = Σ_k h[g, q·i + c − p·k] · x[b, ·, k] for 0 <= i < count; x is 0 outside.

    Parameters
    ----------
    h : array or node of shape (G·O, K)
        Filters, O for every one of the G groups of x.
    x : array or node of shape (B, G, N)
        Of the same dtype.
    up, down, offset, count : int
        p, q, c and the number of outputs; p and q without a common divisor.
    method : str
        The algorithm where the rate does not change.

    Returns
    -------
    array or node of shape (B, G·O, count)
    """
    length = x.shape[2]
    filters, taps = h.shape
    h = _ops.reshape(h, (filters, 1, taps))
    if up == down == 1:
        low = taps - 1 - offset
        span = Span(length, taps, low=low, high=count + taps - 1 - length - low)
        return correlate(Sliding((span,), x.shape[1], False, method), x, _ops.flip(h, (2,)))
    geometry = Rate(length, taps, up, down, offset, count, x.shape[1])
    return apply(_CORES["y"], geometry, x, h)
