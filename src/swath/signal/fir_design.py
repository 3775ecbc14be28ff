"""Taps from conditions on the transfer function: at frequencies, over bands, or minimax.

Conditions are linear in the taps, so that squares lead to normal equations: at single frequencies
(fir_from_response) AᵀA of a row of cosines each, over bands (firls) a Toeplitz plus a Hankel matrix
of integrals. The minimax filter and the minimum phase are SciPy's, computed on the host.
"""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np

from .. import _ops, arguments
from .._backends import Backend, backend_named
from ..autodiff import primal
from ..errors import ArgumentError, ArgumentTypeError
from ..linalg import hankel, lstsq, toeplitz
from ..registry import operation
from ._coefficients import (
    angles_of,
    arrays_among,
    design_arrays,
    float_name,
    host_values,
    library,
    sampling_rate,
)

__all__ = ["fir_from_response", "firls", "minimum_phase", "remez"]

Array = Any


def _gains(freqs: Any, gains: Any, weight: Any, xp: Any, device: Any) -> tuple[Backend, Any, Any]:
    """Gains and weight as arrays of the library and on the device of the arrays, or of xp's."""
    found = arrays_among(xp, {"freqs": freqs, "gains": gains, "weight": weight})
    if found:
        beside: Any = {k: v for k, v in found.items() if k == "freqs"}
    else:
        # An array that stands beside lists tells them where to go.
        be = backend_named("numpy") if xp is None else library(xp)
        place = arguments.device_of(be, device)
        beside = {"freqs": be.from_host(np.zeros(1, np.int32), place)}
    be, (*_, gains, weight) = arguments.dividing("weight", **beside, gains=gains, weight=weight)
    return be, gains, weight


def _dtype(be: Backend, dtype: Any, gains: Any) -> Any:
    """The real dtype of the taps."""
    if dtype is None:
        return be.real_dtype(gains.dtype)
    return be.dtype(float_name(be, dtype))


def _table(be: Backend, angles: Array, steps: Any, like: Any, kind: Any, wave: str) -> Array:
    """cos or sin of ω·s, a row for every frequency and a column for every step s."""
    if isinstance(angles, np.ndarray):
        return be.constant(getattr(np, wave)(np.outer(angles, steps)), primal(like), kind)
    xp = be.xp
    column = be.constant(list(steps), angles, angles.dtype)
    phase = xp.reshape(angles, (-1, 1)) * xp.reshape(column, (1, -1))
    return xp.astype(getattr(xp, wave)(phase), kind)


@operation(
    "signal.fir_from_response",
    differentiable=("gains", "weight"),
    arrays=("freqs", "gains", "weight"),
    reads_values=True,
)
def fir_from_response(
    numtaps: int,
    freqs: Any,
    gains: Any,
    *,
    symmetric: bool = True,
    weight: Any = None,
    fs: float = 2 * pi,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """Taps of a FIR filter that meets gains at frequencies, by least squares through AᵀA.

    A symmetric filter of K taps, centred at c = (K − 1) / 2, has the response::

        λ(ω) = Σ_k h[k] cos(ω(k − c)),     ⌈K/2⌉ free taps

    any other, H(ω) = Σ_k h[k] e^{−iωk} with K free taps. With as many conditions as free taps
    they are met exactly; with more, Σ_m weight[m] · |response(ω_m) − gains[m]|² is least.

    Parameters
    ----------
    numtaps : int
        K.
    freqs : array of shape (M,)
        Frequencies, in units of `fs`.
    gains : array of shape (M,)
        The response wanted at each: real ones of the centred (zero-phase) filter if `symmetric`,
        else complex ones of the causal filter.
    symmetric : bool, default True
        Whether h[k] = h[K − 1 − k] (linear phase).
    weight : array of shape (M,), optional
        Of the squared errors; not negative. By default 1.
    fs : float, default 2π
        Sampling rate. By default frequencies are in radians per sample.
    xp : module or str, optional
        Array library for arguments that are lists; by default that of the arrays, else NumPy.
    device : object, optional
        Device for arguments that are lists.
    dtype : dtype or str, optional
        Real floating dtype of the taps; by default that of `gains`, and the device's default float
        for integers.

    Returns
    -------
    array of shape (K,)
        Real taps. Where conditions depend on each other (repeated frequencies; with an even,
        symmetric filter also fs/2, where its response is always 0) the smallest taps that fit best.

    Raises
    ------
    ValueError
        If there are fewer conditions than free taps, lengths differ, or `numtaps` is below 1.
    TypeError
        If a symmetric filter is asked for complex gains, or `freqs` or `weight` is complex.

    Notes
    -----
    Without symmetry a frequency gives two conditions (real and imaginary part), but one only at 0
    and fs/2, where a real filter has a real response.

    Cost: M·K² multiply-adds. Frequencies that are given as numbers enter in float64, those in an
    array in the array's precision. Differentiable in `gains` and `weight`.

    References
    ----------
    .. [1] G. Strang, *Introduction to Applied Mathematics*, Wellesley-Cambridge 1986.
    .. [2] R. W. Hamming, *Digital Filters*, 3rd ed., Prentice Hall 1989.

    Examples
    --------
    Three taps that keep π/3 as it is and block 2π/3:

    >>> import numpy as np, swath
    >>> swath.signal.fir_from_response(3, [np.pi / 3, 2 * np.pi / 3], [1.0, 0.0]).round(15)
    array([0.5, 0.5, 0.5])
    """
    taps = arguments.positive("numtaps", numtaps)
    symmetric = arguments.flag("symmetric", symmetric)
    rate = sampling_rate(fs)
    be, gains, weight = _gains(freqs, gains, weight, xp, device)
    arguments.numeric(be, "gains", gains)
    (gains,) = arguments.floating(be, gains)
    kind = _dtype(be, dtype, gains)
    if symmetric and be.is_complex(primal(gains)):
        raise ArgumentTypeError(
            "gains of a symmetric filter are those of the centred filter and real; got complex "
            "ones: pass symmetric=False for a filter with a phase of its own"
        )
    work = be.dtype("float32") if be.is_half(kind) else kind
    like = _ops.fill_like(gains, (), dtype=work)
    angles = angles_of(be, "freqs", freqs, "gains", like, rate)
    count = _lengths(angles, gains, weight)
    if weight is not None:
        arguments.numeric(be, "weight", weight)
        arguments.real_only(be, "weight", weight)
        if be.concrete(be.xp.any(primal(weight) < 0)) is True:
            raise ArgumentError("weight must be 0 or more")
        weight = _ops.cast(weight, work)
    free = (taps + 1) // 2 if symmetric else taps
    conditions = count if symmetric else 2 * count
    if conditions < free:
        need = free if symmetric else (free + 1) // 2
        raise ArgumentError(
            f"{taps} taps have {free} free ones{' (symmetric)' if symmetric else ''} and need at "
            f"least {need} frequencies, got {count}; give more frequencies or fewer taps"
        )
    if symmetric:
        half = _symmetric_half(be, taps, angles, _ops.cast(gains, work), weight)
        mirrored = _ops.cut(half, slice(taps % 2, None))
        h = _ops.concat([_ops.flip(mirrored, (0,)), half], 0)
    else:
        h = _causal(be, taps, angles, gains, work, weight)
    return _ops.cast(h, kind)


def _lengths(angles: Array, gains: Any, weight: Any) -> int:
    if angles.ndim != 1:
        raise ArgumentError(f"freqs must have one axis, got shape {tuple(angles.shape)}")
    count = angles.shape[0]
    for name, value in (("gains", gains), ("weight", weight)):
        if value is not None and tuple(value.shape) != (count,):
            raise ArgumentError(
                f"{name} must have one entry for each of the {count} frequencies, got shape "
                f"{tuple(value.shape)}"
            )
    return count


def _symmetric_half(be: Backend, taps: int, angles: Array, gains: Any, weight: Any) -> Any:
    """The taps from the middle outwards."""
    # Column j holds what one pair of equal taps, j (or j + 1/2) from the middle, contributes.
    steps = np.arange((taps + 1) // 2) + (0.0 if taps % 2 else 0.5)
    pairs = np.where(steps == 0, 1.0, 2.0)
    kind = gains.dtype
    table = _table(be, angles, steps.tolist(), gains, kind, "cos")
    table = table * be.constant(pairs[None, :], table, kind)
    return lstsq(table, gains, weights=weight).x


def _causal(be: Backend, taps: int, angles: Array, gains: Any, kind: Any, weight: Any) -> Any:
    """All taps, from the real and the imaginary parts of the conditions."""
    steps = [float(k) for k in range(taps)]
    xp = be.xp
    waves = [_table(be, angles, steps, gains, kind, w) for w in ("cos", "sin")]
    table = xp.concat([waves[0], -waves[1]], axis=0)
    if be.is_complex(primal(gains)):
        turned = _ops.multiply(gains, _ops.fill_like(gains, (), -1j))
        parts = [_ops.real(gains), _ops.real(turned)]
    else:
        parts = [gains, _ops.fill_like(gains, gains.shape)]
    right = _ops.concat([_ops.cast(p, kind) for p in parts], 0)
    if weight is not None:
        weight = _ops.concat([weight, weight], 0)
    return lstsq(table, right, weights=weight).x


# -- bands --------------------------------------------------------------------------------------


@operation(
    "signal.firls",
    differentiable=("bands", "desired", "weight"),
    arrays=("bands", "desired", "weight"),
    reads_values=True,
)
def firls(
    numtaps: int,
    bands: Any,
    desired: Any,
    *,
    weight: Any = None,
    fs: float | None = None,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """The symmetric FIR filter whose response is nearest to a wanted one over bands.

    With the response λ(ω) of the centred filter and D running linearly from end to end of each
    band, it makes least::

        Σ_bands weight · ∫ (λ(ω) − D(ω))² dω

    Parameters
    ----------
    numtaps : int
        K, odd.
    bands : array of shape (2·B,) or (B, 2)
        Where each band begins and ends, in units of `fs`; increasing, none overlapping.
    desired : array of shape (2·B,) or (B, 2)
        The response at both ends of each band; not negative.
    weight : array of shape (B,), optional
        Of each band; not negative. By default 1.
    fs : float, optional
        Sampling rate; 2 by default, so that 1 is the Nyquist frequency.
    xp : module or str, optional
        Array library of the result where no argument is an array; NumPy by default.
    device : object, optional
        Its device, likewise.
    dtype : str or dtype, optional
        Real floating dtype of the taps; by default that of the arrays, or the widest of the device.

    Returns
    -------
    array of shape (K,)
        The taps; of several best ones (bands too narrow to tell them apart) the smallest.

    Raises
    ------
    ValueError
        If `numtaps` is even, lengths do not fit, bands are empty, overlap or leave 0 … fs/2, or a
        gain or weight is negative (values are looked at only where they are known).
    TypeError
        If an argument is not real, or they live in different libraries.

    Notes
    -----
    The normal equations are ``(T + H) a = b`` with a Toeplitz and a Hankel matrix of
    ``q[n] = Σ weight · ∫ cos(πnf) df``, and with ``b[n] = Σ weight · ∫ D(f) cos(πnf) df``. Wide
    gaps between bands make them ill-conditioned; then the orthogonal route of `swath.linalg.lstsq`
    is taken, in the precision of the arrays (lists: float64).

    Cost: K³ / 12 or so multiply-adds, K·B sines. Differentiable in all three arrays.

    References
    ----------
    .. [1] I. W. Selesnick, "Linear-phase FIR filter design by least squares", OpenStax CNX, 2005.

    Examples
    --------
    >>> import swath
    >>> swath.signal.firls(5, [0.0, 0.4, 0.6, 1.0], [1.0, 1.0, 0.0, 0.0]).round(4) + 0.0
    array([0.    , 0.3067, 0.5   , 0.3067, 0.    ])
    """
    taps = arguments.positive("numtaps", numtaps)
    if taps % 2 == 0:
        raise ArgumentError(f"numtaps must be odd, got {taps}: there is a tap in the middle")
    nyquist = 1.0 if fs is None else sampling_rate(fs) / 2
    be, (bands, desired, weight), finish = design_arrays(
        xp, device, dtype, "weight", bands=bands, desired=desired, weight=weight
    )
    ends, wanted = _ops.reshape(bands, (-1,)), _ops.reshape(desired, (-1,))
    if ends.shape[0] % 2 or ends.shape[0] == 0:
        raise ArgumentError(
            f"bands must be pairs of frequencies, at least one, got shape {tuple(bands.shape)}"
        )
    if wanted.shape[0] != ends.shape[0]:
        raise ArgumentError(
            f"desired must have one gain for each of the {ends.shape[0]} ends of bands, got shape "
            f"{tuple(desired.shape)}"
        )
    count = ends.shape[0] // 2
    if weight is None:
        weight = _ops.fill_like(ends, (count,), 1)
    weight = _ops.reshape(weight, (-1,))
    if weight.shape[0] != count:
        raise ArgumentError(
            f"weight must have one entry for each of the {count} bands, got {weight.shape[0]}"
        )
    ends = _ops.multiply(ends, _ops.fill_like(ends, (), 1.0 / nyquist))
    _bands_checked(be, primal(ends), nyquist)
    for name, value in (("desired", wanted), ("weight", weight)):
        if be.concrete(be.xp.any(primal(value) < 0)) is True:
            raise ArgumentError(f"{name} must be 0 or more")
    q, b = _integrals(be, taps, ends, wanted, weight)
    half = taps // 2
    first = _ops.cut(q, slice(0, half + 1))
    matrix = _ops.add(toeplitz(first), hankel(first, _ops.cut(q, slice(half, None))))
    a = lstsq(matrix, b).x
    # λ(ω) = a₀ + Σ 2aₙ cos(nω) of the halved matrix: the middle tap counts once, the others twice.
    middle = _ops.multiply(_ops.cut(a, slice(0, 1)), _ops.fill_like(a, (), 2))
    side = _ops.cut(a, slice(1, None))
    return finish(_ops.concat([_ops.flip(side, (0,)), middle, side], 0))


def _bands_checked(be: Backend, ends: Array, nyquist: float) -> None:
    """Ends that increase within each band and do not decrease from band to band, in 0 … 1."""
    xp = be.xp
    pairs = xp.reshape(ends, (-1, 2))
    if be.concrete(xp.all((ends >= 0) & (ends <= 1))) is False:
        raise ArgumentError(f"bands must lie between 0 and fs/2 = {nyquist}")
    if be.concrete(xp.all(pairs[:, 1] > pairs[:, 0])) is False:
        raise ArgumentError("every band must end after it begins")
    if be.concrete(xp.all(pairs[1:, 0] >= pairs[:-1, 1])) is False:
        raise ArgumentError("bands must be in order and may not overlap")


def _integrals(be: Backend, taps: int, ends: Any, wanted: Any, weight: Any) -> tuple[Any, Any]:
    """q[n] = Σ w ∫ cos(πnf) df, n < K, and b[n] = Σ w ∫ D(f) cos(πnf) df, n <= (K − 1) / 2."""
    plain = primal(ends)
    kind, count, half = plain.dtype, weight.shape[0], taps // 2

    def table(values: Any) -> Array:
        return be.constant(values, plain, kind)

    def times(a: Any, b: Any) -> Any:
        return _ops.multiply(a, b)

    pairs, gains = _ops.reshape(ends, (count, 2)), _ops.reshape(wanted, (count, 2))
    column = _ops.reshape(weight, (count, 1))
    width = _difference(pairs)
    # n = 0: the width itself, and the mean gain.
    q0 = times(width, column)
    total = _ops.total(gains, (1,), keepdims=True)
    b0 = times(times(total, q0), table(0.5))
    parts = [_ops.total(q0, (0,))], [_ops.total(b0, (0,))]
    if taps > 1:
        n = np.arange(1, taps)
        angles = times(_ops.reshape(pairs, (count, 2, 1)), table(pi * n))
        sines = times(_ops.sin(angles), table(1.0 / (pi * n)))
        sides = _ops.reshape(column, (count, 1, 1))
        parts[0].append(_ops.total(times(_difference(sines), sides), (0, 1)))
        low = n[:half]
        first = [slice(None), slice(None), slice(0, half)]
        cosines = times(_ops.cos(_ops.cut(angles, *first)), table(1.0 / (pi * low) ** 2))
        slope = _ops.divide(_difference(gains), width)
        rising = times(_difference(cosines), _ops.reshape(slope, (count, 1, 1)))
        level = _difference(times(_ops.cut(sines, *first), _ops.reshape(gains, (count, 2, 1))))
        parts[1].append(_ops.total(times(_ops.add(level, rising), sides), (0, 1)))
    q, b = (_ops.concat(p, 0) if len(p) > 1 else p[0] for p in parts)
    return q, b


def _difference(x: Any) -> Any:
    """The second entry along axis 1 less the first, the axis kept."""
    rest = [slice(None)]
    return _ops.subtract(_ops.cut(x, *rest, slice(1, 2)), _ops.cut(x, *rest, slice(0, 1)))


# -- by SciPy on the host -------------------------------------------------------------------------

_ON_HOST = "computed by SciPy on the host, from known values; without a derivative"
_LAZY = {"dask": "computed by SciPy on the host, from known values: h.compute() gives some"}


@operation(
    "signal.remez",
    arrays=("bands", "desired", "weight"),
    reads_values=True,
    eager_only=_ON_HOST,
    gaps=_LAZY,
)
def remez(
    numtaps: int,
    bands: Any,
    desired: Any,
    *,
    weight: Any = None,
    type: str = "bandpass",
    maxiter: int = 25,
    grid_density: int = 16,
    fs: float | None = None,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """The linear-phase FIR filter whose largest weighted error over bands is least.

    SciPy's exchange algorithm, run on the host in float64; the taps go to the library and the
    device of the arguments.

    Parameters
    ----------
    numtaps : int
        K.
    bands : array of shape (2·B,)
        Where each band begins and ends, increasing, in units of `fs`, from 0 to fs/2.
    desired : array of shape (B,)
        The response wanted in each band.
    weight : array of shape (B,), optional
        Of the error in each band; by default 1.
    type : {"bandpass", "differentiator", "hilbert"}, default "bandpass"
        Flat gains, gains in proportion to the frequency, or an antisymmetric filter.
    maxiter : int, default 25
        Most exchanges.
    grid_density : int, default 16
        Points of the grid for each tap.
    fs : float, optional
        Sampling rate; 1 by default, so that 1/2 is the Nyquist frequency.
    xp : module or str, optional
        Array library of the result where no argument is an array; NumPy by default.
    device : object, optional
        Its device, likewise.
    dtype : str or dtype, optional
        Real floating dtype of the taps; by default that of the arrays, or the widest of the device.

    Returns
    -------
    array of shape (K,)
        The taps.

    Raises
    ------
    ValueError
        If the arguments do not fit, or the exchange does not converge.
    TypeError
        If an argument is not real, or they live in different libraries.
    NotImplementedError
        If an argument is traced or differentiated.

    References
    ----------
    .. [1] J. H. McClellan, T. W. Parks and L. R. Rabiner, "A computer program for designing optimum
       FIR linear phase digital filters", IEEE Trans. Audio Electroacoust. 21, 1973.

    Examples
    --------
    >>> import swath
    >>> swath.signal.remez(5, [0.0, 0.1, 0.4, 0.5], [1.0, 0.0]).round(4) + 0.0
    array([0.    , 0.2764, 0.5   , 0.2764, 0.    ])
    """
    from scipy.signal import remez as exchange

    taps = arguments.positive("numtaps", numtaps)
    rate = 1.0 if fs is None else sampling_rate(fs)
    arguments.choice("type", type, ("bandpass", "differentiator", "hilbert"))
    rounds = arguments.positive("maxiter", maxiter)
    density = arguments.positive("grid_density", grid_density)
    be, given, finish = design_arrays(
        xp, device, dtype, "weight", bands=bands, desired=desired, weight=weight
    )
    names = ("bands", "desired", "weight")
    tables = [
        None if v is None else np.array(host_values(n, v), np.float64)
        for n, v in zip(names, given, strict=True)
    ]
    edges, wanted, weights = tables
    for name, value in zip(names, tables, strict=True):
        if value is not None and value.ndim != 1:
            raise ArgumentError(f"{name} must have one axis, got shape {value.shape}")
    if edges is None or wanted is None or len(edges) != 2 * len(wanted) or len(wanted) == 0:
        raise ArgumentError(
            "bands must have two frequencies for each gain of desired, and there must be one; got "
            f"shapes {tuple(given[0].shape)} and {tuple(given[1].shape)}"
        )
    if weights is not None and len(weights) != len(wanted):
        raise ArgumentError(
            f"weight must have one entry for each of the {len(wanted)} bands, got {len(weights)}"
        )
    for name, value in zip(names, tables, strict=True):
        if value is not None and not np.isfinite(value).all():
            raise ArgumentError(f"{name} must be finite")
    # SciPy would compute with an empty grid, or one whose points are all the same: NaN, or the end
    # of the process.
    if not (edges[1::2] > edges[::2]).any() or np.ptp(np.cos(2 * np.pi * edges / rate)) == 0:
        raise ArgumentError(f"bands must have a width at fs={rate:g}, got {edges.tolist()}")
    try:
        h = exchange(
            taps,
            edges,
            wanted,
            weight=weights,
            type=type,  # pyright: ignore[reportArgumentType]
            maxiter=rounds,
            grid_density=density,
            fs=rate,
        )
    except ValueError as error:
        raise ArgumentError(f"SciPy makes no such filter: {error}") from None
    if not np.isfinite(h).all():
        raise ArgumentError(
            f"SciPy makes no such filter: its taps for bands {edges.tolist()} are not finite; make "
            f"the bands wider"
        )
    return finish(_beside(be, given, h))


def _beside(be: Backend, given: list[Any], h: np.ndarray) -> Array:
    """A host result beside the first of the arguments; as it is where they are the host's."""
    like = primal(given[0])
    return h if isinstance(like, np.ndarray) else be.constant(h, like, like.dtype)


@operation(
    "signal.minimum_phase", arrays=("h",), reads_values=True, eager_only=_ON_HOST, gaps=_LAZY
)
def minimum_phase(
    h: Any,
    method: str = "homomorphic",
    n_fft: int | None = None,
    *,
    half: bool = True,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """The filter of least delay with (the square root of) a linear-phase filter's gains.

    SciPy's methods, run on the host in float64; the taps go to the library and the device of `h`.

    Parameters
    ----------
    h : array of shape (K,)
        Real taps of a linear-phase filter, at least 3.
    method : {"homomorphic", "hilbert"}, default "homomorphic"
        By the cepstrum; or, for equiripple filters with gains of 0 and 1, by the Hilbert transform.
    n_fft : int, optional
        Points of the Fourier transform, at least K; by default a power of 2 of 200·(K − 1) or more.
    half : bool, default True
        Whether the result has half the taps and the square root of the gains; False (homomorphic
        only) keeps both.
    xp : module or str, optional
        Array library of the result where `h` is a list; NumPy by default.
    device : object, optional
        Its device, likewise.
    dtype : str or dtype, optional
        Real floating dtype of the taps; by default that of `h`, or the widest of the device.

    Returns
    -------
    array of shape (⌈K/2⌉,), or (K,) with ``half=False``
        The taps.

    Raises
    ------
    ValueError
        If `h` has not one axis or fewer than 3 taps or is not finite, `n_fft` is below K, or the
        method is unknown or does not go with `half`.
    TypeError
        If `h` is not real.
    NotImplementedError
        If `h` is traced or differentiated.

    Notes
    -----
    SciPy warns (RuntimeWarning) where `h` does not look symmetric.

    References
    ----------
    .. [1] N. Damera-Venkata and B. L. Evans, "Optimal design of real and complex minimum phase
       digital FIR filters", Proc. ICASSP 1999.
    .. [2] A. V. Oppenheim and R. W. Schafer, *Discrete-Time Signal Processing*, 3rd ed., ch. 13.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.signal.minimum_phase(np.array([1.0, 4.0, 1.0])).round(3)
    array([1.932, 0.518])
    """
    from scipy.signal import minimum_phase as least_delay

    arguments.choice("method", method, ("homomorphic", "hilbert"))
    half = arguments.flag("half", half)
    be, given, finish = design_arrays(xp, device, dtype, h=h)
    shape = tuple(given[0].shape)
    if len(shape) != 1 or shape[0] < 3:
        raise ArgumentError(f"h must be one row of at least 3 taps, got shape {shape}")
    if n_fft is not None and arguments.positive("n_fft", n_fft) < shape[0]:
        raise ArgumentError(f"n_fft must be at least the {shape[0]} taps of h, got {n_fft}")
    if method == "hilbert" and not half:
        raise ArgumentError('half=False goes with method="homomorphic" only')
    taps = np.array(host_values("h", given[0]), np.float64)
    if not np.isfinite(taps).all():
        raise ArgumentError("h must be finite")
    made = least_delay(taps, method, n_fft, half=half)  # pyright: ignore[reportArgumentType]
    return finish(_beside(be, given, np.asarray(made)))
