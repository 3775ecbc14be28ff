"""scipy.signal's names and semantics on any array library: FIR filters, correlation, design."""

from .boundary import convolve2d, correlate2d
from .correlation import (
    choose_conv_method,
    convolve,
    correlate,
    correlation_lags,
    fftconvolve,
    oaconvolve,
)
from .filtering import filter_bank, lfilter, lfilter_zi, lfiltic
from .fir_design import fir_from_response
from .matching import correlation_score, match_template
from .response import amplitude_response, freqz
from .spectral import istft, spectrogram, stft
from .streaming import FIRStream, fir_step
from .window_design import firwin, get_window

__all__ = [
    "FIRStream",
    "amplitude_response",
    "choose_conv_method",
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "correlation_lags",
    "correlation_score",
    "fftconvolve",
    "filter_bank",
    "fir_from_response",
    "fir_step",
    "firwin",
    "freqz",
    "get_window",
    "istft",
    "lfilter",
    "lfilter_zi",
    "lfiltic",
    "match_template",
    "oaconvolve",
    "spectrogram",
    "stft",
]
