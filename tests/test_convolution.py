"""nn.conv and nn.conv_transpose against PyTorch, JAX lax, loops and laws, on every row."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest

import oracles_nn
import swath
from rows import count, widest
from swath import nn
from swath.sliding.plan import METHODS
from swath.testing import assert_close, check_adjoint, check_vjp

conv_tests = pytest.mark.op("nn.conv")
transpose_tests = pytest.mark.op("nn.conv_transpose")


def to_last(a):
    """Signal (N, C, *S) with its channels last, in memory too."""
    return np.ascontiguousarray(np.moveaxis(a, 1, -1))


def kernel_last(w):
    """Kernel (O, C, *K) as (*K, C, O), in memory too."""
    return np.ascontiguousarray(np.moveaxis(w, (0, 1), (-1, -2)))


def draw(rng, rank, taps=3):
    """One layer: shapes and attributes, always with at least one output."""
    while True:
        groups = int(rng.choice([1, 1, 2, 3]))
        size, stride, dilation, padding, points = (
            tuple(int(v) for v in rng.integers(low, high, rank))
            for low, high in ((1, taps + 1), (1, 4), (1, 3), (0, 3), (3, 9))
        )
        fits = all(
            n + 2 * p >= d * (k - 1) + 1
            for n, p, d, k in zip(points, padding, dilation, size, strict=True)
        )
        if fits:
            break
    depth, rows = (int(v) for v in rng.integers(1, 4, 2))
    batch = int(rng.integers(1, 3))
    return {
        "x": rng.standard_normal((batch, groups * depth, *points)),
        "weight": rng.standard_normal((groups * rows, depth, *size)),
        "bias": rng.standard_normal(groups * rows),
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }


def arguments(xp, layer, last=False):
    """A drawn layer as arrays of the row and keywords."""
    x, w = layer["x"], layer["weight"]
    if last:
        x, w = to_last(x), kernel_last(w)
    keywords = {k: layer[k] for k in ("stride", "padding", "dilation", "groups")}
    keywords["channels"] = "last" if last else "first"
    return (xp.asarray(x), xp.asarray(w), xp.asarray(layer["bias"])), keywords


def torch_conv(layer):
    import torch
    import torch.nn.functional as F

    rank = layer["x"].ndim - 2
    function = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    x, w, b = (torch.tensor(layer[k], requires_grad=True) for k in ("x", "weight", "bias"))
    y = function(x, w, b, layer["stride"], layer["padding"], layer["dilation"], layer["groups"])
    return y, (x, w, b)


@conv_tests
@pytest.mark.needs("torch")
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("channels", ["first", "last"])
def test_conv_equals_pytorch_with_every_gradient(xp, rng, rank, channels):
    last = channels == "last"
    for _ in range(count(xp, 12, 1)):
        layer = draw(rng, rank, widest(xp, 3))
        reference, leaves = torch_conv(layer)
        args, keywords = arguments(xp, layer, last)
        cotangent = rng.standard_normal(tuple(reference.shape))
        reference.backward(reference.new_tensor(cotangent))
        want = reference.detach().numpy()
        grads = [t.grad.numpy() for t in leaves]
        if last:
            want, cotangent = to_last(want), to_last(cotangent)
            grads = [to_last(grads[0]), kernel_last(grads[1]), grads[2]]
        assert_close(xp.call(nn.conv, *args, **keywords), want, dtype=xp.float)
        assert nn.conv_output_shape(
            args[0].shape,
            args[1].shape,
            **keywords,
        ) == tuple(want.shape)
        value, pullback = swath.vjp(nn.conv, *args, **keywords)
        assert_close(value, want, dtype=xp.float)
        for got, grad in zip(pullback(xp.asarray(cotangent)), grads, strict=True):
            assert_close(got, grad, dtype=xp.float)


@conv_tests
@pytest.mark.on("torch")
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("channels", ["first", "last"])
def test_pytorch_computes_both_gradients_in_one_call(xp, rng, monkeypatch, rank, channels):
    import swath._backends.torch_ as adapter

    last, kernel, calls = channels == "last", adapter.layer_gradients, []
    monkeypatch.setattr(
        adapter, "layer_gradients", lambda *a: calls.append(kernel(*a)) or calls[-1]
    )
    for _ in range(6):
        layer = draw(rng, rank, 3)
        reference, leaves = torch_conv(layer)
        args, keywords = arguments(xp, layer, last)
        cotangent = rng.standard_normal(tuple(reference.shape))
        reference.backward(reference.new_tensor(cotangent))
        wants = [t.grad.numpy() for t in leaves]
        if last:
            cotangent, wants = to_last(cotangent), [to_last(wants[0]), kernel_last(wants[1])]
        _, pullback = swath.vjp(nn.conv, *args, method="native", **keywords)
        for got, want in zip(pullback(xp.asarray(cotangent))[:2], wants[:2], strict=True):
            assert_close(got, want, dtype=xp.float)
    # Lines channels last go each its own way.
    assert len(calls) == 6
    assert (rank, channels) == (1, "last") or None not in calls


@conv_tests
@pytest.mark.on("torch")
def test_a_layer_of_one_output_has_both_gradients(xp, rng):
    """PyTorch's kernel alone raises where the kernel of one output is stored channels last."""
    import torch

    x, w = rng.standard_normal((2, 3, 6, 5)), rng.standard_normal((1, 3, 3, 2))
    ct = rng.standard_normal((2, 1, 4, 4))
    leaves = [torch.tensor(v, requires_grad=True) for v in (x, w)]
    wants = torch.autograd.grad(torch.nn.functional.conv2d(*leaves), leaves, torch.tensor(ct))
    ours = [torch.tensor(v, requires_grad=True) for v in (to_last(x), kernel_last(w))]
    y = nn.conv(*ours, channels="last", method="native")
    got = torch.autograd.grad(y, ours, torch.tensor(to_last(ct)))
    assert_close(got[0], to_last(wants[0].numpy()))
    assert_close(got[1], kernel_last(wants[1].numpy()))


@conv_tests
@pytest.mark.on("jax")
@pytest.mark.parametrize("channels", ["first", "last"])
@pytest.mark.parametrize(
    ("lengths", "size", "stride", "dilation"),
    [((47,), 3, 1, 1), ((19, 23), 3, 1, 1), ((20, 23), 3, 2, 1), ((19, 22), 2, 2, 3),
     ((7, 11, 13), 2, 1, 1), ((7, 11, 13), 3, 2, 1)],
)  # fmt: skip
def test_padding_that_xla_is_asked_for_leaves_no_result(
    xp, rng, monkeypatch, channels, lengths, size, stride, dilation
):
    """Unpadded layers of many windows, all of them here, and the gradients of their kernels."""
    import jax

    from swath._backends import jax_

    monkeypatch.setattr(jax_, "_WRITTEN", 0)
    asked, plain = [], jax.lax.conv_general_dilated
    monkeypatch.setattr(
        jax.lax,
        "conv_general_dilated",
        lambda a, b, strides, pads, *rest, **more: (
            asked.append(pads) or plain(a, b, strides, pads, *rest, **more)
        ),
    )
    rank = len(lengths)
    x = rng.standard_normal((2, 5, *lengths))
    w = rng.standard_normal((3, 5, *[size] * rank))
    order = (0, *range(2, 2 + rank), 1)
    given = (x, w) if channels == "first" else (x.transpose(order), w.transpose(*order[1:], 0))
    steps = {"stride": stride, "dilation": dilation, "channels": channels, "method": "native"}
    y, pullback = swath.vjp(nn.conv, *map(xp.asarray, given), **steps)
    want, back = jax.vjp(
        lambda w: plain(
            xp.asarray(x), w, (stride,) * rank, "VALID", rhs_dilation=(dilation,) * rank
        ),
        xp.asarray(w),
    )
    g = rng.standard_normal(want.shape)
    got = pullback(xp.asarray(g if channels == "first" else g.transpose(order)))[1]
    wants = [np.asarray(v) for v in (want, back(xp.asarray(g))[0])]
    if channels == "last":
        wants = [wants[0].transpose(order), wants[1].transpose(*order[1:], 0)]
    assert any(any(map(any, pads)) for pads in asked)
    assert_close(y, wants[0], rtol=1e-13)
    assert_close(got, wants[1], rtol=1e-13)


@conv_tests
@pytest.mark.needs("jax")
@pytest.mark.parametrize("named", ["same", "same_lower"])
def test_same_padding_with_any_stride_equals_lax(xp, rng, named):
    from jax import enable_x64, lax

    for _ in range(count(xp, 6, 1)):
        layer = draw(rng, 2, widest(xp, 3))
        with enable_x64(True):
            want = np.asarray(
                lax.conv_general_dilated(
                    layer["x"],
                    layer["weight"],
                    layer["stride"],
                    "SAME" if named == "same" else "SAME_LOWER",
                    rhs_dilation=layer["dilation"],
                    feature_group_count=layer["groups"],
                )
            )
        (x, w, _), keywords = arguments(xp, layer)
        assert_close(xp.call(nn.conv, x, w, **{**keywords, "padding": named}), want)
        pads = nn.same_padding(
            x.shape[2:],
            w.shape[2:],
            stride=layer["stride"],
            dilation=layer["dilation"],
            lower=named == "same_lower",
        )
        assert_close(xp.call(nn.conv, x, w, **{**keywords, "padding": pads}), want)


@conv_tests
def test_four_axes_equal_loops(xp, rng):
    x, w = rng.standard_normal((1, 2, 4, 3, 5, 4)), rng.standard_normal((4, 1, 2, 2, 3, 1))
    stride, dilation, pads = (2, 1, 1, 3), (1, 2, 1, 1), ((0, 1), (1, 0), (2, 1), (0, 0))
    want = oracles_nn.conv(x, w, stride, pads, dilation, 2)
    got = xp.call(
        nn.conv,
        xp.asarray(x),
        xp.asarray(w),
        stride=stride,
        padding=pads,
        dilation=dilation,
        groups=2,
    )
    assert_close(got, want)


@conv_tests
@transpose_tests
def test_eight_axes_equal_loops(xp, rng):
    x, w = rng.standard_normal((1, 1, *[2, 3] * 4)), rng.standard_normal((2, 1, *[2, 1] * 4))
    want = oracles_nn.conv(x, w, [1] * 8, [(0, 0)] * 8, [1] * 8, 1)
    x, w = xp.asarray(x), xp.asarray(w)
    assert_close(xp.call(nn.conv, x, w), want)
    if not xp.traced:
        _, pullback = swath.vjp(nn.conv, x, w)
        y = xp.asarray(rng.standard_normal(want.shape))
        assert_close(nn.conv_transpose(y, w), xp.numpy(pullback(y)[0]))


@conv_tests
@pytest.mark.needs("torch")
@pytest.mark.parametrize(
    ("mode", "numpy_mode"),
    [
        ("reflect", "reflect"),
        ("replicate", "edge"),
        ("circular", "wrap"),
        ("symmetric", "symmetric"),
        (2.5, "constant"),
    ],
)
def test_padding_modes_equal_numpys_pad(xp, rng, mode, numpy_mode):
    w = rng.standard_normal((3, 2, 2, 2))
    # Also wider than the axis: reflections of reflections. One point is its own.
    for points, pads in (
        ((4, 5), ((1, 2), (3, 0))),
        ((4, 5), ((9, 11), (4, 7))),
        ((1, 5), ((2, 3), (0, 1))),
    ):
        x = rng.standard_normal((2, 2, *points))
        extra = {"constant_values": mode} if numpy_mode == "constant" else {}
        padded = np.pad(x, [(0, 0), (0, 0), *pads], numpy_mode, **extra)
        want = oracles_nn.conv(padded, w, (1, 1), [(0, 0)] * 2, (1, 1), 1)
        args = (xp.asarray(x), xp.asarray(w))
        keywords = {"padding": pads, "padding_mode": mode}
        assert_close(xp.call(nn.conv, *args, **keywords), want)
        last = xp.call(
            nn.conv,
            xp.asarray(to_last(x)),
            xp.asarray(kernel_last(w)),
            channels="last",
            **keywords,
        )
        assert_close(last, to_last(want))
        check_adjoint(nn.conv, *args, **keywords)


@conv_tests
def test_named_paddings(xp, rng):
    x, w = rng.standard_normal((1, 1, 7)), rng.standard_normal((1, 1, 3))
    for named, pair in (("valid", (0, 0)), ("full", (4, 4)), ("causal", (4, 0))):
        want = oracles_nn.conv(x, w, (2,), [pair], (2,), 1)
        got = xp.call(nn.conv, xp.asarray(x), xp.asarray(w), stride=2, dilation=2, padding=named)
        assert_close(got, want)


@conv_tests
@transpose_tests
def test_an_input_without_batch_comes_back_without(xp, rng):
    x, w, b = rng.standard_normal((2, 6)), rng.standard_normal((4, 2, 3)), rng.standard_normal(4)
    args = [xp.asarray(a) for a in (x, w, b)]
    want = oracles_nn.conv(x[None], w, (1,), [(1, 1)], (1,), 1)[0] + b[:, None]
    assert_close(xp.call(nn.conv, *args, padding=1), want)
    flipped = [xp.asarray(a) for a in (x.T, kernel_last(w), b)]
    assert_close(xp.call(nn.conv, *flipped, padding=1, channels="last"), want.T)
    y = rng.standard_normal((4, 5))
    batch = nn.conv_transpose(xp.asarray(y[None]), args[1])
    assert_close(xp.call(nn.conv_transpose, xp.asarray(y), args[1]), xp.numpy(batch)[0])


@conv_tests
@transpose_tests
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_integers_are_exact_modulo_two_to_the_bits(xp, rng, dtype):
    info = np.iinfo(dtype)
    if dtype == "int64" and not xp.x64 and xp.backend == "jax":
        dtype, info = "int32", np.iinfo("int32")
    x = rng.integers(info.min, info.max, (1, 2, 6), dtype=dtype)
    w = rng.integers(info.min, info.max, (2, 2, 3), dtype=dtype)
    b = rng.integers(info.min, info.max, 2, dtype=dtype)
    bits = 8 * np.dtype(dtype).itemsize
    exact = oracles_nn.conv(x.astype(object), w.astype(object), (1,), [(0, 0)], (1,), 1)
    exact = (exact + b.astype(object)[:, None] + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    args = [xp.asarray(a, dtype) for a in (x, w, b)]
    assert_close(xp.call(nn.conv, *args), exact.astype(dtype), dtype=dtype)
    back = np.zeros((1, 2, 8), object)
    for o, i, j in np.ndindex(2, 6, 3):
        back[0, :, i + j] += x[0, o, i].item() * w[o, :, j].astype(object)
    back = (back + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    got = xp.call(nn.conv_transpose, args[0], args[1])
    assert_close(got, back.astype(dtype), dtype=dtype)


@conv_tests
@pytest.mark.on("numpy", "torch", "jax")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_accumulates_in_float32_and_rounds_once(xp, rng, dtype):
    if dtype == "bfloat16" and xp.backend == "numpy":
        dtype = "float16"
    kind = getattr(xp.namespace, dtype)
    cast = xp.namespace.astype if hasattr(xp.namespace, "astype") else np.ndarray.astype
    args = [
        cast(xp.asarray(rng.standard_normal(s), "float32"), kind)
        for s in ((1, 64, 40), (2, 64, 9), (2,))
    ]
    x, w, b = (xp.numpy(a).astype(np.float64) for a in args)
    want = oracles_nn.conv(x, w, (1,), [(0, 0)], (1,), 1) + b[:, None]
    size = oracles_nn.conv(abs(x), abs(w), (1,), [(0, 0)], (1,), 1)
    half = 2.0**-11 if dtype == "float16" else 2.0**-8
    assert_close(
        xp.call(nn.conv, *args), want, bound=half * abs(want) * 1.01 + 600 * 2.0**-24 * size
    )


@conv_tests
@transpose_tests
def test_nothing_is_conjugated(xp, rng):
    def make(*shape):
        return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)

    x, w, b = make(1, 2, 5), make(2, 2, 3), make(2)
    args = [xp.asarray(a) for a in (x, w, b)]
    want = oracles_nn.conv(x, w, (1,), [(1, 1)], (1,), 1) + b[:, None]
    assert_close(xp.call(nn.conv, *args, padding=1), want, dtype=xp.complex)
    check_adjoint(nn.conv, *args, padding=1)
    check_adjoint(nn.conv_transpose, *args, stride=2)


@conv_tests
@transpose_tests
def test_derivatives(xp, rng):
    x, w, b = (xp.asarray(rng.standard_normal(s)) for s in ((2, 4, 7, 5), (2, 2, 3, 2), (2,)))
    keywords = {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "groups": 2}
    check_vjp(nn.conv, x, w, bias=b, **keywords)
    check_vjp(nn.conv, x, w, b, padding_mode="reflect", **keywords)
    w = xp.asarray(rng.standard_normal((4, 1, 3, 2)))
    check_vjp(nn.conv_transpose, x, w, b, output_padding=(1, 0), **keywords)


@conv_tests
@transpose_tests
@pytest.mark.on("torch")
@pytest.mark.parametrize("sizes", [(3001,), (60, 50), (9, 12, 14)])
def test_single_channels_come_back_with_the_steps_of_channels_first(xp, rng, sizes):
    """Whatever steps the kernels of PyTorch are told, of signals that lie either way."""
    x, w = rng.standard_normal((2, 1, *sizes)), rng.standard_normal((1, 1, *[3] * len(sizes)))
    x, w = (xp.asarray(a.astype(np.float32)) for a in (x, w))
    for op in (nn.conv, nn.conv_transpose):
        y, pullback = swath.vjp(op, x, w, method="native", padding=1)
        for a in (y, *pullback(y)):
            assert a.stride() == a.new_empty(a.shape).stride()


@conv_tests
@pytest.mark.on("numpy", "torch")
def test_taps_may_lie_any_distance_apart(xp, rng):
    """Farther than any frame of a transform is long, which the planner looks at all the same."""
    x, w = rng.standard_normal((1, 1, 9)), rng.standard_normal((1, 1, 3))
    for dilation in (10**9, 10**12):
        got = nn.conv(xp.asarray(x), xp.asarray(w), padding="same", dilation=dilation)
        assert_close(got, x * w[0, 0, 1])


@conv_tests
def test_methods_agree(xp, rng):
    x, w = rng.standard_normal((1, 2, 9, 20)), rng.standard_normal((2, 2, 3, 4))
    want = oracles_nn.conv(x, w, (1, 1), [(1, 1)] * 2, (1, 1), 1)
    for method in ("direct", "toeplitz", "fft"):
        got = xp.call(nn.conv, xp.asarray(x), xp.asarray(w), padding=1, method=method)
        assert_close(got, want)


@conv_tests
@transpose_tests
def test_empty_batches_and_axes_keep_their_rank(xp):
    x, w = xp.asarray(np.zeros((0, 2, 5))), xp.asarray(np.ones((3, 2, 2)))
    assert nn.conv(x, w).shape == (0, 3, 4)
    assert nn.conv(x, w, xp.asarray(np.ones(3))).shape == (0, 3, 4)
    assert nn.conv(xp.asarray(np.zeros((1, 2, 0))), w, padding=1).shape == (1, 3, 1)
    assert nn.conv_transpose(xp.asarray(np.zeros((0, 3, 4))), w).shape == (0, 2, 5)
    value, pullback = swath.vjp(nn.conv, x, w)
    assert pullback(value)[1].shape == (3, 2, 2)
    grouped = xp.asarray(np.ones((4, 1, 2)))
    value, pullback = swath.vjp(nn.conv, x, grouped, groups=2)
    assert_close(pullback(value)[1], np.zeros((4, 1, 2)))


@conv_tests
def test_a_nan_stays_inside_its_windows(xp, rng):
    x = rng.standard_normal((1, 2, 9))
    x[0, 0, 4] = np.nan
    w = rng.standard_normal((2, 2, 3))
    got = xp.call(nn.conv, xp.asarray(x), xp.asarray(w), method="direct")
    assert_close(got, oracles_nn.conv(x, w, (1,), [(0, 0)], (1,), 1))


def tap_by_tap(x, w, y, stride, pads, dilation):
    """Channels first, in float64: the layer of x and w, and its gradients for the cotangent y."""
    x, w = np.pad(x.astype(float), [(0, 0), (0, 0), *pads]), w.astype(float)
    out, gx, gw = np.zeros(y.shape), np.zeros(x.shape), np.zeros(w.shape)
    for j in np.ndindex(*w.shape[2:]):
        reach = zip(j, y.shape[2:], stride, dilation, strict=True)
        at = (..., *(slice(d * k, d * k + s * (n - 1) + 1, s) for k, n, s, d in reach))
        out += np.einsum("bc...,oc->bo...", x[at], w[(..., *j)])
        gx[at] += np.einsum("bo...,oc->bc...", y, w[(..., *j)])
        gw[(..., *j)] = np.einsum("bop,bcp->oc", *(a.reshape(*a.shape[:2], -1) for a in (y, x[at])))
    inside = zip(pads, x.shape[2:], strict=True)
    return out, gx[(..., *(slice(low, n - high) for (low, high), n in inside))], gw


# x, weight, padding, stride, dilation; kernels are large enough for adapters to lay them out anew.
MANY_CHANNELS = [
    ((2, 40, 23), (20, 40, 3), [(1, 1)], (1,), (1,)),
    ((1, 3, 50), (5, 3, 7), [(3, 2)], (2,), (2,)),
    ((2, 24, 60), (48, 24, 33), [(16, 16)], (1,), (1,)),
    ((2, 96, 11), (128, 96, 3), [(0, 0)], (1,), (2,)),
    ((2, 96, 11), (128, 96, 3), [(4, 4)], (1,), (1,)),
    ((2, 64, 7, 6), (80, 64, 3, 3), [(1, 1), (1, 1)], (1, 1), (1, 1)),
    ((2, 64, 9, 10), (72, 64, 3, 3), [(2, 2), (0, 0)], (1, 1), (2, 3)),
    ((2, 64, 7, 6), (64, 64, 2, 4), [(1, 1), (3, 3)], (1, 1), (1, 1)),
    ((2, 64, 7, 6), (64, 64, 3, 3), [(1, 0), (2, 1)], (1, 1), (1, 1)),
    ((2, 64, 9, 8), (64, 64, 3, 3), [(1, 1), (1, 1)], (2, 1), (1, 1)),
    ((2, 256, 5, 4), (136, 256, 1, 1), [(0, 0), (0, 0)], (1, 1), (1, 1)),
    ((1, 24, 5, 4, 6), (64, 24, 3, 3, 3), [(1, 1), (1, 1), (0, 0)], (1, 1, 1), (1, 1, 1)),
]


@conv_tests
@pytest.mark.on("numpy", "torch")
@pytest.mark.parametrize("channels", ["first", "last"])
@pytest.mark.parametrize(("shape", "weight", "pads", "stride", "dilation"), MANY_CHANNELS)
def test_many_channels_within_the_bound(xp, rng, channels, shape, weight, pads, stride, dilation):
    settings = {"stride": stride, "padding": tuple(pads), "dilation": dilation}
    out = nn.conv_output_shape(shape, weight, **settings)
    x, w, y = (rng.standard_normal(s).astype(np.float32) for s in (shape, weight, out))
    want = tap_by_tap(x, w, y, stride, pads, dilation)
    sizes = tap_by_tap(abs(x), abs(w), abs(y), stride, pads, dilation)
    taps, spots = np.prod(weight[2:]), y[:, 0].size
    terms = taps * weight[1], taps * weight[0], spots
    bounds = [2 * k * np.finfo(np.float32).eps * s for k, s in zip(terms, sizes, strict=True)]
    last = channels == "last"
    if last:
        turns = to_last, to_last, kernel_last
        x, w, y = to_last(x), kernel_last(w), to_last(y)
        want, bounds = ([f(a) for f, a in zip(turns, v, strict=True)] for v in (want, bounds))
    x, w, y = map(xp.asarray, (x, w, y))
    value, pullback = swath.vjp(nn.conv, x, w, channels=channels, **settings)
    for got, exact, bound in zip((value, *pullback(y)), want, bounds, strict=True):
        assert_close(got, exact, bound=bound)


@transpose_tests
@pytest.mark.needs("torch")
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("channels", ["first", "last"])
def test_conv_transpose_equals_pytorch_with_every_gradient(xp, rng, rank, channels):
    import torch
    import torch.nn.functional as F

    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
    last = channels == "last"
    done = 0
    while done < count(xp, 12, 1):
        layer = draw(rng, rank, widest(xp, 3))
        stride, padding, dilation = layer["stride"], layer["padding"], layer["dilation"]
        extra = tuple(
            int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True)
        )
        groups, depth = layer["groups"], layer["x"].shape[1]
        size = layer["weight"].shape[2:]
        rows = int(rng.integers(1, 3))
        out = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1 + e
            for n, s, p, d, k, e in zip(
                layer["x"].shape[2:], stride, padding, dilation, size, extra, strict=True
            )
        ]
        if min(out) < 1:
            continue
        done += 1
        w, b = rng.standard_normal((depth, rows, *size)), rng.standard_normal(rows * groups)
        leaves = [torch.tensor(a, requires_grad=True) for a in (layer["x"], w, b)]
        reference = function(*leaves, stride, padding, extra, groups, dilation)
        cotangent = rng.standard_normal(tuple(reference.shape))
        reference.backward(torch.tensor(cotangent))
        arrays = [layer["x"], w, b]
        grads = [t.grad.numpy() for t in leaves]
        want = reference.detach().numpy()
        if last:
            arrays = [to_last(arrays[0]), kernel_last(w), b]
            grads = [to_last(grads[0]), kernel_last(grads[1]), grads[2]]
            want, cotangent = to_last(want), to_last(cotangent)
        args = [xp.asarray(a) for a in arrays]
        keywords = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "channels": channels,
        }
        got = xp.call(nn.conv_transpose, *args, output_padding=extra, **keywords)
        assert_close(got, want, dtype=xp.float)
        value, pullback = swath.vjp(nn.conv_transpose, *args, output_shape=out, **keywords)
        assert_close(value, want)
        for got, grad in zip(pullback(xp.asarray(cotangent)), grads, strict=True):
            assert_close(got, grad)


@transpose_tests
def test_conv_transpose_is_the_transpose_of_conv(xp, rng):
    for n, k, s, d, padding in (
        (7, 3, 2, 1, "same"),
        (8, 3, 2, 1, "same_lower"),
        (8, 2, 3, 1, "same"),
        (9, 3, 1, 2, "full"),
        (9, 3, 2, 1, "causal"),
    ):
        x, w = xp.asarray(rng.standard_normal((1, 2, n))), rng.standard_normal((3, 2, k))
        keywords = {"stride": s, "dilation": d, "padding": padding}
        value, pullback = swath.vjp(nn.conv, x, xp.asarray(w), **keywords)
        y = xp.asarray(rng.standard_normal(tuple(value.shape)))
        want = xp.numpy(pullback(y)[0])
        got = xp.call(nn.conv_transpose, y, xp.asarray(w), output_shape=(n,), **keywords)
        assert_close(got, want)


@transpose_tests
@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_points_that_no_tap_reaches_are_zero_by_every_method(xp, method):
    """Padding cuts off all that the kernel's copies reach, and output padding is left."""
    x, w = xp.asarray(np.ones((2, 2, 1, 8))), xp.asarray(np.ones((2, 1, 1, 2)))
    for padding in (((6, 0), (7, 4)), (3, (0, 11))):
        keywords = {"stride": (7, 2), "padding": padding, "output_padding": (6, 1)}
        y, pullback = swath.vjp(nn.conv_transpose, x, w, method=method, **keywords)
        assert_close(y, np.zeros((2, 1, 1, 6)))
        for ct, a in zip(pullback(y), (x, w), strict=True):
            assert_close(ct, np.zeros(a.shape))


@transpose_tests
@pytest.mark.parametrize("padding", ["same", "same_lower"])
def test_same_is_the_transpose_of_same_with_stride_times_the_points(xp, rng, padding):
    """Also where neighbouring copies of the kernel leave gaps, in which the last zeros lie."""
    x, w = rng.standard_normal((1, 1, 5)), rng.standard_normal((1, 1, 4))
    for s in (1, 2, 3, 6):
        keywords = {"stride": s, "padding": padding}
        y = xp.numpy(nn.conv_transpose(xp.asarray(x), xp.asarray(w), **keywords))
        assert y.shape == (1, 1, 5 * s)
        z = rng.standard_normal(y.shape)
        back = xp.numpy(nn.conv(xp.asarray(z), xp.asarray(w), **keywords))
        assert_close(np.sum(y * z), np.sum(x * back), rtol=0, atol=100 * xp.eps)


@conv_tests
@pytest.mark.on("numpy")
def test_conv_needs_little_memory_beside_its_output(xp, rng):
    x = rng.standard_normal((1, 1, 1280, 1280)).astype(np.float32)
    w = rng.standard_normal((1, 1, 11, 11)).astype(np.float32)
    allowed = max(64 * 2**20, x.nbytes)

    def peak(run):
        tracemalloc.start()
        result = run()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result, most

    (value, pullback), most = peak(lambda: swath.vjp(nn.conv, x, w, padding=5))
    assert most <= value.nbytes + allowed
    found, most = peak(lambda: pullback(value))
    assert most <= sum(a.nbytes for a in found if a is not None) + allowed


X, W = np.ones((1, 4, 8, 8)), np.ones((6, 4, 3, 3))
BAD_CONV = [
    (
        (np.ones((1, 8, 32, 32)), np.ones((4, 3, 3, 3))),
        {"groups": 2},
        ValueError,
        r"conv: weight has 3 input channels × 2 groups = 6, but x has 8 channels "
        r'\(shape \(1, 8, 32, 32\), channels="first"\)',
    ),
    ((X, np.ones((3, 3))), {}, ValueError, r"weight must have at least 3 axes"),
    ((np.ones((8, 8)), W), {}, ValueError, r"x must have 4 axes \(N, C, S1, S2\), or 3"),
    ((X, np.ones((5, 2, 3, 3))), {"groups": 2}, ValueError, r"groups=2 does not divide"),
    ((X, W), {"groups": 0}, ValueError, r"groups must be at least 1, got 0"),
    ((X, W), {"stride": -1}, ValueError, r"stride must be at least 1, got -1"),
    ((X, W), {"stride": (1, 1, 1)}, ValueError, r"stride must have one entry per sliding axis"),
    ((X, W), {"stride": 1.5}, TypeError, r"stride must be an int or a tuple of ints"),
    ((X, W), {"dilation": 0}, ValueError, r"dilation must be at least 1"),
    ((X, W), {"dilation": 4}, ValueError, r"weight spans 9 points .* axis 2 of x has 8 points"),
    ((X, np.ones((6, 4, 3, 0))), {}, ValueError, r"weight has no taps"),
    ((X, W), {"padding": -1}, ValueError, r"padding must be 0 or more"),
    ((X, W), {"padding": "some"}, ValueError, r"padding must be an int.*'same_lower'"),
    ((X, W), {"padding": (1, 2, 3)}, ValueError, r"padding has 3 entries, need 2"),
    (
        (np.ones((1, 4, 8)), np.ones((6, 4, 3))),
        {"padding": (1, 2)},
        ValueError,
        r"write \(\(1, 2\),\)",
    ),
    ((X, W), {"padding_mode": "wrap"}, ValueError, r"padding_mode must be one of 'zeros'"),
    ((X, W), {"padding_mode": None}, TypeError, r"padding_mode must be a name or a number"),
    ((X, W), {"padding_mode": 1j, "padding": 1}, TypeError, r"padding_mode is the complex number"),
    (
        (X.astype(int), W.astype(int)),
        {"padding_mode": 0.5, "padding": 1},
        TypeError,
        r"padding_mode 0.5 is no integer",
    ),
    (
        (np.ones((1, 4, 0, 8)), W),
        {"padding_mode": "reflect", "padding": 2},
        ValueError,
        r"axis 2 of x has none",
    ),
    ((X, W, np.ones(4)), {}, ValueError, r"bias must have shape \(6,\)"),
    ((X, W), {"channels": "middle"}, ValueError, r"channels must be one of 'first', 'last'"),
    ((X, W), {"method": "magic"}, ValueError, r"method must be one of 'auto'"),
    ((X > 0, W), {}, TypeError, r"x must be numeric"),
    (("text", W), {}, TypeError, r"x must be an array"),
]


@conv_tests
@pytest.mark.parametrize(("args", "keywords", "kind", "text"), BAD_CONV)
def test_bad_input_of_conv(args, keywords, kind, text):
    with pytest.raises(kind, match=text):
        nn.conv(*args, **keywords)


@conv_tests
@pytest.mark.needs("torch")
def test_mixed_libraries_are_refused():
    import torch

    with pytest.raises(TypeError, match=r"conv: x is an array of numpy and weight of torch"):
        nn.conv(X, torch.ones(6, 4, 3, 3))


V = np.ones((4, 6, 3, 3))
BAD_TRANSPOSE = [
    ((X, np.ones((5, 6, 3, 3))), {}, ValueError, r"conv_transpose: weight .* 5 input channels"),
    ((X, np.ones((4, 6))), {}, ValueError, r"weight must have at least 3 axes"),
    ((X, V), {"groups": 3}, ValueError, r"groups=3 does not divide"),
    ((X, V), {"output_padding": 1}, ValueError, r"output_padding must be less than the stride"),
    ((X, V), {"output_padding": -1}, ValueError, r"output_padding must be at least 0"),
    ((X, V), {"padding": 5}, ValueError, r"padding \(5, 5\) leaves no output"),
    (
        (X, V),
        {"stride": 2, "output_shape": (19, 17)},
        ValueError,
        r"output_shape \(19, 17\) cannot be reached on sliding axis 0.* gives 17 to 18",
    ),
    ((X, V), {"output_shape": 10}, TypeError, r"output_shape must be a tuple"),
    (
        (X, V),
        {"stride": 2, "output_shape": (17, 17), "output_padding": 1},
        ValueError,
        r"give output_shape or output_padding, not both",
    ),
    ((X, np.ones((4, 6, 0, 3))), {}, ValueError, r"weight has no taps"),
    ((X, V, np.ones(5)), {}, ValueError, r"bias must have shape \(6,\)"),
    ((X, V), {"channels": None}, ValueError, r"channels must be one of"),
    ((X > 0, V), {}, TypeError, r"x must be numeric"),
]


@transpose_tests
@pytest.mark.parametrize(("args", "keywords", "kind", "text"), BAD_TRANSPOSE)
def test_bad_input_of_conv_transpose(args, keywords, kind, text):
    with pytest.raises(kind, match=text):
        nn.conv_transpose(*args, **keywords)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: nn.conv_output_shape(5, (1, 1, 3)), TypeError, "conv_output_shape: x_shape must"),
        (lambda: nn.conv_output_shape((1, 2, 5), (1, 1, 3)), ValueError, "weight has 1 input"),
        (lambda: nn.same_padding("a", 3), TypeError, "same_padding: lengths must be a tuple"),
        (lambda: nn.same_padding(-1, 3), ValueError, "lengths must be at least 0"),
        (lambda: nn.same_padding((5, 5), (3,)), ValueError, "size must have one entry"),
    ],
)
def test_bad_input_of_the_shape_functions(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


@pytest.mark.on("jax-jit")
@conv_tests
@pytest.mark.parametrize(("last", "shape"), [(False, (2, 3, 16, 9, 8)), (True, (2, 3, 9, 8, 16))])
def test_in_a_loop_xla_gets_the_order_of_axes_that_it_has_a_kernel_for(xp, rng, last, shape):
    """What it lays out so by itself elsewhere; there is but a plain loop for other orders."""
    import jax
    import jax.numpy as jnp

    channels = "last" if last else "first"
    w = rng.standard_normal((3, 2, 16, 4) if last else (4, 16, 3, 2)).astype(np.float32)
    x = rng.standard_normal(shape).astype(np.float32)

    def looped(w, x):
        """Entries of the batch one after the other."""
        return jax.lax.map(
            lambda x: nn.conv(x, w, padding=1, channels=channels, method="native"), x
        )

    def peer(w, x):
        order = ("NHWC", "HWIO", "NHWC") if last else ("NCHW", "OIHW", "NCHW")
        flat, pads = jnp.reshape(x, (-1, *x.shape[2:])), ((1, 1), (1, 1))
        y = jax.lax.conv_general_dilated(flat, w, (1, 1), pads, dimension_numbers=order)
        return jnp.reshape(y, (*x.shape[:2], *y.shape[1:]))

    def graded(function):
        return jax.jit(jax.grad(lambda *a: jnp.sum(function(*a) ** 2), argnums=(0, 1)))

    text = graded(looped).lower(w, x).compile().as_text()
    labels = re.findall(r" convolution\(.*dim_labels=([^,} ]*)", text)
    assert labels
    assert set(labels) == {"b01f_01io->b01f"}
    wide = w.astype(np.float64), x.astype(np.float64)
    w, x = jnp.asarray(w), jnp.asarray(x)
    assert_close(looped(w, x), np.asarray(peer(*wide)), rtol=1e-5, atol=1e-5)
    for slope, want in zip(graded(looped)(w, x), graded(peer)(*wide), strict=True):
        assert_close(slope, np.asarray(want), rtol=1e-4, atol=1e-3)
