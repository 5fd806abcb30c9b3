"""The 1-dimensional Weisfeiler-Leman test, which bounds what message passing without node ids can tell apart."""

import collections
import hashlib
from collections.abc import Sequence

import numpy as np


def wl_test(a):
    """What the test sees of a graph: its nodes' colours after as many rounds as there are nodes.

    Args:
      a: [n, n] adjacency matrix.

    Returns:
      A tuple of n colours, sorted. Two graphs that the test can't tell apart have equal ones.
    """
    neighbours = [np.flatnonzero(row) for row in np.asarray(a)]
    colours = [b""] * len(neighbours)
    for _ in neighbours:
        # A colour is the digest of a node's own and its neighbours' sorted ones: it means the same in any graph.
        seen = [colours[i] + b"".join(sorted(colours[j] for j in near)) for i, near in enumerate(neighbours)]
        colours = [hashlib.blake2b(each, digest_size=16).digest() for each in seen]
    return tuple(sorted(colours))


def wl_pairs(graphs: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """The pairs of graphs that the test can't tell apart, by index; graphs are taken to be pairwise non-isomorphic."""
    alike = collections.defaultdict(list)
    for i, a in enumerate(graphs):
        alike[wl_test(a)].append(i)
    return [(i, j) for same in alike.values() for n, i in enumerate(same) for j in same[n + 1 :]]
