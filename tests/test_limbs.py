"""Products of integers by products of floats: exact modulo 2^bits, to the last sum that fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles_core
import swath
from swath._backends import backend_of
from swath.geometry import Sliding, Span
from swath.sliding import correlate, kernel_gradient, limbs, plan, spread
from swath.sliding.problem import Problem
from swath.testing import assert_close
from swath.tuning import Product

FLOATS = ("float32", "float64")
SIGNED = ("int8", "int16", "int32", "int64")
DTYPES = (*SIGNED, "uint8", "uint16", "uint32", "uint64")
METHODS = ("toeplitz", "im2col", "auto")
CORES = {"y": correlate, "x": spread, "w": kernel_gradient}
# PyTorch has these dtypes as storage only.
NO_ARITHMETIC = {"torch": ("uint16", "uint32", "uint64")}


def held(xp, dtype):
    """The dtype, or the widest one that the row computes with."""
    if dtype in NO_ARITHMETIC.get(xp.backend, ()):
        return "uint8"
    return dtype.replace("64", "32") if xp.backend == "jax" and not xp.x64 else dtype


def modulo(values, dtype):
    """Python integers as numbers of a dtype."""
    info = np.iinfo(dtype)
    flat = [(int(v) - info.min) % 2**info.bits + info.min for v in np.asarray(values).flat]
    return np.array(flat, dtype).reshape(np.shape(values))


def extremes(dtype):
    """The lowest and the highest number with sign of as many bits, and small odd ones."""
    signed = np.iinfo(dtype.lstrip("u"))
    return np.array([signed.min, signed.max, -1, 1], signed.dtype).view(dtype)


def laid(g, letter, a):
    """An array with channels first in the layout of g."""
    if not g.last:
        return a
    if letter == "w":
        a = np.moveaxis(a, 0, -1)
        return np.ascontiguousarray(np.moveaxis(a, 0, -2))
    return np.ascontiguousarray(np.moveaxis(a, 1, -1))


# -- how operands are cut


@pytest.mark.parametrize(
    ("bits", "terms", "dtype", "pairs"),
    [
        (8, 2**10, "float32", 1),
        (8, 2**10 + 1, "float64", 1),
        (8, 2**39, "float64", 1),
        (16, 2**23, "float64", 1),
        (16, 2**23 + 1, "float64", 2),
        (32, 2**7, "float64", 2),
        (32, 2**7 + 1, "float64", 3),
        (64, 2**7, "float64", 6),
        (64, 2**11, "float64", 6),
    ],
)
def test_the_least_work_that_is_exact_is_taken(bits, terms, dtype, pairs):
    how = limbs.split(bits, terms, FLOATS)
    assert (how.dtype, len(how.pairs)) == (dtype, pairs)


def test_floats_too_short_are_not_taken():
    assert limbs.split(64, 5, ("float32",)) is None
    assert limbs.split(8, 5, ()) is None
    assert limbs.split(8, 2**60, FLOATS) is None


@given(
    st.sampled_from((8, 16, 32, 64)), st.integers(1, 2**40), st.sampled_from([FLOATS[:1], FLOATS])
)
@settings(deadline=None)
def test_no_sum_outgrows_the_float(bits, terms, floats):
    how = limbs.split(bits, terms, floats)
    if how is None:
        return
    s, t = how.sizes
    largest = terms * 2 ** (s - 1) * 2 ** (t - 1)
    assert largest <= 2 ** {"float32": 24, "float64": 53}[how.dtype]
    assert largest <= 2**how.magnitude
    if how.dtype == "float32":
        # Devices may round such operands to bfloat16, which holds integers up to 2^8.
        assert 2 ** (max(s, t) - 1) <= 2**8
    assert s * how.counts[0] >= bits
    assert t * how.counts[1] >= bits
    every = {(i, j) for i in range(how.counts[0]) for j in range(how.counts[1])}
    # What is left out is a multiple of 2^bits.
    assert every - set(how.pairs) == {(i, j) for i, j in every if s * i + t * j >= bits}


@given(st.sampled_from(DTYPES), st.integers(1, 2**20), st.data())
@settings(deadline=None)
def test_limbs_are_the_integers_modulo_their_width(dtype, terms, data):
    info = np.iinfo(dtype)
    values = data.draw(st.lists(st.integers(info.min, info.max), min_size=1, max_size=9))
    values += [info.min, info.max, 0]
    a = np.array(values, dtype)
    how = limbs.split(info.bits, terms, FLOATS)
    for side in (0, 1):
        size = how.sizes[side]
        found = limbs.limbs(backend_of(a), a, how, side)
        assert len(found) == how.counts[side]
        assert all(abs(part).max() <= 2 ** (size - 1) for part in found)
        whole = sum(
            part.astype(np.int64).astype(object) * 2 ** (size * i) for i, part in enumerate(found)
        )
        assert_close(modulo(whole, dtype), a, dtype=dtype)


# -- products


@pytest.mark.op("sliding.correlate")
@pytest.mark.parametrize(
    ("dtype", "taps"),
    [
        ("int8", 2**10), ("int8", 2**10 + 1), ("uint8", 2**10), ("uint8", 2**10 + 1),
        ("int16", 90), ("uint16", 90), ("int32", 2**7), ("int32", 2**7 + 1), ("uint32", 2**7),
        ("int64", 2**7), ("int64", 2**7 + 1), ("uint64", 300),
    ],
)  # fmt: skip
def test_the_largest_sums_are_exact(xp, dtype, taps):
    dtype = held(xp, dtype)
    how = limbs.split(np.iinfo(dtype).bits, taps, FLOATS)
    # The ends with sign, and what has the largest lowest limb; odd sums, for even ones are held
    # by shorter floats.
    ends = [extremes(dtype)[:2], extremes(dtype)[:2]]
    for side, size in enumerate(how.sizes):
        limb = modulo([-(2 ** (size - 1))], dtype)
        ends[side] = np.concatenate([ends[side], limb])[:, None, None]
    x = np.concatenate([np.ones((3, 1, taps + 7), dtype) * ends[0]] * 2)
    w = np.concatenate([np.ones((3, 1, taps), dtype) * ends[1]] * 2)
    x[3:, :, taps // 2 + 3], w[3:, :, taps // 2] = 1, 1
    g = Sliding((Span(taps + 7, taps, low=1, high=2),))
    exact = oracles_core.product(g, "y", x=x.astype(object), w=w.astype(object))
    for method in METHODS if xp.backend != "jax" else METHODS[:1]:
        h = replace(g, method=method)
        got = xp.call(lambda a, b, h=h: correlate(h, a, b), xp.asarray(x), xp.asarray(w))
        assert_close(got, modulo(exact, dtype), dtype=dtype)


GEOMETRIES = {
    "line": (Sliding((Span(40, 5, low=2, high=3),)), 2, 1, 1),
    "steps": (Sliding((Span(60, 4, 3, 2, 1, 2),)), 1, 1, 1),
    "picture": (Sliding((Span(9, 3, low=1, high=1), Span(11, 4, low=1, high=2))), 2, 1, 1),
    "layer": (Sliding((Span(6, 3, low=1, high=1), Span(7, 3))), 2, 6, 5),
    "strides": (Sliding((Span(9, 3, 2, 1, 1, 1), Span(8, 2, 2))), 1, 4, 3),
    "groups": (Sliding((Span(12, 3, low=1, high=1),), 3), 2, 2, 2),
    "depthwise": (Sliding((Span(12, 3, low=1, high=1),), 5), 2, 1, 1),
    "last": (Sliding((Span(6, 3, low=1, high=1), Span(7, 3)), 1, True), 2, 16, 5),
}


@pytest.mark.op("sliding.correlate", "sliding.spread", "sliding.kernel_gradient")
@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("role", "yxw")
def test_every_product_is_exact_modulo_two_to_the_bits(xp, rng, role, name):
    g, batch, depth, rows = GEOMETRIES[name]
    first = replace(g, last=False)
    shapes = {
        "x": first.x_shape(batch, g.groups * depth),
        "w": first.w_shape(g.groups * rows, depth),
        "y": first.y_shape(batch, g.groups * rows),
    }
    # Rows that compile take one dtype and method, another for each product.
    turn = list(GEOMETRIES).index(name) + "yxw".index(role)
    few = xp.backend == "jax"
    for dtype in (DTYPES[turn % 8],) if few else DTYPES:
        dtype = held(xp, dtype)
        info = np.iinfo(dtype)
        given = {
            c: rng.integers(info.min, info.max, shapes[c], dtype=dtype, endpoint=True)
            for c in "xwy".replace(role, "")
        }
        exact = oracles_core.product(first, role, **{c: a.astype(object) for c, a in given.items()})
        want = laid(g, role, modulo(exact, dtype))
        arrays = [xp.asarray(laid(g, c, a)) for c, a in given.items()]
        for method in (METHODS[turn % 2],) if few else METHODS[:2]:
            h = replace(g, method=method)
            got = xp.call(lambda a, b, h=h: CORES[role](h, a, b), *arrays)
            assert_close(got, want, dtype=dtype)


@pytest.mark.op("sliding.correlate")
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
def test_pieces_of_a_small_workspace_are_exact(xp, rng, dtype):
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, (1, 1, 3000), dtype=dtype, endpoint=True)
    w = rng.integers(info.min, info.max, (1, 1, 33), dtype=dtype, endpoint=True)
    want = np.correlate(x[0, 0].astype(np.int64), w[0, 0].astype(np.int64), "valid").astype(dtype)
    g = Sliding((Span(3000, 33),), method="toeplitz")
    with swath.workspace(2**16):
        got = xp.call(lambda a, b: correlate(g, a, b), xp.asarray(x), xp.asarray(w))
    assert_close(got, want[None, None], dtype=dtype)


@pytest.mark.needs("torch")
@given(
    st.sampled_from(DTYPES),
    st.sampled_from("yxw"),
    st.lists(
        st.builds(
            Span, st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2),
            st.integers(0, 2), st.integers(0, 2),
        ),
        min_size=1, max_size=2,
    ),
    st.tuples(*[st.integers(1, 3)] * 4),
    st.sampled_from(METHODS),
    st.integers(0, 9),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_product_on_numpy_and_torch_is_exact(dtype, role, spans, sizes, method, seed):
    import torch

    if any(s.out < 1 for s in spans):
        return
    rng = np.random.default_rng(seed)
    batch, groups, depth, rows = sizes
    g = Sliding(tuple(spans), groups, method=method)
    shapes = {
        "x": g.x_shape(batch, groups * depth),
        "w": g.w_shape(groups * rows, depth),
        "y": g.y_shape(batch, groups * rows),
    }
    given = {c: rng.choice(extremes(dtype), shapes[c]) for c in "xwy".replace(role, "")}
    exact = oracles_core.product(g, role, **{c: a.astype(object) for c, a in given.items()})
    want = modulo(exact, dtype)
    assert_close(CORES[role](g, *given.values()), want, dtype=dtype)
    if dtype not in NO_ARITHMETIC["torch"]:
        got = CORES[role](g, *map(torch.tensor, given.values()))
        assert_close(got, want, dtype=dtype)


# -- what is planned


def test_long_sums_of_integers_are_products_of_matrices_and_short_ones_are_not():
    def method(dtype, taps):
        return swath.plan("correlate", np.ones(10**6, dtype), np.ones(taps, dtype)).method

    for dtype in SIGNED:
        assert method(dtype, 3) in ("direct", "native")
        assert method(dtype, 1025) == "toeplitz"
        # NumPy's own loop begins with the fewest calls.
        few = swath.plan("correlate", np.ones(200, dtype), np.ones(9, dtype))
        assert few.method == "native"
        assert few.error_bound == "exact modulo 2^bits"
    layer = np.ones((1, 64, 56, 56), np.int16), np.ones((64, 64, 3, 3), np.int16)
    assert swath.plan("conv", *layer).method == "im2col"


@pytest.mark.parametrize("method", ["fft", "overlap_save", "winograd"])
def test_methods_that_sum_otherwise_are_not_taken_even_when_asked_for(method):
    x, w = np.ones((1, 1, 99, 99), np.int16), np.ones((1, 1, 3, 3), np.int16)
    found = swath.plan("conv", x, w, method=method)
    assert found.method == "direct"
    assert found.why == f"{method}: integers are exact as plain sums of products only"
    assert found.error_bound == "exact modulo 2^bits"


def test_integers_that_no_float_holds_are_summed_directly():
    g = Sliding((Span(10**4, 301),), method="toeplitz")
    found = plan.choose(Problem("y", g, 1, 1, 1, "int64"), ("numpy", "cpu", ""))
    assert found.method == "direct"
    assert "no float here holds sums" in found.why


@pytest.mark.needs("torch")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_plan_on_pytorch_is_that_of_the_call(dtype):
    """Of stand-ins too the kernels of matrix products are PyTorch's."""
    import torch

    x, w = (
        torch.ones(10**5, dtype=getattr(torch, dtype)),
        torch.ones(31, dtype=getattr(torch, dtype)),
    )
    be = backend_of(x)
    problem = Product("y", Sliding((Span(10**5, 31),)), 1, 1, 1, dtype).problem(be)
    told = swath.plan("correlate", x, w, "valid")
    assert told.candidates == plan.choose(problem, be.place(x)).candidates
