"""The sliding product through the FFT, frame by frame along up to three axes (overlap-save).

A frame is relative to its own norm what `fft` is relative to the whole: a large or non-finite
sample reaches the outputs of its frames and no others.

A long kernel of one line may be cut into parts, each as long as a frame has new outputs: frames and
parts are transformed once, all to one length, and a frame's outputs are the inverse of a sum of
products (F. Wefers, "Partitioned convolution algorithms for real-time auralization", 2015). That
is somewhat more work than one transform of everything, but in many lines, which threads and vector
units share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import log2, prod
from typing import Any, NamedTuple

from .._backends import Backend
from ..geometry import Sliding, Span
from .costs import Costs
from .fft import alone, bound, dilated, fast_length, few, lonely, mix, sum_bound
from .problem import Estimate, Problem, Slabs, as_is

__all__ = [
    "estimate",
    "exact",
    "frames",
    "frames_for",
    "frames_of",
    "last",
    "roles",
    "run",
    "scratch",
    "tile",
]

Array = Any
pack = unpack = as_is

# What a point of a frame costs beside its transform, in levels of one: products, cuts and copies.
_PASSES = 6
# Points of frames transformed at a time, along one axis and along several: together they keep every
# thread busy. A frame of more points than half of the latter leaves the cache. Along one axis long
# frames still go by _LINES, which are transformed at the full rate, while they have no more points
# than the latter.
_GROUP, _GROUPS = 2**17, 2**20
_LINES = 8
# Parts that a kernel of one line may be cut into, and points of the shortest frames of parts.
_PARTS = (2, 3, 4, 5, 6, 8, 10, 12, 16)
_LEAST = 2**13
# Of many channels a kernel's products hold more than frames do: of frames this part of as much.
_SHARE = 8
# Frames of more axes would be cut from windows of twice as many.
_AXES = 3
# Frames along one of several axes that are tried.
_COUNTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)


class Frame(NamedTuple):
    """Along one axis: points of a frame, its new outputs, how many frames, and parts of the kernel.

    Windows of one part are `points − hop + 1` long at most.
    """

    points: int
    hop: int
    many: int
    parts: int = 1


Frames = tuple[Frame, ...]


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
    frames = frames_for(p)
    points, total = prod(f.points for f in frames), prod(f.many for f in frames)
    parts = prod(f.parts for f in frames)
    cuts = total + parts - 1
    count = p.g.groups * (p.batch * (cuts * p.depth + total * p.rows) + p.depth * p.rows * parts)
    work = count * points * log2(points)
    channels = p.batch * p.g.groups * max(p.depth, p.rows)
    slower = lonely(p, points, channels * min(total, max(1, _group(p.g.rank, points) // points)))
    spectra = p.g.groups * p.batch * total * parts * p.depth * p.rows * points
    seconds = (slower if p.g.rank == 1 else 1.5) * p.spectral * work / cost.fft
    seconds += (30 + 6 * p.g.rank) * cost.call
    seconds += 2 * p.width * spectra / cost.stream
    if parts == 1 and not p.traces:
        groups = 1 + total * points * channels // (_group(p.g.rank, points) * p.wide)
        seconds += 4 * p.g.rank * groups * cost.call
    moved = 2 * p.width * (p.inputs + p.outputs)
    error = bound(p, points) if parts == 1 else sum_bound(points)
    return Estimate(seconds, work, moved, error)


def scratch(p: Problem) -> int:
    """The frames and the spectra of some."""
    frames = frames_for(p)
    points, parts = prod(f.points for f in frames), prod(f.parts for f in frames)
    covered = prod(f.hop * f.many for f in frames)
    reach = prod((f.many + f.parts - 2) * f.hop + f.points for f in frames)
    # A half spectrum holds a point more than half of a frame.
    spectrum = points // frames[-1].points * (frames[-1].points + 2)
    kernel = p.width * p.g.groups * p.depth * p.rows * parts * spectrum
    x = p.width * p.batch * p.g.groups * p.depth * reach
    y = p.width * p.batch * p.g.groups * p.rows * covered
    if parts > 1:
        total = prod(f.many for f in frames)
        spectra = total + parts - 1
        if p.traces:
            # Frames and parts, their spectra, and what is summed (XLA, measured).
            return p.width * spectrum * (2 * spectra + 3 * parts)
        # Beside spectra of frames those of parts, made of copies, or sums of products and outputs.
        return x + p.width * spectrum * (spectra + max(3 * parts, parts + 3 * total))
    gathered = prod(f.points * f.many for f in frames)
    if p.traces or not p.mutable:
        channels = p.batch * p.g.groups * (p.depth + p.rows)
        return 2 * kernel + x + y + 2 * p.width * channels * gathered
    if p.role == "w":
        whole = (p.batch, *(f.many for f in frames))
        box = next(_groups_of(whole, _together(p.g, p.depth, p.rows, p.wide)))
        together = prod(c.stop - c.start for c in box)
        group = p.g.groups * max(p.depth, p.rows) * spectrum * together
        laid = 0 if p.g.strideless else p.y_bytes * prod(s.stride for s in p.g.spans)
        # The sum and what is added to it; spectra, and their products or copies in another order.
        copies = 2 + max(2, min(p.depth, p.rows)) if few(p.depth, p.rows) else 4
        return (3 if 1 < together <= 4 else 2) * kernel + copies * p.width * group + laid
    # A group is at least one frame of every channel: gathered, its spectra, products and outputs.
    channels = p.batch * p.g.groups * max(p.depth, p.rows)
    group = max(min(_group(p.g.rank, points) * p.wide, channels * gathered), channels * points)
    return 2 * kernel + x + 2 * max(0, y - p.y_bytes) + 8 * p.width * group


def _group(rank: int, points: int) -> int:
    """Points of frames transformed at a time."""
    return max(_GROUP, min(_LINES * points, _GROUPS)) if rank == 1 else _GROUPS


def _together(g: Sliding, depth: int, rows: int, wide: int) -> int:
    """Frames that a kernel sums at a time: of many channels their sum is the larger part."""
    points = prod(f.points for f in frames_of(g.spans))
    one = g.groups * points
    most = max(_group(g.rank, points) * wide, one * depth * rows // _SHARE)
    return max(1, most // (one * max(depth, rows)))


def exact(p: Problem) -> bool:
    """Where the kernel is cut into parts."""
    return any(f.parts > 1 for f in frames_for(p))


def tile(p: Problem) -> tuple[int, int]:
    """Whatever the workspace allows: groups of frames that fit the cache are made by `run`."""
    return 0, 0


def frames(p: Problem, cut: Slabs) -> tuple[int, int]:
    """Of a kernel's gradient those of all outputs are summed, of an output those of parts of w."""
    part = p.slab(cut)
    # The transpose is made of forward products, of none where no tap reaches a point.
    made = frames_for(next(part.residues(), part) if p.role == "x" else part)
    summed = prod(f.parts for f in made)
    if p.role == "w":
        summed = p.batch * -(-p.points // cut.step) * prod(f.many for f in made)
    return prod(f.points for f in made), summed


def frames_for(p: Problem) -> Frames:
    """The frames of a problem."""
    lone = _lone(p.batch, p.g.groups * p.depth, p.rows, p.wide)
    return frames_of(p.g.spans, lone and p.role == "y")


def _lone(batch: int, depth: int, rows: int, wide: int) -> bool:
    """Whether a processor transforms a single line."""
    return batch * depth * rows == wide == 1


@lru_cache(maxsize=1024)
def frames_of(spans: tuple[Span, ...], lone: bool = False) -> Frames:
    """FFT length of a frame, new outputs of each, and how many there are, for every axis.

    Along several axes frames divide the outputs evenly, the division that takes least work. The
    kernel of `lone` outputs, of one channel of one signal on a processor, may be cut into parts.
    """
    if len(spans) == 1:
        return (_of_one(spans[0], lone),)
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
            found[points] = Frame(points, hop, -(-out // hop))
        choices.append(tuple(found.values()))

    def work(frames: Frames) -> float:
        points = prod(f.points for f in frames)
        # A transform that leaves the cache is about half as fast.
        levels = log2(points) * (2 if 2 * points > _GROUPS else 1)
        return prod(f.many for f in frames) * points * (levels + _PASSES)

    return min(product(*choices), key=work)


def _of_one(s: Span, lone: bool) -> Frame:
    """The frames along a single axis."""
    out = _reach(s)
    # No longer than a billion, but where the kernel is.
    first = max(10, (2 * s.extent - 1).bit_length())
    lengths = [2**i for i in range(first, max(first + 1, min(first + 6, 31)))]
    made = [Frame(n, n - s.extent + 1, -(-out // (n - s.extent + 1))) for n in lengths]
    whole = min(made, key=lambda f: f.many * f.points * (log2(f.points) + _PASSES))
    if not lone or whole.points < 2 * _LEAST:
        return whole
    choices = [whole]
    for parts in _PARTS:
        points = fast_length(2 * -(-s.extent // parts))
        hop = points // 2
        if points >= _LEAST:
            choices.append(Frame(points, hop, -(-out // hop), -(-s.extent // hop)))

    def work(f: Frame) -> float:
        """Transforms of frames, of parts and of outputs, and products."""
        lines = (f.many + f.parts - 1, f.parts, f.many)
        together = _group(1, f.points) // f.points if f.parts == 1 else max(lines)
        total = sum(n * alone(f.points, min(n, together)) for n in lines)
        return f.points * (total * log2(f.points) + 2 * _PASSES * f.many * (1 + f.parts))

    return min(choices, key=work)


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
        a, b = be.cast(a, kind), be.cast(b, kind)
    if role == "w":
        return be.cast(_kernel(be, g, a, b, is_real), kind)
    b = dilated(be, b, [s.dilation for s in g.spans])
    frames = frames_of(g.spans, _lone(a.shape[0], a.shape[1], b.shape[0], be.wide(a)))
    in_parts = any(f.parts > 1 for f in frames)
    out = (_of_parts if in_parts else _outputs)(be, g, frames, a, b, is_real)
    return be.cast(out, kind)


def _of_parts(be: Backend, g: Sliding, frames: Frames, x: Array, w: Array, is_real: bool) -> Array:
    """y of a single line: part i of the kernel meets the frames from the i-th on."""
    (s,), ((points, hop, count, parts),) = g.spans, frames
    x = _within(be, x, [-s.low], [points + (count + parts - 2) * hop - s.low])
    left = be.windows(x, [points], [hop], [1], [2])[0, 0, ...]
    right = be.pad(w, [(0, 0), (0, 0), (0, parts * hop - s.extent)])
    right = be.flip(be.reshape(right, (parts, hop)), (1,))
    left, right = be.fft(left, (-1,), [points]), be.fft(right, (-1,), [points])
    total = left[:count, :] * right[0, :]
    for i in range(1, parts):
        total = be.add_into(total, left[i : i + count, :] * right[i, :])
    out = _inverse(be, total, [points], [slice(hop - 1, 2 * hop - 1)], is_real)
    return be.reshape(out, (1, 1, count * hop))[:, :, : _reach(s) : s.stride]


def _outputs(be: Backend, g: Sliding, frames: Frames, x: Array, w: Array, is_real: bool) -> Array:
    """y: of each frame the last hop points, free of wrap-around."""
    xp, r, groups = be.xp, g.rank, g.groups
    axes = tuple(range(-r, 0))
    points, hops, counts, _ = zip(*frames, strict=True)
    w = xp.flip(w, axis=axes)
    depth, filters, batch = w.shape[1], w.shape[0] // groups, x.shape[0]
    begun = [-s.low for s in g.spans]
    reach = [n + (m - 1) * hop for n, hop, m, _ in frames]
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

    each = prod(points) * batch * groups * max(depth, filters)
    most = _group(r, prod(points)) * be.wide(x)
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
    points, hops, counts, _ = zip(*frames_of(g.spans), strict=True)
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
