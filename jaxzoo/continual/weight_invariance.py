"""The check of analytic learning's theorem: the joint solution, and how far from it the weights are along a stream."""

import jax
import jax.numpy as jnp

from jaxzoo.continual.analytic_learning import gacil
from jaxzoo.continual.learner import Followed, follow
from jaxzoo.continual.recursive_ridge import ridge
from jaxzoo.continual.streams import Batches


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
