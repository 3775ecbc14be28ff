"""What PyTorch's functional layers refuse: each such call, in PyTorch and in swath.

One table of calls, for one, two and three axes, that break one argument of a layer at a time. Every
one of them must raise in PyTorch. In swath it raises ValueError or TypeError with a text that names
the layer, the argument and what was given, and says what would work; or swath means to accept it,
the reason stands beside, and the result is that of plain loops (tests/oracles_layers.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import swath
from oracles_layers import LAYERS as LOOPS
from swath import nn
from swath.testing import assert_close

# Words that say what would work.
ADVICE = re.compile(
    r"must|need|give |write |use |at least|one of|convert|fits|pad more|swath moves nothing"
)


@dataclass(frozen=True)
class Call:
    """A layer's call in PyTorch's words; what the error says, or why there is none in swath.

    `args` follow PyTorch's order and `names` are swath's keywords for those after the arrays.
    """

    layer: str
    rank: int
    label: str
    args: tuple[Any, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    argument: str = ""
    given: str = ""
    reason: str = ""
    wanted: Any = None

    @property
    def id(self) -> str:
        return f"{self.layer}{self.rank}d-{self.label}".replace(" ", "-")

    def torch(self) -> Any:
        import torch
        import torch.nn.functional as F

        args = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in self.args]
        if self.layer == "lp_pool":
            # PyTorch's order: norm_type before kernel_size.
            args[1:] = [args[2] if len(args) > 2 else 2.0, args[1]]
        return getattr(F, f"{self.layer}{self.rank}d")(*args, **self.settings)

    def swath(self) -> Any:
        return getattr(nn, self.layer)(*self.args, **self.settings)

    def loops(self) -> Any:
        """What swath must return where it accepts the call."""
        if self.wanted is not None:
            return self.wanted
        return LOOPS[f"nn.{self.layer}"](*self.args, **self.settings)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape)


def some(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape)


def numbers(label: str) -> list[tuple[str, Any, str]]:
    """Values that are no positive int for every axis, with what the text says of them."""
    return [
        (f"{label} zero", 0, "got 0"),
        (f"{label} negative", -1, "got -1"),
        (f"{label} fraction", 1.5, r"got float 1\.5"),
        (f"{label} text", "a", "got (str )?'a'"),
        (f"{label} one too many", None, r"got \(1, 1"),
    ]


def broken(n: int) -> list[Call]:
    """Calls with n sliding axes that both libraries refuse, and those that swath takes."""
    points = (7, 6, 5)[:n]
    many = (1,) * (n + 1)
    crowd = r"\(1, 1\) is ambiguous" if n == 1 else f"{n + 1} entries"
    rows: list[Call] = []

    def refuse(layer: str, label: str, argument: str, given: str, *args: Any, **settings: Any):
        rows.append(Call(layer, n, label, args, settings, argument, given))

    def accept(layer: str, label: str, reason: str, *args: Any, **settings: Any):
        rows.append(Call(layer, n, label, args, settings, reason=reason))

    # -- conv and its transpose
    x = ones(1, 4, *points)
    for layer, w in (("conv", ones(6, 4, *(3,) * n)), ("conv_transpose", ones(4, 6, *(3,) * n))):
        refuse(layer, "rank of x", "x", f"got {n} axes", ones(*points), w)
        refuse(layer, "rank of weight", "weight", "got 2", x, ones(6, 4))
        depth = ones(6, 3, *(3,) * n) if layer == "conv" else ones(3, 6, *(3,) * n)
        refuse(layer, "channels", "weight", "3 input channels.* 4 channels", x, depth)
        refuse(layer, "groups that do not fit", "groups", "4 channels|channels", x, w, groups=3)
        refuse(layer, "no groups", "groups", "got 0", x, w, groups=0)
        refuse(layer, "negative groups", "groups", "got -1", x, w, groups=-1)
        refuse(layer, "half a group", "groups", r"got float 1\.5", x, w, groups=1.5)
        refuse(layer, "short bias", "bias", r"got \(5,\)", x, w, ones(5))
        refuse(layer, "bias of two axes", "bias", r"got \(1, 6\)", x, w, ones(1, 6))
        refuse(layer, "no taps", "weight", r"shape \(\d, \d, 0", x, w[..., :0] if n == 1 else
               ones(*w.shape[:2], *(0,) * n))  # fmt: skip
        refuse(layer, "weight None", "weight", "got None", x, None)
        refuse(layer, "bool", "x", "bool", x > 0, w > 0)
        for name in ("stride", "dilation"):
            for label, value, given in numbers(name):
                value = many if value is None else value
                refuse(layer, label, name, given, x, w, **{name: value})
            refuse(layer, f"{name} None", name, "got None", x, w, **{name: None})
        refuse(layer, "padding negative", "padding", r"got \(-1, -1\)", x, w, padding=-1)
        refuse(layer, "padding fraction", "padding", r"got 1\.5", x, w, padding=1.5)
        refuse(layer, "padding text", "padding", "got 'some'", x, w, padding="some")
        refuse(layer, "padding one too many", "padding", crowd, x, w, padding=many)
        refuse(layer, "padding None", "padding", "got None", x, w, padding=None)
        if layer == "conv" or n > 1:
            refuse(layer, "padding bool", "padding", "got True", x, w, padding=True)
        accept(
            layer, "an integer weight", "integers take the float operand's dtype",
            some(1, 4, *points), np.asarray(np.round(3 * some(*w.shape)), np.int64),
        )  # fmt: skip
        accept(
            layer, "a weight of another precision", "the wider dtype holds both",
            some(1, 4, *points), some(*w.shape).astype(np.float32),
        )  # fmt: skip
    refuse("conv", "rows that groups do not divide", "groups", "5 output channels", x,
           ones(5, 2, *(3,) * n), groups=2)  # fmt: skip
    refuse("conv", "dilation too large", "weight", "spans 19 points", x, ones(6, 4, *(3,) * n),
           dilation=9)  # fmt: skip
    refuse("conv", "weight too large", "weight", "spans 9 points", x, ones(6, 4, *(9,) * n))
    rest = tuple(k - 2 for k in points[:-1])
    rows.append(
        Call("conv", n, "x without points", (x[..., :0], ones(6, 4, *(3,) * n)),
             reason="an empty axis gives an empty result", wanted=ones(1, 6, *rest, 0))
    )  # fmt: skip
    accept("conv", "same with strides", "TensorFlow's rule holds for every stride",
           some(1, 4, *points), some(6, 4, *(3,) * n), padding="same", stride=2)  # fmt: skip
    accept("conv", "full", "every window that touches x",
           some(1, 4, *points), some(6, 4, *(3,) * n), padding="full")  # fmt: skip
    accept("conv", "no output channels", "an empty result is a result",
           some(1, 4, *points), some(0, 4, *(3,) * n))  # fmt: skip
    w = ones(4, 6, *(3,) * n)
    refuse("conv_transpose", "output_padding negative", "output_padding", "got -1", x, w,
           output_padding=-1)  # fmt: skip
    refuse("conv_transpose", "output_padding of a stride", "output_padding", "got 2", x, w,
           stride=2, output_padding=2)  # fmt: skip
    refuse("conv_transpose", "output_padding fraction", "output_padding", r"got float 0\.5", x, w,
           output_padding=0.5)  # fmt: skip
    refuse("conv_transpose", "output_padding one too many", "output_padding", r"got \(0, 0", x, w,
           output_padding=(0,) * (n + 1))  # fmt: skip
    refuse("conv_transpose", "padding beyond the output", "padding", r"\(9, 9\)", x, w, padding=9)
    accept("conv_transpose", "same", "stride × points, as in Keras and JAX",
           some(1, 4, *points), some(4, 6, *(3,) * n), padding="same", stride=2)  # fmt: skip

    # -- pooling
    x, two = ones(1, 2, *points), (2,) * n
    wrong = ones(*[3] * (4 if n == 1 else 1))
    for layer in ("max_pool", "avg_pool", "lp_pool"):
        p = (2.0,) if layer == "lp_pool" else ()
        if n > 1 or layer != "lp_pool":
            refuse(layer, "rank of x", "x", "got 1 axes|got 4 axes", wrong,
                   two, *p)  # fmt: skip
        refuse(layer, "size zero", "size", "got 0", x, (0,) * n, *p)
        refuse(layer, "size negative", "size", "got -1", x, (-1,) * n, *p)
        refuse(layer, "size fraction", "size", r"got float 1\.5", x, (1.5,) * n, *p)
        refuse(layer, "size text", "size", "got (str )?'a'", x, "a", *p)
        refuse(layer, "size None", "size", "got None", x, None, *p)
        refuse(layer, "size too large", "window", "spans 9 points", x, (9,) * n, *p)
        for label, value, given in numbers("stride"):
            if label == "stride one too many" and (layer == "lp_pool" and n == 1):
                continue
            refuse(layer, label, "stride", given, x, two, *p,
                   stride=many if value is None else value)  # fmt: skip
        refuse(
            layer, "ceil_mode text", "ceil_mode", "got (str )?'yes'", x, two, *p, ceil_mode="yes"
        )
        if layer != "lp_pool":
            refuse(layer, "padding negative", "padding", r"got \(-1, -1\)", x, two, padding=-1)
            refuse(layer, "padding fraction", "padding", r"got 1\.5", x, two, padding=0.5 + 1)
            refuse(layer, "padding one too many", "padding", crowd, x, two,
                   padding=many)  # fmt: skip
            refuse(layer, "padding text", "padding", "got 'some'", x, two, padding="some")
            accept(layer, "padding over half a window", "padding never wins, and counts as it says",
                   some(1, 2, *points), two, padding=2, stride=1)  # fmt: skip
            accept(layer, "same", "⌈S / stride⌉ outputs", some(1, 2, *points), two, padding="same")
        if layer != "lp_pool":
            refuse(layer, "bool", "x", "bool", x > 0, two, *p)
    for label, value, given in numbers("dilation"):
        refuse(
            "max_pool", label, "dilation", given, x, two, dilation=many if value is None else value
        )
    refuse("max_pool", "complex", "x", "complex", x + 0j, two)
    refuse("max_pool", "dilation too large", "window", "spans 10 points", x, two, dilation=9)
    accept("avg_pool", "integers", "integers become the default float",
           np.round(5 * some(1, 2, *points)).astype(np.int32), two)  # fmt: skip
    refuse("avg_pool", "count_include_pad text", "count_include_pad", "got (str )?'no'", x, two,
           count_include_pad="no")  # fmt: skip
    if n > 1:
        refuse("avg_pool", "divisor zero", "divisor_override", "0", x, two, divisor_override=0)
        refuse("avg_pool", "divisor text", "divisor_override", "got (str )?'a'", x, two,
               divisor_override="a")  # fmt: skip
        accept("avg_pool", "divisor fraction", "any number divides", some(1, 2, *points), two,
               divisor_override=2.5)  # fmt: skip
    else:
        accept("avg_pool", "divisor", "for any number of axes", some(1, 2, *points), two,
               divisor_override=3)  # fmt: skip
    accept("avg_pool", "dilation", "in every pool", some(1, 2, *points), two, dilation=2)
    accept("lp_pool", "padding", "in every pool", some(1, 2, *points), two, 2.0, padding=1)
    refuse("lp_pool", "p text", "p", "got (str )?'two'", x, two, "two")

    # -- adaptive pooling
    for layer in ("adaptive_max_pool", "adaptive_avg_pool"):
        refuse(layer, "rank of x", "x", "got 1 axes|got 4 axes", wrong, two)
        refuse(layer, "output_size negative", "output_size", "got -1", x, (-1,) * n)
        refuse(layer, "output_size fraction", "output_size", r"got float 1\.5", x, (1.5,) * n)
        refuse(layer, "output_size text", "output_size", "got (str )?'a'", x, "a")
        refuse(layer, "output_size one too many", "x|output_size", "axes|got", x, (1,) * (n + 2))
        refuse(layer, "no points", "x", "no points", x[..., :0], two)
    refuse("adaptive_max_pool", "complex", "x", "complex", x + 0j, two)
    refuse("adaptive_max_pool", "bool", "x", "bool", x > 0, two)

    # -- unpooling
    places = np.zeros((1, 2, *points), np.int64)
    x = ones(1, 2, *points)
    refuse(
        "max_unpool",
        "indices of another shape",
        "indices",
        r"got \(1, 2, ",
        x,
        places[..., 1:],
        two,
    )
    refuse("max_unpool", "fractional indices", "indices", "float64", x, x, two)
    refuse("max_unpool", "size text", "size", "got (str )?'a'", x, places, "a")
    refuse("max_unpool", "indices beyond", "indices", "hold 99999", x, places + 99999, two)
    refuse("max_unpool", "negative indices", "indices", "hold -2", x, places - 2, two)
    refuse("max_unpool", "rank of x", "x", "axes", ones(3), np.zeros(3, np.int64), (2,) * max(n, 2))
    refuse("max_unpool", "stride text", "stride", "got (str )?'a'", x, places, two, stride="a")
    refuse("max_unpool", "padding text", "padding", "got 'a'", x, places, two, padding="a")
    refuse("max_unpool", "output_size one too many", "output_size", r"got \(9, 9", x, places, two,
           output_size=(9,) * (n + 3))  # fmt: skip
    one = np.arange(np.prod(points)).reshape(1, 1, *points)
    accept("max_unpool", "any output_size that holds the places",
           "the places alone say where values go", some(1, 1, *points), one, two,
           output_size=tuple(5 * k for k in points))  # fmt: skip
    return rows


CALLS = [call for n in (1, 2, 3) for call in broken(n)]


@pytest.mark.needs("torch")
@pytest.mark.parametrize("call", [pytest.param(c, id=c.id) for c in CALLS])
def test_what_pytorch_refuses_is_refused_or_meant(call):
    with pytest.raises((RuntimeError, TypeError, ValueError, NotImplementedError, IndexError)):
        call.torch()
    if call.reason:
        assert_close(call.swath(), call.loops())
        return
    with pytest.raises((ValueError, TypeError)) as caught:
        call.swath()
    text = str(caught.value).partition(" [")[0]
    assert text.startswith(f"{call.layer}: ")
    assert re.search(rf"\b({call.argument})\b", text), text
    assert re.search(call.given, text), text
    assert ADVICE.search(text), text


X = np.ones((1, 2, 6, 5))
FOLDS = {
    # (PyTorch's unfold of a (1, 2, 6, 5) image; swath's windows; the text, or the reason)
    "size zero": (((0, 2), {}), ((0, 2), {}), "size must be at least 1, got 0"),
    "size negative": (((-1, 2), {}), ((-1, 2), {}), "size must be at least 1, got -1"),
    "size fraction": (((1.5, 2), {}), ((1.5, 2), {}), r"size must be an int, got float 1\.5"),
    "size text": (("a", {}), ("a", {}), "size must be an int or a tuple of ints, got"),
    "size too large": (((7, 2), {}), ((7, 2), {}), "a window of size 7 .* but axis 2 has 6"),
    "stride zero": (((2, 2), {"stride": 0}), ((2, 2), {"stride": 0}), "stride .*got 0"),
    "stride negative": (((2, 2), {"stride": -1}), ((2, 2), {"stride": -1}), "stride .*got -1"),
    "stride text": (((2, 2), {"stride": "a"}), ((2, 2), {"stride": "a"}), "stride .*'a'"),
    "dilation zero": (((2, 2), {"dilation": 0}), ((2, 2), {"dilation": 0}), "dilation .*got 0"),
    "dilation text": (((2, 2), {"dilation": "a"}), ((2, 2), {"dilation": "a"}), "dilation .*'a'"),
    "stride one too many": (
        ((2, 2), {"stride": (1, 1, 1)}), ((2, 2), {"stride": (1, 1, 1)}), r"stride .*\(1, 1, 1\)",
    ),
}  # fmt: skip


@pytest.mark.needs("torch")
@pytest.mark.op("sliding_windows")
@pytest.mark.parametrize("name", list(FOLDS))
def test_what_unfold_refuses(name):
    import torch
    import torch.nn.functional as F

    (size, settings), (own, keywords), text = FOLDS[name]
    with pytest.raises((RuntimeError, TypeError, AssertionError)):
        F.unfold(torch.tensor(X), size, **settings)
    with pytest.raises((ValueError, TypeError), match=f"^sliding_windows: .*{text}"):
        swath.sliding_windows(X, own, axes=(2, 3), **keywords)


BLOCKS = np.ones((1, 2, 5, 4, 2, 2))
ADDED = {
    # (PyTorch's fold of 20 columns of 2·2·2; the target and keywords of overlap_add; its text)
    "target too small": (
        ((5, 5), (2, 2), {}),
        ((1, 2, 5, 5), {}),
        r"blocks .* shape \(1, 2, 5, 5\)",
    ),
    "target too large": (
        ((9, 5), (2, 2), {}),
        ((1, 2, 9, 5), {}),
        r"blocks .* shape \(1, 2, 9, 5\)",
    ),
    "target negative": (
        ((-6, 5), (2, 2), {}),
        ((1, 2, -6, 5), {}),
        "shape must be at least 0, got -6",
    ),
    "target text": (("a", (2, 2), {}), ("a", {}), "shape .*'a'"),
    "stride zero": (
        ((6, 5), (2, 2), {"stride": 0}),
        ((1, 2, 6, 5), {"stride": 0}),
        "stride .*got 0",
    ),
    "stride that does not fit": (
        ((6, 5), (2, 2), {"stride": 2}),
        ((1, 2, 6, 5), {"stride": 2}),
        r"blocks .* have shape \(1, 2, 3, 2, 2, 2\)",
    ),
    "dilation zero": (
        ((6, 5), (2, 2), {"dilation": 0}),
        ((1, 2, 6, 5), {"dilation": 0}),
        "dilation .*got 0",
    ),
    "dilation that does not fit": (
        ((6, 5), (2, 2), {"dilation": 2}),
        ((1, 2, 6, 5), {"dilation": 2}),
        r"blocks .* have shape \(1, 2, 4, 3, 2, 2\)",
    ),
}


@pytest.mark.needs("torch")
@pytest.mark.op("overlap_add")
@pytest.mark.parametrize("name", list(ADDED))
def test_what_fold_refuses(name):
    import torch
    import torch.nn.functional as F

    (target, size, settings), (shape, keywords), text = ADDED[name]
    columns = torch.ones((1, 8, 20), dtype=torch.float64)
    with pytest.raises((RuntimeError, TypeError, AssertionError)):
        F.fold(columns, target, size, **settings)
    with pytest.raises((ValueError, TypeError), match=f"^overlap_add: .*({text})"):
        swath.overlap_add(BLOCKS, shape, axes=(2, 3), **keywords)


def test_the_table_breaks_every_argument_of_every_layer():
    """And both ways occur: most calls are refused, and what is accepted has its reason."""
    told = {(c.layer, c.argument) for c in CALLS}
    for layer, names in {
        "conv": ("x", "weight", "bias", "stride", "padding", "dilation", "groups"),
        "conv_transpose": ("x", "weight", "bias", "stride", "padding", "output_padding", "dilation",
                           "groups"),
        "max_pool": ("x", "size", "stride", "padding", "dilation", "ceil_mode"),
        "avg_pool": ("x", "size", "stride", "padding", "ceil_mode", "count_include_pad",
                     "divisor_override"),
        "lp_pool": ("x", "size", "p", "stride", "ceil_mode"),
        "adaptive_max_pool": ("x", "output_size"),
        "adaptive_avg_pool": ("x", "output_size"),
        "max_unpool": ("x", "indices", "size", "stride", "padding", "output_size"),
    }.items():  # fmt: skip
        assert {(layer, n) for n in names} <= {(layer, a) for lay, n in told if lay == layer
                                               for a in n.split("|")}  # fmt: skip
    assert len(CALLS) > 480
    assert sum(bool(c.reason) for c in CALLS) > 40
