"""Checks of coefficients and frequencies that filtering, responses and design share."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf, pi
from numbers import Number, Real
from typing import Any

import numpy as np

from .. import _ops, arguments
from .._backends import Backend, backend_named, try_backend
from ..autodiff import primal
from ..errors import ArgumentError, ArgumentTypeError, describe
from ..sliding.plan import capturing

__all__ = [
    "angles_of",
    "coefficients",
    "complex_of",
    "divided",
    "float_name",
    "library",
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
    """`value` divided by the one coefficient of a, which may not be 0.

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
    return _ops.divide(value, _ops.cast(a, value.dtype))


def complex_of(be: Backend, dtype: Any) -> str:
    """Name of the complex dtype of the same precision."""
    return "complex64" if be.name_of(dtype) in ("float32", "complex64") else "complex128"


def angles_of(be: Backend, name: str, freqs: Any, beside: str, like: Any, fs: float) -> Array:
    """Angles in radians per sample: on the host from numbers and lists, else beside `like`.

    `name` and `beside` are what the caller calls `freqs` and `like`.
    """
    if try_backend(primal(freqs)) is None:
        if not isinstance(freqs, Number | Sequence) or isinstance(freqs, str | bytes):
            raise ArgumentTypeError(
                f"{name} must be an array, a number or a list, got {describe(freqs)}"
            )
        table = np.asarray(freqs)
        if table.dtype.kind not in "iuf":
            raise ArgumentTypeError(f"{name} must hold real numbers, got {describe(freqs)}")
        return np.asarray(table * (2 * pi / fs))
    arguments.arrays(**{beside: like, name: freqs})
    freqs = primal(freqs)
    arguments.numeric(be, name, freqs)
    arguments.real_only(be, name, freqs)
    kind = primal(like).dtype
    if be.is_floating(freqs.dtype) and not be.is_half(freqs.dtype):
        kind = be.xp.result_type(freqs.dtype, kind)
    return be.xp.astype(freqs, kind) * (2 * pi / fs)


def sampling_rate(fs: Any) -> float:
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
    name = dtype
    if not isinstance(dtype, str):
        try:
            name = be.name_of(dtype)
        except TypeError:
            name = ""
    if name not in ("float16", "bfloat16", "float32", "float64"):
        raise ArgumentTypeError(f"dtype must be a real floating dtype, got {dtype!r}")
    return name


def library(xp: Any) -> Backend:
    """The adapter of an array library, given as a module or by its name."""
    name = xp if isinstance(xp, str) else getattr(xp, "__name__", "")
    if not name:
        raise ArgumentTypeError(f"xp must be an array library or its name, got {describe(xp)}")
    name = name.removeprefix("array_api_compat.")
    try:
        return backend_named({"jax.numpy": "jax"}.get(name, name))
    except ModuleNotFoundError as error:
        raise ArgumentError(f"xp is the array library {name!r}, which is not installed") from error
