"""A residual network for CIFAR that can be cut to any width and depth; ResNet-32 has width 16 and depth 5.

A 3x3 convolution, three stages of `depth` blocks at d, 2 d and 4 d channels, global mean, linear head; a sub-network
keeps the first blocks of every stage. A stage's change of size is not part of its blocks.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), Sec. 4.2.
"""

import jax
import jax.numpy as jnp

from jaxzoo import ops
from jaxzoo.elastic.masked_norm import masked_layer_norm
from jaxzoo.elastic.nested import Dimensions, NestedModel, exits_by_depth, keep

STAGES = 3


def nested_resnet(*, channels=3, side=32, width=16, depth=5, outputs=10):
    """The network as a `NestedModel` on one image [h, w, c].

    NOTE(paper): layer norm over the channels in use at every pixel in the place of batch norm, so that no sub-network
    needs statistics of its own.

    Args:
      channels: of the image.
      side: of the image, pixels; for `macs` alone.
      width: channels of the first stage.
      depth: blocks of each stage.
      outputs: number of logits.

    Returns:
      `NestedModel` with an axis "stage0", "stage1", "stage2" of channels for each stage.
    """
    sizes = [width * 2**s for s in range(STAGES)]

    def init(key):
        keys = iter(jax.random.split(key, 2 + 3 * STAGES))
        he = lambda key, *shape: (2 / (shape[-2] * 9)) ** 0.5 * jax.random.normal(key, shape)  # noqa: E731
        norm = lambda *shape: {"scale": jnp.ones(shape), "bias": jnp.zeros(shape)}  # noqa: E731
        stages, before = [], width
        for d in sizes:
            blocks = {
                "norm1": norm(depth, d),
                "conv1": he(next(keys), depth, 3, 3, d, d),
                "norm2": norm(depth, d),
                "conv2": he(next(keys), depth, 3, 3, d, d),
            }
            stages.append({"enter": he(next(keys), 3, 3, before, d), "blocks": blocks})
            before = d
        out = before**-0.5 * jax.random.normal(next(keys), (before, outputs))
        stem = he(next(keys), 3, 3, channels, width)
        return {"in": stem, "stages": stages, "norm": norm(before), "out": {"kernel": out, "bias": jnp.zeros(outputs)}}

    def macs(w, l):
        total, before = 9 * channels * w * side**2, w
        for s in range(STAGES):
            d, pixels = w * 2**s, (side // 2**s) ** 2
            total, before = total + pixels * 9 * (before * d + 2 * l * d * d), d
        return total + before * outputs

    dims = Dimensions(width, {f"stage{s}": 2**s for s in range(STAGES)}, depth)
    return NestedModel(init, apply, exits_by_depth(apply, dims), dims, _axes(), macs)


def _axes():
    norm = lambda *axes: {"scale": axes, "bias": axes}  # noqa: E731
    stages, before = [], "stage0"
    for s in range(STAGES):
        name = f"stage{s}"
        conv = ("blocks", None, None, name, name)
        blocks = {"norm1": norm("blocks", name), "conv1": conv, "norm2": norm("blocks", name), "conv2": conv}
        stages.append({"enter": (None, None, before, name), "blocks": blocks})
        before = name
    head = {"kernel": (before, None), "bias": (None,)}
    return {"in": (None, None, None, "stage0"), "stages": stages, "norm": norm(before), "out": head}


def apply(params, x, active=None):
    """Logits [outputs] of an image [h, w, c]."""
    masks = [None] * STAGES if active is None else [active.masks[f"stage{s}"] for s in range(STAGES)]
    blocks = None if active is None else active.blocks
    x = keep(ops.conv(x, params["in"]), masks[0])
    for s, (stage, mask) in enumerate(zip(params["stages"], masks, strict=True)):

        def step(x, layer, mask=mask):
            block, flag = layer
            y = x
            for i in "12":
                y = keep(ops.conv(jax.nn.relu(_norm(block[f"norm{i}"], y, mask)), block[f"conv{i}"]), mask)
            return x + (y if flag is None else flag.astype(y.dtype) * y), None

        x = keep(ops.conv(x, stage["enter"], stride=1 if s == 0 else 2), mask)
        x, _ = jax.lax.scan(step, x, (stage["blocks"], blocks))
    x = jax.nn.relu(_norm(params["norm"], x, masks[-1])).mean((0, 1))
    return x @ params["out"]["kernel"] + params["out"]["bias"]


def _norm(params, x, mask):
    if mask is None:
        return ops.layer_norm(x, params["scale"], params["bias"])
    return masked_layer_norm(x, mask, params["scale"], params["bias"])
