"""Gradient boosting reinforcement learning: actor-critic learners whose model is an ensemble of trees, grown online.

The model is f(s) = bias - sum_k rate v_k[leaf_k(s)], with the policy's parameters and the value as its outputs. For
every minibatch, the gradient of each sample's loss in its own outputs,

    g_i = d loss_i / d f(s_i),                                                                         (Sec. 3.2, eq. 5)

is fitted by one new tree, which is added with a learning rate for the policy and one for the value. Nothing is fitted
again and no gradient passes through a tree. One structure of trees serves policy and value (shared actor-critic,
Sec. 4.2); `separate` gives each its own.

Stored rollouts keep the outputs of their samples: a new tree adds only its own, so that a minibatch costs the same
however many trees there are.

Source: Fuhrer, Tessler, Dalal, "Gradient Boosting Reinforcement Learning" (arXiv 2407.08250).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.agents.boosting import Agent, Growth, boost, collect, gbrl_outputs, grow, make_learner, scalars
from jaxzoo.agents.ensemble import boost_append, boost_supervised, ensemble_predict, feature_importance
from jaxzoo.agents.ppo import Batch, a2c_loss, awr_loss, normalised, output_gradients, ppo_loss
from jaxzoo.agents.rollout import CATEGORICAL, gae, orders, policy_of
from jaxzoo.agents.trees import tree_fit_greedy, tree_fit_oblivious
from jaxzoo.train.task import Task

__all__ = [
    "Agent",
    "Growth",
    "boost",
    "boost_append",
    "boost_supervised",
    "ensemble_predict",
    "feature_importance",
    "gae",
    "gbrl_a2c",
    "gbrl_awr",
    "gbrl_outputs",
    "gbrl_ppo",
    "ppo_output_gradients",
    "tree_fit_greedy",
    "tree_fit_oblivious",
]


class Memory(NamedTuple):
    """Samples of earlier rollouts, [m, ...], the first min(seen, m) in use.

    Attributes:
      x: observations.
      f: their outputs by the present ensemble.
      batch: `Batch`.
      seen: int32, how many there were in all.
    """

    x: jax.Array
    f: jax.Array
    batch: Batch
    seen: jax.Array


def ppo_output_gradients(f, batch, *, policy=CATEGORICAL, clip=0.2, entropy=0.0):
    """The gradient of each sample's PPO loss in its own outputs; advantages are taken as they are.

    Args:
      f: [n, a + 1] outputs, the value last.
      batch: `jaxzoo.agents.ppo.Batch`, arrays [n, ...].
      policy, clip, entropy: as in `jaxzoo.agents.ppo.ppo_loss`.

    Returns:
      [n, a + 1].
    """
    return output_gradients(partial(ppo_loss, policy=policy, clip=clip, entropy=entropy), f, batch)


def gbrl_ppo(environment, *, updates, envs=16, steps=128, minibatches=4, epochs=1, clip=0.2, entropy=0.0, **options):
    """PPO with trees: every minibatch of every epoch grows one tree.

    Args:
      environment: `jaxzoo.agents.environments.Environment`.
      updates: how many the ensemble has room for; updates * epochs * minibatches trees.
      envs, steps: of a rollout.
      minibatches, epochs: passes over a rollout and the parts of each.
      clip, entropy: of the loss.
      **options: learning rates, discount, trees: those of `jaxzoo.agents.boosting.make_learner`.

    Returns:
      A `Task` with state `Agent` and the scalars "return", of the last 50 episodes, and "trees".

    Raises:
      ValueError: sizes below 1, or samples that don't divide into minibatches.
    """
    policy, _ = policy_of(environment)
    loss = partial(ppo_loss, policy=policy, clip=clip, entropy=entropy)
    if minibatches < 1 or (envs * steps) % minibatches:
        raise ValueError(f"minibatches: expected a divisor of envs * steps = {envs * steps}, got {minibatches}")
    learner = make_learner(environment, updates * minibatches * epochs, envs, **options)

    def update(agent, key):
        key_rollout, key_order = jax.random.split(key)
        actors, x, f, batch = collect(learner, agent, key_rollout, steps)

        def gradient(f, index):
            part = normalised(jax.tree.map(lambda a: a[index], batch))
            return output_gradients(loss, f, part)

        order = orders(key_order, epochs, len(x)).reshape(epochs * minibatches, -1)
        ensembles, _ = grow(learner, agent.ensembles, f, x, order, gradient)
        agent = Agent(ensembles, actors)
        return agent, scalars(agent)

    return Task(learner.init, update)


def gbrl_a2c(environment, *, updates, envs=16, steps=16, entropy=0.0, **options):
    """A2C with trees: a short rollout, and one tree for all of it. Arguments and result as in `gbrl_ppo`."""
    policy, _ = policy_of(environment)
    loss = partial(a2c_loss, policy=policy, entropy=entropy)
    learner = make_learner(environment, updates, envs, **options)

    def update(agent, key):
        actors, x, f, batch = collect(learner, agent, key, steps)
        gradient = lambda f, index: output_gradients(loss, f, normalised(batch))  # noqa: E731
        ensembles, _ = learner.boost(agent.ensembles, f, x, jnp.arange(len(x)), gradient)
        agent = Agent(ensembles, actors)
        return agent, scalars(agent)

    return Task(learner.init, update)


def gbrl_awr(
    environment, *, updates, envs=16, steps=128, kept=8, trees=8, minibatch=512, beta=1.0, cap=20.0, **options
):
    """Advantage-weighted regression with trees: off-policy, from the last rollouts.

    Targets of the value are those of the rollout's time; advantages are counted from the present value.

    Args:
      environment, updates, envs, steps, **options: as in `gbrl_ppo`.
      kept: rollouts in memory.
      trees: grown after each rollout.
      minibatch: samples, drawn from memory, that a tree is fitted to.
      beta, cap: of the weights exp(A / beta), A of standard deviation 1.

    Returns:
      A `Task`, as `gbrl_ppo`.

    Raises:
      ValueError: sizes below 1.
    """
    if min(kept, trees, minibatch) < 1:
        raise ValueError(f"kept, trees and minibatch: expected at least 1, got {kept}, {trees}, {minibatch}")
    policy, _ = policy_of(environment)
    loss = partial(awr_loss, policy=policy, beta=beta, cap=cap)
    learner = make_learner(environment, updates * trees, envs, **options)
    n = envs * steps

    def init(key):
        agent = learner.init(key)
        _, *shapes = jax.eval_shape(lambda: collect(learner, agent, jax.random.key(0), steps))
        empty = jax.tree.map(lambda a: jnp.zeros((kept * n, *a.shape[1:]), a.dtype), shapes)
        return agent._replace(memory=Memory(*empty, jnp.int32(0)))

    def update(agent, key):
        key_rollout, key_draw = jax.random.split(key)
        actors, *fresh = collect(learner, agent, key_rollout, steps)
        seen = agent.memory.seen
        x, f, batch = jax.tree.map(
            lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, seen % (kept * n), 0),
            list(agent.memory[:3]),
            fresh,
        )
        seen = seen + n

        def gradient(f, index):
            part = jax.tree.map(lambda a: a[index], batch)
            return output_gradients(loss, f, normalised(part._replace(advantage=part.target - f[:, -1])))

        index = jax.random.randint(key_draw, (trees, minibatch), 0, jnp.minimum(seen, kept * n))
        ensembles, f = grow(learner, agent.ensembles, f, x, index, gradient)
        agent = Agent(ensembles, actors, Memory(x, f, batch, seen))
        return agent, scalars(agent)

    return Task(init, update)
