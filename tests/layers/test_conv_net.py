"""The convolution layer against flax's, the network against its stages written out, in training inside a scan."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo import ops
from jaxzoo.layers import Conv, ConvNet, GroupNorm
from jaxzoo.transforms import as_model


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def shifted(params):
    """Parameters away from the zeros and ones they start from."""
    return jax.tree.map(lambda p: p + 0.1, params)


@pytest.mark.parametrize(
    ("shape", "window", "ours", "theirs"),
    [
        ((6, 5, 4), (3, 2), {}, {}),
        (
            (6, 5, 4),
            (3, 3),
            {"stride": 2, "padding": 1, "groups": 2},
            {"strides": 2, "padding": 1, "feature_group_count": 2},
        ),
        ((9, 4), (3,), {"padding": ((4, 0),), "dilation": 2}, {"padding": [(4, 0)], "kernel_dilation": 2}),
        ((9, 4), (3,), {"use_bias": False}, {"use_bias": False}),
    ],
)
def test_it_is_the_layer_of_flax(shape, window, ours, theirs):
    model, peer, x = as_model(Conv(6, window, **ours)), nn.Conv(6, window, **theirs), draw(*shape)
    params = shifted(model.init(jax.random.key(0), x))
    np.testing.assert_allclose(model.apply(params, x), peer.apply({"params": params}, x), rtol=1e-5, atol=1e-5)


def test_initial_parameters_are_those_of_flax():
    x = draw(6, 5, 4)
    ours = as_model(Conv(6)).init(jax.random.key(0), x)
    theirs = nn.Conv(6, (3, 3)).init(jax.random.key(0), x)["params"]
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_the_network_is_its_stages():
    model, x = as_model(ConvNet((4, 6), 3, norm=partial(GroupNorm, groups=2))), draw(9, 8, 2)
    params = shifted(model.init(jax.random.key(0), x))
    h = x
    for i in range(2):
        h = ops.conv(h, params[f"conv_{i}"]["kernel"]) + params[f"conv_{i}"]["bias"][None, None]
        h = ops.group_norm(h, params[f"norm_{i}"]["scale"], params[f"norm_{i}"]["bias"], groups=2)
        h = ops.max_pool(jax.nn.relu(h), (2, 2))
    want = h.mean((0, 1)) @ params["head"]["kernel"] + params["head"]["bias"]
    np.testing.assert_allclose(model.apply(params, x), want, rtol=1e-5, atol=1e-6)


def test_flattening_and_no_pooling():
    shapes = jax.eval_shape(as_model(ConvNet((4,), 3, pool=1, average=False)).init, jax.random.key(0), draw(5, 4, 2))
    assert shapes["head"]["kernel"].shape == (5 * 4 * 4, 3)


def test_it_learns_in_a_scan_over_a_vmapped_batch():
    model, x, y = as_model(ConvNet((4,), 2)), draw(8, 6, 6, 1), jnp.arange(8) % 2
    params = model.init(jax.random.key(0), x[0])

    def loss(params):
        logits = jax.nn.log_softmax(jax.vmap(model.apply, (None, 0))(params, x))
        return -jnp.take_along_axis(logits, y[:, None], 1).mean()

    def step(params, _):
        value, gradient = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.5 * g, params, gradient), value

    _, losses = jax.jit(lambda p: jax.lax.scan(step, p, length=100))(params)
    assert losses[-1] < 0.5 * losses[0]


def test_a_batch_without_vmap_is_refused():
    with pytest.raises(ValueError, match=r"x: expected one image \[h, w, c\], got \(2, 6, 6, 1\)"):
        as_model(ConvNet((4,), 2)).init(jax.random.key(0), draw(2, 6, 6, 1))


def test_bfloat16_input_gives_bfloat16():
    model, x = as_model(Conv(6)), draw(6, 5, 4).astype(jnp.bfloat16)
    assert model.apply(model.init(jax.random.key(0), x), x).dtype == jnp.bfloat16
