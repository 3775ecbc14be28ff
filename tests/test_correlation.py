"""signal.convolve and signal.correlate against SciPy, exact integers and laws, on every row."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

import swath
from swath._backends import backend_of
from swath.geometry import Span
from swath.sliding.overlap_save import frames_of
from swath.sliding.toeplitz import frame_length
from swath.testing import assert_close, check_adjoint, check_vjp

BASIC = pytest.mark.op("signal.convolve", "signal.correlate")

PAIRS = [
    (swath.signal.convolve, scipy.signal.convolve),
    (swath.signal.correlate, scipy.signal.correlate),
]
LENGTHS = [(1, 1), (7, 3), (8, 4), (3, 7), (5, 5), (40, 9)]
# Where every shape and method is compiled by itself: an even kernel, one longer than the signal.
COMPILED = {"real": [(8, 4), (3, 7)], "complex": [(7, 3)]}


@BASIC
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_equals_scipy_for_all_lengths_modes_and_methods(xp, rng, mode, kind):
    for n, k in COMPILED[kind] if xp.backend in ("jax", "dpnp") else LENGTHS:
        a, b = rng.standard_normal(n), rng.standard_normal(k)
        if kind == "complex":
            a, b = a + 1j * rng.standard_normal(n), b + 1j * rng.standard_normal(k)
        for ours, theirs in PAIRS:
            for method in ("auto", "direct", "toeplitz", "fft", "overlap_save"):
                got = xp.call(ours, xp.asarray(a), xp.asarray(b), mode, method)
                assert_close(got, theirs(a, b, mode, "direct"))


@BASIC
def test_axes_in_any_order_and_what_broadcasts(xp, rng):
    """Every axis that does not slide as a loop: a batch, a bank, filters for each channel."""
    x, k = rng.standard_normal((2, 5, 4)), rng.standard_normal((2, 3))
    for ours, theirs in PAIRS:
        # An entry of axes for each axis of the kernel.
        got = xp.call(ours, xp.asarray(x), xp.asarray(k), axes=(2, 1))
        assert_close(got, np.stack([theirs(row, k.T, "full", "direct") for row in x]))
        for n, m in ((1, 3), (3, 1), (3, 3)):
            # The kernel is longer than the signal, too.
            for length, taps in ((6, 3), (4, 9)):
                a, b = rng.standard_normal((n, length)), rng.standard_normal((m, taps))
                want = np.stack([theirs(a[i % n], b[i % m], "full", "direct") for i in range(3)])
                assert_close(xp.call(ours, xp.asarray(a), xp.asarray(b), axes=-1), want)


@BASIC
def test_derivatives(xp, rng):
    x, k = xp.asarray(rng.standard_normal((2, 9))), xp.asarray(rng.standard_normal(4))
    for ours, _ in PAIRS:
        check_adjoint(ours, x, k, "same", axes=-1)
        check_vjp(ours, x, k, "full", axes=-1)


@pytest.mark.op("signal.fftconvolve", "signal.oaconvolve")
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_transforms_equal_scipy(xp, rng, mode):
    a, b = rng.standard_normal((2, 40)), rng.standard_normal((2, 7))
    for ours, theirs in (
        (swath.signal.fftconvolve, scipy.signal.fftconvolve),
        (swath.signal.oaconvolve, scipy.signal.oaconvolve),
    ):
        for axes in (None, -1):
            got = xp.call(ours, xp.asarray(a), xp.asarray(b), mode, axes)
            assert_close(got, theirs(a, b, mode, axes), rtol=256 * xp.eps, dtype=xp.float)


@pytest.mark.op("signal.fftconvolve", "signal.oaconvolve")
def test_transforms_of_integers_and_of_nothing(xp):
    for ours in (swath.signal.fftconvolve, swath.signal.oaconvolve):
        got = ours(xp.asarray([1, 2, 3], dtype="int32"), xp.asarray([1, 1], dtype="int32"))
        assert "float" in str(got.dtype)
        assert_close(got, [1.0, 3.0, 5.0, 3.0], rtol=1e-5)
        # More than an int8 holds: lists become floats as the integers beside them do.
        got = ours(xp.asarray([1, 2, 3], dtype="int8"), [300, 1])
        assert_close(got, [300.0, 601.0, 902.0, 3.0], rtol=1e-5)
        # Where nothing slides, nothing is transformed, and integers stay exact, as in SciPy.
        for first, second in (((), ()), ((1,), (1,)), ((2,), (1,)), ((1,), (2,))):
            big, small = np.full(first, 2**29 + 1), np.full(second, 3)
            got = ours(xp.asarray(big, "int32"), xp.asarray(small, "int32"))
            assert_close(got, (small * big).astype("int32"), dtype="int32")
        got = ours(xp.asarray(np.zeros((0, 4))), xp.asarray(np.zeros((1, 4))), "full", -1)
        assert got.ndim == 2
        assert got.shape[0] == 0
        with pytest.raises(ValueError, match="mode must be one of 'full', 'same', 'valid'"):
            ours(xp.asarray([1.0]), xp.asarray([1.0]), "wrap")
        with pytest.raises(ValueError, match="in1 and in2 must have the same number of axes"):
            ours(xp.asarray([1.0]), xp.asarray([[1.0]]))


@pytest.mark.on("numpy", "jax", "torch", "strict", "dpnp")
def test_lags_equal_scipy_and_point_at_the_shift(xp, rng):
    for n in range(1, 7):
        for k in range(1, 7):
            for mode in ("full", "same", "valid"):
                got = swath.signal.correlation_lags(n, k, mode)
                if mode != "same" or n % 2 == 0 or k % 2:
                    # There SciPy's lags are not those of its correlation.
                    assert_close(got, scipy.signal.correlation_lags(n, k, mode))
                # What SciPy's correlation sums at each place says which lag it belongs to.
                a, b = 1.0 + np.arange(n) ** 3, 2.0 + np.arange(k) ** 2
                want = [sum(a[i] * b[i - v] for i in range(n) if 0 <= i - v < k) for v in got]
                assert_close(scipy.signal.correlate(a, b, mode, "direct"), want, rtol=1e-14)
    lags = swath.signal.correlation_lags(9, 4, xp=xp.namespace)
    assert type(lags) is type(xp.asarray([1]))
    b = rng.standard_normal(4)
    a = np.concatenate([np.zeros(3), b, np.zeros(2)])
    got = xp.numpy(swath.signal.correlate(xp.asarray(a), xp.asarray(b)))
    assert xp.numpy(lags)[np.argmax(got)] == 3


def test_lags_refuse():
    with pytest.raises(ValueError, match="in2_len must be at least 1, got 0"):
        swath.signal.correlation_lags(3, 0)
    with pytest.raises(TypeError, match="in1_len must be an int"):
        swath.signal.correlation_lags(3.0, 1)
    with pytest.raises(ValueError, match="mode must be one of"):
        swath.signal.correlation_lags(3, 1, "wrap")


@pytest.mark.op("signal.convolve")
def test_the_method_is_chosen_from_shapes_alone(xp):
    choose = swath.signal.choose_conv_method
    assert choose(xp.asarray(np.full(50, np.nan)), xp.asarray(np.ones(3))) == "direct"
    long = xp.asarray(np.zeros(1, dtype="int32"))
    assert choose(long, long) == "direct"
    assert choose(np.zeros(2**18), np.ones(2**17)) == "fft"
    assert choose(np.zeros(2**18, np.int64), np.ones(2**17, np.int64)) == "direct"
    assert choose(np.zeros((0, 3)), np.zeros((1, 3))) == "direct"
    with pytest.raises(ValueError, match="mode must be one of"):
        choose([1.0], [1.0], "wrap")
    with pytest.raises(TypeError, match="in2 must be numeric"):
        choose([1.0], np.ones(2) > 0)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.on("numpy", "jax-jit", "torch", "strict", "strict-no-float64", "dpnp")
@pytest.mark.op("signal.convolve", "signal.correlate", "signal.fftconvolve", "signal.oaconvolve")
@pytest.mark.parametrize("bad", [np.nan, np.inf], ids=["nan", "inf"])
def test_a_bad_sample_is_never_hidden_and_stays_within_its_block(xp, rng, bad):
    """Every method of every function, two channels: also the clean channel stays clean."""
    length, taps, place = 3000, 6, 1500
    x, k = rng.standard_normal((2, length)), 1 + rng.random((1, taps))
    x[1, place] = bad
    hit = np.arange(place, place + taps)
    clean = [
        scipy.signal.convolve(row, k[0], method="direct") for row in np.where(np.isfinite(x), x, 0)
    ]
    span = Span(length, taps, low=taps - 1, high=taps - 1)
    # How far from its own windows a bad sample may reach.
    blocks = {
        "direct": 0,
        "im2col": 0,
        "native": 0,
        "toeplitz": frame_length(backend_of(xp.asarray(x)), xp.asarray(x), span) + span.extent,
        "overlap_save": frames_of((span,))[0][0],
        "fft": length + taps,
    }
    signal = swath.signal
    tried = [(f, (m,), m) for f in (signal.convolve, signal.correlate) for m in blocks]
    tried += [(signal.fftconvolve, (), "fft"), (signal.oaconvolve, (), "overlap_save")]
    for function, method, path in tried:
        kernel = k[:, ::-1] if function is signal.correlate else k
        args = (xp.asarray(x), xp.asarray(kernel.copy()), "full", *method)
        got = xp.numpy(xp.call(function, *args, axes=-1))
        assert np.isfinite(got[0]).all(), (function.__name__, path)
        lost = np.flatnonzero(~np.isfinite(got[1]))
        assert set(hit) <= set(lost), (function.__name__, path)
        assert lost.min() >= place - blocks[path], (function.__name__, path)
        assert lost.max() <= place + taps - 1 + blocks[path], (function.__name__, path)
        kept = np.setdiff1d(np.arange(length + taps - 1), lost)
        assert kept.size or path == "fft"
        scale = 64 * xp.eps * np.abs(clean[0]).max()
        np.testing.assert_allclose(got[1][kept], clean[1][kept], rtol=0, atol=scale)


@pytest.mark.on("torch")
@pytest.mark.op("signal.convolve")
def test_views_that_pytorch_negates_or_conjugates_when_read(xp, rng):
    z, k = rng.standard_normal(40) + 1j * rng.standard_normal(40), rng.standard_normal(3)
    turned = xp.asarray(z).conj()
    assert turned.is_conj()
    assert turned.imag.is_neg()
    to_numpy = swath.bind("torch").to_numpy
    for given, host in ((turned, z.conj()), (turned.imag, -z.imag)):
        assert_close(to_numpy(given), host, rtol=0)
        for method in ("auto", "direct", "toeplitz", "fft"):
            got = swath.signal.convolve(given, xp.asarray(k), method=method)
            assert_close(got, np.convolve(host, k))


@pytest.mark.on("torch")
@pytest.mark.op("signal.convolve")
@pytest.mark.parametrize("method", ["auto", "direct", "toeplitz"])
def test_numpy_warns_nobody_who_uses_another_library(xp, rng, method):
    """Short rows are NumPy's to multiply where memory is shared; a warning is an error here."""
    x = rng.standard_normal(2000)
    x[[500, 700, 900]] = np.inf, -np.inf, np.nan
    y = swath.signal.convolve(xp.asarray(x), xp.asarray(rng.standard_normal(31)), method=method)
    assert not np.isfinite(xp.numpy(y)).all()


@pytest.mark.op("signal.convolve", "signal.correlate")
@pytest.mark.parametrize("taps", [7, 70])
def test_a_bad_sample_of_a_signal_shorter_than_its_kernel_stays_in_its_windows(xp, rng, taps):
    x, k = rng.standard_normal((2, 3)), rng.standard_normal(taps)
    x[0, 1] = np.nan
    for op, peer in ((swath.signal.convolve, np.convolve), (swath.signal.correlate, np.correlate)):
        got = xp.call(op, xp.asarray(x), xp.asarray(k), method="direct", axes=-1)
        assert_close(got, np.stack([peer(row, k, "full") for row in x]))


@pytest.mark.on("numpy", "torch", "strict")
@pytest.mark.op("signal.convolve", "signal.correlate")
def test_auto_spreads_a_bad_sample_no_further_than_the_block_of_its_plan(xp, rng):
    for length, taps in ((400, 3), (3000, 31), (60000, 3000)):
        x, k = rng.standard_normal(length), 1 + rng.random(taps)
        x[length // 2] = np.nan
        x, k = xp.asarray(x), xp.asarray(k)
        plan = swath.plan(swath.signal.convolve, x, k)
        got = xp.numpy(swath.signal.convolve(x, k))
        span = Span(length, taps)
        reach = {
            "direct": 0,
            "toeplitz": frame_length(backend_of(x), x, span) + taps,
            "overlap_save": plan.points,
            "fft": plan.points,
        }.get(plan.method, 0)
        lost = np.flatnonzero(~np.isfinite(got))
        middle = length // 2
        assert set(range(middle, middle + taps)) <= set(lost)
        assert middle - reach <= lost.min()
        assert lost.max() <= middle + taps - 1 + reach
