"""Layers against PyTorch, JAX's lax and ONNX's reference evaluator over generated attribute grids.

Drawn from fixed seeds (tests/peers_grid.py): 180 layers of each kind: 70 with one sliding axis, 60
with two, 50 with three, for conv, conv_transpose, max_pool, avg_pool and lp_pool, 900 in all; 4
axes against loops. Every layer is held against every peer that has it: value and all derivatives,
in float64, and in float32 against the float64 peer within the accuracy contract. By row: all 900 on
numpy; 600 of them (120 of each kind) on torch and strict; 75 in compiled programs of 5
on jax-jit, 75 on dpnp, which compile every shape; jax itself, compiled operation by operation, runs
5 here and its share in test_convolution.py and test_pooling.py. There are no tolerances to hide
in: 64 eps of the largest element in float64, the contract's bounds in float32, equality for maxima.
How many layers each peer took part in is asserted.
"""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest

import oracles_nn
import peers_grid
import swath
from swath import nn
from swath.testing import assert_close

EPS = {"float64": 2.0**-52, "float32": 2.0**-23}
# Layers of each kind and rank on each row.
SHARE = {"numpy": 1000, "torch": 40, "strict": 40, "jax-jit": 5, "dpnp": 5, "jax": 1}
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

    from peers_lax import QUICK

    def program(given):
        return [differentiated(c, *g) for c, g in zip(cases, given, strict=True)]

    return jax.jit(program, compiler_options=QUICK)(given)


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


def references(layer, rank):
    """What every peer says of every layer, and the bounds' magnitudes."""
    import peers_lax
    import peers_onnx
    import peers_torch

    cases = peers_grid.cases(layer, rank)
    lax, magnitudes = peers_lax.references(cases, [c.magnitudes() for c in cases])
    torch = [peers_torch.reference(c) for c in cases]
    onnx = [peers_onnx.reference(c) for c in cases]
    return cases, lax, torch, onnx, magnitudes


# How many of the 70, 60 and 50 layers PyTorch and ONNX's evaluator take part in; lax has all.
TAKEN = {
    "conv": {"torch": (70, 60, 50), "onnx": (70, 60, 50)},
    "conv_transpose": {"torch": (70, 60, 50), "onnx": (65, 49, 36)},
    "max_pool": {"torch": (63, 55, 44), "onnx": (70, 60, 50)},
    "avg_pool": {"torch": (38, 23, 13), "onnx": (49, 39, 34)},
    "lp_pool": {"torch": (29, 20, 16), "onnx": (67, 58, 44)},
}


@PEERS
@pytest.mark.op(*[f"nn.{layer}" for layer in LAYERS])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("layer", list(LAYERS))
def test_layers_equal_every_peer(all_rows, record_property, layer, rank):
    cases, lax, torch, onnx, magnitudes = references(layer, rank)
    assert len(cases) == len(lax) == peers_grid.DRAWN[rank]
    for who, found in (("torch", torch), ("onnx", onnx)):
        assert sum(r is not None for r in found) >= TAKEN[layer][who][rank - 1]
    named = {c.padding for c in cases if isinstance(c.padding, str)}
    assert named >= {"same", "same_lower"}
    assert any(max(c.dilation) > 1 for c in cases)
    assert any(not c.symmetric for c in cases)
    for xp in all_rows:
        if xp.name not in SHARE:
            continue
        record_property("row", xp.name)
        # Every stretch of the grid is alike: the first layers stand for all.
        some = cases[: SHARE[xp.name]]
        with xp.context():
            for dtype in ("float64", "float32"):
                results = computed(xp, some, dtype)
                for i, (case, (value, gradients)) in enumerate(zip(some, results, strict=True)):
                    bounds = magnitudes[i]
                    values = None if onnx[i] is None else (onnx[i], {})
                    peers = {"lax": lax[i], "torch": torch[i], "onnx": values}
                    for who, reference in peers.items():
                        if reference is None:
                            continue
                        where = f"{xp.name} against {who}"
                        check(case, where, value, gradients, *reference, bounds, dtype)


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


ROWS = pytest.mark.on("numpy", "jax-jit", "torch", "strict", "dpnp")


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
@pytest.mark.op("nn.conv", "nn.conv_transpose", "nn.max_pool", "nn.avg_pool", "nn.lp_pool")
def test_four_axes_equal_loops(xp, rng):
    """Forward against loops; derivatives against the loops' own products with unit kernels.

    conv is bilinear: its gradients are pinned by ⟨y, conv(e, w)⟩ for random e in place of x, and
    of w, with conv by loops.
    """
    for _ in range(20 if xp.backend == "numpy" else 4 if xp.backend != "jax" else 2):
        size, stride, dilation, points = (
            peers_grid.ints(rng, low, high, 4) for low, high in ((1, 2), (1, 2), (1, 2), (3, 4))
        )
        low, high = peers_grid.ints(rng, 0, 1, 4), peers_grid.ints(rng, 0, 1, 4)
        low = tuple(min(p, k - 1) for p, k in zip(low, size, strict=True))
        high = tuple(min(p, k - 1) for p, k in zip(high, size, strict=True))
        pads = tuple(zip(low, high, strict=True))
        settings = {"stride": stride, "dilation": dilation, "padding": pads}
        x, w = peers_grid.single(rng, 1, 2, *points), peers_grid.single(rng, 2, 1, *size)
        geometry = (stride, pads, dilation, 2)
        want = oracles_nn.conv(x, w, *geometry)
        y = rng.standard_normal(want.shape)
        args = (xp.asarray(x), xp.asarray(w))
        both = dict(settings, groups=2)
        assert_close(xp.call(nn.conv, *args, **both), want)
        _, pullback = swath.vjp(nn.conv, *args, **both)
        gradients = [xp.numpy(g) for g in pullback(xp.asarray(y))]
        for place, gradient in enumerate(gradients):
            probe = [x, w]
            probe[place] = rng.standard_normal(gradient.shape)
            left = float(np.sum(oracles_nn.conv(*probe, *geometry) * y))
            right = float(np.sum(gradient * probe[place]))
            assert_close(np.asarray(right), left, atol=1e-12 * y.size)
        back = xp.call(nn.conv_transpose, xp.asarray(y), args[1], output_shape=points, **both)
        assert_close(back, gradients[0])
        window = ((2, 3, 4, 5), size, stride, pads, dilation, want.shape[2:])
        if min(dilation) == max(dilation) == 1:
            # No window is wholly in padding.
            best = oracles_nn.pool(x, *window, lambda v, _: v.max())
            assert_close(xp.call(nn.max_pool, args[0], size, **settings), best, rtol=0.0)
        sums = oracles_nn.pool(x, *window, lambda v, _: float(v.sum()))
        means = xp.call(nn.avg_pool, args[0], size, divisor_override=2, **settings)
        assert_close(means, sums / 2, atol=1e-14)
        squares = oracles_nn.pool(x, *window, lambda v, _: float(np.sqrt((v**2).sum())))
        assert_close(xp.call(nn.lp_pool, args[0], size, **settings), squares)


def test_the_dictionarys_examples_print_what_they_say():
    page = Path(__file__).parents[1] / "docs" / "dictionary.rst"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted >= 6
    assert result.failed == 0
