"""The example that sharpens a photograph: how much, and that two outside solvers agree."""

from __future__ import annotations

import numpy as np
import pytest

import scripts


@pytest.fixture(scope="module")
def deblurring():
    return scripts.loaded("examples", "deblurring.py")


@pytest.mark.needs("skimage")
@pytest.mark.needs("lineax")
@pytest.mark.needs("matplotlib")
@pytest.mark.on("jax")
def test_two_solvers_find_the_same_sharper_picture(xp, deblurring, record_property, tmp_path):
    given = deblurring.scene(64)
    first, _ = deblurring.by_scipy(given)
    second, _ = deblurring.by_lineax(given)
    before, after = given.psnr(given.blurred), given.psnr(first)
    apart = np.abs(first - second).max()
    record_property("note", f"deblurring: {before:.1f} to {after:.1f} dB, {apart:.0e} apart")
    assert after > before + 3
    assert apart < 1e-7
    # The solution meets the normal equations of the matrix itself, formed for the small picture.
    op = given.operator()
    matrix = op.to_dense()
    residual = matrix @ (first - given.mean).ravel() - (given.blurred - given.mean).ravel()
    slope = matrix.T @ residual + deblurring.DAMP**2 * (first - given.mean).ravel()
    assert np.linalg.norm(slope) < 1e-8 * np.linalg.norm(matrix.T @ given.blurred.ravel())
    path = tmp_path / "pictures.png"
    deblurring.draw(given, {"scipy lsqr": first, "lineax CG": second}, str(path))
    assert path.stat().st_size > 10_000
