"""The Gram matrix, and least-squares solutions through it as one core with its derivative rule.

Two stages. `factorise` makes, from the values of A, what a solution needs: the inverse of the
column-scaled Gram matrix by Cholesky, and, where the normal equations would lose too many digits,
a pseudo-inverse by orthogonal factorisation. The core `solution` then takes A, b, weights and
ridge together with these auxiliaries; its derivative is that of the least-squares problem, which
uses the same auxiliaries and never differentiates the factorisations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import Core, apply, primal
from ..errors import ArgumentError, describe
from ..registry import operation
from ._scaling import (
    adjoint,
    column_scales,
    default_rcond,
    diagonal,
    identity,
    power_of_two,
)

__all__ = ["Factors", "System", "factorise", "gram", "solution"]

Array = Any


def weights_of(a: Any, weights: Any) -> Any:
    """Weights as reals of the precision of a, (..., m) with the leading axes of a or fewer."""
    be, (_, w) = arguments.arrays(A=a, weights=weights)
    arguments.real_only(be, "weights", w)
    m = a.shape[-2]
    if w.ndim < 1 or w.shape[-1] != m:
        raise ArgumentError(
            f"weights must have one entry for each of the {m} rows of A, got {describe(primal(w))}"
        )
    return _ops.cast(w, real_dtype(be, a))


def real_dtype(be: Backend, a: Any) -> Any:
    """The real dtype of the precision of a."""
    if not be.is_complex(primal(a)):
        return a.dtype
    return be.dtype("float64" if be.name_of(a.dtype) == "complex128" else "float32")


def matrices(a: Any, name: str = "A") -> tuple[Backend, Any]:
    """A as an array of matrices of numbers."""
    be, a = arguments.one_array(name, a)
    arguments.numeric(be, name, a)
    if a.ndim < 2:
        raise ArgumentError(
            f"{name} must have at least two axes (..., m, n), got {describe(primal(a))}"
        )
    return be, a


@operation("linalg.gram", differentiable=("A", "weights"))
def gram(A: Any, *, weights: Any = None) -> Any:
    """The Gram matrix AᴴA, or AᴴWA with W = diag(weights).

    ``G[i, j] = Σ_k conj(A[k, i]) · w[k] · A[k, j]``.

    Parameters
    ----------
    A : array
        (..., m, n), real, complex or integer.
    weights : array, optional
        (..., m), real; leading axes broadcast with those of A. Negative weights are allowed.

    Returns
    -------
    array
        (..., n, n), Hermitian bit for bit, in the dtype of A (that of the weights where A holds
        integers and they do not). Integers are exact modulo 2^bits; float16 and bfloat16 are
        summed in float32 and rounded once.

    Raises
    ------
    ValueError
        If A has fewer than two axes, or weights do not fit its rows.
    TypeError
        If weights are complex, or live elsewhere than A.

    Notes
    -----
    Cost: m·n² multiply-adds, one matrix product. The condition number is the square of A's.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.linalg.gram(np.array([[1, 2], [3, 4], [5, 6]]))
    array([[35, 44],
           [44, 56]])
    """
    be, a = matrices(A, "A")
    w = None
    if weights is not None:
        be, (a, w) = arguments.arrays(A=a, weights=weights)
        arguments.numeric(be, "weights", w)
        if be.is_floating(w.dtype) and not be.is_floating(a.dtype):
            a = _ops.cast(a, w.dtype)
        if be.is_floating(a.dtype):
            w = weights_of(a, w)
        else:
            arguments.real_only(be, "weights", w)
            if w.ndim < 1 or w.shape[-1] != a.shape[-2]:
                weights_of(a, w)
            a, w = arguments.promote(be, a, w)
    kind = a.dtype
    if be.is_half(kind):
        single = be.dtype("float32")
        a, w = _ops.cast(a, single), None if w is None else _ops.cast(w, single)
    order = (*range(a.ndim - 2), a.ndim - 1, a.ndim - 2)
    left = _ops.conj(_ops.permute(a, order))
    if w is not None:
        a = _ops.multiply(_ops.reshape(w, (*w.shape, 1)), a)
    g = _ops.matmul(left, a)
    if be.is_floating(g.dtype):
        # Both halves round alike only where the library computes one of them from the other.
        half = _ops.fill_like(g, (), 0.5)
        order = (*range(g.ndim - 2), g.ndim - 1, g.ndim - 2)
        turned = _ops.conj(_ops.permute(g, order))
        g = _ops.add(_ops.multiply(half, g), _ops.multiply(half, turned))
    return _ops.cast(g, kind)


# -- factorisation ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class System:
    """Geometry of `solution`: which arrays follow A and b, and in which form the auxiliaries are.

    Attributes
    ----------
    weighted, ridged : bool
        Whether weights (..., m) and ridge (..., n) are among the arrays.
    wide : bool
        Fewer rows than columns and no ridge: the minimum-norm solution through AAᴴ.
    fallback : bool
        Whether a pseudo-inverse stands by for the problems whose flag is false.
    """

    weighted: bool
    ridged: bool
    wide: bool
    fallback: bool = False


@dataclass
class Factors:
    """What `factorise` found; all arrays have the leading axes of the problem.

    Attributes
    ----------
    inverse : array
        Inverse of the scaled Gram matrix, (n, n); (m, m) for a wide system.
    scale : array
        Its powers of two, (n,) or (m,).
    good : array of bool
        Where the normal equations are well-conditioned enough to be used.
    finite : array of bool
        Where A, weights and ridge are.
    rank, condition : array
        Of the column-scaled matrix (row-scaled for a wide one).
    pseudo : array or None
        Pseudo-inverse of √W A (with √ridge appended as rows), (n, m) or (n, m + n).
    """

    inverse: Array
    scale: Array
    good: Array
    finite: Array
    rank: Array
    condition: Array
    pseudo: Array | None = None

    @property
    def auxiliaries(self) -> tuple[Array, ...]:
        """The arrays that `solution` takes after the problem's own."""
        if self.pseudo is None:
            return self.inverse, self.scale
        return self.inverse, self.scale, self.pseudo, self.good


def condition_limit(eps: float) -> float:
    """Largest condition at which Cholesky and one refinement step reach Householder QR's accuracy.

    A solve through the Gram matrix has relative error about κ²·eps; a refinement step with the
    residual of the original system multiplies it by κ²·eps again. κ⁴·eps² stays below QR's own
    κ·eps up to κ = eps^(−1/3).
    """
    return eps ** (-1.0 / 3.0)


def _scaled(a: Array, w: Array | None, be: Backend) -> Array:
    return a if w is None else a * be.xp.astype(be.xp.sqrt(w), a.dtype)[..., None]


def factorise(
    be: Backend, g: System, a: Array, w: Array | None, ridge: Array | None, rcond: float | None
) -> tuple[System, Factors]:
    """The auxiliaries of a system, by Cholesky and, where it does not do, orthogonally."""
    xp = be.xp
    f = _cholesky(be, g, _scaled(a, w, be), ridge)
    everywhere = xp.all(f.good)
    if be.concrete(everywhere) is True:
        return g, f
    columns = a.shape[-2] + (a.shape[-1] if g.ridged else 0)
    limit = default_rcond(be, a) if rcond is None else rcond

    def unused(*arrays: Array) -> tuple[Array, ...]:
        shape = (*a.shape[:-2], a.shape[-1], columns)
        return be.new_like(a, shape), f.rank, f.condition

    def orthogonal(*arrays: Array) -> tuple[Array, ...]:
        rows, *rest = arrays
        return _orthogonal(be, _scaled(rows, rest[0] if g.weighted else None, be), rest, g, limit)

    operands = [v for v in (a, w, ridge) if v is not None]
    pseudo, rank, condition = be.cond(everywhere, unused, orthogonal, *operands)
    good, real = f.good, f.condition
    nan = be.new_like(real, (), fill=float("nan"))
    none = be.new_like(rank, ())
    keep = good[..., None, None]
    return (
        System(g.weighted, g.ridged, g.wide, fallback=True),
        Factors(
            inverse=xp.where(keep, f.inverse, xp.zeros_like(f.inverse)),
            scale=xp.where(good[..., None], f.scale, xp.ones_like(f.scale)),
            good=good,
            finite=f.finite,
            rank=xp.where(good, f.rank, xp.where(f.finite, rank, none)),
            condition=xp.where(good, real, xp.where(f.finite, condition, nan)),
            pseudo=xp.where(keep, xp.zeros_like(pseudo), pseudo),
        ),
    )


def _cholesky(be: Backend, g: System, b: Array, ridge: Array | None) -> Factors:
    """Inverse of the Gram matrix of b = √W A, scaled to a diagonal between 1 and 4."""
    xp = be.xp
    m, n = b.shape[-2:]
    h = adjoint(be, b)
    normal = be.matmul(b, h) if g.wide else be.matmul(h, b)
    size = normal.shape[-1]
    one = identity(be, size, b)
    if ridge is not None:
        normal = normal + xp.astype(
            xp.where(one, ridge[..., None], 0.0 * ridge[..., None]), b.dtype
        )
    diag = diagonal(be, normal)
    scale = power_of_two(be, diag, 0.5)
    typed = xp.astype(scale, b.dtype)
    normal = typed[..., :, None] * normal * typed[..., None, :]
    finite = xp.all(xp.all(xp.isfinite(normal), axis=-1), axis=-1)
    eye = xp.astype(xp.broadcast_to(one, normal.shape), b.dtype)
    normal = xp.where(finite[..., None, None], normal, eye)
    factor = be.cholesky(normal)
    definite = xp.all(xp.all(xp.isfinite(factor), axis=-1), axis=-1)
    factor = xp.where(definite[..., None, None], factor, eye)
    root = be.solve_triangular(factor, eye, lower=True)
    inverse = be.matmul(adjoint(be, root), root)
    # κ₂ ≤ √(‖G‖₁‖G⁻¹‖₁) ≤ √n·κ₂
    norms = [xp.max(xp.sum(xp.abs(v), axis=-2), axis=-1) for v in (normal, inverse)]
    condition = xp.sqrt(norms[0] * norms[1])
    condition = xp.where(condition < 1, xp.ones_like(condition), condition)
    info = xp.finfo(b.dtype)
    # Squares of the smallest columns must not have underflown.
    least = float(info.smallest_normal) / float(info.eps) * max(m, n)
    good = finite & definite & (condition <= condition_limit(float(info.eps)))
    good = good & xp.all(diag >= least, axis=-1)
    # An overflow of squares is not an infinite entry: the orthogonal route tells them apart.
    finite = xp.all(xp.all(xp.isfinite(b), axis=-1), axis=-1)
    if ridge is not None:
        finite = finite & xp.all(xp.isfinite(ridge), axis=-1)
    rank = be.new_like(b, tuple(good.shape), dtype=be.default_int(b), fill=size)
    return Factors(inverse, scale, good, finite, rank, condition)


def _orthogonal(
    be: Backend, b: Array, rest: Sequence[Array], g: System, rcond: float
) -> tuple[Array, Array, Array]:
    """Pseudo-inverse of b (ridge appended as rows), rank and condition; NaN where not finite.

    Columns are scaled to like size for the rank: a small column is not a dependent one. A matrix of
    full rank is inverted so scaled; for a deficient one the minimum-norm solution is that of the
    unscaled matrix, of the same rank.
    """
    xp = be.xp
    if g.ridged:
        eye = identity(be, b.shape[-1], b)
        ridge = xp.sqrt(rest[-1])[..., None]
        rows = xp.astype(xp.where(eye, ridge, xp.zeros_like(ridge)), b.dtype)
        b = xp.concat([b, rows], axis=-2)
    n = b.shape[-1]
    finite = xp.all(xp.all(xp.isfinite(b), axis=-1), axis=-1)
    b = xp.where(finite[..., None, None], b, xp.zeros_like(b))
    scale = column_scales(be, b)
    typed = xp.astype(scale, b.dtype)
    q, r = xp.linalg.qr(b * typed[..., None, :], mode="reduced")
    u, s, vh = xp.linalg.svd(r, full_matrices=False)
    count = xp.sum(xp.astype(s > rcond * s[..., :1], be.default_int(b)), axis=-1)
    inverse = _pseudo(be, u, s, vh, s > 0)
    inverse = typed[..., :, None] * inverse
    # The unscaled triangle, brought into range by one common power of two.
    common = xp.min(scale, axis=-1, keepdims=True)
    ratio = xp.astype(common / scale, b.dtype)
    u, t, vh = xp.linalg.svd(r * ratio[..., None, :], full_matrices=False)
    place = be.arange(t.shape[-1], b, be.default_int(b))
    kept = (place < count[..., None]) & (t > rcond * t[..., :1])
    deficient = xp.astype(common, b.dtype)[..., None] * _pseudo(be, u, t, vh, kept)
    full = count == n
    small = xp.where(full[..., None, None], inverse, deficient)
    pseudo = be.matmul(small, adjoint(be, q))
    nan = xp.full_like(pseudo, float("nan"))
    rank = xp.where(full, count, xp.sum(xp.astype(kept, count.dtype), axis=-1))
    last = s[..., -1]
    positive = last > 0
    condition = s[..., 0] / xp.where(positive, last, xp.ones_like(last))
    condition = xp.where(positive, condition, xp.full_like(condition, float("inf")))
    return xp.where(finite[..., None, None], pseudo, nan), rank, condition


def _pseudo(be: Backend, u: Array, s: Array, vh: Array, kept: Array) -> Array:
    xp = be.xp
    safe = xp.where(kept, s, xp.ones_like(s))
    inverse = xp.where(kept, 1.0 / safe, xp.zeros_like(s))
    v = adjoint(be, vh) * xp.astype(inverse, vh.dtype)[..., None, :]
    return be.matmul(v, adjoint(be, u))


# -- the solution as a core ------------------------------------------------------------------------


class _Maps:
    """The linear maps of one system: everything a solution and its derivatives are made of.

    With G = AᴴWA + Γ and G⁺ its (pseudo-)inverse::

        inverse(z) = G⁺ z        pinv(v) = G⁺ AᴴW v        raised(z) = W A G⁺ z, pinv's adjoint
    """

    def __init__(self, be: Backend, g: System, arrays: Sequence[Array]) -> None:
        self.be, self.g = be, g
        self.a, self.b, *rest = arrays
        self.w = rest.pop(0) if g.weighted else None
        self.ridge = rest.pop(0) if g.ridged else None
        self.inner, self.scale, *self.standby = rest

    def up(self, z: Array) -> Array:
        """A z."""
        return self.be.matmul(self.a, z)

    def down(self, v: Array) -> Array:
        """Aᴴ v."""
        return self.adjoint_times(self.a, v)

    def adjoint_times(self, a: Array, v: Array) -> Array:
        """Conjugate transpose of a times v, without a conjugated copy of a."""
        be, t = self.be, self.be.xp.matrix_transpose(a)
        if not be.is_complex(a):
            return be.matmul(t, v)
        return be.xp.conj(be.matmul(t, be.xp.conj(v)))

    def weigh(self, v: Array, *, root: bool = False) -> Array:
        """W v, or √W v."""
        if self.w is None:
            return v
        w = self.be.xp.sqrt(self.w) if root else self.w
        return self.be.xp.astype(w, v.dtype)[..., None] * v

    def shrink(self, z: Array) -> Array:
        """Γ z (only with ridge)."""
        return self.be.xp.astype(self.ridge, z.dtype)[..., None] * z

    def _core(self, z: Array) -> Array:
        d = self.be.xp.astype(self.scale, z.dtype)[..., None]
        return d * self.be.matmul(self.inner, d * z)

    def _chosen(self, first: Array, second: Array) -> Array:
        return self.be.xp.where(self.standby[1][..., None, None], first, second)

    def inverse(self, z: Array) -> Array:
        """G⁺ z."""
        if self.g.wide:
            out = self.down(self.weigh(self._core(self._core(self._weighted_up(z))), root=True))
        else:
            out = self._core(z)
        if not self.g.fallback:
            return out
        p = self.standby[0]
        return self._chosen(out, self.be.matmul(p, self.adjoint_times(p, z)))

    def _weighted_up(self, z: Array) -> Array:
        return self.weigh(self.up(z), root=True)

    def pinv(self, v: Array) -> Array:
        """G⁺ AᴴW v."""
        if self.g.wide:
            out = self.down(self.weigh(self._core(self.weigh(v, root=True)), root=True))
        else:
            out = self._core(self.down(self.weigh(v)))
        if not self.g.fallback:
            return out
        p = self.standby[0][..., : self.a.shape[-2]]
        return self._chosen(out, self.be.matmul(p, self.weigh(v, root=True)))

    def raised(self, z: Array) -> Array:
        """W A G⁺ z."""
        if self.g.wide:
            out = self.weigh(self._core(self._weighted_up(z)), root=True)
        else:
            out = self.weigh(self.up(self._core(z)))
        if not self.g.fallback:
            return out
        p = self.standby[0][..., : self.a.shape[-2]]
        return self._chosen(out, self.weigh(self.adjoint_times(p, z), root=True))

    def beyond(self, z: Array) -> Array:
        """(I − G⁺G) z: the part of z in the null space."""
        out = z - self.pinv(self.up(z))
        return out - self.inverse(self.shrink(z)) if self.g.ridged else out


class _Solution(Core):
    """x that minimises Σ w|b − A x|² + Σ γ|x|², of least norm where there are several.

    Derivation. With G = AᴴWA + Γ the normal equations read G x = AᴴW b. Their differential is
    Ġ x + G ẋ = ȦᴴW b + AᴴẆ b + AᴴW ḃ, with Ġ = ȦᴴWA + AᴴẆA + AᴴWȦ + Γ̇, so for full rank, with
    r = b − A x::

        ẋ = G⁻¹ (ȦᴴW r + AᴴẆ r − Γ̇ x) + G⁻¹AᴴW (ḃ − Ȧ x)

    At constant deficient rank the same holds with pseudo-inverses, and the null space turns with A:
    ẋ gains (I − G⁺G) ȦᴴW A G⁺ x (Golub and Pereyra 1973). There is no derivative where the rank
    changes. The transpose, with x̄ paired to ẋ without conjugate, t = conj(x̄) and u = G⁺ t::

        b̄ = conj(W A u)                     w̄ = Re Σ_k conj(A u) r         γ̄ = −Re Σ_k conj(u) x
        Ā = W conj(r) uᵀ − b̄ xᵀ + conj(W A G⁺ x) ((I − G⁺G) t)ᵀ

    Ȧ enters through Ȧᴴ with a conjugate, hence the conjugates in Ā; all transposes are plain. The
    auxiliaries have no derivative of their own here: to first order x does not depend on how it was
    computed. They are arguments, not constants, so that a library that differentiates the rule
    again sees what they depend on.
    """

    name = "least_squares_solution"

    def forward(self, be: Backend, geometry: System, *arrays: Array) -> Array:
        s = _Maps(be, geometry, arrays)
        # An infinity makes its column NaN, quietly: inf − inf would also warn on NumPy.
        s.b = be.xp.where(be.xp.isfinite(s.b), s.b, be.new_like(s.b, (), fill=float("nan")))
        x = s.pinv(s.b)
        # One refinement step with the residual of the system itself, not of its normal equations.
        step = s.pinv(s.b - s.up(x))
        if geometry.ridged:
            step = step - s.inverse(s.shrink(x))
        return x + step

    def push(
        self,
        be: Backend,
        geometry: System,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        g, xp = geometry, be.xp
        s = _Maps(be, g, arrays)
        da, db, *rest = tangents
        dw = rest.pop(0) if g.weighted else None
        dridge = rest.pop(0) if g.ridged else None
        low, high, null = xp.zeros_like(out), xp.zeros_like(s.b), None
        r = s.b - s.up(out)
        if da is not None:
            low = low + s.adjoint_times(da, s.weigh(r))
            high = high - be.matmul(da, out)
            if g.wide or g.fallback:
                null = s.beyond(s.adjoint_times(da, s.weigh(s.up(s.inverse(out)))))
        if db is not None:
            high = high + db
        if dw is not None:
            low = low + s.down(xp.astype(dw, r.dtype)[..., None] * r)
        if dridge is not None:
            low = low - xp.astype(dridge, r.dtype)[..., None] * out
        total = s.inverse(low) + s.pinv(high)
        return total if null is None else total + null

    def pull(
        self,
        be: Backend,
        geometry: System,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        g, xp = geometry, be.xp
        s = _Maps(be, g, arrays)
        turn = xp.matrix_transpose
        complex_ = be.is_complex(s.a)

        def conj(v: Array) -> Array:
            return xp.conj(v) if complex_ else v

        def real_sum(v: Array, like: Array) -> Array:
            return xp.sum(xp.real(v) if complex_ else v, axis=-1, dtype=like.dtype)

        t = conj(cotangent)
        u = s.inverse(t)
        back = conj(s.raised(t))
        r = s.b - s.up(out)
        results: list[Any] = [None] * len(arrays)
        if wanted[0]:
            results[0] = be.matmul(s.weigh(conj(r)), turn(u)) - be.matmul(back, turn(out))
            if g.wide or g.fallback:
                q = s.weigh(s.up(s.inverse(out)))
                results[0] = results[0] + be.matmul(conj(q), turn(s.beyond(t)))
        if wanted[1]:
            results[1] = back
        place = 2
        if g.weighted:
            if wanted[place]:
                results[place] = real_sum(conj(s.up(u)) * r, s.w)
            place += 1
        if g.ridged and wanted[place]:
            results[place] = -real_sum(conj(u) * out, s.ridge)
        return results


_SOLUTION = _Solution()


def solution(g: System, f: Factors, a: Any, b: Any, w: Any | None, ridge: Any | None) -> Any:
    """x (..., n, k) for b (..., m, k); all leading axes must be there already."""
    given = [v for v in (a, b, w, ridge) if v is not None]
    return apply(_SOLUTION, g, *given, *f.auxiliaries)
