"""One function over seeds: all ways, the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxzoo.experiment.seeds import _EXECUTABLES, WAYS, default_way, over_seeds, seed_count, seed_mesh
from jaxzoo.train import Task
from jaxzoo.train.loop import make_advance, trace_task

X = jnp.asarray(np.linspace(-1, 1, 32, dtype=np.float32).reshape(16, 2))


def init(key):
    """A small net whose biases start at zero, alike for all seeds."""
    return {"w": jax.random.normal(key, (2, 3)), "b": jnp.zeros(3)}


def update(state, key):
    """One step of gradient descent; closes over the data."""
    x = X[jax.random.randint(key, (8,), 0, 16)]

    def loss(p):
        return jnp.mean((jnp.tanh(x @ p["w"] + p["b"][None]).sum(-1) - x[:, 0] - 0.3) ** 2)

    value, gradient = jax.value_and_grad(loss)(state)
    return optax.apply_updates(state, jax.tree.map(lambda g: -0.1 * g, gradient)), {"loss": value}


def train(way, seeds, steps=5):
    keys, runs = (jax.random.split(jax.random.key(i), seeds) for i in range(2))
    traced = trace_task(Task(init, update), jax.random.key(2))
    assert [c.shape for c in traced.update.constants] == [X.shape]
    shared = (traced.update.constants, jnp.int32(0), jnp.int32(steps))
    states = jax.vmap(init)(keys)
    mapped, seconds = over_seeds(make_advance(traced.update, steps), shared, (states, runs), way=way)
    assert seconds > 0
    return jax.tree.map(np.asarray, mapped(shared, (states, runs)))


def test_four_devices():
    assert jax.device_count() == 4
    assert seed_mesh().shape == {"seed": 4}


@pytest.mark.parametrize("seeds", [1, 6])
@pytest.mark.parametrize("way", [way for way in WAYS if way != "loop"])
def test_every_way_trains_to_the_same_numbers(way, seeds):
    states, scalars = train(way, seeds)
    expected, losses = train("loop", seeds)
    np.testing.assert_allclose(scalars["loss"], losses["loss"], rtol=1e-6)
    np.testing.assert_allclose(states["w"], expected["w"], rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(states["b"], expected["b"], rtol=2e-6, atol=1e-7)
    assert np.abs(expected["b"]).min() > 1e-4  # the zero biases did learn


@pytest.mark.parametrize("way", WAYS)
def test_another_shape_is_an_error_and_never_a_second_compilation(way):
    traces = []

    def double(x):
        traces.append(1)
        return 2 * x

    mapped, _ = over_seeds(double, (), (jnp.ones((4, 3)),), way=way)
    before = len(traces)
    np.testing.assert_array_equal(mapped((), (jnp.full((4, 3), 2.0),)), 4.0)
    with pytest.raises((TypeError, ValueError)):
        mapped((), (jnp.ones((4, 5)),))
    assert len(traces) == before


def test_default_on_cpu_is_the_loop():
    assert default_way() == "loop"


def test_an_unknown_way_is_refused():
    with pytest.raises(ValueError, match="way: expected one of loop, vmap, pmap, sharded, got 'fast'"):
        over_seeds(lambda x: x, (), (jnp.ones(2),), way="fast")


def test_arguments_without_a_common_seed_axis_are_refused():
    with pytest.raises(ValueError, match="leading sizes 2, 3"):
        seed_count((jnp.ones(2), jnp.ones((3, 4))))
    with pytest.raises(ValueError, match="leading sizes None"):
        seed_count(jnp.float32(1.0))


@pytest.mark.parametrize("way", WAYS)
def test_equal_programs_are_compiled_once_and_keep_their_own_names(way):
    x = jnp.arange(8.0).reshape(4, 2)
    first, _ = over_seeds(lambda x: {"a": jnp.cosh(x) + 1}, (), (x,), way=way)
    second, _ = over_seeds(lambda x: {"b": jnp.cosh(x) + 1}, (), (x,), way=way)
    before = len(_EXECUTABLES)
    third, _ = over_seeds(lambda x: {"b": jnp.cosh(x) + 1}, (), (x,), way=way)
    assert len(_EXECUTABLES) == before
    for mapped, name in ((first, "a"), (second, "b"), (third, "b")):
        np.testing.assert_allclose(mapped((), (x,))[name], np.cosh(x) + 1, rtol=1e-6)
