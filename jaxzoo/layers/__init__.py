"""Flax linen layers that papers share; the maths is in `jaxzoo.ops`. All act on one example."""

from jaxzoo.layers.mlp import MLP, SwiGLU
from jaxzoo.layers.norms import GroupNorm, LayerNorm, RMSNorm
from jaxzoo.layers.transformer import TransformerBlock

__all__ = ["MLP", "GroupNorm", "LayerNorm", "RMSNorm", "SwiGLU", "TransformerBlock"]
