"""Layer convolutions with batch and channels, beside the networks' own kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from harness import Contender, Row, Trial, ours, window_bound
from libraries import installed, put, ready

import swath


@dataclass(frozen=True)
class Layer:
    """Shapes of one layer, channels first."""

    name: str
    x: tuple[int, int, int, int]
    w: tuple[int, int, int, int]
    stride: int
    padding: int


LAYERS = (
    Layer("64x56² 3x3, batch 4", (4, 64, 56, 56), (64, 64, 3, 3), 1, 1),
    Layer("3x224² 7x7 stride 2", (1, 3, 224, 224), (64, 3, 7, 7), 2, 3),
)


def _reference(x: np.ndarray, w: np.ndarray, layer: Layer) -> np.ndarray:
    """In float64 by windows and one tensor product."""
    p = layer.padding
    x = np.pad(x.astype(float), ((0, 0), (0, 0), (p, p), (p, p)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (2, 3))
    windows = windows[:, :, :: layer.stride, :: layer.stride]
    out = np.tensordot(windows, w.astype(float), axes=((1, 4, 5), (1, 2, 3)))
    return np.moveaxis(out, -1, 1)


def _layer(backend: str, layer: Layer) -> Trial:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(layer.x).astype(np.float32)
    w = rng.standard_normal(layer.w).astype(np.float32)
    exact = _reference(x, w, layer)
    window = window_bound("float32", int(np.prod(layer.w[1:])), _reference(abs(x), abs(w), layer))
    a, b = put(backend, x, w)
    s, p = layer.stride, layer.padding
    method = swath.plan(swath.nn.conv, a, b, stride=s, padding=p).method

    def run(a, b):
        return swath.nn.conv(a, b, stride=s, padding=p)

    us = ours(ready(backend, run, a, b), window, window, method)
    if backend == "torch":
        import torch

        def theirs(a, b):
            return torch.nn.functional.conv2d(a, b, stride=s, padding=p)

        peers = {"torch conv2d": Contender(ready("torch", theirs, a, b), window)}
    else:
        from jax import lax

        def theirs(a, b):
            return lax.conv_general_dilated(a, b, (s, s), [(p, p)] * 2, precision="highest")

        peers = {"lax.conv": Contender(ready("jax", theirs, a, b), window)}
    return Trial(exact, us, peers)


def rows() -> list[Row]:
    """Each layer on the libraries that have one of their own."""
    return [
        Row("layer", layer.name, lib, "float32", "nn.conv", lambda b=lib, n=layer: _layer(b, n))
        for layer in LAYERS
        for lib in ("torch", "jax")
        if installed(lib)
    ]
