"""One process runs every case on all rows and compares every two of them.

The largest differences are printed at the end of the run (see conftest), in units of eps·scale:
eps of the coarser of the two rows, scale the largest magnitude of the value.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import swath
from over_cases import Call, arrays_in, beside, params, random_like
from swath.testing import _host

pytestmark = pytest.mark.optimised
# Units of eps·scale that two rows may differ by: sums in another order, FFTs of another library,
# solutions of well-conditioned systems.
ALLOWED = 256.0


# Outputs that are two words of one number each: where the rows' precisions differ, the first words
# round differently, and the second ones hold the difference. Their sum is the value.
WORDS = {"linalg.gram_extended": 2}


def joined(values, count):
    """The first `count` values as their sum, in the widest precision."""
    wide = np.result_type(values[0], np.float64)
    return [sum(v.astype(wide) for v in values[:count]), *values[count:]]


def results(call, arrays):
    """Every output of the call, and the cotangents of the differentiable arrays."""
    found = arrays_in(call.full(*arrays))
    if call.slots:
        found += call.value_and_manual(lambda y: beside(y, random_like(y)), *arrays)[1]
    return found


@pytest.mark.parametrize("case", params())
def test_every_two_backends_agree(all_rows, case, request):
    found = {}
    for row in all_rows:
        with row.context():
            call = Call(case, row)
            record = swath.operations()[case.op]
            if call.refused(row):
                continue
            # Reports cannot be traced (the record says why): a compiled row runs them eagerly.
            eager = bool(record.eager_only) and not record.differentiable
            run = (lambda fn, *arrays: fn(*arrays)) if eager else row.call
            values = run(lambda *arrays, c=call: results(c, arrays), *call.arrays)
            found[row.name] = (row, [_host(v) for v in values])
        request.node.user_properties.append(("row", row.name))
    for (a, (row_a, ours)), (b, (row_b, theirs)) in itertools.combinations(found.items(), 2):
        assert len(ours) == len(theirs)
        eps = max(row_a.eps, row_b.eps)
        if case.op in WORDS and row_a.eps != row_b.eps:
            ours, theirs = (joined(v, WORDS[case.op]) for v in (ours, theirs))
        worst = 0.0
        for x, y in zip(ours, theirs, strict=True):
            assert x.shape == y.shape
            assert np.array_equal(np.isnan(x), np.isnan(y))
            if x.dtype.kind in "fc":
                finite = np.isfinite(x) & np.isfinite(y)
                assert np.array_equal(x[~finite & ~np.isnan(x)], y[~finite & ~np.isnan(y)])
                scale = max(np.max(np.abs(y[finite]), initial=0.0), 1e-3)
                worst = max(worst, float(np.max(np.abs(x - y)[finite], initial=0.0)) / eps / scale)
            else:
                assert np.array_equal(x, y)
        request.node.user_properties.append(("difference", (a, b, float(worst), case.id)))
        assert worst <= ALLOWED, f"{a} and {b} differ by {worst:.1f} eps·scale"
