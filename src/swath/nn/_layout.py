"""Batch and channel axes: where the sliding axes of a layer's array are."""

from __future__ import annotations

from typing import Any

from .. import _ops, arguments
from ..errors import ArgumentError

__all__ = ["batched", "channels_last", "check_rank", "frozen", "sliding_axes"]


def channels_last(channels: Any) -> bool:
    """Whether `channels` is "last"."""
    return arguments.choice("channels", channels, ("first", "last")) == "last"


def sliding_axes(ndim: int, rank: int, last: bool) -> tuple[int, ...]:
    """The `rank` sliding axes of an array with a channel axis and perhaps a batch axis."""
    stop = ndim - 1 if last else ndim
    return tuple(range(stop - rank, stop))


def check_rank(shape: tuple[int, ...], rank: int, last: bool, why: str) -> None:
    """Refuse an array that has neither rank + 1 nor rank + 2 axes."""
    if len(shape) in (rank + 1, rank + 2):
        return
    names = "S" if rank == 1 else ", ".join(f"S{i + 1}" for i in range(rank))
    layout = f"({names}, C)" if last else f"(C, {names})"
    full = f"(N, {names}, C)" if last else f"(N, C, {names})"
    raise ArgumentError(
        f"x must have {rank + 2} axes {full}, or {rank + 1} {layout} without the batch, for {why}; "
        f"got {len(shape)} axes (shape {shape})"
    )


def batched(x: Any, rank: int) -> tuple[Any, bool]:
    """x with its batch axis, and whether it was given with one."""
    if x.ndim == rank + 2:
        return x, True
    return _ops.reshape(x, (1, *x.shape)), False


class _Frozen(tuple[Any, ...]):
    """A tuple as a key: (2.0, 2) is not (2, 2), for what checks refuse must not be found."""

    __slots__ = ()
    __hash__ = tuple.__hash__

    def __eq__(self, other: Any) -> bool:
        same = tuple.__eq__(self, other)
        return same is True and [*map(type, self)] == [*map(type, other)]

    def __ne__(self, other: object) -> bool:
        return not self == other


def frozen(value: Any) -> Any:
    """Lists as tuples, so that a setting can be a key."""
    return _Frozen(map(frozen, value)) if isinstance(value, (list, tuple)) else value
