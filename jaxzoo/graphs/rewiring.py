"""Null models: random graphs that keep some of what a graph is, on the host."""

import jax
import numpy as np


def null_model(edges, n_swaps, key):
    """A random graph with the degrees of another: double-edge swaps, a-b and c-d becoming a-d and c-b.

    Triangles and classes of neighbours are lost, degrees are not. A swap that would make a loop or a double edge is not
    counted and another is tried.

    Args:
      edges: [e, 2] integers, each edge once.
      n_swaps: number of swaps; about 5 e forget the graph.
      key: of the choice.

    Returns:
      [e, 2] int32, smaller node first, in lexicographic order.

    Raises:
      ValueError: malformed edges, or 100 tries for each swap were not enough, as in a complete graph.
    """
    edges = np.sort(np.asarray(edges), axis=-1)
    if edges.ndim != 2 or edges.shape[1] != 2 or len(np.unique(edges, axis=0)) < len(edges):
        raise ValueError(f"edges: expected [e, 2], each edge once, got {edges.shape}")
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,))))
    pairs = [tuple(pair) for pair in edges.tolist()]
    present, done = set(pairs), 0
    for _ in range(100):
        if done == n_swaps or not pairs:
            break
        tries = zip(*rng.integers(len(pairs), size=(2, n_swaps)).tolist(), rng.random(n_swaps).tolist(), strict=True)
        for i, j, coin in tries:
            (a, b), (c, d) = pairs[i], pairs[j] if coin < 0.5 else pairs[j][::-1]
            first, second = (min(a, d), max(a, d)), (min(c, b), max(c, b))
            if a == d or c == b or first == second or first in present or second in present:
                continue
            present -= {pairs[i], pairs[j]}
            present |= {first, second}
            pairs[i], pairs[j] = first, second
            done += 1
            if done == n_swaps:
                break
    if done < n_swaps:
        raise ValueError(f"n_swaps: only {done} of {n_swaps} swaps were possible")
    return np.array(sorted(pairs), np.int32).reshape(-1, 2)
