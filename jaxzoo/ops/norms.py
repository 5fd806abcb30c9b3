"""Normalisation without state: layer norm, RMS norm, group norm."""

import jax
import jax.numpy as jnp


def layer_norm(x, scale=None, bias=None, *, eps=1e-5):
    """Normalises the last axis to mean 0 and variance 1.

    y = (x - mean(x)) / sqrt(var(x) + eps) * scale + bias, with the biased variance.

    Args:
      x: [..., d] input.
      scale: [d] factor, or None for 1.
      bias: [d] offset, or None for 0.
      eps: added to the variance. 1e-5 is PyTorch's default; flax's is 1e-6.

    Returns:
      [..., d] of x's dtype. Mean and variance are taken in float32 or better.

    Source: Ba, Kiros, Hinton, "Layer Normalization" (arXiv 1607.06450), eq. 4.
    """
    check_affine(scale, bias, x.shape[-1])
    wide = x.astype(accumulator(x.dtype))
    centred = wide - wide.mean(-1, keepdims=True)
    y = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + eps)
    return affine(y, scale, bias).astype(x.dtype)


def rms_norm(x, scale=None, *, eps=1e-6):
    """Divides the last axis by its root mean square.

    y = x / sqrt(mean(x^2) + eps) * scale

    Args:
      x: [..., d] input.
      scale: [d] factor, or None for 1.
      eps: added to the mean square. PyTorch's default is the machine epsilon of x's dtype.

    Returns:
      [..., d] of x's dtype. The mean square is taken in float32 or better.

    Source: Zhang, Sennrich, "Root Mean Square Layer Normalization" (arXiv 1910.07467), eq. 4.
    """
    check_affine(scale, None, x.shape[-1])
    wide = x.astype(accumulator(x.dtype))
    y = wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + eps)
    return affine(y, scale, None).astype(x.dtype)


def group_norm(x, scale=None, bias=None, *, groups, eps=1e-5):
    """Normalises groups of channels over all positions of one example.

    With one group this is layer norm over the whole example; with one channel to a group, instance norm.

    Args:
      x: [..., c] one example, such as [h, w, c]. A batch goes through `jax.vmap`.
      scale: [c] factor, or None for 1.
      bias: [c] offset, or None for 0.
      groups: number of groups; divides c. Channels of a group are neighbours.
      eps: added to the variance.

    Returns:
      [..., c] of x's dtype. Mean and variance are taken in float32 or better.

    Source: Wu, He, "Group Normalization" (arXiv 1803.08494), eqs. 1-7.
    """
    channels = x.shape[-1]
    if groups < 1 or channels % groups:
        raise ValueError(f"groups: expected a divisor of the {channels} channels of x, got {groups}")
    check_affine(scale, bias, channels)
    wide = x.reshape(-1, groups, channels // groups).astype(accumulator(x.dtype))  # [positions, groups, c / groups]
    centred = wide - wide.mean((0, 2), keepdims=True)
    y = centred * jax.lax.rsqrt(jnp.square(centred).mean((0, 2), keepdims=True) + eps)
    return affine(y.reshape(x.shape), scale, bias).astype(x.dtype)


def accumulator(dtype):
    """The dtype sums are taken in: float32, or `dtype` where that is wider."""
    return jnp.promote_types(dtype, jnp.float32)


def check_affine(scale, bias, features, names=("scale", "bias")):
    """Raises ValueError unless scale and bias are None or [features]."""
    for name, value in zip(names, (scale, bias), strict=True):
        if value is not None and value.shape != (features,):
            raise ValueError(f"{name}: expected [{features}], the last axis of x, got {value.shape}")


def affine(y, scale, bias):
    """y * scale + bias over the last axis; None leaves y as it is."""
    channel = (1,) * (y.ndim - 1) + (-1,)
    if scale is not None:
        y = y * scale.reshape(channel).astype(y.dtype)
    if bias is not None:
        y = y + bias.reshape(channel).astype(y.dtype)
    return y
