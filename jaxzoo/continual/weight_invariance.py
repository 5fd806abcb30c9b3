"""The check of analytic learning's theorem: the joint solution, and how far from it the weights are along a stream."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.continual import metrics
from jaxzoo.continual.analytic_learning import gacil
from jaxzoo.continual.learner import Followed, follow
from jaxzoo.continual.recursive_ridge import ridge
from jaxzoo.continual.streams import Batches, random_stream, si_blurry_stream, stream_batches


def joint_ridge(train, test, *, embed, classes: int, gamma: float):
    """Ridge regression on all examples at once, in the dtype of the features.

    Args:
      train: `(x [n, f], y [n])`.
      test: `(x [m, f], y [m])`.
      embed: `embed(x [f]) -> [d]`, of one example.
      classes: number of classes c.
      gamma: > 0, the ridge penalty.

    Returns:
      `(W [d, c], accuracy)`, the latter on `test`.
    """
    (x, y), (x_test, y_test) = train, test
    W = ridge(jax.vmap(embed)(x), jax.nn.one_hot(y, classes, dtype=x.dtype), gamma)
    right = jnp.argmax(jax.vmap(embed)(x_test) @ W, axis=-1) == y_test
    return W, right.sum() / len(right)  # as `follow` divides: the mean of booleans is float32 even beside float64


def follow_against(key, joint, batches: Batches, train, test, *, embed, gamma: float) -> Followed:
    """Leads G-ACIL along a stream in the dtype of the features; the probe is ||W_k - joint|| / ||joint|| [k].

    Args:
      key: a PRNG key.
      joint: [d, c] the joint solution, in any precision.
      batches: the stream.
      train, test, embed, gamma: as of `joint_ridge`.

    Returns:
      `Followed`.
    """
    d, classes = joint.shape
    learner = gacil(d, classes=classes, gamma=gamma, dtype=train[0].dtype)

    def distance(state):
        return jnp.linalg.norm(state.W.astype(joint.dtype) - joint) / jnp.linalg.norm(joint)

    return follow(key, learner, batches, train, test, classes=classes, embed=embed, probe=distance)


def invariance_check(
    labels, buffer: Callable, *, blurry: tuple, iid: tuple, classes: int, gamma: float, batch: int, tasks: int, at
) -> Callable:
    """How far the weights are from the joint solution, in both precisions, along streams of one seed.

    Args:
      labels: `(y [n], y_test [m])`.
      buffer: `buffer(key, pretrain) -> embed`, the expansion; `embed(x [f]) -> [d]` in the dtype of x.
      blurry, iid: (T, r_D, r_B) of two streams, the one in question and one in random order.
      classes, gamma: as of `joint_ridge`.
      batch, tasks: of those streams' batches, and the most tasks.
      at: [m] numbers of examples at which the distance is read.

    Returns:
      `compare(key, train, test, pretrain)`, not traceable, of features [n, f], [m, f], [p, f] in float32 -> a dict:
      "error float64" and "error float32" after a random stream; "A_Last against joint", the difference of accuracies,
      and "joint", the accuracy of the joint solution, in points; "iid against blurry", the relative difference of
      those weights; "distance float64", "distance float32": [m] along the blurry stream.
    """
    y, y_test = labels

    # Streams and precisions share the buffer and the draws, so keys are made where they are used.
    def prepare(key, train, test, pretrain):
        embed = buffer(jax.random.fold_in(key, 0), pretrain)
        return ((train, y), (test, y_test)), {"embed": embed, "gamma": gamma}

    @jax.jit
    def solve(key, *features):
        sets, options = prepare(key, *features)
        return joint_ridge(*sets, classes=classes, **options)

    @jax.jit
    def walk(key, joint, batches, *features):
        sets, options = prepare(key, *features)
        found = follow_against(jax.random.fold_in(key, 3), joint, batches, *sets, **options)
        return found.state.W, found.accuracy[-1], found.probe[-1], metrics.at_samples(found.probe, found.seen, at)

    @jax.jit
    def cut(key, *kind):
        key_task, key_order = jax.random.split(jax.random.fold_in(key, 1))
        task = si_blurry_stream(key_task, y, *kind, classes=classes)
        return stream_batches(key_order, task, batch, tasks=tasks)

    def compare(key, *features):
        key_random = jax.random.fold_in(key, 2)
        streams = {"random": random_stream(key_random, y, classes=classes, rows=20)}
        streams |= {"blurry": cut(key, *blurry), "iid": cut(key, *iid)}
        with jax.enable_x64(True):
            wide = [jnp.asarray(x, jnp.float64) for x in features]
            joint, accuracy = solve(key, *wide)
            double = {name: walk(key, joint, batches, *wide) for name, batches in streams.items()}
            single = {name: walk(key, joint, streams[name], *features) for name in ("random", "blurry")}
            accuracy, joint, double, single = jax.device_get((accuracy, joint, double, single))
        return {
            "error float64": double["random"][2],
            "error float32": single["random"][2],
            "A_Last against joint": 100 * np.abs(double["random"][1] - accuracy),
            "joint": 100 * accuracy,
            "iid against blurry": np.linalg.norm(double["blurry"][0] - double["iid"][0]) / np.linalg.norm(joint),
            "distance float64": double["blurry"][3],
            "distance float32": single["blurry"][3],
        }

    return compare
