"""A small residual network for images, plain or with VanillaNet's two tricks: do they help where shortcuts do?

A convolution, stages of residual blocks, y = relu(norm(conv(relu(norm(conv(x))))) + shortcut), global mean, linear
head. With widths 16, 32, 64, five blocks each and a first stride of 1 it is ResNet-32 for CIFAR.

With the tricks every convolution is followed by a fading activation and a pointwise convolution, with a batch norm
after each, and every ReLU is a series activation.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385).
"""

import jax
import jax.numpy as jnp

from jaxzoo import ops
from jaxzoo.vision.vanillanet import EPS, fading_relu, init_series, series_activation


def init_residual_net(key, *, channels=1, classes=10, dims=(12, 24), each=1, tricks=False, n=1):
    """Parameters and batch statistics.

    Args:
      key: of the weights, He-normal.
      channels: of the image.
      classes: number of logits.
      dims: channels of the stages; each after the first halves the image.
      each: blocks of a stage.
      tricks: train each convolution as a pair, and use series activations of radius n.
      n: that radius.

    Returns:
      `(params, state)`, lists of layers and of what they carry.
    """
    key_head, *keys = jax.random.split(key, 2 + 2 * each * len(dims))
    sizes = [(3, channels, dims[0])]
    for before, after in zip((dims[0], *dims[:-1]), dims, strict=True):
        sizes += [(3, before, after), *[(3, after, after)] * (2 * each - 1)]
    made = [_init_layer(key, size, tricks, n) for key, size in zip(keys, sizes, strict=True)]
    head = {"w": jnp.sqrt(1 / dims[-1]) * jax.random.normal(key_head, (dims[-1], classes)), "b": jnp.zeros(classes)}
    return {"layers": [layer for layer, _ in made], "head": head}, [state for _, state in made]


def apply_residual_net(params, state, x, lam, *, each=1, stride=2, train=False):
    """Logits.

    Args:
      params, state: as from `init_residual_net`.
      x: [..., h, w, c]; a batch [b, h, w, c] in training.
      lam: of the fading activations; without effect where the network has no tricks.
      each: blocks of a stage, as at the start.
      stride: of the first convolution.
      train: a Python bool.

    Returns:
      `(logits [..., classes], state)`.
    """
    x, after = residual_features(params, state, x, lam, each=each, stride=stride, train=train)
    head = params["head"]
    return x @ head["w"] + head["b"].reshape((1,) * (x.ndim - 1) + (-1,)), after


def residual_features(params, state, x, lam=1.0, *, each=1, stride=2, train=False):
    """All but the head: `(features [..., dims[-1]], state)`; arguments as of `apply_residual_net`."""
    layers, after = params["layers"], []
    x, stem = _layer(layers[0], state[0], x, lam, stride, train)
    x, done = _activated(layers[0], stem, state[0], x, train)
    after.append(done)
    for i in range(1, len(layers), 2):
        stride = 2 if i > 1 and (i - 1) % (2 * each) == 0 else 1
        y, first = _layer(layers[i], state[i], x, lam, stride, train)
        y, first = _activated(layers[i], first, state[i], y, train)
        y, second = _layer(layers[i + 1], state[i + 1], y, lam, 1, train)
        # Without parameters: every second place, and zeros for the new channels.
        x = jnp.pad(x[..., ::stride, ::stride, :], [(0, 0)] * (x.ndim - 1) + [(0, y.shape[-1] - x.shape[-1])])
        x, second = _activated(layers[i + 1], second, state[i + 1], x + y, train)
        after += [first, second]
    return x.mean((-3, -2)), after


def _init_layer(key, size, tricks, n):
    key_first, key_second, key_act = jax.random.split(key, 3)
    window, before, channels = size
    norm = lambda: {"scale": jnp.ones(channels), "bias": jnp.zeros(channels)}  # noqa: E731
    normal = lambda key, *shape: jax.random.normal(key, shape) * (2 / (shape[0] ** 2 * shape[2])) ** 0.5  # noqa: E731
    params = {"w": normal(key_first, window, window, before, channels), "norm": norm()}
    state = {"norm": ops.batch_state(channels)}
    if tricks:
        params["pair"] = {"w": normal(key_second, 1, 1, channels, channels), "norm": norm()}
        state["pair"] = ops.batch_state(channels)
        params["act"], state["act"] = init_series(key_act, channels, n)
    return params, state


def _layer(params, state, x, lam, stride, train):
    x, norm = _conv_norm(params, state["norm"], x, stride, train)
    if "pair" not in params:
        return x, {"norm": norm}
    x, pair = _conv_norm(params["pair"], state["pair"], fading_relu(x, lam), 1, train)
    return x, {"norm": norm, "pair": pair}


def _activated(params, after, state, x, train):
    if "act" not in params:
        return jax.nn.relu(x), after
    x, act = series_activation(params["act"], state["act"], x, train=train)
    return x, after | {"act": act}


def _conv_norm(params, state, x, stride, train):
    x = ops.conv(x, params["w"], stride=stride, padding=params["w"].shape[0] // 2)
    return ops.batch_norm(x, params["norm"]["scale"], params["norm"]["bias"], state, train=train, eps=EPS)
