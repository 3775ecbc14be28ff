"""Frequency responses at given frequencies."""

from __future__ import annotations

import numpy as np
import scipy.signal
from harness import EPS, Contender, Row, Trial, Work

import swath

# Taps and frequencies.
RESPONSES = ((101, 1000), (101, 10_000), (1025, 10_000))


def _response(taps: int, points: int) -> Trial:
    rng = np.random.default_rng(0)
    b, w = rng.standard_normal(taps), np.sort(rng.random(points)) * np.pi
    phase = np.outer(w.astype(np.longdouble), np.arange(taps))
    exact = (np.cos(phase) @ b - 1j * (np.sin(phase) @ b)).astype(complex)
    # A sum of K terms, whose exponentials are as far off as Horner's powers of one are.
    bound = 4 * taps * EPS["float64"] * np.abs(b).sum()
    us = Contender(lambda: swath.signal.freqz(b, 1, w)[1], bound)
    theirs = Contender(lambda: scipy.signal.freqz(b, 1, w)[1], bound)
    work = Work(8.0 * taps * points, 8 * (taps + 3 * points))
    return Trial(exact, us, {"scipy freqz": theirs}, work)


def rows() -> list[Row]:
    """Short and long filters on NumPy: the other libraries have no such function."""
    return [
        Row(
            "spectral", f"freqz {taps} taps at {points}", "numpy", "float64", "signal.freqz",
            lambda k=taps, n=points: _response(k, n),
        )
        for taps, points in RESPONSES
    ]  # fmt: skip
