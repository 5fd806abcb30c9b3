"""Cosines and norms, at and away from the zero vector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxzoo import ops


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_cosine_of_known_vectors():
    x = jnp.asarray([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    y = jnp.asarray([[1.0, 0.0], [0.0, 2.0], [-3.0, 3.0], [0.0, 0.0]])
    np.testing.assert_allclose(ops.cosine_similarity(x, y), [1, 0, -np.sqrt(0.5), 0], atol=1e-7)


def test_cosine_of_all_pairs_equals_a_loop():
    x, y = draw(3, 5), draw(4, 5, seed=1)
    pairs = jax.vmap(jax.vmap(ops.cosine_similarity, (None, 0)), (0, None))(x, y)
    norm = np.linalg.norm
    loop = [[np.dot(a, b) / norm(a) / norm(b) for b in np.float64(y)] for a in np.float64(x)]
    np.testing.assert_allclose(pairs, loop, rtol=1e-5, atol=1e-6)


def test_all_pairs_compile_to_one_matrix_product():
    pairs = jax.vmap(jax.vmap(ops.cosine_similarity, (None, 0)), (0, None))
    dots = [e for e in jax.make_jaxpr(pairs)(draw(3, 5), draw(4, 5)).eqns if e.primitive.name == "dot_general"]
    assert len(dots) == 1
    (_, batch_dimensions) = dots[0].params["dimension_numbers"]
    assert batch_dimensions == ((), ())


def test_scale_and_rotation_do_not_change_the_cosine():
    x, y = draw(8, 6), draw(8, 6, seed=1)
    rotation = np.linalg.qr(draw(6, 6, seed=2))[0]
    np.testing.assert_allclose(
        ops.cosine_similarity(3 * x @ rotation, 0.2 * y @ rotation), ops.cosine_similarity(x, y), atol=1e-6
    )


def test_gradients_are_finite_differences():
    with jax.enable_x64(True):
        x, y = jnp.asarray(draw(3, 5), jnp.float64), jnp.asarray(draw(3, 5, seed=1), jnp.float64)
        check_grads(jax.jit(ops.cosine_similarity), (x, y), order=1, modes=("fwd", "rev"), rtol=1e-6, atol=1e-6)
        check_grads(jax.jit(ops.safe_norm), (x,), order=1, modes=("fwd", "rev"), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("function", [ops.safe_norm, ops.normalize, lambda x: ops.cosine_similarity(x, jnp.ones(3))])
def test_value_and_gradient_at_the_zero_vector_are_finite(function):
    zero = jnp.zeros(3)
    assert (np.asarray(function(zero)) == 0).all()
    assert np.isfinite(jax.jit(jax.jacrev(function))(zero)).all()
    assert np.isfinite(jax.jit(jax.jacfwd(function))(zero)).all()


def test_cosine_with_a_zero_vector_gives_no_gradient_to_the_other():
    gradient = jax.grad(ops.cosine_similarity, argnums=1)(jnp.zeros(3), jnp.ones(3))
    np.testing.assert_array_equal(gradient, np.zeros(3))


def test_safe_norm_is_the_norm_over_any_axes():
    x = draw(2, 3, 4)
    np.testing.assert_allclose(ops.safe_norm(x, axis=(0, 2)), np.sqrt((np.square(x)).sum((0, 2))), rtol=1e-6)
    assert ops.safe_norm(x, axis=1, keepdims=True).shape == (2, 1, 4)


def test_bfloat16_in_gives_bfloat16_out_with_float32_sums():
    x, y = draw(2, 4096).astype(jnp.bfloat16), draw(2, 4096, seed=1).astype(jnp.bfloat16)
    cosine = ops.cosine_similarity(x, y + x)
    want = ops.cosine_similarity(x.astype(jnp.float32), (y + x).astype(jnp.float32))
    assert cosine.dtype == jnp.bfloat16
    np.testing.assert_array_equal(cosine, want.astype(jnp.bfloat16))
    assert ops.normalize(x).dtype == ops.safe_norm(x).dtype == jnp.bfloat16


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"y: expected the shape of x, \(3, 5\), got \(4, 5\)"):
        ops.cosine_similarity(jnp.ones((3, 5)), jnp.ones((4, 5)))
