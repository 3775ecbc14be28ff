"""Cases of the two primitives."""

from __future__ import annotations

from . import Case

CASES = [
    Case(
        "sliding_windows",
        "strided-dilated",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((2, 11, 9))), (3, 2)),
            {"stride": (2, 1), "dilation": (1, 3)},
        ),
    ),
    Case(
        "sliding_windows",
        "first-axis",
        lambda xp, rng: ((xp.asarray(rng.standard_normal((8, 3))), 4), {"axes": 0}),
    ),
    Case(
        "overlap_add",
        "strided-dilated",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((2, 5, 6, 3, 2))), (2, 11, 9)),
            {"stride": (2, 1), "dilation": (1, 3)},
        ),
    ),
    Case(
        "overlap_add",
        "gaps",
        lambda xp, rng: ((xp.asarray(rng.standard_normal((3, 2))), (9,)), {"stride": 3}),
    ),
]
