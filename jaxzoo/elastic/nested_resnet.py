"""A residual network for CIFAR that can be cut to any width and depth: ResNet-32 as it stands.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), Sec. 4.2.
"""

import jax
import jax.numpy as jnp

from jaxzoo.elastic.nested_conv import Block, Stage, staged_net


def nested_resnet(*, width=10, first=16, blocks=5, channels=3, side=32, outputs=10):
    """ResNet-(6 blocks + 2) as a `NestedModel` on one image [h, w, c].

    A 3x3 convolution and three stages of `first`, 2 `first` and 4 `first` channels; a block is relu(x + conv(relu(conv
    x))), each convolution with batch norm. Where the size changes, the shortcut drops pixels and adds channels of zeros
    (the paper's option A): it has no parameters.

    Args:
      width: number of widths.
      first: channels of the first stage.
      blocks: of each stage; all but the first of each can be left out.
      channels: of the image.
      side: of the image, pixels; for `macs` alone.
      outputs: number of logits.

    Returns:
      `NestedModel` of the depth 3 (blocks - 1).
    """
    stages = [Stage(first * 2**s, blocks - 1, 1 if s == 0 else 2) for s in range(3)]
    options = {"channels": channels, "side": side, "outputs": outputs}
    return staged_net(BLOCK, stages, width=width, stem=first, **options)


def _branch(conv, x, hidden, out, stride, expand):
    x = jax.nn.relu(conv("conv1", x, out, stride=stride))
    return conv("conv2", x, out)


def _enter(x, y, stride):
    x = x[::stride, ::stride]
    return jax.nn.relu(jnp.pad(x, ((0, 0), (0, 0), (0, y.shape[-1] - x.shape[-1]))) + y)


BLOCK = Block(
    kernels=lambda into, hidden, out: {"conv1": (3, 3, into, out), "conv2": (3, 3, out, out)},
    branch=_branch,
    join=lambda x, y: jax.nn.relu(x + y),
    enter=_enter,
    activation=jax.nn.relu,
    strided="conv1",
)
