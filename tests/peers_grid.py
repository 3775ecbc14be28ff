"""Generated attribute grids: layers that swath and its peers are given alike.

`layers(layer, rank)` is a hypothesis strategy. It constructs what is valid and rejects nothing, so
no health check is in the way; `cases` draws from it without randomness of its own, all distinct.
They are drawn first and checked together after, because a compiled program of all of them costs JAX
a third of a program for each; where a check fails, `smallest` looks for a smaller layer that fails
too, as hypothesis would have, for at most half a minute.

Numbers are exact in float32, so that float32 results can be held against float64 peers. Every
window of a pooling layer has a point inside the array: what a window wholly in padding gives is a
rule of its own in each library (tests/test_pooling.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any

import hypothesis
import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from oracles_layers import same

LAYERS = ("conv", "conv_transpose", "max_pool", "avg_pool", "lp_pool")
# How many layers are drawn for each number of sliding axes.
DRAWN = {1: 70, 2: 60, 3: 50, 4: 20}
NAMES = ("same", "same_lower", "valid")
# The longest window of an axis, and how many points more than it needs an axis may have.
WIDEST = {1: 4, 2: 4, 3: 3, 4: 2}
SPARE = {1: 9, 2: 6, 3: 3, 4: 1}


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

    @property
    def key(self) -> tuple[Any, ...]:
        """All but the numbers."""
        shapes = tuple((k, a.shape) for k, a in self.arrays.items())
        settings = (self.size, self.stride, self.dilation, self.padding, self.pads)
        return (*shapes, *settings, tuple(sorted(self.extra.items())))

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


@cache
def cases(layer: str, rank: int) -> list[Case]:
    """`DRAWN[rank]` distinct layers; the same in every run of the same tests.

    A third of them has named paddings, as many of each name: drawn by themselves, because what
    hypothesis varies it varies around what it drew before.
    """
    names = NAMES[:2] if layer == "conv_transpose" else NAMES
    each = DRAWN[rank] // (3 * len(names))
    found = _distinct(_layers(layer, rank, None), DRAWN[rank] - each * len(names))
    for name in names:
        found += _distinct(_layers(layer, rank, name), each)
    # Shuffled, so that the first of them stand for all.
    return [found[i] for i in np.random.default_rng(rank).permutation(len(found))]


def _distinct(strategy: st.SearchStrategy[Case], count: int) -> list[Case]:
    found: dict[tuple[Any, ...], Case] = {}

    @settings(
        max_examples=4 * count,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
    )
    @given(strategy)
    def draw(case: Case) -> None:
        found.setdefault(case.key, case)

    draw()
    drawn = list(found.values())
    # The simplest come first: any others are as good.
    order = np.random.default_rng(count).permutation(len(drawn))
    return [drawn[i] for i in order[:count]]


def smallest(layer: str, rank: int, fails: Callable[[Case], bool], seconds: float = 30.0) -> str:
    """The smallest layer that fails as far as hypothesis finds one in time, in words."""
    end = time.monotonic() + seconds
    quick = settings(max_examples=200, derandomize=True, deadline=None, database=None)

    def within(case: Case) -> bool:
        return time.monotonic() < end and fails(case)

    try:
        return f"; so does {hypothesis.find(layers(layer, rank), within, settings=quick)}"
    except (hypothesis.errors.NoSuchExample, hypothesis.errors.Flaky):
        return ""


def layers(layer: str, rank: int) -> st.SearchStrategy[Case]:
    """Layers of one kind with so many sliding axes."""
    names = NAMES[:2] if layer == "conv_transpose" else NAMES
    return st.one_of(_layers(layer, rank, None), *(_layers(layer, rank, n) for n in names))


def _layers(layer: str, rank: int, name: str | None) -> st.SearchStrategy[Case]:
    """With this named padding, or with explicit pairs."""
    return {"conv": _conv, "conv_transpose": _transpose}.get(layer, _pool)(layer, rank, name)


def _each(draw: Any, low: int, high: Any, rank: int) -> tuple[int, ...]:
    """An integer low … high for every axis; `high` may be one for each."""
    tops = high if isinstance(high, tuple) else (high,) * rank
    return tuple(draw(st.integers(low, top)) for top in tops)


def _window(draw: Any, rank: int) -> tuple[tuple[int, ...], ...]:
    size, stride = _each(draw, 1, WIDEST[rank], rank), _each(draw, 1, min(3, WIDEST[rank]), rank)
    farthest = 3 if rank < 3 else 2
    dilation = _each(draw, 1, farthest, rank) if draw(st.booleans()) else (1,) * rank
    return size, stride, dilation


def _lengths(draw: Any, least: Any) -> tuple[int, ...]:
    """Points of every axis, at least so many."""
    rank = len(least)
    return tuple(max(1, n) + draw(st.integers(0, SPARE[rank])) for n in least)


def _widths(draw: Any, low: Any, high: Any, rank: int) -> tuple[tuple[int, int], ...]:
    """Pairs of padding, every other time the same at both ends; limits may be one per axis."""
    first = _each(draw, 0, low, rank)
    last = first if draw(st.booleans()) else _each(draw, 0, high, rank)
    return tuple(zip(first, last, strict=True))


def _numbers(draw: Any) -> np.random.Generator:
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def _resolved(name: str, geometry: Any) -> tuple[tuple[int, int], ...]:
    if name == "valid":
        return tuple((0, 0) for _ in geometry)
    return tuple(same(*g, name == "same_lower") for g in geometry)


def _least(size: Any, dilation: Any, pads: Any) -> tuple[int, ...]:
    """The fewest points that a window fits into with its padding."""
    return tuple(
        d * (k - 1) + 1 - low - high for k, d, (low, high) in zip(size, dilation, pads, strict=True)
    )


def _finished(case: Case, rng: np.random.Generator, channels: int) -> Case:
    case.cotangent = single(rng, case.arrays["x"].shape[0], channels, *case.out)
    return case


def _counts(draw: Any, rank: int) -> tuple[int, int, int, int]:
    """Groups, input and output channels of each, images."""
    few = 2 if rank < 4 else 1
    groups = draw(st.sampled_from([1, 1, 2, 3] if rank < 4 else [1, 2]))
    return groups, *(draw(st.integers(1, few)) for _ in range(3))


@st.composite
def _conv(draw: Any, layer: str, rank: int, name: str | None) -> Case:
    size, stride, dilation = _window(draw, rank)
    if name is None:
        pads: Any = _widths(draw, 3 if rank < 4 else 1, 3 if rank < 4 else 1, rank)
        points = _lengths(draw, _least(size, dilation, pads))
        padding = pads
    else:
        none = ((0, 0),) * rank
        points = _lengths(draw, _least(size, dilation, none) if name == "valid" else (1,) * rank)
        pads = _resolved(name, list(zip(points, size, stride, dilation, strict=True)))
        padding = name
    out = tuple(
        (n + low + high - d * (k - 1) - 1) // s + 1
        for n, k, s, d, (low, high) in zip(points, size, stride, dilation, pads, strict=True)
    )
    groups, depth, rows, batch = _counts(draw, rank)
    biased, rng = draw(st.booleans()), _numbers(draw)
    arrays = {
        "x": single(rng, batch, groups * depth, *points),
        "weight": single(rng, groups * rows, depth, *size),
    }
    if biased:
        arrays["bias"] = single(rng, groups * rows)
    case = Case(layer, arrays, size, stride, dilation, padding, pads, out, {"groups": groups})
    return _finished(case, rng, groups * rows)


@st.composite
def _transpose(draw: Any, layer: str, rank: int, name: str | None) -> Case:
    size, stride, dilation = _window(draw, rank)
    groups, depth, rows, batch = _counts(draw, rank)
    extra: dict[str, Any] = {"groups": groups}
    if name is None:
        pads: Any = _widths(draw, 2 if rank < 4 else 1, 2 if rank < 4 else 1, rank)
        padding = pads
        # Enough points that something is left of what they spread to.
        least = tuple(
            1 - (d * (k - 1) - low - high) // s
            for k, s, d, (low, high) in zip(size, stride, dilation, pads, strict=True)
        )
        points = _lengths(draw, least)
        below = tuple(max(s, d) - 1 for s, d in zip(stride, dilation, strict=True))
        extra["output_padding"] = more = _each(draw, 0, below, rank)
    else:
        points, padding = _lengths(draw, (1,) * rank), name
    reach = [
        (n - 1) * s + d * (k - 1) + 1
        for n, k, s, d in zip(points, size, stride, dilation, strict=True)
    ]
    if name is None:
        out = tuple(r - sum(p) + e for r, p, e in zip(reach, pads, more, strict=True))
    else:
        out = tuple(n * s for n, s in zip(points, stride, strict=True))
        total = [max(0, r - o) for r, o in zip(reach, out, strict=True)]
        pads = tuple((t // 2, t - t // 2) for t in total)
        if name == "same_lower":
            pads = tuple((b, a) for a, b in pads)
    biased, rng = draw(st.booleans()), _numbers(draw)
    arrays = {
        "x": single(rng, batch, groups * depth, *points),
        "weight": single(rng, groups * depth, rows, *size),
    }
    if biased:
        arrays["bias"] = single(rng, groups * rows)
    case = Case(layer, arrays, size, stride, dilation, padding, pads, out, extra)
    return _finished(case, rng, groups * rows)


@st.composite
def _pool(draw: Any, layer: str, rank: int, name: str | None) -> Case:
    size, stride, dilation = _window(draw, rank)
    # As many points as taps lie apart, and padding shorter than a window: then no window misses x.
    if name is None:
        pads: Any = _widths(draw, tuple(k // 2 for k in size), tuple(k - 1 for k in size), rank)
        padding = pads
    else:
        pads, padding = ((0, 0),) * rank, name
    fits = _least(size, dilation, pads) if name in (None, "valid") else (1,) * rank
    points = _lengths(draw, tuple(max(n, d) for n, d in zip(fits, dilation, strict=True)))
    if name is not None:
        pads = _resolved(name, list(zip(points, size, stride, dilation, strict=True)))
    ceil = name is None and draw(st.booleans())
    out = []
    for n, k, s, d, (low, high) in zip(points, size, stride, dilation, pads, strict=True):
        room = n + low + high - d * (k - 1) - 1
        count = (-(-room // s) if ceil else room // s) + 1
        if ceil and (count - 1) * s >= n + low:
            count -= 1
        out.append(count)
    extra: dict[str, Any] = {"ceil_mode": ceil}
    if layer == "avg_pool":
        extra["count_include_pad"] = draw(st.booleans())
        if draw(st.integers(0, 3)) == 0:
            extra["divisor_override"] = 3
    if layer == "lp_pool":
        extra["p"] = draw(st.integers(1, 3))
    batch, channels = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    tied, rng = layer == "max_pool" and draw(st.booleans()), _numbers(draw)
    x = single(rng, batch, channels, *points)
    if tied:
        x = np.round(2 * x)
        extra["ties"] = True
    case = Case(layer, {"x": x}, size, stride, dilation, padding, pads, tuple(out), extra)
    return _finished(case, rng, channels)


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
