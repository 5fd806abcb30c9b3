"""Mosaic GPU (Hopper): what a chunk does by itself, forward: the scores A, q P, k R and G of chunk.py.

One block of threads per chunk and head. A gate, scalar or vector, enters by its logarithms, split into two 16-bit
numbers that tensor cores add exactly: a mask of zeros and ones times the logarithms is the logarithm of every product
of gates that is needed. At each width w = 1, 2 .. 32 of the tree one mask has, in rows t of second halves of blocks of
2 w, the steps from the middle up to t, and in rows s of first halves those after s up to the middle. With D its decays,

    X = D * (q in second halves, k in first halves),   A += (X X^T where second halves look at their first halves)

so that a width costs one exponential per number and two products, and no exponent is ever positive. The sums
of logarithms are absolute errors of exponents, 2^-17 of the exponent: below the rounding of A wherever A is not zero.

What bounds it, for [1, 8192, 96, 128] bfloat16 on an H200 and gates of float32: bytes. q, k and the gate are read once,
A, q P and k R written once, 1.3 GB, 0.30 ms at 4.3 TB/s; exponentials 0.22 ms of the special function units, products
0.3 ms of the tensor cores, beside each other in the two blocks of threads that fit on an SM. The same by XLA
writes the tree down, level by level: 22 GB. Without a gate there is one product and 0.70 GB.

Lowered, compiled for sm_90a without spills and run in JAX's GPU interpreter; it has not been run on a GPU.
"""

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import compat
from .chunk import FLOOR
from .gpu_tile import CHANNELS, CHUNK, grids, per_row, product, tile, transposed
from .xla import padded

REDUCTION = 4096  # bytes of shared memory in which sums over rows pass from warp to warp


def inside(q, k, gates, scale):
    """(A [b, n, h, c, c], q P and k R [b, t, h, dk], G [b, n, h, dk] in float32) of n chunks of c steps, t padded."""
    q, k, *gates = (padded(x, CHUNK) for x in (q, k, *gates))
    (b, _, h, dk), count = q.shape, q.shape[1] // CHUNK
    results = [compat.output(q, (b, count, h, CHUNK, CHUNK)), compat.output(q)]
    if gates:
        results += [compat.output(k), compat.output(q, (b, count, h, dk), jnp.float32)]
    scratch = {name: tile(q.dtype, CHUNK, width) for name, width in (("q", dk), ("k", dk), ("scores", CHUNK))}
    scratch["arrived"] = plgpu.Barrier(num_arrivals=2)
    if gates:
        scratch |= {"scaled": tile(q.dtype, CHUNK, dk)} | gate_tiles(gates[0].dtype, q.dtype, dk)
        scratch["total"] = plgpu.SMEM((dk,), jnp.float32)

    def linear_attention_inside(*refs):
        *refs, scratch = refs
        _body(refs[:2], refs[2 : 2 + len(gates)], refs[2 + len(gates) :], scratch, scale)

    found = plgpu.kernel(
        linear_attention_inside,
        out_type=results,
        grid=(b, count, h),  # the last axis is the fastest: heads lie side by side in memory
        grid_names=("batch", "chunk", "head"),
        scratch_types=[scratch],
        compiler_params=compat.mosaic_gpu_params(approx_math=True, reduction_scratch_bytes=REDUCTION),
    )(q, k, *map(heads_first, gates))
    return found if gates else [*found, k, jnp.ones((b, count, h, dk), jnp.float32)]


def heads_first(gate):
    """A scalar gate as [b, h, t], so that the gates of a chunk lie side by side."""
    return jnp.moveaxis(gate, 2, 1) if gate.ndim == 3 else gate


def gate_tiles(gate_dtype, dtype, dk):
    """Shared memory for log gates as sums of 16-bit numbers, and for a mask that adds them up.

    Two bfloat16 numbers leave 2^-17 of a logarithm; where the logarithms of a decay sum to 20, it leaves 2e-9.
    """
    count = 1 if gate_dtype in (jnp.bfloat16, dtype) else 2
    return {"pieces": tile(dtype, dk // CHANNELS, count, CHUNK, CHANNELS), "steps": tile(dtype, CHUNK, CHUNK)}


def split_gate(gate, at, target):
    """Writes the log gates of a chunk and a block of channels to shared memory."""
    batch, rows, head, _ = at
    if len(gate.shape) == 3:
        log_a = compat.load(gate.at[batch, head, rows], plgpu.Layout.WGMMA.reduce(1))
        log_a = per_row(log_a, (CHUNK, CHANNELS))
    else:
        log_a = compat.load(gate.at[at], plgpu.Layout.WGMMA)
    rest = jnp.maximum(log_a.astype(jnp.float32), FLOOR)
    for piece in range(target.shape[0]):
        rounded = rest.astype(target.dtype)
        target[piece] = rounded
        rest = rest - rounded.astype(jnp.float32)


def _log_gates(pieces):
    """The inverse of `split_gate`."""
    return sum(pieces[i].astype(jnp.float32) for i in range(pieces.shape[0]))


def second_half(width):
    """[c, c] bool: the row is in the second half of its block of 2 * width."""
    return grids()[0] & width != 0


def halves(width):
    """[c, c] bool: the row is in the second half and the column in the first half of one block of 2 * width."""
    row, column = grids()
    return ((row & -width) == (column & -width) + width) & (row & width != 0)


def to_the_middle(width):
    """[c, c] bool: the steps (columns) whose gates lie between a row and the middle of its block of 2 * width.

    Up to the row's own from the middle on, or those after it up to the middle.
    """
    row, column = grids()
    upto, after = (row & width != 0) & (column <= row), (row & width == 0) & (column > row)
    return ((row & -width) == (column & -width)) & (upto | after)


def as_numbers(mask, dtype):
    return jnp.where(mask, 1.0, 0.0).astype(dtype)


def decay(steps, pieces):
    """[c, CHANNELS] products of the gates of the steps that each row of a mask holds."""
    return jnp.exp(product(*((steps, pieces.at[i]) for i in range(pieces.shape[0]))))


def _body(given, gates, results, scratch, scale):
    batch, chunk, head = (lax.axis_index(name) for name in ("batch", "chunk", "head"))
    rows, q, k = pl.ds(chunk * CHUNK, CHUNK), scratch["q"], scratch["k"]
    for source, target in zip(given, (q, k), strict=True):
        plgpu.copy_gmem_to_smem(source.at[batch, rows, head], target, scratch["arrived"])
    blocks = [(i, pl.ds(i * CHANNELS, CHANNELS)) for i in range(q.shape[1] // CHANNELS)]
    for gate in gates:
        for i, keys in blocks:
            split_gate(gate, (batch, rows, head, keys), scratch["pieces"].at[i])
    plgpu.barrier_wait(scratch["arrived"])
    row, column = grids()
    pairs = product((q, transposed(k)))
    if gates:
        scores = _across(jnp.where(row == column, pairs, 0.0), q, k, scratch, blocks)
        _scale(q, column <= row, scale, scratch, blocks)
        _scale(k, column > row, 1.0, scratch, blocks)
        for i, keys in blocks:
            scratch["total"][keys] = jnp.exp(_log_gates(scratch["pieces"].at[i]).sum(0))
    else:
        scores = jnp.where(column <= row, pairs, 0.0)
        plgpu.commit_smem()  # no warp multiplies q any more
        for _, keys in blocks:
            q[:, keys] = (q[:, keys].astype(jnp.float32) * scale).astype(q.dtype)
    scratch["scores"][...] = (scores * scale).astype(q.dtype)
    plgpu.commit_smem()
    of_chunk, of_rows = (batch, chunk, head), (batch, rows, head)
    sources = (scratch["scores"], of_chunk), (q, of_rows), (k, of_rows), (scratch.get("total"), of_chunk)
    for (source, at), target in zip(sources, results, strict=False):  # without a gate the first two alone
        plgpu.copy_smem_to_gmem(source, target.at[at])
    plgpu.wait_smem_to_gmem(0)


def _across(scores, q, k, scratch, blocks):
    """Adds the scores of all pairs but a step with itself: at every width, second halves of blocks see first halves."""
    scaled, steps, pieces = (scratch[name] for name in ("scaled", "steps", "pieces"))

    def level(i, scores):
        width = lax.shift_left(jnp.int32(1), i)
        steps[...] = as_numbers(to_the_middle(width), steps.dtype)
        plgpu.commit_smem()  # the mask is there, and no warp multiplies what the last width scaled
        for block, keys in blocks:
            x = jnp.where(second_half(width), q[:, keys].astype(jnp.float32), k[:, keys].astype(jnp.float32))
            scaled[:, keys] = (x * decay(steps, pieces.at[block])).astype(scaled.dtype)
        plgpu.commit_smem()  # all is scaled, and no warp multiplies by the mask
        pairs = product((scaled, transposed(scaled)))
        return scores + jnp.where(halves(width), pairs, 0.0)

    # A loop, or the compiler keeps the masks of all widths in registers.
    return lax.fori_loop(0, CHUNK.bit_length() - 1, level, scores)


def _scale(ref, mask, factor, scratch, blocks):
    """Multiplies a tile of queries or keys by the gates of a mask's steps, where it lies."""
    steps = scratch["steps"]
    steps[...] = as_numbers(mask, steps.dtype)
    plgpu.commit_smem()
    for i, keys in blocks:
        scaled = ref[:, keys].astype(jnp.float32) * decay(steps, scratch["pieces"].at[i]) * factor
        ref[:, keys] = scaled.astype(ref.dtype)
    plgpu.commit_smem()  # no warp multiplies by the mask
