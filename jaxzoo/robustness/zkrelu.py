"""zkReLU: what ReLU and rounding do to numbers, said by their bits.

A tensor V and its rounding V' = rescale(V) are one string of bits for every entry: Q bits of V' and R of the remainder,
both in two's complement. Then V, V' and the sign are linear functions of the bits,

    V' = sum_j w_j bit_j over the first Q, w = (1, 2 .. 2^(Q-2), -2^(Q-1)),   V = 2^R V' + remainder

and ReLU and its gradient are products with the sign bit: A = (1 - s) V', G_Z = (1 - s) rescale(G_A). So once every bit
is proved to be 0 or 1, ranges, rounding and sign need no proof of their own.

Source: Sun, Bai, Li, Zhang, "zkDL" (arXiv 2307.16273), Sec. 4.1.
"""

import numpy as np

from jaxzoo.robustness.fixed_point import rescale
from jaxzoo.robustness.m61 import P


def padded(n: int) -> int:
    """The least power of two that is at least n."""
    return 1 << (n - 1).bit_length()


def to_bits(v, bits: int):
    """Two's complement of `bits` bits, the lowest first, on a new last axis.

    Args:
      v: [...] int64.
      bits: how many.

    Returns:
      [..., bits] int64, 0 or 1.

    Raises:
      ValueError: a number is outside [-2^(bits-1), 2^(bits-1)).
    """
    if v.size and not (-(1 << bits - 1) <= v.min() and v.max() < 1 << bits - 1):
        raise ValueError(f"v: expected numbers of {bits} bits, got {v.min()} to {v.max()}")
    return v[..., None] >> np.arange(bits) & 1


def zkrelu_aux(v, whole: int, fraction: int):
    """The bits of V' = rescale(V) and of its remainder.

    Args:
      v: [...] int64, V.
      whole: Q, bits of V'.
      fraction: R, bits of the remainder, by which V is rescaled.

    Returns:
      [..., padded(Q + R)] int64, 0 or 1; 0 past Q + R.

    Raises:
      ValueError: V' has more than Q bits.
    """
    rounded = rescale(v, fraction)
    bits = [to_bits(rounded, whole), to_bits(v - (rounded << fraction), fraction)]
    spare = padded(whole + fraction) - whole - fraction
    return np.concatenate([*bits, np.zeros((*v.shape, spare), np.int64)], -1)


def twos_complement(bits: int) -> list[int]:
    """The weights of the bits: 1, 2 .. and minus for the last."""
    return [1 << j for j in range(bits - 1)] + [-(1 << bits - 1)]


def recovery(whole: int, fraction: int) -> dict[str, np.ndarray]:
    """What is linear in the bits of an entry, as vectors of weights.

    Args:
      whole, fraction: Q and R.

    Returns:
      {"value": V, "rounded": V', "sign": s}, each [padded(Q + R)] uint64 below p.
    """
    spare = [0] * (padded(whole + fraction) - whole - fraction)
    rounded, rest = twos_complement(whole), twos_complement(fraction)
    weights = {
        "value": [w << fraction for w in rounded] + rest,
        "rounded": rounded + [0] * fraction,
        "sign": [0] * (whole - 1) + [1] + [0] * fraction,
    }
    return {name: np.array([w % P for w in [*row, *spare]], np.uint64) for name, row in weights.items()}
