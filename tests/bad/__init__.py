"""Calls with bad input of every public function: the documented result, or an error with its text.

Every module of this package holds the rows of one family, in `BAD` and `NEVER`. A row is made by
`refuse` (the error and a pattern of its text, which names the argument, what was given and what
would work) or by `gives` (the result that the documentation promises). `NEVER` says for what
reason a kind of bad input cannot occur for an operation; a test makes sure that every operation
has every kind in one of the two ways.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["BAD", "KINDS", "NEVER", "Bad", "call", "elsewhere", "gives", "host", "ones", "refuse"]

RANK, DTYPE, MIXED, STRIDE = "wrong rank", "wrong dtype", "mixed libraries", "negative stride"
LARGER, EMPTY, NAN, OBJECT = "kernel larger than signal", "zero-size", "NaN", "non-array"
KINDS = (RANK, DTYPE, MIXED, STRIDE, LARGER, EMPTY, NAN, OBJECT)


@dataclass(frozen=True)
class elsewhere:
    """Values that are to be an array of another library than the row's."""

    values: Any

    def array(self, xp: Any) -> Any:
        import array_api_strict

        table = np.asarray(self.values)
        if xp.backend != "strict":
            return array_api_strict.asarray(table)
        return table


@dataclass(frozen=True)
class host:
    """A NumPy array that stays one."""

    values: Any


@dataclass(frozen=True)
class Call:
    """Arguments, with NumPy arrays in place of the row's."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def on(self, xp: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        def given(value: Any) -> Any:
            if isinstance(value, elsewhere):
                return value.array(xp)
            if isinstance(value, host):
                return value.values
            return xp.asarray(value) if isinstance(value, np.ndarray) else value

        return tuple(map(given, self.args)), {k: given(v) for k, v in self.kwargs.items()}


@dataclass(frozen=True)
class Bad:
    """One call that is wrong, or at the edge of what is right.

    Attributes
    ----------
    op : str
        Dotted name of the public function.
    kind : str
        One of `KINDS`, or what else is wrong.
    call : Call
        The arguments.
    expected : exception class or array
        What is raised or returned.
    text : str
        Pattern of the error's text after the function's name.
    pick : callable
        What of the result is compared.
    traced : array, optional
        What a compiled call returns, where values cannot be read.
    """

    op: str
    kind: str
    call: Call
    expected: Any
    text: str = ""
    pick: Callable[[Any], Any] = lambda result: result
    traced: Any = None

    @property
    def id(self) -> str:
        return f"{self.op}-{self.kind}".replace(" ", "-")


def call(*args: Any, **kwargs: Any) -> Call:
    return Call(args, kwargs)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape)


def refuse(
    op: str, kind: str, given: Call, error: type[Exception], text: str, *, traced: Any = None
) -> Bad:
    """A call that raises."""
    return Bad(op, kind, given, error, text, traced=traced)


def gives(
    op: str, kind: str, given: Call, expected: Any, pick: Callable[[Any], Any] | None = None
) -> Bad:
    """A call that returns."""
    if pick is None:
        return Bad(op, kind, given, np.asarray(expected))
    return Bad(op, kind, given, np.asarray(expected), pick=pick)


def _load() -> tuple[list[Bad], dict[tuple[str, str], str]]:
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    rows = [row for module in modules for row in module.BAD]
    never = {(op, kind): why for module in modules for kind, why, ops in module.NEVER for op in ops}
    return rows, never


def __getattr__(name: str) -> Any:
    if name in ("BAD", "NEVER"):
        return _load()[name == "NEVER"]
    raise AttributeError(name)
