"""signal.firwin and signal.firwin2 against SciPy, and their derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

import swath
from swath.signal import firwin, firwin2, freqz
from swath.testing import assert_close, check_vjp

FIRWIN = pytest.mark.op("signal.firwin")
POINTS = pytest.mark.op("signal.firwin2")

DESIGNS = [
    (8, 0.3, {}),
    (9, 0.3, {"pass_zero": "highpass"}),
    (9, 0.3, {"pass_zero": False, "scale": False}),
    (12, [0.2, 0.5], {"pass_zero": "bandpass", "window": ("kaiser", 4.0)}),
    (11, [0.2, 0.5], {"pass_zero": "bandstop", "window": "hann"}),
    (21, [50.0, 120.0, 300.0], {"fs": 1000.0, "pass_zero": False}),
    (21, [50.0, 120.0, 300.0], {"fs": 1000.0, "width": 60.0}),
    (15, [0.1, 0.3, 0.5, 0.8], {"pass_zero": True, "window": 3.0}),
    (1, 0.5, {}),
]


@FIRWIN
@pytest.mark.parametrize("numtaps, cutoff, options", DESIGNS)
def test_designs_equal_scipy(xp, numtaps, cutoff, options):
    want = scipy.signal.firwin(numtaps, cutoff, **options)
    got = xp.call(firwin, numtaps, xp.asarray(cutoff), **options)
    assert_close(got, want, rtol=256 * xp.eps, dtype=xp.float)
    assert_close(firwin(numtaps, cutoff, **options), want, rtol=1e-14, dtype="float64")


@FIRWIN
def test_lists_go_where_they_are_sent(xp):
    if xp.device is None:
        got = firwin(5, 0.25, xp=xp.namespace, dtype="float32")
        assert type(got) is type(xp.asarray([1.0]))
        assert_close(got, scipy.signal.firwin(5, 0.25), dtype="float32", rtol=2**-22)


@FIRWIN
def test_derivatives_in_the_edges(xp):
    tolerance = {"rtol": 2e-2} if xp.float == "float32" else {}
    for pass_zero in (True, False):
        check_vjp(firwin, 7, xp.asarray([0.25, 0.6]), pass_zero=pass_zero, **tolerance)


@FIRWIN
@pytest.mark.parametrize(
    "numtaps, cutoff, options, error, text",
    [
        (4, 0.5, {"pass_zero": False}, ValueError, "numtaps must be odd for a filter that passes"),
        (0, 0.5, {}, ValueError, "numtaps must be at least 1"),
        (5, [], {}, ValueError, "cutoff must have at least one edge"),
        (5, [[0.5]], {}, ValueError, "cutoff must have at most one axis"),
        (5, 1.0, {}, ValueError, "cutoff must increase and lie strictly between 0 and fs/2 = 1.0"),
        (5, [0.5, 0.2], {}, ValueError, "cutoff must increase"),
        (5, [0.2, 0.5], {"pass_zero": "lowpass"}, ValueError, "a lowpass filter has one edge"),
        (5, 0.2, {"pass_zero": "bandstop"}, ValueError, "bandstop filter has at least two edges"),
        (5, 0.2, {"pass_zero": "notch"}, ValueError, "pass_zero must be one of 'lowpass'"),
        (5, 0.2, {"window": "round"}, ValueError, "SciPy does not make window 'round'"),
        (5, 0.2, {"window": np.ones(4)}, ValueError, "window must have the 5 points"),
        (5, 0.2, {"fs": 0}, ValueError, "fs must be positive"),
        (5, 1j, {}, TypeError, "cutoff must be real"),
        (5, 0.2, {"dtype": "int32"}, TypeError, "dtype must be a real floating dtype"),
    ],
)
def test_firwin_refuses(numtaps, cutoff, options, error, text):
    with pytest.raises(error, match=text):
        firwin(numtaps, cutoff, **options)


@FIRWIN
def test_an_array_as_window(xp):
    window = np.linspace(0.5, 1, 5)
    got = firwin(5, xp.asarray([0.3]), window=xp.asarray(window), scale=False)
    want = scipy.signal.firwin(5, 0.3, window="boxcar", scale=False) * window
    assert_close(got, want, rtol=16 * xp.eps)


# -- firwin2

SAMPLED = [
    (8, [0, 0.5, 1], [1, 1, 0], {}),
    (9, [0, 0.5, 0.5, 1], [1, 1, 0, 0], {"nfreqs": 65}),
    (9, [0, 0.3, 0.3, 1], [1, 2, 0, 0.5], {"window": None}),
    (8, [0, 0.25, 0.25, 1], [0, 1, 2, 1], {"antisymmetric": True, "window": "hann"}),
    (9, [0, 0.5, 0.5, 0.7, 1], [0, 1, 0.5, 1, 0], {"antisymmetric": True}),
    (1, [0, 50, 100], [1, 2, 3], {"fs": 200.0}),
    (5, [0, 1], [1, 0.5], {"window": ("kaiser", 4.0)}),
]


@POINTS
@pytest.mark.parametrize("numtaps, freq, gain, options", SAMPLED)
def test_sampled_designs_equal_scipy(xp, numtaps, freq, gain, options):
    want = scipy.signal.firwin2(numtaps, freq, gain, **options)
    freq, gain = np.asarray(freq, float), np.asarray(gain, float)
    got = xp.call(firwin2, numtaps, xp.asarray(freq), xp.asarray(gain), **options)
    assert_close(got, want, atol=32 * xp.eps, dtype=xp.float)
    # Not what a sum leaves: the middle of an antisymmetric filter, as SciPy's.
    assert np.all(xp.numpy(got)[want == 0] == 0)
    lists = firwin2(numtaps, freq.tolist(), gain.tolist(), **options)
    assert_close(lists, want, atol=1e-15, dtype="float64")


@POINTS
def test_sampled_lists_go_where_they_are_sent(xp):
    if xp.device is None:
        got = firwin2(5, [0, 0.5, 1], [1, 1, 0], xp=xp.namespace, dtype="float32")
        assert type(got) is type(xp.asarray([1.0]))
        want = scipy.signal.firwin2(5, [0, 0.5, 1], [1, 1, 0])
        assert_close(got, want, dtype="float32", atol=2**-23)
    # Beside an array a list takes its place and dtype; integers become floats.
    got = firwin2(3, [0, 0.5, 1], xp.asarray([1, 1, 0], dtype="int32"))
    assert_close(got, scipy.signal.firwin2(3, [0, 0.5, 1], [1, 1, 0]), rtol=1e-6)


@POINTS
@pytest.mark.op("signal.freqz")
def test_a_long_sampled_filter_has_the_gains(xp):
    freq, gain = [0.0, 0.3, 0.6, 1.0], [1.0, 0.25, 0.75, 0.5]
    h = firwin2(201, freq, xp.asarray(gain))
    _, response = freqz(h, worN=[0.15 * np.pi, 0.45 * np.pi, 0.8 * np.pi])
    assert_close(np.abs(xp.numpy(response)), [0.625, 0.5, 0.625], atol=1e-3)


@POINTS
def test_derivatives_in_the_gains(xp):
    tolerance = {"rtol": 2e-2} if xp.float == "float32" else {}
    freq = [0.0, 0.3, 0.3, 1.0]
    for options in ({}, {"window": None, "nfreqs": 12}):
        check_vjp(firwin2, 7, freq, xp.asarray([1.0, 2.0, 0.5, 0.25]), **options, **tolerance)
    # Within a jump that a point of the grid falls on, the gain is the mean.
    _, pullback = swath.vjp(firwin2, 1, [0, 0.5, 0.5, 1], xp.asarray([0, 0, 1.0, 1]), nfreqs=3)
    assert_close(pullback(xp.asarray([1.0]))[2], [0.25, 0.25, 0.25, 0.25], atol=4 * xp.eps)


@POINTS
@pytest.mark.on("jax-jit", "torch")
def test_derivatives_in_the_frequencies_between_the_ends(xp):
    freq, gain = np.array([0.0, 0.28, 0.61, 1.0]), [1.0, 0.75, 0.25, 0.5]
    weights = np.array([0.5, -1.0, 2.0, 0.25, 1.0])
    if xp.backend == "jax":
        import jax

        def loss(f):
            return jax.numpy.sum(firwin2(5, f, xp.asarray(gain)) * weights)

        found = jax.jit(jax.grad(loss))(xp.asarray(freq))
    else:
        leaf = xp.asarray(freq).requires_grad_()
        (firwin2(5, leaf, xp.asarray(gain)) * xp.asarray(weights)).sum().backward()
        found = leaf.grad
    for place in (1, 2):
        step = np.zeros(4)
        step[place] = 1e-6
        sides = [scipy.signal.firwin2(5, f, gain) @ weights for f in (freq + step, freq - step)]
        assert abs(float(found[place]) - (sides[0] - sides[1]) / 2e-6) < 1e-7


@POINTS
@pytest.mark.parametrize(
    "numtaps, freq, gain, options, error, text",
    [
        (3, [0, 1], [1, 1, 1], {}, ValueError, "freq and gain must be of same length"),
        (3, [0], [1], {}, ValueError, "at least 2 points"),
        (9, [0, 1], [1, 1], {"nfreqs": 9}, ValueError, "numtaps = 9 and nfreqs = 9, but ntaps"),
        (3, [0.1, 1], [1, 1], {}, ValueError, "freq must start with 0 and end with fs/2 = 1.0"),
        (3, [0, 1], [1, 1], {"fs": 4}, ValueError, "freq must start with 0 and end with fs/2 = 2."),
        (3, [0, 0.5, 0.4, 1], [1] * 4, {}, ValueError, "values of freq must be nondecreasing"),
        (3, [0, 0.5, 0.5, 0.5, 1], [1] * 5, {}, ValueError, "must not occur more than twice"),
        (3, [0, 0, 1], [1] * 3, {}, ValueError, "0 must not be repeated in freq"),
        (3, [0, 1, 1], [1] * 3, {}, ValueError, "fs/2 must not be repeated in freq"),
        (3, [0, 0.5 - 1e-16, 0.5, 0.5, 1], [1] * 5, {}, ValueError, "that are too close"),
        (4, [0, 1], [1, 1], {}, ValueError, r"a Type II filter .*4, sym.* gain\[-1\] must be 0"),
        (3, [0, 1], [0, 1], {"antisymmetric": True}, ValueError, "a Type III .*3, anti.* at fs/2"),
        (3, [0, 1], [1, 0], {"antisymmetric": True}, ValueError, "a Type III filter .* at 0"),
        (4, [0, 1], [1, 0], {"antisymmetric": True}, ValueError, "a Type IV filter .* at 0"),
        (3, [0, 1], [1j, 0], {}, TypeError, "gain must be real"),
        (3, [0, 1], [1, 1], {"window": "round"}, ValueError, "SciPy does not make window 'round'"),
        (3, [0, 1], [1, 1], {"fs": np.ones(2)}, ValueError, "Sampling rate fs must be a single sc"),
    ],
)
def test_firwin2_refuses(numtaps, freq, gain, options, error, text):
    with pytest.raises(error, match=text):
        firwin2(numtaps, freq, gain, **options)
