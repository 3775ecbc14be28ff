"""README's programs run as they stand, and print what their comments say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
# What each is known by, and the row that it is about.
ROWS = {
    "jax.jit(swath.signal.convolve)": "jax",
    "import swath.numpy as sw": "numpy",
    "import swath.jax as sw": "jax",
    "import swath.torch as sw": "torch",
    "import swath.cupy as sw": "cupy",
    "GramAccumulator(50)": "numpy",
    "swath.map_blocks(": "numpy",
    "import dask": "dask",
}


def test_every_program_is_known():
    for program in PROGRAMS:
        assert sum(mark in program for mark in ROWS) == 1


@pytest.mark.on("numpy", "jax", "torch", "cupy", "dask")
def test_programs_run(xp, tmp_path, monkeypatch, capsys, rng):
    monkeypatch.chdir(tmp_path)
    rng.standard_normal((20_000, 8), np.float32).tofile("recording.f32")
    given = {
        "chunks": [(rng.standard_normal((m, 50)), rng.standard_normal(m)) for m in (3, 100, 17)],
        "recording": rng.standard_normal(4096),
        "kernels": rng.standard_normal((5, 101)),
        "images": rng.standard_normal((2, 3, 16, 16)),
        "layers": rng.standard_normal((4, 3, 3, 3)),
    }
    marks = [mark for mark, row in ROWS.items() if row == xp.name]
    programs = [p for p in PROGRAMS if any(mark in p for mark in marks)]
    assert len(programs) == len(marks) > 0
    for program in programs:
        # A day of recording, and hours of noise, would take minutes.
        program = program.replace("86_400_000", "20_000").replace("10**8", "10**7")
        exec(compile(program, "README.md", "exec"), dict(given))
        printed = capsys.readouterr().out
        for told in re.findall(r"^print\(.*\)  # (\[.*\])$", program, re.MULTILINE):
            assert told in printed
