"""Toeplitz matrices, products with them, and with the matrix of a blur."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
import scipy.linalg
from harness import EPS, Contender, Row, Trial, Work, window_bound
from libraries import BACKENDS, put, ready

import swath

SIZE, BLUR = 2048, 9
# Order, columns (None: a vector), marks.
PRODUCTS = ((10**4, None, ("quick",)), (10**4, 16, ()), (10**6, None, ()))


def _matrix() -> Trial:
    rng = np.random.default_rng(0)
    c, r = rng.standard_normal((2, SIZE)).astype(np.float32)
    i = np.arange(SIZE)
    values = np.concatenate([r[:0:-1], c])
    exact = values[SIZE - 1 + i[:, None] - i].astype(float)

    def theirs():
        # SciPy's is a copy of a view, as ours must be: both results may be written.
        return scipy.linalg.toeplitz(c, r)

    us = Contender(lambda: swath.linalg.toeplitz(c, r), 0.0)
    work = Work(0.0, 4 * SIZE * SIZE)
    return Trial(exact, us, {"scipy toeplitz": Contender(theirs, 0.0)}, work)


@lru_cache(maxsize=1)
def _problem(n: int, columns: int | None) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    c, r = rng.standard_normal((2, n)).astype(np.float32)
    x = rng.standard_normal(n if columns is None else (n, columns)).astype(np.float32)
    t = np.concatenate([r[:0:-1], c])
    size = scipy.fft.next_fast_len(3 * n, real=True)
    spectra = [scipy.fft.rfft(v.astype(float).T, size) for v in (t, x)]
    exact = scipy.fft.irfft(spectra[0] * spectra[1], size)[..., n - 1 : 2 * n - 1].T
    # All are held to the bound of a transform.
    norms = np.linalg.norm(t.astype(float)) * np.linalg.norm(x.astype(float), axis=0)
    return c, r, x, exact, 4 * EPS["float32"] * np.log2(size) * norms


def _product(backend: str, n: int, columns: int | None) -> Trial:
    c, r, x, exact, allowed = _problem(n, columns)
    p, q, y = put(backend, c, r, x)
    run = ready(backend, lambda p, q, y: swath.linalg.matmul_toeplitz((p, q), y), p, q, y)
    theirs = Contender(lambda: scipy.linalg.matmul_toeplitz((c, r), x), allowed)
    if backend == "numpy":
        peers = {"scipy matmul_toeplitz": theirs}
        if n <= 10**4 and columns is not None:
            dense = scipy.linalg.toeplitz(c, r)
            peers["dense product"] = Contender(
                lambda: dense @ x, allowed, "matrix made before", "beside"
            )
    else:
        peers = {"circulant by FFT": Contender(_by_hand(backend, n, p, q, y), allowed)}
        theirs.role = "instead"
        peers["scipy matmul_toeplitz"] = theirs
    work = Work(2.0 * n * n * (columns or 1), c.nbytes * 2 + x.nbytes * 2)
    return Trial(exact, Contender(run, allowed), peers, work)


def _by_hand(backend: str, n: int, *arrays: Any) -> Any:
    """What its user writes where a library has no such product."""
    # A transform of 2n − 1 points or more that its library is quick at.
    size = scipy.fft.next_fast_len(2 * n - 1, real=True)
    if backend == "torch":
        import torch as xp
    elif backend == "jax":
        import jax.numpy as xp
    else:
        import cupy as xp

    def run(c: Any, r: Any, x: Any) -> Any:
        gap = xp.zeros_like(c, shape=size - 2 * n + 1) if backend != "torch" else c.new_zeros(
            size - 2 * n + 1
        )  # fmt: skip
        parts = (c, gap, xp.flip(r[1:], (0,)))
        wrapped = xp.cat(parts) if backend == "torch" else xp.concatenate(parts)
        spectrum = xp.fft.rfft(wrapped)
        spectrum = spectrum if x.ndim == 1 else spectrum[:, None]
        product = spectrum * xp.fft.rfft(x, size, 0)
        return xp.fft.irfft(product, size, 0)[:n]

    return ready(backend, run, *arrays)


def _blur() -> Trial:
    rng = np.random.default_rng(0)
    w, size = rng.random((1, 1, BLUR, BLUR)), 512
    x = rng.standard_normal(size * size)
    op = swath.linalg.ConvOperator(w, (size, size), padding="same")
    sparse = swath.linalg.conv_matrix(w, (size, size), padding="same", format="csr")
    wide = sparse.astype(np.longdouble)
    exact = (wide @ x.astype(np.longdouble)).astype(float)
    allowed = window_bound("float64", BLUR * BLUR, np.asarray(abs(wide) @ np.abs(x), float))
    us = Contender(lambda: op @ x, allowed)
    peer = Contender(lambda: sparse @ x, allowed, "matrix made before")
    work = Work(2.0 * BLUR**2 * x.size, 2 * x.nbytes)
    return Trial(exact, us, {"scipy csr": peer}, work)


def rows() -> list[Row]:
    """Products on every library, the rest on NumPy."""
    found = []
    for n, columns, marks in PRODUCTS:
        name = f"matmul 1e{len(str(n)) - 1}" + (f" times {columns}" if columns else "")
        found += [
            Row(
                "toeplitz", name, lib, "float32", "linalg.matmul_toeplitz",
                lambda b=lib, n=n, k=columns: _product(b, n, k), marks,
            )
            for lib in BACKENDS
        ]  # fmt: skip
    return [
        *found,
        Row("toeplitz", f"matrix {SIZE}²", "numpy", "float32", "linalg.toeplitz", _matrix),
        Row(
            "toeplitz", f"blur {BLUR}² of 512² points", "numpy", "float64", "linalg.conv_matrix",
            _blur,
        ),
    ]  # fmt: skip
