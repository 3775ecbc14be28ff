"""Cases of swath.linalg."""

from __future__ import annotations

from . import Case

CASES: list[Case] = []
