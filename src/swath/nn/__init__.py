"""Layers with batch and channels: convolution and pooling as in torch.nn.functional."""

from .adaptive import adaptive_avg_pool, adaptive_max_pool
from .convolution import conv, conv_transpose
from .pooling import avg_pool, lp_pool, max_pool, min_pool
from .shapes import conv_output_shape, same_padding
from .unpooling import max_unpool
from .whole import global_avg_pool, global_lp_pool, global_max_pool

__all__ = [
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "avg_pool",
    "conv",
    "conv_output_shape",
    "conv_transpose",
    "global_avg_pool",
    "global_lp_pool",
    "global_max_pool",
    "lp_pool",
    "max_pool",
    "max_unpool",
    "min_pool",
    "same_padding",
]
