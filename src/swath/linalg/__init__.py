"""Toeplitz matrices and least squares."""

__all__: list[str] = []
