"""The usual trainings: a loss on minibatches, and a student that follows a teacher."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxzoo.model import Model, Params
from jaxzoo.train.task import Task


class TrainState(NamedTuple):
    """The state of `supervised`: parameters and what the optimiser remembers."""

    params: Params
    optimizer: optax.OptState


def supervised(
    model: Model,
    loss: Callable[[Any, Any], jax.Array],
    sampler: Callable[[jax.Array], tuple[Any, Any]],
    optimizer: optax.GradientTransformation,
    *,
    evaluate: Callable[[Params], dict] | None = None,
    stochastic: bool = False,
) -> Task:
    """Minimises the mean loss over minibatches.

    Args:
      model: the model, on one example.
      loss: `loss(y_hat, y) -> scalar`, of one example; averaged over the batch in float32.
      sampler: `sampler(key) -> (x [b, ...], y [b, ...])`, pytrees with a leading batch axis.
      optimizer: any optax transformation; its schedules count updates.
      evaluate: `evaluate(params) -> scalars`; by default nothing is evaluated.
      stochastic: whether `model.apply` draws (dropout, sampling); then every example gets a key of its own.

    Returns:
      A task with state `TrainState` and the scalar "loss", the mean loss of the minibatch before its update.
    """

    def init(key):
        key_model, key_batch = jax.random.split(key)
        x, _ = jax.eval_shape(sampler, key_batch)
        params = model.init(key_model, jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), x))
        return TrainState(params, optimizer.init(params))

    def batch_loss(params, x, y, key):
        if stochastic:
            keys = jax.random.split(key, jax.tree.leaves(x)[0].shape[0])
            y_hat = jax.vmap(lambda x, key: model.apply(params, x, key=key))(x, keys)
        else:
            y_hat = jax.vmap(model.apply, (None, 0))(params, x)
        return jnp.mean(jax.vmap(loss)(y_hat, y), dtype=jnp.float32)

    def update(state, key):
        key_batch, key_model = jax.random.split(key)
        x, y = sampler(key_batch)
        value, gradient = jax.value_and_grad(batch_loss)(state.params, x, y, key_model)
        change, memory = optimizer.update(gradient, state.optimizer, state.params)
        return TrainState(optax.apply_updates(state.params, change), memory), {"loss": value}

    if evaluate is None:
        return Task(init, update)
    return Task(init, update, lambda state: evaluate(state.params))


def distil(
    student: Model,
    teacher: Callable[[Any], jax.Array],
    sampler: Callable[[jax.Array], tuple[Any, Any]],
    optimizer: optax.GradientTransformation,
    *,
    temperature: float = 4.0,
    weight: float = 0.9,
    evaluate: Callable[[Params], dict] | None = None,
    stochastic: bool = False,
) -> Task:
    """Trains a student classifier on a teacher's softened outputs (Hinton, Vinyals, Dean, arXiv 1503.02531, Sec. 2).

    loss = weight T^2 KL(softmax(teacher / T) || softmax(student / T)) + (1 - weight) cross-entropy(label)

    Args:
      student: its outputs are logits [c].
      teacher: `teacher(x) -> logits [c]` of one example; no gradient flows into it.
      sampler: `sampler(key) -> (x [b, ...], labels [b])`.
      optimizer, evaluate, stochastic: as in `supervised`.
      temperature: T > 0.
      weight: of the teacher, in [0, 1]; the labels have the rest.

    Returns:
      A task, as from `supervised`.

    Raises:
      ValueError: temperature or weight out of range.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: expected a number > 0, got {temperature}")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight: expected a number in [0, 1], got {weight}")

    def with_teacher(key):
        x, label = sampler(key)
        return x, (label, jax.lax.stop_gradient(jax.vmap(teacher)(x)))

    def loss(logits, target):
        label, taught = target
        soft = optax.losses.kl_divergence_with_log_targets(
            jax.nn.log_softmax(logits / temperature), jax.nn.log_softmax(taught / temperature)
        )
        hard = optax.losses.softmax_cross_entropy_with_integer_labels(logits, label)
        return weight * temperature**2 * soft + (1 - weight) * hard

    return supervised(student, loss, with_teacher, optimizer, evaluate=evaluate, stochastic=stochastic)
