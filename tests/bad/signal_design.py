"""Bad input of the design of FIR filters, of Savitzky-Golay filters and of the group delay."""

from __future__ import annotations

import numpy as np

from . import (
    DTYPE,
    EMPTY,
    LARGER,
    MIXED,
    NAN,
    OBJECT,
    RANK,
    STRIDE,
    Bad,
    call,
    elsewhere,
    gives,
    ones,
    refuse,
)
from .signal import FOREIGN, NO_OBJECT, NONE, TRUTH

nan = np.nan
POINTS, BANDS, MINIMAX, MINIMUM = (
    "signal.firwin2",
    "signal.firls",
    "signal.remez",
    "signal.minimum_phase",
)
WEIGHTS, SMOOTH, DELAY = "signal.savgol_coeffs", "signal.savgol_filter", "signal.group_delay"
GRID = np.array([0.0, 0.5, 1.0])
PAIRS = np.array([0.0, 0.4, 0.6, 1.0])
HOLED = np.array([1.0, nan, 1.0, 1.0, 1.0, 1.0])

BAD: list[Bad] = [
    # -- firwin2
    refuse(
        POINTS, RANK, call(3, ones(2, 2), ones(2, 2)), ValueError,
        r"freq and gain must be of same length, one axis .* got shapes \(2, 2\) and \(2, 2\)",
    ),
    refuse(POINTS, DTYPE, call(3, GRID, 1j * ones(3)), TypeError, "gain must be real, got .*compl"),
    refuse(POINTS, MIXED, call(3, GRID, elsewhere([1.0])), TypeError, FOREIGN.format("gain")),
    refuse(
        POINTS, EMPTY, call(3, ones(0), ones(0)), ValueError,
        r"freq and gain must be of same length, one axis of at least 2 points, got shapes \(0,\)",
    ),
    gives(POINTS, NAN, call(3, GRID, np.array([1.0, nan, 1.0])), [nan] * 3),
    refuse(
        POINTS, "NaN among the frequencies", call(3, np.array([0.0, nan, 1.0]), ones(3)),
        ValueError, "the values of freq must be nondecreasing",
    ),
    refuse(POINTS, OBJECT, call(3, GRID, object()), TypeError, NO_OBJECT.format("gain")),
    refuse(POINTS, "None", call(3, None, GRID), TypeError, NONE.format("freq")),
    refuse(
        POINTS, "few points of the grid", call(3, GRID, GRID, nfreqs=3), ValueError,
        "numtaps = 3 and nfreqs = 3, but ntaps must be less than nfreqs",
    ),
    refuse(
        POINTS, "window of another length", call(3, GRID, ones(3), window=ones(2)), ValueError,
        r"window must have the 3 points of the filter, got \(2,\)",
    ),
    refuse(
        POINTS, "symmetry of text", call(3, GRID, ones(3), antisymmetric="no"), TypeError,
        "antisymmetric must be True or False, got str 'no'",
    ),
    # -- firls
    gives(BANDS, RANK, call(1, PAIRS.reshape(2, 2), ones(2, 2)), [1.0]),
    refuse(BANDS, DTYPE, call(3, 1j * PAIRS, ones(4)), TypeError, "bands must be real, got .*comp"),
    refuse(BANDS, MIXED, call(3, PAIRS, elsewhere([1.0])), TypeError, FOREIGN.format("desired")),
    refuse(
        BANDS, EMPTY, call(3, ones(0), ones(0)), ValueError,
        r"bands must be pairs of frequencies, at least one, got shape \(0,\)",
    ),
    gives(BANDS, NAN, call(3, PAIRS, np.array([1.0, nan, 0.0, 0.0])), [nan] * 3),
    refuse(BANDS, OBJECT, call(3, object(), PAIRS), TypeError, NO_OBJECT.format("bands")),
    refuse(
        BANDS, "even number of taps", call(4, PAIRS, PAIRS), ValueError,
        "numtaps must be odd, got 4",
    ),
    refuse(
        BANDS, "wrong length", call(3, PAIRS, ones(3)), ValueError,
        r"desired must have one gain for each of the 4 ends of bands, got shape \(3,\)",
    ),
    refuse(
        BANDS, "band of no width", call(3, ones(2), ones(2)), ValueError,
        "every band must end after it begins",
    ),
    refuse(
        BANDS, "overlap", call(3, np.array([0.0, 0.5, 0.4, 1.0]), ones(4)), ValueError,
        "bands must be in order and may not overlap",
    ),
    refuse(
        BANDS, "beyond", call(3, 2 * PAIRS, ones(4)), ValueError,
        "bands must lie between 0 and fs/2 = 1.0",
    ),
    refuse(
        BANDS, "negative weight", call(3, PAIRS, ones(4), weight=-ones(2)), ValueError,
        "weight must be 0 or more",
    ),
    refuse(
        BANDS, "one weight", call(3, PAIRS, ones(4), weight=ones(1)), ValueError,
        "weight must have one entry for each of the 2 bands, got 1",
    ),
    # -- remez
    refuse(
        MINIMAX, RANK, call(3, 0.5 * PAIRS.reshape(2, 2), ones(2)), ValueError,
        r"bands must have one axis, got shape \(2, 2\)",
    ),
    refuse(MINIMAX, DTYPE, call(3, 1j * PAIRS, ones(2)), TypeError, "bands must be real, got .*co"),
    refuse(MINIMAX, MIXED, call(3, PAIRS, elsewhere([1.0])), TypeError, FOREIGN.format("desired")),
    refuse(
        MINIMAX, "no band has a width", call(3, 0.5 * np.array([0, 0, 1.0, 1.0]), ones(2)),
        ValueError, r"bands must have a width at fs=1, got \[0.0, 0.0, 0.5, 0.5\]",
    ),
    refuse(
        MINIMAX, "bands of another rate", call(7, PAIRS, ones(2), fs=1e9), ValueError,
        r"bands must have a width at fs=1e\+09, got \[0.0, ",
    ),
    refuse(
        MINIMAX, "bands without a point", call(3, np.array([0, 1e-9, 0.5, 0.5]), ones(2)),
        ValueError, "SciPy makes no such filter: its taps for bands .* are not finite",
    ),
    refuse(
        MINIMAX, EMPTY, call(3, ones(0), ones(0)), ValueError,
        "bands must have two frequencies for each gain of desired, and there must be one",
    ),
    refuse(
        MINIMAX, "wrong length", call(3, 0.5 * PAIRS, ones(3)), ValueError,
        r"bands must have two frequencies for each gain .* got shapes \(4,\) and \(3,\)",
    ),
    refuse(
        MINIMAX, "one weight", call(3, 0.5 * PAIRS, ones(2), weight=ones(1)), ValueError,
        "weight must have one entry for each of the 2 bands, got 1",
    ),
    refuse(
        MINIMAX, NAN, call(3, 0.5 * PAIRS, np.array([1.0, nan])), ValueError,
        "desired must be finite",
    ),
    refuse(MINIMAX, OBJECT, call(3, object(), ones(2)), TypeError, NO_OBJECT.format("bands")),
    refuse(
        MINIMAX, "beyond", call(3, PAIRS, ones(2)), ValueError, "SciPy makes no such filter: Band"
    ),
    refuse(
        MINIMAX, "unknown type", call(3, PAIRS, ones(2), type="notch"), ValueError,
        "type must be one of 'bandpass', 'differentiator', 'hilbert'; got 'notch'",
    ),
    # -- minimum_phase
    refuse(
        MINIMUM, RANK, call(ones(3, 3)), ValueError,
        r"h must be one row of at least 3 taps, got shape \(3, 3\)",
    ),
    refuse(MINIMUM, DTYPE, call(1j * ones(3)), TypeError, "h must be real, got .*complex"),
    refuse(
        MINIMUM, EMPTY, call(ones(0)), ValueError,
        r"h must be one row of at least 3 taps, got shape \(0,\)",
    ),
    refuse(MINIMUM, NAN, call(HOLED), ValueError, "h must be finite"),
    refuse(MINIMUM, OBJECT, call(object()), TypeError, NO_OBJECT.format("h")),
    refuse(
        MINIMUM, "unknown method", call(ones(3), "x"), ValueError,
        "method must be one of 'homomorphic', 'hilbert'; got 'x'",
    ),
    refuse(
        MINIMUM, "short transform", call(ones(3), n_fft=2), ValueError,
        "n_fft must be at least the 3 taps of h, got 2",
    ),
    refuse(
        MINIMUM, "whole by Hilbert", call(ones(3), "hilbert", half=False), ValueError,
        'half=False goes with method="homomorphic" only',
    ),
    # -- Savitzky-Golay
    refuse(
        WEIGHTS, RANK, call(5, 2, 1, ones(2)), ValueError,
        r"delta must be one number, got shape \(2,\)",
    ),
    refuse(WEIGHTS, DTYPE, call(5, 2, 1, 1j), TypeError, "delta must be a number, got complex 1j"),
    gives(WEIGHTS, NAN, call(3, 1, 1, np.array([nan])), [nan] * 3),
    refuse(WEIGHTS, OBJECT, call(5, 2, 1, object()), TypeError, "delta must be a number, got obj"),
    refuse(
        WEIGHTS, "high order", call(5, 5), ValueError,
        "polyorder must be less than window_length: 5 samples .* got 5",
    ),
    refuse(WEIGHTS, "no taps", call(0, 0), ValueError, "window_length must be at least 1, got 0"),
    refuse(
        WEIGHTS, "place outside", call(5, 2, pos=5), ValueError,
        "pos must be at least 0 and less than 5, got 5",
    ),
    refuse(WEIGHTS, "place of text", call(5, 2, pos="2"), TypeError, "pos must be a number, got s"),
    refuse(WEIGHTS, "no spacing", call(5, 2, 1, 0), ValueError, "delta must not be 0"),
    refuse(
        WEIGHTS, "tiny spacing", call(5, 2, 2, 2.0**-520), ValueError,
        "delta to the power −deriv must be in the range of floats, got .* and deriv=2; choose ano",
    ),
    refuse(
        WEIGHTS, "unknown use", call(5, 2, use="x"), ValueError, "use must be one of 'conv', 'dot'"
    ),
    refuse(
        SMOOTH, RANK, call(1.0, 3, 1), ValueError, "x must have at least one axis, got a number"
    ),
    refuse(SMOOTH, DTYPE, call(TRUTH, 1, 0), TypeError, "x must be numeric, got .*bool"),
    refuse(
        SMOOTH, "spacing of another kind", call(ones(5), 3, 1, 1, 1j * ones(1)), TypeError,
        "delta must be real, got",
    ),
    refuse(
        SMOOTH, "spacing of truth values", call(ones(5), 3, 1, 1, ones(1) > 0), TypeError,
        "delta must be numeric, got .*bool",
    ),
    refuse(
        SMOOTH, MIXED, call(ones(5), 3, 1, 1, elsewhere([1.0])), TypeError, FOREIGN.format("delta")
    ),
    refuse(
        SMOOTH, LARGER, call(ones(3), 5, 1), ValueError,
        r'with mode="interp" window_length must be less than or equal to the length of x',
    ),
    gives(SMOOTH, "larger window that goes on", call(ones(3), 5, 1, mode="nearest"), ones(3)),
    gives(SMOOTH, EMPTY, call(ones(2, 0), 3, 1, mode="wrap"), ones(2, 0)),
    gives(SMOOTH, NAN, call(HOLED, 3, 0, mode="constant"), [nan, nan, nan, 1.0, 1.0, 2 / 3]),
    refuse(SMOOTH, OBJECT, call(object(), 3, 1), TypeError, NO_OBJECT.format("x")),
    refuse(
        SMOOTH, "unknown mode", call(ones(5), 3, 1, mode="reflect"), ValueError,
        "mode must be one of 'mirror', 'constant', 'nearest', 'wrap', 'interp'; got 'reflect'",
    ),
    refuse(
        SMOOTH, "complex constant", call(ones(5), 3, 1, mode="constant", cval=1j), TypeError,
        "cval must be real for real inputs, got 1j",
    ),
    # -- group_delay
    refuse(
        DELAY, RANK, call(ones(2, 2)), ValueError,
        r"system must be one row of coefficients, got shape \(2, 2\)",
    ),
    refuse(DELAY, DTYPE, call(TRUTH), TypeError, "system must be numeric, got .*bool"),
    refuse(DELAY, MIXED, call(ones(2), elsewhere([1.0])), TypeError, FOREIGN.format("w")),
    refuse(DELAY, EMPTY, call(ones(0)), ValueError, "system must have at least one coefficient"),
    gives(DELAY, NAN, call(np.array([1.0, nan]), [0.5]), [nan], lambda r: r[1]),
    refuse(
        DELAY, OBJECT, call(object()), TypeError,
        r"system must be \(b, a\) or an array of taps, got object",
    ),
    refuse(
        DELAY, "three rows", call((ones(2), 1, 1)), ValueError,
        r"system must be \(b, a\), or an array of taps; got 3 entries",
    ),
    refuse(DELAY, "negative number", call(ones(2), -1), ValueError, "w must be at least 0, got -1"),
]  # fmt: skip

NEVER = [
    (
        STRIDE,
        "every sample counts: there is no stride",
        (POINTS, BANDS, MINIMAX, MINIMUM, WEIGHTS, SMOOTH, DELAY),
    ),
    (
        LARGER,
        "there is no signal beside the filter",
        (POINTS, BANDS, MINIMAX, MINIMUM, WEIGHTS, DELAY),
    ),
    (MIXED, "there is one array", (MINIMUM, WEIGHTS)),
    (EMPTY, "there is no array but one number", (WEIGHTS,)),
]
