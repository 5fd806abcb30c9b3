"""Losses of actor-critic learners as functions of a model's outputs, and their gradients in them.

Outputs f [a + 1] are those of a policy, and last the value. Losses are of one sample: a mean over a batch is left to
whoever takes it, so that a gradient does not shrink with the batch.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.agents.rollout import CATEGORICAL


class Batch(NamedTuple):
    """What a loss needs of each sample beside its outputs; every array [n, ...].

    Attributes:
      action: what was done.
      log_prob: its log-probability when it was done.
      advantage: how much better than expected it was.
      target: what the value should have been.
    """

    action: jax.Array
    log_prob: jax.Array
    advantage: jax.Array
    target: jax.Array


def normalised(batch):
    """The batch with advantages of mean 0 and standard deviation 1."""
    a = batch.advantage
    return batch._replace(advantage=(a - a.mean()) / (a.std() + 1e-8))


def _critic_and_entropy(f, sample, policy, entropy):
    return 0.5 * jnp.square(f[-1] - sample.target) - entropy * policy.entropy(f[:-1])


def ppo_loss(f, sample, *, policy=CATEGORICAL, clip=0.2, entropy=0.0):
    """PPO's clipped loss of one sample, with the value's.

        -min(r A, clip(r, 1 - c, 1 + c) A) + (V - R)^2 / 2 - entropy H,     r = pi(a) / pi_old(a)

    Args:
      f: [a + 1] outputs.
      sample: `Batch` of one sample.
      policy: of the outputs.
      clip: c.
      entropy: coefficient of the policy's entropy H.

    Returns:
      Scalar.

    Source: Schulman et al., "Proximal Policy Optimization Algorithms" (arXiv 1707.06347), eqs. 7 and 9.
    """
    ratio = jnp.exp(policy.log_prob(f[:-1], sample.action) - sample.log_prob)
    clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
    # At equality, as at r = 1, the gradient is that of the unclipped term, not the mean of both.
    low = jnp.where(ratio * sample.advantage <= clipped * sample.advantage, ratio, clipped) * sample.advantage
    return -low + _critic_and_entropy(f, sample, policy, entropy)


def a2c_loss(f, sample, *, policy=CATEGORICAL, entropy=0.0):
    """The plain policy gradient's loss of one sample, -A log pi(a), with the value's; arguments as in `ppo_loss`."""
    actor = -sample.advantage * policy.log_prob(f[:-1], sample.action)
    return actor + _critic_and_entropy(f, sample, policy, entropy)


def awr_loss(f, sample, *, policy=CATEGORICAL, beta=1.0, cap=20.0, entropy=0.0):
    """Advantage-weighted regression: -min(exp(A / beta), cap) log pi(a), with the value's.

    Source: Peng et al., "Advantage-Weighted Regression" (arXiv 1910.00177), eq. 12.
    """
    weight = jnp.minimum(jnp.exp(sample.advantage / beta), cap)
    actor = -weight * policy.log_prob(f[:-1], sample.action)
    return actor + _critic_and_entropy(f, sample, policy, entropy)


def output_gradients(loss, f, batch):
    """[n, a + 1] gradient of each sample's own `loss(f, sample)` in its outputs f [n, a + 1]."""
    return jax.vmap(jax.grad(loss))(f, batch)
