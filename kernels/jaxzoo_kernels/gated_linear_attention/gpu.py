"""Mosaic GPU (Hopper): the forward pass in two kernels, on tensor cores.

    A, q P, k R, G of every chunk by itself                         gpu_inside.py, all chunks at once
    o = A v + (q P) S,   S' = G S + (k R)^T v                       here, chunk by chunk

The second has one block of threads per head and 64 value channels. Its state never leaves registers but as 16-bit
operand of the first product; the next chunk is on its way by TMA while one is computed. All but A lies in the op's own
layout [b, t, h, d], whose rows the copies cut out, so that nothing is moved before or after; a t that is no multiple of
64 costs padded copies. Backward in time, with A transposed and q P and k R exchanged, the same kernel gives dv and
the cotangent of the initial state (gpu_backward.py).

What bounds it: memory. Counted in the compiled program, for [1, 8192, 96, 128] bfloat16 with a vector gate in float32,
v, o and the like being 0.2 GB each: 1.3 GB in the first kernel (q, k, gate, A, q P, k R), 0.9 GB in the second (A, q P,
k R, v, o), 2.2 GB or 0.52 ms at 4.3 TB/s. The operands and results alone are 1.2 GB. Without a gate it is 1.6 GB, with
a scalar one 1.9. With the chunk's own part left to XLA, which writes the tree of decays down, it was 23 GB. One kernel
for both would save 1 GB and make every chunk's tree, about a microsecond of tensor cores and exponentials, part of the
one chain of its head, once for every 64 value channels. Few heads leave SMs idle: a head is one chain.

States, and cotangents, are rounded to the dtype of q as operands: beyond 65504 they are infinite in float16.

Lowered, compiled for sm_90a (no spills, no product that waits for registers) and run in JAX 0.11's GPU interpreter,
without races; it has not been run on a GPU. Until it has, it is taken where it is named alone:
implementation="pallas_gpu".
"""

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import Kernel, compat
from .gpu_inside import inside
from .gpu_tile import CHANNELS, CHUNK, DTYPES, STAGES, accumulator, per_row, tile, transposed
from .xla import padded, split

GATES = (*DTYPES, "float32")
GRID = 65535  # blocks of threads along all axes of a grid but the last


def refuse(*operands, gate: str, **_):
    """Why these operands can't run, or None."""
    q, k, v, gates, (_, *cts) = split(operands, gate)
    for x in (q, k, v, *cts[:1]):
        if jnp.dtype(x.dtype).name not in DTYPES or x.dtype != q.dtype:
            return f"tensor cores multiply {' or '.join(DTYPES)} exactly, q, k and v alike, not {x.dtype}"
    for x in gates:
        if jnp.dtype(x.dtype).name not in GATES:
            return f"a gate is {', '.join(GATES)}, not {x.dtype}"
    (b, t, h, dk), dv = q.shape, v.shape[-1]
    if dk not in (64, 128) or dv % CHANNELS or 0 in q.shape or dv == 0:
        return f"dk of 64 or 128 and dv a multiple of {CHANNELS} fill the tiles, got {dk} and {dv}"
    if max(b, h, -(-t // CHUNK)) > GRID:
        return f"a grid has at most {GRID} examples, heads and chunks of {CHUNK}, got {b}, {h} and {t} steps"
    return None


def blocks(*_, **__):
    """Steps of a chunk, value channels of a block, chunks in flight."""
    return {"chunk": CHUNK, "values": CHANNELS, "stages": STAGES}


def run(*operands, gate: str, chunk: int, scale: float):
    q, k, v, gates, (state,) = split(operands, gate)
    o, last = passage(*inside(q, k, gates, scale), padded(v, CHUNK), state)
    return [o[:, : v.shape[1]], last]


def passage(scores, reads, writes, total, x, state, *, reverse=False):
    """(y, last state) of y = A x + R S, S' = G S + W^T x, chunk by chunk; in `reverse` from the last, A transposed.

    Args:
        scores: [b, n, h, c, c] A. reads, writes: [b, t, h, dk] R and W. total: [b, n, h, dk] G, float32.
        x: [b, t, h, dv]. state: [b, h, dk, dv] float32.
    """
    (b, _, h, dk), dv = reads.shape, x.shape[-1]

    def linear_attention_passage(*refs):
        _body(*refs, reverse=reverse)

    return plgpu.kernel(
        linear_attention_passage,
        out_type=[compat.output(x), compat.output(state)],
        grid=(b, h, dv // CHANNELS),  # the last axis is the fastest: neighbours share R and W in L2
        grid_names=("batch", "head", "values"),
        scratch_types=[
            [
                *(tile(x.dtype, STAGES, CHUNK, width) for width in (CHUNK, dk, dk, CHANNELS)),
                plgpu.SMEM((STAGES, dk), jnp.float32),
            ],
            tile(x.dtype, dk, CHANNELS),
            tile(x.dtype, CHUNK, CHANNELS),
            plgpu.Barrier(num_arrivals=5, num_barriers=STAGES),
        ],
        compiler_params=compat.mosaic_gpu_params(),
    )(scores, reads, writes, x, total, state)


def _body(scores, reads, writes, x, total, first, y, last, inputs, state_smem, y_smem, arrived, *, reverse):
    batch, head = lax.axis_index("batch"), lax.axis_index("head")
    values = pl.ds(lax.axis_index("values") * CHANNELS, CHANNELS)
    count, dk = scores.shape[1], reads.shape[-1]

    def place(i):
        """(chunk, its rows) that step i is at."""
        chunk = count - 1 - i if reverse else i
        return chunk, pl.ds(chunk * CHUNK, CHUNK)

    def fetch(i, stage):
        chunk, rows = place(i)
        sources = [
            scores.at[batch, chunk, head],
            reads.at[batch, rows, head],
            writes.at[batch, rows, head],
            x.at[batch, rows, head, values],
            total.at[batch, chunk, head],
        ]
        for source, target in zip(sources, inputs, strict=True):
            plgpu.copy_gmem_to_smem(source, target.at[stage], arrived.at[stage])

    for stage in range(min(STAGES, count)):
        fetch(stage, stage)

    def step(i, state):
        stage = lax.rem(i, STAGES)
        plgpu.barrier_wait(arrived.at[stage])
        scores_now, reads_now, writes_now, x_now, total_now = (ref.at[stage] for ref in inputs)
        scores_now = transposed(scores_now) if reverse else scores_now
        # What it overwrites was multiplied in the last step, whose end every warp has reached with its product done.
        state_smem[...] = state.astype(state_smem.dtype)
        plgpu.wait_smem_to_gmem(0, wait_read_only=True)  # the y of the chunk before has left shared memory
        plgpu.commit_smem()

        def products(y_acc, state_acc):
            plgpu.wgmma(y_acc, scores_now, x_now)
            plgpu.wgmma(y_acc, reads_now, state_smem)
            plgpu.wgmma(state_acc, transposed(writes_now), x_now)
            return y_acc[...], state_acc[...]

        y_now, added = pl.run_scoped(products, accumulator(CHUNK, CHANNELS), accumulator(dk, CHANNELS))
        y_smem[...] = y_now.astype(y_smem.dtype)
        state = state * per_row(compat.load(total_now, plgpu.Layout.WGMMA.reduce(1)), state.shape) + added
        plgpu.commit_smem()  # every thread has written its part of y and read its part of this chunk
        plgpu.copy_smem_to_gmem(y_smem, y.at[batch, place(i)[1], head, values])

        @pl.when(i + STAGES < count)
        def _():
            fetch(i + STAGES, stage)

        return state

    start = compat.load(first.at[batch, head, pl.ds(0, dk), values], plgpu.Layout.WGMMA)
    last[batch, head, pl.ds(0, dk), values] = lax.fori_loop(0, count, step, start)
    plgpu.wait_smem_to_gmem(0)


forward = Kernel(run, refuse, blocks, named_alone=True)
