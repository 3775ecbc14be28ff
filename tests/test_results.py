"""What operations return can be copied, pickled, compared and kept in sets."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import swath
from swath import linalg, signal
from swath.testing import assert_close

# dpnp's arrays cannot be pickled.
pytestmark = pytest.mark.on("numpy", "torch", "jax", "strict", "dask")

COPIED = [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]


def fitted(xp, rng):
    sums = linalg.GramAccumulator(3)
    sums.update(xp.asarray(rng.standard_normal((9, 3))), xp.asarray(rng.standard_normal(9)))
    return sums.solve()


# A result, and an array that tells its values.
RESULTS = {
    "lstsq": (
        lambda xp, rng: linalg.lstsq(
            xp.asarray(rng.standard_normal((9, 3))), xp.asarray(rng.standard_normal(9))
        ),
        lambda fit: fit.stderr,
    ),
    "project": (
        lambda xp, rng: linalg.project(
            xp.asarray(rng.standard_normal((9, 3))), xp.asarray(rng.standard_normal(9))
        ),
        lambda found: found.projection,
    ),
    "GramAccumulator": (fitted, lambda fit: fit.stderr),
    "solve_toeplitz": (
        lambda xp, rng: linalg.solve_toeplitz(
            xp.asarray([4.0, 1.0, 0.0]), xp.asarray([1.0, 2.0, 3.0]), full_output=True
        ),
        lambda found: found.x,
    ),
    "ToeplitzOperator": (
        lambda xp, rng: linalg.ToeplitzOperator(xp.asarray([4.0, 1.0, 0.0])),
        lambda operator: operator.to_dense(),
    ),
    "plan": (
        lambda xp, rng: swath.plan(
            signal.convolve, xp.asarray(rng.standard_normal(50)), xp.asarray([1.0, 2.0])
        ),
        lambda plan: np.asarray(plan.flops),
    ),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_copied_compared_and_hashed(xp, rng, name):
    make, values = RESULTS[name]
    result = make(xp, rng)
    for copied in COPIED:
        other = copied(result)
        assert type(other) is type(result)
        assert_close(values(other), xp.numpy(values(result)))
        # Of arrays NumPy would ask for the truth of many values.
        assert (other == result) in (True, False)
        assert len({result, other, result}) == (1 if other == result else 2)
    assert result == result
    assert type(result).__name__ in repr(result)


def test_records_of_operations_are_one_each():
    found = swath.operations()
    for copied in COPIED:
        assert all(copied(record) is record for record in found.values())
    assert len(set(found.values())) == len(found)


def test_a_record_stands_for_its_operation():
    record = swath.operations()["signal.convolve"]
    x, h = np.arange(4.0), np.ones(2)
    assert swath.supports(record, "jax")
    assert swath.plan(record, x, h) == swath.plan("convolve", x, h)
    value, pullback = swath.vjp(record, x, h)
    assert_close(pullback(value)[1], np.correlate(value, x, "valid"))
