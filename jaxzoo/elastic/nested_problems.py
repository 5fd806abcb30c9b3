"""What nested networks are trained on: data, a network, and the grid of its shapes."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo import data
from jaxzoo.data.shifted_images import shifted_and_flipped
from jaxzoo.elastic.baselines import sandwich_loss, squared_error
from jaxzoo.elastic.nested import NestedModel
from jaxzoo.elastic.nested_bert import nested_bert
from jaxzoo.elastic.nested_decoder import nested_decoder
from jaxzoo.elastic.nested_measures import accuracy, matthews, negative_loss, pearson
from jaxzoo.elastic.nested_mobilenet import nested_mobilenet
from jaxzoo.elastic.nested_resnet import nested_resnet
from jaxzoo.elastic.nested_transformer import nested_transformer
from jaxzoo.elastic.published_weights import begin_from, bert_params, llama_params
from jaxzoo.elastic.sortednet import depth_width_grid, digit_pair_sum, residual_mlp

SETTLING = 10
"""Batches behind the private statistics of a sub-network."""


class Problem(NamedTuple):
    """A problem.

    Attributes:
      name: what its stages and results are called.
      model: a `NestedModel`.
      widths: [w] ints.
      grid: [g, 2] shapes (w, l), by width and then by depth.
      costs: [g] products of one example.
      sampler: `sampler(key) -> (x [b, ...], y [b, ...])`.
      batch: examples of an update, b.
      validation, test: (x [m, ...], y [m, ...]).
      batches: [10, b, ...] training examples for the statistics of batch norm, or None.
      loss: as in `nested_task`.
      score: `score(x, y)` makes a score for `score_grid`.
    """

    name: str
    model: NestedModel
    widths: Any
    grid: jax.Array
    costs: jax.Array
    sampler: Callable
    batch: int
    validation: tuple[jax.Array, jax.Array] | None
    test: tuple[jax.Array, jax.Array]
    batches: jax.Array | None = None
    loss: Callable = sandwich_loss
    score: Callable = accuracy


def _shapes(model):
    return jax.eval_shape(model.init, jax.random.key(0))


def _problem(name, model, widths, depths, *rest, **options):
    grid = depth_width_grid(widths, depths)
    costs = jnp.asarray([model.macs(w, l) for w, l in np.asarray(grid).tolist()], jnp.float32)
    return Problem(name, model, widths, grid, costs, *rest, **options)


def digit_pairs(*, width, step, depth, batch, held_out):
    """Sums of two digits by a residual MLP of the widths step, 2 step, ..., width; held_out are numbers of pairs."""
    train, *parts = data.standardise(*data.split(data.digits(), 0, (1000, 200, 597)), axis=(0, 1, 2))
    validation, test = (
        digit_pair_sum(jax.random.key(i), part.x, part.y, count)
        for i, (part, count) in enumerate(zip(parts, held_out, strict=True))
    )
    sampler = lambda key: digit_pair_sum(key, train.x, train.y, batch)  # noqa: E731
    model = residual_mlp(width=width, depth=depth)
    widths = range(step, width + 1, step)
    return _problem("pairs", model, widths, range(1, depth + 1), sampler, batch, validation, test)


def cifar(name, sets, *, batch, first=16, validation=5000):
    """CIFAR-10 by "mobilenet" or "resnet" at 10 widths and 10 depths, with crops of padded images and reflections.

    Args:
      name: of the network.
      sets: (train, test), `Dataset`s as from `data.cifar_binary`.
      batch: images of an update.
      first: channels of the first stage.
      validation: the last of the training images, which are held back.

    Returns:
      `Problem`.
    """
    train, test = data.standardise(*sets, axis=(0, 1, 2))
    draw = data.sampler(train.x[:-validation], train.y[:-validation], batch)

    def sampler(key):
        key_draw, key_vary = jax.random.split(key)
        x, y = draw(key_draw)
        return shifted_and_flipped(key_vary, x), y

    model = {"mobilenet": nested_mobilenet, "resnet": nested_resnet}[name](first=first)
    depths = range(model.dims.depth - 9, model.dims.depth + 1)
    settling = jax.random.split(jax.random.key(0), SETTLING)
    batches = jax.jit(jax.vmap(lambda key: sampler(key)[0]))(settling)
    held_out = [(jnp.asarray(p.x[-n:]), jnp.asarray(p.y[-n:])) for p, n in ((train, validation), (test, len(test.x)))]
    return _problem(name, model, range(1, 11), depths, sampler, batch, *held_out, batches=batches)


def characters(text, *, length, features, heads, layers, batch, scored=400):
    """The next character of a text by a causal transformer of 1, 2, 4, ... heads; scored is a number of sequences."""
    tokens, vocabulary = data.characters(text, 64, lower=True)
    train, rest = data.split_by_position(tokens, (0.9, 0.1))
    test = jax.tree.map(lambda x: x[:scored], data.all_windows(rest, length))
    model = nested_transformer(vocabulary=len(vocabulary), length=length, features=features, heads=heads, depth=layers)
    widths = [2**i for i in range(heads.bit_length())]
    sampler = partial(data.windows, tokens=train, batch=batch, length=length)
    depths = range(1, layers + 1)
    return _problem("prose", model, widths, depths, sampler, batch, None, test, score=negative_loss)


def bert(task, sets, *, vocabulary, batch, weights=None, **sizes):
    """A task of GLUE by a nested BERT, at quarters of its heads and hidden channels and at every depth.

    Args:
      task: its name in `data.GLUE`.
      sets: (train, test): pairs of tokens [n, 3, t] and labels [n].
      vocabulary: number of tokens.
      batch: sequences of an update.
      weights: tensors by name, as from `data.safetensors_arrays`, to begin from; None for random ones.
      **sizes: of `nested_bert`.

    Returns:
      `Problem`, scored by accuracy, for CoLA by Matthews' correlation, for STS-B by Pearson's.
    """
    classes = data.GLUE[task].classes
    (x, y), test = sets
    model = nested_bert(vocabulary=vocabulary, outputs=max(len(classes), 1), **sizes)
    model = model if weights is None else begin_from(model, bert_params(_shapes(model), weights))
    heads, depth = model.dims.width, model.dims.depth
    score = {"cola": matthews, "sts-b": pearson}.get(task, accuracy)
    options = {"score": score} if classes else {"score": score, "loss": squared_error}
    widths = sorted({-(-heads * i // 4) for i in (1, 2, 3, 4)})
    sampler = data.sampler(x, y, batch)
    test = jax.tree.map(jnp.asarray, test)
    return _problem("glue", model, widths, range(1, depth + 1), sampler, batch, None, test, **options)


def decoder(tokens, *, length, batch, weights=None, scored=100, **sizes):
    """The next token of a text by a nested decoder, at every exit; weights as in `bert`, `scored` sequences."""
    train, rest = data.split_by_position(tokens, (0.9, 0.1))
    test = jax.tree.map(lambda x: x[:scored], data.all_windows(rest, length))
    model = nested_decoder(length=length, **sizes)
    model = model if weights is None else begin_from(model, llama_params(_shapes(model), weights))
    sampler = partial(data.windows, tokens=train, batch=batch, length=length)
    exits = range(1, model.dims.depth + 1)
    return _problem("decoder", model, [1], exits, sampler, batch, None, test, score=negative_loss)
