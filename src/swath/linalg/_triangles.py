"""Triangles from Gram matrices: Cholesky's factor, and the steps of CholeskyQR on top of it.

A triangle R is kept as its inverse Z, so that B itself is all that is ever multiplied; where B Z is
well conditioned, so is its Gram matrix, and the next Z is better (CholeskyQR2; with a multiple of
the identity added where Cholesky fails, shifted CholeskyQR3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .._backends import Backend
from ._rows import by_rows
from ._scaling import (
    adjoint,
    adjoint_times,
    all_finite,
    condition_of,
    diagonal,
    either,
    every,
    lengths,
    not_below_zero,
    power_of_two,
    scaled_root,
    squares,
)

__all__ = [
    "Cholesky",
    "by_eigenvalues",
    "condition_limit",
    "improve",
    "orthogonal",
    "orthogonalise",
    "reflected",
    "scaled_cholesky",
    "shift_of",
    "shifted",
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
    # ZᴴZ and Z Zᴴ have the same norm.
    found = xp.sqrt(norm * _norm(be, be.gram(root)))
    return xp.maximum(found, xp.ones_like(found))


def _greatest(be: Backend, g: Array) -> Array:
    """The largest eigenvalue of matrices MᴴM, at most n^(1/16) too large: ‖G⁸‖ to the 1/8."""
    size = found = _norm(be, g)
    for power in (2, 4, 8):
        g = g / be.xp.astype(size, g.dtype)[..., None, None]
        g = be.matmul(g, g)
        size = _norm(be, g)
        found = found * size ** (1 / power)
    return found


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

    def within(self, limit: float) -> Array:
        """Where the condition is known to be no larger."""
        return self.definite & (self.condition <= limit)


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


def _least(be: Backend, g: Array) -> Array:
    """The largest eigenvalue of Gram matrices or less: Σλ² over Σλ."""
    size = _norm(be, g)
    return size * (size / be.xp.sum(diagonal(be, g), axis=-1))


def _sharp(be: Backend, square: Array, root: Array) -> Array:
    """The condition of B from its Gram matrix and Z, at most n^(1/16) too large."""
    found = be.xp.sqrt(_greatest(be, square) * _greatest(be, be.gram(root)))
    return be.xp.maximum(found, be.xp.ones_like(found))


def scaled_cholesky(be: Backend, g: Array, longest: int, limit: float | None = None) -> Cholesky:
    """The factorisation of Gram matrices of columns of `longest` entries.

    Where the condition may be above `limit` or below, it is looked at more closely.
    """
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
    condition = _estimate(be, norm, root)
    if limit is not None and limit > 1:
        near = definite & (condition > limit) & (condition <= limit * int(g.shape[-1]) ** 0.5)

        def sharper() -> tuple[Array, ...]:
            return (xp.where(near, _sharp(be, g, root), condition),)

        (condition,) = be.cond(xp.any(near), sharper, lambda: (condition,))
    return Cholesky(scale, g, norm, root, condition, usable, definite)


def shift_of(be: Backend, g: Array, definite: Array) -> Array:
    """What makes Cholesky succeed on a computed Gram matrix.

    0 where g is `definite`, which its first factor tells; else what rounding takes from sums of
    products as a rule, and 64 times as much where that does not do. (What it may take at most grows
    with the rows, and is so large in single precision that it leaves the condition as it was.)

    Where batched factorisations run side by side, as many as XLA's pool has threads, all wait for a
    thread, for ever: each here waits for the one before, as does the one of g and this.
    """
    shift = 4 * float(be.xp.finfo(g.dtype).eps) * _norm(be, g)
    if be.concrete(every(be, definite)) is True:
        return be.xp.zeros_like(shift)
    shift = be.xp.where(definite, be.xp.zeros_like(shift), shift)
    enough = _whole(be, be.cholesky(shifted(be, g, shift)))
    return be.xp.where(enough, shift, 64 * shift)


def shifted(be: Backend, g: Array, shift: Array) -> Array:
    """G + σI."""
    return g + be.xp.astype(shift, g.dtype)[..., None, None] * be.eye(g.shape[-1], g)


def improve(be: Backend, g: Array, first: Cholesky | None = None) -> tuple[Array, Array, Array]:
    """One step of CholeskyQR: Z becomes Z R⁻¹ with G = RᴴR that of B Z.

    Returns R⁻¹, the condition of B Z, and whether no shift was needed; `first` is what is known of
    the factor of G.
    """
    xp = be.xp
    factor = be.cholesky(g) if first is None else None
    plain = _whole(be, factor) if first is None else first.definite
    if be.concrete(every(be, plain)) is True:
        inverse = be.upper_inverse(factor) if first is None else first.root
    else:
        factor = be.cholesky(shifted(be, g, shift_of(be, g, plain)))
        whole = _whole(be, factor)[..., None, None]
        inverse = be.upper_inverse(xp.where(whole, factor, be.eye(g.shape[-1], g)))
        inverse = xp.where(whole, inverse, xp.full_like(inverse, float("nan")))
    return inverse, _estimate(be, _norm(be, g), inverse), plain


def orthogonalise(
    be: Backend,
    products_of: Callable[[Array], tuple[Array, ...]],
    most: float,
    start: tuple[Array, Array | None],
    known: tuple[Array, ...] | None,
    first: Cholesky | None = None,
) -> tuple[Array, ...]:
    """Z with orthonormal B Z to about condition·eps, for a B of condition <= `most`.

    `products_of` gives the Gram matrix of B Z and, if it likes, (B Z)ᴴ c of right-hand sides c.
    `start` is the first Z, the identity where the columns of B are of like size, with where B Z is
    expected to be well conditioned; `known` its products, and `first` the factorisation of BᴴB,
    where the first Z is the identity. Returns Z, the condition of B, whether the steps came to
    their end, and (B Z)ᴴ c if it was given. Steps end where the condition is seen to be above
    `most`, and what is returned says so.
    """
    xp = be.xp
    root, have = start
    eps = float(xp.finfo(root.dtype).eps)
    limit = condition_limit(eps)
    # The columns of B are no shorter than 1.
    size = 1.0 if first is None else _least(be, first.scaled)
    eye = be.eye(root.shape[-1], root)
    flags = be.new_like(root, tuple(root.shape[:-2]), dtype=be.dtype("bool"), fill=False)

    def better(
        found: tuple[Array, ...], state: tuple[Array, ...], known: Cholesky | None = None
    ) -> tuple[Array, ...]:
        (g, *right), (root, settled, begun, *old) = found, state
        inverse, inner, plain = improve(be, g, known)
        # The first factor has lost digits with the square of the condition: a step always follows.
        done = plain & (inner <= limit) & begun
        new = be.matmul(root, inverse)
        lost = ~all_finite(be, new)
        # A shift brings what Z says of the condition down; what rounding left of a nearly singular
        # Gram matrix may bring it up.
        least = xp.sqrt(size * _least(be, be.gram(new)))
        far = (least > most) & (~plain | (begun & (inner <= 0.1 * eps**-0.5)))
        stays = settled[..., None, None]
        right = [
            xp.where(stays, u, be.matmul(adjoint(be, inverse), v))
            for u, v in zip(old, right, strict=True)
        ]
        return xp.where(stays, root, new), settled | done | lost | far, begun | ~begun, *right

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
        square = be.matmul(adjoint(be, triangle), triangle)
    else:
        square = first.scaled
    condition = _sharp(be, square, root)
    condition = xp.where(whole, condition, xp.full_like(condition, float("inf")))
    return root, condition, settled & whole, *right


def by_eigenvalues(
    be: Backend, blocks: int, tall: Array, right: Array, scale: Array, gram: Array | None = None
) -> tuple[Array, Array]:
    """C (n, n) and Uᴴ c with B D = U C and orthonormal U, whatever the rank of B.

    `gram` is the Gram matrix of B D where it is known.

    C has the singular values of B D as Householder QR's triangle has them, to eps of the largest.
    The Gram matrix tells them to √eps of it only, but its eigenvectors V lose nothing: the columns
    of B D V are brought to like lengths, √eps of the largest at least, and so the eigenvalues of
    their Gram matrix tell the rest.
    """
    xp = be.xp
    eps = float(xp.finfo(tall.dtype).eps)

    def plain(u: Array) -> tuple[Array, ...]:
        return (be.gram(u * scale[..., None, :]),)

    gram = by_rows(be, blocks, plain, tall)[0] if gram is None else gram
    size, v = xp.linalg.eigh(gram)
    top = size[..., -1:]
    top = xp.where(top > 0, top, xp.ones_like(top))
    size = xp.sqrt(xp.maximum(size, 4 * eps * top))[..., None, :]
    into = v / xp.astype(size, v.dtype)

    def through(u: Array, c: Array) -> tuple[Array, Array]:
        q = be.matmul(u * scale[..., None, :], into)
        return be.gram(q), adjoint_times(be, q, c)

    g, low = by_rows(be, blocks, through, tall, right)
    shares, w = xp.linalg.eigh(g)
    root = xp.sqrt(not_below_zero(be, shares))
    known = shares > 16 * eps
    inverse = xp.where(known, 1 / xp.where(known, root, xp.ones_like(root)), xp.zeros_like(root))
    w = adjoint(be, w)
    found = be.matmul(scaled_root(be, root, w) * xp.astype(size, v.dtype), adjoint(be, v))
    return found, scaled_root(be, inverse, be.matmul(w, low))


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


def orthogonal(
    be: Backend, triangle: Array, scale: Array, rcond: Any
) -> tuple[Array, Array, Array, Array]:
    """Z, scale, rank and condition by singular values, of R with B = Q R; its columns come scaled.

    The rank is that of the scaled columns: a small column is not a dependent one. A matrix of full
    rank is inverted so scaled; for a deficient one the minimum-norm solution is that of the
    unscaled matrix, of the same rank.
    """
    xp = be.xp
    n = triangle.shape[-1]
    _, s, vh = xp.linalg.svd(triangle, full_matrices=False)
    count = xp.sum(xp.astype(s > rcond * s[..., :1], be.default_int(triangle)), axis=-1)
    full = count == n

    def inverse() -> tuple[Array, ...]:
        return _from_svd(be, s, vh, s > 0), scale, count

    def shortest() -> tuple[Array, ...]:
        # The unscaled triangle, brought into range by one power of two; 0 where nobody asks.
        common = xp.min(scale, axis=-1, keepdims=True)
        ratio = xp.where(full[..., None], xp.zeros_like(scale), common / scale)
        _, t, turned = xp.linalg.svd(triangle * ratio[..., None, :], full_matrices=False)
        place = be.arange(n, triangle, be.default_int(triangle))
        kept = (place < count[..., None]) & (t > rcond * t[..., :1])
        rank = xp.sum(xp.astype(kept, count.dtype), axis=-1)
        common = xp.broadcast_to(common, tuple(scale.shape))
        return either(be, full, inverse(), (_from_svd(be, t, turned, kept), common, rank))

    root, scale, rank = be.cond(every(be, full), inverse, shortest)
    return root, scale, rank, condition_of(be, s[..., 0], s[..., -1])


def _from_svd(be: Backend, s: Array, vh: Array, kept: Array) -> Array:
    xp = be.xp
    safe = xp.where(kept, s, xp.ones_like(s))
    inverse = xp.where(kept, 1.0 / safe, xp.zeros_like(s))
    return adjoint(be, vh) * inverse[..., None, :]
