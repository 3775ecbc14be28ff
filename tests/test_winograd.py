"""Winograd's filtering against loops, its own error bound, and how far it spreads."""

from __future__ import annotations

import itertools
from fractions import Fraction

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


# Outputs of a tile for each precision, and a bound of its error on few terms, in eps.
SIZES = {"highest": (2, 256), "fast": (4, 1024)}


@pytest.mark.parametrize("f", [plan.winograd._EXACT, plan.winograd._FAST], ids=["2", "4"])
def test_the_matrices_give_every_product_exactly(f):
    """Aᵀ[(G w) ⊙ (Bᵀ d)] is the sum over three neighbours, as a form in w and d, in fractions."""
    ahead, kernel, back = (
        [[Fraction(v).limit_denominator(24) for v in row] for row in table]
        for table in (f.ahead, f.kernel, f.back)
    )
    points = len(ahead)
    for i, tap, d in itertools.product(range(f.size), range(3), range(points)):
        value = sum(back[i][p] * kernel[p][tap] * ahead[p][d] for p in range(points))
        assert value == (d == i + tap)


@pytest.mark.op("sliding.spread")
@pytest.mark.parametrize("level", SIZES)
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("number", range(len(SPANS)))
def test_both_products_equal_loops(xp, rng, number, last, level):
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
        with swath.precision(level):
            got = xp.call(lambda a, b: core(g, a, b), *map(xp.asarray, given))  # noqa: B023
        assert_close(got, last_of(want, False) if last else want, rtol=SIZES[level][1] * xp.eps)


@pytest.mark.on("numpy")
@pytest.mark.parametrize("level", SIZES)
@pytest.mark.parametrize("layout", ["first", "last"])
def test_pieces_that_fit_the_cache_join(rng, monkeypatch, layout, level):
    """Tiles cut along rows and along the batch give the same sums."""
    x, w = rng.standard_normal((3, 4, 21, 10)), rng.standard_normal((5, 4, 3, 3))
    axes = {"first": (0, 1, 2, 3), "last": (0, 2, 3, 1)}[layout]
    kernel = {"first": (0, 1, 2, 3), "last": (2, 3, 1, 0)}[layout]

    def run():
        with swath.precision(level):
            return swath.nn.conv(
                x.transpose(axes),
                w.transpose(kernel),
                padding=1,
                channels=layout,
                method="winograd",
            )

    whole = run()
    monkeypatch.setattr(plan.winograd, "_TILES", 1)
    for size in (1, 2**15, 2**17):
        monkeypatch.setattr(plan.winograd, "_CELLS", size)
        assert_close(run(), whole, rtol=1e-14)


def filtering_size(x, w, size):
    """|Aᵀ|((|G||w|) ⊙ (|Bᵀ||x|)) of every output, for whole tiles of x (C, n, m), w (C, 3, 3)."""
    if size == 2:
        ahead = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1.0]])
        kernel = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0, 0, 1.0]])
        back = np.array([[1, 1, 1, 0], [0, 1, 1, 1.0]])
    else:
        ahead = np.zeros((6, 6))
        ahead[[0, 5], [0, 1]], ahead[0, 2], ahead[5, 3] = 4, 5, 5
        ahead[[0, 5], [4, 5]] = 1
        ahead[1:3, 1:5], ahead[3:5, 1:5] = (4, 4, 1, 1), (2, 1, 2, 1)
        kernel = np.array([[6, 0, 0], [4, 4, 4], [4, 4, 4], [1, 2, 4], [1, 2, 4], [0, 0, 24]]) / 24
        back = np.array([[1.0, 2**i, 2**i] for i in range(4)])
        back = np.column_stack([back[:, :1] * 0, np.ones((4, 2)), back[:, 1:], np.zeros(4)])
        back[0, 0] = back[3, 5] = 1
    out = np.zeros((x.shape[1] - 2, x.shape[2] - 2))
    u = np.einsum("ij,cjk,lk->cil", kernel, abs(w), kernel)
    n = size + 2
    for i, j in itertools.product(range(0, out.shape[0], size), range(0, out.shape[1], size)):
        d = np.einsum("ij,cjk,lk->cil", ahead, abs(x[:, i : i + n, j : j + n]), ahead)
        out[i : i + size, j : j + size] = back @ (u * d).sum(0) @ back.T
    return out


@pytest.mark.on("numpy")
@pytest.mark.op("sliding.spread")
def test_the_bound_of_a_strided_transpose_is_that_of_its_products(xp):
    """Six taps of stride 2 are two forward products of three, which sum the outputs' channels."""
    be = backend_of(xp.asarray([0.0]))
    g = Sliding((Span(24, 6, 2), Span(30, 6, 2)), method="winograd")
    problem = Problem("x", g, 1, 16, 40, "float32", be.traces, be.mutable)
    found = plan.choose(problem, ("numpy", "cpu", ""))
    assert found.method == "winograd"
    assert found.terms == 40 + 2
    assert "C = 40, F(2, 3)" in found.error_bound


@pytest.mark.parametrize("level", SIZES)
@pytest.mark.parametrize("depth", [1, 3, 8])
@pytest.mark.parametrize("spread_of", [0, 6], ids=["even", "uneven"])
def test_the_error_keeps_its_bound(xp, rng, spread_of, depth, level):
    """2·(C+2)·eps·|Aᵀ|((|G||w|)⊙(|Bᵀ||x|)), in float32, with values of many sizes."""
    size = SIZES[level][0]
    shapes = (1, depth, 14, 10), (1, depth, 3, 3)
    x, w = (
        (rng.standard_normal(s) * 10.0 ** rng.uniform(-spread_of, spread_of, s)).astype("float32")
        for s in shapes
    )
    g = Sliding((Span(14, 3), Span(10, 3)), method="winograd")
    with swath.precision(level):
        got = _host(xp.call(lambda a, b: correlate(g, a, b), *map(xp.asarray, (x, w))))
    wide = x.astype("f8"), w.astype("f8")
    want = oracles_core.product(g, "y", x=wide[0], w=wide[1])
    be = backend_of(xp.asarray(x))
    problem = Problem("y", g, 1, depth, 1, "float32", be.traces, be.mutable, fast=size == 4)
    found = plan.choose(problem, ("numpy", "cpu", ""))
    assert found.method == "winograd"
    assert found.terms == depth + {2: 2, 4: 12}[size]
    assert f"F({size}, 3)" in found.error_bound
    sizes = []
    # Tiles begin at the first output; those of Dask's chunks anywhere.
    for i, j in itertools.product(range(size if be.name == "dask" else 1), repeat=2):
        # Whole tiles: what the first and the last ones lack is padding.
        whole = np.pad(wide[0][0], ((0, 0), (i, -(i + 12) % size), (j, -(j + 8) % size)))
        sizes.append(filtering_size(whole, wide[1][0], size)[i : i + 12, j : j + 8])
    bound = tolerance("float32", found) * np.max(sizes, axis=0)
    if level == "fast" and (be.name, be.place(xp.asarray(x))[1]) == ("jax", "gpu"):
        # Its fast products there are of TF32: 13 bits less.
        bound *= 2.0**13
    assert np.all(abs(got - want)[0, 0] <= bound)


@pytest.mark.parametrize("level", SIZES)
def test_a_non_finite_sample_reaches_its_tile_and_no_further(xp, level):
    x, w, size = np.ones((1, 2, 40)), np.ones((1, 2, 3)), SIZES[level][0]
    for place in range(8, 8 + size):
        x[:] = 1.0
        x[0, 1, place] = np.nan
        g = Sliding((Span(40, 3),), method="winograd")
        with swath.precision(level):
            got = xp.call(lambda a, b: correlate(g, a, b), xp.asarray(x), xp.asarray(w))  # noqa: B023
        hit = set(np.flatnonzero(np.isnan(_host(got)[0, 0])))
        assert set(range(place - 2, place + 1)) <= hit
        assert hit <= set(range(place - 2 - (size - 1), place + size))


def test_fast_precision_is_part_of_what_is_compiled(xp, rng):
    """A call inside the block, outside and inside again: each with its own tiles."""
    x, w = (xp.asarray(rng.standard_normal(s)) for s in ((1, 8, 40), (8, 8, 3)))

    def run():
        return _host(xp.call(lambda a, b: swath.nn.conv(a, b, method="winograd"), x, w))

    first = run()
    with swath.precision("fast"):
        text = str(swath.plan(swath.nn.conv, x, w, method="winograd").error_bound)
        fast = run()
    assert "F(4, 3)" in text
    assert not np.array_equal(fast, first)
    assert np.array_equal(run(), first)


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
