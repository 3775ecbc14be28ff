"""The short-time Fourier transform, its inverse, and the spectrogram.

x is extended at its ends, cut into windows (`sliding_windows`), each is freed of its trend, tapered
and transformed. The inverse transforms back, tapers once more and adds the windows into place
(`overlap_add`); divided by the sum of the squared tapers this is the signal whose transform is
nearest to the one given. A long signal is done in pieces that stay in cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any
from warnings import warn

import numpy as np

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import Core, Node, apply, primal
from ..errors import ArgumentError, ArgumentTypeError, UnsupportedError
from ..primitives import overlap_add, sliding_windows
from ..registry import operation
from ._coefficients import sampling_rate
from ._extension import PADDINGS, extended
from ._transform import as_complex, transform
from .windows import host_window

__all__ = ["istft", "spectrogram", "stft"]

Array = Any
_MODES = ("psd", "complex", "magnitude", "angle", "phase")
# Sums of squared tapers below this count as no cover (SciPy's threshold).
_COVERED = 1e-10
# Bytes of windows worked on at a time.
_PIECE = 2**20


class _Inverse(Core):
    """Inverse DFT of n points along the last axis; of half a spectrum for a real result.

    x_m = Σ_k c_k z_k e^{2πikm/n}, so z̄_k = c_k Σ_m x̄_m e^{2πikm/n}, with c_k = 1/n. Of half a
    spectrum the real part is taken, and c_k = 2/n but at k = 0 and n/2.
    """

    name = "inverse_transform"
    native = True

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        # Written over: z is a product of ours.
        (z,), (points, real) = arrays, geometry
        return be.ifft(z, (z.ndim - 1,), (points,), real=real)

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        (z,), (points, real) = arrays, geometry
        given = cotangent if real else be.xp.conj(as_complex(be, cotangent))
        pulled = be.xp.conj(be.fft(given, (z.ndim - 1,), (points,)))
        sides = _sides(points) if real else np.ones(points)
        sides = be.constant(sides.reshape([1] * (z.ndim - 1) + [-1]) / points, z, z.dtype)
        return (_fitted(be, pulled * sides, z.shape[-1]),)


_INVERSE = _Inverse()


def _fitted(be: Backend, z: Array, count: int) -> Array:
    """The first `count` points of the last axis, zeros behind."""
    if z.shape[-1] < count:
        return be.pad(z, [*[(0, 0)] * (z.ndim - 1), (0, count - z.shape[-1])])
    return z[..., :count]


def _sides(points: int) -> np.ndarray:
    """How often each bin of half a spectrum stands in the whole: once or twice."""
    count = np.full(points // 2 + 1, 2.0)
    count[0] = 1.0
    if points % 2 == 0:
        count[-1] = 1.0
    return count


@dataclass(frozen=True)
class _Layout:
    """Sizes of a transform: samples of a window, from one window to the next, points of the DFT."""

    size: int
    step: int
    points: int
    half: bool

    @property
    def bins(self) -> int:
        """Frequencies kept: of a half spectrum those from 0 to fs/2."""
        return self.points // 2 + 1 if self.half else self.points

    def frequencies(self, rate: float) -> np.ndarray:
        """Of the bins, in the unit of the rate."""
        return (np.fft.rfftfreq if self.half else np.fft.fftfreq)(self.points, 1 / rate)


def _third(result: Any) -> Any:
    return result[2]


def _with_third(result: Any, values: Any) -> Any:
    return (*result[:2], values)


@operation(
    "signal.stft",
    differentiable=("x", "window"),
    linear=("x",),
    first=_third,
    replace_first=_with_third,
)
def stft(
    x: Any,
    fs: float = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: str | Callable[[Any], Any] | bool = False,
    return_onesided: bool = True,
    boundary: str | None = "zeros",
    padded: bool = True,
    axis: int = -1,
    scaling: str = "spectrum",
) -> tuple[Any, Any, Any]:
    """The short-time Fourier transform: the spectrum of every window of a signal.

    ::

        Zxx[…, q, p] = s · Σ_m w[m] · x[p·h + m − c] · e^(−2πi·q·m / nfft),     0 <= m < M

    with M = nperseg samples of a window w, the hop h = M − noverlap, c = ⌊M/2⌋ (0 without
    `boundary`) and s = 1 / |Σ w| or (fs·Σ w²)^(−1/2).

    Parameters
    ----------
    x : array
        The signal, of N samples along `axis`; real, complex or integer.
    fs : float, default 1.0
        Sampling rate.
    window : str, tuple or array of shape (M,), default "hann"
        A real window, or its name as `get_window` takes it (made periodic).
    nperseg : int, optional
        M; by default the length of `window`, or 256 for a name. More than N is reduced to N for
        a name, with a warning where the number was given.
    noverlap : int, optional
        Samples that neighbouring windows share; by default ⌊M/2⌋.
    nfft : int, optional
        Points of the DFT, at least M: windows are followed by zeros. M by default.
    detrend : {"constant", "linear"}, callable or False, default False
        What is taken from every window first: its mean, its line of least squares, or what a
        function of the windows (along the last axis) takes away.
    return_onesided : bool, default True
        Whether a real signal gives half the spectrum, ⌊nfft/2⌋ + 1 frequencies. Complex signals
        give the whole.
    boundary : {"zeros", "even", "odd", "constant"} or None, default "zeros"
        How x continues by ⌊M/2⌋ samples at both ends, so that the first window is centred on the
        first sample; None: it does not.
    padded : bool, default True
        Whether zeros at the end complete the last window; otherwise samples that fill no window
        are left out.
    axis : int, default −1
        Axis of time.
    scaling : {"spectrum", "psd"}, default "spectrum"
        Whether `Zxx` is in the unit of x, or its squared magnitude a power density.

    Returns
    -------
    f : array
        The frequencies.
    t : array
        The times of the windows' centres.
    Zxx : array
        Complex, in the precision of x. The axis of time is replaced by the frequencies; the windows
        are the last axis.

    Raises
    ------
    ValueError
        If x has no samples, `window` is unknown or longer than x, or `nperseg`, `noverlap` and
        `nfft` do not fit together.
    TypeError
        If `window` is complex.

    See Also
    --------
    istft : The inverse.

    Notes
    -----
    As `scipy.signal.stft`, but silent about complex signals: phases refer to the first sample of a
    window. ``ShortTimeFFT(w, h, fs, mfft=nfft, phase_shift=None).stft(x, p0=0)`` times s is the
    same, and with ``k_offset=M // 2`` the transform without `boundary`.

    Cost: one FFT of nfft points per window. A NaN stays within the windows that hold it.
    `swath.vjp` takes the cotangent of `Zxx`.

    References
    ----------
    .. [1] J. B. Allen and L. R. Rabiner, "A unified approach to short-time Fourier analysis and
       synthesis", *Proc. IEEE* 65 (1977), 1558–1564.

    Examples
    --------
    >>> import numpy as np, swath
    >>> x = np.cos(np.pi / 2 * np.arange(16))
    >>> f, t, Z = swath.signal.stft(x, nperseg=8)
    >>> f
    array([0.   , 0.125, 0.25 , 0.375, 0.5  ])
    >>> t
    array([ 0.,  4.,  8., 12., 16.])
    >>> np.abs(Z[:, 2]).round(3)
    array([0.  , 0.25, 0.5 , 0.25, 0.  ])
    """
    arguments.choice("scaling", scaling, ("spectrum", "psd"))
    if boundary is not None:
        arguments.choice("boundary", boundary, ("zeros", "even", "odd", "constant"))
    return _analysed(
        x, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, axis,
        density=scaling == "psd", boundary=boundary, padded=padded, mode="complex", share=2,
    )  # fmt: skip


@operation(
    "signal.spectrogram",
    differentiable=("x", "window"),
    first=_third,
    replace_first=_with_third,
)
def spectrogram(
    x: Any,
    fs: float = 1.0,
    window: Any = ("tukey", 0.25),
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: str | Callable[[Any], Any] | bool = "constant",
    return_onesided: bool = True,
    scaling: str = "density",
    axis: int = -1,
    mode: str = "psd",
) -> tuple[Any, Any, Any]:
    """Power (or magnitude, or phase) of a signal over time and frequency.

    ::

        Sxx[…, q, p] = a_q · s · |Σ_m w[m] · x[p·h + m] · e^(−2πi·q·m / nfft)|²

    with s = 1 / (fs·Σ w²) or 1 / (Σ w)², and a_q = 2 where a bin stands for its mirror image too
    (in half a spectrum, but for the frequencies 0 and fs/2), else 1.

    Parameters
    ----------
    x : array
        The signal, of N samples along `axis`; real, complex or integer.
    fs : float, default 1.0
        Sampling rate.
    window : str, tuple or array of shape (M,), default ("tukey", 0.25)
        As for `stft`.
    nperseg : int, optional
        As for `stft`.
    noverlap : int, optional
        Samples that neighbouring windows share; by default ⌊M/8⌋.
    nfft : int, optional
        As for `stft`.
    detrend : {"constant", "linear"}, callable or False, default "constant"
        As for `stft`.
    return_onesided : bool, default True
        As for `stft`.
    scaling : {"density", "spectrum"}, default "density"
        Whether `Sxx` is a power density (units of x² per unit of `fs`) or a power.
    axis : int, default −1
        Axis of time.
    mode : {"psd", "complex", "magnitude", "angle", "phase"}, default "psd"
        What is returned: power; `stft` without boundary and padding; its magnitude; its argument;
        the argument made continuous along the frequencies. Only power counts a_q.

    Returns
    -------
    f, t : array
        As for `stft`.
    Sxx : array
        Real but for ``mode="complex"``, in the precision of x; axes as for `stft`.

    Raises
    ------
    ValueError, TypeError
        As for `stft`.

    Notes
    -----
    Cost: one FFT of nfft points per window. `swath.vjp` takes the cotangent of `Sxx`; derivatives
    of magnitude and argument are taken as 0 where the spectrum is 0.

    References
    ----------
    .. [1] A. V. Oppenheim and R. W. Schafer, *Discrete-Time Signal Processing*, 3rd ed., ch. 10.

    Examples
    --------
    >>> import numpy as np, swath
    >>> x = 2.0 * np.cos(np.pi / 2 * np.arange(64))
    >>> f, t, S = swath.signal.spectrogram(x, nperseg=16, scaling="spectrum", window="hann")
    >>> float(f[4]), S[4].round(6)
    (0.25, array([2., 2., 2., 2.]))
    """
    arguments.choice("mode", mode, _MODES)
    arguments.choice("scaling", scaling, ("density", "spectrum"))
    return _analysed(
        x, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, axis,
        density=scaling == "density", boundary=None, padded=False, mode=mode, share=8,
    )  # fmt: skip


def _analysed(
    x: Any,
    fs: Any,
    window: Any,
    nperseg: Any,
    noverlap: Any,
    nfft: Any,
    detrend: Any,
    half: Any,
    axis: Any,
    *,
    density: bool,
    boundary: str | None,
    padded: bool,
    mode: str,
    share: int,
) -> tuple[Any, Any, Any]:
    """Frequencies, times, and what `mode` makes of the spectra; noverlap defaults to M/share."""
    half = arguments.flag("return_onesided", half)
    padded = arguments.flag("padded", padded)
    rate = sampling_rate(fs)
    be, x, taper = _inputs("x", x, window)
    axis = arguments.along("x", x, axis)
    if x.shape[axis] == 0:
        raise ArgumentError(f"x must have samples along axis {axis}, got shape {tuple(x.shape)}")
    size, taper, _ = _taper(be, x, window, taper, nperseg, x.shape[axis])
    half = half and not be.is_complex(primal(x))
    g = _Layout(size, *_step_and_points(size, noverlap, nfft, share), half)
    others = [i for i in range(x.ndim) if i != axis]
    x = _ops.permute(x, (*others, axis))
    ahead = size // 2
    around = [(0, 0)] * (x.ndim - 1)
    if boundary == "zeros":
        x = _ops.pad(x, [*around, (ahead, ahead)])
    elif boundary:
        x = extended(x, x.ndim - 1, ahead, ahead, PADDINGS[boundary])
    if padded:
        x = _ops.pad(x, [*around, (0, (-(x.shape[-1] - size) % g.step) % size)])
    taper = _ops.divide(taper, _gain(taper, rate, density=density))
    found = _windowed(be, g, x, taper, _trendless(be, x, detrend, size), mode)
    count = found.shape[-2]
    order = list(range(x.ndim - 1))
    order.insert(axis, x.ndim)
    kind = be.dtype("float64" if be.has_float64(primal(x)) else "float32")
    t = (size / 2 + g.step * np.arange(count)) / rate
    if boundary:
        t -= size / 2 / rate
    return (
        be.constant(g.frequencies(rate), primal(x), kind),
        be.constant(t, primal(x), kind),
        _ops.permute(found, (*order, x.ndim - 1)),
    )


def _inputs(name: str, x: Any, window: Any) -> tuple[Backend, Any, Any]:
    """The signal in a float dtype of at least 32 bits, and the window if it is an array."""
    named = isinstance(window, str | tuple)
    be, (x, taper) = arguments.dividing("window", **{name: x, "window": None if named else window})
    if not named and taper is None:
        raise ArgumentTypeError("window must be a name, a tuple or an array, got None")
    arguments.numeric(be, name, x)
    (x,) = arguments.summable(be, *arguments.floating(be, x))
    return be, x, taper


def _taper(
    be: Backend, x: Any, window: Any, taper: Any, size: Any, length: int | None
) -> tuple[int, Any, np.ndarray | None]:
    """Samples of a window, the window beside x in x's precision, and on the host if it has a name.

    `length` is the number of samples there are, None where it sets no limit.
    """
    if size is not None:
        size = arguments.positive("nperseg", size)
    kind = be.real_dtype(x.dtype)
    if taper is None:
        wanted = 256 if size is None else size
        if length is not None and wanted > length:
            if size is not None:
                warn(
                    f"nperseg = {size} is greater than the {length} samples there are; "
                    f"windows of {length} are taken",
                    stacklevel=5,
                )
            wanted = length
        table = host_window(window, wanted, fftbins=True)
        return wanted, be.constant(table, primal(x), kind), table
    arguments.numeric(be, "window", taper)
    arguments.real_only(be, "window", taper)
    if taper.ndim != 1 or taper.shape[0] == 0:
        raise ArgumentError(f"window must be one row of samples, got shape {tuple(taper.shape)}")
    found = taper.shape[0]
    if size is not None and size != found:
        raise ArgumentError(f"nperseg is {size}, but window has {found} samples; leave nperseg out")
    if length is not None and found > length:
        raise ArgumentError(f"window has {found} samples, but x has {length}; use a shorter window")
    return found, _ops.cast(taper, kind), None


def _step_and_points(size: int, noverlap: Any, nfft: Any, share: int) -> tuple[int, int]:
    """Samples from window to window, and points of the DFT."""
    shared = (
        size // share if noverlap is None else arguments.positive("noverlap", noverlap, least=0)
    )
    if shared >= size:
        raise ArgumentError(f"noverlap must be less than nperseg = {size}, got {shared}")
    points = size if nfft is None else arguments.positive("nfft", nfft)
    if points < size:
        raise ArgumentError(f"nfft must be at least nperseg = {size}, got {points}")
    return size - shared, points


def _gain(taper: Any, rate: float, *, density: bool) -> Any:
    """What a window multiplies: of a tone the magnitude, of noise the root of its density."""
    if not density:
        return _ops.absolute(_ops.total(taper, (0,)))
    energy = _ops.total(_ops.multiply(taper, taper), (0,))
    return _ops.root(_ops.multiply(energy, _ops.fill_like(taper, (), rate)))


def _trendless(be: Backend, x: Any, detrend: Any, size: int) -> Callable[[Any], Any]:
    """The function that takes the trend from windows along their last axis."""
    if detrend is False or detrend is None:
        return lambda windows: windows
    if callable(detrend):
        if isinstance(x, Node):
            raise UnsupportedError(
                "detrend as a function is not differentiated by swath.vjp; use 'constant' or "
                "'linear', or the library's own autodiff"
            )
        return detrend
    arguments.choice("detrend", detrend, ("constant", "linear"))
    if detrend == "constant" or size == 1:

        def centred(windows: Any) -> Any:
            mean = _ops.scale(_ops.total(windows, (-1,), keepdims=True), 1 / size)
            return _ops.subtract(windows, mean)

        return centred
    # The line of least squares is the projection onto two orthonormal rows.
    ramp = np.arange(size) - (size - 1) / 2
    rows = np.stack([np.full(size, size**-0.5), ramp / np.sqrt(np.sum(ramp**2))])
    down = be.constant(rows.T, primal(x), x.dtype)
    up = be.constant(rows, primal(x), x.dtype)

    def levelled(windows: Any) -> Any:
        return _ops.subtract(windows, _ops.matmul(_ops.matmul(windows, down), up))

    return levelled


def _windowed(
    be: Backend, g: _Layout, x: Any, taper: Any, trendless: Callable[[Any], Any], mode: str
) -> Any:
    """What `mode` makes of the spectra of all windows along the last axis: (…, windows, bins)."""
    lead = tuple(x.shape[:-1])
    count = (x.shape[-1] - g.size) // g.step + 1
    if 0 in lead:
        kind = be.complex_dtype(x.dtype) if mode == "complex" else be.real_dtype(x.dtype)
        return _ops.vacant((*lead, count, g.bins), x, taper, dtype=kind)

    def part(first: int, last: int) -> Any:
        reach = slice(first * g.step, (last - 1) * g.step + g.size)
        windows = _ops.cut(x, *[slice(None)] * len(lead), reach)
        windows = trendless(sliding_windows(windows, g.size, stride=g.step))
        windows = _ops.multiply(windows, _ops.cast(taper, windows.dtype))
        return _made(be, g, transform(windows, g.points), mode)

    out = None
    for first, last in _pieces(be, prod(lead) * g.points, count, x, taper):
        found = part(first, last)
        if last - first == count:
            return found
        if out is None:
            out = be.empty_like(found, (*lead, count, g.bins))
        out[..., first:last, :] = found
    return out


def _pieces(be: Backend, points: int, count: int, *arrays: Any) -> list[tuple[int, int]]:
    """First and last window of each piece; one piece where results cannot be written into place."""
    whole = not be.mutable or any(isinstance(a, Node) for a in arrays) or be.recorded(*arrays)
    first = primal(arrays[0])
    each = max(1, _PIECE * be.wide(first) // (points * be.itemsize(first.dtype)))
    each = count if whole else min(each, count)
    return [(first, min(first + each, count)) for first in range(0, count, each)]


def _made(be: Backend, g: _Layout, z: Any, mode: str) -> Any:
    """What `mode` makes of spectra along the last axis."""
    if not g.half and z.shape[-1] != g.points:
        z = _mirrored(be, g, z)
    if mode == "complex":
        return z
    if mode == "psd":
        power = _ops.squared_size(z)
        if not g.half:
            return power
        return _ops.multiply(power, be.constant(_sides(g.points), primal(power), power.dtype))
    if mode == "magnitude":
        return _ops.absolute(z)
    angle = _ops.angle(z)
    return _unwrapped(be, angle) if mode == "phase" else angle


def _mirrored(be: Backend, g: _Layout, z: Any) -> Any:
    """The whole spectrum of a real signal from its half: z[n − k] is the conjugate of z[k]."""
    lead = [slice(None)] * (z.ndim - 1)
    back = _ops.flip(_ops.cut(z, *lead, slice(1, (g.points + 1) // 2)), (z.ndim - 1,))
    return _ops.concat([z, _ops.conj(back)], z.ndim - 1)


def _unwrapped(be: Backend, angle: Any) -> Any:
    """The angle plus multiples of 2π that make its steps along the last axis at most π."""
    xp, a = be.xp, primal(angle)
    # A step of exactly −π or π stays what it is: halves are rounded to even.
    turns = xp.round((a[..., 1:] - a[..., :-1]) / (2 * np.pi))
    shift = -2 * np.pi * xp.cumulative_sum(turns, axis=-1, dtype=a.dtype)
    shift = be.pad(shift, [*[(0, 0)] * (a.ndim - 1), (1, 0)])
    return _ops.add(angle, shift)


@operation(
    "signal.istft",
    differentiable=("Zxx", "window"),
    linear=("Zxx",),
    reads_values=True,
    first=lambda result: result[1],
    replace_first=lambda result, x: (result[0], x),
)
def istft(
    Zxx: Any,
    fs: float = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    input_onesided: bool = True,
    boundary: bool = True,
    time_axis: int = -1,
    freq_axis: int = -2,
    scaling: str = "spectrum",
) -> tuple[Any, Any]:
    """The inverse short-time Fourier transform.

    ::

        x[n] = Σ_p w[n − p·h] · z_p[n − p·h] / Σ_p w[n − p·h]²

    with z_p the inverse DFT of column p times Σ w or (fs·Σ w²)^(1/2). What `stft` made comes back
    exactly. Any other Zxx gives the signal whose transform is nearest to it (least squares).

    Parameters
    ----------
    Zxx : array
        Spectra of P windows; integer and real ones count as complex.
    fs : float, default 1.0
        Sampling rate.
    window : str, tuple or array of shape (M,), default "hann"
        That of `stft`.
    nperseg : int, optional
        M; by default the length of `window`, or what an even M without zeros gives.
    noverlap : int, optional
        Samples that neighbouring windows share; by default ⌊M/2⌋.
    nfft : int, optional
        Points of the DFT; by default as many as the spectrum stands for.
    input_onesided : bool, default True
        Whether a column is half a spectrum; the signal is then real.
    boundary : bool, default True
        Whether `stft` continued the signal by ⌊M/2⌋ samples at both ends, which are cut off.
    time_axis : int, default −1
        Axis of the windows.
    freq_axis : int, default −2
        Axis of the frequencies.
    scaling : {"spectrum", "psd"}, default "spectrum"
        That of `stft`.

    Returns
    -------
    t : array
        The times of the samples.
    x : array
        The signal: time in the place of the windows, without the axis of frequencies. M + (P − 1)·h
        samples, less the continuation: `stft` may have padded the end.

    Raises
    ------
    ValueError
        If Zxx has fewer than two axes, the sizes do not fit together, or some samples lie under
        zeros of the windows only, so that nothing gives them back (nonzero overlap-add; looked at
        where the window's values are known).
    TypeError
        If `window` is complex.

    Notes
    -----
    Without `boundary` the first and last samples may lie under too little of the window (a sum of
    squares below 1e−10): they are 0 where the window is. Unlike SciPy's, t is as long as x also for
    several channels, and a window whose overlapped squares vanish is an error, not a warning.

    Cost: one FFT per window and M / h additions per sample. `swath.vjp` takes the cotangent of x.

    References
    ----------
    .. [1] D. W. Griffin and J. S. Lim, "Signal estimation from modified short-time Fourier
       transform", *IEEE Trans. Acoust. Speech Signal Process.* 32 (1984), 236–243.
    .. [2] J. B. Allen and L. R. Rabiner, "A unified approach to short-time Fourier analysis and
       synthesis", *Proc. IEEE* 65 (1977), 1558–1564.

    Examples
    --------
    >>> import numpy as np, swath
    >>> x = np.arange(12.0)
    >>> f, t, Z = swath.signal.stft(x, nperseg=4)
    >>> swath.signal.istft(Z, nperseg=4)[1].round(12)
    array([ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11.])
    """
    arguments.choice("scaling", scaling, ("spectrum", "psd"))
    input_onesided = arguments.flag("input_onesided", input_onesided)
    rate = sampling_rate(fs)
    be, z, taper = _inputs("Zxx", Zxx, window)
    if z.ndim < 2:
        raise ArgumentError(f"Zxx must have at least two axes, got shape {tuple(z.shape)}")
    time = arguments.axis_of("time_axis", time_axis, z.ndim)
    freq = arguments.axis_of("freq_axis", freq_axis, z.ndim)
    if time == freq:
        raise ArgumentError(f"time_axis and freq_axis must differ, both are {time}")
    count, bins = z.shape[time], z.shape[freq]
    if count == 0 or bins == 0:
        raise ArgumentError(f"Zxx must have windows and frequencies, got shape {tuple(z.shape)}")
    stands_for = max(1, 2 * (bins - 1)) if input_onesided else bins
    if nperseg is None and taper is None:
        nperseg = stands_for
    size, taper, table = _taper(be, z, window, taper, nperseg, None)
    if nfft is None:
        nfft = size if input_onesided and size == stands_for + 1 else stands_for
    step, points = _step_and_points(size, noverlap, nfft, 2)
    _check_overlap(be, primal(taper), table, step)
    outer = [i for i in range(z.ndim) if i not in (time, freq)]
    z = _ops.permute(z, (*outer, time, freq))
    if not be.is_complex(primal(z)):
        z = _ops.cast(z, be.complex_dtype(z.dtype))
    lead, length = tuple(z.shape[:-2]), size + (count - 1) * step
    if 0 in lead:
        kind = taper.dtype if input_onesided else z.dtype
        x = _ops.vacant((*lead, length), taper, z, dtype=kind)
    else:
        gain = _ops.cast(_gain(taper, rate, density=scaling == "psd"), z.dtype)
        x = _overlapped(be, z, taper, gain, (points, input_onesided), step)
    cover = _ops.broadcast_to(_ops.multiply(taper, taper), (count, size))
    cover = overlap_add(cover, (length,), stride=step)
    if boundary:
        kept = slice(size // 2, length - size // 2)
        x = _ops.cut(x, *[slice(None)] * len(lead), kept)
        cover = _ops.cut(cover, kept)
    cover = _ops.select(primal(cover) > _COVERED, cover, _ops.fill_like(cover, cover.shape, 1))
    x = _ops.divide(x, _ops.cast(cover, x.dtype))
    order = list(range(len(lead)))
    order.insert(time - (freq < time), len(lead))
    kind = be.dtype("float64" if be.has_float64(primal(z)) else "float32")
    t = be.constant(np.arange(cover.shape[0]) / rate, primal(z), kind)
    return t, _ops.permute(x, order)


def _overlapped(
    be: Backend, z: Any, taper: Any, gain: Any, inverse: tuple[int, bool], step: int
) -> Any:
    """Inverse transforms along the last axis of z times gain and taper, added into place."""
    lead, count, size = tuple(z.shape[:-2]), z.shape[-2], taper.shape[0]

    def part(first: int, last: int) -> Any:
        some = _ops.cut(z, *[slice(None)] * len(lead), slice(first, last))
        some = apply(_INVERSE, inverse, _ops.multiply(some, gain))
        some = _ops.cut(some, *[slice(None)] * (z.ndim - 1), slice(0, size))
        length = size + (last - first - 1) * step
        some = _ops.multiply(some, _ops.cast(taper, some.dtype))
        return overlap_add(some, (*lead, length), stride=step)

    out = None
    for first, last in _pieces(be, prod(lead) * inverse[0], count, z, taper):
        found = part(first, last)
        if last - first == count:
            return found
        if out is None:
            out = be.new_like(found, (*lead, size + (count - 1) * step), dtype=found.dtype)
        out[..., first * step : first * step + found.shape[-1]] += found
    return out


def _check_overlap(be: Backend, taper: Array, table: np.ndarray | None, step: int) -> None:
    """Refuse windows between which samples are lost, where their values are known."""
    fill = -taper.shape[0] % step
    if table is not None:
        least = float(np.pad(table**2, (0, fill)).reshape(-1, step).sum(axis=0).min())
    else:
        squares = be.xp.reshape(be.pad(taper * taper, [(0, fill)]), (-1, step))
        least = be.concrete(be.xp.min(be.xp.sum(squares, axis=0, dtype=taper.dtype)))
    if least is not None and not least > _COVERED:
        raise ArgumentError(
            f"window must cover every sample (nonzero overlap-add): with {step} samples from one "
            f"window to the next the sum of its squares is {least:.1e} somewhere; use a larger "
            f"noverlap or another window"
        )
