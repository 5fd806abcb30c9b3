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
      average: exponential moving averages of `params` and `batch`, a pair; themselves where none is kept.
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


def fading(step, fade, every=1):
    """lam at update number `step`, from 0: min(1, step / fade), and 1 where `fade` is 0 (eq. 2, linear).

    It moves on after `every` updates, an int: the paper's go by whole epochs.
    """
    step = step if every == 1 else step // every * every
    return jnp.where(fade > 0, jnp.minimum(1.0, step / jnp.maximum(fade, 1.0)), 1.0)


def faded_task(
    init: Callable,
    apply: Callable,
    sampler: Callable,
    optimizer: optax.GradientTransformation,
    loss: Callable,
    *,
    decay: float = 0.0,
    parts: int = 1,
    every: int = 1,
    evaluate: Callable | None = None,
) -> Task:
    """Minimises a mean loss over minibatches while lam goes to 1.

    Args:
      init: `init(key) -> (params, batch statistics)`.
      apply: `apply(params, batch statistics, x [b, ...], lam, train=..., key=...) -> (logits, batch statistics)`.
      sampler: `sampler(key) -> (x [b, ...], targets [b, ...])`.
      optimizer: any optax transformation.
      loss: `loss(logits [b, classes], targets) -> scalar`.
      decay: of the averages of parameters and batch statistics, 0.99996 say; 0 to keep none.
      parts: batches of `sampler` in an update, one after the other, which takes the memory of one. Each is normalised
        by its own statistics, as on so many devices that don't share theirs; gradients and new statistics are averaged.
      every: updates after which lam is moved on.
      evaluate: `evaluate(params, batch statistics, lam of the last update) -> scalars` of the averages, by default
        nothing.

    Returns:
      A task whose `init` takes `fade`, the updates until lam is 1, as its one input: an array, so that trainings with
      and without fading are one program. Its scalars are "loss" and "lam".
    """

    def start(key, fade):
        params, batch = init(key)
        return NetState(params, batch, (params, batch), optimizer.init(params), jnp.float32(fade), jnp.int32(0))

    def update(state, key):
        key_batch, key_net = jax.random.split(key)
        lam = fading(state.step, state.fade, every)

        def measure(key_batch, key_net):
            x, targets = sampler(key_batch)

            def batch_loss(params):
                logits, batch = apply(params, state.batch, x, lam, train=True, key=key_net)
                return loss(logits, targets), batch

            return jax.value_and_grad(batch_loss, has_aux=True)(state.params)

        if parts == 1:
            (value, batch), gradient = measure(key_batch, key_net)
        else:
            part = lambda i: measure(jax.random.fold_in(key_batch, i), jax.random.fold_in(key_net, i))  # noqa: E731
            (value, batch), gradient = mean_over(part, parts)
        change, memory = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, change)
        average = _follow((params, batch), state.average, 1 - decay) if decay else (params, batch)
        return NetState(params, batch, average, memory, state.fade, state.step + 1), {"loss": value, "lam": lam}

    if evaluate is None:
        return Task(start, update)
    return Task(start, update, lambda s: evaluate(*s.average, fading(s.step - 1, s.fade, every)))


def mean_over(part: Callable, parts: int) -> Any:
    """The mean of `part(i)` over i = 0 ... parts - 1, one after the other; of whole numbers the last."""

    def add(i, total):
        return jax.tree.map(lambda t, x: t + x / parts if _is_real(x) else x, total, part(i))

    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(part, 0))
    return jax.lax.fori_loop(0, parts, add, zero)


def _follow(new, old, step):
    """An exponential moving average; whole numbers, which count batches, are the new ones."""
    return jax.tree.map(lambda n, o: step * n + (1 - step) * o if _is_real(n) else n, new, old)


def _is_real(x):
    return jnp.issubdtype(x.dtype, jnp.floating)
