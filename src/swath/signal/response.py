"""What a filter does to each frequency: its transfer function, an eigenvalue on e^{iωn}.

All functions evaluate Σ b_k e^{−iωk}. The exponentials are split, k = K₀·p + q, so that a table of
about √K rows serves K taps: one matrix product over q, and over p a sum of halves of halves. Axes
that filters and frequencies share are a batch of such products. A number of frequencies evenly
round the circle is a DFT.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import isqrt, pi, prod
from numbers import Number
from typing import Any

import numpy as np

from .. import _ops, arguments
from .._backends import Backend, try_backend
from ..autodiff import primal
from ..errors import ArgumentError, ArgumentTypeError, describe
from ..registry import operation
from ..sliding.plan import capturing
from ._coefficients import angles_of, coefficients, divided, sampling_rate
from ._slide import convolve_axes
from ._transform import transform

__all__ = ["amplitude_response", "freqz", "group_delay"]

Array = Any
# Bytes of the sums of a block of frequencies, and the fewest of a block.
_BLOCK, _FEWEST = 2**20, 1024


def _wave(be: Backend, angles: Array, steps: float) -> Array:
    """e^{−iω·steps}, of angles on the host in double precision at least."""
    phase = angles * steps
    if isinstance(angles, np.ndarray):
        found: Any = np.empty(phase.shape, np.result_type(phase, np.complex128))
        np.cos(phase, out=found.real)
        np.sin(-phase, out=found.imag)
        return found
    return be.xp.exp(be.xp.astype(phase, be.complex_dtype(phase.dtype)) * -1j)


def _waves(be: Backend, angles: Array, count: int) -> Array:
    """e^{−iωk} for k < count, along a new first axis.

    Doubled from one exponential, which costs as much as ten products; the error of the last one is
    `count` times its own.
    """
    ratio, have = _wave(be, angles, 1.0), 1
    if isinstance(angles, np.ndarray):
        found = np.empty((count, *angles.shape), ratio.dtype)
        found[0] = 1
        while have < count:
            more = min(have, count - have)
            np.multiply(found[:more], ratio, out=found[have : have + more])
            ratio, have = ratio * ratio, have + more
        return found
    found = be.xp.ones_like(ratio)[None, ...]
    while have < count:
        more = min(have, count - have)
        found = be.xp.concat([found, found[:more, ...] * ratio[None, ...]], axis=0)
        ratio, have = ratio * ratio, have + more
    return found


def _beside(be: Backend, waves: Array, like: Any) -> Array:
    """Exponentials beside `like`, complex in its precision."""
    kind = be.complex_dtype(like.dtype)
    if isinstance(waves, np.ndarray) and be.name != "numpy":
        return be.constant(waves, primal(like), kind)
    return be.cast(waves, kind)


def _transfer(be: Backend, b: Any, angles: Array) -> Any:
    """Σ b_k e^{−iωk}: b (K, *S) and angles broadcast, S against the angles' shape."""
    taps, batch, places = b.shape[0], tuple(b.shape[1:]), tuple(angles.shape)
    rank = max(len(batch), len(places))
    filters = (1,) * (rank - len(batch)) + batch
    freqs = (1,) * (rank - len(places)) + places
    both = [i for i in range(rank) if filters[i] != 1 and freqs[i] != 1]
    own = [i for i in range(rank) if filters[i] != 1 and freqs[i] == 1]
    rest = [i for i in range(rank) if i not in both and i not in own]
    shared, points, count = (
        prod(n[i] for i in part) for n, part in ((filters, both), (freqs, rest), (filters, own))
    )
    # Angles (G, W), taps (K, G, F), the result (G, F, W).
    xp = np if isinstance(angles, np.ndarray) else be.xp
    angles = xp.permute_dims(xp.reshape(angles, freqs), (*both, *own, *rest))
    angles = xp.reshape(angles, (shared, points))
    table = _ops.permute(
        _ops.reshape(b, (taps, *filters)), (0, *(1 + i for i in both + own + rest))
    )
    table = _ops.reshape(table, (taps, shared, count))
    outer = 1 << (isqrt(taps).bit_length() - 1)
    inner = -(-taps // outer)
    kind = be.complex_dtype(b.dtype)
    table = _ops.pad(_ops.cast(table, kind), ((0, inner * outer - taps), (0, 0), (0, 0)))
    table = _ops.permute(_ops.reshape(table, (outer, inner, shared, count)), (2, 0, 3, 1))
    # Frequencies whose sums stay in the cache; a compiler sees to that itself.
    step = max(_FEWEST, _BLOCK // (shared * outer * count * be.itemsize(kind)))
    step = points if be.traces else min(step, points)
    starts = range(0, points, step) if points else (0,)
    parts = [_sums(be, table, angles[:, first : min(first + step, points)], b) for first in starts]
    h = _ops.concat(parts, 2) if len(parts) > 1 else parts[0]
    order = [*both, *own, *rest]
    shape = [freqs[i] if i in rest else filters[i] for i in order]
    h = _ops.reshape(h, shape)
    return _ops.permute(h, [order.index(i) for i in range(rank)])


def _sums(be: Backend, table: Any, angles: Array, like: Any) -> Any:
    """Σ_p e^{−iωK₀p} Σ_q e^{−iωq} b: of b (G, p, F, q) and angles (G, W), (G, F, W)."""
    shared, outer, count, inner = table.shape
    points = angles.shape[1]
    waves = _waves(be, angles, inner + (outer > 1))
    fine = be.xp.permute_dims(_beside(be, waves[:inner, ...], like), (1, 0, 2))
    sums = _ops.matmul(_ops.reshape(table, (shared, outer * count, inner)), fine)
    sums = _ops.reshape(sums, (shared, outer, count, points))
    ratio = waves[-1, ...]
    while sums.shape[1] > 1:
        # p even and odd: Σ_p s_p z^p = Σ_p (s_2p + z s_2p+1) (z²)^p.
        even, odd = (_ops.cut(sums, slice(None), slice(i, None, 2)) for i in (0, 1))
        turn = _beside(be, ratio, like)[:, None, None, :]
        sums = _ops.add(even, _ops.multiply(odd, turn))
        ratio = ratio * ratio
    return _ops.reshape(sums, (shared, count, points))


def _spectrum(be: Backend, b: Any, angles: Array, points: int) -> Any:
    """`_transfer` at the first of `points` frequencies evenly round the circle; 0 if they are not.

    Taps beyond `points` meet the exponentials of the first ones again.
    """
    taps, batch, count = b.shape[0], tuple(b.shape[1:]), angles.shape[0]
    if not points or (batch and batch[-1] != 1):
        return _transfer(be, b, angles)
    b = _ops.permute(_ops.reshape(b, (taps, *batch[:-1])), (*range(1, max(1, len(batch))), 0))
    if taps > points:
        rounds = -(-taps // points)
        b = _ops.pad(b, [*[(0, 0)] * (b.ndim - 1), (0, rounds * points - taps)])
        b = _ops.total(_ops.reshape(b, (*b.shape[:-1], rounds, points)), (-2,))
    if count > points // 2 + 1:
        b = _ops.cast(b, be.complex_dtype(b.dtype))
    return _ops.cut(transform(b, points), *[slice(None)] * (b.ndim - 1), slice(0, count))


def _grid(
    be: Backend,
    name: str,
    value: Any,
    beside: str,
    like: Any,
    rate: float,
    *,
    whole: bool,
    ends: bool = False,
) -> tuple[Array, int]:
    """Angles, at least one axis: a number of them evenly from 0 on, or those given.

    Also how many of them go round the circle, 0 where they are given. A count may be an int or an
    array of one integer without axes, as in SciPy.
    """
    if value is None:
        value = 512
    found = try_backend(primal(value))
    if found is not None and value.ndim == 0 and not found.is_floating(value.dtype):
        count = found.concrete(primal(value))
        if count is None:
            raise ArgumentTypeError(
                f"{name} is a traced integer; how many frequencies must be known: pass an int"
            )
        value = count
    if arguments.is_int(value):
        count = arguments.positive(name, value, least=0)
        points = count if whole else 2 * max(0, count - ends)
        return np.linspace(0, 2 * pi if whole else pi, count, endpoint=ends), points
    if isinstance(value, complex) and value.imag == 0:
        value = value.real
    angles = angles_of(be, name, value, beside, like, rate)
    if angles.ndim == 0:
        angles = angles[None]
    return angles, 0


def _counted(value: Any) -> bool:
    """Whether `_grid` gives host numbers, of no dtype of their own: from a count or a list."""
    be = arguments.strong(value)
    return be is None or (value.ndim == 0 and not be.is_floating(value.dtype))


def _columns(be: Backend, name: str, value: Any) -> Any:
    """Coefficients along the first axis; a number counts as one."""
    arguments.numeric(be, name, value)
    if value.ndim == 0:
        value = _ops.reshape(value, (1,))
    if value.shape[0] == 0:
        raise ArgumentError(f"{name} must have at least one coefficient, got none")
    return value


def _compatible(**given: Any) -> None:
    """Refuse shapes that do not broadcast."""
    try:
        np.broadcast_shapes(*given.values())
    except ValueError:
        raise ArgumentError(
            "the axes after the first of b and a must broadcast with those of the frequencies, got "
            + ", ".join(f"{shape} of {name}" for name, shape in given.items())
        ) from None


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
    b, a : array of shape (K, ...), (L, ...)
        Coefficients of numerator and denominator along the first axis; the others broadcast with
        the frequencies. `a` may be a number. Feedback is allowed here.
    worN : int or array, default 512
        How many frequencies from 0 up to fs/2 (fs, with `whole`), or the frequencies, in units of
        `fs`, of any shape.
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
        The frequencies in units of `fs`, of the shape of `worN` (a number has one axis).
    h : array
        The complex response: the axes after the first of `b` and `a`, broadcast with those of w.
        Many filters at the same frequencies are b of shape (K, F, 1), and h of (F, W).

    Raises
    ------
    ValueError
        If `b` or `a` is empty, shapes do not broadcast, `worN` is negative, or `fs` is not
        positive.
    TypeError
        If `worN` is not real.

    Notes
    -----
    The response is the filter's eigenvalue on e^{iωn}: filtering that signal multiplies it by h.

    Cost: a number of frequencies is one DFT; given ones take a multiply-add per frequency and tap.
    Those given as numbers are turned into exponentials in float64; those in an array in the array's
    precision, each with an error of up to about eps·(ω·K + K), for they are powers of two of them.

    `swath.vjp` takes the cotangent of `h`.

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
    whole = arguments.flag("whole", whole)
    include_nyquist = arguments.flag("include_nyquist", include_nyquist)
    given = a
    be, (b, a) = arguments.dividing(b=b, a=a)
    b, a = _columns(be, "b", b), _columns(be, "a", a)
    # No library has complex halves either.
    b, a = arguments.summable(be, *arguments.floating(be, b, a))
    ends = include_nyquist and not whole
    angles, points = _grid(be, "worN", worN, "b", _ops.real(b), rate, whole=whole, ends=ends)
    _compatible(b=tuple(b.shape[1:]), a=tuple(a.shape[1:]), worN=tuple(angles.shape))
    h = _spectrum(be, b, angles, points)
    if a.shape[0] > 1:
        h = _ops.divide(h, _spectrum(be, a, angles, points))
    elif a.ndim == 1:
        h = divided(be, h, a, given)
    else:
        h = _ops.divide(h, _ops.cast(_ops.reshape(a, tuple(a.shape[1:])), h.dtype))
    w = angles * (rate / (2 * pi))
    if _counted(worN):
        w = be.constant(w, primal(b), be.real_dtype(b.dtype))
    if plot is not None:
        plot(w, primal(h))
    return w, h


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
    (h,) = arguments.summable(be, h)
    angles = angles_of(be, "freqs", freqs, "h", h, rate)
    if not capturing() and not _symmetric(be, primal(h)):
        raise ArgumentError(
            "h is not symmetric (h[k] = h[K − 1 − k]), so its response has a phase of its own; "
            "signal.freqz gives the complex response of any filter"
        )
    value = _transfer(be, h, angles)
    ahead = _beside(be, _wave(be, angles, -(h.shape[0] - 1) / 2), h)
    return _ops.cast(_ops.real(_ops.multiply(value, ahead)), kind)


def _symmetric(be: Backend, h: Array) -> bool:
    """Whether h equals its reverse up to rounding; True where its values are not known."""
    xp = be.xp
    slack = 64 * float(xp.finfo(h.dtype).eps)
    off = xp.max(xp.abs(h - xp.flip(h, axis=0)))
    # A NaN is no asymmetry: it shows in the result.
    return be.concrete(off > slack * xp.max(xp.abs(h))) is not True


@operation(
    "signal.group_delay",
    differentiable=("system",),
    arrays=("system", "w"),
    reads_values=True,
    first=lambda result: result[1],
    replace_first=lambda result, delay: (result[0], delay),
)
def group_delay(system: Any, w: Any = 512, whole: bool = False, fs: float = 2 * pi) -> Any:
    """By how many samples a filter delays the envelope of each frequency.

    With B the response of the taps b and B′ that of the taps k·b[k]::

        τ(ω) = −d arg B(ω) / dω = Re(B′(ω) / B(ω))

    and for a filter with feedback the delay of b less that of a.

    Parameters
    ----------
    system : (b, a) or array of shape (K,)
        Coefficients of numerator and denominator, one row each; or the taps of a FIR filter alone,
        also as a list of numbers. Feedback is allowed here.
    w : int or array, default 512
        How many frequencies from 0 up to fs/2 (fs, with `whole`), or the frequencies, in units of
        `fs`, of any shape.
    whole : bool, default False
        Whether a number of frequencies goes round the whole circle.
    fs : float, default 2π
        Sampling rate: the unit of frequencies. By default radians per sample.

    Returns
    -------
    w : array
        The frequencies in units of `fs` (a number has one axis).
    delay : array
        The group delay in samples, real, of the shape of w. Where the response is exactly 0 there
        is none: 0 is given, with a warning unless traced.

    Raises
    ------
    ValueError
        If b or a has several axes or is empty, `w` is negative, or `fs` is not positive.
    TypeError
        If `system` is neither a pair nor an array, or `w` is not real.

    Warns
    -----
    UserWarning
        Where a response is 0 (or nearly so: there the delay may be anything), if values are known.

    Notes
    -----
    Cost: a number of frequencies is two DFTs; given ones take two multiply-adds per frequency and
    tap. A linear-phase filter of K taps delays by
    (K − 1) / 2. `swath.vjp` takes the cotangent of the delay.

    References
    ----------
    .. [1] J. O. Smith, *Introduction to Digital Filters with Audio Applications*, W3K 2007,
       "Numerical computation of group delay".

    Examples
    --------
    >>> import numpy as np, swath
    >>> w, delay = swath.signal.group_delay((np.array([1.0, 2.0, 1.0]), 1), w=3)
    >>> delay.round(12)
    array([1., 1., 1.])
    """
    rate = sampling_rate(fs)
    whole = arguments.flag("whole", whole)
    be, b, a = _system(system)
    b, a = arguments.summable(be, *arguments.floating(be, b, a))
    like = _ops.real(b)
    angles, points = _grid(be, "w", w, "system", like, rate, whole=whole)
    # The delay of b·z⁻ᴺ / a: the taps of one product b ∗ conj(reversed a), N = L − 1 too late.
    order = a.shape[0] - 1
    taps = b
    if order:
        taps = convolve_axes(b, _ops.flip(_ops.conj(a), (0,)), (0,), "full", "direct")
    taps = _ops.multiply(taps, _unit(be, primal(taps)))
    count = taps.shape[0]
    ramp = be.constant([float(k) for k in range(count)], primal(like), like.dtype)
    pair = _ops.concat(
        [
            _ops.reshape(v, (count, 1))
            for v in (taps, _ops.multiply(taps, _ops.cast(ramp, taps.dtype)))
        ],
        1,
    )
    pair = _ops.reshape(pair, (count, 2, *(1,) * angles.ndim))
    found = _spectrum(be, pair, angles, points)
    response, rising = (
        _ops.reshape(_ops.cut(found, slice(i, i + 1)), tuple(angles.shape)) for i in (0, 1)
    )
    plain = primal(response)
    none = plain == 0
    _warned(be, plain, none, primal(taps))
    # Re(B′ / B) in reals: a NaN goes through a complex division with a warning.
    turned = _ops.conj(response)
    size = _ops.real(_ops.multiply(response, turned))
    size = _ops.select(none, _ops.fill_like(size, (), 1), size)
    ratio = _ops.divide(_ops.real(_ops.multiply(rising, turned)), size)
    delay = _ops.subtract(ratio, _ops.fill_like(ratio, (), order))
    delay = _ops.select(none, _ops.fill_like(delay, ()), delay)
    places = angles * (rate / (2 * pi))
    if _counted(w):
        places = be.constant(places, primal(b), delay.dtype)
    return places, delay


def _system(system: Any) -> tuple[Backend, Any, Any]:
    """Numerator and denominator, a row each."""
    taps = isinstance(system, list) and all(isinstance(v, Number) for v in system)
    if isinstance(system, tuple | list) and not taps:
        if len(system) != 2:
            raise ArgumentError(
                f"system must be (b, a), or an array of taps; got {len(system)} entries"
            )
        be, (b, a) = arguments.dividing(b=system[0], a=system[1])
        return be, coefficients(be, "b", b), coefficients(be, "a", a)
    if not taps and arguments.strong(system) is None:
        raise ArgumentTypeError(
            f"system must be (b, a) or an array of taps, got {describe(system)}"
        )
    be, b = arguments.one_array("system", system)
    b = coefficients(be, "system", b)
    return be, b, _ops.fill_like(b, (1,), 1)


def _unit(be: Backend, taps: Array) -> Array:
    """What brings the largest tap to 1: delays do not depend on it, squares stay in range."""
    xp = be.xp
    size = xp.max(xp.abs(taps))
    good = (size > 0) & xp.isfinite(size)
    return xp.astype(1 / xp.where(good, size, xp.ones_like(size)), taps.dtype)


def _warned(be: Backend, response: Array, none: Array, taps: Array) -> None:
    """Warn of frequencies without a delay, where values are known."""
    xp = be.xp
    if 0 in response.shape or capturing():
        return
    if be.concrete(xp.any(none)) is True:
        warnings.warn(
            "group_delay: the response is 0 at some of the frequencies; there is no delay, and 0 "
            "is given",
            stacklevel=4,
        )
        return
    limit = xp.sum(xp.abs(taps)) * (10 * float(xp.finfo(response.dtype).eps))
    if be.concrete(xp.any(xp.abs(response) < limit)) is True:
        warnings.warn(
            "group_delay: the response is nearly 0 at some of the frequencies; the delay there may "
            "be anything",
            stacklevel=4,
        )
