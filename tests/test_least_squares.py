"""Least squares against NumPy, exact rationals, NIST's certified data and laws, on every row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

import rows
import swath
from oracles_linalg import exact_solution, solved_exactly
from swath._backends import Backend, backend_named, stretches, threads
from swath._backends.light import LightBackend, RowsBackend
from swath.errors import RankDeficientError
from swath.linalg import _rows
from swath.testing import assert_close, check_adjoint, check_vjp

linalg = swath.linalg
# Outside of `jit` JAX compiles step by step, seconds for each test: in one precision only, which is
# float32 where accuracy is the matter. Rows of other libraries have the rest.
STEPS_ONCE = pytest.mark.on(*(set(rows.load()) - {"jax-x32"}))
MOSTLY_COMPILED = pytest.mark.on(*(set(rows.load()) - {"jax"}))
NIST = json.loads((Path(__file__).parent / "data" / "nist_linear.json").read_text())["sets"]


def gaussian(rng, *shape, kind="real"):
    # Values that float32 holds exactly, so that every row sees the same data.
    x, y = (rng.standard_normal(shape).astype("float32").astype(float) for _ in range(2))
    return x + 1j * y if kind == "complex" else x


def numpy_lstsq(a, b):
    return np.linalg.lstsq(a, b, rcond=None)[0]


def householder(a, b):
    q, r = np.linalg.qr(a)
    return scipy.linalg.solve_triangular(r, q.T @ b)


# -- the Gram matrix -------------------------------------------------------------------------------


@pytest.mark.op("linalg.gram")
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_gram_is_the_product_and_hermitian_bit_for_bit(xp, rng, kind):
    a, w = gaussian(rng, 2, 7, 4, kind=kind), gaussian(rng, 7)
    h = a.conj().transpose(0, 2, 1)
    got = xp.call(linalg.gram, xp.asarray(a))
    assert_close(got, h @ a)
    host = xp.numpy(got)
    assert np.array_equal(host, host.conj().transpose(0, 2, 1))
    got = xp.call(linalg.gram, xp.asarray(a), weights=xp.asarray(w))
    assert_close(got, h @ (w[:, None] * a))
    host = xp.numpy(got)
    assert np.array_equal(host, host.conj().transpose(0, 2, 1))


@pytest.mark.on("numpy", "torch", "jax-jit", "dask")
@pytest.mark.op("linalg.gram")
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_gram_of_many_rows(xp, rng, kind):
    """More than are taken at a time, and some over."""
    a = rng.standard_normal((5000, 3))
    a = a + 1j * a[::-1] if kind == "complex" else a
    got = xp.call(swath.linalg.gram, xp.asarray(a))
    assert_close(got, a.conj().T @ a, rtol=64 * xp.eps)


@pytest.mark.on("numpy")
@pytest.mark.op("linalg.gram")
def test_gram_of_rows_shared_among_threads(xp, rng, monkeypatch):
    a = rng.integers(-99, 100, (300_001, 6)).astype(float)
    want = (a.T.astype(int) @ a.astype(int)).astype(float)
    seen = []
    monkeypatch.setattr(threads, "count", lambda: 3)
    each = threads.each
    monkeypatch.setattr(
        threads, "each", lambda items, *rest: seen.append(len(items)) or each(items, *rest)
    )
    assert np.array_equal(linalg.gram(a), want)
    assert np.array_equal(linalg.gram(a[:-100_000]), a[:-100_000].T @ a[:-100_000])
    assert seen == [3]


@pytest.mark.op("linalg.gram")
def test_gram_of_integers_is_exact(xp, rng):
    a = rng.integers(-(2**14), 2**14, (6, 3)).astype("int32")
    w = rng.integers(0, 3, 6).astype("int32")
    assert_close(xp.call(linalg.gram, xp.asarray(a)), (a.T @ a).astype("int32"), dtype="int32")
    got = xp.call(linalg.gram, xp.asarray(a), weights=xp.asarray(w))
    assert_close(got, (a.T @ (w[:, None] * a)).astype("int32"), dtype="int32")


def test_gram_of_halves_is_summed_in_single_precision(rng):
    a = rng.standard_normal((4000, 2)).astype("float16")
    exact = a.astype(float).T @ a.astype(float)
    got = linalg.gram(a)
    assert_close(got, exact, rtol=2.0**-11 + 1e-5, dtype="float16")


# -- solutions -------------------------------------------------------------------------------------


@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("shape,kind", [((9, 3), "real"), ((4, 4), "complex"), ((3, 5), "complex")])
def test_equals_numpy(xp, rng, kind, shape):
    a, b = gaussian(rng, *shape, kind=kind), gaussian(rng, shape[0], 2, kind=kind)
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b))
    want = numpy_lstsq(a, b)
    assert_close(got.x, want, rtol=2000 * xp.eps)
    r = b - a @ want
    assert_close(got.residuals, np.sum(np.abs(r) ** 2, axis=0), atol=1e4 * xp.eps**2, rtol=1e-3)
    assert_close(got.rank, np.array(min(shape)))
    assert_close(got.success, np.array(True))


@STEPS_ONCE
@pytest.mark.op("linalg.lstsq")
def test_vectors_matrices_and_batches(xp, rng):
    a, b = gaussian(rng, 2, 5, 3), gaussian(rng, 2, 5)
    each = np.array([numpy_lstsq(a[i], b[i]) for i in range(2)])
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b))
    assert_close(got.x, each, rtol=2000 * xp.eps)
    assert tuple(got.residuals.shape) == (2,)
    assert tuple(got.covariance.shape) == (2, 3, 3)
    # One matrix, a batch of right-hand sides.
    many = gaussian(rng, 2, 4, 5, 2)
    got = xp.call(linalg.lstsq, xp.asarray(a[0]), xp.asarray(many))
    want = np.array([[numpy_lstsq(a[0], many[i, j]) for j in range(4)] for i in range(2)])
    assert_close(got.x, want, rtol=2000 * xp.eps)
    assert tuple(got.stderr.shape) == (2, 4, 3, 2)
    assert tuple(got.residuals.shape) == (2, 4, 2)
    # Many matrices, one vector.
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b[0]))
    assert_close(got.x, np.array([numpy_lstsq(a[i], b[0]) for i in range(2)]), rtol=2000 * xp.eps)


@STEPS_ONCE
@pytest.mark.op("linalg.lstsq")
def test_weights_and_ridge_equal_the_stacked_system(xp, rng):
    a, b = gaussian(rng, 8, 3, kind="complex"), gaussian(rng, 8, kind="complex")
    w, ridge = gaussian(rng, 8) ** 2, np.array([0.5, 0.0, 2.0])
    w[2] = 0
    root = np.sqrt(w)
    got = xp.call(
        linalg.lstsq, xp.asarray(a), xp.asarray(b), weights=xp.asarray(w), ridge=xp.asarray(ridge)
    )
    stacked = np.concatenate([root[:, None] * a, np.diag(np.sqrt(ridge))])
    want = numpy_lstsq(stacked, np.concatenate([root * b, np.zeros(3)]))
    assert_close(got.x, want, rtol=2000 * xp.eps)
    residuals = np.sum(w * np.abs(b - a @ want) ** 2)
    assert_close(got.residuals, residuals, rtol=1000 * xp.eps)
    assert_close(got.dof, np.array(7 - 3))
    wide = xp.call(linalg.lstsq, xp.asarray(a[:2]), xp.asarray(b[:2]), ridge=0.25)
    stacked = np.concatenate([a[:2], 0.5 * np.eye(3)])
    want = numpy_lstsq(stacked, np.concatenate([b[:2], np.zeros(3)]))
    assert_close(wide.x, want, rtol=2000 * xp.eps)


@pytest.mark.op("linalg.lstsq")
def test_integers_become_the_default_float(xp):
    a = xp.asarray(np.array([[1, 0], [1, 1], [1, 2]], "int32"))
    got = xp.call(linalg.lstsq, a, xp.asarray(np.array([1, 2, 3], "int32")))
    assert_close(got.x, np.array([1.0, 1.0]), dtype=xp.float if xp.backend != "torch" else None)


@pytest.mark.on("numpy", "torch", "jax-jit")
@pytest.mark.op("linalg.lstsq", "linalg.project")
def test_halves_are_solved_in_single_precision_and_rounded_once(xp, rng):
    a, b = (rng.standard_normal(shape).astype("float16") for shape in ((9, 3), (9, 2)))
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b))
    want = linalg.lstsq(a.astype(float), b.astype(float))
    for name in ("x", "residuals", "condition", "inverse_root", "stderr"):
        assert_close(getattr(got, name), getattr(want, name), rtol=2.0**-11 + 1e-5, dtype="float16")
    got = xp.call(linalg.project, xp.asarray(a), xp.asarray(b))
    want = linalg.project(a.astype(float), b.astype(float))
    assert_close(got.projection, want.projection, rtol=2.0**-11 + 1e-5, dtype="float16")
    assert_close(got.distance, want.distance, rtol=2.0**-11 + 1e-5, dtype="float16")


# -- accuracy --------------------------------------------------------------------------------------


def design(d, dtype):
    x = np.array([[float(v) for v in row] for row in d["x"]])
    if d["model"][0] == "poly":
        x = x[:, :1] ** np.arange(d["model"][1] + 1)
    elif d["model"][0] == "linear":
        x = np.concatenate([np.ones((len(x), 1)), x], axis=1)
    return x.astype(dtype), np.array([float(v) for v in d["y"]]).astype(dtype)


def digits(x, exact):
    error = np.max(np.abs((np.asarray(x, float) - exact) / exact))
    return min(15.0, -np.log10(max(error, 1e-15)))


@MOSTLY_COMPILED
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("name", ["Norris", "Pontius", "NoInt1"])
def test_nist_sets_have_no_fewer_digits_than_householder_qr_less_half(xp, name):
    (d,) = [d for d in NIST if d["name"] == name]
    a, b = design(d, xp.float)
    exact = exact_solution(a, b)
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b))
    assert digits(xp.numpy(got.x), exact) >= digits(householder(a, b), exact) - 0.5


@pytest.mark.parametrize("name", [d["name"] for d in NIST])
def test_all_nist_sets_on_numpy(name):
    (d,) = [d for d in NIST if d["name"] == name]
    a, b = design(d, "float64")
    exact = exact_solution(a, b)
    got = linalg.lstsq(a, b)
    assert digits(got.x, exact) >= digits(householder(a, b), exact) - 0.5
    assert got.rank == a.shape[1]
    assert got.success
    assert got.dof == d["df"]
    if name not in ("Filip", "Wampler1", "Wampler2"):  # exact fits certify a deviation of 0
        certified = np.array([float(v) for v in d["sd"]])
        assert digits(got.stderr, certified) >= 7
        assert_close(np.sqrt(np.diag(got.covariance)), got.stderr, rtol=1e-10)
        assert digits(got.residuals, float(d["rss"])) >= 9


@MOSTLY_COMPILED
@pytest.mark.op("linalg.lstsq")
def test_forward_error_is_that_of_householder_qr(xp, rng):
    # Conditions far below, just below and beyond the limit where the orthogonal route takes over.
    m, n, trials = 16, 5, 4
    conditions = np.repeat([1 + share * xp.eps ** (-1 / 3) for share in (1e-3, 0.3, 30.0)], trials)
    a, b = np.zeros((len(conditions), m, n), xp.float), np.zeros((len(conditions), m), xp.float)
    for i, condition in enumerate(conditions):
        u, _ = np.linalg.qr(rng.standard_normal((m, n)))
        v, _ = np.linalg.qr(rng.standard_normal((n, n)))
        a[i] = (u * condition ** -np.linspace(0, 1, n)) @ v.T
        b[i] = a[i] @ rng.standard_normal(n) + (i % 2) * 0.1 * rng.standard_normal(m)
    got = xp.numpy(xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b)).x)
    exact = np.array([exact_solution(*pair) for pair in zip(a, b, strict=True)])
    peer = np.array([householder(*pair) for pair in zip(a, b, strict=True)])
    size = np.linalg.norm(exact, axis=1)
    ours, theirs = (np.linalg.norm(v - exact, axis=1) / size for v in (got, peer))
    for group in np.split(np.arange(len(conditions)), 3):
        # The error of one problem is luck; the worst of a few compares the methods.
        assert max(ours[group]) <= 2 * max(theirs[group]) + 4 * n * conditions[group[0]] * xp.eps


@MOSTLY_COMPILED
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("ill", ["none", "one", "all"])
@pytest.mark.parametrize("penalised", [False, True])
def test_batches_of_small_problems_have_the_error_of_householder_qr(xp, rng, ill, penalised):
    # Of the batch every tenth problem is looked at first, none of which is the one.
    which = {"none": slice(0), "one": slice(1, 2), "all": slice(None)}[ill]
    a = gaussian(rng, 8, 16, 4)
    a[which, :, 3] = a[which, :, 0] + 16 * xp.eps**0.5 * a[which, :, 3]
    b = np.sum(a, axis=-1) + gaussian(rng, 8, 16)
    a, b = a.astype(xp.float), b.astype(xp.float)
    options, tall, ends = {}, a.astype(float), b.astype(float)
    if penalised:
        w, ridge = 4.0 ** rng.integers(-3, 4, 16), np.array([1.0, 0.0, 0.0, 0.0])
        more = np.broadcast_to(np.diag(ridge), (8, 4, 4))
        tall = np.concatenate([np.sqrt(w)[:, None] * tall, more], axis=1)
        ends = np.concatenate([np.sqrt(w) * ends, np.zeros((8, 4))], axis=1)
        options = {"weights": xp.asarray(w.astype(xp.float))}
        options |= {"ridge": xp.asarray(ridge.astype(xp.float))}
    many = xp.asarray(np.tile(a, (80, 1, 1))), xp.asarray(np.tile(b, (80, 1)))
    got = xp.call(linalg.lstsq, *many, **options)
    found, squares = xp.numpy(got.x).reshape(80, 8, 4), xp.numpy(got.residuals).reshape(80, 8)
    for i in range(8):
        want = exact_solution(tall[i], ends[i])
        scale = np.linalg.norm(tall[i], axis=0)
        kappa, size = np.linalg.cond(tall[i] / scale), np.linalg.norm(scale * want)
        rest = np.linalg.norm(ends[i] - tall[i] @ want)
        error = np.linalg.norm(scale * (found[:, i] - want), axis=-1)
        assert np.max(error) <= 4 * xp.eps * (kappa * size + kappa**2 * rest)
        weights = w if penalised else 1.0
        rss = np.sum(weights * (b[i].astype(float) - a[i].astype(float) @ want) ** 2)
        bound = 64 * xp.eps * (rss + kappa * size * rest)
        assert np.max(np.abs(squares[:, i] - rss)) <= bound
    assert np.all(xp.numpy(got.rank) == 4)
    assert np.all(xp.numpy(got.success))


@MOSTLY_COMPILED
@pytest.mark.op("linalg.lstsq")
def test_batches_of_small_problems_deficient_or_not_finite(xp, rng):
    a, b = gaussian(rng, 640, 16, 4), gaussian(rng, 640, 16)
    a[2:, :, 3] = a[2:, :, 0] + xp.eps**0.5 * a[2:, :, 3]
    a[0, :, 3], a[1, 5, 2] = a[0, :, 0], np.nan
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b))
    x = xp.numpy(got.x)
    assert_close(x[0], numpy_lstsq(a[0], b[0]), rtol=1e3 * xp.eps)
    assert np.all(np.isnan(x[1]))
    assert np.all(np.isfinite(x[2:]))
    assert xp.numpy(got.rank).tolist() == [3, 0, *[4] * 638]
    rest = xp.numpy(got.residuals)
    rss = np.sum((b[0] - a[0] @ numpy_lstsq(a[0], b[0])) ** 2)
    assert_close(rest[0], rss, rtol=1e3 * xp.eps)
    assert np.isnan(rest[1])
    assert xp.numpy(got.success).tolist() == [True, False, *[True] * 638]


def tall_problems(rng):
    """(A, b) of many rows, of which every eighth is looked at first, by what those say of the rest.

    Entries are integers below 2^9 times powers of two, so that float32 holds them.
    """
    rows_, columns = 8192, 3
    a = rng.integers(-400, 400, (5, rows_, columns)) / 64.0
    a[1, :, 2] = a[1, :, 0] + 2.0**-14 * a[1, :, 2]  # ill-conditioned, in the sample as well
    a[2, ::8, 1] = 0.0  # a column that the sample does not see
    a[3, ::8, 2] = a[3, ::8, 0]  # columns that are dependent in the sample alone
    a[4, 1::8, 2] = 2.0**40 * a[4, 1::8, 2]  # rows that outweigh it
    a[1] = a[1].astype("float32")
    b = a @ np.array([1.0, -2.0, 0.5]) + rng.standard_normal((5, rows_))
    return a, b.astype("float32").astype(float)


@pytest.mark.on("numpy", "numpy-readonly", "torch", "strict", "jax-jit")
@pytest.mark.op("linalg.lstsq")
def test_many_rows_whatever_a_sample_of_them_says(xp, rng):
    a, b = tall_problems(rng)
    w, ridge = 4.0 ** rng.integers(-3, 4, a.shape[1]), np.array([1.0, 0.0, 4.0])
    root = np.sqrt(w)
    stacked = np.stack([np.concatenate([root[:, None] * v, np.diag(np.sqrt(ridge))]) for v in a])
    right = np.concatenate([root * b, np.zeros((5, 3))], axis=1)
    for options, tall, ends in (
        ({}, a, b),
        ({"weights": xp.asarray(w), "ridge": xp.asarray(ridge)}, stacked, right),
    ):
        want = [exact_solution(*pair) for pair in zip(tall, ends, strict=True)]
        # Alone each goes its own way, together they go the longest.
        singles = [] if xp.traced else [slice(i, i + 1) for i in range(5)]
        for place in (*singles, slice(None)):
            got = xp.call(linalg.lstsq, xp.asarray(a[place]), xp.asarray(b[place]), **options)
            which = range(5)[place]
            squares = xp.numpy(got.residuals)
            for i, x, square in zip(which, xp.numpy(got.x).reshape(-1, 3), squares, strict=True):
                # Householder QR's bound in scaled unknowns: the condition squared, the residual.
                scale = np.linalg.norm(tall[i], axis=0)
                kappa = np.linalg.cond(tall[i] / scale)
                size = np.linalg.norm(scale * want[i])
                rest = np.linalg.norm(ends[i] - tall[i] @ want[i])
                bound = kappa * size + kappa**2 * rest
                assert np.linalg.norm(scale * (x - want[i])) <= 4 * xp.eps * bound, i
                rss = np.sum((w if options else 1.0) * (b[i] - a[i] @ want[i]) ** 2)
                assert abs(square - rss) <= 1e-12 * rss + 4 * xp.eps * size * rest, i
            assert np.all(xp.numpy(got.rank) == 3)


@pytest.mark.on("numpy", "torch", "strict", "jax-jit")
@pytest.mark.op("linalg.lstsq")
def test_many_rows_deficient_or_not_finite(xp, rng):
    a, b = tall_problems(rng)
    a[1, :, 2] = a[1, :, 0] - 2 * a[1, :, 1]
    a[2, :, 1] = 0.0
    a[3, 5, 1] = np.nan
    a[4], b[4, 3] = a[0], np.inf
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b))
    x = xp.numpy(got.x)
    for i in range(3):
        assert_close(x[i], np.linalg.lstsq(a[i], b[i], rcond=1e-11)[0], rtol=1e-9)
    assert np.isnan(x[3:]).all()
    assert_close(got.rank, np.array([3, 2, 2, 0, 3]))
    assert_close(got.success, np.array([True, True, True, False, False]))


@pytest.mark.on("numpy", "torch", "strict", "jax-jit")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("kind", ["well", "ill", "rest is ill", "sample is ill", "deficient"])
def test_one_tall_matrix_whatever_a_sample_of_its_rows_says(xp, rng, kind):
    # So many entries that PyTorch takes a sample too; it is of every 128th row.
    a = rng.standard_normal((2**17, 6))
    taken = np.arange(2**17) % 128 == 0
    bad = {"well": ~taken & taken, "rest is ill": ~taken, "sample is ill": taken}
    turn, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    a = np.where(
        bad.get(kind, taken | ~taken)[:, None], a @ (turn * 10.0 ** -np.arange(6)) @ turn.T, a
    )
    if kind == "rest is ill":
        a[~taken] *= 2.0**30
    if kind == "deficient":
        a[:, 4] = a[:, 1] - a[:, 2]
    x = rng.standard_normal(6)
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(a @ x))
    if kind == "deficient":
        assert_close(a @ xp.numpy(got.x), a @ x, rtol=1e-9)
        assert int(got.rank) == 5
        return
    kappa = np.linalg.cond(a / np.linalg.norm(a, axis=0))
    assert_close(got.x, x, rtol=16 * kappa * xp.eps)
    assert_close(got.condition, kappa, rtol=2.0)
    assert int(got.rank) == 6


@pytest.mark.on("numpy", "torch", "strict")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_rows_of_many_blocks_count_to_the_last(xp, rng, kind):
    # PyTorch factors 16 MiB at a time; behind whole blocks comes a row that outweighs them.
    rows_ = 2 * (2**24 // (4 * (16 if kind == "complex" else 8))) + 1
    a, b = (gaussian(rng, *shape, kind=kind) for shape in ((rows_, 3), (rows_,)))
    a[-1], b[-1] = 2.0**20 * a[-1], 2.0**10
    want = numpy_lstsq(a, b)
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b))
    # The condition of scaled columns is about 2^9: a row of 2^20 beside a length of 2^9.
    assert_close(got.x, want, rtol=2**12 * xp.eps)
    assert abs(b[-1] - a[-1] @ want) < 2.0
    rest = b - a @ want
    assert_close(got.residuals, np.vdot(rest, rest).real, rtol=2**12 * xp.eps)


@pytest.mark.on("torch")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("shape", [(50, 5), (600, 16, 4), (3, 5)])
@pytest.mark.parametrize("accuracy", ["standard", "full"])
def test_small_matrices_in_shared_memory_are_solved_as_numpys(xp, rng, shape, accuracy):
    a, b = gaussian(rng, *shape), gaussian(rng, *shape[:-1])
    ridge, w = rng.uniform(0, 2, shape[-1]), rng.uniform(0.5, 2, shape[-2])
    for options in ({}, {"weights": w}, {"ridge": ridge}):
        given = {name: xp.asarray(v) for name, v in options.items()}
        kept = xp.asarray(a), xp.asarray(b)
        got = linalg.lstsq(*kept, accuracy=accuracy, **given)
        want = linalg.lstsq(a, b, accuracy=accuracy, **options)
        for name in ("x", "residuals", "rank", "condition", "stderr", "dof", "success"):
            assert np.array_equal(
                xp.numpy(getattr(got, name)), getattr(want, name), equal_nan=True
            ), name
        assert np.array_equal(xp.numpy(kept[0]), a)
        assert np.array_equal(xp.numpy(kept[1]), b)


def rows_of_a_kind(rng, kind):
    m, n = 2**17 + 5, 1 if kind == "one column" else 10
    a = gaussian(rng, m, n)
    if kind == "ill":
        a[:, 4] = a[:, 1] + 2.0**-18 * a[:, 4]
    if kind == "dependent":
        a[:, 4] = a[:, 1] - a[:, 2]
    if kind == "not finite":
        a[-1, 3] = np.nan
    if kind == "far from its sample":
        a[1::2, 5] *= 2.0**20
    return a, gaussian(rng, m, 3) if kind == "many sides" else gaussian(rng, m)


KINDS_OF_ROWS = (
    "well", "ill", "dependent", "not finite", "far from its sample", "one column", "many sides"
)  # fmt: skip


@pytest.mark.on("numpy", "numpy-readonly", "torch")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("kind", KINDS_OF_ROWS)
def test_rows_shared_among_threads_count_as_one_after_another(
    xp, rng, monkeypatch, kind, penalised
):
    a, b = rows_of_a_kind(rng, kind)
    given = xp.asarray(a), xp.asarray(b)
    options = {}
    if penalised:
        options["weights"] = xp.asarray(rng.random(len(a)) + 0.5)
        options["ridge"] = xp.asarray(rng.random(a.shape[1]))
    made, found = [], []
    gram = RowsBackend.gram
    monkeypatch.setattr(RowsBackend, "gram", lambda be, v: made.append(v.shape) or gram(be, v))
    for most, count in ((0, 1), (0, 3), (1 << 40, 3)):
        monkeypatch.setattr(Backend, "many_rows", most)
        monkeypatch.setattr(threads, "count", lambda count=count: count)
        made.clear()
        got = linalg.lstsq(*given, **options)
        assert bool(made) == (most == 0)
        names = ("x", "residuals", "rank", "condition", "stderr", "dof", "success")
        found.append([xp.numpy(getattr(got, name)) for name in names])
    one, many, plain = found
    assert all(np.array_equal(u, v, equal_nan=True) for u, v in zip(one, many, strict=True))
    assert np.array_equal(one[-1], plain[-1])
    assert np.array_equal(one[2], plain[2])
    for u, v in zip(one[:2] + one[4:5], plain[:2] + plain[4:5], strict=True):
        assert_close(u, v, rtol=1e-12 * max(1.0, min(float(plain[3]), 1e6)))
    assert np.array_equal(xp.numpy(given[0]), a, equal_nan=True)


@pytest.mark.on("numpy", "torch")
@pytest.mark.op("linalg.lstsq")
def test_full_accuracy_of_rows_that_could_be_shared(xp, rng, monkeypatch):
    monkeypatch.setattr(Backend, "many_rows", 0)
    a, b = gaussian(rng, 3000, 4), gaussian(rng, 3000)
    got = linalg.lstsq(xp.asarray(a), xp.asarray(b), accuracy="full")
    assert bool(got.success)
    assert_close(got.x, numpy_lstsq(a, b), rtol=1e-13)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_triangles_of_many_small_matrices_equal_scipys(rng, kind):
    be = backend_named("numpy")
    a, b = gaussian(rng, 2, 3, 9, 5, kind=kind), gaussian(rng, 2, 3, 5, 4, kind=kind)
    g = a.conj().mT @ a
    factor = be.cholesky(g)
    assert_close(factor, np.linalg.cholesky(g), rtol=1e-13)
    assert_close(be.upper_inverse(factor), np.linalg.inv(factor.conj().mT), rtol=1e-12)
    for lower in (True, False):
        t = factor if lower else factor.conj().mT
        for transpose in (True, False):
            got = be.solve_triangular(t, b, lower=lower, transpose=transpose)
            for i in np.ndindex(2, 3):
                want = scipy.linalg.solve_triangular(t[i], b[i], lower=lower, trans=int(transpose))
                assert_close(got[i], want, rtol=1e-12)


@pytest.mark.on("torch")
@pytest.mark.op("linalg.lstsq")
def test_standard_errors_of_a_batch_in_parts_have_derivatives(xp, rng, monkeypatch):
    import torch

    a, b = gaussian(rng, 40, 70, 3), gaussian(rng, 40, 70)
    found = []
    for size in (1 << 23, 1 << 14):
        monkeypatch.setattr(_rows, "_BATCH", size)
        given = xp.asarray(a).requires_grad_(True)
        got = linalg.lstsq(given, xp.asarray(b)).stderr
        found.append((got.detach(), *torch.autograd.grad(got.sum(), given)))
    for whole, parts in zip(*found, strict=True):
        assert_close(parts, whole, rtol=1e-12)


@pytest.mark.on("numpy", "torch")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("kind", KINDS_OF_ROWS)
def test_kernels_of_small_matrices_count_as_those_of_large_ones(xp, rng, monkeypatch, kind):
    a, b = rows_of_a_kind(rng, kind)
    found, made = [], []
    product = LightBackend.gram
    monkeypatch.setattr(LightBackend, "gram", lambda be, v: made.append(be) or product(be, v))
    for kernels in (False, True):
        monkeypatch.setattr(stretches, "quick", lambda kernels=kernels: kernels)
        made.clear()
        found.append(linalg.lstsq(xp.asarray(a[: 2**16]), xp.asarray(b[: 2**16])))
    assert made
    few, many = found
    assert int(few.rank) == int(many.rank)
    rtol = 1e-12 * max(1.0, min(float(few.condition), 1e6))
    for name in ("x", "residuals", "stderr"):
        assert_close(xp.numpy(getattr(many, name)), xp.numpy(getattr(few, name)), rtol=rtol)


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 64, 1500, 5000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gram_matrices_by_blocks_are_exact_of_integers(rng, monkeypatch, dtype, rows, kernels):
    monkeypatch.setattr(stretches, "quick", lambda: kernels)
    for n in range(1, 70):
        a = rng.integers(-9, 10, (2, rows, n)).astype(dtype)
        want = np.einsum("...ij,...ik->...jk", a, a, optimize=False)
        assert np.array_equal(stretches.gram(a[0]), want[0]), n
        found = np.full((2, n, n), np.nan, dtype)
        stretches.grams(a, found)
        assert np.array_equal(found, want), n


@pytest.mark.parametrize("k", [1, 2, 20])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("m", [0, 1, 511, 8192, 30_001])
def test_products_in_stretches_of_rows_are_exact_of_integers(rng, m, n, k):
    a, b, c = (rng.integers(-99, 100, shape).astype(float) for shape in ((m, n), (n, k), (m, k)))
    assert np.array_equal(stretches.sums(c, c), np.sum(c * c, axis=0))
    if m >= n:
        assert np.array_equal(stretches.product(a, b), np.einsum("ij,jk->ik", a, b))
        assert np.array_equal(stretches.product(c.T, a), np.einsum("ij,ik->jk", c, a))
        assert np.array_equal(stretches.gram(a), np.einsum("ij,ik->jk", a, a))


# -- full accuracy ---------------------------------------------------------------------------------


def embedded(a, b):
    """The real system of a complex one."""
    re = np.block([[a.real, -a.imag], [a.imag, a.real]])
    return re, np.concatenate([b.real, b.imag])


@pytest.mark.on("numpy", "torch", "strict-no-float64", "jax-jit", "dpnp")
@pytest.mark.op("linalg.lstsq")
def test_full_accuracy_with_weights_ridge_complex_and_batches(xp, rng):
    # Powers of two: the stacked reference is exact.
    a, b = gaussian(rng, 2, 9, 3), gaussian(rng, 2, 9, 2)
    a[..., 2] = a[..., 0] + 2.0 ** (-12 if xp.x64 else -5) * a[..., 2]
    a = a.astype(xp.float).astype(float)
    w, ridge = 4.0 ** rng.integers(-3, 4, (2, 9)), 4.0 ** rng.integers(-9, -3, 3)
    got = xp.call(
        linalg.lstsq, xp.asarray(a), xp.asarray(b), weights=xp.asarray(w),
        ridge=xp.asarray(ridge), accuracy="full",
    )  # fmt: skip
    assert xp.numpy(got.success).all()
    for i in range(2):
        rows_ = np.concatenate([np.sqrt(w[i])[:, None] * a[i], np.diag(np.sqrt(ridge))])
        for j in range(2):
            right = np.concatenate([np.sqrt(w[i]) * b[i, :, j], np.zeros(3)])
            want = exact_solution(rows_, right)
            assert_close(xp.numpy(got.x)[i, :, j], want, rtol=xp.eps, atol=0)
    if xp.traced:
        return
    z, y = gaussian(rng, 6, 2, kind="complex"), gaussian(rng, 6, kind="complex")
    got = linalg.lstsq(xp.asarray(z), xp.asarray(y), accuracy="full", method="cholesky_qr")
    want = exact_solution(*embedded(z, y))
    assert_close(got.x, want[:2] + 1j * want[2:], rtol=4 * xp.eps)
    # Fewer rows than columns: x = Aᵀy with A Aᵀ y = b.
    c, d = gaussian(rng, 2, 5), gaussian(rng, 2)
    got = linalg.lstsq(
        xp.asarray(c), xp.asarray(d), weights=xp.asarray([0.3, 2.0]), accuracy="full"
    )
    assert bool(xp.numpy(got.success))
    assert_close(got.x, np.linalg.lstsq(c, d, rcond=None)[0], rtol=8 * xp.eps)


@pytest.mark.on("numpy", "torch", "jax-jit", "strict")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("weighted", [False, True])
def test_full_accuracy_of_fewer_rows_than_columns(xp, rng, weighted):
    """x = Aᵀ (A Aᵀ)⁻¹ b in rationals; b that is not finite gives NaN in its own column."""
    a, b = gaussian(rng, 3, 5), gaussian(rng, 3, 3)
    a[2] = a[0] - a[1] + 2.0**-20 * a[2]
    b[1, 1], b[0, 2] = np.inf, np.nan
    # The minimum norm is the same whatever the weights.
    w = np.array([0.3, 2.0e6, 1.0e-5]) if weighted else np.ones(3)
    weights = {"weights": xp.asarray(w)} if weighted else {}
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b), accuracy="full", **weights)
    rows_ = [[Fraction(v) for v in row] for row in a]
    gram = [[sum(u * v for u, v in zip(p, q, strict=True)) for q in rows_] for p in rows_]
    y = solved_exactly(gram, [Fraction(v) for v in b[:, 0]])
    want = [float(sum(v * u for v, u in zip(y, column, strict=True))) for column in zip(*rows_)]
    x = xp.numpy(got.x)
    assert np.max(np.abs(x[:, 0] - want)) <= 2 * xp.eps * np.max(np.abs(want))
    assert np.isnan(x[:, 1:]).all()
    allowed = np.max(w) * (8 * xp.eps * np.max(np.abs(a)) * np.max(np.abs(want))) ** 2
    assert 0 <= xp.numpy(got.residuals)[0] <= allowed
    assert_close(got.success, np.array(False))
    # In working precision too the residual is that of the x returned.
    c = np.stack([a[0], a[1], a[0] - a[1] + 2.0**-10 * gaussian(rng, 5)])
    got = xp.call(linalg.lstsq, xp.asarray(c), xp.asarray(b[:, 0]), **weights)
    reach = 8 * xp.eps * np.max(np.abs(c)) * np.max(np.abs(xp.numpy(got.x)))
    assert 0 <= xp.numpy(got.residuals) <= np.sum(w) * reach**2
    # Equations that cannot all be met: 1000·x₀ = 1 and 1000·x₀ = 2.
    a, b = np.array([[1000.0, 0, 0], [1000.0, 0, 0]]), np.array([1.0, 2.0])
    weights = {"weights": xp.asarray([1.0, 4.0])} if weighted else {}
    for accuracy in ("standard", "full"):
        got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b), accuracy=accuracy, **weights)
        assert_close(got.x, np.array([0.0018 if weighted else 0.0015, 0, 0]), rtol=16 * xp.eps)
        assert_close(got.residuals, np.array(0.8 if weighted else 0.5), rtol=64 * xp.eps)


@pytest.mark.on("numpy", "jax-jit", "strict")
@pytest.mark.op("linalg.lstsq")
def test_full_accuracy_in_slabs_of_rows(xp, rng):
    # The last slab is not full.
    a, b, w = gaussian(rng, 601, 2), gaussian(rng, 601), 4.0 ** rng.integers(-3, 4, 601)
    want = exact_solution(np.sqrt(w)[:, None] * a, np.sqrt(w) * b)
    with swath.workspace(1000):
        got = xp.call(
            linalg.lstsq, xp.asarray(a), xp.asarray(b), weights=xp.asarray(w), accuracy="full"
        )
    assert_close(got.x, want, rtol=xp.eps)
    assert_close(got.residuals, np.sum(w * (b - a @ want) ** 2), rtol=1000 * xp.eps)


@given(st.integers(1, 4), st.integers(0, 5), st.integers(0, 2**32 - 1), st.integers(0, 11))
@settings(max_examples=40, deadline=None)
def test_full_accuracy_is_right_or_says_that_it_is_not(n, more, seed, closeness):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n + more, n)) * 10.0 ** rng.integers(-150, 151, n)
    if n > 1:
        a[:, 1] = a[:, 0] + 10.0**-closeness * np.max(np.abs(a[:, 0])) * rng.standard_normal(len(a))
    b = rng.standard_normal(n + more) * 10.0 ** rng.integers(-3, 4)
    got = linalg.lstsq(a, b, accuracy="full")
    if got.condition <= 0.1 / (n * np.finfo(float).eps):
        assert got.success
    if got.success:
        want = exact_solution(a, b)
        scale = 1 / np.max(np.abs(a), axis=0)
        assert np.max(np.abs(got.x - want) / scale) <= 4 * 2.0**-52 * np.max(np.abs(want) / scale)


@pytest.mark.on("numpy", "torch", "jax-jit", "strict")
@pytest.mark.op("linalg.lstsq", "linalg.cholesky_qr")
def test_conditions_up_to_one_over_eps(xp, rng):
    for power in (7, 11, 13.5) if not xp.traced else (11,):
        u, _ = np.linalg.qr(rng.standard_normal((40, 4)))
        v, _ = np.linalg.qr(rng.standard_normal((4, 4)))
        a = (u * 10.0 ** -np.linspace(0, power, 4)) @ v.T
        # A residual as large as the data: errors of Aᵀr are amplified by the condition's square.
        b = a @ np.ones(4) + rng.standard_normal(40)
        got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b), accuracy="full")
        want = exact_solution(a, b)
        assert bool(xp.numpy(got.success))
        assert np.max(np.abs(xp.numpy(got.x) - want)) <= 2 * xp.eps * np.max(np.abs(want))
        q, r = (xp.numpy(v) for v in xp.call(linalg.cholesky_qr, xp.asarray(a)))
        assert np.max(np.abs(q.T @ q - np.eye(4))) <= 40 * xp.eps
        assert np.max(np.abs(q @ r - a)) <= 40 * xp.eps
        assert np.array_equal(np.triu(r), r)
        assert np.all(np.diag(r) > 0)


@pytest.mark.op("linalg.cholesky_qr")
def test_cholesky_qr_complex_batched_and_of_dependent_columns(xp, rng):
    a = gaussian(rng, 2, 7, 3, kind="complex")
    q, r = (xp.numpy(v) for v in xp.call(linalg.cholesky_qr, xp.asarray(a)))
    assert_close(q @ r, a.astype(xp.complex), rtol=50 * xp.eps)
    assert_close(q.conj().transpose(0, 2, 1) @ q, np.stack([np.eye(3)] * 2), atol=20 * xp.eps)
    assert np.all(np.diagonal(r, axis1=1, axis2=2).real > 0)
    if xp.lazy:
        q, _ = xp.call(linalg.cholesky_qr, xp.asarray(np.ones((2, 7, 3)) + 0j))
        assert np.isnan(xp.numpy(q)).all()
        return
    with pytest.raises(RankDeficientError, match="dependent to working precision"):
        linalg.cholesky_qr(xp.asarray(np.ones((3, 2))))


def test_rcond_counts_where_the_condition_is_small():
    got = linalg.lstsq(np.array([[1.0, 1.0], [0.0, 0.01], [0.0, 0.0]]), np.ones(3), rcond=0.1)
    assert got.rank == 1


@pytest.mark.op("linalg.gram", "linalg.lstsq")
@pytest.mark.on("numpy", "torch", "jax")
@pytest.mark.parametrize("shape", [(9000, 30), (3000, 201)])
def test_products_of_tall_matrices_in_single_precision(xp, rng, shape):
    """As layers of 1×1 kernels on PyTorch, where nothing forbids it."""
    m, n = shape
    a = rng.uniform(0.5, 1.5, shape).astype(np.float32)
    a[5, 3] = 0
    exact = a.astype(float).T @ a
    aligned, turned = xp.asarray(a), xp.asarray(np.ascontiguousarray(a.T)).T
    for laid_out in (aligned, turned):
        got = linalg.gram(laid_out)
        assert_close(got, exact, dtype="float32", rtol=50 * float(np.finfo(np.float32).eps))
        assert np.array_equal(xp.numpy(got), xp.numpy(got).T)
    # A condition at which the columns are made orthogonal by a product with a triangle.
    a = (a * (1 + np.arange(n) % 3) + 30 * np.ones((m, 1))).astype(np.float32)
    b = (a @ rng.standard_normal(n) + rng.standard_normal(m)).astype(np.float32)
    got = linalg.lstsq(xp.asarray(a), xp.asarray(b))
    left = b.astype(float) - a.astype(float) @ xp.numpy(got.x).astype(float)
    want = np.linalg.lstsq(a.astype(float), b.astype(float), rcond=None)
    assert int(got.rank) == n
    assert np.sum(left**2) <= want[1][0] * (1 + 1e-5)


@pytest.mark.op("linalg.lstsq", "linalg.independent_columns")
@pytest.mark.on("numpy", "torch", "jax")
def test_columns_of_many_rows_in_single_precision_keep_their_rank(xp, rng):
    """max(m, n)·eps is 0.07 here; sums of so many products leave no bits to cut factors at."""
    m = 600_000
    a = np.stack([np.ones(m), np.linspace(3, 4, m)], axis=1).astype(np.float32)
    b = (a @ [1.0, 2.0] + 0.1 * rng.standard_normal(m)).astype(np.float32)
    want = np.linalg.lstsq(a.astype(float), b.astype(float), rcond=None)[0]
    for method in ("auto", "cholesky_qr"):
        got = linalg.lstsq(xp.asarray(a), xp.asarray(b), method=method)
        assert int(got.rank) == 2
        assert_close(got.x, want, dtype="float32", rtol=3e-5)
    dependent = np.concatenate([a, a[:, :1] + a[:, 1:]], axis=1)
    assert int(linalg.lstsq(xp.asarray(dependent), xp.asarray(b)).rank) == 2
    assert linalg.independent_columns(xp.asarray(a)) == (0, 1)


def test_wide_with_ridge_needs_nothing_of_the_size_of_its_columns():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 40_000)), rng.standard_normal(3)
    got = linalg.lstsq(a, b, ridge=2.0)
    want = a.T @ np.linalg.solve(a @ a.T + 2 * np.eye(3), b)
    assert_close(got.x, want, rtol=1e-12)
    assert_close(got.residuals, np.sum((b - a @ want) ** 2), rtol=1e-9)


# -- rank ------------------------------------------------------------------------------------------


def deficient(rng, kind="real"):
    a = gaussian(rng, 7, 4, kind=kind)
    a[:, 2] = a[:, 0] - 2 * a[:, 1]
    return np.round(a * 64) / 64  # dependent exactly, in float32 as well


@STEPS_ONCE
@pytest.mark.op("linalg.lstsq")
def test_deficient_rank_gives_the_solution_of_least_norm(xp, rng):
    kind = "complex"
    a = deficient(rng, kind)
    a[:, 2] = a[:, 0] - 2 * a[:, 1]
    b = gaussian(rng, 7, kind=kind)
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b))
    want = np.linalg.pinv(a, rcond=1e-10) @ b
    assert_close(got.x, want, rtol=2000 * xp.eps)
    assert_close(got.rank, np.array(3))
    assert_close(got.dof, np.array(4))
    assert_close(got.success, np.array(True))
    g = np.linalg.pinv(a.conj().T @ a, rcond=1e-10)
    assert_close(got.unscaled_covariance, g, rtol=1e4 * xp.eps)
    assert float(xp.numpy(got.condition)) > 0.01 / xp.eps


def dependent(rng, m, kind="real"):
    """Forty columns of lengths within eight of each other, of which two depend on others."""
    a = gaussian(rng, m, 40, kind=kind) * 2.0 ** (np.arange(40) % 4)
    a[:, 7] = a[:, 3]
    a[:, 20] = a[:, 0] - 2 * a[:, 1]
    return a


@MOSTLY_COMPILED
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("m", [700, 9000])
def test_dependent_columns_of_a_tall_matrix_whose_others_are_well_conditioned(xp, rng, m, kind):
    a, b, w = dependent(rng, m, kind), gaussian(rng, m, 2, kind=kind), rng.random(m) + 0.5
    root = np.sqrt(w)[:, None]
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b), weights=xp.asarray(w))
    assert_close(got.x, np.linalg.pinv(root * a, rcond=1e-6) @ (root * b), rtol=100 * xp.eps)
    assert_close(got.rank, np.array(38))
    assert float(xp.numpy(got.condition)) > 0.001 / xp.eps
    g = np.linalg.pinv(a.conj().T @ (w[:, None] * a), rcond=1e-10)
    assert_close(got.unscaled_covariance, g, rtol=1000 * xp.eps)
    # Rows that depend on others, and right-hand sides that they contradict.
    b = gaussian(rng, 40, kind=kind)
    got = xp.call(linalg.lstsq, xp.asarray(a.T), xp.asarray(b))
    assert_close(got.x, np.linalg.pinv(a.T, rcond=1e-6) @ b, rtol=100 * xp.eps)
    assert_close(got.rank, np.array(38))


@pytest.mark.on("numpy", "torch")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("m", [700, 9000])
def test_thin_products_tell_a_few_dependent_columns(xp, rng, m, monkeypatch):
    from swath.linalg import _ill_conditioned

    def refused(*args):
        raise AssertionError("singular values of the whole")

    monkeypatch.setattr(_ill_conditioned, "by_eigenvalues", refused)
    a, b, ridge = dependent(rng, m), gaussian(rng, m), np.zeros(40)
    ridge[30] = 3.0
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b), ridge=xp.asarray(ridge))
    tall = np.concatenate([a, np.diag(np.sqrt(ridge))])
    want = np.linalg.pinv(tall, rcond=1e-6) @ np.append(b, np.zeros(40))
    assert_close(got.x, want, rtol=100 * xp.eps)
    assert_close(got.rank, np.array(38))


@pytest.mark.on("numpy", "torch", "jax-jit")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("case", ["few rows", "many rows", "zeros where a sample is taken"])
def test_of_dependent_columns_no_digits_are_lost(xp, rng, case):
    """The rest has a condition of 1000: without a step of refinement six digits would go."""
    m, n = 700 if case == "few rows" else 9000, 40
    u, v = (np.linalg.qr(rng.standard_normal((k, n - 1)))[0] for k in (m, n - 1))
    a = np.empty((m, n))
    a[:, :-1] = (u * np.geomspace(1, 1e-3, n - 1)) @ v.T * 2.0 ** (np.arange(n - 1) % 4)
    if case == "zeros where a sample is taken":
        a[::8, 5] = 0
    a[:, -1] = a[:, 5]
    b = a @ rng.standard_normal(n) + 1e-3 * rng.standard_normal(m)
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b))
    want = numpy_lstsq(a[:, :-1], b)
    want[5] /= 2
    want = np.append(want, want[5])
    assert_close(got.x, want, rtol=1e-12)
    assert_close(got.rank, np.array(n - 1))


@pytest.mark.on("numpy", "torch", "jax-jit")
@pytest.mark.op("linalg.lstsq")
def test_dependent_columns_to_a_threshold_with_ridge_or_not_finite(xp, rng):
    n = 40
    u, v = (np.linalg.qr(rng.standard_normal((m, n)))[0] for m in (700, n))
    sizes = np.linspace(1, 0.5, n)
    sizes[-2:] = 0.01, 0
    a, b = (u * sizes) @ v.T, gaussian(rng, 700)
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b), rcond=0.05)
    assert_close(got.rank, np.array(n - 2))
    assert_close(got.x, np.linalg.pinv(a, rcond=0.05) @ b, rtol=1e-12)
    # A sample finds all columns independent and has a solution of its own.
    sizes[-1] = 0.01
    a = (np.linalg.qr(rng.standard_normal((9100, n)))[0] * sizes) @ v.T
    b = gaussian(rng, 9100)
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b), rcond=0.05)
    assert_close(got.rank, np.array(n - 2))
    assert_close(got.x, np.linalg.pinv(a, rcond=0.05) @ b, rtol=1e-12)
    # A ridge that the Gram matrix does not show makes columns independent.
    a, b = gaussian(rng, 700, n), gaussian(rng, 700)
    a[:, 7] = a[:, 3]
    ridge = np.where(np.arange(n) == 7, 1e-14, 0.0)
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b), ridge=xp.asarray(ridge))
    assert_close(got.rank, np.array(n))
    # No row of the sample says so.
    a, b = dependent(rng, 9000), gaussian(rng, 9000)
    a[5, 2] = np.nan
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b))
    assert np.isnan(xp.numpy(got.x)).all()
    assert_close(got.success, np.array(False))


@pytest.mark.on("numpy", "torch", "jax", "strict", "strict-no-float64")
@pytest.mark.op("linalg.lstsq")
def test_columns_are_told_apart_only_beyond_doubt(xp, rng):
    from swath.linalg._null_space import apart, widest

    n, limit, rcond = 40, widest(xp.eps), 100 * xp.eps
    u, v = (np.linalg.qr(rng.standard_normal((m, n)))[0] for m in (700, n))

    def found(sizes, scale=None):
        b = (u * sizes) @ v.T
        scale = np.ones(n) if scale is None else scale
        given = xp.asarray(b / scale), xp.asarray(scale), xp.asarray(b.T @ b)
        return apart(swath._backends.backend_of(given[0]), 1, *given, limit, rcond)

    sizes = np.linspace(1, 0.5, n)
    assert not found(sizes).holds
    for count in (1, 8):
        sizes[-count:] = 0
        f = found(sizes)
        assert f.holds
        assert int(f.rank) == n - count
        # Z Zᴴ is the pseudo-inverse, though Z comes from B D.
        inverse = 1 / np.where(sizes > 0, sizes, np.inf) ** 2
        root = xp.numpy(f.root) * xp.numpy(f.scale)[:, None]
        assert_close(root @ root.T, (v * inverse) @ v.T, rtol=200 * xp.eps)
    # More than are looked at.
    sizes[-9:] = 0
    assert not found(sizes).holds
    sizes = np.linspace(1, 0.5, n)
    for last, holds in ((10 * rcond, False), (0.1 * rcond, True)):
        sizes[-1] = last
        f = found(sizes)
        assert bool(f.holds) == holds
        if xp.eps < 1e-10:
            assert_close(xp.numpy(f.condition), np.array(1 / last), rtol=0.2)
    # The rest is ill-conditioned, or would be in the columns as they are.
    sizes[-2] = 0.5 / limit
    assert not found(sizes).holds
    sizes[-2] = 2 / limit
    assert found(sizes).holds
    sizes[-2] = 0.5
    for exponents, holds in ((3, True), (40, False)):
        scale = 2.0 ** np.linspace(0, exponents, n).round()
        assert bool(found(sizes, scale).holds) == holds
    # A column of zeros, which eigenvectors tell exactly.
    u, v, sizes = np.eye(700, n), np.eye(n), np.ones(n)
    sizes[-1] = 0
    assert xp.numpy(found(sizes).condition) == np.inf


@STEPS_ONCE
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("rows", [70, 2500])
def test_rank_and_condition_of_many_columns(xp, rng, rows, kind):
    """Singular values that fall to ten times the threshold, and from 1000 times below it on."""
    n, rank, share = 40, 28, xp.eps**0.5
    u, v = (np.linalg.qr(gaussian(rng, m, n, kind=kind))[0] for m in (rows, n))
    kept, lost = np.geomspace(1, 10 * share, rank), np.geomspace(1e-3, 1e-4, n - rank) * share
    a = (u * np.concatenate([kept, lost])) @ v.conj().T
    b = gaussian(rng, rows, 2, kind=kind)
    given = xp.asarray(a), xp.asarray(b)
    got = xp.call(linalg.lstsq, *given, rcond=share)
    assert int(xp.numpy(got.rank)) == rank
    want = np.linalg.pinv(a, rcond=share) @ b
    assert_close(got.x, want, rtol=300 * xp.eps / share)
    # And of full rank just within the threshold, where an estimate must not be √n too large.
    a = (u * np.geomspace(1, 4 * share, n)) @ v.conj().T
    got = xp.call(linalg.lstsq, xp.asarray(a), given[1], rcond=share)
    assert int(xp.numpy(got.rank)) == n
    sizes = np.linalg.svd(a * 2.0 ** -np.floor(np.log2(np.abs(a).max(0))), compute_uv=False)
    assert 0.8 < float(xp.numpy(got.condition)) * sizes[-1] / sizes[0] < 2
    x = xp.numpy(got.x)
    left = np.abs(a.conj().T @ (a @ x - b)).max()
    assert left <= 10 * xp.eps * np.linalg.norm(x)


@STEPS_ONCE
@pytest.mark.op("linalg.lstsq")
def test_wide_and_deficient(xp, rng):
    a = gaussian(rng, 3, 5)
    a[2] = a[0] + a[1]
    a = np.round(a * 64) / 64
    a[2] = a[0] + a[1]
    b = gaussian(rng, 3)
    got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b))
    assert_close(got.x, np.linalg.pinv(a, rcond=1e-10) @ b, rtol=5000 * xp.eps)
    assert_close(got.rank, np.array(2))
    assert got.unscaled_covariance is None


@STEPS_ONCE
@pytest.mark.op("linalg.lstsq")
def test_raise_names_the_columns_or_gives_nan_when_traced(xp, rng):
    a = deficient(rng)
    a[:, 2] = a[:, 0] - 2 * a[:, 1]
    a, b = xp.asarray(a), xp.asarray(gaussian(rng, 7))
    if xp.lazy:
        got = xp.call(linalg.lstsq, a, b, on_deficient="raise")
        assert np.isnan(xp.numpy(got.x)).all()
        assert_close(got.success, np.array(False))
        assert_close(got.rank, np.array(3))
        return
    with pytest.raises(RankDeficientError, match=r"rank 3 of 4\): column \d = .*column \d"):
        linalg.lstsq(a, b, on_deficient="raise")
    assert issubclass(RankDeficientError, np.linalg.LinAlgError)


@STEPS_ONCE
@pytest.mark.op("linalg.lstsq")
def test_drop_uses_a_basis_and_says_which(xp, rng):
    a = deficient(rng)
    a[:, 2] = a[:, 0] - 2 * a[:, 1]
    b = gaussian(rng, 7)
    if xp.lazy:
        with pytest.raises(NotImplementedError, match="cannot be traced"):
            xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b), on_deficient="drop")
        return
    got = linalg.lstsq(xp.asarray(a), xp.asarray(b), on_deficient="drop")
    kept = list(got.columns)
    assert len(kept) == 3
    assert 3 in kept
    want = np.zeros(4)
    want[kept] = numpy_lstsq(a[:, kept], b)
    assert_close(got.x, want, rtol=2000 * xp.eps)
    (gone,) = set(range(4)) - set(kept)
    assert np.isnan(xp.numpy(got.stderr)[gone])
    assert np.isfinite(xp.numpy(got.stderr)[kept]).all()
    full = linalg.lstsq(xp.asarray(a[:, kept]), xp.asarray(b), on_deficient="drop")
    assert full.columns == (0, 1, 2)


@pytest.mark.on("numpy", "torch", "jax-jit", "strict")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("rows,ridge", [(4, 0.0), (2, 0.25), (2, [0.25, 0.25, 0.25, 0.25])])
def test_of_full_rank_nothing_is_raised_or_dropped(xp, rng, rows, ridge):
    """Square ones, and wide ones that a ridge makes of full rank."""
    a, b = gaussian(rng, rows, 4), gaussian(rng, rows)
    penalty = xp.asarray(ridge) if isinstance(ridge, list) else ridge
    stacked = np.concatenate([a, np.sqrt(ridge * np.ones(4)) * np.eye(4)])
    want = numpy_lstsq(stacked, np.append(b, np.zeros(4)))
    for on_deficient in ("raise",) if xp.lazy else ("raise", "drop"):
        options = {"ridge": penalty, "on_deficient": on_deficient}
        got = xp.call(linalg.lstsq, xp.asarray(a), xp.asarray(b), **options)
        assert_close(got.x, want, rtol=2e4 * xp.eps)
        assert got.columns == (0, 1, 2, 3)
        assert_close(got.rank, np.array(4))
        assert_close(got.dof, np.array(rows - 4))
        assert_close(got.success, np.array(True))


@pytest.mark.on("numpy", "torch", "strict")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("shape", [(30, 4), (4, 9), (8192, 3)])
def test_the_condition_is_at_most_a_little_too_large(xp, rng, shape):
    """By √n; of columns (rows of a wide matrix) of one length, which are all scaled alike."""
    m, n = shape
    k = min(shape)
    for power in (0, 3, 6):
        u, v = (np.linalg.qr(rng.standard_normal((size, k)))[0] for size in shape)
        a = (u * 10.0 ** -np.linspace(0, power, k)) @ v.T
        a *= 1.5 / np.linalg.norm(a, axis=0 if m > n else 1, keepdims=True)
        many = xp.asarray(np.stack([a, a])), xp.asarray(np.ones((2, m)))
        one = [v[0, ...] for v in many]
        found = [linalg.lstsq(*one, method=s) for s in ("auto", "normal", "cholesky_qr")]
        found += [linalg.lstsq(*many)] if m < 100 else []
        for got in found:
            ratio = xp.numpy(got.condition) / np.linalg.cond(a)
            assert np.all((ratio >= 0.999) & (ratio <= 1.001 * k**0.5))


@pytest.mark.on("numpy", "torch", "strict")
@pytest.mark.op("linalg.lstsq")
def test_drop_counts_weights_and_ridge(xp, rng):
    """Columns 0 and 1 are equal and have a ridge; 2 and 3 are equal where the weight is not 0."""
    a, b = gaussian(rng, 7, 4), gaussian(rng, 7)
    w, ridge = np.array([1.0, 2, 3, 4, 5, 6, 0]), np.array([0.5, 0.5, 0, 0])
    a[:, 1], a[:6, 3] = a[:, 0], a[:6, 2]
    got = linalg.lstsq(
        xp.asarray(a),
        xp.asarray(b),
        weights=xp.asarray(w),
        ridge=xp.asarray(ridge),
        on_deficient="drop",
    )
    kept = list(got.columns)
    assert kept in ([0, 1, 2], [0, 1, 3])
    root = np.sqrt(w)
    stacked = np.concatenate([root[:, None] * a, np.diag(np.sqrt(ridge))])[:, kept]
    want = np.zeros(4)
    want[kept] = numpy_lstsq(stacked, np.append(root * b, np.zeros(4)))
    assert_close(got.x, want, rtol=2e4 * xp.eps)
    assert_close(got.dof, np.array(6 - 3))


@pytest.mark.on("numpy", "torch", "jax-jit", "strict")
@pytest.mark.op("linalg.lstsq")
def test_weights_and_ridges_may_have_the_leading_axes(xp, rng):
    a, b = gaussian(rng, 6, 2), gaussian(rng, 6)
    w, ridge = gaussian(rng, 3, 6) ** 2, gaussian(rng, 2, 1, 2) ** 2
    got = xp.call(
        linalg.lstsq, xp.asarray(a), xp.asarray(b), weights=xp.asarray(w), ridge=xp.asarray(ridge)
    )
    want = np.empty((2, 3, 2))
    for i, j in np.ndindex(2, 3):
        root = np.sqrt(w[j])
        stacked = np.concatenate([root[:, None] * a, np.diag(np.sqrt(ridge[i, 0]))])
        want[i, j] = numpy_lstsq(stacked, np.append(root * b, np.zeros(2)))
    assert_close(got.x, want, rtol=2e4 * xp.eps)


@MOSTLY_COMPILED
@pytest.mark.op("linalg.lstsq", "linalg.project")
@pytest.mark.parametrize("shape", [(30, 4), (4, 9)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_numbers_whose_squares_leave_the_range(xp, rng, shape, sign):
    unit = 2.0 ** (sign * (640 if xp.float == "float64" else 80))
    A, b = rng.standard_normal(shape), rng.standard_normal((shape[0], 2)) * [1.0, 1e-6]
    plain, scaled = [xp.asarray(v) for v in (A, b)], [xp.asarray(v * unit) for v in (A, b)]
    for options in ({}, {"method": "cholesky_qr"}, {"accuracy": "full"}):
        want, found = (
            xp.call(lambda A, b, o=options: swath.linalg.lstsq(A, b, **o), *arrays)
            for arrays in (plain, scaled)
        )
        assert np.all(xp.numpy(found.success))
        assert_close(found.x, xp.numpy(want.x), rtol=8 * xp.eps)
        if shape[0] > shape[1]:
            assert_close(found.stderr, xp.numpy(want.stderr), rtol=64 * xp.eps)
            assert_close(found.covariance, xp.numpy(want.covariance), rtol=256 * xp.eps)
    want, found = (xp.call(swath.linalg.project, *arrays) for arrays in (plain, scaled))
    assert_close(found.projection, unit * xp.numpy(want.projection), rtol=64 * xp.eps)
    if shape[0] > shape[1]:
        assert_close(found.distance, unit * xp.numpy(want.distance), rtol=64 * xp.eps)


@MOSTLY_COMPILED
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("rows", [30, 600])
def test_columns_whose_lengths_are_just_in_range(xp, rng, rows):
    high, size = (2.0**995, 2.0**14) if xp.x64 else (2.0**116, 1.0)
    A, b = rng.standard_normal((rows, 4)), size * rng.standard_normal(rows)
    want = xp.call(linalg.lstsq, xp.asarray(A), xp.asarray(b))
    got = xp.call(linalg.lstsq, xp.asarray(A * high), xp.asarray(b))
    assert np.all(xp.numpy(got.success))
    tiny = float(np.finfo(xp.float).tiny)  # below which numbers may count as 0
    allowed = {"rtol": 64 * xp.eps, "atol": 64 * tiny * high}
    assert_close(xp.numpy(got.x) * high, xp.numpy(want.x), **allowed)


@MOSTLY_COMPILED
@pytest.mark.op("linalg.lstsq")
def test_zero_columns_wild_scales_and_nan(xp, rng):
    a, b = gaussian(rng, 4, 7, 4), gaussian(rng, 4, 7)
    reach = 2.0**300 if xp.x64 else 2.0**40
    scale = np.array([reach, 1.0, 1 / reach, 1.0])
    a[1, :, 3] = 0
    a[2, 4, 1] = np.nan
    b[3, 2] = np.inf
    full = a * scale
    full[1] = a[1]
    got = xp.call(linalg.lstsq, xp.asarray(full), xp.asarray(b))
    x = xp.numpy(got.x)
    # Scales of columns do not matter, and a NaN stays in its own problem.
    assert_close(x[0] * scale, numpy_lstsq(a[0], b[0]), rtol=5000 * xp.eps)
    assert x[1, 3] == 0
    assert np.isnan(x[2:]).all()
    assert_close(got.rank, np.array([4, 3, 0, 4]))
    assert_close(got.success, np.array([True, True, False, False]))
    assert np.isnan(xp.numpy(got.condition)[2])


@pytest.mark.op("linalg.lstsq")
def test_no_rows_or_no_columns(xp):
    got = linalg.lstsq(xp.asarray(np.zeros((0, 3))), xp.asarray(np.zeros(0)))
    assert_close(got.x, np.zeros(3))
    assert_close(got.rank, np.array(0))
    assert np.isinf(xp.numpy(got.condition))
    got = linalg.lstsq(*map(xp.asarray, (np.zeros((0, 3)), np.zeros(0))), on_deficient="drop")
    assert got.columns == ()
    got = linalg.lstsq(xp.asarray(np.zeros((4, 0))), xp.asarray(np.ones((4, 2))))
    assert tuple(got.x.shape) == (0, 2)
    assert_close(got.residuals, np.array([4.0, 4.0]))
    assert_close(got.condition, np.array(1.0))
    assert tuple(linalg.gram(xp.asarray(np.zeros((0, 3)))).shape) == (3, 3)
    point = linalg.project(xp.asarray(np.zeros((4, 0))), xp.asarray(np.ones(4)))
    assert_close(point.projection, np.zeros(4))
    assert_close(point.distance, np.array(2.0))


@pytest.mark.on("numpy", "torch", "jax-jit", "strict")
@pytest.mark.op("linalg.lstsq")
def test_weights_of_no_columns_and_ridge_of_no_rows(xp):
    weights = xp.asarray(np.array([0.0, 1.0, 2.0]))
    got = xp.call(linalg.lstsq, *map(xp.asarray, (np.zeros((3, 0)), np.ones(3))), weights=weights)
    assert_close(got.residuals, np.array(3.0))
    assert_close(got.dof, np.array(2))
    # What no row says, the ridge does: a prior, as of rows of zeros.
    ridge = np.array([1.0, 4.0, 16.0])
    none = map(xp.asarray, (np.zeros((2, 0, 3)), np.zeros((2, 0))))
    got = xp.call(linalg.lstsq, *none, ridge=xp.asarray(ridge), on_deficient="raise")
    assert_close(got.x, np.zeros((2, 3)))
    assert_close(got.rank, np.array([3, 3]))
    assert_close(got.dof, np.array([-3, -3]))
    assert_close(got.residuals, np.zeros(2))
    assert_close(got.unscaled_covariance, np.stack([np.diag(1 / ridge)] * 2), rtol=8 * xp.eps)
    assert_close(got.success, np.array([True, True]))


_LARGE_BATCHES = """
import jax, numpy as np, swath
from jax import numpy as jnp
jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(5)
q, v = (np.linalg.qr(rng.standard_normal(s))[0] for s in ((4000, 16, 8), (8, 8)))
a, b = jnp.asarray((q * np.logspace(0, -10, 8)) @ v), jnp.asarray(rng.standard_normal((4000, 16)))
solve, factor = swath.linalg.lstsq, swath.linalg.cholesky_qr
want = np.linalg.lstsq(a[-1], b[-1], rcond=None)[0]
for found in (lambda a, b: solve(a, b[..., None]).x[..., 0], jax.vmap(lambda a, b: solve(a, b).x)):
    found = jax.jit(found)
    for _ in range(3):
        np.testing.assert_allclose(found(a, b)[-1], want, rtol=1e-3)
slope = jax.jit(jax.grad(lambda a: jnp.sum(factor(a)[0] ** 3)))
for _ in range(3):
    assert np.isfinite(slope(a[:, :, :4])).all()
"""


@pytest.mark.on("jax")
@pytest.mark.op("linalg.lstsq")
def test_large_jitted_batches_return_where_there_are_two_threads(xp):
    """XLA lets batched factorisations that run side by side wait for each other for ever."""
    done = subprocess.run(
        [sys.executable, "-c", _LARGE_BATCHES],
        env={**os.environ, "PJRT_NPROC": "2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.on("torch")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_many_columns_by_triangles_of_blocks(xp, rng, kind):
    a, x = gaussian(rng, 520, 261, kind=kind), gaussian(rng, 261, kind=kind)
    b = a @ x + gaussian(rng, 520, kind=kind)
    assert_close(linalg.lstsq(xp.asarray(a), xp.asarray(b)).x, numpy_lstsq(a, b), rtol=1e-11)
    # CholeskyQR multiplies by triangles.
    a[:, -1] = a[:, 0] + 1e-7 * a[:, -1]
    got = linalg.lstsq(xp.asarray(a), xp.asarray(a @ x))
    assert float(got.condition) > 1e7
    assert_close(got.x, x, rtol=1e-6)


# -- derivatives -----------------------------------------------------------------------------------


@STEPS_ONCE
@pytest.mark.op("linalg.lstsq", "linalg.gram", "linalg.project")
def test_derivatives(xp, rng):
    a, b = xp.asarray(gaussian(rng, 6, 3)), xp.asarray(gaussian(rng, 6))
    w, ridge = xp.asarray(rng.random(6) + 0.5), xp.asarray(rng.random(3) + 0.5)
    check_vjp(linalg.lstsq, a, b, weights=w, ridge=ridge)
    check_adjoint(linalg.lstsq, a, b)
    check_vjp(linalg.project, a, b)
    check_vjp(linalg.gram, a, weights=w)
    c, d = xp.asarray(gaussian(rng, 3, 5, kind="complex")), xp.asarray(gaussian(rng, 3, 2))
    check_vjp(linalg.lstsq, c, d)


@MOSTLY_COMPILED
@pytest.mark.op("linalg.lstsq", "linalg.project", "linalg.cholesky_qr")
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("kind", ["tall", "wide", "deficient"])
def test_derivatives_of_numbers_whose_squares_leave_the_range(xp, rng, kind, sign):
    # x(sA, tb) = (t/s) x(A, b): so is each derivative a scaled one, exactly for powers of two.
    s = 2.0 ** (sign * (530 if xp.float == "float64" else 66))
    a = gaussian(rng, *((4, 9) if kind == "wide" else (12, 4)))
    if kind == "deficient":
        a = np.round(64 * a) / 64
        a[:, 3] = a[:, 0] + a[:, 1]
    b = gaussian(rng, a.shape[0])

    def pulled(op, ct, *args):
        def run(ct, *args):
            return swath.vjp(op, *args)[1](ct)

        found = xp.call(run, *(xp.asarray(v) for v in (ct, *args)))
        return [xp.numpy(v).astype(float) for v in found]

    near, ct = 1000 * xp.eps, gaussian(rng, a.shape[1])
    want = pulled(linalg.lstsq, ct, a, b)
    for t in (1.0, s):
        found = pulled(linalg.lstsq, ct * (s / t), a * s, b * t)
        for v, w, size in zip(found, want, (1 / s, 1 / t), strict=True):
            assert_close(v, w * size, rtol=0, atol=near * size * np.max(np.abs(w)))
    if kind != "tall":
        return
    want = pulled(linalg.project, b, a, b)
    for t in (1 / s, s):
        found = pulled(linalg.project, b / t, a * s, b * t)
        for v, w, size in zip(found, want, (1 / s, 1 / t), strict=True):
            assert_close(v, w * size, rtol=0, atol=near * size * np.max(np.abs(w)))
    ct = gaussian(rng, *a.shape)
    (want,), (found,) = (pulled(linalg.cholesky_qr, ct, v) for v in (a, a * s))
    assert_close(found, want / s, rtol=0, atol=near / s * np.max(np.abs(want)))


@pytest.mark.on("numpy", "torch", "strict")
def test_columns_of_subnormal_numbers(xp, rng):
    """No power of two that the dtype holds brings them to 1; XLA takes them for 0."""
    a, b = rng.uniform(0.5, 1.0, (6, 2)), 0.25 * gaussian(rng, 6)
    a[::2, 1] *= -1
    small = xp.asarray(a * np.array([1.0, 2.0**-1030]))
    assert linalg.independent_columns(small) == (0, 1)
    assert int(linalg.gram_report(small).rank) == 2
    assert_close(linalg.cholesky_qr(small)[0], linalg.cholesky_qr(a)[0], rtol=0, atol=2.0**-20)
    # Of smaller ones the solution would be beyond the range of the dtype.
    unit = 2.0**-1022
    found = linalg.lstsq(xp.asarray(a * np.array([1.0, unit])), xp.asarray(b))
    want = linalg.lstsq(a, b)
    assert bool(found.success)
    assert_close(found.x, want.x / np.array([1.0, unit]), rtol=2.0**-36)
    assert_close(found.stderr, want.stderr / np.array([1.0, unit]), rtol=2.0**-36)


@pytest.mark.on("numpy")
def test_results_are_arrays_of_their_own(rng):
    """Also those without a degree of freedom, which are one number over and over."""
    a, b = gaussian(rng, 2, 4), gaussian(rng, 2)
    for ridge in (0, 0.5):
        found = linalg.lstsq(a, b, ridge=ridge)
        for v in (found.x, found.stderr):
            assert v.flags.writeable
            assert all(v.strides)


@pytest.mark.on("numpy")
def test_floats_wider_than_lapack_knows_are_refused():
    wide = np.ones((5, 2), dtype=np.longdouble)
    c = np.ones(3, dtype=np.longdouble)
    for call in (
        lambda: linalg.lstsq(wide, np.ones(5)),
        lambda: linalg.project(wide, np.ones(5)),
        lambda: linalg.cholesky_qr(wide),
        lambda: linalg.gram_report(wide),
        lambda: linalg.GramAccumulator(2).update(wide, np.ones(5)),
        lambda: linalg.solve_toeplitz(c, c),
    ):
        with pytest.raises(TypeError, match="systems are solved in float32, float64"):
            call()


@STEPS_ONCE
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize(
    ("m", "n"),
    [(5, 3), (4, 6), (170, 10), (10, 170)],
    ids=["tall", "wide", "very tall", "very wide"],
)
def test_derivative_at_constant_deficient_rank(xp, rng, m, n):
    # A = B C has rank 2 for all B (m, 2) and C (2, n) nearby: follow a curve of such matrices.
    b1, c1, b2, c2 = (rng.standard_normal(s) for s in ((m, 2), (2, n), (m, 2), (2, n)))
    y, ct, w1, w2 = gaussian(rng, m), gaussian(rng, n), rng.random(m) + 0.5, gaussian(rng, m)
    _, pullback = swath.vjp(
        linalg.lstsq, xp.asarray(b1 @ c1), xp.asarray(y), weights=xp.asarray(w1), with_kwargs=True
    )
    (bar, _), named = pullback(xp.asarray(ct))
    slope = np.sum(xp.numpy(bar) * (b2 @ c1 + b1 @ c2)) + xp.numpy(named["weights"]) @ w2

    def solved(s):
        root = np.sqrt(w1 + s * w2)
        return np.linalg.pinv(root[:, None] * (b1 + s * b2) @ (c1 + s * c2), 1e-8) @ (root * y)

    h = 1e-6
    want = ct @ (solved(h) - solved(-h)) / (2 * h)
    assert_close(np.array(slope), want, atol=1e-6 if xp.x64 else 1e-3, rtol=0)


def _loss(a, b, w, ridge):
    x = linalg.lstsq(a, b, weights=w, ridge=ridge).x
    return (x * x).sum()


@pytest.mark.on("jax")
@pytest.mark.op("linalg.lstsq")
def test_jax_second_derivatives_vmap_and_results_through_jit(xp, rng):
    import jax
    import jax.numpy as jnp

    tables = gaussian(rng, 5, 2), gaussian(rng, 5), rng.random(5) + 0.5, rng.random(2) + 0.5

    def plain(a, b, w, ridge):
        x = jnp.linalg.solve(a.T @ (w[:, None] * a) + jnp.diag(ridge), a.T @ (w * b))
        return (x * x).sum()

    args = tuple(map(jnp.asarray, tables))
    along = tuple(jnp.asarray(rng.standard_normal(v.shape)) for v in args)

    def curvature(loss):
        slope = jax.grad(loss, argnums=(0, 1, 2, 3))
        return jax.jit(lambda: jax.jvp(slope, args, along)[1])()

    wanted = curvature(plain)
    for got, want in zip(curvature(_loss), wanted, strict=True):
        assert_close(got, np.asarray(want), rtol=1e-9)
    # Differences of the manual gradient on NumPy say the same.
    h = 1e-6
    sides = []
    for step in (h, -h):
        a, b, w, ridge = (v + step * np.asarray(d) for v, d in zip(tables, along, strict=True))
        found, pullback = swath.vjp(linalg.lstsq, a, b, weights=w, ridge=ridge)
        bars, named = pullback(2 * found.x, with_kwargs=True)
        sides.append([*bars, named["weights"], named["ridge"]])
    for high, low, want in zip(*sides, wanted, strict=True):
        assert_close((high - low) / (2 * h), np.asarray(want), rtol=1e-6)
    stack = jnp.asarray(gaussian(rng, 3, 5, 2))
    got = jax.jit(jax.vmap(linalg.lstsq, in_axes=(0, None)))(stack, args[1])
    assert isinstance(got, type(linalg.lstsq(args[0], args[1])))
    assert_close(
        got.x, np.array([numpy_lstsq(s, tables[1]) for s in np.asarray(stack)]), rtol=1e-12
    )
    assert got.columns == (0, 1)


@pytest.mark.on("torch")
@pytest.mark.op("linalg.lstsq")
def test_torch_second_derivatives_and_vmap(xp, rng):
    import torch

    tables = gaussian(rng, 5, 2), gaussian(rng, 5), rng.random(5) + 0.5, rng.random(2) + 0.5
    args = tuple(torch.tensor(v, requires_grad=True) for v in tables)
    assert torch.autograd.gradgradcheck(_loss, args)
    c = tuple(
        torch.tensor(gaussian(rng, *s, kind="complex"), requires_grad=True) for s in ((4, 2), (4,))
    )
    assert torch.autograd.gradcheck(lambda a, b: linalg.lstsq(a, b).x, c)
    stack = torch.tensor(gaussian(rng, 3, 5, 2))
    right = args[1].detach()
    got = torch.func.vmap(lambda s: linalg.lstsq(s, right).x)(stack)
    assert_close(got, np.array([numpy_lstsq(s, tables[1]) for s in stack.numpy()]), rtol=1e-12)


# Systems by name: arrays drawn for them, and A, b, weights and ridge made of these. Products of two
# matrices keep the rank that they have, wherever the derivative is looked at.
STATISTICS = {
    "tall": (((7, 3), (7, 2)), lambda a, b: (a, b, None, 0)),
    "weighted": (((7, 3), (7,), (7,), (3,)), lambda a, b, w, r: (a, b, w * w + 0.5, r * r + 0.5)),
    "deficient": (((7, 2), (2, 3), (7,), (7,)), lambda u, v, b, w: (u @ v, b, w * w + 0.5, 0)),
}
RESIDUALS = {
    "wide": (((3, 5), (3,)), lambda a, b: (a, b, None, 0)),
    "penalised": (((3, 5), (3,)), lambda a, b: (a, b, None, 0.5)),
    "inconsistent": (((4, 2), (2, 6), (4,)), lambda u, v, b: (u @ v, b, None, 0)),
    "weighted, inconsistent": (
        ((4, 2), (2, 6), (4,), (4,)),
        lambda u, v, b, w: (u @ v, b, w * w + 0.5, 0),
    ),
}


def _told(name):
    """The arrays of a system, and a function of them: one number made of what `lstsq` tells."""
    shapes, system = (STATISTICS | RESIDUALS)[name]

    def number(*given):
        a, b, w, ridge = system(*given)
        r = linalg.lstsq(a, b, weights=w, ridge=ridge)
        told = (r.residuals**2).sum() + (abs(r.x) ** 2).sum()
        if name in RESIDUALS:
            return told
        return told + (r.stderr**3).sum() + (abs(r.covariance) ** 2).sum()

    return shapes, number


@pytest.mark.on("jax-jit")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("name", [*STATISTICS, *RESIDUALS])
def test_residuals_and_standard_errors_have_derivatives_in_jax(xp, rng, name, kind):
    import jax

    shapes, number = _told(name)
    square = "weighted" in name
    given = [gaussian(rng, *s, kind="real" if square and len(s) < 2 else kind) for s in shapes]
    if name == "deficient":
        given[-1] = given[-1].real
    slopes = jax.jit(jax.grad(number, argnums=tuple(range(len(given)))))(*map(xp.asarray, given))
    for i, slope in enumerate(slopes):
        along = gaussian(rng, *given[i].shape, kind="complex" if given[i].dtype == complex else "")
        sides = [
            number(*given[:i], given[i] + step * along, *given[i + 1 :]) for step in (1e-6, -1e-6)
        ]
        want = (sides[0] - sides[1]) / 2e-6
        size = np.linalg.norm(xp.numpy(slope)) * np.linalg.norm(along)
        got = np.sum(xp.numpy(slope) * along).real
        assert_close(np.array(got), want, atol=1e-7 * (1 + size), rtol=0)


@pytest.mark.on("torch")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", [*STATISTICS, *RESIDUALS])
def test_residuals_and_standard_errors_have_derivatives_in_torch(xp, rng, name):
    import torch

    shapes, number = _told(name)
    given = [torch.tensor(gaussian(rng, *s), requires_grad=True) for s in shapes]
    twice = {"rtol": 1e-4, "atol": 1e-4, "fast_mode": True, "check_fwd_over_rev": True}
    assert torch.autograd.gradcheck(number, given, rtol=1e-5)
    assert torch.autograd.gradgradcheck(number, given, **twice)
    many = torch.stack([given[0].detach(), 2 * given[0].detach()])
    rest = [v.detach() for v in given[1:]]
    slopes = torch.func.vmap(torch.func.grad(lambda a: number(a, *rest)))(many)
    for lane, one in zip(slopes, many, strict=True):
        want = torch.func.grad(lambda a: number(a, *rest))(one).numpy()
        assert_close(lane, want, rtol=1e-8)
    if name != "weighted":
        # Weights are real, and come last.
        kinds = ["complex"] * 3 + ["real"] * (len(shapes) - 3)
        given = [
            torch.tensor(gaussian(rng, *s, kind=kind), requires_grad=True)
            for s, kind in zip(shapes, kinds, strict=False)
        ]
        assert torch.autograd.gradcheck(number, given, rtol=1e-5)
        if name != "tall":
            assert torch.autograd.gradgradcheck(number, given, **twice)


# Systems at the edges of what is differentiable: no degree of freedom, no residual, an unknown that
# no row knows.
EDGES = {
    "square": (lambda a: a[:3], None),
    "wide-ridge": (lambda a: a[:2], [0.5, 0.25, 1.0]),
    "exact": (lambda a: a, None),
    "column-of-zeros": (lambda a: a * np.array([1.0, 0.0, 1.0]), None),
}


@pytest.mark.on("jax-jit", "torch")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("name", EDGES)
def test_what_a_system_does_not_tell_leaves_its_derivatives_finite(xp, rng, name):
    """NaN for want of degrees of freedom is a constant, and a root of 0 has the derivative 0."""
    shape, ridge = EDGES[name]
    a = shape(gaussian(rng, 7, 3))
    b = np.zeros(7) if name == "exact" else gaussian(rng, len(a))
    keywords = {} if ridge is None else {"ridge": xp.asarray(ridge)}
    said = linalg.lstsq(xp.asarray(a), xp.asarray(b), **keywords).stderr
    assert np.isnan(xp.numpy(said)).any() == (name in ("square", "wide-ridge"))

    def numbers(a, b):
        r = linalg.lstsq(a, b, **keywords)
        known = ~xp.isnan(r.stderr)
        told = xp.where(known, r.stderr, xp.zeros_like(r.stderr))
        covered = xp.where(known[:, None], r.covariance, xp.zeros_like(r.covariance))
        # The sum of x alone, with what is told for show.
        return xp.sum(r.x), xp.sum(r.x) + 0.0 * xp.sum(told) + 0.0 * xp.sum(covered)

    def slopes(i):
        arrays = xp.asarray(a), xp.asarray(b)
        if xp.backend == "jax":
            import jax

            return xp.call(jax.grad(lambda a, b: numbers(a, b)[i], argnums=(0, 1)), *arrays)
        import torch

        return torch.func.grad(lambda a, b: numbers(a, b)[i], argnums=(0, 1))(*arrays)

    for alone, beside in zip(slopes(0), slopes(1), strict=True):
        assert_close(beside, xp.numpy(alone), rtol=1e-9)


# -- projection and dependence ---------------------------------------------------------------------


@STEPS_ONCE
@pytest.mark.op("linalg.project")
def test_projection_is_idempotent_and_its_rest_orthogonal(xp, rng):
    a, b = gaussian(rng, 8, 3, kind="complex"), gaussian(rng, 8, 2, kind="complex")
    got = xp.call(linalg.project, xp.asarray(a), xp.asarray(b))
    q, _ = np.linalg.qr(a)
    want = q @ (q.conj().T @ b)
    assert_close(got.projection, want, rtol=500 * xp.eps)
    assert_close(got.distance, np.linalg.norm(b - want, axis=0), rtol=500 * xp.eps)
    # With dependent columns it is the same point.
    twice = np.concatenate([a, a[:, :1]], axis=1)
    again = xp.call(linalg.project, xp.asarray(twice), got.projection)
    assert_close(again.projection, want, rtol=2000 * xp.eps)
    assert np.max(xp.numpy(again.distance)) <= 2000 * xp.eps * np.max(np.abs(want))


@pytest.mark.on("numpy", "jax", "torch", "strict", "cupy")
@pytest.mark.op("linalg.gram_report")
def test_report_of_complex_columns_speaks_of_a_hermitian_matrix(xp, rng):
    a = gaussian(rng, 6, 2) + 1j * gaussian(rng, 6, 2)
    a = np.concatenate([a, (2 - 1j) * a[:, :1]], axis=1)
    report = linalg.gram_report(xp.asarray(a))
    assert report.symmetric
    assert not np.array_equal(xp.numpy(report.gram), xp.numpy(report.gram).T)
    assert "AᴴA is Hermitian: (AᴴA)ᴴ = AᴴA." in str(report)
    assert "column 2 = (2-1j)·column 0" in str(report)
    assert "AᴴA is symmetric" in str(linalg.gram_report(xp.asarray(a.real)))


@pytest.mark.on(
    "numpy", "numpy-readonly", "jax", "torch", "strict", "strict-device1",
    "strict-no-float64", "dpnp", "cupy",
)  # fmt: skip
@pytest.mark.op("linalg.gram_report", "linalg.independent_columns")
def test_report_finds_the_dependent_columns_and_their_combination(xp, rng):
    a = np.round(gaussian(rng, 6, 5) * 64) / 64
    a[:, 3] = 2 * a[:, 0] - a[:, 1] / 2
    a[:, 4] = 0
    report = linalg.gram_report(xp.asarray(a))
    assert report.shape == (6, 5)
    assert report.square
    assert report.symmetric
    assert (report.rank, report.invertible) == (3, False)
    assert 4 in report.dependent
    assert linalg.independent_columns(xp.asarray(a)) == report.independent
    assert_close(report.gram, a.T @ a)
    null = xp.numpy(report.null_space)
    assert null.shape == (5, 2)
    assert np.linalg.matrix_rank(null) == 2
    assert np.max(np.abs(a @ null)) <= 100 * xp.eps * np.max(np.abs(a))
    assert report.null_residual <= 20 * xp.eps
    reach = 2.0**500 if xp.x64 else 2.0**60
    for unit in (reach, 1 / reach):
        scaled = linalg.gram_report(xp.asarray(a * unit))
        assert scaled.null_residual == report.null_residual
    combination = xp.numpy(report.combination)
    rest = a[:, list(report.independent)] @ combination
    assert_close(rest, a[:, list(report.dependent)], atol=200 * xp.eps)
    text = str(report)
    assert "AᴴA is 5 × 5: square" in text
    assert "rank 3 of 5. AᴴA is not invertible" in text
    assert "column 4 = 0" in text


@pytest.mark.op("linalg.gram_report", "linalg.independent_columns")
def test_report_in_words():
    a = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 2.0], [1.0, 2.0, 3.0], [1.0, 3.0, 4.0]])
    text = str(linalg.gram_report(a))
    assert "column 2 = 1·column 0 + 1·column 1" in text
    assert "So 1 vector v ≠ 0 has A v = 0" in text
    good = linalg.gram_report(a[:, :2])
    assert good.invertible
    assert good.dependent == ()
    assert good.condition == pytest.approx(np.linalg.cond(a[:, :2] * [1, 0.5]))
    assert "‖A x‖² = 0, so A x = 0, so x = 0" in str(good)
    wide = linalg.gram_report(a.T)
    assert "With 3 observations for 4 parameters they must be; 1 more" in str(wide)
    assert wide.condition == np.inf
    # Scales of columns do not make them dependent, small angles of 1e-12 neither.
    assert linalg.gram_report(a[:, :2] * [1e-200, 1e100]).rank == 2
    assert linalg.independent_columns(np.array([[1.0, 1.0], [0.0, 1e-12], [0.0, 0.0]])) == (0, 1)
    assert linalg.independent_columns(np.zeros((3, 2))) == ()
    assert linalg.independent_columns(np.zeros((3, 0))) == ()
    z = np.array([[1.0, 1j], [2.0, 2j]])
    assert "column 1 = (0+1j)·column 0" in str(linalg.gram_report(z))


def test_long_reports_are_cut():
    wide = np.concatenate([np.eye(9, 8), np.ones((9, 1))], axis=1)
    wide[8] = 0.0
    with pytest.raises(RankDeficientError) as raised:
        linalg.lstsq(wide, np.ones(9), on_deficient="raise")
    terms = " + ".join(f"1·column {i}" for i in range(6))
    assert f"column 8 = {terms} + … (8 columns in all); on_deficient=" in str(raised.value)
    with pytest.raises(RankDeficientError) as raised:
        linalg.lstsq(np.ones((9, 7)), np.ones(9), on_deficient="raise")
    said = "; ".join(f"column {i} = 1·column 0" for i in range(1, 5))
    assert f"(rank 1 of 7): {said}; and 2 more; on_deficient=" in str(raised.value)


@pytest.mark.on("jax")
@pytest.mark.op("linalg.gram_report", "linalg.independent_columns")
def test_reports_refuse_to_be_traced(xp):
    import jax

    for fn in (linalg.independent_columns, linalg.gram_report):
        with pytest.raises(NotImplementedError, match="cannot be traced"):
            jax.jit(fn)(xp.asarray(np.eye(2)))


# -- bad input -------------------------------------------------------------------------------------

A, B = np.ones((4, 2)) + np.eye(4, 2), np.ones(4)
BAD = [
    (linalg.gram, (B,), {}, ValueError, r"A must have at least two axes .* got ndarray of shape"),
    (linalg.gram, (A > 1,), {}, TypeError, "A must be numeric, got ndarray"),
    (linalg.gram, (A,), {"weights": np.ones(3)}, ValueError, "one entry for each of the 4 rows"),
    (linalg.gram, (A,), {"weights": np.ones(4) * 1j}, TypeError, "weights must be real"),
    (linalg.lstsq, (A, np.ones(3)), {}, ValueError, r"b must have the 4 rows of A: .*got ndarray"),
    (linalg.lstsq, (A, np.ones((2, 4))), {}, ValueError, "b must have the 4 rows of A"),
    (linalg.lstsq, (A, "abc"), {}, TypeError, "b must be an array, a number or a nested list"),
    (linalg.lstsq, (B, B), {}, ValueError, "A must have at least two axes"),
    (
        linalg.lstsq,
        (np.ones((3, 4, 2)), np.ones((2, 4, 1))),
        {},
        ValueError,
        r"leading axes must broadcast, got \(3,\) of A, \(2,\) of b",
    ),
    (linalg.lstsq, (A, B), {"weights": -B}, ValueError, "weights must be 0 or more"),
    (linalg.lstsq, (A, B), {"weights": np.ones(2)}, ValueError, "weights must have one entry"),
    (linalg.lstsq, (A, B), {"ridge": -1.0}, ValueError, "ridge must be 0 or more, got -1.0"),
    (linalg.lstsq, (A, B), {"ridge": np.ones(3)}, ValueError, "ridge must be a number or have one"),
    (linalg.lstsq, (A, B), {"ridge": 1j}, TypeError, "ridge must be a real number or array"),
    (linalg.lstsq, (A, B), {"ridge": np.array([-1.0, 0])}, ValueError, "ridge must be 0 or more"),
    (linalg.lstsq, (A, B), {"method": "qr"}, ValueError, "method must be one of 'auto', 'normal'"),
    (
        linalg.lstsq,
        (A, B),
        {"accuracy": "high"},
        ValueError,
        "accuracy must be one of 'standard', 'full'; got 'high'",
    ),
    (linalg.lstsq, (A, B), {"on_deficient": "?"}, ValueError, "on_deficient must be one of"),
    (linalg.lstsq, (A, B), {"rcond": -1}, ValueError, r"rcond must be a number in \[0, 1\)"),
    (
        linalg.lstsq,
        (A.T, np.ones(2)),
        {"on_deficient": "raise"},
        np.linalg.LinAlgError,
        "A has 2 rows for 4 columns",
    ),
    (
        linalg.lstsq,
        (np.ones((2, 4, 2)), B),
        {"on_deficient": "raise"},
        np.linalg.LinAlgError,
        r"a matrix of the batch \(2,\) has dependent columns",
    ),
    (
        linalg.lstsq,
        (np.ones((2, 4, 2)), B),
        {"on_deficient": "drop"},
        NotImplementedError,
        r"works on one matrix.*got a batch \(2,\)",
    ),
    (linalg.project, (A, np.ones(5)), {}, ValueError, "b must have the 4 rows of A"),
    (linalg.gram_report, (np.ones((2, 2, 2)),), {}, ValueError, r"A must be one matrix \(m, n\)"),
    (linalg.gram_report, (A * np.nan,), {}, ValueError, "A must be finite"),
    (linalg.gram_report, (A[:, :0],), {}, ValueError, "A must not be empty"),
    (linalg.independent_columns, (A,), {"rcond": 2}, ValueError, "rcond must be a number in"),
    (linalg.independent_columns, (A,), {"rcond": False}, ValueError, "rcond must be a number in"),
]


@pytest.mark.parametrize("fn,args,kwargs,error,text", BAD)
def test_bad_input_says_what_is_wrong(fn, args, kwargs, error, text):
    with pytest.raises(error, match=text):
        fn(*args, **kwargs)


@pytest.mark.needs("torch")
def test_mixed_libraries_are_refused():
    import torch

    with pytest.raises(TypeError, match="A is an array of numpy and b of torch"):
        linalg.lstsq(A, torch.ones(4))


def test_covariance_of_a_wide_system_says_why_there_is_none():
    with pytest.raises(NotImplementedError, match="no degree of freedom is left"):
        _ = linalg.lstsq(A.T, np.ones(2)).covariance


@pytest.mark.op("linalg.project")
@pytest.mark.on("jax", "torch")
def test_the_distance_of_a_point_in_the_column_space_has_no_slope(xp, rng):
    a, b = xp.asarray(rng.standard_normal((6, 2))), xp.asarray(np.zeros(6))

    def distance(v):
        return swath.linalg.project(a, v).distance

    if xp.backend == "jax":
        import jax

        slope = jax.grad(distance)(b)
    else:
        leaf = b.requires_grad_()
        distance(leaf).backward()
        slope = leaf.grad
    assert_close(slope, np.zeros(6))


@STEPS_ONCE
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("ridge", [0, 2])
def test_weights_near_the_end_of_the_range_are_as_good_as_those_near_one(xp, rng, ridge):
    a, b, w = rng.standard_normal((20, 3)), rng.standard_normal(20), 0.5 + rng.random(20)
    unit = 2.0 ** (np.finfo(xp.float).maxexp - 12)
    inverse = np.linalg.inv((a.T * w) @ a + ridge * np.eye(3))
    x = inverse @ (a.T @ (w * b))
    residuals = np.sum(w * (b - a @ x) ** 2)
    got = xp.call(
        linalg.lstsq,
        xp.asarray(a),
        xp.asarray(b),
        weights=xp.asarray(unit * w),
        ridge=xp.asarray(unit * ridge * np.ones(3)),
    )
    assert bool(got.success)
    assert_close(got.x, x, rtol=500 * xp.eps)
    assert_close(got.residuals, unit * residuals, rtol=500 * xp.eps)
    assert_close(got.covariance, residuals / 17 * inverse, rtol=500 * xp.eps)
    root = unit**0.5 * xp.numpy(got.inverse_root)
    assert_close(root @ root.T, inverse, rtol=500 * xp.eps)


@pytest.mark.on("numpy")
@pytest.mark.op("linalg.lstsq")
def test_numpy_may_raise_whatever_it_tells_of(xp, rng):
    """What underflows inside is no error of the caller's, whose numbers are near one."""
    a, b = rng.standard_normal((50, 5)), rng.standard_normal(50)
    empty, hole = a.copy(), a.copy()
    empty[:, 2], hole[3, 2] = 0, np.nan
    for rows_of in (a, empty, hole, 0 * a):
        for method in ("auto", "cholesky_qr"):
            for right in (b, 0 * b):
                got = linalg.lstsq(rows_of, right, method=method)
                with np.errstate(all="raise"):
                    raised = linalg.lstsq(rows_of, right, method=method)
                np.testing.assert_array_equal(raised.x, got.x)
