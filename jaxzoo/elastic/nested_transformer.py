"""A causal language model that can be cut to fewer heads and fewer blocks.

Pre-norm blocks of attention and a gelu MLP of four times the width, learnt positions; the residual stream keeps its
width. All depths share the last norm and the head.
"""

import jax
import jax.numpy as jnp

from jaxzoo import ops
from jaxzoo.elastic.nested import Dimensions, NestedModel

AXES = {
    "embed": (None, None),
    "positions": (None, None),
    "blocks": {
        "norm_mixer": ("blocks", None),
        "qkv": ("blocks", None, None, "heads", None),
        "o": ("blocks", "heads", None, None),
        "norm_mlp": ("blocks", None),
        "up": ("blocks", None, None),
        "down": ("blocks", None, None),
    },
    "norm": (None,),
    "out": (None, None),
}


def nested_transformer(*, vocabulary=64, length=32, features=48, heads=4, depth=4):
    """The network as a `NestedModel` on tokens [t], logits [t, vocabulary]; its width is its number of heads.

    Args:
      vocabulary: number of tokens.
      length: the most tokens of a sequence.
      features: d of the residual stream.
      heads: of the whole network, a divisor of d.
      depth: its blocks.

    Returns:
      `NestedModel` with the axis "heads" [h].

    Raises:
      ValueError: heads that don't divide the features.
    """
    if features % heads:
        raise ValueError(f"heads: expected a divisor of {features} features, got {heads}")
    head_dim = features // heads

    def init(key):
        keys = jax.random.split(key, 7)
        normal = lambda key, fan, *shape: fan**-0.5 * jax.random.normal(key, shape)  # noqa: E731
        residual = 2 * depth  # branches that add to the stream
        return {
            "embed": normal(keys[0], 1, vocabulary, features),
            "positions": normal(keys[1], features, length, features),
            "blocks": {
                "norm_mixer": jnp.ones((depth, features)),
                "qkv": normal(keys[2], features, depth, features, 3, heads, head_dim),
                "o": normal(keys[3], residual * features, depth, heads, head_dim, features),
                "norm_mlp": jnp.ones((depth, features)),
                "up": normal(keys[4], features, depth, features, 4 * features),
                "down": normal(keys[5], residual * 4 * features, depth, 4 * features, features),
            },
            "norm": jnp.ones(features),
            "out": normal(keys[6], features, features, vocabulary),
        }

    def macs(w, l):
        """Of a whole sequence."""
        attention = length * 4 * features * head_dim * w + 2 * length**2 * head_dim * w
        return l * (attention + length * 8 * features**2) + length * features * vocabulary

    return NestedModel(init, apply, exits, Dimensions(heads, {"heads": heads}, depth), AXES, macs)


def apply(params, tokens, active=None):
    """Logits [t, vocabulary] of tokens [t]."""
    heads, blocks = (None, None) if active is None else (active.masks["heads"], active.blocks)

    def step(x, layer):
        block, flag = layer
        y = _block(block, x, heads)
        return (y if flag is None else jnp.where(flag, y, x)), None

    x, _ = jax.lax.scan(step, _embed(params, tokens), (params["blocks"], blocks))
    return _head(params, x)


def exits(params, tokens, active):
    """Logits [depth, t, vocabulary] of every depth from 1, with the heads of `active`."""

    def step(x, block):
        x = _block(block, x, active.masks["heads"])
        return x, _head(params, x)

    return jax.lax.scan(step, _embed(params, tokens), params["blocks"])[1]


def _embed(params, tokens):
    return params["embed"][tokens] + params["positions"][: tokens.shape[0]]  # [t, d]


def _block(block, x, heads):
    qkv = jnp.einsum("td,dche->cthe", ops.rms_norm(x, block["norm_mixer"]), block["qkv"])
    y = ops.attention(*qkv, causal=True)  # [t, h, e]
    if heads is not None:
        y = jnp.where(heads[None, :, None], y, 0)
    x = x + jnp.einsum("the,hed->td", y, block["o"])
    return x + jax.nn.gelu(ops.rms_norm(x, block["norm_mlp"]) @ block["up"]) @ block["down"]


def _head(params, x):
    return ops.rms_norm(x, params["norm"]) @ params["out"]
