"""Changes of rate by rational factors, and filtering without delay, on long signals."""

from __future__ import annotations

import numpy as np
import scipy.signal
from harness import Contender, Row, Trial, window_bound
from libraries import put, ready

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
    return Trial(exact, us, _PEERS[backend](a, b, (p, q), bound, len(exact)))


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


def _numpy(x, h, rates, bound, outputs):
    return {"scipy upfirdn": Contender(lambda: scipy.signal.upfirdn(h, x, *rates), bound)}


def _torch(x, h, rates, bound, outputs):
    import torch

    p, q = rates
    bank, low, moves = _bank(h.numpy(), p, q, outputs)
    w = torch.from_numpy(bank)[:, None]
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


_PEERS = {"numpy": _numpy, "torch": _torch, "jax": _jax}


def _resample(p: int, q: int) -> Trial:
    x, h = _inputs(p, q)
    exact = scipy.signal.resample_poly(x.astype(float), p, q)
    half = (len(h) - 1) // 2
    full = scipy.signal.upfirdn(abs(h.astype(float)), abs(x.astype(float)), p, 1)
    # Taps rounded to float32, then one product and one sum for each.
    magnitude = full[half::q][: len(exact)]
    bound = window_bound("float32", -(-len(h) // p) + 2, magnitude) + 1e-12
    return Trial(
        exact,
        Contender(lambda: swath.signal.resample_poly(x, p, q), bound),
        {"scipy resample_poly": Contender(lambda: scipy.signal.resample_poly(x, p, q), bound)},
    )


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
    if backend == "numpy":
        peers = {"scipy filtfilt": Contender(lambda: scipy.signal.filtfilt(b, one, x), bound)}
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
    return Trial(exact, us, peers)


def rows() -> list[Row]:
    """Rates on every library, with and without the design of the filter, then both ways."""
    libraries = ("numpy", "torch", "jax")
    family, kind = "resampling", "float32"
    return [
        *(
            Row(
                family, f"upfirdn {p}/{q}", lib, kind, "signal.upfirdn",
                lambda b=lib, p=p, q=q: _polyphase(b, p, q),
            )
            for p, q in RATES
            for lib in libraries
        ),
        *(
            Row(
                family, f"resample_poly {p}/{q}", "numpy", kind, "signal.resample_poly",
                lambda p=p, q=q: _resample(p, q),
            )
            for p, q in RATES
        ),
        *(
            Row(
                family, f"filtfilt {TAPS} taps", lib, kind, "signal.filtfilt",
                lambda b=lib: _both_ways(b),
            )
            for lib in libraries
        ),
    ]  # fmt: skip
