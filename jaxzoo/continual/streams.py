"""Streams of a labelled set: which task an example belongs to, and the batches in which the examples then come.

A stream is a task index per example. Its batches have static shapes, so that a whole stream is one `lax.scan`: what a
last batch of a task lacks in examples is masked.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Batches(NamedTuple):
    """A stream, cut into batches; batches without an example may stand at the end.

    Attributes:
      index: [k, b] int32, which examples.
      mask: [k, b] bool, false where a batch has no more examples.
      new_task: [k] bool, the first batch of a task.
      end_of_task: [k] bool, the last batch of a task.
    """

    index: jax.Array
    mask: jax.Array
    new_task: jax.Array
    end_of_task: jax.Array


def si_blurry_stream(key, y, tasks, disjoint, blurry, *, classes: int):
    """Si-Blurry: disjoint classes come in one task each, of the others some examples are scattered.

    A share `disjoint` of the classes is disjoint. Every class is dealt to a task at random, so that tasks have unequal
    numbers of classes, some perhaps none. Of the examples of the remaining, blurry classes a share `blurry` is taken
    out and dealt to tasks uniformly.

    Args:
      key: a PRNG key.
      y: [n] integers in 0..classes - 1.
      tasks: number of tasks T; may be traced.
      disjoint: r_D in [0, 1]; may be traced.
      blurry: r_B in [0, 1]; may be traced.
      classes: number of classes c.

    Returns:
      [n] int32, the task of each example.

    Raises:
      ValueError: a share outside [0, 1], no task, or y not a vector of integers.

    Source: Moon, Park, Kim, Park, "Online class incremental learning on stochastic blurry task boundary via mask and
    visual prompt tuning" (arXiv 2308.09303).
    """
    y = _labels(y)
    _check_share("disjoint", disjoint)
    _check_share("blurry", blurry)
    if _known(tasks) and tasks < 1:
        raise ValueError(f"tasks: expected at least 1, got {tasks}")
    key_disjoint, key_home, key_out, key_dealt = jax.random.split(key, 4)
    is_disjoint = jax.random.permutation(key_disjoint, classes) < jnp.round(disjoint * classes)  # [c]
    home = jax.random.randint(key_home, (classes,), 0, tasks)
    is_blurry = ~is_disjoint[y]
    # The blurry examples have the first ranks, in random order.
    rank = jnp.argsort(jnp.argsort(jnp.where(is_blurry, jax.random.uniform(key_out, y.shape), 2.0)))
    taken_out = is_blurry & (rank < jnp.round(blurry * is_blurry.sum()))
    return jnp.where(taken_out, jax.random.randint(key_dealt, y.shape, 0, tasks), home[y])


def class_incremental_stream(key, y, *, classes: int, base: int, phases: int):
    """The classical protocol: `base` classes in task 0, the others evenly in `phases` tasks after it.

    Args:
      key: a PRNG key, which orders the classes; None leaves them in their own order, so that task 0 has the first.
      y: [n] integers in 0..classes - 1.
      classes: number of classes c.
      base: classes of task 0, of which there are phases + 1 in all; 0 <= base < classes.
      phases: at most classes - base.

    Returns:
      [n] int32, the task of each example.

    Raises:
      ValueError: y not a vector of integers, or numbers that do not fit.
    """
    y = _labels(y)
    if not 0 <= base < classes:
        raise ValueError(f"base: expected 0 to {classes - 1} (fewer than the classes), got {base}")
    if not 1 <= phases <= classes - base:
        raise ValueError(f"phases: expected 1 to {classes - base} (the classes that are left), got {phases}")
    place = y if key is None else jax.random.permutation(key, classes)[y]
    return jnp.where(place < base, 0, 1 + (place - base) * phases // (classes - base))


def stream_batches(key, task, batch: int, *, tasks: int) -> Batches:
    """The batches of a stream: tasks in turn, shuffled inside; no batch goes beyond the border of a task.

    Args:
      key: a PRNG key, which shuffles.
      task: [n] integers in 0..tasks - 1.
      batch: examples in a full batch, b >= 1.
      tasks: the most tasks there can be.

    Returns:
      `Batches`, of which there are as many as n examples in `tasks` tasks can need.

    Raises:
      ValueError: `batch` or `tasks` below 1, or task not a vector of integers.
    """
    task = _labels(task, "task")
    if batch < 1 or tasks < 1:
        raise ValueError(f"batch, tasks: expected at least 1, got {batch} and {tasks}")
    n = len(task)
    order = jnp.lexsort((jax.random.uniform(key, (n,)), task)).astype(jnp.int32)
    task = task[order]
    count = jnp.zeros(tasks, jnp.int32).at[task].add(1)
    needed = -(-count // batch)
    begin, first = jnp.cumsum(count) - count, jnp.cumsum(needed) - needed  # of a task: its first example and batch
    place = jnp.arange(n) - begin[task]
    row, column = first[task] + place // batch, place % batch
    rows = (n + min(tasks, n) * (batch - 1)) // batch
    at_all = jnp.zeros(rows, bool)
    return Batches(
        index=jnp.zeros((rows, batch), jnp.int32).at[row, column].set(order),
        mask=jnp.zeros((rows, batch), bool).at[row, column].set(True),
        new_task=at_all.at[first[task]].set(True),
        end_of_task=at_all.at[(first + needed - 1)[task]].set(True),
    )


def ragged_batches(order, sizes, width: int, *, rows: int = 1) -> Batches:
    """Cuts an order of examples into batches of given sizes, padded to one width; not traceable.

    Args:
      order: [n] integers, the examples as they come.
      sizes: integers in 1..width of sum >= n; the batch that reaches the end is cut off there.
      width: b, rows of a batch.
      rows: the number of batches is rounded up to a multiple of it by empty ones, so that streams share a program.

    Returns:
      `Batches` of one task.

    Raises:
      ValueError: sizes out of range, or that do not reach n.
    """
    order, sizes = np.asarray(order), np.asarray(sizes)
    if sizes.ndim != 1 or sizes.min(initial=1) < 1 or sizes.max(initial=1) > width or sizes.sum() < len(order):
        raise ValueError(f"sizes: expected integers in 1..{width} of sum >= {len(order)}, got {sizes}")
    ends = np.minimum(np.cumsum(sizes), len(order))
    begins = np.concatenate([[0], ends[:-1]])
    used = int((ends > begins).sum())
    index = np.zeros((-(-used // rows) * rows, width), np.int32)
    mask = np.zeros(index.shape, bool)
    for row in range(used):
        part = order[begins[row] : ends[row]]
        index[row, : len(part)], mask[row, : len(part)] = part, True
    at = np.arange(len(index))
    return Batches(index, mask, at == 0, at == used - 1)


def random_stream(key, y, *, classes: int, tasks: int = 10, width: int = 200, rows: int = 1) -> Batches:
    """A Si-Blurry stream of random kind in batches of random size, for what must hold whatever comes; not traceable.

    2 to `tasks` tasks, r_D and r_B uniform in (0, 1), sizes uniform in 1..width.

    Args:
      key: a PRNG key.
      y: [n] integers in 0..classes - 1.
      classes: number of classes.
      tasks: the most tasks.
      width: the largest batch.
      rows: as of `ragged_batches`.

    Returns:
      `Batches`, of one task: borders of tasks lie inside of batches too.
    """
    key_kind, key_task, key_order, key_sizes = jax.random.split(key, 4)
    kind = np.asarray(jax.random.uniform(key_kind, (3,)))
    task = si_blurry_stream(key_task, y, 2 + int((tasks - 1) * kind[0]), kind[1], kind[2], classes=classes)
    order = np.lexsort((jax.random.uniform(key_order, task.shape), task))
    sizes = jax.random.randint(key_sizes, task.shape, 1, width + 1)
    return ragged_batches(order, sizes, width, rows=rows)


def _labels(y, name="y"):
    y = jnp.asarray(y)
    if y.ndim != 1 or not jnp.issubdtype(y.dtype, jnp.integer):
        raise ValueError(f"{name}: expected integers [n], got {y.dtype}{list(y.shape)}")
    return y.astype(jnp.int32)


def _known(value) -> bool:
    return not isinstance(value, jax.core.Tracer)


def _check_share(name: str, value) -> None:
    if _known(value) and not 0 <= value <= 1:
        raise ValueError(f"{name}: expected a share in [0, 1], got {value}")
