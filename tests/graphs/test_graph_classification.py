"""Sets of graphs: padding, folds, and a network that learns their classes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxzoo.data import GraphSet
from jaxzoo.graphs import graph_classification as gc
from jaxzoo.graphs.graph_sets import GRAPH_SETS, blank_graph_set, padded_graphs
from jaxzoo.graphs.higcn import higcn_graph, higcn_graph_apply, higcn_graph_init, lift
from jaxzoo.train import fit

TRIANGLE = np.array([(0, 1), (0, 2), (1, 2)])


def graph_set(sizes, edges, labels=None, y=None):
    begin = np.cumsum([0, *sizes])
    return GraphSet(
        y=np.arange(len(sizes), dtype=np.int32) if y is None else y,
        graph=np.repeat(np.arange(len(sizes)), sizes).astype(np.int32),
        edges=np.concatenate(
            [np.reshape(pairs, (-1, 2)).astype(int) + start for pairs, start in zip(edges, begin, strict=False)]
        ),
        labels=labels,
        attributes=None,
        name="some",
        licence="",
        source="",
        sha256="",
    )


SOME = graph_set([3, 2, 5], [TRIANGLE, [], [(0, 4), *(TRIANGLE + 1)]], np.array([0, 2, 1, 0, 0, 1, 1, 1, 1, 2]))


def test_graphs_are_lifted_and_padded_to_the_largest():
    padded, kinds = padded_graphs(SOME, 2)
    assert kinds == 3
    assert padded.kind.tolist() == [[0, 2, 1, 3, 3], [0, 0, 3, 3, 3], [1, 1, 1, 1, 2]]
    assert padded.y.tolist() == [0, 1, 2]
    pairs, triangles = padded.complex
    assert pairs.members.shape == (3, 4, 2)
    assert triangles.members.tolist() == [[[0, 1, 2]], [[5, 5, 5]], [[1, 2, 3]]]
    for i, edges in enumerate((TRIANGLE, np.zeros((0, 2), int), np.array([(0, 4), *(TRIANGLE + 1)]))):
        alone = lift(edges, 5, 2)
        np.testing.assert_array_equal(pairs.degree[i], alone[0].degree)
        np.testing.assert_array_equal(pairs.members[i, : len(edges)], alone[0].members)


def test_the_logits_of_a_padded_graph_are_its_own():
    padded, kinds = padded_graphs(SOME, 2)
    params = higcn_graph_init(jax.random.key(0), kinds, classes=4, hidden=5)
    kind, complex, _ = jax.tree.map(lambda a: a[0], padded)
    model = higcn_graph(classes=4, hidden=5)
    logits = model.apply(params, (jax.nn.one_hot(kind, kinds), complex, kind < kinds))
    alone = higcn_graph_apply(params, jax.nn.one_hot(SOME.labels[:3], kinds), lift(TRIANGLE, 3, 2))
    np.testing.assert_allclose(logits, alone, rtol=1e-5, atol=1e-5)


def test_without_labels_degrees_are_the_kinds_of_nodes():
    padded, kinds = padded_graphs(SOME._replace(labels=None), 1)
    assert kinds == 3
    assert padded.kind.tolist() == [[2, 2, 2, 3, 3], [0, 0, 3, 3, 3], [1, 2, 2, 2, 1]]


def test_beyond_some_degree_all_nodes_are_alike():
    star = np.array([(0, i) for i in range(1, 300)])
    padded, kinds = padded_graphs(graph_set([300], [star]), 1)
    assert (kinds, padded.kind.max()) == (1, 0)


@pytest.mark.parametrize("number", [23, 30])
def test_folds(number):
    y = np.arange(number) % 3 // 2  # twice as many of class 0
    folds = gc.stratified_folds(np.arange(14).reshape(7, 2), y, 3)
    assert [a.shape[1] for a in folds.values()] == [number - number // 3, -(-number // 3), -(-number // 3)]
    for s in range(7):
        test = folds["test"][s][folds["counts"][s]]
        assert len(test) == len(set(test)) == (number + 2 - s % 3) // 3
        assert set(test) | set(folds["train"][s]) == set(range(number))
        assert not set(test) & set(folds["train"][s])
        assert abs((y[test] == 1).sum() - number / 9) < 1.5
    counted = [folds["test"][s][folds["counts"][s]] for s in range(7)]
    for first in (0, 3):
        assert sorted(np.concatenate(counted[first : first + 3])) == list(range(number))
    assert set(counted[0]) != set(counted[3])
    blank = gc.blank_fold(number, 3)
    assert {k: (v.shape, v.dtype) for k, v in blank.items()} == {k: (v[0].shape, v.dtype) for k, v in folds.items()}


@pytest.mark.parametrize("shared", [False, True])
def test_a_network_tells_triangles_from_paths(shared):
    paths, y = TRIANGLE[:2], np.arange(30, dtype=np.int32) % 2
    padded, kinds = padded_graphs(graph_set([3] * 30, [TRIANGLE if c else paths for c in y], np.zeros(90, int), y), 2)
    model = higcn_graph(classes=2, hidden=8, layers=1, k=1, dropout=0.1)
    options = {"kinds": kinds, "batch": 8, "graphs": padded if shared else None}
    task = gc.graph_task(model, optax.adam(0.05), **options)
    fold = {name: part[1] for name, part in gc.stratified_folds(np.zeros((2, 1), int), y, 4).items()}
    trained = fit(task, jax.random.key(0), 40, fold if shared else (fold, padded), evaluate_every=20)
    assert trained.evaluations["accuracy"][-1] == 1
    assert trained.history["loss"][-1] < 0.3


def test_what_stands_twice_in_a_test_part_counts_once():
    padded, kinds = padded_graphs(SOME, 1)
    model = higcn_graph(classes=3, hidden=4, orders=1, k=1)
    task = gc.graph_task(model, optax.sgd(0.0), kinds=kinds, batch=2, graphs=padded)
    fold = {"train": jnp.arange(3), "test": jnp.array([0, 1, 2, 0])}

    @jax.jit
    def accuracy(counts):
        return task.evaluate(task.init(jax.random.key(0), fold | {"counts": counts}))["accuracy"]

    once = [accuracy(jnp.arange(4) == i) for i in range(3)]
    np.testing.assert_allclose(accuracy(jnp.arange(4) < 3), np.mean(once), rtol=1e-6)


def test_the_best_epoch_of_each_cross_validation():
    curves = np.array([[0.1, 0.5, 0.9], [0.9, 0.6, 0.2], [0.0, 1.0, 0.0], [0.3, 0.2, 0.1]])
    np.testing.assert_allclose(gc.at_best_epoch(curves, 2), [0.5, 0.6, 1.0, 0.2])
    np.testing.assert_allclose(gc.at_best_epoch(curves, 3), [0.5, 0.6, 1.0, 0.3])


def test_blank_sets_have_the_shapes_of_real_ones():
    size = GRAPH_SETS["MUTAG"]
    kind, (pairs, triangles), y = blank_graph_set(size)
    shapes = [a.shape for a in (kind, pairs.members, pairs.degree, triangles.members, y)]
    assert shapes == [(188, 28), (188, 33, 2), (188, 28), (188, 1, 3), (188,)]
