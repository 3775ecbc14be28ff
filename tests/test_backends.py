"""Dispatch by the arrays given; nothing is moved, converted or written into."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from array_api_compat import device

import swath
from over_cases import Call, arrays_in, params
from swath import _backends
from swath._backends import Backend, backend_of, try_backend
from swath.testing import assert_close


@pytest.mark.parametrize("case", params())
def test_results_stay_in_the_library_and_on_the_device_of_the_arguments(xp, case):
    call = Call(case, xp)
    if call.refused(xp):
        return
    given = [a for a in (*call.args, *call.kwargs.values()) if try_backend(a) is not None]
    before = [np.array(xp.numpy(a)) for a in given]
    for value in arrays_in(call.op(*call.args, **call.kwargs)):
        assert backend_of(value) is backend_of(given[0])
        if xp.backend != "jax":
            assert device(value) == device(given[0])
        if xp.x64 is False:
            assert "float64" not in str(value.dtype)
            assert "complex128" not in str(value.dtype)
    for a, kept in zip(given, before, strict=True):
        assert np.array_equal(xp.numpy(a), kept, equal_nan=True), "an input was modified"


@pytest.mark.on("strict-device1")
def test_device1_refuses_numpy(xp):
    """The premise of the row: a conversion to NumPy anywhere in the core would raise."""
    with pytest.raises(RuntimeError, match=r"convert array on the .*device1"):
        np.asarray(xp.asarray([1.0]))


@pytest.mark.on("dpnp")
def test_dpnp_refuses_numpy(xp):
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        np.asarray(xp.asarray([1.0]))


@pytest.mark.on("numpy")
@pytest.mark.needs("torch")
def test_mixed_libraries_name_both_and_print_the_fix(xp):
    import torch

    with pytest.raises(
        TypeError,
        match=r"convolve: in1 is an array of numpy and in2 of torch; swath moves nothing on its "
        r"own: convert one of them \(as with swath\.bind\('torch'\)\.asarray\(in1\)\)",
    ):
        swath.signal.convolve(np.ones(3), torch.ones(2))
    with pytest.raises(TypeError, match=r"in1 is an array of torch and in2 of numpy"):
        swath.signal.convolve(torch.ones(3), np.ones(2))


@pytest.mark.on("strict")
def test_mixed_devices_name_both(xp):
    a = xp.asarray([1.0, 2.0])
    b = xp.namespace.asarray([1.0], device=xp.namespace.Device("device1"))
    with pytest.raises(
        TypeError,
        match=r"convolve: in1 is on device .*CPU_DEVICE.* and in2 on device .*device1.*; swath "
        r"moves nothing on its own: move in2 to",
    ):
        swath.signal.convolve(a, b)


def test_scalars_and_lists_go_beside_the_arrays(xp):
    x = xp.asarray([1.0, 2.0, 3.0])
    y = swath.signal.convolve(x, [1, 1])
    assert_close(y, np.array([1.0, 3.0, 5.0, 3.0]), dtype=xp.float)
    narrow = swath.signal.convolve(xp.asarray([1, 2, 3], dtype="float32"), [0.5, 0.5])
    assert_close(narrow, np.array([0.5, 1.5, 2.5, 1.5]), dtype="float32")
    assert backend_of(y) is backend_of(x)


def test_lists_alone_go_to_numpy():
    assert isinstance(swath.signal.convolve([1.0, 2.0], [1.0]), np.ndarray)


@pytest.mark.on("strict")
def test_an_unknown_namespace_gets_the_fallback(xp, monkeypatch):
    """Any array-API library: here one that swath has never heard of."""
    strict = xp.namespace
    unknown = types.ModuleType("an_unknown_library")
    unknown.__dict__.update({k: v for k, v in vars(strict).items() if k != "__name__"})

    monkeypatch.setitem(sys.modules, "an_unknown_library", unknown)
    x = strict.asarray([1.0, 2.0, 3.0])
    monkeypatch.setattr(type(x), "__array_namespace__", lambda self, api_version=None: unknown)
    monkeypatch.setattr(_backends, "_BY_TYPE", {})
    be = backend_of(x)
    assert type(be) is Backend
    assert be.name == "an_unknown_library"
    assert swath.supports("signal.convolve", unknown)
    got = swath.signal.convolve(x, x)
    assert_close(got, np.convolve([1.0, 2, 3], [1.0, 2, 3]))


def test_supports():
    assert swath.supports(swath.signal.convolve, np)
    assert swath.supports("signal.convolve", "jax")
    assert swath.supports("signal.convolve", "dask.array")
    assert not swath.supports("linalg.gram_report", "dask.array")
    with pytest.raises(TypeError, match=r"op must be a registered operation.*there are: "):
        swath.supports("signal.no_such", np)
    with pytest.raises(TypeError, match="got <built-in function sum>"):
        swath.supports(sum, np)


def test_operations_know_their_parameters():
    import inspect

    for name, record in swath.operations().items():
        parameters = set(inspect.signature(record.function).parameters)
        assert {*record.arrays, *record.differentiable, *record.linear} <= parameters, name
        assert set(record.linear) <= set(record.differentiable), name
        module = swath
        for part in name.split("."):
            module = getattr(module, part)
        assert module is record.function, f"{name} is not public"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_available_backends_lists_versions_and_devices():
    found = swath.available_backends()
    assert found["numpy"] == {"version": np.__version__, "devices": ["cpu"]}
    for record in found.values():
        assert ("devices" in record) != ("error" in record)


@pytest.mark.on("torch")
@pytest.mark.parametrize("kind", ["uint8", "int32", "int64"])
def test_integer_products_where_the_library_has_none(xp, rng, kind, monkeypatch):
    """PyTorch has no product of integer matrices on CUDA: sums of broadcast terms, in pieces."""
    from swath._backends import torch_

    monkeypatch.setattr(torch_, "_TERMS", 50)
    info = np.iinfo(kind)
    a, b = (rng.integers(info.min, info.max, s, dtype=kind) for s in ((2, 1, 3, 7), (5, 7, 4)))
    got = torch_._integer_product(xp.asarray(a), xp.asarray(b))
    np.testing.assert_array_equal(xp.numpy(got), a @ b)


@pytest.mark.on("numpy", "torch", "strict")
@pytest.mark.parametrize(
    "shape", [(7, 300), (9, 257), (4099, 3), (2, 100, 5), (70_000, 4)], ids=str
)
@pytest.mark.parametrize("kind", ["float32", "float64", "complex128"])
def test_products_of_triangles_equal_whole_ones(xp, rng, shape, kind):
    """What computes parts of them by itself: many columns, tall matrices, batches of small ones."""
    a = rng.standard_normal(shape)
    a = (a + 1j * rng.standard_normal(shape) if kind == "complex128" else a).astype(kind)
    z = np.triu(rng.standard_normal((shape[-1],) * 2)).astype(kind)
    x = xp.asarray(a, kind)
    be, eps = backend_of(x), float(np.finfo(kind).eps)
    wide = a.astype("complex128" if kind == "complex128" else "float64")
    size = np.abs(wide)
    want = wide.conj().mT @ wide
    assert_close(be.gram(x), want, bound=2 * shape[-2] * eps * (size.mT @ size), dtype=kind)
    bound = 4 * shape[-1] * eps * (size @ np.abs(z))
    assert_close(be.times_upper(x, xp.asarray(z, kind)), wide @ z, bound=bound, dtype=kind)


@pytest.mark.on("numpy")
def test_powers_of_two_are_rounded_to_one_bit_on_a_gpu(xp, monkeypatch):
    """Its power function is off by some units; here the 2 is."""
    from swath.linalg._scaling import power

    be = backend_of(np.ones(1))
    monkeypatch.setattr(be, "place", lambda x: ("numpy", "gpu", ""))
    exponents = np.arange(-1000.0, 1001.0)
    few = np.arange(-8.0, 9.0)
    for two in (np.nextafter(2.0, 1.0), np.nextafter(2.0, 3.0)):
        assert np.count_nonzero(two**few != 2.0**few) > 12
        assert power(be, np.full((), two), few).tolist() == [2.0**n for n in range(-8, 9)]
    with np.errstate(over="ignore"):
        got = power(be, np.full((), 2.0), exponents)
    assert got.tolist() == [2.0**n for n in range(-1000, 1001)]


@pytest.mark.on("numpy", "torch", "jax", "jax-jit")
@pytest.mark.parametrize("limit", [0, 3, 9])
def test_a_loop_ends_by_its_test_or_at_its_limit(xp, limit):
    be = backend_of(xp.asarray([0.0]))

    def looped(x):
        return be.while_loop(lambda s: s[0][0] < 7, lambda s: (s[0] + 1,), (x,), limit)[0]

    assert_close(xp.call(looped, xp.asarray([0.0])), [float(min(limit, 7))])


# Calls whose checks are skipped where classes, shapes and dtypes are known, and their arguments.
KNOWN = {
    "convolve": (swath.signal.convolve, ((9,), (3,))),
    "lfilter": (lambda b, x: swath.signal.lfilter(b, 1.0, x), ((3,), (9,))),
    "filtfilt": (lambda b, x: swath.signal.filtfilt(b, 1.0, x, padlen=2), ((3,), (9,))),
    "fir_step": (swath.signal.fir_step, ((3,), (2,), (9,))),
    "conv": (swath.nn.conv, ((1, 2, 9), (4, 2, 3), (4,))),
    "matmul_toeplitz": (
        lambda c, r, x: swath.linalg.matmul_toeplitz((c, r), x),
        ((4,), (4,), (4,)),
    ),
}


@pytest.mark.on("strict")
@pytest.mark.parametrize("name", KNOWN)
def test_another_device_is_refused_though_the_shapes_are_known(xp, name):
    fn, shapes = KNOWN[name]
    here = [xp.asarray(np.ones(shape)) for shape in shapes]
    for _ in range(2):
        fn(*here)
    for i, shape in enumerate(shapes):
        given = list(here)
        given[i] = xp.namespace.ones(shape, device=xp.namespace.Device("device1"))
        with pytest.raises(TypeError, match=r"is on device .* and .* on device .*; swath moves"):
            fn(*given)
