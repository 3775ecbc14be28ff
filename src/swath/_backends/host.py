"""SciPy's kernels for memory of the host, which PyTorch's CPU arrays share with NumPy's."""

from __future__ import annotations

import numpy as np

__all__ = ["levinson", "levinson_seconds"]

# Seconds of SciPy's recursion for one right-hand side: to start it, and for each of n² steps, of
# real and of complex numbers (one core of a Xeon, 2026-11).
_LEVINSON_START, _LEVINSON_STEPS = 1.5e-5, (1.3e-9, 3.1e-9)


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
