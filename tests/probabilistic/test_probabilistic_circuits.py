"""Conditionals along paths against the whole circuit and against enumeration; the coder loses nothing."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.probabilistic import hclt
from jaxzoo.probabilistic import probabilistic_circuits as pc
from jaxzoo.probabilistic.chow_liu import chow_liu_tree, stack_trees, tree_from_parents

D, K, H = 12, 4, 3
PARENT = [1, 2, 3, -1, 3, 3, 5, 5, 6, 6, 1, 9]


def circuit(parent=PARENT, k=K, h=H, seed=0):
    params = hclt.hclt_init(jax.random.key(seed), len(parent), k, h)
    return tree_from_parents(parent), hclt.normalise(jax.tree.map(lambda p: p**5, params))


def images(n, d=D, k=K, seed=1):
    return jax.random.randint(jax.random.key(seed), (n, d), 0, k)


conditionals = jax.jit(jax.vmap(pc.conditionals, (None, 0)))
naive = jax.jit(jax.vmap(lambda circuit, x: pc.conditionals(circuit, x, naive=True), (None, 0)))


@pytest.mark.parametrize("parent", [PARENT, [-1, *range(11)], [-1] + [0] * 11])
def test_log_conditionals_sum_to_the_likelihood(parent):
    tree, params = circuit(parent)
    x = images(6)
    p = conditionals(pc.prepare(tree, params), x)  # [b, d, k]
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-5)
    chosen = np.take_along_axis(np.asarray(p), np.asarray(x)[:, tree.order][..., None], -1)
    expected = jax.vmap(hclt.hclt_loglik, (None, None, 0))(tree, params, x)
    np.testing.assert_allclose(np.log(chosen).sum((1, 2)), expected, atol=1e-4)


def test_partial_evaluation_equals_the_whole_circuit_and_its_derivative():
    tree, params = circuit()
    ready, x = pc.prepare(tree, params), images(3)
    found = conditionals(ready, x)
    np.testing.assert_allclose(found, naive(ready, x), atol=1e-5)
    by_derivative = jax.jit(hclt.conditional)
    for j, i in enumerate(tree.order):
        seen = jnp.zeros(D, bool).at[tree.order[:j]].set(True)
        np.testing.assert_allclose(found[0, j], by_derivative(tree, params, x[0], seen)[i], atol=1e-5)


def test_conditionals_against_enumeration():
    tree, params = circuit([1, -1, 1, 2])
    every = np.array(list(itertools.product(range(K), repeat=4)))
    p = np.exp(jax.vmap(hclt.hclt_loglik, (None, None, 0))(tree, params, jnp.asarray(every)))
    x = every[117]
    found = pc.conditionals(pc.prepare(tree, params), jnp.asarray(x))
    for j, i in enumerate(tree.order):
        same = (every[:, tree.order[:j]] == x[tree.order[:j]]).all(1)
        expected = [p[same & (every[:, i] == v)].sum() / p[same].sum() for v in range(K)]
        np.testing.assert_allclose(found[j], expected, atol=1e-5)


def test_the_shortcut_equals_the_full_path():
    tree, params = circuit()
    ready, x = pc.prepare(tree, params), images(1)[0]
    state = pc.initial_state(ready)
    evaluate = jax.jit(pc.partial_evaluate)
    conditional = jax.jit(pc.partial_conditional, static_argnames="shortcut")
    for i in tree.order:
        pair = [conditional(ready, state, i, shortcut=s) for s in (True, False)]
        np.testing.assert_allclose(*pair, atol=1e-5)
        state = evaluate(ready, state, i, x[i])


def test_a_padded_tree_gives_the_same_conditionals():
    tree, params = circuit()
    chain = tree_from_parents([-1, *range(11)])
    padded = jax.tree.map(lambda t: t[0], stack_trees([tree, chain]))
    x = images(2)
    for method in (conditionals, naive):
        found, expected = (method(pc.prepare(t, params), x) for t in (padded, tree))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_trees_are_padded_to_the_tables_that_are_asked_for():
    tree = tree_from_parents(PARENT)
    padded = stack_trees([tree], (9, 7, 8))
    assert (padded.nodes.shape, padded.path.shape) == ((1, 9, 7), (1, D, 8))
    assert stack_trees([tree], (1, 1, 1)).nodes.shape == (1, *tree.nodes.shape)
    x, params = images(2), circuit()[1]
    found, expected = (conditionals(pc.prepare(t, params), x) for t in (jax.tree.map(lambda t: t[0], padded), tree))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_messages_of_many_pixels_neither_underflow_nor_run_away():
    parent = [-1, *range(299)]
    tree, params = circuit(parent, k=32, h=2)
    p = pc.conditionals(pc.prepare(tree, params), images(1, 300, 32)[0])
    assert jnp.isfinite(p).all()
    assert (p > 0).all()


@pytest.mark.parametrize(("n", "lanes"), [(1, 1), (9, 1), (9, 4), (9, 9)])
def test_decoding_gives_back_every_image(n, lanes):
    tree, params = circuit()
    x = np.asarray(images(n))
    coder = pc.coder(tree, params, images=n, lanes=lanes)
    content = coder.encode(x)
    np.testing.assert_array_equal(coder.decode(content), x)
    bits = -jax.vmap(hclt.hclt_loglik, (None, None, 0))(tree, params, jnp.asarray(x)).sum() / np.log(2)
    assert bits - 1 <= 8 * len(content) <= bits + 0.01 * n * D + 40 * lanes


def test_images_that_the_model_finds_impossible_are_coded_all_the_same():
    tree, params = circuit()
    never = params._replace(emission=jnp.full_like(params.emission, 1e-12).at[:, 0].set(1.0))
    x = np.full((3, D), K - 1)
    coder = pc.coder(tree, never, images=3)
    np.testing.assert_array_equal(coder.decode(coder.encode(x)), x)


def test_paths_of_a_balanced_tree_are_short():
    x = np.random.default_rng(0).integers(0, 3, (400, 64))
    x[:, 1:] = np.where(np.random.default_rng(1).random((400, 63)) < 0.7, x[:, :-1], x[:, 1:])  # near a chain
    balanced = pc.operations(chow_liu_tree(x, shape="balanced"))
    centre = pc.operations(chow_liu_tree(x))
    assert balanced["partial"] <= balanced["path"] <= 7 < centre["path"] < balanced["naive"]
    star = pc.operations(tree_from_parents([-1, 0, 0]))
    assert star == {"partial": 1 + 1 / 3, "path": 1 + 2 / 3, "naive": 2 + 2 / 3}


def test_wrong_arguments_are_refused():
    tree, params = circuit()
    coder = pc.coder(tree, params, images=2)
    with pytest.raises(ValueError, match=r"x: expected integers \[2, 12\]"):
        coder.encode(np.zeros((3, D), int))
    with pytest.raises(ValueError, match="x: expected 0 to 3, got 0 to 4"):
        coder.encode(np.full((2, D), 4) * np.eye(2, D, dtype=int))
    with pytest.raises(ValueError, match="x: expected"):
        pc.conditionals(pc.prepare(tree, params), jnp.zeros(3, jnp.int32))
