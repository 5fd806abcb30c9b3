"""A random graph whose triangles tell the classes of its nodes and whose other edges mislead."""

import jax
import numpy as np

from jaxzoo.graphs.node_splits import random_masks


def planted_triads(
    key, *, nodes, triangles, edges, classes=4, features=32, strength=0.7, pure=0.95, inside=0.2, train=0.2
):
    """Draws a graph with triadic homophily: classes agree within planted triangles, and mostly not along planted edges.

    The features of a node of class c are strength 2 mu_c / sqrt(features) + N(0, 1), with mu_c ~ N(0, 1): too noisy to
    tell the class by themselves. With the same key, graphs of other numbers of triangles and edges have the same nodes.

    Args:
      key: of the graph.
      nodes: n, of classes of equal size.
      triangles: planted ones; three distinct nodes of one class with chance `pure`, else any three.
      edges: planted pairs; of one class with chance `inside`, else of two. Doubles coincide, with triangles' sides too.
      classes: number of classes.
      features: f, width of x.
      strength: of the classes' signal in x.
      pure, inside: chances.
      train: share of nodes to learn from; as many validate, the rest are for the test.

    Returns:
      {"x": [n, f] float32, "y": [n] int32, "edges": [e, 2] int32 distinct, "train", "validation", "test": [n] masks}.

    Raises:
      ValueError: fewer than three nodes in a class, or fewer than two classes.
    """
    if classes < 2 or nodes < 3 * classes:
        raise ValueError(f"nodes, classes: expected two classes or more of 3 nodes each, got {nodes} and {classes}")
    of_nodes, of_triangles, of_edges = (
        np.random.default_rng(np.asarray(jax.random.bits(key, (4,)))) for key in jax.random.split(key, 3)
    )
    y = of_nodes.permutation(np.arange(nodes) % classes)
    centres = of_nodes.standard_normal((classes, features)) * strength * 2 / np.sqrt(features)
    x = centres[y] + of_nodes.standard_normal((nodes, features))
    members = [np.flatnonzero(y == c) for c in range(classes)]
    everybody = np.arange(nodes)

    def triangle():
        pool = members[of_triangles.integers(classes)] if of_triangles.random() < pure else everybody
        return of_triangles.choice(pool, 3, replace=False)

    def pair():
        if of_edges.random() < inside:
            return of_edges.choice(members[of_edges.integers(classes)], 2, replace=False)
        return [of_edges.choice(members[c]) for c in of_edges.choice(classes, 2, replace=False)]

    corners = np.array([triangle() for _ in range(triangles)], int).reshape(-1, 3)
    sides = corners[:, [[0, 1], [1, 2], [0, 2]]].reshape(-1, 2)
    pairs = np.array([pair() for _ in range(edges)], int).reshape(-1, 2)
    every = np.unique(np.sort(np.concatenate([sides, pairs]), axis=1), axis=0)
    masks = random_masks(of_nodes, nodes, train, train)
    return {"x": x.astype(np.float32), "y": y.astype(np.int32), "edges": every.astype(np.int32)} | masks
