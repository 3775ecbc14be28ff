"""Derivatives of every registered operation: manual = JAX = PyTorch = central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import swath
from cases import CASES
from over_cases import Call, close, params, random_like, record
from swath.registry import operations
from swath.testing import _host, check_adjoint, check_vjp

FLOAT64_ROWS = (
    "numpy",
    "numpy-readonly",
    "jax",
    "torch",
    "strict",
    "strict-device1",
    "dpnp",
    "dask",
)


def test_every_operation_has_a_case():
    assert set(operations()) <= {c.op for c in CASES}
    assert {c.op for c in CASES} <= set(operations())


def test_every_differentiable_operation_has_a_smooth_case():
    wanted = {name for name, r in operations().items() if r.differentiable}
    assert wanted <= {c.op for c in CASES if c.smooth}


@pytest.mark.on("numpy")
def test_every_differentiable_argument_is_differentiated_in_some_case(xp):
    """An argument that no case gives as an array would go untested."""
    seen: dict[str, set[str]] = {}
    for case in CASES:
        if case.smooth:
            seen.setdefault(case.op, set()).update(Call(case, xp).names)
    missing = {
        name: sorted(set(r.differentiable) - seen.get(name, set()))
        for name, r in operations().items()
        if set(r.differentiable) - seen.get(name, set())
    }
    assert not missing


@pytest.mark.on(*FLOAT64_ROWS)
@pytest.mark.parametrize("case", params(smooth=True))
def test_pullback_equals_central_differences(xp, case):
    call = Call(case, xp)
    check_vjp(call.op, *call.args, **call.kwargs)


@pytest.mark.parametrize("case", [p for p in params(smooth=True) if record(p.values[0]).linear])
def test_linear_arguments_are_adjoint(xp, case):
    call = Call(case, xp)
    if xp.traced:
        # Compiled: <A x, y> = <x, A^T y> at the case's own point, every linear argument.
        ct = lambda value: xp.asarray(random_like(value))  # noqa: E731
        value, pulled = xp.call(lambda *a: call.value_and_manual(ct, *a), *call.arrays)
        left = np.sum(_host(value) * random_like(value))
        for name, x, back in zip(call.names, call.arrays, pulled, strict=True):
            if name in call.record.linear and is_homogeneous(call, name):
                right = np.sum(_host(x) * _host(back))
                scale = np.linalg.norm(_host(value)) * np.linalg.norm(random_like(value))
                assert abs(np.real(left - right)) <= 1000 * xp.eps * scale
    else:
        check_adjoint(call.op, *call.args, **call.kwargs)


def is_homogeneous(call, name):
    """Whether the value is proportional to the argument (not so beside a bias or a state)."""
    slot = call.slots[call.names.index(name)]
    arrays = list(call.arrays)
    arrays[call.slots.index(slot)] = arrays[call.slots.index(slot)] * 0
    return not np.any(_host(call(*arrays)))


@pytest.mark.on("jax", "jax-jit", "jax-x32")
@pytest.mark.parametrize("case", params(smooth=True))
def test_jax_grad_equals_the_manual_pullback(xp, case):
    import jax

    call = Call(case, xp)
    value = jax.eval_shape(call, *call.arrays)
    ct = xp.asarray(random_like(value))
    places = tuple(range(len(call.slots)))

    def loss(*arrays):
        return jax.numpy.sum(jax.numpy.real(call(*arrays) * ct))

    def both(*arrays):
        return jax.grad(loss, argnums=places)(*arrays), call.manual(ct, *arrays)

    # Step by step on one row only: every step of every case would be compiled by itself.
    found, manual = (both if xp.name == "jax" else jax.jit(both))(*call.arrays)
    for x, got, want in zip(call.arrays, found, manual, strict=True):
        assert got.shape == want.shape == x.shape
        assert got.dtype == want.dtype == x.dtype
        close(got, want, xp.eps)


@pytest.mark.on("torch")
@pytest.mark.parametrize("case", params(smooth=True))
def test_torch_gradient_is_the_conjugate_of_the_manual_pullback(xp, case):
    import torch

    call = Call(case, xp)
    leaves = [a.detach().clone().requires_grad_() for a in call.arrays]
    value = call(*leaves)
    ct = xp.asarray(random_like(value))
    found = torch.autograd.grad(torch.sum(torch.real(value * ct)), leaves)
    manual = call.manual(ct)
    for got, want in zip(found, manual, strict=True):
        # As PyTorch's own: NumPy takes it.
        assert not got.is_conj()
        close(got, want.conj().resolve_conj(), xp.eps)


@pytest.mark.on("jax-jit")
@pytest.mark.parametrize("case", params(smooth=True))
def test_jax_jvp_is_the_transpose_of_grad(xp, case):
    """<ct, J t> = <J^T ct, t>, with J t by forward mode and J^T ct by the manual path."""
    import jax

    call = Call(case, xp)
    tangents = [xp.asarray(random_like(a, 3 + i)) for i, a in enumerate(call.arrays)]
    value, pushed = xp.call(lambda a, t: jax.jvp(call, a, t), call.arrays, tangents)
    ct = random_like(value, 5)
    pulled = call.manual(xp.asarray(ct))
    left = np.sum(np.real(_host(pushed) * ct))
    right = sum(np.sum(np.real(_host(t) * _host(p))) for t, p in zip(tangents, pulled, strict=True))
    scale = np.linalg.norm(_host(pushed)) * np.linalg.norm(ct) + 1.0
    assert abs(left - right) <= 1e4 * xp.eps * scale


@pytest.mark.on("jax-jit")
@pytest.mark.parametrize("case", params(smooth=True, first_of_each=True))
def test_jax_second_derivative_equals_differences_of_the_gradient(xp, case):
    """Forward over reverse (a Hessian product) against differences of the manual gradient."""
    import jax

    call = Call(case, xp)
    directions = [xp.asarray(random_like(a, 3 + i)) for i, a in enumerate(call.arrays)]
    places = tuple(range(len(call.slots)))

    def gradient(*arrays):
        # ½ Re Σ y²: its gradient is the pullback of y, and curved in every argument.
        def loss(*arrays):
            return jax.numpy.sum(jax.numpy.real(call(*arrays) ** 2)) / 2

        return jax.grad(loss, argnums=places)(*arrays)

    found = xp.call(lambda a, t: jax.jvp(gradient, a, t)[1], call.arrays, directions)
    h = 1e-5
    sides = []
    for sign in (h, -h):
        moved = [a + sign * d for a, d in zip(call.arrays, directions, strict=True)]
        sides.append([_host(g) for g in call.manual(lambda y: y, *moved)])
    for got, high, low in zip(found, *sides, strict=True):
        want = (high - low) / (2 * h)
        assert np.max(np.abs(_host(got) - want)) <= 2e-7 * (np.max(np.abs(want)) + 1)


@pytest.mark.on("torch")
@pytest.mark.parametrize("case", params(smooth=True, first_of_each=True))
def test_torch_differentiates_twice(xp, case):
    import torch

    call = Call(case, xp)
    leaves = [a.detach().clone().requires_grad_() for a in call.arrays]
    assert torch.autograd.gradgradcheck(call, tuple(leaves), fast_mode=True)


EMPTY: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "conv": (swath.nn.conv, ((0, 2, 6, 6), (3, 2, 3, 3), (3,))),
    "max_pool": (lambda x: swath.nn.max_pool(x, (2, 2)), ((0, 2, 6, 6),)),
    "avg_pool": (lambda x: swath.nn.avg_pool(x, (2, 2)), ((0, 2, 6, 6),)),
    "lp_pool": (lambda x: swath.nn.lp_pool(x, (2, 2)), ((0, 2, 6, 6),)),
    "global_max_pool": (swath.nn.global_max_pool, ((0, 2, 6, 6),)),
    "adaptive_avg_pool": (lambda x: swath.nn.adaptive_avg_pool(x, (2, 3)), ((0, 2, 6, 6),)),
    "adaptive_max_pool": (lambda x: swath.nn.adaptive_max_pool(x, (2, 3)), ((0, 2, 6, 6),)),
    "convolve": (lambda x, k: swath.signal.convolve(x, k, axes=-1), ((0, 9), (3,))),
    "filter_bank": (lambda x, k: swath.signal.filter_bank(k, x), ((0, 9), (4, 3))),
    "filtfilt": (lambda x, b: swath.signal.filtfilt(b, 1, x, padlen=2), ((0, 9), (3,))),
    "lfilter": (lambda x, b: swath.signal.lfilter(b, 1, x), ((2, 0), (3,))),
    "upfirdn": (lambda x, h: swath.signal.upfirdn(h, x, 2, 3), ((0, 9), (5,))),
    "spectrogram": (lambda x: swath.signal.spectrogram(x, nperseg=4)[2], ((0, 9),)),
    "match_template": (lambda x, t: swath.signal.match_template(x, t, axes=(1,)), ((0, 9), (1, 3))),
    "matmul_toeplitz": (lambda c, x: swath.linalg.matmul_toeplitz(c, x), ((3,), (3, 0))),
    "toeplitz": (swath.linalg.toeplitz, ((0,), (3,))),
    "gram": (swath.linalg.gram, ((0, 3),)),
}


@pytest.mark.on("torch")
@pytest.mark.parametrize("name", EMPTY)
def test_what_is_made_of_empty_arrays_has_derivatives_of_zeros(xp, name):
    """A constant would have none: an empty batch in a network would end in an error."""
    op, shapes = EMPTY[name]
    leaves = [xp.asarray(np.ones(shape)).requires_grad_() for shape in shapes]
    op(*leaves).sum().backward()
    for a in leaves:
        assert a.grad.shape == a.shape
        assert not a.grad.any()


# -- planted errors: the checks must see them


def test_a_forgotten_conjugate_is_caught(monkeypatch):
    from swath import _ops

    rng = np.random.default_rng(0)
    x = rng.standard_normal(8) + 1j * rng.standard_normal(8)
    k = rng.standard_normal(3) + 1j * rng.standard_normal(3)
    check_vjp(swath.signal.correlate, x, k, "same")
    monkeypatch.setattr(_ops._CONJ, "_pull", lambda be, g, arrays, out, ct, wanted: (ct,))
    with pytest.raises(AssertionError, match="derivative in in2"):
        check_vjp(swath.signal.correlate, x, k, "same")


def test_a_conjugate_too_many_is_caught(monkeypatch):
    from swath.sliding import product

    rng = np.random.default_rng(0)
    x = rng.standard_normal(8) + 1j * rng.standard_normal(8)
    k = rng.standard_normal(3) + 1j * rng.standard_normal(3)
    check_adjoint(swath.signal.convolve, x, k)
    right = product._Product.pull

    def hermitian(self, be, geometry, arrays, out, cotangent, wanted):
        """The adjoint instead of the transpose: right for real arrays, wrong for complex ones."""
        return right(self, be, geometry, [np.conj(a) for a in arrays], out, cotangent, wanted)

    monkeypatch.setattr(product._Product, "pull", hermitian)
    check_adjoint(swath.signal.convolve, x.real, k.real)
    for check, text in ((check_adjoint, "adjoint in in1"), (check_vjp, "derivative in in1")):
        with pytest.raises(AssertionError, match=text):
            check(swath.signal.convolve, x, k)


def test_a_derivative_of_another_dtype_is_caught(monkeypatch):
    from swath.sliding import product

    x, k = np.random.default_rng(0).standard_normal((2, 3))
    right = product._Product.pull

    def wrong(self, be, *rest):
        first, second = right(self, be, *rest)
        return first, second.astype(np.float32)

    monkeypatch.setattr(product._Product, "pull", wrong)
    for check in (check_vjp, check_adjoint):
        with pytest.raises(AssertionError, match=r"cotangent of in2: shape \(3,\) dtype float32"):
            check(swath.signal.convolve, x, k)


def test_a_pullback_that_drops_an_edge_is_caught(monkeypatch):
    from swath import primitives

    x = np.random.default_rng(0).standard_normal(9)
    check_adjoint(swath.sliding_windows, x, 3)
    right = primitives._ADD.forward

    def wrong(be, geometry, *arrays):
        out = right(be, geometry, *arrays)
        out[..., 0] = 0
        return out

    monkeypatch.setattr(primitives._ADD, "forward", wrong)
    with pytest.raises(AssertionError, match="adjoint in x"):
        check_adjoint(swath.sliding_windows, x, 3)
    with pytest.raises(AssertionError, match="derivative in x"):
        check_vjp(swath.sliding_windows, x, 3)
