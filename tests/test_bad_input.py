"""Bad input for every public operation: the documented result, or an error with its text.

The table is `BAD`: to add rows, append (operation, label, make(xp), expected[, text]).
`make` gets a row of the matrix and returns (args, kwargs). `expected` is an exception class, and
`text` a pattern of its message; or `expected` is a host array (or shape with NaN at known places)
that the call returns. Every registered operation must have the kinds that apply to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from swath.registry import operations
from swath.testing import assert_close


@dataclass(frozen=True)
class Bad:
    """One call that is wrong, or at the edge of what is right."""

    op: str
    label: str
    make: Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]]
    expected: Any
    text: str = ""


def other(xp: Any, values: Any) -> Any:
    """An array of another library than the row's."""
    import array_api_strict

    table = np.asarray(values)
    if xp.backend == "strict":
        return table
    return array_api_strict.asarray(table)


def ones(xp: Any, *shape: int, dtype: str | None = None) -> Any:
    return xp.asarray(np.ones(shape, dtype or "float64"))


def convolving(name: str) -> list[Bad]:
    """What signal.convolve and signal.correlate have in common."""
    short = name.rsplit(".", 1)[-1]
    return [
        Bad(
            name,
            "wrong rank",
            lambda xp: ((ones(xp, 3, 3), ones(xp, 2)), {}),
            ValueError,
            rf"{short}: in1 and in2 must have the same number of axes, got 2 and 1; with axes=",
        ),
        Bad(
            name,
            "wrong dtype",
            lambda xp: ((xp.asarray([True, False]), ones(xp, 2)), {}),
            TypeError,
            rf"{short}: in1 must be numeric, got .*bool; convert it to an integer dtype",
        ),
        Bad(
            name,
            "mixed libraries",
            lambda xp: ((ones(xp, 3), other(xp, [1.0])), {}),
            TypeError,
            rf"{short}: in1 is an array of \w+ and in2 of \w+; swath moves nothing on its own: "
            r"convert one of them",
        ),
        Bad(
            name,
            "kernel larger than signal",
            lambda xp: ((ones(xp, 2, 5), ones(xp, 3, 4), "valid"), {}),
            ValueError,
            rf'{short}: mode="valid" needs one input at least as large as the other along every '
            r"sliding axis \(0, 1\); got shapes \(2, 5\) and \(3, 4\)",
        ),
        Bad(name, "zero-size", lambda xp: ((ones(xp, 0, 4), ones(xp, 1, 2)), {}), np.zeros((0, 5))),
        Bad(name, "zero-size kernel", lambda xp: ((ones(xp, 4), ones(xp, 0)), {}), np.zeros(0)),
        Bad(
            name,
            "NaN",
            lambda xp: ((xp.asarray([1.0, np.nan, 1, 1, 1]), ones(xp, 2), "full", "direct"), {}),
            np.array([1.0, np.nan, np.nan, 2, 2, 1]),
        ),
        Bad(
            name,
            "non-array",
            lambda xp: ((ones(xp, 3), object()), {}),
            TypeError,
            rf"{short}: in2 must be an array, a number or a nested list, got object",
        ),
        Bad(
            name,
            "text",
            lambda xp: ((ones(xp, 3), "abc"), {}),
            TypeError,
            rf"{short}: in2 must be an array, a number or a nested list, got str 'abc'",
        ),
        Bad(
            name,
            "ragged list",
            lambda xp: ((ones(xp, 3, 3), [[1.0], [1.0, 2.0]]), {}),
            ValueError,
            rf"{short}: in2 must be rectangular, got a ragged list",
        ),
        Bad(
            name,
            "unknown mode",
            lambda xp: ((ones(xp, 3), ones(xp, 2), "best"), {}),
            ValueError,
            rf"{short}: mode must be one of 'full', 'same', 'valid'; got 'best'",
        ),
        Bad(
            name,
            "unknown method",
            lambda xp: ((ones(xp, 3), ones(xp, 2), "full", "x"), {}),
            ValueError,
            rf"{short}: method must be one of 'auto', .* got 'x'",
        ),
        Bad(
            name,
            "axis out of range",
            lambda xp: ((ones(xp, 3), ones(xp, 2)), {"axes": 1}),
            ValueError,
            rf"{short}: axes 1 is out of range for an array of 1 axes",
        ),
        Bad(
            name,
            "axis twice",
            lambda xp: ((ones(xp, 3, 3), ones(xp, 2, 2)), {"axes": (0, -2)}),
            ValueError,
            rf"{short}: axes must be distinct, got \(0, -2\)",
        ),
        Bad(
            name,
            "batch that does not broadcast",
            lambda xp: ((ones(xp, 3, 5), ones(xp, 2, 2)), {"axes": 1}),
            ValueError,
            rf"{short}: in1 and in2 do not broadcast along axis 0: lengths 3 and 2",
        ),
    ]


BAD: list[Bad] = [
    Bad(
        "sliding_windows",
        "wrong rank",
        lambda xp: ((ones(xp, 3), (2, 2)), {}),
        ValueError,
        r"sliding_windows: size has 2 entries, but the array has 1 axes \[x: \(3,\) float",
    ),
    Bad(
        "sliding_windows",
        "wrong dtype",
        lambda xp: ((["a", "b"], 1), {}),
        TypeError,
        r"sliding_windows: x must hold numbers, got list",
    ),
    Bad(
        "sliding_windows",
        "negative stride",
        lambda xp: ((ones(xp, 5), 2), {"stride": -1}),
        ValueError,
        r"sliding_windows: stride must be at least 1, got -1",
    ),
    Bad(
        "sliding_windows",
        "stride of text",
        lambda xp: ((ones(xp, 5), 2), {"stride": "2"}),
        TypeError,
        r"sliding_windows: stride must be an int or a tuple of ints, got str '2'",
    ),
    Bad(
        "sliding_windows",
        "stride of floats",
        lambda xp: ((ones(xp, 5), 2), {"stride": 1.5}),
        TypeError,
        r"sliding_windows: stride must be an int or a tuple of ints, got float 1.5",
    ),
    Bad(
        "sliding_windows",
        "zero size",
        lambda xp: ((ones(xp, 5), 0), {}),
        ValueError,
        r"sliding_windows: size must be at least 1, got 0",
    ),
    Bad(
        "sliding_windows",
        "window larger than signal",
        lambda xp: ((ones(xp, 5), 3), {"dilation": 3}),
        ValueError,
        r"sliding_windows: a window of size 3 with dilation 3 spans 7 points, but axis 0 has 5; "
        r"pad the array or use a smaller window",
    ),
    Bad("sliding_windows", "zero-size", lambda xp: ((ones(xp, 0, 4), 2), {}), np.zeros((0, 3, 2))),
    Bad(
        "sliding_windows",
        "NaN",
        lambda xp: ((xp.asarray([1.0, np.nan, 2.0]), 2), {}),
        np.array([[1.0, np.nan], [np.nan, 2.0]]),
    ),
    Bad(
        "sliding_windows",
        "non-array",
        lambda xp: ((object(), 2), {}),
        TypeError,
        r"sliding_windows: x must be an array, a number or a nested list, got object",
    ),
    Bad(
        "sliding_windows",
        "array as size",
        lambda xp: ((ones(xp, 5), ones(xp, 1)), {}),
        TypeError,
        r"sliding_windows: size must be an int or a tuple of ints",
    ),
    Bad(
        "overlap_add",
        "wrong rank",
        lambda xp: ((ones(xp, 3), (4,)), {}),
        ValueError,
        r"overlap_add: blocks must have one trailing axis of taps per sliding axis",
    ),
    Bad(
        "overlap_add",
        "wrong shape",
        lambda xp: ((ones(xp, 3, 2), (9,)), {}),
        ValueError,
        r"overlap_add: blocks has shape \(3, 2\), but windows of an array of shape \(9,\) have "
        r"shape \(8, 2\)",
    ),
    Bad(
        "overlap_add",
        "wrong dtype",
        lambda xp: ((xp.asarray([[True]]), (1,)), {}),
        TypeError,
        r"overlap_add: blocks must be numeric, got .*bool",
    ),
    Bad(
        "overlap_add",
        "negative stride",
        lambda xp: ((ones(xp, 3, 2), (4,)), {"stride": -1}),
        ValueError,
        r"overlap_add: stride must be at least 1, got -1",
    ),
    Bad(
        "overlap_add",
        "window larger than signal",
        lambda xp: ((ones(xp, 1, 5), (3,)), {}),
        ValueError,
        r"overlap_add: a window of size 5 with dilation 1 spans 5 points, but axis 0 "
        r"has 3",
    ),
    Bad("overlap_add", "zero-size", lambda xp: ((ones(xp, 0, 3, 2), (0, 4)), {}), np.zeros((0, 4))),
    Bad(
        "overlap_add",
        "NaN",
        lambda xp: ((xp.asarray([[1.0, np.nan], [1.0, 1.0]]), (3,)), {}),
        np.array([1.0, np.nan, 1.0]),
    ),
    Bad(
        "overlap_add",
        "non-array",
        lambda xp: ((None, (3,)), {}),
        TypeError,
        r"overlap_add: blocks must be an array.*got None",
    ),
    *convolving("signal.convolve"),
    *convolving("signal.correlate"),
]


def table() -> list[Any]:
    return [
        pytest.param(b, id=f"{b.op}-{b.label.replace(' ', '-')}", marks=pytest.mark.op(b.op))
        for b in BAD
    ]


@pytest.mark.needs("array_api_strict")
@pytest.mark.parametrize("bad", table())
def test_bad_input_gives_the_documented_result_or_error(xp, bad):
    function = operations()[bad.op].function
    args, kwargs = bad.make(xp)
    if isinstance(bad.expected, type):
        with pytest.raises(bad.expected) as caught:
            function(*args, **kwargs)
        assert re.match(bad.text, str(caught.value)), str(caught.value)
    else:
        assert_close(xp.call(function, *args, **kwargs), bad.expected)


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
