"""The greater-than task: its examples, its score, and what its circuit is measured by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxzoo.interpretability import greater_than as gt
from jaxzoo.interpretability.hosts import Host, SequentialBlock
from jaxzoo.interpretability.sparse_dictionaries import init_dictionary
from jaxzoo.transforms import as_model, capture

N, D, F = 8, 8, 12


def test_examples_are_greater():
    tokens, c = jax.vmap(lambda key: gt.greater_than(key, N))(jax.random.split(jax.random.key(0), 400))
    assert (c > tokens[:, 1]).all()
    assert (c.max(), tokens[:, 1].max()) == (N - 1, N - 2)
    assert set(np.unique(tokens[:, 0])) == set(range(N))
    assert (tokens[:, 2] == N).all()
    questions = gt.all_questions(N)
    assert len(np.unique(questions, axis=0)) == len(questions) == N * (N - 1)


def test_the_score():
    logits = jnp.log(jnp.array([0.1, 0.2, 0.3, 0.4]))
    np.testing.assert_allclose(gt.probability_difference(logits, 1), 0.7 - 0.3, rtol=1e-5)


def test_the_effect_on_greater_numbers_is_the_gradient_of_the_mean_logit_difference():
    key_w, key_u, key_g, key_z = jax.random.split(jax.random.key(0), 4)
    decoder, unembedding = jax.random.normal(key_w, (F, D)), jax.random.normal(key_u, (D, N))
    gain, z = jax.random.normal(key_g, (D,)), jax.random.uniform(key_z, (F,))

    def difference(z):
        logits = (z @ decoder * gain) @ unembedding
        return logits[4:].mean() - logits[:4].mean()

    effects = gt.direct_logit_effect(decoder, unembedding, gain)
    np.testing.assert_allclose(gt.greater_effect(effects, z, 3), jax.grad(difference)(z) * z, rtol=1e-4, atol=1e-5)


def test_spearman_is_scipys():
    x, y = jax.random.normal(jax.random.key(0), (2, 20))
    np.testing.assert_allclose(gt.spearman(x, y), stats.spearmanr(x, y).statistic, atol=1e-6)


def test_random_subsets_are_of_active_features():
    active = jnp.arange(F) % 2 == 0
    sets = gt.random_subsets(jax.random.key(0), active, 4, 30)
    assert (sets.sum(1) == 4).all()
    assert not (sets & ~active[None]).any()
    assert len(np.unique(sets, axis=0)) > 5
    assert (gt.random_subsets(jax.random.key(0), active, 100, 2) == active[None]).all()


@pytest.fixture(scope="module")
def host():
    module = Host(N + 1, D, 1, 2, SequentialBlock, N)
    params = as_model(module).init(jax.random.key(0), jnp.zeros(3, jnp.int32))
    x = jax.random.normal(jax.random.key(1), (64, D))
    return module, params, init_dictionary(jax.random.key(2), x, x, F)


def test_the_de_embedding_through_heads_is_what_attention_moves(host):
    _, params, dictionary = host
    block = params["block_0"]
    x = jax.random.normal(jax.random.key(3), (3, D))  # stands for three embeddings, of which the last place sees one
    value, output = block["mixer"]["v"]["kernel"], block["mixer"]["o"]["kernel"]
    pattern, gain = jnp.array([0.25, 0.5]), jnp.full(D, 2.0)
    found = gt.de_embedding_through_heads(x, pattern, value, output, gain, jnp.ones(D), dictionary.W_enc)
    by_head = [pattern[h] * (2 * x) @ value[:, h] @ output[h] @ dictionary.W_enc for h in range(2)]
    np.testing.assert_allclose(found, by_head[0] + by_head[1], atol=1e-4)


def test_the_circuit_of_a_host(host):
    module, params, dictionary = host
    questions = gt.all_questions(N)
    run = jax.jit(lambda *args: gt.greater_than_circuit(module, *args, kept=F, draws=2))
    found = run(params, dictionary, questions, jax.random.key(0))
    np.testing.assert_allclose(found["score top"], found["score transcoder"], atol=1e-6)  # all features are kept
    np.testing.assert_allclose(found["score zero"], 0, atol=1e-6)  # uniform over numbers, b uniform
    np.testing.assert_allclose(found["score random"], found["score transcoder"], atol=1e-6)
    logits, _ = jax.vmap(capture(module), (None, 0))(params, questions)
    p = np.exp(logits[:, -1]) / np.exp(logits[:, -1]).sum(-1, keepdims=True)
    above = np.arange(N)[None] > np.asarray(questions[:, 1:2])
    np.testing.assert_allclose(found["score host"], (p * above).sum(1).mean() - (p * ~above).sum(1).mean(), atol=1e-5)
    assert 0 <= found["spearman"] <= 1
