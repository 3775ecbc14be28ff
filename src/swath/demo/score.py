"""Scores against known truth: the independent judge of the demo.

NumPy only, by windowed DFTs and Householder QR. Nothing here calls swath, so a fault in swath
cannot hide in its own score.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swath.demo.notes import Note

__all__ = [
    "NotesScore",
    "ToneScore",
    "change_beyond_db",
    "echo_error",
    "echo_error_by_qr",
    "echo_ratio",
    "note_score",
    "template_hits",
    "tone_drop_db",
    "tone_level",
    "tone_score",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NotesScore:
    """Found notes against true ones.

    Attributes
    ----------
    matched, missed, extra : tuple of Note
        True notes that were found, true notes that were not, found notes that are not true.
    worst_onset : float
        Largest distance of a matched onset from the truth, in seconds; 0 if none matched.
    """

    matched: tuple[Note, ...]
    missed: tuple[Note, ...]
    extra: tuple[Note, ...]
    worst_onset: float

    @property
    def perfect(self) -> bool:
        """All found, and nothing else."""
        return not self.missed and not self.extra


@dataclass(frozen=True)
class ToneScore:
    """What a filter did to steady tones and to everything else.

    Attributes
    ----------
    drop_db : float
        The smallest drop over all tones; larger is better.
    change_db : float
        The largest change of level farther than `beyond` from every tone; smaller is better.
    beyond : float
        Hertz.
    """

    drop_db: float
    change_db: float
    beyond: float


def note_score(
    found: Iterable[Note], true: Iterable[Note], *, tolerance: float = 0.05
) -> NotesScore:
    """Match found notes with true ones: same key, onset within `tolerance` seconds, one to one."""
    left = sorted(found, key=lambda note: note.onset)
    matched: list[Note] = []
    missed: list[Note] = []
    worst = 0.0
    for note in sorted(true, key=lambda note: note.onset):
        near = [
            other
            for other in left
            if other.key == note.key and abs(other.onset - note.onset) <= tolerance
        ]
        if not near:
            missed.append(note)
            continue
        best = min(near, key=lambda other: abs(other.onset - note.onset))
        worst = max(worst, abs(best.onset - note.onset))
        matched.append(note)
        left.remove(best)
    return NotesScore(tuple(matched), tuple(missed), tuple(left), worst)


def _blackman_harris(samples: int) -> Array:
    """Side lobes below -92 dB: a strong tone does not reach what lies 4 bins away."""
    angle = 2 * np.pi * np.arange(samples) / samples
    terms = (0.35875, -0.48829, 0.14128, -0.01168)
    return np.sum([c * np.cos(i * angle) for i, c in enumerate(terms)], axis=0)


def tone_level(x: Array, rate: float, frequency: float) -> float:
    """Amplitude of the component at one frequency: a windowed DFT at that frequency alone.

    ``2 |sum_n w_n x_n exp(-2 pi i f n / rate)| / sum_n w_n`` with the Blackman-Harris window.
    """
    samples = np.asarray(x, dtype=np.float64)
    window = _blackman_harris(samples.size)
    turn = np.exp(-2j * np.pi * frequency / rate * np.arange(samples.size))
    return float(2 * abs(np.sum(window * samples * turn)) / window.sum())


def tone_drop_db(before: Array, after: Array, rate: float, frequency: float) -> float:
    """By how many dB the component at a frequency is weaker after than before."""
    first, second = tone_level(before, rate, frequency), tone_level(after, rate, frequency)
    if first == 0.0:
        raise ValueError(
            f"tone_drop_db: before holds nothing at {frequency:g} Hz; "
            "a signal with the tone is needed"
        )
    return float(np.inf) if second == 0.0 else float(20 * np.log10(first / second))


def change_beyond_db(
    before: Array,
    after: Array,
    rate: float,
    frequencies: Sequence[float],
    *,
    beyond: float = 20.0,
) -> float:
    """Largest change of level, in dB, farther than `beyond` hertz from every one of the tones.

    The transfer from before to after is estimated frame by frame, as the cross spectrum over the
    power spectrum, with frames long enough that a tone's main lobe (4 bins) ends inside
    `beyond`. Bins that hold next to nothing (120 dB below the strongest) are left out, and so
    are the two bins at either end of the spectrum.
    """
    x, y = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(
            f"change_beyond_db: before has shape {x.shape} and after {y.shape}; "
            "two signals of one length are needed, aligned in time"
        )
    frame = min(x.size, 1 << int(np.ceil(np.log2(6.0 * rate / beyond))))
    window = _blackman_harris(frame)
    starts = range(0, x.size - frame + 1, max(1, frame // 4))
    cross = np.zeros(frame // 2 + 1, dtype=np.complex128)
    power = np.zeros(frame // 2 + 1)
    for start in starts:
        first = np.fft.rfft(window * x[start : start + frame])
        second = np.fft.rfft(window * y[start : start + frame])
        cross += second * first.conj()
        power += np.abs(first) ** 2
    tones = np.fft.rfftfreq(frame, 1 / rate)
    away = np.min(np.abs(tones[:, None] - np.asarray(frequencies)[None, :]), axis=1) > beyond
    away &= power > 1e-12 * power.max()
    away[:2] = away[-2:] = False
    if not away.any():
        raise ValueError(
            f"change_beyond_db: beyond is {beyond!r} Hz, and nothing is left outside at a rate of "
            f"{rate:g} Hz; a smaller value is needed"
        )
    return float(np.abs(20 * np.log10(np.abs(cross[away]) / power[away])).max())


def tone_score(
    programme: Array,
    tone: Array,
    programme_after: Array,
    tone_after: Array,
    rate: float,
    frequencies: Sequence[float],
    *,
    beyond: float = 20.0,
    edge: int = 0,
) -> ToneScore:
    """Score a filter on made data, whose tone and programme are known apart.

    Filtering is linear, so the filter is applied to the two parts and each is judged on its own:
    the tone's drop without the programme's power at that frequency in the way, and the
    programme's change without the tone.

    Parameters
    ----------
    programme, tone : ndarray, shape (samples,)
        The two parts before filtering.
    programme_after, tone_after : ndarray, shape (samples,)
        The same after filtering, aligned in time (a centred filter, same length).
    rate : float
    frequencies : sequence of float
        Of the tones.
    beyond : float, optional
        Hertz around each tone in which the programme may change.
    edge : int, optional
        Samples at either end that are left out, where a filter of ``2 * edge + 1`` taps sees
        the signal's end.
    """
    inner = slice(edge, len(programme) - edge)
    drop = min(tone_drop_db(tone[inner], tone_after[inner], rate, f) for f in frequencies)
    change = change_beyond_db(
        programme[inner], programme_after[inner], rate, frequencies, beyond=beyond
    )
    return ToneScore(drop, change, beyond)


def template_hits(
    found: Sequence[tuple[int, int]], true: Sequence[tuple[int, int]], *, within: int = 1
) -> int:
    """How many found positions lie within so many pixels of the true ones, on both axes."""
    if len(found) != len(true):
        raise ValueError(
            f"template_hits: found has {len(found)} positions and true {len(true)}; "
            "one for one is needed"
        )
    return sum(
        abs(a - c) <= within and abs(b - d) <= within
        for (a, b), (c, d) in zip(found, true, strict=True)
    )


def echo_error(found: Array, true: Array) -> float:
    """Relative error of an impulse response in the Euclidean norm."""
    first, second = np.asarray(found, dtype=np.float64), np.asarray(true, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(
            f"echo_error: found has shape {first.shape} and true {second.shape}; equal ones needed"
        )
    return float(np.linalg.norm(first - second) / np.linalg.norm(second))


def echo_error_by_qr(sent: Array, received: Array, true: Array) -> float:
    """The error that Householder QR reaches on the same least squares problem.

    Row n of the matrix holds ``sent[n], sent[n - 1], ...``, zeros before the beginning; columns
    are as many as `true` has taps.
    """
    taps = len(true)
    padded = np.concatenate([np.zeros(taps - 1), np.asarray(sent, dtype=np.float64)])
    rows = np.lib.stride_tricks.sliding_window_view(padded, taps)[:, ::-1]
    q, r = np.linalg.qr(rows)
    found = np.linalg.solve(r, q.T @ np.asarray(received, dtype=np.float64))
    return echo_error(np.asarray(found, dtype=np.float64), true)


def echo_ratio(found: Array, sent: Array, received: Array, true: Array) -> float:
    """Error of found taps over that of Householder QR; at most 1.05 is asked for."""
    return echo_error(found, true) / echo_error_by_qr(sent, received, true)
