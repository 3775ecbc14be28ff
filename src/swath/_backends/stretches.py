"""Products of tall matrices of few columns, in stretches of rows that NumPy's BLAS does not share.

A BLAS that shares such a product among its threads makes little of it, for each entry takes part in
few multiplications, and its threads, where they sleep, take up to a millisecond to begin. Stretches
are so short that it computes them in the thread that asks, whatever the processor.
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Any

import numpy as np

from .base import Array

__all__ = ["alone", "gram", "grams", "product", "sums"]

# Multiply-adds of two matrices, and entries of one that meets a vector, which no BLAS shares.
_PRODUCT, _MATRIX = 2**18, 2**13
# Rows of a stretch at most: more gain nothing.
_ROWS = 2**12


def alone(a: Array, k: int) -> bool:
    """Whether the product of a and a matrix of k columns is made in the thread that asks."""
    few = _MATRIX if min(a.shape[-2], k) == 1 else _PRODUCT // max(1, k)
    return prod(a.shape) <= few


def _rows(n: int, k: int) -> int:
    """Rows of n columns whose products with k columns are made in the thread that asks."""
    few = _MATRIX // n if min(n, k) == 1 else _PRODUCT // max(1, n * k)
    return max(1, min(_ROWS, few))


def product(a: Array, b: Array) -> Array:
    """a b of a tall matrix and a small one, or of a flat one and a tall one."""
    (m, n), k = a.shape, b.shape[-1]
    if m >= n:
        rows = _rows(n, k)
        if m <= rows:
            return np.matmul(a, b)
        out = np.empty((m, k), np.result_type(a, b))
        cut = m - m % rows
        shape = (cut // rows, rows)
        np.matmul(a[:cut].reshape(*shape, n), b, out=out[:cut].reshape(*shape, k))
        np.matmul(a[cut:], b, out=out[cut:])
        return out
    rows = _rows(m, k)
    if n <= rows:
        return np.matmul(a, b)
    cut = n - n % rows
    shape = (cut // rows, rows)
    left = a[:, :cut].reshape(m, *shape).transpose(1, 0, 2)
    found = np.matmul(left, b[:cut].reshape(*shape, k)).sum(0)
    return found + np.matmul(a[:, cut:], b[cut:])


@cache
def quick() -> bool:
    """Whether there are vectors of 512 bits, for which OpenBLAS has kernels of small matrices."""
    known: Any = np.show_config(mode="dicts")
    vectors = known.get("SIMD Extensions", {})
    names = (*vectors.get("baseline", ()), *vectors.get("found", ()))
    return any(v == "X86_V4" or v.startswith("AVX512") for v in names)


@cache
def _blocks(n: int) -> tuple[tuple[int, int, int], ...]:
    """First row, first and last column of the blocks whose mirror images make the whole.

    The kernels of BLAS libraries compute four, eight or sixteen columns in the time of fewer.
    """
    width = -(-n // 2) if n <= 4 else 4 if n <= 8 else 8 if n <= 16 else 16
    blocks = []
    for start in range(0, n, width):
        # So many take longer than one more: a column is computed twice.
        i = start - 1 if start > 2 and n - start in (1, 3, 11) else start
        row = n - 4 * -(-(n - i + 1) // 4)
        # To save a few rows is not worth the mirror image.
        blocks.append((row if 4 * row > n else 0, i, min(start + width, n)))
    return tuple(blocks)


def grams(a: Array, out: Array) -> None:
    """out = aᵀa of small real matrices."""
    m, n = a.shape[-2:]
    if n == 1 or not (quick() or n in (2, 3, 5, 6, 7, 9) or m * n * n > _PRODUCT):
        # As one product NumPy has the BLAS compute a triangle, which takes longer where there are
        # kernels of small matrices, of some numbers of columns, and where threads share it.
        np.matmul(a.mT, a, out=out)
        return
    for row, i, j in _blocks(n):
        np.matmul(a[..., row:].mT, a[..., i:j], out=out[..., row:, i:j])
        out[..., :row, i:j] = out[..., i:j, :row].mT


def gram(a: Array) -> Array:
    """aᵀa of a real matrix."""
    m, n = a.shape
    rows = _rows(n, min(n, 16) if quick() else n)
    if m <= rows:
        out = np.empty((n, n), a.dtype)
        grams(a, out)
        return out
    cut = m - m % rows
    whole = a[:cut].reshape(cut // rows, rows, n)
    found = np.empty((len(whole) + 1, n, n), a.dtype)
    grams(whole, found[:-1])
    grams(a[cut:], found[-1])
    return found.sum(0)


def sums(a: Array, b: Array) -> Array:
    """Σ conj(a)·b along the rows of matrices."""
    m, k = a.shape
    cut = m - m % _MATRIX
    dots: Any = np.vecdot
    rest = dots(a[cut:], b[cut:], axis=-2)
    if not cut:
        return rest
    some, more = (v[:cut].reshape(-1, _MATRIX, k) for v in (a, b))
    return dots(some, more, axis=-2).sum(0) + rest
