"""Bad input of swath.linalg."""

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
from .signal import FOREIGN, NO_OBJECT, NONE

nan = np.nan
T, H, C = "linalg.toeplitz", "linalg.hankel", "linalg.circulant"
CONV, CORR, LAYER = "linalg.convolution_matrix", "linalg.correlation_matrix", "linalg.conv_matrix"
G, REPORT, COLUMNS = "linalg.gram", "linalg.gram_report", "linalg.independent_columns"
LSTSQ, PROJECT = "linalg.lstsq", "linalg.project"

A, B = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), np.array([1.0, 2.0, 4.0])
HOLED = np.array([[1.0, nan], [1.0, 1.0], [1.0, 2.0]])


def vectors(name: str, argument: str, *rest: int) -> list[Bad]:
    """What the matrices made of vectors have in common."""
    return [
        # As in SciPy, a number is a column of one entry to toeplitz alone.
        gives(name, RANK, call(np.array(1.0)), ones(1, 1)) if name == T else
        refuse(
            name, RANK, call(np.array(1.0), *rest), ValueError,
            rf"{argument} must have at least one axis \(the vector is the last\), got \w+ of shape",
        ),
        refuse(
            name, DTYPE, call(["a"], *rest), TypeError,
            rf"{argument} must hold numbers, got list \['a'\] of dtype <U1",
        ),
        refuse(name, OBJECT, call(object(), *rest), TypeError, NO_OBJECT.format(argument)),
        refuse(name, "None", call(None, *rest), TypeError, NONE.format(argument)),
    ]  # fmt: skip


BAD: list[Bad] = [
    *vectors(T, "c"),
    refuse(T, MIXED, call(ones(2), elsewhere([1.0])), TypeError, FOREIGN.format("r")),
    refuse(
        T, "batch that does not broadcast", call(ones(2, 3), ones(3, 3)), ValueError,
        r"the leading axes must broadcast, got \(2,\) of c, \(3,\) of r",
    ),
    gives(T, EMPTY, call(ones(2), ones(0)), ones(2, 0)),
    gives(T, NAN, call(np.array([1.0, nan]), np.array([1.0, 2.0])), [[1.0, 2.0], [nan, 1.0]]),
    gives(T, "booleans", call(np.array([True, False])), np.eye(2, dtype=bool)),
    *vectors(H, "c"),
    refuse(H, MIXED, call(ones(2), elsewhere([1.0])), TypeError, FOREIGN.format("r")),
    gives(H, EMPTY, call(ones(0)), ones(0, 0)),
    gives(H, NAN, call(np.array([1.0, nan])), [[1.0, nan], [nan, 0.0]]),
    *vectors(C, "c"),
    gives(C, EMPTY, call(ones(0)), ones(0, 0)),
    gives(C, NAN, call(np.array([1.0, nan])), [[1.0, nan], [nan, 1.0]]),
    *vectors(CONV, "a", 2),
    gives(CONV, LARGER, call(ones(4), 2, "valid"), ones(3, 2)),
    refuse(
        CONV, EMPTY, call(ones(0), 2), ValueError,
        r"a must have at least one entry, got \w+ of shape \(0,\)",
    ),
    gives(CONV, NAN, call(np.array([1.0, nan]), 2), [[1.0, 0.0], [nan, 1.0], [0.0, nan]]),
    refuse(CONV, "negative length", call(ones(2), -1), ValueError, "n must be at least 1, got -1"),
    refuse(
        CONV, "array as length", call(ones(2), ones(2)), TypeError,
        r"n must be an int, got \w+ of shape \(2,\)",
    ),
    refuse(
        CONV, "unknown mode", call(ones(2), 3, "x"), ValueError,
        "mode must be one of 'full', 'same', 'valid'; got 'x'",
    ),
    *vectors(CORR, "a", 2),
    gives(CORR, LARGER, call(ones(4), 2, "valid"), ones(3, 2)),
    refuse(
        CORR, EMPTY, call(ones(0), 2), ValueError,
        r"a must have at least one entry, got \w+ of shape \(0,\)",
    ),
    gives(CORR, NAN, call(np.array([1.0, nan]), 3), [[1.0, nan, 0.0], [0.0, 1.0, nan]]),
    refuse(
        LAYER, RANK, call(ones(2, 2), 4), ValueError,
        r"weight must be \(O, C/groups, \*K\) with 1 to 4 sliding axes, got \w+ of shape \(2, 2\)",
    ),
    refuse(
        LAYER, DTYPE, call([[["a"]]], 4), TypeError,
        r"weight must hold numbers, got list \[\[\['a'\]\]\] of dtype <U1",
    ),
    refuse(
        LAYER, STRIDE, call(ones(2, 1, 3), 4, stride=-1), ValueError,
        "stride must be at least 1, got -1",
    ),
    refuse(
        LAYER, LARGER, call(ones(2, 1, 3), 2), ValueError,
        "the kernel spans 3 points on sliding axis 0, but the padded axis has 2; use more padding",
    ),
    refuse(
        LAYER, EMPTY, call(ones(0, 1, 3), 4), ValueError,
        r"weight must not be empty, got \w+ of shape \(0, 1, 3\)",
    ),
    gives(LAYER, NAN, call(np.array([[[1.0, nan]]]), 3), [[1.0, nan, 0.0], [0.0, 1.0, nan]]),
    refuse(LAYER, OBJECT, call(object(), 4), TypeError, NO_OBJECT.format("weight")),
    refuse(
        LAYER, "negative padding", call(ones(2, 1, 3), 4, padding=-1), ValueError,
        r"padding must be 0 or more, got \(-1, -1\); slice the input to crop",
    ),
    # -- least squares
    refuse(
        G, RANK, call(ones(3)), ValueError,
        r"A must have at least two axes \(\.\.\., m, n\), got \w+ of shape \(3,\)",
    ),
    refuse(G, DTYPE, call(A > 0), TypeError, "A must be numeric, got .*bool; convert it"),
    refuse(
        G, MIXED, call(A, weights=elsewhere([1.0, 1.0, 1.0])), TypeError, FOREIGN.format("weights")
    ),
    gives(G, EMPTY, call(ones(0, 2)), np.zeros((2, 2))),
    gives(G, NAN, call(np.array([[1.0, nan]])), [[1.0, nan], [nan, nan]]),
    refuse(G, OBJECT, call(object()), TypeError, NO_OBJECT.format("A")),
    refuse(
        G, "weights of another length", call(A, weights=ones(2)), ValueError,
        r"weights must have one entry for each of the 3 rows of A, got \w+ of shape \(2,\)",
    ),
    refuse(
        REPORT, RANK, call(ones(3)), ValueError,
        r"A must be one matrix \(m, n\), got \w+ of shape \(3,\)",
    ),
    refuse(REPORT, DTYPE, call(A > 0), TypeError, "A must be numeric, got .*bool; convert it"),
    refuse(
        REPORT, EMPTY, call(ones(0, 2)), ValueError, r"A must not be empty, got \w+ of shape \(0, 2"
    ),
    refuse(REPORT, NAN, call(HOLED), ValueError, "A must be finite, got NaN or infinities"),
    refuse(REPORT, OBJECT, call(object()), TypeError, NO_OBJECT.format("A")),
    refuse(
        REPORT, "negative rcond", call(A, rcond=-1), ValueError,
        r"rcond must be a number in \[0, 1\) or None, got int -1",
    ),
    refuse(
        COLUMNS, RANK, call(ones(3)), ValueError,
        r"A must be one matrix \(m, n\), got \w+ of shape \(3,\)",
    ),
    refuse(COLUMNS, DTYPE, call(A > 0), TypeError, "A must be numeric, got .*bool; convert it"),
    gives(COLUMNS, EMPTY, call(ones(0, 2)), ones(0)),
    refuse(COLUMNS, NAN, call(HOLED), ValueError, "A must be finite, got NaN or infinities"),
    refuse(COLUMNS, OBJECT, call(object()), TypeError, NO_OBJECT.format("A")),
    refuse(
        LSTSQ, RANK, call(ones(3), B), ValueError,
        r"A must have at least two axes \(\.\.\., m, n\), got \w+ of shape \(3,\)",
    ),
    refuse(LSTSQ, DTYPE, call(A, B > 0), TypeError, "b must be numeric, got .*bool; convert it"),
    refuse(LSTSQ, MIXED, call(A, elsewhere(B)), TypeError, FOREIGN.format("b")),
    refuse(
        LSTSQ, "mixed ridge", call(A, B, ridge=elsewhere([1.0, 1.0])), TypeError,
        FOREIGN.format("ridge"),
    ),
    refuse(
        LSTSQ, "wrong length", call(A, ones(4)), ValueError,
        r"b must have the 3 rows of A: \(\.\.\., 3\) or \(\.\.\., 3, k\); got \w+ of shape \(4,\)",
    ),
    gives(LSTSQ, EMPTY, call(ones(0, 2), ones(0)), [0.0, 0.0], lambda r: r.x),
    gives(LSTSQ, NAN, call(HOLED, B), [nan, nan], lambda r: r.x),
    gives(LSTSQ, "NaN, success", call(HOLED, B), False, lambda r: r.success),
    refuse(LSTSQ, OBJECT, call(A, object()), TypeError, NO_OBJECT.format("b")),
    refuse(LSTSQ, "None", call(A, None), TypeError, NONE.format("b")),
    refuse(
        LSTSQ, "ridge of NaN", call(A, B, ridge=nan), ValueError, "ridge must be 0 or more, got nan"
    ),
    refuse(
        LSTSQ, "negative weights", call(A, B, weights=-B), ValueError, "weights must be 0 or more"
    ),
    refuse(
        PROJECT, RANK, call(ones(3), B), ValueError,
        r"A must have at least two axes \(\.\.\., m, n\), got \w+ of shape \(3,\)",
    ),
    refuse(PROJECT, DTYPE, call(A > 0, B), TypeError, "A must be numeric, got .*bool; convert it"),
    refuse(PROJECT, MIXED, call(A, elsewhere(B)), TypeError, FOREIGN.format("b")),
    gives(PROJECT, EMPTY, call(ones(4, 0), ones(4)), np.zeros(4), lambda r: r.projection),
    gives(PROJECT, NAN, call(HOLED, B), [nan, nan, nan], lambda r: r.projection),
    refuse(PROJECT, OBJECT, call(object(), B), TypeError, NO_OBJECT.format("A")),
    refuse(PROJECT, "None", call(A, None), TypeError, NONE.format("b")),
]  # fmt: skip

NEVER = [
    (MIXED, "takes one array", (C, CONV, CORR, LAYER, REPORT, COLUMNS)),
    (STRIDE, "has no stride", (T, H, C, CONV, CORR, G, REPORT, COLUMNS, LSTSQ, PROJECT)),
    (LARGER, "has no kernel", (T, H, C, G, REPORT, COLUMNS, LSTSQ, PROJECT)),
]
