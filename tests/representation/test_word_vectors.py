"""Word vectors on a text whose statistics are known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo.representation.word_vectors import cooccurrences, ppmi, ppmi_svd, skipgram_negative_sampling
from jaxzoo.train import fit


def two_topics(n=4000):
    """Words 0-3 only ever stand together, and so do words 4-7: blocks of 8 words of one topic."""
    topic, word = jax.random.split(jax.random.key(0))
    topics = jnp.repeat(jax.random.bernoulli(topic, shape=(n // 8,)).astype(jnp.int32), 8)
    return 4 * topics + jax.random.randint(word, (n,), 0, 4)


def test_cooccurrences_against_a_double_loop():
    tokens = np.array([0, 2, 1, 2, 2, 0])
    expected = np.zeros((3, 3))
    for i, a in enumerate(tokens):
        for j, b in enumerate(tokens):
            if 0 < abs(i - j) <= 2:
                expected[a, b] += 1
    np.testing.assert_array_equal(cooccurrences(jnp.asarray(tokens), 3, 2), expected)


def test_ppmi_by_hand():
    counts = jnp.array([[0.0, 4.0], [4.0, 8.0]])  # p(0,1) = 1/4, p(0) = 1/4, p(1) = 3/4: log(4/3); p(1,1): log(8/9) < 0
    np.testing.assert_allclose(ppmi(counts), [[0.0, np.log(4 / 3)], [np.log(4 / 3), 0.0]], atol=1e-6)


def test_ppmi_of_independent_words_is_nothing():
    p = jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(ppmi(jnp.outer(p, p)), 0.0, atol=1e-6)


def test_svd_vectors_have_the_tables_left_singular_geometry():
    tokens = two_topics()
    vectors = ppmi_svd(tokens, 8, 2, 8)
    u, s, _ = np.linalg.svd(ppmi(cooccurrences(tokens, 8, 2)))
    assert s[0] > 0.5
    np.testing.assert_allclose(vectors @ vectors.T, u @ np.diag(s) @ u.T, atol=1e-4)


def separation(vectors):
    """Mean cosine within topics minus between them."""
    unit = vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)
    cosines, same = unit @ unit.T, jnp.kron(jnp.eye(2), jnp.ones((4, 4))) > 0
    return (cosines.mean(where=same) - cosines.mean(where=~same)).item()


def test_both_kinds_of_vectors_separate_the_topics():
    tokens = two_topics()
    task = skipgram_negative_sampling(tokens, 8, optax.adam(0.02), dim=4, window=2, negatives=3, batch=64)
    trained = fit(task, jax.random.key(1), 300)
    assert trained.history["loss"][-20:].mean() < trained.history["loss"][:20].mean()
    assert separation(trained.state.vectors[0]) > 0.5
    assert separation(ppmi_svd(tokens, 8, 2, 2)) > 0.5


def test_the_skipgram_loss_at_the_start_is_that_of_a_coin():
    task = skipgram_negative_sampling(two_topics(), 8, optax.sgd(0.0), dim=4, window=2, negatives=3, batch=16)
    _, scalars = task.update(task.init(jax.random.key(0)), jax.random.key(1))
    np.testing.assert_allclose(scalars["loss"], 4 * np.log(2), rtol=1e-5)
