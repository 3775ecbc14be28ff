"""JAX arrays in shards on several devices: results, where they lie, and what devices exchange."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sharded import cases, few, mapped

pytestmark = [pytest.mark.on("jax"), pytest.mark.needs("jax")]


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "sharded.py")],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", cases())
def test_results_stay_in_shards_and_borders_alone_are_exchanged(xp, report, name):
    found = report[name]
    assert max(found["error"], found["eager"], found.get("gradient", 0.0)) < 1e-12
    assert found["lies"], found["where"]
    exchanged = {kind: n for kind, n in found["sent"].items() if kind != "all-reduce"}
    assert max(exchanged.values(), default=0) <= found["allowed"], found["sent"]
    assert "all-gather" not in exchanged, found["sent"]


@pytest.mark.parametrize("name", few())
def test_results_that_lie_otherwise_than_shards_are_right(xp, report, name):
    found = report[f"few {name}"]
    assert max(found["error"], found["eager"], found.get("gradient", 0.0)) < 1e-12


@pytest.mark.parametrize("name", mapped())
def test_shard_map_adds_up_the_gradients_of_what_devices_share(xp, report, name):
    assert report[f"mapped {name}"] < 1e-12


def test_devices_are_told_apart(xp, report):
    found = report["devices"]
    assert found["far"] == [5]
    assert "is on device" in found["refused"]
