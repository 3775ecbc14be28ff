"""Toeplitz matrices and least squares."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from harness import EPS, Contender, Row, Trial
from libraries import put, ready

import swath

SIZE = 2048
OBSERVATIONS, PARAMETERS = 20_000, 100


def _toeplitz() -> Trial:
    rng = np.random.default_rng(0)
    c, r = rng.standard_normal((2, SIZE)).astype(np.float32)
    i = np.arange(SIZE)
    values = np.concatenate([r[:0:-1], c])
    exact = values[SIZE - 1 + i[:, None] - i].astype(float)

    def theirs():
        # SciPy's is a copy of a view, as ours must be: both results may be written.
        return scipy.linalg.toeplitz(c, r)

    us = Contender(lambda: swath.linalg.toeplitz(c, r), 0.0)
    return Trial(exact, us, {"scipy toeplitz": Contender(theirs, 0.0)})


def _lstsq(backend: str) -> Trial:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((OBSERVATIONS, PARAMETERS))
    b = rng.standard_normal(OBSERVATIONS)
    exact, *_ = scipy.linalg.lstsq(A, b)
    # Twice the bound of Householder QR, to which both sides are held; the condition is near 1.
    size = float(np.linalg.norm(exact) + np.linalg.norm(b) / np.linalg.norm(A, 2))
    allowed = 4 * PARAMETERS * EPS["float64"] * float(np.linalg.cond(A)) * size
    p, q = put(backend, A, b)
    us = Contender(ready(backend, lambda p, q: swath.linalg.lstsq(p, q).x, p, q), allowed)
    if backend == "numpy":
        peers = {
            "np.linalg.lstsq": Contender(lambda: np.linalg.lstsq(p, q)[0], allowed),
            "scipy lstsq gelsy": Contender(
                lambda: scipy.linalg.lstsq(p, q, lapack_driver="gelsy", check_finite=False)[0],
                allowed,
            ),
        }
    else:
        import torch

        def theirs(p, q):
            return torch.linalg.lstsq(p, q[:, None], driver="gels").solution[:, 0]

        peers = {"torch lstsq gels": Contender(ready("torch", theirs, p, q), allowed)}
    return Trial(exact, us, peers)


def rows() -> list[Row]:
    """JAX is float32 in these runs, so its least squares stay out."""
    name = f"lstsq {OBSERVATIONS}x{PARAMETERS}"
    return [
        Row("matrices", "toeplitz 2048²", "numpy", "float32", "linalg.toeplitz", _toeplitz),
        *(
            Row("matrices", name, lib, "float64", "linalg.lstsq", lambda b=lib: _lstsq(b))
            for lib in ("numpy", "torch")
        ),
    ]
