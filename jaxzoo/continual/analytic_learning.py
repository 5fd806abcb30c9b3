"""Analytic learning (G-ACIL): a classifier that is never trained, only solved, however its examples come.

The backbone is frozen. A buffer expands its features at random, phi = relu(f B), and the head on top is ridge
regression, which can take in batch after batch and have, after each, the weights of all examples at once: nothing is
stored and nothing forgotten. With R = (sum X^T X + gamma I)^-1,

    R_k = R_{k-1} - R_{k-1} X_k^T (I + X_k R_{k-1} X_k^T)^-1 X_k R_{k-1}
    W_k = [W_{k-1} - R_k X_k^T X_k W_{k-1} | R_k X_k^T Ytil_k] + [R_k X_k^T Ybar_k | 0]

where a batch may mix classes that came before (labels Ybar, exposed) with new ones (Ytil, unexposed, new columns). The
last bracket is the exposed class label gain: what the classes that come again add, which class-incremental learning in
the strict sense never sees. Here W has all columns from the start, zero until their class comes, and the two brackets
add up to W + R_k X_k^T (Y_k - X_k W): `recursive_ridge.rls_update`.

Source: Zhuang, Chen, Fang, He, Tong, Wei, Zeng, Chen, "G-ACIL: Analytic Learning for Exemplar-Free Generalized Class
Incremental Learning" (arXiv 2403.15706); the buffers of ACIL (NeurIPS 2022) and GKEAL (CVPR 2023).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.continual.learner import Batch, Learner, targets
from jaxzoo.continual.recursive_ridge import Information, downdate, ridge_weights, rls_init


class GACIL(NamedTuple):
    """The state of analytic learning.

    Attributes:
      R: [d, d] the inverse of sum X^T X + gamma I.
      W: [d, c] weights.
      exposed: [c] bool, the classes that came so far.
    """

    R: jax.Array
    W: jax.Array
    exposed: jax.Array


def random_relu_buffer(key, features: int, size: int) -> Callable:
    """The random expansion phi(f) = relu(f B), B fixed, with entries U(-1, 1) / sqrt(features), without an offset.

    Args:
      key: draws B.
      features: size of f.
      size: D, size of phi; 8192 or more in the paper.

    Returns:
      `phi(f [features]) -> [D]`, in the dtype of f.

    Raises:
      ValueError: a size below 1.
    """
    if features < 1 or size < 1:
        raise ValueError(f"features, size: expected at least 1, got {features} and {size}")
    B = jax.random.uniform(key, (features, size), jnp.float32, minval=-1.0) * features**-0.5
    return lambda f: jax.nn.relu(f @ B.astype(f.dtype))


def gaussian_buffer(key, features, size: int, *, sigma: float = 10.0) -> Callable:
    """Gaussian kernels, phi(f)_i = exp(-||f - c_i||^2 / (2 sigma^2)), centres drawn without replacement (GKEAL).

    NOTE(paper): the centres are a random choice among all examples. The official code permutes the numbers 0..D - 1
    only, and so takes the first D.

    Args:
      key: draws the centres.
      features: [n, f] examples to draw them from, n >= size.
      size: D, number of centres.
      sigma: width, in the unit of the features.

    Returns:
      `phi(f [f]) -> [D]`.

    Raises:
      ValueError: fewer examples than centres, or sigma not above 0.
    """
    if not 1 <= size <= len(features):
        raise ValueError(f"size: expected 1 to {len(features)} (the examples to draw centres from), got {size}")
    if not sigma > 0:
        raise ValueError(f"sigma: expected a number > 0, got {sigma}")
    centres = features[jax.random.permutation(key, len(features))[:size]]  # [D, f]
    square = jnp.square(centres).sum(1)

    def phi(f):
        # The square written out, so that a batch is one matrix product; rounding may leave it slightly negative.
        distance = jnp.square(f).sum() + square.astype(f.dtype) - 2 * centres.astype(f.dtype) @ f
        return jnp.exp(-jnp.maximum(distance, 0) / (2 * sigma**2))

    return phi


def split_labels(y, exposed):
    """Targets y [b, c] as `(Ybar, Ytil)`, each [b, c]: those of exposed classes, and those of classes that are new."""
    return jnp.where(exposed[None], y, 0), jnp.where(exposed[None], 0, y)


def eclg_term(state: GACIL, x, y):
    """The exposed class label gain of a batch, R_k x^T Ybar_k.

    Args:
      state: with the R of after the batch and the `exposed` of before it.
      x: [b, d].
      y: [b, c] targets.

    Returns:
      [d, c]; zero in the columns of new classes.
    """
    return state.R @ (x.T @ split_labels(y, state.exposed)[0])


def gacil_init(d: int, gamma: float, *, classes: int, dtype=jnp.float32) -> GACIL:
    """The state before any example; arguments as of `rls_init`."""
    return GACIL(*rls_init(d, gamma, classes=classes, dtype=dtype), jnp.zeros(classes, bool))


def gacil_update(state: GACIL, x, y, *, gain=1.0) -> GACIL:
    """Takes in a batch.

    Args:
      state: so far.
      x: [b, d] expanded features; rows of zeros stand for no example.
      y: [b, c] targets of ones and zeros; zero in those rows.
      gain: weight of the exposed class label gain; 1 is the method, 0 the ablation. May be traced.

    Returns:
      The state; with gain 1, the one that all examples at once would have given.

    Raises:
      ValueError: shapes that do not fit.
    """
    d, classes = state.W.shape
    if x.ndim != 2 or x.shape[1] != d or y.shape != (len(x), classes):
        raise ValueError(f"x, y: expected [b, {d}] and [b, {classes}], got {x.shape} and {y.shape}")
    R, R_xT = downdate(state.R, x)
    y_bar, y_til = split_labels(y, state.exposed)
    W = state.W + R_xT @ (y_til - x @ state.W) + gain * (R_xT @ y_bar)  # the last is `eclg_term`
    return GACIL(R, W, state.exposed | (y > 0).any(0))


def gacil_fit(x, y, mask, *, gamma: float, classes: int, gain=1.0) -> GACIL:
    """Takes in a stream of batches.

    Args:
      x: [k, b, d] expanded features.
      y: [k, b] integers in 0..classes - 1.
      mask: [k, b] bool, which rows are examples.
      gamma: > 0, the ridge penalty; 0.1 in the paper.
      classes: c.
      gain: as of `gacil_update`.

    Returns:
      The state after the last batch, in the dtype of x.

    Raises:
      ValueError: shapes that do not fit.
    """
    if x.ndim != 3 or y.shape != x.shape[:2] or mask.shape != y.shape:
        raise ValueError(f"x, y, mask: expected [k, b, d], [k, b], [k, b], got {x.shape}, {y.shape}, {mask.shape}")

    def step(state, batch):
        x, y, mask = batch
        y = jax.nn.one_hot(y, classes, dtype=x.dtype) * mask[:, None]
        return gacil_update(state, jnp.where(mask[:, None], x, 0), y, gain=gain), None

    return jax.lax.scan(step, gacil_init(x.shape[-1], gamma, classes=classes, dtype=x.dtype), (x, y, mask))[0]


def gacil(d: int, *, classes: int, gamma: float, gain=1.0, dtype=jnp.float32) -> Learner:
    """Analytic learning as a learner with state `GACIL`; arguments as of `gacil_fit`.

    No array of the learner grows with the stream, and it is not told where tasks begin.
    """

    def update(state, batch: Batch, key):
        return gacil_update(state, batch.x, targets(batch), gain=gain)

    return Learner(lambda: gacil_init(d, gamma, classes=classes, dtype=dtype), update, lambda state, x: x @ state.W)


def class_balanced_ridge(x, y, gamma: float):
    """Ridge regression in which every class counts alike, however many examples it has (AIR, arXiv 2408.10349).

        (sum_c X_c^T X_c / n_c + gamma I)^-1 sum_c X_c^T Y_c / n_c

    Args:
      x: [n, d] expanded features.
      y: [n, c] targets of ones and zeros, one 1 in each row.
      gamma: > 0, the ridge penalty.

    Returns:
      [d, c].
    """
    weight = y @ (1 / jnp.maximum(y.sum(0), 1))  # [n]
    return ridge_weights(Information(x.T @ (weight[:, None] * x), x.T @ (weight[:, None] * y)), gamma)
