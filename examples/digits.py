"""A convolutional network on handwritten digits, trained with and without an autodiff framework.

conv, relu, pool, conv, relu, pool, dense — 8×8 images from scikit-learn, 1347 to learn from and 450
held out. On NumPy the chain rule is written out below, one `swath.vjp` for each layer; on JAX
`jax.grad` does it, with the same layers. Run it::

    python examples/digits.py             NumPy
    python examples/digits.py --jax       JAX too, and how far the weights part in 20 steps

Every image is seen shifted by up to one pixel, another way each time. Logistic regression and the
nearest neighbour are printed beside. Split, weights to start from, batches and shifts come from
fixed seeds; the settings were chosen by cross-validation on the 1347 images alone.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import numpy as np

import swath
from swath import nn

Weights = dict[str, Any]
BATCH, EPOCHS, RATE, DECAY = 32, 60, 2e-3, 0.05


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, 1, 8, 8) in 0 … 1 and labels, to learn from and held out."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 1, 8, 8) / 16.0
    x, held, y, truth = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=0
    )
    return x, y, held, truth


def start(seed: int = 0) -> Weights:
    """Random weights (He's rule: variance 2 over the number of inputs)."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int, inputs: int) -> np.ndarray:
        return rng.standard_normal(shape) * np.sqrt(2.0 / inputs)

    return {
        "conv1": normal(32, 1, 3, 3, inputs=9),
        "bias1": np.zeros(32),
        "conv2": normal(64, 32, 3, 3, inputs=288),
        "bias2": np.zeros(64),
        "dense": normal(256, 10, inputs=256),
        "bias3": np.zeros(10),
    }


# -- NumPy: the chain rule by hand ---------------------------------------------------------------


def scores(w: Weights, x: np.ndarray) -> np.ndarray:
    """Scores (N, 10) of images."""
    a = np.maximum(nn.conv(x, w["conv1"], w["bias1"], padding="same"), 0)
    a = nn.max_pool(a, (2, 2))
    a = np.maximum(nn.conv(a, w["conv2"], w["bias2"], padding="same"), 0)
    a = nn.max_pool(a, (2, 2))
    return a.reshape(len(x), -1) @ w["dense"] + w["bias3"]


def gradient(w: Weights, x: np.ndarray, labels: np.ndarray) -> Weights:
    """Gradient of the mean cross-entropy; the layers forward, then their pullbacks backward."""
    c1, back_conv1 = swath.vjp(nn.conv, x, w["conv1"], w["bias1"], padding="same")
    p1, back_pool1 = swath.vjp(nn.max_pool, np.maximum(c1, 0), (2, 2))
    c2, back_conv2 = swath.vjp(nn.conv, p1, w["conv2"], w["bias2"], padding="same")
    p2, back_pool2 = swath.vjp(nn.max_pool, np.maximum(c2, 0), (2, 2))
    flat = p2.reshape(len(x), -1)
    z = flat @ w["dense"] + w["bias3"]

    g = np.exp(z - z.max(axis=1, keepdims=True))
    g /= g.sum(axis=1, keepdims=True)
    g[np.arange(len(x)), labels] -= 1
    g /= len(x)

    found = {"dense": flat.T @ g, "bias3": g.sum(axis=0)}
    g = back_pool2((g @ w["dense"].T).reshape(p2.shape))[0]
    g, found["conv2"], found["bias2"] = back_conv2(g * (c2 > 0))
    g = back_pool1(g)[0]
    _, found["conv1"], found["bias1"] = back_conv1(g * (c1 > 0))
    return found


# -- JAX: the same layers, jax.grad --------------------------------------------------------------


def jax_gradient() -> Any:
    """The function `gradient` with derivatives by jax.grad, to be compiled."""
    import jax
    from jax import numpy as jnp

    def loss(w: Weights, x: Any, labels: Any) -> Any:
        a = jax.nn.relu(nn.conv(x, w["conv1"], w["bias1"], padding="same"))
        a = nn.max_pool(a, (2, 2))
        a = jax.nn.relu(nn.conv(a, w["conv2"], w["bias2"], padding="same"))
        a = nn.max_pool(a, (2, 2))
        z = a.reshape(len(x), -1) @ w["dense"] + w["bias3"]
        logs = jax.nn.log_softmax(z)
        return -jnp.mean(jnp.take_along_axis(logs, labels[:, None], axis=1))

    return jax.grad(loss)


# -- training ------------------------------------------------------------------------------------


def batches(x: np.ndarray, labels: np.ndarray, epochs: int, seed: int = 1) -> Any:
    """Batches of equal length in a fixed random order, each image shifted by up to one pixel."""
    rng = np.random.default_rng(seed)
    framed = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for i in range(0, len(x) - BATCH + 1, BATCH):
            rows = order[i : i + BATCH]
            shifts = rng.integers(0, 3, (BATCH, 2))
            shifted = [
                framed[r, :, down : down + 8, right : right + 8]
                for r, (down, right) in zip(rows, shifts, strict=True)
            ]
            yield np.stack(shifted), labels[rows]


def adam(
    w: Weights, moments: Weights, g: Weights, step: Any, rate: Any, sqrt: Any
) -> tuple[Weights, Weights]:
    """One step of Adam with weight decay: new weights and, for each, a new pair of moments."""
    new, kept = {}, {}
    for name, value in w.items():
        m, v = moments[name]
        m, v = 0.9 * m + 0.1 * g[name], 0.999 * v + 0.001 * g[name] * g[name]
        kept[name] = (m, v)
        slope = (m / (1 - 0.9**step)) / (sqrt(v / (1 - 0.999**step)) + 1e-8)
        new[name] = value - rate * (slope + DECAY * value)
    return new, kept


def train(
    x: np.ndarray, labels: np.ndarray, *, epochs: int = EPOCHS, steps: int = 0, library: str
) -> Weights:
    """Weights, as NumPy arrays, after so many epochs or, if given, steps; float64 throughout."""
    if library == "jax":
        import jax
        from jax import numpy as jnp

        with jax.enable_x64(True):
            compiled = jax.jit(partial(_step, jax_gradient(), jnp.sqrt))
            return _descend(x, labels, epochs, steps, compiled, jnp)
    return _descend(x, labels, epochs, steps, partial(_step, gradient, np.sqrt), np)


def _step(
    gradient: Any, sqrt: Any, w: Weights, moments: Weights, x: Any, labels: Any, at: Any, rate: Any
) -> tuple[Weights, Weights]:
    return adam(w, moments, gradient(w, x, labels), at, rate, sqrt)


def _descend(
    x: np.ndarray, labels: np.ndarray, epochs: int, steps: int, step: Any, xp: Any
) -> Weights:
    w = {name: xp.asarray(value) for name, value in start().items()}
    moments = {name: (0 * value, 0 * value) for name, value in w.items()}
    total = epochs * (len(x) // BATCH)
    for at, (images, truth) in enumerate(batches(x, labels, epochs), 1):
        rate = RATE * (1 - (at - 1) / total)
        w, moments = step(w, moments, xp.asarray(images), xp.asarray(truth), float(at), rate)
        if at == steps:
            break
    return {name: np.array(value) for name, value in w.items()}


def accuracy(w: Weights, x: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of images whose highest score is their digit's."""
    return float(np.mean(scores(w, x).argmax(axis=1) == labels))


def baselines(
    x: np.ndarray, y: np.ndarray, held: np.ndarray, truth: np.ndarray
) -> dict[str, float]:
    """Accuracy of logistic regression and of the nearest neighbour on the held-out images."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    models = {
        "logistic regression": LogisticRegression(max_iter=5000),
        "nearest neighbour": KNeighborsClassifier(1),
    }
    flat, wide = x.reshape(len(x), -1), held.reshape(len(held), -1)
    return {name: float(m.fit(flat, y).score(wide, truth)) for name, m in models.items()}


def main() -> None:
    """Train, and print accuracies on the images held out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jax", action="store_true", help="train with jax.grad too")
    libraries = ["numpy", "jax"] if parser.parse_args().jax else ["numpy"]
    x, y, held, truth = data()
    for name, score in baselines(x, y, held, truth).items():
        print(f"{name:<28} {score:7.2%} of {len(truth)} images held out")
    how = {"numpy": "swath.vjp on NumPy", "jax": "jax.grad"}
    for library in libraries:
        began = time.perf_counter()
        w = train(x, y, library=library)
        seconds = time.perf_counter() - began
        score = accuracy(w, held, truth)
        print(f"{'network, ' + how[library]:<28} {score:7.2%}   {EPOCHS} epochs, {seconds:.1f} s")
    if len(libraries) == 2:
        run = partial(train, x, y, steps=20)
        one, other = run(library="numpy"), run(library="jax")
        apart = max(float(np.abs(one[k] - other[k]).max()) for k in one)
        print(f"largest difference of a weight after 20 steps: {apart:.1e}")


if __name__ == "__main__":
    main()
