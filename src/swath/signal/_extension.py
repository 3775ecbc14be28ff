"""What lies beyond the ends of a signal: every way that scipy.signal extends one, along one axis.

The continuation is a row of pieces, each a run of the signal forwards or backwards, a ramp or an
end value, so that it is differentiable and never gathers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .. import _ops
from .._backends import backend_of
from ..autodiff import primal

__all__ = ["EXTENSIONS", "PADDINGS", "continued", "extended"]

Array = Any
#: Besides "constant", which is a padding.
EXTENSIONS = (
    "symmetric", "reflect", "edge", "wrap", "smooth", "antisymmetric", "antireflect", "line",
)  # fmt: skip

#: What scipy.signal calls three of them where a filter or a transform pads its input.
PADDINGS = {"odd": "antireflect", "even": "reflect", "constant": "edge"}


def extended(x: Any, axis: int, low: int, high: int, mode: str) -> Any:
    """x with `low` points before and `high` after it along an axis.

    Parameters
    ----------
    x : array or node
        Of a floating dtype where the mode computes (smooth, antireflect, line), with at least one
        point along the axis.
    axis : int
        Non-negative.
    low, high : int
        Points to add, in any number.
    mode : str
        One of `EXTENSIONS`. Of a single point, those that need a slope repeat it.
    """
    return continued(x, axis, -low, x.shape[axis] + high, mode)


def continued(x: Any, axis: int, start: int, stop: int, mode: str) -> Any:
    """Points start … stop−1 of x and its continuation, start < stop; as `extended`.

    Of x itself only these points are copied, or none where it is not left.
    """
    n = x.shape[axis]
    if n == 1 and mode in ("reflect", "antireflect", "smooth", "line"):
        mode = "edge"
    parts = [*_side(x, axis, start, min(stop, 0), mode)]
    if max(start, 0) < min(stop, n):
        parts.append(_run(x, axis, max(start, 0), min(stop, n)))
    parts += _side(x, axis, max(start, n), stop, mode)
    return _ops.concat(parts, axis) if len(parts) > 1 else parts[0]


def _side(x: Any, axis: int, start: int, stop: int, mode: str) -> Iterator[Any]:
    """Pieces of the continuation on points start … stop−1, all before x or all behind it."""
    if start >= stop:
        return
    n = x.shape[axis]
    if mode == "edge":
        shape = (*x.shape[:axis], stop - start, *x.shape[axis + 1 :])
        yield _ops.broadcast_to(_end(x, axis, stop), shape)
    elif mode == "smooth":
        first = 0 if stop <= 0 else n - 2
        slope = _ops.subtract(_run(x, axis, first + 1, first + 2), _run(x, axis, first, first + 1))
        yield _ramp(x, slope, axis, start, stop)
    elif mode == "line":
        rise = _ops.subtract(_run(x, axis, n - 1, n), _run(x, axis, 0, 1))
        slope = _ops.divide(rise, _ops.fill_like(x, (), n - 1))
        yield _ramp(x, slope, axis, start, stop)
    else:
        yield from _images(x, axis, start, stop, mode)


def _images(x: Any, axis: int, start: int, stop: int, mode: str) -> Iterator[Any]:
    """The continuation by copies of x, block by block of one period."""
    n = x.shape[axis]
    period = n - 1 if mode in ("reflect", "antireflect") else n
    place = start
    while place < stop:
        block, r = divmod(place, period)
        last = min(period, r + stop - place)
        place += last - r
        if mode == "wrap" or block % 2 == 0:
            piece = _run(x, axis, r, last)
        else:
            piece = _ops.flip(_run(x, axis, n - last, n - r), (axis,))
            if mode == "antisymmetric":
                piece = _ops.scale(piece, -1)
            elif mode == "antireflect":
                piece = _ops.subtract(_ops.scale(_end(x, axis, stop), 2), piece)
        # Turned about both ends in turn, a signal climbs by twice its rise in two periods.
        climbs = abs(block) - abs(block) % 2
        if mode == "antireflect" and climbs:
            rise = _ops.subtract(_run(x, axis, n - 1, n), _run(x, axis, 0, 1))
            piece = _ops.add(piece, _ops.scale(rise, climbs if block > 0 else -climbs))
        yield piece


def _run(x: Any, axis: int, start: int, stop: int) -> Any:
    return _ops.cut(x, *[slice(None)] * axis, slice(start, stop))


def _end(x: Any, axis: int, stop: int) -> Any:
    """The end of x that points before `stop` lie next to: its first if they are all before it."""
    n = x.shape[axis]
    return _run(x, axis, 0, 1) if stop <= 0 else _run(x, axis, n - 1, n)


def _ramp(x: Any, slope: Any, axis: int, start: int, stop: int) -> Any:
    plain = primal(x)
    origin = 0 if stop <= 0 else x.shape[axis] - 1
    shape = [1] * x.ndim
    shape[axis] = stop - start
    steps = backend_of(plain).constant(
        [float(i - origin) for i in range(start, stop)], plain, plain.dtype
    )
    return _ops.add(_end(x, axis, stop), _ops.multiply(slope, _ops.reshape(steps, shape)))
