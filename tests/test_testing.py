"""swath.testing: what it accepts, what it must refuse."""

from __future__ import annotations

import numpy as np
import pytest

import swath
from swath.testing import assert_close, check_adjoint, check_vjp, tolerance


def test_assert_close_accepts_what_is_equal_enough(xp, rng):
    x = rng.standard_normal((3, 4))
    assert_close(xp.asarray(x), x)
    assert_close(xp.asarray(x), x, dtype=xp.float)
    assert_close(xp.asarray(x + 1e-3), x, atol=1.1e-3)
    assert_close(xp.asarray(x * (1 + 1e-3)), x, rtol=1.1e-3)
    assert_close(xp.asarray(x * (1 + 1e-3)), x, bound=1.1e-3 * np.abs(x))
    assert_close(x.tolist(), x, dtype="float64")
    assert_close(xp.asarray([1.0, np.nan, np.inf]), np.array([1.0, np.nan, np.inf]))
    assert_close(xp.asarray([1, 2]), np.array([1, 2]))
    assert_close(xp.asarray(np.zeros((0, 3))), np.zeros((0, 3)))


@pytest.mark.parametrize(
    ("actual", "desired", "options", "text"),
    [
        ([1.0, 2.0], [1.0, 2.1], {}, "1 of 2 values differ; worst: 2.0 for 2.1"),
        ([1.0], [[1.0]], {}, r"shape \(1,\), expected \(1, 1\)"),
        ([1.0], [1.0], {"dtype": "int32"}, r"dtype float\d\d, expected int32"),
        ([np.nan], [1.0], {}, "NaNs differ"),
        ([1.0], [np.nan], {}, "NaNs differ"),
        ([np.inf], [-np.inf], {}, "infinities differ"),
        ([1.0], [np.inf], {}, "infinities differ"),
        ([1.0, 2.0], [1.0, 2.5], {"bound": [1.0, 0.4]}, "1 of 2 values differ"),
        ([1, 2], [1, 3], {}, "values differ"),
        ([np.zeros((0, 2)).tolist()], [np.zeros((0, 3)).tolist()], {"dtype": "int8"}, "dtype"),
    ],
)
def test_assert_close_refuses_what_differs(xp, actual, desired, options, text):
    with pytest.raises(AssertionError, match=text):
        assert_close(xp.asarray(actual), np.asarray(desired), **options)


def test_tolerance():
    assert tolerance("float32") == 2 * 2.0**-23
    assert tolerance(np.float64) == 2 * 2.0**-52
    assert tolerance("complex128") == 4 * 2.0**-52
    p = swath.plan(swath.signal.convolve, np.ones(100), np.ones(9), "full", "direct")
    assert tolerance("float64", p) == 2 * 9 * 2.0**-52
    p = swath.plan(swath.signal.convolve, np.ones(100), np.ones(9), "full", "fft")
    assert tolerance("float64", p) == 4 * 2.0**-52 * np.log2(p.points)
    with pytest.raises(ValueError, match="tolerance: dtype must be floating, got 'int8'"):
        tolerance("int8")


def test_checks_need_something_to_check():
    with pytest.raises(AssertionError, match=r"signal\.convolve: no linear floating argument"):
        check_adjoint(swath.signal.convolve, np.ones(3, int), np.ones(2, int))
    with pytest.raises(AssertionError, match=r"signal\.convolve: nothing to differentiate"):
        check_vjp(swath.signal.convolve, np.ones(3, int), np.ones(2, int))
    with pytest.raises(TypeError, match="registered operation"):
        check_vjp(np.convolve, np.ones(3), np.ones(2))


@pytest.mark.parametrize("broken", ["rmatvec", "T"])
@pytest.mark.parametrize(
    "wrong, text",
    [(np.ones((3, 4)), r"shape \(4,\), expected \(2,\)"), (2 * np.ones((3, 2)), "<y, Ax> = ")],
    ids=["another length", "other values"],
)
def test_a_wrong_adjoint_is_caught(broken, wrong, text):
    from scipy.sparse.linalg import aslinearoperator

    right, wrong = aslinearoperator(np.ones((3, 2))), aslinearoperator(wrong)

    class Operator:
        shape, dtype = right.shape, right.dtype
        matvec, rmatvec, T = right.matvec, right.rmatvec, right.T

    check_adjoint(Operator())
    setattr(Operator, broken, getattr(wrong, broken))
    with pytest.raises(AssertionError, match=f"adjoint, {broken}: {text}"):
        check_adjoint(Operator())


def test_checks_look_at_keywords_and_go_by_what_is_allowed(rng, monkeypatch):
    from swath.sliding import product

    x, k = rng.standard_normal(6), rng.standard_normal(3)
    for check in (check_adjoint, check_vjp):
        check(swath.signal.convolve, x, in2=k)
        with pytest.raises(AssertionError, match=r"(adjoint|derivative) in in1"):
            check(swath.signal.convolve, x, k, rtol=-1.0)
    with pytest.raises(AssertionError, match="derivative in a"):
        # So far apart that 1/a is no line in between.
        check_vjp(swath.signal.lfilter, k, np.array([2.0]), x, step=0.5)
    right = product._Product.pull

    def wrong(self, be, *rest):
        first, second = right(self, be, *rest)
        return first, 2 * second

    monkeypatch.setattr(product._Product, "pull", wrong)
    for check in (check_adjoint, check_vjp):
        with pytest.raises(AssertionError, match=r"(adjoint|derivative) in in2"):
            check(swath.signal.convolve, x, in2=k)


def test_checks_return_none(xp):
    x, k = xp.asarray([1.0, 2.0, 3.0]), xp.asarray([1.0, -1.0])
    assert check_adjoint(swath.signal.convolve, x, k) is None
    assert check_vjp(swath.signal.convolve, x, k) is None
    assert assert_close(x, np.array([1.0, 2.0, 3.0])) is None
