"""Everything that differs between array libraries, and nothing else.

`backend_of(x)` finds the adapter by the array's type; an adapter is made when the first array of
its library is seen, so no library is imported before its user has imported it. Adapters know no
operation of swath.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from typing import Any

import array_api_compat

from ..errors import ArgumentTypeError
from .base import NARROW, PRECISION, WORKSPACE, Backend, Core, Narrow, NativeKernel, blocks

__all__ = [
    "NARROW",
    "PRECISION",
    "WORKSPACE",
    "Backend",
    "Core",
    "Narrow",
    "NativeKernel",
    "backend_named",
    "backend_of",
    "blocks",
    "known_names",
    "library",
    "loaded",
    "register_result",
    "try_backend",
]

_BY_TYPE: dict[type, Backend | None] = {}
_BY_NAMESPACE: dict[str, Backend] = {}
# Result classes with their array fields, their static ones, and what puts them together.
_RESULTS: list[tuple[type, tuple[str, ...], tuple[str, ...], Callable[..., Any] | None]] = []

# Library -> the adapter's module; any other array-API namespace gets the standard-only fallback.
_ADAPTERS = {"numpy": "numpy_", "jax": "jax_", "torch": "torch_", "cupy": "cupy_", "dask": "dask_"}


def known_names() -> tuple[str, ...]:
    """Libraries with an adapter of their own."""
    return tuple(_ADAPTERS)


# Namespaces of libraries that go by another name.
_NAMESPACES = {"jax.numpy": "jax", "dask.array": "dask"}


def library(name: str) -> str:
    """The library that a namespace belongs to, by the name of either."""
    # Others bring their own copy of the wrappers.
    name = name.rpartition("array_api_compat.")[2]
    return _NAMESPACES.get(name, name)


def backend_named(name: str) -> Backend:
    """The adapter of a library by its name or that of its namespace; imports the library."""
    name = library(name)
    found = _BY_NAMESPACE.get(name)
    return _made(name) if found is None else found


# An adapter is made once, however many threads meet its library first.
_MAKING = threading.RLock()


def _made(name: str) -> Backend:
    with _MAKING:
        if name in _BY_NAMESPACE:
            return _BY_NAMESPACE[name]
        if name in _ADAPTERS:
            made = importlib.import_module(f".{_ADAPTERS[name]}", __name__).make()
        else:
            namespace = importlib.import_module(name)
            if not hasattr(namespace, "__array_namespace_info__"):
                raise ArgumentTypeError(f"{name} is no library of the array API standard")
            made = Backend(namespace, name)
        for result in _RESULTS:
            made.register_result(*result)
        # Last: other threads take it as it is found here.
        _BY_NAMESPACE[name] = made
        return made


def register_result(
    cls: type,
    fields: tuple[str, ...],
    static: tuple[str, ...] = (),
    make: Callable[..., Any] | None = None,
) -> None:
    """Make a result class a container for every adapter, those made later included.

    `make(**fields)` puts one together without checks, where the constructor has some.
    """
    _RESULTS.append((cls, fields, static, make))
    for backend in _BY_NAMESPACE.values():
        backend.register_result(cls, fields, static, make)


def _library(x: Any) -> str | None:
    """The import name of the library that x is an array of."""
    if array_api_compat.is_numpy_array(x):
        return "numpy"
    if array_api_compat.is_torch_array(x):
        return "torch"
    if array_api_compat.is_jax_array(x):
        return "jax"
    if array_api_compat.is_cupy_array(x):
        return "cupy"
    if array_api_compat.is_dask_array(x):
        return "dask"
    # Of the class: what records a program (`torch.fx`) says that it has whatever it is asked for.
    if hasattr(type(x), "__array_namespace__"):
        return array_api_compat.array_namespace(x).__name__
    return None


def try_backend(x: Any) -> Backend | None:
    """The adapter for x, or None where x is no array of an array-API library.

    NumPy's scalars count as its arrays here; `arguments.strong` tells them from arrays.
    """
    kind = type(x)
    try:
        return _BY_TYPE[kind]
    except KeyError:
        name = _library(x)
        found = None if name is None else backend_named(name)
        _BY_TYPE[kind] = found
        return found


def backend_of(x: Any) -> Backend:
    """The adapter for the array x."""
    found = try_backend(x)
    if found is None:
        raise TypeError(f"not an array of an array-API library: {type(x).__name__}")
    return found


def loaded(name: str) -> bool:
    """Whether the program has imported the library already."""
    return name in sys.modules
