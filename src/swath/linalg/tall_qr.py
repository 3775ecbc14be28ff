"""The QR factorisation of tall matrices by Gram matrices and Cholesky factors alone.

Public function -> steps A <- A R⁻¹ with Cholesky's factor R of its Gram matrix -> (Q, R).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import Core, apply, primal, with_batch
from ..errors import ArgumentError, RankDeficientError, describe
from ..registry import operation
from ._scaling import adjoint, all_finite, column_scales, conj, matrices
from ._triangles import shift_of, shifted
from .normal_equations import gram_product

__all__ = ["cholesky_qr"]

Array = Any
# Two steps do, three with a shift; one more where the shift had to be large.
_STEPS = 4


class _Triangle(Core):
    """From G the factor R of G + σI = RᴴR, upper triangular.

    Derivation. M = R⁻ᴴ Ġ R⁻¹ = Ṙ R⁻¹ + (Ṙ R⁻¹)ᴴ, so Ṙ = Φ(M) R with Φ the upper triangle and half
    the diagonal. The shift σ is a constant. Transposed without conjugates, with t the cotangent,
    H = Φ(t Rᵀ) is that of M, and Ḡ = conj(R⁻¹) H R⁻ᵀ.
    """

    name = "cholesky_triangle"

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        return adjoint(be, be.cholesky(shifted(be, *arrays)))

    def push(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        if tangents[0] is None:
            return be.new_like(out, tuple(out.shape))
        lower = adjoint(be, out)
        # Not by an inverse of R, which does not wait for the tangent: so the triangles of all steps
        # are solved one after the other (see `shift_of`), as in `pull` for the cotangent.
        half = be.solve_triangular(lower, tangents[0], lower=True)
        m = be.solve_triangular(lower, adjoint(be, half), lower=True)
        return be.matmul(_upper(be, adjoint(be, m)), out)

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        turn = be.xp.matrix_transpose
        h = _upper(be, be.matmul(cotangent, turn(out)))
        half = be.solve_triangular(conj(be, out), h, lower=False)
        return turn(be.solve_triangular(out, turn(half), lower=False)), None


class _Through(Core):
    """q R⁻¹ for an upper triangular R, by substitution: what the rows lose is eps of them.

    Derivation. With p = q R⁻¹, ṗ = (q̇ − p Ṙ) R⁻¹.
    """

    name = "through_triangle"
    linear = (0,)

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        q, r = arrays
        turn = be.xp.matrix_transpose
        return turn(be.solve_triangular(r, turn(q), lower=False, transpose=True))

    def push(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        moved, turned = tangents
        if turned is not None:
            term = be.matmul(out, turned)
            moved = -term if moved is None else moved - term
        return apply(self, geometry, moved, arrays[1])

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        turn = be.xp.matrix_transpose
        back = turn(be.solve_triangular(arrays[1], turn(cotangent), lower=False))
        return back, -be.matmul(turn(out), back) if wanted[1] else None

    def batch(
        self, be: Backend, geometry: Any, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        return geometry, with_batch(be, arrays, batched), lambda out: out


def _upper(be: Backend, m: Array) -> Array:
    """Upper triangle with half the diagonal."""
    xp, n = be.xp, m.shape[-1]
    i = be.arange(n, m, be.default_int(m))
    half = be.new_like(m, (), fill=0.5)
    zero = xp.zeros_like(m)
    return xp.where(i[:, None] < i[None, :], m, xp.where(i[:, None] == i[None, :], half * m, zero))


_TRIANGLE, _THROUGH = _Triangle(), _Through()


def _shift(be: Backend, g: Array) -> Array:
    """0 where Cholesky's factorisation of g succeeds, else what makes it."""
    g = be.detach(g)
    return shift_of(be, g, all_finite(be, be.cholesky(g)))


def _column(be: Backend, a: Any, scale: Array) -> Any:
    """a · D for powers of two D."""
    return _ops.multiply(a, be.xp.astype(scale, a.dtype)[..., None, :])


@operation(
    "linalg.cholesky_qr",
    differentiable=("A",),
    reads_values=True,
    eager_only="the error for dependent columns; traced, the result is NaN",
)
def cholesky_qr(A: Any) -> tuple[Any, Any]:
    """QR factorisation of a tall matrix through its Gram matrix: A = Q R.

    Parameters
    ----------
    A : array
        (..., m, n) with m >= n, real or complex; integers become the default float.

    Returns
    -------
    Q : array
        (..., m, n) with orthonormal columns: |QᴴQ − I| is about n·eps.
    R : array
        (..., n, n), upper triangular with a positive real diagonal, which makes both unique.

    Raises
    ------
    ValueError
        If A has fewer than two axes, or fewer rows than columns.
    TypeError
        If A is no array of numbers.
    swath.errors.RankDeficientError
        If the columns are dependent to working precision: the condition of A with its columns
        scaled exceeds about 1/(n·eps). A `numpy.linalg.LinAlgError`. Traced, Q and R are NaN.

    Notes
    -----
    CholeskyQR2 [1]_: G = AᴴA = RᴴR and Q = A R⁻¹, and the same once more with Q, whose condition
    is small; where Cholesky's factorisation breaks down, a small multiple of the identity is added
    and a third step follows (shifted CholeskyQR3 [2]_). Columns are scaled by powers of two first.
    It is made of matrix products, so it runs on every backend and device, batched: 4·m·n²
    multiply-adds for two steps. NumPy's QR does about 2·m·n², at a fraction of the speed.

    References
    ----------
    .. [1] Y. Yamamoto, Y. Nakatsukasa, Y. Yanagisawa and T. Fukaya, "Roundoff error analysis of the
       CholeskyQR2 algorithm", Electron. Trans. Numer. Anal. 44, 2015.
    .. [2] T. Fukaya, R. Kannan, Y. Nakatsukasa, Y. Yamamoto and Y. Yanagisawa, "Shifted Cholesky QR
       for computing the QR factorization of ill-conditioned matrices", SIAM J. Sci. Comput. 42,
       2020.

    Examples
    --------
    >>> import numpy as np, swath
    >>> Q, R = swath.linalg.cholesky_qr(np.array([[3.0, 1.0], [4.0, 3.0], [0.0, 2.0]]))
    >>> R.round(12)
    array([[5.        , 3.        ],
           [0.        , 2.23606798]])
    """
    be, a = matrices(A, "A")
    m, n = (int(v) for v in a.shape[-2:])
    if m < n:
        raise ArgumentError(
            f"A must have at least as many rows as columns, got {describe(primal(a))}; factor its "
            f"transpose"
        )
    (a,) = arguments.solvable(be, a)
    kind = a.dtype
    (a,) = arguments.summable(be, a)
    if 0 in a.shape:
        return _ops.cast(a, kind), _ops.vacant((*a.shape[:-2], n, n), a, dtype=kind)
    q, r, whole = _steps(be, a)
    finite = be.xp.isfinite(primal(a))
    if be.concrete(be.xp.all(whole)) is False and be.concrete(be.xp.all(finite)):
        raise RankDeficientError(
            "the columns of A are dependent to working precision; gram_report says which"
        )
    keep = whole[..., None, None]
    nan = _ops.fill_like(a, (), float("nan"))
    shape = tuple(a.shape)
    q = _ops.select(be.xp.broadcast_to(keep, shape), q, nan)
    r = _ops.select(be.xp.broadcast_to(keep, (*shape[:-2], n, n)), r, nan)
    return _ops.cast(q, kind), _ops.cast(r, kind)


def _steps(be: Backend, a: Any) -> tuple[Any, Any, Array]:
    """Q, R and where the columns of Q are orthonormal."""
    xp, n = be.xp, int(a.shape[-1])
    plain = be.detach(primal(a))
    scale = column_scales(be, plain)
    q, r, good = _column(be, a, scale), None, None
    for _ in range(_STEPS):
        g = gram_product(q)
        value = primal(g)
        eye = xp.broadcast_to(be.eye(n, value), tuple(value.shape))
        off = xp.max(xp.sum(xp.abs(value - eye), axis=-1), axis=-1)
        triangle = apply(_TRIANGLE, None, g, _shift(be, value))
        q = apply(_THROUGH, None, q, triangle)
        r = triangle if r is None else _ops.matmul(triangle, r)
        # Columns that were nearly orthonormal are so to working precision now.
        good = off <= 0.5
        if be.concrete(xp.all(good)) is True or be.concrete(xp.all(xp.isfinite(off))) is False:
            break
    return q, _column(be, r, 1.0 / scale), good
