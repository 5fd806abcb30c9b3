"""Mosaic GPU (Hopper): the backward pass, three ways through the chunks with the state in registers.

With o = A v + (q P) S, S' = G S + (k R)^T v of gpu.py and d for cotangents:

    d(q P) = do S^T             forward in time, S as above                          `sweep`
    d(k R) = v dS'^T            backward, dS = G dS' + (q P)^T do                    `sweep`
    dv = A^T do + (k R) dS'     backward, the same dS: the forward kernel again      gpu.py
    dA = do v^T,   dG = the sums of S * dS' over value channels                      in the sweeps

and gpu_inside_backward.py makes dq, dk and the gate's of them. The first two need a row of the state whole, the third a
column: split over blocks of threads that way they have nothing to exchange, for the price of reading do and q P twice.

dG needs both states of a chunk, so where there is a gate S goes through memory in 16 bits, as the tensor cores have it
anyway; without one no state does. The sums over the rest of time of q dq - k dk would need no states. But they are
differences of two long sums, and their rounding stays when what they measure has been forgotten: a gate of -1e4 gets a
cotangent of exactly 0 here, and the steps before it get nothing of what comes after.

What bounds it: memory. Counted in the compiled program, for [1, 8192, 96, 128] bfloat16 with a vector gate in float32:
what a chunk does by itself 1.3 GB, sweeps 1.3 and 1.2, passage 0.9, and back into q, k and the gate 2.1: 6.9 GB or
1.6 ms at 4.3 TB/s, where XLA moves 80. States kept for every second chunk alone would save 0.4 GB, for a third product
in every other step.

Lowered, compiled for sm_90a (no spills, no product that waits for registers) and run in JAX 0.11's GPU interpreter,
without races; it has not been run on a GPU. Until it has, it is taken where it is named alone.
"""

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import Kernel, compat
from .gpu import passage, refuse
from .gpu_inside import inside
from .gpu_inside_backward import inside_backward
from .gpu_tile import CHANNELS, CHUNK, STAGES, accumulator, per_row, product, tile, transposed
from .xla import padded, split


def _width(dv):
    """Value channels of one block of threads: as many as its registers hold a state of."""
    return 128 if dv % 128 == 0 else 64


def blocks(_q, _k, v, *_, **__):
    """Steps of a chunk, key and value channels of a block, chunks in flight."""
    return {"chunk": CHUNK, "keys": CHANNELS, "values": _width(v.shape[-1]), "stages": STAGES}


def run(*operands, gate: str, chunk: int, scale: float):
    q, k, v, gates, (state, ct_o, ct_last) = split(operands, gate)
    t, v, ct_o = v.shape[1], padded(v, CHUNK), padded(ct_o, CHUNK)
    scores, seen, left, total = inside(q, k, gates, scale)
    outputs = ("rows", "pairs", "states") if gates else ("rows", "pairs")
    ct_seen, ct_scores, *states = sweep(ct_o, v, left, total, state, outputs=outputs)
    outputs = ("rows", "kept") if gates else ("rows",)
    ct_left, *ct_total = sweep(v, ct_o, seen, total, ct_last, *states, outputs=outputs, reverse=True)
    ct_v, ct_state = passage(scores, left, seen, total, ct_o, ct_last, reverse=True)
    of_log_total = [ct * total for ct in ct_total]
    cts = inside_backward(q, k, gates, (ct_scores, ct_seen, ct_left, *of_log_total), scale)
    ct_q, ct_k, *ct_gates = (ct[:, :t].astype(x.dtype) for ct, x in zip(cts, (q, k, *gates), strict=True))
    return [ct_q, ct_k, ct_v[:, :t], *ct_gates, ct_state]


def sweep(x, y, writes, total, state, met=None, *, outputs, reverse=False):
    """A state's way through the chunks, S' = G S + W^T y, and what x finds there; in `reverse` from the last chunk.

    Args:
        x, y: [b, t, h, dv]. writes: [b, t, h, dk] W. total: [b, n, h, dk] G, float32. state: [b, h, dk, dv] float32.
        met: [b, n, h, dk, dv] states M that "kept" multiplies.
        outputs: names of the results.

    Returns:
        list of the results: "rows" x S^T [b, t, h, dk], "pairs" x y^T [b, n, h, c, c] and "states" S [b, n, h, dk, dv],
        rounded to x's dtype, and "kept" [b, n, h, dk], the sums of S * M over the value channels, in float32.
    """
    (b, t, h, dv), dk, dtype = x.shape, writes.shape[-1], x.dtype
    width, count, parts = _width(dv), t // CHUNK, dv // _width(dv)
    shapes = {
        "rows": (b, t, h, dk),
        "pairs": (b, count, h, CHUNK, CHUNK),
        "states": (b, count, h, dk, dv),
        "kept": (b, count, h, dk),
    }
    tiles = {
        "rows": tile(dtype, CHUNK, CHANNELS),
        "pairs": tile(dtype, CHUNK, CHUNK),
        "states": tile(dtype, CHANNELS, width),
        "kept": plgpu.SMEM((CHANNELS,), jnp.float32),
    }
    inputs = {name: tile(dtype, STAGES, CHUNK, n) for name, n in (("x", width), ("y", width), ("writes", CHANNELS))}
    inputs["total"] = plgpu.SMEM((STAGES, CHANNELS), jnp.float32)
    scratch = {
        "in": inputs,
        "out": {name: tiles[name] for name in dict.fromkeys(("states", *outputs))},
        "arrived": plgpu.Barrier(num_arrivals=len(inputs), num_barriers=STAGES),
    }
    operands = {"x": x, "y": y, "writes": writes, "total": total, "state": state}
    if met is not None:
        operands["met"] = met
        scratch |= {"met": tiles["states"], "met_arrived": plgpu.Barrier()}

    def linear_attention_sweep(*refs):
        *refs, scratch = refs
        given, results = refs[: len(operands)], refs[len(operands) :]
        _body(dict(zip(operands, given, strict=True)), dict(zip(outputs, results, strict=True)), scratch, reverse)

    def result(name):
        # Every block of value channels adds its part to all but the states, which it has a block of.
        lead = () if name == "states" else (parts,)
        return compat.output(x, (*lead, *shapes[name]), jnp.float32 if name == "kept" else dtype)

    results = plgpu.kernel(
        linear_attention_sweep,
        out_type=[result(name) for name in outputs],
        grid=(b, h, parts * (dk // CHANNELS)),  # the last axis is the fastest: blocks of keys share x and y in L2
        grid_names=("batch", "head", "block"),
        scratch_types=[scratch],
        compiler_params=compat.mosaic_gpu_params(),
    )(*operands.values())
    return [x if name == "states" else _summed(x) for name, x in zip(outputs, results, strict=True)]


def _summed(x):
    """The sum over the leading axis, in x's dtype."""
    return x[0] if len(x) == 1 else jnp.sum(x, 0, dtype=jnp.float32).astype(x.dtype)


def _body(given, results, scratch, reverse):
    batch, head, block = (lax.axis_index(name) for name in ("batch", "head", "block"))
    inputs, out, arrived = scratch["in"], scratch["out"], scratch["arrived"]
    count, width = given["total"].shape[1], inputs["x"].shape[-1]
    key_blocks = jnp.int32(given["writes"].shape[-1] // CHANNELS)
    part, key_block = lax.div(block, key_blocks), lax.rem(block, key_blocks)
    keys, values = pl.ds(key_block * CHANNELS, CHANNELS), pl.ds(part * width, width)

    def at(i):
        chunk = count - 1 - i if reverse else i
        return _places(batch, chunk, head, part, keys, values)

    def fetch(i, stage):
        for name, target in inputs.items():
            plgpu.copy_gmem_to_smem(given[name].at[at(i)[name]], target.at[stage], arrived.at[stage])

    def fetch_met(i):
        plgpu.copy_gmem_to_smem(given["met"].at[at(i)["met"]], scratch["met"], scratch["met_arrived"])

    def store(i, name):
        plgpu.copy_smem_to_gmem(out[name], results[name].at[at(i)[name]])

    def step(i, state):
        stage = lax.rem(i, STAGES)
        x, y, writes, total = (inputs[name].at[stage] for name in ("x", "y", "writes", "total"))
        plgpu.barrier_wait(arrived.at[stage])
        plgpu.wait_smem_to_gmem(0, wait_read_only=True)  # the results of the chunk before have left shared memory
        out["states"][...] = state.astype(out["states"].dtype)
        if "met" in given:
            plgpu.barrier_wait(scratch["met_arrived"])
            out["kept"][...] = (state * scratch["met"][...].astype(jnp.float32)).sum(1)
        plgpu.commit_smem()  # tensor cores and copies see the state; every thread has read the met one
        if "met" in given:
            store(i, "kept")
            pl.when(i + 1 < count)(lambda: fetch_met(i + 1))
        if "states" in results:
            store(i, "states")
        if "pairs" in results:

            @pl.when(key_block == 0)
            def _():
                out["pairs"][...] = product((x, transposed(y))).astype(out["pairs"].dtype)

        rows, added = _both(x, out["states"], writes, y)
        out["rows"][...] = rows.astype(out["rows"].dtype)
        state = state * per_row(compat.load(total, plgpu.Layout.WGMMA.reduce(1)), state.shape) + added
        plgpu.commit_smem()  # every thread has written its part of the results and read its part of this chunk
        store(i, "rows")
        if "pairs" in results:
            pl.when(key_block == 0)(lambda: store(i, "pairs"))
        pl.when(i + STAGES < count)(lambda: fetch(i + STAGES, stage))
        return state

    for stage in range(min(STAGES, count)):
        fetch(stage, stage)
    if "met" in given:
        fetch_met(0)
    lax.fori_loop(0, count, step, compat.load(given["state"].at[batch, head, keys, values], plgpu.Layout.WGMMA))
    plgpu.wait_smem_to_gmem(0)


def _places(batch, chunk, head, part, keys, values):
    """Where a chunk of a head, a block of keys and a block of values lie in each array."""
    rows = pl.ds(chunk * CHUNK, CHUNK)
    return {
        "x": (batch, rows, head, values),
        "y": (batch, rows, head, values),
        "writes": (batch, rows, head, keys),
        "total": (batch, chunk, head, keys),
        "met": (batch, chunk, head, keys, values),
        "rows": (part, batch, rows, head, keys),
        "pairs": (part, batch, chunk, head),
        "states": (batch, chunk, head, keys, values),
        "kept": (part, batch, chunk, head, keys),
    }


def _both(x, state, writes, y):
    """(x S^T, W^T y), in flight together."""

    def products(rows, added):
        plgpu.wgmma(rows, x, transposed(state))
        plgpu.wgmma(added, transposed(writes), y)
        return rows[...], added[...]

    return pl.run_scoped(products, accumulator(CHUNK, CHANNELS), accumulator(*state.shape))


backward = Kernel(run, refuse, blocks, named_alone=True)
