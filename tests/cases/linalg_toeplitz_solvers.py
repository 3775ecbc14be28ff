"""Cases of solved Toeplitz systems."""

from __future__ import annotations

import numpy as np

from . import Case


def column(rng, *shape, kind="real"):
    """First columns of well-conditioned matrices."""
    c = rng.standard_normal(shape)
    if kind == "complex":
        c = c + 1j * rng.standard_normal(shape)
    c[..., 0] = 4
    return c


CASES: list[Case] = [
    Case(
        "linalg.solve_toeplitz",
        "symmetric",
        lambda xp, rng: ((xp.asarray(column(rng, 4)), xp.asarray(rng.standard_normal(4))), {}),
    ),
    Case(
        "linalg.solve_toeplitz",
        "batch-complex",
        lambda xp, rng: (
            (
                xp.asarray(column(rng, 2, 3, kind="complex")),
                xp.asarray(rng.standard_normal((3, 2)) + 1j * np.ones((3, 2))),
            ),
            {},
        ),
    ),
]
