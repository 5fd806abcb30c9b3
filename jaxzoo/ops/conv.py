"""Convolution in one or two dimensions, fast inside a scan on CPU.

XLA on CPU runs `lax.conv_general_dilated` tens of times slower inside a scan than outside. As a few matrix products it
takes the same time in both places: about that of lax outside a scan for small kernels, two to four times that for 5x5.
`benchmarks/conv_in_scan.py` measures this.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxzoo.ops.norms import accumulator
from jaxzoo.ops.windows import outputs, spatial_padding, spatial_tuple, tap


def conv(x, w, *, stride=1, padding="SAME", dilation=1, groups=1):
    """Convolution (cross-correlation, as everywhere in deep learning) over the axes before the last.

    y[i, j, o] = sum_{u, v, c} x[i * stride + u * dilation - low, j * stride + v * dilation - low, c] w[u, v, c, o]

    On CPU: patches along the last spatial axis, then one matrix product per row of the kernel. Elsewhere:
    `lax.conv_general_dilated`. The choice is made when the program is lowered for its platform.

    Args:
      x: [..., h, w, c] or [..., t, c] input, of one example or with leading batch axes.
      w: [kh, kw, c / groups, o] or [k, c / groups, o] kernel; its rank sets the number of spatial axes. Of x's dtype.
      stride: step of the window, one int or one per spatial axis.
      padding: "SAME", "VALID", an int for all sides (PyTorch's `padding`), or pairs ((low, high), ...) of zeros. With
        a stride, "SAME" pads otherwise than PyTorch's `padding=k // 2`. A causal 1-D convolution pads ((k - 1, 0),).
      dilation: distance between the elements of the kernel, one int or one per spatial axis.
      groups: channels are cut in this many groups that do not mix; divides c and o.

    Returns:
      [..., h', w', o] or [..., t', o] of x's dtype; products are summed in float32 or better.

    Raises:
      ValueError: shapes, dtypes or options do not fit together.
    """
    rank = w.ndim - 2
    _check(x, w, rank, groups)
    stride, dilation = spatial_tuple("stride", stride, rank), spatial_tuple("dilation", dilation, rank)
    padding = spatial_padding(padding, x.shape[-rank - 1 : -1], w.shape[:rank], stride, dilation)
    return _conv(x, w, stride, padding, dilation, groups)


# Computed again in the backward pass, which needs x and w alone: a gradient would keep what the forms of all platforms
# want, patches among it. The products are not repeated, as the backward pass has no use for their results.
@partial(jax.checkpoint, prevent_cse=False, static_argnums=(2, 3, 4, 5))
@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _conv(x, w, stride, padding, dilation, groups):
    batch, rank = x.shape[: -len(stride) - 1], len(stride)
    x = x.reshape(math.prod(batch), *x.shape[-rank - 1 :])
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    # Nor do they meet in the backward pass itself, where both forms are one program until it is lowered.
    by_products = jax.checkpoint(partial(_by_products, **options), prevent_cse=False)
    y = lax.platform_dependent(x, w, cpu=by_products, default=partial(_by_lax, **options))
    return y.reshape(*batch, *y.shape[1:])


def _by_lax(x, w, stride, padding, dilation, groups):
    layout = ("NTC", "TIO", "NTC") if w.ndim == 3 else ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, w, stride, padding, rhs_dilation=dilation, dimension_numbers=layout, feature_group_count=groups
    )


def _by_products(x, w, stride, padding, dilation, groups):
    if w.ndim == 3:
        x, w = x[:, None], w[None]  # [b, 1, t, c], [1, k, c, o]
        stride, padding, dilation = (1, *stride), ((0, 0), *padding), (1, *dilation)
        return _by_products(x, w, stride, padding, dilation, groups)[:, 0]
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    (kh, kw, _, o), c = w.shape, x.shape[-1]
    height = outputs(x.shape[1], kh, stride[0], dilation[0])
    width = outputs(x.shape[2], kw, stride[1], dilation[1])
    if groups == c == o:
        return _depthwise(x, w, (height, width), stride, dilation)
    columns = [tap(x, 2, v * dilation[1], width, stride[1]) for v in range(kw)]  # kw of [b, h, w', c]
    patches = jnp.stack(columns, -2)  # [b, h, w', kw, c]
    rows = [tap(patches, 1, u * dilation[0], height, stride[0]) for u in range(kh)]  # kh of [b, h', w', kw, c]
    y = sum(_grouped(row, kernel, groups) for row, kernel in zip(rows, w, strict=True))
    return y.astype(x.dtype)


def _grouped(row, kernel, groups):
    """Multiplies patches [b, h', w', kw, c] by one row of the kernel [kw, c / groups, o]."""
    *places, kw, c = row.shape
    dtype = accumulator(row.dtype)
    if groups == 1:
        return jnp.matmul(row.reshape(*places, kw * c), kernel.reshape(kw * c, -1), preferred_element_type=dtype)
    row = row.reshape(*places, kw, groups, c // groups)
    kernel = kernel.reshape(kw, c // groups, groups, -1)
    y = jnp.einsum("bhwkgc,kcgo->bhwgo", row, kernel, preferred_element_type=dtype)
    return y.reshape(*places, -1)


def _depthwise(x, w, size, stride, dilation):
    """Of a padded x, one channel in and out of each group: a sum of shifted copies, which is one pass over the result.

    Matrices would be 1 wide, and patches are written out: 10 to 30 times slower for 3x3 kernels.
    """
    dtype = accumulator(x.dtype)
    y = 0
    for u, v in np.ndindex(w.shape[:2]):
        shifted = tap(tap(x, 1, u * dilation[0], size[0], stride[0]), 2, v * dilation[1], size[1], stride[1])
        y = y + shifted.astype(dtype) * w[u, v].astype(dtype)[None, None]  # [b, h', w', c] times [1, 1, 1, c]
    return y.astype(x.dtype)


def _check(x, w, rank, groups):
    if rank not in (1, 2):
        raise ValueError(f"w: expected [k, c, o] or [kh, kw, c, o], got {w.shape}")
    if x.ndim < rank + 1:
        raise ValueError(f"x: expected {rank} spatial axes and channels for the kernel {w.shape}, got {x.shape}")
    if x.dtype != w.dtype:
        raise ValueError(f"w: expected the dtype of x, {x.dtype}, got {w.dtype}; cast one of them")
    if groups < 1 or x.shape[-1] % groups or w.shape[-1] % groups:
        raise ValueError(f"groups: expected a divisor of {x.shape[-1]} channels in and {w.shape[-1]} out, got {groups}")
    if w.shape[-2] * groups != x.shape[-1]:
        expected = x.shape[-1] // groups
        raise ValueError(
            f"w: expected {expected} channels (those of x over groups) in its last axis but one, got {w.shape}"
        )
