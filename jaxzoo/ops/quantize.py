"""Uniform quantisation: real arrays as small integers with a scale."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.ops.norms import accumulator
from jaxzoo.ops.straight_through import straight_through


class Quantized(NamedTuple):
    """An array x as integers: x ~ (values - zero) * scale.

    Attributes:
      values: integers of x's shape, in the smallest dtype that holds them.
      scale: float32 or better, of x's shape with 1 on the axes that share a scale.
      zero: the integer that stands for 0, of scale's shape and values' dtype; 0 in the symmetric case.
    """

    values: jax.Array
    scale: jax.Array
    zero: jax.Array


def quantize(x, bits, *, axis=None, symmetric=True):
    """Rounds to the nearest of 2^bits evenly spaced values, ties to even.

    Symmetric: scale = max|x| / (2^(bits-1) - 1), integers in [-(2^(bits-1) - 1), 2^(bits-1) - 1].
    Asymmetric: scale = (max(x, 0) - min(x, 0)) / (2^bits - 1), integers in [0, 2^bits - 1]; 0 is represented exactly.
    Where all x are 0 the scale is 1.

    Args:
      x: [...] real array.
      bits: 2 to 16; 1 to 16 in the asymmetric case.
      axis: the axis or axes along which one scale is shared, as in `jnp.max`; None for one scale in all. A scale per
        output channel of a matrix [in, out] is `axis=0`. (PyTorch and flax name the axes that keep their own scale.)
      symmetric: use signed integers around 0.

    Returns:
      A `Quantized`; |x - dequantize(...)| <= scale / 2 everywhere (<= scale in the asymmetric case).

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
    (arXiv 1712.05877), eqs. 1 and 12; Krishnamoorthi (arXiv 1806.08342), Sec. 2.
    """
    least = 2 if symmetric else 1
    if not least <= bits <= 16:
        raise ValueError(f"bits: expected {least} to 16, got {bits}")
    wide = x.astype(accumulator(x.dtype))
    if symmetric:
        top = 2 ** (bits - 1) - 1
        scale = _nonzero(jnp.abs(wide).max(axis, keepdims=True) / top)
        values, zero, low = jnp.round(wide / scale), jnp.zeros_like(scale), -top
    else:
        low, top = 0, 2**bits - 1
        smallest = jnp.minimum(wide.min(axis, keepdims=True), 0)
        largest = jnp.maximum(wide.max(axis, keepdims=True), 0)
        scale = _nonzero((largest - smallest) / top)
        zero = jnp.round(-smallest / scale)
        values = jnp.round(wide / scale) + zero
    dtype = _integers(bits, symmetric)
    return Quantized(jnp.clip(values, low, top).astype(dtype), scale, zero.astype(dtype))


def dequantize(quantized):
    """The real array that a `Quantized` stands for, (values - zero) * scale, in the dtype of its scale."""
    values, scale, zero = quantized
    return (values.astype(scale.dtype) - zero.astype(scale.dtype)) * scale


def fake_quantize(x, bits, *, axis=None, symmetric=True):
    """Quantises and dequantises, with the derivative of the identity: training that feels the rounding.

    Args:
      x: [...] real array.
      bits: see `quantize`.
      axis: see `quantize`.
      symmetric: see `quantize`.

    Returns:
      [...] of x's dtype. No value is clipped, the range being that of x, so the straight-through gradient is 1.
    """
    return straight_through(lambda v: dequantize(quantize(v, bits, axis=axis, symmetric=symmetric)))(x)


def _nonzero(scale):
    return jnp.where(scale == 0, 1, scale)


def _integers(bits, symmetric):
    width = 8 if bits <= 8 else 16
    return jnp.dtype(f"{'int' if symmetric else 'uint'}{width}")
