"""Rates of a kind of device, from which predicted times follow."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COSTS", "Costs"]


@dataclass(frozen=True)
class Costs:
    """Rates of one kind of device.

    Attributes
    ----------
    gemm : float
        Real multiply-adds per second of a large float32 matrix product.
    stream : float
        Bytes per second of an elementwise pass over blocks that fit the cache.
    gather : float
        Bytes per second of copying windows out of a strided view.
    fft : float
        Points·log2(points) per second of a batched real float32 transform.
    call : float
        Seconds to start one array operation.
    """

    gemm: float
    stream: float
    gather: float
    fft: float
    call: float


# cpu: measured on 2 cores of an AMD EPYC (AVX-512) with NumPy 2.4, SciPy 1.17, OpenBLAS, 2026-11.
# gpu: a placeholder of the right order for a data-centre GPU, not measured; ratios matter, and
# they are alike from one GPU to the next.
COSTS = {
    "cpu": Costs(gemm=8.0e10, stream=4.0e10, gather=4.0e10, fft=3.5e9, call=1.0e-6),
    "gpu": Costs(gemm=1.0e13, stream=1.5e12, gather=5.0e11, fft=2.0e11, call=8.0e-6),
}
