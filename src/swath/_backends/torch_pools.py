"""PyTorch's kernels of pools of two axes: where they pay, and arrays as they take them."""

from __future__ import annotations

from functools import lru_cache
from math import isnan, prod
from typing import Any, NamedTuple

import torch

from .base import Array

__all__ = ["pool"]

# Nanoseconds of PyTorch's kernel for each output and for each of its taps, with channels before the
# windows and with enough behind them to fill vectors, and of swath's passes for each element
# computed, likewise (float32, two cores of a Xeon, 2026-11).
_RATES = {
    "max": ((7, 0.95), (0.8, 0.14), (0.6, 0.47)),
    "places": ((7.5, 1), (1, 0.12), (2.7, 2.1)),
    "scatter": ((10, 0.9), (3, 0.1), (3.3, 3)),
    # Places and a derivative from them: only who finds the places differs.
    "kept": ((10, 0.9), (3, 0.1), (3.1, 2.5)),
    "sum": ((3.7, 0.15), (0.5, 0.06), (0.55, 0.42)),
    "spread": ((4, 0.12), (0.8, 0.1), (0.65, 0.5)),
}
# Nanoseconds to start the kernel, and elements in whose time the passes begin one of their steps.
_START, _STEP = 3e4, 7e4
# Channels behind the windows that fill a vector of the kernel's.
_LANES = 8


def pool(role: str, g: Any, work: int, *arrays: Array, divisor: int = 1) -> Any:
    """A reduction of windows of float32 or float64, as `Backend.native_pool` says."""
    x = arrays[-1]
    kernel = _planes(g)
    if kernel is None:
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
        before, behind, passes = _RATES[role]
        each, tap = behind if self.last and self.outputs[-1] >= _LANES else before
        sizes = self.settings[0]
        kernel = _START + prod(self.outputs) * (each + tap * prod(sizes))
        steps = sum((n - 1).bit_length() for n in sizes)
        return kernel < passes[self.last] * (work + _STEP * steps)

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
def _planes(g: Any) -> _Pool | None:
    """What the kernels need of windows; None where they do not compute them."""
    spans = g.spans
    if len(spans) != 2 or g.axes[1] != g.axes[0] + 1:
        return None
    if any(s.low != s.high or not 0 <= s.low <= s.size // 2 for s in spans):
        return None
    # Taps may step over a shorter axis: of such a window wholly in padding PyTorch names a place
    # all the same, even one behind the array, where its derivative would write.
    if any(s.low and s.length < s.dilation for s in spans):
        return None
    settings = tuple(
        tuple(getattr(s, name) for s in spans) for name in ("size", "stride", "low", "dilation")
    )
    first, behind = g.axes[0], g.shape[g.axes[1] + 1 :]
    lead, tail = prod(g.shape[:first]), prod(behind)
    # Without axes behind and with two before, arrays are taken as they are.
    before = g.shape[:first] if first == 2 else (lead, 1)
    inputs, outputs = (
        (lead, *space, tail) if behind else (*before, *space)
        for space in ([s.length for s in spans], [s.out for s in spans])
    )
    dilated = any(s.dilation > 1 for s in spans)
    return _Pool(bool(behind), inputs, outputs, settings, dilated)
