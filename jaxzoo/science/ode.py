"""Responses of ordinary differential equations to a forcing that is given on a grid, by Runge-Kutta of order 4."""

import jax
import jax.numpy as jnp


def ode_response(g, s0, u, *, end=1.0):
    """s' = g(s, u(x), x), s(0) = s0, on the grid of u.

    Between two points u is a cubic through the four nearest, so that the method keeps its order on smooth forcings.

    Args:
      g: `g(s [k], u, x) -> [k]`, traceable.
      s0: [k] state at 0.
      u: [n] forcing on an even grid over [0, end], ends included; n at least 4. Map over functions with `jax.vmap`.
      end: of the interval.

    Returns:
      [n, k]: s at every point of the grid.

    Raises:
      ValueError: shapes do not fit.
    """
    if u.ndim != 1 or len(u) < 4 or s0.ndim != 1:
        raise ValueError(f"expected u [n >= 4] and s0 [k], got {u.shape} and {s0.shape}")
    h = end / (len(u) - 1)
    x = jnp.linspace(0, end, len(u), dtype=u.dtype)[:-1]

    def step(s, given):
        x, before, half, after = given
        k1 = g(s, before, x)
        k2 = g(s + h / 2 * k1, half, x + h / 2)
        k3 = g(s + h / 2 * k2, half, x + h / 2)
        k4 = g(s + h * k3, after, x + h)
        s = s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return s, s

    _, s = jax.lax.scan(step, s0, (x, u[:-1], midpoints(u), u[1:]))
    return jnp.concatenate([s0[None], s])


def midpoints(u):
    """Values [n - 1] half-way between the points of an even grid, by cubic interpolation of u [n]."""
    inner = (-u[:-3] + 9 * u[1:-2] + 9 * u[2:-1] - u[3:]) / 16
    edge = lambda a, b, c, d: ((5 * a + 15 * b - 5 * c + d) / 16)[None]  # noqa: E731
    return jnp.concatenate([edge(*u[:4]), inner, edge(*u[-4:][::-1])])


def antiderivative(s, u, x):
    """s' = u."""
    return u[None]


def nonlinear(s, u, x):
    """s' = -s^2 + u."""
    return -(s**2) + u[None]


def pendulum(s, u, x):
    """s1' = s2, s2' = -sin s1 + u: a pendulum under an external force, k = 1."""
    return jnp.stack([s[1], -jnp.sin(s[0]) + u])
