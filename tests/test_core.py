"""Geometry, the three sliding products by every algorithm, the planner, and 8 sliding axes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles_core
import swath
from over_cases import params
from swath import registry
from swath._backends import backend_of
from swath.errors import ArgumentError
from swath.geometry import Sliding, Span, Windows, pooling_span, resolve_padding, same_padding
from swath.planning import PLANNED
from swath.signal import _slide
from swath.sliding import (
    correlate,
    im2col,
    kernel_gradient,
    native,
    overlap_save,
    plan,
    planes,
    spread,
    tiles_interleaved,
    tiles_last,
    tiles_near,
    toeplitz,
)
from swath.sliding.plan import TRANSFORMS
from swath.sliding.problem import Problem
from swath.testing import assert_close, check_adjoint, check_vjp

METHODS = ("direct", "im2col", "toeplitz", "native", "fft", "overlap_save", "auto")

SPANS = st.builds(
    Span,
    st.integers(0, 9),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(-2, 5),
    st.integers(-2, 5),
)


# -- geometry


@given(SPANS)
@settings(max_examples=300, deadline=None)
def test_span_counts_windows_and_places_taps_as_a_loop_does(span):
    padded = range(-span.low, span.length + span.high)
    starts = [
        s
        for s in range(-span.low, max(span.length + span.high, 0) + 1, span.stride)
        if s in padded and s + span.dilation * (span.size - 1) in padded
    ]
    assert span.out == len(starts)
    for j in range(span.size):
        outputs, inputs = span.tap(j)
        pairs = list(zip(range(span.length)[inputs], range(span.out)[outputs], strict=True))
        reached = [
            (s + span.dilation * j, i)
            for i, s in enumerate(starts)
            if 0 <= s + span.dilation * j < span.length
        ]
        assert pairs == reached
        # The standard promises nothing for stops out of range.
        assert 0 <= outputs.start <= outputs.stop <= max(span.out, 0)
        assert inputs.start >= 0
        assert inputs.stop <= span.length or not reached
        placed = span.placed(j)
        if span.out:
            assert [p - span.low for p in range(placed.start, placed.stop, placed.step)] == [
                s + span.dilation * j for s in starts
            ]


@given(SPANS, st.data())
@settings(max_examples=300, deadline=None)
def test_part_of_a_span_reads_what_the_whole_reads(span, data):
    if span.out == 0:
        return
    first = data.draw(st.integers(0, span.out - 1))
    last = data.draw(st.integers(first + 1, span.out))
    inside, part = span.part(first, last)
    assert part.out == last - first
    assert part.length == len(range(span.length)[inside])
    for j in range(span.size):
        whole = {
            (o - first, p)
            for o, p in zip(
                range(span.out)[span.tap(j)[0]], range(span.length)[span.tap(j)[1]], strict=True
            )
            if first <= o < last
        }
        outputs, inputs = part.tap(j)
        found = {
            (o, p + inside.start)
            for o, p in zip(range(part.out)[outputs], range(part.length)[inputs], strict=True)
        }
        assert found == whole


@given(SPANS)
@settings(max_examples=200, deadline=None)
def test_transposed_is_an_involution_and_the_transpose(span):
    if span.stride != 1:
        with pytest.raises(ArgumentError, match="no stride-1 transpose"):
            span.transposed()
        return
    if span.out == 0 or span.length == 0:
        return
    back = span.transposed()
    assert back.transposed() == span
    assert (back.length, back.out) == (span.out, span.length)

    def pairs(s):
        return {
            (o, p, j)
            for j in range(s.size)
            for o, p in zip(range(s.out)[s.tap(j)[0]], range(s.length)[s.tap(j)[1]], strict=True)
        }

    assert {(p, o, span.size - 1 - j) for o, p, j in pairs(span)} == pairs(back)


def test_same_padding_equals_tensorflow_and_the_lower_kind_mirrors_it():
    for n, k, s, d in itertools.product((1, 4, 5, 8), (1, 2, 3, 5), (1, 2, 3), (1, 2)):
        low, high = same_padding(n, k, s, d, lower=False)
        assert same_padding(n, k, s, d, lower=True) == (high, low)
        assert 0 <= high - low <= 1
        assert Span(n, k, s, d, low, high).out == -(-n // s)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        (((1, 2), 3), ((1, 2), (3, 3))),
        ([[0, 1], [2, 0]], ((0, 1), (2, 0))),
        ("valid", ((0, 0), (0, 0))),
        ("full", ((4, 4), (2, 2))),
        ("causal", ((4, 0), (2, 0))),
        ("same", ((1, 2), (1, 1))),
        ("same_lower", ((2, 1), (1, 1))),
    ],
)
def test_padding_is_resolved(padding, expected):
    assert resolve_padding(padding, (8, 7), (3, 3), (2, 1), (2, 1)) == expected


@pytest.mark.parametrize(
    ("padding", "text"),
    [
        ((1, 2), r"ambiguous for one sliding axis; write \(\(1, 2\),\)"),
        ("wide", "must be an int, one per axis.*got 'wide'"),
        (-1, r"must be 0 or more, got \(-1, -1\); slice the input to crop"),
        (((0, -2),), "must be 0 or more"),
        (True, "must be an int or a name, got True"),
        (1.5, "got 1.5"),
        ((1, 2, 3), r"has 3 entries, need 1 \(one per sliding axis\)"),
        (((1, 2, 3),), "must be ints or"),
        (((1, 2.5),), "must be integers"),
        ((None,), "got None"),
        ((True,), "must be ints or"),
        ({3}, "must be an int, one per axis"),
    ],
)
def test_padding_that_cannot_work_is_refused(padding, text):
    with pytest.raises(ArgumentError, match=text):
        resolve_padding(padding, (8,), (3,), (1,), (1,))


@pytest.mark.needs("torch")
def test_pooling_output_sizes_equal_pytorch():
    import torch

    checked = 0
    for n, k, s, d, p in itertools.product(
        (1, 4, 5, 7, 10), (1, 2, 3), (1, 2, 3, 4), (1, 2), (0, 1)
    ):
        if p > k // 2:
            continue
        for ceil in (False, True):
            span = pooling_span(n, k, s, d, p, p, ceil=ceil)
            x = torch.zeros(1, 1, n)
            try:
                want = torch.nn.functional.max_pool1d(x, k, s, p, d, ceil_mode=ceil).shape[-1]
            except RuntimeError:
                assert span.out < 1
                continue
            assert span.out == want, (n, k, s, d, p, ceil)
            checked += 1
    assert checked > 200


def test_windows_index_every_tap():
    g = Windows((2, 5, 4), (2, 1), (Span(4, 2), Span(5, 3, 2)))
    assert g.out == (2, 2, 3)
    assert g.taps == 6
    assert g.sizes == (2, 3)
    assert [number for number, _, _ in g.each_tap()] == list(range(6))
    assert g.padding() == [(0, 0), (0, 0), (0, 0)]
    assert g.shifted(1, (7,)).out == (7, 2, 2, 3)


# -- the three products


def problems(count: int, seed: int = 0) -> list[tuple[Sliding, int, int, int, bool]]:
    """Geometries with batch, depth, rows per group, and whether arrays are complex."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        rank = int(rng.choice([1, 1, 2, 2, 3]))
        spans = []
        for _ in range(rank):
            k, s, d = (int(rng.integers(1, m)) for m in (6, 4, 3))
            low, high = (int(v) for v in rng.integers(-1, 5, 2))
            span = Span(int(rng.integers(4, 12 if rank < 3 else 7)), k, s, d, low, high)
            spans.append(span if span.out else Span(span.length + 12, k, s, d, low, high))
        g = Sliding(tuple(spans), int(rng.choice([1, 1, 2])))
        found.append(
            (
                g,
                int(rng.choice([1, 2])),
                int(rng.choice([1, 3])),
                # With many more channels in y than in x columns are added up.
                int(rng.choice([1, 2])) if len(found) % 4 else 24,
                bool(rng.random() < 0.3),
            )
        )
    return found


def to_last(a: np.ndarray, letter: str) -> np.ndarray:
    if letter != "w":
        return np.ascontiguousarray(np.moveaxis(a, 1, -1))
    return np.ascontiguousarray(np.moveaxis(np.moveaxis(a, 0, -1), 0, -2))


@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_products_equal_loops(xp, method, last):
    # Rows that compile take one problem (three programs), another for each method and layout;
    # slow ones every fourth.
    every = problems(40)
    turn = 2 * METHODS.index(method) + last
    share = {"numpy": every, "jax": every[turn : turn + 1]}
    chosen = share.get(xp.backend, every[::4])
    for number, problem in enumerate(chosen):
        check_problem(xp, number, problem, method, last)


def check_problem(xp, number, problem, method, last):
    """All roles against loops."""
    geometry, batch, depth, rows, is_complex = problem
    rng = np.random.default_rng(number)
    first = Sliding(geometry.spans, geometry.groups)
    g = Sliding(geometry.spans, geometry.groups, last, method)
    shapes = {
        "x": first.x_shape(batch, first.groups * depth),
        "w": first.w_shape(first.groups * rows, depth),
        "y": first.y_shape(batch, first.groups * rows),
    }
    host = {k: rng.standard_normal(s) for k, s in shapes.items()}
    if is_complex:
        host = {k: v + 1j * rng.standard_normal(v.shape) for k, v in host.items()}
    given_ = {k: xp.asarray(to_last(v, k) if last else v) for k, v in host.items()}
    for role, core in (("y", correlate), ("x", spread), ("w", kernel_gradient)):
        operands = "xwy".replace(role, "")
        got = xp.call(lambda a, b, core=core, g=g: core(g, a, b), *(given_[c] for c in operands))
        want = oracles_core.product(first, role, **{c: host[c] for c in operands})
        assert_close(got, to_last(want, role) if last else want, rtol=256 * xp.eps)


@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
def test_tiles_of_single_channels_in_groups_equal_loops(xp):
    """Of several entries, whose lines lie beside those of the same group."""
    g = Sliding((Span(9, 3, 1, 1, 1, 1),), groups=2)
    check_problem(xp, 0, (g, 2, 1, 1, False), "toeplitz", last=False)


@pytest.mark.on("jax", "jax-jit")
@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_compiled_sums_of_many_taps_equal_loops(xp, last):
    """So many that a compiler gets them as a loop."""
    spans = (Span(19, 13, 3, 1, -1, 4), Span(13, 6, 1, 2, 2, -1))
    check_problem(xp, 0, (Sliding(spans, groups=2), 2, 3, 2, False), "direct", last)


@pytest.mark.on("numpy", "torch")
@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
def test_tiles_of_large_arrays_equal_loops(xp, monkeypatch):
    """Piece by piece, as tiles go that one product does not hold."""
    monkeypatch.setattr(toeplitz, "laid", lambda *sizes: None)
    monkeypatch.setattr(tiles_interleaved, "BUFFER", 2**9)
    monkeypatch.setattr(tiles_interleaved, "_TALL", 1)
    for number, problem in enumerate(problems(40)):
        check_problem(xp, number, problem, "toeplitz", last=False)


@pytest.mark.on("numpy", "torch")
@pytest.mark.op("sliding.correlate")
@pytest.mark.parametrize("rows", [0, tiles_near._ROWS])
def test_tiles_of_small_arrays_equal_loops(xp, monkeypatch, rows):
    """Boxes as rows of matrices where they lie, and copied where these have few."""
    monkeypatch.setattr(tiles_near, "_ROWS", rows)
    tiles_near.laid.cache_clear()
    taken = []
    product = tiles_near.NearTiles.product
    monkeypatch.setattr(
        tiles_near.NearTiles,
        "product",
        lambda self, *a: taken.append(self.copied) or product(self, *a),
    )
    for number, problem in enumerate(problems(40)):
        check_problem(xp, number, problem, "toeplitz", last=False)
    assert set(taken) == ({True, False} if rows else {False})
    tiles_near.laid.cache_clear()


@pytest.mark.on("numpy", "torch")
@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
def test_tiles_along_the_last_axis_equal_loops(xp, monkeypatch):
    """Channels last, with tiles that end with the outputs and beyond them, as slabs and whole."""
    plan._call.cache_clear()
    monkeypatch.setattr(toeplitz, "last", lambda p: p.g.last and p.g.rank > 1 and p.g.groups == 1)
    taken, widened = set(), tiles_last.widened

    def noted(g, *sizes):
        made = widened(g, *sizes)
        taken.add((made.t > 1, g.out[-1] % made.t > 0))
        return made

    monkeypatch.setattr(tiles_last, "widened", noted)
    for columns in (2**20, 40):
        monkeypatch.setattr(im2col, "_COLUMNS", columns)
        monkeypatch.setattr(im2col, "_PLACES", 1)
        im2col._parts.cache_clear()
        for number, problem in enumerate(problems(80)):
            check_problem(xp, number, problem, "toeplitz", last=True)
    assert taken == {(False, False), (True, False), (True, True)}
    im2col._parts.cache_clear()
    plan._call.cache_clear()


@pytest.mark.on("numpy", "torch")
@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
def test_rows_of_columns_lie_at_different_places_of_their_pages(xp, monkeypatch):
    """Columns of 1024 bytes a row, channels first, and the gradients that they are read for."""
    taken, spaced = set(), im2col._spaced

    def noted(be, a, shape):
        out = spaced(be, a, shape)
        width = be.itemsize(a.dtype)
        if width * shape[-1] % 1024 == 0:
            step = out.strides[-2] if xp.backend == "numpy" else width * out.stride(-2)
            taken.add(step % 1024)
        return out

    monkeypatch.setattr(im2col, "_spaced", noted)
    for groups, batch in ((1, 2), (2, 2), (1, 1)):
        g = Sliding((Span(16, 3, low=1, high=1), Span(32, 3, low=1, high=1)), groups)
        check_problem(xp, batch, (g, batch, 3, 5, False), "im2col", last=False)
    assert taken == {64}


@pytest.mark.on("numpy", "torch")
@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_columns_of_groups_of_many_channels_equal_loops(xp, monkeypatch, last):
    """Of two entries of the batch, and then of the last; also added up."""
    g = Sliding((Span(9, 3, 2, 1, 1, 1), Span(7, 4, 1, 2, 1, 2)), groups=2)
    monkeypatch.setattr(im2col, "_COLUMNS", 1)
    monkeypatch.setattr(im2col, "_PLACES", 2 * g.out[0] * g.out[1])
    for rows in (3, 600):
        check_problem(xp, rows, (g, 3, 24, rows, False), "im2col", last)


@pytest.mark.on("numpy", "torch")
@pytest.mark.op("sliding.correlate", "sliding.kernel_gradient")
@pytest.mark.parametrize("method", ["toeplitz", "im2col"])
def test_large_signals_go_by_stretches(xp, rng, monkeypatch, method):
    """As lines and channels by themselves that leave the caches."""
    monkeypatch.setattr(tiles_interleaved, "BUFFER", 2**9)
    monkeypatch.setattr(tiles_interleaved, "_LONG", 2)
    monkeypatch.setattr(im2col, "_CHANNEL", 2**10)
    monkeypatch.setattr(im2col, "_HALO", 2)
    # Lengths of this test's own: plans are kept.
    lines = Span(911, 40, 1, 1, 3, 300), Span(1051, 30, 1, 1, -100, -40), Span(2511, 99, 4, 1, 5, 5)
    for spans in (*((line,) for line in lines), (Span(401, 2), Span(9, 3))):
        check_large(xp, rng, Sliding(spans), (method,))
        signal = np.zeros(Sliding(spans).lengths), np.zeros(Sliding(spans).sizes)
        slabs = swath.plan(swath.signal.correlate, *signal, "valid", method=method).slabs
        assert method == "toeplitz" or slabs.step < spans[0].out


@pytest.mark.on("numpy")
@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
def test_planes_of_several_entries_at_a_time_equal_loops(xp, monkeypatch):
    """Three entries of small planes, and then the last two."""
    monkeypatch.setattr(planes, "_RUN", 150)
    for spans in (
        (Span(7, 3, 1, 1, 1, 1), Span(8, 2, 1, 2, -1, 3)),
        (Span(60, 4, 1, 3, 9, 0),),
    ):
        check_problem(xp, 0, (Sliding(spans, groups=3), 5, 1, 1, False), "direct", last=False)


@pytest.mark.on("numpy", "torch")
@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
@pytest.mark.parametrize("block", [None, 2**9])
def test_planes_channels_last_equal_loops(xp, monkeypatch, block):
    """In one block, and in several."""
    if block:
        monkeypatch.setattr(planes, "BLOCK", block)
    for spans in (
        (Span(7, 3, 1, 1, 1, 1), Span(8, 2, 1, 2, -1, 3)),
        (Span(60, 4, 1, 3, 9, 0),),
        (Span(5, 2), Span(4, 3, 1, 1, 0, 2), Span(6, 2, 1, 2)),
    ):
        check_problem(xp, 0, (Sliding(spans, groups=3), 5, 1, 1, False), "direct", last=True)


LARGE = (
    Sliding((Span(90, 3, 1, 1, 1, 1), Span(500, 4, 1, 1, 2, 1))),
    Sliding((Span(150, 3, 2, 2, 3, -1), Span(700, 4, 1, 1, 2, 1))),
)


def check_large(xp, rng, g, methods):
    """All roles against NumPy's slices, by several algorithms."""
    x = rng.standard_normal(g.x_shape(2, 1))
    w = rng.standard_normal(g.w_shape(1, 1))
    y = rng.standard_normal(g.y_shape(2, 1))
    want, back, grad = np.zeros(g.y_shape(2, 1)), np.zeros_like(x), np.zeros_like(w)
    for tap, outputs, inputs in g.each_tap():
        o, i = (slice(None), slice(None), *outputs), (slice(None), slice(None), *inputs)
        k = (0, 0, *tap)
        want[o] += w[k] * x[i]
        back[i] += w[k] * y[o]
        grad[k] = np.sum(x[i] * y[o])
    a, k, b = xp.asarray(x), xp.asarray(w), xp.asarray(y)
    for method in methods:
        gm = Sliding(g.spans, 1, False, method)
        got = xp.call(lambda a, b, gm=gm: correlate(gm, a, b), a, k)
        assert_close(got, want, rtol=256 * xp.eps)
        got = xp.call(lambda a, b, gm=gm: spread(gm, a, b), k, b)
        assert_close(got, back, rtol=256 * xp.eps)
        got = xp.call(lambda a, b, gm=gm: kernel_gradient(gm, a, b), a, b)
        assert_close(got, grad, rtol=2048 * xp.eps)


@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
def test_large_products_in_slabs_equal_loops_in_whole(xp, rng):
    """Over 256 KiB of outputs the in-place algorithms go slab by slab."""
    for g in LARGE:
        check_large(xp, rng, g, ("direct", "toeplitz"))
    # Several frames along both axes.
    for g in LARGE:
        check_large(xp, rng, g, ("overlap_save",))
    check_large(xp, rng, LARGE[1], ("im2col", "native"))


@pytest.mark.on("numpy", "torch")
@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
def test_frames_of_planes_go_by_groups(xp, rng, monkeypatch):
    """A few frames at a time, and the last ones fewer."""
    monkeypatch.setattr(overlap_save, "_group", lambda rank, points: 6 * points)
    check_large(xp, rng, LARGE[1], ("overlap_save",))


# From some 2^13 results on JAX cuts lines into rows, which end evenly or not; few rows where the
# kernel is long, and none where it is longer.
LINES = (
    Sliding((Span(5000, 31, 1, 1, 15, 15),)),
    Sliding((Span(20001, 7, 3, 2, 4, -2),)),
    Sliding((Span(30011, 2, 5, 1, -3, 9),)),
    Sliding((Span(6001, 150, 1, 1, 70, 79),)),
    Sliding((Span(5001, 700, 1, 1, 350, 349),)),
)


@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
@pytest.mark.parametrize("g", LINES, ids=["even", "dilated", "strided", "long", "longer"])
def test_long_lines_equal_loops(xp, rng, g):
    check_large(xp, rng, g, ("native",))


@pytest.mark.on("jax-jit")
@pytest.mark.op("sliding.correlate", "sliding.kernel_gradient")
@pytest.mark.optimised
@pytest.mark.parametrize("role, core", [("y", correlate), ("w", kernel_gradient)])
def test_xla_does_not_exchange_a_short_signal_and_a_long_kernel(xp, rng, role, core):
    """It would turn the signal round, which none of its fast kernels does."""
    import jax

    # The result of a kernel's gradient is as long as the other's kernel.
    span = Span(18, 25, 1, 1, 12, 12) if role == "y" else Span(18, 3, 1, 1, 4, 4)
    g = Sliding((span,), method="native")
    shapes = {"x": g.x_shape(2, 4), "w": g.w_shape(8, 4), "y": g.y_shape(2, 8)}
    arrays = {k: rng.standard_normal(v).astype(np.float32) for k, v in shapes.items() if k != role}
    function = jax.jit(lambda a, b: core(g, a, b))
    program = function.lower(*map(xp.asarray, arrays.values())).compile()
    assert "convolution(" in program.as_text()
    assert "rhs_reversal" not in program.as_text()
    want = oracles_core.product(g, role, **{k: v.astype(float) for k, v in arrays.items()})
    got = program(*map(xp.asarray, arrays.values()))
    assert_close(got, want, rtol=256 * float(np.finfo(np.float32).eps))


# Outputs of XLA's kernel for strided transposes alike, cropped, and points beyond the last tap.
SPREAD = (
    (Span(21, 4, 2, 1, 1, 1), Span(16, 3, 3, 1, 0, 2)),
    (Span(25, 5, 4, 1, -3, 2), Span(14, 2, 1, 1, 2, -1)),
    (Span(40, 3, 5, 1, 4, 0),),
)


@pytest.mark.on("jax", "jax-jit")
@pytest.mark.op("sliding.spread")
@pytest.mark.optimised
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("spans", SPREAD, ids=["alike", "cropped", "beyond"])
def test_strided_transposes_by_xlas_kernel_are_exact_of_integers(xp, rng, spans, last):
    """Whole, and slab by slab in a loop."""
    import jax

    g = Sliding(spans, last=last, method="native")
    be = backend_of(xp.asarray([0.0]))
    p = Problem("x", g, 120, 2, 5, "float32", traces=True, mutable=False, native=be.native)
    assert "x" in native.roles(p)
    first = replace(g, last=False)
    w = rng.integers(-9, 10, first.w_shape(5, 2)).astype(np.float32)
    y = rng.integers(-9, 10, first.y_shape(120, 5)).astype(np.float32)
    want = oracles_core.product(first, "x", w=w.astype(float), y=y.astype(float))
    if last:
        w, y, want = to_last(w, "w"), to_last(y, "y"), to_last(want, "x")
    for limit in (2**26, 2**16):
        with swath.workspace(limit):
            program = jax.jit(lambda a, b: spread(g, a, b)).lower(xp.asarray(w), xp.asarray(y))
            got = program.compile()(xp.asarray(w), xp.asarray(y))
        assert ("while" in program.as_text()) == (limit == 2**16)
        assert np.array_equal(got, want)


@pytest.mark.on("jax", "torch", "jax-gpu", "torch-cuda")
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    "spans",
    [
        (Span(9, 3, 2, 1, 1, 1), Span(8, 2, 1, 2)),
        (Span(6, 2, 1, 2, 2, 0), Span(7, 3, 2, 1, 0, 1), Span(4, 2)),
    ],
    ids=["planes", "volumes"],
)
def test_the_librarys_kernels_of_layers_know_groups(xp, rng, spans, groups):
    """Asked for directly: on some devices the planner never takes them."""
    g = Sliding(spans, groups, False, "native")
    x = rng.standard_normal(g.x_shape(3, 4))
    w = rng.standard_normal(g.w_shape(8, 4 // groups))
    y = rng.standard_normal(g.y_shape(3, 8))
    be = backend_of(xp.asarray(x))
    for role, arrays in (("y", {"x": x, "w": w}), ("w", {"x": x, "y": y})):
        got = be.native_product(role, g, *map(xp.asarray, arrays.values()))
        assert_close(got, oracles_core.product(g, role, **arrays), rtol=256 * xp.eps)


LONG = (
    Sliding((Span(3000, 1400, 2, 1, 30, 11),)),
    Sliding((Span(1400, 300, 1, 3, -4, 899), Span(3, 2, 1, 1, 1, 0))),
)


@pytest.mark.op("sliding.correlate")
@pytest.mark.on("torch")
@pytest.mark.parametrize(("batch", "transposed"), [(1, False), (2, True)])
def test_pytorch_adds_up_no_columns_for_a_layer(xp, rng, monkeypatch, batch, transposed):
    """Large kernels channels last are turned round, for a transposed layer. Of small inputs PyTorch
    would gather columns itself: of transposed layers it adds them up in one thread."""
    import torch

    taken, convolution = [], torch.convolution
    monkeypatch.setattr(torch, "convolution", lambda *a: taken.append(a[6]) or convolution(*a))
    first = Sliding((Span(9, 3), Span(8, 3), Span(7, 3)), method="native")
    x = rng.standard_normal(first.x_shape(batch, 48)).astype(np.float32)
    w = rng.standard_normal(first.w_shape(48, 48)).astype(np.float32)
    last = np.moveaxis(x, 1, -1), np.transpose(w, (2, 3, 4, 1, 0))
    g = replace(first, last=True)
    y = correlate(g, *(xp.asarray(np.ascontiguousarray(a)) for a in last))
    assert taken == [transposed]
    want = oracles_core.product(first, "y", x=x.astype(float), w=w.astype(float))
    assert_close(y, np.moveaxis(want, 1, -1), rtol=1e-4, atol=1e-3)


@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
def test_transforms_of_long_kernels_go_by_stretches_of_taps(xp, rng):
    """Signal and kernel of one length: neither is transformed whole within the workspace."""
    with swath.workspace(2**16):
        p = swath.plan(swath.signal.correlate, np.ones(3000), np.ones(1400), "same", method="fft")
        assert 0 < p.slabs.taps < 1400
        check_large(xp, rng, LONG[0], ("fft", "overlap_save"))
        check_large(xp, rng, LONG[1], ("fft",))


@pytest.mark.op("sliding.spread")
@pytest.mark.parametrize("method", [m for m in METHODS if m != "native"])
def test_the_transpose_of_windows_that_read_only_padding_is_zero(xp, method):
    g = Sliding((Span(1, 1, 3, 1, 1, 5),), method=method)
    got = xp.call(
        lambda w, y: spread(g, w, y), xp.asarray(np.ones((1, 1, 1))), xp.asarray(np.ones((1, 1, 3)))
    )
    # A transform rounds relative to its frame.
    assert_close(got, np.zeros((1, 1, 1)), atol=64 * xp.eps if method == "fft" else 0, rtol=0)


def test_a_small_workspace_leads_to_no_tiny_pieces(rng):
    """A transform for each output, or a call for each point, would take seconds."""
    x, w = np.ones((51, 8192), np.float32), np.ones((51, 2), np.float32)
    h = np.ones(101, np.float32)
    with swath.workspace(2**16):
        forced = swath.plan(swath.signal.convolve, x, w, "same", "overlap_save", axes=-1)
        assert forced.workspace > 2**16
        assert forced.slabs.step > 500
        for y, k in ((x, w), (x[:4], h[None])):
            p = swath.plan(swath.signal.convolve, y, k, "same", axes=-1)
            assert p.workspace <= 2**16
            # What each slab costs is in the estimate.
            assert p.chosen.seconds == min(
                c.seconds for c in p.candidates if c.workspace <= 2**16 and not c.transforms
            )
            assert p.chosen.seconds > 1e-5 * 8192 / p.slabs.step


def test_two_long_signals_are_convolved_by_transforms_within_the_workspace():
    x = np.ones(2**22, dtype=np.float32)
    p = swath.plan(swath.signal.convolve, x, x)
    assert p.method in ("fft", "overlap_save")
    assert p.workspace <= 2**26


@pytest.mark.on("jax", "jax-jit")
@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
@pytest.mark.optimised
def test_traced_products_go_in_slabs_within_a_workspace(xp, rng):
    import jax

    with swath.workspace(2**18):
        check_large(xp, rng, LARGE[1], ("direct", "im2col", "toeplitz"))
        g = Sliding(LARGE[1].spans, 1, False, "im2col")
        x, w = xp.asarray(np.ones(g.x_shape(2, 1))), xp.asarray(np.ones(g.w_shape(1, 1)))
        text = str(jax.make_jaxpr(jax.jit(lambda x, w: correlate(g, x, w)))(x, w).jaxpr)
        lowered = jax.jit(lambda x, w: correlate(g, x, w)).lower(x, w)
    assert "swath_correlate" in text
    # A loop over slabs, and scratch of a few slabs instead of one copy for every tap.
    assert "while" in lowered.as_text()
    scratch = lowered.compile().memory_analysis().temp_size_in_bytes
    assert scratch < 4 * x.nbytes


@pytest.mark.parametrize("role", ["y", "x", "w"])
@pytest.mark.parametrize("points", [1000, 1037])
def test_equal_slabs_of_a_traced_product_repeat_few_points(role, points):
    """The last slab repeats what its neighbour computed: less than one row for every slab."""
    g = Sliding((Span(points, 3, 1, 1, 1, 1), Span(1000, 3, 1, 1, 1, 1)))
    p = Problem(role, g, 1, 1, 1, "float32", traces=True, mutable=False)
    slabs = plan.choose(p, ("jax", "cpu", ""), 2**20).slabs
    count = -(-points // slabs.step)
    assert count > 2
    assert slabs.step % 2 == 0
    assert count * slabs.step - points <= 2 * count


@pytest.mark.op("sliding.correlate")
def test_eight_sliding_axes(xp, rng):
    lengths, sizes = (2, 3, 2, 3, 2, 2, 3, 2), (1, 2, 2, 1, 2, 1, 2, 1)
    x, w = rng.standard_normal(lengths), rng.standard_normal(sizes)
    spans = tuple(Span(n, k) for n, k in zip(lengths, sizes, strict=True))
    want = oracles_core.product(Sliding(spans), "y", x=x[None, None], w=w[None, None])
    for method in ("auto", "fft"):
        g = Sliding(spans, 1, False, method)
        got = xp.call(
            lambda a, b, g=g: correlate(g, a, b),
            xp.asarray(x[None, None]),
            xp.asarray(w[None, None]),
        )
        assert_close(got, want)
    got = xp.call(swath.signal.correlate, xp.asarray(x), xp.asarray(w), "valid")
    assert_close(got, want[0, 0])


# -- the planner


def test_an_fft_is_taken_only_where_it_saves_four_fifths():
    seen = set()
    for n, k in itertools.product((100, 10**4, 10**6), (3, 31, 301, 3001, 30001)):
        if k > n:
            continue
        p = swath.plan(swath.signal.convolve, np.ones(n), np.ones(k), "valid")
        best = {c.method: c.seconds for c in p.candidates}
        spectral = min(best["fft"], best["overlap_save"])
        windowed = min(c.seconds for c in p.candidates if not c.transforms and not c.against)
        takes_fft = p.method in ("fft", "overlap_save")
        assert takes_fft == (windowed > 4 * spectral)
        seen.add(takes_fft)
    assert seen == {False, True}


@pytest.mark.on("numpy", "torch", "jax", "strict")
@pytest.mark.on("numpy", "torch", "jax")
@pytest.mark.parametrize("kind", ["complex64", "complex128"])
def test_transforms_of_complex_signals_are_priced_as_such(xp, kind):
    """Of 2049 taps they are 10 to 20 times as fast as products of matrices on every library."""
    x, h = (xp.asarray(np.ones((2, n)), kind) for n in (30_000, 2049))
    found = swath.plan(swath.signal.convolve, x, h[:1, :], "same", axes=-1)
    assert found.method in TRANSFORMS
    # Products of matrices cost four times those of real numbers, transforms twice, or alone more.
    ratio = {}
    for dtype in ("float32", "complex64"):
        x, h = (xp.asarray(np.ones((2, n)), dtype) for n in (300_000, 2049))
        for method in ("toeplitz", "fft"):
            p = swath.plan(swath.signal.convolve, x, h[:1, :], "same", method=method, axes=-1)
            ratio[dtype, method] = p.chosen.seconds
    assert 3 < ratio["complex64", "toeplitz"] / ratio["float32", "toeplitz"] < 12
    assert 1 < ratio["complex64", "fft"] / ratio["float32", "fft"] < 4


def test_only_arrays_that_nothing_derives_from_are_computed_without_rules(xp, monkeypatch):
    """Convolutions go by the short way; on a tape, or recorded by PyTorch, by the long one."""
    x = xp.asarray(np.arange(5.0, dtype=np.float32))
    be, short = backend_of(x), []
    run = plan.run
    monkeypatch.setattr(_slide, "run", lambda *a: short.append(a) or run(*a))

    def taken(x):
        short.clear()
        y = swath.signal.convolve(x, x, "same")
        return y, bool(short)

    assert taken(x)[1] == be.in_place
    short.clear()
    y, pull = swath.vjp(swath.signal.convolve, x, x, "same")
    assert not short
    if xp.backend == "torch":
        leaf = x.clone().requires_grad_()
        recorded, how = taken(leaf)
        assert not how
        recorded.backward(y)
        left, right, *_ = pull(y)
        assert_close(leaf.grad, (left + right).numpy())


def test_plan_computes_nothing(monkeypatch):
    from swath._backends import base, numpy_

    def refuse(*args, **kwargs):
        raise AssertionError("plan computed a product")

    monkeypatch.setattr(base.Backend, "matmul", refuse)
    monkeypatch.setattr(numpy_.NumpyBackend, "fft", refuse)
    monkeypatch.setattr(plan.slabs, "run", refuse)
    # 8 GiB of it, were it ever touched.
    x = np.broadcast_to(np.float32(1.0), (2**31,))
    p = swath.plan(swath.signal.convolve, x, np.ones(64, np.float32), axes=-1)
    assert p.method in plan.METHODS
    assert p.chosen.seconds > 0
    assert p.terms == 64
    assert p.flops > 2**31
    text = str(p)
    assert all(m in text for m in plan.METHODS)
    assert "->" in text


def test_plan_on_every_row_is_hashable_and_reads_no_values(xp):
    x, k = xp.asarray(np.ones(1000)), xp.asarray(np.ones(31))
    p = swath.plan(swath.signal.convolve, x, k)
    assert hash(p) == hash(swath.plan(swath.signal.convolve, x * 2, k))
    assert p.terms == 31


def test_operations_go_by_their_names_too(monkeypatch):
    x, k = np.arange(5.0), np.ones(2)
    expected = swath.plan(swath.signal.convolve, x, k)
    for name in ("swath.signal.convolve", "signal.convolve", "convolve"):
        assert swath.plan(name, x, k) == expected
        assert_close(swath.vjp(name, x, k, "valid")[0], np.array([1.0, 3.0, 5.0, 7.0]))
        assert swath.supports(name, np)
    check_adjoint("convolve", x, k)
    check_vjp("max_pool", x, (2,), axes=0)
    with pytest.raises(
        TypeError, match=r"got 'convolv'; did you mean signal\.convolve or .* lists all$"
    ):
        swath.plan("convolv", x, k)
    # A last part that two have means neither.
    monkeypatch.setitem(registry._OPERATIONS, "nn.convolve", swath.operations()["nn.conv"])
    with pytest.raises(TypeError, match=r"did you mean (?=.*signal\.convolve)(?=.*nn\.convolve)"):
        swath.plan("convolve", x, k)


def test_plan_of_an_operation_without_a_product_is_refused():
    with pytest.raises(TypeError, match="sliding_windows computes no sliding product"):
        swath.plan(swath.sliding_windows, np.ones(5), 2)


@pytest.mark.on("numpy", "torch")
@pytest.mark.parametrize("case", params())
def test_there_is_a_plan_or_the_word_that_there_is_none(xp, rng, case):
    """Whatever the values: nothing is told of them, as of columns that are dependent."""
    args, kwargs = case.make(xp, rng)
    if case.op in PLANNED:
        assert swath.plan(case.op, *args, **kwargs).method in plan.METHODS
    else:
        with pytest.raises(TypeError, match=f"^plan: {case.op} computes no sliding product"):
            swath.plan(case.op, *args, **kwargs)


def test_a_forced_method_is_obeyed_and_an_unknown_one_refused():
    x, k = np.ones(50), np.ones(5)
    for method in set(plan.METHODS) - {"winograd"}:
        assert swath.plan(swath.signal.convolve, x, k, "full", method).method == method
    none = swath.plan(swath.signal.convolve, x[None], k[None], "full", "native")
    assert none.method == "direct"
    assert "native: the library's own convolves one channel along one axis" in str(none)
    none = swath.plan(swath.signal.convolve, x, k, "full", "winograd")
    assert "winograd: filters three neighbouring taps only" in str(none)
    assert swath.plan(swath.signal.convolve, x, k[:3], "full", "winograd").method == "winograd"
    with pytest.raises(
        ValueError, match=r"convolve: method must be one of 'auto', 'direct'.*'fast'"
    ):
        swath.signal.convolve(x, k, "full", "fast")


def test_layers_of_many_channels_have_tiles_of_one_output():
    x, w = np.zeros((1, 1024, 20)), np.zeros((1024, 1024, 3))
    assert swath.plan(swath.nn.conv, x, w, method="toeplitz").method == "toeplitz"


def test_terms_of_the_transposed_product_count_the_taps_that_meet():
    """K of the accuracy bound: the largest number of products in one sum."""
    for size, stride, dilation in itertools.product((1, 2, 3, 5), (1, 2, 3, 4), (1, 2, 3, 4)):
        span = Span(40, size, stride, dilation)
        met = np.zeros(40, int)
        for j in range(size):
            met[span.tap(j)[1]] += 1
        found = plan.choose(
            Problem("x", Sliding((span,)), 1, 1, 1, "float64"), ("numpy", "cpu", "")
        )
        assert found.terms == met.max()


def test_terms_of_every_product_are_those_of_sums_of_ones():
    """Channels, batch and groups too: integers are exact as floats for so many terms."""
    g = Sliding((Span(12, 3, 2), Span(9, 2, 1, 2)), groups=2)
    batch, depth, rows = 2, 3, 4
    ones = {
        "x": np.ones(g.x_shape(batch, 2 * depth)),
        "w": np.ones(g.w_shape(2 * rows, depth)),
        "y": np.ones(g.y_shape(batch, 2 * rows)),
    }
    for role in "yxw":
        most = oracles_core.product(g, role, **{k: v for k, v in ones.items() if k != role}).max()
        assert Problem(role, g, batch, depth, rows, "float64").terms == most
