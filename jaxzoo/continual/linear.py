"""A linear classifier trained as the stream comes: plain SGD on the cross-entropy of the classes seen so far."""

import jax
import jax.numpy as jnp

from jaxzoo.continual.learner import Batch, Learner, now_exposed


def masked_cross_entropy(logits, y, allowed):
    """Cross-entropy in which only some classes compete.

        -log (exp(l_y) / sum over allowed c of exp(l_c))

    Args:
      logits: [c].
      y: [] an allowed label.
      allowed: [c] bool.

    Returns:
      A scalar; its gradient is zero in the logits of the others.
    """
    return jax.nn.logsumexp(logits, where=allowed) - logits[y]


def batch_cross_entropy(W, x, y, mask, allowed):
    """The mean of `masked_cross_entropy` over the unmasked rows of x [b, d] and y [b]; 0 without any."""
    losses = jax.vmap(masked_cross_entropy, (0, 0, None))(x @ W, y, allowed)
    # A masked row may have a label that is not allowed; its loss is finite all the same, and has no weight.
    return jnp.where(mask, losses, 0).sum() / jnp.maximum(mask.sum(), 1)


def sequential_linear_sgd(d: int, *, classes: int, rate) -> Learner:
    """One step W <- W - rate dL/dW a batch, from W = 0; nothing keeps it from forgetting.

    Args:
      d: size of an example.
      classes: c.
      rate: learning rate; may be traced.

    Returns:
      A learner with state W [d, c].
    """

    def update(W, batch: Batch, key):
        allowed = now_exposed(batch)
        return W - rate * jax.grad(batch_cross_entropy)(W, batch.x, batch.y, batch.mask, allowed)

    return Learner(lambda: jnp.zeros((d, classes)), update, lambda W, x: x @ W)
