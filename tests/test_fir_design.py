"""signal.fir_from_response: conditions met, Tables 1-3, and least squares against NumPy's QR."""

from __future__ import annotations

import numpy as np
import pytest

import oracles_signal as oracle
import swath
from swath.signal import amplitude_response, convolve, fir_from_response, freqz
from swath.testing import assert_close, check_vjp

pytestmark = pytest.mark.op("signal.fir_from_response")

CONDITIONS = ([np.pi / 3, 2 * np.pi / 3], [1.0, 0.0])


def cosines(taps, freqs):
    """The response's matrix from its definition, one column per free tap from the middle."""
    centre = (taps - 1) / 2
    table = np.zeros((len(freqs), (taps + 1) // 2))
    for k in range(taps):
        table[:, int(abs(k - centre))] += np.cos(np.asarray(freqs) * (k - centre))
    return table


def reference(taps, freqs, gains, weight=None):
    """Taps by Householder QR in float64."""
    root = np.sqrt(np.ones(len(freqs)) if weight is None else weight)
    half = np.linalg.lstsq(cosines(taps, freqs) * root[:, None], np.asarray(gains) * root)[0]
    return np.concatenate([half[taps % 2 :][::-1], half])


def three_taps(xp):
    freqs, gains = CONDITIONS
    return xp.call(fir_from_response, 3, freqs, xp.asarray(gains))


@pytest.mark.op("signal.amplitude_response")
def test_the_filter_of_two_conditions(xp):
    h = three_taps(xp)
    assert_close(h, [0.5, 0.5, 0.5], bound=2 * xp.eps, dtype=xp.float)
    got = amplitude_response(h, [0.0, *CONDITIONS[0]])
    assert_close(got, [1.5, 1.0, 0.0], bound=8 * xp.eps)


@pytest.mark.op("signal.convolve")
@pytest.mark.parametrize(
    "frequency, value", [(0.0, 1.5), (np.pi / 3, 1.0), (2 * np.pi / 3, 0.0)], ids="123"
)
def test_tables_of_real_signals(xp, frequency, value):
    """Inputs n = -1...9, outputs n = 0...8: the input times its eigenvalue."""
    n = np.arange(-1, 10)
    x = np.cos(frequency * n)
    y = convolve(xp.asarray(x), three_taps(xp), "valid")
    assert_close(y, value * x[1:-1], bound=8 * xp.eps)


def test_the_causal_filter_gives_the_eigenvalue_with_a_delay(xp):
    _, h = freqz(three_taps(xp), worN=[0.7])
    assert_close(h, [np.exp(-0.7j) * (0.5 + np.cos(0.7))], bound=8 * xp.eps)


@pytest.mark.parametrize("taps", [1, 2, 5, 8])
def test_exact_and_overdetermined_conditions(xp, rng, taps):
    for count in ((taps + 1) // 2, 2 * taps + 3):
        freqs = (np.arange(count) + 0.4) * np.pi / (count + 0.5)
        gains = rng.standard_normal(count)
        h = xp.call(fir_from_response, taps, freqs.tolist(), xp.asarray(gains))
        size = np.max(np.abs(gains))
        assert_close(h, reference(taps, freqs, gains), atol=500 * xp.eps * size)
        if count == (taps + 1) // 2:
            assert_close(amplitude_response(h, freqs.tolist()), gains, atol=500 * xp.eps * size)
        assert_close(h, xp.numpy(h)[::-1], bound=0)


def test_weights_and_frequencies_in_an_array(xp, rng):
    freqs, gains = np.linspace(0, 3, 9), rng.standard_normal(9)
    weight = rng.uniform(0.1, 10, 9)
    h = xp.call(
        fir_from_response,
        5,
        xp.asarray(1000 * freqs),
        xp.asarray(gains),
        weight=xp.asarray(weight),
        fs=2000 * np.pi,
    )
    assert_close(h, reference(5, freqs, gains, weight), rtol=1000 * xp.eps)


def test_complex_gains_of_a_causal_filter(xp, rng):
    taps = rng.standard_normal(4)
    freqs = np.array([0.3, 1.0, 2.2])
    gains = oracle.response(taps, freqs)
    for count in (2, 3):
        h = xp.call(
            fir_from_response,
            4,
            freqs[:count].tolist(),
            xp.asarray(gains[:count]),
            symmetric=False,
        )
        assert_close(h, taps, rtol=3000 * xp.eps, dtype=xp.float)
    h = fir_from_response(
        2, [0.0, 1.0], xp.asarray([1.0, 0.5]), symmetric=False, weight=xp.asarray([1.0, 4.0])
    )
    # Rows: h0 + h1 = 1, 0 = 0, and four times h0 + h1 cos 1 = 1/2, h1 sin 1 = 0.
    table = np.array([[1, 1], [2, 2 * np.cos(1)], [0, 2 * np.sin(1)]])
    assert_close(h, np.linalg.lstsq(table, [1, 1, 0])[0], rtol=500 * xp.eps)


def test_dependent_conditions_give_the_smallest_taps(xp):
    h = fir_from_response(3, [0.5, 0.5], xp.asarray([1.0, 1.0]))
    row = np.array([2 * np.cos(0.5), 1.0])
    a, b = row / (row @ row)
    assert_close(h, [a, b, a], rtol=1e-3 if xp.float == "float32" else 1e-7)


def test_derivatives_of_the_design(xp, rng):
    freqs = [0.2, 0.9, 1.7, 2.6]
    gains, weight = xp.asarray(rng.standard_normal(4)), xp.asarray([1.0, 2.0, 0.5, 3.0])
    tolerance = {"rtol": 2e-2} if xp.float == "float32" else {}
    check_vjp(fir_from_response, 5, freqs, gains, weight=weight, **tolerance)
    turned = xp.asarray(rng.standard_normal(4) + 1j * rng.standard_normal(4))
    check_vjp(fir_from_response, 5, freqs, turned, symmetric=False, weight=weight, **tolerance)
    _, pullback = swath.vjp(fir_from_response, 3, *CONDITIONS[:1], xp.asarray(CONDITIONS[1]))
    # h = (a, b, a) with a = (g1 - g2) / 2, b = (g1 + g2) / 2.
    assert_close(pullback(xp.asarray([1.0, 0.0, 0.0]))[2], [0.5, -0.5], atol=8 * xp.eps)


def test_lists_go_where_they_are_sent(xp):
    if xp.backend in ("numpy", "torch", "jax", "strict", "dpnp") and xp.device is None:
        name = {"strict": "array_api_strict"}.get(xp.backend, xp.backend)
        h = fir_from_response(3, *CONDITIONS, xp=name, dtype="float32")
        assert type(h) is type(xp.asarray([1.0]))
        assert_close(h, [0.5, 0.5, 0.5], dtype="float32", bound=2**-21)
    h = fir_from_response(3, CONDITIONS[0], xp.asarray([1, 0], dtype="int32"))
    assert_close(h, [0.5, 0.5, 0.5], rtol=1e-6)
    assert type(fir_from_response(3, *CONDITIONS)) is np.ndarray


@pytest.mark.parametrize(
    "arguments, options, error, text",
    [
        (
            (5, [0.1, 0.2], [1, 0]),
            {},
            ValueError,
            r"5 taps have 3 free ones \(symmetric\) and need",
        ),
        (
            (5, [0.1, 0.2], [1, 0]),
            {"symmetric": False},
            ValueError,
            "at least 3 frequencies, got 2",
        ),
        ((0, [0.1], [1]), {}, ValueError, "numtaps must be at least 1"),
        ((1.5, [0.1], [1]), {}, TypeError, "numtaps must be an int"),
        ((1, [0.1, 0.2], [1]), {}, ValueError, "gains must have one entry for each of the 2"),
        (
            (
                1,
                [0.1],
                [1],
            ),
            {"weight": [1, 2]},
            ValueError,
            "weight must have one entry for each",
        ),
        ((1, [[0.1]], [1]), {}, ValueError, r"freqs must have one axis, got shape \(1, 1\)"),
        ((1, [0.1], [1j]), {}, TypeError, "gains of a symmetric filter .* symmetric=False"),
        ((1, [1j], [1]), {}, TypeError, "freqs must hold real numbers"),
        ((1, [0.1], [1]), {"weight": [1j]}, TypeError, "weight must be real"),
        ((1, [0.1], [1]), {"fs": -1}, ValueError, "fs must be positive"),
        ((1, [0.1], [1]), {"xp": 3}, TypeError, "xp must be an array library or its name"),
        ((1, [0.1], [1]), {"dtype": "int32"}, TypeError, "dtype must be a real floating dtype"),
    ],
)
def test_design_refuses(arguments, options, error, text):
    with pytest.raises(error, match=text):
        fir_from_response(*arguments, **options)


@pytest.mark.needs("torch")
def test_two_libraries_are_refused():
    import torch

    with pytest.raises(TypeError, match="xp is numpy, but gains is an array of torch"):
        fir_from_response(1, [0.1], torch.ones(1), xp=np)
    with pytest.raises(TypeError, match="swath moves nothing on its own"):
        fir_from_response(1, np.ones(1), torch.ones(1))
