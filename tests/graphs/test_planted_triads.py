"""The planted graph has what was planted."""

import jax
import numpy as np
import pytest

from jaxzoo.graphs.planted_triads import planted_triads
from jaxzoo.graphs.simplices import enumerate_cliques


def same_class(graph, members):
    return (graph["y"][members] == graph["y"][members[:, :1]]).all(1)


def test_triangles_agree_and_pairs_do_not():
    options = {"nodes": 400, "classes": 4}
    only_triangles = planted_triads(jax.random.key(0), triangles=320, edges=0, **options)
    only_pairs = planted_triads(jax.random.key(0), triangles=0, edges=1600, **options)
    triangles = enumerate_cliques(only_triangles["edges"], 400, 2)[2]
    assert 315 <= len(triangles) < 420  # those that share sides make others
    assert same_class(only_triangles, triangles).mean() > 0.9
    assert 1560 < len(only_pairs["edges"]) <= 1600
    assert abs(same_class(only_pairs, only_pairs["edges"]).mean() - 0.2) < 0.04


def test_nodes_are_those_of_the_key_and_edges_come_on_top():
    few, many, other = (
        planted_triads(jax.random.key(seed), nodes=60, triangles=n, edges=50) for seed, n in ((0, 10), (0, 30), (1, 10))
    )
    for name in ("x", "y", "train", "validation", "test"):
        np.testing.assert_array_equal(few[name], many[name])
    assert set(map(tuple, few["edges"].tolist())) < set(map(tuple, many["edges"].tolist()))
    assert (few["x"] != other["x"]).any()


def test_features_and_masks():
    graph = planted_triads(jax.random.key(0), nodes=4000, triangles=1, edges=1)
    assert np.bincount(graph["y"]).tolist() == [1000] * 4
    centres = np.stack([graph["x"][graph["y"] == c].mean(0) for c in range(4)])
    np.testing.assert_allclose((graph["x"] - centres[graph["y"]]).std(), 1, atol=0.01)
    assert 1.0 < np.linalg.norm(centres, axis=1).mean() < 1.8  # 0.7 * 2 on average
    masks = np.stack([graph[part] for part in ("train", "validation", "test")])
    assert masks.sum(1).tolist() == [800, 800, 2400]
    assert (masks.sum(0) == 1).all()


@pytest.mark.parametrize("options", [{"nodes": 11}, {"nodes": 40, "classes": 1}])
def test_refusals(options):
    with pytest.raises(ValueError, match="nodes, classes: expected two classes or more"):
        planted_triads(jax.random.key(0), triangles=1, edges=1, **options)
