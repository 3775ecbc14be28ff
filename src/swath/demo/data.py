"""Real input: recordings and pictures that packages ship, or the user's own files.

What the demo uses by default, and under which licence (each result carries its `Credit`):

================  =========================================  ================================
what              where it comes from                        licence
================  =========================================  ================================
piano.wav         three recorded piano notes (C3, G3, C4),   MIT, copyright 2015 Joe Hamilton
                  ``notes_2_16_44.wav`` of simpleaudio       (text in ``piano.LICENSE.txt``)
                  1.0.4; here mixed to one channel and
                  resampled from 44.1 to 22.05 kHz
electrocardiogram ``pywt.data.ecg`` of PyWavelets: 1024      MIT (PyWavelets)
                  samples with mains hum
photograph        ``pywt.data.camera`` of PyWavelets: a      CC0 by the photographer, Lav
                  photographer with a camera, 512 x 512      Varshney
================  =========================================  ================================

The electrocardiogram's package states no sampling rate. Its two hum lines lie at 1/6 and 1/3 of
it, which is 60 and 120 Hz at the 360 Hz that heart recordings of this kind use; so the demo takes
360 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Credit",
    "Picture",
    "Recording",
    "heart",
    "photograph",
    "piano",
    "read_audio",
    "read_picture",
]

Array = NDArray[np.float64]

_GREY = np.array([0.2126, 0.7152, 0.0722])  # ITU-R BT.709 luma


@dataclass(frozen=True)
class Credit:
    """Where data come from and what they may be used for.

    Attributes
    ----------
    title : str
        What it is, in a few words.
    source : str
        Package and file, or the user's file.
    licence : str
        Name of the licence, or who released it; empty for the user's own file.
    """

    title: str
    source: str
    licence: str

    def __str__(self) -> str:
        """One line, as the demo prints it."""
        return f"{self.title}: {self.source}" + (f", {self.licence}" if self.licence else "")


@dataclass(frozen=True)
class Recording:
    """One channel of samples, float64 within -1 to 1 where the file has integers."""

    samples: Array
    rate: float
    credit: Credit


@dataclass(frozen=True)
class Picture:
    """Grey levels 0 to 1, shape (H, W), float64."""

    pixels: Array
    credit: Credit


def piano() -> Recording:
    """Three recorded piano notes, 3.5 s at 22.05 kHz: C3, then G3 about 1 s and C4 about 2 s in."""
    file = resources.files("swath.demo").joinpath("piano.wav")
    with resources.as_file(file) as path:
        samples, rate = _read_wav(path)
    return Recording(
        samples,
        rate,
        Credit(
            "Three recorded piano notes",
            "notes_2_16_44.wav of simpleaudio 1.0.4, mixed to one channel, resampled to 22.05 kHz",
            "MIT, copyright 2015 Joe Hamilton",
        ),
    )


def heart() -> Recording:
    """An electrocardiogram with mains hum: 1024 samples, taken as 360 per second, peak 1."""
    samples = np.asarray(_pywt_data("heart").ecg(), dtype=np.float64)
    return Recording(
        samples / np.abs(samples).max(),
        360.0,
        Credit("Electrocardiogram with mains hum", "pywt.data.ecg of PyWavelets", "MIT"),
    )


def photograph() -> Picture:
    """A photographer with his camera, 512 x 512 grey levels."""
    pixels = np.asarray(_pywt_data("photograph").camera(), dtype=np.float64) / 255.0
    return Picture(
        pixels,
        Credit(
            "Photographer with a camera",
            "pywt.data.camera of PyWavelets",
            "CC0 by the photographer, Lav Varshney",
        ),
    )


def _pywt_data(asked: str) -> Any:
    try:
        import pywt.data
    except ImportError as error:
        raise ImportError(
            f"{asked}: PyWavelets, which ships these data, is not installed; "
            "pip install 'swath[demo]' gets it, or give a file of your own"
        ) from error
    return pywt.data


def read_audio(path: str | Path) -> Recording:
    """The user's own recording, mixed to one channel.

    Parameters
    ----------
    path : str or Path
        A WAV file of 8, 16, 24 or 32 bit integers or floats; where the package soundfile is
        installed (``pip install 'swath[audio]'``) also FLAC, Ogg and whatever else it reads.

    Returns
    -------
    Recording

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read as audio, is empty, or holds values that are not finite.
    """
    file = _existing(path, "read_audio")
    try:
        samples, rate = _read_wav(file)
    except ValueError as not_wav:
        try:
            import soundfile
        except ImportError:
            raise ValueError(
                f"read_audio: {file.name} cannot be read as WAV ({not_wav}); WAV with integers or "
                "floats works, and pip install 'swath[audio]' adds FLAC and Ogg"
            ) from not_wav
        try:
            values, file_rate = soundfile.read(file, dtype="float64", always_2d=True)
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                f"read_audio: {file.name} cannot be read as audio ({error}); WAV, FLAC and Ogg work"
            ) from error
        samples, rate = np.asarray(values).mean(axis=1), float(file_rate)
    if samples.size == 0:
        raise ValueError(f"read_audio: {file.name} holds no samples; a longer recording is needed")
    if not np.isfinite(samples).all():
        raise ValueError(
            f"read_audio: {file.name} holds NaN or infinite samples; finite ones are needed"
        )
    return Recording(samples, rate, Credit("Your recording", file.name, ""))


def read_picture(path: str | Path) -> Picture:
    """The user's own picture as grey levels.

    Parameters
    ----------
    path : str or Path
        Any file that Pillow reads (it comes with matplotlib): PNG, JPEG, TIFF, ...; grey, colour,
        with or without transparency (laid on white), 8 or 16 bit.

    Returns
    -------
    Picture

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read as a picture.
    """
    file = _existing(path, "read_picture")
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "read_picture: Pillow is not installed; pip install 'swath[demo]' gets it"
        ) from error
    try:
        with Image.open(file) as image:
            image.load()
            # One level or colour that stands for transparency, or a table of a palette's.
            clear = image.info.get("transparency")
            if image.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "1"):
                image = image.convert("RGB" if clear is None else "RGBA")
                clear = None
            values = np.asarray(image)
    # A chunk that is broken is a SyntaxError to Pillow.
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"read_picture: {file.name} cannot be read as a picture ({error}); PNG and JPEG work"
        ) from error
    pixels = _to_grey(values)
    if clear is not None:
        same = values == np.asarray(clear)
        pixels = np.where(same if same.ndim == 2 else same.all(axis=-1), 1.0, pixels)
    return Picture(pixels, Credit("Your picture", file.name, ""))


def _existing(path: str | Path, asked: str) -> Path:
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{asked}: there is no file {str(path)!r}")
    return file


def _read_wav(path: Path) -> tuple[Array, float]:
    """Samples of a WAV file in -1 to 1, one channel, and the rate; ValueError if it is none."""
    import warnings

    from scipy.io import wavfile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks it does not know
        try:
            rate, values = wavfile.read(path)
        # ZeroDivisionError: a header that states no channels.
        except (EOFError, IndexError, UnboundLocalError, ZeroDivisionError) as error:
            raise ValueError(f"the file is cut off or no WAV: {error}") from error
        except Exception as error:
            if type(error).__name__ == "error":  # struct.error: the header is cut off
                raise ValueError(f"the header is cut off: {error}") from error
            raise
    samples = np.asarray(values)
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float64) - 128.0) / 128.0
    elif np.issubdtype(samples.dtype, np.integer):
        # 24-bit samples come left-aligned in 32 bits, so the dtype alone tells the scale.
        samples = samples.astype(np.float64) / -float(np.iinfo(samples.dtype).min)
    else:
        samples = samples.astype(np.float64)
    return (samples if samples.ndim == 1 else samples.mean(axis=1)), float(rate)


def _to_grey(values: NDArray[Any]) -> Array:
    """Grey levels 0 to 1 from (H, W) or (H, W, 1 to 4) values."""
    scale = 1.0
    if values.dtype == bool:
        values = values.astype(np.float64)
    elif np.issubdtype(values.dtype, np.integer):
        # Pillow gives 16-bit grey as int32 in some modes.
        wide = values.dtype.itemsize > 1
        scale = 65535.0 if wide else 255.0
    pixels = values.astype(np.float64) / scale
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[-1] in (2, 4):
        opacity = pixels[..., -1:]
        pixels = pixels[..., :-1] * opacity + (1.0 - opacity)
    return pixels @ _GREY if pixels.shape[-1] == 3 else pixels[..., 0]
