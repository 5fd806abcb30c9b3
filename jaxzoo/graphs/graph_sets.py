"""Sets of graphs, padded to one size; and how large the usual ones are."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxzoo.graphs.simplices import Simplices, blank_complex, lift, stack_simplices

MAX_DEGREE = 255


class PaddedGraphs(NamedTuple):
    """Graphs of one size.

    Attributes:
      kind: [g, n] int32, what each node is, 0 to kinds - 1; kinds, for padding.
      complex: `Simplices` of orders 1 to P, with a leading axis of graphs.
      y: [g] int32 classes.
    """

    kind: np.ndarray
    complex: tuple[Simplices, ...]
    y: np.ndarray


def padded_graphs(graphs, orders):
    """Lifts the graphs of a set and pads them all to the size of the largest.

    A node's kind is its label. Where there are no labels it is the degree, and where degrees go beyond `MAX_DEGREE` all
    nodes are of one kind.

    Args:
      graphs: `jaxzoo.data.GraphSet`, or anything with its y, graph, edges and labels.
      orders: P.

    Returns:
      `(PaddedGraphs, kinds)`, the latter their number.
    """
    count = np.bincount(graphs.graph, minlength=len(graphs.y))
    begin = np.cumsum(count) - count
    n = count.max()
    kind = graphs.labels
    if kind is None:
        kind = np.bincount(graphs.edges.ravel(), minlength=len(graphs.graph))
        kind = kind if kind.max() <= MAX_DEGREE else np.zeros_like(kind)
    kinds = int(kind.max()) + 1
    place = np.arange(len(graphs.graph)) - begin[graphs.graph]
    padded = np.full((len(graphs.y), n), kinds, np.int32)
    padded[graphs.graph, place] = kind
    of_edge = graphs.graph[graphs.edges[:, 0]]  # ascending, as nodes and edges are
    edges = np.split(place[graphs.edges], np.searchsorted(of_edge, np.arange(1, len(graphs.y))))
    complex = stack_simplices({"all": [lift(pairs, n, orders) for pairs in edges]}, multiple=1)["all"]
    return PaddedGraphs(padded, complex, graphs.y), kinds


class SetSize(NamedTuple):
    """What is known of a set before its files are read: the most of any of its graphs, and how many there are."""

    graphs: int
    nodes: int
    kinds: int
    classes: int
    edges: int
    triangles: int


GRAPH_SETS = {
    "MUTAG": SetSize(188, 28, 7, 2, 33, 1),
    "PTC_MR": SetSize(344, 64, 18, 2, 71, 2),
    "PROTEINS": SetSize(1113, 620, 3, 2, 1049, 500),
    "NCI1": SetSize(4110, 111, 37, 2, 119, 5),
    "NCI109": SetSize(4127, 111, 38, 2, 119, 5),
    "IMDB-BINARY": SetSize(1000, 136, 136, 2, 1249, 7000),
    "IMDB-MULTI": SetSize(1500, 89, 89, 3, 1467, 26_000),
    "REDDIT-BINARY": SetSize(2000, 3782, 1, 2, 4071, 200),
}
"""Of TUDataset's sets, with kinds as in `padded_graphs`; triangles are guesses."""


def blank_graph_set(size):
    """`PaddedGraphs` of that size, of zeros: for what is traced and not run."""
    complex = blank_complex((size.graphs, size.nodes), (size.edges, size.triangles))
    return PaddedGraphs(jnp.zeros((size.graphs, size.nodes), jnp.int32), complex, jnp.zeros(size.graphs, jnp.int32))
