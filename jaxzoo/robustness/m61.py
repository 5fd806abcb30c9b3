"""The field of p = 2^61 - 1 elements in uint64, and vectors of it: what the proofs of `zkdl` compute in.

p is a Mersenne prime, so that a number is reduced by adding its high bits to its low ones. Every function takes and
returns uint64 below p, NumPy or JAX alike; JAX has uint64 only within `with jax.enable_x64(True):`, and these functions
refuse what it makes of one elsewhere. Single elements, where they are few, are Python integers.
"""

import numpy as np

P = 2**61 - 1
"""The modulus."""
_P = np.uint64(P)
_LOW = {n: np.uint64(2**n - 1) for n in (30, 31, 32)}
_BITS = {n: np.uint64(n) for n in (1, 30, 31, 32, 61)}


def m61_add(a, b):
    """a + b.

    Args:
      a, b: [...] uint64 below p, of shapes that broadcast.

    Returns:
      [...] uint64 below p.
    """
    return _last(_checked("a", a) + _checked("b", b))


def m61_sub(a, b):
    """a - b; arguments and result as in `m61_add`."""
    return _last(_checked("a", a) + (_P - _checked("b", b)))


def m61_mul(a, b):
    """a b, by products of 31 bits: with a = a1 2^31 + a0, b likewise and a1 b0 + a0 b1 = m1 2^30 + m0,

        a b = 2 a1 b1 + m1 + m0 2^31 + a0 b0   (mod p, as 2^62 = 2 and 2^61 = 1),   a sum below 2^64

    Arguments and result as in `m61_add`.
    """
    a, b = _checked("a", a), _checked("b", b)
    a1, a0, b1, b0 = a >> _BITS[31], a & _LOW[31], b >> _BITS[31], b & _LOW[31]
    mid = a1 * b0 + a0 * b1  # < 2^62, as a1 and b1 have 30 bits
    total = (a1 * b1 << _BITS[1]) + (mid >> _BITS[30]) + ((mid & _LOW[30]) << _BITS[31]) + a0 * b0
    return _last((total & _P) + (total >> _BITS[61]))


def m61_inv(a):
    """1 / a = a^(p - 2), 0 for 0.

    p - 2 = 2^61 - 3 has the bits 1...101: 60 squarings, and a product at each but one.

    Args:
      a: [...] uint64 below p.

    Returns:
      [...] uint64 below p.
    """
    power = a
    for bit in bin(P - 2)[3:]:
        power = m61_mul(power, power)
        power = m61_mul(power, a) if bit == "1" else power
    return power


def m61_sum(a, axis=None):
    """The sum along an axis, or of all.

    Args:
      a: [...] uint64 below p, at most 2^31 of them to be added.
      axis: an axis or None.

    Returns:
      uint64 below p, without that axis.
    """
    low, high = (_checked("a", a) & _LOW[32]).sum(axis), (a >> _BITS[32]).sum(axis)  # < 2^63, < 2^60
    low = _last((low & _P) + (low >> _BITS[61]))
    # high 2^32 = h1 2^61 + h0 2^32 with h0 of 29 bits.
    shifted = (high >> np.uint64(29)) + ((high & np.uint64(2**29 - 1)) << _BITS[32])
    return _last(low + _last(shifted))


def m61_dot(a, b, axis=None):
    """sum a b along an axis, or in all; a and b broadcast."""
    return m61_sum(m61_mul(a, b), axis)


def to_m61(v):
    """Signed integers as field elements, negative v as p - |v|.

    Args:
      v: [...] int64, |v| < p.

    Returns:
      [...] uint64 below p.
    """
    if v.dtype != np.int64:
        raise TypeError(f"v: expected dtype int64 (JAX needs jax.enable_x64), got {v.dtype}")
    return (v + P * (v < 0)).astype(np.uint64)


def from_m61(a):
    """Field elements as signed integers of the least magnitude: the inverse of `to_m61` for |v| < p / 2.

    Args:
      a: [...] uint64 below p.

    Returns:
      [...] int64.
    """
    return _checked("a", a).astype(np.int64) - P * (a > np.uint64(P // 2))


def _last(x):
    """x below 2 p, reduced."""
    return x - _P * (x >= _P)


def _checked(name, x):
    if getattr(x, "dtype", None) != np.uint64:
        got = getattr(x, "dtype", type(x).__name__)
        raise TypeError(f"{name}: expected an array of uint64 (JAX needs jax.enable_x64), got {got}")
    return x
