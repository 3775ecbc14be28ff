"""Finding steady tones in a recording, and the conditions for a filter that takes them out.

Data flow: `find_tones` looks for what stands above its surroundings in the middle (median) of all
frames' spectra, so that a note that comes and goes is not taken for a drone; `notch` turns the
tones into conditions on the transfer function: gain 0 at each tone, 1 elsewhere. Those go to
``swath.signal.fir_from_response``, whose least squares (the normal equations) does the rest.
`design_numpy` solves the same conditions by NumPy's least squares, as an independent check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Conditions", "SteadyTone", "design_numpy", "find_tones", "notch", "response"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SteadyTone:
    """A tone that is there all the time.

    Attributes
    ----------
    frequency : float
        Hertz.
    amplitude : float
        Of the sine, in the recording's unit.
    prominence_db : float
        How far it stands above its surroundings in the median spectrum.
    """

    frequency: float
    amplitude: float
    prominence_db: float


@dataclass(frozen=True)
class Conditions:
    """What a symmetric FIR filter is to do: the arguments of ``fir_from_response``.

    Attributes
    ----------
    numtaps : int
        Odd.
    freqs, gains, weight : ndarray, shape (n_conditions,)
        Gain wanted at each frequency (hertz), and the weight of its squared error.
    fs : float
        Samples per second.
    """

    numtaps: int
    freqs: Array
    gains: Array
    weight: Array
    fs: float


def find_tones(
    x: Array,
    rate: float,
    *,
    most: int = 4,
    prominence_db: float = 10.0,
    swing_db: float = 6.0,
    lowest: float = 20.0,
) -> list[SteadyTone]:
    """Steady tones of a recording, the most prominent first.

    Parameters
    ----------
    x : ndarray, shape (samples,)
    rate : float
        Samples per second.
    most : int, optional
        At most so many tones.
    prominence_db : float, optional
        How far above the surroundings a tone stands in the median spectrum. Noise alone
        reaches about 6 dB.
    swing_db : float, optional
        How far apart the level's quartiles over the frames may lie: a tone that swells and
        dies away, such as a struck string's, swings further than a drone does.
    lowest : float, optional
        Hertz below which no tone is looked for.

    Returns
    -------
    list of SteadyTone
        Empty if nothing is steady.

    Raises
    ------
    ValueError
        If the recording is shorter than 256 samples or has more than one axis.
    """
    samples = np.asarray(x, dtype=np.float64)
    if samples.ndim != 1 or samples.size < 256:
        raise ValueError(
            f"find_tones: x has shape {samples.shape}; one axis of at least 256 samples is needed"
        )
    frame = 1 << int(np.log2(min(max(0.4 * rate, 512.0), samples.size / 4)))
    window = np.hanning(frame + 1)[:-1]
    windows = np.lib.stride_tricks.sliding_window_view(samples, frame)[:: frame // 4]
    spectra = np.abs(np.fft.rfft(windows * window, axis=1)) ** 2
    median = np.median(spectra, axis=0) + 1e-30 + 1e-12 * spectra.max()
    level = 10 * np.log10(median)
    around = _surroundings(level, 24)
    step = rate / frame
    low, high = np.quantile(spectra, [0.25, 0.75], axis=0) + 1e-30
    tall = np.where(10 * np.log10(high / low) <= swing_db, level - around, -np.inf)
    tall[1:-1][(level[1:-1] < level[:-2]) | (level[1:-1] < level[2:])] = -np.inf
    tall[: max(2, int(np.ceil(lowest / step)))] = -np.inf
    tall[-2:] = -np.inf
    tones: list[SteadyTone] = []
    while len(tones) < most:
        place = int(np.argmax(tall))
        if not tall[place] >= prominence_db:
            break
        frequency, amplitude = _refine(samples, rate, place * step, step)
        tones.append(SteadyTone(frequency, amplitude, float(tall[place])))
        tall[max(0, place - 4) : place + 5] = -np.inf
    return tones


def _surroundings(level: Array, reach: int) -> Array:
    """The median level within so many bins on either side."""
    padded = np.pad(level, reach, mode="reflect")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1), axis=1)


def _refine(x: Array, rate: float, guess: float, step: float) -> tuple[float, float]:
    """Frequency and amplitude from the whole recording: its windowed DFT's top near a guess."""
    window = np.hanning(x.size + 2)[1:-1]
    time = np.arange(x.size) / rate
    weighted = window * x

    def height(frequencies: Array) -> Array:
        return np.array(
            [abs(np.sum(weighted * np.exp(-2j * np.pi * f * time))) for f in frequencies]
        )

    spacing = min(step, rate / x.size)
    grid = np.arange(guess - step, guess + step + spacing / 2, spacing / 2)
    best = float(grid[int(np.argmax(height(grid)))])
    for _ in range(3):  # a parabola through three points, three times finer each time
        spacing /= 3
        points = best + spacing * np.array([-1.0, 0.0, 1.0])
        low, middle, high = height(points)
        bend = low - 2 * middle + high
        shift = 0.0 if bend >= 0 else 0.5 * float((low - high) / bend)
        best += spacing * float(np.clip(shift, -1, 1))
    return best, float(2 * height(np.array([best]))[0] / window.sum())


def notch(
    tones: Sequence[float],
    rate: float,
    *,
    beyond: float = 20.0,
    width: float = 1.0,
    numtaps: int | None = None,
) -> Conditions:
    """Conditions for a filter that removes tones and leaves everything else as it is.

    Gain 0 within `width` of each tone, gain 1 farther than `beyond` from all of them, and no
    condition between. The grid has three conditions per free tap in the passband.

    Parameters
    ----------
    tones : sequence of float
        Hertz.
    rate : float
        Samples per second.
    beyond : float, optional
        Hertz around a tone in which the gain may differ from 1.
    width : float, optional
        Hertz around a tone in which the gain is to be 0.
    numtaps : int, optional
        Odd; by default 1.8 * rate / beyond, which meets 40 dB and 0.5 dB.

    Returns
    -------
    Conditions

    Raises
    ------
    ValueError
        If a tone does not lie between 0 and rate / 2, or the widths contradict one another.
    """
    places = np.asarray(tones, dtype=np.float64)
    if places.ndim != 1 or places.size == 0:
        raise ValueError(f"notch: tones is {tones!r}; one frequency or more is needed")
    if not np.all((places > 0) & (places < rate / 2)):
        raise ValueError(
            f"notch: tones is {tones!r} at a rate of {rate:g} Hz; "
            f"frequencies between 0 and {rate / 2:g} are needed"
        )
    if not 0 <= width < beyond:
        raise ValueError(
            f"notch: width is {width!r} and beyond {beyond!r}; 0 <= width < beyond is needed"
        )
    count = 2 * int(np.ceil(_TAPS * rate / beyond / 2)) + 1 if numtaps is None else int(numtaps)
    if count < 3 or count % 2 == 0:
        raise ValueError(f"notch: numtaps is {numtaps!r}; an odd number from 3 on is needed")
    free = count // 2 + 1
    everywhere = np.linspace(0.0, rate / 2, 3 * free)
    away = np.min(np.abs(everywhere[:, None] - places), axis=1) >= beyond
    edges = np.concatenate([places - beyond, places + beyond])
    edges = edges[np.min(np.abs(edges[:, None] - places), axis=1) >= beyond * (1 - 1e-12)]
    passed = np.concatenate([everywhere[away], edges[(edges > 0) & (edges < rate / 2)]])
    stopped = np.concatenate([tone + width * np.linspace(-1, 1, 5) for tone in places])
    stopped = np.unique(stopped[(stopped >= 0) & (stopped <= rate / 2)])
    freqs = np.concatenate([passed, stopped])
    gains = np.concatenate([np.ones(passed.size), np.zeros(stopped.size)])
    weight = np.concatenate([np.ones(passed.size), np.full(stopped.size, _STOP_WEIGHT)])
    order = np.argsort(freqs, kind="stable")
    return Conditions(count, freqs[order], gains[order], weight[order], float(rate))


_TAPS = 1.8  # taps times beyond over rate
_STOP_WEIGHT = 100.0


def design_numpy(conditions: Conditions) -> Array:
    """The filter by NumPy's least squares: the check on the one by the normal equations.

    Minimises ``sum_i weight_i (h_m + 2 sum_k h_{m-k} cos(k omega_i) - gain_i)**2``, m the middle.

    Returns
    -------
    ndarray, shape (numtaps,)
        Symmetric taps.
    """
    half = conditions.numtaps // 2
    omega = 2 * np.pi * conditions.freqs / conditions.fs
    matrix = np.cos(omega[:, None] * np.arange(half + 1))
    matrix[:, 1:] *= 2.0
    root = np.sqrt(conditions.weight)
    side = np.linalg.lstsq(matrix * root[:, None], conditions.gains * root, rcond=None)[0]
    return np.concatenate([side[:0:-1], side]).astype(np.float64)


def response(taps: Array, freqs: Array, rate: float) -> Array:
    """The real transfer function of symmetric taps: their eigenvalue on exp(i omega n)."""
    h = np.asarray(taps, dtype=np.float64)
    half = h.size // 2
    turns = np.cos(2 * np.pi * np.asarray(freqs)[:, None] / rate * np.arange(-half, half + 1))
    return turns @ h
