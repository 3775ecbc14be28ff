"""Bad input for every public function: the documented result, or an error with its text.

The table is in `bad`, a module for each family. Errors come from checks before anything is
computed and are the same everywhere: they are looked at on two rows, those of mixed libraries and
the results on more, and compiled where NaN could meet a decision by values.
"""

from __future__ import annotations

import operator
import re
from typing import Any

import numpy as np
import pytest

import swath
from bad import BAD, KINDS, NEVER
from bad.functions import CALLED
from swath.registry import operations
from swath.testing import assert_close


def table(*, wanted: Any) -> list[Any]:
    return [
        pytest.param(b, id=b.id, marks=[pytest.mark.op(b.op)] if b.op in operations() else [])
        for b in BAD
        if wanted(b)
    ]


def raises(bad: Any) -> bool:
    return isinstance(bad.expected, type)


def check(xp: Any, bad: Any) -> None:
    """The error or the result of a row of the table."""
    args, kwargs = bad.call.on(xp)
    function = CALLED.get(bad.op) or operator.attrgetter(bad.op)(swath)
    if not raises(bad):
        assert_close(bad.pick(function(*args, **kwargs)), bad.expected)
        return
    with pytest.raises(bad.expected) as caught:
        function(*args, **kwargs)
    # Operations put their name in front.
    name = re.escape(bad.op.rsplit(".", 1)[-1]) + ": " if bad.op in operations() else ""
    assert re.match(name + bad.text, str(caught.value)), str(caught.value)


@pytest.mark.on("numpy", "strict")
@pytest.mark.parametrize("bad", table(wanted=lambda b: raises(b) and "mixed" not in b.kind))
def test_bad_input_is_refused_in_words(xp, bad):
    check(xp, bad)


@pytest.mark.needs("array_api_strict")
@pytest.mark.on("numpy", "jax", "torch", "strict", "dpnp", "dask", "cupy")
@pytest.mark.parametrize("bad", table(wanted=lambda b: "mixed" in b.kind))
def test_libraries_do_not_mix(xp, bad):
    check(xp, bad)


@pytest.mark.on("numpy", "torch", "strict", "strict-device1", "dpnp", "cupy")
@pytest.mark.parametrize("bad", table(wanted=lambda b: not raises(b) and "mixed" not in b.kind))
def test_edges_of_the_allowed_give_the_documented_result(xp, bad):
    check(xp, bad)


def compiled(bad: Any) -> bool:
    record = operations().get(bad.op)
    whole = record is not None and not record.eager_only
    return whole and bad.kind == "NaN" and (not raises(bad) or bad.traced is not None)


@pytest.mark.on("jax-jit")
@pytest.mark.parametrize("bad", table(wanted=compiled))
def test_nan_goes_through_a_compiled_call(xp, bad):
    args, kwargs = bad.call.on(xp)
    got = xp.call(operations()[bad.op].function, *args, **kwargs)
    assert_close(bad.pick(got), bad.expected if bad.traced is None else bad.traced)


def test_every_operation_has_every_kind_of_bad_input_or_the_reason_why_not():
    """And so have the other public functions in the table."""
    rows = {(b.op, b.kind) for b in BAD}
    assert len(rows) == len(BAD), "two rows of one kind"
    names = set(operations()) | {b.op for b in BAD}
    gaps = {(n, k) for n in names for k in KINDS if (n, k) not in rows and (n, k) not in NEVER}
    assert not gaps, sorted(gaps)
    assert not rows & set(NEVER)
    assert {n for n, _ in NEVER} <= names


def test_every_public_function_is_in_the_table():
    import swath.testing

    told = {b.op for b in BAD}
    packages = {"": swath, "signal.": swath.signal, "nn.": swath.nn, "linalg.": swath.linalg}
    packages["testing."] = swath.testing
    public = {
        prefix + name
        for prefix, package in packages.items()
        for name in package.__all__
        if callable(getattr(package, name))
    }
    # These two take no argument.
    assert public - told == {"available_backends", "operations"}


@pytest.mark.on("numpy")
@pytest.mark.parametrize("kind", ["U1", "O", "M8[D]"])
def test_numpy_arrays_of_anything_but_numbers_are_refused(xp, kind):
    """NumPy alone has such arrays: every array argument of every operation."""
    from cases import CASES
    from over_cases import Call

    table = np.zeros(1, kind)
    seen = set()
    for case in CASES:
        call = Call(case, xp)
        for slot, name in zip(call.slots, call.names, strict=True):
            if (case.op, name) in seen:
                continue
            seen.add((case.op, name))
            args, kwargs = list(call.args), dict(call.kwargs)
            if isinstance(slot, int):
                args[slot] = table
            else:
                kwargs[slot] = table
            # A column alone, where a pair may be given, is called by its own name.
            names = f"({name}|{name.partition('_or_')[0]})"
            with pytest.raises(TypeError, match=f"{names} must hold numbers, got ndarray of shape"):
                operations()[case.op].function(*args, **kwargs)
    assert len(seen) > len(operations()) - 3


def test_no_operation_lets_a_foreign_object_through_without_a_clear_error():
    """Every registered operation, its first array replaced by an object and by a text."""
    from cases import CASES
    from rows import load

    row = load()["numpy"][0]
    unclear = []
    seen = set()
    for case in CASES:
        if case.op in seen:
            continue
        seen.add(case.op)
        record = operations()[case.op]
        args, kwargs = case.make(row, np.random.default_rng(0))
        for thing in (object(), "text", {"a": 1}):
            try:
                record.function(thing, *args[1:], **kwargs)
            except (TypeError, ValueError) as error:
                name = record.name.rsplit(".", 1)[-1]
                if not str(error).startswith(f"{name}: "):
                    unclear.append((case.op, type(thing).__name__, str(error)))
            else:
                unclear.append((case.op, type(thing).__name__, "no error"))
    assert not unclear, "\n".join(map(str, unclear))


@pytest.mark.needs("array_api_strict")
def test_every_operation_names_itself_when_libraries_are_mixed():
    """Each operation with two arrays, the second moved to another library."""
    import inspect

    import array_api_strict

    from cases import CASES
    from rows import load
    from swath._backends import try_backend

    row = load()["numpy"][0]
    unclear = []
    checked = 0
    for case in CASES:
        record = operations()[case.op]
        args, kwargs = case.make(row, np.random.default_rng(0))
        names = list(inspect.signature(record.function).parameters)
        places = [
            i
            for i, a in enumerate(args)
            if try_backend(a) is not None and i < len(names) and names[i] in record.arrays
        ]
        if len(places) < 2:
            continue
        moved = list(args)
        moved[places[1]] = array_api_strict.asarray(args[places[1]])
        checked += 1
        try:
            record.function(*moved, **kwargs)
        except TypeError as error:
            if "array_api_strict" not in str(error) or "swath moves nothing" not in str(error):
                unclear.append((case.id, str(error)))
        except Exception as error:
            unclear.append((case.id, repr(error)))
        else:
            unclear.append((case.id, "no error"))
    assert checked >= 2
    assert not unclear, "\n".join(map(str, unclear))
