"""Small pieces that the least-squares modules share, on plain arrays."""

from __future__ import annotations

from typing import Any

from .._backends import Backend

__all__ = [
    "adjoint",
    "column_scales",
    "default_rcond",
    "diagonal",
    "identity",
    "power_of_two",
    "scaled_gram",
]

Array = Any


def adjoint(be: Backend, a: Array) -> Array:
    """Conjugate transpose."""
    t = be.xp.matrix_transpose(a)
    return be.xp.conj(t) if be.is_complex(a) else t


def identity(be: Backend, n: int, like: Array) -> Array:
    """The identity as booleans beside `like`."""
    i = be.arange(n, like, be.default_int(like))
    return i[:, None] == i[None, :]


def diagonal(be: Backend, g: Array) -> Array:
    """The real diagonal of Hermitian matrices."""
    xp = be.xp
    real = xp.real(g) if be.is_complex(g) else g
    return xp.sum(xp.where(identity(be, g.shape[-1], g), real, xp.zeros_like(real)), axis=-1)


def power_of_two(be: Backend, size: Array, share: float) -> Array:
    """2 to the −⌊share·log2(size)⌋: scaling by it rounds nothing; 1 where size is not positive."""
    xp = be.xp
    good = (size > 0) & xp.isfinite(size)
    safe = xp.where(good, size, xp.ones_like(size))
    two = be.new_like(safe, (), fill=2.0)
    return two ** (-xp.floor(share * xp.log2(safe)))


def column_scales(be: Backend, a: Array) -> Array:
    """Powers of two (..., n) that bring every column's largest entry to between 1 and 2."""
    return power_of_two(be, be.xp.max(be.xp.abs(a), axis=-2), 1.0)


def default_rcond(be: Backend, a: Array) -> float:
    """max(m, n)·eps, NumPy's and LAPACK's usual choice."""
    return max(a.shape[-2:]) * float(be.xp.finfo(a.dtype).eps)


def scaled_gram(be: Backend, a: Array) -> Array:
    """aᴴa, Hermitian bit for bit."""
    g = be.matmul(adjoint(be, a), a)
    return 0.5 * g + 0.5 * adjoint(be, g)
