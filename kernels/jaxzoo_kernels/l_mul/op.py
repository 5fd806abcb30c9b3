"""The two primitives behind `l_mul` and `l_mul_matmul`, and the functions that stand for their derivatives."""

import jax
import jax.numpy as jnp
from jax import lax

from .._core import Op
from .._core.products import elementwise_batch, product, tangent_of
from .xla import accumulator, elementwise, literal_factors, matmul, result_dtype


def _factors(x, gradient, mantissa_bits, rounding):
    """(x, what multiplies the other operand's tangent), wide."""
    wide = x.astype(accumulator(x.dtype))
    if gradient == "straight_through":
        return wide, wide
    return wide, lax.stop_gradient(literal_factors(x, mantissa_bits, rounding)[1].astype(wide.dtype))


def _surrogate(multiply, gradient, mantissa_bits, rounding):
    """A function with the derivative that `gradient` names."""

    def function(x, y):
        (x, slope_y), (y, slope_x) = (_factors(z, gradient, mantissa_bits, rounding) for z in (x, y))
        if gradient == "straight_through":
            return multiply(x, y)
        return multiply(x, slope_x) + multiply(slope_y, y)

    return function


def _jvp_with(op, multiply):
    def jvp(primals, tangents, *, gradient, mantissa_bits, rounding, **params):
        options = {"gradient": gradient, "mantissa_bits": mantissa_bits, "rounding": rounding}
        (out,) = op()(*primals, **options, **params)
        tangent = tangent_of(_surrogate(multiply, **options), primals, tangents)
        return [out], [None if tangent is None else tangent.astype(out.dtype)]

    return jvp


def _matmul_shapes(x, y, **_):
    shape = (max(x.shape[0], y.shape[0]), x.shape[1], y.shape[2])
    return [jax.ShapeDtypeStruct(shape, result_dtype(x.dtype))]


def _terms(x, y):
    return max(x.shape[0], y.shape[0]) * x.shape[1] * x.shape[2] * y.shape[2]


l_mul_op = Op(
    "l_mul",
    xla=elementwise,
    shapes=lambda x, y, **_: [x],
    operations=lambda x, y, **_: x.size,
    jvp=_jvp_with(lambda: l_mul_op, jnp.multiply),
    batch=lambda *args, **params: elementwise_batch(l_mul_op)(*args, **params),
)
l_mul_matmul_op = Op(
    "l_mul_matmul",
    xla=matmul,
    shapes=_matmul_shapes,
    operations=lambda x, y, semantics, **_: (2 if semantics == "bits" else 4) * _terms(x, y),
    kernels={
        "pallas_gpu": "jaxzoo_kernels.l_mul.gpu:bits_matmul",
        "pallas_tpu": "jaxzoo_kernels.l_mul.tpu:bits_matmul",
    },
    jvp=_jvp_with(lambda: l_mul_matmul_op, lambda x, y: product(x, y, x.dtype)),
    shared=(0, 1),
)
