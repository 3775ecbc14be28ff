"""Cases of swath.nn."""

from __future__ import annotations

from typing import Any

from . import Case


def _arrays(*shapes: tuple[int, ...], **keywords: Any) -> Any:
    """Arrays of standard normals of these shapes, and keywords."""

    def make(xp: Any, rng: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return tuple(xp.asarray(rng.standard_normal(s)) for s in shapes), keywords

    return make


CASES: list[Case] = [
    Case(
        "nn.conv",
        "strided-grouped-bias",
        _arrays(
            (2, 4, 7, 6), (4, 2, 3, 2), (4,), stride=(2, 1), padding=((1, 0), (0, 2)), groups=2
        ),
    ),
    Case(
        "nn.conv",
        "last-dilated-reflect",
        _arrays(
            (1, 9, 2), (3, 2, 3), dilation=2, padding=2, padding_mode="reflect", channels="last"
        ),
    ),
    Case(
        "nn.conv_transpose",
        "strided-grouped-bias",
        _arrays((2, 4, 4), (4, 1, 3), (2,), stride=2, padding=1, output_padding=1, groups=2),
    ),
    Case(
        "nn.max_pool",
        "overlapping-dilated-padded",
        _arrays((2, 9, 8), size=(3, 2), stride=(2, 1), padding=((1, 0), (0, 1)), dilation=(1, 2)),
    ),
    Case("nn.max_pool", "axes-ceil", _arrays((7, 2), size=3, axes=0, stride=2, ceil_mode=True)),
    Case("nn.min_pool", "last", _arrays((1, 8, 2), size=(3,), stride=2, channels="last")),
    Case(
        "nn.avg_pool",
        "overlapping-ceil-exclusive",
        _arrays(
            (2, 7, 6),
            size=(3, 2),
            stride=(2, 1),
            padding=1,
            ceil_mode=True,
            count_include_pad=False,
        ),
    ),
    Case("nn.lp_pool", "squares", _arrays((2, 2, 8), size=(3,), stride=2, padding=1)),
    Case("nn.lp_pool", "cubes-axes", _arrays((6, 5), size=2, p=3, axes=(0, 1), stride=1)),
    Case("nn.global_max_pool", "first", _arrays((2, 2, 3, 4))),
    Case("nn.global_avg_pool", "last", _arrays((2, 3, 4, 2), channels="last", keepdims=False)),
    Case("nn.global_lp_pool", "cubes", _arrays((2, 2, 5), p=3)),
    Case("nn.adaptive_max_pool", "uneven", _arrays((2, 7, 6), output_size=(3, 4))),
    Case("nn.adaptive_avg_pool", "uneven", _arrays((2, 7, 6), output_size=(3, None))),
    Case(
        "nn.max_unpool",
        "dropped-and-equal-places",
        lambda xp, rng: (
            (
                xp.asarray(rng.standard_normal((1, 2, 3))),
                xp.asarray([[[4, 0, -1], [2, 2, 5]]]),
                (2,),
            ),
            {},
        ),
    ),
]
