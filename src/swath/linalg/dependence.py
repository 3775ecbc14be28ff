"""Which columns of a matrix depend on which: rank, a choice of columns, and the combinations.

All of it works on the triangular factor of A, whose columns have the lengths and angles of A's:
a pivoted Cholesky factorisation of AᴴA without squaring the condition number. Everything here
reads array values, so it runs eagerly only.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

from .. import arguments
from .._backends import Backend, backend_of
from ..autodiff import primal
from ..errors import ArgumentError, UnsupportedError, describe
from ..registry import operation
from ._scaling import adjoint, column_scales, default_rcond, real_product
from .normal_equations import gram_product

__all__ = [
    "Dependence",
    "GramReport",
    "check_rcond",
    "find_dependence",
    "gram_report",
    "independent_columns",
    "sentences",
]

Array = Any
# A column counts as a pivot if its distance from the others is at least this part of the largest:
# earlier columns are preferred, which makes the choice predictable, at no loss of safety.
_PREFERENCE = 0.5
# Most columns that are named in one combination, and most combinations in one error.
_TERMS, _SENTENCES = 6, 4


@dataclass(frozen=True, eq=False)
class Dependence:
    """Kept and dependent columns of one matrix.

    Attributes
    ----------
    kept, dependent : tuple of int
        A basis of the columns, in ascending order, and the rest.
    combination : array
        (len(kept), len(dependent)): every dependent column as a combination of the kept ones.
    """

    kept: tuple[int, ...]
    dependent: tuple[int, ...]
    combination: Array


def triangle(be: Backend, a: Array) -> tuple[Array, Array]:
    """The triangular factor of a with its columns scaled by powers of two, and the scales."""
    scales = column_scales(be, a)
    _, r = be.xp.linalg.qr(a * be.cast(scales, a.dtype)[..., None, :], mode="reduced")
    return r, scales


def _unit(be: Backend, r: Array) -> Array:
    """Columns of r at length 1; columns of zeros stay."""
    xp = be.xp
    length = xp.sqrt(xp.sum(real_product(be, r, r), axis=-2))
    length = xp.where(length > 0, length, xp.ones_like(length))
    return r / xp.astype(length, r.dtype)[..., None, :]


def numerical_rank(be: Backend, r: Array, rcond: float) -> int:
    """Singular values of r above rcond times the largest."""
    if 0 in r.shape:
        return 0
    xp = be.xp
    s = xp.linalg.svdvals(r)
    kept = xp.astype(s > rcond * s[0], be.default_int(s))
    return int(be.concrete(xp.sum(kept)))


def find_dependence(be: Backend, a: Array, rcond: float, rank: int | None = None) -> Dependence:
    """The columns of a (m, n) that make a basis, and the rest in terms of them.

    Gram–Schmidt with pivoting on unit columns; each step takes the first column whose distance from
    the span of those taken is at least half the largest such distance.
    """
    xp = be.xp
    n = a.shape[-1]
    r, scales = triangle(be, a)
    if rank is None:
        rank = numerical_rank(be, r, rcond)
    v, kept = _unit(be, r), []
    integer = be.default_int(a)
    for _ in range(rank):
        distance = xp.sum(xp.abs(v) ** 2, axis=0)
        free = be.constant([j not in kept for j in range(n)], a, be.dtype("bool"))
        distance = xp.where(free, distance, -xp.ones_like(distance))
        near = distance >= _PREFERENCE**2 * xp.max(distance)
        j = int(be.concrete(xp.argmax(xp.astype(near, integer))))
        kept.append(j)
        q = v[:, j : j + 1]
        q = q / xp.astype(xp.sqrt(xp.sum(xp.abs(q) ** 2)), q.dtype)
        for _ in range(2):  # the second pass removes what rounding left
            v = v - be.matmul(q, be.matmul(adjoint(be, q), v))
    kept.sort()
    dependent = [j for j in range(n) if j not in kept]
    if not kept or not dependent:
        return Dependence(
            tuple(kept), tuple(dependent), be.new_like(a, (len(kept), len(dependent)))
        )
    at = [be.constant(list(c), a, integer) for c in (kept, dependent)]
    q, basis = xp.linalg.qr(xp.take(r, at[0], axis=1), mode="reduced")
    rest = be.matmul(adjoint(be, q), xp.take(r, at[1], axis=1))
    combination = be.solve_triangular(basis, rest, lower=False)
    # r holds scaled columns: a_j s_j = Σ_i x_ij a_i s_i.
    combination = combination * xp.astype(xp.take(scales, at[0], axis=0), a.dtype)[:, None]
    combination = combination / xp.astype(xp.take(scales, at[1], axis=0), a.dtype)[None, :]
    return Dependence(tuple(kept), tuple(dependent), combination)


def _number(value: complex | float) -> str:
    return f"({value:.6g})" if isinstance(value, complex) else f"{value:.6g}"


def sentence(be: Backend, found: Dependence, place: int) -> str:
    """One dependent column in words: "column 2 = 1·column 0 + 1·column 1"."""
    xp, column = be.xp, found.combination[:, place]
    complex_ = be.is_complex(column)
    parts: list[str] = []
    if found.kept:
        size = xp.abs(column)
        largest = float(be.concrete(xp.max(size)))
        # Coefficients at rounding level are zeros.
        limit = 1e3 * float(be.xp.finfo(column.dtype).eps) * max(largest, 1e-300)
        for i, kept in enumerate(found.kept):
            if float(be.concrete(size[i, ...])) > limit:
                parts_of = (xp.real(column), xp.imag(column)) if complex_ else (column,)
                values = [float(be.concrete(v[i, ...])) for v in parts_of]
                values = [v if abs(v) > limit else 0.0 for v in values]
                value = complex(*values) if any(values[1:]) else values[0]
                parts.append(f"{_number(value)}·column {kept}")
    if len(parts) > _TERMS:
        parts = [*parts[:_TERMS], f"… ({len(parts)} columns in all)"]
    return f"column {found.dependent[place]} = {' + '.join(parts) or '0'}"


def sentences(be: Backend, found: Dependence) -> str:
    """Dependent columns in words, the first few."""
    said = [sentence(be, found, i) for i in range(min(_SENTENCES, len(found.dependent)))]
    more = len(found.dependent) - len(said)
    return "; ".join(said) + (f"; and {more} more" if more else "")


def _matrix(a: Any) -> tuple[Backend, Array]:
    be, a = arguments.one_array("A", a)
    arguments.numeric(be, "A", a)
    if a.ndim != 2:
        raise ArgumentError(f"A must be one matrix (m, n), got {describe(primal(a))}")
    (a,) = arguments.summable(be, *arguments.solvable(be, primal(a)))
    if be.concrete(be.xp.all(be.xp.isfinite(a))) is None:
        raise UnsupportedError(
            "it decides by array values, so it cannot be traced (jit, vmap, grad) or lazy; call it "
            "on concrete arrays"
        )
    if not be.concrete(be.xp.all(be.xp.isfinite(a))):
        raise ArgumentError("A must be finite, got NaN or infinities")
    return be, a


def check_rcond(rcond: Any) -> float | None:
    """None, or a float of at least 0."""
    if rcond is None:
        return None
    number = isinstance(rcond, Real) and not isinstance(rcond, bool)
    if not number or not 0 <= float(rcond) < 1:
        raise ArgumentError(f"rcond must be a number in [0, 1) or None, got {describe(rcond)}")
    return float(rcond)


@operation(
    "linalg.independent_columns",
    arrays=("A",),
    reads_values=True,
    eager_only="the number of columns returned depends on array values",
    gaps={"dask": "what it returns depends on values; call it on A.compute()"},
)
def independent_columns(A: Any, *, rcond: float | None = None) -> tuple[int, ...]:
    """Indices of columns of A that are independent and span all the others.

    Parameters
    ----------
    A : array
        One matrix (m, n).
    rcond : float, optional
        Rank is the number of singular values, of A with its columns scaled to like size by powers
        of two, that exceed rcond times the largest; by default max(m, n)·eps, with √eps for m·eps
        where that is less.

    Returns
    -------
    tuple of int
        Ascending, as many as the rank. Among equals earlier columns are preferred: a column is
        taken as soon as its distance from the span of those taken is at least half the largest
        such distance, all columns at length 1.

    Raises
    ------
    ValueError
        If A is no matrix or not finite.
    NotImplementedError
        Under jit, vmap or grad: the length of the result depends on the values.

    Notes
    -----
    It is the pivoted Cholesky factorisation of AᴴA, done on the triangular factor of A, so that
    near dependence is told from dependence at eps and not at √eps. Cost: one QR factorisation, and
    rank steps of O(n²).

    References
    ----------
    .. [1] N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., section 10.3.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.linalg.independent_columns(np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]]))
    (0, 2)
    """
    be, a = _matrix(A)
    limit = check_rcond(rcond)
    if 0 in a.shape:
        return ()
    return find_dependence(be, a, default_rcond(be, a) if limit is None else limit).kept


@dataclass(frozen=True, eq=False)
class GramReport:
    """What AᴴA is for a given A; `str` says it in words.

    Attributes
    ----------
    shape : tuple of int
        (m, n) of A.
    gram : array
        AᴴA, (n, n).
    symmetric : bool
        Whether gram equals its conjugate transpose bit for bit.
    rank : int
        Of A, and so of AᴴA.
    condition : float
        Largest over smallest singular value of A, columns scaled to like size; AᴴA's is the square.
    invertible : bool
        Whether AᴴA is invertible: rank == n.
    independent, dependent : tuple of int
        Columns that make a basis, and those that depend on them.
    combination : array
        (rank, n − rank): column j of it gives ``dependent[j]`` in terms of ``independent``.
    null_space : array
        (n, n − rank): vectors v ≠ 0 with A v = 0, one for each dependent column.
    null_residual : float
        Largest ‖A v‖ / Σ|v_j|·‖a_j‖ over these vectors: 0 but for rounding.
    """

    shape: tuple[int, int]
    gram: Array
    symmetric: bool
    rank: int
    condition: float
    invertible: bool
    independent: tuple[int, ...]
    dependent: tuple[int, ...]
    combination: Array
    null_space: Array
    null_residual: float
    _words: tuple[str, ...]

    @property
    def square(self) -> bool:
        """Whether AᴴA is square: always."""
        return True

    def __str__(self) -> str:
        m, n = self.shape
        kind = "Hermitian" if backend_of(self.gram).is_complex(self.gram) else "symmetric"
        lines = [
            f"A is {m} × {n}; AᴴA is {n} × {n}: square.",
            f"AᴴA is {kind if self.symmetric else f'not {kind}'}: (AᴴA)ᴴ = AᴴA.",
        ]
        if self.invertible:
            lines += [
                f"The {n} columns of A are independent: rank {self.rank}, condition "
                f"{self.condition:.3g}.",
                "AᴴA is invertible: AᴴA x = 0 gives xᴴAᴴA x = ‖A x‖² = 0, so A x = 0, so x = 0.",
            ]
            return "\n".join(lines)
        lines.append(
            f"The columns of A are dependent: rank {self.rank} of {n}. AᴴA is not invertible."
        )
        if m < n:
            lines.append(
                f"With {m} observations for {n} parameters they must be; {n - m} more observations "
                f"at least are needed."
            )
        lines += [f"  {words}" for words in self._words]
        count = n - self.rank
        lines += [
            f"So {count} vector{'s' if count > 1 else ''} v ≠ 0 ha{'ve' if count > 1 else 's'} "
            f"A v = 0 and AᴴA v = 0 (found: ‖A v‖ / Σ|v_j|‖a_j‖ ≤ {self.null_residual:.1g}).",
            f"Columns to keep: {', '.join(map(str, self.independent)) or 'none'}. Dropping the "
            f"others fits as well, and says nothing about their parameters: choose with care.",
        ]
        return "\n".join(lines)


@operation(
    "linalg.gram_report",
    arrays=("A",),
    reads_values=True,
    eager_only="it reports numbers and words",
    gaps={"dask": "it reports numbers and words; call it on A.compute()"},
)
def gram_report(A: Any, *, rcond: float | None = None) -> GramReport:
    """What AᴴA is for a given A: square, symmetric, invertible or not, and why not.

    Parameters
    ----------
    A : array
        One matrix (m, n).
    rcond : float, optional
        Threshold of the rank, as in `independent_columns`.

    Returns
    -------
    GramReport
        Fields with numbers; `print` it for the argument in words: which columns depend on which,
        with the combination, and the null space.

    Raises
    ------
    ValueError
        If A is no matrix, empty or not finite.
    NotImplementedError
        Under jit, vmap or grad.

    References
    ----------
    .. [1] G. Strang, *Introduction to Linear Algebra*, 5th ed., section 4.2.

    Examples
    --------
    >>> import numpy as np, swath
    >>> A = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 2.0], [1.0, 2.0, 3.0], [1.0, 3.0, 4.0]])
    >>> report = swath.linalg.gram_report(A)
    >>> report.rank, report.invertible, report.dependent
    (2, False, (2,))
    >>> print(str(report).splitlines()[3].strip())
    column 2 = 1·column 0 + 1·column 1
    """
    be, a = _matrix(A)
    limit = check_rcond(rcond)
    if 0 in a.shape:
        raise ArgumentError(f"A must not be empty, got {describe(a)}")
    xp = be.xp
    m, n = int(a.shape[0]), int(a.shape[1])
    rcond = default_rcond(be, a) if limit is None else limit
    r, scales = triangle(be, a)
    found = find_dependence(be, a, rcond, numerical_rank(be, r, rcond))
    rank = len(found.kept)
    s = xp.linalg.svdvals(r)
    least = float(be.concrete(s[-1, ...])) if m >= n else 0.0
    condition = float(be.concrete(s[0, ...])) / least if least > 0 else float("inf")
    gram = gram_product(a)
    symmetric = bool(be.concrete(xp.all(gram == adjoint(be, gram))))
    vectors = _null_space(be, found, a)
    residual = 0.0
    if found.dependent:
        # Columns and vectors scaled to like size, so that lengths neither overflow nor vanish.
        v = vectors / xp.astype(scales, a.dtype)[:, None]
        v = v * xp.astype(column_scales(be, v), a.dtype)[None, :]
        b = a * xp.astype(scales, a.dtype)[None, :]
        image = xp.sqrt(xp.sum(xp.abs(be.matmul(b, v)) ** 2, axis=0))
        size = xp.sum(xp.abs(v) * xp.sqrt(xp.sum(xp.abs(b) ** 2, axis=0))[:, None], axis=0)
        ratio = xp.where(size > 0, image / xp.where(size > 0, size, xp.ones_like(size)), image)
        residual = float(be.concrete(xp.max(ratio)))
    words = tuple(sentence(be, found, i) for i in range(len(found.dependent)))
    return GramReport(
        shape=(m, n),
        gram=gram,
        symmetric=symmetric,
        rank=rank,
        condition=condition,
        invertible=rank == n,
        independent=found.kept,
        dependent=found.dependent,
        combination=found.combination,
        null_space=vectors,
        null_residual=residual,
        _words=words,
    )


def _null_space(be: Backend, found: Dependence, a: Array) -> Array:
    """e_j − Σ_i x_ij e_i for every dependent column j."""
    xp, n, count = be.xp, a.shape[1], len(found.dependent)
    if not count:
        return be.new_like(a, (n, 0))
    eye = be.constant([[float(i == j) for j in range(count)] for i in range(count)], a, a.dtype)
    stacked = xp.concat([-found.combination, eye], axis=0)
    order = [*found.kept, *found.dependent]
    places = [order.index(i) for i in range(n)]
    return xp.take(stacked, be.constant(places, a, be.default_int(a)), axis=0)
