"""Cases of least squares with tall Toeplitz matrices."""

from __future__ import annotations

import numpy as np

from . import Case


def _complex(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def kernel(rng, *shape):
    """Kernels whose spectra are far from 0."""
    k = rng.standard_normal(shape)
    k[..., 0] = 3 * k.shape[-1]
    return k


CASES: list[Case] = [
    Case(
        "linalg.identify_fir",
        "outputs-ridge",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal(9)), xp.asarray(rng.standard_normal((2, 9))), 3),
            {"ridge": xp.asarray(np.asarray(0.5))},
        ),
    ),
    Case(
        "linalg.deconvolve",
        "complex-batch-ridge",
        lambda xp, rng: (
            (xp.asarray(_complex(rng, 2, 8)), xp.asarray(kernel(rng, 2, 3) * (1 + 0.5j))),
            {"ridge": xp.asarray(rng.random(2) + 0.5)},
        ),
    ),
]
