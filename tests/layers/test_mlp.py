"""MLP and SwiGLU against their formulas in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.layers import MLP, SwiGLU
from jaxzoo.transforms import as_model


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_mlp_is_dense_layers_with_activations_between():
    model, x = as_model(MLP((5, 4, 2), activation=jnp.tanh)), draw(3)
    params = model.init(jax.random.key(0), x)
    assert list(params) == ["dense_0", "dense_1", "dense_2"]
    params = jax.tree.map(lambda p: p + 0.1, params)  # biases away from 0
    h = np.float64(x)
    for i in range(3):
        layer = params[f"dense_{i}"]
        h = (np.tanh(h) if i else h) @ np.float64(layer["kernel"]) + np.float64(layer["bias"])
    np.testing.assert_allclose(model.apply(params, x), h, rtol=1e-5)


def test_mlp_without_biases_has_none():
    params = as_model(MLP((5, 2), use_bias=False)).init(jax.random.key(0), draw(3))
    assert jax.tree.map(jnp.shape, params) == {"dense_0": {"kernel": (3, 5)}, "dense_1": {"kernel": (5, 2)}}


@pytest.mark.parametrize("module", [MLP((5, 2)), SwiGLU(hidden=5)])
def test_leading_axes_are_a_loop(module):
    model, x = as_model(module), draw(2, 4, 3)
    params = model.init(jax.random.key(0), x)
    loop = jnp.stack([jnp.stack([model.apply(params, token) for token in row]) for row in x])
    np.testing.assert_allclose(model.apply(params, x), loop, rtol=1e-5, atol=1e-6)


def test_swiglu_is_its_formula():
    model, x = as_model(SwiGLU(hidden=5)), draw(3)
    params = model.init(jax.random.key(0), x)
    gate, up, down = (np.float64(params[name]["kernel"]) for name in ("gate", "up", "down"))
    a = np.float64(x) @ gate
    want = (a / (1 + np.exp(-a)) * (np.float64(x) @ up)) @ down
    np.testing.assert_allclose(model.apply(params, x), want, rtol=1e-5, atol=1e-6)
    assert all(set(layer) == {"kernel"} for layer in params.values())


@pytest.mark.parametrize(("features", "hidden"), [(1, 8), (3, 8), (48, 128), (64, 168), (96, 256)])
def test_swiglu_is_eight_thirds_wide_by_default(features, hidden):
    shapes = jax.eval_shape(as_model(SwiGLU()).init, jax.random.key(0), jnp.ones(features))
    assert shapes["gate"]["kernel"].shape == (features, hidden)


@pytest.mark.parametrize("module", [MLP((5, 2)), SwiGLU(hidden=5)])
def test_bfloat16_parameters_and_input_give_bfloat16(module):
    model, x = as_model(module), draw(3).astype(jnp.bfloat16)
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), model.init(jax.random.key(0), x))
    assert model.apply(params, x).dtype == jnp.bfloat16
