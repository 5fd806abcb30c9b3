"""What the algorithms of gradient boosting reinforcement learning have in common: the agent, and its boosting step.

Source: Fuhrer, Tessler, Dalal, "Gradient Boosting Reinforcement Learning" (arXiv 2407.08250).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.agents.ensemble import Ensemble, boost_append, empty_ensemble, ensemble_predict
from jaxzoo.agents.environments import Environment
from jaxzoo.agents.ppo import Batch
from jaxzoo.agents.rollout import Actors, Policy, gae, policy_of, recent_return, rollout, start
from jaxzoo.agents.trees import tree_fit_greedy, tree_fit_oblivious, tree_predict


class Growth(NamedTuple):
    """How a tree is grown.

    Attributes:
      depth: levels.
      n_bins: candidates of a numeric feature; 256 in the paper.
      score: "l2" or "cosine".
      greedy: every node its own split, instead of one for a level.
      min_data: least samples in a child of a greedy node.
    """

    depth: int = 4
    n_bins: int = 32
    score: str = "l2"
    greedy: bool = False
    min_data: int = 1

    def fit(self, x, cats, g):
        """A `Tree` for the gradients g [n, d] at x [n, f]."""
        if self.greedy:
            return tree_fit_greedy(x, cats, g, self.n_bins, self.depth, score=self.score, min_data=self.min_data)
        return tree_fit_oblivious(x, cats, g, self.n_bins, self.depth, score=self.score)


class Agent(NamedTuple):
    """What a learner carries from update to update.

    Attributes:
      ensembles: one, or with separate trees that of the policy and that of the value.
      actors: its environments.
      memory: what AWR keeps of earlier rollouts; else empty.
    """

    ensembles: tuple[Ensemble, ...]
    actors: Actors
    memory: tuple = ()


def gbrl_outputs(ensembles, x):
    """[n, a + 1] outputs at x [n, f] of an agent's ensembles: parameters of the policy, then the value."""
    return jnp.concatenate([ensemble_predict(ensemble, x) for ensemble in ensembles], axis=-1)


def with_trees(agent, count):
    """The agent with another number of its trees in use: `count(number)` of each ensemble."""
    ensembles = tuple(ensemble._replace(count=count(ensemble.count)) for ensemble in agent.ensembles)
    return agent._replace(ensembles=ensembles)


def boost(ensembles, f, x, index, gradient, *, cats, growth, rates, shift):
    """One boosting step: a tree, or one for each part of the outputs, fitted to the gradients of a minibatch.

    Args:
      ensembles: tuple of `Ensemble`.
      f: [n, a + 1] outputs at all stored samples.
      x: [n, f] the samples.
      index: [m] those of the minibatch.
      gradient: `gradient(f [m, a + 1], index [m]) -> [m, a + 1]`.
      cats: for each feature its number of categories, 0 for a number.
      growth: `Growth`.
      rates: tuple of [d], the learning rates of each ensemble's outputs.
      shift: int32, normally 0; otherwise every sample gets another one's gradient, the negative control.

    Returns:
      `(ensembles, f)`, the latter with the new trees' share.
    """
    g = gradient(f[index], index)
    rows = x[index[(jnp.arange(len(index)) + shift) % len(index)]]
    grown, shares, begin = [], [], 0
    for ensemble, rate in zip(ensembles, rates, strict=True):
        end = begin + rate.shape[0]
        ensemble, tree = boost_append(ensemble, growth.fit(rows, cats, g[:, begin:end]), rate)
        grown.append(ensemble)
        shares.append(tree_predict(tree, x))
        begin = end
    return tuple(grown), f + jnp.concatenate(shares, axis=-1)


class Learner(NamedTuple):
    """The parts that all three algorithms have in common; made by `make_learner`."""

    environment: Environment
    policy: Policy
    init: Callable
    boost: Callable
    gae: Callable


def make_learner(
    environment,
    capacity,
    envs,
    *,
    rates=(0.3, 0.3),
    anneal=0.0,
    gamma=0.98,
    lam=0.95,
    growth=Growth(),  # noqa: B008  an immutable tuple
    separate=False,
    shuffle=False,
    log_std=0.0,
):
    """Checks the options and makes the parts.

    Rates, the schedule and the control are arrays, hence data: learners that differ in them share a program.

    Args:
      environment: `Environment`.
      capacity: trees that its ensembles have room for.
      envs: environments side by side.
      rates: learning rate of the policy's outputs and of the value. May be traced.
      anneal: share by which rates fall, linearly, to the last tree.
      gamma, lam: of the advantages.
      growth: `Growth`.
      separate: trees of their own for policy and value, instead of shared ones.
      shuffle: give every gradient to another sample; the negative control.
      log_std: where continuous actions begin.

    Returns:
      `Learner`.

    Raises:
      ValueError: capacity or envs below 1.
    """
    if min(capacity, envs) < 1:
        raise ValueError(f"updates, minibatches, epochs and envs: expected at least 1, got {capacity} trees, {envs}")
    policy, a = policy_of(environment)
    rates = jnp.concatenate([jnp.full(a, rates[0], jnp.float32), jnp.full(1, rates[1], jnp.float32)])
    bias = jnp.zeros(a + 1)
    if environment.continuous:
        bias = bias.at[a // 2 : a].set(log_std)
    parts = (slice(0, a), slice(a, a + 1)) if separate else (slice(0, a + 1),)
    splits = 2**growth.depth - 1 if growth.greedy else growth.depth
    anneal, shift = jnp.float32(anneal), jnp.asarray(shuffle, jnp.int32)

    def init(key):
        # The half that a neural network's weights take: learners of both kinds begin in the same world.
        _, key_start = jax.random.split(key)
        ensembles = tuple(empty_ensemble(capacity, splits, 2**growth.depth, bias[part]) for part in parts)
        return Agent(ensembles, start(environment, key_start, envs))

    def step(ensembles, f, x, index, gradient):
        left = 1 - anneal * ensembles[0].count / capacity
        now = tuple(left * rates[part] for part in parts)
        options = {"cats": environment.cats, "growth": growth, "rates": now, "shift": shift}
        return boost(ensembles, f, x, index, gradient, **options)

    return Learner(environment, policy, init, step, partial(gae, gamma=gamma, lam=lam))


def collect(learner, agent, key, steps):
    """A rollout as samples: `(actors, x [n, f], f [n, a + 1], batch)` with n = steps * envs."""
    outputs = partial(gbrl_outputs, agent.ensembles)
    actors, out, last = rollout(learner.environment, agent.actors, outputs, key, steps)
    value = out.f[..., -1]
    advantage, target = learner.gae(out.reward, value, out.terminated, out.truncated, out.cut_value, last)
    log_prob = jax.vmap(jax.vmap(learner.policy.log_prob))(out.f[..., :-1], out.action)
    flat = lambda a: a.reshape(-1, *a.shape[2:])  # noqa: E731  [t, b, ...] -> [n, ...]
    return actors, flat(out.x), flat(out.f), jax.tree.map(flat, Batch(out.action, log_prob, advantage, target))


def grow(learner, ensembles, f, x, index, gradient):
    """A boosting step for every minibatch of index [k, m], one after the other; the rest as in `boost`."""
    step = lambda carry, index: (learner.boost(*carry, x, index, gradient), None)  # noqa: E731
    return jax.lax.scan(step, (ensembles, f), index)[0]


def scalars(agent):
    """What an update reports."""
    trees = sum(ensemble.count for ensemble in agent.ensembles)
    return {"return": recent_return(agent.actors), "trees": trees.astype(jnp.float32)}
