"""Savitzky-Golay filters: a polynomial fitted to each window, read off at one place of it.

The weights depend on three integers and a place; they are computed on the host in float64 from a
basis of Legendre polynomials, which stays well conditioned where powers do not. The filter is then
one sliding product, and at the ends (mode "interp") a small matrix.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from numbers import Real
from typing import Any

import numpy as np

from .. import _ops, arguments
from .._backends import Backend, backend_named
from ..autodiff import primal
from ..errors import ArgumentError, ArgumentTypeError, describe
from ..registry import operation
from ._coefficients import design_arrays, library, placed
from ._extension import extended
from ._slide import convolve_axes

__all__ = ["MODES", "neighbours", "savgol_coeffs", "savgol_filter"]

Array = Any
MODES = ("mirror", "constant", "nearest", "wrap", "interp")
_EXTENSIONS = {"mirror": "reflect", "nearest": "edge", "wrap": "wrap"}


def neighbours(window_length: int) -> tuple[int, int]:
    """Samples before and after its own that an output reads; an even window: one more after."""
    after = window_length // 2
    return window_length - 1 - after, after


@lru_cache(maxsize=256)
def _weights(length: int, order: int, deriv: int, pos: float) -> np.ndarray:
    """Weights on a window's samples that give the fitted polynomial's derivative at `pos`.

    With V the basis at the samples and V = QR, the fit is R⁻¹Qᵀx; the derivative of the basis at
    the place, ℓ, turns it into weights Q R⁻ᵀ ℓ.
    """
    from numpy.polynomial import legendre

    if deriv > order:
        return np.zeros(length)
    middle, half = (length - 1) / 2, max((length - 1) / 2, 1.0)
    q, r = np.linalg.qr(legendre.legvander((np.arange(length) - middle) / half, order))
    place = (pos - middle) / half
    row = [legendre.legval(place, legendre.legder(c, deriv)) for c in np.eye(order + 1)]
    return q @ np.linalg.solve(r.T, np.asarray(row) / half**deriv)


def _checked(window_length: Any, polyorder: Any, deriv: Any) -> tuple[int, int, int]:
    length = arguments.positive("window_length", window_length)
    order = arguments.positive("polyorder", polyorder, least=0)
    if order >= length:
        raise ArgumentError(
            f"polyorder must be less than window_length: {length} samples determine a polynomial "
            f"of order {length - 1} at most, got {order}"
        )
    return length, order, arguments.positive("deriv", deriv, least=0)


def _middle(length: int) -> float:
    return (length - 1) / 2


def _power(delta: Any, deriv: int) -> float | None:
    """delta^−deriv of a number, or None where delta is an array."""
    if arguments.strong(delta) is not None:
        if prod(delta.shape) != 1:
            raise ArgumentError(f"delta must be one number, got shape {tuple(delta.shape)}")
        return None
    if isinstance(delta, bool) or not isinstance(delta, Real):
        raise ArgumentTypeError(f"delta must be a number, got {describe(delta)}")
    if float(delta) == 0:
        raise ArgumentError("delta must not be 0: it is the spacing of the samples")
    try:
        return float(delta) ** -deriv
    except OverflowError:
        raise ArgumentError(
            f"delta to the power −deriv must be in the range of floats, got delta={delta} and "
            f"deriv={deriv}; choose another unit for it"
        ) from None


@operation("signal.savgol_coeffs", differentiable=("delta",), arrays=("delta",))
def savgol_coeffs(
    window_length: int,
    polyorder: int,
    deriv: int = 0,
    delta: Any = 1.0,
    pos: float | None = None,
    use: str = "conv",
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Taps of a Savitzky-Golay filter: a local polynomial fit as a FIR filter.

    Parameters
    ----------
    window_length : int
        Taps K; even ones too.
    polyorder : int
        Order of the polynomial, less than K.
    deriv : int, default 0
        Which derivative of the polynomial the filter gives.
    delta : float or array of one, default 1.0
        Spacing of the samples; of account for derivatives only.
    pos : float, optional
        Place in the window, 0 <= pos < K, at which the polynomial is read; by default the middle.
    use : {"conv", "dot"}, default "conv"
        Order of the taps: for a convolution, or (reversed) for a scalar product with the samples.
    xp : module or str, optional
        Array library of the result where `delta` is a number; NumPy by default.
    device : object, optional
        Its device, likewise.
    dtype : str or dtype, optional
        Real floating dtype of the taps; by default that of an array `delta`, or the widest of the
        device.

    Returns
    -------
    array of shape (K,)
        The taps; zeros if `deriv` exceeds `polyorder`.

    Raises
    ------
    ValueError
        If an integer is out of its range, `pos` is outside of the window, or `delta` is 0 or so
        small that delta^−deriv overflows.
    TypeError
        If an argument is of the wrong type.

    Notes
    -----
    Computed on the host in float64, K·polyorder² multiply-adds, and kept for the next call.
    Differentiable in an array `delta`.

    References
    ----------
    .. [1] A. Savitzky and M. J. E. Golay, "Smoothing and differentiation of data by simplified
       least squares procedures", Anal. Chem. 36, 1964.
    .. [2] J. Luo, K. Ying and J. Bai, "Savitzky-Golay smoothing and differentiation filter for even
       number data", Signal Process. 85, 2005.

    Examples
    --------
    >>> import swath
    >>> (35 * swath.signal.savgol_coeffs(5, 2)).round(9)
    array([-3., 12., 17., 12., -3.])
    """
    length, order, deriv = _checked(window_length, polyorder, deriv)
    if pos is None:
        pos = _middle(length)
    elif isinstance(pos, bool) or not isinstance(pos, Real):
        raise ArgumentTypeError(f"pos must be a number, got {describe(pos)}")
    if not 0 <= pos < length:
        raise ArgumentError(f"pos must be at least 0 and less than {length}, got {pos}")
    arguments.choice("use", use, ("conv", "dot"))
    table = _weights(length, order, deriv, float(pos))
    if use == "conv":
        table = table[::-1].copy()
    scale = _power(delta, deriv)
    if scale is not None:
        be = backend_named("numpy") if xp is None else library(xp)
        return placed(be, table * scale, device, dtype)
    be, (spacing,), finish = design_arrays(xp, device, dtype, delta=delta)
    h = be.constant(table, primal(spacing), spacing.dtype)
    return finish(_ops.multiply(h, _scale(spacing, deriv)))


def _scale(spacing: Any, deriv: int) -> Any:
    """spacing^−deriv, of shape (1,)."""
    return _ops.power(_ops.reshape(spacing, (1,)), float(-deriv))


@operation(
    "signal.savgol_filter", differentiable=("x", "delta"), arrays=("x", "delta"), linear=("x",)
)
def savgol_filter(
    x: Any,
    window_length: int,
    polyorder: int,
    deriv: int = 0,
    delta: Any = 1.0,
    axis: int = -1,
    mode: str = "interp",
    cval: float = 0.0,
) -> Any:
    """Smooth or differentiate along an axis by a polynomial fitted to each window.

    Parameters
    ----------
    x : array
        The signal, of N samples along `axis`; real, complex or integer.
    window_length : int
        Samples K of a window; even ones too, which delay by half a sample.
    polyorder : int
        Order of the polynomial, less than K.
    deriv : int, default 0
        Which derivative is given.
    delta : float or array of one, default 1.0
        Spacing of the samples; of account for derivatives only.
    axis : int, default −1
        The axis of the samples.
    mode : {"interp", "mirror", "constant", "nearest", "wrap"}, default "interp"
        What stands at the ends: the polynomial of the first (last) K samples, read at each of the
        first (last) ⌊K/2⌋; or the signal continued by its mirror image (the edge not repeated), by
        `cval`, by its last value, or by its own periods.
    cval : float, default 0.0
        The value beyond the ends with ``mode="constant"``.

    Returns
    -------
    array
        Of x's shape and dtype; integers become the default float.

    Raises
    ------
    ValueError
        If an integer is out of its range, ``mode`` is unknown, N < K with ``mode="interp"``, or
        `delta` is 0 or so small that delta^−deriv overflows.
    TypeError
        If an argument is of the wrong type, or `cval` is complex for a real signal.

    Notes
    -----
    Cost: N·K multiply-adds at the rate of matrix products. A NaN spreads over the K windows that
    hold it and, within K samples of an end and with ``mode="interp"``, over that end.

    References
    ----------
    .. [1] A. Savitzky and M. J. E. Golay, "Smoothing and differentiation of data by simplified
       least squares procedures", Anal. Chem. 36, 1964.

    Examples
    --------
    A parabola is left as it is, and its slope is exact:

    >>> import numpy as np, swath
    >>> swath.signal.savgol_filter(np.arange(5.0) ** 2, 3, 2, deriv=1).round(12) + 0.0
    array([0., 2., 4., 6., 8.])
    """
    length, order, deriv = _checked(window_length, polyorder, deriv)
    arguments.choice("mode", mode, MODES)
    scale = _power(delta, deriv)
    if scale is not None:
        be, x = arguments.one_array("x", x)
    else:
        be, (x, delta) = arguments.dividing(x=x, delta=delta)
        arguments.numeric(be, "delta", delta)
        arguments.real_only(be, "delta", delta)
    arguments.numeric(be, "x", x)
    axis = arguments.along("x", x, axis)
    points = x.shape[axis]
    if mode == "interp" and points < length:
        raise ArgumentError(
            f'with mode="interp" window_length must be less than or equal to the length of x along '
            f"the axis: a polynomial is fitted to {length} samples at each end, and there are "
            f"{points}; shorten the window or choose another mode"
        )
    (x,) = arguments.floating(be, x)
    value = arguments.constant(be, "cval", cval, x)
    kind = x.dtype
    (x,) = arguments.summable(be, x)
    if 0 in x.shape:
        return _ops.cast(x, kind)
    factor = 1.0 if scale is None else scale
    if mode == "interp":
        y = _interpolated(be, x, length, order, deriv, factor, axis)
    else:
        low, high = neighbours(length)
        y = _smoothed(
            be, _continued(x, axis, low, high, mode, value), length, order, deriv, factor, axis
        )
    if scale is None and deriv:
        if not be.is_floating(delta.dtype):
            delta = _ops.cast(delta, be.real_dtype(y.dtype))
        y = _ops.multiply(y, _ops.cast(_scale(delta, deriv), y.dtype))
    return _ops.cast(y, kind)


def _smoothed(
    be: Backend, x: Any, length: int, order: int, deriv: int, scale: float, axis: int
) -> Any:
    """Every whole window's value in its middle."""
    # A correlation with the weights, which are real: no conjugate is at stake.
    weights = scale * _weights(length, order, deriv, _middle(length))
    shape = [length if i == axis else 1 for i in range(x.ndim)]
    kernel = be.constant(weights.reshape(shape), primal(x), x.dtype)
    return convolve_axes(x, kernel, (axis,), "valid", "auto", turned=True)


def _interpolated(
    be: Backend, x: Any, length: int, order: int, deriv: int, scale: float, axis: int
) -> Any:
    """Whole windows inside, and at each end ⌊K/2⌋ values of one polynomial."""
    points, half = x.shape[axis], length // 2
    inner = _smoothed(be, x, length, order, deriv, scale, axis)
    if not half:
        return inner
    lead = [slice(None)] * axis
    if length % 2 == 0:
        # An even window's first value would stand where the first polynomial's last one does.
        inner = _ops.cut(inner, *lead, slice(1, None))
    parts = []
    for start, places in ((0, range(half)), (points - length, range(length - half, length))):
        table = scale * np.stack([_weights(length, order, deriv, float(p)) for p in places])
        matrix = be.constant(table.T.copy(), primal(x), x.dtype)
        end = _ops.cut(x, *lead, slice(start, start + length))
        order_last = [i for i in range(x.ndim) if i != axis] + [axis]
        rows = _ops.permute(end, order_last)
        shape = (*rows.shape[:-1], half)
        made = _ops.matmul(_ops.reshape(rows, (prod(shape[:-1]), length)), matrix)
        made = _ops.reshape(made, shape)
        parts.append(_ops.permute(made, [order_last.index(i) for i in range(x.ndim)]))
    return _ops.concat([parts[0], inner, parts[1]], axis)


def _continued(x: Any, axis: int, low: int, high: int, mode: str, value: Any) -> Any:
    """x with `low` points before and `high` after it along an axis."""
    if mode == "constant":
        widths = [(low, high) if i == axis else (0, 0) for i in range(x.ndim)]
        return _ops.pad(x, widths, value)
    return extended(x, axis, low, high, _EXTENSIONS[mode])
