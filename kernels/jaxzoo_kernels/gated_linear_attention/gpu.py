"""Mosaic GPU (Hopper): the passage of the state through the chunks, with tensor cores, the state in registers.

What a chunk does by itself (the scores A, q P and k R, see chunk.py) is batched products without order, which XLA fuses
well; it runs before the kernel. The kernel then goes over the chunks with one block of threads per head and 64 value
channels, and never writes the states to memory:

    o = A v + (q P) S,   S = G S + (k R)^T v

Lowered, compiled for sm_90a and run in JAX's GPU interpreter; it has not been run on a GPU. The backward pass has no
such kernel and is the lax form of parallel.py.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import Kernel, compat
from . import chunk as one
from .xla import cut, padded, split

DTYPES = ("bfloat16", "float16")
CHUNK = 64  # rows of one tensor-core product
VALUES = 64  # value channels of one block of threads
STAGES = 2  # chunks in flight


def refuse(q, k, v, *_, **__):
    """Why these operands can't run, or None."""
    for x in (q, k, v):
        if jnp.dtype(x.dtype).name not in DTYPES or x.dtype != q.dtype:
            return f"tensor cores multiply {' or '.join(DTYPES)} exactly, q, k and v alike, not {x.dtype}"
    dk, dv = q.shape[-1], v.shape[-1]
    if dk not in (64, 128) or dv % VALUES or 0 in q.shape or dv == 0:
        return f"dk of 64 or 128 and dv a multiple of {VALUES} fill the tiles, got {dk} and {dv}"
    return None


def blocks(*_, **__):
    """Steps of a chunk, value channels of a block, chunks in flight."""
    return {"chunk": CHUNK, "values": VALUES, "stages": STAGES}


def run(*operands, gate: str, chunk: int, scale: float):
    q, k, v, gates, (state,) = split(operands, gate)
    (b, t, h, dk), dv, dtype = q.shape, v.shape[-1], v.dtype
    pieces = [cut(padded(x, CHUNK), CHUNK).astype(jnp.float32) for x in (q, k, *gates)]
    inside = jax.vmap(jax.vmap(jax.vmap(functools.partial(one.inside, precision=lax.Precision.DEFAULT))))
    scores, seen, left, total = inside(pieces[0] * scale, pieces[1], tuple(pieces[2:]))
    count = scores.shape[0]
    if total is None:
        total = jnp.ones((count, b, h, dk), jnp.float32)
    total = jnp.broadcast_to(total.reshape(count, b, h, -1), (count, b, h, dk))
    v = jnp.moveaxis(padded(v, CHUNK).reshape(b, count, CHUNK, h, dv), (1, 3), (0, 2))
    o, last = plgpu.kernel(
        _body,
        out_type=[compat.output(v), compat.output(state)],
        grid=(b, h, dv // VALUES),
        grid_names=("batch", "head", "values"),
        scratch_types=_scratch(dk, dtype),
        compiler_params=compat.mosaic_gpu_params(),
    )(*(x.astype(dtype) for x in (scores, seen, left)), v, total, state)
    o = jnp.moveaxis(o, (0, 2), (1, 3)).reshape(b, count * CHUNK, h, dv)
    return [o[:, :t], last]


def _scratch(dk, dtype):
    def tile(*shape):
        transforms = (plgpu.TilingTransform((8, 64)), plgpu.SwizzleTransform(128))
        return plgpu.SMEM(shape, dtype, transforms=transforms)

    inputs = [
        tile(STAGES, CHUNK, CHUNK),
        tile(STAGES, CHUNK, dk),
        tile(STAGES, CHUNK, dk),
        tile(STAGES, CHUNK, VALUES),
        plgpu.SMEM((STAGES, dk), jnp.float32),
    ]
    return [inputs, tile(dk, VALUES), tile(CHUNK, VALUES), plgpu.Barrier(num_arrivals=5, num_barriers=STAGES)]


def _body(scores, seen, left, v, total, first, o, last, inputs, state_smem, o_smem, arrived):
    batch, head = lax.axis_index("batch"), lax.axis_index("head")
    values = pl.ds(lax.axis_index("values") * VALUES, VALUES)
    count, dk = scores.shape[0], seen.shape[-1]
    every = pl.ds(0, CHUNK)

    def fetch(i, stage):
        at = (i, batch, head)
        sources = [scores.at[at], seen.at[at], left.at[at], v.at[(*at, every, values)], total.at[at]]
        for source, target in zip(sources, inputs, strict=True):
            plgpu.copy_gmem_to_smem(source, target.at[stage], arrived.at[stage])

    for stage in range(min(STAGES, count)):
        fetch(stage, stage)

    def step(i, state):
        stage = lax.rem(i, STAGES)
        plgpu.barrier_wait(arrived.at[stage])
        scores_now, seen_now, left_now, v_now, total_now = (x.at[stage] for x in inputs)
        state_smem[...] = state.astype(state_smem.dtype)
        plgpu.wait_smem_to_gmem(0)  # the o of the chunk before has left
        plgpu.commit_smem()

        def outputs(acc):
            plgpu.wgmma(acc, scores_now, v_now)
            plgpu.wgmma(acc, seen_now, state_smem)
            return acc[...]

        o_smem[...] = pl.run_scoped(outputs, plgpu.ACC((CHUNK, VALUES), jnp.float32)).astype(o_smem.dtype)
        plgpu.commit_smem()
        plgpu.copy_smem_to_gmem(o_smem, o.at[i, batch, head, every, values])

        def added(acc):
            plgpu.wgmma(acc, left_now.transpose((1, 0)), v_now)
            return acc[...]

        kept = lax.broadcast_in_dim(compat.load(total_now, plgpu.Layout.WGMMA.reduce(1)), state.shape, [0])
        state = state * kept + pl.run_scoped(added, plgpu.ACC(state.shape, jnp.float32))

        plgpu.commit_smem()  # every thread has read its part of this chunk

        @pl.when(i + STAGES < count)
        def _():
            fetch(i + STAGES, stage)

        return state

    start = compat.load(first.at[batch, head, pl.ds(0, dk), values], plgpu.Layout.WGMMA)
    end = lax.fori_loop(0, count, step, start)
    last[batch, head, pl.ds(0, dk), values] = end
    plgpu.wait_smem_to_gmem(0)


forward = Kernel(run, refuse, blocks)
