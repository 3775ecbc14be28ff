"""Products of integers modulo 2^bits by products of floats, exactly.

No BLAS multiplies integers, but a float holds small ones: a sum of n products of integers of s and
of t bits with sign is at most n·2^(s+t−2) in magnitude, and so is every part of it. As long as a
float has that many bits, each addition and each multiplication is exact, in any order, fused or
not, whatever zeros are added beside. Integers without sign are those with one modulo 2^bits.

Wider integers are cut into limbs with sign, the lowest first,

    a = Σ_i a_i 2^(s·i),  b = Σ_j b_j 2^(t·j),      a·b = Σ_ij (a_i·b_j) 2^(s·i + t·j)

of whose products those of weight 2^bits and more do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from .._backends import Backend

__all__ = ["Split", "limbs", "product", "split"]

Array = Any

# Bits of the integers that a float holds; the widest limb; what a multiply-add costs. Limbs of
# float32 are as narrow as even products that a device is told to round hold.
_FLOATS = {"float32": (24, 8, 1), "float64": (53, 32, 2)}
# Limbs of one operand at most.
_LIMBS = 4


class Split(NamedTuple):
    """How a product of integers becomes products of floats.

    Attributes
    ----------
    dtype : str
        Name of the floats' dtype.
    bits : int
        Of the integers.
    sizes : tuple of int
        Bits of the limbs of both operands.
    counts : tuple of int
        How many limbs these have.
    pairs : tuple of tuple of int
        Limbs that are multiplied.
    magnitude : int
        Bits of the largest sum.
    work : int
        Multiply-adds of float32 in the time of one of the integers.
    """

    dtype: str
    bits: int
    sizes: tuple[int, int]
    counts: tuple[int, int]
    pairs: tuple[tuple[int, int], ...]
    magnitude: int
    work: int


@lru_cache(maxsize=4096)
def split(bits: int, terms: int, floats: Sequence[str]) -> Split | None:
    """The least work for sums of so many products of integers of so many bits.

    Parameters
    ----------
    bits : int
        Of the integers.
    terms : int
        Products in a sum, at most.
    floats : tuple of str
        Dtypes whose products are plain sums.

    Returns
    -------
    Split or None
        None where the floats are too short.
    """
    best, found = float("inf"), None
    several = (terms - 1).bit_length()
    for dtype in floats:
        held, widest, heavy = _FLOATS[dtype]
        for s in range(1, min(bits, widest) + 1):
            t = min(bits, widest, held + 2 - several - s)
            if t < 1 or max(-(-bits // s), -(-bits // t)) > _LIMBS:
                continue
            counts = -(-bits // s), -(-bits // t)
            pairs = tuple(
                (i, j) for i in range(counts[0]) for j in range(counts[1]) if s * i + t * j < bits
            )
            # Of as many products those of fewer limbs.
            work = heavy * len(pairs)
            if work + 0.01 * sum(counts) < best:
                best = work + 0.01 * sum(counts)
                found = Split(dtype, bits, (s, t), counts, pairs, s + t - 2 + several, work)
    return found


def limbs(be: Backend, a: Array, how: Split, side: int) -> list[Array]:
    """An operand, the first or the second, as floats."""
    xp, size = be.xp, how.sizes[side]
    kind, left = be.dtype(how.dtype), how.bits
    a = be.cast(a, be.dtype(f"int{left}"))
    found = []
    for _ in range(how.counts[side] - 1):
        # The lowest bits with sign; what is left is a multiple of 2^size, modulo 2^bits.
        top = how.bits - size
        low = xp.bitwise_right_shift(xp.bitwise_left_shift(a, top), top)
        found.append(be.cast(low, kind))
        a = xp.bitwise_right_shift(a - low, size)
    return [*found, be.cast(a, kind)]


def product(
    be: Backend,
    how: Split,
    kind: Any,
    a: Sequence[Any],
    b: Sequence[Any],
    multiply: Callable[[Any, Any], Array],
) -> Array:
    """The product of integers, in their dtype, from limbs of both operands."""
    # Of what the shorter one holds no cast goes beyond.
    whole, own = be.dtype("int32" if how.magnitude < 31 else "int64"), be.dtype(f"int{how.bits}")
    total: Any = None
    for i, j in how.pairs:
        term = be.cast(be.cast(multiply(a[i], b[j]), whole), own)
        weight = how.sizes[0] * i + how.sizes[1] * j
        if weight:
            term = be.xp.bitwise_left_shift(term, weight)
        total = term if total is None else be.add_into(total, term)
    return be.cast(total, kind)
