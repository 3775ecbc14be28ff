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

from dataclasses import dataclass, replace
from math import prod
from typing import Any

from .._backends import Backend
from ._equations import Equations, Recipe, System
from ._first_pass import first_pass, no_pass
from ._ill_conditioned import IllConditioned
from ._rows import (
    beside,
    block_count,
    by_problems,
    few,
    problem_count,
    residual_sums,
)
from ._sample import Sample, preview, sample_step
from ._scaling import (
    adjoint,
    either,
    every,
    lengths,
    not_below_zero,
)
from ._steps import Steps, of_ridge, reduced
from ._triangles import Cholesky, condition_limit, scaled_cholesky

__all__ = ["Factors", "factorise"]

Array = Any
# Columns of [A b] up to which Householder QR of many matrices takes less than CholeskyQR, whose
# products of matrices as small are slow.
_REFLECTED = 32
# Problems that are looked at before all of a batch are, which are so many times as many or more.
_PROBLEMS, _SHARE = 64, 8
# Entries of a tall matrix, or multiply-adds of its Gram matrix, from which on a sample of its rows
# costs less than the Gram matrix saves where Householder QR is fast.
_SAMPLED, _MULTIPLIED = 3 << 18, 5 << 20


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
                likely = be.concrete(_likely(Equations.of(be, recipe, given)))
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
    entries = prod(a.shape)
    if alone and entries < _SAMPLED and entries * columns < _MULTIPLIED:
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


def _likely(equations: Equations) -> Array:
    """Whether the Gram matrices of a batch are likely to do, as some of them do."""
    be, a, limit = equations.be, equations.a, equations.recipe.limit
    g = equations.every(a.shape[0] // _PROBLEMS).gram()
    first = scaled_cholesky(be, g, max(a.shape[-2:]), limit)
    return be.xp.all(first.within(limit))


def _factorise(be: Backend, recipe: Recipe, *given: Array) -> tuple[Array, ...]:
    xp, equations = be.xp, Equations.of(be, recipe, given)
    a, ridge, limit, eps = equations.a, equations.ridge, recipe.limit, equations.eps
    sample, tries = None, recipe.tries
    if recipe.step > 1:
        rows = a, equations.b, equations.w
        sample = preview(be, recipe.step, limit, *rows, ridge, insists=recipe.reflects)
        tries = sample is not None
    likely = None if sample is None else sample.likely
    if not tries:
        likely = be.new_like(a, (), dtype=be.dtype("bool"), fill=False)
    elif recipe.looks:
        likely = _likely(equations)
    g, low, square = first_pass(equations, sample, likely) if tries else no_pass(equations)
    first = None
    if likely is not None and (not tries or be.concrete(likely) is False):
        everywhere = likely
        found = IllConditioned(equations, g, low, None, sample).solve()
    else:
        first = scaled_cholesky(be, g, max(a.shape[-2:]), limit)
        good = first.within(limit)
        good = good if likely is None else good & likely
        everywhere = every(be, good)
        rank = equations.full_rank

        def easy(*arrays: Array) -> tuple[Array, ...]:
            known = first.root, first.scale, rank, first.condition, first.usable, good, good
            if sample is not None:
                return known
            y = reduced(be, first.root, first.scale, low)
            return (*known, y, square) if recipe.reflects else (*known, y)

        def hard(*arrays: Array) -> tuple[Array, ...]:
            found = IllConditioned(equations, g, low, first, sample).solve()
            return found if recipe.reflects else either(be, good, easy(), found)

        found = be.cond(everywhere, easy, hard)
    root, scale, rank, condition, finite, triangular, mild, *inner = found
    many = ~every(be, mild)
    steps = Steps(be, recipe.system, root, scale, ridge)
    if sample is None:
        start, square, goal = steps.moved(None, inner[0], square)
        if recipe.reflects:
            # What Householder's reflections find needs no step, if they find the rank full.
            rest = inner[1] if ridge is None else inner[1] - of_ridge(be, ridge, start, start)
            square = xp.where(everywhere, square, rest)
            many = ~every(be, triangular)
        again = every(be, mild) | many
    else:
        full = rank == int(a.shape[-1])
        x, change, square, now = _begun(equations, sample, steps, (full, triangular), (low, square))
        start, square = x + change, not_below_zero(be, square)
        goal = xp.where(sample.goal > now, sample.goal, now)
        d = scale[..., None]
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
    equations: Equations,
    sample: Sample,
    steps: Steps,
    known: tuple[Array, Array],
    sums: tuple[Array, Array],
) -> tuple[Array, ...]:
    """x₀ and the step from it, as of `Steps.correction`.

    `known` is where the rank is full and where Z is the sample's times a triangle, `sums` what
    `first_pass` found at the sample's x₀. At deficient rank x₀ is 0, for it has a part in the null
    space.
    """
    be, ridge, (full, triangular), x = equations.be, equations.ridge, known, sample.solution
    xp = be.xp

    def through(*arrays: Array) -> tuple[Array, ...]:
        y, square = sums
        if ridge is not None:
            y = y - reduced(be, sample.root, sample.scale, ridge[..., None] * x)
        inner = be.solve_triangular(sample.root, steps.root, lower=False)
        y = be.matmul(adjoint(be, inner), y)
        return x, *steps.moved(x, y, square)

    def plain(*arrays: Array) -> tuple[Array, ...]:
        def kept(*arrays: Array) -> tuple[Array, ...]:
            return x, *sums

        def anew(*arrays: Array) -> tuple[Array, ...]:
            start = xp.where(full[..., None, None], x, xp.zeros_like(x))
            return start, *equations.passed(lambda a, b, w: residual_sums(be, a, b, w, start))

        def others(*arrays: Array) -> tuple[Array, ...]:
            return be.cond(sample.likely | xp.any(sample.good), anew, unscaled)

        def unscaled(*arrays: Array) -> tuple[Array, ...]:
            # x₀ is 0 and the sample's Z the identity.
            low, square = sums
            return x, low / sample.scale[..., None], square

        start, low, square = be.cond(sample.likely & xp.all(full), kept, others)
        return start, *steps.correction(start, low, square)

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
