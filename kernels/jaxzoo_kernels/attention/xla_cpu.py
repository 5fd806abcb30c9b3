"""Attention in pure lax for CPUs: tiles that stay in cache, each a few matrix products, one after the other.

Sequences so short that an example's logits fit into the cache are taken some examples at a time, all heads at once,
unless a diagonal leaves out enough of them. Others are cut into tiles (cpu_grid.py) where they lie, whose results are
written in place, so that memory beyond the operands is that of a tile. A large batch of small products is slow on CPU
and so is one small product: a tile is as many queries as its size allows, then as many heads that share a key head, all
rows of one product, then key heads, a small batch of products. XLA shares each product and each pass over a tile among
the cores. What a band hides is not visited, but for a corner in every strip along its diagonal.
"""

import jax
import jax.numpy as jnp
from jax import lax

from . import xla
from .cpu_grid import ROWS, Grid, add, cut
from .options import Options, named
from .tile import absorb, cotangents, finish, weights
from .xla import heads_first

AT_ONCE = 1 << 20  # logits up to which all heads of some examples are faster than tiles
STRIP, STRIP_BACKWARD = 128, 256  # rows of a strip along the diagonal at least


def forward(*operands, options: Options):
    """[o, lse [b, h, t]]."""
    if examples := _at_once(*operands[:2], options, STRIP):
        return _in_chunks(lambda *operands: xla.forward(*operands, options=options), operands, examples)
    x = named(operands, options)
    q, k, v, gate, sink = (x[name] for name in ("q", "k", "v", "gate", "sink"))
    grid, dtype = Grid(q, k, options, STRIP), jnp.promote_types(q.dtype, jnp.float32)
    q, k, v, gate = (None if a is None else heads_first(a) for a in (q, k, v, gate))

    def start(tile):
        """The state of a tile's rows before the first key."""
        first = jnp.full((1, 1, 1), -jnp.inf, dtype)
        if sink is not None:
            first = cut(sink, tile[:2], (1, grid.groups * grid.heads)).reshape(-1, 1, 1).astype(dtype)
        top = jnp.broadcast_to(first, (grid.groups * grid.heads, tile.rows, 1)).reshape(grid.groups, -1, 1)
        return top, weights(top, top), jnp.zeros((*top.shape[:2], v.shape[3]), dtype)

    def seen(state, tile):
        """The state of a tile's rows after its keys."""
        value, _ = grid.logits(grid.queries(q, tile), grid.keys(k, tile), x, tile)
        return absorb(state, value, grid.keys(v, tile))

    def put(outputs, state, tile):
        out = finish(state, None if gate is None else grid.queries(gate, tile))
        return [grid.put_queries(a, rows, tile) for a, rows in zip(outputs, out, strict=True)]

    def rows(i, outputs):
        block = grid.block(i)._replace(first_row=None)  # rows that are repeated come out the same
        state = None
        if not grid.diagonal and grid.k_blocks == 1:
            return put(outputs, seen(None if sink is None else start(block), block), block)
        if not grid.strips_alone:
            body = lambda j, state: seen(state, grid.numbered(block, j))  # noqa: E731
            state = lax.fori_loop(*grid.whole(block), body, start(block))
        for first, strip in grid.strips(block):
            if state is not None:
                before = tuple(grid.of_strip(a, first, strip) for a in state)
            else:
                before = None if sink is None else start(strip)
            outputs = put(outputs, seen(before, strip), strip)
        return outputs if grid.diagonal else put(outputs, state, block)

    outputs = [lax.empty((*q.shape[:3], v.shape[3]), q.dtype), lax.empty(q.shape[:3], dtype)]
    o, lse = lax.fori_loop(0, grid.row_blocks, rows, outputs)
    return [heads_first(o), lse]


def backward(*operands, with_bias: bool, options: Options):
    """[cotangents of q, k, v and, if told so, of the bias]; see `xla.backward`."""
    examples = _at_once(*operands[:2], options, STRIP_BACKWARD)
    if examples and (not with_bias or examples >= operands[0].shape[0]):
        of_examples = lambda *operands: xla.backward(*operands, with_bias=with_bias, options=options)  # noqa: E731
        return _in_chunks(of_examples, operands, examples)
    count = len(options.names())
    x = named(operands[:count], options)
    given = [x[name] for name in ("q", "k", "v", *(("bias",) if with_bias else ()))]
    (lse, ct_y, ct_r), grid = operands[count:], Grid(*given[:2], options, STRIP_BACKWARD)
    q, k, v, ct_y = map(heads_first, (*given[:3], ct_y.astype(given[0].dtype)))

    def add_tile(tile, cts):
        ct_q, ct_k, ct_v, *ct_bias = cts
        q_tile, k_tile, v_tile = grid.queries(q, tile), grid.keys(k, tile), grid.keys(v, tile)
        value, slope = grid.logits(q_tile, k_tile, x, tile)
        of_rows = grid.queries(ct_y, tile), grid.column_of(ct_r, tile)
        new_q, new_k, new_v, ct_value = cotangents(
            value, slope, grid.column_of(lse, tile), q_tile, k_tile, v_tile, *of_rows
        )
        of_keys = tile.b, tile.h // grid.shared, 0, tile.column
        ct_q = grid.put_queries(ct_q, grid.queries(ct_q, tile) + new_q, tile)
        ct_k, ct_v = add(ct_k, new_k[None], of_keys), add(ct_v, new_v[None], of_keys)
        if with_bias:
            ct_bias = [add(ct_bias[0], ct_value.reshape(1, -1, tile.rows, tile.columns), tile[:4])]
        return ct_q, ct_k, ct_v, *ct_bias

    def rows(i, cts):
        block = grid.block(i)
        for part in [] if grid.strips_alone else grid.parts(block, ROWS):
            cts = lax.fori_loop(*grid.whole(part), lambda j, cts, part=part: add_tile(grid.numbered(part, j), cts), cts)
        for _, strip in grid.strips(block):
            cts = add_tile(strip, cts)
        return cts

    transposed = (jnp.zeros((*a.shape[:2], a.shape[3], a.shape[2]), lse.dtype) for a in (k, v))  # [b, g, d, s]
    cts = (jnp.zeros(q.shape, lse.dtype), *transposed, *(jnp.zeros(a.shape, lse.dtype) for a in given[3:]))
    ct_q, ct_k, ct_v, *ct_bias = lax.fori_loop(0, grid.row_blocks, rows, cts)
    cts = heads_first(ct_q), *(jnp.transpose(a, (0, 3, 1, 2)) for a in (ct_k, ct_v)), *ct_bias
    return [ct.astype(a.dtype) for ct, a in zip(cts, given, strict=True)]


def _at_once(q, k, options: Options, strip: int) -> int:
    """How many examples to take at once, all of their heads; 0 where tiles are faster.

    They are where one example has too many logits already, and where a band ends on a diagonal long enough for strips
    that leave out a part of them.
    """
    (b, t, h, _), s = q.shape, k.shape[1]
    if 0 in (b, t, h, s):
        return max(b, 1)
    if options.right is not None and t >= 2 * strip:
        return 0
    return min(b, AT_ONCE // (h * t * s))


def _in_chunks(function, operands, examples: int):
    """`function(*operands)` for so many examples at a time, operands and results having them in front."""
    b = operands[0].shape[0]
    if examples >= b:
        return function(*operands)

    def chunk(i, results):
        first = jnp.minimum(i * examples, b - examples)  # the last ones may be repeated, and come out the same
        given = [a if a.shape[0] == 1 else lax.dynamic_slice_in_dim(a, first, examples) for a in operands]
        new = function(*given)
        return [lax.dynamic_update_slice_in_dim(a, x, first, 0) for a, x in zip(results, new, strict=True)]

    one = jax.eval_shape(function, *(jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype) for a in operands))
    results = [lax.empty((b, *a.shape[1:]), a.dtype) for a in one]
    return lax.fori_loop(0, -(-b // examples), chunk, results)
