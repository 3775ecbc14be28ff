"""What the generic tests share: parameters over all cases, and a case as a plain function.

A test that takes `case` from `params()` picks up every new operation on its own.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import swath
from cases import CASES, Case
from swath._backends import backend_of, try_backend
from swath.autodiff import differentiable
from swath.registry import operations

SEED = 7


def params(*, smooth: bool = False, first_of_each: bool = False) -> list[Any]:
    """Cases as pytest parameters that carry the name of their operation.

    `smooth` keeps those of differentiable operations at smooth points; `first_of_each` one case
    with real arrays (or else any) of every operation.
    """
    chosen = [c for c in CASES if not smooth or (c.smooth and record(c).differentiable)]
    if first_of_each:
        best: dict[str, Case] = {}
        for c in sorted(chosen, key=lambda c: "complex" in c.label):
            best.setdefault(c.op, c)
        chosen = list(best.values())
    return [pytest.param(c, id=c.id, marks=pytest.mark.op(c.op)) for c in chosen]


def record(case: Case) -> Any:
    """The registry's record of the case's operation."""
    return operations()[case.op]


class Call:
    """One case on one row as a function of its differentiable arrays.

    Attributes
    ----------
    op : callable
        The public function.
    args, kwargs
        Its arguments.
    slots : list
        Where the differentiable arrays stand: positions and keywords.
    """

    def __init__(self, case: Case, xp: Any) -> None:
        self.record = record(case)
        self.op: Callable[..., Any] = self.record.function
        args, self.kwargs = case.make(xp, np.random.default_rng(SEED))
        self.args = tuple(args)
        names = list(inspect.signature(self.op).parameters)
        allowed = self.record.differentiable
        self.slots: list[int | str] = [
            i
            for i, a in enumerate(self.args)
            if i < len(names) and names[i] in allowed and differentiable(a)
        ]
        self.slots += [k for k, a in self.kwargs.items() if k in allowed and differentiable(a)]
        self.names = [names[s] if isinstance(s, int) else s for s in self.slots]

    def refused(self, row: Any) -> bool:
        """Whether the record says that the row's library cannot; then the call says so."""
        if self.record.gap(row.backend) is None:
            return False
        with pytest.raises(NotImplementedError):
            self.op(*self.args, **self.kwargs)
        return True

    @property
    def arrays(self) -> list[Any]:
        """The differentiable arrays."""
        return [self.args[s] if isinstance(s, int) else self.kwargs[s] for s in self.slots]

    def first(self, result: Any) -> Any:
        """The first output of a result."""
        if self.record.first is not None:
            return self.record.first(result)
        return result[0] if isinstance(result, tuple) else result

    def full(self, *arrays: Any) -> Any:
        """The result with the differentiable arrays replaced."""
        args, kwargs = list(self.args), dict(self.kwargs)
        for slot, a in zip(self.slots, arrays, strict=True):
            if isinstance(slot, int):
                args[slot] = a
            else:
                kwargs[slot] = a
        return self.op(*args, **kwargs)

    def __call__(self, *arrays: Any) -> Any:
        """The first output with the differentiable arrays replaced."""
        return self.first(self.full(*arrays))

    def manual(self, cotangent: Any, *arrays: Any) -> list[Any]:
        """`swath.vjp`'s cotangents of the differentiable arrays."""
        return self.value_and_manual(cotangent, *arrays)[1]

    def value_and_manual(self, cotangent: Any, *arrays: Any) -> tuple[Any, list[Any]]:
        """The first output, and `swath.vjp`'s cotangents of the differentiable arrays.

        A callable cotangent gets the value.
        """
        args, kwargs = list(self.args), dict(self.kwargs)
        for slot, a in zip(self.slots, arrays or self.arrays, strict=True):
            if isinstance(slot, int):
                args[slot] = a
            else:
                kwargs[slot] = a
        value, pullback = swath.vjp(self.op, *args, **kwargs)
        value = self.first(value)
        ct = cotangent(value) if callable(cotangent) else cotangent
        positional, named = pullback(ct, with_kwargs=True)
        return value, [positional[s] if isinstance(s, int) else named[s] for s in self.slots]


def arrays_in(result: Any) -> list[Any]:
    """The arrays of a result: an array, a tuple, or a result class with array fields."""
    if try_backend(result) is not None:
        return [result]
    if isinstance(result, tuple | list):
        return [a for r in result for a in arrays_in(r)]
    if dataclasses.is_dataclass(result):
        fields = dataclasses.fields(result)
        return [a for f in fields for a in arrays_in(getattr(result, f.name))]
    return []


def beside(x: Any, values: np.ndarray) -> Any:
    """Host data as an array of x's library, device and dtype."""
    return backend_of(x).constant(values, x, x.dtype)


def random_like(x: Any, seed: int = 11) -> np.ndarray:
    """Random host data of x's shape, complex where x is."""
    rng = np.random.default_rng(seed)
    data = rng.standard_normal(tuple(x.shape))
    if "complex" in str(x.dtype):
        data = data + 1j * rng.standard_normal(tuple(x.shape))
    return data


def close(got: Any, want: Any, eps: float, *, factor: float = 4096.0) -> None:
    """Assert equality within factor·eps of the largest value (1 at least)."""
    from swath.testing import _host, assert_close

    reference = _host(want)
    scale = max(1.0, float(np.max(np.abs(reference), initial=0.0)))
    assert_close(got, reference, rtol=0.0, atol=factor * eps * scale)
