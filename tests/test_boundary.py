"""signal.convolve2d and signal.correlate2d against SciPy and a continuation point by point."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

import oracles_signal as oracle
from swath.signal import convolve2d, correlate2d
from swath.testing import assert_close, check_adjoint, check_vjp

pytestmark = pytest.mark.op("signal.convolve2d", "signal.correlate2d")

PAIRS = [(convolve2d, scipy.signal.convolve2d), (correlate2d, scipy.signal.correlate2d)]
EDGES = [("fill", 0), ("fill", 2.5), ("wrap", 0), ("symm", 0)]


@pytest.mark.parametrize("boundary, value", EDGES)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_equals_scipy(xp, rng, mode, boundary, value):
    a, b = rng.standard_normal((5, 6)), rng.standard_normal((3, 4))
    for ours, theirs in PAIRS:
        got = xp.call(ours, xp.asarray(a), xp.asarray(b), mode, boundary, value)
        assert_close(got, theirs(a, b, mode, boundary, value), dtype=xp.float)


@pytest.mark.on("numpy", "strict", "torch", "dpnp")
@pytest.mark.parametrize("boundary, value", EDGES)
def test_kernels_larger_than_the_picture(xp, rng, boundary, value):
    a = rng.standard_normal((2, 3)) + 1j * rng.standard_normal((2, 3))
    b = rng.standard_normal((5, 8)) + 1j * rng.standard_normal((5, 8))
    wide = oracle.extended(a, (4, 7), (4, 7), boundary, value)
    got = convolve2d(xp.asarray(a), xp.asarray(b), "full", boundary, value)
    assert_close(got, scipy.signal.convolve(wide, b, "valid", "direct"))
    got = correlate2d(xp.asarray(a), xp.asarray(b), "full", boundary, value)
    assert_close(got, scipy.signal.correlate(wide, b, "valid", "direct"))


def test_integers_are_exact_and_empty_inputs_keep_their_rank(xp):
    a, b = np.arange(12).reshape(3, 4), np.array([[1, -1], [2, 0]])
    got = convolve2d(xp.asarray(a, "int32"), xp.asarray(b, "int32"), "same", "symm")
    want = scipy.signal.convolve2d(a, b, "same", "symm").astype(np.int32)
    assert_close(got, want, dtype="int32")
    got = convolve2d(xp.asarray(np.zeros((0, 4))), xp.asarray(np.ones((2, 2))), "same", "wrap")
    assert_close(got, np.zeros((0, 4)))


@pytest.mark.on("numpy", "jax-jit", "torch", "strict")
def test_derivatives(xp, rng):
    a, b = xp.asarray(rng.standard_normal((3, 4))), xp.asarray(rng.standard_normal((2, 3)))
    for boundary in ("wrap", "symm"):
        check_vjp(correlate2d, a, b, "same", boundary)
        check_adjoint(convolve2d, a, b, "full", boundary)
    check_vjp(convolve2d, a, b, "full", "fill", 3)


@pytest.mark.parametrize(
    "a, b, options, error, text",
    [
        (np.ones(3), np.ones(3), {}, ValueError, r"in1 must have two axes, got shape \(3,\)"),
        (np.ones((3, 3)), np.ones(3), {}, ValueError, "must have the same number of axes"),
        (np.ones((3, 3)), np.ones((2, 2)), {"mode": "wide"}, ValueError, "mode must be one of"),
        (np.ones((3, 3)), np.ones((2, 2)), {"boundary": "edge"}, ValueError, "boundary must be"),
        (np.ones((3, 1)), np.ones((2, 2)), {"mode": "valid"}, ValueError, "at least as large"),
        (np.ones((3, 3)), np.ones((2, 2)), {"fillvalue": "0"}, TypeError, "fillvalue must be a n"),
        (np.ones((3, 3)), np.ones((2, 2)), {"fillvalue": 1j}, TypeError, "fillvalue must be real"),
        (np.ones((3, 3), int), np.ones((2, 2), int), {"fillvalue": 0.5}, TypeError, "be an int"),
        (np.ones((3, 3)) > 0, np.ones((2, 2)), {}, TypeError, "in1 must be numeric"),
    ],
)
def test_refuses(a, b, options, error, text):
    for function in (convolve2d, correlate2d):
        with pytest.raises(error, match=text):
            function(a, b, **options)
