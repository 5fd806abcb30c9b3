"""The primitives behind `m61_mul` and `mle_fold`; integers have no derivatives."""

from .._core import Op
from .xla import fold, multiply

m61_mul_op = Op(
    "m61_mul",
    xla=multiply,
    shapes=lambda a, b: [a],
    operations=lambda a, b: 85 * a.size // 2,
    kernels={"pallas_tpu": "jaxzoo_kernels.m61.tpu:multiply"},
)
mle_fold_op = Op(
    "mle_fold",
    xla=fold,
    shapes=lambda low, high, u: [low],
    operations=lambda low, high, u: 115 * low.size // 2,
    kernels={"pallas_tpu": "jaxzoo_kernels.m61.tpu:fold"},
    shared=(2,),
)
