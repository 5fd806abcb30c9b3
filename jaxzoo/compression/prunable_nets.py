"""Networks whose weights lie in a list of their own, one leaf a layer from input to output, to be scored and masked.

Parameters are {"weights": [W_1, ..., W_L], "rest": biases and norms}; only the former are ever pruned. Statistics of
batch norms are passed in and returned.
"""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo import ops
from jaxzoo.compression.fastgrnn import fastgrnn, init_fastgrnn


class Net(NamedTuple):
    """A network of batches, since batch norm sees them whole.

    Attributes:
      init: `init(key) -> (params, stats)`.
      apply: `apply(params, stats, x [b, ...], *, train=False, momentum=0.1) -> (logits [b, c], stats)`.
      positions: [l] how often one example uses each weight of a layer.
    """

    init: Callable[[jax.Array], tuple[Any, Any]]
    apply: Callable[..., tuple[jax.Array, Any]]
    positions: tuple[int, ...]


class Conv(NamedTuple):
    """A convolution: size of its window, channels out (None for one filter on each channel), stride."""

    window: int
    features: int | None
    stride: int = 1


class Block(NamedTuple):
    """Convolutions one after the other, with a shortcut around them if `residual`."""

    convs: tuple[Conv, ...]
    residual: bool = True


def normed_mlp(widths: tuple[int, ...]) -> Net:
    """Dense layers of these widths, input first, with batch norm and ReLU after each but the last: x [b, ...]."""
    if len(widths) < 2:
        raise ValueError(f"widths: expected those of the input and the output at least, got {widths}")
    sizes = list(itertools.pairwise(widths))

    def init(key):
        weights = [_draw(k, size) for k, size in zip(jax.random.split(key, len(sizes)), sizes, strict=True)]
        return _with_norms(weights, widths[1:-1])

    def apply(params, stats, x, *, train=False, momentum=0.1):
        norm, after = _norms(params, stats, train, momentum)
        x = x.reshape(x.shape[0], -1)
        *hidden, head = params["weights"]
        for w in hidden:
            x = jax.nn.relu(norm(x @ w))
        return x @ head + params["rest"]["bias"][None], after

    return Net(init, apply, (1,) * len(sizes))


def conv_net(
    *, side: int, channels: int, classes: int, stem: Conv, blocks: tuple[Block, ...], pool=False, preactivation=False
) -> Net:
    """A stem, blocks, the mean over places and a dense layer: x [b, side, side, channels].

    Batch norm and ReLU come after each convolution, the last ReLU of a residual block after the sum; with
    `preactivation` before each convolution of a block, and once more before the mean. Where a shortcut changes shape it
    is a pointwise convolution.

    Args:
      side, channels: of the image.
      classes: number of logits.
      stem: the first convolution.
      blocks: the others.
      pool: maximum over windows of 3 with stride 2 after the stem.
      preactivation: see above; for residual blocks.
    """
    forward = partial(_features, stem, blocks, pool, preactivation)
    shapes, positions, widths = _layers_of(forward, side, channels)
    shapes.append((widths[-1], classes))

    def init(key):
        weights = [_draw(k, shape) for k, shape in zip(jax.random.split(key, len(shapes)), shapes, strict=True)]
        return _with_norms(weights, widths)

    def apply(params, stats, x, *, train=False, momentum=0.1):
        norm, after = _norms(params, stats, train, momentum)
        *convs, head = params["weights"]
        weights = iter(convs)

        def conv(x, spec):
            groups = x.shape[-1] if spec.features is None else 1
            return ops.conv(x, next(weights), stride=spec.stride, groups=groups)

        x = forward(conv, norm, x).mean((1, 2))
        return x @ head + params["rest"]["bias"][None], after

    return Net(init, apply, (*positions, 1))


def recurrent_net(*, length: int, features: int, hidden: int, classes: int) -> Net:
    """FastGRNN and a dense layer on its last state: x [b, length, features]. It has no statistics."""

    def init(key):
        key_cell, key_head = jax.random.split(key)
        cell = init_fastgrnn(key_cell, features, hidden)
        head = jax.nn.initializers.lecun_normal()(key_head, (hidden, classes))
        weights = [cell.pop("w"), cell.pop("u"), head]
        return {"weights": weights, "rest": {"cell": cell, "bias": jnp.zeros(classes)}}, []

    def apply(params, stats, x, *, train=False, momentum=0.1):
        w, u, head = params["weights"]
        cell = {"w": w, "u": u, **params["rest"]["cell"]}
        h = jax.vmap(lambda x: fastgrnn(cell, x)[-1])(x)
        return h @ head + params["rest"]["bias"][None], stats

    return Net(init, apply, (length, length, 1))


def _features(stem, blocks, pool, preactivation, conv, norm, x):
    """All but the head, by functions that apply the next convolution `conv(x, spec)` and the next norm `norm(x)`."""
    x = conv(x, stem)
    x = x if preactivation else jax.nn.relu(norm(x))
    x = ops.max_pool(x, (3, 3), stride=2, padding="SAME") if pool else x
    for block in blocks:
        x = (_preactivation_block if preactivation else _block)(block, conv, norm, x)
    return jax.nn.relu(norm(x)) if preactivation else x


def _block(block, conv, norm, x):
    y = x
    for i, spec in enumerate(block.convs):
        y = norm(conv(y, spec))
        y = y if block.residual and i == len(block.convs) - 1 else jax.nn.relu(y)
    if not block.residual:
        return y
    return jax.nn.relu(y + (x if x.shape == y.shape else norm(conv(x, _projection(block)))))


def _preactivation_block(block, conv, norm, x):
    first = y = jax.nn.relu(norm(x))
    for i, spec in enumerate(block.convs):
        y = conv(y if i == 0 else jax.nn.relu(norm(y)), spec)
    return y + (x if x.shape == y.shape else conv(first, _projection(block)))


def _projection(block):
    """The pointwise convolution of a shortcut."""
    return Conv(1, block.convs[-1].features, math.prod(spec.stride for spec in block.convs))


def _layers_of(forward, side, channels):
    """Shapes and positions of the convolutions of `forward`, and channels of its norms, in the order of their use."""
    shapes, positions, widths = [], [], []

    def conv(x, spec):
        c = x.shape[-1]
        shapes.append((spec.window, spec.window, *((1, c) if spec.features is None else (c, spec.features))))
        y = ops.conv(x, jnp.zeros(shapes[-1]), stride=spec.stride, groups=c if spec.features is None else 1)
        positions.append(math.prod(y.shape[1:3]))
        return y

    def norm(x):
        widths.append(x.shape[-1])
        return x

    jax.eval_shape(partial(forward, conv, norm), jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32))
    return shapes, positions, widths


def _draw(key, shape):
    """Normal of variance 1 / (3 inputs of a unit), that of PyTorch's dense and convolutional layers.

    Batch norm makes the scale free, and magnitudes of layers are comparable once training outweighs these first values:
    with six times the variance global pruning follows the numbers of inputs.
    """
    return jax.random.normal(key, shape) / math.sqrt(3 * math.prod(shape[:-1]))


def _with_norms(weights, widths):
    norms = [{"scale": jnp.ones(c), "bias": jnp.zeros(c)} for c in widths]
    rest = {"norms": norms, "bias": jnp.zeros(weights[-1].shape[-1])}
    return {"weights": weights, "rest": rest}, [ops.batch_state(c) for c in widths]


def _norms(params, stats, train, momentum):
    """A function that applies the next batch norm, and the list that its statistics go to."""
    pairs, after = iter(zip(params["rest"]["norms"], stats, strict=True)), []

    def norm(x):
        layer, state = next(pairs)
        y, state = ops.batch_norm(x, layer["scale"], layer["bias"], state, train=train, momentum=momentum)
        after.append(state)
        return y

    return norm, after
