"""Gradient boosting RL: gradients in outputs, trees of a minibatch, three algorithms, shared and separate trees."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.agents import gradient_boosting_rl as gb
from jaxzoo.agents.dispatch import dispatch
from jaxzoo.agents.ensemble import empty_ensemble
from jaxzoo.agents.environments import cartpole, pendulum
from jaxzoo.agents.ppo import Batch, a2c_loss, awr_loss, output_gradients
from jaxzoo.agents.rollout import GAUSSIAN

GROWTH = gb.Growth(depth=2, n_bins=4)
SMALL = {"envs": 4, "steps": 8, "growth": GROWTH}
MAKERS = {"ppo": gb.gbrl_ppo, "a2c": gb.gbrl_a2c, "awr": partial(gb.gbrl_awr, kept=2, trees=2, minibatch=16)}


def samples(n=6, a=3):
    f = jax.random.normal(jax.random.key(0), (n, a + 1))
    action = jnp.arange(n) % a
    log_prob = jnp.take_along_axis(jax.nn.log_softmax(f[:, :-1]), action[:, None], axis=1)[:, 0]
    return f, Batch(action, log_prob, jnp.linspace(-2, 2, n), jnp.linspace(1, -1, n))


def test_at_ratio_one_the_gradient_is_that_of_the_policy():
    f, batch = samples()
    g = gb.ppo_output_gradients(f, batch)
    expected = -batch.advantage[:, None] * (jax.nn.one_hot(batch.action, 3) - jax.nn.softmax(f[:, :-1]))
    np.testing.assert_allclose(g[:, :-1], expected, atol=1e-6)
    np.testing.assert_allclose(g[:, -1], f[:, -1] - batch.target, atol=1e-6)
    np.testing.assert_allclose(g, output_gradients(a2c_loss, f, batch), atol=1e-6)


@pytest.mark.parametrize(("old", "advantage", "zero"), [(-1, 1, True), (-1, -1, False), (1, -1, True), (1, 1, False)])
def test_where_clipping_is_active_the_gradient_is_zero(old, advantage, zero):
    f, batch = samples()
    batch = batch._replace(log_prob=batch.log_prob + old, advantage=jnp.full(6, advantage, jnp.float32))
    g = gb.ppo_output_gradients(f, batch)[:, :-1]
    assert (jnp.abs(g).max(1) == 0).all() if zero else (jnp.abs(g).max(1) > 1e-3).all()


def test_the_gradient_of_a_sample_does_not_depend_on_how_many_there_are():
    f, batch = samples()
    one = gb.ppo_output_gradients(f[:1], jax.tree.map(lambda a: a[:1], batch))
    np.testing.assert_allclose(gb.ppo_output_gradients(f, batch)[:1], one, atol=1e-7)


def test_weights_of_regression_are_capped_exponentials():
    f, batch = samples()
    batch = batch._replace(advantage=jnp.asarray([-1.0, 0.0, 0.5, 1.0, 3.0, 9.0]))
    loss = partial(awr_loss, beta=0.5, cap=20.0)
    weight = np.minimum(np.exp(np.asarray(batch.advantage) / 0.5), 20)
    expected = -weight[:, None] * (jax.nn.one_hot(batch.action, 3) - jax.nn.softmax(f[:, :-1]))
    np.testing.assert_allclose(output_gradients(loss, f, batch)[:, :-1], expected, rtol=1e-4, atol=1e-5)


def test_gaussian_gradients():
    f = jnp.asarray([[0.3, -0.5, 1.0]])  # mean, logarithm of the standard deviation, value
    log_prob = GAUSSIAN.log_prob(f[0, :2], jnp.asarray([1.1]))
    batch = Batch(jnp.asarray([[1.1]]), log_prob[None], jnp.asarray([2.0]), jnp.asarray([0.0]))
    z = (1.1 - 0.3) / np.exp(-0.5)
    expected = [-2 * z / np.exp(-0.5), -2 * (z**2 - 1), 1.0]
    np.testing.assert_allclose(gb.ppo_output_gradients(f, batch, policy=GAUSSIAN)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("separate", [False, True])
def test_an_update_grows_its_trees_and_is_the_same_compiled(name, separate):
    task = MAKERS[name](cartpole(limit=6), updates=3, separate=separate, **SMALL)
    key_init, key_update = jax.random.split(jax.random.key(0))
    agent = task.init(key_init)
    after, scalars = jax.jit(task.update)(agent, key_update)
    grown = {"ppo": 4, "a2c": 1, "awr": 2}[name]
    assert scalars["trees"] == grown * (1 + separate)
    assert [e.bias.shape[0] for e in after.ensembles] == ([2, 1] if separate else [3])
    for ensemble in after.ensembles:
        assert jnp.abs(ensemble.trees.values[:grown]).max() > 0
        assert jnp.abs(ensemble.trees.values[grown:]).max() == 0
    assert 0 < scalars["return"] <= 6
    x = after.actors.state
    assert gb.gbrl_outputs(after.ensembles, x).shape == (4, 3)


def test_mapped_updates_are_those_of_a_loop():
    task = gb.gbrl_a2c(dispatch(2), updates=1, **SMALL)
    keys = jax.random.split(jax.random.key(0), 2)
    starts = jax.vmap(task.init)(keys)
    mapped, _ = jax.jit(jax.vmap(task.update))(starts, jax.random.split(jax.random.key(1), 2))
    update = jax.jit(task.update)
    for i, key in enumerate(jax.random.split(jax.random.key(1), 2)):
        one, _ = update(jax.tree.map(lambda a, i=i: a[i], starts), key)
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, atol=1e-5), mapped, one)


def test_stored_outputs_follow_the_ensemble():
    task = MAKERS["awr"](cartpole(), updates=4, **SMALL)
    agent = task.init(jax.random.key(0))
    update = jax.jit(task.update)
    for key in jax.random.split(jax.random.key(1), 3):
        agent, _ = update(agent, key)
    memory = agent.memory
    assert (memory.seen, len(memory.x)) == (3 * 32, 2 * 32)
    np.testing.assert_allclose(memory.f, gb.gbrl_outputs(agent.ensembles, memory.x), atol=1e-5)


@partial(jax.jit, static_argnames="separate")
def boosted(shift, separate=False):
    """One step of a two-output model towards y, on a feature that tells it."""
    x = jnp.tile(jnp.arange(4.0), 8)[:, None]
    y = jnp.concatenate([x > 1, x > 2], axis=1).astype(jnp.float32)
    bias = [jnp.zeros(1), jnp.zeros(1)] if separate else [jnp.zeros(2)]
    ensembles = tuple(empty_ensemble(1, 2, 4, b) for b in bias)
    rates = tuple(jnp.ones(b.shape[0]) for b in bias)
    options = {"cats": (4,), "growth": GROWTH, "rates": rates, "shift": shift}
    start = jnp.zeros((32, 2))
    ensembles, f = gb.boost(ensembles, start, x, jnp.arange(32), lambda f, index: f - y[index], **options)
    return y, f, gb.gbrl_outputs(ensembles, x)


@pytest.mark.parametrize("separate", [False, True])
def test_a_boosting_step_fits_the_gradient_and_a_shuffled_one_does_not(separate):
    y, f, predicted = boosted(0, separate)
    np.testing.assert_allclose(f, y, atol=1e-6)
    np.testing.assert_allclose(predicted, f, atol=1e-6)
    y, f, _ = boosted(1, separate)
    assert jnp.abs(f - y).max() > 0.5


def test_rates_fall_linearly_to_the_last_tree():
    task = gb.gbrl_a2c(cartpole(limit=6), updates=4, anneal=1.0, **SMALL)
    plain = gb.gbrl_a2c(cartpole(limit=6), updates=4, **SMALL)
    agent = task.init(jax.random.key(0))
    agent = agent._replace(ensembles=(agent.ensembles[0]._replace(count=jnp.int32(2)),))
    slow, fast = (jax.jit(t.update)(agent, jax.random.key(1))[0].ensembles[0].trees.values[2] for t in (task, plain))
    np.testing.assert_allclose(slow, 0.5 * fast, atol=1e-6)


def test_continuous_actions_and_greedy_trees():
    growth = gb.Growth(depth=2, n_bins=4, score="cosine", greedy=True, min_data=2)
    task = gb.gbrl_ppo(pendulum(), updates=1, envs=4, steps=8, growth=growth, log_std=-1.0)
    agent, scalars = jax.jit(task.update)(task.init(jax.random.key(0)), jax.random.key(1))
    np.testing.assert_allclose(agent.ensembles[0].bias, [0, -1, 0])
    assert agent.ensembles[0].trees.threshold.shape == (32, 3)
    assert jnp.isfinite(scalars["return"])


def test_it_learns_a_table():
    task = gb.gbrl_ppo(dispatch(1), updates=12, envs=16, steps=32, rates=(2.0, 0.3), growth=gb.Growth(2, 4))
    agent = jax.jit(task.init)(jax.random.key(0))
    update, returns = jax.jit(task.update), []
    for key in jax.random.split(jax.random.key(1), 12):
        agent, scalars = update(agent, key)
        returns.append(float(scalars["return"]))
    assert returns[-1] > returns[1] + 0.3


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="minibatches: expected a divisor of envs"):
        gb.gbrl_ppo(cartpole(), updates=1, envs=3, steps=5, minibatches=4)
    with pytest.raises(ValueError, match="updates"):
        gb.gbrl_a2c(cartpole(), updates=0)
    with pytest.raises(ValueError, match="kept"):
        gb.gbrl_awr(cartpole(), updates=1, kept=0)
