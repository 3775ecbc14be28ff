"""Cases of least squares and of arithmetic beyond the working precision."""

from __future__ import annotations

from . import Case


def _complex(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


CASES: list[Case] = [
    Case(
        "linalg.gram_extended",
        "batch",
        lambda xp, rng: ((xp.asarray(rng.standard_normal((2, 5, 3))),), {}),
    ),
    Case(
        "linalg.gram_extended",
        "complex",
        lambda xp, rng: ((xp.asarray(_complex(rng, 4, 2)),), {}),
    ),
]
