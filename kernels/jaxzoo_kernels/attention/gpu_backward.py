"""Mosaic GPU (Hopper): the backward pass, in two kernels whose sums have a fixed order: the same bits every time.

With lse from the forward pass and r the cotangent of sum_j p_ij dx_ij (op.py), a tile of queries and keys is

    p = 2^(log2(e) (x - lse)),   ds = p (ct_y v^T + r) slope,   dq += ds k,   dk += ds^T q,   dv += p^T ct_y,

slope being 1, or 1 - tanh^2 under a softcap; scale is left to the end. One kernel has 128 queries to a block of threads
and goes over the keys that they see, for dq. The other has 128 keys of one key head and goes over the queries that see
them, head after head of those that share it, for dk and dv. It computes tiles transposed, k q^T and v ct_y^T, so that p
and ds go from registers into the products that sum over queries. No sum is shared, so nothing is added atomically.

As forward, two warpgroups compute, 64 rows each, while a third copies the tiles that come and go: as many as fill 128
KiB. For dq, r starts the sum ct_y v^T, which saves its addition, and v is free for the next before the last product.
For dk and dv, products are awaited two at a time: k q^T with v ct_y^T, then those that sum. Tiles that the band hides
are neither loaded nor computed. A t or s that is no multiple of 128 costs padded copies.

What bounds it: seven products of t s d where one kernel that adds up dq atomically, or in turns, has five; so at 600
TFLOP/s of tensor cores it does 430 of what is counted as backward (5 products, 10 t s d operations a head). A tile of
64 x 128 by d = 128 costs 1536 cycles of an SM's tensor cores for dq and 2048 for dk and dv, against 512 and more of its
special function and vector units; at d = 64 half of that, so that for dq both are about even. Registers hold the tile:
two totals of 64 x 128 leave room for 64 queries, two of 64 x 64 for 128. Both operands of the products with 64
queries come from shared memory at 128 bytes a cycle, all that it gives. Few keys and heads, or few queries, leave most
SMs idle.

Tried: ct_y v^T issued with q k^T for dq spills 60 bytes where a band cuts tiles at d = 128; letting r start the sum for
dk and dv spills 150. What is left of spills is at most 16 bytes a thread, at d = d_v = 128 with a band, and at most 12
at d = 64 with a softcap alone.

It has not run on a GPU: lowered, compiled for sm_90a and run in JAX's GPU interpreter, without races, products being
jnp's where they add to registers. Until it has run, it is taken where it is named alone.
"""

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import Kernel, compat
from .._core.hopper import smem
from . import gpu
from . import gpu_tile as tile
from .gpu_tile import BLOCK, COMPUTING, FETCHING, GROUPS, LOG2E, ROWS
from .options import Options, named
from .tile import finite, k_range, q_range

COLUMNS = 128  # keys of one tile, for the cotangent of q
IN_FLIGHT = 128 * 1024  # bytes of the tiles that come and go; what stays takes at most 64 KiB more


def refuse(*operands, options: Options, with_bias: bool):
    """Why these operands can't run, or None: what the forward kernel refuses. It knows no bias to give a cotangent."""
    return gpu.refuse(*operands[: len(options.names())], options=options)


def blocks(q, k, v, *_, **__):
    """Queries and keys of a tile for the cotangent of q, and for those of k and v; tiles in flight."""
    widths = q.shape[3] + v.shape[3]
    columns, queries = COLUMNS, 128 if widths == 128 else 64
    stages = [IN_FLIGHT // (2 * size * widths) for size in (columns, queries)]
    return {
        "rows": BLOCK,
        "columns": columns,
        "stages": stages[0],
        "rows_of_keys": queries,
        "columns_of_keys": BLOCK,
        "stages_of_keys": stages[1],
    }


def run(*operands, with_bias: bool, options: Options):
    count = len(options.names())
    x = named(operands[:count], options)
    q, k, v, (lse, ct_y, ct_r) = x["q"], x["k"], x["v"], operands[count:]
    rows = {"q": q, "ct_y": ct_y.astype(q.dtype)}
    # Rows that pad the last block are zeros: with any weights their cotangents add nothing to those of k and v.
    given = {name: tile.padded(a, BLOCK) for name, a in (rows | {"k": k, "v": v}).items()}
    given |= {name: tile.padded(a, BLOCK, 2) for name, a in (("lse", finite(lse) * LOG2E), ("ct_r", ct_r))}
    size = blocks(q, k, v)
    (ct_q,) = _call(_of_queries, given, options, k.shape[1], size, ("q",))
    ct_k, ct_v = _call(_of_keys, given, options, k.shape[1], size, ("k", "v"))
    return [ct_q[:, : q.shape[1]], ct_k[:, : k.shape[1]], ct_v[:, : k.shape[1]]]


def _call(body, given, options, s, size, wanted):
    """The cotangents of the operands that are wanted, which stay in shared memory while the others come and go."""
    a, of_queries = given[wanted[0]], wanted == ("q",)
    names = (*given, *(f"ct_of_{name}" for name in wanted), "tiles", "full", "read")
    length, stages = (size["columns"], size["stages"]) if of_queries else (size["rows_of_keys"], size["stages_of_keys"])

    def attention_backward(*refs):
        body(dict(zip(names, refs, strict=True)), options, s, length, stages)

    return plgpu.kernel(
        attention_backward,
        out_type=[compat.output(a, given[name].shape) for name in wanted],
        grid=(a.shape[0], a.shape[2], a.shape[1] // BLOCK),  # the last axis is the fastest: blocks share tiles in L2
        grid_names=("batch", "head", "block"),
        num_threads=GROUPS + 1,
        thread_name="group",
        scratch_types=_scratch(given, of_queries, length, stages),
        compiler_params=compat.mosaic_gpu_params(approx_math=True),
    )(*given.values())


def _scratch(given, of_queries, length, stages):
    """Tiles in shared memory, barriers that tell they are full, and barriers that tell all have read them."""
    resident, passing = (("q", "ct_y"), ("k", "v")) if of_queries else (("k", "v"), ("q", "ct_y"))
    tiles = {name: smem((GROUPS, ROWS, given[name].shape[3]), given[name].dtype) for name in resident}
    tiles |= {name: smem((stages, length, given[name].shape[3]), given[name].dtype) for name in passing}
    if not of_queries:
        tiles |= {name: plgpu.SMEM((stages, length), jnp.float32) for name in ("lse", "ct_r")}
    count = {"k": 1, "v": 1} if of_queries else {"rows": 4}  # copies that come together
    full = {name: plgpu.Barrier(num_arrivals=n, num_barriers=stages) for name, n in count.items()}
    read = {name: plgpu.Barrier(num_arrivals=GROUPS, num_barriers=stages) for name in count}
    return [tiles, full | {"resident": plgpu.Barrier(num_arrivals=2, num_barriers=GROUPS)}, read]


def _of_queries(refs, options, s, length, stages):
    """The cotangent of q: a block of threads goes over the keys that its queries see."""
    batch, head, block = (lax.axis_index(name) for name in ("batch", "head", "block"))
    if options.right is not None:
        block = refs["q"].shape[1] // BLOCK - 1 - block  # the longest rows first
    row, group = block * BLOCK, lax.axis_index("group")
    first, last = k_range(options, row, BLOCK, length, refs["k"].shape[1] // length)

    @pl.when(group < GROUPS)
    def _():
        plgpu.set_max_registers(COMPUTING, action="increase")
        at = (batch, pl.ds(row + group * ROWS, ROWS), head)
        total = _ct_of_queries(refs, options, s, group, at, first, last, length, stages)
        _finish(refs, group, at, {"q": total * options.scale})

    @pl.when(group == GROUPS)
    def _():
        plgpu.set_max_registers(FETCHING, action="decrease")
        key_head = lax.div(head, jnp.int32(refs["q"].shape[2] // refs["k"].shape[2]))

        def source(name):
            return lambda n: refs[name].at[batch, pl.ds((first + n) * length, length), key_head]

        tile.fetch({name: {name: source(name)} for name in ("k", "v")}, refs, last - first, stages)


def _ct_of_queries(refs, options, s, group, at, first, last, length, stages):
    """The sum over tiles first .. last - 1 of ds k, of one warpgroup's queries."""
    batch, rows, head = at
    tiles, full, read = refs["tiles"], refs["full"], refs["read"]
    _stay(refs, group, at, ("q", "ct_y"))
    by_row = plgpu.Layout.WGMMA.reduce(1)
    lse, ct_r = (compat.load(refs[name].at[batch, head, rows], by_row) for name in ("lse", "ct_r"))
    plgpu.barrier_wait(full["resident"].at[group])
    q, ct_y = tiles["q"].at[group], tiles["ct_y"].at[group]

    def step(j, total):
        stage = lax.rem(j - first, jnp.int32(stages))
        k, v = tiles["k"].at[stage], tiles["v"].at[stage]
        plgpu.barrier_wait(full["k"].at[stage])
        (x,) = tile.products((q, k.transpose((1, 0))))
        _, slope = _weights(x, lambda: tile.along(0, lse, x), options, rows.start, j * length, s, 0, v.dtype)
        plgpu.barrier_wait(full["v"].at[stage])
        (ct_p,) = tile.added((tile.along(0, ct_r, x), ct_y, v.transpose((1, 0))))
        plgpu.barrier_arrive(read["v"].at[stage])
        ds = slope * ct_p
        (total,) = tile.added((total, ds.astype(q.dtype), k))
        plgpu.barrier_arrive(read["k"].at[stage])
        return total

    return lax.fori_loop(first, last, step, tile.zeros(*q.shape))


def _of_keys(refs, options, s, length, stages):
    """The cotangents of k and v: a block of threads goes over the queries that see its keys, head after head."""
    batch, head, block, group = (lax.axis_index(name) for name in ("batch", "head", "block", "group"))
    shared, column = refs["q"].shape[2] // refs["k"].shape[2], block * BLOCK
    first, last = q_range(options, column, length, BLOCK, refs["q"].shape[1] // length)
    count, per_head = shared * (last - first), jnp.maximum(last - first, 1)

    def tile_of(n):
        """(head, first query) of the n-th tile."""
        return head * shared + lax.div(n, per_head), (first + lax.rem(n, per_head)) * length

    @pl.when(group < GROUPS)
    def _():
        plgpu.set_max_registers(COMPUTING, action="increase")
        at = (batch, pl.ds(column + group * ROWS, ROWS), head)
        ct_k, ct_v = _ct_of_keys(refs, options, s, group, at, first, last, length, stages)
        _finish(refs, group, at, {"k": ct_k * options.scale, "v": ct_v})

    @pl.when(group == GROUPS)
    def _():
        plgpu.set_max_registers(FETCHING, action="decrease")

        def matrix(name):
            return lambda n: refs[name].at[batch, pl.ds(tile_of(n)[1], length), tile_of(n)[0]]

        def statistic(name):
            return lambda n: refs[name].at[batch, tile_of(n)[0], pl.ds(tile_of(n)[1], length)]

        sources = {name: matrix(name) for name in ("q", "ct_y")} | {name: statistic(name) for name in ("lse", "ct_r")}
        tile.fetch({"rows": sources}, refs, count, stages)


def _ct_of_keys(refs, options, s, group, at, first, last, length, stages):
    """The sums over tiles first .. last - 1 of every head of ds^T q and p^T ct_y, of one warpgroup's keys."""
    tiles, full, read = refs["tiles"], refs["full"], refs["read"]
    _stay(refs, group, at, ("k", "v"))
    plgpu.barrier_wait(full["resident"].at[group])
    k, v = tiles["k"].at[group], tiles["v"].at[group]

    def step(n, state):
        i, ct_k, ct_v = state
        stage = lax.rem(n, jnp.int32(stages))
        q, ct_y = tiles["q"].at[stage], tiles["ct_y"].at[stage]
        plgpu.barrier_wait(full["rows"].at[stage])
        x, ct_p = tile.products((k, q.transpose((1, 0))), (v, ct_y.transpose((1, 0))))

        def statistic(name):
            return tile.along(1, compat.load(tiles[name].at[stage], plgpu.Layout.WGMMA.reduce(0)), x)

        p, slope = _weights(x, lambda: statistic("lse"), options, i * length, at[1].start, s, 1, v.dtype)
        ds = slope * (ct_p + statistic("ct_r"))
        ct_v, ct_k = tile.added((ct_v, p, ct_y), (ct_k, ds.astype(k.dtype), q))
        # lse and ct_r were read by loads, not by tensor cores: TMA writes there again on another path to the memory.
        plgpu.commit_smem()
        plgpu.barrier_arrive(read["rows"].at[stage])
        return jnp.where(i == last - 1, first, i + 1), ct_k, ct_v

    count = (refs["q"].shape[2] // refs["k"].shape[2]) * (last - first)
    return lax.fori_loop(0, count, step, (first, tile.zeros(*k.shape), tile.zeros(*v.shape)))[1:]


def _weights(x, lse, options, row, column, s, queries, dtype):
    """(p, p times the slope of the logits over scale) of a tile of products q k; `queries` is their axis."""
    x, factor = tile.logits(x, options)
    x = tile.masked(x, options, row, column, s, queries)
    p = jnp.exp2(x * factor - lse())
    if options.softcap is None:
        return p.astype(dtype), p
    tanh = jnp.maximum(x * (1 / options.softcap), -1)  # where unseen -1 for -inf, with a slope of 0
    return p.astype(dtype), p * (1 - tanh * tanh)


def _stay(refs, group, at, names):
    """Starts to copy one warpgroup's rows, which stay in shared memory."""
    for name in names:
        plgpu.copy_gmem_to_smem(refs[name].at[at], refs["tiles"][name].at[group], refs["full"]["resident"].at[group])


def _finish(refs, group, at, totals):
    """Writes the cotangents by way of the shared memory of what they belong to, which no product reads any more."""
    for name, total in totals.items():
        refs["tiles"][name][group] = total.astype(refs["tiles"][name].dtype)
    plgpu.commit_smem()
    for name in totals:
        plgpu.copy_smem_to_gmem(refs["tiles"][name].at[group], refs[f"ct_of_{name}"].at[at])
    plgpu.wait_smem_to_gmem(0)


backward = Kernel(run, refuse, blocks, named_alone=True)
