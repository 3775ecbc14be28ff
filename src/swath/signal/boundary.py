"""Two-dimensional convolution and correlation with a choice of what lies beyond the edges."""

from __future__ import annotations

from typing import Any

from .. import _ops, arguments
from ..errors import ArgumentError, ArgumentTypeError
from ..registry import operation
from ._extension import extended
from ._slide import check_mode, convolve_axes, mode_span, prepare

__all__ = ["BOUNDARIES", "convolve2d", "correlate2d"]

BOUNDARIES = ("fill", "wrap", "symm")
_EXTENSIONS = {"wrap": "wrap", "symm": "symmetric"}


@operation("signal.convolve2d", differentiable=("in1", "in2"), linear=("in2",))
def convolve2d(
    in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0
) -> Any:
    """Convolve two matrices, with a choice of what lies beyond the edges of the first.

    Parameters
    ----------
    in1, in2 : array of two axes
        Real, complex or integer.
    mode : {"full", "same", "valid"}, default "full"
        As for `convolve`. ``"valid"`` uses nothing beyond the edges.
    boundary : {"fill", "wrap", "symm"}, default "fill"
        What continues `in1`: the constant `fillvalue`, its own periods, or its mirror image (with
        the edge repeated).
    fillvalue : number, default 0
        The constant.

    Returns
    -------
    array
        In the common dtype of the inputs; integers are exact modulo 2^bits.

    Raises
    ------
    ValueError
        If an input has not two axes, a name is unknown, or neither input contains the other with
        ``mode="valid"``.
    TypeError
        If `fillvalue` is no number, or complex for real inputs.

    Notes
    -----
    Cost: as `convolve` of the continued matrix, which is built (one copy with K − 1 more rows and
    columns), unless zeros continue it.

    Examples
    --------
    >>> import numpy as np, swath
    >>> x = np.array([[1, 2], [3, 4]])
    >>> swath.signal.convolve2d(x, np.ones((1, 2), int), mode="same", boundary="wrap")
    array([[3, 3],
           [7, 7]])
    """
    return _planar(in1, in2, mode, boundary, fillvalue, turned=False)


@operation("signal.correlate2d", differentiable=("in1", "in2"))
def correlate2d(
    in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0
) -> Any:
    """Cross-correlate two matrices, with a choice of what lies beyond the edges of the first.

    Parameters
    ----------
    in1, in2 : array of two axes
        Real, complex or integer; the second is conjugated.
    mode : {"full", "same", "valid"}, default "full"
        As for `correlate`.
    boundary : {"fill", "wrap", "symm"}, default "fill"
        As for `convolve2d`.
    fillvalue : number, default 0
        The constant.

    Returns
    -------
    array
        As for `convolve2d`.

    Raises
    ------
    ValueError, TypeError
        As for `convolve2d`.

    Notes
    -----
    With ``mode="same"`` and an even number of taps the output lies one sample later than that of
    `correlate`, as in SciPy.

    Examples
    --------
    >>> import numpy as np, swath
    >>> x = np.array([[1, 2], [3, 4]])
    >>> swath.signal.correlate2d(x, np.array([[1, 10]]), mode="full", fillvalue=5)
    array([[15, 21, 52],
           [35, 43, 54]])
    """
    return _planar(in1, in2, mode, boundary, fillvalue, turned=True)


def _planar(in1: Any, in2: Any, mode: str, boundary: str, fillvalue: Any, *, turned: bool) -> Any:
    check_mode(mode)
    arguments.choice("boundary", boundary, BOUNDARIES)
    be, in1, in2, axes = prepare(in1, in2, None)
    for name, value in (("in1", in1), ("in2", in2)):
        if value.ndim != 2:
            raise ArgumentError(
                f"{name} must have two axes, got shape {tuple(value.shape)}; signal.convolve and "
                f"signal.correlate take any number"
            )
    fillvalue = arguments.constant(be, "fillvalue", fillvalue, in1)
    if isinstance(fillvalue, float) and not be.is_floating(in1.dtype):
        if not fillvalue.is_integer():
            raise ArgumentTypeError(f"fillvalue must be an int for integer inputs, got {fillvalue}")
        fillvalue = int(fillvalue)
    arguments.in_range(be, "fillvalue", fillvalue, in1.dtype)
    if turned:
        in2 = _ops.conj(in2)
    spans = [mode_span(n, k, mode) for n, k in zip(in1.shape, in2.shape, strict=True)]
    widths = [(s.low, s.high) for s in spans]
    if turned and mode == "same":
        # SciPy puts the centre of an even kernel before the middle here, behind it in correlate.
        widths = [(high, low) for low, high in widths]
    shifted = widths != [(s.low, s.high) for s in spans]
    empty = 0 in in1.shape or 0 in in2.shape
    if mode != "valid" and not empty and (boundary != "fill" or fillvalue != 0 or shifted):
        if boundary == "fill":
            in1 = _ops.pad(in1, widths, fillvalue)
        else:
            for axis, (low, high) in enumerate(widths):
                in1 = extended(in1, axis, low, high, _EXTENSIONS[boundary])
        mode = "valid"
    return convolve_axes(in1, in2, axes, mode, "auto", turned=turned)
