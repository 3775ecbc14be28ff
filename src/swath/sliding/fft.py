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
from typing import Any

from .._backends import Backend
from ..geometry import Sliding
from .costs import Costs
from .problem import Estimate, Problem, as_is

__all__ = [
    "BOUND",
    "dilated",
    "estimate",
    "fast_length",
    "last",
    "lonely",
    "mix",
    "of_dtype",
    "roles",
    "run",
    "scratch",
    "tile",
    "transform_lengths",
]

Array = Any
pack = unpack = as_is
# Points from which a transform by itself is slow.
_LONG = 2**17
BOUND = "|err| <= 4·eps·log2(n)·|frame|₂·|k|₂ + n·tiny, n = {}"


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
    # Pads and cuts too: tens of calls (70 to 150 µs for a few points).
    seconds = slower * p.heavy * work / cost.fft + (22 + 6 * p.g.rank) * cost.call
    spectra = p.g.groups * p.batch * p.depth * p.rows * points
    seconds += 4 * p.heavy * p.width * spectra / cost.stream
    moved = 2 * p.width * points * count
    return Estimate(seconds, work, moved, BOUND.format(points), transforms=True)


def lonely(p: Problem, points: int, count: int) -> int:
    """How much longer a processor takes for so few transforms at a time.

    A single one along one axis is done by one thread, and a long one also leaves the caches.
    """
    if p.g.rank > 1 or p.wide > 1 or count > 1:
        return 1
    return 4 if points > _LONG else 2


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


def transform_lengths(role: str, g: Sliding) -> list[int]:
    """FFT length per sliding axis: where it is less than the full convolution, points wrap around.

    Of N and M points the full convolution has N + M − 1. With P < N + M − 1 those from P on fall on
    the first ones: harmless where the first ones are not read, as in a product without padding.
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
        found.append(fast_length(max(n, m, behind, full - first)))
    return found


def dilated(be: Backend, a: Array, steps: Sequence[int]) -> Array:
    """The last axes of a with steps − 1 zeros between their points."""
    r = len(steps)
    if all(s == 1 for s in steps):
        return a
    return be.pad(a, [(0, 0)] * a.ndim, 0, [*[0] * (a.ndim - r), *(s - 1 for s in steps)])


def mix(be: Backend, a: Array, b: Array) -> Array:
    """Σ_k a[..., k, *f] b[k, ..., *f] with a (p, G, K, *f) and b (q, G, K, *f): (p, q, G, *f)."""
    xp = be.xp
    depth = a.shape[2]
    if depth <= 4:
        total = None
        for k in range(depth):
            term = a[:, None, :, k, ...] * b[None, :, :, k, ...]
            total = term if total is None else total + term
        return total
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
    xp, r = be.xp, g.rank
    axes = tuple(range(-r, 0))
    strides, dilations = [s.stride for s in g.spans], [s.dilation for s in g.spans]
    groups = g.groups
    kind = xp.result_type(a, b)
    # Bring both operands to (free, G, summed, *space) and name where the result is read.
    if role == "y":
        x, w = a, dilated(be, xp.flip(b, axis=axes), dilations)
        left = xp.reshape(x, (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))
        right = xp.reshape(w, (groups, w.shape[0] // groups, *w.shape[1:]))
        right = xp.permute_dims(right, (1, 0, 2, *range(3, 3 + r)))
        starts = [s.extent - 1 - s.low for s in g.spans]
        counts, steps = g.out, strides
    elif role == "x":
        w, y = dilated(be, a, dilations), dilated(be, b, strides)
        left = xp.reshape(y, (y.shape[0], groups, y.shape[1] // groups, *y.shape[2:]))
        right = xp.reshape(w, (groups, w.shape[0] // groups, *w.shape[1:]))
        right = xp.permute_dims(right, (2, 0, 1, *range(3, 3 + r)))
        starts = [s.low for s in g.spans]
        counts, steps = g.lengths, [1] * r
    else:
        x, y = a, xp.flip(dilated(be, b, strides), axis=axes)
        left = xp.reshape(y, (y.shape[0], groups, y.shape[1] // groups, *y.shape[2:]))
        left = xp.permute_dims(left, (2, 1, 0, *range(3, 3 + r)))  # (O/G, G, B, *f)
        right = xp.reshape(x, (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))
        right = xp.permute_dims(right, (2, 1, 0, *range(3, 3 + r)))
        starts = [s.stride * (s.out - 1) - s.low for s in g.spans]
        counts, steps = g.sizes, dilations
    full = [n + m - 1 for n, m in zip(left.shape[3:], right.shape[3:], strict=True)]
    lengths = transform_lengths(role, g)
    is_real = not (be.is_complex(a) or be.is_complex(b))
    if not is_real:
        left, right = of_dtype(be, left, kind), of_dtype(be, right, kind)
    product = mix(be, be.fft(left, axes, lengths), be.fft(right, axes, lengths))
    out = be.ifft(product, axes, lengths, real=is_real)
    out = _read(be, out, starts, counts, steps, full)
    if out.dtype != kind:
        out = xp.astype(out, kind)
    if role == "w":  # (O/G, D, G, *K) -> (O, D, *K)
        out = xp.permute_dims(out, (2, 0, 1, *range(3, 3 + r)))
        return xp.reshape(out, (-1, out.shape[2], *out.shape[3:]))
    # (B, q, G, *f) -> (B, G·q, *f)
    out = xp.permute_dims(out, (0, 2, 1, *range(3, 3 + r)))
    return xp.reshape(out, (out.shape[0], out.shape[1] * out.shape[2], *out.shape[3:]))


def of_dtype(be: Backend, a: Array, kind: Any) -> Array:
    """The array in a dtype, itself where it has it."""
    return a if a.dtype == kind else be.xp.astype(a, kind)


def _read(
    be: Backend,
    out: Array,
    starts: Sequence[int],
    counts: Sequence[int],
    steps: Sequence[int],
    full: Sequence[int],
) -> Array:
    """Read `counts` points from `starts` by `steps`; zeros where that leaves the full result."""
    cuts, widths = [], []
    for start, count, step, n in zip(starts, counts, steps, full, strict=True):
        # Points k with 0 <= start + step·k < n exist.
        first = min(max(0, -(start // step)), count)
        last = max(first, min(count, -(-(n - start) // step)))
        begin = start + step * first
        cuts.append(slice(begin, begin + step * max(0, last - first - 1) + 1, step))
        if last == first:
            cuts[-1] = slice(0, 0)
        widths.append((first, count - last))
    lead = out.ndim - len(cuts)
    out = out[(*[slice(None)] * lead, *cuts)]
    return be.pad(out, [*[(0, 0)] * lead, *widths])
