"""Random subspaces: an orthonormal basis, the origin, gradients, and a basis that is no constant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxzoo.transforms import in_subspace

PARAMS = {"w": jnp.asarray([[1.0, -2.0], [0.5, 3.0], [0.1, 0.2]]), "b": jnp.asarray([0.3, 0.4])}
X = jnp.asarray([1.0, 2.0, -1.0])


def network(params, x, *, scale=1.0):
    return scale * jnp.tanh(x @ params["w"] + params["b"])


def basis(subspace, dim):
    """[D, dim]: the derivative of the parameters in the coordinates."""
    return jax.jacrev(lambda theta: ravel_pytree(subspace.lift(theta))[0])(jnp.zeros(dim))


@pytest.mark.parametrize("dim", [1, 3, 8])
def test_the_basis_is_orthonormal(dim):
    columns = basis(in_subspace(network, PARAMS, jax.random.key(0), dim), dim)
    assert columns.shape == (8, dim)
    np.testing.assert_allclose(columns.T @ columns, np.eye(dim), atol=1e-6)


def test_the_origin_is_the_model_bit_for_bit():
    subspace = in_subspace(network, PARAMS, jax.random.key(0), 3)
    jax.tree.map(np.testing.assert_array_equal, subspace.lift(jnp.zeros(3)), PARAMS)
    np.testing.assert_array_equal(subspace.apply(jnp.zeros(3), X), network(PARAMS, X))


def test_apply_is_the_model_at_the_lifted_parameters():
    subspace, theta = in_subspace(network, PARAMS, jax.random.key(0), 3), jnp.asarray([1.0, -2.0, 0.5])
    np.testing.assert_array_equal(subspace.apply(theta, X, scale=2.0), network(subspace.lift(theta), X, scale=2.0))
    offset = ravel_pytree(jax.tree.map(jnp.subtract, subspace.lift(theta), PARAMS))[0]
    assert np.linalg.norm(offset) == pytest.approx(np.linalg.norm(theta), rel=1e-5)


def test_the_gradient_is_the_projected_gradient():
    subspace, theta = in_subspace(network, PARAMS, jax.random.key(0), 3), jnp.asarray([1.0, -2.0, 0.5])
    gradient = jax.grad(lambda theta: subspace.apply(theta, X).sum())(theta)
    full, _ = ravel_pytree(jax.grad(lambda p: network(p, X).sum())(subspace.lift(theta)))
    np.testing.assert_allclose(gradient, basis(subspace, 3).T @ full, rtol=1e-5, atol=1e-6)


def test_a_subspace_of_full_dimension_reaches_every_parameter():
    subspace = in_subspace(network, PARAMS, jax.random.key(0), 8)
    target = jax.tree.map(lambda p: p + 1.5, PARAMS)
    offset, _ = ravel_pytree(jax.tree.map(jnp.subtract, target, PARAMS))
    theta = basis(subspace, 8).T @ offset
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), subspace.lift(theta), target)


def test_the_key_decides():
    first, again, other = (basis(in_subspace(network, PARAMS, jax.random.key(i), 2), 2) for i in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_as_an_argument_the_basis_is_no_constant_of_the_program():
    subspace = in_subspace(network, PARAMS, jax.random.key(0), 3)
    run = jax.jit(lambda apply, theta, x: apply(theta, x))
    program = run.trace(subspace.apply, jnp.zeros(3), X).jaxpr
    assert not program.consts
    assert sum(v.aval.size for v in program.jaxpr.invars) == 8 + 3 * 8 + 3 + 3
    np.testing.assert_array_equal(run(subspace.apply, jnp.zeros(3), X), network(PARAMS, X))


def test_subspaces_per_seed_under_vmap_equal_a_loop():
    def output(key):
        return in_subspace(network, PARAMS, key, 3).apply(jnp.ones(3), X)

    keys = jax.random.split(jax.random.key(0), 2)
    again = jax.random.split(jax.random.key(0), 2)
    loop = jnp.stack([output(key) for key in again])
    np.testing.assert_allclose(jax.jit(jax.vmap(output))(keys), loop, rtol=1e-5, atol=1e-6)


def test_parameters_keep_their_dtypes():
    mixed = {"w": PARAMS["w"], "b": PARAMS["b"].astype(jnp.bfloat16)}
    lifted = in_subspace(network, mixed, jax.random.key(0), 2).lift(jnp.ones(2))
    assert jax.tree.map(lambda p: p.dtype.name, lifted) == {"w": "float32", "b": "bfloat16"}


def test_wrong_arguments_are_named():
    for dim in (0, 9):
        with pytest.raises(ValueError, match=f"dim: expected 1 to 8, the number of parameters, got {dim}"):
            in_subspace(network, PARAMS, jax.random.key(0), dim)
    with pytest.raises(ValueError, match="params0: expected floating parameters, got int32"):
        in_subspace(network, {"n": jnp.arange(3)}, jax.random.key(0), 1)
