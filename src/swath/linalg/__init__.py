"""Toeplitz matrices and least squares."""

from .accumulator import GramAccumulator
from .dependence import gram_report, independent_columns
from .extended import gram_extended
from .layer_matrix import conv_matrix
from .least_squares import lstsq, project
from .normal_equations import gram
from .operators import ConvolutionOperator, ConvOperator, ToeplitzOperator
from .structured import (
    circulant,
    convolution_matrix,
    correlation_matrix,
    hankel,
    toeplitz,
)
from .tall_qr import cholesky_qr
from .toeplitz_least_squares import deconvolve, identify_fir
from .toeplitz_product import matmul_toeplitz
from .toeplitz_solvers import solve_toeplitz

__all__ = [
    "ConvOperator",
    "ConvolutionOperator",
    "GramAccumulator",
    "ToeplitzOperator",
    "cholesky_qr",
    "circulant",
    "conv_matrix",
    "convolution_matrix",
    "correlation_matrix",
    "deconvolve",
    "gram",
    "gram_extended",
    "gram_report",
    "hankel",
    "identify_fir",
    "independent_columns",
    "lstsq",
    "matmul_toeplitz",
    "project",
    "solve_toeplitz",
    "toeplitz",
]
