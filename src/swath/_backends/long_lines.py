"""NumPy: transforms of long lines as those of planes, for products of spectra alone.

A line of n = n₁·n₂ points is a plane of n₁ rows. Its transform is that of the columns, times
e^{−2πi·k₁·j₂/n}, and then that of the rows (Gentleman & Sande, "Fast Fourier Transforms: for fun
and profit", 1966; Bailey, "FFTs in external or hierarchical memory", 1990)::

    X[k₁ + n₁·k₂] = Σ_{j₂} e^{−2πi·k₂·j₂/n₂} e^{−2πi·k₁·j₂/n} Σ_{j₁} e^{−2πi·k₁·j₁/n₁} x[n₂·j₁ + j₂]

Lines so short stay in the caches, and vector units take several at once. The spectrum stays as
(k₁, k₂): it is multiplied, and the inverse goes the same way back. Of real lines k₁ goes to n₁/2.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["back", "sides", "spectra"]

Array = Any

# Points of a line that leaves the caches, by bytes of a real number: by itself, and of several that
# vector units take at once; how many those are.
_LONG = {4: (2**17, 2**20), 8: (2**20 + 1, 2**20 + 1)}
_MANY = 4
# Rows of a plane, and points of a row at most that rows are fewer for.
_ROWS, _POINTS = 512, 2**16


@lru_cache(maxsize=1024)
def sides(n: int, lines: int, dtype: Any) -> tuple[int, int] | None:
    """Rows and columns of the planes of so many lines; None where lines stay what they are."""
    alone, several = _LONG.get(dtype.itemsize // (1 + (dtype.kind == "c")), (n + 1, n + 1))
    if n < (alone if lines < _MANY else several):
        return None
    rows = _divisor(n, max(_ROWS, n // _POINTS))
    # A length without such a divisor is no fast one.
    return (rows, n // rows) if rows > _ROWS // 8 else None


def _divisor(n: int, most: int) -> int:
    """The largest divisor up to a bound."""
    return next(d for d in range(min(most, n), 0, -1) if n % d == 0)


@lru_cache(maxsize=16)
def _turns(rows: int, columns: int, half: bool, dtype: Any) -> tuple[Array, Array]:
    """e^{−2πi·k·j/n} for j = a·b + c as factors of a and of c."""
    n, step = rows * columns, columns // _divisor(columns, int(columns**0.5))
    k = np.arange(rows // 2 + 1 if half else rows)[:, None]

    def turned(j: Array) -> Array:
        return np.exp(-2j * np.pi / n * (k * j % n)).astype(dtype)

    return turned(np.arange(0, columns, step))[:, :, None], turned(np.arange(step))[:, None, :]


def _turn(z: Array, rows: int, columns: int, half: bool, *, back: bool) -> Array:
    """z e^{∓2πi·k₁·j₂/n}, in the memory of z if it has no gaps."""
    coarse, fine = _turns(rows, columns, half, z.dtype)
    parts = z.reshape(*z.shape[:-1], coarse.shape[1], fine.shape[2])
    for factor in (coarse, fine):
        parts *= factor.conj() if back else factor
    return parts.reshape(z.shape)


def _fft() -> Any:
    # As SciPy's submodules everywhere: loaded when first needed.
    from scipy import fft

    return fft


def spectra(x: Array, plane: tuple[int, int]) -> Array:
    """(…, k₁, k₂) of lines along the last axis, with zeros to n points."""
    (rows, columns), fft = plane, _fft()
    lead, given = x.shape[:-1], -(-x.shape[-1] // columns)
    if x.shape[-1] < given * columns:
        padded = np.zeros((*lead, given * columns), x.dtype)
        padded[..., : x.shape[-1]] = x
        x = padded
    x, real = x.reshape(*lead, given, columns), x.dtype.kind != "c"
    z = _turn((fft.rfft if real else fft.fft)(x, rows, -2), rows, columns, real, back=False)
    return fft.fft(z, axis=-1, overwrite_x=True)


def back(z: Array, plane: tuple[int, int], *, real: bool) -> Array:
    """The lines of spectra; those are overwritten."""
    (rows, columns), fft = plane, _fft()
    z = _turn(fft.ifft(z, axis=-1, overwrite_x=True), rows, columns, real, back=True)
    x = fft.irfft(z, rows, -2, overwrite_x=True) if real else fft.ifft(z, axis=-2, overwrite_x=True)
    return x.reshape(*x.shape[:-2], rows * columns)
