"""Comparisons of latent spaces: identical, independent, sorted by hand, planted maps."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.representation.latent_spaces import jaccard_at, linear_cka, mean_cosine, mrr, procrustes, ridge


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def rotation(seed, d):
    return jnp.linalg.qr(normal(seed, d, d))[0]


def test_identical_spaces_score_one():
    x = normal(0, 50, 8)
    for measure in (mrr, jaccard_at, mean_cosine, linear_cka):
        np.testing.assert_allclose(measure(x, x), 1.0, rtol=1e-5)


def test_independent_spaces_score_nothing():
    x, y = normal(0, 1000, 32), normal(1, 1000, 32)
    assert mrr(x, y) < 0.02
    assert jaccard_at(x, y) < 0.02
    assert abs(mean_cosine(x, y)) < 0.02


def test_mrr_and_jaccard_against_sorted_lists():
    x, y = normal(0, 12, 3), normal(0, 12, 3) + 0.5 * normal(1, 12, 3)

    def cosine(a, b):
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    reciprocal, overlap = [], []
    for s in range(12):
        found = sorted(range(12), key=lambda i: -cosine(x[s], y[i]))
        own = sorted(range(12), key=lambda i: -cosine(y[s], y[i]))
        reciprocal.append(1 / (1 + found.index(s)))
        a, b = set(found[:4]), set(own[:4])
        overlap.append(len(a & b) / len(a | b))
    np.testing.assert_allclose(mrr(x, y), np.mean(reciprocal), rtol=1e-6)
    np.testing.assert_allclose(jaccard_at(x, y, 4), np.mean(overlap), rtol=1e-6)


def test_procrustes_recovers_a_planted_rotation():
    x, q = normal(0, 30, 6), rotation(1, 6)
    y = 3.0 * (x @ q) + 2.0
    np.testing.assert_allclose(jax.vmap(procrustes(x, y))(x), y, atol=2e-5)
    new = normal(2, 6)
    np.testing.assert_allclose(procrustes(x, y)(new), 3.0 * new @ q + 2.0, atol=2e-5)


def test_ridge_recovers_a_planted_affine_map_to_another_dimension():
    x, w = normal(0, 60, 6), normal(1, 6, 4)
    transport = ridge(x, x @ w + 1.0, penalty=1e-8)
    np.testing.assert_allclose(jax.vmap(transport)(x), x @ w + 1.0, atol=1e-4)


def test_cka_is_invariant_to_rotation_scale_and_translation():
    x, y = normal(0, 40, 5), normal(1, 40, 7)
    np.testing.assert_allclose(linear_cka(2 * x @ rotation(2, 5) + 1, y), linear_cka(x, y), rtol=1e-4)
