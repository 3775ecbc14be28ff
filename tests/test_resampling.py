"""upfirdn, resample_poly and decimate against SciPy, exact sums and laws, whole and in blocks."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

import swath
from swath.signal import decimate, resample_poly, upfirdn
from swath.testing import assert_close, check_adjoint, check_vjp

RAISE = pytest.mark.op("signal.upfirdn")
POLY = pytest.mark.op("signal.resample_poly")
DECIMATE = pytest.mark.op("signal.decimate")
MODES = (
    "constant", "symmetric", "reflect", "edge", "wrap", "smooth", "antisymmetric", "antireflect",
    "line",
)  # fmt: skip
LEVELS = ("mean", "median", "maximum", "minimum")


def draw(rng, shape, kind="real"):
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if kind == "complex" else x


# -- upfirdn --------------------------------------------------------------------------------------


@RAISE
@pytest.mark.parametrize("up, down, taps", [(1, 1, 5), (2, 3, 7), (5, 2, 12), (4, 6, 9), (3, 1, 1)])
def test_upfirdn_equals_scipy_on_any_axis(xp, rng, up, down, taps):
    h, x = draw(rng, taps), draw(rng, (2, 11, 3), "complex")
    got = xp.call(upfirdn, xp.asarray(h), xp.asarray(x), up, down, 1)
    assert_close(got, scipy.signal.upfirdn(h, x, up, down, axis=1), dtype=xp.complex)


@RAISE
@pytest.mark.parametrize("mode", MODES)
def test_every_continuation_equals_scipy(xp, rng, mode):
    # The taps reach further than the signal is long: continuations of continuations.
    h, x = draw(rng, 26), draw(rng, (2, 5))
    got = xp.call(upfirdn, xp.asarray(h), xp.asarray(x), 3, 2, mode=mode)
    assert_close(got, scipy.signal.upfirdn(h, x, 3, 2, mode=mode))


@RAISE
@settings(max_examples=120, deadline=None)
@given(
    taps=st.integers(1, 60),
    points=st.integers(2, 40),
    up=st.integers(1, 9) | st.integers(50, 200),
    down=st.integers(1, 9) | st.integers(50, 200),
    mode=st.sampled_from(MODES),
    seed=st.integers(0, 99),
)
def test_upfirdn_of_random_sizes_equals_scipy(taps, points, up, down, mode, seed):
    rng = np.random.default_rng(seed)
    h, x = draw(rng, taps), draw(rng, points)
    got = upfirdn(h, x, up, down, mode=mode)
    assert_close(got, scipy.signal.upfirdn(h, x, up, down, mode=mode))


@RAISE
@pytest.mark.on("numpy", "jax", "torch", "strict", "strict-device1", "dpnp", "cupy")
@pytest.mark.parametrize(
    "up, down, taps, points",
    [(2, 3, 61, 5000), (160, 147, 3201, 700), (101, 99, 205, 999), (1, 8, 161, 4000)],
)
def test_rows_and_groups_of_a_long_signal_equal_exact_sums(xp, up, down, taps, points):
    # Whole numbers: every sum is exact, whatever the order.
    rng = np.random.default_rng(taps)
    h, x = rng.integers(-8, 9, taps), rng.integers(-8, 9, points)
    want = scipy.signal.upfirdn(h.astype(float), x.astype(float), up, down)
    got = upfirdn(xp.asarray(h.astype(float)), xp.asarray(x.astype(float)), up, down)
    np.testing.assert_array_equal(xp.numpy(got), want)
    ints = upfirdn(xp.asarray(h, dtype="int32"), xp.asarray(x, dtype="int32"), up, down)
    np.testing.assert_array_equal(xp.numpy(ints), want)


@RAISE
@pytest.mark.on("numpy", "torch")
def test_integers_at_the_same_rate_are_summed_exactly(xp, rng):
    # As many as go through a transform where they are floats.
    h, x = rng.integers(-8, 9, 3000), rng.integers(-8, 9, 60000)
    assert swath.plan(upfirdn, h.astype(float), x.astype(float)).method in ("fft", "overlap_save")
    got = xp.numpy(upfirdn(xp.asarray(h, dtype="int32"), xp.asarray(x, dtype="int32")))
    want = np.rint(scipy.signal.oaconvolve(h.astype(float), x.astype(float)))
    np.testing.assert_array_equal(got, want)


@RAISE
def test_the_error_stays_within_the_bound(xp):
    rng = np.random.default_rng(5)
    h, x = rng.standard_normal(95), rng.standard_normal(700)
    narrow_h, narrow_x = h.astype(np.float32), x.astype(np.float32)
    got = upfirdn(xp.asarray(narrow_h), xp.asarray(narrow_x), 7, 5)
    wide = narrow_h.astype(float), narrow_x.astype(float)
    want = scipy.signal.upfirdn(*wide, 7, 5)
    # No output is a sum of more than ceil(95 / 7) = 14 products.
    bound = 2 * 14 * 2.0**-23 * scipy.signal.upfirdn(abs(wide[0]), abs(wide[1]), 7, 5) + 1e-30
    assert np.all(np.abs(xp.numpy(got) - want) <= bound)
    assert_close(got, want, dtype="float32")


@RAISE
def test_banks_of_filters_broadcast_with_the_signal(xp, rng):
    def each(h, x):
        return scipy.signal.upfirdn(h, x, 3, 2)

    h, x = draw(rng, (4, 5)), draw(rng, 7)
    got = xp.call(upfirdn, xp.asarray(h), xp.asarray(x), 3, 2)
    assert_close(got, np.stack([each(row, x) for row in h]))
    # A bank for every channel: (F, 1, K) and (C, N) give (F, C, L).
    channels = draw(rng, (2, 7))
    got = xp.call(upfirdn, xp.asarray(h[:, None]), xp.asarray(channels), 3, 2)
    assert_close(got, np.stack([[each(row, c) for c in channels] for row in h]))
    # A filter of its own for every channel.
    got = xp.call(upfirdn, xp.asarray(h[:2]), xp.asarray(channels), 3, 2)
    assert_close(got, np.stack([each(row, c) for row, c in zip(h, channels)]))
    # The same for every row of a batch behind it.
    rows = draw(rng, (2, 3, 7))
    got = xp.call(upfirdn, xp.asarray(h[:2, None]), xp.asarray(rows), 3, 2)
    assert_close(got, np.stack([each(row, some) for row, some in zip(h, rows)]))


@RAISE
def test_time_keeps_its_place_from_the_end(xp, rng):
    h, x = draw(rng, (3, 1, 2, 4)), draw(rng, (6, 5, 2))
    got = upfirdn(xp.asarray(h), xp.asarray(x), 2, 1, axis=0)
    want = np.empty((3, 14, 5, 2))
    for f in range(3):
        for i in range(5):
            for c in range(2):
                want[f, :, i, c] = scipy.signal.upfirdn(h[f, 0, c], x[:, i, c], 2, 1)
    assert_close(got, want)


@RAISE
def test_a_bank_without_change_of_rate_is_a_convolution(xp, rng):
    h, x = draw(rng, (3, 4)), draw(rng, (1, 6))
    got = upfirdn(xp.asarray(h), xp.asarray(x), mode="edge")
    padded = np.pad(x[0], 3, mode="edge")
    assert_close(got, np.stack([np.convolve(padded, row)[3:-3] for row in h]))


@RAISE
def test_constants_beyond_the_ends(xp, rng):
    h, x = draw(rng, 7), draw(rng, 6)
    got = xp.call(upfirdn, xp.asarray(h), xp.asarray(x), 2, 3, cval=2.5)
    assert_close(got, scipy.signal.upfirdn(h, x, 2, 3, cval=2.5))
    z = draw(rng, 6, "complex")
    got = upfirdn(xp.asarray(h), xp.asarray(z), 2, 3, cval=2.5 - 1j)
    padded = np.concatenate([np.full(9, 2.5 - 1j), z, np.full(9, 2.5 - 1j)])
    raised = np.zeros(2 * len(padded), complex)
    raised[::2] = padded
    full = np.convolve(h, raised)[18:]
    assert_close(got, full[: 2 * 5 + 7 : 3])


@RAISE
def test_dtypes_of_upfirdn(xp):
    ints = xp.asarray([1, 2, 3], dtype="int32")
    assert_close(upfirdn(xp.asarray([1, 1], dtype="int16"), ints), [1.0, 3.0, 5.0, 3.0])
    narrow = xp.asarray([1.0, 2.0], dtype="float32")
    assert_close(upfirdn([1, 1], narrow, 2), [1.0, 1.0, 2.0, 2.0], dtype="float32")
    assert_close(upfirdn(ints, narrow), [1.0, 4.0, 7.0, 6.0], dtype="float32")
    got = upfirdn(xp.asarray([1j], dtype="complex64"), narrow)
    assert_close(got, [1j, 2j], dtype="complex64")


@RAISE
@pytest.mark.on("numpy", "torch", "jax")
def test_half_precision_sums_in_float32(xp):
    h, x = np.full(400, 1.0, np.float16), np.full(400, 0.5, np.float16)
    got = xp.numpy(upfirdn(xp.asarray(h), xp.asarray(x), 1, 100))
    assert got.dtype == np.float16
    # Of 300 terms a float16 sum by halves is exact too; of 2048 + 1 it is not.
    np.testing.assert_array_equal(got, scipy.signal.upfirdn(h.astype(float), x, 1, 100))
    h = np.ones(4096, np.float16)
    got = xp.numpy(upfirdn(xp.asarray(h), xp.asarray(np.ones(4096, np.float16)), 1, 4095))
    np.testing.assert_array_equal(got, np.array([1.0, 4096.0, 1.0], np.float16))


@pytest.mark.op("signal.resample_poly", "signal.decimate")
@pytest.mark.on("numpy", "torch", "jax")
def test_filters_designed_for_half_precision_are_not_rounded_to_it(xp, rng):
    x = rng.standard_normal(200).astype(np.float16)
    for op, settings_ in (
        (resample_poly, {"up": 3, "down": 2}),
        (decimate, {"q": 4}),
        (decimate, {"q": 4, "zero_phase": False}),
    ):
        want = op(x.astype(float), **settings_)
        got = op(xp.asarray(x), **settings_)
        assert_close(got, want, dtype="float16", bound=2**-11 * np.abs(want) + 1e-6)


@pytest.mark.op("signal.resample_poly")
def test_integers_take_the_precision_of_given_taps(xp):
    x, taps = np.arange(6), np.array([0.5, 1.0, 0.5], np.float32)
    want = scipy.signal.resample_poly(x.astype(float), 2, 3, window=taps.astype(float))
    got = resample_poly(xp.asarray(x), 2, 3, window=xp.asarray(taps, "float32"))
    assert_close(got, want, dtype="float32", rtol=2**-22, atol=2**-22)


@pytest.mark.op("signal.resample_poly")
def test_complex_taps_of_a_real_signal_go_with_every_level(xp, rng):
    x, taps = rng.standard_normal(9), rng.standard_normal(5) + 1j * rng.standard_normal(5)
    for level in ("median", "maximum", "minimum", "mean"):
        got = resample_poly(xp.asarray(x), 3, 2, window=xp.asarray(taps), padtype=level)
        want = scipy.signal.resample_poly(x, 3, 2, window=taps, padtype=level)
        assert_close(got, want, dtype=xp.complex, rtol=0, atol=64 * xp.eps)


@pytest.mark.op("signal.resample_poly")
@pytest.mark.on("numpy")
def test_a_kaiser_window_may_be_a_number_of_numpy(xp):
    x = np.arange(9.0)
    got = resample_poly(x, 2, 3, window=np.float32(5.0))
    assert_close(got, resample_poly(x, 2, 3), rtol=0)


@RAISE
def test_a_single_sample_has_no_slope(xp):
    h, x = xp.asarray([1.0, 2.0, 4.0]), xp.asarray([3.0])
    for mode in ("reflect", "antireflect", "smooth", "line", "edge", "symmetric", "wrap"):
        assert_close(upfirdn(h, x, mode=mode), [21.0, 21.0, 21.0])
    # … 3, −3, 3, −3, 3 …
    assert_close(upfirdn(h, x, mode="antisymmetric"), [9.0, -9.0, 9.0])


@RAISE
def test_empty_signals_give_empty_results(xp):
    h = xp.asarray([1.0, 2.0, 3.0])
    for mode in ("constant", "reflect"):
        assert_close(upfirdn(h, xp.asarray(np.zeros((2, 0))), 2, mode=mode), np.zeros((2, 0)))
        assert_close(upfirdn(h, xp.asarray(np.zeros((0, 3))), 2, mode=mode), np.zeros((0, 7)))
    assert_close(upfirdn(xp.asarray(np.zeros((0, 3))), xp.asarray(np.ones(3)), 2), np.zeros((0, 7)))


@RAISE
def test_a_nan_is_never_hidden_and_stays_near(xp):
    x = np.ones(2000)
    x[1000] = np.nan
    h = np.ones(13)
    y = xp.numpy(upfirdn(xp.asarray(h), xp.asarray(x), 2, 3))
    # SciPy's NaNs meet the zeros, too, that fill up its branches.
    assert np.isnan(y[scipy.signal.upfirdn(h, np.isnan(x).astype(float), 2, 3) > 0]).all()
    far = np.flatnonzero(np.isnan(y)) * 3 / 2 - 1000
    assert np.max(np.abs(far)) <= 128


@RAISE
def test_derivatives_of_upfirdn(xp, rng):
    h, x = xp.asarray(draw(rng, 5)), xp.asarray(draw(rng, (2, 6)))
    check_adjoint(upfirdn, h, x, 3, 2)
    check_vjp(upfirdn, h, x, 3, 2)
    z = xp.asarray(draw(rng, 7, "complex"))
    check_adjoint(upfirdn, xp.asarray(draw(rng, (2, 1, 4), "complex")), z, 2, 3)


@RAISE
@pytest.mark.on("numpy", "strict", "dpnp", "cupy")
@pytest.mark.parametrize("mode", MODES)
def test_derivatives_of_every_continuation(xp, rng, mode):
    h, x = xp.asarray(draw(rng, 11)), xp.asarray(draw(rng, 4))
    check_adjoint(upfirdn, h, x, 2, 3, mode=mode)


@RAISE
@pytest.mark.on("numpy", "torch", "strict", "cupy")
def test_derivatives_of_groups_of_rows(xp, rng):
    h, x = xp.asarray(draw(rng, 150)), xp.asarray(draw(rng, 190))
    check_adjoint(upfirdn, h, x, 170, 171)


@POLY
@DECIMATE
def test_a_rate_that_stays_leaves_the_samples_as_they_are(xp):
    x = np.array([complex(np.inf, 0.0), complex(0.0, -np.inf), complex(3.0, np.nan), 1 + 2j])
    for rate in ((1, 1), (3, 3)):
        got = xp.call(resample_poly, xp.asarray(x), *rate)
        np.testing.assert_array_equal(xp.numpy(got), x)
    np.testing.assert_array_equal(xp.numpy(xp.call(decimate, xp.asarray(x), 1)), x)


@RAISE
@POLY
@pytest.mark.on("numpy", "torch", "strict", "dpnp", "cupy")
@pytest.mark.parametrize("mode", MODES)
def test_a_long_signal_is_read_where_it_stands(xp, rng, mode):
    h, x = draw(rng, 31), draw(rng, 2**15 + 5)
    for up, down in ((2, 3), (1, 1), (101, 99)):
        got = upfirdn(xp.asarray(h), xp.asarray(x), up, down, mode=mode, cval=0)
        assert_close(got, scipy.signal.upfirdn(h, x, up, down, mode=mode))
    if mode in ("constant", "line"):
        got = resample_poly(xp.asarray(x), 3, 4, padtype=mode)
        assert_close(got, scipy.signal.resample_poly(x, 3, 4, padtype=mode))
    if mode == "constant":
        got = upfirdn(xp.asarray(h), xp.asarray(x), 2, 3, cval=1.5)
        assert_close(got, scipy.signal.upfirdn(h, x, 2, 3, cval=1.5))
        check_adjoint(upfirdn, xp.asarray(h), xp.asarray(x), 2, 3)


@RAISE
@pytest.mark.on("numpy")
@pytest.mark.parametrize(
    "up, down, mode",
    [(2, 3, "constant"), (2, 3, "reflect"), (3, 2, "constant"), (160, 147, "constant")],
)
def test_memory_of_a_change_of_rate(xp, up, down, mode):
    import tracemalloc

    x, h = np.zeros(2**24, np.float32), np.ones(61, np.float32)
    tracemalloc.start()
    y = upfirdn(h, x, up, down, mode=mode)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The output, one input, and the blocks of the product.
    assert peak <= y.nbytes + x.nbytes + 2**23
    pullback = swath.vjp(upfirdn, h, x, up, down, mode=mode)[1]
    tracemalloc.start()
    pullback(y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 2 * x.nbytes + 2**23


@RAISE
@pytest.mark.on("jax-jit")
@pytest.mark.optimised
@pytest.mark.parametrize("up, down", [(3, 2), (160, 147)])
def test_a_compiled_change_of_rate_goes_slab_by_slab(xp, rng, up, down):
    import jax
    import jax.numpy as jnp

    x, h = (jax.ShapeDtypeStruct((n,), jnp.float32) for n in (2**24, 20 * max(up, down) + 1))

    def forward(h, x):
        return upfirdn(h, x, up, down)

    def backward(h, x, y):
        return jax.vjp(forward, h, x)[1](y)

    for function, arrays in ((forward, ()), (backward, (jax.eval_shape(forward, h, x),))):
        memory = jax.jit(function).lower(h, x, *arrays).compile().memory_analysis()
        assert memory.temp_size_in_bytes <= 2**26
    # The same sums in slabs of few rows, the last of them partly done before.
    taps, signal = draw(rng, (2, 3, 41)), draw(rng, (5, 3, 4001))
    ct = draw(rng, upfirdn(taps[:, None], signal, up, down).shape)
    want = [upfirdn(taps[:, None], signal, up, down)]
    want += swath.vjp(upfirdn, taps[:, None], signal, up, down)[1](ct)[:2]
    with swath.workspace(2**19):
        arrays = [xp.asarray(v) for v in (taps[:, None], signal, ct)]
        got = [jax.jit(forward)(*arrays[:2]), *jax.jit(backward)(*arrays)]
    for a, b in zip(got, want, strict=True):
        assert_close(a, b)


@RAISE
@pytest.mark.on("numpy")
def test_rows_of_a_large_rate_stay_small(xp, rng):
    import tracemalloc

    h, x = draw(rng, 20_001), draw(rng, 20_000)
    tracemalloc.start()
    y = upfirdn(h, x, 10_007, 10_009)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_close(y, scipy.signal.upfirdn(h, x, 10_007, 10_009))
    assert peak < 3 * y.nbytes + 2**26 * 1.5


@RAISE
def test_plan_of_a_change_of_rate(xp):
    plan = swath.plan(upfirdn, np.ones(61), np.ones(10**5), 2, 3)
    # Less than twice the taps of a branch and the points of a row.
    assert plan.flops < 10**5 * 2 / 3 * 2 * (31 + 64)


# -- resample_poly --------------------------------------------------------------------------------


@POLY
@pytest.mark.parametrize("padtype", [*MODES, *LEVELS])
def test_resample_poly_equals_scipy(xp, rng, padtype):
    x = 3 + draw(rng, (9, 2))
    got = xp.call(resample_poly, xp.asarray(x), 4, 6, padtype=padtype)
    assert_close(got, scipy.signal.resample_poly(x, 4, 6, padtype=padtype))
    if padtype in LEVELS:
        # An even number of samples in the middle, along an axis that is not the first.
        x = 3 + draw(rng, (2, 6))
        got = xp.call(resample_poly, xp.asarray(x), 4, 6, axis=1, padtype=padtype)
        assert_close(got, scipy.signal.resample_poly(x, 4, 6, axis=1, padtype=padtype))


@POLY
@settings(max_examples=60, deadline=None)
@given(
    points=st.integers(2, 40),
    up=st.integers(1, 12),
    down=st.integers(1, 12),
    taps=st.none() | st.integers(1, 20),
    padtype=st.sampled_from([*MODES, *LEVELS]),
    seed=st.integers(0, 99),
)
def test_resample_poly_of_random_sizes_equals_scipy(points, up, down, taps, padtype, seed):
    rng = np.random.default_rng(seed)
    x, h = draw(rng, (points, 2)), None if taps is None else draw(rng, taps)
    given = {} if h is None else {"window": h}
    theirs = {} if h is None else {"window": h}
    got = resample_poly(x, up, down, padtype=padtype, **given)
    want = scipy.signal.resample_poly(x, up, down, padtype=padtype, **theirs)
    # Terms may cancel in every one of a few points: rounding is relative to them, not to the sum.
    branch = np.full(up, 1 / up) if h is None else np.abs(h)
    terms = scipy.signal.upfirdn(up * branch, np.full(points, np.max(np.abs(x))), up, down)
    assert_close(got, want, atol=64 * np.finfo(float).eps * np.max(terms))


@POLY
def test_windows_of_resample_poly(xp, rng):
    x, h = draw(rng, 12), draw(rng, 8)
    for window in ("hann", ("kaiser", 8.0), ("gaussian", 20.0), [0.5, 1.0, 0.25]):
        got = resample_poly(xp.asarray(x), 3, 2, window=window)
        assert_close(got, scipy.signal.resample_poly(x, 3, 2, window=window))
    got = xp.call(resample_poly, xp.asarray(x), 3, 2, window=xp.asarray(h), cval=1.5)
    assert_close(got, scipy.signal.resample_poly(x, 3, 2, window=h, cval=1.5))


@POLY
def test_dtypes_and_the_same_rate(xp, rng):
    x = draw(rng, 20).astype(np.float32)
    assert_close(
        resample_poly(xp.asarray(x), 2, 3),
        scipy.signal.resample_poly(x.astype(float), 2, 3),
        dtype="float32",
    )
    ints = xp.asarray([4, 8, 4, 0], dtype="int32")
    want = scipy.signal.resample_poly(np.array([4.0, 8.0, 4.0, 0.0]), 2, 1)
    assert_close(resample_poly(ints, 2, 1), want)
    given = xp.asarray([1.0, 2.0])
    same = resample_poly(given, 3.0, 3)
    assert_close(same, [1.0, 2.0])
    # Arrays that nobody can write to may be the same.
    assert same is not given or xp.backend in ("jax", "dask")
    z = draw(rng, 8, "complex")
    got = resample_poly(xp.asarray(z), 3, 2, padtype="mean")
    assert_close(got, scipy.signal.resample_poly(z, 3, 2, padtype="mean"), dtype=xp.complex)


@POLY
def test_a_slow_wave_keeps_its_shape(xp):
    # The law of resampling: a band-limited signal is its own interpolation, away from the ends.
    t = np.arange(400)
    got = xp.numpy(resample_poly(xp.asarray(np.cos(0.05 * t)), 5, 3))
    want = np.cos(0.05 * np.arange(len(got)) * 3 / 5)
    assert np.max(np.abs(got - want)[100:-100]) < 2e-3


@POLY
def test_empty_and_unknown_samples(xp):
    assert_close(resample_poly(xp.asarray(np.zeros((0, 2))), 2, 1), np.zeros((0, 2)))
    for padtype in LEVELS:
        assert_close(
            resample_poly(xp.asarray(np.zeros((3, 0))), 2, 1, padtype=padtype), np.zeros((6, 0))
        )
        y = xp.numpy(resample_poly(xp.asarray([[1.0, np.nan], [2.0, 3.0]]), 2, 1, padtype=padtype))
        assert np.isnan(y[:, 1]).all()
        assert np.isfinite(y[:, 0]).all() or padtype == "never"


@POLY
@pytest.mark.on("numpy", "torch", "strict", "strict-device1", "dpnp", "cupy")
def test_derivatives_of_resample_poly(xp, rng):
    x, h = xp.asarray(draw(rng, (7, 2))), xp.asarray(draw(rng, 6))
    check_vjp(resample_poly, x, 3, 2, window=h)
    for padtype in LEVELS:
        check_vjp(resample_poly, x, 2, 3, window=h, padtype=padtype)


@POLY
@pytest.mark.needs("jax", "torch")
@pytest.mark.parametrize("padtype", ["median", "maximum"])
def test_libraries_differentiate_levels_as_swath_does(padtype, rng):
    import jax
    import torch

    x, h, weight = draw(rng, 8), draw(rng, 5), draw(rng, 12)

    def loss(a, h, w):
        return (resample_poly(a, 3, 2, window=h, padtype=padtype) * w).sum()

    _, pullback = swath.vjp(resample_poly, x, 3, 2, window=h, padtype=padtype)
    want = pullback(weight)[0]
    with jax.enable_x64(True):
        got = jax.grad(loss)(*map(jax.numpy.asarray, (x, h, weight)))
        assert_close(got, want)
    t = torch.tensor(x, requires_grad=True)
    loss(t, torch.tensor(h), torch.tensor(weight)).backward()
    assert_close(t.grad, want)


@POLY
@pytest.mark.on("jax", "torch", "numpy")
def test_bound_libraries_take_windows_of_every_kind(xp, rng):
    bound = swath.bind(xp.backend)
    x, h = draw(rng, 9), draw(rng, 5)
    for window in ("hann", ("kaiser", 3.0)):
        got = bound.signal.resample_poly(x, 3, 2, window=window)
        assert_close(got, scipy.signal.resample_poly(x, 3, 2, window=window), dtype=xp.float)
    got = bound.signal.resample_poly(list(x), 3, 2, window=h)
    assert_close(got, scipy.signal.resample_poly(x, 3, 2, window=h), dtype=xp.float)


# -- decimate -------------------------------------------------------------------------------------


@DECIMATE
@pytest.mark.parametrize("zero_phase", [True, False])
def test_decimate_equals_scipy(xp, rng, zero_phase):
    x = draw(rng, (2, 50))
    for q, n in ((3, None), (5, 7)):
        got = xp.call(decimate, xp.asarray(x), q, n, zero_phase=zero_phase)
        assert_close(got, scipy.signal.decimate(x, q, n, "fir", zero_phase=zero_phase))
    got = decimate(xp.asarray(x), 2, 4, axis=0, zero_phase=zero_phase)
    assert_close(got, scipy.signal.decimate(x, 2, 4, "fir", axis=0, zero_phase=zero_phase))


@DECIMATE
@pytest.mark.parametrize("zero_phase", [True, False])
def test_decimate_with_a_given_system(xp, rng, zero_phase):
    x, h = draw(rng, 30), draw(rng, 6)
    for taps in (h, h * (1 + 0.5j)):
        system = scipy.signal.dlti(taps, 2.0)
        got = decimate(xp.asarray(x), 4, ftype=system, zero_phase=zero_phase)
        want = scipy.signal.decimate(x, 4, ftype=system, zero_phase=zero_phase)
        assert_close(got, want, dtype=xp.complex if np.iscomplexobj(want) else xp.float)
    z = draw(rng, 30, "complex")
    # Whoever sets the denominator by hand has it not divided out.
    system.den = 4.0
    got = decimate(xp.asarray(z), 4, ftype=system, zero_phase=zero_phase)
    want = scipy.signal.decimate(z, 4, ftype=system, zero_phase=zero_phase)
    assert_close(got, want, dtype=xp.complex)


@DECIMATE
def test_dtypes_of_decimate(xp, rng):
    x = draw(rng, 30).astype(np.float32)
    got = decimate(xp.asarray(x), 3)
    assert_close(got, scipy.signal.decimate(x.astype(float), 3, ftype="fir"), dtype="float32")
    ints = xp.asarray(np.arange(12), dtype="int32")
    assert_close(decimate(ints, 2, 1), scipy.signal.decimate(np.arange(12), 2, 1, "fir"))
    assert_close(decimate(xp.asarray([1.0, 2.0]), 1), [1.0, 2.0])


@DECIMATE
def test_derivatives_of_decimate(xp, rng):
    check_vjp(decimate, xp.asarray(draw(rng, 20)), 3, 8)
    check_adjoint(decimate, xp.asarray(draw(rng, 20)), 3, 8, zero_phase=False)


# -- in blocks ------------------------------------------------------------------------------------


def in_blocks(xp, fn, x, want, block, axis=0):
    sink = np.full(
        want.shape,
        7,
        np.result_type(want.dtype, xp.float if want.dtype.kind == "f" else want.dtype),
    )
    names = {"strict": "array_api_strict"}
    swath.map_blocks(
        fn, x.astype(xp.float), sink, backend=names.get(xp.backend, xp.backend), device=xp.device,
        axis=axis, block=block, progress=False,
    )  # fmt: skip
    assert_close(sink, want, dtype=xp.float)


@RAISE
@pytest.mark.on("numpy", "strict", "torch", "cupy")
@pytest.mark.parametrize(
    "up, down, taps, mode",
    [(2, 3, 9, "constant"), (5, 3, 31, "reflect"), (4, 6, 14, "antireflect"), (1, 4, 6, "smooth"),
     (3, 1, 2, "symmetric"), (1, 1, 5, "edge")],
)  # fmt: skip
def test_upfirdn_in_blocks_equals_the_whole(xp, rng, up, down, taps, mode):
    h, x = draw(rng, taps), draw(rng, (83, 2))
    fn = functools.partial(upfirdn, h, up=up, down=down, axis=0, mode=mode)
    want = scipy.signal.upfirdn(h, x, up, down, axis=0, mode=mode)
    for block in (7, 50):
        in_blocks(xp, fn, x, want, block)


@RAISE
@settings(max_examples=80, deadline=None)
@given(
    points=st.integers(1, 60),
    taps=st.integers(1, 30),
    up=st.integers(1, 7),
    down=st.integers(1, 7),
    mode=st.sampled_from(["constant", "symmetric", "reflect", "edge", "smooth", "antireflect"]),
    block=st.integers(1, 40),
    centred=st.booleans(),
)
def test_rates_of_random_sizes_in_blocks(points, taps, up, down, mode, block, centred):
    rng = np.random.default_rng(points)
    h, x = draw(rng, taps), draw(rng, points)
    if centred:
        fn = functools.partial(resample_poly, up=up, down=down, window=h, padtype=mode)
    else:
        fn = functools.partial(upfirdn, h, up=up, down=down, mode=mode)
    want = np.asarray(fn(x))
    sink = np.full(want.shape, 7.0)
    swath.map_blocks(fn, x, sink, block=block, progress=False)
    assert_close(sink, want)


@RAISE
@pytest.mark.on("numpy")
def test_banks_in_blocks_of_any_axis(xp, rng):
    h, x = draw(rng, (3, 1, 4)), draw(rng, (6, 20))
    fn = functools.partial(upfirdn, h, up=2)
    want = np.asarray(fn(x))
    assert want.shape == (3, 6, 42)
    in_blocks(xp, fn, x, want, 5, axis=1)
    in_blocks(xp, fn, x, want, 2, axis=0)
    each = functools.partial(upfirdn, draw(rng, (6, 4)), up=2)
    with pytest.raises(NotImplementedError, match="h changes along axis 0"):
        in_blocks(xp, each, x, np.asarray(each(x)), 2, axis=0)
    for padtype in ("mean", "wrap", "line"):
        fn = functools.partial(resample_poly, up=2, down=1, padtype=padtype)
        with pytest.raises(NotImplementedError, match="continues the signal by what lies far away"):
            in_blocks(xp, fn, x, np.asarray(fn(x)), 2)
        fn = functools.partial(resample_poly, up=2, down=1, axis=1, padtype=padtype)
        in_blocks(xp, fn, x, np.asarray(fn(x)), 2)


@POLY
@DECIMATE
@pytest.mark.on("numpy", "torch")
def test_resample_poly_and_decimate_in_blocks(xp, rng):
    x = draw(rng, (150, 2))
    system = scipy.signal.dlti([1.0, 2.0, 4.0], 1)
    poly, lower = functools.partial(resample_poly, down=2), functools.partial(decimate, axis=0)
    theirs = functools.partial(scipy.signal.decimate, x, axis=0)
    for fn, want in (
        (functools.partial(poly, up=3), scipy.signal.resample_poly(x, 3, 2)),
        (functools.partial(poly, up=2), x),
        (
            functools.partial(poly, up=3, window=np.float32(8.0)),
            scipy.signal.resample_poly(x, 3, 2, window=8.0),
        ),
        (functools.partial(lower, q=4), theirs(4, ftype="fir")),
        (functools.partial(lower, q=1), x),
        (
            functools.partial(lower, q=3, n=5, zero_phase=False),
            theirs(3, 5, "fir", zero_phase=False),
        ),
        (functools.partial(lower, q=3, ftype=system), theirs(3, ftype=system)),
    ):
        in_blocks(xp, fn, x, want, 20)
