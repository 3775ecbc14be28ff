"""The sliding product as a product with the blocks of its Toeplitz matrix.

Along the last sliding axis x is cut into frames of s·T points (s the stride). T outputs of one
frame are J neighbouring frames times J blocks of the banded Toeplitz matrix::

    y_b = Σ_{j<J} x_{b+j} M_j,     M_j[r, c] = w[j·s·T + r − s·c],    r < s·T, c < T

so a filter runs at the speed of matrix multiplication, from a reshape, slices and products alone.
Other sliding axes are taps in a loop, channels ride along in the rows and columns of M.

The band holds zeros beside the kernel: a non-finite sample can reach the other outputs of its
frame (0·∞), at most s·T + extent points away, and no further.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from .._backends import Backend
from ..geometry import Sliding, Span
from .costs import Costs
from .direct import UNROLLED, tap_of, window
from .problem import Estimate, Problem, as_is

__all__ = ["blocks", "estimate", "frame_length", "last", "roles", "run", "scratch", "tile"]

Array = Any
pack = unpack = as_is

# Bytes of input cut into frames at a time.
_FRAMES = 2**22


def last(p: Problem) -> bool:
    """Whether it takes channels last."""
    return False


def roles(p: Problem) -> tuple[str, ...]:
    """Those of the forward product and of its kernel."""
    return ("y", "w")


def estimate(p: Problem, cost: Costs) -> Estimate:
    """One product with every block of every tap of the other axes."""
    g, span = p.g, p.g.spans[-1]
    length = frame_length(span, p.depth, p.rows)
    others = prod(g.sizes[:-1])
    terms = blocks(span, length) * others
    flops = float(p.outputs * p.depth * terms * span.stride * length)
    inner = min(p.depth * length * span.stride, p.rows * length)
    moved = p.width * (2 * p.inputs + 3 * p.outputs * terms)
    seconds = p.heavy * flops * (1 + 24 / inner) / cost.gemm + moved / cost.stream
    return Estimate(seconds + (12 + 4 * terms) * cost.call, flops, moved)


def scratch(p: Problem) -> int:
    """Frames, the blocks of the matrix, and a product with each."""
    g, x, y, span = p.g, p.x_bytes, p.y_bytes, p.g.spans[-1]
    length = frame_length(span, p.depth, p.rows)
    count = blocks(span, length)
    bands = p.width * g.groups * p.depth * p.rows * count * length * length * span.stride
    terms = count * prod(g.sizes[:-1])
    if terms > UNROLLED:
        terms = count + 2
    else:
        bands *= prod(g.sizes[:-1])
    # A compiler may compute all terms before it adds the first two.
    terms = terms if p.traces else 2
    return (2 * x + (1 + terms) * y if p.role == "y" else terms * x + 3 * y) + 2 * bands


def tile(p: Problem) -> tuple[int, int]:
    """The frames of a slab."""
    return max(p.x_bytes, p.y_bytes), _FRAMES


def frame_length(span: Span, depth: int = 1, rows: int = 1) -> int:
    """Outputs per frame: least work per output, discounted for products too small for BLAS.

    With many input and output channels, or many outputs and a long stride, short frames fill a
    product too, and their blocks hold fewer zeros beside the kernel.
    """
    best, found = float("inf"), 16
    width = max(1, min(depth * span.stride, rows))
    least = min(8, width)
    for length in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        if length * least < 8:
            continue
        inner = length * width
        work = blocks(span, length) * span.stride * length * (1 + 24 / inner)
        if work < best:
            best, found = work, length
    return min(found, max(-(-8 // least), 1 << (max(span.out, 1) - 1).bit_length()))


def blocks(span: Span, length: int) -> int:
    """J, the number of frames that T outputs see."""
    return -(-((length - 1) * span.stride + span.extent) // (span.stride * length))


class _Frames:
    """Sizes of the framed problem, and the rearrangements between arrays and frames."""

    def __init__(self, be: Backend, g: Sliding, depth: int, rows: int) -> None:
        self.be, self.xp, self.g = be, be.xp, g
        self.depth, self.rows = depth, rows
        self.span, self.lead = g.spans[-1], g.spans[:-1]
        self.T = frame_length(self.span, depth, rows)
        self.hop = self.span.stride * self.T
        self.J = blocks(self.span, self.T)
        self.nb = -(-self.span.out // self.T)
        self.F = self.nb + self.J - 1

    def x(self, x: Array) -> Array:
        """(B, G·D, *lead, n) to (G, B, *lead padded, F, D·hop)."""
        g, xp = self.g, self.xp
        start = max(0, -self.span.low)
        reach = self.F * self.hop
        keep = min(self.span.length, max(start, reach - self.span.low))
        cuts = [slice(max(0, -s.low), s.length - max(0, -s.high)) for s in self.lead]
        x = x[(slice(None), slice(None), *cuts, slice(start, keep))]
        low = max(0, self.span.low)
        widths = [(max(0, s.low), max(0, s.high)) for s in self.lead]
        widths.append((low, reach - low - x.shape[-1]))
        x = self.be.pad(x, [(0, 0), (0, 0), *widths])
        lead = x.shape[2:-1]
        x = xp.reshape(x, (x.shape[0], g.groups, self.depth, *lead, self.F, self.hop))
        r = len(lead)
        # (B, G, D, *lead, F, hop) -> (G, B, *lead, F, D, hop)
        x = xp.permute_dims(x, (1, 0, *range(3, 4 + r), 2, 4 + r))
        return xp.reshape(x, (g.groups, x.shape[1], *lead, self.F, self.depth * self.hop))

    def y(self, y: Array) -> Array:
        """(B, G·R, *lead, out) to (G, B, *lead, nb, R·T)."""
        g, xp = self.g, self.xp
        rank = len(self.lead)
        fill = self.nb * self.T - self.span.out
        y = self.be.pad(y, [*[(0, 0)] * (2 + rank), (0, fill)])
        lead = y.shape[2:-1]
        y = xp.reshape(y, (y.shape[0], g.groups, self.rows, *lead, self.nb, self.T))
        y = xp.permute_dims(y, (1, 0, *range(3, 4 + rank), 2, 4 + rank))
        return xp.reshape(y, (g.groups, y.shape[1], *lead, self.nb, self.rows * self.T))

    def y_back(self, y: Array) -> Array:
        """The inverse of `y`."""
        xp, rank = self.xp, len(self.lead)
        y = xp.reshape(y, (*y.shape[:-1], self.rows, self.T))
        # (G, B, *lead, nb, R, T) -> (B, G, R, *lead, nb, T)
        y = xp.permute_dims(y, (1, 0, 3 + rank, *range(2, 3 + rank), 4 + rank))
        lead = y.shape[3:-2]
        y = xp.reshape(y, (y.shape[0], self.g.groups * self.rows, *lead, self.nb * self.T))
        return y[..., : self.span.out]

    def bands(self, w: Array) -> Array:
        """w (O, D, *K) to the blocks (*lead taps, J, G, D·hop, R·T)."""
        g, xp, s = self.g, self.xp, self.span
        w = self.be.pad(w, [(0, 0)] * w.ndim, 0, [*[0] * (w.ndim - 1), s.dilation - 1])
        height = self.J * self.hop
        step = height + s.stride
        # Rows of length height+stride, laid end to end and cut at `height`, shift by stride a row.
        w = self.be.pad(w, [*[(0, 0)] * (w.ndim - 1), (0, step - w.shape[-1])])
        head = w.shape[:-1]
        w = xp.broadcast_to(xp.expand_dims(w, axis=-2), (*head, self.T, step))
        w = xp.reshape(w, (*head, self.T * step))[..., : self.T * height]
        w = xp.reshape(w, (g.groups, self.rows, self.depth, *head[2:], self.T, self.J, self.hop))
        r = len(self.lead)
        # (G, R, D, *lead, T, J, hop) -> (*lead, J, G, D, hop, R, T)
        w = xp.permute_dims(w, (*range(3, 3 + r), 4 + r, 0, 2, 5 + r, 1, 3 + r))
        return xp.reshape(
            w,
            (*head[2:], self.J, g.groups, self.depth * self.hop, self.rows * self.T),
        )

    def bands_back(self, m: Array) -> Array:
        """The transpose of `bands`: sums along the diagonals of the blocks."""
        g, xp, s = self.g, self.xp, self.span
        r = len(self.lead)
        taps = m.shape[:r]
        m = xp.reshape(m, (*taps, self.J, g.groups, self.depth, self.hop, self.rows, self.T))
        m = xp.permute_dims(m, (r + 1, r + 4, r + 2, *range(r), r + 5, r, r + 3))
        height = self.J * self.hop
        step = height + s.stride
        m = xp.reshape(m, (g.groups * self.rows, self.depth, *taps, self.T * height))
        m = self.be.pad(m, [*[(0, 0)] * (m.ndim - 1), (0, self.T * s.stride)])
        m = xp.reshape(m, (*m.shape[:-1], self.T, step))
        m = xp.sum(m, axis=-2, dtype=m.dtype)
        return m[..., : s.extent : s.dilation]

    def add_terms(self, total: Array | None, part: Array, bands: Array) -> Array:
        """total + Σ_j of the frames `part` shifted by j times bands[j]."""
        be, xp = self.be, self.xp
        shape = part.shape
        part = xp.reshape(part, (self.g.groups, prod(shape[1:-1]), shape[-1]))
        for j in range(self.J):
            term = be.matmul(part, bands[j, ...])
            term = xp.reshape(term, (*shape[:-1], self.rows * self.T))[..., j : j + self.nb, :]
            if total is None:
                total = xp.asarray(term, copy=True) if be.mutable else term
            elif be.mutable:
                total += term
            else:
                total = total + term
        return total

    def rows_of(self, y: Array) -> Array:
        """(G, B, *lead, n, c) to (G, B·lead·n, c)."""
        return self.xp.reshape(y, (self.g.groups, prod(y.shape[1:-1]), y.shape[-1]))

    def blocks_of(self, part: Array, ys: Array) -> list[Array]:
        """The gradient of every block of one tap: frames, shifted by j, against the outputs."""
        found = []
        for j in range(self.J):
            xs = self.rows_of(part[..., j : j + self.nb, :])
            found.append(self.be.matmul(self.xp.matrix_transpose(xs), ys))
        return found

    def lead_cuts(self, tap: tuple[int, ...]) -> tuple[slice, ...]:
        return tuple(s.placed(j) for s, j in zip(self.lead, tap, strict=True))


def run(be: Backend, role: str, g: Sliding, a: Array, b: Array) -> Array:
    """The products of role "y" and "w", channels first."""
    f = _Frames(be, g, *_channels(role, g, a, b))
    if f.J * prod(s.size for s in f.lead) > UNROLLED:
        return _loop(f, role, a, b)
    if role == "y":
        frames, bands = f.x(a), f.bands(b)
        total = None
        for tap in product(*(range(s.size) for s in f.lead)):
            part = frames[(slice(None), slice(None), *f.lead_cuts(tap), ...)]
            total = f.add_terms(total, part, bands[(*tap, ...)])
        return f.y_back(total)
    frames, ys = f.x(a), f.rows_of(f.y(b))
    found = []
    for tap in product(*(range(s.size) for s in f.lead)):
        part = frames[(slice(None), slice(None), *f.lead_cuts(tap), ...)]
        found += f.blocks_of(part, ys)
    m = be.xp.stack(found, axis=0)
    return f.bands_back(be.xp.reshape(m, (*(s.size for s in f.lead), f.J, *m.shape[1:])))


def _channels(role: str, g: Sliding, a: Array, b: Array) -> tuple[int, int]:
    if role == "y":
        return b.shape[1], b.shape[0] // g.groups
    return a.shape[1] // g.groups, b.shape[1] // g.groups


def _loop(f: _Frames, role: str, a: Array, b: Array) -> Array:
    """`run` for many taps of the other axes: the blocks of one at a time, in a compiled loop.

    A long program would compile for seconds, and all blocks together may outgrow the input.
    """
    be, xp, sizes = f.be, f.be.xp, [s.size for s in f.lead]
    frames, taps = f.x(a), prod(sizes)

    def part_of(number: Any) -> Array:
        return window(be, frames, f.lead, tap_of(sizes, number), 2)

    if role == "y":
        kernels = xp.reshape(b, (*b.shape[:2], taps, b.shape[-1]))

        def add(i: Any, total: Array) -> Array:
            w = xp.reshape(be.slab(kernels, 2, i, 1), (*b.shape[:2], *[1] * len(sizes), -1))
            bands = f.bands(w)
            bands = xp.reshape(bands, bands.shape[len(sizes) :])
            return f.add_terms(total, part_of(i), bands)

        lead = [s.out for s in f.lead]
        shape = (f.g.groups, a.shape[0], *lead, f.nb, f.rows * f.T)
        return f.y_back(be.fori_loop(0, taps, add, be.new_like(a, shape, dtype=a.dtype)))
    ys = f.rows_of(f.y(b))

    def put(i: Any, kernels: Array) -> Array:
        m = xp.stack(f.blocks_of(part_of(i), ys), axis=0)
        w = f.bands_back(xp.reshape(m, (*[1] * len(sizes), *m.shape)))
        return be.put_slab(kernels, xp.reshape(w, (1, *w.shape[:2], w.shape[-1])), [i])

    shape = (taps, f.g.groups * f.rows, f.depth, f.span.size)
    kernels = be.fori_loop(0, taps, put, be.new_like(a, shape, dtype=a.dtype))
    return xp.reshape(xp.permute_dims(kernels, (1, 2, 0, 3)), f.g.w_shape(shape[1], f.depth))
