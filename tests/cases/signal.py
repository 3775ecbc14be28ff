"""Cases of swath.signal."""

from __future__ import annotations

from . import Case

CASES: list[Case] = [
    Case(
        "signal.convolve",
        "full-batch",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((2, 9))), xp.asarray(rng.standard_normal(4))),
            {"axes": -1},
        ),
    ),
    Case(
        "signal.correlate",
        "same-complex",
        lambda xp, rng: (
            (
                xp.asarray(rng.standard_normal(8) + 1j * rng.standard_normal(8)),
                xp.asarray(rng.standard_normal(3) + 1j * rng.standard_normal(3)),
                "same",
            ),
            {},
        ),
    ),
]
