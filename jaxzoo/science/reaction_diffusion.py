"""A reaction-diffusion equation with a source, on a grid in space and time."""

import jax
import jax.numpy as jnp
import numpy as np


def reaction_diffusion(u, *, diffusion=0.01, reaction=0.01, steps=100, end=1.0):
    """s_t = D s_xx + k s^2 + u(x) on [0, 1] x [0, end], zero at first and at both borders.

    Crank-Nicolson for the diffusion, Heun's method for the rest: second order in space and time.

    Args:
      u: [n] source on an even grid over [0, 1], borders included; n at least 3.
      diffusion: D > 0.
      reaction: k.
      steps: points in time less one.
      end: of time.

    Returns:
      [steps, n]: s at the times end / (steps - 1) * (0 .. steps - 1).

    Raises:
      ValueError: shapes or numbers out of range.
    """
    if u.ndim != 1 or len(u) < 3 or not diffusion > 0 or steps < 2:
        raise ValueError(f"expected u [n >= 3], diffusion > 0, steps >= 2, got {u.shape}, {diffusion}, {steps}")
    n, dt = len(u), end / (steps - 1)
    second = (np.diag(np.full(n - 2, -2.0)) + np.diag(np.ones(n - 3), 1) + np.diag(np.ones(n - 3), -1)) * (n - 1) ** 2
    half = 0.5 * dt * diffusion * second
    implicit = np.linalg.inv(np.eye(n - 2) - half)
    # Once for all: s_next = whole s + forced f, f the rest of the right-hand side over a step.
    whole, forced = (jnp.asarray(x, u.dtype) for x in (implicit @ (np.eye(n - 2) + half), dt * implicit))
    source = u[1:-1]

    def step(s, _):
        f = reaction * s**2 + source
        predicted = whole @ s + forced @ f
        s = whole @ s + forced @ (f + reaction * predicted**2 + source) / 2
        return s, s

    start = jnp.zeros(n - 2, u.dtype)
    _, s = jax.lax.scan(step, start, length=steps - 1)
    return jnp.pad(jnp.concatenate([start[None], s]), ((0, 0), (1, 1)))
