"""Boosted ensembles as arrays of a fixed size: one compiled update whatever the number of trees.

    f(x) = bias - sum_k rate v_k[leaf_k(x)]

Source: Fuhrer, Tessler, Dalal, "Gradient Boosting Reinforcement Learning" (arXiv 2407.08250), Sec. 3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxzoo.agents.trees import Tree, leaf_index, split_candidates, tree_fit_oblivious, tree_predict

CHUNK = 32
"""Trees that are evaluated together; a prediction costs whole chunks."""
LOSSES = ("rmse", "softmax")


class Ensemble(NamedTuple):
    """Trees, the first `count` of `k` in use.

    Attributes:
      trees: `Tree` with arrays [k, ...]; `values` hold the step -rate v, and 0 where there is no tree yet.
      bias: [d].
      count: int32.
    """

    trees: Tree
    bias: jax.Array
    count: jax.Array


def empty_ensemble(capacity, splits, leaves, bias):
    """An ensemble without trees.

    Args:
      capacity: trees that fit in; rounded up to whole chunks of 32.
      splits: of a tree: its depth (oblivious), or 2^depth - 1 (greedy).
      leaves: of a tree, 2^depth.
      bias: [d] what it predicts.

    Returns:
      `Ensemble`.

    Raises:
      ValueError: capacity below 1.
    """
    if capacity < 1:
        raise ValueError(f"capacity: expected at least 1, got {capacity}")
    k = -(-capacity // CHUNK) * CHUNK
    of_splits = jnp.zeros((k, splits))
    values = jnp.zeros((k, leaves, bias.shape[0]))
    trees = Tree(of_splits.astype(jnp.int32), of_splits, of_splits.astype(bool), values, of_splits)
    return Ensemble(trees, bias, jnp.int32(0))


def boost_append(ensemble, tree, rate):
    """Adds a tree that was fitted to gradients, as a step against them.

    A tree too many is dropped: the capacity is for the caller to keep.

    Args:
      ensemble: `Ensemble`.
      tree: `Tree` of the same shape.
      rate: [d] learning rate of each output.

    Returns:
      `(ensemble, tree)`, the latter with values -rate v: add `tree_predict(tree, x)` to keep predictions up to date.
    """
    tree = tree._replace(values=-rate[None] * tree.values)
    trees = jax.tree.map(lambda many, one: many.at[ensemble.count].set(one), ensemble.trees, tree)
    return Ensemble(trees, ensemble.bias, ensemble.count + 1), tree


def ensemble_predict(ensemble, x):
    """What the ensemble says of every sample: [n, f] -> [n, d]. Time is proportional to the trees in use."""
    n, (k, leaves, d) = x.shape[0], ensemble.trees.values.shape

    def add(i, f):
        trees = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, i * CHUNK, CHUNK), ensemble.trees)
        at = jnp.arange(CHUNK)[None] * leaves + leaf_index(trees, x)  # [n, CHUNK]
        return f + trees.values.reshape(-1, d).at[at].get(mode="promise_in_bounds").sum(1)

    chunks = (jnp.minimum(ensemble.count, k) + CHUNK - 1) // CHUNK
    return jax.lax.fori_loop(0, chunks, add, jnp.broadcast_to(ensemble.bias, (n, d)))


def feature_importance(ensemble, features):
    """[features] share of the gain of all splits that each feature has; sums to 1, or to 0 without any gain."""
    gain = jnp.zeros(features).at[ensemble.trees.feature.reshape(-1)].add(ensemble.trees.gain.reshape(-1))
    return gain / jnp.maximum(gain.sum(), 1e-30)


def boost_supervised(x, y, cats, *, loss="rmse", trees=100, rate=0.3, n_bins=32, depth=4, score="l2"):
    """Gradient boosting in the usual sense, with oblivious trees on the whole set.

    Args:
      x: [n, f] features.
      y: [n, d] numbers for "rmse" (gradient f - y), or one-hot classes for "softmax" (gradient softmax(f) - y).
      cats: for each feature its number of categories, 0 for a number.
      loss: "rmse" or "softmax".
      trees: how many.
      rate: learning rate.
      n_bins, depth, score: of `tree_fit_oblivious`.

    Returns:
      `(ensemble, losses [trees])`: the loss before each tree, |f - y|^2 / 2 or the cross-entropy, mean over samples.

    Raises:
      ValueError: an unknown loss, y that does not fit x.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {loss!r}")
    if y.ndim != 2 or len(y) != len(x):
        raise ValueError(f"y: expected [{len(x)}, d], got {y.shape}")
    bias = y.mean(0) if loss == "rmse" else jnp.zeros(y.shape[1])
    candidates = split_candidates(x, cats, y, n_bins)
    rates = jnp.full(y.shape[1], rate)

    def add(carry, _):
        ensemble, f = carry
        if loss == "rmse":
            g, value = f - y, 0.5 * jnp.square(f - y).sum(1)
        else:
            g, value = jax.nn.softmax(f) - y, optax.losses.softmax_cross_entropy(f, y)
        tree = tree_fit_oblivious(x, cats, g, n_bins, depth, score=score, candidates=candidates)
        ensemble, step = boost_append(ensemble, tree, rates)
        return (ensemble, f + tree_predict(step, x)), value.mean()

    start = (empty_ensemble(trees, depth, 2**depth, bias), jnp.broadcast_to(bias, y.shape))
    (ensemble, _), losses = jax.lax.scan(add, start, length=trees)
    return ensemble, losses
