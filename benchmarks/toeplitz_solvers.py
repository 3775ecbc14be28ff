"""Toeplitz systems: beside SciPy's recursion and dense solves; steps of conjugate gradients.

Run by itself it prints how the steps of conjugate gradients, their time and the memory grow with
the order, and times of the direct methods at 10⁴ unknowns:

    python benchmarks/toeplitz_solvers.py
"""

from __future__ import annotations

import importlib
import resource
import time
import tracemalloc
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.linalg
from harness import EPS, Contender, Row, Trial, Work
from libraries import BACKENDS, installed, put, ready

import swath

LONG = 10**4


def autoregressive(n: int) -> np.ndarray:
    """Covariances of a first-order process with ρ = 0.999."""
    return 0.999 ** np.arange(n)


def blur(n: int) -> np.ndarray:
    """A Gaussian blur of standard deviation 4, of unit sum, with a ridge of 1e-3."""
    c = np.exp(-0.5 * (np.arange(n) / 4.0) ** 2)
    c /= 2 * c.sum() - c[0]
    c[0] += 1e-3
    return c


@lru_cache(maxsize=1)
def _problem(n: int, batch: int | None) -> tuple[np.ndarray, ...]:
    """Random matrices: the recursion breaks nowhere, but all minors matter to it."""
    rng = np.random.default_rng(0)
    c, r, x = rng.standard_normal((3, *([] if batch is None else [batch]), n))
    c[..., 0] = r[..., 0] = 8 * n**0.5  # well conditioned, so that all contenders are right
    t = scipy.linalg.toeplitz(c, r) if n <= 1000 else None
    b = swath.linalg.matmul_toeplitz((c, r), x) if t is None else (t @ x[..., None])[..., 0]
    return c, r, b, x


def _solve(backend: str, n: int, batch: int | None) -> Trial:
    c, r, b, x = _problem(n, batch)
    if batch is not None:
        # One column each: a matrix would be many right-hand sides of one system.
        b, x = b[..., None], x[..., None]
    allowed = 1e3 * EPS["float64"]
    p, q, y = put(backend, c, r, b)
    run = ready(backend, lambda p, q, y: swath.linalg.solve_toeplitz((p, q), y), p, q, y)
    theirs = Contender(lambda: scipy.linalg.solve_toeplitz((c, r), b), allowed)
    theirs.role = "peer" if backend == "numpy" else "instead"
    peers = {"scipy solve_toeplitz": theirs}
    if n <= 1000:
        # By a factorization of the whole matrix, which its contender must make.
        peers["dense solve"] = Contender(_dense(backend, n, batch, p, q, y), allowed)
    work = Work(4.0 * n * n * (batch or 1), c.nbytes * 4)
    return Trial(x, Contender(run, allowed), peers, work)


def _dense(backend: str, n: int, batch: int | None, *arrays: Any) -> Any:
    xp = {"torch": "torch", "jax": "jax.numpy"}.get(backend, backend)
    xp = importlib.import_module(xp)
    places = np.arange(n)[:, None] - np.arange(n) + n - 1
    (places,) = put(backend, places)
    join = xp.cat if backend == "torch" else xp.concatenate

    def run(c: Any, r: Any, b: Any) -> Any:
        values = join([xp.flip(r[..., 1:], (-1,)), c], -1)
        b = b if batch else b[..., None]
        x = xp.linalg.solve(values[..., places], b)
        return x if batch else x[..., 0]

    return ready(backend, run, *arrays)


def _long() -> Trial:
    """A blur: conjugate gradients beside SciPy's recursion."""
    rng = np.random.default_rng(0)
    c, x = blur(LONG), rng.standard_normal(LONG)
    b = swath.linalg.matmul_toeplitz(c, x)
    allowed = 1e-8
    us = Contender(lambda: swath.linalg.solve_toeplitz(c, b, method="pcg"), allowed, "pcg")
    theirs = Contender(lambda: scipy.linalg.solve_toeplitz(c, b), allowed)
    return Trial(x, us, {"scipy solve_toeplitz": theirs}, Work(4.0 * LONG**2, c.nbytes * 3))


def rows() -> list[Row]:
    """Orders and a batch on every library; a symmetric system by conjugate gradients on NumPy."""
    needs = "linalg.solve_toeplitz"
    problems = ((1000, None, "1e3"), (10**4, None, "1e4"), (64, 1000, "1000 of order 64"))
    return [
        *(
            Row(
                "toeplitz", f"solve {name}", lib, "float64", needs,
                lambda b=lib, n=n, k=batch: _solve(b, n, k), ("quick",) if batch else (),
            )
            for n, batch, name in problems
            for lib in BACKENDS
        ),
        Row("toeplitz", "solve blur 1e4 pcg", "numpy", "float64", needs, _long),
    ]  # fmt: skip


def _timed(run: Callable[[], object]) -> tuple[float, object]:
    began = time.perf_counter()
    out = run()
    return time.perf_counter() - began, out


def growth() -> None:
    """Steps, residual, time and memory of conjugate gradients by order."""
    rng = np.random.default_rng(0)
    print("conjugate gradients, default rtol; peak counts NumPy's allocations over the arguments")
    print(f"{'system':<16}{'n':>9}{'steps':>7}{'residual':>11}{'seconds':>9}{'peak/8n':>9}")
    for make in (autoregressive, blur):
        for n in (10**3, 10**4, 10**5, 10**6):
            c, x = make(n), rng.standard_normal(n)
            b = swath.linalg.matmul_toeplitz(c, x)
            seconds, _ = _timed(lambda c=c, b=b: swath.linalg.solve_toeplitz(c, b, method="pcg"))
            tracemalloc.start()
            found = swath.linalg.solve_toeplitz(c, b, method="pcg", full_output=True)
            tracemalloc.stop()
            tracemalloc.start()
            swath.linalg.solve_toeplitz(c, b, method="pcg")
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            print(
                f"{make.__name__:<16}{n:>9}{int(found.iterations):>7}{float(found.residual):>11.1e}"
                f"{seconds:>9.2f}{peak / b.nbytes:>9.1f}"
            )
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"largest resident size of the process: {most / 1024:.0f} MiB")


def direct(n: int = 10**4) -> None:
    """A matrix whose leading entry is 0, by every direct route, eager and compiled."""
    rng = np.random.default_rng(0)
    c, r, x = rng.standard_normal((3, n))
    c[0] = r[0] = 0
    b = swath.linalg.matmul_toeplitz((c, r), x)
    regular = c.copy()
    regular[0] = 8 * n**0.5
    side = swath.linalg.matmul_toeplitz((regular, r), x)
    print(f"n = {n}, leading entry 0 (levinson: a regular matrix)")
    print(f"{'library':<14}{'method':<10}{'seconds':>9}{'compile':>9}{'error':>10}{'MiB':>8}")

    def line(library: str, method: str, seconds: float, compiled: float, got: object, mib: float):
        error = float(np.linalg.norm(np.asarray(got) - x) / np.linalg.norm(x))
        print(f"{library:<14}{method:<10}{seconds:>9.2f}{compiled:>9.2f}{error:>10.1e}{mib:>8.1f}")

    for method, column, right in (("levinson", regular, side), ("gko", c, b)):
        run = lambda m=method, p=column, q=right: swath.linalg.solve_toeplitz((p, r), q, method=m)  # noqa: E731
        seconds, got = _timed(run)
        tracemalloc.start()
        run()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        line("numpy", method, seconds, 0.0, got, peak / 2**20)
    if not installed("jax"):
        return
    import jax

    jax.config.update("jax_enable_x64", True)
    for method, column, right in (("levinson", regular, side), ("gko", c, b)):
        solve = jax.jit(lambda c, r, b, m=method: swath.linalg.solve_toeplitz((c, r), b, method=m))
        arrays = [jax.numpy.asarray(v) for v in (column, r, right)]
        compiled, program = _timed(lambda s=solve, a=arrays: s.lower(*a).compile())
        seconds, got = _timed(lambda p=program, a=arrays: p(*a).block_until_ready())
        scratch = program.memory_analysis().temp_size_in_bytes
        line("jax, jit", method, seconds, compiled, got, scratch / 2**20)


if __name__ == "__main__":
    growth()
    direct()
