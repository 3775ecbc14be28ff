"""Least squares through AᴴA, and the projection that it is.

Public function -> leading axes and checks -> `factors.factorise` -> `normal_equations.solution`,
which is `refinement` with its derivative rule -> result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .. import _ops, arguments
from .._backends import Backend, backend_of, register_result
from ..autodiff import primal
from ..errors import (
    ArgumentError,
    RankDeficientError,
    UnsupportedError,
    describe,
)
from ..registry import operation
from ._equations import System
from ._rows import beside, by_problems, problem_count
from ._scaling import (
    adjoint,
    all_finite,
    default_rcond,
    diagonal_matrix,
    matrices,
    power_of_two,
    real_product,
    ridge_number,
    ridge_values,
    scaled_root,
    squared_lengths,
    weights_of,
)
from ._sides import Sides, as_columns
from .dependence import check_rcond, find_dependence, sentences
from .factors import Factors, factorise
from .normal_equations import inverse_root, solution
from .refinement import plan_for

__all__ = ["LstsqResult", "Projection", "lstsq", "project", "variance", "where_free"]

Array = Any
_METHODS = ("auto", "normal", "cholesky_qr")
_ACCURACIES = ("standard", "full")
_DEFICIENT = ("min_norm", "drop", "raise")


@dataclass(frozen=True, eq=False)
class LstsqResult:
    """What `lstsq` found. Leading axes (...) are those of the problem; b has k columns.

    Attributes
    ----------
    x : array
        Solution, (..., n) for a vector b, (..., n, k) for a matrix.
    residuals : array
        Σ w|b − A x|², (...) or (..., k): always there, also where NumPy's is empty.
    rank : array of int
        Rank of A (of √W A with √ridge appended), (...); 0 where A is not finite.
    condition : array
        Of the same matrix, columns (rows if m < n) scaled to like size, (...): at most √n too large
        at full rank, exact otherwise; NaN where A is not finite.
    columns : tuple of int
        Columns of A that were used: all, but for ``on_deficient="drop"``.
    inverse_root : array or None
        Z (..., n, p) with Z Zᴴ = (AᴴWA + Γ)⁻¹, the pseudo-inverse at deficient rank; NaN in dropped
        rows; None where the problem was solved through AAᴴ.
    stderr : array
        Standard errors of x, as its shape; NaN without degrees of freedom.
    dof : array of int
        Rows of weight other than 0, less the rank, (...).
    success : array of bool
        Whether x is finite and, with ``on_deficient="raise"``, the rank is full, (...); with
        ``accuracy="full"``, whether x is correct to working precision.
    """

    x: Array
    residuals: Array
    rank: Array
    condition: Array
    columns: tuple[int, ...]
    inverse_root: Array
    stderr: Array
    dof: Array
    success: Array

    @property
    def unscaled_covariance(self) -> Array:
        """(AᴴWA + Γ)⁻¹, (..., n, n), made when asked for; None as `inverse_root`."""
        if self.inverse_root is None:
            return None
        be = backend_of(self.inverse_root)
        return be.matmul(self.inverse_root, adjoint(be, self.inverse_root))

    @property
    def covariance(self) -> Array:
        """Covariance of the coefficients, s²·(AᴴWA + Γ)⁻¹ with s² = residuals / dof.

        (..., n, n) for a vector b, (..., k, n, n) for a matrix; made when asked for.
        """
        if self.inverse_root is None:
            raise UnsupportedError(
                "covariance: with fewer rows than columns no degree of freedom is left"
            )
        # Correlations between standard errors: s² alone, and Z Zᴴ, may leave the range.
        be = backend_of(self.inverse_root)
        xp, errors, rows = be.xp, self.stderr, _unit_rows(be, self.inverse_root)
        correlation = be.matmul(rows, adjoint(be, rows))
        if self.residuals.ndim > self.dof.ndim:
            errors = xp.matrix_transpose(errors)
            correlation = correlation[..., None, :, :]
        # NaN is put in again as a constant, as in stderr.
        known = errors == errors
        errors = xp.where(known, errors, xp.zeros_like(errors))
        sizes = errors[..., :, None] * errors[..., None, :]
        known = known[..., :, None] & known[..., None, :]
        return where_free(known, be.cast(sizes, correlation.dtype) * correlation)


register_result(
    LstsqResult,
    (
        "x",
        "residuals",
        "rank",
        "condition",
        "inverse_root",
        "stderr",
        "dof",
        "success",
    ),
    ("columns",),
)


def variance(residuals: Array, dof: Array) -> tuple[Array, Array]:
    """Residuals (..., k) for each degree of freedom (...), and whether there is any."""
    xp = backend_of(residuals).xp
    count = xp.astype(dof[..., None], residuals.dtype)
    free = count > 0
    return residuals / xp.where(free, count, xp.ones_like(count)), free


def _unit_rows(be: Backend, z: Array) -> Array:
    """The rows of matrices over their lengths; 0 where they are."""
    xp = be.xp
    total = xp.abs(be.detach(z))
    near = power_of_two(be, xp.sum(total, axis=-1, dtype=total.dtype), 1.0)
    z = scaled_root(be, near, z)
    size = _ops.root(squared_lengths(be, z, -1))
    size = xp.where(size > 0, size, xp.ones_like(size))
    return z / xp.astype(size, z.dtype)[..., None]


def where_free(free: Array, value: Array) -> Array:
    """The value, and NaN, as a constant, where no degree of freedom is left."""
    be = backend_of(value)
    with be.quiet():
        return be.xp.where(free, value, be.new_like(value, (), fill=float("nan")))


@dataclass(frozen=True)
class _Problem:
    """A checked problem: arrays or nodes with the same leading axes, b a matrix.

    `dual` says that a number above 0 is the ridge of all of more columns than rows, without
    weights: told from shapes and types, so that a traced problem goes the same way.
    """

    be: Backend
    a: Any
    b: Any
    w: Any
    ridge: Any
    sides: Sides
    kind: Any
    dual: bool


def _problem(a: Any, b: Any, weights: Any, ridge: Any) -> _Problem:
    be, _ = matrices(a, "A")
    number = ridge_number(ridge)
    given = {"A": a, "b": b, "weights": weights, "ridge": ridge if number is None else None}
    be, (a, b, weights, penalties) = arguments.dividing("weights", "ridge", **given)
    arguments.numeric(be, "b", b)
    m = a.shape[-2]
    vector = b.ndim == 1 or (b.ndim == a.ndim - 1 and tuple(b.shape) == tuple(a.shape[:-1]))
    if b.ndim < 1 or b.shape[-1 if vector else -2] != m:
        raise ArgumentError(
            f"b must have the {m} rows of A: (..., {m}) or (..., {m}, k); got {describe(primal(b))}"
        )
    a, b = arguments.solvable(be, a, b)
    kind = a.dtype
    a, b = arguments.summable(be, a, b)
    w = None if weights is None else weights_of(a, weights)
    gamma = _ridge(be, a, penalties) if number is None else _even_ridge(be, a, number)
    if w is not None and be.concrete(be.xp.any(primal(w) < 0)) is True:
        raise ArgumentError("weights must be 0 or more")
    single = a.ndim == 2 and all(v is None or v.ndim == 1 for v in (w, gamma))
    b, sides = as_columns(b, vector=vector, single=single)
    shapes = {"A": a.shape[:-2], "b": b.shape[:-2]}
    if w is not None:
        shapes["weights"] = w.shape[:-1]
    if gamma is not None:
        shapes["ridge"] = gamma.shape[:-1]
    lead = arguments.leading(**shapes)
    a = _ops.broadcast_to(a, (*lead, *a.shape[-2:]))
    b = _ops.broadcast_to(b, (*lead, *b.shape[-2:]))
    w = None if w is None else _ops.broadcast_to(w, (*lead, m))
    gamma = None if gamma is None else _ops.broadcast_to(gamma, (*lead, a.shape[-1]))
    dual = m < a.shape[-1] and w is None and number is not None and 0 < number < float("inf")
    return _Problem(be, a, b, w, gamma, sides, kind, dual)


def _even_ridge(be: Backend, a: Any, ridge: float) -> Any:
    """One penalty for all columns as (n,) reals; None for none."""
    return _ops.fill_like(a, (a.shape[-1],), ridge, be.real_dtype(a.dtype)) if ridge else None


def _ridge(be: Backend, a: Any, ridge: Any) -> Any:
    """Penalties in an array as reals (..., n)."""
    n = a.shape[-1]
    gamma = ridge_values(be, ridge, be.real_dtype(a.dtype), n)
    return _ops.broadcast_to(gamma, (*gamma.shape[:-1], n))


def _empty(p: _Problem) -> LstsqResult:
    """No rows or no columns: nothing to fit, x = 0."""
    be = p.be
    a, b = primal(p.a), primal(p.b)
    n, k = a.shape[-1], b.shape[-1]
    lead = tuple(a.shape[:-2])
    integer = be.default_int(a)
    real = be.real_dtype(a.dtype)
    w = None if p.w is None else primal(p.w)
    if w is None:
        dof = be.new_like(a, lead, dtype=integer, fill=int(a.shape[-2]))
    else:
        dof = be.xp.sum(be.xp.astype(w != 0, integer), axis=-1, dtype=integer)
    return LstsqResult(
        x=be.new_like(a, (*lead, n, k)),
        residuals=_residuals(be, b, w),
        rank=be.new_like(a, lead, dtype=integer),
        condition=be.new_like(a, lead, dtype=real, fill=1.0 if n == 0 else float("inf")),
        columns=tuple(range(n)),
        inverse_root=be.new_like(a, (*lead, n, n)),
        stderr=be.new_like(a, (*lead, n, k), dtype=real, fill=float("nan")),
        dof=dof,
        success=all_finite(be, b),
    )


def _with_row(p: _Problem) -> _Problem:
    """A ridge without rows as one with a row of weight 0, which says as little."""
    lead, n, k = tuple(p.a.shape[:-2]), p.a.shape[-1], p.b.shape[-1]
    real = p.be.real_dtype(p.a.dtype)
    a, b = (_ops.fill_like(v, (*lead, 1, size), 0, v.dtype) for v, size in ((p.a, n), (p.b, k)))
    return replace(p, a=a, b=b, w=_ops.fill_like(p.a, (*lead, 1), 0, real), dual=False)


def _residuals(be: Backend, r: Array, w: Array | None) -> Array:
    size = real_product(be, r, r)
    if w is not None:
        size = w[..., None] * size
    return be.xp.sum(size, axis=-2, dtype=size.dtype)


def _deficient(be: Backend, f: Factors, n: int) -> bool:
    """Eagerly: whether a finite matrix of the problem has rank below n. Traced: False."""
    return bool(be.concrete(be.xp.any(f.finite & (f.rank < n))))


def _words(p: _Problem, rcond: float | None) -> str:
    """The dependent columns of the first deficient matrix, for an error's text."""
    be, a = p.be, _stacked(p)
    lead = a.shape[:-2]
    if lead:
        return f"a matrix of the batch {tuple(lead)} has dependent columns"
    found = find_dependence(be, a, default_rcond(be, a) if rcond is None else rcond)
    kept, n = len(found.kept), int(a.shape[-1])
    return f"the columns of A are dependent (rank {kept} of {n}): {sentences(be, found)}"


def _stacked(p: _Problem) -> Array:
    """√W A with √ridge appended, plain."""
    be, xp = p.be, p.be.xp
    a = primal(p.a)
    if p.w is not None:
        a = xp.astype(xp.sqrt(primal(p.w)), a.dtype)[..., None] * a
    if p.ridge is not None:
        a = xp.concat([a, diagonal_matrix(be, xp.sqrt(primal(p.ridge)), a)], axis=-2)
    return a


@dataclass(frozen=True)
class _Way:
    """The options of one call."""

    method: str = "auto"
    accuracy: str = "standard"
    on_deficient: str = "min_norm"
    rcond: float | None = None


def _solve(p: _Problem, way: _Way) -> LstsqResult:
    be, xp = p.be, p.be.xp
    m, n = (int(v) for v in p.a.shape[-2:])
    raising = way.on_deficient == "raise"
    if raising and m < n and p.ridge is None:
        raise RankDeficientError(
            f"A has {m} rows for {n} columns, so its columns are dependent; with "
            f'on_deficient="min_norm" the solution of least norm is found'
        )
    if m == 0 and n > 0 and p.ridge is not None:
        return _solve(_with_row(p), way)
    if m == 0 or n == 0:
        r = _empty(p)
        if way.on_deficient == "drop":
            # No rows have no basis.
            root = be.xp.full_like(r.inverse_root, float("nan"))
            r = replace(r, columns=(), inverse_root=root)
        return r
    if p.dual:
        return _solve_dual(p, way)
    a, b, w, ridge = (None if v is None else primal(v) for v in (p.a, p.b, p.w, p.ridge))
    system = System(w is not None, ridge is not None, wide=m < n and ridge is None)
    rcond = default_rcond(be, a) if way.rcond is None else way.rcond
    f = factorise(be, system, way.method, rcond, a, b, w, ridge)
    if way.on_deficient == "drop":
        known = be.concrete(xp.all(f.finite))
        if known is None:
            raise UnsupportedError(
                'on_deficient="drop" decides by array values and cannot be traced; '
                'use "min_norm", or choose the columns outside with independent_columns'
            )
    if way.on_deficient != "min_norm" and _deficient(be, f, n):
        if raising:
            raise RankDeficientError(
                f'{_words(p, way.rcond)}; on_deficient="min_norm" or "drop" goes on'
            )
        return _dropped(p, way)
    known = be.concrete(f.deficient)
    full = way.accuracy == "full"
    plan = plan_for(be, system, a, int(p.b.shape[-1]), full=full, full_rank=known is False)
    packed = solution(plan, f, p.a, p.b, p.w, p.ridge)
    lead = [slice(None)] * (packed.ndim - 2)
    x = _ops.cut(packed, *lead, slice(0, n))
    if raising and known is None:
        whole = xp.broadcast_to((f.rank == n)[..., None, None], tuple(x.shape))
        x = _ops.select(whole, x, _ops.fill_like(x, (), float("nan")))
    factor = inverse_root(plan, f, a, w, ridge)
    found = [factor, f.scale, f.finite, f.rank, f.condition, primal(packed), primal(x)]
    found += [] if w is None else [w]
    said = _Said(m, system.wide, full)
    count = problem_count(be, a)

    def told(be: Backend, *found: Array) -> tuple[Array, ...]:
        def some(*found: Array) -> tuple[Array, ...]:
            return be.run(_said, said, *found)

        return by_problems(be, count, some, *found)

    with be.quiet():
        residuals, stderr, dof, success, *root = beside(be, told, *found)
    return LstsqResult(
        x=x,
        residuals=residuals,
        rank=f.rank,
        condition=f.condition,
        columns=tuple(range(n)),
        inverse_root=root[0] if root else None,
        stderr=stderr,
        dof=dof,
        success=success,
    )


def _near(be: Backend, geometry: None, *arrays: Array) -> tuple[Array]:
    """Whether the entries of all columns are near 1, as the range of the dtype goes."""
    xp, every = be.xp, None
    for v in arrays:
        # The mean square of a column tells, as its largest entry would, in one pass.
        size = squared_lengths(be, v, -2) / int(v.shape[-2])
        reach = 2.0 ** (256 if be.itemsize(size.dtype) > 4 else 32)
        near = (size > 1 / reach) & (size < reach)
        near = near[0] if near.shape == (1,) else xp.all(near)
        every = near if every is None else every & near
    return (every,)


def _in_range(p: _Problem) -> tuple[_Problem, Array | None]:
    """The problem with columns of b brought near 1, and what x is to be multiplied by (..., 1, k).

    b is squared and multiplied by A: in the units that data came in both may leave the range of the
    dtype. Of a wide system it is divided by AAᴴ instead, and brought near the size of A. What is
    known to be near 1, A too where it matters, stays as it is, with None.
    """
    be, xp, a, b = p.be, p.be.xp, primal(p.a), primal(p.b)
    wide = a.shape[-2] < a.shape[-1] and p.ridge is None
    told = (b, a) if wide else (b,)

    def near(be: Backend, *told: Array) -> tuple[Array, ...]:
        # Squares may be infinite.
        with be.quiet():
            return be.run(_near, None, *told)

    if 0 in a.shape or 0 in b.shape or be.concrete(*beside(be, near, *told)) is True:
        return p, None
    a, b = be.detach(a), be.detach(b)
    size = xp.max(xp.abs(b), axis=-2, keepdims=True)
    if wide:
        top = xp.max(xp.abs(a), axis=(-2, -1), keepdims=True)
        size = size / xp.where(top > 0, top, xp.ones_like(top))
    scale = power_of_two(be, size, 1.0)
    return replace(p, b=_ops.multiply(p.b, xp.astype(scale, b.dtype))), 1 / scale


def _lightened(p: _Problem) -> tuple[_Problem, Array | None]:
    """The problem with weights, and ridge with them, near 1 where they are beyond √max.

    Their sums are cut into exact parts, which asks for room above them. With the powers of four
    that they were multiplied by (...), or None where all stay as they are.
    """
    be, xp = p.be, p.be.xp
    if p.w is None or 0 in p.w.shape:
        return p, None
    top = xp.max(be.detach(primal(p.w)), axis=-1)
    heavy = top > float(xp.finfo(top.dtype).max) ** 0.5
    if be.concrete(xp.any(heavy)) is False:
        return p, None
    scale = xp.where(heavy, power_of_two(be, top, 0.5) ** 2, xp.ones_like(top))
    w = _ops.multiply(p.w, scale[..., None])
    return replace(
        p, w=w, ridge=None if p.ridge is None else _ops.multiply(p.ridge, scale[..., None])
    ), scale


def _solved(p: _Problem, way: _Way) -> LstsqResult:
    """The solution in the units of b and of the weights."""
    p, scale = _lightened(p)
    r = _near_one(p, way)
    if scale is None:
        return r
    root = r.inverse_root
    if root is not None:
        root = root * p.be.xp.astype(scale**0.5, root.dtype)[..., None, None]
    with p.be.quiet():
        return replace(r, residuals=r.residuals / scale[..., None], inverse_root=root)


def _near_one(p: _Problem, way: _Way) -> LstsqResult:
    """The solution in the units of b."""
    be, (near, back) = p.be, _in_range(p)
    r = _solve(near, way)
    if back is None:
        return r
    x = _ops.multiply(r.x, be.xp.astype(back, p.b.dtype))
    # Squares in the unit of b may be infinite.
    with be.quiet():
        residuals = r.residuals * back[..., 0, :] * back[..., 0, :]
        stderr = r.stderr * back
    success = r.success & all_finite(be, primal(x))
    return replace(r, x=x, residuals=residuals, stderr=stderr, success=success)


@dataclass(frozen=True)
class _Said:
    """Geometry of `_said`: rows, and whether the system is wide and its solution asked in full."""

    rows: int
    wide: bool
    full: bool


def _said(be: Backend, g: _Said, *arrays: Array) -> tuple[Array, ...]:
    """Residuals, standard errors, degrees of freedom, success; unless wide, D Z."""
    root, scale, finite, rank, condition, packed, x, *w = arrays
    xp, n = be.xp, int(x.shape[-2])
    below = packed[..., n:, :]
    below = xp.real(below) if be.is_complex(below) else below
    residuals = below[..., 0, :]
    rows = xp.sum(xp.astype(w[0] != 0, rank.dtype), axis=-1, dtype=rank.dtype) if w else g.rows
    dof = rows - rank
    success = finite & all_finite(be, x)
    if g.full:
        eps, size = float(xp.finfo(x.dtype).eps), int(root.shape[-2])
        success = success & (condition <= 0.1 / (size * eps)) & (rank == size)
        success = success & xp.all(below[..., 1, :] <= 4 * eps, axis=-1)
    if g.wide:
        none = be.new_like(residuals, tuple(x.shape), fill=float("nan"))
        return residuals, none, dof, success
    # Lengths of the scaled rows alone: squares of wild columns would overflow.
    sizes = _ops.root(squared_lengths(be, root, -1))
    s2, free = variance(residuals, dof)
    errors = scale[..., None] * (sizes[..., None] * _ops.root(s2)[..., None, :])
    stderr = where_free(free[..., None, :], errors)
    return residuals, stderr, dof, success, scaled_root(be, scale, root)


def _solve_dual(p: _Problem, way: _Way) -> LstsqResult:
    """With Ã = A Γ^(−½): the least-norm solution of [Ã I] (y, s) = b, and x = Γ^(−½) y.

    |y|² + |s|² is what the ridge minimises, s the residual. Nothing is n × n.
    """
    be, xp = p.be, p.be.xp
    m, n = (int(v) for v in p.a.shape[-2:])
    lead = tuple(p.a.shape[:-2])
    size = _ops.root(p.ridge)
    shrunk = _ops.divide(p.a, _ops.cast(_ops.reshape(size, (*lead, 1, n)), p.a.dtype))
    eye = _ops.broadcast_to(be.eye(m, primal(p.a)), (*lead, m, m))
    joined = _ops.concat([shrunk, eye], axis=-1)
    r = _solve(replace(p, a=joined, ridge=None, dual=False), replace(way, on_deficient="min_norm"))
    every = [slice(None)] * len(lead)
    y = _ops.cut(r.x, *every, slice(0, n))
    x = _ops.divide(y, _ops.cast(_ops.reshape(size, (*lead, n, 1)), p.a.dtype))
    plain = primal(r.x)
    columns = be.new_like(r.rank, tuple(r.rank.shape), fill=n)
    rank = xp.where(r.rank == m, columns, xp.zeros_like(columns))
    return replace(
        r,
        x=x,
        residuals=_residuals(be, plain[..., n:, :], None),
        rank=rank,
        columns=tuple(range(n)),
        stderr=be.new_like(r.residuals, (*lead, n, int(p.b.shape[-1])), fill=float("nan")),
        dof=be.new_like(r.rank, tuple(r.rank.shape), fill=m) - rank,
    )


def _dropped(p: _Problem, way: _Way) -> LstsqResult:
    """Solve with a basis of the columns; the others get coefficient 0."""
    be = p.be
    if p.a.ndim != 2:
        raise UnsupportedError(
            f'on_deficient="drop" works on one matrix, since each may drop other columns; got a '
            f"batch {tuple(p.a.shape[:-2])}: call lstsq for each"
        )
    a = _stacked(p)
    rcond = default_rcond(be, a) if way.rcond is None else way.rcond
    kept = find_dependence(be, a, rcond).kept
    n = int(a.shape[-1])
    ridge = None if p.ridge is None else _ops.take(p.ridge, kept, 0)
    part = replace(p, a=_ops.take(p.a, kept, 1), ridge=ridge)
    # The columns kept are a basis, whatever a threshold says of them alone.
    r = _solve(part, replace(way, on_deficient="min_norm"))
    place = [kept.index(j) if j in kept else len(kept) for j in range(n)]

    def spread(v: Any, axis: int, value: float) -> Any:
        widths = [(0, 1) if i == axis else (0, 0) for i in range(v.ndim)]
        return _ops.take(_ops.pad(v, widths, value), place, axis)

    nan = float("nan")
    root = r.inverse_root
    return replace(
        r,
        x=spread(r.x, 0, 0.0),
        columns=tuple(kept),
        inverse_root=None if root is None else spread(root, 0, nan),
        stderr=spread(r.stderr, 0, nan),
    )


def _shaped(p: _Problem, r: LstsqResult) -> LstsqResult:
    """Back to the shape of b, and the caller's dtype."""
    n, back = p.a.shape[-1], p.sides.back
    x = _ops.cast(back(r.x, (n,)), p.kind)
    # Some are NaN where there is nothing to tell.
    with p.be.quiet():
        others = {"residuals": back(r.residuals, ()), "stderr": back(r.stderr, (n,))}
        others |= {"condition": r.condition, "inverse_root": r.inverse_root}
        if p.be.is_half(p.kind):
            others = {k: None if v is None else _ops.cast(v, p.kind) for k, v in others.items()}
    return replace(r, x=x, **others)


def _way(method: Any, accuracy: Any, on_deficient: Any, rcond: Any) -> _Way:
    arguments.choice("method", method, _METHODS)
    arguments.choice("accuracy", accuracy, _ACCURACIES)
    arguments.choice("on_deficient", on_deficient, _DEFICIENT)
    return _Way(method, accuracy, on_deficient, check_rcond(rcond))


@operation(
    "linalg.lstsq",
    differentiable=("A", "b", "weights", "ridge"),
    linear=("b",),
    reads_values=True,
    eager_only='on_deficient="drop"; "raise" gives NaN and success False when traced',
    first=lambda r: r.x,
    replace_first=lambda r, x: replace(r, x=x),
)
def lstsq(
    A: Any,
    b: Any,
    *,
    weights: Any = None,
    ridge: Any = 0,
    method: str = "auto",
    accuracy: str = "standard",
    on_deficient: str = "min_norm",
    rcond: float | None = None,
) -> LstsqResult:
    """Least-squares solution of A x = b by the normal equations, refined.

    It minimises ``Σ_i w_i |b_i − (A x)_i|² + Σ_j ridge_j |x_j|²``, and among several minimisers has
    the least norm.

    Parameters
    ----------
    A : array
        (..., m, n), real or complex; integers become the default float. Leading axes are batch.
    b : array
        (..., m) or (..., m, k); leading axes broadcast with those of A. With one axis, or the shape
        of A less its last axis, it is a vector, as in PyTorch; otherwise a matrix.
    weights : array, optional
        (..., m), real, 0 or more: 1/σ² of every row. They multiply squared residuals.
    ridge : float or array, default 0
        Penalty, one for all columns or (..., n).
    method : {"auto", "normal", "cholesky_qr"}, default "auto"
        How the Gram matrix AᴴWA is factored. ``"normal"``: columns scaled by powers of two,
        Cholesky's factorisation. ``"cholesky_qr"``: the same twice or three times over, of columns
        that each time are nearer to orthonormal (CholeskyQR2; shifted CholeskyQR3 where the
        first factorisation breaks down). ``"auto"``: the first where the condition of the scaled
        columns is below eps^(−1/3), else the second, for which in a batch of small matrices
        Householder QR stands; on PyTorch's processors it stands for both where one matrix has few
        columns and up to 12 MB. With the first two, the solution is refined with residuals of the
        system itself. Where neither does (condition above 0.1/√eps for ``"normal"``, dependent
        columns), singular values decide, found by an orthogonal factorisation or by the
        eigenvectors of two Gram matrices; so they do at once for a tall matrix whose Gram matrix is
        not definite.
    accuracy : {"standard", "full"}, default "standard"
        ``"standard"``: forward error at most twice Householder QR's bound. ``"full"``: x correct to
        working precision where the condition of the column-scaled matrix is below 0.1/(n·eps), by
        residuals in twice the working precision from exact slices of A (`gram_extended` says how)
        and steps until the correction stalls; beyond, `success` is false.
    on_deficient : {"min_norm", "drop", "raise"}, default "min_norm"
        For dependent columns: the solution of least norm; a solution with a basis of the columns,
        the others 0 (eager only, one matrix); or an error that names the columns (traced: NaN, and
        `success` false).
    rcond : float, optional
        Rank is the number of singular values of the column-scaled matrix above rcond times the
        largest; by default max(m, n)·eps, with √eps for m·eps where that is less. Where it is
        deficient, singular values of the unscaled matrix below rcond times the largest count as 0
        too, as in NumPy.

    Returns
    -------
    LstsqResult
        x, residuals (sums of squares), rank, condition, columns, covariance, stderr, dof, success.

    Raises
    ------
    ValueError
        If shapes do not fit, weights or ridge are negative, or an option is unknown.
    TypeError
        If the arrays live in different libraries, or weights or ridge are complex.
    swath.errors.RankDeficientError
        With ``on_deficient="raise"``; a `numpy.linalg.LinAlgError`.
    NotImplementedError
        For ``"drop"`` when traced or batched.

    Notes
    -----
    The derivative of x with respect to A, b, weights and ridge is that of the minimiser, by the
    implicit function theorem; at deficient rank it is the one at constant rank. JAX and PyTorch
    differentiate residuals, stderr and covariance too, and `swath.vjp` x alone; `condition` counts
    as constant. Covariance with a ridge is that of the Bayesian posterior. NaN or infinities in A
    or b give NaN in x and `success` false, no error.

    With m < n and a number above 0 as `ridge`, without weights, the problem is solved through the
    m × m matrix AΓ⁻¹Aᴴ + I, and `condition` is that of [AΓ^(−½) I]. A ridge in an array may hold
    zeros, and the n × n matrix is factored.

    Cost: m·n² multiply-adds (one matrix product), n³, and two passes over A, in the first of which
    the matrix product is made. With 8192 rows or more a few of them give a solution to begin with,
    and the second pass is made only where that was far off. With m < n, m²·n through AAᴴ.
    ``"cholesky_qr"`` takes 3·m·n² more for each step and two passes for each refinement step; with
    8192 rows or more the few make its first step, and one pass is mostly all (3·m·n²). ``"full"``
    takes about 60 passes for each of its steps (2 to 5 where the condition is small, 20 near
    1/eps), in memory of a few times the workspace. Weights of 0 with m < n leave equations that no
    refinement in full precision reaches: `success` is false there.

    References
    ----------
    .. [1] Å. Björck, *Numerical Methods for Least Squares Problems*, 2nd ed., SIAM 2024, ch. 2.
    .. [2] G. H. Golub and V. Pereyra, "The differentiation of pseudo-inverses and nonlinear least
       squares problems whose variables separate", SIAM J. Numer. Anal. 10, 1973.
    .. [3] T. Fukaya, R. Kannan, Y. Nakatsukasa, Y. Yamamoto and Y. Yanagisawa, "Shifted Cholesky QR
       for computing the QR factorization of ill-conditioned matrices", SIAM J. Sci. Comput. 42,
       2020.

    Examples
    --------
    >>> import numpy as np, swath
    >>> A = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    >>> r = swath.linalg.lstsq(A, np.array([1.0, 3.0, 5.0, 8.0]))
    >>> r.x.round(3), r.residuals.round(3), int(r.rank), int(r.dof)
    (array([0.8, 2.3]), np.float64(0.3), 2, 2)
    """
    way = _way(method, accuracy, on_deficient, rcond)
    p = _problem(A, b, weights, ridge)
    return _shaped(p, _solved(p, way))


@dataclass(frozen=True, eq=False)
class Projection:
    """The point of a column space nearest to b.

    Attributes
    ----------
    projection : array
        A x with the least-squares x, of b's shape.
    distance : array
        ‖b − A x‖, one for each column of b.
    """

    projection: Array
    distance: Array


register_result(Projection, ("projection", "distance"))


@operation(
    "linalg.project",
    differentiable=("A", "b"),
    linear=("b",),
    reads_values=True,
    first=lambda r: r.projection,
    replace_first=lambda r, p: replace(r, projection=p),
)
def project(A: Any, b: Any, *, rcond: float | None = None) -> Projection:
    """Project b onto the column space of A, orthogonally.

    With independent columns the projection is ``A (AᴴA)⁻¹ Aᴴ b``; with dependent ones it is the
    same point, reached by any least-squares x.

    Parameters
    ----------
    A : array
        (..., m, n).
    b : array
        (..., m) or (..., m, k), as in `lstsq`.
    rcond : float, optional
        Threshold of the rank, as in `lstsq`.

    Returns
    -------
    Projection
        ``projection``, of b's shape (leading axes broadcast), and ``distance``, the length of
        b less its projection.

    Raises
    ------
    ValueError, TypeError
        As for `lstsq`.

    Notes
    -----
    Cost and accuracy are those of `lstsq`.

    Examples
    --------
    >>> import numpy as np, swath
    >>> found = swath.linalg.project(np.array([[1.0], [1.0]]), np.array([3.0, 1.0]))
    >>> found.projection.round(12), found.distance.round(8)
    (array([2., 2.]), np.float64(1.41421356))
    """
    p, unit = _in_range(_problem(A, b, None, 0))
    r = _solve(p, _Way(rcond=check_rcond(rcond)))
    point = _ops.matmul(p.a, r.x)
    # The length scaled by its largest entry, which neither overflows nor vanishes.
    rest = _ops.subtract(p.b, point)
    be, xp = p.be, p.be.xp
    size = xp.max(xp.abs(primal(rest)), axis=-2, keepdims=True) if p.a.shape[-2] else None
    scaled = primal(rest)
    if size is not None:
        safe = xp.where((size > 0) & xp.isfinite(size), size, xp.ones_like(size))
        scaled = scaled / xp.astype(safe, scaled.dtype)
        distance = _ops.root(_residuals(be, scaled, None)) * safe[..., 0, :]
    else:
        distance = _ops.root(_residuals(be, scaled, None))
    if unit is not None:
        point = _ops.multiply(point, xp.astype(unit, point.dtype))
        distance = distance * unit[..., 0, :]
    back, real = p.sides.back, p.kind if be.is_half(p.kind) else distance.dtype
    return Projection(
        projection=_ops.cast(back(point, (int(p.a.shape[-2]),)), p.kind),
        distance=_ops.cast(back(distance, ()), real),
    )
