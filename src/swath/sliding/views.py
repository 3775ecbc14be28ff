"""Windows and their transpose as cores: linear, each the other's derivative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .._backends import Backend
from ..autodiff import Core, apply
from ..geometry import Windows

__all__ = ["add_windows", "take_windows"]

Array = Any


class _Pair(Core):
    """A linear core whose transpose is its sibling."""

    linear = (0,)
    sibling: Core

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        return (apply(self.sibling, geometry, cotangent),)

    def batch(
        self, be: Backend, geometry: Windows, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        return geometry.shifted(1, (arrays[0].shape[0],)), arrays, lambda out: out


class _Take(_Pair):
    """x to its windows, taps appended as trailing axes."""

    name = "take_windows"

    def forward(self, be: Backend, geometry: Windows, *arrays: Array) -> Array:
        (x,) = arrays
        spans = geometry.spans
        return be.windows(
            x,
            geometry.sizes,
            [s.stride for s in spans],
            [s.dilation for s in spans],
            geometry.axes,
        )


class _Add(_Pair):
    """Blocks added into place, one sliding axis after the other."""

    name = "add_windows"

    def forward(self, be: Backend, geometry: Windows, *arrays: Array) -> Array:
        (blocks,) = arrays
        for axis, span in reversed(list(zip(geometry.axes, geometry.spans, strict=True))):
            blocks = _add_axis(be, blocks, axis, replace(span, low=0, high=0))
        return blocks


def _add_axis(be: Backend, blocks: Array, axis: int, span: Any) -> Array:
    """Reduce the last axis (taps) of blocks into `axis`."""
    shape = (*blocks.shape[:axis], span.length, *blocks.shape[axis + 1 : -1])
    if be.mutable:
        out = be.new_like(blocks, shape)
        for j in range(span.size):
            _, inputs = span.tap(j)
            out[(*[slice(None)] * axis, inputs)] += blocks[..., j]
        return out
    total = None
    gaps = [span.stride - 1 if i == axis else 0 for i in range(len(shape))]
    used = span.stride * (span.out - 1) + 1
    for j in range(span.size):
        start = span.dilation * j
        widths = [(0, 0)] * len(shape)
        widths[axis] = (start, span.length - start - used)
        term = be.pad(blocks[..., j], widths, 0, gaps)
        total = term if total is None else total + term
    return total


_TAKE, _ADD = _Take(), _Add()
_TAKE.sibling, _ADD.sibling = _ADD, _TAKE


def take_windows(geometry: Windows, x: Any) -> Any:
    """Every window of x (no padding in the geometry)."""
    return apply(_TAKE, geometry, x)


def add_windows(geometry: Windows, blocks: Any) -> Any:
    """The transpose of `take_windows`."""
    return apply(_ADD, geometry, blocks)
