"""Listening to kernels: a convolution as a running scalar product that picks notes out of a clip.

A kernel that is a piece of one pitch, slid along a clip, answers where the clip holds that pitch.
One kernel per piano key (a cosine and a sine, so that phase does not matter) gives a hit in time
and in pitch for every note. Two clips are listened to: a recording of three piano notes, and a made
one of 70,641 samples at 22.05 kHz with four notes that are known. Run it::

    python examples/listening.py                       figures, sounds, a table of hits
    python examples/listening.py --library torch       the same on another array library
    python examples/listening.py --out FOLDER

For each clip the folder gets pictures (waveform, spectrogram, the found pitches one after the
other, the first note against its kernel, each kernel slid along the clip) and sounds: the clip, the
found pitches, and what each kernel makes of the clip.

The recording is ``notes_2_16_44.wav`` of simpleaudio 1.0.4, MIT, copyright 2015 Joe Hamilton, mixed
to one channel and resampled.
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
from swath.demo import data, made, notes
from swath.demo.parts import strengths_by

Array = Any
CHOSEN = 4  # kernels that are drawn and written as sounds
KEYS_OF_RECORDING = (48, 55, 60)  # C3, G3, C4, as its makers say


@dataclass(frozen=True)
class Heard:
    """What was found in a clip.

    Attributes
    ----------
    notes : list of Note
        In the order of their onsets.
    pitches : list of float
        Frequency of each note in hertz, measured in the clip.
    kernels : dict of str to ndarray
        The cosine kernel of each of the first notes, by the note's name.
    slid : dict of str to ndarray
        The clip correlated with each of them: as long as the clip.
    """

    notes: list[notes.Note]
    pitches: list[float]
    kernels: dict[str, Array]
    slid: dict[str, Array]


def listen(sw: Any, clip: Array, rate: float) -> Heard:
    """Find the notes of a clip on an array library.

    Parameters
    ----------
    sw : swath.Bound
        swath bound to the library.
    clip : ndarray, shape (samples,)
    rate : float
        Samples per second.
    """
    bank = notes.pitch_bank(rate)
    (strength,) = strengths_by(sw, [clip], bank)
    found = notes.pick_notes(strength, bank)
    kernels: dict[str, Array] = {}
    for note in found:
        if len(kernels) < CHOSEN and note.name not in kernels:
            kernels[note.name] = cosine(bank, note.key)
    x = sw.asarray(clip)
    slid = {
        name: sw.to_numpy(sw.signal.correlate(x, sw.asarray(kernel), "same"))
        for name, kernel in kernels.items()
    }
    pitches = [pitch(sw, clip, rate, note) for note in found]
    return Heard(found, pitches, kernels, slid)


def cosine(bank: notes.PitchBank, key: int) -> Array:
    """The cosine kernel of a key, without the zeros around it."""
    row = int(np.flatnonzero(bank.keys == key)[0])
    length, taps = int(bank.lengths[row]), bank.kernels.shape[1]
    start = (taps - length) // 2
    return bank.kernels[row, start : start + length]


def pitch(sw: Any, clip: Array, rate: float, note: notes.Note) -> float:
    """Frequency of a note: the top of its spectrum within half a key, through a parabola."""
    size = 1 << int(np.log2(0.37 * rate))
    start = min(round((note.onset + 0.02) * rate), len(clip) - size)
    piece = sw.asarray(clip[max(0, start) : start + size])
    f, _, power = sw.signal.spectrogram(
        piece, rate, "hann", min(size, len(clip)), nfft=4 * size, scaling="spectrum"
    )
    f, level = sw.to_numpy(f), np.log(sw.to_numpy(power)[:, 0] + 1e-30)
    near = np.flatnonzero(np.abs(12 * np.log2(np.maximum(f, 1) / note.frequency)) <= 0.5)
    top = int(near[np.argmax(level[near])])
    low, middle, high = level[top - 1 : top + 2]
    return float(f[top] + 0.5 * (low - high) / (low - 2 * middle + high) * (f[1] - f[0]))


def hits(heard: Heard, true: Sequence[notes.Note]) -> list[tuple[str, float, float, float, float]]:
    """Found beside true: name, true onset, error in milliseconds, true hertz, error in cents.

    Raises
    ------
    ValueError
        If the notes are not those that are there.
    """
    if [n.key for n in heard.notes] != [n.key for n in true]:
        raise ValueError(
            f"found {[n.name for n in heard.notes]}, but the clip holds {[n.name for n in true]}"
        )
    return [
        (
            t.name,
            t.onset,
            1000 * (n.onset - t.onset),
            t.frequency,
            1200 * float(np.log2(p / t.frequency)),
        )
        for n, p, t in zip(heard.notes, heard.pitches, true, strict=True)
    ]


def concatenated(heard: Heard, rate: float) -> Array:
    """The found pitches one after the other, each 0.4 s of its key's pure tone."""
    time = np.arange(round(0.4 * rate)) / rate
    fade = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.02)
    return np.concatenate([fade * np.sin(2 * np.pi * n.frequency * time) for n in heard.notes])


def first_against_kernel(heard: Heard, clip: Array) -> dict[str, Array]:
    """A piece of the clip where the first note's kernel answers most, and that kernel."""
    name = heard.notes[0].name
    kernel, row = heard.kernels[name], heard.slid[name]
    # Point i of the "same" correlation is the kernel begun at sample i − ⌊K/2⌋.
    half = kernel.size // 2
    inside = row[half : half + len(clip) - kernel.size + 1]
    start = int(np.argmax(inside))
    middle = slice(3 * kernel.size // 8, 5 * kernel.size // 8)
    piece = clip[start : start + kernel.size]
    piece, kernel = piece / np.abs(piece).max(), kernel / np.abs(kernel).max()
    return {"clip": piece[middle], name: kernel[middle]}


def save(folder: Path, name: str, clip: Array, rate: float, heard: Heard) -> list[Path]:
    """Write the pictures and sounds of a clip; their paths come back."""
    folder.mkdir(parents=True, exist_ok=True)
    onsets = [(n.onset, n.name) for n in heard.notes]
    marks = [(n.onset, n.frequency, n.name) for n in heard.notes]
    highest = min(rate / 2, max(1200.0, 3 * max(n.frequency for n in heard.notes)))
    pitches = concatenated(heard, rate)
    step = len(pitches) / len(heard.notes) / rate
    places = [((i + 0.5) * step, n.frequency, n.name) for i, n in enumerate(heard.notes)]
    first = {n.name: n.onset for n in reversed(heard.notes)}
    pictures = {
        "waveform": plot.waveform(clip, rate, onsets=onsets),
        "spectrogram": plot.spectrograms(
            {"Spectrogram": clip}, rate, highest=highest, marks=marks
        ),
        "pitches": plot.spectrograms(
            {"The found pitches, one after the other": pitches}, rate, highest=highest,
            marks=places,
        ),
        "first": plot.convolutions(
            first_against_kernel(heard, clip), rate, title="The first note against its kernel"
        ),
        "slid": plot.convolutions(
            heard.slid, rate, onsets={k: first[k] for k in heard.slid},
            title="The clip correlated with each kernel",
        ),
    }  # fmt: skip
    written = [plot.save(figure, folder / f"{name}-{k}.png") for k, figure in pictures.items()]
    sounds = {
        "clip": clip,
        "pitches": pitches,
        **{f"through-{k}": v for k, v in heard.slid.items()},
    }
    return [
        *written,
        *(sound(folder / f"{name}-{k.replace('#', 's')}.wav", v, rate) for k, v in sounds.items()),
    ]


def sound(path: Path, samples: Array, rate: float) -> Path:
    """Write a wav file, as loud as it can be."""
    from scipy.io import wavfile

    peak = float(np.abs(samples).max()) or 1.0
    wavfile.write(path, round(rate), np.round(samples / peak * 29000).astype(np.int16))
    return path


def resolution(keys: Sequence[int], rate: float) -> list[tuple[str, int, float, float]]:
    """Name, samples of the kernel, hertz it tells apart, hertz to the next key."""
    bank = notes.pitch_bank(rate)
    rows = [int(np.flatnonzero(bank.keys == key)[0]) for key in keys]
    return [
        (
            notes.key_name(key),
            int(bank.lengths[row]),
            2 * rate / float(bank.lengths[row]),
            notes.key_frequency(key + 1) - notes.key_frequency(key),
        )
        for key, row in zip(keys, rows, strict=True)
    ]


def run(library: str, folder: Path | None, say: Any = print) -> dict[str, Heard]:
    """Listen to both clips, print what was found and write pictures and sounds."""
    sw = swath.bind(library)
    clip = made.notes_clip()
    heard = {"made": listen(sw, clip.samples, clip.rate)}
    say(f"made clip: {clip.samples.size} samples at {clip.rate:g} Hz, on {library}")
    say("note   onset      off by    pitch         off by")
    for name, onset, late, hertz, cents in hits(heard["made"], clip.notes):
        say(f"{name:<4} {onset:7.3f} s  {late:+6.1f} ms  {hertz:8.1f} Hz  {cents:+6.2f} cents")
    say("kernel  samples  tells apart  next key")
    for name, samples, apart, step in resolution([n.key for n in clip.notes], clip.rate):
        say(f"{name:<6} {samples:8d}  {apart:8.1f} Hz  {step:5.1f} Hz away")

    recording = data.piano()
    heard["piano"] = listen(sw, recording.samples, recording.rate)
    say(str(recording.credit))
    for note, hertz in zip(heard["piano"].notes, heard["piano"].pitches, strict=True):
        cents = 1200 * np.log2(hertz / note.frequency)
        say(f"{note.name:<4} {note.onset:7.3f} s  {hertz:7.1f} Hz ({cents:+.1f} cents of its key)")
    if folder is not None:
        for name, source in (("made", clip), ("piano", recording)):
            save(folder, name, source.samples, source.rate, heard[name])
        say(f"pictures and sounds are in {folder}")
    return heard


def main() -> None:
    """Parse, listen."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--library", default="numpy", help="array library (default numpy)")
    parser.add_argument("--out", type=Path, default=Path("listening"), help="folder for the files")
    asked = parser.parse_args()
    run(asked.library, asked.out)


if __name__ == "__main__":
    main()
