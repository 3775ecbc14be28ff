"""Least squares beside LAPACK's drivers, and the normal equations alone as the ceiling.

Well-conditioned matrices, (rows "ill") ones whose condition of 10⁹ takes CholeskyQR, and (rows
"dependent") ones with a column twice, where the solution of least norm takes singular values. The
contender "solve(AᵀA, Aᵀb)" does less than the rest: no refinement, no rank, no errors; its ratio
says what those cost. JAX has float64 too here, and everything is compiled.

Rows "in chunks": `GramAccumulator` beside plain sums of AᵀA and Aᵀb, in working precision, over the
same chunks; the ratio is what twice the precision costs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg
from harness import EPS, Contender, Row, Trial
from libraries import installed, namespace, put, ready

import swath

SHAPES = ((100_000, 10), (100_000, 100), (20_000, 500), (1_000_000, 20), (10_000, 64, 8))
# Of single precision, and of dependent columns.
SOME = ((100_000, 100), (20_000, 500))
CLOSE = 1e-9
# What drivers that ask for it take for 0.
RCOND = 1e-10


def _data(
    shape: tuple[int, ...], kind: str = "", dtype: str = "float64"
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    A = rng.standard_normal(shape)
    if kind == "ill":
        A[..., -1] = A[..., 0] + CLOSE * A[..., -1]
    if kind == "dependent":
        A[..., -1] = A[..., 0]
    # A small residual: its part of the error grows with the square of the condition.
    b = A @ rng.standard_normal(shape[-1]) + CLOSE * rng.standard_normal(shape[:-1])
    return A.astype(dtype), b.astype(dtype)


def _exact(A: np.ndarray, b: np.ndarray, kind: str) -> np.ndarray:
    A, b = A.astype(np.float64), b.astype(np.float64)
    if kind != "dependent":
        return swath.linalg.lstsq(A, b, accuracy="full").x
    # The two like columns share their coefficient.
    x = swath.linalg.lstsq(A[:, :-1], b, accuracy="full").x
    x[0] /= 2
    return np.append(x, x[0])


def _wide(run: Callable[[], Any]) -> Callable[[], Any]:
    """A call with JAX's float64 switched on, which is off in the other rows."""
    import jax

    def inside() -> Any:
        with jax.enable_x64(True):
            return run()

    return inside


def _on_numpy(p: Any, q: Any, kind: str) -> tuple[dict[str, Callable[[], Any]], Callable[[], Any]]:
    cond = RCOND if kind == "dependent" else None

    def scipys(u: Any, v: Any, driver: str) -> Any:
        return scipy.linalg.lstsq(u, v, cond, lapack_driver=driver, check_finite=False)[0]

    one: dict[str, Callable[[Any, Any], Any]] = {
        "np.linalg.lstsq": lambda u, v: np.linalg.lstsq(u, v)[0],
        "scipy lstsq gelsd": lambda u, v: scipys(u, v, "gelsd"),
        "scipy lstsq gelsy": lambda u, v: scipys(u, v, "gelsy"),
    }

    naive = partial(_naive, np, p, q)
    if p.ndim == 2:
        return {name: lambda f=f: f(p, q) for name, f in one.items()}, naive

    def each(f: Callable[[Any, Any], Any]) -> Any:
        return np.stack([f(u, v) for u, v in zip(p, q, strict=True)])

    return {f"{name}, a loop": lambda f=f: each(f) for name, f in one.items()}, naive


def _naive(xp: Any, p: Any, q: Any) -> Any:
    turned = xp.swapaxes(p, -1, -2)
    return xp.linalg.solve(turned @ p, turned @ q[..., None])[..., 0]


def _on_cupy(p: Any, q: Any, kind: str) -> tuple[dict[str, Callable[[], Any]], Callable[[], Any]]:
    import cupy

    run = partial(cupy.linalg.lstsq, p, q, rcond=None)
    return {"cp.linalg.lstsq": lambda: run()[0]}, partial(_naive, cupy, p, q)


def _on_torch(p: Any, q: Any, kind: str) -> tuple[dict[str, Callable[[], Any]], Callable[[], Any]]:
    import torch

    def solved(p: Any, q: Any, driver: str) -> Any:
        return torch.linalg.lstsq(p, q[..., None], rcond=cond, driver=driver).solution[..., 0]

    cond, drivers = None, ("gels",) if p.is_cuda else ("gelsy", "gels")
    if kind == "dependent":
        # gels takes columns for independent, gelsy finds another rank at every call (PyTorch 2.13).
        cond, drivers = RCOND, () if p.is_cuda else ("gelsd",)
    peers = {
        f"torch lstsq {driver}": ready("torch", lambda p, q, d=driver: solved(p, q, d), p, q)
        for driver in drivers
    }
    return peers, ready("torch", partial(_naive, torch), p, q)


def _on_jax(p: Any, q: Any, kind: str) -> tuple[dict[str, Callable[[], Any]], Callable[[], Any]]:
    import jax
    import jax.numpy as jnp

    def solved(p: Any, q: Any) -> Any:
        return jnp.linalg.lstsq(p, q)[0]

    one = solved if p.ndim == 2 else jax.vmap(solved)
    label = "jnp.linalg.lstsq" + ("" if p.ndim == 2 else ", vmap")
    return {label: _wide(ready("jax", one, p, q))}, _wide(ready("jax", partial(_naive, jnp), p, q))


_PEERS = {"numpy": _on_numpy, "torch": _on_torch, "jax": _on_jax, "cupy": _on_cupy}


def _trial(backend: str, shape: tuple[int, ...], kind: str = "", dtype: str = "float64") -> Trial:
    A, b = _data(shape, kind, dtype)
    exact = _exact(A, b, kind)
    # Householder QR's bound, to which all are held; of the batch the worst problem's.
    condition = 10.0 / CLOSE if kind == "ill" else 50.0
    allowed = 4 * shape[-1] * EPS[dtype] * condition * float(np.max(np.abs(exact)))
    wide = _wide if backend == "jax" else lambda run: run
    p, q = wide(lambda: put(backend, A, b))()

    def ours(**options: Any) -> Contender:
        def run(p: Any, q: Any) -> Any:
            return swath.linalg.lstsq(p, q, **options).x

        return Contender(wide(ready(backend, run, p, q)), allowed)

    found, ceiling = _PEERS[backend](p, q, kind)
    peers = {name: Contender(run, allowed) for name, run in found.items()}
    if not kind:
        peers["solve(AᵀA, Aᵀb)"] = Contender(ceiling, allowed, "no refinement", "beside")
    full = peers['swath, accuracy="full"'] = ours(accuracy="full")
    full.role = "beside"
    return Trial(exact, ours(), peers)


CHUNKED, CHUNK = (1_000_000, 20), 100_000


def _chunked(backend: str) -> Trial:
    A, b = _data(CHUNKED)
    exact = swath.linalg.lstsq(A, b, accuracy="full").x
    parts = [slice(i, i + CHUNK) for i in range(0, len(A), CHUNK)]
    p, q = put(backend, A, b)
    # Plain sums lose digits with the square of the condition, 10 here, and what chunks round.
    allowed = 100 * CHUNKED[1] * EPS["float64"] * float(np.max(np.abs(exact)))

    def ours(p: Any, q: Any) -> Any:
        sums = swath.linalg.GramAccumulator(CHUNKED[1])
        for part in parts:
            sums.update(p[part], q[part])
        return sums.solve().x

    def plain(p: Any, q: Any) -> Any:
        gram, right = 0.0, 0.0
        for part in parts:
            turned = p[part].T
            gram = gram + turned @ p[part]
            right = right + turned @ q[part]
        if backend != "torch":
            return namespace(backend).linalg.solve(gram, right)
        import torch

        return torch.linalg.solve(gram, right)

    return Trial(
        exact,
        Contender(ready(backend, ours, p, q), allowed),
        {"plain sums, solve": Contender(ready(backend, plain, p, q), allowed, "half the digits")},
    )


def rows() -> list[Row]:
    """Every shape, well- and ill-conditioned, on every library, and rows in chunks."""
    found = []
    trials = [(shape, kind, "float64") for kind in ("", "ill") for shape in SHAPES]
    trials += [(shape, "", "float32") for shape in SOME]
    trials += [(shape, "dependent", "float64") for shape in SOME]
    for shape, kind, dtype in trials:
        name = " ".join(["least squares", "x".join(map(str, shape)), kind]).strip()
        for lib in _PEERS:
            if lib != "numpy" and not installed(lib):
                continue
            if lib == "cupy" and len(shape) > 2:
                # It solves one problem at a time.
                continue
            found.append(
                Row(
                    "least_squares", name, lib, dtype, "linalg.lstsq",
                    lambda b=lib, s=shape, k=kind, d=dtype: _trial(b, s, k, d),
                )
            )  # fmt: skip
    name = "least squares " + "x".join(map(str, CHUNKED)) + " in chunks"
    for lib in ("numpy", "torch", "cupy"):
        found.append(
            Row(
                "least_squares", name, lib, "float64", "linalg.lstsq",
                lambda b=lib: _chunked(b),
            )
        )  # fmt: skip
    return found
