"""PyTorch: strided views, `autograd.Function` for derivative rules, full-precision products."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, cached_property
from math import copysign, inf
from threading import Lock
from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch
from torch.nn.grad import conv2d_weight

from .base import WIDE, Array, Backend, Core, Narrow, NativeKernel, column_parts
from .host import levinson, levinson_seconds, line, triangle
from .long_lines import NEVER, Long, long
from .torch_layers import by_line, layer, layer_gradients, layer_seconds
from .torch_pools import pool

__all__ = ["make"]

# MKL transforms at most seven axes at a time, cuFFT three.
_FFT_AXES = 3


_HOST = ("torch", "cpu", "")
_REAL = (torch.float32, torch.float64)
# Dtypes of which NumPy has arrays in the same memory.
_SHARED = (*_REAL, torch.bool, torch.int64)
_HALF = (torch.float16, torch.bfloat16)
# Entries of a tall matrix from which on a layer of PyTorch's takes less than a product.
_TALL = 1 << 18
# Rows that the Gram matrix of fewer columns takes at a time.
_STRETCH = 2048


@cache
def _place(device: Any) -> tuple[str, str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return "torch", "gpu", name


# MKL's kernels of float64 take three vectors of 32 bytes.
_OTHERS = Narrow(8, start=2e6)
_KERNELS = {
    torch.float32: Narrow(8, 16, 2e6),
    torch.float64: Narrow(8, 12, 2e6),
    # PyTorch has some of integers too; those of int64 are slow where sums are short.
    **dict.fromkeys((torch.int8, torch.uint8, torch.int16), Narrow(8, start=2e6, whole=2.0)),
    torch.int32: Narrow(8, start=2e6, whole=4.0),
    torch.int64: Narrow(8, start=2e6, whole=10.0),
}


class TorchBackend(Backend):
    """The adapter for CPU, CUDA and the other devices of PyTorch."""

    reflects = True
    # A call costs more than NumPy's.
    block_bytes = 1 << 23

    def narrow(self, dtype: Any) -> Narrow:
        return _KERNELS.get(dtype, _OTHERS)

    @property
    def mutable(self) -> bool:  # type: ignore[override]
        # Under torch.func.vmap a new array has no batch axis, and adding into it fails. What is
        # recorded may be sorted anew: torch.func.linearize loses what is written into constants.
        return not (_transforms_active() or _recording())

    def device(self, x: Array) -> Any:
        return x.device

    def place(self, x: Array) -> tuple[str, str, str]:
        return _HOST if x.is_cpu else _place(x.device)

    def wide(self, x: Array) -> int:
        return 1 if x.is_cpu else WIDE

    def new_like(self, x: Array, shape: tuple[int, ...], dtype: Any = None, fill: Any = 0) -> Array:
        # x.new_… follows x through torch.func.vmap, where torch.zeros would not be batched.
        if fill == 0:
            return x.new_zeros(shape, dtype=dtype)
        return x.new_full(shape, _held(fill, x.dtype if dtype is None else dtype), dtype=dtype)

    def constant(self, values: Any, like: Array, dtype: Any) -> Array:
        # A copy: PyTorch warns about read-only memory and refuses negative strides.
        return torch.asarray(np.array(values), dtype=dtype, device=like.device)

    def arange(self, n: int, like: Array, dtype: Any) -> Array:
        return torch.arange(n, dtype=dtype, device=like.device)

    def eye(self, n: int, like: Array) -> Array:
        return torch.eye(n, dtype=like.dtype, device=like.device)

    def default_float(self, like: Array | None = None) -> Any:
        return torch.get_default_dtype()

    def has_float64(self, like: Array | None = None) -> bool:
        return like is None or like.device.type != "mps"

    def exact_floats(self, x: Array | None = None) -> tuple[str, ...]:
        known = x is None or x.is_cpu or x.is_cuda
        return ("float32", "float64") if known else ()

    def dtypes_on(self, device: Any) -> tuple[str, ...]:
        return ("float32",) if device.type == "mps" else ("float32", "float64")

    def devices(self) -> list[str]:
        cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]

    def default_int(self, like: Array) -> Any:
        return torch.int64

    def concrete(self, x: Array) -> Any:
        if _exporting():
            # A program is for any values: `item` would give a symbol, which decides nothing.
            return None
        try:
            return x.item()
        except RuntimeError:
            # There are none inside torch.func.vmap, while operations are recorded, and on "meta".
            if _transforms_active() or _recording() or x.is_meta:
                return None
            raise

    def detach(self, x: Array) -> Array:
        return x.detach()

    def aside(
        self, function: Callable[..., tuple[Array, ...]], geometry: Any, *arrays: Array
    ) -> tuple[Array, ...]:
        if _differentiated(arrays):
            return function(self, geometry, *arrays)
        # Small operations are a fifth faster where nothing can be recorded; of copies it can.
        with torch.inference_mode():
            found = function(self, geometry, *arrays)
        return tuple(v.clone() for v in found)

    def synchronize(self, x: Array) -> None:
        if x.is_cuda:
            torch.cuda.synchronize(x.device)

    def free_memory(self, device: Any = None) -> int | None:
        if device is None or torch.device(device).type != "cuda":
            return None
        return int(torch.cuda.mem_get_info(device)[0])

    def out_of_memory(self, error: Exception) -> bool:
        if super().out_of_memory(error) or isinstance(error, torch.OutOfMemoryError):
            return True
        return (
            # On a processor, and in what CUDA's libraries allocate themselves.
            isinstance(error, RuntimeError)
            and any(t in str(error) for t in ("you tried to allocate", "ALLOC_FAILED"))
        )

    def near(self, *arrays: Array) -> tuple[np.ndarray, ...] | None:
        if not self.in_place or not all(a.is_cpu and a.dtype in _SHARED for a in arrays):
            return None
        if torch._C._get_tracing_state() is not None:
            return None
        return tuple((a.resolve_neg() if a.is_neg() else a).detach().numpy() for a in arrays)

    @cached_property
    def _light(self) -> tuple[Backend, Backend]:
        from .light import LightBackend, RowsBackend

        return LightBackend(self), RowsBackend(self)

    def light(self, a: Array, *arrays: Array) -> tuple[Backend, tuple[Array, ...]]:
        many = a.nbytes >= self.many_rows
        # In single precision oneDNN makes more of many rows.
        near = None if many and a.dtype is torch.float32 else self.near(a, *arrays)
        return (self, (a, *arrays)) if near is None else (self._light[many], near)

    def from_host(self, x: np.ndarray, device: Any = None) -> Array:
        # PyTorch warns about read-only memory and refuses negative strides: both need a copy.
        if not x.flags.writeable or any(s < 0 for s in x.strides):
            x = x.copy()
        return torch.asarray(x, device=device)

    def to_numpy(self, x: Array) -> np.ndarray:
        return x.detach().resolve_conj().resolve_neg().cpu().numpy()

    def check_device(self, device: Any) -> Any:
        return None if device is None else torch.device(device)

    def is_complex(self, x: Array) -> bool:
        return x.dtype.is_complex

    def is_floating(self, dtype: Any) -> bool:
        return dtype.is_floating_point or dtype.is_complex

    def is_half(self, dtype: Any) -> bool:
        return dtype in _HALF

    def dtype(self, name: str) -> Any:
        return getattr(torch, name)

    def itemsize(self, dtype: Any) -> int:
        return dtype.itemsize

    def tied(self, y: Array, *arrays: Array) -> Array:
        if not (y.is_floating_point() or y.is_complex()):
            return y
        for a in arrays:
            if a.requires_grad:
                nothing = a.reshape(-1)[:0].sum()
                real = nothing.real if nothing.is_complex() and not y.is_complex() else nothing
                y = y + real.to(y.dtype)
        return y

    def recorded(self, *arrays: Array) -> bool:
        return _differentiated(arrays)

    def add_into(self, y: Array, b: Array) -> Array:
        # A recorded product keeps its output: it must not change behind autograd's back.
        return y + b if _differentiated((y, b)) or _recording() else y.add_(b)

    @property
    def in_place(self) -> bool:  # type: ignore[override]
        return not (_transforms_active() or torch.compiler.is_compiling() or _recording())

    def empty_like(self, x: Array, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return x.new_empty(shape, dtype=dtype)

    def contiguous(self, x: Array) -> bool:
        return x.is_contiguous()

    def into(self, name: str, out: Array, *operands: Any) -> None:
        if not isinstance(operands[0], torch.Tensor):
            operands = (torch.full_like(operands[1], operands[0]), *operands[1:])
        # torch.equal is another thing.
        getattr(torch, "eq" if name == "equal" else name)(*operands, out=out)

    def as_numbers(self, flags: Array) -> Array:
        return flags.view(torch.uint8)

    def take_at(self, x: Array, places: Array) -> Array:
        return torch.take(x, places)

    def add_at(self, x: Array, places: Array, values: Array) -> None:
        x.view(-1).scatter_add_(0, places, values.reshape(-1))

    def quiet(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def may_hold_nan(self, x: Array) -> bool:
        # On another device to look would wait for it.
        return x.is_cuda or (x.numel() > 0 and bool(torch.isnan(x.max())))

    # PyTorch's own: their namesakes of the standard cost as much as a small convolution.
    def reshape(self, x: Array, shape: tuple[int, ...]) -> Array:
        return x.reshape(shape)

    def concat(self, arrays: Sequence[Array], axis: int) -> Array:
        kind = arrays[0].dtype
        for a in arrays:
            if a.dtype is not kind:
                return xp.concat(tuple(arrays), axis=axis)
        return torch.cat(tuple(arrays), axis)

    def turned(self, x: Array) -> Array:
        return x.mT

    def flip(self, x: Array, axes: tuple[int, ...]) -> Array:
        return torch.flip(x, axes)

    def permute(self, x: Array, order: tuple[int, ...]) -> Array:
        return torch.permute(x, order)

    def windows(
        self,
        x: Array,
        sizes: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        axes: Sequence[int],
    ) -> Array:
        for axis, size, stride, dilation in zip(axes, sizes, strides, dilations, strict=True):
            x = x.unfold(axis, dilation * (size - 1) + 1, stride)
            if dilation > 1:
                x = x[..., ::dilation]
        return x

    def view(self, x: Array, shape: tuple[int, ...], steps: Sequence[int]) -> Array:
        return x.as_strided(shape, steps)

    def packed(self, x: Array) -> Array:
        return x.contiguous()

    def pad(
        self,
        x: Array,
        widths: Sequence[tuple[int, int]],
        value: Any = 0,
        interior: Sequence[int] = (),
    ) -> Array:
        if any(interior):
            return self.pad_by_writing(x, widths, value, interior)
        pairs = [n for pair in reversed(widths) for n in pair]
        return torch.constant_pad_nd(x, pairs, _held(value, x.dtype)) if any(pairs) else x

    def put_slab(self, x: Array, value: Array, starts: Sequence[Any]) -> Array:
        if x.is_inference() and not torch.is_inference_mode_enabled():
            # Made inside of that mode, it is written into nowhere else.
            x = x.clone()
        return super().put_slab(x, value, starts)

    def matmul(self, a: Array, b: Array) -> Array:
        if _autocast(a):
            with _own_dtypes(a):
                return self.matmul(a, b)
        if a.dtype != b.dtype:
            kind = torch.promote_types(a.dtype, b.dtype)
            a, b = a.to(kind), b.to(kind)
        if a.is_cuda:
            if not (a.dtype.is_floating_point or a.dtype.is_complex):
                return _integer_product(a, b)
            if not self.fast:
                with _full_precision(_PRODUCTS):
                    return torch.matmul(a, b)
        return torch.matmul(a, b)

    def gram(self, a: Array) -> Array:
        if self._as_layer(a):
            pixels, n = _pixels(a), int(a.shape[1])
            return conv2d_weight(pixels, (n, n, 1, 1), pixels).view(n, n)
        parts = self._parts(a)
        if len(parts) <= 1:
            many = a.shape[-2] // _STRETCH
            if a.ndim > 2 or many < 2 or not a.is_cpu:
                return super().gram(a)
            # Over all rows at once the sums leave the caches: up to five times as long.
            rows, rest = a[: many * _STRETCH].unflatten(0, (many, -1)), a[many * _STRETCH :]
            return super().gram(rows).sum(0) + super().gram(rest)
        # One triangle of blocks: PyTorch calls no product that knows of the symmetry.
        out = a.new_empty(a.shape[1], a.shape[1])
        for part in parts:
            some, below = slice(part.start, None), slice(part.stop, None)
            torch.mm(a[:, part].mH, a[:, some], out=out[part, some])
            out[below, part] = out[part, below].mH
        return out

    def times_upper(self, a: Array, z: Array) -> Array:
        if self._as_layer(a) and z.dtype == a.dtype:
            y = torch.conv2d(_pixels(a), z.mT.contiguous()[:, :, None, None])
            return y.permute(0, 2, 3, 1).reshape(a.shape[0], -1)
        parts = self._parts(a)
        if len(parts) <= 1:
            return self.matmul(a, z)
        # Columns in one stretch each: what is written lies together, and `gram` takes less of it.
        out = a.new_empty(z.shape[1], a.shape[0])
        for part in parts:
            torch.mm(z[: part.stop, part].mT, a[:, : part.stop].mT, out=out[part])
        return out.mT

    def _as_layer(self, a: Array) -> bool:
        """Whether products of a tall matrix are faster as those of a layer of 1×1 kernels.

        oneDNN computes these, of single precision, in half of the time that MKL takes, of few
        columns in a quarter.
        """
        if a.dtype is not torch.float32 or a.ndim > 2 or not a.is_cpu or a.numel() < _TALL:
            return False
        if not a.shape[0] > a.shape[1] > 1 or not a.is_contiguous() or not self.in_place:
            return False
        own = torch.backends.mkldnn
        return own.is_available() and bool(own.enabled) and not _differentiated((a,))

    def _parts(self, a: Array) -> list[slice]:
        """Columns to take together where only a triangle of blocks need be computed."""
        n = a.shape[-1]
        whole = a.ndim > 2 or not (a.is_cpu and self.in_place) or _differentiated((a,))
        return [slice(0, n)] if whole else column_parts(n)

    def vecdot(self, a: Array, b: Array, axis: int) -> Array:
        # The standard's form, which moves axes first, takes ten times as long for small arrays.
        if _autocast(a):
            with _own_dtypes(a):
                return self.vecdot(a, b, axis)
        return torch.linalg.vecdot(a, b, dim=axis)

    def matmul_into(self, out: Array, a: Array, b: Array) -> None:
        if out.is_cuda or out.ndim != 3 or torch.compiler.is_compiling():
            out.copy_(self.matmul(a, b))
        elif out.shape[0] == 1:
            torch.mm(a[0], b[0], out=out[0])
        else:
            torch.bmm(a, b.expand(a.shape[0], -1, -1), out=out)

    def solve_triangular(
        self, a: Array, b: Array, *, lower: bool, transpose: bool = False
    ) -> Array:
        if transpose:
            a, lower = a.mT, not lower
        return torch.linalg.solve_triangular(a, b, upper=not lower)

    def cholesky(self, a: Array) -> Array:
        factor, info = torch.linalg.cholesky_ex(a)
        if a.is_cpu and self.concrete(info.any()) == 0:
            return factor
        return torch.where((info == 0)[..., None, None], factor, float("nan"))

    def triangle(self, a: Array, b: Array) -> Array:
        if a.ndim == 2 and a.is_cpu:
            return _triangle(a, b, self.in_place and not _differentiated((a, b)))
        near = self.near(a, b)
        if near is None:
            return torch.linalg.qr(torch.cat([a, b], -1), mode="r").R
        # PyTorch goes through a batch in one thread.
        return torch.from_numpy(triangle(*near))

    def sparse_rows(
        self, values: Array, columns: np.ndarray, starts: np.ndarray, shape: tuple[int, int]
    ) -> Any:
        crow, col = (
            torch.asarray(p, dtype=torch.int64, device=values.device) for p in (starts, columns)
        )
        return torch.sparse_csr_tensor(crow, col, values, size=shape)

    def native_levinson_seconds(self, like: Array, n: int) -> float:
        shared = like.is_cpu and self.in_place and not _differentiated((like,))
        return levinson_seconds(n, like.dtype.is_complex) if shared else float("inf")

    def native_levinson(self, c: Array, r: Array, y: Array) -> Array:
        c, r, y = (v.resolve_conj().resolve_neg() for v in (c, r, y))
        return torch.from_numpy(levinson(c.numpy(), r.numpy(), y.numpy()))

    def solve(self, a: Array, b: Array) -> Array:
        x, info = torch.linalg.solve_ex(a, b)
        return torch.where((info == 0)[..., None, None], x, float("nan"))

    native = NativeKernel(("y", "x", "w"), layer_seconds, both=True)

    def native_product(self, role: str, g: Any, a: Array, b: Array) -> Array:
        if _autocast(a):
            with _own_dtypes(a):
                return self.native_product(role, g, a, b)
        row = role == "y" and a.numel() == a.shape[-1] and b.numel() == b.shape[-1]
        near = self.near(a, b) if row and by_line(g, a.itemsize) else None
        if near is not None:
            y = line(g.spans[0], near[0].ravel(), near[1].ravel())
            return torch.from_numpy(y.reshape(1, 1, -1))
        with self._layers_of(a):
            return layer(role, g, a, b)

    def native_gradients(self, g: Any, x: Array, w: Array, y: Array) -> tuple[Array, ...] | None:
        with self._layers_of(x):
            return layer_gradients(g, x, w, y)

    def _layers_of(self, x: Array) -> AbstractContextManager[None]:
        """No TF32 inside for layers of arrays like x, unless it is asked for."""
        # Layers that cuDNN does not take are products.
        exact = x.is_cuda and not self.fast
        return _full_precision(_LAYERS, _PRODUCTS) if exact else nullcontext()

    def native_pool(self, role: str, g: Any, work: int, *arrays: Array, divisor: int = 1) -> Any:
        if not self.in_place or arrays[-1].dtype not in _REAL:
            return None
        return pool(role, g, work, *arrays, divisor=divisor)

    def fft(self, x: Array, axes: Sequence[int], lengths: Sequence[int]) -> Array:
        if not self.is_complex(x):
            x, axes, lengths = torch.fft.rfft(x, lengths[-1], axes[-1]), axes[:-1], lengths[:-1]
        for i in range(0, len(axes), _FFT_AXES):
            part = slice(i, i + _FFT_AXES)
            x = torch.fft.fftn(x, tuple(lengths[part]), tuple(axes[part]))
        return x

    def ifft(self, x: Array, axes: Sequence[int], lengths: Sequence[int], *, real: bool) -> Array:
        count = len(axes) - real
        for i in range(0, count, _FFT_AXES):
            part = slice(i, min(i + _FFT_AXES, count))
            x = torch.fft.ifftn(x, tuple(lengths[part]), tuple(axes[part]))
        return torch.fft.irfft(x, lengths[-1], axes[-1]) if real else x

    # Of processors: threads of MKL share no line. Those of complex64 are as fast as they can be.
    long_lines: Mapping[str, Long] = {
        "float32": (long(10_000), long(2**15, 2**19), long(2**15, 2**19), NEVER),
        "float64": (long(2**13), long(2**14, 2**19), long(2**15, 2**18), NEVER),
        "complex128": (long(2**15, 2**20), long(2**15, 2**18), long(2**15, 2**17), NEVER),
    }

    def call(self, core: Core, geometry: Any, arrays: Sequence[Array]) -> Array:
        # `torch.export` keeps no rules, and does not take them inside of `torch.func.vmap`.
        if not _differentiated(arrays) or _exporting():
            return core.forward(self, geometry, *arrays)
        rule = _ComposedRule if _transforms_active() else _Rule
        out = rule.apply(_Task(core, geometry), *arrays)
        return out[0] if isinstance(out, tuple) else out

    def gradients(
        self, function: Callable[..., Array], arrays: Sequence[Array]
    ) -> Sequence[Array] | None:
        leaves = [a.detach().clone().requires_grad_() for a in arrays]
        return torch.autograd.grad(function(*leaves), leaves)


# Bytes of the rows that are factored in one call.
_ROWS_BYTES = 1 << 24


def _held(value: Any, dtype: Any) -> Any:
    """A number as a floating dtype holds it: PyTorch refuses what all others round to infinity."""
    if isinstance(value, complex):
        return complex(_held(value.real, dtype), _held(value.imag, dtype))
    floats = dtype.is_floating_point or dtype.is_complex
    if not value or not floats or not isinstance(value, int | float):
        return value
    value, limits = float(value), torch.finfo(dtype)
    if not limits.max < abs(value) < inf:
        return value
    # Half a last place beyond the largest number, from where on infinity is nearer.
    edge = limits.max * ((2 - limits.eps / 2) / (2 - limits.eps))
    return copysign(inf if abs(value) >= edge else limits.max, value)


def _triangle(a: Array, b: Array, in_place: bool) -> Array:
    """R of the QR factorisation of [a b]: that of the triangles of blocks of rows.

    LAPACK goes along columns, and is given them in one stretch each, which it overwrites where that
    is allowed.
    """
    n = a.shape[1] + b.shape[1]
    rows = max(2 * n, _ROWS_BYTES // (n * a.itemsize))
    parts = []
    for u, v in zip(a.split(rows), b.split(rows), strict=True):
        block = torch.cat([u.mT, v.mT]).mT
        if in_place:
            torch.geqrf(block, out=(block, block.new_empty(min(block.shape))))
            parts.append(block[:n].triu())
        else:
            parts.append(torch.linalg.qr(block, mode="r").R)
    return parts[0] if len(parts) == 1 else torch.linalg.qr(torch.cat(parts), mode="r").R


# Elements of the products that are summed at a time.
_TERMS = 2**24


def _integer_product(a: Array, b: Array) -> Array:
    """The matrix product of integers on CUDA, for which cuBLAS has none; modulo 2^bits."""
    shape = (*torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    total = a.new_zeros(shape)
    step = max(1, _TERMS // max(1, total.numel()))
    for k in range(0, a.shape[-1], step):
        terms = a[..., :, k : k + step, None] * b[..., None, k : k + step, :]
        total += terms.sum(-2, dtype=a.dtype)
    return total


# Switches of TF32; attributes made at run time.
_CUDNN: Any = torch.backends.cudnn
_PRODUCTS: Any = torch.backends.cuda.matmul
_LAYERS: Any = _CUDNN.conv


# By switch, how many blocks hold it at full precision, and what the user has set: threads share it.
_HELD: dict[Any, tuple[int, str]] = {}
_HOLDING = Lock()


@contextmanager
def _full_precision(*switches: Any) -> Generator[None]:
    """No TF32 inside: a float32 product keeps 24 bits on CUDA."""
    with _HOLDING:
        for s in switches:
            count, level = _HELD.get(s) or (0, s.fp32_precision)
            _HELD[s] = count + 1, level
            s.fp32_precision = "ieee"
    try:
        yield
    finally:
        with _HOLDING:
            for s in switches:
                count, level = _HELD.pop(s)
                if count > 1:
                    _HELD[s] = count - 1, level
                else:
                    s.fp32_precision = level


_forward_ad: Any = torch.autograd.forward_ad
_functorch: Any = vars(torch._C)["_functorch"]
_transforms_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)
_modes = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)
_exporting = getattr(torch.compiler, "is_exporting", lambda: False)


def _recording() -> bool:
    """Whether a mode looks at PyTorch's operations (`make_fx`, `torch.func.linearize`).

    What NumPy computes is a constant to it, and fake tensors have no values.
    """
    return _modes() > 0


def _autocast(x: Array) -> bool:
    """Whether PyTorch would cast the operands of a product where x is."""
    return not x.is_meta and torch.is_autocast_enabled("cpu" if x.is_cpu else x.device.type)


def _own_dtypes(x: Array) -> AbstractContextManager[Any]:
    """Inside, operands keep their dtypes: `torch.autocast` multiplies float32 in bfloat16."""
    return torch.autocast(x.device.type, enabled=False)


def _differentiated(arrays: Sequence[Array]) -> bool:
    """Whether the rule may be needed; the plain call is ten times cheaper for small arrays."""
    if _transforms_active() or torch.compiler.is_compiling():
        return True
    if torch.is_grad_enabled():
        for a in arrays:
            if a.requires_grad:
                return True
    return _forward_mode()


def _pixels(a: Array) -> Array:
    """Rows of a matrix as points of a picture, channels last."""
    return a[None, None].permute(0, 3, 1, 2)


def _forward_mode() -> bool:
    """Whether arrays may be dual numbers (`torch.autograd.forward_ad`)."""
    return getattr(_forward_ad, "_current_level", 0) >= 0


def _tangents_of_tangents() -> int | None:
    """The level of `torch.func.jvp` that a rule works for; None where no other one is around it."""
    stack = _functorch.get_interpreter_stack() if _transforms_active() else ()
    levels = [i.level() for i in stack if i.key() == _functorch.TransformType.Jvp]
    return levels[-1] if len(levels) > 1 else None


def _plain(x: Array, level: int) -> Array:
    """x without the tangent that it has on a level; with those of the levels around it."""
    if _functorch.is_batchedtensor(x) and _functorch.maybe_get_level(x) > level:
        lane, mapped = _functorch.maybe_get_bdim(x), _functorch.maybe_get_level(x)
        return _functorch._add_batch_dim(_plain(_functorch.get_unwrapped(x), level), lane, mapped)
    return _functorch._unwrap_for_grad(x, level)


class _Task:
    """A core and its geometry as one leaf: PyTorch takes a bare tuple for a container of inputs."""

    __slots__ = ("core", "geometry")

    def __init__(self, core: Core, geometry: Any) -> None:
        self.core, self.geometry = core, geometry


class _Rule(torch.autograd.Function):
    """One Function for all cores. It saves inputs, output, and what a core keeps for its `pull`.

    PyTorch's gradient of a holomorphic map is the conjugate transpose; a core's `pull` is the
    transpose, so the cotangent is conjugated on the way in and the result on the way out.
    """

    @staticmethod
    def forward(ctx: Any, task: _Task, *arrays: Array) -> Any:
        output = _valued(task, arrays)
        if _forward_mode():
            # Of a view PyTorch asserts that the tangent, a sum perhaps, lies in memory as it does.
            first, *rest = output if isinstance(output, tuple) else (output,)
            first = first.clone() if first._is_view() else first
            output = (first, *rest) if rest else first
        _saved(ctx, task, arrays, output)
        return output

    @staticmethod
    def backward(ctx: Any, cotangent: Any, *_: Any) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        task, wanted = ctx.task, ctx.needs_input_grad[1:]
        if cotangent is None:
            return (None, *(None for _ in wanted))
        arrays, (output, *kept) = _parted(ctx.saved_tensors, len(wanted))
        core, given = task.core, cotangent.conj()
        if kept:
            pulled = core.pull_kept(_BACKEND, task.geometry, arrays, kept[0], given)
        else:
            pulled = core.pull(_BACKEND, task.geometry, arrays, output, given, wanted)
        # In memory, as PyTorch's own gradients are: a mere mark of the conjugate refuses `numpy()`.
        return (None, *(None if p is None else p.conj().resolve_conj() for p in pulled))

    @staticmethod
    def jvp(ctx: Any, _task: None, *tangents: Array) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        saved, level = ctx.saved_tensors, _tangents_of_tangents()
        if level is not None:
            saved = [_plain(v, level) for v in saved]
        arrays, (output, *kept) = _parted(saved, len(tangents))
        # PyTorch turns forward mode off here, and tangents of these tangents would be zero.
        with nullcontext() if level is None else _forward_ad._set_fwd_grad_enabled(True):
            out = ctx.task.core.push(_BACKEND, ctx.task.geometry, arrays, output, tangents)
        return (out, None) if kept else out


class _ComposedRule(_Rule):
    """The same for `torch.func`, which wants values and what is saved apart.

    PyTorch then binds the arguments to a signature, which costs as much as a small product.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(task: _Task, *arrays: Array) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _valued(task, arrays)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        task, *arrays = inputs
        _saved(ctx, task, arrays, output)


def _valued(task: _Task, arrays: Sequence[Array]) -> Any:
    """The value of a core, with what it keeps for its `pull` if anything."""
    both = task.core.kept(_BACKEND, task.geometry, *arrays)
    if both is not None:
        return both
    out = task.core.forward(_BACKEND, task.geometry, *arrays)
    # A Function must not return an argument as it is and save it.
    return out.view_as(out) if any(out is a for a in arrays) else out


def _saved(ctx: Any, task: _Task, arrays: Sequence[Array], output: Any) -> None:
    """Hand to `ctx` what the derivatives read."""
    ctx.task = task
    outputs = output if isinstance(output, tuple) else (output,)
    ctx.save_for_backward(*arrays, *outputs)
    ctx.save_for_forward(*arrays, *outputs)
    constant = [v for v in outputs if not _BACKEND.is_floating(v.dtype)]
    if constant:
        ctx.mark_non_differentiable(*constant)
    # No zeros are made for what has no derivative.
    ctx.set_materialize_grads(False)


def _parted(saved: Sequence[Array], count: int) -> tuple[list[Array], list[Array]]:
    """What `_Rule` saved: the inputs, and output with what was kept."""
    return list(saved[:count]), list(saved[count:])


_BACKEND = TorchBackend(xp, "torch")


def make() -> Backend:
    """The adapter."""
    return _BACKEND
