"""FIR filters over long signals, and a bank of long filters over a short clip."""

from __future__ import annotations

import numpy as np
import scipy.ndimage
import scipy.signal
from harness import Contender, Row, Trial, ours, transform_bound, window_bound
from libraries import put, ready

import swath

SAMPLES = 1_000_000
TAPS = (3, 31, 101, 1025)


def _filter(backend: str, taps: int) -> Trial:
    rng = np.random.default_rng(taps)
    x = rng.standard_normal(SAMPLES).astype(np.float32)
    h = rng.standard_normal(taps).astype(np.float32)
    wide, wide_h = x.astype(float), h.astype(float)
    exact = scipy.signal.oaconvolve(wide, wide_h, "same")
    window = window_bound("float32", taps, _positive(wide, wide_h)) + 1e-12
    transform = transform_bound("float32", 2 * SAMPLES, x, h)
    a, b = put(backend, x, h)
    op = swath.signal.convolve
    method = swath.plan(op, a, b, "same").method
    us = ours(ready(backend, lambda a, b: op(a, b, "same"), a, b), window, transform, method)
    return Trial(exact, us, _FILTERS[backend](a, b, taps, window, transform))


def _positive(x: np.ndarray, h: np.ndarray) -> np.ndarray:
    return np.maximum(0, scipy.signal.oaconvolve(np.abs(x), np.abs(h), "same"))


def _filter_numpy(x, h, taps, window, transform):
    half, full = (taps - 1) // 2, np.concatenate([x, np.zeros(taps // 2, np.float32)])
    one = np.ones(1, np.float32)
    return {
        "scipy oaconvolve": Contender(lambda: scipy.signal.oaconvolve(x, h, "same"), transform),
        # Causal: the padded signal gives the same points a little later.
        "scipy lfilter": Contender(lambda: scipy.signal.lfilter(h, one, full)[half:], window),
        "np.convolve": Contender(lambda: np.convolve(x, h, "same"), window),
        "scipy ndimage": Contender(
            lambda: scipy.ndimage.convolve1d(x, h, mode="constant"), window, "sums in float64"
        ),
    }


def _filter_torch(x, h, taps, window, transform):
    import torch

    w = torch.flip(h, (0,))[None, None]
    points = scipy.fft.next_fast_len(SAMPLES + taps - 1, real=True)
    half = (taps - 1) // 2

    def by_fft(x, h):
        product = torch.fft.rfft(x, points) * torch.fft.rfft(h, points)
        return torch.fft.irfft(product, points)[half : half + SAMPLES]

    def layer(x):
        return torch.nn.functional.conv1d(x[None, None], w, padding=taps // 2)[0, 0]

    return {
        "torch conv1d": Contender(ready("torch", layer, x), window),
        "torch.fft": Contender(ready("torch", by_fft, x, h), transform),
    }


def _filter_jax(x, h, taps, window, transform):
    import jax
    import jax.numpy as jnp

    return {
        "jnp.convolve": Contender(
            ready("jax", lambda x, h: jnp.convolve(x, h, "same", precision="highest"), x, h), window
        ),
        "jax fftconvolve": Contender(
            ready("jax", lambda x, h: jax.scipy.signal.fftconvolve(x, h, "same"), x, h), transform
        ),
    }


_FILTERS = {"numpy": _filter_numpy, "torch": _filter_torch, "jax": _filter_jax}

KEYS, LONG, CLIP = 88, 2048, 70_641


def _bank(backend: str) -> Trial:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, CLIP)).astype(np.float32)
    bank = rng.standard_normal((KEYS, LONG)).astype(np.float32)
    wide, wide_bank = x.astype(float), bank.astype(float)
    half = (LONG - 1) // 2
    cut = (slice(None), slice(half, half + CLIP))
    # SciPy's "same" would cut the result to the one channel of x.
    exact = scipy.signal.oaconvolve(wide, wide_bank, "full", axes=1)[cut]
    magnitude = scipy.signal.oaconvolve(abs(wide), abs(wide_bank), "full", axes=1)[cut]
    window = window_bound("float32", LONG, magnitude)
    transform = transform_bound("float32", 2 * CLIP, x, bank[:1]) * 1.1
    a, b = put(backend, x, bank)
    op = swath.signal.convolve
    method = swath.plan(op, a, b, "same", axes=1).method
    us = ours(
        ready(backend, lambda a, b: op(a, b, "same", axes=1), a, b), window, transform, method
    )
    points = scipy.fft.next_fast_len(CLIP + LONG - 1, real=True)

    def by_fft(fft):
        def run(a, b):
            product = fft.rfft(a, points) * fft.rfft(b, points)
            return fft.irfft(product, points)[cut]

        return Contender(ready(backend, run, a, b), transform)

    if backend == "numpy":
        peers = {
            "scipy oaconvolve": Contender(
                lambda: scipy.signal.oaconvolve(a, b, "full", axes=1)[cut], transform
            ),
            "scipy.fft": by_fft(scipy.fft),
        }
    elif backend == "torch":
        import torch

        w = torch.flip(b, (1,))[:, None]

        def layer(x):
            x = torch.nn.functional.pad(x[:, None], (LONG - 1 - half, half))
            return torch.nn.functional.conv1d(x, w)[0]

        peers = {
            "torch conv1d": Contender(ready("torch", layer, a), window),
            "torch.fft": by_fft(torch.fft),
        }
    else:
        import jax.numpy as jnp

        peers = {"jnp.fft": by_fft(jnp.fft)}
    return Trial(exact, us, peers)


def rows() -> list[Row]:
    """Filters on every library, then the bank."""
    libraries, op = ("numpy", "torch", "jax"), "signal.convolve"
    return [
        *(
            Row("fir", f"{n} taps x 1e6", lib, "float32", op, lambda b=lib, n=n: _filter(b, n))
            for n in TAPS
            for lib in libraries
        ),
        *(
            Row("fir", "bank 88x2048", lib, "float32", op, lambda b=lib: _bank(b))
            for lib in libraries
        ),
    ]
