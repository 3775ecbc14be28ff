"""The sliding product through the FFT, frame by frame along the only sliding axis (overlap-save).

A frame is relative to its own norm what `fft` is relative to the whole: a large or non-finite
sample reaches the outputs of its frames and no others.
"""

from __future__ import annotations

from functools import lru_cache
from math import log2
from typing import Any

from .._backends import Backend
from ..geometry import Sliding, Span
from .costs import Costs
from .fft import BOUND, dilated, mix, of_dtype
from .problem import Estimate, Problem, as_is

__all__ = ["estimate", "frame_points", "last", "roles", "run", "scratch", "tile"]

Array = Any
pack = unpack = as_is

# What a point of a frame costs beside its transform, in levels of one: products, cuts and copies.
_PASSES = 6
# Points of frames transformed at a time.
_GROUP = 2**17


def last(p: Problem) -> bool:
    """Whether it takes channels last."""
    return False


def roles(p: Problem) -> tuple[str, ...]:
    """That of the forward product."""
    return ("y",)


def estimate(p: Problem, cost: Costs) -> Estimate | str:
    """Transforms of frames that fit the cache: about twice as fast as one long one."""
    if p.g.rank > 1:
        return "frames need one sliding axis"
    if p.role != "y":
        return "used for the forward product only"
    points, _, frames = frames_of(p.g.spans[0])
    count = p.g.groups * (frames * p.batch * (p.depth + p.rows) + p.depth * p.rows)
    work = count * points * log2(points)
    spectra = p.g.groups * p.batch * frames * p.depth * p.rows * points
    seconds = p.heavy * work / (2 * cost.fft) + 16 * cost.call
    seconds += 2 * p.heavy * p.width * spectra / cost.stream
    moved = 2 * p.width * (p.inputs + p.outputs)
    return Estimate(seconds, work, moved, BOUND.format(points), transforms=True)


def scratch(p: Problem) -> int:
    """The frames and the spectra of some."""
    (span,) = p.g.spans
    points, hop, frames = frames_of(span)
    spectra = 2 * p.width * p.g.groups * p.depth * p.rows * points
    x = p.width * p.batch * p.g.groups * p.depth * (frames * hop + span.extent)
    y = p.width * p.batch * p.g.groups * p.rows * frames * hop
    if p.traces:
        return spectra + 2 * (x + y) * points // hop
    return spectra + x + 2 * y


def tile(p: Problem) -> tuple[int, int]:
    """Whatever the workspace allows: groups of frames that fit the cache are made by `run`."""
    return 0, 0


@lru_cache(maxsize=1024)
def frame_points(extent: int) -> int:
    """FFT length of one overlap-save frame: the power of two of least work per output."""
    lengths = [2**i for i in range(10, 31) if 2**i >= 2 * extent]
    return min(lengths[:6], key=lambda n: n * (log2(n) + _PASSES) / (n - extent + 1))


def frames_of(span: Span) -> tuple[int, int, int]:
    """FFT length of one overlap-save frame, new outputs of each, and how many there are."""
    points = frame_points(span.extent)
    hop = points - span.extent + 1
    return points, hop, -(-(span.stride * (span.out - 1) + 1) // hop)


def run(be: Backend, role: str, g: Sliding, x: Array, w: Array) -> Array:
    """Overlap-save along the last axis for role "y" with one sliding axis, channels first.

    Frames of N points, hop N − extent + 1; each frame's last hop points are free of wrap-around.
    """
    xp, (s,) = be.xp, g.spans
    dense = Span(s.length, s.size, 1, s.dilation, s.low, s.high)
    points, hop, frames = frames_of(dense)
    reach = (frames - 1) * hop + points
    x = x[..., max(0, -s.low) :]
    keep = min(x.shape[-1], reach - max(0, s.low))
    x = be.pad(x[..., :keep], [(0, 0), (0, 0), (max(0, s.low), reach - max(0, s.low) - keep)])
    w = dilated(be, xp.flip(w, axis=-1), [s.dilation])
    groups, depth = g.groups, w.shape[1]
    kind = xp.result_type(x, w)
    is_real = not (be.is_complex(x) or be.is_complex(w))
    if not is_real:
        x, w = of_dtype(be, x, kind), of_dtype(be, w, kind)
    blocks = be.windows(x, (points,), (hop,), (1,), (2,))  # (B, C, frames, N)
    batch = blocks.shape[0]
    right = xp.permute_dims(
        xp.reshape(w, (groups, w.shape[0] // groups, depth, 1, w.shape[-1])), (1, 0, 2, 3, 4)
    )
    right = be.fft(right, (-1,), (points,))
    # Groups of frames whose spectra stay in the cache.
    step = frames if not be.mutable else max(1, _GROUP // (points * max(1, x.shape[1])))

    def part(i: int) -> Array:
        left = blocks[:, :, i : min(i + step, frames), :]
        left = xp.reshape(left, (batch, groups, depth, left.shape[2], points))
        spectra = mix(be, be.fft(left, (-1,), (points,)), right)
        return be.ifft(spectra, (-1,), (points,), real=is_real)[..., s.extent - 1 :]

    filters = w.shape[0] // groups
    if step >= frames:
        out = part(0)
    else:
        # Frames of every channel lie in time order: each group is written where it belongs.
        out = be.empty_like(x, (batch, filters, groups, frames, hop))
        for i in range(0, frames, step):
            out[:, :, :, i : min(i + step, frames), :] = part(i)
    out = xp.permute_dims(out, (0, 2, 1, 3, 4))  # (B, G, q, frames, hop)
    out = xp.reshape(out, (batch, groups * filters, frames * hop))
    out = out[..., : dense.out : s.stride]
    return out if out.dtype == kind else xp.astype(out, kind)
