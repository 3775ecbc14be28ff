"""Triangles from Gram matrices: Cholesky's factor, and the steps of CholeskyQR on top of it.

A triangle R is kept as its inverse Z, so that B itself is all that is ever multiplied; where B Z is
well conditioned, so is its Gram matrix, and the next Z is better (CholeskyQR2; with a multiple of
the identity added where Cholesky fails, shifted CholeskyQR3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .._backends import Backend
from ._scaling import (
    adjoint,
    all_finite,
    diagonal,
    every,
    lengths,
    power_of_two,
    scaled_root,
    squares,
)

__all__ = [
    "Cholesky",
    "condition_limit",
    "improve",
    "orthogonalise",
    "reflected",
    "scaled_cholesky",
    "shift_of",
]

Array = Any
# Improvements of Z at most; from condition 1/eps two are enough but for the widest margins.
_PASSES = 6


def condition_limit(eps: float) -> float:
    """Largest condition at which Cholesky and one refinement step reach Householder QR's accuracy.

    A solve through the Gram matrix has relative error about κ²·eps; a refinement step with the
    residual of the original system multiplies it by κ²·eps again. κ⁴·eps² stays below QR's own
    κ·eps up to κ = eps^(−1/3).
    """
    return eps ** (-1.0 / 3.0)


def _norm(be: Backend, v: Array) -> Array:
    """‖v‖ of Frobenius: for Hermitian matrices at most √n times the largest eigenvalue."""
    return lengths(be, be.reshape(v, (*v.shape[:-2], v.shape[-2] * v.shape[-1])), -1)


def _estimate(be: Backend, norm: Array, root: Array) -> Array:
    """Condition of B from ‖BᴴB‖ and Z: κ₂ ≤ √(‖BᴴB‖‖Z Zᴴ‖) ≤ √n·κ₂."""
    xp = be.xp
    found = xp.sqrt(norm * _norm(be, be.matmul(root, adjoint(be, root))))
    return xp.maximum(found, xp.ones_like(found))


class Cholesky(NamedTuple):
    """Cholesky's factorisation of Gram matrices G.

    Attributes
    ----------
    scale, scaled, norm, root : array
        D, powers of two that bring the diagonal to between 1 and 4, D G D, its norm, and Z, the
        inverse of its triangle.
    condition : array
        Of B with its columns scaled, at most √n too large.
    usable, definite : array of bool
        Where G has not over- or underflowed, and where also the factorisation exists; elsewhere it
        is that of the identity.
    """

    scale: Array
    scaled: Array
    norm: Array
    root: Array
    condition: Array
    usable: Array
    definite: Array


def _whole(be: Backend, factor: Array) -> Array:
    """Where Cholesky's factors are finite: NaN anywhere reaches the end of the diagonal."""
    return be.xp.isfinite(factor[..., -1, -1])


def _scales(be: Backend, size: Array, longest: int) -> tuple[Array, Array]:
    """D for squared lengths of columns of `longest` entries, and where they tell it.

    Squares of the smallest columns must not have underflown.
    """
    info = be.xp.finfo(size.dtype)
    least = float(info.smallest_normal) / float(info.eps) * longest
    good = (size >= least) & (size <= float(info.max) / 8)
    return power_of_two(be, size, 0.5, good), be.xp.all(good, axis=-1)


def scaled_cholesky(be: Backend, g: Array, longest: int) -> Cholesky:
    """The factorisation of Gram matrices of columns of `longest` entries."""
    xp = be.xp
    # No entry is above the largest of the diagonal, and no NaN misses it.
    scale, usable = _scales(be, diagonal(be, g), longest)
    g = scaled_root(be, scale, g) * scale[..., None, :]
    factor = be.cholesky(g)
    definite = usable & _whole(be, factor)
    if be.concrete(every(be, definite)) is not True:
        eye = be.eye(g.shape[-1], g)
        g = xp.where(usable[..., None, None], g, eye)
        factor = xp.where(definite[..., None, None], factor, eye)
    root, norm = be.upper_inverse(factor), _norm(be, g)
    return Cholesky(scale, g, norm, root, _estimate(be, norm, root), usable, definite)


def shift_of(be: Backend, g: Array, rows: int, definite: Array) -> Array:
    """What makes Cholesky succeed on a computed Gram matrix of `rows` rows (Fukaya et al. 2020).

    0 where g is `definite`, which its first factor tells. Where batched factorisations run side by
    side, as many as XLA's pool has threads, all wait for a thread, for ever; the second one, of g
    and this, waits for the first.
    """
    n = g.shape[-1]
    eps = float(be.xp.finfo(g.dtype).eps)
    shift = 11 * (rows * n + n * (n + 1)) * eps / 2 * be.xp.max(diagonal(be, g), axis=-1)
    return be.xp.where(definite, be.xp.zeros_like(shift), shift)


def improve(
    be: Backend, g: Array, rows: int, first: Cholesky | None = None
) -> tuple[Array, Array, Array]:
    """One step of CholeskyQR: Z becomes Z R⁻¹ with G = RᴴR that of B Z, of `rows` rows.

    Returns R⁻¹, the condition of B Z, and whether no shift was needed; `first` is what is known of
    the factor of G.
    """
    xp = be.xp
    factor = be.cholesky(g) if first is None else None
    plain = _whole(be, factor) if first is None else first.definite
    if be.concrete(every(be, plain)) is True:
        inverse = be.upper_inverse(factor) if first is None else first.root
    else:
        eye = be.eye(g.shape[-1], g)
        more = xp.astype(shift_of(be, g, rows, plain), g.dtype)[..., None, None]
        factor = be.cholesky(g + more * eye)
        whole = _whole(be, factor)[..., None, None]
        inverse = be.upper_inverse(xp.where(whole, factor, eye))
        inverse = xp.where(whole, inverse, xp.full_like(inverse, float("nan")))
    return inverse, _estimate(be, _norm(be, g), inverse), plain


def orthogonalise(
    be: Backend,
    products_of: Callable[[Array], tuple[Array, ...]],
    rows: int,
    start: tuple[Array, Array | None],
    known: tuple[Array, ...] | None,
    first: Cholesky | None = None,
) -> tuple[Array, ...]:
    """Z with orthonormal B Z to about condition·eps, for a B of `rows` rows.

    `products_of` gives the Gram matrix of B Z and, if it likes, (B Z)ᴴ c of right-hand sides c.
    `start` is the first Z, the identity where the columns of B are of like size, with where B Z is
    expected to be well conditioned; `known` its products, and `first` the factorisation of BᴴB,
    where the first Z is the identity. Returns Z, the condition of B, whether the steps came to
    their end, and (B Z)ᴴ c if it was given.
    """
    xp = be.xp
    root, have = start
    limit = condition_limit(float(xp.finfo(root.dtype).eps))
    eye = be.eye(root.shape[-1], root)
    flags = be.new_like(root, tuple(root.shape[:-2]), dtype=be.dtype("bool"), fill=False)

    def better(
        found: tuple[Array, ...], state: tuple[Array, ...], known: Cholesky | None = None
    ) -> tuple[Array, ...]:
        (g, *right), (root, settled, begun, *old) = found, state
        inverse, inner, plain = improve(be, g, rows, known)
        # The first factor has lost digits with the square of the condition: a step always follows.
        done = plain & (inner <= limit) & begun
        new = be.matmul(root, inverse)
        lost = ~all_finite(be, new)
        stays = settled[..., None, None]
        right = [
            xp.where(stays, u, be.matmul(adjoint(be, inverse), v))
            for u, v in zip(old, right, strict=True)
        ]
        return xp.where(stays, root, new), settled | done | lost, begun | ~begun, *right

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        return better(products_of(state[0]), state)

    known = products_of(root) if known is None else known
    state = (root, flags, flags if have is None else have, *known[1:])
    state = better(known, state, first)
    root, settled, _, *right = be.while_loop(lambda s: ~xp.all(s[1]), step, state, _PASSES - 1)
    whole = all_finite(be, root)
    if first is None:
        # B = Q Z⁻¹ with orthonormal Q: the triangle has the column lengths of B.
        safe = xp.where(whole[..., None, None], root, eye)
        triangle = be.solve_triangular(safe, xp.broadcast_to(eye, tuple(safe.shape)), lower=False)
        size = _norm(be, be.matmul(adjoint(be, triangle), triangle))
    else:
        size = first.norm
    condition = _estimate(be, size, root)
    condition = xp.where(whole, condition, xp.full_like(condition, float("inf")))
    return root, condition, settled & whole, *right


def reflected(be: Backend, tall: Array, right: Array) -> tuple[Array, tuple[Array, ...]]:
    """By Householder's reflections of [B c]: D, and what `orthogonalise` returns of B D and c.

    Last comes the square (..., 1, k) of the part of c outside the columns of B.
    """
    xp, (m, n) = be.xp, (int(v) for v in tall.shape[-2:])
    found = be.triangle(tall, right)
    found, rest = found[..., :n, :], squares(be, found[..., n:, n:])
    # The triangle has the column lengths of B.
    scale, usable = _scales(be, squares(be, found[..., :n])[..., 0, :], m)
    triangle = found[..., :n] * scale[..., None, :]
    # A plain library's inverse raises at an exact 0.
    usable = usable & xp.all(diagonal(be, triangle) != 0, axis=-1)
    triangle = xp.where(usable[..., None, None], triangle, be.eye(n, tall))
    root = be.upper_inverse(adjoint(be, triangle))
    whole = usable & all_finite(be, root)
    size = _norm(be, be.matmul(adjoint(be, triangle), triangle))
    condition = _estimate(be, size, root)
    condition = xp.where(whole, condition, xp.full_like(condition, float("inf")))
    return scale, (root, condition, whole, found[..., n:], rest)
