"""Global magnitude pruning: one threshold on |w| over all layers, and nothing else.

At sparsity s exactly floor(s N) of the N weights W go, those with the smallest |w| wherever they are:

    M = [|w| > threshold],   W <- M * W                                                                   (one-shot)

and training goes on with the mask fixed. Gradual pruning raises s by a cubic while it trains. The number that a layer
keeps is whatever the threshold leaves, which can be none: the layer collapses and the network with it. The minimum
threshold cures that: each layer first keeps its m largest weights, and the rest of the budget N - floor(s N) goes to
the largest of all others.

Only weights of convolutions, dense and recurrent layers are pruned, the first and the last included, never biases and
norms. `sparse_training` trains what is left.

Source: Gupta, Camci, Keneta, Vaidyanathan, Kanodia, Foo, Wu, Lin, "Is Complexity Required for Neural Network Pruning? A
Case Study on Global Magnitude Pruning" (arXiv 2209.14624).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.compression.fastgrnn import fastgrnn
from jaxzoo.compression.masked_optimizer import masked_optimizer
from jaxzoo.compression.masks import (
    cubic_sparsity,
    erk_densities,
    global_mask,
    layer_mask,
    prune_smallest,
    sparsity_report,
)
from jaxzoo.compression.rigl import rigl_update
from jaxzoo.compression.scores import grasp, magnitude, snip, taylor

__all__ = [
    "cubic_sparsity",
    "erk_densities",
    "fastgrnn",
    "global_mask",
    "global_pruning",
    "gradual_counts",
    "grasp",
    "layer_mask",
    "magnitude",
    "masked_optimizer",
    "minimum_threshold",
    "mt_rescale",
    "prune_smallest",
    "rigl_update",
    "snip",
    "sparsity_report",
    "study",
    "taylor",
]


def global_pruning(params, sparsity, m=0):
    """The masks of global magnitude pruning.

    NOTE(paper): exactly floor(s N) weights go; the official code keeps the one at the threshold, so that one less goes.

    Args:
      params: weights, a pytree with one leaf a layer.
      sparsity: s in [0, 1), a Python number.
      m: weights that every layer keeps; 0 for the vanilla form.

    Returns:
      Masks, like `params`.

    Raises:
      ValueError: as `global_mask`.
    """
    return global_mask(magnitude(params), sparsity, m)


def minimum_threshold(params, share=5e-4, least=40):
    """m: a share of all weights, 0.05 % in the official code, but not less than `least`, which is ours for small nets.

    Args:
      params: weights, a pytree with one leaf a layer.
      share: of their number.
      least: the smallest m.

    Returns:
      An int.
    """
    return max(least, math.ceil(share * sum(leaf.size for leaf in jax.tree.leaves(params))))


def mt_rescale(params, sparsity, m):
    """The minimum threshold as the official code has it: by rescaling the sparsities that vanilla pruning gives.

    Layers with n_l < m are not pruned. Those left with fewer than m get sparsity 1 - m / n_l. All other sparsities are
    multiplied by one factor so that the total is s again, and so on until no more layer falls below m.

    NOTE(paper): the factor is the one that reaches the total at once, (s N - fixed) / (others); the official code
    multiplies by target / total again and again, to the same end.

    Args:
      params: weights, a pytree with one leaf a layer.
      sparsity: s in [0, 1), a Python number.
      m: weights that every layer keeps, or all it has.

    Returns:
      Masks, like `params`, with the largest of each layer; their total is off by up to half a weight a layer.

    Raises:
      ValueError: as `global_mask` with this floor.
    """
    global_mask(params, sparsity, m)  # for its checks
    vanilla = jax.tree.leaves(global_pruning(params, sparsity))
    n = np.array([leaf.size for leaf in vanilla], np.float32)
    most = np.where(n < m, 0, 1 - m / n)  # sparsity that leaves m weights

    def again(_, s_and_fixed):
        s, fixed = s_and_fixed
        fixed |= s > most
        s = jnp.where(fixed, most, s)
        others = jnp.where(fixed, 0, s * n).sum()
        factor = (sparsity * n.sum() - jnp.where(fixed, s * n, 0).sum()) / jnp.maximum(others, 1e-30)
        return jnp.where(fixed, s, s * factor), fixed

    begin = jnp.stack([1 - leaf.mean() for leaf in vanilla]), jnp.asarray(n < m)
    # Every round but the last fixes one more layer.
    densities = 1 - jax.lax.fori_loop(0, len(n) + 1, again, begin)[0]
    return layer_mask(magnitude(params), densities)


def gradual_counts(params, sparsity, steps, every):
    """How many weights are pruned at each pruning of the gradual schedule, in exact integers.

    Args:
      params: weights, a pytree with one leaf a layer.
      sparsity: s at the end.
      steps: update at which the schedule ends; it begins at 0.
      every: updates between two prunings; divides `steps`.

    Returns:
      [steps / every + 1] int32, floor(s_t N).

    Raises:
      ValueError: `every` does not divide `steps`.
    """
    if steps % every:
        raise ValueError(f"every: expected a divisor of steps = {steps}, got {every}")
    n = sum(leaf.size for leaf in jax.tree.leaves(params))
    at = np.arange(0, steps + 1, every)
    return jnp.asarray(np.floor(cubic_sparsity(at, 0, steps, sparsity) * n), jnp.int32)


def study(methods, sparsities, *seed):
    """The masks of all methods at all sparsities, for one seed; `jax.vmap` over the seeds at the call.

    Since a mask is data, what is trained afterwards is one program for all of them.

    Args:
      methods: name -> `method(sparsity, *seed) -> masks`.
      sparsities: k Python numbers.
      *seed: what the methods need: weights, keys, batches.

    Returns:
      Name -> masks with a leading axis [k].
    """

    def masks(method):
        return jax.tree.map(lambda *each: jnp.stack(each), *[method(s, *seed) for s in sparsities])

    return {name: masks(method) for name, method in methods.items()}
