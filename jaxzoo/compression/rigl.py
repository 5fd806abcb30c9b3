"""RigL: sparse training from scratch that moves its connections to where the gradient is largest."""

import jax
import jax.numpy as jnp

from jaxzoo.compression.masks import ranks


def rigl_fraction(step, end, *, first=0.3):
    """Share of the active weights to move: first / 2 (1 + cos(pi step / end)), for 0 <= step <= end."""
    return first / 2 * (1 + jnp.cos(jnp.pi * step / end))


def rigl_update(params, grads, masks, fraction):
    """Drops the smallest active weights of each layer and grows as many where the gradient is largest.

    Of k_l active weights floor(fraction k_l) are dropped, by |w|, and as many of those not active then are grown, by
    |gradient|: one that was just dropped may come back, and keeps its value. New weights are 0.

    Args:
      params: weights, a pytree with one leaf a layer.
      grads: dense gradients, like `params`: of pruned weights too.
      masks: booleans, like `params`.
      fraction: in [0, 1]; may be traced.

    Returns:
      `(params, masks)`; every layer keeps its number of active weights.

    Source: Evci et al., "Rigging the Lottery" (arXiv 1911.11134), Alg. 1.
    """
    leaves, structure = jax.tree.flatten(params)
    rest = structure.flatten_up_to(grads), structure.flatten_up_to(masks)
    moved = [_move(w, g, m, fraction) for w, g, m in zip(leaves, *rest, strict=True)]
    return structure.unflatten([w for w, _ in moved]), structure.unflatten([m for _, m in moved])


def _move(w, g, mask, fraction):
    active = mask.sum()
    drop = jnp.floor(fraction * active).astype(jnp.int32)
    magnitude = jnp.where(mask, jnp.abs(w), -1.0).reshape(-1)
    left = ranks(magnitude) >= w.size - active + drop
    gain = jnp.where(left, -1.0, jnp.abs(g).reshape(-1))
    after = (left | (ranks(gain) >= w.size - drop)).reshape(w.shape)
    return jnp.where(mask & after, w, 0), after
