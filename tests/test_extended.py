"""Arithmetic beyond the working precision against exact rationals, compiled as well."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import swath
from quick_jax import compile_quickly
from swath._backends import backend_of
from swath.linalg import extended
from swath.testing import assert_close

pytestmark = pytest.mark.optimised
KINDS = ["float32", "float64"]


def exact(*words):
    """The sum of some arrays as rationals, in an object array."""
    total = np.zeros(np.shape(words[0]), object)
    for word in words:
        total = total + np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(word)
    return total


def worst(pair, want, scale):
    """Largest error of a pair relative to a scale, as a float."""
    error = abs(exact(*pair) - want)
    return max(float(e) / s for e, s in zip(error.ravel(), np.ravel(scale), strict=True))


def kinds_of(xp):
    return KINDS if xp.x64 else KINDS[:1]


def products_and_sums(a, b, c, d):
    """a·b + c·d, then neighbours added: what fused and reordered operations would spoil."""
    be = backend_of(a)
    hi, *rest = extended.exact_products(be, a, b)
    lo = be.xp.zeros_like(hi)
    for term in (*rest, *extended.exact_products(be, c, d)):
        hi, error = extended.two_sum(hi, term)
        lo = lo + error
    pair = extended.two_sum(hi, lo)
    return extended.add((pair[0][::2], pair[1][::2]), (pair[0][1::2], pair[1][1::2]))


def transposed_product(a, r):
    """Aᵀr by exact products and pairwise sums."""
    be = backend_of(a)
    column = r[:, None] * be.xp.ones_like(a)
    return extended.total(be, extended.multiply(be, (a, be.xp.zeros_like(a)), column), 0)


def test_composed_kernel_is_exact_to_twice_the_precision(xp, rng):
    for kind in kinds_of(xp):
        eps = float(np.finfo(kind).eps)
        a, b, c = (rng.standard_normal(64).astype(kind) for _ in range(3))
        # Products that cancel but for their rounding errors.
        d = (-(a * b) / c).astype(kind)
        got = xp.call(products_and_sums, *(xp.asarray(v) for v in (a, b, c, d)))
        each = exact(a) * exact(b) + exact(c) * exact(d)
        scale = np.abs(a * b).astype(float)
        scale = scale[::2] + scale[1::2]
        assert worst([xp.numpy(v) for v in got], each[::2] + each[1::2], scale) <= 4 * eps**2
        assert worst([xp.numpy(got[0])], each[::2] + each[1::2], scale) <= eps


def transposed_error(xp, rng, kind, shape):
    """Error of `transposed_product` in eps²."""
    a = (rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 3, shape)).astype(kind)
    r = rng.standard_normal(shape[0]).astype(kind)
    # The last entry makes the first sum cancel.
    r[-1] = -(a[:-1, 0] @ r[:-1]) / a[-1, 0]
    # Another function each time: nothing compiled before stands for it.
    got = xp.call(lambda a, r: transposed_product(a, r), xp.asarray(a), xp.asarray(r))
    scale = (np.abs(a).T @ np.abs(r)).astype(float)
    error = worst([xp.numpy(v) for v in got], exact(a).T @ exact(r), scale)
    return error / float(np.finfo(kind).eps) ** 2


@pytest.mark.parametrize("shape", [(37, 3), (64, 8)])
def test_transposed_product_by_pairwise_sums(xp, rng, shape):
    for kind in kinds_of(xp):
        assert transposed_error(xp, rng, kind, shape) <= 30


def dekker(be, a, b):
    """Dekker's product and its error: right where no multiply-add is fused."""
    p = a[0] * b
    (ah, al), (bh, bl) = extended.split(be, a[0]), extended.split(be, b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


@pytest.mark.on("numpy", "jax-jit")
def test_transposed_product_tells_dekkers_product_when_compiled(xp, rng, monkeypatch):
    """XLA fuses it into the sums of larger kernels; smaller ones do not show it."""
    monkeypatch.setattr(extended, "multiply", dekker)
    error = transposed_error(xp, rng, "float64", (64, 8))
    assert (error > 1e6) if xp.mode == "jit" else (error <= 30)


@pytest.mark.op("linalg.gram_extended")
def test_gram_extended_against_rationals(xp, rng):
    for kind in kinds_of(xp):
        eps = float(np.finfo(kind).eps)
        a = (rng.standard_normal((300, 3)) * 10.0 ** rng.uniform(-3, 3, (300, 3))).astype(kind)
        hi, lo = (xp.numpy(v) for v in xp.call(swath.linalg.gram_extended, xp.asarray(a)))
        top = np.abs(a).max(axis=0).astype(float)
        assert hi.dtype == lo.dtype == kind
        assert worst((hi, lo), exact(a).T @ exact(a), np.outer(top, top)) <= 300 * eps**2
        assert np.array_equal(hi, hi.T)
        assert np.all(np.abs(lo) <= 0.5 * np.spacing(np.abs(hi)))


@pytest.mark.on("numpy", "strict-no-float64", "torch")
@pytest.mark.op("linalg.gram_extended")
def test_gram_extended_complex_wild_and_batched(xp, rng):
    z = rng.standard_normal((2, 9, 3)) + 1j * rng.standard_normal((2, 9, 3))
    z = z.astype(xp.complex)
    z[1] *= 2.0 ** np.array([60, 0, -60])
    hi, lo = (xp.numpy(v) for v in swath.linalg.gram_extended(xp.asarray(z)))
    for i in range(2):
        re, im = exact(z[i].real), exact(z[i].imag)
        top = np.abs(z[i]).max(axis=0)
        scale = np.outer(top, top)
        parts = (re.T @ re + im.T @ im, re.T @ im - im.T @ re)
        for part, want in zip(("real", "imag"), parts, strict=True):
            got = getattr(hi[i], part), getattr(lo[i], part)
            assert worst(got, want, scale) <= 100 * xp.eps**2
        assert np.array_equal(hi[i], hi[i].conj().T)


@given(
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
)
@settings(max_examples=30, deadline=None)
def test_slices_add_up_and_their_products_are_exact(rows, columns, seed, kind):
    rng = np.random.default_rng(seed)
    a = (rng.standard_normal((rows, columns)) * 2.0 ** rng.integers(-9, 9, (rows, columns))).astype(
        kind
    )
    be = backend_of(a)
    cut = extended.cut_for(be, a.dtype, rows)
    top = extended.power_above(be, a, -2)
    parts = extended.slices(be, a, top, cut)
    assert np.array_equal(exact(*parts), exact(a))
    for s, part in enumerate(parts):
        unit = top * 2.0 ** (-cut.bits - s * (cut.bits + 1))
        assert np.array_equal(part / unit, np.round(part / unit))
        assert np.all(np.abs(part / unit) <= 2**cut.bits)
    for left in parts:
        for right in parts:
            assert np.array_equal(exact(left.T @ right), exact(left).T @ exact(right))
    b = rng.standard_normal((columns, 2)).astype(kind)
    got = extended.matmul(be, a, b)
    scale = np.abs(a).max(axis=1)[:, None] * np.abs(b).max(axis=0)
    eps = float(np.finfo(kind).eps)
    assert worst(got, exact(a) @ exact(b), scale.astype(float)) <= 8 * columns * eps**2


@pytest.mark.on("jax-jit")
def test_jax_contracts_here_and_not_where_it_compiles_quickly(xp):
    """What the mark `optimised` is for (see quick_jax)."""
    import jax

    x = xp.asarray([1 + 2.0**-30] * 4)
    z = -(x * x)
    rest = []
    for quick in (False, True):
        compile_quickly(quick)
        rest.append(xp.numpy(jax.jit(lambda x, z: x * x + z)(x, z)))
    assert np.all(rest[0] == 2.0**-60)
    assert np.all(rest[1] == 0)


def test_pairs():
    a = np.array([1.0, 1e16, -3.0])
    be = backend_of(a)
    pair = extended.two_sum(a, np.array([1e-20, 1.0, 3.0]))
    assert_close(pair[1], np.array([1e-20, 1.0, 0.0]) * [1, 0, 1] + [0, 1.0, 0], rtol=0)
    third = np.full(3, 1 / 3)
    product = extended.multiply(be, pair, third)
    want = exact(*pair) * exact(third)
    assert worst(product, want, [1.0, 1e16, 1.0]) <= 4 * np.finfo(float).eps ** 2
    hi, lo = extended.distill([np.array(2.0**-80), np.array(1.0), np.array(-1.0), np.array(1.0)])
    assert (hi, lo) == (1.0, 2.0**-80)
    empty = extended.total(be, (np.zeros((0, 2)), np.zeros((0, 2))), 0)
    assert_close(empty[0], np.zeros(2))
    with pytest.raises(ValueError, match="no slices of 24 bits"):
        extended.cut_for(be, np.dtype("float32"), 2**23)


@pytest.mark.on("numpy", "torch", "strict")
def test_subnormal_columns_are_numbers_as_others(xp):
    a = np.array([[1.0, 2.0**-1060], [2.0, 2.0**-1058]])
    hi, lo = swath.linalg.gram_extended(xp.asarray(a))
    assert_close(hi, [[5.0, 9 * 2.0**-1060], [9 * 2.0**-1060, 0.0]], rtol=0)
    assert_close(lo, np.zeros((2, 2)), rtol=0)
