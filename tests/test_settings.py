"""swath.precision and swath.workspace: scope, threads, what they change."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest

import swath
from swath.settings import current_workspace


def test_levels_are_checked_before_the_block_begins():
    with pytest.raises(
        ValueError, match="level must be one of 'highest', 'high', 'fast', got 'best'"
    ):
        swath.precision("best")
    for limit in (0, -1, 1.5, True, "1"):
        with pytest.raises(ValueError, match="limit must be a positive int"):
            swath.workspace(limit)


def test_workspace_holds_inside_the_block_and_in_this_thread_only():
    default = max(64 * 2**20, 5)
    assert current_workspace(5) == default
    assert current_workspace(2**30) == 2**30
    seen = []
    with swath.workspace(10**5):
        assert current_workspace(2**30) == 10**5
        thread = threading.Thread(target=lambda: seen.append(current_workspace(5)))
        thread.start()
        thread.join()
        with swath.workspace(7):
            assert current_workspace(5) == 2**16  # the least
        assert current_workspace(5) == 10**5
    assert current_workspace(5) == default
    assert seen == [default]


def test_workspace_survives_an_exception():
    with pytest.raises(RuntimeError, match="inside"), swath.workspace(9):
        raise RuntimeError("inside")
    assert current_workspace(5) != 9


@pytest.mark.on("numpy")
@pytest.mark.parametrize("method", ["direct", "toeplitz"])
def test_a_convolution_holds_no_more_than_output_and_workspace(xp, method):
    rng = np.random.default_rng(0)
    x, k = rng.standard_normal((700, 700)), rng.standard_normal((9, 9))
    limit = 8 * 2**20
    swath.signal.convolve(x[:50, :50], k, "same", method)
    tracemalloc.start()
    try:
        with swath.workspace(limit):
            y = swath.signal.convolve(x, k, "same", method)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= y.nbytes + limit


@pytest.mark.on("jax")
def test_precision_sets_jaxs_own_and_takes_it_back(xp):
    import jax

    before = jax.config.jax_default_matmul_precision
    for level, own in (("highest", "highest"), ("high", "high"), ("fast", "default")):
        with swath.precision(level):
            assert jax.config.jax_default_matmul_precision == own
    assert jax.config.jax_default_matmul_precision == before


def test_results_on_a_cpu_are_those_of_full_precision_at_every_level(xp, rng):
    x, k = rng.standard_normal(300), rng.standard_normal(31)
    want = np.convolve(x, k)
    for level in ("highest", "high", "fast"):
        with swath.precision(level):
            got = xp.call(swath.signal.convolve, xp.asarray(x), xp.asarray(k))
        assert np.max(np.abs(xp.numpy(got) - want)) <= 256 * xp.eps * np.max(np.abs(want))


@pytest.mark.on("torch")
def test_threads_share_the_switch_of_full_precision(xp):
    """The user's TF32 is off while any thread is in a product, and on again when the last left."""
    from swath._backends.torch_ import _LAYERS, _full_precision

    before, inside, leave = _LAYERS.fp32_precision, threading.Event(), threading.Event()

    def product():
        with _full_precision(_LAYERS):
            inside.set()
            leave.wait(30)

    other = threading.Thread(target=product)
    _LAYERS.fp32_precision = "tf32"
    try:
        with _full_precision(_LAYERS):
            other.start()
            assert inside.wait(30)
        assert _LAYERS.fp32_precision == "ieee"
        leave.set()
        other.join()
        assert _LAYERS.fp32_precision == "tf32"
    finally:
        _LAYERS.fp32_precision = before
