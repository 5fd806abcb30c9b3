"""A residual MLP that can be cut to any width and depth.

x = W_in input; then for every block x + W2 gelu(W1 norm(x)), with hidden layers twice as wide; logits = W_out norm(x) +
b. All blocks and all depths share the head.
"""

import jax
import jax.numpy as jnp

from jaxzoo.elastic.masked_norm import masked_layer_norm
from jaxzoo.elastic.nested import Dimensions, NestedModel, keep
from jaxzoo.ops import layer_norm

AXES = {
    "in": (None, "channels"),
    "blocks": {
        "norm": {"scale": ("blocks", "channels"), "bias": ("blocks", "channels")},
        "up": ("blocks", "channels", "hidden"),
        "down": ("blocks", "hidden", "channels"),
    },
    "norm": {"scale": ("channels",), "bias": ("channels",)},
    "out": {"kernel": ("channels", None), "bias": (None,)},
}


def residual_mlp(*, inputs=128, width=40, depth=8, outputs=19):
    """The network as a `NestedModel`, on one example [inputs].

    Args:
      inputs: length of an example.
      width: d of the whole network.
      depth: its blocks.
      outputs: number of logits.

    Returns:
      `NestedModel` with the axes "channels" [d] and "hidden" [2 d].
    """
    normal = jax.nn.initializers.lecun_normal(batch_axis=())

    def init(key):
        key_in, key_up, key_down, key_out = jax.random.split(key, 4)
        norm = lambda *shape: {"scale": jnp.ones(shape), "bias": jnp.zeros(shape)}  # noqa: E731
        stacked = lambda key, *shape: jax.vmap(lambda k: normal(k, shape))(jax.random.split(key, depth))  # noqa: E731
        return {
            "in": normal(key_in, (inputs, width)),
            "blocks": {
                "norm": norm(depth, width),
                "up": stacked(key_up, width, 2 * width),
                "down": (2 * depth) ** -0.5 * stacked(key_down, 2 * width, width),  # branches add up
            },
            "norm": norm(width),
            "out": {"kernel": normal(key_out, (width, outputs)), "bias": jnp.zeros(outputs)},
        }

    dims = Dimensions(width, {"channels": width, "hidden": 2 * width}, depth)
    return NestedModel(init, apply, exits, dims, AXES, lambda w, l: macs(w, l, inputs=inputs, outputs=outputs))


def macs(width, depth, *, inputs=128, outputs=19):
    """Products of a sub-network on one example: inputs w + l 4 w^2 + w outputs. Those of norms don't count.

    Args:
      width: w, an int or an array.
      depth: l, likewise.
      inputs, outputs: as in `residual_mlp`.

    Returns:
      As the arguments.
    """
    return inputs * width + 4 * depth * width**2 + width * outputs


def apply(params, x, active=None):
    """Logits [outputs] of x [inputs]."""
    masks, blocks = (None, None) if active is None else active
    channels, hidden = (None, None) if masks is None else (masks["channels"], masks["hidden"])

    def step(x, layer):
        block, flag = layer
        y = _branch(block, x, channels, hidden)
        return x + (y if flag is None else flag.astype(y.dtype) * y), None

    x, _ = jax.lax.scan(step, keep(x @ params["in"], channels), (params["blocks"], blocks))
    return _head(params, x, channels)


def exits(params, x, active):
    """Logits [depth, outputs] of every depth from 1, at the widths of `active`."""
    channels, hidden = active.masks["channels"], active.masks["hidden"]

    def step(x, block):
        x = x + _branch(block, x, channels, hidden)
        return x, _head(params, x, channels)

    return jax.lax.scan(step, keep(x @ params["in"], channels), params["blocks"])[1]


def _branch(block, x, channels, hidden):
    h = keep(jax.nn.gelu(_norm(block["norm"], x, channels) @ block["up"]), hidden)
    return keep(h @ block["down"], channels)


def _head(params, x, channels):
    return _norm(params["norm"], x, channels) @ params["out"]["kernel"] + params["out"]["bias"]


def _norm(params, x, mask):
    if mask is None:
        return layer_norm(x, params["scale"], params["bias"])
    return masked_layer_norm(x, mask, params["scale"], params["bias"])
