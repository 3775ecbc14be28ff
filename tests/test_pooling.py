"""Pooling layers against PyTorch, loops, and rules for ties, NaNs and padding, on every row."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

import oracles_nn
import swath
from swath import nn
from swath.testing import assert_close, check_adjoint, check_vjp

maximum = pytest.mark.op("nn.max_pool")
minimum = pytest.mark.op("nn.min_pool")
average = pytest.mark.op("nn.avg_pool")
p_norm = pytest.mark.op("nn.lp_pool")


def count(xp, many, few):
    """How many shapes to draw: JAX compiles each one."""
    return few if xp.backend == "jax" else many


def to_last(a):
    return np.moveaxis(a, 1, -1)


def draw(rng, rank, dilated=True):
    """Attributes of a pooling layer that PyTorch takes, with at least one window."""
    while True:
        size, stride, points = (
            tuple(int(v) for v in rng.integers(low, high, rank))
            for low, high in ((1, 5), (1, 5), (3, 10))
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
    for trial in range(count(xp, 40, 2)):
        points, size, keywords = draw(rng, rank)
        # Few distinct values: ties everywhere.
        x = rng.integers(-2, 3, (2, 2, *points)).astype(float)
        sign = 1 if trial % 2 == 0 else -1
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
        assert_close(pullback(xp.asarray(oriented(cotangent, last)))[0], sign * sign * grad)


@average
@pytest.mark.needs("torch")
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_avg_pool_equals_pytorch_with_gradient(xp, rng, rank):
    import torch
    import torch.nn.functional as F

    function = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
    for trial in range(count(xp, 40, 3)):
        points, size, keywords = draw(rng, rank, dilated=False)
        keywords["count_include_pad"] = bool(trial % 2)
        if rank > 1 and trial % 3 == 0:
            keywords["divisor_override"] = 5
        x = rng.standard_normal((2, 2, *points))
        leaf = torch.tensor(x, requires_grad=True)
        given = {k: v for k, v in keywords.items() if k != "dilation"}
        reference = function(leaf, size, **given)
        cotangent = rng.standard_normal(tuple(reference.shape))
        reference.backward(torch.tensor(cotangent))
        last = trial % 4 == 1
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
    x = rng.standard_normal((2, 7, 6))
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
    size, stride, out = (2, 2, 3, 2), (2, 1, 1, 2), (2, 2, 3, 2)
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
    x = rng.standard_normal((2, 3, 2, 2, 3, 2, 2, 2))
    geometry = (tuple(range(8)), (2, 1) * 4, (1,) * 8, [(0, 0)] * 8, (1,) * 8)
    out = (1, 3, 1, 2, 2, 2, 1, 2)
    want = oracles_nn.pool(x, *geometry, out, lambda v, _: v.max())
    got = xp.call(nn.max_pool, xp.asarray(x), (2, 1) * 4, stride=1, axes=tuple(range(8)))
    assert_close(got, want, rtol=0.0)


@maximum
@average
def test_axes_pool_any_axes_in_any_order(xp, rng):
    x = rng.standard_normal((6, 2, 8))
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
    x = xp.asarray(np.array([[[4.0, 2.0]]]))
    got = xp.call(nn.avg_pool, x, (2,), count_include_pad=False, **keywords)
    assert_close(got, [[[0.0, 3.0, 0.0]]])


@maximum
def test_windows_of_minus_infinity_keep_their_first_place(xp):
    x = xp.asarray(np.full((1, 1, 4), -np.inf))
    y, indices = xp.call(nn.max_pool, x, (3,), stride=2, padding=1, return_indices=True)
    assert_close(y, np.full((1, 1, 2), -np.inf))
    assert_close(indices, [[[0, 1]]])


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
        assert_close(y, want.astype(dtype), dtype=dtype)
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
    x = (1000 + rng.standard_normal((1, 1, 4096))).astype(np.float16)
    array = xp.asarray(x, "float16")
    exact = x.astype(np.float64)
    got = xp.call(nn.avg_pool, array, (4096,))
    assert_close(got, exact.mean(-1, keepdims=True), bound=1000 * 2.0**-11 * 1.01, dtype="float16")
    got = xp.call(nn.lp_pool, array, (16,))
    want = np.sqrt((exact.reshape(1, 1, -1, 16) ** 2).sum(-1))
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


@p_norm
def test_the_gradient_of_a_norm_is_zero_at_zero(xp):
    x = xp.asarray(np.array([[[0.0, 0.0, 3.0, -4.0]]]))
    for p, slopes in ((1, [1.0, -1.0]), (2, [0.6, -0.8]), (math.inf, [0.0, -1.0])):
        _, pullback = swath.vjp(nn.lp_pool, x, (2,), p)
        grad = pullback(xp.asarray([[[1.0, 1.0]]]))[0]
        assert_close(grad, [[[0.0, 0.0, *slopes]]])


@p_norm
@pytest.mark.on("jax", "torch")
def test_the_librarys_own_autodiff_gives_no_nan_at_zero(xp):
    x = np.array([[[0.0, 0.0, 3.0, -4.0]]])
    if xp.backend == "jax":
        import jax

        grad = jax.grad(lambda a: nn.lp_pool(a, (2,)).sum())(xp.asarray(x))
    else:
        leaf = xp.asarray(x).requires_grad_()
        nn.lp_pool(leaf, (2,)).sum().backward()
        grad = leaf.grad
    assert_close(grad, [[[0.0, 0.0, 0.6, -0.8]]])


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


X = np.ones((1, 2, 8, 8))
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
    ],
)
def test_bad_input_of_the_other_pools(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
