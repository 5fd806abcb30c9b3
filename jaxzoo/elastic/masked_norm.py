"""Layer norm over the channels in use."""

import jax
import jax.numpy as jnp

from jaxzoo.ops.norms import accumulator, affine, check_affine


def masked_layer_norm(x, mask, scale=None, bias=None, *, eps=1e-5):
    """Layer norm of the channels that a mask keeps, as if the others did not exist; those come out 0.

    y_i = (x_i - mean) / sqrt(var + eps) * scale_i + bias_i, with mean and variance over the kept channels.

    Args:
      x: [..., d] input.
      mask: [d] booleans, True for channels in use.
      scale: [d] factor, or None for 1.
      bias: [d] offset, or None for 0.
      eps: added to the variance.

    Returns:
      [..., d] of x's dtype. Mean and variance are taken in float32 or better.

    Raises:
      ValueError: a mask, scale or bias of another length than x's last axis.
    """
    check_affine(scale, bias, x.shape[-1])
    if mask.shape != x.shape[-1:]:
        raise ValueError(f"mask: expected [{x.shape[-1]}], the last axis of x, got {mask.shape}")
    mask = mask.reshape((1,) * (x.ndim - 1) + (-1,))
    wide = x.astype(accumulator(x.dtype))
    share = 1 / jnp.maximum(mask.sum(), 1).astype(wide.dtype)  # a factor, as compilers make of a constant divisor
    centred = jnp.where(mask, wide - jnp.where(mask, wide, 0).sum(-1, keepdims=True) * share, 0)
    y = centred * jax.lax.rsqrt(jnp.square(centred).sum(-1, keepdims=True) * share + eps)
    return jnp.where(mask, affine(y, scale, bias), 0).astype(x.dtype)
