"""A photograph out of focus, sharpened with one operator by two solvers that know nothing of it.

The photograph (scikit-image's "camera", 512×512) is blurred by a disc, as a lens out of focus does,
and noise is added; outside the picture nothing is known, so that the blurred one is smaller. The
sharp picture is the damped least-squares solution: of all pictures x, the one that minimises
‖A x − b‖² + damp²·‖x − mean‖², with A a `swath.linalg.ConvOperator`. SciPy's lsqr takes the
operator on NumPy; lineax's conjugate gradients take A.gram(ridge=damp²), the operator of the normal
equations, on JAX, compiled. Run it::

    python examples/deblurring.py                      prints sharpness and agreement
    python examples/deblurring.py --figure out.png     and draws the four pictures
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

import swath

RADIUS, NOISE, DAMP, SEED = 4.0, 0.003, 0.05, 0


def photograph(size: int = 512) -> np.ndarray:
    """The middle (size, size) of the photograph, in 0 … 1."""
    from skimage import data

    picture = data.camera() / 255.0
    low = [(n - size) // 2 for n in picture.shape]
    return picture[low[0] : low[0] + size, low[1] : low[1] + size]


def disc(radius: float = RADIUS) -> np.ndarray:
    """A disc of sum 1, its edge smoothed over one pixel."""
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(y, x), 0.0, 1.0)
    return kernel / kernel.sum()


@dataclass(frozen=True)
class Scene:
    """What is known (blurred, kernel) and what is looked for (sharp)."""

    sharp: np.ndarray
    kernel: np.ndarray
    blurred: np.ndarray

    @property
    def mean(self) -> float:
        """Mean of the blurred picture: what damping draws towards."""
        return float(self.blurred.mean())

    def operator(self, asarray: Any = np.asarray) -> swath.linalg.ConvOperator:
        """The blur, of pictures as vectors; its kernel in any array library."""
        return swath.linalg.ConvOperator(asarray(self.kernel[None, None]), self.sharp.shape)

    def psnr(self, picture: np.ndarray) -> float:
        """Peak signal-to-noise ratio in dB where the blurred picture has points."""
        margin = self.kernel.shape[0] // 2
        inner = slice(margin, -margin)
        if picture.shape == self.sharp.shape:
            picture = picture[inner, inner]
        return -10 * float(np.log10(np.mean((picture - self.sharp[inner, inner]) ** 2)))


def scene(size: int = 512) -> Scene:
    """The photograph, blurred and noisy."""
    sharp, kernel = photograph(size), disc()
    op = swath.linalg.ConvOperator(kernel[None, None], sharp.shape)
    blurred = (op @ sharp.reshape(-1)).reshape(op.out_shape[1:])
    noise = np.random.default_rng(SEED).standard_normal(blurred.shape)
    return Scene(sharp, kernel, blurred + NOISE * noise)


def by_scipy(given: Scene, tolerance: float = 1e-12) -> tuple[np.ndarray, int]:
    """The solution by scipy.sparse.linalg.lsqr on NumPy, and its iterations."""
    from scipy.sparse.linalg import lsqr

    op = given.operator()
    b = (given.blurred - given.mean).reshape(-1)
    x, _, steps, *_ = lsqr(op, b, damp=DAMP, atol=tolerance, btol=tolerance, iter_lim=2000)
    return x.reshape(given.sharp.shape) + given.mean, steps


def by_lineax(given: Scene, tolerance: float = 1e-10) -> tuple[np.ndarray, int]:
    """The solution by lineax's conjugate gradients on JAX, and their iterations."""
    import jax
    import jax.numpy as jnp
    import lineax

    with jax.enable_x64(True):

        @jax.jit
        def solve(op: swath.linalg.ConvOperator, b: Any) -> tuple[Any, Any]:
            normal = lineax.FunctionLinearOperator(
                op.gram(ridge=DAMP**2),
                jax.ShapeDtypeStruct((op.shape[1],), b.dtype),
                lineax.positive_semidefinite_tag,
            )
            solver = lineax.CG(rtol=tolerance, atol=tolerance, max_steps=2000)
            found = lineax.linear_solve(normal, op.rmatvec(b), solver)
            return found.value, found.stats["num_steps"]

        b = jnp.asarray((given.blurred - given.mean).reshape(-1))
        x, steps = solve(given.operator(jnp.asarray), b)
        return np.asarray(x).reshape(given.sharp.shape) + given.mean, int(steps)


def draw(given: Scene, found: dict[str, np.ndarray], path: str) -> None:
    """The sharp picture, the blurred one and those found, side by side."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib.figure import Figure

    pictures = {"photograph": given.sharp, "blurred, noisy": given.blurred, **found}
    figure = Figure(figsize=(3.2 * len(pictures), 3.6), layout="constrained")
    for axes, (name, picture) in zip(
        figure.subplots(1, len(pictures)), pictures.items(), strict=True
    ):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
        title = name if name == "photograph" else f"{name}: {given.psnr(picture):.1f} dB"
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Print what was reached; see the module's head."""
    parser = argparse.ArgumentParser(description="sharpen a photograph out of focus")
    parser.add_argument("--size", type=int, default=512, help="points of the middle part, 512")
    parser.add_argument("--figure", help="a file to draw the pictures into")
    args = parser.parse_args()
    given = scene(args.size)
    m, n = given.operator().shape
    print(f"{n} unknown points, {m} known; disc of {RADIUS} points, noise {NOISE}, damping {DAMP}")
    print(f"blurred:    {given.psnr(given.blurred):5.2f} dB")
    found = {}
    for name, solve in (("scipy lsqr", by_scipy), ("lineax CG", by_lineax)):
        start = time.perf_counter()
        found[name], steps = solve(given)
        seconds = time.perf_counter() - start
        sharpness = given.psnr(found[name])
        print(f"{name}: {sharpness:5.2f} dB after {steps} iterations, {seconds:.1f} s")
    apart = np.abs(found["scipy lsqr"] - found["lineax CG"]).max()
    print(f"largest difference between the two: {apart:.1e}")
    if args.figure:
        draw(given, found, args.figure)


if __name__ == "__main__":
    main()
