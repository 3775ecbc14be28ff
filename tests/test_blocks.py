"""map_blocks: in blocks as on the whole, on every row; bad input; killed and resumed runs."""

from __future__ import annotations

import functools
import json
import re
import signal
import subprocess
import sys
import threading
import time
from threading import Semaphore
from typing import ClassVar

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

import swath
from swath.geometry import Halo, Span
from swath.scale.halo import rules
from swath.scale.journal import fingerprint
from swath.testing import assert_close

partial = functools.partial
MODES = ["full", "same", "valid"]
LIBRARIES = {"strict": "array_api_strict"}


def run(xp, fn, x, shape, *, folder=None, dtype=None, **options):
    """map_blocks on a row, from a file into a file if a folder is given."""
    dtype = np.dtype(dtype or xp.float)
    if folder is None:
        sink = np.full(shape, 7, dtype)
    else:
        source = np.memmap(folder / "source", x.dtype, "w+", shape=x.shape)
        source[...] = x
        x = np.memmap(folder / "source", x.dtype, "r", shape=x.shape)
        sink = np.memmap(folder / "sink", dtype, "w+", shape=shape)
    options.setdefault("progress", False)
    backend = LIBRARIES.get(xp.backend, xp.backend)
    got = swath.map_blocks(fn, x, sink, backend=backend, device=xp.device, **options)
    assert got is sink
    return np.array(sink)


def full_length(n, k, mode):
    return {"full": n + k - 1, "same": n, "valid": n - k + 1}[mode]


# -- blocks equal the whole ---------------------------------------------------------------------


@pytest.mark.op("signal.convolve", "signal.correlate")
@pytest.mark.parametrize("mode", MODES)
def test_recording_in_a_file_equals_scipy_and_the_whole(xp, rng, tmp_path, mode):
    x = rng.standard_normal((103, 2)).astype(xp.float)
    h = rng.standard_normal(6).astype(xp.float)
    for ours, theirs in [
        (swath.signal.convolve, scipy.signal.convolve),
        (swath.signal.correlate, scipy.signal.correlate),
    ]:
        fn = partial(ours, in2=h, mode=mode, method="direct", axes=0)
        shape = (full_length(103, 6, mode), 2)
        got = run(xp, fn, x, shape, folder=tmp_path, block=40)
        wide = x.astype(float)
        want = theirs(wide, h.astype(float)[:, None], mode, method="direct")
        assert_close(got, want, dtype=xp.float)
        whole = ours(xp.asarray(x), xp.asarray(h), mode, "direct", axes=0)
        np.testing.assert_array_equal(got, xp.numpy(whole))


@pytest.mark.op("signal.convolve")
def test_one_channel_and_bound_functions(xp, rng, tmp_path):
    x, h = rng.standard_normal(200).astype(xp.float), rng.standard_normal(9)
    bound = swath.bind(LIBRARIES.get(xp.backend, xp.backend), device=xp.device)
    for op in (swath.signal.convolve, bound.signal.convolve):
        got = run(xp, partial(op, in2=h, mode="same"), x, (200,), folder=tmp_path, block=64)
        assert_close(got, np.convolve(x.astype(float), h, "same"), dtype=xp.float)


@pytest.mark.op("signal.convolve")
def test_channels_along_another_axis_need_no_halo(xp, rng):
    x, h = rng.standard_normal((7, 30)), rng.standard_normal(4)
    fn = partial(swath.signal.convolve, in2=h, axes=1)
    got = run(xp, fn, x, (7, 33), axis=0, block=3)
    assert_close(got, scipy.signal.convolve(x, h[None]))


@pytest.mark.op("signal.convolve")
def test_nan_stays_in_its_own_windows(xp, rng):
    x, h = rng.standard_normal(60), rng.standard_normal(5)
    x[[0, 19, 20, 40]] = np.nan
    fn = partial(swath.signal.convolve, in2=h, mode="full", method="direct")
    got = run(xp, fn, x, (64,), block=10)
    assert_close(got, np.convolve(x, h))


def test_unknown_function_with_stated_overlap(xp, rng):
    x = rng.standard_normal(50)

    def difference(a):
        # y[n] = x[n+1] − x[n−2] with zeros outside
        namespace = swath._backends.backend_of(a).xp
        zero = 0 * a[:2]
        ahead = namespace.concat([a[1:], zero[:1]])
        return ahead - namespace.concat([zero, a[:-2]])

    got = run(xp, difference, x, (50,), overlap=(2, 1), block=8)
    padded = np.concatenate([np.zeros(2), x, np.zeros(1)])
    assert_close(got, padded[3:] - padded[:-3])


@pytest.mark.op("sliding_windows")
def test_windows_with_stride_and_dilation(rng):
    x = rng.standard_normal((41, 3))
    fn = partial(swath.sliding_windows, size=4, stride=3, dilation=2, axes=0)
    whole = np.lib.stride_tricks.sliding_window_view(x, 7, axis=0)[::3, :, ::2]
    for block in (1, 2, 5, 100):
        sink = np.zeros(whole.shape)
        swath.map_blocks(fn, x, sink, block=block, progress=False)
        np.testing.assert_array_equal(sink, whole)


@pytest.mark.op("signal.convolve")
@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(1, 60),
    k=st.integers(1, 25),
    block=st.integers(1, 90),
    mode=st.sampled_from(MODES),
    rank=st.integers(1, 2),
    turned=st.booleans(),
)
def test_any_block_size_gives_the_same_bits(n, k, block, mode, rank, turned):
    rng = np.random.default_rng(n * 1000 + k)
    x = rng.standard_normal((n, 5)[:rank])
    h = rng.standard_normal((k, 3)[:rank])
    if mode == "valid" and n < k:
        x, h = (x[:, :2], h) if rank == 2 else (x, h)
    op = swath.signal.correlate if turned else swath.signal.convolve
    whole = op(x, h, mode, "direct")
    sink = np.zeros(whole.shape)
    fn = partial(op, in2=h, mode=mode, method="direct")
    swath.map_blocks(fn, x, sink, block=block, progress=False)
    np.testing.assert_array_equal(sink, whole)
    reference = scipy.signal.correlate if turned else scipy.signal.convolve
    assert_close(sink, reference(x, h, mode, "direct"))


@settings(max_examples=300, deadline=None)
@given(
    n=st.integers(1, 40),
    k=st.integers(1, 9),
    stride=st.integers(1, 5),
    dilation=st.integers(1, 3),
    low=st.integers(0, 9),
    high=st.integers(0, 9),
    least=st.integers(1, 50),
    block=st.integers(1, 50),
)
def test_halo_covers_every_window(n, k, stride, dilation, low, high, least, block):
    span = Span(n, k, stride, dilation, low, high)
    covered = []
    for step in Halo(span, 0, least=least).blocks(block):
        inside, start = step.inputs, step.inputs.start
        assert 0 <= start < inside.stop <= n
        assert inside.stop - start >= min(least, n)
        assert start % stride == 0
        assert (n - inside.stop) % stride == 0
        part = Span(inside.stop - start, k, stride, dilation, low, high)
        assert 0 <= step.kept.start < step.kept.stop <= part.out
        for i, kept in zip(
            range(step.outputs.start, step.outputs.stop),
            range(step.kept.start, step.kept.stop),
            strict=True,
        ):
            points = [stride * i + dilation * j - low for j in range(k)]
            seen = [stride * kept + dilation * j - low for j in range(k)]
            want = {p for p in points if 0 <= p < n}
            assert {p + start for p in seen if 0 <= p < inside.stop - start} == want
        covered += range(step.outputs.start, step.outputs.stop)
    assert covered == list(range(span.out))


@pytest.mark.op("nn.conv")
@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(1, 30),
    k=st.integers(1, 5),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    padding=st.sampled_from([0, 2, ((1, 4), (0, 0)), "same", "same_lower", "full", "causal"]),
    padding_mode=st.sampled_from(["zeros", "reflect", "symmetric", "replicate", 1.5]),
    last=st.booleans(),
    batch=st.booleans(),
    block=st.integers(1, 20),
)
def test_layer_in_blocks_equals_the_whole(
    n, k, stride, dilation, padding, padding_mode, last, batch, block
):
    rng = np.random.default_rng(n + 100 * k)
    x, w = rng.standard_normal((2, 3, n, 4)), rng.standard_normal((5, 3, k, 2))
    if last:
        x, w = np.moveaxis(x, 1, -1), np.moveaxis(w, (0, 1), (-1, -2))
    x = x if batch else x[0]
    options = {
        "stride": (stride, 1),
        "padding": padding,
        "dilation": (dilation, 1),
        "padding_mode": padding_mode,
        "channels": "last" if last else "first",
    }
    axis = batch + (not last)
    fn = partial(swath.nn.conv, weight=w, method="direct", **options)
    try:
        whole = fn(x)
    except swath.errors.ArgumentError as error:
        # The kernel does not fit into x: refused beforehand, in the same words.
        text = str(error).split(": ", 1)[1].split(" [")[0]
        with pytest.raises(ValueError, match=re.escape(text)):
            swath.map_blocks(fn, x, np.zeros(x.shape), axis=axis, progress=False)
        return
    sink = np.full(whole.shape, 9.0)
    swath.map_blocks(fn, x, sink, axis=axis, block=block, progress=False)
    assert_close(sink, whole)
    if batch:
        sink = np.full(whole.shape, 9.0)
        swath.map_blocks(fn, x, sink, axis=0, block=1, progress=False)
        assert_close(sink, whole)


@pytest.mark.op("nn.conv_transpose")
@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(1, 30),
    k=st.integers(1, 5),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    padding=st.sampled_from([0, 2, ((1, 9), (0, 0)), ((9, 0), (0, 0)), "same", "causal", "full"]),
    extra=st.integers(0, 2),
    last=st.booleans(),
    batch=st.booleans(),
    block=st.integers(1, 20),
)
def test_transposed_layer_in_blocks_equals_the_whole(
    n, k, stride, dilation, padding, extra, last, batch, block
):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((2, 3, n, 6) if batch else (3, n, 6))
    w = rng.standard_normal((3, 2, k, 2))
    if last:
        x, w = np.moveaxis(x, -3, -1), np.moveaxis(w, (0, 1), (-1, -2))
    fn = partial(
        swath.nn.conv_transpose, weight=w, stride=(stride, 1), padding=padding,
        output_padding=(min(extra, max(stride, dilation) - 1), 0), dilation=(dilation, 1),
        channels="last" if last else "first", method="direct",
    )  # fmt: skip
    try:
        whole = fn(x)
    except ValueError as error:
        assert "leaves no output" in str(error)  # noqa: PT017
        return
    for axis in ([0] if batch else []) + [x.ndim - (3 if last else 2)]:
        sink = np.zeros(whole.shape)
        swath.map_blocks(fn, x, sink, axis=axis, block=block, progress=False)
        assert_close(sink, whole, rtol=1e-14)


@pytest.mark.op("signal.convolve2d", "signal.correlate2d")
@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    kernel=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    mode=st.sampled_from(MODES),
    boundary=st.sampled_from(["fill", "symm"]),
    turned=st.booleans(),
    axis=st.integers(0, 1),
    block=st.integers(1, 9),
)
def test_matrix_in_blocks_equals_scipy(shape, kernel, mode, boundary, turned, axis, block):
    rng = np.random.default_rng(shape[0])
    x, h = rng.standard_normal(shape), rng.standard_normal(kernel)
    name = "correlate2d" if turned else "convolve2d"
    try:
        want = getattr(scipy.signal, name)(x, h, mode, boundary, 2.5)
    except ValueError:
        # Neither holds the other.
        return
    fn = partial(
        getattr(swath.signal, name), in2=h, mode=mode, boundary=boundary, fillvalue=2.5
    )  # fmt: skip
    sink = np.zeros(want.shape)
    swath.map_blocks(fn, x, sink, axis=axis, block=block, progress=False)
    assert_close(sink, want)


@pytest.mark.op("signal.convolve2d")
def test_a_matrix_whose_edges_nobody_reads_may_go_on_periodically(rng):
    x = rng.standard_normal((9, 4))
    for shape, mode in (((2, 3), "valid"), ((1, 3), "full")):
        h = rng.standard_normal(shape)
        want = scipy.signal.convolve2d(x, h, mode, "wrap")
        sink = np.zeros(want.shape)
        fn = partial(swath.signal.convolve2d, in2=h, mode=mode, boundary="wrap")
        swath.map_blocks(fn, x, sink, block=3, progress=False)
        assert_close(sink, want)


@pytest.mark.op("signal.fftconvolve", "signal.oaconvolve")
@pytest.mark.parametrize("mode", MODES)
def test_transforms_of_blocks_equal_the_product(rng, mode):
    x, h = rng.standard_normal((60, 2)), rng.standard_normal(7)
    want = np.stack([np.convolve(c, h, mode) for c in x.T], axis=1)
    for op in (swath.signal.fftconvolve, swath.signal.oaconvolve):
        sink = np.zeros(want.shape)
        fn = partial(op, in2=h, mode=mode, axes=0)
        swath.map_blocks(fn, x, sink, block=13, progress=False)
        assert_close(sink, want)


@pytest.mark.op("nn.global_max_pool", "nn.global_avg_pool", "nn.adaptive_avg_pool")
def test_pools_of_a_whole_picture_go_by_batch_and_channel(rng):
    x = rng.standard_normal((7, 5, 6, 4))
    for fn in (
        swath.nn.global_max_pool,
        partial(swath.nn.global_avg_pool, keepdims=False),
        partial(swath.nn.global_lp_pool, axes=(0, 2), keepdims=False),
        partial(swath.nn.adaptive_max_pool, output_size=(3, 2)),
        partial(swath.nn.adaptive_avg_pool, output_size=(None, 3)),
    ):
        whole = fn(x)
        for axis in (1, 3) if "axes" in getattr(fn, "keywords", {}) else (0, 1):
            sink = np.zeros(whole.shape)
            swath.map_blocks(fn, x, sink, axis=axis, block=2, progress=False)
            np.testing.assert_array_equal(sink, whole)
    kept = partial(swath.nn.adaptive_avg_pool, output_size=(None, 3))
    sink = np.zeros((7, 5, 6, 3))
    swath.map_blocks(kept, x, sink, axis=2, block=2, progress=False)
    np.testing.assert_array_equal(sink, kept(x))


@pytest.mark.op("nn.max_pool", "nn.avg_pool")
@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(1, 30),
    k=st.integers(1, 6),
    stride=st.integers(1, 5),
    dilation=st.integers(1, 3),
    padding=st.sampled_from([0, ((0, 1),), ((2, 0),), "same", "same_lower"]),
    ceil=st.booleans(),
    kind=st.sampled_from(["max_pool", "min_pool", "avg_pool", "lp_pool"]),
    block=st.integers(1, 20),
)
def test_pooling_in_blocks_equals_the_whole(n, k, stride, dilation, padding, ceil, kind, block):
    x = np.random.default_rng(n + 100 * k).standard_normal((3, n))
    fn = partial(
        getattr(swath.nn, kind),
        size=k, stride=stride, dilation=dilation, padding=padding, ceil_mode=ceil, axes=1,
    )  # fmt: skip
    try:
        whole = fn(x)
    except swath.errors.ArgumentError as error:
        text = str(error).split(": ", 1)[1].split(" [")[0]
        with pytest.raises(ValueError, match=re.escape(text)):
            swath.map_blocks(fn, x, np.zeros(x.shape), axis=1, progress=False)
        return
    for axis in (0, 1):
        sink = np.full(whole.shape, 9.0)
        swath.map_blocks(fn, x, sink, axis=axis, block=block, progress=False)
        assert_close(sink, whole)
        if kind in ("max_pool", "min_pool"):
            np.testing.assert_array_equal(sink, whole)


@pytest.mark.op("nn.max_pool")
@pytest.mark.needs("torch")
def test_pooled_picture_in_a_file(xp, rng, tmp_path):
    import torch

    x = rng.standard_normal((3, 40, 6)).astype(xp.float)
    x[1, 11, 3] = np.nan
    want = torch.nn.functional.max_pool2d(torch.asarray(x), (3, 2), (2, 2), (1, 0)).numpy()
    fn = partial(swath.nn.max_pool, size=(3, 2), stride=2, padding=((1, 1), (0, 0)))
    got = run(xp, fn, x, want.shape, folder=tmp_path, axis=1, block=6)
    np.testing.assert_array_equal(got, want)


@pytest.mark.op("signal.lfilter", "signal.filter_bank")
def test_filters_along_time(xp, rng, tmp_path):
    x, bank = rng.standard_normal((90, 2)), rng.standard_normal((3, 8))
    fn = partial(swath.signal.lfilter, bank[0], 2.0, axis=0)
    got = run(xp, fn, x, (90, 2), folder=tmp_path, block=25)
    assert_close(got, scipy.signal.lfilter(bank[0], 2.0, x, axis=0))
    want = np.stack([scipy.signal.lfilter(h, 1.0, x, axis=0)[::4] for h in bank])
    fn = partial(swath.signal.filter_bank, bank, axis=0, stride=4)
    assert_close(run(xp, fn, x, (3, 23, 2), folder=tmp_path, block=9), want)


@pytest.mark.op("signal.filter_bank")
@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    k=st.integers(1, 12),
    stride=st.integers(1, 5),
    block=st.integers(1, 20),
    time=st.integers(0, 2),
    axis=st.integers(0, 2),
)
def test_bank_in_blocks_along_any_axis(n, k, stride, block, time, axis):
    rng = np.random.default_rng(n + 100 * k)
    shape = [2, 3, 2]
    shape[time] = n
    x, bank = rng.standard_normal(shape), rng.standard_normal((4, k))
    fn = partial(swath.signal.filter_bank, bank, axis=time, stride=stride)
    whole = fn(x)
    sink = np.full(whole.shape, 9.0)
    swath.map_blocks(fn, x, sink, axis=axis, block=block, progress=False)
    assert_close(sink, whole, rtol=1e-13)


@pytest.mark.op("nn.conv")
@pytest.mark.needs("torch")
def test_layer_of_a_picture_in_a_file(xp, rng, tmp_path):
    import torch

    x, w = rng.standard_normal((3, 41, 6)), rng.standard_normal((2, 3, 4, 3))
    want = torch.nn.functional.conv2d(
        torch.asarray(x), torch.asarray(w), stride=(3, 1), padding=(2, 1)
    ).numpy()
    fn = partial(swath.nn.conv, weight=w, stride=(3, 1), padding=(2, 1))
    got = run(xp, fn, x, want.shape, folder=tmp_path, axis=1, block=6)
    assert_close(got, want)


@pytest.mark.op("nn.conv")
def test_a_layer_that_is_periodic_along_other_axes(rng):
    """Without padding along the blocks nothing joins their ends."""
    x, w = rng.standard_normal((3, 20, 6)), rng.standard_normal((2, 3, 4, 3))
    fn = partial(swath.nn.conv, weight=w, padding=((0, 0), (1, 1)), padding_mode="circular")
    around = np.concatenate([x[..., -1:], x, x[..., :1]], axis=-1)
    want = swath.nn.conv(around, w)
    got = swath.map_blocks(fn, x, np.zeros(want.shape), axis=1, block=5, progress=False)
    assert_close(got, want)


@pytest.mark.op("signal.match_template")
def test_template_in_a_long_recording(xp, rng, tmp_path):
    x = rng.standard_normal((300, 2)) + 3
    template = x[200:212] * 5 - 1
    fn = partial(swath.signal.match_template, template=template, axes=0)
    got = run(xp, fn, x, (289, 2), folder=tmp_path, block=100)
    windows = np.lib.stride_tricks.sliding_window_view(x, 12, axis=0)
    windows = windows - windows.mean(-1, keepdims=True)
    t = (template - template.mean(0)).T
    norms = np.linalg.norm(windows, axis=-1) * np.linalg.norm(t, axis=-1)
    assert_close(got, np.einsum("nck,ck->nc", windows, t) / norms, atol=200 * xp.eps)
    assert list(np.argmax(got, axis=0)) == [200, 200]


def test_rules_name_operations():
    assert set(rules()) <= set(swath.operations())


# -- memory, dtypes, sources ----------------------------------------------------------------------


class Watched:
    """A source that records what is read of it."""

    def __init__(self, table):
        self.table, self.shape, self.dtype = table, table.shape, table.dtype
        self.read = []

    def __getitem__(self, index):
        part = self.table[index]
        self.read.append(part.size)
        return part


def test_default_block_follows_the_workspace(rng):
    source = Watched(rng.standard_normal(2**16))
    sink = np.zeros(2**16)
    fn = partial(swath.signal.convolve, in2=np.ones(5), mode="same")
    with swath.workspace(2**16):
        swath.map_blocks(fn, source, sink, progress=False)
    # 64 KiB / (4 copies · 16 bytes a point) = 1024 points and the halo
    assert len(source.read) == 64
    assert max(source.read) == 1028
    assert_close(sink, np.convolve(source.table, np.ones(5), "same"))


def test_source_of_any_kind_is_never_written(rng):
    x = rng.standard_normal(30)

    def greedy(a):
        a *= 2
        return a

    with pytest.raises(ValueError, match="read-only"):
        swath.map_blocks(greedy, x, np.zeros(30), overlap=(0, 0), progress=False)


def test_foreign_byte_order_integers_and_strides(xp, rng):
    x = rng.integers(-999, 999, (2, 90)).astype(">i2")[:, ::-3]
    h = np.array([1, -2, 3], np.int16)
    fn = partial(swath.signal.convolve, in2=h, axes=1)
    got = run(xp, fn, x, (2, 32), dtype="int16", axis=1, block=11)
    want = [np.convolve(row.astype(np.int16), h) for row in x]
    np.testing.assert_array_equal(got, want)


def test_progress_bar_counts_all_points(capsys):
    fn = partial(swath.signal.convolve, in2=np.ones(3), mode="same")
    swath.map_blocks(fn, np.ones(500), np.zeros(500), block=100)
    shown = capsys.readouterr().err
    assert "100%" in shown
    assert "500/500" in shown
    swath.map_blocks(fn, np.ones(500), np.zeros(500), block=100, progress=False)
    assert capsys.readouterr().err == ""


def test_elementwise_work_in_place_and_empty_data():
    x = np.arange(10.0)
    swath.map_blocks(lambda a: a * 2, x, x, overlap=(0, 0), block=3, progress=False)
    np.testing.assert_array_equal(x, 2 * np.arange(10.0))
    fn = partial(swath.signal.convolve, in2=np.ones(3), axes=0)
    sink = np.zeros((7, 0))
    assert swath.map_blocks(fn, np.zeros((5, 0)), sink, progress=False) is sink


# -- reading, computing and writing at once; no memory ---------------------------------------------


def test_the_next_block_is_read_and_the_last_written_while_one_is_computed():
    read, computed = Semaphore(0), Semaphore(0)

    class Source(Watched):
        def __getitem__(self, index):
            read.release()
            return super().__getitem__(index)

    class Sink(np.ndarray):
        def __setitem__(self, index, block):
            if block[0] < 80:
                assert computed.acquire(timeout=30), "no block is computed during a write"
            super().__setitem__(index, block)

    assert read.acquire(blocking=False) is False
    calls = []

    def fn(a):
        calls.append(int(a[0]))
        if len(calls) == 1:
            assert read.acquire(timeout=30)
        else:
            computed.release()
        if len(calls) < 5:
            assert read.acquire(timeout=30), "no block is read during a computation"
        return 2 * a

    sink = np.zeros(100).view(Sink)
    source = Source(np.arange(100.0))
    swath.map_blocks(fn, source, sink, overlap=(0, 0), block=20, progress=False)
    assert calls == [0, 20, 40, 60, 80]
    np.testing.assert_array_equal(sink, 2 * np.arange(100.0))


def test_source_and_sink_that_know_slices_of_the_first_axis_only():
    class Source:
        shape, dtype = [30, 2], "float32"

        def __getitem__(self, part):
            return [[float(i), 1.0] for i in range(part.start, part.stop)]

    class Sink:
        shape, dtype = (30, 2), "float32"
        rows: ClassVar[list] = []

        def __setitem__(self, part, block):
            assert part.start == len(self.rows)
            self.rows += block.tolist()

    fn = partial(swath.signal.convolve, in2=[1.0, 1.0], mode="same", axes=0)
    swath.map_blocks(fn, Source(), Sink(), block=7, progress=False)
    assert Sink.rows == [[max(2.0 * i - 1, 0), 2.0 if i else 1.0] for i in range(30)]
    sink = Sink()
    sink.flush = lambda: None
    with pytest.raises(ValueError, match=r"a journal needs a sink .* flushed and read"):
        swath.map_blocks(fn, Source(), sink, journal="unused", progress=False)


def test_results_in_memory_that_is_used_again_are_kept():
    again = np.empty(10)
    sink = np.zeros(50)
    source = Watched(np.arange(50.0))
    source.table, whole = Reused(source.table), source.table

    def fn(a):
        # The next block is read meanwhile.
        time.sleep(0.005)
        return np.multiply(a, 3, out=again)

    swath.map_blocks(fn, source, sink, overlap=(0, 0), block=10, progress=False)
    np.testing.assert_array_equal(sink, 3 * whole)


@pytest.mark.parametrize("at", [0, 20, 40])
def test_what_a_sink_raises_is_raised(at):
    class Full:
        shape, dtype = (50,), np.dtype(float)

        def __setitem__(self, index, value):
            if index.start == at:
                raise OSError(28, "no space left")

    with pytest.raises(OSError, match="no space left"):
        swath.map_blocks(np.negative, np.ones(50), Full(), overlap=(0, 0), block=10, progress=False)


class Reused:
    """A source that fills the same memory with every block."""

    def __init__(self, table):
        self.table, self.memory = table, np.empty_like(table)

    def __getitem__(self, index):
        part = self.table[index]
        self.memory[: part.size] = part
        return self.memory[: part.size]


def small_only(most, seen):
    """The difference of neighbours, of blocks of up to so many points."""

    def fn(a):
        if a.shape[0] > most:
            raise MemoryError
        seen.append(a.shape[0])
        namespace = swath._backends.backend_of(a).xp
        return a - namespace.concat([0 * a[:1], a[:-1]])

    return fn


def test_blocks_that_memory_does_not_hold_are_halved(xp):
    x, seen = np.arange(1.0, 201.0) ** 2, []
    got = run(xp, small_only(30, seen), x.astype(xp.float), (200,), overlap=(1, 0), block=100)
    assert_close(got, np.diff(x, prepend=0.0), dtype=xp.float)
    assert seen == [25] + [26] * 7
    with pytest.raises(MemoryError):
        run(xp, small_only(0, []), x.astype(xp.float), (200,), overlap=(1, 0))


def test_a_job_without_memory_goes_on_with_its_blocks(tmp_path):
    x = np.arange(1.0, 201.0) ** 2
    sink = np.memmap(tmp_path / "sink", float, "w+", shape=200)
    options = {"overlap": (1, 0), "progress": False, "journal": tmp_path / "journal"}
    seen: list[int] = []
    less = small_only(30, seen)

    def fn(a):
        # The third block of 50 points is one too many, and the fourth block ends the run.
        if len(seen) == 4:
            raise RuntimeError("killed")
        return less(a) if len(seen) > 1 else small_only(60, seen)(a)

    with pytest.raises(RuntimeError, match="killed"):
        swath.map_blocks(fn, x, sink, block=50, **options)
    assert seen == [50, 51, 26, 26]
    seen[:] = [1, 1]
    swath.map_blocks(fn, x, sink, block=50, **options)
    assert seen == [1, 1, 26, 26]
    np.testing.assert_array_equal(sink, np.diff(x, prepend=0.0))
    # A block that the sink has lost is computed again, in its own length where memory allows.
    seen[:] = [1, 1]
    sink[60] = 7
    swath.map_blocks(fn, x, sink, block=50, **options)
    assert seen == [1, 1, 26, 26]
    np.testing.assert_array_equal(sink, np.diff(x, prepend=0.0))


def test_errors_of_too_little_memory_are_known(xp):
    be = swath._backends.backend_of(xp.asarray(np.ones(1)))
    assert be.out_of_memory(MemoryError())
    assert not be.out_of_memory(ValueError("memory"))
    if be.name in ("numpy", "jax", "torch"):
        with pytest.raises(Exception, match="allocat") as caught:
            be.synchronize(be.xp.zeros(2**47))
        assert be.out_of_memory(caught.value)


# -- bad input -----------------------------------------------------------------------------------

SMOOTH = partial(swath.signal.convolve, in2=np.ones(3), mode="same")
BAD = {
    "unknown function": (lambda a: a, np.ones(9), np.ones(9), {}, ValueError, r"state overlap="),
    "overlap text": (SMOOTH, np.ones(9), np.ones(9), {"overlap": "all"}, ValueError, "overlap"),
    "overlap int": (SMOOTH, np.ones(9), np.ones(9), {"overlap": 3}, TypeError, "overlap must be"),
    "overlap negative": (SMOOTH, np.ones(9), np.ones(9), {"overlap": (-1, 0)}, ValueError, "least"),
    "fn": (3, np.ones(9), np.ones(9), {}, TypeError, "fn must be a function"),
    "list source": (SMOOTH, [1.0] * 9, np.ones(9), {}, TypeError, "source must have shape"),
    "list sink": (SMOOTH, np.ones(9), [1.0] * 9, {}, TypeError, "sink must have shape"),
    "text source": (SMOOTH, np.array(["a"]), np.ones(1), {}, TypeError, "source must hold numbers"),
    "sink shape": (SMOOTH, np.ones(9), np.ones(8), {}, ValueError, r"sink has shape \(8,\)"),
    "sink rank": (SMOOTH, np.ones(9), np.ones((9, 1)), {}, ValueError, "sink has shape"),
    "sink length": (
        lambda a: a, np.ones(9), np.ones(8), {"overlap": (0, 0)}, ValueError, "must have 9 points",
    ),
    "sink dtype": (SMOOTH, np.ones(9), np.ones(9, int), {}, TypeError, "does not go into a sink"),
    "axis": (SMOOTH, np.ones(9), np.ones(9), {"axis": 1}, ValueError, "axis 1 is out of range"),
    "axis type": (SMOOTH, np.ones(9), np.ones(9), {"axis": 0.5}, TypeError, "axis must be an int"),
    "block": (SMOOTH, np.ones(9), np.ones(9), {"block": 0}, ValueError, "block must be at least 1"),
    "block type": (SMOOTH, np.ones(9), np.ones(9), {"block": 2.5}, TypeError, "must be an int"),
    "backend": (SMOOTH, np.ones(9), np.ones(9), {"backend": "fortran"}, ImportError, "install"),
    "no rule": (
        partial(swath.overlap_add, shape=(9,)), np.ones(9), np.ones(9), {}, NotImplementedError,
        "overlap_add has no rule for its halo",
    ),
    "other argument": (
        partial(swath.signal.convolve, np.ones(3)), np.ones(9), np.ones(11), {}, ValueError,
        r"they must be in1: give the other array by name, as .*in2=\.\.\.",
    ),
    "too many arguments": (
        partial(swath.signal.convolve, np.ones(3), nonsense=1), np.ones(9), np.ones(9), {},
        ValueError, "fn does not fit signal.convolve",
    ),
    "kernel rank": (
        partial(swath.signal.convolve, in2=np.ones((3, 3))), np.ones(9), np.ones(9), {}, ValueError,
        "in2 must have 1 axes like the source",
    ),
    "kernel along blocks": (
        partial(swath.signal.convolve, in2=np.ones((9, 3)), axes=1), np.ones((9, 5)),
        np.ones((9, 7)), {}, NotImplementedError, "cut along another axis",
    ),
    "larger template": (
        partial(swath.signal.match_template, template=np.ones(9)), np.ones(5), np.ones(5), {},
        ValueError, "a source at least as large",
    ),
    "layer channels": (
        partial(swath.nn.conv, weight=np.ones((2, 3, 1))), np.ones((3, 8)), np.ones((2, 8)), {},
        NotImplementedError, "axis 0 holds the channels",
    ),
    "pool indices": (
        partial(swath.nn.max_pool, size=2, axes=0, return_indices=True), np.ones(8), np.ones(4),
        {}, NotImplementedError, "a sink takes one",
    ),
    "filter state": (
        partial(swath.signal.lfilter, np.ones(2), 1.0, zi=np.ones(1)), np.ones(8), np.ones(8), {},
        NotImplementedError, "leave zi out",
    ),
    "bank rank": (
        partial(swath.signal.filter_bank, np.ones(2)), np.ones(8), np.ones(8), {}, ValueError,
        "one filter per row",
    ),
    "layer circular": (
        partial(swath.nn.conv, weight=np.ones((2, 3, 3)), padding=1, padding_mode="circular"),
        np.ones((3, 8)), np.ones((2, 8)), {"axis": 1}, NotImplementedError, "joins both ends",
    ),
    "matrix continued by periods": (
        partial(swath.signal.convolve2d, in2=np.ones((2, 2)), boundary="wrap"), np.ones((5, 5)),
        np.ones((6, 6)), {}, NotImplementedError, "joins both ends of axis 0",
    ),
    "kernel that is a number": (
        partial(swath.signal.convolve2d, in2=2.0), np.ones((5, 5)), np.ones((5, 5)), {},
        ValueError, "in2 must be an array, got float",
    ),
    "matrix boundary": (
        partial(swath.signal.convolve2d, in2=np.ones((1, 2)), boundary="none"), np.ones((5, 5)),
        np.ones((5, 6)), {}, ValueError, "boundary must be one of",
    ),
    "transposed channels": (
        partial(swath.nn.conv_transpose, weight=np.ones((3, 2, 1))), np.ones((3, 8)),
        np.ones((2, 8)), {}, NotImplementedError, "axis 0 holds the channels",
    ),
    "transposed output shape": (
        partial(swath.nn.conv_transpose, weight=np.ones((3, 2, 1)), output_shape=(8,)),
        np.ones((3, 8)), np.ones((2, 8)), {"axis": 1}, NotImplementedError, "output_padding",
    ),
    "global pool along blocks": (
        swath.nn.global_max_pool, np.ones((2, 3, 8)), np.ones((2, 3, 1)), {"axis": 2},
        NotImplementedError, "needs all points of axis 2 at once",
    ),
    "adaptive pool along blocks": (
        partial(swath.nn.adaptive_max_pool, output_size=(4,)), np.ones((2, 3, 8)),
        np.ones((2, 3, 4)), {"axis": 2}, NotImplementedError, "needs all points of axis 2 at once",
    ),
    "adaptive indices": (
        partial(swath.nn.adaptive_max_pool, output_size=(4,), return_indices=True),
        np.ones((2, 3, 8)), np.ones((2, 3, 4)), {}, NotImplementedError, "a sink takes one",
    ),
    "windows of more axes": (
        partial(swath.sliding_windows, size=(2, 2)), np.ones(9), np.ones(9), {}, ValueError,
        "need at least 2 axes, got an array of 1",
    ),
    "valid mixed": (
        partial(swath.signal.convolve, in2=np.ones((2, 9)), mode="valid"), np.ones((5, 5)),
        np.ones((4, 1)), {}, ValueError, "at least as large",
    ),
    "length changes": (
        lambda a: a[1:], np.ones(9), np.ones(9), {"overlap": (0, 0)}, ValueError, "keep the length",
    ),
    "not an array": (
        lambda a: (a, a), np.ones(9), np.ones(9), {"overlap": (0, 0)}, TypeError, "one array of",
    ),
    "journal type": (SMOOTH, np.ones(9), np.ones(9), {"journal": 3}, TypeError, "must be a path"),
    "journal in memory": (SMOOTH, np.ones(9), np.ones(9), {"journal": "j"}, ValueError, "on disk"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    fn, source, sink, options, error, text = BAD[case]
    before = np.array(sink)
    with pytest.raises(error, match=text):
        swath.map_blocks(fn, source, sink, progress=False, **options)
    np.testing.assert_array_equal(sink, before)


def test_source_and_sink_that_share_memory(tmp_path):
    x = np.ones(20)
    with pytest.raises(ValueError, match="share memory"):
        swath.map_blocks(SMOOTH, x[:19], x[1:], progress=False)
    maps = [np.memmap(tmp_path / "both", float, m, shape=20) for m in ("w+", "r+")]
    with pytest.raises(ValueError, match="share memory"):
        swath.map_blocks(SMOOTH, *maps, progress=False)


def test_views_of_one_array(tmp_path):
    """In place means that every entry is written where it was read."""
    double = {"fn": lambda a: 2 * a, "overlap": (0, 0), "block": 1, "progress": False}
    x = np.arange(24.0).reshape(4, 6)
    for source, sink in [
        (x[::-1], x),
        (x[:, :4], x[:, :4].T),
        (x[:3], x[1:]),
        (x[:, :5], x[:, 1:]),
        (x.view("int64"), x[:, ::-1].view("int64")),
    ]:
        with pytest.raises(ValueError, match="share memory, and later blocks still need"):
            swath.map_blocks(source=source, sink=sink, **double)
    np.testing.assert_array_equal(x, np.arange(24.0).reshape(4, 6))
    swath.map_blocks(source=x[::-1], sink=x[::-1], **double)
    swath.map_blocks(source=x[:, :4], sink=x, axis=0, **{**double, "fn": _widened})
    want = 2 * np.arange(24.0).reshape(4, 6)[:, :4]
    np.testing.assert_array_equal(x, np.concatenate([want, want[:, :2]], axis=1))
    # Channels beside each other have no entry in common.
    x = np.arange(12.0).reshape(6, 2)
    swath.map_blocks(SMOOTH, x[:, 0], x[:, 1], block=2, progress=False)
    np.testing.assert_array_equal(x[:, 1], np.convolve(np.arange(0, 12.0, 2), np.ones(3), "same"))
    maps = [np.memmap(tmp_path / "both", float, m, shape=20) for m in ("w+", "r+")]
    maps[0][...] = 3.0
    swath.map_blocks(source=maps[0], sink=maps[1], **double)
    np.testing.assert_array_equal(maps[0], np.full(20, 6.0))
    with pytest.raises(ValueError, match="share memory, and later blocks still need"):
        swath.map_blocks(source=maps[0][:19], sink=maps[1][1:], **double)


def _widened(a):
    return np.concatenate([a, a[:, :2]], axis=1)


def test_parts_of_one_file_are_told_apart(tmp_path):
    def opened(mode, offset, size):
        return np.memmap(tmp_path / "both", float, mode, 8 * offset, shape=size)

    both = opened("w+", 0, 40)
    both[...] = np.arange(40.0)
    both.flush()
    for source, sink in [
        (opened("r", 0, 40)[10:30], opened("r+", 20, 20)),
        (opened("r", 20, 20), opened("r+", 0, 40)[10:30]),
        (opened("r", 8, 32)[::-1][:10], opened("r+", 30, 10)),
        (np.asarray(opened("r", 0, 40))[5:15], opened("r+", 0, 40)[14:24]),
    ]:
        with pytest.raises(ValueError, match="share memory"):
            swath.map_blocks(SMOOTH, source, sink, block=4, progress=False)
    np.testing.assert_array_equal(both, np.arange(40.0))
    for source, sink in [
        (opened("r", 0, 40)[:20], opened("r+", 0, 40)[20:]),
        (opened("r", 8, 32)[:12], opened("r+", 20, 20)[:12]),
        (np.asarray(opened("r", 0, 40))[:10], opened("r+", 0, 40)[10:20]),
    ]:
        want = np.convolve(np.array(source), np.ones(3), "same")
        swath.map_blocks(SMOOTH, source, sink, block=4, progress=False)
        np.testing.assert_array_equal(sink, want)


def test_masked_values_are_refused():
    x = np.ma.masked_greater(np.arange(30.0), 20)
    sink = np.zeros(30)
    with pytest.raises(TypeError, match=r"source must not be a masked array.*filled\(0\)"):
        swath.map_blocks(SMOOTH, x, sink, progress=False)
    with pytest.raises(TypeError, match=r"sink must not be a masked array.*give sink\.data"):
        swath.map_blocks(SMOOTH, sink, x, progress=False)
    # As a variable of a netCDF file, whose slices are masked arrays whether or not values miss.
    with pytest.raises(ValueError, match=r"source holds masked values at points 15 to 24 along"):
        swath.map_blocks(SMOOTH, Watched(x), sink, block=8, progress=False)
    whole = Watched(np.ma.array(np.arange(30.0)))
    swath.map_blocks(SMOOTH, whole, sink, block=8, progress=False)
    np.testing.assert_array_equal(sink, np.convolve(np.arange(30.0), np.ones(3), "same"))


def test_journal_of_work_in_place_is_refused(tmp_path):
    both = np.memmap(tmp_path / "both", float, "w+", shape=20)
    with pytest.raises(ValueError, match="its input is gone"):
        swath.map_blocks(
            lambda a: a, both, both, overlap=(0, 0), journal=tmp_path / "j", progress=False
        )
    halves = [np.memmap(tmp_path / "both", float, "r+", 80 * i, shape=10) for i in range(2)]
    halves[0][...] = 1
    swath.map_blocks(SMOOTH, *halves, block=3, progress=False)
    np.testing.assert_array_equal(both[10:], np.convolve(np.ones(10), np.ones(3), "same"))


def test_read_only_sink():
    sink = np.zeros(9)
    sink.flags.writeable = False
    with pytest.raises(ValueError, match="sink is read-only"):
        swath.map_blocks(SMOOTH, np.ones(9), sink, progress=False)


@pytest.mark.needs("torch")
def test_arrays_of_a_device_are_refused():
    import torch

    with pytest.raises(TypeError, match=r"source must be on the host.*torch"):
        swath.map_blocks(SMOOTH, torch.ones(9), np.ones(9), progress=False)


# -- the journal ----------------------------------------------------------------------------------

JOB = """
import functools, os, signal, sys
import numpy as np
import swath

folder, stop = sys.argv[1], int(sys.argv[2])

class Source:
    def __init__(self, table):
        self.table, self.shape, self.dtype, self.count = table, table.shape, table.dtype, 0

    def __getitem__(self, index):
        self.count += 1
        if self.count > stop:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.table[index]

source = Source(np.memmap(folder + "/source", "f4", "r", shape=(5000, 2)))
sink = np.memmap(folder + "/sink", "f4", "r+", shape=(5000, 2))
h = np.linspace(-1, 1, 101, dtype="f4")
fn = functools.partial(swath.signal.convolve, in2=h, mode="same", axes=0)
block = None if len(sys.argv) < 4 else int(sys.argv[3])
swath.map_blocks(fn, source, sink, block=block, progress=False, journal=folder + "/journal")
print(source.count)
"""


def job(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-c", JOB, str(folder), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the platform has no SIGKILL")
@pytest.mark.parametrize("torn", [False, True])
def test_killed_run_goes_on_with_the_same_bits(tmp_path, rng, torn):
    x = rng.standard_normal((5000, 2)).astype("f4")
    results = []
    for name in ("straight", "killed"):
        folder = tmp_path / name
        folder.mkdir()
        np.memmap(folder / "source", "f4", "w+", shape=x.shape)[...] = x
        sink = np.memmap(folder / "sink", "f4", "w+", shape=x.shape)
        sink.flush()
        if name == "killed":
            assert job(folder, 4, 600).returncode == -signal.SIGKILL
            lines = (folder / "journal").read_text().splitlines()
            # Killed in the fifth read: one block ahead of what is computed, two of what is written.
            assert len(lines) == 1 + 3
            assert json.loads(lines[0])["block"] == 600
            if torn:
                with open(folder / "journal", "a") as file:
                    file.write('{"first": 1800, "la')
                sink[700] = 0  # a block that did not reach the disk
            done = job(folder, 100)
            assert done.returncode == 0, done.stderr
            # 9 blocks less those finished and intact
            assert int(done.stdout) == (7 if torn else 6)
        else:
            assert job(folder, 100, 600).returncode == 0
        results.append(np.fromfile(folder / "sink", "f4"))
    np.testing.assert_array_equal(*results)
    want = scipy.signal.convolve(
        x.astype(float), np.linspace(-1, 1, 101)[:, None], "same", "direct"
    )
    assert_close(results[1].reshape(x.shape), want, rtol=1e-5)


class Ending:
    """A table on disk that is interrupted when it is used for the fourth time."""

    def __init__(self, table, ends):
        self.table, self.shape, self.dtype = table, table.shape, table.dtype
        self.flush, self.left = table.flush, 3 if ends else 10**6

    def _count(self):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt

    def __getitem__(self, index):
        if not self.table.flags.writeable:
            self._count()
        return self.table[index]

    def __setitem__(self, index, values):
        self._count()
        self.table[index] = values


@pytest.mark.parametrize("where", ["read", "computed", "written"])
def test_an_interrupted_run_leaves_no_thread_and_goes_on(tmp_path, rng, where):
    np.memmap(tmp_path / "source", float, "w+", shape=100)[...] = x = rng.standard_normal(100)
    source = np.memmap(tmp_path / "source", float, "r", shape=100)
    sink = np.memmap(tmp_path / "sink", float, "w+", shape=100)
    seen: list[int] = []

    def fn(a):
        if where == "computed" and len(seen) == 3:
            seen.append(0)
            raise KeyboardInterrupt
        seen.append(a.size)
        return a - np.concatenate([[0], a[:-1]])

    before = threading.active_count()

    def go(ends):
        swath.map_blocks(
            fn,
            Ending(source, ends and where == "read"),
            Ending(sink, ends and where == "written"),
            overlap=(1, 0),
            block=10,
            progress=False,
            journal=tmp_path / "journal",
        )

    with pytest.raises(KeyboardInterrupt):
        go(ends=True)
    assert threading.active_count() == before
    done = len((tmp_path / "journal").read_text().splitlines()) - 1
    assert 1 <= done <= 3
    seen[:] = [0] * 4
    go(ends=False)
    assert len(seen) == 4 + 10 - done
    np.testing.assert_array_equal(sink, np.diff(x, prepend=0.0))


@pytest.mark.needs("array_api_strict")
def test_journal_of_another_job(tmp_path):
    def go(h, size, **options):
        source = np.ones(size)
        sink = np.memmap(tmp_path / "sink", float, "w+", shape=size)
        fn = partial(swath.signal.convolve, in2=h, mode="same")
        path = tmp_path / "journal"
        swath.map_blocks(fn, source, sink, progress=False, journal=path, **options)

    go(np.ones(3), 20, block=8)
    go(np.ones(3), 20)
    for change, text in [
        (lambda: go(np.full(3, 2.0), 20), "its function"),
        (lambda: go(np.ones(3), 21), "its sink"),
        (lambda: go(np.ones(3), 20, block=4), "its block is 8, here it is 4"),
        (lambda: go(np.ones(3), 20, backend="array_api_strict"), "its function"),
    ]:
        with pytest.raises(ValueError, match=text):
            change()
    for other in ("shopping list\n", "shopping list", '{"a": 1}'):
        (tmp_path / "journal").write_text(other)
        with pytest.raises(ValueError, match="is not a journal"):
            go(np.ones(3), 20)
        assert (tmp_path / "journal").read_text() == other
    # A run that was killed before its first line was whole.
    for torn in ("", '{"swath', '{"swath_journal": 1, "sou'):
        (tmp_path / "journal").write_text(torn)
        go(np.full(3, 2.0), 20)


def test_jobs_of_other_functions_and_values_are_told_apart():
    zeros = np.zeros(2)
    different = [
        scaled,
        raised,
        *(partial(f, *args) for f in (scaled, raised) for args in [(1, 23), (12, 3), (123,), ()]),
        *(partial(scaled, **{name: value}) for name in ("by", "note") for value in (1.5, "1.5")),
        *(partial(scaled, v) for v in ([1, 23], [12, 3], (1, 23), [1, [23]], [[1], 23])),
        *(partial(scaled, v) for v in (zeros, zeros.astype("int64"), zeros[None], zeros + 1)),
        partial(scaled, "by", 1.5),
        partial(scaled, {"by": 1.5}),
    ]
    found = [fingerprint(fn, name) for fn in different for name in ("numpy", "torch")]
    assert len(set(found)) == len(found)
    again = partial(scaled, note=Note(), by=np.zeros((2, 3)).T)
    same = partial(scaled, by=np.zeros((3, 2)), note=Note())
    assert fingerprint(again, "numpy") == fingerprint(same, "numpy")


def test_a_journal_of_another_version_is_refused(tmp_path):
    sink, path = np.memmap(tmp_path / "sink", float, "w+", shape=9), tmp_path / "journal"
    swath.map_blocks(SMOOTH, np.ones(9), sink, progress=False, journal=path)
    path.write_text(path.read_text().replace('{"swath_journal": 1', '{"swath_journal": 2'))
    with pytest.raises(ValueError, match="is not a journal of this version of swath"):
        swath.map_blocks(SMOOTH, np.ones(9), sink, progress=False, journal=path)


def test_a_journal_with_a_torn_line_can_be_gone_on_with_twice(tmp_path):
    x, sink = np.ones(40), np.memmap(tmp_path / "sink", float, "w+", shape=40)
    path, seen = tmp_path / "journal", []

    def fn(a):
        seen.append(len(a))
        return 2 * a

    def go():
        seen.clear()
        options = {"overlap": (0, 0), "block": 10, "progress": False, "journal": path}
        swath.map_blocks(fn, x, sink, **options)
        return seen

    assert go() == [10] * 4
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]) + lines[3][:9])
    assert go() == [10] * 2
    assert go() == []
    np.testing.assert_array_equal(sink, 2 * x)


def scaled(a, by, note=None):
    return a * by["gains"][2500]


def raised(a, by, note=None):
    return a + by["gains"][2500]


class Note:
    """An object whose text tells where it lies."""


def test_journal_knows_what_a_partial_holds(tmp_path):
    sink = np.memmap(tmp_path / "sink", float, "w+", shape=20)

    def go(gain, note, function=scaled):
        table = np.ones(5000)
        table[2500] = gain
        fn = partial(function, by={"gains": table}, note=[note])
        path = tmp_path / "journal"
        swath.map_blocks(fn, np.ones(20), sink, overlap=(0, 0), journal=path, progress=False)
        return sink[0]

    first, second = Note(), Note()
    assert go(2.0, first) == 2
    # Every run makes its own object.
    assert go(2.0, second) == 2
    with pytest.raises(ValueError, match="its function"):
        go(3.0, first)
    with pytest.raises(ValueError, match="its function"):
        go(2.0, first, raised)
