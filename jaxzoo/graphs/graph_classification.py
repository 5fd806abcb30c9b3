"""Learning the classes of graphs: the folds of a cross-validation, and the task."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo.train import on_data, supervised


def stratified_folds(keys, y, folds):
    """Repeated cross-validations whose folds have nearly equal shares of each class; on the host.

    Args:
      keys: [s, k] integers; those of the first seed of each cross-validation make its order.
      y: [g] classes.
      folds: how many, at least 2: seeds 0 to folds - 1 are the first cross-validation, the next as many the second.

    Returns:
      {"train": [s, r] int32, "test": [s, q] int32, "counts": [s, q] booleans}: each seed's graphs to learn from and for
      the test. Where a part is smaller than others its first graphs stand again at its end; in the test they don't
      count.
    """
    found = {"train": [], "test": [], "counts": []}
    for s in range(len(keys)):
        order = np.random.default_rng(np.asarray(keys[s - s % folds])).permutation(len(y))
        order = order[np.argsort(y[order], kind="stable")]
        is_test = np.arange(len(y)) % folds == s % folds
        fewest, most = len(y) // folds, -(-len(y) // folds)
        found["train"].append(np.resize(order[~is_test], len(y) - fewest))
        found["test"].append(np.resize(order[is_test], most))
        found["counts"].append(np.arange(most) < is_test.sum())
    return {name: np.stack(parts).astype(bool if name == "counts" else np.int32) for name, parts in found.items()}


def blank_fold(graphs, folds):
    """A fold of the shapes that `stratified_folds` gives a seed: for what is traced and not run."""
    train, test = graphs - graphs // folds, -(-graphs // folds)
    return {"train": jnp.zeros(train, jnp.int32), "test": jnp.zeros(test, jnp.int32), "counts": jnp.zeros(test, bool)}


def graph_task(model, optimizer, *, kinds, batch, graphs=None):
    """Learns the classes of graphs on minibatches, drawn uniformly with replacement.

    Args:
      model: of the example `(x [n, kinds], complex, node_mask [n])`, to logits.
      optimizer: any optax transformation.
      kinds: of nodes; x has a one at the kind of each.
      batch: graphs in a minibatch.
      graphs: `PaddedGraphs` that all seeds share; by default the second part of the input.

    Returns:
      A task. Its input is the fold of a seed, one of `stratified_folds`; unless `graphs` is given it is
      `(fold, PaddedGraphs)`. It evaluates the accuracy on the fold's test part.
    """

    def make(fold, graphs):
        def examples(chosen):
            kind, complex, y = jax.tree.map(lambda a: a[chosen], graphs)
            return (jax.nn.one_hot(kind, kinds), complex, kind < kinds), y

        def sample(key):
            return examples(fold["train"][jax.random.randint(key, (batch,), 0, len(fold["train"]))])

        def evaluate(params):
            def is_right(chosen):
                x, y = examples(chosen)
                return model.apply(params, x).argmax() == y

            right = jax.lax.map(is_right, fold["test"], batch_size=batch)
            return {"accuracy": right.mean(where=fold["counts"])}

        loss = optax.losses.softmax_cross_entropy_with_integer_labels
        return supervised(model, loss, sample, optimizer, evaluate=evaluate, stochastic=True)

    if graphs is None:
        return on_data(lambda data: make(*data))
    shared = jax.tree.map(jnp.asarray, graphs)
    return on_data(lambda fold: make(fold, shared))


def at_best_epoch(curves, folds):
    """The accuracies of repeated cross-validations, each at the epoch at which the mean over its folds is highest.

    Args:
      curves: [s, epochs]; each `folds` seeds are one cross-validation, the last perhaps of fewer.
      folds: how many.

    Returns:
      [s].

    Source: Xu et al., "How powerful are graph neural networks?" (arXiv 1810.00826), Sec. 7: the epoch is chosen on the
    very folds that are reported, as usual with these sets.
    """
    curves = np.asarray(curves)
    groups = np.split(curves, range(folds, len(curves), folds))
    return np.concatenate([group[:, group.mean(0).argmax()] for group in groups])
