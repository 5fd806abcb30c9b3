"""Training a multilayer perceptron in integers and in floating point, from the same weights on the same batches."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.robustness.fixed_point import forward, quantise, train_step_int


def he_normal(key, widths):
    """W_1 .. W_L [n_{l-1}, n_l] float32, normal with variance 2 / n_{l-1}."""
    keys = jax.random.split(key, len(widths) - 1)
    pairs = zip(keys, widths[:-1], widths[1:], strict=True)
    return [jax.random.normal(k, (n, m), jnp.float32) * np.float32(np.sqrt(2 / n)) for k, n, m in pairs]


def train_int(weights, x, y, chosen, *, bits: int, shift: int):
    """The weights after a step of `train_step_int` for every row of `chosen`.

    Args:
      weights, x, y: W_l [n_{l-1}, n_l], [n, n_0] and [n, n_L] real; they are quantised.
      chosen: [steps, b] indices of the batches.
      bits, shift: R and k.

    Returns:
      W_1 .. W_L, integers.
    """
    x, y = quantise(x, bits), quantise(y, bits)

    def step(weights, index):
        return train_step_int(weights, x[index], y[index], bits=bits, shift=shift)[0], None

    return jax.lax.scan(step, [quantise(w, bits) for w in weights], chosen)[0]


def train_float(weights, x, y, chosen, *, rate: float):
    """The same in the floating point of its arguments: SGD on half the squared error, averaged over the batch."""

    def step(weights, index):
        loss = lambda weights: 0.5 * jnp.square(predict(weights, x[index]) - y[index]).sum(1).mean()  # noqa: E731
        return [w - jnp.asarray(rate, w.dtype) * g for w, g in zip(weights, jax.grad(loss)(weights), strict=True)], None

    return jax.lax.scan(step, weights, chosen)[0]


def predict(weights, x):
    """The network's outputs [b, n_L] in floating point."""
    for w in weights[:-1]:
        x = jax.nn.relu(x @ w)
    return x @ weights[-1]


def predict_int(weights, x, *, bits: int):
    """The network's outputs [b, n_L] in integers, of real x."""
    return forward(weights, quantise(x, bits), bits)[1][-1]
