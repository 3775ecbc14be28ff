"""The table at the demo's end: operation × backend, difference from float64 in units of the bound.

Inputs are float32 (float64 for design and least squares, where the backend has it); references are
computed in float64 by NumPy and SciPy from the same rounded inputs. Allowed is what the accuracy
contract says for the algorithm that `swath.plan` names, see `swath.testing.tolerance`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import swath
from swath.bound import Bound
from swath.demo.given import Given
from swath.demo.parts import feature_kernels, widest
from swath.demo.tone import Conditions, design_numpy, notch, response
from swath.sliding.plan import Plan
from swath.testing import tolerance

__all__ = ["Cell", "Line", "lines_of", "measure"]

Array = NDArray[np.float64]

TINY = float(np.finfo(np.float32).tiny)
REPEATS = 3


@dataclass(frozen=True)
class Line:
    """One operation of the table.

    Attributes
    ----------
    name : str
        The operation's dotted name, with what is special about the call.
    size : str
        Sizes of the inputs, in words.
    set_up : callable
        ``set_up(sw)`` puts the inputs on the backend and returns the call to be timed.
    want : ndarray
        The exact result, from float64.
    allowed : callable
        ``allowed(sw)`` gives the allowed difference of each element; 0 where equality is asked.
    """

    name: str
    size: str
    set_up: Callable[[Bound], Callable[[], Any]]
    want: Array
    allowed: Callable[[Bound], Any]


@dataclass(frozen=True)
class Cell:
    """What one backend reached: the largest difference over the allowed one, and seconds."""

    units: float
    seconds: float


def measure(line: Line, sw: Bound) -> Cell:
    """Run one line on one backend: a warm-up, then the best of three timed calls.

    A difference where equality is asked for, and a NaN, count as infinitely many units.
    """
    call = line.set_up(sw)
    got = sw.to_numpy(_finished(sw, call())).astype(np.float64)
    best = np.inf
    for _ in range(REPEATS):
        began = time.perf_counter()
        _finished(sw, call())
        best = min(best, time.perf_counter() - began)
    if got.shape != line.want.shape:
        return Cell(np.inf, best)
    off = np.abs(got - line.want)
    allowed = np.broadcast_to(np.asarray(line.allowed(sw), dtype=np.float64), off.shape)
    exact = np.where(off == 0.0, 0.0, np.inf)
    units = np.divide(off, allowed, out=exact, where=allowed > 0)
    worst = float(units.max(initial=0.0))
    return Cell(np.inf if np.isnan(worst) else worst, best)


def _finished(sw: Bound, x: Any) -> Any:
    if isinstance(x, tuple):
        x = x[0]
    sw.backend.synchronize(x)
    return x


def _single(x: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(x, dtype=np.float32)


def _sliding(
    name: str,
    size: str,
    operation: Callable[[Bound], Callable[..., Any]],
    arrays: Sequence[NDArray[Any]],
    reference: Callable[..., Any],
    **options: Any,
) -> Line:
    """A bilinear sliding product of float32 arrays: its bound follows from its plan.

    The reference, fed with magnitudes, gives |x| ⋆ |k|; what an FFT may do is proportional to the
    norms of frame and kernel instead.
    """
    singles = [_single(a) for a in arrays]
    wide = [a.astype(np.float64) for a in singles]
    magnitude = _positive(reference(*(np.abs(a) for a in wide)))

    def set_up(sw: Bound) -> Callable[[], Any]:
        op, inputs = operation(sw), [sw.asarray(a) for a in singles]
        return lambda: op(*inputs, **options)

    def allowed(sw: Bound) -> Any:
        plan = swath.plan(operation(sw), *(sw.asarray(a) for a in singles), **options)
        return _contract(plan, magnitude, *wide)

    return Line(name, size, set_up, reference(*wide), allowed)


def _contract(plan: Plan, magnitude: Array, x: Array, kernels: Array) -> Any:
    """What the accuracy contract allows a float32 product, given |x| ⋆ |k|.

    Several kernels lie along the first axis of a matrix, as in a filter bank.
    """
    factor = tolerance("float32", plan)
    if not plan.chosen.transforms:
        return factor * magnitude + plan.terms * TINY
    several = kernels.ndim == 2 and x.ndim == 1
    norms = np.linalg.norm(kernels, axis=1, keepdims=True) if several else np.linalg.norm(kernels)
    return factor * _largest_frame(x, plan.points) * norms + plan.points * TINY


def _positive(magnitude: Array) -> Array:
    """Magnitudes, no smaller than what the reference's own transforms leave where all is silent."""
    return np.maximum(magnitude, 1e-9 * float(magnitude.max()))


def _largest_frame(x: Array, points: int) -> float:
    """The largest 2-norm of so many neighbouring samples (of all, where they are fewer)."""
    flat = np.concatenate([[0.0], np.cumsum(x.ravel() ** 2)])
    points = min(points, flat.size - 1)
    return float(np.sqrt((flat[points:] - flat[:-points]).max()))


def lines_of(given: Given) -> list[Line]:
    """All lines, on pieces of the recording and of the picture."""
    return [
        *_windows(given),
        *_signals(given),
        *_filters(given),
        *_layers(given),
        *_algebra(given),
    ]


def _excerpt(given: Given, count: int) -> Array:
    return np.resize(given.sent, count)


def _windows(given: Given) -> list[Line]:
    x = _single(_excerpt(given, 200_000))
    view = np.lib.stride_tricks.sliding_window_view(x, 64)[::16]
    added = np.zeros(x.size)
    for start, row in zip(range(0, x.size, 16), view, strict=False):
        added[start : start + 64] += row
    shape, size = x.shape, "200,000 samples, windows of 64 every 16"
    # At most four windows meet in one sample.
    allowed = 2 * 4 * float(np.finfo(np.float32).eps) * np.abs(added) + TINY

    def adding(sw: Bound) -> Callable[[], Any]:
        blocks = sw.asarray(_single(view))
        return lambda: sw.overlap_add(blocks, shape, stride=16)

    def taking(sw: Bound) -> Callable[[], Any]:
        signal = sw.asarray(x)
        return lambda: sw.sliding_windows(signal, 64, stride=16)

    return [
        Line("sliding_windows", size, taking, view.astype(np.float64), lambda sw: 0.0),
        Line("overlap_add", size, adding, added, lambda sw: allowed),
    ]


def _signals(given: Given) -> list[Line]:
    from scipy import signal

    x = _excerpt(given, 200_000)
    taps = np.hanning(103)[1:-1] / 51.0
    picture = given.picture.pixels
    stamp = given.crop.pixels[:24, :24]

    def through(name: str) -> Callable[[Bound], Callable[..., Any]]:
        return lambda sw: getattr(sw.signal, name)

    size = "200,000 samples, 101 taps"
    found = [
        _sliding(
            "signal.convolve", size, through("convolve"), (x, taps), signal.fftconvolve
        ),
        _sliding(
            'signal.convolve, method="fft"', size, through("convolve"), (x, taps),
            signal.fftconvolve, method="fft",
        ),
        _sliding(
            "signal.correlate", size, through("correlate"), (x, taps),
            lambda a, b: signal.fftconvolve(a, b[::-1]),
        ),
        _sliding(
            "signal.correlate, picture", f"{picture.shape[0]} × {picture.shape[1]}, 24 × 24",
            through("correlate"), (picture, stamp),
            lambda a, b: signal.fftconvolve(a, b[::-1, ::-1], mode="valid"), mode="valid",
        ),
        _matched(picture[:160, :160], stamp),
        _scored(picture),
    ]  # fmt: skip
    return found


def _matched(picture: Array, stamp: Array) -> Line:
    x, t = _single(picture), _single(stamp)
    wide = x.astype(np.float64)
    centred = t.astype(np.float64) - t.mean(dtype=np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(wide, t.shape)
    power = windows.var(axis=(2, 3)) * t.size
    dot = np.einsum("ijkl,kl->ij", windows, centred)
    moving = power > 1e-6 * t.size
    norm = np.linalg.norm(centred)
    want = np.divide(dot, np.sqrt(power) * norm, out=np.zeros_like(dot), where=moving)
    # The operation takes the picture's mean off first; what cancels in Σ(w − w̄)(t − t̄) is counted
    # from there.
    offset = windows.mean(axis=(2, 3)) - wide.mean()
    ratio = np.sqrt((power + t.size * offset**2) / np.maximum(power, 1e-6 * t.size))
    allowed = 2 * t.size * float(np.finfo(np.float32).eps) * ratio

    def set_up(sw: Bound) -> Callable[[], Any]:
        image, template = sw.asarray(x), sw.asarray(t)
        return lambda: sw.signal.match_template(image, template)

    size = f"{x.shape[0]} × {x.shape[1]}, template {t.shape[0]} × {t.shape[1]}"
    return Line("signal.match_template", size, set_up, want, lambda sw: allowed)


def _scored(picture: Array) -> Line:
    x, f = _single(picture), _single(picture[::-1])
    products = x.astype(np.float64) * f
    allowed = 2 * x.size * float(np.finfo(np.float32).eps) * np.abs(products).sum()

    def set_up(sw: Bound) -> Callable[[], Any]:
        first, second = sw.asarray(x), sw.asarray(f)
        return lambda: sw.signal.correlation_score(first, second)

    size = f"two of {x.shape[0]} × {x.shape[1]}"
    return Line(
        "signal.correlation_score", size, set_up, np.asarray(products.sum()), lambda sw: allowed
    )


def _filters(given: Given) -> list[Line]:
    from scipy import signal

    x = _excerpt(given, 200_000)
    taps = np.hanning(103)[1:-1] / 51.0
    bank = given.bank.kernels[24:48, given.bank.kernels.shape[1] // 2 - 512 :][:, :1024]
    stride = 256

    def banked(kernels: Array, clip: Array) -> Array:
        return np.stack([signal.fftconvolve(clip, k)[: clip.size : stride] for k in kernels])

    def filtered(h: Array, clip: Array) -> Array:
        return signal.fftconvolve(clip, h)[: clip.size]

    found = [
        _filtered(
            "signal.lfilter",
            "200,000 samples, 101 taps",
            taps,
            x,
            filtered,
            lambda package, h, clip: package.lfilter(h, 1.0, clip),
            lambda h, clip: swath.plan(swath.signal.lfilter, h, 1.0, clip),
        ),
        _filtered(
            "signal.filter_bank",
            "200,000 samples, 24 kernels of 1024, every 256th",
            bank,
            x,
            banked,
            lambda package, h, clip: package.filter_bank(h, clip, stride=stride),
            lambda h, clip: swath.plan(swath.signal.filter_bank, h, clip, stride=stride),
        ),
    ]
    conditions = notch([235.0], 4000.0)
    found += [_designed(conditions), _answered(conditions)]
    return found


def _filtered(
    name: str,
    size: str,
    taps: Array,
    signal: Array,
    reference: Callable[[Array, Array], Array],
    call: Callable[[Any, Any, Any], Any],
    planned: Callable[[Any, Any], Plan],
) -> Line:
    """A filter, whose taps come before the signal: ``call(sw.signal, taps, signal)``."""
    h, x = _single(taps), _single(signal)
    wide = h.astype(np.float64), x.astype(np.float64)
    magnitude = _positive(reference(np.abs(wide[0]), np.abs(wide[1])))

    def set_up(sw: Bound) -> Callable[[], Any]:
        inputs = sw.asarray(h), sw.asarray(x)
        return lambda: call(sw.signal, *inputs)

    def allowed(sw: Bound) -> Any:
        return _contract(planned(sw.asarray(h), sw.asarray(x)), magnitude, wide[1], wide[0])

    return Line(name, size, set_up, reference(*wide), allowed)


def _designed(conditions: Conditions) -> Line:
    want = design_numpy(conditions)
    half = conditions.numtaps // 2
    omega = 2 * np.pi * conditions.freqs / conditions.fs
    matrix = np.cos(omega[:, None] * np.arange(half + 1)) * np.sqrt(conditions.weight)[:, None]
    matrix[:, 1:] *= 2.0
    condition = float(np.linalg.cond(matrix))
    side = want[half:]
    rest = matrix @ side - conditions.gains * np.sqrt(conditions.weight)

    def allowed(sw: Bound) -> float:
        return _fit_bound(sw, matrix, condition, side, rest)

    def set_up(sw: Bound) -> Callable[[], Any]:
        freqs, gains, weight = (
            sw.asarray(v) for v in (conditions.freqs, conditions.gains, conditions.weight)
        )
        return lambda: sw.signal.fir_from_response(
            conditions.numtaps, freqs, gains, weight=weight, fs=conditions.fs
        )

    size = f"{conditions.numtaps} taps, {conditions.freqs.size} conditions"
    return Line("signal.fir_from_response", size, set_up, want, allowed)


def _fit_bound(sw: Bound, matrix: Array, condition: float, x: Array, rest: Array) -> float:
    """Twice the first-order bound of Householder QR: n·eps·(2κ‖x‖ + κ²‖r‖/‖A‖), largest element."""
    norm = float(np.linalg.norm(matrix, 2))
    solved = 2 * condition * float(np.linalg.norm(x))
    fitted = condition**2 * float(np.linalg.norm(rest)) / norm
    return 2 * matrix.shape[1] * widest(sw) * (solved + fitted)


def _answered(conditions: Conditions) -> Line:
    taps = _single(design_numpy(conditions))
    freqs = _single(np.linspace(0.0, conditions.fs / 2, 4096))
    want = response(taps.astype(np.float64), freqs.astype(np.float64), conditions.fs)
    # A rounded angle k·ω moves its cosine by up to k·ω·eps.
    half = taps.size // 2
    places = np.abs(np.arange(taps.size) - half)
    turn = np.pi * float(np.sum(np.abs(taps) * places))
    eps = float(np.finfo(np.float32).eps)
    allowed = 2 * eps * (taps.size * float(np.abs(taps).sum()) + turn)

    def set_up(sw: Bound) -> Callable[[], Any]:
        h, f = sw.asarray(taps), sw.asarray(freqs)
        return lambda: sw.signal.amplitude_response(h, f, fs=conditions.fs)

    size = f"{taps.size} taps at 4096 frequencies"
    return Line("signal.amplitude_response", size, set_up, want, lambda sw: allowed)


def _layers(given: Given) -> list[Line]:
    from scipy import signal

    rng = np.random.default_rng(11)
    picture = given.picture.pixels[:64, :64]
    kernels = np.stack(list(feature_kernels().values()))
    maps = np.stack([signal.correlate2d(picture, k, mode="same") for k in kernels])
    weight = rng.standard_normal((16, kernels.shape[0], 3, 3)) / 6

    def layer(x: Array, w: Array) -> Array:
        rows = [
            sum(signal.correlate2d(x[c], w[o, c], mode="same") for c in range(len(x)))
            for o in range(len(w))
        ]
        return np.stack(rows)

    height, width = maps.shape[1:]
    size = f"{len(maps)} maps of {height} × {width}, 16 kernels of 3 × 3"
    return [
        _sliding("nn.conv", size, lambda sw: sw.nn.conv, (maps, weight), layer, padding="same"),
        *_gradients(maps, weight),
        *_pools(given),
    ]


def _gradients(maps: Array, weight: Array) -> list[Line]:
    """The layer's gradients by hand, against the sums that define them."""
    from scipy import signal

    x, w = _single(maps), _single(weight)
    rows, columns = x.shape[1] - 2, x.shape[2] - 2
    ct = _single(np.random.default_rng(12).standard_normal((len(w), rows, columns)))
    wide = [a.astype(np.float64) for a in (x, w, ct)]

    def to_kernels(x: Array, w: Array, ct: Array) -> Array:
        return np.stack([np.stack([signal.correlate2d(a, c, mode="valid") for a in x]) for c in ct])

    def to_input(x: Array, w: Array, ct: Array) -> Array:
        return np.stack(
            [sum(signal.convolve2d(ct[o], w[o, c]) for o in range(len(w))) for c in range(len(x))]
        )

    def set_up(place: int) -> Callable[[Bound], Callable[[], Any]]:
        def prepared(sw: Bound) -> Callable[[], Any]:
            a, b, c = (sw.asarray(v) for v in (x, w, ct))
            _, pullback = sw.vjp(sw.nn.conv, a, b)
            return lambda: pullback(c)[place]

        return prepared

    eps = float(np.finfo(np.float32).eps)
    found = []
    for place, name, reference, terms in (
        (0, "vjp of nn.conv, input", to_input, len(w) * 9),
        (1, "vjp of nn.conv, kernels", to_kernels, rows * columns),
    ):
        allowed = 2 * terms * eps * reference(*(np.abs(a) for a in wide)) + terms * TINY
        size = f"{len(x)} maps of {x.shape[1]} × {x.shape[2]}, {len(w)} kernels of 3 × 3"
        found.append(Line(name, size, set_up(place), reference(*wide), lambda sw, a=allowed: a))
    return found


def _pools(given: Given) -> list[Line]:
    x = _single(given.picture.pixels)
    blocks = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3))[::2, ::2]
    mean = blocks.mean(axis=(2, 3))
    allowed = 2 * 10 * float(np.finfo(np.float32).eps) * mean

    def pooled(name: str) -> Callable[[Bound], Callable[[], Any]]:
        def set_up(sw: Bound) -> Callable[[], Any]:
            picture, pool = sw.asarray(x), getattr(sw.nn, name)
            return lambda: pool(picture, (3, 3), stride=2, axes=(0, 1))

        return set_up

    size = f"{x.shape[0]} × {x.shape[1]}, 3 × 3 every 2"
    return [
        Line("nn.max_pool", size, pooled("max_pool"), blocks.max(axis=(2, 3)), lambda sw: 0.0),
        Line("nn.avg_pool", size, pooled("avg_pool"), mean, lambda sw: allowed),
    ]


def _algebra(given: Given) -> list[Line]:
    x = _excerpt(given, 1000)
    kernel = np.hanning(66)[1:-1] / 32.0

    def product(sw: Bound) -> Callable[[], Any]:
        a, b = sw.asarray(_single(kernel)), sw.asarray(_single(x))
        return lambda: sw.linalg.convolution_matrix(a, 1000) @ b

    wide = [_single(v).astype(np.float64) for v in (kernel, x)]
    eps = float(np.finfo(np.float32).eps)
    # The product sums 1000 terms of a row, zeros included.
    bound = 2 * x.size * eps * np.convolve(np.abs(wide[1]), wide[0]) + x.size * TINY
    found = [
        Line(
            "linalg.convolution_matrix @ x",
            "1000 samples, 64 taps",
            product,
            np.convolve(wide[1], wide[0]),
            lambda sw: bound,
        )
    ]

    echo = given.echo
    taps = echo.taps.size
    padded = np.concatenate([np.zeros(taps - 1), echo.sent])
    matrix = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, taps))
    single = _single(matrix)
    table = single.astype(np.float64)
    sized = 2 * len(single) * eps * (np.abs(table).T @ np.abs(table))

    def gram(sw: Bound) -> Callable[[], Any]:
        a = sw.asarray(single)
        return lambda: sw.linalg.gram(a)

    size = f"{matrix.shape[0]:,} × {taps}"
    found.append(Line("linalg.gram", size, gram, table.T @ table, lambda sw: sized))

    q, r = np.linalg.qr(matrix)
    taps_found = np.linalg.solve(r, q.T @ echo.received).astype(np.float64)
    condition, rest = float(np.linalg.cond(r)), matrix @ taps_found - echo.received

    def fit(sw: Bound) -> Callable[[], Any]:
        a, b = sw.asarray(matrix), sw.asarray(echo.received)
        return lambda: sw.linalg.lstsq(a, b).x

    def near(sw: Bound) -> Callable[[], Any]:
        a, b = sw.asarray(matrix), sw.asarray(echo.received)
        return lambda: sw.linalg.project(a, b).projection

    def fit_allowed(sw: Bound) -> float:
        return _fit_bound(sw, matrix, condition, taps_found, rest)

    def near_allowed(sw: Bound) -> float:
        return fit_allowed(sw) * float(np.linalg.norm(matrix, 2))

    found += [
        Line("linalg.lstsq", size, fit, taps_found, fit_allowed),
        Line(
            "linalg.project",
            size,
            near,
            (q @ (q.T @ echo.received)).astype(np.float64),
            near_allowed,
        ),
    ]
    return found
