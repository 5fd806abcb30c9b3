"""The geometric median, against closed forms and a general minimiser."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jaxzoo.interpretability.geometric_median import geometric_median


def test_it_is_where_a_minimiser_ends():
    x = jax.random.normal(jax.random.key(0), (40, 3)) * jnp.array([[1.0, 5.0, 0.2]]) + 2
    points = np.asarray(x, np.float64)
    expected = optimize.minimize(lambda m: np.linalg.norm(points - m, axis=1).sum(), points.mean(0), tol=1e-10).x
    np.testing.assert_allclose(geometric_median(x), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("points", "median"),
    [
        ([[0, 0], [1, 0], [0.5, 3**0.5 / 2]], [0.5, 3**0.5 / 6]),  # an equilateral triangle
        ([[0, 0], [4, 2], [4, 0], [0, 6]], [3, 1.5]),  # a convex quadrilateral: where its diagonals meet
        ([[7, 7], [7, 7], [7, 7]], [7, 7]),
    ],
)
def test_closed_forms(points, median):
    np.testing.assert_allclose(geometric_median(jnp.array(points, jnp.float32), steps=400), median, atol=1e-3)


def test_a_point_that_is_the_median_is_reached():
    wide = jnp.array([[0.0, 0.0], [3.0, 0.5], [-3.0, 0.5]])  # an angle of more than 120 degrees at the first
    np.testing.assert_allclose(geometric_median(wide, steps=3000), [0, 0], atol=1e-2)
    line = jnp.array([[0.0], [1.0], [2.0], [10.0], [100.0]])
    np.testing.assert_allclose(geometric_median(line, steps=3000), [2], atol=2e-2)


def test_it_leaves_a_point_that_is_not_the_median():
    # The mean, where the iteration begins, is the last point; the median is among the others.
    x = jnp.array([[0.0, 0.0]] * 5 + [[6.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(x.mean(0), [1, 0], atol=1e-6)
    np.testing.assert_allclose(geometric_median(x, steps=300), [0, 0], atol=1e-3)


def test_far_off_points_do_not_carry_it_away_and_vmap_is_a_loop():
    x = jax.random.normal(jax.random.key(1), (2, 30, 4)).at[:, 0].set(1e6)
    found = jax.jit(jax.vmap(geometric_median))(x)
    assert jnp.abs(found).max() < 1
    for both, one in zip(found, x, strict=True):
        np.testing.assert_allclose(both, geometric_median(one), atol=1e-4)


def test_bad_input_is_refused():
    for shape in ((3,), (0, 3)):
        with pytest.raises(ValueError, match=r"x: expected \[n, d\]"):
            geometric_median(jnp.zeros(shape))
