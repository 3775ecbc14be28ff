"""Pooling over sliding windows: maximum, minimum, mean, p-norm.

arguments -> geometry of the windows -> one window reduction -> division or root.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from numbers import Real
from typing import Any

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import Core, Node, apply, primal
from ..errors import ArgumentError, ArgumentTypeError, describe
from ..geometry import Span, Windows, pooling_span, resolve_padding
from ..registry import operation
from ..sliding import sum_windows, window_extreme
from ..sliding.places import extreme_places
from ..sliding.reduce import Mean, mean_windows
from ..sliding.sweep import lowest
from . import _features
from ._layout import channels_last, check_rank, frozen, sliding_axes

__all__ = [
    "accumulating",
    "avg_pool",
    "checked_p",
    "lp_pool",
    "max_pool",
    "min_pool",
    "named_axes",
    "norm",
    "pool_axes",
    "pool_windows",
]

Array = Any
Pads = tuple[tuple[int, int], ...]


def pool_axes(
    shape: tuple[int, ...], name: str, size: Any, channels: Any, axes: Any
) -> tuple[int, ...]:
    """The sliding axes: `axes`, or the axes beside the channels for a tuple `size`."""
    last = channels_last(channels)
    if axes is not None:
        return named_axes(axes, len(shape))
    if arguments.is_int(size):
        n = int(size)
        raise ArgumentTypeError(
            f"{name} must be a tuple with one entry per sliding axis, got the int {n}; for two "
            f"sliding axes write ({n}, {n}), or name them with axes="
        )
    if not isinstance(size, Sequence) or isinstance(size, str):
        raise ArgumentTypeError(f"{name} must be a tuple of ints, got {describe(size)}")
    if not size:
        raise ArgumentError(f"{name} must have at least one entry, got ()")
    rank = len(size)
    if len(shape) not in (rank + 1, rank + 2):
        try:
            check_rank(shape, rank, last, f"{name} {tuple(size)}")
        except ArgumentError as error:
            raise ArgumentError(
                f"{error}; for other arrays name the sliding axes with axes="
            ) from None
    return sliding_axes(len(shape), rank, last)


def named_axes(axes: Any, ndim: int) -> tuple[int, ...]:
    """The sliding axes given by name."""
    places = arguments.axes_of("axes", axes, ndim)
    if not places:
        raise ArgumentError("axes must name at least one axis, got none")
    return places


def pool_windows(
    shape: tuple[int, ...],
    size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: Any,
    channels: Any,
    axes: Any,
) -> tuple[Windows, Pads]:
    """The windows of a pooling layer, and the padding asked for; axes in ascending order.

    A partial last window of `ceil_mode` is in the windows' padding and not in the second result.
    """
    places = pool_axes(shape, "size", size, channels, axes)
    rank = len(places)
    sizes = arguments.per_axis("size", size, rank)
    strides = sizes if stride is None else arguments.per_axis("stride", stride, rank)
    dilations = arguments.per_axis("dilation", dilation, rank)
    ceil_mode = arguments.flag("ceil_mode", ceil_mode)
    lengths = [shape[a] for a in places]
    pads = resolve_padding(padding, lengths, sizes, strides, dilations)
    found: list[tuple[int, Span, tuple[int, int]]] = []
    for a, n, k, s, d, pair in zip(places, lengths, sizes, strides, dilations, pads, strict=True):
        span = pooling_span(n, k, s, d, *pair, ceil=ceil_mode)
        if span.out == 0:
            raise ArgumentError(
                f"a window spans {span.extent} points ({k} taps, dilation {d}), but axis {a} of x "
                f"has {n} points and padding {pair}; pad more or use a smaller window"
            )
        found.append((a, span, pair))
    found.sort(key=lambda f: f[0])
    windows = Windows(shape, tuple(f[0] for f in found), tuple(f[1] for f in found))
    return windows, tuple(f[2] for f in found)


@lru_cache(maxsize=4096, typed=True)
def _cached(*args: Any) -> tuple[Windows, Pads]:
    return pool_windows(*args)


def _windows(x: Any, *settings: Any) -> tuple[Windows, Pads]:
    key = (tuple(x.shape), *map(frozen, settings))
    try:
        hash(key)
    except TypeError:
        return pool_windows(*key)
    return _cached(*key)


# Adapters and geometries of calls that passed all checks with arrays that need no conversion.
_KNOWN = arguments.Known(4096)


def _signature(x: Any, *settings: Any) -> tuple[Any, Any]:
    """What a call is known by, and what it amounts to; None where there is no such thing."""
    x = primal(x)
    try:
        key = x.__class__, x.shape, x.dtype, frozen(settings)
        return key, _KNOWN.get(key)
    except (AttributeError, TypeError):
        # A list or a number; settings that are no keys.
        return None, None


def _extreme(x: Any, settings: tuple[Any, ...], return_indices: bool, *, largest: bool) -> Any:
    key, known = _signature(x, *settings)
    if known is None:
        given = x
        be, x = arguments.one_array("x", x)
        arguments.numeric(be, "x", x)
        arguments.real_only(be, "x", x)
        g, _ = _windows(x, *settings)
        if 0 in x.shape:
            y = _ops.vacant(g.out, x, value=lowest(be, primal(x), largest=largest))
            if not return_indices:
                return y
            kind = be.default_int(primal(x))
            return y, be.new_like(primal(y), g.out, dtype=kind, fill=-1)
        known = be, g
        if key is not None and x is given:
            _KNOWN.keep(key, known)
    be, g = known
    if not return_indices:
        return window_extreme(g, x, largest=largest)
    # Places are constants: nothing notes how they are found.
    value, places = extreme_places(be, g, be.detach(primal(x)), largest=largest)
    if isinstance(x, Node) or be.traced(x) or be.recorded(x):
        value = window_extreme(g, x, largest=largest)
    return value, places


@operation(
    "nn.max_pool",
    differentiable=("x",),
    features=_features.EXTREME,
    lacks={"complex": "x must be real"},
)
def max_pool(
    x: Any,
    size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    channels: str = "first",
    axes: Any = None,
) -> Any:
    """Maximum of every window.

    With stride s, dilation d and padding l in front, on every sliding axis::

        y[i] = max { x[s·i + d·j − l] : 0 <= j < K, inside x }

    Parameters
    ----------
    x : array, shape (N, C, *S) or (C, *S)
        With ``channels="last"`` (N, *S, C) or (*S, C); any shape with `axes`. Real or integer.
    size : tuple of int
        Taps of the window, one entry per sliding axis; with `axes` also an int.
    stride : int or tuple of int, optional
        Step between windows; by default `size`.
    padding : int, tuple or str, default 0
        As for `conv`: an int, one int or one pair (low, high) per sliding axis, or a name as
        ``"same"`` and ``"same_lower"``. Padding never wins.
    dilation : int or tuple of int, default 1
        Step between the taps of a window.
    ceil_mode : bool, default False
        Whether a last, partial window counts, unless it starts in the padding behind x.
    return_indices : bool, default False
        Whether to return the places of the maxima too.
    channels : {"first", "last"}, default "first"
        Place of the channel axis.
    axes : int or tuple of int, optional
        The sliding axes of an array of any shape, instead of `channels`.

    Returns
    -------
    y : array
        x's shape with ⌊(S + l + h − d·(K − 1) − 1) / s⌋ + 1 points on each sliding axis, in x's
        dtype. A NaN makes its windows NaN. A window wholly in padding gives the lowest value of
        the dtype, −∞ for floats.
    indices : array
        With `return_indices`: the first place of each maximum (or NaN) in row-major order, counted
        over the sliding axes of x without padding; −1 for a window wholly in padding. The library's
        index dtype.

    Raises
    ------
    ValueError
        If a number is out of range or a window does not fit.
    TypeError
        If x is complex, or `size` is an int without `axes`: under `jax.vmap` an array loses an
        axis, and a guess would pool the wrong ones.

    See Also
    --------
    max_unpool, adaptive_max_pool, global_max_pool

    Notes
    -----
    Separable and by doubling: O(log K) comparisons per point and axis. The derivative, also with
    `return_indices`, sends each cotangent to the first maximum of its window.

    Examples
    --------
    >>> import numpy as np, swath
    >>> x = np.array([[[1.0, 3.0, 2.0, 5.0, 4.0]]])
    >>> swath.nn.max_pool(x, (2,), ceil_mode=True)
    array([[[3., 5., 4.]]])
    >>> swath.nn.max_pool(np.array([[1, 2], [4, 3]]), 2, axes=(0, 1), return_indices=True)[1]
    array([[2]])
    """
    settings = (size, stride, padding, dilation, ceil_mode, channels, axes)
    return _extreme(x, settings, arguments.flag("return_indices", return_indices), largest=True)


@operation(
    "nn.min_pool",
    differentiable=("x",),
    features=_features.EXTREME,
    lacks={"complex": "x must be real"},
)
def min_pool(
    x: Any,
    size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    channels: str = "first",
    axes: Any = None,
) -> Any:
    """Minimum of every window.

    Parameters
    ----------
    x, size, stride, padding, dilation, ceil_mode, return_indices, channels, axes
        As for `max_pool`.

    Returns
    -------
    y : array
        As for `max_pool`; a window wholly in padding gives the highest value of the dtype.
    indices : array
        As for `max_pool`.

    Raises
    ------
    ValueError, TypeError
        As for `max_pool`.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.nn.min_pool(np.array([[[1.0, 3.0, 2.0, 5.0]]]), (2,))
    array([[[1., 2.]]])
    """
    settings = (size, stride, padding, dilation, ceil_mode, channels, axes)
    return _extreme(x, settings, arguments.flag("return_indices", return_indices), largest=False)


def accumulating(be: Backend, x: Any) -> tuple[Any, Any]:
    """x in the dtype that sums of its powers are taken in, and the dtype of their result."""
    (x,) = arguments.floating(be, x)
    return arguments.summable(be, x)[0], x.dtype


@operation("nn.avg_pool", differentiable=("x",), linear=("x",), features=_features.AVERAGE)
def avg_pool(
    x: Any,
    size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
    channels: str = "first",
    axes: Any = None,
) -> Any:
    """Mean of every window.

    ::

        y[i] = Σ_{0 <= j < K} x[s·i + d·j − l] / n[i]        padding counts as 0

    Parameters
    ----------
    x, size, stride, padding, dilation, ceil_mode, channels, axes
        As for `max_pool`; x may be complex.
    count_include_pad : bool, default True
        Whether n counts the window's points in the padding. Points beyond it, which the partial
        last window of `ceil_mode` reaches, never count.
    divisor_override : int or float, optional
        The divisor n of every window instead.

    Returns
    -------
    array
        Shape as for `max_pool`. Integers become the default float; float16 and bfloat16 accumulate
        in float32 and round once. A window wholly in padding gives 0.

    Raises
    ------
    ValueError
        If a number is out of range or a window does not fit.
    TypeError
        As for `max_pool`, except that x may be complex.

    Notes
    -----
    Separable and by doubling: O(log K) additions per point and axis, none of them a difference, so
    that a NaN or an infinity stays in its own windows.

    Examples
    --------
    >>> import numpy as np, swath
    >>> x = np.array([[[1.0, 3.0, 2.0, 6.0, 4.0]]])
    >>> swath.nn.avg_pool(x, (2,), padding=1, count_include_pad=False)
    array([[[1. , 2.5, 5. ]]])
    """
    settings = size, stride, padding, dilation, ceil_mode, channels, axes
    key, known = _signature(x, *settings, count_include_pad, divisor_override)
    if known is not None:
        return mean_windows(known, x)
    given = x
    be, x = arguments.one_array("x", x)
    arguments.numeric(be, "x", x)
    count_include_pad = arguments.flag("count_include_pad", count_include_pad)
    if divisor_override is not None:
        if isinstance(divisor_override, bool) or not isinstance(divisor_override, Real):
            raise ArgumentTypeError(
                f"divisor_override must be a number, got {describe(divisor_override)}"
            )
        if divisor_override == 0:
            raise ArgumentError("divisor_override must not be 0")
    g, pads = _windows(x, *settings)
    (x,) = arguments.floating(be, x)
    if 0 in x.shape:
        return _ops.vacant(g.out, x)
    # The partial last window of ceil_mode reaches beyond the padding: those points never count.
    pairs = zip(g.spans, pads, strict=True)
    bounds = tuple(
        (-low, span.length + high) if count_include_pad else (0, span.length)
        for span, (low, high) in pairs
    )
    divisor = None if divisor_override is None else float(divisor_override)
    mean = Mean(g, bounds, divisor)
    if key is not None and x is given:
        _KNOWN.keep(key, mean)
    return mean_windows(mean, x)


class _Root(Core):
    """s^(1/p) of s >= 0 with derivative 0 at 0: a window without energy has no direction."""

    name = "p_root"

    def forward(self, be: Backend, geometry: float, *arrays: Array) -> Array:
        (s,) = arrays
        return be.xp.sqrt(s) if geometry == 2 else s ** (1.0 / geometry)

    def _slope(self, be: Backend, p: float, y: Array) -> Array:
        xp = be.xp
        still = y == 0
        safe = xp.where(still, xp.ones_like(y), y)
        return xp.where(still, xp.zeros_like(y), safe ** (1.0 - p) / p)

    def push(
        self,
        be: Backend,
        geometry: float,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        (tangent,) = tangents
        if tangent is None:
            return be.xp.zeros_like(out)
        return tangent * self._slope(be, geometry, out)

    def pull(
        self,
        be: Backend,
        geometry: float,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        return (cotangent * self._slope(be, geometry, out),)


_ROOT = _Root()


def checked_p(p: Any) -> float:
    """The order of a norm, 1 … inf."""
    if isinstance(p, bool) or not isinstance(p, Real):
        raise ArgumentTypeError(f"p must be a number of at least 1 or inf, got {describe(p)}")
    order = float(p)
    if not order >= 1:
        raise ArgumentError(f"p must be at least 1 (a norm), got {p}")
    return order


def norm(x: Any, p: float, total: Callable[[Any], Any]) -> Any:
    """(total of |x|^p)^(1/p)."""
    a = _ops.absolute(x)
    if p == 1:
        return total(a)
    powers = _ops.multiply(a, a) if p == 2 else _ops.power(a, p)
    return apply(_ROOT, p, total(powers))


@operation("nn.lp_pool", differentiable=("x",), features=_features.NORM)
def lp_pool(
    x: Any,
    size: Any,
    p: float = 2,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    channels: str = "first",
    axes: Any = None,
) -> Any:
    """p-norm of every window.

    ::

        y[i] = (Σ_{0 <= j < K} |x[s·i + d·j − l]|^p)^(1/p)        padding counts as 0

    Parameters
    ----------
    x, size, stride, padding, dilation, ceil_mode, channels, axes
        As for `max_pool`; x may be complex.
    p : float, default 2
        Order of the norm, at least 1; ``inf`` gives the largest magnitude.
    count_include_pad : bool, default True
        As in ONNX; without effect on a sum, whose padding is 0.

    Returns
    -------
    array
        Real, shape as for `max_pool`; integers become the default float.

    Raises
    ------
    ValueError
        If p is less than 1, a number is out of range or a window does not fit.
    TypeError
        As for `max_pool`, except that x may be complex.

    Notes
    -----
    The magnitude is taken for every p, as in ONNX; PyTorch's odd powers keep the sign. |x|^p must
    lie in the range of the dtype: nothing is rescaled, so that a large sample cannot cost distant
    windows their digits. The gradient is 0 where the norm is 0.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.nn.lp_pool(np.array([[[3.0, -4.0, 5.0, 12.0]]]), (2,))
    array([[[ 5., 13.]]])
    """
    be, x = arguments.one_array("x", x)
    arguments.numeric(be, "x", x)
    order = checked_p(p)
    count_include_pad = arguments.flag("count_include_pad", count_include_pad)
    g, _ = _windows(x, size, stride, padding, dilation, ceil_mode, channels, axes)
    x, kind = accumulating(be, x)
    if 0 in x.shape:
        return _ops.absolute(_ops.vacant(g.out, x, dtype=kind))
    if order == float("inf"):
        # Zeros in place of padding that never wins: a window wholly in padding has norm 0.
        y = window_extreme(_unpadded(g), _ops.pad(_ops.absolute(x), g.padding()), largest=True)
    else:
        y = norm(x, order, lambda powers: sum_windows(g, powers))
    return _ops.cast(y, kind) if be.is_half(kind) else y


def _unpadded(g: Windows) -> Windows:
    """The same windows over the array with its padding in place."""
    spans = tuple(Span(s.length + s.low + s.high, s.size, s.stride, s.dilation) for s in g.spans)
    shape = list(g.shape)
    for axis, span in zip(g.axes, spans, strict=True):
        shape[axis] = span.length
    return Windows(tuple(shape), g.axes, spans)
