"""Checks of coefficients and frequencies that filtering, responses and design share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import isinf, pi
from numbers import Number, Real
from typing import Any

import numpy as np

from .. import _ops, arguments
from .._backends import Backend, backend_named, backend_of
from ..autodiff import Node, primal
from ..errors import ArgumentError, ArgumentTypeError, UnsupportedError, describe
from ..sliding.plan import capturing

__all__ = [
    "angles_of",
    "arrays_among",
    "coefficients",
    "constant_only",
    "design_arrays",
    "divided",
    "fir_arguments",
    "float_name",
    "host_values",
    "library",
    "placed",
    "sampling_rate",
]

Array = Any


def coefficients(be: Backend, name: str, value: Any) -> Any:
    """One row of at least one filter coefficient; a number counts as a row of one."""
    arguments.numeric(be, name, value)
    if value.ndim == 0:
        value = _ops.reshape(value, (1,))
    if value.ndim != 1:
        raise ArgumentError(
            f"{name} must be one row of coefficients, got shape {tuple(value.shape)}"
        )
    if value.shape[0] == 0:
        raise ArgumentError(f"{name} must have at least one coefficient, got none")
    return value


def divided(be: Backend, value: Any, a: Any, given: Any) -> Any:
    """`value` divided by the one coefficient of a, which may not be 0; half precision in float32.

    `given` is a as the caller wrote it: a number or list needs no look at the device.
    """
    number = given[0] if isinstance(given, list | tuple) else given
    if isinstance(number, int | float | complex):
        gain: Any = number
        if gain == 1:
            return value
    elif capturing():
        # Only the plan is asked for: arrays are stand-ins without values.
        return value
    else:
        gain = be.concrete(primal(a)[0])
    if gain == 0:
        raise ArgumentError("a[0] must not be 0: it is what all coefficients are divided by")
    value, a = arguments.summable(be, value, _ops.cast(a, value.dtype))
    return _ops.divide(value, a)


def fir_arguments(b: Any, a: Any, *optional: str, **others: Any) -> tuple[Any, Any, list[Any]]:
    """The dtype of the result, b / a[0] and the other arrays; those named may be None.

    The arrays are of one floating dtype: that of the result, but float32 where taps of half
    precision were divided. a has no other coefficient: filters with feedback are refused.
    """
    given = a
    be, (b, a, *rest) = arguments.dividing(*optional, b=b, a=a, **others)
    b, a = coefficients(be, "b", b), coefficients(be, "a", a)
    for name, value in zip(others, rest, strict=True):
        if value is not None:
            arguments.numeric(be, name, value)
    b, a, *rest = arguments.floating(be, b, a, *rest)
    kind = b.dtype
    if a.shape[0] != 1:
        raise UnsupportedError(
            f"a has {a.shape[0]} coefficients; filters with feedback (IIR) are not done here: use "
            f"scipy.signal.lfilter on the host, or pass a of one coefficient"
        )
    b = divided(be, b, a, given)
    return kind, b, [None if v is None else _ops.cast(v, b.dtype) for v in rest]


def angles_of(be: Backend, name: str, freqs: Any, beside: str, like: Any, fs: float) -> Array:
    """Angles in radians per sample: on the host from numbers and lists, else beside `like`.

    `name` and `beside` are what the caller calls `freqs` and `like`.
    """
    freqs = arguments.gathered(name, freqs)
    if arguments.strong(freqs) is None:
        if not isinstance(freqs, Number | Sequence) or isinstance(freqs, str | bytes):
            raise ArgumentTypeError(
                f"{name} must be an array, a number or a list, got {describe(freqs)}"
            )
        try:
            table = np.asarray(freqs)
        except ValueError:
            raise ArgumentError(
                f"{name} must be rectangular, got a ragged list {freqs!r}"
            ) from None
        if table.dtype.kind not in "iuf":
            raise ArgumentTypeError(f"{name} must hold real numbers, got {describe(freqs)}")
        return np.asarray(np.asarray(table, np.float64) * (2 * pi / fs))
    _, (_, freqs) = arguments.arrays(**{beside: like, name: freqs})
    freqs = primal(freqs)
    arguments.numeric(be, name, freqs)
    arguments.real_only(be, name, freqs)
    kind = primal(like).dtype
    if be.is_floating(freqs.dtype) and not be.is_half(freqs.dtype):
        kind = be.xp.result_type(freqs.dtype, kind)
    return be.xp.astype(freqs, kind) * (2 * pi / fs)


def sampling_rate(fs: Any) -> float:
    """A positive, finite sampling rate."""
    if fs is None:
        raise ArgumentError("Sampling rate fs must be a number and can not be none.")
    if arguments.strong(fs) is not None:
        raise ArgumentError(
            f"Sampling rate fs must be a single scalar, a number; got {describe(primal(fs))}"
        )
    if isinstance(fs, bool) or not isinstance(fs, Real):
        raise ArgumentTypeError(f"fs must be a number, got {describe(fs)}")
    rate = float(fs)
    if not rate > 0:
        raise ArgumentError(f"fs must be positive, got {fs}")
    if isinf(rate):
        raise ArgumentError("fs must be finite, got inf")
    return rate


def float_name(be: Backend, dtype: Any) -> str:
    """The name of a real floating dtype that the user asked for."""
    name = arguments.dtype_name(be, dtype)
    if name not in ("float16", "bfloat16", "float32", "float64"):
        raise ArgumentTypeError(f"dtype must be a real floating dtype of {be.name}, got {dtype!r}")
    return name


def library(xp: Any) -> Backend:
    """The adapter of an array library, given as a module or by its name."""
    name = xp if isinstance(xp, str) else getattr(xp, "__name__", "")
    if not name:
        raise ArgumentTypeError(f"xp must be an array library or its name, got {describe(xp)}")
    try:
        return backend_named(name)
    except ModuleNotFoundError as error:
        raise ArgumentError(f"xp is the array library {name!r}, which is not installed") from error


def constant_only(be: Backend, name: str, value: Any) -> None:
    """Refuse what is differentiated: SciPy's results on the host would have no derivative."""
    if isinstance(value, Node) or (be.in_place and be.recorded(value)):
        raise UnsupportedError(
            f"{name} is differentiated; SciPy computes this on the host, without a derivative: "
            f"pass a number or a detached array"
        )


def host_values(name: str, value: Any) -> np.ndarray:
    """The numbers of an argument on the host, for what SciPy computes there.

    Traced and differentiated ones fail.
    """
    be, value = arguments.one_array(name, value)
    constant_only(be, name, value)
    arguments.numeric(be, name, value)
    if be.traced(value) or be.concrete(be.xp.all(value == value)) is None:
        raise UnsupportedError(
            f"{name} is traced or lazy; SciPy computes this on the host from known values: call it "
            f"outside of the compiled function, or on {name}.compute(), and pass the result in"
        )
    return be.to_numpy(value)


def placed(be: Backend, table: np.ndarray, device: Any, dtype: Any) -> Array:
    """A float64 host table in the library, on the device and in the dtype asked for."""
    probe = be.from_host(np.zeros(1, np.int32), arguments.device_of(be, device))
    if dtype is None:
        name = "float64" if be.has_float64(probe) else "float32"
    else:
        name = float_name(be, dtype)
    # A copy in C order: PyTorch takes no negative strides.
    return be.constant(np.array(table, order="C"), probe, be.dtype(name))


def arrays_among(xp: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Those arguments that are arrays or lists of arrays, as arrays, of xp if that is given."""
    joined = {k: arguments.gathered(k, v) for k, v in given.items()}
    found = {k: v for k, v in joined.items() if arguments.strong(v) is not None}
    asked = None if xp is None else library(xp)
    for name, value in found.items():
        be = backend_of(primal(value))
        if asked is not None and be is not asked:
            raise ArgumentTypeError(f"xp is {asked.name}, but {name} is an array of {be.name}")
    return found


def design_arrays(
    xp: Any, device: Any, dtype: Any, *optional: str, **given: Any
) -> tuple[Backend, list[Any], Callable[[Any], Any]]:
    """The arguments of a design as real arrays of one floating dtype, and what ends the design.

    Where none is an array the work is done by NumPy in float64, and the result goes to `xp`,
    `device` and `dtype`. An array's library and device stand, and its dtype unless `dtype` is
    given; half precision is worked on in float32. Those named in `optional` may be None.
    """
    found = arrays_among(xp, given)
    be, values = arguments.dividing(*optional, **given)
    for name, value in zip(given, values, strict=True):
        if value is not None:
            arguments.numeric(be, name, value)
            arguments.real_only(be, name, value)
    if not found:
        values = [None if v is None else np.asarray(v, np.float64) for v in values]
        target = backend_named("numpy") if xp is None else library(xp)
        return be, values, lambda h: placed(target, h, device, dtype)
    wanted = None if dtype is None else be.dtype(float_name(be, dtype))
    if wanted is not None and not any(v is not None and be.is_floating(v.dtype) for v in values):
        # Integers have no precision of their own: what is asked for is worked in.
        values = [None if v is None else _ops.cast(v, wanted) for v in values]
    values = arguments.floating(be, *values)
    kind = next(v for v in values if v is not None).dtype
    values = arguments.summable(be, *values)
    return be, values, partial(_ops.cast, dtype=kind if wanted is None else wanted)
