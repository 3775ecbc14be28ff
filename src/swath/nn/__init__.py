"""Layers with batch and channels: convolution and pooling as in torch.nn.functional."""

from .convolution import conv, conv_transpose
from .shapes import conv_output_shape, same_padding

__all__ = ["conv", "conv_output_shape", "conv_transpose", "same_padding"]
