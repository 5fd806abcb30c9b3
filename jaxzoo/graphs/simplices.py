"""The cliques of a graph as simplices, and averaging over them; on the host, but for the averaging."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.ops.segments import segment_sum


class Simplices(NamedTuple):
    """The simplices of one order p, or any sets of p + 1 nodes, such as the edges of a uniform hypergraph.

    Attributes:
      members: [m, p + 1] int32, the nodes of each simplex; rows of n are padding and count for nothing.
      degree: [n] float32, the number of simplices at each node.
    """

    members: np.ndarray
    degree: np.ndarray


def enumerate_cliques(edges, nodes, max_order, *, limit=50_000_000):
    """All cliques of 2 to max_order + 1 nodes: the simplices of the clique complex.

    A clique grows by the later neighbours of its last node, in the order of rising degree, so that hubs have few of
    them: at most e sqrt(2 e) candidates for triangles. Higher orders can explode in a dense graph.

    Args:
      edges: [e, 2] integers, each undirected edge once or more, in any direction; loops are left out.
      nodes: n.
      max_order: the highest p, at least 1.
      limit: the most candidates of one order.

    Returns:
      {p: [n_p, p + 1] int32}, members ascending, rows in lexicographic order.

    Raises:
      ValueError: an argument is malformed, or `limit` is exceeded; known before the memory is taken.
    """
    edges = _checked_edges(edges, nodes)
    if max_order < 1:
        raise ValueError(f"max_order: expected at least 1, got {max_order}")
    by_degree = np.argsort(np.bincount(edges.ravel(), minlength=nodes), kind="stable")
    forward = _sorted_rows(np.argsort(by_degree)[edges])
    begin = np.searchsorted(forward[:, 0], np.arange(nodes + 1))
    codes = forward @ np.array([nodes, 1])  # ascending, one for each edge
    cliques = {1: forward}
    for p in range(2, max_order + 1):
        base = cliques[p - 1]
        count = np.diff(begin)[base[:, -1]]
        if count.sum() > limit:
            raise ValueError(f"limit: {count.sum()} candidates of order {p}, at most {limit} are allowed")
        row = np.repeat(np.arange(len(base)), count)
        place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        added = forward[begin[base[row, -1]] + place, 1]
        for i in range(p - 1):
            adjacent = _contains(codes, base[row, i] * nodes + added)
            row, added = row[adjacent], added[adjacent]
        cliques[p] = np.column_stack([base[row], added])
    return {p: _sorted_rows(by_degree[rows]).astype(np.int32) for p, rows in cliques.items()}


def _checked_edges(edges, nodes):
    """[e, 2] int64, each edge once, without loops."""
    edges = np.asarray(edges)
    if edges.ndim != 2 or edges.shape[1] != 2 or not np.issubdtype(edges.dtype, np.integer):
        raise ValueError(f"edges: expected [e, 2] integers, got {edges.shape} of {edges.dtype}")
    if edges.size and not (edges.min() >= 0 and edges.max() < nodes):
        raise ValueError(f"edges: expected nodes in [0, {nodes}), got {edges.min()} to {edges.max()}")
    edges = edges[edges[:, 0] != edges[:, 1]].astype(np.int64)
    return np.unique(np.sort(edges, axis=1), axis=0)


def _sorted_rows(rows):
    rows = np.sort(rows, axis=1)
    return rows[np.lexsort(rows.T[::-1])]


def _contains(ascending, values):
    if not len(values):
        return np.zeros(0, bool)
    return ascending[np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)] == values


def lift(edges, nodes, max_order):
    """The clique complex of a graph.

    Args:
      edges, nodes, max_order: as in `enumerate_cliques`.

    Returns:
      A tuple of `Simplices`, of orders 1 to max_order.
    """
    cliques = enumerate_cliques(edges, nodes, max_order)
    degrees = (np.bincount(members.ravel(), minlength=nodes) for members in cliques.values())
    return tuple(
        Simplices(members, degree.astype(np.float32)) for members, degree in zip(cliques.values(), degrees, strict=True)
    )


def pad_simplices(complexes, *, multiple=128):
    """Brings graphs of equally many nodes to common sizes, so that one compiled program serves them all.

    Args:
      complexes: of several graphs, each a tuple of `Simplices` as from `lift`.
      multiple: sizes are rounded up to a multiple of it.

    Returns:
      The list of complexes, members padded with rows of n.

    Raises:
      ValueError: the graphs differ in nodes or orders.
    """
    shapes = {tuple((s.degree.shape, s.members.shape[1]) for s in complex) for complex in complexes}
    if len(shapes) != 1:
        raise ValueError(f"complexes: expected the same nodes and orders, got {sorted(shapes)}")
    most = [max(1, *(len(s.members) for s in orders)) for orders in zip(*complexes, strict=True)]

    def padded(simplices, m):
        room = -(-m // multiple) * multiple - len(simplices.members)
        filler = np.full((room, simplices.members.shape[1]), len(simplices.degree), np.int32)
        return simplices._replace(members=np.concatenate([simplices.members, filler]))

    return [tuple(map(padded, complex, most)) for complex in complexes]


def stack_simplices(groups, **options):
    """Graphs of several groups, all brought to common sizes, with an axis over the graphs of each group.

    Args:
      groups: group -> its graphs' complexes.
      **options: of `pad_simplices`.

    Returns:
      Group -> a tuple of `Simplices` with a leading axis.
    """
    padded = iter(pad_simplices([complex for group in groups.values() for complex in group], **options))
    return {
        name: jax.tree.map(lambda *leaves: np.stack(leaves), *(next(padded) for _ in group))
        for name, group in groups.items()
    }


def blank_complex(shape, counts):
    """`Simplices` of orders 1 to P, of zeros: for what is traced and not run.

    Args:
      shape: (..., n), of each order's degrees.
      counts: P numbers of simplices.
    """
    return tuple(
        Simplices(jnp.zeros((*shape[:-1], count, p + 1), jnp.int32), jnp.zeros(shape))
        for p, count in enumerate(counts, 1)
    )


def simplicial_walk(x, members, degree):
    """The two-step walk node -> simplex -> node: S x = D^-1/2 H H^T D^-1/2 x / (p + 1), H the incidence [n, m].

    Each simplex takes the mean of its members and gives it back to them. With any sets of p + 1 nodes in the place of
    cliques it is the convolution on a uniform hypergraph.

    Args:
      x: [n, d] node features.
      members: [m, p + 1] integers; rows of n are padding.
      degree: [n] number of simplices at each node; the output is 0 where it is 0.

    Returns:
      [n, d] of x's dtype; sums are taken in float32 or better.

    Raises:
      ValueError: shapes that don't fit.

    Source: Huang et al., "Higher-order graph convolutional network with flower-petals Laplacians on simplicial
    complexes" (arXiv 2309.12971), the complement of its FP Laplacian, I - L_p.
    """
    if x.ndim != 2 or members.ndim != 2:
        raise ValueError(f"x, members: expected [n, d] and [m, p + 1], got {x.shape} and {members.shape}")
    if degree.shape != x.shape[:1]:
        raise ValueError(f"degree: expected [{x.shape[0]}], got {degree.shape}")
    nodes, size = x.shape[0], members.shape[1]
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    degree = jnp.asarray(degree, wide.dtype)[:, None]
    scale = jnp.where(degree > 0, jax.lax.rsqrt(jnp.maximum(degree, 1)), 0)
    scaled = wide * scale
    # Member by member: no [m, p + 1, d] in memory, and on CPU three times as fast.
    of_simplex = sum(scaled.at[members[:, i]].get(mode="fill", fill_value=0) for i in range(size)) / size  # [m, d]
    of_node = sum(segment_sum(of_simplex, members[:, i], nodes) for i in range(size))
    return (of_node * scale).astype(x.dtype)
