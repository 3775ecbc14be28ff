"""The example that fits more rows than are kept: right, within its own standard errors."""

from __future__ import annotations

import numpy as np
import pytest

import scripts
import swath
from swath.testing import assert_close


@pytest.fixture(scope="module")
def regression():
    return scripts.loaded("examples", "regression.py")


def test_coefficients_are_right_within_standard_errors_in_constant_memory(
    regression, record_property
):
    rows = 320_000  # four chunks, the last one short
    lines = []
    found = regression.run("numpy", rows=rows, say=lines.append)
    assert lines[0] == "320,000 rows of 50 columns: 0.1 GB, never kept"
    assert int(found.fit.rows) == rows
    assert np.abs(found.errors).max() < 4
    assert 0.5 < np.mean(np.abs(found.errors) < 1) < 0.9
    assert abs(np.sqrt(found.fit.residuals / found.fit.dof) - regression.NOISE) < 0.02
    assert found.growth < 50
    pace = rows / found.summing / 1e6
    record_property("note", f"regression: {pace:.2f} million rows of 50 columns per second")


def test_it_is_the_fit_of_all_rows_at_once(regression, monkeypatch):
    monkeypatch.setattr(regression, "CHUNK", 7000)
    a, b = (np.concatenate(v) for v in zip(*regression.chunks(20_000), strict=True))
    want = swath.linalg.lstsq(a, b, accuracy="full")
    got = regression.regression(20_000).fit
    for name in ("x", "stderr", "residuals"):
        assert_close(getattr(got, name), getattr(want, name), rtol=1e-12)
