"""The array libraries of the rows: arrays in them, and calls that are compiled and waited for."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def put(backend: str, *tables: np.ndarray) -> list[Any]:
    """NumPy arrays as arrays of a library, of the same dtype."""
    if backend == "torch":
        import torch

        return [torch.asarray(t.copy()) for t in tables]
    if backend == "jax":
        import jax.numpy as jnp

        return [jnp.asarray(t) for t in tables]
    return list(tables)


def ready(backend: str, fn: Callable[..., Any], *arrays: Any) -> Callable[[], Any]:
    """A call without arguments; compiled and waited for on JAX (the first call compiles)."""
    if backend == "jax":
        import jax

        compiled = jax.jit(fn)
        return lambda: compiled(*arrays).block_until_ready()
    if backend == "torch":
        import torch

        def run() -> Any:
            with torch.no_grad():
                return fn(*arrays)

        return run
    return lambda: fn(*arrays)
