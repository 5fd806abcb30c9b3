"""The carried graphs, against networkx and against the known numbers of small graphs."""

import collections

import numpy as np
import pytest

from jaxzoo.data import davis, florentine, graph_atlas, karate, les_miserables

GRAPHS = {
    davis: "davis_southern_women_graph",
    florentine: "florentine_families_graph",
    karate: "karate_club_graph",
    les_miserables: "les_miserables_graph",
}


@pytest.fixture(scope="module")
def networkx():
    return pytest.importorskip("networkx")


@pytest.mark.parametrize("load", GRAPHS, ids=lambda load: load.__name__)
def test_graphs_equal_networkx(networkx, load):
    ours, theirs = load(), getattr(networkx, GRAPHS[load])()
    rebuilt = networkx.Graph()
    rebuilt.add_nodes_from(ours.node_names)
    for (u, v), weight in zip(ours.edges, ours.weights, strict=True):
        rebuilt.add_edge(ours.node_names[u], ours.node_names[v], weight=weight)
    named = networkx.relabel_nodes(theirs, str)
    assert set(rebuilt.nodes) == set(named.nodes)
    assert len(rebuilt.edges) == len(named.edges) == len(ours.edges)
    for u, v, weight in named.edges(data="weight", default=1):
        assert rebuilt.edges[u, v]["weight"] == weight


@pytest.mark.parametrize("load", GRAPHS, ids=lambda load: load.__name__)
def test_edges_are_in_normal_form(load):
    graph = load()
    assert (graph.edges[:, 0] < graph.edges[:, 1]).all()
    assert graph.edges.tolist() == sorted(graph.edges.tolist())
    assert (graph.edges.dtype, graph.weights.dtype) == (np.int32, np.float32)
    assert len(graph.node_names) == graph.n > graph.edges.max()


def test_labels():
    assert np.bincount(karate().labels).tolist() == [17, 17]
    assert (karate().labels[0], karate().labels[33]) == (0, 1)
    sides = davis().labels[davis().edges]
    assert (sides == [0, 1]).all()
    assert florentine().labels is None


def test_atlas_holds_every_small_graph():
    atlas = graph_atlas()
    # Graphs of n nodes up to isomorphism: sequence A000088.
    assert collections.Counter(graph.n for graph in atlas) == {0: 1, 1: 1, 2: 2, 3: 4, 4: 11, 5: 34, 6: 156, 7: 1044}
    assert (atlas[1252].n, len(atlas[1252].edges)) == (7, 21)
    assert all(graph.edges.shape == (len(graph.weights), 2) for graph in atlas)


def test_atlas_equals_networkx(networkx):
    for ours, theirs in zip(graph_atlas(), networkx.graph_atlas_g(), strict=True):
        assert ours.edges.tolist() == sorted(sorted(edge) for edge in theirs.edges)
        assert ours.n == len(theirs)
