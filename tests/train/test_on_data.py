"""Tasks whose data is an input of each seed."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.train import Task, fit, on_data


def running_sum(data):
    return Task(lambda key: jnp.zeros(()), lambda s, key: (s + data, {"sum": s}), lambda s: {"mean": s / 4 - data})


def test_a_task_on_data_of_its_own():
    for value in (1.0, 3.0):
        trained = fit(on_data(running_sum), jax.random.key(0), 4, jnp.float32(value))
        np.testing.assert_allclose(trained.state[0], 4 * value)
        np.testing.assert_allclose(trained.evaluations["mean"], [0])


def test_data_of_equal_shape_costs_no_second_trace():
    traces = []

    def make(data):
        traces.append(1)
        return running_sum(data)

    update = jax.jit(on_data(make).update)
    for value in (1.0, 3.0):
        (total, data), scalars = update((jnp.float32(2), jnp.float32(value)), jax.random.key(0))
        assert (float(total), float(data), float(scalars["sum"])) == (2 + value, value, 2)
    assert len(traces) == 1
