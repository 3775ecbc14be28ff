"""Threads for elementwise work, and small or narrow matrices, which NumPy itself does in one.

As many as its BLAS takes: what the BLAS's variables say, else the cores that this process may use.
NumPy lets go of the interpreter inside its loops, so that pieces which fit the cache run side by
side; pieces are the same however many threads there are, and so are results.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import ContextVar, copy_context
from functools import cache
from typing import Any

__all__ = ["count", "each"]

_SETTINGS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
# Beyond so many the memory, and the interpreter between two loops, are what is waited for.
_MOST = 8


@cache
def count() -> int:
    """Threads that share a piece of work."""
    given = [int(v) for v in map(os.environ.get, _SETTINGS) if v is not None and v.isdigit()]
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, _MOST, *given]))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "swath")


if hasattr(os, "register_at_fork"):
    # A forked process has none of its parent's threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)


# Whether this thread has a share of some work already.
_SHARING: ContextVar[bool] = ContextVar("swath_sharing", default=False)


def each(items: Sequence[Any], start: Callable[[], Any], work: Callable[[Any, Any], None]) -> None:
    """work(state, item) for every item, in any order; every thread has a state from `start`.

    In one thread where there is one item, or the caller is itself one of many.
    """
    threads = min(count(), len(items))
    alone = _SHARING.get() or threading.current_thread() is not threading.main_thread()
    if threads < 2 or alone:
        state = start()
        for item in items:
            work(state, item)
        return
    todo = deque(items)

    def run() -> None:
        state = start()
        while todo:
            try:
                item = todo.popleft()
            except IndexError:
                return
            work(state, item)

    # Settings, as of NumPy's warnings, go with the work, and that there is a share of it.
    context = copy_context()
    context.run(_SHARING.set, True)
    others = []
    try:
        for _ in range(threads - 1):
            others.append(_pool(count() - 1).submit(context.copy().run, run))
    except RuntimeError:
        # None are started when the interpreter ends (in `atexit`), nor beyond the system's limit.
        pass
    try:
        context.run(run)
    finally:
        todo.clear()
        wait(others)
    for other in others:
        other.result()
