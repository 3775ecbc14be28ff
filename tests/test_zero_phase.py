"""filtfilt against SciPy, a direct sum and laws, whole and in blocks."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

import swath
from swath.signal import filtfilt
from swath.testing import assert_close, check_adjoint, check_vjp

pytestmark = pytest.mark.op("signal.filtfilt")
PADDING = ("odd", "even", "constant", None)


def draw(rng, shape, kind="real"):
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if kind == "complex" else x


@pytest.mark.parametrize("padtype", PADDING)
@pytest.mark.parametrize("padlen", [None, 0, 2])
def test_every_padding_equals_scipy(xp, rng, padtype, padlen):
    b, x = draw(rng, 4), draw(rng, (2, 15))
    got = xp.call(filtfilt, xp.asarray(b), 2.0, xp.asarray(x), padtype=padtype, padlen=padlen)
    assert_close(got, scipy.signal.filtfilt(b, [2.0], x, padtype=padtype, padlen=padlen))


def test_any_axis_and_complex_taps(xp, rng):
    b, x = draw(rng, 3, "complex"), draw(rng, (2, 11, 3))
    got = xp.call(filtfilt, xp.asarray(b), [1.0], xp.asarray(x), 1)
    assert_close(got, scipy.signal.filtfilt(b, [1.0], x, axis=1), dtype=xp.complex)
    got = filtfilt(xp.asarray(b), [1.0], xp.asarray(np.moveaxis(x, 1, 0)), axis=0)
    assert_close(got, np.moveaxis(scipy.signal.filtfilt(b, [1.0], x, axis=1), 1, 0))


@settings(max_examples=100, deadline=None)
@given(
    taps=st.integers(2, 30),
    points=st.integers(1, 60),
    padtype=st.sampled_from(PADDING),
    padlen=st.none() | st.integers(0, 40),
    seed=st.integers(0, 99),
)
def test_random_sizes_equal_scipy(taps, points, padtype, padlen, seed):
    rng = np.random.default_rng(seed)
    b, x = draw(rng, taps), draw(rng, points)
    edge = 0 if padtype is None else 3 * taps if padlen is None else padlen
    if points <= edge:
        with pytest.raises(ValueError, match="must have more samples along axis 0 than padlen"):
            filtfilt(b, 1.0, x, padtype=padtype, padlen=padlen)
        return
    got = filtfilt(b, 1.0, x, padtype=padtype, padlen=padlen)
    assert_close(got, scipy.signal.filtfilt(b, [1.0], x, padtype=padtype, padlen=padlen))


@pytest.mark.on("numpy", "torch", "strict", "dpnp", "cupy")
@pytest.mark.parametrize("padtype", PADDING)
def test_a_long_signal_is_filtered_where_it_stands(xp, rng, padtype):
    b, x = draw(rng, 9), draw(rng, 2**15 + 3)
    got = filtfilt(xp.asarray(b), 1.0, xp.asarray(x), padtype=padtype)
    assert_close(got, scipy.signal.filtfilt(b, [1.0], x, padtype=padtype))
    if padtype == "odd":
        check_adjoint(filtfilt, xp.asarray(b), 1.0, xp.asarray(x))


def test_one_tap_is_a_gain_squared(xp):
    # SciPy's filtfilt refuses a single tap.
    x = np.arange(6.0)
    assert_close(filtfilt(xp.asarray([3.0]), 2.0, xp.asarray(x), padlen=2), 2.25 * x)


def test_away_from_the_ends_it_is_the_autocorrelation_of_the_taps(xp, rng):
    b, x = draw(rng, 5), draw(rng, 40)
    got = xp.numpy(filtfilt(xp.asarray(b), 1.0, xp.asarray(x)))
    want = np.convolve(x, np.convolve(b, b[::-1]), "same")
    assert_close(got[4:-4], want[4:-4])


def test_a_wave_keeps_its_phase_and_takes_the_gain_squared(xp):
    b, w = np.array([0.25, 1.0, -0.5, 0.25]), 0.7
    x = np.exp(1j * w * np.arange(50))
    y = xp.numpy(filtfilt(xp.asarray(b), 1.0, xp.asarray(x)))
    gain = abs(np.sum(b * np.exp(-1j * w * np.arange(4)))) ** 2
    assert_close(y[3:-3], gain * x[3:-3], dtype=xp.complex)


def test_a_line_goes_through_a_filter_of_gain_one(xp):
    # Odd padding continues a line, so that its ends are right too.
    x = np.linspace(-1, 3, 30)
    assert_close(filtfilt(xp.asarray([0.25, 0.5, 0.25]), 1.0, xp.asarray(x)), x)


def test_dtypes(xp, rng):
    ints = xp.asarray(np.arange(12), dtype="int32")
    assert_close(filtfilt([0.5, 0.5], 1, ints), np.arange(12.0))
    assert_close(filtfilt(xp.asarray([1, 1], dtype="int32"), 2, ints), np.arange(12.0))
    x = draw(rng, 30).astype(np.float32)
    got = filtfilt(xp.asarray([0.5, 0.25], dtype="float32"), 1, xp.asarray(x))
    want = scipy.signal.filtfilt([0.5, 0.25], [1.0], x.astype(float))
    assert_close(got, want, dtype="float32")


@pytest.mark.on("numpy", "torch", "jax")
def test_half_precision_sums_in_float32(xp):
    x = np.full(50, 3.0, np.float16)
    got = xp.numpy(filtfilt(xp.asarray(np.full(4, 0.25, np.float16)), 1.0, xp.asarray(x)))
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, x)


def test_a_traced_gain_and_empty_batches(xp, rng):
    b, x = draw(rng, 3), draw(rng, 20)
    got = xp.call(filtfilt, xp.asarray(b), xp.asarray([4.0]), xp.asarray(x))
    assert_close(got, scipy.signal.filtfilt(b, [4.0], x))
    assert_close(filtfilt(xp.asarray(b), 1.0, xp.asarray(np.zeros((0, 20)))), np.zeros((0, 20)))


def test_derivatives(xp, rng):
    b, a, x = xp.asarray(draw(rng, 3)), xp.asarray([2.0]), xp.asarray(draw(rng, (2, 12)))
    check_vjp(filtfilt, b, a, x)
    for padtype, padlen in (("even", 1), ("constant", None), (None, None)):
        check_adjoint(filtfilt, b, a, x, padtype=padtype, padlen=padlen)


@pytest.mark.on("numpy", "strict", "torch", "jax")
@pytest.mark.parametrize("padtype, padlen", [("odd", None), ("even", 1), (None, None)])
def test_in_blocks_equals_the_whole(xp, rng, padtype, padlen):
    b, x = draw(rng, 5), draw(rng, (90, 2)).astype(xp.float)
    fn = functools.partial(filtfilt, b, 1.0, axis=0, padtype=padtype, padlen=padlen)
    want = scipy.signal.filtfilt(b, [1.0], x.astype(float), 0, padtype, padlen)
    names = {"strict": "array_api_strict"}
    for block in (7, 64):
        sink = np.zeros(x.shape, xp.float)
        swath.map_blocks(
            fn, x, sink, backend=names.get(xp.backend, xp.backend), device=xp.device,
            block=block, progress=False,
        )  # fmt: skip
        assert_close(sink, want, dtype=xp.float)


@settings(max_examples=60, deadline=None)
@given(
    taps=st.integers(1, 9),
    points=st.integers(1, 60),
    padtype=st.sampled_from(PADDING),
    padlen=st.none() | st.integers(0, 12),
    block=st.integers(1, 30),
)
def test_random_sizes_in_blocks(taps, points, padtype, padlen, block):
    rng = np.random.default_rng(points)
    b, x = draw(rng, taps), draw(rng, points)
    edge = 0 if padtype is None else 3 * taps if padlen is None else padlen
    if points <= edge:
        return
    fn = functools.partial(filtfilt, b, 1.0, padtype=padtype, padlen=padlen)
    sink = np.zeros(points)
    swath.map_blocks(fn, x, sink, block=block, progress=False)
    assert_close(sink, np.asarray(fn(x)))


@pytest.mark.parametrize(
    "given, error, text",
    [
        ((np.ones(3), [1.0, 0.5], np.ones(20)), NotImplementedError, "a has 2 coefficients"),
        ((np.ones(3), 1.0, np.ones(9)), ValueError, "more samples along axis 0 than padlen = 9"),
        ((np.ones(3), 1.0, np.ones(20), -1, "odd", 5, "gust"), NotImplementedError, "Gustafsson"),
        ((np.ones(3), 1.0, np.ones(20), -1, "odd", 5, "x"), ValueError, "method must be one of"),
        ((np.ones(3), 1.0, np.ones(20), -1, "wrap"), ValueError, "padtype must be one of 'odd'"),
        ((np.ones(3), 1.0, np.ones(20), -1, "odd", -1), ValueError, "padlen must be at least 0"),
        ((np.ones(3), 1.0, np.ones(20), -1, "odd", 1.5), TypeError, "padlen must be an int"),
        ((np.ones(3), 0.0, np.ones(20)), ValueError, r"a\[0\] must not be 0"),
    ],
)
def test_refuses(given, error, text):
    with pytest.raises(error, match=text):
        filtfilt(*given)
