"""Settings that hold inside a `with` block: precision of products, workspace of algorithms.

Both are context variables, so they are safe with threads and asyncio, but for JAX's part of
precision, which is a setting of the thread. Both are read when an operation runs or is traced.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from operator import index

from ._backends import PRECISION, WORKSPACE, backend_named, known_names, loaded
from .errors import ArgumentError, describe

__all__ = ["current_workspace", "precision", "workspace"]

# Bytes of the least workspace: in smaller pieces calls would take all the time.
_LEAST = 2**16
_LEVELS = ("highest", "high", "fast")


def precision(level: str) -> AbstractContextManager[None]:
    """Set the precision of matrix products inside a `with` block.

    Parameters
    ----------
    level : {"highest", "high", "fast"}
        ``"highest"`` (the default everywhere in swath) is the full precision of the dtype.
        ``"high"`` allows three-pass bfloat16 or TF32 products where the device has them, ``"fast"``
        one-pass ones, and on every device Winograd's F(4, 3) in place of F(2, 3), with some six
        times the error (see "Accuracy" in the documentation). Else the three are the same on a CPU.

    Returns
    -------
    context manager
        For one `with` block.

    Raises
    ------
    ValueError
        If `level` is none of these.

    Notes
    -----
    On JAX the setting rides on `jax.default_matmul_precision`, which is part of jit's cache key, so
    no cached trace keeps an old setting. A precision that the user set there himself is kept.
    The block holds for libraries that were imported before it.

    JAX's setting is one of the thread: tasks of asyncio that take turns inside such blocks see each
    other's, and the last to leave sets back what it found. Where JAX is imported let no block hold
    an ``await``; without it each task has its own level, as it has its own `workspace`.

    Examples
    --------
    >>> import numpy as np, swath
    >>> with swath.precision("fast"):
    ...     y = swath.signal.convolve(np.ones(3), np.ones(2))
    """
    if level not in _LEVELS:
        raise ArgumentError(
            f"precision: level must be one of {', '.join(map(repr, _LEVELS))}, got {level!r}"
        )
    return _precision(level)


@contextmanager
def _precision(level: str) -> Generator[None]:
    with ExitStack() as stack:
        stack.callback(PRECISION.reset, PRECISION.set(level))
        for name in known_names():
            if loaded(name):
                stack.enter_context(backend_named(name).precision(level))
        yield


def workspace(limit: int) -> AbstractContextManager[None]:
    """Bound the scratch memory of operations inside a `with` block.

    Parameters
    ----------
    limit : int
        Bytes beyond the output that one operation may hold; fewer than 64 KiB count as 64 KiB.
        Outside of any block it is max(64 MiB, the largest input). Binding when traced: a jitted
        function keeps the limit it was traced under.

    Returns
    -------
    context manager
        For one `with` block.

    Raises
    ------
    ValueError
        If `limit` is no positive int.

    Examples
    --------
    >>> import numpy as np, swath
    >>> with swath.workspace(2**20):
    ...     y = swath.signal.convolve(np.ones(1000), np.ones(2))
    """
    try:
        count = 0 if isinstance(limit, bool) else index(limit)
    except TypeError:
        count = 0
    if count < 1:
        raise ArgumentError(f"workspace: limit must be a positive int, got {describe(limit)}")
    return _workspace(max(count, _LEAST))


@contextmanager
def _workspace(limit: int) -> Generator[None]:
    token = WORKSPACE.set(limit)
    try:
        yield
    finally:
        WORKSPACE.reset(token)


def current_workspace(largest_input: int) -> int:
    """Bytes of scratch memory allowed for an operation whose largest input has so many bytes."""
    limit = WORKSPACE.get()
    return max(64 * 2**20, largest_input) if limit is None else limit
