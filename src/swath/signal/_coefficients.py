"""Checks of filter coefficients that filtering and responses share."""

from __future__ import annotations

from typing import Any

from .. import _ops, arguments
from .._backends import Backend
from ..autodiff import primal
from ..errors import ArgumentError
from ..sliding.plan import capturing

__all__ = ["coefficients", "complex_of", "divided"]


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
