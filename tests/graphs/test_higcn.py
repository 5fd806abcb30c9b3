"""HiGCN against its formulas in dense matrices, under relabelling, and as a classifier of nodes and of graphs."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxzoo.graphs import higcn as hi
from jaxzoo.graphs.node_classification import dropped, node_task, two_layer_gcn
from jaxzoo.graphs.wl_pairs import hexagon, two_triangles
from jaxzoo.train import fit

N, F, CLASSES = 12, 5, 3


def random_graph(seed=0, nodes=N, p=0.5):
    pairs = np.array(list(itertools.combinations(range(nodes), 2)))
    return pairs[np.random.default_rng(seed).random(len(pairs)) < p]


def features(seed=0, nodes=N):
    return jax.random.normal(jax.random.key(seed), (nodes, F))


def random_params(seed=1, orders=2, k=4):
    """With other coefficients than the initial ones, and biases."""
    params = hi.higcn_init(jax.random.key(seed), F, classes=CLASSES, hidden=4, orders=orders, k=k)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    moved = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(structure, moved)


def dense_higcn(params, x, complex):
    """The model in float64, with S_p as a matrix and its powers."""
    params, x = jax.tree.map(lambda a: np.asarray(a, np.float64), (params, x))
    z = []
    for affine, gamma, (members, degree) in zip(params["in"], params["gamma"], complex, strict=True):
        h = np.zeros((len(x), len(members)))
        for s, row in enumerate(members):
            h[row, s] = 1
        scale = np.where(degree > 0, np.maximum(degree, 1) ** -0.5, 0)
        s = scale[:, None] * (h @ h.T) * scale[None] / members.shape[1]
        polynomial = sum(g * np.linalg.matrix_power(s, i) for i, g in enumerate(gamma))
        z.append(polynomial @ (x @ affine["kernel"] + affine["bias"]))
    return np.concatenate(z, axis=1) @ params["out"]["kernel"] + params["out"]["bias"]


@pytest.mark.parametrize("orders", [1, 2, 3])
def test_the_model_is_its_formula(orders):
    complex = hi.lift(random_graph(), N, orders)
    params, x = random_params(orders=orders), features()
    expected = dense_higcn(params, x, complex)
    np.testing.assert_allclose(jax.jit(hi.higcn_apply)(params, x, complex), expected, rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_finite_differences():
    complex, rng = hi.lift(random_graph(), N, 2), np.random.default_rng(0)
    params, x = jax.tree.map(lambda a: np.asarray(a, np.float64), (random_params(), features()))
    weight = rng.normal(size=(N, CLASSES))
    shift = jax.tree.map(lambda a: rng.normal(size=a.shape), (params, x))
    with jax.enable_x64(True):
        loss = jax.jit(jax.value_and_grad(lambda at: (weight * hi.higcn_apply(*at, complex) ** 2).sum()))
        ends = [loss(jax.tree.map(lambda a, b, e=e: a + e * b, (params, x), shift))[0] for e in (1e-5, -1e-5)]
        gradient = loss((params, x))[1]
    along = sum((np.asarray(g) * b).sum() for g, b in zip(*map(jax.tree.leaves, (gradient, shift)), strict=True))
    np.testing.assert_allclose(along, float(ends[0] - ends[1]) / 2e-5, rtol=1e-7)


def test_relabelling_nodes_permutes_the_logits():
    edges, order = random_graph(), np.random.default_rng(5).permutation(N)
    apply, params, x = jax.jit(hi.higcn_apply), random_params(), features()
    # Node i is called order[i] in the second graph.
    there = apply(params, x[np.argsort(order)], hi.lift(order[edges], N, 2))
    np.testing.assert_allclose(there[order], apply(params, x, hi.lift(edges, N, 2)), atol=1e-5)


def test_alpha_one_is_a_linear_map():
    complex = hi.lift(random_graph(), N, 2)
    params = hi.higcn_init(jax.random.key(0), F, classes=CLASSES, alpha=1.0)
    x = features()
    h = jnp.concatenate([x @ p["kernel"] for p in params["in"]], axis=1)
    np.testing.assert_allclose(hi.higcn_apply(params, x, complex), h @ params["out"]["kernel"], atol=1e-6)


def test_orders_share_their_weights_and_start_with_equal_strength():
    one, three = (hi.higcn_init(jax.random.key(0), F, classes=CLASSES, orders=p) for p in (1, 3))
    np.testing.assert_array_equal(one["in"][0]["kernel"], three["in"][0]["kernel"])
    np.testing.assert_allclose(hi.order_strength(three), 1, atol=1e-6)
    np.testing.assert_allclose(hi.order_strength({"gamma": jnp.array([[1.0, -2.0], [0.0, 0.5]])}), [3, 0.5])


def test_dropout():
    x = jnp.ones((400, 50))
    y = dropped(jax.random.key(0), x, 0.2)
    assert set(np.unique(y).tolist()) == {0.0, 1.25}
    np.testing.assert_allclose(y.mean(), 1, atol=0.01)
    assert dropped(None, x, 0.2) is x
    apply = jax.jit(hi.higcn_apply)
    arguments = (random_params(), features(), hi.lift(random_graph(), N, 2))
    first, again, other = (apply(*arguments, key=jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_models_and_seeds_in_parallel_equal_one_by_one():
    complex, x = hi.lift(random_graph(), N, 2), features()
    model = hi.higcn(classes=CLASSES, hidden=4, k=3)
    many = jax.vmap(lambda key: model.init(key, (x, complex)))(jax.random.split(jax.random.key(0), 2))
    together = jax.jit(jax.vmap(model.apply, (0, None)))(many, (x, complex))
    for s in range(2):
        alone = jax.jit(hi.higcn_apply)(jax.tree.map(lambda a, s=s: a[s], many), x, complex)
        np.testing.assert_allclose(together[s], alone, atol=1e-6)


def node_inputs():
    """A ring of cliques, of one class each, with features that say nothing."""
    edges = np.concatenate([3 * i + np.array([(0, 1), (1, 2), (0, 2)]) for i in range(6)])
    y = np.repeat(np.arange(6) % CLASSES, 3)
    place = np.arange(18) % 3
    split = {"train": place == 0, "validation": place == 1, "test": place == 2}
    return split, (features(3, 18), jnp.asarray(y), hi.lift(edges, 18, 2))


@pytest.mark.parametrize("shared", [False, True])
def test_node_task_learns_and_keeps_the_best_validation_loss(shared):
    split, graph = node_inputs()
    model = hi.higcn(classes=CLASSES, hidden=8, k=2, alpha=0.0, dropout=0.1, dprate=0.1)
    task = node_task(model, optax.adam(0.1), every=1, graph=graph if shared else None)
    trained = fit(task, jax.random.key(0), 60, split if shared else (split, graph))
    assert trained.evaluations["accuracy"][-1] == 1.0
    x, y, complex = graph
    selected, _ = trained.state
    logits = model.apply(selected.best.params, (x, complex))
    loss = optax.losses.softmax_cross_entropy_with_integer_labels(logits, y)[split["validation"]].mean()
    np.testing.assert_allclose(-selected.score, loss, rtol=1e-4)


def test_gcn_without_edges_is_a_dense_network():
    x, complex = features(), hi.lift(random_graph(), N, 1)
    model = two_layer_gcn(classes=CLASSES, hidden=4)
    params = model.init(jax.random.key(0), (x, complex))
    none = (complex[0]._replace(members=np.full_like(complex[0].members, N)),)
    dense = jax.nn.relu(x @ params["in"]["kernel"]) @ params["out"]["kernel"]
    np.testing.assert_allclose(model.apply(params, (x, none)), dense, atol=1e-6)
    a = np.eye(N)
    a[tuple(complex[0].members.T)] = a[tuple(complex[0].members.T[::-1])] = 1
    a = (a / np.sqrt(a.sum(1)[:, None] * a.sum(1)[None])).astype(np.float32)
    averaged = a @ jax.nn.relu(a @ x @ params["in"]["kernel"]) @ params["out"]["kernel"]
    np.testing.assert_allclose(model.apply(params, (x, complex)), averaged, atol=1e-5)


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_a_graphs_logits_don_t_depend_on_labels_or_padding(pooling):
    edges, order = random_graph(), np.random.default_rng(5).permutation(N)
    params = hi.higcn_graph_init(jax.random.key(0), F, classes=CLASSES, hidden=4)
    apply, x = jax.jit(hi.higcn_graph_apply, static_argnames="pooling"), features()
    logits = apply(params, x, hi.lift(edges, N, 2), pooling=pooling)
    assert logits.shape == (CLASSES,)
    there = apply(params, x[np.argsort(order)], hi.lift(order[edges], N, 2), pooling=pooling)
    np.testing.assert_allclose(there, logits, rtol=1e-4, atol=1e-4)
    more = jnp.concatenate([x, 7 * jnp.ones((3, F))])
    padded = apply(params, more, hi.lift(edges, N + 3, 2), node_mask=jnp.arange(N + 3) < N, pooling=pooling)
    np.testing.assert_allclose(padded, logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("orders", "apart"), [(1, False), (2, True)])
def test_a_hexagon_and_two_triangles(orders, apart):
    params = hi.higcn_graph_init(jax.random.key(0), 1, classes=8, orders=orders, layers=1)
    graphs = hi.stack_simplices({0: [hi.lift(*graph(), orders) for graph in (hexagon, two_triangles)]})[0]
    a, b = jax.vmap(lambda complex: hi.higcn_graph_apply(params, jnp.ones((6, 1)), complex))(graphs)
    assert bool(jnp.abs(a - b).max() > 1e-2) == apart
    if not apart:
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_refusals():
    complex, x = hi.lift(random_graph(), N, 2), features()
    with pytest.raises(ValueError, match="complex: expected simplices of 2 orders, got 1"):
        hi.higcn_apply(random_params(), x, complex[:1])
    with pytest.raises(ValueError, match="orders: expected at least 1, got 0"):
        hi.higcn_init(jax.random.key(0), F, classes=2, orders=0)
    with pytest.raises(ValueError, match="orders, layers: expected at least 1"):
        hi.higcn_graph_init(jax.random.key(0), F, classes=2, layers=0)
    params = hi.higcn_graph_init(jax.random.key(0), F, classes=2)
    with pytest.raises(ValueError, match="pooling: expected sum or mean, got 'max'"):
        hi.higcn_graph_apply(params, x, complex, pooling="max")
