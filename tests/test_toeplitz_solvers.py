"""Toeplitz systems: exact solutions, broken minors, singular matrices, long systems, derivatives.

Right-hand sides are made of whole numbers and columns with few bits, so that b = T x is exact and
x itself is the oracle. JAX compiles the loops once for each method and shape: few of them.
"""

from __future__ import annotations

import tracemalloc

import mpmath
import numpy as np
import pytest
import scipy.linalg

import rows
import swath
from swath.errors import SingularError
from swath.testing import assert_close, check_vjp

solve = swath.linalg.solve_toeplitz
pytestmark = pytest.mark.op("linalg.solve_toeplitz")
DIRECT = ("auto", "levinson", "gko")
METHODS = (*DIRECT, "pcg")
# Outside of `jit` JAX compiles every method by itself: in single precision only.
MOSTLY_COMPILED = pytest.mark.on(*(set(rows.load()) - {"jax"}))


def few_bits(x, bits=12):
    """Values that every dtype holds exactly, and whose sums are exact in double precision."""
    return np.round(x * 2.0**bits) / 2.0**bits


def column(rng, n, kind="real", head=None):
    c = few_bits(rng.standard_normal(n))
    if kind == "complex":
        c = c + 1j * few_bits(rng.standard_normal(n))
    if head is not None:
        c[0] = head
    return c


def whole(rng, *shape, kind="real"):
    x = rng.integers(-8, 9, shape).astype(float)
    return x + 1j * rng.integers(-8, 9, shape) if kind == "complex" else x


def of_pair(xp, c, r, b, **options):
    return xp.call(lambda c, r, b: solve((c, r), b, **options), *map(xp.asarray, (c, r, b)))


def relative(got, want):
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def dense_accuracy(t, b, x):
    """Four times the error of a dense solve; at least a quarter of κ·eps, which any may have."""
    dense = relative(np.linalg.solve(t, b), x)
    return max(4 * dense, np.linalg.cond(t) * 2.0**-54)


# -- accuracy --------------------------------------------------------------------------------------


@MOSTLY_COMPILED
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_every_method_finds_the_solution_of_a_general_system(xp, rng, kind):
    n = 11
    c, r = column(rng, n, kind, 6.0), column(rng, n, kind, 6.0)
    x = whole(rng, n, 2, kind=kind)
    t = scipy.linalg.toeplitz(c, r)

    def all_methods(c, r, b):
        return [solve((c, r), b, method=m, rtol=4 * xp.eps) for m in METHODS]

    found = xp.call(all_methods, *map(xp.asarray, (c, r, t @ x)))
    for got in found:
        assert_close(got, x, rtol=64 * xp.eps * np.linalg.cond(t))


def test_without_a_row_the_matrix_is_hermitian(xp, rng):
    c, x = column(rng, 6, "complex", 5.0), whole(rng, 6, kind="complex")
    t = scipy.linalg.toeplitz(c)
    assert np.array_equal(t, t.conj().T)
    got = xp.call(solve, xp.asarray(c), xp.asarray(t @ x))
    assert_close(got, x, rtol=64 * xp.eps * np.linalg.cond(t))


@pytest.mark.parametrize("method", METHODS)
def test_leading_axes_broadcast_and_one_matrix_takes_many_sides(rng, method):
    c, r = (np.stack([column(rng, 5, head=6.0) for _ in range(6)]) for _ in range(2))
    c, r = c.reshape(2, 1, 3, 5), r.reshape(1, 6, 5)[:, :3]
    b = whole(rng, 4, 1, 1, 3, 5, 2)
    got = solve((c, r), b, method=method)
    assert got.shape == (4, 2, 1, 3, 5, 2)
    for i in np.ndindex(4, 2, 1, 3):
        t = scipy.linalg.toeplitz(c[i[1], 0, i[3]], r[0, i[3]])
        assert_close(got[i], np.linalg.solve(t, b[i[0], 0, 0, i[3]]), rtol=1e-11)
    # One vector for many matrices; one matrix for many right-hand sides.
    got = solve(c, b[0, 0, 0, 0, :, 0], method=method)
    t = [scipy.linalg.toeplitz(v) for v in c[:, 0].reshape(-1, 5)]
    want = np.stack([np.linalg.solve(m, b[0, 0, 0, 0, :, 0]) for m in t]).reshape(2, 1, 3, 5)
    assert_close(got, want, rtol=1e-11)
    got = solve((c[0, 0, 0], r[0, 0]), b, method=method)
    t = scipy.linalg.toeplitz(c[0, 0, 0], r[0, 0])
    assert_close(got, np.linalg.solve(t, b), rtol=1e-11)


def broken(rng, which):
    """Systems that Levinson's recursion cannot solve, with an exact solution."""
    n = 65
    if which == "leading entry 0":
        c, r = column(rng, n, head=0.0), column(rng, n, head=0.0)
    elif which == "leading entry 1e-9, condition 588":
        # One entry was set for the condition number.
        rng = np.random.default_rng(4)
        c, r = column(rng, n, head=2.0**-30), column(rng, n, head=2.0**-30)
        c[7] = -2.2913665771484375
    elif which == "second minor 0":
        c, r = column(rng, n, head=1.0), column(rng, n, head=1.0)
        c[1], r[1] = 2.0, 0.5
    elif which == "third minor nearly 0, complex":
        c, r = column(rng, n, "complex", 1.0), column(rng, n, "complex", 1.0)
        small = np.linalg.det(scipy.linalg.toeplitz(c[:3], r[:3]))
        minor = np.linalg.det(scipy.linalg.toeplitz(c[:3] * [1, 1, 0], r[:3]))
        c[2] = few_bits((c[2] * minor / (minor - small)).real, 26) + 1j * few_bits(
            (c[2] * minor / (minor - small)).imag, 26
        )
    x = whole(rng, n, kind="complex" if np.iscomplexobj(c) else "real")
    t = scipy.linalg.toeplitz(c, r)
    return c, r, x, t, t @ x


BROKEN = (
    "leading entry 0",
    "leading entry 1e-9, condition 588",
    "second minor 0",
    "third minor nearly 0, complex",
)


def test_the_systems_break_levinson(rng):
    """SciPy's function, which is the recursion alone, raises or loses most digits."""
    for which in BROKEN:
        c, r, x, t, b = broken(rng, which)
        try:
            error = relative(scipy.linalg.solve_toeplitz((c, r), b), x)
        except np.linalg.LinAlgError:
            continue
        assert error > 1e3 * relative(np.linalg.solve(t, b), x)
    c, r, _, t, _ = broken(rng, BROKEN[1])
    assert abs(c[0] - 1e-9) < 1e-10
    assert abs(np.linalg.cond(t) - 588) < 1


@pytest.mark.parametrize("method", DIRECT)
@pytest.mark.parametrize("which", BROKEN)
def test_broken_minors_cost_nothing_against_a_dense_solve(rng, which, method):
    c, r, x, t, b = broken(rng, which)
    found = solve((c, r), b, method=method, full_output=True)
    assert found.success
    assert relative(found.x, x) <= dense_accuracy(t, b, x)


@pytest.mark.on("jax-jit", "jax-x32", "torch", "strict", "strict-device1", "dpnp")
def test_broken_minors_on_other_libraries(xp, rng):
    """Compiled it branches on the residual; the systems are a batch, so that some lanes branch."""
    n = 9
    c = np.stack([column(rng, n, head=h) for h in (0.0, 6.0)])
    r = np.stack([column(rng, n, head=h) for h in (0.0, 6.0)])
    x = whole(rng, n, 1)
    t = np.stack([scipy.linalg.toeplitz(*p) for p in zip(c, r, strict=True)])
    found = of_pair(xp, c, r, t @ x, method="levinson", full_output=True)
    assert xp.numpy(found.fallback).tolist() == [True, False]
    assert xp.numpy(found.success).all()
    for got, m in zip(xp.numpy(found.x), t, strict=True):
        assert_close(got, x, rtol=16 * xp.eps * np.linalg.cond(m))


def ill_conditioned(n):
    """A Gaussian blur with a ridge, condition 1e7 or more, in few bits."""
    c = few_bits(np.exp(-0.5 * (np.arange(n) / 3.0) ** 2), 30)
    c[0] += 2.0**-20
    return c


@pytest.mark.parametrize("method", ["levinson", "gko"])
@pytest.mark.parametrize("order", [40, 300])
def test_ill_conditioned_systems_lose_no_more_than_a_dense_solve(rng, order, method):
    c = ill_conditioned(order)
    x = whole(rng, order)
    t = scipy.linalg.toeplitz(c)
    found = solve(c, t @ x, method=method, full_output=True)
    assert relative(found.x, x) <= dense_accuracy(t, t @ x, x)
    # What it says of itself: a bound that holds, and a condition that is right within 3.
    off = np.sum(np.abs(found.x - x)) / np.sum(np.abs(x))
    assert off <= found.error_bound <= 1e4 * off
    true = np.linalg.cond(t, 1)
    assert true / 3 <= found.condition <= 1.1 * true
    assert abs(found.residual - relative(t @ found.x, t @ x)) <= 1e-15


def test_against_fifty_digits(rng):
    """An arbitrary right-hand side, and SciPy's case that Levinson's recursion is unstable on."""
    n = 40
    c = 0.9 ** (np.arange(n) ** 2)
    b = rng.standard_normal(n)
    with mpmath.workdps(50):
        exact = mpmath.lu_solve(
            mpmath.matrix(scipy.linalg.toeplitz(c).tolist()), mpmath.matrix(b.tolist())
        )
        exact = np.array([float(v) for v in exact])
    allowed = dense_accuracy(scipy.linalg.toeplitz(c), b, exact)
    for method in DIRECT:
        assert relative(solve(c, b, method=method), exact) <= allowed


@pytest.mark.parametrize("order", [64, 257])
def test_random_systems_reach_dense_accuracy(order):
    """Thirty of them: the worst ratio of the error to that of a dense solve, and the median."""
    rng = np.random.default_rng(order)
    for method in ("levinson", "gko"):
        ratios = []
        for _ in range(30):
            c, r, x = column(rng, order), column(rng, order), whole(rng, order)
            r[0] = c[0]
            t = scipy.linalg.toeplitz(c, r)
            b = t @ x
            floor = 4 * 2.0**-52
            dense = max(relative(np.linalg.solve(t, b), x), floor)
            ratios.append(relative(solve((c, r), b, method=method), x) / dense)
        assert np.median(ratios) <= 1.5
        assert max(ratios) <= 10


@pytest.mark.on("numpy", "torch", "jax-jit")
def test_many_short_systems_and_a_long_one(xp, rng):
    """Lanes in blocks of a compiled loop, compiled kernels; T known to be regular, and not."""
    for lanes, n, head in ((130, 6, 4.0), (1, 150, 80.0), (1, 150, 0.5)):
        c, r = few_bits(rng.standard_normal((2, lanes, n)))
        c[:, 0] = head
        x = whole(rng, lanes, n, 1)
        t = np.stack([scipy.linalg.toeplitz(*p) for p in zip(c, r, strict=True)])
        got = of_pair(xp, c, r, t @ x, method="levinson")
        worst = np.max(np.linalg.cond(t))
        assert_close(got, x, rtol=64 * xp.eps * worst)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_bounds_of_the_condition_hold(rng, kind):
    from swath._backends import backend_of
    from swath.linalg._toeplitz_systems import _System

    told = 0
    for head in (0.0, -1.0, 3.0, 12.0 if kind == "real" else 12j):
        for _ in range(10):
            c, r = column(rng, 12, kind, head), column(rng, 12, kind, head)
            t = scipy.linalg.toeplitz(c, r)
            s = _System(backend_of(c), c[None], r[None], np.zeros((1, 0, 12), c.dtype))
            true = np.linalg.cond(t, 1)
            bound = s.bound_by_symbol()
            assert bound >= true * (1 - 1e-12)
            told += np.isfinite(bound).item()
            sides = np.linalg.solve(t, s.sides[0].T).T[None]
            assert s.bound_by_inverse(sides) >= true * (1 - 1e-12)
    assert told >= 10


def test_size_does_not_matter(rng):
    c, x = column(rng, 9, head=5.0), whole(rng, 9)
    b = scipy.linalg.toeplitz(c) @ x
    for method in METHODS:
        plain = solve(c, b, method=method)
        assert np.array_equal(solve(c * 2.0**-600, b, method=method), plain * 2.0**600)
        assert np.array_equal(solve(c, b * 2.0**900, method=method), plain * 2.0**900)


# -- singular matrices -----------------------------------------------------------------------------


def singular(n):
    """Of rank 1, of rank 2, circulant with an eigenvalue 0, and 0."""
    k = np.arange(n)
    spectrum = np.cos(2 * np.pi * k / n) + 1
    wave = np.fft.ifft(spectrum).real
    return {
        "rank 1": (np.ones(n), np.ones(n)),
        "rank 2": (np.cos(0.3 * k), np.cos(0.3 * k)),
        "circulant": (wave, np.roll(wave[::-1], 1)),
        "zero": (np.zeros(n), np.zeros(n)),
    }


@pytest.mark.parametrize("method", DIRECT)
@pytest.mark.parametrize("order", [12, 300])
@pytest.mark.parametrize("which", ["rank 1", "rank 2", "circulant", "zero"])
def test_singular_matrices_are_refused_with_the_condition_number(rng, which, order, method):
    c, r = singular(order)[which]
    with pytest.raises(np.linalg.LinAlgError, match="singular to working precision: its") as caught:
        solve((c, r), rng.standard_normal(order), method=method)
    assert isinstance(caught.value, SingularError)
    said = float(str(caught.value).split("estimated as ")[1].split(",")[0])
    assert said >= 1 / 2**-51


def test_singular_matrices_elsewhere(xp, rng):
    """Raised where values can be read; compiled: NaN and no success, in that lane alone."""
    c = np.stack([np.ones(9), column(rng, 9, head=6.0)])
    x = whole(rng, 9, 1)
    b = np.stack([scipy.linalg.toeplitz(v) for v in c]) @ x
    for method in ("auto",) if xp.backend == "jax" else DIRECT:
        if not xp.lazy:
            with pytest.raises(SingularError, match="in at least one of 2 systems"):
                solve(xp.asarray(c), xp.asarray(b), method=method)
            continue
        found = xp.call(solve, xp.asarray(c), xp.asarray(b), method=method, full_output=True)
        assert xp.numpy(found.success).tolist() == [[False], [True]]
        assert np.isnan(xp.numpy(found.x)[0]).all()
        assert_close(found.x[1], x, rtol=1e-12)
        assert xp.numpy(found.condition)[0] >= 1 / xp.eps


@pytest.mark.on("jax-jit")
@pytest.mark.parametrize("method", ["levinson", "pcg"])
def test_compiled_loops_say_that_a_matrix_is_singular(xp, rng, method):
    c, b = np.cos(0.3 * np.arange(9)), rng.standard_normal(9)
    found = xp.call(solve, xp.asarray(c), xp.asarray(b), method=method, full_output=True)
    assert not xp.numpy(found.success)
    assert np.isnan(xp.numpy(found.x)).all()


def test_conjugate_gradients_that_do_not_arrive_say_so(rng):
    c = np.cos(0.3 * np.arange(200))
    with pytest.raises(SingularError, match=r"was left after \d+ steps; T is singular, or so ill-"):
        solve(c, rng.standard_normal(200), method="pcg")
    with pytest.raises(SingularError, match="after 2 steps"):
        solve(0.999 ** np.arange(200), rng.standard_normal(200), method="pcg", maxiter=1)


def test_values_that_are_not_finite_stay_in_their_lane_and_column(xp, rng):
    c = np.stack([column(rng, 5, head=6.0)] * 2)
    c[0, 3] = np.inf
    b = whole(rng, 5, 2)
    b[1, 1] = np.nan
    found = xp.call(solve, xp.asarray(c), xp.asarray(b), full_output=True)
    want = np.full((2, 5, 2), np.nan)
    want[1, :, 0] = np.linalg.solve(scipy.linalg.toeplitz(c[1]), b[:, 0])
    assert_close(found.x, want, rtol=64 * xp.eps)
    assert xp.numpy(found.success).tolist() == [[False, False], [True, False]]


# -- conjugate gradients ---------------------------------------------------------------------------


def autoregressive(n):
    return 0.999 ** np.arange(n)


def blur(n):
    """A Gaussian blur of variance 16, of unit sum, and a ridge of 1e-3."""
    c = np.exp(-0.5 * (np.arange(n) / 4.0) ** 2)
    c /= 2 * c.sum() - c[0]
    c[0] += 1e-3
    return c


@pytest.mark.parametrize("system", [autoregressive, blur])
def test_steps_do_not_grow_with_the_order(rng, system):
    steps = []
    for n in (10**3, 10**4, 10**5):
        c, x = system(n), rng.standard_normal(n)
        b = swath.linalg.matmul_toeplitz(c, x)
        found = solve(c, b, method="pcg", full_output=True)
        assert found.success
        assert not found.fallback
        assert found.residual <= 1e-12
        steps.append(int(found.iterations))
        # The symbol's largest value over its least is what the 2-norm's condition tends to.
        edges = 1999.0**2 if system is autoregressive else 1001.0
        assert 0.05 * edges <= found.condition <= 2.5 * edges
    assert max(steps) <= steps[0] + 1
    assert steps[0] <= 15


@pytest.mark.parametrize("system", [autoregressive, blur])
def test_a_million_unknowns_in_memory_in_proportion(rng, system):
    n = 10**6
    c, x = system(n), rng.standard_normal(n)
    b = swath.linalg.matmul_toeplitz(c, x)
    tracemalloc.start()
    found = solve(c, b)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    rest = b - swath.linalg.matmul_toeplitz(c, found)
    assert np.linalg.norm(rest) <= 1e-12 * np.linalg.norm(b)
    assert peak <= 30 * b.nbytes


def test_general_and_indefinite_systems_go_through_the_normal_equations(rng):
    n = 400
    c, r = 0.5 ** np.arange(n), (-0.7) ** np.arange(n)
    x = whole(rng, n)
    t = scipy.linalg.toeplitz(c, r)
    found = solve((c, r), t @ x, method="pcg", full_output=True)
    assert_close(found.x, x, rtol=1e-10)
    assert not found.fallback
    # Hermitian with eigenvalues of both signs: conjugate gradients break down and give way.
    c = 0.5 ** np.arange(n) * (1 + 0.5j * (np.arange(n) > 0))
    c[0] = -1.5
    t, x = scipy.linalg.toeplitz(c), whole(rng, n, kind="complex")
    values = np.linalg.eigvalsh(t)
    assert values[0] < -0.1
    assert values[-1] > 0.1
    found = solve(c, t @ x, method="pcg", full_output=True)
    assert_close(found.x, x, rtol=1e-9)


def test_a_symmetric_pair_is_seen_to_be_symmetric(rng):
    c, x = 0.9 ** np.arange(500), rng.standard_normal(500)
    b = swath.linalg.matmul_toeplitz(c, x)
    alone, pair = (solve(t, b, method="pcg", full_output=True) for t in (c, (c, c)))
    assert np.array_equal(alone.x, pair.x)
    r = c.copy()
    r[7] *= 1 + 1e-6
    assert solve((c, r), b, method="pcg", full_output=True).iterations > alone.iterations


def test_the_other_preconditioner_where_strangs_is_not_positive(rng):
    from swath._backends import backend_of
    from swath.linalg._toeplitz_iterative import circulant_eigenvalues

    # Sample autocovariances make a positive definite matrix; those of long lags, wrapped, do not.
    n = 64
    sample = rng.standard_normal(n)
    c = np.correlate(sample, sample, "full")[n - 1 :] / n
    c[0] += 0.01
    near = np.concatenate([c[: n // 2 + 1], c[n // 2 - 1 : 0 : -1]])
    assert np.fft.fft(near).real.min() < 0
    found = circulant_eigenvalues(backend_of(c), c[None], c[None], hermitian=True)
    # T. Chan's: the mean of every diagonal and the one that wraps around to it.
    k = np.arange(n)
    optimal = ((n - k) * c + k * np.roll(c[::-1], 1)) / n
    assert_close(found[0], np.fft.fft(optimal).real, rtol=1e-13)
    t = scipy.linalg.toeplitz(c)
    edges = np.linalg.eigvalsh(t)[[0, -1]]
    assert edges[0] * (1 - 1e-10) <= found.min()
    assert found.max() <= edges[1] * (1 + 1e-10)
    x = whole(rng, n)
    assert_close(solve(c, t @ x, method="pcg"), x, rtol=1e-9)


@pytest.mark.on("jax-jit", "jax-x32", "torch", "strict", "dpnp")
def test_conjugate_gradients_on_other_libraries(xp, rng):
    c = np.stack([few_bits(0.5 ** np.arange(12)), few_bits(0.5 ** np.arange(12))])
    c[1, 0] = -0.25  # indefinite: this lane goes on through the normal equations
    x = whole(rng, 12, 1)
    t = np.stack([scipy.linalg.toeplitz(v) for v in c])
    got = xp.call(solve, xp.asarray(c), xp.asarray(t @ x), method="pcg", rtol=100 * xp.eps)
    for lane, m in zip(xp.numpy(got), t, strict=True):
        assert_close(lane, x, rtol=100 * xp.eps * np.linalg.cond(m))


# -- long systems ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["levinson", "gko"])
def test_direct_methods_need_memory_in_proportion(rng, method):
    n = 2500
    c, r, b = rng.standard_normal((3, n))
    c[0] = 0
    tracemalloc.start()
    found = solve((c, r), b, method=method)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 100 * b.nbytes  # a dense matrix takes n times as much
    rest = b - swath.linalg.matmul_toeplitz((c, r), found)
    assert np.linalg.norm(rest) <= 1e-12 * np.linalg.norm(b)


@pytest.mark.on("jax-jit")
@pytest.mark.optimised
def test_ten_thousand_unknowns_compile_to_one_loop(xp):
    """Both recursions and the branch between them: a program whose scratch is vectors."""
    import jax

    n = 10**4
    shape = jax.ShapeDtypeStruct((n,), "float64")
    lowered = jax.jit(lambda c, r, b: solve((c, r), b)).lower(shape, shape, shape)
    assert lowered.as_text().count("\n") < 3000
    assert lowered.compile().memory_analysis().temp_size_in_bytes <= 150 * 8 * n


# -- dtypes, results -------------------------------------------------------------------------------


def test_dtypes_follow_numpy(rng):
    c, b = [4, 1, 2], [1, 0, 3]
    want = np.linalg.solve(scipy.linalg.toeplitz(c), b)
    assert_close(solve(c, b), want, dtype="float64")
    for kind in ("float32", "complex64", "complex128"):
        assert_close(solve(np.array(c, kind), np.array(b, kind)), want, dtype=kind)
    assert_close(solve(np.array(c, "float16"), np.array(b, "float16")), want, dtype="float16")
    assert solve(np.array(c, "float32"), np.array(b)).dtype == np.float32
    assert solve(np.array(c, "float32"), np.array(b, complex)).dtype == np.complex128
    assert solve(np.zeros((2, 0)), np.zeros((0, 3))).shape == (2, 0, 3)
    assert solve(np.ones((2, 3)), np.zeros((3, 0))).shape == (2, 3, 0)
    full = solve(np.zeros(0), np.zeros(0), full_output=True)
    assert full.x.shape == (0,)
    assert full.residual.shape == ()
    assert full.success


def test_the_result_has_the_shape_of_the_right_hand_sides(rng):
    c = np.stack([column(rng, 4, head=6.0)] * 3)
    matrix = solve(c, whole(rng, 2, 1, 4, 5), full_output=True)
    assert matrix.x.shape == (2, 3, 4, 5)
    for name in ("residual", "error_bound", "iterations", "success"):
        assert getattr(matrix, name).shape == (2, 3, 5)
    assert matrix.condition.shape == matrix.fallback.shape == (2, 3)
    assert matrix.method == "dense"
    many = solve(c[0], whole(rng, 2, 3, 4, 5), full_output=True)
    assert many.x.shape == (2, 3, 4, 5)
    assert many.residual.shape == (2, 3, 5)
    assert many.condition.shape == ()
    one = solve(c[0], whole(rng, 4), full_output=True)
    assert one.x.shape == (4,)
    assert one.residual.shape == ()
    # A right-hand side of 0 has the solution 0, without a division by its length.
    none = solve(c[0], np.zeros(4), full_output=True, method="pcg")
    assert not none.x.any()
    assert none.residual == 0
    assert none.success
    assert none.iterations == 0


def test_the_choice_depends_on_shapes_alone():
    def method(n, lanes=1):
        c = np.zeros((lanes, n))
        c[:, 0] = 1
        return solve(c, c[0], full_output=True).method

    assert [method(n) for n in (3, 257, 2**15, 2**15 + 1)] == ["dense", *["levinson"] * 2, "pcg"]
    assert method(200, 100) == "levinson"


# -- derivatives -----------------------------------------------------------------------------------


def pulled_and_slopes(method, kind, rng):
    """The pullback of a pair, and differences of the value along every argument's direction."""
    n = 6
    c, r = column(rng, n, kind, 6.0), column(rng, n, kind, 6.0)
    b = whole(rng, n, 2, kind=kind)
    directions = [whole(rng, *v.shape, kind=kind) for v in (c, r, b)]
    ct = whole(rng, n, 2, kind=kind)
    _, pullback = swath.vjp(solve, (c, r), b, method=method, rtol=1e-15)
    (dc, dr), db = pullback(ct)[:2]
    h = 1e-5
    for i, (d, p) in enumerate(zip(directions, (dc, dr, db), strict=True)):
        sides = []
        for sign in (h, -h):
            moved = [v + sign * d if i == j else v for j, v in enumerate((c, r, b))]
            sides.append(solve((moved[0], moved[1]), moved[2], method=method, rtol=1e-15))
        yield np.sum((sides[0] - sides[1]) / (2 * h) * ct), np.sum(p * d)
    assert dr[0] == 0


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("method", METHODS)
def test_pullback_of_a_pair_equals_differences(rng, method, kind):
    for slope, paired in pulled_and_slopes(method, kind, rng):
        assert abs(slope - paired) <= 1e-7 * (abs(slope) + 1)


@pytest.mark.on("numpy", "torch", "strict")
@pytest.mark.parametrize("method", ["levinson", "gko", "pcg"])
def test_pullback_of_a_column_by_every_method(xp, rng, method):
    c, b = (xp.asarray(v) for v in (column(rng, 5, head=6.0), whole(rng, 5)))
    check_vjp(solve, c, b, method=method, full_output=True)


@pytest.mark.on("jax-jit")
def test_jax_differentiates_the_loops_in_both_modes_and_twice(xp, rng):
    import jax

    n = 5
    arrays = [xp.asarray(v) for v in (column(rng, n, head=6.0), column(rng, n), whole(rng, n))]
    tangents = [xp.asarray(whole(rng, n)) for _ in range(3)]

    def run(method):
        def value(c, r, b):
            return solve((c, r), b, method=method, rtol=1e-15)

        def gradient(*arrays):
            return jax.grad(lambda *a: (value(*a) ** 2).sum() / 2, argnums=(0, 1, 2))(*arrays)

        return *jax.jvp(value, arrays, tangents), *jax.jvp(gradient, arrays, tangents)

    found = xp.call(lambda: [run(m) for m in ("levinson", "pcg")])
    host = [np.asarray(a) for a in arrays]
    moves = [np.asarray(t) for t in tangents]

    def reference(c, r, b):
        x, pullback = swath.vjp(solve, (c, r), b)
        (dc, dr), db = pullback(x)[:2]
        return x, (dc, dr, db)

    h = 1e-5
    ends = [reference(*(a + s * m for a, m in zip(host, moves, strict=True))) for s in (h, -h)]
    x, grads = reference(*host)
    for value, pushed, gradient, second in found:
        assert_close(value, x, rtol=1e-12)
        assert_close(pushed, (ends[0][0] - ends[1][0]) / (2 * h), rtol=1e-7)
        for got, want in zip(gradient, grads, strict=True):
            assert_close(got, want, rtol=1e-11)
        for got, high, low in zip(second, ends[0][1], ends[1][1], strict=True):
            assert_close(got, (high - low) / (2 * h), rtol=1e-6)


@pytest.mark.on("jax-jit")
def test_jax_maps_over_systems_and_over_sides_of_one(xp, rng):
    import jax

    c = xp.asarray(np.stack([column(rng, 9, head=h) for h in (6.0, 0.0)]))
    b = xp.asarray(whole(rng, 2, 9))

    def loss(c, b):
        return (solve(c, b, method="gko") ** 2).sum()

    def run(c, b):
        each = jax.vmap(lambda c, b: solve(c, b, method="levinson"))(c, b)
        slope = jax.vmap(jax.grad(loss), in_axes=(None, 0))(c[0], b)
        return each, slope

    each, slope = xp.call(run, c, b)
    for i in range(2):
        assert_close(each[i], np.asarray(solve(np.asarray(c)[i], np.asarray(b)[i])), rtol=1e-12)
        c0, bi = np.asarray(c)[0], np.asarray(b)[i]
        x, pullback = swath.vjp(solve, c0, bi)
        assert_close(slope[i], pullback(2 * x)[0], rtol=1e-11)


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.on("torch")
def test_torch_differentiates_pairs_twice_and_maps(xp, rng):
    import torch

    arrays = [xp.asarray(v) for v in (column(rng, 5, head=6.0), column(rng, 5), whole(rng, 5))]
    leaves = [a.clone().requires_grad_() for a in arrays]
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        run = lambda c, r, b: solve((c, r), b, method="levinson")  # noqa: E731
        assert check(run, leaves, fast_mode=True)
    c, b = (np.stack([column(rng, 4, head=6.0) for _ in range(2)]) for _ in range(2))
    c[1, 0] = 0.0  # a lane that branches
    for method in METHODS:
        one = lambda c, b, m=method: solve(c, b, method=m, maxiter=5)  # noqa: E731
        each = torch.func.vmap(one)(xp.asarray(c), xp.asarray(b))
        assert_close(each, np.stack([solve(*p) for p in zip(c, b, strict=True)]), rtol=1e-9)
