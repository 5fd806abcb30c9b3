"""Mosaic GPU (Hopper): the backward pass, three ways through the chunks with the state in registers.

With y = A x + R S, S' = G S + W^T x of gpu.py, and cotangents written d, for o, q P, k R:

    d(q P) = do S^T            forward in time, S from the initial state        (`sweep`)
    d(k R) = v dS'^T           backward, dS = G dS' + (q P)^T do               (`sweep`)
    dv = A^T do + (k R) dS'    backward, the same dS: the forward kernel again (`passage`)
    dA = do v^T,   dG = the sums of S * dS' over value channels

The first two need all value channels of a row of the state, the third all its key channels, so they are split over
blocks of threads that way and never exchange anything. dG needs both states of one chunk: S is written to memory in
16 bits where there is a gate. The sum over time of q dq - k dk would need no states, but as a difference of two sums
over the rest of the sequence it has their rounding, and gates that forget everything are to leave no trace.

Lowered, compiled for sm_90a and run in JAX's GPU interpreter; it has not been run on a GPU.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import Kernel, compat
from . import chunk as one
from .gpu import CHUNK, STAGES, accumulator, in_chunks, inside, over_heads, passage, per_row, refuse, tile, whole
from .xla import padded, split

KEYS = 64  # key channels of one block of threads: the rows of its state


def _width(dv):
    """Value channels of one block of threads: as many as its registers hold a state of."""
    return 128 if dv % 128 == 0 else 64


def blocks(_q, _k, v, *_, **__):
    """Steps of a chunk, key and value channels of a block, chunks in flight."""
    return {"chunk": CHUNK, "keys": KEYS, "values": _width(v.shape[-1]), "stages": STAGES}


def run(*operands, gate: str, chunk: int, scale: float):
    q, k, v, gates, (state, ct_o, ct_last) = split(operands, gate)
    t, v, ct_o = v.shape[1], padded(v, CHUNK), padded(ct_o, CHUNK)
    scores, seen, left, total = inside(q, k, gates, scale)
    found = sweep(ct_o, v, left, total, state, outputs=("rows", "pairs", "states") if gates else ("rows", "pairs"))
    (ct_seen, ct_scores), states = found[:2], found[2:]
    outputs = ("rows", "kept") if gates else ("rows",)
    ct_left, *ct_total = sweep(v, ct_o, seen, total, ct_last, *states, outputs=outputs, reverse=True)
    ct_v, ct_state = passage(scores, left, seen, total, ct_o, ct_last, reverse=True)
    cts = _inside_backward(q, k, gates, (ct_scores, ct_total, ct_seen, ct_left), scale)
    ct_q, ct_k, *ct_gates = (ct[:, :t].astype(x.dtype) for ct, x in zip(cts, (q, k, *gates), strict=True))
    return [ct_q, ct_k, ct_v[:, :t], *ct_gates, ct_state]


def _inside_backward(q, k, gates, cts, scale):
    """Cotangents of q, k and the gate, [b, t, h, ..] in float32 with t padded, from those of what `inside` gives."""

    def of_one(given, ct_scores, ct_total):
        q, k, ct_seen, ct_left, *gates = (x.astype(jnp.float32) for x in given)
        # Masked before anything else: what is above the diagonal may have overflowed in float16.
        ct_scores, total = jnp.tril(ct_scores.astype(jnp.float32)), None
        if gates:
            total = jnp.sum(*ct_total) if gates[0].ndim == 1 else ct_total[0][:, None]
        cts = (ct_scores, ct_seen, ct_left, total)
        ct_q, ct_k, ct_gates = one.inside_backward(q * scale, k, tuple(gates), cts, lax.Precision.DEFAULT)
        return ct_q * scale, ct_k, *ct_gates

    # Behind a barrier, or what `inside` makes on its way would be kept through the kernels instead of made again.
    q, k, gates, (ct_scores, ct_total, *rows) = lax.optimization_barrier((q, k, gates, cts))
    given = tuple(in_chunks(x) for x in (q, k, *rows, *gates))
    return [whole(x) for x in over_heads(of_one, (1, 0, 0), 1)(given, ct_scores, ct_total)]


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
        "rows": tile(dtype, CHUNK, KEYS),
        "pairs": tile(dtype, CHUNK, CHUNK),
        "states": tile(dtype, KEYS, width),
        "kept": plgpu.SMEM((KEYS,), jnp.float32),
    }
    inputs = {name: tile(dtype, STAGES, CHUNK, n) for name, n in (("x", width), ("y", width), ("writes", KEYS))}
    inputs["total"] = plgpu.SMEM((STAGES, KEYS), jnp.float32)
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
        grid=(b, h, parts * (dk // KEYS)),  # the last axis is the fastest: blocks of keys share x and y in L2
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
    key_blocks = jnp.int32(given["writes"].shape[-1] // KEYS)
    part, key_block = lax.div(block, key_blocks), lax.rem(block, key_blocks)
    keys, values = pl.ds(key_block * KEYS, KEYS), pl.ds(part * width, width)

    def at(i):
        """Where in each array step i is."""
        chunk = count - 1 - i if reverse else i
        rows = pl.ds(chunk * CHUNK, CHUNK)
        return {
            **dict.fromkeys(("x", "y"), (batch, rows, head, values)),
            "writes": (batch, rows, head, keys),
            "total": (batch, chunk, head, keys),
            **dict.fromkeys(("states", "met"), (batch, chunk, head, keys, values)),
            "rows": (part, batch, rows, head, keys),
            "pairs": (part, batch, chunk, head),
            "kept": (part, batch, chunk, head, keys),
        }

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
                out["pairs"][...] = _product(x, y.transpose((1, 0))).astype(out["pairs"].dtype)

        rows, added = _both(x, out["states"], writes, y)
        out["rows"][...] = rows.astype(out["rows"].dtype)
        state = state * per_row(compat.load(total, plgpu.Layout.WGMMA.reduce(1)), state) + added
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


def _both(x, state, writes, y):
    """(x S^T, W^T y), in flight together."""

    def products(rows, added):
        plgpu.wgmma(rows, x, state.transpose((1, 0)))
        plgpu.wgmma(added, writes.transpose((1, 0)), y)
        return rows[...], added[...]

    return pl.run_scoped(products, accumulator(CHUNK, KEYS), accumulator(*state.shape))


def _product(x, y):
    def product(acc):
        plgpu.wgmma(acc, x, y)
        return acc[...]

    return pl.run_scoped(product, accumulator(x.shape[0], y.shape[1]))


backward = Kernel(run, refuse, blocks, named_alone=True)
