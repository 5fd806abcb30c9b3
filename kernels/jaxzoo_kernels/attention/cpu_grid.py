"""How attention on CPU is cut into tiles."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from .options import Options, even
from .tile import k_range, logits

ROWS, COLUMNS = 512, 1024  # of one tile at most
STRIPS = 4  # of a diagonal tile at most


def divisor(n: int, most: int) -> int:
    """The largest divisor of n up to `most`, at least 1."""
    return max(i for i in range(1, n + 1) if n % i == 0 and (i == 1 or i <= most))


class Tile(NamedTuple):
    """Some queries against some keys.

    b, h, row, column: its place: example, first query head, first query, first key. rows, columns: its size.
    first_row, first_column, end_column: where what belongs to this tile begins and ends, None for its own edges.
    """

    b: jax.Array
    h: jax.Array
    row: jax.Array
    column: jax.Array | int
    rows: int
    columns: int
    first_row: jax.Array | None = None
    first_column: jax.Array | None = None
    end_column: jax.Array | None = None


class Grid:
    """How one call is cut: tiles of `groups` key heads of `heads` query heads, by `rows` queries, by `columns` keys.

    A tile's logits are [groups, heads rows, columns], the queries of one head after those of another. The last block of
    queries or keys is moved back to end with the array, and so repeats part of the one before it where the blocks are
    not even. Queries and what is shaped like them are [b, h, t, d] here.

    Where a band ends on a diagonal that every block of queries crosses within the array, a block is tiles up to the
    first key that its first query does not see, and then strips of its rows, each with as many keys more as its last
    row sees; with a narrow window or few keys, strips alone, which then begin with the first key.

    Args:
        q, k: [b, t, h, d] and [b, s, g, d]. strip: rows of a strip at least.
    """

    def __init__(self, q, k, options: Options, strip: int):
        (self.b, self.t, h, _), (_, self.s, groups, _) = q.shape, k.shape
        self.shared, self.options, self.strip = h // groups, options, strip
        left, right = options.left, options.right
        ahead = None if right is None else options.offset + right
        self.diagonal = ahead is not None and 0 <= ahead <= self.s - self.t
        plain = left is None and right is None
        self.q_blocks, self.rows = even(self.t, COLUMNS if self.diagonal else ROWS)
        self.k_blocks, self.columns = even(self.s, COLUMNS if plain or self.diagonal else ROWS)
        room = ROWS * ROWS // (self.rows * self.columns)
        self.heads = divisor(self.shared, room)
        self.groups = divisor(groups, room // self.heads) if self.heads == self.shared else 1
        self.packs = self.shared // self.heads  # tiles of query heads that share a key head
        self.of_b = groups // self.groups  # tiles of key heads in an example
        self.row_blocks = self.b * self.of_b * self.packs * self.q_blocks
        few = self.q_blocks == 1 and self.s <= COLUMNS
        narrow = left is not None and right is not None and left + right <= COLUMNS - ROWS
        self.strips_alone = self.diagonal and (few or narrow)

    def block(self, i) -> Tile:
        """Row block number i, without keys yet."""
        n, block = i // self.q_blocks, i % self.q_blocks
        n, pack = n // self.packs, n % self.packs
        h = (n % self.of_b) * self.groups * self.shared + pack * self.heads
        row = jnp.minimum(block * self.rows, self.t - self.rows)
        first = None if self.q_blocks * self.rows == self.t else block * self.rows
        end = row + (self.options.offset + self.options.right) if self.diagonal else None
        return Tile(n // self.of_b, h, row, 0, self.rows, self.columns, first_row=first, end_column=end)

    def parts(self, block: Tile, most: int) -> list[Tile]:
        """A block in parts of so many rows at most."""
        starts = range(0, block.rows, most)
        return [block._replace(row=block.row + i, rows=min(most, block.rows - i)) for i in starts]

    def whole(self, rows: Tile):
        """The numbers, first and past the last, of the whole tiles of some rows."""
        first, last = k_range(self.options, rows.row, rows.rows, self.columns, self.k_blocks)
        return first, last if rows.end_column is None else (rows.end_column + self.columns - 1) // self.columns

    def numbered(self, rows: Tile, j) -> Tile:
        """Whole tile number j of some rows."""
        first = None if self.k_blocks * self.columns == self.s else j * self.columns
        return rows._replace(column=jnp.minimum(j * self.columns, self.s - self.columns), first_column=first)

    def strips(self, block: Tile) -> list[tuple[int, Tile]]:
        """The strips of a block, and the row of the block that each begins with."""
        if not self.diagonal:
            return []
        count = min(STRIPS, max(1, self.rows // self.strip))
        ends = [self.rows * (i + 1) // count for i in range(count)]
        return [(start, self._strip(block, start, end)) for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def _strip(self, block: Tile, start: int, end: int) -> Tile:
        """Rows start .. end - 1 of a block and the keys that they see, counted from the diagonal's first."""
        left, right = self.options.left, self.options.right
        first = -self.s if left is None else start - left - right
        first = max(first, -self.s if self.strips_alone else 0)
        if self.q_blocks == 1:
            first = max(first, -(self.options.offset + right))  # the first of all keys
        columns = min(self.s, end - first)
        column = jnp.clip(block.end_column + first, 0, self.s - columns)
        strip = block._replace(row=block.row + start, rows=end - start, column=column, columns=columns)
        return strip._replace(end_column=None)

    def logits(self, q, k, x, tile: Tile):
        """The logits of a tile, -inf where they belong to another one, and their slope."""
        rows = self.per_head(tile.row + lax.broadcasted_iota(jnp.int32, (1, tile.rows, 1), 1))
        columns = tile.column + lax.broadcasted_iota(jnp.int32, (1, 1, tile.columns), 2)
        value, slope = logits(q, k, rows, columns, self.extra(x, tile), self.options)
        for foreign in (
            None if tile.first_row is None else rows < tile.first_row,
            None if tile.first_column is None else columns < tile.first_column,
            None if tile.end_column is None else columns >= tile.end_column,
        ):
            value = value if foreign is None else jnp.where(foreign, -jnp.inf, value)
        return value, slope

    def extra(self, x, tile: Tile):
        """The tile's part of bias, mask and segment ids."""
        of_q, of_kv = x["q_segments"], x["kv_segments"]
        if of_q is not None:
            of_q = self.per_head(cut(of_q, (tile.b, tile.row), (1, tile.rows))[..., None])
            of_kv = cut(of_kv, (tile.b, tile.column), (1, tile.columns))[:, None]
        return {
            "bias": None if x["bias"] is None else self.square(x["bias"], tile),
            "mask": None if x["mask"] is None else self.square(x["mask"], tile),
            "q_segments": of_q,
            "kv_segments": of_kv,
        }

    def square(self, x, tile: Tile):
        """The tile's part of x [b, h, t, s]; axes of size 1 are kept where they can be."""
        x = cut(x, tile[:4], (1, self.groups * self.heads, tile.rows, tile.columns))[0]  # [h, rows, columns]
        if x.shape[:2] == (1, 1):
            return x
        groups = self.groups if x.shape[0] > 1 else 1
        return jnp.broadcast_to(x, (groups * self.heads, tile.rows, x.shape[2])).reshape(groups, -1, x.shape[2])

    def per_head(self, x):
        """[1, rows, 1] repeated for every head that shares a key head."""
        return jnp.broadcast_to(x, (self.heads, *x.shape[1:])).reshape(1, -1, 1)

    def column_of(self, x, tile: Tile):
        """The tile's part of x [b, h, t] as a column."""
        return cut(x, tile[:3], (1, self.groups * self.heads, tile.rows)).reshape(self.groups, -1, 1)

    def queries(self, x, tile: Tile):
        """The tile's part of x [b, h, t, d]: [groups, heads rows, d]."""
        x = cut(x, (*tile[:3], 0), (1, self.groups * self.heads, tile.rows, x.shape[3]))
        return x.reshape(self.groups, -1, x.shape[3])

    def put_queries(self, x, rows, tile: Tile):
        """x [b, h, t, ...] with rows [groups, heads rows, ...] put in the tile's place."""
        rows = rows.astype(x.dtype).reshape(1, self.groups * self.heads, tile.rows, *x.shape[3:])
        return lax.dynamic_update_slice(x, rows, (*tile[:3], 0)[: x.ndim])

    def of_strip(self, x, start: int, tile: Tile):
        """Of rows [groups, heads rows, ...] of a block, those of its strip that begins with row `start`."""
        x = x.reshape(self.groups, self.heads, -1, *x.shape[2:])[:, :, start : start + tile.rows]
        return x.reshape(self.groups, -1, *x.shape[3:])

    def keys(self, x, tile: Tile):
        """The tile's part of x [b, g, s, d]: [groups, columns, d]."""
        place = tile.b, tile.h // self.shared, tile.column, 0
        return cut(x, place, (1, self.groups, tile.columns, x.shape[3]))[0]


def cut(x, starts, sizes):
    """x[starts : starts + sizes]; an axis of size 1 is taken whole."""
    starts = [0 if n == 1 else start for n, start in zip(x.shape, starts, strict=True)]
    return lax.dynamic_slice(x, starts, [min(n, size) for n, size in zip(x.shape, sizes, strict=True)])


def add(x, tile, starts):
    """x with a tile added, summed over the axes of size 1."""
    starts = [0 if n == 1 else start for n, start in zip(x.shape, starts, strict=True)]
    tile = tile.sum([axis for axis, n in enumerate(x.shape) if n == 1], keepdims=True).astype(x.dtype)
    return lax.dynamic_update_slice(x, lax.dynamic_slice(x, starts, tile.shape) + tile, starts)
