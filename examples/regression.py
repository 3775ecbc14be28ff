"""A regression over more rows than memory holds, made as it goes.

Fifty columns, one of ones, the others correlated; rows are made in chunks, added to the sums of a
`swath.linalg.GramAccumulator` and forgotten. The coefficients found stand beside those that the
data were made with, in standard errors. Run it::

    python examples/regression.py                    3 million rows, 1.2 GB if they were kept
    python examples/regression.py --rows 100000000   40 GB
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import swath

COLUMNS, CHUNK, NOISE, SHARED = 50, 100_000, 2.0, 0.8


def truth() -> np.ndarray:
    """The coefficients that the data are made with."""
    return np.random.default_rng(1).standard_normal(COLUMNS)


def chunks(rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of A and b: one column of ones, 49 with a part in common; the last chunk is shorter."""
    rng, x = np.random.default_rng(2), truth()
    for start in range(0, rows, CHUNK):
        a = rng.standard_normal((min(CHUNK, rows - start), COLUMNS))
        a[:, 1:] += SHARED * a[:, :1]
        a[:, 0] = 1.0
        yield a, a @ x + NOISE * rng.standard_normal(len(a))


def resident() -> float:
    """MB of memory that the process holds now (where Linux tells it), else at most so far."""
    import resource

    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


@dataclass
class Found:
    """A fit, its errors in standard errors, seconds in all and in `update`, MB of growth."""

    fit: Any
    errors: np.ndarray
    seconds: float
    summing: float
    growth: float


def regression(rows: int, library: str = "numpy") -> Found:
    """Make rows, add them, forget them; then solve."""
    sw = swath.bind(library)
    sums = sw.linalg.GramAccumulator(COLUMNS)
    began, summing, held = time.perf_counter(), 0.0, 0.0
    for i, (a, b) in enumerate(chunks(rows)):
        then = time.perf_counter()
        sums.update(a, b)
        summing += time.perf_counter() - then
        if i == 2:
            # All buffers are there.
            held = resident()
    growth = resident() - held if held else 0.0
    fit = sums.solve()
    errors = (sw.to_numpy(fit.x) - truth()) / sw.to_numpy(fit.stderr)
    return Found(fit, errors, time.perf_counter() - began, summing, growth)


def run(
    library: str, folder: Path | None = None, *, rows: int = 500_000, say: Any = print
) -> Found:
    """Fit on one array library, and say what was found; there are no files."""
    del folder
    found = regression(rows, library)
    fit, size = found.fit, np.abs(found.errors)
    say(f"{rows:,} rows of {COLUMNS} columns: {rows * COLUMNS * 8 / 1e9:.1f} GB, never kept")
    say(
        f"{found.seconds:.1f} s, of which {found.summing:.1f} s to sum "
        f"({rows / found.summing / 1e6:.2f} million rows/s); memory grew by {found.growth:.1f} MB"
    )
    noise = float(fit.residuals / fit.dof) ** 0.5
    say(f"standard errors {float(fit.stderr.min()):.1e} to {float(fit.stderr.max()):.1e}")
    say(f"noise {noise:.5f} (made with {NOISE}), R² {float(fit.r_squared):.6f}")
    say(
        f"coefficients off by {size.max():.2f} standard errors at most, {np.mean(size < 1):.0%} by "
        f"less than one"
    )
    return found


def main() -> None:
    """Fit, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=3_000_000, help="how many (default 3 million)")
    parser.add_argument("--library", default="numpy", help="array library (default numpy)")
    asked = parser.parse_args()
    run(asked.library, rows=asked.rows)


if __name__ == "__main__":
    main()
