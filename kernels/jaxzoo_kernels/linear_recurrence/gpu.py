"""Mosaic GPU (Hopper and later): a block of threads per 128 channels, time streamed through shared memory by TMA.

Each thread carries the state of one channel in a register; blocks of time of a and b are in flight while the one before
is computed, so that h costs one read of a and b and one write of h. Lowered, compiled for sm_90a and run in JAX's GPU
interpreter; it has not been run on a GPU. Until it has, it is taken where it is named alone.
"""

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import Kernel, compat
from .parts import planar, split
from .xla import step

DTYPES = ("float32", "bfloat16", "float16")
CHANNELS = 128  # one per thread of a warpgroup


def refuse(*operands, **_):
    """Why these operands can't run, or None."""
    a, b, s = split(operands)
    for x in (*a, *b, *s):
        if jnp.dtype(x.dtype).name not in DTYPES:
            return f"the kernel computes in {', '.join(DTYPES)}, not {x.dtype}"
    return "an empty sequence" if 0 in b[0].shape else None


def blocks(*operands, **_):
    """Time steps and channels of one block, and blocks of time in flight."""
    _, b, _ = split(operands)
    fitting = [size for size in (32, 16) if b[0].shape[1] % size == 0]
    return {"time": fitting[0] if fitting else 8, "channels": CHANNELS, "stages": 4 // len(b)}


def run(*operands, reverse: bool, after: bool, conjugate: bool):
    a, b, s = split(operands)
    (_, t, c), parts = b[0].shape, len(b)
    size = blocks(*operands)
    # A step of decay 1 and input 0 leaves the state alone in either direction.
    if t % size["time"]:
        a = tuple(jnp.broadcast_to(x, (x.shape[0], t, c)) for x in a)
    a = tuple(_padded(x, size["time"], float(part == 0)) for part, x in enumerate(a))
    b = tuple(_padded(x, size["time"], 0.0) for x in b)
    s = tuple(jnp.pad(x, [(0, 0), (0, -c % CHANNELS)]) for x in s)
    streamed = [*(a if a[0].shape[1] == b[0].shape[1] else ()), *b]
    tile = (size["time"], CHANNELS)
    outputs = plgpu.kernel(
        lambda *refs: _body(refs, parts, size, reverse, after, conjugate),
        out_type=[*map(compat.output, b), *map(compat.output, s)],
        grid=(b[0].shape[0], s[0].shape[1] // CHANNELS),
        grid_names=("sequence", "channels"),
        scratch_types=[
            [plgpu.SMEM((size["stages"], *tile), x.dtype) for x in streamed],
            [plgpu.SMEM((2, *tile), x.dtype) for x in b],
            plgpu.Barrier(num_arrivals=len(streamed), num_barriers=size["stages"]),
        ],
        compiler_params=compat.mosaic_gpu_params(),
    )(*a, *b, *s)
    return [*(x[:, :t, :c] for x in outputs[:parts]), *(x[:, :c] for x in outputs[parts:])]


def _padded(x, time, fill):
    long = x.shape[1] > 1
    widths = [(0, 0), (0, -x.shape[1] % time if long else 0), (0, -x.shape[2] % CHANNELS)]
    return jnp.pad(x, widths, constant_values=fill) if any(high for _, high in widths) else x


def _body(refs, parts, size, reverse, after, conjugate):
    *refs, tiles, results, arrived = refs
    a, b, first, h, last = (refs[i : i + parts] for i in range(0, len(refs), parts))
    sequence = lax.axis_index("sequence")
    channels = pl.ds(lax.axis_index("channels") * CHANNELS, CHANNELS)
    time, stages, steps = size["time"], size["stages"], b[0].shape[1] // size["time"]
    varying = a[0].shape[1] == b[0].shape[1]
    of_a = sequence if a[0].shape[0] > 1 else 0

    def lanes(x):
        """One number per thread, in float32."""
        return plgpu.layout_cast(x.astype(jnp.float32), plgpu.Layout.WG_STRIDED((CHANNELS,), vec_size=1))

    def when(k):
        return pl.ds((steps - 1 - k if reverse else k) * time, time)

    sources = [*((of_a, x) for x in a if varying), *((sequence, x) for x in b)]

    def fetch(k, stage):
        for tile, (row, source) in zip(tiles, sources, strict=True):
            plgpu.copy_gmem_to_smem(source.at[row, when(k), channels], tile.at[stage], arrived.at[stage])

    constant = () if varying else tuple(lanes(x[of_a, 0, channels]) for x in a)
    for stage in range(min(stages, steps)):
        fetch(stage, stage)

    def block(k, state):
        stage, out = lax.rem(k, stages), lax.rem(k, 2)
        plgpu.barrier_wait(arrived.at[stage])
        plgpu.wait_smem_to_gmem(1)  # the results of two blocks ago have left

        def body(i, state):
            row = time - 1 - i if reverse else i
            values = tuple(lanes(tile[stage, row]) for tile in tiles)
            decay, given = (values[:parts], values[parts:]) if varying else (constant, values)
            now, state = step(decay, given, state, after, conjugate)
            for ref, x in zip(results, now, strict=True):
                ref[out, row] = x.astype(ref.dtype)
            return state

        state = lax.fori_loop(0, time, body, state, unroll=8)
        plgpu.commit_smem()  # every thread has read its tile and written its rows
        for ref, target in zip(results, h, strict=True):
            plgpu.copy_smem_to_gmem(ref.at[out], target.at[sequence, when(k), channels])

        @pl.when(k + stages < steps)
        def _():
            fetch(k + stages, stage)

        return state

    end = lax.fori_loop(0, steps, block, tuple(lanes(x[sequence, channels]) for x in first))
    for ref, x in zip(last, end, strict=True):
        ref[sequence, channels] = x
    plgpu.wait_smem_to_gmem(0)


recurrence = planar(Kernel(run, refuse, blocks, named_alone=True))
