"""A next-frame model around any recurrent layer: an encoder of frames, a stack of layers, a decoder of frames."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxzoo.layers import Conv, GroupNorm
from jaxzoo.model import Model

FrameNorm = nn.vmap(GroupNorm, variable_axes={"params": None}, split_rngs={"params": False})
"""Group norm of each frame by itself, [t, h, w, c]: over time it would let the future into the past."""


def norm_groups(channels):
    """Groups of a group norm: the usual 32, but never fewer than two channels to a group."""
    return max(1, min(32, channels // 2))


def lecun_normal(key, shape, dtype=jnp.float32):
    """The numbers of `nn.initializers.lecun_normal`, drawn along one axis.

    A program with several draws of many axes, such as the initialisation of a network, takes XLA on CPU five times as
    long to compile.
    """
    scale = jnp.sqrt(1 / math.prod(shape[:-1])) / 0.87962566103423978  # of a normal distribution cut off at two
    flat = jax.random.truncated_normal(key, -2, 2, math.prod(shape), dtype)
    return flat.reshape(shape) * scale.astype(dtype)


def space_to_depth(x):
    """[..., h, w, c] -> [..., h / 2, w / 2, 4 c]: each square of four pixels becomes one."""
    *lead, h, w, c = x.shape
    if h % 2 or w % 2:
        raise ValueError(f"x: expected an even height and width, got {x.shape}")
    x = x.reshape(*lead, h // 2, 2, w // 2, 2, c)
    return jnp.moveaxis(x, -4, -3).reshape(*lead, h // 2, w // 2, 4 * c)


def depth_to_space(x):
    """[..., h, w, 4 c] -> [..., 2 h, 2 w, c], the inverse of `space_to_depth`."""
    *lead, h, w, c = x.shape
    if c % 4:
        raise ValueError(f"x: expected channels divisible by 4, got {x.shape}")
    x = x.reshape(*lead, h, w, 2, 2, c // 4)
    return jnp.moveaxis(x, -3, -4).reshape(*lead, 2 * h, 2 * w, c // 4)


class ResidualBlock(nn.Module):
    """x + conv(gelu(norm(conv(gelu(norm(x)))))), frame by frame, [t, h, w, c] -> the same."""

    window: int = 3

    @nn.compact
    def __call__(self, x):
        y, channels = x, x.shape[-1]
        for i in range(2):
            y = jax.nn.gelu(FrameNorm(norm_groups(channels), name=f"norm_{i}")(y))
            y = Conv(channels, (self.window, self.window), kernel_init=lecun_normal, name=f"conv_{i}")(y)
        return x + y


class VideoModel(nn.Module):
    """Frames -> the next frames, causal: [t, h, w, c] -> [t, h, w, c]; acts on one clip.

    A stage of the encoder: space to depth (in the last `halvings` stages), convolution, gelu, and a residual block if
    asked for; the decoder mirrors it and ends in a linear map. With one stage of 16 channels an image of 12x12 has
    latents of 6x6.

    Attributes:
      layer: makes a layer, `layer(name=...)(u [t, h, w, u], state or None) -> (y, state)`.
      layers: how many.
      widths: channels of the encoder's stages; the last is that of the layers.
      halvings: of height and width, in the encoder's last stages.
      residual: a residual block in each stage.
      remat: compute the inside of residual blocks again in the backward pass, which saves most of their memory.
    """

    layer: Callable[..., nn.Module]
    layers: int = 1
    widths: tuple[int, ...] = (16,)
    halvings: int = 1
    residual: bool = False
    remat: bool = False

    @nn.compact
    def __call__(self, frames, states=None):
        """`(next frames [t, h, w, c], states)`; `states` are those of an earlier stretch of the clip, or None."""
        if frames.ndim != 4:
            raise ValueError(f"frames: expected one clip [t, h, w, c], got {frames.shape}")
        if not 0 <= self.halvings <= len(self.widths):
            raise ValueError(f"halvings: expected 0 to {len(self.widths)} (the stages), got {self.halvings}")
        states = (None,) * self.layers if states is None else states
        halves = [i >= len(self.widths) - self.halvings for i in range(len(self.widths))]
        block = nn.remat(ResidualBlock) if self.remat else ResidualBlock
        x, after = frames, []
        for i, (width, half) in enumerate(zip(self.widths, halves, strict=True)):
            x = space_to_depth(x) if half else x
            x = jax.nn.gelu(Conv(width, kernel_init=lecun_normal, name=f"encode_{i}")(x))
            x = block(name=f"encode_block_{i}")(x) if self.residual else x
        for i in range(self.layers):
            x, state = self.layer(name=f"layer_{i}")(x, states[i])
            after.append(state)
        outputs = (frames.shape[-1], *self.widths[:-1])
        for i in reversed(range(len(self.widths))):
            x = block(name=f"decode_block_{i}")(x) if self.residual else x
            x = Conv(outputs[i] * (4 if halves[i] else 1), kernel_init=lecun_normal, name=f"decode_{i}")(x)
            x = depth_to_space(x) if halves[i] else x
            x = jax.nn.gelu(x) if i else x
        return x, tuple(after)


def next_frames(model):
    """The model that gives the next frames of a whole clip and keeps its states to itself: [t, h, w, c] -> the same.

    Args:
      model: with `apply(params, frames, states or None) -> (next frames, states)`, such as a `VideoModel`.
    """
    return Model(model.init, lambda params, frames, key=None: model.apply(params, frames)[0])


def last_frame(model):
    """The model that gives the frame after a clip alone: [t, h, w, c] -> [h, w, c], t at least 2.

    Frames before the last count by the state that they leave behind, so that their outputs are never computed.

    Args:
      model: as in `next_frames`.
    """

    def apply(params, frames, key=None):
        _, states = model.apply(params, frames[:-1])
        return model.apply(params, frames[-1:], states)[0][0]

    return Model(model.init, apply)


def frame_loss(made, frames):
    """Half the mean squared and half the mean absolute error of frames of one shape (arXiv 2310.19694)."""
    error = made - frames
    return 0.5 * jnp.square(error).mean() + 0.5 * jnp.abs(error).mean()
