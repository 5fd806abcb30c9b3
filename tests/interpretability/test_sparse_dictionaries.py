"""Sparse dictionaries: the layer is an MLP, the loss is what it says, rows of the decoder stay at length 1."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxzoo.interpretability import sparse_dictionaries as sd
from jaxzoo.layers import MLP
from jaxzoo.train import fit
from jaxzoo.transforms import as_model

D, F, B = 6, 20, 64


def sample(seed=0, out=D):
    key_x, key_m = jax.random.split(jax.random.key(seed))
    x = jax.random.normal(key_x, (B, D))
    return x, jnp.tanh(x @ jax.random.normal(key_m, (D, out))) + 0.5


def dictionary(seed=1, width=F):
    return sd.init_dictionary(jax.random.key(seed), *sample(), width)


def test_with_the_weights_of_a_relu_mlp_it_is_that_mlp():
    mlp = as_model(MLP((F, D), jax.nn.relu, kernel_init=jax.nn.initializers.normal()))
    x, _ = sample()
    params = mlp.init(jax.random.key(0), x[0])
    params = jax.tree.map(lambda p: p + 0.1, params)  # biases that are not zero
    first, second = params["dense_0"], params["dense_1"]
    copied = sd.Dictionary(jnp.zeros(D), first["kernel"], first["bias"], second["kernel"], second["bias"])
    out, z = jax.vmap(sd.sparse_mlp, (None, 0))(copied, x)
    np.testing.assert_allclose(out, mlp.apply(params, x), atol=1e-6)
    hidden = x @ first["kernel"] + first["bias"][None]
    assert sd.l0(z) == (np.asarray(hidden) > 0).sum(1).mean()


def test_the_loss_by_hand():
    out, target, z = jnp.array([1.0, 2.0]), jnp.array([3.0, -4.0]), jnp.array([0.0, 1.5, 2.0])
    expected = (4 + 36) / 2 / 5 + 0.1 * 3.5
    np.testing.assert_allclose(sd.dictionary_loss(out, target, z, 0.1), expected, rtol=1e-6)
    gradient = jax.grad(lambda out: sd.dictionary_loss(out, jnp.zeros(2), z, 0.0))(jnp.zeros(2))
    assert jnp.isfinite(gradient).all()


def test_a_new_dictionary_has_unit_rows_and_the_means_as_biases():
    x, target = sample(out=3)
    params = sd.init_dictionary(jax.random.key(0), x, target, F)
    np.testing.assert_allclose(jnp.linalg.norm(params.W_dec, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(params.b_in, np.asarray(x).mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(params.b_out, np.asarray(target).mean(0), rtol=1e-5, atol=1e-6)
    assert jax.tree.map(jnp.shape, params) == sd.Dictionary((D,), (D, F), (F,), (F, 3), (3,))
    assert jnp.abs(params.W_enc).max() <= np.sqrt(6 / D)


def test_the_projected_gradient_is_orthogonal_to_every_row_and_else_the_same():
    params = dictionary()
    x, target = sample()

    def loss(params):
        out, z = jax.vmap(sd.sparse_mlp, (None, 0))(params, x)
        return jax.vmap(sd.dictionary_loss, (0, 0, 0, None))(out, target, z, 0.1).mean()

    gradient = jax.grad(loss)(params)
    projected = sd.project_gradient(gradient, params)
    np.testing.assert_allclose((projected.W_dec * params.W_dec).sum(1), 0, atol=1e-6)
    rows = np.asarray(params.W_dec, np.float64)
    by_hand = [g - (g @ w) * w for g, w in zip(np.asarray(gradient.W_dec, np.float64), rows, strict=True)]
    np.testing.assert_allclose(projected.W_dec, by_hand, atol=1e-6)
    np.testing.assert_array_equal(projected.W_enc, gradient.W_enc)


def task(sparsity, rate=1e-2):
    x, target = sample()
    n = len(sparsity)
    pairs = lambda key, offset: (jnp.stack([x] * n) + offset, jnp.stack([target] * n))  # noqa: E731
    return sd.train_dictionary(pairs, F, sparsity, optax.adam(rate))


def test_rows_stay_at_length_1_and_the_loss_falls():
    trained = fit(task([0.0, 1e-3]), jax.random.key(0), 100, jnp.float32(0))
    np.testing.assert_allclose(jnp.linalg.norm(trained.state.params.W_dec, axis=-1), 1, rtol=1e-5)
    assert trained.history["loss"][-1] < 0.3 * trained.history["loss"][0]


def test_side_by_side_equals_one_by_one():
    together = fit(task([1e-3, 1e-2]), jax.random.key(0), 20, jnp.float32(0)).state.params
    alone = fit(task([1e-2]), jax.random.key(0), 20, jnp.float32(0)).state.params
    for both, one in zip(together, alone, strict=True):
        np.testing.assert_allclose(both[1], one[0], atol=1e-5)


def test_with_a_large_penalty_nothing_fires_and_the_mean_is_the_output():
    x, target = sample()
    params = fit(task([30.0], 3e-2), jax.random.key(0), 400, jnp.float32(0)).state.params
    out, z = jax.vmap(sd.sparse_mlp, (None, 0))(jax.tree.map(lambda p: p[0], params), x)
    assert sd.l0(z) == 0
    np.testing.assert_array_equal(out, jnp.broadcast_to(params.b_out[0][None], out.shape))
    # The loss divides by |target|, so the bias ends at a weighted mean: near the mean, and its error near the variance.
    error, variance = jnp.square(out - target).mean(), jnp.square(target - target.mean(0, keepdims=True)).mean()
    np.testing.assert_allclose(error, variance, rtol=0.1)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"x: expected \[6\]"):
        sd.sparse_mlp(dictionary(), jnp.zeros(D + 1))
    with pytest.raises(ValueError, match=r"sparsity: expected \[n\]"):
        sd.train_dictionary(lambda key: (jnp.zeros((1, B, D)),) * 2, F, 0.1, optax.adam(1e-3))
    bad = sd.train_dictionary(lambda key: (jnp.zeros((1, B, D)),) * 2, F, [0.1, 0.2], optax.adam(1e-3))
    with pytest.raises(ValueError, match="one for each row"):
        bad.init(jax.random.key(0))
