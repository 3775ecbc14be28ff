"""Cores with derivative rules, the tape that composes them, and `vjp`.

The data goes this way: a public operation is a straight line of `apply(core, geometry, *arrays)`
calls. On plain arrays `apply` runs the core through the adapter, which attaches the rule to the
library's own autodiff (JAX, PyTorch). On `Node`s it also writes the call on the node's tape;
`vjp` walks the tape backwards through the cores' `pull`s: the manual path, the same on every
backend.

A rule is a linearisation: `push` maps tangents to the tangent of the output, `pull` is its
transpose (no conjugate: JAX's convention for complex arrays). For a multilinear core `push` is its
own forward, and `pull` is made of sibling cores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from ._backends import Backend, backend_of, try_backend
from .division import Division
from .errors import ArgumentError, ArgumentTypeError, describe

__all__ = [
    "Core",
    "Node",
    "Patch",
    "apply",
    "base",
    "differentiable",
    "primal",
    "vjp",
    "with_batch",
]

Array = Any


class Core:
    """One differentiable computation on positional arrays and one frozen, hashable geometry.

    Subclasses give `forward` and, for multilinear cores, `pull` and `batch`; for nonlinear ones
    `pull` and `push`. `linear` lists the arguments in which the core is linear (one at a time);
    empty for a nonlinear core. `native` cores (reshapes, sums, products) are left to the library's
    own autodiff, where tracing them costs nothing.
    """

    name = ""
    linear: tuple[int, ...] = ()
    native = False

    def forward(self, be: Backend, geometry: Any, *arrays: Array) -> Array:
        """The value."""
        raise NotImplementedError

    def push(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        tangents: Sequence[Any],
    ) -> Array:
        """The tangent of the output; None among `tangents` stands for zero."""
        total = None
        for i in self.linear:
            if tangents[i] is not None:
                operands = [*arrays[:i], tangents[i], *arrays[i + 1 :]]
                term = apply(self, geometry, *operands)
                total = term if total is None else total + term
        return be.new_like(out, out.shape) if total is None else total

    def pull(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        out: Array,
        cotangent: Array,
        wanted: Sequence[bool],
    ) -> Sequence[Any]:
        """One cotangent per argument, None where not wanted; of a native core also a `Patch`.

        A multilinear core may use neither `out` nor the wanted argument itself: JAX has neither
        when it transposes.
        """
        raise NotImplementedError

    def kept(self, be: Backend, geometry: Any, *arrays: Array) -> tuple[Array, Array] | None:
        """The value and an array that spares `pull_kept` work, where keeping one pays.

        Asked for where a value will be differentiated, on libraries that keep arrays for that.
        """
        return None

    def pull_kept(
        self,
        be: Backend,
        geometry: Any,
        arrays: Sequence[Array],
        kept: Array,
        cotangent: Array,
    ) -> Sequence[Any]:
        """As `pull`, with what `kept` made."""
        raise NotImplementedError

    def batch(
        self, be: Backend, geometry: Any, arrays: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[Any, Sequence[Array], Callable[[Array], Array]]:
        """The same core over a batch axis in front of the arrays marked `batched`."""
        raise NotImplementedError

    def divide(self, geometry: Any, shapes: Sequence[tuple[int, ...]]) -> Division | None:
        """How the result is made of pieces, for arrays that lie in chunks.

        None: `forward` is made of array operations that the library divides itself.
        """
        return None


def with_batch(be: Backend, arrays: Sequence[Array], batched: Sequence[bool]) -> list[Array]:
    """Arrays with one more axis in front, for a core's `batch`: repeated where there was none."""
    size = next(v.shape[0] for v, b in zip(arrays, batched, strict=True) if b)
    return [
        v if b else be.xp.broadcast_to(v[None, ...], (size, *v.shape))
        for v, b in zip(arrays, batched, strict=True)
    ]


class Node:
    """An array on a tape: shape and dtype as an array's, the value inside."""

    __slots__ = ("index", "tape", "value")

    def __init__(self, value: Array, tape: Tape) -> None:
        self.value = value
        self.tape = tape
        self.index = tape.size
        tape.size += 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.value.shape

    @property
    def dtype(self) -> Any:
        """Dtype of the array."""
        return self.value.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.value.ndim


class Patch(NamedTuple):
    """The cotangent of an array of which a part was taken: zero outside it.

    A signal cut into many pieces would otherwise cost an array of its own length for each.
    """

    shape: tuple[int, ...]
    place: tuple[slice, ...]
    part: Array

    def whole(self, be: Backend) -> Array:
        """The array with its zeros."""
        widths, gaps = [], []
        for n, cut in zip(self.shape, self.place, strict=True):
            count = len(range(cut.start, cut.stop, cut.step))
            end = cut.start + (count - 1) * cut.step + 1 if count else cut.start
            widths.append((cut.start, n - end))
            gaps.append(cut.step - 1)
        return be.pad(self.part, widths, 0, gaps)


class Call(NamedTuple):
    """A core's call on nodes: the numbers of its inputs on the tape, None of plain arrays.

    Numbers and not nodes, which know their tape: such a circle would keep all arrays until the
    garbage is collected.
    """

    core: Core
    geometry: Any
    inputs: tuple[int | None, ...]
    values: Sequence[Array]
    out: Array
    kept: Array | None
    number: int


class Tape:
    """The calls of one forward run, in order."""

    def __init__(self) -> None:
        self.size = 0
        self.calls: list[Call] = []

    def pull(self, output: Node, cotangent: Array) -> dict[int, Array]:
        """Cotangents of all nodes, by index, given that of one output."""
        be = backend_of(output.value)
        found: dict[int, Array] = {output.index: cotangent}
        # Arrays made here, which nothing else can see: written into.
        owned: set[int] = set()
        for core, geometry, inputs, values, out, kept, index in reversed(self.calls):
            if index not in found:
                continue
            ct = found.pop(index) if index != output.index else found[index]
            wanted = [number is not None for number in inputs]
            if kept is None:
                pulled = core.pull(be, geometry, values, out, ct, wanted)
            else:
                pulled = core.pull_kept(be, geometry, values, kept, ct)
            for number, p in zip(inputs, pulled, strict=True):
                if number is not None and p is not None:
                    _collect(be, found, owned, number, p)
            # What has been passed on is not kept while the next cotangent is computed.
            ct = pulled = p = None
        return found


def _collect(be: Backend, found: dict[int, Array], owned: set[int], index: int, p: Any) -> None:
    """Add a cotangent to what a node has."""
    known = found.get(index)
    if not isinstance(p, Patch):
        if known is None:
            found[index] = p
        else:
            found[index] = be.add_into(known, p) if index in owned else known + p
    elif known is None:
        found[index] = p.whole(be)
        if found[index] is not p.part:
            owned.add(index)
    elif index in owned and be.mutable and not be.recorded(known, p.part):
        known[p.place] += p.part
    else:
        found[index] = known + p.whole(be)


def primal(x: Any) -> Any:
    """The array itself, without its tape."""
    return x.value if type(x) is Node else x


def bare(*arrays: Any) -> Backend | None:
    """The adapter of arrays that nothing derives from, now or later; None for others.

    What is done to them needs no rules, and small arrays take longer to give them.
    """
    be = try_backend(arrays[0])
    if be is None or not be.in_place or Node in map(type, arrays) or be.recorded(*arrays):
        return None
    return be


def apply(core: Core, geometry: Any, *arrays: Any) -> Any:
    """Run a core on arrays or nodes, with its rule attached."""
    for a in arrays:
        # Nothing derives from it; to ask an array for its class costs more.
        if type(a) is Node:
            values = [primal(v) for v in arrays]
            out, kept = _valued(core, geometry, values)
            node = Node(out, a.tape)
            inputs = tuple(v.index if isinstance(v, Node) else None for v in arrays)
            a.tape.calls.append(Call(core, geometry, inputs, values, out, kept, node.index))
            return node
    be = backend_of(arrays[0])
    if core.native:
        return core.forward(be, geometry, *arrays)
    return be.call(core, geometry, arrays)


def _valued(core: Core, geometry: Any, values: Sequence[Any]) -> tuple[Any, Array | None]:
    """A core's value, and what it keeps for its pullback."""
    be = None if core.native else bare(*values)
    both = None if be is None else core.kept(be, geometry, *values)
    if both is not None:
        return both
    return apply(core, geometry, *values), None


def differentiable(x: Any) -> bool:
    """Whether x is an array of a real or complex floating dtype."""
    be = try_backend(x)
    return be is not None and be.is_floating(x.dtype)


def vjp(
    op: Callable[..., Any] | str, *args: Any, with_kwargs: bool = False, **kwargs: Any
) -> tuple[Any, Callable[..., Any]]:
    """Value of an operation and the pullback of a cotangent, without an autodiff framework.

    Parameters
    ----------
    op : callable, str or Operation
        A registered operation of swath, its name or its record (`swath.operations` lists them).
    *args, **kwargs
        Its arguments. Arrays of floating dtype are differentiated: those that the operation's
        record names in `differentiable`, also as keyword arguments (weights, ridge, bias, zi).
    with_kwargs : bool, default False
        Whether the pullback also returns a dict with the cotangents of the keyword arguments; the
        pullback's own argument of this name overrides it.

    Returns
    -------
    value
        What ``op(*args, **kwargs)`` returns.
    pullback : callable
        ``pullback(cotangent)`` returns one entry per positional argument: an array of the
        argument's shape and dtype, a tuple of such entries where the argument is a tuple of
        arrays, or None where it is no differentiable array: numbers, lists of them, and arrays
        that the operation's record does not name (frequencies, places) are constants. The cotangent
        has the shape of the value (of its first output where it has several).

    Raises
    ------
    TypeError
        If `op` is no registered operation; the text lists those there are. If a differentiable
        argument is a list of arrays: it is to be stacked first.

    Notes
    -----
    The pullback is the transpose of the derivative. For complex arrays nothing is conjugated
    (JAX's convention; PyTorch's gradient is the conjugate). One call costs the forward and, per
    pullback, about as much again for each differentiated argument.

    Examples
    --------
    >>> import numpy as np, swath
    >>> x, k = np.arange(5.0), np.array([1.0, 0.0, -1.0])
    >>> y, pullback = swath.vjp(swath.signal.correlate, x, k, "valid")
    >>> y
    array([-2., -2., -2.])
    >>> pullback(np.ones(3))
    (array([ 1.,  1.,  0., -1., -1.]), array([3., 6., 9.]), None)
    """
    from .registry import lookup

    operation, tape = lookup(op), Tape()
    names, allowed = operation.parameters[: len(args)], operation.differentiable
    for name, value in (*zip(names, args, strict=False), *kwargs.items()):
        if name in allowed and isinstance(value, list) and _holds_arrays(value):
            raise ArgumentTypeError(
                f"vjp: {name} is a list of arrays, which has no cotangent of its own; stack it "
                f"into one array first"
            )
    # Arrays without a derivative (tables, frequencies) stay plain.
    nodes = [_lifted(a, tape) if n in allowed else a for n, a in zip_longest(names, args)]
    keywords = {k: _lifted(v, tape) if k in allowed else v for k, v in kwargs.items()}
    result = operation.function(*nodes, **keywords)
    value, output = operation.split(result)
    default = with_kwargs

    def pullback(cotangent: Any, *, with_kwargs: bool = default) -> Any:
        found: dict[int, Array] = {}
        if isinstance(output, Node):
            found = tape.pull(output, _cotangent(cotangent, output.value))
        positional = tuple(_entry(found, n) for n in nodes)
        if not with_kwargs:
            return positional
        return positional, {k: _entry(found, v) for k, v in keywords.items() if isinstance(v, Node)}

    return value, pullback


# Functions of the module: a recursive one inside `vjp` would be a cycle that keeps all arrays until
# the garbage is collected.
def _lifted(value: Any, tape: Tape) -> Any:
    """Arrays as nodes; a tuple of arrays is one argument, as (c, r) of a Toeplitz matrix."""
    if isinstance(value, tuple) and any(differentiable(v) for v in value):
        return tuple(_lifted(v, tape) for v in value)
    if isinstance(value, np.generic) or not differentiable(value):
        # NumPy's scalars are numbers like Python's.
        return value
    if isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray):
        # As in a call, no subclass; masked arrays are refused there.
        value = value.view(np.ndarray)
    return Node(backend_of(value).without_empty(value), tape)


def _holds_arrays(value: Any) -> bool:
    """Whether there are differentiable arrays in a nested list; NumPy's scalars are numbers."""
    if isinstance(value, list | tuple):
        return any(_holds_arrays(v) for v in value)
    return not isinstance(value, np.generic) and differentiable(value)


def _entry(found: dict[int, Array], node: Any) -> Any:
    """The cotangent of an argument; None where it has none."""
    if isinstance(node, tuple) and any(isinstance(n, Node) for n in node):
        return tuple(_entry(found, n) for n in node)
    if not isinstance(node, Node):
        return None
    if node.index in found:
        return found[node.index]
    return backend_of(node.value).new_like(node.value, node.shape)


def base(name: str, x: np.ndarray) -> np.ndarray:
    """A NumPy array of numbers, of no subclass: those give `*` and slices other meanings."""
    if x.dtype.kind not in "biufc":
        raise ArgumentTypeError(
            f"{name} must hold numbers, got {describe(x)}; convert it to a numeric dtype"
        )
    if isinstance(x, np.ma.MaskedArray):
        raise ArgumentTypeError(
            f"{name} must not be a masked array: sums over windows know no masks; pass "
            f"{name}.filled(0), or {name}.filled(np.nan) to see what masked values reach"
        )
    return x.view(np.ndarray)


def _cotangent(given: Any, value: Array) -> Array:
    """The cotangent of a value as rules take it: an ordinary array of the value's dtype."""
    be = try_backend(given)
    if be is None or be is not backend_of(value):
        raise ArgumentTypeError(
            f"pullback: the cotangent must be an array of {backend_of(value).name} like the value; "
            f"got {describe(given)}"
        )
    if tuple(given.shape) != tuple(value.shape):
        raise ArgumentError(
            f"pullback: the cotangent must have the value's shape {tuple(value.shape)}, "
            f"got {tuple(given.shape)}"
        )
    if not be.is_floating(given.dtype):
        raise ArgumentTypeError(
            f"pullback: the cotangent must be of a floating dtype, got {describe(given)}"
        )
    if be.is_complex(given) and not be.is_complex(value):
        raise ArgumentTypeError(
            f"pullback: the value is real ({be.name_of(value.dtype)}), "
            f"so the cotangent must be; got {be.name_of(given.dtype)}"
        )
    plain = base("cotangent", given) if isinstance(given, np.ndarray) else be.without_empty(given)
    return be.cast(plain, value.dtype)
