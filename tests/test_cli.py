"""The command line as a process: an output that takes no more is no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from swath import cli

COMMAND = [sys.executable, "-c", "import sys; from swath.cli import main; sys.exit(main())"]


def ended(stdout, *arguments, unbuffered=""):
    """Exit status and errors of a run that writes there."""
    env = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        [*COMMAND, *arguments], stdout=stdout, stderr=subprocess.PIPE, env=env, text=True
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments, unbuffered", [("--help", ""), ("backends", "1")])
def test_a_reader_that_has_ended(arguments, unbuffered):
    read, write = os.pipe()
    os.close(read)
    try:
        assert ended(write, arguments, unbuffered=unbuffered) == (1, "")
    finally:
        os.close(write)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the platform has no full device")
@pytest.mark.parametrize("arguments, unbuffered", [("--help", ""), ("backends", "1")])
def test_a_full_disk(arguments, unbuffered):
    with open("/dev/full", "w") as full:
        status, errors = ended(full, arguments, unbuffered=unbuffered)
    assert status == 1
    assert errors == "swath: [Errno 28] No space left on device\n"


def test_interruptions_and_a_package_without_benchmarks_say_so(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "lib" / "swath" / "cli.py"))
    assert cli.main(["bench", "--help"]) == 2
    assert capsys.readouterr().err.startswith("swath bench: there are no benchmarks beside ")

    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert cli.main(["backends"]) == 130
    assert capsys.readouterr() == ("", "swath: interrupted\n")
