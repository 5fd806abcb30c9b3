"""Numbers below p = 2^61 - 1 as five limbs of 13, 13, 13, 13 and 9 bits, in 32-bit integers of either sign.

`rounds(carried, limbs)` applies a round of carries three times: XLA wants a loop there (`xla`), Mosaic needs none.
"""

from jax import lax

BITS, TOP = 13, 9
MASK, TOP_MASK = (1 << BITS) - 1, (1 << TOP) - 1


def split(low, high):
    """The limbs of a pair of words."""
    middle = right(low, 26) | high << 6
    return low & MASK, right(low, 13) & MASK, middle & MASK, right(high, 7) & MASK, right(high, 20)


def join(limbs):
    """The words of limbs within their bits."""
    a, b, c, d, e = limbs
    return a | b << 13 | c << 26, right(c, 6) | d << 7 | e << 20


def multiply(a, b, rounds):
    """a b, reduced.

    With weights 2^(13 k): column k is sum a_i b_(k-i), and column k + 5 counts 2^65 = 2^4 times in column k. As the
    last limbs have 9 bits, the largest, column 0 with 16 times column 5, is below 2^26 + 16 (2 2^26 + 2 2^22) < 2^32.
    """
    columns = [sum_of(a[i] * b[k - i] for i in range(5) if 0 <= k - i < 5) for k in range(9)]
    return reduce([c + (columns[k + 5] << 4) if k < 4 else c for k, c in enumerate(columns[:5])], rounds)


def add(a, b, rounds):
    """a + b, reduced."""
    return reduce([x + y for x, y in zip(a, b, strict=True)], rounds)


def subtract(a, b, rounds):
    """a - b = a + (p - b), reduced: p is all ones, so p - b has no borrows."""
    masks = (MASK, MASK, MASK, MASK, TOP_MASK)
    return reduce([x + (m - y) for x, y, m in zip(a, b, masks, strict=True)], rounds)


def reduce(limbs, rounds):
    """The number below p that unsigned 32-bit limbs stand for.

    After one round of carries limb 0 is below 2^24, after two at most 2^13, after three all are within their bits. What
    then remains is p itself, which is 0.
    """
    a, b, c, d, e = rounds(carried, limbs)
    is_p = ((a & b & c & d) == MASK) & (e == TOP_MASK)
    return [lax.select(is_p, lax.full_like(x, 0), x) for x in (a, b, c, d, e)]


def carried(limbs):
    """One round of carries; what leaves the last limb weighs 2^61 = 1."""
    out, carry = [], None
    for k, limb in enumerate(limbs):
        limb = limb if carry is None else limb + carry
        bits = BITS if k < 4 else TOP
        out.append(limb & ((1 << bits) - 1))
        carry = right(limb, bits)
    return [out[0] + carry, *out[1:]]


def right(x, bits):
    """x >> bits, of the bits alone."""
    return lax.shift_right_logical(x, lax.full_like(x, bits))


def sum_of(terms):
    """The sum, without a 0 to begin with."""
    total = None
    for term in terms:
        total = term if total is None else total + term
    return total
