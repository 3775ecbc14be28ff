"""From the values of A what a least-squares solution needs: one small matrix Z with G⁺ ≈ Z Zᴴ.

G is the Gram matrix BᴴB of a tall matrix B: √W A with √ridge appended as rows, or (√W A)ᴴ where A
has fewer rows than columns. Three ways to Z, tried in this order:

1. normal: Cholesky's factor R of G, columns scaled by powers of two, and Z = R⁻¹;
2. cholesky_qr: the columns of B Z are nearly orthonormal already, so the Gram matrix of B Z is far
   better conditioned: its factor improves Z, and again until the condition is small. (CholeskyQR2
   and, where Cholesky fails on G and takes a multiple of the identity added, shifted CholeskyQR3,
   with the triangular factors kept inverted, so that B itself is all that is multiplied.)
3. orthogonal: Householder QR and the singular values of the triangle: decides the rank.

Z need not be accurate to the last digit: `refinement` corrects the solution with residuals of the
system itself, and each step gains as many digits as Z has. Nothing here is differentiated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._backends import Backend
from ._rows import block_count, by_rows
from ._scaling import (
    adjoint,
    all_finite,
    column_scales,
    diagonal,
    identity,
    power_of_two,
    quiet,
)

__all__ = [
    "Factors",
    "Recipe",
    "System",
    "condition_limit",
    "factorise",
    "scaled_cholesky",
    "upper_inverse",
]

Array = Any
# Improvements of Z at most; from condition 1/eps two are enough but for the widest margins.
_PASSES = 6


@dataclass(frozen=True)
class System:
    """Geometry of a least-squares problem.

    Attributes
    ----------
    weighted, ridged : bool
        Whether weights (..., m) and ridge (..., n) are among the arrays.
    wide : bool
        Fewer rows than columns and no ridge: the minimum-norm solution through AAᴴ.
    """

    weighted: bool
    ridged: bool
    wide: bool


@dataclass(frozen=True)
class Recipe:
    """How `factorise` is to go: the system, the method asked for, and the threshold of the rank."""

    system: System
    method: str
    rcond: float
    blocks: int = 1


@dataclass
class Factors:
    """What `factorise` found; all arrays have the leading axes of the problem.

    Attributes
    ----------
    root : array
        Z (s, p) with s = n, or m for a wide system: (D G D)⁺ ≈ Z Zᴴ.
    scale : array
        D, powers of two (s,).
    start : array
        A first solution in the scaled unknowns, (s, k).
    goal : array
        About Σ w|A x|² of it, (1, k): what corrections are measured by.
    many : array of bool
        Whether some problem of the batch needs more than one refinement step; no axes.
    finite : array of bool
        Where A, weights and ridge are.
    rank, condition : array
        Of B with its columns scaled.
    """

    root: Array
    scale: Array
    start: Array
    goal: Array
    many: Array
    finite: Array
    rank: Array
    condition: Array


def condition_limit(eps: float) -> float:
    """Largest condition at which Cholesky and one refinement step reach Householder QR's accuracy.

    A solve through the Gram matrix has relative error about κ²·eps; a refinement step with the
    residual of the original system multiplies it by κ²·eps again. κ⁴·eps² stays below QR's own
    κ·eps up to κ = eps^(−1/3).
    """
    return eps ** (-1.0 / 3.0)


def factorise(
    be: Backend,
    recipe: Recipe,
    a: Array,
    b: Array,
    w: Array | None,
    ridge: Array | None,
) -> Factors:
    """The auxiliaries of a problem, from plain arrays with equal leading axes."""
    given = [be.detach(v) for v in (a, b, w, ridge) if v is not None]
    recipe = Recipe(recipe.system, recipe.method, recipe.rcond, block_count(be, a))
    return Factors(*be.run(_factorise, recipe, *given))


def _factorise(be: Backend, recipe: Recipe, *given: Array) -> tuple[Array, ...]:
    xp, system = be.xp, recipe.system
    a, b, *rest = given
    w = rest[0] if system.weighted else None
    ridge = rest[-1] if system.ridged else None
    g, c = _normal(be, recipe, a, quiet(be, b), w, ridge)
    eps = float(xp.finfo(a.dtype).eps)
    first = scaled_cholesky(be, g, max(a.shape[-2:]))
    scale, _, root, condition, usable, definite = first
    finite = usable
    if recipe.method == "cholesky_qr":
        good = usable & (condition < 0)
    else:
        # "normal" insists: up to where the Gram matrix in working precision says anything.
        limit = condition_limit(eps) if recipe.method == "auto" else 0.1 * eps**-0.5
        good = definite & (condition <= min(limit, 1.0 / max(recipe.rcond, eps)))
    everywhere = xp.all(good)
    size = g.shape[-1]
    integer = be.default_int(a)
    rank = be.new_like(a, tuple(a.shape[:-2]), dtype=integer, fill=size)

    def easy(*arrays: Array) -> tuple[Array, ...]:
        return root, scale, rank, condition, finite

    def hard(*arrays: Array) -> tuple[Array, ...]:
        found = _hard(be, recipe, first, a, w, ridge)
        return tuple(
            xp.where(xp.reshape(good, (*good.shape, *[1] * (new.ndim - good.ndim))), old, new)
            for old, new in zip(easy(), found, strict=True)
        )

    root, scale, rank, condition, finite = be.cond(everywhere, easy, hard)
    z = xp.astype(scale, c.dtype)[..., None] * c
    y = be.matmul(adjoint(be, root), z)
    start = be.matmul(root, y)
    square = xp.real(y * xp.conj(y)) if be.is_complex(y) else y * y
    goal = xp.sum(square, axis=-2, keepdims=True, dtype=square.dtype)
    many = ~everywhere
    if recipe.method == "normal":
        many = many | xp.any(condition > condition_limit(eps))
    return root, scale, start, goal, many, finite, rank, condition


def _weigh(be: Backend, w: Array | None, v: Array) -> Array:
    """√W v with w a column, or v."""
    return v if w is None else be.xp.astype(be.xp.sqrt(w), v.dtype) * v


def _normal(
    be: Backend, recipe: Recipe, a: Array, b: Array, w: Array | None, ridge: Array | None
) -> tuple[Array, Array]:
    """The Gram matrix and the right-hand side that goes with it."""
    xp = be.xp
    column = None if w is None else w[..., None]
    if recipe.system.wide:
        r = _weigh(be, column, a)
        return be.matmul(r, adjoint(be, r)), _weigh(be, column, b)

    def products(a: Array, b: Array, w: Array | None) -> tuple[Array, ...]:
        a, b = _weigh(be, w, a), _weigh(be, w, b)
        turned = adjoint(be, a)
        return be.matmul(turned, a), be.matmul(turned, b)

    g, c = by_rows(be, recipe.blocks, products, a, b, column)
    if ridge is not None:
        one = identity(be, g.shape[-1], a)
        g = g + xp.astype(xp.where(one, ridge[..., None], 0.0 * ridge[..., None]), g.dtype)
    return g, c


def upper_inverse(be: Backend, factor: Array) -> Array:
    """R⁻¹ from the lower triangular factor L = Rᴴ."""
    eye = be.xp.astype(identity(be, factor.shape[-1], factor), factor.dtype)
    eye = be.xp.broadcast_to(eye, tuple(factor.shape))
    return adjoint(be, be.solve_triangular(factor, eye, lower=True))


def _norm(be: Backend, v: Array) -> Array:
    """‖v‖₁ of Hermitian matrices."""
    return be.xp.max(be.xp.sum(be.xp.abs(v), axis=-1), axis=-1)


def _estimate(be: Backend, g: Array, root: Array) -> Array:
    """Condition of B from G = BᴴB and Z: κ₂ ≤ √(‖G‖₁‖Z Zᴴ‖₁) ≤ √n·κ₂."""
    xp = be.xp
    found = xp.sqrt(_norm(be, g) * _norm(be, be.matmul(root, adjoint(be, root))))
    return xp.where(found < 1, xp.ones_like(found), found)


def scaled_cholesky(be: Backend, g: Array, longest: int) -> tuple[Array, ...]:
    """(D, D G D, Z, condition, usable, definite): D brings the diagonal to between 1 and 4."""
    xp = be.xp
    diag = diagonal(be, g)
    scale = power_of_two(be, diag, 0.5)
    typed = xp.astype(scale, g.dtype)
    g = typed[..., :, None] * g * typed[..., None, :]
    info = xp.finfo(g.dtype)
    # Squares of the smallest columns must not have underflown.
    least = float(info.smallest_normal) / float(info.eps) * longest
    usable = all_finite(be, g) & xp.all(diag >= least, axis=-1)
    eye = xp.astype(identity(be, g.shape[-1], g), g.dtype)
    g = xp.where(usable[..., None, None], g, eye)
    factor = be.cholesky(g)
    definite = all_finite(be, factor)
    root = upper_inverse(be, xp.where(definite[..., None, None], factor, eye))
    return scale, g, root, _estimate(be, g, root), usable, definite & usable


# -- where the Gram matrix does not do -------------------------------------------------------------


def _tall(be: Backend, system: System, a: Array, w: Array | None, ridge: Array | None) -> Array:
    """B, the tall matrix of the problem."""
    xp = be.xp
    b = _weigh(be, None if w is None else w[..., None], a)
    if system.wide:
        return adjoint(be, b)
    if ridge is not None:
        root = xp.sqrt(ridge)[..., None]
        eye = identity(be, b.shape[-1], b)
        b = xp.concat([b, xp.astype(xp.where(eye, root, xp.zeros_like(root)), b.dtype)], axis=-2)
    return b


def _hard(
    be: Backend,
    recipe: Recipe,
    first: tuple[Array, ...],
    a: Array,
    w: Array | None,
    ridge: Array | None,
) -> tuple[Array, ...]:
    """Z, scale, rank, condition and finite by CholeskyQR, and orthogonally where that fails."""
    xp = be.xp
    scale, scaled, _, _, usable, _ = first
    tall = _tall(be, recipe.system, a, w, ridge)
    eye = xp.astype(identity(be, tall.shape[-1], tall), tall.dtype)
    if be.concrete(xp.all(usable)) is True:
        # The rows are multiplied as they are; the scales go with the small matrices.
        finite, into = usable, eye * xp.astype(scale, tall.dtype)[..., None]
        root, condition, settled = orthogonalise(be, tall, into, scaled)
    else:
        finite = all_finite(be, tall)
        tall = xp.where(finite[..., None, None], tall, xp.ones_like(tall))
        # Squares that over- or underflowed: the scales are those of the largest entries.
        scale = xp.where(usable[..., None], scale, column_scales(be, tall))
        tall = tall * xp.astype(scale, tall.dtype)[..., None, :]
        into = None
        root, condition, settled = orthogonalise(be, tall, eye, None)
    integer = be.default_int(a)
    size = root.shape[-1]
    rank = be.new_like(a, tuple(a.shape[:-2]), dtype=integer, fill=size)
    accepted = settled & (condition <= 1.0 / max(recipe.rcond, float(xp.finfo(a.dtype).eps)))

    def kept(*arrays: Array) -> tuple[Array, ...]:
        return root, scale, rank, condition

    def decided(*arrays: Array) -> tuple[Array, ...]:
        rows = tall
        if into is not None:
            rows = tall * xp.astype(scale, tall.dtype)[..., None, :]
        others = orthogonal(be, rows, scale, recipe.rcond)
        return tuple(
            xp.where(xp.reshape(accepted, (*accepted.shape, *[1] * (v.ndim - accepted.ndim))), u, v)
            for u, v in zip(kept(), others, strict=True)
        )

    root, scale, rank, condition = be.cond(xp.all(accepted | ~finite), kept, decided)
    nan = be.new_like(condition, (), fill=float("nan"))
    bad = ~finite
    return (
        xp.where(bad[..., None, None], xp.full_like(root, float("nan")), root),
        xp.where(bad[..., None], xp.ones_like(scale), scale),
        xp.where(bad, xp.zeros_like(rank), rank),
        xp.where(bad, nan, condition),
        finite,
    )


def _gram_through(be: Backend, tall: Array, root: Array) -> Array:
    """The Gram matrix of tall · root."""

    def product(rows: Array) -> tuple[Array]:
        q = be.matmul(rows, root)
        return (be.matmul(adjoint(be, q), q),)

    return by_rows(be, block_count(be, tall), product, tall)[0]


def shift_of(be: Backend, g: Array, rows: int) -> Array:
    """What makes Cholesky succeed on a computed Gram matrix of `rows` rows (Fukaya et al. 2020)."""
    n = g.shape[-1]
    eps = float(be.xp.finfo(g.dtype).eps)
    return 11 * (rows * n + n * (n + 1)) * eps / 2 * be.xp.max(diagonal(be, g), axis=-1)


def improve(be: Backend, g: Array, root: Array, rows: int) -> tuple[Array, Array, Array]:
    """One step of CholeskyQR: Z R⁻¹ with G = RᴴR that of B Z; and whether, and how far, it is done.

    Returns the new Z, the condition of B Z, and whether no shift was needed.
    """
    xp = be.xp
    eye = xp.astype(identity(be, g.shape[-1], g), g.dtype)
    factor = be.cholesky(g)
    plain = all_finite(be, factor)
    if be.concrete(xp.all(plain)) is not True:
        more = xp.astype(shift_of(be, g, rows), g.dtype)[..., None, None]
        factor = xp.where(plain[..., None, None], factor, be.cholesky(g + more * eye))
    whole = all_finite(be, factor)
    inverse = upper_inverse(be, xp.where(whole[..., None, None], factor, eye))
    inverse = xp.where(whole[..., None, None], inverse, xp.full_like(inverse, float("nan")))
    return be.matmul(root, inverse), _estimate(be, g, inverse), plain


def orthogonalise(
    be: Backend, tall: Array, into: Array, gram: Array | None
) -> tuple[Array, Array, Array]:
    """Z with orthonormal B Z to about condition·eps, for B = tall · into with columns of like size.

    `into` is diagonal; `gram` is BᴴB where it is known. Returns Z, the condition of B, and whether
    the steps came to their end.
    """
    xp, rows, n = be.xp, int(tall.shape[-2]), int(tall.shape[-1])
    limit = condition_limit(float(xp.finfo(tall.dtype).eps))
    shape = (*tall.shape[:-2], n, n)
    eye = xp.astype(identity(be, n, tall), tall.dtype)
    eye = xp.broadcast_to(eye, shape)

    def better(g: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        root, before, settled, first = state
        new, inner, plain = improve(be, g, root, rows)
        # The first factor has lost digits with the square of the condition: a step always follows.
        done = plain & (inner <= limit) & ~first
        lost = ~all_finite(be, new)
        size = xp.where(first, _norm(be, g), before)
        root = xp.where(settled[..., None, None], root, new)
        return root, size, settled | done | lost, first & ~first

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        return better(_gram_through(be, tall, be.matmul(into, state[0])), state)

    flags = be.new_like(tall, shape[:-2], dtype=be.dtype("bool"), fill=False)
    real = xp.real(tall) if be.is_complex(tall) else tall
    size = be.new_like(real, shape[:-2])
    state = (eye, size, flags, ~flags)
    if gram is not None:
        state = better(gram, state)
    root, size, settled, _ = be.while_loop(lambda s: ~xp.all(s[2]), step, state, _PASSES)
    whole = all_finite(be, root)
    condition = xp.sqrt(size * _norm(be, be.matmul(root, adjoint(be, root))))
    condition = xp.where(condition < 1, xp.ones_like(condition), condition)
    condition = xp.where(whole, condition, xp.full_like(condition, float("inf")))
    return root, condition, settled & whole


def orthogonal(
    be: Backend, tall: Array, scale: Array, rcond: float
) -> tuple[Array, Array, Array, Array]:
    """Z, scale, rank and condition by QR and singular values; B comes with its columns scaled.

    The rank is that of the scaled columns: a small column is not a dependent one. A matrix of full
    rank is inverted so scaled; for a deficient one the minimum-norm solution is that of the
    unscaled matrix, of the same rank.
    """
    xp = be.xp
    n = tall.shape[-1]
    _, r = xp.linalg.qr(tall, mode="reduced")
    _, s, vh = xp.linalg.svd(r, full_matrices=False)
    count = xp.sum(xp.astype(s > rcond * s[..., :1], be.default_int(tall)), axis=-1)
    inverse = _from_svd(be, s, vh, s > 0)
    # The unscaled triangle, brought into range by one common power of two.
    common = xp.min(scale, axis=-1, keepdims=True)
    ratio = xp.astype(common / scale, tall.dtype)
    _, t, vh = xp.linalg.svd(r * ratio[..., None, :], full_matrices=False)
    place = be.arange(t.shape[-1], tall, be.default_int(tall))
    kept = (place < count[..., None]) & (t > rcond * t[..., :1])
    full = count == n
    root = xp.where(full[..., None, None], inverse, _from_svd(be, t, vh, kept))
    scale = xp.where(full[..., None], scale, xp.broadcast_to(common, tuple(scale.shape)))
    rank = xp.where(full, count, xp.sum(xp.astype(kept, count.dtype), axis=-1))
    last = s[..., -1]
    positive = last > 0
    condition = s[..., 0] / xp.where(positive, last, xp.ones_like(last))
    condition = xp.where(positive, condition, xp.full_like(condition, float("inf")))
    return root, scale, rank, condition


def _from_svd(be: Backend, s: Array, vh: Array, kept: Array) -> Array:
    xp = be.xp
    safe = xp.where(kept, s, xp.ones_like(s))
    inverse = xp.where(kept, 1.0 / safe, xp.zeros_like(s))
    return adjoint(be, vh) * xp.astype(inverse, vh.dtype)[..., None, :]
