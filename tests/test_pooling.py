"""Pooling layers against PyTorch, loops, and rules for ties, NaNs and padding, on every row."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

import oracles_nn
import swath
from rows import count, widest
from swath import nn
from swath.geometry import Span, Windows
from swath.sliding import choose, sweep
from swath.testing import assert_close, check_adjoint, check_vjp

maximum = pytest.mark.op("nn.max_pool")
minimum = pytest.mark.op("nn.min_pool")
average = pytest.mark.op("nn.avg_pool")
p_norm = pytest.mark.op("nn.lp_pool")
whole = pytest.mark.op("nn.global_max_pool", "nn.global_avg_pool", "nn.global_lp_pool")
adaptive = pytest.mark.op("nn.adaptive_max_pool", "nn.adaptive_avg_pool")
unpool = pytest.mark.op("nn.max_unpool")


def to_last(a):
    return np.ascontiguousarray(np.moveaxis(a, 1, -1))


def single(rng, *shape):
    """Random numbers that float32 holds exactly, so that maxima are equal on every row."""
    return rng.standard_normal(shape).astype(np.float32).astype(np.float64)


def draw(rng, rank, dilated=True, taps=4):
    """Attributes of a pooling layer that PyTorch takes, with at least one window."""
    while True:
        size, stride, points = (
            tuple(int(v) for v in rng.integers(low, high, rank))
            for low, high in ((1, taps + 1), (1, 5), (3, 10))
        )
        dilation = tuple(int(v) for v in rng.integers(1, 3, rank)) if dilated else (1,) * rank
        padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in size)
        if all(n >= d * (k - 1) + 1 for n, d, k in zip(points, dilation, size, strict=True)):
            break
    keywords = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": bool(rng.integers(2)),
    }
    return points, size, keywords


def oriented(a, last):
    return to_last(a) if last else a


@maximum
@minimum
@pytest.mark.needs("torch")
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("channels", ["first", "last"])
def test_max_and_min_equal_pytorch_with_indices_and_gradient(xp, rng, rank, channels):
    import torch
    import torch.nn.functional as F

    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[rank - 1]
    last = channels == "last"
    for trial in range(count(xp, 15, 1)):
        points, size, keywords = draw(rng, rank, taps=widest(xp, 4))
        # Few distinct values: ties everywhere.
        x = rng.integers(-2, 3, (2, 2, *points)).astype(float)
        sign = 1 if (trial + rank) % 2 else -1
        leaf = torch.tensor(sign * x, requires_grad=True)
        reference, places = function(leaf, size, **keywords, return_indices=True)
        cotangent = rng.standard_normal(tuple(reference.shape))
        reference.backward(torch.tensor(cotangent))
        want = oriented(sign * reference.detach().numpy(), last)
        op = nn.max_pool if sign == 1 else nn.min_pool
        array = xp.asarray(oriented(x, last))
        keywords["channels"] = channels
        y, indices = xp.call(op, array, size, return_indices=True, **keywords)
        assert_close(y, want, rtol=0.0, dtype=xp.float)
        assert_close(indices, oriented(places.numpy(), last))
        (value, _), pullback = swath.vjp(op, array, size, return_indices=True, **keywords)
        assert_close(value, want, rtol=0.0)
        grad = oriented(leaf.grad.numpy(), last)
        assert_close(pullback(xp.asarray(oriented(cotangent, last)))[0], grad)


@maximum
@average
@pytest.mark.needs("torch")
@pytest.mark.parametrize(
    ("size", "stride", "padding", "points"),
    [
        (19, 1, 4, 60),
        (34, 1, 0, 80),
        (40, 40, 0, 90),
        (40, 20, 5, 133),
        (60, 45, 29, 277),
        (521, 521, 0, 1100),
    ],
)
def test_windows_of_many_taps_equal_pytorch(xp, rng, size, stride, padding, points):
    """Sums by their digits, end to end, of smaller ones, of those with padding, a prime number."""
    import torch
    import torch.nn.functional as F

    x = rng.integers(-3, 4, (2, 1, points)).astype(float)
    array = xp.asarray(x)
    settings = {"stride": stride, "padding": padding, "ceil_mode": True}
    leaf = torch.tensor(x, requires_grad=True)
    want, places = F.max_pool1d(leaf, size, **settings, return_indices=True)
    (got, indices), pullback = swath.vjp(
        nn.max_pool, array, (size,), return_indices=True, **settings
    )
    cotangent = rng.standard_normal(tuple(want.shape))
    want.backward(torch.tensor(cotangent))
    assert_close(got, want.detach().numpy(), rtol=0.0, dtype=xp.float)
    assert_close(xp.call(nn.max_pool, array, (size,), **settings), want.detach().numpy(), rtol=0.0)
    assert_close(indices, places.numpy())
    assert_close(pullback(xp.asarray(cotangent))[0], leaf.grad.numpy())
    leaf.grad = None
    want = F.avg_pool1d(leaf, size, **settings)
    want.backward(torch.tensor(cotangent))
    got, pullback = swath.vjp(nn.avg_pool, array, (size,), **settings)
    assert_close(got, want.detach().numpy())
    assert_close(pullback(xp.asarray(cotangent))[0], leaf.grad.numpy())


@maximum
@pytest.mark.needs("torch")
@pytest.mark.on("numpy", "numpy-readonly", "torch")
@pytest.mark.parametrize(
    ("size", "stride", "padding", "dilation"),
    [((3, 3), 2, 1, 1), ((5, 4), 3, 2, 1), ((3, 5), 4, 1, 2), ((3, 3), 5, 1, 1)],
)
def test_places_of_large_strided_pools_equal_pytorch(xp, rng, size, stride, padding, dilation):
    """Large enough that what a stride reads is laid side by side."""
    import torch
    import torch.nn.functional as F

    for shape in ((2, 3, 112, 112), (1, 2, 201, 157)):
        x = rng.integers(-9, 10, shape).astype(float)
        keywords = {"stride": stride, "padding": padding, "dilation": dilation}
        want = F.max_pool2d(torch.from_numpy(x), size, **keywords, return_indices=True)
        got = nn.max_pool(xp.asarray(x), size, **keywords, return_indices=True)
        assert_close(got[0], want[0].numpy(), rtol=0.0, dtype=xp.float)
        assert_close(got[1], want[1].numpy())


@maximum
@minimum
@pytest.mark.on("numpy", "numpy-readonly", "torch")
@pytest.mark.parametrize(
    ("points", "size", "stride", "pads", "dilation"),
    [
        (150, 4, 1, (2, 1), 2),
        (203, 5, 3, (0, 4), 1),
        (300, 3, 3, (0, 0), 1),
        (40, 3, 2, (400, 90), 2),
    ],
)
def test_places_in_slabs_equal_numpys(xp, rng, monkeypatch, points, size, stride, pads, dilation):
    """Slabs that share points, that share none, and whose windows lie in padding alone."""
    monkeypatch.setattr(sweep, "_SLAB", 2**9)
    x = rng.integers(-9, 10, (points, 5)).astype(float)
    g = Windows(x.shape, (0,), (Span(points, size, stride, dilation, *pads),))
    columns = np.broadcast_to(np.arange(5), g.out)
    for op, sign in ((nn.max_pool, 1), (nn.min_pool, -1)):
        padded = np.pad(sign * x, (pads, (0, 0)), constant_values=-np.inf)
        extent = dilation * (size - 1) + 1
        view = np.lib.stride_tricks.sliding_window_view(padded, extent, 0)[::stride, :, ::dilation]
        want, first = view.max(-1), stride * np.arange(g.out[0])[:, None] - pads[0]
        inside = np.isfinite(want)
        at = np.where(inside, first + dilation * view.argmax(-1), -1)
        keywords = {"stride": stride, "padding": (pads,), "dilation": dilation, "axes": 0}
        (y, places), pullback = swath.vjp(op, xp.asarray(x), size, return_indices=True, **keywords)
        assert_close(y, sign * want, rtol=0.0)
        assert_close(places, at)
        ct, t = rng.integers(-9, 10, g.out), rng.standard_normal(x.shape)
        grad = np.zeros_like(x)
        np.add.at(grad, (at[inside], columns[inside]), ct[inside])
        assert_close(pullback(xp.asarray(ct.astype(float)))[0], grad, rtol=0.0)
        got = choose(g, xp.asarray(t), xp.asarray(x), largest=sign == 1)
        assert_close(got, np.where(inside, t[at, columns], 0), rtol=0.0, dtype=xp.float)


@maximum
@average
def test_windows_in_long_rows_equal_numpys(xp, rng):
    """Rows long enough that all taps of a window may be merged at once, and padding beside."""
    cases = [
        ((72, 500), (7, 9), (2, 1), ((3, 0), (4, 5)), (1, 2)),
        ((30, 200, 3), (5, 6), (1, 1), ((2, 2), (0, 1)), (1, 1)),
        # Of many taps windows are made of smaller ones, and of one more tap.
        ((120, 360), (31, 25), (1, 1), ((3, 0), (4, 5)), (1, 2)),
    ]
    for shape, size, stride, pads, dilation in cases:
        x = rng.integers(-9, 10, shape).astype(float)
        rest = [(0, 0)] * (len(shape) - 2)
        extents = [d * (k - 1) + 1 for k, d in zip(size, dilation)]
        step = tuple(slice(None, None, n) for n in stride)
        taps = (..., *(slice(None, None, d) for d in dilation))

        def windows(fill, x=x, widths=(*pads, *rest), extents=extents, cut=(step, taps)):
            padded = np.pad(x, widths, constant_values=fill)
            view = np.lib.stride_tricks.sliding_window_view(padded, extents, (0, 1))
            return view[cut[0]][cut[1]]

        array, keywords = xp.asarray(x), {"stride": stride, "padding": pads, "dilation": dilation}
        got = xp.call(nn.max_pool, array, size, axes=(0, 1), **keywords)
        assert_close(got, windows(-np.inf).max((-2, -1)), rtol=0.0)
        got = xp.call(nn.avg_pool, array, size, axes=(0, 1), **keywords)
        assert_close(got, windows(0.0).mean((-2, -1)))


@maximum
@minimum
@average
@pytest.mark.parametrize(("stride", "out"), [(16, 7), (32, 4)])
def test_many_taps_far_apart_equal_numpys(xp, rng, stride, out):
    """Windows of so many taps are made of smaller ones, but only of neighbours."""
    x = rng.standard_normal(200)
    at = stride * np.arange(out)[:, None] + 3 * np.arange(32)
    keywords = {"stride": stride, "dilation": 3}
    for op, pick, best in ((nn.max_pool, np.argmax, np.max), (nn.min_pool, np.argmin, np.min)):
        y, indices = xp.call(op, xp.asarray(x[None, None]), (32,), return_indices=True, **keywords)
        assert_close(y, best(x[at], axis=1)[None, None])
        places = np.take_along_axis(at, pick(x[at], axis=1)[:, None], axis=1)
        assert_close(indices, places.reshape(1, 1, -1))
    y, pullback = swath.vjp(nn.avg_pool, xp.asarray(x[None, None]), (32,), **keywords)
    assert_close(y, x[at].mean(axis=1)[None, None])
    ct = rng.standard_normal(out)
    want = np.bincount(at.ravel(), np.repeat(ct / 32, 32), minlength=200)
    assert_close(pullback(xp.asarray(ct[None, None]))[0], want[None, None])


@maximum
@minimum
@average
@pytest.mark.parametrize("low", [0, 5])
def test_many_taps_end_to_end_equal_numpys(xp, rng, low):
    """On two axes, with points behind the last window, and padding before the first."""
    x = rng.integers(-9, 10, (2, 55, 3, 38)).astype(float)
    settings = {"axes": (1, 3), "padding": ((low, 0), (0, 0))}

    def blocks(fill):
        padded = np.pad(x, ((0, 0), (low, 0), (0, 0), (0, 0)), constant_values=fill)
        return padded[:, :54, :, :34].reshape(2, 3, 18, 3, 2, 17)

    for op, best, fill in ((nn.max_pool, np.max, -np.inf), (nn.min_pool, np.min, np.inf)):
        got = xp.call(op, xp.asarray(x), (18, 17), **settings)
        assert_close(got, best(blocks(fill), axis=(2, 5)), rtol=0.0)
    y, pullback = swath.vjp(nn.avg_pool, xp.asarray(x), (18, 17), **settings)
    assert_close(y, blocks(0.0).mean((2, 5)))
    ct = rng.standard_normal((2, 3, 3, 2))
    want = np.zeros_like(x)
    shares = ct.repeat(18, 1).repeat(17, 3) / (18 * 17)
    want[:, : 54 - low, :, :34] = shares[:, low:]
    assert_close(pullback(xp.asarray(ct))[0], want)


@average
@pytest.mark.needs("torch")
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_avg_pool_equals_pytorch_with_gradient(xp, rng, rank):
    import torch
    import torch.nn.functional as F

    function = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
    for trial in range(count(xp, 15, 1)):
        points, size, keywords = draw(rng, rank, dilated=False, taps=widest(xp, 4))
        keywords["count_include_pad"] = bool((trial + rank) % 2)
        if rank > 1 and trial % 3 == 0:
            keywords["divisor_override"] = 5
        x = rng.standard_normal((2, 2, *points))
        leaf = torch.tensor(x, requires_grad=True)
        given = {k: v for k, v in keywords.items() if k != "dilation"}
        reference = function(leaf, size, **given)
        cotangent = rng.standard_normal(tuple(reference.shape))
        reference.backward(torch.tensor(cotangent))
        last = (trial + rank) % 4 == 1
        array = xp.asarray(oriented(x, last))
        keywords["channels"] = "last" if last else "first"
        want = oriented(reference.detach().numpy(), last)
        assert_close(xp.call(nn.avg_pool, array, size, **keywords), want, dtype=xp.float)
        _, pullback = swath.vjp(nn.avg_pool, array, size, **keywords)
        got = pullback(xp.asarray(oriented(cotangent, last)))[0]
        assert_close(got, oriented(leaf.grad.numpy(), last))


def means(include, x, axes, size, stride, pads, dilation, out):
    """Means by loops: the divisor counts points inside x, or inside x and its padding."""
    sums = oracles_nn.pool(
        x, axes, size, stride, pads, dilation, out, lambda v, _: float(np.sum(v))
    )
    if include:
        return sums / math.prod(size)
    counts = oracles_nn.pool(
        x, axes, size, stride, pads, dilation, out, lambda v, _: float(max(1, len(v)))
    )
    return sums / counts


@maximum
@average
@p_norm
def test_dilation_and_uneven_padding_equal_loops(xp, rng):
    x = single(rng, 2, 7, 6)
    size, stride, pads, dilation = (3, 2), (2, 1), ((3, 0), (1, 2)), (2, 3)
    out = tuple(
        (n + lo + hi - d * (k - 1) - 1) // s + 1
        for n, k, s, d, (lo, hi) in zip((7, 6), size, stride, dilation, pads, strict=True)
    )
    geometry = ((1, 2), size, stride, pads, dilation, out)
    keywords = {"stride": stride, "padding": pads, "dilation": dilation}
    array = xp.asarray(x)
    want = oracles_nn.pool(x, *geometry, lambda v, _: v.max() if len(v) else -np.inf)
    assert_close(xp.call(nn.max_pool, array, size, **keywords), want, rtol=0.0)
    for include in (True, False):
        got = xp.call(nn.avg_pool, array, size, count_include_pad=include, **keywords)
        assert_close(got, means(include, x, *geometry))
    for p in (1, 2, 3.5, math.inf):

        def norm(values, _, p=p):
            return float(np.linalg.norm(values, p)) if len(values) else 0.0

        want = oracles_nn.pool(x, *geometry, norm)
        assert_close(xp.call(nn.lp_pool, array, size, p, **keywords), want)


@maximum
@average
def test_four_and_eight_axes_equal_loops(xp, rng):
    x = rng.integers(-3, 4, (2, 4, 3, 5, 4)).astype(float)
    size, stride, out = (2, 1, 2, 2), (2, 1, 1, 2), (2, 3, 4, 2)
    axes = (1, 2, 3, 4)
    geometry = (axes, size, stride, [(0, 0)] * 4, (1,) * 4, out)
    y, indices = xp.call(
        nn.max_pool, xp.asarray(x), size, stride=stride, axes=axes, return_indices=True
    )
    assert_close(y, oracles_nn.pool(x, *geometry, lambda v, _: v.max()), rtol=0.0)

    def place(values, points):
        return int(np.ravel_multi_index(points[int(np.argmax(values))], x.shape[1:]))

    assert_close(indices, oracles_nn.pool(x, *geometry, place))
    got = xp.call(nn.avg_pool, xp.asarray(x), size, stride=stride)
    assert_close(got, means(True, x, *geometry))
    x = single(rng, 2, 3, 2, 2, 3, 2, 2, 2)
    geometry = (tuple(range(8)), (2, 1) * 4, (1,) * 8, [(0, 0)] * 8, (1,) * 8)
    out = (1, 3, 1, 2, 2, 2, 1, 2)
    want = oracles_nn.pool(x, *geometry, out, lambda v, _: v.max())
    got = xp.call(nn.max_pool, xp.asarray(x), (2, 1) * 4, stride=1, axes=tuple(range(8)))
    assert_close(got, want, rtol=0.0)


@maximum
@average
def test_axes_pool_any_axes_in_any_order(xp, rng):
    x = single(rng, 6, 2, 8)
    want = x.reshape(3, 2, 2, 2, 4)
    y, indices = xp.call(nn.max_pool, xp.asarray(x), (4, 2), axes=(-1, 0), return_indices=True)
    assert_close(y, want.max(axis=(1, 4)), rtol=0.0)
    flat = np.moveaxis(x, 1, 0).reshape(2, -1)
    picked = np.take_along_axis(flat, np.moveaxis(xp.numpy(indices), 1, 0).reshape(2, -1), 1)
    assert_close(y, np.moveaxis(picked.reshape(2, 3, 2), 0, 1), rtol=0.0)
    got = xp.call(nn.avg_pool, xp.asarray(x), 2, axes=(0, 2))
    assert_close(got, x.reshape(3, 2, 2, 4, 2).mean(axis=(1, 4)))


@maximum
@minimum
@pytest.mark.parametrize("op", [nn.max_pool, nn.min_pool])
def test_gradient_where_neighbours_lie_more_than_a_byte_apart(xp, rng, op):
    x = single(rng, 4, 300)
    picked = (np.argmax if op is nn.max_pool else np.argmin)(x.reshape(2, 2, 300), axis=1)
    _, pullback = swath.vjp(op, xp.asarray(x), 2, axes=0)
    cotangent = rng.standard_normal((2, 300))
    want = np.where(np.arange(2)[:, None] == picked[:, None], cotangent[:, None], 0)
    assert_close(pullback(xp.asarray(cotangent))[0], want.reshape(4, 300))


@maximum
@minimum
def test_ties_and_signed_zeros_go_to_the_first_place(xp):
    x = np.array([[[0.0, -0.0, -0.0, 0.0], [-0.0, 0.0, 0.0, -0.0]]])
    keywords = {"stride": 2, "return_indices": True}
    for op in (nn.max_pool, nn.min_pool):
        _, indices = xp.call(op, xp.asarray(x), (2, 2), **keywords)
        assert_close(indices, [[[0, 2]]])
        _, pullback = swath.vjp(op, xp.asarray(x), (2, 2), stride=2)
        assert_close(pullback(xp.asarray([[[1.0, 2.0]]]))[0], [[[1.0, 0, 2, 0], [0] * 4]])


@maximum
@minimum
def test_nans_win_and_the_first_of_them_is_named(xp):
    x = np.array([[[1.0, np.nan, 3.0, np.nan, np.inf, -np.inf]]])
    for op, tail in ((nn.max_pool, np.inf), (nn.min_pool, -np.inf)):
        y, indices = xp.call(op, xp.asarray(x), (2,), stride=1, return_indices=True)
        assert_close(y, [[[np.nan, np.nan, np.nan, np.nan, tail]]])
        assert_close(indices, [[[1, 1, 3, 3, 4 if op is nn.max_pool else 5]]])
        _, pullback = swath.vjp(op, xp.asarray(x), (3,), stride=3)
        grad = pullback(xp.asarray([[[1.0, 2.0]]]))[0]
        assert_close(grad, [[[0.0, 1.0, 0.0, 2.0, 0.0, 0.0]]])


@maximum
@minimum
@average
def test_windows_wholly_in_padding(xp):
    x = xp.asarray(np.array([[[-np.inf, 2.0]]]))
    keywords = {"stride": 2, "padding": ((2, 2),)}
    y, indices = xp.call(nn.max_pool, x, (2,), return_indices=True, **keywords)
    assert_close(y, [[[-np.inf, 2.0, -np.inf]]])
    assert_close(indices, [[[-1, 1, -1]]])
    y, indices = xp.call(nn.min_pool, x, (2,), return_indices=True, **keywords)
    assert_close(y, [[[np.inf, -np.inf, np.inf]]])
    assert_close(indices, [[[-1, 0, -1]]])
    _, pullback = swath.vjp(nn.max_pool, x, (2,), **keywords)
    assert_close(pullback(xp.asarray([[[7.0, 1.0, 9.0]]]))[0], [[[0.0, 1.0]]])
    g = Windows((1, 1, 2), (2,), (Span(2, 2, 2, 1, 2, 2),))
    tangent = xp.call(lambda t, x: choose(g, t, x), xp.asarray([[[3.0, 4.0]]]), x)
    assert_close(tangent, [[[0.0, 4.0, 0.0]]])
    x = xp.asarray(np.array([[[4.0, 2.0]]]))
    got = xp.call(nn.avg_pool, x, (2,), count_include_pad=False, **keywords)
    assert_close(got, [[[0.0, 3.0, 0.0]]])


@maximum
@minimum
@average
@pytest.mark.parametrize("function", [nn.max_pool, nn.min_pool, nn.avg_pool])
@pytest.mark.parametrize(
    ("points", "size", "stride", "padding"),
    [((1,), 1, 7, (3, 2)), ((1,), 1, 7, (3, 9)), ((2, 1), (3, 1), (8, 6), (2, 2))],
)
def test_no_derivative_where_every_window_is_padding(xp, function, points, size, stride, padding):
    x = xp.asarray(np.ones((2, *points)))
    axes = tuple(range(1, x.ndim))
    keywords = {"stride": stride, "padding": (padding,) * len(axes), "axes": axes}

    def gradient(x):
        y, pullback = swath.vjp(function, x, size, **keywords)
        return pullback(xp.asarray(np.ones(y.shape)))[0]

    found = xp.numpy(xp.call(gradient, x))
    assert found.shape == x.shape
    assert not np.any(found)


@maximum
def test_windows_whose_taps_step_over_an_axis_name_no_place(xp):
    """PyTorch's kernel names one all the same, and its derivative would write behind the array."""
    x = xp.asarray(np.array([[[1.0, 5.0, 2.0]], [[3.0, 6.0, 1.0]]]))
    keywords = {"stride": 1, "padding": ((1, 1), (0, 0)), "dilation": (2, 1)}
    y, indices = xp.call(nn.max_pool, x, (2, 2), return_indices=True, **keywords)
    assert_close(y, np.full((2, 1, 2), -np.inf))
    assert_close(indices, np.full((2, 1, 2), -1))
    y, pullback = swath.vjp(nn.max_pool, x, (2, 2), **keywords)
    assert_close(pullback(xp.asarray(np.ones((2, 1, 2))))[0], np.zeros((2, 1, 3)))


# Few taps, many merged by doubling, and windows made of smaller ones that lie end to end.
MERGES = pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 2, 1), (9, 1, 4), (20, 4, 9), (32, 32, 16)]
)


@maximum
@minimum
@MERGES
def test_windows_of_the_lowest_value_keep_their_first_place(xp, size, stride, padding):
    """Padding has that value too, and comes before."""
    for op, dtype, lowest in (
        (nn.max_pool, "float32", -np.inf),
        (nn.min_pool, "float32", np.inf),
        (nn.max_pool, "int8", -128),
    ):
        x = xp.asarray(np.full((1, 1, 64), lowest, dtype), dtype)
        keywords = {"stride": stride, "padding": padding}
        y, indices = xp.call(op, x, (size,), return_indices=True, **keywords)
        first = np.maximum(np.arange(y.shape[-1]) * stride - padding, 0)
        assert_close(indices, first[None, None])
        assert_close(y, np.full(y.shape, lowest, dtype), dtype=dtype)
        if dtype == "float32":
            _, pullback = swath.vjp(op, x, (size,), **keywords)
            grad = pullback(xp.asarray(np.ones(y.shape), dtype))[0]
            assert_close(grad, np.bincount(first, minlength=64)[None, None], dtype=dtype)


@maximum
@minimum
def test_extremes_of_infinities_are_infinite(xp):
    for op, lowest in ((nn.max_pool, -np.inf), (nn.min_pool, np.inf)):
        x = np.full((1, 1, 5), lowest)
        assert_close(xp.call(op, xp.asarray(x), (3,), stride=1, padding=1), x)


@maximum
@minimum
@MERGES
def test_the_first_nan_of_many_taps_is_named(xp, rng, size, stride, padding):
    x = rng.standard_normal(64)
    x[[5, 6, 20, 21, 40]] = np.nan
    for op, best in ((nn.max_pool, np.argmax), (nn.min_pool, np.argmin)):
        keywords = {"stride": stride, "padding": padding}
        _, indices = xp.call(
            op, xp.asarray(x[None, None]), (size,), return_indices=True, **keywords
        )
        # NumPy's too name the first NaN.
        begins = np.arange(indices.shape[-1]) * stride - padding
        want = [max(b, 0) + int(best(x[max(b, 0) : b + size])) for b in begins]
        assert_close(indices, np.array(want)[None, None])


@maximum
@minimum
@average
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32"])
def test_integers(xp, rng, dtype):
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, (1, 2, 9), dtype=dtype, endpoint=True)
    array = xp.asarray(x, dtype)
    geometry = ((2,), (3,), (2,), [(3, 0)], (1,), (5,))
    keywords = {"stride": 2, "padding": ((3, 0),)}
    for op, bottom, best in (
        (nn.max_pool, info.min, np.max),
        (nn.min_pool, info.max, np.min),
    ):
        want = oracles_nn.pool(
            x, *geometry, lambda v, _, b=bottom, f=best: int(f(v)) if len(v) else int(b)
        )
        y, indices = xp.call(op, array, (3,), return_indices=True, **keywords)
        for found in (y, xp.call(op, array, (3,), **keywords)):
            assert_close(found, want.astype(dtype), dtype=dtype)
        assert xp.numpy(indices)[0, 0, 0] == -1
    got = xp.call(nn.avg_pool, array, (3,), **keywords)
    assert_close(got, means(True, x.astype(float), *geometry))
    assert "float" in str(got.dtype)


@average
@p_norm
def test_complex_means_and_norms(xp, rng):
    x = rng.standard_normal((1, 1, 6)) + 1j * rng.standard_normal((1, 1, 6))
    pairs = x.reshape(1, 1, 3, 2)
    array = xp.asarray(x)
    assert_close(xp.call(nn.avg_pool, array, (2,)), pairs.mean(-1), dtype=xp.complex)
    check_adjoint(nn.avg_pool, array, (2,), padding=1, count_include_pad=False)
    for p in (1, 2, 3):
        got = xp.call(nn.lp_pool, array, (2,), p)
        assert_close(got, (abs(pairs) ** p).sum(-1) ** (1 / p), dtype=xp.float)


@average
@p_norm
def test_nan_and_infinity_stay_in_their_windows(xp):
    x = np.arange(1.0, 13.0)
    x[4], x[9] = np.nan, np.inf
    array = xp.asarray(x[None, None])
    rows = np.lib.stride_tricks.sliding_window_view(x, 3)
    assert_close(xp.call(nn.avg_pool, array, (3,), stride=1), rows.mean(-1)[None, None])
    want = np.sqrt((rows**2).sum(-1))[None, None]
    assert_close(xp.call(nn.lp_pool, array, (3,), stride=1), want)


@average
@p_norm
@pytest.mark.on("numpy", "torch", "jax")
def test_half_precision_accumulates_in_float32(xp, rng):
    x = (1000 + rng.standard_normal((1, 1, 256))).astype(np.float16)
    array = xp.asarray(x, "float16")
    exact = x.astype(np.float64)
    got = xp.call(nn.avg_pool, array, (256,))
    assert_close(got, exact.mean(-1, keepdims=True), bound=1000 * 2.0**-11 * 1.01, dtype="float16")
    got = xp.call(nn.lp_pool, array, (16,))
    want = np.sqrt((exact.reshape(1, 1, -1, 16) ** 2).sum(-1))
    assert_close(got, want, bound=want * 2.0**-11 * 1.01, dtype="float16")
    got = xp.call(nn.global_lp_pool, array)
    want = np.sqrt((exact**2).sum(-1, keepdims=True))
    assert_close(got, want, bound=want * 2.0**-11 * 1.01, dtype="float16")


@maximum
@minimum
@average
@p_norm
def test_derivatives(xp, rng):
    x = xp.asarray(rng.permutation(84).reshape(2, 7, 6) + 0.5 * rng.random((2, 7, 6)))
    keywords = {"stride": (2, 1), "padding": ((1, 2), (0, 1)), "dilation": (1, 2)}
    for op in (nn.max_pool, nn.min_pool, nn.avg_pool, nn.lp_pool):
        check_vjp(op, x, (3, 2), ceil_mode=True, step=None if xp.x64 else 0.05, **keywords)
    for p in (1, 3, math.inf):
        check_vjp(nn.lp_pool, x, (3, 2), p, step=None if xp.x64 else 0.05, **keywords)
    check_adjoint(nn.avg_pool, x, (3, 2), count_include_pad=False, ceil_mode=True, **keywords)


@average
def test_the_gradient_of_one_window_with_gaps(xp):
    """XLA's loop over windows may take up the zeros between points, and goes wrong here."""
    x = xp.asarray(np.ones((1, 1, 5)))
    _, pullback = swath.vjp(nn.avg_pool, x, (3,), stride=2, dilation=2)
    got = xp.call(lambda g: pullback(g)[0], xp.asarray([[[3.0]]]))
    assert_close(got, [[[1.0, 0.0, 1.0, 0.0, 1.0]]])


@p_norm
def test_the_gradient_of_a_norm_is_zero_at_zero(xp):
    x = xp.asarray(np.array([[[0.0, 0.0, 3.0, -4.0]]]))
    for p, slopes in ((1, [1.0, -1.0]), (2, [0.6, -0.8]), (math.inf, [0.0, -1.0])):
        _, pullback = swath.vjp(nn.lp_pool, x, (2,), p)
        grad = pullback(xp.asarray([[[1.0, 1.0]]]))[0]
        assert_close(grad, [[[0.0, 0.0, *slopes]]])


@p_norm
@pytest.mark.on("jax", "torch")
def test_the_librarys_own_autodiff_gives_zero_at_zero(xp):
    """A root has NaN there, and JAX's absolute value a slope of 1."""
    x = xp.asarray(np.array([[[0.0, 0.0, 3.0, -4.0]]]))

    def slopes(pool):
        if xp.backend == "jax":
            import jax

            return jax.grad(lambda a: pool(a).sum())(x)
        leaf = x.clone().requires_grad_()
        pool(leaf).sum().backward()
        return leaf.grad

    for p, want in ((1, [1.0, -1.0]), (2, [0.6, -0.8]), (math.inf, [0.0, -1.0])):
        assert_close(slopes(lambda a, p=p: nn.lp_pool(a, (2,), p)), [[[0.0, 0.0, *want]]])
        pooled = slopes(lambda a, p=p: nn.global_lp_pool(a, p))
        assert_close(pooled, [[[0.0, 0.0, *want]]])


@maximum
@minimum
@pytest.mark.op("nn.adaptive_max_pool")
@pytest.mark.on("torch")
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("op", "size", "keywords"),
    [
        (nn.max_pool, (3,), {}),
        (nn.max_pool, (3, 2), {"stride": (2, 1), "padding": 1}),
        (nn.min_pool, (3, 2), {"stride": (2, 1), "padding": 1}),
        (nn.adaptive_max_pool, (3, 4), {}),
    ],
)
def test_places_come_with_a_value_that_pytorch_differentiates(xp, rng, op, size, keywords):
    import torch

    x = xp.asarray(rng.standard_normal((2, 7, 6)))
    (value, places), pullback = swath.vjp(op, x, size, return_indices=True, **keywords)
    ct = xp.asarray(rng.standard_normal(tuple(value.shape)))
    leaf = x.clone().requires_grad_()
    y, found = op(leaf, size, return_indices=True, **keywords)
    assert_close(found, places.numpy())
    assert not found.requires_grad
    (back,) = torch.autograd.grad(y, leaf, ct)
    assert_close(back, pullback(ct)[0].numpy())

    def both(x):
        return op(x, size, return_indices=True, **keywords)

    tangent = xp.asarray(rng.standard_normal((2, 7, 6)))
    _, pushed, again = torch.func.jvp(both, (x,), (tangent,), has_aux=True)
    assert_close(again, places.numpy())
    assert_close(torch.sum(pushed * ct), torch.sum(tangent * back).numpy(), rtol=1e-12)


@maximum
@average
@p_norm
def test_empty_arrays_keep_their_rank(xp):
    x = xp.asarray(np.zeros((0, 3, 8)))
    y, indices = nn.max_pool(x, (2,), return_indices=True)
    assert y.shape == indices.shape == (0, 3, 4)
    assert nn.avg_pool(x, (2,)).shape == nn.lp_pool(x, (2,)).shape == (0, 3, 4)
    none = xp.asarray(np.zeros((1, 3, 0)))
    y, indices = nn.max_pool(none, (2,), padding=1, return_indices=True)
    assert_close(y, np.full((1, 3, 1), -np.inf))
    assert_close(indices, np.full((1, 3, 1), -1))


@maximum
@average
def test_same_padding_with_strides(xp):
    x = xp.asarray(np.arange(5.0)[None, None])
    assert_close(xp.call(nn.max_pool, x, (2,), padding="same"), [[[1.0, 3.0, 4.0]]])
    assert_close(xp.call(nn.max_pool, x, (2,), padding="same_lower"), [[[0.0, 2.0, 4.0]]])
    got = xp.call(nn.avg_pool, x, (2,), padding="same", count_include_pad=False)
    assert_close(got, [[[0.5, 2.5, 4.0]]])


@maximum
@average
@pytest.mark.on("numpy")
@pytest.mark.parametrize("op", [nn.max_pool, nn.avg_pool])
def test_pooling_needs_little_memory_beside_its_output(xp, rng, op):
    x = rng.standard_normal((4608, 4608)).astype(np.float32)
    allowed = max(64 * 2**20, x.nbytes)

    def peak(run):
        tracemalloc.start()
        result = run()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result, most

    keywords = {"stride": 1, "padding": 2, "axes": (0, 1)}
    (value, pullback), most = peak(lambda: swath.vjp(op, x, 5, **keywords))
    assert most <= value.nbytes + allowed
    found, most = peak(lambda: pullback(value))
    assert most <= found[0].nbytes + allowed


@whole
@pytest.mark.parametrize("channels", ["first", "last"])
def test_global_pools_equal_numpy(xp, rng, channels):
    x = rng.integers(-3, 4, (2, 3, 4, 5)).astype(float)
    last = channels == "last"
    array = xp.asarray(oriented(x, last))
    for op, args, want in (
        (nn.global_max_pool, (), x.max(axis=(2, 3))),
        (nn.global_avg_pool, (), x.mean(axis=(2, 3))),
        (nn.global_lp_pool, (), np.sqrt((x**2).sum(axis=(2, 3)))),
        (nn.global_lp_pool, (3,), (abs(x) ** 3).sum(axis=(2, 3)) ** (1 / 3)),
        (nn.global_lp_pool, (math.inf,), abs(x).max(axis=(2, 3))),
    ):
        kept = oriented(want[:, :, None, None], last)
        assert_close(xp.call(op, array, *args, channels=channels), kept)
        got = xp.call(op, array, *args, channels=channels, keepdims=False)
        assert_close(got, want)


@whole
def test_global_pools_of_any_axes(xp, rng):
    x = single(rng, 3, 4, 5)
    array = xp.asarray(x)
    got = xp.call(nn.global_max_pool, array, axes=(2, 0))
    assert_close(got, x.max(axis=(0, 2), keepdims=True), rtol=0.0)
    got = xp.call(nn.global_avg_pool, array, axes=-1, keepdims=False)
    assert_close(got, x.mean(axis=-1))


@whole
def test_derivatives_of_global_pools(xp, rng):
    x = xp.asarray(rng.permutation(60).reshape(1, 3, 4, 5) + 0.5 * rng.random((1, 3, 4, 5)))
    step = None if xp.x64 else 0.05
    for op, args in (
        (nn.global_max_pool, ()),
        (nn.global_avg_pool, ()),
        (nn.global_lp_pool, ()),
        (nn.global_lp_pool, (1,)),
    ):
        check_vjp(op, x, *args, step=step)
    check_vjp(nn.global_max_pool, x, axes=(0, 2), step=step)
    check_adjoint(nn.global_avg_pool, x)
    ties = xp.asarray(np.array([[[1.0, 2.0], [2.0, -0.0]], [[-0.0, 0.0], [np.nan, np.nan]]])[None])
    _, pullback = swath.vjp(nn.global_max_pool, ties)
    grad = pullback(xp.asarray([[[[5.0]], [[6.0]]]]))[0]
    assert_close(grad, [[[[0.0, 5.0], [0.0, 0.0]], [[0.0, 0.0], [6.0, 0.0]]]])


@whole
def test_global_pools_of_empty_and_integer_arrays(xp):
    empty = xp.asarray(np.zeros((0, 2, 5)))
    for op in (nn.global_max_pool, nn.global_avg_pool, nn.global_lp_pool):
        assert op(empty).shape == (0, 2, 1)
        assert op(empty, keepdims=False).shape == (0, 2)
    x = xp.asarray(np.array([[[1, 5, 3]]]), "int32")
    assert_close(xp.call(nn.global_max_pool, x), [[[5]]], dtype="int32")
    assert_close(xp.call(nn.global_avg_pool, x), [[[3.0]]])


@adaptive
@pytest.mark.needs("torch")
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_adaptive_pools_equal_pytorch_with_indices_and_gradient(xp, rng, rank):
    import torch
    import torch.nn.functional as F

    maxima = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[rank - 1]
    averages = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[rank - 1]
    for trial in range(count(xp, 12, 1)):
        points = tuple(int(v) for v in rng.integers(1, 2 * widest(xp, 5) + 1, rank))
        parts = tuple(int(v) for v in rng.integers(1, widest(xp, 6) + 1, rank))
        x = rng.integers(-2, 3, (2, 2, *points)).astype(float)
        last = (trial + rank) % 2 == 1
        array = xp.asarray(oriented(x, last))
        channels = "last" if last else "first"
        for op, function in ((nn.adaptive_max_pool, maxima), (nn.adaptive_avg_pool, averages)):
            leaf = torch.tensor(x, requires_grad=True)
            if op is nn.adaptive_max_pool:
                reference, places = function(leaf, parts, return_indices=True)
                y, indices = xp.call(op, array, parts, return_indices=True, channels=channels)
                assert_close(indices, oriented(places.numpy(), last))
            else:
                reference = function(leaf, parts)
                y = xp.call(op, array, parts, channels=channels)
            cotangent = rng.standard_normal(tuple(reference.shape))
            reference.backward(torch.tensor(cotangent))
            assert_close(y, oriented(reference.detach().numpy(), last), dtype=xp.float)
            _, pullback = swath.vjp(op, array, parts, channels=channels)
            got = pullback(xp.asarray(oriented(cotangent, last)))[0]
            assert_close(got, oriented(leaf.grad.numpy(), last))


@adaptive
def test_adaptive_pools_of_any_axes_and_none(xp, rng):
    x = single(rng, 6, 2, 5)
    y, indices = xp.call(
        nn.adaptive_max_pool, xp.asarray(x), (None, 3), axes=(2, 0), return_indices=True
    )
    assert_close(y, x.reshape(3, 2, 2, 5).max(axis=1), rtol=0.0)
    picked = x[xp.numpy(indices) // 5, np.arange(2)[:, None], xp.numpy(indices) % 5]
    assert_close(y, picked, rtol=0.0)
    got = xp.call(nn.adaptive_avg_pool, xp.asarray(x), 1, axes=(0, 2))
    assert_close(got, x.mean(axis=(0, 2), keepdims=True))
    empty = xp.asarray(np.zeros((0, 2, 5)))
    y, indices = nn.adaptive_max_pool(empty, (2,), return_indices=True)
    assert y.shape == indices.shape == (0, 2, 2)
    assert nn.adaptive_avg_pool(empty, (2,)).shape == (0, 2, 2)


@adaptive
@pytest.mark.on("numpy", "torch")
@pytest.mark.parametrize("function", [nn.adaptive_avg_pool, nn.adaptive_max_pool])
def test_axes_left_as_they_are_give_an_array_of_its_own(xp, rng, function):
    x = rng.standard_normal((2, 3, 4, 5))
    given = xp.asarray(x)
    got = function(given, (None, 5))
    assert_close(got, x)
    got += 1
    assert_close(given, x)


@unpool
@pytest.mark.needs("torch")
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_max_unpool_equals_pytorch_with_gradient(xp, rng, rank):
    import torch
    import torch.nn.functional as F

    function = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[rank - 1]
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[rank - 1]
    x = torch.tensor(single(rng, 2, 2, *[8, 6, 7][:rank]))
    # Windows that do not overlap: PyTorch leaves open which of equal places wins.
    pooled, places = pool(x, 2, 2, 1, return_indices=True)
    leaf = pooled.clone().requires_grad_()
    lengths = tuple(x.shape[2:])
    reference = function(leaf, places, 2, 2, 1, lengths)
    cotangent = rng.standard_normal(tuple(reference.shape))
    reference.backward(torch.tensor(cotangent))
    for last in (False, True):
        args = (
            xp.asarray(oriented(pooled.numpy(), last)),
            xp.asarray(oriented(places.numpy(), last), "int32"),
            (2,) * rank,
        )
        keywords = {
            "padding": 1,
            "output_size": lengths,
            "channels": "last" if last else "first",
        }
        want = oriented(reference.detach().numpy(), last)
        assert_close(xp.call(nn.max_unpool, *args, **keywords), want, rtol=0.0)
        whole = {**keywords, "output_size": want.shape}
        assert_close(xp.call(nn.max_unpool, *args, **whole), want, rtol=0.0)
        _, pullback = swath.vjp(nn.max_unpool, *args, **keywords)
        got = pullback(xp.asarray(oriented(cotangent, last)))[0]
        assert_close(got, oriented(leaf.grad.numpy(), last))


@unpool
def test_max_unpool_puts_the_first_of_equal_places_and_drops_minus_one(xp):
    x, places = xp.asarray([[1.0, 2.0, 3.0, 4.0]]), xp.asarray([[3, 3, -1, 0]])
    keywords = {"output_size": (5,)}
    got = xp.call(nn.max_unpool, x, places, (2,), **keywords)
    assert_close(got, [[4.0, 0.0, 0.0, 1.0, 0.0]])
    check_adjoint(nn.max_unpool, x, places, (2,), **keywords)
    empty = np.zeros((0, 2, 3))
    got = nn.max_unpool(xp.asarray(empty), xp.asarray(empty, "int32"), (2,))
    assert got.shape == (0, 2, 6)


X = np.ones((1, 2, 8, 8))
PLACES = np.zeros((1, 2, 8, 8), int)
BAD = [
    ((X, 2), {}, TypeError, r"max_pool: size must be a tuple .* got the int 2.*axes="),
    ((X, "a"), {}, TypeError, r"size must be a tuple of ints"),
    ((X, ()), {}, ValueError, r"size must have at least one entry"),
    ((X, (2, 0)), {}, ValueError, r"size must be at least 1, got 0"),
    ((X, (2, 2.0)), {}, TypeError, r"size must be an int, got float 2.0"),
    ((X, (2, 2)), {"stride": 0}, ValueError, r"stride must be at least 1, got 0"),
    ((X, (2, 2)), {"stride": (1, 1, 1)}, ValueError, r"stride must have one entry per sliding"),
    ((X, (2, 2)), {"dilation": -1}, ValueError, r"dilation must be at least 1"),
    ((X, (2, 2)), {"padding": -1}, ValueError, r"padding must be 0 or more"),
    ((X, (2,)), {}, ValueError, r"x must have 3 axes .*size \(2,\).*axes="),
    ((X, (9, 2)), {}, ValueError, r"a window spans 9 points .* axis 2 of x has 8 points"),
    ((X, (2, 2)), {"channels": "none"}, ValueError, r"channels must be one of"),
    ((X, (2, 2)), {"axes": (0, 0)}, ValueError, r"axes must be distinct"),
    ((X, (2, 2)), {"axes": 7}, ValueError, r"axes 7 is out of range"),
    ((X, (2, 2)), {"axes": 3}, ValueError, r"size must have one entry per sliding axis \(1\)"),
    ((X, 2), {"axes": ()}, ValueError, r"axes must name at least one axis"),
    ((X, (2, 2)), {"ceil_mode": 1}, TypeError, r"ceil_mode must be True or False"),
    ((X > 0, (2, 2)), {}, TypeError, r"x must be numeric"),
    ((None, (2, 2)), {}, TypeError, r"x must be an array, a number or a nested list"),
]


@maximum
@pytest.mark.parametrize(("args", "keywords", "kind", "text"), BAD)
def test_bad_input_of_max_pool(args, keywords, kind, text):
    with pytest.raises(kind, match=text):
        nn.max_pool(*args, **keywords)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: nn.max_pool(X + 0j, (2, 2)), TypeError, "max_pool: x must be real"),
        (lambda: nn.min_pool(X + 0j, (2, 2)), TypeError, "min_pool: x must be real"),
        (lambda: nn.min_pool(X, 2), TypeError, "min_pool: size must be a tuple"),
        (lambda: nn.avg_pool(X, 2), TypeError, "avg_pool: size must be a tuple"),
        (
            lambda: nn.avg_pool(X, (2, 2), divisor_override=0),
            ValueError,
            "divisor_override must not be 0",
        ),
        (
            lambda: nn.avg_pool(X, (2, 2), divisor_override="3"),
            TypeError,
            "divisor_override must be a number",
        ),
        (lambda: nn.lp_pool(X, (2, 2), 0.5), ValueError, "lp_pool: p must be at least 1"),
        (lambda: nn.lp_pool(X, (2, 2), "two"), TypeError, "p must be a number"),
        (lambda: nn.lp_pool(X, (2, 2), float("nan")), ValueError, "p must be at least 1"),
        (
            lambda: nn.lp_pool(X, (2, 2), count_include_pad=None),
            TypeError,
            "count_include_pad must be True or False",
        ),
        (
            lambda: nn.avg_pool(X, (2, 2), count_include_pad=1),
            TypeError,
            "avg_pool: count_include_pad must be True or False",
        ),
        (
            lambda: nn.global_max_pool(X[0, 0]),
            ValueError,
            "global_max_pool: x must have at least 3",
        ),
        (lambda: nn.global_max_pool(X + 0j), TypeError, "x must be real"),
        (lambda: nn.global_max_pool(X[..., :0]), ValueError, "axis 3 of x has no points to pool"),
        (lambda: nn.global_avg_pool(X, keepdims=0), TypeError, "keepdims must be True or False"),
        (lambda: nn.global_avg_pool(X, axes=()), ValueError, "axes must name at least one axis"),
        (lambda: nn.global_lp_pool(X, 0), ValueError, "global_lp_pool: p must be at least 1"),
        (
            lambda: nn.adaptive_max_pool(X, 2),
            TypeError,
            "adaptive_max_pool: output_size must be a tuple .* got the int 2",
        ),
        (lambda: nn.adaptive_max_pool(X, (0, 1)), ValueError, "output_size must be at least 1"),
        (lambda: nn.adaptive_max_pool(X + 0j, (1, 1)), TypeError, "x must be real"),
        (
            lambda: nn.adaptive_max_pool(X, (1, 1), return_indices=2),
            TypeError,
            "return_indices must be True or False",
        ),
        (
            lambda: nn.adaptive_avg_pool(X, (2,), axes=(0, 1)),
            ValueError,
            r"adaptive_avg_pool: output_size must have one entry per sliding axis \(2\)",
        ),
        (
            lambda: nn.adaptive_avg_pool(X[..., :0], (2, 2)),
            ValueError,
            "axis 3 of x has no points to pool",
        ),
        (
            lambda: nn.max_unpool(X, PLACES[..., :4], (2, 2)),
            ValueError,
            "indices must have the shape",
        ),
        (lambda: nn.max_unpool(X, X, (2, 2)), TypeError, "max_unpool: indices must be integers"),
        (lambda: nn.max_unpool(X, PLACES, 2), TypeError, "size must be a tuple"),
        (
            lambda: nn.max_unpool(X, PLACES + 256, (2, 2)),
            ValueError,
            "indices hold 256, but the output has 256 points",
        ),
        (lambda: nn.max_unpool(X, PLACES - 2, (2, 2)), ValueError, "indices hold -2"),
        (lambda: nn.max_unpool(X, None, (2, 2)), TypeError, "indices must be an array"),
        (
            lambda: nn.max_unpool(X, PLACES, (2, 2), padding="same"),
            TypeError,
            "for named paddings give output_size",
        ),
        (
            lambda: nn.max_unpool(X, PLACES, (2, 2), padding=9),
            ValueError,
            r"leaves no points: sliding lengths \(-2, -2\)",
        ),
        (
            lambda: nn.max_unpool(X, PLACES, (2, 2), output_size=(1, 3, 16, 16)),
            ValueError,
            "must have batch and channels of x",
        ),
        (
            lambda: nn.max_unpool(X, PLACES, (2, 2), output_size=16),
            TypeError,
            "output_size must be a tuple",
        ),
    ],
)
def test_bad_input_of_the_other_pools(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
