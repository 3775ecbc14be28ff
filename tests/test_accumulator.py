"""GramAccumulator: chunks, orders, merges and libraries, against exact sums and `lstsq`."""

from __future__ import annotations

import copy
import io
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rows
import swath
from oracles_linalg import exact_solution
from swath.errors import RankDeficientError
from swath.linalg import GramAccumulator, lstsq
from swath.testing import assert_close
from test_least_squares import NIST, design, digits, gaussian

# Each new shape compiles where programs are compiled: two tests are about that.
EAGER = pytest.mark.on(*(name for name in rows.load() if not name.startswith("jax")))
FIELDS = ("x", "residuals", "rank", "stderr", "dof", "rows")


def summed(xp, a, b, w=None, *, sizes=(), kind=None):
    """An accumulator of host rows that came in pieces of some sizes, and the rest in one."""
    nrhs = 1 if b.ndim == 1 else b.shape[1]
    sums = GramAccumulator(a.shape[1], nrhs)
    edges = np.minimum(np.cumsum([0, *sizes]), len(a))
    for i, j in zip(edges, [*edges[1:], len(a)], strict=True):
        part = None if w is None else xp.asarray(w[i:j])
        sums.update(xp.asarray(a[i:j], kind), xp.asarray(b[i:j], kind), part)
    return sums


def bits(xp, state):
    return [xp.numpy(v).tobytes() for v in (state.high, state.low, state.top, state.rows)]


def exact_gram(xp, state):
    """The Gram matrix that a state stands for, in rationals."""
    high, low, top = (xp.numpy(v).astype(float) for v in (state.high, state.low, state.top))
    q = len(top)
    return [
        [
            (Fraction(high[i, j]) + Fraction(low[i, j])) * Fraction(top[i]) * Fraction(top[j])
            for j in range(q)
        ]
        for i in range(q)
    ]


def rational_gram(c, w):
    c = [[Fraction(float(v)) for v in row] for row in c]
    w = [Fraction(float(v)) for v in w]
    q = range(len(c[0]))
    return [
        [sum((v * r[i] * r[j] for r, v in zip(c, w, strict=True)), Fraction(0)) for j in q]
        for i in q
    ]


def close(xp, got, want, factor):
    """Fields of two results, to `factor` of the largest of each."""
    for name in FIELDS:
        there = getattr(want, name, None)
        if there is not None:
            there = np.asarray(there)
            size = float(np.max(np.abs(there)))
            assert_close(xp.numpy(getattr(got, name)), there, bound=factor * size)


# -- the sums --------------------------------------------------------------------------------------


@pytest.mark.on("numpy", "strict", "torch", "strict-no-float64", "dpnp")
@pytest.mark.parametrize("weighted", [False, True])
def test_the_pair_is_the_exact_gram_matrix_to_twice_the_precision(xp, rng, weighted):
    kind = xp.float
    a, b = rng.standard_normal((70, 3)).astype(kind), rng.standard_normal(70).astype(kind)
    a[:, 1] *= 1e6
    w = rng.random(70).astype(kind) if weighted else np.ones(70)
    sums = summed(xp, a, b, w if weighted else None, sizes=(10,) * 6)
    c = np.column_stack([a, b, np.ones(70)])
    got, want = exact_gram(xp, sums.state), rational_gram(c, w)
    unit = Fraction(2) ** (-97 if kind == "float64" else -41)
    size = np.abs(c).max(axis=0)
    for i in range(5):
        assert got[i] == [row[i] for row in got]
        for j in range(5):
            most = Fraction(float(size[i])) * Fraction(float(size[j])) * 70
            assert abs(got[i][j] - want[i][j]) <= unit * most, (i, j)
    # More than working precision can say.
    assert np.any(xp.numpy(sums.state.low) != 0)


@pytest.mark.on("numpy", "strict", "torch", "dpnp", "strict-no-float64")
def test_integers_are_summed_exactly(xp, rng):
    reach = 2**20 if xp.float == "float64" else 2**9
    a = rng.integers(-reach, reach, (40, 3))
    b = rng.integers(-reach, reach, 40)
    w = rng.integers(0, 9, 40)
    for weights in (None, w):
        sums = summed(xp, a, b, weights, sizes=(7, 0, 20), kind=xp.float)
        c = np.column_stack([a, b, np.ones(40)])
        want = rational_gram(c, np.ones(40) if weights is None else w)
        assert exact_gram(xp, sums.state) == want
        assert int(xp.numpy(sums.rows)) == (40 if weights is None else np.count_nonzero(w))


@pytest.mark.on("numpy", "strict")
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(0, 40), max_size=6),
    kind=st.sampled_from(["float32", "float64", "complex128"]),
    weighted=st.booleans(),
    nrhs=st.integers(1, 2),
    seed=st.integers(0, 2**16),
)
def test_any_chunking_gives_the_same_bits_and_any_order_the_same_solution(
    xp, sizes, kind, weighted, nrhs, seed
):
    rng = np.random.default_rng(seed)
    m = 60
    a, b = (gaussian(rng, m, k, kind="complex" if kind[0] == "c" else "real") for k in (3, nrhs))
    w = rng.random(m).astype("float32").astype(float) if weighted else None
    whole = summed(xp, a, b, w, kind=kind)
    parts = summed(xp, a, b, w, sizes=sizes, kind=kind)
    assert bits(xp, whole.state) == bits(xp, parts.state)
    order = rng.permutation(m)
    turned = summed(xp, a[order], b[order], None if w is None else w[order], sizes=sizes, kind=kind)
    eps = float(np.finfo(kind).eps)
    x = xp.numpy(whole.solve().x)
    assert x.dtype == kind
    assert_close(xp.numpy(turned.solve().x), x, bound=2 * eps * np.abs(x).max())
    want = lstsq(a, b, weights=w, accuracy="full").x
    want = want[:, 0] if nrhs == 1 else want
    assert_close(x, want.astype(kind), bound=4 * eps * np.abs(want).max())


@pytest.mark.on("numpy", "torch")
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_do_not_depend_on_the_chunks(xp, rng, weighted, kind):
    # More rows than are summed at once, and than are kept until then.
    m = 90_000
    a, b = gaussian(rng, m, 2, kind=kind), gaussian(rng, m, kind=kind)
    a[::1000] *= 100.0
    w = rng.random(m) if weighted else None
    want = bits(xp, summed(xp, a, b, w).state)
    for sizes in ((1, 9999, 17_000, 3), (16_384,) * 5, (70_000, 10), (15_000, 16_384, 40_000)):
        assert want == bits(xp, summed(xp, a, b, w, sizes=sizes).state)


@pytest.mark.on("numpy", "torch")
@pytest.mark.parametrize("weighted_from", [None, 40_000])
def test_sums_that_are_looked_at_are_the_same(xp, rng, weighted_from):
    m = 100_000
    a, b, w = gaussian(rng, m, 2), gaussian(rng, m), rng.random(m)
    found = []
    for looks in (False, True):
        sums = GramAccumulator(2)
        for i in range(0, m, 4000):
            some = slice(i, i + 4000)
            given = (w,) if weighted_from is not None and i >= weighted_from else ()
            sums.update(*(xp.asarray(v[some]) for v in (a, b, *given)))
            if looks:
                assert int(xp.numpy(sums.rows)) == i + 4000
        found.append(bits(xp, sums.state))
    assert found[0] == found[1]


@pytest.mark.on("numpy", "torch")
def test_blocks_with_weights_follow_others(xp, rng):
    m = 70_000
    a, b, w = rng.integers(-9, 9, (m, 2)), rng.integers(-9, 9, m), rng.integers(0, 3, m)
    sums, every = GramAccumulator(2, dtype="float64"), np.ones(m, int)
    for start, stop, weighted in (
        (0, 40_000, False), (40_000, 41_000, True), (41_000, 60_000, False), (60_000, m, True)
    ):  # fmt: skip
        some = slice(start, stop)
        every[some] = w[some] if weighted else 1
        given = (xp.asarray(w[some].astype(float)),) if weighted else ()
        sums.update(xp.asarray(a[some]), xp.asarray(b[some]), *given)
    c = np.column_stack([a, b, np.ones(m, int)])
    assert exact_gram(xp, sums.state) == (c.T @ (every[:, None] * c)).tolist()
    assert int(xp.numpy(sums.rows)) == np.count_nonzero(every)


@pytest.mark.on("numpy", "torch")
def test_rows_that_wait_are_copies(xp, rng):
    a, b = rng.standard_normal((40_000, 2)), rng.standard_normal(40_000)
    want = bits(xp, summed(xp, a, b).state)
    buffer, sums = xp.asarray(np.zeros((8000, 2))), GramAccumulator(2)
    for i in range(0, 40_000, 8000):
        # The caller's memory is filled anew.
        buffer[...] = xp.asarray(a[i : i + 8000])
        sums.update(buffer, xp.asarray(b[i : i + 8000]))
        buffer[...] = np.nan
    assert want == bits(xp, sums.state)


@pytest.mark.on("numpy", "torch", "jax-jit")
def test_a_step_takes_any_number_of_rows(xp, rng):
    # More than are summed at once, and no multiple: the loop is compiled where programs are.
    a, b = rng.integers(-9, 9, (40_001, 2)), rng.integers(-9, 9, 40_001)
    sums = GramAccumulator(2, dtype="float64")

    def stepped(a, b):
        return sums.step(sums.init(a), a, b)

    state = xp.call(stepped, xp.asarray(a), xp.asarray(b))
    c = np.column_stack([a, b, np.ones(len(a), int)])
    assert exact_gram(xp, state) == (c.T @ c).tolist()
    assert int(xp.numpy(state.rows)) == len(a)


@EAGER
def test_merging_is_commutative_and_associative(xp, rng):
    a, b = gaussian(rng, 30, 3), gaussian(rng, 30)
    a[10:20] *= 2.0**30  # other powers of two in each part
    cut = [slice(0, 10), slice(10, 20), slice(20, 30)]
    one, two, three = (summed(xp, a[i], b[i]).state for i in cut)
    sums = GramAccumulator(3)
    assert bits(xp, sums.join(one, two)) == bits(xp, sums.join(two, one))
    left = sums.solution(sums.join(sums.join(one, two), three))
    right = sums.solution(sums.join(one, sums.join(two, three)))
    want = lstsq(a, b, accuracy="full")
    close(xp, left, want, 8 * xp.eps)
    close(xp, right, want, 8 * xp.eps)
    merged = summed(xp, a[cut[0]], b[cut[0]])
    merged.merge(summed(xp, a[cut[1]], b[cut[1]]))
    merged.merge(three)
    merged.merge(GramAccumulator(3))
    merged.update(xp.asarray(a[:0]), xp.asarray(b[:0]))
    assert_close(merged.solve().x, want.x, bound=8 * xp.eps * np.abs(want.x).max())
    fresh = GramAccumulator(3)
    fresh.merge(merged)
    assert bits(xp, fresh.state) == bits(xp, merged.state)


# -- solutions -------------------------------------------------------------------------------------


@cache
def problem(name):
    found = {d["name"]: d for d in NIST}
    a, b = design(found[name], "float64")
    return a, b, exact_solution(a, b)


@pytest.mark.on("numpy", "torch", "strict", "dpnp")
@pytest.mark.parametrize("name", [d["name"] for d in NIST])
def test_nist_in_chunks_of_ten_rows_in_any_order(xp, name):
    a, b, exact = problem(name)
    order = np.random.default_rng(3).permutation(len(b))
    for rows_in in (np.arange(len(b)), order):
        sums = summed(xp, a[rows_in], b[rows_in], sizes=(10,) * (len(b) // 10))
        # Filip's condition is 5·10⁹; its square is what the pair has to bear.
        assert digits(xp.numpy(sums.solve().x), exact) >= (10.0 if name == "Filip" else 14.5)


@EAGER
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_everything_that_lstsq_says(xp, rng, kind):
    a, b = gaussian(rng, 12, 3, kind=kind), gaussian(rng, 12, 2, kind=kind)
    w = np.abs(gaussian(rng, 12))
    w[4] = 0.0
    for ridge in (0, 0.5, np.array([0.0, 1.0, 0.25])):
        given = ridge if np.ndim(ridge) == 0 else xp.asarray(ridge)
        sums = summed(xp, a, b, w, sizes=(5, 0, 4))
        got = sums.solve(ridge=given)
        want = lstsq(a, b, weights=w, ridge=ridge, accuracy="full")
        close(xp, got, want, 40 * xp.eps)
        assert int(xp.numpy(got.rows)) == 11
        assert bool(xp.numpy(got.success))
        size = np.abs(want.covariance).max()
        assert_close(xp.numpy(got.covariance), want.covariance, bound=100 * xp.eps * size)
        rest = np.sum(w[:, None] * np.abs(b - a @ want.x) ** 2, axis=0)
        mean = np.sum(w[:, None] * b, axis=0) / w.sum()
        spread = np.sum(w[:, None] * np.abs(b - mean) ** 2, axis=0)
        assert_close(xp.numpy(got.r_squared), 1 - rest / spread, bound=40 * xp.eps)


@EAGER
def test_weights_may_begin_and_end_at_any_chunk(xp, rng):
    a, b, w = gaussian(rng, 20, 2), gaussian(rng, 20), np.abs(gaussian(rng, 20))
    w[:5] = w[15:] = 1.0
    sums = GramAccumulator(2)
    for i in range(0, 20, 5):
        given = xp.asarray(w[i : i + 5]) if 0 < i < 15 else None
        sums.update(xp.asarray(a[i : i + 5]), xp.asarray(b[i : i + 5]), given)
    close(xp, sums.solve(), lstsq(a, b, weights=w, accuracy="full"), 16 * xp.eps)


@EAGER
def test_dependent_columns(xp, rng):
    a, b = gaussian(rng, 12, 4), gaussian(rng, 12)
    a[:, 2] = 2 * a[:, 0] - a[:, 1]
    sums = summed(xp, a, b, sizes=(5, 5))
    small = sums.solve()
    want = lstsq(a, b, accuracy="full")
    assert int(xp.numpy(small.rank)) == 3
    close(xp, small, want, 4000 * xp.eps)
    if xp.lazy:
        assert np.isnan(xp.numpy(sums.solve(on_deficient="raise").x)).all()
        with pytest.raises(NotImplementedError, match="cannot be traced"):
            sums.solve(on_deficient="drop")
        return
    dropped = sums.solve(on_deficient="drop")
    want = lstsq(a, b, on_deficient="drop", accuracy="full")
    assert dropped.columns == want.columns
    missing = ({0, 1, 2, 3} - set(want.columns)).pop()
    assert_close(xp.numpy(dropped.x), want.x, bound=100 * xp.eps * np.abs(want.x).max())
    assert xp.numpy(dropped.x)[missing] == 0.0
    assert np.isnan(xp.numpy(dropped.stderr)[missing])
    with pytest.raises(RankDeficientError, match=r"solve: the columns of A are dependent \(rank 3"):
        sums.solve(on_deficient="raise")
    # A ridge makes them independent.
    fixed = sums.solve(ridge=0.5, on_deficient="raise")
    close(xp, fixed, lstsq(a, b, ridge=0.5, accuracy="full"), 64 * xp.eps)


@pytest.mark.on("numpy", "strict", "torch")
def test_dependent_columns_of_complex_numbers(xp, rng):
    a, b = (gaussian(rng, *shape, kind="complex") for shape in ((9, 3), (9, 2)))
    a[:, 2] = (1 + 2j) * a[:, 0]
    sums = summed(xp, a, b)
    close(xp, sums.solve(), lstsq(a, b, accuracy="full"), 4000 * xp.eps)
    assert sums.solve(on_deficient="drop").columns == (0, 1)
    with pytest.raises(RankDeficientError, match=r"column 2 = \(1\+2j\)·column 0"):
        sums.solve(on_deficient="raise")


@pytest.mark.on("numpy", "strict", "torch")
def test_small_residuals_and_conditions(xp, rng):
    """What is left of b is a difference of sums that agree in most digits."""
    a = rng.standard_normal((14, 3))
    a[:, 2] = a[:, 0] + 2.0**-10 * a[:, 2]
    a *= 1.5 / np.linalg.norm(a, axis=0)
    b = a @ np.ones(3) + 1e-6 * rng.standard_normal(14)
    got = summed(xp, a, b, sizes=(5,)).solve()
    x = [Fraction(v) for v in exact_solution(a, b)]
    rest = [
        Fraction(v) - sum(Fraction(u) * w for u, w in zip(row, x, strict=True))
        for row, v in zip(a, b, strict=True)
    ]
    assert_close(got.residuals, np.array(float(sum(v * v for v in rest))), rtol=1e-8)
    # Columns of one length, no power of two, are all scaled by the same.
    assert 0.999 <= xp.numpy(got.condition) / np.linalg.cond(a) <= 1.001 * 3**0.5


@pytest.mark.on("numpy", "strict", "torch")
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("count", [0, 5])
def test_columns_of_zeros_alone(xp, rng, kind, count):
    """As of rows that say nothing, or of none: the least solution, and no column to keep."""
    b = gaussian(rng, count, 2, kind=kind)
    sums = summed(xp, np.zeros((count, 3), b.dtype), b)
    for on_deficient, columns in (("min_norm", (0, 1, 2)), ("drop", ())):
        got = sums.solve(on_deficient=on_deficient)
        assert_close(got.x, np.zeros((3, 2), b.dtype))
        assert_close(got.residuals, np.sum(np.abs(b) ** 2, axis=0), rtol=8 * xp.eps)
        assert got.columns == columns
        assert_close(got.rank, np.array(0))
        assert_close(got.dof, np.array(count))
    assert np.isnan(xp.numpy(got.stderr)).all()
    with pytest.raises(RankDeficientError, match=r"dependent \(rank 0 of 3\): column 0 = 0;"):
        sums.solve(on_deficient="raise")


@EAGER
def test_columns_of_any_size(xp, rng):
    far = 150 if xp.float == "float64" else 15
    scale = 10.0 ** np.array([far, 0, -far])
    a, b = gaussian(rng, 20, 3), gaussian(rng, 20)
    c = (a * scale).astype(xp.float)
    got = summed(xp, c, b, sizes=(7, 7)).solve()
    exact = exact_solution(c, b)
    assert digits(xp.numpy(got.x), exact) >= (14.5 if xp.float == "float64" else 5.5)
    assert int(xp.numpy(got.rank)) == 3
    zeros = summed(xp, np.column_stack([a, np.zeros(20)]), b).solve()
    assert int(xp.numpy(zeros.rank)) == 3
    assert xp.numpy(zeros.x)[3] == 0.0


@EAGER
def test_nothing_yet_nothing_at_all_and_fewer_rows_than_columns(xp, rng):
    sums = GramAccumulator(3)
    assert sums.state is None
    assert sums.rows == 0
    sums.update(xp.asarray(np.zeros((0, 3))), xp.asarray(np.zeros(0)))
    empty = sums.solve()
    assert_close(xp.numpy(empty.x), np.zeros(3))
    assert (int(xp.numpy(empty.rank)), int(xp.numpy(empty.dof))) == (0, 0)
    assert np.isnan(xp.numpy(empty.r_squared))
    a, b = gaussian(rng, 2, 3), gaussian(rng, 2)
    sums.update(xp.asarray(a), xp.asarray(b))
    got = sums.solve()
    assert int(xp.numpy(got.rank)) == 2
    want = lstsq(a, b, accuracy="full").x
    assert_close(xp.numpy(got.x), want, bound=1000 * xp.eps * np.abs(want).max())
    sums.reset()
    assert sums.state is None


@EAGER
def test_rows_of_weight_zero_count_for_nothing(xp, rng):
    a, b, w = gaussian(rng, 9, 2), gaussian(rng, 9), np.ones(9)
    w[3:6] = 0.0
    a[3:6] *= 1e3
    kept = w > 0
    got = summed(xp, a, b, w, sizes=(4,)).solve()
    close(xp, got, lstsq(a[kept], b[kept], accuracy="full"), 16 * xp.eps)
    none = summed(xp, a, b, 0 * w).solve()
    assert_close(xp.numpy(none.x), np.zeros(2))
    assert int(xp.numpy(none.rank)) == 0


@EAGER
def test_nan_stays_and_says_so(xp, rng):
    a, b = gaussian(rng, 8, 2), gaussian(rng, 8, 2)
    for value in (np.nan, np.inf):
        broken = b.copy()
        broken[2, 1] = value
        got = summed(xp, a, broken, sizes=(3,)).solve()
        x = xp.numpy(got.x)
        assert_close(x[:, 0], lstsq(a, b).x[:, 0], bound=64 * xp.eps * np.abs(x[:, 0]).max())
        assert np.all(np.isnan(x[:, 1]))
        assert not bool(xp.numpy(got.success))
        broken = a.copy()
        broken[2, 1] = value
        got = summed(xp, broken, b, sizes=(3,)).solve()
        assert np.all(np.isnan(xp.numpy(got.x)))
        assert (int(xp.numpy(got.rank)), bool(xp.numpy(got.success))) == (0, False)


@pytest.mark.on("strict-no-float64", "torch")
def test_float32_alone_holds_twice_its_precision(xp):
    # The condition of the scaled columns is 10³, its square 10⁶.
    a = np.linspace(0, 1, 300)[:, None].astype("float32") ** np.arange(5, dtype="float32")
    b = (a @ np.ones(5) + 0.1 * np.sin(37 * np.arange(300))).astype("float32")
    got = summed(xp, a, b, sizes=(10,) * 30, kind="float32").solve()
    assert xp.numpy(got.x).dtype == "float32"
    assert digits(xp.numpy(got.x), exact_solution(a, b)) >= 5.5


# -- libraries and files ---------------------------------------------------------------------------


@pytest.mark.on("numpy", "torch", "strict-device1", "strict-no-float64", "dpnp")
def test_files_go_from_library_to_library(xp, rng, tmp_path):
    a, b = gaussian(rng, 9, 2, kind="complex"), gaussian(rng, 9, kind="complex")
    sums = summed(xp, a[:5], b[:5])
    sums.save(tmp_path / "sums.npz")
    with np.load(tmp_path / "sums.npz", allow_pickle=False) as found:
        assert set(found) == {"high", "low", "top", "rows", "problem"}
    # On the host, and back in the library it came from.
    there = GramAccumulator.load(tmp_path / "sums.npz")
    there.update(a[5:].astype(xp.complex), b[5:].astype(xp.complex))
    file = io.BytesIO()
    there.save(file)
    file.seek(0)
    name = {"strict": "array_api_strict"}.get(xp.backend, xp.backend)
    back = swath.bind(name, device=xp.device).linalg.GramAccumulator.load(file)
    assert type(back.state.high) is type(sums.state.high)
    assert repr(back) == f"<GramAccumulator: 9 rows of 2 columns, {xp.complex}>"
    want = lstsq(a, b, accuracy="full").x
    assert_close(xp.numpy(back.solve().x), want, bound=16 * xp.eps * np.abs(want).max())


@pytest.mark.parametrize("kind", ["other", "future", "array", "text", "empty", "cut", "changed"])
def test_other_and_damaged_files_are_refused(tmp_path, kind):
    sums = GramAccumulator(2)
    sums.update(np.eye(3, 2), np.ones(3))
    file = tmp_path / "sums.npz"
    sums.save(file)
    whole = file.read_bytes()
    at = whole.index(b"NUMPY", len(whole) // 2) + 100
    if kind == "other":
        np.savez(file, high=np.ones(2))
    elif kind == "future":
        with np.load(file) as found:
            np.savez(file, **{**found, "problem": found["problem"] + 1})
    elif kind == "array":
        with file.open("wb") as f:
            np.save(f, np.ones(2))
    else:
        changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        parts = {"text": b"a text", "empty": b"", "cut": whole[: len(whole) // 2]}
        file.write_bytes(parts.get(kind, changed))
    with pytest.raises(
        ValueError, match=r"load: file is none that GramAccumulator\.save wrote, or"
    ):
        GramAccumulator.load(file)


@pytest.mark.on("numpy", "torch", "strict", "jax-x32")
def test_a_bound_library_takes_host_rows(xp, rng):
    a, b = gaussian(rng, 8, 2), gaussian(rng, 8)
    sw = swath.bind({"strict": "array_api_strict"}.get(xp.backend, xp.backend))
    sums = sw.linalg.GramAccumulator(2)
    assert isinstance(sums, GramAccumulator)
    sums.update(a[:5], b[:5].tolist(), [1.0] * 5)
    sums.update(a[5:].tolist(), b[5:])
    got = sums.solve(ridge=[0.0, 0.5])
    assert isinstance(got.x, type(xp.asarray(a)))
    want = lstsq(a, b, ridge=np.array([0.0, 0.5])).x
    assert_close(sw.to_numpy(got.x), want, bound=64 * xp.eps * np.abs(want).max())


@pytest.mark.on("numpy")
def test_dtypes_are_those_of_the_first_rows_or_as_asked(xp):
    ints, halves = np.array([[1, 0], [1, 1], [1, 2]]), np.ones(3, "float16")
    sums = GramAccumulator(2)
    sums.update(ints, np.array([1, 2, 3]))
    assert sums.solve().x.dtype == "float64"
    sums.update(ints.astype("float32"), halves)
    assert sums.state.high.dtype == "float64"
    sums = GramAccumulator(2)
    sums.update(ints.astype("float16"), halves)
    assert sums.solve().x.dtype == "float32"
    sums.update(ints, np.ones(3, int))
    with pytest.raises(TypeError, match=r"update: A is float64 and the sums so far are float32"):
        sums.update(ints.astype(float), np.ones(3))
    assert int(sums.rows) == 6  # the failed update changed nothing
    wide = GramAccumulator(2, dtype="complex128")
    wide.update(ints, np.ones(3, "float32"))
    wide.update(ints * 1j, np.ones(3))
    assert wide.solve().x.dtype == "complex128"
    narrow = GramAccumulator(1, dtype="float32")
    narrow.update(np.ones((2, 1), "int8"), [300, 300])
    narrow.update(np.ones((1, 1), "float32"), [300.0])
    assert_close(narrow.solve().x, [300.0], dtype="float32")
    for kind in ("int32", "nothing", 3, np, np.ones(2), object()):
        with pytest.raises(TypeError, match="update: dtype must be float32, float64"):
            GramAccumulator(2, dtype=kind).update(ints, halves)
    assert repr(GramAccumulator(2, 3)) == (
        "<GramAccumulator: no rows yet of 2 columns and 3 right-hand sides>"
    )


@pytest.mark.on("numpy", "torch")
def test_sums_of_another_problem_are_refused(xp):
    """By merge and the pure functions alike, also where one of the two has no rows yet."""

    def made(n, k=1, dtype="float64", asked=None):
        sums = GramAccumulator(n, k, dtype=asked)
        shapes = (3, n), (3, k)
        sums.update(*(xp.asarray(np.ones(shape), dtype) for shape in shapes))
        return sums

    one, text = made(2), "both must be sums of one problem, got n=2, nrhs=1"
    state = one.state
    for other, said in (
        (made(3), ", float64 and n=3, nrhs=1, float64"),
        (made(2, 2), ", float64 and n=2, nrhs=2, float64"),
        (made(2, dtype="float32"), ", float64 and n=2, nrhs=1, float32"),
        (GramAccumulator(3), " and n=3, nrhs=1"),
        (GramAccumulator(2, 2), " and n=2, nrhs=2"),
    ):
        with pytest.raises(ValueError, match=f"merge: {text}{said}$"):
            one.merge(other)
        if other.state is None:
            continue
        with pytest.raises(ValueError, match=f"join: {text}{said}$"):
            one.join(state, other)
        # Of no rows, dtype is any that was not asked for.
        if other.state.kind == state.kind:
            with pytest.raises(ValueError, match=f"merge: {text}{said}$"):
                GramAccumulator(2).merge(other)
            for call in (
                lambda s: one.step(s, xp.asarray(np.ones((1, 2))), xp.asarray(np.ones(1))),
                lambda s: one.join(s, state),
                lambda s: one.solution(s),
            ):
                with pytest.raises(ValueError, match="state must be one of n=2, nrhs=1, got n="):
                    call(other.state)
    with pytest.raises(ValueError, match=f"{text}, float32 and n=2, nrhs=1, float64$"):
        GramAccumulator(2, dtype="float32").merge(one)
    with pytest.raises(TypeError, match="solution: state must be a state of init or step, got "):
        one.solution(one)
    with pytest.raises(TypeError, match="merge: other must be a GramAccumulator or a state, got "):
        one.merge(None)
    with pytest.raises(ValueError, match="save: there are no rows yet"):
        GramAccumulator(2).save("never")
    with pytest.raises(ValueError, match="solve: there are no rows yet: call update first"):
        GramAccumulator(2).solve()
    assert int(one.rows) == 3


@pytest.mark.on("numpy", "torch", "strict")
def test_a_copy_goes_on_by_itself(xp, rng):
    a, b = gaussian(rng, 8, 2), gaussian(rng, 8)
    one = summed(xp, a[:5], b[:5])
    two = copy.copy(one)
    one.update(xp.asarray(-a[5:]), xp.asarray(b[5:]))
    two.update(xp.asarray(a[5:]), xp.asarray(b[5:]))
    want = lstsq(a, b).x
    assert_close(xp.numpy(two.solve().x), want, bound=64 * xp.eps * np.abs(want).max())


@pytest.mark.on("numpy", "torch")
def test_rows_that_the_dtype_of_the_sums_does_not_hold(xp):
    sums, ones = GramAccumulator(2), np.ones((3, 2))
    sums.update(*(xp.asarray(v, "float32") for v in (ones, ones[:, 0])))
    # A list of real numbers is weak, of complex ones it is not.
    sums.update(xp.asarray(ones, "float32"), [1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="update: b is complex64 and the sums so far are float32"):
        sums.update(xp.asarray(ones, "float32"), [1j, 2.0, 3.0])
    with pytest.raises(TypeError, match="step: A is float64 and the sums so far are float32"):
        sums.step(sums.state, xp.asarray(ones, "float64"), xp.asarray(ones[:, 0], "float32"))
    assert int(sums.rows) == 6


# -- inside transformations ------------------------------------------------------------------------


@pytest.mark.on("jax-jit")
def test_step_is_the_body_of_scan(xp):
    import jax

    a, b, exact = problem("Filip")
    more = -len(b) % 10
    # Rows of weight 0 fill the last chunk.
    w = np.append(np.ones(len(b)), np.zeros(more))
    a, b = np.pad(a, ((0, more), (0, 0))), np.pad(b, (0, more))
    chunks = [xp.asarray(v.reshape(-1, 10, *v.shape[1:])) for v in (a, b, w)]

    @jax.jit
    def run(*chunks):
        sums = GramAccumulator(a.shape[1])
        half = [jax.tree.map(lambda v, i=i: v[i::2], chunks) for i in (0, 1)]
        states = [
            jax.lax.scan(lambda s, c: (sums.step(s, *c), None), sums.init(chunks[0]), part)[0]
            for part in half
        ]
        state = sums.join(*states)
        return sums.solution(state, on_deficient="raise"), state

    got, state = run(*chunks)
    assert digits(xp.numpy(got.x), exact) >= 10.0
    assert (int(got.rows), int(got.dof), bool(got.success)) == (82, 71, True)
    sums = GramAccumulator(a.shape[1])
    sums.merge(state)
    assert digits(xp.numpy(sums.solve().x), exact) >= 10.0


@pytest.mark.on("jax")
def test_jax_step_by_step_and_its_gradients(xp, rng):
    import jax
    from jax import numpy as jnp

    a, b, w = gaussian(rng, 8, 2), gaussian(rng, 8), np.abs(gaussian(rng, 8)) + 0.5
    sums = GramAccumulator(2)
    for i in (0, 4):
        sums.update(*(xp.asarray(v[i : i + 4]) for v in (a, b, w)))
    want = lstsq(a, b, weights=w, accuracy="full")
    close(xp, sums.solve(), want, 40 * xp.eps)

    def ours(a, b, w, ridge):
        state = sums.init(a)
        for i in (0, 4):
            state = sums.step(state, a[i : i + 4], b[i : i + 4], w[i : i + 4])
        x = sums.solution(state, ridge=ridge).x
        return jnp.sum(jnp.sin(x) * jnp.asarray([1.0, 2.0], x.dtype))

    def theirs(a, b, w, ridge):
        root = jnp.sqrt(w)
        gram = (root[:, None] * a).T @ (root[:, None] * a) + jnp.diag(ridge)
        x = jnp.linalg.solve(gram, a.T @ (w * b))
        return jnp.sum(jnp.sin(x) * jnp.asarray([1.0, 2.0], x.dtype))

    given = [xp.asarray(v) for v in (a, b, w, np.array([0.25, 0.5]))]
    got, wanted = (jax.jit(jax.grad(f, argnums=(0, 1, 2, 3)))(*given) for f in (ours, theirs))
    for one, other in zip(got, wanted, strict=True):
        other = xp.numpy(other)
        assert_close(xp.numpy(one), other, bound=200 * xp.eps * np.abs(other).max())


@pytest.mark.on("torch")
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_torch_differentiates_through_chunks(xp, rng, kind):
    import torch

    given = [
        xp.asarray(v).requires_grad_()
        for v in (
            gaussian(rng, 6, 2, kind=kind),
            gaussian(rng, 6, kind=kind),
            np.abs(gaussian(rng, 6)) + 0.5,
        )
    ]

    def ours(a, b, w):
        sums = GramAccumulator(2)
        sums.update(a[:4], b[:4], w[:4])
        sums.update(a[4:], b[4:], w[4:])
        return sums.solve(ridge=0.5).x

    assert torch.autograd.gradcheck(ours, given, rtol=1e-5, atol=1e-7)
    if kind == "real":
        assert torch.autograd.gradgradcheck(ours, given, rtol=1e-4, atol=1e-6)


@pytest.mark.on("torch")
def test_torch_rows_of_one_block_may_be_differentiated_or_not(xp, rng):
    import torch

    a, b = (xp.asarray(v) for v in (rng.standard_normal((9, 2)), rng.standard_normal(9)))

    def solved(b, parts):
        sums = GramAccumulator(2)
        for part in parts:
            sums.update(a[part], b[part] if part.start == 3 else b[part].detach())
        return sums.solve().x

    b.requires_grad_()
    parts = [slice(0, 3), slice(3, 6), slice(6, 9)]
    (got,) = torch.autograd.grad(solved(b, parts)[0], b)
    want = torch.linalg.pinv(a)[0].clone()
    want[:3] = want[6:] = 0
    assert_close(xp.numpy(got), xp.numpy(want), rtol=64 * xp.eps)


@pytest.mark.on("torch")
@pytest.mark.parametrize("first", [20, 300])
def test_torch_rows_may_come_in_inference_mode_first(xp, rng, first):
    """What is made there PyTorch lets nobody write into elsewhere."""
    import torch

    a, b = xp.asarray(rng.standard_normal((400, 3))), xp.asarray(rng.standard_normal(400))
    sums = GramAccumulator(3)
    with torch.inference_mode():
        sums.update(a[:first], b[:first])
    a.requires_grad_()
    sums.update(a[first:], b[first:])
    want = torch.linalg.pinv(a) @ b
    got = sums.solve().x
    assert_close(xp.numpy(got), xp.numpy(want), rtol=1e3 * xp.eps)
    (slope,), (whole,) = (torch.autograd.grad(x.sum(), a) for x in (got, want))
    assert_close(slope[first:], whole[first:], rtol=1e4 * xp.eps, atol=1e-12)


def test_standard_errors_in_units_whose_squares_leave_the_dtype(xp, rng):
    a, b = gaussian(rng, 12, 3), gaussian(rng, 12)
    want = lstsq(a, b)
    for unit in (2.0**-80, 2.0**80):
        sums = GramAccumulator(3)
        sums.update(*(xp.asarray((v * unit), "float32") for v in (a, b)))
        found = sums.solve()
        assert_close(found.x, want.x, rtol=1e-4, dtype="float32")
        assert_close(found.stderr, want.stderr, rtol=1e-4, dtype="float32")


@pytest.mark.on("numpy", "torch", "dask", "strict")
def test_any_number_of_rows_in_single_precision_has_a_solution(xp, rng):
    """rows·eps is 0.8 at 6.7 million rows, and has no end."""
    t = np.linspace(3, 4, 100)
    a, b = np.stack([np.ones(100), t], axis=1), 1 + 2 * t + rng.standard_normal(100)
    sums = summed(xp, a.astype(np.float32), b.astype(np.float32), kind="float32")
    want = xp.numpy(sums.solve().x)
    for _ in range(30):
        sums.merge(sums)
    got = sums.solve()
    assert int(xp.numpy(got.rows)) == 100 << 30
    assert int(xp.numpy(got.rank)) == 2
    assert_close(xp.numpy(got.x), want, rtol=1e-6)
