"""PyTorch: strided views, `autograd.Function` for derivative rules, full-precision products."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache, lru_cache
from math import isnan, prod
from typing import Any, NamedTuple

import array_api_compat.torch as xp
import numpy as np
import torch

from .base import (
    LANES,
    WIDE,
    Array,
    Backend,
    Core,
    NativeKernel,
    channels_seconds,
    cudnn_seconds,
    no_kernel,
)
from .host import levinson, levinson_seconds, line, line_seconds

__all__ = ["make"]

# MKL transforms at most seven axes at a time, cuFFT three.
_FFT_AXES = 3

# Nanoseconds of PyTorch's kernel for each output and for each of its taps, with channels before the
# windows and with enough behind them to fill vectors, and of swath's passes for each element
# computed, likewise (float32, two cores of a Xeon, 2026-11).
_POOL_RATES = {
    "max": ((7, 0.95), (0.8, 0.14), (0.6, 0.47)),
    "places": ((7.5, 1), (1, 0.12), (2.7, 2.1)),
    "scatter": ((10, 0.9), (3, 0.1), (3.3, 3)),
    # Places and a derivative from them: only who finds the places differs.
    "kept": ((10, 0.9), (3, 0.1), (3.1, 2.5)),
    "sum": ((3.7, 0.15), (0.5, 0.06), (0.55, 0.42)),
    "spread": ((4, 0.12), (0.8, 0.1), (0.65, 0.5)),
}
# Nanoseconds to start the kernel, and elements in whose time the passes begin one of their steps.
_POOL_START, _POOL_STEP = 3e4, 7e4
# Channels behind the windows that fill a vector of the kernel's.
_POOL_LANES = 8

_LEVEL: ContextVar[str] = ContextVar("swath_torch_precision", default="highest")


_HOST = ("torch", "cpu", "")
# Columns from which on products of a quarter of them are as fast, for each number, as the whole.
_PARTED = 256


@cache
def _place(device: Any) -> tuple[str, str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return "torch", "gpu", name


# Points of a single input up to which PyTorch gathers columns itself, and bytes from which memory
# comes fresh from the system.
_SMALL, _FRESH = 20480, 16 << 20
# Taps along a single axis beyond which its kernel for one channel has a tenth of the speed.
_ROW = 48
# Seconds to start that kernel rather than NumPy's for a row, and multiply-adds a second of it.
_ROW_START, _ROW_RATE = 4e-6, 5e9


def _layer_seconds(p: Any, cost: Any) -> float | str:
    """oneDNN's kernels; of float64, and of one small array, columns and a product per group."""
    g = p.g
    if g.rank > 3 or p.dtype not in ("float32", "float64"):
        return no_kernel(p, cost)
    if p.wide > 1:
        return cudnn_seconds(p, cost)
    row = p.mutable and p.role == "y" and p.single and p.batch * g.groups == 1
    if row and _by_line(g, p.width):
        return line_seconds(g.spans[0], p.width, p.heavy, cost.gemm) + 2 * cost.call
    small = p.batch * g.groups == p.wide == 1 and p.inputs <= _SMALL
    if p.width > 4 or (small and (g.rank == 1 or (g.rank == 2 and min(g.sizes) <= 3))):
        columns = p.width * p.places * p.depth * p.taps
        seconds = p.heavy * p.flops * (1 + LANES / p.rows) / cost.native
        seconds += columns / (cost.gather if columns < _FRESH else cost.gather / 16)
        seconds += 4 * p.batch * g.groups * cost.call
    else:
        seconds = channels_seconds(p, cost)
        if p.single and g.groups == 1:
            if g.rank == 1 and p.taps > _ROW:
                seconds += 10 * p.flops / cost.native_single
            if LANES * p.width * p.outputs > 2 * _FRESH:
                # Results of all lanes of a vector are written, of which one counts.
                seconds += 3 * p.outputs / cost.native_point
        elif g.groups == p.depth == 1:
            # A single channel of x fills no vector.
            seconds *= 1.5
        elif g.rank == 3 and g.last:
            seconds += p.width * (p.inputs + p.outputs) / (cost.gather / 4)
    if g.last:
        # The kernel is laid out anew, point by point.
        seconds += p.w_bytes / (cost.gather / 32)
    return seconds + 4 * cost.call


_REAL = (torch.float32, torch.float64)


@lru_cache(maxsize=4096)
def _by_line(g: Any, width: int) -> bool:
    """Whether NumPy's convolution of one row is faster than the kernel of layers."""
    s = g.spans[0]
    if g.rank > 1 or s.stride * s.dilation > 1:
        return False
    if width == 4 and s.length > _SMALL:
        return True
    heavy = width // 4
    own = _ROW_START + heavy * s.size * s.out / _ROW_RATE
    return line_seconds(s, width, heavy, 20 * _ROW_RATE) < own


class TorchBackend(Backend):
    """The adapter for CPU, CUDA and the other devices of PyTorch."""

    narrow = 8
    # A call costs more than NumPy's.
    block_bytes = 1 << 23

    @property
    def mutable(self) -> bool:  # type: ignore[override]
        # Under torch.func.vmap a new array has no batch axis, and adding into it fails.
        return not _transforms_active()

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
        return x.new_full(shape, fill, dtype=dtype)

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

    def dtypes_on(self, device: Any) -> tuple[str, ...]:
        return ("float32",) if device.type == "mps" else ("float32", "float64")

    def devices(self) -> list[str]:
        cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]

    def default_int(self, like: Array) -> Any:
        return torch.int64

    def concrete(self, x: Array) -> Any:
        try:
            return x.item()
        except RuntimeError:
            # Inside torch.func.vmap values cannot be read.
            if _transforms_active():
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

    def near(self, *arrays: Array) -> tuple[np.ndarray, ...] | None:
        if not self.in_place or not all(a.is_cpu and a.dtype in _REAL for a in arrays):
            return None
        return tuple((a.resolve_neg() if a.is_neg() else a).detach().numpy() for a in arrays)

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

    def dtype(self, name: str) -> Any:
        return getattr(torch, name)

    def itemsize(self, dtype: Any) -> int:
        return dtype.itemsize

    def recorded(self, *arrays: Array) -> bool:
        return _differentiated(arrays)

    def add_into(self, y: Array, b: Array) -> Array:
        # A recorded product keeps its output: it must not change behind autograd's back.
        return y + b if _differentiated((y, b)) else y.add_(b)

    @property
    def in_place(self) -> bool:  # type: ignore[override]
        return not (_transforms_active() or torch.compiler.is_compiling())

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
        return x.is_cuda or bool(torch.isnan(x.max()))

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
        return torch.constant_pad_nd(x, pairs, value) if any(pairs) else x

    def matmul(self, a: Array, b: Array) -> Array:
        if a.dtype != b.dtype:
            kind = torch.promote_types(a.dtype, b.dtype)
            a, b = a.to(kind), b.to(kind)
        if a.is_cuda:
            if not (a.dtype.is_floating_point or a.dtype.is_complex):
                return _integer_product(a, b)
            if _LEVEL.get() != "fast":
                with _full_precision():
                    return torch.matmul(a, b)
        return torch.matmul(a, b)

    def gram(self, a: Array) -> Array:
        parts = self._parts(a)
        if len(parts) == 1:
            return super().gram(a)
        # One triangle of blocks: PyTorch calls no product that knows of the symmetry.
        out = a.new_empty(a.shape[1], a.shape[1])
        for part in parts:
            some, below = slice(part.start, None), slice(part.stop, None)
            torch.mm(a[:, part].mH, a[:, some], out=out[part, some])
            out[below, part] = out[part, below].mH
        return out

    def times_upper(self, a: Array, z: Array) -> Array:
        parts = self._parts(a)
        if len(parts) == 1:
            return self.matmul(a, z)
        out = a.new_empty(a.shape[0], z.shape[1])
        for part in parts:
            torch.mm(a[:, : part.stop], z[: part.stop, part], out=out[:, part])
        return out

    def _parts(self, a: Array) -> list[slice]:
        """Columns to take together where only a triangle of blocks need be computed."""
        n = a.shape[-1]
        if a.ndim > 2 or not a.is_cpu or n < _PARTED or _differentiated((a,)):
            return [slice(0, n)]
        step = -(-n // 4)
        return [slice(i, min(i + step, n)) for i in range(0, n, step)]

    def vecdot(self, a: Array, b: Array, axis: int) -> Array:
        # The standard's form, which moves axes first, takes ten times as long for small arrays.
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

    native = NativeKernel(("y", "x", "w"), _layer_seconds)

    def native_product(self, role: str, g: Any, a: Array, b: Array) -> Array:
        if a.is_cuda and _LEVEL.get() != "fast":
            with _full_precision():
                return self._layer(role, g, a, b)
        return self._layer(role, g, a, b)

    def _layer(self, role: str, g: Any, a: Array, b: Array) -> Array:
        row = role == "y" and a.numel() == a.shape[-1] and b.numel() == b.shape[-1]
        near = self.near(a, b) if row and _by_line(g, a.itemsize) else None
        if near is not None:
            y = line(g.spans[0], near[0].ravel(), near[1].ravel())
            return torch.from_numpy(y.reshape(1, 1, -1))
        lengths, low, high, even, over, settings = _settings(g)
        if role == "y":
            x = a if even else _shaped(a, low, high)
            return torch.convolution(x, _beside(b, x), None, *settings)
        if role == "x" and over is not None and _transposes(g.groups, a, b):
            strides, padding, dilations, _, _, groups = settings
            return torch.convolution(
                b, _beside(a, b), None, strides, padding, dilations, True, over, groups
            )
        # The kernels of the derivatives read the shape and the layout of the operand that they
        # compute; never written, it takes no memory.
        if role == "x":
            w, y = _beside(a, b), b
            x = _unwritten(y, (y.shape[0], a.shape[1] * g.groups, *lengths), _layout(y))
        else:
            x, y = a if even else _shaped(a, low, high), b
            w = _unwritten(y, (y.shape[1], a.shape[1] // g.groups, *g.sizes), _layout(x))
        found = _GRADIENTS(y, x, w, None, *settings, (role == "x", role == "w", False))
        if role == "w":
            return found[1]
        return found[0] if even else _shaped(found[0], [-n for n in low], [-n for n in high])

    def native_pool(self, role: str, g: Any, work: int, *arrays: Array, divisor: int = 1) -> Any:
        x = arrays[-1]
        kernel = _pool(g)
        if kernel is None or not self.in_place or x.dtype not in _REAL:
            return None
        if role == "fits":
            return x.is_contiguous()
        settings = kernel.settings
        if x.is_cuda:
            # To look for NaN would wait for the device.
            pays = role in ("max", "sum", "spread")
        else:
            pays = kernel.pays(role, work)
        placed = role == "scatter" and len(arrays) == 3
        if placed:
            # That it pays was decided when the places were kept.
            arrays, pays = tuple(a.contiguous() for a in arrays), True
        if not pays or not all(a.is_contiguous() for a in arrays):
            return None
        if role in ("sum", "spread") and kernel.dilated:
            return None
        aten, planes = torch.ops.aten, kernel.planes
        inputs, outputs = kernel.inputs, kernel.outputs
        size, stride, pad, _ = settings
        if role == "sum":
            found = torch.nn.functional.avg_pool2d(
                planes(x, inputs), size, stride, pad, False, True, divisor
            )
            return kernel.back(found, g.out)
        if role == "spread":
            if x.is_cuda and kernel.last:
                # Found wrong for windows that overlap (PyTorch 2.11 on an H200).
                return None
            out = x.new_empty(g.shape)
            # The result stands for the input too, of which shape and layout alone are read: a
            # second array, never written, would push the first out of the cache.
            result = planes(out, inputs)
            aten.avg_pool2d_backward.grad_input(
                planes(x, outputs), result, size, stride, pad, False, True, divisor,
                grad_input=result,
            )  # fmt: skip
            return out
        if role == "max":
            return kernel.back(torch.max_pool2d(planes(x, inputs), *settings), g.out)
        if placed:
            places = planes(arrays[1], outputs)
        else:
            y, places = aten.max_pool2d_with_indices.default(planes(x, inputs), *settings)
            if isnan(y.sum().item()):
                # Of several NaN PyTorch names the last. (Infinities of both signs come here too.)
                return None
            if role != "scatter":
                return kernel.back(y, g.out), kernel.back(places, g.out)
        found = aten.max_pool2d_with_indices_backward.default(
            planes(arrays[0], outputs), planes(x, inputs), *settings, False, places
        )
        return kernel.back(found, g.shape)

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

    @contextmanager
    def precision(self, level: str) -> Generator[None]:
        token = _LEVEL.set(level)
        try:
            yield
        finally:
            _LEVEL.reset(token)

    def call(self, core: Core, geometry: Any, arrays: Sequence[Array]) -> Array:
        if not _differentiated(arrays):
            return core.forward(self, geometry, *arrays)
        out = _Rule.apply(_Task(core, geometry), *arrays)
        return out[0] if isinstance(out, tuple) else out

    def gradients(
        self, function: Callable[..., Array], arrays: Sequence[Array]
    ) -> Sequence[Array] | None:
        leaves = [a.detach().clone().requires_grad_() for a in arrays]
        return torch.autograd.grad(function(*leaves), leaves)


class _Pool(NamedTuple):
    """Windows as PyTorch's kernels of two axes take them.

    `inputs` and `outputs` are the shapes of x and y with four axes, in the order of their memory.
    """

    last: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    settings: Any
    dilated: bool

    def pays(self, role: str, work: int) -> bool:
        """Whether the kernel is faster than passes that compute `work` elements."""
        before, behind, passes = _POOL_RATES[role]
        each, tap = behind if self.last and self.outputs[-1] >= _POOL_LANES else before
        sizes = self.settings[0]
        kernel = _POOL_START + prod(self.outputs) * (each + tap * prod(sizes))
        steps = sum((n - 1).bit_length() for n in sizes)
        return kernel < passes[self.last] * (work + _POOL_STEP * steps)

    def planes(self, a: Array, shape: tuple[int, ...]) -> Array:
        """An array of any number of axes as (N, C, H, W)."""
        if a.shape != shape:
            a = a.reshape(shape)
        return a.permute(0, 3, 1, 2) if self.last else a

    def back(self, a: Array, shape: tuple[int, ...]) -> Array:
        """The inverse of `planes`."""
        if self.last:
            a = a.permute(0, 2, 3, 1)
        return a if a.shape == shape else a.reshape(shape)


@lru_cache(maxsize=4096)
def _pool(g: Any) -> _Pool | None:
    """What the kernels need of windows; None where they do not compute them."""
    spans = g.spans
    if len(spans) != 2 or g.axes[1] != g.axes[0] + 1:
        return None
    if any(s.low != s.high or not 0 <= s.low <= s.size // 2 for s in spans):
        return None
    settings = tuple(
        tuple(getattr(s, name) for s in spans) for name in ("size", "stride", "low", "dilation")
    )
    first, behind = g.axes[0], g.shape[g.axes[1] + 1 :]
    lead, tail = prod(g.shape[:first]), prod(behind)
    inputs, outputs = (
        (lead, *space, tail) if behind else (lead, 1, *space)
        for space in ([s.length for s in spans], [s.out for s in spans])
    )
    dilated = any(s.dilation > 1 for s in spans)
    return _Pool(bool(behind), inputs, outputs, settings, dilated)


def _shaped(x: Array, low: Sequence[int], high: Sequence[int]) -> Array:
    """Pad the last axes with zeros; negative widths crop."""
    pairs = [n for pair in zip(reversed(low), reversed(high), strict=True) for n in pair]
    return torch.constant_pad_nd(x, pairs)


# Elements of a kernel from which on its order is worth a thought.
_REORDERED = 2**15
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


_GRADIENTS = torch.ops.aten.convolution_backward.default


@lru_cache(maxsize=4096)
def _settings(g: Any) -> tuple[Any, ...]:
    """Of a layer: lengths, padding, points that the transpose adds behind, what the kernel takes.

    The padding low and high, and whether the kernel has it; the lengths with what it has not. None
    in place of points that the kernel of the transpose cannot add.
    """
    strides, dilations, low, high = (
        tuple(getattr(s, name) for s in g.spans) for name in ("stride", "dilation", "low", "high")
    )
    # One tap has no neighbours, and kernels with steps between them are slow.
    dilations = tuple(1 if s.size == 1 else d for s, d in zip(g.spans, dilations, strict=True))
    even = low == high and min(low) >= 0
    lengths = tuple(s.length if even else s.length + s.low + s.high for s in g.spans)
    none = (0,) * g.rank
    settings = strides, low if even else none, dilations, False, none, g.groups
    more = tuple(
        s.length + 2 * s.low - s.extent - (s.out - 1) * s.stride if even else -1 for s in g.spans
    )
    fits = all(0 <= n < max(s.stride, d) for n, s, d in zip(more, g.spans, dilations, strict=True))
    return lengths, low, high, even, more if fits else None, settings


def _transposes(groups: int, w: Array, y: Array) -> bool:
    """Whether the transposed layer is the kernel of the derivative, without an array for x's shape.

    For groups of several channels it is another kernel and slower.
    """
    single = groups == w.shape[0] and w.shape[1] == 1
    return y.is_cpu and y.dtype is torch.float32 and (groups == 1 or single)


def _layout(x: Array) -> Any:
    """The memory format of channels last where x lies so, else that of channels first."""
    last = _LAST.get(x.ndim)
    if last is None or x.is_contiguous() or not x.is_contiguous(memory_format=last):
        return torch.contiguous_format
    return last


def _unwritten(like: Array, shape: tuple[int, ...], layout: Any) -> Array:
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


def _beside(w: Array, x: Array) -> Array:
    """The kernel (O, C, *K) laid out as the kernels want it beside x.

    One stored as (*K, C, O) is a matrix to be transposed, which PyTorch does several times faster
    than it reorders axes.
    """
    if w.numel() < _REORDERED or x.is_cuda or _layout(x) is torch.contiguous_format:
        return w
    order = (*range(2, w.ndim), 1, 0)
    stored = w.permute(order)
    if w.is_contiguous(memory_format=_LAST[w.ndim]) or not stored.is_contiguous():
        return w
    rows = stored.reshape(-1, w.shape[0]).t().contiguous()
    rows = rows.reshape(w.shape[0], *w.shape[2:], w.shape[1])
    return rows.permute(0, w.ndim - 1, *range(1, w.ndim - 1))


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


# Its switches are attributes made at run time.
_CUDNN: Any = torch.backends.cudnn


@contextmanager
def _full_precision() -> Generator[None]:
    """No TF32 inside: a float32 product keeps 24 bits on CUDA."""
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, _CUDNN.conv)
    before = [s.fp32_precision for s in switches]
    for s in switches:
        s.fp32_precision = "ieee"
    try:
        yield
    finally:
        for s, level in zip(switches, before, strict=True):
            s.fp32_precision = level


_transforms_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)


def _differentiated(arrays: Sequence[Array]) -> bool:
    """Whether the rule may be needed; the plain call is ten times cheaper for small arrays."""
    if _transforms_active() or torch.compiler.is_compiling():
        return True
    if torch.is_grad_enabled():
        for a in arrays:
            if a.requires_grad:
                return True
    return getattr(torch.autograd.forward_ad, "_current_level", 0) >= 0


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

    generate_vmap_rule = True

    @staticmethod
    def forward(task: _Task, *arrays: Array) -> Any:
        both = task.core.kept(_BACKEND, task.geometry, *arrays)
        if both is not None:
            return both
        out = task.core.forward(_BACKEND, task.geometry, *arrays)
        # A Function must not return an argument as it is and save it.
        return out.view_as(out) if any(out is a for a in arrays) else out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.task, *arrays = inputs
        out, *kept = output if isinstance(output, tuple) else (output,)
        ctx.save_for_backward(*arrays, out, *kept)
        ctx.save_for_forward(*arrays, out, *kept)
        constant = [v for v in (out, *kept) if not _BACKEND.is_floating(v.dtype)]
        ctx.mark_non_differentiable(*constant)
        # No zeros are made for what has no derivative.
        ctx.set_materialize_grads(False)

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
        return (None, *(None if p is None else p.conj() for p in pulled))

    @staticmethod
    def jvp(ctx: Any, _task: None, *tangents: Array) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        arrays, (output, *kept) = _parted(ctx.saved_tensors, len(tangents))
        out = ctx.task.core.push(_BACKEND, ctx.task.geometry, arrays, output, tangents)
        return (out, None) if kept else out


def _parted(saved: Sequence[Array], count: int) -> tuple[list[Array], list[Array]]:
    """What `_Rule` saved: the inputs, and output with what was kept."""
    return list(saved[:count]), list(saved[count:])


_BACKEND = TorchBackend(xp, "torch")


def make() -> Backend:
    """The adapter."""
    return _BACKEND
