"""Rollouts, advantages, recent returns: by hand, and against slow loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.agents import rollout as ro
from jaxzoo.agents.environments import Environment, cartpole, no_world


def fresh():
    return jax.random.key(0)


def test_advantages_of_three_steps_by_hand():
    reward, value = jnp.asarray([1.0, 2.0, 3.0]), jnp.asarray([0.5, 1.0, 1.5])
    none = jnp.zeros(3, bool)
    a, target = ro.gae(reward, value, none, none, jnp.zeros(3), jnp.float32(2.0), gamma=0.9, lam=0.5)
    d = np.array([1 + 0.9 * 1.0 - 0.5, 2 + 0.9 * 1.5 - 1.0, 3 + 0.9 * 2.0 - 1.5])
    expected = np.array([d[0] + 0.45 * d[1] + 0.45**2 * d[2], d[1] + 0.45 * d[2], d[2]])
    np.testing.assert_allclose(a, expected, rtol=1e-6)
    np.testing.assert_allclose(target, expected + np.asarray(value), rtol=1e-6)


@pytest.mark.parametrize("cut", [False, True])
def test_a_cut_off_bootstraps_and_a_termination_does_not(cut):
    reward, value = jnp.ones(3), jnp.asarray([0.5, 1.0, 1.5])
    at = jnp.asarray([False, True, False])
    none = jnp.zeros(3, bool)
    cut_value = jnp.asarray([9.0, 4.0, 9.0])
    ends = (none, at) if cut else (at, none)
    a, _ = ro.gae(reward, value, *ends, cut_value, jnp.float32(2.0), gamma=0.9, lam=0.5)
    second = 1 + 0.9 * 4.0 * cut - 1.0
    np.testing.assert_allclose(a[1], second, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(a[0], 1 + 0.9 - 0.5 + 0.45 * second, rtol=1e-6)


def test_recent_returns_are_those_of_the_last_that_ended():
    rng = np.random.default_rng(0)
    returns, ended, all_of_them = jnp.zeros(7), jnp.int32(0), []
    for _ in range(6):
        total, done = rng.normal(size=(5, 2)).astype(np.float32), rng.random((5, 2)) < 0.4
        returns, ended = jax.jit(ro.remember)(returns, ended, jnp.asarray(total), jnp.asarray(done))
        all_of_them += total.reshape(-1)[done.reshape(-1)].tolist()
        n = min(7, len(all_of_them))
        np.testing.assert_allclose(sorted(np.asarray(returns))[:], sorted([*all_of_them[-n:], *[0.0] * (7 - n)]))
        assert ended == len(all_of_them)


def counter(limit):
    """Counts its steps; ends by itself after 5; the reward is the count."""

    def step(world, state, action, key):
        return state + 1, (state + 1).astype(jnp.float32), state + 1 == 5

    return Environment(
        no_world, lambda world, key: jnp.int32(0), step, lambda s: s.astype(jnp.float32)[None], (0,), 2, limit
    )


def value_of(x):
    """Outputs with the value 10 + observation."""
    return jnp.concatenate([jnp.zeros((len(x), 2)), 10 + x], axis=1)


@pytest.mark.parametrize("limit", [3, 5, 9])
def test_a_rollout_begins_anew_at_ends_and_sees_the_value_that_a_cut_off_hid(limit):
    environment = counter(limit)
    actors = ro.start(environment, fresh(), 2)
    actors, out, last = ro.rollout(environment, actors, value_of, jax.random.key(1), 12)
    period = min(limit, 5)
    place = np.arange(12) % period
    for env in range(2):
        np.testing.assert_array_equal(out.x[:, env, 0], place)
        np.testing.assert_array_equal(out.terminated[:, env], (place == 4) & (period == 5))
        np.testing.assert_array_equal(out.truncated[:, env], (place == period - 1) & (period < 5))
        np.testing.assert_array_equal(out.cut_value[:, env], np.where(out.truncated[:, env], 10 + period, 0))
        np.testing.assert_array_equal(out.total[:, env], np.cumsum(np.arange(1, 13))[place])
    np.testing.assert_array_equal(last, np.full(2, 10 + 12 % period))
    assert actors.ended == 2 * (12 // period)
    np.testing.assert_allclose(ro.recent_return(actors), period * (period + 1) / 2)


def test_a_rollout_goes_on_where_the_last_one_stopped():
    environment = cartpole(limit=15)
    outputs = lambda x: jnp.zeros((len(x), 3))  # noqa: E731
    actors = ro.start(environment, fresh(), 3)
    after, first, _ = ro.rollout(environment, actors, outputs, jax.random.key(1), 7)
    _, second, _ = ro.rollout(environment, after, outputs, jax.random.key(2), 7)
    went_on = ~(first.terminated | first.truncated)[-1]
    assert went_on.any()
    moved = jnp.abs(second.x[0] - first.x[-1])[went_on]
    assert (moved < 0.5).all()
    np.testing.assert_array_equal(ro.start(environment, fresh(), 3).state, actors.state)


def test_the_mean_return_stops_at_ends():
    outputs = lambda x: jnp.zeros((len(x), 3))  # noqa: E731
    np.testing.assert_allclose(ro.mean_return(counter(9), (), outputs, fresh(), 4), 15)
    np.testing.assert_allclose(ro.mean_return(counter(3), (), outputs, jax.random.key(1), 4), 6)


def test_policies_are_distributions():
    logits, key = jnp.asarray([0.3, -1.0, 2.0]), jax.random.key(3)
    p = np.exp([ro.CATEGORICAL.log_prob(logits, a) for a in range(3)])
    np.testing.assert_allclose(p, jax.nn.softmax(logits), rtol=1e-6)
    np.testing.assert_allclose(ro.CATEGORICAL.entropy(logits), -(p * np.log(p)).sum(), rtol=1e-6)
    drawn = ro.CATEGORICAL.sample(key, jnp.broadcast_to(logits, (4000, 3)))
    np.testing.assert_allclose(np.bincount(drawn) / 4000, p, atol=0.03)
    f = jnp.asarray([0.5, -0.2, 0.1, -0.7])  # two means, two logarithms of standard deviations
    scipy_stats = pytest.importorskip("scipy.stats")
    normal = scipy_stats.norm(np.asarray(f[:2]), np.exp(np.asarray(f[2:])))
    action = jnp.asarray([0.9, 0.0])
    np.testing.assert_allclose(ro.GAUSSIAN.log_prob(f, action), normal.logpdf(action).sum(), rtol=1e-5)
    np.testing.assert_allclose(ro.GAUSSIAN.entropy(f), normal.entropy().sum(), rtol=1e-5)
    drawn = ro.GAUSSIAN.sample(jax.random.key(4), jnp.broadcast_to(f, (4000, 4)))
    np.testing.assert_allclose(drawn.std(0), np.exp(f[2:]), rtol=0.05)
