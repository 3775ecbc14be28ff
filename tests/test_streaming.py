"""FIRStream and fir_step: any chunking gives the result of one piece, on every backend."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import swath
from swath.signal import FIRStream, fir_step
from swath.testing import assert_close, check_adjoint, check_vjp

STEP = pytest.mark.op("signal.fir_step")
pytestmark = STEP


def cut(x, sizes, axis=-1):
    """x in consecutive pieces along an axis."""
    return np.split(x, np.cumsum(sizes)[:-1], axis=axis)


def streamed(xp, stream, chunks, axis=-1):
    """Everything a stream gives for some chunks of host data, joined on the host."""
    parts = [xp.numpy(stream.push(xp.asarray(chunk))) for chunk in chunks]
    parts.append(xp.numpy(stream.flush()))
    return np.concatenate(parts, axis=axis)


def same_bits(a, b):
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    assert a.tobytes() == b.tobytes()


# -- chunkings -------------------------------------------------------------------------------------


@pytest.mark.on("numpy", "strict")
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=8),
    taps=st.integers(1, 30),
    kind=st.sampled_from(["float32", "float64", "complex128"]),
    seed=st.integers(0, 2**16),
)
def test_any_chunking_gives_the_result_of_one_piece(xp, sizes, taps, kind, seed):
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    x, b = (
        (rng.standard_normal(k) + (1j * rng.standard_normal(k) if kind[0] == "c" else 0))
        for k in ((2, n), taps)
    )
    x, b = x.astype(kind), b.astype(kind)
    full = [np.convolve(row, b.astype(complex)) for row in x.astype(complex)] if n else []
    want = np.reshape(full, (2, n + taps - 1 if n else 0))
    size = np.reshape([np.convolve(abs(r), abs(b)) for r in x] if n else [], want.shape)
    eps = np.finfo(kind).eps
    for method in ("direct", "auto"):
        got = streamed(xp, FIRStream(xp.asarray(b, kind), method=method), cut(x, sizes))
        factor = 8 if kind[0] == "c" else 2
        assert_close(got, want if kind[0] == "c" else want.real, bound=factor * taps * eps * size)
        if method == "direct":
            same_bits(got, streamed(xp, FIRStream(xp.asarray(b, kind), method=method), [x]))


@pytest.mark.parametrize("sizes", [(3, 0, 5, 4), (1,) * 12, (12,)])
def test_chunks_on_every_backend(xp, rng, sizes):
    # Few lengths, as each compiles where programs are compiled.
    b, x = rng.standard_normal(4), rng.standard_normal((12, 2))
    want = scipy.signal.convolve(x, b[:, None])
    for method in ("direct", "auto"):
        stream = FIRStream(xp.asarray(b), axis=0, method=method)
        got = streamed(xp, stream, cut(x, sizes, 0), 0)
        assert_close(got, want.astype(xp.float), rtol=64 * xp.eps)
        if method == "direct":
            same_bits(got, streamed(xp, stream, [x], 0))


@pytest.mark.on("numpy", "strict", "dpnp", "torch")
@pytest.mark.parametrize("method", ["toeplitz", "fft", "overlap_save", "im2col"])
def test_every_method_streams(xp, rng, method):
    b, x = rng.standard_normal(7), rng.standard_normal((2, 60))
    stream = FIRStream(xp.asarray(b), method=method)
    got = streamed(xp, stream, cut(x, (1, 30, 0, 20, 9)))
    # The bound of a transform of all points holds for every method.
    bound = 4 * xp.eps * 11 * np.linalg.norm(x) * np.linalg.norm(b)
    assert_close(got, scipy.signal.convolve(x, b[None]), bound=bound)


# -- delay -----------------------------------------------------------------------------------------


@pytest.mark.on("numpy", "strict", "torch")
@pytest.mark.parametrize("taps", [1, 2, 5, 8])
@pytest.mark.parametrize("sizes", [(1,), (2, 1), (0, 9), (4, 4, 4), (0,)])
def test_compensated_is_the_middle_of_the_whole(xp, rng, taps, sizes):
    b = rng.standard_normal(taps)
    b, x = b + b[::-1], rng.standard_normal(sum(sizes))
    stream = FIRStream(xp.asarray(b), compensate=True)
    assert stream.delay == (taps - 1) / 2
    got = streamed(xp, stream, cut(x, sizes))
    assert got.shape == x.shape
    if x.size:
        full, delay = np.convolve(x, b), (taps - 1) // 2
        assert_close(got, full[delay : delay + x.size], rtol=256 * xp.eps)


@pytest.mark.on("numpy", "strict")
def test_delay_is_stated_for_linear_phase_only(xp):
    def delay(b):
        return FIRStream(xp.asarray(b)).delay

    assert delay([1, 2, 1]) == 1
    assert isinstance(delay([1, 2, 1]), int)
    assert delay([1.0, 0.5, -0.5, -1.0]) == 1.5
    assert delay([-1.0, -2.0, -1.0]) == 1
    assert delay([-1.0, -2.0, -5.0]) is None
    assert delay([1 + 1j, 3, 1 - 1j]) == 1
    assert delay([1 + 1j, 3, 1 + 1j]) is None
    assert delay([1.0, 2.0, 1.0 + 1e-6]) is None
    assert delay(scipy.signal.firwin(101, 0.3)) == 50
    # A constant phase delays nothing: a low-pass filter shifted in frequency stays of linear phase.
    assert delay([1 + 1j, 2 + 2j, 1 + 1j]) == 1
    assert delay([0j, 0j]) == 0.5
    for taps in (101, 1024):
        shifted = scipy.signal.firwin(taps, 0.3) * np.exp(0.7j * np.arange(taps))
        _, found = scipy.signal.group_delay((shifted, 1), [0.5, 0.7, 0.8])
        np.testing.assert_allclose(found, delay(shifted))
        assert delay(shifted + 1e-6 * np.arange(taps)) is None
    assert FIRStream([1.0, 2.0]).delay is None
    with pytest.raises(ValueError, match="compensate=True needs symmetric"):
        FIRStream(xp.asarray([1.0, 2.0]), compensate=True)


@pytest.mark.on("numpy", "strict")
def test_any_number_of_samples_can_be_taken_out(xp, rng):
    b, x = rng.standard_normal(5), rng.standard_normal(9)
    for shift in (0, 1, 4):
        got = streamed(xp, FIRStream(xp.asarray(b), compensate=shift), cut(x, (2, 3, 4)))
        assert_close(got, np.convolve(x, b)[shift : shift + 9], rtol=256 * xp.eps)


# -- state -----------------------------------------------------------------------------------------


def test_state_is_a_copy_and_flush_starts_anew(xp, rng):
    b, x = rng.standard_normal(3), rng.standard_normal((2, 4))
    stream = FIRStream(xp.asarray(b))
    assert stream.state is None
    first = xp.numpy(stream.push(xp.asarray(x)))
    assert_close(stream.state, x[:, 2:].astype(xp.float), rtol=0)
    stream.flush()
    assert stream.state is None
    same_bits(first, xp.numpy(stream.push(xp.asarray(x))))
    stream.reset()
    same_bits(first, xp.numpy(stream.push(xp.asarray(x))))


@pytest.mark.on("numpy", "torch")
def test_the_callers_buffer_may_be_filled_anew(xp, rng):
    b, x = rng.standard_normal(6), rng.standard_normal(12)
    for sizes in ((3, 3, 3, 3), (6, 6)):
        stream, buffer, parts = FIRStream(xp.asarray(b)), xp.asarray(np.zeros(sizes[0])), []
        for chunk in cut(x, sizes):
            buffer[...] = xp.asarray(chunk)
            parts.append(xp.numpy(stream.push(buffer)).copy())
            buffer[...] = np.nan
        assert_close(np.concatenate(parts), np.convolve(x, b)[:12], rtol=256 * xp.eps)


@pytest.mark.on("numpy", "jax", "torch")
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_goes_on_by_itself(xp, rng, copied):
    stream = FIRStream(xp.asarray(rng.standard_normal(4)))
    stream.push(xp.asarray(rng.standard_normal(5)))
    other, chunk = copied(stream), xp.asarray(rng.standard_normal(3))
    found = xp.numpy(other.push(chunk))
    other.reset()
    same_bits(xp.numpy(stream.push(chunk)), found)


@pytest.mark.on("numpy", "strict", "torch")
def test_dtypes_are_those_of_lfilter(xp):
    ints = xp.asarray([1, 2, 3], dtype="int32")
    for b in ([0.5, 0.5], xp.asarray([0.5, 0.5], "float32")):
        stream = FIRStream(b)
        y = stream.push(xp.asarray([1.0, 2.0], "float32"))
        assert_close(y, [0.5, 1.5], dtype="float32")
        assert_close(stream.push(ints), [1.5, 1.5, 2.5], dtype="float32")
    stream = FIRStream(xp.asarray([0.5, 0.5], "float32"))
    assert_close(stream.init(ints), np.zeros(1), dtype="float32")
    wide = xp.asarray([4.0])
    stream.push(xp.asarray([2.0], "float32"))
    assert_close(stream.push(wide), [3.0], dtype=xp.float)
    assert_close(stream.flush(), [2.0], dtype=xp.float)
    half = FIRStream(xp.asarray([0.5, 0.5], "float32")).push(xp.asarray([1j, 1.0], "complex64"))
    assert_close(half, [0.5j, 0.5 + 0.5j], dtype="complex64")


def test_nothing_pushed_and_nothing_in_a_chunk(xp):
    stream = FIRStream(xp.asarray([1.0, 2.0, 3.0]))
    assert tuple(stream.flush().shape) == (0,)
    assert tuple(stream.push(xp.asarray(np.zeros((2, 0)))).shape) == (2, 0)
    assert tuple(stream.flush().shape) == (2, 0)
    stream.push(xp.asarray(np.zeros((2, 0))))
    assert_close(stream.push(xp.asarray([[1.0], [2.0]])), [[1.0], [2.0]])
    assert_close(stream.flush(), [[2.0, 3.0], [4.0, 6.0]])
    single = FIRStream(xp.asarray([2.0]))
    assert_close(single.push(xp.asarray([1.0, 2.0])), [2.0, 4.0])
    assert tuple(single.flush().shape) == (0,)


def test_a_nan_leaves_the_state_after_the_last_tap(xp):
    stream = FIRStream(xp.asarray([1.0, 1.0, 1.0]), method="direct")
    x = np.array([1.0, np.nan, 1.0, 1.0])
    assert_close(stream.push(xp.asarray(x)), [1.0, np.nan, np.nan, np.nan])
    assert_close(stream.push(xp.asarray(np.ones(4))), [3.0, 3.0, 3.0, 3.0])


@pytest.mark.on("numpy")
def test_a_failed_push_changes_nothing(xp):
    stream = FIRStream([0.5, 0.5])
    stream.push(np.array([[1.0], [2.0]]))
    with pytest.raises(ValueError, match=r"FIRStream.push: chunk must have shape \(2, any\)"):
        stream.push(np.ones((3, 4)))
    with pytest.raises(TypeError, match=r"FIRStream.push: chunk must be numeric"):
        stream.push(np.ones((2, 4)) > 0)
    assert_close(stream.push(np.array([[3.0], [4.0]])), [[2.0], [3.0]])
    assert repr(stream) == "<FIRStream: 2 taps, axis -1, 2 samples pushed>"


@pytest.mark.on("numpy", "torch", "jax", "strict")
def test_a_bound_library_takes_host_chunks(xp, rng):
    b, x = rng.standard_normal(4), rng.standard_normal((2, 9))
    sw = swath.bind("array_api_strict" if xp.backend == "strict" else xp.backend)
    stream = sw.signal.FIRStream(b)
    kind = type(xp.asarray(x))
    parts = [stream.push(x[:, :5]), stream.push(x[:, 5:].tolist()), stream.flush()]
    assert all(isinstance(part, kind) for part in parts)
    joined = np.concatenate([sw.to_numpy(part) for part in parts], axis=1)
    assert_close(joined, scipy.signal.convolve(x, b[None]), rtol=256 * xp.eps)
    assert isinstance(stream.step(stream.init(x), x)[1], kind)


# -- inside transformations ------------------------------------------------------------------------


@pytest.mark.on("jax", "jax-x32")
def test_step_is_the_body_of_scan_and_differentiates(xp, rng):
    import jax
    from jax import numpy as jnp

    b, x = rng.standard_normal(4), rng.standard_normal((5, 2, 3))  # five chunks of 2 × 3
    ct = rng.standard_normal((2, 15))

    @jax.jit
    def run(b, x):
        stream = FIRStream(b)
        assert stream.delay == 1.5  # unknown taps count as symmetric
        state, ys = jax.lax.scan(stream.step, stream.init(x[0]), x)
        return state, jnp.reshape(jnp.moveaxis(ys, 0, 1), (2, 15))

    whole = np.reshape(np.moveaxis(x, 0, 1), (2, 15))
    state, y = run(xp.asarray(b), xp.asarray(x))
    assert_close(y, scipy.signal.lfilter(b, 1, whole), rtol=256 * xp.eps)
    assert_close(state, whole[:, -3:].astype(xp.float), rtol=0)

    @jax.jit
    def gradients(b, x):
        return jax.grad(lambda b, x: jnp.sum(run(b, x)[1] * xp.asarray(ct)), (0, 1))(b, x)

    db, dx = gradients(xp.asarray(b), xp.asarray(x))
    # ∂/∂b_k Σ ct[n] x[n − k], and the same with the roles exchanged.
    assert_close(db, [np.sum(ct[:, k:] * whole[:, : 15 - k]) for k in range(4)], rtol=256 * xp.eps)
    turned = scipy.signal.lfilter(b, 1, ct[:, ::-1])[:, ::-1]
    assert_close(np.reshape(np.moveaxis(xp.numpy(dx), 0, 1), (2, 15)), turned, rtol=256 * xp.eps)


@pytest.mark.on("torch")
def test_torch_differentiates_through_chunks(xp, rng):
    b, x = rng.standard_normal(3), rng.standard_normal(7)
    taps, signal = xp.asarray(b).requires_grad_(), xp.asarray(x).requires_grad_()
    stream = FIRStream(taps)
    parts = [stream.push(signal[:2]), stream.push(signal[2:]), stream.flush()]
    ct = rng.standard_normal(9)
    (xp.concat(parts) * xp.asarray(ct)).sum().backward()
    assert_close(taps.grad, np.correlate(ct, x, "valid"), rtol=256 * xp.eps)
    assert_close(signal.grad, np.correlate(ct, b, "valid"), rtol=256 * xp.eps)


def test_derivatives_of_a_step(xp, rng):
    b, chunk = xp.asarray(rng.standard_normal(3)), xp.asarray(rng.standard_normal((2, 4)))
    state = xp.asarray(rng.standard_normal((2, 2)))
    check_vjp(fir_step, b, state, chunk)
    check_adjoint(fir_step, b, state, chunk)
    _, pullback = swath.vjp(fir_step, b, state, chunk)
    assert pullback(xp.asarray(np.ones((2, 4))))[1].shape == state.shape


@pytest.mark.on("numpy")
def test_plan_of_a_step_follows_the_length_of_the_chunk(xp):
    b = np.ones(101)
    assert swath.plan(fir_step, b, None, np.ones((64, 1000))).method == "toeplitz"
    assert swath.plan(fir_step, b, None, np.ones(1), method="direct").method == "direct"


@pytest.mark.on("numpy")
def test_a_long_recording_takes_no_memory(xp, record_property):
    """Ten minutes of the benchmark's day: right, and no growth; its speed is only told."""
    folder = Path(__file__).parents[1] / "benchmarks"
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    code = "import stream; print(*stream.stream_recording(1 / 6, 'float32').values())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, **one},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    chunks, checked, *_, times, growth = map(float, done.stdout.split())
    assert (chunks, checked > 10) == (600, True)
    record_property("note", f"FIRStream: 64 channels at {times:.0f} times real time")
    assert growth < 50
