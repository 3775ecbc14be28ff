"""Finding the notes of a clip with a bank of pitch kernels: listening with running products.

Data flow: `pitch_bank` makes one windowed cosine and one windowed sine per piano key; a function
given by the caller slides them all along the clip (`correlate_bank`, the only heavy step: it is
swath's where the demo runs, NumPy's where the tests want an independent figure); `strengths` joins
each pair to one amplitude; `pick_notes` decides which rises of these amplitudes are notes.

This is an example of what kernels can do, not a transcription system.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Note",
    "PitchBank",
    "correlate_bank_numpy",
    "find_notes",
    "key_frequency",
    "key_name",
    "pick_notes",
    "pitch_bank",
    "strengths",
]

Array = NDArray[np.float64]
CorrelateBank = Callable[[Array, Array, int], Array]

FIRST_KEY, LAST_KEY = 21, 108  # A0 and C8, the ends of the piano, as MIDI numbers
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

_PARTIALS = 10  # partials that one note may explain
_ABOVE_FLOOR = 9.0  # a rise counts from this many times the noise floor on
_BELOW_LOUDEST = 0.1  # ... and from this part of the clip's largest rise on (-20 dB)
_ABOVE_RINGING = 0.4  # ... and from this part of what rang in the same place before
_PRESENT = 0.03  # a partial is there from this part of the moment's strongest one on
_ALONGSIDE = 0.35  # a second note of one moment has at least this part of the strongest partial
_TONAL = 2.5  # a note's strongest partial stands this far above the keys around it
_BEATING = 0.4  # weaker than this part of an earlier note, among its partials: the two beat
_SAME = 0.15  # seconds in which a key cannot be struck again
_AGAIN = 0.3  # seconds in which it is struck again only if it sounds ...
_AS_LOUD = 0.7  # ... at least this part as loud as before
_TOGETHER = 0.07  # seconds within which rises belong to one moment


@dataclass(frozen=True)
class Note:
    """One note: when it starts, which key it is, and how strong it sounds.

    Attributes
    ----------
    onset : float
        Seconds from the beginning of the clip.
    key : int
        MIDI number of the piano key: 21 (A0) to 108 (C8), 69 is A4 at 440 Hz.
    strength : float
        Amplitude of the strongest partial just after the onset, in the clip's unit.
    """

    onset: float
    key: int
    strength: float = 1.0

    @property
    def frequency(self) -> float:
        """Equal-tempered frequency of the key in hertz."""
        return key_frequency(self.key)

    @property
    def name(self) -> str:
        """Name with octave, such as ``"C#4"``."""
        return key_name(self.key)


@dataclass(frozen=True)
class PitchBank:
    """One quadrature pair of kernels per piano key.

    Attributes
    ----------
    kernels : ndarray, shape (2 * n_keys, taps)
        Rows 0 to n_keys - 1 are the windowed cosines, the others the windowed sines. Every pair is
        centred in its row and scaled so that a steady tone of amplitude A at the key's
        frequency gives the strength A.
    keys : ndarray of int, shape (n_keys,)
        MIDI numbers.
    lengths : ndarray of int, shape (n_keys,)
        Samples in which the kernel is not zero.
    rate : float
        Samples per second.
    stride : int
        Samples from one frame to the next.
    """

    kernels: Array
    keys: NDArray[np.int64]
    lengths: NDArray[np.int64]
    rate: float
    stride: int


def key_frequency(key: float) -> float:
    """Equal-tempered frequency of a MIDI key number in hertz (69 is 440 Hz)."""
    return float(440.0 * 2.0 ** ((key - 69.0) / 12.0))


def key_name(key: int) -> str:
    """Name of a MIDI key number, such as ``"A4"`` for 69."""
    return f"{_NAMES[key % 12]}{key // 12 - 1}"


def pitch_bank(rate: float, *, stride: int | None = None) -> PitchBank:
    """Kernels of single pitches, one quadrature pair per piano key.

    A key's neighbour lies 6 % away. A Hann window of T seconds tells tones 2/T apart from one
    another, so a kernel lasts 34 periods of its key, at least 93 ms (2048 samples at 22.05 kHz) and
    at most 372 ms: below about G2 neighbours blur, and onsets stay sharp enough in exchange.

    Parameters
    ----------
    rate : float
        Samples per second of the clips the bank is for.
    stride : int, optional
        Samples from frame to frame; by default 11.6 ms (256 samples at 22.05 kHz).

    Returns
    -------
    PitchBank
        Keys above 0.45 * rate are left out.

    Raises
    ------
    ValueError
        If no piano key fits under 0.45 * rate, or stride is not positive.
    """
    if not np.isfinite(rate) or rate <= 0:
        raise ValueError(f"pitch_bank: rate is {rate!r}; a positive number of hertz is needed")
    keys = np.arange(FIRST_KEY, LAST_KEY + 1)
    tones = np.array([key_frequency(int(k)) for k in keys])
    keys, tones = keys[tones < 0.45 * rate], tones[tones < 0.45 * rate]
    if keys.size < 13:
        raise ValueError(
            f"pitch_bank: rate is {rate:g} Hz, which holds {keys.size} piano keys; "
            "an octave (rate of 130 Hz or more) is needed"
        )
    step = max(1, round(256 * rate / 22050)) if stride is None else int(stride)
    if step < 1:
        raise ValueError(f"pitch_bank: stride is {stride!r}; a positive integer is needed")
    seconds = np.clip(34.0 / tones, 2048 / 22050, 8192 / 22050)
    lengths = 2 * np.round(seconds * rate / 2).astype(np.int64)
    taps = int(lengths.max())
    kernels = np.zeros((2 * keys.size, taps))
    for row, (tone, length) in enumerate(zip(tones, lengths, strict=True)):
        time = (np.arange(length) - (length - 1) / 2) / rate
        window = 0.5 + 0.5 * np.cos(2 * np.pi * time * rate / length)
        window *= 2.0 / window.sum()
        start = (taps - int(length)) // 2
        kernels[row, start : start + length] = window * np.cos(2 * np.pi * tone * time)
        kernels[row + keys.size, start : start + length] = window * np.sin(2 * np.pi * tone * time)
    return PitchBank(kernels, keys.astype(np.int64), lengths, float(rate), step)


def correlate_bank_numpy(bank: Array, x: Array, stride: int) -> Array:
    """Every kernel's running scalar product with `x`, by NumPy alone.

    ``out[k, n] = sum_t bank[k, t] * x[n * stride + t]``: a correlation, valid part only.

    Parameters
    ----------
    bank : ndarray, shape (n_kernels, taps)
    x : ndarray, shape (samples,), samples >= taps
    stride : int

    Returns
    -------
    ndarray, shape (n_kernels, (samples - taps) // stride + 1)
    """
    windows = np.lib.stride_tricks.sliding_window_view(x, bank.shape[1])[::stride]
    blocks = [bank @ windows[i : i + 128].T for i in range(0, len(windows), 128)]
    return np.concatenate(blocks, axis=1)


def strengths(
    clip: Array, bank: PitchBank, correlate_bank: CorrelateBank = correlate_bank_numpy
) -> Array:
    """Amplitude of every key in every frame.

    Frame n is centred on sample ``n * bank.stride``: the clip is continued with zeros at both
    ends, by half a kernel.

    Parameters
    ----------
    clip : ndarray, shape (samples,)
    bank : PitchBank
    correlate_bank : callable, optional
        ``correlate_bank(kernels, x, stride)`` as `correlate_bank_numpy`; the demo hands in swath's.

    Returns
    -------
    ndarray, shape (n_keys, frames)
    """
    x = np.asarray(clip, dtype=np.float64)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"strengths: clip has shape {x.shape}; one channel of samples is needed")
    half = bank.kernels.shape[1] // 2
    x = np.concatenate([np.zeros(half), x, np.zeros(half)])
    pairs = np.asarray(correlate_bank(bank.kernels, x, bank.stride), dtype=np.float64)
    count = bank.keys.size
    return np.hypot(pairs[:count], pairs[count:])


def find_notes(
    clip: Array, rate: float, correlate_bank: CorrelateBank = correlate_bank_numpy
) -> list[Note]:
    """The notes of a clip: `pitch_bank`, `strengths` and `pick_notes` in one call.

    Parameters
    ----------
    clip : ndarray, shape (samples,)
    rate : float
        Samples per second.
    correlate_bank : callable, optional
        How the kernels slide along the clip, see `correlate_bank_numpy`.

    Returns
    -------
    list of Note
        In the order of their onsets; empty for noise and for silence.
    """
    bank = pitch_bank(rate)
    return pick_notes(strengths(clip, bank, correlate_bank), bank)


def pick_notes(strength: Array, bank: PitchBank) -> list[Note]:
    """Decide which rises of the keys' amplitudes are notes.

    A note is a moment at which the amplitudes of a key and of its partials rise together, out of
    the noise floor. For each such moment the rises form a spectrum over the keys; the key that
    explains most of it is a note, what it explains is taken away, and a further note needs a
    strong partial that is left over. So a partial ringing on (or another note's octave) is not a
    note, and an octave struck anew is one.

    Parameters
    ----------
    strength : ndarray, shape (n_keys, frames)
        From `strengths`.
    bank : PitchBank
        The bank that gave them.

    Returns
    -------
    list of Note
        In the order of their onsets.
    """
    amplitude = np.asarray(strength, dtype=np.float64)
    if amplitude.ndim != 2 or amplitude.shape[0] != bank.keys.size:
        raise ValueError(
            f"pick_notes: strength has shape {amplitude.shape}; "
            f"({bank.keys.size}, frames) is needed, one row per key of the bank"
        )
    rise, before = _rises(amplitude, bank)
    loudest = float(rise.max(initial=0.0))
    if loudest <= 0.0:
        return []
    threshold = np.maximum(_ABOVE_FLOOR * _noise_floor(amplitude), _BELOW_LOUDEST * loudest)
    hop = bank.stride / bank.rate
    rises = [
        candidate
        for moment in _moments(_peaks(rise, before, threshold, bank), hop)
        for candidate in _explain(moment, rise, threshold, bank)
    ]
    taken: list[_Rise] = []
    for candidate in sorted(rises, key=lambda c: (c.onset, c.row)):
        if not _is_beating(candidate, taken):
            taken.append(candidate)
    return [Note(c.onset, int(bank.keys[c.row]), c.strength) for c in taken]


@dataclass(frozen=True)
class _Rise:
    """A note to be: its key's row, when, how strong, and the rows whose rises it explains."""

    row: int
    onset: float
    strength: float
    places: frozenset[int]


def _is_beating(candidate: _Rise, taken: list[_Rise]) -> bool:
    """Whether a rise is no new note but an earlier one's partials beating with another's."""
    ringing: set[int] = set()
    loudest = 0.0
    for earlier in taken:
        since = candidate.onset - earlier.onset
        quieter = candidate.strength < _AS_LOUD * earlier.strength
        if earlier.row == candidate.row and since < (_AGAIN if quieter else _SAME):
            return True
        for _, places in _partial_rows(earlier.row, LAST_KEY + 1, 20):
            ringing.update(q + side for q in places for side in (-1, 0, 1))
        loudest = max(loudest, earlier.strength * float(np.exp(-since / 2.0)))
    return candidate.places <= ringing and candidate.strength < _BEATING * loudest


def _reach(bank: PitchBank) -> NDArray[np.int64]:
    """Frames from an onset to where a kernel lies wholly on one side of it, for every key."""
    return np.maximum(1, np.round(0.5 * bank.lengths / bank.stride)).astype(np.int64)


def _rises(amplitude: Array, bank: PitchBank) -> tuple[Array, Array]:
    """How far each amplitude rises across each frame, and the level before it.

    The amplitude half a kernel later less that half a kernel earlier: it peaks at the onset
    itself, whatever the length of the kernel.
    """
    frames = amplitude.shape[1]
    rise, before = np.zeros_like(amplitude), np.zeros_like(amplitude)
    for row, reach in enumerate(_reach(bank)):
        padded = np.pad(amplitude[row], (int(reach), int(reach)))
        before[row] = padded[:frames]
        rise[row] = np.maximum(padded[2 * reach :] - padded[:frames], 0.0)
    return rise, before


def _noise_floor(amplitude: Array) -> Array:
    """The level of the noise alone at every key: a low quantile over time and seven keys."""
    rows = amplitude.shape[0]
    quantile = np.empty(rows)
    for row in range(rows):
        quantile[row] = np.quantile(amplitude[max(0, row - 3) : row + 4], 0.2)
    return quantile


_Peak = tuple[int, int, float]  # row, frame, height


def _peaks(rise: Array, before: Array, threshold: Array, bank: PitchBank) -> list[_Peak]:
    """Rises that are largest in their surroundings (time and the next keys), strongest first."""
    rows, frames = rise.shape
    reach = _reach(bank)
    found: list[_Peak] = []
    for row in range(rows):
        low, high = max(0, row - 1), min(rows, row + 2)
        ringing = before[max(0, row - 2) : min(rows, row + 3)].max(axis=0)
        enough = np.maximum(threshold[row], _ABOVE_RINGING * ringing)
        for frame in np.flatnonzero(rise[row] >= enough):
            start, stop = max(0, frame - reach[row]), min(frames, frame + reach[row] + 1)
            near = rise[low:high, max(0, frame - 3) : frame + 4]
            height = rise[row, frame]
            if height >= rise[row, start:stop].max() and height >= near.max():
                found.append((row, int(frame), float(height)))
    return sorted(found, key=lambda peak: -peak[2])


def _moments(peaks: list[_Peak], hop: float) -> list[list[_Peak]]:
    """Peaks that belong together in time, each group around its strongest peak."""
    groups: list[list[_Peak]] = []
    left = peaks
    while left:
        centre = left[0][1]
        groups.append([p for p in left if abs(p[1] - centre) * hop <= _TOGETHER])
        left = [p for p in left if abs(p[1] - centre) * hop > _TOGETHER]
    return groups


def _partial_rows(row: int, rows: int, count: int = _PARTIALS) -> list[tuple[int, tuple[int, ...]]]:
    """(number, rows where it may lie) of every partial of a key; stiff strings sound sharp."""
    result: list[tuple[int, tuple[int, ...]]] = []
    for number in range(1, count + 1):
        at = 12.0 * np.log2(number)
        places = {row + round(at), row + round(at + 0.03 * number)}
        inside = tuple(sorted(p for p in places if p < rows))
        if not inside:
            break
        result.append((number, inside))
    return result


def _explain(moment: list[_Peak], rise: Array, threshold: Array, bank: PitchBank) -> list[_Rise]:
    """The notes of one moment."""
    rows, frames = rise.shape
    hop = bank.stride / bank.rate
    centre = moment[0][1]
    width = max(1, round(_TOGETHER / hop))
    window = rise[:, max(0, centre - width) : min(frames, centre + width + 1)]
    spectrum = window.max(axis=1)
    strongest = moment[0][2]
    # Weak partials and fundamentals count as well, where they stand out from the next keys.
    padded = np.pad(spectrum, 1)
    peaky = (spectrum >= padded[:-2]) & (spectrum >= padded[2:])
    there = peaky & (spectrum >= np.maximum(_PRESENT * strongest, 0.6 * threshold))
    there[[p[0] for p in moment]] = True
    left = np.where(there, spectrum, 0.0)
    frame_of = {p[0]: p[1] for p in moment}
    notes: list[_Rise] = []
    while left.max(initial=0.0) >= max(_ALONGSIDE * strongest, float(threshold.min())):
        best, score = -1, 0.0
        for row in np.flatnonzero(left):
            heights = [left[list(p)].max() for _, p in _partial_rows(int(row), rows)]
            found = [number for number, height in enumerate(heights[:6], 1) if height > 0]
            present = len(found) / found[-1]
            value = present * sum(float(np.sqrt(height)) for height in heights)
            if value > score * (1 + 1e-9):
                best, score = int(row), value
        places = sorted({q for _, p in _partial_rows(best, rows) for q in p if left[q] > 0})
        top = max(places, key=lambda q: left[q])
        around = [q for q in range(max(0, top - 7), min(rows, top + 8)) if abs(q - top) > 2]
        timed = [(frame_of[q], left[q] / np.sqrt(bank.lengths[q])) for q in places if q in frame_of]
        if timed and left[top] >= _TONAL * float(np.median(spectrum[around])):
            risen = frozenset(q for q in places if q in frame_of)
            notes.append(_Rise(best, _weighted_median(timed) * hop, float(left[top]), risen))
        for place in places:
            left[max(0, place - 1) : place + 2] = 0.0
    return notes


def _weighted_median(pairs: list[tuple[int, float]]) -> float:
    """The value at which half of the weight is reached."""
    ordered = sorted(pairs)
    total = np.cumsum([weight for _, weight in ordered])
    return float(ordered[int(np.searchsorted(total, total[-1] / 2))][0])
