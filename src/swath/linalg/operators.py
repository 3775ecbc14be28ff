"""Toeplitz matrices, convolutions and layer convolutions as linear operators."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, ClassVar

from .. import _ops, arguments
from ..autodiff import primal
from ..errors import ArgumentError, describe, explain
from ..geometry import Sliding, Span
from ..sliding import correlate, spread
from . import layer_entries, structured
from .layer_entries import Layer, layer_of
from .operator_algebra import Gram, Operator, container
from .toeplitz_product import diagonals, multiply

__all__ = ["ConvOperator", "ConvolutionOperator", "ToeplitzOperator"]

Array = Any


@container
class ToeplitzOperator(Operator):
    """A Toeplitz matrix as a linear operator: one vector of diagonals, products by FFT.

    Parameters
    ----------
    c : array
        First column, (M,).
    r : array, optional
        First row, (N,), of which ``r[0]`` is ignored; by default conj(c), a Hermitian matrix.

    Attributes
    ----------
    shape : tuple of int
        (M, N).
    dtype : dtype
        The common dtype of c and r.
    T, H : operator
        Transpose and conjugate transpose.

    Raises
    ------
    ValueError
        If c or r is not one vector of at least one entry.
    TypeError
        If c and r live in different libraries or on different devices.

    See Also
    --------
    toeplitz, matmul_toeplitz

    Notes
    -----
    ``A @ x`` is `matmul_toeplitz`; vectors (N,) and matrices (..., N, k). An operator goes as it is
    into `scipy.sparse.linalg` (NumPy) and `jax.scipy.sparse.linalg` (JAX), and its `matvec` into
    lineax's FunctionLinearOperator. `swath.testing.check_adjoint` takes it; `swath.vjp` takes its
    bound products, as ``swath.vjp(A.matvec, x)``. For batches of matrices: `matmul_toeplitz`.

    Examples
    --------
    >>> import numpy as np, swath
    >>> A = swath.linalg.ToeplitzOperator(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0]))
    >>> A @ np.array([1.0, 1.0]), A.T.shape
    (array([5., 3., 5.]), (2, 3))
    """

    _fields = ("c", "r")
    __swath_arrays__: ClassVar[tuple[str, ...]] = ("c", "r")
    c: Any
    r: Any

    def __init__(self, c: Any, r: Any = None) -> None:
        with explain("ToeplitzOperator", {"c": c, "r": r}):
            be, (c, r) = arguments.arrays("r", c=c, r=r)
            for name, value in (("c", c), ("r", r)):
                if value is None:
                    continue
                arguments.numeric(be, name, value)
                if value.ndim != 1 or value.shape[0] == 0:
                    raise ArgumentError(
                        f"{name} must be one vector of at least one entry, got "
                        f"{describe(primal(value))}; matmul_toeplitz takes batches"
                    )
        object.__setattr__(self, "c", c)
        object.__setattr__(self, "r", r)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, (M, N)."""
        return self.c.shape[-1], (self.c if self.r is None else self.r).shape[-1]

    @property
    def T(self) -> ToeplitzOperator:
        """The transpose."""
        be, r = self._be(), self._row()
        c, r = arguments.promote(be, self.c, r)
        column = _ops.concat([_ops.cut(c, slice(0, 1)), _ops.cut(r, slice(1, None))], axis=0)
        return ToeplitzOperator._made(c=column, r=c)

    def _row(self) -> Any:
        return _ops.conj(self.c) if self.r is None else self.r

    def _mapped(self, fn: Callable[[Any], Any]) -> Operator:
        r = None if self.r is None else fn(self.r)
        return ToeplitzOperator._made(c=fn(self.c), r=r)

    def _times(self, c: Any, r: Any, x: Any) -> Any:
        c, r, x = arguments.promote(self._be(), c, r, x)
        return multiply(diagonals(c, r), x)

    def _product(self, x: Any) -> Any:
        return self._times(self.c, self._row(), x)

    def _transposed(self, y: Any) -> Any:
        turned = self.T
        return self._times(turned.c, turned.r, y)

    def to_dense(self) -> Any:
        """The matrix (M, N) as an array."""
        return structured.toeplitz(self.c, self.r)

    def diagonal(self) -> Any:
        """The main diagonal: c[0], min(M, N) times."""
        first = _ops.cast(_ops.cut(self.c, slice(0, 1)), self.dtype)
        return _ops.broadcast_to(first, (min(self.shape),))


@container
class ConvolutionOperator(Operator):
    """Convolution of n points with a kernel as a linear operator.

    ``ConvolutionOperator(a, n, mode) @ x`` equals ``numpy.convolve(a, x, mode)`` and
    ``convolution_matrix(a, n, mode) @ x``.

    Parameters
    ----------
    a : array
        Kernel, (K,).
    n : int
        Points of x: columns.
    mode : {"full", "same", "valid"}, default "full"
        As in `convolution_matrix`.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns: (K + n − 1, n) with ``mode="full"``.
    dtype : dtype
        That of a.
    T, H : operator
        Transpose and conjugate transpose; ``A.H`` correlates.

    Raises
    ------
    ValueError
        If a is not one vector of at least one entry, n < 1 or the mode is unknown.

    See Also
    --------
    convolution_matrix, ToeplitzOperator, swath.signal.convolve

    Notes
    -----
    With ``mode="full"``, `gram` multiplies out: AᴴA is the Toeplitz matrix of a's autocorrelation,
    returned as a ToeplitzOperator. Other uses are those of `ToeplitzOperator`.

    Examples
    --------
    >>> import numpy as np, swath
    >>> A = swath.linalg.ConvolutionOperator(np.array([1.0, -1.0]), 3)
    >>> A @ np.array([1.0, 4.0, 9.0])
    array([ 1.,  3.,  5., -9.])
    >>> A.gram().to_dense()
    array([[ 2., -1.,  0.],
           [-1.,  2., -1.],
           [ 0., -1.,  2.]])
    """

    _fields = ("a",)
    __swath_arrays__: ClassVar[tuple[str, ...]] = ("a",)
    _static = ("n", "mode")
    a: Any
    n: int
    mode: str

    def __init__(self, a: Any, n: int, mode: str = "full") -> None:
        with explain("ConvolutionOperator", {"a": a}):
            be, a = arguments.one_array("a", a)
            arguments.numeric(be, "a", a)
            if a.ndim != 1 or a.shape[0] == 0:
                raise ArgumentError(
                    f"a must be one vector of at least one entry, got {describe(primal(a))}"
                )
            n = arguments.positive("n", n)
            arguments.choice("mode", mode, structured.MODES)
        object.__setattr__(self, "a", a)
        object.__setattr__(self, "n", n)
        object.__setattr__(self, "mode", mode)

    def _span(self) -> Span:
        """Of the correlation of x with the kernel turned round."""
        taps = self.a.shape[-1]
        top, bottom = structured.margins(taps, self.n, self.mode, same_as="longer")
        return Span(self.n, taps, low=taps - 1 - top, high=taps - 1 - bottom)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._span().out, self.n

    def _mapped(self, fn: Callable[[Any], Any]) -> Operator:
        return ConvolutionOperator._made(a=fn(self.a), n=self.n, mode=self.mode)

    def _kernel(self, x: Any) -> tuple[Any, Any, Sliding]:
        a, x = arguments.promote(self._be(), self.a, x)
        w = _ops.reshape(_ops.flip(a, (0,)), (1, 1, a.shape[0]))
        return w, x, Sliding((self._span(),))

    def _product(self, x: Any) -> Any:
        w, x, g = self._kernel(x)
        return _columns(x, (1,), g.lengths, lambda v: correlate(g, v, w))

    def _transposed(self, y: Any) -> Any:
        w, y, g = self._kernel(y)
        return _columns(y, (1,), g.out, lambda v: spread(g, w, v))

    def gram(self, *, ridge: Any = 0) -> Operator:
        """Aᴴ A + ridge·I; for ``mode="full"`` the Toeplitz matrix of the autocorrelation.

        Parameters
        ----------
        ridge : number or array of one number, default 0
            Added on the diagonal.

        Returns
        -------
        Operator
            (n, n), Hermitian.
        """
        found = Gram._of(self, ridge)
        if self.mode != "full":
            return found
        # c[k] = Σ_j conj(a[j]) a[j + k]
        taps = self.a.shape[0]
        g = Sliding((Span(taps, taps, high=taps - 1),))
        shape = (1, 1, taps)
        c = correlate(g, _ops.reshape(self.a, shape), _ops.conj(_ops.reshape(self.a, shape)))
        c = _ops.cut(_ops.reshape(c, (taps,)), slice(0, min(taps, self.n)))
        c = _ops.pad(c, [(0, self.n - c.shape[0])])
        c, ridge = arguments.promote(self._be(), c, found.ridge)
        first = _ops.pad(_ops.reshape(ridge, (1,)), [(0, self.n - 1)])
        return ToeplitzOperator._made(c=_ops.add(c, first), r=_ops.conj(c))

    def to_dense(self) -> Any:
        """The matrix as an array."""
        return structured.convolution_matrix(self.a, self.n, self.mode)

    def diagonal(self) -> Any:
        """The entries (d, d): one tap of the kernel, over and over."""
        top, _ = structured.margins(self.a.shape[-1], self.n, self.mode, same_as="longer")
        return _ops.broadcast_to(_ops.cut(self.a, slice(top, top + 1)), (min(self.shape),))


def _columns(
    x: Any, channels: tuple[int, ...], space: tuple[int, ...], product: Callable[[Any], Any]
) -> Any:
    """A sliding product of columns (..., n, k), each an input of its own."""
    lead, k = x.shape[:-2], x.shape[-1]
    order = (*range(len(lead)), len(lead) + 1, len(lead))
    v = _ops.reshape(_ops.permute(x, order), (prod(lead) * k, *channels, *space))
    y = product(v)
    return _ops.permute(_ops.reshape(y, (*lead, k, prod(y.shape[1:]))), order)


@container
class ConvOperator(Operator):
    r"""A layer convolution as a linear operator on flattened inputs.

    It is the matrix of `conv_matrix`: ``ConvOperator(weight, S) @ x.reshape(-1)`` equals
    ``swath.nn.conv(x, weight).reshape(-1)`` for one x of (C, \*S), and ``A.T`` is
    `swath.nn.conv_transpose`.

    Parameters
    ----------
    weight : array
        (O, C/groups, \*K), 1 to 4 sliding axes.
    spatial_shape : int or tuple of int
        S, one entry per sliding axis.
    stride, dilation : int or tuple of int, default 1
        Step between windows; step between taps.
    padding : int, tuple or str, default 0
        With zeros, as in `swath.nn.conv`.
    groups : int, default 1
        Groups of channels that see only each other.

    Attributes
    ----------
    shape : tuple of int
        (O·prod(S'), C·prod(S)).
    in_shape, out_shape : tuple of int
        (C, \*S) and (O, \*S'): what columns are reshaped from and what products are reshaped to.
    dtype : dtype
        That of weight.
    T, H : operator
        Transpose and conjugate transpose.

    Raises
    ------
    ValueError
        If O is no multiple of groups, or a dilated kernel is longer than the padded axis.

    See Also
    --------
    conv_matrix, swath.nn.conv, swath.nn.conv_transpose

    Notes
    -----
    Nothing is conjugated but by ``A.H`` and `rmatvec`. Uses are those of `ToeplitzOperator`.

    Examples
    --------
    >>> import numpy as np, swath
    >>> blur = swath.linalg.ConvOperator(np.ones((1, 1, 3, 3)) / 9, (4, 4), padding="same")
    >>> blur.shape, float((blur @ np.ones(16))[5].round(12))
    ((16, 16), 1.0)
    """

    _fields = ("weight",)
    __swath_arrays__: ClassVar[tuple[str, ...]] = ("weight",)
    _static = ("layer",)
    weight: Any
    layer: Layer

    def __init__(
        self,
        weight: Any,
        spatial_shape: int | tuple[int, ...],
        *,
        stride: int | tuple[int, ...] = 1,
        padding: Any = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
    ) -> None:
        with explain("ConvOperator", {"weight": weight}):
            be, weight = arguments.one_array("weight", weight)
            arguments.numeric(be, "weight", weight)
            layer = layer_of(weight, spatial_shape, stride, padding, dilation, groups)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "layer", layer)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, (O·prod(S'), C·prod(S))."""
        return self.layer.shape

    @property
    def in_shape(self) -> tuple[int, ...]:
        r"""(C, \*S)."""
        return (self.layer.groups * self.layer.depth, *self.layer.space)

    @property
    def out_shape(self) -> tuple[int, ...]:
        r"""(O, \*S')."""
        return (self.layer.rows, *self.layer.out)

    def _mapped(self, fn: Callable[[Any], Any]) -> Operator:
        return ConvOperator._made(weight=fn(self.weight), layer=self.layer)

    def _product(self, x: Any) -> Any:
        w, x = arguments.promote(self._be(), self.weight, x)
        g = self.layer.sliding
        return _columns(x, self.in_shape[:1], g.lengths, lambda v: correlate(g, v, w))

    def _transposed(self, y: Any) -> Any:
        w, y = arguments.promote(self._be(), self.weight, y)
        g = self.layer.sliding
        return _columns(y, self.out_shape[:1], g.out, lambda v: spread(g, w, v))

    def to_dense(self) -> Any:
        """The matrix as an array, as `conv_matrix` gives it."""
        return layer_entries.dense(self.layer, self.weight)

    def diagonal(self) -> Any:
        """The entries (d, d)."""
        return layer_entries.diagonal(self.layer, self.weight)
