"""Training of a density by gradients on images that are data of the program, so that every seed may have its own."""

from typing import Any, NamedTuple

import jax
import optax

from jaxzoo import data
from jaxzoo.model import Model
from jaxzoo.train import Task, keep_best, supervised

SCORED = 200
"""Validation images that are scored at once."""


class Fitting(NamedTuple):
    """The state of `image_density`.

    Attributes:
      fit: `TrainState`.
      train, valid: [n, d], [m, d] images.
    """

    fit: Any
    train: jax.Array
    valid: jax.Array


def image_density(model: Model, steps: int, *, batch: int, rate: float = 3e-3, every: int = 50) -> Task:
    """Minimises a model's nats per image by Adam with a cosine schedule; what validation likes best is kept.

    Args:
      model: `apply(params, x, key=...)` gives -log p(x), or a bound of it.
      steps: number of updates, for the schedule.
      batch: images of an update.
      rate: at first.
      every: updates between two looks at the validation images.

    Returns:
      A task with inputs `(train [n, d], valid [m, d])` and state `Selected` of `Fitting`.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps, 0.01))

    def on(train):
        sampler = data.sampler(train, train, batch)
        return supervised(model, lambda nats, _: nats, sampler, optimizer, stochastic=True)

    def init(key, train, valid):
        return Fitting(on(train).init(key), train, valid)

    def update(state, key):
        fit, scalars = on(state.train).update(state.fit, key)
        return state._replace(fit=fit), scalars

    def score(state):
        keys = jax.random.split(jax.random.key(0), state.valid.shape[0])
        nats = lambda at: model.apply(state.fit.params, at[0], key=at[1])  # noqa: E731
        return -jax.lax.map(nats, (state.valid, keys), batch_size=min(SCORED, len(state.valid))).mean()

    return keep_best(Task(init, update), score, every=every)
