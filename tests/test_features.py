"""Every feature that the operations of swath.nn record, on every library that it is recorded for.

The record (`features` and `lacks` of `swath.operations()`) decides what runs: each feature is
called, for every operation that claims it, on a row of every library, and held against loops
(tests/oracles_layers.py); derivatives against difference quotients of those loops. What is recorded
as a gap must be refused in the recorded words. A claim without an example fails, and so does an
argument of a layer that no feature shows. The documentation's table is made from the same record.

On JAX all calls of one feature are one compiled program.
"""

from __future__ import annotations

import functools
import inspect
import re
from importlib.util import find_spec

import numpy as np
import pytest

import feature_cases
import rows
import swath
from feature_cases import DERIVED, EXAMPLES
from swath.registry import features
from swath.testing import assert_close

LAYERS = {n: r for n, r in swath.operations().items() if n.startswith("nn.")}
CALLED = [n for n, f in features().items() if f.kind in ("shapes", "arguments", "values")]
#: Names of the operations that have or refuse a feature.
HOLDERS = {
    name: [op for op, r in LAYERS.items() if name in r.features or name in r.lacks]
    for name in features()
}
ROWS = ("numpy", "jax-jit", "torch", "strict", "dpnp", "dask", "cupy")
HALF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


def marked(names):
    """Features as parameters that carry the names of their operations."""
    return [pytest.param(n, id=n, marks=pytest.mark.op(*HOLDERS[n])) for n in names]


def compiled(xp, program, given):
    """A program, on jax-jit compiled as one."""
    if not xp.traced:
        return program(given)
    import jax

    return jax.jit(program)(given)


# -- calls


def prepared(xp, example, feature):
    """Arrays of the row, and the outputs that they must give."""
    if feature not in HALF:
        return [xp.asarray(a, str(a.dtype)) for a in example.arrays], example.wanted
    # Dask's namespace leaves the dtypes to NumPy's.
    kind = getattr(np if xp.backend == "dask" else xp.namespace, feature)
    given, seen = [], []
    for a in example.arrays:
        array = xp.asarray(a)
        if a.dtype.kind == "f":
            array = _cast(xp, array, kind)
        given.append(array)
        seen.append(xp.numpy(array).astype(a.dtype))
    found = example.loops(*seen)
    return given, found if isinstance(found, tuple) else (found,)


def _cast(xp, array, kind):
    return array.to(kind) if xp.backend == "torch" else array.astype(kind)


@pytest.mark.on(*ROWS)
@pytest.mark.parametrize("feature", marked(CALLED))
def test_every_recorded_feature_runs_or_is_refused(xp, feature):
    runs, wanted = [], []
    for op in HOLDERS[feature]:
        why = LAYERS[op].gap(xp.backend, feature)
        if why is not None:
            refused(xp, op, feature, why)
            continue
        for example in EXAMPLES[feature](op):
            arrays, outputs = prepared(xp, example, feature)
            runs.append((example, arrays))
            wanted.append(outputs)

    def program(given):
        return [
            LAYERS[e.op].function(*arrays, *e.rest, **e.settings)
            for (e, _), arrays in zip(runs, given, strict=True)
        ]

    results = compiled(xp, program, [arrays for _, arrays in runs])
    for (example, _), result, outputs in zip(runs, results, wanted, strict=True):
        found = result if isinstance(result, tuple) else (result,)
        for got, want in zip(found, outputs, strict=True):
            try:
                compare(got, want, feature)
            except AssertionError as error:
                raise AssertionError(f"{example.op} {example.settings}: {error}") from None


def compare(got, want, feature):
    if feature in HALF:
        # One rounding of what float32 accumulated.
        assert_close(got, want, bound=1.05 * HALF[feature] * np.abs(want), dtype=feature)
    elif feature == "float32" and np.asarray(want).dtype.kind == "f":
        assert_close(got, want, dtype="float32")
    else:
        assert_close(got, want)


def refused(xp, op, feature, why):
    """A recorded gap: the library lacks the dtype, or swath says why not."""
    if feature in HALF:
        assert feature in why
        assert not hasattr(xp.namespace, feature)
        if xp.backend == "numpy" and find_spec("ml_dtypes") is not None:
            # A dtype from elsewhere (it comes with JAX) is refused in words.
            import ml_dtypes

            example = EXAMPLES["1 sliding axis"](op)[0]
            x = example.arrays[0].astype(getattr(ml_dtypes, feature))
            with pytest.raises(TypeError, match=rf"x must hold numbers, got .*{feature}"):
                LAYERS[op].function(x, *example.arrays[1:], *example.rest)
        return
    known = inspect.signature(LAYERS[op].function).parameters
    example = EXAMPLES[feature](op)[0]
    settings = {k: v for k, v in example.settings.items() if k in known}
    arrays = [xp.asarray(a, str(a.dtype)) for a in example.arrays]
    with pytest.raises((TypeError, ValueError), match=re.escape(why)):
        LAYERS[op].function(*arrays, *example.rest, **settings)


# -- derivatives and transformations


class Truth:
    """Values and difference quotients of the loops for one example.

    With directions d, e of all differentiable arrays together and a cotangent y: the value f, its
    slope f'·d, ⟨y, f'·dᵢ⟩ for every argument alone, and e·H·d of ½‖f‖².
    """

    def __init__(self, example):
        rng = np.random.default_rng(17)
        self.example = example
        arrays = [np.asarray(a) for a in example.arrays[: example.differentiable]]
        self.arrays = arrays
        self.d, self.e = ([rng.standard_normal(a.shape) for a in arrays] for _ in range(2))
        self.value = example.loops()
        self.y = rng.standard_normal(self.value.shape)

        def at(*moves):
            moved = [a + sum(h * v[i] for h, v in moves) for i, a in enumerate(arrays)]
            return example.loops(*moved)

        h = 1e-6
        self.slope = (at((h, self.d)) - at((-h, self.d))) / (2 * h)
        self.each = []
        for i in range(len(arrays)):
            alone = [v if i == j else np.zeros_like(v) for j, v in enumerate(self.d)]
            change = (at((h, alone)) - at((-h, alone))) / (2 * h)
            self.each.append(float(np.sum(self.y * change)))
        h, self.bend = 3e-4, 0.0
        for s in (1, -1):
            for t in (1, -1):
                energy = np.sum(at((s * h, self.d), (t * h, self.e)) ** 2) / 2
                self.bend += s * t * float(energy) / (4 * h * h)

    def gradients(self, xp, found):
        for got, along, want, like in zip(found, self.d, self.each, self.arrays, strict=True):
            assert tuple(got.shape) == like.shape
            self._near(float(np.sum(xp.numpy(got) * along)), want, 1e-7)

    def pushed(self, xp, found):
        assert_close(found, self.slope, rtol=1e-7)

    def curvature(self, xp, found):
        """`found`: H·d, one array for each argument."""
        got = sum(float(np.sum(xp.numpy(f) * e)) for f, e in zip(found, self.e, strict=True))
        self._near(got, self.bend, 2e-5)

    def _near(self, got, want, relative):
        limit = relative * (1 + abs(want) + float(np.sum(np.abs(self.y))))
        assert abs(got - want) <= limit, f"{got} for {want}, allowed {limit:.1e}"


@functools.cache
def truths():
    return [Truth(e) for examples in DERIVED.values() for e in examples]


class Bound:
    """An example on a row as a function of its differentiable arrays alone."""

    def __init__(self, xp, truth):
        e = truth.example
        self.op, self.rest, self.settings = LAYERS[e.op].function, e.rest, e.settings
        self.arrays = [xp.asarray(a) for a in truth.arrays]
        self.more = [xp.asarray(a) for a in e.arrays[e.differentiable :]]
        self.d = [xp.asarray(v) for v in truth.d]
        self.y = xp.asarray(truth.y)

    def __call__(self, *arrays):
        return self.op(*arrays, *self.more, *self.rest, **self.settings)

    def loss(self, *arrays):
        return (self(*arrays) * self.y).sum()

    def energy(self, *arrays):
        return (self(*arrays) ** 2).sum() / 2

    @property
    def places(self):
        return tuple(range(len(self.arrays)))


def manual(b, arrays):
    _, pullback = swath.vjp(b.op, *arrays, *b.more, *b.rest, **b.settings)
    return pullback(b.y)[: len(arrays)]


def jax_hessian(b, arrays):
    import jax

    blocks = jax.hessian(b.energy, argnums=b.places)(*arrays)
    return contracted(blocks, arrays, b.d, jax.numpy.tensordot)


def contracted(blocks, arrays, d, product):
    """H·d from the blocks of H."""
    return [
        sum(product(block, v, v.ndim) for block, v in zip(row, d, strict=True)) for row in blocks
    ]


def lanes(arrays):
    """Two of each, slightly apart."""
    return [np.stack([a, 1.01 * a]) for a in arrays]


def mapped(truth, found):
    for lane, scale in enumerate((1.0, 1.01)):
        want = truth.example.loops(*(scale * a for a in truth.arrays))
        assert_close(found[lane], want)


def on_jax(what):
    import jax

    return {
        "jax.grad": (
            lambda b, arrays: jax.grad(b.loss, argnums=b.places)(*arrays), Truth.gradients,
        ),
        "jax.jvp": (lambda b, arrays: jax.jvp(b, arrays, b.d)[1], Truth.pushed),
        "jax.hessian": (jax_hessian, Truth.curvature),
        "jax.jit": (lambda b, arrays: b(*arrays), lambda t, xp, y: assert_close(y, t.value)),
    }[what]  # fmt: skip


def torch_backward(b, arrays):
    import torch

    leaves = [a.clone().requires_grad_() for a in arrays]
    return torch.autograd.grad(b.loss(*leaves), leaves)


def torch_twice(b, arrays):
    import torch

    leaves = [a.clone().requires_grad_() for a in arrays]
    first = torch.autograd.grad(b.energy(*leaves), leaves, create_graph=True)
    along = sum((g * v).sum() for g, v in zip(first, b.d, strict=True))
    return torch.autograd.grad(along, leaves)


def torch_hessian(b, arrays):
    import torch

    blocks = torch.func.hessian(b.energy, argnums=b.places)(*arrays)
    return contracted(blocks, arrays, b.d, torch.tensordot)


def on_torch(what):
    import torch

    return {
        "torch.autograd": (torch_backward, Truth.gradients),
        "torch double backward": (torch_twice, Truth.curvature),
        "torch.func.grad": (
            lambda b, arrays: torch.func.grad(b.loss, argnums=b.places)(*arrays),
            Truth.gradients,
        ),
        "torch.func.jvp": (
            lambda b, arrays: torch.func.jvp(b, tuple(arrays), tuple(b.d))[1], Truth.pushed,
        ),
        "torch.func.hessian": (torch_hessian, Truth.curvature),
    }[what]  # fmt: skip


def check_each(xp, run, judge):
    """Run all examples (one program on jax-jit) and judge each."""
    bound = [Bound(xp, t) for t in truths()]

    def program(given):
        return [run(b, arrays) for b, arrays in zip(bound, given, strict=True)]

    found = compiled(xp, program, [b.arrays for b in bound])
    for truth, result in zip(truths(), found, strict=True):
        try:
            judge(truth, xp, result)
        except AssertionError as error:
            raise AssertionError(f"{truth.example.op} {truth.example.rest}: {error}") from None


EVERY = pytest.mark.op(*DERIVED)
#: PyTorch's own forward mode and compiler warn about parts of PyTorch.
QUIET = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:Dynamo detected a call to a .functools.lru_cache"),
]
ON_JAX = ("jax.grad", "jax.jvp", "jax.hessian", "jax.jit")
ON_TORCH = (
    "torch.autograd",
    "torch double backward",
    "torch.func.grad",
    "torch.func.jvp",
    "torch.func.hessian",
)
TESTED = {"swath.vjp", *ON_JAX, *ON_TORCH, "jax.vmap", "torch.func.vmap", "torch.compile"}


@EVERY
@pytest.mark.on(*ROWS)
def test_vjp_equals_difference_quotients_of_loops(xp):
    check_each(xp, manual, Truth.gradients)


@EVERY
@pytest.mark.on("jax-jit")
@pytest.mark.parametrize("feature", ON_JAX)
def test_jax_differentiates_and_compiles(xp, feature):
    check_each(xp, *on_jax(feature))


def quiet(test):
    for mark in QUIET:
        test = mark(test)
    return test


@quiet
@EVERY
@pytest.mark.on("torch")
@pytest.mark.parametrize("feature", ON_TORCH)
def test_pytorch_differentiates(xp, feature):
    check_each(xp, *on_torch(feature))


@quiet
@EVERY
@pytest.mark.on("jax-jit", "torch")
def test_vmap_equals_loops(xp):
    """jax.vmap and torch.func.vmap over every array together."""
    bound = [Bound(xp, t) for t in truths()]
    stacked = [[xp.asarray(a) for a in lanes(t.arrays)] for t in truths()]
    if xp.backend == "jax":
        from jax import vmap
    else:
        from torch.func import vmap

    def program(given):
        return [vmap(b)(*arrays) for b, arrays in zip(bound, given, strict=True)]

    for truth, found in zip(truths(), compiled(xp, program, stacked), strict=True):
        mapped(truth, found)


@quiet
@EVERY
@pytest.mark.on("torch")
@pytest.mark.parametrize("op", DERIVED)
def test_torch_compile_traces_layers_and_their_derivatives(xp, op):
    """By Dynamo and AOTAutograd; the code generator (which needs a C++ compiler) is left out."""
    import torch

    torch._dynamo.reset()
    for truth in (t for t in truths() if t.example.op == op):
        b = Bound(xp, truth)
        leaves = [a.clone().requires_grad_() for a in b.arrays]
        y = torch.compile(b, backend="aot_eager")(*leaves)
        assert_close(y.detach(), truth.value)
        truth.gradients(xp, torch.autograd.grad((y * b.y).sum(), leaves))


# -- the record itself


def test_every_claim_has_a_test_and_every_test_a_claim():
    claimed = set(features())
    untested = claimed - set(EXAMPLES) - TESTED
    assert not untested, f"claimed but untested: {sorted(untested)}"
    assert (set(EXAMPLES) | TESTED) <= claimed
    for op, record in LAYERS.items():
        kinds = {f.kind for f in record.features.values()}
        assert kinds == {"shapes", "arguments", "values", "derivatives", "transformations"} or (
            kinds >= {"shapes", "values", "derivatives", "transformations"}
        ), op
        assert not set(record.features) & set(record.lacks)
    # Derivatives and traces are tested for all operations at once.
    derived = {n for n, f in features().items() if f.kind in ("derivatives", "transformations")}
    assert derived == TESTED
    assert all(derived <= set(r.features) for r in LAYERS.values())
    assert set(DERIVED) == set(LAYERS)


def test_every_library_of_the_record_has_a_row():
    """Those of the features too; where a library has no row nothing it claims would be tested."""
    libraries = {row.backend for row, _ in rows.load().values()}
    run = {rows.load()[name][0].backend for name in ROWS}
    assert run == libraries
    named = {lib for f in features().values() for lib in (*f.only, *f.gaps)}
    assert named <= libraries


def test_every_argument_of_a_layer_is_shown_by_a_feature():
    shown = {op: set() for op in LAYERS}
    for feature, make in EXAMPLES.items():
        for op in HOLDERS[feature]:
            if feature in LAYERS[op].lacks:
                continue
            known = list(inspect.signature(LAYERS[op].function).parameters)
            for e in make(op):
                shown[op] |= set(e.settings) | set(known[: len(e.arrays) + len(e.rest)])
    for op, record in LAYERS.items():
        missing = set(inspect.signature(record.function).parameters) - shown[op]
        assert not missing, f"{op}: no feature shows {sorted(missing)}"


def test_supports_answers_from_the_record():
    assert swath.supports("nn.conv", "jax", "bfloat16")
    assert not swath.supports("nn.conv", "numpy", "bfloat16")
    assert not swath.supports("nn.max_pool", "jax", "complex")
    assert not swath.supports("nn.max_unpool", "numpy", "dilation")
    assert swath.supports("nn.conv", "torch", "torch.compile")
    assert not swath.supports("nn.conv", "numpy", "torch.compile")
    assert swath.supports("nn.conv", "dask", "stride")
    # By the name that it is imported by.
    assert not swath.supports("nn.conv", "array_api_strict", "float16")
    with pytest.raises(ValueError, match="supports: feature 'stripe' is none of 1 sliding axis"):
        swath.supports("nn.conv", "numpy", "stripe")


def test_a_claim_that_is_wrong_fails(monkeypatch):
    """The examples can fail: one planted in the stride of a layer is caught."""
    example = feature_cases.plain("nn.max_pool", stride=(2, 3))
    wrong = {**example.settings, "stride": (2, 2)}
    got = LAYERS["nn.max_pool"].function(*example.arrays, *example.rest, **wrong)
    with pytest.raises(AssertionError):
        compare(got, example.wanted[0], "stride")
