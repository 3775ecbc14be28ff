"""Convolution and correlation with SciPy's names and semantics, on any axes."""

from __future__ import annotations

from typing import Any

from .. import _ops
from ..registry import operation
from ..sliding.plan import check_method
from ._slide import check_mode, convolve_axes, prepare

__all__ = ["convolve", "correlate"]


@operation("signal.convolve", differentiable=("in1", "in2"), linear=("in1", "in2"))
def convolve(
    in1: Any, in2: Any, mode: str = "full", method: str = "auto", *, axes: Any = None
) -> Any:
    """Convolve two arrays along some axes.

    With sliding lengths N and K::

        full[n] = Σ_m in1[n − m] · in2[m],     0 <= n < N + K − 1

    Parameters
    ----------
    in1, in2 : array
        Real, complex or integer arrays of the same number of axes. With `axes`, the other axes
        broadcast, and `in2` may have exactly ``len(axes)`` axes.
    mode : {"full", "same", "valid"}, default "full"
        ``"full"``: all N + K − 1 points; ``"same"``: the N centred ones (as in SciPy, relative to
        `in1`); ``"valid"``: the N − K + 1 points that use no padding (inputs are exchanged if
        `in2` is the longer one along every sliding axis).
    method : {"auto", "direct", "toeplitz", "fft", "overlap_save"}, default "auto"
        The algorithm (see `swath.plan`). ``"auto"`` decides from shapes and dtype alone.
        ``"direct"`` never lets a non-finite sample leave its own windows. Integers are always
        computed exactly, by ``"direct"``.
    axes : int or tuple of int, optional
        Sliding axes; by default all.

    Returns
    -------
    array
        In the library, on the device and in the common dtype of the inputs (integers are exact
        modulo 2^bits; an integer input takes the other's float dtype).

    Raises
    ------
    ValueError
        If shapes do not broadcast, or neither input contains the other with ``mode="valid"``.
    TypeError
        If the inputs live in different libraries or on different devices.

    Notes
    -----
    Cost: O(N·K) multiply-adds at the rate of matrix products ("toeplitz"), O(N log K) by FFT.

    References
    ----------
    .. [1] A. V. Oppenheim and R. W. Schafer, *Discrete-Time Signal Processing*, 3rd ed., ch. 2, 8.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.signal.convolve(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.5]))
    array([0. , 1. , 2.5, 4. , 1.5])
    """
    check_mode(mode)
    check_method(method)
    _, in1, in2, places = prepare(in1, in2, axes)
    return convolve_axes(in1, in2, places, mode, method)


@operation("signal.correlate", differentiable=("in1", "in2"), linear=("in1",))
def correlate(
    in1: Any, in2: Any, mode: str = "full", method: str = "auto", *, axes: Any = None
) -> Any:
    """Cross-correlate two arrays along some axes; the second is conjugated.

    With sliding lengths N and K::

        full[n] = Σ_l in1[l] · conj(in2[l − n + K − 1]),     0 <= n < N + K − 1

    Parameters
    ----------
    in1, in2 : array
        As for `convolve`.
    mode : {"full", "same", "valid"}, default "full"
        As for `convolve`.
    method : {"auto", "direct", "toeplitz", "fft", "overlap_save"}, default "auto"
        As for `convolve`.
    axes : int or tuple of int, optional
        Sliding axes; by default all.

    Returns
    -------
    array
        As for `convolve`.

    Raises
    ------
    ValueError, TypeError
        As for `convolve`.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.signal.correlate(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.5]))
    array([0.5, 2. , 3.5, 3. , 0. ])
    """
    check_mode(mode)
    check_method(method)
    _, in1, in2, places = prepare(in1, in2, axes)
    return convolve_axes(in1, _ops.conj(in2), places, mode, method, turned=True)
