"""Checking and normalising the arguments of public functions, before anything is computed.

`arrays` brings the array arguments of one call together: they must live in one library and on one
device, or the error prints the fix; Python scalars and nested lists go beside the arrays (to NumPy
where there are none).
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Number
from operator import index
from typing import Any

import numpy as np

from . import _ops
from ._backends import Backend, backend_named, try_backend
from .autodiff import Node, base, primal
from .errors import ArgumentError, ArgumentTypeError, describe, not_among

__all__ = [
    "Known",
    "along",
    "arrays",
    "axes_of",
    "axis_of",
    "base",
    "choice",
    "constant",
    "device_of",
    "dividing",
    "dtype_name",
    "floating",
    "gathered",
    "in_range",
    "is_int",
    "leading",
    "number",
    "numeric",
    "one_array",
    "per_axis",
    "positive",
    "promote",
    "real_only",
    "solvable",
    "strong",
    "summable",
    "unchanged",
]

Array = Any
_WHOLE = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))


class Known(dict[Any, Any]):
    """What calls amount to that passed all checks with arrays that need no conversion.

    By signature: classes, shapes and dtypes of arrays, and settings. For small arrays the checks
    cost more than the work.

    Parameters
    ----------
    most : int
        Signatures that are kept; one more, and all are forgotten.
    """

    def __init__(self, most: int = 1024) -> None:
        super().__init__()
        self.most = most

    def keep(self, key: Any, value: Any) -> None:
        """Remember a signature."""
        if len(self) >= self.most:
            self.clear()
        self[key] = value


def strong(value: Any) -> Backend | None:
    """The adapter of an array or node; None for what is weak: numbers, NumPy's too, and lists."""
    return None if isinstance(value, np.generic) else try_backend(primal(value))


def unchanged(given: Sequence[Any], made: Sequence[Any]) -> bool:
    """Whether arrays are those given: none was converted, and none is a node."""
    return all(a is b and not isinstance(a, Node) for a, b in zip(given, made, strict=True))


def arrays(*optional: str, **given: Any) -> tuple[Backend, list[Any]]:
    """The adapter and the arguments as arrays (or nodes) of one library on one device.

    Those named in `optional` may be None and stay so. Lists and scalars are weak: they take the
    dtype of the arrays beside them where the kinds allow it. So do arrays that JAX made of a scalar
    and types weakly.
    """
    return _together(optional, given, divides=False)


def dividing(*optional: str, **given: Any) -> tuple[Backend, list[Any]]:
    """As `arrays`, of what turns integers into floats: lists and scalars beside integers do so now.

    The dtype of small integers beside them need not hold them.
    """
    return _together(optional, given, divides=True)


def _together(
    optional: Sequence[str], given: dict[str, Any], *, divides: bool
) -> tuple[Backend, list[Any]]:
    be: Backend | None = None
    first, weak = "", False
    lists: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, list | tuple):
            lists[name] = value
            given[name] = value = gathered(name, value)
        found = strong(value)
        if found is None:
            if value is None and name not in optional:
                raise ArgumentTypeError(
                    f"{name} must be an array, a number or a nested list, got None"
                )
            weak = weak or value is not None
            continue
        given[name] = _ordinary(name, value, found)
        if be is None:
            be, first = found, name
        else:
            _check_beside(be, first, primal(given[first]), found, name, primal(value))
    weakly: set[str] = set()
    if be is not None and be.types_weakly:
        weakly = {n for n, v in given.items() if strong(v) is be and _is_weak(be, lists.get(n, v))}
    if be is not None and not weak and not weakly:
        return be, list(given.values())
    if be is None:
        be = backend_named("numpy")
    anchor = primal(given[first]) if first else None
    kinds = {n: primal(v).dtype for n, v in given.items() if strong(v) is not None}
    strongly = [kind for n, kind in kinds.items() if n not in weakly] or list(kinds.values())
    out: list[Any] = []
    for name, value in given.items():
        if name in weakly:
            letter = kinds[name].kind
            kind = _weak_dtype(be, letter, anchor, strongly, divides=divides)
            out.append(_ops.cast(value, kind))
        elif value is None or name in kinds:
            out.append(value)
        else:
            out.append(_weak(be, name, value, anchor, strongly, divides=divides))
    return be, out


def _is_weak(be: Backend, value: Any) -> bool:
    """Whether the library types an array weakly, or all of its arrays in a nested list."""
    if isinstance(value, list | tuple):
        return all(_is_weak(be, v) for v in value)
    return strong(value) is not be or be.is_weak(primal(value))


def _ordinary(name: str, value: Any, be: Backend) -> Any:
    """An array or node as compiled code takes it: of no subclass, in the machine's byte order."""
    plain = primal(value)
    kind = plain.dtype
    if isinstance(plain, np.ndarray) and (
        type(plain) is not np.ndarray or kind.kind not in "biufc"
    ):
        value = base(name, plain)
    if isinstance(kind, np.dtype) and not kind.isnative:
        value = _ops.cast(value, kind.newbyteorder("="))
    if be.lazy and any(n != n for n in plain.shape):
        raise ArgumentError(
            f"{name} has chunks of unknown sizes (shape {tuple(plain.shape)}); "
            f"{name}.compute_chunk_sizes() finds them"
        )
    if be.lazy and value is plain:
        value = be.without_empty(plain)
    return value


def _check_beside(be: Backend, first: str, x: Array, found: Backend, name: str, y: Array) -> None:
    """Refuse an array y of another library or device than x, each with its adapter and name."""
    if found is not be:
        # Of NumPy and another library the latter was chosen.
        other, moved = (found, first) if be.name == "numpy" else (be, name)
        raise ArgumentTypeError(
            f"{first} is an array of {be.name} and {name} of {found.name}; "
            f"swath moves nothing on its own: convert one of them "
            f"(as with swath.bind({other.name!r}).asarray({moved}))"
        )
    if not be.same_device(x, y):
        raise ArgumentTypeError(
            f"{first} is on device {be.device(x)} and {name} on device {be.device(y)}; swath moves "
            f"nothing on its own: move {name} to {be.device(x)} first"
        )


def gathered(name: str, value: Any) -> Any:
    """A nested list with arrays in it as one array where they are; any other value as it is.

    NumPy's arrays in lists are as weak as numbers: beside another library's array they go there.
    """
    if not isinstance(value, list | tuple) or not _holds_arrays(value):
        return value
    entries = {f"{name}[{i}]": gathered(f"{name}[{i}]", v) for i, v in enumerate(value)}
    be, rows = arrays(**entries)
    shapes = [tuple(row.shape) for row in rows]
    if len(set(shapes)) > 1:
        raise ArgumentError(f"{name} must be rectangular, got a list of shapes {shapes}")
    rows = [_ops.reshape(row, (1, *shapes[0])) for row in promote(be, *rows)]
    return _ops.concat(rows, 0)


def _holds_arrays(value: Sequence[Any]) -> bool:
    for kind, example in {type(v): v for v in value}.items():
        if issubclass(kind, list | tuple):
            if any(_holds_arrays(v) for v in value if isinstance(v, kind)):
                return True
        elif (found := strong(example)) is not None and found.name != "numpy":
            return True
    return False


def _weak(
    be: Backend, name: str, value: Any, anchor: Array, kinds: Sequence[Any], *, divides: bool
) -> Array:
    """A scalar or nested list as an array beside `anchor`."""
    if not isinstance(value, Number | Sequence | np.bool_) or isinstance(value, str | bytes):
        raise ArgumentTypeError(
            f"{name} must be an array, a number or a nested list, got {describe(value)}"
        )
    try:
        table = np.asarray(value)
    except ValueError:
        raise ArgumentError(f"{name} must be rectangular, got a ragged list {value!r}") from None
    if anchor is not None and not be.is_floating(
        _weak_dtype(be, "i", anchor, kinds, divides=divides)
    ):
        table = _whole(value, table)
    if table.dtype.kind not in "biufc":
        raise ArgumentTypeError(
            f"{name} must hold numbers, got {describe(value)} of dtype {table.dtype}"
        )
    if anchor is None:
        return be.from_host(table)
    kind = _weak_dtype(be, table.dtype.kind, anchor, kinds, divides=divides)
    if table.ndim == 0:
        in_range(be, name, table.item(), kind)
        return be.new_like(anchor, (), dtype=kind, fill=table.item())
    name_of = be.name_of(kind)
    if table.dtype.kind in "iu" and name_of in _WHOLE:
        # Modulo 2^bits, as products are: of integers out of range some libraries make errors.
        table = table.astype(name_of)
    return be.constant(table, anchor, kind)


def _whole(value: Any, table: np.ndarray) -> np.ndarray:
    """The table of a list; modulo 2^64 where it holds whole numbers alone, some beyond int64.

    NumPy makes floats of those beside smaller ones, and objects beyond uint64.
    """
    kind = table.dtype.kind
    if table.ndim == 0 or kind not in "fO" or (kind == "f" and not np.any(abs(table) >= 2.0**63)):
        return table
    exact = np.array(value, dtype=object)
    if not all(is_int(v) for v in exact.ravel()):
        return table
    words = [int(v) % 2**64 for v in exact.ravel()]
    return np.array(words, dtype=np.uint64).reshape(table.shape)


def _weak_dtype(
    be: Backend, letter: str, anchor: Array, kinds: Sequence[Any], *, divides: bool
) -> Any:
    """The dtype of what is weak and, by NumPy's letter, of a kind, beside arrays of some kinds."""
    xp = be.xp
    # As `promote`: beside a float, integer arrays have no say.
    pool = [k for k in kinds if be.is_floating(k)] or kinds
    strong = pool[0]
    for other in pool[1:]:
        strong = xp.result_type(strong, other)
    if not be.is_floating(strong):
        if letter in "biu" and not divides:
            return strong
        strong = be.default_float(anchor)
    # Beside complex arrays real numbers stay real, for arguments that must be.
    return be.complex_dtype(strong) if letter == "c" else be.real_dtype(strong)


def one_array(name: str, value: Any) -> tuple[Backend, Any]:
    """The adapter and `value` as an array."""
    be, (value,) = arrays(**{name: value})
    return be, value


def promote(be: Backend, *values: Any) -> list[Any]:
    """All arrays in one dtype: integers take the float operand's, floats the wider one."""
    kinds = [v.dtype for v in values if v is not None]
    if all(k == kinds[0] for k in kinds):
        return list(values)
    floats = [k for k in kinds if be.is_floating(k)]
    pool = floats or kinds
    kind = pool[0]
    for other in pool[1:]:
        if other != kind:
            kind = be.xp.result_type(kind, other)
    return [None if v is None else _ops.cast(v, kind) for v in values]


def floating(be: Backend, *values: Any) -> list[Any]:
    """As `promote`; integers alone become the device's default float."""
    values = tuple(promote(be, *values))
    first = next(v for v in values if v is not None)
    if be.is_floating(first.dtype):
        return list(values)
    kind = be.default_float(primal(first))
    return [None if v is None else _ops.cast(v, kind) for v in values]


def solvable(be: Backend, *values: Any) -> list[Any]:
    """As `floating`, for what goes through LAPACK: no libraries factor matrices of wider floats."""
    found = floating(be, *values)
    first = primal(next(v for v in found if v is not None))
    kind = first.dtype
    if be.itemsize(kind) > (16 if be.is_complex(first) else 8):
        raise ArgumentTypeError(
            f"systems are solved in float32, float64, complex64 and complex128 (float16 and "
            f"bfloat16 in float32), got {be.name_of(kind)}; convert it to one of these"
        )
    return found


def summable(be: Backend, *values: Any) -> list[Any]:
    """Values in the dtype that sums of them are taken in: half precision in float32.

    Such a sum is rounded once, when it is cast back.
    """
    return [
        v if v is None or not be.is_half(v.dtype) else _ops.cast(v, be.dtype("float32"))
        for v in values
    ]


def real_only(be: Backend, name: str, value: Any) -> None:
    """Refuse complex arrays."""
    if be.is_complex(primal(value)):
        raise ArgumentTypeError(f"{name} must be real, got {describe(primal(value))}")


def numeric(be: Backend, name: str, value: Any) -> None:
    """Refuse boolean arrays: sums of them mean different things in different libraries."""
    if be.name_of(value.dtype) == "bool":
        raise ArgumentTypeError(
            f"{name} must be numeric, got {describe(primal(value))}; convert it to an integer dtype"
        )


def number(name: str, value: Any) -> int | float | complex:
    """A number of Python or NumPy, as Python's; flags are none."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float | complex):
        raise ArgumentTypeError(f"{name} must be a number, got {describe(value)}")
    return value


def flag(name: str, value: Any) -> bool:
    """True or False, of Python or NumPy; nothing that merely counts as one of them."""
    if not isinstance(value, bool | np.bool_):
        raise ArgumentTypeError(f"{name} must be True or False, got {describe(value)}")
    return bool(value)


def constant(be: Backend, name: str, value: Any, x: Any) -> int | float | complex:
    """A number that continues x: a complex one only if x is."""
    found = number(name, value)
    if isinstance(found, complex) and not be.is_complex(primal(x)):
        raise ArgumentTypeError(f"{name} must be real for real inputs, got {found}")
    return found


def in_range(be: Backend, name: str, value: Any, kind: Any) -> None:
    """Refuse a whole number that an integer dtype does not hold: libraries wrap it, or raise."""
    if not isinstance(value, int) or be.is_floating(kind) or be.name_of(kind) == "bool":
        return
    limits = be.xp.iinfo(kind)
    if not limits.min <= value <= limits.max:
        raise ArgumentError(
            f"{name} must lie in the range of {be.name_of(kind)}, {limits.min} to {limits.max}, "
            f"got {value}; convert the arrays to a wider dtype"
        )


def is_int(value: Any) -> bool:
    """Whether value counts as an int: NumPy's integers do, booleans and arrays do not."""
    if isinstance(value, int | np.integer):
        return not isinstance(value, bool)
    if isinstance(value, Node) or not hasattr(value, "__index__"):
        return False
    return not isinstance(value, np.bool_) and try_backend(value) is None


def positive(name: str, value: Any, *, least: int = 1) -> int:
    """An int of at least `least`."""
    if not is_int(value):
        raise ArgumentTypeError(f"{name} must be an int, got {describe(value)}")
    number = index(value)
    if number < least:
        raise ArgumentError(f"{name} must be at least {least}, got {number}")
    return number


def per_axis(name: str, value: Any, rank: int, *, least: int = 1) -> tuple[int, ...]:
    """One int for all axes, or one per axis."""
    if is_int(value):
        return (positive(name, value, least=least),) * rank
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ArgumentTypeError(f"{name} must be an int or a tuple of ints, got {describe(value)}")
    if len(value) != rank:
        raise ArgumentError(
            f"{name} must have one entry per sliding axis ({rank}), got {tuple(value)}"
        )
    return tuple(positive(name, v, least=least) for v in value)


def axis_of(name: str, axis: Any, ndim: int) -> int:
    """A non-negative axis."""
    if not is_int(axis):
        raise ArgumentTypeError(f"{name} must be an int, got {describe(axis)}")
    number = index(axis)
    if not -ndim <= number < ndim:
        raise ArgumentError(f"{name} {number} is out of range for an array of {ndim} axes")
    return number % ndim


def along(name: str, x: Any, axis: Any) -> int:
    """The non-negative axis of x, the argument of this name, which must have one."""
    if x.ndim == 0:
        raise ArgumentError(f"{name} must have at least one axis, got a number")
    return axis_of("axis", axis, x.ndim)


def axes_of(name: str, axes: Any, ndim: int, *, count: int | None = None) -> tuple[int, ...]:
    """Distinct non-negative axes; None: the last `count`."""
    if axes is None:
        count = ndim if count is None else count
        if count > ndim:
            raise ArgumentError(f"need at least {count} axes, got an array of {ndim}")
        return tuple(range(ndim - count, ndim))
    if is_int(axes):
        axes = (axes,)
    if not isinstance(axes, Sequence) or isinstance(axes, str):
        raise ArgumentTypeError(f"{name} must be an int or a tuple of ints, got {describe(axes)}")
    found = tuple(axis_of(name, a, ndim) for a in axes)
    if len(set(found)) != len(found):
        raise ArgumentError(f"{name} must be distinct, got {tuple(axes)}")
    if count is not None and len(found) != count:
        raise ArgumentError(f"{name} must name {count} axes, got {tuple(axes)}")
    return found


def leading(**shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that leading (batch) axes broadcast to, from those of each argument."""
    given = list(map(tuple, shapes.values()))
    if all(shape == given[0] for shape in given):
        return given[0]
    try:
        return np.broadcast_shapes(*given)
    except ValueError:
        said = ", ".join(f"{tuple(shape)} of {name}" for name, shape in shapes.items())
        raise ArgumentError(f"the leading axes must broadcast, got {said}") from None


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """One of some strings."""
    # An array, perhaps meant for another argument, would be compared element by element.
    if not isinstance(value, str) or value not in allowed:
        raise not_among(name, value, allowed)
    return value


def dtype_name(be: Backend, dtype: Any) -> str:
    """The standard name of a dtype of the library that the user asked for; "" for anything else."""
    try:
        name = be.name_of(dtype)
        be.dtype(name)
    except (TypeError, ValueError, AttributeError):
        # NumPy's ValueError is of what has a `dtype` of another library; not all have bfloat16.
        return ""
    return name


def device_of(be: Backend, device: Any) -> Any:
    """A device of the library from what the user wrote; None stays None."""
    if device is None:
        return None
    try:
        found = be.check_device(device)
        be.from_host(np.zeros(1, np.int32), found)
    except Exception as error:  # every library raises its own kinds
        known = ", ".join(be.devices())
        raise ArgumentError(
            f"device {device!r} is none that {be.name} can use here ({error}); there are: {known}"
        ) from None
    return found
