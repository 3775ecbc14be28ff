"""scipy.signal's names and semantics on any array library: FIR filters, correlation, design."""

from .correlation import convolve, correlate
from .filtering import filter_bank, lfilter, lfilter_zi, lfiltic
from .matching import correlation_score, match_template

__all__ = [
    "convolve",
    "correlate",
    "correlation_score",
    "filter_bank",
    "lfilter",
    "lfilter_zi",
    "lfiltic",
    "match_template",
]
