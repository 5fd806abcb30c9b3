"""cuDNN's fused attention, called by the names that XLA gives it: plain, causal and left-windowed, in 16 bits.

XLA's custom calls are used rather than `jax.nn.dot_product_attention`, which rounds lse to 16 bits, runs forward again
in the backward pass of anything that is not its own `custom_vjp`, and can be lowered on a machine with a GPU alone.

The backward call wants o, which it uses for nothing but sum_d o_d ct_d of every row. That sum is -ct_r here, and o's
projection on its cotangent, -ct_r ct / |ct|^2, has the same. Lowered; it has not been run on a GPU.
"""

import json

import jax
import jax.numpy as jnp

from .._core import Kernel
from .options import Options, named

DTYPES = {"bfloat16": "BF16", "float16": "F16"}


def refuse(*operands, options: Options, with_bias: bool = False):
    """Why these operands can't run, or None."""
    q, k, v, *_ = operands
    (_, t, _, d), s = q.shape, k.shape[1]
    others = [name for name in options.parts if name != "gate"]
    if others or options.softcap is not None:
        return f"cuDNN is called without {', '.join(others) or 'softcap'}"
    if jnp.dtype(q.dtype).name not in DTYPES:
        return f"cuDNN computes in {' and '.join(DTYPES)}, not {q.dtype}"
    if d % 8 or d > 128 or v.shape[3] != d:
        return f"cuDNN takes d = d_v, a multiple of 8 up to 128, got {d} and {v.shape[3]}"
    if any(0 in x.shape for x in operands):
        return "an empty operand"
    if options.left is None and options.right is None:
        return None
    if options.right != 0 or options.offset != 0:
        return "cuDNN's band ends at the diagonal that starts top left"
    return "a query beyond the last key sees nothing in its window" if options.left is not None and t > s else None


def refuse_backward(*operands, options: Options, with_bias: bool):
    """As `refuse`; a gradient that comes through lse is not cuDNN's."""
    if options.lse:
        return "cuDNN has no gradient through lse"
    return refuse(*operands, options=options)


def blocks(*_, **__):
    """cuDNN chooses its own."""
    return {}


def run_forward(*operands, options: Options):
    x = named(operands, options)
    q, k, v = x["q"], x["k"], x["v"]
    (b, t, h, d), dtype = q.shape, q.dtype
    results = [((b, h, t, d), dtype), ((b, h, t), jnp.float32)]
    config = _config(q, k, options, {"bmm1": ((3, 3), (0, 2), (0, 2)), "bmm2": ((3, 1), (0, 1), (0, 2))})
    o, lse = _call("__cudnn$fmhaSoftmax", results, config, q, k, v)
    o = jnp.swapaxes(o, 1, 2)
    if x["gate"] is not None:
        o = (o.astype(jnp.float32) * jax.nn.sigmoid(x["gate"].astype(jnp.float32))).astype(dtype)
    return [o, lse]


def run_backward(q, k, v, lse, ct_y, ct_r, *, with_bias: bool, options: Options):
    largest = jnp.maximum(jnp.abs(ct_y).max(-1, keepdims=True), jnp.finfo(jnp.float32).tiny)
    direction = ct_y / largest
    length = jnp.maximum(jnp.sum(direction**2, -1, keepdims=True), jnp.finfo(jnp.float32).tiny)
    o = direction * (-jnp.swapaxes(ct_r, 1, 2)[..., None] / largest / length)
    results = [(tuple(x.shape[axis] for axis in (0, 2, 1, 3)), x.dtype) for x in (q, k, v)]
    products = {
        "bmm1_grad_gemm1": ((2, 1), (0, 1), (0, 2)),
        "bmm1_grad_gemm2": ((3, 1), (0, 1), (0, 2)),
        "bmm2_grad_gemm1": ((2, 1), (0, 1), (0, 2)),
        "bmm2_grad_gemm2": ((3, 3), (0, 2), (0, 2)),
    }
    operands = (q, k, v, lse, ct_y.astype(q.dtype), o.astype(q.dtype))
    cts = _call("__cudnn$fmhaSoftmaxBackward", results, _config(q, k, options, products), *operands)
    return [jnp.swapaxes(ct, 1, 2) for ct in cts]


def _call(name, results, config, *operands):
    """Results [b, h, t, d] lie in memory as [b, t, h, d]; the last one, cuDNN's workspace, is dropped."""
    shapes = [jax.ShapeDtypeStruct(*result) for result in (*results, ((0,), jnp.uint8))]
    layouts = [(0, 2, 1, 3) if len(x.shape) == 4 else tuple(range(len(x.shape))) for x in shapes]
    call = jax.ffi.ffi_call(
        name, shapes, output_layouts=layouts, custom_call_api_version=2, legacy_backend_config=json.dumps(config)
    )
    return call(*operands)[:-1]


def _config(q, k, options: Options, products):
    """XLA's `CudnnfMHABackendConfig` as JSON; `products` gives each matrix product's contracting and batch axes."""
    (b, t, h, _), s = q.shape, k.shape[1]
    causal = options.right is not None
    attention = {
        "algorithm": {
            "algo_id": "0",
            "math_type": "TENSOR_OP_MATH",
            "tuning_knobs": {"17": "1", "24": "0"},
            "is_cudnn_frontend": True,
            "workspace_size": "0",
        },
        "fmha_scale": options.scale,
        "dropout_rate": 0.0,
        "seed": 0,
        "is_flash_attention": True,
        "force_deterministic": True,
        "mask_type": "CAUSAL" if causal else "NO_MASK",
        "sliding_window_length": 0 if options.left is None else options.left + 1,
        "max_seg_per_batch": 1,
        "is_paged_attention": False,
        "intermediate_tensor_shape": {
            "element_type": DTYPES[jnp.dtype(q.dtype).name],
            "dimensions": [str(n) for n in (b, h, t, s)],
            "layout": {"minor_to_major": ["3", "2", "1", "0"]},
            "is_dynamic_dimension": [False] * 4,
        },
    }
    for name, (contracting, of_left, of_right) in products.items():
        attention[f"{name}_dot_dimension_numbers"] = {
            "lhs_contracting_dimensions": [str(contracting[0])],
            "rhs_contracting_dimensions": [str(contracting[1])],
            "lhs_batch_dimensions": [str(axis) for axis in of_left],
            "rhs_batch_dimensions": [str(axis) for axis in of_right],
        }
    return {"operation_queue_id": "0", "cudnn_fmha_backend_config": attention}


forward = Kernel(run_forward, refuse, blocks)
backward = Kernel(run_backward, refuse_backward, blocks)
