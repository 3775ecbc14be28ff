"""Layers with batch and channels: convolution and pooling as in torch.nn.functional."""

from .convolution import conv, conv_transpose
from .pooling import avg_pool, lp_pool, max_pool, min_pool
from .shapes import conv_output_shape, same_padding

__all__ = [
    "avg_pool",
    "conv",
    "conv_output_shape",
    "conv_transpose",
    "lp_pool",
    "max_pool",
    "min_pool",
    "same_padding",
]
