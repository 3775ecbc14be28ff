"""A sliding product slab by slab, so that its scratch arrays stay small.

A slab is a few batch entries and a stretch of the first sliding axis: of outputs for the forward
product and the kernel gradient, of input points for the transpose. Its product is one of the same
kind with a smaller geometry; slabs of y and x are written beside each other, those of w are added.
Where arrays may be written in place a slab also fits the cache; a traced program goes through equal
slabs in a compiled loop, and only where the workspace demands it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from .._backends import Backend
from ..geometry import Sliding
from . import direct, fft, toeplitz

__all__ = [
    "BLOCK",
    "Problem",
    "Slabs",
    "channels",
    "fit",
    "held",
    "repeated",
    "result_shape",
    "sweep",
]

Array = Any
Product = Callable[[Sliding, Array, Array], Array]

# Bytes of output computed at a time by shift-and-add: three such blocks stay in a core's cache.
BLOCK = 2**18
# Bytes of gathered windows at a time: they stay in the second-level caches until the product.
_COLUMNS = 2**21
# Bytes of input cut into frames at a time.
_FRAMES = 2**22


@dataclass(frozen=True)
class Slabs:
    """How a product is cut: batch entries and points of the first sliding axis at a time."""

    chunk: int
    step: int


@dataclass(frozen=True)
class Problem:
    """What the size of a product depends on.

    Attributes
    ----------
    role : {"y", "x", "w"}
        The letter of the result (see `product`).
    g : Sliding
        Its geometry.
    batch, depth, rows : int
        Batch entries, input channels and output channels of one group.
    width : int
        Bytes of one element.
    traces : bool
        Whether a compiler arranges the scratch arrays.
    """

    role: str
    g: Sliding
    batch: int
    depth: int
    rows: int
    width: int
    traces: bool

    @property
    def points(self) -> int:
        """Points along the axis that is cut."""
        return self.g.spans[0].length if self.role == "x" else self.g.spans[0].out

    @property
    def x_bytes(self) -> int:
        """Bytes of x with its padding."""
        padded = prod(max(s.length, s.length + s.low + s.high) for s in self.g.spans)
        return self.width * self.batch * self.g.groups * self.depth * padded

    @property
    def y_bytes(self) -> int:
        """Bytes of y."""
        return self.width * self.batch * self.g.groups * self.rows * prod(self.g.out)

    @property
    def columns_bytes(self) -> int:
        """Bytes of all windows gathered."""
        taps = self.depth * prod(self.g.sizes) * prod(self.g.out)
        return self.width * self.batch * self.g.groups * taps

    def slab(self, slabs: Slabs) -> Problem:
        """The problem of one slab in the middle."""
        span, step = self.g.spans[0], slabs.step
        if step >= self.points:
            return replace(self, batch=slabs.chunk)
        if self.role == "x":
            part = span.back(0, step)
        else:
            part = replace(span, length=(step - 1) * span.stride + span.extent, low=0, high=0)
        g = replace(self.g, spans=(part, *self.g.spans[1:]))
        return replace(self, g=g, batch=slabs.chunk)

    def forward(self) -> Problem:
        """The transpose as a forward product: zeros between strides, channels exchanged."""
        spans = tuple(s.turned() for s in self.g.spans)
        return replace(
            self, role="y", g=replace(self.g, spans=spans), depth=self.rows, rows=self.depth
        )


def held(method: str, p: Problem, *, whole: bool) -> int:
    """Bytes beyond operands and result while p is computed, as a whole or as one of many slabs."""
    found = _scratch(method, p)
    if not whole:
        # The result of a slab until it is copied; a compiled loop also copies its operands.
        found += {"y": p.y_bytes, "x": p.x_bytes, "w": 0}[p.role]
        found += 2 * max(p.x_bytes, p.y_bytes) if p.traces else 0
    return found


def _scratch(method: str, p: Problem) -> int:
    if p.role == "x" and method in ("im2col", "toeplitz"):
        turned = p.forward()
        return turned.x_bytes + _scratch(method, turned)
    g, x, y = p.g, p.x_bytes, p.y_bytes
    kernel = p.width * g.groups * p.rows * p.depth * prod(g.sizes)
    if method == "direct":
        # One term, and the stretch of the operand that a matrix product wants contiguous; a
        # compiler may keep a few of both.
        if p.depth * p.rows == 1 and p.role != "w":
            return x + y if p.traces else max(x, y)
        return (4 if p.traces else 1) * (x + y)
    if method == "im2col":
        # Groups of channels that lie apart are gathered before they are joined.
        return (2 if g.last and g.groups > 1 else 1) * p.columns_bytes + x + y + kernel
    if method == "toeplitz":
        span = g.spans[-1]
        length = toeplitz.frame_length(span, p.depth, p.rows)
        count = toeplitz.blocks(span, length)
        bands = p.width * g.groups * p.depth * p.rows * count * length * length * span.stride
        terms = count * prod(g.sizes[:-1])
        if terms > direct.UNROLLED:
            terms = count + 2
        else:
            bands *= prod(g.sizes[:-1])
        # A compiler may compute all terms before it adds the first two.
        terms = terms if p.traces else 2
        return (2 * x + (1 + terms) * y if p.role == "y" else terms * x + 3 * y) + 2 * bands
    if method == "native":
        # PyTorch's kernels bring operands into orders of their own, those of derivatives more so.
        copies = 1 if p.traces else 2 if p.role == "y" else 3
        return copies * (x + y) + kernel
    operands = p.batch * p.depth + p.batch * p.rows + p.depth * p.rows
    if method == "fft":
        # Channels are mixed by a product with spectra brought into its order.
        copies = 2 if p.depth * p.rows == 1 else 4
        return copies * p.width * g.groups * operands * prod(fft.transform_lengths(p.role, g))
    (span,) = g.spans
    points, hop, frames = fft.frames_of(span)
    spectra = 2 * p.width * g.groups * p.depth * p.rows * points
    x = p.width * p.batch * g.groups * p.depth * (frames * hop + span.extent)
    y = p.width * p.batch * g.groups * p.rows * frames * hop
    if p.traces:
        return spectra + 2 * (x + y) * points // hop
    return spectra + x + 2 * y


def _tile(method: str, p: Problem) -> tuple[int, int]:
    """Bytes that should stay in the cache, and how many may."""
    if method == "im2col":
        return (p.forward() if p.role == "x" else p).columns_bytes, _COLUMNS
    sizes = {"direct": BLOCK, "toeplitz": _FRAMES}
    return max(p.x_bytes, p.y_bytes), sizes.get(method, 2**62)


def fit(method: str, p: Problem, limit: int, *, mutable: bool) -> Slabs:
    """The largest slabs whose scratch stays within `limit` bytes (and the cache, in place).

    A batch is cut before the sliding axis is. Where one point of one batch entry is too much, that
    is what is returned.
    """
    whole = Slabs(p.batch, p.points)
    if not (mutable or p.traces):
        return whole
    # How a compiler arranges arrays in memory is known roughly.
    shares = 2 if p.traces else 1

    def fits(slabs: Slabs) -> bool:
        part = p.slab(slabs)
        if held(method, part, whole=slabs == whole) > limit // shares:
            return False
        if not mutable:
            return True
        size, most = _tile(method, part)
        return size <= most

    if fits(whole):
        return whole
    if fits(Slabs(1, p.points)):
        sizes = [n for n in _counts(p.batch) if not p.traces or p.batch % n == 0]
        return Slabs(next(n for n in sizes if fits(Slabs(n, p.points))), p.points)
    # A compiled loop writes equal slabs of x, which begin at the same phase of the stride.
    unit = p.g.spans[0].stride if p.traces and p.role == "x" else 1
    low, high = 1, max(1, p.points // unit)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(Slabs(1, middle * unit)) else (low, middle)
    return Slabs(1, min(p.points, low * unit))


def _counts(batch: int) -> list[int]:
    """Numbers of batch entries to try, falling."""
    if batch <= 64:
        return list(range(batch, 0, -1))
    found = sorted({batch // k for k in range(1, int(batch**0.5) + 1)} | set(range(1, 65)))
    return found[::-1]


def repeated(p: Problem, slabs: Slabs) -> float:
    """How often an operand point is read on average, because slabs overlap."""
    if slabs.step >= p.points:
        return 1.0
    span, part = p.g.spans[0], p.slab(slabs).g.spans[0]
    count = -(-p.points // slabs.step)
    whole, each = (span.out, part.out) if p.role == "x" else (span.length, part.length)
    return max(1.0, count * each / max(1, whole))


def channels(g: Sliding, shapes: dict[str, tuple[int, ...]]) -> tuple[int, int, int]:
    """Batch, and channels of one group: those of x and those of y."""
    first = next(shapes[c] for c in "xy" if c in shapes)
    if "w" in shapes:
        w = shapes["w"]
        depth, out = (w[-2], w[-1]) if g.last else (w[1], w[0])
        return first[0], depth, out // g.groups
    at = -1 if g.last else 1
    return first[0], shapes["x"][at] // g.groups, shapes["y"][at] // g.groups


def result_shape(role: str, g: Sliding, batch: int, depth: int, rows: int) -> tuple[int, ...]:
    """Shape of the product of a role."""
    if role == "w":
        return g.w_shape(g.groups * rows, depth)
    if role == "x":
        return g.x_shape(batch, g.groups * depth)
    return g.y_shape(batch, g.groups * rows)


def sweep(be: Backend, p: Problem, slabs: Slabs, a: Array, b: Array, product: Product) -> Array:
    """The product, slab by slab."""
    if slabs.chunk >= p.batch and slabs.step >= p.points:
        return product(p.g, a, b)
    return (_loop if p.traces else _in_place)(be, p, slabs, a, b, product)


def _in_place(be: Backend, p: Problem, slabs: Slabs, a: Array, b: Array, product: Product) -> Array:
    role, g, span = p.role, p.g, p.g.spans[0]
    shape = result_shape(role, g, p.batch, p.depth, p.rows)
    out: Any = None if role == "w" else be.new_like(a, shape, dtype=a.dtype)
    between = (slice(None),) * (0 if g.last else 1)
    for entry in range(0, p.batch, slabs.chunk):
        entries = slice(entry, min(entry + slabs.chunk, p.batch))
        for first in range(0, p.points, slabs.step):
            last = min(first + slabs.step, p.points)
            here = (entries, *between, slice(first, last))
            if role == "x":
                there, part = span.source(first, last)
                if part.out == 0:
                    continue
            else:
                there, part = span.part(first, last)
                if part.length == 0:
                    continue
            sub = replace(g, spans=(part, *g.spans[1:]))
            there = (entries, *between, there)
            if role == "y":
                out[here] = product(sub, a[there], b)
            elif role == "x":
                out[here] = product(sub, a, b[there])
            else:
                term = product(sub, a[there], b[here])
                if out is None:
                    out = term
                else:
                    out += term
    return be.new_like(a, shape, dtype=a.dtype) if out is None else out


def _loop(be: Backend, p: Problem, slabs: Slabs, a: Array, b: Array, product: Product) -> Array:
    """A compiled loop over equal slabs; the last one begins earlier and repeats a few points."""
    xp, role, g, span = be.xp, p.role, p.g, p.g.spans[0]
    chunk, hop = slabs.chunk, min(slabs.step, p.points)
    at = 1 if g.last else 2
    # Every slab of x begins at the same phase of the stride, the last one too.
    width = hop + p.points % span.stride if role == "x" and hop < p.points else hop
    cut = width < p.points
    final = p.points - width
    count = 1 + -(-final // hop)
    sub = p.slab(Slabs(chunk, width)).g
    reach = sub.spans[0].out if role == "x" else sub.spans[0].length

    def begin_of(start: Any) -> Any:
        """Where the operand of the slab that begins at `start` begins."""
        if role == "x":
            return span.source_start(0) + start // span.stride
        return start * span.stride - span.low

    ends = begin_of(0), begin_of(final)

    def entries(x: Array, entry: Any) -> Array:
        return be.slab(x, 0, entry, chunk) if chunk < p.batch else x

    def body(i: Any, out: Array) -> Array:
        entry, first = (i // count) * chunk, (i % count) * hop
        start = xp.minimum(first, final) if final % hop else first
        source = entries(b if role == "x" else a, entry)
        if cut:
            source = _within(be, source, at, begin_of(start), reach, *ends)
        if role == "x":
            value = product(sub, a, source)
        elif role == "y":
            value = product(sub, source, b)
        else:
            y = entries(b, entry)
            if cut:
                y = be.slab(y, at, start, width)
            if final % hop:
                # Outputs that the slab before has had.
                index = be.arange(width, y, be.default_int(y)) + start
                index = xp.reshape(index, (-1, *[1] * (y.ndim - at - 1)))
                y = xp.where(index >= first, y, xp.zeros_like(y))
            return out + product(sub, source, y)
        return be.put_slab(out, value, (entry, *[0] * (at - 1), start))

    shape = result_shape(role, g, p.batch, p.depth, p.rows)
    total = (p.batch // chunk) * count
    return be.fori_loop(0, total, body, be.new_like(a, shape, dtype=a.dtype))


def _within(
    be: Backend, x: Array, axis: int, start: Any, length: int, lowest: int, highest: int
) -> Array:
    """x[start : start + length] along an axis, zeros outside; start may be traced.

    `lowest` and `highest` bound the starts. Only the slab is copied, never x.
    """
    n = x.shape[axis]
    if lowest >= 0 and highest + length <= n:
        return be.slab(x, axis, start, length)
    inside = min(length, n)
    begin = be.xp.clip(be.xp.asarray(start), 0, n - inside)
    block = be.slab(x, axis, begin, inside)
    low = max(0, -lowest)
    high = max(0, highest + length - n) + length - inside
    widths = [(0, 0)] * x.ndim
    widths[axis] = (low, high)
    return be.slab(be.pad(block, widths), axis, start - begin + low, length)
