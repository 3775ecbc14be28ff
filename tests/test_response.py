"""Responses and group delays against SciPy, sums and the eigenvalue law."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal

import oracles_signal as oracle
import swath
from rows import COMPILED_ONCE
from swath.signal import amplitude_response, convolve, freqz, group_delay, lfilter
from swath.testing import assert_close, check_vjp

FREQZ = pytest.mark.op("signal.freqz")
AMPLITUDE = pytest.mark.op("signal.amplitude_response")


def bound(xp, b):
    """Rounding of K unit exponentials and their sum."""
    return 8 * (3 + math.log2(len(b))) * xp.eps * float(np.sum(np.abs(b)))


@FREQZ
@pytest.mark.parametrize("options", [{}, {"whole": True}, {"include_nyquist": True, "fs": 8e3}])
def test_response_equals_scipy(xp, rng, options):
    for taps in (1, 2, 31):
        b = rng.standard_normal(taps)
        w, h = xp.call(freqz, xp.asarray(b), worN=64, **options)
        ww, hh = scipy.signal.freqz(b, worN=64, **options)
        assert_close(w, ww, rtol=4 * xp.eps, dtype=xp.float)
        assert_close(h, hh, bound=bound(xp, b), dtype=xp.complex)


@FREQZ
def test_frequencies_of_ones_own_and_feedback(xp, rng):
    b, a = rng.standard_normal(4), np.array([2.0, 0.5, -0.25])
    freqs = np.array([0.0, 100.0, 333.0])
    for given in (xp.asarray(freqs), [0, 100, 333.0]):
        w, h = xp.call(freqz, xp.asarray(b), xp.asarray(a), given, fs=1e3)
        ww, hh = scipy.signal.freqz(b, a, freqs, fs=1e3)
        assert_close(w, ww, rtol=4 * xp.eps)
        assert_close(h, hh, rtol=256 * xp.eps)
    _, h = freqz(xp.asarray(b), 2.0, 3)
    assert_close(h, scipy.signal.freqz(b, 2.0, 3)[1])
    _, h = freqz(xp.asarray([1, 2], dtype="int32"), worN=[0.5])
    assert_close(h, [1 + 2 * np.exp(-0.5j)], rtol=1e-6)


@FREQZ
@pytest.mark.op("signal.group_delay")
@pytest.mark.on("numpy", "jax", "torch", "strict")
def test_frequencies_in_an_array_keep_their_precision(xp):
    """Beside coefficients of half of it; those in a list have the precision of the response."""
    b = xp.asarray([1.0, 0.5, 0.25], dtype="float32")
    freqs = np.array([0.1, 2.0])
    for function in (lambda w: freqz(b, 1, w), lambda w: group_delay(b, w)):
        w, _ = function(xp.asarray(freqs))
        assert_close(w, freqs, rtol=4 * xp.eps, dtype="float64")
        w, _ = function(freqs.tolist())
        assert_close(w, freqs.astype("float32"), dtype="float32")


@FREQZ
def test_complex_taps_and_half_precision(xp, rng):
    b = rng.standard_normal(5) + 1j * rng.standard_normal(5)
    _, h = freqz(xp.asarray(b), worN=[0.1, 2.0])
    assert_close(h, oracle.response(b, [0.1, 2.0]), bound=bound(xp, b))


@FREQZ
@pytest.mark.on("numpy", "torch")
def test_half_precision_gives_single_complex(xp):
    _, h = freqz(xp.asarray([0.5, 0.25], dtype="float16"), worN=[1.0])
    assert_close(h, [0.5 + 0.25 * np.exp(-1j)], dtype="complex64")


@FREQZ
@pytest.mark.op("signal.amplitude_response")
@pytest.mark.on("numpy")
def test_extended_precision_is_kept(xp):
    """Frequencies whose cosines and sines are known."""
    half = np.asarray([0.5], np.longdouble)
    root = np.sqrt(np.longdouble(2)) / 2
    eps = float(np.finfo(np.longdouble).eps)
    taps = np.asarray([1, 3, 1], np.longdouble)
    w, h = freqz(taps, worN=half / 2, fs=2.0)
    turn = root * (1 - 1j)  # e^{−iπ/4}, and its square
    assert h.dtype == np.clongdouble
    assert w.dtype == np.longdouble
    # π is a number of double precision here.
    assert abs(h[0] - (1 + 3 * turn + turn * turn)) < 8 * 2.0**-52
    step = np.asarray([0.5], np.longdouble)
    _, h = freqz(np.asarray([0, 1], np.longdouble), worN=step)
    assert abs(h[0] - (np.cos(step) - 1j * np.sin(step))[0]) < 8 * eps
    got = amplitude_response(taps, step)
    assert abs(got[0] - (3 + 2 * np.cos(step[0]))) < 32 * eps


@FREQZ
def test_plot_is_called_with_the_result():
    seen = []
    w, h = freqz([1.0, 1.0], worN=4, plot=lambda w, h: seen.append((w, h)))
    assert seen[0][0] is w
    assert seen[0][1] is h


@AMPLITUDE
@pytest.mark.parametrize("taps", [1, 2, 7, 8])
def test_amplitude_equals_the_cosine_sum(xp, rng, taps):
    half = rng.standard_normal(taps)
    h = half + half[::-1]
    freqs = rng.uniform(0, 4, (2, 3))
    want = sum(c * np.cos(freqs * (k - (taps - 1) / 2)) for k, c in enumerate(h))
    got = xp.call(amplitude_response, xp.asarray(h), freqs.tolist())
    assert_close(got, want, bound=bound(xp, h), dtype=xp.float)
    got = xp.call(amplitude_response, xp.asarray(h), xp.asarray(freqs * 50), fs=100 * np.pi)
    assert_close(got, want, bound=10 * bound(xp, h))


@AMPLITUDE
def test_it_is_the_eigenvalue_of_the_filter(xp):
    h, w = np.array([0.25, -1.0, 3.0, -1.0, 0.25]), 1.1
    x = np.exp(1j * w * np.arange(-2, 10))
    y = convolve(xp.asarray(h), xp.asarray(x), "valid")
    value = float(xp.numpy(amplitude_response(xp.asarray(h), w)))
    assert_close(y, value * x[2:-2], rtol=32 * xp.eps)
    _, causal = freqz(xp.asarray(h), worN=[w])
    assert_close(causal, [np.exp(-2j * w) * value], rtol=32 * xp.eps)


@AMPLITUDE
def test_a_nan_tap_shows(xp):
    got = xp.numpy(amplitude_response(xp.asarray([1.0, np.nan, 1.0]), [0.0, 1.0]))
    assert np.isnan(got).all()


@pytest.mark.op("signal.freqz", "signal.amplitude_response")
def test_derivatives_of_responses(xp, rng):
    b, a = xp.asarray(rng.standard_normal(4)), xp.asarray([2.0, 0.5, -0.25])
    check_vjp(freqz, b, a, 5)
    check_vjp(freqz, b, xp.asarray([2.0]), 5)
    check_vjp(amplitude_response, xp.asarray([3.0]), [0.3, 1.0])
    # Differences would leave the symmetric filters: here the transpose is written out.
    _, pullback = swath.vjp(amplitude_response, xp.asarray([1.0, 2.0, 1.0]), [0.3, 1.0])
    want = np.cos(np.outer([-1, 0, 1], [0.3, 1.0])) @ [2.0, -3.0]
    assert_close(pullback(xp.asarray([2.0, -3.0]))[0], want)


@AMPLITUDE
def test_the_symmetric_part_counts_where_values_are_not_known(xp):
    if not xp.lazy:
        with pytest.raises(ValueError, match=r"h is not symmetric .* signal.freqz"):
            amplitude_response(xp.asarray([1.0, 2.0, 3.0]), [0.5])
    else:
        got = xp.call(amplitude_response, xp.asarray([1.0, 2.0, 3.0]), [0.5])
        assert_close(got, [2 + 4 * np.cos(0.5)])


@FREQZ
@pytest.mark.parametrize(
    "b, options, error, text",
    [
        ([], {}, ValueError, "b must have at least one coefficient"),
        (np.ones((1, 2)), {"worN": [0.0] * 3}, ValueError, r"must broadcast .* \(2,\) of b"),
        ([1.0], {"a": []}, ValueError, "a must have at least one coefficient"),
        ([1.0], {"a": 0.0}, ValueError, r"a\[0\] must not be 0"),
        ([1.0], {"worN": -1}, ValueError, "worN must be at least 0, got -1"),
        ([1.0], {"worN": [1j]}, TypeError, "worN must hold real numbers"),
        ([1.0], {"worN": "many"}, TypeError, "worN must be an array, a number or a list"),
        ([1.0], {"worN": [[1], [1, 2]]}, ValueError, "worN must be rectangular, got a ragged list"),
        ([1.0], {"fs": 0}, ValueError, "fs must be positive, got 0"),
        ([1.0], {"fs": "8 kHz"}, TypeError, "fs must be a number, got str"),
        (["1"], {}, TypeError, "b must hold numbers"),
    ],
)
def test_freqz_refuses(b, options, error, text):
    with pytest.raises(error, match=text):
        freqz(b, **options)


@AMPLITUDE
@pytest.mark.parametrize(
    "h, freqs, error, text",
    [
        ([], 0.0, ValueError, "h must have at least one coefficient"),
        ([[1.0]], 0.0, ValueError, "h must be one row of coefficients"),
        ([1j], 0.0, TypeError, "h must be real"),
        ([1.0], [1j], TypeError, "freqs must hold real numbers"),
        ([1.0], np.ones(2) * 1j, TypeError, "freqs must be real"),
        ([1.0], None, TypeError, "freqs must be an array, a number or a list"),
    ],
)
def test_amplitude_refuses(h, freqs, error, text):
    with pytest.raises(error, match=text):
        amplitude_response(h, freqs)


# -- filters in several axes, and the law of eigenvalues


@FREQZ
@pytest.mark.parametrize(
    "b, a, freqs",
    [
        ((4, 2, 1), (), (5,)),
        ((5, 3), (3, 1), (3,)),
        ((3, 2, 1, 1), (4, 1, 1, 3), (2, 3)),
        ((4,), (1, 2, 1), (3,)),
    ],
    ids=["many-filters", "one-frequency-each", "mixed", "gains"],
)
def test_filters_broadcast_with_frequencies_as_in_scipy(xp, rng, b, a, freqs):
    b, a = rng.standard_normal(b), rng.uniform(1, 2, a)
    if a.ndim:
        a[0] += 10
    given = rng.uniform(0, 3, freqs)
    ww, hh = scipy.signal.freqz(b, a, given)
    w, h = xp.call(freqz, xp.asarray(b), xp.asarray(a), xp.asarray(given))
    assert_close(w, ww, rtol=4 * xp.eps, dtype=xp.float)
    assert_close(h, hh, rtol=256 * xp.eps, dtype=xp.complex)


@FREQZ
@pytest.mark.on("numpy", "strict")
def test_counts_of_frequencies_as_in_scipy(xp):
    for count in (0, 1, 7, np.int8(7), np.array(7)):
        # An array without axes is a count in SciPy.
        given = xp.asarray(count) if isinstance(count, np.ndarray) else count
        w, h = freqz(xp.asarray([1.0, 2.0]), worN=given)
        ww, hh = scipy.signal.freqz([1.0, 2.0], worN=count)
        assert_close(w, ww)
        assert_close(h, hh)
    w, h = freqz(xp.asarray([1.0, 2.0]), worN=8.0 + 0j, fs=100)
    assert_close(w, [8.0])
    assert_close(h, [1 + 2 * np.exp(-0.16j * np.pi)])
    # Integers with an axis, and a float without, are frequencies.
    for given in (np.array([1, 2]), np.array([2]), np.array(0.5)):
        w, h = freqz(xp.asarray([1.0, 2.0]), worN=xp.asarray(given))
        assert_close(w, np.atleast_1d(given).astype(xp.float))
        assert_close(h, 1 + 2 * np.exp(-1j * np.atleast_1d(given)))
    assert freqz(xp.asarray([1.0]), worN=None)[1].shape == (512,)
    for options in ({"whole": True}, {}):
        for count in (0, 5):
            given = {"worN": count, "include_nyquist": True, **options}
            w, h = freqz(xp.asarray([1.0, 2.0]), **given)
            ww, hh = scipy.signal.freqz([1.0, 2.0], **given)
            assert_close(w, ww)
            assert_close(h, hh)


@FREQZ
@pytest.mark.on("numpy", "torch", "jax", "strict")
def test_filters_and_frequencies_of_every_number(xp, rng):
    """More taps than points round the circle, filters for each frequency, blocks of sums."""
    b = rng.standard_normal(41)
    _, h = freqz(xp.asarray(b), worN=8)
    assert_close(h, scipy.signal.freqz(b, worN=8)[1], bound=bound(xp, b))
    each = rng.standard_normal((5, 4))
    _, h = freqz(xp.asarray(each), worN=4)
    assert_close(h, scipy.signal.freqz(each, worN=4)[1], rtol=256 * xp.eps)
    many, freqs = rng.standard_normal((63, 20, 1)), rng.uniform(0, 3, 1500)
    _, h = freqz(xp.asarray(many), worN=xp.asarray(freqs))
    want = many[:, :, 0].T @ np.exp(-1j * np.outer(np.arange(63), freqs))
    assert_close(h, want, bound=max(bound(xp, row) for row in many[:, :, 0].T))


@FREQZ
@pytest.mark.op("signal.lfilter")
def test_a_filter_multiplies_its_eigenvectors_by_the_response(xp, rng):
    """e^{iωn} in, H(ω) e^{iωn} out, once the window lies inside the signal."""
    b = rng.standard_normal(6)
    freqs = np.array([0.0, 0.4, 1.7, np.pi])
    x = np.exp(1j * np.outer(freqs, np.arange(20)))
    y = xp.numpy(lfilter(xp.asarray(b), 1.0, xp.asarray(x)))[:, 5:]
    _, h = freqz(xp.asarray(b), worN=freqs.tolist())
    assert_close(y, xp.numpy(h)[:, None] * x[:, 5:], atol=64 * xp.eps * np.sum(np.abs(b)))


# -- group_delay

DELAY = pytest.mark.op("signal.group_delay")


@pytest.mark.on(*COMPILED_ONCE)
@DELAY
def test_group_delay_equals_scipy(xp, rng):
    b = rng.standard_normal(6)
    a = np.array([1.0, -0.5, 0.25])
    freqs = np.array([0.2, 1.0, 2.6])
    for system, plain in (
        ((xp.asarray((1e200 if xp.x64 else 1e30) * b), 1), (b, 1)),
        ((xp.asarray(b), xp.asarray(a * (1 + 0.5j))), (b, a)),
        ((xp.asarray(b), xp.asarray(a + [0, 0.25j, 0])), (b, a + [0, 0.25j, 0])),
        ((xp.asarray(b), 1), (b, 1)),
        ((xp.asarray(b), xp.asarray(a)), (b, a)),
        ((xp.asarray(b + 0.5j * b[::-1]), xp.asarray(a)), (b + 0.5j * b[::-1], a)),
    ):
        w, delay = group_delay(system, w=freqs.tolist())
        ww, want = scipy.signal.group_delay(plain, w=freqs)
        assert_close(w, ww, dtype=xp.float, rtol=4 * xp.eps)
        assert_close(delay, want, dtype=xp.float, rtol=512 * xp.eps)
    w, delay = xp.call(group_delay, xp.asarray(b), xp.asarray(freqs), fs=8.0)
    ww, want = scipy.signal.group_delay((b, 1), freqs, fs=8.0)
    assert_close(w, ww, rtol=4 * xp.eps)
    assert_close(delay, want, rtol=512 * xp.eps)


@DELAY
def test_a_list_of_numbers_is_taps_and_a_pair_numerator_and_denominator():
    import swath.numpy as sw

    for function in (group_delay, sw.signal.group_delay):
        assert_close(function([1.0, 1.0], w=2)[1], np.array([0.5, 0.5]))
        assert_close(function([1, 2, 1], w=2)[1], np.array([1.0, 1.0]))
        assert_close(function((1.0, 1.0), w=2)[1], np.array([0.0, 0.0]))
    assert_close(group_delay([[1.0, 2.0, 1.0], 1.0], w=2)[1], np.array([1.0, 1.0]))


@DELAY
@pytest.mark.on("numpy", "strict", "strict-no-float64", "torch")
def test_group_delay_is_the_slope_of_the_phase(xp, rng):
    half = rng.uniform(1, 2, 5)
    for taps in (np.concatenate([half, half[::-1]]), 1e-12 * np.concatenate([half, half[-2::-1]])):
        _, delay = group_delay((xp.asarray(taps), 1), w=[0.0, 0.1, 0.2])
        assert_close(delay, np.full(3, (len(taps) - 1) / 2), rtol=64 * xp.eps)
    b = rng.standard_normal(5)
    w = np.linspace(0.1, 3, 7)
    step = 1e-5
    ends = [np.angle(oracle.response(b, w + s)) for s in (step, -step)]
    slope = np.angle(np.exp(1j * (ends[1] - ends[0]))) / (2 * step)
    assert_close(
        group_delay(xp.asarray(b), w.tolist())[1], slope, rtol=1e-3 if not xp.x64 else 1e-8
    )
    for whole in (False, True):
        w, _ = group_delay((xp.asarray(b), 1), 4, whole)
        assert_close(w, scipy.signal.group_delay((b, 1), 4, whole)[0], rtol=4 * xp.eps)


@DELAY
@pytest.mark.on("numpy", "strict", "torch", "jax", "dpnp")
def test_there_is_no_delay_where_nothing_passes(xp):
    with pytest.warns(UserWarning, match="the response is 0 at some of the frequencies"):
        _, delay = group_delay((xp.asarray([1.0, -1.0]), 1), w=[0.0, 1.0])
    assert_close(delay, [0.0, 0.5], atol=1e-14)
    # With feedback neither, nor where all taps are 0.
    for b in ([1.0, -1.0], [0.0, 0.0]):
        with pytest.warns(UserWarning, match="the response is 0 at some of the frequencies"):
            _, delay = group_delay((xp.asarray(b), xp.asarray([1.0, 0.5])), w=[0.0])
        assert_close(delay, [0.0])
    for b, place in (([1.0, 1.0], np.pi), ([1.0, -2.0, 1.0], 1e-8)):
        with pytest.warns(UserWarning, match="the response is nearly 0 at some of the frequenc"):
            group_delay((xp.asarray(b), 1), w=[place])
    _, pullback = swath.vjp(group_delay, (xp.asarray([1.0, 0.5, -0.25]), 1), [0.5])
    (b, a), *_ = pullback(xp.asarray([1.0]))
    assert a is None
    alone = swath.vjp(group_delay, xp.asarray([1.0, 0.5, -0.25]), [0.5])[1](xp.asarray([1.0]))
    assert_close(b, xp.numpy(alone[0]), rtol=16 * xp.eps)


@DELAY
@pytest.mark.on("jax-jit")
def test_traced_there_is_no_warning(xp):
    _, delay = xp.call(group_delay, xp.asarray([1.0, -1.0]), [0.0, 1.0])
    assert_close(delay, [0.0, 0.5], atol=1e-14)


@pytest.mark.on(*COMPILED_ONCE)
@DELAY
def test_derivatives_of_the_delay(xp):
    tolerance = {"rtol": 2e-2} if xp.float == "float32" else {}
    check_vjp(group_delay, xp.asarray([1.0, 0.5, -0.25]), [0.3, 2.0], **tolerance)


@DELAY
@pytest.mark.parametrize(
    "system, options, error, text",
    [
        ("ba", {}, TypeError, r"system must be \(b, a\) or an array of taps, got str 'ba'"),
        (([1.0], [1.0], [1.0]), {}, ValueError, r"system must be \(b, a\), .* got 3 entries"),
        (([[1.0]], 1), {}, ValueError, "b must be one row of coefficients"),
        (([1.0], []), {}, ValueError, "a must have at least one coefficient"),
        (([1.0], 1), {"w": -1}, ValueError, "w must be at least 0"),
        (([1.0], 1), {"w": [1j]}, TypeError, "w must hold real numbers"),
        (([1.0], 1), {"fs": None}, ValueError, "Sampling rate fs must be a number"),
    ],
)
def test_group_delay_refuses(system, options, error, text):
    with pytest.raises(error, match=text):
        group_delay(system, **options)
