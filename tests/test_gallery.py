"""Gallery pages run, say what they promise, and leave their figures."""

from __future__ import annotations

from pathlib import Path

import pytest

import scripts

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(p.stem for p in (DOCS / "gallery").glob("*.py"))


@pytest.fixture(scope="module")
def pages():
    return scripts.loaded("docs", "gallery_pages.py")


@pytest.mark.needs("matplotlib")
@pytest.mark.parametrize("name", PAGES)
def test_page_runs_and_has_its_figures(pages, name, tmp_path):
    path = pages.page(DOCS / "gallery" / f"{name}.py", tmp_path)
    text = path.read_text(encoding="utf-8")
    figures = sorted(tmp_path.glob(f"{name}_*.png"))
    assert figures
    assert all(f.stat().st_size > 3000 and f".. image:: {f.name}" in text for f in figures)
    assert text.count(".. code-block:: python") > 2


@pytest.mark.needs("matplotlib")
def test_the_page_on_toeplitz_matrices_counts_right(pages, tmp_path):
    text = pages.page(DOCS / "gallery" / "toeplitz.py", tmp_path).read_text(encoding="utf-8")
    for said in (
        "4 outputs: 264,600 weights",
        "as many outputs as samples: 4,375,822,500 weights, 17.5 GB",
        "dense 120 weights, local 30",
        "12 weights make a matrix of 40 × 12",
        "dense: 100,000,100 weights",
        "one 3×3 kernel: 9 weights",
        "dense layer, shuffled: True",
        "convolution, shuffled: False",
        "row [1. 2. 2.]: z =   9.0, cosine  1.00",
        "row [ 2. -2.  1.]: z =   0.0, cosine  0.00",
        "row [-1. -2. -2.]: z =  -9.0, cosine -1.00",
        "largest difference: below 1e-14",
    ):
        assert f"   {said}" in text, said
