"""Filtering without delay: a causal filter forwards in time and then backwards.

The extended signal meets the taps in two products: first as a convolution, then, backwards, as a
correlation. Where the padding is shorter than the filter, its end value goes on for ever, which is
what SciPy's initial states stand for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import _ops, arguments
from .._backends import backend_of
from ..autodiff import primal
from ..errors import ArgumentError, UnsupportedError
from ..registry import operation
from ._coefficients import fir_arguments
from ._extension import PADDINGS, continued, extended
from ._slide import convolve_axes

__all__ = ["filtfilt", "padding_of"]

# Samples for each block computed at once (`Backend.wide`) from which on the middle of a signal is
# worth products of its own.
_LONG = 2**15


@operation(
    "signal.filtfilt",
    differentiable=("b", "a", "x"),
    arrays=("b", "a", "x"),
    linear=("x",),
    reads_values=True,
)
def filtfilt(
    b: Any,
    a: Any,
    x: Any,
    axis: int = -1,
    padtype: str | None = "odd",
    padlen: int | None = None,
    method: str = "pad",
    irlen: int | None = None,
) -> Any:
    """Filter forwards and backwards in time with a FIR filter, without delay.

    Away from the ends, with h = b / a[0]::

        y[n] = Σ_j Σ_k h[j] · h[k] · x[n + j − k],     0 <= j, k < K

    Parameters
    ----------
    b : array of shape (K,)
        Taps.
    a : array of shape (1,), or a number
        What the taps are divided by. Filters with feedback (more coefficients) are not done here.
    x : array
        The signal; real, complex or integer.
    axis : int, default −1
        Axis of time.
    padtype : {"odd", "even", "constant", None}, default "odd"
        What continues the signal at both ends: its image turned about the last sample, its mirror
        image, the last sample, or no padding.
    padlen : int, optional
        Points of padding at each end, fewer than samples; 3·K by default. Beyond them the last
        value goes on.
    method : {"pad"}, default "pad"
        Gustafsson's method, ``"gust"``, is not done here.
    irlen : int, optional
        Belongs to ``method="gust"``, and is ignored as in SciPy.

    Returns
    -------
    array
        Of x's shape, in the common dtype of `b`, `a` and `x`; integers alone become the default
        float.

    Raises
    ------
    NotImplementedError
        If `a` has more than one coefficient, or with ``method="gust"``.
    ValueError
        If `x` has no more samples than `padlen`, `a[0]` is 0 (eagerly; traced, the output is then
        infinite or NaN), or a name is unknown.

    Notes
    -----
    Cost: 2·N·K multiply-adds at the rate of matrix products. The gain is |H(ω)|², twice that of
    `lfilter` in decibels. Complex taps are not conjugated on the way back, as in SciPy.

    References
    ----------
    .. [1] A. V. Oppenheim and R. W. Schafer, *Discrete-Time Signal Processing*, 3rd ed., ch. 5.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.signal.filtfilt([0.5, 0.5], 1.0, np.array([0.0, 0.0, 4.0, 0.0, 0.0]), padlen=1)
    array([0., 1., 2., 1., 0.])
    """
    key = known = None
    if a.__class__ in (int, float) and a == 1:
        try:
            key = (
                b.__class__, b.shape, b.dtype, x.__class__, x.shape, x.dtype,
                axis, axis.__class__, padtype, padlen, padlen.__class__, method,
            )  # fmt: skip
            known = _KNOWN.get(key)
        except (AttributeError, TypeError):
            # A list.
            key = known = None
    if known is not None and known[0].same_device(b, x):
        return _filtered(known[1], b, x)
    if method == "gust":
        raise UnsupportedError(
            'method="gust" (Gustafsson) is not done here: use method="pad", or '
            "scipy.signal.filtfilt on the host"
        )
    arguments.choice("method", method, ("pad",))
    if padtype is not None:
        arguments.choice("padtype", padtype, tuple(PADDINGS))
    given = b, x
    kind, b, (x,) = fir_arguments(b, a, x=x)
    axis = arguments.along("x", x, axis)
    taps = b.shape[0]
    edge = padding_of(padtype, padlen, taps)
    if x.shape[axis] <= edge:
        raise ArgumentError(
            f"x must have more samples along axis {axis} than padlen = {edge}, got "
            f"{x.shape[axis]}; pass a smaller padlen, or padtype=None"
        )
    be = backend_of(primal(x))
    if 0 in x.shape:
        return _ops.cast(_ops.vacant(x.shape, x, b), kind)
    # Points further out than the filter reaches have no say.
    edge, points = min(edge, taps - 1), x.shape[axis]
    rest = taps - 1 - edge
    whole = rest or not edge or points < max(_LONG * be.wide(primal(x)), 4 * taps)
    across = tuple(taps if i == axis else 1 for i in range(x.ndim))
    mode = "edge" if padtype is None else PADDINGS[padtype]
    ends = _Ends(axis, across, edge, rest, mode, bool(whole))
    b, x = arguments.summable(be, b, x)
    if key is not None and arguments.unchanged(given, (b, x)):
        _KNOWN.keep(key, (be, ends))
    return _ops.cast(_filtered(ends, b, x), kind)


class _Ends(NamedTuple):
    """The taps' shape beside x, and what both ends of x get along an axis.

    `edge` points as `mode` says, and for `rest` points the last value; `whole`: in one copy.
    """

    axis: int
    across: tuple[int, ...]
    edge: int
    rest: int
    mode: str
    whole: bool


# Adapters and ends of calls that passed all checks with arrays that need no conversion.
_KNOWN = arguments.Known()


def _filtered(ends: _Ends, b: Any, x: Any) -> Any:
    axis, across, edge, rest, mode, whole = ends
    kernel, points = _ops.reshape(b, across), x.shape[axis]
    if whole:
        return _both_ways(extended(x, axis, edge, edge, mode), kernel, axis, rest)
    # The middle of a long signal is filtered where it stands; the ends alone need a copy.
    parts = [
        _both_ways(continued(x, axis, first, last, mode), kernel, axis, 0)
        for first, last in ((-edge, 2 * edge), (0, points), (points - 2 * edge, points + edge))
    ]
    return _ops.concat(parts, axis)


def _both_ways(x: Any, kernel: Any, axis: int, rest: int) -> Any:
    """Where both passes have all taps on x, whose last values go on for `rest` points."""
    x = extended(x, axis, rest, 0, "edge")
    y = convolve_axes(x, kernel, (axis,), "valid", "auto")
    y = extended(y, axis, 0, rest, "edge")
    return convolve_axes(y, kernel, (axis,), "valid", "auto", turned=True)


def padding_of(padtype: str | None, padlen: int | None, taps: int) -> int:
    """Points of padding at each end."""
    if padlen is not None:
        padlen = arguments.positive("padlen", padlen, least=0)
    if padtype is None:
        return 0
    return 3 * taps if padlen is None else padlen
