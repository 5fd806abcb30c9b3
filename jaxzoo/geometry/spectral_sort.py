"""The frame of a graph under relabelling: all orders of its nodes that sort what its Laplacian's spectrum says of them.

On the host, in float64: whether two nodes tie is a discrete question, and graphs have frames of different sizes.

Source: Puny et al., "Frame Averaging for Invariant and Equivariant Network Design" (arXiv 2110.03336).
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np


def spectral_features(a, *, tol=1e-6, decimals=4):
    """What the spectrum of L = Deg - A says of each node, whatever the labelling: S, a column per distinct eigenvalue.

    The column of an eigenspace has the norms of its basis' rows, the root of its projector's diagonal; for a simple
    eigenvalue that is |v|.

    Args:
      a: [n, n] symmetric adjacency matrix with zero diagonal.
      tol: eigenvalues closer than this are equal.
      decimals: to which S is rounded. NOTE(paper): the official code rounds to 2, which only enlarges the frame.

    Returns:
      S [n, number of distinct eigenvalues], float64.

    Raises:
      ValueError: a is not square, or not symmetric.
    """
    a = np.asarray(a, np.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or not len(a):
        raise ValueError(f"a: expected [n, n] with n at least 1, got {a.shape}")
    if (a != a.T).any() or np.diag(a).any():
        raise ValueError("a: expected a symmetric matrix with zero diagonal, of an undirected graph without loops")
    eigenvalues, v = np.linalg.eigh(np.diag(a.sum(1)) - a)
    spaces = np.split(v, np.flatnonzero(np.diff(eigenvalues) > tol) + 1, axis=1)
    return np.stack([np.linalg.norm(basis, axis=1) for basis in spaces], axis=1).round(decimals)


def spectral_sort_frame(a, *, tol=1e-6, decimals=4):
    """One order that sorts the rows of S lexicographically, first column first, and its ties.

    Args:
      a, tol, decimals: as in `spectral_features`.

    Returns:
      `(order [n], blocks)`: node ids in sorted order, and the same as a tuple of arrays, one for each run of ties.
      The frame is the product of the blocks' permutations (`frame_permutations`).

    Raises:
      ValueError: as `spectral_features`.
    """
    s = spectral_features(a, tol=tol, decimals=decimals)
    order = np.lexsort(s.T[::-1])
    differs = (np.diff(s[order], axis=0) != 0).any(1)
    return order, tuple(np.split(order, np.flatnonzero(differs) + 1))


def frame_size(blocks: Sequence[np.ndarray]) -> int:
    """Number of orders in the frame: the product of the factorials of the blocks' sizes."""
    return math.prod(math.factorial(len(block)) for block in blocks)


def frame_permutations(blocks: Sequence[np.ndarray], *, key=None, k=1):
    """The orders of a frame: all of them, or random ones.

    Args:
      blocks: as from `spectral_sort_frame`.
      key: a PRNG key to draw k orders uniformly with; None for all.
      k: how many are drawn.

    Returns:
      [m, n] node ids, m = k or `frame_size(blocks)`.
    """
    if key is None:
        each = [itertools.permutations(block.tolist()) for block in blocks]
        return np.array([list(itertools.chain(*parts)) for parts in itertools.product(*each)])
    of_block = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    drawn = np.asarray(jax.random.uniform(key, (k, len(of_block))), np.float64)
    return np.concatenate(blocks)[np.argsort(of_block[None] + drawn, axis=1)]


class Members(NamedTuple):
    """Reordered graphs, those of one graph after the other.

    Attributes:
      matrices: [m, n, n] uint8 adjacency matrices, padded to n nodes, with ones on the diagonal where there is a node.
      graph: [m] int32 the graph that each belongs to.
      start, count: [g] int32 where those of a graph begin, and how many they are.
    """

    matrices: np.ndarray
    graph: np.ndarray
    start: np.ndarray
    count: np.ndarray


def pad(a, n):
    """A graph as the networks see it: [.., k, k] adjacency padded to [.., n, n], nodes marked by ones on the diagonal.

    NOTE(paper): without the marks an empty graph of three nodes and one of four would be the same input.
    """
    missing = n - a.shape[-1]
    marked = np.asarray(a, np.uint8) | np.eye(a.shape[-1], dtype=np.uint8)
    return np.pad(marked, [(0, 0)] * (a.ndim - 2) + [(0, missing)] * 2)


def frame_members(graphs: Sequence[np.ndarray], n: int, *, limit=5040, key=None) -> Members:
    """The distinct matrices that the frames of graphs make of them.

    Each distinct matrix comes from as many orders of the frame as the graph has automorphisms, so the mean over the
    distinct ones is the mean over the frame, at a fraction of the cost: for the circle of 7 nodes 360 instead of 5040.

    Args:
      graphs: adjacency matrices [k, k], k <= n.
      n: nodes to pad to.
      limit: of a frame with more orders than this, that many random ones are taken (with repetitions).
      key: for those; needed only if a frame exceeds the limit.

    Returns:
      `Members`.

    Raises:
      ValueError: a frame exceeds the limit and there is no key.
    """
    found = []
    for i, a in enumerate(graphs):
        _, blocks = spectral_sort_frame(a)
        whole = frame_size(blocks) <= limit
        if not whole and key is None:
            raise ValueError(
                f"key: expected one, since the frame of graph {i} has {frame_size(blocks)} > {limit} orders"
            )
        orders = frame_permutations(blocks, key=None if whole else jax.random.fold_in(key, i), k=limit)
        made = reorder(np.asarray(a, np.uint8), orders)
        found.append(pad(distinct(made) if whole and len(made) > 1 else made, n))
    count = np.array([len(made) for made in found], np.int32)
    start = (np.cumsum(count) - count).astype(np.int32)
    return Members(np.concatenate(found), np.repeat(np.arange(len(found), dtype=np.int32), count), start, count)


def relabelled(rng: np.random.Generator, a):
    """A graph with its nodes in a random order: [n, n]."""
    order = rng.permutation(len(a))
    return a[order][:, order]


def reorder(a, orders):
    """The matrix [n, n] with rows and columns in each of the orders [m, n]: [m, n, n]."""
    return a[orders[:, :, None], orders[:, None, :]]


def distinct(matrices):
    """The distinct ones of binary matrices [m, n, n], in a fixed order."""
    bits = np.packbits(matrices.reshape(len(matrices), -1), axis=1)
    rows = np.ascontiguousarray(bits).view(np.dtype((np.void, bits.shape[1])))[:, 0]
    return matrices[np.unique(rows, return_index=True)[1]]
