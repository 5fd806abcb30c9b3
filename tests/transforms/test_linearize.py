"""The tangent model: equal at the point of expansion, linear away from it, second order in the error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxzoo.transforms import linearize, ntk


def network(params, x, *, scale=1.0):
    return scale * jnp.tanh(x @ params["w"]) @ params["v"]


def draw_params(rng):
    return {"w": jnp.asarray(rng.normal(size=(3, 4))), "v": jnp.asarray(rng.normal(size=(4, 2)))}


@pytest.fixture(scope="module")
def setting():
    rng = np.random.default_rng(0)
    return draw_params(rng), draw_params(rng), jnp.asarray(rng.normal(size=3))


def test_it_is_the_taylor_expansion(setting):
    params0, offset, x = setting
    jacobian = jax.jacrev(network)(params0, x)
    want = network(params0, x) + sum(
        jnp.tensordot(j, d, d.ndim) for j, d in zip(*map(jax.tree.leaves, (jacobian, offset)), strict=True)
    )
    params = jax.tree.map(jnp.add, params0, offset)
    np.testing.assert_allclose(jax.jit(linearize(network, params0))(params, x), want, rtol=1e-5)


def test_at_the_point_of_expansion_it_is_the_model(setting):
    params0, _, x = setting
    np.testing.assert_array_equal(linearize(network, params0)(params0, x), network(params0, x))


def test_the_error_is_of_second_order():
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        params0, direction = draw_params(rng), draw_params(rng)
        x = jnp.asarray(rng.normal(size=3))
        tangent = linearize(network, params0)

        def error(step):
            params = jax.tree.map(lambda p, d: p + step * d, params0, direction)
            return float(jnp.abs(tangent(params, x) - network(params, x)).max())

        assert error(1e-3) / error(1e-4) == pytest.approx(100, rel=0.05)


def test_its_gradient_does_not_depend_on_the_parameters(setting):
    params0, offset, x = setting
    tangent = linearize(network, params0)
    far = jax.tree.map(lambda p, d: p + 10 * d, params0, offset)
    here, there = (ravel_pytree(jax.jacrev(tangent)(p, x))[0] for p in (params0, far))
    np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(here, ravel_pytree(jax.jacrev(network)(params0, x))[0], rtol=1e-5, atol=1e-6)


def test_its_ntk_is_that_of_the_model_at_the_point_of_expansion(setting):
    params0, offset, x = setting
    batch = jnp.stack([x, 2 * x, -x])
    far = jax.tree.map(jnp.add, params0, offset)
    np.testing.assert_allclose(
        ntk(linearize(network, params0))(far, batch), ntk(network)(params0, batch), rtol=1e-4, atol=1e-5
    )


def test_vmap_equals_a_loop_and_options_pass_through(setting):
    params0, offset, x = setting
    batch = jnp.stack([x, 2 * x])

    def tangent(p, x):
        return linearize(network, params0)(p, x, scale=3.0)

    batched = jax.vmap(tangent, (None, 0))(offset, batch)
    np.testing.assert_allclose(batched, jnp.stack([tangent(offset, x) for x in batch]), rtol=1e-5)
    np.testing.assert_allclose(batched[0], 3 * linearize(network, params0)(offset, x), rtol=1e-5)


def test_other_parameters_are_refused(setting):
    params0, _, x = setting
    tangent = linearize(network, params0)
    with pytest.raises(ValueError, match=r"params\['w'\]: expected shape \(3, 4\), got shape \(3, 5\)"):
        tangent({"w": jnp.ones((3, 5)), "v": params0["v"]}, x)
    with pytest.raises(ValueError, match=r"params\['v'\]: expected shape \(4, 2\), got no such leaf"):
        tangent({"w": params0["w"]}, x)
    with pytest.raises(ValueError, match=r"params\['u'\]: expected no such leaf, got shape \(1,\)"):
        tangent({**params0, "u": jnp.ones(1)}, x)
