"""Capturing and replacing intermediate values of linen modules, those of `jaxzoo.layers` and foreign ones."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.layers import MLP
from jaxzoo.transforms import as_model, capture, replace


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x):
        h = nn.Dense(3, name="up")(x)
        self.sow("intermediates", "energy", jnp.square(h).sum())
        return nn.Dense(2, name="down")(jnp.tanh(h))


class Outer(nn.Module):
    """A submodule with a sown value, one that is called twice, and one under remat."""

    def setup(self):
        self.first, self.shared, self.saved = Inner(), nn.Dense(2), nn.remat(Inner)()

    def __call__(self, x):
        h = self.shared(self.shared(self.first(x)))
        return self.saved(self.scale(h))

    def scale(self, h):
        return 2 * h


@pytest.fixture(scope="module")
def outer():
    """The module, its parameters and an input."""
    x = jnp.asarray([1.0, -2.0])
    return Outer(), as_model(Outer()).init(jax.random.key(0), x), x


def dense(layer, x):
    return x @ layer["kernel"] + layer["bias"]


def inner(params, x):
    return dense(params["down"], jnp.tanh(dense(params["up"], x)))


def test_captured_outputs_are_those_of_the_submodules(outer):
    module, params, x = outer
    y, values = jax.jit(capture(module, "first", "first/up"))(params, x)
    np.testing.assert_allclose(y, module.apply({"params": params}, x), rtol=1e-6)
    np.testing.assert_allclose(values["first"], inner(params["first"], x), rtol=1e-5)
    np.testing.assert_allclose(values["first/up"], dense(params["first"]["up"], x), rtol=1e-5)
    assert list(values) == ["first", "first/up"]


def test_methods_sown_values_and_repeated_calls(outer):
    module, params, x = outer
    y, values = capture(module, "scale", "first/energy", "shared", "saved/up")(params, x)
    once = dense(params["shared"], inner(params["first"], x))
    twice = dense(params["shared"], once)
    np.testing.assert_allclose(values["shared"], (once, twice), rtol=1e-5)
    np.testing.assert_allclose(values["scale"], 2 * twice, rtol=1e-5)
    np.testing.assert_allclose(values["first/energy"], (dense(params["first"]["up"], x) ** 2).sum(), rtol=1e-5)
    np.testing.assert_allclose(values["saved/up"], dense(params["saved"]["up"], 2 * twice), rtol=1e-5)
    np.testing.assert_allclose(y, inner(params["saved"], 2 * twice), rtol=1e-5)


def test_capture_under_vmap_equals_a_loop(outer):
    module, params, x = outer
    batch = jnp.stack([x, 2 * x, -x])
    _, values = jax.vmap(capture(module, "first/up"), (None, 0))(params, batch)
    loop = [capture(module, "first/up")(params, one)[1]["first/up"] for one in batch]
    np.testing.assert_allclose(values["first/up"], jnp.stack(loop), rtol=1e-6)


def test_capture_passes_the_key_on():
    module, x = MLP((4, 4), dropout=0.5), jnp.ones(3)
    model = as_model(module)
    params = model.init(jax.random.key(0), x)
    y, _ = capture(module, "dense_0")(params, x, key=jax.random.key(1))
    np.testing.assert_array_equal(y, model.apply(params, x, key=jax.random.key(1)))


def test_a_value_takes_the_place_of_the_output(outer):
    module, params, x = outer
    h = jnp.asarray([0.3, -0.7])
    y = jax.jit(lambda h: replace(module, {"first": h})(params, x))(h)
    want = inner(params["saved"], 2 * dense(params["shared"], dense(params["shared"], h)))
    np.testing.assert_allclose(y, want, rtol=1e-5)


def test_a_function_changes_each_call_and_methods_can_be_replaced(outer):
    module, params, x = outer
    y = replace(module, {"shared": jnp.sin, "scale": lambda h: h / 2})(params, x)
    h = inner(params["first"], x)
    for _ in range(2):
        h = jnp.sin(dense(params["shared"], h))
    np.testing.assert_allclose(y, inner(params["saved"], h), rtol=1e-5)


def test_values_of_one_input_patched_into_another_give_its_output(outer):
    module, params, x = outer
    clean, values = capture(module, "first")(params, x)
    patched = replace(module, values)(params, 10 * x)
    np.testing.assert_allclose(patched, clean, rtol=1e-6)


def test_capture_sees_the_replaced_computation(outer):
    module, params, x = outer
    h = jnp.asarray([0.3, -0.7])
    _, values = replace(capture(module, "first", "scale"), {"first": h})(params, x)
    np.testing.assert_array_equal(values["first"], h)
    want = 2 * dense(params["shared"], dense(params["shared"], h))
    np.testing.assert_allclose(values["scale"], want, rtol=1e-5)


def test_gradients_flow_into_values_and_through_the_module_under_remat(outer):
    module, params, x = outer
    h = jnp.asarray([0.3, -0.7, 0.2])
    gradient = jax.grad(lambda h: replace(module, {"saved/up": h})(params, x).sum())(h)
    want = jax.grad(lambda h: dense(params["saved"]["down"], jnp.tanh(h)).sum())(h)
    np.testing.assert_allclose(gradient, want, rtol=1e-5)


def test_replacing_nothing_changes_nothing(outer):
    module, params, x = outer
    identity = {"first": lambda y: y, "saved/down": lambda y: y}
    np.testing.assert_array_equal(replace(module, identity)(params, x), module.apply({"params": params}, x))


def test_another_method_than_call(outer):
    module, params, x = outer
    np.testing.assert_array_equal(replace(module, {"scale": jnp.sin}, method="scale")(params, x), jnp.sin(2 * x))
    np.testing.assert_array_equal(capture(module, "scale", method="scale")(params, x)[1]["scale"], 2 * x)
    with pytest.raises(ValueError, match="method: expected None with an apply function, got 'scale'"):
        replace(capture(module, "scale"), {}, method="scale")


def test_unknown_names_and_other_shapes_are_refused(outer):
    module, params, x = outer
    with pytest.raises(ValueError, match=r"names: expected some of first, first/down, .*; got 'frist'"):
        capture(module, "frist")(params, x)
    with pytest.raises(ValueError, match=r"names: expected some of .*shared.*; got 'first/energy'"):
        replace(module, {"first/energy": jnp.ones(())})(params, x)
    with pytest.raises(ValueError, match=r"replacements\['first'\]: expected shape \(2,\), got shape \(3,\)"):
        replace(module, {"first": jnp.ones(3)})(params, x)
