"""What the GPU kernel does to a tile: four ways to form its products, and which of them a tile needs.

Words are the bits of float32 numbers as int32: a word of x has the constant of `bits_operands` subtracted, one of y has
not, and zeros and subnormal numbers are +0 first. Then word_x + word_y is the L-Mul product, sign and all, unless an
operand is 0 or not finite, or the exponent leaves its range. Largest and smallest magnitudes tell before the kernel
starts which tiles are free of all that:

    plain     no zeros, every product in range:   x + y                       1 integer instruction, 1 addition
    zeros     in range but for zeros:             (x [y != 0] + y) [x != 0]   1 and 1: an IMAD and an FFMA
    guarded   a product over- or underflows:      clamp, add, compare, select, sign, and 1 addition
    special   infinities or NaNs: as guarded, and a product of floats adds what IEEE says of these
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from .fields import format_of, offset_bits, split

PLAIN, ZEROS, GUARDED, SPECIAL = range(4)
LEAST, LARGEST, INFINITY = 0x00800000, 0x7F7FFFFF, 0x7F800000
MAGNITUDE, SIGN = 0x7FFFFFFF, -0x80000000
TINY = 0x0D800000  # 2^-100, whose square is 0


class Term(NamedTuple):
    """One way to form products.

    row, column: what a word of x, and one of y, is turned into before it meets the other operand's: a tuple of arrays.
    product: of a row and a column, broadcast against each other, in float32.
    unrolled: whether to write out the loop over the terms that are added to each other first.
    """

    row: Callable[[Any], tuple]
    column: Callable[[Any], tuple]
    product: Callable[[tuple, tuple], Any]
    unrolled: bool


def constant_of(mantissa_bits: int) -> int:
    """What the sum of two magnitudes has too much: bias - 2^-l(m), in units of the last place."""
    return 0x3F800000 - (1 << (23 - offset_bits(mantissa_bits)))


def prepared(x, y, mantissa_bits, rounding):
    """Words of x and y in float32, and their magnitudes, unsigned."""
    (sign_x, a), (sign_y, b) = (split(z, mantissa_bits, rounding) for z in (x, y))
    word_x, word_y = jnp.where(a == 0, 0, sign_x | a), jnp.where(b == 0, 0, sign_y | b)
    word_x = word_x - format_of(jnp.float32).lane.type(constant_of(mantissa_bits))
    return [lax.bitcast_convert_type(z, jnp.int32) for z in (word_x, word_y)], (a, b)


def modes(a, b, constant, tile):
    """Which way each tile needs.

    Args:
        a: [g or 1, k, m] magnitudes of x. b: [g or 1, k, n] of y.
        tile: (terms, rows, columns) of a tile; they divide k, m and n.

    Returns:
        [g, blocks of m, blocks of n, blocks of k + 1] int32. The last one of k is 1, see `zeros`.
    """
    terms, rows, columns = tile
    (low_x, high_x, zero_x), (low_y, high_y, zero_y) = _ranges(a, terms, rows), _ranges(b, terms, columns)
    low_x, high_x, zero_x = (jnp.moveaxis(z, 1, 2)[:, :, None] for z in (low_x, high_x, zero_x))
    low_y, high_y, zero_y = (jnp.moveaxis(z, 1, 2)[:, None] for z in (low_y, high_y, zero_y))
    # Unsigned, and never a sum of both magnitudes, which may pass 2^32 where a block has zeros alone.
    least, largest = jnp.uint32(constant + LEAST), jnp.uint32(constant + LARGEST)
    floor = jnp.where(low_y < least, least - low_y, 0)
    inside = (low_x >= floor) & (high_x <= largest - high_y)
    mode = jnp.where(inside, jnp.where(zero_x | zero_y, ZEROS, PLAIN), GUARDED)
    mode = jnp.where((high_x > LARGEST) | (high_y > LARGEST), SPECIAL, mode)
    return jnp.pad(mode.astype(jnp.int32), [(0, 0)] * 3 + [(0, 1)], constant_values=1)


def _ranges(z, terms, width):
    """Of each block, its least magnitude but 0, the largest, and if it has a 0: [g, blocks of k, blocks of width]."""
    z = z.reshape(z.shape[0], z.shape[1] // terms, terms, z.shape[2] // width, width)
    low = jnp.min(jnp.where(z == 0, jnp.uint32(0xFFFFFFFF), z), (2, 4))
    return low, jnp.max(z, (2, 4)), jnp.any(z == 0, (2, 4))


def plain() -> Term:
    return Term(lambda x: (x,), lambda y: (y,), lambda row, column: _float(row[0] + column[0]), True)


def zeros(constant, one) -> Term:
    """`one` is 1 and comes from memory.

    LLVM turns a product with what it knows to be 0 or 1 into a select, and then an addition: one instruction more.
    """

    def row(x):
        zero = x == -constant
        return jnp.where(zero, 0, x), jnp.where(zero, 0.0, 1.0)

    def column(y):
        return y, jnp.minimum(y.astype(jnp.uint32), one).astype(jnp.int32)

    def product(row, column):
        (x, live_x), (y, live_y) = row, column
        # y for x = 0, 0 for y = 0: finite in any case, so that times 0 it is 0. A product with 1 rounds nothing.
        return _float(x * live_y + y) * live_x

    return Term(row, column, product, True)


def guarded(constant) -> Term:
    """As the lax form does, x and y in turned roles: a thread has fewer rows to prepare than columns.

    What is not finite gives a number or the infinity of the product's sign, which `special` then adds to.
    """

    def row(x):
        x = x + constant
        magnitude = x & MAGNITUDE
        addend = magnitude - constant
        floor = jnp.where(magnitude == 0, MAGNITUDE, jnp.maximum(LEAST - addend, 1))
        return addend, floor, INFINITY - jnp.maximum(addend, 0), x & SIGN

    def column(y):
        return y & MAGNITUDE, y & SIGN

    def product(row, column):
        (addend, floor, ceiling, sign_x), (b, sign_y) = row, column
        magnitude = jnp.where(b >= floor, jnp.minimum(b, ceiling) + addend, 0)
        return _float(magnitude | (sign_x ^ sign_y))

    # ptxas can have the multipliers add integers too, and shares additions out by what the whole kernel's code holds.
    # Written out, these comparisons would send all of `plain`'s there, where its float additions already go.
    return Term(row, column, product, False)


def special(constant) -> Term:
    """0 for finite numbers; an infinity or NaN times a number, with 2^-100 of its sign for one that is neither."""

    def mark(z):
        magnitude = z & MAGNITUDE
        sign = jnp.where(magnitude == 0, 0.0, _float((z & SIGN) | TINY))
        return (jnp.where(magnitude > LARGEST, _float(z), sign),)

    return Term(lambda x: mark(x + constant), mark, lambda row, column: row[0] * column[0], False)


def _float(z):
    return lax.bitcast_convert_type(z, jnp.float32)
