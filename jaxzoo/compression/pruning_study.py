"""Every way to prune one trained network: the masks, the training after them, and what is measured."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.compression.global_magnitude_pruning import minimum_threshold, mt_rescale, study
from jaxzoo.compression.masks import erk_densities, global_mask, layer_mask, sparsity_report
from jaxzoo.compression.prunable_nets import Net
from jaxzoo.compression.scores import grasp, magnitude, snip, taylor
from jaxzoo.compression.sparse_training import apply_masks, sparse_task
from jaxzoo.train import Task


class Problem(NamedTuple):
    """A network, its data, and how it is trained.

    Attributes:
      net: the network.
      sampler: `sampler(key) -> (x [b, ...], y [b])`, as the network takes them.
      tests: name -> (x, y): "accuracy" to test on, and others.
      scaled: applied to the x of tests.
      loss: `loss(logits [b, c], y [b]) -> scalar`.
      optimizer: `optimizer(steps)`, an optax transformation.
      dense: updates before pruning.
      tune: updates after it.
    """

    net: Net
    sampler: Callable
    tests: dict[str, Any]
    scaled: Callable
    loss: Callable
    optimizer: Callable
    dense: int
    tune: int


def training(problem: Problem, steps: int, **moves: Callable) -> Task:
    """Sparse training for so many updates; `moves` are options of `sparse_task`.

    It evaluates the accuracy of each test and what the masks left: "flops", the share of multiplications that is gone;
    "kept" and "fewest", weights in all and in the poorest layer; "revived", the largest weight that should be 0.
    """

    def evaluate(state):
        report = sparsity_report(state.masks, problem.net.positions)
        lost = jax.tree.map(lambda w, m: jnp.where(m, 0, jnp.abs(w)).max(), state.params["weights"], state.masks)
        return accuracies(problem, state.params, state.stats) | {
            "flops": report["flops sparsity"],
            "kept": report["kept"].sum(),
            "fewest": report["kept"].min(),
            "revived": jnp.stack(jax.tree.leaves(lost)).max(),
        }

    optimizer = problem.optimizer(steps)
    return sparse_task(problem.net, problem.loss, problem.sampler, optimizer, evaluate=evaluate, **moves)


def accuracies(problem: Problem, params: Any, stats: Any, *, size: int = 400) -> dict[str, jax.Array]:
    """Share of right predictions on each test, `size` examples at a time."""

    def predict(x):
        return problem.net.apply(params, stats, problem.scaled(x)[None])[0][0].argmax()

    return {
        name: (jax.lax.map(predict, jnp.asarray(x), batch_size=min(size, len(x))) == y).mean()
        for name, (x, y) in problem.tests.items()
    }


def _erk(s, scores):
    return erk_densities([leaf.shape for leaf in jax.tree.leaves(scores["random"])], 1 - s)


RULES = {
    "global": lambda s, scores: global_mask(scores["magnitude"], s),
    "mt": lambda s, scores: global_mask(scores["magnitude"], s, minimum_threshold(scores["magnitude"])),
    "uniform": lambda s, scores: layer_mask(scores["magnitude"], 1 - s),
    "erk": lambda s, scores: layer_mask(scores["magnitude"], _erk(s, scores)),
    "random": lambda s, scores: global_mask(scores["random"], s),
    "snip": lambda s, scores: global_mask(scores["snip"], s),
    "taylor": lambda s, scores: global_mask(scores["taylor"], s),
    "grasp": lambda s, scores: global_mask(scores["grasp"], s),
    "rigl": lambda s, scores: layer_mask(scores["random"], _erk(s, scores)),
}
"""Masks of a method by sparsity and scores; those of RigL are the ones it begins with."""


def find_scores(problem: Problem, methods: tuple[str, ...], batches: Any, key: jax.Array, params: Any, stats: Any):
    """Name -> scores of the weights: magnitude, random ones in [0, 1), and those by gradients that `methods` use."""

    def loss(weights, batch):
        logits, _ = problem.net.apply(params | {"weights": weights}, stats, batch[0], train=True)
        return problem.loss(logits, batch[1])

    weights = params["weights"]
    leaves, structure = jax.tree.flatten(weights)
    keys = jax.random.split(key, len(leaves))
    random = structure.unflatten([jax.random.uniform(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)])
    by_gradients = {"snip": snip, "taylor": taylor, "grasp": grasp}
    scores = {"magnitude": magnitude(weights), "random": random}
    return scores | {name: f(loss, weights, batches) for name, f in by_gradients.items() if name in methods}


def find_masks(problem, methods, sparsities, scored, key, params, stats):
    """Masks of the methods, leaves [k, ...], and what can be said before any training.

    Args:
      problem: a `Problem`.
      methods: names in `RULES`; others are passed over.
      sparsities: k Python numbers.
      scored: batches that scores by gradients are averaged over.
      key: of the batches and of random scores.
      params, stats: of the trained network.

    Returns:
      `(masks, found)`: name -> masks, and "<name> untuned" [k], the accuracy with masks alone, batch statistics taken
      anew; "mt agreement" [k], the share of weights that the two forms of the minimum threshold both keep.
    """
    key_batches, key_random = jax.random.split(key)
    batches = jax.vmap(problem.sampler)(jax.random.split(key_batches, scored))
    scores = find_scores(problem, methods, batches, key_random, params, stats)
    masks = study({name: RULES[name] for name in methods if name in RULES}, sparsities, scores)
    x = batches[0].reshape(-1, *batches[0].shape[2:])

    def untuned(masks):
        sparse = apply_masks(params, masks)
        _, fresh = problem.net.apply(sparse, stats, x, train=True, momentum=1.0)
        return accuracies(problem, sparse, fresh)["accuracy"]

    found = {f"{name} untuned": jax.lax.map(untuned, mask) for name, mask in masks.items() if name != "rigl"}
    if "mt" in masks:
        m = minimum_threshold(params["weights"])
        rescaled = study({"": lambda s: mt_rescale(params["weights"], s, m)}, sparsities)[""]
        both = jax.tree.map(lambda a, b: a & b, masks["mt"], rescaled)
        found["mt agreement"] = layer_counts(both).sum(1) / layer_counts(masks["mt"]).sum(1)
    return masks, found


def layer_counts(masks: Any) -> jax.Array:
    """Weights that masks with one leading axis keep in each layer: leaves [k, ...] -> [k, l]."""
    return jnp.stack([leaf.reshape(len(leaf), -1).sum(1) for leaf in jax.tree.leaves(masks)], 1)
