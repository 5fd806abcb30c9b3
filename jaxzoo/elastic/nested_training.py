"""Trainings of nested networks that differ in how they sample: the rule is data, so that they are one program."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxzoo.elastic.baselines import on_a_line, sandwich_loss
from jaxzoo.elastic.nested import prefix, random_subset
from jaxzoo.elastic.sortednet import accumulate, draw_from, sortednet_update
from jaxzoo.train import Task


class Rule(NamedTuple):
    """How to sample and to step.

    Attributes:
      logits: [n, g] of the n distributions over the grid.
      unsorted: True to draw random channels and blocks of the drawn sizes, anew at every update.
      distil: 1 if all but the first sub-network fit the first one's outputs, else 0.
      rate: Adam's peak learning rate.
      updates: of the whole training, on a cosine to 0.
    """

    logits: jax.Array
    unsorted: jax.Array
    distil: jax.Array
    rate: jax.Array
    updates: jax.Array


class NestedState(NamedTuple):
    """The state of `nested_task`."""

    params: Any
    optimizer: optax.OptState
    rule: Rule
    step: jax.Array


def nested_task(model, grid, costs, sampler, *, line=False, loss=sandwich_loss, evaluate=lambda params: {}):
    """Trains sub-networks of a network by a `Rule`.

    Args:
      model: a `NestedModel` that gives logits.
      grid: [g, 2] shapes.
      costs: [g] of the shapes, for the tally.
      sampler: `sampler(key) -> (x [b, ...], labels [b] or [b, t])`.
      line: train a line of networks (`on_a_line`); params are then a pair.
      loss: `loss(outputs [n, b, c], targets [b], distil) -> scalar`.
      evaluate: `evaluate(params) -> scalars`.

    Returns:
      A task whose `init` takes the `Rule` as its one input. Scalars: "loss", and "macs", the mean cost of an example
      over the update's n sub-networks.
    """
    apply = model.apply if model.train_apply is None else model.train_apply
    apply = on_a_line(apply) if line else apply

    def init(key, rule):
        params = tuple(model.init(k) for k in jax.random.split(key)) if line else model.init(key)
        return NestedState(params, optax.scale_by_adam().init(params), rule, jnp.int32(0))

    def update(state, key):
        key_batch, key_shape, key_subset = jax.random.split(key, 3)
        rule = state.rule
        shapes = draw_from(key_shape, grid, rule.logits)  # [n, 2]
        rate = rule.rate * 0.5 * (1 + jnp.cos(jnp.pi * state.step / rule.updates))
        optimizer = optax.chain(optax.scale_by_adam(), optax.scale(-rate))
        step = sortednet_update(
            accumulate(apply, lambda logits, labels: loss(*flat(logits, labels), rule.distil)),
            lambda key: masks(key, model.dims, shapes, rule.unsorted),
            optimizer,
        )
        params, (memory, _), value = step(
            state.params, (state.optimizer, optax.EmptyState()), key_subset, *sampler(key_batch)
        )
        cost = costs[jnp.argmax((grid[None] == shapes[:, None]).all(-1), axis=1)].mean()
        return NestedState(params, memory, rule, state.step + 1), {"loss": value, "macs": cost}

    return Task(init, update, lambda state: evaluate(state.params))


def flat(logits, labels):
    """Logits [n, b, ..., c] and labels [b, ...] with one axis in the place of b and those after it."""
    return logits.reshape(logits.shape[0], -1, logits.shape[-1]), labels.reshape(-1)


def masks(key, dims, shapes, unsorted):
    """Sub-networks of the shapes [n, 2]: prefixes, or random subsets where `unsorted`."""
    draw = jax.vmap(lambda key, shape: random_subset(key, dims, *shape))
    cut = jax.vmap(lambda key, shape: prefix(dims, *shape))
    return jax.lax.cond(unsorted, draw, cut, jax.random.split(key, shapes.shape[0]), shapes)
