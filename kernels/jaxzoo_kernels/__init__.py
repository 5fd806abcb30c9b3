"""Kernels for JAX: one function per op, the best implementation chosen for each platform as the program is lowered."""

from ._core import explain
from .attention import attention
from .binary_matmul import binary_matmul, pack_bits
from .flow_attention import FlowState, flow_attention, flow_state
from .gated_linear_attention import gated_linear_attention, gated_linear_attention_step
from .l_mul import l_mul, l_mul_matmul
from .linear_recurrence import linear_recurrence
from .m61 import m61_mul, mle_fold
from .quantized_matmul import quantized_matmul
from .third_order_attention import third_order_attention

__all__ = [
    "FlowState",
    "attention",
    "binary_matmul",
    "explain",
    "flow_attention",
    "flow_state",
    "gated_linear_attention",
    "gated_linear_attention_step",
    "l_mul",
    "l_mul_matmul",
    "linear_recurrence",
    "m61_mul",
    "mle_fold",
    "pack_bits",
    "quantized_matmul",
    "third_order_attention",
]
