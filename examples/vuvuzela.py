"""A vuvuzela's drone taken out of a broadcast: which frequencies it holds, and the filter for them.

The broadcast is made of parts that are known apart: something like speech and a crowd (coloured
noise), music (a recorded piano), and under them the drone: 235 Hz and its harmonics, louder than
all the rest. From the mixture alone the drone's frequencies are found: in the middle (median) of
the spectra of all moments steady tones stand out. Two filters then block them: one designed by
conditions on its response (gain 0 at the tones, 1 elsewhere; weighted least squares through AᵀA),
one by a window (SciPy's firwin). They run over the broadcast as it comes, in chunks of a tenth of a
second. Run it::

    python examples/vuvuzela.py                        figures, sounds, decibels
    python examples/vuvuzela.py --library torch        the same on another array library
    python examples/vuvuzela.py --out FOLDER

Filtering is linear, so the parts are filtered alone too: decibels removed are those of the drone,
decibels kept those of the programme.

The piano is ``notes_2_16_44.wav`` of simpleaudio 1.0.4, MIT, copyright 2015 Joe Hamilton, mixed to
one channel and resampled.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import swath
from swath import plot
from swath.demo import data, made, score
from swath.demo.tone import Conditions, SteadyTone, find_tones, notch

Array = Any
BEYOND = 20.0  # hertz around a tone in which the programme may be touched
DRONE, HARMONICS = 235.0, 6


@dataclass(frozen=True)
class Blocked:
    """A filter and what it does.

    Attributes
    ----------
    taps : ndarray
        Of the filter, symmetric.
    delay : float
        Seconds that it delays.
    after : ndarray
        The broadcast after it, not delayed.
    removed : list of float
        Decibels by which each tone of the drone is weaker.
    drone_db, kept_db : float
        Decibels by which the whole drone, and the whole programme, is weaker.
    change_db : float
        Largest change of the programme farther than `BEYOND` from every tone.
    """

    taps: Array
    delay: float
    after: Array
    removed: list[float]
    drone_db: float
    kept_db: float
    change_db: float


def mixture(seconds: float = 6.0) -> made.Tone:
    """The broadcast and its parts; the drone is 6 dB stronger than the programme."""
    spoken = made.broadcast(harmonics=1, frequency=DRONE, seconds=seconds).programme
    piano = data.piano()
    music = np.resize(piano.samples, spoken.size)
    programme = spoken / spoken.std() + 0.7 * music / music.std()
    time = np.arange(programme.size) / piano.rate
    rng = np.random.default_rng(1)
    tones = tuple(DRONE * k for k in range(1, HARMONICS + 1))
    drone = sum(
        k**-0.7 * np.sin(2 * np.pi * f * time + rng.uniform(0, 2 * np.pi))
        for k, f in enumerate(tones, 1)
    )
    drone *= 2 * programme.std() / drone.std()
    scale = 0.9 / np.abs(programme + drone).max()
    programme, drone = scale * programme, scale * drone
    return made.Tone(programme + drone, piano.rate, programme, drone, tones)


def fundamental(tones: Sequence[SteadyTone]) -> tuple[float, list[int]]:
    """The frequency of which all tones are multiples, by least squares, and which multiples."""
    found = np.sort([t.frequency for t in tones])
    lowest = found[0]
    numbers = np.round(found / lowest)
    return float(numbers @ found / (numbers @ numbers)), [int(k) for k in numbers]


def by_response(sw: Any, tones: Sequence[float], rate: float) -> Array:
    """Taps that meet gain 0 at the tones and 1 elsewhere, by weighted least squares."""
    conditions: Conditions = notch(tones, rate, beyond=BEYOND)
    return sw.signal.fir_from_response(
        conditions.numtaps,
        sw.asarray(conditions.freqs),
        sw.asarray(conditions.gains),
        weight=sw.asarray(conditions.weight),
        fs=rate,
    )


def by_window(sw: Any, tones: Sequence[float], rate: float) -> Array:
    """Taps of a band-stop filter for every tone, by a Kaiser window for 60 dB."""
    # A band must be open for the stop to reach its depth: half of the room for each flank.
    edges = np.sort(np.concatenate([np.asarray(tones) + s * BEYOND / 2 for s in (-1, 1)]))
    beta, width = 5.65, 0.9 * BEYOND
    numtaps = 2 * int(np.ceil((60 - 7.95) / (2.285 * 2 * np.pi * width / rate) / 2)) + 1
    return sw.signal.firwin(
        numtaps, sw.asarray(edges), window=("kaiser", beta), pass_zero=True, fs=rate
    )


def streamed(sw: Any, taps: Array, x: Array, rate: float) -> Array:
    """x through the filter in chunks of a tenth of a second, the delay taken out."""
    stream = sw.signal.FIRStream(taps, compensate=True)
    step = round(0.1 * rate)
    parts = [stream.push(x[i : i + step]) for i in range(0, len(x), step)]
    return np.concatenate([sw.to_numpy(part) for part in (*parts, stream.flush())])


def block(sw: Any, taps: Array, mixed: made.Tone, tones: Sequence[float]) -> Blocked:
    """Filter the broadcast and, for the figures, its parts."""
    stream = sw.signal.FIRStream(taps)
    after, programme, drone = (
        streamed(sw, taps, x, mixed.rate) for x in (mixed.samples, mixed.programme, mixed.tone)
    )
    edge = stream.taps // 2
    inner = slice(edge, mixed.samples.size - edge)

    def weaker(x: Array, y: Array) -> float:
        return float(10 * np.log10(np.mean(x[inner] ** 2) / np.mean(y[inner] ** 2)))

    return Blocked(
        sw.to_numpy(taps),
        float(stream.delay or 0) / mixed.rate,
        after,
        [
            score.tone_drop_db(mixed.tone[inner], drone[inner], mixed.rate, f)
            for f in mixed.frequencies
        ],
        weaker(mixed.tone, drone),
        weaker(mixed.programme, programme),
        score.change_beyond_db(
            mixed.programme[inner], programme[inner], mixed.rate, tones, beyond=BEYOND
        ),
    )


def analysed(sw: Any, mixed: made.Tone) -> tuple[Array, Array]:
    """Frequencies and the median over all moments of the power at each, from the spectrogram."""
    f, _, power = sw.signal.spectrogram(
        sw.asarray(mixed.samples), mixed.rate, "hann", 8192, 6144, scaling="spectrum"
    )
    return sw.to_numpy(f), np.median(sw.to_numpy(power), axis=1)


def save(
    folder: Path, sw: Any, mixed: made.Tone, tones: Sequence[float], found: dict[str, Blocked]
) -> list[Path]:
    """Write the pictures and sounds; their paths come back."""
    from scipy.io import wavfile

    folder.mkdir(parents=True, exist_ok=True)
    best = found["response"]
    freqs = np.unique(
        np.concatenate(
            [np.linspace(0, 2000, 1500), *(np.linspace(t - 60, t + 60, 241) for t in tones)]
        )
    )
    gain = sw.to_numpy(
        sw.signal.amplitude_response(sw.asarray(best.taps), sw.asarray(freqs), fs=mixed.rate)
    )
    pictures = {
        "spectrograms": plot.spectrograms(
            {"Before": mixed.samples, "After": best.after}, mixed.rate, highest=2000.0,
            lines=list(tones), frame=4096,
        ),
        "spectra": plot.spectra(
            mixed.samples, best.after, mixed.rate, lines=list(tones), highest=2000.0
        ),
        "filter": plot.filter_response(freqs, gain, tones=list(tones), beyond=BEYOND),
    }  # fmt: skip
    written = [plot.save(figure, folder / f"{name}.png") for name, figure in pictures.items()]
    loudest = np.abs(mixed.samples).max()
    for name, x in (("before", mixed.samples), ("after", best.after)):
        path = folder / f"{name}.wav"
        wavfile.write(path, round(mixed.rate), np.round(x / loudest * 29000).astype(np.int16))
        written.append(path)
    return written


def run(
    library: str, folder: Path | None, *, seconds: float = 6.0, say: Any = print
) -> dict[str, Blocked]:
    """Analyse, design, block; print what was found and write pictures and sounds."""
    sw = swath.bind(library)
    mixed = mixture(seconds)
    steady = find_tones(mixed.samples, mixed.rate, most=12)
    base, numbers = fundamental(steady)
    say(f"broadcast of {seconds:g} s at {mixed.rate:g} Hz, on {library}: steady tones in it")
    f, level = analysed(sw, mixed)
    for k, tone in zip(numbers, sorted(steady, key=lambda t: t.frequency), strict=True):
        at = float(level[int(np.argmin(np.abs(f - tone.frequency)))])
        say(
            f"  {tone.frequency:8.2f} Hz = {k} x {base:.2f}, amplitude {tone.amplitude:.3f}, "
            f"median power {10 * np.log10(at):.1f} dB, {tone.prominence_db:.0f} dB above its "
            f"surroundings"
        )
    tones = sorted(t.frequency for t in steady)
    found = {
        "response": block(sw, by_response(sw, tones, mixed.rate), mixed, tones),
        "window": block(sw, by_window(sw, tones, mixed.rate), mixed, tones),
    }
    say("filter    taps  delay    drone       weakest tone  programme  change beyond ±20 Hz")
    for name, b in found.items():
        say(
            f"{name:<9} {b.taps.size:4d}  {b.delay:5.3f} s  -{b.drone_db:.1f} dB    "
            f"-{min(b.removed):.1f} dB      -{b.kept_db:.2f} dB   {b.change_db:.3f} dB"
        )
    if folder is not None:
        save(folder, sw, mixed, tones, found)
        say(f"pictures and sounds are in {folder}")
    return found


def main() -> None:
    """Parse, run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--library", default="numpy", help="array library (default numpy)")
    parser.add_argument("--out", type=Path, default=Path("vuvuzela"), help="folder for the files")
    asked = parser.parse_args()
    run(asked.library, asked.out)


if __name__ == "__main__":
    main()
