"""The example that trains a network: what it reaches, and that both ways to it agree."""

from __future__ import annotations

import numpy as np
import pytest

import scripts
from swath.testing import assert_close

trained = pytest.mark.op("nn.conv", "nn.max_pool")


@pytest.fixture(scope="module")
def digits():
    return scripts.loaded("examples", "digits.py")


WAYS = {"numpy": "swath.vjp by hand on NumPy", "jax": "jax.grad"}


@trained
@pytest.mark.needs("sklearn")
@pytest.mark.on("numpy", "jax")
def test_the_network_reads_digits_held_out(xp, digits, record_property):
    """Trained in full, 60 epochs: on NumPy by hand, on JAX by jax.grad, each step compiled."""
    x, labels, held, truth = digits.data()
    assert (len(x), len(held)) == (1347, 450)
    beside = digits.baselines(x, labels, held, truth)
    weights = digits.train(x, labels, library=xp.name)
    reached = digits.accuracy(weights, held, truth)
    others = ", ".join(f"{name} {score:.2%}" for name, score in beside.items())
    record_property("note", f"digits: network, {WAYS[xp.name]}: {reached:.2%} ({others})")
    assert reached >= 0.985
    assert reached > max(beside.values())


@trained
@pytest.mark.needs("sklearn", "jax")
@pytest.mark.on("jax")
def test_by_hand_and_by_jax_grad_the_weights_are_the_same(xp, digits):
    x, labels, _, _ = digits.data()
    ours = digits.train(x, labels, steps=20, library="numpy")
    theirs = digits.train(x, labels, steps=20, library="jax")
    begun = digits.start()
    for name, weight in ours.items():
        assert np.abs(weight - begun[name]).max() > 1e-3
        assert_close(weight, theirs[name], rtol=0.0, atol=1e-10, dtype="float64")
