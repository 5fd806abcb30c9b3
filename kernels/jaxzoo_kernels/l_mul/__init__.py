"""L-Mul: a product of floating-point numbers by adding their mantissas, and the matrix product made of it.

With x = s_x (1 + x_m) 2^x_e, the product of mantissas x_m y_m is dropped and a constant put in its place:

    literal:  s_x s_y (1 + x_m + y_m + 2^-l(m)) 2^(x_e + y_e)
    bits:     the integers exponent|mantissa of x and y added, minus bias - 2^-l(m); signs by exclusive or
    l(m) = m for m <= 3, 3 for m = 4, 4 above;  m: bits of the mantissa

Two functions go by the name. They agree while s = x_m + y_m + 2^-l < 1. Beyond, the carry of the integer sum doubles
the power of two: bits is 2 s 2^(x_e + y_e) (Mitchell's logarithmic product with an offset), literal (1 + s) times it.
Neither is exact for powers of two: 1 * 1 = 1.0625 in float32. Relative error of one product of float32 numbers with
uniform mantissas: bits 3.1 % rms, between -7.3 and +6.3 %; literal 9.6 % rms, between -23 and +6.3 %.
With few mantissa bits the offsets suit truncated operands; rounded to nearest, products are about 5 % too large.

What bounds it. The literal form of a matrix is two ordinary products, P(x) being x with its mantissa cleared:

    L = (X - (1 - 2^-l) P(X)) P(Y) + P(X) Y

The left operands are exact in bfloat16, so it costs two products of the matrix unit and rounds in the sum alone. The
integer form adds max(s - 1, 0) per pair, which is not bilinear: no matrix unit computes it, and it is bound by integer
instructions (counting them, at most 1/24 of the rate of bfloat16 products on an H200). It runs as outer sums, a few k
per pass over the accumulator; the guards for zero and underflow are one comparison with a threshold that is prepared
once per element of y.

On today's CPUs, GPUs and TPUs L-Mul saves neither time nor energy: these functions are for studying its numerics.

Left out because wrong: zeros mapped to the least exponent, so that no comparison is needed (0 times 1e30 is then not
0); one sum of the full signed patterns, which breaks wherever the exponent over- or underflows: the GPU kernel forms it
in tiles whose largest and smallest magnitudes rule that out. Tried and dropped: more than 4 terms per pass in the lax
form; on cpu XLA then writes them out before it adds them, and 8 or 16 were slower.

The bits form has Pallas kernels for TPU and for Hopper GPUs. Both have been interpreted and compiled, and never run
where they belong; the one for GPUs is taken where it is named alone, and XLA gets the lax form there. That has been run
on cpu, compiled for TPU v5e and sm_90a, and not run there.

Source: Luo and Sun, "Addition is All You Need for Energy-efficient Language Models" (arXiv 2410.00907), eq. 1;
Mitchell, "Computer Multiplication and Division Using Binary Logarithms" (1962).
"""

import functools

import jax
import jax.numpy as jnp

from .._core import check_floating
from .._core.products import check_matmul, fold
from .fields import format_of
from .op import l_mul_matmul_op, l_mul_op

__all__ = ["l_mul", "l_mul_matmul"]

OPTIONS = ("semantics", "mantissa_bits", "rounding", "gradient", "implementation")
EIGHT_BITS = ("float8_e4m3fn", "float8_e5m2")


def l_mul(
    x,
    y,
    *,
    semantics: str = "bits",
    mantissa_bits: int | None = None,
    rounding: str = "nearest",
    saturate: bool = False,
    gradient: str = "straight_through",
    implementation: str | None = None,
):
    """Multiplies by adding mantissas, elementwise, in the operands' own floating-point format.

        bits:     magnitude(x) + magnitude(y) - ((bias << m) - 2^(m - l)) as integers, signs by exclusive or
        literal:  s_x s_y (1 + x_m + y_m + 2^-l) 2^(x_e + y_e), rounded to nearest even

    Zero or subnormal operand: signed zero. Result below the least normal number: signed zero. Above the largest:
    infinity (NaN in float8_e4m3fn, which has no infinity). NaN or infinite operand: the IEEE product.

    Args:
        x: [...] float8_e4m3fn, float8_e5m2, bfloat16, float16, float32 or float64.
        y: [...] broadcastable with x. Both are promoted to one dtype.
        semantics: "bits" or "literal".
        mantissa_bits: m, bits of the mantissa that the operands keep, 1 up to all; all if None. The offset l follows m.
            A number that would round to infinity takes the largest number of m bits.
        rounding: "nearest" (ties to even) or "truncate", of operands to m bits.
        saturate: give the largest number instead of infinity where finite operands overflow.
        gradient: "straight_through", the derivatives of x * y; or, for "literal" alone, "piecewise", its own almost
            everywhere: P(y) into x and P(x) into y, P clearing the mantissa; second derivatives are then zero.
        implementation: None or "xla", the only one.

    Returns:
        [...] of the operands' dtype.

    Raises:
        ValueError: an option or shape that doesn't fit. TypeError: a dtype that is none of these.

    Source: Luo and Sun (arXiv 2410.00907), eq. 1.
    """
    x, y, m = _checked(x, y, semantics, mantissa_bits, rounding, gradient)
    return _l_mul(
        x,
        y,
        semantics=semantics,
        mantissa_bits=m,
        rounding=rounding,
        saturate=bool(saturate),
        gradient=gradient,
        implementation=implementation,
    )


def l_mul_matmul(
    x,
    y,
    *,
    semantics: str = "bits",
    mantissa_bits: int | None = None,
    rounding: str = "nearest",
    gradient: str = "straight_through",
    implementation: str | None = None,
):
    """The matrix product with every multiplication an L-Mul, accumulated in float32 (float64 for float64).

        out_ij = sum_k l_mul(x_ik, y_kj)

    Operands of 8 and 16 bits are widened to float32 first, where every product of theirs fits and where their subnormal
    numbers count as what they are; m and the offset remain those of the operands' dtype. Terms vanish, overflow and
    propagate infinity and NaN as in `l_mul` on float32, but that the literal form leaves underflow to the dot product
    and is inexact for operands within a factor 32 of the least normal number.

    Args:
        x: [..., m, k] float8_e4m3fn, float8_e5m2, bfloat16, float16, float32 or float64.
        y: [..., k, n]; leading axes broadcast as in `jnp.matmul`.
        semantics: "bits", a sum of integer additions that no matrix unit can do, or "literal", two matrix products.
        mantissa_bits, rounding: as in `l_mul`.
        gradient: "straight_through", the derivatives of x @ y; or, for "literal" alone, "piecewise", its own almost
            everywhere: G P(y)^T into x and P(x)^T G into y; second derivatives are then zero.
        implementation: None takes the best for each platform the program is compiled for; "xla", "pallas_gpu" or
            "pallas_tpu" (these two for bits alone) take that one or raise.

    Returns:
        [..., m, n] of the operands' dtype, float32 for operands of 8 bits.

    Raises:
        ValueError: an option or shape that doesn't fit. TypeError: a dtype that is none of these. NotImplementedError:
            a named implementation that can't run, and why.

    Source: Luo and Sun (arXiv 2410.00907), eq. 1.
    """
    x, y, m = _checked(x, y, semantics, mantissa_bits, rounding, gradient)
    check_matmul(("x", "y"), x, y)
    return _l_mul_matmul(
        x,
        y,
        semantics=semantics,
        mantissa_bits=m,
        rounding=rounding,
        gradient=gradient,
        implementation=implementation,
    )


def _checked(x, y, semantics, mantissa_bits, rounding, gradient):
    """x and y of one dtype, and the bits of the mantissa to keep."""
    _check_choice("semantics", semantics, ("bits", "literal"))
    _check_choice("rounding", rounding, ("nearest", "truncate"))
    gradients = ("straight_through", "piecewise") if semantics == "literal" else ("straight_through",)
    _check_choice("gradient", gradient, gradients)
    x, y = jnp.asarray(x), jnp.asarray(y)
    dtype = jnp.result_type(x, y)
    x, y = x.astype(dtype), y.astype(dtype)
    check_floating("x and y", x, EIGHT_BITS)
    all_bits = format_of(dtype).mantissa
    if mantissa_bits is None:
        mantissa_bits = all_bits
    if not 1 <= mantissa_bits <= all_bits:
        raise ValueError(f"mantissa_bits: expected 1 to {all_bits} for {dtype}, got {mantissa_bits}")
    return x, y, int(mantissa_bits)


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(f"{name}: expected {' or '.join(map(repr, choices))}, got {value!r}")


@functools.partial(jax.jit, static_argnames=(*OPTIONS, "saturate"))
def _l_mul(x, y, **options):
    shape = jnp.broadcast_shapes(x.shape, y.shape)
    (out,) = l_mul_op(jnp.broadcast_to(x, shape), jnp.broadcast_to(y, shape), **options)
    return out


@functools.partial(jax.jit, static_argnames=OPTIONS)
def _l_mul_matmul(x, y, **options):
    x, y, shape = fold(x, y)
    (out,) = l_mul_matmul_op(x, y, **options)
    return out.reshape(shape)
