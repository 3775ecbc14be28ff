"""What a few rows of a tall matrix say of the whole, so that fewer passes over it remain.

Rows taken at even distances give a first solution and a first factor. Both are guesses: what is
made of them is corrected with all rows, and measured; where the rows taken say nothing of the rest
it only costs another pass.
"""

from __future__ import annotations

from typing import Any

from .._backends import Backend
from ._scaling import all_finite, column_scales, diagonal, identity

__all__ = ["guess", "sample_step", "sampled", "weigh", "with_ridge"]

Array = Any
# Rows of a sample, at least and for each column: their solution is off by √(n / rows) of the
# residual, and their factor leaves a condition of (1 + √(n / rows)) / (1 − √(n / rows)).
_ROWS, _EACH = 1024, 2
# A sample of more than this part of the rows costs more than it saves.
_SHARE = 8


def sample_step(shape: tuple[int, ...]) -> int:
    """Distance of the rows of a sample of (..., m, n), or 1 where a sample does not pay."""
    m, n = shape[-2:]
    step = m // max(_ROWS, _EACH * n)
    return step if step >= _SHARE else 1


def sampled(step: int, *arrays: Array | None) -> list[Array | None]:
    """Every step-th row."""
    return [None if v is None else v[..., ::step, :] for v in arrays]


def weigh(be: Backend, w: Array | None, v: Array) -> Array:
    """√W v with w a column, or v."""
    return v if w is None else be.xp.astype(be.xp.sqrt(w), v.dtype) * v


def with_ridge(be: Backend, tall: Array, ridge: Array | None) -> Array:
    """√Γ appended as rows."""
    if ridge is None:
        return tall
    xp, eye = be.xp, identity(be, tall.shape[-1], tall)
    root = xp.sqrt(ridge)[..., None]
    diagonal_rows = xp.astype(xp.where(eye, root, xp.zeros_like(root)), tall.dtype)
    return xp.concat([tall, diagonal_rows], axis=-2)


def guess(
    be: Backend, step: int, a: Array, w: Array | None, ridge: Array | None
) -> tuple[Array, Array, Array]:
    """(D, Z, good): the triangle of a sample with its columns scaled by powers of two D, inverted.

    Z is the identity where the sample has not full rank.
    """
    xp = be.xp
    a, w = sampled(step, a, w)
    tall = with_ridge(be, float(step) ** 0.5 * weigh(be, w, a), ridge)
    fine = all_finite(be, tall)[..., None, None]
    tall = xp.where(fine, tall, xp.zeros_like(tall))
    scale = column_scales(be, tall)
    _, r = xp.linalg.qr(tall * xp.astype(scale, tall.dtype)[..., None, :], mode="reduced")
    size, eps = diagonal(be, xp.abs(r)), float(xp.finfo(r.dtype).eps)
    good = xp.all(size > eps * xp.max(size, axis=-1, keepdims=True), axis=-1)
    eye = xp.astype(identity(be, r.shape[-1], r), r.dtype)
    eye = xp.broadcast_to(eye, tuple(r.shape))
    z = be.solve_triangular(xp.where(good[..., None, None], r, eye), eye, lower=False)
    return scale, z, good
