"""A least-squares problem as `factorise` sees it: its arrays, and how to go about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._backends import Backend
from ._rows import by_rows, gram_of_rows, weigh
from ._sample import with_ridge
from ._scaling import adjoint, diagonal_matrix, scaled_root

__all__ = ["Equations", "Recipe", "System"]

Array = Any


@dataclass(frozen=True)
class System:
    """Geometry of a least-squares problem.

    Attributes
    ----------
    weighted, ridged : bool
        Whether weights (..., m) and ridge (..., n) are among the arrays.
    wide : bool
        Fewer rows than columns and no ridge: the minimum-norm solution through AAᴴ.
    """

    weighted: bool
    ridged: bool
    wide: bool

    def named(self, arrays: Sequence[Any]) -> tuple[Any, Any, Any, Any, list[Any]]:
        """A, b, weights and ridge, None where there are none, and what follows them."""
        a, b, *rest = arrays
        w = rest.pop(0) if self.weighted else None
        ridge = rest.pop(0) if self.ridged else None
        return a, b, w, ridge, rest


@dataclass(frozen=True)
class Recipe:
    """How `factorise` is to go.

    Attributes
    ----------
    system : System
        Which arrays there are.
    method : str
        As in `lstsq`.
    rcond, most : float
        The threshold of the rank, and the largest condition at which it needs no singular values.
    blocks, step : int
        Blocks of rows of a pass; distance of the rows of a sample, 1 for none.
    limit : float
        The largest condition at which the Gram matrix does.
    reflects, tries : bool
        Whether Householder QR stands for CholeskyQR, and whether the Gram matrix is tried before:
        of one matrix only where a sample of its rows thinks it likely to do.
    looks : bool
        Whether a few problems of the batch tell beforehand if the Gram matrices are to be tried.
    """

    system: System
    method: str
    rcond: float
    most: float
    blocks: int
    step: int
    limit: float
    reflects: bool
    tries: bool
    looks: bool


@dataclass(frozen=True)
class Equations:
    """The arrays of a problem beside its recipe.

    Attributes
    ----------
    be, recipe
        The backend, and how to go.
    a, b : array
        (..., m, n) and (..., m, k).
    w, ridge : array or None
        Weights as a column (..., m, 1), and (..., n).
    """

    be: Backend
    recipe: Recipe
    a: Array
    b: Array
    w: Array | None
    ridge: Array | None

    @classmethod
    def of(cls, be: Backend, recipe: Recipe, given: Sequence[Array]) -> Equations:
        """From arrays as `System.named` takes them."""
        a, b, w, ridge, _ = recipe.system.named(given)
        return cls(be, recipe, a, b, None if w is None else w[..., None], ridge)

    @property
    def wide(self) -> bool:
        """As of `System`."""
        return self.recipe.system.wide

    @property
    def eps(self) -> float:
        """Of the dtype."""
        return float(self.be.xp.finfo(self.a.dtype).eps)

    @property
    def full_rank(self) -> Array:
        """Columns of B, for every problem."""
        a, be = self.a, self.be
        columns = int(a.shape[-2] if self.wide else a.shape[-1])
        return be.new_like(a, tuple(a.shape[:-2]), dtype=be.default_int(a), fill=columns)

    def every(self, step: int) -> Equations:
        """Every step-th problem of the batch."""
        named = ((k, getattr(self, k)) for k in ("a", "b", "w", "ridge"))
        return replace(self, **{k: None if v is None else v[::step, ...] for k, v in named})

    def passed(self, function: Callable[..., tuple[Array, ...]]) -> tuple[Array, ...]:
        """The sums of function(a, b, w) over blocks of rows."""
        return by_rows(self.be, self.recipe.blocks, function, self.a, self.b, self.w)

    def tall(self) -> tuple[Array, Array]:
        """B, the tall matrix of the problem, and √W b, with zeros where B has rows of √Γ."""
        be = self.be
        tall, right = weigh(be, self.w, self.a), weigh(be, self.w, self.b)
        return (adjoint(be, tall), right) if self.wide else with_ridge(be, tall, right, self.ridge)

    def gram(self) -> Array:
        """The Gram matrix of B, in one piece, of a problem that is not wide."""
        return self.ridged(gram_of_rows(self.be, self.a, self.w))

    def ridged(self, g: Array, z: Array | None = None) -> Array:
        """The Gram matrix g of √W A, or of √W A Z, with Γ or Zᴴ Γ Z added."""
        be = self.be
        if self.ridge is None:
            return g
        if z is None:
            return g + diagonal_matrix(be, self.ridge, g)
        v = scaled_root(be, be.xp.sqrt(self.ridge), z)
        return g + be.matmul(adjoint(be, v), v)
