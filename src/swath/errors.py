"""The exceptions of swath, and the one wrapper that says which operation raised them.

A check raises `ArgumentError` (a ValueError), `ArgumentTypeError` (a TypeError) or
`UnsupportedError` (a NotImplementedError) with a text that names the argument, what was given and
what would work. `explain` adds the operation's name in front and the shapes behind.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "RankDeficientError",
    "SingularError",
    "UnsupportedError",
    "describe",
    "explain",
    "not_among",
]


class ArgumentError(ValueError):
    """An argument has the right type and a value that cannot work."""


class ArgumentTypeError(TypeError):
    """An argument has a type that cannot work, or arguments come from different places."""


class UnsupportedError(NotImplementedError):
    """The request is meaningful, and swath does not do it; the text names the nearest route."""


class RankDeficientError(np.linalg.LinAlgError):
    """The columns of a matrix are dependent where independent ones were asked for."""


class SingularError(np.linalg.LinAlgError):
    """A square system has no solution to working precision, or none that the method reaches."""


_OURS = (ArgumentError, ArgumentTypeError, UnsupportedError, RankDeficientError, SingularError)


def describe(value: Any) -> str:
    """What was given, in a few words: shape and dtype of an array, type and value of the rest."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None:
        name = str(dtype).rsplit(".", 1)[-1]
        return f"{type(value).__name__} of shape {tuple(shape)}, dtype {name}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def not_among(name: str, value: Any, allowed: Iterable[str]) -> ArgumentError:
    """The error of an argument that is none of some strings."""
    given = describe(value) if hasattr(value, "shape") else repr(value)
    return ArgumentError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {given}")


def _shapes(arguments: Mapping[str, Any]) -> str:
    parts: list[str] = []
    for name, value in arguments.items():
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if isinstance(shape, tuple) and dtype is not None:
            parts.append(f"{name}: {tuple(shape)} {str(dtype).rsplit('.', 1)[-1]}")
    return ", ".join(parts)


def _without_arithmetic(arguments: Mapping[str, Any]) -> str:
    """The name of an array of a dtype that PyTorch stores and computes little with, or ""."""
    kinds = ("torch.uint16", "torch.uint32", "torch.uint64")
    return next((n for n, v in arguments.items() if str(getattr(v, "dtype", "")) in kinds), "")


def _symbolic(arguments: Mapping[str, Any]) -> bool:
    """Whether the shape of an array is not known in numbers, as when JAX exports a program."""
    shapes = [getattr(value, "shape", None) for value in arguments.values()]
    return any(not isinstance(n, int) for s in shapes if isinstance(s, tuple) for n in s)


def _of_torch(arguments: Mapping[str, Any]) -> bool:
    return any(str(getattr(v, "dtype", "")).startswith("torch.") for v in arguments.values())


def _jit_traced(arguments: Mapping[str, Any]) -> bool:
    """Whether `torch.jit.trace` called; an error ends the tracing, and only callers tell then."""
    frame = sys._getframe() if _of_torch(arguments) else None
    while frame is not None and frame.f_globals.get("__name__") != "torch.jit._trace":
        frame = frame.f_back
    return frame is not None


_JIT = (
    "products are planned for shapes in numbers, which torch.jit.trace makes arrays of; "
    "torch.export.export records the program"
)


def _said(
    kind: type[Exception], operation: str, text: str, arguments: Mapping[str, Any]
) -> Exception:
    """An error of ours, with the operation before its text and the shapes after it."""
    shapes = _shapes(arguments)
    error = kind(f"{operation}: {text}" + (f" [{shapes}]" if shapes else ""))
    error.operation = operation  # type: ignore[attr-defined]
    return error


@contextmanager
def explain(operation: str, arguments: Mapping[str, Any]) -> Generator[None]:
    """Prefix our own errors with the operation and append the shapes; add a note to others."""
    try:
        yield
    except _OURS as error:
        # The innermost operation has spoken already.
        if getattr(error, "operation", None) is None:
            kind, text = type(error), str(error)
            if kind is ArgumentTypeError and _jit_traced(arguments):
                # Of a length, which is an int elsewhere.
                kind, text = UnsupportedError, _JIT
            raised = _said(kind, operation, text, arguments)
            try:
                raise raised.with_traceback(error.__traceback__) from None
            finally:
                # An error that its own traceback leads to keeps the arrays of the call alive.
                del raised
        raise
    except Exception as error:
        text, stored = "", _without_arithmetic(arguments)
        if _jit_traced(arguments):
            text = _JIT
        elif stored and isinstance(error, NotImplementedError | ValueError):
            text = (
                f"{stored} is {describe(arguments[stored])}, a dtype that PyTorch does not compute "
                f"this with; convert it to a wider signed integer or a float"
            )
        if text:
            raised = _said(UnsupportedError, operation, text, arguments)
            try:
                raise raised from error
            finally:
                del raised
        note = f"while computing swath {operation} of {_shapes(arguments) or 'no arrays'}"
        if _symbolic(arguments):
            note += "; products are planned for shapes in numbers: export one program for each"
            if not _of_torch(arguments):
                note += ", or go over a symbolic batch with jax.lax.map"
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
        raise
