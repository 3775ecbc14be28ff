"""The sliding product through the FFT, frame by frame along up to three axes (overlap-save).

A frame is relative to its own norm what `fft` is relative to the whole: a large or non-finite
sample reaches the outputs of its frames and no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import log2, prod
from typing import Any

from .._backends import Backend
from ..geometry import Sliding, Span
from .costs import Costs
from .fft import bound, dilated, fast_length, few, lonely, mix, of_dtype
from .problem import Estimate, Problem, as_is

__all__ = ["estimate", "frames_of", "last", "roles", "run", "scratch", "tile"]

Array = Any
Frames = tuple[tuple[int, int, int], ...]
pack = unpack = as_is

# What a point of a frame costs beside its transform, in levels of one: products, cuts and copies.
_PASSES = 6
# Points of frames transformed at a time, along one axis and along several: together they keep every
# thread busy. A frame of more points than half of the latter leaves the cache.
_GROUP, _GROUPS = 2**17, 2**20
# Of many channels a kernel's products hold more than frames do: of frames this part of as much.
_SHARE = 8
# Frames of more axes would be cut from windows of twice as many.
_AXES = 3
# Frames along one of several axes that are tried.
_COUNTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)


def last(p: Problem) -> bool:
    """Whether it takes channels last."""
    return False


def roles(p: Problem) -> tuple[str, ...]:
    """Those of the forward product and of its kernel."""
    return ("y", "w")


def estimate(p: Problem, cost: Costs) -> Estimate | str:
    """Transforms of frames that fit the cache; in several axes they are copied more often."""
    if p.g.rank > _AXES:
        return f"frames have at most {_AXES} sliding axes"
    frames = frames_of(p.g.spans)
    points, total = prod(f[0] for f in frames), prod(f[2] for f in frames)
    count = p.g.groups * (total * p.batch * (p.depth + p.rows) + p.depth * p.rows)
    work = count * points * log2(points)
    channels = p.batch * p.g.groups * max(p.depth, p.rows)
    slower = lonely(p, points, channels * min(total, max(1, _GROUP // points)))
    spectra = p.g.groups * p.batch * total * p.depth * p.rows * points
    seconds = (slower if p.g.rank == 1 else 1.5) * p.heavy * work / cost.fft
    seconds += (30 + 6 * p.g.rank) * cost.call
    seconds += 2 * p.heavy * p.width * spectra / cost.stream
    if not p.traces:
        groups = 1 + total * points * channels // (_group(p.g) * p.wide)
        seconds += 4 * p.g.rank * groups * cost.call
    moved = 2 * p.width * (p.inputs + p.outputs)
    return Estimate(seconds, work, moved, bound(p, points), transforms=True)


def scratch(p: Problem) -> int:
    """The frames and the spectra of some."""
    frames = frames_of(p.g.spans)
    points = prod(f[0] for f in frames)
    covered = prod(hop * count for _, hop, count in frames)
    reach = prod((count - 1) * hop + n for n, hop, count in frames)
    # A half spectrum holds a point more than half of a frame.
    spectrum = points // frames[-1][0] * (frames[-1][0] + 2)
    kernel = p.width * p.g.groups * p.depth * p.rows * spectrum
    x = p.width * p.batch * p.g.groups * p.depth * reach
    y = p.width * p.batch * p.g.groups * p.rows * covered
    gathered = prod(n * count for n, _, count in frames)
    if p.traces or not p.mutable:
        channels = p.batch * p.g.groups * (p.depth + p.rows)
        return 2 * kernel + x + y + 2 * p.width * channels * gathered
    if p.role == "w":
        whole = (p.batch, *(count for _, _, count in frames))
        box = next(_groups_of(whole, _together(p.g, p.depth, p.rows, p.wide)))
        together = prod(c.stop - c.start for c in box)
        group = p.g.groups * max(p.depth, p.rows) * spectrum * together
        laid = 0 if p.g.strideless else p.y_bytes * prod(s.stride for s in p.g.spans)
        # The sum and what is added to it; spectra, and their products or copies in another order.
        copies = 2 + max(2, min(p.depth, p.rows)) if few(p.depth, p.rows) else 4
        return (3 if 1 < together <= 4 else 2) * kernel + copies * p.width * group + laid
    # A group is at least one frame of every channel: gathered, its spectra, products and outputs.
    channels = p.batch * p.g.groups * max(p.depth, p.rows)
    group = max(min(_group(p.g) * p.wide, channels * gathered), channels * points)
    return 2 * kernel + x + 2 * max(0, y - p.y_bytes) + 8 * p.width * group


def _group(g: Sliding) -> int:
    """Points of frames transformed at a time."""
    return _GROUP if g.rank == 1 else _GROUPS


def _together(g: Sliding, depth: int, rows: int, wide: int) -> int:
    """Frames that a kernel sums at a time: of many channels their sum is the larger part."""
    one = g.groups * prod(f[0] for f in frames_of(g.spans))
    most = max(_group(g) * wide, one * depth * rows // _SHARE)
    return max(1, most // (one * max(depth, rows)))


def tile(p: Problem) -> tuple[int, int]:
    """Whatever the workspace allows: groups of frames that fit the cache are made by `run`."""
    return 0, 0


@lru_cache(maxsize=1024)
def frames_of(spans: tuple[Span, ...]) -> Frames:
    """FFT length of a frame, new outputs of each, and how many there are, for every axis.

    Along several axes frames divide the outputs evenly, the division that takes least work.
    """
    if len(spans) == 1:
        (s,) = spans
        lengths = [2**i for i in range(10, 31) if 2**i >= 2 * s.extent][:6]
        made = [(n, n - s.extent + 1) for n in lengths]
        whole = [(n, hop, -(-_reach(s) // hop)) for n, hop in made]
        return (min(whole, key=lambda f: f[2] * f[0] * (log2(f[0]) + _PASSES)),)
    choices = []
    for s in spans:
        out, found = _reach(s), {}
        for wanted in _COUNTS:
            hop = -(-out // wanted)
            if wanted > 1 and hop < s.extent // 2:
                break
            points = fast_length(hop + s.extent - 1)
            # A length beyond what is needed makes room for more outputs.
            hop = min(out, points - s.extent + 1)
            found[points] = (points, hop, -(-out // hop))
        choices.append(tuple(found.values()))

    def work(frames: Frames) -> float:
        points = prod(f[0] for f in frames)
        # A transform that leaves the cache is about half as fast.
        levels = log2(points) * (2 if 2 * points > _GROUPS else 1)
        return prod(f[2] for f in frames) * points * (levels + _PASSES)

    return min(product(*choices), key=work)


def _reach(span: Span) -> int:
    """Outputs at stride 1 up to the last one."""
    return span.stride * (span.out - 1) + 1


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """Overlap-save for roles "y" and "w", channels first.

    Frames of N points along an axis, hop N − extent + 1: windows of as many outputs.
    """
    kind = be.xp.result_type(a, b)
    is_real = not (be.is_complex(a) or be.is_complex(b))
    if not is_real:
        a, b = of_dtype(be, a, kind), of_dtype(be, b, kind)
    out = (_kernel if role == "w" else _outputs)(be, g, a, b, is_real)
    return of_dtype(be, out, kind)


def _outputs(be: Backend, g: Sliding, x: Array, w: Array, is_real: bool) -> Array:
    """y: of each frame the last hop points, free of wrap-around."""
    xp, r, groups = be.xp, g.rank, g.groups
    axes = tuple(range(-r, 0))
    frames = frames_of(g.spans)
    points, hops, counts = (tuple(f[i] for f in frames) for i in range(3))
    w = dilated(be, xp.flip(w, axis=axes), [s.dilation for s in g.spans])
    depth, filters, batch = w.shape[1], w.shape[0] // groups, x.shape[0]
    begun = [-s.low for s in g.spans]
    reach = [n + (m - 1) * hop for n, hop, m in frames]
    x = _within(be, x, begun, [a + n for a, n in zip(begun, reach, strict=True)])
    blocks = be.windows(x, points, hops, (1,) * r, range(2, 2 + r))
    blocks = (
        xp.reshape(blocks, (batch, groups, depth, *counts, *points))
        if groups > 1
        else blocks[:, None, ...]
    )
    right = xp.reshape(w, (groups, filters, depth, *(1,) * r, *w.shape[2:]))
    right = xp.permute_dims(right, (1, 0, 2, *range(3, 3 + 2 * r)))
    right = be.fft(right, axes, points)
    valid = [slice(s.extent - 1, s.extent - 1 + hop) for s, hop in zip(g.spans, hops, strict=True)]

    def part(left: Array) -> Array:
        return _inverse(be, mix(be, be.fft(left, axes, points), right), points, valid, is_real)

    each, most = prod(points) * batch * groups * max(depth, filters), _group(g) * be.wide(x)
    lead = (slice(None),) * 3
    # (B, q, G, *counts, *hops), in memory (B, G, q, count, hop, count, hop …)
    memory = (0, 2, 1, *(i for k in range(r) for i in (3 + k, 3 + r + k)))
    if not be.mutable or each * prod(counts) <= most:
        out = xp.permute_dims(part(blocks), memory)
    else:
        space = [n for pair in zip(counts, hops, strict=True) for n in pair]
        out = be.empty_like(blocks, (batch, groups, filters, *space))
        order = (0, 2, 1, *range(3, 3 + 2 * r, 2), *range(4, 4 + 2 * r, 2))
        target = xp.permute_dims(out, order)
        for cut in _groups_of(counts, max(1, most // each)):
            target[(*lead, *cut, ...)] = part(blocks[(*lead, *cut, ...)])
    whole = [n * m for n, m in zip(counts, hops, strict=True)]
    out = xp.reshape(out, (batch, groups * filters, *whole))
    cuts = [slice(0, _reach(s), s.stride) for s in g.spans]
    return out[(slice(None), slice(None), *cuts)]


def _kernel(be: Backend, g: Sliding, x: Array, y: Array, is_real: bool) -> Array:
    """w: frames of x by the hop outputs of each, turned round; all are summed, then inverted once.

    Of the sum `extent` points from hop − 1 on are free of wrap-around.
    """
    xp, r, groups = be.xp, g.rank, g.groups
    axes, space = tuple(range(-r, 0)), tuple(range(3, 3 + r))
    frames = frames_of(g.spans)
    points, hops, counts = (tuple(f[i] for f in frames) for i in range(3))
    batch, filters, depth = x.shape[0], y.shape[1] // groups, x.shape[1] // groups
    y = dilated(be, y, [s.stride for s in g.spans])
    reads = [hop + s.extent - 1 for hop, s in zip(hops, g.spans, strict=True)]

    def frames_within(
        v: Array, first: Sequence[int], last: Sequence[int], size: Sequence[int]
    ) -> Array:
        """Frames of some points of (B, G·C, *n), as (C, G, B, *counts, *size)."""
        v = be.windows(_within(be, v, first, last), size, hops, (1,) * r, range(2, 2 + r))
        v = xp.reshape(v, (v.shape[0], groups, v.shape[1] // groups, *v.shape[2:]))
        return xp.permute_dims(v, (2, 1, 0, *range(3, 3 + 2 * r)))

    def spectra(v: Array) -> Array:
        v = be.fft(v, axes, points)
        return xp.reshape(v, (*v.shape[:2], prod(v.shape[2:-r]), *v.shape[-r:]))

    def part(entries: slice, *cuts: slice) -> Array:
        """The product of some frames of some entries of the batch, (q, D, G, *f)."""
        first = [c.start * hop for c, hop in zip(cuts, hops, strict=True)]
        last = [c.stop * hop for c, hop in zip(cuts, hops, strict=True)]
        left = frames_within(y[entries, ...], first, last, hops)
        left = spectra(xp.flip(left, axis=axes))
        first = [n - s.low for n, s in zip(first, g.spans, strict=True)]
        last = [n + s.extent - 1 - s.low for n, s in zip(last, g.spans, strict=True)]
        return mix(be, left, spectra(frames_within(x[entries, ...], first, last, reads)))

    def summed() -> Array:
        """All of it. No name holds a group's products while the next ones are computed."""
        most = _together(g, depth, filters, be.wide(x)) if be.mutable else batch * prod(counts)
        total = None
        for some in _groups_of((batch, *counts), most):
            total = part(*some) if total is None else be.add_into(total, part(*some))
        return total

    taps = [
        slice(hop - 1, hop - 1 + s.extent, s.dilation) for hop, s in zip(hops, g.spans, strict=True)
    ]
    out = xp.permute_dims(_inverse(be, summed(), points, taps, is_real), (2, 0, 1, *space))
    return xp.reshape(out, (groups * filters, depth, *g.sizes))


def _inverse(
    be: Backend, spectra: Array, points: Sequence[int], cuts: Sequence[slice], is_real: bool
) -> Array:
    """Cuts of the inverse: what the other axes leave out is not transformed along the last one."""
    axes = tuple(range(-len(points), 0))
    if len(points) > 1:
        spectra = be.ifft(spectra, axes[:-1], points[:-1], real=False)
        spectra = spectra[(..., *cuts[:-1], slice(None))]
    return be.ifft(spectra, axes[-1:], points[-1:], real=is_real)[(..., cuts[-1])]


def _within(be: Backend, x: Array, first: Sequence[int], last: Sequence[int]) -> Array:
    """Points first … last−1 of x along the sliding axes, zeros where there are none."""
    cuts, widths = [slice(None)] * 2, [(0, 0)] * 2
    for n, start, stop in zip(x.shape[2:], first, last, strict=True):
        begin = min(max(start, 0), n)
        end = max(begin, min(stop, n))
        low = min(max(0, -start), stop - start)
        cuts.append(slice(begin, end))
        widths.append((low, stop - start - low - (end - begin)))
    return be.pad(x[tuple(cuts)], widths)


def _groups_of(counts: tuple[int, ...], most: int) -> Iterator[tuple[slice, ...]]:
    """Boxes of at most `most` frames: whole along the last axes, in runs along one."""
    steps = []
    for n in reversed(counts):
        step = min(n, most)
        steps.append(-(-n // -(-n // step)))
        most = max(1, most // n)
    runs = [
        [slice(i, min(i + step, n)) for i in range(0, n, step)]
        for n, step in zip(counts, reversed(steps), strict=True)
    ]
    return product(*runs)
