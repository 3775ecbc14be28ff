"""The sliding product through the FFT, each operand transformed whole.

All three roles are one full convolution and a cut, transformed no longer than the cut needs::

    y: x ∗ reversed w,   read at stride·i + extent−1 − low
    x: y (stride−1 zeros between) ∗ w (dilated),   read at p + low
    w: x ∗ reversed y (likewise),   read at dilation·j − low + stride·(out−1)

The error of an FFT product is relative to the norm of its frame, not of one window: a large sample
costs its frame digits, and a non-finite one makes the whole frame non-finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log2, prod
from typing import Any, NamedTuple

from .._backends import Backend
from .._backends.long_lines import sides
from ..geometry import Sliding
from .costs import Costs
from .problem import Estimate, Problem, Slabs, as_is, roughly

__all__ = [
    "alone",
    "bound",
    "dilated",
    "estimate",
    "exact",
    "fast_length",
    "few",
    "frames",
    "last",
    "lonely",
    "mix",
    "roles",
    "run",
    "scratch",
    "sum_bound",
    "tile",
    "transform_lengths",
]

Array = Any
pack = unpack = as_is
exact = roughly
# Points from which a transform by itself is slow, and how many of them are not.
_LONG = 2**17
_LINES = 4
# Time of a line that is a plane beside the rate's, which is of lines of all lengths.
_FOLDED = 0.8
_BOUND = "|err| <= 4·eps·log2(n)·|frame|₂·|k|₂ + n·tiny, n = {}"
# Of a sum: a kernel of what frames of x and y give, outputs of what parts of a kernel do.
_SUM_BOUND = "|err| <= (4·log2(n) + m - 1)·eps·Σ|frame|₂·|other|₂ + m·n·tiny, m frames of n = {}"


def last(p: Problem) -> bool:
    """Whether it takes channels last."""
    return False


def roles(p: Problem) -> tuple[str, ...]:
    """All of them."""
    return ("y", "x", "w")


def estimate(p: Problem, cost: Costs) -> Estimate:
    """Three transforms of every axis, and a product of spectra."""
    points = prod(transform_lengths(p.role, p.g))
    count = p.g.groups * _operands(p)
    work = count * points * max(1.0, log2(points))
    slower = lonely(p, points, p.batch * p.g.groups * max(p.depth, p.rows))
    lines = _lines(p.g.groups, p.batch, p.rows, p.depth)
    if p.g.rank == p.wide == 1 and sides(points, lines, p.long):
        slower = min(slower, _FOLDED)
    # Pads and cuts too: tens of calls (70 to 150 µs for a few points).
    seconds = slower * p.spectral * work / cost.fft + (22 + 6 * p.g.rank) * cost.call
    spectra = p.g.groups * p.batch * p.depth * p.rows * points
    seconds += 4 * p.width * spectra / cost.stream
    moved = 2 * p.width * points * count
    return Estimate(seconds, work, moved, bound(p, points))


def bound(p: Problem, points: int) -> str:
    """The bound of the accuracy contract for frames of so many points."""
    return sum_bound(points) if p.role == "w" else _BOUND.format(points)


def sum_bound(points: int) -> str:
    """The bound of a sum of what several frames of so many points give."""
    return _SUM_BOUND.format(points)


def lonely(p: Problem, points: int, count: int) -> int:
    """How much longer a processor takes for so few transforms of one axis at a time."""
    return 1 if p.g.rank > 1 or p.wide > 1 else alone(points, count)


def alone(points: int, count: int) -> int:
    """`lonely` of transforms of so many points along one axis.

    Threads share lines, and so do vector units. A single line that is long also leaves the caches.
    """
    if count >= _LINES:
        return 1
    return 4 if points > _LONG and count == 1 else 2


def _lines(groups: int, p: int, q: int, depth: int) -> int:
    """Lines transformed at once, at most: those of (p, G, K), of (q, G, K), or of products."""
    return groups * max(p * depth, q * depth, p * q)


def _operands(p: Problem) -> int:
    """Arrays of one transform that a group has."""
    return p.batch * p.depth + p.batch * p.rows + p.depth * p.rows


def scratch(p: Problem) -> int:
    """The spectra."""
    # Channels are mixed by a product with spectra brought into its order. A compiler writes the
    # spectra of single ones over the operands (XLA, measured: 12 bytes for a point of float32).
    copies = (1 if p.traces else 2) if p.single else 4
    points = prod(transform_lengths(p.role, p.g))
    return copies * p.width * p.g.groups * _operands(p) * points


def tile(p: Problem) -> tuple[int, int]:
    """Whatever the workspace allows."""
    return 0, 0


@lru_cache(maxsize=1024)
def fast_length(n: int) -> int:
    """The smallest 2ᵃ3ᵇ5ᶜ that is at least n (even, so that half spectra invert)."""
    best = 1 << max(1, (n - 1).bit_length())
    power5 = 1
    while power5 < best:
        power35 = power5
        while power35 < best:
            quotient = -(-n // power35)
            candidate = power35 << max(1, (quotient - 1).bit_length())
            best = min(best, candidate) if candidate >= n else best
            power35 *= 3
        power5 *= 5
    return best


class _Reading(NamedTuple):
    """One axis: points of the transform, what is read of its inverse, and zeros around that."""

    length: int
    cut: slice
    zeros: tuple[int, int]


@lru_cache(maxsize=4096)
def _readings(role: str, g: Sliding) -> tuple[_Reading, ...]:
    """Of N and M points the full convolution has N + M − 1.

    With P < N + M − 1 those from P on fall on the first ones: harmless where the first ones are not
    read, as in a product without padding.
    """
    found = []
    for s in g.spans:
        y = s.stride * (s.out - 1) + 1
        n, m, start, count, step = {
            "y": (s.length, s.extent, s.extent - 1 - s.low, s.out, s.stride),
            "x": (y, s.extent, s.low, s.length, 1),
            "w": (y, s.length, y - 1 - s.low, s.size, s.dilation),
        }[role]
        full = n + m - 1
        first, behind = max(0, start), min(full, start + step * (count - 1) + 1)
        length = fast_length(max(n, m, behind, full - first))
        # Points k with 0 <= start + step·k < full exist.
        first = min(max(0, -(start // step)), count)
        last = max(first, min(count, -(-(full - start) // step)))
        begin = start + step * first
        cut = slice(begin, begin + step * (last - first - 1) + 1, step)
        found.append(_Reading(length, cut if last > first else slice(0, 0), (first, count - last)))
    return tuple(found)


def frames(p: Problem, cut: Slabs) -> tuple[int, int]:
    """Of a kernel's gradient every slab is a frame of its own."""
    summed = p.batch * -(-p.points // cut.step) if p.role == "w" else 1
    return prod(transform_lengths(p.role, p.slab(cut).g)), summed


def transform_lengths(role: str, g: Sliding) -> list[int]:
    """FFT length per sliding axis: where it is less than the full convolution, points wrap."""
    return [r.length for r in _readings(role, g)]


def dilated(be: Backend, a: Array, steps: Sequence[int]) -> Array:
    """The last axes of a with steps − 1 zeros between their points."""
    r = len(steps)
    if all(s == 1 for s in steps):
        return a
    return be.pad(a, [(0, 0)] * a.ndim, 0, [*[0] * (a.ndim - r), *(s - 1 for s in steps)])


def few(depth: int, rows: int) -> bool:
    """Whether products of all pairs of channels hold no more than twice the channels do."""
    return depth * rows <= 2 * (depth + rows)


def mix(be: Backend, a: Array, b: Array) -> Array:
    """Σ_k a[..., k, *f] b[k, ..., *f] with a (p, G, K, *f) and b (q, G, K, *f): (p, q, G, *f)."""
    xp = be.xp
    depth = a.shape[2]
    if depth == 1:
        a = be.reshape(a, (a.shape[0], 1, a.shape[1], *a.shape[3:]))
        return a * be.reshape(b, (1, b.shape[0], b.shape[1], *b.shape[3:]))
    if depth <= 4:
        total = a[:, None, :, 0, ...] * b[None, :, :, 0, ...]
        for k in range(1, depth):
            total = be.add_into(total, a[:, None, :, k, ...] * b[None, :, :, k, ...])
        return total
    if a.shape[3:] == b.shape[3:] and few(a.shape[0], b.shape[0]):
        return xp.sum(a[:, None, ...] * b[None, ...], axis=3)
    r = a.ndim - 3
    freq = a.shape[3:]
    order = (*range(3, 3 + r), 1, 0, 2)
    product = be.matmul(
        xp.permute_dims(a, order), xp.matrix_transpose(xp.permute_dims(b, order))
    )  # (*f, G, p, q)
    product = xp.reshape(product, (*freq, *product.shape[r:]))
    return xp.permute_dims(product, (r + 1, r + 2, r, *range(r)))


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """The product of any role, channels first, each operand transformed once and whole."""
    r = g.rank
    axes, space = tuple(range(-r, 0)), tuple(range(3, 3 + r))
    strides, dilations = [s.stride for s in g.spans], [s.dilation for s in g.spans]
    groups = g.groups
    kind = a.dtype if a.dtype == b.dtype else be.xp.result_type(a, b)

    def signal(v: Array) -> Array:
        """(B, G·C, *f) to (B, G, C, *f)."""
        return be.reshape(v, (v.shape[0], groups, v.shape[1] // groups, *v.shape[2:]))

    def kernel(v: Array) -> Array:
        """(G·O, D, *f) to (G, O, D, *f)."""
        return be.reshape(v, (groups, v.shape[0] // groups, *v.shape[1:]))

    # Bring both operands to (free, G, summed, *space).
    if role == "y":
        w = dilated(be, be.flip(b, axes), dilations)
        left = signal(a)
        if groups == 1:
            right = be.reshape(w, (w.shape[0], 1, *w.shape[1:]))
        else:
            right = be.permute(kernel(w), (1, 0, 2, *space))
    elif role == "x":
        left = signal(dilated(be, b, strides))
        right = be.permute(kernel(dilated(be, a, dilations)), (2, 0, 1, *space))
    else:
        left = be.permute(signal(be.flip(dilated(be, b, strides), axes)), (2, 1, 0, *space))
        right = be.permute(signal(a), (2, 1, 0, *space))
    readings = _readings(role, g)
    lengths = [reading.length for reading in readings]
    is_real = not (be.is_complex(a) or be.is_complex(b))
    if not is_real:
        left, right = be.cast(left, kind), be.cast(right, kind)
    if r == 1:
        (n,), (p, _, depth), q = lengths, left.shape[:3], right.shape[0]
        lines = _lines(groups, p, q, depth)
        product = mix(be, be.spectra(left, n, lines), be.spectra(right, n, lines))
        out = be.lines(product, n, lines, real=is_real)
    else:
        product = mix(be, be.fft(left, axes, lengths), be.fft(right, axes, lengths))
        out = be.ifft(product, axes, lengths, real=is_real)
    none = slice(None)
    out = out[(none, none, none, *(reading.cut for reading in readings))]
    out = be.pad(out, [*[(0, 0)] * 3, *(reading.zeros for reading in readings)])
    out = be.cast(out, kind)
    if role == "w":  # (O/G, D, G, *K) -> (O, D, *K)
        out = be.permute(out, (2, 0, 1, *space))
        return be.reshape(out, (out.shape[0] * out.shape[1], *out.shape[2:]))
    # (B, q, G, *f) -> (B, G·q, *f)
    if groups > 1:
        out = be.permute(out, (0, 2, 1, *space))
    return be.reshape(out, (out.shape[0], out.shape[1] * out.shape[2], *out.shape[3:]))
