"""The nearest class mean: one running mean per class, which nothing that comes later can move."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.continual.learner import Learner, targets
from jaxzoo.ops import cosine_similarity

METRICS = ("euclidean", "cosine")


class ClassMeans(NamedTuple):
    """Running means.

    Attributes:
      sums: [c, d] of each class's examples.
      counts: [c] of them.
    """

    sums: jax.Array
    counts: jax.Array


def nmc_init(classes: int, d: int, dtype=jnp.float32) -> ClassMeans:
    """Before any example."""
    return ClassMeans(jnp.zeros((classes, d), dtype), jnp.zeros(classes, dtype))


def nmc_update(state: ClassMeans, x, y) -> ClassMeans:
    """Takes in examples x [b, d] with targets y [b, c] of ones and zeros; a row without a one is passed over."""
    if x.ndim != 2 or y.shape != (len(x), len(state.counts)):
        raise ValueError(f"x, y: expected [b, d] and [b, {len(state.counts)}], got {x.shape} and {y.shape}")
    return ClassMeans(state.sums + y.T @ x, state.counts + y.sum(0))


def nmc_scores(state: ClassMeans, x, metric: str = "euclidean"):
    """How near an example [d] is to the mean of each class.

        euclidean: 2 <x, m_c> - ||m_c||^2, which is -||x - m_c||^2 but for what all classes share; cosine: cos(x, m_c)

    Args:
      state: the means.
      x: [d].
      metric: one of `METRICS`.

    Returns:
      [c], -inf for classes not yet seen; the largest wins, of equals the lower class.

    Raises:
      ValueError: an unknown metric.
    """
    if metric not in METRICS:
        raise ValueError(f"metric: expected one of {', '.join(METRICS)}, got {metric!r}")
    means = state.sums / jnp.maximum(state.counts, 1)[:, None]
    if metric == "cosine":
        near = jax.vmap(cosine_similarity, (None, 0))(x, means)
    else:
        near = 2 * means @ x - jnp.square(means).sum(-1)
    return jnp.where(state.counts > 0, near, -jnp.inf)


def nmc(d: int, *, classes: int, metric: str = "euclidean") -> Learner:
    """Nearest class mean as a learner with state `ClassMeans`."""
    return Learner(
        lambda: nmc_init(classes, d),
        lambda state, batch, key: nmc_update(state, batch.x, targets(batch)),
        lambda state, x: nmc_scores(state, x, metric),
    )
