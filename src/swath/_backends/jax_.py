"""JAX: derivative rules as primitives and `custom_jvp`, full-precision products, `lax.pad`.

A multilinear core becomes a JAX primitive whose JVP, transpose and batching rules are made of the
same core and its siblings, so that every order and mixture of jit, grad, jvp, vmap and hessian
stays inside swath's own algorithms. (Tracing the algorithms instead would keep one shifted copy of
the input for every tap.) A nonlinear core becomes a `custom_jvp` whose tangent map is made of
multilinear cores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache, partial, wraps
from math import prod
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.custom_batching import custom_vmap
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from .base import (
    NARROW,
    WORKSPACE,
    Array,
    Backend,
    Core,
    Narrow,
    NativeKernel,
    channels_seconds,
    cudnn_seconds,
    no_kernel,
)
from .jax_fourier import transformed
from .jax_shards import in_shards, on_mesh, want_devices
from .long_lines import NEVER, Long, long

__all__ = ["make"]

F = TypeVar("F", bound=Callable[..., Any])
# Its flags are attributes made at run time.
_CONFIG: Any = jax.config
_LAX: Any = lax
# The second is the name before JAX 0.8.
_spreads = partial(_LAX.pcast, to="varying") if hasattr(lax, "pcast") else _LAX.pvary
_LEVELS = {"highest": "highest", "high": "high", "fast": "default"}
# XLA's products of integers on a processor: loops, but for one dtype.
_WHOLE = {1: Narrow(whole=20.0), 2: Narrow(whole=16.0), 4: Narrow(whole=4.0), 8: Narrow(whole=20.0)}


# Results of one channel from which on XLA's loop over them is shared by threads.
_SHARED = 2**13
# Rows that are enough for its threads, and how many times as long as what two share they are.
_ROWS, _LONG = 16, 8
# Multiply-adds in the time of copying a point of a window (of channels that fill a vector of
# `_LANES`, or of fewer), of laying out a point of an array anew (of pictures, of volumes), and of
# writing a result, however short its sum.
_WINDOW, _FEW, _POINT, _VOXEL, _RESULT = 30, 90, 55, 90, 32
_LANES = 8
# Multiply-adds in the time of adding a column to x, and of beginning the columns of a tap; and
# columns for each point of x, as multiples of the channels of y, up to which that beats forward
# products.
_COLUMN, _RUN, _COLUMNS = 40, 160, 2
# Bytes of windows from which on XLA takes longer if it writes them out.
_WRITTEN = 10 << 20
# Bytes of scratch that the allocator keeps from one call to the next, and the rate at which it gets
# new ones, as a part of that of an elementwise pass.
_KEPT, _NEW = 2**25, 0.1


@cache
def _place() -> tuple[str, str, str]:
    if jax.default_backend() == "cpu":
        return "jax", "cpu", ""
    return "jax", "gpu", jax.devices()[0].device_kind


def _layer_seconds(p: Any, cost: Any) -> float | str:
    if p.role == "x":
        return _spread_seconds(p, cost)
    if p.g.rank > 3 or p.dtype not in ("float32", "float64"):
        return no_kernel(p, cost)
    if p.wide > 1:
        return cudnn_seconds(p, cost)
    if p.role == "w" and p.g.groups > 1:
        return "the gradient of a kernel of groups is slow"
    single = p.single and p.g.groups == 1
    if single and p.g.rank == 1 and p.role == "w":
        # A plain loop over neighbouring points at once; entries of a batch, of float64 one by one,
        # are laid side by side first. Points a stride apart are read one by one for all entries.
        terms = 1.6 * p.flops * (p.heavy**3 if p.batch > 1 else 1)
        seconds = terms / cost.native_single
        if p.batch > 1:
            seconds += p.outputs / (33 * cost.native_point)
        if not p.g.strideless:
            seconds += p.flops / p.batch / (7 * cost.native_point)
    elif single and p.role == "y" and p.g.rank == 1:
        # So is this, over rows. Points of a line that is none cost more, which terms hide; of rows,
        # terms whose points lie apart.
        if p.batch * _rows_of(p.g.spans[0], p.batch) > 1:
            terms = p.heavy * p.flops * (1 if p.g.strideless else 2) / (2 * cost.native_single)
            seconds = terms + p.heavy * p.outputs / (48 * cost.native_point)
            if p.x_bytes + p.y_bytes > _KEPT:
                seconds += (p.x_bytes + p.y_bytes) / (_NEW * cost.stream)
        else:
            terms = p.heavy * p.flops / (1.35 * cost.native_single)
            seconds = max(terms, p.outputs / (6 * cost.native_point))
        return seconds * (2 if p.outputs < _SHARED else 1) + 12 * cost.call
    elif single and p.role == "y":
        seconds = channels_seconds(p, cost)
        if p.outputs < _SHARED:
            seconds *= 2
    elif p.g.groups > 1:
        # One after the other; those of float64 are not Eigen's.
        terms = p.flops * (4 if p.width > 4 else 1)
        seconds = terms / (2 * cost.native_groups * min(p.depth, p.rows))
    else:
        # Windows are copied before the product. What is summed for a kernel's gradient are the
        # entries of a batch, as channels are else.
        # Along one axis a window is one run.
        summed = p.batch if p.role == "w" else p.depth * (_LANES if p.g.rank == 1 else 1)
        copied = p.flops / p.rows * (_FEW if summed < _LANES else _WINDOW)
        copied += _RESULT * (p.outputs if p.role == "y" else p.w_bytes / p.width)
        # Volumes are cut into pictures, channels first are brought to the back.
        planes = p.g.sizes[0] if p.g.rank == 3 else 1
        if planes > 1 or not p.g.last:
            # Of a kernel (O, C, *K) neighbours in memory go furthest apart.
            laid = planes * p.inputs + p.outputs + 4 * p.w_bytes / p.width
            copied += (_VOXEL if planes > 1 else _POINT) * laid
        # Eigen's products of float64 take twice what its vectors would.
        seconds = p.heavy * (p.heavy * p.flops + copied) / cost.native
    return seconds + 20 * cost.call


def _spread_seconds(p: Any, cost: Any) -> float:
    seconds = p.flops / 1.5 + p.places * p.taps * (_COLUMN * p.depth + _RUN)
    if not p.g.last:
        seconds += _RESULT * (p.inputs + p.outputs)
    return seconds / cost.native + 9 * cost.call


def _layer_scratch(p: Any) -> int:
    if p.role == "x":
        columns = p.places * p.taps * p.depth * p.width
        return columns + p.x_bytes + (0 if p.g.last else p.y_bytes) + 2 * p.w_bytes
    taps = p.g.sizes[0] if p.g.rank == 3 else 0
    if p.role == "w":
        return (taps + 1) * p.x_bytes + p.y_bytes + 2 * p.w_bytes
    if taps:
        return taps * p.x_bytes + p.y_bytes + p.w_bytes
    channels = p.g.groups * max(p.depth, p.rows)
    if p.g.rank == channels == 1:
        # Rows of lines, and the result before it is cut or laid out.
        return (_LONG + 1) * p.x_bytes // _LONG + p.y_bytes
    # Of a result that is cut off the whole is there beside it, one more along the last axis.
    cut = _written(
        "y", p.g, [(s.low, s.high) for s in p.g.spans], p.flops / p.rows * p.width, p.y_bytes
    )
    result = p.y_bytes + (p.y_bytes // p.g.out[-1] if cut else 0)
    if p.g.last and not _lifted(p.g, p.width, channels):
        more = p.x_bytes if prod(p.g.sizes) > prod(p.g.lengths) else 0
        return p.w_bytes + more + (result if cut else 0)
    # XLA computes channels last: the result is laid out anew, and x in its memory where it fits.
    return result + p.w_bytes + (p.x_bytes if p.x_bytes > p.y_bytes else 0)


def _adds_columns(p: Any) -> bool:
    """Whether XLA's kernel for transposes takes p, and less time than forward products.

    It makes one product, whose columns one thread adds up. Eigen's of float64 are slow, and of a
    kernel that is larger than y XLA makes the signal, which it has none but a plain loop for.
    """
    g = p.g
    if g.rank > 2 or g.groups > 1 or g.strideless or not 1 < p.taps <= prod(g.out) or p.wide > 1:
        return False
    few = p.depth * p.taps <= _COLUMNS * p.rows * prod(s.stride for s in g.spans)
    return few and p.dtype == "float32" and all(s.dilation == 1 for s in g.spans)


def _channels_last(rank: int) -> Any:
    """Signals (B, *S, C) and kernels (*K, C, O)."""
    signal = 0, rank + 1, *range(1, rank + 1)
    return lax.ConvDimensionNumbers(signal, (rank + 1, rank, *range(rank)), signal)


def _asked() -> Any:
    """The precision of products: what the user asked JAX for, if anything, goes before ours."""
    asked = _CONFIG.jax_default_matmul_precision
    return lax.Precision.HIGHEST if asked is None else None


def _lifted(g: Any, width: int, channels: int) -> bool:
    """Whether a line is computed as a picture: Eigen's products of float64 are for two axes."""
    return g.rank == 1 and width > 4 and channels > 1


def _written(role: str, g: Any, pads: Sequence[Any], windows: float, results: float) -> bool:
    """Whether XLA takes longer to write windows out than to cut off some of its results."""
    if g.groups > 1 or (role == "w" and not g.strideless) or any(map(any, pads)):
        return False
    return windows > max(_WRITTEN, 2 * results if role == "y" else 0)


def _rows_of(s: Any, lines: int) -> int:
    """Rows that each of some lines of one channel is cut into."""
    if lines * s.out < _SHARED:
        return 1
    most = s.out * s.stride // (_LONG * max(1, s.extent - s.stride))
    return max(1, min(_ROWS // lines, most))


class JaxBackend(Backend):
    """The adapter for CPU, GPU and TPU."""

    traces = True
    types_weakly = True

    @property
    def kind(self) -> str:  # type: ignore[override]
        return "cpu" if jax.default_backend() == "cpu" else "gpu"

    def place(self, x: Array) -> tuple[str, str, str]:
        # A tracer tells no device.
        return _place()

    def device(self, x: Array) -> Any:
        return None if isinstance(x, Tracer) else x.sharding

    def same_device(self, a: Array, b: Array) -> bool:
        # Tracers carry no device and uncommitted arrays follow their neighbours.
        for x in (a, b):
            if isinstance(x, Tracer) or not x.committed:
                return True
        return a.sharding.device_set == b.sharding.device_set

    def new_like(self, x: Array, shape: tuple[int, ...], dtype: Any = None, fill: Any = 0) -> Array:
        with self.quiet() if fill != fill else nullcontext():
            return jnp.full(shape, fill, x.dtype if dtype is None else dtype)

    def constant(self, values: Any, like: Array, dtype: Any) -> Array:
        return jnp.asarray(np.asarray(values), dtype=dtype)

    def quiet(self) -> AbstractContextManager[Any]:
        # An error, if users ask for it.
        return jax.debug_nans(False)

    def arange(self, n: int, like: Array, dtype: Any) -> Array:
        return jnp.arange(n, dtype=dtype)

    def default_float(self, like: Array | None = None) -> Any:
        return jnp.dtype(jax.dtypes.canonicalize_dtype(np.float64))

    def has_float64(self, like: Array | None = None) -> bool:
        return bool(_CONFIG.jax_enable_x64)

    def exact_floats(self, x: Array | None = None) -> tuple[str, ...]:
        # Float64 of a TPU is a pair of narrower floats.
        return () if jax.default_backend() == "tpu" else super().exact_floats(x)

    def with_float64(self) -> AbstractContextManager[Any]:
        return jax.enable_x64(True)

    def dtypes_on(self, device: Any) -> tuple[str, ...]:
        return ("float32", "float64") if self.has_float64() else ("float32",)

    def devices(self) -> list[str]:
        return [str(d) for d in jax.devices()]

    def default_int(self, like: Array) -> Any:
        return jnp.dtype(jax.dtypes.canonicalize_dtype(np.int64))

    def traced(self, *arrays: Array) -> bool:
        return any(isinstance(a, Tracer) for a in arrays)

    def concrete(self, x: Array) -> Any:
        return None if isinstance(x, Tracer) else x.item()

    def cond(
        self,
        flag: Array,
        yes: Callable[..., tuple[Array, ...]],
        no: Callable[..., tuple[Array, ...]],
        *operands: Array,
    ) -> tuple[Array, ...]:
        if isinstance(flag, Tracer):
            return lax.cond(flag, *_alike(yes, no, operands), *operands)
        return yes(*operands) if flag.item() else no(*operands)

    def detach(self, x: Array) -> Array:
        return lax.stop_gradient(x)

    def run(
        self, function: Callable[..., tuple[Array, ...]], geometry: Any, *arrays: Array
    ) -> tuple[Array, ...]:
        return _compiled(function)(geometry, *arrays)

    def aside(
        self, function: Callable[..., tuple[Array, ...]], geometry: Any, *arrays: Array
    ) -> tuple[Array, ...]:
        return _batchable(function, geometry)(*arrays)

    def synchronize(self, x: Array) -> None:
        x.block_until_ready()

    def free_memory(self, device: Any = None) -> int | None:
        stats = (device or jax.devices()[0]).memory_stats()
        if not stats or "bytes_limit" not in stats:
            return None
        return int(stats["bytes_limit"]) - int(stats["bytes_in_use"])

    def out_of_memory(self, error: Exception) -> bool:
        return super().out_of_memory(error) or (
            isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
        )

    def from_host(self, x: np.ndarray, device: Any = None) -> Array:
        return jnp.asarray(x) if device is None else jax.device_put(x, device)

    def to_numpy(self, x: Array) -> np.ndarray:
        return np.asarray(x)

    def check_device(self, device: Any) -> Any:
        if isinstance(device, str):
            platform, _, index = device.partition(":")
            return jax.devices(platform)[int(index or 0)]
        return device

    def is_complex(self, x: Array) -> bool:
        return x.dtype.kind == "c"

    def is_weak(self, x: Array) -> bool:
        return x.weak_type

    def is_floating(self, dtype: Any) -> bool:
        return jnp.issubdtype(dtype, jnp.inexact)

    def name_of(self, dtype: Any) -> str:
        return jnp.dtype(dtype).name

    def narrow(self, dtype: Any) -> Narrow:
        kind = jnp.dtype(dtype)
        return _WHOLE.get(kind.itemsize, NARROW) if kind.kind in "iu" else NARROW

    def itemsize(self, dtype: Any) -> int:
        return jnp.dtype(dtype).itemsize

    def pad(
        self,
        x: Array,
        widths: Sequence[tuple[int, int]],
        value: Any = 0,
        interior: Sequence[int] = (),
    ) -> Array:
        gaps = list(interior) or [0] * x.ndim
        config = [(lo, hi, gap) for (lo, hi), gap in zip(widths, gaps, strict=True)]
        return lax.pad(x, jnp.asarray(value, x.dtype), config)

    def matmul(self, a: Array, b: Array) -> Array:
        # The context is part of jit's cache key, so no cached trace keeps an old setting.
        asked = _CONFIG.jax_default_matmul_precision
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST if asked is None else None)

    def solve_triangular(
        self, a: Array, b: Array, *, lower: bool, transpose: bool = False
    ) -> Array:
        lead = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a = jnp.broadcast_to(a, (*lead, *a.shape[-2:]))
        b = jnp.broadcast_to(b, (*lead, *b.shape[-2:]))
        return jax.scipy.linalg.solve_triangular(a, b, lower=lower, trans=1 if transpose else 0)

    def cholesky(self, a: Array) -> Array:
        return jnp.linalg.cholesky(a)

    def triangle(self, a: Array, b: Array) -> Array:
        if a.ndim > 2:
            # LAPACK wants columns in one stretch each. Where this is one of two branches, XLA would
            # lay out a batch for it beforehand, whichever is taken.
            a = jnp.reshape(self.made(jnp.reshape(a, (*a.shape[:-2], -1))), a.shape)
        return jnp.linalg.qr(jnp.concatenate([a, b], -1), mode="r")

    # Most transposes go through forward products: see `_adds_columns`.
    native = NativeKernel(("y", "w"), _layer_seconds, _layer_scratch, spreads=_adds_columns)

    def native_product(self, role: str, g: Any, a: Array, b: Array) -> Array:
        if role == "x":
            return self._spread(g, a, b)
        if g.rank == 3 and self.kind == "cpu":
            return self._folded(role, g, a, b)
        channels = max(a.shape[1], b.shape[1 if role == "w" else 0])
        if role == "y" and g.rank == channels == 1 and self.kind == "cpu":
            return self._line(g.spans[0], a, b)
        if _lifted(g, self.itemsize(a.dtype), channels):
            (s,) = g.spans
            unit = replace(s, length=1, size=1, stride=1, dilation=1, low=0, high=0)
            flat = replace(g, spans=(unit, s))
            a, b = jnp.expand_dims(a, 2), jnp.expand_dims(b, 2)
            return jnp.squeeze(self.native_product(role, flat, a, b), 2)
        strides, dilations = [s.stride for s in g.spans], [s.dilation for s in g.spans]
        pads = [(s.low, s.high) for s in g.spans]
        axes = tuple(range(2, 2 + g.rank))
        order = (0, 1, *axes)
        groups, batch_groups = g.groups, 1
        if role == "w":
            # y slides over x: the batch is what is summed, like channels.
            strides, dilations, order = dilations, strides, (1, 0, *axes)
            groups, batch_groups = 1, g.groups
            pads = [(s.low, s.extent + s.stride * (s.out - 1) - s.length - s.low) for s in g.spans]
        if self.kind == "cpu" and prod(b.shape[2:]) > prod(a.shape[2:]):
            # XLA would exchange the operands, which it has none but a plain loop for.
            a = self.made(self.pad(a, [(0, 0), (0, 0), *pads]))
            pads = [(0, 0)] * g.rank
        windows = prod(a.shape[:2]) * prod(g.sizes) * prod(g.out) * self.itemsize(a.dtype)
        results = a.shape[0] * b.shape[0] * prod(g.out) * self.itemsize(a.dtype)
        cut = self.kind == "cpu" and _written(role, g, pads, windows, results)
        if cut:
            # Padding that is cut off again: without any, XLA writes all windows out beforehand.
            pads[-1] = 0, 1
        numbers, back = lax.ConvDimensionNumbers(order, order, order), range(2 + g.rank)
        if self.kind == "cpu":
            # XLA's kernel is for channels last. It lays arrays out so by itself, but only outside
            # of loops: in one (of slabs, or a caller's scan) it has none but a plain loop else.
            image, kernel = (order[0], *axes, order[1]), (*axes, order[1], order[0])
            a, b = jnp.transpose(a, image), jnp.transpose(b, kernel)
            numbers = _channels_last(g.rank)
            batch, last, *inner = numbers.out_spec
            back = (last, batch, *inner) if role == "w" else numbers.out_spec
        y = lax.conv_general_dilated(
            a,
            b,
            strides,
            pads,
            rhs_dilation=dilations,
            feature_group_count=groups,
            batch_group_count=batch_groups,
            dimension_numbers=numbers,
            precision=_asked(),
        )
        y = jnp.transpose(y, back)
        return y[..., : (g.sizes if role == "w" else g.out)[-1]] if cut else y

    def _spread(self, g: Any, w: Array, y: Array) -> Array:
        """x, all channels and taps of it by one product, whose columns XLA adds up."""
        axes, numbers = tuple(range(2, 2 + g.rank)), _channels_last(g.rank)
        # Padded and with zeros between its points, y has as many as x and, but for one, the kernel.
        lows = [s.size - 1 - s.low for s in g.spans]
        highs = [s.length + s.low - s.stride * (s.out - 1) - 1 for s in g.spans]
        x = lax.conv_general_dilated(
            jnp.transpose(y, (0, *axes, 1)),
            jnp.transpose(jnp.flip(w, axes), (*axes, 0, 1)),
            [1] * g.rank,
            list(zip(lows, highs, strict=True)),
            lhs_dilation=[s.stride for s in g.spans],
            dimension_numbers=numbers,
            precision=_asked(),
        )
        return jnp.transpose(x, numbers.out_spec)

    def _line(self, s: Any, x: Array, w: Array) -> Array:
        """Lines of one channel as arrays of four axes, which XLA gives to no library.

        Its own loop goes over neighbouring points; Eigen's products would have one column. Padding
        is written, that the loop does not ask at every tap whether it is there.

        Threads share whole rows where these are enough. Ends of a part of a row are known only when
        it runs, and the loop over it is then not compiled for neighbouring points: it takes up to
        six times as long. So few lines are cut into rows, that repeat what windows share.
        """
        lines = x.shape[0]
        rows = _rows_of(s, lines)
        points = -(-s.out // rows)
        step, shared = points * s.stride, s.extent - s.stride
        high = s.high if rows == 1 else rows * step + shared - s.low - s.length
        x = self.pad(x, [(0, 0), (0, 0), (s.low, high)])
        if rows > 1:
            places = lax.GatherDimensionNumbers((0, 1, 3), (), (2,))
            starts, size = jnp.arange(rows)[:, None] * step, step + shared
            x = lax.gather(x, starts, places, (lines, 1, size), mode="promise_in_bounds")
        y = lax.conv_general_dilated(
            jnp.reshape(x, (lines * rows, 1, 1, 1, -1, 1)),
            jnp.reshape(w, (1, 1, 1, -1, 1, 1)),
            (1, 1, 1, s.stride),
            "VALID",
            rhs_dilation=(1, 1, 1, s.dilation),
            dimension_numbers=("N0123C", "0123IO", "N0123C"),
        )
        return jnp.reshape(y, (lines, 1, -1))[:, :, : s.out]

    def _folded(self, role: str, g: Any, a: Array, b: Array) -> Array:
        """Volumes as pictures, which XLA has fast kernels for.

        Points of the first axis are a batch, its taps channels.
        """
        first, flat = g.spans[0], replace(g, spans=g.spans[1:])

        def pictures(a: Array) -> Array:
            """(B, C, n, …) to (B·n, C, …)."""
            a = jnp.moveaxis(a, 2, 1)
            return jnp.reshape(a, (-1, *a.shape[2:]))

        widths = [(0, 0)] * a.ndim
        widths[2] = first.low, first.high
        x, reach = self.pad(a, widths), first.stride * (first.out - 1) + 1
        starts = range(0, first.extent, first.dilation)
        taps = [lax.slice_in_dim(x, i, i + reach, first.stride, 2) for i in starts]
        x = jnp.stack(taps, axis=2)
        x = pictures(jnp.reshape(x, (x.shape[0], -1, *x.shape[3:])))
        if role == "w":
            w = self.native_product(role, flat, x, pictures(b))
            return jnp.reshape(w, (w.shape[0], -1, first.size, *w.shape[2:]))
        y = self.native_product(role, flat, x, jnp.reshape(b, (b.shape[0], -1, *b.shape[3:])))
        return jnp.moveaxis(jnp.reshape(y, (-1, first.out, *y.shape[1:])), 1, 2)

    def windows(
        self,
        x: Array,
        sizes: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        axes: Sequence[int],
    ) -> Array:
        if any(s > 1 for s in strides):
            return super().windows(x, sizes, strides, dilations, axes)
        # Slices, one for every tap, in one gathering.
        for axis, size, dilation in zip(axes, sizes, dilations, strict=True):
            shape = list(x.shape)
            shape[axis] -= dilation * (size - 1)
            places = lax.GatherDimensionNumbers(tuple(range(1, x.ndim + 1)), (), (axis,))
            starts = jnp.arange(size)[:, None] * dilation
            x = lax.gather(x, starts, places, tuple(shape), mode="promise_in_bounds")
            x = jnp.moveaxis(x, 0, -1)
        return x

    def made(self, x: Array) -> Array:
        return lax.optimization_barrier(x)

    def native_pass(self, role: str, x: Array, axis: int, span: Any) -> Any:
        # Measured on the CPU: XLA's loop is the fastest over few taps that overlap. The barrier
        # behind keeps it from fusing the passes of two axes, which would do the first one several
        # times; the one before from taking zeros between points into the loop, which goes wrong
        # where there is one point (jaxlib 0.10).
        few = span.stride < span.extent and span.size <= 4
        if not few or min(span.low, span.high) < 0 or self.is_complex(x):
            return None
        lowest, highest = _range(x.dtype)
        start, operation = {
            "max": (lowest, lax.max),
            "min": (highest, lax.min),
            "sum": (0, lax.add),
        }[role]
        ones, pads = [1] * x.ndim, [(0, 0)] * x.ndim
        size, stride, dilation = ones.copy(), ones.copy(), ones.copy()
        size[axis], stride[axis], dilation[axis] = span.size, span.stride, span.dilation
        pads[axis] = span.low, span.high
        x = lax.optimization_barrier(x)
        y = lax.reduce_window(
            x, np.asarray(start, x.dtype), operation, size, stride, pads, window_dilation=dilation
        )
        return lax.optimization_barrier(y)

    def fori_loop(self, start: int, stop: int, body: Callable[[Any, Any], Any], init: Any) -> Any:
        return lax.fori_loop(start, stop, body, _settled(lambda state: body(start, state), init))

    def while_loop(
        self,
        test: Callable[[tuple[Array, ...]], Array],
        step: Callable[[tuple[Array, ...]], tuple[Array, ...]],
        init: tuple[Array, ...],
        limit: int,
    ) -> tuple[Array, ...]:
        def goes(counted: tuple[Any, tuple[Array, ...]]) -> Array:
            return (counted[0] < limit) & test(counted[1])

        def counts(counted: tuple[Any, tuple[Array, ...]]) -> tuple[Any, tuple[Array, ...]]:
            return counted[0] + 1, step(counted[1])

        return lax.while_loop(goes, counts, (0, _settled(step, init)))[1]

    def slab(self, x: Array, axis: int, start: Any, length: int) -> Array:
        return lax.dynamic_slice_in_dim(x, start, length, axis)

    def box(self, x: Array, starts: Sequence[Any], lengths: Sequence[int]) -> Array:
        return lax.dynamic_slice(x, starts, lengths)

    def put_slab(self, x: Array, value: Array, starts: Sequence[Any]) -> Array:
        full = [*starts, *[0] * (x.ndim - len(starts))]
        return lax.dynamic_update_slice(x, value, full)

    def fft(self, x: Array, axes: Sequence[int], lengths: Sequence[int]) -> Array:
        return transformed(self, x, axes, lengths, real=not self.is_complex(x), back=False)

    def ifft(self, x: Array, axes: Sequence[int], lengths: Sequence[int], *, real: bool) -> Array:
        return transformed(self, x, axes, lengths, real=real, back=True)

    long_lines: Mapping[str, Long] = {
        "float32": (long(2**12), long(2**12), long(2**12, 2**17), NEVER),
        "float64": (long(2**13), long(2**14), NEVER, NEVER),
        "complex64": (long(2**17), long(2**17, 2**19), NEVER, NEVER),
        "complex128": (long(2**17), long(2**17), NEVER, NEVER),
    }

    @property
    def fast(self) -> bool:
        # Part of the key of jit's cache, as a variable of ours would not be.
        return _CONFIG.jax_default_matmul_precision == _LEVELS["fast"]

    def precision(self, level: str) -> AbstractContextManager[Any]:
        return jax.default_matmul_precision(_LEVELS[level])

    def call(self, core: Core, geometry: Any, arrays: Sequence[Array]) -> Array:
        if core.linear:
            return _primitive(core).bind(*arrays, geometry=geometry, limit=WORKSPACE.get())
        return _custom_jvp(core)(geometry, *arrays)

    def gradients(
        self, function: Callable[..., Array], arrays: Sequence[Array]
    ) -> Sequence[Array] | None:
        return jax.jit(jax.grad(function, argnums=tuple(range(len(arrays)))))(*arrays)

    def sparse_rows(
        self, values: Array, columns: np.ndarray, starts: np.ndarray, shape: tuple[int, int]
    ) -> Any:
        # JAX's own BCSR has fewer products and no gradients; BCOO is its main format.
        from jax.experimental.sparse import BCOO

        rows = np.repeat(np.arange(shape[0]), np.diff(starts))
        places = jnp.asarray(np.stack([rows, columns], axis=1), jnp.int32)
        return BCOO((values, places), shape=shape, indices_sorted=True, unique_indices=True)

    def register_result(
        self,
        cls: type,
        fields: Sequence[str],
        static: Sequence[str],
        make: Callable[..., Any] | None = None,
    ) -> None:
        if make is None:
            jax.tree_util.register_dataclass(cls, list(fields), list(static))
            return
        keys = [jax.tree_util.GetAttrKey(name) for name in fields]

        def flatten(value: Any) -> Any:
            children = [getattr(value, name) for name in fields]
            return children, tuple(getattr(value, name) for name in static)

        def flatten_with_keys(value: Any) -> Any:
            children, rest = flatten(value)
            return list(zip(keys, children, strict=True)), rest

        def unflatten(rest: Any, children: Any) -> Any:
            named = zip((*fields, *static), (*children, *rest), strict=True)
            return make(**dict(named))

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)


def _range(dtype: Any) -> tuple[Any, Any]:
    """The lowest and the highest value of a dtype."""
    if jnp.issubdtype(dtype, jnp.inexact):
        return -np.inf, np.inf
    info = jnp.iinfo(dtype)
    return info.min, info.max


_BACKEND = JaxBackend(jnp, "jax")


def _no_tangent(t: Any) -> bool:
    kinds = (ad.Zero, jax.custom_derivatives.SymbolicZero)
    return t is None or isinstance(t, kinds) or t.dtype == jax.dtypes.float0


def _mixing(function: F) -> F:
    """A function to trace, by the rules of the standard.

    What mixes dtypes or ranks JAX can be told to refuse: to find mistakes of callers, whose arrays
    are of one dtype by now.
    """

    @wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return function(*args, **kwargs)

    return traced  # type: ignore[return-value]


def _varying(aval: Any) -> frozenset[Any]:
    """The axes of a mesh along which what `jax.shard_map` gives to a device differs."""
    return aval.mat.varying if hasattr(aval, "mat") else getattr(aval, "vma", frozenset())


def _on_one_device() -> bool:
    """Whether a program is for one device of a mesh, as in `jax.shard_map`."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)


def _spread(arrays: Any, avals: Sequence[Any]) -> Any:
    """Arrays that may differ from device to device wherever those of `avals` may."""
    leaves, tree = jax.tree.flatten(arrays)
    for i, aval in enumerate(avals):
        names = tuple(_varying(aval) - _varying(jax.typeof(leaves[i])))
        if names:
            leaves[i] = _spreads(leaves[i], names)
    return jax.tree.unflatten(tree, leaves)


def _alike(yes: Callable[..., Any], no: Callable[..., Any], operands: Sequence[Array]) -> Any:
    """Two branches whose results are of one type: where devices differ is part of it."""
    if not _on_one_device():
        return yes, no
    told = [jax.make_jaxpr(branch)(*operands).out_avals for branch in (yes, no)]

    def spread(branch: Callable[..., Any], other: Sequence[Any]) -> Callable[..., Any]:
        return lambda *operands: _spread(branch(*operands), other)

    return spread(yes, told[1]), spread(no, told[0])


def _settled(step: Callable[[Any], Any], init: Any) -> Any:
    """The first state of a loop, of the type that its steps give it."""
    while _on_one_device():
        # What one step spreads the next one may spread further.
        before, init = init, _spread(init, jax.make_jaxpr(step)(init).out_avals)
        if all(a is b for a, b in zip(*map(jax.tree.leaves, (before, init)), strict=True)):
            break
    return init


def _summed(cotangent: Array, aval: Any) -> Array:
    """The cotangent of what devices have in common: the sum of theirs."""
    names = _varying(jax.typeof(cotangent)) - _varying(aval)
    return lax.psum(cotangent, tuple(names)) if names else cotangent


@cache
def _primitive(core: Core) -> Primitive:
    primitive = Primitive(f"swath_{core.name}")

    # `limit`, the workspace allowed, is a parameter because the trace depends on it.
    @_mixing
    def forward(*arrays: Array, geometry: Any, limit: int | None) -> Array:
        token = WORKSPACE.set(limit)
        try:
            return core.forward(_BACKEND, geometry, *arrays)
        finally:
            WORKSPACE.reset(token)

    compiled = jax.jit(forward, static_argnames=("geometry", "limit"))

    def positional(geometry: Any, limit: int | None, *arrays: Array) -> Array:
        return compiled(*arrays, geometry=geometry, limit=limit)

    primitive.def_impl(compiled)

    # Through the compiled function: its trace is cached, by shapes and precision.
    @primitive.def_abstract_eval
    def _abstract(*avals: Any, geometry: Any, limit: int | None) -> Any:
        traced = compiled.trace(*avals, geometry=geometry, limit=limit)
        return traced.jaxpr.out_avals[0]

    divided = in_shards(core, positional)
    whole = mlir.lower_fun(compiled, multiple_results=False)

    def lower(ctx: Any, *operands: Any, geometry: Any, limit: int | None) -> Any:
        shapes = [tuple(a.shape) for a in ctx.avals_in]
        if on_mesh(ctx) and core.divide(geometry, shapes) is not None:
            rule = mlir.lower_fun(partial(divided, geometry, limit), multiple_results=False)
            return rule(ctx, *operands)
        return whole(ctx, *operands, geometry=geometry, limit=limit)

    mlir.register_lowering(primitive, lower)
    want_devices(primitive)

    @_mixing
    def jvp(primals: Sequence[Array], tangents: Sequence[Any], **params: Any) -> Any:
        out = primitive.bind(*primals, **params)
        others = (t for i, t in enumerate(tangents) if i not in core.linear)
        if not all(map(_no_tangent, others)):
            # Not linear in these: the core says how its value moves.
            given = [None if _no_tangent(t) else ad.instantiate_zeros(t) for t in tangents]
            return out, core.push(_BACKEND, params["geometry"], primals, out, given)
        total = None
        for i in core.linear:
            if _no_tangent(tangents[i]):
                continue
            operands = [*primals[:i], ad.instantiate_zeros(tangents[i]), *primals[i + 1 :]]
            term = primitive.bind(*operands, **params)
            total = term if total is None else total + term
        return out, jnp.zeros_like(out) if total is None else total

    ad.primitive_jvps[primitive] = jvp

    @_mixing
    def transpose(cotangent: Any, *operands: Any, geometry: Any, limit: Any) -> list[Any]:
        del limit  # each product of the transpose binds the one in force
        wanted = [ad.is_undefined_primal(o) for o in operands]
        if isinstance(cotangent, ad.Zero):
            return [ad.Zero(o.aval) if w else None for o, w in zip(operands, wanted, strict=True)]
        arrays = [None if w else o for o, w in zip(operands, wanted, strict=True)]
        pulled = core.pull(_BACKEND, geometry, arrays, None, cotangent, wanted)
        return [
            _summed(p, o.aval) if w else None
            for p, o, w in zip(pulled, operands, wanted, strict=True)
        ]

    ad.primitive_transposes[primitive] = transpose

    def batch(
        operands: Sequence[Array], dims: Sequence[Any], *, geometry: Any, limit: int | None
    ) -> Any:
        batched = [d is not None for d in dims]
        arrays = [
            jnp.moveaxis(o, d, 0) if b else o
            for o, d, b in zip(operands, dims, batched, strict=True)
        ]
        geometry, arrays, finish = core.batch(_BACKEND, geometry, arrays, batched)
        return finish(primitive.bind(*arrays, geometry=geometry, limit=limit)), 0

    batching.primitive_batchers[primitive] = batch
    return primitive


def _kept(make: F) -> F:
    """`cache` of compiled functions, for every workspace allowed: their traces depend on it."""

    @cache
    def made(limit: int | None, *key: Any) -> Any:
        del limit
        return make(*key)

    @wraps(make)
    def keyed(*key: Any) -> Any:
        return made(WORKSPACE.get(), *key)

    return keyed  # type: ignore[return-value]


@_kept
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    @_mixing
    def run(geometry: Any, *arrays: Array) -> Any:
        return function(_BACKEND, geometry, *arrays)

    return jax.jit(run, static_argnums=0)


@_kept
def _batchable(function: Callable[..., Any], geometry: Any) -> Callable[..., Any]:
    """A compiled function whose batch is one more leading axis.

    JAX's own rule would turn every branch into a selection that computes both.
    """

    @custom_vmap
    @_mixing
    def run(*arrays: Array) -> Any:
        return function(_BACKEND, geometry, *arrays)

    @run.def_vmap
    def _(size: int, batched: Sequence[bool], *arrays: Array) -> Any:
        found = run(
            *(
                a if b else jnp.broadcast_to(a, (size, *a.shape))
                for a, b in zip(arrays, batched, strict=True)
            )
        )
        return found, tuple(v.ndim > 0 for v in found)

    return jax.jit(run)


@_kept
def _custom_jvp(core: Core) -> Callable[..., Array]:
    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    @_mixing
    def forward(geometry: Any, *arrays: Array) -> Array:
        return core.forward(_BACKEND, geometry, *arrays)

    @_mixing
    def rule(geometry: Any, primals: Sequence[Array], tangents: Sequence[Any]) -> Any:
        out = forward(geometry, *primals)
        given = [None if _no_tangent(t) else t for t in tangents]
        return out, core.push(_BACKEND, geometry, primals, out, given)

    forward.defjvp(rule, symbolic_zeros=True)
    return jax.jit(forward, static_argnums=0)


def make() -> Backend:
    """The adapter."""
    return _BACKEND
