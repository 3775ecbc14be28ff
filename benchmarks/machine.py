"""The machine: processor, versions, BLAS, threads, and the rates that figures are read against."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.fft
from harness import EPS, Work
from libraries import BACKENDS, device, float64, idle, namespace, put, ready, timer, usable

import swath

PACKAGES = ("numpy", "scipy", "torch", "jax", "jaxlib", "scikit-image", "array-api-compat")


def about(backends: Sequence[str] = BACKENDS) -> dict[str, Any]:
    """What is known of the machine, and the rates that these libraries reach."""
    versions = {"python": platform.python_version(), "swath": swath.__version__}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "cores": cores(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "blas": blas(),
        "devices": {b: device(b) for b in BACKENDS if not usable(b)},
        "gpu": gpu(),
        "rates": rates(backends),
    }


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return platform.processor()
    table = {key.strip(): value.strip() for key, value in lines.items()}
    wide = "AVX-512" if "avx512f" in table.get("flags", "") else "no AVX-512"
    return f"{table.get('model name', platform.processor())}, {wide}"


def gpu() -> str:
    """Name of the GPU and version of its driver; empty where there is none."""
    if usable("cupy"):
        return ""
    import cupy

    runtime = cupy.cuda.runtime
    name = runtime.getDeviceProperties(0)["name"].decode()
    versions = (runtime.runtimeGetVersion(), runtime.driverGetVersion())
    cuda, driver = (f"{v // 1000}.{v % 1000 // 10}" for v in versions)
    return f"{name}, CUDA {cuda}, cupy {cupy.__version__}, driver for CUDA {driver}"


def blas() -> list[str]:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return ["unknown: threadpoolctl is not installed"]
    found = []
    for pool in threadpool_info():
        kernel = pool.get("architecture") or ""
        name = " ".join(filter(None, [pool["internal_api"], pool.get("version"), kernel]))
        found.append(f"{name} ({pool['num_threads']} threads)")
    return sorted(set(found))


# -- rates -----------------------------------------------------------------------------------------


def rates(backends: Sequence[str]) -> dict[str, dict[str, float]]:
    """Of every kind of device the best that any of the libraries reaches, by its name.

    Giga-operations per second of a matrix product of side 2048 ("gemm float32", "gemm float64");
    gigabytes per second of copying 256 MiB, read and written bytes both counted ("copy"); and
    2.5·n·log2(n) giga-operations per second of 1024 real transforms of 4096 points ("fft float32").
    """
    found: dict[str, dict[str, float]] = {}
    for backend in backends:
        if usable(backend):
            continue
        best = found.setdefault(device(backend), {})
        for name, rate in _rates_of(backend).items():
            best[name] = max(best.get(name, 0.0), round(rate / 1e9, 1))
    return found


def _rates_of(backend: str) -> dict[str, float]:
    rng = np.random.default_rng(0)
    timed = timer(backend)

    def best(fn: Any, *arrays: Any) -> float:
        run = ready(backend, fn, *arrays)
        run()
        idle()
        return min(timed(run, 1) for _ in range(7))

    found = {}
    for dtype in EPS:
        with float64(backend, dtype):
            (a,) = put(backend, rng.standard_normal((2048, 2048)).astype(dtype))
            found[f"gemm {dtype}"] = 2 * 2048**3 / best(lambda a: a @ a, a)
    (x,) = put(backend, rng.standard_normal((1024, 4096)).astype(np.float32))
    work = 2.5 * 1024 * 4096 * 12
    found["fft float32"] = work / best(_transform(backend), x)
    (x,) = put(backend, np.ones(2**26, np.float32))
    if backend in ("numpy", "cupy"):
        # Into memory that is there: new pages cost more than the copy.
        xp, y = namespace(backend), namespace(backend).empty_like(x)
        found["copy"] = 2 * x.nbytes / best(lambda: xp.copyto(y, x))
    elif backend == "torch":
        y = x.clone()
        found["copy"] = 2 * 2**28 / best(lambda: y.copy_(x))
    else:
        found["copy"] = 2 * 2**28 / best(lambda x: -x, x)
    return found


def _transform(backend: str) -> Any:
    if backend == "torch":
        import torch

        return torch.fft.rfft
    if backend == "jax":
        import jax

        return jax.numpy.fft.rfft
    return scipy.fft.rfft if backend == "numpy" else namespace(backend).fft.rfft


def limit(work: Work, dtype: str, rates: dict[str, float]) -> float:
    """Seconds below which no direct method gets: the larger of arithmetic and memory traffic."""
    return max(work.flops / rates[f"gemm {dtype}"], work.bytes / rates["copy"]) / 1e9
