"""VanillaNet-5 to -13: depths and parameters as published, their rates and their LAMB by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxzoo.vision.vanillanet import apply_deployed, apply_vanillanet, deploy, init_vanillanet
from jaxzoo.vision.vanillanet_recipes import EPOCH, RECIPES, lamb, scaled_by_layer, warmed_cosine

MILLIONS = {5: 15.5, 6: 32.5, 7: 32.8, 8: 37.1, 9: 41.4, 10: 45.7, 11: 50.0, 12: 54.3, 13: 58.6}
"""Parameters of the merged forms as published."""


@pytest.mark.parametrize("depth", RECIPES)
def test_sizes_are_the_published_ones(depth):
    recipe = RECIPES[depth]
    options = {"dims": recipe.dims, "strides": recipe.strides}
    flat = jax.eval_shape(lambda key: deploy(*init_vanillanet(key, **options)), jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(flat)) / 1e6 == pytest.approx(MILLIONS[depth], abs=0.05)
    assert 2 + len(flat["blocks"]) == depth  # stem, blocks, head
    x = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    logits = jax.eval_shape(lambda flat, x: apply_deployed(flat, x, strides=recipe.strides), flat, x)
    assert logits.shape == (2, 1000)
    assert int(np.prod(recipe.strides)) * 4 == 32  # 224 pixels become 7


@pytest.mark.parametrize("depth", RECIPES)
def test_small_ones_of_the_same_depth_merge(depth):
    recipe = RECIPES[depth]
    dims, strides = tuple(d // 512 + 1 for d in recipe.dims), recipe.strides
    n = int(depth == 5)  # the series merge in blocks of every kind there; without them the rest compiles faster
    init = lambda key: init_vanillanet(key, classes=5, dims=dims, strides=strides, n=n)  # noqa: E731
    shapes = jax.eval_shape(init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params, state = jax.tree.map(lambda x: rng.uniform(0.1, 0.9, x.shape).astype(x.dtype), shapes)
    x = rng.normal(size=(2, 32, 32, 3)).astype("float32")

    @jax.jit
    def both(params, state):
        trained, _ = apply_vanillanet(params, state, x, 1.0, strides=strides)
        return trained, apply_deployed(deploy(params, state), x, strides=strides)

    trained, merged = both(params, state)
    np.testing.assert_allclose(merged, trained, rtol=1e-3)


def test_the_rate_rises_for_five_epochs_and_falls():
    schedule = warmed_cosine(4e-3, 300 * EPOCH, 5 * EPOCH)
    assert EPOCH == 1251
    np.testing.assert_allclose([schedule(0), schedule(2.5 * EPOCH), schedule(5 * EPOCH)], [0, 2e-3, 4e-3], atol=1e-8)
    assert float(schedule(152.5 * EPOCH)) == pytest.approx((4e-3 + 1e-6) / 2, rel=1e-3)
    assert float(schedule(300 * EPOCH)) == pytest.approx(1e-6, rel=1e-2)


def test_a_step_of_lamb_by_hand():
    params = {"w": jnp.array([[3.0, 4.0]]), "b": jnp.array([1.0, 2.0])}
    gradient = {"w": jnp.array([[0.3, -0.4]]), "b": jnp.array([0.1, 0.0])}
    optimizer = lamb(optax.constant_schedule(0.1), 0.5)
    change, _ = jax.jit(optimizer.update)(gradient, optimizer.init(params), params)
    u = np.array([1 + 1.5, -1 + 2.0])  # Adam's first step is the sign
    np.testing.assert_allclose(change["w"][0], -0.1 * 5 / np.linalg.norm(u) * u, rtol=1e-5)
    np.testing.assert_allclose(change["b"], [-0.1, 0], rtol=1e-5)  # neither decay nor trust ratio


def test_gradients_are_cut_to_a_norm_of_one():
    params, optimizer = {"w": jnp.ones((1, 2))}, lamb(optax.constant_schedule(0.1), 0.0)
    run = jax.jit(lambda g: optimizer.update({"w": g}, optimizer.init(params), params)[1])
    moment = run(jnp.array([[30.0, 40.0]]))[1].mu["w"]
    np.testing.assert_allclose(moment, [[0.06, 0.08]], rtol=1e-5)


def test_early_layers_learn_more_slowly():
    ones = {"w": jnp.ones(1)}
    scaled = scaled_by_layer({"stem": ones, "blocks": [ones, ones], "head": ones}, 0.5)
    layers = scaled["stem"], *scaled["blocks"], scaled["head"]
    assert [float(layer["w"][0]) for layer in layers] == [0.125, 0.25, 0.5, 1]
