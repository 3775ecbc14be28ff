"""From a dense layer to a Toeplitz matrix
=======================================

A layer of a network maps x to f(A x). What is in A decides what the layer can see and what it
costs. This page starts with a matrix of free numbers, takes away those that a signal has no use
for, and arrives at the matrix of a convolution.
"""

import matplotlib.pyplot as plt
import numpy as np

import swath
from swath import linalg, nn

rng = np.random.default_rng(0)


def show(matrices, titles):
    """Matrices side by side; white is 0."""
    figure, axes = plt.subplots(1, len(matrices), figsize=(3.4 * len(matrices), 3.4))
    for place, matrix, title in zip(np.atleast_1d(axes), matrices, titles, strict=True):
        limit = np.abs(matrix).max()
        place.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
        place.set_title(title, fontsize=9)
        place.set_xticks([])
        place.set_yticks([])
    figure.tight_layout()


# %%
# Three samples, four outputs
# ---------------------------
# Every output is a row of A times x: ‖a‖ ‖x‖ cos(angle between them). A row that points along x
# answers most, one at right angles not at all, one that points away least.
x = np.array([1.0, 2.0, 2.0])
A = np.array([[1.0, 2.0, 2.0], [2.0, -2.0, 1.0], [-1.0, -2.0, -2.0], [2.0, 1.0, 2.0]])
for row, z in zip(A, A @ x, strict=True):
    cosine = z / (np.linalg.norm(row) * np.linalg.norm(x))
    print(f"row {row}: z = {z:5.1f}, cosine {cosine:5.2f}")
assert np.allclose(A @ x, sum(x[i] * A[:, i] for i in range(3)))  # or: columns, weighted by x

# %%
# The same layer on sound
# -----------------------
# Three seconds at 22.05 kHz are 66,150 samples, and every row of A needs a number for each of them.
samples = 3 * 22050
print(f"4 outputs: {4 * samples:,} weights")
print(f"as many outputs as samples: {samples**2:,} weights, {4 * samples**2 / 1e9:.1f} GB")

# %%
# Locality
# --------
# What a sample means depends on its neighbours. So an output looks at three samples next to each
# other, and all entries far from the diagonal are 0. That leaves three numbers a row.
n = 12
dense = rng.standard_normal((n - 2, n))
near = np.abs(np.arange(n) - np.arange(n - 2)[:, None] - 1) <= 1
local = np.where(near, dense, 0)
print(f"dense {dense.size} weights, local {near.sum()}")

# %%
# Stationarity
# ------------
# A sound means the same a second later. So every row holds the same three numbers, one step further
# to the right: the kernel, three weights for signals of any length. Every descending diagonal is
# constant: a Toeplitz matrix.
kernel = np.array([1.0, -2.0, 0.5])
T = linalg.correlation_matrix(kernel, n)
assert all(len(set(np.diagonal(T, k))) == 1 for k in range(-n + 3, n))
show([dense, local, T], ["dense: 120 weights", "local: 30 weights", "stationary: 3 weights"])

# %%
# Its product slides the kernel over the signal, so nobody needs the matrix to compute it.
x = rng.standard_normal(n)
slid = swath.signal.correlate(x, kernel, "valid")
print("largest difference:", np.abs(T @ x - slid).max() < 1e-14 and "below 1e-14")

# %%
# Signal processing turns the kernel round before it slides (`convolution_matrix`); networks do not
# (`correlation_matrix`, and every layer in `swath.nn`). Both are Toeplitz.
show(
    [linalg.convolution_matrix(kernel, 8, "valid"), linalg.correlation_matrix(kernel, 8)],
    ["convolution: reversed in every row", "correlation: in its own order"],
)

# %%
# Several kernels
# ---------------
# Three weights instead of the twelve of the 4×3 layer are few: one kernel finds one pattern. So a
# layer has several, and its matrix is one Toeplitz matrix on top of the other. Output i of kernel a
# is a·(x₁, x₂, x₃) for i = 1, a·(x₂, x₃, x₄) for i = 2, and so on.
kernels = rng.standard_normal((4, 1, 3))  # outputs, input channels, taps
M = linalg.conv_matrix(kernels, n)
z = (M @ x).reshape(4, n - 2)
for o in range(4):
    assert np.allclose(z[o, 0], kernels[o, 0] @ x[0:3])
    assert np.allclose(z[o, 1], kernels[o, 0] @ x[1:4])
assert np.allclose(z, nn.conv(x[None], kernels))
print(f"{kernels.size} weights make a matrix of {M.shape[0]} × {M.shape[1]}")
show([M], ["four kernels, stacked"])

# %%
# Pictures
# --------
# On two axes the matrix is Toeplitz twice over: blocks that are Toeplitz matrices, themselves
# constant along the diagonals of blocks. With padding every point of the picture gets an output.
picture = linalg.conv_matrix(rng.standard_normal((1, 1, 3, 3)), (8, 8), padding="same")
show([picture], ["a 3×3 kernel on an 8×8 picture"])

# %%
# Almost all of it is 0, so there are two more forms of it: sparse, in the format of the array
# library, and an operator that holds the kernels alone. All three multiply alike.
w = rng.standard_normal((16, 3, 3, 3))
sparse = linalg.conv_matrix(w, (32, 32), padding="same", format="csr")
operator = linalg.conv_matrix(w, (32, 32), padding="same", format="operator")
v = rng.standard_normal(3 * 32 * 32)
assert np.allclose(sparse @ v, operator @ v)
print(f"matrix of {operator.shape[0]:,} × {operator.shape[1]:,}")
print(f"  dense     {8 * operator.shape[0] * operator.shape[1] / 1e6:8.1f} MB")
print(f"  sparse    {(sparse.data.nbytes + sparse.indices.nbytes) / 1e6:8.1f} MB")
print(f"  operator  {w.nbytes / 1e6:8.3f} MB")

# %%
# Counting weights
# ----------------
# A picture of 1000×1000 points and a dense layer of 100 outputs, with their biases:
print(f"dense: {(10**6 + 1) * 100:,} weights")
for k in (3, 5, 11):
    print(f"one {k}×{k} kernel: {k * k} weights, whatever the size of the picture")

# %%
# Weights are not all. A dense layer does not know where points are: shuffle the points of all
# pictures, and a dense layer with its columns shuffled likewise gives the same outputs. It has to
# learn from examples what the convolution, which then finds something else, knows from the start.
shuffle = rng.permutation(n)
dense = rng.standard_normal((4, n))
print("dense layer, shuffled:", np.allclose(dense[:, shuffle] @ x[shuffle], dense @ x))
print("convolution, shuffled:", np.allclose(np.sort(T @ x[shuffle]), np.sort(T @ x)))

# %%
# Dense layers also stack badly: each needs all of the last one's outputs. The usual network
# alternates convolution and pooling, so that later kernels see more of the picture with as few
# weights, and is dense at the end alone.
size, channels, total = 32, 3, 0
y = rng.standard_normal((channels, size, size))
for outputs in (16, 32, 64):
    weight = rng.standard_normal((outputs, channels, 3, 3)) / 9
    y = nn.max_pool(np.maximum(nn.conv(y, weight, padding="same"), 0), (2, 2))
    total, channels = total + weight.size, outputs
    print(f"3×3 convolution to {outputs} channels, pooled: {y.shape}, {weight.size:,} weights")
print(f"dense, 10 outputs: {10 * y.size:,} weights; all together {total + 10 * y.size:,}")
print(f"a dense first layer to as many outputs: {3 * size * size * 16 * 16 * 16:,}")
