"""The rows of the cross-backend matrix as objects that tests use as `xp`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import sys
import tomllib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROWS_FILE = Path(__file__).parents[1] / "ci" / "rows.toml"
# Names of distributions and of the modules they install.
_MODULES = {"array-api-strict": "array_api_strict", "intel-opencl-rt": None}
# Rows of what is slow where every step is compiled by itself: on eager JAX generic tests do.
COMPILED_ONCE = (
    "numpy", "numpy-readonly", "jax-jit", "torch", "strict", "strict-device1", "strict-no-float64",
    "dpnp",
)  # fmt: skip
_NAMESPACES = {"strict": "array_api_strict", "jax": "jax.numpy", "dask": "dask.array"}


@dataclass
class Row:
    """One row: a namespace, with what tests need beside it.

    Names of the array API (`xp.asarray` excepted) are taken from the library's namespace.
    """

    name: str
    backend: str
    mode: str = ""
    device_name: str | None = None
    x64: bool = True

    def __post_init__(self) -> None:
        self._namespace: Any = None

    @property
    def namespace(self) -> Any:
        if self._namespace is None:
            self._namespace = _namespace(self.backend)
        return self._namespace

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.namespace, name)

    def __repr__(self) -> str:
        return f"<row {self.name}>"

    @property
    def device(self) -> Any:
        """The row's device object, or None for the default."""
        if self.backend == "strict" and self.device_name:
            return self.namespace.Device(self.device_name)
        if self.backend == "torch":
            return self.namespace.device(self.device_name)
        if self.backend == "jax" and self.device_name:
            import jax

            return jax.devices(self.device_name)[0]
        return None

    @property
    def float(self) -> str:
        """Name of the widest float of the row."""
        return "float64" if self.x64 else "float32"

    @property
    def complex(self) -> str:
        """Name of the widest complex dtype of the row."""
        return "complex128" if self.x64 else "complex64"

    @property
    def eps(self) -> float:
        """Epsilon of the widest float."""
        return float(np.finfo(self.float).eps)

    @property
    def traced(self) -> bool:
        """Whether `call` compiles."""
        return self.mode == "jit"

    @property
    def lazy(self) -> bool:
        """Whether values are unknown while operations run: nothing can be decided or raised."""
        return self.traced or self.backend == "dask"

    @property
    def autodiff(self) -> bool:
        """Whether the library differentiates."""
        return self.backend in ("jax", "torch")

    def context(self) -> AbstractContextManager[Any]:
        """What holds while a test of the row runs."""
        if self.backend == "jax":
            import jax

            return jax.enable_x64(self.x64)
        return _lazily() if self.backend == "dask" else nullcontext()

    def asarray(self, values: Any, dtype: str | None = None) -> Any:
        """A host array or list as an array of the row; floats become the row's widest."""
        table = np.array(values, dtype=dtype)
        narrow = {"float64": "float32", "complex128": "complex64"}
        if not self.x64 and table.dtype.name in narrow:
            table = table.astype(narrow[table.dtype.name])
        if self.backend == "numpy":
            if self.mode == "readonly":
                table.flags.writeable = False
            return table
        if self.backend == "strict":
            kind = getattr(self.namespace, table.dtype.name)
            return (
                self.namespace.asarray(table.tolist(), dtype=kind, device=self.device)
                if (table.size)
                else self.namespace.zeros(table.shape, dtype=kind, device=self.device)
            )
        if self.backend == "dask":
            if self.device_name:
                import cupy

                table = cupy.asarray(table)
            return self.namespace.from_array(table, chunks=tuple(map(_uneven, table.shape)))
        if self.device is not None:
            return self.namespace.asarray(table, device=self.device)
        return self.namespace.asarray(table)

    def numpy(self, x: Any) -> np.ndarray:
        """A result on the host (an explicit transfer)."""
        from swath.testing import _host

        return _host(x)

    def call(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Call fn, compiled in a "jit" row: arrays are traced, the rest is static."""
        if not self.traced:
            return fn(*args, **kwargs)
        import jax

        def is_array(v: Any) -> bool:
            return isinstance(v, jax.Array)

        places = [i for i, a in enumerate(args) if is_array(a)]
        names = [k for k, v in kwargs.items() if is_array(v)]

        @jax.jit
        def traced(positional: list[Any], named: dict[str, Any]) -> Any:
            full = list(args)
            for i, a in zip(places, positional, strict=True):
                full[i] = a
            return fn(*full, **{**kwargs, **named})

        return traced([args[i] for i in places], {k: kwargs[k] for k in names})


def count(xp: Row, many: int, few: int) -> int:
    """How many shapes to draw: JAX compiles each one; second rows of a library take a share."""
    if xp.backend == "jax":
        return few
    return many if xp.name in ("numpy", "torch", "strict") else max(few, many // 6)


def widest(xp: Row, taps: int) -> int:
    """Largest window per axis to draw: eagerly, JAX compiles for every tap."""
    return 2 if xp.backend == "jax" else taps


@contextmanager
def _lazily() -> Iterator[None]:
    """One thread, so that what is set here holds there: graphs hold what is then not taken, and
    NumPy warns of the invalid values in it."""
    import dask

    with dask.config.set(scheduler="synchronous"), np.errstate(all="ignore"):
        yield


def _uneven(n: int) -> tuple[int, ...]:
    """Chunks of an axis: two or three of different lengths where there are points enough."""
    lengths = (n // 2, n // 3, n - n // 2 - n // 3)
    return tuple(k for k in lengths if k) if n > 3 else (n,)


def _namespace(backend: str) -> Any:
    if backend == "numpy":
        return np
    if backend == "torch":
        import array_api_compat.torch as xp

        return xp
    return importlib.import_module(_NAMESPACES.get(backend, backend))


def find_opencl() -> None:
    """Point the SYCL loader to the CPU driver that the wheel intel-opencl-rt installs."""
    if "OCL_ICD_FILENAMES" not in os.environ:
        for found in Path(sys.prefix, "lib").glob("libintelocl.so"):
            os.environ["OCL_ICD_FILENAMES"] = str(found)


def load() -> dict[str, tuple[Row, dict[str, Any]]]:
    """All rows with their settings, by name."""
    with ROWS_FILE.open("rb") as f:
        table = tomllib.load(f)["row"]
    return {
        r["name"]: (
            Row(r["name"], r["backend"], r.get("mode", ""), r.get("device"), r.get("x64", True)),
            r,
        )
        for r in table
    }


def missing(settings: dict[str, Any]) -> str | None:
    """Why a row cannot run here, or None."""
    for package in settings["packages"]:
        module = _MODULES.get(package, package.replace("-", "_").removesuffix("_cuda13x"))
        if module is not None and importlib.util.find_spec(module) is None:
            return f"{package} is not installed"
    if settings.get("gpu"):
        try:
            if not _gpus("cupy" if settings["backend"] == "dask" else settings["backend"]):
                return "no GPU found"
        except Exception as error:  # without a driver the libraries raise their own kinds
            return f"no GPU found ({type(error).__name__})"
    return None


def _gpus(backend: str) -> int:
    """How many GPUs a library finds."""
    library = importlib.import_module(backend)
    if backend == "cupy":
        return library.cuda.runtime.getDeviceCount()
    if backend == "torch":
        return library.cuda.device_count()
    return len(library.devices("gpu"))


def required(settings: dict[str, Any]) -> bool:
    """Whether a missing row fails the run on this platform."""
    return f"{sys.platform}-{platform.machine().lower()}" in settings["required_on"]
