"""Public docstrings: parameters documented as they are, a return value, an example that runs."""

from __future__ import annotations

import importlib
import inspect

import pytest

pytestmark = pytest.mark.needs("numpydoc")

PACKAGES = (
    "swath",
    "swath.signal",
    "swath.signal.windows",
    "swath.nn",
    "swath.linalg",
    "swath.testing",
)
# Sections known and in order; parameters documented and existing; returns; summary.
CHECKS = {"GL06", "GL07", "GL08", "PR01", "PR02", "RT01", "SS03"}
# Assertions return nothing worth an example of their own; the tests are full of them.
WITHOUT_EXAMPLE = {"assert_close", "check_adjoint", "check_vjp"}


def public_functions() -> list[str]:
    found = []
    for package in PACKAGES:
        module = importlib.import_module(package)
        found += [
            f"{package}.{name}"
            for name in module.__all__
            if inspect.isroutine(getattr(module, name)) or inspect.isclass(getattr(module, name))
        ]
    return found


@pytest.mark.parametrize("path", public_functions())
def test_public_docstring(path):
    from numpydoc.validate import validate

    errors = [f"{code}: {text}" for code, text in validate(path)["errors"] if code in CHECKS]
    package, _, name = path.rpartition(".")
    value = getattr(importlib.import_module(package), name)
    if name not in WITHOUT_EXAMPLE and ">>>" not in (inspect.getdoc(value) or ""):
        errors.append("no example")
    assert not errors, f"{path}: {'; '.join(errors)}"
