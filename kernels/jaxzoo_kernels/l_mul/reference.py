"""L-Mul as it is written on paper, for tests: numpy, integers for the bits, float64 for the formula."""

import ml_dtypes
import numpy as np


def offset(mantissa_bits):
    """2^-l(m)."""
    return 2.0 ** -{1: 1, 2: 2, 3: 3, 4: 3}.get(mantissa_bits, 4)


def bits(x, y):
    """The integer form at the full mantissa, finite operands: one addition of magnitudes, then the guards."""
    info, unsigned = ml_dtypes.finfo(x.dtype), f"u{x.dtype.itemsize}"
    m, sign = info.nmant, 1 << (info.bits - 1)
    raw_x, raw_y = x.view(unsigned).astype(np.uint64), y.view(unsigned).astype(np.uint64)
    a, b = raw_x & np.uint64(sign - 1), raw_y & np.uint64(sign - 1)
    bias = 1 - int(info.minexp)
    constant = np.uint64((bias << m) - int(offset(m) * 2**m))
    normal, largest = np.uint64(1 << m), np.asarray(info.max, x.dtype).view(unsigned).astype(np.uint64)
    total = a + b
    magnitude = np.minimum(np.maximum(total, constant) - constant, largest + np.uint64(1))
    vanishes = (a < normal) | (b < normal) | (total < constant + normal)
    return (np.where(vanishes, 0, magnitude) | ((raw_x ^ raw_y) & np.uint64(sign))).astype(unsigned).view(x.dtype)


def literal(x, y, dtype):
    """The formula at the full mantissa of `dtype`, for finite operands: float64, rounded, then the guards."""
    info = ml_dtypes.finfo(dtype)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    tiny, sign = float(info.smallest_normal), np.copysign(1, x) * np.copysign(1, y)
    value, exponent = np.frexp(np.abs(literal_form(x, y, info.nmant)))
    value = np.ldexp(np.round(value * 2.0 ** (info.nmant + 1)), exponent - info.nmant - 1)
    value = np.where((np.abs(x) < tiny) | (np.abs(y) < tiny) | (value < tiny), 0, value)
    beyond = np.nan if dtype == ml_dtypes.float8_e4m3fn else np.inf
    return (sign * np.where(value > float(info.max), beyond, value)).astype(dtype)


def _parts(x, y):
    (fx, ex), (fy, ey) = np.frexp(np.abs(x)), np.frexp(np.abs(y))  # f in [0.5, 1)
    sign = np.where((x == 0) | (y == 0), 0, np.copysign(1, x) * np.copysign(1, y))
    return sign, (2 * fx - 1) + (2 * fy - 1), ex + ey - 2


def literal_form(x, y, mantissa_bits):
    """The formula as real numbers, in float64: sign (1 + x_m + y_m + 2^-l) 2^(x_e + y_e)."""
    sign, total, exponent = _parts(np.asarray(x, np.float64), np.asarray(y, np.float64))
    return sign * np.ldexp(1 + total + offset(mantissa_bits), exponent)


def log_form(x, y, mantissa_bits):
    """The integer form as real numbers, in float64, without guards: sign (1 + fraction) 2^(x_e + y_e + carry)."""
    sign, total, exponent = _parts(np.asarray(x, np.float64), np.asarray(y, np.float64))
    carry, fraction = np.divmod(total + offset(mantissa_bits), 1)
    return sign * np.ldexp(1 + fraction, exponent + carry.astype(int))


def rounded(x, mantissa_bits, rounding):
    """x with `mantissa_bits` left of its mantissa, float64."""
    fraction, exponent = np.frexp(np.asarray(x, np.float64))
    cut = np.round if rounding == "nearest" else np.trunc
    return np.ldexp(cut(fraction * 2.0 ** (mantissa_bits + 1)), exponent - mantissa_bits - 1)
