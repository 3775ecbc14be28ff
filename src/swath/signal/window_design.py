"""FIR design by windows, and SciPy's windows themselves."""

from __future__ import annotations

from math import pi
from numbers import Real
from typing import Any

import numpy as np

from .. import _ops, arguments
from .._backends import Backend, backend_named, try_backend
from ..autodiff import primal
from ..errors import ArgumentError, ArgumentTypeError, describe, explain
from ..registry import operation
from ._coefficients import float_name, library, sampling_rate

__all__ = ["firwin", "get_window"]

Array = Any
_KINDS = {"lowpass": True, "bandstop": True, "highpass": False, "bandpass": False}


def get_window(
    window: Any,
    Nx: int,
    fftbins: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """A window by its name, as `scipy.signal.get_window` makes it, in any array library.

    Parameters
    ----------
    window : str, float or tuple
        As SciPy's: ``"hann"``, ``("kaiser", beta)``, a number (the beta of a Kaiser window), ….
    Nx : int
        Number of points.
    fftbins : bool, default True
        Whether the window is periodic, for spectral analysis; False gives a symmetric one, for
        filters.
    xp : module or str, optional
        Array library of the result; NumPy by default.
    device : object, optional
        Its device.
    dtype : str or dtype, optional
        Real floating dtype; by default the widest of the device.

    Returns
    -------
    array of shape (Nx,)
        Computed on the host in float64.

    Raises
    ------
    ValueError
        If the window is unknown or `Nx` below 1.

    Examples
    --------
    >>> import swath
    >>> swath.signal.get_window("hann", 4)
    array([0. , 0.5, 1. , 0.5])
    """
    from scipy.signal import get_window as make

    with explain("get_window", {}):
        count = arguments.positive("Nx", Nx)
        be = backend_named("numpy") if xp is None else library(xp)
        try:
            table = make(window, count, fftbins)
        except ValueError as error:
            raise ArgumentError(f"SciPy does not make window {window!r}: {error}") from None
        return _placed(be, np.asarray(table), device, dtype)


def _placed(be: Backend, table: np.ndarray, device: Any, dtype: Any) -> Array:
    """A float64 host table in the library, on the device and in the dtype asked for."""
    probe = be.from_host(np.zeros(1, np.int32), arguments.device_of(be, device))
    if dtype is None:
        name = "float64" if be.has_float64(probe) else "float32"
    else:
        name = float_name(be, dtype)
    return be.constant(table, probe, be.dtype(name))


@operation("signal.firwin", differentiable=("cutoff",), arrays=("cutoff",), reads_values=True)
def firwin(
    numtaps: int,
    cutoff: Any,
    *,
    width: float | None = None,
    window: Any = "hamming",
    pass_zero: bool | str = True,
    scale: bool = True,
    fs: float | None = None,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """A linear-phase FIR filter by the window method.

    The ideal response, 1 in the pass bands and 0 elsewhere, has the taps
    ``Σ ±sin(π c (k − (K−1)/2)) / (π (k − (K−1)/2))`` with c the band edges; they are multiplied by
    a window.

    Parameters
    ----------
    numtaps : int
        K; odd where the filter passes fs/2.
    cutoff : number or array of shape (F,)
        Band edges (where the gain is about 1/2), increasing, between 0 and fs/2.
    width : float, optional
        Width of the transition in units of `fs`: sets a Kaiser window in place of `window`.
    window : str, float, tuple or array of shape (K,), default "hamming"
        As in `get_window`.
    pass_zero : bool or {"lowpass", "highpass", "bandpass", "bandstop"}, default True
        Whether frequency 0 passes, or the kind of filter.
    scale : bool, default True
        Whether the gain in the middle of the first pass band (0 or fs/2, if that belongs to it) is
        made exactly 1.
    fs : float, optional
        Sampling rate; 2 by default, so that 1 is the Nyquist frequency.
    xp : module or str, optional
        Array library of the result where `cutoff` is no array; NumPy by default.
    device : object, optional
        Device of the result where `cutoff` is no array.
    dtype : str or dtype, optional
        Real floating dtype of the taps; by default that of `cutoff`, or the widest of the device.

    Returns
    -------
    array of shape (K,)
        The taps.

    Raises
    ------
    ValueError
        If edges are not increasing between 0 and fs/2 (looked at only where their values are
        known), do not fit `pass_zero`, or `numtaps` is even for a filter that passes fs/2.
    TypeError
        If `cutoff` is not real.

    Notes
    -----
    Cost: K·F. Numbers and lists are worked on in float64 on the host; an array stays where it is,
    and the taps are differentiable in it.

    References
    ----------
    .. [1] A. V. Oppenheim and R. W. Schafer, *Discrete-Time Signal Processing*, 3rd ed., ch. 7.

    Examples
    --------
    >>> import swath
    >>> swath.signal.firwin(3, 0.5, window="boxcar").round(4)
    array([0.28  , 0.4399, 0.28  ])
    """
    taps = arguments.positive("numtaps", numtaps)
    rate = 2.0 if fs is None else sampling_rate(fs)
    given = try_backend(primal(cutoff)) is not None
    if given:
        if xp is not None and library(xp) is not try_backend(primal(cutoff)):
            raise ArgumentTypeError(f"xp is {library(xp).name}, but cutoff is {describe(cutoff)}")
        be, edges = arguments.one_array("cutoff", cutoff)
    else:
        table = arguments.one_array("cutoff", cutoff)[1]
        be, edges = backend_named("numpy"), np.asarray(table)
    arguments.numeric(be, "cutoff", edges)
    arguments.real_only(be, "cutoff", edges)
    (edges,) = arguments.floating(be, edges)
    kind = edges.dtype
    if be.is_half(kind):
        edges = _ops.cast(edges, be.dtype("float32"))
    if edges.ndim > 1:
        raise ArgumentError(f"cutoff must have at most one axis, got shape {tuple(edges.shape)}")
    edges = _ops.reshape(edges, (-1,)) if edges.ndim else _ops.reshape(edges, (1,))
    passes = _passes(pass_zero, edges.shape[0])
    edges = _ops.multiply(edges, _ops.fill_like(edges, (), 2.0 / rate))
    if not _increasing(be, primal(edges)):
        raise ArgumentError(
            f"cutoff must increase and lie strictly between 0 and fs/2 = {rate / 2}, "
            f"got {cutoff if not given else 'an array that does not'}"
        )
    nyquist = (edges.shape[0] % 2 == 0) == passes
    if nyquist and taps % 2 == 0:
        raise ArgumentError(
            f"numtaps must be odd for a filter that passes fs/2, got {taps}: a symmetric filter of "
            f"even length has gain 0 there"
        )
    shape = _shape(be, window, width, taps, rate, primal(edges))
    h = _ops.multiply(_ideal(be, taps, edges, passes, nyquist), shape)
    if scale:
        h = _scaled(be, h, edges, passes)
    if not given:
        target = backend_named("numpy") if xp is None else library(xp)
        return _placed(target, h, device, dtype)
    if dtype is not None:
        kind = primal(_placed(be, np.zeros(1), None, dtype)).dtype
    return _ops.cast(h, kind)


def _passes(pass_zero: Any, count: int) -> bool:
    """Whether frequency 0 passes, after a check of the number of edges."""
    if count == 0:
        raise ArgumentError("cutoff must have at least one edge, got none")
    if isinstance(pass_zero, bool):
        return pass_zero
    arguments.choice("pass_zero", pass_zero, ("lowpass", "highpass", "bandpass", "bandstop"))
    if pass_zero in ("lowpass", "highpass") and count != 1:
        raise ArgumentError(f"a {pass_zero} filter has one edge, got cutoff of {count}")
    if pass_zero in ("bandpass", "bandstop") and count < 2:
        raise ArgumentError(f"a {pass_zero} filter has at least two edges, got cutoff of {count}")
    return _KINDS[pass_zero]


def _increasing(be: Backend, edges: Array) -> bool:
    """Whether 0 < c₀ < c₁ < … < 1; True where values are not known."""
    xp = be.xp
    ends = (be.new_like(edges, (1,)), be.new_like(edges, (1,), fill=1))
    bounds = xp.concat([ends[0], edges, ends[1]], axis=0)
    return be.concrete(xp.all(bounds[1:] > bounds[:-1])) is not False


def _shape(be: Backend, window: Any, width: Any, taps: int, rate: float, like: Array) -> Array:
    """The window beside the edges."""
    from scipy import signal

    if width is not None:
        if isinstance(width, bool) or not isinstance(width, Real):
            raise ArgumentTypeError(f"width must be a number, got {describe(width)}")
        if not 0 < float(width) < rate / 2:
            raise ArgumentError(f"width must lie between 0 and fs/2 = {rate / 2}, got {width}")
        beta = signal.kaiser_beta(signal.kaiser_atten(taps, float(width) / (rate / 2)))
        window = ("kaiser", beta)
    if try_backend(window) is not None:
        _, (_, shape) = arguments.arrays(cutoff=like, window=window)
        if tuple(shape.shape) != (taps,):
            raise ArgumentError(
                f"window must have the {taps} points of the filter, got {tuple(shape.shape)}"
            )
        return be.xp.astype(shape, like.dtype)
    try:
        table = signal.get_window(window, taps, fftbins=False)
    except ValueError as error:
        raise ArgumentError(f"SciPy does not make window {window!r}: {error}") from None
    return be.constant(np.asarray(table), like, like.dtype)


def _places(taps: int) -> np.ndarray:
    return np.arange(taps) - (taps - 1) / 2


def _ideal(be: Backend, taps: int, edges: Any, passes: bool, nyquist: bool) -> Any:
    """Taps of the ideal response: every edge closes (+) or opens (−) a pass band."""
    m, count = _places(taps), edges.shape[0]
    plain = primal(edges)
    centre = m == 0
    share = np.where(centre, 0.0, 1.0 / (pi * np.where(centre, 1.0, m)))
    first = 1.0 if passes else -1.0
    signs = be.constant([[first * (-1.0) ** j for j in range(count)]], plain, plain.dtype)
    column = _ops.reshape(edges, (count, 1))
    row = be.constant((pi * m)[None, :], plain, plain.dtype)
    waves = _ops.multiply(
        _ops.sin(_ops.multiply(column, row)), be.constant(share[None, :], plain, plain.dtype)
    )
    middle = be.constant(centre[None, :].astype(float), plain, plain.dtype)
    waves = _ops.add(waves, _ops.multiply(column, middle))
    h = _ops.reshape(_ops.matmul(signs, waves), (taps,))
    # A last band up to fs/2 closes at edge 1, whose taps are a single 1.
    return _ops.add(h, _ops.reshape(middle, (taps,))) if nyquist else h


def _scaled(be: Backend, h: Any, edges: Any, passes: bool) -> Any:
    """h with gain 1 in the middle of its first pass band."""
    m, plain = _places(h.shape[0]), primal(edges)
    if passes:
        return _ops.divide(h, _ops.total(h, (0,)))
    if edges.shape[0] == 1:
        waves: Any = be.constant(np.cos(pi * m), plain, plain.dtype)
    else:
        half = _ops.fill_like(edges, (), 0.5)
        middle = _ops.multiply(_ops.total(_ops.cut(edges, slice(0, 2)), (0,)), half)
        waves = _ops.cos(_ops.multiply(middle, be.constant(pi * m, plain, plain.dtype)))
    return _ops.divide(h, _ops.total(_ops.multiply(h, waves), (0,)))
