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
    Case(
        "signal.correlation_score",
        "tanh",
        lambda xp, rng: (
            (
                xp.asarray(0.3 * rng.standard_normal((2, 3))),
                xp.asarray(rng.standard_normal((2, 3))),
                xp.asarray([0.25]),
                "tanh",
            ),
            {},
        ),
    ),
    Case(
        "signal.match_template",
        "batch",
        lambda xp, rng: (
            (xp.asarray(1 + rng.standard_normal((2, 8))), xp.asarray(rng.standard_normal(4))),
            {"axes": 1, "mode": "same"},
        ),
    ),
    Case(
        "signal.lfilter",
        "first-axis",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal(3)), 2.0, xp.asarray(rng.standard_normal((7, 2))), 0),
            {},
        ),
    ),
    Case(
        "signal.lfilter",
        "state",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal(4)), 1.0, xp.asarray(rng.standard_normal((2, 6)))),
            {"zi": xp.asarray(rng.standard_normal((2, 3)))},
        ),
    ),
    Case(
        "signal.lfilter_zi",
        "real",
        lambda xp, rng: ((xp.asarray(rng.standard_normal(5)), 2.0), {}),
    ),
    Case(
        "signal.lfiltic",
        "short-past",
        lambda xp, rng: (
            (
                xp.asarray(rng.standard_normal(5)),
                1.0,
                (),
                xp.asarray(rng.standard_normal(2)),
            ),
            {},
        ),
    ),
    Case(
        "signal.filter_bank",
        "strided",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((3, 4))), xp.asarray(rng.standard_normal((2, 9)))),
            {"stride": 2},
        ),
    ),
    Case(
        "signal.lfilter",
        "array-gain",
        lambda xp, rng: (
            (
                xp.asarray(rng.standard_normal(3)),
                xp.asarray([2.0]),
                xp.asarray(rng.standard_normal(5)),
            ),
            {},
        ),
    ),
    Case(
        "signal.lfilter_zi",
        "array-gain",
        lambda xp, rng: ((xp.asarray(rng.standard_normal(5)), xp.asarray([2.0])), {}),
    ),
    Case(
        "signal.lfiltic",
        "array-gain",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal(3)), xp.asarray([2.0]), (), xp.asarray([1.0, 2.0])),
            {},
        ),
    ),
    Case(
        "signal.freqz",
        "feedback",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal(4)), xp.asarray([2.0, 0.5, -0.25]), 5),
            {},
        ),
    ),
    Case(
        # Differences along random directions keep a filter of one tap symmetric.
        "signal.amplitude_response",
        "one-tap",
        lambda xp, rng: ((xp.asarray(rng.standard_normal(1)), [0.3, 1.2]), {}),
    ),
    Case(
        "signal.fir_from_response",
        "weighted",
        lambda xp, rng: (
            (3, [0.4, 1.3, 2.5], xp.asarray(rng.standard_normal(3))),
            {"weight": xp.asarray([1.0, 2.0, 0.5])},
        ),
    ),
    Case(
        "signal.fftconvolve",
        "axes",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((3, 9))), xp.asarray(rng.standard_normal((3, 4)))),
            {"axes": -1},
        ),
    ),
    Case(
        "signal.oaconvolve",
        "same",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((3, 9))), xp.asarray(rng.standard_normal((3, 4)))),
            {"axes": -1},
        ),
    ),
    Case(
        "signal.convolve2d",
        "wrap",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((3, 4))), xp.asarray(rng.standard_normal((2, 3)))),
            {"mode": "same", "boundary": "wrap"},
        ),
    ),
    Case(
        "signal.correlate2d",
        "symm",
        lambda xp, rng: (
            (xp.asarray(rng.standard_normal((3, 4))), xp.asarray(rng.standard_normal((2, 3)))),
            {"boundary": "symm"},
        ),
    ),
    Case(
        "signal.firwin",
        "bandpass",
        lambda xp, rng: ((7, xp.asarray([0.25, 0.6])), {"pass_zero": False}),
    ),
]
