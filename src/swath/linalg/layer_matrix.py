"""The matrix of a layer convolution: dense, sparse or an operator.

Public function -> one frozen geometry (`Layer`) -> entries by static tables -> adapter.
"""

from __future__ import annotations

from typing import Any

from .. import arguments
from .._backends import backend_of
from ..autodiff import Node
from ..errors import UnsupportedError
from ..registry import operation
from .layer_entries import dense, layer_of, sparse_rows
from .operators import ConvOperator

__all__ = ["conv_matrix"]

_FORMATS = ("dense", "csr", "operator")


@operation("linalg.conv_matrix", differentiable=("weight",), linear=("weight",))
def conv_matrix(
    weight: Any,
    spatial_shape: int | tuple[int, ...],
    *,
    stride: int | tuple[int, ...] = 1,
    padding: Any = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    format: str = "dense",
) -> Any:
    r"""The matrix of a layer convolution: blocks of Toeplitz matrices, nested once per axis.

    It maps an input of C channels and spatial shape S, flattened in C order with channels first, to
    the O channels and spatial shape S' of `swath.nn.conv`, flattened likewise::

        M[(o, i), (c, p)] = weight[o, c, j]   where p = stride·i + dilation·j − low on every axis

    and 0 where no tap j joins output i and point p.

    Parameters
    ----------
    weight : array
        (O, C/groups, \*K), 1 to 4 sliding axes, as in `swath.nn.conv` with ``channels="first"``.
    spatial_shape : int or tuple of int
        S, one entry per sliding axis.
    stride, dilation : int or tuple of int, default 1
        Step between windows; step between taps.
    padding : int, tuple or str, default 0
        As in `swath.nn.conv`: an int, one per axis, (low, high) per axis, or ``"valid"``,
        ``"same"``, ``"same_lower"``, ``"full"``, ``"causal"``. Padding is with zeros.
    groups : int, default 1
        Groups of channels that see only each other; the matrix is then block diagonal.
    format : {"dense", "csr", "operator"}, default "dense"
        An array; the library's sparse matrix, row by row (`scipy.sparse.csr_array` on NumPy,
        `cupyx.scipy.sparse.csr_matrix` on CuPy, a sparse CSR tensor on PyTorch, `BCOO` with sorted
        places on JAX); or a `ConvOperator`, which holds the weights only.

    Returns
    -------
    array, sparse matrix or ConvOperator
        (O·prod(S'), C·prod(S)) in the dtype of weight.

    Raises
    ------
    ValueError
        If O is no multiple of groups, or a dilated kernel is longer than the padded axis.
    NotImplementedError
        For ``"csr"`` where the library has no sparse matrices (array-api-strict, dpnp), or none of
        this dtype; and for all but ``"dense"`` under `swath.vjp`.

    Notes
    -----
    Dense: O·C·prod(S)·prod(S') entries. Sparse: every tap that meets a point, at most
    O·(C/groups)·prod(K)·prod(S') values with their places, those of weight 0 included, so that the
    pattern depends on shapes alone; taps in the padding have none. The values are differentiable
    where the library differentiates them: JAX and PyTorch. Nothing is conjugated. Several kernels
    stack: rows o·prod(S') … (o + 1)·prod(S') − 1 are the matrix of kernel o alone.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.linalg.conv_matrix(np.array([[[1, 2]]]), 4, stride=2)
    array([[1, 2, 0, 0],
           [0, 0, 1, 2]])
    >>> A = swath.linalg.conv_matrix(np.ones((8, 3, 5, 5)), (64, 64), padding="same", format="csr")
    >>> A.shape, A.nnz
    ((32768, 12288), 2366304)
    """
    _, weight = arguments.one_array("weight", weight)
    arguments.choice("format", format, _FORMATS)
    layer = layer_of(weight, spatial_shape, stride, padding, dilation, groups)
    if format == "dense":
        return dense(layer, weight)
    if isinstance(weight, Node):
        raise UnsupportedError(
            f"swath.vjp differentiates arrays, and format={format!r} gives none; take "
            f'format="dense", or the products of an operator: swath.vjp(A.matvec, x)'
        )
    if format == "operator":
        return ConvOperator._made(weight=weight, layer=layer)
    be = backend_of(weight)
    return be.sparse_rows(*sparse_rows(layer, weight), layer.shape)
