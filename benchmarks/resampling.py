"""Changes of rate by rational factors, and filtering without delay, on long signals."""

from __future__ import annotations

import numpy as np
import scipy.signal
from harness import Contender, Row, Trial, Work, window_bound
from libraries import BACKENDS, put, ready, scipy_part

import swath

SAMPLES = 1_000_000
RATES = ((2, 3), (160, 147))
TAPS = 101


def _inputs(p: int, q: int) -> tuple[np.ndarray, np.ndarray]:
    """A signal, and the taps that resample_poly designs."""
    x = np.random.default_rng(p).standard_normal(SAMPLES).astype(np.float32)
    top = max(p, q)
    return x, (p * scipy.signal.firwin(20 * top + 1, 1 / top, window=("kaiser", 5.0))).astype("f4")


def _polyphase(backend: str, p: int, q: int) -> Trial:
    x, h = _inputs(p, q)
    wide = h.astype(float), x.astype(float)
    exact = scipy.signal.upfirdn(*wide, p, q)
    magnitude = scipy.signal.upfirdn(abs(wide[0]), abs(wide[1]), p, q)
    bound = window_bound("float32", -(-len(h) // p), magnitude) + 1e-12
    a, b = put(backend, x, h)
    op = swath.signal.upfirdn
    us = Contender(
        ready(backend, lambda a, b: op(b, a, p, q), a, b), bound, swath.plan(op, b, a, p, q).method
    )
    make = {"torch": _torch, "jax": _jax}.get(backend)
    peers = (
        {"upfirdn": Contender(lambda: scipy_part(backend, "signal").upfirdn(b, a, p, q), bound)}
        if make is None
        else make(a, b, (p, q), bound, len(exact))
    )
    terms = -(-len(h) // p)
    return Trial(exact, us, peers, Work(2.0 * terms * exact.size, x.nbytes + 4 * exact.size))


def _bank(h: np.ndarray, p: int, q: int, outputs: int) -> tuple[np.ndarray, int, int]:
    """The taps of p neighbouring outputs as rows over one window, its start, and its moves.

    As torchaudio's resampling does it: one strided convolution with p kernels.
    """
    branch = -(-len(h) // p)
    size = branch + (p - 1) * q // p
    bank = np.zeros((p, size), h.dtype)
    for j in range(p):
        for s in range(size):
            tap = j * q - p * (s - branch + 1)
            if 0 <= tap < len(h):
                bank[j, s] = h[tap]
    return bank, branch - 1, -(-outputs // p)


def _torch(x, h, rates, bound, outputs):
    import torch

    p, q = rates
    bank, low, moves = _bank(h.cpu().numpy(), p, q, outputs)
    w = torch.from_numpy(bank)[:, None].to(h.device)
    high = (moves - 1) * q + w.shape[2] - low - len(x)

    def run(x):
        padded = torch.nn.functional.pad(x, (low, high))
        y = torch.nn.functional.conv1d(padded[None, None], w, stride=q)
        return y[0].T.reshape(-1)[:outputs]

    return {"torch conv1d": Contender(ready("torch", run, x), bound, "a bank made beforehand")}


def _jax(x, h, rates, bound, outputs):
    import jax
    import jax.numpy as jnp

    p, q = rates
    bank, low, moves = _bank(np.asarray(h), p, q, outputs)
    w = jnp.asarray(bank)[:, None]
    high = (moves - 1) * q + w.shape[2] - low - len(x)
    highest = jax.lax.Precision.HIGHEST

    def run(x):
        conv = jax.lax.conv_general_dilated(
            x[None, None], w, (q,), [(low, high)], precision=highest
        )
        return conv[0].T.reshape(-1)[:outputs]

    return {"lax.conv": Contender(ready("jax", run, x), bound, "a bank made beforehand")}


def _resample(backend: str, p: int, q: int) -> Trial:
    x, h = _inputs(p, q)
    exact = scipy.signal.resample_poly(x.astype(float), p, q)
    half = (len(h) - 1) // 2
    full = scipy.signal.upfirdn(abs(h.astype(float)), abs(x.astype(float)), p, 1)
    # Taps rounded to float32, then one product and one sum for each.
    magnitude = full[half::q][: len(exact)]
    terms = -(-len(h) // p)
    bound = window_bound("float32", terms + 2, magnitude) + 1e-12
    (a,) = put(backend, x)
    us = Contender(ready(backend, lambda a: swath.signal.resample_poly(a, p, q), a), bound)
    peers = {}
    if backend in ("numpy", "cupy"):
        signal = scipy_part(backend, "signal")
        peers["resample_poly"] = Contender(lambda: signal.resample_poly(a, p, q), bound)
    work = Work(2.0 * terms * exact.size, x.nbytes + 4 * exact.size)
    return Trial(exact, us, peers, work)


def _both_ways(backend: str) -> Trial:
    rng = np.random.default_rng(TAPS)
    x = rng.standard_normal(SAMPLES).astype(np.float32)
    b, one = rng.standard_normal(TAPS).astype(np.float32), np.ones(1, np.float32)
    exact = scipy.signal.filtfilt(b.astype(float), [1.0], x.astype(float))
    size, edge = abs(b.astype(float)), TAPS - 1
    around = np.pad(abs(x.astype(float)), edge, mode="reflect", reflect_type="even")
    # Turned about an end, a sample is at most twice that end and itself.
    around[:edge] += 2 * abs(x[0])
    around[-edge:] += 2 * abs(x[-1])
    magnitude = np.convolve(np.convolve(around, size, "valid"), size, "valid")
    bound = window_bound("float32", 2 * TAPS, magnitude)
    a, taps = put(backend, x, b)
    op = swath.signal.filtfilt
    us = Contender(
        ready(backend, lambda a, taps: op(taps, 1.0, a), a, taps), bound,
        swath.plan(op, taps, 1.0, a).method,
    )  # fmt: skip
    if backend in ("numpy", "cupy"):
        signal, (one,) = scipy_part(backend, "signal"), put(backend, one)
        peers = {"filtfilt": Contender(lambda: signal.filtfilt(taps, one, a), bound)}
    elif backend == "torch":
        import torch

        w = torch.flip(taps, (0,))[None, None]

        def run(x):
            before = 2 * x[:1] - torch.flip(x[1 : edge + 1], (0,))
            after = 2 * x[-1:] - torch.flip(x[-edge - 1 : -1], (0,))
            y = torch.nn.functional.conv1d(torch.cat([before, x, after])[None, None], w)
            return torch.nn.functional.conv1d(y, torch.flip(w, (2,)))[0, 0]

        peers = {"torch conv1d twice": Contender(ready("torch", run, a), bound)}
    else:
        import jax.numpy as jnp

        def run(x, taps):
            before = 2 * x[:1] - x[edge:0:-1]
            after = 2 * x[-1:] - x[-2 : -edge - 2 : -1]
            full = jnp.concatenate([before, x, after])
            y = jnp.convolve(full, taps, "valid", precision="highest")
            return jnp.convolve(y, taps[::-1], "valid", precision="highest")

        peers = {"jnp.convolve twice": Contender(ready("jax", run, a, taps), bound)}
    return Trial(exact, us, peers, Work(4.0 * TAPS * SAMPLES, 4 * x.nbytes))


def rows() -> list[Row]:
    """Rates with the taps given, with the design of the filter (where a library has that), and
    both ways."""
    found = []
    for p, q in RATES:
        found += [
            Row(
                "fir", f"upfirdn {p}/{q}", lib, "float32", "signal.upfirdn",
                lambda b=lib, p=p, q=q: _polyphase(b, p, q), ("quick",) if p == 2 else (),
            )
            for lib in BACKENDS
        ]  # fmt: skip
        found += [
            Row(
                "fir", f"resample_poly {p}/{q}", lib, "float32", "signal.resample_poly",
                lambda b=lib, p=p, q=q: _resample(b, p, q),
            )
            for lib in ("numpy", "cupy")
        ]  # fmt: skip
    return found + [
        Row("fir", f"filtfilt {TAPS} taps", lib, "float32", "signal.filtfilt",
            lambda b=lib: _both_ways(b))
        for lib in BACKENDS
    ]  # fmt: skip
