"""What an update needs, against arithmetic by hand and against what the compiler allots."""

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxzoo.layers import MLP
from jaxzoo.train import Task, needs, supervised
from jaxzoo.transforms import as_model

MEGABYTE = 1 << 20


def of(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_a_result_is_freed_after_its_last_use():
    def chain(x):
        return jnp.sort(jnp.sort(jnp.sort(jnp.sort(x))))

    assert needs((chain, of(MEGABYTE // 4))) == (MEGABYTE, 3 * MEGABYTE)


def test_what_is_used_later_stays_alive():
    def both(x):
        first = jnp.sort(x)
        return jnp.sort(jnp.sort(first)) + first

    assert needs((both, of(MEGABYTE // 4))) == (MEGABYTE, 4 * MEGABYTE)


def test_elementwise_operations_are_not_stored_but_what_they_come_from_is():
    def late(x):
        first = jnp.sort(x)
        waiting = jnp.exp(first)
        return jnp.sort(jnp.sort(first[::-1])) * waiting

    assert needs((late, of(MEGABYTE // 4))) == (MEGABYTE, 4 * MEGABYTE)
    assert needs((lambda x: jnp.sin(jnp.cos(jnp.exp(x))), of(MEGABYTE // 4))) == (MEGABYTE, 2 * MEGABYTE)


def test_a_loop_counts_what_it_stacks_and_its_body_once():
    def loop(x):
        return jax.lax.scan(lambda carry, _: (jnp.sort(carry), jnp.cos(carry)), x, length=10)

    found = needs((loop, of(MEGABYTE // 4)))
    assert found.state == MEGABYTE
    assert 12 * MEGABYTE <= found.peak <= 14 * MEGABYTE


def test_arrays_closed_over_count():
    table = jnp.zeros(MEGABYTE // 4)
    assert needs((lambda x: jnp.sort(x + table), of(MEGABYTE // 4))) == (MEGABYTE, 3 * MEGABYTE)


def test_of_a_program_that_differs_by_platform_the_form_for_accelerators_counts():
    def either(x):
        wide = lambda x: jnp.sort(jnp.sort(jnp.tile(x, 10)))[: x.size]  # noqa: E731
        return jnp.sort(jax.lax.platform_dependent(x, cpu=wide, default=jnp.sort))

    assert needs((either, of(MEGABYTE // 4))).peak < 5 * MEGABYTE


def training(width, batch):
    sampler = lambda key: (jnp.zeros((batch, 64)), jnp.zeros(batch, int))  # noqa: E731
    loss = optax.softmax_cross_entropy_with_integer_labels
    return supervised(as_model(MLP((width, width, 10))), loss, sampler, optax.adam(1e-3))


def test_the_state_of_adam_is_three_times_the_parameters():
    width = 256
    parameters = 65 * width + (width + 1) * width + (width + 1) * 10
    assert needs(training(width, 8)).state == 4 * (3 * parameters + 1)


def test_the_peak_is_near_what_the_compiler_allots():
    task = training(256, 4096)
    state = jax.eval_shape(task.init, jax.random.key(0))
    compiled = jax.jit(task.update, donate_argnums=0).lower(state, jax.random.key(0)).compile().memory_analysis()
    allotted = compiled.temp_size_in_bytes + compiled.argument_size_in_bytes
    assert allotted / 2 < needs(task).peak < 2 * allotted


def test_nothing_is_allocated():
    assert needs(training(1 << 18, 1 << 16)).state > 1 << 38


def test_a_task_that_breaks_its_contract_is_refused():
    with pytest.raises(TypeError, match="keep shapes and dtypes fixed"):
        needs(Task(lambda key: jnp.zeros(3), lambda state, key: (jnp.zeros(4), {})))
