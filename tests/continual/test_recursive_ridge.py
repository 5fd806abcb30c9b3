"""Recursive ridge: equal to NumPy's solution of all data at once, whatever the batches and their order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.continual import recursive_ridge as rr

GAMMA = 0.3


def problem(dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 20)).astype(dtype), np.eye(3, dtype=dtype)[rng.integers(0, 3, 60)]


def joint(x, y, weight=None):
    weight = np.ones(len(x)) if weight is None else weight
    return np.linalg.solve(x.T @ (weight[:, None] * x) + GAMMA * np.eye(x.shape[1]), x.T @ (weight[:, None] * y))


def recursion(x, y, sizes=(1, 7, 30, 22)):
    state = rr.rls_init(x.shape[1], GAMMA, classes=y.shape[1], dtype=x.dtype)
    for part in np.split(np.arange(len(x)), np.cumsum(sizes)[:-1]):
        state = rr.rls_update(state, x[part], y[part])
    return state


def test_equals_the_joint_solution_and_the_inverse():
    with jax.enable_x64(True):
        x, y = problem()
        state = recursion(x, y)
        np.testing.assert_allclose(state.W, joint(x, y), atol=1e-10)
        np.testing.assert_allclose(state.R, np.linalg.inv(x.T @ x + GAMMA * np.eye(20)), atol=1e-10)
        np.testing.assert_allclose(state.R, state.R.T, atol=1e-14)
        assert np.linalg.eigvalsh(state.R).min() > 0
        np.testing.assert_allclose(rr.ridge(x, y, GAMMA), joint(x, y), atol=1e-10)


def test_order_and_sizes_of_batches_do_not_matter():
    with jax.enable_x64(True):
        x, y = problem()
        order = np.random.default_rng(1).permutation(60)
        for other in (recursion(x[order], y[order]), recursion(x, y, (60,)), recursion(x, y, (1,) * 60)):
            np.testing.assert_allclose(other.W, recursion(x, y).W, atol=1e-10)


def test_scalar_case_by_hand():
    state = rr.rls_init(1, 1.0, classes=1)
    for value in (1.0, 2.0):
        state = rr.rls_update(state, jnp.array([[value]]), jnp.array([[1.0]]))
    np.testing.assert_allclose(state.R, [[1 / 6]], rtol=1e-6)
    np.testing.assert_allclose(state.W, [[0.5]], rtol=1e-6)


def test_a_batch_seen_twice_has_weight_two():
    with jax.enable_x64(True):
        x, y = problem()
        state = rr.rls_update(recursion(x, y), x[:10], y[:10])
        np.testing.assert_allclose(state.W, joint(x, y, 1.0 + (np.arange(60) < 10)), atol=1e-10)


def test_information_form_gives_the_same_weights():
    with jax.enable_x64(True):
        x, y = problem()
        state = rr.information_init(20, classes=3, dtype=jnp.float64)
        for part in np.split(np.arange(60), (1, 8, 38)):
            state = rr.ridge_information_form(state, x[part], y[part])
        np.testing.assert_allclose(rr.ridge_weights(state, GAMMA), recursion(x, y).W, atol=1e-10)


def test_rows_of_zeros_change_nothing():
    x, y = problem(np.float32)
    padded = [np.concatenate([part, np.zeros((4, part.shape[1]), np.float32)]) for part in (x, y)]
    state = rr.rls_init(20, GAMMA, classes=3)
    for before, after in zip(rr.rls_update(state, x, y), rr.rls_update(state, *padded), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-5)


def test_float32_stays_symmetric_over_many_batches():
    x, y = problem(np.float32)
    state, _ = jax.lax.scan(
        lambda s, row: (rr.rls_update(s, row[0][None], row[1][None]), None), rr.rls_init(20, GAMMA, classes=3), (x, y)
    )
    np.testing.assert_allclose(state.R, state.R.T, atol=1e-6)
    np.testing.assert_allclose(state.W, joint(*problem()), atol=1e-4)


def test_large_penalty_classifies_by_correlation():
    x, y = problem()
    with jax.enable_x64(True):
        W = rr.ridge(x, y, 1e9)
    np.testing.assert_array_equal((x @ np.asarray(W)).argmax(1), (x @ (x.T @ y)).argmax(1))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="gamma: expected a number > 0, got 0"):
        rr.rls_init(3, 0, classes=2)
    with pytest.raises(ValueError, match="d, classes"):
        rr.rls_init(3, 1.0, classes=0)
    state = rr.rls_init(3, 1.0, classes=2)
    with pytest.raises(ValueError, match=r"x: expected \[b, 3\], got \(4, 2\)"):
        rr.rls_update(state, jnp.ones((4, 2)), jnp.ones((4, 2)))
    with pytest.raises(ValueError, match=r"y: expected \[4, 2\], got \(4,\)"):
        rr.rls_update(state, jnp.ones((4, 3)), jnp.ones(4))
    with pytest.raises(ValueError, match=r"y: expected \[4, 2\]"):
        rr.ridge_information_form(rr.information_init(3, classes=2), jnp.ones((4, 3)), jnp.ones((4, 1)))
