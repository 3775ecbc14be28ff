"""The workspace bound: no product holds more than its operands, its result and the scratch allowed.

On NumPy the peak is counted by `tracemalloc`, on JAX read from the compiled program.
"""

from __future__ import annotations

import tracemalloc
from math import prod

import numpy as np
import pytest

import swath
from swath.geometry import Sliding, Span
from swath.sliding import correlate, kernel_gradient, overlap_save, plan, spread
from swath.sliding.overlap_save import frames_of
from swath.sliding.problem import Problem

pytestmark = pytest.mark.optimised
# Geometry, batch, input and output channels.
PROBLEMS = [
    (Sliding((Span(600, 7, 1, 1, 3, 3), Span(400, 7, 1, 1, 3, 3))), 1, 1, 1),
    (Sliding((Span(96, 3, 1, 1, 1, 1), Span(96, 3, 1, 1, 1, 1))), 4, 16, 16),
    (Sliding((Span(200, 3, 2, 1, 1, 1), Span(200, 3, 2, 1, 1, 1))), 2, 4, 8),
    (Sliding((Span(96, 3, 1, 2, 2, 2), Span(96, 3, 1, 2, 2, 2)), groups=4, last=True), 4, 4, 4),
    (Sliding((Span(300_000, 63, 1, 1, 62, 0),)), 1, 1, 1),
    (Sliding((Span(512, 31, 1, 1, 15, 15),)), 400, 1, 1),
    (Sliding((Span(200, 17, 1, 1, 8, 8), Span(300, 17, 1, 1, 8, 8))), 1, 1, 1),
]
# Their kernels go in parts; a sum tap by tap holds one Python object or two for each.
LONG = [Span(20_000, 9_000), Span(60_000, 6_001, 1, 2), Span(30_000, 29_000)]
CORES = {"y": correlate, "x": spread, "w": kernel_gradient}
LIMIT = 2**21


def operands(g: Sliding, batch: int, depth: int, rows: int) -> dict[str, tuple[int, ...]]:
    return {
        "x": g.x_shape(batch, g.groups * depth),
        "w": g.w_shape(g.groups * rows, depth),
        "y": g.y_shape(batch, g.groups * rows),
    }


def chosen(g: Sliding, role: str, *sizes: int) -> plan.Plan:
    return plan.choose(Problem(role, g, *sizes, "float64"), ("numpy", "cpu", ""), LIMIT)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64", "complex64"])
def test_bytes_of_a_problem_are_those_of_its_arrays(dtype):
    """Those of x with its padding."""
    g = Sliding((Span(12, 3, 2, low=2, high=1), Span(9, 2, 1, 2, low=-1)), groups=2)
    sizes = {k: np.zeros(shape, dtype).nbytes for k, shape in operands(g, 2, 3, 4).items()}
    for role in "xwy":
        p = Problem(role, g, 2, 3, 4, dtype)
        padded = np.zeros((2, 6, 15, 9), dtype).nbytes
        assert (p.x_bytes, p.w_bytes, p.y_bytes) == (padded, sizes["w"], sizes["y"])
        assert p.operand_bytes == max(n for letter, n in sizes.items() if letter != role)


@pytest.mark.on("numpy")
@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
@pytest.mark.parametrize("number", range(len(PROBLEMS)))
def test_numpy_holds_no_more_than_the_workspace(xp, rng, number):
    g, *sizes = PROBLEMS[number]
    shapes = operands(g, *sizes)
    for role, core in CORES.items():
        arrays = [rng.standard_normal(shapes[c]) for c in "xwy".replace(role, "")]
        for method in ("auto", "direct", "im2col", "toeplitz", "winograd", "fft", "overlap_save"):
            g_method = Sliding(g.spans, g.groups, g.last, method)
            p = chosen(g_method, role, *sizes)
            if method not in ("auto", p.method) or p.chosen.workspace > LIMIT:
                # An algorithm that cannot keep the limit says so, and auto never takes it.
                assert method != "auto"
                continue
            with swath.workspace(LIMIT):
                core(g_method, *arrays)  # what is made once and kept is made here
                tracemalloc.start()
                out = core(g_method, *arrays)
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
            assert peak <= out.nbytes + LIMIT, (role, method, p.slabs, (peak - out.nbytes) / LIMIT)


@pytest.mark.on("numpy", "jax-jit")
@pytest.mark.op("sliding.correlate")
@pytest.mark.parametrize("span", LONG)
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_kernels_in_parts_hold_no_more_than_they_tell(xp, span, dtype):
    g = Sliding((span,), method="overlap_save")
    assert frames_of((span,), lone=True)[0].parts > 1
    x, w = np.ones((1, 1, span.length), dtype), np.ones((1, 1, span.size), dtype)
    p = Problem("y", g, 1, 1, 1, dtype, xp.name != "numpy", xp.name == "numpy")
    told = overlap_save.scratch(p)
    if xp.name == "numpy":
        correlate(g, x, w)
        tracemalloc.start()
        out = correlate(g, x, w)
        found = tracemalloc.get_traced_memory()[1] - out.nbytes
        tracemalloc.stop()
    else:
        import jax

        run = jax.jit(lambda a, b: correlate(g, a, b))
        compiled = run.lower(xp.asarray(x), xp.asarray(w)).compile()
        found = compiled.memory_analysis().temp_size_in_bytes
    # Blocks of memory begin at multiples of some bytes.
    assert told / 3 <= found <= told + 256


# The image and the layer that would grow a hundredfold and ninefold by gathering windows.
IMAGE = ((1, 1, 4096, 4096), (1, 1, 11, 11))
LAYER = ((1, 64, 1024, 1024), (64, 64, 3, 3))


@pytest.mark.on("jax-jit")
@pytest.mark.op("nn.conv")
@pytest.mark.parametrize("shapes", [IMAGE, LAYER], ids=["image", "layer"])
def test_jax_compiles_to_no_more_than_the_workspace(xp, shapes):
    import jax
    import jax.numpy as jnp

    x, w = (jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes)

    def forward(x, w):
        return swath.nn.conv(x, w, padding="same")

    def backward(x, w, y):
        return jax.vjp(forward, x, w)[1](y)

    y = jax.eval_shape(forward, x, w)
    limit = max(64 * 2**20, 4 * prod(shapes[0]))
    for function, arrays in ((forward, (x, w)), (backward, (x, w, y))):
        memory = jax.jit(function).lower(*arrays).compile().memory_analysis()
        assert memory.temp_size_in_bytes <= limit, memory.temp_size_in_bytes / limit


@pytest.mark.on("jax-jit")
@pytest.mark.op("signal.convolve")
@pytest.mark.parametrize("method", ["native", "toeplitz"])
def test_slabs_are_read_where_the_signals_lie(xp, method):
    """The axis of one channel is ours: given to an argument of a program, it would be copied."""
    import jax
    import jax.numpy as jnp

    def function(x, h):
        return swath.signal.convolve(x, h, "same", method=method, axes=-1)

    x, h = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((64, 100_000), (101,)))
    with swath.workspace(2**23):
        compiled = jax.jit(function).lower(x, h).compile()
    assert "while" in compiled.as_text()
    assert compiled.memory_analysis().temp_size_in_bytes <= 2**23 < 4 * prod(x.shape)


def test_plan_leaves_out_what_outgrows_the_workspace():
    """One row of 10⁶ points cannot be cut along the first axis: its transform is too large."""
    g = Sliding((Span(4, 3), Span(10**6, 10**5)))
    p = Problem("y", g, 1, 1, 1, "float64")
    wide, tight = (plan.choose(p, ("numpy", "cpu", ""), limit) for limit in (2**30, 2**20))
    assert wide.chosen.transforms
    assert not tight.chosen.transforms
    assert "allowed" in next(c.note for c in tight.candidates if c.method == "fft")


# Shape, sliding axes, taps, stride, padding: an image, batches cut entry by entry, channels last, a
# volume, long lines, windows with points between.
WINDOWS = [
    ((1, 1, 700, 600), (2, 3), 3, 1, 1),
    ((1, 1, 701, 600), (2, 3), 5, 3, 2),
    ((6, 3, 100, 120), (2, 3), 31, 7, 15),
    ((7, 3, 150, 120), (2, 3), 2, 2, 0),
    ((3, 5, 500, 300), (0, 2, 3), 3, 3, 0),
    ((2, 200, 150, 3), (1, 2), 3, 2, 1),
    ((40, 50, 60, 7), (0, 1, 2), 3, 2, 0),
    ((300_000,), (0,), 31, 1, 15),
    ((3, 1, 4, 90_000), (3,), 9, 4, 0),
    ((2, 3, 400, 150), (2, 3), 2, 5, 3),
]


@pytest.mark.on("jax-jit")
@pytest.mark.op("nn.max_pool", "nn.avg_pool")
@pytest.mark.parametrize("shape, axes, size, stride, padding", WINDOWS)
def test_compiled_windows_hold_no_more_than_the_workspace(
    xp, rng, shape, axes, size, stride, padding
):
    """Values, tangents and gradients in pieces are those of the whole; few values, so with ties."""
    import jax

    x, t = (xp.asarray(rng.integers(0, 9, shape), "float32") for _ in range(2))
    settings = {"stride": stride, "padding": padding, "axes": axes}
    for pool in (swath.nn.max_pool, swath.nn.avg_pool):

        def run(v, pool=pool):
            return pool(v, size, **settings)

        def tangent(v, t, run=run):
            return jax.jvp(run, (v,), (t,))[1]

        def gradient(v, t, run=run):
            out, pullback = jax.vjp(run, v)
            return pullback(t.ravel()[: out.size].reshape(out.shape))[0]

        for function, arrays in ((run, (x,)), (tangent, (x, t)), (gradient, (x, t))):
            want = jax.jit(lambda *a, f=function: f(*a))(*arrays)
            with swath.workspace(LIMIT):
                compiled = jax.jit(lambda *a, f=function: f(*a)).lower(*arrays).compile()
            held = compiled.memory_analysis().temp_size_in_bytes
            # A cotangent is cut from t beside the product.
            assert held <= LIMIT + (want.nbytes if function is gradient else 0)
            np.testing.assert_allclose(compiled(*arrays), want, rtol=1e-6, atol=1e-5)


@pytest.mark.on("jax-jit")
@pytest.mark.op("nn.max_pool")
def test_pieces_of_whole_numbers(xp, rng):
    x = xp.asarray(rng.integers(-99, 99, (5, 300, 301)), "int32")

    def run(x):
        return swath.nn.max_pool(x, (5, 4), stride=(2, 3), padding=(2, 1))

    want = xp.call(run, x)
    with swath.workspace(2**18):
        got = xp.call(run, x)
    assert np.array_equal(got, want)


@pytest.mark.on("jax-jit")
@pytest.mark.op("nn.max_pool")
def test_pieces_of_padding_alone(xp, rng):
    """Their windows are of the lowest value."""
    x, pads = rng.integers(-99, 99, (40, 50)), ((3000, 100), (0, 0))
    padded = np.pad(x, pads, constant_values=np.iinfo(np.int32).min)
    want = np.lib.stride_tricks.sliding_window_view(padded, (5, 4)).max((-2, -1))

    def run(x):
        return swath.nn.max_pool(x, (5, 4), stride=1, padding=pads, axes=(0, 1))

    with swath.workspace(2**16):
        got = xp.call(run, xp.asarray(x, "int32"))
    assert np.array_equal(got, want)
