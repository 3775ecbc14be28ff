"""SciPy's windows (tapers) under SciPy's names, in any array library.

SciPy computes them on the host in float64; here they are moved to the library, the device and the
dtype asked for. Their parameters are numbers, known when the window is made: a traced or
differentiated parameter is refused.

In the definitions t runs from −1 to 1 over the points of a symmetric window.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from .. import arguments
from .._backends import try_backend
from ..autodiff import primal
from ..errors import ArgumentError, ArgumentTypeError, UnsupportedError, describe, explain
from ._coefficients import constant_only, host_values, library, placed

__all__ = [
    "barthann",
    "bartlett",
    "blackman",
    "blackmanharris",
    "bohman",
    "boxcar",
    "chebwin",
    "cosine",
    "dpss",
    "exponential",
    "flattop",
    "gaussian",
    "general_cosine",
    "general_gaussian",
    "general_hamming",
    "get_window",
    "hamming",
    "hann",
    "kaiser",
    "kaiser_bessel_derived",
    "lanczos",
    "nuttall",
    "parzen",
    "taylor",
    "triang",
    "tukey",
]

F = TypeVar("F", bound=Callable[..., Any])

# Parameters that have a value always, and are numbers.
_NUMBERS = frozenset({"NW", "alpha", "at", "beta", "p", "sig", "sll", "std", "tau"})

_SHARED = """sym : bool, default True
    Whether the window is symmetric, for filters; False gives a periodic one, for spectra (the
    symmetric window of M + 1 points without its last).
xp : module or str, optional
    Array library of the result; NumPy by default.
device : object, optional
    Its device.
dtype : str or dtype, optional
    Real floating dtype; by default the widest of the device.

Returns
-------
array
    The window; (M,) unless said otherwise above.

Raises
------
ValueError
    If M is negative or no whole number, or SciPy refuses a parameter.
TypeError
    If a parameter is no number.
NotImplementedError
    If a parameter is traced or differentiated: windows are computed on the host from numbers."""


def _shared(function: F) -> F:
    """Put what all windows have in common into a docstring."""
    text = function.__doc__
    if text is not None:  # None under python -OO
        function.__doc__ = inspect.cleandoc(text).replace("{shared}", _SHARED)
    return function


@dataclass(frozen=True)
class _Place:
    """Where a window is wanted."""

    xp: Any
    device: Any
    dtype: Any


def _parameter(name: str, value: Any) -> Any:
    """A parameter as SciPy takes it: a number (also in an array of one), a name, a flag or None."""
    if value is None or isinstance(value, bool | np.bool_ | str | Real):
        return value
    be = try_backend(primal(value))
    if be is not None and tuple(value.shape) == ():
        constant_only(be, name, value)
        number = be.concrete(value)
        if number is None:
            raise UnsupportedError(
                f"{name} is traced; windows are computed on the host from numbers: make it static, "
                f"or make the window outside and pass it in"
            )
        return number
    raise ArgumentTypeError(f"{name} must be a number, got {describe(primal(value))}")


def _made(name: str, place: _Place, M: Any, sym: Any, **parameters: Any) -> Any:
    """SciPy's window of this name, where it is wanted."""
    from scipy.signal import windows

    with explain(name, {}):
        if isinstance(M, float | np.floating):
            raise ArgumentError(f"M must be a whole number of points, an int; got {M}")
        count = arguments.positive("M", M, least=0)
        sym = arguments.flag("sym", sym)
        xp = place.xp
        if name == "general_cosine":
            found = try_backend(primal(parameters["a"]))
            xp = found.xp if xp is None and found is not None else xp
            parameters = {"a": host_values("a", parameters["a"])}
            if parameters["a"].ndim != 1:
                raise ArgumentError(
                    f"a must be a list of weights, (n,), got shape {parameters['a'].shape}"
                )
        else:
            parameters = {k: _parameter(k, v) for k, v in parameters.items()}
        for key in _NUMBERS & parameters.keys():
            if not isinstance(parameters[key], Real | np.bool_):
                raise ArgumentTypeError(f"{key} must be a number, got {describe(parameters[key])}")
        try:
            made = getattr(windows, name)(count, sym=sym, **parameters)
        except (TypeError, ValueError, OverflowError) as error:
            given = ", ".join(f"{k}={v!r}" for k, v in {"M": count, **parameters}.items())
            kind = ArgumentTypeError if isinstance(error, TypeError) else ArgumentError
            raise kind(f"SciPy does not make this window of {given}: {error}") from None
        be = library("numpy" if xp is None else xp)
        if isinstance(made, tuple):
            return tuple(placed(be, np.asarray(t), place.device, place.dtype) for t in made)
        return placed(be, np.asarray(made), place.device, place.dtype)


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
    NotImplementedError
        If a parameter of the window is traced or differentiated.

    Examples
    --------
    >>> import swath
    >>> swath.signal.get_window("hann", 4)
    array([0. , 0.5, 1. , 0.5])
    """
    with explain("get_window", {}):
        count = arguments.positive("Nx", Nx)
        fftbins = arguments.flag("fftbins", fftbins)
        be = library("numpy" if xp is None else xp)
        return placed(be, host_window(window, count, fftbins), device, dtype)


def host_window(window: Any, count: int, fftbins: bool) -> np.ndarray:
    """A window by name or by what `get_window` takes, as SciPy makes it on the host."""
    from scipy.signal import get_window as make

    if isinstance(window, tuple):
        if not window:
            raise ArgumentError("window must be the name of a window and its parameters, got ()")
        window = tuple(_entry(entry) for entry in window)
    elif try_backend(primal(window)) is not None:
        window = _parameter("window", window)
    try:
        return np.asarray(make(window, count, fftbins))
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        # IndexError: the weights of "general_cosine" are one number.
        raise ArgumentError(f"SciPy does not make window {window!r}: {error}") from None


def _entry(value: Any) -> Any:
    """One entry of a window's tuple: a number, or the weights of ``"general_cosine"``."""
    if isinstance(value, list | tuple) or getattr(value, "ndim", 0):
        return host_values("window", value)
    return _parameter("window", value)


@_shared
def barthann(
    M: int,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Bartlett-Hann window: a weighted sum of a triangle and a raised cosine.

    ::

        w(t) = 0.62 − 0.48 |t/2| + 0.38 cos(πt),     −1 <= t <= 1

    Parameters
    ----------
    M : int
        Number of points.
    {shared}

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.barthann(5).round(3)
    array([0. , 0.5, 1. , 0.5, 0. ])
    """
    return _made("barthann", _Place(xp, device, dtype), M, sym)


@_shared
def bartlett(
    M: int,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Bartlett window: a triangle with zeros at both ends.

    ::

        w(t) = 1 − |t|,     −1 <= t <= 1

    Parameters
    ----------
    M : int
        Number of points.
    {shared}

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.bartlett(5).round(3)
    array([0. , 0.5, 1. , 0.5, 0. ])
    """
    return _made("bartlett", _Place(xp, device, dtype), M, sym)


@_shared
def blackman(
    M: int,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Blackman window: three cosine terms, nearly the least leakage that they can have.

    ::

        w(t) = 0.42 + 0.5 cos(πt) + 0.08 cos(2πt),     −1 <= t <= 1

    Parameters
    ----------
    M : int
        Number of points.
    {shared}

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.blackman(5).round(3) + 0.0
    array([0.  , 0.34, 1.  , 0.34, 0.  ])
    """
    return _made("blackman", _Place(xp, device, dtype), M, sym)


@_shared
def blackmanharris(
    M: int,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Blackman-Harris window: four cosine terms with the least side lobes (−92 dB).

    ::

        w(t) = 0.35875 + 0.48829 cos(πt) + 0.14128 cos(2πt) + 0.01168 cos(3πt),     −1 <= t <= 1

    Parameters
    ----------
    M : int
        Number of points.
    {shared}

    References
    ----------
    .. [1] F. J. Harris, "On the use of windows for harmonic analysis with the discrete Fourier
       transform", Proc. IEEE 66, 1978.

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.blackmanharris(5).round(3) + 0.0
    array([0.   , 0.217, 1.   , 0.217, 0.   ])
    """
    return _made("blackmanharris", _Place(xp, device, dtype), M, sym)


@_shared
def bohman(
    M: int,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Bohman window: the convolution of two half-cycles of a cosine.

    ::

        w(t) = (1 − |t|) cos(π|t|) + sin(π|t|) / π,     −1 <= t <= 1

    Parameters
    ----------
    M : int
        Number of points.
    {shared}

    References
    ----------
    .. [1] F. J. Harris, "On the use of windows for harmonic analysis with the discrete Fourier
       transform", Proc. IEEE 66, 1978.

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.bohman(5).round(3)
    array([0.   , 0.318, 1.   , 0.318, 0.   ])
    """
    return _made("bohman", _Place(xp, device, dtype), M, sym)


@_shared
def boxcar(
    M: int,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Rectangular window: ones.

    ::

        w(t) = 1

    Parameters
    ----------
    M : int
        Number of points.
    {shared}

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.boxcar(3).round(3)
    array([1., 1., 1.])
    """
    return _made("boxcar", _Place(xp, device, dtype), M, sym)


@_shared
def chebwin(
    M: int,
    at: float,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Dolph-Chebyshev window: the narrowest main lobe for side lobes of equal height.

    ::

        W(ω) = cos(N arccos(β cos(ω/2))) / cosh(N arccosh β),     N = M − 1,
        cosh(N arccosh β) = 10^(at/20)

    Parameters
    ----------
    M : int
        Number of points.
    at : float
        Attenuation of the side lobes in decibels; should be positive, 45 or more for analysis.
    {shared}

    References
    ----------
    .. [1] C. L. Dolph, "A current distribution for broadside arrays which optimizes the
       relationship between beam width and side-lobe level", Proc. IRE 34, 1946.

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.chebwin(5, 60).round(3)
    array([0.188, 0.686, 1.   , 0.686, 0.188])
    """
    return _made("chebwin", _Place(xp, device, dtype), M, sym, at=at)


@_shared
def cosine(
    M: int,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Cosine window: half a cycle.

    ::

        w[n] = sin(π (n + 1/2) / M)

    Parameters
    ----------
    M : int
        Number of points.
    {shared}

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.cosine(4).round(3)
    array([0.383, 0.924, 0.924, 0.383])
    """
    return _made("cosine", _Place(xp, device, dtype), M, sym)


@_shared
def dpss(
    M: int,
    NW: float,
    Kmax: int | None = None,
    sym: bool = True,
    norm: int | str | None = None,
    return_ratios: bool = False,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Discrete prolate spheroidal (Slepian) sequences: the most energy within a band.

    The first maximises the share of its energy within ±NW/M cycles per sample; each further one
    does so among those orthogonal to the ones before.

    Parameters
    ----------
    M : int
        Number of points.
    NW : float
        Half the bandwidth times M; less than M/2.
    Kmax : int, optional
        How many sequences; by default the first alone, without an axis for them.
    norm : {2, "approximate", "subsample"}, optional
        Length 1; or the largest value 1, corrected for even M by M²/(M² + NW) or by interpolation.
        By default 2 where `Kmax` is given, else ``"approximate"``.
    return_ratios : bool, default False
        Whether the shares of energy within the band are returned too, as (window, ratios).
    {shared}

    References
    ----------
    .. [1] D. Slepian, "Prolate spheroidal wave functions, Fourier analysis, and uncertainty V:
       the discrete case", Bell Syst. Tech. J. 57, 1978.
    .. [2] D. B. Percival and A. T. Walden, *Spectral Analysis for Physical Applications*,
       Cambridge University Press 1993.

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.dpss(4, 1.5).round(3)
    array([0.345, 0.914, 0.914, 0.345])
    """
    place = _Place(xp, device, dtype)
    return _made("dpss", place, M, sym, NW=NW, Kmax=Kmax, norm=norm, return_ratios=return_ratios)


@_shared
def exponential(
    M: int,
    center: float | None = None,
    tau: float = 1.0,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Exponential (Poisson) window.

    ::

        w[n] = e^{−|n − center| / tau}

    Parameters
    ----------
    M : int
        Number of points.
    center : float, optional
        Place of the peak, by default the middle; any other needs ``sym=False``.
    tau : float, default 1.0
        Decay in samples.
    {shared}

    References
    ----------
    .. [1] F. J. Harris, "On the use of windows for harmonic analysis with the discrete Fourier
       transform", Proc. IEEE 66, 1978.

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.exponential(5).round(3)
    array([0.135, 0.368, 1.   , 0.368, 0.135])
    """
    return _made("exponential", _Place(xp, device, dtype), M, sym, center=center, tau=tau)


@_shared
def flattop(
    M: int,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Flat-top window: five cosine terms, for reading amplitudes off a spectrum.

    ::

        w(t) = Σ_k a_k cos(kπt),     −1 <= t <= 1,
        a = 0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368

    Parameters
    ----------
    M : int
        Number of points.
    {shared}

    References
    ----------
    .. [1] G. D'Antona and A. Ferrero, *Digital Signal Processing for Measurement Systems*,
       Springer 2006, p. 70.

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.flattop(5).round(3) + 0.0
    array([ 0.   , -0.055,  1.   , -0.055,  0.   ])
    """
    return _made("flattop", _Place(xp, device, dtype), M, sym)


@_shared
def gaussian(
    M: int,
    std: float,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Gaussian window.

    ::

        w(n) = e^{−n² / 2σ²},     n from the middle

    Parameters
    ----------
    M : int
        Number of points.
    std : float
        Standard deviation σ in samples.
    {shared}

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.gaussian(5, 1.0).round(3)
    array([0.135, 0.607, 1.   , 0.607, 0.135])
    """
    return _made("gaussian", _Place(xp, device, dtype), M, sym, std=std)


@_shared
def general_cosine(
    M: int,
    a: Any,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Weighted sum of cosines.

    ::

        w(t) = Σ_k a[k] cos(kπt),     −1 <= t <= 1

    Parameters
    ----------
    M : int
        Number of points.
    a : array or sequence of float
        Weights, all positive for the usual windows. An array decides where the result lives,
        unless `xp` does.
    {shared}

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.general_cosine(5, [0.5, 0.5]).round(3)
    array([0. , 0.5, 1. , 0.5, 0. ])
    """
    return _made("general_cosine", _Place(xp, device, dtype), M, sym, a=a)


@_shared
def general_gaussian(
    M: int,
    p: float,
    sig: float,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Generalised Gaussian window.

    ::

        w(n) = e^{−|n/σ|^{2p} / 2},     n from the middle

    Parameters
    ----------
    M : int
        Number of points.
    p : float
        Shape: 1 is a Gaussian, 1/2 that of the Laplace distribution.
    sig : float
        Standard deviation σ in samples.
    {shared}

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.general_gaussian(5, 1.5, 1.0).round(3)
    array([0.018, 0.607, 1.   , 0.607, 0.018])
    """
    return _made("general_gaussian", _Place(xp, device, dtype), M, sym, p=p, sig=sig)


@_shared
def general_hamming(
    M: int,
    alpha: float,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Generalised Hamming window: a raised cosine on a pedestal.

    ::

        w(t) = α + (1 − α) cos(πt),     −1 <= t <= 1

    Parameters
    ----------
    M : int
        Number of points.
    alpha : float
        α: 1/2 is the Hann window, 0.54 the Hamming window.
    {shared}

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.general_hamming(5, 0.6).round(3)
    array([0.2, 0.6, 1. , 0.6, 0.2])
    """
    return _made("general_hamming", _Place(xp, device, dtype), M, sym, alpha=alpha)


@_shared
def hamming(
    M: int,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Hamming window: a raised cosine on a pedestal that cancels the first side lobe.

    ::

        w(t) = 0.54 + 0.46 cos(πt),     −1 <= t <= 1

    Parameters
    ----------
    M : int
        Number of points.
    {shared}

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.hamming(5).round(3)
    array([0.08, 0.54, 1.  , 0.54, 0.08])
    """
    return _made("hamming", _Place(xp, device, dtype), M, sym)


@_shared
def hann(
    M: int,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Hann window: a raised cosine.

    ::

        w(t) = 1/2 + 1/2 cos(πt),     −1 <= t <= 1

    Parameters
    ----------
    M : int
        Number of points.
    {shared}

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.hann(5).round(3)
    array([0. , 0.5, 1. , 0.5, 0. ])
    """
    return _made("hann", _Place(xp, device, dtype), M, sym)


@_shared
def kaiser(
    M: int,
    beta: float,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Kaiser window: nearly the most energy in the main lobe.

    ::

        w(t) = I₀(β √(1 − t²)) / I₀(β),     −1 <= t <= 1

    Parameters
    ----------
    M : int
        Number of points.
    beta : float
        Shape: 0 is rectangular, 5 near Hamming, 6 near Hann, 8.6 near Blackman.
    {shared}

    References
    ----------
    .. [1] J. F. Kaiser and R. W. Schafer, "On the use of the I₀-sinh window for spectrum
       analysis", IEEE Trans. ASSP 28, 1980.

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.kaiser(5, 4.0).round(3)
    array([0.088, 0.633, 1.   , 0.633, 0.088])
    """
    return _made("kaiser", _Place(xp, device, dtype), M, sym, beta=beta)


@_shared
def kaiser_bessel_derived(
    M: int,
    beta: float,
    *,
    sym: bool = True,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Kaiser-Bessel derived window: its square and its half-shifted square add to 1.

    ::

        w[n]² = Σ_{j <= n} k[j] / Σ_j k[j],     n < M/2,     k a Kaiser window of M/2 + 1 points

    Parameters
    ----------
    M : int
        Number of points.
    beta : float
        Shape of the Kaiser window that it is made of.
    {shared}

    References
    ----------
    .. [1] M. Bosi and R. E. Goldberg, *Introduction to Digital Audio Coding and Standards*,
       Springer 2003, ch. 5.

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.kaiser_bessel_derived(4, 4.0).round(3)
    array([0.274, 0.962, 0.962, 0.274])
    """
    return _made("kaiser_bessel_derived", _Place(xp, device, dtype), M, sym, beta=beta)


@_shared
def lanczos(
    M: int,
    *,
    sym: bool = True,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Lanczos window: the main lobe of a sinc.

    ::

        w(t) = sin(πt) / (πt),     −1 <= t <= 1

    Parameters
    ----------
    M : int
        Number of points.
    {shared}

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.lanczos(5).round(3) + 0.0
    array([0.   , 0.637, 1.   , 0.637, 0.   ])
    """
    return _made("lanczos", _Place(xp, device, dtype), M, sym)


@_shared
def nuttall(
    M: int,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Nuttall's four-term Blackman-Harris window, of least side lobes.

    ::

        w(t) = 0.3635819 + 0.4891775 cos(πt) + 0.1365995 cos(2πt) + 0.0106411 cos(3πt)

    Parameters
    ----------
    M : int
        Number of points.
    {shared}

    References
    ----------
    .. [1] A. H. Nuttall, "Some windows with very good sidelobe behavior", IEEE Trans. ASSP 29,
       1981.

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.nuttall(5).round(3) + 0.0
    array([0.   , 0.227, 1.   , 0.227, 0.   ])
    """
    return _made("nuttall", _Place(xp, device, dtype), M, sym)


@_shared
def parzen(
    M: int,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Parzen window: a cubic spline, the convolution of two triangles.

    ::

        w(t) = 1 − 6t² (1 − |t|)  for |t| <= 1/2,      2 (1 − |t|)³  beyond;     t = 2n/M

    Parameters
    ----------
    M : int
        Number of points.
    {shared}

    References
    ----------
    .. [1] E. Parzen, "Mathematical considerations in the estimation of spectra", Technometrics 3,
       1961.

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.parzen(5).round(3)
    array([0.016, 0.424, 1.   , 0.424, 0.016])
    """
    return _made("parzen", _Place(xp, device, dtype), M, sym)


@_shared
def taylor(
    M: int,
    nbar: int = 4,
    sll: float = 30,
    norm: bool = True,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Taylor window: side lobes of equal height near the main lobe, falling beyond.

    ::

        w(n) = 1 + 2 Σ_{m < nbar} F_m cos(2πm n / M),     n from the middle

    Parameters
    ----------
    M : int
        Number of points.
    nbar : int, default 4
        How many side lobes next to the main lobe are of nearly equal height.
    sll : float, default 30
        Their suppression in decibels, positive.
    norm : bool, default True
        Whether the largest value (of the symmetric window of odd length) is made 1.
    {shared}

    References
    ----------
    .. [1] A. W. Doerry, "Catalog of window taper functions for sidelobe control", Sandia Report
       SAND2017-4042, 2017.

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.taylor(4).round(3)
    array([0.378, 0.905, 0.905, 0.378])
    """
    return _made("taylor", _Place(xp, device, dtype), M, sym, nbar=nbar, sll=sll, norm=norm)


@_shared
def triang(
    M: int,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Triangular window without zeros at its ends.

    ::

        w(n) = 1 − |n| / L,     n from the middle; L = (M + 1)/2 for odd M, M/2 for even M

    Parameters
    ----------
    M : int
        Number of points.
    {shared}

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.triang(5).round(3)
    array([0.333, 0.667, 1.   , 0.667, 0.333])
    """
    return _made("triang", _Place(xp, device, dtype), M, sym)


@_shared
def tukey(
    M: int,
    alpha: float = 0.5,
    sym: bool = True,
    *,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Tukey window: flat, with a raised cosine at each end.

    ::

        w(t) = 1  for |t| <= 1 − α,      1/2 + 1/2 cos(π (|t| − 1 + α) / α)  beyond;     |t| <= 1

    Parameters
    ----------
    M : int
        Number of points.
    alpha : float, default 0.5
        The share of the window inside the tapers: 0 is rectangular, 1 the Hann window.
    {shared}

    References
    ----------
    .. [1] F. J. Harris, "On the use of windows for harmonic analysis with the discrete Fourier
       transform", Proc. IEEE 66, 1978.

    Examples
    --------
    >>> import swath
    >>> swath.signal.windows.tukey(5).round(3)
    array([0., 1., 1., 1., 0.])
    """
    return _made("tukey", _Place(xp, device, dtype), M, sym, alpha=alpha)
