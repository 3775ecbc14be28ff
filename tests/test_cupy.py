"""CuPy without a GPU: the adapter's lines on a stand-in, its names and keywords against CuPy.

Where a GPU is found the row "cupy" of the matrix runs CuPy itself.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import standin_cupy

BACKENDS = Path(__file__).parents[1] / "src" / "swath" / "_backends"
ADAPTER = [BACKENDS / f"{n}.py" for n in ("cupy_", "cuda", "cuda_lines", "cuda_text")]
pytestmark = [pytest.mark.needs("cupy")]

RUN_CASES = """
import json, sys
import numpy as np
import standin_cupy
cupy = standin_cupy.install()
import swath
import rows
from cases import CASES
from over_cases import Call, arrays_in, beside, random_like
from swath._backends import backend_of
from swath.testing import _host

gpu, cpu = rows.Row("cupy", "cupy"), rows.Row("numpy", "numpy")
report = {}
for case in CASES:
    try:
        got, want = [], []
        for row, found in ((gpu, got), (cpu, want)):
            call = Call(case, row)
            for array in call.arrays:
                assert backend_of(array).name == row.backend
            values = arrays_in(call.full(*call.arrays))
            assert all(backend_of(v).name == row.backend for v in values), "left the backend"
            if call.slots:
                values += call.value_and_manual(lambda y: beside(y, random_like(y)))[1]
            found += [_host(v) for v in values]
        assert len(got) == len(want)
        for a, b in zip(got, want):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
        report[case.id] = None
    except Exception as error:
        import traceback
        report[case.id] = "".join(traceback.format_exception(error))[-1500:]
print(json.dumps(report))
"""


def in_subprocess(code):
    """Run Python with tests/ on its path; the stand-in must not leak into this process."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_case_runs_on_the_stand_in_and_equals_numpy():
    report = json.loads(in_subprocess(RUN_CASES).splitlines()[-1])
    failed = {k: v for k, v in report.items() if v}
    assert not failed, "\n".join(f"{k}: {v}" for k, v in failed.items())
    assert len(report) > 10


def test_adapter_hooks_on_the_stand_in():
    """What no case may reach: devices, moving, batched triangular solves, an indefinite matrix."""
    in_subprocess("""
import numpy as np
import standin_cupy
cupy = standin_cupy.install()
import swath, pytest
import swath.cupy as sw
from swath._backends import backend_named

be = backend_named("cupy")
assert be.devices() == ["cuda:0"] and be.kind == "gpu" and be.free_memory() == 2**33
x = sw.asarray([[1.0, 2.0], [3.0, 4.0]])
assert type(x) is cupy.ndarray and x.dtype == np.float64
assert sw.to_numpy(sw.signal.convolve([1.0, 2.0], [1.0, 1.0])).tolist() == [1.0, 3.0, 2.0]
with pytest.raises(TypeError, match="Implicit conversion"):
    np.asarray(x)
with pytest.raises(TypeError, match="Unsupported type|unsupported operand"):
    x + np.ones((2, 2))
with pytest.raises(TypeError, match="array of cupy and in2 of numpy"):
    swath.signal.convolve(x, np.ones((1, 1)))
assert be.same_device(x, x) and be.device(x) == be.check_device("cuda:0") == be.check_device(0)
be.synchronize(x)

rng = np.random.default_rng(0)
for lower in (True, False):
    for transpose in (False, True):
        for lead_a, lead_b in (((), ()), ((3,), ()), ((), (3,)), ((2, 1), (3,))):
            a = rng.standard_normal((*lead_a, 4, 4)) + 4 * np.eye(4)
            a = np.tril(a) if lower else np.triu(a)
            b = rng.standard_normal((*lead_b, 4, 2)) + 1j * rng.standard_normal((*lead_b, 4, 2))
            got = be.solve_triangular(be.from_host(a), be.from_host(b), lower=lower,
                                      transpose=transpose)
            want = np.linalg.solve(np.swapaxes(a, -1, -2) if transpose else a, b)
            np.testing.assert_allclose(be.to_numpy(got), want, rtol=1e-9)
good, bad = np.eye(2) * 4, np.array([[1.0, 2.0], [2.0, 1.0]])
both = be.to_numpy(be.cholesky(be.from_host(np.stack([good, bad]))))
np.testing.assert_array_equal(both[0], np.eye(2) * 2)
assert np.isnan(both[1]).all()
""")


def test_kernels_compiled_for_the_processor():
    """Products and reductions of drawn windows, beside those of NumPy's passes."""
    in_subprocess("""
import random
import numpy as np
import standin_cupy
cupy = standin_cupy.install()
import swath
from swath._backends import backend_named
from swath.geometry import Sliding, Span, Windows
from swath.signal._polyphase import _CORES as resampling, Rate
from swath.sliding import places, plan, reduce

gpu, cpu, rng, made = backend_named("cupy"), backend_named("numpy"), random.Random(3), set()
numbers = np.random.default_rng(3)

def span():
    while True:
        if rng.random() < 0.2:
            return Span(rng.randint(1, 9), 1)
        s = Span(rng.randint(1, 9), rng.randint(1, 4), rng.randint(1, 3), rng.randint(1, 2),
                 rng.randint(-1, 4), rng.randint(-1, 4))
        if s.out > 0 and s.length + min(s.low, 0) + min(s.high, 0) > 0:
            return s

for i in range(16):
    rank, groups, last = rng.randint(1, 3), rng.choice([1, 1, 2]), rng.random() < 0.5
    g = Sliding(tuple(span() for _ in range(rank)), groups=groups, last=last, method="native")
    kind = rng.choice(["float32", "float64", "complex64"])
    x = numbers.integers(-9, 9, g.x_shape(2, 2 * groups)).astype(kind)
    rows = groups * rng.choice([2, 7])
    w = numbers.integers(-9, 9, g.w_shape(rows, 2)).astype(kind)
    y = numbers.integers(-9, 9, g.y_shape(2, rows)).astype(kind)
    for role, a, b in (("y", x, w), ("x", w, y), ("w", x, y)):
        got = plan.run(gpu, role, g, gpu.from_host(a), gpu.from_host(b))
        np.testing.assert_array_equal(got.get(), plan.run(cpu, role, g, a, b))

    shape = [rng.randint(1, 3) for _ in range(rng.randint(0, 2))]
    axes = tuple(range(len(shape), len(shape) + rank))
    shape += [s.length for s in g.spans] + [rng.randint(1, 3) for _ in range(rng.randint(0, 1))]
    windows = Windows(tuple(shape), axes, g.spans)
    kind = rng.choice(["float32", "float64", "int32", "int8"])
    x = numbers.integers(-3, 3, shape).astype(kind)
    if kind.startswith("float"):
        x[numbers.random(shape) < 0.1] = np.nan
        x[numbers.random(shape) < 0.1] = -np.inf
    y = numbers.integers(-9, 9, windows.out).astype("float32")
    here = gpu.from_host(x)
    for key in ("largest", "places", "scatter", "sums", "spread"):
        def computed(be, x, y):
            if key == "largest":
                return [reduce.window_extreme(windows, x, largest=True)]
            if key == "places":
                return places.extreme_places(be, windows, x, largest=True)
            if key == "scatter":
                return [reduce.scatter(windows, y, x)]
            if key == "sums":
                return [reduce.sum_windows(windows, x)]
            return [reduce._SPREAD.forward(be, windows, y)]
        got, want = computed(gpu, here, gpu.from_host(y)), computed(cpu, x, y)
        for a, b in zip(got, want):
            np.testing.assert_array_equal(a.get(), b, err_msg=f"{key} {windows}")

    rate = Rate(rng.randint(1, 30), rng.randint(1, 9), *rng.choice([(3, 2), (1, 4), (5, 1)]),
                rng.randint(-3, 9), rng.randint(1, 40), groups)
    kind = rng.choice(["float32", "complex128"])
    x = numbers.integers(-9, 9, (2, 2 * groups, rate.length)).astype(kind)
    h = numbers.integers(-9, 9, (rows, 2, rate.taps)).astype(kind)
    y = numbers.integers(-9, 9, (2, rows, rate.count)).astype(kind)
    for role, a, b in (("y", x, h), ("x", h, y)):
        got = resampling[role].forward(gpu, rate, gpu.from_host(a), gpu.from_host(b))
        np.testing.assert_array_equal(got.get(), resampling[role].forward(cpu, rate, a, b))
sizes = standin_cupy._compiled.cache_info().currsize
assert sizes > 20, sizes
# Wider windows go axis by axis; sums and their transpose divide once.
wide = Windows((40, 50, 2), (0, 1), (Span(40, 9, 2, 1, 4, 4), Span(50, 12, 3, 1, 5, 6)))
x = numbers.integers(-99, 99, wide.shape).astype("float64")
y = numbers.integers(-99, 99, wide.out).astype("float64")
for role, a in (("sum", x), ("spread", y), ("max", x)):
    got = gpu.native_pool(role, wide, 0, gpu.from_host(a), divisor=1 if role == "max" else 108)
    if role == "max":
        want = reduce.window_extreme(wide, a, largest=True)
    else:
        core = reduce._SPREAD if role == "spread" else reduce._SUM
        want = core.forward(cpu, wide, a) / 108
    np.testing.assert_array_equal(got.get(), want)
""")


def test_products_along_lines_compiled_for_the_processor():
    """Lines in tiles and several lines in a block, one kernel and several, taps in parts."""
    in_subprocess("""
import numpy as np
import standin_cupy
cupy = standin_cupy.install()
from swath._backends import backend_named, cuda, cuda_lines
from swath.geometry import Sliding, Span
from swath.sliding import plan

gpu, cpu, numbers = backend_named("cupy"), backend_named("numpy"), np.random.default_rng(3)
long = Sliding((Span(10**6, 1025, low=512, high=512),))
lines = [
    ((Span(700, 31, low=15, high=15),), 1, 1, 1, 1, "float32"),
    ((Span(500, 200, low=99, high=250),), 2, 2, 1, 2, "complex64"),
    ((Span(90, 140, low=199, high=100),), 2, 2, 6, 3, "float64"),
    ((Span(40, 5, low=-3, high=9),), 3, 1, 13, 2, "float32"),
    ((Span(9, 3, 2, 2, 1, 1), Span(60, 9, low=4, high=4)), 2, 2, 3, 2, "float32"),
    ((Span(5, 2, low=1), Span(6, 3, 1, 2, 2, 1), Span(30, 7, low=4)), 2, 1, 8, 2, "float32"),
    ((Span(4, 3, low=1, high=1), Span(3, 3, low=1, high=1)), 5, 3, 4, 1, "complex128"),
]
for spans, batch, groups, rows, depth, kind in lines:
    g = Sliding(spans, groups=groups, method="native")
    x = numbers.integers(-9, 9, g.x_shape(batch, groups * depth)).astype(kind)
    w = numbers.integers(-9, 9, g.w_shape(groups * rows, depth)).astype(kind)
    if kind.startswith("complex"):
        x, w = x * np.asarray(1 + 2j, kind), w * np.asarray(3 - 1j, kind)
    want = plan.run(cpu, "y", g, x, w)
    # The kernel lies turned in memory, as convolutions have it.
    over = tuple(range(2, w.ndim))
    turned = cupy.flip(gpu.from_host(np.flip(w, over).copy()), over)
    np.testing.assert_array_equal(cuda_lines.product(g, gpu.from_host(x), turned).get(), want)
    assert cuda_lines.effort(g, rows, w.itemsize) > 0.8
# A gradient of one kernel: sums in parts, of which the last is not full; crops; all padding.
for span, batch, groups in (
    (Span(3000, 31, low=15, high=15), 1, 1), (Span(900, 40, low=-3, high=60), 3, 2),
    (Span(700, 300, low=299, high=0), 2, 1), (Span(5, 3, low=9, high=2), 1, 2),
):
    g = Sliding((span,), groups=groups, method="native")
    x = numbers.integers(-9, 9, g.x_shape(batch, groups)).astype("float64")
    y = numbers.integers(-9, 9, g.y_shape(batch, groups)).astype("float64")
    want = plan.run(cpu, "w", g, x, y)
    got = cuda.kernel_gradient(g, gpu.from_host(x), gpu.from_host(y)).get()
    np.testing.assert_array_equal(got, want)
assert cuda_lines.parts(g, 1, 1, 1).many == 1 < cuda_lines.parts(long, 1, 1, 1).many
# What is chosen: long lines, and where windows do not move point by point along one, not.
assert cuda.way(long, 1, 4, False)[0] == "lines"
assert cuda.way(long, 88, 8, False)[0] == "lines"
for step in ({"stride": 2}, {"dilation": 2}):
    assert cuda.way(Sliding((Span(10**6, 1025, **step),)), 1, 4, False)[0] == "alone"
    assert cuda.way(Sliding((Span(10**6, 1025, **step),)), 9, 4, False)[0] == "columns"
""")


# -- names and keywords


_FUTURE = "from __future__ import annotations"


def used_names():
    """Every dotted name below cupy or cupyx in the adapter, with the keywords of its calls."""
    tree = ast.parse("\n".join(p.read_text("utf-8").replace(_FUTURE, "") for p in ADAPTER))
    roots = {"cp": "cupy"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cupy"):
            roots |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}

    def dotted(node):
        if isinstance(node, ast.Name):
            return roots.get(node.id)
        if isinstance(node, ast.Attribute):
            base = dotted(node.value)
            return f"{base}.{node.attr}" if base else None
        return None

    found: dict[str, list[tuple[int, set[str]]]] = {}
    for node in ast.walk(tree):
        name = dotted(node) if isinstance(node, ast.Attribute | ast.Name) else None
        if name and name != "cupy":
            found.setdefault(name, [])
        if isinstance(node, ast.Call) and dotted(node.func):
            keywords = {k.arg for k in node.keywords if k.arg}
            found.setdefault(dotted(node.func), []).append((len(node.args), keywords))
    # Calls through a variable: transform(x, s=…, axes=…) of the FFTs.
    for name in [n for n in found if n.startswith("cupy.fft.")]:
        found[name].append((1, {"s", "axes"}))
    return found


def parameters(name):
    """How the parameters of a name are known, and what they are; (None, …) where not at all."""
    module, _, attribute = name.rpartition(".")
    try:
        home, rest = importlib.import_module("cupy"), name.split(".")[1:]
        if name.split(".")[0] != "cupy":
            raise ImportError(name)
        for part in rest:
            home = getattr(home, part)
    except ImportError:
        found = standin_cupy.source_signature(module, attribute)
        return ("source", found) if found is not None else (None, None)
    try:
        return "import", inspect.signature(home)
    except (TypeError, ValueError):
        return "import, without a signature", None


def test_every_name_and_keyword_of_the_adapter_exists_in_cupy(record_property):
    unchecked, checked = [], 0
    for name, calls in sorted(used_names().items()):
        how, known = parameters(name)
        if how is None:
            unchecked.append(name)
            continue
        checked += 1
        for count, keywords in calls:
            if known is None:
                unchecked.append(f"{name}'s keywords {sorted(keywords)}") if keywords else None
                continue
            text = f"{name} takes {known}, the adapter passes {count} values and {keywords}"
            if how == "source":
                assert keywords <= {*known}, text
                assert count <= len(known), text
            else:
                try:
                    known.bind_partial(*range(count), **dict.fromkeys(keywords))
                except TypeError:
                    pytest.fail(text)
    names = ", ".join(unchecked) or "none"
    record_property("note", f"CuPy names that nothing checks without a GPU: {names}")
    assert checked >= 15


def test_a_wrong_keyword_would_be_seen():
    how, known = parameters("cupy.lib.stride_tricks.as_strided")
    assert how == "import"
    assert list(known.parameters) == ["x", "shape", "strides"]
    how, known = parameters("cupyx.scipy.linalg.solve_triangular")
    assert how == "source"
    assert "lower" in known
    assert "writeable" not in known
    with pytest.raises(AttributeError):
        parameters("cupy.no_such_function")
