"""Max unpooling: values put back to where a maximum was taken from.

The standard has no scatter. Sorting the places, and searching every output point among them, turns
the scatter into two gathers; of equal places the first one wins, by a stable sort.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import Core, apply, primal, with_batch
from ..division import Along, Cuts, Division, Piece
from ..errors import ArgumentError, ArgumentTypeError, describe
from ..geometry import resolve_padding
from ..registry import operation
from . import _features
from ._layout import batched, channels_last
from .pooling import pool_axes

__all__ = ["max_unpool"]

Array = Any

# Output points found at a time where Python loops cost nothing: a few index arrays of this length.
_POINTS = 2**20


class _Places:
    """The places of one block of rows, sorted."""

    def __init__(self, be: Backend, places: Array, points: int) -> None:
        self.be, self.points = be, points
        xp = be.xp
        self.rows, self.each = places.shape
        self.kind = be.default_int(places)
        places = xp.astype(places, self.kind)
        self.nowhere = self.rows * points
        start = xp.reshape(be.arange(self.rows, places, self.kind), (self.rows, 1)) * points
        inside = (places >= 0) & (places < points)
        beyond = be.new_like(places, (), fill=self.nowhere)
        self.flat = xp.reshape(xp.where(inside, places + start, beyond), (self.rows * self.each,))
        self.order = xp.argsort(self.flat, stable=True)
        self.sorted = xp.take(self.flat, self.order, axis=0)

    def put(self, x: Array) -> Array:
        """x (rows, each) at its places in an array (rows, points)."""
        be, xp = self.be, self.be.xp
        x = xp.reshape(x, (self.rows * self.each,))
        zero = be.new_like(x, ())
        parts = []
        step = self.nowhere if be.traces else _POINTS
        for first in range(0, self.nowhere, step):
            count = min(step, self.nowhere - first)
            target = be.arange(count, self.flat, self.kind) + first
            at = self._rank(target)
            hit = xp.take(self.sorted, at, axis=0) == target
            source = xp.take(self.order, at, axis=0)
            parts.append(xp.where(hit, xp.take(x, source, axis=0), zero))
        y = parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)
        return xp.reshape(y, (self.rows, self.points))

    def get(self, y: Array) -> Array:
        """The transpose of `put`: y at the places, 0 where another one came first."""
        be, xp = self.be, self.be.xp
        y = xp.reshape(y, (self.nowhere,))
        own = be.arange(self.rows * self.each, self.flat, self.kind)
        first = xp.take(self.order, self._rank(self.flat), axis=0) == own
        wins = first & (self.flat < self.nowhere)
        inside = xp.where(wins, self.flat, xp.zeros_like(self.flat))
        x = xp.where(wins, xp.take(y, inside, axis=0), be.new_like(y, ()))
        return xp.reshape(x, (self.rows, self.each))

    def _rank(self, values: Array) -> Array:
        """Where each value stands first among the sorted places, or the last place."""
        xp = self.be.xp
        at = xp.searchsorted(self.sorted, values)
        last = self.be.new_like(at, (), fill=self.rows * self.each - 1)
        return xp.minimum(at, last)


def _by_rows(
    be: Backend, a: Array, places: Array, points: int, method: Callable[[_Places, Array], Array]
) -> Array:
    """A method of `_Places` over blocks of rows."""
    rows = a.shape[0]
    step = rows if be.traces else max(1, _POINTS // points)
    parts = [
        method(
            _Places(be, places[i : min(i + step, rows), :], points), a[i : min(i + step, rows), :]
        )
        for i in range(0, rows, step)
    ]
    return parts[0] if len(parts) == 1 else be.xp.concat(parts, axis=0)


class _Unpool(Core):
    """(rows, each) to (rows, points) or, for its sibling, back; geometry: points."""

    linear = (0,)
    sibling: Core

    def __init__(self, name: str, method: Callable[[_Places, Array], Array]) -> None:
        self.name = name
        self._method = method

    def forward(self, be: Backend, geometry: int, *arrays: Array) -> Array:
        a, places = arrays
        return _by_rows(be, a, places, geometry, self._method)

    def divide(self, geometry: int, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        """Row by row."""
        (rows, _), (_, each) = shapes
        points = geometry if self is _PUT else each

        def piece(cuts: Cuts) -> Piece:
            reads = tuple((cuts[0], slice(0, shape[1])) for shape in shapes)
            return Piece(geometry, reads)

        return Division((rows, points), (Along(0, 0), None), piece)

    def pull(
        self,
        be: Backend,
        geometry: int,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        return apply(self.sibling, geometry, cotangent, arrays[1]), None

    def batch(
        self, be: Backend, geometry: int, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        xp, full = be.xp, with_batch(be, arrays, batched)
        size, rows = full[0].shape[:2]
        merged = [xp.reshape(a, (size * rows, a.shape[2])) for a in full]
        return geometry, merged, lambda out: xp.reshape(out, (size, rows, out.shape[1]))


_PUT, _GET = _Unpool("unpool", _Places.put), _Unpool("unpool_back", _Places.get)
_PUT.sibling, _GET.sibling = _GET, _PUT


def _check_places(be: Backend, indices: Array, lengths: Sequence[int]) -> None:
    """Refuse places outside of the output, where the values can be read."""
    points = prod(lengths)
    for value in (be.concrete(be.xp.max(indices)), be.concrete(be.xp.min(indices))):
        if value is not None and not -1 <= value < points:
            raise ArgumentError(
                f"indices hold {int(value)}, but the output has {points} points per channel "
                f"(sliding lengths {tuple(lengths)}); give output_size the lengths of what was "
                f"pooled"
            )


@operation(
    "nn.max_unpool",
    differentiable=("x",),
    arrays=("indices",),
    linear=("x",),
    reads_values=True,
    features=_features.UNPOOL,
    lacks={rule.name: "for named paddings give output_size" for rule in _features.RULES},
)
def max_unpool(
    x: Any,
    indices: Any,
    size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    channels: str = "first",
) -> Any:
    """Put maxima back to where `max_pool` found them; 0 elsewhere.

    Parameters
    ----------
    x : array, shape (N, C, *P) or (C, *P)
        Values, as `max_pool` returns them; with ``channels="last"`` (N, *P, C) or (*P, C).
    indices : array of int, the shape of x
        Their places, as `max_pool` returns them with `return_indices`. Where several values name
        one place the first in row-major order is put there; −1 drops a value.
    size : tuple of int
        Taps of the pooling window, one entry per sliding axis.
    stride : int or tuple of int, optional
        Of the pooling; by default `size`.
    padding : int or tuple, default 0
        Of the pooling.
    output_size : tuple of int, optional
        The sliding lengths of the result, or its whole shape, as PyTorch takes both; by default
        (P − 1)·stride − padding + size, which is right where the windows covered the array exactly.
    channels : {"first", "last"}, default "first"
        Place of the channel axis.

    Returns
    -------
    array
        x with the sliding lengths `output_size`, in x's dtype.

    Raises
    ------
    ValueError
        If shapes do not fit, or a place lies outside of the result (values that are traced are not
        read: such places are then dropped).
    TypeError
        If `indices` are no integers.

    See Also
    --------
    max_pool

    Notes
    -----
    O(M log M) for M values of one channel. The derivative takes each cotangent from its place.

    Examples
    --------
    >>> import numpy as np, swath
    >>> y, where = swath.nn.max_pool(np.array([[[1.0, 3.0, 5.0, 4.0]]]), (2,), return_indices=True)
    >>> swath.nn.max_unpool(y, where, (2,))
    array([[[0., 3., 5., 0.]]])
    """
    be, (x, indices) = arguments.arrays(x=x, indices=indices)
    for name, value in (("x", x), ("indices", indices)):
        arguments.numeric(be, name, value)
    indices = primal(indices)
    if not be.xp.isdtype(indices.dtype, "integral"):
        raise ArgumentTypeError(f"indices must be integers, got {describe(indices)}")
    if tuple(indices.shape) != tuple(x.shape):
        raise ArgumentError(
            f"indices must have the shape of x {tuple(x.shape)}, got {tuple(indices.shape)}"
        )
    axes = pool_axes(tuple(x.shape), "size", size, channels, None)
    last, rank = channels_last(channels), len(axes)
    lengths = _lengths(tuple(x.shape), axes, size, stride, padding, output_size)
    x, had_batch = batched(x, rank)
    if not had_batch:
        indices = be.xp.reshape(indices, tuple(x.shape))
    order = (0, rank + 1, *range(1, rank + 1)) if last else tuple(range(rank + 2))
    x = _ops.permute(x, order)
    shape, each = tuple(x.shape), prod(x.shape[2:])
    if 0 in shape or 0 in lengths:
        y = _ops.vacant((*shape[:2], *lengths), x)
    else:
        _check_places(be, indices, lengths)
        rows = shape[0] * shape[1]
        places = be.xp.reshape(be.xp.permute_dims(indices, order), (rows, each))
        y = apply(_PUT, prod(lengths), _ops.reshape(x, (rows, each)), places)
        y = _ops.reshape(y, (*shape[:2], *lengths))
    if last:
        y = _ops.permute(y, (0, *range(2, rank + 2), 1))
    return y if had_batch else _ops.reshape(y, y.shape[1:])


def _lengths(
    shape: tuple[int, ...],
    axes: Sequence[int],
    size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> tuple[int, ...]:
    """The sliding lengths of the result."""
    rank, given = len(axes), [shape[a] for a in axes]
    sizes = arguments.per_axis("size", size, rank)
    strides = sizes if stride is None else arguments.per_axis("stride", stride, rank)
    if isinstance(padding, str):
        raise ArgumentTypeError(
            f"padding must be an int, one int or one pair (low, high) per sliding axis, got "
            f"{padding!r}; for named paddings give output_size"
        )
    pads = resolve_padding(padding, given, sizes, strides, (1,) * rank)
    if output_size is not None:
        if not isinstance(output_size, Sequence) or isinstance(output_size, str):
            raise ArgumentTypeError(
                f"output_size must be a tuple of ints, one per sliding axis, got "
                f"{describe(output_size)}"
            )
        target = tuple(output_size)
        if len(target) == len(shape):
            if any(target[i] != n for i, n in enumerate(shape) if i not in axes):
                raise ArgumentError(
                    f"output_size {target} must have batch and channels of x (shape {shape})"
                )
            target = tuple(target[a] for a in axes)
        return arguments.per_axis("output_size", target, rank)
    found = tuple(
        (n - 1) * s - low - high + k if n else 0
        for n, k, s, (low, high) in zip(given, sizes, strides, pads, strict=True)
    )
    if any(n < 0 for n in found):
        raise ArgumentError(f"padding {pads} leaves no points: sliding lengths {found}")
    return found
