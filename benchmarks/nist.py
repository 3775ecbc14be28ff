"""Correct digits on NIST's linear least-squares sets: swath beside its peers.

    python benchmarks/nist.py

Two tables: against the exact solution, in rationals, of the matrix that float64 holds; and against
NIST's certified values, which belong to the decimal data. Rounding those to float64 moves the
solution, so that more digits of the certified values than the exact solution has are a peer's
error that happens to point at them: where that is so it is said below the second table. Digits are
−log10 of the relative error of the worst coefficient, at most 15.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
from libraries import installed

import swath

DATA = Path(__file__).parents[1] / "tests" / "data" / "nist_linear.json"


def design(entry: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The matrix and the right-hand side in float64."""
    x = np.array([[float(v) for v in row] for row in entry["x"]])
    if entry["model"][0] == "poly":
        x = x[:, :1] ** np.arange(entry["model"][1] + 1)
    elif entry["model"][0] == "linear":
        x = np.concatenate([np.ones((len(x), 1)), x], axis=1)
    return x, np.array([float(v) for v in entry["y"]])


def exact_solution(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The solution in rationals, rounded."""
    rows = [[Fraction(float(v)) for v in row] for row in np.column_stack([a, b])]
    n = a.shape[1]
    table = [[sum(r[i] * r[j] for r in rows) for j in range(n + 1)] for i in range(n)]
    for i in range(n):
        table[i] = [v / table[i][i] for v in table[i]]
        for k in range(n):
            if k != i:
                table[k] = [v - table[k][i] * u for v, u in zip(table[k], table[i], strict=True)]
    return np.array([float(row[n]) for row in table])


def digits(x: Any, reference: np.ndarray) -> float:
    """Correct digits of the worst coefficient."""
    error = np.max(np.abs((np.asarray(x) - reference) / reference))
    return float(min(15.0, -np.log10(max(error, 1e-15))))


def _qr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    q, r = np.linalg.qr(a)
    return scipy.linalg.solve_triangular(r, q.T @ b)


def _in_chunks(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One pass over rows in an order of chance, none kept."""
    order = np.random.default_rng(0).permutation(len(b))
    sums = swath.linalg.GramAccumulator(a.shape[1])
    for i in range(0, len(b), 10):
        sums.update(a[order[i : i + 10]], b[order[i : i + 10]])
    return sums.solve().x


def contenders() -> dict[str, Callable[[np.ndarray, np.ndarray], Any]]:
    """Solvers by label."""
    lstsq = swath.linalg.lstsq
    found: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
        "swath in chunks of 10": _in_chunks,
        "swath": lambda a, b: lstsq(a, b).x,
        "swath cholesky_qr": lambda a, b: lstsq(a, b, method="cholesky_qr").x,
        "swath full": lambda a, b: lstsq(a, b, accuracy="full").x,
        "numpy lstsq": lambda a, b: np.linalg.lstsq(a, b)[0],
        "scipy gelsd": lambda a, b: scipy.linalg.lstsq(a, b, lapack_driver="gelsd")[0],
        "scipy gelsy": lambda a, b: scipy.linalg.lstsq(a, b, lapack_driver="gelsy")[0],
        "Householder QR": _qr,
    }
    if installed("torch"):
        import torch

        def in_torch(a: np.ndarray, b: np.ndarray, driver: str) -> Any:
            p, q = torch.asarray(a), torch.asarray(b)
            return torch.linalg.lstsq(p, q[:, None], driver=driver).solution[:, 0]

        found["torch gels"] = lambda a, b: in_torch(a, b, "gels")
        found["torch gelsy"] = lambda a, b: in_torch(a, b, "gelsy")
        found["torch, swath full"] = lambda a, b: (
            lstsq(torch.asarray(a), torch.asarray(b), accuracy="full").x
        )
    if installed("jax"):
        import jax
        import jax.numpy as jnp

        def in_jax(a: np.ndarray, b: np.ndarray, solve: Callable[..., Any]) -> Any:
            with jax.enable_x64(True):
                return np.asarray(jax.jit(solve)(jnp.asarray(a), jnp.asarray(b)))

        found["jnp lstsq"] = lambda a, b: in_jax(a, b, lambda a, b: jnp.linalg.lstsq(a, b)[0])
        found["jit, swath full"] = lambda a, b: in_jax(
            a, b, lambda a, b: lstsq(a, b, accuracy="full").x
        )
    return found


def tables() -> str:
    """Both tables as markdown."""
    sets = json.loads(DATA.read_text(encoding="utf-8"))["sets"]
    problems = [design(s) for s in sets]
    solutions = {k: [f(*p) for p in problems] for k, f in contenders().items()}
    references = {
        "the exact solution of the float64 matrix": [exact_solution(*p) for p in problems],
        "NIST's certified values": [np.array([float(v) for v in s["b"]]) for s in sets],
    }
    lines = []
    for label, reference in references.items():
        lines += [f"Correct digits against {label}:", ""]
        lines.append("| | " + " | ".join(s["name"] for s in sets) + " |")
        lines.append("|---|" + "---|" * len(sets))
        for name, found in solutions.items():
            scores = [f"{digits(x, r):.1f}" for x, r in zip(found, reference, strict=True)]
            lines.append(f"| {name} | " + " | ".join(scores) + " |")
        lines.append("")
    lines += _beyond(sets, solutions, *references.values())
    return "\n".join(lines)


def _beyond(
    sets: list[dict[str, Any]],
    solutions: dict[str, list[Any]],
    exact: list[np.ndarray],
    certified: list[np.ndarray],
) -> list[str]:
    """Where a peer has more digits of the certified values than swath with accuracy="full"."""
    lines = []
    for i, entry in enumerate(sets):
        own = digits(solutions["swath full"][i], certified[i])
        limit = digits(exact[i], certified[i])
        for name, found in solutions.items():
            theirs = digits(found[i], certified[i])
            if "swath" not in name and theirs > own:
                lines.append(
                    f"{entry['name']}: {name} has {theirs:.2f} digits of the certified values, "
                    f"swath full {own:.2f}; the exact solution of the float64 matrix {limit:.2f}"
                )
    return lines or ["No peer has more digits of the certified values than swath full."]


if __name__ == "__main__":
    print(tables())
