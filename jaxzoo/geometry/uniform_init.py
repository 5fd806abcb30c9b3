"""Initial weights in one draw."""

import math

import jax
import jax.numpy as jnp

from jaxzoo.model import Model


def uniform_init(model, *, small=()):
    """A model whose weights begin uniform in -+1 / sqrt(fan_in), and all else at 0.

    One draw makes all of them: a draw for each matrix is most of the time to compile a small network.
    NOTE(paper): biases begin at 0; PyTorch draws them like the weights.

    Args:
      model: a `Model`; leaves of its parameters with two axes or more are weights [fan_in, ...].
      small: weights whose path has one of these names are 1000 times smaller.

    Returns:
      A `Model` with the same apply.
    """

    def init(key, *inputs):
        shapes = jax.eval_shape(lambda *inputs: model.init(jax.random.key(0), *inputs), *inputs)
        leaves, structure = jax.tree.flatten_with_path(shapes)
        sizes = [math.prod(leaf.shape) if len(leaf.shape) > 1 else 0 for _, leaf in leaves]
        drawn, at, made = jax.random.uniform(key, (sum(sizes),), minval=-1.0), 0, []
        for (path, leaf), size in zip(leaves, sizes, strict=True):
            if size == 0:
                made.append(jnp.zeros(leaf.shape, leaf.dtype))
                continue
            names = {getattr(part, "key", None) for part in path}
            bound = leaf.shape[0] ** -0.5 * (1e-3 if names & set(small) else 1)
            made.append((bound * drawn[at : at + size]).reshape(leaf.shape).astype(leaf.dtype))
            at += size
        return jax.tree.unflatten(structure, made)

    return Model(init, model.apply)
