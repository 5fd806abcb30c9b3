"""Layers with no nonlinearity between them, merged into one: for networks trained deep and deployed shallow."""

import jax.numpy as jnp
from jax import lax

from jaxzoo.ops.norms import accumulator


def fold_batch_norm(w, b, scale, bias, state, *, eps=1e-5):
    """A linear layer and the batch norm after it, with its running statistics, as one linear layer.

        W <- W g / sqrt(v + eps),   b <- (b - m) g / sqrt(v + eps) + beta

    Args:
      w: [..., c] weights whose last axis is the channels that the norm acts on: of a dense layer, or a convolution.
      b: [c] offset of the layer, or None for 0.
      scale, bias: [c] g and beta of the norm, or None for 1 and 0.
      state: its `BatchState` of c channels.
      eps: of the norm.

    Returns:
      `(w, b)`, of the same shapes.

    Raises:
      ValueError: shapes do not fit.
    """
    c = w.shape[-1]
    for name, x in (("b", b), ("scale", scale), ("bias", bias), ("state.mean", state.mean), ("state.var", state.var)):
        if x is not None and x.shape != (c,):
            raise ValueError(f"{name}: expected [{c}], one for each channel of w, got {x.shape}")
    factor = lax.rsqrt(state.var + eps) * (1 if scale is None else scale)
    offset = ((0 if b is None else b) - state.mean) * factor + (0 if bias is None else bias)
    return w * factor.reshape((1,) * (w.ndim - 1) + (c,)), offset


def merge_pointwise(w1, b1, w2, b2):
    """A linear layer and a pointwise one after it as one: W = W1 W2, b = b1 W2 + b2 (rows are inputs).

    The first may be a convolution of any size, since the second acts on each place by itself.

    Args:
      w1: [..., c, d] weights of the first: [c, d] dense, or [kh, kw, c, d].
      b1: [d].
      w2: [d, e], or [1, 1, d, e], of the second.
      b2: [e].

    Returns:
      `(w [..., c, e], b [e])`. Products are summed in float32 or better.

    Raises:
      ValueError: the second is not pointwise, or shapes do not fit.
    """
    if any(n != 1 for n in w2.shape[:-2]):
        raise ValueError(f"w2: expected a pointwise layer, [d, e] or [1, 1, d, e], got {w2.shape}")
    w2 = w2.reshape(w2.shape[-2:])
    d, e = w2.shape
    if w1.shape[-1] != d or b1.shape != (d,) or b2.shape != (e,):
        raise ValueError(
            f"w1, b1, b2: expected [..., {d}], [{d}], [{e}] for w2 [{d}, {e}], got {w1.shape}, {b1.shape}, {b2.shape}"
        )
    product = lambda x: jnp.matmul(x, w2, preferred_element_type=accumulator(w2.dtype)).astype(w2.dtype)  # noqa: E731
    return product(w1), product(b1) + b2
