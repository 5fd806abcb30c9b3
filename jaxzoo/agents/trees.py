"""Regression trees of several outputs, grown on a batch of gradients; fixed shapes, all samples at once.

A tree is a few comparisons and a table of leaves. A candidate split is "x_f > q" for a number, "x_f = c" for a
category. Its score is what the children's means explain of the gradients g [d] of the n_c samples in each child c:

    L2:      sum_c n_c |mean_c|^2,           of g standardised over the batch, output by output
    cosine:  sqrt(sum_c n_c |mean_c|^2),     of g as it is

Sums over samples on the right of every candidate, in every node, are one matrix product with 0/1 matrices.

Source: Fuhrer, Tessler, Dalal, "Gradient Boosting Reinforcement Learning" (arXiv 2407.08250), Sec. 3 and 4.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

SCORES = ("l2", "cosine")


class Tree(NamedTuple):
    """One tree, or with a leading axis many. s splits: depth of them (oblivious) or 2^depth - 1 in heap order (greedy).

    Attributes:
      feature: [s] int32, which feature is compared.
      threshold: [s] with what; infinite where a greedy node did not split, so that all samples go left.
      is_cat: [s] whether "equal to" instead of "more than".
      values: [2^depth, d] of the leaves.
      gain: [s] by how much the split raised the score.
    """

    feature: jax.Array
    threshold: jax.Array
    is_cat: jax.Array
    values: jax.Array
    gain: jax.Array


class Candidates(NamedTuple):
    """Splits to choose from; each [c]. `valid` is false for duplicates, which keeps the shape fixed."""

    feature: jax.Array
    threshold: jax.Array
    is_cat: jax.Array
    valid: jax.Array


def split_candidates(x, cats, g, n_bins=32, *, grid=False):
    """Quantiles of the batch for numbers, every category for categories.

    The k-th quantile has level (k + 1/2) / n_bins, so that n_bins = n - 1 gives all midpoints of neighbours.

    Args:
      x: [n, f] features; categories are whole numbers from 0.
      cats: for each feature its number of categories, 0 for a number.
      g: [n, d] gradients; where there are more categories than n_bins for each categorical feature, those with the
        largest mean |g|^2 stay.
      n_bins: candidates of a numeric feature.
      grid: evenly spaced values instead of quantiles.

    Returns:
      `Candidates`, numbers first.
    """
    n = x.shape[0]
    numeric = np.flatnonzero(np.asarray(cats) == 0)
    ordered = jnp.sort(x[:, numeric], axis=0)
    level = (np.arange(n_bins) + 0.5) / n_bins
    if grid:
        q = ordered[:1] + (ordered[-1:] - ordered[:1]) * jnp.asarray(level, x.dtype)[:, None]  # [n_bins, numeric]
    else:
        place = level * (n - 1)
        low = np.floor(place).astype(int)
        part = jnp.asarray(place - low, x.dtype)[:, None]
        q = ordered[low] + part * (ordered[np.minimum(low + 1, n - 1)] - ordered[low])
    fresh = jnp.concatenate([jnp.ones_like(q[:1], bool), q[1:] > q[:-1]])
    feature, category = _categories(x, cats, g, n_bins)
    c = category.shape[0]
    return Candidates(
        jnp.concatenate([jnp.repeat(jnp.asarray(numeric, jnp.int32), n_bins), feature]),
        jnp.concatenate([q.T.reshape(-1), category.astype(x.dtype)]),
        jnp.arange(q.size + c) >= q.size,
        jnp.concatenate([fresh.T.reshape(-1), jnp.ones(c, bool)]),
    )


def _categories(x, cats, g, n_bins):
    """Feature and category, each [c], of the categorical candidates."""
    feature = np.repeat(np.arange(len(cats)), cats).astype(np.int32)
    category = np.concatenate([np.arange(c) for c in cats]).astype(np.int32)
    room = n_bins * np.count_nonzero(cats)
    if len(feature) <= room:
        return jnp.asarray(feature), jnp.asarray(category)
    member = (x[:, feature] == jnp.asarray(category, x.dtype)[None]).astype(x.dtype)  # [n, c]
    size = jnp.square(g).sum(1) @ member / jnp.maximum(member.sum(0), 1)
    kept = jax.lax.top_k(size, room)[1]
    return jnp.asarray(feature)[kept], jnp.asarray(category)[kept]


def sides(candidates, x):
    """[n, c] true where a sample lies on the right of a candidate: more than the number, or equal to the category."""
    value = x.at[:, candidates.feature].get(mode="promise_in_bounds")
    return _right(value, candidates.threshold, candidates.is_cat)


def _right(value, threshold, is_cat):
    lead = (None,) * (value.ndim - threshold.ndim)
    return jnp.where(is_cat[lead], value == threshold[lead], value > threshold[lead])


def level_scores(right, node, g, nodes, score="l2"):
    """The score of every candidate in every node of a level.

    Args:
      right: [n, c] 0/1, from `sides`.
      node: [n] int32, the node that a sample is in.
      g: [n, d] gradients, standardised for "l2".
      nodes: how many there are.
      score: "l2" or "cosine".

    Returns:
      `(scores [nodes, c], parent [nodes], count [nodes, 2, c])`: the children's scores, that of the node unsplit, and
      the samples left and right.
    """
    member = (node[:, None] == jnp.arange(nodes)[None]).astype(g.dtype)  # [n, nodes]
    weight = jnp.concatenate([g, jnp.ones_like(g[:, :1])], axis=1)  # [n, d + 1]
    spread = (member[:, :, None] * weight[:, None, :]).reshape(len(g), -1)  # [n, nodes * (d + 1)]
    rights = jnp.matmul(spread.T, right.astype(g.dtype), precision="highest").reshape(nodes, -1, right.shape[1])
    total = spread.sum(0).reshape(nodes, -1, 1)
    both = jnp.stack([total - rights, rights], axis=1)  # [nodes, 2, d + 1, c]
    count = both[:, :, -1]
    children = (jnp.square(both[:, :, :-1]).sum(2) / jnp.maximum(count, 1)).sum(1)  # n |mean|^2 = |sum|^2 / n
    parent = jnp.square(total[:, :-1, 0]).sum(1) / jnp.maximum(total[:, -1, 0], 1)
    if score == "cosine":
        return jnp.sqrt(children), jnp.sqrt(parent), count
    return children, parent, count


def _prepare(x, cats, g, n_bins, depth, score, candidates, grid):
    """Checks, candidates, sides, and the gradients that the score sees."""
    if x.ndim != 2 or len(cats) != x.shape[1]:
        raise ValueError(f"x: expected [n, {len(cats)}], one column for each entry of cats, got {x.shape}")
    if g.ndim != 2 or len(g) != len(x):
        raise ValueError(f"g: expected [{len(x)}, d], got {g.shape}")
    if depth < 1 or n_bins < 1:
        raise ValueError(f"depth and n_bins: expected at least 1, got {depth} and {n_bins}")
    if score not in SCORES:
        raise ValueError(f"score: expected one of {', '.join(SCORES)}, got {score!r}")
    if candidates is None:
        candidates = split_candidates(x, cats, g, n_bins, grid=grid)
    seen = (g - g.mean(0, keepdims=True)) / (g.std(0, keepdims=True) + 1e-8) if score == "l2" else g
    return candidates, sides(candidates, x), seen


def tree_fit_oblivious(x, cats, g, n_bins=32, depth=4, *, score="l2", grid=False, candidates=None):
    """Grows a tree with one split for a whole level: the one whose score, summed over the level's nodes, is highest.

    Args:
      x: [n, f] features; categories are whole numbers from 0.
      cats: for each feature its number of categories, 0 for a number.
      g: [n, d] gradients, one row for each sample.
      n_bins: candidates of a numeric feature.
      depth: number of levels; each splits, whatever it gains.
      score: "l2" or "cosine".
      grid: candidates on an even grid instead of at quantiles.
      candidates: `Candidates` to use instead.

    Returns:
      `Tree` with s = depth; a leaf's value is the mean of g in it, 0 of none.

    Raises:
      ValueError: shapes that don't fit, depth or n_bins below 1, an unknown score.
    """
    options, right, seen = _prepare(x, cats, g, n_bins, depth, score, candidates, grid)
    open_, node, chosen, gains = options.valid, jnp.zeros(len(x), jnp.int32), [], []
    for level in range(depth):
        scores, parent, _ = level_scores(right, node, seen, 2**level, score)
        total = jnp.where(open_, scores.sum(0), -jnp.inf)
        best = jnp.argmax(total)
        open_ = open_.at[best].set(False)
        node = 2 * node + right[:, best]
        chosen.append(best)
        gains.append(total[best] - parent.sum())
    picked = jax.tree.map(lambda a: a[jnp.stack(chosen)], options)
    gain = jnp.maximum(jnp.nan_to_num(jnp.stack(gains), neginf=0.0), 0)
    return Tree(picked.feature, picked.threshold, picked.is_cat, leaf_means(node, g, 2**depth), gain)


def tree_fit_greedy(x, cats, g, n_bins=32, depth=4, *, score="l2", min_data=1, grid=False, candidates=None):
    """Grows a tree in which every node has the best split of its own, or none.

    A node splits if its children's score is above its own and both get `min_data` samples. What one node does never
    depends on another that is not above it, so that growing by levels gives the tree that growing depth first would.

    Args:
      x, cats, g, n_bins, score, grid, candidates: as in `tree_fit_oblivious`.
      depth: the most levels.
      min_data: least samples in a child.

    Returns:
      `Tree` with s = 2^depth - 1.

    Raises:
      ValueError: as `tree_fit_oblivious`.
    """
    options, right, seen = _prepare(x, cats, g, n_bins, depth, score, candidates, grid)
    open_, node, levels = options.valid[None], jnp.zeros(len(x), jnp.int32), []
    for level in range(depth):
        scores, parent, count = level_scores(right, node, seen, 2**level, score)
        allowed = open_ & (count.min(1) >= min_data)
        scores = jnp.where(allowed, scores, -jnp.inf)  # [nodes, c]
        best = jnp.argmax(scores, axis=1)
        top = jnp.take_along_axis(scores, best[:, None], axis=1)[:, 0]
        # Equal but for rounding is not more.
        splits = top > parent * (1 + 1e-6) + 1e-12
        at = jax.tree.map(lambda a, best=best: a[best], options)
        threshold = jnp.where(splits, at.threshold, jnp.inf)
        levels.append((at.feature, threshold, at.is_cat & splits, jnp.where(splits, top - parent, 0)))
        goes = jnp.take_along_axis(right, best[node][:, None], axis=1)[:, 0] & splits[node]
        open_ = open_ & (jnp.arange(right.shape[1])[None] != best[:, None])
        open_ = jnp.repeat(open_, 2, axis=0)
        node = 2 * node + goes
    feature, threshold, is_cat, gain = (jnp.concatenate(parts) for parts in zip(*levels, strict=True))
    return Tree(feature, threshold, is_cat, leaf_means(node, g, 2**depth), gain)


def leaf_means(node, g, leaves):
    """[leaves, d] mean of g [n, d] over the samples in each leaf, 0 of none."""
    member = (node[:, None] == jnp.arange(leaves)[None]).astype(g.dtype)
    return jnp.matmul(member.T, g, precision="highest") / jnp.maximum(member.sum(0), 1)[:, None]


def leaf_index(tree, x):
    """The leaf that every sample falls into, for one tree or many.

    Args:
      tree: `Tree`, its arrays [s] or [k, s].
      x: [n, f].

    Returns:
      [n] or [n, k] int32.
    """
    value = x.at[:, tree.feature].get(mode="promise_in_bounds")
    bits = _right(value, tree.threshold, tree.is_cat).astype(jnp.int32)  # [n, ..., s]
    depth = tree.values.shape[-2].bit_length() - 1
    if bits.shape[-1] == depth:  # oblivious, or a single split, which is both
        return (bits << np.arange(depth - 1, -1, -1).reshape((1,) * (bits.ndim - 1) + (-1,))).sum(-1)
    node = jnp.zeros(bits.shape[:-1], jnp.int32)
    for level in range(depth):
        node = 2 * node + jnp.take_along_axis(bits, (2**level - 1 + node)[..., None], axis=-1)[..., 0]
    return node


def tree_predict(tree, x):
    """[n, d] values of the leaves that the samples x [n, f] fall into, for one tree."""
    return tree.values.at[leaf_index(tree, x)].get(mode="promise_in_bounds")
