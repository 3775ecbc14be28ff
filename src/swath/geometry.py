"""Output lengths, padding, halo and the transposed problem: frozen integers, no arrays.

Every length in swath is computed here and nowhere else. The index map of all sliding operations,
on each sliding axis, with output index i, tap j and input position p::

    p = stride * i + dilation * j - low          0 <= i < out,  0 <= j < size
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import gcd, prod
from operator import index
from typing import Any

from .errors import ArgumentError

__all__ = [
    "Block",
    "Halo",
    "Sliding",
    "Span",
    "Windows",
    "pooling_span",
    "resolve_padding",
    "same_padding",
    "strided",
]


# Kernels of at most so many taps keep the table of their slices: building it costs more than a
# small product.
_FEW = 64

# A tap with outputs and inputs per sliding axis; remainders, points and taps of one product of a
# transpose, and its geometry.
Tap = tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...]]
Residue = tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...], "Sliding"]


def strided(start: int, count: int, stride: int) -> slice:
    """`count` points from `start` on, a stride apart; a single one without a stride.

    XLA (jaxlib 0.10) takes a wrong point, or none, where it cuts one with a stride out of an axis
    that lies in shards.
    """
    return slice(start, start + stride * (count - 1) + 1, stride if count > 1 else 1)


@dataclass(frozen=True)
class Span:
    """One sliding axis: `length` points, a window of `size` taps, the padding on both sides.

    Attributes
    ----------
    length, size, stride, dilation : int
        Points of the input, taps of the window, step between windows, step between taps.
    low, high : int
        Points of padding before and after; negative ones crop.
    """

    length: int
    size: int
    stride: int = 1
    dilation: int = 1
    low: int = 0
    high: int = 0

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # Computed once: geometries are keys of caches that every call goes through.
        return hash((self.length, self.size, self.stride, self.dilation, self.low, self.high))

    @property
    def extent(self) -> int:
        """Points from the first tap to the last, both included."""
        return self.dilation * (self.size - 1) + 1

    @cached_property
    def out(self) -> int:
        """How many windows fit: ⌊(length + low + high − extent) / stride⌋ + 1, never negative."""
        room = self.length + self.low + self.high - self.extent
        return room // self.stride + 1 if room >= 0 else 0

    def tap(self, j: int) -> tuple[slice, slice]:
        """Outputs that tap j reaches inside the input, and the input points it reaches them from.

        Returns
        -------
        outputs, inputs : slice
            Of equal length (possibly 0), with explicit, in-range stops.
        """
        start = self.dilation * j - self.low
        first = max(0, -(start // self.stride))
        last = min(self.out - 1, (self.length - 1 - start) // self.stride)
        if last < first:
            return slice(0, 0), slice(0, 0)
        p = start + self.stride * first
        return slice(first, last + 1), strided(p, last - first + 1, self.stride)

    def placed(self, j: int) -> slice:
        """The points of the padded input that tap j reads, one for each output."""
        return strided(self.dilation * j, self.out, self.stride)

    @property
    def unit(self) -> bool:
        """Whether windows are neighbours and taps contiguous."""
        return self.stride == 1 and self.dilation == 1

    @property
    def idle(self) -> bool:
        """Whether every window is one point, in its place."""
        return self.size == 1 and self.stride == 1 and self.low == 0 and self.high == 0

    def transposed(self) -> Span:
        """The stride-1 problem whose windows run the other way; an involution.

        With stride 1, correlating the output with the reversed kernel under this span gives the
        transpose of the correlation under `self`.
        """
        if self.stride != 1:
            raise ArgumentError(f"a span of stride {self.stride} has no stride-1 transpose")
        reach = self.extent - 1
        return Span(self.out, self.size, 1, self.dilation, reach - self.low, reach - self.high)

    def part(self, first: int, last: int) -> tuple[slice, Span]:
        """The sub-problem of outputs first … last−1: the input points it reads, and its span."""
        start = self.stride * first - self.low
        stop = self.stride * (last - 1) + self.extent - self.low
        inside = slice(min(max(start, 0), self.length), max(min(stop, self.length), 0))
        inside = slice(inside.start, max(inside.start, inside.stop))
        low, high = inside.start - start, stop - inside.stop
        length = inside.stop - inside.start
        return inside, Span(length, self.size, self.stride, self.dilation, low, high)

    def stretch(self, first: int, last: int) -> Span:
        """The span of taps first … last−1 alone, with the same outputs."""
        low, size = self.low - self.dilation * first, last - first
        reach = self.stride * (self.out - 1) + self.dilation * (size - 1) + 1
        return replace(self, size=size, low=low, high=reach - self.length - low)

    def source_start(self, first: int) -> int:
        """The first output whose window may reach input point `first`; it may not exist."""
        return -((self.extent - 1 - self.low - first) // self.stride)

    def back(self, first: int, last: int) -> Span:
        """The transposed sub-problem of input points first … last−1, as if outputs had no end.

        Its output 0 is output `source_start(first)`; it depends on `first` by its phase in the
        stride only.
        """
        start = self.source_start(first)
        return self._back(first, last, start, (last - 1 + self.low) // self.stride + 1)

    def source(self, first: int, last: int) -> tuple[slice, Span]:
        """The outputs whose windows reach input points first … last−1, and their sub-problem."""
        start = min(max(self.source_start(first), 0), self.out)
        stop = min(max((last - 1 + self.low) // self.stride + 1, start), self.out)
        return slice(start, stop), self._back(first, last, start, stop)

    def _back(self, first: int, last: int, start: int, stop: int) -> Span:
        low = self.low + first - self.stride * start
        reach = self.stride * (stop - start - 1) + self.extent
        return replace(self, length=last - first, low=low, high=reach - (last - first) - low)

    @cached_property
    def kept(self) -> tuple[slice, tuple[int, int]]:
        """The points that padding leaves (negative widths crop), and the zeros on both sides."""
        total = max(0, self.length + self.low + self.high)
        start = min(max(0, -self.low), self.length)
        stop = max(start, min(self.length, self.length + self.high))
        if start == stop:
            # Not behind the last point: there the standard knows no slices.
            start = stop = 0
        before = max(0, min(start + self.low, total - (stop - start)))
        return slice(start, stop), (before, total - before - (stop - start))

    def residue(self, first: int) -> tuple[slice, slice, Span]:
        """The transpose at input points first, first + stride, …: a forward problem of stride 1.

        Only taps whose distance from such a point is a multiple of the stride reach it, and which
        they are depends on (first + low) mod stride alone. Read backwards they slide over the
        outputs without a zero between.

        Returns
        -------
        points, taps : slice
            The input points (`first` less than the stride), and their taps, possibly none.
        span : Span
            Of the outputs under those taps, turned round.
        """
        step = gcd(self.stride, self.dilation)
        across, jump = self.stride // step, self.dilation // step
        count = -(-(self.length - first) // self.stride)
        points = slice(first, self.length, self.stride)
        phase = first + self.low
        begin = next(
            (
                j
                for j in range(min(across, self.size))
                if (phase - self.dilation * j) % self.stride == 0
            ),
            self.size,
        )
        taps = slice(begin, self.size, across)
        size = len(range(begin, self.size, across))
        reach = jump * max(0, size - 1)
        low = reach - (phase - self.dilation * begin) // self.stride
        high = count - self.out - low + reach
        return points, taps, Span(self.out, size, 1, jump, low, high)

    @property
    def halo(self) -> tuple[int, int]:
        """Input points that output 0 needs before, and the last output after, its own position."""
        return self.low, self.extent - 1 - self.low


@dataclass(frozen=True)
class Windows:
    """Windows over some axes of an array of any rank: the geometry of pooling and of windows."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    spans: tuple[Span, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.shape, self.axes, self.spans))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Taps per sliding axis."""
        return tuple(s.size for s in self.spans)

    @cached_property
    def out(self) -> tuple[int, ...]:
        """Shape with each sliding axis replaced by its number of windows."""
        shape = list(self.shape)
        for axis, span in zip(self.axes, self.spans, strict=True):
            shape[axis] = span.out
        return tuple(shape)

    @property
    def taps(self) -> int:
        """Number of taps of one window."""
        return prod(self.sizes)

    def index(self, cuts: Sequence[slice]) -> tuple[slice, ...]:
        """A full index with `cuts` on the sliding axes and everything elsewhere."""
        full = [slice(None)] * len(self.shape)
        for axis, cut in zip(self.axes, cuts, strict=True):
            full[axis] = cut
        return tuple(full)

    def each_tap(self) -> Iterator[tuple[int, tuple[slice, ...], tuple[slice, ...]]]:
        """Number, output index and input index of every tap that reaches the input, row-major."""
        grids = [[s.tap(j) for j in range(s.size)] for s in self.spans]
        for number, pairs in enumerate(product(*grids)):
            outputs = [o for o, _ in pairs]
            if all(o.stop > o.start for o in outputs):
                yield number, self.index(outputs), self.index([i for _, i in pairs])

    def padding(self) -> list[tuple[int, int]]:
        """(low, high) for every axis of the array."""
        widths = [(0, 0)] * len(self.shape)
        for axis, span in zip(self.axes, self.spans, strict=True):
            widths[axis] = (span.low, span.high)
        return widths

    def shifted(self, by: int, lead: tuple[int, ...]) -> Windows:
        """The same windows with `by` axes of lengths `lead` in front (a batch)."""
        return Windows((*lead, *self.shape), tuple(a + by for a in self.axes), self.spans)


@dataclass(frozen=True)
class Sliding:
    r"""A grouped, multi-channel sliding product; three cores share it.

    With x (B, C, *S), w (O, C/groups, *K) and y (B, O, *out) — channels last: x (B, *S, C),
    w (*K, C/groups, O), y (B, *out, O) — the trilinear form is::

        T(x, w, y) = Σ_b Σ_o Σ_c Σ_i Σ_j  y[b, o, i] · w[o, c, j] · x[b, c, s·i + d·j − low]

    Each core is the gradient of T with respect to one of its arguments, so that every derivative
    of a core is another core with the same geometry.
    """

    spans: tuple[Span, ...]
    groups: int = 1
    last: bool = False
    method: str = "auto"

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # Without the method: hashes of strings differ from process to process, and this one is
        # pickled along.
        return hash((self.spans, self.groups, self.last))

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Input points per sliding axis."""
        return tuple(s.length for s in self.spans)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Taps per sliding axis."""
        return tuple(s.size for s in self.spans)

    @cached_property
    def out(self) -> tuple[int, ...]:
        """Outputs per sliding axis."""
        return tuple(s.out for s in self.spans)

    @property
    def rank(self) -> int:
        """Number of sliding axes."""
        return len(self.spans)

    @cached_property
    def strideless(self) -> bool:
        """Whether windows are neighbours on every axis."""
        return all(s.stride == 1 for s in self.spans)

    def x_shape(self, batch: int, channels: int) -> tuple[int, ...]:
        """Shape of x."""
        return self._signal(batch, channels, self.lengths)

    def y_shape(self, batch: int, channels: int) -> tuple[int, ...]:
        """Shape of y."""
        return self._signal(batch, channels, self.out)

    def w_shape(self, out_channels: int, depth: int) -> tuple[int, ...]:
        """Shape of w; `depth` is the number of input channels of one group."""
        if self.last:
            return (*self.sizes, depth, out_channels)
        return (out_channels, depth, *self.sizes)

    def _signal(self, batch: int, channels: int, space: tuple[int, ...]) -> tuple[int, ...]:
        return (batch, *space, channels) if self.last else (batch, channels, *space)

    def each_tap(self) -> Iterator[Tap]:
        """Tap, outputs and inputs per sliding axis, for taps that reach the input, row-major."""
        return iter(self._few_taps) if prod(self.sizes) <= _FEW else self._taps()

    @cached_property
    def _few_taps(self) -> list[Tap]:
        return list(self._taps())

    def _taps(self) -> Iterator[Tap]:
        grids = [[(j, *s.tap(j)) for j in range(s.size)] for s in self.spans]
        for triples in product(*grids):
            if all(o.stop > o.start for _, o, _ in triples):
                yield (
                    tuple(j for j, _, _ in triples),
                    tuple(o for _, o, _ in triples),
                    tuple(i for _, _, i in triples),
                )

    def residues(self) -> Iterator[Residue]:
        """The transpose as forward products of stride 1 between each other (see `Span.residue`).

        Each with the remainders of its points plus padding, its points, its taps and its geometry.
        """
        few = prod(s.stride for s in self.spans) <= _FEW
        return iter(self._few_residues) if few else self._residues()

    @cached_property
    def _few_residues(self) -> list[Residue]:
        return list(self._residues())

    def _residues(self) -> Iterator[Residue]:
        for firsts in product(*(range(s.stride) for s in self.spans)):
            found = [s.residue(f) for s, f in zip(self.spans, firsts, strict=True)]
            remainders = tuple(
                (f + s.low) % s.stride for s, f in zip(self.spans, firsts, strict=True)
            )
            points, taps, spans = zip(*found, strict=True)
            yield remainders, points, taps, replace(self, spans=spans)

    def transposed(self) -> Sliding:
        """The geometry of the transpose for stride 1; an involution."""
        return replace(self, spans=tuple(s.transposed() for s in self.spans))


@dataclass(frozen=True)
class Block:
    """One step of block-wise work along one axis.

    Attributes
    ----------
    inputs : slice
        The input points that the operation is given.
    kept : slice
        The part of its result that is right.
    outputs : slice
        Where that part belongs in the whole result.
    """

    inputs: slice
    kept: slice
    outputs: slice


@dataclass(frozen=True)
class Halo:
    """What part of the input an operation must see for part of its outputs, along one axis.

    The operation is applied to a piece of the input as it would be to the whole, own padding
    included; outputs whose windows reach a cut are dropped, those at the ends of the whole are
    right. Pieces start at multiples of the stride and end where the whole would in terms of the
    stride, so that padding chosen from the length ("same", partial last windows) comes out alike.

    Attributes
    ----------
    span : Span
        The windows on the whole axis.
    axis : int
        The axis of the result on which the outputs lie.
    shape : tuple of int or None
        Shape of the whole result; None where only the length along the axis is known.
    least : int
        Fewest input points of a piece: with fewer the operation would go another way, or its
        padding rule would not hold.
    """

    span: Span
    axis: int
    shape: tuple[int, ...] | None = None
    least: int = 1

    @property
    def out(self) -> int:
        """Outputs along the axis."""
        return self.span.out if self.shape is None else self.shape[self.axis]

    def block(self, first: int, last: int) -> Block:
        """The step that gives outputs first … last−1."""
        s, n = self.span, self.span.length
        least = min(self.least, n)
        start = min(max(0, s.stride * first - s.low), n - least) // s.stride * s.stride
        stop = s.stride * (last - 1) + s.extent - s.low
        stop = min(n, max(stop, start + least))
        stop = n - (n - stop) // s.stride * s.stride
        ahead = start // s.stride
        return Block(slice(start, stop), slice(first - ahead, last - ahead), slice(first, last))

    def blocks(self, size: int) -> list[Block]:
        """All steps of at most `size` outputs, in order."""
        return [
            self.block(first, min(first + size, self.out)) for first in range(0, self.out, size)
        ]


def same_padding(
    length: int, size: int, stride: int, dilation: int, *, lower: bool
) -> tuple[int, int]:
    """TensorFlow's SAME: ⌈length / stride⌉ outputs; the odd point goes high (low if `lower`)."""
    out = -(-length // stride)
    total = max(0, (out - 1) * stride + dilation * (size - 1) + 1 - length)
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


_NAMED = ("valid", "same", "same_lower", "full", "causal")


def resolve_padding(
    padding: Any,
    lengths: Sequence[int],
    sizes: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """(low, high) per axis from an int, one per axis, pairs, or a name."""
    rank = len(lengths)
    if isinstance(padding, str):
        axes = zip(lengths, sizes, strides, dilations, strict=True)
        return tuple(_named(padding, *numbers) for numbers in axes)
    if isinstance(padding, bool):
        raise ArgumentError(f"padding must be an int or a name, got {padding!r}")
    if _is_int(padding):
        p = int(padding)
        return tuple(_pair(p, p) for _ in range(rank))
    # A number that jit traces is iterable to its class only; sets and dicts have no order of axes.
    unordered = isinstance(padding, Set | Mapping)
    if unordered or not isinstance(padding, Iterable) or getattr(padding, "ndim", 1) == 0:
        raise ArgumentError(
            f"padding must be an int, one per axis, (low, high) per axis or a name; got {padding!r}"
        )
    entries = list(padding)
    if rank == 1 and len(entries) == 2 and all(map(_is_int, entries)):
        raise ArgumentError(
            f"padding {tuple(entries)} is ambiguous for one sliding axis; "
            f"write (({entries[0]}, {entries[1]}),) for (low, high)"
        )
    if len(entries) != rank:
        raise ArgumentError(
            f"padding has {len(entries)} entries, need {rank} (one per sliding axis); "
            f"got {tuple(entries)}"
        )
    pairs: list[tuple[int, int]] = []
    for entry in entries:
        if _is_int(entry):
            pairs.append(_pair(int(entry), int(entry)))
        elif isinstance(entry, Sequence) and len(entry) == 2:
            if not all(map(_is_int, entry)):
                raise ArgumentError(f"padding entries must be integers, got {entry!r}")
            pairs.append(_pair(int(entry[0]), int(entry[1])))
        else:
            raise ArgumentError(f"padding entries must be ints or (low, high), got {entry!r}")
    return tuple(pairs)


def _named(name: str, length: int, size: int, stride: int, dilation: int) -> tuple[int, int]:
    """(low, high) of one axis from a name."""
    if name not in _NAMED:
        raise ArgumentError(
            f"padding must be an int, one per axis, (low, high) per axis or one of "
            f"{', '.join(map(repr, _NAMED))}; got {name!r}"
        )
    if name in ("same", "same_lower"):
        return same_padding(length, size, stride, dilation, lower=name == "same_lower")
    reach = dilation * (size - 1)
    return {"valid": (0, 0), "full": (reach, reach), "causal": (reach, 0)}[name]


def _is_int(value: Any) -> bool:
    """Whether value stands for one integer; arrays of several have `__index__` and do not."""
    if isinstance(value, bool):
        return False
    try:
        index(value)
    except TypeError:
        return False
    return True


def _pair(low: int, high: int) -> tuple[int, int]:
    if low < 0 or high < 0:
        raise ArgumentError(
            f"padding must be 0 or more, got {(low, high)}; slice the input to crop"
        )
    return low, high


def pooling_span(
    length: int, size: int, stride: int, dilation: int, low: int, high: int, *, ceil: bool
) -> Span:
    """The span of a pooling axis; with `ceil`, PyTorch's rule.

    A last, partial window is added by enlarging `high`, unless it would start in the right padding.
    """
    span = Span(length, size, stride, dilation, low, high)
    if not ceil:
        return span
    # A window longer than the padded input counts too, if less than a stride longer.
    room = length + low + high - span.extent
    out = -(-room // stride) + 1
    if (out - 1) * stride >= length + low:
        out -= 1
    if out <= span.out:
        return span
    return replace(span, high=(out - 1) * stride + span.extent - length - low)
