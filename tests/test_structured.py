"""Structured matrices against SciPy, loops, the convolutions they stand for, on every row."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.signal

import swath
from oracles_linalg import layer_matrix
from swath.testing import assert_close, check_adjoint, check_vjp

linalg = swath.linalg


def gaussian(rng, shape, kind="real"):
    # Values that float32 holds exactly, so that every row sees the same data.
    x, y = (rng.standard_normal(shape).astype("float32").astype(float) for _ in range(2))
    return x + 1j * y if kind == "complex" else x


@pytest.mark.op("linalg.toeplitz", "linalg.hankel", "linalg.circulant")
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_toeplitz_hankel_circulant_equal_scipy(xp, rng, kind):
    for m, n in [(1, 1), (4, 3), (1, 5), (5, 1)]:
        c, r = gaussian(rng, m, kind), gaussian(rng, n, kind)
        for ours, theirs in [
            (linalg.toeplitz, scipy.linalg.toeplitz),
            (linalg.hankel, scipy.linalg.hankel),
        ]:
            got = xp.call(ours, xp.asarray(c), xp.asarray(r))
            assert_close(got, theirs(c, r), rtol=0, dtype=str(xp.asarray(c).dtype).split(".")[-1])
            assert_close(xp.call(ours, xp.asarray(c)), theirs(c), rtol=0)
        assert_close(xp.call(linalg.circulant, xp.asarray(c)), scipy.linalg.circulant(c), rtol=0)


@pytest.mark.op("linalg.toeplitz", "linalg.hankel", "linalg.circulant")
def test_batch_axes_broadcast_and_dtypes_stay(xp, rng):
    c, r = rng.integers(-9, 9, (2, 1, 3)).astype("int32"), rng.integers(-9, 9, (4, 2))
    for ours, theirs in [
        (linalg.toeplitz, scipy.linalg.toeplitz),
        (linalg.hankel, scipy.linalg.hankel),
    ]:
        got = xp.call(ours, xp.asarray(c), xp.asarray(r.astype("int32")))
        want = np.array([[theirs(c[i, 0], r[j]) for j in range(4)] for i in range(2)])
        assert_close(got, want, dtype="int32")
    got = xp.call(linalg.circulant, xp.asarray(c.astype("float32")))
    want = np.array([[scipy.linalg.circulant(c[i, 0])] for i in range(2)])
    assert_close(got, want.astype("float32"), rtol=0, dtype="float32")


@pytest.mark.op("linalg.convolution_matrix", "linalg.correlation_matrix")
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_product_equals_convolution_and_correlation(xp, rng, mode):
    for taps, n in [(1, 1), (3, 6), (4, 7), (6, 3), (7, 2), (4, 4), (1, 3), (3, 1)]:
        a, x = gaussian(rng, taps, "complex"), gaussian(rng, n, "complex")
        got = xp.call(linalg.convolution_matrix, xp.asarray(a), n, mode)
        assert_close(got, scipy.linalg.convolution_matrix(a, n, mode), rtol=0)
        product = xp.numpy(got) @ x
        assert_close(product, np.convolve(a, x, mode), rtol=64 * xp.eps)
        got = xp.call(linalg.correlation_matrix, xp.asarray(a), n, mode)
        product = xp.numpy(got) @ x
        assert_close(product, scipy.signal.correlate(x, a, mode, "direct"), rtol=64 * xp.eps)
        ours = swath.signal.correlate(xp.asarray(x), xp.asarray(a), mode, "direct")
        assert_close(ours, product, rtol=64 * xp.eps)


@pytest.mark.op("linalg.correlation_matrix")
def test_kernel_stands_in_its_own_order_and_kernels_stack(xp, rng):
    a = rng.standard_normal((2, 3))
    got = xp.numpy(xp.call(linalg.correlation_matrix, xp.asarray(a), 5))
    for kernel, matrix in zip(a, got, strict=True):
        for i in range(3):
            assert_close(matrix[i, i : i + 3], kernel.astype(xp.float), rtol=0)
            assert np.count_nonzero(matrix[i]) == 3


LAYERS = [
    # weight, space, stride, padding, dilation, groups
    ((2, 3, 3), (7,), 1, 0, 1, 1),
    ((4, 1, 2), (6,), 2, (1,), 2, 2),
    ((2, 2, 2, 3), (4, 5), (2, 1), ((0, 1), (2, 0)), (1, 2), 1),
    ((3, 1, 3, 3), (4, 3), 1, "same", 1, 3),
    ((1, 1, 2, 1, 2), (2, 3, 4), 1, "full", 1, 1),
    ((2, 1, 1, 2, 2, 1), (2, 2, 3, 2), (1, 1, 2, 1), "causal", 1, 2),
]


def pairs(padding, weight, space, stride, dilation):
    rank = len(space)
    sizes = weight[2:]
    full = tuple(dilation[a] * (sizes[a] - 1) for a in range(rank))
    if padding == "full":
        return [(p, p) for p in full]
    if padding == "causal":
        return [(p, 0) for p in full]
    if padding == "same":
        return [(p // 2, p - p // 2) for p in full]
    if isinstance(padding, int):
        return [(padding, padding)] * rank
    return [(p, p) if isinstance(p, int) else p for p in padding]


@pytest.mark.op("linalg.conv_matrix")
@pytest.mark.parametrize("weight,space,stride,padding,dilation,groups", LAYERS)
def test_layer_matrix_equals_the_loop(xp, rng, weight, space, stride, padding, dilation, groups):
    w = rng.standard_normal(weight)
    got = xp.call(
        linalg.conv_matrix,
        xp.asarray(w),
        space if len(space) > 1 else space[0],
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    rank = len(space)
    s = (stride,) * rank if isinstance(stride, int) else stride
    d = (dilation,) * rank if isinstance(dilation, int) else dilation
    want = layer_matrix(w, space, s, pairs(padding, weight, space, s, d), d, groups)
    assert_close(got, want.astype(xp.float), rtol=0)


@pytest.mark.op("linalg.conv_matrix")
@pytest.mark.needs("torch")
@pytest.mark.parametrize("weight,space,stride,padding,dilation,groups", LAYERS[:3])
def test_layer_matrix_times_input_equals_pytorch(
    xp, rng, weight, space, stride, padding, dilation, groups
):
    import torch

    rank = len(space)
    s = (stride,) * rank if isinstance(stride, int) else stride
    d = (dilation,) * rank if isinstance(dilation, int) else dilation
    margins = pairs(padding, weight, space, s, d)
    w = rng.standard_normal(weight)
    x = rng.standard_normal((weight[1] * groups, *space))
    padded = torch.from_numpy(np.pad(x, [(0, 0), *margins]))
    layer = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d}[rank]
    want = layer(padded[None], torch.from_numpy(w), stride=s, dilation=d, groups=groups)
    matrix = linalg.conv_matrix(
        xp.asarray(w), space, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    assert_close(xp.numpy(matrix) @ x.ravel(), want.numpy().ravel(), rtol=64 * xp.eps)


@pytest.mark.op("linalg.conv_matrix", "linalg.toeplitz", "linalg.convolution_matrix")
def test_a_nan_in_the_kernel_stays_on_its_own_diagonals(xp):
    w = xp.asarray(np.array([[[1.0, np.nan, 2.0]]]))
    got = xp.numpy(xp.call(linalg.conv_matrix, w, 5))
    assert np.count_nonzero(np.isnan(got)) == 3
    assert np.isnan(np.diagonal(got, 1)).all()
    assert np.count_nonzero(got == 0) == 3 * 5 - 9
    got = xp.numpy(xp.call(linalg.convolution_matrix, xp.asarray([1.0, np.nan]), 3))
    assert np.count_nonzero(np.isnan(got)) == 3
    assert np.count_nonzero(got == 0) == 4 * 3 - 6


@pytest.mark.op("linalg.toeplitz", "linalg.hankel")
def test_result_is_writable_memory_of_its_own():
    for make in (linalg.toeplitz, linalg.hankel, linalg.circulant):
        for n in (1, 3):
            matrix = make(np.arange(1.0, n + 1))
            matrix[0, 0] = 99.0
            assert np.count_nonzero(matrix == 99.0) == 1


@pytest.mark.op(
    "linalg.toeplitz",
    "linalg.hankel",
    "linalg.circulant",
    "linalg.convolution_matrix",
    "linalg.correlation_matrix",
    "linalg.conv_matrix",
)
def test_derivatives(xp, rng):
    c, r = xp.asarray(gaussian(rng, 3, "complex")), xp.asarray(gaussian(rng, 2, "complex"))
    check_vjp(linalg.toeplitz, c, r)
    check_vjp(linalg.toeplitz, c)
    check_vjp(linalg.hankel, c, r)
    check_adjoint(linalg.circulant, c)
    check_adjoint(linalg.convolution_matrix, c, 4, "same")
    check_vjp(linalg.correlation_matrix, c, 4)
    w = xp.asarray(rng.standard_normal((2, 1, 2, 2)))
    check_adjoint(linalg.conv_matrix, w, (3, 2), padding="same", groups=2)


@pytest.mark.op("linalg.toeplitz", "linalg.hankel", "linalg.circulant")
def test_empty_vectors_give_empty_matrices(xp):
    none, two = xp.asarray(np.zeros((2, 0))), xp.asarray(np.zeros(3))
    assert tuple(linalg.toeplitz(none).shape) == (2, 0, 0)
    assert tuple(linalg.toeplitz(two, none).shape) == (2, 3, 0)
    assert tuple(linalg.hankel(none, two).shape) == (2, 0, 3)
    assert tuple(linalg.circulant(none).shape) == (2, 0, 0)


W = np.ones((2, 3, 3, 3))
BAD = [
    (linalg.hankel, (np.array(1.0),), {}, ValueError, "hankel: c must have at least one axis"),
    (
        linalg.hankel,
        (np.ones((2, 3)), np.ones((3, 3))),
        {},
        ValueError,
        r"leading axes must broadcast, got \(2,\) of c, \(3,\) of r",
    ),
    (linalg.circulant, ("abc",), {}, TypeError, "circulant: c must be an array, a number or a"),
    (linalg.toeplitz, ([[1], [2, 3]],), {}, ValueError, "must be rectangular"),
    (
        linalg.convolution_matrix,
        (np.ones(0), 3),
        {},
        ValueError,
        "a must have at least one entry, got ndarray of shape",
    ),
    (linalg.convolution_matrix, (np.ones(2), 0), {}, ValueError, "n must be at least 1, got 0"),
    (linalg.convolution_matrix, (np.ones(2), 2.0), {}, TypeError, "n must be an int, got float"),
    (
        linalg.correlation_matrix,
        (np.ones(2), 3, "sme"),
        {},
        ValueError,
        "mode must be one of 'full', 'same', 'valid'; got 'sme'",
    ),
    (linalg.conv_matrix, (np.ones((2, 3)), 5), {}, ValueError, "1 to 4 sliding axes, got ndarray"),
    (linalg.conv_matrix, (W, (5, 5, 5)), {}, ValueError, "spatial_shape must have one entry per"),
    (linalg.conv_matrix, (W, (5, 0)), {}, ValueError, "spatial_shape must be at least 1, got 0"),
    (linalg.conv_matrix, (W, (2, 5)), {}, ValueError, "kernel spans 3 points on sliding axis 0"),
    (linalg.conv_matrix, (W, (5, 5)), {"groups": 3}, ValueError, "no multiple of groups=3"),
    (linalg.conv_matrix, (W, (5, 5)), {"stride": -1}, ValueError, "stride must be at least 1"),
    (linalg.conv_matrix, (W, (5, 5)), {"padding": "sam"}, ValueError, "padding must be an int"),
    (linalg.conv_matrix, (W[:, :0], (5, 5)), {}, ValueError, "weight must not be empty"),
    (linalg.conv_matrix, (W, (5, 5)), {"format": "coo"}, ValueError, "format must be one of"),
]


@pytest.mark.parametrize("fn,args,kwargs,error,text", BAD)
def test_bad_input_says_what_is_wrong(fn, args, kwargs, error, text):
    with pytest.raises(error, match=text):
        fn(*args, **kwargs)


@pytest.mark.needs("torch")
def test_mixed_libraries_are_refused():
    import torch

    with pytest.raises(TypeError, match="c is an array of numpy and r of torch"):
        linalg.toeplitz(np.ones(2), torch.ones(2))
