"""What the ways to solve Toeplitz systems take, in seconds by the rates of the device, from shapes.

The smallest one is taken, so that ratios matter and not the last tenth.
"""

from __future__ import annotations

from typing import Any

from .._backends import Backend
from ..sliding.costs import of

__all__ = ["cheapest", "dense", "inverts", "native", "recursion"]

Array = Any
# Starts of array operations in a step of the recursion; passes over vectors for the two that
# determine the inverse and for a right-hand side (each a product and a sum, twice); and passes over
# the matrix that a factorisation takes beyond its multiply-adds. All beside fitted rates, from the
# times of 1000 systems of order 64 and of one of order 1000 (two cores of a Xeon, 2026-11).
_CALLS, _PASSES, _PASSES_SIDE = 6, 8, 4
_LU_PASSES = 17
# A compiled step on a processor, in starts of one operation (XLA, order 1000: 3.9 ms in all).
_COMPILED = 0.5
# Of least squares with AᴴA a Toeplitz matrix: passes over it that making, factoring and inverting
# it takes, and multiply-adds in n³; starts of operations that the inverse by the recursion, and
# every product with it, take beyond that of matrices. From orders 24 to 800, one and 16 of them, on
# NumPy, PyTorch and JAX (two cores of an EPYC, 2026-11).
_GRAM_PASSES, _GRAM_PRODUCTS, _INVERSE_CALLS = 90, 3, 300


def recursion(be: Backend, like: Array, lanes: int, k: int, n: int) -> float:
    """Levinson's recursion in steps of array operations, for k right-hand sides each."""
    rates = of(*be.place(like)).costs
    passes = lanes * (_PASSES + _PASSES_SIDE * k) * be.itemsize(like.dtype)
    # Compiled steps have masks instead of vectors that grow.
    elements = n * n if be.traces else n * n / 2
    calls = _COMPILED if be.traces and be.wide(like) == 1 else _CALLS
    return n * calls * rates.call + passes * elements / rates.stream


def native(be: Backend, like: Array, lanes: int, k: int, n: int) -> float:
    """The recursion by a compiled kernel, infinite where there is none."""
    return lanes * k * be.native_levinson_seconds(like, n)


def dense(be: Backend, like: Array, lanes: int, n: int) -> float:
    """A factorisation of every matrix."""
    rates, size = of(*be.place(like)).costs, be.itemsize(like.dtype)
    products = n**3 / 3 * (size / 4) * (2 if be.is_complex(like) else 1) / rates.gemm
    return lanes * (products + _LU_PASSES * n * n * size / rates.stream)


def inverts(be: Backend, like: Array, lanes: int, n: int) -> bool:
    """Whether inverses of Gram matrices are to come from the recursion, not from factors."""
    rates, size = of(*be.place(like)).costs, be.itemsize(like.dtype)
    steps = min(recursion(be, like, lanes, 0, n), native(be, like, lanes, 1, n))
    products = _GRAM_PRODUCTS * n**3 * (size / 4) * (2 if be.is_complex(like) else 1) / rates.gemm
    other = lanes * (products + _GRAM_PASSES * n * n * size / rates.stream)
    calls = 0 if be.traces and be.wide(like) == 1 else _INVERSE_CALLS
    return steps + calls * rates.call < other


def cheapest(be: Backend, like: Array, lanes: int, k: int, n: int) -> str:
    """The direct method to try first, "dense" or "levinson"."""
    steps = min(recursion(be, like, lanes, k, n), native(be, like, lanes, k, n))
    return "dense" if dense(be, like, lanes, n) < steps else "levinson"
