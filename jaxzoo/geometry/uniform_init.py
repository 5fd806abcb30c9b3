"""Initial parameters in one draw."""

import math

import jax

from jaxzoo.model import Model


def uniform_init(model, *, small=()):
    """A model whose weights and biases begin uniform in -+1 / sqrt(fan_in) of their layer, and all else at 0.

    One draw makes all of them: a draw for each matrix is most of the time to compile a small network.

    Args:
      model: a `Model`. Leaves of its parameters with two axes or more are weights [fan_in, ...]; one with a single axis
        beside weights, in the same dict, is their bias.
      small: weights whose path has one of these names are 1000 times smaller.

    Returns:
      A `Model` with the same apply.
    """

    def init(key, *inputs):
        shapes = jax.eval_shape(lambda *inputs: model.init(jax.random.key(0), *inputs), *inputs)
        leaves, structure = jax.tree.flatten_with_path(shapes)
        fan_in = {path[:-1]: leaf.shape[0] for path, leaf in leaves if len(leaf.shape) > 1}
        bounds = [fan_in[path[:-1]] ** -0.5 if leaf.shape and path[:-1] in fan_in else 0 for path, leaf in leaves]
        ends = [sum(math.prod(leaf.shape) for _, leaf in leaves[: i + 1]) for i in range(len(leaves))]
        drawn, made = jax.random.uniform(key, (ends[-1],), minval=-1.0), []
        for (path, leaf), bound, end in zip(leaves, bounds, ends, strict=True):
            names = {getattr(part, "key", None) for part in path}
            scale = bound * (1e-3 if names & set(small) else 1)
            part = drawn[end - math.prod(leaf.shape) : end].reshape(leaf.shape)
            made.append((scale * part).astype(leaf.dtype))
        return jax.tree.unflatten(structure, made)

    return Model(init, model.apply)
