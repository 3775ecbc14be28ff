"""Errors name the operation, the argument and the shapes."""

from __future__ import annotations

import contextlib
import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

import swath
from swath.errors import (
    ArgumentError,
    ArgumentTypeError,
    RankDeficientError,
    UnsupportedError,
    describe,
    explain,
)


def test_classes_are_those_that_callers_catch():
    assert issubclass(ArgumentError, ValueError)
    assert issubclass(ArgumentTypeError, TypeError)
    assert issubclass(UnsupportedError, NotImplementedError)
    assert issubclass(RankDeficientError, np.linalg.LinAlgError)


def test_describe():
    assert describe(np.ones((2, 3), np.int8)) == "ndarray of shape (2, 3), dtype int8"
    assert describe("x") == "str 'x'"
    assert describe(list(range(100))).endswith("...")


def test_explain_adds_operation_and_shapes_once():
    inner = {"a": np.ones((1, 2), np.float32), "n": 3}
    with (
        pytest.raises(ArgumentError, match="n must be 2") as caught,
        explain("outer", {"x": np.ones(2)}),
        explain("inner", inner),
    ):
        raise ArgumentError("n must be 2, got 3")
    assert str(caught.value) == "inner: n must be 2, got 3 [a: (1, 2) float32]"
    assert caught.value.__cause__ is None


def test_explain_adds_a_note_to_errors_of_others():
    with pytest.raises(ZeroDivisionError) as caught, explain("op", {"x": np.ones(2)}):
        _ = 1 / 0
    assert caught.value.__notes__ == ["while computing swath op of x: (2,) float64"]


def test_explain_says_what_works_with_shapes_that_are_not_known_in_numbers():
    x = SimpleNamespace(shape=("n", 3), dtype="float32")
    with pytest.raises(ZeroDivisionError) as caught, explain("op", {"x": x}):
        _ = 1 / 0
    (note,) = caught.value.__notes__
    assert note.endswith("or go over a symbolic batch with jax.lax.map")


def test_shapes_stand_behind_the_message():
    with pytest.raises(ValueError, match=r"\[in1: \(2, 2\) float64, in2: \(3,\) float64\]$"):
        swath.signal.convolve(np.ones((2, 2)), np.ones(3))


def test_missing_and_unknown_arguments_are_pythons_own_error():
    with pytest.raises(TypeError, match=r"convolve\(\) missing 1 required positional argument"):
        swath.signal.convolve(np.ones(3))
    with pytest.raises(TypeError, match=r"convolve\(\) got an unexpected keyword argument 'axis'"):
        swath.signal.convolve(np.ones(3), np.ones(2), axis=0)


def test_vjp_refuses_what_it_cannot_do():
    with pytest.raises(
        TypeError,
        match=r"op must be a registered operation.*mean signal\.convolve.*there are: .*convolve",
    ):
        swath.vjp(np.convolve, np.ones(3), np.ones(2))
    _, pullback = swath.vjp(swath.signal.convolve, np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match=r"must have the value's shape \(4,\), got \(3,\)"):
        pullback(np.ones(3))
    with pytest.raises(TypeError, match="must be an array of numpy like the value; got list"):
        pullback([1.0] * 4)
    with pytest.raises(TypeError, match=r"the value is real \(float64\), so the cotangent must be"):
        pullback(np.ones(4, complex))


@pytest.mark.needs("jax")
def test_a_traced_error_has_the_same_text():
    import jax

    with pytest.raises(ValueError, match=r"convolve: mode must be one of 'full'"):
        jax.jit(lambda x: swath.signal.convolve(x, x, "best"))(jax.numpy.ones(3))


@pytest.mark.op("signal.convolve")
def test_a_caught_error_keeps_no_array_alive():
    gc.disable()
    try:
        x = np.ones((2, 3))
        left = weakref.ref(x)
        with contextlib.suppress(ValueError):
            swath.signal.convolve(x, np.ones(2))
        del x
        assert left() is None
    finally:
        gc.enable()


@pytest.mark.on("torch")
@pytest.mark.parametrize("kind", ["uint16", "uint32", "uint64"])
def test_integers_that_pytorch_does_not_compute_with_are_refused_in_words(xp, kind):
    x = xp.asarray(np.ones((1, 1, 6)), dtype=kind)
    calls = (
        lambda: swath.nn.max_pool(x, (2,)),
        lambda: swath.nn.min_pool(x, (2,), padding=1, return_indices=True),
        lambda: swath.signal.convolve(x, x),
        lambda: swath.linalg.gram(x),
    )
    text = f": (x|in1|A) is Tensor of shape .*, dtype {kind}, a dtype that PyTorch does not compute"
    for call in calls:
        with pytest.raises(NotImplementedError, match=text):
            call()
    # Where integers become floats there is nothing to refuse.
    assert swath.nn.avg_pool(x, (2,)).dtype.is_floating_point
