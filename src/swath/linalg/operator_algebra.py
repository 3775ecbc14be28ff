"""Linear operators: products without a matrix, and what can be made of two of them.

An operator is a frozen container of arrays (a pytree for JAX) with two linear maps, `_product` and
its transpose, on columns (..., n, k). Everything else (H, rmatvec, composition, sums) is made of
these two and of conjugates here.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from numbers import Number
from typing import Any, ClassVar, Self, TypeVar

from .. import _ops, arguments
from .._backends import Backend, backend_of, register_result, try_backend
from ..autodiff import primal
from ..errors import ArgumentError, ArgumentTypeError, describe, explain

__all__ = ["Gram", "Operator", "Product", "Scaled", "Sum", "Transposed", "container"]

Array = Any
C = TypeVar("C", bound="Operator")


def container(cls: type[C]) -> type[C]:
    """Make an operator class a container that JAX's transformations look into."""
    register_result(cls, cls._fields, cls._static, cls._made)
    return cls


def _kind(be: Backend, kinds: list[Any]) -> Any:
    """The dtype that arrays meet in: integers beside floats have no say."""
    pool = [k for k in kinds if be.is_floating(k)] or kinds
    found = pool[0]
    for other in pool[1:]:
        found = found if found == other else be.xp.result_type(found, other)
    return found


class Operator:
    """A linear map of n numbers to m, known by its products.

    ``A @ x`` multiplies a vector (n,) or matrices (..., n, k), ``x @ A`` from the other side;
    ``A @ B``, ``A + B``, ``A − B``, ``2 * A``, ``−A`` make new operators, ``A.T`` and ``A.H`` the
    transpose and the conjugate transpose. Operators are immutable. They follow the protocol of
    `scipy.sparse.linalg.aslinearoperator` (shape, dtype, matvec, rmatvec, matmat, rmatmat), and
    they are callables, as `jax.scipy.sparse.linalg` takes them, and pytrees for JAX.
    """

    # NumPy leaves `ndarray @ A` and `scalar * A` to A.
    __array_ufunc__: ClassVar[None] = None
    #: `swath.vjp` takes the products as operations that are linear in x.
    __swath_linear__: ClassVar[bool] = True
    #: Arrays or operators inside, and hashable settings.
    _fields: ClassVar[tuple[str, ...]] = ()
    _static: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def _made(cls, **values: Any) -> Self:
        """An operator of parts that need no checks."""
        self = object.__new__(cls)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable; make a new one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __repr__(self) -> str:
        try:
            m, n = self.shape
            return f"<{type(self).__name__} {m} × {n}, {self._be().name_of(self.dtype)}>"
        except (AttributeError, StopIteration, TypeError):  # a pytree whose leaves are no arrays
            return f"<{type(self).__name__} of {[getattr(self, f) for f in self._fields]}>"

    # -- what a class gives --------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, (m, n)."""
        raise NotImplementedError

    def _product(self, x: Any) -> Any:
        """A x for columns (..., n, k)."""
        raise NotImplementedError

    def _transposed(self, y: Any) -> Any:
        """Aᵀ y for columns (..., m, k)."""
        raise NotImplementedError

    def _mapped(self, fn: Callable[[Any], Any]) -> Operator:
        """The operator of the same kind whose entries are fn of these; fn(0) = 0."""
        raise NotImplementedError

    def _leaves(self) -> dict[str, Any]:
        """Arrays inside, by name."""
        found = {}
        for name in self._fields:
            value = getattr(self, name)
            if isinstance(value, Operator):
                found.update({f"{name}.{k}": v for k, v in value._leaves().items()})
            elif value is not None:
                found[name] = value
        return found

    # -- properties ----------------------------------------------------------------------------

    def _be(self) -> Backend:
        return backend_of(self._anchor())

    def _anchor(self) -> Array:
        return primal(next(iter(self._leaves().values())))

    def _like(self) -> Array:
        """An array of the operator's library, device and dtype."""
        return self._be().new_like(self._anchor(), (), dtype=self.dtype)

    @property
    def ndim(self) -> int:
        """Two."""
        return 2

    @property
    def dtype(self) -> Any:
        """The dtype of the matrix."""
        return _kind(self._be(), [v.dtype for v in self._leaves().values()])

    @property
    def T(self) -> Operator:
        """The transpose."""
        return Transposed._made(base=self)

    @property
    def H(self) -> Operator:
        """The conjugate transpose."""
        return self.conj().T

    def conj(self) -> Operator:
        """The conjugate; a real operator itself."""
        if not any(self._be().is_complex(primal(v)) for v in self._leaves().values()):
            return self
        return self._mapped(_ops.conj)

    def transpose(self) -> Operator:
        """The transpose, as `T`."""
        return self.T

    def adjoint(self) -> Operator:
        """The conjugate transpose, as `H`."""
        return self.H

    # -- products ------------------------------------------------------------------------------

    def _given(self, method: str, x: Any, *, vector: bool | None, length: int) -> Any:
        """x as an array beside the operator's, with the wanted number of rows."""
        leaves = self._leaves()
        name = type(self).__name__
        with explain(f"{name}.{method}", {"x": x}):
            be, values = arguments.arrays(**leaves, x=x)
            x = values[-1]
            arguments.numeric(be, "x", x)
            rows = None if x.ndim == 0 else x.shape[0 if x.ndim == 1 else -2]
            columns = x.ndim == 1 or (x.ndim == 2 and x.shape[1] == 1)
            if vector and not (columns and rows == length):
                raise ArgumentError(
                    f"x must be ({length},) or ({length}, 1) for an operator of shape "
                    f"{self.shape}, got {describe(primal(x))}"
                )
            if vector is False and x.ndim < 2:
                raise ArgumentError(
                    f"x must be (..., {length}, k) for an operator of shape {self.shape}, got "
                    f"{describe(primal(x))}"
                )
            if rows != length:
                raise ArgumentError(
                    f"x must be ({length},) or (..., {length}, k) for an operator of shape "
                    f"{self.shape}, got {describe(primal(x))}"
                )
        return x

    def _apply(self, x: Any, product: Callable[[Any], Any]) -> Any:
        if x.ndim == 1:
            y = product(_ops.reshape(x, (*x.shape, 1)))
            return _ops.reshape(y, y.shape[:-1])
        return product(x)

    def matvec(self, x: Any) -> Any:
        """A x for a vector.

        Parameters
        ----------
        x : array
            (n,) or (n, 1).

        Returns
        -------
        array
            (m,) or (m, 1).
        """
        return self._apply(self._given("matvec", x, vector=True, length=self.shape[1]), self._dot)

    def matmat(self, x: Any) -> Any:
        """A X for matrices.

        Parameters
        ----------
        x : array
            (..., n, k).

        Returns
        -------
        array
            (..., m, k).
        """
        return self._dot(self._given("matmat", x, vector=False, length=self.shape[1]))

    def rmatvec(self, x: Any) -> Any:
        """Aᴴ x for a vector.

        Parameters
        ----------
        x : array
            (m,) or (m, 1).

        Returns
        -------
        array
            (n,) or (n, 1).
        """
        given = self._given("rmatvec", x, vector=True, length=self.shape[0])
        return self._apply(given, self._adjoint)

    def rmatmat(self, x: Any) -> Any:
        """Aᴴ X for matrices.

        Parameters
        ----------
        x : array
            (..., m, k).

        Returns
        -------
        array
            (..., n, k).
        """
        return self._adjoint(self._given("rmatmat", x, vector=False, length=self.shape[0]))

    # SciPy's subclasses give their products under these names, and PyLops calls them.
    _matvec, _rmatvec, _matmat, _rmatmat = matvec, rmatvec, matmat, rmatmat

    def dot(self, x: Any) -> Any:
        """A @ x, of an array or an operator."""
        found = self.__matmul__(x)
        if found is NotImplemented:
            raise ArgumentTypeError(f"{type(self).__name__}.dot: x must be an array or an operator")
        return found

    def _dot(self, x: Any) -> Any:
        if 0 in (*x.shape, *self.shape):
            return self._nothing(x, self.shape[0])
        return self._product(x)

    def _adjoint(self, y: Any) -> Any:
        if 0 in (*y.shape, *self.shape):
            return self._nothing(y, self.shape[1])
        return _ops.conj(self._transposed(_ops.conj(y)))

    def _nothing(self, x: Any, rows: int) -> Any:
        kind = _kind(self._be(), [self.dtype, x.dtype])
        return _ops.vacant((*x.shape[:-2], rows, x.shape[-1]), x, dtype=kind)

    def __call__(self, x: Any) -> Any:
        """A @ x."""
        return self @ x

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, Operator):
            return Product._joined(self, other)
        if try_backend(primal(other)) is None and not isinstance(other, list | tuple | Number):
            return NotImplemented
        x = self._given("__matmul__", other, vector=None, length=self.shape[1])
        return self._apply(x, self._dot)

    def __rmatmul__(self, other: Any) -> Any:
        if try_backend(primal(other)) is None and not isinstance(other, list | tuple):
            return NotImplemented
        with explain(f"{type(self).__name__}.__rmatmul__", {"x": other}):
            _, values = arguments.arrays(**self._leaves(), x=other)
        x, turned = values[-1], self.T
        if x.ndim == 0 or x.shape[-1] != self.shape[0]:
            raise ArgumentError(
                f"{type(self).__name__}.__rmatmul__: x must be (..., {self.shape[0]}) to stand "
                f"before an operator of shape {self.shape}, got {describe(primal(x))}"
            )
        if x.ndim == 1:
            return turned @ x
        order = (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)
        return _ops.permute(turned @ _ops.permute(x, order), order)

    # -- algebra -------------------------------------------------------------------------------

    def __mul__(self, factor: Any) -> Any:
        return Scaled._of(self, factor)

    def __rmul__(self, factor: Any) -> Any:
        return Scaled._of(self, factor)

    def __truediv__(self, factor: Any) -> Any:
        if not isinstance(factor, Number):
            with explain(f"{type(self).__name__}.__truediv__", {}):
                anchor = self._anchor()
                be, (factor, _) = arguments.arrays(factor=factor, A=anchor)
                arguments.numeric(be, "factor", factor)
                if not be.is_floating(factor.dtype):
                    # An integer has no reciprocal among integers.
                    factor, _ = arguments.floating(be, factor, anchor)
            return Scaled._of(self, _ops.power(factor, -1))
        return Scaled._of(self, 1 / factor)  # type: ignore[operator]

    def __neg__(self) -> Operator:
        return Scaled._of(self, -1)

    def __add__(self, other: Any) -> Any:
        return Sum._joined(self, other) if isinstance(other, Operator) else NotImplemented

    def __sub__(self, other: Any) -> Any:
        return Sum._joined(self, -other) if isinstance(other, Operator) else NotImplemented

    def gram(self, *, ridge: Any = 0) -> Operator:
        """Aᴴ A + ridge·I, the operator of the normal equations.

        Parameters
        ----------
        ridge : number or array of one number, default 0
            Added on the diagonal.

        Returns
        -------
        Operator
            (n, n), Hermitian; nothing is multiplied out.
        """
        return Gram._of(self, ridge)

    def to_dense(self) -> Any:
        """The matrix (m, n) as an array."""
        be, n = self._be(), self.shape[1]
        return self._dot(be.eye(n, self._like()))

    def diagonal(self) -> Any:
        """The entries (d, d), (min(m, n),)."""
        return _diagonal_of(self.to_dense())


def _diagonal_of(matrix: Any) -> Any:
    count = min(matrix.shape)
    matrix = _ops.cut(matrix, slice(0, count), slice(0, count))
    # Entries d·(count + 1) of the flat matrix.
    flat = _ops.reshape(matrix, (count * count,))
    return _ops.cut(flat, slice(0, count * count, count + 1)) if count else flat


def _same_library(left: Operator, right: Operator) -> None:
    """Refuse operators of two libraries or devices."""
    named = {f"left.{k}": v for k, v in left._leaves().items()}
    named |= {f"right.{k}": v for k, v in right._leaves().items()}
    arguments.arrays(**named)


@container
class Transposed(Operator):
    """The transpose of an operator."""

    _fields = ("base",)
    base: Operator

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        m, n = self.base.shape
        return n, m

    @property
    def T(self) -> Operator:
        """The transpose."""
        return self.base

    def _product(self, x: Any) -> Any:
        return self.base._transposed(x)

    def _transposed(self, y: Any) -> Any:
        return self.base._product(y)

    def _mapped(self, fn: Callable[[Any], Any]) -> Operator:
        return self.base._mapped(fn).T

    def to_dense(self) -> Any:
        """The matrix as an array."""
        return _ops.permute(self.base.to_dense(), (1, 0))

    def diagonal(self) -> Any:
        """The entries (d, d)."""
        return self.base.diagonal()


@container
class Product(Operator):
    """One operator after another."""

    _fields = ("left", "right")
    left: Operator
    right: Operator

    @classmethod
    def _joined(cls, left: Operator, right: Operator) -> Product:
        with explain("__matmul__", {}):
            if left.shape[1] != right.shape[0]:
                raise ArgumentError(
                    f"operators of shapes {left.shape} and {right.shape} do not compose: "
                    f"{left.shape[1]} columns meet {right.shape[0]} rows"
                )
            _same_library(left, right)
        return cls._made(left=left, right=right)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.left.shape[0], self.right.shape[1]

    @property
    def T(self) -> Operator:
        """The transpose."""
        return Product._made(left=self.right.T, right=self.left.T)

    def conj(self) -> Operator:
        """The conjugate."""
        return Product._made(left=self.left.conj(), right=self.right.conj())

    def _product(self, x: Any) -> Any:
        return self.left._dot(self.right._dot(x))

    def _transposed(self, y: Any) -> Any:
        return self.right._transposed(self.left._transposed(y))

    def to_dense(self) -> Any:
        """The matrix as an array."""
        return self.left._dot(self.right.to_dense())


@container
class Sum(Operator):
    """Two operators added."""

    _fields = ("left", "right")
    left: Operator
    right: Operator

    @classmethod
    def _joined(cls, left: Operator, right: Operator) -> Sum:
        with explain("__add__", {}):
            if left.shape != right.shape:
                raise ArgumentError(
                    f"operators of shapes {left.shape} and {right.shape} cannot be added"
                )
            _same_library(left, right)
        return cls._made(left=left, right=right)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.left.shape

    @property
    def T(self) -> Operator:
        """The transpose."""
        return Sum._made(left=self.left.T, right=self.right.T)

    def conj(self) -> Operator:
        """The conjugate."""
        return Sum._made(left=self.left.conj(), right=self.right.conj())

    def _product(self, x: Any) -> Any:
        return _total(self._be(), self.left._product(x), self.right._product(x))

    def _transposed(self, y: Any) -> Any:
        return _total(self._be(), self.left._transposed(y), self.right._transposed(y))

    def to_dense(self) -> Any:
        """The matrix as an array."""
        return _total(self._be(), self.left.to_dense(), self.right.to_dense())

    def diagonal(self) -> Any:
        """The entries (d, d)."""
        return _total(self._be(), self.left.diagonal(), self.right.diagonal())


def _total(be: Backend, a: Any, b: Any) -> Any:
    return _ops.add(*arguments.promote(be, a, b))


def _times(be: Backend, factor: Any, x: Any) -> Any:
    return _ops.multiply(*arguments.promote(be, factor, x))


def _one_number(name: str, value: Any, base: Operator) -> Any:
    """A number beside the arrays of an operator, of its dtype where that can hold it."""
    be, (value, _) = arguments.arrays(**{name: value, "A": base._like()})
    arguments.numeric(be, name, value)
    if prod(value.shape) != 1:
        raise ArgumentTypeError(
            f"{name} must be one number, got {describe(primal(value))}; A @ x applies the operator"
        )
    return _ops.reshape(value, ())


@container
class Scaled(Operator):
    """An operator times a number."""

    _fields = ("base", "factor")
    base: Operator
    factor: Any

    @classmethod
    def _of(cls, base: Operator, factor: Any) -> Scaled:
        with explain(f"{type(base).__name__}.__mul__", {"factor": factor}):
            if isinstance(factor, Operator):
                raise ArgumentTypeError("factor must be a number; A @ B composes operators")
            return cls._made(base=base, factor=_one_number("factor", factor, base))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.base.shape

    @property
    def T(self) -> Operator:
        """The transpose."""
        return Scaled._made(base=self.base.T, factor=self.factor)

    def conj(self) -> Operator:
        """The conjugate."""
        return Scaled._made(base=self.base.conj(), factor=_ops.conj(self.factor))

    def _mapped(self, fn: Callable[[Any], Any]) -> Operator:
        # Only for conjugates and squared sizes, which respect products.
        return Scaled._made(base=self.base._mapped(fn), factor=fn(self.factor))

    def _product(self, x: Any) -> Any:
        return _times(self._be(), self.factor, self.base._product(x))

    def _transposed(self, y: Any) -> Any:
        return _times(self._be(), self.factor, self.base._transposed(y))

    def to_dense(self) -> Any:
        """The matrix as an array."""
        return _times(self._be(), self.factor, self.base.to_dense())

    def diagonal(self) -> Any:
        """The entries (d, d)."""
        return _times(self._be(), self.factor, self.base.diagonal())


@container
class Gram(Operator):
    """Aᴴ A + ridge·I, Hermitian."""

    _fields = ("base", "ridge")
    base: Operator
    ridge: Any

    @classmethod
    def _of(cls, base: Operator, ridge: Any) -> Gram:
        with explain(f"{type(base).__name__}.gram", {"ridge": ridge}):
            return cls._made(base=base, ridge=_one_number("ridge", ridge, base))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        n = self.base.shape[1]
        return n, n

    @property
    def T(self) -> Operator:
        """The transpose."""
        return Gram._made(base=self.base.conj(), ridge=self.ridge)

    @property
    def H(self) -> Operator:
        """The conjugate transpose."""
        return Gram._made(base=self.base, ridge=_ops.conj(self.ridge))

    def conj(self) -> Operator:
        """The conjugate."""
        return Gram._made(base=self.base.conj(), ridge=_ops.conj(self.ridge))

    def _product(self, x: Any) -> Any:
        be = self._be()
        return _total(be, self.base._adjoint(self.base._dot(x)), _times(be, self.ridge, x))

    def _transposed(self, y: Any) -> Any:
        be = self._be()
        product = _ops.conj(self.base._adjoint(self.base._dot(_ops.conj(y))))
        return _total(be, product, _times(be, self.ridge, y))

    def diagonal(self) -> Any:
        """The entries (d, d)."""
        be = self._be()
        try:
            squares = self.base._mapped(_ops.squared_size)
        except NotImplementedError:
            return super().diagonal()
        # Σ_i |A[i, j]|²: the transpose of the squared sizes, of ones.
        ones = be.new_like(squares._like(), (self.base.shape[0], 1), fill=1)
        sums = squares.T._dot(ones)
        return _total(be, _ops.reshape(sums, sums.shape[:1]), self.ridge)
