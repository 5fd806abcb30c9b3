"""Training of image classifiers whose inner activations fade to the identity, with batch statistics and an average."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxzoo.train import Task


class NetState(NamedTuple):
    """The state of `faded_task`.

    Attributes:
      params: of the network.
      batch: running statistics of its batch norms.
      average: exponential moving average of the parameters; the parameters themselves where none is kept.
      optimizer: what the optimiser remembers.
      fade: updates until lam is 1; 0 from the start.
      step: number of updates.
    """

    params: Any
    batch: Any
    average: Any
    optimizer: optax.OptState
    fade: jax.Array
    step: jax.Array


def fading(step, fade):
    """lam at update number `step`, from 0: min(1, step / fade), and 1 where `fade` is 0 (eq. 2, linear)."""
    return jnp.where(fade > 0, jnp.minimum(1.0, step / jnp.maximum(fade, 1.0)), 1.0)


def faded_task(
    init: Callable,
    apply: Callable,
    sampler: Callable,
    optimizer: optax.GradientTransformation,
    loss: Callable,
    *,
    decay: float = 0.0,
    evaluate: Callable | None = None,
) -> Task:
    """Minimises a mean loss over minibatches while lam goes to 1.

    Args:
      init: `init(key) -> (params, batch statistics)`.
      apply: `apply(params, batch statistics, x [b, ...], lam, train=..., key=...) -> (logits, batch statistics)`.
      sampler: `sampler(key) -> (x [b, ...], targets [b, ...])`.
      optimizer: any optax transformation.
      loss: `loss(logits [b, classes], targets) -> scalar`.
      decay: of the average of parameters, 0.99996 say; 0 to keep none.
      evaluate: `evaluate(average, batch statistics, lam of the last update) -> scalars`, by default nothing.

    Returns:
      A task whose `init` takes `fade`, the updates until lam is 1, as its one input: an array, so that trainings with
      and without fading are one program. Its scalars are "loss" and "lam".
    """

    def start(key, fade):
        params, batch = init(key)
        return NetState(params, batch, params, optimizer.init(params), jnp.float32(fade), jnp.int32(0))

    def update(state, key):
        key_batch, key_net = jax.random.split(key)
        x, targets = sampler(key_batch)
        lam = fading(state.step, state.fade)

        def batch_loss(params):
            logits, batch = apply(params, state.batch, x, lam, train=True, key=key_net)
            return loss(logits, targets), batch

        (value, batch), gradient = jax.value_and_grad(batch_loss, has_aux=True)(state.params)
        change, memory = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, change)
        average = optax.incremental_update(params, state.average, 1 - decay)
        return NetState(params, batch, average, memory, state.fade, state.step + 1), {"loss": value, "lam": lam}

    if evaluate is None:
        return Task(start, update)
    return Task(start, update, lambda s: evaluate(s.average, s.batch, fading(s.step - 1, s.fade)))
