"""Adaptive pooling: windows that divide an axis into a given number of parts.

Part i of o parts of n points is ⌊i·n/o⌋ … ⌈(i+1)·n/o⌉ − 1 (PyTorch's rule). Parts whose numbers
differ by o/gcd(n, o) have the same length and lie n/gcd(n, o) points apart: each such class is an
ordinary pooling with a stride, and the classes are interleaved.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import primal
from ..errors import ArgumentError
from ..geometry import Span, Windows
from ..registry import operation
from ..sliding import choose, window_extreme
from ..sliding.places import extreme_places
from ..sliding.reduce import Mean, mean_windows
from . import _features
from .pooling import accumulating, pool_axes

__all__ = ["adaptive_avg_pool", "adaptive_max_pool", "part_counts"]

Array = Any


def _spans(n: int, parts: int) -> list[Span]:
    """One span for each class of equal parts, in the order of their first parts."""
    common = gcd(n, parts)
    step = n // common
    spans = []
    for first in range(parts // common):
        start, stop = first * n // parts, -(-(first + 1) * n // parts)
        end = stop + (common - 1) * step
        spans.append(Span(n, stop - start, step, 1, -start, end - n))
    return spans


def _interleaved(classes: Sequence[Any], axis: int) -> Any:
    """Part i·k + r of the result is part i of class r, for k classes."""
    if len(classes) == 1:
        return classes[0]
    shape = classes[0].shape
    rows = [_ops.reshape(c, (*shape[: axis + 1], 1, *shape[axis + 1 :])) for c in classes]
    joined = _ops.concat(rows, axis + 1)
    return _ops.reshape(joined, (*shape[:axis], shape[axis] * len(classes), *shape[axis + 1 :]))


def part_counts(
    shape: tuple[int, ...], output_size: Any, channels: Any, axes: Any
) -> list[tuple[int, int]]:
    """(axis, parts) for every sliding axis, ascending."""
    places = pool_axes(shape, "output_size", output_size, channels, axes)
    if not isinstance(output_size, Sequence) or isinstance(output_size, str):
        output_size = (output_size,) * len(places)
    if len(output_size) != len(places):
        raise ArgumentError(
            f"output_size must have one entry per sliding axis ({len(places)}), got "
            f"{tuple(output_size)}"
        )
    found = []
    for axis, parts in zip(places, output_size, strict=True):
        n = shape[axis]
        count = n if parts is None else arguments.positive("output_size", parts)
        if n == 0:
            raise ArgumentError(
                f"axis {axis} of x has no points to pool (shape {shape}); give at least one"
            )
        found.append((axis, count))
    return sorted(found)


def _targets(
    x: Any, output_size: Any, channels: Any, axes: Any
) -> tuple[Backend, Any, list[tuple[int, int]]]:
    """The array, and (axis, parts) for every sliding axis, ascending."""
    be, x = arguments.one_array("x", x)
    arguments.numeric(be, "x", x)
    return be, x, part_counts(tuple(x.shape), output_size, channels, axes)


@operation(
    "nn.adaptive_max_pool",
    differentiable=("x",),
    features=(*_features.ADAPTIVE, *_features.PLACES),
    lacks={"complex": "x must be real"},
)
def adaptive_max_pool(
    x: Any,
    output_size: Any,
    *,
    return_indices: bool = False,
    channels: str = "first",
    axes: Any = None,
) -> Any:
    """Maximum of each of a given number of parts of every sliding axis.

    Parameters
    ----------
    x : array, shape (N, C, *S) or (C, *S)
        With ``channels="last"`` (N, *S, C) or (*S, C); any shape with `axes`. Real or integer.
    output_size : tuple of int or None
        Parts per sliding axis; None keeps the axis. With `axes` also an int. Part i of o parts of n
        points holds the points ⌊i·n/o⌋ … ⌈(i + 1)·n/o⌉ − 1.
    return_indices : bool, default False
        Whether to return the places of the maxima too, as `max_pool` does.
    channels : {"first", "last"}, default "first"
        Place of the channel axis.
    axes : int or tuple of int, optional
        The sliding axes of an array of any shape, instead of `channels`.

    Returns
    -------
    y : array
        x's shape with `output_size` on the sliding axes, in x's dtype.
    indices : array
        With `return_indices`: as for `max_pool`.

    Raises
    ------
    ValueError
        If a number is out of range or a sliding axis has no points.
    TypeError
        If x is complex, or `output_size` is an int without `axes`.

    Notes
    -----
    o/gcd(n, o) passes per axis.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.nn.adaptive_max_pool(np.array([[[1.0, 3.0, 2.0, 5.0, 4.0]]]), (2,))
    array([[[3., 5.]]])
    """
    arguments.flag("return_indices", return_indices)
    be, x, targets = _targets(x, output_size, channels, axes)
    arguments.real_only(be, "x", x)
    places, scale = None, 1
    # The last axis first, so that ties go to the first place in row-major order.
    for axis, parts in reversed(targets):
        n = x.shape[axis]
        values, found = [], []
        for span in _spans(n, parts):
            g = Windows(tuple(x.shape), (axis,), (span,))
            y = _ops.vacant(g.out, x) if 0 in x.shape else window_extreme(g, x, largest=True)
            values.append(y)
            if return_indices:
                found.append(_places(be, g, x, places, scale))
        x = _interleaved(values, axis)
        places = _interleaved(found, axis) if return_indices else None
        scale *= n
    return (x, places) if return_indices else x


def _places(be: Backend, g: Windows, x: Any, before: Any, scale: int) -> Array:
    """Where the maxima along one axis came from; `before` are the places in the axes behind."""
    # Constants: nothing notes how they are found.
    x = be.detach(primal(x))
    if 0 in x.shape:
        return be.new_like(x, g.out, dtype=be.default_int(x))
    own = extreme_places(be, g, x, largest=True)[1] * scale
    return own if before is None else own + choose(g, before, x)


@operation(
    "nn.adaptive_avg_pool",
    differentiable=("x",),
    linear=("x",),
    features=(*_features.ADAPTIVE, *_features.COMPLEX),
)
def adaptive_avg_pool(
    x: Any, output_size: Any, *, channels: str = "first", axes: Any = None
) -> Any:
    """Mean of each of a given number of parts of every sliding axis.

    Parameters
    ----------
    x, output_size, channels, axes
        As for `adaptive_max_pool`; x may be complex.

    Returns
    -------
    array
        x's shape with `output_size` on the sliding axes. Integers become the default float; float16
        and bfloat16 accumulate in float32.

    Raises
    ------
    ValueError
        If a number is out of range or a sliding axis has no points.
    TypeError
        If `output_size` is an int without `axes`.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.nn.adaptive_avg_pool(np.array([[[1.0, 3.0, 2.0, 5.0, 5.0]]]), (2,))
    array([[[2., 4.]]])
    """
    be, x, targets = _targets(x, output_size, channels, axes)
    x, kind = accumulating(be, x)
    # Where all axes stay as they are one is computed all the same: no result is the input itself.
    changed = [t for t in targets if t[1] != x.shape[t[0]]] or targets[:1]
    for axis, parts in reversed(changed):
        x = _interleaved([_mean(x, axis, s) for s in _spans(x.shape[axis], parts)], axis)
    return _ops.cast(x, kind)


def _mean(x: Any, axis: int, span: Span) -> Any:
    g = Windows(tuple(x.shape), (axis,), (span,))
    if 0 in x.shape:
        return _ops.vacant(g.out, x)
    return mean_windows(Mean(g, ((0, span.length),), float(span.size)), x)
