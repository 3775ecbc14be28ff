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
]
