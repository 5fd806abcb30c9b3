"""One arm along several Si-Blurry streams of the same examples, from frozen features to the metrics."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxzoo.continual import metrics
from jaxzoo.continual.learner import follow
from jaxzoo.continual.streams import si_blurry_stream, stream_batches


def along_streams(
    learner: Callable, buffer: Callable, labels, kinds, *, classes: int, batch: int, tasks: int, period: int
) -> Callable:
    """The metrics of a learner along streams that share all draws, and differ by T, r_D and r_B alone.

    Args:
      learner: `learner(d, classes=...) -> Learner`.
      buffer: `buffer(key, pretrain) -> (embed, d)`, the expansion of features: `embed(x [f]) -> [d]`.
      labels: `(y [n], y_test [m])`.
      kinds: (T, r_D, r_B) of each of k streams.
      classes: number of classes.
      batch: examples of a batch.
      tasks: the most tasks.
      period: examples between two measurements.

    Returns:
      `measure(key, train [n, f], test [m, f], pretrain [p, f])`: `metrics.stream_metrics`, each with a leading [k].
    """
    y, y_test = labels
    columns = [jnp.asarray(column) for column in zip(*kinds, strict=True)]

    def measure(key, train, test, pretrain):
        key_buffer, key_walk = jax.random.split(key)
        embed, d = buffer(key_buffer, pretrain)

        def walk(kind):
            key_task, key_order, key_learner = jax.random.split(jax.random.fold_in(key_walk, 0), 3)
            task = si_blurry_stream(key_task, y, *kind, classes=classes)
            batches = stream_batches(key_order, task, batch, tasks=tasks)
            learn = learner(d, classes=classes)
            found = follow(key_learner, learn, batches, (train, y), (test, y_test), classes=classes, embed=embed)
            return metrics.stream_metrics(found.accuracy, found.seen, batches.end_of_task, period, len(y))

        return jax.lax.map(walk, tuple(columns))

    return measure
