"""Toeplitz matrices and least squares."""

from .structured import (
    circulant,
    conv_matrix,
    convolution_matrix,
    correlation_matrix,
    hankel,
    toeplitz,
)

__all__ = [
    "circulant",
    "conv_matrix",
    "convolution_matrix",
    "correlation_matrix",
    "hankel",
    "toeplitz",
]
