"""The graph convolution of Kipf and Welling, on edge lists."""

import jax
import jax.numpy as jnp


def gcn_propagate(x, senders, receivers, *, edge_mask=None):
    """One step of normalised averaging over neighbours: D^-1/2 (A + I) D^-1/2 x, D the degrees of A + I.

    Args:
      x: [n, d] node features.
      senders, receivers: [e] the nodes of each directed edge; an undirected graph lists both directions.
      edge_mask: [e] booleans, False for padding; by default all edges count.

    Returns:
      [n, d] of x's dtype; sums are taken in float32 or better.

    Source: Kipf, Welling, "Semi-supervised classification with graph convolutional networks" (arXiv 1609.02907), eq. 2
    without its weights.
    """
    nodes = x.shape[0]
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    weight = jnp.ones(senders.shape, wide.dtype) if edge_mask is None else edge_mask.astype(wide.dtype)
    degree = 1 + jax.ops.segment_sum(weight, receivers, nodes)
    scaled = wide * jax.lax.rsqrt(degree)[:, None]
    received = jax.ops.segment_sum(scaled[senders] * weight[:, None], receivers, nodes)
    return ((received + scaled) * jax.lax.rsqrt(degree)[:, None]).astype(x.dtype)


def gcn_layer(params, x, senders, receivers, *, edge_mask=None):
    """The graph convolution: D^-1/2 (A + I) D^-1/2 x W + b.

    Args:
      params: {"kernel": [d, f], "bias": [f]}.
      x: [n, d] node features.
      senders, receivers, edge_mask: as in `gcn_propagate`.

    Returns:
      [n, f].
    """
    return gcn_propagate(x @ params["kernel"], senders, receivers, edge_mask=edge_mask) + params["bias"][None]


def init_gcn_layer(key, d, f):
    """Parameters of `gcn_layer`: Glorot-uniform kernel [d, f], zero bias [f]."""
    return {"kernel": jax.nn.initializers.glorot_uniform()(key, (d, f)), "bias": jnp.zeros(f)}
