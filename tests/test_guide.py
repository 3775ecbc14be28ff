"""Programs in the pages of the documentation run as they stand, and do what the pages say."""

from __future__ import annotations

import doctest
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

import swath
from swath.testing import assert_close

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.rst"))}
# Literal blocks: a paragraph that ends with two colons, then what is indented by four.
PROGRAMS = [
    textwrap.dedent(block)
    for text in PAGES.values()
    for block in re.findall(r"::\n\n((?:    .*\n|\n)+)", text)
]


def program(mark):
    """The one that holds a text."""
    (found,) = [p for p in PROGRAMS if mark in p]
    return found


def run(text, **given):
    """Names after a program, which may use what is given and swath."""
    names = {"swath": swath, **given}
    exec(compile(text, "docs", "exec"), names)
    return names


# What each program is known by.
PULLBACK = "swath.vjp(swath.nn.conv"
CHUNKS = "import dask.array as da"
SUMS = "GramAccumulator("
SHARDS = "from jax.sharding import"
EXPLICIT = "jax.sharding.auto_axes("


def test_every_program_is_run():
    assert sorted(PROGRAMS) == sorted(map(program, (PULLBACK, CHUNKS, SUMS, SHARDS, EXPLICIT)))


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if ">>> " in text])
def test_sessions(page):
    test = doctest.DocTestParser().get_doctest(PAGES[page], {}, page, page, 0)
    failed, tried = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert tried > 0 == failed


@pytest.mark.on("numpy", "torch", "jax")
def test_pullback(xp, rng):
    x, weight, bias, cotangent = (
        xp.asarray(rng.standard_normal(s)) for s in ((2, 3, 9), (4, 3, 3), (4,), (2, 4, 7))
    )
    found = run(program(PULLBACK), x=x, weight=weight, bias=bias, cotangent=cotangent)
    assert found["value"].shape == cotangent.shape
    for name, array in (("dx", x), ("dweight", weight), ("dbias", bias)):
        assert found[name].shape == array.shape
    assert_close(found["dbias"], xp.numpy(cotangent).sum(axis=(0, 2)))


@pytest.mark.on("dask")
def test_chunks(xp, rng):
    recording = rng.standard_normal((2, 96_000)).astype("float32")
    # Zarr is not needed otherwise.
    text = program(CHUNKS).replace('from_zarr("recording.zarr")', "from_array(recording)")
    assert "from_array(recording)" in text
    found = run(text, recording=recording)
    assert found["loudness"].shape == (2, 2)
    assert isinstance(found["loudness"], np.ndarray)
    loudness = np.linalg.norm(found["y"].compute().reshape(2, 2, 48_000), axis=-1)
    assert_close(found["loudness"], loudness)


@pytest.mark.on("dask")
def test_sums_of_chunks(xp, rng):
    import dask

    A, b = rng.standard_normal((90, 3)), rng.standard_normal(90)
    chunked = dask.array.from_array(A, chunks=(30, 3)), dask.array.from_array(b, chunks=30)
    found = run(program(SUMS), dask=dask, A=chunked[0], b=chunked[1])
    assert_close(found["fit"].x, np.linalg.lstsq(A, b)[0])


@pytest.mark.on("jax")
def test_shards(xp, rng):
    import jax

    x, taps = xp.asarray(rng.standard_normal((2, 64))), xp.asarray(rng.standard_normal(9))
    found = run(program(SHARDS), jax=jax, x=x, taps=taps)
    assert found["y"].sharding.is_equivalent_to(found["x"].sharding, 2)
    want = swath.signal.convolve(x, taps, "same", axes=-1)
    assert_close(found["y"], xp.numpy(want))
    explicit = jax.make_mesh((1,), ("time",), (jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(explicit):
        given = jax.device_put(x, found["NamedSharding"](explicit, found["P"](None, "time")))
        smooth = run(program(EXPLICIT), **{**found, "mesh": explicit})["smooth"]
        assert_close(smooth(given), xp.numpy(want))
