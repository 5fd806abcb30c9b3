"""Networks on adjacency matrices: a graph isomorphism network, and a perceptron that sees the bare matrix.

A graph is a matrix [n, n] of zeros and ones, padded; ones on its diagonal mark nodes (`spectral_sort.pad`).
"""

import itertools
import math

import jax.numpy as jnp

from jaxzoo.geometry.uniform_init import uniform_init
from jaxzoo.layers import MLP
from jaxzoo.model import Model
from jaxzoo.transforms import as_model


def gin_layer(params, h, a):
    """One layer of a graph isomorphism network: h_i' = tanh(W ((1 + eps) h_i + sum over neighbours j of h_j) + b).

    Args:
      params: {"eps": [], "kernel": [d, f], "bias": [f]}.
      h: [n, d] node features.
      a: [n, n] adjacency matrix with zero diagonal.

    Returns:
      [n, f].

    Source: Xu et al., "How Powerful are Graph Neural Networks?" (arXiv 1810.00826), eq. 4.1.
    """
    mixed = (1 + params["eps"]) * h + a @ h
    return jnp.tanh(mixed @ params["kernel"] + params["bias"][None])


def gin(*, width=32, layers=3, outputs=10, ids=False, eps=0.0):
    """GIN on degrees, with a sum over nodes, a linear layer and a tanh at the end.

    Args:
      width: of the layers.
      layers: how many.
      outputs: size of the output.
      ids: append to a node's degree its place in the matrix, one-hot; then the network depends on the labelling.
      eps: where the layers' eps begin. At 0 a node counts for itself as a neighbour does, so a layer sees A + I alone:
        averaged over frames it can't tell K3,3 from the prism, although it has ids.
        Networks whose ids and eps are arrays (of a boolean, of a number) share one compiled program. Without ids they
        have the weights of those with ids, which see zeros there.

    Returns:
      A `Model` [n, n] -> [outputs].
    """
    has_ids = ids is not False

    def zeros(key, x):
        sizes = [1 + x.shape[0] * has_ids] + [width] * layers

        def linear(d, f):
            return {"kernel": jnp.zeros((d, f)), "bias": jnp.zeros(f)}

        made = [linear(d, f) | {"eps": jnp.zeros(())} for d, f in itertools.pairwise(sizes)]
        return {"layers": made, "out": linear(width, outputs)}

    def init(key, x):
        params = drawn.init(key, x)
        if has_ids:
            # Where ids are not seen, the fan-in of the first layer is 1, the degree.
            first, scale = params["layers"][0], jnp.where(ids, 1.0, math.sqrt(1 + x.shape[0]))
            params["layers"][0] = first | {name: scale * first[name] for name in ("kernel", "bias")}
        return params

    def apply(params, x, *, key=None):
        n = x.shape[0]
        present = jnp.diagonal(x)[:, None].astype(jnp.float32)  # [n, 1]
        a = x.astype(jnp.float32) - jnp.diag(present[:, 0])
        h = a.sum(1, keepdims=True)
        if has_ids:
            h = jnp.concatenate([h, jnp.eye(n) * present * ids], axis=1)
        for layer in params["layers"]:
            h = gin_layer(layer | {"eps": layer["eps"] + eps}, h, a)
        pooled = (h * present).sum(0)
        return jnp.tanh(pooled @ params["out"]["kernel"] + params["out"]["bias"])

    drawn = uniform_init(Model(zeros, apply))
    return Model(init, apply)


def matrix_mlp(*, widths=(128, 64, 10)):
    """A perceptron on the flattened matrix, tanh after every layer: [n, n] -> [widths[-1]]."""
    mlp = as_model(MLP(widths, jnp.tanh))

    def flat(x):
        return x.astype(jnp.float32).ravel()

    def apply(params, x, *, key=None):
        return jnp.tanh(mlp.apply(params, flat(x)))

    return uniform_init(Model(lambda key, x: mlp.init(key, flat(x)), apply))
