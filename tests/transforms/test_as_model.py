"""Linen modules as pure functions: parameters, methods, random streams, refusal of hidden state."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.layers import MLP
from jaxzoo.transforms import as_model


class Noisy(nn.Module):
    """Two random streams, one of them not dropout."""

    @nn.compact
    def __call__(self, x, *, factor=1.0):
        dropped = nn.Dropout(0.5)(x, deterministic=not self.has_rng("dropout"))
        return factor * dropped, jax.random.normal(self.make_rng("noise"), x.shape)


class TwoMethods(nn.Module):
    def setup(self):
        self.encoder, self.decoder = nn.Dense(2), nn.Dense(3)

    def __call__(self, x):
        return self.decoder(self.encoder(x))

    def encode(self, x):
        return self.encoder(x)


def test_init_and_apply_are_those_of_the_module():
    module, x = MLP((4, 2)), jnp.arange(3.0)
    model = as_model(module)
    params = model.init(jax.random.key(0), x)
    want = module.init(jax.random.key(0), x)["params"]
    jax.tree.map(np.testing.assert_array_equal, params, want)
    np.testing.assert_array_equal(model.apply(params, x), module.apply({"params": want}, x))


def test_init_needs_shapes_alone():
    model = as_model(MLP((4, 2)))
    shapes = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((3,), jnp.float32))
    assert shapes["dense_0"]["kernel"].shape == (3, 4)


def test_a_batch_is_vmap_and_equals_a_loop():
    model, x = as_model(MLP((4, 2))), jnp.arange(6.0).reshape(2, 3)
    params = model.init(jax.random.key(0), x[0])
    batched = jax.vmap(model.apply, (None, 0))(params, x)
    np.testing.assert_allclose(batched, jnp.stack([model.apply(params, one) for one in x]), rtol=1e-6)


def test_without_a_key_nothing_is_dropped_and_with_one_the_key_decides():
    model, x = as_model(MLP((64, 1), dropout=0.5)), jnp.ones(3)
    params = model.init(jax.random.key(0), x)
    assert model.apply(params, x) == as_model(MLP((64, 1))).apply(params, x)
    first, again, other = (model.apply(params, x, key=jax.random.key(i)) for i in (1, 1, 2))
    assert first == again
    assert first != other
    assert first != model.apply(params, x)


def test_one_key_feeds_every_stream_and_streams_differ():
    model, x = as_model(Noisy()), jnp.ones(200)
    params = model.init(jax.random.key(0), x)
    assert params == {}
    dropped, noise = model.apply(params, x, key=jax.random.key(1), factor=3.0)
    assert set(np.unique(dropped)) == {0.0, 6.0}
    _, other = model.apply(params, x, key=jax.random.key(2))
    assert not np.array_equal(noise, other)
    # The noise is not what the dropout mask was thresholded from.
    assert abs(np.corrcoef(dropped, noise)[0, 1]) < 0.3


def test_a_stream_without_a_key_is_an_error():
    model = as_model(Noisy())
    with pytest.raises(Exception, match="noise"):
        model.apply({}, jnp.ones(2))


def test_a_method_by_name():
    module, x = TwoMethods(), jnp.ones(4)
    params = as_model(module).init(jax.random.key(0), x)
    encoded = as_model(module, method="encode").apply(params, x)
    np.testing.assert_array_equal(encoded, x @ params["encoder"]["kernel"] + params["encoder"]["bias"])


def test_hidden_state_is_refused():
    with pytest.raises(ValueError, match=r"module: .*BatchNorm also keeps \['batch_stats'\]"):
        as_model(nn.BatchNorm(use_running_average=True)).init(jax.random.key(0), jnp.ones((2, 3)))
