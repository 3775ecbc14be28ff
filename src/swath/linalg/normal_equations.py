"""The Gram matrix, and least-squares solutions through it as cores with their derivative rules.

Two stages. `factors.factorise` makes, from the values of A, a small matrix Z with G⁺ ≈ Z Zᴴ. The
core `solution` then takes A, b, weights and ridge together with Z and refines (see `refinement`);
its derivative is that of the least-squares problem, which needs G⁺ only, through the core `kernel`,
and never differentiates the factorisations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import _ops, arguments
from .._backends import Backend, backend_of
from ..autodiff import Core, apply, primal, with_batch
from ..division import Division, problems
from ..registry import operation
from ._rows import weigh
from ._scaling import (
    adjoint,
    adjoint_times,
    conj,
    diagonal,
    matrices,
    real_product,
    weights_of,
)
from .factors import Factors
from .refinement import Plan, refined

__all__ = ["gram", "gram_product", "inverse_root", "solution"]

Array = Any


def gram_product(a: Any, w: Any = None) -> Any:
    """AᴴA or AᴴWA, Hermitian bit for bit; arrays or nodes, weights (..., m)."""
    be = backend_of(primal(a))
    if w is None and a is primal(a):
        g = be.gram(a)
    else:
        order = (*range(a.ndim - 2), a.ndim - 1, a.ndim - 2)
        left = _ops.conj(_ops.permute(a, order))
        if w is not None:
            a = _ops.multiply(_ops.cast(_ops.reshape(w, (*w.shape, 1)), a.dtype), a)
        g = _ops.matmul(left, a)
    if be.is_floating(g.dtype):
        # Both halves round alike only where the library computes one of them from the other.
        half = _ops.fill_like(g, (), 0.5)
        order = (*range(g.ndim - 2), g.ndim - 1, g.ndim - 2)
        turned = _ops.conj(_ops.permute(g, order))
        g = _ops.add(_ops.multiply(half, g), _ops.multiply(half, turned))
    return g


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
    a, w = arguments.summable(be, a, w)
    return _ops.cast(gram_product(a, w), kind)


# -- the solution as a core ------------------------------------------------------------------------


class _Maps:
    """The linear maps of one system, made of A and K = (BᴴB)⁺, B = √W A or its conjugate transpose.

    With G = AᴴWA + Γ and G⁺ its (pseudo-)inverse::

        inverse(z) = G⁺ z        pinv(v) = G⁺ AᴴW v        raised(z) = W A G⁺ z, pinv's adjoint
    """

    def __init__(self, be: Backend, plan: Plan, arrays: Sequence[Array]) -> None:
        self.be, self.plan, self.g = be, plan, plan.system
        self.a, self.b, self.w, self.ridge, rest = self.g.named(arrays)
        self.root, self.scale = rest[:2]

    def up(self, z: Array) -> Array:
        """A z."""
        return self.be.matmul(self.a, z)

    def down(self, v: Array) -> Array:
        """Aᴴ v."""
        return adjoint_times(self.be, self.a, v)

    def weigh(self, v: Array, *, root: bool = False) -> Array:
        """W v, or √W v."""
        w = None if self.w is None else self.w[..., None]
        if root or w is None:
            return weigh(self.be, w, v)
        return self.be.xp.astype(w, v.dtype) * v

    def root_slope(self) -> Array:
        """The derivative of √w (only with weights); 0 where w is."""
        root = self.be.xp.sqrt(self.w)
        safe = self.be.xp.where(root > 0, root, self.be.xp.ones_like(root))
        return self.be.xp.where(root > 0, 0.5 / safe, self.be.xp.zeros_like(root))

    def shrink(self, z: Array) -> Array:
        """Γ z (only with ridge)."""
        return self.be.xp.astype(self.ridge, z.dtype)[..., None] * z

    def kernel(self, z: Array) -> Array:
        """K z."""
        others = [v for v in (self.w, self.ridge) if v is not None]
        return apply(_KERNEL, self.plan, self.a, z, *others, self.root, self.scale)

    def normal(self, z: Array) -> Array:
        """BᴴB z."""
        if self.g.wide:
            return self._weighted_up(self._weighted_down(z))
        out = self.down(self.weigh(self.up(z)))
        return out + self.shrink(z) if self.g.ridged else out

    def inverse(self, z: Array) -> Array:
        """G⁺ z."""
        if not self.g.wide:
            return self.kernel(z)
        return self._weighted_down(self.kernel(self.kernel(self._weighted_up(z))))

    def _weighted_up(self, z: Array) -> Array:
        return self.weigh(self.up(z), root=True)

    def _weighted_down(self, v: Array) -> Array:
        return self.down(self.weigh(v, root=True))

    def _pinv(self, v: Array) -> Array:
        if self.g.wide:
            return self._weighted_down(self.kernel(self.weigh(v, root=True)))
        return self.kernel(self.down(self.weigh(v)))

    def pinv(self, v: Array) -> Array:
        """G⁺ AᴴW v, once refined."""
        x = self._pinv(v)
        more = self._pinv(v - self.up(x))
        if self.g.ridged:
            more = more - self.inverse(self.shrink(x))
        return x + more

    def raised(self, z: Array) -> Array:
        """W A G⁺ z."""
        if self.g.wide:
            return self.weigh(self.kernel(self._weighted_up(z)), root=True)
        return self.weigh(self.up(self.kernel(z)))

    def beyond(self, z: Array) -> Array:
        """(I − G⁺G) z: the part of z in the null space."""
        out = z - self.pinv(self.up(z))
        return out - self.inverse(self.shrink(z)) if self.g.ridged else out


class _Kernel(Core):
    """K z with K = (BᴴB)⁺, from A, z, weights, ridge, and Z and D with K = D Z Zᴴ D.

    Derivation. With N = BᴴB and P = I − N K, at constant rank (Golub and Pereyra 1973)::

        K̇ = −K Ṅ K + P Ṅ K K + K K Ṅ P            Ṅ = ȦᴴWA + AᴴWȦ + AᴴẆA + Γ̇

    where for a wide system N = √W A Aᴴ√W instead. Z and D are constants: what they are made of is
    in A, weights and ridge. Transposed without conjugates, with t the cotangent, z̄ = conj(K conj t)
    and the cotangent of Ṅ is N̄ = −z̄ (K z)ᵀ + conj(P conj t) (K K z)ᵀ + conj(K K conj t) (P z)ᵀ.
    """

    name = "least_squares_kernel"
    linear = (1,)

    def divide(self, geometry: Any, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        return problems(geometry, shapes, len(shapes[0]) - 2, shapes[1][-2:])

    def forward(self, be: Backend, geometry: Plan, *arrays: Array) -> Array:
        s = _Maps(be, geometry, arrays)
        d = be.xp.astype(s.scale, s.root.dtype)[..., None]
        return d * be.matmul(s.root, be.matmul(adjoint(be, s.root), d * s.b))

    def push(
        self,
        be: Backend,
        geometry: Plan,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        s, xp = _Maps(be, geometry, arrays), be.xp
        da, dz, dw, dridge, _ = s.g.named(tangents)
        total = xp.zeros_like(out) if dz is None else s.kernel(dz)
        if da is None and dw is None and dridge is None:
            return total

        def moved(v: Array) -> Array:
            return _moved(s, da, dw, dridge, v)

        if s.plan.full_rank:
            return total - s.kernel(moved(out))
        rest_of = moved(s.kernel(out))
        total = total - s.kernel(moved(out)) + rest_of - s.normal(s.kernel(rest_of))
        return total + s.kernel(s.kernel(moved(s.b - s.normal(out))))

    def pull(
        self,
        be: Backend,
        geometry: Plan,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        s = _Maps(be, geometry, arrays)
        t = conj(be, cotangent)
        u = s.kernel(t)
        results: list[Any] = [None] * len(arrays)
        results[1] = conj(be, u) if wanted[1] else None
        if not (wanted[0] or any(wanted[2:])):
            return results
        pairs = [(-conj(be, u), out)]
        if not s.plan.full_rank:
            pairs.append((conj(be, t - s.normal(u)), s.kernel(out)))
            pairs.append((conj(be, s.kernel(u)), s.b - s.normal(out)))
        return _moved_transposed(s, pairs, results, wanted)

    def batch(
        self, be: Backend, geometry: Plan, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        return geometry, with_batch(be, arrays, batched), lambda out: out


def _moved(s: _Maps, da: Any, dw: Any, dridge: Any, v: Array) -> Array:
    """Ṅ v from tangents of A, weights and ridge, None for zero."""
    be, xp = s.be, s.be.xp
    if s.g.wide:
        return _wide_moved(s, da, dw, v)
    found = xp.zeros_like(v)
    if da is not None:
        found = found + adjoint_times(be, da, s.weigh(s.up(v)))
        found = found + s.down(s.weigh(be.matmul(da, v)))
    if dw is not None:
        found = found + s.down(xp.astype(dw, v.dtype)[..., None] * s.up(v))
    if dridge is not None:
        found = found + xp.astype(dridge, v.dtype)[..., None] * v
    return found


def _moved_transposed(
    s: _Maps, pairs: Sequence[tuple[Array, Array]], results: list[Any], wanted: Sequence[bool]
) -> list[Any]:
    """Write into `results` what A, weights and ridge have of N̄, the sum of left·rightᵀ of pairs."""
    be, xp = s.be, s.be.xp
    complex_, turn = be.is_complex(s.a), xp.matrix_transpose
    bar = None
    for left, right in pairs:
        term = be.matmul(left, turn(right))
        bar = term if bar is None else bar + term
    place = 2
    if s.g.wide:
        # N = X Xᴴ with X = √W A: X̄ = N̄ conj(X) + conj(N̄ᵀ X).
        x = s.weigh(s.a, root=True)
        rows = be.matmul(bar, conj(be, x)) + conj(be, be.matmul(turn(bar), x))
        if wanted[0]:
            results[0] = s.weigh(rows, root=True)
        if s.w is not None and wanted[place]:
            part = xp.real(rows * s.a) if complex_ else rows * s.a
            results[place] = s.root_slope() * xp.sum(part, axis=-1, dtype=s.w.dtype)
        return results
    right = be.matmul(conj(be, s.a), bar)
    if wanted[0]:
        results[0] = s.weigh(right + conj(be, be.matmul(s.a, turn(bar))))
    if s.w is not None:
        if wanted[place]:
            part = xp.real(right * s.a) if complex_ else right * s.a
            results[place] = xp.sum(part, axis=-1, dtype=s.w.dtype)
        place += 1
    if s.g.ridged and wanted[place]:
        results[place] = diagonal(be, bar)
    return results


def _wide_moved(s: _Maps, da: Any, dw: Any, v: Array) -> Array:
    """Ṅ v with N = X Xᴴ, X = √W A and Ẋ = √W Ȧ + Ẇ A / (2√W)."""
    be, xp = s.be, s.be.xp
    found = xp.zeros_like(v)
    parts = []
    if da is not None:
        parts.append(s.weigh(da, root=True))
    if dw is not None:
        parts.append(xp.astype(s.root_slope() * dw, s.a.dtype)[..., None] * s.a)
    x = s.weigh(s.a, root=True)
    for dx in parts:
        found = found + be.matmul(dx, adjoint_times(be, x, v))
        found = found + be.matmul(x, adjoint_times(be, dx, v))
    return found


_KERNEL = _Kernel()


class _Units:
    """D, for which A D is near 1 and x = D y; of a wide system D A, and x as it is.

    Where A may have a null space its pseudo-inverse is taken twice, and squares of that leave the
    range of the dtype where those of A do. All are powers of two, so that nothing is rounded. Maps
    of columns known to be independent do without: 1.
    """

    def __init__(self, be: Backend, plan: Plan, arrays: Sequence[Array]) -> None:
        self.xp, self.g, self.none = be.xp, plan.system, plan.full_columns
        self.place = 2 + self.g.weighted + self.g.ridged
        self.scale = arrays[self.place + 1]

    def _times(self, v: Any, d: Array) -> Any:
        return None if v is None else v * self.xp.astype(d, v.dtype)

    def data(self, values: Sequence[Any]) -> list[Any]:
        """A, b, weights, ridge, or their tangents or gradients, in these units."""
        found = list(values)
        if self.none:
            return found
        d = self.scale[..., None]
        found[0] = self._times(found[0], d if self.g.wide else self.xp.matrix_transpose(d))
        if self.g.wide:
            found[1] = self._times(found[1], d)
        if self.g.ridged:
            last = self.place - 1
            found[last] = self._times(self._times(found[last], self.scale), self.scale)
        return found

    def arrays(self, arrays: Sequence[Array]) -> list[Array]:
        """The arrays of the core in these units, where Z has none of its own."""
        found = self.data(arrays)
        if not self.none:
            found[self.place + 1] = self.xp.ones_like(self.scale)
        return found

    def rows(self, v: Array) -> Array:
        """Rows of b − A x from what they are in these units, or once more towards the cotangent."""
        return v if self.none or not self.g.wide else self._times(v, 1 / self.scale[..., None])

    def unknowns(self, x: Array, *, back: bool = False) -> Array:
        """y from x; back, x from y, and the cotangent of y from that of x."""
        if self.none or self.g.wide:
            return x
        d = self.scale[..., None]
        return self._times(x, d if back else 1 / d)


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
    auxiliaries are constants: x does not depend on how it was computed, and what the rule itself
    depends on goes through `_Kernel`, which has its own.

    The output is packed: below the n rows of x one with ρ = Σ w|b − A x|², one with the relative
    size of the last correction, which has no derivative. That of ρ needs ẋ only where there is a
    ridge, for AᴴW r = Γ x::

        ρ̇ = Re Σ_i (2 w conj(r) (ḃ − Ȧ x) + ẇ|r|²) − 2 Re Σ_j γ conj(x) ẋ
    """

    name = "least_squares_solution"

    def divide(self, geometry: Any, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        (*lead, _, n), k = shapes[0], shapes[1][-1]
        return problems(geometry, shapes, len(lead), (n + 2, k))

    def forward(self, be: Backend, geometry: Plan, *arrays: Array) -> Array:
        return refined(be, geometry, arrays)

    def push(
        self,
        be: Backend,
        geometry: Plan,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        xp = be.xp
        units = _Units(be, geometry, arrays)
        s = _Maps(be, geometry, units.arrays(arrays))
        g, out = s.g, units.unknowns(out[..., : s.a.shape[-1], :])
        da, db, dw, dridge, _ = g.named(units.data(tangents))
        low, high, null = xp.zeros_like(out), xp.zeros_like(s.b), None
        r = s.b - s.up(out)
        if da is not None:
            low = low + adjoint_times(be, da, s.weigh(r))
            high = high - be.matmul(da, out)
            if not s.plan.full_columns:
                null = s.beyond(adjoint_times(be, da, s.raised(out)))
        if db is not None:
            high = high + db
        if dw is not None:
            low = low + s.down(xp.astype(dw, r.dtype)[..., None] * r)
        if dridge is not None:
            low = low - xp.astype(dridge, r.dtype)[..., None] * out
        total = s.inverse(low) + s.pinv(high)
        total = total if null is None else total + null
        r, high = units.rows(r), units.rows(high)
        terms = 2 * real_product(be, s.weigh(r), high)
        if dw is not None:
            terms = terms + dw[..., None] * real_product(be, r, r)
        square = xp.sum(terms, axis=-2, keepdims=True, dtype=terms.dtype)
        if g.ridged:
            terms = 2 * real_product(be, s.shrink(out), total)
            square = square - xp.sum(terms, axis=-2, keepdims=True, dtype=terms.dtype)
        square = xp.astype(square, total.dtype)
        rows = [units.unknowns(total, back=True), square, xp.zeros_like(square)]
        return xp.concat(rows, axis=-2)

    def pull(
        self,
        be: Backend,
        geometry: Plan,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        xp = be.xp
        units = _Units(be, geometry, arrays)
        s = _Maps(be, geometry, units.arrays(arrays))
        n = s.a.shape[-1]
        g, out = s.g, units.unknowns(out[..., :n, :])
        complex_ = be.is_complex(s.a)
        square = cotangent[..., n : n + 1, :]
        square = xp.real(square) if complex_ else square
        cotangent = units.unknowns(cotangent[..., :n, :], back=True)
        turn = xp.matrix_transpose

        def real_sum(v: Array, like: Array) -> Array:
            return xp.sum(xp.real(v) if complex_ else v, axis=-1, dtype=like.dtype)

        twice = xp.astype(2 * square, out.dtype)
        t = conj(be, cotangent)
        if g.ridged:
            t = t - twice * s.shrink(out)
        u = s.inverse(t)
        r = s.b - s.up(out)
        far = units.rows(r)
        # Zero first: the rest may leave the range of the dtype.
        back = conj(be, s.raised(t) + units.rows(twice) * s.weigh(far))
        results: list[Any] = [None] * len(arrays)
        if wanted[0]:
            results[0] = be.matmul(s.weigh(conj(be, r)), turn(u)) - be.matmul(back, turn(out))
            if not s.plan.full_columns:
                q = s.raised(out)
                results[0] = results[0] + be.matmul(conj(be, q), turn(s.beyond(t)))
        if wanted[1]:
            results[1] = back
        place = 2
        if g.weighted:
            if wanted[place]:
                found = real_product(be, twice * far, 0.5 * far)
                found = xp.sum(found, axis=-1, dtype=found.dtype)
                results[place] = real_sum(conj(be, s.up(u)) * r, s.w) + found
            place += 1
        if g.ridged and wanted[place]:
            results[place] = -real_sum(conj(be, u) * out, s.ridge)
        return units.data(results)


_SOLUTION = _Solution()


class _Root(Core):
    """D⁻¹Z with Z Zᴴ = G⁺, of a system that is not wide: its value is given, its derivative made.

    Derivation. Any Ż with Ż Zᴴ + Z Żᴴ = K̇ will do (`_Kernel` has K̇ and P), and there is one
    without an inverse: Ż = −½ K Ṅ Z + P Ṅ K Z.
    """

    name = "least_squares_root"

    def forward(self, be: Backend, geometry: Plan, *arrays: Array) -> Array:
        return arrays[1]

    def _in_units(
        self, be: Backend, geometry: Plan, arrays: Sequence[Array], out: Array
    ) -> tuple[_Units, _Maps, Array, Array]:
        units = _Units(be, geometry, arrays)
        s = _Maps(be, geometry, units.arrays(arrays))
        d = be.xp.astype(s.scale, out.dtype)[..., None]
        return units, s, d, d * out

    def push(
        self,
        be: Backend,
        geometry: Plan,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        units, s, d, z = self._in_units(be, geometry, arrays, out)
        da, _, dw, dridge, _ = s.g.named(units.data(tangents))
        total = -0.5 * s.kernel(_moved(s, da, dw, dridge, z))
        if not s.plan.full_rank:
            beyond = _moved(s, da, dw, dridge, s.kernel(z))
            total = total + beyond - s.normal(s.kernel(beyond))
        return total / d

    def pull(
        self,
        be: Backend,
        geometry: Plan,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        units, s, d, z = self._in_units(be, geometry, arrays, out)
        t = conj(be, cotangent / d)
        u = s.kernel(t)
        pairs = [(-0.5 * conj(be, u), z)]
        if not s.plan.full_rank:
            pairs.append((conj(be, t - s.normal(u)), s.kernel(z)))
        return units.data(_moved_transposed(s, pairs, [None] * len(arrays), wanted))


_ROOT = _Root()


def inverse_root(plan: Plan, f: Factors, a: Array, w: Array | None, ridge: Array | None) -> Array:
    """D⁻¹Z of `f`, with its derivative unless the system is wide."""
    if plan.system.wide:
        return f.root
    others = [v for v in (w, ridge) if v is not None]
    return apply(_ROOT, plan, a, f.root, *others, f.root, f.scale)


def solution(plan: Plan, f: Factors, a: Any, b: Any, w: Any | None, ridge: Any | None) -> Any:
    """x (..., n, k) for b (..., m, k), packed; all leading axes must be there already."""
    given = [v for v in (a, b, w, ridge) if v is not None]
    rest = (f.root, f.scale, f.start, f.square, f.goal, f.again, f.many)
    return apply(_SOLUTION, plan, *given, *rest)
