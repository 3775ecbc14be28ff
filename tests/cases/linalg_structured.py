"""Cases of products with structured matrices."""

from __future__ import annotations

from . import Case


def _complex(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


CASES: list[Case] = [
    Case(
        "linalg.matmul_toeplitz",
        "hermitian-matrix",
        lambda xp, rng: ((xp.asarray(_complex(rng, 4)), xp.asarray(_complex(rng, 4, 2))), {}),
    ),
    Case(
        "linalg.matmul_toeplitz",
        "batch-vector",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((2, 3))), xp.asarray(rng.standard_normal(3))),
            {},
        ),
    ),
]
