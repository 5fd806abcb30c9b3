"""Attention in pure lax for CPUs: tiles that stay in cache, each a few matrix products, one after the other.

Tiles are cut from the operands where they lie and written into the results in place, so memory beyond those is that of
a tile. A large batch of small products is slow on CPU and so is one small product: a tile is as many queries as its
size allows, then as many heads that share a key head, all rows of one product, then key heads, a small batch of
products. XLA shares each product and each pass over a tile among the cores. Blocks of keys that a band hides are not
visited.
"""

import jax.numpy as jnp
from jax import lax

from . import xla
from .options import Options, even, named
from .tile import absorb, cotangents, finish, k_range, logits, q_range, weights
from .xla import heads_first

ROWS, COLUMNS = 512, 512  # of one tile at most
WIDE = 1024  # columns where no band is cut from the logits
LOGITS = 512 * 512  # of a tile that takes in more heads
SMALL = 64 * 64  # logits per head up to which all heads at once are faster


def _divisor(n: int, most: int) -> int:
    """The largest divisor of n up to `most`, at least 1."""
    return max(i for i in range(1, n + 1) if n % i == 0 and (i == 1 or i <= most))


class Grid:
    """How one call is cut: tiles of `groups` key heads of `heads` query heads, by `rows` queries, by `columns` keys.

    A tile's place is (b, first query head, first query, first key); its logits are [groups, heads rows, columns], the
    queries of one head after those of another. The last block of queries or keys is moved back to end with the array,
    and so may repeat part of the one before it. Queries and what is shaped like them are [b, h, t, d] here.
    """

    def __init__(self, q, k, options: Options):
        (self.b, self.t, h, _), (_, self.s, groups, _) = q.shape, k.shape
        self.q_blocks, self.rows = even(self.t, ROWS)
        banded = options.left is not None or options.right is not None
        self.k_blocks, self.columns = even(self.s, COLUMNS if banded else WIDE)
        self.shared, self.options = h // groups, options
        room = LOGITS // (self.rows * self.columns)
        self.heads = _divisor(self.shared, room)
        self.groups = _divisor(groups, room // self.heads) if self.heads == self.shared else 1
        self.packs = self.shared // self.heads  # tiles of query heads that share a key head
        self.of_b = groups // self.groups  # tiles of key heads in an example

    def place(self, n, pack, block, column=0):
        """Of tile number n of key heads, tile `pack` of their query heads, a block of queries."""
        h = (n % self.of_b) * self.groups * self.shared + pack * self.heads
        return n // self.of_b, h, jnp.minimum(block * self.rows, self.t - self.rows), column

    def column(self, block):
        return jnp.minimum(block * self.columns, self.s - self.columns)

    def k_range(self, block):
        """The blocks of keys, first and past the last, that a block of queries sees."""
        return k_range(self.options, block * self.rows, self.rows, self.columns, self.k_blocks)

    def q_range(self, block):
        """The blocks of queries that see a block of keys."""
        return q_range(self.options, block * self.columns, self.rows, self.columns, self.q_blocks)

    def logits(self, q, k, x, at, blocks, repeated_rows=False):
        """The logits of the tile at `at`, -inf in columns that belong to the block before, and their slope.

        In rows that do so as well, if told to.
        """
        rows = self.per_head(at[2] + lax.broadcasted_iota(jnp.int32, (1, self.rows, 1), 1))
        columns = at[3] + lax.broadcasted_iota(jnp.int32, (1, 1, self.columns), 2)
        value, slope = logits(q, k, rows, columns, self.extra(x, at), self.options)
        if self.k_blocks * self.columns != self.s:
            value = jnp.where(columns >= blocks[1] * self.columns, value, -jnp.inf)
        if repeated_rows and self.q_blocks * self.rows != self.t:
            value = jnp.where(rows >= blocks[0] * self.rows, value, -jnp.inf)
        return value, slope

    def extra(self, x, at):
        """The tile's part of bias, mask and segment ids."""
        of_q, of_kv = x["q_segments"], x["kv_segments"]
        return {
            "bias": None if x["bias"] is None else self.square(x["bias"], at),
            "mask": None if x["mask"] is None else self.square(x["mask"], at),
            "q_segments": None if of_q is None else self.per_head(_part(of_q, at[0::2], (1, self.rows))[..., None]),
            "kv_segments": None if of_kv is None else _part(of_kv, at[0::3], (1, self.columns))[:, None],
        }

    def square(self, x, at):
        """The tile's part of x [b, h, t, s]; axes of size 1 are kept where they can be."""
        part = _part(x, at, (1, self.groups * self.heads, self.rows, self.columns))[0]  # [h, rows, columns]
        if part.shape[:2] == (1, 1):
            return part
        groups = self.groups if part.shape[0] > 1 else 1
        return jnp.broadcast_to(part, (groups * self.heads, self.rows, part.shape[2])).reshape(
            groups, -1, part.shape[2]
        )

    def per_head(self, x):
        """[1, rows, 1] repeated for every head that shares a key head."""
        return jnp.broadcast_to(x, (self.heads, self.rows, 1)).reshape(1, -1, 1)

    def column_of(self, x, at):
        """The tile's part of x [b, h, t] as a column."""
        return _part(x, at[:3], (1, self.groups * self.heads, self.rows)).reshape(self.groups, -1, 1)

    def queries(self, x, at):
        """The tile's part of x [b, h, t, d]: [groups, heads rows, d]."""
        part = _part(x, (*at[:3], 0), (1, self.groups * self.heads, self.rows, x.shape[3]))
        return part.reshape(self.groups, -1, x.shape[3])

    def put_queries(self, x, tile, at):
        """x [b, h, t, ...] with a tile [groups, heads rows, ...] put in its place."""
        tile = tile.astype(x.dtype).reshape(1, self.groups * self.heads, self.rows, *x.shape[3:])
        return lax.dynamic_update_slice(x, tile, (*at[:3], 0)[: x.ndim])

    def keys(self, x, at):
        """The tile's part of x [b, s, g, d]: [groups, columns, d]."""
        b, h, _, column = at
        part = _part(x, (b, column, h // self.shared, 0), (1, self.columns, self.groups, x.shape[3]))
        return jnp.swapaxes(part[0], 0, 1)


def _part(x, starts, sizes):
    """x[starts : starts + sizes]; an axis of size 1 is taken whole."""
    starts = [0 if n == 1 else start for n, start in zip(x.shape, starts, strict=True)]
    return lax.dynamic_slice(x, starts, [min(n, size) for n, size in zip(x.shape, sizes, strict=True)])


def _add(x, tile, starts):
    """x with a tile added, summed over the axes of size 1."""
    starts = [0 if n == 1 else start for n, start in zip(x.shape, starts, strict=True)]
    tile = tile.sum([axis for axis, n in enumerate(x.shape) if n == 1], keepdims=True).astype(x.dtype)
    return lax.dynamic_update_slice(x, lax.dynamic_slice(x, starts, tile.shape) + tile, starts)


def forward(*operands, options: Options):
    """[o, lse [b, h, t]]."""
    x = named(operands, options)
    q, k, v, gate, sink = (x[name] for name in ("q", "k", "v", "gate", "sink"))
    if q.shape[1] * k.shape[1] <= SMALL:
        return xla.forward(*operands, options=options)
    grid, dtype = Grid(q, k, options), jnp.promote_types(q.dtype, jnp.float32)
    q, gate = heads_first(q), None if gate is None else heads_first(gate)

    def rows(i, outputs):
        o, lse = outputs
        n, block = i // grid.q_blocks, i % grid.q_blocks
        at = grid.place(n // grid.packs, n % grid.packs, block)
        q_tile = grid.queries(q, at)

        def columns(j, state):
            here = *at[:3], grid.column(j)
            value, _ = grid.logits(q_tile, grid.keys(k, here), x, here, (block, j))
            return absorb(state, value, grid.keys(v, here))

        state = None
        if sink is not None or grid.k_blocks > 1:
            first = jnp.full((1, 1, 1), -jnp.inf, dtype)
            if sink is not None:
                first = _part(sink, at[:2], (1, grid.groups * grid.heads)).reshape(-1, 1, 1).astype(dtype)
            top = jnp.broadcast_to(first, (grid.groups * grid.heads, grid.rows, 1)).reshape(grid.groups, -1, 1)
            state = top, weights(top, top), jnp.zeros((*top.shape[:2], v.shape[3]), dtype)
        state = columns(0, state) if grid.k_blocks == 1 else lax.fori_loop(*grid.k_range(block), columns, state)
        out, out_lse = finish(state, None if gate is None else grid.queries(gate, at))
        return grid.put_queries(o, out, at), grid.put_queries(lse, out_lse, at)

    o = lax.empty((*q.shape[:3], v.shape[3]), q.dtype)
    lse = lax.empty(q.shape[:3], dtype)
    o, lse = lax.fori_loop(0, grid.b * grid.of_b * grid.packs * grid.q_blocks, rows, (o, lse))
    return [heads_first(o), lse]


def backward(*operands, with_bias: bool, options: Options):
    """[cotangents of q, k, v and, if told so, of the bias]; see `xla.backward`."""
    count = len(options.names())
    x = named(operands[:count], options)
    q, k, v, bias = x["q"], x["k"], x["v"], x["bias"]
    if q.shape[1] * k.shape[1] <= SMALL:
        return xla.backward(*operands, with_bias=with_bias, options=options)
    (lse, ct_y, ct_r), grid = operands[count:], Grid(q, k, options)
    q, ct_y = heads_first(q), heads_first(ct_y.astype(q.dtype))

    def keys(i, cts):
        n, block = i // grid.k_blocks, i % grid.k_blocks
        first_tile = grid.place(n, 0, 0, grid.column(block))
        k_tile, v_tile = grid.keys(k, first_tile), grid.keys(v, first_tile)
        first, last = grid.q_range(block)

        def queries(j, state):
            ct_q, ct_k, ct_v, *ct_bias = state
            q_block = first + j % (last - first)
            at = grid.place(n, j // (last - first), q_block, first_tile[3])
            q_tile, ct_tile = grid.queries(q, at), grid.queries(ct_y, at)
            value, slope = grid.logits(q_tile, k_tile, x, at, (q_block, block), repeated_rows=True)
            of_rows = grid.column_of(lse, at), q_tile, k_tile, v_tile, ct_tile, grid.column_of(ct_r, at)
            new, *cts, ct_value = cotangents(value, slope, *of_rows)
            ct_q = grid.put_queries(ct_q, grid.queries(ct_q, at) + new, at)
            if with_bias:
                ct_bias = [_add(ct_bias[0], ct_value.reshape(1, -1, grid.rows, grid.columns), at)]
            return ct_q, ct_k + cts[0], ct_v + cts[1], *ct_bias

        ct_q, ct_k, ct_v, *ct_bias = cts
        zeros = (jnp.zeros((grid.groups, a.shape[3], grid.columns), lse.dtype) for a in (k, v))
        state = (ct_q, *zeros, *ct_bias)
        ct_q, new_k, new_v, *ct_bias = lax.fori_loop(0, (last - first) * grid.packs, queries, state)
        # Added, not written: what this block repeats of the one before is zero here.
        starts = first_tile[0], first_tile[3], first_tile[1] // grid.shared, 0
        of_kv = (ct_k, new_k), (ct_v, new_v)
        ct_k, ct_v = (_add(ct, jnp.transpose(new, (2, 0, 1))[None], starts) for ct, new in of_kv)
        return ct_q, ct_k, ct_v, *ct_bias

    given = (q, k, v, bias) if with_bias else (q, k, v)
    cts = (jnp.zeros(q.shape, lse.dtype), jnp.zeros_like(k), jnp.zeros_like(v))
    if with_bias:
        cts = (*cts, jnp.zeros(bias.shape, lse.dtype))
    ct_q, *cts = lax.fori_loop(0, grid.b * grid.of_b * grid.k_blocks, keys, cts)
    return [ct.astype(a.dtype) for ct, a in zip((heads_first(ct_q), *cts), given, strict=True)]
