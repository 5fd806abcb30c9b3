"""How good the sub-networks of a network are: scores of every width and depth, and of sub-networks by their masks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.elastic.baselines import at_width, on_a_line
from jaxzoo.elastic.nested import BATCH, BLOCKS, prefix, prefix_slice, random_subset
from jaxzoo.elastic.sortednet import select

IN_FLIGHT = 250
"""Examples in flight at once where a network is measured."""


def settled(model, batches=None, *, line=False):
    """The parameters with which a sub-network is used.

    Args:
      model: a `NestedModel`.
      batches: [m, b, ...] of training examples, for a network with batch norm: private statistics of each sub-network,
        the mean over the batches. None leaves the statistics as they are.
      line: the parameters are two networks on a line (`on_a_line`).

    Returns:
      `settle(params, active) -> params`, plain ones.

    Source: Yu et al., "Slimmable Neural Networks" (arXiv 1812.08928), Sec. 3.3, with recomputed statistics.
    """

    def settle(params, active):
        params = at_width(params, active) if line else params
        if model.statistics is None or batches is None:
            return params
        of_batch = jax.vmap(model.statistics, (None, 0, None), out_axes=None, axis_name=BATCH)
        found = jax.lax.map(lambda x: of_batch(params, x, active), batches)
        return params | {"statistics": jax.tree.map(lambda x: x.mean(0), found)}

    return settle


def score_grid(model, params, widths, grid, score, *, line=False, batches=None):
    """A score of every sub-network of a grid.

    Args:
      model: a `NestedModel`; all depths of a width come from one pass where that is possible, without batch norm.
      params: of the whole network, or of two on a line.
      widths: [w] ints.
      grid: [w l, 2] shapes, by width and then by depth; every depth if the model has no batch norm.
      score: as in `grid_scores`.
      line, batches: as in `settled`.

    Returns:
      [w, l].
    """
    if model.statistics is None:
        return grid_scores(on_a_line(model.exits) if line else model.exits, params, model.dims, widths, score)
    settle = settled(model, batches, line=line)

    def at(shape):
        active = prefix(model.dims, *shape)
        own = settle(params, active)
        return score(lambda x: model.apply(own, x, active)[None])[0]

    return jax.lax.map(at, grid).reshape(len(widths), -1)


def grid_scores(exits, params, dims, widths, score):
    """A score of every width and depth, all depths from one pass.

    Args:
      exits: as in `NestedModel`.
      params: of the whole network.
      dims: its elastic dimensions.
      widths: [w] ints.
      score: `score(function) -> [depth]`, where `function(x) -> [depth, ...]` is the network of one width.

    Returns:
      [w, depth].
    """

    def at(width):
        active = prefix(dims, width, dims.depth)
        return score(lambda x: exits(params, x, active))

    return jax.lax.map(at, jnp.asarray(widths))


def accuracy(x, labels):
    """A score for `grid_scores`: the share of x [m, ...] whose highest logit is that of its label [m]."""
    return lambda function: (jax.lax.map(function, x, batch_size=IN_FLIGHT).argmax(-1) == labels[:, None]).mean(0)


def negative_loss(x, labels):
    """A score for `grid_scores`: minus the mean cross-entropy, nats, of sequences x [m, t] and labels [m, t]."""

    def loss(function, x, labels):
        log_p = jax.nn.log_softmax(function(x))  # [depth, t, c]
        return -jnp.take_along_axis(log_p, labels[None, :, None], axis=2).mean((1, 2))

    return lambda function: -jax.lax.map(lambda pair: loss(function, *pair), (x, labels), batch_size=IN_FLIGHT).mean(0)


def matthews(x, labels):
    """A score for `grid_scores`: Matthews' correlation of the highest of two logits with labels [m] of 0 and 1."""
    return lambda function: correlation(jax.lax.map(function, x, batch_size=IN_FLIGHT).argmax(-1), labels)


def pearson(x, targets):
    """A score for `grid_scores`: the correlation of the one output with the targets [m]."""
    return lambda function: correlation(jax.lax.map(function, x, batch_size=IN_FLIGHT)[..., 0], targets)


def correlation(outputs, targets):
    """[k] correlations of outputs [m, k] with targets [m]; 0 where one of them is constant."""
    a, b = (v - v.mean(0, keepdims=True) for v in (outputs.astype(jnp.float32), targets.astype(jnp.float32)))
    return (a * b[:, None]).sum(0) / jnp.maximum(jnp.sqrt((a**2).sum(0) * (b**2).sum(0)), 1e-12)


def subset_accuracy(model, params, active, x, labels, *, settle=lambda params, active: params):
    """The accuracy of sub-networks given by their masks.

    Args:
      model: a `NestedModel`.
      params: of the whole network.
      active: m of them, with a leading axis.
      x: [b, ...] examples.
      labels: [b].
      settle: as from `settled`.

    Returns:
      [m].
    """

    def right(active):
        own = settle(params, active)
        logits = jax.lax.map(lambda x: model.apply(own, x, active), x, batch_size=IN_FLIGHT)
        return (logits.argmax(-1) == labels).mean()

    return jax.lax.map(right, active)


def left_out_norms(model, params, grid):
    """Of each sub-network the norm of what it leaves out, |theta - theta[:b]|.

    With bounded gradients the gap between a sub-network and the whole one is bounded by a multiple of it.

    Args:
      model: a `NestedModel`.
      params: of the whole network, a dict; statistics of batch norm don't count.
      grid: [g, 2] shapes.

    Returns:
      [g].

    Source: Valipour et al. (arXiv 2309.00255), the analysis of the gap.
    """
    pairs = jax.tree.map(lambda p, axes: (p, axes), params, model.axes)
    pairs.pop("statistics", None)
    leaves = jax.tree.leaves(pairs, is_leaf=_is_pair)

    def at(shape):
        masks, blocks = prefix(model.dims, *shape)
        stages = model.dims.stages or {BLOCKS: range(model.dims.depth)}
        masks = masks | {name: blocks[np.array(steps, int)] for name, steps in stages.items()}
        total = 0.0
        for leaf, axes in leaves:
            used = jnp.ones((1,) * leaf.ndim, bool)
            for i, name in enumerate(axes):
                if name is not None:
                    used = used & masks[name].reshape((1,) * i + (-1,) + (1,) * (leaf.ndim - i - 1))
            total += jnp.square(jnp.where(used, 0, leaf)).sum()
        return jnp.sqrt(total)

    return jax.lax.map(at, grid)


def _is_pair(x):
    return isinstance(x, tuple) and len(x) == 2 and isinstance(x[1], tuple)


def best_shapes(scores, grid, costs, budgets, *, widest=0.75):
    """The best shape [2] of each budget, of at most a share of the width so that it has random subsets to beat.

    Args:
      scores: [g] on validation data.
      grid: [g, 2].
      costs: [g].
      budgets: the highest costs allowed.
      widest: that share.

    Returns:
      [budgets, 2].
    """
    scores = jnp.where(grid[:, 0] <= widest * grid[-1, 0], scores, -1.0)
    return jnp.stack([grid[select(scores, costs, budget)] for budget in budgets])


def cut_out_difference(model, params, x, *, settle):
    """How far the outputs of the dense network of half the width and depth are from those of the masked one.

    Args:
      model: a `NestedModel`.
      params: of the whole network.
      x: [b, ...]; the first of them are used.
      settle: as from `settled`.

    Returns:
      A scalar, the largest difference.
    """
    half = max(model.dims.width // 2, 1), max(model.dims.depth // 2, 1)
    active, x = prefix(model.dims, *half), x[:IN_FLIGHT]
    params = settle(params, active)
    dense = jax.vmap(model.apply, (None, 0))(prefix_slice(params, *half, model=model), x)
    return jnp.abs(dense - jax.vmap(model.apply, (None, 0, None))(params, x, active)).max()


def prefix_against_subsets(key, model, params, shapes, *, validation, test, subsets, settle):
    """For each shape the test accuracy of the prefix, and of the random subset that is best on validation data.

    Args:
      key: of the subsets.
      model: a `NestedModel`.
      params: of the whole network.
      shapes: [m, 2].
      validation, test: (x, labels).
      subsets: random ones of each shape.
      settle: as from `settled`.

    Returns:
      {"prefix", "best subset": [m] on test data, "random blocks too": [m] on validation data, the mean over subsets of
      channels and of blocks}.
    """
    score = partial(subset_accuracy, model, params, settle=settle)

    def at(key, shape):
        draw = jax.vmap(lambda key: random_subset(key, model.dims, *shape))
        free = draw(jax.random.split(key, subsets))
        first = prefix(model.dims, *shape)
        # Channels without order; the blocks are those of the prefix, as in the network that it is compared with.
        channels = free._replace(blocks=jnp.broadcast_to(first.blocks[None], free.blocks.shape))
        best = score(channels, *validation).argmax()
        pair = jax.tree.map(lambda a, b: jnp.stack([a, b[best]]), first, channels)
        return *score(pair, *test), score(free, *validation).mean()

    keys = jax.random.split(key, len(shapes))
    prefixes, best, free = jax.lax.map(lambda pair: jnp.stack(at(*pair)), (keys, shapes)).T
    return {"prefix": prefixes, "best subset": best, "random blocks too": free}
