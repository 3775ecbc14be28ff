"""Small, well-behaved calls of every registered operation, by dotted name.

The generic tests (derivatives, transformations, agreement of backends) run over them; an operation
without a case fails the suite. Every module of this package holds the cases of one family, in
`CASES`.
"""

from __future__ import annotations

import importlib
import pkgutil
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
    modules = sorted(m.name for m in pkgutil.iter_modules(__path__))
    return [c for m in modules for c in importlib.import_module(f"{__name__}.{m}").CASES]


def __getattr__(name: str) -> Any:
    if name == "CASES":
        return _load()
    raise AttributeError(name)
