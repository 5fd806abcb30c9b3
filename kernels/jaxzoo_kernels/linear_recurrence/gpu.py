"""Mosaic GPU (Hopper and later): a block of threads per 128 channels, time streamed through shared memory by TMA.

Each thread carries the state of one channel in a register. Six tiles of 16 KB of a and b (16 steps of 128 channels in
float32) lie in shared memory: while one is computed, the other five are in flight. A thread reads its column of the
tile and stores h straight to global memory, each warp a line of 128 bytes (64 in 16 bits). So nothing passes from
thread to thread, and the threads meet once per tile, before it is refilled. A t that is no multiple of the tile ends on
a shorter one. A c that is no multiple of 128 costs padded copies.

What bounds it: memory. 4.3 TB/s (a copy, measured) let one step of [8, 65536, 1536], 96 blocks, take 34 ns or 60 cycles
of 1.75 GHz in float32 (12 bytes per element) and 30 in bfloat16; of [8, 65536, 1024] complex with constant decay, 64
blocks, 53 (16 bytes) and 27. The kernel stays below, if the estimate of latencies holds:
- Instructions of a warp per step, a tile's own shared out, counted in the program compiled: 9 (two loads, one FMA, one
  store, and 80 per tile of 16 steps), 10 in bfloat16, 15 and 18 complex. Each of the four warps has a scheduler.
- Barriers of the warpgroup: one per tile. Some 200 cycles per tile (arrival, first loads, barrier, refill) are not
  hidden, an estimate. With the instructions a step is 21 cycles of 60, 16 of 30; complex 28 of 53, 24 of 27.
- Bytes in flight: 80 KB of reads per block. At a latency of 0.8 us, assumed, 4.3 TB/s * 2/3 need 2.3 MB, 24 KB in each
  of 96 blocks; 27 KB in each of 64 for the complex shape, half of whose bytes are reads. Stores are not waited for.
- Blocks: two fit on an SM. 132 * 128 = 16896 chains put one on each. Fewer reach the bandwidth while the SMs they use
  carry it: of a nominal 64 bytes per cycle to L2 the two shapes ask 26 and 38 in float32; below 39 blocks, 5000 chains,
  that is the bound. Blocks of 64 channels would use every SM for 8192 chains, but Mosaic's unit is a warpgroup of 128
  threads: half would idle, or repeat the other's stores. Time is not split.

Tried, by counts: rows of h written to shared memory and copied out by TMA. Mosaic puts a barrier before and after every
such row, 2.1 per step, 4.1 complex, for no fewer instructions (9 and 17), and a row's loads wait for the barriers of
the one before; with 160 KB of shared memory, one block per SM. Indexing all of h in each store, not a view of the
tile's rows, computes addresses anew: 9 instructions per step more where complex.

Lowered, compiled for sm_90a (at most 48 registers, no spills) and run in JAX 0.11's GPU interpreter, without races; it
has not been run on a GPU. Until it has, it is taken where it is named alone: implementation="pallas_gpu".
"""

import functools

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import Kernel, compat
from .parts import planar, split
from .xla import step

DTYPES = ("float32", "bfloat16", "float16")
CHANNELS = 128  # one per thread of a warpgroup
STAGE_BYTES, STAGES = 16 * 1024, 6  # with a shorter one at the end, under half of an SM's shared memory
UNROLLED = 8  # steps whose loads are issued together


def refuse(*operands, **_):
    """Why these operands can't run, or None."""
    a, b, s = split(operands)
    for x in (*a, *b, *s):
        if jnp.dtype(x.dtype).name not in DTYPES:
            return f"the kernel computes in {', '.join(DTYPES)}, not {x.dtype}"
    return "an empty sequence" if 0 in b[0].shape else None


def blocks(*operands, **_):
    """Time steps and channels of one tile of each streamed operand, and tiles of each in shared memory."""
    a, b, _ = split(operands)
    step_bytes = CHANNELS * sum(jnp.dtype(x.dtype).itemsize for x in _streamed(a, b))
    time = STAGE_BYTES // step_bytes // UNROLLED * UNROLLED
    return {"time": time, "channels": CHANNELS, "stages": max(1, min(STAGES, b[0].shape[1] // time))}


def _streamed(a, b):
    """What is read step by step: b, and a unless it is constant in time."""
    return (*(a if a[0].shape[1] == b[0].shape[1] else ()), *b)


def run(*operands, reverse: bool, after: bool, conjugate: bool):
    a, b, s = split(operands)
    (_, t, c), parts, size = b[0].shape, len(b), blocks(*operands)
    a, b, s = (tuple(_padded(x) for x in part) for part in (a, b, s))
    outputs = plgpu.kernel(
        lambda *refs: _body(refs, parts, size, reverse, after, conjugate),
        out_type=[*map(compat.output, b), *map(compat.output, s)],
        grid=(s[0].size // CHANNELS,),
        grid_names=("block",),
        scratch_types=[
            [plgpu.SMEM((size["stages"], size["time"], CHANNELS), x.dtype) for x in _streamed(a, b)],
            [plgpu.SMEM((t % size["time"], CHANNELS), x.dtype) for x in _streamed(a, b) if t % size["time"]],
            plgpu.Barrier(num_arrivals=len(_streamed(a, b)), num_barriers=size["stages"]),
            plgpu.Barrier(num_arrivals=len(_streamed(a, b))),
        ],
        # Mosaic's barriers around stores guard what threads both write and read. Here they read the operands and tiles
        # that TMA alone writes, and write h and the last state that nobody reads; `body` guards the refill of a tile.
        compiler_params=compat.mosaic_gpu_params(unsafe_no_auto_barriers=True),
    )(*a, *b, *s)
    return [x[..., :c] for x in outputs]


def _padded(x):
    return jnp.pad(x, [*[(0, 0)] * (x.ndim - 1), (0, -x.shape[-1] % CHANNELS)]) if x.shape[-1] % CHANNELS else x


def _lanes(x):
    """One number per thread, in float32."""
    return plgpu.layout_cast(x.astype(jnp.float32), plgpu.Layout.WG_STRIDED((CHANNELS,), vec_size=1))


def _body(refs, parts, size, reverse, after, conjugate):
    *refs, tiles, rest_tiles, arrived, rest_arrived = refs
    a, b, first, h, last = (refs[i : i + parts] for i in range(0, len(refs), parts))
    block, per_sequence = lax.axis_index("block"), b[0].shape[2] // CHANNELS
    sequence = lax.div(block, per_sequence)
    channels = pl.ds(lax.rem(block, per_sequence) * CHANNELS, CHANNELS)
    of_a = sequence if a[0].shape[0] > 1 else 0
    time, stages = size["time"], size["stages"]
    steps, rest = divmod(b[0].shape[1], time)
    varying = len(tiles) > parts
    sources = [*(x.at[of_a] for x in a if varying), *(x.at[sequence] for x in b)]
    constant = () if varying else tuple(_lanes(x[of_a, 0, channels]) for x in a)
    one = functools.partial(step, after=after, conjugate=conjugate)

    def ring(k):
        """Where tile k goes, and the barrier that tells it has arrived."""
        stage = lax.rem(k, stages)
        return [tile.at[stage] for tile in tiles], arrived.at[stage]

    def when(k):
        return pl.ds((steps - 1 - k if reverse else k) * time, time)

    def fetch(times, targets, barrier):
        for source, target in zip(sources, targets, strict=True):
            plgpu.copy_gmem_to_smem(source.at[times, channels], target, barrier)

    def advance(times, inputs, barrier, state):
        plgpu.barrier_wait(barrier)
        rows = [ref.at[sequence, times, channels] for ref in h]
        return _advance(inputs, rows, times.size, constant, state, one, reverse)

    def body(k, state):
        state = advance(when(k), *ring(k), state)
        plgpu.commit_smem()  # a barrier: every thread has read the tile, so it may be refilled

        @pl.when(k + stages < steps)
        def _():
            fetch(when(k + stages), *ring(k))

        return state

    for k in range(min(stages, steps)):
        fetch(when(k), *ring(k))
    remainder = pl.ds(steps * time, rest), rest_tiles, rest_arrived
    if rest:
        fetch(*remainder)
    state = tuple(_lanes(x[sequence, channels]) for x in first)
    if rest and reverse:
        state = advance(*remainder, state)
    state = lax.fori_loop(0, steps, body, state)
    if rest and not reverse:
        state = advance(*remainder, state)
    for ref, x in zip(last, state, strict=True):
        ref[sequence, channels] = x


def _advance(tiles, rows, count, constant, state, one, reverse):
    """The state after the `count` steps in `tiles`, whose results go to `rows` of h."""
    groups, left = divmod(count, UNROLLED)
    parts = len(rows)

    def together(start, count, state):
        inputs = [tuple(_lanes(tile[start + i]) for tile in tiles) for i in range(count)]
        for i in reversed(range(count)) if reverse else range(count):
            now, state = one(constant or inputs[i][:parts], inputs[i][-parts:], state)
            for ref, x in zip(rows, now, strict=True):
                ref[start + i] = x.astype(ref.dtype)
        return state

    def group(g, state):
        return together((groups - 1 - g if reverse else g) * UNROLLED, UNROLLED, state)

    if reverse:
        state = together(groups * UNROLLED, left, state)
    state = lax.fori_loop(0, groups, group, state)
    return state if reverse else together(groups * UNROLLED, left, state)


recurrence = planar(Kernel(run, refuse, blocks, named_alone=True))
