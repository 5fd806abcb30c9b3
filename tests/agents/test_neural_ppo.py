"""Neural PPO, the baseline: what it sees, how it begins, that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.agents import neural_ppo as npo
from jaxzoo.agents.dispatch import dispatch
from jaxzoo.agents.environments import cartpole

CATS = (3, 0, 2)


def test_codes():
    x = jnp.asarray([[2.0, 0.7, 0.0], [1.0, -5.0, 1.0]])
    np.testing.assert_allclose(npo.one_hot_features(CATS)(x), [[0.7, 0, 0, 1, 1, 0], [-5, 0, 1, 0, 0, 1]], rtol=1e-6)
    np.testing.assert_allclose(npo.one_hot_features(CATS)(x[0]), [0.7, 0, 0, 1, 1, 0], rtol=1e-6)
    np.testing.assert_allclose(npo.integer_features(CATS)(x), [[1, 0.7, -1], [0, -5, 1]], rtol=1e-6)
    np.testing.assert_array_equal(npo.integer_features(CATS, scaled=False)(x), x)


def test_an_encoded_environment_shows_the_code():
    environment = dispatch(2)
    coded = npo.encoded(environment, npo.one_hot_features(environment.cats))
    state = environment.reset(environment.world(jax.random.key(0)), jax.random.key(1))
    assert coded.cats == (0,) * (16 + 3 + 1 + 16)
    assert coded.observe(state).shape == (36,)
    assert coded.observe(state).sum() == 4  # place 0, and one of each of the four categories


@pytest.mark.parametrize("hidden", [(), (8, 8)])
def test_weights_begin_orthogonal_and_the_policy_nearly_uniform(hidden):
    model = npo.actor_critic(cartpole(), hidden=hidden)
    params = model.init(jax.random.key(0), jnp.zeros(4))
    assert len(params["actor"]) == len(hidden) + 1
    first = params["critic"]["dense_0"]["kernel"]
    size = 2.0 if hidden else 1.0
    gram = first @ first.T if first.shape[0] <= first.shape[1] else first.T @ first
    np.testing.assert_allclose(gram, size * np.eye(len(gram)), atol=1e-5)
    f = jax.vmap(model.apply, (None, 0))(params, jax.random.normal(jax.random.key(1), (20, 4)))
    assert f.shape == (20, 3)
    assert jnp.abs(f[:, :2]).max() < 0.1


def test_it_learns_to_balance():
    environment = cartpole()
    task = npo.neural_ppo(
        environment, npo.actor_critic(environment, hidden=(16,)), envs=8, steps=64, rate=1e-2, epochs=4
    )
    agent = jax.jit(task.init)(jax.random.key(0))
    update, returns = jax.jit(task.update), []
    for key in jax.random.split(jax.random.key(1), 12):
        agent, scalars = update(agent, key)
        returns.append(float(scalars["return"]))
    assert returns[-1] > 2 * returns[0]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="minibatch: expected a divisor of envs"):
        npo.neural_ppo(cartpole(), npo.actor_critic(cartpole()), envs=3, steps=5, minibatch=4)
