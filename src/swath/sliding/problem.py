"""What an algorithm is told of a sliding product, and what it tells the planner.

An algorithm is a module with the names of `Algorithm`. It knows arrays and one frozen geometry, and
nothing of the others; `plan` chooses among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd, prod
from typing import Any, Protocol

from .._backends import NARROW, Backend, Narrow, NativeKernel
from .._backends.long_lines import Long
from ..geometry import Sliding
from .costs import Costs
from .limbs import Split

__all__ = [
    "WINDOW_BOUND",
    "Algorithm",
    "Estimate",
    "Problem",
    "Slabs",
    "as_is",
    "channels",
    "result_shape",
    "roughly",
]

Array = Any

# The bound of every product that sums a window's terms and nothing else.
WINDOW_BOUND = "|err| <= 2·K·eps·(|x|⋆|k|) + K·tiny"

# Multiply-adds of one large product of matrices in the time of one of many of a single row (XLA).
_GROUPED = 80
# Multiply-adds of float32 on a GPU in the time of one of integers.
_WIDE_WHOLE = 100.0
_WIDTHS = {
    **{f"{sign}int{8 * n}": n for sign in ("", "u") for n in (1, 2, 4, 8)},
    "float32": 4,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}
# Measured alike of SciPy, MKL and XLA: memory and the order of points count, not arithmetic alone.
_SPECTRAL = {"float64": 1.33, "complex64": 1.7, "complex128": 2.0}


@dataclass(frozen=True)
class Slabs:
    """How a product is cut: batch entries and points of the first sliding axis at a time.

    `taps` is how many taps along that axis are, 0 for all.
    """

    chunk: int
    step: int
    taps: int = 0


@dataclass(frozen=True)
class Problem:
    """One product, as the planner sees it: shapes, dtype and what the library can do.

    Attributes
    ----------
    role : {"y", "x", "w"}
        The letter of the result (see `product`).
    g : Sliding
        Its geometry.
    batch, depth, rows : int
        Batch entries, input channels and output channels of one group.
    dtype : str
        Name of the dtype that is computed in.
    traces : bool
        Whether Python loops are unrolled into a program and a compiler arranges scratch arrays.
    mutable : bool
        Whether slabs of a result may be written in place.
    native : NativeKernel
        The library's own kernel.
    fuses : bool
        Whether sums of elementwise products take one pass for each product.
    wide : int
        How many blocks, each of which fits a core's cache, are taken at once (see `Backend.wide`).
    narrow : Narrow
        What products of matrices of few columns cost.
    fast : bool
        Whether `swath.precision("fast")` holds.
    long : Long or None
        Lines of a processor's whose transforms are those of planes.
    split : Split or None
        How operands, which are integers, become floats of `dtype`.
    floats : Problem or None
        The same product of integers as products of floats, where these are exact.
    """

    role: str
    g: Sliding
    batch: int
    depth: int
    rows: int
    dtype: str
    traces: bool = False
    mutable: bool = True
    native: NativeKernel = Backend.native
    fuses: bool = False
    wide: int = 1
    narrow: Narrow = NARROW
    fast: bool = False
    long: Long | None = None
    split: Split | None = None
    floats: Problem | None = None

    @property
    def width(self) -> int:
        """Bytes of one element."""
        return _WIDTHS.get(self.dtype, 8)

    @property
    def heavy(self) -> float:
        """Cost of a multiply-add beside one of float32."""
        if self.integral:
            return self.narrow.whole if self.wide == 1 else _WIDE_WHOLE
        if not self.dtype.startswith("complex"):
            return 2 if self.width > 4 else 1
        # XLA has no fast products of complex numbers on a processor.
        return (4 if self.width == 8 else 8) * (2 if self.traces and self.wide == 1 else 1)

    @property
    def spectral(self) -> float:
        """Cost of a transform beside one of float32: a real one is half of a complex one."""
        if self.wide > 1:
            # Memory alone.
            return self.width / 4
        return _SPECTRAL.get(self.dtype, 1.0)

    @property
    def begun(self) -> int:
        """What a slab costs beside its product, in starts of an array operation.

        On a GPU the host starts the next one while the device computes.
        """
        return 30 if self.wide == 1 else 4

    @property
    def dense(self) -> float:
        """`heavy` of a compiler's products of matrices: many small ones, of groups, are slow."""
        return self.heavy * (_GROUPED / min(self.depth, self.rows) if self.g.groups > 1 else 1)

    @property
    def integral(self) -> bool:
        """Whether elements are integers."""
        return not self.dtype.startswith(("float", "complex", "bfloat"))

    @property
    def single(self) -> bool:
        """Whether there is one channel in and one out."""
        return self.depth * self.rows == 1

    @cached_property
    def taps(self) -> int:
        """Taps of one channel."""
        return prod(self.g.sizes)

    @cached_property
    def inputs(self) -> int:
        """Points of x."""
        return self.batch * self.g.groups * self.depth * prod(self.g.lengths)

    @cached_property
    def places(self) -> int:
        """Windows: points of y, its channels counted once for each group."""
        return self.batch * self.g.groups * prod(self.g.out)

    @property
    def outputs(self) -> int:
        """Points of y."""
        return self.places * self.rows

    @cached_property
    def flops(self) -> float:
        """Multiply-adds, real or complex, of the plain sum."""
        return float(self.outputs * self.depth * self.taps)

    @property
    def terms(self) -> int:
        """Products summed in one entry of the result (K of the accuracy contract)."""
        if self.role == "y":
            return self.taps * self.depth
        if self.role == "w":
            return self.batch * prod(self.g.out)
        # Taps that meet in one input point: those whose distance is a multiple of the stride.
        meet = (-(-s.size // (s.stride // gcd(s.stride, s.dilation))) for s in self.g.spans)
        return prod(meet) * self.rows

    @property
    def operand_bytes(self) -> int:
        """Bytes of the larger operand."""
        kernel = self.g.groups * self.rows * self.depth * self.taps
        sizes = {"x": self.inputs, "y": self.outputs, "w": kernel}
        return self.width * max(n for letter, n in sizes.items() if letter != self.role)

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
        return self.width * self.outputs

    @property
    def w_bytes(self) -> int:
        """Bytes of w."""
        return self.width * self.g.groups * self.rows * self.depth * self.taps

    def slab(self, slabs: Slabs) -> Problem:
        """The problem of one slab in the middle."""
        if slabs.taps:
            return self.stretch(0, slabs.taps).slab(replace(slabs, taps=0))
        span, step = self.g.spans[0], slabs.step
        if step >= self.points:
            return replace(self, batch=slabs.chunk)
        if self.role == "x":
            part = span.back(0, step)
        else:
            part = replace(span, length=(step - 1) * span.stride + span.extent, low=0, high=0)
        g = replace(self.g, spans=(part, *self.g.spans[1:]))
        return replace(self, g=g, batch=slabs.chunk)

    def stretch(self, first: int, last: int) -> Problem:
        """The problem of some taps of the first sliding axis."""
        spans = self.g.spans[0].stretch(first, last), *self.g.spans[1:]
        return replace(self, g=replace(self.g, spans=spans))

    def residues(self) -> Iterator[Problem]:
        """The transpose as forward products of stride 1, channels exchanged."""
        for _, _, _, g in self.g.residues():
            if 0 not in (*g.sizes, *g.out):
                yield replace(self, role="y", g=g, depth=self.rows, rows=self.depth)


@dataclass(frozen=True)
class Estimate:
    """What an algorithm costs for one problem.

    Attributes
    ----------
    seconds : float
        Predicted time.
    flops : float
        Real multiply-adds.
    moved : float
        Bytes read and written.
    bound : str
        The bound of the accuracy contract.
    against : str
        Why it is taken only where it is asked for; empty where it may be chosen.
    terms : int
        Products summed in one output, where they are not those of a window.
    """

    seconds: float
    flops: float
    moved: float
    bound: str = WINDOW_BOUND
    against: str = ""
    terms: int = 0


class Algorithm(Protocol):
    """The names that a module of an algorithm has."""

    def last(self, p: Problem) -> bool:
        """Whether `run` takes p with channels last."""
        ...

    def roles(self, p: Problem) -> tuple[str, ...]:
        """Roles that `run` computes; "x" is else brought to the form of "y"."""
        ...

    def pack(self, be: Backend, g: Sliding, w: Array, /) -> Any:
        """The kernel as `run` takes it, and gives it for role "w"; a linear map.

        Of the geometry only what slabs share is used.
        """
        ...

    def unpack(self, be: Backend, g: Sliding, w: Array, sizes: tuple[int, int], /) -> Array:
        """The kernel of a sum of results of role "w", of so many output and input channels."""
        ...

    def run(self, be: Backend, role: str, g: Sliding, a: Array, b: Array, /) -> Array:
        """The product of a role."""
        ...

    def estimate(self, p: Problem, cost: Costs) -> Estimate | str:
        """What it costs, or why it does not apply."""
        ...

    def scratch(self, p: Problem) -> int:
        """Bytes beyond operands and result."""
        ...

    def exact(self, p: Problem) -> bool:
        """Whether `scratch` tells what a compiled program holds, and not about what."""
        ...

    def frames(self, p: Problem, cut: Slabs) -> tuple[int, int]:
        """Points of one transform, and transformed frames that a value of the result sums."""
        ...

    def tile(self, p: Problem) -> tuple[int, int]:
        """Bytes of what should stay in the cache, and how many may."""
        ...


def as_is(be: Backend, g: Sliding, w: Array, sizes: tuple[int, int] = (0, 0)) -> Array:
    """`pack` and `unpack` of an algorithm that takes the kernel as it is."""
    del be, g, sizes
    return w


def roughly(p: Problem) -> bool:
    """`exact` of an algorithm whose scratch arrays a compiler arranges as it likes."""
    del p
    return False


def unframed(p: Problem, cut: Slabs) -> tuple[int, int]:
    """`frames` of an algorithm that transforms nothing."""
    del p, cut
    return 1, 1


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
