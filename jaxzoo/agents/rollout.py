"""What on-policy learners share: policies over outputs, rollouts of many environments, advantages, recent returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Policy(NamedTuple):
    """A distribution of actions whose parameters are outputs of a model.

    Attributes:
      sample: `sample(key, f [b, a]) -> actions [b, ...]`.
      log_prob: `log_prob(f [a], action) -> scalar`.
      entropy: `entropy(f [a]) -> scalar`.
    """

    sample: Callable[[jax.Array, jax.Array], jax.Array]
    log_prob: Callable[[jax.Array, jax.Array], jax.Array]
    entropy: Callable[[jax.Array], jax.Array]


def _pick(logits, action):
    return jnp.where(jnp.arange(logits.shape[0]) == action, jax.nn.log_softmax(logits), 0).sum()


def _entropy(logits):
    log_p = jax.nn.log_softmax(logits)
    return -(jnp.exp(log_p) * log_p).sum()


CATEGORICAL = Policy(lambda key, f: jax.random.categorical(key, f), _pick, _entropy)
"""Discrete actions; outputs are logits."""


def _normal(key, f):
    mean, log_std = jnp.split(f, 2, axis=-1)
    return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)


def _normal_log_prob(f, action):
    mean, log_std = jnp.split(f, 2)
    return (-0.5 * jnp.square((action - mean) / jnp.exp(log_std)) - log_std - 0.5 * jnp.log(2 * jnp.pi)).sum()


def _normal_entropy(f):
    return (jnp.split(f, 2)[1] + 0.5 * jnp.log(2 * jnp.pi * jnp.e)).sum()


GAUSSIAN = Policy(_normal, _normal_log_prob, _normal_entropy)
"""Continuous actions, independent normal ones; outputs are means, then logarithms of standard deviations."""


def policy_of(environment):
    """`(policy, a)`: the policy that fits an environment's actions, and how many outputs it takes."""
    return (GAUSSIAN, 2 * environment.actions) if environment.continuous else (CATEGORICAL, environment.actions)


RECENT = 50
"""Episodes over which returns are averaged."""


class Actors(NamedTuple):
    """Environments that run side by side.

    Attributes:
      world: what they share.
      state: their states, leaves [b, ...].
      elapsed: [b] steps of the episode so far.
      total: [b] its rewards so far.
      returns: [50] of the last episodes that ended, in a ring.
      ended: int32, how many ended.
    """

    world: Any
    state: Any
    elapsed: jax.Array
    total: jax.Array
    returns: jax.Array
    ended: jax.Array


class Rollout(NamedTuple):
    """Steps of all environments; every array [t, b, ...].

    Attributes:
      x: observations.
      action: what was done.
      f: outputs of the model, the value last.
      reward: what it gave, as learners see it.
      terminated: whether the episode ended there.
      truncated: whether it was cut off there by the time limit.
      cut_value: value of the observation that a cut-off hid, else 0.
      total: rewards of the episode, as they are, up to and with this step.
    """

    x: jax.Array
    action: jax.Array
    f: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    cut_value: jax.Array
    total: jax.Array


def start(environment, key, envs):
    """`Actors`: `envs` environments at the start of their first episodes, in a new world."""
    key_world, key_reset = jax.random.split(key)
    world = environment.world(key_world)
    state = jax.vmap(environment.reset, (None, 0))(world, jax.random.split(key_reset, envs))
    return Actors(world, state, jnp.zeros(envs, jnp.int32), jnp.zeros(envs), jnp.zeros(RECENT), jnp.int32(0))


def rollout(environment, actors, outputs, key, steps):
    """Lets a model act.

    Args:
      environment: `Environment`.
      actors: `Actors`; episodes that end begin anew.
      outputs: `outputs(x [b, f]) -> [b, a + 1]`, the value last.
      key: of actions and environments.
      steps: t.

    Returns:
      `(actors, Rollout, last_value [b])`, the latter of the observations after the last step.
    """
    policy, _ = policy_of(environment)
    observe = jax.vmap(environment.observe)

    def step(actors, i):
        x = observe(actors.state)
        f = outputs(x)
        # Random numbers are most of what there is to compile: one split for all that is drawn.
        b = len(x)
        keys = jax.random.split(jax.random.fold_in(key, i), 2 * b + 1)
        action = policy.sample(keys[2 * b], f[:, :-1])
        state, reward, terminated = jax.vmap(environment.step, (None, 0, 0, 0))(
            actors.world, actors.state, action, keys[:b]
        )
        elapsed, total = actors.elapsed + 1, actors.total + reward
        truncated = (elapsed >= environment.limit) & ~terminated
        # A cut-off is rare: where nothing is, the model need not be asked.
        cut_value = jax.lax.cond(
            truncated.any(), lambda: jnp.where(truncated, outputs(observe(state))[:, -1], 0), lambda: jnp.zeros(b)
        )
        done = terminated | truncated
        fresh = jax.vmap(environment.reset, (None, 0))(actors.world, keys[b : 2 * b])
        state = jax.tree.map(lambda a, b: jnp.where(done.reshape(-1, *(1,) * (a.ndim - 1)), a, b), fresh, state)
        reward = jnp.sign(reward) if environment.clip else reward
        out = Rollout(x, action, f, reward, terminated, truncated, cut_value, total)
        actors = actors._replace(state=state, elapsed=jnp.where(done, 0, elapsed), total=jnp.where(done, 0, total))
        return actors, out

    actors, out = jax.lax.scan(step, actors, jnp.arange(steps))
    returns, ended = remember(actors.returns, actors.ended, out.total, out.terminated | out.truncated)
    actors = actors._replace(returns=returns, ended=ended)
    return actors, out, outputs(observe(actors.state))[:, -1]


def remember(returns, ended, total, done):
    """The ring of recent returns [r] and their number, after a rollout with episode returns total [t, b] where done."""
    done, ring = done.reshape(-1), len(returns)
    order = jnp.cumsum(done)  # 1 for the first that ended
    keep = done & (order > order[-1] - ring)
    slot = jnp.where(keep, (ended + order - 1) % ring, ring)
    return returns.at[slot].set(total.reshape(-1), mode="drop"), ended + order[-1].astype(ended.dtype)


def recent_return(actors):
    """The mean return of the last 50 episodes that ended, or of fewer; 0 before the first."""
    number = jnp.minimum(actors.ended, RECENT)
    return actors.returns.sum() / jnp.maximum(number, 1)


def gae(reward, value, terminated, truncated, cut_value, last_value, *, gamma=0.98, lam=0.95):
    """Generalised advantage estimation.

        delta_t = r_t + gamma V(s_{t+1}) - V(s_t)        A_t = delta_t + gamma lam A_{t+1}

    After a termination V(s_{t+1}) is 0, after a cut-off the value of the state that was cut off. Both end the sum.

    Args:
      reward, value: [t, ...].
      terminated, truncated: [t, ...] bool.
      cut_value: [t, ...] value of the state after a cut-off; not looked at elsewhere.
      last_value: [...] value of the state after the last step.
      gamma, lam: discount, and how far advantages look ahead.

    Returns:
      `(advantage [t, ...], target [t, ...])`, the latter advantage + value.

    Source: Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage Estimation"
      (arXiv 1506.02438), eq. 16.
    """
    after = jnp.concatenate([value[1:], last_value[None]])
    after = jnp.where(terminated, 0, jnp.where(truncated, cut_value, after))
    delta = reward + gamma * after - value

    def back(advantage, x):
        delta, going_on = x
        advantage = delta + gamma * lam * going_on * advantage
        return advantage, advantage

    going_on = 1.0 - (terminated | truncated)
    _, advantage = jax.lax.scan(back, jnp.zeros_like(last_value), (delta, going_on), reverse=True)
    return advantage, advantage + value


def orders(key, epochs, n):
    """[epochs, n] random orders of n samples; ties of equal random numbers, one in 2^24, are in order."""
    return jnp.argsort(jax.random.uniform(key, (epochs, n)), axis=1)


def mean_return(environment, world, outputs, key, episodes):
    """The mean return of fresh episodes, each up to its end or the time limit; actions are sampled.

    Args:
      environment, outputs: as in `rollout`.
      world: in which the model was trained.
      key: of the episodes.
      episodes: how many, side by side.

    Returns:
      Scalar.
    """
    policy, _ = policy_of(environment)
    key_reset, key_run = jax.random.split(key)
    state = jax.vmap(environment.reset, (None, 0))(world, jax.random.split(key_reset, episodes))

    def step(carry, i):
        state, alive, total = carry
        key_action, key_step = jax.random.split(jax.random.fold_in(key_run, i))
        action = policy.sample(key_action, outputs(jax.vmap(environment.observe)(state))[:, :-1])
        keys = jax.random.split(key_step, episodes)
        state, reward, terminated = jax.vmap(environment.step, (None, 0, 0, 0))(world, state, action, keys)
        return (state, alive & ~terminated, total + alive * reward), None

    first = (state, jnp.ones(episodes, bool), jnp.zeros(episodes))
    (_, _, total), _ = jax.lax.scan(step, first, jnp.arange(environment.limit))
    return total.mean()
