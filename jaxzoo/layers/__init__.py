"""Flax linen layers that papers share; the maths is in `jaxzoo.ops`. All act on one example."""

from jaxzoo.layers.attention import Attention, KVCache, kv_cache
from jaxzoo.layers.conv_net import Conv, ConvNet
from jaxzoo.layers.language_model import LanguageModel
from jaxzoo.layers.mlp import MLP, SwiGLU
from jaxzoo.layers.norms import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from jaxzoo.layers.transformer import TransformerBlock

__all__ = [
    "MLP",
    "Attention",
    "BatchNorm",
    "Conv",
    "ConvNet",
    "GroupNorm",
    "KVCache",
    "LanguageModel",
    "LayerNorm",
    "RMSNorm",
    "SwiGLU",
    "TransformerBlock",
    "kv_cache",
]
