"""Sampling rates by rational factors: upfirdn, and the filters that go with it.

Public function -> the ends of the signal (`_extension`) -> rows of outputs as matrix products
(`_polyphase`) -> core.
"""

from __future__ import annotations

from math import gcd, prod
from numbers import Number
from typing import Any

import numpy as np

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import primal
from ..errors import ArgumentError, ArgumentTypeError, UnsupportedError, describe
from ..registry import operation
from ._coefficients import coefficients
from ._extension import EXTENSIONS, continued
from ._polyphase import inner, points_read, polyphase
from .window_design import firwin
from .windows import host_window

__all__ = ["FilterAxes", "centred", "decimate", "decimating", "raising", "resample_poly", "upfirdn"]

Array = Any
MODES = ("constant", *EXTENSIONS)
LEVELS = ("mean", "median", "maximum", "minimum")
# Samples for each block computed at once (`Backend.wide`) from which on the middle of a signal is
# worth a product of its own.
_LONG = 2**15


@operation("signal.upfirdn", differentiable=("h", "x"), linear=("h", "x"))
def upfirdn(
    h: Any,
    x: Any,
    up: int = 1,
    down: int = 1,
    axis: int = -1,
    mode: str = "constant",
    cval: Any = 0,
) -> Any:
    """Put zeros between samples, filter, and keep every down-th sample.

    With p = up, q = down, N samples and K taps::

        y[i] = Σ_k h[q·i − p·k] · x[k],     0 <= i <= ((N − 1)·p + K − 1) / q

    Parameters
    ----------
    h : array of shape (..., K)
        Taps at the raised rate. One row filters every channel, as in SciPy. Further axes are a bank
        of filters and broadcast with the axes of `x` other than `axis`.
    x : array
        The signal, of N samples along `axis`; real, complex or integer.
    up, down : int, default 1
        Factors by which the rate is raised and lowered.
    axis : int, default −1
        Axis of time. Where `h` brings more axes, it keeps its place counted from the end.
    mode : str, default "constant"
        What continues the signal at both ends: ``"constant"`` (`cval`), ``"symmetric"``,
        ``"reflect"``, ``"edge"``, ``"wrap"`` as in `numpy.pad`; ``"antisymmetric"`` and
        ``"antireflect"``, mirror images turned upside down (about 0, about the last sample);
        ``"smooth"``, a line through the last two samples; ``"line"``, one of the slope between the
        first and the last sample. A single sample has no slope and is repeated.
    cval : number, default 0
        The constant.

    Returns
    -------
    array
        In the common dtype of `h` and `x`; integers alone become the default float (SciPy: the
        same, but integer taps widen a float32 signal there). Of a signal without samples, empty.

    Raises
    ------
    ValueError
        If `h` has no taps, `x` no axis, their other axes do not broadcast, `up` or `down` is below
        1, or `mode` is unknown.
    TypeError
        If an argument is of a wrong type, or `cval` complex for real inputs.

    Notes
    -----
    Cost: about 2·N·K / q multiply-adds as matrix products (N·K / q are needed). Memory beyond the
    output: blocks of a few MiB, and where `mode` continues the signal a copy of the shorter of
    signal and output. Neighbouring outputs are rows of one product: a sample that is not finite can
    reach outputs as far from it as the larger of 128 samples and twice a filter's length, not
    further.
    Without a change of rate this is `convolve`.

    References
    ----------
    .. [1] P. P. Vaidyanathan, *Multirate Systems and Filter Banks*, Prentice Hall 1993, ch. 4.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.signal.upfirdn([0.5, 1.0, 0.5], np.array([2.0, 4.0, 8.0]), up=2)
    array([1., 2., 3., 4., 6., 8., 4.])
    >>> bank = np.array([[1.0, 1.0], [1.0, -1.0]])
    >>> swath.signal.upfirdn(bank, np.array([2.0, 4.0, 8.0]), down=2)
    array([[ 2., 12.],
           [ 2.,  4.]])
    """
    arguments.choice("mode", mode, MODES)
    be, (h, x) = arguments.dividing(h=h, x=x)
    arguments.numeric(be, "h", h)
    arguments.numeric(be, "x", x)
    if h.ndim == 0 or h.shape[-1] == 0:
        raise ArgumentError(
            f"h must be a row of at least one tap, or a bank of them; got shape {tuple(h.shape)}"
        )
    axis = arguments.along("x", x, axis)
    p, q, _, count = raising(up, down, h.shape[-1], x.shape[axis])
    if p < int(up):
        # Only taps as far apart as the common divisor ever meet a sample.
        lead = [slice(None)] * (h.ndim - 1)
        h = _ops.cut(h, *lead, slice(0, None, int(up) // p))
    return _resampled(be, h, x, axis, (p, q), 0, count, mode, cval)


@operation("signal.resample_poly", differentiable=("x", "window"), linear=("x", "window"))
def resample_poly(
    x: Any,
    up: int,
    down: int,
    axis: int = 0,
    window: Any = ("kaiser", 5.0),
    padtype: str = "constant",
    cval: Any = None,
) -> Any:
    """Change the sampling rate by the factor up / down, with a filter without delay.

    With p and q, up and down without their common divisor, and a filter of K taps h::

        y[i] = p · Σ_k h[q·i + ⌊(K − 1) / 2⌋ − p·k] · x[k],     0 <= i < ⌈N·p / q⌉

    Parameters
    ----------
    x : array
        The signal, of N samples along `axis`; real, complex or integer.
    up, down : int
        Factors by which the rate is raised and lowered.
    axis : int, default 0
        Axis of time.
    window : str, tuple, or array of shape (K,), default ("kaiser", 5.0)
        The window of `get_window` with which a low-pass filter of 20·max(p, q) + 1 taps is designed
        by `firwin`, or the taps themselves, for the rate p times that of `x`.
    padtype : str, default "constant"
        What continues the signal at both ends: ``"constant"`` (`cval`), one of the other modes of
        `upfirdn`, or the ``"mean"``, ``"median"``, ``"maximum"`` or ``"minimum"`` of the samples.
    cval : number, optional
        The constant; 0 by default.

    Returns
    -------
    array
        x's shape with ⌈N·p / q⌉ samples along `axis`, in the dtype of `x` (with given taps, the
        common one); integers become the default float.

    Raises
    ------
    ValueError
        If `up` or `down` is no whole number of at least 1, the taps are not one row, `padtype` or
        the window is unknown, or `cval` is given with another `padtype` than ``"constant"``.
    TypeError
        If an argument is of a wrong type, or `x` is complex where samples are to be ordered.

    Notes
    -----
    Cost: as `upfirdn`; the median sorts, and a level other than a constant takes a copy of the
    signal. The median's derivative goes to the samples in the middle, that of
    an extreme to one sample that attains it. With p = q the signal is returned as it is.

    References
    ----------
    .. [1] P. P. Vaidyanathan, *Multirate Systems and Filter Banks*, Prentice Hall 1993, ch. 4.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.signal.resample_poly(np.array([1.0, 2.0, 3.0, 4.0]), 2, 1, padtype="line").round(2)
    array([1. , 1.5, 2. , 2.5, 3. , 3.5, 4. , 4.5])
    """
    p, q = _rate("up", up), _rate("down", down)
    arguments.choice("padtype", padtype, (*MODES, *LEVELS))
    if cval is not None and padtype != "constant":
        raise ArgumentError(
            f'cval is the constant of padtype="constant"; leave it out with padtype={padtype!r}'
        )
    taps = None if isinstance(window, str | tuple | Number) else window
    be, (x, taps) = arguments.dividing("window", x=x, window=taps)
    return _resampled_centred(be, x, p, q, axis, window, taps, padtype, 0 if cval is None else cval)


def _resampled_centred(
    be: Backend,
    x: Any,
    p: int,
    q: int,
    axis: Any,
    window: Any,
    taps: Any,
    padtype: str,
    cval: Any,
) -> Any:
    arguments.numeric(be, "x", x)
    axis = arguments.along("x", x, axis)
    if taps is not None:
        taps = coefficients(be, "window", taps)
    if padtype in ("median", "maximum", "minimum"):
        arguments.real_only(be, "x", x)
    x, taps = arguments.floating(be, x, taps)
    shape = None if taps is None else tuple(taps.shape)
    order, p, q, half, count = centred(p, q, shape, x.shape[axis])
    if p == q == 1:
        # A copy, not 1·x: the product of a complex infinity with 1 + 0i has a NaN.
        return _ops.concat([x], axis)
    kind = x.dtype
    x, taps = arguments.summable(be, x, taps)
    if taps is None:
        taps = _lowpass(be, order, 1 / max(p, q), window, x)
    if p > 1:
        taps = _ops.multiply(taps, _ops.fill_like(taps, (), p))
    if padtype not in LEVELS or 0 in x.shape:
        mode = "constant" if padtype in LEVELS else padtype
        return _ops.cast(_resampled(be, taps, x, axis, (p, q), half, count, mode, cval), kind)
    level = _level(be, x, axis, padtype)
    x = _ops.subtract(x, level)
    y = _resampled(be, taps, x, axis, (p, q), half, count, "constant", 0)
    del x  # as long as y: not kept while the level is added
    return _ops.cast(_ops.add(y, level), kind)


@operation("signal.decimate", differentiable=("x",), linear=("x",))
def decimate(
    x: Any,
    q: int,
    n: int | None = None,
    ftype: Any = "fir",
    axis: int = -1,
    zero_phase: bool = True,
) -> Any:
    """Lower the sampling rate by a whole factor, after a low-pass filter.

    Parameters
    ----------
    x : array
        The signal, of N samples along `axis`; real, complex or integer.
    q : int
        Factor by which the rate is lowered.
    n : int, optional
        Order of the filter (taps − 1); 20·q by default.
    ftype : "fir" or scipy.signal.dlti, default "fir"
        A filter designed by `firwin` with a Hamming window, or a given one without feedback.
        SciPy's default is ``"iir"``, which is not done here.
    axis : int, default −1
        Axis of time.
    zero_phase : bool, default True
        Whether the filter is centred (as by `resample_poly`), or delays by half its order.

    Returns
    -------
    array
        x's shape with ⌈N / q⌉ samples along `axis`, in the dtype of `x` (that of a complex filter
        is complex); integers become the default float. SciPy widens float16; here it is kept, and
        sums are float32.

    Raises
    ------
    NotImplementedError
        If `ftype` is ``"iir"`` or a system with feedback.
    ValueError
        If `q` is below 1, `n` below 0, or `ftype` unknown.
    TypeError
        If an argument is of a wrong type.

    Notes
    -----
    Cost: about 2·N·n / q multiply-adds as matrix products; samples that are dropped are not
    computed. With q = 1 and no given filter the signal is returned as it is.

    References
    ----------
    .. [1] P. P. Vaidyanathan, *Multirate Systems and Filter Banks*, Prentice Hall 1993, ch. 4.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.signal.decimate(np.arange(40.0), 4).round(1)
    array([ 0.4,  4. ,  8. , 12.2, 15.8, 20.4, 23.4, 29.1, 30.4, 39.4])
    """
    factor = arguments.positive("q", q)
    order = 20 * factor if n is None else arguments.positive("n", n, least=0)
    zero_phase = arguments.flag("zero_phase", zero_phase)
    be, (x,) = arguments.arrays(x=x)
    arguments.numeric(be, "x", x)
    axis = arguments.along("x", x, axis)
    (x,) = arguments.floating(be, x)
    kind = x.dtype
    (x,) = arguments.summable(be, x)
    taps = _given(be, ftype, x)
    if taps is None and factor > 1:
        taps = _lowpass(be, order + 1, 1 / factor, "hamming", x)
    if zero_phase or taps is None:
        y = _resampled_centred(be, x, 1, factor, axis, None, taps, "constant", 0)
    else:
        x, taps = arguments.promote(be, x, taps)
        count = -(-x.shape[axis] // factor)
        y = _resampled(be, taps, x, axis, (1, factor), 0, count, "constant", 0)
    return y if be.is_complex(primal(y)) else _ops.cast(y, kind)


def _given(be: Backend, ftype: Any, like: Any) -> Any:
    """The taps of a system without feedback beside `like`; None for "fir"."""
    if isinstance(ftype, str):
        if ftype == "fir":
            return None
        if ftype == "iir":
            raise UnsupportedError(
                'ftype="iir" filters with feedback, which is not done here: use ftype="fir" (the '
                "default here), or scipy.signal.decimate on the host"
            )
        raise ArgumentError(f"ftype must be 'fir' or a dlti system, got {ftype!r}")
    from scipy.signal import dlti

    if not isinstance(ftype, dlti):
        raise ArgumentTypeError(f"ftype must be 'fir' or a dlti system, got {describe(ftype)}")
    given: Any = ftype
    if len(given.to_zpk().poles):
        raise UnsupportedError(
            "ftype is a system with feedback (it has poles), which is not done here: pass one "
            "without, or use scipy.signal.decimate on the host"
        )
    system = given.to_tf()
    table = np.atleast_1d(np.asarray(system.num) / np.asarray(system.den))
    plain = primal(like)
    kind = plain.dtype
    if table.dtype.kind == "c" and not be.is_complex(plain):
        kind = be.complex_dtype(kind)
    return be.constant(table, plain, kind)


def raising(up: Any, down: Any, taps: int, points: int) -> tuple[int, int, int, int]:
    """p and q of `upfirdn` without their common divisor, the taps that count, and the outputs."""
    p, q = _rate("up", up), _rate("down", down)
    count = ((points - 1) * p + taps - 1) // q + 1 if points else 0
    common = gcd(p, q)
    return p // common, q // common, -(-taps // common), count


def centred(
    up: Any, down: Any, window: tuple[int, ...] | None, points: int
) -> tuple[int, int, int, int, int]:
    """Taps, p, q, offset and outputs of `resample_poly`; `window` is the shape of given taps."""
    p, q = _rate("up", up), _rate("down", down)
    p, q = p // gcd(p, q), q // gcd(p, q)
    taps = 20 * max(p, q) + 1 if window is None else prod(window)
    if p == q == 1:
        taps = 1
    return taps, p, q, (taps - 1) // 2, -(-points * p // q)


def decimating(q: Any, n: Any, ftype: Any, zero_phase: bool) -> tuple[int, int, int]:
    """Taps, factor and offset of `decimate`."""
    factor = arguments.positive("q", q)
    if not isinstance(ftype, str):
        taps = np.size(ftype.to_tf().num)
    else:
        taps = 20 * factor + 1 if n is None else arguments.positive("n", n, least=0) + 1
    if factor == 1 and (zero_phase or isinstance(ftype, str)):
        taps = 1
    return taps, factor, (taps - 1) // 2 if zero_phase else 0


def _rate(name: str, value: Any) -> int:
    """A whole number of at least 1; a float counts if it is one, as in SciPy."""
    if isinstance(value, str) or (isinstance(value, float) and not value.is_integer()):
        raise ArgumentError(f"{name} must be a whole number, got {value!r}")
    return arguments.positive(name, int(value) if isinstance(value, float) else value)


def _lowpass(be: Backend, taps: int, cutoff: float, window: Any, like: Any) -> Array:
    """A low-pass filter beside `like`, designed on the host in float64."""
    plain = primal(like)
    table = firwin(taps, cutoff, window=host_window(window, taps, fftbins=False))
    return be.constant(table, plain, plain.dtype)


def _level(be: Backend, x: Any, axis: int, kind: str) -> Any:
    """Mean, median or an extreme along an axis, which is kept; NaN where a sample is."""
    n = x.shape[axis]
    if kind == "mean":
        mean = _ops.total(x, (axis,), keepdims=True)
        return _ops.divide(mean, _ops.fill_like(mean, (), n))
    # Where the sample stands is found from values alone: the derivative is that of taking it.
    plain, xp = primal(x), be.xp
    if be.is_complex(plain):
        # By complex taps alone: the signal is real.
        plain = xp.real(plain)
    if kind == "median":
        order = xp.argsort(plain, axis=axis)
        lead = [slice(None)] * axis
        places = [order[(*lead, slice(m, m + 1), ...)] for m in sorted({(n - 1) // 2, n // 2})]
    else:
        find = xp.argmax if kind == "maximum" else xp.argmin
        places = [find(plain, axis=axis, keepdims=True)]
    shape = [n if i == axis else 1 for i in range(x.ndim)]
    steps = xp.reshape(be.arange(n, plain, places[0].dtype), tuple(shape))
    zero = _ops.fill_like(x, (), 0)
    level = None
    for place in places:
        taken = _ops.total(_ops.select(steps == place, x, zero), (axis,), keepdims=True)
        level = taken if level is None else _ops.add(level, taken)
    if len(places) == 2:
        level = _ops.scale(level, 0.5)
    unknown = xp.any(plain != plain, axis=axis, keepdims=True)
    return _ops.select(unknown, _ops.fill_like(x, (), float("nan")), level)


def _resampled(
    be: Backend,
    h: Any,
    x: Any,
    axis: int,
    rates: tuple[int, int],
    offset: int,
    count: int,
    mode: str,
    cval: Any,
) -> Any:
    """y[i] = Σ_k h[q·i + offset − p·k] · x[k] along an axis, 0 <= i < count, x continued."""
    exact = not be.is_floating(h.dtype) and not be.is_floating(x.dtype)
    h, x = arguments.floating(be, h, x)
    value = arguments.constant(be, "cval", cval, x)
    axes = FilterAxes(tuple(h.shape[:-1]), tuple(x.shape), axis)
    out = axes.out(count)
    if 0 in out or x.shape[axis] == 0:
        return _ops.vacant(out, x, h)
    p, q = rates
    kind = x.dtype
    h, x = arguments.summable(be, h, x)
    x, h = axes.merged(x), axes.rows(h)
    # Sums of integers are exact in a float that holds them; a transform's are not.
    method = "toeplitz" if exact else "auto"
    parts = []
    # Zeros beyond the ends belong to the product.
    zeros = mode == "constant" and value == 0
    runs = [(0, count)]
    if not zeros:
        runs = _runs(h.shape[-1], p, q, offset, count, x.shape[-1], be.wide(primal(x)))
    for first, last in runs:
        part, begin = _read(x, (h.shape[-1], p, q, offset), first, last, mode, value)
        place = offset + q * first - p * begin
        parts.append(polyphase(h, part, p, q, place, last - first, method))
    y = _ops.concat(parts, 2) if len(parts) > 1 else parts[0]
    return _ops.cast(axes.split(y), kind)


def _runs(
    taps: int, p: int, q: int, offset: int, count: int, points: int, wide: int
) -> list[tuple[int, int]]:
    """Outputs of a long signal in three runs: the middle reads it where it stands.

    The ends alone need a copy with what lies beyond them. Where outputs are more than points, a
    copy of the signal is less than the runs joined.
    """
    if count <= points >= _LONG * wide:
        first, found = inner(taps, p, q, offset, points)
        last = min(first + found, count)
        if 2 * (last - first) > count:
            runs = [(0, first), (first, last), (last, count)]
            return [(a, b) for a, b in runs if a < b]
    return [(0, count)]


def _read(
    x: Any, rates: tuple[int, int, int, int], first: int, last: int, mode: str, value: Any
) -> tuple[Any, int]:
    """The points of x, continued, that outputs first … last−1 read, and the place of the first."""
    taps, p, q, offset = rates
    points = x.shape[-1]
    low, high = points_read(taps, p, q, offset + q * first, last - first)
    inside = low >= 0 and high < points
    if inside or (mode == "constant" and value == 0):
        # Zeros belong to the product, and points behind the last one read fill its frames.
        begin = min(max(low, 0), points - 1)
        return _ops.cut(x, slice(None), slice(None), slice(begin, points)), begin
    if mode != "constant":
        return continued(x, 2, low, max(high, low) + 1, mode), low
    begin, end = min(max(low, 0), points - 1), points if high >= points - 1 else max(high + 1, 1)
    x = _ops.cut(x, slice(None), slice(None), slice(begin, end))
    pads = max(0, -low), max(0, high + 1 - points)
    return _ops.pad(x, [(0, 0), (0, 0), pads], value), begin - pads[0]


class FilterAxes:
    """How the axes of filters and signals other than time become batch, groups and filters.

    An axis of the signal alone is a batch, one of both is a group with filters of its own, one of
    the filters alone is a bank. The axis of time keeps its place counted from the end.

    Parameters
    ----------
    h : tuple of int
        Shape of the filters without the taps.
    x : tuple of int
        Shape of the signals.
    axis : int
        Of time, in x.
    """

    def __init__(self, h: tuple[int, ...], x: tuple[int, ...], axis: int) -> None:
        self.given, self.axis = x, axis
        rest = x[:axis] + x[axis + 1 :]
        rank = max(len(h), len(rest))
        self.h = (1,) * (rank - len(h)) + h
        self.x = (1,) * (rank - len(rest)) + rest
        for n, m in zip(self.x, self.h, strict=True):
            if n != m and n != 1 and m != 1:
                raise ArgumentError(
                    f"the axes of h before the taps {h} and those of x without time {rest} do not "
                    f"broadcast: lengths {m} and {n}"
                )
        #: Place of time in the result.
        self.time = rank + 1 + axis - len(x)
        self.shape = tuple(n if m == 1 else m for n, m in zip(self.x, self.h, strict=True))
        axes = range(rank)
        batch = [i for i in axes if self.h[i] == 1]
        groups = [i for i in axes if self.h[i] != 1 and self.x[i] != 1]
        bank = [i for i in axes if self.h[i] != 1 and self.x[i] == 1]
        self.order = (*batch, *groups, *bank)
        self.counts = prod(self.x[i] for i in batch), prod(self.x[i] for i in groups)

    def out(self, count: int) -> tuple[int, ...]:
        """Shape of a result of `count` samples."""
        return (*self.shape[: self.time], count, *self.shape[self.time :])

    def merged(self, x: Any) -> Any:
        """x to (batch, groups, samples)."""
        places = [i for i in range(x.ndim) if i != self.axis]
        x = _ops.permute(x, (*places, self.axis))
        x = _ops.reshape(x, (*self.x, x.shape[-1]))
        x = _ops.permute(x, (*self.order, len(self.order)))
        return _ops.reshape(x, (*self.counts, x.shape[-1]))

    def rows(self, h: Any) -> Any:
        """h to (groups · filters, taps)."""
        h = _ops.reshape(h, (*self.h, h.shape[-1]))
        h = _ops.permute(h, (*self.order, len(self.order)))
        return _ops.reshape(h, (prod(self.h), h.shape[-1]))

    def split(self, y: Any) -> Any:
        """The result from (batch, groups · filters, samples)."""
        rank = len(self.order)
        y = _ops.reshape(y, (*(self.shape[i] for i in self.order), y.shape[-1]))
        back = [self.order.index(i) for i in range(rank)]
        return _ops.permute(y, (*back[: self.time], rank, *back[self.time :]))
