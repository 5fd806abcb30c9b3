"""What learns from a stream, as three pure functions, and the walk along a stream that measures it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.continual.streams import Batches


class Batch(NamedTuple):
    """What a learner meets at once.

    Attributes:
      x: [b, d] inputs, zero where masked.
      y: [b] int32 labels, anything where masked.
      mask: [b] bool, which rows are examples.
      new_task: [] bool, whether a task begins here; for learners that are told.
      exposed: [c] bool, the classes that came before this batch.
    """

    x: jax.Array
    y: jax.Array
    mask: jax.Array
    new_task: jax.Array
    exposed: jax.Array


class Learner(NamedTuple):
    """A continual learner.

    Attributes:
      init: `init() -> state`, a pytree of fixed shapes.
      update: `update(state, batch, key) -> state`; must leave the state alone where nothing is unmasked.
      logits: `logits(state, x [d]) -> [c]`, of one example; those of classes not yet seen don't count.
    """

    init: Callable[[], Any]
    update: Callable[[Any, Batch, Any], Any]
    logits: Callable[[Any, jax.Array], jax.Array]


class Followed(NamedTuple):
    """A walk along a stream.

    Attributes:
      state: the learner's, at the end.
      accuracy: [k] after each batch, on the test examples of the classes exposed by then.
      seen: [k] examples met by then.
      probe: what `probe(state)` gave, [k, ...]; None without one.
    """

    state: Any
    accuracy: jax.Array
    seen: jax.Array
    probe: Any


def targets(batch: Batch) -> jax.Array:
    """The labels as [b, c] ones and zeros in the dtype of x; all zero where masked."""
    return jax.nn.one_hot(batch.y, batch.exposed.shape[0], dtype=batch.x.dtype) * batch.mask[:, None]


def now_exposed(batch: Batch) -> jax.Array:
    """[c] bool, the classes seen up to and with this batch."""
    return batch.exposed | (targets(batch) > 0).any(0)


def follow(
    key,
    learner: Learner,
    batches: Batches,
    train: tuple[jax.Array, jax.Array],
    test: tuple[jax.Array, jax.Array],
    *,
    classes: int,
    embed: Callable[[jax.Array], jax.Array] = lambda x: x,
    probe: Callable[[Any], Any] = lambda state: None,
) -> Followed:
    """Leads a learner along a stream, once, and tests it after every batch.

    Args:
      key: a PRNG key; batch i has `fold_in(key, i)`.
      learner: the learner, of embedded inputs.
      batches: the stream.
      train: `(x [n, f], y [n])`.
      test: `(x [m, f], y [m])`.
      classes: number of classes c in all.
      embed: frozen, `embed(x [f]) -> [d]`, of one example; test examples are embedded once, others as they come.
      probe: anything to record of the state after each batch.

    Returns:
      `Followed`.

    Raises:
      ValueError: inputs and labels that do not fit.
    """
    for name, (x, y) in (("train", train), ("test", test)):
        if x.ndim != 2 or y.shape != x.shape[:1]:
            raise ValueError(f"{name}: expected x [n, f] and y [n], got {x.shape} and {y.shape}")
    (x, y), y_test = train, test[1].astype(jnp.int32)
    x_test = jax.vmap(embed)(test[0])

    def accuracy(state, exposed):
        logits = jax.vmap(learner.logits, (None, 0))(state, x_test)  # [m, c]
        right = jnp.argmax(jnp.where(exposed[None], logits, -jnp.inf), axis=-1) == y_test
        asked = exposed[y_test]
        return (right & asked).sum() / jnp.maximum(asked.sum(), 1)

    def step(carry, now):
        state, exposed = carry
        i, index, mask, new_task = now
        inputs = jnp.where(mask[:, None], jax.vmap(embed)(x[index]), 0)
        batch = Batch(inputs, y[index].astype(jnp.int32), mask, new_task, exposed)
        state, exposed = learner.update(state, batch, jax.random.fold_in(key, i)), now_exposed(batch)
        return (state, exposed), (accuracy(state, exposed), probe(state))

    start = (learner.init(), jnp.zeros(classes, bool))
    steps = (jnp.arange(len(batches.index)), batches.index, batches.mask, batches.new_task)
    (state, _), (curve, probed) = jax.lax.scan(step, start, steps)
    return Followed(state, curve, jnp.cumsum(batches.mask.sum(1)), probed)
