"""Pseudo-inverses of tall matrices of which a few columns depend on others.

Eigenvectors of the Gram matrix tell them to all digits where what is left is far from dependent: a
column twice, shares that add up to one. So it takes no more than thin products with the rows to be
sure of them, and the Gram matrix does for the rest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .._backends import Backend
from ._rows import by_rows
from ._scaling import adjoint, adjoint_times, condition_of, scaled_root, squares

__all__ = ["Apart", "apart", "widest"]

Array = Any
# Vectors that are looked at: so many, or this part of the columns where that is more.
_FEW, _SHARE = 8, 16


def widest(eps: float) -> float:
    """Largest condition of what is left: its Gram matrix then has half of the digits right."""
    return eps**-0.25


class Apart(NamedTuple):
    """What `apart` finds.

    Attributes
    ----------
    holds : array of bool
        Whether some columns depend on others, beyond doubt, and the rest is well conditioned.
        Elsewhere nothing else counts.
    root, scale, rank, condition : array
        Z, D, the rank and the condition of B D, as of `_triangles.orthogonal`.
    """

    holds: Array
    root: Array
    scale: Array
    rank: Array
    condition: Array


def apart(
    be: Backend, blocks: int, tall: Array, scale: Array, gram: Array, limit: float, rcond: float
) -> Apart:
    """Z of one B (m, n) of deficient rank, from `gram`, the finite Gram matrix of B D.

    With eigenvectors V of `gram`, split into V₁ of values Λ and V₀ of those that are 0 up to
    rounding, D V₁ Λ⁻¹ V₁ᴴ D is an inverse of BᴴB on its range, and the pseudo-inverse between two
    orthogonal projections onto the complement of D V₀. Rounding in `gram` leaves V₀ wrong by
    κ²·eps; a step with (B D)ᴴ(B D V₀), where nothing is squared, brings |B D V₀| down to eps of
    |B D|, and its lengths tell whether B D V₀ is 0 to `rcond`.
    """
    xp, n = be.xp, int(gram.shape[-1])
    size, v = xp.linalg.eigh(gram)
    top = size[-1]
    big = size > top / limit**2
    count = xp.sum(xp.astype(big, be.default_int(gram)))
    safe = xp.where(big, size, xp.ones_like(size))
    inverse = xp.where(big, 1 / safe, xp.zeros_like(size))
    seen = min(n, max(_FEW, n // _SHARE))
    small = ~big[:seen]
    mask = xp.astype(small, v.dtype)
    d = scale[:, None]

    def through(u: Array, null: Array) -> tuple[Array, ...]:
        return (d * adjoint_times(be, u, be.matmul(u, null)),)

    def sizes(u: Array, null: Array) -> tuple[Array, ...]:
        return (squares(be, be.matmul(u, null)),)

    null = v[:, :seen] * mask
    moved = d * null
    (h,) = by_rows(be, blocks, lambda u: through(u, moved), tall)
    h = scaled_root(be, inverse, be.matmul(adjoint(be, v), h))
    null = null - be.matmul(v, h)
    scaled = d * null
    (left,) = by_rows(be, blocks, lambda u: sizes(u, scaled), tall)
    left = left[0, :]
    total = xp.sqrt(xp.sum(left, dtype=left.dtype))
    shortest, longest = xp.min(scale), xp.max(scale)
    # What is left is of the same rank with its columns as they are.
    holds = (count < n) & (count >= n - seen) & (total <= rcond * xp.sqrt(top))
    holds = holds & (limit * rcond * longest < shortest)
    # The null space of B itself; its basis has columns of 0 where a vector is none of it.
    units = scale / shortest
    q, _ = xp.linalg.qr(units[:, None] * null)
    q = q * mask
    root = units[:, None] * v * xp.astype(xp.sqrt(inverse), v.dtype)[None, :]
    root = root - be.matmul(q, be.matmul(adjoint(be, q), root))
    infinite = xp.full_like(left, float("inf"))
    least = xp.sqrt(xp.min(xp.where(small, left, infinite)))
    condition = condition_of(be, xp.sqrt(top), least)
    return Apart(holds, root, xp.broadcast_to(shortest, (n,)), count, condition)
