"""The text of CUDA kernels that go through windows."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import cupy as cp

__all__ = ["NARROW", "elementwise", "fields", "numbers", "place", "taps", "windows"]

# Of every sliding axis: results, points, and the fields of a span.
_FIELDS = ("out", "len", "size", "stride", "dil", "low")
# Above, indices need 64 bits; products of neighbouring sizes stay below the double.
NARROW = 2**30


def place(axis: int) -> str:
    """Where the window of a result begins, and the taps a … b − 1 of it that meet the input."""
    return """
    const I p# = rest % out#; rest /= out#;
    const I s# = p# * stride# - low#;
    I a# = max((I) 0, -s#), b# = len# - s#;
    if (dil# > 1) { a# = (a# + dil# - 1) / dil#; b# = (b# + dil# - 1) / dil#; }
    b# = min(size#, b#);""".replace("#", str(axis))


def taps(rank: int, body: str) -> str:
    """`body` for every tap along so many axes: q is the point it reads, k its number."""
    text = "const I q_ = 0, k_ = 0;"
    before = "_"
    for axis in range(rank):
        text += """
    for (I j# = a#; j# < b#; ++j#) {
    const I q# = q@ * len# + s# + dil# * j#, k# = k@ * size# + j#;""".replace(
            "#", str(axis)
        ).replace("@", before)
        before = str(axis)
    return f"{text}\n    const I q = q{before}, k = k{before};\n    {body}" + " }" * rank


def windows(rank: int, body: str) -> str:
    """`body` for every window that reads a point: q is the number of its result."""
    text = "const I q_ = 0;"
    before = "_"
    for axis in range(rank):
        text += """
    for (I j# = 0; j# < size#; ++j#) {
    const I t# = x# + low# - dil# * j#;
    if (t# < 0 || t# % stride# || t# / stride# >= out#) continue;
    const I q# = q@ * out# + t# / stride#;""".replace("#", str(axis)).replace("@", before)
        before = str(axis)
    return f"{text}\n    const I q = q{rank - 1};\n    {body}" + " }" * rank


def fields(rank: int) -> list[str]:
    """Names of the numbers of all axes, in the order of `numbers`."""
    return [f"{field}{axis}" for axis in range(rank) for field in _FIELDS]


@cache
def elementwise(
    name: str, rank: int, arrays: str, results: str, numbers: str, text: str, wide: bool
) -> Any:
    """A kernel of one thread for each result."""
    index = "int64" if wide else "int32"
    given = ", ".join(f"{index} {n}" for n in (*numbers.split(), *fields(rank)))
    types = f"typedef {'long long' if wide else 'int'} I;"
    return cp.ElementwiseKernel(f"{arrays}, {given}", results, f"{types}\n{text}", f"swath_{name}")


@lru_cache(maxsize=4096)
def numbers(spans: tuple[Any, ...]) -> list[int]:
    """What a kernel is told of every axis."""
    return [n for s in spans
            for n in (s.out, s.length, s.size, s.stride, s.dilation, s.low)]  # fmt: skip
