"""The residual network: ResNet-32's size, and stages of several blocks against the formula."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxzoo.vision.residual_net import apply_residual_net, init_residual_net, residual_features
from jaxzoo.vision.vanillanet import EPS


def test_resnet_32_has_its_number_of_parameters():
    """464 154 with 10 classes and shortcuts without parameters (arXiv 1512.03385, Tab. 6: 0.46M)."""
    params, _ = jax.eval_shape(
        lambda key: init_residual_net(key, channels=3, dims=(16, 32, 64), each=5), jax.random.key(0)
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 464_154
    assert len(params["layers"]) == 31  # and the head


def by_formula(params, state, x):
    """Two stages of two blocks, and a first convolution of stride 1, by lax."""
    number = iter(range(9))

    def layer(y, stride):
        i = next(number)
        weights, running = params["layers"][i], state[i]["norm"]
        layout = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(y, weights["w"], (stride, stride), ((1, 1), (1, 1)), dimension_numbers=layout)
        flat = (y.reshape(-1, y.shape[-1]) - running.mean[None]) / jnp.sqrt(running.var + EPS)[None]
        return (flat * weights["norm"]["scale"][None] + weights["norm"]["bias"][None]).reshape(y.shape)

    y = jax.nn.relu(layer(x, 1))
    for stride in (1, 1, 2, 1):
        z = layer(jax.nn.relu(layer(y, stride)), 1)
        short = y[:, ::stride, ::stride]
        y = jax.nn.relu(z + jnp.concatenate([short, jnp.zeros((*z.shape[:3], z.shape[3] - short.shape[3]))], -1))
    features = y.mean((1, 2))
    return y, features, features @ params["head"]["w"] + params["head"]["b"][None]


def test_stages_of_two_blocks_are_the_formula():
    make = partial(init_residual_net, channels=3, classes=5, dims=(4, 6), each=2)
    rng = np.random.default_rng(0)
    away = lambda x: (rng.normal(size=x.shape) ** 2 / 4 + 0.1).astype(x.dtype)  # noqa: E731
    params, state = jax.tree.map(away, jax.eval_shape(make, jax.random.key(0)))
    for layer in params["layers"]:
        layer["w"] = rng.normal(size=layer["w"].shape).astype(np.float32) / 6
    x = rng.normal(size=(2, 9, 9, 3)).astype(np.float32)
    y, features, logits = jax.jit(by_formula)(params, state, x)
    assert y.shape == (2, 5, 5, 6)
    found, _ = jax.jit(partial(residual_features, each=2, stride=1))(params, state, x)
    np.testing.assert_allclose(found, features, rtol=1e-4)
    found, _ = jax.jit(partial(apply_residual_net, each=2, stride=1))(params, state, x, 1.0)
    np.testing.assert_allclose(found, logits, rtol=1e-4)
