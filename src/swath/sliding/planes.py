"""Depthwise products, of one channel in and out for every group, where arrays may be written.

Every channel is a plane of its own. Blocks of planes or rows that stay in a core's cache are
computed at a time, shared by threads where a library computes in one. Channels first the points of
a padded plane lie end to end, and a tap reads one long stretch of them; channels last the last
sliding axis and the channels are that stretch.
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
from .problem import Estimate, Problem
from .scratch import Scratch
from .taps import all_taps, fitted, kernel_of

__all__ = ["BLOCK", "correlate", "estimate", "kernel_gradient", "planar", "scratch"]

Array = Any
_ALL = slice(None)
# Of an axis for each tap, and for each sliding axis.
_LETTERS, _ROWS = "ABCDEFGHIJKLMNOP", "abdefghijklnopqr"

# Bytes of output computed at a time: three such blocks stay in a core's cache.
BLOCK = 2**18
# Elements of one innermost loop over points and channels.
_LINE = 1024
# Points of a plane at least: NumPy's iterator takes 8192 of its three operands at a time and copies
# shorter stretches, which then take so many times as long. Beginning one is a part of a call.
_RUN, _COPIED, _RUN_CALLS = 2**13 // 3 + 1, 4.0, 0.005


def planar(p: Problem) -> bool:
    """Whether every channel is a plane of its own, computed by `_first`."""
    unit = p.g.strideless
    if p.role == "w" and p.g.last and not p.fuses:
        return False
    return p.mutable and p.single and p.g.groups > 1 and (unit or p.role == "x")


def scratch(p: Problem) -> int:
    """A block or a plane, framed, with its sums; the kernel a tap at a time."""
    lines = zip(p.g.lengths[1:], p.g.spans[1:], strict=True)
    plane = p.width * prod(n + s.low + s.high for n, s in lines)
    plane *= p.g.groups if p.g.last else 1
    block = min(BLOCK * p.wide * (4 if p.fuses else 1), max(p.x_bytes, p.y_bytes))
    framed = p.x_bytes * (3 if p.role == "w" else 1)
    return framed + 4 * max(block, plane) + p.g.groups * p.taps * p.width


def estimate(p: Problem, cost: Costs) -> Estimate:
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
        made = _block_of(g, p.batch, g.groups, _most(p.width, p.wide, fuses=True), _RUN)
        stretch = made.entries * (made.rows + g.spans[0].extent - 1) * prod(padded[1:])
        parts = (p.batch / made.entries) * max(1.0, g.out[0] / made.rows)
        blocks, started = parts * (g.groups / made.planes), parts * g.groups * p.taps
        points, copied = parts * g.groups * stretch, framed + 2 * p.y_bytes
        passes = 0.4 * (1.0 if stretch >= _RUN else _COPIED)
    moved = passes * p.taps * p.width * points
    seconds = moved / cost.stream + (16 * blocks + _RUN_CALLS * started) * cost.call
    return Estimate(seconds + copied / cost.gather, p.flops, moved + copied)


def correlate(be: Backend, g: Sliding, x: Array, w: Array) -> Array:
    """The forward product, strides of 1."""
    if not g.last:
        return _correlate_first(be, g, x, w)
    return (_fused_last if be.fuses else _correlate_last)(be, g, x, w)


def kernel_gradient(be: Backend, g: Sliding, x: Array, y: Array) -> Array:
    """The kernel's gradient, strides of 1; channels last where the library fuses only."""
    return (_kernel_last if g.last else _kernel_first)(be, g, x, y)


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


def _correlate_first(be: Backend, g: Sliding, x: Array, w: Array) -> Array:
    """Channels first: long stretches of points.

    Where planes are small, those of the next entry of the batch lie behind them. What comes from
    across the end of a row is left out when planes are written.
    """
    xp, batch, planes = be.xp, x.shape[0], x.shape[1]
    y = be.empty_like(x, g.y_shape(batch, planes), dtype=x.dtype)
    w = xp.reshape(w, (planes, -1))
    space = [s.length + s.low + s.high for s in g.spans]
    steps = [prod(space[i + 1 :]) for i in range(g.rank)]
    hops = [s.dilation * step for s, step in zip(g.spans, steps, strict=True)]
    beyond = sum((n - 1) * step for n, step in zip(g.out, steps, strict=True)) + 1
    most = _most(be.itemsize(x.dtype), be.wide(x), fuses=be.fuses)
    entries, some, rows = _block_of(g, batch, planes, most, _RUN if be.fuses else 1)
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
            for number, tap in enumerate(all_taps(g)):
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


class _Block(NamedTuple):
    """How many entries of the batch, planes and rows of outputs make a block."""

    entries: int
    planes: int
    rows: int


def _most(width: int, wide: int, *, fuses: bool) -> int:
    """Points of a block of planes."""
    return max(1, (2 if fuses else 1) * BLOCK * wide // width)


@lru_cache(maxsize=1024)
def _block_of(g: Sliding, batch: int, planes: int, most: int, run: int) -> _Block:
    """Blocks of about `most` points; as many entries of whole planes as make stretches of `run`."""
    line = prod(s.length + s.low + s.high for s in g.spans[1:])
    rows = min(g.out[0], max(1, most // line))
    entries, stretch = 1, rows * line
    if rows == g.out[0]:
        entries = -(-batch // max(1, batch // -(-run // stretch)))
    some = min(planes, max(1, most // (entries * stretch)))
    # Equal parts, for threads that share them.
    return _Block(entries, -(-planes // -(-planes // some)), rows)


def _fused_last(be: Backend, g: Sliding, x: Array, w: Array) -> Array:
    """Channels last, products added as they are made."""
    planes, r = x.shape[-1], g.rank
    y = be.empty_like(x, g.y_shape(x.shape[0], planes), dtype=x.dtype)
    blocks, rows, taps = _blocks_last(be, g, x), _ROWS[: r - 1], _LETTERS[:r]
    sizes = {_stretch(_inner(g, low, high), planes) for _, low, high in blocks}
    lines = {n: be.reshape(_line(be, w, n), (*g.sizes, -1)) for n in sizes}

    def one(scratch: Scratch, block: tuple[int, int, int]) -> None:
        entry, low, high = block
        found, points = _windows_last(be, scratch, g, x, *block)
        out = be.reshape(y[entry, low:high, ...], found.shape[: r + 1])
        be.einsum_into(f"{rows}sm{taps},{taps}m->{rows}sm", out, found, lines[points])

    be.each(blocks, lambda: Scratch(be, x), one)
    return y


def _correlate_last(be: Backend, g: Sliding, x: Array, w: Array) -> Array:
    """Channels last, a product and a sum for every tap."""
    xp, planes, r = be.xp, x.shape[-1], g.rank
    y = be.empty_like(x, g.y_shape(x.shape[0], planes), dtype=x.dtype)
    blocks = _blocks_last(be, g, x)
    x, inner = fitted(be, g, x), g.out[-1] if r > 1 else 1
    if r > 1:
        x = xp.reshape(x, (*x.shape[:-2], -1))
    kernel = _line(be, w, inner)
    for entry, low, high in blocks:
        shape = (high - low, *g.out[1 : max(1, r - 1)], inner * planes)
        total, term = be.empty_like(y, shape), be.empty_like(y, shape)
        for number, tap in enumerate(all_taps(g)):
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


def _line(be: Backend, w: Array, points: int) -> Array:
    """The kernel once for every point of a stretch, channels last: (taps, points·C)."""
    planes = w.shape[-1]
    w = be.xp.reshape(w, (-1, 1, planes))
    found = be.xp.broadcast_to(w, (w.shape[0], points, planes))
    return be.xp.reshape(found, (-1, points * planes))


def _blocks_last(be: Backend, g: Sliding, x: Array) -> list[tuple[int, int, int]]:
    """Entries of the batch, and the first and last rows of outputs of a block."""
    width, wide = be.itemsize(x.dtype), be.wide(x)
    most = _rows_last(g, x.shape[0], x.shape[-1], width, wide, fuses=be.fuses)
    rows = [(low, min(low + most, g.out[0])) for low in range(0, g.out[0], most)]
    return [(entry, *some) for entry in range(x.shape[0]) for some in rows]


def _rows_last(g: Sliding, batch: int, planes: int, width: int, wide: int, *, fuses: bool) -> int:
    """Rows of outputs of a block that fits a cache, channels last."""
    size, block = prod(g.out[1:]) * planes * width, BLOCK * wide
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


def _kernel_first(be: Backend, g: Sliding, x: Array, y: Array) -> Array:
    """An inner product of two long stretches for every tap and plane."""
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
    some = max(1, 2 * BLOCK // (prod(space) * be.itemsize(x.dtype))) if be.fuses else count
    found = be.empty_like(x, (prod(g.sizes), count, 1, 1), dtype=x.dtype)

    def one(scratch: Scratch, first: int) -> None:
        here = slice(first, min(first + some, count))
        xs = _framed(be, scratch, "x", g.spans, x[here, ...], 1)
        ys = _framed(be, scratch, "y", wider, y[here, ...], 1)
        xs, ys = be.reshape(xs, (xs.shape[0], 1, -1)), be.reshape(ys, (ys.shape[0], -1, 1))
        for number, tap in enumerate(all_taps(g)):
            start = sum(s.dilation * j * n for s, j, n in zip(g.spans, tap, steps, strict=True))
            part = xs[:, :, start : start + length]
            be.matmul_into(found[number, here, ...], part, ys[:, :length, :])

    be.each(range(0, count, some), lambda: Scratch(be, x), one)
    sums = xp.reshape(found, (-1, batch, planes, 1))
    return kernel_of(be, g, xp.sum(sums, axis=1, dtype=sums.dtype))


def _kernel_last(be: Backend, g: Sliding, x: Array, y: Array) -> Array:
    """Products of neighbouring channels side by side."""
    xp, planes, r = be.xp, x.shape[-1], g.rank
    kind, blocks = x.dtype, _blocks_last(be, g, x)
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
