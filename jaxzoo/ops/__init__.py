"""Pure functions of arrays; no parameters, no flax."""

from jaxzoo_kernels import attention, gated_linear_attention, linear_recurrence

from jaxzoo.ops.batch_norm import BatchState, batch_norm, batch_state
from jaxzoo.ops.conv import conv
from jaxzoo.ops.merge import fold_batch_norm, merge_pointwise
from jaxzoo.ops.norms import accumulator, group_norm, layer_norm, rms_norm
from jaxzoo.ops.pool import avg_pool, max_pool
from jaxzoo.ops.quantize import Quantized, dequantize, fake_quantize, quantize
from jaxzoo.ops.rotary import rotary
from jaxzoo.ops.segments import segment_max, segment_mean, segment_softmax, segment_sum
from jaxzoo.ops.similarity import cosine_similarity, normalize, safe_norm
from jaxzoo.ops.straight_through import straight_through, with_derivative_of

__all__ = [
    "BatchState",
    "Quantized",
    "accumulator",
    "attention",
    "avg_pool",
    "batch_norm",
    "batch_state",
    "conv",
    "cosine_similarity",
    "dequantize",
    "fake_quantize",
    "fold_batch_norm",
    "gated_linear_attention",
    "group_norm",
    "layer_norm",
    "linear_recurrence",
    "max_pool",
    "merge_pointwise",
    "normalize",
    "quantize",
    "rms_norm",
    "rotary",
    "safe_norm",
    "segment_max",
    "segment_mean",
    "segment_softmax",
    "segment_sum",
    "straight_through",
    "with_derivative_of",
]
