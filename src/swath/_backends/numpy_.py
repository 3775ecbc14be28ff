"""NumPy: strided views, in-place accumulation, SciPy's FFT and triangular solve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from math import prod
from types import SimpleNamespace
from typing import Any

import array_api_compat.numpy
import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..errors import UnsupportedError
from . import stretches, threads
from .base import Array, Backend, Narrow, NativeKernel, column_parts, strided
from .host import levinson, levinson_seconds, line, line_seconds, triangle
from .long_lines import Long, long

__all__ = ["NumpyBackend", "make"]


# Largest triangular matrices of a batch that are solved together, one row at a time.
_SMALL = 32
# Largest triangle that NumPy solves itself: SciPy brings a BLAS of its own, whose threads and those
# of NumPy's wait for each other for milliseconds.
_ALONE = 512


# What NumPy has as the standard asks: the wrappers look at devices, at the cost of a small array.
_OWN = ("full_like", "ones_like", "zeros_like")
xp = SimpleNamespace(**vars(array_api_compat.numpy) | {name: getattr(np, name) for name in _OWN})

# Rows and columns at most of the matrices of a batch whose Gram matrices are made in two halves.
_SHORT, _NARROW = 2048, 64

# Columns of a tall matrix at most whose Gram matrix is made part by part in threads of ours, and
# bytes of a part. Entries and columns from which on it is where one thread does it.
_COLUMNS, _PART = 32, 4 << 20
_ENTRIES, _FEW = 2**15, 5

_HOST = ("numpy", "cpu", "")


@cache
def _name_of(dtype: Any) -> str:
    # NumPy builds the name anew at every request, at the cost of a small convolution.
    return np.dtype(dtype).name


@cache
def _scipy_fft() -> Any:
    # SciPy's submodules load when first needed: they cost several times NumPy's own import.
    from scipy import fft

    return fft


def _line_seconds(p: Any, cost: Any) -> float | str:
    if p.role != "y" or not p.single or p.batch * p.g.groups > 1 or p.g.rank > 1:
        return "the library's own convolves one channel along one axis"
    (span,) = p.g.spans
    if span.stride * span.dilation > 1:
        return "the library's own has no steps"
    own = line_seconds(span, p.width, p.heavy, cost.gemm, integral=p.integral)
    return own + 3 * cost.call


# OpenBLAS brings every operand into blocks of its own first; vectors of 64 bytes.
_OTHERS = Narrow(25)
_KERNELS = {"float32": Narrow(25, 16), "float64": Narrow(25, 8)}


class NumpyBackend(Backend):
    """The CPU adapter."""

    mutable = True
    in_place = True
    shares = True

    def place(self, x: Array) -> tuple[str, str, str]:
        return _HOST

    def device(self, x: Array) -> Any:
        return "cpu"

    def same_device(self, a: Array, b: Array) -> bool:
        return True

    def new_like(self, x: Array, shape: tuple[int, ...], dtype: Any = None, fill: Any = 0) -> Array:
        dtype = x.dtype if dtype is None else dtype
        return np.zeros(shape, dtype) if fill == 0 else np.full(shape, fill, dtype)

    def constant(self, values: Any, like: Array, dtype: Any) -> Array:
        return np.asarray(values, dtype=dtype)

    def arange(self, n: int, like: Array, dtype: Any) -> Array:
        return np.arange(n, dtype=dtype)

    def default_float(self, like: Array | None = None) -> Any:
        return np.dtype(np.float64)

    def has_float64(self, like: Array | None = None) -> bool:
        return True

    def default_int(self, like: Array) -> Any:
        return np.dtype(np.int64)

    def real_dtype(self, dtype: Any) -> Any:
        # Extended precision, which NumPy alone has, is neither of the standard's.
        found = np.dtype(super().real_dtype(dtype))
        return np.finfo(found).dtype if found.kind == "c" else found

    def complex_dtype(self, dtype: Any) -> Any:
        return np.result_type(dtype, np.complex64)

    def concrete(self, x: Array) -> Any:
        return x.item()

    def to_numpy(self, x: Array) -> np.ndarray:
        return x

    @cached_property
    def _light(self) -> tuple[Backend, Backend]:
        from .light import LightBackend, RowsBackend

        return LightBackend(self), RowsBackend(self)

    def light(self, a: Array, *arrays: Array) -> tuple[Backend, tuple[Array, ...]]:
        many = a.nbytes >= self.many_rows
        near = a.dtype.kind == "f" and (many or stretches.quick())
        return self._light[many] if near else self, (a, *arrays)

    def from_host(self, x: np.ndarray, device: Any = None) -> Array:
        return x

    def check_device(self, device: Any) -> Any:
        if device not in (None, "cpu"):
            raise ValueError(f'device must be "cpu" for NumPy, got {device!r}')
        return device

    def is_complex(self, x: Array) -> bool:
        return x.dtype.kind == "c"

    def is_floating(self, dtype: Any) -> bool:
        return dtype.kind in "fc"

    def narrow(self, dtype: Any) -> Narrow:
        return _KERNELS.get(_name_of(dtype), _OTHERS)

    def name_of(self, dtype: Any) -> str:
        return _name_of(dtype)

    def itemsize(self, dtype: Any) -> int:
        return np.dtype(dtype).itemsize

    def add_into(self, y: Array, b: Array) -> Array:
        y += b
        return y

    def empty_like(self, x: Array, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return np.empty(shape, x.dtype if dtype is None else dtype)

    def contiguous(self, x: Array) -> bool:
        return x.flags.c_contiguous

    def into(self, name: str, out: Array, *operands: Any) -> None:
        getattr(np, name)(*operands, out=out)

    folds = 256

    def fold_into(self, out: Array, x: Array, name: str, axis: int, span: Any) -> None:
        taps = self.windows(x, (span.size,), (span.stride,), (span.dilation,), (axis,))
        # Inside of the taps go as few outputs as make a long loop: of one point, or of all. (NumPy
        # loops over axes of equal strides as they come.)
        place = axis + (prod(x.shape[axis + 1 :]) >= self.folds)
        order = [*range(place), x.ndim, *range(place, x.ndim)]
        merge = getattr(np, name).reduce
        merge(taps.transpose(order), axis=place, out=out, dtype=out.dtype)

    fuses = True

    def einsum_into(self, labels: str, out: Array, *operands: Array, order: str = "K") -> None:
        np.einsum(labels, *operands, out=out, order=order)  # type: ignore[call-overload]

    def as_numbers(self, flags: Array) -> Array:
        return flags.view(np.uint8)

    def take_at(self, x: Array, places: Array) -> Array:
        return x.reshape(-1)[places]

    def add_at(self, x: Array, places: Array, values: Array) -> None:
        np.add.at(x.reshape(-1), places, values.reshape(-1))

    def each(
        self, items: Sequence[Any], start: Callable[[], Any], work: Callable[[Any, Any], None]
    ) -> None:
        threads.each(items, start, work)

    def may_hold_nan(self, x: Array) -> bool:
        return bool(np.isnan(x.max())) if x.size else False

    def windows(
        self,
        x: Array,
        sizes: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        axes: Sequence[int],
    ) -> Array:
        shape, steps = strided(x.shape, x.strides, sizes, strides, dilations, axes)
        # Read-only, as NumPy's own sliding_window_view: elements of the view share memory.
        if type(x) is np.ndarray and x.flags.c_contiguous and x.size:
            # What `as_strided` does, at a tenth of its cost.
            view = np.ndarray(shape, x.dtype, x, 0, steps)
            view.flags.writeable = False
            return view
        return as_strided(x, shape, steps, writeable=False)

    def view(self, x: Array, shape: tuple[int, ...], steps: Sequence[int]) -> Array:
        return np.ndarray(shape, x.dtype, x, 0, [step * x.itemsize for step in steps])

    # Methods and slices: the functions of the same names cost as much as a small convolution.
    def reshape(self, x: Array, shape: tuple[int, ...]) -> Array:
        return x.reshape(shape)

    def permute(self, x: Array, order: tuple[int, ...]) -> Array:
        return x.transpose(order)

    def turned(self, x: Array) -> Array:
        return x.mT

    def flip(self, x: Array, axes: tuple[int, ...]) -> Array:
        cuts = [slice(None)] * x.ndim
        for axis in axes:
            cuts[axis] = slice(None, None, -1)
        return x[tuple(cuts)]

    def packed(self, x: Array) -> Array:
        return np.ascontiguousarray(x)

    pad = Backend.pad_by_writing

    def matmul(self, a: Array, b: Array) -> Array:
        return np.matmul(a, b)

    def matmul_into(self, out: Array, a: Array, b: Array) -> None:
        np.matmul(a, b, out=out)

    def gram(self, a: Array) -> Array:
        m, n = a.shape[-2:]
        if a.dtype.kind != "f" or n < 2:
            return super().gram(a)
        if a.ndim == 2:
            if n > _COLUMNS:
                return super().gram(a)
            if a.nbytes < self.many_rows:
                near = stretches.quick() and a.size >= _ENTRIES and n >= _FEW
                return stretches.gram(a) if near else super().gram(a)
            step = -(-m // (a.nbytes // _PART))
            # Threads of ours make more of few columns than those of the BLAS.
            return sum(self.results(lambda i: stretches.gram(a[i : i + step]), range(0, m, step)))
        if m > _SHORT or n > _NARROW:
            return super().gram(a)
        out = np.empty((*a.shape[:-2], n, n), a.dtype)
        stretches.grams(a, out)
        return out

    def vecdot(self, a: Array, b: Array, axis: int) -> Array:
        if a.ndim == 2 and axis == -2 and a.shape == b.shape:
            return stretches.sums(a, b)
        return super().vecdot(a, b, axis)

    def times_upper(self, a: Array, z: Array) -> Array:
        parts = column_parts(z.shape[-1])
        if len(parts) <= 1:
            return np.matmul(a, z)
        out = np.empty((*a.shape[:-1], z.shape[-1]), a.dtype)
        for part in parts:
            np.matmul(a[..., : part.stop], z[..., : part.stop, part], out=out[..., part])
        return out

    native = NativeKernel(("y",), _line_seconds, integers=True)

    def native_product(self, role: str, g: Any, a: Array, b: Array) -> Array:
        return line(g.spans[0], a.ravel(), b.ravel()).reshape(1, 1, -1)

    def native_levinson_seconds(self, like: Array, n: int) -> float:
        return levinson_seconds(n, like.dtype.kind == "c")

    def native_levinson(self, c: Array, r: Array, y: Array) -> Array:
        return levinson(c, r, y)

    def cholesky(self, a: Array) -> Array:
        if a.ndim > 2 and a.shape[-1] <= _SMALL:
            return _small_cholesky(a)
        return super().cholesky(a)

    def triangle(self, a: Array, b: Array) -> Array:
        return triangle(a, b)

    def upper_inverse(self, factor: Array) -> Array:
        if factor.ndim == 2 and factor.shape[-1] <= _ALONE:
            # As of `solve_triangular`: nothing is exchanged or eliminated.
            return np.linalg.inv(factor.T.conj())
        if factor.ndim > 2 and factor.shape[-1] <= _SMALL:
            return _small_inverse(factor)
        return super().upper_inverse(factor)

    def solve_triangular(
        self, a: Array, b: Array, *, lower: bool, transpose: bool = False
    ) -> Array:
        if a.ndim > 2 or b.ndim > 2:
            lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
            a = np.broadcast_to(a, (*lead, *a.shape[-2:]))
            b = np.broadcast_to(b, (*lead, *b.shape[-2:]))
            if a.shape[-1] <= _SMALL:
                return _substitute(a, b, lower=lower, transpose=transpose)
            out = np.empty(b.shape, np.result_type(a, b))
            for i in np.ndindex(*lead):
                out[i] = self.solve_triangular(a[i], b[i], lower=lower, transpose=transpose)
            return out
        if 0 in b.shape:
            return np.zeros(b.shape, np.result_type(a, b))
        if not (a.diagonal() != 0).all():
            # A zero pivot gives infinities, as in every traced library, not an exception.
            return np.full(b.shape, np.nan, np.result_type(a, b))
        if not lower and not transpose and b.shape[-1] <= a.shape[-1] <= _ALONE:
            # LU of an upper triangle exchanges and eliminates nothing: substitution is left.
            return np.linalg.solve(np.triu(a), b)
        from scipy.linalg import solve_triangular

        return solve_triangular(a, b, lower=lower, trans=1 if transpose else 0, check_finite=False)

    def sparse_rows(
        self, values: Array, columns: np.ndarray, starts: np.ndarray, shape: tuple[int, int]
    ) -> Any:
        from scipy.sparse import csr_array

        if self.is_half(values.dtype):
            raise UnsupportedError("SciPy's sparse matrices have no float16; use float32")
        # 32-bit places where they suffice, as SciPy's own routines make them.
        kind = np.int32 if max(*shape, values.shape[0]) < 2**31 else np.int64
        places = columns.astype(kind), starts.astype(kind)
        return csr_array((values, *places), shape=shape)

    def fft(self, x: Array, axes: Sequence[int], lengths: Sequence[int]) -> Array:
        fft, real = _scipy_fft(), x.dtype.kind != "c"
        *others, last = zip(axes, lengths, strict=True)
        if not any(2 * x.shape[axis] <= n for axis, n in others):
            return (fft.rfftn if real else fft.fftn)(x, s=tuple(lengths), axes=tuple(axes))
        # As a kernel's: axis by axis, so that lines of padding are not transformed.
        x = (fft.rfft if real else fft.fft)(x, last[1], last[0])
        for axis, n in reversed(others):
            x = fft.fft(x, n, axis, overwrite_x=True)
        return x

    def ifft(self, x: Array, axes: Sequence[int], lengths: Sequence[int], *, real: bool) -> Array:
        transform = _scipy_fft().irfftn if real else _scipy_fft().ifftn
        return transform(x, s=tuple(lengths), axes=tuple(axes), overwrite_x=True)

    def fft_over(self, x: Array, axis: int) -> Array:
        return _scipy_fft().fft(x, axis=axis, overwrite_x=True)

    long_lines: Mapping[str, Long] = {
        "float32": (long(2**14), long(2**14), long(2**14), long(2**20)),
        "float64": (long(2**20 + 1), long(2**20 + 1), long(2**20 + 1), long(2**20)),
        "complex64": (long(2**14), long(2**14), long(2**14), long(2**20)),
        "complex128": (long(2**20 + 1), long(2**20), long(2**20), long(2**20)),
    }


def _abreast(a: Array, dtype: Any, *, copy: bool = True) -> Array:
    """Matrices (..., m, n) with the batch as their last axis, in memory too."""
    turned = np.moveaxis(a.reshape(-1, *a.shape[-2:]), 0, -1)
    return turned.astype(dtype, order="C", copy=copy)


def _small_cholesky(a: Array) -> Array:
    """Lower factors of many small matrices, the batch as the last axis; NaN where there is none.

    What is returned lies so in memory.
    """
    n = a.shape[-1]
    x = _abreast(a, a.dtype)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for j in range(n):
            x[j:, j] -= np.einsum("ikb,kb->ib", x[j:, :j], x[j, :j].conj())
            x[:j, j] = 0
            x[j, j] = np.sqrt(np.where(x[j, j].real > 0, x[j, j].real, np.nan))
            x[j + 1 :, j] /= x[j, j]
        # A failure shows in the last entries, as NaN: all of such a matrix is.
        bad = ~np.isfinite(x[n - 1, n - 1])
    if bad.any():
        x[..., bad] = np.nan
    return np.moveaxis(x, -1, 0).reshape(a.shape)


def _small_inverse(factor: Array) -> Array:
    """R⁻¹ of many small L = Rᴴ, column after column, the batch as the last axis."""
    a = _abreast(factor, factor.dtype, copy=False).conj()
    x = np.zeros_like(a)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for i in range(a.shape[0]):
            x[i, i] = 1 / a[i, i]
            above = np.einsum("rkb,kb->rb", x[:i, :i], a[i, :i])
            np.multiply(above, -x[i, i], out=x[:i, i])
    return np.ascontiguousarray(np.moveaxis(x, -1, 0)).reshape(factor.shape)


def _substitute(a: Array, b: Array, *, lower: bool, transpose: bool) -> Array:
    """Triangular solves of many small matrices, the batch as the last axis."""
    if transpose:
        a, lower = np.swapaxes(a, -1, -2), not lower
    kind, n = np.result_type(a, b), a.shape[-1]
    a, x = _abreast(a, kind, copy=False), _abreast(b, kind)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for i in range(n) if lower else reversed(range(n)):
            known = slice(0, i) if lower else slice(i + 1, n)
            x[i] -= np.einsum("kb,kcb->cb", a[i, known], x[known])
            x[i] /= a[i, i]
    return np.ascontiguousarray(np.moveaxis(x, -1, 0)).reshape(b.shape)


def make() -> Backend:
    """The adapter."""
    # glibc returns freed blocks of more than 128 KiB to the system at once, and the page faults of
    # the next ones cost more than the products of a chunk. It stops once it has seen a large block
    # freed; this one is never written, so it takes no memory.
    np.empty(2**25 - 2**16, np.uint8)
    return NumpyBackend(xp, "numpy")
