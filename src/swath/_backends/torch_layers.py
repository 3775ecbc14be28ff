"""PyTorch's kernels of layers: what they take, and how operands are handed to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

import torch

from ..geometry import Span
from .base import LANES, Array, channels_seconds, cudnn_seconds, no_kernel
from .host import line_seconds

__all__ = ["by_line", "layer", "layer_gradients", "layer_seconds"]

# Points of a single input up to which PyTorch gathers columns itself, and bytes from which memory
# comes fresh from the system.
_SMALL, _FRESH = 20480, 16 << 20
# Taps along a single axis beyond which its kernel for one channel has a tenth of the speed.
_ROW = 48
# Seconds to start that kernel rather than NumPy's for a row, and multiply-adds a second of it.
_ROW_START, _ROW_RATE = 4e-6, 5e9
# Starts of an array operation in the time that a primitive takes to be looked up and begun, and its
# threads twice.
_BEGUN = 10
# The same for a product of a single channel (see `_alone`).
_ALONE = 18
# Elements of a kernel from which on its order is worth a thought.
_REORDERED = 2**15
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
# Taps of one axis up to which oneDNN's kernels for channels last are faster than those for channels
# first (1 to 7 times; beyond, down to 0.92 times).
_LINE = 30

_GRADIENTS = torch.ops.aten.convolution_backward.default


def layer_seconds(p: Any, cost: Any) -> float | str:
    """oneDNN's kernels; of float64, and of one small array, columns and a product per group."""
    g = p.g
    if g.rank > 3 or p.dtype not in ("float32", "float64"):
        return no_kernel(p, cost)
    if p.wide > 1:
        return cudnn_seconds(p, cost)
    row = p.mutable and p.role == "y" and p.single and p.batch * g.groups == 1
    if row and by_line(g, p.width):
        return line_seconds(g.spans[0], p.width, p.heavy, cost.gemm) + 2 * cost.call
    if p.width > 4 or _gathers(g, p.batch, p.outputs if p.role == "x" else p.inputs):
        columns = p.width * p.places * p.depth * p.taps
        seconds = p.heavy * p.flops * (1 + LANES / p.rows) / cost.native
        # Points are copied one by one, into memory of each call.
        seconds += columns / (cost.gather / (4 if columns < _FRESH else 8))
        seconds += p.batch * g.groups * cost.call
        if p.role == "x" and p.single and g.groups == 1:
            seconds += 7 * p.flops / cost.native_single
    elif p.single and g.groups == 1 and _gains(p.role, g):
        seconds = _alone_seconds(p, cost)
    else:
        seconds = channels_seconds(p, cost)
        plain = g.rank < 3 and all(s.dilation == 1 for s in g.spans)
        if p.single and g.groups > 1 and p.role != "w" and (g.last or plain):
            # Channels are the lanes of a vector.
            idle = max(1.0, LANES / g.groups)
            seconds = idle * p.flops / (5 * cost.native_groups)
            seconds += p.outputs / (12 * cost.native_point)
        elif p.single and g.groups == 1:
            if g.rank == 1:
                seconds += 10 * p.flops / cost.native_single
            if LANES * p.width * p.outputs > 2 * _FRESH:
                # Results of all lanes of a vector are written, of which one counts.
                seconds += 3 * p.outputs / cost.native_point
        elif g.groups == p.depth == 1:
            # A single channel of x fills no vector.
            seconds *= 1.5
        elif g.rank == 3 and g.last:
            seconds += p.width * (p.inputs + p.outputs) / (cost.gather / 4)
        seconds += _BEGUN * cost.call
    if g.last:
        # The kernel is laid out anew: by PyTorch point by point, large ones as `_turned` and
        # `_beside` do it.
        large = p.width == 4 and p.w_bytes >= p.width * _REORDERED
        slow = 32 if not large else 3 if g.groups == 1 and g.strideless else 6
        seconds += p.w_bytes * slow / cost.gather
    return seconds + 4 * cost.call


def _alone_seconds(p: Any, cost: Any) -> float:
    """Of a single channel that lies channels last (see `_alone`)."""
    points = {"y": p.outputs, "x": p.inputs, "w": (p.inputs + p.outputs) / 4}[p.role]
    # Pictures, and several lines, take less than volumes, single lines and gradients.
    plain = p.role == "y" and (p.g.rank == 2 or (p.g.rank == 1 and p.batch > 1))
    terms, rate = (2.0, 8) if plain else (1.0 if p.role == "w" else 1.5, 6)
    seconds = p.flops / (terms * cost.native_single)
    if p.role == "x" and p.g.rank == 1 and p.taps > _ROW:
        seconds *= 10
    begun = _ALONE if p.role == "y" else _BEGUN
    moved = points * (2 if p.width * points > _FRESH else 1) * (3 if p.g.rank == 3 else 1)
    return seconds + moved / (rate * cost.native_point) + begun * cost.call


def _gathers(g: Any, batch: int, elements: int) -> bool:
    """Whether PyTorch gathers columns of a float32 input of so many elements itself.

    It looks at no more than four axes of the input and two of the kernel.
    """
    if batch * g.groups > 1 or (g.rank > 1 and min(g.sizes[-2:]) > 3):
        return False
    return elements // (g.lengths[-1] if g.rank == 3 else 1) <= _SMALL


@lru_cache(maxsize=4096)
def by_line(g: Any, width: int) -> bool:
    """Whether NumPy's convolution of one row is faster than the kernel of layers."""
    s = g.spans[0]
    if g.rank > 1 or s.stride * s.dilation > 1:
        return False
    if width == 4 and s.length > _SMALL:
        return True
    heavy = width // 4
    own = _ROW_START + heavy * s.size * s.out / _ROW_RATE
    return line_seconds(s, width, heavy, 20 * _ROW_RATE) < own


def layer(role: str, g: Any, a: Array, b: Array) -> Array:
    """The sliding product of a role, channels first."""
    alone = _alone(role, g, a, b)
    if g.rank == 1 and (alone or _lies_last(role, g, a, b)):
        return layer(role, _plane(g), a.unsqueeze(2), b.unsqueeze(2)).squeeze(2)
    if not alone:
        return _layer(role, g, a, b)
    found = _layer(role, g, a if role == "x" else _as_last(a), b if role == "y" else _as_last(b))
    # With the steps of channels first again.
    return found.squeeze(1).unsqueeze(1)


def _alone(role: str, g: Any, a: Array, b: Array) -> bool:
    """Whether signals of a single channel, which lie channels last as well as first, shall say so.

    oneDNN's kernels for that take up to a twentieth of the time; PyTorch's own, of small arrays,
    more.
    """
    if g.groups > 1 or a.dtype is not torch.float32 or not a.is_cpu:
        return False
    x = b if role == "x" else a
    other = b.shape[1] if role == "w" else a.shape[1] if role == "x" else b.shape[0]
    if x.shape[1] > 1 or other > 1 or _gathers(g, x.shape[0], x.numel()):
        return False
    return _gains(role, g)


def _gains(role: str, g: Any) -> bool:
    """Whether a single channel gains by saying so: all but gradients of many taps."""
    return role != "w" or prod(g.sizes) <= _ROW


def _as_last(x: Array) -> Array:
    """A signal of one channel with the steps of channels last."""
    return x.squeeze(1).unsqueeze(-1).movedim(-1, 1)


def _lies_last(role: str, g: Any, a: Array, b: Array) -> bool:
    """Whether a line lies in memory channels last, and shall be taken so: as a plane of one row.

    PyTorch's layers of one axis copy it to channels first.
    """
    x = b if role == "x" else a
    if x.is_contiguous() or not x.is_cpu or x.dtype is not torch.float32:
        return False
    return x.mT.is_contiguous() and (role == "w" or g.spans[0].size <= _LINE)


@lru_cache(maxsize=4096)
def _plane(g: Any) -> Any:
    """The layer of one axis with an axis of one point before it."""
    return replace(g, spans=(Span(1, 1), *g.spans))


def _layer(role: str, g: Any, a: Array, b: Array) -> Array:
    lengths, low, high, even, over, reach, settings = _settings(g)
    small = reach is not None and role == "y" and _gathers(g, a.shape[0], a.numel())
    if role != "w" and reach is not None and not small:
        # Without steps layer and transposed layer are each the other of the kernel turned round.
        # But columns that PyTorch gathers itself it adds up, of a transposed one, in one thread.
        w, v = (b, a) if role == "y" else (a, b)
        turned = _turned(w, v)
        if turned is not None:
            dilations, none = settings[2], settings[4]
            return torch.convolution(
                v, turned, None, settings[0], reach, dilations, role == "y", none, 1
            )
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


def layer_gradients(g: Any, x: Array, w: Array, y: Array) -> tuple[Array, ...] | None:
    """The products "x" and "w" in one call; None where each goes a way of its own in `layer`."""
    _, _, _, even, _, _, settings = _settings(g)
    if not even or _stored(w, y) is not None or (g.rank == 1 and not x.is_contiguous()):
        return None
    if w.shape[0] == 1:
        # Of one output: a kernel stored as (*K, C, 1) is channels last to one of PyTorch's checks
        # and not to the next, which raises (2.13).
        w = w.contiguous()
    return _GRADIENTS(y, x, w, None, *settings, (True, True, False))[:2]


def _shaped(x: Array, low: Sequence[int], high: Sequence[int]) -> Array:
    """Pad the last axes with zeros; negative widths crop."""
    whole = list(zip(x.shape[2:], low, high, strict=True))
    if any(n + min(a, 0) + min(b, 0) < 0 for n, a, b in whole):
        # More is cropped than there is, and made up for on the other side.
        return x.new_zeros((*x.shape[:2], *(n + a + b for n, a, b in whole)))
    pairs = [n for pair in zip(reversed(low), reversed(high), strict=True) for n in pair]
    return torch.constant_pad_nd(x, pairs)


@lru_cache(maxsize=4096)
def _settings(g: Any) -> tuple[Any, ...]:
    """Of a layer: lengths, padding, what the transpose adds, what it pads, what the kernel takes.

    The padding low and high, and whether the kernel has it; the lengths with what it has not. None
    in place of points behind that the kernel of the transpose cannot add, and of the padding of a
    transpose that is no layer.
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
    reach = tuple(s.extent - 1 - s.low for s in g.spans)
    layer = even and g.groups == 1 and set(strides) == {1} and min(reach) >= 0
    return lengths, low, high, even, more if fits else None, reach if layer else None, settings


def _transposes(groups: int, w: Array, y: Array) -> bool:
    """Whether the transposed layer is the kernel of the derivative, without an array for x's shape.

    For groups of several channels it is another kernel and slower.
    """
    single = groups == w.shape[0] and w.shape[1] == 1
    return y.is_cpu and y.dtype is torch.float32 and (groups == 1 or single)


def _layout(x: Array) -> Any:
    """The memory format of channels last where x lies so, else that of channels first."""
    last = _LAST.get(x.ndim)
    if last is None or x.is_contiguous() or not _channels_last(x):
        return torch.contiguous_format
    return last


def _channels_last(x: Array) -> bool:
    # Of the memory format itself nothing may be asked under torch.func.vmap.
    return x.movedim(1, -1).is_contiguous()


def _unwritten(like: Array, shape: tuple[int, ...], layout: Any) -> Array:
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


def _stored(w: Array, x: Array) -> Array | None:
    """The kernel (O, C, *K) as (*K, C, O), where it lies so and must not beside x; else None."""
    if w.numel() < _REORDERED or x.is_cuda or _layout(x) is torch.contiguous_format:
        return None
    stored = w.permute(*range(2, w.ndim), 1, 0)
    if _channels_last(w) or not stored.is_contiguous():
        return None
    return stored


def _beside(w: Array, x: Array) -> Array:
    """The kernel (O, C, *K) laid out as the kernels want it beside x.

    One stored as (*K, C, O) is a matrix to be transposed, which PyTorch does several times faster
    than it reorders axes.
    """
    stored = _stored(w, x)
    if stored is None:
        return w
    return _as_kernel(stored.reshape(-1, w.shape[0]).t().contiguous(), w.shape[2:])


def _turned(w: Array, x: Array) -> Array | None:
    """The kernel (O, C, *K) as (C, O, *K), all axes of K turned round; None where that is dear.

    One stored as (*K, C, O) is copied in rows of O: a half to a tenth of its transposition's time.
    """
    stored = _stored(w, x) if x.is_cpu and x.dtype is torch.float32 else None
    if stored is None:
        return None
    taps = stored.reshape(-1, *stored.shape[-2:]).unbind()
    return _as_kernel(torch.stack(taps[::-1], 1), w.shape[2:])


def _as_kernel(rows: Array, sizes: Sequence[int]) -> Array:
    """(A, *K, B), with axes in whatever shape, as (A, B, *K); nothing moves."""
    rows = rows.reshape(rows.shape[0], *sizes, -1)
    return rows.permute(0, rows.ndim - 1, *range(1, rows.ndim - 1))
