"""From the values of A what a least-squares solution needs: one small matrix Z with G⁺ ≈ Z Zᴴ.

G is the Gram matrix BᴴB of a tall matrix B: √W A with √ridge appended as rows, or (√W A)ᴴ where A
has fewer rows than columns. Four ways to Z, the third before the second where Cholesky fails:

1. normal: Cholesky's factor R of G, columns scaled by powers of two, and Z = R⁻¹;
2. cholesky_qr: the columns of B Z are nearly orthonormal already, so the Gram matrix of B Z is far
   better conditioned: its factor improves Z, and again until the condition is small. (CholeskyQR2
   and, where Cholesky fails on G and takes a multiple of the identity added, shifted CholeskyQR3,
   with the triangular factors kept inverted, so that B itself is all that is multiplied.)
3. apart (`_null_space`): of a tall matrix a few columns depend on others and the rest is well
   conditioned, so that the Gram matrix does for it;
4. orthogonal: singular values decide the rank, found by the eigenvectors of two Gram matrices, the
   second of columns that the first made orthogonal (`by_eigenvalues`), or by Householder QR.

In a batch of small matrices Householder QR of [B √W b] stands for the second: products of matrices
as small are slow. A few of the batch tell beforehand whether the first is worth a trial. Where a
library is as fast with one tall matrix of few columns, so it is there, and a sample of many rows
tells; of fewer rows QR stands for both.

Of a matrix with very many rows a sample of them tells beforehand which way it will be, and gives a
first solution x₀ and a first Z (`_sample`). One pass over A then makes AᴴW(b − A x₀), a step of
refinement that costs no pass of its own, and with it the Gram matrix of the way: that of B, or
that of B Z with the sample's Z, which is well conditioned where the sample is like the rest.

Z need not be accurate to the last digit: `refinement` corrects the solution with residuals of the
system itself, and each step gains as many digits as Z has. Nothing here is differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from .._backends import Backend
from ._null_space import Apart, apart, widest
from ._rows import (
    beside,
    block_count,
    by_problems,
    by_rows,
    few,
    gram_of_rows,
    problem_count,
    residual_sums,
    through_rows,
    weigh,
)
from ._sample import Sample, preview, sample_step, with_ridge
from ._scaling import (
    adjoint,
    adjoint_times,
    condition_of,
    diagonal_matrix,
    every,
    lengths,
    not_below_zero,
    real_product,
    scaled_root,
    sound_columns,
    squares,
)
from ._triangles import (
    Cholesky,
    by_eigenvalues,
    condition_limit,
    orthogonalise,
    reflected,
    scaled_cholesky,
)

__all__ = [
    "Factors",
    "System",
    "correction",
    "factorise",
    "orthogonal",
]

Array = Any
# Columns of [A b] up to which Householder QR of many matrices takes less than CholeskyQR, whose
# products of matrices as small are slow.
_REFLECTED = 32
# Problems that are looked at before all of a batch are, which are so many times as many or more.
_PROBLEMS, _SHARE = 64, 8
# Rows over columns from which on products with the rows cost more than singular values.
_TALL = 16
# Entries of a tall matrix from which on a sample of its rows costs less than the Gram matrix saves
# where Householder QR is fast.
_SAMPLED = 3 << 18


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

    def named(self, arrays: Sequence[Any]) -> tuple[Any, Any, Any, Any, list[Any]]:
        """A, b, weights and ridge, None where there are none, and what follows them."""
        a, b, *rest = arrays
        w = rest.pop(0) if self.weighted else None
        ridge = rest.pop(0) if self.ridged else None
        return a, b, w, ridge, rest


@dataclass(frozen=True)
class Recipe:
    """How `factorise` is to go.

    Attributes
    ----------
    system : System
        Which arrays there are.
    method : str
        As in `lstsq`.
    rcond, most : float
        The threshold of the rank, and the largest condition at which it needs no singular values.
    blocks, step : int
        Blocks of rows of a pass; distance of the rows of a sample, 1 for none.
    limit : float
        The largest condition at which the Gram matrix does.
    reflects, tries : bool
        Whether Householder QR stands for CholeskyQR, and whether the Gram matrix is tried before:
        of one matrix only where a sample of its rows thinks it likely to do.
    looks : bool
        Whether a few problems of the batch tell beforehand if the Gram matrices are to be tried.
    """

    system: System
    method: str
    rcond: float
    most: float
    blocks: int
    step: int
    limit: float
    reflects: bool
    tries: bool
    looks: bool


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
        A first solution, (s, k).
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
    deficient : array of bool
        Whether the rank of some problem of the batch is below s; no axes.
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
    deficient: Array


def factorise(
    be: Backend,
    system: System,
    method: str,
    rcond: float,
    a: Array,
    b: Array,
    w: Array | None,
    ridge: Array | None,
) -> Factors:
    """The auxiliaries of a problem, from plain arrays with equal leading axes.

    `method` is as in `lstsq`, `rcond` the threshold of the rank.
    """

    def found(be: Backend, *given: Array) -> tuple[Array, ...]:
        recipe = _recipe(be, system, method, rcond, *given[:2])

        def some(*given: Array) -> tuple[Array, ...]:
            return be.aside(_factorise, recipe, *given)

        count = problem_count(be, given[0])
        # Infinities less infinities are NaN, as they should be.
        with be.quiet():
            if count > 1 and recipe.looks:
                # For all parts at once.
                likely = be.concrete(_likely(be, recipe, *_named(recipe.system, given)))
                recipe = replace(recipe, tries=likely, looks=False)
            return by_problems(be, count, some, *given)

    given = [be.detach(v) for v in (a, b, w, ridge) if v is not None]
    return Factors(*beside(be, found, *given))


def _recipe(be: Backend, system: System, method: str, rcond: float, a: Array, b: Array) -> Recipe:
    # A GPU passes over A in less time than it takes to start the operations on a sample.
    passes = system.wide or be.wide(a) > 1
    columns = int(a.shape[-1] + b.shape[-1])
    small = columns <= _REFLECTED and not few(a) and not passes and method == "auto"
    step = 1 if passes else sample_step(tuple(a.shape))
    alone = small and a.ndim == 2 and be.reflects
    if alone and prod(a.shape) < _SAMPLED:
        step = 1
    tries = not alone or step > 1
    reflects = alone or (small and a.ndim > 2 and step == 1)
    eps = float(be.xp.finfo(a.dtype).eps)
    most = 1 / max(rcond, eps)
    # "normal" insists: up to where the Gram matrix in working precision says anything.
    limit = 0.1 * eps**-0.5 if method == "normal" else condition_limit(eps)
    limit = -1.0 if method == "cholesky_qr" else min(limit, most)
    looks = reflects and tries and a.ndim > 2 and a.shape[0] >= _PROBLEMS * _SHARE
    blocks = block_count(be, a)
    return Recipe(system, method, rcond, most, blocks, step, limit, reflects, tries, looks)


def _named(
    system: System, given: Sequence[Array]
) -> tuple[tuple[Array, Array, Array | None], Array | None]:
    """A, b and weights as a column or None, and ridge or None."""
    a, b, w, ridge, _ = system.named(given)
    return (a, b, None if w is None else w[..., None]), ridge


def _factorise(be: Backend, recipe: Recipe, *given: Array) -> tuple[Array, ...]:
    xp, system, limit = be.xp, recipe.system, recipe.limit
    rows, ridge = _named(system, given)
    a = rows[0]
    eps = float(xp.finfo(a.dtype).eps)
    sample = None
    if recipe.step > 1:
        sample = preview(be, recipe.step, limit, *rows, ridge, insists=recipe.reflects)
        if sample is None:
            recipe = replace(recipe, tries=False)
    likely = None if sample is None else sample.likely
    if not recipe.tries:
        likely = be.new_like(a, (), dtype=be.dtype("bool"), fill=False)
    elif recipe.looks:
        likely = _likely(be, recipe, rows, ridge)
    sums = _sums(be, recipe, rows, ridge, sample, likely) if recipe.tries else _nothing(be, *rows)
    g, low, square = sums
    first = None
    if likely is not None and (not recipe.tries or be.concrete(likely) is False):
        everywhere = likely
        found = _hard(be, recipe, rows, ridge, (g, low), None, sample)
    else:
        first = scaled_cholesky(be, g, max(a.shape[-2:]), limit)
        good = first.definite & (first.condition <= limit)
        good = good if likely is None else good & likely
        everywhere = every(be, good)
        integer = be.default_int(a)
        rank = be.new_like(a, tuple(a.shape[:-2]), dtype=integer, fill=int(g.shape[-1]))

        def easy(*arrays: Array) -> tuple[Array, ...]:
            known = first.root, first.scale, rank, first.condition, first.usable, good, good
            if sample is not None:
                return known
            y = _begun_small(be, first.root, first.scale, low)
            return (*known, y, square) if recipe.reflects else (*known, y)

        def hard(*arrays: Array) -> tuple[Array, ...]:
            found = _hard(be, recipe, rows, ridge, (g, low), first, sample)
            return found if recipe.reflects else _either(be, good, easy(), found)

        found = be.cond(everywhere, easy, hard)
    root, scale, rank, condition, finite, triangular, mild, *inner = found
    d, many = scale[..., None], ~every(be, mild)
    if sample is None:
        start, square, goal = _moved(be, system, root, d, ridge, None, inner[0], square)
        if recipe.reflects:
            # What Householder's reflections find needs no step, if they find the rank full.
            rest = inner[1] if ridge is None else inner[1] - _of_ridge(be, ridge, start, start)
            square = xp.where(everywhere, square, rest)
            many = ~every(be, triangular)
        again = every(be, mild) | many
    else:
        full = rank == int(a.shape[-1])
        x, change, square, now = _begun(
            be, recipe, rows, ridge, sample, (root, d), (full, triangular), (low, square)
        )
        start, square = x + change, not_below_zero(be, square)
        goal = xp.where(sample.goal > now, sample.goal, now)
        far = _far(be, first, everywhere, condition, change / d, start / d, square, now, goal)
        # A sum of squares far below the one it was taken from has lost its digits.
        lost = (now > 100 * square) & (now > 64 * int(a.shape[-1]) * eps * eps * goal)
        again = xp.any(far | lost)
        many = many & again
    if recipe.method == "normal":
        many = many | xp.any(condition > condition_limit(eps))
    deficient = ~every(be, rank == int(root.shape[-2]))
    again = again | many
    return root, scale, start, square, goal, again, many, finite, rank, condition, deficient


def _begun(
    be: Backend,
    recipe: Recipe,
    rows: tuple[Array, ...],
    ridge: Array | None,
    sample: Sample,
    found: tuple[Array, Array],
    known: tuple[Array, Array],
    sums: tuple[Array, Array],
) -> tuple[Array, ...]:
    """x₀ and the step from it, as of `correction`.

    `found` is Z and D, `known` where the rank is full and where Z is the sample's times a triangle,
    `sums` what `_sums` found at the sample's x₀. At deficient rank x₀ is 0, for it has a part in
    the null space.
    """
    xp, system, (root, d), (full, triangular) = be.xp, recipe.system, found, known
    x = sample.solution
    penalty = None if ridge is None else ridge[..., None] * x

    def through(*arrays: Array) -> tuple[Array, ...]:
        y, square = sums
        if penalty is not None:
            y = y - be.matmul(adjoint(be, scaled_root(be, sample.scale, sample.root)), penalty)
        inner = be.solve_triangular(sample.root, root, lower=False)
        y = be.matmul(adjoint(be, inner), y)
        return x, *_moved(be, system, root, d, ridge, x, y, square)

    def plain(*arrays: Array) -> tuple[Array, ...]:
        def kept(*arrays: Array) -> tuple[Array, ...]:
            return x, *sums

        def anew(*arrays: Array) -> tuple[Array, ...]:
            start = xp.where(full[..., None, None], x, xp.zeros_like(x))

            def of_rows(a: Array, b: Array, w: Array | None) -> tuple[Array, ...]:
                return residual_sums(be, a, b, w, start)

            return start, *by_rows(be, recipe.blocks, of_rows, *rows)

        def others(*arrays: Array) -> tuple[Array, ...]:
            return be.cond(sample.likely | xp.any(sample.good), anew, unscaled)

        def unscaled(*arrays: Array) -> tuple[Array, ...]:
            # x₀ is 0 and the sample's Z the identity.
            low, square = sums
            return x, low / sample.scale[..., None], square

        start, low, square = be.cond(sample.likely & xp.all(full), kept, others)
        return start, *correction(be, system, root, d, ridge, start, low, square)

    return be.cond(~sample.likely & xp.all(full & triangular), through, plain)


def _far(
    be: Backend,
    first: Cholesky | None,
    everywhere: Array,
    condition: Array,
    change: Array,
    x: Array,
    square: Array,
    now: Array,
    goal: Array,
) -> Array:
    """Where a step from a sample's solution leaves more than Householder QR would, (..., 1, k).

    What QR leaves of x is the condition times eps·(|x| + κ|r| / ‖B‖), in scaled unknowns.
    """
    xp = be.xp
    eps = float(xp.finfo(x.dtype).eps)
    kappa = condition[..., None, None]
    kappa = xp.where(kappa * eps < 1, kappa, xp.full_like(kappa, 1 / eps))
    rest = xp.sqrt(square)

    def hard() -> tuple[Array, ...]:
        # What is left by Z of CholeskyQR is κ·eps of the correction, both as lengths |B·|.
        return (~(kappa * xp.sqrt(now) <= xp.sqrt(goal) + kappa * rest),)

    if first is None:
        return hard()[0]
    norm = xp.sqrt(first.norm)[..., None, None]

    def easy() -> tuple[Array, ...]:
        # By Z of Cholesky's factor, the condition squared times eps.
        moved, whole = (lengths(be, v, -2)[..., None, :] for v in (change, x))
        return (kappa * moved > whole + kappa * rest / (2 * norm),)

    return be.cond(everywhere, easy, hard)[0]


def _gram_of_ridge(be: Backend, ridge: Array, like: Array, z: Array | None = None) -> Array:
    """Γ, or Zᴴ Γ Z."""
    if z is None:
        return diagonal_matrix(be, ridge, like)
    v = scaled_root(be, be.xp.sqrt(ridge), z)
    return be.matmul(adjoint(be, v), v)


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

    `low` is AᴴW r at x, or at 0 where x is None, and `square` Σ w|r|² there, which rounding may
    bring below 0; D is a column. Of a wide system dx is in the unknowns of AAᴴ, and the square is
    left as it is.
    """
    if ridge is not None and x is not None:
        low = low - ridge[..., None] * x
    y = be.matmul(adjoint(be, root), d * low)
    return _moved(be, system, root, d, ridge, x, y, square)


def _moved(
    be: Backend,
    system: System,
    root: Array,
    d: Array,
    ridge: Array | None,
    x: Array | None,
    y: Array,
    square: Array,
) -> tuple[Array, Array, Array]:
    """The rest of `correction`, from y = Zᴴ D z."""
    change, now = d * be.matmul(root, y), squares(be, y)
    if system.wide:
        return change, square, now
    # Σ w|r − A dx|² = Σ w|r|² − 2 Re dxᴴ AᴴW r + dxᴴ AᴴWA dx, where dxᴴ (AᴴW r − Γ x) = |y|² and
    # Zᴴ(AᴴWA + Γ)Z = 1.
    square = square - now
    if ridge is not None:
        square = square - _of_ridge(be, ridge, change, change if x is None else change + 2 * x)
    return change, square, now


def _of_ridge(be: Backend, ridge: Array, u: Array, v: Array) -> Array:
    """Re uᴴ Γ v, one for each column."""
    part = real_product(be, ridge[..., None] * u, v)
    return be.xp.sum(part, axis=-2, keepdims=True, dtype=part.dtype)


def _sums(
    be: Backend,
    recipe: Recipe,
    rows: tuple[Array, ...],
    ridge: Array | None,
    sample: Sample | None,
    likely: Array | None,
) -> tuple[Array, Array, Array]:
    """In one pass the Gram matrix, AᴴW r and Σ w|r|², r = b − A x₀; x₀ = 0 without a sample.

    Without a sample, and where the Gram matrix is not likely to do, 0 stands for them.

    Where the Gram matrix of B is not likely to do, B Z stands for B, with the sample's Z: its
    columns are nearly orthonormal, and what is lost in (B Z)ᴴ r is not amplified by Z again.
    """
    if recipe.system.wide:
        a, b, w = rows
        v, right = weigh(be, w, a), weigh(be, w, b)
        return be.matmul(v, adjoint(be, v)), right, squares(be, right)
    x = None if sample is None else sample.solution

    def finish(g: Array, low: Array, square: Array, z: Array | None = None) -> tuple[Array, ...]:
        return g if ridge is None else g + _gram_of_ridge(be, ridge, g, z), low, square

    def plain(a: Array, b: Array, w: Array | None) -> tuple[Array, ...]:
        return gram_of_rows(be, a, w), *residual_sums(be, a, b, w, x)

    def every(*arrays: Array) -> tuple[Array, ...]:
        g, low, square = by_rows(be, recipe.blocks, plain, *rows)
        return finish(g, low, square)

    def none(*arrays: Array) -> tuple[Array, ...]:
        return _nothing(be, *rows)

    if sample is None:
        return every() if likely is None else be.cond(likely, every, none)
    into = scaled_root(be, sample.scale, sample.root)

    def through(a: Array, b: Array, w: Array | None) -> tuple[Array, ...]:
        q = be.times_upper(weigh(be, w, a), into)
        r = weigh(be, w, b - be.matmul(a, x))
        return be.gram(q), adjoint_times(be, q, r), squares(be, r)

    def scaled(a: Array, b: Array, w: Array | None) -> tuple[Array, ...]:
        # The sample's Z is the identity and its solution 0.
        q, r = weigh(be, w, a) * sample.scale[..., None, :], weigh(be, w, b)
        return be.gram(q), adjoint_times(be, q, r), squares(be, r)

    def others(*arrays: Array) -> tuple[Array, ...]:
        def pass_of(function: Callable[..., tuple[Array, ...]]) -> Callable[..., tuple[Array, ...]]:
            return lambda *arrays: by_rows(be, recipe.blocks, function, *rows)

        some = be.xp.any(sample.good)
        g, low, square = be.cond(some, pass_of(through), pass_of(scaled))
        return finish(g, low, square, into)

    return be.cond(sample.likely, every, others)


def _nothing(be: Backend, a: Array, b: Array, w: Array | None) -> tuple[Array, Array, Array]:
    """0 for what `_sums` would find of an A that is not wide."""
    *lead, _, n = a.shape
    k = b.shape[-1]
    return (
        be.new_like(a, (*lead, n, n)),
        be.new_like(a, (*lead, n, k)),
        be.new_like(a, (*lead, 1, k), dtype=be.real_dtype(a.dtype)),
    )


def _likely(be: Backend, recipe: Recipe, rows: tuple[Array, ...], ridge: Array | None) -> Array:
    """Whether the Gram matrices of a batch are likely to do, as some of them do."""
    a, _, w = rows
    step = a.shape[0] // _PROBLEMS
    g = gram_of_rows(be, a[::step, ...], None if w is None else w[::step, ...])
    if ridge is not None:
        g = g + _gram_of_ridge(be, ridge[::step, ...], g)
    first = scaled_cholesky(be, g, max(a.shape[-2:]), recipe.limit)
    return be.xp.all(first.definite & (first.condition <= recipe.limit))


# -- where the Gram matrix does not do -------------------------------------------------------------


def _tall(
    be: Backend, system: System, rows: tuple[Array, ...], ridge: Array | None
) -> tuple[Array, Array]:
    """B, the tall matrix of the problem, and √W b, with zeros where B has rows of √Γ."""
    a, b, w = rows
    tall, right = weigh(be, w, a), weigh(be, w, b)
    return (adjoint(be, tall), right) if system.wide else with_ridge(be, tall, right, ridge)


def _hard(
    be: Backend,
    recipe: Recipe,
    rows: tuple[Array, ...],
    ridge: Array | None,
    sums: tuple[Array, Array],
    first: Any,
    sample: Sample | None,
) -> tuple[Array, ...]:
    """Z, scale, rank, condition and finite of B where its Gram matrix does not do for all of it.

    Then come where Z is that of CholeskyQR, where a plain step of refinement is enough, and without
    a sample Zᴴ D AᴴW b. Where Householder QR stands for CholeskyQR, the square of what of √W b is
    left comes last.

    `sums` are the Gram matrix and AᴴW b, `first` is the `Cholesky` of BᴴB, needed without a sample.
    With one they are those of B Z with its Z, where it did not think BᴴB likely to do.
    """
    split = _split(be, recipe, rows, ridge, sums[0], first, sample)

    def harder(*arrays: Array) -> tuple[Array, ...]:
        return _harder(be, recipe, rows, ridge, sums, first, sample)

    if split is None:
        return harder()
    holds, root, scale, rank, condition = split

    def kept(*arrays: Array) -> tuple[Array, ...]:
        known = root, scale, rank, condition, holds, holds & ~holds, holds
        return known if sample is not None else (*known, _begun_small(be, root, scale, sums[1]))

    return be.cond(holds, kept, harder)


def _very_tall(recipe: Recipe, a: Array) -> bool:
    """Whether a is one matrix of which what is tried of small ones costs little."""
    tall = a.ndim == 2 and max(a.shape) >= _TALL * min(a.shape)
    return tall and recipe.method == "auto" and not recipe.reflects


def _split(
    be: Backend,
    recipe: Recipe,
    rows: tuple[Array, ...],
    ridge: Array | None,
    g: Array,
    first: Cholesky | None,
    sample: Sample | None,
) -> Apart | None:
    """What `apart` finds, of one matrix so tall that trying it costs little; None of others."""
    xp, a = be.xp, rows[0]
    if not _very_tall(recipe, a):
        return None
    eps = float(xp.finfo(a.dtype).eps)
    pairs = []
    if first is not None:
        # Rounding may leave the Gram matrix of dependent columns definite.
        well = first.definite & (first.condition <= 0.1 * eps**-0.5)
        pairs.append((first.usable & ~well, first.scale, first.scaled))
    if sample is not None:
        # The sample's Z is the identity.
        pairs.append((~sample.likely & ~sample.good & xp.all(xp.isfinite(g)), sample.scale, g))
    if first is None or sample is None:
        fails, scale, gram = pairs[0]
    else:
        fails, scale, gram = _either(be, sample.likely, *pairs)

    def tried(*arrays: Array) -> tuple[Array, ...]:
        matrix, _ = _tall(be, recipe.system, rows, ridge)
        return (*apart(be, recipe.blocks, matrix, scale, gram, widest(eps), recipe.rcond),)

    def none(*arrays: Array) -> tuple[Array, ...]:
        integer = be.default_int(a)
        rank = be.new_like(a, (), dtype=integer, fill=int(g.shape[-1]))
        return fails & ~fails, xp.zeros_like(gram), scale, rank, xp.ones_like(scale[0])

    return Apart(*be.cond(fails, tried, none))


def _harder(
    be: Backend,
    recipe: Recipe,
    rows: tuple[Array, ...],
    ridge: Array | None,
    sums: tuple[Array, Array],
    first: Any,
    sample: Sample | None,
) -> tuple[Array, ...]:
    """As `_hard` by CholeskyQR, and orthogonally where that fails.

    Zᴴ D AᴴW b is (B D Z)ᴴ √W b: multiplied by Z, what AᴴW b has lost would grow with the condition
    once more.
    """
    xp, a, low = be.xp, rows[0], sums[1]
    known = _direct(be, recipe, a, sums[0], first, sample)
    if known is not None:
        many = 0 if sample is not None else 1
        z, d, rank, condition, sound, *inner = _decided(be, recipe, rows, ridge, low, many, known)
        none = sound & ~sound
        return z, d, rank, condition, sound, none, none, *inner
    scale, finite, found = _orthonormal(be, recipe, rows, ridge, sums, first, sample)
    root, condition, settled, *inner = found
    if recipe.system.wide:
        inner = [_begun_small(be, root, scale, low)]
    integer = be.default_int(a)
    rank = be.new_like(a, tuple(a.shape[:-2]), dtype=integer, fill=int(root.shape[-1]))
    accepted = settled & (condition <= recipe.most)

    def kept(*arrays: Array) -> tuple[Array, ...]:
        return root, scale, rank, condition, accepted | ~accepted, accepted, *inner

    def decided(*arrays: Array) -> tuple[Array, ...]:
        given, many = _known(be, first), len(inner)
        z, d, count, kappa, sound, *rest = _decided(be, recipe, rows, ridge, low, many, given)
        return _either(be, accepted, kept(), (z, d, count, kappa, sound, accepted, *rest))

    enough = accepted if finite is None else accepted | ~finite
    root, scale, rank, condition, sound, accepted, *inner = be.cond(xp.all(enough), kept, decided)
    finite = sound if finite is None else finite
    bad = ~finite

    def marked(v: Array) -> Array:
        return xp.where(_along(be, bad, v), be.new_like(v, (), fill=float("nan")), v)

    scale = xp.where(bad[..., None], xp.ones_like(scale), scale)
    rank = xp.where(bad, xp.zeros_like(rank), rank)
    root, condition, *inner = map(marked, (root, condition, *inner))
    return root, scale, rank, condition, finite, accepted, accepted & ~accepted, *inner


def _known(be: Backend, first: Cholesky | None) -> tuple[Array, Array, Array] | None:
    """All that is finite, D and the Gram matrix of B D, where nothing over- or underflowed."""
    if first is None or be.concrete(every(be, first.usable)) is not True:
        return None
    return first.usable, first.scale, first.scaled


def _direct(
    be: Backend,
    recipe: Recipe,
    a: Array,
    g: Array,
    first: Cholesky | None,
    sample: Sample | None,
) -> tuple[Array, Array, Array] | None:
    """`_known`, where singular values take no longer than CholeskyQR, which may need them too.

    Where Cholesky fails on the Gram matrix of a tall matrix, or on that of a sample, CholeskyQR
    takes two more products with the rows, and singular values one.
    """
    if be.traces or not _very_tall(recipe, a):
        return None
    if first is not None:
        return None if be.concrete(first.definite) is not False else _known(be, first)
    if sample is None or be.concrete(sample.likely | sample.good) is not False:
        return None
    # The sample's Z is the identity.
    sound = be.xp.all(be.xp.isfinite(g))
    return (sound, sample.scale, g) if be.concrete(sound) is True else None


def _either(
    be: Backend, mask: Array, old: Sequence[Array], new: Sequence[Array]
) -> tuple[Array, ...]:
    """The old arrays where the mask of problems holds, the new ones elsewhere."""
    pairs = zip(old, new, strict=True)
    return tuple(be.xp.where(_along(be, mask, v), u, v) for u, v in pairs)


def _along(be: Backend, mask: Array, v: Array) -> Array:
    """A mask of problems with the axes of v."""
    return be.xp.reshape(mask, (*mask.shape, *[1] * (v.ndim - mask.ndim)))


def _begun_small(be: Backend, root: Array, scale: Array, low: Array) -> Array:
    """Zᴴ D AᴴW b, of a wide system Zᴴ D √W b, from what stands behind D."""
    return be.matmul(adjoint(be, root), scale[..., None] * low)


def _orthonormal(
    be: Backend,
    recipe: Recipe,
    rows: tuple[Array, ...],
    ridge: Array | None,
    sums: tuple[Array, Array],
    first: Any,
    sample: Sample | None,
) -> tuple[Array, Array | None, Any]:
    """D, which problems are finite, where that is known, and what `orthogonalise` finds: `_hard`'s.

    It goes on from a sample's Z, or from the Gram matrix; a batch of small problems goes by
    Householder QR, which has what is left of √W b beside.
    """
    xp, system, (g, low) = be.xp, recipe.system, sums

    def wide(tall: Array, z: Array) -> tuple[Array]:
        q = be.matmul(tall, z)
        return (be.matmul(adjoint(be, q), q),)

    def through(z: Array) -> tuple[Array, ...]:
        """The Gram matrix of B Z and, unless the system is wide, (B Z)ᴴ √W b."""
        if system.wide:
            return wide(_tall(be, system, rows, None)[0], z)
        found, right = by_rows(
            be, recipe.blocks, lambda u, v, w: through_rows(be, u, v, w, z), *rows
        )
        return found if ridge is None else found + _gram_of_ridge(be, ridge, found, z), right

    if sample is not None:
        scale = sample.scale

        def scaled(z: Array) -> tuple[Array]:
            return (through(scaled_root(be, scale, z))[0],)

        known = be.cond(sample.likely, lambda: scaled(sample.root), lambda: (g,))
        start = sample.root, sample.good
        return scale, None, orthogonalise(be, scaled, recipe.most, start, known)
    if recipe.reflects:
        scale, found = reflected(be, *_tall(be, system, rows, ridge))
        return scale, None, found
    start = xp.broadcast_to(be.eye(int(g.shape[-1]), g), tuple(g.shape)), None
    if be.concrete(xp.all(first.usable)) is True:
        # The rows are multiplied as they are; the scales go with the small matrices.
        scale = first.scale
        known = (first.scaled,) if system.wide else (first.scaled, scale[..., None] * low)
        found = orthogonalise(
            be, lambda z: through(scaled_root(be, scale, z)), recipe.most, start, known, first
        )
        return scale, first.usable, found
    tall, right = _tall(be, system, rows, ridge)
    tall, finite, scale = sound_columns(be, tall)
    # Squares that over- or underflowed: the scales are those of the largest entries.
    scale = xp.where(first.usable[..., None], first.scale, scale)
    tall = tall * scale[..., None, :]
    blocks = block_count(be, tall)

    def products(z: Array) -> tuple[Array, ...]:
        if system.wide:
            return wide(tall, z)
        return by_rows(be, blocks, lambda u, v: through_rows(be, u, v, None, z), tall, right)

    return scale, finite, orthogonalise(be, products, recipe.most, start, None)


def _decided(
    be: Backend,
    recipe: Recipe,
    rows: tuple[Array, ...],
    ridge: Array | None,
    low: Array,
    many: int,
    known: tuple[Array, Array, Array] | None,
) -> tuple[Array, ...]:
    """Z, scale, rank, condition and finite by singular values, and `many` of what follows them.

    `known` is as of `_known`.
    """
    system = recipe.system
    tall, right = _tall(be, system, rows, ridge)
    n = int(tall.shape[-1])
    if known is None:
        (tall, sound, own), gram = sound_columns(be, tall), None
    else:
        sound, own, gram = known
    # Of a wide system the right-hand sides are not columns beside B.
    given = right if many and not system.wide else tall[..., :0]
    if recipe.reflects:
        triangle = be.triangle(tall * own[..., None, :], given)[..., :n, :]
        triangle, inner = triangle[..., :n], triangle[..., n:]
    else:
        triangle, inner = by_eigenvalues(be, recipe.blocks, tall, given, own, gram)
    z, d, rank, condition = orthogonal(be, triangle, own, recipe.rcond)
    found = z, d, rank, condition, sound
    if system.wide:
        return *found, _begun_small(be, z, d, low)
    if not many:
        return found
    # B D Z is U C Z, with the D of C in its columns.
    y = be.matmul(adjoint(be, be.matmul(triangle, scaled_root(be, d / own, z))), inner)
    rest = (squares(be, right) - squares(be, y),) if many > 1 else ()
    return *found, y, *rest


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
        return _either(be, full, inverse(), (_from_svd(be, t, turned, kept), common, rank))

    root, scale, rank = be.cond(every(be, full), inverse, shortest)
    return root, scale, rank, condition_of(be, s[..., 0], s[..., -1])


def _from_svd(be: Backend, s: Array, vh: Array, kept: Array) -> Array:
    xp = be.xp
    safe = xp.where(kept, s, xp.ones_like(s))
    inverse = xp.where(kept, 1.0 / safe, xp.zeros_like(s))
    return adjoint(be, vh) * inverse[..., None, :]
