"""Global pooling: one window that is the whole of the sliding axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod
from typing import Any

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import Core, apply
from ..errors import ArgumentError
from ..registry import operation
from . import _features
from ._layout import channels_last
from .pooling import accumulating, checked_p, named_axes, norm

__all__ = ["global_avg_pool", "global_lp_pool", "global_max_pool", "whole_axes"]

Array = Any


class _Peak(Core):
    """The maximum along one axis, which is kept; its derivative is taken at the first maximum."""

    name = "peak"

    def forward(self, be: Backend, geometry: int, *arrays: Array) -> Array:
        return be.xp.max(arrays[0], axis=geometry, keepdims=True)

    def _first(self, be: Backend, axis: int, x: Array, y: Array) -> Array:
        """A mask of the first place in x that equals y (or is NaN like y)."""
        xp = be.xp
        hit = (x == y) | ((x != x) & (y != y))
        first = xp.argmax(xp.astype(hit, be.dtype("int8")), axis=axis, keepdims=True)
        shape = [1] * x.ndim
        shape[axis] = x.shape[axis]
        places = xp.reshape(be.arange(x.shape[axis], x, first.dtype), tuple(shape))
        return places == first

    def push(
        self,
        be: Backend,
        geometry: int,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        (t,) = tangents
        xp = be.xp
        if t is None:
            return xp.zeros_like(out)
        kept = xp.where(self._first(be, geometry, arrays[0], out), t, xp.zeros_like(t))
        return xp.sum(kept, axis=geometry, keepdims=True, dtype=t.dtype)

    def pull(
        self,
        be: Backend,
        geometry: int,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        mask = self._first(be, geometry, arrays[0], out)
        return (be.xp.where(mask, cotangent, be.xp.zeros_like(cotangent)),)


_PEAK = _Peak()


def whole_axes(shape: tuple[int, ...], channels: Any, axes: Any) -> tuple[int, ...]:
    """The axes that are pooled, ascending, all of them with points."""
    last = channels_last(channels)
    if axes is not None:
        places = named_axes(axes, len(shape))
    elif len(shape) < 3:
        layout = "(N, *S, C)" if last else "(N, C, *S)"
        raise ArgumentError(
            f"x must have at least 3 axes {layout}, got {len(shape)} (shape {shape}); for other "
            f"arrays name the sliding axes with axes="
        )
    else:
        places = tuple(range(1, len(shape) - 1)) if last else tuple(range(2, len(shape)))
    for axis in places:
        if shape[axis] == 0:
            raise ArgumentError(
                f"axis {axis} of x has no points to pool (shape {shape}); give at least one"
            )
    return tuple(sorted(places))


def _prepared(
    x: Any, keepdims: Any, channels: Any, axes: Any
) -> tuple[Backend, Any, tuple[int, ...]]:
    """The array and the axes that are pooled, all of them with points."""
    be, x = arguments.one_array("x", x)
    arguments.numeric(be, "x", x)
    arguments.flag("keepdims", keepdims)
    return be, x, whole_axes(tuple(x.shape), channels, axes)


def _peak(x: Any, axes: tuple[int, ...]) -> Any:
    """Maximum over axes, kept; ties to the first place in row-major order."""
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    if 0 in x.shape:
        return _ops.vacant(shape, x)
    if axes != tuple(range(axes[0], axes[-1] + 1)):
        x = _ops.permute(x, (*(i for i in range(x.ndim) if i not in axes), *axes))
        axes = tuple(range(x.ndim - len(axes), x.ndim))
    # Neighbouring axes become one, so that a place is one number.
    first, last = axes[0], axes[-1] + 1
    flat = _ops.reshape(x, (*x.shape[:first], prod(x.shape[first:last]), *x.shape[last:]))
    return _ops.reshape(apply(_PEAK, first, flat), shape)


def _finish(y: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if keepdims:
        return y
    return _ops.reshape(y, tuple(n for i, n in enumerate(y.shape) if i not in axes))


@operation(
    "nn.global_max_pool",
    differentiable=("x",),
    features=_features.WHOLE,
    lacks={"complex": "x must be real"},
)
def global_max_pool(
    x: Any, *, keepdims: bool = True, channels: str = "first", axes: Any = None
) -> Any:
    """Maximum over all sliding axes.

    Parameters
    ----------
    x : array, shape (N, C, *S)
        With ``channels="last"`` (N, *S, C); any shape with `axes`. Real or integer.
    keepdims : bool, default True
        Whether the pooled axes stay, with length 1.
    channels : {"first", "last"}, default "first"
        Place of the channel axis.
    axes : int or tuple of int, optional
        The axes to pool of an array of any shape (without a batch axis, say).

    Returns
    -------
    array, shape (N, C, 1, …) or (N, C)
        In x's dtype; NaN where there is a NaN. The derivative goes to the first maximum.

    Raises
    ------
    ValueError
        If x has too few axes or no points to pool.
    TypeError
        If x is complex.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.nn.global_max_pool(np.array([[[1.0, 5.0, 2.0]]]), keepdims=False)
    array([[5.]])
    """
    be, x, places = _prepared(x, keepdims, channels, axes)
    arguments.real_only(be, "x", x)
    return _finish(_peak(x, places), places, keepdims)


@operation(
    "nn.global_avg_pool",
    differentiable=("x",),
    linear=("x",),
    features=(*_features.WHOLE, *_features.COMPLEX),
)
def global_avg_pool(
    x: Any, *, keepdims: bool = True, channels: str = "first", axes: Any = None
) -> Any:
    """Mean over all sliding axes.

    Parameters
    ----------
    x, keepdims, channels, axes
        As for `global_max_pool`; x may be complex.

    Returns
    -------
    array, shape (N, C, 1, …) or (N, C)
        Integers become the default float; float16 and bfloat16 accumulate in float32.

    Raises
    ------
    ValueError
        If x has too few axes or no points to pool.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.nn.global_avg_pool(np.array([[[1.0, 5.0, 3.0]]]))
    array([[[3.]]])
    """
    be, x, places = _prepared(x, keepdims, channels, axes)
    x, kind = accumulating(be, x)
    total = _ops.total(x, places, keepdims=True)
    count = _ops.fill_like(total, (), float(prod(x.shape[a] for a in places)))
    y = _ops.cast(_ops.divide(total, count), kind)
    return _finish(y, places, keepdims)


@operation(
    "nn.global_lp_pool",
    differentiable=("x",),
    features=(*_features.WHOLE, *_features.ORDER, *_features.COMPLEX),
)
def global_lp_pool(
    x: Any, p: float = 2, *, keepdims: bool = True, channels: str = "first", axes: Any = None
) -> Any:
    """p-norm over all sliding axes.

    Parameters
    ----------
    x, keepdims, channels, axes
        As for `global_max_pool`; x may be complex.
    p : float, default 2
        Order of the norm, at least 1; ``inf`` gives the largest magnitude.

    Returns
    -------
    array, shape (N, C, 1, …) or (N, C)
        Real; integers become the default float. The gradient is 0 where the norm is 0.

    Raises
    ------
    ValueError
        If p is less than 1, x has too few axes or no points to pool.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.nn.global_lp_pool(np.array([[[3.0, 4.0]]]))
    array([[[5.]]])
    """
    be, x, places = _prepared(x, keepdims, channels, axes)
    order = checked_p(p)
    x, kind = accumulating(be, x)
    if order == inf:
        y = _peak(_ops.absolute(x), places)
    else:
        y = norm(x, order, lambda powers: _ops.total(powers, places, keepdims=True))
    y = _ops.cast(y, kind) if be.is_half(kind) else y
    return _finish(y, places, keepdims)
