"""`plan`: how an operation would be computed, without computing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._backends import Backend, backend_named, try_backend
from .errors import ArgumentTypeError
from .registry import lookup
from .sliding.plan import Plan, capture

__all__ = ["plan"]


def plan(op: Callable[..., Any], *args: Any, **kwargs: Any) -> Plan:
    """How an operation would compute its sliding product.

    Parameters
    ----------
    op : callable
        An operation of swath that computes a sliding product: convolution, correlation, a layer, a
        filter.
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
    record = lookup(op)
    be: Backend = backend_named("numpy")
    for value in (*args, *kwargs.values()):
        found = try_backend(value)
        if found is not None:
            be = found
            break
    stand_ins = [_stand_in(a) for a in args]
    with capture(be) as plans:
        record.function(*stand_ins, **{k: _stand_in(v) for k, v in kwargs.items()})
    if not plans:
        raise ArgumentTypeError(f"{record.name} computes no sliding product, so it has no plan")
    return plans[0]


def _stand_in(value: Any) -> Any:
    """An array of the same shape and dtype without memory."""
    be = try_backend(value)
    if be is None:
        return value
    name = be.name_of(value.dtype)
    kind = np.dtype("float16" if name == "bfloat16" else name)
    return np.broadcast_to(np.zeros((), kind), tuple(value.shape))
