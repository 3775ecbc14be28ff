"""Small, well-behaved calls of every registered operation, by dotted name.

The generic tests (derivatives, transformations, agreement of backends) run over them; an operation
without a case fails the suite. Each family keeps its cases in a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["CASES", "Case"]


@dataclass(frozen=True)
class Case:
    """One call of an operation.

    Attributes
    ----------
    op : str
        Dotted name of the operation.
    label : str
        What is special about the call.
    make : callable
        ``make(xp, rng) -> (args, kwargs)`` with arrays of the row `xp` in its widest float (made
        by `xp.asarray`) and static arguments.
    smooth : bool
        Whether the operation is differentiable at these arguments.
    """

    op: str
    label: str
    make: Callable[[Any, Any], tuple[tuple[Any, ...], dict[str, Any]]]
    smooth: bool = True

    @property
    def id(self) -> str:
        return f"{self.op}-{self.label}"


def _load() -> list[Case]:
    from . import linalg, nn, primitives, signal

    return [*primitives.CASES, *signal.CASES, *nn.CASES, *linalg.CASES]


def __getattr__(name: str) -> Any:
    if name == "CASES":
        return _load()
    raise AttributeError(name)
