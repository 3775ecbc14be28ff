"""Steps of refinement: what one adds to a solution, and what it leaves, from Z with G⁺ ≈ Z Zᴴ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._backends import Backend
from ._equations import System
from ._scaling import adjoint, real_product, squares

__all__ = ["Steps", "of_ridge", "reduced"]

Array = Any


def reduced(be: Backend, root: Array, scale: Array, low: Array) -> Array:
    """Zᴴ D z, with z behind D in the columns of B."""
    return be.matmul(adjoint(be, root), scale[..., None] * low)


def of_ridge(be: Backend, ridge: Array, u: Array, v: Array) -> Array:
    """Re uᴴ Γ v, one for each column."""
    part = real_product(be, ridge[..., None] * u, v)
    return be.xp.sum(part, axis=-2, keepdims=True, dtype=part.dtype)


@dataclass(frozen=True)
class Steps:
    """Steps of one system.

    Attributes
    ----------
    be, system
        The backend, and which arrays there are.
    root, scale : array
        Z and D.
    ridge : array or None
        Γ.
    """

    be: Backend
    system: System
    root: Array
    scale: Array
    ridge: Array | None

    def correction(self, x: Array | None, low: Array, square: Array) -> tuple[Array, Array, Array]:
        """One step from x: dx = D Z Zᴴ D z, z = low − Γ x; Σ w|r|² after it; its size Σ|Zᴴ D z|².

        `low` is AᴴW r at x, or at 0 where x is None, and `square` Σ w|r|² there, which rounding may
        bring below 0. Of a wide system dx is in the unknowns of AAᴴ, and the square is left as it
        is.
        """
        if self.ridge is not None and x is not None:
            low = low - self.ridge[..., None] * x
        return self.moved(x, reduced(self.be, self.root, self.scale, low), square)

    def moved(self, x: Array | None, y: Array, square: Array) -> tuple[Array, Array, Array]:
        """The rest of `correction`, from y = Zᴴ D z."""
        be, ridge = self.be, self.ridge
        change, now = self.scale[..., None] * be.matmul(self.root, y), squares(be, y)
        if self.system.wide:
            return change, square, now
        # Σ w|r − A dx|² = Σ w|r|² − 2 Re dxᴴ AᴴW r + dxᴴ AᴴWA dx, where dxᴴ (AᴴW r − Γ x) = |y|²
        # and Zᴴ(AᴴWA + Γ)Z = 1.
        square = square - now
        if ridge is not None:
            square = square - of_ridge(be, ridge, change, change if x is None else change + 2 * x)
        return change, square, now
