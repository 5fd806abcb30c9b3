"""Chow-Liu trees against networkx and known trees; models that are only counted."""

import itertools

import networkx
import numpy as np
import pytest

from jaxzoo.probabilistic import chow_liu as cl
from jaxzoo.probabilistic.counted import chow_liu_bits, independent_bits, marginals

PARENT = [2, 2, 3, -1, 3, 4, 4, 6]


def edges_of(parent):
    return {frozenset((i, int(p))) for i, p in enumerate(parent) if p >= 0}


def from_known_tree(rng, n):
    """Samples of x1 - x0 - x2 - x3, x2 - x4 over three values: each copies its parent three times in four."""
    parent, x = [-1, 0, 0, 2, 2], np.empty((n, 5), int)
    for i, above in enumerate(parent):
        noise = rng.integers(0, 3, n)
        x[:, i] = noise if above < 0 else np.where(rng.random(n) < 0.75, x[:, above], noise)
    return parent, x


@pytest.mark.parametrize("relabel", [None, [4, 2, 0, 1, 3]])
def test_recovers_the_edges_of_a_known_tree(relabel):
    parent, x = from_known_tree(np.random.default_rng(0), 20_000)
    edges = edges_of(parent)
    if relabel:
        x = x[:, relabel]
        edges = {frozenset(relabel.index(i) for i in edge) for edge in edges}
    tree = cl.chow_liu_tree(x, 0.1)
    assert edges_of(tree.parent) == edges


def test_mutual_information_against_sums():
    rng = np.random.default_rng(1)
    x = rng.integers(0, 3, (40, 3))
    x[:, 2] = (x[:, 0] + (rng.random(40) < 0.2)) % 3
    found = cl.mutual_information(x, 0.5)
    for i in range(3):
        for j in range(3):
            if i == j:
                continue
            joint = np.full((3, 3), 0.5 / 9)
            for a, b in x[:, [i, j]]:
                joint[a, b] += 1
            joint /= joint.sum()
            product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
            np.testing.assert_allclose(found[i, j], (joint * np.log(joint / product)).sum(), atol=1e-6)


def test_spanning_tree_and_centre_against_networkx():
    weights = np.random.default_rng(2).random((23, 23))
    weights += weights.T
    edges = cl.maximum_spanning_tree(weights)
    graph = networkx.Graph()
    graph.add_weighted_edges_from((i, j, weights[i, j]) for i in range(23) for j in range(i))
    best = networkx.maximum_spanning_tree(graph)
    assert {frozenset(e) for e in edges} == {frozenset(e) for e in best.edges}
    tree = cl.tree_from_parents(cl._hang([list(best.neighbors(i)) for i in range(23)]))
    assert int(tree.order[-1]) in networkx.center(best)
    assert edges_of(tree.parent) == {frozenset(e) for e in best.edges}


def test_a_balanced_chain_has_logarithmic_depth():
    neighbours = [[j for j in (i - 1, i + 1) if 0 <= j < 127] for i in range(127)]
    assert cl.tree_from_parents(cl._balanced(neighbours)).depth.max() == 6
    assert cl.tree_from_parents(cl._hang(neighbours)).depth.max() == 63


def test_tables_of_a_tree():
    tree = cl.tree_from_parents(PARENT)
    rank = np.argsort(tree.order)
    for i, above in enumerate(PARENT):
        assert above < 0 or rank[i] < rank[above]
        path = tree.path[i].tolist()
        assert path[0] == 3
        assert path[tree.depth[i]] == i
        for upper, lower in itertools.pairwise(path[: tree.depth[i] + 1]):
            assert PARENT[lower] == upper
        # Above `start` nothing is known: all that comes before i lies below that pixel.
        known = [j for j in range(8) if rank[j] < rank[i]]
        top = path[tree.start[i]]
        assert all(top in tree.path[j] for j in known)
    subtree = {i: [j for j in range(8) if i in tree.path[j]] for i in range(8)}
    for below in subtree.values():  # in post-order a subtree is one stretch
        ranks = sorted(rank[below])
        assert ranks == list(range(ranks[0], ranks[0] + len(ranks)))
    rows = [row[row < 8] for row in tree.nodes]
    assert sorted(itertools.chain(*rows)) == [0, 1, 2, 4, 5, 6, 7]
    assert all(np.ptp(tree.depth[row]) == 0 for row in rows)
    assert all((np.diff(tree.depth[np.concatenate(rows)]) <= 0).tolist())
    np.testing.assert_array_equal(np.append(tree.nodes.ravel(), 3)[tree.place], range(8))


@pytest.mark.parametrize("parent", [[-1, -1], [1, 0, -1], [0, 5, -1], [0, 0]])
def test_what_is_no_tree_is_refused(parent):
    with pytest.raises(ValueError, match="parent: expected"):
        cl.tree_from_parents(parent)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="shape: expected one of"):
        cl.chow_liu_tree(np.zeros((3, 2), int), shape="line")
    with pytest.raises(ValueError, match="data: expected"):
        cl.mutual_information(np.zeros((3, 2)))


def test_counted_models_against_the_entropy_of_their_source():
    _, x = from_known_tree(np.random.default_rng(3), 30_000)
    train, valid, test = x[:25_000], x[25_000:27_000], x[27_000:]
    conditional = -(5 / 6 * np.log2(5 / 6) + 2 / 12 * np.log2(1 / 12))
    tree = cl.chow_liu_tree(train)
    np.testing.assert_allclose(
        chow_liu_bits(tree, train, valid, test, levels=3), (np.log2(3) + 4 * conditional) / 5, atol=0.02
    )
    np.testing.assert_allclose(independent_bits(train, valid, test, levels=3), np.log2(3), atol=1e-2)
    np.testing.assert_allclose(marginals(train, 3, 1.0).sum(1), 1)
