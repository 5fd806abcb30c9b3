"""Trees: splits equal those of a peer and of slow references, forced and refused splits, fixed shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.agents import trees

CATS = (0, 0, 4, 3)
STATIC = ("cats", "n_bins", "depth", "score", "min_data", "grid")
oblivious = jax.jit(trees.tree_fit_oblivious, static_argnames=[name for name in STATIC if name != "min_data"])
greedy = jax.jit(trees.tree_fit_greedy, static_argnames=STATIC)
FITS = {"oblivious": oblivious, "greedy": greedy}
candidates = jax.jit(trees.split_candidates, static_argnames=("cats", "n_bins", "grid"))
predict = jax.jit(trees.tree_predict)


def batch(n=60, d=3, seed=0):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(size=(n, 2)), rng.integers(0, 4, (n, 1)), rng.integers(0, 3, (n, 1))], axis=1)
    return jnp.asarray(x, jnp.float32), jnp.asarray(rng.normal(size=(n, d)), jnp.float32)


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize("seed", range(3))
def test_a_stump_on_all_midpoints_is_that_of_scikit_learn(fit, seed):
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(40, 3)).astype(np.float32), rng.normal(size=40).astype(np.float32)
    peer = DecisionTreeRegressor(max_depth=1).fit(x, y)
    ours = fit(jnp.asarray(x), (0, 0, 0), jnp.asarray(-y)[:, None], n_bins=39, depth=1)
    assert ours.feature[0] == peer.tree_.feature[0]
    np.testing.assert_allclose(ours.threshold[0], peer.tree_.threshold[0], rtol=1e-6)
    np.testing.assert_allclose(predict(ours, jnp.asarray(x))[:, 0], -peer.predict(x), atol=1e-6)


def standardised(g):
    g = np.asarray(g, np.float64)
    return (g - g.mean(0)) / g.std(0)


def slow_scores(x, g, feature, threshold, is_cat, cosine):
    """One node, one split, in float64: the definitions, not their simplification."""
    g = np.asarray(g, np.float64)
    right = np.asarray(x)[:, feature] == threshold if is_cat else np.asarray(x)[:, feature] > threshold
    sides = [g[side] for side in (right, ~right) if side.any()]
    squares = sum(len(side) * (side.mean(0) ** 2).sum() for side in sides)
    products = sum((side @ side.mean(0)).sum() for side in sides)
    return products / np.sqrt(squares) if cosine else squares


@pytest.mark.parametrize("cosine", [False, True])
def test_scores_are_their_definitions_and_cosine_is_the_root_of_l2(cosine):
    x, g = batch()
    options = candidates(x, CATS, g, 5)
    right = trees.sides(options, x)
    node = jnp.zeros(len(x), jnp.int32)
    scores, parent, count = jax.jit(trees.level_scores, static_argnums=(3, 4))(
        right, node, g, 1, "cosine" if cosine else "l2"
    )
    expected = [
        slow_scores(x, g, *(np.asarray(a)[i] for a in options[:3]), cosine) for i in range(len(options.feature))
    ]
    np.testing.assert_allclose(scores[0], expected, rtol=1e-5)
    np.testing.assert_array_equal(count[0].sum(0), len(x))
    whole = len(x) * float(jnp.square(g.mean(0)).sum())
    np.testing.assert_allclose(parent[0], np.sqrt(whole) if cosine else whole, rtol=1e-5)
    if cosine:
        l2, _, _ = trees.level_scores(right, node, g, 1, "l2")
        np.testing.assert_allclose(scores, jnp.sqrt(l2), rtol=1e-6)


def slow_oblivious(x, g, options, depth):
    """Level by level, candidate by candidate; the splits and every sample's leaf."""
    x, seen = np.asarray(x), standardised(g)
    feature, threshold, is_cat, valid = (np.asarray(a) for a in options)
    node, chosen = np.zeros(len(x), int), []
    for _ in range(depth):
        totals = np.full(len(feature), -np.inf)
        for i in np.flatnonzero(valid):
            if i not in chosen:
                inside = [node == k for k in np.unique(node)]
                totals[i] = sum(slow_scores(x[m], seen[m], feature[i], threshold[i], is_cat[i], False) for m in inside)
        best = int(totals.argmax())
        column = x[:, feature[best]]
        node = 2 * node + (column == threshold[best] if is_cat[best] else column > threshold[best])
        chosen.append(best)
    return chosen, node


def test_an_oblivious_tree_is_that_of_a_slow_search():
    x, g = batch()
    options = candidates(x, CATS, g, 5)
    tree = oblivious(x, CATS, g, 5, 3)
    chosen, leaf = slow_oblivious(x, np.asarray(g), options, 3)
    np.testing.assert_array_equal(tree.feature, np.asarray(options.feature)[chosen])
    np.testing.assert_array_equal(tree.threshold, np.asarray(options.threshold)[chosen])
    np.testing.assert_array_equal(trees.leaf_index(tree, x), leaf)
    for k in np.unique(leaf):
        np.testing.assert_allclose(tree.values[k], np.asarray(g)[leaf == k].mean(0), atol=1e-6)


def slow_greedy(x, g, seen, options, depth, used=()):
    """Depth first, by recursion: what every sample of this node is told."""
    feature, threshold, is_cat, valid = (np.asarray(a) for a in options)
    scores = np.full(len(feature), -np.inf)
    for i in np.flatnonzero(valid):
        if depth and i not in used:
            right = x[:, feature[i]] == threshold[i] if is_cat[i] else x[:, feature[i]] > threshold[i]
            if min(right.sum(), (~right).sum()) >= 3:
                scores[i] = slow_scores(x, seen, feature[i], threshold[i], is_cat[i], False)
    best = int(scores.argmax())
    if not scores[best] > len(x) * (seen.mean(0) ** 2).sum() * (1 + 1e-6):
        return np.tile(g.mean(0), (len(x), 1))
    right = x[:, feature[best]] == threshold[best] if is_cat[best] else x[:, feature[best]] > threshold[best]
    out = np.empty_like(g)
    for side in (right, ~right):
        out[side] = slow_greedy(x[side], g[side], seen[side], options, depth - 1, (*used, best))
    return out


def test_a_greedy_tree_is_that_of_a_recursion_depth_first():
    x, g = batch(40)
    options = candidates(x, CATS, g, 5)
    tree = greedy(x, CATS, g, 5, 4, min_data=3)
    seen = standardised(g)
    expected = slow_greedy(np.asarray(x), np.asarray(g, np.float64), seen, options, 4)
    np.testing.assert_allclose(predict(tree, x), expected, atol=1e-5)


def xor():
    x = jnp.asarray([[0, 0], [0, 1], [1, 0], [1, 1]] * 3, jnp.float32)
    return x, jnp.where(x.sum(1) == 1, 1.0, -1.0)[:, None]


@pytest.mark.parametrize("score", trees.SCORES)
def test_on_xor_forced_splits_find_what_a_greedy_tree_does_not(score):
    x, g = xor()
    tree = oblivious(x, (2, 2), g, depth=2, score=score)
    assert tree.gain[0] == 0
    assert tree.gain[1] > 1
    np.testing.assert_array_equal(predict(tree, x), g)
    stopped = greedy(x, (2, 2), g, depth=2, score=score)
    assert np.isinf(stopped.threshold).all()
    np.testing.assert_array_equal(predict(stopped, x), jnp.zeros_like(g))


def test_duplicates_among_the_quantiles_are_masked_and_the_shape_stays():
    x = jnp.asarray([[0.1]] * 6 + [[0.7]] * 2)
    options = candidates(x, (0,), jnp.ones((8, 1)), 4)
    np.testing.assert_array_equal(options.threshold, jnp.float32([0.1, 0.1, 0.1, 0.7]))
    np.testing.assert_array_equal(options.valid, [True, False, False, True])


def test_an_even_grid():
    options = candidates(jnp.asarray([[0.0], [1.0], [4.0]]), (0,), jnp.ones((3, 1)), 2, grid=True)
    np.testing.assert_allclose(options.threshold, [1.0, 3.0])


def test_too_many_categories_leave_those_with_the_largest_gradients():
    x = jnp.arange(12.0)[:, None] % 6
    g = jnp.asarray([1.0, 5.0, 2.0, 0.0, 4.0, 3.0] * 2)[:, None]
    options = candidates(x, (6,), g, 2)
    assert set(np.asarray(options.threshold).tolist()) == {1.0, 4.0}
    assert options.is_cat.all()


def test_fewer_samples_in_a_child_than_min_data_refuse_the_split():
    x = jnp.arange(10.0)[:, None]
    g = jnp.where(x == 9, 10.0, 0.0)
    split = greedy(x, (0,), g, 9, 1, min_data=1)
    np.testing.assert_allclose(split.threshold, [8.5])
    assert greedy(x, (0,), g, 9, 1, min_data=2).threshold[0] != 8.5
    assert np.isinf(greedy(x, (0,), g, 9, 1, min_data=6).threshold).all()


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_compiled_and_mapped_trees_are_the_same(fit):
    x, g = batch()
    both = jnp.stack([g, -2 * g[::-1]])
    mapped = jax.jit(jax.vmap(lambda g: fit(x, CATS, g, 5, 3)))(both)
    for i in range(2):
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, atol=1e-5), mapped, fit(x, CATS, both[i], 5, 3)
        )


def test_bad_input_is_refused():
    x, g = batch()
    for fit in FITS.values():
        with pytest.raises(ValueError, match=r"x: expected \[n, 2\]"):
            fit(x, (0, 0), g)
        with pytest.raises(ValueError, match=r"g: expected \[60, d\]"):
            fit(x, CATS, g[:5])
        with pytest.raises(ValueError, match="score"):
            fit(x, CATS, g, score="gini")
        with pytest.raises(ValueError, match="depth"):
            fit(x, CATS, g, depth=0)
