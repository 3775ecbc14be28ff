"""Filtering in chunks, spectrograms, and a day of recording.

The rows run beside peers as all others do. Alone,

    python benchmarks/stream.py [--hours 24] [--dtype float32] [--threads 1]

streams a made recording of 64 channels at 1 kHz through a filter of 101 taps in chunks of a second,
checks some chunks against SciPy in float64, and prints how many times faster than real time that
was and how much the process has grown.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import scipy.signal
from harness import EPS, Contender, Row, Trial, Work, to_numpy, window_bound
from libraries import BACKENDS, namespace, put, ready, scipy_part

import swath

CHANNELS, CHUNK, TAPS = 64, 1000, 101  # of the recording of a day
# Chunks, channels and samples of a chunk.
STREAMS = ((64, 1, 256), (16, 1, 4096), (30, CHANNELS, CHUNK))
SAMPLES, FRAME, HOP = 10_000_000, 1024, 256


def _chunks(backend: str, count: int, channels: int, size: int) -> Trial:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, channels, size)).astype(np.float32)
    b = rng.standard_normal(TAPS).astype(np.float32)
    whole = np.concatenate(list(x.astype(float)), axis=1)
    exact = scipy.signal.lfilter(b.astype(float), 1.0, whole)
    magnitude = scipy.signal.lfilter(abs(b.astype(float)), 1.0, abs(whole))
    bound = window_bound("float32", TAPS, magnitude)
    (taps, *chunks) = put(backend, b, *x)
    method = swath.plan(swath.signal.fir_step, taps, None, chunks[0]).method
    make = {"torch": _stream_torch, "jax": _stream_jax}.get(backend)
    if make is None:
        ours, peers = _stream_scipy(backend, taps, chunks, bound)
    else:
        ours, peers = make(taps, chunks, bound)
    work = Work(2.0 * TAPS * exact.size, 2 * x.nbytes)
    return Trial(exact, Contender(ours, bound, method), peers, work)


def _pushed(taps, chunks):
    stream = swath.signal.FIRStream(taps)
    return [stream.push(chunk) for chunk in chunks]


def _stream_scipy(backend, taps, chunks, bound):
    xp, signal = namespace(backend), scipy_part(backend, "signal")
    (one,) = put(backend, np.ones(1, np.float32))

    def theirs():
        state, parts = xp.zeros((chunks[0].shape[0], TAPS - 1), xp.float32), []
        for chunk in chunks:
            y, state = signal.lfilter(taps, one, chunk, zi=state)
            parts.append(y)
        return xp.concatenate(parts, axis=1)

    return lambda: xp.concatenate(_pushed(taps, chunks), axis=1), {
        "lfilter": Contender(theirs, bound)
    }


def _stream_torch(taps, chunks, bound):
    import torch

    w = torch.flip(taps, (0,))[None, None]

    def theirs():
        past, parts = chunks[0].new_zeros(chunks[0].shape[0], TAPS - 1), []
        for chunk in chunks:
            joined = torch.cat([past, chunk], dim=1)
            parts.append(torch.nn.functional.conv1d(joined[:, None], w)[:, 0])
            past = joined[:, -(TAPS - 1) :]
        return torch.cat(parts, dim=1)

    def ours():
        return torch.cat(_pushed(taps, chunks), dim=1)

    return ready("torch", ours), {"torch conv1d": Contender(ready("torch", theirs), bound)}


def _stream_jax(taps, chunks, bound):
    from jax import lax
    from jax import numpy as jnp

    x = jnp.stack(chunks)

    def scanned(step, b, x):
        _, ys = lax.scan(step, jnp.zeros((x.shape[1], TAPS - 1), jnp.float32), x)
        return jnp.reshape(jnp.moveaxis(ys, 0, 1), (x.shape[1], -1))

    def ours(b, x):
        return scanned(swath.signal.FIRStream(b).step, b, x)

    def theirs(b, x):
        def step(past, chunk):
            joined = jnp.concatenate([past, chunk], axis=1)
            kernel = jnp.flip(b)[None, None]
            y = lax.conv_general_dilated(
                joined[:, None], kernel, (1,), [(0, 0)], precision=lax.Precision.HIGHEST
            )
            return joined[:, -(TAPS - 1) :], y[:, 0]

        return scanned(step, b, x)

    peer = Contender(ready("jax", theirs, taps, x), bound)
    return ready("jax", ours, taps, x), {"lax.conv in a scan": peer}


def _stft(backend: str) -> Trial:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(SAMPLES).astype(np.float32)
    given = {"window": "hann", "nperseg": FRAME, "noverlap": FRAME - HOP, "boundary": None,
             "padded": False}  # fmt: skip
    exact = scipy.signal.stft(x.astype(float), **given)[2]
    w = scipy.signal.get_window("hann", FRAME)
    # ‖frame‖₂ of any frame is at most √n times its largest sample.
    bound = 4 * EPS["float32"] * np.log2(FRAME) * np.sqrt(FRAME) * np.abs(x).max() / w.sum()
    (a,) = put(backend, x)

    def run(a):
        return swath.signal.stft(a, **given)[2]

    us = Contender(ready(backend, run, a), bound)
    if backend == "torch":
        import torch

        (window,) = put("torch", (w / w.sum()).astype(np.float32))

        def theirs(a):
            return torch.stft(a, FRAME, HOP, window=window, center=False, return_complex=True)

        peers = {"torch.stft": Contender(ready("torch", theirs, a), bound)}
    elif backend == "jax":
        import jax

        def theirs(a):
            return jax.scipy.signal.stft(a, **given)[2]

        peers = {"jax.scipy stft": Contender(ready("jax", theirs, a), bound)}
    else:
        signal = scipy_part(backend, "signal")
        peers = {"stft": Contender(lambda: signal.stft(a, **given)[2], bound)}
    # By its definition a real transform of n points takes 2.5·n·log2(n); reads overlap.
    work = Work(2.5 * exact.size * 2 * np.log2(FRAME), x.nbytes + 8 * exact.size)
    return Trial(exact, us, peers, work)


def rows() -> list[Row]:
    """Chunks and transforms on every library."""
    found = []
    for count, channels, size in STREAMS:
        name = f"stream {count} chunks {channels}x{size}"
        found += [
            Row(
                "fir", name, lib, "float32", "signal.fir_step",
                lambda b=lib, s=(count, channels, size): _chunks(b, *s),
            )
            for lib in BACKENDS
        ]  # fmt: skip
    return found + [
        Row("spectral", f"stft {FRAME}/{HOP} x 1e7", lib, "float32", "signal.stft",
            lambda b=lib: _stft(b))
        for lib in BACKENDS
    ]  # fmt: skip


# -- a day -----------------------------------------------------------------------------------------


def resident() -> float:
    """MB of memory that the process holds now (where Linux tells it), else at most so far."""
    import resource

    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def stream_recording(hours: float, dtype: str) -> dict[str, float]:
    """Push a recording chunk by chunk; seconds inside of `push`, growth, chunks checked.

    Chunks are pieces of one block of noise, each from another place: making them costs nothing, and
    no chunk is like the one before.
    """
    rng = np.random.default_rng(2)
    block = rng.standard_normal((CHANNELS, 50 * CHUNK)).astype(dtype)
    b = scipy.signal.firwin(TAPS, 40.0, fs=1000.0).astype(dtype)
    stream = swath.signal.FIRStream(b)
    count = max(2, round(hours * 3600))
    starts = rng.integers(0, 49 * CHUNK, count)
    watched = set(rng.integers(1, count, 20).tolist())

    def chunk(i: int) -> np.ndarray:
        return block[:, starts[i] : starts[i] + CHUNK]

    spent = cpu = held = 0.0
    for i in range(count):
        x = chunk(i)
        began, burnt = time.perf_counter(), time.process_time()
        y = stream.push(x)
        spent += time.perf_counter() - began
        cpu += time.process_time() - burnt
        if i in watched:
            past = np.concatenate([chunk(i - 1), x], axis=1).astype(float)
            exact = scipy.signal.lfilter(b.astype(float), 1.0, past)[:, CHUNK:]
            bound = window_bound(dtype, TAPS, np.abs(past).max() * np.abs(b.astype(float)).sum())
            assert np.abs(to_numpy(y) - exact).max() <= bound, f"chunk {i} is wrong"
        if i == min(100, count // 2):
            held = resident()
    return {
        "chunks": count,
        "checked": len(watched),
        "seconds": spent,
        "cpu_seconds": cpu,
        "times_real_time": count / spent,
        "growth_mb": resident() - held,
    }


def main() -> int:
    """Stream, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=24.0, help="length of the recording")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--threads", type=int, default=1, help="cores and threads (default 1)")
    asked = parser.parse_args()
    from run import settled

    settled(asked.threads)
    found = stream_recording(asked.hours, asked.dtype)
    print(
        f"{found['chunks']} chunks of {CHANNELS} x {CHUNK} samples, {TAPS} taps, {asked.dtype}, "
        f"{asked.threads} thread(s): {found['seconds']:.1f} s "
        f"({found['cpu_seconds']:.1f} s of processor time), "
        f"{found['times_real_time']:.0f} times real time, memory grew by "
        f"{found['growth_mb']:.1f} MB, {found['checked']} chunks equal SciPy's"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
