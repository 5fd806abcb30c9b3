"""A frozen backbone for continual learning on small images: a network that knows glyphs and nothing else."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxzoo.data import sampler
from jaxzoo.data.glyphs import prototype_glyphs
from jaxzoo.layers import MLP
from jaxzoo.train import Task, supervised
from jaxzoo.transforms import as_model, capture


class GlyphBackbone(NamedTuple):
    """A network to train once and then freeze.

    Attributes:
      task: the classification of glyphs; its state's `params` are the network's.
      encode: `encode(params, *images [n, size, size]) -> (features of the glyphs [p, f], of the images [n, f], ...)`.
    """

    task: Task
    encode: Callable


def glyph_backbone(
    *, classes: int = 40, per_class: int = 60, size: int = 8, widths: tuple[int, ...] = (128, 64), rate: float = 2e-3
) -> GlyphBackbone:
    """A dense ReLU network that tells glyphs apart; its last hidden layer makes the features.

    Features are shifted and scaled to mean 0 and standard deviation 1 over the glyphs, never over new images.

    Args:
      classes, per_class: glyphs to train on.
      size: side of an image, in pixels.
      widths: of the hidden layers; the last is f.
      rate: Adam's learning rate; batches of 64.

    Returns:
      `GlyphBackbone`.
    """
    # Compiled as a whole: one program instead of dozens of operations.
    glyphs, kinds = jax.jit(prototype_glyphs, static_argnums=(1, 2, 3))(jax.random.key(0), classes, per_class, size)
    flat = glyphs.reshape(len(glyphs), -1)
    module, last = MLP((*widths, classes), jax.nn.relu), f"dense_{len(widths) - 1}"
    loss = optax.losses.softmax_cross_entropy_with_integer_labels
    task = supervised(as_model(module), loss, sampler(flat, kinds, 64), optax.adam(rate))
    hidden = capture(module, last)

    def encode(params, *images):
        sets = (flat, *(x.reshape(len(x), -1) for x in images))
        features = [jax.nn.relu(jax.vmap(hidden, (None, 0))(params, x)[1][last]) for x in sets]
        mean, deviation = features[0].mean(0, keepdims=True), features[0].std(0, keepdims=True)
        deviation = jnp.where(deviation > 1e-3, deviation, 1.0)  # a unit that no glyph moves is only shifted
        return tuple((x - mean) / deviation for x in features)

    return GlyphBackbone(task, encode)
