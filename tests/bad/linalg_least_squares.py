"""Bad input of least squares and of arithmetic beyond the working precision."""

from __future__ import annotations

import numpy as np

from . import DTYPE, EMPTY, LARGER, MIXED, NAN, OBJECT, RANK, STRIDE, Bad, call, gives, ones, refuse
from .signal import NO_OBJECT

nan = np.nan
EXTENDED, QR, LSTSQ = "linalg.gram_extended", "linalg.cholesky_qr", "linalg.lstsq"
A = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])

BAD: list[Bad] = [
    refuse(
        EXTENDED, RANK, call(ones(3)), ValueError,
        r"A must have at least two axes \(\.\.\., m, n\), got \w+ of shape \(3,\)",
    ),
    refuse(EXTENDED, DTYPE, call(A > 0), TypeError, "A must be numeric, got .*bool; convert it"),
    gives(EXTENDED, EMPTY, call(ones(0, 2)), np.zeros((2, 2)), lambda pair: pair[1]),
    gives(
        EXTENDED, NAN, call(np.array([[1.0, nan], [2.0, 1.0]])), [[5.0, nan], [nan, nan]],
        lambda pair: pair[0],
    ),
    refuse(EXTENDED, OBJECT, call(object()), TypeError, NO_OBJECT.format("A")),
    refuse(
        QR, RANK, call(ones(3)), ValueError,
        r"A must have at least two axes \(\.\.\., m, n\), got \w+ of shape \(3,\)",
    ),
    refuse(QR, DTYPE, call(A > 0), TypeError, "A must be numeric, got .*bool; convert it"),
    gives(QR, EMPTY, call(ones(3, 0)), ones(3, 0), lambda pair: pair[0]),
    gives(
        QR, NAN, call(np.array([[1.0, nan], [2.0, 1.0]])), [[nan, nan], [nan, nan]],
        lambda pair: pair[0],
    ),
    refuse(QR, OBJECT, call(object()), TypeError, NO_OBJECT.format("A")),
    refuse(
        QR, "wide", call(ones(2, 3)), ValueError,
        r"A must have at least as many rows as columns, got \w+ of shape \(2, 3\).* factor its tr",
    ),
    refuse(
        LSTSQ, "unknown accuracy", call(A, A[:, 1], accuracy="high"), ValueError,
        "accuracy must be one of 'standard', 'full'; got 'high'",
    ),
    gives(
        LSTSQ, "dependent columns in full", call(ones(3, 2), ones(3), accuracy="full"), False,
        lambda r: r.success,
    ),
]  # fmt: skip

NEVER = [
    (MIXED, "takes one array", (EXTENDED, QR)),
    (STRIDE, "has no stride", (EXTENDED, QR)),
    (LARGER, "has no kernel", (EXTENDED, QR)),
]
