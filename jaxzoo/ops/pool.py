"""Average and maximum over sliding windows, as sums and comparisons of slices: fast inside a scan on every platform."""

import math

import jax.numpy as jnp

from jaxzoo.ops.norms import accumulator
from jaxzoo.ops.windows import outputs, spatial_padding, spatial_tuple, tap


def avg_pool(x, window, *, stride=None, padding="VALID", count_padding=True):
    """The mean over each window.

    Args:
      x: [..., h, w, c] for a window (kh, kw), [..., t, c] for a window (k,); leading axes are batch axes.
      window: sizes of the window; its length sets the number of spatial axes.
      stride: step of the window, one int or one per spatial axis; None for the window itself.
      padding: "VALID", "SAME", an int for all sides, or pairs ((low, high), ...).
      count_padding: divide by the size of the window, as PyTorch and flax do by default; False: by the number of its
        elements that lie inside x.

    Returns:
      [..., h', w', c] or [..., t', c] of x's dtype; sums are taken in float32 or better.
    """
    window, stride, pairs = _geometry(x, window, stride, padding)
    total = _reduce(x.astype(accumulator(x.dtype)), window, stride, pairs, 0, jnp.add)
    if count_padding:
        return (total / math.prod(window)).astype(x.dtype)
    inside = jnp.ones((*x.shape[-len(window) - 1 : -1], 1), total.dtype)
    count = _reduce(inside, window, stride, pairs, 0, jnp.add)  # [h', w', 1]
    return (total / jnp.expand_dims(count, range(total.ndim - count.ndim))).astype(x.dtype)


def max_pool(x, window, *, stride=None, padding="VALID"):
    """The maximum over each window; padding never wins, and of equal elements the first gets the gradient.

    Args:
      x: [..., h, w, c] for a window (kh, kw), [..., t, c] for a window (k,); leading axes are batch axes.
      window: sizes of the window; its length sets the number of spatial axes.
      stride: step of the window, one int or one per spatial axis; None for the window itself.
      padding: "VALID", "SAME", an int for all sides, or pairs ((low, high), ...). A window that holds padding alone
        gives the lowest number of the dtype.

    Returns:
      [..., h', w', c] or [..., t', c] of x's dtype. NaN in a window gives NaN.
    """
    lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    return _reduce(x, *_geometry(x, window, stride, padding), lowest, _first_maximum)


def _first_maximum(a, b):
    # jnp.maximum would halve the gradient between equal elements.
    return jnp.where((a >= b) | (a != a), a, b)


def _geometry(x, window, stride, padding):
    """Window, stride and padding pairs, one per spatial axis."""
    window = spatial_tuple("window", window, len(window))
    rank = len(window)
    if rank not in (1, 2) or x.ndim < rank + 1:
        raise ValueError(f"x: expected [..., h, w, c] or [..., t, c] for the window {window}, got {x.shape}")
    stride = window if stride is None else spatial_tuple("stride", stride, rank)
    return window, stride, spatial_padding(padding, x.shape[-rank - 1 : -1], window, stride, (1,) * rank)


def _reduce(x, window, stride, pairs, fill, combine):
    """Combines the elements of each window, one spatial axis after the other."""
    first = x.ndim - len(window) - 1
    x = jnp.pad(x, ((0, 0),) * first + pairs + ((0, 0),), constant_values=fill)
    # The last axis first: a tie then goes to the first element in row-major order.
    for axis, k, s in reversed(list(zip(range(first, x.ndim - 1), window, stride, strict=True))):
        count = outputs(x.shape[axis], k, s, 1)
        taps = [tap(x, axis, offset, count, s) for offset in range(k)]
        x = taps[0]
        for other in taps[1:]:
            x = combine(x, other)
    return x
