"""Bad input of swath.signal."""

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

nan = np.nan
HOLED = np.array([1.0, nan, 1.0, 1.0, 1.0])
TRUTH = np.array([True, True])
FOREIGN = r"\w+ is an array of \w+ and {} of \w+; swath moves nothing on its own: convert one"
NO_OBJECT = r"{} must be an array, a number or a nested list, got object"
NONE = r"{} must be an array, a number or a nested list, got None"


def convolving(name: str, *, method: bool = True) -> list[Bad]:
    """What the convolutions of any number of axes have in common."""
    rows = [
        refuse(
            name, RANK, call(ones(3, 3), ones(2)), ValueError,
            r"in1 and in2 must have the same number of axes, got 2 and 1; with axes=",
        ),
        refuse(
            name, "wrong rank beside axes", call(ones(3, 3, 3), ones(2), axes=(0, 1)), ValueError,
            r"in2 must have 3 axes like in1, or 2 \(one for each entry of axes\); got 1",
        ),
        refuse(
            name, DTYPE, call(TRUTH, ones(2)), TypeError,
            r"in1 must be numeric, got .*bool; convert it to an integer dtype",
        ),
        refuse(name, MIXED, call(ones(3), elsewhere([1.0])), TypeError, FOREIGN.format("in2")),
        refuse(
            name, LARGER, call(ones(2, 5), ones(3, 4), "valid"), ValueError,
            r'mode="valid" needs one input at least as large as the other along every '
            r"sliding axis \(0, 1\); got shapes \(2, 5\) and \(3, 4\)",
        ),
        gives(name, EMPTY, call(ones(0, 4), ones(1, 2)), ones(0, 5)),
        gives(name, "zero-size kernel", call(ones(4), ones(0)), ones(0)),
        refuse(name, OBJECT, call(ones(3), object()), TypeError, NO_OBJECT.format("in2")),
        refuse(name, "None", call(ones(3), None), TypeError, NONE.format("in2")),
        refuse(
            name, "text", call(ones(3), "abc"), TypeError,
            r"in2 must be an array, a number or a nested list, got str 'abc'",
        ),
        refuse(
            name, "ragged list", call(ones(3, 3), [[1.0], [1.0, 2.0]]), ValueError,
            r"in2 must be rectangular, got a ragged list",
        ),
        refuse(
            name, "unknown mode", call(ones(3), ones(2), "best"), ValueError,
            r"mode must be one of 'full', 'same', 'valid'; got 'best'",
        ),
        refuse(
            name, "axis out of range", call(ones(3), ones(2), axes=1), ValueError,
            r"axes 1 is out of range for an array of 1 axes",
        ),
        refuse(
            name, "axis twice", call(ones(3, 3), ones(2, 2), axes=(0, -2)), ValueError,
            r"axes must be distinct, got \(0, -2\)",
        ),
        refuse(
            name, "batch that does not broadcast", call(ones(3, 5), ones(2, 2), axes=1), ValueError,
            r"in1 and in2 do not broadcast along axis 0: lengths 3 and 2",
        ),
    ]  # fmt: skip
    if method:
        rows += [
            gives(
                name, NAN, call(HOLED, ones(2), "full", "direct"),
                [1.0, nan, nan, 2.0, 2.0, 1.0],
            ),
            refuse(
                name, "unknown method", call(ones(3), ones(2), "full", "x"), ValueError,
                r"method must be one of 'auto', .* got 'x'",
            ),
        ]  # fmt: skip
    else:
        # A frame's transform spreads a NaN over the frame, and here there is one.
        rows.append(gives(name, NAN, call(HOLED, ones(2)), np.full(6, nan)))
    return rows


def planar(name: str) -> list[Bad]:
    return [
        refuse(
            name, RANK, call(ones(3), ones(3)), ValueError,
            r"in1 must have two axes, got shape \(3,\); signal.convolve and signal.correlate take",
        ),
        refuse(
            name, DTYPE, call(ones(3, 3) > 0, ones(2, 2)), TypeError,
            r"in1 must be numeric, got .*bool; convert it to an integer dtype",
        ),
        refuse(
            name, MIXED, call(ones(3, 3), elsewhere([[1.0]])), TypeError, FOREIGN.format("in2")
        ),
        refuse(
            name, LARGER, call(ones(2, 5), ones(3, 4), "valid"), ValueError,
            r'mode="valid" needs one input at least as large as the other',
        ),
        gives(name, EMPTY, call(ones(0, 4), ones(1, 2), "full", "wrap"), ones(0, 5)),
        gives(name, NAN, call(np.array([[1.0, nan, 1.0]]), ones(1, 2)), [[1.0, nan, nan, 1.0]]),
        refuse(name, OBJECT, call(ones(3, 3), object()), TypeError, NO_OBJECT.format("in2")),
        refuse(name, "None", call(None, ones(3, 3)), TypeError, NONE.format("in1")),
    ]  # fmt: skip


SCORE, MATCH = "signal.correlation_score", "signal.match_template"
FILTER, STATE, PAST, BANK = (
    "signal.lfilter",
    "signal.lfilter_zi",
    "signal.lfiltic",
    "signal.filter_bank",
)
FREQZ, REAL = "signal.freqz", "signal.amplitude_response"
DESIGN, WINDOWED = "signal.fir_from_response", "signal.firwin"

BAD: list[Bad] = [
    *convolving("signal.convolve"),
    *convolving("signal.correlate"),
    *convolving("signal.fftconvolve", method=False),
    *convolving("signal.oaconvolve", method=False),
    *planar("signal.convolve2d"),
    *planar("signal.correlate2d"),
    # -- scores
    refuse(
        SCORE, RANK, call(ones(3, 3), ones(3)), ValueError,
        r"x and f must have the same shape, got \(3, 3\) and \(3,\); signal.correlate slides",
    ),
    refuse(SCORE, DTYPE, call(TRUTH, ones(2)), TypeError, r"x must be numeric, got .*bool"),
    refuse(
        SCORE, "order of complex numbers", call(1j * ones(2), ones(2), None, "relu"), TypeError,
        r"activation 'relu' orders .* real arrays, got x \w+ of shape \(2,\), dtype c",
    ),
    refuse(SCORE, MIXED, call(ones(1), elsewhere([1.0])), TypeError, FOREIGN.format("f")),
    refuse(
        SCORE, "bias of two", call(ones(3), ones(3), ones(2)), ValueError,
        r"bias must have one element, got shape \(2,\)",
    ),
    refuse(
        SCORE, "unknown activation", call(ones(3), ones(3), None, "max"), ValueError,
        r"activation must be None, one of 'relu', 'tanh', 'sigmoid' or a callable; got str 'max'",
    ),
    gives(SCORE, EMPTY, call(ones(0), ones(0), 3.0), 3.0),
    gives(SCORE, NAN, call(np.array([1.0, nan]), ones(2), None, "relu"), nan),
    refuse(SCORE, OBJECT, call(ones(3), object()), TypeError, NO_OBJECT.format("f")),
    refuse(SCORE, "None", call(ones(3), None), TypeError, NONE.format("f")),
    refuse(
        MATCH, RANK, call(ones(3, 3), ones(2)), ValueError,
        r"x and template must have the same number of axes, got 2 and 1; with axes= the second",
    ),
    refuse(MATCH, DTYPE, call(TRUTH, ones(2)), TypeError, r"x must be numeric, got .*bool"),
    refuse(MATCH, MIXED, call(ones(3), elsewhere([1.0])), TypeError, FOREIGN.format("template")),
    refuse(
        MATCH, LARGER, call(ones(3), ones(5)), ValueError,
        r"template is larger than x along a sliding axis \(\[5\] against \[3\]\); exchange them",
    ),
    refuse(
        MATCH, "batch that does not broadcast", call(ones(3, 5), ones(2, 2), axes=1), ValueError,
        r"x and template do not broadcast along axis 0: lengths 3 and 2",
    ),
    gives(MATCH, EMPTY, call(ones(0, 4), ones(2), axes=1), ones(0, 3)),
    refuse(
        MATCH, "zero-size template", call(ones(4), ones(0)), ValueError,
        r"template has no points: shape \(0,\)",
    ),
    gives(
        MATCH, NAN, call(np.array([1.0, nan, 1.0, 2.0, 1.0]), np.array([1.0, 2.0])),
        [nan, nan, 1.0, -1.0],
    ),
    refuse(MATCH, OBJECT, call(ones(3), object()), TypeError, NO_OBJECT.format("template")),
    # -- filters
    refuse(
        FILTER, RANK, call(ones(2, 2), 1, ones(4)), ValueError,
        r"b must be one row of coefficients, got shape \(2, 2\)",
    ),
    refuse(
        FILTER, "number as signal", call(ones(2), 1, 1.0), ValueError,
        r"x must have at least one axis, got a number",
    ),
    refuse(FILTER, DTYPE, call(ones(2), 1, TRUTH), TypeError, r"x must be numeric, got .*bool"),
    refuse(FILTER, MIXED, call(ones(2), 1, elsewhere([1.0])), TypeError, FOREIGN.format("x")),
    gives(FILTER, LARGER, call(ones(5), 1, ones(3)), [1.0, 2.0, 3.0]),
    gives(FILTER, EMPTY, call(ones(2), 1, ones(2, 0)), ones(2, 0)),
    refuse(
        FILTER, "zero-size filter", call(ones(0), 1, ones(3)), ValueError,
        "b must have at least one coefficient, got none",
    ),
    gives(FILTER, NAN, call(ones(2), 1, HOLED), [1.0, nan, nan, 2.0, 2.0]),
    refuse(FILTER, OBJECT, call(ones(2), 1, object()), TypeError, NO_OBJECT.format("x")),
    refuse(FILTER, "None", call(ones(2), None, ones(3)), TypeError, NONE.format("a")),
    refuse(
        FILTER, "feedback", call(ones(2), ones(2), ones(3)), NotImplementedError,
        r"a has 2 coefficients; filters with feedback \(IIR\) are not done here: use scipy",
    ),
    refuse(
        FILTER, "division by 0", call(ones(2), np.zeros(1), ones(3)), ValueError,
        r"a\[0\] must not be 0: it is what all coefficients are divided by",
    ),
    refuse(
        FILTER, "state of another shape", call(ones(2), 1, ones(3), zi=ones(2)), ValueError,
        r"zi must have shape \(1,\) \(that of x with K − 1 = 1 points along axis 0\), got \(2,\)",
    ),
    refuse(
        FILTER, "axis of a float", call(ones(2), 1, ones(3), 1.5), TypeError,
        r"axis must be an int, got float 1.5",
    ),
    refuse(
        STATE, RANK, call(ones(2, 2), 1), ValueError,
        r"b must be one row of coefficients, got shape \(2, 2\)",
    ),
    refuse(STATE, DTYPE, call(TRUTH, 1), TypeError, r"b must be numeric, got .*bool"),
    refuse(STATE, MIXED, call(ones(2), elsewhere([1.0])), TypeError, FOREIGN.format("a")),
    refuse(
        STATE, EMPTY, call(ones(0), 1), ValueError, "b must have at least one coefficient, got none"
    ),
    gives(STATE, NAN, call(np.array([1.0, nan, 1.0]), 1), [nan, 1.0]),
    refuse(STATE, OBJECT, call(object(), 1), TypeError, NO_OBJECT.format("b")),
    refuse(
        PAST, RANK, call(ones(2), 1, (), ones(2, 2)), ValueError,
        r"x must have one axis, the latest sample first; got \(2, 2\)",
    ),
    refuse(PAST, DTYPE, call(ones(2), 1, (), TRUTH), TypeError, r"x must be numeric, got .*bool"),
    refuse(PAST, MIXED, call(ones(2), 1, elsewhere([1.0])), TypeError, FOREIGN.format("y")),
    gives(PAST, EMPTY, call(ones(3), 1, (), ones(0)), [0.0, 0.0]),
    gives(PAST, NAN, call(ones(3), 1, (), np.array([1.0, nan])), [nan, 1.0]),
    refuse(PAST, OBJECT, call(ones(2), 1, object()), TypeError, NO_OBJECT.format("y")),
    refuse(
        BANK, RANK, call(ones(2), ones(4)), ValueError,
        r"bank must have shape \(filters, taps\), got \(2,\); signal.lfilter takes a single filter",
    ),
    refuse(BANK, DTYPE, call(ones(2, 2), TRUTH), TypeError, r"x must be numeric, got .*bool"),
    refuse(BANK, MIXED, call(ones(2, 2), elsewhere([1.0])), TypeError, FOREIGN.format("x")),
    refuse(
        BANK, STRIDE, call(ones(2, 2), ones(4), stride=-1), ValueError,
        "stride must be at least 1, got -1",
    ),
    gives(BANK, LARGER, call(ones(1, 5), ones(3)), [[1.0, 2.0, 3.0]]),
    gives(BANK, EMPTY, call(ones(2, 2), ones(3, 0)), ones(3, 2, 0)),
    refuse(
        BANK, "zero-size filter", call(ones(2, 0), ones(3)), ValueError,
        r"bank must have at least one tap, got shape \(2, 0\)",
    ),
    gives(BANK, NAN, call(ones(1, 2), HOLED), [[1.0, nan, nan, 2.0, 2.0]]),
    refuse(BANK, OBJECT, call(ones(2, 2), object()), TypeError, NO_OBJECT.format("x")),
    refuse(BANK, "None", call(None, ones(3)), TypeError, NONE.format("bank")),
    # -- responses
    refuse(
        FREQZ, RANK, call(ones(2, 2), 1, ones(3)), ValueError,
        r"the axes after the first of b and a must broadcast with those of the frequencies, got "
        r"\(2,\) of b, \(\) of a, \(3,\) of worN",
    ),
    refuse(FREQZ, DTYPE, call(TRUTH), TypeError, r"b must be numeric, got .*bool"),
    refuse(
        FREQZ, "complex frequencies", call(ones(2), 1, [1j]), TypeError,
        r"worN must hold real numbers, got list \[1j\]",
    ),
    refuse(
        FREQZ, "complex frequency", call(ones(2), 1, 1j), TypeError,
        "worN must hold real numbers, got complex 1j",
    ),
    refuse(FREQZ, MIXED, call(ones(2), 1, elsewhere([1.0])), TypeError, FOREIGN.format("worN")),
    gives(FREQZ, EMPTY, call(ones(2), 1, []), ones(0), lambda r: r[1]),
    refuse(
        FREQZ, "zero-size filter", call(ones(0)), ValueError,
        "b must have at least one coefficient, got none",
    ),
    gives(FREQZ, NAN, call(HOLED, 1, 2), np.full(2, nan), lambda r: abs(r[1])),
    refuse(FREQZ, OBJECT, call(object()), TypeError, NO_OBJECT.format("b")),
    refuse(FREQZ, "None", call(ones(2), None), TypeError, NONE.format("a")),
    refuse(
        FREQZ, "negative number of frequencies", call(ones(2), 1, -4), ValueError,
        "worN must be at least 0, got -4",
    ),
    refuse(
        FREQZ, "negative sampling rate", call(ones(2), fs=-1), ValueError,
        "fs must be positive, got -1",
    ),
    refuse(
        FREQZ, "infinite sampling rate", call(ones(2), fs=np.inf), ValueError,
        "fs must be finite, got inf",
    ),
    refuse(
        FREQZ, "plot that is no function", call(ones(2), plot=3), TypeError,
        r"plot must be callable as plot\(w, h\), got int 3",
    ),
    refuse(
        REAL, RANK, call(ones(2, 2), [0.0]), ValueError,
        r"h must be one row of coefficients, got shape \(2, 2\)",
    ),
    refuse(REAL, DTYPE, call(1j * ones(2), [0.0]), TypeError, r"h must be real, got .*complex"),
    refuse(REAL, MIXED, call(ones(2), elsewhere([1.0])), TypeError, FOREIGN.format("freqs")),
    gives(REAL, EMPTY, call(ones(2), []), ones(0)),
    gives(REAL, NAN, call(np.array([nan, nan]), [0.0]), [nan]),
    refuse(REAL, OBJECT, call(object(), [0.0]), TypeError, NO_OBJECT.format("h")),
    refuse(
        REAL, "None", call(ones(2), None), TypeError,
        "freqs must be an array, a number or a list, got NoneType None",
    ),
    refuse(
        REAL, "asymmetry", call(np.array([1.0, 2.0]), [0.0]), ValueError,
        r"h is not symmetric .* signal.freqz gives the complex response of any filter",
    ),
    # -- design
    refuse(
        DESIGN, RANK, call(1, [[1.0]], ones(1)), ValueError,
        r"freqs must have one axis, got shape \(1, 1\)",
    ),
    refuse(
        DESIGN, "wrong length", call(1, [1.0], ones(2)), ValueError,
        r"gains must have one entry for each of the 1 frequencies, got shape \(2,\)",
    ),
    refuse(
        DESIGN, DTYPE, call(1, [1.0], 1j * ones(1)), TypeError,
        r"gains of a symmetric filter .* real; got complex ones: pass symmetric=False",
    ),
    refuse(DESIGN, MIXED, call(1, ones(1), elsewhere([1.0])), TypeError, FOREIGN.format("gains")),
    refuse(
        DESIGN, "mixed weight", call(1, [1.0], ones(1), weight=elsewhere([1.0])), TypeError,
        FOREIGN.format("weight"),
    ),
    refuse(
        DESIGN, LARGER, call(9, [1.0], ones(1)), ValueError,
        r"9 taps have 5 free ones \(symmetric\) and need at least 5 frequencies, got 1; give more",
    ),
    refuse(
        DESIGN, EMPTY, call(1, [], ones(0)), ValueError,
        r"1 taps have 1 free ones \(symmetric\) and need at least 1 frequencies, got 0; give more",
    ),
    gives(DESIGN, NAN, call(1, [1.0], np.array([nan])), [nan]),
    refuse(DESIGN, OBJECT, call(1, [1.0], object()), TypeError, NO_OBJECT.format("gains")),
    refuse(DESIGN, "None", call(1, [1.0], None), TypeError, NONE.format("gains")),
    refuse(
        DESIGN, "no taps", call(0, [1.0], ones(1)), ValueError, "numtaps must be at least 1, got 0"
    ),
    refuse(
        DESIGN, "gains of truth values", call(1, [1.0, 2.0], TRUTH), TypeError,
        "gains must be numeric, got .*bool",
    ),
    refuse(
        DESIGN, "weight of truth values", call(1, [1.0, 2.0], ones(2), weight=TRUTH), TypeError,
        "weight must be numeric, got .*bool",
    ),
    refuse(
        DESIGN, "negative weight", call(1, [1.0], ones(1), weight=-ones(1)), ValueError,
        "weight must be 0 or more",
    ),
    refuse(
        DESIGN, "dtype that is none", call(1, [1.0], [1.0], dtype=object()), TypeError,
        "dtype must be a real floating dtype of [a-z_]+, got <object",
    ),
    refuse(
        DESIGN, "library that is not there", call(1, [1.0], [1.0], xp="fortran"), ValueError,
        "xp is the array library 'fortran', which is not installed",
    ),
    refuse(
        DESIGN, "device that is not there", call(1, [1.0], [1.0], device="gpu7"), ValueError,
        "device 'gpu7' is none that numpy can use here .*; there are: cpu",
    ),
    refuse(
        WINDOWED, RANK, call(3, ones(2, 2)), ValueError,
        r"cutoff must have at most one axis, got shape \(2, 2\)",
    ),
    refuse(WINDOWED, DTYPE, call(3, 1j * ones(1)), TypeError, "cutoff must be real, got .*complex"),
    refuse(
        WINDOWED, MIXED, call(3, np.array([0.5]), window=elsewhere([1.0, 1.0, 1.0])), TypeError,
        FOREIGN.format("window"),
    ),
    refuse(WINDOWED, EMPTY, call(3, []), ValueError, "cutoff must have at least one edge, got non"),
    refuse(
        WINDOWED, NAN, call(3, np.array([nan])), ValueError,
        r"cutoff must increase and lie strictly between 0 and fs/2 = 1.0, got an array that does",
        traced=np.full(3, nan),
    ),
    refuse(WINDOWED, OBJECT, call(3, object()), TypeError, NO_OBJECT.format("cutoff")),
    refuse(
        WINDOWED, "negative width", call(3, 0.5, width=-1), ValueError,
        "width must lie between 0 and fs/2 = 1.0, got -1",
    ),
    refuse(
        WINDOWED, "no width", call(3, 0.5, width=0.0), ValueError,
        "width must lie between 0 and fs/2 = 1.0, got 0.0",
    ),
    refuse(
        WINDOWED, "whole width", call(3, 1.0, width=2.0, fs=4.0), ValueError,
        "width must lie between 0 and fs/2 = 2.0, got 2.0",
    ),
    refuse(
        WINDOWED, "width of text", call(3, 0.5, width="1"), TypeError,
        "width must be a number, got str '1'",
    ),
    refuse(
        WINDOWED, "unknown window", call(3, 0.5, window="nope"), ValueError,
        "SciPy does not make window 'nope'",
    ),
]  # fmt: skip

_CONVOLVING = (
    "signal.convolve",
    "signal.correlate",
    "signal.fftconvolve",
    "signal.oaconvolve",
    "signal.convolve2d",
    "signal.correlate2d",
)
NEVER = [
    (
        STRIDE,
        "every sample counts: there is no stride",
        (*_CONVOLVING, SCORE, MATCH, FILTER, STATE, PAST, FREQZ, REAL, DESIGN, WINDOWED),
    ),
    (LARGER, "both arrays have one shape", (SCORE,)),
    (LARGER, "there is no signal beside the filter", (STATE, FREQZ, REAL, WINDOWED)),
    (LARGER, "missing past samples are 0 and later ones are left out", (PAST,)),
]
