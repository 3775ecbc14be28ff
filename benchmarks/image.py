"""One channel: pictures, volumes, and kernels given as a product of one-dimensional ones."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
import scipy.signal
from harness import (
    Contender,
    Row,
    Trial,
    Work,
    ours,
    transform_bound,
    typical_bound,
    window_bound,
)
from libraries import BACKENDS, put, ready, scipy_part

import swath

# Shape and side of the kernel; 512³ is 128³ to 256³ here, so that a run takes minutes.
PROBLEMS = (
    ((1024, 1024), 3, ("quick",)),
    ((1024, 1024), 7, ()),
    ((1024, 1024), 15, ("quick",)),
    ((1024, 1024), 31, ()),
    ((1024, 1024), 63, ()),
    ((256, 256, 256), 3, ()),
    ((128, 128, 128), 9, ()),
)
# Of bytes: sides of kernels of zeros and ones, and the brightest pixel that keeps sums in range.
BYTES = ((7, 5), (15, 1))
SEPARABLE = (15, 63)
# Multiply-adds beyond which a peer that takes every product by itself runs for many seconds.
PATIENCE = 1.1e9


@lru_cache(maxsize=1)
def _problem(shape: tuple[int, ...], side: int) -> tuple[Any, ...]:
    """x, k, and in float64 the result, its bounds and the usual error."""
    rng = np.random.default_rng(side)
    x = rng.standard_normal(shape).astype(np.float32)
    k = rng.standard_normal((side,) * len(shape)).astype(np.float32)
    wide, wide_k = x.astype(float), k.astype(float)
    exact = scipy.signal.oaconvolve(wide, wide_k, "same")
    magnitude = scipy.signal.oaconvolve(abs(wide), abs(wide_k), "same")
    window = window_bound("float32", k.size, np.maximum(0, magnitude))
    transform = transform_bound("float32", 4 * x.size, x, k)
    return x, k, exact, window, transform, typical_bound("float32", k.size, x, k)


def _filter(backend: str, shape: tuple[int, ...], side: int) -> Trial:
    x, k, exact, window, transform, usual = _problem(shape, side)
    a, b = put(backend, x, k)
    op = swath.signal.convolve
    method = swath.plan(op, a, b, "same").method
    us = ours(ready(backend, lambda a, b: op(a, b, "same"), a, b), window, transform, method)
    us.typical = usual if us.allowed is window else None
    patient = x.size * k.size < PATIENCE
    make = {"torch": _torch, "jax": _jax}.get(backend, _scipy)
    peers = make(backend, a, b, window, transform, patient)
    for peer in peers.values():
        peer.typical = usual if peer.allowed is window else None
    return Trial(exact, us, peers, Work(2.0 * x.size * k.size, 2 * x.nbytes))


def _scipy(backend: str, x: Any, k: Any, window: Any, transform: Any, patient: bool) -> Any:
    signal, ndimage = scipy_part(backend, "signal"), scipy_part(backend, "ndimage")
    prefix = "cupyx" if backend == "cupy" else "scipy"
    found = {
        f"{prefix} oaconvolve": Contender(
            lambda: signal.oaconvolve(x, k, "same"), transform, "FFT"
        ),
        f"{prefix} fftconvolve": Contender(
            lambda: signal.fftconvolve(x, k, "same"), transform, "FFT"
        ),
    }
    if patient:
        found[f"{prefix} ndimage"] = Contender(
            lambda: ndimage.convolve(x, k, mode="constant"), window, "sums in float64"
        )
        if x.ndim == 2:
            found[f"{prefix} convolve2d"] = Contender(
                lambda: signal.convolve2d(x, k, "same"), window
            )
    return found


def _torch(backend: str, x: Any, k: Any, window: Any, transform: Any, patient: bool) -> Any:
    import torch

    axes = tuple(range(x.ndim))
    w = torch.flip(k, axes)[None, None]
    side = k.shape[0]
    points = [scipy.fft.next_fast_len(n + side - 1, real=True) for n in x.shape]
    cut = tuple(slice(side // 2, side // 2 + n) for n in x.shape)
    conv = getattr(torch.nn.functional, f"conv{x.ndim}d")

    def layer(x):
        return conv(x[None, None], w, padding=side // 2)[0, 0]

    def by_fft(x, k):
        product = torch.fft.rfftn(x, points) * torch.fft.rfftn(k, points)
        return torch.fft.irfftn(product, points)[cut]

    found = {"torch.fft": Contender(ready("torch", by_fft, x, k), transform, "FFT")}
    if patient or side <= 31:
        found[f"torch conv{x.ndim}d"] = Contender(ready("torch", layer, x), window)
    return found


def _jax(backend: str, x: Any, k: Any, window: Any, transform: Any, patient: bool) -> Any:
    import jax

    def direct(a, b):
        return jax.scipy.signal.convolve(a, b, "same", method="direct", precision="highest")

    def by_fft(a, b):
        return jax.scipy.signal.fftconvolve(a, b, "same")

    found = {"jax fftconvolve": Contender(ready("jax", by_fft, x, k), transform, "FFT")}
    if patient:
        found["jax convolve"] = Contender(ready("jax", direct, x, k), window)
    return found


def _bytes(backend: str, side: int, most: int) -> Trial:
    """1024² bytes, equal in every bit."""
    rng = np.random.default_rng(side)
    x = rng.integers(0, most, (1024, 1024), np.uint8, endpoint=True)
    k = rng.integers(0, 1, (side, side), np.uint8, endpoint=True)
    exact = np.rint(scipy.signal.oaconvolve(x.astype(float), k.astype(float), "same"))
    a, b = put(backend, x, k)
    op = swath.signal.convolve
    method = swath.plan(op, a, b, "same").method
    us = Contender(ready(backend, lambda a, b: op(a, b, "same"), a, b), 0, method)
    peers: dict[str, Contender] = {}
    if backend == "torch":
        import torch

        w = torch.flip(b, (0, 1))[None, None]
        layer = torch.nn.functional.conv2d
        peers["torch conv2d"] = Contender(
            ready("torch", lambda x: layer(x[None, None], w, padding=side // 2)[0, 0], a), 0
        )
    elif backend == "jax":
        import jax

        def direct(a, b):
            return jax.scipy.signal.convolve(a, b, "same", method="direct")

        peers["jax convolve"] = Contender(ready("jax", direct, a, b), 0)
    else:
        signal, ndimage = scipy_part(backend, "signal"), scipy_part(backend, "ndimage")
        prefix = "cupyx" if backend == "cupy" else "scipy"
        peers[f"{prefix} ndimage"] = Contender(
            lambda: ndimage.convolve(a, b, mode="constant"), 0, "sums in float64"
        )
        peers[f"{prefix} convolve2d"] = Contender(lambda: signal.convolve2d(a, b, "same"), 0)
    return Trial(exact, us, peers)


# -- separable -------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _given(side: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(side)
    x = rng.standard_normal((1024, 1024)).astype(np.float32)
    down, across = rng.standard_normal((2, side)).astype(np.float32)

    def twice(x: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        y = scipy.signal.oaconvolve(x, v[None], "same", axes=1)
        return scipy.signal.oaconvolve(y, u[:, None], "same", axes=0)

    wide = [v.astype(float) for v in (x, down, across)]
    magnitude = np.maximum(0, twice(*map(abs, wide)))
    window = window_bound("float32", 2 * side, magnitude)
    # Row by row, then down the columns of the result, which carry the first error on.
    row = x[np.argmax(np.linalg.norm(x, axis=1))]
    first = transform_bound("float32", 2048, row, across)
    between = scipy.signal.oaconvolve(wide[0], wide[2][None], "same", axes=1)
    column = between[:, np.argmax(np.linalg.norm(between, axis=0))]
    transform = first * np.abs(down).sum() + transform_bound("float32", 2048, column, down)
    return x, down, across, twice(*wide), window, transform


def _separable(backend: str, side: int) -> Trial:
    x, down, across, exact, bound, transform = _given(side)
    a, u, v = put(backend, x, down, across)
    op = swath.signal.convolve

    def fn(a, u, v):
        return op(op(a, v, "same", axes=1), u, "same", axes=0)

    method = swath.plan(op, a, v, "same", axes=1).method
    us = Contender(ready(backend, fn, a, u, v), bound, method)
    if backend == "torch":
        import torch

        w = [torch.flip(k, (0,)) for k in (u, v)]

        def layers(x):
            y = torch.nn.functional.conv2d(
                x[None, None], w[1][None, None, None], padding=(0, side // 2)
            )
            return torch.nn.functional.conv2d(y, w[0][None, None, :, None], padding=(side // 2, 0))[
                0, 0
            ]

        peers = {"torch conv2d twice": Contender(ready("torch", layers, a), bound)}
    elif backend == "jax":
        import jax

        def both(x, u, v):
            conv = jax.scipy.signal.convolve
            y = conv(x, v[None], "same", method="direct", precision="highest")
            return conv(y, u[:, None], "same", method="direct", precision="highest")

        peers = {"jax convolve twice": Contender(ready("jax", both, a, u, v), bound)}
    else:
        signal, ndimage = scipy_part(backend, "signal"), scipy_part(backend, "ndimage")

        def filtered():
            y = ndimage.convolve1d(a, v, axis=1, mode="constant")
            return ndimage.convolve1d(y, u, axis=0, mode="constant")

        def overlapped():
            y = signal.oaconvolve(a, v[None], "same", axes=1)
            return signal.oaconvolve(y, u[:, None], "same", axes=0)

        peers = {
            "ndimage convolve1d twice": Contender(filtered, bound, "sums in float64"),
            "oaconvolve twice": Contender(overlapped, transform, "FFT"),
        }
    return Trial(exact, us, peers, Work(4.0 * x.size * side, 4 * x.nbytes))


def rows() -> list[Row]:
    """Pictures, volumes, and separable kernels on every library."""
    op = "signal.convolve"
    found = []
    for shape, side, marks in PROBLEMS:
        rank = len(shape)
        power = {2: "²", 3: "³"}[rank]
        name = f"{side}{power} on {shape[0]}{power}"
        for lib in BACKENDS:
            found.append(
                Row(
                    "image", name, lib, "float32", op,
                    lambda b=lib, n=shape, k=side: _filter(b, n, k), marks,
                )
            )  # fmt: skip
    for side, most in BYTES:
        found += [
            Row(
                "image", f"{side}² on 1024² uint8", lib, "uint8", op,
                lambda b=lib, k=side, m=most: _bytes(b, k, m),
            )
            for lib in BACKENDS
        ]  # fmt: skip
    for side in SEPARABLE:
        found += [
            Row(
                "image", f"separable {side}² on 1024²", lib, "float32", op,
                lambda b=lib, k=side: _separable(b, k),
            )
            for lib in BACKENDS
        ]  # fmt: skip
    return found
