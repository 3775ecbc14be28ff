"""Products with Toeplitz matrices against the matrices themselves, exact integers, derivatives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg

import oracles_core
import swath
from swath.geometry import Sliding, Span
from swath.sliding import correlate, kernel_gradient, spread
from swath.testing import assert_close

product = swath.linalg.matmul_toeplitz
pytestmark = pytest.mark.op("linalg.matmul_toeplitz")


def gaussian(rng, shape, kind="real"):
    # Values that float32 holds exactly, so that every row sees the same data.
    x, y = (rng.standard_normal(shape).astype("float32").astype(float) for _ in range(2))
    return x + 1j * y if kind == "complex" else x


def of_pair(xp, c, r, x):
    return xp.call(lambda c, r, x: product((c, r), x), *map(xp.asarray, (c, r, x)))


@pytest.mark.parametrize(
    "rows,columns,k,kind",
    [(1, 1, None, "real"), (5, 3, 2, "complex"), (3, 6, None, "complex"), (40, 30, 3, "real")],
)
def test_product_equals_the_matrix(xp, rng, rows, columns, k, kind):
    c, r = gaussian(rng, rows, kind), gaussian(rng, columns, kind)
    x = gaussian(rng, columns if k is None else (columns, k), "real")
    assert_close(of_pair(xp, c, r, x), scipy.linalg.toeplitz(c, r) @ x, rtol=64 * xp.eps)


def test_without_a_row_the_matrix_is_hermitian(xp, rng):
    c, x = gaussian(rng, 5, "complex"), gaussian(rng, (5, 2), "complex")
    c[0] = c[0].real
    matrix = scipy.linalg.toeplitz(c)
    assert np.array_equal(matrix, matrix.conj().T)
    assert_close(xp.call(product, xp.asarray(c), xp.asarray(x)), matrix @ x, rtol=64 * xp.eps)


def test_leading_axes_broadcast(xp, rng):
    c, r = gaussian(rng, (2, 1, 3, 4)), gaussian(rng, (3, 1, 5))
    x = gaussian(rng, (6, 2, 3, 1, 5, 2))
    want = np.empty((6, 2, 3, 3, 4, 2))
    for i in np.ndindex(6, 2, 3, 3):
        t = scipy.linalg.toeplitz(c[i[1], 0, i[3]], r[i[2], 0])
        want[i] = t @ x[i[0], i[1], i[2], 0]
    assert_close(of_pair(xp, c, r, x), want, rtol=64 * xp.eps)
    # One vector, many matrices.
    got = xp.call(product, xp.asarray(c), xp.asarray(c[0, 0, 0]))
    want = [[[scipy.linalg.toeplitz(v) @ c[0, 0, 0] for v in row] for row in part] for part in c]
    assert_close(got, np.array(want), rtol=64 * xp.eps)


@pytest.mark.on("numpy", "jax-jit", "jax-x32", "torch", "strict", "dpnp", "dask")
def test_long_products_keep_the_accuracy_contract(xp, rng):
    """By FFT: relative to the norms of the diagonals and of x."""
    n = 1500
    c, r, x = (gaussian(rng, n) for _ in range(3))
    plan = swath.plan(product, (xp.asarray(c), xp.asarray(r)), xp.asarray(x))
    diagonals = np.concatenate([r[:0:-1], c]).astype(np.longdouble)
    windows = np.lib.stride_tricks.sliding_window_view(diagonals, n)
    want = (windows * x[::-1]).sum(axis=1)
    bound = swath.testing.tolerance(xp.float, plan) * np.linalg.norm(x)
    if plan.method in ("fft", "overlap_save"):
        bound = bound * np.linalg.norm(diagonals)
    else:
        bound = bound * np.linalg.norm(windows, axis=1)
    assert_close(of_pair(xp, c, r, x), want.astype(float), bound=bound)


@pytest.mark.on("numpy")
def test_a_million_points_need_memory_in_proportion(rng):
    import tracemalloc

    n = 10**6
    c, x = rng.standard_normal((2, n))
    tracemalloc.start()
    got = product(c, x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * 8 * n
    for i in (0, 17, n // 2, n - 1):
        want = np.dot(c[np.abs(i - np.arange(n))], x)
        assert abs(got[i] - want) <= 1e-11 * np.linalg.norm(c) * np.linalg.norm(x)


@pytest.mark.on("numpy", "jax-jit", "jax-x32", "torch", "strict", "strict-no-float64")
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32"])
def test_integers_are_exact_modulo_their_range(xp, rng, dtype):
    check_integers(xp, rng, dtype)


# jax-x32 has no 64-bit integers.
@pytest.mark.on("numpy", "jax-jit", "torch", "strict", "strict-no-float64")
def test_long_integers_are_exact_modulo_their_range(xp, rng):
    check_integers(xp, rng, "int64")


# PyTorch has no arithmetic of uint64.
@pytest.mark.on("numpy", "jax-jit", "strict", "strict-no-float64")
def test_long_unsigned_integers_are_exact_modulo_their_range(xp, rng):
    check_integers(xp, rng, "uint64")


def check_integers(xp, rng, dtype):
    """Against Python's integers; 600 columns go through digits, 20 through sums."""
    limits = np.iinfo(dtype)
    for n in (600,) if xp.backend == "jax" else (20, 600):
        c, r = rng.integers(limits.min, limits.max, (2, n), dtype=dtype, endpoint=True)
        x = rng.integers(limits.min, limits.max, (n, 2), dtype=dtype, endpoint=True)
        c[:3], x[-3:] = limits.min, limits.max
        matrix = scipy.linalg.toeplitz(c, r).astype(object)
        want = (matrix @ x.astype(object)) % (1 << limits.bits)
        want = want - (want > limits.max).astype(object) * (1 << limits.bits)
        got = of_pair(xp, c, r, x)
        assert_close(got, want.astype(dtype), dtype=dtype)


def test_integers_beside_floats_take_their_dtype(xp, rng):
    c = rng.integers(-9, 9, 4)
    x = gaussian(rng, 4)
    got = product(xp.asarray(c.astype("int32")), xp.asarray(x))
    assert_close(got, scipy.linalg.toeplitz(c) @ x, rtol=64 * xp.eps, dtype=xp.float)


@pytest.mark.on("numpy", "strict", "strict-device1", "jax-jit", "torch", "dpnp")
def test_pullback_of_a_pair_is_a_pair(xp, rng):
    """<y, T(c, r) x> is trilinear: each cotangent from the matrix's own entries."""
    c, r, x, y = (gaussian(rng, n) for n in (4, 3, 3, 4))

    def pulled(c, r, x, y):
        value, pullback = swath.vjp(product, (c, r), x)
        (c_bar, r_bar), x_bar = pullback(y)[:2]
        return value, c_bar, r_bar, x_bar

    value, *found = xp.call(pulled, *map(xp.asarray, (c, r, x, y)))
    assert_close(value, scipy.linalg.toeplitz(c, r) @ x, rtol=64 * xp.eps)
    matrix = np.outer(y, x)
    c_bar = np.array([np.trace(matrix, -k) for k in range(4)])
    r_bar = np.array([0.0, *(np.trace(matrix, k) for k in (1, 2))])
    x_bar = scipy.linalg.toeplitz(c, r).T @ y
    for got, want in zip(found, (c_bar, r_bar, x_bar), strict=True):
        assert_close(got, want, rtol=64 * xp.eps)


@pytest.mark.on("jax-jit", "torch")
def test_gradients_of_a_pair_equal_the_pullback(xp, rng):
    c, r, x, y = (xp.asarray(gaussian(rng, n, "complex")) for n in (4, 3, 3, 4))
    _, pullback = swath.vjp(product, (c, r), x)
    (c_bar, r_bar), x_bar = pullback(y)[:2]
    if xp.backend == "jax":
        import jax

        def loss(c, r, x):
            return jax.numpy.real(jax.numpy.sum(product((c, r), x) * y))

        found = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(c, r, x)
    else:
        import torch

        leaves = [v.requires_grad_() for v in (c, r, x)]
        loss = torch.sum(product((leaves[0], leaves[1]), leaves[2]) * y).real
        # PyTorch's gradient is the conjugate.
        found = [g.conj().resolve_conj() for g in torch.autograd.grad(loss, leaves)]
    for got, want in zip(found, (c_bar, r_bar, x_bar), strict=True):
        assert_close(got, xp.numpy(want), rtol=64 * xp.eps)


# The others have no float16.
@pytest.mark.on("numpy", "numpy-readonly", "jax", "jax-jit", "jax-x32", "torch")
def test_half_precision_rounds_once(xp, rng):
    c, r, x = (gaussian(rng, 50).astype("float16") for _ in range(3))
    want = scipy.linalg.toeplitz(c, r).astype(float) @ x.astype(float)
    got = of_pair(xp, c, r, x)
    size = np.abs(scipy.linalg.toeplitz(c, r)).astype(float) @ np.abs(x).astype(float)
    assert_close(got, want, bound=2.0**-11 * np.abs(want) + 50 * 2.0**-23 * size, dtype="float16")


@pytest.mark.needs("torch")
def test_mixed_libraries_are_refused():
    import torch

    with pytest.raises(TypeError, match="matmul_toeplitz: c is an array of numpy and r of torch"):
        product((np.ones(2), torch.ones(2)), np.ones(2))
    with pytest.raises(TypeError, match=r"plan: .* is an array of numpy and"):
        swath.plan(product, (np.ones(2), torch.ones(2)), np.ones(2))
    with pytest.raises(ValueError, match="r must be finite"):
        product((np.ones(2), np.array([0.0, np.inf])), np.ones(2), check_finite=True)


def test_bound_library_takes_pairs_of_lists():
    sw = swath.bind("numpy")
    assert_close(sw.linalg.matmul_toeplitz(([1.0, 2.0], [1.0, 3.0]), [1.0, 1.0]), [4.0, 3.0])


@pytest.mark.on("numpy", "strict")
def test_short_transforms_read_no_point_that_wraps_around(xp, rng):
    """Every role of the sliding product by FFT over a grid of geometries, against loops."""
    for n, k, s, d, low, high in itertools.product(
        (1, 5, 9), (1, 3, 4), (1, 2), (1, 2), (-1, 0, 3), (-2, 0, 2)
    ):
        span = Span(n, k, s, d, low, high)
        if span.out == 0:
            continue
        g = Sliding((span,), method="fft")
        arrays = {
            "x": rng.standard_normal((1, 1, n)),
            "w": rng.standard_normal((2, 1, k)),
            "y": rng.standard_normal((1, 2, span.out)),
        }
        for role, core in (("y", correlate), ("x", spread), ("w", kernel_gradient)):
            given = {letter: a for letter, a in arrays.items() if letter != role}
            want = oracles_core.product(g, role, **given)
            pair = [xp.asarray(given[c]) for c in "xwy" if c != role]
            assert_close(core(g, *pair), want, atol=1e-13)
