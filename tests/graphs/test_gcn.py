"""The graph convolution against the dense formula."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.graphs.gcn import gcn_layer, gcn_propagate, init_gcn_layer

EDGES = np.array([(0, 1), (1, 0), (1, 2), (2, 1), (2, 0), (0, 2), (3, 1), (1, 3)])  # node 4 has none
X = jax.random.normal(jax.random.key(0), (5, 3))


def dense(x):
    a = np.eye(5)
    a[EDGES[:, 1], EDGES[:, 0]] = 1
    d = a.sum(1) ** -0.5
    return d[:, None] * a * d[None] @ np.asarray(x)


def test_equals_the_dense_formula_with_an_isolated_node():
    np.testing.assert_allclose(gcn_propagate(X, EDGES[:, 0], EDGES[:, 1]), dense(X), rtol=1e-5)


def test_masked_edges_do_not_count():
    senders, receivers = (jnp.append(EDGES[:, i], jnp.array([4, 0, 0])) for i in (0, 1))
    mask = jnp.arange(11) < 8
    np.testing.assert_allclose(gcn_propagate(X, senders, receivers, edge_mask=mask), dense(X), rtol=1e-5)


def test_the_layer_is_equivariant_to_relabelling():
    params = init_gcn_layer(jax.random.key(1), 3, 2)
    new = np.array([3, 0, 4, 1, 2])  # old node i is called new[i]
    out = gcn_layer(params, X, EDGES[:, 0], EDGES[:, 1])
    relabelled = gcn_layer(params, jnp.zeros_like(X).at[new].set(X), new[EDGES[:, 0]], new[EDGES[:, 1]])
    np.testing.assert_allclose(relabelled[new], out, atol=1e-6)


def test_gradient_reaches_every_parameter():
    params = init_gcn_layer(jax.random.key(1), 3, 2)
    gradient = jax.grad(lambda p: jnp.sin(gcn_layer(p, X, EDGES[:, 0], EDGES[:, 1])).sum())(params)
    assert all(jnp.abs(leaf).min() > 0 for leaf in jax.tree.leaves(gradient))


def test_bfloat16_sums_in_float32():
    out = gcn_propagate(X.astype(jnp.bfloat16), EDGES[:, 0], EDGES[:, 1])
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), dense(X.astype(jnp.bfloat16)), rtol=5e-3, atol=1e-3)
