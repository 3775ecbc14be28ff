"""One-channel pictures: small and middling kernels."""

from __future__ import annotations

import numpy as np
import scipy.ndimage
import scipy.signal
from harness import Contender, Row, Trial, ours, transform_bound, window_bound
from libraries import put, ready

import swath

SIDE = 1024


def _filter(backend: str, side: int) -> Trial:
    rng = np.random.default_rng(side)
    x = rng.standard_normal((SIDE, SIDE)).astype(np.float32)
    k = rng.standard_normal((side, side)).astype(np.float32)
    wide, wide_k = x.astype(float), k.astype(float)
    exact = scipy.signal.oaconvolve(wide, wide_k, "same")
    magnitude = scipy.signal.oaconvolve(abs(wide), abs(wide_k), "same")
    window = window_bound("float32", side * side, np.maximum(0, magnitude)) + 1e-12
    transform = transform_bound("float32", 4 * SIDE * SIDE, x, k)
    a, b = put(backend, x, k)
    op = swath.signal.convolve
    method = swath.plan(op, a, b, "same").method
    us = ours(ready(backend, lambda a, b: op(a, b, "same"), a, b), window, transform, method)
    if backend == "numpy":
        peers = {
            "scipy oaconvolve": Contender(lambda: scipy.signal.oaconvolve(a, b, "same"), transform),
            "scipy convolve2d": Contender(lambda: scipy.signal.convolve2d(a, b, "same"), window),
            "scipy ndimage": Contender(
                lambda: scipy.ndimage.convolve(a, b, mode="constant"), window, "sums in float64"
            ),
        }
    elif backend == "torch":
        import torch

        w = torch.flip(b, (0, 1))[None, None]

        def layer(x):
            return torch.nn.functional.conv2d(x[None, None], w, padding=side // 2)[0, 0]

        peers = {"torch conv2d": Contender(ready("torch", layer, a), window)}
    else:
        import jax

        def convolve(a, b):
            return jax.scipy.signal.convolve(a, b, "same", method="direct", precision="highest")

        def by_fft(a, b):
            return jax.scipy.signal.fftconvolve(a, b, "same")

        peers = {
            "jax convolve": Contender(ready("jax", convolve, a, b), window),
            "jax fftconvolve": Contender(ready("jax", by_fft, a, b), transform),
        }
    return Trial(exact, us, peers)


def rows() -> list[Row]:
    """Two kernels on every library."""
    op = "signal.convolve"
    return [
        Row("image", f"{k}x{k} on 1024²", lib, "float32", op, lambda b=lib, k=k: _filter(b, k))
        for k in (3, 15)
        for lib in ("numpy", "torch", "jax")
    ]
