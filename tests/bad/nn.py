"""Bad input of swath.nn."""

from __future__ import annotations

import numpy as np

from . import (
    DTYPE,
    EMPTY,
    LARGER,
    MIXED,
    NAN,
    OBJECT,
    RANK,
    STRIDE,
    Bad,
    call,
    elsewhere,
    gives,
    ones,
    refuse,
)
from .signal import FOREIGN, NO_OBJECT, NONE

nan = np.nan
CONV, SPREAD, UNPOOL = "nn.conv", "nn.conv_transpose", "nn.max_unpool"
WINDOWED = ("nn.max_pool", "nn.min_pool", "nn.avg_pool", "nn.lp_pool")
WHOLE = ("nn.global_max_pool", "nn.global_avg_pool", "nn.global_lp_pool")
ADAPTIVE = ("nn.adaptive_max_pool", "nn.adaptive_avg_pool")

X, W = ones(1, 2, 6), ones(4, 2, 3)
HOLED = np.array([[[1.0, nan, 1.0, 1.0]]])
PLACES = np.array([[[0, 3]]])


def layer(name: str, kernel: str) -> list[Bad]:
    """What a layer and its transpose have in common."""
    return [
        refuse(
            name, RANK, call(ones(3), W), ValueError,
            r"x must have 3 axes \(N, C, S\), or 2 \(C, S\) without the batch, for a weight of "
            r"shape \(4, 2, 3\); got 1 axes \(shape \(3,\)\)",
        ),
        refuse(
            name, "weight of two axes", call(X, ones(2, 2)), ValueError,
            rf"weight must have at least 3 axes {kernel}, got 2 \(shape \(2, 2\)\)",
        ),
        refuse(name, DTYPE, call(X > 0, W), TypeError, r"x must be numeric, got .*bool; convert"),
        refuse(
            name, MIXED, call(X, elsewhere([[[1.0]]])), TypeError, FOREIGN.format("weight")
        ),
        refuse(
            name, "mixed bias", call(X, W, elsewhere([1.0])), TypeError, FOREIGN.format("bias")
        ),
        refuse(name, OBJECT, call(object(), W), TypeError, NO_OBJECT.format("x")),
        refuse(name, "None", call(X, None), TypeError, NONE.format("weight")),
        refuse(
            name, "zero-size kernel", call(ones(1, 4, 6), ones(4, 4, 0)), ValueError,
            r"weight has no taps on a sliding axis \(shape \(4, 4, 0\)\)",
        ),
    ]  # fmt: skip


def pooling(name: str) -> list[Bad]:
    short = name.removeprefix("nn.")
    mean = np.array([[[nan, {"lp_pool": 2**0.5}.get(short, 1.0)]]])
    return [
        refuse(
            name, RANK, call(ones(3), (2,)), ValueError,
            r"x must have 3 axes \(N, C, S\), or 2 \(C, S\) without the batch, for size \(2,\); "
            r"got 1 axes \(shape \(3,\)\); for other arrays name the sliding axes with axes=",
        ),
        refuse(
            name, "size of an int", call(X, 2), TypeError,
            r"size must be a tuple with one entry per sliding axis, got the int 2; for two sliding "
            r"axes write \(2, 2\), or name them with axes=",
        ),
        refuse(
            name, "size of an array", call(X, ones(1)), TypeError,
            r"size must be a tuple of ints, got \w+ of shape \(1,\)",
        ),
        refuse(name, DTYPE, call(X > 0, (2,)), TypeError, "x must be numeric, got .*bool; convert"),
        refuse(
            name, STRIDE, call(X, (2,), stride=-1), ValueError, "stride must be at least 1, got -1"
        ),
        refuse(
            name, LARGER, call(X, (9,)), ValueError,
            r"a window spans 9 points \(9 taps, dilation 1\), but axis 2 of x has 6 points and "
            r"padding \(0, 0\); pad more or use a smaller window",
        ),
        gives(name, EMPTY, call(ones(0, 2, 6), (2,)), ones(0, 2, 3)),
        refuse(
            name, "zero-size sliding axis", call(ones(1, 2, 0), (2,)), ValueError,
            r"a window spans 2 points .* axis 2 of x has 0 points",
        ),
        gives(name, NAN, call(HOLED, (2,)), mean),
        refuse(name, OBJECT, call(object(), (2,)), TypeError, NO_OBJECT.format("x")),
    ]  # fmt: skip


def whole(name: str) -> list[Bad]:
    return [
        refuse(
            name, RANK, call(ones(3)), ValueError,
            r"x must have at least 3 axes \(N, C, \*S\), got 1 \(shape \(3,\)\); for other arrays",
        ),
        refuse(name, DTYPE, call(X > 0), TypeError, "x must be numeric, got .*bool; convert it"),
        gives(name, EMPTY, call(ones(0, 2, 6)), ones(0, 2, 1)),
        refuse(
            name, "zero-size sliding axis", call(ones(1, 2, 0)), ValueError,
            r"axis 2 of x has no points to pool \(shape \(1, 2, 0\)\)",
        ),
        gives(name, NAN, call(HOLED), [[[nan]]]),
        refuse(name, OBJECT, call(object()), TypeError, NO_OBJECT.format("x")),
    ]  # fmt: skip


def adaptive(name: str) -> list[Bad]:
    return [
        refuse(
            name, RANK, call(ones(3), (2,)), ValueError,
            r"x must have 3 axes \(N, C, S\), or 2 \(C, S\) without the batch, for output_size",
        ),
        refuse(name, DTYPE, call(X > 0, (2,)), TypeError, "x must be numeric, got .*bool; convert"),
        gives(name, LARGER, call(ones(1, 1, 2), (3,)), ones(1, 1, 3)),
        refuse(
            name, "negative size", call(X, (-1,)), ValueError,
            "output_size must be at least 1, got -1",
        ),
        refuse(
            name, "size of floats", call(X, (1.5,)), TypeError,
            "output_size must be an int, got float 1.5",
        ),
        gives(name, EMPTY, call(ones(0, 2, 6), (2,)), ones(0, 2, 2)),
        gives(name, NAN, call(HOLED, (2,)), [[[nan, 1.0]]]),
        refuse(name, OBJECT, call(object(), (2,)), TypeError, NO_OBJECT.format("x")),
    ]  # fmt: skip


BAD: list[Bad] = [
    *layer(CONV, r"\(O, C/groups, \*K\)"),
    refuse(CONV, STRIDE, call(X, W, stride=-1), ValueError, "stride must be at least 1, got -1"),
    refuse(
        CONV, LARGER, call(X, ones(4, 2, 9), padding="valid"), ValueError,
        r"weight spans 9 points \(9 taps, dilation 1\), but axis 2 of x has 6 points and padding "
        r"\(0, 0\); pad more or use a smaller kernel",
    ),
    gives(CONV, EMPTY, call(ones(0, 2, 6), W), ones(0, 4, 4)),
    gives(CONV, "zero-size channels", call(ones(1, 0, 6), ones(4, 0, 3)), np.zeros((1, 4, 4))),
    gives(CONV, NAN, call(HOLED, ones(1, 1, 2), method="direct"), [[[nan, nan, 2.0]]]),
    refuse(
        CONV, "groups that do not fit", call(X, W, groups=3), ValueError,
        r"weight has 2 input channels × 3 groups = 6, but x has 2 channels",
    ),
    refuse(
        CONV, "bias of another length", call(X, W, ones(3)), ValueError,
        r"bias must have shape \(4,\), one entry per output channel; got \(3,\)",
    ),
    refuse(
        CONV, "negative padding", call(X, W, padding=-1), ValueError,
        r"padding must be 0 or more, got \(-1, -1\); slice the input to crop",
    ),
    refuse(
        CONV, "ambiguous padding", call(X, W, padding=(1, 2)), ValueError,
        r"padding \(1, 2\) is ambiguous for one sliding axis; write \(\(1, 2\),\) for \(low, high",
    ),
    refuse(
        CONV, "unknown padding mode", call(X, W, padding_mode="zap"), ValueError,
        "padding_mode must be one of 'zeros', .*, or a number; got 'zap'",
    ),
    *layer(SPREAD, r"\(C, O/groups, \*K\)"),
    refuse(
        SPREAD, STRIDE, call(ones(1, 4, 6), W, stride=-1), ValueError,
        "stride must be at least 1, got -1",
    ),
    gives(SPREAD, LARGER, call(ones(1, 1, 1), ones(1, 1, 3)), ones(1, 1, 3)),
    gives(SPREAD, EMPTY, call(ones(0, 4, 6), W), ones(0, 2, 8)),
    refuse(
        SPREAD, "zero-size sliding axis", call(ones(1, 4, 0), W), ValueError,
        r"x has no points on a sliding axis \(shape \(1, 4, 0\)\), so there is nothing to spread",
    ),
    gives(
        SPREAD, NAN, call(HOLED, ones(1, 1, 2), method="direct"), [[[1.0, nan, nan, 2.0, 1.0]]]
    ),
    refuse(
        SPREAD, "padding of everything", call(ones(1, 4, 6), W, padding=9), ValueError,
        r"padding \(9, 9\) leaves no output on sliding axis 0: 6 points of x spread over 8",
    ),
    *(row for name in WINDOWED for row in pooling(name)),
    *(
        refuse(name, "complex", call(1j * X, (2,)), TypeError, "x must be real, got .*complex")
        for name in ("nn.max_pool", "nn.min_pool", "nn.adaptive_max_pool")
    ),
    refuse(
        "nn.lp_pool", "order below 1", call(X, (2,), 0.5), ValueError,
        r"p must be at least 1 \(a norm\), got 0.5",
    ),
    refuse(
        "nn.avg_pool", "division by 0", call(X, (2,), divisor_override=0), ValueError,
        "divisor_override must not be 0",
    ),
    *(row for name in WHOLE for row in whole(name)),
    *(row for name in ADAPTIVE for row in adaptive(name)),
    refuse(
        UNPOOL, RANK, call(ones(2), np.array([0, 1]), (2,)), ValueError,
        r"x must have 3 axes \(N, C, S\), or 2 \(C, S\) without the batch, for size \(2,\)",
    ),
    refuse(
        UNPOOL, DTYPE, call(ones(1, 1, 2), ones(1, 1, 2), (2,)), TypeError,
        r"indices must be integers, got \w+ of shape \(1, 1, 2\), dtype float",
    ),
    refuse(
        UNPOOL, MIXED, call(ones(1, 1, 2), elsewhere(PLACES), (2,)), TypeError,
        FOREIGN.format("indices"),
    ),
    refuse(
        UNPOOL, STRIDE, call(ones(1, 1, 2), PLACES, (2,), stride=-1), ValueError,
        "stride must be at least 1, got -1",
    ),
    gives(UNPOOL, EMPTY, call(ones(1, 1, 0), PLACES[:, :, :0], (2,)), ones(1, 1, 0)),
    gives(
        UNPOOL, NAN, call(np.array([[[1.0, nan]]]), PLACES, (2,)), [[[1.0, 0.0, 0.0, nan]]]
    ),
    refuse(UNPOOL, OBJECT, call(object(), PLACES, (2,)), TypeError, NO_OBJECT.format("x")),
    refuse(UNPOOL, "None", call(ones(1, 1, 2), None, (2,)), TypeError, NONE.format("indices")),
    refuse(
        UNPOOL, "places outside", call(ones(1, 1, 2), PLACES + 9, (2,)), ValueError,
        r"indices hold 12, but the output has 4 points per channel .* give output_size the lengths",
    ),
]  # fmt: skip

NEVER = [
    (MIXED, "takes one array", (*WINDOWED, *WHOLE, *ADAPTIVE)),
    (STRIDE, "has no stride", (*WHOLE, *ADAPTIVE)),
    (LARGER, "the window is the whole of the sliding axes", WHOLE),
    (LARGER, "the window is that of the pooling before, of any length", (UNPOOL,)),
]
