"""Calls that run through the features that the operations of swath.nn record.

`EXAMPLES[feature](op)` makes the calls of one operation, with what loops say of them;
`DERIVED[op]` the calls whose derivatives and traces are looked at. A feature in the record without
an entry here is a claim without a test, and fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np

from oracles_layers import LAYERS

WINDOWED = ("nn.max_pool", "nn.min_pool", "nn.avg_pool", "nn.lp_pool")
WHOLE = ("nn.global_max_pool", "nn.global_avg_pool", "nn.global_lp_pool")
ADAPTIVE = ("nn.adaptive_max_pool", "nn.adaptive_avg_pool")


@dataclass(frozen=True)
class Example:
    """One call of an operation: arrays first, the rest static.

    `differentiable` counts the arrays in front that have derivatives.
    """

    op: str
    arrays: tuple[np.ndarray, ...]
    rest: tuple[Any, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    #: What the call returns, if that is not what the loops say of its arguments.
    expected: Any = None

    @property
    def differentiable(self) -> int:
        return 1 if self.op == "nn.max_unpool" else len(self.arrays)

    def loops(self, *arrays: np.ndarray) -> Any:
        """What the loops return for these arrays in place of the first ones."""
        full = (*arrays, *self.arrays[len(arrays) :])
        return LAYERS[self.op](*full, *self.rest, **self.settings)

    @property
    def wanted(self) -> tuple[np.ndarray, ...]:
        """All outputs."""
        found = self.loops() if self.expected is None else self.expected
        return found if isinstance(found, tuple) else (found,)


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Distinct and well apart, exact in float16 and bfloat16 (short of 8 bits)."""
    rng = np.random.default_rng([seed, *shape])
    n = int(np.prod(shape))
    return ((rng.permutation(max(n, 1))[:n] % 64 - 31.5) / 16).reshape(shape)


def points(rank: int) -> tuple[int, ...]:
    return {1: (7,), 2: (6, 5), 3: (4, 3, 4), 4: (3, 2, 3, 2)}.get(rank, (2, 1, 3, 2) * 2)


def sizes(rank: int) -> tuple[int, ...]:
    return {1: (3,), 2: (3, 2), 3: (2, 1, 2), 4: (2, 1, 2, 2)}.get(rank, (1, 1, 2, 1) * 2)


def plain(op: str, rank: int = 2, **settings: Any) -> Example:
    """A small call of an operation, with settings."""
    given = points(rank)
    groups = settings.get("groups", 1)
    if op == "nn.conv":
        depth = settings.pop("depth", 2)
        weight = numbers(2 * groups, depth, *sizes(rank), seed=1)
        return Example(op, (numbers(1, depth * groups, *given), weight), (), settings)
    if op == "nn.conv_transpose":
        depth = settings.pop("depth", 2)
        weight = numbers(depth * groups, 2, *sizes(rank), seed=1)
        small = tuple(max(1, n - 3) for n in given)
        return Example(op, (numbers(1, depth * groups, *small), weight), (), settings)
    settings.pop("depth", None)
    if op == "nn.max_unpool":
        # Windows of 2 that lie side by side; the places are a permutation of all.
        small = tuple(max(1, n // 2) for n in given)
        each, rng = int(np.prod(small)), np.random.default_rng(rank)
        places = np.stack([rng.permutation(2**rank * each)[:each] for _ in range(2)])
        places = places.reshape(1, 2, *small)
        return Example(op, (numbers(1, 2, *small), places), ((2,) * rank,), settings)
    x = numbers(1, 2, *given)
    if op in WHOLE:
        return Example(op, (x,), (), settings)
    if op in ADAPTIVE:
        return Example(op, (x,), (tuple(max(1, n - 1 - n // 3) for n in given),), settings)
    return Example(op, (x,), (sizes(rank),), settings)


Maker = Callable[[str], list[Example]]


def with_settings(**settings: Any) -> Maker:
    return lambda op: [plain(op, **settings)]


def ranked(rank: int) -> Maker:
    return lambda op: [plain(op, rank)]


def last(example: Example) -> Example:
    """The same call with channels last."""
    arrays = []
    for a in example.arrays:
        kernel = example.op.startswith("nn.conv") and a is not example.arrays[0]
        arrays.append(np.moveaxis(a, (0, 1), (-1, -2)) if kernel else np.moveaxis(a, 1, -1))
    return replace(
        example,
        arrays=tuple(arrays),
        settings={**example.settings, "channels": "last"},
        expected=tuple(np.moveaxis(w, 1, -1) for w in example.wanted),
    )


def single(example: Example) -> Example:
    """The same call without the batch axis."""
    arrays = [a[0] for a in example.arrays]
    if example.op.startswith("nn.conv"):
        arrays[1:] = example.arrays[1:]
    return replace(example, arrays=tuple(arrays), expected=tuple(w[0] for w in example.wanted))


def empty(op: str) -> list[Example]:
    """No images: none come out, in the right shape."""
    example = plain(op)
    arrays = [a[:0] if i == 0 or op == "nn.max_unpool" else a for i, a in enumerate(example.arrays)]
    return [replace(example, arrays=tuple(arrays), expected=tuple(w[:0] for w in example.wanted))]


def named_axes(op: str) -> list[Example]:
    """Axes in any order of an array of any shape."""
    x = numbers(5, 3, 6)
    rest: tuple[Any, ...] = ((2, 3),)
    if op in WHOLE:
        rest = ()
    elif op in ADAPTIVE:
        rest = ((4, None),)
    return [Example(op, (x,), rest, {"axes": (2, 0)})]


def bias(op: str) -> list[Example]:
    example = plain(op)
    return [replace(example, arrays=(*example.arrays, numbers(2, seed=5)))]


def padding(op: str) -> list[Example]:
    """By one number."""
    if op != "nn.max_unpool":
        return [plain(op, padding=1, stride=2)]
    # Padding takes points away at both ends: the places are those of what is left.
    example = plain(op, 1, padding=1, stride=2)
    return [replace(example, arrays=(example.arrays[0], np.array([[[0, 2, 3], [3, 1, 0]]])))]


def asymmetric(op: str) -> list[Example]:
    if op != "nn.max_unpool":
        return [plain(op, padding=((1, 0), (0, 1)), stride=1)]
    example = plain(op, 1, padding=((1, 0),))
    return [replace(example, arrays=(example.arrays[0], np.array([[[4, 2, 3], [3, 1, 0]]])))]


def ceil(op: str) -> list[Example]:
    """A partial last window, and one that would start in the padding."""
    return [
        plain(op, 2, stride=(2, 3), padding=1, ceil_mode=True),
        plain(op, 1, stride=5, padding=1, ceil_mode=True),
    ]


def counted(op: str) -> list[Example]:
    padded: dict[str, Any] = {"stride": 2, "padding": ((1, 1), (0, 1)), "ceil_mode": True}
    return [plain(op, **padded, count_include_pad=flag) for flag in (True, False)]


def orders(op: str) -> list[Example]:
    example = plain(op)
    return [replace(example, rest=(*example.rest, p)) for p in (1, 2, 3, 4.5, inf)]


def methods(op: str) -> list[Example]:
    kinds = ("direct", "im2col", "toeplitz", "native", "fft", "overlap_save")
    return [plain(op, 1, method=m) for m in kinds]


def places(op: str) -> list[Example]:
    """With ties, which go to the first place."""
    example = plain(op)
    return [
        replace(example, arrays=(np.round(example.arrays[0]),), settings={"return_indices": True})
    ]


def output_size(op: str) -> list[Example]:
    example = plain(op, 2)
    return [replace(example, settings={"output_size": (7, 9)})]


def lengthened(op: str) -> list[Example]:
    """output_shape beside explicit padding and beside "same"."""
    return [
        plain(op, 1, stride=3, padding=1, output_shape=(11,)),
        plain(op, 1, stride=2, padding="same", output_shape=(7,)),
        plain(op, 1, stride=2, padding="same_lower", output_shape=(7,)),
    ]


def narrow(op: str) -> list[Example]:
    """The plain call in float32; `numbers` are exact in it."""
    example = plain(op)
    arrays = [a if a.dtype.kind == "i" else a.astype("float32") for a in example.arrays]
    return [replace(example, arrays=tuple(arrays), expected=example.wanted)]


def integers(op: str) -> list[Example]:
    example = plain(op)
    arrays = tuple(np.round(8 * a).astype(np.int32) for a in example.arrays[:1])
    arrays += tuple(np.round(8 * a).astype(np.int32) for a in example.arrays[1:2])
    if op == "nn.max_unpool":
        arrays = (arrays[0], example.arrays[1])
    return [replace(example, arrays=arrays)]


def half(op: str) -> list[Example]:
    """Many terms, whose sum in half precision would be far off."""
    if op == "nn.conv":
        return [Example(op, (1 + numbers(1, 8, 42) / 4, np.ones((1, 8, 40))))]
    if op == "nn.conv_transpose":
        return [Example(op, (1 + numbers(1, 80, 2) / 4, np.ones((80, 1, 3))))]
    x = 2 + numbers(1, 1, 300) / 4
    if op in WHOLE:
        return [Example(op, (x,))]
    if op in ADAPTIVE:
        return [Example(op, (x,), ((2,),))]
    return [Example(op, (x,), ((150,),))] if op in WINDOWED else [plain(op)]


def complexes(op: str) -> list[Example]:
    example = plain(op)
    count = 1 if op == "nn.max_unpool" else len(example.arrays)
    mixed = [a + 1j * a[..., ::-1] for a in example.arrays[:count]]
    return [replace(example, arrays=(*mixed, *example.arrays[count:]))]


def holes(op: str) -> list[Example]:
    """One NaN: outputs whose window holds it, and no others."""
    example = plain(op)
    x = example.arrays[0].copy()
    x[0, 0, 1, 1] = np.nan
    settings = {"method": "direct"} if op.startswith("nn.conv") else {}
    found = replace(example, arrays=(x, *example.arrays[1:]), settings=settings)
    return [found]


EXAMPLES: dict[str, Maker] = {
    "1 sliding axis": ranked(1),
    "2 sliding axes": ranked(2),
    "3 sliding axes": ranked(3),
    "4 sliding axes": ranked(4),
    "8 sliding axes": ranked(8),
    "empty batch": empty,
    "no batch axis": lambda op: [single(plain(op))],
    "channels last": lambda op: [last(plain(op))],
    "axes": named_axes,
    "bias": bias,
    "groups": with_settings(groups=2),
    "depthwise": with_settings(groups=4, depth=1),
    "method": methods,
    "stride": with_settings(stride=(2, 3)),
    "dilation": with_settings(dilation=(2, 3), stride=1),
    "padding": padding,
    "asymmetric padding": asymmetric,
    **{
        f'padding "{name}"': with_settings(padding=name, stride=2, dilation=(1, 2))
        for name in ("valid", "same", "same_lower", "full", "causal")
    },
    **{
        f'padding_mode "{mode}"': with_settings(padding=((2, 1), (0, 7)), padding_mode=mode)
        for mode in ("reflect", "symmetric", "replicate", "circular")
    },
    "padding_mode constant": with_settings(padding=((2, 1), (0, 1)), padding_mode=2.5),
    "output_padding": with_settings(stride=(2, 3), output_padding=(1, 2)),
    "output_shape": lengthened,
    "ceil_mode": ceil,
    "count_include_pad": counted,
    "divisor_override": with_settings(stride=2, padding=1, divisor_override=5),
    "p": orders,
    "return_indices": places,
    "keepdims": with_settings(keepdims=False),
    "output_size": output_size,
    "float32": narrow,
    "integers": integers,
    "float16": half,
    "bfloat16": half,
    "complex": complexes,
    "NaN": holes,
}


def normal(*shape: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


_UNEVEN: dict[str, Any] = {
    "stride": (2, 1),
    "dilation": (1, 2),
    "padding": ((1, 2), (0, 1)),
}
_OVERLAPPING = {**_UNEVEN, "ceil_mode": True}
_X = normal(2, 2, 6, 5)

#: Overlapping, strided, dilated, unevenly padded, grouped, with ceil_mode: at smooth points.
DERIVED: dict[str, list[Example]] = {
    "nn.conv": [
        Example(
            "nn.conv",
            (normal(1, 4, 6, 5), normal(4, 2, 3, 2), normal(4)),
            (),
            {**_UNEVEN, "groups": 2},
        ),
        Example(
            "nn.conv",
            (normal(1, 2, 5), normal(2, 2, 3)),
            (),
            {"padding": 2, "padding_mode": "reflect", "stride": 2},
        ),
    ],
    "nn.conv_transpose": [
        Example(
            "nn.conv_transpose",
            (normal(1, 4, 3, 4), normal(4, 1, 3, 2), normal(2)),
            (),
            {**_UNEVEN, "groups": 2, "output_padding": (1, 0)},
        )
    ],
    "nn.max_pool": [Example("nn.max_pool", (_X,), ((3, 2),), _OVERLAPPING)],
    "nn.min_pool": [Example("nn.min_pool", (_X,), ((3, 2),), _OVERLAPPING)],
    "nn.avg_pool": [
        Example("nn.avg_pool", (_X,), ((3, 2),), {**_OVERLAPPING, "count_include_pad": False})
    ],
    "nn.lp_pool": [
        Example("nn.lp_pool", (_X,), ((3, 2),), _OVERLAPPING),
        Example("nn.lp_pool", (_X,), ((3, 2), 3), _OVERLAPPING),
    ],
    "nn.global_max_pool": [Example("nn.global_max_pool", (_X,))],
    "nn.global_avg_pool": [Example("nn.global_avg_pool", (_X,))],
    "nn.global_lp_pool": [Example("nn.global_lp_pool", (_X,), (3,))],
    "nn.adaptive_max_pool": [Example("nn.adaptive_max_pool", (_X,), ((4, 5),))],
    "nn.adaptive_avg_pool": [Example("nn.adaptive_avg_pool", (_X,), ((4, 5),))],
    "nn.max_unpool": [
        Example(
            "nn.max_unpool",
            (normal(1, 2, 3), np.array([[[4, 0, -1], [2, 2, 5]]])),
            ((2,),),
        )
    ],
}
