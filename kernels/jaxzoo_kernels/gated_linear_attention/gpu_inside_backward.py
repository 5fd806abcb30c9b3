"""Mosaic GPU (Hopper): what a chunk does by itself, backward: from the cotangents of A, q P, k R and log G.

One block of threads per chunk, head and 64 key channels, which need nothing of each other once dA is there. With the
masks M, decays D and scaled X of gpu_inside.py and T = dA where second halves look at their first halves, each width of
the tree gives, row by row,

    Z = D * (T X + T^T X),   dq += Z in second halves,   dk += Z in first halves,   d log a += M^T (x * Z)

x being q or k as X has them. The ends of the chunk give the same with d(q P) and d(k R) in the place of T X, and log G
goes to every step. All of d log a are sums of terms that a gate takes part in, none a difference of two long sums; a
gate that forgets everything has D = 0 around it and gets zeros.

What bounds it, for [1, 8192, 96, 128] bfloat16 on an H200 and gates of float32: 2.1 GB, 0.5 ms at 4.3 TB/s, with about
as much time of the tensor cores beside it. By XLA, level by level, it is about 40 GB. Sums of d log a in registers
instead of shared memory spilled 8 bytes, and masks of `t ^ s` more.

Lowered, compiled for sm_90a without spills and run in JAX's GPU interpreter; it has not been run on a GPU.
"""

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import compat
from .gpu_inside import as_numbers, decay, gate_tiles, halves, heads_first, second_half, split_gate, to_the_middle
from .gpu_tile import CHANNELS, CHUNK, grids, per_row, product, tile, transposed
from .xla import padded

WIDE = (plgpu.TilingTransform((8, 32)), plgpu.SwizzleTransform(128))  # of float32, for registers alone
ROWS = ("q", "k", "ct_seen", "ct_left")


def inside_backward(q, k, gates, cts, scale):
    """Cotangents (q, k, the gate where there is one), [b, t, h, ..] with t padded, from those of what `inside` gives.

    Args:
        cts: those of A [b, n, h, c, c], q P and k R [b, t, h, dk] and, with a gate, log G [b, n, h, dk].
    """
    q, k, *gates = (padded(x, CHUNK) for x in (q, k, *gates))
    (b, t, h, dk), dtype = q.shape, q.dtype
    ct_scores, ct_seen, ct_left, *ct_total = cts
    gates = [heads_first(gate) for gate in gates]
    blocks = dk // CHANNELS
    results = [compat.output(q), compat.output(k)]
    # Each block of channels adds its part to the cotangent of a scalar gate.
    results += [compat.output(x, (blocks, b, h, t), jnp.float32) if x.ndim == 3 else compat.output(x) for x in gates]
    scratch = {name: tile(dtype, CHUNK, CHANNELS) for name in (*ROWS, "ct_scores", "pairs")}
    scratch["arrived"] = plgpu.Barrier(num_arrivals=len(ROWS) + 1)
    for gate in gates:
        scratch |= gate_tiles(gate.dtype, dtype, CHANNELS) | {
            "scaled": tile(dtype, CHUNK, CHANNELS),
            "ct_gate": plgpu.SMEM((CHUNK, CHANNELS), jnp.float32, transforms=WIDE),
            "summed": plgpu.SMEM((CHUNK,), jnp.float32),
        }
    given = [q, k, ct_seen, ct_left, ct_scores, *gates, *ct_total]

    def linear_attention_inside_backward(*refs):
        *refs, scratch = refs
        _body(refs[: len(given)], refs[len(given) :], scratch, scale)

    ct_q, ct_k, *ct_gates = plgpu.kernel(
        linear_attention_inside_backward,
        out_type=results,
        grid=(b, t // CHUNK, h * blocks),  # the last axis is the fastest: heads lie side by side in memory
        grid_names=("batch", "chunk", "channels"),
        scratch_types=[scratch],
        compiler_params=compat.mosaic_gpu_params(approx_math=True),
    )(*given)
    scalar = bool(gates) and gates[0].ndim == 3
    return [ct_q, ct_k, *(jnp.moveaxis(jnp.sum(x, 0), 1, 2) if scalar else x for x in ct_gates)]


def _body(given, results, scratch, scale):
    batch, chunk, channels = (lax.axis_index(name) for name in ("batch", "chunk", "channels"))
    blocks = jnp.int32(given[0].shape[-1] // CHANNELS)
    head, block = lax.div(channels, blocks), lax.rem(channels, blocks)
    rows, keys = pl.ds(chunk * CHUNK, CHUNK), pl.ds(block * CHANNELS, CHANNELS)
    at = (batch, rows, head, keys)
    for source, name in zip(given, ROWS, strict=False):
        plgpu.copy_gmem_to_smem(source.at[at], scratch[name], scratch["arrived"])
    plgpu.copy_gmem_to_smem(given[4].at[batch, chunk, head], scratch["ct_scores"], scratch["arrived"])
    q, k = scratch["q"], scratch["k"]
    if len(given) == 5:
        plgpu.barrier_wait(scratch["arrived"])
        ct_q, ct_k = _without_a_gate(scratch, scale)
    else:
        gate, ct_total = given[5:]
        split_gate(gate, at, scratch["pieces"].at[0])
        plgpu.barrier_wait(scratch["arrived"])
        ct_total = compat.load(ct_total.at[batch, chunk, head, keys], plgpu.Layout.WGMMA.reduce(0))
        ct_q, ct_k = _through_the_gate(ct_total, scratch, scale)
        ct_gate = scratch["ct_gate"][...]
        if len(gate.shape) == 4:
            results[2][at] = ct_gate.astype(gate.dtype)
        else:
            scratch["summed"][...] = ct_gate.sum(1)
    q[...], k[...] = ct_q.astype(q.dtype), ct_k.astype(k.dtype)
    plgpu.commit_smem()
    for source, target in zip((q, k), results, strict=False):
        plgpu.copy_smem_to_gmem(source, target.at[at])
    if len(given) > 5 and len(given[5].shape) == 3:
        plgpu.copy_smem_to_gmem(scratch["summed"], results[2].at[block, batch, head, rows])
    plgpu.wait_smem_to_gmem(0)


def _without_a_gate(scratch, scale):
    row, column = grids()
    pairs = scratch["pairs"]
    pairs[...] = jnp.where(column <= row, scratch["ct_scores"][...], 0).astype(pairs.dtype)
    plgpu.commit_smem()
    ct_q = product((pairs, scratch["k"])) + _wide(scratch["ct_seen"])
    ct_k = product((transposed(pairs), scratch["q"])) * scale + _wide(scratch["ct_left"])
    plgpu.commit_smem()  # no warp multiplies q or k any more
    return ct_q * scale, ct_k


def _wide(ref):
    return ref[...].astype(jnp.float32)


def _through_the_gate(ct_total, scratch, scale):
    """Cotangents of q and k [c, CHANNELS]; that of the log gate is left in shared memory, for want of registers."""
    names = ("q", "k", "pairs", "scaled", "steps", "ct_gate")
    q, k, pairs, scaled, steps, ct_gate = (scratch[name] for name in names)
    pieces, shape = scratch["pieces"].at[0], (CHUNK, CHANNELS)
    row, column = grids()

    def add_to_gates(ct):
        """From the cotangents of the logarithms of the products of the gates of the mask's steps."""
        plgpu.commit_smem()  # no warp multiplies what is scaled any more
        scaled[...] = ct.astype(scaled.dtype)
        plgpu.commit_smem()
        ct_gate[...] += product((transposed(steps), scaled))
        plgpu.commit_smem()  # no warp multiplies by the mask any more

    def from_the_edge(ref, ct, mask):
        steps[...] = as_numbers(mask, steps.dtype)
        plgpu.commit_smem()
        ct = ct * decay(steps, pieces)
        add_to_gates(_wide(ref) * ct)
        return ct

    ct_gate[...] = lax.broadcast_in_dim(ct_total, shape, [1])
    own = per_row(jnp.where(row == column, _wide(scratch["ct_scores"]) * scale, 0.0).sum(1), shape)
    ct_q = from_the_edge(q, _wide(scratch["ct_seen"]) * scale, column <= row) + own * _wide(k)
    ct_k = from_the_edge(k, _wide(scratch["ct_left"]), column > row) + own * _wide(q)

    def level(i, cts):
        ct_q, ct_k = cts
        width = lax.shift_left(jnp.int32(1), i)
        steps[...] = as_numbers(to_the_middle(width), steps.dtype)
        pairs[...] = jnp.where(halves(width), _wide(scratch["ct_scores"]) * scale, 0.0).astype(pairs.dtype)
        plgpu.commit_smem()
        gates = decay(steps, pieces)
        scaled[...] = (jnp.where(second_half(width), _wide(q), _wide(k)) * gates).astype(scaled.dtype)
        plgpu.commit_smem()
        # Rows of second halves get what they see, those of first halves what sees them.
        ct = product((pairs, scaled), (transposed(pairs), scaled)) * gates
        add_to_gates(jnp.where(second_half(width), _wide(q), _wide(k)) * ct)
        return ct_q + jnp.where(second_half(width), ct, 0.0), ct_k + jnp.where(second_half(width), 0.0, ct)

    # A loop, or the compiler keeps the masks of all widths in registers.
    return lax.fori_loop(0, CHUNK.bit_length() - 1, level, (ct_q, ct_k))
