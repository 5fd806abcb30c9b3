"""VanillaNet-5 to -13: their sizes, and how each is trained on ImageNet.

Source: Chen, Wang, Guo, Tao (arXiv 2305.12972) and the commands that come with the official code. Other settings of it
are at their defaults: CutMix 1, labels smoothed by 0.1, a place erased in a quarter of the pictures, 5 epochs of
warm-up.
"""

from typing import NamedTuple

import jax
import optax

EPOCHS = 300
FADED = 100
"""Epochs until lam is 1."""
BATCH = 1024
PART = 128
"""Pictures on one device, of eight, over which batch norms take their statistics."""
EPOCH = 1_281_167 // BATCH
"""Updates in an epoch of ImageNet."""
WARMUP = 5 * EPOCH
LAST_RATE = 1e-6


class Recipe(NamedTuple):
    """Sizes of a network and what its training does not share with the others'.

    Attributes:
      dims: channels after the stem and after each block.
      strides: of the blocks.
      rate: peak learning rate.
      decay: weight decay.
      mixup: alpha of the Beta distribution.
      layer_decay: factor of the learning rate from each layer to the one before it.
    """

    dims: tuple[int, ...]
    strides: tuple[int, ...]
    rate: float
    decay: float
    mixup: float
    layer_decay: float = 1.0


def _sizes(depth):
    """Channels and strides of VanillaNet-7 to -13: blocks of 2048 channels come in as depth grows."""
    more = depth - 7
    return (512, 512, 1024, 2048, *(2048,) * more, 4096, 4096), (1, 2, 2, *(1,) * more, 2, 1)


RECIPES = {
    5: Recipe((512, 1024, 2048, 4096), (2, 2, 2), 3.5e-3, 0.35, 0.1),
    6: Recipe((512, 1024, 2048, 4096, 4096), (2, 2, 2, 1), 4.8e-3, 0.32, 0.15, 0.8),
    7: Recipe(*_sizes(7), 4.7e-3, 0.35, 0.4, 0.8),
    8: Recipe(*_sizes(8), 3.5e-3, 0.3, 0.4),
    9: Recipe(*_sizes(9), 3.5e-3, 0.3, 0.4),
    10: Recipe(*_sizes(10), 3.5e-3, 0.25, 0.4),
    # NOTE(paper): no recipe of these was published; they have that of VanillaNet-10.
    **{depth: Recipe(*_sizes(depth), 3.5e-3, 0.25, 0.4) for depth in (11, 12, 13)},
}
"""By depth, that of the merged form."""


def warmed_cosine(rate, steps, warmup):
    """A learning rate that goes from 0 to `rate` in `warmup` updates, linearly, and to 1e-6 by a cosine."""
    return optax.warmup_cosine_decay_schedule(0.0, rate, warmup, steps, LAST_RATE)


def lamb(schedule, decay, *, layer_decay=1.0):
    """LAMB as VanillaNet is trained by it: vectors neither decay nor adapt, and early layers may learn more slowly.

    Gradients are cut to a norm of 1 over all parameters. Then, with Adam's step u of a parameter w that is no vector,

        w <- w - rate s |w| / |u + decay w| (u + decay w),   s = layer_decay^(layers after it),

    and w <- w - rate s u for vectors: offsets and what belongs to norms.

    Args:
      schedule: of the rate.
      decay: of weights.
      layer_decay: takes the trees of `init_vanillanet`, with "stem", "blocks" and "head", unless it is 1.

    Source: You et al., "Large batch optimization for deep learning" (arXiv 1904.00962), Alg. 2; official code.
    """
    matrices = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)  # noqa: E731
    steps = [
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(eps=1e-8),
        optax.masked(optax.chain(optax.add_decayed_weights(decay), optax.scale_by_trust_ratio()), matrices),
        optax.scale_by_learning_rate(schedule),
    ]
    if layer_decay != 1:
        steps.append(optax.stateless(lambda updates, params: scaled_by_layer(updates, layer_decay)))
    return optax.chain(*steps)


def scaled_by_layer(updates, layer_decay):
    """Each of a network's layers times layer_decay^(layers after it); the head's is 1."""
    last = len(updates["blocks"])
    times = lambda tree, after: jax.tree.map(lambda u: u * layer_decay**after, tree)  # noqa: E731
    blocks = [times(block, last - i) for i, block in enumerate(updates["blocks"])]
    return {"stem": times(updates["stem"], last + 1), "blocks": blocks, "head": updates["head"]}
