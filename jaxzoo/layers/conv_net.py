"""Convolutional layers and a small network of them, for images of 8x8 to 32x32."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxzoo import ops


class Conv(nn.Module):
    """Convolution of one example: [h, w, c] -> [h', w', features] or [t, c] -> [t', features]; see `ops.conv`.

    Attributes:
      features: channels out.
      window: size of the kernel, (kh, kw) or (k,).
      stride, padding, dilation, groups: as in `ops.conv`.
      use_bias: learn an offset per channel, from 0.
      kernel_init: initialiser of the kernel.
    """

    features: int
    window: tuple[int, ...] = (3, 3)
    stride: int | tuple[int, ...] = 1
    padding: str | int | tuple[tuple[int, int], ...] = "SAME"
    dilation: int | tuple[int, ...] = 1
    groups: int = 1
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x):
        shape = (*self.window, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape).astype(x.dtype)
        geometry = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        y = ops.conv(x, kernel, groups=self.groups, **geometry)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)
        return y + bias.reshape((1,) * (y.ndim - 1) + (-1,))


class ConvNet(nn.Module):
    """Stages of convolution, norm, activation and max pooling, then a dense layer: [h, w, c] -> [outputs].

    Stages are named `conv_0`, `norm_0`, ...; the last layer is `head`.

    Attributes:
      widths: channels of each stage.
      outputs: size of the output.
      window: size of the kernels; "SAME" padding, stride 1.
      pool: size and stride of the max pooling that ends each stage; 1 for none.
      norm: makes a norm of one example [h, w, c], such as `partial(GroupNorm, groups=4)`; None for none. Batch norm
        keeps a state, which this network has no place for: see `BatchNorm`.
      activation: elementwise function.
      average: average over positions before the head; False flattens them, which ties the network to one image size.
    """

    widths: tuple[int, ...]
    outputs: int
    window: tuple[int, int] = (3, 3)
    pool: int = 2
    norm: Callable[..., nn.Module] | None = None
    activation: Callable = jax.nn.relu
    average: bool = True

    @nn.compact
    def __call__(self, x):
        if x.ndim != 3:
            raise ValueError(f"x: expected one image [h, w, c], got {x.shape}; a batch goes through jax.vmap")
        for i, width in enumerate(self.widths):
            x = Conv(width, self.window, name=f"conv_{i}")(x)
            if self.norm is not None:
                x = self.norm(name=f"norm_{i}")(x)
            x = self.activation(x)
            if self.pool > 1:
                x = ops.max_pool(x, (self.pool, self.pool))
        x = jnp.mean(x, (0, 1)) if self.average else x.reshape(-1)
        return nn.Dense(self.outputs, name="head")(x)
