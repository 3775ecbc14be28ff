"""Cases of swath.linalg."""

from __future__ import annotations

from . import Case


def _complex(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


CASES: list[Case] = [
    Case(
        "linalg.toeplitz",
        "batch",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((2, 3))), xp.asarray(rng.standard_normal(4))),
            {},
        ),
    ),
    Case(
        "linalg.toeplitz",
        "hermitian",
        lambda xp, rng: ((xp.asarray(_complex(rng, 3)),), {}),
    ),
    Case(
        "linalg.hankel",
        "column-row",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal(3)), xp.asarray(rng.standard_normal(4))),
            {},
        ),
    ),
    Case(
        "linalg.circulant",
        "batch",
        lambda xp, rng: ((xp.asarray(rng.standard_normal((2, 4))),), {}),
    ),
    Case(
        "linalg.convolution_matrix",
        "same",
        lambda xp, rng: ((xp.asarray(rng.standard_normal(3)), 5, "same"), {}),
    ),
    Case(
        "linalg.correlation_matrix",
        "valid-complex",
        lambda xp, rng: ((xp.asarray(_complex(rng, 3)), 5), {}),
    ),
    Case(
        "linalg.conv_matrix",
        "2d-groups",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((4, 1, 2, 3))), (4, 5)),
            {"stride": (2, 1), "padding": 1, "dilation": (1, 2), "groups": 2},
        ),
    ),
    Case(
        "linalg.gram",
        "complex-weights",
        lambda xp, rng: (
            (xp.asarray(_complex(rng, 5, 3)),),
            {"weights": xp.asarray(rng.random(5) + 0.5)},
        ),
    ),
    Case(
        "linalg.gram",
        "batch",
        lambda xp, rng: ((xp.asarray(rng.standard_normal((2, 5, 3))),), {}),
    ),
    Case(
        "linalg.lstsq",
        "batch",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((2, 5, 3))), xp.asarray(rng.standard_normal((2, 5)))),
            {},
        ),
    ),
    Case(
        "linalg.lstsq",
        "weights-ridge",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((6, 3))), xp.asarray(rng.standard_normal(6))),
            {
                "weights": xp.asarray(rng.random(6) + 0.5),
                "ridge": xp.asarray(rng.random(3) + 0.5),
            },
        ),
    ),
    Case(
        "linalg.lstsq",
        "complex",
        lambda xp, rng: (
            (xp.asarray(_complex(rng, 5, 2)), xp.asarray(_complex(rng, 5, 2))),
            {},
        ),
    ),
    Case(
        "linalg.lstsq",
        "wide",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((2, 4))), xp.asarray(rng.standard_normal(2))),
            {},
        ),
    ),
    Case(
        "linalg.project",
        "matrix",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((5, 2))), xp.asarray(rng.standard_normal((5, 2)))),
            {},
        ),
    ),
    Case(
        "linalg.gram_report",
        "dependent",
        lambda xp, rng: ((xp.asarray([[1.0, 0.0, 1.0], [1.0, 1.0, 2.0], [1.0, 2.0, 3.0]]),), {}),
        smooth=False,
    ),
    Case(
        "linalg.independent_columns",
        "dependent",
        lambda xp, rng: ((xp.asarray([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]]),), {}),
        smooth=False,
    ),
]
