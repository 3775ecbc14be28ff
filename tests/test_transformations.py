"""jit, vmap, jvp, linearize, checkpoint, scan; torch.func and torch.compile; memory; settings."""

from __future__ import annotations

import numpy as np
import pytest

import swath
from over_cases import Call, arrays_in, close, params, random_like, record
from swath._backends import backend_of
from swath.geometry import Sliding, Span
from swath.sliding import correlate
from swath.testing import _host

LANES = 2


def lanes(call, names=None):
    """Every differentiable array of a call LANES times, slightly different each time.

    Lane 0 is the case itself, so that the points stay smooth.
    """
    return [np.stack([_host(a) * (1 + 0.01 * lane) for lane in range(LANES)]) for a in call.arrays]


# PyTorch's own forward mode and compiler warn about parts of PyTorch.
_TORCH_WARNS = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
    pytest.mark.filterwarnings(
        "ignore:Dynamo detected a call to a .functools.lru_cache:UserWarning"
    ),
]


def torch_only(test):
    for mark in (*_TORCH_WARNS, pytest.mark.on("torch")):
        test = mark(test)
    return test


# -- JAX


@pytest.mark.on("jax-jit")
@pytest.mark.parametrize("case", params(smooth=True))
def test_jax_vmap_equals_a_loop(xp, case):
    """Over each argument alone and over all, of the value and of the gradient, both ways round."""
    import jax

    call = Call(case, xp)
    host = lanes(call)
    stacked = [xp.asarray(h) for h in host]
    count = len(stacked)
    axes = [tuple(0 if i == j else None for i in range(count)) for j in range(count)]
    axes = list(dict.fromkeys([*axes, (0,) * count]))

    def given(ax, lane=None):
        """Stacked arrays where mapped (one lane of them), else lane 0."""
        pick = [
            s if a == 0 and lane is None else s[lane if a == 0 else 0]
            for s, a in zip(stacked, ax, strict=True)
        ]
        return pick

    ct = xp.asarray(random_like(jax.eval_shape(call, *given(axes[0], 0))))
    places = tuple(range(count))

    def loss(*arrays):
        return jax.numpy.sum(jax.numpy.real(call(*arrays) * ct))

    gradient = jax.grad(loss, argnums=places)

    def run():
        found = []
        for ax in axes:
            found.append(jax.vmap(call, ax)(*given(ax)))
            found.append(jax.vmap(gradient, ax)(*given(ax)))
        # grad of vmap: the sum of the losses of all lanes.
        whole = jax.grad(lambda *a: jax.numpy.sum(jax.vmap(loss)(*a)), argnums=places)
        return found, whole(*stacked)

    found, whole = jax.jit(run)()
    single = jax.jit(lambda *a: (call(*a), gradient(*a)))
    for number, ax in enumerate(axes):
        one = [single(*given(ax, lane)) for lane in range(LANES)]
        value = np.stack([_host(v) for v, _ in one])
        close(found[2 * number], value, xp.eps)
        for i in places:
            close(found[2 * number + 1][i], np.stack([_host(g[i]) for _, g in one]), xp.eps)
    for i in places:
        close(whole[i], np.stack([_host(g[i]) for _, g in one]), xp.eps)


@pytest.mark.on("jax-jit")
@pytest.mark.parametrize("case", params(smooth=True, first_of_each=True))
def test_jax_linearize_checkpoint_and_scan(xp, case):
    import jax

    call = Call(case, xp)
    tangents = [xp.asarray(random_like(a, 3 + i)) for i, a in enumerate(call.arrays)]

    def loss(*arrays):
        return jax.numpy.sum(jax.numpy.real(call(*arrays) ** 2))

    def run(arrays, tangents):
        value, pushed = jax.jvp(call, arrays, tangents)
        linear_value, linear = jax.linearize(call, *arrays)
        plain = jax.grad(loss)(*arrays)
        again = jax.grad(jax.checkpoint(loss))(*arrays)

        def step(carry, scale):
            return carry + scale * call(*arrays), scale * loss(*arrays)

        scales = jax.numpy.asarray([1.0, 2.0, -0.5])
        carry, losses = jax.lax.scan(step, jax.numpy.zeros_like(value), scales)
        return (value, pushed), (linear_value, linear(*tangents)), (plain, again), (carry, losses)

    direct, linear, grads, (carry, losses) = jax.jit(run)(call.arrays, tangents)
    for a, b in (*zip(direct, linear, strict=True), grads):
        close(a, b, xp.eps)
    value = _host(direct[0])
    close(carry, 2.5 * value, xp.eps)
    total = np.sum((value**2).real)
    close(losses, total * np.array([1.0, 2.0, -0.5]), xp.eps)


@pytest.mark.on("jax-jit")
@pytest.mark.parametrize("case", params(smooth=True, first_of_each=True))
def test_jax_shard_map_knows_what_devices_share(xp, case):
    """Each argument alone and all differ from device to device: part of their types, checked."""
    import jax
    from jax.sharding import Mesh, PartitionSpec

    call = Call(case, xp)
    count = len(call.arrays)
    mesh = Mesh(np.array(jax.devices()[:1]), ("lanes",))
    differ, same = PartitionSpec("lanes"), PartitionSpec()
    ct = xp.asarray(random_like(jax.eval_shape(call, *call.arrays)))

    for alone in (*range(count), None):
        split = [alone in (i, None) for i in range(count)]
        specs = tuple(differ if s else same for s in split)

        def both(*arrays, split=split):
            own = [a[0] if s else a for a, s in zip(arrays, split, strict=True)]

            def loss(*arrays):
                return jax.numpy.sum(jax.numpy.real(call(*arrays) * ct))

            slopes = jax.grad(loss, tuple(range(count)))(*own)
            return call(*own)[None], [d[None] if s else d for d, s in zip(slopes, split)]

        given = [a[None] if s else a for a, s in zip(call.arrays, split, strict=True)]
        mapped = jax.shard_map(both, mesh=mesh, in_specs=specs, out_specs=(differ, list(specs)))
        value, slopes = jax.eval_shape(mapped, *given)
        assert value.shape == (1, *ct.shape)
        assert [d.shape for d in slopes] == [a.shape for a in given]


@pytest.mark.on("jax-jit")
def test_jax_loops_in_shard_map_start_as_their_steps_leave_them(xp):
    """The first step lets one sum differ from device to device, the second one the other."""
    import jax
    from jax.sharding import Mesh, PartitionSpec

    be, zero = backend_of(xp.asarray([0.0])), jax.numpy.zeros(1)
    mesh, lanes = Mesh(np.array(jax.devices()[:1]), ("lanes",)), PartitionSpec("lanes")

    def loops(v):
        def step(state):
            return state[0] + v, state[1] + state[0], state[2] + 1

        start = zero, zero, zero
        counted = be.fori_loop(0, 3, lambda _, state: step(state), start)
        return counted[1], be.while_loop(lambda s: s[2][0] < 3, step, start, 9)[1]

    mapped = jax.shard_map(loops, mesh=mesh, in_specs=lanes, out_specs=(lanes, lanes))
    for total in xp.call(mapped, xp.asarray([2.0])):
        close(total, [6.0], xp.eps)


@pytest.mark.on("jax-jit")
@pytest.mark.parametrize("case", params())
def test_jax_may_be_told_to_promote_nothing(xp, case):
    """Neither dtypes nor ranks: settings that look for mistakes of the caller's."""
    import jax

    call = Call(case, xp)
    if call.refused(xp):
        return
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        if call.record.eager_only:
            call.full(*call.arrays)
            return
        value = jax.eval_shape(lambda *a: arrays_in(call.full(*a)), *call.arrays)
        assert value
        if case.smooth and call.record.differentiable:
            ct = xp.asarray(random_like(jax.eval_shape(call, *call.arrays)))

            def loss(*arrays):
                return jax.numpy.sum(jax.numpy.real(call(*arrays)))

            slopes = [
                jax.eval_shape(jax.grad(loss, tuple(range(len(call.arrays)))), *call.arrays),
                jax.eval_shape(lambda *a: call.manual(ct, *a), *call.arrays),
            ]
            for found in slopes:
                assert [d.shape for d in found] == [a.shape for a in call.arrays]


@pytest.mark.on("jax")
@pytest.mark.op("linalg.cholesky_qr")
def test_a_nan_that_is_at_hand_is_none_that_jax_looks_for(xp, rng):
    import jax

    a = xp.asarray(rng.standard_normal((7, 3)))
    with jax.debug_nans(True):
        q, r = swath.linalg.cholesky_qr(a)
        close(q @ r, a, xp.eps)
        for square in (a[:3, :], a[:2, :]):
            told = swath.linalg.lstsq(square, square[:, 0])
            assert np.isnan(_host(told.stderr)).all()
            close(square @ told.x, square[:, 0], 16 * xp.eps)
        assert np.isnan(_host(swath.linalg.lstsq(a[:3, :], a[:3, 0]).covariance)).all()
        sums = swath.linalg.GramAccumulator(3)
        sums.update(a[:3, :], a[:3, 0])
        close(a[:3, :] @ sums.solve().x, a[:3, 0], 64 * xp.eps)
        with pytest.raises(FloatingPointError):
            swath.signal.convolve(a[:, 0] * np.nan, a[:, 1])


@pytest.mark.on("jax")
@pytest.mark.op("nn.conv")
def test_programs_are_exported_for_a_symbolic_batch_by_a_map(xp, rng):
    import jax
    from jax import export

    kernel, x = (xp.asarray(rng.standard_normal(shape)) for shape in ((2, 3, 3), (5, 3, 9)))
    shape = export.symbolic_shape("batch, 3, 9")
    batch = jax.ShapeDtypeStruct(shape, x.dtype)
    with pytest.raises(Exception, match="inconclusive") as caught:
        export.export(jax.jit(lambda x: swath.nn.conv(x, kernel)))(batch)
    assert any("jax.lax.map" in note for note in caught.value.__notes__)

    def mapped(x):
        return jax.lax.map(lambda row: swath.nn.conv(row, kernel), x)

    close(export.export(jax.jit(mapped))(batch).call(x), swath.nn.conv(x, kernel), xp.eps)


@pytest.mark.on("jax")
@pytest.mark.optimised
def test_gradient_of_a_convolution_keeps_no_copy_of_the_input_per_tap(xp):
    """Traced shift-and-add would keep 121 shifted inputs for an 11 × 11 kernel."""
    import jax

    g = Sliding((Span(96, 11, low=5, high=5), Span(96, 11, low=5, high=5)), method="direct")
    x = jax.numpy.ones(g.x_shape(1, 1))
    w = jax.numpy.ones(g.w_shape(1, 1))

    def loss(x, w):
        return jax.numpy.sum(correlate(g, x, w) ** 2)

    # What the linearised function holds: x, w and y, not their shifted copies.
    _, back = jax.vjp(loss, x, w)
    kept = sum(leaf.size for leaf in jax.tree.leaves(back) if hasattr(leaf, "size"))
    assert kept <= 3 * x.size
    # Scratch of the compiled whole: that of two products at a time.
    one = jax.jit(lambda x, w: correlate(g, x, w)).lower(x, w).compile().memory_analysis()
    both = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(x, w).compile().memory_analysis()
    assert both.temp_size_in_bytes <= 2 * one.temp_size_in_bytes + 4 * x.nbytes


@pytest.mark.on("torch")
def test_pytorch_saves_inputs_and_outputs_only(xp):
    import torch

    saved = []
    x = torch.ones((1, 1, 96, 96), dtype=torch.float64, requires_grad=True)
    w = torch.ones((1, 1, 11, 11), dtype=torch.float64, requires_grad=True)
    g = Sliding((Span(96, 11, low=5, high=5), Span(96, 11, low=5, high=5)), method="direct")
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.append(t.numel()) or t, lambda t: t
    ):
        correlate(g, x, w)
    assert sum(saved) <= 2 * x.numel() + w.numel()


@pytest.mark.on("jax")
@pytest.mark.parametrize("method", ["toeplitz", "native"])
def test_precision_is_part_of_the_cache_key_of_jit(xp, method):
    import re

    import jax

    traced = []
    x, w = jax.numpy.ones((1, 4, 64)), jax.numpy.ones((4, 4, 3))
    g = Sliding((Span(64, 3),), method=method)

    def fn(x, w):
        traced.append(jax.config.jax_default_matmul_precision)
        return correlate(g, x, w)

    compiled = jax.jit(fn)

    def asked(text):
        # Products print "precision = [HIGHEST, …", convolutions "#stablehlo<precision HIGHEST>".
        return sorted(set(re.findall(r"precision(?: = \[| )(HIGHEST|HIGH|DEFAULT)", text)))

    compiled(x, w)
    compiled(x, w)
    assert traced == [None]
    with swath.precision("fast"):
        compiled(x, w)
        assert traced == [None, "default"]
        fast = compiled.lower(x, w).as_text()
    compiled(x, w)
    assert traced == [None, "default"]  # the first trace again, not the last one
    full = compiled.lower(x, w).as_text()
    assert asked(full) == ["HIGHEST"]
    assert "HIGHEST" not in asked(fast)


@pytest.mark.on("jax")
def test_eager_calls_follow_the_precision_too(xp):
    """The compiled cores behind eager calls must not keep the first setting they saw."""
    import jax

    g = Sliding((Span(64, 3),), method="native")
    x, w = jax.numpy.ones((1, 4, 64)), jax.numpy.ones((4, 4, 3))
    seen = []

    def fn(x, w):
        return correlate(g, x, w)

    for level in ("highest", "fast", "highest"):
        with swath.precision(level):
            seen.append(
                "HIGHEST" in str(jax.make_jaxpr(fn)(x, w))
                or "HIGHEST" in jax.jit(lambda x, w: fn(x, w)).lower(x, w).as_text()
            )
    assert seen == [True, False, True]


# -- PyTorch


def dual(function, arrays, tangents):
    """Value and tangent by PyTorch's dual numbers."""
    from torch.autograd import forward_ad

    with forward_ad.dual_level():
        given = [forward_ad.make_dual(*both) for both in zip(arrays, tangents, strict=True)]
        return forward_ad.unpack_dual(function(*given))


@torch_only
@pytest.mark.op("signal.convolve")
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("method", ["direct", "toeplitz", "fft", "overlap_save"])
def test_torch_dual_numbers_go_through_every_method(xp, rng, method, kind):
    """The tangent of two is a sum, which may lie in memory otherwise than the value."""
    turn = 1j if kind == "complex" else 0.0
    x, k = (xp.asarray(rng.standard_normal(n) + turn * rng.standard_normal(n)) for n in (40, 7))
    for mode in ("full", "same", "valid"):
        value, pushed = dual(
            lambda x, k, mode=mode: swath.signal.convolve(x, k, mode, method), (x, k), (2 * x, k)
        )
        close(pushed, 3 * value, xp.eps)


@torch_only
@pytest.mark.parametrize("case", params(smooth=True))
def test_torch_func(xp, case):
    """torch.func.vjp, jvp and vmap against the manual pullback and loops."""
    import torch

    call = Call(case, xp)
    arrays = call.arrays
    value, back = torch.func.vjp(call, *arrays)
    ct = xp.asarray(random_like(value))
    manual = call.manual(ct)
    # PyTorch's cotangents are conjugates: of the given one and of the results.
    for got, want in zip(back(ct.conj().resolve_conj()), manual, strict=True):
        close(got, want.conj().resolve_conj(), xp.eps)

    tangents = tuple(xp.asarray(random_like(a, 3 + i)) for i, a in enumerate(arrays))
    _, pushed = torch.func.jvp(call, tuple(arrays), tangents)
    left = float(torch.real(torch.sum(pushed * ct)))
    right = sum(float(torch.real(torch.sum(t * p))) for t, p in zip(tangents, manual, strict=True))
    scale = float(torch.linalg.norm(pushed) * torch.linalg.norm(ct)) + 1.0
    assert abs(left - right) <= 1e4 * xp.eps * scale
    close(dual(call, arrays, tangents)[1], pushed, xp.eps)

    stacked = [xp.asarray(h) for h in lanes(call)]
    mapped = torch.func.vmap(call)(*stacked)
    looped = np.stack([_host(call(*(s[lane] for s in stacked))) for lane in range(LANES)])
    close(mapped, looped, xp.eps)
    for i in range(len(arrays)):
        dims = tuple(0 if j == i else None for j in range(len(arrays)))
        given = [s if d == 0 else s[0] for s, d in zip(stacked, dims, strict=True)]
        mapped = torch.func.vmap(call, dims)(*given)
        looped = [
            _host(call(*(s[lane] if d == 0 else s for s, d in zip(given, dims, strict=True))))
            for lane in range(LANES)
        ]
        close(mapped, np.stack(looped), xp.eps)

    def loss(*arrays):
        return torch.sum(torch.real(call(*arrays) * ct))

    places = tuple(range(len(arrays)))
    per_lane = torch.func.vmap(torch.func.grad(loss, argnums=places))(*stacked)
    for i in places:
        want = [
            _host(call.manual(ct, *(s[lane] for s in stacked))[i]).conj() for lane in range(LANES)
        ]
        close(per_lane[i], np.stack(want), xp.eps)


@torch_only
@pytest.mark.op("nn.conv")
@pytest.mark.parametrize("dims", [(None, 0), (0, None), (0, 0)])
def test_layers_of_an_ensemble(xp, rng, dims):
    """Lanes of one array alone: what the kernels are given then lies in no order of its own."""
    import torch

    x, w = (xp.asarray(rng.standard_normal(s)) for s in ((3, 2, 3, 6, 7), (3, 4, 3, 3, 2)))
    given = [v if d == 0 else v[0] for v, d in zip((x, w), dims, strict=True)]
    slopes = torch.func.grad(lambda x, w: swath.nn.conv(x, w, padding="same").sin().sum(), (0, 1))
    found = torch.func.vmap(slopes, dims)(*given)
    for lane in range(3):
        one = slopes(*(v[lane] if d == 0 else v for v, d in zip(given, dims, strict=True)))
        for got, want in zip(found, one, strict=True):
            close(got[lane], _host(want), xp.eps)


def _half_square(case, xp):
    """A case, half the square of its values, its arrays, and a direction for each."""
    import torch

    call = Call(case, xp)
    arrays = tuple(call.arrays)
    directions = tuple(xp.asarray(random_like(a, 3 + i)) for i, a in enumerate(arrays))

    def loss(*arrays):
        return torch.sum(torch.real(call(*arrays) ** 2)) / 2

    return call, loss, arrays, directions


@torch_only
@pytest.mark.parametrize("case", params(smooth=True, first_of_each=True))
def test_torch_hessian_product_equals_differences_of_the_gradient(xp, case):
    """Forward over reverse, as torch.func.hessian does it."""
    import torch

    call, loss, arrays, directions = _half_square(case, xp)
    places = tuple(range(len(arrays)))

    _, found = torch.func.jvp(torch.func.grad(loss, argnums=places), arrays, directions)
    h = 1e-5
    sides = [
        [
            _host(g).conj()
            for g in call.manual(
                lambda y: y, *(a + s * d for a, d in zip(arrays, directions, strict=True))
            )
        ]
        for s in (h, -h)
    ]
    for got, high, low in zip(found, *sides, strict=True):
        want = (high - low) / (2 * h)
        assert np.max(np.abs(_host(got) - want)) <= 2e-7 * (np.max(np.abs(want)) + 1)


@torch_only
@pytest.mark.parametrize("case", params(smooth=True, first_of_each=True))
def test_torch_tangents_have_tangents(xp, case):
    """Forward over forward, which PyTorch leaves out of what a rule of ours gives."""
    import torch

    _, loss, arrays, directions = _half_square(case, xp)

    def slope(*arrays):
        return torch.func.jvp(loss, arrays, directions)[1]

    _, found = torch.func.jvp(slope, arrays, directions)
    gradient = torch.func.grad(loss, argnums=tuple(range(len(arrays))))
    _, turned = torch.func.jvp(gradient, arrays, directions)
    terms = [torch.real(d.conj() * t) for d, t in zip(directions, turned, strict=True)]
    scale = 1 + sum(float(torch.sum(abs(t))) for t in terms)
    assert abs(float(found) - sum(float(torch.sum(t)) for t in terms)) <= 1e4 * xp.eps * scale


@torch_only
@pytest.mark.op("nn.conv", "nn.lp_pool")
def test_torch_tangents_of_lanes_have_tangents(xp, rng):
    """Each axis that is mapped, inside or outside of either derivative, hides the next level."""
    import torch
    from torch.func import grad, jvp, vmap

    x, u = (xp.asarray(1 + rng.random((3, 2, 9))) for _ in range(2))
    w, t = xp.asarray(rng.random((2, 2, 3))), xp.asarray(0.5)

    def loss(t, x, u):
        y = swath.nn.conv(x + t * u, t * t * w, padding=1)
        return swath.nn.lp_pool(y, (3,), p=3).sum()

    def lanes(t, x, u):
        return vmap(loss, (None, 0, 0))(t, x, u).sum()

    def along(function):
        return lambda t, *rest: jvp(lambda t: function(t, *rest), (t,), (xp.asarray(1.0),))[1]

    want = sum(grad(grad(loss))(t, *lane) for lane in zip(x, u, strict=True))
    thrice = sum(grad(grad(grad(loss)))(t, *lane) for lane in zip(x, u, strict=True))
    close(along(along(lanes))(t, x, u), want, xp.eps)
    close(along(lambda *a: vmap(along(loss), (None, 0, 0))(*a).sum())(t, x, u), want, xp.eps)
    close(vmap(along(along(loss)), (None, 0, 0))(t, x, u).sum(), want, xp.eps)
    close(along(along(along(lanes)))(t, x, u), thrice, xp.eps)
    close(along(grad(along(lanes)))(t, x, u), thrice, xp.eps)
    found = torch.func.jacfwd(torch.func.jacfwd(lambda x: loss(t, x, u)))(x)
    close(found, torch.func.hessian(lambda x: loss(t, x, u))(x), xp.eps)


@torch_only
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning")
@pytest.mark.parametrize(
    "case", [p for p in params(smooth=True) if not record(p.values[0]).reads_values]
)
def test_torch_linearize(xp, case):
    """A program in which what no tangent goes through is computed ahead."""
    import torch

    call = Call(case, xp)
    arrays = tuple(call.arrays)
    _, linear = torch.func.linearize(call, *arrays)
    given = [xp.asarray(random_like(a, 3 + i)) for i, a in enumerate(arrays)]
    for place in range(len(arrays)):
        tangents = tuple(v if i == place else v * 0 for i, v in enumerate(given))
        close(linear(*tangents), torch.func.jvp(call, arrays, tangents)[1], xp.eps)


@torch_only
@pytest.mark.op("signal.firwin2")
def test_torch_compile_keeps_the_precision_of_tables(xp):
    """PyTorch traces NumPy too, and divides its integers in float32."""
    import torch

    def design(freq, gain):
        return swath.signal.firwin2(9, freq, gain, nfreqs=12, window=None)

    given = xp.asarray([0.0, 0.4, 1.0]), xp.asarray([1.0, 0.5, 0.25])
    torch._dynamo.reset()
    close(torch.compile(design, backend="eager")(*given), design(*given), xp.eps, factor=64)


@torch_only
@pytest.mark.op("linalg.solve_toeplitz")
def test_torch_meta_arrays_of_long_systems_have_shapes(xp):
    """Longer than what a recursion looks at its values after."""
    import torch

    c = torch.ones(300, dtype=torch.float64, device="meta")
    assert swath.linalg.solve_toeplitz(c, c, method="levinson").shape == (300,)


@torch_only
def test_torch_compile(xp):
    """Traced by Dynamo and AOTAutograd; the code generator (which needs a C++ compiler) is left."""
    import torch

    x = torch.randn((2, 40), dtype=torch.float64, requires_grad=True)
    k = torch.randn(5, dtype=torch.float64, requires_grad=True)

    def loss(x, k):
        return (swath.signal.convolve(x, k, axes=-1) ** 2).sum()

    torch._dynamo.reset()
    compiled = torch.compile(loss, backend="aot_eager")
    found = torch.autograd.grad(compiled(x, k), (x, k))
    want = torch.autograd.grad(loss(x, k), (x, k))
    for a, b in zip(found, want, strict=True):
        close(a, b, xp.eps)


@torch_only
@pytest.mark.parametrize(
    "case",
    # Least squares and their like record every step that they might take: half a minute each.
    [p for p in params(smooth=True) if not record(p.values[0]).reads_values],
)
def test_torch_make_fx_records_a_program_of_any_values(xp, case):
    """What NumPy would compute in shared memory is a constant to the record."""
    from torch.fx.experimental.proxy_tensor import make_fx

    call = Call(case, xp)
    first, second = zip(*lanes(call), strict=True)
    program = make_fx(call)(*map(xp.asarray, first))
    other = [xp.asarray(a) for a in second]
    close(program(*other), call(*other), xp.eps)


def _module(function):
    """A function as a module of PyTorch."""
    import torch

    module = torch.nn.Module()
    module.forward = lambda *arrays: function(*arrays)
    return module


# What needs values of arrays says so; least squares record every step that they might take.
_LONG = ("lstsq", "project", "identify_fir", "deconvolve", "fir_from_response", "firls")


@torch_only
@pytest.mark.parametrize(
    "case",
    [
        p
        for p in params(smooth=True)
        if not (record(p.values[0]).reads_values and p.values[0].op.endswith(_LONG))
    ],
)
def test_torch_exports_a_program_of_any_values(xp, case):
    import torch

    call = Call(case, xp)
    first, second = zip(*lanes(call), strict=True)
    program = torch.export.export(_module(call), tuple(map(xp.asarray, first)))
    other = [xp.asarray(a) for a in second]
    close(program.module()(*other), call(*other), xp.eps)


@torch_only
@pytest.mark.op("linalg.gram_report", "signal.remez")
def test_torch_export_of_what_needs_values_is_refused_in_words(xp):
    import torch

    for call in (swath.linalg.gram_report, lambda a: swath.signal.remez(9, a[0], [1.0])):
        with pytest.raises(NotImplementedError, match="traced"):
            torch.export.export(_module(call), (xp.asarray([[0.1, 0.4], [0.0, 1.0]]),))


@torch_only
@pytest.mark.op("signal.lfilter")
def test_torch_exports_lanes(xp, rng):
    import torch

    x, b = xp.asarray(rng.standard_normal((3, 40))), xp.asarray(rng.standard_normal(5))
    each = torch.func.vmap(lambda row: swath.signal.lfilter(b, 1.0, row))
    close(torch.export.export(_module(each), (x,)).module()(x), each(x), xp.eps)


@torch_only
@pytest.mark.op("nn.max_pool")
def test_what_stands_for_an_array_in_torch_fx_is_told_from_one(xp):
    """It says that it has any attribute that it is asked for."""
    import torch

    with pytest.raises(TypeError, match=r"x must be an array, .* got Proxy"):
        torch.fx.Tracer().trace(lambda x: swath.nn.max_pool(x, (2,)))


@torch_only
@pytest.mark.filterwarnings("ignore:.torch.jit.trace. is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.op("nn.conv", "overlap_add", "signal.upfirdn")
def test_torch_programs_without_numbers_in_shapes_are_refused_in_words(xp, rng):
    import torch

    x, w = xp.asarray(rng.standard_normal((2, 3, 9))), xp.asarray(rng.standard_normal((4, 3, 3)))
    for call in (
        lambda x: swath.nn.conv(x, w),
        lambda x: swath.overlap_add(x, (2, 11)),
        lambda x: swath.signal.upfirdn(w[0, 0], x, 3, 2),
    ):
        with pytest.raises(NotImplementedError, match=r"torch\.export\.export records"):
            torch.jit.trace(call, x, check_trace=False)

    with pytest.raises(TypeError) as caught:
        torch.export.export(
            _module(lambda x: swath.nn.conv(x, w)),
            (x,),
            dynamic_shapes=(({0: torch.export.Dim("n")},),),
        )
    assert caught.value.__notes__[0].endswith("in numbers: export one program for each")


@torch_only
@pytest.mark.parametrize("case", params(first_of_each=True))
def test_torch_default_device_is_not_where_arrays_go(xp, case):
    """Results lie where the arrays do, whatever `torch.set_default_device` says."""
    import torch

    call = Call(case, xp)
    if call.refused(xp):
        return
    with torch.device("meta"):
        value = call(*call.arrays)
    for got, want in zip(arrays_in(value), arrays_in(call(*call.arrays)), strict=True):
        assert got.device == want.device
        close(got, want, xp.eps)


@torch_only
@pytest.mark.parametrize("case", params(first_of_each=True))
def test_torch_meta_arrays_have_shapes(xp, case):
    """Arrays of the device "meta" are computed with for their shapes."""
    import torch

    call = Call(case, xp)
    if call.refused(xp) or call.record.eager_only:
        return
    there = {k: v.to("meta") if isinstance(v, torch.Tensor) else v for k, v in call.kwargs.items()}
    args = [v.to("meta") if isinstance(v, torch.Tensor) else v for v in call.args]
    found = arrays_in(call.op(*args, **there))
    for got, want in zip(found, arrays_in(call.full(*call.arrays)), strict=True):
        assert got.shape == want.shape
        assert got.dtype == want.dtype


@torch_only
@pytest.mark.op("signal.convolve", "nn.conv", "linalg.lstsq")
def test_autocast_changes_nothing(xp, rng):
    """Inside torch.autocast products of float32 are of bfloat16 in PyTorch, and not in swath."""
    import torch

    def draw(*shape):
        return torch.tensor(rng.standard_normal(shape), dtype=torch.float32, requires_grad=True)

    calls = [
        (lambda x, k: swath.signal.convolve(x, k, method="toeplitz"), draw(1000), draw(30)),
        (lambda x, k: swath.nn.conv(x, k, method="im2col"), draw(1, 4, 9, 9), draw(4, 4, 3, 3)),
        (lambda x, k: swath.nn.conv(x, k, method="native"), draw(1, 4, 9, 9), draw(4, 4, 3, 3)),
        (lambda a, b: swath.linalg.lstsq(a, b).x, draw(800, 4), draw(800)),
    ]
    for call, *given in calls:
        found = []
        for enabled in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                value = call(*given)
                slopes = torch.autograd.grad(value.square().sum(), given)
            found.append([_host(v.detach()) for v in (value, *slopes)])
        for plain, cast in zip(*found, strict=True):
            assert plain.dtype == cast.dtype
            np.testing.assert_array_equal(plain, cast)
