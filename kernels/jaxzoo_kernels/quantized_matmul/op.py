"""The primitive behind `quantized_matmul`: x, w and the scales of both, with a leading axis of independent examples."""

import functools

import jax

from .._core import Op
from .._core.products import tangent_of
from .xla import dequantized, scaled, scaled_on_cpu


def _shapes(x, w, x_scale, w_scale, *, out_dtype):
    lead = max(z.shape[0] for z in (x, w, x_scale, w_scale))
    return [jax.ShapeDtypeStruct((lead, x.shape[1], w.shape[2]), out_dtype)]


def _jvp(primals, tangents, *, out_dtype, implementation):
    outputs = quantized_matmul_op(*primals, out_dtype=out_dtype, implementation=implementation)
    return outputs, [tangent_of(functools.partial(dequantized, out_dtype=out_dtype), primals, tangents)]


quantized_matmul_op = Op(
    "quantized_matmul",
    xla=scaled,
    xla_cpu=scaled_on_cpu,
    shapes=_shapes,
    operations=lambda x, w, *_, **__: 2 * max(x.shape[0], w.shape[0]) * x.shape[1] * x.shape[2] * w.shape[2],
    kernels={
        "pallas_gpu": "jaxzoo_kernels.quantized_matmul.gpu:scaled",
        "pallas_tpu": "jaxzoo_kernels.quantized_matmul.tpu:scaled",
    },
    jvp=_jvp,
    shared=(0, 1, 2, 3),
)
