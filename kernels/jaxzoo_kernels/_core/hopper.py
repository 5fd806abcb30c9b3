"""What the Mosaic GPU kernels of several ops share."""

import jax.numpy as jnp
from jax.experimental.pallas import mosaic_gpu as plgpu


def smem(shape, dtype):
    """Shared memory for matrices [.., rows, columns] that tensor cores and TMA both read.

    In tiles of 8 rows by 128 bytes, or fewer where a row is shorter, swizzled.
    """
    size = jnp.dtype(dtype).itemsize
    row = min(128, shape[-1] * size)  # bytes
    return plgpu.SMEM(shape, dtype, transforms=(plgpu.TilingTransform((8, row // size)), plgpu.SwizzleTransform(row)))
