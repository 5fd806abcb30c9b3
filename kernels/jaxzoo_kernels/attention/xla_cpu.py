"""Attention in pure lax for CPUs: tiles that stay in cache, each a few plain matrix products, head after head.

Tiles are cut from the operands where they lie and written into the results in place, so memory beyond those is that of
a tile. A batch of small products is slow on CPU, which is why heads are not batched; XLA shares each product and each
pass over a tile among the cores, for which a tile has to be large. Blocks of keys that a band hides are not visited.
"""

import jax.numpy as jnp
from jax import lax

from . import xla
from .options import Options, even, named
from .tile import cotangents, dot, finite, logits

ROWS, COLUMNS = 512, 512  # of one tile at most
WIDE = 1024  # columns where no band is cut from the logits
SMALL = 64 * 64  # logits per head up to which all heads at once are faster


class Grid:
    """How one call is cut: `t` queries in `q_blocks` of `rows`, `s` keys in `k_blocks` of `columns`.

    The last block of either is moved back to end with the array, and so may repeat part of the one before it.
    """

    def __init__(self, q, k, options):
        (self.b, self.t, self.h, _), (_, self.s, self.groups, _) = q.shape, k.shape
        self.q_blocks, self.rows = even(self.t, ROWS)
        banded = options.left is not None or options.right is not None
        self.k_blocks, self.columns = even(self.s, COLUMNS if banded else WIDE)
        self.options = options

    def row(self, block):
        return jnp.minimum(block * self.rows, self.t - self.rows)

    def column(self, block):
        return jnp.minimum(block * self.columns, self.s - self.columns)

    def k_range(self, block):
        """The blocks of keys, first and past the last, that a block of queries sees."""
        o, row = self.options, block * self.rows + self.options.offset
        first = 0 if o.left is None else (row - o.left) // self.columns
        last = self.k_blocks if o.right is None else (row + self.rows - 1 + o.right) // self.columns + 1
        return jnp.clip(first, 0, self.k_blocks), jnp.clip(last, 0, self.k_blocks)

    def q_range(self, block):
        """The blocks of queries that see a block of keys."""
        o, column = self.options, block * self.columns - self.options.offset
        first = 0 if o.right is None else (column - o.right) // self.rows
        last = self.q_blocks if o.left is None else (column + self.columns - 1 + o.left) // self.rows + 1
        return jnp.clip(first, 0, self.q_blocks), jnp.clip(last, 0, self.q_blocks)

    def new_rows(self, value, rows, block):
        """The logits of a tile, -inf in rows that belong to the block before."""
        if self.q_blocks * self.rows == self.t:
            return value
        return jnp.where(rows >= block * self.rows, value, -jnp.inf)

    def new_columns(self, value, columns, block):
        """The logits of a tile, -inf in columns that belong to the block before."""
        if self.k_blocks * self.columns == self.s:
            return value
        return jnp.where(columns >= block * self.columns, value, -jnp.inf)

    def positions(self, row, column):
        rows = row + lax.broadcasted_iota(jnp.int32, (self.rows, 1), 0)
        return rows, column + lax.broadcasted_iota(jnp.int32, (1, self.columns), 1)

    def extra(self, x, b, h, row, column):
        """The tile's part of bias, mask and segment ids."""
        square = (b, h, row, column), (1, 1, self.rows, self.columns)
        return {
            "bias": _part(x["bias"], *square, (0, 1)),
            "mask": _part(x["mask"], *square, (0, 1)),
            "q_segments": _part(_column(x["q_segments"]), (b, row, 0), (1, self.rows, 1), (0,)),
            "kv_segments": _part(_row(x["kv_segments"]), (b, 0, column), (1, 1, self.columns), (0,)),
        }


def _column(x):
    return None if x is None else x[:, :, None]


def _row(x):
    return None if x is None else x[:, None]


def _part(x, starts, sizes, drop):
    """x[starts : starts + sizes] without the axes `drop`; an axis of size 1 is taken whole."""
    if x is None:
        return None
    starts = [0 if n == 1 else start for n, start in zip(x.shape, starts, strict=True)]
    sizes = [min(n, size) for n, size in zip(x.shape, sizes, strict=True)]
    return lax.squeeze(lax.dynamic_slice(x, starts, sizes), drop)


def _cut(x, b, row, h, rows):
    """[rows, d] of [b, t, h, d]."""
    return _part(x, (b, row, h, 0), (1, rows, 1, x.shape[3]), (0, 2))


def _put(x, tile, b, row, h):
    return lax.dynamic_update_slice(x, tile.astype(x.dtype)[None, :, None], (b, row, h, 0))


def _add(x, tile, starts):
    """x with a tile added, summed over the axes of size 1."""
    starts = [0 if n == 1 else start for n, start in zip(x.shape, starts, strict=True)]
    tile = tile.sum([axis for axis, n in enumerate(x.shape) if n == 1], keepdims=True)
    return lax.dynamic_update_slice(x, lax.dynamic_slice(x, starts, tile.shape) + tile, starts)


def forward(*operands, options: Options):
    """[o, lse [b, h, t]]."""
    x = named(operands, options)
    q, k, v, gate, sink = (x[name] for name in ("q", "k", "v", "gate", "sink"))
    if q.shape[1] * k.shape[1] <= SMALL:
        return xla.forward(*operands, options=options)
    grid, dtype = Grid(q, k, options), jnp.promote_types(q.dtype, jnp.float32)

    def rows(i, outputs):
        o, lse = outputs
        n, block = i // grid.q_blocks, i % grid.q_blocks
        b, h = n // grid.h, n % grid.h
        g, row = h // (grid.h // grid.groups), grid.row(block)
        q_tile = _cut(q, b, row, h, grid.rows)

        def columns(j, state):
            top, total, acc = state
            column = grid.column(j)
            at = grid.positions(row, column)
            k_tile, v_tile = (_cut(a, b, column, g, grid.columns) for a in (k, v))
            value, _ = logits(q_tile, k_tile, *at, grid.extra(x, b, h, row, column), options)
            value = grid.new_columns(value, at[1], j)
            new_top = jnp.maximum(top, value.max(-1))
            p = jnp.exp(value - finite(new_top)[:, None])
            shrink = jnp.exp(top - finite(new_top))
            product = dot("ts,sd->td", p.astype(v.dtype), v_tile)
            return new_top, total * shrink + p.sum(-1), acc * shrink[:, None] + product

        top = jnp.full(grid.rows, -jnp.inf, dtype)
        total = jnp.zeros(grid.rows, dtype)
        if sink is not None:
            top = top.at[:].set(_part(sink, (b, h), (1, 1), (0, 1)).astype(dtype))
            total = total + 1
        state = top, total, jnp.zeros((grid.rows, v.shape[3]), dtype)
        state = columns(0, state) if grid.k_blocks == 1 else lax.fori_loop(*grid.k_range(block), columns, state)
        top, total, acc = state
        some = jnp.where(total == 0, 1.0, total)
        out = acc / some[:, None]
        if gate is not None:
            out = out / (1 + jnp.exp(-_cut(gate, b, row, h, grid.rows).astype(dtype)))
        row_lse = (top + jnp.log(some))[None, None]
        return _put(o, out, b, row, h), lax.dynamic_update_slice(lse, row_lse, (b, h, row))

    o = lax.empty((*q.shape[:3], v.shape[3]), q.dtype)
    lse = lax.empty((grid.b, grid.h, grid.t), dtype)
    return list(lax.fori_loop(0, grid.b * grid.h * grid.q_blocks, rows, (o, lse)))


def backward(*operands, with_bias: bool, options: Options):
    """[cotangents of q, k, v and, if told so, of the bias]; see `xla.backward`."""
    count = len(options.names())
    x = named(operands[:count], options)
    q, k, v, bias = x["q"], x["k"], x["v"], x["bias"]
    if q.shape[1] * k.shape[1] <= SMALL:
        return xla.backward(*operands, with_bias=with_bias, options=options)
    (lse, ct_y, ct_r), grid = operands[count:], Grid(q, k, options)
    ct_y, shared = ct_y.astype(q.dtype), grid.h // grid.groups

    def keys(i, cts):
        n, block = i // grid.k_blocks, i % grid.k_blocks
        b, g, column = n // grid.groups, n % grid.groups, grid.column(block)
        k_tile, v_tile = (_cut(a, b, column, g, grid.columns) for a in (k, v))
        first, last = grid.q_range(block)

        def queries(j, state):
            ct_q, ct_k, ct_v, *ct_bias = state
            h, q_block = g * shared + j // (last - first), first + j % (last - first)
            row = grid.row(q_block)
            at = grid.positions(row, column)
            q_tile, ct_tile = (_cut(a, b, row, h, grid.rows) for a in (q, ct_y))
            value, slope = logits(q_tile, k_tile, *at, grid.extra(x, b, h, row, column), options)
            value = grid.new_columns(grid.new_rows(value, at[0], q_block), at[1], block)
            lse_tile, ct_r_tile = (_part(a, (b, h, row), (1, 1, grid.rows), (0, 1)) for a in (lse, ct_r))
            new, *cts, ct_value = cotangents(value, slope, lse_tile, q_tile, k_tile, v_tile, ct_tile, ct_r_tile)
            ct_q = _put(ct_q, _cut(ct_q, b, row, h, grid.rows) + new, b, row, h)
            if with_bias:
                ct_bias = [_add(ct_bias[0], ct_value[None, None], (b, h, row, column))]
            return ct_q, ct_k + cts[0], ct_v + cts[1], *ct_bias

        zeros = (jnp.zeros((a.shape[3], grid.columns), lse.dtype) for a in (k, v))
        ct_q, ct_k, ct_v, *ct_bias = cts
        state = lax.fori_loop(0, (last - first) * shared, queries, (ct_q, *zeros, *ct_bias))
        # Added, not written: what this block repeats of the one before is zero here.
        of_kv = zip((ct_k, ct_v), state[1:3], strict=True)
        ct_k, ct_v = (_put(ct, _cut(ct, b, column, g, grid.columns) + new.T, b, column, g) for ct, new in of_kv)
        return state[0], ct_k, ct_v, *state[3:]

    given = (q, k, v, bias) if with_bias else (q, k, v)
    cts = (jnp.zeros(q.shape, lse.dtype), jnp.zeros_like(k), jnp.zeros_like(v))
    if with_bias:
        cts = (*cts, jnp.zeros(bias.shape, lse.dtype))
    cts = lax.fori_loop(0, grid.b * grid.groups * grid.k_blocks, keys, cts)
    return [ct.astype(a.dtype) for ct, a in zip(cts, given, strict=True)]
