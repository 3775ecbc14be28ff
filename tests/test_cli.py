"""The command line as a process: an output that takes no more is no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
