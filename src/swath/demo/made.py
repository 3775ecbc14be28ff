"""Made data whose truth is known, for the scores beside the demo's results on real data.

Everything here is NumPy, seeded, and independent of swath.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swath.demo.notes import Note, key_frequency

__all__ = [
    "Clip",
    "Crop",
    "Echo",
    "Tone",
    "broadcast",
    "crops",
    "echo",
    "noise_clip",
    "notes_clip",
    "toned",
]

Array = NDArray[np.float64]

CLIP_SAMPLES = 70_641  # 3.2 seconds, the length of the lecture's clip
CLIP_RATE = 22_050.0
CLIP_KEYS = (91, 86, 79, 84)  # G6 (1568 Hz) first, then D6, G5 and C6


@dataclass(frozen=True)
class Clip:
    """Samples, their rate, and the notes that are in them."""

    samples: Array
    rate: float
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Tone:
    """A recording with steady tones, and its two parts: ``samples == programme + tone``."""

    samples: Array
    rate: float
    programme: Array
    tone: Array
    frequencies: tuple[float, ...]


@dataclass(frozen=True)
class Crop:
    """A piece of a picture with other gain, offset and noise, and where it comes from."""

    pixels: Array
    row: int
    column: int
    gain: float
    offset: float


@dataclass(frozen=True)
class Echo:
    """A signal, what a room made of it, and the room's true taps."""

    sent: Array
    received: Array
    taps: Array
    snr_db: float


def _struck(key: int, seconds: float, rate: float, rng: np.random.Generator) -> Array:
    """A struck string: stretched partials that decay, the higher the faster, and a soft knock."""
    time = np.arange(int(seconds * rate)) / rate
    base = key_frequency(key)
    stiffness = 7e-5 * 2.0 ** ((key - 48) / 12.0 * 0.9)
    decay = 1.6 * 2.0 ** (-(key - 60) / 24.0)
    slope = rng.uniform(0.9, 1.5)
    sound = np.zeros_like(time)
    for number in range(1, 17):
        tone = number * base * np.sqrt((1 + stiffness * number**2) / (1 + stiffness))
        if tone > 0.45 * rate:
            break
        level = number**-slope * 10 ** (rng.uniform(-4.0, 4.0) / 20)
        envelope = np.exp(-time * (1 + 0.35 * (number - 1)) / decay)
        sound += level * envelope * np.sin(2 * np.pi * tone * time + rng.uniform(0, 2 * np.pi))
    knock = rng.standard_normal(time.size) * np.exp(-time / 0.006)
    sound += 0.15 * np.convolve(knock, np.ones(12) / 12)[: time.size]
    return sound * (1 - np.exp(-time / 0.002)) / np.abs(sound).max()


def notes_clip(
    seed: int = 0,
    *,
    keys: Sequence[int] = CLIP_KEYS,
    onsets: Sequence[float] | None = None,
    samples: int = CLIP_SAMPLES,
    rate: float = CLIP_RATE,
    snr_db: float = 35.0,
) -> Clip:
    """A clip of struck notes that ring into one another.

    Parameters
    ----------
    seed : int, optional
        Seed of everything that is drawn: partials' levels, loudness, onsets, noise.
    keys : sequence of int, optional
        MIDI numbers in the order of striking; by default four notes, the first near 1600 Hz.
    onsets : sequence of float, optional
        Seconds, one per key; by default spread over the clip, a little irregularly.
    samples, rate : optional
        Length and samples per second; by default 70,641 at 22.05 kHz.
    snr_db : float, optional
        Power of the notes over that of the noise, in dB.

    Returns
    -------
    Clip
        Peak 0.9, with its true notes.
    """
    rng = np.random.default_rng(seed)
    length = samples / rate
    if onsets is None:
        step = 0.85 * length / len(keys)
        onsets = [0.12 + step * i + rng.uniform(0.0, 0.2 * step) for i in range(len(keys))]
    if len(onsets) != len(keys):
        raise ValueError(
            f"notes_clip: onsets has {len(onsets)} entries and keys {len(keys)}; "
            "one per key is needed"
        )
    sound = np.zeros(samples)
    true: list[Note] = []
    for key, onset in zip(keys, onsets, strict=True):
        start = round(onset * rate)
        level = 10 ** (rng.uniform(-6.0, 0.0) / 20)
        string = level * _struck(int(key), length - start / rate, rate, rng)
        sound[start : start + string.size] += string[: samples - start]
        true.append(Note(start / rate, int(key), float(level)))
    noise = rng.standard_normal(samples)
    noise *= np.sqrt(np.mean(sound**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    sound += noise
    return Clip(0.9 * sound / np.abs(sound).max(), rate, tuple(true))


def noise_clip(
    seed: int = 0,
    *,
    samples: int = CLIP_SAMPLES,
    rate: float = CLIP_RATE,
    colour: float = 0.0,
    level: float = 0.1,
) -> Clip:
    """Noise alone: no note is in it.

    Parameters
    ----------
    seed : int, optional
    samples, rate : optional
        Length and samples per second.
    colour : float, optional
        Power falls as 1/f**colour: 0 is white, 1 pink, 2 brown.
    level : float, optional
        Root mean square.

    Returns
    -------
    Clip
        Without notes.
    """
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    tones = np.fft.rfftfreq(samples, 1 / rate)
    spectrum *= np.maximum(tones, 20.0) ** (-colour / 2)
    noise = np.fft.irfft(spectrum, samples)
    return Clip(level * noise / np.sqrt(np.mean(noise**2)), rate)


def _speechlike(samples: int, rate: float, rng: np.random.Generator) -> Array:
    """Coloured noise that comes in syllables over a floor of crowd noise."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    tones = np.fft.rfftfreq(samples, 1 / rate)
    shape = 1.0 / (1.0 + (tones / 900.0) ** 2) ** 0.6
    voice = np.fft.irfft(spectrum * shape * (tones > 60), samples)
    crowd = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) / (1 + tones / 2500.0), samples)
    time = np.arange(samples) / rate
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 3.1 * time + rng.uniform(0, 6.28))
    syllables *= 0.5 + 0.5 * np.sin(2 * np.pi * 0.43 * time + rng.uniform(0, 6.28))
    return voice / voice.std() * syllables + 0.4 * crowd / crowd.std()


def broadcast(
    seed: int = 0,
    *,
    frequency: float = 235.0,
    harmonics: int = 4,
    seconds: float = 6.0,
    rate: float = CLIP_RATE,
    level_db: float = 6.0,
) -> Tone:
    """A broadcast with a drone under it, as of many plastic horns: 235 Hz and its harmonics.

    Parameters
    ----------
    seed : int, optional
    frequency : float, optional
        Of the lowest tone, in hertz.
    harmonics : int, optional
        How many tones there are.
    seconds, rate : float, optional
        Length and samples per second.
    level_db : float, optional
        Power of the drone over that of the programme.
    """
    rng = np.random.default_rng(seed)
    samples = round(seconds * rate)
    programme = _speechlike(samples, rate, rng)
    time = np.arange(samples) / rate
    drone = np.zeros(samples)
    tones = tuple(frequency * (i + 1) for i in range(harmonics))
    for number, tone in enumerate(tones, 1):
        drone += number**-0.7 * np.sin(2 * np.pi * tone * time + rng.uniform(0, 2 * np.pi))
    drone *= programme.std() / drone.std() * 10 ** (level_db / 20)
    scale = 0.9 / np.abs(programme + drone).max()
    programme, drone = scale * programme, scale * drone
    return Tone(programme + drone, rate, programme, drone, tones)


def toned(
    programme: Array, rate: float, *, frequency: float = 1000.0, level_db: float = -6.0
) -> Tone:
    """A recording with one steady tone added to it.

    Parameters
    ----------
    programme : ndarray, shape (samples,)
    rate : float
        Samples per second.
    frequency : float, optional
        Of the tone, in hertz.
    level_db : float, optional
        Power of the tone over that of the programme.
    """
    programme = np.asarray(programme, dtype=np.float64)
    if not 0 < frequency < rate / 2:
        raise ValueError(
            f"toned: frequency is {frequency!r} Hz at a rate of {rate:g} Hz; "
            f"something between 0 and {rate / 2:g} is needed"
        )
    tone = np.sqrt(2) * np.sin(2 * np.pi * frequency * np.arange(programme.size) / rate)
    tone *= programme.std() * 10 ** (level_db / 20)
    return Tone(programme + tone, rate, programme, tone, (frequency,))


def crops(
    picture: Array,
    count: int = 100,
    *,
    size: tuple[int, int] = (32, 32),
    seed: int = 0,
    noise: float = 0.15,
    detail: float = 0.06,
) -> list[Crop]:
    """Pieces of a picture at known places, with other gain, offset and noise.

    Parameters
    ----------
    picture : ndarray, shape (H, W)
        Grey levels, 0 to 1.
    count : int, optional
    size : (int, int), optional
        Rows and columns of a crop.
    seed : int, optional
    noise : float, optional
        Standard deviation of the noise, as a part of the crop's own.
    detail : float, optional
        Smallest standard deviation of the grey levels in a crop, and of each of its quarters a
        third of that: empty sky, or one straight edge, lies in many places at once.

    Returns
    -------
    list of Crop

    Raises
    ------
    ValueError
        If the picture is smaller than a crop, or has too few places with that much detail.
    """
    image = np.asarray(picture, dtype=np.float64)
    rows, columns = size
    if image.ndim != 2 or image.shape[0] < rows or image.shape[1] < columns:
        raise ValueError(
            f"crops: picture has shape {image.shape}; "
            f"two axes of at least {rows} × {columns} are needed"
        )
    rng = np.random.default_rng(seed)
    made: list[Crop] = []
    for _ in range(1000 * count):
        if len(made) == count:
            break
        row = int(rng.integers(0, image.shape[0] - rows + 1))
        column = int(rng.integers(0, image.shape[1] - columns + 1))
        piece = image[row : row + rows, column : column + columns]
        halves = [part for half in np.array_split(piece, 2) for part in np.array_split(half, 2, 1)]
        if piece.std() < detail or min(part.std() for part in halves) < detail / 3:
            continue
        gain, offset = float(rng.uniform(0.4, 1.6)), float(rng.uniform(-0.3, 0.3))
        grain = noise * piece.std() * rng.standard_normal(piece.shape)
        made.append(Crop(gain * (piece + grain) + offset, row, column, gain, offset))
    if len(made) < count:
        raise ValueError(
            f"crops: detail is {detail!r}, and the picture has only {len(made)} such places of "
            f"{count} asked for; a smaller detail would find more"
        )
    return made


def echo(seed: int = 0, *, samples: int = 20_000, taps: int = 64, snr_db: float = 20.0) -> Echo:
    """A signal through an unknown echo, with noise: ``received = sent * taps + noise``.

    Parameters
    ----------
    seed : int, optional
    samples : int, optional
        Length of both signals; `received` is the causal filter's output from rest.
    taps : int, optional
        Length of the echo: direct sound first, then decaying reflections.
    snr_db : float, optional
        Power of the echo's output over that of the noise.
    """
    rng = np.random.default_rng(seed)
    sent = np.convolve(rng.standard_normal(samples + 2), [1.0, 0.6, 0.2], mode="valid")
    room = 0.5 * rng.standard_normal(taps) * np.exp(-np.arange(taps) / (0.25 * taps))
    room *= rng.random(taps) < 0.35
    room[0] = 1.0
    clean = np.convolve(sent, room)[:samples]
    noise = rng.standard_normal(samples) * clean.std() * 10 ** (-snr_db / 20)
    return Echo(sent, clean + noise, room, snr_db)
