"""Random solids with points on their surfaces and the exact normals there, in a canonical pose.

Ellipsoids, superquadrics, boxes and cones of random proportions, centred on the origin, axes along the coordinates.
"""

import jax
import jax.numpy as jnp

from jaxzoo.ops import normalize

KINDS = 4


def ellipsoid(u, size):
    """Points u * size of the ellipsoid with these half axes; normals along u / size.

    Args:
      u: [n, 3] directions, unit vectors.
      size: [3] half axes.

    Returns:
      `(points [n, 3], normals [n, 3])`.
    """
    return u * size[None], normalize(u / size[None])


def superquadric(u, size, *, power=4.0):
    """Points of sum |x_i / size_i|^power = 1; normals along the gradient.

    Args:
      u: [n, 3] directions, unit vectors.
      size: [3] half axes.
      power: 2 is the ellipsoid, larger ones approach the box. May be traced.

    Returns:
      `(points [n, 3], normals [n, 3])`.
    """
    u = u / (jnp.abs(u) ** power).sum(1, keepdims=True) ** (1 / power)
    return u * size[None], normalize(jnp.sign(u) * jnp.abs(u) ** (power - 1) / size[None])


def box(r, size):
    """Points uniform on the surface of the box [-size, size]; normals of its faces.

    Args:
      r: [n, 5] uniform numbers in [0, 1): two that choose the face, three for the place.
      size: [3] half edges.

    Returns:
      `(points [n, 3], normals [n, 3])`.
    """
    area = size.prod() / size  # of faces across each axis
    face = (r[:, :1] > (jnp.cumsum(area) / area.sum())[None, :2]).sum(1)
    axis = jax.nn.one_hot(face, 3)  # [n, 3]
    normal = axis * jnp.where(r[:, 1:2] < 0.5, -1.0, 1.0)
    return jnp.where(axis > 0, normal, 2 * r[:, 2:] - 1) * size[None], normal


def cone(r, size):
    """Points on a cone with a round base, half of them on the base, its axis along z.

    Args:
      r: [n, 5] uniform numbers in [0, 1), of which three are used.
      size: [3]: the base has the radius size[0] and z = -size[2], the tip z = size[2]; size[1] is not used.

    Returns:
      `(points [n, 3], normals [n, 3])`.
    """
    radius, height = size[0], 2 * size[2]
    base, angle = r[:, 0] < 0.5, 2 * jnp.pi * r[:, 1]
    out = jnp.sqrt(r[:, 2])  # both parts: density in proportion to the distance from the axis
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    z = jnp.where(base, 0.0, (1 - out) * height) - size[2]
    slope = jnp.stack([cos * height, sin * height, jnp.full_like(cos, radius)], axis=1)
    down = jnp.array([[0.0, 0.0, -1.0]])
    return jnp.stack([out * cos * radius, out * sin * radius, z], axis=1), jnp.where(
        base[:, None], down, normalize(slope)
    )


def shape_with_normals(key, n):
    """One of the four solids, with half axes uniform in (0.3, 1).

    Args:
      key: of the solid.
      n: number of points.

    Returns:
      `(points [n, 3], normals [n, 3])`.
    """
    key_u, key_r = jax.random.split(key)
    # The draws are shared between the kinds, since one alone is taken: they are most of the time to compile.
    u, r = normalize(jax.random.normal(key_u, (n, 3))), jax.random.uniform(key_r, (n + 1, 5))
    kind, power, *size = r[n]
    size, r = 0.3 + 0.7 * jnp.stack(size), r[:n]
    made = [ellipsoid(u, size), superquadric(u, size, power=2.5 + 3.5 * power), box(r, size), cone(r, size)]
    return jax.tree.map(lambda *each: jnp.stack(each)[(KINDS * kind).astype(int)], *made)
