"""The record of public operations: what is differentiable, what is linear, what runs where.

`@operation` registers a public function and wraps it so that its errors name it. The record drives
`swath.vjp`, `swath.operations`, `swath.supports`, the tests (an operation without cases fails) and
the documentation's table.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ._backends import library
from .autodiff import primal
from .errors import ArgumentError, ArgumentTypeError, describe, explain

__all__ = [
    "Feature",
    "Operation",
    "features",
    "find",
    "lookup",
    "operation",
    "operations",
    "supports",
]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Feature:
    """What operations can do beside their plain call: an argument, a dtype, a derivative, a trace.

    Attributes
    ----------
    name : str
        As users call it.
    kind : str
        The heading that it stands under in the documentation's table.
    only : tuple of str
        The libraries that have such a thing (``jax.grad``); empty for all.
    gaps : mapping of str to str
        Libraries of those that cannot, each with the reason.
    """

    name: str
    kind: str
    only: tuple[str, ...] = ()
    gaps: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Operation:
    """One public operation.

    There is one record of each, which copies and pickles lead back to.

    Attributes
    ----------
    name : str
        Dotted, as ``"signal.convolve"``.
    function : callable
        The public function.
    differentiable : tuple of str
        Parameters with a derivative; empty for operations that build or report.
    arrays : tuple of str
        All parameters that take arrays (a bound library converts them).
    linear : tuple of str
        Parameters in which the operation is linear, one at a time (checked by `check_adjoint`).
    reads_values : bool
        Whether it decides by array values when run eagerly.
    eager_only : str
        What cannot be traced, in words; empty if everything can.
    gaps : mapping of str to str
        Backends that cannot run it, each with the reason.
    features : mapping of str to Feature
        What it can do, by name: what the tests run, and the documentation's table shows.
    lacks : mapping of str to str
        Features that it refuses on every library, each with the words of the error.
    first, replace_first : callable, optional
        The output of a result that is differentiated, and the result with another array in its
        place; where there are none, the result itself or the first of a tuple.
    """

    name: str
    function: Callable[..., Any]
    differentiable: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    linear: tuple[str, ...] = ()
    reads_values: bool = False
    eager_only: str = ""
    gaps: Mapping[str, str] = field(default_factory=dict)
    features: Mapping[str, Feature] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)
    first: Callable[[Any], Any] | None = None
    replace_first: Callable[[Any, Any], Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return lookup, (self.function,)

    @functools.cached_property
    def parameters(self) -> tuple[str, ...]:
        """Names of the function's parameters, in order."""
        return tuple(inspect.signature(self.function).parameters)

    def gap(self, library: str, feature: str | None = None) -> str | None:
        """Why it, or one of its features, cannot run on a library; None where it can."""
        found = self.gaps.get(library)
        if found is not None or feature is None:
            return found
        if feature in self.lacks:
            return self.lacks[feature]
        if feature not in self.features:
            return f"{self.name} has no {feature}"
        what = self.features[feature]
        if what.only and library not in what.only:
            return f"{' and '.join(what.only)} alone"
        return what.gaps.get(library)

    def output(self, result: Any) -> Any:
        """The output of a result that is differentiated."""
        if self.first is not None:
            return self.first(result)
        return result[0] if isinstance(result, tuple) else result

    def split(self, result: Any) -> tuple[Any, Any]:
        """The result with plain arrays, and its first output (perhaps a node)."""
        output = self.output(result)
        if self.replace_first is not None:
            return self.replace_first(result, primal(output)), output
        if isinstance(result, tuple):
            return tuple(primal(r) for r in result), output
        return primal(result), output


_OPERATIONS: dict[str, Operation] = {}
_BY_FUNCTION: dict[Callable[..., Any], Operation] = {}


def operation(
    name: str,
    *,
    differentiable: tuple[str, ...] = (),
    arrays: tuple[str, ...] = (),
    linear: tuple[str, ...] = (),
    reads_values: bool = False,
    eager_only: str = "",
    gaps: Mapping[str, str] | None = None,
    features: Iterable[Feature] = (),
    lacks: Mapping[str, str] | None = None,
    first: Callable[[Any], Any] | None = None,
    replace_first: Callable[[Any, Any], Any] | None = None,
) -> Callable[[F], F]:
    """Register a public function under a dotted name and let its errors name it."""

    def register(function: F) -> F:
        signature = inspect.signature(function)
        short = name.rsplit(".", 1)[-1]

        @functools.wraps(function)
        def public(*args: Any, **kwargs: Any) -> Any:
            # The try costs nothing; names of arguments are bound only when something went wrong.
            try:
                return function(*args, **kwargs)
            except Exception as error:
                if isinstance(error, TypeError) and error.__traceback__.tb_next is None:  # type: ignore[union-attr]
                    raise
                try:
                    given = signature.bind_partial(*args, **kwargs).arguments
                except TypeError:
                    given = dict(kwargs)
                with explain(short, {k: primal(v) for k, v in given.items()}):
                    raise

        record = Operation(
            name=name,
            function=public,
            differentiable=differentiable,
            arrays=tuple(dict.fromkeys((*differentiable, *arrays))),
            linear=linear,
            reads_values=reads_values,
            eager_only=eager_only,
            gaps=dict(gaps or {}),
            features={feature.name: feature for feature in features},
            lacks=dict(lacks or {}),
            first=first,
            replace_first=replace_first,
        )
        _OPERATIONS[name] = record
        _BY_FUNCTION[public] = record
        return public  # type: ignore[return-value]

    return register


def find(op: Any) -> Operation | None:
    """The record of a public function, or None."""
    try:
        return _BY_FUNCTION.get(op)
    except TypeError:
        return None


def lookup(op: Any) -> Operation:
    """The record of a public function (also of a bound one), or of its name, or that itself."""
    if isinstance(op, Operation):
        return op
    if isinstance(op, str):
        return _named(op)
    record = find(getattr(op, "__swath_unbound__", op))
    owner = type(getattr(op, "__self__", None))
    if record is None and getattr(owner, "__swath_linear__", False):
        # A product of a linear operator: A.matvec and its like.
        name = f"linalg.{owner.__name__}.{op.__name__}"
        return Operation(name, op, ("x",), ("x",), ("x",))
    if record is None:
        near = _like(getattr(op, "__name__", ""))
        raise ArgumentTypeError(
            f"op must be a registered operation of swath, got {op!r}; {near}{_listed()}"
        )
    return record


def _named(name: str) -> Operation:
    """The record by dotted name, or by its last part where that is of one operation."""
    short = name.removeprefix("swath.")
    found = [n for n in _OPERATIONS if short in (n, n.rpartition(".")[2])]
    if len(found) == 1:
        return _OPERATIONS[found[0]]
    near = _like(name)
    listed = near + "swath.operations() lists all" if near else _listed()
    raise ArgumentTypeError(
        f"op must be a registered operation of swath or its name, got {name!r}; {listed}"
    )


def _like(name: str) -> str:
    """Operations whose names are close to one that is none, as a question."""
    from difflib import get_close_matches  # only errors need it

    lasts = {n.rpartition(".")[2] for n in _OPERATIONS}
    near = get_close_matches(name.rpartition(".")[2], sorted(lasts))
    full = [n for last in near for n in _OPERATIONS if n.rpartition(".")[2] == last]
    return f"did you mean {' or '.join(full)}? " if full else ""


def _listed() -> str:
    return f"there are: {', '.join(sorted(_OPERATIONS))}"


def operations() -> dict[str, Operation]:
    """All registered operations by dotted name.

    Returns
    -------
    dict of str to Operation
        With what is differentiable, linear, read eagerly, or not run on a library.

    Examples
    --------
    >>> import swath
    >>> swath.operations()["nn.conv"].linear
    ('x', 'weight')
    """
    return dict(sorted(_OPERATIONS.items()))


def supports(op: Any, xp: Any, feature: str | None = None) -> bool:
    """Whether an operation, or one of its features, runs on an array library.

    Parameters
    ----------
    op : callable, str or Operation
        A registered operation, its name, as ``"nn.conv"`` or ``"conv"``, or its record.
    xp : module or str
        The array library or its import name.
    feature : str, optional
        One of the features that operations record, as ``"dilation"`` or ``"bfloat16"``: those of
        the documentation's table.

    Returns
    -------
    bool
        True where the operation is tested on that library. Libraries without an adapter of their
        own use the array-API standard alone and count as supported.

    Raises
    ------
    ValueError
        If no operation has a feature of that name.
    TypeError
        If `op` is no operation or `xp` no library.

    Examples
    --------
    >>> import numpy as np, swath
    >>> swath.supports(swath.nn.conv, np), swath.supports("linalg.gram_report", "dask.array")
    (True, False)
    >>> swath.supports("nn.conv", "jax", "bfloat16"), swath.supports("nn.conv", np, "bfloat16")
    (True, False)
    """
    record = lookup(op)
    name = xp if isinstance(xp, str) else getattr(xp, "__name__", "")
    if not name:
        raise ArgumentTypeError(
            f"supports: xp must be an array library or its import name, got {describe(xp)}"
        )
    if feature is not None and feature not in features():
        known = ", ".join(sorted(features()))
        raise ArgumentError(f"supports: feature {feature!r} is none of {known}")
    name = library(name)
    name = {"array_api_strict": "strict"}.get(name, name)
    return record.gap(name, feature) is None


def features() -> dict[str, Feature]:
    """All features that operations record, by name, in the order of their declaration."""
    return {n: f for record in _OPERATIONS.values() for n, f in record.features.items()}
