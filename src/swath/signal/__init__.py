"""scipy.signal's names and semantics on any array library: FIR filters, correlation, design."""

from .correlation import convolve, correlate

__all__ = ["convolve", "correlate"]
