"""Taps from conditions on the transfer function, by least squares through AᵀA.

Conditions are linear in the taps: a row of cosines (and one of sines) for each frequency, one
column for each free tap.
"""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np

from .. import _ops, arguments
from .._backends import Backend, backend_named, try_backend
from ..autodiff import primal
from ..errors import ArgumentError, ArgumentTypeError
from ..linalg import lstsq
from ..registry import operation
from ._coefficients import angles_of, float_name, library, sampling_rate

__all__ = ["fir_from_response"]

Array = Any


def _gains(freqs: Any, gains: Any, weight: Any, xp: Any, device: Any) -> tuple[Backend, Any, Any]:
    """Gains and weight as arrays of the library and on the device of the arrays, or of xp's."""
    given = {"freqs": freqs, "gains": gains, "weight": weight}
    arrays = {k: v for k, v in given.items() if try_backend(primal(v)) is not None}
    asked = None if xp is None else library(xp)
    if arrays:
        name, found = next((k, try_backend(primal(v))) for k, v in arrays.items())
        if asked is not None and found is not asked:
            raise ArgumentTypeError(
                f"xp is {asked.name}, but {name} is an array of {found.name}"  # type: ignore[union-attr]
            )
        beside: Any = {k: v for k, v in arrays.items() if k == "freqs"}
    else:
        # An array that stands beside lists tells them where to go.
        be = asked or backend_named("numpy")
        place = arguments.device_of(be, device)
        beside = {"freqs": be.from_host(np.zeros(1, np.int32), place)}
    beside = {**beside, "gains": gains, "weight": weight}
    be, (*_, gains, weight) = arguments.arrays("weight", **beside)
    return be, gains, weight


def _dtype(be: Backend, dtype: Any, gains: Any) -> Any:
    """The real dtype of the taps."""
    if dtype is None:
        name = be.name_of(gains.dtype)
        return be.dtype({"complex64": "float32", "complex128": "float64"}.get(name, name))
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
    table = table * be.constant(pairs, table, kind)
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
