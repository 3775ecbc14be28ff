"""An echo identified from a reference and taken out of what comes after it.

A recording (three piano notes) is played in a room and picked up again: the direct sound, four
reflections, a faint tail, and noise 60 dB below. Its beginning is the reference: there both sides
are known, and the room's response is identified by least squares through AᵀA, without the matrix
(`swath.linalg.identify_fir`). What follows is known from the microphone alone. The reference's own
end is subtracted, and the rest is deconvolved with the response that was found
(`swath.linalg.deconvolve`). Run it::

    python examples/echo.py                        figures, sounds, decibels
    python examples/echo.py --library torch        the same on another array library
    python examples/echo.py --out FOLDER

A piano holds few frequencies, and where it holds none the reference says nothing about the room.
So both steps have a ridge: the noise, measured before the music begins, over what is expected of
the taps and of the music. It makes the reflections a little too weak, and keeps noise out.

The piano is ``notes_2_16_44.wav`` of simpleaudio 1.0.4, MIT, copyright 2015 Joe Hamilton, mixed to
one channel and resampled.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import swath
from swath import plot
from swath.demo import data

Array = Any
TAPS = 600
# Seconds after the direct sound, and gains.
REFLECTIONS = ((0.0065, 0.5), (0.0112, -0.35), (0.0179, 0.25), (0.0234, 0.15))
SILENCE = 0.1  # seconds before the music


@dataclass(frozen=True)
class Scene:
    """What was played, what the room is, and what came back.

    Attributes
    ----------
    dry, wet : ndarray
        The recording, and what the microphone heard: TAPS − 1 samples more.
    noise : ndarray
        What it heard before the music began.
    rate : float
        Samples per second.
    room : ndarray
        The true response.
    split : int
        Samples of the reference.
    """

    dry: Array
    wet: Array
    noise: Array
    rate: float
    room: Array
    split: int


@dataclass(frozen=True)
class Removed:
    """What was found, and what is left.

    Attributes
    ----------
    taps : ndarray
        The response found.
    reflections : list of tuple
        (samples, gain) of the direct sound and the strongest reflections.
    before, after : ndarray
        The piece behind the reference with the echo (and the reference's end), and without.
    echo_db : float
        Decibels by which what does not belong to the dry sound is weaker after than before.
    kept_db : float
        Decibels by which the part of `after` that is the dry sound differs from that.
    """

    taps: Array
    reflections: list[tuple[int, float]]
    before: Array
    after: Array
    echo_db: float
    kept_db: float


def scene(*, snr_db: float = 60.0, seconds: float = 2.6) -> Scene:
    """The recording through the room."""
    piano = data.piano()
    dry = piano.samples[: round(seconds * piano.rate)]
    dry = dry / np.abs(dry).max()
    rng = np.random.default_rng(0)
    room = np.zeros(TAPS)
    room[1:] = 0.002 * rng.standard_normal(TAPS - 1) * np.exp(-np.arange(1, TAPS) / 300.0)
    room[0] = 1.0
    for delay, gain in REFLECTIONS:
        room[round(delay * piano.rate)] += gain
    wet = np.convolve(dry, room)
    level = wet.std() * 10 ** (-snr_db / 20)
    noise = level * rng.standard_normal(round(SILENCE * piano.rate))
    wet = wet + level * rng.standard_normal(wet.size)
    return Scene(dry, wet, noise, piano.rate, room, dry.size // 2)


def identify(sw: Any, given: Scene) -> Array:
    """The room's response, from the reference and what came back of it."""
    sent, received = given.dry[: given.split], given.wet[: given.split]
    # A response of energy 1, spread over its taps: all that is assumed of it.
    ridge = TAPS * float(np.mean(given.noise**2))
    return sw.linalg.identify_fir(
        sw.asarray(sent), sw.asarray(received), TAPS, ridge=ridge, method="prewindowed"
    )


def remove(sw: Any, given: Scene, taps: Array) -> Array:
    """What was played behind the reference, from what came back."""
    reference = sw.asarray(given.dry[: given.split])
    end = sw.to_numpy(sw.signal.convolve(reference, taps))[given.split :]
    rest = given.wet[given.split :].copy()
    rest[: end.size] -= end
    # Noise over signal; the music is no white noise, so ten times as much.
    ridge = 10 * float(np.mean(given.noise**2) / np.mean(rest**2))
    return sw.to_numpy(sw.linalg.deconvolve(sw.asarray(rest), taps, ridge=ridge))


def strongest(taps: Array, count: int, apart: int = 20) -> list[tuple[int, float]]:
    """Places and gains of the largest taps, none nearer to another than `apart`."""
    left, found = np.abs(taps), []
    for _ in range(count):
        i = int(np.argmax(left))
        found.append((i, float(taps[i])))
        left[max(0, i - apart) : i + apart + 1] = 0
    return sorted(found)


def cancel(sw: Any, given: Scene) -> Removed:
    """Identify, remove, and measure."""
    taps = identify(sw, given)
    after = remove(sw, given, taps)
    dry = given.dry[given.split :]
    before = given.wet[given.split : given.dry.size]
    gain = float(dry @ after / (dry @ dry))
    host = sw.to_numpy(taps)
    return Removed(
        host,
        strongest(host.copy(), 1 + len(REFLECTIONS)),
        before,
        after,
        float(10 * np.log10(np.mean((before - dry) ** 2) / np.mean((after - dry) ** 2))),
        float(20 * np.log10(gain)),
    )


def save(folder: Path, given: Scene, found: Removed) -> list[Path]:
    """Write the pictures and sounds; their paths come back."""
    from scipy.io import wavfile

    folder.mkdir(parents=True, exist_ok=True)
    dry = given.dry[given.split :]
    pictures = {
        "taps": plot.echo(given.room, found.taps, title="The room's response"),
        "errors": plot.spectrograms(
            {"Echo before": found.before - dry, "What is left of it": found.after - dry},
            given.rate, highest=4000.0,
        ),
        "spectra": plot.spectra(
            found.before - dry, found.after - dry, given.rate, highest=4000.0,
            title="Spectrum of all that is not the dry sound",
        ),
    }  # fmt: skip
    written = [plot.save(figure, folder / f"{name}.png") for name, figure in pictures.items()]
    loudest = max(np.abs(found.before).max(), np.abs(found.after).max())
    for name, x in (("before", found.before), ("after", found.after)):
        path = folder / f"{name}.wav"
        wavfile.write(path, round(given.rate), np.round(x / loudest * 29000).astype(np.int16))
        written.append(path)
    return written


def run(library: str, folder: Path | None, *, seconds: float = 2.6, say: Any = print) -> Removed:
    """Identify, remove; print what was found and write pictures and sounds."""
    sw = swath.bind(library)
    given = scene(seconds=seconds)
    found = cancel(sw, given)
    say(
        f"{given.dry.size} samples at {given.rate:g} Hz, the first {given.split} of them the "
        f"reference; {TAPS} taps, on {library}"
    )
    say("delay found     true   gain found   true")
    true = strongest(given.room.copy(), 1 + len(REFLECTIONS))
    for (place, gain), (real, real_gain) in zip(found.reflections, true, strict=True):
        say(
            f"  {1000 * place / given.rate:6.2f} ms {1000 * real / given.rate:5.2f} ms "
            f"{gain:+10.3f} {real_gain:+8.3f}"
        )
    say(
        f"behind the reference: echo {found.echo_db:.1f} dB weaker, "
        f"dry sound {found.kept_db:+.2f} dB"
    )
    if folder is not None:
        save(folder, given, found)
        say(f"pictures and sounds are in {folder}")
    return found


def main() -> None:
    """Parse, run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--library", default="numpy", help="array library (default numpy)")
    parser.add_argument("--out", type=Path, default=Path("echo"), help="folder for the files")
    asked = parser.parse_args()
    run(asked.library, asked.out)


if __name__ == "__main__":
    main()
