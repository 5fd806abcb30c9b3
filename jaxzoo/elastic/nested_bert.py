"""BERT for classification, which can be cut to fewer heads, fewer hidden channels and fewer blocks.

Post-norm blocks of attention and an MLP with the exact gelu, biases everywhere; embeddings of tokens, positions and
segments; a tanh layer on the first token, [CLS], and a linear head, which all depths share. The residual stream keeps
its width.

Source: Devlin, Chang, Lee, Toutanova, "BERT" (arXiv 1810.04805), Sec. 3 and A.
"""

import jax
import jax.numpy as jnp

from jaxzoo import ops
from jaxzoo.elastic.nested import Dimensions, NestedModel, keep, share

EPS = 1e-12
"""Of all layer norms."""
NORM = {"scale": (None,), "bias": (None,)}
BLOCK_NORM = {"scale": ("blocks", None), "bias": ("blocks", None)}
AXES = {
    "embed": {"words": (None, None), "positions": (None, None), "segments": (None, None), "norm": NORM},
    "blocks": {
        "qkv": {"kernel": ("blocks", None, None, "heads", None), "bias": ("blocks", None, "heads", None)},
        "o": {"kernel": ("blocks", "heads", None, None), "bias": ("blocks", None)},
        "norm_mixer": BLOCK_NORM,
        "up": {"kernel": ("blocks", None, "hidden"), "bias": ("blocks", "hidden")},
        "down": {"kernel": ("blocks", "hidden", None), "bias": ("blocks", None)},
        "norm_mlp": BLOCK_NORM,
    },
    "pooler": {"kernel": (None, None), "bias": (None,)},
    "out": {"kernel": (None, None), "bias": (None,)},
}


def nested_bert(
    *, vocabulary=30522, length=128, positions=512, features=768, heads=12, depth=12, hidden=3072, outputs=2
):
    """BERT-base as a `NestedModel` on one sequence [3, t] of tokens, segments 0 or 1, and 1 where there is a token.

    NOTE(paper): no dropout.

    Args:
      vocabulary: number of tokens.
      length: t, for `macs` alone.
      positions: the most tokens of a sequence.
      features: d of the residual stream.
      heads: of the whole network, a divisor of d; its width.
      depth: its blocks.
      hidden: channels of the MLP's hidden layer; a sub-network keeps the same share of them as of the heads.
      outputs: number of logits.

    Returns:
      `NestedModel` with the axes "heads" [h] and "hidden".

    Raises:
      ValueError: heads that don't divide the features, or a length beyond the positions.
    """
    if features % heads:
        raise ValueError(f"heads: expected a divisor of {features} features, got {heads}")
    if length > positions:
        raise ValueError(f"length: expected at most {positions}, got {length}")
    e = features // heads
    dims = Dimensions(heads, {"heads": heads, "hidden": hidden}, depth)

    def init(key):
        keys = iter(jax.random.split(key, 9))
        normal = lambda *shape: 0.02 * jax.random.normal(next(keys), shape)  # noqa: E731
        dense = lambda kernel, bias: {"kernel": normal(*kernel), "bias": jnp.zeros(bias)}  # noqa: E731
        norm = lambda *shape: {"scale": jnp.ones(shape), "bias": jnp.zeros(shape)}  # noqa: E731
        return {
            "embed": {
                "words": normal(vocabulary, features),
                "positions": normal(positions, features),
                "segments": normal(2, features),
                "norm": norm(features),
            },
            "blocks": {
                "qkv": dense((depth, features, 3, heads, e), (depth, 3, heads, e)),
                "o": dense((depth, heads, e, features), (depth, features)),
                "norm_mixer": norm(depth, features),
                "up": dense((depth, features, hidden), (depth, hidden)),
                "down": dense((depth, hidden, features), (depth, features)),
                "norm_mlp": norm(depth, features),
            },
            "pooler": dense((features, features), features),
            "out": dense((features, outputs), outputs),
        }

    def macs(w, l):
        """Of a whole sequence."""
        attention = 4 * length * features * e * w + 2 * length**2 * e * w
        mlp = 2 * length * features * share(hidden, w, dims)
        return l * (attention + mlp) + features * (features + outputs)

    return NestedModel(init, apply, exits, dims, AXES, macs)


def apply(params, x, active=None):
    """Logits [outputs] of a sequence [3, t]."""
    masks, flags = ({}, None) if active is None else active

    def step(h, layer):
        block, flag = layer
        y = _block(block, h, x[2], masks)
        return (y if flag is None else jnp.where(flag, y, h)), None

    h, _ = jax.lax.scan(step, _embed(params["embed"], x), (params["blocks"], flags))
    return _head(params, h)


def exits(params, x, active):
    """Logits [depth, outputs] of every depth from 1, at the width of `active`."""

    def step(h, block):
        h = _block(block, h, x[2], active.masks)
        return h, _head(params, h)

    return jax.lax.scan(step, _embed(params["embed"], x), params["blocks"])[1]


def _embed(params, x):
    h = params["words"][x[0]] + params["positions"][: x.shape[1]] + params["segments"][x[1]]  # [t, d]
    return _norm(params["norm"], h)


def _block(block, h, there, masks):
    heads, hidden = masks.get("heads"), masks.get("hidden")
    bias = block["qkv"]["bias"][:, None]  # [3, 1, h, e]
    q, k, v = jnp.einsum("td,dche->cthe", h, block["qkv"]["kernel"]) + bias
    y = ops.attention(q, k, v, mask=(there > 0)[None, None])  # [t, h, e]
    y = y if heads is None else jnp.where(heads[None, :, None], y, 0)
    y = jnp.einsum("the,hed->td", y, block["o"]["kernel"]) + block["o"]["bias"][None]
    h = _norm(block["norm_mixer"], h + y)
    y = keep(jax.nn.gelu(_dense(block["up"], h), approximate=False), hidden)
    return _norm(block["norm_mlp"], h + _dense(block["down"], y))


def _head(params, h):
    return _dense(params["out"], jnp.tanh(_dense(params["pooler"], h[:1])))[0]


def _dense(params, x):
    return x @ params["kernel"] + params["bias"][None]


def _norm(params, x):
    return ops.layer_norm(x, params["scale"], params["bias"], eps=EPS)
