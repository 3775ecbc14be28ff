"""Max pooling: windows that tile, and windows that overlap."""

from __future__ import annotations

import numpy as np
from harness import Contender, Row, Trial
from libraries import put, ready

import swath

SHAPE = (4, 64, 112, 112)


def _pool(backend: str, size: int, stride: int, padding: int) -> Trial:
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)

    def by_windows(x):
        pad = ((0, 0), (0, 0), (padding, padding), (padding, padding))
        x = np.pad(x, pad, constant_values=-np.inf) if padding else x
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
        return windows[:, :, ::stride, ::stride].max(axis=(-2, -1))

    exact = by_windows(x).astype(float)
    (a,) = put(backend, x)

    def run(a):
        return swath.nn.max_pool(a, (size, size), stride=stride, padding=padding)

    # Maxima are equal, bit for bit.
    us = Contender(ready(backend, run, a), 0.0)
    if backend == "numpy":
        peers = {"sliding_window_view": Contender(lambda: by_windows(a), 0.0)}
    elif backend == "torch":
        import torch

        def theirs(a):
            return torch.nn.functional.max_pool2d(a, size, stride, padding)

        peers = {"torch max_pool2d": Contender(ready("torch", theirs, a), 0.0)}
    else:
        from jax import lax

        def theirs(a):
            pad = ((0, 0), (0, 0), (padding, padding), (padding, padding))
            window, steps = (1, 1, size, size), (1, 1, stride, stride)
            return lax.reduce_window(a, -np.inf, lax.max, window, steps, pad)

        peers = {"lax.reduce_window": Contender(ready("jax", theirs, a), 0.0)}
    return Trial(exact, us, peers)


def rows() -> list[Row]:
    """Two pools on every library."""
    return [
        Row("pooling", name, lib, "float32", "nn.max_pool", lambda b=lib, s=setting: _pool(b, *s))
        for name, setting in (("2x2/2", (2, 2, 0)), ("3x3/2 pad 1", (3, 2, 1)))
        for lib in ("numpy", "torch", "jax")
    ]
