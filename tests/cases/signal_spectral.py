"""Cases of the short-time transforms and of filtering in chunks."""

from __future__ import annotations

from typing import Any

from . import Case


def _spectra(rng: Any, *shape: int) -> Any:
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


CASES: list[Case] = [
    Case(
        "signal.stft",
        "window",
        lambda xp, rng: (
            (
                xp.asarray(rng.standard_normal((2, 11))),
                2.0,
                xp.asarray(1.0 + 0.5 * rng.standard_normal(5)),
            ),
            {"noverlap": 3, "nfft": 6, "boundary": "odd", "detrend": "linear", "scaling": "psd"},
        ),
    ),
    Case(
        "signal.stft",
        "complex",
        lambda xp, rng: ((xp.asarray(_spectra(rng, 9)),), {"nperseg": 4, "detrend": "constant"}),
    ),
    Case(
        "signal.istft",
        "window",
        lambda xp, rng: (
            (xp.asarray(_spectra(rng, 2, 3, 4)), 1.0, xp.asarray(1.0 + rng.random(5))),
            {"noverlap": 3},
        ),
    ),
    Case(
        "signal.istft",
        "complex",
        lambda xp, rng: (
            (xp.asarray(_spectra(rng, 4, 3)),),
            {"input_onesided": False, "time_axis": 0, "freq_axis": 1, "nperseg": 3, "nfft": 3},
        ),
    ),
    Case(
        "signal.spectrogram",
        "power",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((9, 2))), 2.0, xp.asarray(1.0 + rng.random(4))),
            {"noverlap": 2, "axis": 0},
        ),
    ),
    Case(
        "signal.spectrogram",
        "phase-complex",
        lambda xp, rng: (
            (xp.asarray(_spectra(rng, 9)),),
            {"nperseg": 4, "detrend": False, "mode": "phase", "window": "boxcar"},
        ),
    ),
    Case(
        "signal.fir_step",
        "state",
        lambda xp, rng: (
            (
                xp.asarray(rng.standard_normal(4)),
                xp.asarray(rng.standard_normal((3, 2))),
                xp.asarray(rng.standard_normal((5, 2))),
            ),
            {"axis": 0},
        ),
    ),
]
