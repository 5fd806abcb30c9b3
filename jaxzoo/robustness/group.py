"""A group of prime order p = 2^61 - 1, and products of many powers in it.

The group is the subgroup of order p of the integers modulo 52 p + 1, a prime of 67 bits. It is a toy: whoever finds
discrete logarithms in it, by 2^30 products or far fewer by index calculus, can open a commitment to anything. What is
built on it takes elements as opaque integers and uses the functions of this file alone, so that a curve of the same
order, or of another with its field in the place of `m61`, can stand in for it.

Elements that a proof brings need no check of their order: the 52nd power is a homomorphism onto the subgroup that keeps
its elements' relations, so that equations between any elements hold between their parts of order p as well.
"""

import functools
import hashlib

import numpy as np

from jaxzoo.robustness.m61 import P

MODULUS = 52 * P + 1
"""119903836479112085453, a prime."""
ELEMENT_BYTES = 9
"""Bytes of an encoded element."""
SCALAR_BYTES = 8
"""Bytes of an encoded number below p."""
BYTE = 8


@functools.cache
def generator(name: str) -> int:
    """An element of order p of which nobody knows a relation to others of another name.

    NOTE(paper): 52nd powers of hashes, not of small integers: 4 = 2^2 and 6 = 2 * 3 would give generators with known
    relations, with which a commitment opens to more than one value.
    """
    digest = hashlib.sha256(b"jaxzoo generator " + name.encode()).digest()
    element = pow(int.from_bytes(digest, "big") % MODULUS, 52, MODULUS)
    if element in (0, 1):
        raise ValueError(f"name: {name!r} hashes to no generator; choose another")
    return element


@functools.cache
def generators(count: int) -> tuple[int, ...]:
    """The bases of the columns of a committed table: `count` generators, the same first ones for every count."""
    return tuple(generator(f"column {i}") for i in range(count))


def is_element(value) -> bool:
    """Whether an integer is the encoding of an element."""
    return isinstance(value, int) and 0 < value < MODULUS


def times(*elements: int) -> int:
    """The product of elements."""
    total = 1
    for element in elements:
        total = total * element % MODULUS
    return total


def power(element: int, exponent: int) -> int:
    """element^exponent, the exponent taken modulo p."""
    return pow(element, exponent % P, MODULUS)


def multi_power(elements, exponents) -> int:
    """prod_i elements[i]^exponents[i], by buckets (Pippenger): a window of bits costs one product for each element.

    Args:
      elements: n integers.
      exponents: n integers in [0, p).

    Returns:
      The product.
    """
    pairs = [(g, int(e)) for g, e in zip(elements, exponents, strict=True) if e and g != 1]
    if len(pairs) < 24:
        return times(*(pow(g, e, MODULUS) for g, e in pairs))
    window = max(3, len(pairs).bit_length() - 3)
    total = 1
    for start in reversed(range(0, 61, window)):
        buckets = [1] * (1 << window)
        for g, e in pairs:
            digit = e >> start & (1 << window) - 1
            buckets[digit] = buckets[digit] * g % MODULUS
        running, found = 1, 1
        for bucket in reversed(buckets[1:]):  # bucket j counts j times
            running = running * bucket % MODULUS
            found = found * running % MODULUS
        total = pow(total, 1 << window, MODULUS) * found % MODULUS
    return total


def commit_rows(matrix, bases) -> list[int]:
    """prod_j bases[j]^matrix[i, j] for every row i of small signed integers.

    By planes of bits, in two's complement, that share their squarings; products of columns are read from tables, eight
    columns at a time. A matrix of bits has one plane and costs an eighth of a product an entry.

    Args:
      matrix: [rows, columns] int64.
      bases: as many elements as there are columns.

    Returns:
      An element for every row.
    """
    if matrix.ndim != 2 or matrix.shape[1] != len(bases):
        raise ValueError(f"matrix: expected [rows, {len(bases)}], got {matrix.shape}")
    low, high = int(matrix.min(initial=0)), int(matrix.max(initial=0))
    planes = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0)
    tables = _byte_tables(tuple(bases))
    rows = [1] * len(matrix)
    if low < 0:
        rows = [pow(e, -1, MODULUS) for e in _plane(matrix < 0, tables)]  # the sign's weight is -2^planes
    for bit in reversed(range(planes)):
        ones = _plane(matrix >> bit & 1, tables)
        rows = [r * r % MODULUS * one % MODULUS for r, one in zip(rows, ones, strict=True)]
    return rows


def _plane(bits, tables) -> list[int]:
    """The product of the bases where a row of bits is 1, for every row."""
    products = []
    for row in np.packbits(bits.astype(bool), axis=1, bitorder="little"):
        total = 1
        for table, byte in zip(tables, row.tolist(), strict=True):
            if byte:
                total = total * table[byte] % MODULUS
        products.append(total)
    return products


@functools.lru_cache(maxsize=16)
def _byte_tables(bases):
    """For every eight bases, the products of their 256 subsets."""
    tables = []
    for start in range(0, len(bases), BYTE):
        table = [1]
        for base in bases[start : start + BYTE]:
            table += [product * base % MODULUS for product in table]
        tables.append(table)
    return tables
