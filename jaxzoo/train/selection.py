"""Model selection that can't see the test set: the best state by a validation score, kept inside the training."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.train.task import State, Task


class Selected(NamedTuple):
    """The state of `keep_best`.

    Attributes:
      state: of the training, which goes on whatever is selected.
      best: the state with the best score so far; the initial one until a score was taken.
      score: its score; -inf until then.
      step: number of updates.
    """

    state: State
    best: State
    score: jax.Array
    step: jax.Array


def keep_best(task: Task, score: Callable[[State], jax.Array], *, every: int = 1) -> Task:
    """Makes a task remember its best state.

    `score` is the only thing that selects, so what it doesn't read can't leak: give it validation data alone, and keep
    the test set in `task.evaluate`, which then measures the selected state.

    Args:
      task: any task.
      score: `score(state) -> scalar`, higher is better; a NaN never wins, and the first of equals stays.
      every: updates between two scores. Under `vmap` the score is computed at every update all the same.

    Returns:
      A task with state `Selected`; `evaluate` sees `best`.

    Raises:
      ValueError: `every` below 1.
    """
    if every < 1:
        raise ValueError(f"every: expected at least 1, got {every}")

    def init(key, *inputs):
        state = task.init(key, *inputs)
        return Selected(state, state, jnp.float32(-jnp.inf), jnp.int32(0))

    def update(selected, key):
        state, scalars = task.update(selected.state, key)
        step = selected.step + 1

        def challenge():
            value = score(state).astype(jnp.float32)
            better = value > selected.score
            best = jax.tree.map(lambda new, old: jnp.where(better, new, old), state, selected.best)
            return best, jnp.where(better, value, selected.score)

        best, value = jax.lax.cond(step % every == 0, challenge, lambda: (selected.best, selected.score))
        return Selected(state, best, value, step), scalars

    return Task(init, update, lambda selected: task.evaluate(selected.best))
