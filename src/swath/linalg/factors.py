"""From the values of A what a least-squares solution needs: one small matrix Z with G⁺ ≈ Z Zᴴ.

G is the Gram matrix BᴴB of a tall matrix B: √W A with √ridge appended as rows, or (√W A)ᴴ where A
has fewer rows than columns. Three ways to Z, tried in this order:

1. normal: Cholesky's factor R of G, columns scaled by powers of two, and Z = R⁻¹;
2. cholesky_qr: the columns of B Z are nearly orthonormal already, so the Gram matrix of B Z is far
   better conditioned: its factor improves Z, and again until the condition is small. (CholeskyQR2
   and, where Cholesky fails on G and takes a multiple of the identity added, shifted CholeskyQR3,
   with the triangular factors kept inverted, so that B itself is all that is multiplied.)
3. orthogonal: Householder QR and the singular values of the triangle: decides the rank.

Of a matrix with very many rows a sample of them tells beforehand which way it will be, and gives a
first solution x₀ (`_sample`). Then the pass over A that makes G also makes AᴴW(b − A x₀): a step of
refinement that costs no pass of its own; or, for the second way, the sample's triangle stands in
for Cholesky's first factor.

Z need not be accurate to the last digit: `refinement` corrects the solution with residuals of the
system itself, and each step gains as many digits as Z has. Nothing here is differentiated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .._backends import Backend
from ._rows import block_count, by_rows
from ._sample import guess, sample_step, sampled, weigh, with_ridge
from ._scaling import (
    adjoint,
    adjoint_times,
    all_finite,
    column_scales,
    diagonal,
    identity,
    power_of_two,
    quiet,
    real_product,
)

__all__ = [
    "Factors",
    "Recipe",
    "System",
    "condition_limit",
    "correction",
    "factorise",
    "orthogonal",
    "residual_sums",
    "scaled_cholesky",
    "shift_of",
    "squares",
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
    """How `factorise` is to go.

    Attributes
    ----------
    system : System
        Which arrays there are.
    method : str
        As in `lstsq`.
    rcond : float
        The threshold of the rank.
    blocks, step : int
        Blocks of rows of a pass; distance of the rows of a sample, 1 for none.
    """

    system: System
    method: str
    rcond: float
    blocks: int = 1
    step: int = 1


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
    square : array
        Σ w|b − A x|² of it, (1, k), where it needs no further step.
    goal : array
        About Σ w|A x|² of it, (1, k): what corrections are measured by.
    again, many : array of bool
        Whether some problem of the batch needs a refinement step, and more than one; no axes.
    finite : array of bool
        Where A, weights and ridge are.
    rank, condition : array
        Of B with its columns scaled.
    """

    root: Array
    scale: Array
    start: Array
    square: Array
    goal: Array
    again: Array
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
    step = 1 if recipe.system.wide else sample_step(tuple(a.shape))
    recipe = replace(recipe, blocks=block_count(be, a), step=step)
    return Factors(*be.run(_factorise, recipe, *given))


def _factorise(be: Backend, recipe: Recipe, *given: Array) -> tuple[Array, ...]:
    xp, system = be.xp, recipe.system
    a, b, *rest = given
    w = rest[0][..., None] if system.weighted else None
    ridge = rest[-1] if system.ridged else None
    b = quiet(be, b)
    eps = float(xp.finfo(a.dtype).eps)
    # "normal" insists: up to where the Gram matrix in working precision says anything.
    limit = 0.1 * eps**-0.5 if recipe.method == "normal" else condition_limit(eps)
    limit = -1.0 if recipe.method == "cholesky_qr" else min(limit, 1 / max(recipe.rcond, eps))
    before, likely = None, None
    if recipe.step > 1:
        before, likely = _preview(be, recipe, limit, a, b, w, ridge)
    g, low, square = _sums(be, recipe, a, b, w, ridge, before, likely)
    first = scaled_cholesky(be, g, max(a.shape[-2:]))
    scale, scaled, root, condition, usable, definite = first
    good = definite & (condition <= limit)
    everywhere = xp.all(good)
    integer = be.default_int(a)
    rank = be.new_like(a, tuple(a.shape[:-2]), dtype=integer, fill=int(g.shape[-1]))

    def easy(*arrays: Array) -> tuple[Array, ...]:
        return root, scale, rank, condition, usable

    def hard(*arrays: Array) -> tuple[Array, ...]:
        found = _hard(be, recipe, first, a, w, ridge)
        return tuple(
            xp.where(xp.reshape(good, (*good.shape, *[1] * (new.ndim - good.ndim))), old, new)
            for old, new in zip(easy(), found, strict=True)
        )

    root, scale, rank, condition, finite = be.cond(everywhere, easy, hard)
    d = xp.astype(scale, low.dtype)[..., None]
    x = None if before is None else before[0]
    change, square, now = correction(be, system, root, d, ridge, x, low, square)
    start, goal, again = change / d, now, everywhere | ~everywhere
    if before is not None:
        start = before[0] / d + start
        goal = xp.where(before[1] > now, before[1], now)
        # The error left is the condition times that of the correction; what Householder QR leaves
        # is the solution, and the condition times the residual.
        norm = xp.sqrt(_norm(be, scaled))[..., None, None]
        kappa = condition[..., None, None]
        lengths = [xp.sqrt(squares(be, v)) for v in (change / d, start)]
        far = kappa * lengths[0] > lengths[1] + kappa * xp.sqrt(square) / (2 * norm)
        # A sum of squares far below the one it was taken from has lost its digits.
        lost = (now > 100 * square) & (now > 64 * int(a.shape[-1]) * eps * eps * goal)
        again = xp.any(far | lost) | ~everywhere
    many = ~everywhere
    if recipe.method == "normal":
        many = many | xp.any(condition > condition_limit(eps))
    return root, scale, start, square, goal, again | many, many, finite, rank, condition


def squares(be: Backend, v: Array) -> Array:
    """Σ|v|² over rows, (..., k) with the axis kept."""
    square = real_product(be, v, v)
    return be.xp.sum(square, axis=-2, keepdims=True, dtype=square.dtype)


def residual_sums(
    be: Backend, a: Array, b: Array, w: Array | None, x: Array | None
) -> tuple[Array, Array]:
    """AᴴW r and Σ w|r|² with r = b − A x, or b; weights a column."""
    xp = be.xp
    r = b if x is None else b - be.matmul(a, x)
    if w is None:
        return adjoint_times(be, a, r), squares(be, r)
    wr = xp.astype(w, r.dtype) * r
    part = real_product(be, r, wr)
    return adjoint_times(be, a, wr), xp.sum(part, axis=-2, keepdims=True, dtype=part.dtype)


def correction(
    be: Backend,
    system: System,
    root: Array,
    d: Array,
    ridge: Array | None,
    x: Array | None,
    low: Array,
    square: Array,
) -> tuple[Array, Array, Array]:
    """One step from x: dx = D Z Zᴴ D z with z = low − Γ x; Σ w|r|² after it; its size Σ|Zᴴ D z|².

    `low` is AᴴW r at x, or at 0 where x is None, and `square` Σ w|r|² there; D is a column. Of a
    wide system dx is in the unknowns of AAᴴ, and the square is left as it is.
    """
    xp = be.xp
    if ridge is None or x is None:
        y = be.matmul(adjoint(be, root), d * low)
    else:
        penalty = xp.astype(ridge, low.dtype)[..., None] * x
        y = be.matmul(adjoint(be, root), d * (low - penalty))
    change = d * be.matmul(root, y)
    now = squares(be, y)
    if system.wide:
        return change, square, now
    # Σ w|r − A dx|² = Σ w|r|² − 2 Re dxᴴ AᴴW r + dxᴴ AᴴWA dx, and Zᴴ(AᴴWA + Γ)Z = 1.
    product = change * xp.conj(low) if be.is_complex(low) else change * low
    inner = xp.sum(product, axis=-2, keepdims=True, dtype=product.dtype)
    square = square - 2 * (xp.real(inner) if be.is_complex(low) else inner) + now
    if ridge is not None:
        root_ridge = xp.astype(xp.sqrt(ridge), low.dtype)[..., None]
        square = square - squares(be, root_ridge * change)
    return change, xp.where(square < 0, xp.zeros_like(square), square), now


def _diagonal_matrix(be: Backend, ridge: Array, like: Array) -> Array:
    one = identity(be, like.shape[-1], like)
    return be.xp.astype(be.xp.where(one, ridge[..., None], 0.0 * ridge[..., None]), like.dtype)


def _preview(
    be: Backend,
    recipe: Recipe,
    limit: float,
    a: Array,
    b: Array,
    w: Array | None,
    ridge: Array | None,
) -> tuple[tuple[Array, Array], Array]:
    """From a sample: x₀ (..., n, k) and about Σ w|A x₀|²; whether G is likely to do.

    x₀ is 0 where the sample's Gram matrix does not do. A column without a sampled entry says
    nothing; the whole is tried.
    """
    xp = be.xp
    a, b, w = sampled(recipe.step, a, b, w)
    v = weigh(be, w, a)
    g = recipe.step * be.matmul(adjoint(be, v), v)
    if ridge is not None:
        g = g + _diagonal_matrix(be, ridge, g)
    scale, _, root, condition, usable, definite = scaled_cholesky(be, g, int(a.shape[-2]))
    good = definite & (condition <= limit)
    likely = xp.all(good | ~usable) & (limit > 0)
    low = recipe.step * residual_sums(be, a, b, w, None)[0]
    d = xp.astype(scale, low.dtype)[..., None]
    x = d * be.matmul(root, be.matmul(adjoint(be, root), d * low))
    x = xp.where(good[..., None, None] & xp.isfinite(x), x, xp.zeros_like(x))
    return (x, recipe.step * squares(be, be.matmul(v, x))), likely


def _sums(
    be: Backend,
    recipe: Recipe,
    a: Array,
    b: Array,
    w: Array | None,
    ridge: Array | None,
    before: tuple[Array, Array] | None,
    likely: Array | None,
) -> tuple[Array, Array, Array]:
    """In one pass the Gram matrix, AᴴW r and Σ w|r|², r = b − A x₀; x₀ = 0 without a sample.

    Where the Gram matrix is not `likely` to do, zeros stand for it.
    """
    if recipe.system.wide:
        v, right = weigh(be, w, a), weigh(be, w, b)
        return be.matmul(v, adjoint(be, v)), right, squares(be, right)
    x = None if before is None else before[0]

    def whole(a: Array, b: Array, w: Array | None) -> tuple[Array, ...]:
        v = weigh(be, w, a)
        return be.matmul(adjoint(be, v), v), *residual_sums(be, a, b, w, x)

    def without(a: Array, b: Array, w: Array | None) -> tuple[Array, ...]:
        return residual_sums(be, a, b, w, x)

    def every(*arrays: Array) -> tuple[Array, ...]:
        g, low, square = by_rows(be, recipe.blocks, whole, a, b, w)
        return g if ridge is None else g + _diagonal_matrix(be, ridge, g), low, square

    def some(*arrays: Array) -> tuple[Array, ...]:
        n = int(a.shape[-1])
        zeros = be.new_like(a, (*a.shape[:-2], n, n))
        return zeros, *by_rows(be, recipe.blocks, without, a, b, w)

    return every() if likely is None else be.cond(likely, every, some)


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
    """B, the tall matrix of the problem; weights a column."""
    b = weigh(be, w, a)
    return adjoint(be, b) if system.wide else with_ridge(be, b, ridge)


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
    finite = None
    if recipe.step > 1:
        scale, z, have = guess(be, recipe.step, a, w, ridge)
        into = eye * xp.astype(scale, tall.dtype)[..., None]
        root, condition, settled = orthogonalise(be, tall, into, None, (z, have))
    elif be.concrete(xp.all(usable)) is True:
        # The rows are multiplied as they are; the scales go with the small matrices.
        finite, into = usable, eye * xp.astype(scale, tall.dtype)[..., None]
        root, condition, settled = orthogonalise(be, tall, into, scaled, None)
    else:
        finite = all_finite(be, tall)
        tall = xp.where(finite[..., None, None], tall, xp.ones_like(tall))
        # Squares that over- or underflowed: the scales are those of the largest entries.
        scale = xp.where(usable[..., None], scale, column_scales(be, tall))
        rows = tall * xp.astype(scale, tall.dtype)[..., None, :]
        root, condition, settled = orthogonalise(be, rows, eye, None, None)
    integer = be.default_int(a)
    rank = be.new_like(a, tuple(a.shape[:-2]), dtype=integer, fill=int(root.shape[-1]))
    accepted = settled & (condition <= 1.0 / max(recipe.rcond, float(xp.finfo(a.dtype).eps)))

    def kept(*arrays: Array) -> tuple[Array, ...]:
        return root, scale, rank, condition, accepted | ~accepted

    def decided(*arrays: Array) -> tuple[Array, ...]:
        sound = all_finite(be, tall)[..., None, None]
        rows = xp.where(sound, tall, xp.ones_like(tall))
        own = column_scales(be, rows)
        rows = rows * xp.astype(own, tall.dtype)[..., None, :]
        others = *orthogonal(be, rows, own, recipe.rcond), sound[..., 0, 0]
        return tuple(
            xp.where(xp.reshape(accepted, (*accepted.shape, *[1] * (v.ndim - accepted.ndim))), u, v)
            for u, v in zip(kept(), others, strict=True)
        )

    enough = accepted if finite is None else accepted | ~finite
    root, scale, rank, condition, sound = be.cond(xp.all(enough), kept, decided)
    finite = sound if finite is None else finite
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
    be: Backend,
    tall: Array,
    into: Array,
    gram: Array | None,
    known: tuple[Array, Array] | None,
) -> tuple[Array, Array, Array]:
    """Z with orthonormal B Z to about condition·eps, for B = tall · into with columns of like size.

    `into` is diagonal; `gram` is BᴴB where it is known, and `known` a Z of which B Z is expected to
    be well conditioned, with where it is there. Returns Z, the condition of B, and whether the
    steps came to their end.
    """
    xp, rows, n = be.xp, int(tall.shape[-2]), int(tall.shape[-1])
    limit = condition_limit(float(xp.finfo(tall.dtype).eps))
    shape = (*tall.shape[:-2], n, n)
    eye = xp.astype(identity(be, n, tall), tall.dtype)
    eye = xp.broadcast_to(eye, shape)

    def better(g: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        root, settled, first = state
        new, inner, plain = improve(be, g, root, rows)
        # The first factor has lost digits with the square of the condition: a step always follows.
        done = plain & (inner <= limit) & ~first
        lost = ~all_finite(be, new)
        root = xp.where(settled[..., None, None], root, new)
        return root, settled | done | lost, first & ~first

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        return better(_gram_through(be, tall, be.matmul(into, state[0])), state)

    flags = be.new_like(tall, shape[:-2], dtype=be.dtype("bool"), fill=False)
    root, have = (eye, flags) if known is None else known
    state = (root, flags, ~have)
    if gram is not None:
        state = better(gram, state)
    root, settled, _ = be.while_loop(lambda s: ~xp.all(s[1]), step, state, _PASSES)
    whole = all_finite(be, root)
    # B = Q Z⁻¹ with orthonormal Q: the triangle has the column lengths of B.
    safe = xp.where(whole[..., None, None], root, eye)
    triangle = be.solve_triangular(safe, eye, lower=False)
    size = _norm(be, be.matmul(adjoint(be, triangle), triangle))
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
