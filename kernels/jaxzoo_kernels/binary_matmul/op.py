"""The primitive behind `binary_matmul`: x [g or 1, m, words] and w [g or 1, words, n]; integers have no derivatives."""

import jax
import jax.numpy as jnp

from .._core import Op
from .xla import matrix_unit, popcount


def _lead(x, w):
    return max(x.shape[0], w.shape[0])


binary_matmul_op = Op(
    "binary_matmul",
    xla=matrix_unit,
    xla_cpu=popcount,
    shapes=lambda x, w, **_: [jax.ShapeDtypeStruct((_lead(x, w), x.shape[1], w.shape[2]), jnp.int32)],
    operations=lambda x, w, k: 2 * _lead(x, w) * x.shape[1] * k * w.shape[2],
    kernels={
        "pallas_gpu": "jaxzoo_kernels.binary_matmul.gpu:signs",
        "pallas_tpu": "jaxzoo_kernels.binary_matmul.tpu:signs",
    },
    shared=(0, 1),
)
