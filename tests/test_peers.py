"""Layers against PyTorch, JAX's lax and ONNX's reference evaluator over generated attribute grids.

hypothesis draws the layers, derandomized (tests/peers_grid.py): of conv, conv_transpose, max_pool,
avg_pool and lp_pool each 70 with one sliding axis, 60 with two and 50 with three, 900 in all, and
100 with four axes against loops (on numpy; fewer elsewhere). Every layer is held against every peer
that has it: value and all derivatives, in float64, and in float32 against the float64 peer within
the accuracy contract. There are no tolerances to hide in: 64 eps of the largest element in float64,
the contract's bounds in float32, equality for maxima.

How many run where: all 900 on numpy; 600 of them (40 of each kind and number of axes) on torch and
strict; 60 (4 of each) on dpnp, and on jax-jit in compiled programs of 4; 15 (1 of each) on jax,
which compiles every operation of every shape, and where test_convolution.py, test_pooling.py and
test_features.py run more. How many layers each peer took part in is asserted and printed.
"""

from __future__ import annotations

import doctest
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import peers_grid
import swath
from oracles_layers import LAYERS as LOOPS
from swath import nn
from swath.testing import assert_close

EPS = {"float64": 2.0**-52, "float32": 2.0**-23}
# Layers of each kind and rank on each row.
SHARE = {"numpy": 1000, "torch": 40, "strict": 40, "jax-jit": 4, "dpnp": 4, "dask": 2, "jax": 1}
PEERS = pytest.mark.needs("torch", "jax", "onnx")

LAYERS = {
    "conv": (nn.conv, ("x", "weight", "bias")),
    "conv_transpose": (nn.conv_transpose, ("x", "weight", "bias")),
    "max_pool": (nn.max_pool, ("x",)),
    "avg_pool": (nn.avg_pool, ("x",)),
    "lp_pool": (nn.lp_pool, ("x",)),
}


def keywords(case):
    """A drawn layer in swath's words, but for its arrays."""
    found = {"stride": case.stride, "dilation": case.dilation, "padding": case.padding}
    found |= {k: v for k, v in case.extra.items() if k != "ties"}
    return found if case.layer.startswith("conv") else {"size": case.size, **found}


def arrays(xp, case, dtype):
    names = LAYERS[case.layer][1]
    return [xp.asarray(case.arrays[n], dtype) for n in names if n in case.arrays]


def differentiated(case, args, cotangent):
    """swath's value and gradients."""
    op, _ = LAYERS[case.layer]
    value, pullback = swath.vjp(op, *args, **keywords(case))
    return value, pullback(cotangent)[: len(args)]


def computed(xp, cases, dtype):
    """Value and gradients of every layer, on jax-jit in one compiled program."""
    given = [(arrays(xp, c, dtype), xp.asarray(c.cotangent, dtype)) for c in cases]
    if not xp.traced:
        return [differentiated(c, *g) for c, g in zip(cases, given, strict=True)]
    import jax

    def program(given):
        return [differentiated(c, *g) for c, g in zip(cases, given, strict=True)]

    return jax.jit(program)(given)


def factors(case):
    """Allowed error in eps times the same layer of magnitudes, by name of the result.

    Products: 2·K, the contract. Means: one division more. Norms: two powers more, each of a few
    units in its last place, and the power that a slope divides by.
    """
    found = {k: 2 * n for k, n in peers_grid.terms(case).items()}
    if case.layer == "avg_pool":
        return {k: n + 2 for k, n in found.items()}
    if case.layer == "lp_pool":
        return {"y": found["y"] + 16, "x": 2 * found["x"] + 32 * case.extra["p"]}
    return found


def check(case, who, value, gradients, want, wanted, bounds, dtype):
    """A layer's results against one peer's."""
    pairs = [("y", value, want)]
    names = [n for n in LAYERS[case.layer][1] if n in case.arrays]
    pairs += [(n, g, wanted[n]) for n, g in zip(names, gradients, strict=True) if n in wanted]
    for name, got, reference in pairs:
        exact = case.layer == "max_pool" and name == "y"
        bound = None
        if exact:
            bound = 0.0
        elif dtype == "float32":
            magnitude, slopes = bounds
            if case.layer == "max_pool":
                # The gradient is a sum of at most one cotangent for every tap.
                size = np.prod(case.size) * np.max(np.abs(case.cotangent))
            else:
                size = magnitude if name == "y" else slopes[name]
            bound = factors(case)[name] * EPS[dtype] * size
        try:
            assert_close(got, reference, bound=bound, dtype=dtype)
        except AssertionError as error:
            raise AssertionError(f"{who}, {dtype}, {name} of {case}: {error}") from None


def references(cases):
    """What every peer says of every layer, and the bounds' magnitudes."""
    import peers_lax
    import peers_onnx
    import peers_torch

    lax, magnitudes = peers_lax.references(cases, [c.magnitudes() for c in cases])
    peers = []
    for case, value in zip(cases, lax, strict=True):
        onnx = peers_onnx.reference(case)
        found = {"lax": value, "torch": peers_torch.reference(case)}
        peers.append({**found, "onnx": None if onnx is None else (onnx, {})})
    return cases, peers, magnitudes


# In how many of the 70, 60 and 50 layers PyTorch and ONNX's evaluator take part at least; lax has
# all. hypothesis mixes constants of the modules loaded into what it draws, so that the numbers move
# a little with what else is run: the summary prints them.
TAKEN = {
    "conv": {"torch": (70, 60, 50), "onnx": (70, 60, 50)},
    "conv_transpose": {"torch": (70, 60, 50), "onnx": (45, 34, 22)},
    "max_pool": {"torch": (55, 46, 36), "onnx": (70, 60, 50)},
    "avg_pool": {"torch": (20, 10, 6), "onnx": (24, 22, 16)},
    "lp_pool": {"torch": (18, 12, 6), "onnx": (50, 40, 30)},
}


def compare(xp, case, dtype, result, peers, bounds):
    """A layer's results on one row against every peer that has it."""
    value, gradients = result
    for who, reference in peers.items():
        if reference is not None:
            where = f"{xp.name} against {who}"
            check(case, where, value, gradients, *reference, bounds, dtype)


def disagrees(xp, dtype, case):
    """Whether one layer alone fails: for hypothesis, to find a small one."""
    _, peers, bounds = references([case])
    with xp.context():
        result = computed(xp, [case], dtype)[0]
    try:
        compare(xp, case, dtype, result, peers[0], bounds[0])
    except AssertionError:
        return True
    return False


@PEERS
@pytest.mark.op(*[f"nn.{layer}" for layer in LAYERS])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("layer", list(LAYERS))
def test_layers_equal_every_peer(all_rows, record_property, layer, rank):
    cases, peers, bounds = references(peers_grid.cases(layer, rank))
    assert len(cases) == peers_grid.DRAWN[rank]
    taken = {who: sum(p[who] is not None for p in peers) for who in peers[0]}
    assert taken["lax"] == len(cases)
    for who in ("torch", "onnx"):
        assert taken[who] >= TAKEN[layer][who][rank - 1]
    named = {c.padding for c in cases if isinstance(c.padding, str)}
    assert named >= {"same", "same_lower"}
    assert any(max(c.dilation) > 1 for c in cases)
    assert any(not c.symmetric for c in cases)
    run = {}
    for xp in all_rows:
        if xp.name not in SHARE:
            continue
        record_property("row", xp.name)
        some = cases[: SHARE[xp.name]]
        run[xp.name] = len(some)
        for dtype in ("float64", "float32"):
            with xp.context():
                results = computed(xp, some, dtype)
            for i, (case, result) in enumerate(zip(some, results, strict=True)):
                try:
                    compare(xp, case, dtype, result, peers[i], bounds[i])
                except AssertionError as error:
                    fails = partial(disagrees, xp, dtype)
                    also = peers_grid.smallest(layer, rank, fails)
                    raise AssertionError(f"{error}{also}") from None
    rows = ", ".join(f"{n} on {name}" for name, n in run.items())
    by = ", ".join(f"{n} with {who}" for who, n in taken.items())
    record_property("note", f"peers: {layer}, {rank} axes: {len(cases)} layers, {by}; {rows}")


@pytest.mark.needs("torch", "onnx")
@pytest.mark.op("nn.max_pool")
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_places_of_maxima_equal_the_peers(all_rows, record_property, rank):
    """Also in both storage orders of ONNX, which number the same places in two ways."""
    import peers_onnx
    import peers_torch

    seen = {"torch": 0, "onnx": 0}
    for i, case in enumerate(peers_grid.cases("max_pool", rank)):
        torch, onnx = peers_torch.indices(case), [peers_onnx.indices(case, o) for o in (0, 1)]
        for xp in all_rows:
            if i >= SHARE.get(xp.name, 0):
                continue
            if i == 0:
                record_property("row", xp.name)
            with xp.context():
                x = xp.asarray(case.arrays["x"])
                got = xp.call(nn.max_pool, x, return_indices=True, **keywords(case))[1]
            if torch is not None:
                assert_close(got, torch)
                seen["torch"] += xp.name == "numpy"
            for order, want in enumerate(onnx):
                if want is not None:
                    places = peers_onnx.numbered(xp.numpy(got), case.points, order)
                    assert_close(places, want)
                    seen["onnx"] += xp.name == "numpy"
    if any(xp.name == "numpy" for xp in all_rows):
        assert seen["torch"] >= 20
        assert seen["onnx"] >= 60


FOUR_AXES = {"numpy": 20, "torch": 10, "strict": 10, "jax-jit": 2, "dpnp": 2, "dask": 2}
ROWS = pytest.mark.on("numpy", "jax-jit", "torch", "strict", "dpnp", "dask")


@ROWS
@pytest.mark.needs("onnx")
@pytest.mark.op("nn.conv_transpose")
def test_output_shape_of_onnx(xp):
    """ONNX's output_shape makes the padding; swath is given the padding that it makes.

    Without auto_pad the specification splits it as SAME_LOWER does; the evaluator pads nothing
    then, and is asked with SAME_LOWER instead.
    """
    import peers_onnx

    rng = np.random.default_rng(5)
    for trial in range(20 if xp.backend in ("numpy", "torch", "strict") else 4):
        n, k = int(rng.integers(2, 6)), int(rng.integers(1, 5))
        s, d, more = int(rng.integers(1, 4)), int(rng.integers(1, 3)), 0
        reach = (n - 1) * s + d * (k - 1) + 1
        wanted = int(rng.integers(max(1, reach - 4), reach + 1))
        more = int(rng.integers(0, s)) if trial % 2 else 0
        upper = trial % 3 == 0
        x, w = peers_grid.single(rng, 1, 2, n), peers_grid.single(rng, 2, 3, k)
        want = peers_onnx.run(
            "ConvTranspose",
            [x, w],
            auto_pad="SAME_UPPER" if upper else "SAME_LOWER",
            kernel_shape=[k],
            strides=[s],
            dilations=[d],
            output_padding=[more],
            output_shape=[wanted],
        )
        total = reach + more - wanted
        pair = (total // 2, total - total // 2) if upper else (total - total // 2, total // 2)
        got = xp.call(
            nn.conv_transpose,
            xp.asarray(x),
            xp.asarray(w),
            stride=s,
            dilation=d,
            padding=(pair,),
            output_padding=more,
        )
        assert_close(got, want)


@ROWS
@pytest.mark.needs("onnx")
@pytest.mark.op("nn.global_max_pool", "nn.global_avg_pool", "nn.global_lp_pool")
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_global_pools_equal_onnx(xp, rng, rank):
    """GlobalMaxPool: the evaluator reduces the wrong axes unless there are two; ReduceMax instead.

    GlobalLpPool: the evaluator has none; LpPool with a window that is the whole instead.
    """
    import peers_onnx

    axes = np.arange(2, rank + 2)
    for trial in range(10 if xp.backend in ("numpy", "torch", "strict") else 2):
        shape = tuple(int(n) for n in rng.integers(1, 7, rank))
        x = peers_grid.single(rng, 2, 3, *shape)
        array = xp.asarray(x)
        found = xp.call(nn.global_max_pool, array)
        assert_close(found, peers_onnx.run("ReduceMax", [x, axes]), rtol=0.0)
        if rank == 2:
            assert_close(found, peers_onnx.run("GlobalMaxPool", [x]), rtol=0.0)
        found = xp.call(nn.global_avg_pool, array)
        assert_close(found, peers_onnx.run("GlobalAveragePool", [x]))
        p = trial % 4 + 1
        whole = {"kernel_shape": list(shape), "strides": [1] * rank}
        assert_close(
            xp.call(nn.global_lp_pool, array, p), peers_onnx.run("LpPool", [x], p=p, **whole)
        )


@ROWS
@pytest.mark.needs("onnx")
@pytest.mark.op("nn.max_unpool")
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_max_unpool_equals_onnx(xp, rng, rank):
    """ONNX numbers places over batch and channels; output_shape adds zeros behind."""
    import peers_onnx

    for trial in range(10 if xp.backend in ("numpy", "torch", "strict") else 2):
        size = tuple(int(n) for n in rng.integers(1, 4, rank))
        counts = tuple(int(n) for n in rng.integers(1, 4, rank))
        low = tuple(int(rng.integers(0, k)) if n > 1 else 0 for k, n in zip(size, counts))
        points = tuple(n * k - p for n, k, p in zip(counts, size, low, strict=True))
        pads = tuple((p, 0) for p in low)
        x = peers_grid.single(rng, 2, 2, *counts)
        places = np.stack([rng.permutation(np.prod(points))[: np.prod(counts)] for _ in range(4)])
        places = places.reshape(x.shape)
        numbers = peers_onnx.numbered(places, points, 0)
        inputs = [x, numbers]
        wider = [(0, 0), (0, 0), *[(0, trial % 3)] * rank]
        if trial % 3:
            inputs.append(np.array([2, 2, *(n + trial % 3 for n in points)]))
        want = peers_onnx.run(
            "MaxUnpool",
            inputs,
            kernel_shape=list(size),
            strides=list(size),
            pads=peers_onnx.flat(pads),
        )
        got = xp.call(
            nn.max_unpool, xp.asarray(x), xp.asarray(places), size, stride=size, padding=pads
        )
        assert_close(np.pad(xp.numpy(got), wider), want, rtol=0.0)


@ROWS
@pytest.mark.needs("onnx", "torch")
@pytest.mark.op("overlap_add", "sliding_windows")
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_col2im_and_fold_are_overlap_add(xp, rng, rank):
    """Padding is cut off the sum; `unfold` is the transpose, `sliding_windows` of the padded x."""
    import torch
    import torch.nn.functional as F

    import peers_onnx

    axes = tuple(range(2, rank + 2))
    done = 0
    while done < (15 if xp.backend in ("numpy", "torch", "strict") else 3):
        size, stride, dilation = (peers_grid.ints(rng, 1, 3, rank) for _ in range(3))
        image = peers_grid.ints(rng, 2, 6 if rank < 3 else 4, rank)
        low, high = peers_grid.ints(rng, 0, 2, rank), peers_grid.ints(rng, 0, 2, rank)
        if done % 2:
            high = low
        full = tuple(a + n + b for a, n, b in zip(low, image, high, strict=True))
        counts = tuple(
            (n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip(full, size, stride, dilation, strict=True)
        )
        if min(counts) < 1:
            continue
        done += 1
        columns = peers_grid.single(rng, 2, 3 * int(np.prod(size)), int(np.prod(counts)))
        blocks = columns.reshape(2, 3, *size, *counts)
        order = (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
        blocks = np.transpose(blocks, order)
        got = xp.call(
            swath.overlap_add,
            xp.asarray(blocks),
            (2, 3, *full),
            stride=stride,
            dilation=dilation,
            axes=axes,
        )
        inside = tuple(slice(a, a + n) for a, n in zip(low, image, strict=True))
        got = xp.numpy(got)[(slice(None), slice(None), *inside)]
        want = peers_onnx.run(
            "Col2Im",
            [columns, np.array(image), np.array(size)],
            strides=list(stride),
            dilations=list(dilation),
            pads=peers_onnx.flat(tuple(zip(low, high, strict=True))),
        )
        assert_close(got, want)
        if rank == 2 and low == high:
            fold = F.fold(torch.tensor(columns), image, size, dilation, low, stride)
            assert_close(got, fold.numpy())
            x = peers_grid.single(rng, 2, 3, *image)
            padded = np.pad(x, [(0, 0), (0, 0), *zip(low, high, strict=True)])
            windows = xp.call(
                swath.sliding_windows,
                xp.asarray(padded),
                size,
                stride=stride,
                dilation=dilation,
                axes=axes,
            )
            found = np.transpose(xp.numpy(windows), (0, 1, 4, 5, 2, 3)).reshape(columns.shape)
            want = F.unfold(torch.tensor(x), size, dilation, low, stride).numpy()
            assert_close(found, want, rtol=0.0)


@ROWS
@pytest.mark.op(*[f"nn.{layer}" for layer in LAYERS])
@pytest.mark.parametrize("layer", list(LAYERS))
def test_four_axes_equal_loops(xp, layer, record_property):
    """Values by loops, and gradients: of bilinear layers and means by ⟨g, e⟩ = ⟨y, layer(e)⟩ with
    the loops' layer of random e in place of each argument; of maxima by their places, and of norms
    by the loops' own window sums."""
    count = FOUR_AXES[xp.name]
    cases = peers_grid.cases(layer, 4)[:count]
    for case, (value, gradients) in zip(cases, computed(xp, cases, "float64"), strict=True):
        loops, names = LOOPS[f"nn.{layer}"], [n for n in LAYERS[layer][1] if n in case.arrays]
        host = [case.arrays[n] for n in names]
        exact = {"rtol": 0.0} if layer == "max_pool" else {}
        assert_close(value, loops(*host, **keywords(case)), **exact)
        if layer == "max_pool":
            assert_close(gradients[0], sent_back(case, loops))
            continue
        for place, gradient in enumerate(gradients):
            e = peers_grid.single(np.random.default_rng(place), *gradient.shape)
            if layer == "lp_pool":
                want = slope(case, e)
            else:
                # The bias is an offset: none where another argument varies.
                rest = [a if n != "bias" else 0 * a for n, a in zip(names, host, strict=True)]
                if names[place] == "bias":
                    rest[0] = 0 * rest[0]
                rest[place] = e
                want = np.sum(loops(*rest, **keywords(case)) * case.cotangent)
            got = np.sum(xp.numpy(gradient) * e)
            assert_close(np.asarray(got), want, atol=1e-12 * case.cotangent.size)
    if xp.name == "numpy":
        rows = ", ".join(f"{n} on {name}" for name, n in FOUR_AXES.items())
        record_property("note", f"peers: {layer}, 4 axes: layers against loops: {rows}")


def sent_back(case, loops):
    """Each cotangent at the place of its maximum."""
    x, y = case.arrays["x"], case.cotangent
    _, places = loops(x, **keywords(case), return_indices=True)
    found = np.zeros((*x.shape[:2], np.prod(case.points)))
    for at in np.ndindex(*y.shape):
        found[(*at[:2], places[at])] += y[at]
    return found.reshape(x.shape)


def slope(case, e):
    """⟨y, slope of the p-norm along e⟩ = Σ y · Σ|x|^(p−1)·sign(x)·e / norm^(p−1)."""
    x, p = case.arrays["x"], case.extra["p"]
    mean, norm = LOOPS["nn.avg_pool"], LOOPS["nn.lp_pool"](x, **keywords(case))
    windows = {k: v for k, v in keywords(case).items() if k != "p"}
    sums = mean(np.abs(x) ** (p - 1) * np.sign(x) * e, divisor_override=1, **windows)
    return np.sum(case.cotangent * sums / norm ** (p - 1))


ONNX_LAYERS = (
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool",
    "GlobalMaxPool", "GlobalLpPool", "MaxUnpool", "Col2Im",
)  # fmt: skip


@pytest.mark.needs("onnx")
@pytest.mark.on("numpy")
def test_every_attribute_of_onnx_is_driven_and_in_the_dictionary(xp, rng):
    """By ONNX's own schemas.

    GlobalLpPool has no evaluator: LpPool over the whole stands for it. The evaluator is wrong in
    ConvTranspose with groups, and is asked group by group (tests/peers_onnx.py).
    """
    import onnx.defs

    import peers_onnx

    for layer in LAYERS:
        for case in peers_grid.cases(layer, 2):
            peers_onnx.reference(case)
            if layer == "max_pool":
                peers_onnx.indices(case, 1)
    test_output_shape_of_onnx(xp)
    test_global_pools_equal_onnx(xp, rng, 2)
    test_max_unpool_equals_onnx(xp, rng, 1)
    test_col2im_and_fold_are_overlap_add(xp, rng, 1)
    page = (Path(__file__).parents[1] / "docs" / "dictionary.rst").read_text(encoding="utf-8")
    onnx_part = page[page.index("\nONNX\n") : page.index("\nPyTorch\n")]
    driven = peers_onnx.DRIVEN
    driven["GlobalLpPool"] = driven["LpPool"]
    driven["ConvTranspose"].add("group")
    for op in ONNX_LAYERS:
        schema = onnx.defs.get_schema(op)
        missing = set(schema.attributes) - driven[op]
        assert not missing, f"{op}: not driven: {sorted(missing)}"
        words = {op, *schema.attributes}
        assert not {w for w in words if f"``{w}``" not in onnx_part}, op
    # Optional inputs too: a bias, and the output shape of MaxUnpool.
    assert {"2 inputs", "3 inputs"} <= driven["Conv"] | driven["MaxUnpool"]


def test_the_dictionarys_examples_print_what_they_say():
    page = Path(__file__).parents[1] / "docs" / "dictionary.rst"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted >= 6
    assert result.failed == 0
