"""What the Mosaic GPU kernels of attention share: copies of tiles, products of tiles, logits and bands in registers.

In each kernel two warpgroups compute and a third copies. A warpgroup's tile of 64 rows is laid out in its registers as
tensor cores leave a product. `queries` is the axis of the queries there: 0 in q k^T, 1 in its transpose.
"""

import math

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .options import Options

DTYPES = ("bfloat16", "float16")
WIDTHS = (64, 128)  # of q and k, and of v
ROWS = 64  # of one warpgroup: the height of a tensor-core product
GROUPS = 2  # warpgroups that compute
BLOCK = GROUPS * ROWS
# Registers of a thread. An SM has 65536, so that 3 * 128 threads start with 168 each and exchange them after that.
COMPUTING, FETCHING = 240, 24
LOG2E = math.log2(math.e)


def padded(x, size, axis=1):
    """x, zeros after it, so that `size` divides that axis."""
    extra = -x.shape[axis] % size
    return jnp.pad(x, [(0, extra if i == axis else 0) for i in range(x.ndim)]) if extra else x


def fetch(sources: dict, refs: dict, count, stages: int):
    """Fills `stages` tiles of shared memory in turn, `count` times, each when all have read what was there.

    Args:
        sources: by the name of a pair of barriers, by the name of a tile, `source(n)`, the memory to copy as the n-th.
        refs: "tiles" by name; barriers "full" and "read" by name.
    """

    def step(n, _):
        stage = lax.rem(n, jnp.int32(stages))
        for barrier, together in sources.items():

            @pl.when(n >= stages)
            def _(barrier=barrier):
                plgpu.barrier_wait(refs["read"][barrier].at[stage])

            @pl.when(n < count)
            def _(barrier=barrier, together=together):
                for name, source in together.items():
                    target = refs["tiles"][name].at[stage]
                    plgpu.copy_gmem_to_smem(source(n), target, refs["full"][barrier].at[stage])

    # The last rounds copy nothing: who waits at a barrier at all has to wait for each of its completions.
    lax.fori_loop(0, count + stages, step, None)


def products(*pairs):
    """x y in float32 of every pair: y in shared memory, x there or in registers, all unused again on return."""

    def multiply(*accs):
        for acc, (x, y) in zip(accs, pairs, strict=True):
            plgpu.wgmma(acc, x, y)
        return [acc[...] for acc in accs]

    return pl.run_scoped(multiply, *(plgpu.ACC((x.shape[0], y.shape[1]), jnp.float32) for x, y in pairs))


def added(*terms):
    """total + x y of every (total, x, y), in the registers of total; else as `products`."""

    def multiply(accs):
        for acc, (_, x, y) in zip(accs, terms, strict=True):
            plgpu.wgmma(acc, x, y)

    return pl.run_state(multiply)([plgpu.ACC.init(total) for total, *_ in terms])


def zeros(*shape):
    """A total to add products to."""
    return plgpu.layout_cast(jnp.zeros(shape, jnp.float32), plgpu.Layout.WGMMA)


def along(axis, x, like):
    """x, one value per place of that axis of a tile like `like`."""
    return lax.broadcast_in_dim(x, like.shape, [axis])


def logits(x, options: Options):
    """(x, factor) from products q k: x factor is the logit in units of log 2, and grows with x.

    A factor that is left to the row's maximum and to p is one with their additions.
    """
    scale, c = options.scale, options.softcap
    if c is None:
        return (x, scale * LOG2E) if scale > 0 else (x * scale, LOG2E)
    # c tanh(y / c) = c - 2 c / (1 + exp(2 y / c)). The approximate tanh is off by 2^-11, c times that in a logit, and a
    # division is a dozen instructions; an approximate root is one, off by 2^-22.
    root = lax.rsqrt(1 + jnp.exp2(x * (2 * LOG2E * scale / c)))
    return c - 2 * c * (root * root), LOG2E


def masked(x, options: Options, row, column, s: int, queries: int = 0):
    """x, -inf where queries from `row` don't see keys from `column`; most tiles have no such place and skip this."""
    rows, columns = x.shape[queries], x.shape[1 - queries]

    def cut(x, whole, seen):
        """x where seen(query, key), places in this tile; all of it if `whole`."""

        def hide(x):
            places = (lax.broadcasted_iota(jnp.int32, x.shape, axis) for axis in (queries, 1 - queries))
            return jnp.where(seen(*places), x, -jnp.inf)

        return lax.cond(whole, lambda x: x, hide, x)

    # One branch for each edge: LLVM would turn both edges of a window into one test of key - query, and keep that of
    # every place of the tile in a register throughout the kernel.
    if s % columns:
        x = cut(x, column + columns <= s, lambda i, j: j < s - column)
    if options.left is not None:
        least = row + (options.offset - options.left) - column
        x = cut(x, least + (rows - 1) <= 0, lambda i, j: j >= i + least)
    if options.right is not None:
        most = row + (options.offset + options.right) - column
        x = cut(x, most >= columns - 1, lambda i, j: j <= i + most)
    return x
