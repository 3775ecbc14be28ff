"""signal.correlation_score and signal.match_template against loops, scikit-image and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest

import oracles_signal as oracle
import swath
from swath.signal import correlation_score, match_template
from swath.testing import assert_close, check_vjp

ACTIVATIONS = {
    None: lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


@pytest.mark.op("signal.correlation_score")
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_score_is_the_dot_product_of_the_flattened_arrays(xp, rng, activation):
    for shape in ((6,), (3, 4), (2, 3, 2)):
        x, f = rng.standard_normal(shape), rng.standard_normal(shape)
        z = math.fsum(float(p) * float(q) for p, q in zip(x.ravel(), f.ravel())) + 0.25
        got = xp.call(correlation_score, xp.asarray(x), xp.asarray(f), 0.25, activation)
        scale = float(np.sum(np.abs(x * f)))
        bound = 8 * xp.eps * scale
        assert_close(got, ACTIVATIONS[activation](z), bound=bound, dtype=xp.float)


@pytest.mark.op("signal.correlation_score")
def test_score_of_the_lecture_slide(xp):
    x = [[0, 1, 2], [1, 1, 0], [2, 0, 1]]
    f = [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    got = correlation_score(xp.asarray(x, dtype="int32"), xp.asarray(f, dtype="int32"), 3)
    assert_close(got, np.asarray(0 + 2 + 1 + 2 + 1 + 3, np.int32), dtype="int32")


@pytest.mark.op("signal.correlation_score")
def test_score_does_not_conjugate_and_takes_a_callable(xp, rng):
    x = rng.standard_normal(5) + 1j * rng.standard_normal(5)
    f = rng.standard_normal(5) + 1j * rng.standard_normal(5)
    got = correlation_score(xp.asarray(x), xp.asarray(f), activation=lambda z: z * z)
    assert_close(got, sum(x * f) ** 2, dtype=xp.complex)


@pytest.mark.op("signal.correlation_score")
@pytest.mark.on("numpy", "torch")
def test_score_in_half_precision_sums_in_single(xp):
    x = xp.asarray(np.full(4096, 0.1), dtype="float16")
    got = correlation_score(x, x)
    assert_close(got, np.sum(np.full(4096, np.float16(0.1), np.float64) ** 2), rtol=2**-10)


@pytest.mark.op("signal.correlation_score")
def test_integer_scores_wrap_and_empty_ones_are_zero(xp):
    big = xp.asarray([100, 100], dtype="int8")
    assert_close(correlation_score(big, big), np.int8(32), dtype="int8")
    assert_close(correlation_score(xp.asarray(np.zeros((0, 3))), xp.asarray(np.zeros((0, 3)))), 0.0)
    assert np.isnan(xp.numpy(correlation_score(xp.asarray([np.nan]), 1.0 * xp.asarray([1.0]), 0)))
    relu = correlation_score(xp.asarray([np.nan]), xp.asarray([1.0]), None, "relu")
    assert np.isnan(xp.numpy(relu))


@pytest.mark.op("signal.correlation_score")
def test_sigmoid_keeps_its_digits_far_out(xp):
    one = xp.asarray([1.0])
    got = correlation_score(xp.asarray([-60.0]), one, None, "sigmoid")
    assert_close(got, math.exp(-60.0) / (1 + math.exp(-60.0)), rtol=64 * xp.eps)
    assert_close(correlation_score(xp.asarray([-1e4]), one, None, "sigmoid"), 0.0)


@pytest.mark.op("signal.correlation_score")
def test_derivatives_of_the_score(xp, rng):
    x, f = xp.asarray(rng.standard_normal((2, 3))), xp.asarray(rng.standard_normal((2, 3)))
    bias = xp.asarray([0.3])
    for activation in ACTIVATIONS:
        # A saturated activation leaves a small derivative, off by the rounding of values near 1.
        tolerance = {"rtol": 1e-2} if xp.float == "float32" else {}
        check_vjp(correlation_score, x, f, bias, activation, **tolerance)
    _, pullback = swath.vjp(correlation_score, 0 * x, f, None, "sigmoid")
    one = xp.asarray(1.0)
    assert_close(pullback(one)[0], xp.numpy(f) / 4)


@pytest.mark.op("signal.correlation_score")
@pytest.mark.parametrize(
    "arguments, error, text",
    [
        (([[1.0, 2.0]], [1.0, 2.0]), ValueError, r"same shape, got \(1, 2\) and \(2,\)"),
        (([1.0], [1.0], [1.0, 2.0]), ValueError, r"bias must have one element, got shape \(2,\)"),
        (([1.0], [1.0], None, "swish"), ValueError, "'relu', 'tanh', 'sigmoid' or a callable"),
        (([1j], [1.0], None, "relu"), TypeError, "'relu' orders numbers and needs real"),
        (([True], [1.0]), TypeError, "x must be numeric"),
        (("no", [1.0]), TypeError, "x must be an array, a number or a nested list, got str 'no'"),
    ],
)
def test_score_refuses(arguments, error, text):
    given = [np.asarray(a) if isinstance(a, list) else a for a in arguments]
    with pytest.raises(error, match=text):
        correlation_score(*given)


@pytest.mark.op("signal.correlation_score")
def test_vjp_of_a_callable_activation_is_refused():
    with pytest.raises(NotImplementedError, match="no derivative of a callable activation"):
        swath.vjp(correlation_score, np.ones(2), np.ones(2), None, np.tanh)


@pytest.mark.op("signal.match_template")
@pytest.mark.parametrize("zero_mean", [True, False])
@pytest.mark.parametrize("mode", ["valid", "same", "full"])
def test_match_equals_loops(xp, rng, mode, zero_mean):
    for n, k in (((9,), (4,)), ((8, 9), (3, 4))):
        x, t = 3 + rng.standard_normal(n), 5 - rng.standard_normal(k)
        x[(slice(1, 7),) * len(n)] = 2.5  # some constant windows
        got = xp.call(match_template, xp.asarray(x), xp.asarray(t), mode=mode, zero_mean=zero_mean)
        # eps·Σw²/Σ(w − w̄)² of the window is the relative error of its variance.
        assert_close(got, oracle.match_template(x, t, mode, zero_mean), rtol=3000 * xp.eps)
        assert np.max(np.abs(xp.numpy(got))) <= 1


@pytest.mark.op("signal.match_template")
@pytest.mark.needs("skimage")
def test_match_equals_skimage(xp, rng):
    from skimage.feature import match_template as reference

    x = rng.random((24, 31))
    t = x[5:11, 8:17].copy()
    got = match_template(xp.asarray(x), xp.asarray(t))
    assert_close(got, reference(x, t), rtol=1000 * xp.eps)
    assert np.unravel_index(np.argmax(xp.numpy(got)), got.shape) == (5, 8)


@pytest.mark.on("numpy", "torch")
@pytest.mark.op("signal.match_template")
@pytest.mark.parametrize("zero_mean", [True, False])
def test_large_matches_go_in_slabs_and_equal_windows(xp, rng, zero_mean):
    x, t = rng.random((600, 500)), rng.random((7, 6))
    x[200:230, 100:130] = 0.25  # some constant windows
    windows = np.lib.stride_tricks.sliding_window_view(x, t.shape)
    if zero_mean:
        windows = windows - windows.mean((-2, -1), keepdims=True)
        t = t - t.mean()
    scale = np.sqrt((windows**2).sum((-2, -1)) * (t**2).sum())
    constant = scale < 1e-12
    assert constant.any() == zero_mean
    want = np.where(constant, 0, (windows * t).sum((-2, -1)) / np.where(constant, 1, scale))
    got = match_template(xp.asarray(x), xp.asarray(t), zero_mean=zero_mean)
    assert_close(got, want, rtol=3000 * xp.eps)


@pytest.mark.op("signal.match_template")
def test_match_forgives_gain_and_offset(xp, rng):
    t = rng.standard_normal(12)
    x = np.concatenate([rng.standard_normal(20), 0.02 * t + 7, rng.standard_normal(20)])
    got = xp.numpy(match_template(xp.asarray(x), xp.asarray(t)))
    assert np.argmax(got) == 20
    assert abs(got[20] - 1) < (1e-2 if xp.float == "float32" else 1e-10)
    turned = xp.numpy(match_template(xp.asarray(-x), xp.asarray(t)))
    assert_close(turned, -got, atol=1e-4 if xp.float == "float32" else 1e-12)


@pytest.mark.op("signal.match_template")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constant_windows_and_templates_give_zero(xp, rng, dtype):
    if dtype == "float64" and not xp.x64:
        dtype = "float32"
    x = np.concatenate([np.full(30, 0.1), 0.1 + rng.standard_normal(30), np.full(30, 1000.1)])
    got = xp.numpy(match_template(xp.asarray(x, dtype=dtype), xp.asarray([1.0, 2.0, 4.0], dtype)))
    assert not got[:28].any()
    assert not got[60:].any()
    if xp.x64:  # on a device without float64 weak windows far from the mean count as constant
        assert got[30:58].all()
    flat = match_template(xp.asarray(x, dtype=dtype), xp.asarray([0.3] * 7, dtype=dtype))
    assert not xp.numpy(flat).any()
    zeros = match_template(xp.asarray(np.zeros(9)), xp.asarray([1.0, 2.0]), zero_mean=False)
    assert not xp.numpy(zeros).any()


# Every distinct eager call on JAX compiles for seconds: these rows see other cases.
@pytest.mark.on(
    "numpy", "jax-jit", "torch", "strict", "strict-device1", "strict-no-float64", "dpnp"
)
@pytest.mark.op("signal.match_template")
def test_match_over_some_axes_and_a_batch_of_templates(xp, rng):
    x, t = rng.standard_normal((3, 20)), rng.standard_normal((3, 5))
    want = np.stack([oracle.match_template(r, s, "valid", True) for r, s in zip(x, t)])
    got = match_template(xp.asarray(x), xp.asarray(t), axes=-1)
    assert_close(got, want, rtol=1000 * xp.eps)
    want = np.stack([oracle.match_template(c, t[0], "same", True) for c in x])
    got = match_template(xp.asarray(x.T), xp.asarray(t[0]), axes=0, mode="same")
    assert_close(got, want.T, rtol=1000 * xp.eps)


@pytest.mark.op("signal.match_template")
def test_a_nan_stays_visible_and_spoils_its_own_part_only(xp, rng):
    x = rng.standard_normal(400)
    clean = match_template(xp.asarray(x), xp.asarray([1.0, -2.0, 0.5]))
    x[200] = np.nan
    got = xp.numpy(match_template(xp.asarray(x), xp.asarray([1.0, -2.0, 0.5])))
    assert np.isnan(got[198:201]).all()
    bad = np.flatnonzero(np.isnan(got))
    assert bad.min() > 40
    assert bad.max() < 360
    assert_close(got[:40], xp.numpy(clean)[:40], rtol=1e-2 if xp.float == "float32" else 1e-10)


# Every distinct eager call on JAX compiles for seconds: these rows see other cases.
@pytest.mark.on(
    "numpy", "jax-jit", "torch", "strict", "strict-device1", "strict-no-float64", "dpnp"
)
@pytest.mark.op("signal.match_template")
def test_integers_become_the_default_float_and_huge_values_do_not_overflow(xp, rng):
    x = xp.asarray([0, 0, 1, 3, 2, 0], dtype="int32")
    assert_close(
        match_template(xp.asarray([0, 0, 1, 3, 2, 0], dtype="int8"), [200, 600, 400]),
        match_template(x, [2, 6, 4]),
    )
    got = match_template(x, xp.asarray([2, 6, 4], dtype="int32"))
    want = oracle.match_template([0, 0, 1, 3, 2, 0], [2, 6, 4], "valid", True)
    assert_close(got, want, rtol=1e-5)
    data = rng.standard_normal(20)
    want = oracle.match_template(data, data[3:8], "valid", True)
    for size in (1e30, 1e-30):
        got = match_template(xp.asarray(size * data), xp.asarray(size * data[3:8]))
        assert_close(got, want, rtol=1000 * xp.eps)


# Every distinct eager call on JAX compiles for seconds: these rows see other cases.
@pytest.mark.on(
    "numpy", "jax-jit", "torch", "strict", "strict-device1", "strict-no-float64", "dpnp"
)
@pytest.mark.parametrize("zero_mean", [True, False])
@pytest.mark.op("signal.match_template")
def test_the_match_of_the_largest_numbers_is_that_of_small_ones(xp, rng, zero_mean):
    most = float(np.finfo(xp.float).max)
    # One sum overflows; of numbers of both signs the distance to the mean may too.
    for data in (rng.random(20), np.array([-1.0, 0.9, 1.0, 0.5, 1.0, 0.8, 0.9, 1.0, 1.0, 1.0])):
        data = data / np.max(np.abs(data))
        want = oracle.match_template(data, data[3:8], "valid", zero_mean)
        x = xp.asarray(most * data)
        for t in (x[3:8], xp.asarray(data[3:8])):
            got = xp.call(match_template, x, t, zero_mean=zero_mean)
            assert_close(got, want, rtol=1000 * xp.eps)


@pytest.mark.parametrize("zero_mean", [True, False])
@pytest.mark.op("signal.match_template")
def test_an_infinity_is_not_taken_for_a_window_without_variation(xp, zero_mean):
    x = np.arange(12.0) % 5
    x[6] = np.inf
    with np.errstate(invalid="ignore"):
        found = match_template(xp.asarray(x), xp.asarray([1.0, -2.0, 0.5]), zero_mean=zero_mean)
        assert np.isnan(xp.numpy(found)[4:7]).all()


@pytest.mark.op("signal.match_template")
def test_derivatives_of_the_match(xp, rng):
    x, t = xp.asarray(2 + rng.standard_normal(11)), xp.asarray(rng.standard_normal(4))
    tolerance = {"rtol": 5e-2} if xp.float == "float32" else {}
    for zero_mean in (True, False):
        check_vjp(match_template, x, t, mode="same", zero_mean=zero_mean, **tolerance)


@pytest.mark.op("signal.match_template")
def test_empty_inputs(xp):
    got = match_template(xp.asarray(np.zeros((0, 8))), xp.asarray([1.0, 2.0]), axes=-1)
    assert_close(got, np.zeros((0, 7)))
    got = match_template(xp.asarray(np.zeros(0)), xp.asarray([1.0, 2.0]), mode="same")
    assert_close(got, np.zeros(0))


@pytest.mark.on("numpy", "torch", "strict")
@pytest.mark.op("signal.match_template")
def test_empty_inputs_broadcast(xp):
    # A signal of nothing beside two templates, one of four samples beside none.
    for x, t, shape in (((1, 0), (2, 2), (2, 0)), ((1, 4), (0, 2), (0, 4))):
        x, t = xp.asarray(np.zeros(x)), xp.asarray(np.ones(t))
        assert match_template(x, t, mode="same", axes=-1).shape == shape


@pytest.mark.op("signal.match_template")
@pytest.mark.parametrize(
    "x, t, options, error, text",
    [
        (np.ones(3), np.ones(4), {}, ValueError, "template is larger than x along a sliding axis"),
        (np.ones(3), np.ones(0), {}, ValueError, r"template has no points: shape \(0,\)"),
        (np.ones(3), np.ones((2, 2)), {}, ValueError, "x and template must have the same number"),
        (np.ones(3), np.ones(2), {"mode": "wrap"}, ValueError, "mode must be one of 'full'"),
        (np.ones(3), np.ones(2), {"axes": 1}, ValueError, "axes 1 is out of range"),
        (np.ones(3), np.ones(()), {"axes": ()}, ValueError, "at least one sliding axis"),
        (np.ones(3) * 1j, np.ones(2), {}, TypeError, "x and template must be real"),
        (np.ones(3) > 0, np.ones(2), {}, TypeError, "x must be numeric"),
    ],
)
def test_match_refuses(x, t, options, error, text):
    with pytest.raises(error, match=text):
        match_template(x, t, **options)
