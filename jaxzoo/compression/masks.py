"""Which weights to keep: masks over all layers at once or layer by layer, with exact counts.

Scores and masks are pytrees with one leaf a layer, of the layer's shape; a mask is True where a weight is kept. The
largest scores are kept, and of equal ones those that come later in the order of leaves.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def global_mask(scores: Any, sparsity: float, floor: int = 0) -> Any:
    """Prunes exactly floor(sparsity N) of all N weights, those with the smallest scores wherever they are.

    With a floor, each layer first keeps its min(floor, n_l) largest, and the rest of the budget goes to the largest of
    all others.

    Args:
      scores: pytree, one leaf a layer.
      sparsity: share to prune, a Python number in [0, 1); the product with N is rounded down in double precision.
      floor: weights that every layer keeps, or all it has.

    Returns:
      Masks, a pytree of booleans like `scores`. Masks of rising sparsity are nested.

    Raises:
      ValueError: sparsity out of range, or the floors alone are more than what is kept.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity: expected a number in [0, 1), got {sparsity}")
    if floor < 0:
        raise ValueError(f"floor: expected at least 0, got {floor}")
    sizes = [leaf.size for leaf in jax.tree.leaves(scores)]
    pruned = math.floor(sparsity * sum(sizes))
    least, kept = sum(min(floor, n) for n in sizes), sum(sizes) - pruned
    if least > kept:
        raise ValueError(f"floor: {floor} weights in each layer are {least}, but sparsity {sparsity} keeps {kept}")
    return prune_smallest(scores, pruned, floor)


def prune_smallest(scores: Any, count: int | jax.Array, floor: int = 0) -> Any:
    """`global_mask` by the number to prune, which may be traced; then nothing checks that the floors fit.

    Args:
      scores: pytree, one leaf a layer.
      count: weights to prune, an integer.
      floor: as in `global_mask`.

    Returns:
      Masks.
    """
    leaves, structure = jax.tree.flatten(scores)
    flat = jnp.concatenate([leaf.reshape(-1) for leaf in leaves])
    if floor:
        safe = [ranks(leaf.reshape(-1)) >= leaf.size - floor for leaf in leaves]
        flat = jnp.where(jnp.concatenate(safe), jnp.inf, flat)
    kept = jnp.split(ranks(flat) >= count, np.cumsum([leaf.size for leaf in leaves])[:-1])
    return structure.unflatten([k.reshape(leaf.shape) for k, leaf in zip(kept, leaves, strict=True)])


def ranks(x: jax.Array) -> jax.Array:
    """Place of each element of x [n] in ascending order, 0 to n - 1; of equal ones the first comes first."""
    order = jnp.argsort(x, stable=True)
    return jnp.zeros_like(order).at[order].set(jnp.arange(x.size, dtype=order.dtype), unique_indices=True)


def layer_mask(scores: Any, densities: float | Sequence | jax.Array) -> Any:
    """Keeps the largest scores of each layer: round(density n_l) of its n_l weights.

    Args:
      scores: pytree, one leaf a layer.
      densities: the share that is kept, one number or an array [l] in the order of leaves; may be traced.

    Returns:
      Masks. Their total is off by up to half a weight a layer.

    Raises:
      ValueError: another number of densities than layers.
    """
    leaves, structure = jax.tree.flatten(scores)
    densities = [densities] * len(leaves) if np.ndim(densities) == 0 else densities
    if len(densities) != len(leaves):
        raise ValueError(f"densities: expected one for each of {len(leaves)} layers, got {len(densities)}")
    kept = [jnp.round(d * leaf.size).astype(jnp.int32) for d, leaf in zip(densities, leaves, strict=True)]
    masks = [
        (ranks(leaf.reshape(-1)) >= leaf.size - k).reshape(leaf.shape) for k, leaf in zip(kept, leaves, strict=True)
    ]
    return structure.unflatten(masks)


def erk_densities(shapes: Sequence[tuple[int, ...]], density: float) -> np.ndarray:
    """Density of each layer by the Erdos-Renyi-kernel rule: more for small layers.

        d_l = min(1, c (n_in + n_out + kh + kw) / (n_in n_out kh kw)),   c such that sum d_l n_l = density N

    Args:
      shapes: of the weights, [n_in, n_out] or [kh, kw, n_in, n_out].
      density: of all layers together, in (0, 1].

    Returns:
      [l] float64.

    Raises:
      ValueError: density out of range.

    Source: Evci et al., "Rigging the Lottery" (arXiv 1911.11134), Sec. 3, after Mocanu et al. (arXiv 1707.04780).
    """
    if not 0 < density <= 1:
        raise ValueError(f"density: expected a number in (0, 1], got {density}")
    sizes = np.array([math.prod(shape) for shape in shapes], float)
    raw = np.array([sum(shape) for shape in shapes]) / sizes
    capped = np.zeros(len(sizes), bool)
    while True:
        budget = density * sizes.sum() - sizes[capped].sum()
        factor = budget / (raw * sizes)[~capped].sum() if not capped.all() else 0.0
        found = np.where(capped, 1.0, factor * raw)
        if (found <= 1 + 1e-12).all():
            return np.minimum(found, 1.0)
        capped |= found > 1


def cubic_sparsity(t: Any, t0: float, t1: float, s: float) -> Any:
    """The schedule of gradual pruning: s (1 - (1 - (t - t0) / (t1 - t0))^3), 0 before t0 and s after t1.

    Args:
      t: time, a number or an array, of NumPy for double precision.
      t0, t1: when pruning begins and ends, t0 < t1.
      s: sparsity at the end.

    Returns:
      Of t's shape.

    Source: Zhu, Gupta, "To prune, or not to prune" (arXiv 1710.01878), eq. 1.
    """
    if not t0 < t1:
        raise ValueError(f"t0, t1: expected t0 < t1, got {t0} and {t1}")
    xp = jnp if isinstance(t, jax.Array) else np
    return s * (1 - (1 - xp.clip((t - t0) / (t1 - t0), 0, 1)) ** 3)


def sparsity_report(masks: Any, positions: Sequence[int]) -> dict[str, jax.Array]:
    """What the masks leave: weights per layer, and the shares of weights and of multiplications that are gone.

    Args:
      masks: pytree, one leaf a layer.
      positions: [l] how often each weight of a layer is used for one example: 1 in a dense layer, h' w' in a
        convolution, t in a recurrent cell.

    Returns:
      {"kept": [l] int32, "sparsity": 1 - sum kept_l / sum n_l, "flops sparsity": the same weighted by `positions`}.

    Raises:
      ValueError: another number of positions than layers.
    """
    leaves = jax.tree.leaves(masks)
    if len(positions) != len(leaves):
        raise ValueError(f"positions: expected one for each of {len(leaves)} layers, got {len(positions)}")
    kept = jnp.stack([leaf.sum() for leaf in leaves])
    sizes = np.array([leaf.size for leaf in leaves], np.float32)
    work = sizes * np.asarray(positions, np.float32)
    share = kept / sizes
    return {
        "kept": kept,
        "sparsity": 1 - kept.sum() / sizes.sum(),
        "flops sparsity": 1 - (share * work).sum() / work.sum(),
    }
