#!/usr/bin/env python3
"""One command per task. Needs nothing but Python 3.11 or newer; makes the environments it runs in.

    python3 ci/tasks.py demo [arguments of `swath demo`]
    python3 ci/tasks.py test [--rows NAME ...] [arguments of pytest]
    python3 ci/tasks.py lint
    python3 ci/tasks.py bench [arguments of benchmarks/run.py]
    python3 ci/tasks.py docs

`test` alone is everything that can run without a GPU: lint, the whole matrix, the doctests.
`--rows` runs those rows of ci/rows.toml; rows of one backend run in an environment that holds no
other (`--rows numpy`: nothing but swath's own dependencies). With `--rows` or arguments of pytest,
only pytest runs.

An environment (.venv-*) is kept until what it is made of changes.
"""

import platform
import sys

# An older Python must get as far as this message.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("swath needs Python 3.11 or newer; this is Python " + platform.python_version())

import atexit
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLAIN = os.environ.get("CI", "").lower() in {"1", "true"}
PLATFORM = f"{sys.platform}-{platform.machine().lower()}"
CONSTRAINTS = ROOT / "ci" / "constraints.txt"
ROWS = tomllib.loads((ROOT / "ci" / "rows.toml").read_text(encoding="utf-8"))["row"]
CORES = os.cpu_count() or 1

# Environment -> what is installed in it, swath itself (editable) first.
ENVIRONMENTS = {
    "demo": [".[demo,jax,torch]"],
    "test": [".[test,demo,jax,torch,dask,dev]"],
    "docs": [".[docs,demo,jax,torch]"],
}


# -- environments ------------------------------------------------------------------------------


class Environment:
    """A virtual environment in the checkout, rebuilt when what it is made of has changed."""

    def __init__(self, name, requirements):
        self.name = name
        self.folder = ROOT / f".venv-{name}"
        self.requirements = requirements
        self.scripts = self.folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.scripts / ("python.exe" if os.name == "nt" else "python")

    def ready(self):
        """Make the environment unless the one that is there fits; return it."""
        stamp = self.folder / "swath-stamp"
        wanted = self._fingerprint()
        if stamp.is_file() and stamp.read_text() == wanted and self.python.exists():
            return self
        say(f"making {self.folder.name} (once; downloads may take minutes)")
        began = time.monotonic()
        if self.folder.exists():
            shutil.rmtree(self.folder)
        try:
            venv.create(self.folder, with_pip=True, symlinks=os.name != "nt")
        except (subprocess.CalledProcessError, ImportError) as error:
            sys.exit(f"cannot make a virtual environment (on Debian: python3-venv): {error}")
        command = [self.python, "-m", "pip", "install", "-qq", "--no-input"]
        command += ["--disable-pip-version-check", *(["--no-color"] if PLAIN else [])]
        command += ["-c", CONSTRAINTS, "-e", *self.requirements]
        if run(command) != 0:
            sys.exit(f"pip could not install {' '.join(self.requirements)}: see above")
        # Last, so that an interrupted installation is made again.
        stamp.write_text(wanted)
        say(f"made {self.folder.name} in {time.monotonic() - began:.0f} s")
        return self

    def run(self, *command, cwd=ROOT):
        """Run a command in the environment; return its exit status."""
        env = dict(os.environ)
        # JAX chooses its platform itself.
        env.pop("JAX_PLATFORMS", None)
        if self.opencl_driver:
            env["OCL_ICD_FILENAMES"] = str(self.opencl_driver)
        return run(command, cwd=cwd, env=env)

    @functools.cached_property
    def opencl_driver(self):
        """The OpenCL driver for CPUs, None without one.

        dpnp finds the CPU only if the OpenCL loader is told where the wheel put its driver.
        """
        library = self.folder / "lib" / "libintelocl.so"
        if not library.exists():
            return None
        if " " in str(library):
            # The driver looks for its parts beside itself and reads its own path up to the first
            # space only. The path is the resolved one: it must be a copy, its parts may be links.
            folder = Path(tempfile.mkdtemp(prefix="swath-opencl-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            for part in (*library.parent.glob("lib*.so*"), *library.parent.glob("cl*")):
                (folder / part.name).symlink_to(part)
            (folder / library.name).unlink()
            library = Path(shutil.copy2(library, folder))
        say(f"OCL_ICD_FILENAMES={library}")
        return library

    def missing(self, distributions):
        """Return those of the distributions that are not installed here."""
        code = (
            "import sys, importlib.metadata as m\n"
            "for name in sys.argv[1:]:\n"
            "    try: m.version(name)\n"
            "    except m.PackageNotFoundError: print(name)\n"
        )
        command = [str(self.python), "-c", code, *distributions]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    def _fingerprint(self):
        # The checkout's place is part of it: a moved folder leaves scripts that point nowhere.
        parts = [sys.version, PLATFORM, str(ROOT), *self.requirements]
        parts += [path.read_text("utf-8") for path in (ROOT / "pyproject.toml", CONSTRAINTS)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def environment(name):
    """Return the named environment, ready."""
    return Environment(name, ENVIRONMENTS[name]).ready()


def environment_for(rows):
    """Return an environment for these rows, ready and with every package that they require."""
    backends = {row["backend"] for row in rows}
    if len(backends) == 1:
        packages = sorted({package for row in rows for package in row["packages"]})
        result = Environment(*backends, [".[test-core]", *packages])
    else:
        result = Environment("test", ENVIRONMENTS["test"])
    result.ready()
    required = {row["name"]: row["packages"] for row in rows if PLATFORM in row["required_on"]}
    lost = set(result.missing(sorted({p for names in required.values() for p in names})))
    for name, packages in required.items():
        for package in sorted(lost.intersection(packages)):
            say(f"row {name} is required on {PLATFORM}, but its package {package} is missing")
    if lost:
        sys.exit(1)
    return result


# -- tasks -------------------------------------------------------------------------------------


def demo(arguments):
    """Run the demo on real input; files named are relative to the caller's folder."""
    env = environment("demo")
    return env.run(env.scripts / "swath", "demo", *arguments, cwd=None)


def test(arguments):
    """Run lint, the matrix and the doctests; or pytest alone on what is asked for."""
    rows, arguments = take_rows(arguments)
    color = ["--color=no"] if PLAIN else []
    if rows or arguments:
        env = environment_for(rows or ROWS)
        # Last: pytest's --rows takes every name that follows it.
        names = ["--rows", *(row["name"] for row in rows)] if rows else []
        workers = [] if arguments else ["-n", str(workers_count())]
        return env.run(env.python, "-m", "pytest", *color, *workers, *arguments, *names)
    # CuPy is asked for by a GPU, not by the platform: pytest reports its row as not run.
    env = environment_for(ROWS)
    pytest = [env.python, "-m", "pytest", *color]
    return steps(
        env,
        {
            **lint_commands(env),
            "doctests": [*pytest, "-q", "--doctest-modules", "src/swath"],
            "matrix": [*pytest, "-n", str(workers_count())],
        },
    )


def lint(arguments):
    """Run ruff, pyright and import-linter."""
    no_arguments("lint", arguments)
    env = environment("test")
    return steps(env, lint_commands(env))


def lint_commands(env):
    """Return the lint commands by name."""
    python = [env.python, "-m"]
    return {
        "ruff check": [*python, "ruff", "check", "."],
        "ruff format": [*python, "ruff", "format", "--check", "."],
        "pyright": [*python, "pyright", "--pythonpath", env.python],
        "layers": [env.scripts / "lint-imports", "--no-logo"],
    }


def bench(arguments):
    """Run the benchmarks beside their peers."""
    env = environment("test")
    return env.run(env.python, "benchmarks/run.py", *arguments)


def docs(arguments):
    """Build the documentation into docs/_build/html."""
    no_arguments("docs", arguments)
    env = environment("docs")
    return env.run(env.python, "-m", "sphinx", "-q", "-W", "-b", "html", "docs", "docs/_build/html")


TASKS = {"demo": demo, "test": test, "lint": lint, "bench": bench, "docs": docs}


# -- parts -------------------------------------------------------------------------------------


def take_rows(arguments):
    """Split `--rows a b …` (or `--rows=a,b`) off; return the rows and the other arguments."""
    known = {row["name"]: row for row in ROWS}
    rows, rest, taking = [], [], False
    for argument in arguments:
        if argument == "--rows" or argument.startswith("--rows="):
            names = argument.removeprefix("--rows").removeprefix("=")
            taking = argument == "--rows"
        elif taking and (argument in known or not rows):
            names = argument
        else:
            taking = False
            rest.append(argument)
            continue
        for name in filter(None, names.split(",")):
            if name not in known:
                sys.exit(f"--rows: no row {name!r} in ci/rows.toml; there are {', '.join(known)}")
            rows.append(known[name])
    if taking and not rows:
        sys.exit(f"--rows needs a name: {', '.join(known)}")
    return rows, rest


def steps(env, commands):
    """Run every command, also after one has failed; print how each ended."""
    ended = {}
    for name, command in commands.items():
        began = time.monotonic()
        status = env.run(*command)
        ended[name] = (status, time.monotonic() - began)
    say("")
    for name, (status, seconds) in ended.items():
        say(f"{name:<12} {'ok' if status == 0 else f'FAILED ({status})':<12} {seconds:6.1f} s")
    return int(any(status for status, _ in ended.values()))


def workers_count():
    """Return the number of test processes: each loads every library, so not one per core."""
    return max(2, min(CORES, 4))


def no_arguments(task, arguments):
    """Refuse arguments that the task would ignore."""
    if arguments:
        sys.exit(f"{task} takes no arguments, got {' '.join(arguments)}")


def run(command, cwd=ROOT, env=None):
    """Show a command and run it; return its exit status."""
    command = [str(part) for part in command]
    shown = shlex.join(command).replace(str(ROOT) + os.sep, "")
    say(f"$ {shown if len(shown) < 400 else shown[:400] + ' …'}")
    return subprocess.call(command, cwd=cwd, env=env)


def say(text):
    """Print at once, so that lines stand in order with those of the commands run."""
    print(text, flush=True)


def main(arguments):
    """Run the task named first."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        say(__doc__.strip())
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in TASKS:
        sys.exit(f"no task {name!r}; there are {', '.join(TASKS)}")
    return TASKS[name](rest)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
