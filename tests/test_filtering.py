"""signal.lfilter with its state, and signal.filter_bank, against SciPy, a loop and laws."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

import oracles_signal as oracle
import swath
from swath.signal import filter_bank, lfilter, lfilter_zi, lfiltic
from swath.testing import assert_close, check_adjoint, check_vjp

FILTER = pytest.mark.op("signal.lfilter")
BANK = pytest.mark.op("signal.filter_bank")


def draw(rng, shape, kind):
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if kind == "complex" else x


@FILTER
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_filter_and_state_equal_scipy_on_any_axis(xp, rng, kind):
    for taps, shape, axis in ((1, (5,), 0), (4, (9,), -1), (6, (3, 2), 0), (3, (2, 7, 2), 1)):
        b, x = draw(rng, taps, kind), draw(rng, shape, "real")
        state = list(shape)
        state[axis] = taps - 1
        zi = draw(rng, state, kind)
        y, zf = xp.call(lfilter, xp.asarray(b), 2.0, xp.asarray(x), axis, xp.asarray(zi))
        want, wanted = scipy.signal.lfilter(b, [2.0], x, axis, zi)
        assert_close(y, want)
        assert_close(zf, wanted, atol=1e-300)
        assert_close(
            xp.call(lfilter, xp.asarray(b), 2.0, xp.asarray(x), axis),
            scipy.signal.lfilter(b, [2.0], x, axis),
        )


@FILTER
def test_state_equals_the_recursion_and_joins_chunks(xp, rng):
    b, x, zi = rng.standard_normal(5), rng.standard_normal(12), rng.standard_normal(4)
    want, wanted = oracle.fir(b, 0.5, x, zi)
    state, parts = xp.asarray(zi), []
    for first, last in ((0, 2), (2, 2), (2, 3), (3, 12)):
        y, state = lfilter(xp.asarray(b), [0.5], xp.asarray(x[first:last]), zi=state)
        parts.append(xp.numpy(y))
    assert_close(np.concatenate(parts), want, rtol=64 * xp.eps)
    assert_close(state, wanted, rtol=64 * xp.eps)


@FILTER
def test_one_state_for_all_channels(xp, rng):
    b, x, zi = rng.standard_normal(3), rng.standard_normal((4, 6)), rng.standard_normal((1, 2))
    y, zf = lfilter(xp.asarray(b), 1.0, xp.asarray(x), zi=xp.asarray(zi))
    want, wanted = scipy.signal.lfilter(b, 1.0, x, zi=zi)
    assert_close(y, want)
    assert_close(zf, wanted)
    # Its derivative is summed over the channels, and no samples leave one for each channel.
    check_vjp(lfilter, xp.asarray(b), 1.0, xp.asarray(x), zi=xp.asarray(zi))
    _, zf = lfilter(xp.asarray(b), 1.0, xp.asarray(x[:, :0]), zi=xp.asarray(zi))
    assert_close(zf, np.repeat(zi, 4, axis=0))


@FILTER
@pytest.mark.on("numpy", "torch", "jax", "strict")
def test_a_call_that_is_known_converts_what_the_first_one_did(xp):
    taps, ints = np.array([0.5, 0.25], np.float32), np.arange(1, 4)
    want = [0.5, 1.25, 2.0]
    for b, x in (
        (xp.asarray(taps, "float32"), xp.asarray(ints, dtype="int32")),
        (xp.asarray(4 * taps, dtype="int32"), xp.asarray(ints / 4, "float32")),
    ):
        for _ in range(2):
            assert_close(lfilter(b, 1.0, x), want, dtype="float32")


@FILTER
def test_dtypes(xp):
    ints = xp.asarray([1, 2, 3], dtype="int32")
    got = lfilter(xp.asarray([1, 1], dtype="int32"), 2, ints)
    assert_close(got, [0.5, 1.5, 2.5])
    got = lfilter(xp.asarray([0.5, 0.5], dtype="float32"), 1, ints)
    assert_close(got, [0.5, 1.5, 2.5], dtype="float32")
    assert_close(lfilter([0.5, 0.5], [1.0], xp.asarray([1.0, 2.0], dtype="float32")), [0.5, 1.5])


@FILTER
def test_a_traced_or_given_gain_divides(xp, rng):
    b, x = rng.standard_normal(3), rng.standard_normal(6)
    got = xp.call(lfilter, xp.asarray(b), xp.asarray([4.0]), xp.asarray(x))
    assert_close(got, scipy.signal.lfilter(b, [4.0], x))


@FILTER
def test_an_imaginary_gain_divides(xp, rng):
    b, x = rng.standard_normal(3), rng.standard_normal(6)
    got = xp.call(lfilter, xp.asarray(b), xp.asarray([2j]), xp.asarray(x))
    assert_close(got, scipy.signal.lfilter(b, [2j], x))


@FILTER
def test_a_filter_multiplies_an_exponential_by_its_response(xp):
    # The transfer function as an eigenvalue: once the filter is full, y = H(ω) x.
    b, w = np.array([0.5, -1.0, 2.0, 0.25]), 0.7
    x = np.exp(1j * w * np.arange(20))
    y = lfilter(xp.asarray(b), 1.0, xp.asarray(x))
    value = oracle.response(b, [w])[0]
    assert_close(y[3:], value * x[3:])


@pytest.mark.op("signal.lfilter_zi", "signal.lfiltic")
def test_initial_states_equal_scipy(xp, rng):
    for taps in (1, 2, 6):
        b = rng.standard_normal(taps)
        zi = xp.call(lfilter_zi, xp.asarray(b), 0.5)
        assert_close(zi, [np.sum(b[k + 1 :]) / 0.5 for k in range(taps - 1)], atol=10 * xp.eps)
        for past in (None, 0, 1, 4, 9):
            x = None if past is None else rng.standard_normal(past)
            given = None if x is None else xp.asarray(x)
            got = xp.call(lfiltic, xp.asarray(b), 0.5, (), given)
            want = scipy.signal.lfiltic(b, [0.5], [], x)
            assert_close(got, np.zeros(0) if taps == 1 else want, atol=10 * xp.eps)
    assert_close(lfiltic(xp.asarray([0.5, 0.25, 0.5]), 1.0, (), 2.0), [0.5, 1.0])
    b = rng.standard_normal(5)
    assert_close(lfilter_zi(xp.asarray(b), 1.0), scipy.signal.lfilter_zi(b, [1.0]))
    y, _ = lfilter(xp.asarray(b), 1.0, xp.asarray(np.ones(4)), zi=lfilter_zi(xp.asarray(b), 1.0))
    assert_close(y, np.full(4, np.sum(b)), atol=64 * xp.eps)


@pytest.mark.op("signal.lfilter", "signal.lfilter_zi", "signal.lfiltic")
def test_derivatives_of_filters(xp, rng):
    b, x = xp.asarray(rng.standard_normal(4)), xp.asarray(rng.standard_normal((2, 6)))
    a, zi = xp.asarray([2.0]), xp.asarray(rng.standard_normal((2, 3)))
    check_vjp(lfilter, b, a, x)
    check_vjp(lfilter, b, a, x, zi=zi)
    check_vjp(lfilter, b, 0.5 * a, x)  # division by an array of value 1 has a derivative
    check_adjoint(lfilter_zi, b, 2.0)
    check_vjp(lfilter_zi, b, a)
    check_adjoint(lfiltic, b, 2.0, (), xp.asarray(rng.standard_normal(2)))


@FILTER
def test_empty_signals(xp):
    b = xp.asarray([1.0, 2.0, 3.0])
    assert_close(lfilter(b, 1.0, xp.asarray(np.zeros((2, 0)))), np.zeros((2, 0)))
    y, zf = lfilter(b, 1.0, xp.asarray(np.zeros((2, 0))), zi=xp.asarray(np.ones((2, 2))))
    assert_close(y, np.zeros((2, 0)))
    assert_close(zf, np.ones((2, 2)))
    y, zf = lfilter(b, 1.0, xp.asarray(np.zeros((0, 3))), zi=xp.asarray(np.zeros((0, 2))))
    assert_close(zf, np.zeros((0, 2)))


@FILTER
def test_a_nan_is_never_hidden(xp):
    x = np.ones(64)
    x[30] = np.nan
    y = xp.numpy(lfilter(xp.asarray([1.0, 2.0, 3.0]), 1.0, xp.asarray(x)))
    assert np.isnan(y[30:33]).all()


@FILTER
@pytest.mark.parametrize(
    "b, a, x, options, error, text",
    [
        ([1.0], [1.0, 0.5], [1.0], {}, NotImplementedError, "use scipy.signal.lfilter on the host"),
        ([1.0], [0.0], [1.0], {}, ValueError, r"a\[0\] must not be 0"),
        ([1.0], 0, [1.0], {}, ValueError, r"a\[0\] must not be 0"),
        ([[1.0]], 1.0, [1.0], {}, ValueError, r"b must be one row of coefficients, got shape"),
        ([], 1.0, [1.0], {}, ValueError, "b must have at least one coefficient"),
        ([1.0], [], [1.0], {}, ValueError, "a must have at least one coefficient"),
        ([1.0], 1.0, 3.0, {}, ValueError, "x must have at least one axis"),
        ([1.0], 1.0, [1.0], {"axis": 1}, ValueError, "axis 1 is out of range"),
        ([1.0], 1.0, [1.0], {"axis": 0.5}, TypeError, "axis must be an int"),
        ([1.0, 2.0], 1.0, [1.0], {"zi": [1.0, 2.0]}, ValueError, r"zi must have shape \(1,\)"),
        ([1.0, 2.0], 1.0, [1.0], {"zi": 1.0}, ValueError, r"zi must have shape \(1,\)"),
        # One state is not that of every tap, and three are not those of one channel.
        ([1.0] * 4, 1.0, [1.0], {"zi": [1.0]}, ValueError, r"zi must have shape \(3,\)"),
        ([1.0, 2.0], 1.0, [[1.0]], {"zi": np.ones((3, 1))}, ValueError, r"shape \(1, 1\)"),
        ([True], 1.0, [1.0], {}, TypeError, "b must be numeric"),
        (["b"], 1.0, [1.0], {}, TypeError, "b must hold numbers"),
    ],
)
def test_filter_refuses(b, a, x, options, error, text):
    for given in (a, np.asarray(a)):
        with pytest.raises(error, match=text):
            lfilter(np.asarray(b) if b == [True] else b, given, np.asarray(x), **options)


@pytest.mark.op("signal.lfilter_zi", "signal.lfiltic")
def test_initial_states_refuse():
    with pytest.raises(NotImplementedError, match="lfilter_zi: a has 2 coefficients"):
        lfilter_zi([1.0, 2.0], [1.0, 0.5])
    with pytest.raises(NotImplementedError, match="lfiltic: a has 2 coefficients"):
        lfiltic([1.0, 2.0], [1.0, 0.5], [])
    with pytest.raises(ValueError, match=r"x must have one axis, the latest sample first"):
        lfiltic([1.0, 2.0], 1.0, [], np.ones((2, 2)))


@BANK
@pytest.mark.parametrize("stride", [1, 3])
def test_bank_equals_every_filter_by_itself(xp, rng, stride):
    for shape, axis, kind in (((11,), -1, "real"), ((3, 10, 2), 1, "real"), ((2, 9), 0, "complex")):
        bank, x = draw(rng, (4, 5), kind), rng.standard_normal(shape)
        got = xp.call(filter_bank, xp.asarray(bank), xp.asarray(x), axis=axis, stride=stride)
        axis %= len(shape)
        full = np.stack([scipy.signal.lfilter(h, 1.0, x, axis) for h in bank], axis=axis)
        want = np.take(full, range(0, shape[axis], stride), axis=axis + 1)
        assert_close(got, want, dtype=xp.complex if kind == "complex" else xp.float)


@BANK
def test_bank_dtypes_and_empty_inputs(xp):
    bank = xp.asarray([[1, 1], [1, -1]], dtype="int32")
    got = filter_bank(bank, xp.asarray([1, 2, 4], dtype="int32"))
    assert_close(got, [[1.0, 3.0, 6.0], [1.0, 1.0, 2.0]])
    assert_close(filter_bank(bank, xp.asarray(np.zeros((3, 0)))), np.zeros((3, 2, 0)))
    assert_close(filter_bank(bank, xp.asarray(np.zeros((0, 5))), stride=2), np.zeros((0, 2, 3)))


@BANK
def test_derivatives_of_the_bank(xp, rng):
    bank, x = xp.asarray(rng.standard_normal((3, 4))), xp.asarray(rng.standard_normal((2, 9)))
    check_adjoint(filter_bank, bank, x, stride=2)
    check_vjp(filter_bank, bank, x, stride=2)


@BANK
@pytest.mark.parametrize(
    "bank, x, options, error, text",
    [
        (np.ones(3), np.ones(4), {}, ValueError, r"bank must have shape \(filters, taps\)"),
        (np.ones((3, 0)), np.ones(4), {}, ValueError, "bank must have at least one tap"),
        (np.ones((3, 2)), np.ones(()), {}, ValueError, "x must have at least one axis"),
        (np.ones((3, 2)), np.ones(4), {"stride": 0}, ValueError, "stride must be at least 1"),
        (np.ones((3, 2)), np.ones(4), {"stride": 1.5}, TypeError, "stride must be an int"),
        (np.ones((3, 2)), np.ones(4), {"axis": 2}, ValueError, "axis 2 is out of range"),
        (np.ones((3, 2)) > 0, np.ones(4), {}, TypeError, "bank must be numeric"),
    ],
)
def test_bank_refuses(bank, x, options, error, text):
    with pytest.raises(error, match=text):
        filter_bank(bank, x, **options)


@FILTER
def test_plan_of_a_filter_reads_no_values():
    plan = swath.plan(lfilter, np.ones(31), np.array([2.0]), np.ones(10**5))
    assert plan.terms == 31


@pytest.mark.op("signal.lfilter_zi")
@pytest.mark.on("numpy", "torch", "jax")
def test_the_state_of_half_precision_is_summed_in_float32(xp):
    taps = np.full(4098, 1.0, np.float16)
    got = lfilter_zi(xp.asarray(taps), 1.0)
    # Every sum but the last of 4097 is a number of float16, up to 2048 and every second beyond.
    assert_close(got, np.arange(4097.0, 0.0, -1.0).astype(np.float16), dtype="float16", rtol=0)


@FILTER
@pytest.mark.op("signal.lfilter_zi", "signal.lfiltic", "signal.filtfilt")
@pytest.mark.on("numpy", "torch", "jax-jit")
def test_divided_taps_of_half_precision_are_not_rounded(xp, rng):
    """The first call has all checks, the second knows of the first; a gain of 1 before both."""
    b, x = (rng.uniform(0.5, 1.0, n).astype("float16") for n in (9, 60))
    exact = b.astype("float64") / 3
    taps, signal = (xp.asarray(v, dtype="float16") for v in (b, x))
    calls = (
        (lfilter, (signal,), lambda h: scipy.signal.lfilter(h, 1, x)),
        (lfiltic, ([], signal[:4]), lambda h: scipy.signal.lfiltic(h, 1, [], x[:4])),
        (lfilter_zi, (), lambda h: scipy.signal.lfilter_zi(h, 1)),
        (swath.signal.filtfilt, (signal,), lambda h: scipy.signal.filtfilt(h, 1, x)),
    )
    for op, rest, wanted in calls:
        want = wanted(exact)
        for gain in (1.0, 3.0, 3.0):
            got = xp.call(op, taps, gain, *rest)
        assert_close(got, want, dtype="float16", bound=2.0**-11 * (1 + 2.0**-9) * np.abs(want))
    zi = scipy.signal.lfilter_zi(b.astype("float64"), 1).astype("float16")
    for gain in (1.0, 3.0):
        found = xp.call(lfilter, taps, gain, signal, -1, xp.asarray(zi, dtype="float16"))
        want = scipy.signal.lfilter(b.astype("float64") / gain, 1, x, zi=zi)
        for got, exactly in zip(found, want, strict=True):
            allowed = 2.0**-11 * (1 + 2.0**-9) * np.abs(exactly)
            assert_close(got, exactly, dtype="float16", bound=allowed)
