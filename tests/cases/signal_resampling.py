"""Cases of changes of rate and of filtering without delay."""

from __future__ import annotations

from . import Case

CASES: list[Case] = [
    Case(
        "signal.upfirdn",
        "rational-batch",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal(7)), xp.asarray(rng.standard_normal((2, 6))), 3, 2),
            {},
        ),
    ),
    Case(
        # Filters of their own for every channel, and a continuation that computes.
        "signal.upfirdn",
        "groups-antireflect-complex",
        lambda xp, rng: (
            (
                xp.asarray(rng.standard_normal((2, 5)) + 1j * rng.standard_normal((2, 5))),
                xp.asarray(rng.standard_normal((2, 4)) + 1j * rng.standard_normal((2, 4))),
            ),
            {"up": 1, "down": 2, "mode": "antireflect"},
        ),
    ),
    Case(
        "signal.resample_poly",
        "median",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((6, 2))), 3, 2),
            {"window": xp.asarray(rng.standard_normal(5)), "padtype": "median"},
        ),
    ),
    Case(
        "signal.resample_poly",
        "designed-line",
        lambda xp, rng: ((xp.asarray(rng.standard_normal(8)), 2, 3), {"padtype": "line"}),
    ),
    Case(
        "signal.decimate",
        "first-axis",
        lambda xp, rng: ((xp.asarray(rng.standard_normal((9, 2))), 2, 4), {"axis": 0}),
    ),
    Case(
        "signal.filtfilt",
        "odd",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal(3)), 2.0, xp.asarray(rng.standard_normal((2, 12)))),
            {},
        ),
    ),
    Case(
        "signal.filtfilt",
        "short-even-array-gain",
        lambda xp, rng: (
            (
                xp.asarray(rng.standard_normal(4)),
                xp.asarray([2.0]),
                xp.asarray(rng.standard_normal(7)),
            ),
            {"padtype": "even", "padlen": 1},
        ),
    ),
]
