"""Shift-and-add: one term for every tap, no window is ever built.

    y += w[j] · x[shifted by j]        (an elementwise product, or a small matrix product over
                                        channels: "kn2row")

Works for every geometry and dtype, exact for integers, and a non-finite sample stays inside its
own windows. Where arrays may be written in place the terms are added into slices and nothing is
padded; elsewhere they are padded and added, by a compiled loop where they are many.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, NamedTuple

from .._backends import Backend
from ..geometry import Sliding, Span, strided
from .costs import Costs
from .problem import Estimate, Problem, as_is
from .scratch import Scratch

__all__ = [
    "UNROLLED",
    "estimate",
    "exact",
    "fitted",
    "last",
    "roles",
    "run",
    "scratch",
    "tap_of",
    "tile",
    "window",
]

Array = Any
pack = unpack = as_is
_ALL = slice(None)
# Of an axis for each tap, and for each sliding axis.
_LETTERS, _ROWS = "ABCDEFGHIJKLMNOP", "abdefghijklnopqr"

# Terms of a traced program that are written out: more would take a compiler seconds.
UNROLLED = 64
# Bytes of output computed at a time: three such blocks stay in a core's cache.
_BLOCK = 2**18
# How much longer a compiler's loop over a single line takes that threads cannot share evenly (XLA),
# and from how many multiply-adds of one pass on they share it.
_UNEVEN, _SHARED = 8, 10**5
# Neighbouring channels that fill a vector.
_LANES = 8
# Elements of one innermost loop over points and channels.
_LINE = 1024
# Points of a plane at least: NumPy's iterator takes 8192 of its three operands at a time and copies
# shorter stretches, which then take so many times as long. Beginning one is a part of a call.
_RUN, _COPIED, _RUN_CALLS = 2**13 // 3 + 1, 4.0, 0.005


def _planar(p: Problem) -> bool:
    """Whether every channel is a plane of its own, computed by `_planes`."""
    unit = p.g.strideless
    if p.role == "w" and p.g.last and not p.fuses:
        return False
    return p.mutable and p.single and p.g.groups > 1 and (unit or p.role == "x")


def last(p: Problem) -> bool:
    """Whether it takes channels last."""
    return True


def roles(p: Problem) -> tuple[str, ...]:
    """All of them; the transpose of planes is a product of planes.

    So is that of few channels for a compiler: slices of one padded array are joined in one pass,
    many padded arrays are not.
    """
    turned = _planar(p) or (p.traces and (p.single or _unrolled(p.g, p.rows)))
    return ("y", "w") if turned else ("y", "x", "w")


def _unrolled(g: Sliding, depth: int) -> bool:
    """Whether a compiler gets every term written out, channels too: one pass computes them all."""
    return depth * prod(g.sizes) <= UNROLLED


def exact(p: Problem) -> bool:
    """Where a compiler makes one pass of it, and holds the padded operand beside."""
    return p.traces and p.role == "y" and _unrolled(p.g, p.depth)


def estimate(p: Problem, cost: Costs) -> Estimate:
    """One pass or one small matrix product for every tap."""
    if p.traces:
        return _compiled(p, cost)
    if p.fuses and _planar(p):
        return _fused(p, cost)
    passes = 3
    each = passes * p.rows if p.single else p.depth + 3 * p.rows
    moved = p.taps * p.width * p.places * each
    steps = p.taps * (2 if p.single else 4)
    blocks = max(1, max(p.x_bytes, p.y_bytes) // (_BLOCK * p.wide))
    if _planar(p):
        # Small planes of different entries of the batch are blocks of their own.
        blocks = max(blocks, p.batch)
    # What begins a slab anew costs more than the operations in it.
    steps += 30 if blocks > 1 else 0
    seconds = moved / cost.stream + steps * blocks * cost.call
    if not p.single:
        seconds += p.heavy * p.flops * (1 + 16 / min(p.depth, p.rows)) / cost.gemm
    if not p.single and p.g.last and p.g.groups > 1:
        # Every tap's channels are sorted by groups and back, few at a time.
        sorted_ = 4 * p.taps * p.width * p.places * (p.depth + p.rows)
        moved, seconds = moved + sorted_, seconds + sorted_ / cost.gather
    return Estimate(seconds, p.flops, moved)


def _fused(p: Problem, cost: Costs) -> Estimate:
    """Planes whose products are added as they are made: a block of them takes sixteen calls."""
    g = p.g
    padded = [s.length + s.low + s.high for s in g.spans]
    framed = 2 * p.x_bytes if any(s.low or s.high for s in g.spans) else 0
    if g.last or p.role == "w":
        # Channels last the sums are the result; kernels' gradients are products of matrices.
        points, passes, copied = p.places, 0.4 if p.role == "y" else 0.9, framed + p.y_bytes
        blocks = -(-g.out[0] // _rows_last(g, p.batch, g.groups, p.width, p.wide, fuses=True))
        blocks, started = p.batch * blocks, 0.0
    else:
        # The ends of rows, and what lies between planes, are computed too.
        made = _planes_of(g, p.batch, g.groups, _most(p.width, p.wide, fuses=True), _RUN)
        stretch = made.entries * (made.rows + g.spans[0].extent - 1) * prod(padded[1:])
        parts = (p.batch / made.entries) * max(1.0, g.out[0] / made.rows)
        blocks, started = parts * (g.groups / made.planes), parts * g.groups * p.taps
        points, copied = parts * g.groups * stretch, framed + 2 * p.y_bytes
        passes = 0.4 * (1.0 if stretch >= _RUN else _COPIED)
    moved = passes * p.taps * p.width * points
    seconds = moved / cost.stream + (16 * blocks + _RUN_CALLS * started) * cost.call
    return Estimate(seconds + copied / cost.gather, p.flops, moved + copied)


def _compiled(p: Problem, cost: Costs) -> Estimate:
    """As a compiler does it (passes measured under XLA on a processor).

    It makes one pass of the products and sums of single channels that it unrolls, from registers,
    of neighbouring points at once; it copies what a matrix product reads, and sums one by one.
    """
    points = p.width * p.places
    unrolled = _unrolled(p.g, p.depth)
    if p.role == "w":
        moved = 4.0 * p.taps * points * p.rows
        steps = 20.0
    elif unrolled or p.depth == 1:
        # Points of several channels are read once for all results.
        each = (0.3 if p.depth == 1 else 0.15) if unrolled else 0.7
        if p.g.spans[-1].stride > 1:
            each *= 2
        once = p.outputs * (p.taps * p.depth if unrolled else 1)
        if p.outputs == p.g.out[-1] and p.outputs % 2 and once >= _SHARED:
            # Its points are computed one by one.
            each *= _UNEVEN
        moved = (1 + each * p.taps * p.depth) * points * p.rows
        # On a GPU every step of a loop is started.
        steps = 12 + (0.0 if unrolled else (2.0 if p.wide > 1 else 0.01) * p.taps)
    else:
        # What lies apart is copied once more: channels first, and results of groups.
        each = (4 if p.g.last else 8) * p.depth + (4 if p.g.groups > 1 else 1) * p.rows
        moved = p.taps * points * each
        if p.role == "x" and not p.g.strideless:
            # Each tap's term is asked for at every point of x, most of which lie between its own;
            # channels last, few of them, one by one.
            moved += p.taps * p.x_bytes * (4 if p.g.last and p.depth < _LANES else 1)
        steps = 8 + 4.0 * p.taps
    seconds = moved / cost.stream + steps * cost.call
    if p.role != "w" and p.depth > 1 and not unrolled:
        # Channels first the entries of a tap lie apart.
        seconds += (2 if p.g.last else 4) * p.w_bytes / cost.gather
    if (p.depth > 1 and not unrolled) or (p.role == "w" and p.depth * p.rows > 1):
        seconds += p.dense * p.flops * (5 if p.role == "w" else 1) / cost.gemm
    return Estimate(seconds, p.flops, moved)


def scratch(p: Problem) -> int:
    """One term, and the stretch of the operand that a matrix product wants contiguous."""
    x, y = p.x_bytes, p.y_bytes
    if _planar(p):
        plane = p.width * prod(
            n + s.low + s.high for n, s in zip(p.g.lengths[1:], p.g.spans[1:], strict=True)
        )
        plane *= p.g.groups if p.g.last else 1
        return (
            x
            + (2 * x if p.role == "w" else 0)
            + 4 * max(min(_BLOCK * p.wide * (4 if p.fuses else 1), max(x, y)), plane)
            + p.g.groups * p.taps * p.width
        )
    if exact(p) or (p.traces and p.role == "x" and _unrolled(p.g, p.rows)):
        return x
    if p.single and p.role != "w":
        return x + y if p.traces else max(x, y)
    # A compiler may keep a few of both.
    return (4 if p.traces else 1) * (x + y)


def tile(p: Problem) -> tuple[int, int]:
    """Operands and results of a slab; planes are cut by `run`."""
    if _planar(p):
        return 0, 0
    return max(p.x_bytes, p.y_bytes), _BLOCK * p.wide


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """The product of the given role ("y", "x" or "w"; see `product`)."""
    if be.traces and prod(g.sizes) > UNROLLED:
        return {"y": _loop_forward, "x": _loop_spread, "w": _loop_kernel}[role](be, g, a, b)
    if role == "w":
        return _kernel(be, g, a, b)
    if role == "y":
        return (_forward_in_place if be.mutable else _forward)(be, g, a, b)
    return (_spread_in_place if be.mutable else _spread)(be, g, a, b)


def _result(be: Backend, a: Array, b: Array) -> Any:
    return a.dtype if a.dtype == b.dtype else be.xp.result_type(a, b)


def _at(g: Sliding, cuts: Sequence[slice]) -> tuple[slice, ...]:
    """Index of x or y with cuts on the sliding axes."""
    return (_ALL, *cuts, _ALL) if g.last else (_ALL, _ALL, *cuts)


def _tap(be: Backend, g: Sliding, w: Array, tap: Sequence[int]) -> Array:
    """w at one tap as (groups, O/groups, depth)."""
    xp = be.xp
    if g.last:
        wj = w[(*tap, _ALL, _ALL)]  # (depth, O)
        wj = xp.reshape(wj, (wj.shape[0], g.groups, wj.shape[1] // g.groups))
        return xp.permute_dims(wj, (1, 2, 0))
    wj = w[(_ALL, _ALL, *tap)]
    return xp.reshape(wj, (g.groups, wj.shape[0] // g.groups, wj.shape[1]))


def _mix(be: Backend, g: Sliding, m: Array, v: Array) -> Array:
    """Multiply the channels of every group of v by m (groups, rows, columns)."""
    xp = be.xp
    groups, rows, columns = m.shape
    if columns == 1 and (rows == 1 or groups == 1):
        # One input channel (per group): a broadcast product instead of an outer matrix product.
        flat = xp.reshape(m, (groups * rows,))
        if not g.last:
            flat = xp.reshape(flat, (groups * rows, *([1] * g.rank)))
        return flat * v
    if g.last:
        lead = v.shape[:-1]
        if groups == 1:
            out = be.matmul(xp.reshape(v, (prod(lead), columns)), xp.matrix_transpose(m[0, ...]))
            return xp.reshape(out, (*lead, rows))
        v = xp.reshape(v, (prod(lead), groups, columns))
        out = be.matmul(xp.permute_dims(v, (1, 0, 2)), xp.matrix_transpose(m))
        return xp.reshape(xp.permute_dims(out, (1, 0, 2)), (*lead, groups * rows))
    space = v.shape[2:]
    v = xp.reshape(v, (v.shape[0], groups, columns, prod(space)))
    return xp.reshape(be.matmul(m, v), (v.shape[0], groups * rows, *space))


def _terms(be: Backend, g: Sliding, m: Array, v: Array) -> Array:
    """`_mix` by elementwise products."""
    xp, total = be.xp, None
    groups, rows, columns = m.shape
    at = v.ndim - 1 if g.last else 1
    v = xp.reshape(v, (*v.shape[:at], groups, columns, *v.shape[at + 1 :]))
    shape = (groups, rows) if g.last else (groups, rows, *[1] * g.rank)
    for i in range(columns):
        column = xp.reshape(m[:, :, i : i + 1], shape)
        term = column * v[(*[_ALL] * (at + 1), slice(i, i + 1), ...)]
        total = term if total is None else total + term
    return xp.reshape(total, (*v.shape[:at], groups * rows, *v.shape[at + 2 :]))


def fitted(be: Backend, g: Sliding, x: Array) -> Array:
    """x with its padding in place, cropped where it is negative."""
    if all(s.low == 0 == s.high for s in g.spans):
        return x
    whole = (slice(None),) * (1 if g.last else 2)
    kept = [s.kept for s in g.spans]
    x = x[(*whole, *(cut for cut, _ in kept), ...)]
    widths = [(0, 0)] * len(whole) + [pair for _, pair in kept]
    return be.pad(x, [*widths, (0, 0)] if g.last else widths)


def _forward(be: Backend, g: Sliding, x: Array, w: Array) -> Array:
    depth = w.shape[-2] if g.last else w.shape[1]
    mix = _terms if be.traces and _unrolled(g, depth) else _mix
    x, total = be.made(fitted(be, g, x)), None
    for tap in _taps(g):
        placed = [s.placed(j) for s, j in zip(g.spans, tap, strict=True)]
        term = mix(be, g, _tap(be, g, w, tap), x[_at(g, placed)])
        total = term if total is None else total + term
    return total


def _forward_in_place(be: Backend, g: Sliding, x: Array, w: Array) -> Array:
    channels = w.shape[-1] if g.last else w.shape[0]
    planes = g.groups == channels == x.shape[-1 if g.last else 1] > 1
    if planes and g.strideless and be.in_place:
        return (_planes_last if g.last else _planes)(be, g, x, w)
    y = be.new_like(x, g.y_shape(x.shape[0], channels), dtype=_result(be, x, w))
    if channels == 1 and x.shape[-1 if g.last else 1] == 1:
        # One channel in, one out: a tap is a number.
        for tap, outputs, inputs in g.each_tap():
            wj = w[(*tap, 0, 0)] if g.last else w[(0, 0, *tap)]
            # An array of its own: y[…] += … would be written back by some libraries.
            part = y[_at(g, outputs)]
            part += wj * x[_at(g, inputs)]
        return y
    for tap, outputs, inputs in g.each_tap():
        part = y[_at(g, outputs)]
        part += _mix(be, g, _tap(be, g, w, tap), x[_at(g, inputs)])
    return y


def _framed(
    be: Backend, scratch: Scratch, name: str, spans: Sequence[Span], x: Array, first: int
) -> Array:
    """As `fitted`, in scratch memory; the sliding axes begin at axis `first`."""
    if all(s.low == 0 == s.high for s in spans):
        return x
    kept = [s.kept for s in spans]
    x = x[(*[_ALL] * first, *(cut for cut, _ in kept), ...)]
    shape, place = list(x.shape), [_ALL] * first
    for axis, (_, (low, high)) in enumerate(kept, first):
        place.append(slice(low, low + shape[axis]))
        shape[axis] += low + high
    out = scratch(name, tuple(shape), x.dtype)
    for axis, (_, (low, high)) in enumerate(kept, first):
        for cut in (slice(0, low), slice(shape[axis] - high, shape[axis])):
            if cut.start < cut.stop:
                out[(*[_ALL] * axis, cut, ...)] = 0
    out[(*place, ...)] = x
    return out


def _planes(be: Backend, g: Sliding, x: Array, w: Array) -> Array:
    """One channel in and out for every group, channels first, strides of 1.

    The points of a padded plane lie end to end, those of the next entry of the batch behind them
    where planes are small, and a tap reads one long stretch of them; what comes from across the end
    of a row is left out when planes are written.
    """
    xp, batch, planes = be.xp, x.shape[0], x.shape[1]
    y = be.empty_like(x, g.y_shape(batch, planes), dtype=_result(be, x, w))
    w = xp.reshape(w, (planes, -1))
    space = [s.length + s.low + s.high for s in g.spans]
    steps = [prod(space[i + 1 :]) for i in range(g.rank)]
    hops = [s.dilation * step for s, step in zip(g.spans, steps, strict=True)]
    beyond = sum((n - 1) * step for n, step in zip(g.out, steps, strict=True)) + 1
    most = _most(be.itemsize(x.dtype), be.wide(x), fuses=be.fuses)
    entries, some, rows = _planes_of(g, batch, planes, most, _RUN if be.fuses else 1)
    turned = (1, 0, *range(2, 2 + g.rank))

    def one(scratch: Scratch, block: tuple[int, int, int]) -> None:
        entry, at, low = block
        here = slice(entry, min(entry + entries, batch)), slice(at, min(at + some, planes))
        high = min(low + rows, g.out[0])
        inside, cut = g.spans[0].part(low, high)
        spans = (cut, *g.spans[1:])
        part = be.permute(x[(*here, inside, ...)], turned)
        part = _framed(be, scratch, "framed", spans, part, 2)
        shape = part.shape
        part = be.reshape(part, (shape[0], -1))
        total = scratch("total", part.shape, y.dtype)
        length = beyond - (g.out[0] - high + low) * steps[0]
        length += (shape[1] - 1) * shape[2] * steps[0]
        if be.fuses:
            part = be.windows(part, g.sizes, (1,) * g.rank, hops, (1,) * g.rank)
            kernel = be.reshape(w[here[1], ...], (-1, *g.sizes))
            taps = _LETTERS[: g.rank]
            # The points of a plane are the innermost loop, its taps the outermost.
            sums = xp.matrix_transpose(total[:, :length])
            be.einsum_into(f"cm{taps},c{taps}->mc", sums, part, kernel, order="F")
        else:
            term = scratch("term", total.shape, y.dtype)
            for number, tap in enumerate(_taps(g)):
                start = sum(n * j for n, j in zip(hops, tap, strict=True))
                moved, by = part[:, start : start + length], w[here[1], number : number + 1]
                be.into("multiply", (term if number else total)[:, :length], moved, by)
                if number:
                    be.into("add", total[:, :length], total[:, :length], term[:, :length])
        total = be.permute(be.reshape(total, shape), turned)
        kept = total[(_ALL, _ALL, slice(0, high - low), *(slice(0, n) for n in g.out[1:]))]
        y[(*here, slice(low, high), ...)] = kept

    blocks = product(range(0, batch, entries), range(0, planes, some), range(0, g.out[0], rows))
    be.each(list(blocks), lambda: Scratch(be, x), one)
    return y


class _Planes(NamedTuple):
    """How many entries of the batch, planes and rows of outputs make a block."""

    entries: int
    planes: int
    rows: int


def _most(width: int, wide: int, *, fuses: bool) -> int:
    """Points of a block of planes."""
    return max(1, (2 if fuses else 1) * _BLOCK * wide // width)


@lru_cache(maxsize=1024)
def _planes_of(g: Sliding, batch: int, planes: int, most: int, run: int) -> _Planes:
    """Blocks of about `most` points; as many entries of whole planes as make stretches of `run`."""
    line = prod(s.length + s.low + s.high for s in g.spans[1:])
    rows = min(g.out[0], max(1, most // line))
    entries, stretch = 1, rows * line
    if rows == g.out[0]:
        entries = -(-batch // max(1, batch // -(-run // stretch)))
    some = min(planes, max(1, most // (entries * stretch)))
    # Equal parts, for threads that share them.
    return _Planes(entries, -(-planes // -(-planes // some)), rows)


def _planes_last(be: Backend, g: Sliding, x: Array, w: Array) -> Array:
    """The same, channels last: the last sliding axis and the channels are one long stretch."""
    xp, planes, r = be.xp, x.shape[-1], g.rank
    y = be.empty_like(x, g.y_shape(x.shape[0], planes), dtype=_result(be, x, w))
    blocks = _blocks_last(be, g, x)
    w = xp.reshape(w, (-1, 1, planes))

    def line(points: int) -> Array:
        """The kernel once for every point of a stretch: (taps, points·C)."""
        found = xp.broadcast_to(w, (w.shape[0], points, planes))
        return xp.reshape(found, (-1, points * planes))

    if be.fuses:
        rows, taps = _ROWS[: r - 1], _LETTERS[:r]
        sizes = {_stretch(_inner(g, low, high), planes) for _, low, high in blocks}
        lines = {n: be.reshape(line(n), (*g.sizes, -1)) for n in sizes}

        def one(scratch: Scratch, block: tuple[int, int, int]) -> None:
            entry, low, high = block
            found, points = _windows_last(be, scratch, g, x, *block)
            out = be.reshape(y[entry, low:high, ...], found.shape[: r + 1])
            labels = f"{rows}sm{taps},{taps}m->{rows}sm"
            be.einsum_into(labels, out, found, lines[points])

        be.each(blocks, lambda: Scratch(be, x), one)
        return y
    x, inner = fitted(be, g, x), g.out[-1] if r > 1 else 1
    if r > 1:
        x = xp.reshape(x, (*x.shape[:-2], -1))
    kernel = line(inner)
    for entry, low, high in blocks:
        shape = (high - low, *g.out[1 : max(1, r - 1)], inner * planes)
        total, term = be.empty_like(y, shape), be.empty_like(y, shape)
        for number, tap in enumerate(_taps(g)):
            begin = [s.dilation * j for s, j in zip(g.spans, tap, strict=True)]
            cuts = [slice(begin[0] + low, begin[0] + high)]
            cuts += [slice(b, b + n) for b, n in zip(begin[1:-1], g.out[1:-1], strict=True)]
            if r > 1:
                cuts.append(slice(begin[-1] * planes, (begin[-1] + inner) * planes))
            part = x[(entry, *cuts, ...)]
            be.into("multiply", term if number else total, part, kernel[number, ...])
            if number:
                be.into("add", total, total, term)
        y[entry, low:high, ...] = xp.reshape(total, (high - low, *g.out[1:], planes))
    return y


def _blocks_last(be: Backend, g: Sliding, x: Array) -> list[tuple[int, int, int]]:
    """Entries of the batch, and the first and last rows of outputs of a block."""
    width, wide = be.itemsize(x.dtype), be.wide(x)
    most = _rows_last(g, x.shape[0], x.shape[-1], width, wide, fuses=be.fuses)
    rows = [(low, min(low + most, g.out[0])) for low in range(0, g.out[0], most)]
    return [(entry, *some) for entry in range(x.shape[0]) for some in rows]


def _rows_last(g: Sliding, batch: int, planes: int, width: int, wide: int, *, fuses: bool) -> int:
    """Rows of outputs of a block that fits a cache, channels last."""
    size, block = prod(g.out[1:]) * planes * width, _BLOCK * wide
    if fuses:
        # A stretch at a time is near, whatever the block: large ones begin fewer times. A few are
        # for threads to share.
        block = max(block, min(8 * block, batch * g.out[0] * size // 8))
    return max(1, block // max(1, size))


def _inner(g: Sliding, low: int, high: int) -> int:
    """Points of the last sliding axis in a block of rows low … high−1."""
    return g.out[-1] if g.rank > 1 else high - low


def _stretch(points: int, planes: int) -> int:
    """Points whose channels make one innermost loop, a divisor of all.

    So few that what one tap adds to is still in the nearest cache at the next tap.
    """
    most = max(1, min(points, _LINE // planes))
    found = next(n for n in range(most, 0, -1) if points % n == 0)
    return found if 4 * found * planes >= _LINE else points


def _windows_last(
    be: Backend, scratch: Scratch, g: Sliding, x: Array, entry: int, low: int, high: int
) -> tuple[Array, int]:
    """Windows of a block, channels last: (rows…, stretches, points·C, taps…), and those points."""
    planes, r = x.shape[-1], g.rank
    inside, cut = g.spans[0].part(low, high)
    x = _framed(be, scratch, "framed", (cut, *g.spans[1:]), x[entry, inside, ...], 0)
    x = be.reshape(x, (*x.shape[:-2], -1))
    hops = [s.dilation for s in g.spans]
    hops[-1] *= planes
    found = be.windows(x, g.sizes, (1,) * r, hops, range(r))
    points = _stretch(_inner(g, low, high), planes)
    shape = (*found.shape[: r - 1], -1, points * planes, *g.sizes)
    return be.reshape(found, shape), points


def _spread_in_place(be: Backend, g: Sliding, w: Array, y: Array) -> Array:
    depth = w.shape[-2] if g.last else w.shape[1]
    shape = g.x_shape(y.shape[0], depth * g.groups)
    x = be.new_like(y, shape, dtype=be.xp.result_type(w, y))
    for tap, outputs, inputs in g.each_tap():
        m = be.xp.matrix_transpose(_tap(be, g, w, tap))
        part = x[_at(g, inputs)]
        part += _mix(be, g, m, y[_at(g, outputs)])
    return x


def _spread(be: Backend, g: Sliding, w: Array, y: Array) -> Array:
    total = None
    gaps = [s.stride - 1 for s in g.spans]
    reach = [s.length + s.low + s.high for s in g.spans]
    for tap in _taps(g):
        term = _mix(be, g, be.xp.matrix_transpose(_tap(be, g, w, tap)), y)
        widths = []
        for s, j, n in zip(g.spans, tap, reach, strict=True):
            start = s.dilation * j
            widths.append((start, n - start - (s.stride * (s.out - 1) + 1)))
        frame = [(0, 0), *widths, (0, 0)] if g.last else [(0, 0), (0, 0), *widths]
        inner = [0, *gaps, 0] if g.last else [0, 0, *gaps]
        term = be.pad(term, frame, 0, inner)
        total = term if total is None else total + term
    assert total is not None  # sizes are at least 1
    return _unpadded(be, g, total)


def _unpadded(be: Backend, g: Sliding, total: Array) -> Array:
    """x from the padded x: take the padding off, put cropped points back."""
    reach = [s.length + s.low + s.high for s in g.spans]
    cuts = [slice(max(s.low, 0), n - max(s.high, 0)) for s, n in zip(g.spans, reach, strict=True)]
    total = total[_at(g, cuts)]
    back = [(max(-s.low, 0), max(-s.high, 0)) for s in g.spans]
    return be.pad(total, [(0, 0), *back, (0, 0)] if g.last else [(0, 0), (0, 0), *back])


def _kernel(be: Backend, g: Sliding, x: Array, y: Array) -> Array:
    xp = be.xp
    channels = (x.shape[-1], y.shape[-1]) if g.last else (x.shape[1], y.shape[1])
    depth, rows = channels[0] // g.groups, channels[1] // g.groups
    if be.in_place and depth == rows == 1 < g.groups and g.strideless:
        if not g.last:
            return _planes_kernel(be, g, x, y)
        if be.fuses:
            return _planes_last_kernel(be, g, x, y)
    found: dict[tuple[int, ...], Array] = {}
    for tap, outputs, inputs in g.each_tap():
        xs, ys = x[_at(g, inputs)], y[_at(g, outputs)]
        found[tap] = _contract(be, g, xs, ys, depth, rows)
    kind = xp.result_type(x, y)
    zero = be.new_like(x, (g.groups * rows, depth), dtype=kind)
    flat = xp.stack([found.get(tap, zero) for tap in _taps(g)], axis=0)  # (taps, O, depth)
    return _kernel_shaped(be, g, xp.astype(flat, kind) if flat.dtype != kind else flat)


def _planes_kernel(be: Backend, g: Sliding, x: Array, y: Array) -> Array:
    """The kernel of `_planes`: an inner product of two long stretches for every tap and plane."""
    xp, batch, planes = be.xp, x.shape[0], x.shape[1]
    count = batch * planes
    x, y = (be.reshape(a, (count, *a.shape[2:])) for a in (x, y))
    space = [s.length + s.low + s.high for s in g.spans]
    steps = [prod(space[i + 1 :]) for i in range(g.rank)]
    length = sum((n - 1) * step for n, step in zip(g.out, steps, strict=True)) + 1
    # Rows of y as long as those of x.
    wider = [
        Span(n, 1, high=m - n if axis else 0)
        for axis, (n, m) in enumerate(zip(g.out, space, strict=True))
    ]
    # Where a library computes in one thread blocks are shared by several.
    some = max(1, 2 * _BLOCK // (prod(space) * be.itemsize(x.dtype))) if be.fuses else count
    found = be.empty_like(x, (prod(g.sizes), count, 1, 1), dtype=_result(be, x, y))

    def one(scratch: Scratch, first: int) -> None:
        here = slice(first, min(first + some, count))
        xs = _framed(be, scratch, "x", g.spans, x[here, ...], 1)
        ys = _framed(be, scratch, "y", wider, y[here, ...], 1)
        xs, ys = be.reshape(xs, (xs.shape[0], 1, -1)), be.reshape(ys, (ys.shape[0], -1, 1))
        for number, tap in enumerate(_taps(g)):
            start = sum(s.dilation * j * n for s, j, n in zip(g.spans, tap, steps, strict=True))
            part = xs[:, :, start : start + length]
            be.matmul_into(found[number, here, ...], part, ys[:, :length, :])

    be.each(range(0, count, some), lambda: Scratch(be, x), one)
    sums = xp.reshape(found, (-1, batch, planes, 1))
    return _kernel_shaped(be, g, xp.sum(sums, axis=1, dtype=sums.dtype))


def _planes_last_kernel(be: Backend, g: Sliding, x: Array, y: Array) -> Array:
    """The same, channels last: products of neighbouring channels side by side."""
    xp, planes, r = be.xp, x.shape[-1], g.rank
    kind, blocks = _result(be, x, y), _blocks_last(be, g, x)
    found = be.empty_like(x, (len(blocks), *g.sizes, planes), dtype=kind)
    rows, taps = _ROWS[: r - 1], _LETTERS[:r]

    def one(scratch: Scratch, number: int) -> None:
        entry, low, high = blocks[number]
        part, points = _windows_last(be, scratch, g, x, entry, low, high)
        cotangent = be.reshape(y[entry, low:high, ...], part.shape[: r + 1])
        sums = scratch("sums", (*g.sizes, points * planes), kind)
        be.einsum_into(f"{rows}sm{taps},{rows}sm->{taps}m", sums, part, cotangent)
        sums = be.reshape(sums, (*g.sizes, points, planes))
        found[number, ...] = xp.sum(sums, axis=-2, dtype=kind)

    be.each(range(len(blocks)), lambda: Scratch(be, x), one)
    return xp.reshape(xp.sum(found, axis=0, dtype=kind), g.w_shape(planes, 1))


def _kernel_shaped(be: Backend, g: Sliding, flat: Array) -> Array:
    """(taps, O, depth) to w."""
    xp, (rows, depth) = be.xp, flat.shape[1:]
    flat = xp.reshape(flat, (*g.sizes, rows, depth))
    r = g.rank
    order = (*range(r), r + 1, r) if g.last else (r, r + 1, *range(r))
    return xp.permute_dims(flat, order)


def _contract(be: Backend, g: Sliding, xs: Array, ys: Array, depth: int, rows: int) -> Array:
    """Σ over batch and positions of y ⊗ x, as (O, depth)."""
    xp, groups = be.xp, g.groups
    if g.last:
        n = prod(xs.shape[:-1])
        xs = xp.permute_dims(xp.reshape(xs, (n, groups, depth)), (1, 0, 2))
        ys = xp.permute_dims(xp.reshape(ys, (n, groups, rows)), (1, 2, 0))
        return xp.reshape(be.matmul(ys, xs), (groups * rows, depth))
    batch, n = xs.shape[0], prod(xs.shape[2:])
    xs = xp.reshape(xs, (batch, groups, depth, n))
    ys = xp.reshape(ys, (batch, groups, rows, n))
    product = be.matmul(ys, xp.matrix_transpose(xs))
    return xp.reshape(xp.sum(product, axis=0, dtype=product.dtype), (groups * rows, depth))


def _taps(g: Sliding) -> list[tuple[int, ...]]:
    return list(product(*map(range, g.sizes)))


def window(be: Backend, x: Array, spans: Sequence[Span], tap: Sequence[Any], first: int) -> Array:
    """What one tap reads of a padded x whose sliding axes begin at axis `first`; tap traced."""
    for axis, (s, j) in enumerate(zip(spans, tap, strict=True), first):
        x = be.slab(x, axis, s.dilation * j, s.stride * (s.out - 1) + 1)
        x = x[(*[_ALL] * axis, strided(0, s.out, s.stride), ...)]
    return x


def tap_of(sizes: Sequence[int], number: Any) -> list[Any]:
    """The tap of a row-major number, which may be traced."""
    tap: list[Any] = []
    for size in reversed(sizes):
        tap.insert(0, number % size)
        number = number // size
    return tap


def _numbered(be: Backend, g: Sliding, w: Array, number: Any) -> Array:
    """`_tap` by number."""
    taps = prod(g.sizes)
    if g.last:
        wj = be.slab(be.xp.reshape(w, (taps, *w.shape[g.rank :])), 0, number, 1)
        return _tap(be, g, be.xp.reshape(wj, (*[1] * g.rank, *wj.shape[1:])), [0] * g.rank)
    wj = be.slab(be.xp.reshape(w, (*w.shape[:2], taps)), 2, number, 1)
    return _tap(be, g, be.xp.reshape(wj, (*wj.shape[:2], *[1] * g.rank)), [0] * g.rank)


def _loop_forward(be: Backend, g: Sliding, x: Array, w: Array) -> Array:
    kind, at = _result(be, x, w), 1 if g.last else 2
    y = be.new_like(x, g.y_shape(x.shape[0], w.shape[-1] if g.last else w.shape[0]), dtype=kind)
    x = fitted(be, g, x)

    def body(i: Any, y: Array) -> Array:
        return y + _mix(
            be, g, _numbered(be, g, w, i), window(be, x, g.spans, tap_of(g.sizes, i), at)
        )

    return be.fori_loop(0, prod(g.sizes), body, y)


def _loop_spread(be: Backend, g: Sliding, w: Array, y: Array) -> Array:
    reach, at = [s.length + s.low + s.high for s in g.spans], 1 if g.last else 2
    channels = g.groups * (w.shape[-2] if g.last else w.shape[1])
    shape = (*reach, channels) if g.last else (channels, *reach)
    total = be.new_like(y, (y.shape[0], *shape), dtype=_result(be, w, y))
    gaps = [0] * y.ndim
    gaps[at : at + g.rank] = [s.stride - 1 for s in g.spans]

    def body(i: Any, total: Array) -> Array:
        m = be.xp.matrix_transpose(_numbered(be, g, w, i))
        term = be.pad(_mix(be, g, m, y), [(0, 0)] * y.ndim, 0, gaps)
        starts = [s.dilation * j for s, j in zip(g.spans, tap_of(g.sizes, i), strict=True)]
        here = total
        for axis, start in enumerate(starts, at):
            here = be.slab(here, axis, start, term.shape[axis])
        return be.put_slab(total, here + term, [*[0] * at, *starts])

    return _unpadded(be, g, be.fori_loop(0, prod(g.sizes), body, total))


def _loop_kernel(be: Backend, g: Sliding, x: Array, y: Array) -> Array:
    channels = (x.shape[-1], y.shape[-1]) if g.last else (x.shape[1], y.shape[1])
    depth, rows, at = channels[0] // g.groups, channels[1] // g.groups, 1 if g.last else 2
    kind = _result(be, x, y)
    x, taps = fitted(be, g, x), prod(g.sizes)

    def body(i: Any, flat: Array) -> Array:
        term = _contract(be, g, window(be, x, g.spans, tap_of(g.sizes, i), at), y, depth, rows)
        return be.put_slab(flat, be.xp.astype(term, kind)[None, ...], [i])

    flat = be.new_like(x, (taps, g.groups * rows, depth), dtype=kind)
    return _kernel_shaped(be, g, be.fori_loop(0, taps, body, flat))
