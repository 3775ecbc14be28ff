"""Slow, exact references for swath.linalg: loops and rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import prod

import numpy as np


def layer_matrix(w, space, stride, padding, dilation, groups):
    """The matrix of a layer convolution, entry by entry; padding is (low, high) per axis."""
    out_channels, depth, *sizes = w.shape
    rank = len(space)
    out = [
        (space[a] + sum(padding[a]) - dilation[a] * (sizes[a] - 1) - 1) // stride[a] + 1
        for a in range(rank)
    ]
    m = np.zeros((out_channels, *out, depth * groups, *space), w.dtype)
    per_group = out_channels // groups
    for o, c in product(range(out_channels), range(depth)):
        channel = (o // per_group) * depth + c
        for i in product(*map(range, out)):
            for j in product(*map(range, sizes)):
                p = [stride[a] * i[a] + dilation[a] * j[a] - padding[a][0] for a in range(rank)]
                if all(0 <= p[a] < space[a] for a in range(rank)):
                    m[(o, *i, channel, *p)] = w[(o, c, *j)]
    return m.reshape(out_channels * prod(out), depth * groups * prod(space))


def exact_solution(a, b):
    """The least-squares solution of float matrices of full column rank, in rationals, rounded."""
    # Columns as integers times a power of two: their products are integers too, and cheap.
    joined = np.column_stack([np.asarray(a, float), np.asarray(b, float)])
    part, power = np.frexp(joined)
    least = np.where(part != 0, power, 9999).min(axis=0)
    shift = np.where(part != 0, power - least, 0)
    whole = (part * 2.0**53).astype("int64").astype(object) << shift.astype(object)
    table = [[Fraction(int(v)) for v in row] for row in whole.T @ whole]
    n = len(table) - 1
    x = solved_exactly([row[:n] for row in table[:n]], [row[n] for row in table[:n]])
    unit = [Fraction(2) ** int(least[n] - least[j]) for j in range(n)]
    return np.array([float(v * u) for v, u in zip(x, unit, strict=True)])


def solved_exactly(table, right):
    """The solution of a square system of Fractions that is not singular."""
    table = [[*row, v] for row, v in zip(table, right, strict=True)]
    n = len(table)
    for i in range(n):
        pivot = next(k for k in range(i, n) if table[k][i] != 0)
        table[i], table[pivot] = table[pivot], table[i]
        table[i] = [v / table[i][i] for v in table[i]]
        for k in range(n):
            if k != i and table[k][i] != 0:
                table[k] = [v - table[k][i] * u for v, u in zip(table[k], table[i], strict=True)]
    return [row[n] for row in table]
