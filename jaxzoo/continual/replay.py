"""Experience replay: a small memory of the stream, a uniform sample of it, is trained on beside every new batch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.continual.learner import Batch, Learner, now_exposed
from jaxzoo.continual.linear import batch_cross_entropy


class Reservoir(NamedTuple):
    """A uniform sample of what was seen.

    Attributes:
      x: [m, d] examples.
      y: [m] int32 labels.
      seen: [] int32 examples seen so far; the first min(seen, m) places are taken.
    """

    x: jax.Array
    y: jax.Array
    seen: jax.Array


def reservoir_init(size: int, d: int, dtype=jnp.float32) -> Reservoir:
    """An empty memory of `size` examples [d].

    Raises:
      ValueError: a size below 1.
    """
    if size < 1:
        raise ValueError(f"size: expected at least 1, got {size}")
    return Reservoir(jnp.zeros((size, d), dtype), jnp.zeros(size, jnp.int32), jnp.int32(0))


def reservoir_add(key, memory: Reservoir, x, y, mask) -> Reservoir:
    """Offers a batch: the i-th example of the stream (from 0) gets a place drawn from 0..i, if there is such a place.

    Args:
      key: a PRNG key.
      memory: so far.
      x: [b, d].
      y: [b].
      mask: [b] bool; other rows are passed over.

    Returns:
      The memory, in which each example seen so far is with the same probability.

    Source: Vitter, "Random sampling with a reservoir" (1985), algorithm R.
    """
    size, number = len(memory.y), memory.seen + jnp.cumsum(mask) - 1  # number of each example in the stream
    drawn = (jax.random.uniform(key, y.shape) * (number + 1)).astype(jnp.int32)
    place = jnp.where(number < size, number, jnp.minimum(drawn, number))
    place = jnp.where(mask & (place < size), place, size)

    def put(kept, row):
        x, y, place = row
        return (kept[0].at[place].set(x, mode="drop"), kept[1].at[place].set(y, mode="drop")), None

    kept, _ = jax.lax.scan(put, (memory.x, memory.y), (x, y, place))  # in turn: two rows may draw one place
    return Reservoir(*kept, memory.seen + mask.sum())


def replay_linear(d: int, *, classes: int, rate, memory: int) -> Learner:
    """SGD on each new batch and on as many examples from memory, drawn with replacement, with equal weight each.

    Args:
      d: size of an example.
      classes: c.
      rate: learning rate; may be traced.
      memory: examples that are kept.

    Returns:
      A learner with state `(W [d, c], Reservoir)`.
    """

    def loss(W, batch: Batch, old: Reservoir, chosen):
        allowed = now_exposed(batch)
        x = jnp.concatenate([batch.x, old.x[chosen]])
        y = jnp.concatenate([batch.y, old.y[chosen]])
        from_memory = jnp.broadcast_to((old.seen > 0) & batch.mask.any(), chosen.shape)
        return batch_cross_entropy(W, x, y, jnp.concatenate([batch.mask, from_memory]), allowed)

    def update(state, batch: Batch, key):
        W, old = state
        key_draw, key_keep = jax.random.split(key)
        taken = jnp.clip(old.seen, 1, memory)
        chosen = (jax.random.uniform(key_draw, batch.y.shape) * taken).astype(jnp.int32)
        W = W - rate * jax.grad(loss)(W, batch, old, jnp.minimum(chosen, taken - 1))
        return W, reservoir_add(key_keep, old, batch.x, batch.y, batch.mask)

    return Learner(lambda: (jnp.zeros((d, classes)), reservoir_init(memory, d)), update, lambda state, x: x @ state[0])
