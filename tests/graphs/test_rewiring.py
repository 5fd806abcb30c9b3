"""Double-edge swaps: degrees stay, triangles go, and what can't be swapped is refused."""

import itertools

import jax
import networkx as nx
import numpy as np
import pytest

from jaxzoo import data
from jaxzoo.graphs.rewiring import null_model


def triangles(edges):
    return sum(nx.triangles(nx.Graph(edges.tolist())).values()) // 3


def test_degrees_stay_and_triangles_go():
    ring = nx.connected_watts_strogatz_graph(100, 6, 0.0, seed=0)
    edges = np.sort(np.array(ring.edges), axis=1)
    swapped = null_model(edges, 5 * len(edges), jax.random.key(0))
    assert len(np.unique(swapped, axis=0)) == len(edges)
    assert (swapped[:, 0] < swapped[:, 1]).all()
    np.testing.assert_array_equal(np.bincount(swapped.ravel()), np.bincount(edges.ravel()))
    assert triangles(edges) == 300
    assert triangles(swapped) < 60


def test_one_swap_changes_two_edges_and_none_changes_none():
    edges = data.les_miserables().edges
    before, after = (set(map(tuple, e.tolist())) for e in (edges, null_model(edges, 1, jax.random.key(3))))
    assert len(before - after) == len(after - before) == 2
    np.testing.assert_array_equal(null_model(edges, 0, jax.random.key(3)), edges)


def test_the_key_decides():
    edges = data.karate().edges
    first, again, other = (null_model(edges, 100, jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_all_graphs_of_these_degrees_come_about_equally_often():
    edges = np.array([[0, 1], [2, 3]])  # three perfect matchings of four nodes
    found = [tuple(null_model(edges, 4, jax.random.key(seed)).ravel().tolist()) for seed in range(300)]
    counts = [found.count(matching) for matching in sorted(set(found))]
    assert len(counts) == 3
    assert min(counts) > 70


def test_refusals():
    complete = np.array(list(itertools.combinations(range(5), 2)))
    with pytest.raises(ValueError, match="n_swaps: only 0 of 3 swaps were possible"):
        null_model(complete, 3, jax.random.key(0))
    with pytest.raises(ValueError, match="n_swaps: only 0 of 1"):
        null_model(np.zeros((0, 2), int), 1, jax.random.key(0))
    with pytest.raises(ValueError, match="each edge once"):
        null_model(np.array([[0, 1], [1, 0]]), 1, jax.random.key(0))
