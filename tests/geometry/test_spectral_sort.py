"""Frames of graphs: their sizes by hand, their orders sort, and they don't depend on the labelling."""

import itertools
import math

import jax
import networkx as nx
import numpy as np
import pytest

from jaxzoo.geometry.graph_tasks import atlas_matrices, relabelled_members
from jaxzoo.geometry.spectral_sort import (
    distinct,
    frame_members,
    frame_permutations,
    frame_size,
    pad,
    relabelled,
    reorder,
    spectral_features,
    spectral_sort_frame,
)
from jaxzoo.geometry.weisfeiler_leman import wl_pairs, wl_test


def matrix(graph):
    return nx.to_numpy_array(graph, dtype=np.uint8)


@pytest.mark.parametrize(
    ("graph", "size"),
    [(nx.path_graph(3), 2), (nx.star_graph(3), 6), (nx.complete_graph(4), 24), (nx.cycle_graph(5), 120)],
)
def test_sizes_of_frames_by_hand(graph, size):
    _, blocks = spectral_sort_frame(matrix(graph))
    orders = frame_permutations(blocks)
    assert frame_size(blocks) == len(orders) == len(np.unique(orders, axis=0)) == size


@pytest.mark.parametrize("graph", [nx.path_graph(4), nx.star_graph(3), nx.barbell_graph(3, 1), nx.petersen_graph()])
def test_every_order_of_a_frame_sorts_the_features_and_no_other_does(graph):
    a = matrix(graph)
    s = [tuple(row) for row in spectral_features(a)]
    _, blocks = spectral_sort_frame(a)
    some = (
        frame_permutations(blocks)[:500]
        if frame_size(blocks) < 1e4
        else frame_permutations(blocks, key=jax.random.key(0), k=50)
    )
    for order in some:
        assert [s[i] for i in order] == sorted(s)
    if len(a) < 6:
        sorting = [p for p in itertools.permutations(range(len(a))) if [s[i] for i in p] == sorted(s)]
        assert sorted(sorting) == sorted(map(tuple, some.tolist()))


def test_features_are_roots_of_projectors_diagonals():
    a = matrix(nx.cycle_graph(6)).astype(float)
    s = spectral_features(a, decimals=12)
    # The cycle's eigenspaces are spanned by harmonics: dimension 1, 2, 2, 1, and all nodes alike.
    np.testing.assert_allclose(s, np.sqrt(np.array([[1, 2, 2, 1]]) / 6).repeat(6, 0), atol=1e-10)


def test_random_orders_of_a_frame_belong_to_it_and_are_uniform():
    _, blocks = spectral_sort_frame(matrix(nx.star_graph(3)))
    every = {tuple(order) for order in frame_permutations(blocks).tolist()}
    drawn = [tuple(order) for order in frame_permutations(blocks, key=jax.random.key(0), k=600).tolist()]
    counts = [drawn.count(order) for order in every]
    assert set(drawn) == every
    assert 70 < min(counts) <= max(counts) < 130


def test_a_relabelled_graph_has_the_same_members():
    graphs = atlas_matrices()[200:1252:25]
    members = frame_members(graphs, 7)
    again = relabelled_members(graphs, 7, times=2, limit=5040, key=jax.random.key(3))
    assert again.shape == (2, *members.matrices.shape)
    for start, count in zip(members.start, members.count, strict=True):
        own = {each.tobytes() for each in members.matrices[start : start + count]}
        for matrices in again:
            assert {each.tobytes() for each in matrices[start : start + count]} == own


def test_distinct_members_come_equally_often_once_for_each_automorphism():
    for graph in (nx.cycle_graph(5), nx.star_graph(3), nx.complete_bipartite_graph(2, 3)):
        a = matrix(graph)
        _, blocks = spectral_sort_frame(a)
        made = reorder(a, frame_permutations(blocks))
        unique, counts = np.unique(made.reshape(len(made), -1), axis=0, return_counts=True)
        automorphisms = sum(1 for _ in nx.isomorphism.GraphMatcher(graph, graph).isomorphisms_iter())
        assert set(counts) == {automorphisms}
        assert sorted(map(bytes, distinct(made).reshape(len(unique), -1))) == sorted(map(bytes, unique))


def test_members_are_laid_out_padded_with_their_nodes_marked():
    graphs = [matrix(nx.path_graph(2)), matrix(nx.star_graph(3))]
    members = frame_members(graphs, 5)
    assert members.count.tolist() == [1, 1]
    np.testing.assert_array_equal(members.matrices[0], pad(graphs[0], 5))
    np.testing.assert_array_equal(np.diag(members.matrices[0]), [1, 1, 0, 0, 0])
    assert members.matrices[0].sum() == 2 + 2
    limited = frame_members([matrix(nx.cycle_graph(6))], 6, limit=10, key=jax.random.key(0))
    assert limited.count.tolist() == [10]


def test_relabelling_keeps_the_graph():
    a = matrix(nx.barbell_graph(3, 1))
    other = relabelled(np.random.default_rng(0), a)
    assert (other != a).any()
    assert nx.is_isomorphic(nx.from_numpy_array(other), nx.from_numpy_array(a))


def marked(*graphs):
    """All nodes alike in the attribute "kind", for the peer's hash."""
    for graph in graphs:
        nx.set_node_attributes(graph, "node", "kind")
    return graphs


def test_pairs_that_weisfeiler_and_leman_cannot_tell_apart():
    graphs = atlas_matrices()
    pairs = wl_pairs(graphs)
    assert (len(graphs), len(pairs)) == (1252, 26)
    found = [(nx.from_numpy_array(graphs[i]), nx.from_numpy_array(graphs[j])) for i, j in pairs]
    assert sum(nx.is_connected(a) and nx.is_connected(b) for a, b in found) == 20
    for a, b in found[:5]:
        named = [nx.weisfeiler_lehman_graph_hash(each, node_attr="kind", iterations=7) for each in marked(a, b)]
        assert named[0] == named[1]
        assert not nx.is_isomorphic(a, b)


def test_colours_do_not_depend_on_the_labelling():
    a = matrix(nx.barbell_graph(3, 2))
    assert wl_test(relabelled(np.random.default_rng(1), a)) == wl_test(a)
    assert wl_test(matrix(nx.path_graph(4))) != wl_test(matrix(nx.star_graph(3)))
    two_triangles = matrix(nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3)))
    assert wl_test(matrix(nx.cycle_graph(6))) == wl_test(two_triangles)


def test_wrong_graphs_are_refused():
    with pytest.raises(ValueError, match=r"a: expected \[n, n\] with n at least 1, got \(2, 3\)"):
        spectral_features(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="a: expected a symmetric matrix with zero diagonal"):
        spectral_features(np.triu(np.ones((3, 3)), 1))
    with pytest.raises(ValueError, match=f"key: expected one, since the frame of graph 0 has {math.factorial(6)} > 10"):
        frame_members([matrix(nx.cycle_graph(6))], 6, limit=10)
