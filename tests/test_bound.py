"""`import swath.jax as sw` and its like: everything in, the library's arrays out."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle

import numpy as np
import pytest

import swath
from swath._backends import backend_of
from swath.testing import assert_close

BOUND = [
    pytest.param("numpy"),
    pytest.param("jax", marks=pytest.mark.needs("jax")),
    pytest.param("torch", marks=pytest.mark.needs("torch")),
]


@pytest.fixture(params=BOUND)
def sw(request):
    return importlib.import_module(f"swath.{request.param}")


def test_lists_and_numpy_arrays_in_arrays_of_the_library_out(sw):
    for x in ([1.0, 2.0, 3.0], (1.0, 2.0, 3.0), np.array([1.0, 2.0, 3.0], np.float32)):
        y = sw.signal.convolve(x, [1.0, 1.0])
        assert backend_of(y).name == sw.__name__.rpartition(".")[2]
        assert_close(y, np.array([1.0, 3.0, 5.0, 3.0]))
    assert isinstance(sw.to_numpy(y), np.ndarray)
    assert sw.sliding_windows([1.0, 2.0, 3.0], 2).shape == (2, 2)


def test_a_dtype_goes_by_its_name_on_every_library(sw):
    for x in ([1, 2], np.array([1.0, 2.0]), sw.asarray([1.0, 2.0])):
        for dtype in ("float32", np.float32, np.dtype("float32"), sw.xp.float32):
            assert_close(sw.asarray(x, dtype=dtype), np.array([1.0, 2.0]), dtype="float32")
    for dtype in ("nothing", 3, np, np.ones(2)):
        with pytest.raises(TypeError, match=r"asarray: dtype must be a dtype of [a-z]+ or its"):
            sw.asarray([1.0], dtype=dtype)


def test_read_only_and_reversed_numpy_arrays(sw):
    x = np.arange(6.0)[::-2]
    x.flags.writeable = False
    assert_close(sw.overlap_add(sw.sliding_windows(x, 1), (3,)), np.array([5.0, 3.0, 1.0]))


@pytest.mark.needs("torch")
@pytest.mark.needs("jax")
def test_dlpack_objects_and_arrays_of_other_libraries(sw):
    import jax.numpy as jnp
    import torch

    class Exporter:
        """An object that offers DLPack and nothing else."""

        def __init__(self, inner):
            self._inner = inner

        def __dlpack__(self, **options):
            return self._inner.__dlpack__(**options)

        def __dlpack_device__(self):
            return self._inner.__dlpack_device__()

    for x in (torch.ones(3), jnp.ones(3), Exporter(np.ones(3, np.float32))):
        y = sw.signal.convolve(x, [1.0, 1.0])
        assert backend_of(y).name == sw.__name__.rpartition(".")[2]
        assert_close(y, np.array([1.0, 2.0, 2.0, 1.0]))


@pytest.mark.needs("torch")
@pytest.mark.needs("jax")
def test_bfloat16_goes_to_libraries_that_have_it(sw):
    import jax.numpy as jnp
    import torch

    values = np.array([1.0, 0.5, 3.0])
    for x in (torch.asarray(values).bfloat16(), jnp.asarray(values, jnp.bfloat16)):
        if sw.backend.name == "numpy":
            with pytest.raises(TypeError, match=r"numpy has no bfloat16, got .* convert it to f"):
                sw.asarray(x)
        else:
            assert_close(sw.asarray(x), values, dtype="bfloat16")
        assert_close(sw.asarray(x, dtype="float32"), values, dtype="float32")


@pytest.mark.needs("jax")
def test_float64_becomes_the_widest_float():
    import jax

    import swath.jax as sw

    with jax.enable_x64(False):
        assert sw.asarray(np.ones(2)).dtype == "float32"
        assert sw.asarray(np.ones(2, complex)).dtype == "complex64"
    with jax.enable_x64(True):
        assert sw.asarray(np.ones(2)).dtype == "float64"


@pytest.mark.needs("array_api_strict")
def test_devices():
    import array_api_strict as strict

    for name, kind in (("device1", "float64"), ("no_float64", "float32")):
        device = strict.Device(name)
        sw = swath.bind("array_api_strict", device=device)
        y = sw.signal.convolve([1.0, 2.0], [1.0, 1.0])
        assert y.device == device
        assert_close(y, np.array([1.0, 3.0, 2.0]), dtype=kind)
        again = sw.signal.convolve(strict.asarray([1.0, 2.0], dtype=strict.float32), y)
        assert again.device == device


def test_vjp_is_bound_too(sw):
    y, pullback = sw.vjp(sw.signal.correlate, [1.0, 2.0, 3.0], [1.0, -1.0], "valid")
    assert_close(y, np.array([-1.0, -1.0]))
    a, b, mode = pullback([1.0, 0.0])
    assert_close(a, np.array([1.0, -1.0, 0.0]))
    assert_close(b, np.array([1.0, 2.0]))
    assert mode is None
    # The unbound function names the same operation.
    assert_close(
        sw.vjp(swath.signal.correlate, [1.0, 2.0], [1.0], "valid")[0], np.array([1.0, 2.0])
    )


def test_whole_library_is_there(sw):
    assert set(swath.__all__) <= set(dir(sw))
    for package in ("signal", "nn", "linalg"):
        names = getattr(swath, package).__all__
        assert set(dir(getattr(sw, package))) == set(names)
        for name in names:
            getattr(getattr(sw, package), name)
    with pytest.raises(AttributeError, match="swath has no public name 'no_such'"):
        _ = sw.no_such
    with pytest.raises(AttributeError, match=r"swath\.signal has no public name 'no_such'"):
        _ = sw.signal.no_such


def test_what_cannot_be_bound():
    with pytest.raises(ImportError, match="bind: no_such_library is not installed"):
        swath.bind("no_such_library")
    with pytest.raises(
        TypeError, match="bind: xp_or_name must be a library or its name, got int 3"
    ):
        swath.bind(3)
    with pytest.raises(ValueError, match="device must be \"cpu\" for NumPy, got 'cuda'"):
        swath.bind("numpy", device="cuda")
    with pytest.raises(TypeError, match="asarray: cannot make a numeric array of"):
        swath.bind("numpy").asarray(["a"])


def test_scalars_stay_weak(sw):
    x = sw.asarray(np.ones(3, np.float32))
    y = sw.signal.convolve(x, [1, 1])
    assert str(y.dtype).endswith("float32")


def test_numpy_arrays_of_any_layout(sw):
    x = np.arange(5.0)
    for given in (x.astype(x.dtype.newbyteorder()), x.view(np.matrix)):
        assert_close(sw.nn.max_pool(given, 5, axes=-1), np.reshape(4.0, (1,) * given.ndim))
    with pytest.raises(TypeError, match="asarray: x must not be a masked array"):
        sw.nn.max_pool(np.ma.array(x), 5, axes=-1)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_bindings_are_copied_and_pickled(sw, copied):
    bound = swath.bind(sw.__name__.rpartition(".")[2])
    assert repr(copied(bound)) == repr(bound)
    window = copied(bound.signal.windows).hann(3)
    assert backend_of(window).name == bound.backend.name


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_functions_of_a_binding_are_copied_and_pickled(sw, copied):
    bound = swath.bind(sw.__name__.rpartition(".")[2])
    for package in (bound.signal, bound.nn, bound.linalg, bound.signal.windows):
        for name in dir(package):
            function = getattr(package, name)
            assert copied(function) == function, name
    assert copied(bound.vjp) == bound.vjp
    assert_close(copied(bound.signal.convolve)([1.0, 2.0], [1.0, 1.0]), np.array([1.0, 3.0, 2.0]))


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_objects_of_a_binding_are_copied_and_pickled(sw, copied):
    stream = sw.signal.FIRStream([1.0, 2.0])
    stream.push([1.0])
    other = copied(stream)
    for s in (stream, other):
        assert_close(s.push([0.0, 1.0]), np.array([2.0, 1.0]))
    sums = sw.linalg.GramAccumulator(1)
    sums.update([[1.0], [2.0]], [2.0, 4.0])
    other = copied(sums)
    sums.update([[1.0]], [2.0])
    other.update([[1.0]], [5.0])
    assert_close(sums.solve().x, np.array([2.0]))
    assert_close(other.solve().x, np.array([2.5]))


def test_signatures_are_those_of_the_functions(sw):
    for name in ("convolve", "firwin", "FIRStream"):
        given = inspect.signature(getattr(sw.signal, name))
        assert given == inspect.signature(getattr(swath.signal, name)), name


def test_plans_are_of_the_library(sw):
    x, w = [[[1.0, 2.0, 3.0]]], np.ones((1, 1, 2), np.float32)
    plan = sw.plan("conv", x, w)
    assert plan.costs == swath.plan("conv", sw.asarray(x), sw.asarray(w)).costs


def test_blocks_go_through_the_library(sw):
    seen = []

    def double(x):
        seen.append(backend_of(x).name)
        return x + x

    y = np.zeros(4)
    sw.map_blocks(double, np.arange(4.0), y, overlap=(0, 0), block=2, progress=False)
    assert_close(y, np.array([0.0, 2.0, 4.0, 6.0]))
    assert seen == [sw.__name__.rpartition(".")[2]] * 2
    sw.map_blocks(
        double, np.arange(4.0), y, overlap=(0, 0), backend="numpy", block=4, progress=False
    )
    assert seen[2:] == ["numpy"]
