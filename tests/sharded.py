"""Run as a program: operations on JAX arrays in shards on eight simulated devices, as JSON.

JAX asks for the number of devices once, so that this is a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

rng = np.random.default_rng(8)


@dataclass(frozen=True)
class Case:
    """A call: its arrays, along which axes of the mesh (4 × 2) each lies, and so its result.

    `sent` is the most that a device may send at once, as a share of the first array.
    """

    call: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    specs: tuple[tuple[Any, ...], ...]
    result: tuple[Any, ...]
    sent: float = 0.0
    grad: bool = True


def numbers(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape)


def cases() -> dict[str, Case]:
    import swath
    from swath import linalg, nn, signal

    both, x, h = ("a", "b"), numbers(8, 512), numbers(9)
    picture, kernel = numbers(8, 4, 32, 16), numbers(6, 4, 3, 3)

    def over(mode: str) -> Any:
        return lambda x, h: signal.convolve(x, h, mode, axes=-1)

    def layer(**how: Any) -> Any:
        return lambda x, w: nn.conv(x, w, **how)

    return {
        "convolve-batch": Case(over("same"), (x, h), (("a",), ()), ("a",)),
        "convolve-time": Case(over("same"), (x, h), ((None, both), ()), (None, both), 0.02),
        "convolve-backwards": Case(
            over("same"), (x, h), ((None, ("b", "a")), ()), (None, ("b", "a")), 0.02
        ),
        # 520 points do not lie as 512 do: every device's piece begins elsewhere in its shard.
        "convolve-full": Case(over("full"), (x, h), (("b", "a"), ()), ("b", "a"), 0.02),
        # A shard of 8 points, borders of 20: two neighbours on each side.
        "convolve-far": Case(
            over("same"), (numbers(4, 64), numbers(41)), ((None, both), ()), (None, both), 0.2
        ),
        "fftconvolve": Case(
            lambda x, h: signal.fftconvolve(x, h, "same", axes=-1),
            (numbers(8, 1024), numbers(1, 65)),
            (("b", "a"), ()),
            ("b", "a"),
            0.05,
        ),
        "lfilter": Case(
            lambda h, x: signal.lfilter(h, 1.0, x), (h, x), ((), (None, "a")), (None, "a"), 8.0
        ),
        "resample_poly": Case(
            lambda x: signal.resample_poly(x, 3, 2, axis=-1), (x,), ((None, "a"),), (None, "a"), 0.1
        ),
        "stft": Case(lambda x: signal.stft(x, nperseg=64)[2], (x,), (("a",),), ("a",)),
        "conv": Case(
            layer(padding=1), (picture, kernel), (("b", None, "a"), ()), ("b", None, "a"), 0.1
        ),
        "conv-stride": Case(
            layer(padding=1, stride=2, channels="last"),
            (np.moveaxis(picture, 1, -1), numbers(3, 3, 4, 6)),
            ((None, "a"), ()),
            (None, "a"),
            0.1,
        ),
        "conv-kernels": Case(
            layer(padding=1), (picture, numbers(8, 4, 3, 3)), ((), ("a",)), (None, "a"), grad=False
        ),
        "conv_transpose": Case(
            lambda x, w: nn.conv_transpose(x, w, stride=2, padding=1, output_padding=1),
            (picture, numbers(4, 2, 3, 3)),
            ((None, None, "a"), ()),
            (None, None, "a"),
            0.3,
        ),
        "max_pool": Case(
            lambda x: nn.max_pool(x, (3, 3), stride=1, padding=1),
            (picture,),
            (("b", None, "a"),),
            ("b", None, "a"),
            0.1,
        ),
        # Means of what lies within: pieces at the ends divide by other numbers.
        "avg_pool": Case(
            lambda x: nn.avg_pool(x, (5, 5), stride=1, padding=2, count_include_pad=False),
            (picture,),
            ((None, None, "a", "b"),),
            (None, None, "a", "b"),
            0.1,
        ),
        "sliding_windows": Case(
            lambda x: swath.sliding_windows(x, 5, stride=2),
            (numbers(4, 64),),
            ((None, "b"),),
            (None, "b"),
            0.1,
        ),
        "matmul_toeplitz": Case(
            lambda x, c: linalg.matmul_toeplitz(c, x),
            (numbers(64, 8), numbers(64)),
            ((None, "a"), ()),
            (None, "a"),
            grad=False,
        ),
        "gram": Case(linalg.gram, (numbers(64, 4),), (("a",),), ()),
    }


def few() -> dict[str, Case]:
    """Few results, of windows that lie across shards, and what lies unevenly or in parts of shards.

    What counts is that they are right.
    """
    import swath
    from swath import nn, signal

    x, h, kernel = numbers(8, 128), numbers(2, 9), numbers(3, 8, 5)
    # 2048 + 7, which added up in float16 stays 2048.
    halves = np.zeros((8, 1, 8), np.float16)
    halves[0], halves[1:, :, 0] = 16, 1
    time, alone = (None, ("a", "b")), ()

    def pool(kind: Any) -> Any:
        return lambda x: kind(x, 43, stride=64, axes=-1)

    def gradient(x: Any) -> Any:
        return swath.vjp(nn.conv, x, x[:1, :, :1])[1](x)[1]

    return {
        # 121 points on eight devices: the last has fewer.
        "uneven": Case(
            lambda x, h: signal.convolve(x, h, "valid", axes=-1),
            (x, h[:1, :-1]),
            (time, alone),
            alone,
        ),
        "uneven operand": Case(
            lambda x, y, h: signal.convolve(y, h, axes=-1) * x,
            (x, x[:, 7:], h[:1, :-1]),
            (time, alone, alone),
            time,
        ),
        "one axis for two": Case(
            lambda x, w: nn.conv(x, w, padding=2),
            (x.reshape(8, 8, 16), numbers(4, 8, 5)),
            (("a",), ("a",)),
            ("a",),
        ),
        # Transforms are computed whole, whatever their result is multiplied by.
        "frequencies": Case(
            lambda x, y: signal.stft(x, nperseg=64, return_onesided=False)[2] * y,
            (x, numbers(64, 1)),
            (alone, (("a", "b"),)),
            time,
        ),
        # XLA leaves the batch in two parts, along a half of an axis of the mesh.
        "parts of an axis": Case(
            lambda x, h: signal.convolve(x.reshape(2, -1), h, "same", axes=-1),
            (x, h[:1]),
            (("a",), alone),
            alone,
        ),
        "half": Case(gradient, (halves,), ((("a", "b"),),), alone, grad=False),
        "adaptive_avg_pool": Case(
            lambda x: nn.adaptive_avg_pool(x, 7, axes=-1), (x,), (time,), alone
        ),
        "adaptive_max_pool": Case(
            lambda x: nn.adaptive_max_pool(x, 7, axes=-1), (x,), (time,), alone
        ),
        "max_pool": Case(pool(nn.max_pool), (x[:, 40:],), (time,), alone),
        "avg_pool": Case(pool(nn.avg_pool), (x[:, 40:],), (time,), alone),
        "conv": Case(
            lambda x, w: nn.conv(x, w, stride=100), (x[:, 40:], kernel), (time, alone), alone
        ),
        "filter_bank": Case(
            lambda x, h: signal.filter_bank(h, x, stride=200), (x, h), (time, alone), alone
        ),
    }


def mapped() -> dict[str, Case]:
    """Batches of which `jax.shard_map` gives a part to every device, beside what all share."""
    from swath import linalg, nn, signal

    batch, alone = (("a", "b"),), ()
    return {
        "lfilter": Case(
            lambda x, h: signal.lfilter(h, 1.0, x), (numbers(8, 64), numbers(9)), (batch, alone), ()
        ),
        "layers": Case(
            lambda x, w: nn.max_pool(nn.conv(x, w, padding=1), (2, 2)),
            (numbers(8, 2, 9, 9), numbers(3, 2, 3, 3)),
            (batch, alone),
            (),
        ),
        "lstsq": Case(
            lambda a, b: linalg.lstsq(a, b.T).x,
            (numbers(20, 3), numbers(8, 20)),
            (alone, batch),
            (),
        ),
    }


def main() -> None:
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
    import jax
    import jax.numpy as jnp
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    import swath
    from quick_jax import compile_quickly

    jax.config.update("jax_enable_x64", True)
    compile_quickly(True)
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("a", "b"))

    def sent(program: str) -> dict[str, int]:
        """The most numbers that each kind of exchange moves at once."""
        found: dict[str, int] = {}
        for line in program.splitlines():
            kinds = r"(all-gather|all-to-all|all-reduce|collective-permute)(?:-start)?\("
            if match := re.search(r"= \(?\w+\[([\d,]*)\].* " + kinds, line):
                size = prod(int(n) for n in match[1].split(",") if n)
                found[match[2]] = max(found.get(match[2], 0), size)
        return found

    def error(got: Any, wanted: Any) -> float:
        return float(np.max(np.abs(np.asarray(got) - wanted)) / np.max(np.abs(wanted)))

    report = {}
    for name, case in {**cases(), **{f"few {n}": c for n, c in few().items()}}.items():
        placed = [
            jax.device_put(a, NamedSharding(mesh, PartitionSpec(*spec)))
            for a, spec in zip(case.arrays, case.specs, strict=True)
        ]
        wanted = case.call(*case.arrays)
        program = jax.jit(case.call).lower(*placed).compile()
        value = program(*placed)
        spec = NamedSharding(mesh, PartitionSpec(*case.result))
        found = {
            "error": error(value, wanted),
            "eager": error(case.call(*placed), wanted),
            "lies": value.sharding.is_equivalent_to(spec, value.ndim),
            "where": str(value.sharding.spec),
            "sent": sent(program.as_text()),
            "allowed": case.sent * case.arrays[0].size,
        }
        if case.grad:
            ct = np.cos(np.arange(wanted.size)).reshape(wanted.shape).astype(wanted.dtype)

            def scalar(*arrays: Any, case: Case = case, ct: np.ndarray = ct) -> Any:
                return jnp.real(jnp.sum(case.call(*arrays) * ct))

            places = tuple(range(len(placed)))
            alone = jax.grad(scalar, places)(*map(jnp.asarray, case.arrays))
            there = jax.jit(jax.grad(scalar, places))(*placed)
            found["gradient"] = max(map(error, there, map(np.asarray, alone)))
        report[name] = found
    for name, case in mapped().items():

        def loss(*arrays: Any, case: Case = case) -> Any:
            return jnp.sum(case.call(*arrays) ** 2)

        def shared(*arrays: Any, loss: Any = loss) -> Any:
            return jax.lax.psum(loss(*arrays), ("a", "b"))

        specs = tuple(PartitionSpec(*spec) for spec in case.specs)
        there = jax.shard_map(shared, mesh=mesh, in_specs=specs, out_specs=PartitionSpec())
        slopes = [jax.jit(jax.grad(f, (0, 1)))(*case.arrays) for f in (there, loss)]
        report[f"mapped {name}"] = max(map(error, slopes[0], map(np.asarray, slopes[1])))
    near, far = (swath.bind("jax", device=d).asarray(np.ones(3)) for d in ("cpu", "cpu:5"))
    refused = ""
    try:
        swath.signal.convolve(near, far)
    except TypeError as error:
        refused = str(error)
    report["devices"] = {"far": [d.id for d in far.devices()], "refused": refused}
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
