"""Bad input of the short-time transforms and of filtering in chunks."""

from __future__ import annotations

from typing import Any

import numpy as np

import swath

from . import (
    DTYPE,
    EMPTY,
    LARGER,
    MIXED,
    NAN,
    OBJECT,
    RANK,
    STRIDE,
    Bad,
    call,
    elsewhere,
    gives,
    ones,
    refuse,
)
from .signal import FOREIGN, NO_OBJECT, NONE, TRUTH

nan = np.nan
STFT, ISTFT, SPECTROGRAM = "signal.stft", "signal.istft", "signal.spectrogram"
STEP, STREAM = "signal.fir_step", "signal.FIRStream"
HOLED = np.array([1.0, 1.0, 1.0, 1.0, 1.0, nan, 1.0, 1.0])


def streamed(b: Any, *chunks: Any, **options: Any) -> Any:
    """The last thing that a stream gives for these chunks."""
    stream, y = swath.signal.FIRStream(b, **options), None
    for chunk in chunks:
        y = stream.push(chunk)
    return stream.flush() if y is None else y


def analysing(name: str) -> list[Bad]:
    """What the transform and the spectrogram have in common."""
    return [
        refuse(
            name, RANK, call(np.ones(())), ValueError,
            "x must have at least one axis, got a number",
        ),
        refuse(
            name, DTYPE, call(TRUTH), TypeError,
            "x must be numeric, got .*bool; convert it to an integer dtype",
        ),
        refuse(
            name, "complex window", call(ones(4), 1.0, 1j * ones(2)), TypeError,
            r"window must be real, got \w+ of shape \(2,\), dtype complex128",
        ),
        refuse(
            name, MIXED, call(ones(3), 1.0, elsewhere([1.0])), TypeError, FOREIGN.format("window")
        ),
        refuse(
            name, STRIDE, call(ones(8), nperseg=4, noverlap=4), ValueError,
            "noverlap must be less than nperseg = 4, got 4",
        ),
        refuse(
            name, "negative overlap", call(ones(8), nperseg=4, noverlap=-1), ValueError,
            "noverlap must be at least 0, got -1",
        ),
        refuse(
            name, LARGER, call(ones(3), 1.0, ones(4)), ValueError,
            "window has 4 samples, but x has 3; use a shorter window",
        ),
        refuse(
            name, "window of another length", call(ones(9), 1.0, ones(4), nperseg=5), ValueError,
            "nperseg is 5, but window has 4 samples; leave nperseg out",
        ),
        refuse(
            name, "window of two axes", call(ones(9), 1.0, ones(4, 1)), ValueError,
            r"window must be one row of samples, got shape \(4, 1\)",
        ),
        refuse(
            name, "window without samples", call(ones(9), 1.0, ones(0)), ValueError,
            r"window must be one row of samples, got shape \(0,\)",
        ),
        refuse(
            name, "window of truth values", call(ones(9), 1.0, TRUTH), TypeError,
            "window must be numeric, got .*bool",
        ),
        refuse(
            name, "unknown window", call(ones(9), 1.0, "hat"), ValueError,
            "SciPy does not make window 'hat': ",
        ),
        refuse(
            name, "no window", call(ones(9), 1.0, None), TypeError,
            "window must be a name, a tuple or an array, got None",
        ),
        refuse(
            name, "short transform", call(ones(9), nperseg=4, nfft=3), ValueError,
            "nfft must be at least nperseg = 4, got 3",
        ),
        refuse(
            name, "empty window", call(ones(9), nperseg=0), ValueError,
            "nperseg must be at least 1, got 0",
        ),
        refuse(
            name, "rate", call(ones(9), 0.0), ValueError, "fs must be positive, got 0.0",
        ),
        refuse(
            name, "unknown trend", call(ones(9), detrend="quadratic"), ValueError,
            "detrend must be one of 'constant', 'linear'; got 'quadratic'",
        ),
        refuse(
            name, "unknown scaling", call(ones(9), scaling="dB"), ValueError,
            "scaling must be one of 'spectrum', 'psd'; got 'dB'" if name == STFT else
            "scaling must be one of 'density', 'spectrum'; got 'dB'",
        ),
        refuse(
            name, "axis out of range", call(ones(9), axis=1), ValueError,
            "axis 1 is out of range for an array of 1 axes",
        ),
        refuse(
            name, "no samples", call(ones(2, 0)), ValueError,
            r"x must have samples along axis 1, got shape \(2, 0\)",
        ),
        gives(
            name, EMPTY, call(ones(0, 8), nperseg=4, noverlap=2), (0, 3, 5 if name == STFT else 3),
            lambda r: tuple(r[2].shape),
        ),
        refuse(name, OBJECT, call(object()), TypeError, NO_OBJECT.format("x")),
        refuse(name, "None", call(None), TypeError, NONE.format("x")),
    ]  # fmt: skip


def stepping(name: str, call_with: Any) -> list[Bad]:
    """What the step and the stream have in common; `call_with` puts taps and chunk in place."""
    return [
        refuse(
            name, RANK, call_with(ones(2, 2), ones(3)), ValueError,
            r"(FIRStream: )?b must be one row of coefficients, got shape \(2, 2\)",
        ),
        refuse(
            name, "chunk of no axis", call_with(ones(2), np.ones(())), ValueError,
            "(FIRStream.push: )?chunk must have at least one axis, got a number",
        ),
        refuse(
            name, "no taps", call_with(ones(0), ones(3)), ValueError,
            "(FIRStream: )?b must have at least one coefficient, got none",
        ),
        refuse(
            name, DTYPE, call_with(ones(2), TRUTH), TypeError,
            "(FIRStream.push: )?chunk must be numeric, got .*bool",
        ),
        refuse(
            name, MIXED, call_with(ones(2), elsewhere([1.0])), TypeError,
            "(FIRStream.push: )?" + FOREIGN.format("chunk"),
        ),
        refuse(
            name, "axis out of range", call_with(ones(2), ones(3), axis=1), ValueError,
            "(FIRStream.push: )?axis 1 is out of range for an array of 1 axes",
        ),
        refuse(
            name, "unknown method", call_with(ones(2), ones(3), method="x"), ValueError,
            "(FIRStream: )?method must be one of 'auto', .* got 'x'",
        ),
        refuse(
            name, OBJECT, call_with(ones(2), object()), TypeError,
            "(FIRStream.push: )?" + NO_OBJECT.format("chunk"),
        ),
        refuse(
            name, "None", call_with(ones(2), None), TypeError,
            "(FIRStream.push: )?" + NONE.format("chunk"),
        ),
    ]  # fmt: skip


def stepped(b: Any, chunk: Any, **options: Any) -> Any:
    return call(b, None, chunk, **options)


def second(result: Any) -> Any:
    return result[1]


BAD: list[Bad] = [
    *analysing(STFT),
    *analysing(SPECTROGRAM),
    gives(
        STFT, NAN, call(HOLED, 1.0, "boxcar", 2, 0, boundary=None),
        [[1.0, 1.0, nan, 1.0], [0.0, 0.0, nan, 0.0]], lambda r: r[2],
    ),
    gives(
        SPECTROGRAM, NAN,
        call(HOLED, 1.0, "boxcar", 2, 0, detrend=False, scaling="spectrum"),
        [[1.0, 1.0, nan, 1.0], [0.0, 0.0, nan, 0.0]], lambda r: r[2],
    ),
    refuse(
        STFT, "unknown boundary", call(ones(9), boundary="wrap"), ValueError,
        "boundary must be one of 'zeros', 'even', 'odd', 'constant'; got 'wrap'",
    ),
    refuse(
        SPECTROGRAM, "unknown mode", call(ones(9), mode="power"), ValueError,
        "mode must be one of 'psd', 'complex', 'magnitude', 'angle', 'phase'; got 'power'",
    ),
    # -- the inverse
    refuse(
        ISTFT, "unknown scaling", call(ones(4, 3), scaling="density"), ValueError,
        "scaling must be one of 'spectrum', 'psd'; got 'density'",
    ),
    refuse(
        ISTFT, "no frequencies", call(ones(0, 3)), ValueError,
        r"Zxx must have windows and frequencies, got shape \(0, 3\)",
    ),
    refuse(
        ISTFT, "window longer than a whole spectrum",
        call(ones(4, 3), nperseg=5, input_onesided=False), ValueError,
        "nfft must be at least nperseg = 5, got 4",
    ),
    refuse(
        ISTFT, RANK, call(ones(3)), ValueError,
        r"Zxx must have at least two axes, got shape \(3,\)",
    ),
    refuse(ISTFT, DTYPE, call(ones(3, 3) > 0), TypeError, "Zxx must be numeric, got .*bool"),
    refuse(
        ISTFT, "complex window", call(ones(3, 3), 1.0, 1j * ones(4)), TypeError,
        r"window must be real, got \w+ of shape \(4,\), dtype complex128",
    ),
    refuse(
        ISTFT, MIXED, call(ones(3, 3), 1.0, elsewhere([1.0])), TypeError, FOREIGN.format("window")
    ),
    refuse(
        ISTFT, STRIDE, call(ones(3, 3), noverlap=4), ValueError,
        "noverlap must be less than nperseg = 4, got 4",
    ),
    refuse(
        ISTFT, LARGER, call(ones(3, 3), 1.0, ones(6)), ValueError,
        "nfft must be at least nperseg = 6, got 4",
    ),
    gives(ISTFT, EMPTY, call(ones(0, 3, 4)), ones(0, 6), second),
    refuse(
        ISTFT, "no windows", call(ones(3, 0)), ValueError,
        r"Zxx must have windows and frequencies, got shape \(3, 0\)",
    ),
    gives(
        ISTFT, NAN, call(np.array([[1.0, nan, 1.0], [0.0, nan, 0.0]]), 1.0, "boxcar", noverlap=0,
                         boundary=False),
        [1.0, 1.0, nan, nan, 1.0, 1.0], second,
    ),
    refuse(ISTFT, OBJECT, call(object()), TypeError, NO_OBJECT.format("Zxx")),
    refuse(ISTFT, "None", call(None), TypeError, NONE.format("Zxx")),
    refuse(
        ISTFT, "one axis for both", call(ones(3, 3), time_axis=-2), ValueError,
        "time_axis and freq_axis must differ, both are 0",
    ),
    refuse(
        ISTFT, "samples under no window", call(ones(3, 3), noverlap=0), ValueError,
        r"window must cover every sample \(nonzero overlap-add\): with 4 samples from one window "
        r"to the next the sum of its squares is 0.0e\+00 somewhere; use a larger noverlap",
    ),
    refuse(
        ISTFT, "samples under no given window",
        call(ones(3, 3), 1.0, np.array([0.0, 1.0, 1.0, 1.0]), noverlap=0), ValueError,
        r"window must cover every sample \(nonzero overlap-add\)",
    ),
    # -- chunks
    *stepping(STEP, stepped),
    *stepping(STREAM, call),
    refuse(
        STEP, "state of another shape", call(ones(3), ones(2, 3), ones(2, 4)), ValueError,
        r"state must have shape \(2, 2\) \(that of chunk with K − 1 = 2 points along axis 1\), got "
        r"\(2, 3\)",
    ),
    gives(STEP, LARGER, call(ones(5), None, ones(2)), [1.0, 2.0], second),
    gives(STEP, EMPTY, call(ones(2), None, ones(0, 3)), ones(0, 3), second),
    gives(
        STEP, NAN, call(ones(2), None, HOLED, method="direct"),
        [1.0, 2.0, 2.0, 2.0, 2.0, nan, nan, 2.0], second,
    ),
    gives(STREAM, LARGER, call(ones(5), ones(2), np.zeros(5)), [2.0, 2.0, 2.0, 1.0, 0.0]),
    gives(STREAM, EMPTY, call(ones(2), ones(0, 3)), ones(0, 3)),
    gives(STREAM, NAN, call(ones(2), HOLED[:6], HOLED[6:], method="direct"), [nan, 2.0]),
    refuse(
        STREAM, "chunk of other channels", call(ones(2), ones(3, 4), ones(2, 4)), ValueError,
        r"FIRStream.push: chunk must have shape \(3, any\) like the chunks before, got \(2, 4\)",
    ),
    refuse(
        STREAM, "chunk of other axes", call(ones(2), ones(4), ones(2, 4)), ValueError,
        r"FIRStream.push: chunk must have shape \(any,\) like the chunks before, got \(2, 4\)",
    ),
    refuse(
        STREAM, "compensation of any filter", call(np.array([1.0, 2.0, 4.0]), compensate=True),
        ValueError, "FIRStream: compensate=True needs symmetric or antisymmetric taps",
    ),
    refuse(
        STREAM, "compensation of too much", call(ones(3), compensate=3), ValueError,
        "FIRStream: compensate must be less than the 3 taps, got 3",
    ),
    refuse(
        STREAM, "compensation of half a sample", call(ones(2), compensate=0.5), TypeError,
        "FIRStream: compensate must be an int, got float 0.5",
    ),
    refuse(
        STREAM, "axis by name", call(ones(2), axis="time"), TypeError,
        "FIRStream: axis must be an int, got str 'time'",
    ),
]  # fmt: skip

NEVER = [(STRIDE, "every sample counts: there is no stride", (STEP, STREAM))]
