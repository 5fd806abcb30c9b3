"""PPO with a neural network, the usual baseline: two networks with tanh layers, or a linear policy without any.

Source: Schulman et al., "Proximal Policy Optimization Algorithms" (arXiv 1707.06347).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo.agents.orthogonal import orthogonal
from jaxzoo.agents.ppo import Batch, normalised, ppo_loss
from jaxzoo.agents.rollout import Actors, gae, orders, policy_of, recent_return, rollout, start
from jaxzoo.layers import MLP
from jaxzoo.model import Model
from jaxzoo.train.task import Task
from jaxzoo.transforms import as_model


class NeuralAgent(NamedTuple):
    """What the learner carries: parameters, the optimiser's state, environments."""

    params: Any
    optimizer: optax.OptState
    actors: Actors


def one_hot_features(cats):
    """`encode(x [..., f])` that turns categories into one-hot codes and leaves numbers, first, as they are."""
    numeric = np.flatnonzero(np.asarray(cats) == 0)
    feature = np.repeat(np.arange(len(cats)), cats)
    category = np.concatenate([np.arange(c) for c in cats]).astype(np.float32)

    def encode(x):
        code = x[..., feature] == jnp.asarray(category).reshape((1,) * (x.ndim - 1) + (-1,))
        return jnp.concatenate([x[..., numeric], code.astype(x.dtype)], axis=-1)

    return encode


def integer_features(cats, *, scaled=True):
    """`encode(x [..., f])` that leaves categories as integers, by default scaled to [-1, 1]; numbers stay."""
    c = jnp.asarray(cats, jnp.float32)
    scale = jnp.where((c > 1) & scaled, 2 / jnp.maximum(c - 1, 1), 1.0)
    offset = jnp.where((c > 1) & scaled, -1.0, 0.0)

    def encode(x):
        lead = (1,) * (x.ndim - 1) + (-1,)
        return x * scale.reshape(lead) + offset.reshape(lead)

    return encode


def encoded(environment, encode):
    """The environment with `encode` applied to what it shows; all features then count as numbers."""
    shape = jax.eval_shape(encode, jax.ShapeDtypeStruct((len(environment.cats),), jnp.float32)).shape
    return environment._replace(observe=lambda state: encode(environment.observe(state)), cats=(0,) * shape[0])


def actor_critic(environment, *, hidden=(64, 64)):
    """The networks of policy and value, apart from each other: apply(params, x [..., f]) -> [..., a + 1].

    Orthogonal initial weights of gain sqrt 2, in the policy's last layer 0.01, in the value's 1.

    Args:
      environment: `Environment`.
      hidden: widths of the tanh layers; () for a linear policy and value.

    Returns:
      `Model`.
    """
    _, a = policy_of(environment)
    gain = 2**0.5
    network = partial(MLP, activation=jnp.tanh, kernel_init=orthogonal(gain))
    actor, critic = as_model(network((*hidden, a))), as_model(network((*hidden, 1)))
    last = f"dense_{len(hidden)}"

    def init(key, x):
        # One program for both: the first column of an orthogonal matrix is what the value's last layer would draw.
        params = jax.vmap(actor.init, (0, None))(jax.random.split(key), x)
        params = {name: jax.tree.map(lambda a, i=i: a[i], params) for i, name in enumerate(("actor", "critic"))}
        params["critic"][last] = jax.tree.map(lambda a: a[..., :1], params["critic"][last])
        for name, size in (("actor", 0.01), ("critic", 1.0)):
            params[name][last]["kernel"] = params[name][last]["kernel"] * (size / gain)
        return params

    def apply(params, x, *, key=None):
        return jnp.concatenate([actor.apply(params["actor"], x), critic.apply(params["critic"], x)], axis=-1)

    return Model(init, apply)


def neural_ppo(
    environment,
    model,
    *,
    envs=16,
    steps=128,
    epochs=10,
    minibatch=64,
    rate=3e-4,
    clip=0.2,
    entropy=0.0,
    gamma=0.98,
    lam=0.95,
):
    """PPO with Adam, gradients clipped to norm 0.5.

    Args:
      environment: `Environment`.
      model: from `actor_critic`; must take a batch.
      envs, steps: of a rollout.
      epochs, minibatch: passes over a rollout, and samples of a step.
      rate: of Adam. May be traced.
      clip, entropy, gamma, lam: as in `gbrl_ppo`.

    Returns:
      A `Task` with state `NeuralAgent` and the scalar "return", of the last 50 episodes.

    Raises:
      ValueError: a minibatch that does not divide a rollout.
    """
    n = envs * steps
    if minibatch < 1 or n % minibatch:
        raise ValueError(f"minibatch: expected a divisor of envs * steps = {n}, got {minibatch}")
    policy, _ = policy_of(environment)
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(jnp.asarray(rate, jnp.float32), eps=1e-5))
    loss = partial(ppo_loss, policy=policy, clip=clip, entropy=entropy)

    def init(key):
        key_model, key_start = jax.random.split(key)
        params = model.init(key_model, jnp.zeros(len(environment.cats)))
        return NeuralAgent(params, optimizer.init(params), start(environment, key_start, envs))

    def descend(carry, sample):
        params, memory = carry
        x, batch = sample

        def mean_loss(params):
            return jax.vmap(loss)(model.apply(params, x), normalised(batch)).mean()

        change, memory = optimizer.update(jax.grad(mean_loss)(params), memory, params)
        return (optax.apply_updates(params, change), memory), None

    def update(agent, key):
        key_rollout, key_order = jax.random.split(key)
        outputs = partial(model.apply, agent.params)
        actors, out, last = rollout(environment, agent.actors, outputs, key_rollout, steps)
        ends = (out.terminated, out.truncated, out.cut_value, last)
        advantage, target = gae(out.reward, out.f[..., -1], *ends, gamma=gamma, lam=lam)
        log_prob = jax.vmap(jax.vmap(policy.log_prob))(out.f[..., :-1], out.action)
        samples = (out.x, Batch(out.action, log_prob, advantage, target))
        samples = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), samples)  # [t, b, ...] -> [n, ...]
        order = orders(key_order, epochs, n).reshape(-1, minibatch)
        (params, memory), _ = jax.lax.scan(
            lambda carry, index: descend(carry, jax.tree.map(lambda a: a[index], samples)),
            (agent.params, agent.optimizer),
            order,
        )
        return NeuralAgent(params, memory, actors), {"return": recent_return(actors)}

    return Task(init, update)
