"""CuPy: strided views, in-place accumulation, cuBLAS triangular solves."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from typing import Any

import array_api_compat.cupy as xp
import cupy as cp
import numpy as np
from cupy.lib.stride_tricks import as_strided

from ..errors import UnsupportedError
from . import cuda, cuda_lines
from .base import NARROW, WIDE, Array, Backend, Narrow, NativeKernel, no_kernel, strided
from .numpy_ import NumpyBackend

__all__ = ["CupyBackend", "make"]


@cache
def _name_of(device: int) -> str:
    return cp.cuda.runtime.getDeviceProperties(device)["name"].decode()


# Taps of a window that one thread reads at most.
_TAPS = 64
# Seconds of a term of a sum in a thread that waits for it.
_TURN = 1.2e-8
# Results below which threads of one each leave most of a GPU idle.
_FEW = 2**14


def _by_axes(g: Any) -> list[Any]:
    """The windows of each axis by itself, one after the other."""
    shape, found = list(g.shape), []
    for axis, span in zip(g.axes, g.spans, strict=True):
        found.append(replace(g, shape=tuple(shape), axes=(axis,), spans=(span,)))
        shape[axis] = span.out
    return found


def _parts(p: Any) -> Any:
    """How its sum is cut where that goes along lines (see `cuda_lines.parts`)."""
    if p.role != "w" or p.g.last:
        return None
    return cuda_lines.parts(p.g, p.batch, p.depth, p.rows)


def _way(p: Any) -> tuple[str, float]:
    """How the kernels make it, and what a multiply-add costs (see `cuda.way`)."""
    cut = _parts(p)
    if cut is not None:
        return "lines", cuda_lines.effort(cut.g, 1, p.width)
    return ("columns", 1.0) if p.role == "w" else cuda.way(p.g, p.rows, p.width, p.g.last)


def _columns(p: Any) -> int:
    """Bytes of the windows that the kernels gather for a matrix product."""
    return 0 if cuda.plain(p.g) else p.width * p.places * p.depth * p.taps


def _kernel_seconds(p: Any, cost: Any) -> float | str:
    """Threads read windows where they lie, or columns are gathered."""
    if p.role == "x" or p.dtype not in ("float32", "float64", "complex64", "complex128"):
        return no_kernel(p, cost)
    way, effort = _way(p)
    if way == "columns":
        columns = _columns(p)
        seconds = p.heavy * p.flops * (1 + 8 / p.rows) / cost.gemm
        seconds += (2 * columns + 4 * p.y_bytes) / cost.gather
        return seconds + (8 if columns else 3) * cost.call
    seconds = p.heavy * p.flops * effort / cost.native_single
    if way == "alone":
        seconds += p.outputs / cost.native_point
    cut = _parts(p)
    if cut is not None:
        return seconds + 2 * _kernel_scratch(p) / cost.gather + 12 * cost.call
    # Of few results most of a GPU waits for the terms of each.
    return max(seconds, p.depth * p.taps * _TURN) + 4 * cost.call


def _kernel_scratch(p: Any) -> int:
    """Parts of operands, or columns and the product before it is in order; channels last it is."""
    cut = _parts(p)
    if cut is not None:
        return p.width * cut.g.groups * (3 * cut.points + 3 * p.taps)
    if _way(p)[0] != "columns":
        return p.w_bytes
    return _columns(p) + p.w_bytes + (0 if p.g.last and p.role == "y" else p.y_bytes)


class CupyBackend(NumpyBackend):
    """The CUDA adapter; CuPy shares NumPy's array model, so only the calls differ."""

    kind = "gpu"
    native = NativeKernel(("y", "w"), _kernel_seconds, _kernel_scratch)
    fuses = False

    def narrow(self, dtype: Any) -> Narrow:
        return NARROW

    def device(self, x: Array) -> Any:
        return x.device

    def place(self, x: Array) -> tuple[str, str, str]:
        return self.name, self.kind, _name_of(x.device.id)

    def wide(self, x: Array) -> int:
        return WIDE

    def same_device(self, a: Array, b: Array) -> bool:
        return a.device == b.device

    def new_like(self, x: Array, shape: tuple[int, ...], dtype: Any = None, fill: Any = 0) -> Array:
        dtype = x.dtype if dtype is None else dtype
        with x.device:
            return cp.zeros(shape, dtype) if fill == 0 else cp.full(shape, fill, dtype)

    def empty_like(self, x: Array, shape: tuple[int, ...], dtype: Any = None) -> Array:
        with x.device:
            return cp.empty(shape, x.dtype if dtype is None else dtype)

    def into(self, name: str, out: Array, *operands: Any) -> None:
        getattr(cp, name)(*operands, out=out)

    def add_at(self, x: Array, places: Array, values: Array) -> None:
        cp.add.at(x.reshape(-1), places, values.reshape(-1))

    # One thread starts what the device does; the rest of NumPy's forms are calls of its own.
    each, shares = Backend.each, Backend.shares
    matmul, gram, times_upper = Backend.matmul, Backend.gram, Backend.times_upper
    vecdot, light = Backend.vecdot, Backend.light
    matmul_into = Backend.matmul_into
    # SciPy's recursion is for memory of the host.
    native_levinson_seconds = Backend.native_levinson_seconds

    def quiet(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def may_hold_nan(self, x: Array) -> bool:
        # To look would wait for the device.
        return True

    def packed(self, x: Array) -> Array:
        return cp.ascontiguousarray(x)

    def constant(self, values: Any, like: Array, dtype: Any) -> Array:
        with like.device:
            return cp.asarray(values, dtype=dtype)

    def arange(self, n: int, like: Array, dtype: Any) -> Array:
        with like.device:
            return cp.arange(n, dtype=dtype)

    def devices(self) -> list[str]:
        return [f"cuda:{i}" for i in range(cp.cuda.runtime.getDeviceCount())]

    def synchronize(self, x: Array) -> None:
        x.device.synchronize()

    def free_memory(self, device: Any = None) -> int | None:
        with self.check_device(device):
            return int(cp.cuda.runtime.memGetInfo()[0])

    def out_of_memory(self, error: Exception) -> bool:
        # CUDA's libraries allocate too.
        return super().out_of_memory(error) or "ALLOC_FAILED" in str(error)

    def from_host(self, x: np.ndarray, device: Any = None) -> Array:
        with self.check_device(device):
            return cp.asarray(x)

    def to_numpy(self, x: Array) -> np.ndarray:
        return cp.asnumpy(x)

    def check_device(self, device: Any) -> Any:
        if device is None:
            return cp.cuda.Device()
        if isinstance(device, str):
            device = int(device.removeprefix("cuda").removeprefix(":") or 0)
        return cp.cuda.Device(device)

    def windows(
        self,
        x: Array,
        sizes: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        axes: Sequence[int],
    ) -> Array:
        return as_strided(x, *strided(x.shape, x.strides, sizes, strides, dilations, axes))

    long_lines, fft_over = Backend.long_lines, Backend.fft_over
    turned, upper_inverse = Backend.turned, Backend.upper_inverse
    triangle = Backend.triangle

    def solve_triangular(
        self, a: Array, b: Array, *, lower: bool, transpose: bool = False
    ) -> Array:
        if transpose:
            a, lower = xp.matrix_transpose(a), not lower
        from cupyx.scipy.linalg import solve_triangular

        # cupyx takes the dtype of a alone, and batches of one shape only.
        kind = cp.result_type(a, b)
        a, b = a.astype(kind, copy=False), b.astype(kind, copy=False)
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        if 0 in (*lead, *b.shape):
            return cp.zeros((*lead, *b.shape[-2:]), kind)
        a = cp.broadcast_to(a, (*lead, *a.shape[-2:]))
        b = cp.broadcast_to(b, (*lead, *b.shape[-2:]))
        return solve_triangular(a, b, lower=lower)

    def cholesky(self, a: Array) -> Array:
        from cupyx import errstate

        # By default CuPy returns garbage for an indefinite matrix; make it say so.
        with errstate(linalg="raise"):
            # Not NumPy's loop for batches of small matrices.
            return Backend.cholesky(self, a)

    def sparse_rows(
        self, values: Array, columns: np.ndarray, starts: np.ndarray, shape: tuple[int, int]
    ) -> Any:
        from cupyx.scipy.sparse import csr_matrix

        # cuSPARSE computes in these four.
        if self.name_of(values.dtype) not in ("float32", "float64", "complex64", "complex128"):
            raise UnsupportedError(
                f"CuPy's sparse matrices are float32, float64, complex64 or complex128, not "
                f"{self.name_of(values.dtype)}"
            )
        with values.device:
            places = cp.asarray(columns, dtype=cp.int32), cp.asarray(starts, dtype=cp.int32)
            return csr_matrix((values, *places), shape=shape)

    def solve(self, a: Array, b: Array) -> Array:
        from cupyx import errstate

        with errstate(linalg="raise"):
            return super().solve(a, b)

    def native_product(self, role: str, g: Any, a: Array, b: Array) -> Array:
        return cuda.product(g, a, b) if role == "y" else cuda.kernel_gradient(g, a, b)

    def native_resample(self, g: Any, x: Array, h: Array) -> Array | None:
        if x.dtype.kind not in "fc" or x.dtype == cp.float16:
            return None
        # Long sums of few results are no work for single threads.
        few = x.shape[0] * h.shape[0] * g.count < _FEW and h.shape[1] * h.shape[2] > _TAPS * g.up
        return None if few else cuda.resampled(g, x, h)

    def native_pool(self, role: str, g: Any, work: int, *arrays: Array, divisor: int = 1) -> Any:
        x = arrays[-1]
        axes, sizes = g.axes, [s.size for s in g.spans]
        together = axes == tuple(range(axes[0], axes[-1] + 1))
        if x.dtype.kind not in "iufc" or x.dtype == cp.float16 or not together:
            return None
        if g.taps > _TAPS:
            # Axis by axis, where that says the same.
            if len(axes) == 1 or max(sizes) > _TAPS or role not in ("max", "sum", "spread"):
                return None
            parts = _by_axes(g)[:: -1 if role == "spread" else 1]
            for part in parts:
                by = divisor if part is parts[-1] else 1
                x = self.native_pool(role, part, work, x, divisor=by)
            return x
        if role == "sum":
            return cuda.sums(g, x, divisor)
        if role == "spread":
            return cuda.spread(g, x, divisor)
        if role == "max":
            return cuda.extremes(g, x)
        if role == "places":
            return cuda.extremes(g, x, cp.int64)
        if role == "kept":
            # Numbers in one row would be taken for those of swath's passes.
            return cuda.extremes(g, x, cuda.index(x)) if x.ndim > 1 else None
        if role == "scatter":
            places = arrays[1] if len(arrays) == 3 else cuda.extremes(g, x, cuda.index(x))[1]
            return cuda.scatter(g, arrays[0], places)
        return None

    def fft(self, x: Array, axes: Sequence[int], lengths: Sequence[int]) -> Array:
        transform = cp.fft.fftn if x.dtype.kind == "c" else cp.fft.rfftn
        return transform(x, s=tuple(lengths), axes=tuple(axes))

    def ifft(self, x: Array, axes: Sequence[int], lengths: Sequence[int], *, real: bool) -> Array:
        transform = cp.fft.irfftn if real else cp.fft.ifftn
        return transform(x, s=tuple(lengths), axes=tuple(axes))


def make() -> CupyBackend:
    """The adapter."""
    return CupyBackend(xp, "cupy")
