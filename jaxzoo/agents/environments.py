"""Environments as pure functions of one state: classic control. Batching is `jax.vmap`, time limits are the rollout's.

The equations and constants are those of the classic-control tasks of Gymnasium, which go back to Barto, Sutton and
Anderson (1983, cart-pole), Moore (1990, mountain car) and Sutton (1996, acrobot).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Environment(NamedTuple):
    """An environment as pure functions.

    Attributes:
      world: `world(key) -> world`: what stays the same for a whole training; a pytree.
      reset: `reset(world, key) -> state`: the first state of an episode.
      step: `step(world, state, action, key) -> (state, reward, terminated)`.
      observe: `observe(state) -> [f]` float32; categories are whole numbers from 0.
      cats: for each feature its number of categories, 0 for a number.
      actions: how many there are (discrete), or how many numbers an action has (continuous).
      limit: steps after which an episode is cut off; that is truncation, not termination.
      continuous: whether actions are numbers.
      clip: whether learners see the sign of rewards; returns count them as they are.
    """

    world: Callable[[jax.Array], Any]
    reset: Callable[[Any, jax.Array], Any]
    step: Callable[[Any, Any, jax.Array, jax.Array], tuple[Any, jax.Array, jax.Array]]
    observe: Callable[[Any], jax.Array]
    cats: tuple[int, ...]
    actions: int
    limit: int
    continuous: bool = False
    clip: bool = False


def no_world(key):
    """Nothing stays the same, because nothing varies."""
    return ()


def _uniform_start(low, high):
    low, high = jnp.asarray(low), jnp.asarray(high)
    return lambda world, key: jax.random.uniform(key, low.shape, minval=low, maxval=high)


def cartpole(*, limit=500):
    """Balance a pole on a cart that is pushed left (0) or right (1); reward 1 a step.

    State and observation: place, velocity, angle, angular velocity. Ends at |place| > 2.4 or |angle| > 0.2095.
    """
    gravity, cart, pole, half, force, dt = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02

    def step(world, state, action, key):
        x, v, angle, w = state
        push = jnp.where(action == 1, force, -force)
        sin, cos = jnp.sin(angle), jnp.cos(angle)
        pushed = (push + pole * half * w**2 * sin) / (cart + pole)
        turn = (gravity * sin - cos * pushed) / (half * (4 / 3 - pole * cos**2 / (cart + pole)))
        speed = pushed - pole * half * turn * cos / (cart + pole)
        state = jnp.stack([x + dt * v, v + dt * speed, angle + dt * w, w + dt * turn])
        return state, jnp.float32(1), (jnp.abs(state[0]) > 2.4) | (jnp.abs(state[2]) > 0.2095)

    start = _uniform_start([-0.05] * 4, [0.05] * 4)
    return Environment(no_world, start, step, lambda state: state, (0,) * 4, 2, limit)


def mountain_car(*, limit=999):
    """Drive a weak car out of a valley: the action is a force in [-1, 1]; reward -0.1 force^2, and 100 at the top.

    State and observation: place in [-1.2, 0.6], velocity in [-0.07, 0.07]. Ends at place >= 0.45.
    """

    def step(world, state, action, key):
        x, v = state
        force = jnp.clip(action[0], -1, 1)
        v = jnp.clip(v + 0.0015 * force - 0.0025 * jnp.cos(3 * x), -0.07, 0.07)
        x = jnp.clip(x + v, -1.2, 0.6)
        v = jnp.where((x <= -1.2) & (v < 0), 0, v)
        top = (x >= 0.45) & (v >= 0)
        # As in Gymnasium, the price is that of the force that was asked for.
        return jnp.stack([x, v]), jnp.where(top, 100.0, 0.0) - 0.1 * jnp.square(action[0]), top

    start = _uniform_start([-0.6, 0.0], [-0.4, 0.0])
    return Environment(no_world, start, step, lambda state: state, (0, 0), 1, limit, True)


def _acrobot_slopes(state, torque):
    """Time derivatives of angles and angular velocities; links of mass and length 1, inertia 1, g = 9.8."""
    a, b, va, vb = state
    d1 = 0.25 + (1 + 0.25 + jnp.cos(b)) + 2
    d2 = 0.25 + 0.5 * jnp.cos(b) + 1
    phi2 = 0.5 * 9.8 * jnp.cos(a + b - jnp.pi / 2)
    phi1 = -0.5 * vb**2 * jnp.sin(b) - vb * va * jnp.sin(b) + 1.5 * 9.8 * jnp.cos(a - jnp.pi / 2) + phi2
    ab = (torque + d2 / d1 * phi1 - 0.5 * va**2 * jnp.sin(b) - phi2) / (0.25 + 1 - d2**2 / d1)
    return jnp.stack([va, vb, -(d2 * ab + phi1) / d1, ab])


def acrobot(*, limit=500):
    """Swing the end of a double pendulum up by a torque of -1, 0 or 1 at the joint; reward -1 a step, 0 at the top.

    Observation: cosine and sine of both angles, both angular velocities. Ends where the tip is 1 above the pivot.
    """

    def step(world, state, action, key):
        torque, dt = action - 1.0, 0.2
        k1 = _acrobot_slopes(state, torque)
        k2 = _acrobot_slopes(state + dt / 2 * k1, torque)
        k3 = _acrobot_slopes(state + dt / 2 * k2, torque)
        k4 = _acrobot_slopes(state + dt * k3, torque)
        a, b, va, vb = state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        turn = 2 * jnp.pi
        state = jnp.stack(
            [
                (a + jnp.pi) % turn - jnp.pi,
                (b + jnp.pi) % turn - jnp.pi,
                jnp.clip(va, -4 * jnp.pi, 4 * jnp.pi),
                jnp.clip(vb, -9 * jnp.pi, 9 * jnp.pi),
            ]
        )
        top = -jnp.cos(state[0]) - jnp.cos(state[0] + state[1]) > 1
        return state, jnp.where(top, 0.0, -1.0), top

    def observe(state):
        a, b, va, vb = state
        return jnp.stack([jnp.cos(a), jnp.sin(a), jnp.cos(b), jnp.sin(b), va, vb])

    return Environment(no_world, _uniform_start([-0.1] * 4, [0.1] * 4), step, observe, (0,) * 6, 3, limit)


def pendulum(*, limit=200):
    """Swing a pendulum up and hold it by a torque in [-2, 2]; the reward is minus angle^2 + w^2 / 10 + torque^2 / 1000.

    Observation: cosine and sine of the angle (0 is up), angular velocity. Never ends by itself.
    """

    def step(world, state, action, key):
        angle, w = state
        torque = jnp.clip(action[0], -2, 2)
        off = (angle + jnp.pi) % (2 * jnp.pi) - jnp.pi
        reward = -(off**2 + 0.1 * w**2 + 0.001 * torque**2)
        w = jnp.clip(w + (15 * jnp.sin(angle) + 3 * torque) * 0.05, -8, 8)
        return jnp.stack([angle + 0.05 * w, w]), reward, jnp.asarray(False)

    def observe(state):
        return jnp.stack([jnp.cos(state[0]), jnp.sin(state[0]), state[1]])

    start = _uniform_start([-jnp.pi, -1.0], [jnp.pi, 1.0])
    return Environment(no_world, start, step, observe, (0,) * 3, 1, limit, True)
