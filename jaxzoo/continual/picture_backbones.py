"""Frozen backbones for continual learning on pictures: a ViT from a file, a ResNet-32 trained on half the classes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo.continual.features import FrozenFeatures
from jaxzoo.continual.picture_sets import Pictures
from jaxzoo.data import sampler
from jaxzoo.data.shifted_images import shifted_and_flipped
from jaxzoo.train import Task
from jaxzoo.vision.faded_training import faded_task
from jaxzoo.vision.residual_net import apply_residual_net, init_residual_net, residual_features
from jaxzoo.vision.vit import ViT, vit_from_file


class HalfBackbone(NamedTuple):
    """A network to train on the first half of the classes and then freeze.

    Attributes:
      task: the training. It has one input, zero; its state has the network's `params` and `batch` statistics.
      encode: `encode(params, batch) -> (features of the training set [n, f], of the test set [m, f], of those training
        examples that the network was trained on [p, f])`.
    """

    task: Task
    encode: Callable


def in_batches(function: Callable, x, batch: int) -> np.ndarray:
    """A function of a batch applied to all rows of an array that need not fit on the device.

    Args:
      function: `function(x [b, ...]) -> [b, ...]`, row by row; always called with the same b.
      x: [n, ...], n >= 1. What the last batch lacks is filled up with zeros.
      batch: b; n if that is less.

    Returns:
      [n, ...].
    """
    if batch < 1 or not len(x):
        raise ValueError(f"x, batch: expected at least one row and a batch of at least 1, got {len(x)} and {batch}")
    batch, done = min(batch, len(x)), []
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        filled = np.pad(part, [(0, batch - len(part))] + [(0, 0)] * (x.ndim - 1))
        done.append(np.asarray(function(filled))[: len(part)])
    return np.concatenate(done)


def vit_encoder(module: ViT, pictures: Pictures) -> Callable:
    """`encode(params, x [b, h, w, 3] uint8) -> [b, f]`: features of pictures, resized bilinearly to the ViT's side."""
    shape = (module.side, module.side, 3)

    def features(params, x):
        return module.apply({"params": params}, jax.image.resize(pictures.scaled(x), shape, "bilinear"))

    return jax.jit(jax.vmap(features, (None, 0)))


def vit_features(folder: Path, pictures: Pictures, *, batch: int = 256) -> FrozenFeatures:
    """Features of all pictures by the ViT in `vit/model.safetensors` in the data folder; see `vit_from_file`.

    What the network was trained on is not at hand: the place of its features is taken by those of the training
    pictures, which nothing but the centres of Gaussian kernels is drawn from.
    """
    vit = vit_from_file(folder)
    encode = partial(vit_encoder(vit.module, pictures), vit.params)
    train, test = (in_batches(encode, x, batch) for x, _ in (pictures.train, pictures.test))
    return FrozenFeatures(train, pictures.train[1], test, pictures.test[1], train)


def half_resnet(
    pictures: Pictures,
    classes: int,
    *,
    steps: int,
    widths: tuple[int, ...] = (16, 32, 64),
    each: int = 5,
    batch: int = 256,
    rate: float = 0.5,
) -> HalfBackbone:
    """A residual network, ResNet-32 unless told otherwise, for the first half of the classes.

    SGD with momentum 0.9, weight decay 5e-4, a warm-up of a thirtieth of the updates and a cosine to 1e-6; pictures are
    moved by up to 4 pixels and mirrored.

    NOTE(paper): batches are drawn with replacement, not in epochs, and TrivialAugmentWide, which the official code
    adds, is left out.

    Args:
      pictures: the set; every class below classes // 2 must be in its training part.
      classes: of the whole set.
      steps: updates; 300 epochs in the official code.
      widths, each: channels of the stages, and blocks of each.
      batch: examples of an update.
      rate: the learning rate after the warm-up.

    Returns:
      `HalfBackbone`.
    """
    known = np.flatnonzero(np.asarray(pictures.train[1]) < classes // 2)
    draw = sampler(*(part[known] for part in pictures.train), batch)
    sets = [jnp.asarray(x) for x, _ in (pictures.train, pictures.test)]
    schedule = optax.warmup_cosine_decay_schedule(1e-3 * rate, rate, steps // 30, steps, 1e-6)
    optimizer = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(schedule, momentum=0.9))
    init = partial(init_residual_net, channels=3, classes=classes // 2, dims=widths, each=each)

    def apply(params, state, x, lam, *, train, key):
        return apply_residual_net(params, state, x, lam, each=each, stride=1, train=train)

    def sample(key):
        key_batch, key_vary = jax.random.split(key)
        x, y = draw(key_batch)
        return pictures.scaled(shifted_and_flipped(key_vary, x)), y

    def loss(logits, y):
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def encode(params, state):
        features = lambda x: residual_features(params, state, pictures.scaled(x), each=each, stride=1)[0]  # noqa: E731
        train, test = (jax.lax.map(features, x, batch_size=batch) for x in sets)
        return train, test, train[known]

    return HalfBackbone(faded_task(init, apply, sample, optimizer, loss), encode)
