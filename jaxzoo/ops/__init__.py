"""Pure functions of arrays; no parameters, no flax."""

from jaxzoo.ops.norms import accumulator, group_norm, layer_norm, rms_norm
from jaxzoo.ops.similarity import cosine_similarity, normalize, safe_norm

__all__ = ["accumulator", "cosine_similarity", "group_norm", "layer_norm", "normalize", "rms_norm", "safe_norm"]
