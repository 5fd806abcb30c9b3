"""Other ways to train many sub-networks in one: the slimmable sandwich, and lines of networks."""

import jax
import jax.numpy as jnp
import optax


def sandwich_loss(logits, labels, distil):
    """Mean cross-entropy of n sub-networks, of which all but the first may fit the first's outputs.

        L = 1/n [CE(p_1, label) + sum_{i > 1} (1 - distil) CE(p_i, label) + distil CE(p_i, stop(p_1))]

    Args:
      logits: [n, b, c]; in the sandwich rule the first is the whole network, the second the smallest.
      labels: [b] integers.
      distil: 0 for labels alone, 1 for inplace distillation; may be traced.

    Returns:
      A scalar.

    Source: Yu, Huang, "Universally Slimmable Networks and Improved Training Techniques" (arXiv 1903.05134), Sec. 3.
    """
    n, _, classes = logits.shape
    taught = jax.lax.stop_gradient(jax.nn.softmax(logits[:1]))  # [1, b, c]
    weight = jnp.where(jnp.arange(n) == 0, 0.0, distil)[:, None, None]
    targets = (1 - weight) * jax.nn.one_hot(labels, classes)[None] + weight * taught
    return optax.losses.softmax_cross_entropy(logits, targets).mean()


def sandwich_logits(shapes, n):
    """Logits [n, g] for `draw_from`: the whole network, the smallest, and n - 2 uniform ones."""
    if n < 2:
        raise ValueError(f"n: expected at least 2 for a sandwich, got {n}")
    only = lambda i: jnp.where(jnp.arange(shapes) == i, 0.0, -jnp.inf)  # noqa: E731
    return jnp.stack([only(shapes - 1), only(0), *[jnp.zeros(shapes)] * (n - 2)])


def at_width(params, active):
    """The point of a line of networks: a theta_1 + (1 - a) theta_2, a the share of the channels in use.

    Args:
      params: (theta_1, theta_2).
      active: an `Active`.

    Returns:
      Parameters of one network.
    """
    a = next(iter(active.masks.values())).mean(dtype=jnp.float32)
    return jax.tree.map(lambda p, q: a * p + (1 - a) * q, *params)


def squared_error(outputs, targets, distil):
    """Mean squared error of n sub-networks of one output, a `loss` for `nested_task`; see `sandwich_loss`.

    Args:
      outputs: [n, b, 1].
      targets: [b].
      distil: 0 for targets alone, 1 to have all but the first fit the first.

    Returns:
      A scalar.
    """
    y = outputs[..., 0]
    weight = jnp.where(jnp.arange(y.shape[0]) == 0, 0.0, distil)[:, None]
    return jnp.square(y - (1 - weight) * targets[None] - weight * jax.lax.stop_gradient(y[:1])).mean()


def on_a_line(apply):
    """A line of networks by width, at each the network of `at_width`.

    Args:
      apply: `apply(params, x, active) -> y`; exits of a network likewise.

    Returns:
      `apply((theta_1, theta_2), x, active) -> y`.

    Source: Nunez et al., "LCS: Learning Compressible Subspaces for Adaptive Network Compression at Inference Time"
    (arXiv 2110.04252), with prefixes of channels.
    """

    return lambda params, x, active: apply(at_width(params, active), x, active)
