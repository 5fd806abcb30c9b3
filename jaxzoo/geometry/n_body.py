"""Charged particles in open space: they attract and repel each other by Coulomb's law.

Source: Kipf et al., "Neural relational inference for interacting systems" (arXiv 1802.04687), in the three dimensions
and without the walls of Satorras, Hoogeboom, Welling, "E(n) equivariant graph neural networks" (arXiv 2102.09844).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.ops import normalize

MAX_FORCE = 100.0
"""No component of a force exceeds this, so that close encounters don't break the integrator."""


class Bodies(NamedTuple):
    """Charged particles at one time.

    Attributes:
      x: [n, 3] positions.
      v: [n, 3] velocities.
      q: [n] charges, -1 or +1.
    """

    x: jax.Array
    v: jax.Array
    q: jax.Array


def coulomb_forces(x, q):
    """F_i = sum over j of q_i q_j (x_i - x_j) / |x_i - x_j|^3, clipped to -+100 per component: [n, 3]."""
    # By component: XLA on CPU vectorises over sums of [n, n] five times better than over a trailing axis of 3.
    apart = [x[:, axis][:, None] - x[:, axis][None] for axis in range(3)]
    itself = jnp.eye(len(x), dtype=bool)
    inverse = jax.lax.rsqrt(jnp.where(itself, 1.0, sum(jnp.square(along) for along in apart)))
    strength = jnp.where(itself, 0.0, q[:, None] * q[None] * inverse**3)
    forces = jnp.stack([(strength * along).sum(1) for along in apart], axis=1)
    return jnp.clip(forces, -MAX_FORCE, MAX_FORCE)


def nbody_start(key, n=5):
    """Charges -+1, positions N(0, 1), and velocities of length 0.5 in random directions: `Bodies`."""
    x, v, sign = jnp.split(jax.random.normal(key, (n, 7)), (3, 6), axis=1)  # one draw for all: there is less to compile
    return Bodies(x, 0.5 * normalize(v), jnp.where(sign[:, 0] < 0, -1.0, 1.0))


def nbody_charged(key, n=5, steps=4000, *, every=1000, dt=0.001):
    """A random system of charged particles of mass 1, integrated by kick and drift.

    Args:
      key: of the system.
      n: number of particles.
      steps: of time dt; a multiple of `every`.
      every: steps between two states that are kept.
      dt: time of a step.

    Returns:
      `Bodies` with a leading axis of steps // every, the state after every, 2 every, ... steps; charges too.

    Raises:
      ValueError: steps is no multiple of every.
    """
    if every < 1 or steps < every or steps % every:
        raise ValueError(f"steps: expected a multiple of every = {every}, got {steps}")

    def step(_, bodies):
        v = bodies.v + dt * coulomb_forces(bodies.x, bodies.q)
        return Bodies(bodies.x + dt * v, v, bodies.q)

    def keep(bodies, _):
        bodies = jax.lax.fori_loop(0, every, step, bodies)
        return bodies, bodies

    return jax.lax.scan(keep, nbody_start(key, n), length=steps // every)[1]
