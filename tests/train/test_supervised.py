"""Supervised training, distillation, and selection on a validation score."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxzoo.model import Model
from jaxzoo.train import Task, TrainState, distil, fit, keep_best, supervised

X = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
Y = jnp.array([2.0, -1.0, 1.0])

linear = Model(lambda key, x: {"w": jnp.zeros(x.shape[-1])}, lambda params, x, *, key=None: x @ params["w"])


def square(y_hat, y):
    return 0.5 * (y_hat - y) ** 2


def test_one_update_is_one_step_of_the_optimiser_on_the_mean_loss():
    task = supervised(linear, square, lambda key: (X, Y), optax.sgd(0.1))
    state, scalars = task.update(task.init(jax.random.key(0)), jax.random.key(1))
    np.testing.assert_allclose(state.params["w"], 0.1 * (Y @ X) / 3, rtol=1e-6)
    np.testing.assert_allclose(scalars["loss"], 0.5 * jnp.mean(Y**2), rtol=1e-6)


def test_reaches_the_least_squares_solution_through_the_loop():
    task = supervised(linear, square, lambda key: (X, Y), optax.sgd(0.5), evaluate=lambda p: {"w0": p["w"][0]})
    trained = fit(task, jax.random.key(0), 200)
    np.testing.assert_allclose(trained.state.params["w"], np.linalg.lstsq(X, Y)[0], atol=1e-5)
    np.testing.assert_allclose(trained.evaluations["w0"], trained.state.params["w"][:1])


def test_a_stochastic_model_draws_anew_for_every_example_and_update():
    noisy = Model(lambda key, x: {"w": jnp.zeros(())}, lambda params, x, *, key=None: jax.random.normal(key))
    task = supervised(noisy, lambda y_hat, y: y_hat, lambda key: (X, Y), optax.sgd(1.0), stochastic=True)
    losses = fit(task, jax.random.key(0), 50).history["loss"]
    assert len(np.unique(losses)) == 50
    np.testing.assert_allclose(losses.std(), 3**-0.5, rtol=0.35)


def test_the_loss_of_a_bfloat16_model_is_averaged_in_float32():
    half = Model(linear.init, lambda params, x, *, key=None: (x @ params["w"]).astype(jnp.bfloat16))
    task = supervised(half, square, lambda key: (X, Y.astype(jnp.bfloat16)), optax.sgd(0.1))
    assert task.update(task.init(jax.random.key(0)), jax.random.key(1))[1]["loss"].dtype == jnp.float32


def test_distil_at_weight_one_follows_the_teacher_and_at_zero_the_labels():
    model = Model(lambda key, x: {"w": jnp.zeros((2, 2))}, lambda params, x, *, key=None: params["w"] @ x)
    taught = jnp.array([[1.0, -1.0], [-1.0, 1.0]])
    labels = jnp.array([1, 0, 1])  # the opposite of what the teacher says of the first two examples
    agree = {}
    for weight in (1.0, 0.0):
        task = distil(
            model, lambda x: taught @ x, lambda key: (X, labels), optax.sgd(0.3), temperature=2.0, weight=weight
        )
        params = fit(task, jax.random.key(0), 100).state.params
        agree[weight] = jnp.argmax(jax.vmap(model.apply, (None, 0))(params, X[:2]), -1)
    np.testing.assert_array_equal(agree[1.0], [0, 1])
    np.testing.assert_array_equal(agree[0.0], [1, 0])


def test_the_distillation_loss_by_hand():
    model = Model(lambda key, x: {"w": jnp.zeros((2, 2))}, lambda params, x, *, key=None: params["w"] @ x)
    task = distil(
        model,
        lambda x: jnp.array([2.0, 0.0]),
        lambda key: (X, jnp.zeros(3, jnp.int32)),
        optax.sgd(0.0),
        temperature=2.0,
        weight=0.25,
    )
    p = np.exp([1.0, 0.0]) / np.exp([1.0, 0.0]).sum()
    expected = 0.25 * 4 * (p * np.log(p / 0.5)).sum() + 0.75 * np.log(2)
    _, scalars = task.update(task.init(jax.random.key(0)), jax.random.key(1))
    np.testing.assert_allclose(scalars["loss"], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("option", "value"), [("temperature", 0.0), ("temperature", -1.0), ("weight", 1.5), ("weight", -0.1)]
)
def test_distil_refuses_options_out_of_range(option, value):
    with pytest.raises(ValueError, match=option):
        distil(linear, lambda x: x, lambda key: (X, Y), optax.sgd(0.1), **{option: value})


def walk(path):
    """A task whose state takes the given values, one after the other."""
    values = jnp.asarray(path, jnp.float32)
    return Task(
        init=lambda key: TrainState(jnp.float32(0), jnp.int32(0)),
        update=lambda state, key: (TrainState(values[state.optimizer], state.optimizer + 1), {}),
        evaluate=lambda state: {"params": state.params},
    )


@pytest.mark.parametrize(("every", "best"), [(1, 5.0), (2, 4.0), (3, 3.0)])
def test_keep_best_evaluates_the_best_state_and_goes_on_from_the_latest(every, best):
    path = [1.0, 4.0, 3.0, np.nan, 5.0, 2.0]
    trained = fit(keep_best(walk(path), lambda state: state.params, every=every), jax.random.key(0), 6)
    assert trained.evaluations["params"] == [best]
    assert trained.state.score == best
    assert trained.state.state.params == 2.0


def test_keep_best_without_a_score_yet_keeps_the_initial_state():
    trained = fit(keep_best(walk([1.0, 2.0]), lambda state: state.params, every=5), jax.random.key(0), 2)
    assert trained.state.best.params == 0.0
    assert trained.state.score == -np.inf


def test_keep_best_refuses_every_below_one():
    with pytest.raises(ValueError, match="every"):
        keep_best(walk([1.0]), lambda state: state.params, every=0)
