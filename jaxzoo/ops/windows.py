"""Windows sliding over one or two spatial axes: what convolution and pooling share."""

import numpy as np
from jax import lax


def spatial_tuple(name, value, rank):
    """One positive int per spatial axis, from an int for all of them or a sequence."""
    values = (value,) * rank if isinstance(value, int | np.integer) else tuple(value)
    if len(values) != rank or any(int(v) != v or v < 1 for v in values):
        raise ValueError(f"{name}: expected a positive int, or {rank} of them, got {value}")
    return tuple(int(v) for v in values)


def spatial_padding(padding, sizes, window, stride, dilation):
    """Padding as ((low, high), ...) per spatial axis.

    Args:
      padding: "SAME" (ceil(size / stride) outputs, the odd element after), "VALID", an int for all sides, or one
        (low, high) pair per axis.
      sizes: spatial sizes of the input.
      window: spatial sizes of the window.
      stride: step of the window per axis.
      dilation: distance between the window's elements per axis.

    Raises:
      ValueError: the padding is none of these or negative, or a window does not fit in the padded input.
    """
    spans = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    if padding == "SAME":
        totals = [max((-(-n // s) - 1) * s + span - n, 0) for n, s, span in zip(sizes, stride, spans, strict=True)]
        pairs = tuple((total // 2, total - total // 2) for total in totals)
    elif padding == "VALID":
        pairs = ((0, 0),) * len(sizes)
    elif isinstance(padding, int | np.integer):
        pairs = ((int(padding), int(padding)),) * len(sizes)
    else:
        pairs = () if isinstance(padding, str) else tuple(tuple(pair) for pair in padding)
    if len(pairs) != len(sizes) or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise ValueError(
            f'padding: expected "SAME", "VALID", an int >= 0 or {len(sizes)} pairs (low, high), got {padding!r}'
        )
    for n, span, (low, high) in zip(sizes, spans, pairs, strict=True):
        if n + low + high < span:
            raise ValueError(f"x: expected at least {span} positions under the window, got {n} padded by {(low, high)}")
    return pairs


def outputs(size, window, stride, dilation):
    """Number of places where a window fits along one padded axis."""
    return (size - (window - 1) * dilation - 1) // stride + 1


def tap(x, axis, offset, count, stride):
    """The `count` elements of x along `axis` that one element of the window meets."""
    return lax.slice_in_dim(x, offset, offset + (count - 1) * stride + 1, stride, axis)
