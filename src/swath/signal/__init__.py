"""scipy.signal's names and semantics on any array library: FIR filters, correlation, design."""

from . import windows
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
from .fir_design import fir_from_response, firls, minimum_phase, remez
from .matching import correlation_score, match_template
from .resampling import decimate, resample_poly, upfirdn
from .response import amplitude_response, freqz, group_delay
from .savgol import savgol_coeffs, savgol_filter
from .spectral import istft, spectrogram, stft
from .streaming import FIRStream, fir_step
from .window_design import firwin, firwin2
from .windows import get_window
from .zero_phase import filtfilt

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
    "decimate",
    "fftconvolve",
    "filter_bank",
    "filtfilt",
    "fir_from_response",
    "fir_step",
    "firls",
    "firwin",
    "firwin2",
    "freqz",
    "get_window",
    "group_delay",
    "istft",
    "lfilter",
    "lfilter_zi",
    "lfiltic",
    "match_template",
    "minimum_phase",
    "oaconvolve",
    "remez",
    "resample_poly",
    "savgol_coeffs",
    "savgol_filter",
    "spectrogram",
    "stft",
    "upfirdn",
    "windows",
]
