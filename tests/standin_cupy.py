"""A stand-in for CuPy on machines without a GPU: its names and rules over NumPy's arithmetic.

`install()` puts modules named cupy and cupyx in place of the installed ones, which must have been
importable: the stand-in offers only names that they have, and binds every call to their
signatures. Arrays refuse to become NumPy arrays unasked, as CuPy's do; functions refuse NumPy
arrays. Kernels given as C++ are compiled for the processor. It shows that the adapter asks CuPy for
nothing that CuPy does not have, and that the text of a kernel says the right thing; it cannot show
what a GPU makes of it.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import importlib
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

REFUSAL = (
    "Implicit conversion to a NumPy array is not allowed. "
    "Please use `.get()` to construct a NumPy array explicitly."
)
_MODULES = ("cupy", "cupy.linalg", "cupy.fft", "cupy.lib", "cupy.lib.stride_tricks")


class Device:
    """cupy.cuda.Device: a context manager with an index."""

    def __init__(self, device: Any = None) -> None:
        self.id = 0 if device is None else int(device)

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: Any) -> None:
        return None

    def synchronize(self) -> None:
        """Nothing to wait for."""


class ndarray:
    """An array that only the stand-in's functions can read."""

    __array_ufunc__ = None
    __array_priority__ = 100

    def __init__(self, host: np.ndarray) -> None:
        self._host = np.asarray(host)

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError(REFUSAL)

    @property
    def device(self) -> Device:
        return Device(0)

    def get(self) -> np.ndarray:
        return self._host.copy()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in _array_names():
            raise AttributeError(f"cupy.ndarray has no attribute {name!r}")
        value = getattr(self._host, name)
        return _wrapped(value, f"ndarray.{name}") if callable(value) else _wrap(value)

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        return (_wrap(row) for row in self._host)

    def __getitem__(self, index: Any) -> Any:
        return _wrap(self._host[_unwrap(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._host[_unwrap(index)] = _unwrap(value)

    def __bool__(self) -> bool:
        return bool(self._host)

    def __int__(self) -> int:
        return int(self._host)

    def __float__(self) -> float:
        return float(self._host)

    def __complex__(self) -> complex:
        return complex(self._host)

    def __repr__(self) -> str:
        return f"standin({self._host!r})"

    __hash__ = None  # type: ignore[assignment]


def _operator(name: str) -> Callable[..., Any]:
    def method(self: ndarray, *others: Any) -> Any:
        result = getattr(self._host, name)(*(_unwrap(o) for o in others))
        if result is NotImplemented:
            return result
        if name.startswith("__i") and name not in ("__invert__", "__index__"):
            self._host = result
            return self
        return _wrap(result)

    method.__name__ = name
    return method


_BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"]
_BINARY += ["and", "or", "xor", "lshift", "rshift"]
for _name in _BINARY:
    for _form in (f"__{_name}__", f"__r{_name}__", f"__i{_name}__"):
        setattr(ndarray, _form, _operator(_form))
for _name in ["eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert"]:
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


def _array_names() -> set[str]:
    return set(dir(_REAL["cupy"].ndarray))


_REAL: dict[str, types.ModuleType] = {}


def _wrap(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(np.asarray(value))
    if isinstance(value, tuple) and any(isinstance(v, np.ndarray | np.generic) for v in value):
        return tuple(_wrap(v) for v in value)
    return [_wrap(v) for v in value] if isinstance(value, list) else value


def _unwrap(value: Any, *, host: bool = False) -> Any:
    """The NumPy value behind; NumPy arrays themselves are refused, as CuPy does."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray) and value.ndim and not host:
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple):
        return tuple(_unwrap(v, host=host) for v in value)
    if isinstance(value, list):
        return [_unwrap(v, host=host) for v in value]
    return value


def _wrapped(function: Callable[..., Any], path: str, real: Any = None) -> Callable[..., Any]:
    try:
        signature = inspect.signature(real) if real is not None else None
    except (TypeError, ValueError):
        signature = None  # a ufunc or a compiled function: it has none to compare with
    takes_host = path in ("cupy.asarray", "cupy.array")

    def call(*args: Any, **kwargs: Any) -> Any:
        if signature is not None:
            signature.bind(*args, **kwargs)
        args = tuple(_unwrap(a, host=takes_host) for a in args)
        kwargs = {k: _unwrap(v, host=takes_host) for k, v in kwargs.items()}
        return _wrap(function(*args, **kwargs))

    call.__name__ = path.rsplit(".", 1)[-1]
    return call


def _solve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # CuPy broadcasts no batches here.
    if b.ndim > 1 and a.shape[:-1] != b.shape[:-1]:
        raise ValueError("a must have (..., M, M) shape and b must have (..., M, K)")
    return np.linalg.solve(a, b)


def _solve_triangular(a: np.ndarray, b: np.ndarray, **options: Any) -> np.ndarray:
    import scipy.linalg

    # CuPy computes in the dtype of a, and wants batches of one shape.
    if a.ndim > 2 and a.shape[:-2] != b.shape[: a.ndim - 2]:
        raise ValueError("incompatible batch count")
    b = b.astype(a.dtype)
    if a.ndim == 2:
        return scipy.linalg.solve_triangular(a, b, check_finite=False, **options)
    return np.stack([_solve_triangular(x, y, **options) for x, y in zip(a, b, strict=True)])


_ERRSTATE = [{"linalg": "ignore"}]


def _cholesky(a: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        if _ERRSTATE[-1]["linalg"] == "raise":
            raise
        return np.full_like(a, 123.0)  # garbage without a word, as cuSOLVER leaves it


@contextlib.contextmanager
def _errstate(*, linalg: str) -> Any:
    _ERRSTATE.append({"linalg": linalg})
    try:
        yield
    finally:
        _ERRSTATE.pop()


def _as_strided(x: np.ndarray, shape: Any = None, strides: Any = None) -> np.ndarray:
    return np.lib.stride_tricks.as_strided(x, shape, strides)


_CXX = """
#include <algorithm>
#include <cstddef>
{headers}
using std::min; using std::max;
typedef long long int64; typedef int int32;
{types}
extern "C" void run(ptrdiff_t n, void** a) {{
{arguments}
for (ptrdiff_t i = 0; i < n; ++i) {{ {results} {text} }} }}
"""
_C_NAMES = {
    "float32": "float", "float64": "double", "complex64": "std::complex<float>",
    "complex128": "std::complex<double>", "int8": "signed char", "uint8": "unsigned char",
    "int16": "short", "uint16": "unsigned short", "int32": "int", "uint32": "unsigned",
    "int64": "long long", "uint64": "unsigned long long",
}  # fmt: skip


# Threads of a block take turns: each runs until it waits for the others.
_BLOCKS = """
#include <algorithm>
#include <complex>
#include <vector>
#include <ucontext.h>
using std::min; using std::max; using std::complex;
#define __global__
#define __launch_bounds__(n)
#define __align__(n) __attribute__((aligned(n)))
struct Index {{ long long x; }};
static Index threadIdx, blockIdx;
static ucontext_t home, *turn;
static int ended;
static void __syncthreads() {{ swapcontext(turn, &home); }}
{text}
static void** given;
static void thread() {{ {name}({arguments}); ++ended; swapcontext(turn, &home); }}
extern "C" void run(long long blocks, long long threads, void** a) {{
    given = a;
    std::vector<ucontext_t> all(threads);
    std::vector<char> stacks(threads << 16);
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {{
        for (long long t = 0; t < threads; ++t) {{
            getcontext(&all[t]);
            all[t].uc_stack.ss_sp = &stacks[t << 16];
            all[t].uc_stack.ss_size = 1 << 16;
            makecontext(&all[t], thread, 0);
        }}
        for (ended = 0; ended < threads;)
            for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x)
                swapcontext(&home, turn = &all[threadIdx.x]);
    }}
}}
"""


_SHARED = 48 * 1024


class RawKernel:
    """cupy.RawKernel, its text compiled by the machine's C++ compiler: one axis of blocks, and of
    threads, which must all wait for each other as often."""

    def __init__(self, code: str, name: str) -> None:
        head, _, self.parameters = code.partition(f"{name}(")
        assert 'extern "C"' in head, "a name that C++ may change is not found"
        text = code.replace("#include <cupy/complex.cuh>", "")
        # The memory of a block, as much as there is without asking for more.
        self.text = re.sub(r"extern __shared__ (.*)\[\]", rf"static \1[{_SHARED}]", text)
        self.name = name

    def __call__(
        self, grid: tuple[int], block: tuple[int], args: tuple[Any, ...], *, shared_mem: int = 0
    ) -> None:
        assert shared_mem <= _SHARED
        values, given = [], []
        types = [p.rsplit(None, 1)[0].strip() for p in self.parameters.split(")")[0].split(",")]
        assert len(types) == len(args), f"{self.name} takes {len(types)} arguments"
        for number, (kind, value) in enumerate(zip(types, args, strict=True)):
            if isinstance(value, ndarray):
                assert kind.endswith("*")
                values.append(value._host)
                given.append(f"({kind}) given[{number}]")
            else:
                # A number is copied as it is, whatever the kernel takes it for.
                assert isinstance(value, np.generic), f"{value!r} has no width of its own"
                values.append(np.asarray(value))
                given.append(f"*({kind}*) given[{number}]")
                width = re.search(rf"typedef (.*) {kind};", self.text)
                assert width is not None
                assert width[1] == _C_NAMES[value.dtype.name]
        text = _BLOCKS.format(text=self.text, name=self.name, arguments=", ".join(given))
        pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        _compiled(text).run(ctypes.c_longlong(*grid), ctypes.c_longlong(*block), pointers)


class ElementwiseKernel:
    """cupy.ElementwiseKernel, its text compiled by the machine's C++ compiler: raw arrays and
    scalars in, results in the order of memory out."""

    def __init__(
        self, in_params: str, out_params: str, operation: str, name: str = "kernel"
    ) -> None:
        self.inputs = [p.split() for p in in_params.split(",")]
        self.outputs = [p.split() for p in out_params.split(",")]
        self.operation, self.name = operation, name

    def __call__(self, *args: Any) -> None:
        params = [*self.inputs, *self.outputs]
        assert len(args) == len(params), f"{self.name} takes {len(params)} arguments"
        letters, values, lines, results = {}, [], [], []
        for number, (param, value) in enumerate(zip(params, args, strict=True)):
            *raw, kind, name = param
            host = value._host if isinstance(value, ndarray) else np.asarray(value)
            if kind.isupper():
                assert letters.setdefault(kind, host.dtype) == host.dtype, f"{self.name}: {name}"
            else:
                host = host.astype(kind)
            assert host.flags.c_contiguous
            values.append(host)
            if raw:
                lines.append(f"const {kind}* {name} = (const {kind}*) a[{number}];")
            elif number < len(self.inputs):
                assert host.ndim == 0, "arrays that are not raw are results here"
                lines.append(f"const {kind} {name} = *(const {kind}*) a[{number}];")
            else:
                results.append(f"{kind}& {name} = (({kind}*) a[{number}])[i];")
        types = "".join(f"typedef {_C_NAMES[d.name]} {k}; " for k, d in letters.items())
        headers = "#include <complex>" if "complex" in types else ""
        text = _CXX.format(
            headers=headers,
            types=types,
            arguments="\n".join(lines),
            results=" ".join(results),
            text=self.operation,
        )
        pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        _compiled(text).run(ctypes.c_ssize_t(args[-1]._host.size), pointers)


@cache
def _compiled(text: str) -> ctypes.CDLL:
    folder = Path(tempfile.mkdtemp(prefix="swath-kernel-"))
    try:
        (folder / "kernel.cpp").write_text(text, encoding="utf-8")
        done = subprocess.run(
            [os.environ.get("CXX", "c++"), "-shared", "-fPIC", "-o", "kernel.so", "kernel.cpp"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + text
        return ctypes.CDLL(str(folder / "kernel.so"))
    finally:
        shutil.rmtree(folder)


def source_signature(module: str, name: str) -> list[str] | None:
    """Parameters of a function by reading the module's source, without importing it."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent.joinpath(*module.split(".")[1:])
    files = [folder.with_suffix(".py")] if folder.with_suffix(".py").exists() else []
    files += sorted(folder.glob("*.py"))
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == name:
                a = node.args
                return [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
            if isinstance(node, ast.ClassDef) and node.name == name:
                for item in node.body:
                    if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                        a = item.args
                        return [p.arg for p in (*a.args, *a.kwonlyargs)][1:]
    return None


def install() -> types.ModuleType:
    """Put the stand-in in place of CuPy in this process and return it."""
    for name in _MODULES:
        _REAL[name] = importlib.import_module(name)
    triangular = source_signature("cupyx.scipy.linalg", "solve_triangular")
    special = {
        "cupy.linalg.solve": _solve,
        "cupy.linalg.cholesky": _cholesky,
        "cupy.lib.stride_tricks.as_strided": _as_strided,
    }
    made: dict[str, types.ModuleType] = {}
    for path in _MODULES:
        real, host = _REAL[path], np
        for part in path.split(".")[1:]:
            host = getattr(host, part)
        module = types.ModuleType(path)
        module.__path__ = []  # type: ignore[attr-defined]
        if hasattr(real, "__all__"):
            module.__all__ = []  # type: ignore[attr-defined]
        for name in dir(real):
            if name.startswith("_"):
                continue
            value, model = getattr(real, name), getattr(host, name, None)
            if issubclass(type(value), types.ModuleType):
                continue
            if isinstance(value, type) and issubclass(value, np.generic):
                setattr(module, name, value)
            elif f"{path}.{name}" in special:
                setattr(module, name, _wrapped(special[f"{path}.{name}"], f"{path}.{name}", value))
            elif callable(model) and not isinstance(model, type):
                setattr(module, name, _wrapped(model, f"{path}.{name}", value))
            elif isinstance(value, int | float | type(None) | type):
                setattr(module, name, value)
            else:
                continue
            if hasattr(real, "__all__") and name in real.__all__:
                module.__all__.append(name)  # type: ignore[attr-defined]
        made[path] = module
    for name in [m for m in sys.modules if m.split(".")[0] in ("cupy", "cupyx", "cupy_backends")]:
        del sys.modules[name]
    cupy = made["cupy"]
    cupy.ndarray = ndarray  # type: ignore[attr-defined]
    cupy.ElementwiseKernel = ElementwiseKernel  # type: ignore[attr-defined]
    cupy.RawKernel = RawKernel  # type: ignore[attr-defined]
    cupy.__version__ = _REAL["cupy"].__version__  # type: ignore[attr-defined]
    cupy.dtype = np.dtype  # type: ignore[attr-defined]
    cupy.asnumpy = lambda a: a.get() if isinstance(a, ndarray) else np.asarray(a)  # type: ignore[attr-defined]
    cupy.linalg, cupy.fft, cupy.lib = (made[f"cupy.{n}"] for n in ("linalg", "fft", "lib"))  # type: ignore[attr-defined]
    made["cupy.lib"].stride_tricks = made["cupy.lib.stride_tricks"]  # type: ignore[attr-defined]
    cuda = made["cupy.cuda"] = types.ModuleType("cupy.cuda")
    cuda.__path__ = []  # type: ignore[attr-defined]
    made["cupy.cuda.device"] = types.ModuleType("cupy.cuda.device")
    cuda.Device = made["cupy.cuda.device"].Device = Device  # type: ignore[attr-defined]
    cuda.runtime = types.SimpleNamespace(  # type: ignore[attr-defined]
        getDeviceCount=lambda: 1,
        memGetInfo=lambda: (2**33, 2**34),
        getDeviceProperties=lambda device: {"name": b"stand-in"},
    )
    cupy.cuda = cuda  # type: ignore[attr-defined]

    cupyx = made["cupyx"] = types.ModuleType("cupyx")
    cupyx.errstate = _errstate  # type: ignore[attr-defined]
    cupy.add.at = _wrapped(np.add.at, "cupy.add.at")  # type: ignore[attr-defined]
    made["cupyx.scipy"] = types.ModuleType("cupyx.scipy")
    linalg = made["cupyx.scipy.linalg"] = types.ModuleType("cupyx.scipy.linalg")

    def solve_triangular(*args: Any, **kwargs: Any) -> Any:
        unknown = set(kwargs) - set(triangular or ())
        if unknown:
            raise TypeError(f"solve_triangular has no parameters {sorted(unknown)}")
        return _wrap(_solve_triangular(*map(_unwrap, args), **kwargs))

    linalg.solve_triangular = solve_triangular  # type: ignore[attr-defined]
    for name in ("cupyx", "cupyx.scipy"):
        made[name].__path__ = []  # type: ignore[attr-defined]
    sys.modules.update(made)
    return cupy
