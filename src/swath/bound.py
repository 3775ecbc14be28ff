"""swath bound to one array library: `import swath.jax as sw`, or `swath.bind(...)`.

A bound function also takes lists, NumPy arrays and DLPack objects, moves them to the library and
device, and calls the unbound function. Nothing else differs.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from numbers import Number
from operator import attrgetter
from types import MethodType, ModuleType
from typing import Any

import numpy as np

from . import arguments, planning, registry
from ._backends import Backend, backend_named, known_names, try_backend
from .errors import ArgumentError, ArgumentTypeError, describe, explain
from .sliding.plan import Plan

__all__ = ["Bound", "Namespace", "available_backends", "bind"]

_PACKAGES = ("signal", "nn", "linalg")
# The float that takes the place of double precision on a device without it, by NumPy's characters
# (to ask a dtype for its name takes longer than all else that a bound function adds).
_NARROW = {"d": "float32", "D": "complex64"}


class Namespace:
    """A package of swath with every function bound."""

    def __init__(self, bound: Bound, package: ModuleType) -> None:
        self._bound = bound
        self._package = package

    def __repr__(self) -> str:
        return f"<{self._package.__name__} bound to {self._bound.backend.name}>"

    def __dir__(self) -> Sequence[str]:
        return sorted(self._package.__all__)

    def __reduce__(self) -> tuple[Any, ...]:
        return attrgetter(self._package.__name__.partition(".")[2]), (self._bound,)

    def __getattr__(self, name: str) -> Any:
        if name not in self._package.__all__:
            raise AttributeError(f"{self._package.__name__} has no public name {name!r}")
        value = self._bound.wrap(getattr(self._package, name), self)
        setattr(self, name, value)
        return value


class Bound:
    """The whole library bound to one array library and device.

    Attributes
    ----------
    xp : module
        The array library's standard-conforming namespace.
    device : object
        Where arrays are put; None is the library's default.
    """

    def __init__(self, backend: Backend, device: Any = None) -> None:
        self.backend = backend
        self.xp = backend.xp
        self.device = device

    def __repr__(self) -> str:
        place = "" if self.device is None else f" on {self.device}"
        return f"<swath bound to {self.backend.name}{place}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _bound_named, (self.backend.name, self.device)

    def __dir__(self) -> Sequence[str]:
        return sorted({*import_module("swath").__all__, "asarray", "to_numpy", "xp", "device"})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        library = import_module("swath")
        if name in _PACKAGES:
            value: Any = Namespace(self, import_module(f"swath.{name}"))
        elif name in library.__all__:
            value = self.wrap(getattr(library, name), self)
        else:
            raise AttributeError(f"swath has no public name {name!r}")
        setattr(self, name, value)
        return value

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        """An array of this library on this device from a list, a NumPy array or a DLPack object.

        Float64 data become the device's widest float. Arrays of other libraries go through host
        memory unless they already live in this one. `dtype` is the library's, or its name.
        """
        dtype = self._dtype(dtype)
        if isinstance(x, list | tuple):
            with explain("asarray", {}):
                x = arguments.gathered("x", x)
        found = try_backend(x)
        if found is self.backend and not isinstance(x, np.ndarray):
            x = x if self.device is None else self.backend.moved(x, self.device)
            return x if dtype is None else self.xp.astype(x, dtype)
        if found is not None:
            if found.name_of(x.dtype) == "bfloat16":
                # NumPy has none, through whose arrays it goes.
                x, dtype = found.cast(x, found.dtype("float32")), dtype or self._bfloat16(x)
            table = found.to_numpy(x)
        elif hasattr(x, "__dlpack__"):
            table = np.from_dlpack(x)
        else:
            try:
                table = np.asarray(x)
            except ValueError:
                raise ArgumentError(f"asarray: a ragged list is no array: {x!r}") from None
        if table.dtype.kind not in "biufc":
            raise ArgumentTypeError(f"asarray: cannot make a numeric array of {describe(x)}")
        with explain("asarray", {"x": x}):
            table = arguments.base("x", np.asanyarray(table))
        if not table.dtype.isnative:
            table = table.astype(table.dtype.newbyteorder("="))
        narrow = _NARROW.get(table.dtype.char)
        if narrow is not None and not self._wide():
            table = table.astype(narrow)
        out = self.backend.from_host(table, self.device)
        return out if dtype is None else self.xp.astype(out, dtype)

    def _dtype(self, dtype: Any) -> Any:
        # Python's own types as they are: libraries differ in which they take.
        if dtype is None or any(dtype is kind for kind in (bool, int, float, complex)):
            return dtype
        name = arguments.dtype_name(self.backend, dtype)
        if not name:
            raise ArgumentTypeError(
                f"asarray: dtype must be a dtype of {self.backend.name} or its name, got {dtype!r}"
            )
        return self.backend.dtype(name)

    def _bfloat16(self, x: Any) -> Any:
        if not arguments.dtype_name(self.backend, "bfloat16"):
            raise ArgumentTypeError(
                f"asarray: {self.backend.name} has no bfloat16, got {describe(x)}; convert it to "
                f"float32"
            )
        return self.backend.dtype("bfloat16")

    def to_numpy(self, x: Any) -> np.ndarray:
        """A result as a NumPy array (an explicit transfer)."""
        found = try_backend(x)
        return np.asarray(x) if found is None else found.to_numpy(x)

    def wrap(self, value: Any, owner: Bound | Namespace) -> Any:
        """A public function bound to this library, as a method of its owner; else what it is."""
        if isinstance(value, ModuleType):
            return Namespace(self, value)
        record = registry.find(value)
        if record is not None:
            return self._operation(record, owner)
        if inspect.isclass(value) and hasattr(value, "__swath_arrays__"):
            return self._maker_of_operators(value, owner)
        if inspect.isfunction(value) and "xp" in inspect.signature(value).parameters:
            return self._maker(value, owner)
        return value

    def moved(
        self, record: registry.Operation, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of an operation with its arrays in this library."""
        names = record.parameters
        positional = tuple(
            self._argument(names[i], a) if i < len(names) and names[i] in record.arrays else a
            for i, a in enumerate(args)
        )
        named = {k: self._argument(k, v) if k in record.arrays else v for k, v in kwargs.items()}
        return positional, named

    def _argument(self, name: str, value: Any) -> Any:
        if ("_or_" in name or name == "system") and isinstance(value, tuple):
            # As c_or_cr, or (b, a) of a filter: a tuple is several arrays, not the rows of one.
            return tuple(self._convert(v) for v in value)
        return self._convert(value)

    def _wide(self) -> bool:
        if self.device is None:
            return self.backend.has_float64()
        return "float64" in self.backend.dtypes_on(self.device)

    def _convert(self, value: Any) -> Any:
        # Scalars are weak and stay so.
        if value is None or isinstance(value, Number | str | bytes) or callable(value):
            return value
        if isinstance(value, tuple) and value and isinstance(value[0], str):
            # A window with its parameters.
            return value
        if isinstance(value, tuple) and any(try_backend(v) is not None for v in value):
            return tuple(self._convert(v) for v in value)
        if try_backend(value) is not None or isinstance(value, Sequence):
            return self.asarray(value)
        return self.asarray(value) if hasattr(value, "__dlpack__") else value

    def _makes(self, function: Callable[..., Any]) -> dict[str, Any]:
        """What a function that takes it is told of where to make arrays."""
        known = inspect.signature(function).parameters
        place = {"xp": self.xp, "device": self.device}
        return {k: v for k, v in place.items() if k in known and v is not None}

    def _operation(
        self, record: registry.Operation, owner: Bound | Namespace
    ) -> Callable[..., Any]:
        function = record.function
        makes = self._makes(function)

        @functools.wraps(function)
        def bound(_: Any, /, *args: Any, **kwargs: Any) -> Any:
            args, kwargs = self.moved(record, args, kwargs)
            return function(*args, **{**makes, **kwargs})

        bound.__swath_unbound__ = function  # type: ignore[attr-defined]
        return _method(bound, owner)

    def _maker_of_operators(self, cls: Any, owner: Bound | Namespace) -> Callable[..., Any]:
        names = list(inspect.signature(cls).parameters)
        arrays = cls.__swath_arrays__

        @functools.wraps(cls, updated=())
        def bound(_: Any, /, *args: Any, **kwargs: Any) -> Any:
            positional = tuple(
                self._convert(a) if i < len(names) and names[i] in arrays else a
                for i, a in enumerate(args)
            )
            return made(
                *positional,
                **{k: self._convert(v) if k in arrays else v for k, v in kwargs.items()},
            )

        made = cls
        maker = _method(bound, owner)
        if hasattr(cls, "__swath_convert__"):
            # Its methods take arrays too, and so do those that make one.
            own = {
                "__doc__": cls.__doc__,
                "__swath_convert__": staticmethod(self._convert),
                # No module holds the class: what was pickled is made again by the bound library.
                "__reduce__": lambda instance: (_instance, (maker, vars(instance))),
            }
            made = type(cls.__name__, (cls,), own)
            bound.__swath_class__ = made  # type: ignore[attr-defined]
            for name in getattr(cls, "__swath_makers__", ()):
                setattr(bound, name, getattr(made, name))
        return maker

    def _maker(self, function: Callable[..., Any], owner: Bound | Namespace) -> Callable[..., Any]:
        makes = self._makes(function)

        @functools.wraps(function)
        def bound(_: Any, /, *args: Any, **kwargs: Any) -> Any:
            return function(*args, **{**makes, **kwargs})

        return _method(bound, owner)

    def plan(self, op: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Plan:
        """As `swath.plan`, for this library and device."""
        record = registry.lookup(op)
        args, kwargs = self.moved(record, args, kwargs)
        return planning.plan(op, *args, **kwargs)

    def map_blocks(self, fn: Callable[..., Any], source: Any, sink: Any, **options: Any) -> Any:
        """As `swath.map_blocks`, by default through this library and device."""
        if "backend" not in options:
            options = {"backend": self.backend.name, "device": self.device, **options}
        return import_module("swath").map_blocks(fn, source, sink, **options)

    def vjp(self, op: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Any:
        """As `swath.vjp`, with the arguments converted."""
        from .autodiff import vjp

        record = registry.lookup(op)
        args, kwargs = self.moved(record, args, kwargs)
        value, pullback = vjp(op, *args, **kwargs)

        def converted(cotangent: Any, **options: Any) -> Any:
            return pullback(self.asarray(cotangent), **options)

        return value, converted


def _method(function: Callable[..., Any], owner: Bound | Namespace) -> Callable[..., Any]:
    """A function as a method of what it is an attribute of: so it is pickled, by its name."""
    signature = inspect.signature(function)
    first = inspect.Parameter("_", inspect.Parameter.POSITIONAL_ONLY)
    function.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[first, *signature.parameters.values()]
    )
    return MethodType(function, owner)


def _instance(maker: Any, state: dict[str, Any]) -> Any:
    """A pickled object of a class that a bound library has made."""
    made = object.__new__(maker.__swath_class__)
    vars(made).update(state)
    return made


# One for each library and device: what was copied or pickled is the same afterwards.
_bound = functools.cache(Bound)


def _bound_named(name: str, device: Any) -> Bound:
    """A pickled binding."""
    return bind(name, device=device)


def bind(xp_or_name: Any, *, device: Any = None) -> Bound:
    """Bind the whole library to one array library and device.

    Parameters
    ----------
    xp_or_name : module or str
        ``"numpy"``, ``"cupy"``, ``"jax"``, ``"torch"``, the import name of any other array-API
        library, or its namespace.
    device : object, optional
        A device of the library, or its name as ``"cuda:0"``; by default the library's own default.

    Returns
    -------
    Bound
        With the functions of swath, ``signal``, ``nn`` and ``linalg``, taking lists, NumPy arrays
        and DLPack objects; ``xp``, ``asarray`` and ``to_numpy`` beside them.

    Raises
    ------
    ImportError
        If the library is not installed; the text says what to install.

    Examples
    --------
    >>> import swath
    >>> sw = swath.bind("numpy")
    >>> sw.signal.convolve([1.0, 2.0, 3.0], [0.5, 0.5])
    array([0.5, 1.5, 2.5, 1.5])
    """
    name = xp_or_name if isinstance(xp_or_name, str) else getattr(xp_or_name, "__name__", "")
    if not name:
        raise ArgumentTypeError(
            f"bind: xp_or_name must be a library or its name, got {describe(xp_or_name)}"
        )
    with explain("bind", {}):
        try:
            backend = backend_named(name)
        except ModuleNotFoundError as error:
            extra = f': pip install "swath[{name}]"' if name in known_names() else ""
            raise ImportError(f"bind: {name} is not installed{extra}") from error
        return _bound(backend, arguments.device_of(backend, device))


def available_backends() -> dict[str, dict[str, Any]]:
    """Array libraries that are installed, with version and devices.

    Returns
    -------
    dict
        Library to ``{"version": ..., "devices": [...]}``; where a library is installed and cannot
        start, ``"error"`` says why. Importing every library takes seconds.

    Examples
    --------
    >>> import swath
    >>> swath.available_backends()["numpy"]["devices"]
    ['cpu']
    """
    found: dict[str, dict[str, Any]] = {}
    for name in known_names():
        try:
            backend = backend_named(name)
        except ModuleNotFoundError:
            continue
        except Exception as error:  # a broken installation must not hide the others
            found[name] = {"error": f"{type(error).__name__}: {error}"}
            continue
        version = import_module(name).__version__
        try:
            devices = backend.devices()
        except Exception as error:  # CUDA libraries raise their own kinds
            found[name] = {"version": version, "error": f"{type(error).__name__}: {error}"}
            continue
        found[name] = {"version": version, "devices": devices}
    return found
