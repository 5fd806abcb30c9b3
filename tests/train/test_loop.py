"""The one training loop: chunks, hoisted constants, refused tasks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.train import Task, fit
from jaxzoo.train.loop import hoist, milestones, trace_task


def drift(rate=0.5):
    """A random walk: after n updates `state` is the sum of n draws, so every key of the stream shows in the result."""

    def init(key, start=0.0):
        return {"x": jax.random.normal(key) + start}

    def update(state, key):
        x = state["x"] + rate * jax.random.normal(key)
        return {"x": x}, {"x": x}

    return Task(init, update, lambda state: {"square": state["x"] ** 2})


def test_fit_equals_a_plain_python_loop():
    trained = fit(drift(), jax.random.key(3), 7)
    key_init, key_run = jax.random.split(jax.random.key(3))
    task = drift()
    state = task.init(key_init)
    seen = []
    for i in range(7):
        state, scalars = task.update(state, jax.random.fold_in(key_run, i))
        seen.append(scalars["x"])
    np.testing.assert_allclose(trained.history["x"], np.stack(seen), rtol=1e-6)
    np.testing.assert_allclose(trained.evaluations["square"], [state["x"] ** 2], rtol=1e-6)


def test_history_does_not_depend_on_where_it_is_cut():
    whole = fit(drift(), jax.random.key(0), 10)
    cut = fit(drift(), jax.random.key(0), 10, evaluate_every=3)
    np.testing.assert_array_equal(whole.history["x"], cut.history["x"])
    np.testing.assert_array_equal(whole.state["x"], cut.state["x"])
    np.testing.assert_array_equal(cut.evaluations["step"], [3, 6, 9, 10])
    np.testing.assert_array_equal(cut.evaluations["square"], cut.history["x"][[2, 5, 8, 9]] ** 2)


def test_inputs_reach_init():
    a = fit(drift(), jax.random.key(0), 2, 0.0)
    b = fit(drift(), jax.random.key(0), 2, 10.0)
    np.testing.assert_allclose(b.state["x"] - a.state["x"], 10.0, rtol=1e-6)


def traces_of_update(steps):
    traces = []

    def counted(state, key):
        traces.append(1)
        return drift().update(state, key)

    fit(drift()._replace(update=counted), jax.random.key(0), steps, evaluate_every=3)
    return len(traces)


def test_no_chunk_after_the_first_is_traced():
    assert traces_of_update(3) == traces_of_update(30)


def test_hoist_leaves_no_constant_in_the_program():
    table = jnp.arange(4096.0)
    pure, constants, _ = hoist(lambda i: table[i] * 2.0, jnp.int32(0))
    assert [c.shape for c in constants] == [(4096,)]
    np.testing.assert_array_equal(pure(constants, jnp.int32(7)), 14.0)
    assert "dense<" not in jax.jit(pure).lower(constants, jnp.int32(0)).as_text().split("4096xf32>")[0]
    assert len(jax.jit(pure).lower(constants, jnp.int32(0)).as_text()) < 4096


def test_hoist_keeps_gradients():
    weight = jnp.array([1.0, 2.0, 3.0])
    pure, constants, _ = hoist(lambda x: jnp.sum(weight * x**2), jnp.zeros(3))
    x = jnp.array([1.0, -1.0, 0.5])
    np.testing.assert_allclose(jax.grad(pure, argnums=1)(constants, x), 2 * weight * x)


@pytest.mark.parametrize(
    ("update", "says"),
    [
        (lambda s, key: s, "expected \\(state, scalars\\)"),
        (lambda s, key: ({"y": s["x"]}, {}), "structure"),
        (
            lambda s, key: ({"x": jnp.zeros(2)}, {}),
            r"\['x'\] was float32\[\] from task.init and came back float32\[2\]",
        ),
        (lambda s, key: ({"x": s["x"].astype(jnp.bfloat16)}, {}), "came back bfloat16"),
        (lambda s, key: (s, {"loss": jnp.zeros(3)}), "scalar 'loss': expected shape \\(\\), got \\(3,\\)"),
    ],
)
def test_a_task_that_breaks_the_contract_is_refused(update, says):
    with pytest.raises(TypeError, match=says):
        trace_task(drift()._replace(update=update), jax.random.key(0))


def test_an_evaluation_named_step_is_refused():
    with pytest.raises(TypeError, match="'step' is taken"):
        trace_task(drift()._replace(evaluate=lambda s: {"step": s["x"]}), jax.random.key(0))


def test_a_weakly_typed_state_is_made_definite():
    task = Task(lambda key: {"n": 0, "x": 1.0}, lambda s, key: ({"n": s["n"] + 1, "x": s["x"] * 0.5}, {}))
    state = fit(task, jax.random.key(0), 4).state
    assert state["n"] == 4
    assert state["x"] == 0.0625


@pytest.mark.parametrize(
    ("steps", "every", "stops"), [(5, None, [5]), (6, 2, [2, 4, 6]), (5, 2, [2, 4, 5]), (2, 9, [2]), (1, 1, [1])]
)
def test_milestones(steps, every, stops):
    np.testing.assert_array_equal(milestones(steps, every), stops)


@pytest.mark.parametrize(("steps", "every", "name"), [(0, None, "steps"), (-3, 1, "steps"), (5, 0, "evaluate_every")])
def test_milestones_refuse_nothing_to_do(steps, every, name):
    with pytest.raises(ValueError, match=f"{name}: expected at least 1"):
        milestones(steps, every)
