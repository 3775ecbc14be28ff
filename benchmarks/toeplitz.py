"""Products with Toeplitz matrices and with the matrix of a blur."""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.linalg
from harness import EPS, Contender, Row, Trial, window_bound
from libraries import put, ready

import swath

LONG, SQUARE, COLUMNS, BLUR = 10**6, 10**4, 16, 9


def _product(backend: str, n: int, columns: int | None, dtype: str) -> Trial:
    rng = np.random.default_rng(0)
    c, r = rng.standard_normal((2, n)).astype(dtype)
    x = rng.standard_normal(n if columns is None else (n, columns)).astype(dtype)
    t = np.concatenate([r[:0:-1], c])
    # In extended precision.
    size = scipy.fft.next_fast_len(3 * n, real=True)
    spectra = [scipy.fft.rfft(v.astype(np.longdouble).T, size) for v in (t, x)]
    exact = scipy.fft.irfft(spectra[0] * spectra[1], size)[..., n - 1 : 2 * n - 1].T.astype(float)
    # Both sides are held to the bound of a transform.
    norms = np.linalg.norm(t.astype(float)) * np.linalg.norm(x.astype(float), axis=0)
    allowed = 4 * EPS[dtype] * np.log2(size) * norms
    p, q, y = put(backend, c, r, x)
    run = ready(backend, lambda p, q, y: swath.linalg.matmul_toeplitz((p, q), y), p, q, y)
    peers = {}
    if backend == "numpy":
        peers["scipy matmul_toeplitz"] = Contender(
            lambda: scipy.linalg.matmul_toeplitz((c, r), x), allowed
        )
        if n <= SQUARE and columns is not None:
            dense = scipy.linalg.toeplitz(c, r)
            peers["dense product"] = Contender(lambda: dense @ x, allowed, "matrix made before")
    elif backend == "torch":
        peers["scipy matmul_toeplitz"] = Contender(
            lambda: scipy.linalg.matmul_toeplitz((c, r), x), allowed
        )
    else:
        import jax
        import jax.numpy as jnp

        def by_hand(c, r, x):
            size = 2 * len(c)
            wrapped = jnp.concatenate([c, jnp.zeros(1, c.dtype), r[:0:-1]])
            spectrum = jnp.fft.rfft(wrapped)
            spectrum = spectrum if x.ndim == 1 else spectrum[:, None]
            return jnp.fft.irfft(spectrum * jnp.fft.rfft(x, size, axis=0), size, axis=0)[: len(c)]

        compiled = jax.jit(by_hand)
        peers["jnp.fft by hand"] = Contender(lambda: compiled(p, q, y).block_until_ready(), allowed)
    return Trial(exact, Contender(run, allowed), peers)


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
    return Trial(
        exact, us, {"scipy csr": Contender(lambda: sparse @ x, allowed, "matrix made before")}
    )


def rows() -> list[Row]:
    """JAX is float32 in these runs."""
    kinds = {"numpy": "float64", "torch": "float64", "jax": "float32"}
    return [
        *(
            Row(
                "toeplitz", f"{n}² times {k or 1}", lib, kind, "linalg.matmul_toeplitz",
                lambda b=lib, n=n, k=k, d=kind: _product(b, n, k, d),
            )
            for lib, kind in kinds.items()
            for n, k in ((SQUARE, COLUMNS), (LONG, None))
        ),
        Row(
            "toeplitz", f"blur {BLUR}² of 512² points", "numpy", "float64", "linalg.conv_matrix",
            _blur,
        ),
    ]  # fmt: skip
