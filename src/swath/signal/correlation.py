"""Convolution and correlation with SciPy's names and semantics, on any axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import arguments
from .._backends import backend_named
from ..autodiff import primal
from ..errors import explain
from ..planning import plan
from ..registry import operation
from ._coefficients import library
from ._slide import check_mode, convolve_axes, prepare, slide

__all__ = [
    "choose_conv_method",
    "convolve",
    "correlate",
    "correlation_lags",
    "fftconvolve",
    "oaconvolve",
]


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
    method : str, default "auto"
        The algorithm, one of "auto", "direct", "im2col", "toeplitz", "winograd" (three
        neighbouring taps), "native", "fft" and "overlap_save" (see `swath.plan`). ``"auto"``
        decides from shapes and dtype alone.
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
    return slide(in1, in2, mode, method, axes, turned=False)


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
    method : str, default "auto"
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
    return slide(in1, in2, mode, method, axes, turned=True)


@operation("signal.fftconvolve", differentiable=("in1", "in2"), linear=("in1", "in2"))
def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Any:
    """Convolve two arrays along some axes by one Fourier transform of the whole.

    Parameters
    ----------
    in1, in2 : array
        As for `convolve`; integers become the default float, unless one of the inputs has length 1
        along every sliding axis.
    mode : {"full", "same", "valid"}, default "full"
        As for `convolve`.
    axes : int or tuple of int, optional
        Sliding axes; by default all. The other axes broadcast.

    Returns
    -------
    array
        As for `convolve`. Of empty inputs, empty with its rank kept.

    Raises
    ------
    ValueError, TypeError
        As for `convolve`.

    Notes
    -----
    Cost: O(n log n) for n = N + K − 1 points. The error of every output is relative to the norms
    of the whole inputs, and a non-finite sample spreads everywhere; `convolve` has neither where
    it can.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.signal.fftconvolve(np.array([1.0, 2.0]), np.array([1.0, 3.0])).round(12)
    array([1., 5., 6.])
    """
    check_mode(mode)
    return _spectral(in1, in2, mode, axes, "fft")


@operation("signal.oaconvolve", differentiable=("in1", "in2"), linear=("in1", "in2"))
def oaconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Any:
    """Convolve two arrays along some axes by Fourier transforms of short frames.

    SciPy adds the overlaps of its frames' outputs; here frames overlap and their outputs join
    (overlap-save), which gives the same sums. Frames have up to three sliding axes; over more the
    whole is transformed, as by `fftconvolve`.

    Parameters
    ----------
    in1, in2 : array
        As for `convolve`; integers become the default float, unless one of the inputs has length 1
        along every sliding axis.
    mode : {"full", "same", "valid"}, default "full"
        As for `convolve`.
    axes : int or tuple of int, optional
        Sliding axes; by default all. The other axes broadcast.

    Returns
    -------
    array
        As for `convolve`. Of empty inputs, empty with its rank kept.

    Raises
    ------
    ValueError, TypeError
        As for `convolve`.

    Notes
    -----
    Cost: O(N log K). Errors and non-finite samples stay within a frame of a few K points.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.signal.oaconvolve(np.ones(5), np.ones(2), mode="valid").round(12)
    array([2., 2., 2., 2.])
    """
    check_mode(mode)
    return _spectral(in1, in2, mode, axes, "overlap_save")


def _spectral(in1: Any, in2: Any, mode: str, axes: Any, method: str) -> Any:
    """A convolution in floating point, but of integers where nothing slides, as SciPy's."""
    given = in1, in2
    be, in1, in2, places = prepare(in1, in2, axes)
    slides = any(in1.shape[a] != 1 and in2.shape[a] != 1 for a in places)
    if slides and not be.is_floating(in1.dtype):
        _, in1, in2, _ = prepare(*given, axes, floats=True)
    return convolve_axes(in1, in2, places, mode, method)


def correlation_lags(
    in1_len: int, in2_len: int, mode: str = "full", *, xp: Any = None, device: Any = None
) -> Any:
    """The lag, in samples, that each output of a one-dimensional `correlate` belongs to.

    Parameters
    ----------
    in1_len, in2_len : int
        Lengths of the inputs.
    mode : {"full", "same", "valid"}, default "full"
        Mode of the correlation.
    xp : module or str, optional
        Array library of the result; NumPy by default.
    device : object, optional
        Its device.

    Returns
    -------
    array of int
        ``lags[i]`` is how far in2 is shifted to the right in output i.

    Raises
    ------
    ValueError
        If a length is below 1, or the mode is unknown.

    Notes
    -----
    With ``mode="same"``, an odd `in1_len` and an even `in2_len`, SciPy 1.17 returns lags one larger
    than those of its own `correlate`; these are the lags of the outputs.

    Examples
    --------
    >>> import swath
    >>> swath.signal.correlation_lags(4, 3)
    array([-2, -1,  0,  1,  2,  3])
    """
    with explain("correlation_lags", {}):
        n, k = arguments.positive("in1_len", in1_len), arguments.positive("in2_len", in2_len)
        check_mode(mode)
        be = backend_named("numpy") if xp is None else library(xp)
        device = arguments.device_of(be, device)
    if mode == "full":
        lags = np.arange(1 - k, n)
    elif mode == "same":
        first = 1 - k + (k - 1) // 2
        lags = np.arange(first, first + n)
    else:
        # The longer input contains the shorter one.
        lags = np.arange(n - k + 1) if n >= k else np.arange(n - k, 1)
    return be.from_host(lags, device)


def choose_conv_method(in1: Any, in2: Any, mode: str = "full") -> str:
    """Whether `convolve` with ``method="auto"`` would take a Fourier transform.

    Parameters
    ----------
    in1, in2 : array
        As for `convolve`; only shapes and dtypes count, values are never read.
    mode : {"full", "same", "valid"}, default "full"
        As for `convolve`.

    Returns
    -------
    {"direct", "fft"}
        ``"direct"`` stands for all algorithms that sum each window by itself, ``"fft"`` for those
        by Fourier transform. Integers are always computed directly, for those sums are exact.

    Raises
    ------
    ValueError, TypeError
        As for `convolve`.

    Notes
    -----
    SciPy reads the largest values of integers to see whether a transform is exact, and can measure
    (``measure=True``); `swath.plan` tells what is predicted for each algorithm.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.signal.choose_conv_method(np.ones(10**5), np.ones(31))
    'direct'
    """
    with explain("choose_conv_method", {"in1": in1, "in2": in2}):
        check_mode(mode)
        _, in1, in2, places = prepare(in1, in2, None)
    in1, in2 = primal(in1), primal(in2)
    if not places or 0 in in1.shape or 0 in in2.shape:
        return "direct"
    method = plan(convolve, in1, in2, mode).method
    return "fft" if method in ("fft", "overlap_save") else "direct"
