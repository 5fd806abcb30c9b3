"""A decoder with exits in depth, of the sizes of LLaMA-2-7B.

Pre-norm blocks of causal attention with rotary positions and SwiGLU, RMS norms, no biases, one untied head: after every
few blocks an exit, where the last norm and the head, which all share, give logits. Blocks are computed again in the
backward pass.

Sources: Touvron et al., "Llama 2" (arXiv 2307.09288), Sec. 2.2; exits: Kavehzadeh et al., "Sorted LLaMA" (arXiv
2309.08968).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo import layers, ops
from jaxzoo.elastic.nested import Dimensions, NestedModel

EPS = 1e-5
"""Of all RMS norms."""


def nested_decoder(*, vocabulary=32000, length=2048, features=4096, hidden=11008, heads=32, blocks=32, exits=8):
    """The network as a `NestedModel` of width 1 on tokens [t], logits [t, vocabulary]; its depth counts exits.

    Args:
      vocabulary: number of tokens.
      length: t, for `macs` alone.
      features: d of the residual stream.
      hidden: channels of the MLP's hidden layer.
      heads: a divisor of d.
      blocks: in all.
      exits: a divisor of the blocks; an exit stands behind every blocks / exits of them.

    Raises:
      ValueError: exits that don't divide the blocks.
    """
    if blocks % exits:
        raise ValueError(f"exits: expected a divisor of {blocks} blocks, got {exits}")
    block = layers.TransformerBlock(
        partial(layers.Attention, heads=heads, causal=True, rotary=True),
        mlp=partial(layers.SwiGLU, hidden=hidden),
        norm=partial(layers.RMSNorm, eps=EPS),
    )
    each = blocks // exits
    dims = Dimensions(1, {}, exits, {"blocks": tuple(i // each for i in range(blocks))})

    def init_block(key):
        return block.init(key, jnp.zeros((1, features)))["params"]

    def init(key):
        key_embed, key_blocks, key_out = jax.random.split(key, 3)
        normal = lambda key, *shape: features**-0.5 * jax.random.normal(key, shape)  # noqa: E731
        return {
            "embed": normal(key_embed, vocabulary, features),
            "blocks": jax.lax.map(init_block, jax.random.split(key_blocks, blocks)),
            "norm": jnp.ones(features),
            "out": normal(key_out, features, vocabulary),
        }

    @jax.checkpoint
    def run(params, x):
        return block.apply({"params": params}, x)

    def apply(params, tokens, active=None):
        def step(x, layer):
            weights, flag = layer
            y = run(weights, x)
            return (y if flag is None else jnp.where(flag, y, x)), None

        flags = None if active is None else active.blocks[np.array(dims.stages["blocks"])]
        x, _ = jax.lax.scan(step, params["embed"][tokens], (params["blocks"], flags))
        return _head(params, x)

    def exits_of(params, tokens, active):
        def step(x, group):
            x, _ = jax.lax.scan(lambda x, weights: (run(weights, x), None), x, group)
            return x, _head(params, x)

        groups = jax.tree.map(lambda p: p.reshape(exits, each, *p.shape[1:]), params["blocks"])
        return jax.lax.scan(step, params["embed"][tokens], groups)[1]

    def macs(w, l):
        """Of a whole sequence."""
        attention = 4 * length * features**2 + 2 * length**2 * features
        return l * each * (attention + 3 * length * features * hidden) + length * features * vocabulary

    of_block = jax.eval_shape(init_block, jax.random.key(0))
    axes = {"embed": (None, None), "norm": (None,), "out": (None, None)}
    axes["blocks"] = jax.tree.map(lambda p: ("blocks", *(None,) * p.ndim), of_block)
    return NestedModel(init, apply, exits_of, dims, axes, macs)


def _head(params, x):
    return ops.rms_norm(x, params["norm"], eps=EPS) @ params["out"]
