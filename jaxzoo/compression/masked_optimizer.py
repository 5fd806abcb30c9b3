"""An optimiser that leaves pruned weights alone."""

import jax
import jax.numpy as jnp
import optax

from jaxzoo.transforms.trees import check_like


def masked_optimizer(tx, masks):
    """Masks the gradient, the change and what the optimiser remembers of every parameter.

    A weight that starts at 0 stays there, whatever momentum or decay does. The masks may be traced and may differ from
    one update to the next: what is pruned forgets its momentum.

    Args:
      tx: any optax transformation.
      masks: pytree like the parameters, of booleans.

    Returns:
      An optax transformation. Its `update` raises ValueError where `masks` do not fit the gradient.
    """

    def masked(tree):
        return jax.tree.map(lambda x, m: jnp.where(m, x, jnp.zeros_like(x)), tree, masks)

    def update(gradient, memory, params=None):
        check_like("masks", masks, gradient)
        change, memory = tx.update(masked(gradient), memory, params)
        memory = optax.tree_utils.tree_map_params(tx, lambda x, m: jnp.where(m, x, jnp.zeros_like(x)), memory, masks)
        return masked(change), memory

    return optax.GradientTransformation(tx.init, update)
