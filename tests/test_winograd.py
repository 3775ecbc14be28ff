"""Winograd's filtering against loops, its own error bound, and how far it spreads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import oracles_core
import swath
from swath._backends import backend_of
from swath.geometry import Sliding, Span
from swath.sliding import correlate, plan, spread
from swath.sliding.problem import Problem
from swath.testing import _host, assert_close, tolerance

pytestmark = pytest.mark.op("sliding.correlate")

# Odd and even numbers of outputs, one or two filtered axes, taps of other axes before them (strided
# and dilated too), padding on one side, crops.
SPANS = [
    (Span(7, 3, 1, 1, 1, 1), Span(6, 3, 1, 1, 2, 0)),
    (Span(5, 3, 1, 1, -1, 1), Span(9, 3)),
    (Span(8, 3, 1, 1, 0, 1),),
    (Span(6, 2, 2, 1, 1, 0), Span(7, 3, 1, 1, 1, 1)),
    (Span(7, 3, 1, 2, 2, 2), Span(5, 3, 1, 1, 1, 1), Span(4, 3, 1, 1, 1, 1)),
]
MIXES = [(2, 3, 1, 2), (1, 2, 3, 1)]  # batch, depth, rows, groups


def last_of(a, kernel):
    axes = range(2, a.ndim)
    return a.transpose(*axes, 1, 0) if kernel else a.transpose(0, *axes, 1)


@pytest.mark.op("sliding.spread")
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("number", range(len(SPANS)))
def test_both_products_equal_loops(xp, rng, number, last):
    batch, depth, rows, groups = MIXES[number % 2]
    first = Sliding(SPANS[number], groups, method="winograd")
    g = Sliding(SPANS[number], groups, last, "winograd")
    arrays = {
        "x": rng.standard_normal(first.x_shape(batch, groups * depth)),
        "w": rng.standard_normal(first.w_shape(groups * rows, depth)),
        "y": rng.standard_normal(first.y_shape(batch, groups * rows)),
    }
    for role, core in {"y": correlate, "x": spread}.items():
        problem = Problem(role, g, batch, depth, rows, "float32")
        strided = any(s.stride > 1 for s in g.spans)
        assert strided or plan.choose(problem, ("numpy", "cpu", "")).method == "winograd"
        names = "xwy".replace(role, "")
        want = oracles_core.product(first, role, **{k: arrays[k] for k in names})
        given = [last_of(arrays[k], k == "w") if last else arrays[k] for k in names]
        got = xp.call(lambda a, b: core(g, a, b), *map(xp.asarray, given))  # noqa: B023
        assert_close(got, last_of(want, False) if last else want, rtol=256 * xp.eps)


@pytest.mark.on("numpy")
@pytest.mark.parametrize("layout", ["first", "last"])
def test_pieces_that_fit_the_cache_join(rng, monkeypatch, layout):
    """Tiles cut along rows and along the batch give the same sums."""
    x, w = rng.standard_normal((3, 4, 21, 10)), rng.standard_normal((5, 4, 3, 3))
    axes = {"first": (0, 1, 2, 3), "last": (0, 2, 3, 1)}[layout]
    kernel = {"first": (0, 1, 2, 3), "last": (2, 3, 1, 0)}[layout]

    def run():
        return swath.nn.conv(
            x.transpose(axes), w.transpose(kernel), padding=1, channels=layout, method="winograd"
        )

    whole = run()
    monkeypatch.setattr(plan.winograd, "_TILES", 1)
    for size in (1, 2**15, 2**17):
        monkeypatch.setattr(plan.winograd, "_CELLS", size)
        assert_close(run(), whole, rtol=1e-14)


def filtering_size(x, w):
    """|Aᵀ|((|G||w|) ⊙ (|Bᵀ||x|)) of every output, for whole tiles of x (C, n, m), w (C, 3, 3)."""
    ahead = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1.0]])
    kernel = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0, 0, 1.0]])
    back = np.array([[1, 1, 1, 0], [0, 1, 1, 1.0]])
    out = np.zeros((x.shape[1] - 2, x.shape[2] - 2))
    u = np.einsum("ij,cjk,lk->cil", kernel, abs(w), kernel)
    for i, j in itertools.product(range(0, out.shape[0], 2), range(0, out.shape[1], 2)):
        d = np.einsum("ij,cjk,lk->cil", ahead, abs(x[:, i : i + 4, j : j + 4]), ahead)
        out[i : i + 2, j : j + 2] = back @ (u * d).sum(0) @ back.T
    return out


@pytest.mark.parametrize("spread_of", [0, 6], ids=["even", "uneven"])
def test_the_error_keeps_its_bound(xp, rng, spread_of):
    """2·(C+2)·eps·|Aᵀ|((|G||w|)⊙(|Bᵀ||x|)), in float32, with values of many sizes."""
    shapes = (1, 8, 12, 10), (1, 8, 3, 3)
    x, w = (
        (rng.standard_normal(s) * 10.0 ** rng.uniform(-spread_of, spread_of, s)).astype("float32")
        for s in shapes
    )
    g = Sliding((Span(12, 3), Span(10, 3)), method="winograd")
    got = _host(xp.call(lambda a, b: correlate(g, a, b), *map(xp.asarray, (x, w)))).astype("f8")
    wide = x.astype("f8"), w.astype("f8")
    want = oracles_core.product(g, "y", x=wide[0], w=wide[1])
    be = backend_of(xp.asarray(x))
    found = plan.choose(
        Problem("y", g, 1, 8, 1, "float32", be.traces, be.mutable), ("numpy", "cpu", "")
    )
    assert found.method == "winograd"
    assert found.terms == 8 + 2
    allowed = tolerance("float32", found) * filtering_size(wide[0][0], wide[1][0])
    error = abs(got - want)[0, 0]
    assert np.all(error <= allowed)


def test_a_non_finite_sample_reaches_one_point_further_than_its_windows(xp):
    x, w = np.ones((1, 2, 20)), np.ones((1, 2, 3))
    for place in (8, 9):
        x[:] = 1.0
        x[0, 1, place] = np.nan
        g = Sliding((Span(20, 3),), method="winograd")
        got = _host(xp.call(lambda a, b: correlate(g, a, b), xp.asarray(x), xp.asarray(w)))[0, 0]  # noqa: B023
        hit = set(np.flatnonzero(np.isnan(got)))
        assert set(range(place - 2, place + 1)) <= hit
        assert hit <= set(range(place - 3, place + 2))


def test_it_is_chosen_only_where_its_bound_is_no_weaker():
    spans = Span(56, 3, 1, 1, 1, 1), Span(56, 3, 1, 1, 1, 1)
    for depth, weaker in ((4, True), (8, False), (256, False)):
        found = plan.choose(
            Problem("y", Sliding(spans), 8, depth, 256, "float32"), ("numpy", "cpu", "")
        )
        note = next(c.against for c in found.candidates if c.method == "winograd")
        assert bool(note) == weaker
        assert not weaker or found.method != "winograd"
    kernel = plan.choose(Problem("w", Sliding(spans), 8, 64, 64, "float32"), ("numpy", "cpu", ""))
    assert "winograd" not in kernel.method
