"""The array libraries of the rows: arrays in them, calls that are compiled, clocks that wait.

Everything runs unchanged on a GPU: `use("gpu")` puts the arrays of PyTorch there, JAX and CuPy do
so by themselves. Times on CUDA are taken between events of the stream.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

BACKENDS = ("numpy", "torch", "jax", "cupy")
_DEVICE = {"torch": "cpu"}


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def usable(backend: str) -> str:
    """Why a library's rows cannot run here; empty where they can."""
    if not installed(backend):
        return f"{backend} is not installed"
    if backend == "cupy":
        import cupy

        try:
            if cupy.cuda.runtime.getDeviceCount():
                return ""
        except cupy.cuda.runtime.CUDARuntimeError as error:
            return f"cupy has no GPU: {error}"
        return "cupy has no GPU"
    return ""


def use(device: str) -> None:
    """Let the rows of PyTorch run on "cpu" or "gpu", at the full precision of float32."""
    _DEVICE["torch"] = "cuda" if device == "gpu" else "cpu"
    if device == "gpu" and installed("torch"):
        import torch

        if not torch.cuda.is_available():
            raise RuntimeError("PyTorch finds no GPU here")
        # A peer with TF32 would not do the same work.
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]


def device(backend: str) -> str:
    """Where a library's arrays are: "cpu" or "gpu"."""
    if backend == "torch":
        return "gpu" if _DEVICE["torch"] == "cuda" else "cpu"
    if backend == "jax":
        import jax

        return "cpu" if jax.default_backend() == "cpu" else "gpu"
    return "gpu" if backend == "cupy" else "cpu"


def beside_torch(backend: str) -> bool:
    """Whether PyTorch's kernels, with its own arrays, run where the library's do."""
    return installed("torch") and device(backend) == device("torch")


def put(backend: str, *tables: np.ndarray) -> list[Any]:
    """NumPy arrays as arrays of a library, of the same dtype."""
    if backend == "torch":
        import torch

        return [torch.asarray(t.copy(), device=_DEVICE["torch"]) for t in tables]
    if backend == "jax":
        import jax.numpy as jnp

        return [jnp.asarray(t) for t in tables]
    if backend == "cupy":
        import cupy

        return [cupy.asarray(t) for t in tables]
    return list(tables)


def ready(
    backend: str, fn: Callable[..., Any], *arrays: Any, recorded: bool = False
) -> Callable[[], Any]:
    """A call without arguments; compiled and waited for on JAX (the first call compiles).

    `recorded`: PyTorch may note what is done, to differentiate it.
    """
    if backend == "jax":
        import jax

        compiled = jax.jit(fn)
        return lambda: jax.block_until_ready(compiled(*arrays))
    if backend == "torch" and not recorded:
        import torch

        def run() -> Any:
            with torch.no_grad():
                return fn(*arrays)

        return run
    return lambda: fn(*arrays)


def namespace(backend: str) -> Any:
    """NumPy, or CuPy, which has the same names."""
    return importlib.import_module("cupy" if backend == "cupy" else "numpy")


def scipy_part(backend: str, part: str) -> Any:
    """A module of SciPy, or CuPy's of the same names: "signal", "ndimage", "fft"."""
    prefix = "cupyx.scipy" if backend == "cupy" else "scipy"
    return importlib.import_module(f"{prefix}.{part}")


@contextmanager
def float64(backend: str, dtype: str) -> Iterator[None]:
    """JAX has float64 inside for rows of float64; other rows see it as its users get it."""
    if backend != "jax" or dtype != "float64":
        yield
        return
    import jax

    before = jax.config.jax_enable_x64  # type: ignore[attr-defined]
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


# -- clocks ----------------------------------------------------------------------------------------


def idle(most: float = 0.3, step: float = 5e-3) -> float:
    """Wait until no thread of the process computes, and return the seconds waited.

    OpenBLAS's threads await more work awake, for up to 0.1 s, and would take a core from what is
    timed next. A step is longer than the 4 ms in which Linux counts a running thread's time.
    """
    began = time.perf_counter()
    while time.perf_counter() - began < most:
        before = time.process_time()
        time.sleep(step)
        if time.process_time() - before < step / 10:
            break
    return time.perf_counter() - began


def timer(backend: str) -> Callable[[Callable[[], Any], int], float]:
    """Seconds that n calls take until their results are there."""
    if backend == "cupy":
        return _cupy_events
    if backend == "torch" and _DEVICE["torch"] == "cuda":
        return _torch_events
    return _clock


def _clock(run: Callable[[], Any], n: int) -> float:
    began = time.perf_counter()
    for _ in range(n):
        run()
    return time.perf_counter() - began


def _torch_events(run: Callable[[], Any], n: int) -> float:
    import torch

    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    for _ in range(n):
        run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def _cupy_events(run: Callable[[], Any], n: int) -> float:
    import cupy

    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    cupy.cuda.Device().synchronize()
    begin.record()
    for _ in range(n):
        run()
    end.record()
    end.synchronize()
    return cupy.cuda.get_elapsed_time(begin, end) / 1e3
