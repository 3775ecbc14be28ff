"""Generated attribute grids: layers that swath and its peers are given alike.

Numbers are drawn from a fixed seed and are exact in float32, so that float32 results can be held
against float64 peers. Every window of a pooling layer has a point inside the array: what a window
wholly in padding gives is a rule of its own in each library (tests/test_pooling.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any

import numpy as np

LAYERS = ("conv", "conv_transpose", "max_pool", "avg_pool", "lp_pool")
# How many layers are drawn for each number of sliding axes.
DRAWN = {1: 70, 2: 60, 3: 50}


@dataclass
class Case:
    """One layer: differentiable arrays by name, other arguments, and a cotangent.

    Attributes are in swath's terms: `padding` is a name or pairs; `pads` are always the pairs.
    """

    layer: str
    arrays: dict[str, np.ndarray]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Any
    pads: tuple[tuple[int, int], ...]
    out: tuple[int, ...]
    extra: dict[str, Any] = field(default_factory=dict)
    cotangent: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def rank(self) -> int:
        return len(self.size)

    @property
    def points(self) -> tuple[int, ...]:
        return self.arrays["x"].shape[2:]

    @property
    def groups(self) -> int:
        return self.extra.get("groups", 1)

    @property
    def symmetric(self) -> bool:
        return all(low == high for low, high in self.pads)

    @property
    def partial(self) -> tuple[int, ...]:
        """How far the last window of each axis reaches beyond the padding (ceil_mode)."""
        return tuple(
            max(0, (o - 1) * s + d * (k - 1) + 1 - n - low - high)
            for o, s, d, k, n, (low, high) in zip(
                self.out, self.stride, self.dilation, self.size, self.points, self.pads, strict=True
            )
        )

    def magnitudes(self) -> Case:
        """The same layer on absolute values: what error bounds are made of."""
        arrays = {k: np.abs(a) for k, a in self.arrays.items()}
        return Case(**{**self.__dict__, "arrays": arrays, "cotangent": np.abs(self.cotangent)})

    def __str__(self) -> str:
        shapes = {k: a.shape for k, a in self.arrays.items()}
        return (
            f"{self.layer} {shapes} size={self.size} stride={self.stride} "
            f"dilation={self.dilation} padding={self.padding} pads={self.pads} {self.extra}"
        )


def single(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32).astype(np.float64)


def ints(rng: np.random.Generator, low: int, high: int, rank: int) -> tuple[int, ...]:
    """Integers low … high, both included."""
    return tuple(int(v) for v in rng.integers(low, high + 1, rank))


def same(n: int, k: int, s: int, d: int, lower: bool) -> tuple[int, int]:
    """SAME as TensorFlow and the ONNX specification define it."""
    total = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


@cache
def cases(layer: str, rank: int) -> list[Case]:
    rng = np.random.default_rng([rank, LAYERS.index(layer)])
    draw = {"conv": _conv, "conv_transpose": _transpose}.get(layer, _pool)
    found: list[Case] = []
    while len(found) < DRAWN[rank]:
        case = draw(rng, layer, rank)
        if case is None:
            continue
        channels = case.arrays["x"].shape[1]
        if layer == "conv":
            channels = case.arrays["weight"].shape[0]
        elif layer == "conv_transpose":
            channels = case.arrays["weight"].shape[1] * case.groups
        case.cotangent = single(rng, case.arrays["x"].shape[0], channels, *case.out)
        found.append(case)
    return found


def _window(rng: np.random.Generator, rank: int) -> tuple[tuple[int, ...], ...]:
    widest = 3 if rank == 3 else 4
    size, stride = ints(rng, 1, widest, rank), ints(rng, 1, 3, rank)
    dilation = ints(rng, 1, 2 if rank == 3 else 3, rank) if rng.integers(2) else (1,) * rank
    points = ints(rng, 2, {1: 12, 2: 8, 3: 5}[rank], rank)
    return size, stride, dilation, points


def _named(rng: np.random.Generator, names: tuple[str, ...], geometry: Any) -> Any:
    """A named padding in one draw of three, and its pairs."""
    if rng.integers(3):
        return None
    name = str(rng.choice(names))
    if name == "valid":
        return name, tuple((0, 0) for _ in geometry)
    return name, tuple(same(*g, name == "same_lower") for g in geometry)


def _conv(rng: np.random.Generator, layer: str, rank: int) -> Case | None:
    size, stride, dilation, points = _window(rng, rank)
    geometry = list(zip(points, size, stride, dilation, strict=True))
    named = _named(rng, ("same", "same_lower", "valid"), geometry)
    if named is None:
        low = ints(rng, 0, 3, rank)
        high = low if rng.integers(2) else ints(rng, 0, 3, rank)
        pads = tuple(zip(low, high, strict=True))
        named = (pads, pads)
    out = tuple(
        (n + low + high - d * (k - 1) - 1) // s + 1
        for (n, k, s, d), (low, high) in zip(geometry, named[1], strict=True)
    )
    if min(out) < 1:
        return None
    groups = int(rng.choice([1, 1, 2, 3]))
    depth, rows, batch = ints(rng, 1, 2, 3)
    arrays = {
        "x": single(rng, batch, groups * depth, *points),
        "weight": single(rng, groups * rows, depth, *size),
    }
    if rng.integers(2):
        arrays["bias"] = single(rng, groups * rows)
    return Case(layer, arrays, size, stride, dilation, *named, out, {"groups": groups})


def _transpose(rng: np.random.Generator, layer: str, rank: int) -> Case | None:
    size, stride, dilation, points = _window(rng, rank)
    groups = int(rng.choice([1, 1, 2, 3]))
    depth, rows, batch = ints(rng, 1, 2, 3)
    reach = [
        (n - 1) * s + d * (k - 1) + 1
        for n, k, s, d in zip(points, size, stride, dilation, strict=True)
    ]
    extra: dict[str, Any] = {"groups": groups}
    if rng.integers(3):
        low = ints(rng, 0, 2, rank)
        high = low if rng.integers(2) else ints(rng, 0, 2, rank)
        padding: Any = tuple(zip(low, high, strict=True))
        more = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True))
        extra["output_padding"] = more
        pads = padding
        out = tuple(r - sum(p) + e for r, p, e in zip(reach, pads, more, strict=True))
    else:
        padding = str(rng.choice(["same", "same_lower"]))
        out = tuple(n * s for n, s in zip(points, stride, strict=True))
        total = [max(0, r - o) for r, o in zip(reach, out, strict=True)]
        pads = tuple((t // 2, t - t // 2) for t in total)
        if padding == "same_lower":
            pads = tuple((b, a) for a, b in pads)
    if min(out) < 1:
        return None
    arrays = {
        "x": single(rng, batch, groups * depth, *points),
        "weight": single(rng, groups * depth, rows, *size),
    }
    if rng.integers(2):
        arrays["bias"] = single(rng, groups * rows)
    return Case(layer, arrays, size, stride, dilation, padding, pads, out, extra)


def _pool(rng: np.random.Generator, layer: str, rank: int) -> Case | None:
    size, stride, dilation, points = _window(rng, rank)
    geometry = list(zip(points, size, stride, dilation, strict=True))
    named = _named(rng, ("same", "same_lower", "valid"), geometry)
    ceil = bool(rng.integers(2)) and named is None
    if named is None:
        low = tuple(int(rng.integers(0, k // 2 + 1)) for k in size)
        high = low
        if rng.integers(2):
            high = tuple(int(rng.integers(0, k)) for k in size)
        pads = tuple(zip(low, high, strict=True))
        named = (pads, pads)
    out = []
    for (n, k, s, d), (low, high) in zip(geometry, named[1], strict=True):
        room = n + low + high - d * (k - 1) - 1
        if room < 0:
            return None
        count = (-(-room // s) if ceil else room // s) + 1
        if ceil and (count - 1) * s >= n + low:
            count -= 1
        inside = (any(0 <= s * i + d * j - low < n for j in range(k)) for i in range(count))
        if not all(inside):
            return None
        out.append(count)
    extra: dict[str, Any] = {"ceil_mode": ceil}
    if layer == "avg_pool":
        extra["count_include_pad"] = bool(rng.integers(2))
        if not rng.integers(4):
            extra["divisor_override"] = 3
    if layer == "lp_pool":
        extra["p"] = int(rng.integers(1, 4))
    x = single(rng, *ints(rng, 1, 2, 2), *points)
    if layer == "max_pool" and not rng.integers(2):
        x = np.round(2 * x)  # ties
        extra["ties"] = True
    return Case(layer, {"x": x}, size, stride, dilation, *named, tuple(out), extra)


def terms(case: Case) -> dict[str, int]:
    """Products summed in one element of the result and of each gradient."""
    taps = prod(case.size)
    batch, positions = case.arrays["x"].shape[0], prod(case.out)
    if case.layer == "conv":
        rows, depth = case.arrays["weight"].shape[:2]
        bias = "bias" in case.arrays
        return {
            "y": taps * depth + bias,
            "x": taps * rows // case.groups,
            "weight": batch * positions,
            "bias": batch * positions,
        }
    if case.layer == "conv_transpose":
        rows = case.arrays["weight"].shape[1]
        depth = case.arrays["x"].shape[1] // case.groups
        return {
            "y": taps * depth + 1,
            "x": taps * rows,
            "weight": batch * prod(case.points),
            "bias": batch * positions,
        }
    return {"y": taps, "x": taps}
