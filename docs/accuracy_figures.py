"""The figures of the page on accuracy, computed when the documentation is built.

One signal of normal numbers is filtered four times: as it is, and with one sample replaced by 1e8,
by NaN and by infinity. The tables say what that does to the outputs whose windows do not hold the
sample. `tests/test_accuracy_page.py` checks what the page says about them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import swath

METHODS = ("direct", "toeplitz", "overlap_save", "fft")
DTYPES = ("float32", "float64")
POINTS, TAPS, PLACE = 8192, 31, 4096
SPIKE = 1e8


@dataclass(frozen=True)
class Row:
    """What one bad sample does to outputs whose windows do not hold it."""

    method: str
    dtype: str
    #: Largest error before, over the largest output.
    clean: float
    #: Largest error with the spike, over the largest output without it.
    spike: float
    #: How many outputs have more than eight times their error before, and the farthest of them.
    worse: int
    reach: int
    #: How many outputs are not finite with a NaN, with an infinity, and the farthest of them.
    nan: int
    inf: int
    spread: int


def signal(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """The signal and the taps, the same numbers in both dtypes."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal(POINTS).astype("f4").astype(dtype)
    return x, rng.standard_normal(TAPS).astype("f4").astype(dtype)


def _farthest(places: np.ndarray) -> int:
    """Distance in samples from the windows that hold the sample to the farthest output."""
    if not places.size:
        return 0
    return int(max(PLACE - places.min(), places.max() - (PLACE + TAPS - 1), 0))


def row(method: str, dtype: str) -> Row:
    """The figures of one method in one dtype."""
    x, k = signal(dtype)
    wide = np.longdouble if dtype == "float64" else np.float64
    exact = np.convolve(x.astype(wide), k.astype(wide))
    apart = np.ones(exact.size, bool)
    apart[PLACE : PLACE + TAPS] = False
    scale = float(np.abs(exact).max())

    def filtered(sample: Any) -> np.ndarray:
        changed = x.copy()
        changed[PLACE] = sample
        with np.errstate(invalid="ignore"):
            return swath.signal.convolve(changed, k, method=method)

    before = np.abs(filtered(x[PLACE]) - exact)
    after = np.abs(filtered(SPIKE) - exact)
    clean = float(before.max()) / scale
    worse = np.flatnonzero(apart & (after > 8 * before.max()))
    lost = [np.flatnonzero(apart & ~np.isfinite(filtered(v))) for v in (np.nan, np.inf)]
    return Row(
        method,
        dtype,
        clean,
        float(after[apart].max()) / scale,
        worse.size,
        _farthest(worse),
        lost[0].size,
        lost[1].size,
        max(_farthest(p) for p in lost),
    )


def rows() -> list[Row]:
    """All figures."""
    return [row(method, dtype) for dtype in DTYPES for method in METHODS]


#: Shapes of signal and kernel whose plans the page shows.
SHAPES = [
    ((10**4,), (31,)),
    ((10**6,), (31,)),
    ((10**6,), (257,)),
    ((10**6,), (2001,)),
    ((10**6,), (10**4,)),
    ((10**6,), (10**5,)),
    ((10**5,), (10**5,)),
    ((256, 256), (3, 3)),
    ((1024, 1024), (15, 15)),
    ((1024, 1024), (63, 63)),
    ((1024, 1024), (255, 255)),
]


def _table(head: list[str], body: list[list[str]]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for cells in [head, *body]:
        lines += [f"   {'*' if i == 0 else ' '} - {cell}" for i, cell in enumerate(cells)]
    return "\n".join(lines) + "\n"


def neighbours() -> str:
    """The table of what a bad sample does to its neighbours."""
    head = [
        "dtype",
        "method",
        "error before",
        "error with a sample of 1e8",
        "outputs made worse",
        "how far",
        "outputs lost to a NaN, an infinity",
        "how far",
    ]
    body = []
    for r in rows():
        body.append(
            [
                r.dtype,
                f"``{r.method}``",
                f"{r.clean:.0e}",
                f"{r.spike:.0e}",
                str(r.worse),
                str(r.reach),
                f"{r.nan}, {r.inf}",
                str(r.spread),
            ]
        )
    return _table(head, body)


def plans() -> str:
    """The table of shapes and the algorithm that "auto" takes."""
    head = ["signal", "kernel", *DTYPES]
    body = []
    for lengths, sizes in SHAPES:
        cells = [" × ".join(map(str, lengths)), " × ".join(map(str, sizes))]
        for dtype in DTYPES:
            plan = swath.plan(
                swath.signal.convolve,
                np.broadcast_to(np.zeros((), dtype), lengths),
                np.broadcast_to(np.zeros((), dtype), sizes),
            )
            cells.append(f"``{plan.method}``: {plan.why}")
        body.append(cells)
    return _table(head, body)
