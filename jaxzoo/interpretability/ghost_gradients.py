"""Ghost gradients: how features of a sparse dictionary that no longer fire learn again.

A ReLU that is never positive passes no gradient. So a dead feature gets a second way to the loss, with exp in the
ReLU's place, on which the dead features alone try to give what is missing from the output.

Source: Jermyn, Templeton, "Ghost Grads: An improvement on resampling" (Circuits Updates, Transformer Circuits Thread,
January 2024).
"""

import jax
import jax.numpy as jnp

from jaxzoo.ops import safe_norm


def ghost_loss(params, x, residual, error, dead):
    """The loss by which dead features learn, of one example.

        g = sum over dead j of exp(h_j) W_dec_j,   h = (x - b_in) W_enc + b_enc
        g <- g |r| / (2 |g|),   r the residual
        loss = |g - r|^2 error / value(|g - r|^2)

    Both factors are constants to the gradient, as are r and the error: the loss has the error's value always, and its
    gradient reaches rows and columns of dead features only. exp is taken of h less its largest dead value, which
    changes g by a factor that the scaling undoes, and can neither overflow nor vanish.

    NOTE(paper): the transcoders' code takes r = x - out, the input less the output, which misses what a transcoder is
    to give; it scales the loss to the error coordinate by coordinate; and it lets the gradient into b_in. Here all is
    as published, which for an autoencoder is the same but for the second.

    Args:
      params: a `sparse_dictionaries.Dictionary` of F features.
      x: [d] the input.
      residual: [e] target less output.
      error: the reconstruction error, a scalar.
      dead: [F] booleans.

    Returns:
      A scalar: the error, or 0 where no feature is dead.
    """
    residual, error = jax.lax.stop_gradient((residual, error))
    h = (x - jax.lax.stop_gradient(params.b_in)) @ params.W_enc + params.b_enc
    top = jax.lax.stop_gradient(jnp.max(h, initial=-jnp.inf, where=dead))
    ghost = jnp.exp(jnp.where(dead, h - top, -jnp.inf)) @ params.W_dec  # [e]
    scale = safe_norm(residual) / (2 * jnp.maximum(safe_norm(ghost), 1e-20))
    missed = jnp.square(jax.lax.stop_gradient(scale) * ghost - residual).sum()
    worth = jax.lax.stop_gradient(error / jnp.maximum(missed, 1e-20))
    return jnp.where(dead.any(), worth * missed, 0)
