"""The house: what importing swath costs and loads, its layers, its wheel, its two commands."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import swath

ROOT = Path(__file__).resolve().parent.parent
ARRAY_LIBRARIES = {"jax", "jaxlib", "torch", "cupy", "cupyx", "dask", "dpnp", "dpctl"}


def python(*arguments, cwd, env=None):
    """Run this interpreter; fail with its output if it fails."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def modules_loaded(tmp_path_factory):
    code = "import sys, swath; print(*sys.modules, sep='\\n')"
    return set(python("-c", code, cwd=tmp_path_factory.mktemp("empty")).stdout.split())


def test_import_loads_no_array_library_but_numpy(modules_loaded):
    assert "numpy" in modules_loaded
    assert not ARRAY_LIBRARIES & {name.partition(".")[0] for name in modules_loaded}


def test_import_loads_no_submodule_of_scipy(modules_loaded):
    # A bare `import scipy` brings private helpers with it and no algorithms; it costs little.
    public = {name for name in modules_loaded if re.fullmatch(r"scipy\.[a-z]\w*", name)}
    assert public <= {"scipy.version"}


def test_testing_is_read_when_asked_for(modules_loaded, tmp_path):
    assert "swath.testing" not in modules_loaded
    python("-c", "import swath; swath.testing.tolerance('float32')", cwd=tmp_path)
    with pytest.raises(AttributeError, match="swath has no public name 'no_such'"):
        _ = swath.no_such


def test_import_is_silent(tmp_path):
    done = python("-W", "error", "-c", "import swath", cwd=tmp_path)
    assert done.stdout + done.stderr == ""


def test_import_costs_at_most_numpy_and_a_fifth_of_a_second(tmp_path):
    # Processor time, not the clock, and the best of several runs: other work on the machine can
    # only make a run dearer. NumPy is loaded before the count starts, and from the second run on
    # modules come compiled, as they do where swath is installed.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(tmp_path / "compiled")
    code = (
        "import time, numpy; start = time.process_time(); import swath;"
        "print(time.process_time() - start)"
    )
    costs = []
    for _ in range(10):
        costs.append(float(python("-c", code, cwd=tmp_path, env=env).stdout))
        if min(costs) <= 0.2:
            break
    assert min(costs) <= 0.2, costs


def test_layers(tmp_path):
    code = "from importlinter.cli import lint_imports_command as lint; lint()"
    python("-c", code, "--no-cache", "--config", str(ROOT / "pyproject.toml"), cwd=tmp_path)


def test_wheel_holds_every_module_and_the_type_marker(tmp_path):
    python("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    assert "swath/py.typed" in packed
    assert not modules - packed
    assert "swath/sliding/costs.json" in packed
    # `swath bench` of an installed package.
    assert "swath/benchmarks/run.py" in packed
    # What the planner reads is found in an archive too.
    code = "import swath; print(swath.signal.convolve([1, 2], [1, 1]), swath.__file__)"
    done = python("-c", code, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(wheel)})
    assert done.stdout.startswith(f"[1 3 2] {wheel}")


def test_installed_package_is_this_checkout():
    assert Path(swath.__file__).resolve() == ROOT / "src" / "swath" / "__init__.py"


def first_block(heading):
    """Return the lines of the first fenced block under a heading of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}\s*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"README.md has no heading '## {heading}'"
    block = re.search(r"^```\w*\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)
    assert block, f"no fenced block under '## {heading}'"
    return block[1].splitlines()


@pytest.mark.parametrize("heading", ["Try it", "Test it"])
def test_readme_command_is_one_line(heading):
    assert len(first_block(heading)) == 1


def test_ci_runs_the_command_of_the_readme():
    (command,) = first_block("Test it")
    script = ROOT / ".ci" / "run"
    assert command in script.read_text(encoding="utf-8").splitlines()
    assert os.access(script, os.X_OK)
