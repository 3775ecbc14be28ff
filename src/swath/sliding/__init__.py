"""How sliding products and window reductions are computed: the cores and their algorithms.

The data goes this way: a core gets arrays and one frozen geometry, `plan` chooses an algorithm
from shapes and dtype, the algorithm computes. Nothing here knows modes, layouts or defaults of the
public functions.
"""

from .product import correlate, kernel_gradient, spread
from .reduce import choose, scatter, sum_windows, window_extreme

__all__ = [
    "choose",
    "correlate",
    "kernel_gradient",
    "scatter",
    "spread",
    "sum_windows",
    "window_extreme",
]
