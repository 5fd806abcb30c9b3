"""Random parts of a graph's nodes, to learn from, to validate and to test on; on the host."""

import numpy as np


def random_masks(rng, nodes, train, validation):
    """Splits nodes at random.

    Args:
      rng: a NumPy generator.
      nodes: n.
      train, validation: shares; the rest are for the test.

    Returns:
      {"train", "validation", "test": [n] booleans}, each node in one.
    """
    return _masks(rng.permutation(nodes), round(train * nodes), round((train + validation) * nodes))


def balanced_masks(rng, y, train, validation):
    """Splits nodes at random with as many of each class to learn from: all of a class that has fewer.

    With c classes that number is train n / c, so that where classes differ in size fewer are learnt from than `train`
    says, and the classes of the test are other shares than those of the graph.

    Args:
      rng: a NumPy generator.
      y: [n] classes, 0 to c - 1.
      train, validation: shares; the rest are for the test.

    Returns:
      {"train", "validation", "test": [n] booleans}, each node in one.

    Source: Chien et al., "Adaptive universal generalized PageRank graph neural network" (arXiv 2006.07988), whose
    splits later papers use.
    """
    nodes, classes = len(y), y.max() + 1
    of_class = round(train * nodes / classes)
    order = rng.permutation(nodes)
    place = np.empty(nodes, int)  # of each node among those of its class
    for c in range(classes):
        members = order[y[order] == c]
        place[members] = np.arange(len(members))
    chosen = place < of_class
    # Drawn anew: in the first order the nodes that are left over of a class stand late.
    order = np.concatenate([np.flatnonzero(chosen), rng.permutation(np.flatnonzero(~chosen))])
    first = np.count_nonzero(chosen)
    return _masks(np.argsort(order), first, first + round(validation * nodes))


def _masks(place, first, second):
    return {"train": place < first, "validation": (place >= first) & (place < second), "test": place >= second}


def blank_masks(nodes):
    """Masks [n] of no node: for what is traced and not run."""
    return {part: np.zeros(nodes, bool) for part in ("train", "validation", "test")}
