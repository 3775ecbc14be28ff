"""Taps from conditions: Tables 1-3, NumPy's QR, exact normal equations, and SciPy's designs."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.signal

import oracles_signal as oracle
import swath
from rows import COMPILED_ONCE
from swath.signal import (
    amplitude_response,
    convolve,
    fir_from_response,
    firls,
    freqz,
    minimum_phase,
    remez,
)
from swath.testing import assert_close, check_vjp

RESPONSE = pytest.mark.op("signal.fir_from_response")

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


@RESPONSE
@pytest.mark.op("signal.amplitude_response")
def test_the_filter_of_two_conditions(xp):
    h = three_taps(xp)
    assert_close(h, [0.5, 0.5, 0.5], bound=2 * xp.eps, dtype=xp.float)
    got = amplitude_response(h, [0.0, *CONDITIONS[0]])
    assert_close(got, [1.5, 1.0, 0.0], bound=8 * xp.eps)


@RESPONSE
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


@RESPONSE
def test_the_causal_filter_gives_the_eigenvalue_with_a_delay(xp):
    _, h = freqz(three_taps(xp), worN=[0.7])
    assert_close(h, [np.exp(-0.7j) * (0.5 + np.cos(0.7))], bound=8 * xp.eps)


@RESPONSE
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


@RESPONSE
def test_weights_and_frequencies_in_an_array(xp, rng):
    freqs, gains = np.linspace(0, 3, 9), rng.standard_normal(9)
    weight = rng.uniform(0.1, 10, 9)
    weight[4] = 0.0  # which leaves a frequency out
    h = xp.call(
        fir_from_response,
        5,
        xp.asarray(1000 * freqs),
        xp.asarray(gains),
        weight=xp.asarray(weight),
        fs=2000 * np.pi,
    )
    assert_close(h, reference(5, freqs, gains, weight), rtol=1000 * xp.eps)


@RESPONSE
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


@RESPONSE
def test_dependent_conditions_give_the_smallest_taps(xp):
    h = fir_from_response(3, [0.5, 0.5], xp.asarray([1.0, 1.0]))
    row = np.array([2 * np.cos(0.5), 1.0])
    a, b = row / (row @ row)
    assert_close(h, [a, b, a], rtol=1e-3 if xp.float == "float32" else 1e-7)


@RESPONSE
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


@RESPONSE
def test_lists_go_where_they_are_sent(xp):
    if xp.backend in ("numpy", "torch", "jax", "strict", "dpnp") and xp.device is None:
        name = {"strict": "array_api_strict"}.get(xp.backend, xp.backend)
        h = fir_from_response(3, *CONDITIONS, xp=name, dtype="float32")
        assert type(h) is type(xp.asarray([1.0]))
        assert_close(h, [0.5, 0.5, 0.5], dtype="float32", bound=2**-21)
    h = fir_from_response(3, CONDITIONS[0], xp.asarray([1, 0], dtype="int32"))
    assert_close(h, [0.5, 0.5, 0.5], rtol=1e-6)
    assert type(fir_from_response(3, *CONDITIONS)) is np.ndarray


@RESPONSE
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


@RESPONSE
@pytest.mark.needs("torch")
def test_two_libraries_are_refused():
    import torch

    with pytest.raises(TypeError, match="xp is numpy, but gains is an array of torch"):
        fir_from_response(1, [0.1], torch.ones(1), xp=np)
    with pytest.raises(TypeError, match="swath moves nothing on its own"):
        fir_from_response(1, np.ones(1), torch.ones(1))


@RESPONSE
@pytest.mark.on("numpy", "strict")
@pytest.mark.op("signal.amplitude_response", "signal.freqz")
@pytest.mark.parametrize("taps", [31, 64])
def test_many_conditions_are_met_exactly(xp, rng, taps):
    count = (taps + 1) // 2
    freqs = ((np.arange(count) + 0.4) * np.pi / (count + 0.5)).tolist()
    gains = rng.standard_normal(count)
    h = fir_from_response(taps, freqs, xp.asarray(gains))
    assert_close(amplitude_response(h, freqs), gains, atol=1e-12)
    if taps % 2 == 0:
        turned = gains + 1j * rng.standard_normal(count)
        h = fir_from_response(taps, freqs, xp.asarray(turned), symmetric=False)
        assert_close(freqz(h, worN=freqs)[1], turned, atol=1e-12)


# -- firls

BANDS = pytest.mark.op("signal.firls")
LEAST = [
    (1, [0, 0.5], [1, 0.5], None),
    (3, [0, 0.4, 0.6, 1], [1, 1, 0, 0], [1.0, 100.0]),
    (9, [0.05, 0.2, 0.3, 0.6, 0.65, 0.95], [0, 0.25, 1, 0.75, 0, 0], [1.0, 2.0, 0.5]),
    (31, [0, 0.4, 0.6, 1], [1, 1, 0, 0], None),
    (5, [0, 0.5, 0.5, 1], [1, 1, 0, 0.5], [2.0, 1.0]),
]


def least_squares_taps(taps, bands, desired, weight):
    """The normal equations of the band integrals in 40 digits."""
    weight = weight or [1.0] * (len(bands) // 2)
    with mpmath.workdps(40):
        edges, half = [mpmath.mpf(b) for b in bands], taps // 2
        triples = list(zip(weight, zip(edges[::2], edges[1::2]), zip(desired[::2], desired[1::2])))

        def q(n):
            return sum(
                w * mpmath.quad(lambda f: mpmath.cos(mpmath.pi * n * f), b) for w, b, _ in triples
            )

        def p(n):
            total = mpmath.mpf(0)
            for w, (low, high), (first, last) in triples:

                def wave(f, low=low, high=high, first=first, last=last):
                    gain = first + (last - first) * (f - low) / (high - low)
                    return gain * mpmath.cos(mpmath.pi * n * f)

                total += w * mpmath.quad(wave, (low, high))
            return total

        integrals = [q(n) for n in range(taps)]
        matrix = mpmath.matrix(half + 1)
        for i in range(half + 1):
            for j in range(half + 1):
                matrix[i, j] = integrals[abs(i - j)] + integrals[i + j]
        a = mpmath.lu_solve(matrix, mpmath.matrix([p(n) for n in range(half + 1)]))
        side = [float(v) for v in a][1:]
        return np.array([*side[::-1], float(2 * a[0]), *side])


@pytest.mark.on(*COMPILED_ONCE)
@BANDS
@pytest.mark.parametrize("taps, bands, desired, weight", LEAST)
def test_band_designs_equal_scipy(xp, taps, bands, desired, weight):
    want = scipy.signal.firls(taps, bands, desired, weight=weight)
    given = None if weight is None else xp.asarray(weight)
    bands, desired = np.asarray(bands, float), np.asarray(desired, float)
    got = xp.call(firls, taps, xp.asarray(bands), xp.asarray(desired), weight=given)
    # The condition of the last one's equations is 2e3.
    assert_close(got, want, rtol=3e4 * xp.eps, dtype=xp.float)
    assert_close(got, xp.numpy(got)[::-1], bound=0)
    lists = firls(taps, bands.tolist(), desired.tolist(), weight=weight)
    assert_close(lists, want, rtol=1e-10, dtype="float64")


@BANDS
@pytest.mark.on("numpy", "strict", "torch")
@pytest.mark.parametrize("taps, bands, desired, weight", LEAST[1:3])
def test_band_designs_equal_exact_normal_equations(xp, taps, bands, desired, weight):
    want = least_squares_taps(taps, bands, desired, weight)
    h = firls(taps, xp.asarray(bands), xp.asarray(desired), weight=xp.asarray(weight))
    assert_close(h, want, rtol=1e-12)
    in_pairs = np.reshape(500 * np.asarray(bands), (-1, 2))
    h = firls(
        taps,
        xp.asarray(in_pairs),
        np.reshape(desired, (-1, 2)).tolist(),
        weight=[weight],
        fs=1e3,
    )
    assert_close(h, want, rtol=1e-12)


@pytest.mark.on(*COMPILED_ONCE)
@BANDS
@pytest.mark.op("signal.amplitude_response")
def test_narrow_bands_leave_many_best_filters(xp):
    """Dependent equations: the response holds where it is asked for."""
    h = firls(21, [0, 0.1, 0.9, 1], xp.asarray([1.0, 1, 0, 0]))
    slack = 1e-5 if xp.float == "float64" else 5e-3
    got = amplitude_response(h, [0.0, 0.05 * np.pi, 0.95 * np.pi, np.pi])
    assert_close(got, [1, 1, 0, 0], atol=slack)


@pytest.mark.on(*COMPILED_ONCE)
@BANDS
def test_derivatives_in_bands_gains_and_weights(xp):
    tolerance = {"rtol": 2e-2} if xp.float == "float32" else {}
    bands, gains = xp.asarray([0.1, 0.35, 0.6, 0.9]), xp.asarray([1, 0.75, 0.25, 0.5])
    check_vjp(firls, 5, bands, gains, weight=xp.asarray([1, 2.5]), **tolerance)


@BANDS
@pytest.mark.parametrize(
    "arguments, options, error, text",
    [
        ((4, [0, 1], [1, 1]), {}, ValueError, "numtaps must be odd, got 4"),
        ((3, [0, 0.5, 1], [1] * 3), {}, ValueError, "bands must be pairs of frequencies"),
        ((3, [0, 1], [1] * 3), {}, ValueError, "desired must have one gain for each of the 2"),
        ((3, [0, 1.5], [1] * 2), {}, ValueError, "bands must lie between 0 and fs/2 = 1.0"),
        ((3, [0.5, 0.5], [1] * 2), {}, ValueError, "every band must end after it begins"),
        ((3, [0, 0.5, 0.4, 1], [1] * 4), {}, ValueError, "bands must be in order and may not"),
        ((3, [0, 1], [-1, 1]), {}, ValueError, "desired must be 0 or more"),
        ((3, [0, 1], [1, 1]), {"weight": [-1]}, ValueError, "weight must be 0 or more"),
        ((3, [0, 1], [1, 1]), {"weight": [1, 1]}, ValueError, "weight must have one entry"),
        ((3, [0, 1], [1, 1]), {"fs": -2}, ValueError, "fs must be positive"),
    ],
)
def test_firls_refuses(arguments, options, error, text):
    with pytest.raises(error, match=text):
        firls(*arguments, **options)


# -- by SciPy on the host


@pytest.mark.op("signal.remez")
@pytest.mark.on("numpy", "jax", "jax-x32", "torch", "strict", "strict-device1", "dpnp")
def test_minimax_taps_come_back_where_the_arguments_are(xp):
    want = scipy.signal.remez(15, [0, 0.1, 0.2, 0.5], [1, 0], weight=[1, 10])
    bands, weight = xp.asarray([0, 0.1, 0.2, 0.5]), xp.asarray([1.0, 10])
    got = remez(15, bands, [1.0, 0.0], weight=weight)
    assert type(got) is type(bands)
    # In float32 the edges themselves are rounded.
    assert_close(got, want, dtype=xp.float, atol=64 * xp.eps)
    got = remez(
        15,
        [0, 200, 400, 1000],
        [1, 0],
        weight=[1, 10],
        fs=2000,
        xp=xp.namespace,
        device=xp.device,
        dtype="float32",
    )
    assert type(got) is type(bands)
    assert_close(got, want, dtype="float32", atol=2**-22)


@pytest.mark.op("signal.minimum_phase")
@pytest.mark.on("numpy", "jax", "jax-x32", "torch", "strict", "strict-device1", "dpnp")
def test_minimum_phase_keeps_the_gains_and_its_zeros_inside(xp):
    h = scipy.signal.firwin(11, 0.4)
    for options in ({}, {"half": False}, {"method": "hilbert", "n_fft": 512}):
        got = minimum_phase(xp.asarray(h), **options)
        want = scipy.signal.minimum_phase(h, **options)
        # A cepstrum multiplies the rounding of float32 taps.
        assert_close(got, want, dtype=xp.float, atol=1e-13 if xp.x64 else 1e-3)
    whole = xp.numpy(minimum_phase(xp.asarray(h), half=False)).astype(float)
    angles = np.linspace(0, 1, 5)
    assert_close(
        np.abs(oracle.response(whole, angles)), np.abs(oracle.response(h, angles)), atol=1e-3
    )
    assert np.all(np.abs(np.roots(whole)) < 1 + 1e-3)


@pytest.mark.needs("jax")
@pytest.mark.op("signal.remez", "signal.minimum_phase")
def test_traced_arguments_of_host_designs_are_refused():
    import jax

    with pytest.raises(NotImplementedError, match="remez: bands is traced or lazy; SciPy"):
        jax.jit(lambda b: remez(5, b, [1.0, 0.0]))(np.array([0, 0.1, 0.2, 0.5]))
    with pytest.raises(NotImplementedError, match="minimum_phase: h is traced or lazy; SciPy"):
        jax.jit(minimum_phase)(np.ones(3))
