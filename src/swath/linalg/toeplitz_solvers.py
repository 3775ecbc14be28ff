"""Toeplitz systems: a direct solver that no minor breaks, conjugate gradients, and derivatives.

Public function -> checks and route -> `_toeplitz_systems.solution` (dense, `_toeplitz_direct` or
`_toeplitz_iterative`, in lanes) -> a core with the implicit derivative -> result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from numbers import Real
from typing import Any

from .. import _ops, arguments
from .._backends import Backend, register_result
from ..autodiff import Core, apply, primal, with_batch
from ..division import Division, problems
from ..errors import ArgumentError, ArgumentTypeError, SingularError, describe
from ..registry import operation
from ..sliding.fft import fast_length
from ._sides import as_columns
from ._toeplitz_costs import cheapest
from ._toeplitz_systems import Route, solution
from .toeplitz_product import check_all_finite, parted, toeplitz_arguments

__all__ = ["ToeplitzSolution", "solve_toeplitz"]

Array = Any
_METHODS = ("auto", "levinson", "gko", "pcg")
# A dense factorisation may be the fastest, while all matrices hold few elements.
_DENSE_ELEMENTS = 2**22
# From this order on "auto" iterates: n² steps take minutes, n log n ones milliseconds.
_LARGE_ORDER = 2**15
_ITERATIONS = 500


@dataclass(frozen=True, eq=False)
class ToeplitzSolution:
    """What `solve_toeplitz` found, with how accurate it is. (...) are the leading axes.

    Attributes
    ----------
    x : array
        Solution, of the shape of b.
    residual : array
        ‖b − T x‖₂ / ‖b‖₂, (...) for a vector b, (..., k) for a matrix.
    condition : array
        Estimate of ‖T‖₁‖T⁻¹‖₁, (...): exact for small systems; else from below, rarely more than
        three times too small.
    error_bound : array
        Bound of ‖x − x*‖₁ / ‖x‖₁ from the residual, its own rounding and the condition, of the
        shape of `residual`: right as far as the condition is.
    iterations : array of int
        Steps of conjugate gradients, of the shape of `residual`; 0 for a direct method.
    fallback : array of bool
        Whether the stable method took over from the one chosen first, (...).
    success : array of bool
        Whether x solves the system to the accuracy asked for, of the shape of `residual`.
    method : str
        Chosen first: "dense", "levinson", "gko" or "pcg".
    """

    x: Array
    residual: Array
    condition: Array
    error_bound: Array
    iterations: Array
    fallback: Array
    success: Array
    method: str


register_result(
    ToeplitzSolution,
    ("x", "residual", "condition", "error_bound", "iterations", "fallback", "success"),
    ("method",),
)


# -- derivatives -----------------------------------------------------------------------------------


def _moved(be: Backend, c: Any, r: Any, x: Array) -> Array:
    """Ṫ x for a change of the column and of the row (None: none), (..., n, k)."""
    xp, n = be.xp, x.shape[-2]
    some = c if r is None else r
    c = xp.zeros_like(some) if c is None else c
    r = xp.zeros_like(some) if r is None else r
    t = xp.concat([xp.flip(r[..., 1:], axis=-1), c], axis=-1)
    points = fast_length(3 * n - 2)
    v = xp.matrix_transpose(x)
    lines = prod(v.shape[:-1])
    hat = xp.expand_dims(be.spectra(t, points, lines), axis=t.ndim - 1)
    y = hat * be.spectra(v, points, lines)
    y = be.lines(y, points, lines, real=not be.is_complex(t))
    return xp.matrix_transpose(y[..., n - 1 : 2 * n - 1])


def _diagonal_sums(be: Backend, u: Array, x: Array) -> tuple[Array, Array]:
    """Σ_k Σ_j u[j + m, k] x[j, k] for m = 0 … n − 1, and with u and x exchanged."""
    xp, n = be.xp, x.shape[-2]
    points = fast_length(3 * n - 2)
    u, x = xp.matrix_transpose(u), xp.matrix_transpose(xp.flip(x, axis=-2))
    lines = prod(x.shape[:-1])
    hat = be.spectra(u, points, lines) * be.spectra(x, points, lines)
    y = xp.sum(hat, axis=x.ndim - 2)
    y = be.lines(y, points, lines, real=not be.is_complex(x))
    return y[..., n - 1 : 2 * n - 1], xp.flip(y[..., :n], axis=-1)


class _Implicit(Core):
    """What both cores share: x solves T x = b, so T ẋ = ḃ − Ṫ x.

    The transpose, with x̄ paired to ẋ without conjugate: b̄ = T⁻ᵀx̄, and T̄ = −b̄ xᵀ summed along
    diagonals, c̄_m = −Σ_j b̄_{j+m} x_j and r̄_m = −Σ_j b̄_j x_{j+m} with r̄₀ = 0. Since J TᵀJ = T for
    the reversal J, the transposed system is the system itself between two reversals.
    """

    def push(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        dc, dr, db = tangents[:3]
        right = db
        if dc is not None or dr is not None:
            if dr is not None:
                dr = be.xp.concat([be.xp.zeros_like(dr[..., :1]), dr[..., 1:]], axis=-1)
            moved = _moved(be, dc, dr, out)
            right = -moved if right is None else right - moved
        if right is None:
            return be.xp.zeros_like(out)
        return apply(_INVERSE, geometry, *arrays[:2], right)

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        xp = be.xp
        back = xp.flip(cotangent, axis=-2)
        back = xp.flip(apply(_INVERSE, geometry, *arrays[:2], back), axis=-2)
        results: list[Any] = [None] * len(arrays)
        if wanted[0] or wanted[1]:
            column, row = _diagonal_sums(be, back, out)
            results[0] = -column
            results[1] = -xp.concat([xp.zeros_like(row[..., :1]), row[..., 1:]], axis=-1)
        results[2] = back
        return [v if w else None for v, w in zip(results, wanted, strict=True)]


class _Inverse(_Implicit):
    """T⁻¹b by the route of the geometry: linear in b, and T is an argument like any other."""

    name = "toeplitz_inverse"
    linear = (2,)

    def divide(self, geometry: Any, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        return problems(geometry, shapes, len(shapes[0]) - 1, shapes[2][-2:])

    def forward(self, be: Backend, geometry: Route, *arrays: Array) -> Array:
        return solution(be, geometry, *arrays)[0]

    def batch(
        self, be: Backend, geometry: Any, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        xp = be.xp
        c, r, b = arrays
        if not (batched[0] or batched[1]):
            # One matrix: lanes become columns.
            count, k = b.shape[0], b.shape[-1]
            columns = xp.moveaxis(b, 0, -2)
            columns = xp.reshape(columns, (*columns.shape[:-2], count * k))

            def finish(out: Array) -> Array:
                return xp.moveaxis(xp.reshape(out, (*out.shape[:-1], count, k)), -2, 0)

            return geometry, (c, r, columns), finish
        return geometry, with_batch(be, arrays, batched), lambda out: out


class _Solution(_Implicit):
    """The solution found already, its last argument, as a function of the system."""

    name = "toeplitz_solution"

    def forward(self, be: Backend, geometry: Route, *arrays: Array) -> Array:
        return be.xp.reshape(arrays[3], tuple(arrays[3].shape), copy=True)


_INVERSE, _SOLUTION = _Inverse(), _Solution()


# -- public ----------------------------------------------------------------------------------------


def _hermitian(be: Backend, c_or_cr: Any, c: Any, r: Any) -> bool:
    """Whether T is Hermitian: told by a column alone, or read from the values."""
    if parted(c_or_cr)[1] is None:
        return True
    xp = be.xp
    c, r = primal(c), primal(r)
    if be.is_complex(c):
        same = xp.all(c[..., 1:] == xp.conj(r[..., 1:])) & xp.all(xp.imag(c[..., 0]) == 0)
    else:
        same = xp.all(c[..., 1:] == r[..., 1:])
    return be.concrete(same) is True


def _route(
    be: Backend,
    c: Array,
    method: str,
    lanes: int,
    k: int,
    hermitian: Callable[[], bool],
    rtol: Any,
    maxiter: Any,
) -> Route:
    n, eps = int(c.shape[-1]), float(be.xp.finfo(c.dtype).eps)
    if rtol is None:
        rtol = 0.5 * eps**0.75
    elif isinstance(rtol, bool) or not isinstance(rtol, Real):
        raise ArgumentTypeError(f"rtol must be a number or None, got {describe(rtol)}")
    elif not 0 < float(rtol) < 1:
        raise ArgumentError(f"rtol must lie between 0 and 1, got {rtol!r}")
    limit = _ITERATIONS if maxiter is None else arguments.positive("maxiter", maxiter)
    if method == "auto":
        method = "pcg" if n > _LARGE_ORDER else "levinson"
        if lanes * n * n <= _DENSE_ELEMENTS:
            method = cheapest(be, c, lanes, k, n)
    # Only there it matters, and its values have to be read for it.
    return Route(method, method == "pcg" and hermitian(), float(rtol), limit)


def _raise(be: Backend, g: Route, values: Sequence[Array], n: int) -> None:
    """Say eagerly which finite system has no solution."""
    xp = be.xp
    _, residual, condition, _, iterations, _, success, finite = values
    bad = finite & ~success
    if be.concrete(xp.any(bad)) is not True:
        return
    lanes = prod(int(v) for v in condition.shape)
    where = f" in at least one of {lanes} systems" if lanes > 1 else ""
    if g.method == "pcg":
        rest = xp.where(bad, residual, xp.zeros_like(residual))
        raise SingularError(
            f"conjugate gradients did not reach a relative residual of {g.rtol:.1e}{where}: "
            f"{float(be.concrete(xp.max(rest))):.1e} was left after "
            f"{int(be.concrete(xp.max(iterations)))} steps; T is singular, or so ill-conditioned "
            f'that maxiter must be raised; method="gko" solves any regular T, with O(n²) work'
        )
    worst = float(be.concrete(xp.max(xp.where(condition > 0, condition, xp.zeros_like(condition)))))
    raise SingularError(
        f"T is singular to working precision{where}: its condition number is estimated as "
        f"{worst:.2g}, in the 1-norm at n = {n}; a ridge added to c[0] makes it regular, and "
        f"lstsq of toeplitz(c, r) finds the solution of least norm"
    )


@operation(
    "linalg.solve_toeplitz",
    differentiable=("c_or_cr", "b"),
    linear=("b",),
    reads_values=True,
    first=lambda r: r.x if isinstance(r, ToeplitzSolution) else r,
    replace_first=lambda r, x: replace(r, x=x) if isinstance(r, ToeplitzSolution) else x,
)
def solve_toeplitz(
    c_or_cr: Any,
    b: Any,
    check_finite: bool = False,
    *,
    method: str = "auto",
    rtol: float | None = None,
    maxiter: int | None = None,
    full_output: bool = False,
) -> Any:
    """Solve a Toeplitz system T x = b, whatever the leading minors of T are.

    With the square matrix of `toeplitz`, T[i, j] = c[i − j] for i >= j and r[j − i] for i < j.

    Parameters
    ----------
    c_or_cr : array or tuple of two arrays
        First column c, (..., n); or (c, r) with the first row r, (..., n), of which ``r[0]`` is
        ignored. Without r it is conj(c): a Hermitian matrix.
    b : array
        (n,), or (..., n, k): from two axes on the last two are a matrix of right-hand sides.
    check_finite : bool, default False
        Whether to refuse NaN and infinities; otherwise they give NaN. Of traced arrays (jit, vmap,
        grad) no values are read, and nothing is refused.
    method : {"auto", "levinson", "gko", "pcg"}, default "auto"
        "levinson": Levinson's recursion, the solution refined; where the residual then shows that
        a leading minor was too small, "gko" takes over. "gko": Gaussian elimination with partial
        pivoting on the Cauchy-like matrix that an FFT makes of T, refined; it depends on no minor.
        "pcg": conjugate gradients with Strang's circulant preconditioner; T. Chan's where that is
        not positive definite; through the normal equations where T is not Hermitian or turns out
        indefinite. "auto": "levinson" or a dense factorisation, whichever is predicted to be
        faster, up to n = 32768, and "pcg" beyond.
    rtol : float, optional
        Relative residual ‖b − T x‖₂/‖b‖₂ at which "pcg" stops; by default ½·eps^¾, 9e-13 in double
        precision. Where rounding of x itself costs more than that, x is accepted at that level.
    maxiter : int, optional
        Largest number of steps of "pcg", by default 500.
    full_output : bool, default False
        Whether to return a `ToeplitzSolution` with residual, condition, error bound, iterations
        and success beside x. "pcg" then solves two systems more, for the condition.

    Returns
    -------
    array or ToeplitzSolution
        x, of the shape of b with the leading axes broadcast, in the common dtype; integers become
        the default float.

    Raises
    ------
    numpy.linalg.LinAlgError
        (`swath.errors.SingularError`) If T is singular to working precision, with the estimate of
        its condition number, 1/(2 eps) or above; or if "pcg" does not converge. Of traced arrays
        nothing is raised: x is NaN and `success` false.
    ValueError
        If T is not square, b does not fit, leading axes do not broadcast, or an option is bad.
    TypeError
        If the arrays live in different libraries or on different devices, or hold booleans.

    See Also
    --------
    toeplitz, matmul_toeplitz, lstsq

    Notes
    -----
    SciPy's function is Levinson's recursion alone: it raises for a leading minor of 0, and loses as
    many digits as a small one has zeros.

    Cost: "levinson" O(n²) and "gko" about ten times that, in O(n) memory; one loop of n steps,
    compiled where programs are; of single systems in the host's memory (NumPy, PyTorch) SciPy's
    compiled recursion. A dense factorisation takes O(n³), of matrices of at most 2²² elements in
    all. "pcg" O(n log n) for every step, in about 30 vectors of n entries for one column. Where the
    preconditioned spectrum clusters, as it does for a positive and smooth symbol, the number of
    steps does not grow with n. No solution in floating point leaves a smaller residual than about
    eps·‖T‖·‖x‖, which for an ill-conditioned T can exceed rtol·‖b‖.

    T is regular where a line parts the values of Σ t_m e^{imω} from 0 (at the frequencies of a
    circulant matrix around T), or by the norms of the two columns that determine T⁻¹; only where
    neither tells, or `full_output` asks, the condition number is estimated. Traced, "levinson"
    branches on the residual, and only one of the two recursions runs; under `vmap` both do.

    The derivative is implicit: that of x with respect to b solves the system with the reversed
    cotangent, those of c and r are correlations of the two solutions.

    References
    ----------
    .. [1] G. H. Golub and C. F. Van Loan, *Matrix Computations*, 4th ed., section 4.7.
    .. [2] I. Gohberg, T. Kailath and V. Olshevsky, "Fast Gaussian elimination with partial pivoting
       for matrices with displacement structure", Math. Comp. 64, 1995.
    .. [3] G. Rodriguez, "Fast solution of Toeplitz- and Cauchy-like least-squares problems",
       SIAM J. Matrix Anal. Appl. 28, 2006.
    .. [4] R. H. Chan and M. K. Ng, "Conjugate gradient methods for Toeplitz systems", SIAM Review
       38, 1996.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.linalg.solve_toeplitz(np.array([0.0, 1.0, 2.0]), np.array([4.0, 4.0, 4.0]))
    array([2., 0., 2.])
    """
    arguments.choice("method", method, _METHODS)
    check_finite = arguments.flag("check_finite", check_finite)
    full_output = arguments.flag("full_output", full_output)
    be, c, r, b = toeplitz_arguments(c_or_cr, "b", b, divides=True)
    n = int(c.shape[-1])
    if r.shape[-1] != n:
        raise ArgumentError(f"T must be square: c has {n} entries and r {r.shape[-1]}")
    vector = b.ndim == 1
    if b.shape[0 if vector else -2] != n:
        raise ArgumentError(
            f"b must have one row for each of the matrix's {n} rows, ({n},) or (..., {n}, k); got "
            f"{describe(primal(b))}"
        )
    lead = arguments.leading(
        c=c.shape[:-1], r=r.shape[:-1], b=b.shape[:-1] if vector else b.shape[:-2]
    )
    if check_finite:
        check_all_finite(be, c=c, r=r, b=b)
    c, r, b = arguments.solvable(be, c, r, b)
    kind = c.dtype
    c, r, b = arguments.summable(be, c, r, b)
    b, sides = as_columns(b, vector=vector, single=c.ndim == r.ndim == 1)
    inner = () if sides.folded else lead
    c, r = (_ops.broadcast_to(v, (*inner, n)) for v in (c, r))
    b = _ops.broadcast_to(b, (*inner, n, b.shape[-1]))

    def hermitian() -> bool:
        return _hermitian(be, c_or_cr, c, r)

    g = _route(be, primal(c), method, prod(inner), b.shape[-1], hermitian, rtol, maxiter)
    found = _solved(be, replace(g, statement=full_output), g, c, r, b)
    x = _ops.cast(sides.back(found[0], (n,)), kind)
    if not full_output:
        return x
    residual, condition, error, iterations, fallback, success = found[1:7]
    rows = (residual, error, iterations, success)
    residual, error, iterations, success = (sides.back(v, ()) for v in rows)
    return ToeplitzSolution(x, residual, condition, error, iterations, fallback, success, g.method)


def _solved(be: Backend, asked: Route, g: Route, c: Any, r: Any, b: Any) -> tuple[Any, ...]:
    """The values of `solution`, x with its derivative."""
    plain = [primal(v) for v in (c, r, b)]
    n, k = b.shape[-2:]
    if 0 in tuple(b.shape):
        lead = tuple(b.shape[:-2])
        real = be.xp.abs(plain[0]).dtype
        row = be.new_like(plain[0], (*lead, k), dtype=real)
        lane = be.new_like(plain[0], lead, dtype=real, fill=1.0)
        yes = be.new_like(plain[0], (*lead, k), dtype=be.dtype("bool"), fill=True)
        steps = be.new_like(plain[0], (*lead, k), dtype=be.default_int(plain[0]))
        no = be.new_like(plain[0], lead, dtype=be.dtype("bool"), fill=False)
        return _ops.multiply(b, _ops.fill_like(b, ())), row, lane, row, steps, no, yes, yes
    values = be.run(solution, asked, *(be.detach(v) for v in plain))
    _raise(be, g, values, n)
    return (apply(_SOLUTION, g, c, r, b, values[0]), *values[1:])
