"""Least squares from the sums of an accumulator: a Gram matrix and right-hand sides as pairs.

The square of the condition stands between a Gram matrix and the solution, so everything here is in
twice the working precision: Z with (G + Γ)⁺ ≈ Z Zᴴ by steps of CholeskyQR (`_triangles`), whose
Gram matrices are ZᵀGZ; and x refined until it stands, with residuals c − G x of pairs. Z need not
be accurate; it decides the rank, by the singular values of Z⁻¹.

Complex problems are real ones of twice the size; `_Sums` says in which units they are solved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import arguments
from .._backends import Backend, backend_of, register_result
from ..autodiff import Core, apply, with_batch
from ..division import Division, problems
from ..errors import (
    ArgumentError,
    RankDeficientError,
    UnsupportedError,
    describe,
)
from . import extended
from ._scaling import (
    all_finite,
    diagonal,
    identity,
    lengths,
    power_of_two,
    ridge_number,
    ridge_values,
)
from ._triangles import condition_limit, improve, orthogonal
from .dependence import Dependence, check_rcond, find_dependence, sentences
from .gram_state import GramState
from .least_squares import LstsqResult, variance, where_free
from .refinement import iterated

__all__ = ["GramResult", "Options", "options", "solved"]

Array = Any
Pair = tuple[Array, Array]
_PASSES = 8
# The least threshold of the rank in units of eps, for any n and for each column: above what the
# sums have lost.
_LEAST, _LEAST_EACH = 128, 16


@dataclass(frozen=True, eq=False)
class GramResult(LstsqResult):
    """What `GramAccumulator.solve` found: the fields of `lstsq`'s result, and two more.

    Attributes
    ----------
    rows : array of int
        Rows of weight other than 0.
    r_squared : array
        1 − Σ w|b − A x|² / Σ w|b − b̄|² with the weighted mean b̄: () or (k,); NaN for a constant b.
    """

    rows: Array
    r_squared: Array


register_result(
    GramResult,
    (
        "x",
        "residuals",
        "rank",
        "condition",
        "inverse_root",
        "stderr",
        "dof",
        "success",
        "rows",
        "r_squared",
    ),
    ("columns",),
)


@dataclass(frozen=True)
class Options:
    """What is asked of a solution; `ridge` is an array (n,) or None."""

    ridge: Any
    on_deficient: str
    rcond: float | None


def options(state: GramState, ridge: Any, on_deficient: Any, rcond: Any) -> Options:
    """Checked options."""
    arguments.choice("on_deficient", on_deficient, ("min_norm", "drop", "raise"))
    limit = check_rcond(rcond)
    if ridge_number(ridge) == 0:
        return Options(None, on_deficient, limit)
    be, (_, gamma) = arguments.arrays(state=state.high, ridge=ridge)
    n = state.columns
    if gamma.ndim > 1:
        raise ArgumentError(
            f"ridge must be a number or have one entry for each of the {n} columns of A, got "
            f"{describe(gamma)}"
        )
    gamma = ridge_values(be, gamma, state.high.dtype, n)
    return Options(be.xp.broadcast_to(gamma, (n,)), on_deficient, limit)


# -- the sums as a real problem --------------------------------------------------------------------


@dataclass(frozen=True)
class _Sums:
    """A real problem of N unknowns: pairs, in units of the columns' and of b's powers of two.

    Attributes
    ----------
    gram, right, square : pair
        AᵀWA (N, N), AᵀWb (N, k), Σ w b² (1, k).
    total : pair
        Σ w|b − b̄|², (1, k).
    unit, unit_b : array
        x times `unit` (N, 1), over `unit_b` (1, k), is the unknown here; 1 for columns of zeros.
    """

    gram: Pair
    right: Pair
    square: Pair
    total: Pair
    unit: Array
    unit_b: Array


def _sums(state: GramState) -> _Sums:
    be = backend_of(state.high)
    xp, n, k = be.xp, state.columns, state.rights
    words = state.high, state.low

    def block(i: slice, j: slice) -> Pair:
        return words[0][i, j], words[1][i, j]

    def minus(v: Pair) -> Pair:
        return -v[0], -v[1]

    def diag(v: Pair) -> Pair:
        return extended.both(lambda x: diagonal(be, x)[None, :], v)

    def stacked(pairs: Sequence[Pair], axis: int) -> Pair:
        high, low = zip(*pairs, strict=True)
        return xp.concat(high, axis=axis), xp.concat(low, axis=axis)

    top = xp.where(state.top == 0, xp.ones_like(state.top), state.top)
    last = slice(-1, None)
    if not state.complex:
        a, b = slice(0, n), slice(n, n + k)
        gram, right, squares = block(a, a), block(a, b), [diag(block(b, b))]
        means = [block(last, b)]
        unit, unit_b = top[:n, None], top[None, n : n + k]
    else:
        re, im = slice(0, n), slice(n, 2 * n)
        b_re, b_im = slice(2 * n, 2 * n + k), slice(2 * n + k, 2 * n + 2 * k)
        real = extended.add(block(re, re), block(im, im))
        imag = extended.add(block(re, im), minus(block(im, re)))
        lines = ((real, minus(imag)), (imag, real))
        gram = stacked([stacked(line, 1) for line in lines], 0)
        parts = (
            extended.add(block(re, b_re), block(im, b_im)),
            extended.add(block(re, b_im), minus(block(im, b_re))),
        )
        right = stacked(parts, 0)
        squares = [diag(block(b_re, b_re)), diag(block(b_im, b_im))]
        means = [block(last, b_re), block(last, b_im)]
        unit, unit_b = top[: 2 * n, None], top[None, 2 * n : 2 * n + k]
    count = block(last, last)
    spread = [_about_mean(be, s, m, count) for s, m in zip(squares, means, strict=True)]
    square, total = squares[0], spread[0]
    if state.complex:
        square, total = extended.add(*squares), extended.add(*spread)
    return _Sums(gram, right, square, total, unit, unit_b)


def _about_mean(be: Backend, square: Pair, mean: Pair, count: Pair) -> Pair:
    """Σ w (b − μ)² for the mean μ, rounded: Σ w b² − μ (2 Σ w b − μ Σ w)."""
    xp = be.xp
    some = count[0] > 0
    mu = mean[0] / xp.where(some, count[0], xp.ones_like(count[0]))
    inner = extended.multiply(be, (xp.zeros_like(mu) + count[0], xp.zeros_like(mu) + count[1]), mu)
    inner = extended.add((2 * mean[0], 2 * mean[1]), (-inner[0], -inner[1]))
    inner = extended.multiply(be, inner, mu)
    return extended.add(square, (-inner[0], -inner[1]))


def _left_over(be: Backend, gram: Pair, right: Pair, square: Pair, x: Array) -> Array:
    """Σ w (b − A x)² = Σ w b² − xᵀ(2c − G x), 0 where rounding makes it negative; (1, k)."""
    product = extended.pair_matmul(be, gram, (x, be.xp.zeros_like(x)))
    inner = extended.add((2 * right[0], 2 * right[1]), (-product[0], -product[1]))
    inner = extended.total(be, extended.multiply(be, inner, x), 0)
    hi, lo = extended.add(square, (-inner[0][None, :], -inner[1][None, :]))
    found = hi + lo
    return be.xp.where(found < 0, be.xp.zeros_like(found), found)


# -- factors ---------------------------------------------------------------------------------------


def _factor(be: Backend, limit: float | None, *arrays: Array) -> tuple[Array, ...]:
    """Z, the scales that go with it, rank, condition, the triangle Z⁻¹ and its scales, threshold.

    From a Gram pair whose diagonal is near 1, its scales (those of x), and the number of rows.
    """
    hi, lo, scale, rows = arrays
    xp, n = be.xp, hi.shape[-1]
    eps = float(xp.finfo(hi.dtype).eps)
    eye = be.eye(n, hi)
    # What makes the matrix of dependent columns definite, below any threshold of the rank.
    gram = extended.add((hi, lo), ((16 * n * eps * eps) * eye, xp.zeros_like(eye)))
    narrow = condition_limit(eps)

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        root, settled = state
        pair = root, xp.zeros_like(root)
        left = xp.matrix_transpose(root), xp.zeros_like(root)
        g = extended.pair_matmul(be, left, extended.pair_matmul(be, gram, pair))[0]
        inverse, inner, plain = improve(be, 0.5 * g + 0.5 * xp.matrix_transpose(g))
        new = be.matmul(root, inverse)
        lost = ~all_finite(be, new)
        return xp.where(settled | lost, root, new), settled | lost | (plain & (inner <= narrow))

    flag = be.new_like(hi, (), dtype=be.dtype("bool"), fill=False)
    root, settled = be.while_loop(lambda s: ~s[1], step, (eye, flag), _PASSES)
    triangle = be.solve_triangular(root, eye, lower=False)
    some = xp.max(diagonal(be, hi)) > 0
    triangle = xp.where(some & all_finite(be, triangle), triangle, xp.zeros_like(triangle))
    size = xp.max(xp.sum(xp.abs(hi), axis=-1)) * xp.max(
        xp.sum(xp.abs(be.matmul(root, xp.matrix_transpose(root))), axis=-1)
    )
    condition = xp.sqrt(xp.where(size < 1, xp.ones_like(size), size))
    if limit is None:
        # Rows alone ask for no more than √eps, as in `default_rcond`: they have no end.
        least = be.new_like(hi, (), fill=float(max(_LEAST, _LEAST_EACH * n)))
        count = xp.astype(rows, hi.dtype)
        most = be.new_like(hi, (), fill=eps**-0.5)
        threshold = eps * xp.maximum(xp.where(count < most, count, most), least)
    else:
        threshold = be.new_like(hi, (), fill=limit)
    integer = be.default_int(hi)
    rank = be.new_like(hi, (), dtype=integer, fill=n)
    far = condition * xp.where(threshold > eps, threshold, eps + 0 * threshold) > 1
    easy = settled & some & ~far

    def kept(*given: Array) -> tuple[Array, ...]:
        return root, scale, rank, condition

    def decided(*given: Array) -> tuple[Array, ...]:
        return orthogonal(be, triangle, scale, threshold)

    found = be.cond(easy, kept, decided)
    return (*found, triangle, threshold)


# -- the solution as a core ------------------------------------------------------------------------


class _PairSolution(Core):
    """x (N, k) with G x = c, from the pairs G and c and Z with G⁻¹ ≈ Z Zᵀ, refined.

    Derivation. G x = c, so ẋ = G⁻¹(ċ − Ġ x), where G and c move with their high words; transposed,
    with u = G⁻¹ t of the cotangent t: c̄ = u and Ḡ = −u xᵀ. Z is a constant: x does not depend on
    it. With dependent columns it is the derivative for a fixed null space.
    """

    name = "pair_solution"
    linear = (2,)

    def divide(self, geometry: Any, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        return problems(geometry, shapes, len(shapes[0]) - 2, shapes[2][-2:])

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        hi, lo, c_hi, c_lo, root = arrays
        xp, n = be.xp, hi.shape[-1]
        turned = xp.matrix_transpose(root)

        def correction(x: Pair) -> Pair:
            product = extended.pair_matmul(be, (hi, lo), x)
            r = extended.add((c_hi, c_lo), (-product[0], -product[1]))
            return r[0], xp.zeros_like(r[0][..., :1, :])

        start = be.matmul(root, be.matmul(turned, c_hi))
        ones = be.new_like(hi, (1, n), fill=1)
        return iterated(be, correction, start, turned, root, ones, hi.dtype)[..., :n, :]

    def _again(self, be: Backend, arrays: Sequence[Array], right: Array) -> Array:
        hi, lo, _, _, root = arrays
        return apply(self, None, hi, lo, right, be.new_like(right, tuple(right.shape)), root)

    def push(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        moved = None if tangents[0] is None else -be.matmul(tangents[0], out)
        if tangents[2] is not None:
            moved = tangents[2] if moved is None else moved + tangents[2]
        return be.xp.zeros_like(out) if moved is None else self._again(be, arrays, moved)

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        u = self._again(be, arrays, cotangent)
        bar = -be.matmul(u, be.xp.matrix_transpose(out)) if wanted[0] else None
        return bar, None, u, None, None

    def batch(
        self, be: Backend, geometry: Any, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        return geometry, with_batch(be, arrays, batched), lambda out: out


_PAIR_SOLUTION = _PairSolution()


# -- the result ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Problem:
    """Geometry of a solution."""

    columns: int
    rights: int
    complex: bool
    ridged: bool
    raising: bool
    rcond: float | None


def solved(state: GramState, way: Options) -> GramResult:
    """The solution that the sums so far give."""
    be = backend_of(state.high)
    n = state.columns
    raising = way.on_deficient == "raise"
    geometry = _Problem(n, state.rights, state.complex, way.ridge is not None, raising, way.rcond)
    arrays = [state.high, state.low, state.top, state.rows]
    arrays += [] if way.ridge is None else [way.ridge]
    # What cannot be told is NaN.
    with be.quiet():
        *found, finite, rows, threshold = be.run(_solved, geometry, *arrays)
    x, residuals, rank, condition, root, stderr, dof, success, r_squared = found
    if way.on_deficient == "drop" and be.concrete(finite) is None:
        raise UnsupportedError(
            'on_deficient="drop" decides by array values and cannot be traced; use "min_norm"'
        )
    if way.on_deficient != "min_norm" and be.concrete(finite & (rank < n)) is True:
        rcond = float(be.concrete(threshold))
        dependence = find_dependence(be, rows, rcond, int(be.concrete(rank)))
        if not raising:
            return _dropped(be, state, way, dependence)
        raise RankDeficientError(
            f"the columns of A are dependent (rank {len(dependence.kept)} of {n}): "
            f'{sentences(be, dependence)}; on_deficient="min_norm" or "drop" goes on'
        )
    if state.rights == 1:
        with be.quiet():
            x, stderr, residuals, r_squared = x[:, 0], stderr[:, 0], residuals[0], r_squared[0]
    return GramResult(
        x=x,
        residuals=residuals,
        rank=rank,
        condition=condition,
        columns=tuple(range(n)),
        inverse_root=root,
        stderr=stderr,
        dof=dof,
        success=success,
        rows=state.rows,
        r_squared=r_squared,
    )


def _solved(be: Backend, g: _Problem, *arrays: Array) -> tuple[Array, ...]:
    """The arrays of a result, and what is known of the rank: finite, rows like A's, threshold."""
    high, low, top, count, *ridge = arrays
    xp, n = be.xp, g.columns
    state = GramState(high, low, top, count, n, g.rights, g.complex)
    s = _sums(state)
    eye = identity(be, int(s.unit.shape[0]), s.unit)
    whole = s.gram
    if g.ridged:
        # Penalties in the units of the unknowns.
        gamma = xp.concat([ridge[0], ridge[0]]) if g.complex else ridge[0]
        gamma = (gamma[:, None] / s.unit) / s.unit
        gamma = xp.where(eye, gamma, xp.zeros_like(gamma))
        whole = extended.add(whole, (gamma, xp.zeros_like(gamma)))
    finite = all_finite(be, be.detach(whole[0]))
    plain = [be.detach(xp.where(finite, v, xp.astype(eye, v.dtype))) for v in whole]
    unit = be.detach(xp.where(finite, s.unit, xp.ones_like(s.unit)))
    d = power_of_two(be, diagonal(be, plain[0]), 0.5)
    both = d[:, None] * d[None, :]
    units = d / unit[:, 0]
    root, scale, rank, condition, triangle, threshold = _factor(
        be, g.rcond, plain[0] * both, plain[1] * both, units, count
    )
    rank = xp.astype(rank, be.default_int(high))
    rank = rank // 2 if g.complex else rank
    # The units of the refinement: those in which Z was found.
    e = scale[:, None] * unit
    both = e * xp.matrix_transpose(e)

    def scaled(pair: Pair, by: Array) -> Pair:
        return pair[0] * by, pair[1] * by

    right = scaled(s.right, e)
    v = apply(_PAIR_SOLUTION, None, *scaled(whole, both), *right, root)
    x = (v * scale[:, None]) * s.unit_b
    nan = be.new_like(high, (), fill=float("nan"))
    fine = finite & (rank == n) if g.raising else finite
    x = xp.where(fine, x, nan)
    # No derivatives from here on.
    bare = [be.detach(t) for t in (*scaled(s.gram, both), *right, *s.square, v, *s.total)]
    rest = _left_over(be, (bare[0], bare[1]), (bare[2], bare[3]), (bare[4], bare[5]), bare[6])
    rest = xp.where(finite, rest, nan)[0, :]
    total = (bare[7] + bare[8])[0, :]
    known = total > 0
    r_squared = xp.where(known, 1 - rest / xp.where(known, total, xp.ones_like(total)), nan)
    unit_b = be.detach(s.unit_b)[0, :]
    # Squares in the unit of b may be infinite.
    with be.quiet():
        residuals = rest * unit_b * unit_b
    root = xp.where(finite, scale[:, None] * root, nan)
    rank = xp.where(finite, rank, xp.zeros_like(rank))
    dof = count - xp.astype(rank, count.dtype)
    if g.complex:
        x = _joined(be, x)
        # Its blocks are those of the real form: half of Z Zᴴ each.
        root = _joined(be, root) * 0.5**0.5
    # Neither squares of the rows nor of b are taken in their own units.
    near = power_of_two(be, xp.max(xp.abs(root), axis=-1), 1.0)
    sizes = lengths(be, near[:, None] * root, -1) / near
    s2, free = variance(rest, dof)
    stderr = where_free(free, sizes[:, None] * (xp.sqrt(s2) * unit_b)[None, :])
    success = fine & all_finite(be, be.detach(x))
    condition = xp.where(finite, condition, nan)
    rows = _rows_like(be, state, triangle / units[None, :])
    found = x, residuals, rank, condition, root, stderr, dof, success, r_squared
    return *found, finite, rows, threshold


def _joined(be: Backend, v: Array) -> Array:
    """(2n, k) with the real part above the imaginary one as complex (n, k)."""
    return extended.from_real_rows(be, v, v.shape[0] // 2)


def _rows_like(be: Backend, state: GramState, triangle: Array) -> Array:
    """Rows with the Gram matrix of A: the triangle, or what it makes in complex numbers."""
    if not state.complex:
        return triangle
    n = state.columns
    kind = state.kind
    re, im = (be.xp.astype(v, kind) for v in (triangle[:, :n], triangle[:, n:]))
    return (re - be.new_like(re, (), fill=1j) * im) * 0.5**0.5


def _dropped(be: Backend, state: GramState, way: Options, found: Dependence) -> GramResult:
    """The solution with a basis of the columns; the others get coefficient 0."""
    n, k = state.columns, state.rights
    kept, nan = found.kept, float("nan")
    if not kept:
        # Columns of zeros alone, whose least solution is 0 too.
        r = solved(state, replace(way, on_deficient="min_norm"))
        root, stderr = (be.xp.full_like(v, nan) for v in (r.inverse_root, r.stderr))
        return replace(r, columns=(), inverse_root=root, stderr=stderr)

    def taken(v: Array, places: Sequence[int], axis: int) -> Array:
        return be.take(v, np.asarray(places), axis)

    parts = 2 if state.complex else 1
    places = [i + n * part for part in range(parts) for i in kept]
    places += list(range(parts * n, parts * (n + k) + 1))
    small = replace(
        state,
        high=taken(taken(state.high, places, 0), places, 1),
        low=taken(taken(state.low, places, 0), places, 1),
        top=taken(state.top, places, 0),
        columns=len(kept),
    )
    ridge = None if way.ridge is None else taken(way.ridge, kept, 0)
    r = solved(small, replace(way, ridge=ridge, on_deficient="min_norm"))
    order = [kept.index(j) if j in kept else len(kept) for j in range(n)]

    def spread(v: Array, value: float) -> Array:
        return taken(be.pad(v, [(0, 1)] + [(0, 0)] * (v.ndim - 1), value), order, 0)

    return replace(
        r,
        x=spread(r.x, 0.0),
        columns=tuple(kept),
        inverse_root=spread(r.inverse_root, nan),
        stderr=spread(r.stderr, nan),
    )
