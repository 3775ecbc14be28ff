"""What docs/accuracy.rst says: its figures, and the rule by which "auto" takes a transform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scripts
import swath
from swath.geometry import Span
from swath.sliding.overlap_save import frames_of
from swath.sliding.plan import METHODS

DOCS = Path(__file__).parents[1] / "docs"
SPECTRAL = ("fft", "overlap_save")


@pytest.fixture(scope="module")
def figures():
    return scripts.loaded("docs", "accuracy_figures.py")


@pytest.fixture(scope="module")
def rows(figures):
    return {(r.method, r.dtype): r for r in figures.rows()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_direct_lets_nothing_leave_its_windows(rows, dtype):
    row = rows["direct", dtype]
    assert (row.worse, row.nan, row.inf, row.spread) == (0, 0, 0, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_toeplitz_loses_no_digit_and_keeps_a_nan_within_its_frame(figures, rows, dtype):
    row = rows["toeplitz", dtype]
    assert (row.worse, row.spike <= 2 * row.clean) == (0, True)
    assert 0 < row.spread <= 256 + figures.TAPS
    assert row.nan == row.inf < 512


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_overlap_save_keeps_it_within_its_frame_and_fft_in_nothing(figures, rows, dtype):
    around = figures.TAPS - 1
    ((frame, *_),) = frames_of((Span(figures.POINTS, figures.TAPS, low=around, high=around),))
    framed, whole = rows["overlap_save", dtype], rows["fft", dtype]
    assert frame == 1024
    for row in (framed, whole):
        # "no correct digit" in float32, "about nine of sixteen" in float64
        low, high = (0.05, 10.0) if dtype == "float32" else (1e-10, 2e-8)
        assert low < row.spike < high
        assert row.worse > 0
    assert max(framed.reach, framed.spread) < frame
    assert framed.worse <= framed.nan < frame
    outputs = figures.POINTS + figures.TAPS - 1
    assert whole.nan == whole.inf == outputs - figures.TAPS
    assert whole.worse > 0.99 * whole.nan


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_a_bad_sample_all_paths_keep_the_contract(rows, dtype):
    eps = np.finfo(dtype).eps
    for method in ("direct", "toeplitz", "overlap_save", "fft"):
        assert rows[method, dtype].clean < 64 * eps


def test_the_page_shows_the_tables(figures):
    text = (DOCS / "accuracy.rst").read_text(encoding="utf-8")
    for name in ("accuracy_neighbours.inc", "accuracy_plans.inc"):
        assert f"generated/{name}" in text
    table = figures.neighbours()
    assert table.count("\n   * - ") == 1 + 8
    for method in figures.METHODS:
        assert f"``{method}``" in text
    assert figures.plans().count("\n   * - ") == 1 + len(figures.SHAPES)


GRID = [
    ((n,), (k,))
    for n in (16, 200, 3000, 2**15, 2**18, 2**21)
    for k in (1, 2, 7, 31, 200, 1500, 2**14, 2**17)
] + [((n, n), (k, k)) for n in (8, 64, 512, 2048) for k in (1, 3, 9, 40, 200, 700)]


def planned(lengths, sizes, dtype, value=0.0):
    x = np.broadcast_to(np.asarray(value, dtype), lengths)
    return swath.plan(swath.signal.convolve, x, np.broadcast_to(np.asarray(value, dtype), sizes))


@pytest.mark.op("signal.convolve")
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_auto_takes_a_transform_only_where_all_else_is_predicted_four_times_slower(dtype):
    taken = set()
    for lengths, sizes in GRID:
        plan = planned(lengths, sizes, dtype)
        # What would hold more than the workspace is no candidate.
        seconds = {
            c.method: float("inf") if "allowed" in c.note else c.seconds for c in plan.candidates
        }
        assert set(seconds) == set(METHODS)
        exact = min(s for m, s in seconds.items() if m not in SPECTRAL)
        transform = min(seconds[m] for m in SPECTRAL)
        slower = exact > 4 * transform
        assert (plan.method in SPECTRAL) == slower, (lengths, sizes, str(plan))
        # Of its kind the fastest.
        assert seconds[plan.method] == (transform if slower else exact)
        taken.add(plan.method)
    assert taken >= {"direct", "toeplitz", "fft", "overlap_save"}


@pytest.mark.op("signal.convolve")
def test_auto_looks_at_no_value_and_keeps_integers_exact():
    for lengths, sizes in GRID[::5]:
        plans = {planned(lengths, sizes, "float32", v) for v in (0.0, 1.0, 1e30, np.nan, np.inf)}
        assert len(plans) == 1
        for dtype in ("int8", "uint16", "int64"):
            plan = planned(lengths, sizes, dtype, 1)
            assert plan.method in ("direct", "native", "toeplitz", "im2col")
            assert plan.error_bound == "exact modulo 2^bits"


@pytest.mark.on("numpy", "jax", "torch", "strict", "dpnp")
@pytest.mark.op("signal.convolve")
def test_the_rule_holds_on_every_library(xp):
    for n, k in ((64, 3), (3000, 31), (2**14, 2**13)):
        x, kernel = xp.asarray(np.zeros(n)), xp.asarray(np.zeros(k))
        plan = swath.plan(swath.signal.convolve, x, kernel)
        seconds = {c.method: c.seconds for c in plan.candidates}
        exact = min(s for m, s in seconds.items() if m not in SPECTRAL)
        transform = min(seconds[m] for m in SPECTRAL)
        assert (plan.method in SPECTRAL) == (exact > 4 * transform)
        assert swath.signal.choose_conv_method(x, kernel) == (
            "fft" if plan.method in SPECTRAL else "direct"
        )
