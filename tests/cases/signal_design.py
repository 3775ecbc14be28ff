"""Cases of the design of FIR filters, of Savitzky-Golay filters and of the group delay."""

from __future__ import annotations

from . import Case

CASES: list[Case] = [
    Case(
        "signal.firwin2",
        "jump",
        lambda xp, rng: ((7, xp.asarray([0, 0.3, 0.3, 1]), xp.asarray([1, 1.5, 0.5, 0.25])), {}),
    ),
    Case(
        "signal.firwin2",
        "antisymmetric",
        lambda xp, rng: (
            (6, xp.asarray([0, 40.0, 100]), xp.asarray([0, 1.5, 0.5])),
            {"fs": 200.0, "antisymmetric": True, "window": None, "nfreqs": 10},
        ),
        # A gain that must be 0 cannot be moved.
        smooth=False,
    ),
    Case(
        "signal.firls",
        "weighted",
        lambda xp, rng: (
            (7, xp.asarray([0.05, 0.4, 0.6, 0.95]), xp.asarray([1, 0.75, 0.25, 0.5])),
            {"weight": xp.asarray([1, 2.5])},
        ),
    ),
    Case(
        "signal.remez",
        "lowpass",
        lambda xp, rng: ((7, xp.asarray([0, 0.1, 0.3, 0.5]), xp.asarray([1.0, 0])), {}),
        smooth=False,
    ),
    Case(
        "signal.minimum_phase",
        "half",
        lambda xp, rng: ((xp.asarray([0.25, 0.5, 1, 0.5, 0.25]),), {"n_fft": 64}),
        smooth=False,
    ),
    Case(
        "signal.savgol_coeffs",
        "slope",
        lambda xp, rng: ((5, 3, 1, xp.asarray(0.5)), {"pos": 1}),
    ),
    Case(
        "signal.savgol_filter",
        "interp",
        lambda xp, rng: ((xp.asarray(rng.standard_normal((2, 9))), 5, 2), {}),
    ),
    Case(
        "signal.savgol_filter",
        "mirror-even-slope",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((5, 2))), 4, 2, 1, xp.asarray([0.5]), 0, "mirror"),
            {},
        ),
    ),
    Case(
        "signal.savgol_filter",
        "complex-wrap",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal(4) + 1j * rng.standard_normal(4)), 7, 2),
            {"mode": "wrap"},
        ),
    ),
    Case(
        "signal.freqz",
        "many-filters",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((4, 2, 1))), xp.asarray(rng.uniform(1, 2, (1, 1))), 5),
            {},
        ),
    ),
    Case(
        "signal.freqz",
        "a-frequency-for-each",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((4, 2, 3))), 1.0, xp.asarray([[0.5, 1, 2.0]])),
            {},
        ),
    ),
    Case(
        "signal.group_delay",
        "taps",
        lambda xp, rng: ((xp.asarray([1, 0.5, -0.25, 0.125]), [0.3, 1.2, 2.5]), {}),
    ),
    Case(
        "signal.group_delay",
        "complex",
        lambda xp, rng: ((xp.asarray([1, 0.5j, -0.25 + 0.25j]), xp.asarray([0.3, 2.5])), {}),
    ),
]
