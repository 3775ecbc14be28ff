"""What a filter does to each frequency: its transfer function, an eigenvalue on e^{iωn}.

Both functions evaluate Σ b_k e^{−iωk}. The exponentials are split, k = K₀·p + q, so that a table of
about 2√K columns serves K taps: one matrix product over q, one sum over p.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isqrt, pi
from typing import Any

import numpy as np

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import primal
from ..errors import ArgumentError, ArgumentTypeError, describe
from ..registry import operation
from ..sliding.plan import capturing
from ._coefficients import angles_of, coefficients, complex_of, divided, sampling_rate

__all__ = ["amplitude_response", "freqz"]

Array = Any


def _waves(be: Backend, angles: Array, steps: Sequence[float], like: Any, kind: Any) -> Array:
    """e^{−iωs}, a row for every frequency and a column for every step s."""
    if isinstance(angles, np.ndarray) and be.name != "numpy":
        return be.constant(np.exp(-1j * np.outer(angles, steps)), primal(like), kind)
    xp = be.xp
    column = be.constant(list(steps), angles, angles.dtype)
    phase = xp.reshape(angles, (-1, 1)) * xp.reshape(column, (1, len(steps)))
    waves = xp.astype(phase, be.dtype(complex_of(be, phase.dtype)))
    return xp.astype(xp.exp(waves * -1j), kind)


def _transfer(be: Backend, b: Any, angles: Array, delay: float) -> Any:
    """Σ b_k e^{−iω(k − delay)} at every frequency, flattened."""
    taps = b.shape[0]
    inner = isqrt(taps - 1) + 1
    outer = -(-taps // inner)
    kind = be.dtype(complex_of(be, b.dtype))
    fine = _waves(be, angles, [float(q) for q in range(inner)], b, kind)
    coarse = _waves(be, angles, [float(inner * p) - delay for p in range(outer)], b, kind)
    table = _ops.reshape(_ops.pad(_ops.cast(b, kind), ((0, inner * outer - taps),)), (outer, inner))
    return _ops.total(_ops.multiply(_ops.matmul(fine, _ops.permute(table, (1, 0))), coarse), (1,))


def _single(be: Backend, x: Any) -> Any:
    """Half precision as float32: no library has complex halves."""
    return _ops.cast(x, be.dtype("float32")) if be.is_half(x.dtype) else x


@operation(
    "signal.freqz",
    differentiable=("b", "a"),
    arrays=("b", "a", "worN"),
    reads_values=True,
    first=lambda result: result[1],
    replace_first=lambda result, h: (result[0], h),
)
def freqz(
    b: Any,
    a: Any = 1,
    worN: Any = 512,
    whole: bool = False,
    plot: Callable[[Array, Array], Any] | None = None,
    fs: float = 2 * pi,
    include_nyquist: bool = False,
) -> Any:
    """Frequency response of a digital filter.

    ::

        h(ω) = Σ_k b[k] e^{−iωk} / Σ_k a[k] e^{−iωk}

    Parameters
    ----------
    b, a : array of shape (K,), (L,)
        Coefficients of numerator and denominator; `a` may be a number. Feedback is allowed here.
    worN : int or array, default 512
        How many frequencies from 0 up to fs/2 (fs, with `whole`), or the frequencies, in units of
        `fs`.
    whole : bool, default False
        Whether a number of frequencies goes round the whole circle.
    plot : callable, optional
        Called as ``plot(w, h)``.
    fs : float, default 2π
        Sampling rate: the unit of frequencies. By default radians per sample.
    include_nyquist : bool, default False
        Whether a number of frequencies includes fs/2 (without `whole`).

    Returns
    -------
    w : array
        The frequencies, flattened, in units of `fs`.
    h : array
        The complex response at each.

    Raises
    ------
    ValueError
        If `b` or `a` is empty or has several axes, `worN` is below 1, or `fs` is not positive.
    TypeError
        If `worN` is not real.

    Notes
    -----
    Cost: a multiply-add per frequency and tap. Frequencies that are given as numbers are turned
    into exponentials in float64; those in an array in the array's precision, with an error of
    eps·ω·K in the phase.

    `swath.vjp` takes the cotangent of `h`. Row by row a filter of several axes is not accepted: use
    the library's `vmap`.

    References
    ----------
    .. [1] A. V. Oppenheim and R. W. Schafer, *Discrete-Time Signal Processing*, 3rd ed., ch. 5.

    Examples
    --------
    >>> import numpy as np, swath
    >>> w, h = swath.signal.freqz(np.array([0.5, 0.5]), worN=4)
    >>> np.abs(h).round(3)
    array([1.   , 0.924, 0.707, 0.383])
    """
    rate = sampling_rate(fs)
    if plot is not None and not callable(plot):
        raise ArgumentTypeError(f"plot must be callable as plot(w, h), got {describe(plot)}")
    given = a
    be, (b, a) = arguments.arrays(b=b, a=a)
    b, a = coefficients(be, "b", b), coefficients(be, "a", a)
    b, a = (_single(be, v) for v in arguments.floating(be, b, a))
    real = _real_of(be, b)
    if worN is None or arguments.is_int(worN):
        count = 512 if worN is None else arguments.positive("worN", worN)
        stop = 2 * pi if whole else pi
        angles = np.linspace(0, stop, count, endpoint=bool(include_nyquist and not whole))
    else:
        angles = angles_of(be, "worN", worN, "b", _ops.real(b), rate)
    angles = angles.reshape(-1) if isinstance(angles, np.ndarray) else be.xp.reshape(angles, (-1,))
    h = _transfer(be, b, angles, 0.0)
    if a.shape[0] > 1:
        h = _ops.divide(h, _transfer(be, a, angles, 0.0))
    else:
        h = divided(be, h, a, given)
    w = angles * (rate / (2 * pi))
    if isinstance(w, np.ndarray):
        w = be.constant(w, primal(b), real)
    if plot is not None:
        plot(w, primal(h))
    return w, h


def _real_of(be: Backend, x: Any) -> Any:
    """The real dtype of x's precision."""
    narrow = be.name_of(x.dtype) in ("complex64", "float32")
    return be.dtype("float32" if narrow else "float64")


@operation(
    "signal.amplitude_response",
    differentiable=("h",),
    arrays=("h", "freqs"),
    linear=("h",),
    reads_values=True,
)
def amplitude_response(h: Any, freqs: Any, *, fs: float = 2 * pi) -> Any:
    """The real amplitude response of a symmetric filter: its eigenvalue on e^{iωn}.

    With the filter centred (zero phase), c = (K − 1) / 2::

        λ(ω) = Σ_k h[k] cos(ω(k − c)),     h ⋆ e^{iωn} = λ(ω) e^{iωn}

    Parameters
    ----------
    h : array of shape (K,)
        Real taps with h[k] = h[K − 1 − k].
    freqs : array or number
        Frequencies, in units of `fs`; any shape.
    fs : float, default 2π
        Sampling rate. By default frequencies are in radians per sample.

    Returns
    -------
    array
        λ at every frequency, of the shape of `freqs`, in the dtype of `h` (integers become the
        default float).

    Raises
    ------
    ValueError
        If `h` is empty, has several axes, or is not symmetric. A traced `h` is not looked at:
        there the symmetric part counts.
    TypeError
        If `h` or `freqs` is complex.

    Notes
    -----
    `freqz` gives e^{−iωc} λ(ω): the same filter, made causal. For an even K the centre lies
    between two samples, and the output half a sample off.

    References
    ----------
    .. [1] R. W. Hamming, *Digital Filters*, 3rd ed., Prentice Hall 1989, ch. 2.
    .. [2] G. Strang, *Introduction to Applied Mathematics*, Wellesley-Cambridge 1986.

    Examples
    --------
    >>> import numpy as np, swath
    >>> h = np.array([0.5, 0.5, 0.5])
    >>> swath.signal.amplitude_response(h, [0.0, np.pi / 3, 2 * np.pi / 3]).round(15) + 0.0
    array([1.5, 1. , 0. ])
    """
    rate = sampling_rate(fs)
    be, h = arguments.one_array("h", h)
    h = coefficients(be, "h", h)
    arguments.real_only(be, "h", h)
    (h,) = arguments.floating(be, h)
    kind = h.dtype
    h = _single(be, h)
    angles = angles_of(be, "freqs", freqs, "h", h, rate)
    if not capturing() and not _symmetric(be, primal(h)):
        raise ArgumentError(
            "h is not symmetric (h[k] = h[K − 1 − k]), so its response has a phase of its own; "
            "signal.freqz gives the complex response of any filter"
        )
    shape = tuple(angles.shape)
    flat = angles.reshape(-1) if isinstance(angles, np.ndarray) else be.xp.reshape(angles, (-1,))
    value = _ops.real(_transfer(be, h, flat, (h.shape[0] - 1) / 2))
    return _ops.cast(_ops.reshape(value, shape), kind)


def _symmetric(be: Backend, h: Array) -> bool:
    """Whether h equals its reverse up to rounding; True where its values are not known."""
    xp = be.xp
    slack = 64 * float(xp.finfo(h.dtype).eps)
    off = xp.max(xp.abs(h - xp.flip(h, axis=0)))
    # A NaN is no asymmetry: it shows in the result.
    return be.concrete(off > slack * xp.max(xp.abs(h))) is not True
