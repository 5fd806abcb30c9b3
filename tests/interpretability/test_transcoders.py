"""Transcoders: substitution is exact where it should be, baselines are what they say, weights are read rightly."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxzoo.interpretability import transcoders as tc
from jaxzoo.interpretability.hosts import Host, SequentialBlock
from jaxzoo.interpretability.mlp_substitutes import SUBSTITUTES, at_matched_l0, interpolate, substitute_losses
from jaxzoo.interpretability.sparse_dictionaries import Dictionary, init_dictionary, sparse_mlp
from jaxzoo.layers import MLP
from jaxzoo.transforms import as_model

V, D, T, F, B = 13, 8, 6, 20, 3


@pytest.fixture(scope="module")
def host():
    module = Host(V, D, 2, 2)
    key_host, key_text = jax.random.split(jax.random.key(0))
    tokens = jax.random.randint(key_text, (B, T + 1), 0, V)
    return module, as_model(module).init(key_host, tokens[0]), tokens[:, :-1], tokens[:, 1:]


def loss(apply, params, tokens, targets):
    logits = jax.vmap(apply, (None, 0))(params, tokens)
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


@pytest.mark.parametrize("layer", [0, 1])
def test_the_exact_mlp_in_its_own_place_changes_nothing(host, layer):
    module, params, tokens, targets = host
    mlp = as_model(MLP((4 * D, D)))
    own = params[f"block_{layer}"]["mlp"]
    from_input = tc.substitute(module, layer, lambda x, m: mlp.apply(own, x))
    from_output = tc.substitute(module, layer, lambda x, m: m)
    plain = loss(as_model(module).apply, params, tokens, targets)
    np.testing.assert_allclose(loss(from_input, params, tokens, targets), plain, rtol=1e-6)
    np.testing.assert_allclose(loss(from_output, params, tokens, targets), plain, rtol=1e-6)


def test_zeros_in_its_place_are_an_mlp_without_output(host):
    module, params, tokens, targets = host
    zeros = tc.substitute(module, 1, lambda x, m: jnp.zeros_like(m))
    block = params["block_1"]
    silent = block["mlp"] | {"dense_1": jax.tree.map(jnp.zeros_like, block["mlp"]["dense_1"])}
    ablated = params | {"block_1": block | {"mlp": silent}}
    expected = loss(as_model(module).apply, ablated, tokens, targets)
    np.testing.assert_allclose(loss(zeros, params, tokens, targets), expected, rtol=1e-6)
    assert abs(expected - loss(as_model(module).apply, params, tokens, targets)) > 1e-4


def test_recovered_loss():
    found = tc.recovered_loss(jnp.array([1.0, 2.0, 1.1]), 1.0, 2.0)
    np.testing.assert_allclose(found, [1, 0, 0.9], rtol=1e-6)


def test_a_host_has_the_residual_and_the_sequential_block_only_the_mlp():
    for block, way_around in ((Host(V, D, 1, 2).block, True), (SequentialBlock, False)):
        module = Host(V, D, 1, 2, block, 5)
        params = as_model(module).init(jax.random.key(1), jnp.zeros(T, jnp.int32))
        silent = tc.substitute(module, 0, lambda x, m: jnp.zeros_like(m))
        logits = silent(params, jnp.arange(T))
        assert logits.shape == (T, 5)
        assert (jnp.abs(logits).max() > 0) == way_around


def test_neurons_are_kept_by_activation_times_row():
    hidden, rows = jnp.array([1.0, -2.0, 3.0]), jnp.array([[10.0, 0.0], [0.0, 4.0], [1.0, 0.0]])
    np.testing.assert_allclose(tc.keep_neurons(hidden, rows, 1), [10, 0])
    np.testing.assert_allclose(tc.keep_neurons(hidden, rows, 2), [10, -8])
    np.testing.assert_allclose(tc.keep_neurons(hidden, rows, 3), hidden @ rows)


def test_features_that_are_not_kept_are_zero():
    x = jax.random.normal(jax.random.key(0), (32, D))
    params = init_dictionary(jax.random.key(1), x, x, F)
    out, z = sparse_mlp(params, x[0])
    np.testing.assert_allclose(tc.keep_features(params, x[0], jnp.ones(F, bool)), out, atol=1e-6)
    np.testing.assert_allclose(tc.keep_features(params, x[0], jnp.zeros(F, bool)), params.b_out, atol=1e-6)
    one = int(z.argmax())
    expected = z[one] * params.W_dec[one] + params.b_out
    np.testing.assert_allclose(tc.keep_features(params, x[0], jnp.arange(F) == one), expected, atol=1e-6)


def test_the_random_dictionary_is_least_squares():
    x = jax.random.normal(jax.random.key(0), (200, D))
    target = jnp.sin(x)
    params = tc.random_dictionary(jax.random.key(1), x, target, F, 5, ridge=1e-6)
    _, z = jax.vmap(tc.top_sparse_mlp, (None, 0, None))(params, x, 5)
    assert ((z > 0).sum(1) <= 5).all()
    best, *_ = np.linalg.lstsq(
        np.asarray(z, np.float64), np.asarray(target - params.b_out[None], np.float64), rcond=None
    )
    np.testing.assert_allclose(z @ params.W_dec, z @ best, atol=2e-3)


def test_the_de_embedding_is_the_first_layers_pre_activation_without_context():
    key_e, key_w, key_g = jax.random.split(jax.random.key(0), 3)
    embedding, encoder = jax.random.normal(key_e, (V, D)), jax.random.normal(key_w, (D, F))
    gain = jax.random.uniform(key_g, (D,))
    expected = [[sum(e[i] * gain[i] * encoder[i, j] for i in range(D)) for j in range(3)] for e in embedding[:2]]
    np.testing.assert_allclose(tc.de_embedding(embedding, encoder, gain)[:2, :3], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="encoder: expected"):
        tc.de_embedding(embedding, encoder.T)


def test_mean_activations_and_overlap():
    z, tokens = jnp.array([[1.0], [3.0], [5.0], [0.0]]), jnp.array([2, 2, 0, 1])
    means, counts = tc.mean_activations(z, tokens, 4)
    np.testing.assert_allclose(means[:, 0], [5, 0, 2, 0])
    np.testing.assert_array_equal(counts, [1, 1, 2, 0])
    every, observed = jnp.ones(5, bool), jnp.array([5.0, 4.0, 3.0, 2.0, 1.0])
    predicted = jnp.array([9.0, 1.0, 8.0, 0.0, 0.0])
    np.testing.assert_allclose(tc.top_overlap(predicted, observed, every, 2), 0.5)
    np.testing.assert_allclose(tc.top_overlap(predicted, observed, every.at[1].set(False), 2), 1.0)
    np.testing.assert_allclose(tc.top_overlap(predicted, observed * (jnp.arange(5) == 0), every, 2), 1.0)
    np.testing.assert_allclose(tc.top_overlap(predicted, jnp.zeros(5), every, 2), 0.0)


def test_a_feature_that_reads_one_token_is_read_from_the_weights(host):
    module, params, tokens, _ = host
    embedding, gain = params["embed"]["embedding"], params["block_0"]["norm_mlp"]["scale"]
    encoder = jnp.linalg.pinv(embedding * gain[None])[:, :4]  # feature j for token j
    dictionary = Dictionary(jnp.zeros(D), encoder, jnp.zeros(4), jnp.eye(4, D), jnp.zeros(D))
    found = tc.reading_precision(module, params, dictionary, tokens, jax.random.key(0), seen=1, k=1)
    assert 0 <= found["precision permuted"] <= 1
    assert found["precision"] >= 0.5
    assert found["counted"] == len(np.unique(tokens))


def test_losses_with_substitutes(host):
    module, params, tokens, targets = host
    x = jax.random.normal(jax.random.key(0), (64, D))
    stack = jax.vmap(init_dictionary, (0, None, None, None))(jax.random.split(jax.random.key(1), 4), x, x, F)
    run = jax.jit(lambda params, stack: substitute_losses(
        module, params, 1, stack, (tokens, targets), (x, x), jax.random.key(2), (2, 4 * D)
    ))  # fmt: skip
    found = run(params, stack)
    np.testing.assert_allclose(found["loss host"], found["loss host unchanged"], rtol=1e-6)
    np.testing.assert_allclose(found["loss neurons"][1], found["loss host"], rtol=1e-5)  # all neurons are the MLP
    assert [found[f"loss {kind}"].shape for kind in SUBSTITUTES] == [(2,)] * 4
    second = tc.substitute(
        module, 1, lambda x, m: jax.vmap(lambda m: sparse_mlp(jax.tree.map(lambda p: p[3], stack), m)[0])(m)
    )
    np.testing.assert_allclose(found["loss autoencoder"][1], loss(second, params, tokens, targets), rtol=1e-5)


def test_losses_at_matched_l0_are_read_between_the_points():
    one = (np.array([100.0, 1.0, 10.0]), np.array([1.0, 3.0, 2.0]))  # 3 - log10 L0, in any order
    other = (np.array([4.0, 400.0]), np.array([0.0, 2.0]))  # log10 (L0 / 4)
    np.testing.assert_allclose(interpolate(*one, np.array([1, 10**0.5, 1000.0])), [3, 2.5, 1])
    found = at_matched_l0(one, other, fractions=(0.0, 0.5, 1.0))  # L0 4, 20, 100
    np.testing.assert_allclose(found, [3 - np.log10([4, 20, 100]), np.log10([1, 5, 25])])
    assert np.isnan(at_matched_l0(one, (np.array([200.0, 300.0]), np.ones(2)))).all()
