"""Savitzky-Golay filters against exact rationals, SciPy and laws of polynomials."""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.signal

import swath
from swath.signal import savgol_coeffs, savgol_filter
from swath.testing import assert_close, check_vjp

COEFFS = pytest.mark.op("signal.savgol_coeffs")
FILTER = pytest.mark.op("signal.savgol_filter")


def exact_weights(length, order, deriv, pos):
    """Weights for a scalar product, by the normal equations in rational numbers.

    They are the smallest weights c with Σ c_i t_i^j = d^deriv t^j at 0 for every power j, so
    c = A^T y with A A^T y the right-hand side.
    """
    t = [Fraction(i) - Fraction(pos) for i in range(length)]
    powers = [[v**j for v in t] for j in range(order + 1)]
    rows = [[sum(a * b for a, b in zip(p, q)) for q in powers] for p in powers]
    right = [Fraction(math.factorial(deriv) if j == deriv else 0) for j in range(order + 1)]
    n = order + 1
    for i in range(n):
        pivot = rows[i][i]  # positive: the matrix is definite
        for k in range(i + 1, n):
            share = rows[k][i] / pivot
            rows[k] = [a - share * b for a, b in zip(rows[k], rows[i])]
            right[k] -= share * right[i]
    y = [Fraction(0)] * n
    for i in reversed(range(n)):
        y[i] = (right[i] - sum(rows[i][k] * y[k] for k in range(i + 1, n))) / rows[i][i]
    return np.array([float(sum(p[i] * v for p, v in zip(powers, y))) for i in range(length)])


@COEFFS
@pytest.mark.on("numpy")
@pytest.mark.parametrize(
    "length, order, deriv, pos",
    [
        (1, 0, 0, 0),
        (5, 2, 0, 2),
        (5, 4, 1, 0),
        (8, 3, 2, Fraction(7, 2)),
        (9, 5, 3, 8),
        (31, 9, 0, 15),
        (31, 9, 1, 0),
        (51, 6, 2, Fraction(9, 4)),
    ],
)
def test_coefficients_equal_exact_rationals(xp, length, order, deriv, pos):
    want = exact_weights(length, order, deriv, pos)
    got = savgol_coeffs(length, order, deriv, pos=float(pos), use="dot")
    # Powers, as SciPy takes them, lose eight digits of the longer windows.
    assert_close(got, want, rtol=2e-14)
    assert_close(savgol_coeffs(length, order, deriv, pos=float(pos)), want[::-1], rtol=2e-14)
    assert_close(savgol_coeffs(length, order, order + 1), np.zeros(length))


@COEFFS
def test_coefficients_go_where_they_are_sent(xp):
    want = scipy.signal.savgol_coeffs(6, 3, 1, 0.5, 2)
    got = xp.call(savgol_coeffs, 6, 3, 1, xp.asarray(0.5), 2)
    assert_close(got, want, dtype=xp.float, atol=8 * xp.eps)
    got = savgol_coeffs(6, 3, 1, 0.5, 2, xp=xp.namespace, device=xp.device, dtype="float32")
    assert type(got) is type(xp.asarray([1.0]))
    assert_close(got, want, dtype="float32", atol=2**-20)


@FILTER
@pytest.mark.parametrize("length", [5, 4])
@pytest.mark.parametrize("mode", ["interp", "mirror", "constant", "nearest", "wrap"])
def test_modes_equal_scipy(xp, rng, length, mode):
    x = rng.standard_normal((2, 9))
    options = {"deriv": 1, "delta": 0.5, "mode": mode, "cval": 1.5}
    got = xp.call(savgol_filter, xp.asarray(x), length, 2, **options)
    want = scipy.signal.savgol_filter(x, length, 2, **options)
    assert_close(got, want, dtype=xp.float, atol=64 * xp.eps)


@FILTER
@pytest.mark.on("numpy", "strict", "torch")
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_axes_orders_and_windows_longer_than_the_signal(xp, rng, axis):
    x = rng.standard_normal((4, 7, 3))
    for length, order, deriv in ((1, 0, 0), (3, 0, 0), (3, 2, 2), (8, 3, 1), (14, 2, 0)):
        for mode in ("interp", "mirror", "constant", "nearest", "wrap"):
            if mode == "interp" and length > x.shape[axis]:
                continue
            got = savgol_filter(xp.asarray(x), length, order, deriv, 1.0, axis, mode)
            want = scipy.signal.savgol_filter(x, length, order, deriv, 1.0, axis, mode)
            assert_close(got, want, atol=1e-12)
    one = savgol_filter(xp.asarray([3.0]), 5, 2, mode="mirror")
    assert_close(one, [3.0], atol=1e-14)


@FILTER
def test_a_polynomial_and_its_slope_are_kept(xp):
    """At the ends too, and by even windows half a sample later."""
    t = np.arange(12) / 4
    x = t**3 - 2 * t + 1
    allowed = 512 * xp.eps * np.max(np.abs(x))
    assert_close(savgol_filter(xp.asarray(x), 7, 3), x, atol=allowed)
    got = savgol_filter(xp.asarray(x), 7, 3, deriv=1, delta=0.25)
    assert_close(got, 3 * t**2 - 2, atol=4 * allowed)
    half = t[3:-3] + 1 / 8
    got = xp.numpy(savgol_filter(xp.asarray(x), 6, 3))[3:-3]
    assert_close(got, half**3 - 2 * half + 1, atol=allowed)


@FILTER
@pytest.mark.on("numpy", "torch", "strict", "jax")
def test_complex_integers_and_spacing_in_an_array(xp, rng):
    z = rng.standard_normal(7) + 1j * rng.standard_normal(7)
    parts = [scipy.signal.savgol_filter(p, 5, 2, 1, 0.25) for p in (z.real, z.imag)]
    got = savgol_filter(xp.asarray(z), 5, 2, 1, xp.asarray(0.25))
    assert_close(got, parts[0] + 1j * parts[1], dtype=xp.complex, atol=256 * xp.eps)
    x = [3, 1, 4, 1, 5, 9, 2]
    got = savgol_filter(xp.asarray(x, dtype="int32"), 5, 2)
    assert_close(got, scipy.signal.savgol_filter(x, 5, 2), rtol=1e-6)


@FILTER
@pytest.mark.on("numpy", "torch")
def test_halves_are_rounded_once(xp, rng):
    x = rng.standard_normal(40).astype("float16")
    want = scipy.signal.savgol_filter(x.astype("float64"), 11, 3)
    got = savgol_filter(xp.asarray(x, dtype="float16"), 11, 3)
    assert_close(got, want, dtype="float16", bound=2**-11 * np.abs(want) + 1e-6)


@FILTER
def test_a_nan_stays_in_its_windows(xp):
    x = np.ones(15)
    x[7] = np.nan
    got = xp.numpy(savgol_filter(xp.asarray(x), 5, 2))
    assert np.isnan(got[5:10]).all()
    assert not np.isnan(np.delete(got, range(5, 10))).any()


@FILTER
@COEFFS
def test_derivatives_in_signal_and_spacing(xp, rng):
    tolerance = {"rtol": 2e-2} if xp.float == "float32" else {}
    x, delta = xp.asarray(rng.standard_normal(8)), xp.asarray([0.5])
    check_vjp(savgol_filter, x, 5, 3, 2, delta, **tolerance)
    check_vjp(savgol_coeffs, 5, 3, 2, delta, **tolerance)


@FILTER
@COEFFS
def test_spacings_in_an_integer_array(xp, rng):
    x, delta = xp.asarray(rng.standard_normal(8)), xp.asarray([3], dtype="int32")
    got = savgol_filter(x, 5, 3, 2, delta)
    assert_close(got, xp.numpy(savgol_filter(x, 5, 3, 2, 3)), rtol=8 * xp.eps, dtype=xp.float)
    got = savgol_coeffs(5, 3, 2, delta, dtype=xp.float)
    assert_close(got, xp.numpy(savgol_coeffs(5, 3, 2, 3)), rtol=8 * xp.eps, atol=8 * xp.eps)


@FILTER
@pytest.mark.on("numpy")
@pytest.mark.parametrize("mode", ["interp", "mirror", "constant", "nearest"])
@pytest.mark.parametrize("length", [1, 4, 5, 8, 9])
def test_in_blocks_it_equals_the_whole(xp, rng, mode, length):
    x = rng.standard_normal((30, 2))
    order = min(2, length - 1)
    want = scipy.signal.savgol_filter(x, length, order, axis=0, mode=mode, cval=1.5)
    fn = functools.partial(
        savgol_filter, window_length=length, polyorder=order, axis=0, mode=mode, cval=1.5
    )
    for block in (1, 2, 3, 7, 29):
        out = np.empty_like(x)
        swath.map_blocks(fn, x, out, axis=0, block=block, progress=False)
        assert_close(out, want, atol=1e-13)
    across = np.empty_like(x)
    swath.map_blocks(fn, x, across, axis=1, block=1, progress=False)
    assert_close(across, want, atol=1e-13)


@FILTER
def test_blocks_that_a_mode_joins_are_refused():
    x = np.ones((9, 2))
    fn = functools.partial(savgol_filter, window_length=5, polyorder=2, axis=0, mode="wrap")
    with pytest.raises(NotImplementedError, match='mode="wrap" joins both ends of axis 0'):
        swath.map_blocks(fn, x, np.empty_like(x), axis=0, progress=False)
    swath.map_blocks(fn, x, x, axis=1, progress=False)
    assert_close(x, np.ones((9, 2)), atol=1e-14)
    fn = functools.partial(savgol_filter, window_length=11, polyorder=2, axis=0)
    with pytest.raises(ValueError, match='mode="interp" needs at least the 11 samples'):
        swath.map_blocks(fn, x, np.empty_like(x), axis=0, progress=False)
