"""`plan`: how an operation would be computed, without computing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import arguments
from ._backends import Backend, try_backend
from .errors import ArgumentError, ArgumentTypeError, explain
from .registry import Operation, find, lookup
from .sliding.plan import Plan, capture

__all__ = ["PLANNED", "plan"]

# Operations that compute a sliding product. Stand-ins have no values, so that what others decide by
# values (whether edges increase, whether columns are independent) would be told of zeros.
PLANNED = frozenset(
    {
        "linalg.deconvolve",
        "linalg.identify_fir",
        "linalg.matmul_toeplitz",
        "nn.conv",
        "nn.conv_transpose",
        "signal.convolve",
        "signal.convolve2d",
        "signal.correlate",
        "signal.correlate2d",
        "signal.decimate",
        "signal.fftconvolve",
        "signal.filter_bank",
        "signal.filtfilt",
        "signal.fir_step",
        "signal.lfilter",
        "signal.lfiltic",
        "signal.match_template",
        "signal.oaconvolve",
        "signal.resample_poly",
        "signal.savgol_filter",
        "signal.upfirdn",
    }
)


def plan(op: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Plan:
    """How an operation would compute its sliding product.

    Parameters
    ----------
    op : callable, str or Operation
        An operation of swath that computes a sliding product, its name, as ``"nn.conv"`` or
        ``"conv"``, or its record: convolution, correlation, a layer, a filter.
    *args, **kwargs
        Its arguments. Of arrays only shape, dtype and library count; the arguments are checked as
        in a call.

    Returns
    -------
    Plan
        The method chosen and the candidates, each with predicted time, multiply-adds, bytes,
        workspace and error bound; `str` prints them as a table. Nothing is computed.

    Raises
    ------
    TypeError
        If `op` computes no sliding product.

    Examples
    --------
    >>> import numpy as np, swath
    >>> p = swath.plan(swath.signal.convolve, np.ones(10**6, np.float32), np.ones(31, np.float32))
    >>> p.method
    'toeplitz'
    """
    with explain("plan", {}):
        record = lookup(op)
        if find(record.function) is record and record.name not in PLANNED:
            raise ArgumentTypeError(f"{record.name} computes no sliding product, so it has no plan")
        be, place = _library(record, args, kwargs)
    stand_ins = [_stand_in(a) for a in args]
    with capture(be, place) as plans:
        record.function(*stand_ins, **{k: _stand_in(v) for k, v in kwargs.items()})
    if plans:
        return plans[0]
    if any(0 in getattr(v, "shape", ()) for v in stand_ins):
        raise ArgumentError(f"plan: {record.name} computes nothing of an array without points")
    raise ArgumentTypeError(f"plan: {record.name} computes no sliding product, so it has no plan")


def _library(
    record: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Backend, tuple[str, str, str]]:
    """Library and place of the arrays; stand-ins would hide that they come from several."""
    names = record.parameters
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    for name, value in list(given.items()):
        if isinstance(value, tuple):
            given.update({f"{name}[{i}]": v for i, v in enumerate(value)})
    arrays = {k: v for k, v in given.items() if try_backend(v) is not None}
    be, *_ = arguments.arrays(**arrays)
    # Nested lists alone are arrays of NumPy.
    return be, be.place(next(iter(arrays.values()), None))


def _stand_in(value: Any) -> Any:
    """An array of the same shape and dtype without memory."""
    if isinstance(value, tuple):
        return tuple(_stand_in(v) for v in value)
    be = try_backend(value)
    if be is None:
        return value
    name = be.name_of(value.dtype)
    kind = np.dtype("float16" if name == "bfloat16" else name)
    return np.broadcast_to(np.zeros((), kind), tuple(value.shape))
