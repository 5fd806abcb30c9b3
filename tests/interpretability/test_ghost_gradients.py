"""Ghost gradients: nothing where all features live, and only dead features learn from them, at the published scale."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxzoo.interpretability import sparse_dictionaries as sd
from jaxzoo.interpretability.geometric_median import geometric_median
from jaxzoo.interpretability.ghost_gradients import ghost_loss
from jaxzoo.train import fit

D, E, F, B = 5, 4, 12, 40
DEAD = jnp.arange(F) >= 9


@pytest.fixture(scope="module")
def example():
    """A dictionary whose last three features never fire, one input, what is missing, and the error."""
    key_x, key_m, key_d = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(key_x, (B, D))
    target = jnp.tanh(x @ jax.random.normal(key_m, (D, E)))
    params = sd.init_dictionary(key_d, x, target, F)
    params = params._replace(b_enc=jnp.where(DEAD, -50.0, 0.0))
    out, _ = sd.sparse_mlp(params, x[0])
    return params, x[0], target[0] - out, sd.reconstruction_error(out, target[0])


def by_hand(params, x, residual, error):
    """Value and gradients in float64, with exp as it stands."""
    W_enc, W_dec = np.asarray(params.W_enc, np.float64)[:, 9:], np.asarray(params.W_dec, np.float64)[9:]
    a = np.exp((np.asarray(x, np.float64) - params.b_in) @ W_enc + params.b_enc[9:])
    ghost, r = a @ W_dec, np.asarray(residual, np.float64)
    scale = np.linalg.norm(r) / (2 * np.linalg.norm(ghost))
    missed = scale * ghost - r
    on_ghost = 2 * missed * scale * float(error) / (missed @ missed)
    on_h = a * (W_dec @ on_ghost)
    return np.outer(np.asarray(x - params.b_in, np.float64), on_h), on_h, np.outer(a, on_ghost)


def test_the_gradient_is_the_published_one_and_reaches_dead_features_alone(example):
    params, x, residual, error = example
    value, gradient = jax.value_and_grad(ghost_loss)(params, x, residual, error, DEAD)
    np.testing.assert_allclose(value, error, rtol=1e-5)
    W_enc, b_enc, W_dec = by_hand(params, x, residual, error)
    np.testing.assert_allclose(gradient.W_enc[:, 9:], W_enc, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(gradient.b_enc[9:], b_enc, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(gradient.W_dec[9:], W_dec, rtol=1e-3, atol=1e-6)
    assert jnp.abs(gradient.b_enc[9:]).min() > 0
    for rest in (gradient.W_enc[:, :9], gradient.b_enc[:9], gradient.W_dec[:9], gradient.b_in, gradient.b_out):
        np.testing.assert_array_equal(rest, 0)


def test_its_output_has_half_the_residuals_length(example):
    params, x, residual, error = example
    one = DEAD & (jnp.arange(F) == 10)  # then |g - r|^2 = |r|^2 (1 + 1/4 - cos), with the angle of its row to r
    row = np.asarray(params.W_dec[10], np.float64)
    r = np.asarray(residual, np.float64)
    cos = row @ r / np.linalg.norm(r)
    gradient = jax.grad(ghost_loss)(params, x, residual, error, one)
    missed = 0.5 * np.linalg.norm(r) * row - r
    np.testing.assert_allclose(missed @ missed, r @ r * (1.25 - cos), rtol=1e-5)
    expected = 2 * float(error) * (0.5 * np.linalg.norm(r) * row) @ missed / (missed @ missed)
    np.testing.assert_allclose(gradient.b_enc[10], expected, rtol=1e-3)


def test_without_dead_features_it_is_nothing(example):
    params, x, residual, error = example
    value, gradient = jax.value_and_grad(ghost_loss)(params, x, residual, error, jnp.zeros(F, bool))
    assert value == 0
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, 0), gradient)


def test_it_stays_finite_where_exp_does_not(example):
    params, x, residual, error = example
    for offset in (-300.0, 300.0):
        far = params._replace(b_enc=params.b_enc + offset)
        gradient = jax.grad(ghost_loss)(far, x, residual, error, DEAD)
        assert all(jnp.isfinite(g).all() for g in gradient)
        assert jnp.abs(gradient.b_enc[9:]).max() > 0
    gradient = jax.grad(ghost_loss)(params, x, jnp.zeros(E), jnp.float32(0), DEAD)
    assert all(jnp.isfinite(g).all() for g in gradient)


def task(dead_after, offset=0.0, **options):
    """One dictionary on fixed activations; its last features begin far from firing."""
    key_x, key_m = jax.random.split(jax.random.key(3))
    x = jax.random.normal(key_x, (B, D))
    target = jnp.tanh(x @ jax.random.normal(key_m, (D, E)))
    made = sd.train_dictionary(
        lambda key: (x[None], target[None]), F, [1e-3], optax.adam(6e-2), dead_after=dead_after, **options
    )

    def init(key):
        state = made.init(key)
        b_enc = state.params.b_enc + jnp.where(DEAD, offset, 0.0)[None]
        return state._replace(params=state.params._replace(b_enc=b_enc))

    return made._replace(init=init)


def test_training_without_dead_features_is_what_it_is_without_the_option():
    plain = fit(task(None), jax.random.key(0), 20)
    ghost = fit(task(100), jax.random.key(0), 20)
    jax.tree.map(np.testing.assert_array_equal, ghost.state.params, plain.state.params)
    np.testing.assert_array_equal(ghost.history["dead"], 0)
    assert plain.state.idle is None


def test_dead_features_are_counted_and_come_back():
    plain = fit(task(None, -7.0), jax.random.key(0), 300).state
    np.testing.assert_array_equal(plain.params.b_enc[0, 9:], -7.0)
    ghost = fit(task(10, -7.0), jax.random.key(0), 300)
    dead = ghost.history["dead"]
    assert (dead[10], dead[11]) == (0, 3)  # not active in more than 10 updates
    assert dead[-1] < 3


def test_biases_may_begin_at_the_geometric_median():
    made = task(None, middle=geometric_median)
    x = made.init(jax.random.key(0)).params
    mean = task(None).init(jax.random.key(0)).params
    np.testing.assert_array_equal(x.W_enc, mean.W_enc)
    assert jnp.abs(x.b_in - mean.b_in).max() > 1e-3
    key_x, _ = jax.random.split(jax.random.key(3))
    np.testing.assert_allclose(x.b_in[0], geometric_median(jax.random.normal(key_x, (B, D))), atol=1e-6)
