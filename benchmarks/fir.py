"""FIR filters over long signals and their gradients, and a bank of long filters over a clip.

Backward is the gradient of signal and taps, without the forward.
"""

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
from libraries import BACKENDS, namespace, put, ready, scipy_part

import swath
from swath._backends import backend_of
from swath.geometry import Sliding, Span
from swath.sliding.plan import TRANSFORMS, choose
from swath.tuning import Product

# Signals, samples, taps, dtypes, marks.
FILTERS = (
    (1, 10**6, 3, ("float32",), ("quick",)),
    (1, 10**6, 31, ("float32", "float64"), ()),
    (1, 10**6, 101, ("float32", "float64"), ("quick",)),
    (1, 10**6, 1025, ("float32",), ("quick",)),
    (64, 10**5, 101, ("float32", "float64"), ()),
    (64, 10**5, 1025, ("float32",), ()),
    (1, 10**7, 257, ("float32",), ()),
    (1, 10**6, 10**5 + 1, ("float32",), ()),
)
# Of integers: dtypes, and the largest samples and taps, whose results the dtypes hold.
WHOLE = (("int16", 63, 5), ("int32", 2**15, 2**8))
BACKWARD = ((1, 10**6, 1025), (1, 10**6, 8193), (64, 10**5, 1025))
# Multiply-adds beyond which a peer that takes every product by itself runs for many seconds, and
# beyond which any sum of products does.
PATIENCE, LAST = 3e9, 2e10


@lru_cache(maxsize=1)
def _problem(signals: int, samples: int, taps: int, dtype: str) -> tuple[Any, ...]:
    """x, h, and in higher precision the result, its bounds and the usual error."""
    rng = np.random.default_rng(taps)
    shape = (samples,) if signals == 1 else (signals, samples)
    x = rng.standard_normal(shape).astype(dtype)
    h = rng.standard_normal(taps).astype(dtype)
    kernel = h if signals == 1 else h[None]
    wide, wide_h = x.astype(float), kernel.astype(float)
    if dtype == "float64":
        whole = np.atleast_2d(x).astype(np.longdouble)
        exact = np.stack([np.convolve(v, h.astype(np.longdouble), "same") for v in whole])
        exact = exact.reshape(shape).astype(float)  # an error of half a unit is within the bounds
    else:
        exact = scipy.signal.oaconvolve(wide, wide_h, "same", axes=-1)
    magnitude = scipy.signal.oaconvolve(abs(wide), abs(wide_h), "same", axes=-1)
    window = window_bound(dtype, taps, np.maximum(0, magnitude))
    one = x if signals == 1 else x[0]
    transform = 1.1 * transform_bound(dtype, 2 * samples, one, h)
    return x, h, exact, window, transform, typical_bound(dtype, taps, x, h)


def _filter(backend: str, signals: int, samples: int, taps: int, dtype: str) -> Trial:
    x, h, exact, window, transform, usual = _problem(signals, samples, taps, dtype)
    a, b = put(backend, x, h)
    op = swath.signal.convolve
    axes = {} if signals == 1 else {"axes": -1}
    method = swath.plan(op, a, b, "same", **axes).method
    us = ours(
        ready(backend, lambda a, b: op(a, b, "same", **axes), a, b), window, transform, method
    )
    us.typical = usual if us.allowed is window else None
    make = {"torch": _filter_torch, "jax": _filter_jax}.get(backend, _filter_scipy)
    peers = make(backend, a, b, window, transform)
    for peer in peers.values():
        if peer.allowed is window and peer.typical is None:
            peer.typical = usual
    return Trial(exact, us, peers, Work(2.0 * x.size * taps, 2 * x.nbytes))


def _filter_scipy(backend: str, x: Any, h: Any, window: Any, transform: Any) -> dict[str, Any]:
    signal, ndimage = scipy_part(backend, "signal"), scipy_part(backend, "ndimage")
    taps, k = h.shape[0], h if x.ndim == 1 else h[None]
    half = (taps - 1) // 2
    prefix = "cupyx" if backend == "cupy" else "scipy"
    found = {
        f"{prefix} oaconvolve": Contender(
            lambda: signal.oaconvolve(x, k, "same", axes=-1), transform, "FFT"
        )
    }
    if x.size * taps > LAST:
        found[f"{prefix} fftconvolve"] = Contender(
            lambda: signal.fftconvolve(x, k, "same", axes=-1), transform, "FFT"
        )
        return found
    found[f"{prefix} ndimage"] = Contender(
        lambda: ndimage.convolve1d(x, h, mode="constant"), window, "sums in float64"
    )
    if backend == "numpy":
        one = np.ones(1, x.dtype)
        full = np.concatenate([x, np.zeros((*x.shape[:-1], taps // 2), x.dtype)], axis=-1)
        # Causal: the padded signal gives the same points a little later.
        found["scipy lfilter"] = Contender(lambda: signal.lfilter(h, one, full)[..., half:], window)
    if x.ndim == 1:
        xp = namespace(backend)
        # CuPy's transforms, whatever the sizes.
        error, note = (transform, "FFT") if backend == "cupy" else (window, "")
        found["convolve"] = Contender(lambda: xp.convolve(x, h, "same"), error, note)
    return found


def _torch_by_fft(x: Any, h: Any) -> Any:
    import torch

    taps, samples = h.shape[0], x.shape[-1]
    points = scipy.fft.next_fast_len(samples + taps - 1, real=True)
    half = (taps - 1) // 2
    product = torch.fft.rfft(x, points) * torch.fft.rfft(h, points)
    return torch.fft.irfft(product, points)[..., half : half + samples]


def _torch_layer(x: Any, h: Any) -> Any:
    import torch

    w = torch.flip(h, (0,))[None, None]
    rows = x.reshape(-1, 1, x.shape[-1])
    return torch.nn.functional.conv1d(rows, w, padding=h.shape[0] // 2).reshape(x.shape)


def _filter_torch(backend: str, x: Any, h: Any, window: Any, transform: Any) -> dict[str, Any]:
    found = {"torch.fft": Contender(ready("torch", _torch_by_fft, x, h), transform, "FFT")}
    if x.numel() * h.shape[0] < PATIENCE:
        found["torch conv1d"] = Contender(ready("torch", _torch_layer, x, h), window)
    return found


def _jax_ways(rank: int) -> tuple[Any, Any]:
    """By FFT and by sums, of one signal or of each."""
    import jax
    import jax.numpy as jnp

    def each(fn):
        return fn if rank == 1 else jax.vmap(fn, (0, None))

    @each
    def by_fft(x, h):
        return jax.scipy.signal.fftconvolve(x, h, "same")

    @each
    def direct(x, h):
        return jnp.convolve(x, h, "same", precision="highest")

    return by_fft, direct


def _filter_jax(backend: str, x: Any, h: Any, window: Any, transform: Any) -> dict[str, Any]:
    by_fft, direct = _jax_ways(x.ndim)
    found = {"jax fftconvolve": Contender(ready("jax", by_fft, x, h), transform, "FFT")}
    if x.size * h.shape[0] < PATIENCE:
        found["jnp.convolve"] = Contender(ready("jax", direct, x, h), window)
    return found


@lru_cache(maxsize=1)
def _gradients(signals: int, samples: int, taps: int) -> tuple[Any, ...]:
    """x, h and a cotangent, and in float64 both gradients and their bounds, by sums and by FFT."""
    rng = np.random.default_rng(taps)
    shape = (samples,) if signals == 1 else (signals, samples)
    x, y = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    h = rng.standard_normal(taps).astype(np.float32)
    exact = _by_scipy(*(a.astype(float) for a in (x, h, y)))
    sizes = _by_scipy(*(abs(a.astype(float)) for a in (x, h, y)))
    counts = taps, x.size
    windows = [
        window_bound("float32", n, np.maximum(0, m)) for n, m in zip(counts, sizes, strict=True)
    ]
    pairs = ((y if signals == 1 else y[0], h), (x, y))
    transforms = [1.1 * transform_bound("float32", 2 * samples, *pair) for pair in pairs]
    usual = [
        typical_bound("float32", n, *pair) for n, pair in zip(counts, ((y, h), (x, y)), strict=True)
    ]
    return x, h, y, exact, tuple(windows), tuple(transforms), usual


def _by_scipy(x: Any, h: Any, y: Any, signal: Any = scipy.signal) -> tuple[Any, Any]:
    """Gradients of "same" convolution: signal and taps are turned round in turn."""
    taps, samples = h.shape[0], x.shape[-1]
    half = (taps - 1) // 2
    k = h if x.ndim == 1 else h[None]
    whole = signal.oaconvolve(y, k[..., ::-1], "full", axes=-1)
    begin = taps - 1 - half
    # Lags −half … taps − 1 − half of y against x.
    lags = signal.fftconvolve(y, x[..., ::-1], "full", axes=-1)
    middle = samples - 1 - half
    lags = lags[..., middle : middle + taps]
    return whole[..., begin : begin + samples], lags if x.ndim == 1 else lags.sum(axis=0)


def _backward(backend: str, signals: int, samples: int, taps: int) -> Trial:
    x, h, y, exact, windows, transforms, usual = _gradients(signals, samples, taps)
    arrays = put(backend, x, h, y)
    axes: dict[str, Any] = {} if signals == 1 else {"axes": -1}

    def op(x: Any, h: Any) -> Any:
        return swath.signal.convolve(x, h, "same", **axes)

    span = Span(samples, taps, low=taps // 2, high=taps // 2)
    be = backend_of(arrays[0])
    place = be.place(arrays[0])
    methods = [
        choose(
            Product(role, Sliding((span,)), signals, 1, 1, "float32").problem(be, place[1]), place
        )
        for role in "xw"
    ]
    spectral = [plan.method in TRANSFORMS for plan in methods]
    bounds = [
        transform if by_fft else window
        for by_fft, window, transform in zip(spectral, windows, transforms, strict=True)
    ]
    typical = [None if by_fft else one for by_fft, one in zip(spectral, usual, strict=True)]

    def by_sums(run: Any) -> Contender:
        return Contender(run, windows, typical=tuple(usual))

    peers: dict[str, Contender] = {}
    brief = x.size * taps < PATIENCE
    if backend == "torch":
        ours = _torch_pull(op, *arrays)
        peers["torch.fft"] = Contender(_torch_pull(_torch_by_fft, *arrays), transforms, "FFT")
        if brief:
            peers["torch conv1d"] = by_sums(_torch_pull(_torch_layer, *arrays))
    elif backend == "jax":
        ours = _jax_pull(op, arrays)
        by_fft, direct = _jax_ways(x.ndim)
        peers["jax fftconvolve"] = Contender(_jax_pull(by_fft, arrays), transforms, "FFT")
        if brief:
            peers["jnp.convolve"] = by_sums(_jax_pull(direct, arrays))
    else:
        _, pull = swath.vjp(swath.signal.convolve, *arrays[:2], "same", **axes)
        ours = lambda: pull(arrays[2])[:2]  # noqa: E731
        signal = scipy_part(backend, "signal")
        label = "cupyx by FFT" if backend == "cupy" else "scipy by FFT"
        peers[label] = Contender(lambda: _by_scipy(*arrays, signal), transforms, "FFT")
    us = Contender(ours, tuple(bounds), " ".join(p.method for p in methods), typical=tuple(typical))
    return Trial(exact, us, peers, Work(4.0 * x.size * taps, 3 * x.nbytes))


def _torch_pull(fn: Any, x: Any, h: Any, y: Any) -> Any:
    import torch

    leaves = [a.detach().clone().requires_grad_() for a in (x, h)]
    out = fn(*leaves)
    return lambda: torch.autograd.grad(out, leaves, y, retain_graph=True)


def _jax_pull(fn: Any, arrays: list[Any]) -> Any:
    import jax

    return ready("jax", lambda x, h, y: jax.vjp(fn, x, h)[1](y), *arrays)


KEYS, LONG, CLIP = 88, 2048, 70_641


@lru_cache(maxsize=1)
def _clip() -> tuple[Any, ...]:
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
    return x, bank, cut, exact, window, transform


def _bank(backend: str) -> Trial:
    x, bank, cut, exact, window, transform = _clip()
    a, b = put(backend, x, bank)
    op = swath.signal.convolve
    method = swath.plan(op, a, b, "same", axes=1).method
    us = ours(
        ready(backend, lambda a, b: op(a, b, "same", axes=1), a, b), window, transform, method
    )
    points = scipy.fft.next_fast_len(CLIP + LONG - 1, real=True)
    half = cut[1].start

    def by_fft(fft):
        def run(a, b):
            product = fft.rfft(a, points) * fft.rfft(b, points)
            return fft.irfft(product, points)[cut]

        return Contender(ready(backend, run, a, b), transform, "FFT")

    if backend == "torch":
        import torch

        w = torch.flip(b, (1,))[:, None]

        def layer(x):
            x = torch.nn.functional.pad(x[:, None], (LONG - 1 - half, half))
            return torch.nn.functional.conv1d(x, w)[0]

        peers = {
            "torch conv1d": Contender(ready("torch", layer, a), window),
            "torch.fft": by_fft(torch.fft),
        }
    elif backend == "jax":
        import jax.numpy as jnp

        peers = {"jnp.fft": by_fft(jnp.fft)}
    else:
        signal, fft = scipy_part(backend, "signal"), scipy_part(backend, "fft")
        peers = {
            "scipy oaconvolve": Contender(
                lambda: signal.oaconvolve(a, b, "full", axes=1)[cut], transform, "FFT"
            ),
            "scipy.fft": by_fft(fft),
        }
    work = Work(2.0 * KEYS * CLIP * LONG, x.nbytes + bank.nbytes + 4 * exact.size)
    return Trial(exact, us, peers, work)


def _integers(backend: str, dtype: str, most: tuple[int, int]) -> Trial:
    """10⁶ samples by 101 taps, equal in every bit."""
    rng = np.random.default_rng(101)
    x, h = (
        rng.integers(-m, m, n, dtype, endpoint=True)
        for m, n in zip(most, (10**6, 101), strict=True)
    )
    exact = np.convolve(x.astype(np.int64), h.astype(np.int64), "same").astype(float)
    a, b = put(backend, x, h)
    op = swath.signal.convolve
    method = swath.plan(op, a, b, "same").method
    us = Contender(ready(backend, lambda a, b: op(a, b, "same"), a, b), 0, method)
    peers: dict[str, Contender] = {}
    if backend == "torch":
        peers["torch conv1d"] = Contender(ready("torch", _torch_layer, a, b), 0)
    elif backend == "jax":
        _, direct = _jax_ways(1)
        allowed = window_bound("float32", 101, 101.0 * most[0] * most[1])
        peers["jnp.convolve"] = Contender(ready("jax", direct, a, b), allowed, "sums in float32")
    else:
        xp, ndimage = namespace(backend), scipy_part(backend, "ndimage")
        prefix = "cupyx" if backend == "cupy" else "scipy"
        peers["convolve"] = Contender(lambda: xp.convolve(a, b, "same"), 0)
        peers[f"{prefix} ndimage"] = Contender(
            lambda: ndimage.convolve1d(a, b, mode="constant"), 0, "sums in float64"
        )
    return Trial(exact, us, peers)


def rows() -> list[Row]:
    """Filters on every library, then the bank."""
    op = "signal.convolve"
    found = []
    for signals, samples, taps, dtypes, marks in FILTERS:
        name = f"{signals}x1e{len(str(samples)) - 1} {taps} taps"
        for dtype in dtypes:
            for lib in BACKENDS:
                problem = (signals, samples, taps, dtype)
                found.append(
                    Row(
                        "fir", name, lib, dtype, op, lambda b=lib, p=problem: _filter(b, *p),
                        marks if dtype == "float32" else (),
                    )
                )  # fmt: skip
    for signals, samples, taps in BACKWARD:
        name = f"{signals}x1e{len(str(samples)) - 1} {taps} taps backward"
        for lib in BACKENDS:
            problem = (signals, samples, taps)
            found.append(
                Row("fir", name, lib, "float32", op, lambda b=lib, p=problem: _backward(b, *p))
            )
    for dtype, *most in WHOLE:
        found += [
            Row(
                "fir", f"1x1e6 101 taps {dtype}", lib, dtype, op,
                lambda b=lib, d=dtype, m=tuple(most): _integers(b, d, m),
            )
            for lib in BACKENDS
        ]  # fmt: skip
    return found + [
        Row("fir", f"bank {KEYS}x{LONG}", lib, "float32", op, lambda b=lib: _bank(b))
        for lib in BACKENDS
    ]
