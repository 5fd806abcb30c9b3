"""Both L-Mul functions in pure lax: elementwise on the fields, and the two matrix products."""

import jax.numpy as jnp
from jax import lax

from .._core.products import outer_sum, product
from .fields import format_of, join, offset_bits, power_of_two, split


def _log_sum(total, mantissa):
    """The mantissa sum as integer addition leaves it: (steps of the exponent, mantissa field)."""
    return total >> mantissa, total & ((1 << mantissa) - 1)


def _literal_sum(total, mantissa):
    """1 + sum, which may reach 3.06, brought back to [1, 2) and rounded to nearest even.

    The mantissa field may come out as 2^mantissa: a carry that adding it to the exponent field carries out.
    """
    total = total + (1 << mantissa)
    shift = (total >> (mantissa + 1) > 0).astype(total.dtype) + (total >> (mantissa + 2) > 0).astype(total.dtype)
    odd = (total >> shift) & 1
    half = jnp.where(shift == 2, 2, shift)
    bump = jnp.where(shift == 0, jnp.zeros_like(total), half - 1 + odd)
    return shift, ((total + bump) >> shift) - (1 << mantissa)


def elementwise(x, y, *, semantics, mantissa_bits, rounding, saturate, gradient=None):
    """[l_mul(x, y)], x and y of one shape and dtype, the result too."""
    form = format_of(x.dtype)
    m, signed = form.mantissa, jnp.dtype(form.lane.name.removeprefix("u"))
    (sign_x, a), (sign_y, b) = (split(z, mantissa_bits, rounding) for z in (x, y))
    low, offset = (1 << m) - 1, 1 << (m - offset_bits(mantissa_bits))
    total = (a & low) + (b & low) + offset
    steps, field = (_log_sum if semantics == "bits" else _literal_sum)(total, m)
    exponent = (a >> m).astype(signed) + (b >> m).astype(signed) + steps.astype(signed) - form.bias
    above = int(form.largest >> m) + 2  # one more than any finite exponent field, in formats with and without infinity
    magnitude = (jnp.clip(exponent, 0, above).astype(form.lane) << m) + field
    vanishes = (a == 0) | (b == 0) | (exponent < 0) | (magnitude < 1 << m)
    # The pattern after the largest number is infinity, or NaN in a format that has none.
    magnitude = jnp.minimum(magnitude, form.largest + (0 if saturate else 1))
    result = join(jnp.where(vanishes, 0, magnitude) | (sign_x ^ sign_y), x.dtype)
    wide = jnp.promote_types(x.dtype, jnp.float32) if x.dtype.itemsize > 1 else jnp.float32
    exact = join(sign_x | a, x.dtype).astype(wide) * join(sign_y | b, x.dtype).astype(wide)
    return [jnp.where((a > form.largest) | (b > form.largest), exact.astype(x.dtype), result)]


def accumulator(dtype):
    """float64 for float64, else float32."""
    return jnp.dtype("float64" if dtype == jnp.float64 else "float32")


def result_dtype(dtype):
    """The operands' dtype; float32 for those of 8 bits."""
    return dtype if dtype.itemsize > 1 else jnp.dtype("float32")


def matmul(x, y, *, semantics, mantissa_bits, rounding, gradient=None):
    """[sum_k l_mul(x_ik, y_kj)], x [g or 1, m, k] and y [g or 1, k, n]."""
    run = _bits_matmul if semantics == "bits" else _literal_matmul
    return [run(x, y, mantissa_bits, rounding).astype(result_dtype(x.dtype))]


def literal_factors(x, mantissa_bits, rounding):
    """x as (x - (1 - 2^-l) P(x), P(x), x), after flushing and rounding: the operands of the two products.

    In a dtype that holds them exactly and that matrix units take: 8 bits widen to bfloat16, float16 to float32.
    """
    wide = "bfloat16" if x.dtype.itemsize == 1 else "float32" if x.dtype == jnp.float16 else x.dtype
    x = x.astype(wide)
    sign, magnitude = split(x, mantissa_bits, rounding)
    x, power = join(sign | magnitude, x.dtype), power_of_two(sign, magnitude, x.dtype)
    kept = 1 - 2.0 ** -offset_bits(mantissa_bits)
    # inf - inf would be NaN: what is not finite stands for itself in both products.
    special = magnitude > format_of(x.dtype).largest
    return jnp.where(special, x, x - kept * power), jnp.where(special, x, power), x


def _literal_matmul(x, y, mantissa_bits, rounding):
    dtype = accumulator(x.dtype)
    (rest, power_x, _), (_, power_y, y) = (literal_factors(z, mantissa_bits, rounding) for z in (x, y))
    return product(rest, power_y, dtype) + product(power_x, y, dtype)


def bits_operands(x, y, mantissa_bits, rounding):
    """What the sum of integer additions reads: of x (magnitude, sign), of y (addend, floor, sign); and their marks.

    addend = magnitude_y - constant, modulo 2^32. The product vanishes if x or y is 0, or if magnitude_x + addend falls
    below the least normal number. With floor = max(1, that - addend), or more than any magnitude where y is 0, all of
    these say magnitude_x < floor. What is not finite counts as 0 here; `marks`, signs with infinity and NaN in them,
    are for `with_specials`.
    """
    dtype = accumulator(x.dtype)
    form = format_of(dtype)
    (sign_x, a), (sign_y, b) = (split(z.astype(dtype), mantissa_bits, rounding) for z in (x, y))
    marks = []
    for z, sign, magnitude in ((x, sign_x, a), (y, sign_y, b)):
        unit = jnp.where(magnitude == 0, 0, jnp.where(sign > 0, -1, 1)).astype(dtype)
        marks.append(jnp.where(magnitude <= form.largest, unit, z.astype(dtype)))
    a, b = jnp.where(a <= form.largest, a, 0), jnp.where(b <= form.largest, b, 0)
    constant = form.lane.type((form.bias << form.mantissa) - (1 << (form.mantissa - offset_bits(mantissa_bits))))
    least = constant + form.lane.type(1 << form.mantissa)
    never = form.sign - form.lane.type(1)
    floor = jnp.where(b == 0, never, jnp.where(b < least, least - b, 1))
    return (a, sign_x), (b - constant, floor, sign_y), marks


def with_specials(total, marks):
    """`total` with the IEEE products of infinities and NaNs added.

    Products of signs are finite and those of infinities and NaNs are not: a plain product finds what they add, of one
    pass over matrix units, since 0, 1, infinity and NaN are exact in whatever they round to.
    """
    special = product(*marks, total.dtype, lax.Precision.DEFAULT)
    return jnp.where(jnp.isfinite(special), total, total + special)


def _bits_matmul(x, y, mantissa_bits, rounding):
    dtype = accumulator(x.dtype)
    infinity = format_of(dtype).largest + format_of(dtype).lane.type(1)

    def term(a, sign_x, addend, floor, sign_y):
        magnitude = jnp.where(a >= floor, jnp.minimum(a + addend, infinity), 0)
        return join(magnitude | (sign_x ^ sign_y), dtype)

    left, right, marks = bits_operands(x, y, mantissa_bits, rounding)
    return with_specials(outer_sum(term, left, right, dtype), marks)
