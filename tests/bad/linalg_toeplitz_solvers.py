"""Bad input of solvers of Toeplitz systems."""

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
S = "linalg.solve_toeplitz"
C = np.array([2.0, 1.0])

BAD: list[Bad] = [
    refuse(
        S, RANK, call(np.array(1.0), ones(2)), ValueError,
        r"c must have at least one axis, got \w+ of shape \(\)",
    ),
    refuse(
        S, DTYPE, call(["a"], ones(2)), TypeError,
        r"c must hold numbers, got list \['a'\] of dtype <U1",
    ),
    refuse(
        S, "booleans", call(C, np.array([True, False])), TypeError,
        "b must be numeric, got .*bool; convert it",
    ),
    refuse(S, MIXED, call(C, elsewhere([1.0, 2.0])), TypeError, FOREIGN.format("b")),
    gives(S, EMPTY, call(ones(0), ones(0, 2)), ones(0, 2)),
    gives(S, NAN, call(np.array([2.0, nan]), ones(2)), [nan, nan]),
    gives(S, "NaN in b", call(C, np.array([[3.0, nan], [3.0, 1.0]])), [[1.0, nan], [1.0, nan]]),
    refuse(
        S, "NaN that is looked for", call(np.array([2.0, nan]), ones(2), True), ValueError,
        "c must be finite, got NaN or infinities; check_finite=False allows them",
        traced=[nan, nan],
    ),
    refuse(S, OBJECT, call(C, object()), TypeError, NO_OBJECT.format("b")),
    refuse(S, "None", call(C, None), TypeError, NONE.format("b")),
    refuse(
        S, "wrong length", call(C, ones(3)), ValueError,
        r"b must have one row for each of the matrix's 2 rows, \(2,\) or \(\.\.\., 2, k\); got "
        r"\w+ of shape \(3,\)",
    ),
    refuse(
        S, "not square", call(([2.0, 1.0], [2.0, 1.0, 0.0]), [1.0, 1.0]), ValueError,
        "T must be square: c has 2 entries and r 3",
    ),
    refuse(
        S, "batch that does not broadcast", call(ones(2, 3), ones(4, 3, 1)), ValueError,
        r"the leading axes must broadcast, got \(2,\) of c, \(2,\) of r, \(4,\) of b",
    ),
    refuse(
        S, "unknown method", call(C, ones(2), method="lu"), ValueError,
        "method must be one of 'auto', 'levinson', 'gko', 'pcg'; got 'lu'",
    ),
    refuse(
        S, "rtol of 0", call(C, ones(2), rtol=0), ValueError,
        "rtol must lie between 0 and 1, got 0",
    ),
    refuse(
        S, "rtol as text", call(C, ones(2), rtol="1"), TypeError,
        "rtol must be a number or None, got str '1'",
    ),
    refuse(
        S, "no steps", call(C, ones(2), maxiter=0), ValueError, "maxiter must be at least 1, got 0"
    ),
    refuse(
        S, "singular", call(ones(2), ones(2)), np.linalg.LinAlgError,
        "T is singular to working precision: its condition number is estimated as inf, in the "
        r"1-norm at n = 2; a ridge added to c\[0\]",
    ),
]  # fmt: skip

NEVER = [
    (STRIDE, "has no stride", (S,)),
    (LARGER, "has no kernel", (S,)),
]
