"""Orthogonal weights: their products, numpy's decomposition as a peer, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.agents.orthogonal import gram_schmidt, orthogonal


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (5, 5), (1, 4), (219, 64)])
def test_the_fewer_vectors_are_orthogonal_and_as_long_as_asked(shape):
    w = np.float64(orthogonal(1.5)(jax.random.key(0), shape))
    product = w.T @ w if shape[0] >= shape[1] else w @ w.T
    np.testing.assert_allclose(product, 1.5**2 * np.eye(min(shape)), atol=2e-6)


def test_it_is_the_q_of_a_decomposition_whose_r_has_a_positive_diagonal():
    a = np.random.default_rng(0).normal(size=(75, 64))
    q, r = np.linalg.qr(a)
    np.testing.assert_allclose(gram_schmidt(jnp.asarray(a, jnp.float32)), q * np.sign(np.diag(r)), atol=1e-5)


def test_nearly_parallel_columns():
    a = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    a[:, 1] = a[:, 0] + 1e-5 * a[:, 1]
    q = np.float64(gram_schmidt(jnp.asarray(a)))
    np.testing.assert_allclose(q.T @ q, np.eye(4), atol=1e-5)
    np.testing.assert_allclose(q @ (q.T @ a), a, atol=1e-5)


def test_a_shape_that_is_no_matrix_is_refused():
    with pytest.raises(ValueError, match=r"shape: expected a matrix \(n, m\), got \(2, 3, 4\)"):
        orthogonal()(jax.random.key(0), (2, 3, 4))
