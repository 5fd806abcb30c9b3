"""How much a weight is worth: its magnitude, and three scores by gradients. Whatever the score, the largest are kept.

A loss is `loss(weights, batch) -> scalar` with `weights` a pytree of one leaf a layer; `batches` is a pytree whose
leaves have a leading axis of batches, over which scores are averaged.
"""

import jax
import jax.numpy as jnp


def magnitude(params):
    """|w|."""
    return jax.tree.map(jnp.abs, params)


def snip(loss, params, batches):
    """|w dL/dw|: what the loss would change by, to first order, without the weight.

    Args:
      loss: of weights and one batch.
      params: the weights.
      batches: leaves [n, ...].

    Returns:
      The mean over batches, like `params`.

    Source: Lee, Ajanthan, Torr, "SNIP" (arXiv 1810.02340), eq. 6, at a trained network.
    """
    return _mean(lambda batch: _products(jnp.abs, params, jax.grad(loss)(params, batch)), batches)


def taylor(loss, params, batches):
    """(w dL/dw)^2, averaged over batches; arguments as of `snip`.

    Source: Molchanov et al., "Importance Estimation for Neural Network Pruning" (arXiv 1906.10771), eq. 8.
    """
    return _mean(lambda batch: _products(jnp.square, params, jax.grad(loss)(params, batch)), batches)


def grasp(loss, params, batches):
    """w (H g), with gradient g and Hessian H of the mean loss: the gradient flow that goes with the weight.

    It is the paper's score, whose highest are pruned, with its sign turned; arguments as of `snip`.

    Source: Wang, Zhang, Grosse, "GraSP" (arXiv 2002.07376), eq. 8.
    """
    gradient = _mean(lambda batch: jax.grad(loss)(params, batch), batches)

    def curved(batch):
        return jax.jvp(lambda w: jax.grad(loss)(w, batch), (params,), (gradient,))[1]

    return _products(lambda x: x, params, _mean(curved, batches))


def _products(function, params, gradient):
    return jax.tree.map(lambda w, g: function(w * g), params, gradient)


def _mean(function, batches):
    """Mean of `function(batch)` over the leading axis, one batch at a time."""
    return jax.tree.map(lambda x: x.mean(0), jax.lax.map(function, batches))
