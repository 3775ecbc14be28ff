"""Transforms of long lines as those of planes, for products of spectra alone.

A line of n = n₁·n₂ points is a plane of n₁ rows. Its transform is that of the columns, times
e^{−2πi·k₁·j₂/n}, and then that of the rows (Gentleman & Sande, "Fast Fourier Transforms: for fun
and profit", 1966; Bailey, "FFTs in external or hierarchical memory", 1990)::

    X[k₁ + n₁·k₂] = Σ_{j₂} e^{−2πi·k₂·j₂/n₂} e^{−2πi·k₁·j₂/n} Σ_{j₁} e^{−2πi·k₁·j₁/n₁} x[n₂·j₁ + j₂]

Lines so short stay in the caches, vector units take several at once, and threads share them. The
spectrum stays as (k₁, k₂): it is multiplied, and the inverse goes the same way back. Of real lines
k₁ goes to n₁/2.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from math import isqrt
from typing import Any

import numpy as np

__all__ = ["NEVER", "Long", "back", "long", "sides", "spectra"]

Array = Any

# Rows of a plane at most, and points of a row at most that rows are no more for.
_ROWS, _POINTS = 512, 2**16

# Points of which lines are long, by how many there are: one, two, three, or more, which threads and
# vector units share as they are.
Long = tuple[range, range, range, range]
NEVER = range(0)


def long(least: int, most: int = sys.maxsize - 1) -> range:
    """Lines of so many points."""
    return range(least, most + 1)


@lru_cache(maxsize=1024)
def sides(n: int, lines: int, known: Long | None) -> tuple[int, int] | None:
    """Rows and columns of the planes of so many lines; None where lines stay what they are."""
    if known is None or not lines or n not in known[min(lines, len(known)) - 1]:
        return None
    most = max(min(_ROWS, isqrt(n)), n // _POINTS)
    rows = _divisor(n, most)
    # A length without such a divisor is no fast one.
    return (rows, n // rows) if rows > most // 8 else None


def _divisor(n: int, most: int) -> int:
    """The largest divisor up to a bound."""
    return next(d for d in range(min(most, n), 0, -1) if n % d == 0)


@lru_cache(maxsize=32)
def _turns(rows: int, columns: int, half: bool, dtype: str, back: bool) -> tuple[Any, Any]:
    """e^{∓2πi·k·j/n} for j = a·b + c as factors of a and of c."""
    n, step = rows * columns, columns // _divisor(columns, int(columns**0.5))
    k = np.arange(rows // 2 + 1 if half else rows)[:, None]

    def turned(j: Any) -> Any:
        return np.exp((2j if back else -2j) * np.pi / n * (k * j)).astype(dtype)

    return turned(np.arange(0, columns, step))[:, :, None], turned(np.arange(step))[:, None, :]


def _turn(be: Any, z: Array, plane: tuple[int, int], half: bool, *, back: bool) -> Array:
    """z e^{∓2πi·k₁·j₂/n}, in the memory of z if that may be and it has no gaps."""
    coarse, fine = _turns(*plane, half, be.name_of(z.dtype), back)
    parts = be.xp.reshape(z, (*z.shape[:-1], coarse.shape[1], fine.shape[2]))
    for table in (coarse, fine):
        factor = be.constant(table, z, z.dtype)
        if be.in_place:
            parts *= factor
        else:
            parts = parts * factor
    return be.xp.reshape(parts, z.shape)


def spectra(be: Any, x: Array, plane: tuple[int, int]) -> Array:
    """(…, k₁, k₂) of lines along the last axis, with zeros to n points."""
    rows, columns = plane
    given, over = -(-x.shape[-1] // columns), -x.shape[-1] % columns
    if over:
        x = be.pad(x, [*[(0, 0)] * (x.ndim - 1), (0, over)])
    x = be.xp.reshape(x, (*x.shape[:-1], given, columns))
    z = be.fft(x, (x.ndim - 2,), (rows,))
    return be.fft_over(_turn(be, z, plane, not be.is_complex(x), back=False), z.ndim - 1)


def back(be: Any, z: Array, plane: tuple[int, int], *, real: bool) -> Array:
    """The lines of spectra; those are overwritten."""
    rows, columns = plane
    z = be.ifft(z, (z.ndim - 1,), (columns,), real=False)
    z = _turn(be, z, plane, real, back=True)
    x = be.ifft(z, (z.ndim - 2,), (rows,), real=real)
    return be.xp.reshape(x, (*x.shape[:-2], rows * columns))
