"""scipy.signal's names and semantics on any array library: FIR filters, correlation, design."""

from .correlation import convolve, correlate
from .filtering import filter_bank, lfilter, lfilter_zi, lfiltic
from .fir_design import fir_from_response
from .matching import correlation_score, match_template
from .response import amplitude_response, freqz

__all__ = [
    "amplitude_response",
    "convolve",
    "correlate",
    "correlation_score",
    "filter_bank",
    "fir_from_response",
    "freqz",
    "lfilter",
    "lfilter_zi",
    "lfiltic",
    "match_template",
]
