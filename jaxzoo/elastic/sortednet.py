"""SortedNet: one training of all prefixes of a network.

Every sub-network b = (w, l) uses theta[:b], the first w channels of every hidden dimension and the first l blocks, and
the one head; they are nested: theta[:b] is part of theta[:b'] where b <= b'. An update draws a few of them and
accumulates their gradients on one batch,

    b_1 ... b_n ~ p over the grid,    g = 1/n sum_i grad L(theta[:b_i]; batch),    theta <- optimiser(theta, g)

without distillation and without a sandwich of the largest and the smallest. Since the order is that of the channels,
the best sub-network of a budget is looked up in the grid, not searched for.

NOTE(paper): the n sub-networks see one batch; the paper accumulates over iterations, each with a batch of its own.

Source: Valipour et al., "SortedNet, a Place for Every Network and Every Network in its Place" (arXiv 2309.00255).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo.elastic.digit_pairs import digit_pair_sum
from jaxzoo.elastic.masked_norm import masked_layer_norm
from jaxzoo.elastic.nested import BATCH, nested, prefix, prefix_slice
from jaxzoo.elastic.pareto import pareto_front
from jaxzoo.elastic.residual_mlp import macs, residual_mlp

__all__ = [
    "accumulate",
    "depth_width_grid",
    "digit_pair_sum",
    "draw_from",
    "macs",
    "masked_layer_norm",
    "nested",
    "pareto_front",
    "prefix",
    "prefix_slice",
    "residual_mlp",
    "select",
    "sortednet_update",
]


def depth_width_grid(widths, depths):
    """All shapes (w, l), by width and then by depth.

    Args:
      widths: ascending ints.
      depths: ascending ints.

    Returns:
      [g, 2] int32, g = len(widths) len(depths).

    Raises:
      ValueError: empty, not ascending, or below 1.
    """
    for name, values in (("widths", widths), ("depths", depths)):
        if not len(values) or values[0] < 1 or np.any(np.diff(values) <= 0):
            raise ValueError(f"{name}: expected ascending ints from 1 on, got {tuple(values)}")
    w, l = np.meshgrid(widths, depths, indexing="ij")
    return jnp.asarray(np.stack([w.ravel(), l.ravel()], 1), jnp.int32)


def draw_from(key, grid, logits):
    """n independent shapes from the grid, each from a distribution of its own.

    Args:
      key: of the choice.
      grid: [g, 2] as from `depth_width_grid`.
      logits: [n, g] of the distributions; equal ones are the uniform distribution, -inf is never drawn.

    Returns:
      [n, 2] int32.

    Raises:
      ValueError: logits that don't fit the grid.
    """
    if logits.ndim != 2 or logits.shape[1] != grid.shape[0]:
        raise ValueError(f"logits: expected [n, {grid.shape[0]}], got {logits.shape}")
    return grid[jax.random.categorical(key, logits)]


def accumulate(apply, loss):
    """The loss whose gradient is the mean of the sub-networks' gradients.

    The sub-networks run side by side under `vmap`; only their masks differ, so that they share every matrix product.

    Args:
      apply: `apply(params, x, active) -> y` of one example; the examples are the axis `BATCH` of `vmap`.
      loss: `loss(y [n, b, ...], target [b, ...]) -> scalar`, a mean over sub-networks and examples.

    Returns:
      `mean_loss(params, active [n, ...], x [b, ...], target [b, ...]) -> scalar`.
    """
    over_batch = jax.vmap(apply, (None, 0, None), axis_name=BATCH)
    over_networks = jax.vmap(over_batch, (None, None, 0))

    def mean_loss(params, active, x, target):
        return loss(over_networks(params, x, active), target)

    return mean_loss


def sortednet_update(mean_loss, draw, optimizer):
    """One step on the accumulated gradient of n sub-networks.

    Args:
      mean_loss: as from `accumulate`.
      draw: `draw(key) -> active [n, ...]`: n sub-networks from the distribution over the grid.
      optimizer: an optax transformation. Entries that no drawn sub-network uses have a gradient of 0.

    Returns:
      `update(params, memory, key, x [b, ...], target [b, ...]) -> (params, memory, loss)`.
    """

    def update(params, memory, key, x, target):
        value, gradient = jax.value_and_grad(mean_loss)(params, draw(key), x, target)
        change, memory = optimizer.update(gradient, memory, params)
        return optax.apply_updates(params, change), memory, value

    return update


def select(accuracy, costs, budget):
    """The best shape within a budget: a look at the grid's validation accuracy, once.

    Args:
      accuracy: [g] of every shape on validation data.
      costs: [g] of every shape.
      budget: the highest cost allowed; at least the cheapest shape's.

    Returns:
      The index in the grid, int32; of equals the first.
    """
    return jnp.argmax(jnp.where(costs <= budget, accuracy, -jnp.inf)).astype(jnp.int32)
