"""The adapter in terms of the array-API standard alone; other adapters override what they can.

An adapter offers what the standard lacks. Its `xp` is the library's standard-conforming namespace;
code outside this package calls `xp` for what the standard has and a method here for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

import array_api_compat
import array_api_extra as xpx
import numpy as np

from ..division import Division
from ..errors import UnsupportedError
from .long_lines import Long, back, sides, spectra

__all__ = [
    "LANES",
    "PRECISION",
    "WIDE",
    "WORKSPACE",
    "Array",
    "Backend",
    "Core",
    "NativeKernel",
    "blocks",
    "channels_seconds",
    "column_parts",
    "cudnn_seconds",
    "no_kernel",
    "strided",
]

Array = Any


#: Bytes of scratch memory that the user allows (`swath.workspace`); None outside of any block.
WORKSPACE: ContextVar[int | None] = ContextVar("swath_workspace", default=None)
#: The level that `swath.precision` set.
PRECISION: ContextVar[str] = ContextVar("swath_precision", default="highest")


# Blocks that fit a core's cache for one that fills a GPU: starting an operation there takes as long
# as reading tens of megabytes.
WIDE = 2**8

# Processors of a GPU, and results on a side of the block that one of them computes.
_PROCESSORS, _BLOCK = 128, 64

# Columns from which on products of a quarter of them are as fast, for each number, as the whole.
_PARTED = 256
# Channels that a vector holds.
LANES = 16
# Length of the sums of a product at which it runs at half its speed.
_SHORT = 8
# Runs of points, a stride long, that windows are joined from at most: more are gathered by index.
_RUNS = 64
# The dtypes of numbers whose half spectra are of these.
_REAL = {"complex64": "float32", "complex128": "float64"}


class Core(Protocol):
    """What an adapter needs to know to attach a derivative rule (see `swath.autodiff`)."""

    name: str
    linear: tuple[int, ...]

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array: ...
    def divide(self, geometry: Any, shapes: Sequence[tuple[int, ...]]) -> Division | None: ...
    def push(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array: ...
    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]: ...
    def kept(self, be: Backend, geometry: Any, *arrays: Array) -> tuple[Array, Array] | None: ...
    def pull_kept(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        kept: Array,
        cotangent: Array,
    ) -> Sequence[Any]: ...
    def batch(
        self, be: Backend, geometry: Any, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]: ...


def blocks(kind: str) -> int:
    """How many blocks, each of which fits a core's cache, are taken at once on a kind of device."""
    return 1 if kind == "cpu" else WIDE


def column_parts(n: int) -> list[slice]:
    """Columns of a matrix to take together on a processor where only a triangle is computed."""
    step = n if n < _PARTED else -(-n // 4)
    return [slice(i, min(i + step, n)) for i in range(0, n, max(1, step))]


class NativeKernel(NamedTuple):
    """A library's own kernel for sliding products, `Backend.native_product`.

    Attributes
    ----------
    roles : tuple of str
        Letters of the results that it computes.
    seconds : callable
        What it takes for a problem, given the rates of the device (`Problem` and `Costs` of
        `swath.sliding`); or, as text, why it does not apply.
    scratch : callable, optional
        Bytes that it holds beyond operands and result; else those of kernels of layers.
    both : bool, default False
        Whether `Backend.native_gradients` may compute "x" and "w" in one call.
    integers : bool, default False
        Whether it sums integers in their own dtype.
    spreads : callable, optional
        Whether it computes the transpose of a `Problem`, "x", where `roles` have none.
    """

    roles: tuple[str, ...]
    seconds: Callable[[Any, Any], float | str]
    scratch: Callable[[Any], int] | None = None
    both: bool = False
    integers: bool = False
    spreads: Callable[[Any], bool] = lambda p: False


def no_kernel(p: Any, cost: Any) -> str:
    """`NativeKernel.seconds` of what the library has no kernel for."""
    return "the library has no kernel for it"


def channels_seconds(p: Any, cost: Any) -> float:
    """Of kernels of layers, which keep neighbouring channels in the lanes of a vector."""
    if p.single and p.g.groups == 1:
        return p.flops / cost.native_single + p.outputs / cost.native_point
    seconds = p.heavy * p.flops * (1 + LANES / p.rows) / cost.native
    if p.g.groups > 1:
        # Few channels of a group fill no vector.
        seconds += p.flops / (cost.native_groups * min(p.depth, p.rows))
    return seconds


def cudnn_seconds(p: Any, cost: Any) -> float:
    """Of the kernels of layers that libraries have on a GPU."""
    seconds = channels_seconds(p, cost)
    groups = p.g.groups
    if p.single and groups == 1 and p.g.rank > 1:
        # Planes of one channel take twice as long as lines.
        seconds += p.flops / cost.native_single
    if p.role == "y" and not p.single:
        # A processor of the GPU sums all terms of a block of results.
        blocks = groups * max(1, p.places / groups / _BLOCK) * max(1, p.rows / _BLOCK)
        seconds *= max(1, _PROCESSORS / blocks)
        if groups > 1 and (p.depth > 1 or p.g.rank > 2):
            # Kernels are started for one group at a time; those of gradients are not.
            seconds += groups * cost.call
    return seconds + 4 * cost.call


def strided(
    shape: Sequence[int],
    steps: Sequence[int],
    sizes: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    axes: Sequence[int],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and steps (of whatever unit) of the view of windows, whose taps are the last axes."""
    out, moves = list(shape), list(steps)
    for axis, size, stride, dilation in zip(axes, sizes, strides, dilations, strict=True):
        step = steps[axis]
        out[axis] = (out[axis] - dilation * (size - 1) - 1) // stride + 1
        moves[axis] = step * stride
        out.append(size)
        moves.append(step * dilation)
    return tuple(out), tuple(moves)


class Narrow(NamedTuple):
    """What the product of a tall matrix with one of few columns costs, and that of integers.

    `half` are the columns at which it has half of its speed; a processor's kernels take `lanes` of
    them at once, and fewer take as long; `start` are the multiply-adds in the time that threads
    take to begin, where one thread does not compute all. `whole` are the multiply-adds of float32
    in the time of one of integers, which most libraries have plain loops for.
    """

    half: int = 16
    lanes: int = 1
    start: float = 0.0
    whole: float = 40.0

    def loss(self, inner: int, columns: int) -> float:
        """Time of a multiply-add beside that of a large product."""
        # A single column is a product with a vector.
        taken = columns if columns == 1 else -(-columns // self.lanes) * self.lanes
        return (1 + _SHORT / inner) * taken / columns + self.half / columns


#: Where nothing is known of a library.
NARROW = Narrow()


class Backend:
    """The standard-only adapter: functional forms, gathers instead of views, no in-place writes."""

    #: Whether arrays may be written in place (never arrays of the caller).
    mutable = False
    #: Whether results of elementwise operations can be written into arrays of ours (`into`).
    in_place = False
    #: Whether programs are traced and compiled, so that a Python loop of many steps is costly.
    traces = False
    #: Whether an array may be weakly typed: `is_weak` tells.
    types_weakly = False
    #: Whether arrays lie in chunks, and operations are laid out and computed when asked for.
    lazy = False
    #: Whether `triangle` of one tall matrix of few columns takes no longer than two passes over it.
    reflects = False
    #: Whether `each` takes several threads.
    shares = False
    #: Whether blocks of the rows of a matrix are shared among threads, with all made of them.
    shares_rows = False
    #: Bytes of a tall real matrix from which on threads gain that take its rows.
    many_rows = 12 << 20
    #: Kind of device, "cpu" or "gpu".
    kind = "cpu"
    #: Bytes of what is best computed with at once: half of a second-level cache, and few calls.
    block_bytes = 1 << 20

    def __init__(self, xp: Any, name: str) -> None:
        self.xp = xp
        self.name = name

    def __repr__(self) -> str:
        return f"<swath backend {self.name}>"

    # -- arrays and devices -------------------------------------------------------------------

    def device(self, x: Array) -> Any:
        """The device of x, or None where the library does not say (a traced array)."""
        return x.device

    def place(self, x: Array) -> tuple[str, str, str]:
        """What the planner's rates are of: library, kind of device, name of a GPU."""
        return self.name, self.kind, ""

    def wide(self, x: Array) -> int:
        """How many blocks, each of which fits a core's cache, are taken at once where x is."""
        return blocks(self.place(x)[1])

    def same_device(self, a: Array, b: Array) -> bool:
        """Whether a and b may meet in one operation without a transfer."""
        return self.device(a) == self.device(b)

    def new_like(self, x: Array, shape: tuple[int, ...], dtype: Any = None, fill: Any = 0) -> Array:
        """A new array on the device of x, filled with `fill`."""
        return self.xp.full(
            shape, fill, dtype=x.dtype if dtype is None else dtype, device=self.device(x)
        )

    def constant(self, values: Any, like: Array, dtype: Any) -> Array:
        """A small host table (NumPy array or nested list) as an array beside `like`."""
        table = np.asarray(values)
        flat = self.xp.asarray(table.ravel().tolist(), dtype=dtype, device=self.device(like))
        return self.xp.reshape(flat, table.shape)

    def arange(self, n: int, like: Array, dtype: Any) -> Array:
        """0 … n−1 beside `like`."""
        return self.xp.arange(n, dtype=dtype, device=self.device(like))

    def eye(self, n: int, like: Array) -> Array:
        """The identity beside `like`, of its dtype."""
        i = self.arange(n, like, self.default_int(like))
        return self.xp.astype(i[:, None] == i[None, :], like.dtype)

    def default_float(self, like: Array | None = None) -> Any:
        """The float dtype that integers become in operations that divide."""
        device = None if like is None else self.device(like)
        return xpx.default_dtype(self.xp, "real floating", device=device)

    def has_float64(self, like: Array | None = None) -> bool:
        """Whether the device of `like` has float64."""
        device = None if like is None else self.device(like)
        return "float64" in self.xp.__array_namespace_info__().dtypes(device=device)

    def default_int(self, like: Array) -> Any:
        """The library's index dtype on the device of `like`."""
        return xpx.default_dtype(self.xp, "indexing", device=self.device(like))

    def with_float64(self) -> AbstractContextManager[Any]:
        """A block in which new arrays may be of float64, where that is a setting."""
        return nullcontext()

    def dtypes_on(self, device: Any) -> tuple[str, ...]:
        """Names of the dtypes that a device has."""
        return tuple(self.xp.__array_namespace_info__().dtypes(device=device))

    def devices(self) -> list[str]:
        """The library's devices, as text."""
        return [str(d) for d in self.xp.__array_namespace_info__().devices()]

    def concrete(self, x: Array) -> Any:
        """The value of a one-element array as a Python scalar, or None while it is traced."""
        return x[()].__complex__() if self.is_complex(x) else self._scalar(x)

    def _scalar(self, x: Array) -> Any:
        if self.xp.isdtype(x.dtype, "bool"):
            return bool(x)
        return int(x) if self.xp.isdtype(x.dtype, "integral") else float(x)

    def cond(
        self,
        flag: Array,
        yes: Callable[..., tuple[Array, ...]],
        no: Callable[..., tuple[Array, ...]],
        *operands: Array,
    ) -> tuple[Array, ...]:
        """yes(*operands) where the one-element array `flag` holds, else no(*operands)."""
        known = self.concrete(flag)
        if known is not None:
            return yes(*operands) if known else no(*operands)
        both = zip(yes(*operands), no(*operands), strict=True)
        return tuple(self.xp.where(flag, a, b) for a, b in both)

    def detach(self, x: Array) -> Array:
        """x as a constant for the library's own autodiff."""
        return x

    def run(
        self, function: Callable[..., tuple[Array, ...]], geometry: Any, *arrays: Array
    ) -> tuple[Array, ...]:
        """function(self, geometry, *arrays), as one program where the library compiles.

        `function` is one of a module, `geometry` hashable.
        """
        return function(self, geometry, *arrays)

    def aside(
        self, function: Callable[..., tuple[Array, ...]], geometry: Any, *arrays: Array
    ) -> tuple[Array, ...]:
        """As `run`, for results that nothing differentiates, small beside what they are made of.

        All arrays and results have the same leading axes, except results that are flags of all.
        """
        return self.run(function, geometry, *arrays)

    def traced(self, *arrays: Array) -> bool:
        """Whether the values of any of the arrays are unknown while Python runs."""
        return False

    def tied(self, y: Array, *arrays: Array) -> Array:
        """A constant noted to depend on arrays, where results are asked whether they do."""
        return y

    def recorded(self, *arrays: Array) -> bool:
        """Whether the library notes what is done to any of the arrays, to differentiate it."""
        return False

    def synchronize(self, x: Array) -> None:
        """Wait until x is computed."""

    def stretches(self, x: Array) -> list[slice]:
        """Parts of the first axis that lie in one place each."""
        return [slice(0, x.shape[0])]

    def without_empty(self, x: Array) -> Array:
        """The same array in chunks of which each holds something, where it lies in chunks."""
        return x

    def free_memory(self, device: Any = None) -> int | None:
        """Bytes free on the device, or None where unknown."""
        return None

    def out_of_memory(self, error: Exception) -> bool:
        """Whether an error says that there was no memory for an array."""
        return isinstance(error, MemoryError)

    def light(self, a: Array, *arrays: Array) -> tuple[Backend, tuple[Array, ...]]:
        """What computes with a tall matrix a of few columns, and the arrays in its memory."""
        return self, (a, *arrays)

    # -- moving arrays (only for bound libraries and batch processing) --------------------------

    def near(self, *arrays: Array) -> tuple[np.ndarray, ...] | None:
        """The same memory as arrays of NumPy, whose calls cost less, where a library shares it."""
        return None

    def from_host(self, x: np.ndarray, device: Any = None) -> Array:
        """A NumPy array as an array of this library."""
        return self.xp.asarray(x) if device is None else self.xp.asarray(x, device=device)

    def to_numpy(self, x: Array) -> np.ndarray:
        """A copy on the host (explicit transfer)."""
        asnumpy = getattr(self.xp, "asnumpy", None)
        if asnumpy is not None:
            return asnumpy(x)
        # Arrays of a device other than the library's default one may refuse the conversion.
        home = self.xp.__array_namespace_info__().default_device()
        return np.asarray(x if x.device == home else x.to_device(home))

    def moved(self, x: Array, device: Any) -> Array:
        """The array x on a device (an explicit transfer)."""
        return array_api_compat.to_device(x, device)

    def check_device(self, device: Any) -> Any:
        """A device object from what the user wrote."""
        return device

    # -- dtypes ---------------------------------------------------------------------------------

    def is_complex(self, x: Array) -> bool:
        """Whether the dtype of x is complex."""
        return self.xp.isdtype(x.dtype, "complex floating")

    def is_floating(self, dtype: Any) -> bool:
        """Whether dtype is a real or complex floating type, half precision included."""
        return self.xp.isdtype(dtype, ("real floating", "complex floating"))

    def is_weak(self, x: Array) -> bool:
        """Whether x takes the dtype of arrays beside it, as numbers of Python do."""
        return False

    def is_half(self, dtype: Any) -> bool:
        """Whether dtype accumulates in float32 (float16, bfloat16)."""
        return self.name_of(dtype) in ("float16", "bfloat16")

    def exact_floats(self, x: Array | None = None) -> tuple[str, ...]:
        """Dtypes whose products of matrices, where x is, sum integers that they hold exactly."""
        return ("float32", "float64") if self.has_float64(x) else ("float32",)

    def narrow(self, dtype: Any) -> Narrow:
        """What products of tall matrices with matrices of few columns cost."""
        return NARROW

    def name_of(self, dtype: Any) -> str:
        """The dtype's standard name, as "float32"."""
        # Some libraries' dtypes are classes: <class 'numpy.float64'>.
        return str(dtype).rsplit(".", 1)[-1].rstrip("'>")

    def dtype(self, name: str) -> Any:
        """The dtype of a standard name."""
        return getattr(self.xp, name)

    def real_dtype(self, dtype: Any) -> Any:
        """The real dtype of the precision of a complex one; any other as it is."""
        real = {"complex64": "float32", "complex128": "float64"}.get(self.name_of(dtype))
        return dtype if real is None else self.dtype(real)

    def complex_dtype(self, dtype: Any) -> Any:
        """The complex dtype of the precision of a floating one; halves accumulate in float32."""
        wide = self.name_of(dtype) in ("float64", "complex128")
        return self.dtype("complex128" if wide else "complex64")

    def cast(self, x: Array, dtype: Any) -> Array:
        """x in a dtype, x itself where it has it."""
        return x if x.dtype == dtype else self.xp.astype(x, dtype)

    def itemsize(self, dtype: Any) -> int:
        """Bytes of one element."""
        name = self.name_of(dtype)
        if name == "bool":
            return 1
        return int("".join(c for c in name if c.isdigit())) // 8

    def add_into(self, y: Array, b: Array) -> Array:
        """y + b; written into y, an array of ours, where nothing else can see it."""
        return y + b

    # -- elementwise into arrays of ours (only where `in_place`) -----------------------------------

    def empty_like(self, x: Array, shape: tuple[int, ...], dtype: Any = None) -> Array:
        """A new array on the device of x, its values open."""
        return self.xp.empty(
            shape, dtype=x.dtype if dtype is None else dtype, device=self.device(x)
        )

    def contiguous(self, x: Array) -> bool:
        """Whether x lies in memory in the order of its axes, without gaps."""
        return False

    # Whether `einsum_into` multiplies and adds in one pass.
    fuses = False

    def einsum_into(self, labels: str, out: Array, *operands: Array, order: str = "K") -> None:
        """out = the sum of products; loops in the order of memory ("K"), or with axes reversed."""
        raise NotImplementedError

    def into(self, name: str, out: Array, *operands: Any) -> None:
        """out = the operation of the standard of this name."""
        raise NotImplementedError

    # Elements of an inner loop from which on `fold_into` is fast; 0: never.
    folds = 0

    def fold_into(self, out: Array, x: Array, name: str, axis: int, span: Any) -> None:
        """out = the taps of every window along an axis, merged by an operation; none is padding."""
        raise NotImplementedError

    def as_numbers(self, flags: Array) -> Array:
        """The flags as bytes 0 and 1, in the same memory."""
        raise NotImplementedError

    def take_at(self, x: Array, places: Array) -> Array:
        """The elements at places of the flattened x."""
        raise NotImplementedError

    def add_at(self, x: Array, places: Array, values: Array) -> None:
        """Add the flattened values to the elements at places of the flattened x."""
        raise NotImplementedError

    def each(
        self, items: Sequence[Any], start: Callable[[], Any], work: Callable[[Any, Any], None]
    ) -> None:
        """work(state, item) for every item, in any order, with a state from `start`.

        Side by side, each thread with a state of its own, where the library computes in one.
        """
        state = start()
        for item in items:
            work(state, item)

    def results(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """function(item) of distinct items, in their order; computed as by `each`."""
        found: dict[Any, Any] = {}

        def work(_: None, item: Any) -> None:
            found[item] = function(item)

        self.each(items, lambda: None, work)
        return [found[item] for item in items]

    def quiet(self) -> AbstractContextManager[Any]:
        """No warnings of overflow, underflow and invalid values inside, none by accident there.

        NumPy's, which others are made of. Underflow is told where users ask for all errors.
        """
        return np.errstate(over="ignore", under="ignore", invalid="ignore")

    def may_hold_nan(self, x: Array) -> bool:
        """Whether an array of a floating dtype may hold a NaN."""
        return True

    # -- windows and structure ------------------------------------------------------------------

    def windows(
        self,
        x: Array,
        sizes: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        axes: Sequence[int],
    ) -> Array:
        """Windows along `axes`, sizes appended; by gathering, as the standard has no strides."""
        xp = self.xp
        for axis, size, stride, dilation in zip(axes, sizes, strides, dilations, strict=True):
            n = (x.shape[axis] - dilation * (size - 1) - 1) // stride + 1
            if dilation == 1 < stride and size <= _RUNS * stride:
                x = xp.moveaxis(self._runs(x, axis, n, size, stride), axis + 1, -1)
                continue
            index = xp.reshape(self.arange(n, x, self.default_int(x)) * stride, (n, 1))
            index = index + self.arange(size, x, self.default_int(x)) * dilation
            shape = x.shape
            x = xp.take(x, xp.reshape(index, (n * size,)), axis=axis)
            x = xp.reshape(x, (*shape[:axis], n, size, *shape[axis + 1 :]))
            x = xp.moveaxis(x, axis + 1, -1)
        return x

    def view(self, x: Array, shape: tuple[int, ...], steps: Sequence[int]) -> Array:
        """x, which lies without gaps, seen by steps of elements (of a processor's memory alone)."""
        raise NotImplementedError

    def take(self, x: Array, table: np.ndarray, axis: int) -> Array:
        """Elements along an axis, by a table of indices on the host."""
        return self.xp.take(x, self.constant(table, x, self.default_int(x)), axis=axis)

    def reshape(self, x: Array, shape: tuple[int, ...]) -> Array:
        """x in another shape, in C order."""
        return self.xp.reshape(x, shape)

    def permute(self, x: Array, order: tuple[int, ...]) -> Array:
        """x with its axes in another order."""
        return self.xp.permute_dims(x, order)

    def turned(self, x: Array) -> Array:
        """Matrices x, transposed."""
        return self.xp.matrix_transpose(x)

    def concat(self, arrays: Sequence[Array], axis: int) -> Array:
        """Arrays joined along an axis."""
        return self.xp.concat(arrays, axis=axis)

    def flip(self, x: Array, axes: tuple[int, ...]) -> Array:
        """x reversed along axes."""
        return self.xp.flip(x, axis=axes)

    def packed(self, x: Array) -> Array:
        """x in rows that lie end to end, where its library shows views; overlaps are copied."""
        return x

    def made(self, x: Array) -> Array:
        """x as an array of its own, where a compiler might compute it again for every reader."""
        return x

    def _runs(self, x: Array, axis: int, n: int, size: int, stride: int) -> Array:
        """Windows along one axis, taps behind it, joined from runs of `stride` points."""
        xp, runs = self.xp, -(-size // stride)
        lead, rest = x.shape[:axis], x.shape[axis + 1 :]
        reach = (n + runs - 1) * stride
        every = [slice(None)] * axis
        x = x[(*every, slice(0, min(reach, x.shape[axis])), ...)]
        widths = [(0, 0)] * x.ndim
        widths[axis] = (0, reach - x.shape[axis])
        x = xp.reshape(self.pad(x, widths), (*lead, n + runs - 1, stride, *rest))
        parts = [x[(*every, slice(i, i + n), ...)] for i in range(runs)]
        x = parts[0] if runs == 1 else xp.concat(parts, axis=axis + 1)
        return x[(*every, slice(None), slice(0, size), ...)]

    def pad(
        self,
        x: Array,
        widths: Sequence[tuple[int, int]],
        value: Any = 0,
        interior: Sequence[int] = (),
    ) -> Array:
        """Pad with a constant; `interior` puts that many points between neighbours first."""
        xp = self.xp
        for axis, gap in enumerate(interior):
            if gap and x.shape[axis] > 1:
                shape = x.shape
                fill = self.new_like(x, (*shape[: axis + 1], gap, *shape[axis + 1 :]), fill=value)
                x = xp.concat([xp.expand_dims(x, axis=axis + 1), fill], axis=axis + 1)
                x = xp.reshape(x, (*shape[:axis], shape[axis] * (gap + 1), *shape[axis + 1 :]))
                keep = [slice(None)] * len(shape)
                keep[axis] = slice(0, x.shape[axis] - gap)
                x = x[tuple(keep)]
        if not any(low or high for low, high in widths):
            return x
        return xpx.pad(x, widths, constant_values=value, xp=xp)

    def pad_by_writing(
        self,
        x: Array,
        widths: Sequence[tuple[int, int]],
        value: Any = 0,
        interior: Sequence[int] = (),
    ) -> Array:
        """`pad` of adapters whose arrays may be written: x goes to its place in a new one."""
        gaps = list(interior) or [0] * x.ndim
        if not any(gaps) and not any(map(any, widths)):
            return x
        shape, place = [], []
        for n, (low, high), gap in zip(x.shape, widths, gaps, strict=True):
            inner = n + gap * (n - 1) if n else 0
            shape.append(low + inner + high)
            place.append(slice(low, low + inner, gap + 1))
        out = self.new_like(x, tuple(shape), fill=value)
        out[tuple(place)] = x
        return out

    # -- linear algebra -------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array) -> Array:
        """Matrix product at the full precision of its dtype (see `swath.precision`)."""
        return self.xp.matmul(a, b)

    def gram(self, a: Array) -> Array:
        """aᴴa of tall matrices."""
        turned = self.xp.matrix_transpose(a)
        return self.matmul(self.xp.conj(turned) if self.is_complex(a) else turned, a)

    def times_upper(self, a: Array, z: Array) -> Array:
        """a z with upper triangular z; what is below their diagonals may be taken for 0."""
        return self.matmul(a, z)

    def times_rows(self, s: Array, a: Array) -> Array:
        """The rows of a times the numbers of a column."""
        return s * a

    def vecdot(self, a: Array, b: Array, axis: int) -> Array:
        """Σ conj(a)·b along an axis."""
        return self.xp.vecdot(a, b, axis=axis)

    def matmul_into(self, out: Array, a: Array, b: Array) -> None:
        """out = the product; of a and out only the last axis need lie without gaps."""
        out[...] = self.matmul(a, b)

    def solve_triangular(
        self, a: Array, b: Array, *, lower: bool, transpose: bool = False
    ) -> Array:
        """Solve a x = b (aᵀ x = b with `transpose`) for a triangular matrix a; b is a matrix.

        The standard has no triangular solve; LU on a triangular matrix is backward stable too.
        """
        del lower
        return self.xp.linalg.solve(self.xp.matrix_transpose(a) if transpose else a, b)

    def upper_inverse(self, factor: Array) -> Array:
        """R⁻¹ from the lower triangular L = Rᴴ, with zeros above its diagonal."""
        eye = self.xp.broadcast_to(self.eye(factor.shape[-1], factor), tuple(factor.shape))
        inverse = self.solve_triangular(factor, eye, lower=True)
        turned = self.xp.matrix_transpose(inverse)
        return self.xp.conj(turned) if self.is_complex(turned) else turned

    def cholesky(self, a: Array) -> Array:
        """Lower Cholesky factor; NaN throughout where a matrix is not positive definite."""
        try:
            return self.xp.linalg.cholesky(a)
        except Exception as error:
            # Libraries raise their own LinAlgError; anything else is not about definiteness.
            if "LinAlgError" not in type(error).__name__:
                raise
        if a.ndim == 2:
            return self.new_like(a, a.shape, fill=float("nan"))
        return self.xp.stack([self.cholesky(a[i, ...]) for i in range(a.shape[0])], axis=0)

    def triangle(self, a: Array, b: Array) -> Array:
        """R of the QR factorisations of matrices [a b]."""
        return self.xp.linalg.qr(self.concat([a, b], -1), mode="reduced")[1]

    # -- sparse matrices ------------------------------------------------------------------------

    def sparse_rows(
        self, values: Array, columns: np.ndarray, starts: np.ndarray, shape: tuple[int, int]
    ) -> Any:
        """A sparse matrix from values row by row, their columns, and where each row starts."""
        raise UnsupportedError(
            f"{self.name} has no sparse matrices; there are CSR on NumPy (SciPy), CuPy and "
            f"PyTorch, and BCOO on JAX"
        )

    # -- the library's own kernels --------------------------------------------------------------

    #: Which products `native_product` computes, and what they cost.
    native = NativeKernel((), no_kernel)

    def native_product(self, role: str, g: Any, a: Array, b: Array) -> Array:
        """A sliding product, channels first, by the library's own convolution of layers."""
        raise NotImplementedError

    def native_gradients(self, g: Any, x: Array, w: Array, y: Array) -> tuple[Array, ...] | None:
        """The products "x" of w and y and "w" of x and y; None where each has a better kernel."""
        return None

    def native_resample(self, g: Any, x: Array, h: Array) -> Array | None:
        """The sum of `swath.signal._polyphase.Rate` by a kernel of its own; None without one."""
        return None

    def native_pool(self, role: str, g: Any, work: int, *arrays: Array, divisor: int = 1) -> Any:
        """A reduction of windows by the library's own kernel; None where it has none that pays.

        `role` says what: "max", "places" (maxima and their flat places), "kept" (the same, for a
        derivative that will follow), "scatter" (of the first array to the maxima of the last; the
        places that "kept" gave may stand between), "fits" (whether "scatter" takes given places),
        "sum" or "spread", both over `divisor`. `work` counts the elements that swath's own passes
        would compute. Results are those of the passes, NaN and ties included.
        """
        return None

    def native_pass(self, role: str, x: Array, axis: int, span: Any) -> Any:
        """The "max", "min" or "sum" of windows of one axis; None where no such kernel pays."""
        return None

    def native_levinson_seconds(self, like: Array, n: int) -> float:
        """What `native_levinson` takes for one right-hand side; infinite where there is none."""
        return float("inf")

    def native_levinson(self, c: Array, r: Array, y: Array) -> Array:
        """Levinson's recursion by a compiled kernel: columns and rows (L, n), sides (L, k, n).

        NaN where a leading minor vanishes.
        """
        raise NotImplementedError

    def solve(self, a: Array, b: Array) -> Array:
        """Solutions x of a x = b for matrices a and b; not finite where a is singular."""
        try:
            return self.xp.linalg.solve(a, b)
        except Exception as error:
            # Libraries raise their own LinAlgError; anything else is not about singularity.
            if "LinAlgError" not in type(error).__name__:
                raise
        if a.ndim == 2:
            return self.new_like(b, b.shape, fill=float("nan"))
        return self.xp.stack([self.solve(a[i, ...], b[i, ...]) for i in range(a.shape[0])], axis=0)

    # -- loops, compiled where programs are ------------------------------------------------------

    def fori_loop(self, start: int, stop: int, body: Callable[[Any, Any], Any], init: Any) -> Any:
        """body(stop − 1, … body(start, init)); arrays of the state keep shape and dtype."""
        for i in range(start, stop):
            init = body(i, init)
        return init

    def while_loop(
        self,
        test: Callable[[tuple[Array, ...]], Array],
        step: Callable[[tuple[Array, ...]], tuple[Array, ...]],
        init: tuple[Array, ...],
        limit: int,
    ) -> tuple[Array, ...]:
        """step(… step(init)) while the one-element array test(state) holds, `limit` times at most.

        Where its value cannot be read all steps are made, and those too many are undone.
        """
        for _ in range(limit):
            go = test(init)
            known = self.concrete(go)
            if known is False:
                break
            new = step(init)
            if known is None:
                new = tuple(self.xp.where(go, a, b) for a, b in zip(new, init, strict=True))
            init = new
        return init

    def slab(self, x: Array, axis: int, start: Any, length: int) -> Array:
        """x[start : start + length] along an axis; start may be traced."""
        return x[(*[slice(None)] * axis, slice(start, start + length), ...)]

    def box(self, x: Array, starts: Sequence[Any], lengths: Sequence[int]) -> Array:
        """As `slab`, of all axes."""
        cuts = [slice(start, start + n) for start, n in zip(starts, lengths, strict=True)]
        return x[tuple(cuts)]

    def put_slab(self, x: Array, value: Array, starts: Sequence[Any]) -> Array:
        """x with `value` written from `starts` on, in place where the library allows it."""
        ends = [n + s for n, s in zip(value.shape, starts, strict=False)]
        cuts = (*(slice(s, e) for s, e in zip(starts, ends, strict=True)), ...)
        return xpx.at(x)[cuts].set(value)

    # -- FFT ------------------------------------------------------------------------------------

    def fft(self, x: Array, axes: Sequence[int], lengths: Sequence[int]) -> Array:
        """Forward transform over axes, zero-padded to lengths; half spectrum for real input."""
        if self.is_complex(x):
            return self.xp.fft.fftn(x, s=tuple(lengths), axes=tuple(axes))
        return self.xp.fft.rfftn(x, s=tuple(lengths), axes=tuple(axes))

    def ifft(self, x: Array, axes: Sequence[int], lengths: Sequence[int], *, real: bool) -> Array:
        """Inverse of `fft`; `real` for a half spectrum."""
        if real:
            return self.xp.fft.irfftn(x, s=tuple(lengths), axes=tuple(axes))
        return self.xp.fft.ifftn(x, s=tuple(lengths), axes=tuple(axes))

    def fft_over(self, x: Array, axis: int) -> Array:
        """`fft` of complex numbers along an axis, written over them where the library does so."""
        return self.fft(x, (axis,), (x.shape[axis],))

    #: By dtypes, lines of a processor's that are faster as planes.
    long_lines: Mapping[str, Long] = {}

    def spectra(self, x: Array, n: int, lines: int) -> Array:
        """Transforms of lines along the last axis, zero-padded, for products of spectra alone.

        (…, *f), in what order the library likes for so many lines at most, those of all factors and
        of the product.
        """
        plane = self._plane(x, n, lines, real=not self.is_complex(x))
        return self.fft(x, (x.ndim - 1,), (n,)) if plane is None else spectra(self, x, plane)

    def lines(self, spectra: Array, n: int, lines: int, *, real: bool) -> Array:
        """Inverse of `spectra`, which may be overwritten."""
        plane = self._plane(spectra, n, lines, real=real)
        if plane is None:
            return self.ifft(spectra, (spectra.ndim - 1,), (n,), real=real)
        return back(self, spectra, plane, real=real)

    def _plane(self, x: Array, n: int, lines: int, *, real: bool) -> tuple[int, int] | None:
        if not self.long_lines or self.wide(x) > 1:
            return None
        name = self.name_of(x.dtype)
        return sides(n, lines, self.long_lines.get(_REAL.get(name, name) if real else name))

    # -- precision, rules -----------------------------------------------------------------------

    @property
    def fast(self) -> bool:
        """Whether `swath.precision("fast")` holds."""
        return PRECISION.get() == "fast"

    def precision(self, level: str) -> AbstractContextManager[Any]:
        """Enter the library's own precision setting for matrix products."""
        del level
        return nullcontext()

    def call(self, core: Core, geometry: Any, arrays: Sequence[Array]) -> Array:
        """Run a core with its derivative rule attached; here there is none to attach to."""
        return core.forward(self, geometry, *arrays)

    def gradients(
        self, function: Callable[..., Array], arrays: Sequence[Array]
    ) -> Sequence[Array] | None:
        """Gradients of a scalar function by the library's own autodiff; None where it has none."""
        return None

    def register_result(
        self,
        cls: type,
        fields: Sequence[str],
        static: Sequence[str],
        make: Callable[..., Any] | None = None,
    ) -> None:
        """Make a result class a container that the library's transformations look into.

        `make(**fields)` puts one together without checks, where the constructor has some.
        """
