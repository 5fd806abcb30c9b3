"""Points lie on their solids, normals are right angles to them, and PointNet does what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.geometry import shapes
from jaxzoo.geometry.point_networks import PointNet, normals_of, unoriented_error
from jaxzoo.ops import normalize

SIZE = jnp.array([0.4, 0.7, 0.9])
IMPLICIT = {
    "ellipsoid": lambda x: jnp.square(x / SIZE).sum() - 1,
    "superquadric": lambda x: (jnp.abs(x / SIZE) ** 4).sum() - 1,
    "box": lambda x: jnp.abs(x / SIZE).max() - 1,
    # Radius 0.4, base at z = -0.9, tip at z = 0.9: the larger of the base's plane and the mantle.
    "cone": lambda x: jnp.maximum(-x[2] - 0.9, jnp.hypot(x[0], x[1]) - 0.4 * (0.9 - x[2]) / 1.8),
}


def draws(name, n):
    """Directions for the round solids, uniform numbers for the others."""
    if name in ("box", "cone"):
        return jax.random.uniform(jax.random.key(0), (n, 5))
    return normalize(jax.random.normal(jax.random.key(0), (n, 3)))


@pytest.mark.parametrize("name", IMPLICIT)
def test_points_lie_on_the_solid_and_normals_along_the_gradient(name):
    points, normals = getattr(shapes, name)(draws(name, 60), SIZE)
    surface = IMPLICIT[name]
    np.testing.assert_allclose(jax.vmap(surface)(points), 0, atol=1e-4)
    gradient = jax.vmap(jax.grad(surface))(points)
    gradient /= jnp.linalg.norm(gradient, axis=1, keepdims=True)
    np.testing.assert_allclose((normals * gradient).sum(1), 1, atol=1e-3)


def test_a_superquadric_of_power_two_is_an_ellipsoid():
    points, normals = shapes.superquadric(draws("superquadric", 20), SIZE, power=2.0)
    same, other = shapes.ellipsoid(draws("ellipsoid", 20), SIZE)
    np.testing.assert_allclose(points, same, atol=1e-5)
    np.testing.assert_allclose(normals, other, atol=1e-5)


def test_points_of_a_box_are_spread_by_area():
    points, normals = shapes.box(draws("box", 6000), SIZE)
    share = jnp.abs(normals).mean(0)
    area = 1 / SIZE
    np.testing.assert_allclose(share, area / area.sum(), atol=0.03)
    np.testing.assert_allclose(normals.mean(0), 0, atol=0.04)
    assert (jnp.abs(points) <= SIZE[None] + 1e-6).all()


def test_all_kinds_are_drawn():
    points, normals = jax.vmap(lambda key: shapes.shape_with_normals(key, 12))(jax.random.split(jax.random.key(0), 64))
    assert points.shape == normals.shape == (64, 12, 3)
    np.testing.assert_allclose(jnp.linalg.norm(normals, axis=-1), 1, atol=1e-4)
    axes = (jnp.abs(normals).max(-1) > 1 - 1e-6).mean(1)  # share of normals along an axis: all of a box, half of a cone
    assert 4 < (axes == 1).sum() < 30
    assert 4 < ((axes > 0.1) & (axes < 1)).sum() < 30
    assert 15 < (axes < 0.1).sum() < 50


def test_pointnet_does_not_depend_on_the_order_of_points_and_sees_all_of_them():
    model = normals_of(PointNet(16, 16))
    x = jax.random.normal(jax.random.key(0), (9, 3))
    params = model.init(jax.random.key(1), x)
    y, order = model.apply(params, x), np.random.default_rng(0).permutation(9)
    np.testing.assert_allclose(model.apply(params, x[order]), y[order], atol=1e-6)
    np.testing.assert_allclose(jnp.linalg.norm(y, axis=1), 1, atol=1e-5)
    assert jnp.abs(model.apply(params, x.at[0].multiply(9.0))[1:] - y[1:]).max() > 1e-3


def test_the_error_is_the_squared_sine_and_has_no_sign():
    exact, angle = jnp.array([[0.0, 0.0, 1.0]]), 0.3
    tilted = jnp.array([[np.sin(angle), 0.0, np.cos(angle)]], jnp.float32)
    for sign in (1, -1):
        np.testing.assert_allclose(unoriented_error(sign * tilted, exact), np.sin(angle) ** 2, rtol=1e-5)
