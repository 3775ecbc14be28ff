"""scipy.signal's names and semantics on any array library: FIR filters, correlation, design."""

from .correlation import convolve, correlate
from .matching import correlation_score, match_template

__all__ = ["convolve", "correlate", "correlation_score", "match_template"]
