"""Filters identified and signals deconvolved, beside least squares with the matrix written out.

The peers do with the explicit Toeplitz matrix what swath does without it, building it included, or
(SciPy's recursion) solve the normal equations of the autocorrelations with no refinement.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.signal
from harness import EPS, Contender, Row, Trial
from libraries import installed

import swath

SIZES = ((20_000, 64), (100_000, 200))
KERNEL, RECORD = 101, 1000


def _identify(samples: int, taps: int) -> Trial:
    rng = np.random.default_rng(0)
    x = np.convolve(rng.standard_normal(samples + 2), [1.0, 0.6, 0.2], "valid")
    h = rng.standard_normal(taps)
    # Silence at both ends, so that all methods have one solution.
    x[:taps] = x[-taps:] = 0
    y = np.convolve(x, h)[:samples]
    allowed = 1e3 * EPS["float64"] * float(np.abs(h).max())

    def matrix() -> np.ndarray:
        return np.lib.stride_tricks.sliding_window_view(x, taps)[:, ::-1]

    def by_scipy() -> Any:
        return scipy.linalg.lstsq(matrix(), y[taps - 1 :], lapack_driver="gelsy")[0]

    def correlated() -> Any:
        lags = scipy.signal.correlate(x, x, method="fft")[samples - 1 : samples - 1 + taps]
        right = scipy.signal.correlate(y, x, method="fft")[samples - 1 : samples - 1 + taps]
        return scipy.linalg.solve_toeplitz(lags, right)

    us = Contender(lambda: swath.linalg.identify_fir(x, y, taps), allowed)
    peers = {
        "np.linalg.lstsq": Contender(lambda: np.linalg.lstsq(matrix(), y[taps - 1 :])[0], allowed),
        "scipy lstsq gelsy": Contender(by_scipy, allowed),
        "scipy solve_toeplitz": Contender(correlated, allowed, note="no refinement", role="beside"),
    }
    return Trial(h, us, peers)


def _deconvolve() -> Trial:
    rng = np.random.default_rng(0)
    k = np.exp(-np.arange(KERNEL) / 20.0) * rng.standard_normal(KERNEL)
    k[0] = 4.0
    x = rng.standard_normal(RECORD)
    y = np.convolve(x, k)
    allowed = 1e4 * EPS["float64"]

    def written_out() -> Any:
        return np.linalg.lstsq(scipy.linalg.convolution_matrix(k, RECORD), y)[0]

    def correlated() -> Any:
        lags = np.zeros(RECORD)
        lags[:KERNEL] = np.correlate(k, k, "full")[KERNEL - 1 :]
        return scipy.linalg.solve_toeplitz(lags, np.correlate(y, k, "valid"))

    us = Contender(lambda: swath.linalg.deconvolve(y, k), allowed)
    peers = {
        "np.linalg.lstsq": Contender(written_out, allowed),
        "scipy solve_toeplitz": Contender(correlated, allowed, note="no refinement", role="beside"),
    }
    return Trial(x, us, peers)


def rows() -> list[Row]:
    """On NumPy: the peers know no other library."""
    if not installed("scipy"):
        return []
    found = [
        Row(
            "toeplitz_least_squares", f"identify {n}, {taps} taps", "numpy", "float64",
            "linalg.identify_fir", lambda n=n, t=taps: _identify(n, t),
        )
        for n, taps in SIZES
    ]  # fmt: skip
    name = f"deconvolve {RECORD}, {KERNEL} taps"
    needs = "linalg.deconvolve"
    return [*found, Row("toeplitz_least_squares", name, "numpy", "float64", needs, _deconvolve)]
