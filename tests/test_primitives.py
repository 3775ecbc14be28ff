"""sliding_windows and overlap_add against NumPy, loops and each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles_core
import swath
from swath import _ops
from swath.testing import assert_close, check_adjoint

pytestmark = pytest.mark.op("sliding_windows", "overlap_add")

GEOMETRIES = [
    # shape, size, stride, dilation, axes
    ((9,), 3, 1, 1, None),
    ((9,), 3, 4, 2, 0),
    ((2, 7, 6), (2, 3), (1, 2), (3, 1), (1, 2)),
    ((5, 4, 3), (2, 2), 1, 1, (2, 0)),
    ((5, 1), (5, 1), 1, 1, None),
    ((0, 4), 2, 1, 1, -1),
]


def spread_out(value, count):
    return (value,) * count if isinstance(value, int) else tuple(value)


@pytest.mark.parametrize("case", GEOMETRIES, ids=str)
def test_windows_and_their_transpose_equal_loops(xp, rng, case):
    shape, size, stride, dilation, axes = case
    sizes = spread_out(size, 1)
    strides, dilations = spread_out(stride, len(sizes)), spread_out(dilation, len(sizes))
    places = range(-len(sizes), 0) if axes is None else spread_out(axes, 1)
    places = [a % len(shape) for a in places]
    x = rng.standard_normal(shape)
    want = oracles_core.windows(x, sizes, strides, dilations, places)
    options = {"stride": stride, "dilation": dilation, "axes": axes}
    assert_close(xp.call(lambda v: swath.sliding_windows(v, size, **options), xp.asarray(x)), want)
    blocks = rng.standard_normal(want.shape)
    back = np.zeros(shape)
    index = oracles_core.windows(
        np.arange(x.size).reshape(shape), sizes, strides, dilations, places
    )
    np.add.at(back.reshape(-1), index.reshape(-1), blocks.reshape(-1))
    got = xp.call(lambda b: swath.overlap_add(b, shape, **options), xp.asarray(blocks))
    assert_close(got, back)


def test_a_shape_of_one_axis_may_be_its_length(xp):
    assert_close(swath.overlap_add(xp.asarray(np.ones((3, 2))), 4), [1.0, 2.0, 2.0, 1.0])


def test_windows_equal_numpys(xp, rng):
    x = rng.standard_normal((4, 6))
    want = np.lib.stride_tricks.sliding_window_view(x, (2, 3))
    assert_close(swath.sliding_windows(xp.asarray(x), (2, 3)), want)


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64", "float32"])
def test_windows_keep_the_dtype(xp, dtype):
    x = xp.asarray(np.arange(5) % 2, dtype=dtype)
    got = swath.sliding_windows(x, 2)
    assert got.dtype == x.dtype
    if dtype != "bool":
        assert swath.overlap_add(got, (5,)).dtype == x.dtype


@pytest.mark.on("numpy", "numpy-readonly")
def test_windows_are_a_read_only_view_on_numpy(xp):
    x = xp.asarray(np.arange(6.0))
    y = swath.sliding_windows(x, 3)
    assert np.shares_memory(x, y)
    assert not y.flags.writeable


@pytest.mark.on("torch")
def test_windows_are_a_view_on_pytorch(xp):
    x = xp.asarray(np.arange(9.0))
    assert swath.sliding_windows(x, 3, dilation=2).data_ptr() == x.data_ptr()


def test_eight_sliding_axes(xp, rng):
    shape, sizes = (2, 3, 2, 3, 2, 2, 3, 2), (1, 2, 2, 1, 2, 1, 2, 1)
    x = rng.standard_normal(shape)
    want = np.lib.stride_tricks.sliding_window_view(x, sizes)
    got = xp.call(lambda v: swath.sliding_windows(v, sizes), xp.asarray(x))
    assert_close(got, want)
    count = np.zeros(shape)
    index = np.lib.stride_tricks.sliding_window_view(np.arange(x.size).reshape(shape), sizes)
    np.add.at(count.reshape(-1), index.reshape(-1), 1.0)
    back = xp.call(lambda b: swath.overlap_add(b, shape), xp.asarray(np.ones(want.shape)))
    assert_close(back, count)


@pytest.mark.on("numpy", "torch", "strict")
def test_awkward_memory_layouts(xp, rng):
    base = rng.standard_normal((6, 8))
    for host in (base.T, base[::-1, ::2] if xp.backend == "numpy" else base[1:, ::2]):
        x = host if xp.backend == "numpy" else xp.asarray(host)
        want = np.lib.stride_tricks.sliding_window_view(host, 3, axis=0)
        assert_close(swath.sliding_windows(x, 3, axes=0), want)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_adjoint_for_any_geometry(data):
    n = data.draw(st.integers(1, 12))
    dilation = data.draw(st.integers(1, 3))
    size = data.draw(st.integers(1, (n - 1) // dilation + 1))
    stride = data.draw(st.integers(1, 4))
    x = np.zeros((2, n))
    check_adjoint(swath.sliding_windows, x, size, stride=stride, dilation=dilation)
    blocks = swath.sliding_windows(x, size, stride=stride, dilation=dilation)
    check_adjoint(swath.overlap_add, blocks, (2, n), stride=stride, dilation=dilation)


@pytest.mark.on("numpy")
def test_cuts_are_slices(xp):
    bounds, steps = (None, *range(6)), (None, 1, 2, 3, 9)
    for n, start, stop, step in itertools.product(range(5), bounds[1:], bounds, steps):
        x, at = np.arange(n), slice(start, stop, step)
        np.testing.assert_array_equal(_ops.cut(x, at), x[at], str(at))


@pytest.mark.on("numpy", "torch", "jax")
@pytest.mark.parametrize("stride", [1, 2])
def test_half_precision_is_added_in_float32(xp, stride):
    """4096 + 1.5 + 1.5 in float16, whose unit there is 4, stays 4096 at every step."""
    blocks = np.ones((3, 3 * stride), np.float16)
    blocks[2, 0], blocks[1, stride], blocks[0, 2 * stride] = 4096, 1.5, 1.5
    want = np.zeros(5 * stride)
    for i, block in enumerate(blocks):
        want[stride * i : stride * (i + 3)] += block
    assert want[2 * stride] == 4099
    got = swath.overlap_add(xp.asarray(blocks, "float16"), want.shape, stride=stride)
    assert_close(got, want.astype(np.float16), dtype="float16", rtol=0)
