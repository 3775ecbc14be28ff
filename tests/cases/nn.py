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
]
