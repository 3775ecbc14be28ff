"""FIR design by windows: of ideal bands (firwin), of a response between points (firwin2).

Both are straight lines of array operations, so that edges, frequencies and gains may be traced and
differentiated; windows come from SciPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from numbers import Real
from typing import Any

import numpy as np

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import Core, apply, primal
from ..errors import ArgumentError, ArgumentTypeError, describe
from ..registry import operation
from ._coefficients import design_arrays, sampling_rate
from .windows import host_window

__all__ = ["firwin", "firwin2"]

Array = Any
_KINDS = {"lowpass": True, "bandstop": True, "highpass": False, "bandpass": False}


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
    scale = arguments.flag("scale", scale)
    rate = 2.0 if fs is None else sampling_rate(fs)
    given = arguments.strong(cutoff) is not None
    be, (edges,), finish = design_arrays(xp, device, dtype, cutoff=cutoff)
    if edges.ndim > 1:
        raise ArgumentError(f"cutoff must have at most one axis, got shape {tuple(edges.shape)}")
    edges = _ops.reshape(edges, (-1,))
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
    shape = _shape(be, window, width, taps, rate, "cutoff", primal(edges))
    h = _ops.multiply(_ideal(be, taps, edges, passes, nyquist), shape)
    if scale:
        h = _scaled(be, h, edges, passes)
    return finish(h)


def _passes(pass_zero: Any, count: int) -> bool:
    """Whether frequency 0 passes, after a check of the number of edges."""
    if count == 0:
        raise ArgumentError("cutoff must have at least one edge, got none")
    if isinstance(pass_zero, bool | np.bool_):
        return bool(pass_zero)
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


def _shape(
    be: Backend, window: Any, width: Any, taps: int, rate: float, name: str, like: Array
) -> Array:
    """The window beside `like`, the argument of this name."""
    from scipy import signal

    if width is not None:
        if isinstance(width, bool) or not isinstance(width, Real):
            raise ArgumentTypeError(f"width must be a number, got {describe(width)}")
        if not 0 < float(width) < rate / 2:
            raise ArgumentError(f"width must lie between 0 and fs/2 = {rate / 2}, got {width}")
        beta = signal.kaiser_beta(signal.kaiser_atten(taps, float(width) / (rate / 2)))
        window = ("kaiser", beta)
    if arguments.strong(window) is not None:
        _, (_, shape) = arguments.arrays(**{name: like, "window": window})
        if tuple(shape.shape) != (taps,):
            raise ArgumentError(
                f"window must have the {taps} points of the filter, got {tuple(shape.shape)}"
            )
        return be.xp.astype(shape, like.dtype)
    return be.constant(host_window(window, taps, fftbins=False), like, like.dtype)


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


# -- firwin2 ------------------------------------------------------------------------------------


class _Pick(Core):
    """x[indices] for a nondecreasing array of indices, which may be traced."""

    name = "pick"
    native = True

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        x, indices = arrays
        return be.xp.take(x, indices, axis=0)

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        # As indices do not decrease, each element sums a run of the cotangent: no scatter.
        x, indices = arrays
        xp, n = be.xp, x.shape[0]
        sums = be.pad(xp.cumulative_sum(cotangent, axis=0, dtype=cotangent.dtype), [(1, 0)])
        ends = xp.searchsorted(indices, be.arange(n + 1, x, indices.dtype), side="left")
        at_ends = xp.take(sums, ends, axis=0)
        return (at_ends[1:] - at_ends[:-1], None)


class _Sampled(Core):
    """The inverse Fourier transform of gains times a fixed phase: real taps of n points.

    With gains g of n/2 + 1 points and the phase p::

        h[k] = (1/n) Σ_j w_j g_j Re(p_j e^{2πijk/n}),     w = 1 at both ends, else 2
    """

    name = "sampled"
    native = True

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        gains, phase = arrays
        n = 2 * (gains.shape[0] - 1)
        return be.ifft(be.xp.astype(gains, phase.dtype) * phase, (0,), (n,), real=True)

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        gains, phase = arrays
        xp, n = be.xp, 2 * (gains.shape[0] - 1)
        spectrum = xp.conj(be.fft(cotangent, (0,), (n,)))
        weight = np.full(gains.shape[0], 2.0 / n)
        weight[[0, -1]] = 1.0 / n
        back = xp.real(phase * spectrum) * be.constant(weight, gains, gains.dtype)
        return (back, None)


_PICK = _Pick()
_SAMPLED = _Sampled()


@operation(
    "signal.firwin2",
    differentiable=("gain",),
    arrays=("freq", "gain"),
    linear=("gain",),
    reads_values=True,
)
def firwin2(
    numtaps: int,
    freq: Any,
    gain: Any,
    *,
    nfreqs: int | None = None,
    window: Any = "hamming",
    antisymmetric: bool = False,
    fs: float | None = None,
    xp: Any = None,
    device: Any = None,
    dtype: Any = None,
) -> Any:
    """A linear-phase FIR filter with a response given at points, by the window method.

    The gains are interpolated linearly to an even grid from 0 to fs/2; the taps are the inverse
    Fourier transform of that response with the filter's delay of (K − 1) / 2, times a window.

    Parameters
    ----------
    numtaps : int
        K.
    freq : array of shape (M,)
        Frequencies in units of `fs`, from 0 to fs/2, not decreasing. One that stands twice is a
        jump of the response; 0 and fs/2 may not.
    gain : array of shape (M,)
        The response at each. An even K has none at fs/2; an antisymmetric filter none at 0, and
        with an odd K none at fs/2 either: there the gain must be 0.
    nfreqs : int, optional
        Points of the grid, more than K; by default 1 more than the next power of 2 from K on.
    window : str, float, tuple, array of shape (K,) or None, default "hamming"
        As in `get_window`; None for no window.
    antisymmetric : bool, default False
        Whether h[k] = −h[K − 1 − k] (types III and IV): the response is i times the gains.
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
        The taps.

    Raises
    ------
    ValueError
        If lengths differ, frequencies do not run from 0 to fs/2, one stands more than twice, a
        gain that must be 0 is not, or `nfreqs` is too small. Values are looked at only where they
        are known.
    TypeError
        If `freq` or `gain` is not real, or they live in different libraries.

    Notes
    -----
    Cost: one Fourier transform of 2·(nfreqs − 1) points. Lists are worked on in float64 on the
    host, unless they stand beside an array. The taps are linear in `gain`, and `swath.vjp` takes
    them so; JAX and PyTorch also differentiate them in the frequencies between the ends (a jump
    counts as fixed: its derivative would be infinite).

    References
    ----------
    .. [1] A. V. Oppenheim and R. W. Schafer, *Discrete-Time Signal Processing*, 3rd ed., ch. 7.

    Examples
    --------
    >>> import swath
    >>> swath.signal.firwin2(5, [0.0, 0.5, 1.0], [1.0, 1.0, 0.0]).round(4)
    array([-0.0085,  0.1108,  0.75  ,  0.1108, -0.0085])
    """
    taps = arguments.positive("numtaps", numtaps)
    nyquist = 1.0 if fs is None else sampling_rate(fs) / 2
    be, (freq, gain), finish = design_arrays(xp, device, dtype, freq=freq, gain=gain)
    if freq.ndim != 1 or freq.shape[0] < 2 or tuple(freq.shape) != tuple(gain.shape):
        raise ArgumentError(
            f"freq and gain must be of same length, one axis of at least 2 points, got shapes "
            f"{tuple(freq.shape)} and {tuple(gain.shape)}"
        )
    if nfreqs is None:
        points = 1 + 2 ** (taps - 1).bit_length()
    else:
        points = arguments.positive("nfreqs", nfreqs)
        if points <= taps:
            raise ArgumentError(
                f"numtaps = {taps} and nfreqs = {points}, but ntaps must be less than nfreqs"
            )
    antisymmetric = arguments.flag("antisymmetric", antisymmetric)
    _grid_checked(be, primal(freq), nyquist)
    _zeros_checked(be, primal(gain), taps, antisymmetric)
    response = _interpolated(be, freq, gain, points, nyquist)
    # Floats from the start: torch.compile divides integers of NumPy in float32.
    steps = np.arange(float(points)) / (points - 1)
    phase = np.exp(-0.5j * pi * (taps - 1) * steps) * (1j if antisymmetric else 1.0)
    kind = be.complex_dtype(response.dtype)
    full = apply(_SAMPLED, None, response, be.constant(phase, primal(response), kind))
    h = _ops.cut(full, slice(0, taps))
    if window is not None:
        h = _ops.multiply(h, _shape(be, window, None, taps, 2 * nyquist, "gain", primal(h)))
    if antisymmetric and taps % 2:
        # Exactly 0, where the sum leaves rounding.
        h = _ops.select(be.constant(_places(taps) == 0, primal(h), be.xp.bool), _zero(h), h)
    return finish(h)


def _zero(x: Any) -> Array:
    return _ops.fill_like(x, ())


def _grid_checked(be: Backend, freq: Array, nyquist: float) -> None:
    """Frequencies from 0 to nyquist, each at most twice; nothing where values are not known."""
    xp = be.xp

    def known(flag: Array) -> bool:
        return be.concrete(flag) is True

    top = be.new_like(freq, (), fill=nyquist)
    if known((freq[0] != 0) | (freq[-1] != top)):
        raise ArgumentError(f"freq must start with 0 and end with fs/2 = {nyquist}")
    steps = freq[1:] - freq[:-1]
    if known(xp.any(~(steps >= 0))):
        raise ArgumentError("the values of freq must be nondecreasing")
    if known(xp.any(steps[1:] + steps[:-1] == 0)):
        raise ArgumentError("a value of freq must not occur more than twice")
    for place, name in ((0, "0"), (-1, "fs/2")):
        if known(steps[place] == 0):
            raise ArgumentError(f"{name} must not be repeated in freq")


def _zeros_checked(be: Backend, gain: Array, taps: int, antisymmetric: bool) -> None:
    """Gains where a filter of this symmetry has none."""
    even = taps % 2 == 0
    kind = ("II", "IV") if even else ("I", "III")
    said = f"a Type {kind[antisymmetric]} filter (numtaps {taps}"
    said += ", antisymmetric)" if antisymmetric else ", symmetric)"
    if antisymmetric and be.concrete(gain[0] != 0) is True:
        raise ArgumentError(f"{said} has no response at 0: gain[0] must be 0")
    if antisymmetric != even and be.concrete(gain[-1] != 0) is True:
        raise ArgumentError(f"{said} has no response at fs/2: gain[-1] must be 0")


def _interpolated(be: Backend, freq: Any, gain: Any, points: int, nyquist: float) -> Any:
    """Gains on an even grid from 0 to nyquist, linear between the given ones.

    A frequency that stands twice is moved apart by eps·nyquist to both sides, as in SciPy: a grid
    point that it falls on gets the mean.
    """
    xp = be.xp
    plain = primal(freq)
    kind = plain.dtype
    count = plain.shape[0]
    grid = be.constant(np.linspace(0.0, nyquist, points), plain, kind)
    jump = plain[1:] == plain[:-1]
    never = be.new_like(plain, (1,), dtype=xp.bool, fill=False)
    apart = be.new_like(plain, (), fill=float(xp.finfo(kind).eps) * nyquist)
    zero = be.new_like(plain, ())
    moved = xp.where(xp.concat([never, jump]), apart, zero)
    moved = moved - xp.where(xp.concat([jump, never]), apart, zero)
    plain = plain + moved
    if be.concrete(xp.all(plain[1:] > plain[:-1])) is False:
        raise ArgumentError(
            "freq cannot contain numbers that are too close (within eps·fs/2) to a repeated value"
        )
    freq = _ops.add(freq, moved)
    segment = xp.searchsorted(plain[1 : count - 1], grid, side="right")

    def ends(x: Any) -> tuple[Any, Any]:
        low = apply(_PICK, None, _ops.cut(x, slice(0, count - 1)), segment)
        return low, apply(_PICK, None, _ops.cut(x, slice(1, None)), segment)

    (left, right), (below, above) = ends(freq), ends(gain)
    # Within a jump the place counts as fixed.
    inside = xp.take(jump, segment, axis=0)
    left, right = (_ops.select(inside, primal(v), v) for v in (left, right))
    share = _ops.divide(_ops.subtract(grid, left), _ops.subtract(right, left))
    return _ops.add(below, _ops.multiply(_ops.subtract(above, below), share))
