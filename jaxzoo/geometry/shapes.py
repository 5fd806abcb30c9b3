"""Random solids with points on their surfaces and the exact normals there, in a canonical pose.

Ellipsoids, superquadrics, boxes and cones of random proportions, centred on the origin, axes along the coordinates.
"""

import jax
import jax.numpy as jnp

from jaxzoo.ops import normalize

KINDS = 4


def ellipsoid(key, size, n):
    """Points u * size, u uniform on the sphere, of the ellipsoid with these half axes; normals along u / size.

    Args:
      key: of the points.
      size: [3] half axes.
      n: number of points.

    Returns:
      `(points [n, 3], normals [n, 3])`.
    """
    u = normalize(jax.random.normal(key, (n, 3)))
    return u * size[None], normalize(u / size[None])


def superquadric(key, size, n, *, power=4.0):
    """Points of sum |x_i / size_i|^power = 1 in random directions; normals along the gradient.

    Args:
      key, size, n: as for `ellipsoid`.
      power: 2 is the ellipsoid, larger ones approach the box. May be traced.

    Returns:
      `(points, normals)`.
    """
    u = normalize(jax.random.normal(key, (n, 3)))
    u /= (jnp.abs(u) ** power).sum(1, keepdims=True) ** (1 / power)
    return u * size[None], normalize(jnp.sign(u) * jnp.abs(u) ** (power - 1) / size[None])


def box(key, size, n):
    """Points uniform on the surface of the box [-size, size]; normals of its faces. Args and returns: `ellipsoid`."""
    key_face, key_side, key_place = jax.random.split(key, 3)
    area = size.prod() / size  # of faces across each axis
    axis = jax.nn.one_hot(jax.random.categorical(key_face, jnp.log(area), shape=(n,)), 3)  # [n, 3]
    normal = axis * jax.random.rademacher(key_side, (n, 1), jnp.float32)
    inside = jax.random.uniform(key_place, (n, 3), minval=-1.0, maxval=1.0)
    return jnp.where(axis > 0, normal, inside) * size[None], normal


def cone(key, size, n):
    """Points on a cone with a round base, half of them on the base, its axis along z. Args and returns: `ellipsoid`.

    Its radius is size[0], its height from the base at -size[2] to the tip is 2 size[2]; size[1] is not used.
    """
    key_part, key_radius, key_angle = jax.random.split(key, 3)
    radius, height = size[0], 2 * size[2]
    base = jax.random.bernoulli(key_part, 0.5, (n,))
    r = jnp.sqrt(jax.random.uniform(key_radius, (n,)))  # both parts: density in proportion to r
    angle = jax.random.uniform(key_angle, (n,), maxval=2 * jnp.pi)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    z = jnp.where(base, 0.0, (1 - r) * height) - size[2]
    slope = jnp.stack([cos * height, sin * height, jnp.full_like(cos, radius)], axis=1)
    down = jnp.array([0.0, 0.0, -1.0])
    return jnp.stack([r * cos * radius, r * sin * radius, z], axis=1), jnp.where(base[:, None], down, normalize(slope))


def shape_with_normals(key, n):
    """One of the four solids, with half axes uniform in (0.3, 1).

    Args:
      key: of the solid.
      n: number of points.

    Returns:
      `(points [n, 3], normals [n, 3])`.
    """
    key_kind, key_size, key_power, key_points = jax.random.split(key, 4)
    size = jax.random.uniform(key_size, (3,), minval=0.3)
    power = jax.random.uniform(key_power, minval=2.5, maxval=6.0)
    made = (
        lambda key: ellipsoid(key, size, n),
        lambda key: superquadric(key, size, n, power=power),
        lambda key: box(key, size, n),
        lambda key: cone(key, size, n),
    )
    return jax.lax.switch(jax.random.randint(key_kind, (), 0, KINDS), made, key_points)
