"""NumPy's and SciPy's kernels for memory of the host, which PyTorch's CPU arrays share."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from . import threads

__all__ = ["levinson", "levinson_seconds", "line", "line_seconds", "triangle"]

# Seconds that `numpy.correlate` takes for a product of up to so many real taps, for every output of
# more, where the BLAS begins anew, and for each of those left over from whole blocks, over the
# bytes of a number (one core of an EPYC, 2026-11; a Xeon took up to twice as long).
_FEW = 11
_TAP, _OUTPUT, _LEFT = 0.25e-9, 4e-9, 2.2e-9
_BLOCK = 32
# It reads two numbers for each multiply-add: a fraction of the rate of a product of matrices, and
# half of that once they leave the first cache.
_DOT, _NEAR = 4, 1 << 15

# Seconds of every output of integers and of every product in it.
_WHOLE, _PRODUCT = 0.5e-9, 0.46e-9

# Seconds of SciPy's recursion for one right-hand side: to start it, and for each of n² steps, of
# real and of complex numbers (one core of a Xeon, 2026-11).
_LEVINSON_START, _LEVINSON_STEPS = 1.5e-5, (1.3e-9, 3.1e-9)

# Bytes of the matrices that are factored in one call; rows of a block of a tall one, over columns.
_PIECE, _BLOCKS = 1 << 20, 16


def line_seconds(
    span: Any, width: int, heavy: float, gemm: float, *, integral: bool = False
) -> float:
    """What `line` takes for numbers of `width` bytes: a product of the BLAS for every output.

    `heavy` and `gemm` are a multiply-add beside one of float32, and how many of these a product of
    large matrices makes in a second. Integers are summed by a loop.
    """
    n, k = max(span.length, span.size), min(span.length, span.size)
    points = n - k + 1 if span.low == span.high == 0 else n + k - 1
    if integral:
        return points * (_WHOLE + _PRODUCT * k)
    if k <= _FEW and heavy <= 2:
        return points * _TAP * k
    dot = heavy * _DOT * k / gemm * (1 if width * k < _NEAR else 2)
    return points * (_OUTPUT * max(1, heavy / 2) + _LEFT / width * (k % _BLOCK) + dot)


def line(span: Any, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Slide w over one row x, one point at a time."""
    if span.low == span.high == 0 and span.length >= span.size:
        # What `convolve` ends in, without its checks; it conjugates.
        return np.correlate(x, w.conj() if w.dtype.kind == "c" else w, "valid")
    y, out, start = np.convolve(x, w[::-1]), span.out, span.size - 1 - span.low
    if start < 0 or start + out > y.shape[0]:
        y = np.pad(y, (max(0, -start), max(0, start + out - y.shape[0])))
        start = max(0, start)
    return y[start : start + out]


def levinson_seconds(n: int, is_complex: bool) -> float:
    """What `levinson` takes for one right-hand side."""
    return _LEVINSON_START + _LEVINSON_STEPS[is_complex] * n * n


def levinson(c: np.ndarray, r: np.ndarray, y: np.ndarray) -> np.ndarray:
    """T⁻¹y of columns and rows (L, n) and right-hand sides (L, k, n), one after the other.

    In double precision. NaN where a leading minor vanishes.
    """
    from scipy.linalg import solve_toeplitz

    x = np.empty(y.shape, np.result_type(c, y))
    for lane in range(y.shape[0]):
        for side in range(y.shape[1]):
            try:
                x[lane, side] = solve_toeplitz(
                    (c[lane], r[lane]), y[lane, side], check_finite=False
                )
            except np.linalg.LinAlgError:
                x[lane, side] = np.nan
    return x


def triangle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """R of the QR factorisations of matrices [a b], as many at a time as stay in the cache.

    Of a tall one it is that of the triangles of its blocks of rows.
    """
    *lead, m, n = a.shape
    k = b.shape[-1]
    rows = _BLOCKS * (n + k)
    if not lead and m >= 2 * rows > 0:
        cut = m - m % rows
        parts = triangle(
            a[:cut].reshape(cut // rows, rows, n), b[:cut].reshape(cut // rows, rows, k)
        )
        rest = np.concatenate([a[cut:], b[cut:]], axis=-1)
        both: Any = np.linalg.qr(np.concatenate([parts.reshape(-1, n + k), rest]), mode="r")
        return both
    a, b = a.reshape(prod(lead), m, n), b.reshape(prod(lead), m, k)
    found = np.empty((a.shape[0], min(m, n + k), n + k), np.result_type(a, b))
    step = max(1, _PIECE // max(1, m * (n + k) * found.itemsize))

    def work(_: None, start: int) -> None:
        some = slice(start, start + step)
        found[some] = np.linalg.qr(np.concatenate([a[some], b[some]], axis=-1), mode="r")

    threads.each(range(0, a.shape[0], step), lambda: None, work)
    return found.reshape(*lead, *found.shape[1:])
