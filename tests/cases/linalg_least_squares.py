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
    Case(
        "linalg.cholesky_qr",
        "complex",
        lambda xp, rng: ((xp.asarray(_complex(rng, 5, 2)),), {}),
    ),
    Case(
        "linalg.lstsq",
        "cholesky_qr-weights",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((6, 2))), xp.asarray(rng.standard_normal((6, 2)))),
            {"method": "cholesky_qr", "weights": xp.asarray(rng.random(6) + 0.5)},
        ),
    ),
    Case(
        "linalg.lstsq",
        "full",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((6, 2))), xp.asarray(rng.standard_normal(6))),
            {"accuracy": "full"},
        ),
    ),
    Case(
        "linalg.lstsq",
        "wide-ridge",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((2, 4))), xp.asarray(rng.standard_normal(2))),
            {"ridge": xp.asarray(rng.random(4) + 0.5)},
        ),
    ),
    Case(
        "linalg.lstsq",
        "wide-ridge-number",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((2, 4))), xp.asarray(rng.standard_normal(2))),
            {"ridge": 0.75},
        ),
    ),
]
