"""VanillaNet: a plain stack of a few pointwise convolutions, without shortcuts and without attention.

Two tricks make so shallow a network learn. Each layer is trained as two, with an activation between them that fades
to the identity, so that the two merge into one when training ends:

    A_lam(x) = (1 - lam) relu(x) + lam x,   lam from 0 to 1                                               (eq. 1)

And each activation that stays is a learned sum of shifted ReLUs, which mixes neighbours where the convolutions do not:

    y[h, w, c] = sum over i, j in -n..n of a[i, j, c] relu(x[h + i, w + j, c])                            (eq. 6)

that is a depthwise convolution of relu(x), with zeros beyond the border, and then a batch norm. `apply_vanillanet` is
the form in training, `deploy` and `apply_deployed` the merged one, which is the same function once lam is 1.

Source: Chen, Wang, Guo, Tao, "VanillaNet: the Power of Minimalism in Deep Learning" (arXiv 2305.12972).
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxzoo import ops
from jaxzoo.ops.merge import fold_batch_norm, merge_pointwise

__all__ = [
    "apply_deployed",
    "apply_vanillanet",
    "deploy",
    "fading_relu",
    "init_series",
    "init_vanillanet",
    "series_activation",
]

EPS = 1e-6
"""Of every batch norm."""


def fading_relu(x, lam):
    """A_lam(x) = (1 - lam) relu(x) + lam x: the ReLU at lam = 0, the identity at lam = 1 (eq. 1).

    Args:
      x: any shape.
      lam: a scalar in [0, 1]; may be traced. The official code writes it as a leaky ReLU of slope lam.
    """
    return jnp.where(x > 0, x, lam * x)


def init_series(key, channels, n):
    """Parameters and state of `series_activation`: "a" [2n + 1, 2n + 1, c] and its batch norm."""
    a = 0.02 * jax.random.truncated_normal(key, -2, 2, (2 * n + 1, 2 * n + 1, channels))
    return {"a": a, "norm": _norm(channels)}, ops.batch_state(channels)


def series_activation(params, state, x, *, train):
    """The series-informed activation: a depthwise convolution of relu(x), then batch norm.

    Args:
      params: "a" [2n + 1, 2n + 1, c] and "norm", as from `init_series`.
      state: the norm's `BatchState`.
      x: [..., h, w, c]; a batch [b, h, w, c] in training.
      train: a Python bool: normalise by the batch and update the state.

    Returns:
      `(y, state)`, y of x's shape.

    Source: eq. 6; the radius n is the paper's, (2n + 1)^2 terms.
    """
    return _normed(params["norm"], state, _shifted_relus(params["a"], x), train)


def init_vanillanet(key, *, channels=3, classes=1000, dims=(512, 1024, 2048, 4096), strides=(2, 2, 2), n=3, stem=4):
    """Parameters and batch statistics of a VanillaNet in its training form.

    Args:
      key: of the weights.
      channels: of the image.
      classes: number of logits.
      dims: channels after the stem and after each block; VanillaNet-5 by default. -6 adds a last 4096 of stride 1.
      strides: of each block, 1 or 2.
      n: radius of the series activations; 0 for plain ReLUs, which have no parameters.
      stem: size and stride of the first convolution.

    Returns:
      `(params, state)`: trees {"stem", "blocks", "head"}; weights are truncated normal of standard deviation 0.02.

    Raises:
      ValueError: `dims` and `strides` do not fit, or a stride is not 1 or 2.
    """
    if len(dims) != len(strides) + 1 or not set(strides) <= {1, 2}:
        raise ValueError(f"strides: expected {len(dims) - 1} of 1 or 2 for dims {dims}, got {strides}")
    key_stem, key_head, *keys = jax.random.split(key, 2 + len(strides))
    blocks = [
        _init_block(key, (1, 1, wide, wide), narrow, n)
        for key, wide, narrow in zip(keys, dims[:-1], dims[1:], strict=True)
    ]
    made = {
        "stem": _init_block(key_stem, (stem, stem, channels, dims[0]), dims[0], n),
        "blocks": blocks,
        "head": _init_head(key_head, dims[-1], classes),
    }
    params, state = ({name: _pick(part, i) for name, part in made.items()} for i in range(2))
    return params, state


def apply_vanillanet(
    params, state, x, lam, *, strides=(2, 2, 2), train=False, shortcuts=False, remat=False, dropout=0.0, key=None
):
    """Logits of the training form.

    Args:
      params, state: as from `init_vanillanet`.
      x: [..., h, w, c]; a batch [b, h, w, c] in training.
      lam: of every fading activation; may be traced.
      strides: of the blocks.
      train: a Python bool: normalise by the batch and update the statistics.
      shortcuts: add a block's input to its output where stride and channels allow it: an ablation.
      remat: store the inputs of blocks alone and compute the rest again in the backward pass, to save memory.
      dropout: rate before the head, in force where there is a key.
      key: of dropout.

    Returns:
      `(logits [..., classes], state)`.
    """
    stem, after = params["stem"], dict(state)
    size = stem["first"]["w"].shape[0]
    stored = jax.checkpoint if remat else lambda block: block
    x, after["stem"] = stored(partial(_block, train=train, stride=size))(stem, state["stem"], x, lam)
    after["blocks"] = []
    for block, block_state, stride in zip(params["blocks"], state["blocks"], strides, strict=True):
        y, block_state = stored(partial(_block, train=train, pool=stride))(block, block_state, x, lam)
        x = x + y if shortcuts and y.shape == x.shape else y
        after["blocks"].append(block_state)
    x = x.mean((-3, -2))
    if key is not None and dropout > 0:
        x = jnp.where(jax.random.bernoulli(key, 1 - dropout, x.shape), x / (1 - dropout), 0)
    head, first = params["head"], params["head"]["first"]
    x, after["head"] = _normed(first["norm"], state["head"], x @ first["w"] + _row(first["b"], x), train)
    return fading_relu(x, lam) @ head["second"]["w"] + _row(head["second"]["b"], x), after


def deploy(params, state, *, lam=1.0):
    """The merged form of a network whose activations have faded: about half the layers and the same function.

    Batch norms are folded into the convolutions before them, then each pair of convolutions is multiplied out, and the
    norm of a series activation goes into its coefficients and a new offset, added after the sum (at the border the
    sum has fewer terms and the offset is whole all the same).

    Args:
      params, state: as `apply_vanillanet` takes them.
      lam: that the network was trained to; merging is exact at 1 alone.

    Returns:
      {"stem", "blocks", "head"} for `apply_deployed`.

    Raises:
      ValueError: lam is not 1.
    """
    if lam != 1.0:
        raise ValueError(
            f"lam: expected 1, activations that have faded to the identity, got {lam}; train on until then"
        )
    return merged(params, state)


def merged(params, state):
    """As `deploy`, whatever the network was trained to: another function unless lam is 1."""
    blocks = [_merge_block(*pair) for pair in zip(params["blocks"], state["blocks"], strict=True)]
    head = params["head"]
    first = _fold(head["first"], state["head"])
    w, b = merge_pointwise(*first, head["second"]["w"], head["second"]["b"])
    return {"stem": _merge_block(params["stem"], state["stem"]), "blocks": blocks, "head": {"w": w, "b": b}}


def apply_deployed(deployed, x, *, strides=(2, 2, 2)):
    """Logits of the merged form: one convolution, one pool and one activation a block.

    Args:
      deployed: of `deploy`.
      x: [..., h, w, c].
      strides: of the blocks.

    Returns:
      [..., classes].
    """
    stem = deployed["stem"]
    x = _activation(stem["act"], _conv(stem, x, stem["w"].shape[0]))
    for block, stride in zip(deployed["blocks"], strides, strict=True):
        x = _activation(block["act"], _pool(_conv(block, x, 1), stride))
    x = x.mean((-3, -2))
    return x @ deployed["head"]["w"] + _row(deployed["head"]["b"], x)


def _init_block(key, shape, narrow, n):
    """A pair of convolutions, the first of `shape`, and an activation: (params, state)."""
    key_first, key_second, key_act = jax.random.split(key, 3)
    first, second = _conv_norm(key_first, shape), _conv_norm(key_second, (1, 1, shape[-1], narrow))
    params, state = ({"first": first[i], "second": second[i]} for i in range(2))
    if n:
        act = init_series(key_act, narrow, n)
        params["act"], state["act"] = act
    return params, state


def _init_head(key, wide, classes):
    """Two dense layers, a batch norm after the first."""
    key_first, key_second = jax.random.split(key)
    first, state = _conv_norm(key_first, (wide, classes))
    return {"first": first, "second": {"w": _weights(key_second, (classes, classes)), "b": jnp.zeros(classes)}}, state


def _conv_norm(key, shape):
    return {"w": _weights(key, shape), "b": jnp.zeros(shape[-1]), "norm": _norm(shape[-1])}, ops.batch_state(shape[-1])


def _weights(key, shape):
    return 0.02 * jax.random.truncated_normal(key, -2, 2, shape)


def _norm(channels):
    return {"scale": jnp.ones(channels), "bias": jnp.zeros(channels)}


def _pick(part, i):
    """The params (0) or state (1) of a block, or of a list of them."""
    return [block[i] for block in part] if isinstance(part, list) else part[i]


def _row(b, x):
    return b.reshape((1,) * (x.ndim - 1) + b.shape)


def _conv(layer, x, stride):
    y = ops.conv(x, layer["w"], stride=stride, padding="VALID")
    return y + _row(layer["b"], y)


def _normed(norm, state, x, train):
    return ops.batch_norm(x, norm["scale"], norm["bias"], state, train=train, eps=EPS)


def _block(params, state, x, lam, *, train, stride=1, pool=1):
    """conv, norm, A_lam, conv, norm, pool, activation."""
    x, first = _normed(params["first"]["norm"], state["first"], _conv(params["first"], x, stride), train)
    x = _conv(params["second"], fading_relu(x, lam), 1)
    x, second = _normed(params["second"]["norm"], state["second"], x, train)
    x, after = _pool(x, pool), {"first": first, "second": second}
    if "act" not in params:
        return jax.nn.relu(x), after
    x, after["act"] = series_activation(params["act"], state["act"], x, train=train)
    return x, after


def _pool(x, stride):
    return x if stride == 1 else ops.max_pool(x, (stride, stride))


def _shifted_relus(a, x):
    # As shifted slices, which `ops.conv` makes of it on CPU, this is faster there than a grouped convolution.
    return ops.conv(jax.nn.relu(x), a[:, :, None], groups=x.shape[-1])


def _activation(act, x):
    if act is None:
        return jax.nn.relu(x)
    y = _shifted_relus(act["a"], x)
    return y + _row(act["b"], y)


def _fold(layer, state):
    norm = layer["norm"]
    return fold_batch_norm(layer["w"], layer["b"], norm["scale"], norm["bias"], state, eps=EPS)


def _merge_block(params, state):
    first, second = (_fold(params[name], state[name]) for name in ("first", "second"))
    w, b = merge_pointwise(*first, *second)
    act = None
    if "act" in params:
        norm = params["act"]["norm"]
        a, offset = fold_batch_norm(params["act"]["a"], None, norm["scale"], norm["bias"], state["act"], eps=EPS)
        act = {"a": a, "b": offset}
    return {"w": w, "b": b, "act": act}
