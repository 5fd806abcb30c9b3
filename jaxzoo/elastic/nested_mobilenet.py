"""MobileNetV2 for CIFAR that can be cut to any width and depth.

Source: Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv
1801.04381), Tables 1 and 2.
"""

import jax

from jaxzoo.elastic.nested_conv import Block, Stage, staged_net

REPEATS = (0, 1, 2, 3, 2, 2, 0)
"""Of the paper's n = 1, 2, 3, 4, 3, 3, 1 blocks of a stage, those after the first."""


def nested_mobilenet(*, width=10, first=16, repeats=REPEATS, channels=3, side=32, outputs=10):
    """MobileNetV2 as a `NestedModel` on one image [h, w, c].

    A block widens its input six times by a 1x1 convolution (not in the first stage), filters each channel by a 3x3 one,
    and narrows by a 1x1 one without an activation; batch norm after each, relu6 after the first two. Where the size
    stays, the input is added. A 1x1 convolution to 80 `first` channels comes before the head.

    NOTE(paper): the stem and the second stage have the stride 1 in the place of 2, as images of 32 pixels are an eighth
    of ImageNet's; the head has no dropout.

    Args:
      width: number of widths.
      first: channels of the first stage, the narrowest.
      repeats: blocks of each stage after its first; 10 in all, which can be left out.
      channels: of the image.
      side: of the image, pixels; for `macs` alone.
      outputs: number of logits.

    Returns:
      `NestedModel`.

    Raises:
      ValueError: other than 7 stages.
    """
    if len(repeats) != len(REPEATS):
        raise ValueError(f"repeats: expected one for each of 7 stages, got {repeats}")
    multiples, strides = (1, 1.5, 2, 4, 6, 10, 20), (1, 1, 2, 2, 1, 2, 1)
    expand = (1, *(6,) * 6)
    stages = [
        Stage(round(m * first), n, stride, t)
        for m, n, stride, t in zip(multiples, repeats, strides, expand, strict=True)
    ]
    options = {"channels": channels, "side": side, "outputs": outputs}
    return staged_net(BLOCK, stages, width=width, stem=2 * first, last=80 * first, **options)


def _kernels(into, hidden, out):
    widen = {} if hidden == into else {"expand": (1, 1, into, hidden)}
    return widen | {"depthwise": (3, 3, 1, hidden), "project": (1, 1, hidden, out)}


def _branch(conv, x, hidden, out, stride, expand):
    if expand > 1:
        x = jax.nn.relu6(conv("expand", x, hidden))
    x = jax.nn.relu6(conv("depthwise", x, hidden, stride=stride, groups=x.shape[-1]))
    return conv("project", x, out)


BLOCK = Block(
    kernels=_kernels,
    branch=_branch,
    join=lambda x, y: x + y,
    enter=lambda x, y, stride: y,
    activation=jax.nn.relu6,
    strided="depthwise",
)
