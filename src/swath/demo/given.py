"""What every backend of one run gets: real data, made data with known truth, on the host.

Prepared once, so that all backends work on the same numbers; whatever the user's files lack is
found out here, before anything is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swath.demo import data, made, notes, score, tone
from swath.demo.data import Credit, Picture, Recording

__all__ = ["Given", "prepare"]

Array = NDArray[np.float64]

LEAST_RATE = 130.0  # samples per second of a recording: an octave of piano keys fits under half
MOST_SECONDS = 30.0  # of a recording: more would only take longer
MOST_PIXELS = 512  # on the longer side of a picture
ROOM = 64  # taps of the echo put on the real recording, as of the made one
SENT = 20_000  # samples sent through it, as of the made one
CROPS = 100


@dataclass(frozen=True)
class Given:
    """The data of one run.

    Attributes
    ----------
    recording : Recording
        The clip whose notes are found.
    bank : PitchBank
        Pitch kernels for its rate.
    hum : Recording
        The recording with a steady tone.
    tones : tuple of SteadyTone
        What `find_tones` found in it.
    conditions : Conditions
        The filter that takes them out.
    beyond : float
        Hertz around a tone within which that filter may change the recording.
    picture : Picture
        At most 512 pixels on the longer side.
    crop : Crop
        The piece that is looked for in the picture.
    remarks : tuple of str
        What was done to the user's files to make them fit.
    clip, silence : Clip, tuple of Clip
        Made: notes that are known, and noise without notes.
    mixture : Tone
        Made: a broadcast under a drone.
    crops, scene : list of Crop, Picture
        Made: pieces of a picture with other gain, offset and noise.
    echo : Echo
        Made: a signal through a room with known taps.
    sent, received, room : ndarray
        The recording's loudest second, what the room makes of it (16 bits), the room's taps.
    """

    recording: Recording
    bank: notes.PitchBank
    hum: Recording
    tones: tuple[tone.SteadyTone, ...]
    conditions: tone.Conditions
    beyond: float
    picture: Picture
    crop: made.Crop
    remarks: tuple[str, ...]
    clip: made.Clip
    silence: tuple[made.Clip, ...]
    mixture: made.Tone
    crops: list[made.Crop]
    scene: Picture
    echo: made.Echo
    echo_qr: float
    sent: Array
    received: Array
    room: Array

    @property
    def credits(self) -> list[Credit]:
        """Sources of the real data, each once."""
        found = [self.recording.credit, self.hum.credit, self.picture.credit, self.scene.credit]
        return list(dict.fromkeys(found))


def prepare(audio: str | Path | None = None, image: str | Path | None = None) -> Given:
    """Read the files (or the packages' data), and make the data with known truth.

    Parameters
    ----------
    audio, image : str or Path, optional
        The user's own; by default recordings and a picture that packages ship.

    Raises
    ------
    OSError, ValueError, ImportError
        If a file is missing, cannot be read or holds nothing to work on; if the package that ships
        the data is not installed.
    """
    remarks: list[str] = []
    if audio is None:
        recording, hum = data.piano(), data.heart()
        tones = tone.find_tones(hum.samples, hum.rate, prominence_db=6)
        beyond, width = 5.0, 0.5
    else:
        recording = _shortened(data.read_audio(audio), remarks)
        hum, tones = _with_tone(recording, remarks)
        beyond = 20.0 * max(1.0, recording.rate / 48_000)
        width = beyond / 20
    conditions = tone.notch(
        sorted(t.frequency for t in tones), hum.rate, beyond=beyond, width=width
    )
    picture = data.photograph() if image is None else _reduced(data.read_picture(image), remarks)
    scene = data.photograph() if image is None else _scene()
    sent, received, room = _through_room(recording)
    echo = made.echo()
    return Given(
        recording=recording,
        bank=notes.pitch_bank(recording.rate),
        hum=hum,
        tones=tuple(tones),
        conditions=conditions,
        beyond=beyond,
        picture=picture,
        crop=_piece(picture),
        remarks=tuple(remarks),
        clip=made.notes_clip(),
        silence=tuple(made.noise_clip(seed, colour=c) for seed, c in enumerate((0.0, 1.0, 2.0))),
        mixture=made.broadcast(),
        crops=made.crops(scene.pixels, CROPS),
        scene=scene,
        echo=echo,
        echo_qr=score.echo_error_by_qr(echo.sent, echo.received, echo.taps),
        sent=sent,
        received=received,
        room=room,
    )


def _shortened(recording: Recording, remarks: list[str]) -> Recording:
    samples, rate, name = recording.samples, recording.rate, recording.credit.source
    if rate < LEAST_RATE:
        raise ValueError(
            f"{name} has {rate:g} samples per second; {LEAST_RATE:g} or more are needed"
        )
    if samples.size < max(0.5 * rate, 1024):
        raise ValueError(
            f"{name} lasts {samples.size / rate:.2f} s ({samples.size} samples); "
            "half a second and 1024 samples or more are needed"
        )
    most = round(MOST_SECONDS * rate)
    if samples.size > most:
        samples = samples[:most]
        remarks.append(f"the first {MOST_SECONDS:g} s of {name} are used")
    if np.ptp(samples) == 0.0:
        raise ValueError(f"{name} holds silence only; a recording with sound is needed")
    return Recording(samples, rate, recording.credit)


def _with_tone(recording: Recording, remarks: list[str]) -> tuple[Recording, list[tone.SteadyTone]]:
    """The recording and its steady tones; one is added to a recording that has none."""
    tones = tone.find_tones(recording.samples, recording.rate)
    if not tones:
        frequency = min(1000.0, recording.rate / 8)
        mixture = made.toned(recording.samples, recording.rate, frequency=frequency, level_db=-12)
        remarks.append(
            f"no steady tone in {recording.credit.source}: one of {frequency:g} Hz was added"
        )
        recording = Recording(mixture.samples, recording.rate, recording.credit)
        # In a recording of a second or less, even an added tone may not stand out.
        tones = tone.find_tones(recording.samples, recording.rate, prominence_db=3, most=1)
        if not tones:
            tones = [tone.SteadyTone(frequency, float(np.abs(mixture.tone).max()), 0.0)]
    return recording, tones


def _reduced(picture: Picture, remarks: list[str]) -> Picture:
    pixels, name = picture.pixels, picture.credit.source
    if min(pixels.shape) < 64:
        raise ValueError(
            f"{name} has {pixels.shape[0]} × {pixels.shape[1]} pixels; 64 × 64 or more are needed"
        )
    step = -(-max(pixels.shape) // MOST_PIXELS)
    if step > 1:
        rows, columns = (n // step for n in pixels.shape)
        if min(rows, columns) < 64:
            raise ValueError(
                f"{name} has {pixels.shape[0]} × {pixels.shape[1]} pixels; one side may be at most "
                "8 times the other"
            )
        blocks = pixels[: rows * step, : columns * step].reshape(rows, step, columns, step)
        pixels = blocks.mean(axis=(1, 3))
        remarks.append(f"{name} is reduced to {rows} × {columns} pixels")
    if np.ptp(pixels) == 0.0:
        raise ValueError(f"{name} has one grey level only; a picture with detail is needed")
    return Picture(pixels, picture.credit)


def _scene() -> Picture:
    """The picture of the score beside a user's picture, which may repeat itself."""
    try:
        return data.photograph()
    except ImportError:
        return _texture()


def _texture() -> Picture:
    """A made picture: noise, the stronger the coarser."""
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft2(rng.standard_normal((384, 384)))
    rows, columns = np.fft.fftfreq(384)[:, None], np.fft.rfftfreq(384)[None]
    pixels = np.fft.irfft2(spectrum / (0.01 + np.hypot(rows, columns)), (384, 384))
    pixels = (pixels - pixels.min()) / np.ptp(pixels)
    return Picture(pixels, Credit("Made texture", "coloured noise", ""))


def _piece(picture: Picture) -> made.Crop:
    """A lively piece of the picture with other gain and offset, and grain."""
    image = picture.pixels
    side = max(24, min(32, min(image.shape) // 8))
    steps = [range(0, n - side + 1, max(1, side // 4)) for n in image.shape]
    places = [(row, column) for row in steps[0] for column in steps[1]]

    def liveliness(place: tuple[int, int]) -> float:
        piece = image[place[0] : place[0] + side, place[1] : place[1] + side]
        halves = [p for half in np.array_split(piece, 2) for p in np.array_split(half, 2, 1)]
        return min(float(p.std()) for p in halves)

    row, column = max(places, key=liveliness)
    piece = image[row : row + side, column : column + side]
    grain = 0.1 * piece.std() * np.random.default_rng(1).standard_normal(piece.shape)
    return made.Crop(0.6 * (piece + grain) + 0.2, row, column, 0.6, 0.2)


def _through_room(recording: Recording) -> tuple[Array, Array, Array]:
    """The loudest piece of a recording, the same through an echo as a 16-bit file has it."""
    x = recording.samples
    count = min(x.size, SENT)
    energy = np.concatenate([[0.0], np.cumsum(x**2)])
    start = int(np.argmax(energy[count:] - energy[:-count]))
    sent = x[start : start + count]
    sent = sent / np.abs(sent).max()
    rng = np.random.default_rng(7)
    room = np.zeros(ROOM)
    room[[0, 9, 21, 30, 45, 58]] = [1.0, 0.6, -0.45, 0.3, 0.2, -0.15]
    room += 0.01 * rng.standard_normal(ROOM) * (np.arange(ROOM) > 0)
    received = np.convolve(sent, room)[:count]
    step = np.abs(received).max() / 32767
    return sent, np.round(received / step) * step, room
