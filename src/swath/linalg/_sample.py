"""What a few rows of a tall matrix say of the whole, so that fewer passes over it remain.

Rows taken at even distances give a first solution and a first factor. Both are guesses: what is
made of them is corrected with all rows, and measured; where the rows taken say nothing of the rest
it only costs another pass.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .._backends import Backend
from ._rows import gram_of_rows, residual_sums, weigh
from ._scaling import (
    adjoint,
    diagonal_matrix,
    sound_columns,
    squares,
)
from ._triangles import reflected, scaled_cholesky

__all__ = ["Sample", "preview", "sample_step", "with_ridge"]

Array = Any
# Rows of a sample, at least and for each column: their solution is off by √(n / rows) of the
# residual, and their factor leaves a condition of (1 + √(n / rows)) / (1 − √(n / rows)).
_ROWS, _EACH = 1024, 2
# A sample of more than this part of the rows costs more than it saves.
_SHARE = 8


class Sample(NamedTuple):
    """What rows at even distances say.

    Attributes
    ----------
    likely : array of bool
        Whether the Gram matrix of the whole is likely to do, for all problems; no axes.
    scale, root, good : array
        D, Z with D G D ≈ (Z Zᴴ)⁻¹, and where there is such a Z: elsewhere it is the identity.
    solution, goal : array
        x₀ (..., n, k), 0 where there is no Z, and about Σ w|A x₀|², (..., 1, k).
    """

    likely: Array
    scale: Array
    root: Array
    good: Array
    solution: Array
    goal: Array


def sample_step(shape: tuple[int, ...]) -> int:
    """Distance of the rows of a sample of (..., m, n), or 1 where a sample does not pay."""
    m, n = shape[-2:]
    step = m // max(_ROWS, _EACH * n)
    return step if step >= _SHARE else 1


def with_ridge(be: Backend, tall: Array, right: Array, ridge: Array | None) -> tuple[Array, Array]:
    """√Γ appended as rows, and rows of 0 to the right-hand side."""
    if ridge is None:
        return tall, right
    root = diagonal_matrix(be, be.xp.sqrt(ridge), tall)
    none = [(0, 0)] * (right.ndim - 2) + [(0, int(root.shape[-1])), (0, 0)]
    return be.xp.concat([tall, root], axis=-2), be.pad(right, none)


def preview(
    be: Backend,
    step: int,
    limit: float,
    a: Array,
    b: Array,
    w: Array | None,
    ridge: Array | None,
    *,
    insists: bool,
) -> Sample | None:
    """What every step-th row says; `limit` is the condition up to which a Gram matrix does.

    A column without a sampled entry says nothing; the whole is tried. None where a Gram matrix is
    not known to be likely to do and the caller `insists` on it.
    """
    xp, m = be.xp, int(a.shape[-2])
    a, b, w = (None if v is None else be.packed(v[..., ::step, :]) for v in (a, b, w))
    g = step * gram_of_rows(be, a, w)
    g = g if ridge is None else g + diagonal_matrix(be, ridge, g)
    first = scaled_cholesky(be, g, m, limit)
    good = first.within(limit)
    likely = xp.all(good | ~first.usable) & (limit > 0)
    if insists and be.concrete(likely) is not True:
        return None

    def through(scale: Array, root: Array, x: Array | None) -> Array:
        """Zᴴ D AᴴW(b − A x) − Zᴴ D Γ x."""
        low = step * residual_sums(be, a, b, w, x)[0]
        if x is not None and ridge is not None:
            low = low - ridge[..., None] * x
        return be.matmul(adjoint(be, root), scale[..., None] * low)

    def solved(
        scale: Array, root: Array, good: Array, y: Array, *, once: bool
    ) -> tuple[Array, ...]:
        """The solution of y = (B Z)ᴴ √W b, refined once more or not."""
        d = scale[..., None]
        x = d * be.matmul(root, y)
        if not once:
            x = x + d * be.matmul(root, through(scale, root, x))
        fine = good[..., None, None] & xp.isfinite(x)
        return scale, root, good, xp.where(fine, x, 0 * d)

    def plain() -> tuple[Array, ...]:
        y = through(first.scale, first.root, None)
        return solved(first.scale, first.root, good, y, once=True)

    def better() -> tuple[Array, ...]:
        part = float(step) ** 0.5
        tall, right = with_ridge(be, part * weigh(be, w, a), part * weigh(be, w, b), ridge)
        return solved(*_triangle(be, tall, right), once=False)

    scale, root, good, x = be.cond(likely, plain, better)
    goal = step * squares(be, be.matmul(weigh(be, w, a), x))
    return Sample(likely, scale, root, good, x, goal)


def _triangle(be: Backend, tall: Array, right: Array) -> tuple[Array, Array, Array, Array]:
    """(D, Z, good): the triangle of a matrix with its columns scaled by powers of two D, inverted.

    Z is the identity where the matrix has not full rank to working precision. Last (B D Z)ᴴ c of
    the matrix B and a right-hand side c.
    """
    xp, n = be.xp, int(tall.shape[-1])
    tall, sound, first = sound_columns(be, tall)
    scale, (root, condition, whole, y, _) = reflected(be, tall * first[..., None, :], right)
    good = sound & whole & (condition * n * float(xp.finfo(tall.dtype).eps) < 1)
    root = xp.where(good[..., None, None], root, be.eye(n, tall))
    return first * scale, root, good, y
