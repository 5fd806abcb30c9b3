"""Cliques against networkx, the walk against dense matrices, padding that counts for nothing."""

import itertools

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

from jaxzoo import data
from jaxzoo.graphs.simplices import Simplices, enumerate_cliques, lift, pad_simplices, simplicial_walk
from jaxzoo.graphs.wl_pairs import hexagon, rook, shrikhande, two_triangles


def as_networkx(edges, nodes):
    graph = nx.empty_graph(nodes)
    graph.add_edges_from(np.asarray(edges).tolist())
    return graph


def random_graph(seed=0, nodes=18, p=0.4):
    return np.array(nx.gnp_random_graph(nodes, p, seed=seed).edges), nodes


def incidence(members, nodes):
    h = np.zeros((nodes, len(members)))
    for s, row in enumerate(members):
        h[row, s] = 1
    return h


def dense_walk(members, nodes):
    """S_p by its definition, float64."""
    h = incidence(members, nodes)
    degree = h.sum(1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros(nodes), where=degree > 0)
    return scale[:, None] * (h @ h.T) * scale[None] / members.shape[1]


def walk_matrix(simplices):
    return jax.jit(simplicial_walk)(jnp.eye(len(simplices.degree)), *simplices)


@pytest.mark.parametrize("seed", range(4))
def test_cliques_are_those_that_trying_all_finds(seed):
    edges, nodes = random_graph(seed, nodes=9 + seed, p=0.6)
    graph = as_networkx(edges, nodes)
    for p, members in enumerate_cliques(edges[::-1, ::-1], nodes, 4).items():
        sets = itertools.combinations(range(nodes), p + 1)
        expected = [s for s in sets if all(graph.has_edge(*pair) for pair in itertools.combinations(s, 2))]
        assert list(map(tuple, members.tolist())) == expected


@pytest.mark.parametrize("load", [data.karate, data.les_miserables])
def test_triangles_and_larger_cliques_of_real_graphs(load):
    real = load()
    graph = as_networkx(real.edges, real.n)
    cliques = enumerate_cliques(real.edges, real.n, 3)
    assert 3 * len(cliques[2]) == sum(nx.triangles(graph).values())
    by_size = [len(clique) for clique in nx.enumerate_all_cliques(graph)]
    assert [len(cliques[p]) for p in (1, 2, 3)] == [by_size.count(p + 1) for p in (1, 2, 3)]


def test_rook_and_shrikhande():
    for (edges, nodes), four in ((rook(), 8), (shrikhande(), 0)):
        cliques = enumerate_cliques(edges, nodes, 3)
        assert (len(cliques[1]), len(cliques[2]), len(cliques[3])) == (48, 32, four)
        assert set(dict(as_networkx(edges, nodes).degree).values()) == {6}
    assert nx.is_isomorphic(as_networkx(*rook()), nx.line_graph(nx.complete_bipartite_graph(4, 4)))
    assert not nx.is_isomorphic(as_networkx(*rook()), as_networkx(*shrikhande()))
    for edges, nodes in (rook(), shrikhande()):
        assert nx.is_strongly_regular(as_networkx(edges, nodes))


def test_hexagon_and_two_triangles_are_alike_for_weisfeiler_leman():
    # Both are regular of degree 2 with 6 nodes, so colour refinement never splits a class of either.
    assert {tuple(np.bincount(graph()[0].ravel())) for graph in (hexagon, two_triangles)} == {(2,) * 6}
    assert [len(enumerate_cliques(*graph(), 2)[2]) for graph in (hexagon, two_triangles)] == [0, 2]


def test_doubles_loops_and_no_edges():
    edges = np.array([[0, 1], [1, 0], [2, 2], [1, 2], [0, 2]])
    assert enumerate_cliques(edges, 4, 2)[1].tolist() == [[0, 1], [0, 2], [1, 2]]
    assert enumerate_cliques(edges, 4, 2)[2].tolist() == [[0, 1, 2]]
    none = enumerate_cliques(np.zeros((0, 2), int), 4, 3)
    assert [members.shape for members in none.values()] == [(0, 2), (0, 3), (0, 4)]


def test_the_triangle():
    first, second = lift(np.array([[0, 1], [1, 2], [0, 2]]), 3, 2)
    np.testing.assert_allclose(walk_matrix(first), 0.25 + 0.25 * np.eye(3), atol=1e-6)
    np.testing.assert_allclose(walk_matrix(second), np.full((3, 3), 1 / 3), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_walk_is_its_definition(seed):
    edges, nodes = random_graph(seed)
    for simplices in lift(edges, nodes, 3):
        np.testing.assert_allclose(walk_matrix(simplices), dense_walk(simplices.members, nodes), atol=1e-6)


def test_pairs_give_the_lazy_normalised_adjacency():
    edges, nodes = random_graph()
    a = nx.to_numpy_array(as_networkx(edges, nodes))
    scale = a.sum(1) ** -0.5
    expected = (np.eye(nodes) + scale[:, None] * a * scale[None]) / 2
    np.testing.assert_allclose(walk_matrix(lift(edges, nodes, 1)[0]), expected, atol=1e-6)


def test_the_spectrum():
    edges, nodes = random_graph(p=0.7)
    for simplices in lift(edges, nodes, 3)[:2]:
        s = np.asarray(walk_matrix(simplices), np.float64)
        np.testing.assert_allclose(s, s.T, atol=1e-6)
        values = np.linalg.eigvalsh(s)
        assert values.min() > -1e-6
        assert values.max() < 1 + 1e-6
        assert (simplices.degree > 0).all()
        root = np.sqrt(simplices.degree)
        np.testing.assert_allclose(s @ root, root, atol=1e-5)


def test_nodes_in_no_simplex_get_zero_and_finite_gradients():
    edges = np.array([[0, 1], [1, 2], [0, 2], [2, 3]])
    _, second = lift(edges, 5, 2)
    x = jax.random.normal(jax.random.key(0), (5, 2))
    loss = lambda x: (simplicial_walk(x, *map(jnp.asarray, second)) ** 2).sum()  # noqa: E731
    np.testing.assert_array_equal(simplicial_walk(x, *map(jnp.asarray, second))[3:], 0)
    gradient = jax.grad(loss)(x)
    s = dense_walk(second.members, 5)
    np.testing.assert_allclose(gradient, 2 * s.T @ (s @ np.asarray(x)), atol=1e-5)


def test_padding_counts_for_nothing():
    graphs = [random_graph(seed) for seed in range(3)]
    complexes = [lift(*graph, 3) for graph in graphs]
    padded = pad_simplices(complexes, multiple=16)
    x = jax.random.normal(jax.random.key(1), (18, 4))
    for p in (0, 2):
        sizes = {complex[p].members.shape for complex in padded}
        assert len(sizes) == 1
        assert next(iter(sizes))[0] % 16 == 0
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(complex[p] for complex in padded))
        together = jax.jit(jax.vmap(simplicial_walk, (None, 0, 0)))(x, *stacked)
        for out, complex in zip(together, complexes, strict=True):
            expected = dense_walk(complex[p].members, 18) @ np.asarray(x)
            np.testing.assert_allclose(out, expected, atol=1e-6)


def test_half_precision_sums_in_single():
    members = jnp.zeros((600, 2), jnp.int32).at[:, 1].set(1)
    out = simplicial_walk(jnp.ones((2, 1), jnp.bfloat16), members, jnp.full(2, 600.0))
    assert out.dtype == jnp.bfloat16
    np.testing.assert_array_equal(out, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((np.zeros((2, 3), int), 4, 2), r"edges: expected \[e, 2\] integers"),
        ((np.zeros((2, 2)), 4, 2), r"edges: expected \[e, 2\] integers"),
        ((np.array([[0, 4]]), 4, 2), r"edges: expected nodes in \[0, 4\)"),
        ((np.array([[0, 1]]), 4, 0), "max_order: expected at least 1"),
    ],
)
def test_wrong_graphs_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        enumerate_cliques(*arguments)


def test_too_many_candidates_are_refused():
    edges = np.array(list(itertools.combinations(range(12), 2)))
    with pytest.raises(ValueError, match="limit: 220 candidates of order 2, at most 100"):
        enumerate_cliques(edges, 12, 2, limit=100)


def test_wrong_shapes_are_refused():
    first, second = lift(np.array([[0, 1], [1, 2]]), 3, 2)
    with pytest.raises(ValueError, match=r"degree: expected \[4\], got \(3,\)"):
        simplicial_walk(jnp.ones((4, 1)), *first)
    with pytest.raises(ValueError, match="x, members: expected"):
        simplicial_walk(jnp.ones(3), *first)
    with pytest.raises(ValueError, match="complexes: expected the same nodes"):
        pad_simplices([(first,), (first, second)])
    assert isinstance(first, Simplices)
