"""NIST's certified linear least-squares sets: correct digits of the worst coefficient.

Two references: the exact solution of the matrix as float64 (or float32) holds it, in rationals, and
NIST's certified values, which belong to the decimal data.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import scipy.linalg

import swath
from oracles_linalg import exact_solution
from test_least_squares import NIST, design, digits, householder

pytestmark = pytest.mark.optimised
lstsq = swath.linalg.lstsq
NAMES = [d["name"] for d in NIST]
SETS = {d["name"]: d for d in NIST}
# JAX compiles for every shape: of seven, those that differ in what they ask for.
FEW = ["Filip", "Longley", "Wampler5"]
_COMPILED = {}


@cache
def problem(name, dtype="float64"):
    a, b = design(SETS[name], dtype)
    return a, b, exact_solution(a, b)


def solve(xp, name, **options):
    """lstsq on a row; compiled once for each shape and choice of options."""
    a, b, _ = problem(name, xp.float)
    a, b = xp.asarray(a), xp.asarray(b)
    if not xp.traced:
        return lstsq(a, b, **options)
    import jax

    key = tuple(sorted(options.items()))
    if key not in _COMPILED:
        _COMPILED[key] = jax.jit(lambda a, b: lstsq(a, b, **options))
    return _COMPILED[key](a, b)


@pytest.mark.on("numpy", "torch", "strict", "dpnp")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("method", ["auto", "normal", "cholesky_qr"])
@pytest.mark.parametrize("name", NAMES)
def test_full_accuracy_is_the_exact_solution_to_the_last_digit(xp, name, method):
    got = solve(xp, name, method=method, accuracy="full")
    least = 15.0 if xp.backend == "numpy" else 14.5
    assert digits(xp.numpy(got.x), problem(name)[2]) >= least
    assert bool(xp.numpy(got.success))


@pytest.mark.on("jax-jit")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("name", NAMES)
def test_full_accuracy_compiled(xp, name):
    got = solve(xp, name, accuracy="full")
    assert digits(xp.numpy(got.x), problem(name)[2]) >= 14.5
    assert bool(xp.numpy(got.success))


@pytest.mark.on("jax")
@pytest.mark.op("linalg.lstsq")
def test_full_accuracy_on_jax_step_by_step(xp):
    got = solve(xp, "Filip", accuracy="full")
    assert digits(xp.numpy(got.x), problem("Filip")[2]) >= 14.5


@pytest.mark.on("jax-jit")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("accuracy", ["full", "standard"])
def test_cholesky_qr_compiled(xp, name, accuracy):
    got = solve(xp, name, method="cholesky_qr", accuracy=accuracy)
    a, b, exact = problem(name)
    least = 14.5 if accuracy == "full" else digits(householder(a, b), exact) - 0.5
    assert digits(xp.numpy(got.x), exact) >= least


@pytest.mark.on("numpy", "torch", "jax-jit")
@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("name", NAMES)
def test_default_has_more_digits_than_householder_qr(xp, name):
    a, b, exact = problem(name)
    own = digits(householder(a, b), exact)
    least = own - 0.5
    assert digits(xp.numpy(solve(xp, name).x), exact) >= min(14.5, own + 1.5)
    if not xp.traced:
        got = solve(xp, name, method="cholesky_qr")
        assert digits(xp.numpy(got.x), exact) >= least


@pytest.mark.op("linalg.lstsq")
@pytest.mark.parametrize("name", NAMES)
def test_certified_values_are_met_as_well_as_the_matrix_allows(name):
    # Rounding the decimal data to float64 moves the solution: Filip's keeps 7.6 digits of the
    # certified values, Wampler2's 13.2. A peer's error can point back to them by chance; more than
    # the matrix says no method knows.
    a, b, exact = problem(name)
    certified = np.array([float(v) for v in SETS[name]["b"]])
    got = digits(lstsq(a, b, accuracy="full").x, certified)
    allowed = digits(exact, certified)
    assert got >= allowed - 0.01
    peers = {
        "numpy": np.linalg.lstsq(a, b, rcond=None)[0],
        "gelsd": scipy.linalg.lstsq(a, b, lapack_driver="gelsd")[0],
        "gelsy": scipy.linalg.lstsq(a, b, lapack_driver="gelsy")[0],
        "qr": householder(a, b),
    }
    for peer in peers.values():
        assert got >= min(digits(peer, certified), allowed - 0.01)


@pytest.mark.on("strict-no-float64", "jax-x32")
@pytest.mark.op("linalg.lstsq")
def test_float32_alone_reaches_six_digits_where_its_qr_has_two_or_three(xp, rng):
    # A polynomial on [1, 2]: the condition of its scaled columns is 3·10⁴.
    a = (np.linspace(1, 2, 60)[:, None] ** np.arange(5)).astype("float32")
    theirs = []
    for _ in range(4):
        b = (a @ np.ones(5) + 0.1 * rng.standard_normal(60)).astype("float32")
        exact = exact_solution(a, b)
        got = xp.numpy(lstsq(xp.asarray(a), xp.asarray(b), accuracy="full").x)
        assert got.dtype == "float32"
        assert digits(got, exact) >= 6
        theirs.append(digits(householder(a, b), exact))
    assert min(theirs) < 3.5
