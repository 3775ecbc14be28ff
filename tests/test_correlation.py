"""signal.convolve and signal.correlate against SciPy, exact integers and laws, on every row."""

from __future__ import annotations

import pytest
import scipy.signal

import swath
from swath.testing import assert_close, check_adjoint, check_vjp

pytestmark = pytest.mark.op("signal.convolve", "signal.correlate")

PAIRS = [
    (swath.signal.convolve, scipy.signal.convolve),
    (swath.signal.correlate, scipy.signal.correlate),
]
LENGTHS = [(1, 1), (7, 3), (8, 4), (3, 7), (5, 5), (40, 9)]


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_equals_scipy_for_all_lengths_modes_and_methods(xp, rng, mode, kind):
    for n, k in LENGTHS:
        a, b = rng.standard_normal(n), rng.standard_normal(k)
        if kind == "complex":
            a, b = a + 1j * rng.standard_normal(n), b + 1j * rng.standard_normal(k)
        for ours, theirs in PAIRS:
            for method in ("auto", "direct", "toeplitz", "fft", "overlap_save"):
                got = xp.call(ours, xp.asarray(a), xp.asarray(b), mode, method)
                assert_close(got, theirs(a, b, mode, "direct"))


def test_derivatives(xp, rng):
    x, k = xp.asarray(rng.standard_normal((2, 9))), xp.asarray(rng.standard_normal(4))
    for ours, _ in PAIRS:
        check_adjoint(ours, x, k, "same", axes=-1)
        check_vjp(ours, x, k, "full", axes=-1)
