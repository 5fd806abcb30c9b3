"""What the Mosaic GPU kernels share: tiles in shared memory, products on tensor cores, masks of a chunk."""

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core.hopper import smem

DTYPES = ("bfloat16", "float16")
CHUNK = 64  # steps of a chunk: the height of a tensor-core product
CHANNELS = 64  # key or value channels of the smallest tile: a row of it is what one swizzle spans
STAGES = 2  # chunks in flight


def tile(dtype, *shape):
    """16-bit numbers in shared memory as tensor cores read them."""
    return smem(shape, dtype)


def accumulator(rows, columns):
    return plgpu.ACC((rows, columns), jnp.float32)


def product(*pairs):
    """The sum of x y over pairs of tiles, in float32; the warp that has it does not use them any more."""

    def summed(acc):
        for x, y in pairs:
            plgpu.wgmma(acc, x, y)
        return acc[...]

    return pl.run_scoped(summed, accumulator(pairs[0][0].shape[0], pairs[0][1].shape[1]))


def transposed(ref):
    return ref.transpose((1, 0))


def per_row(x, shape):
    return lax.broadcast_in_dim(x, shape, [0])


def grids():
    """Row and column numbers of a [c, c] array."""
    return tuple(lax.broadcasted_iota(jnp.int32, (CHUNK, CHUNK), axis) for axis in (0, 1))
