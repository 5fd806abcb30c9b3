"""VanillaNet: what merges is the same function, activations are what the formulas say, sizes are the paper's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from jaxzoo import ops
from jaxzoo.train import fit
from jaxzoo.vision.faded_training import faded_task, fading, mean_over
from jaxzoo.vision.residual_net import apply_residual_net, init_residual_net
from jaxzoo.vision.vanillanet import (
    apply_deployed,
    apply_vanillanet,
    deploy,
    fading_relu,
    init_series,
    init_vanillanet,
    merged,
    series_activation,
)

SMALL = {"channels": 2, "classes": 5, "dims": (6, 8, 8), "strides": (2, 1), "n": 1, "stem": 2}
STRIDES = SMALL["strides"]


def disturbed(tree, seed=0):
    """Every leaf moved at random, variances and scales away from 1, so that nothing is true by accident."""
    rng = np.random.default_rng(seed)
    move = lambda x: x if x.dtype == jnp.int32 else jnp.abs(x + 0.3 * rng.normal(size=x.shape).astype("float32")) + 0.1  # noqa: E731
    return jax.tree.map(move, tree)


def network(n=1, seed=0):
    params, state = init_vanillanet(jax.random.key(seed), **SMALL | {"n": n})
    return disturbed(params, 1), disturbed(state, 2)


def pictures(*shape):
    return jnp.asarray(np.random.default_rng(3).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_the_merged_network_is_the_trained_one_once_the_activations_have_faded(n):
    params, state = network(n)
    x = pictures(4, 8, 8, 2)
    trained, after = apply_vanillanet(params, state, x, 1.0, strides=STRIDES)
    np.testing.assert_allclose(apply_deployed(deploy(params, state), x, strides=STRIDES), trained, rtol=1e-4)
    jax.tree.map(np.testing.assert_array_equal, after, state)  # evaluation leaves the statistics alone
    half, _ = apply_vanillanet(params, state, x - 2, 0.5, strides=STRIDES)
    flat = apply_deployed(merged(params, state), x - 2, strides=STRIDES)
    assert not np.allclose(flat, half, rtol=1e-2)


@pytest.mark.parametrize("place", [(0, 0), (3, 7), (4, 4)])
def test_every_layer_merges_borders_included(place):
    """A single bright pixel, in a corner, at an edge, inside: the activations of one block, before the mean."""
    params, state = init_vanillanet(jax.random.key(0), **SMALL | {"dims": (6, 8), "strides": (1,)})
    params, state = disturbed(params, 1), disturbed(state, 2)
    x = jnp.zeros((8, 8, 2)).at[place].set(3.0)
    flat = deploy(params, state)

    def first_block(pair, x, window):
        y = ops.conv(x, pair["first"]["w"], stride=window, padding="VALID") + pair["first"]["b"][None, None]
        return y

    def staged(params, state, x, window):
        norm = lambda part, s, y: ops.batch_norm(y, part["scale"], part["bias"], s, train=False, eps=1e-6)[0]  # noqa: E731
        y = norm(params["first"]["norm"], state["first"], first_block(params, x, window))
        y = ops.conv(y, params["second"]["w"]) + params["second"]["b"][None, None]
        y = norm(params["second"]["norm"], state["second"], y)
        return series_activation(params["act"], state["act"], y, train=False)[0]

    def short(layer, x, window):
        y = ops.conv(x, layer["w"], stride=window, padding="VALID") + layer["b"][None, None]
        return (
            ops.conv(jax.nn.relu(y), layer["act"]["a"][:, :, None], groups=y.shape[-1]) + layer["act"]["b"][None, None]
        )

    stem = staged(params["stem"], state["stem"], x, 2)
    np.testing.assert_allclose(short(flat["stem"], x, 2), stem, rtol=1e-4)
    block = staged(params["blocks"][0], state["blocks"][0], stem, 1)
    np.testing.assert_allclose(short(flat["blocks"][0], stem, 1), block, rtol=1e-4)


def test_the_deployed_vanillanet_5_has_as_many_parameters_as_the_official_one():
    shapes = jax.eval_shape(lambda key: deploy(*init_vanillanet(key)), jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 15_523_304


def test_pooling_does_not_commute_but_the_pair_before_it_merges():
    x, w = pictures(2, 8, 8, 3), jnp.asarray(np.random.default_rng(0).normal(size=(1, 1, 3, 4)), jnp.float32)
    pool = partial(ops.max_pool, window=(2, 2))
    assert not np.allclose(pool(ops.conv(x, w)), ops.conv(pool(x), w))
    w2, zero = jnp.asarray(np.random.default_rng(1).normal(size=(1, 1, 4, 4)), jnp.float32), jnp.zeros(4)
    one, _ = ops.merge_pointwise(w, zero, w2, zero)
    np.testing.assert_allclose(pool(ops.conv(x, one)), pool(ops.conv(ops.conv(x, w), w2)), atol=1e-5)


def test_the_fading_relu_goes_from_relu_to_the_identity():
    x = pictures(50)
    np.testing.assert_array_equal(fading_relu(x, 0.0), jax.nn.relu(x))
    np.testing.assert_array_equal(fading_relu(x, 1.0), x)
    assert fading_relu(-2.0, 0.25) == -0.5
    assert jax.grad(fading_relu)(-2.0, 0.25) == 0.25
    np.testing.assert_allclose(fading_relu(x, 0.3), (1 - 0.3) * jax.nn.relu(x) + 0.3 * x, rtol=1e-6)


def test_lam_goes_linearly_to_one_and_stays_there():
    np.testing.assert_allclose(fading(jnp.arange(6), jnp.float32(4)), [0, 0.25, 0.5, 0.75, 1, 1])
    np.testing.assert_allclose(fading(jnp.arange(3), jnp.float32(0)), 1)
    np.testing.assert_allclose(fading(jnp.arange(7), jnp.float32(6), 3), [0, 0, 0, 0.5, 0.5, 0.5, 1])


@pytest.mark.parametrize(("offset", "n"), [((0, 0), 1), ((0, 1), 1), ((-1, 2), 2)])
def test_a_single_term_of_the_series_is_a_shifted_relu(offset, n):
    x = pictures(6, 6, 3)
    params, state = init_series(jax.random.key(0), 3, n)
    a = jnp.zeros_like(params["a"]).at[offset[0] + n, offset[1] + n].set(1.0)
    y, _ = series_activation(params | {"a": a}, state, x, train=False)
    padded = np.pad(jax.nn.relu(x), ((n, n), (n, n), (0, 0)))
    i, j = offset[0] + n, offset[1] + n
    np.testing.assert_allclose(y, padded[i : i + 6, j : j + 6] / np.sqrt(1 + 1e-6), atol=1e-6)


@pytest.mark.parametrize("n", [1, 3])
def test_the_series_is_a_grouped_convolution_of_the_relu(n):
    x = pictures(2, 9, 9, 4)
    params, state = (disturbed(tree) for tree in init_series(jax.random.key(0), 4, n))
    y, _ = series_activation(params, state, x, train=False)
    layout = ("NHWC", "HWIO", "NHWC")
    plain = lax.conv_general_dilated(
        jax.nn.relu(x), params["a"][:, :, None], (1, 1), "SAME", dimension_numbers=layout, feature_group_count=4
    )
    norm = params["norm"]
    expected, _ = ops.batch_norm(plain, norm["scale"], norm["bias"], state, train=False, eps=1e-6)
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_radius_0_differs_from_relu_by_the_scale_of_the_norm_alone():
    x = pictures(4, 5, 5, 3)
    params, state = init_series(jax.random.key(0), 3, 0)
    y, _ = series_activation(params, state, x, train=True)
    relu, _ = ops.batch_norm(jax.nn.relu(x), None, None, state, train=True, eps=1e-12)
    # The norm takes the size of a away, but for its eps beside the small variance of a relu(x).
    np.testing.assert_allclose(y, jnp.sign(params["a"][None]) * relu, rtol=2e-2, atol=1e-2)


def test_training_updates_the_statistics_and_jit_changes_nothing():
    params, state = init_vanillanet(jax.random.key(0), **SMALL)
    x = pictures(8, 8, 8, 2)
    run = partial(apply_vanillanet, strides=STRIDES, train=True)
    logits, after = run(params, state, x, 0.3)
    compiled, same = jax.jit(run)(params, state, x, 0.3)
    np.testing.assert_allclose(compiled, logits, atol=1e-4)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), same, after)
    assert all(s.count == 1 for s in jax.tree.leaves(after, is_leaf=lambda s: isinstance(s, ops.BatchState)))


def test_one_picture_alone_gives_what_it_gives_in_a_batch():
    params, state = network()
    x = pictures(3, 8, 8, 2)
    batch, _ = apply_vanillanet(params, state, x, 0.7, strides=STRIDES)
    alone = jax.vmap(lambda x: apply_vanillanet(params, state, x, 0.7, strides=STRIDES)[0])(x)
    np.testing.assert_allclose(alone, batch, rtol=1e-5)


def test_dropout_acts_where_there_is_a_key():
    params, state = network()
    x = pictures(3, 8, 8, 2)
    run = partial(apply_vanillanet, params, state, x, 1.0, strides=STRIDES, dropout=0.5)
    assert not np.allclose(run(key=jax.random.key(0))[0], run()[0])
    np.testing.assert_array_equal(run()[0], apply_vanillanet(params, state, x, 1.0, strides=STRIDES)[0])


def test_shortcuts_add_the_input_where_shapes_allow():
    params, state = network()
    silent = params["blocks"][1] | {"act": jax.tree.map(jnp.zeros_like, params["blocks"][1]["act"])}
    params = params | {"blocks": [params["blocks"][0], silent]}
    x = pictures(3, 8, 8, 2)
    through, _ = apply_vanillanet(params, state, x, 1.0, strides=STRIDES, shortcuts=True)
    without = params | {"blocks": params["blocks"][:1]}, state | {"blocks": state["blocks"][:1]}
    np.testing.assert_allclose(through, apply_vanillanet(*without, x, 1.0, strides=(2,))[0], rtol=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="strides: expected 2"):
        init_vanillanet(jax.random.key(0), dims=(4, 4, 4), strides=(2,))
    with pytest.raises(ValueError, match="lam: expected 1"):
        deploy(*network(), lam=0.99)


@pytest.mark.parametrize("tricks", [False, True])
def test_the_residual_network_halves_the_picture_in_every_stage(tricks):
    params, state = init_residual_net(jax.random.key(0), channels=2, classes=5, dims=(4, 6), tricks=tricks)
    x = pictures(4, 16, 16, 2)
    logits, after = jax.jit(partial(apply_residual_net, train=True))(params, state, x, 0.5)
    assert logits.shape == (4, 5)
    assert len(params["layers"]) == 5
    assert jax.tree.structure(after) == jax.tree.structure(state)
    alone = jax.vmap(lambda x: apply_residual_net(params, state, x, 0.5)[0])(x)
    np.testing.assert_allclose(alone, apply_residual_net(params, state, x, 0.5)[0], atol=1e-5)


def test_training_with_fading_and_an_average_learns():
    x = pictures(64, 8, 8, 2)
    y = (x[:, :4].mean((1, 2, 3)) > x[:, 4:].mean((1, 2, 3))).astype(int)
    options = SMALL | {"classes": 2}
    loss = lambda logits, y: optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()  # noqa: E731

    task = faded_task(
        partial(init_vanillanet, **options),
        partial(apply_vanillanet, strides=STRIDES),
        lambda key: (x, y),
        optax.adam(1e-2),
        loss,
        evaluate=lambda params, batch, lam: {"lam": lam},
    )
    trained = fit(task, jax.random.key(0), 60, jnp.float32(30))
    assert trained.history["loss"][-5:].mean() < 0.5 * trained.history["loss"][:5].mean()
    assert trained.history["lam"][15] == 0.5
    assert trained.evaluations["lam"][-1] == 1
    jax.tree.map(np.testing.assert_array_equal, trained.state.average, (trained.state.params, trained.state.batch))


def test_the_average_follows_parameters_and_statistics_and_takes_counts_as_they_are():
    def apply(params, batch, x, lam, *, train, key):
        return x * params, {"mean": batch["mean"] + x, "count": batch["count"] + 1}

    init = lambda key: (jnp.float32(1), {"mean": jnp.float32(0), "count": jnp.int32(0)})  # noqa: E731
    sampler = lambda key: (jnp.float32(2), jnp.float32(0))  # noqa: E731
    task = faded_task(init, apply, sampler, optax.sgd(0.25), lambda y, target: y, decay=0.9, parts=3)
    state = fit(task, jax.random.key(0), 2, jnp.float32(0)).state
    assert state.params == 0  # 1, 0.5, 0
    assert float(state.average[0]) == pytest.approx(0.9 * (0.9 + 0.1 * 0.5))
    assert state.batch == {"mean": 4, "count": 2}
    assert float(state.average[1]["mean"]) == pytest.approx(0.9 * 0.2 + 0.1 * 4)
    assert state.average[1]["count"] == 2


def test_parts_of_an_update_are_averaged_and_whole_numbers_kept():
    part = lambda i: {"x": jnp.float32(i) ** 2, "n": jnp.int32(7)}  # noqa: E731
    found = jax.jit(lambda: mean_over(part, 4))()
    assert (float(found["x"]), int(found["n"])) == ((0 + 1 + 4 + 9) / 4, 7)


def test_computing_blocks_again_changes_nothing():
    params, state = init_vanillanet(jax.random.key(0), channels=2, classes=3, dims=(4,), strides=(), n=1, stem=2)
    x = pictures(4, 4, 4, 2)

    def gradient(remat):
        loss = lambda p: apply_vanillanet(p, state, x, 0.3, strides=(), remat=remat)[0].sum()  # noqa: E731
        return jax.jit(jax.grad(loss))(params)

    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), gradient(True), gradient(False))
