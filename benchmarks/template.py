"""Normalised correlation with a template."""

from __future__ import annotations

import numpy as np
from harness import EPS, Contender, Row, Trial
from libraries import installed

import swath

SIDE, PATCH = 1024, 31


def _reference(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """In float64, window by window (one row of windows at a time)."""
    x, t = x.astype(float), t.astype(float)
    t = t - t.mean()
    windows = np.lib.stride_tricks.sliding_window_view(x, t.shape)
    out = np.empty(windows.shape[:2])
    for row, found in zip(windows, out):
        flat = row.reshape(len(row), -1)
        centred = flat - flat.mean(axis=1, keepdims=True)
        found[...] = centred @ t.ravel() / np.linalg.norm(centred, axis=1)
    return out / np.linalg.norm(t)


def _match() -> Trial:
    import skimage.feature

    rng = np.random.default_rng(0)
    x = rng.random((SIDE, SIDE)).astype(np.float32)
    t = x[300 : 300 + PATCH, 500 : 500 + PATCH].copy()
    # ‖w‖/‖w − w̄‖ is 2 for uniform data: 2·K·eps·2 (the docstring's bound).
    allowed = 4 * PATCH**2 * EPS["float32"]
    us = Contender(lambda: swath.signal.match_template(x, t), allowed)
    theirs = Contender(lambda: skimage.feature.match_template(x, t), allowed)
    return Trial(_reference(x, t), us, {"skimage match_template": theirs})


def rows() -> list[Row]:
    """One template in one picture."""
    if not installed("skimage"):
        return []
    name = f"{PATCH}x{PATCH} in {SIDE}²"
    return [Row("template", name, "numpy", "float32", "signal.match_template", _match)]
