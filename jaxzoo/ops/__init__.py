"""Pure functions of arrays; no parameters, no flax."""

from jaxzoo.ops.conv import conv
from jaxzoo.ops.norms import accumulator, group_norm, layer_norm, rms_norm
from jaxzoo.ops.pool import avg_pool, max_pool
from jaxzoo.ops.similarity import cosine_similarity, normalize, safe_norm

__all__ = [
    "accumulator",
    "avg_pool",
    "conv",
    "cosine_similarity",
    "group_norm",
    "layer_norm",
    "max_pool",
    "normalize",
    "rms_norm",
    "safe_norm",
]
