"""Frames for the Euclidean groups: a few rotations and a centre that turn with the points they are made from.

A frame is a set-valued map F with F(g X) = g F(X). For the motions of d-space it is the principal axes with all choices
of signs, 2^d elements, or the 2^(d-1) of them that don't reflect.

Source: Puny et al., "Frame Averaging for Invariant and Equivariant Network Design" (arXiv 2110.03336).
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.ops import normalize

OUTPUTS = ("invariant", "vector", "position")


class Frame(NamedTuple):
    """Group elements g = (R, t), which act as g X = X R^T + t.

    Attributes:
      rotations: [m, d, d] orthogonal matrices R, one for each element.
      centre: [d] the common translation t.
    """

    rotations: jax.Array
    centre: jax.Array


def euclidean_frame(x, *, proper=False, centred=True):
    """The frame of a point cloud: t its mean, R = [a_1 v_1, ..., a_d v_d] its principal axes with signs a_i = -+1.

    (X - t)^T (X - t) = V diag(w) V^T, w ascending. Equal eigenvalues leave the axes undetermined: there the frame, and
    with it every average over it, jumps.

    Args:
      x: [n, d] points.
      proper: only the elements with determinant +1, for SE(d) and SO(d).
      centred: False for O(d) and SO(d): t = 0.

    Returns:
      A `Frame` of 2^d elements, or 2^(d-1). A constant: no gradient flows into x.

    Raises:
      ValueError: x is not [n, d].
    """
    if x.ndim != 2:
        raise ValueError(f"x: expected [n, d], got {x.shape}")
    d = x.shape[1]
    x = jax.lax.stop_gradient(x)
    centre = x.mean(0) if centred else jnp.zeros_like(x[0])
    offset = x - centre[None]
    axes = jnp.linalg.eigh(offset.T @ offset)[1]
    signs = np.array(list(itertools.product((1, -1), repeat=d)))
    if proper:
        signs = signs[signs.prod(1) == 1]
        axes = axes.at[:, -1].multiply(jnp.sign(jnp.linalg.det(axes)))
    return Frame(axes[None] * jnp.asarray(signs, x.dtype)[:, None], centre)


def eigengap(x):
    """How well determined the axes of clouds are: the smallest gap of eigenvalues over the largest one.

    Args:
      x: [..., n, d] points. On the host, in float64.

    Returns:
      [...].
    """
    x = np.asarray(x, np.float64)
    offset = x - x.mean(-2, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(np.swapaxes(offset, -1, -2) @ offset)
    return np.diff(eigenvalues, axis=-1).min(-1) / eigenvalues[..., -1]


def random_frame(key, x, k, *, proper=True, centred=True):
    """What group averaging takes in the place of a frame: k uniformly random rotations, and the mean of the points.

    Args:
      key: of the rotations.
      x: [n, 3] points.
      k: number of elements.
      proper: rotations alone; else half of them reflect, on average.
      centred: False for t = 0.

    Returns:
      A `Frame` of k elements.
    """
    drawn = jax.random.normal(key, (k, 5), x.dtype)
    rotations = rotations_of(drawn[:, :4])
    if not proper:
        rotations *= jnp.sign(drawn[:, 4])[:, None, None]
    return Frame(rotations, jax.lax.stop_gradient(x.mean(0)) if centred else jnp.zeros_like(x[0]))


def random_rotations(key, count):
    """Uniformly random rotations of 3-space, [count, 3, 3]."""
    return rotations_of(jax.random.normal(key, (count, 4)))


def uniform_quaternions(u):
    """Quaternions [m, 4] of uniformly random rotations, from uniform numbers [m, 3] in [0, 1).

    Source: Shoemake, "Uniform random rotations" (Graphics Gems III, 1992).
    """
    (a, b), (angle_a, angle_b) = jnp.sqrt(jnp.stack([1 - u[:, 0], u[:, 0]])), 2 * jnp.pi * u[:, 1:].T
    return jnp.stack([a * jnp.sin(angle_a), a * jnp.cos(angle_a), b * jnp.sin(angle_b), b * jnp.cos(angle_b)], axis=1)


def rotations_of(quaternions):
    """The rotations [m, 3, 3] of quaternions [m, 4] of any length; uniform if those are normally distributed."""
    w, x, y, z = normalize(quaternions).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return jnp.stack([jnp.stack(row, axis=1) for row in rows], axis=1)


def to_frame(x, frame, *, vectors=False):
    """The points as each element of the frame sees them: g^-1 X = (X - t) R.

    Args:
      x: [..., d] points or vectors.
      frame: a `Frame` of m elements.
      vectors: velocities, forces and the like are only turned: X R.

    Returns:
      [m, ..., d].
    """
    offset = x if vectors else x - jax.lax.expand_dims(frame.centre, range(x.ndim - 1))
    return jax.vmap(_turn, (None, 0))(offset, frame.rotations)


def from_frame(y, frame, *, out="vector"):
    """Outputs in the frame's coordinates turned back, and averaged: mean over m of rho(g_m) y_m.

    Args:
      y: [m, ..., d] one output for each element of the frame; for "invariant" of any shape [m, ...].
      frame: a `Frame` of m elements.
      out: what y is: "invariant" numbers, "vector" (Y R^T) or "position" (Y R^T + t).

    Returns:
      [..., d], or [...] for "invariant".

    Raises:
      ValueError: out is none of the three.
    """
    if out not in OUTPUTS:
        raise ValueError(f"out: expected one of {', '.join(OUTPUTS)}, got {out!r}")
    if out == "invariant":
        return y.mean(0)
    y = jax.vmap(_turn)(y, jnp.swapaxes(frame.rotations, 1, 2)).mean(0)
    return y + jax.lax.expand_dims(frame.centre, range(y.ndim - 1)) if out == "position" else y


def _turn(x, matrix):
    """x [..., d] @ matrix [d, d], as elementwise products: many tiny matrix products are slow on CPU."""
    rows = jax.lax.expand_dims(matrix, range(x.ndim - 1))  # [..., d, d]
    return (x[..., None] * rows).sum(-2)
