"""Data in blocks: map_blocks beside a loop over the same files, Dask beside map_overlap."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import scipy.signal
from harness import Contender, Row, Trial, transform_bound, window_bound

import swath
from swath.sliding.plan import TRANSFORMS

SAMPLES, TAPS, BLOCK = 8_000_000, 101, 1_000_000
# Kept until the process ends: rows hold maps of its files.
_FOLDER = tempfile.TemporaryDirectory()


def _file(backend: str) -> Trial:
    folder = Path(_FOLDER.name)
    rng = np.random.default_rng(0)
    source = np.memmap(folder / f"in-{backend}", np.float32, "w+", shape=SAMPLES)
    source[...] = rng.standard_normal(SAMPLES, dtype=np.float32)
    sink = np.memmap(folder / f"out-{backend}", np.float32, "w+", shape=SAMPLES)
    h = rng.standard_normal(TAPS).astype(np.float32)
    wide, wide_h = source.astype(float), h.astype(float)
    exact = scipy.signal.oaconvolve(wide, wide_h, "same")
    magnitude = scipy.signal.oaconvolve(abs(wide), abs(wide_h), "same")
    window = window_bound("float32", TAPS, magnitude)
    transform = transform_bound("float32", 2 * BLOCK, source[:BLOCK], h) * 1.1
    fn = functools.partial(swath.signal.convolve, in2=h, mode="same")
    library = swath.bind(backend)
    taps = library.asarray(h)

    def ours():
        return swath.map_blocks(fn, source, sink, backend=backend, block=BLOCK, progress=False)

    def loop(filtered):
        """Blocks with half a kernel on both sides; zeros beyond the ends."""
        half = TAPS // 2
        for first in range(0, SAMPLES, BLOCK):
            last = min(first + BLOCK, SAMPLES)
            start, stop = max(0, first - half), min(SAMPLES, last + half)
            block = np.asarray(source[start:stop])
            block = np.pad(block, (start - first + half, last + half - stop))
            sink[first:last] = filtered(block)
        sink.flush()
        return sink

    def by_swath(block):
        out = swath.signal.convolve(library.asarray(block), taps, "valid")
        return library.to_numpy(out)

    def by_scipy(block):
        return scipy.signal.oaconvolve(block, h, "valid")

    method = swath.plan(swath.signal.convolve, library.asarray(source[:BLOCK]), taps, "same").method
    bound = transform if method in TRANSFORMS else window
    return Trial(
        exact,
        Contender(ours, bound, method),
        {
            "loop over swath": Contender(lambda: loop(by_swath), bound),
            "loop over oaconvolve": Contender(lambda: loop(by_scipy), transform),
        },
    )


def _chunked() -> Trial:
    import dask.array as da

    rng = np.random.default_rng(0)
    x = rng.standard_normal(SAMPLES, dtype=np.float32)
    h = rng.standard_normal(TAPS).astype(np.float32)
    lazy, taps = da.from_array(x, chunks=BLOCK), da.from_array(h)
    wide, wide_h = x.astype(float), h.astype(float)
    exact = scipy.signal.oaconvolve(wide, wide_h, "same")
    magnitude = scipy.signal.oaconvolve(abs(wide), abs(wide_h), "same")

    def filtered(block):
        return scipy.signal.oaconvolve(block, h, "same")

    def overlapped():
        return da.map_overlap(filtered, lazy, depth=TAPS // 2, boundary=0, dtype=x.dtype)

    return Trial(
        exact,
        Contender(
            lambda: swath.signal.convolve(lazy, taps, "same").compute(),
            window_bound("float32", TAPS, magnitude),
            swath.plan(swath.signal.convolve, x[:BLOCK], h, "same").method,
        ),
        {
            "map_overlap of oaconvolve": Contender(
                lambda: overlapped().compute(), transform_bound("float32", 2 * BLOCK, x[:BLOCK], h)
            )
        },
    )


def rows() -> list[Row]:
    """One file through every library, one array through Dask."""
    name = f"{TAPS} taps x {SAMPLES:.0e}, file".replace("e+0", "e")
    lazy = f"{TAPS} taps x {SAMPLES:.0e}, Dask".replace("e+0", "e")
    return [
        Row("blocks", name, lib, "float32", "signal.convolve", lambda b=lib: _file(b))
        for lib in ("numpy", "torch", "jax")
    ] + [Row("blocks", lazy, "numpy", "float32", "signal.convolve", _chunked)]
