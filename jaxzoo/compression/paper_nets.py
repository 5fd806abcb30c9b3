"""The networks that papers on compression share: residual ones for CIFAR and ImageNet, and MobileNet."""

from jaxzoo.compression.prunable_nets import Block, Conv, Net, conv_net


def residual_net(widths: tuple[int, ...], *, each: int = 1, side: int, channels: int, classes: int, **options) -> Net:
    """Residual blocks of two 3x3 convolutions: `each` of every width, of which all but the first halve the image.

    With `each` = 5 and widths 16, 32, 64 it is ResNet-32 for CIFAR, but for the pointwise convolutions where its
    shortcuts change shape. `options` are those of `conv_net`.
    """
    blocks = [
        Block((Conv(3, width, 2 if i > 0 and j == 0 else 1), Conv(3, width)))
        for i, width in enumerate(widths)
        for j in range(each)
    ]
    stem = options.pop("stem", Conv(3, widths[0]))
    return conv_net(side=side, channels=channels, classes=classes, stem=stem, blocks=tuple(blocks), **options)


def wide_resnet(depth: int = 28, widen: int = 8, *, side: int = 32, channels: int = 3, classes: int = 10) -> Net:
    """WRN-depth-widen, with batch norm and ReLU before the convolutions (Zagoruyko, Komodakis, arXiv 1605.07146)."""
    if depth % 6 != 4:
        raise ValueError(f"depth: expected 6 n + 4, got {depth}")
    widths = tuple(widen * width for width in (16, 32, 64))
    options = {"stem": Conv(3, 16), "preactivation": True}
    return residual_net(widths, each=depth // 6, side=side, channels=channels, classes=classes, **options)


def resnet50(*, side: int = 224, channels: int = 3, classes: int = 1000) -> Net:
    """ResNet-50 with the stride in the 3x3 convolutions (He et al., arXiv 1512.03385; that is its form 1.5)."""
    blocks = [
        Block((Conv(1, width), Conv(3, width, 2 if i > 0 and j == 0 else 1), Conv(1, 4 * width)))
        for i, (width, each) in enumerate(zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True))
        for j in range(each)
    ]
    return conv_net(side=side, channels=channels, classes=classes, stem=Conv(7, 64, 2), blocks=tuple(blocks), pool=True)


def mobilenet_v1(*, side: int = 224, channels: int = 3, classes: int = 1000) -> Net:
    """MobileNet: a 3x3 filter on each channel, then a pointwise convolution, 13 times (arXiv 1704.04861)."""
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    blocks = tuple(Block((Conv(3, None, stride), Conv(1, width)), residual=False) for width, stride in plan)
    return conv_net(side=side, channels=channels, classes=classes, stem=Conv(3, 32, 2), blocks=blocks)
