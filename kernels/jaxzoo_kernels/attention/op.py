"""The primitives behind `attention`: forward, its tangent in the logits and values, and that tangent's transpose.

With lse_i the logarithm of the sum of row i's exponentials, p_ij = exp(x_ij - lse_i) the weights and dx the tangent of
the logits, the tangent op gives

    y_i = sum_j p_ij (dx_ij v_j + dv_j),   r_i = sum_j p_ij dx_ij,

linear in the tangents of q, k, v and bias, from which dlse = r (and the sink's part) and do = y - dlse o follow by row.
Its transpose is the backward pass, which so needs o and lse and computes the weights again. The gate and the sink act
on rows alone: their derivatives are written here, and no kernel but the forward one sees them. Derivatives of tangent
and backward, of second order and above, are those of their lax form.
"""

import jax
import jax.numpy as jnp

from .._core import Op
from . import xla, xla_cpu
from .batching import batch
from .options import Options
from .tile import finite


def _forward_shapes(q, k, v, *_, options):
    b, t, h, _ = q.shape
    statistics = jnp.promote_types(q.dtype, jnp.float32)
    return [jax.ShapeDtypeStruct((b, t, h, v.shape[3]), q.dtype), jax.ShapeDtypeStruct((b, h, t), statistics)]


def _tangent_shapes(*operands, options, with_bias):
    o, lse = _forward_shapes(*operands[:3], options=options)
    return [jax.ShapeDtypeStruct(o.shape, lse.dtype), lse]


def _backward_shapes(*operands, options, with_bias):
    return operands[: 4 if with_bias else 3]


def _operations(of_qk: int, of_pv: int):
    """Multiplications and additions of so many products of the size of q k^T and of p v."""

    def count(q, k, v, *_, options, **params):
        pairs = q.shape[0] * q.shape[2] * options.pairs(q.shape[1], k.shape[1])
        return 2 * pairs * (of_qk * q.shape[3] + of_pv * v.shape[3])

    return count


def _forward_jvp(primals, tangents, *, options: Options, implementation):
    outputs = forward(*primals, options=options, implementation=implementation)
    o, lse = outputs
    x = dict(zip(options.names(), primals, strict=True))
    dx = dict(zip(options.names(), tangents, strict=True))
    dlse, y = jnp.zeros_like(lse), jnp.zeros(o.shape, lse.dtype)
    bias = () if dx.get("bias") is None else (dx["bias"],)
    qkv = [jnp.zeros_like(x[name]) if dx[name] is None else dx[name] for name in ("q", "k", "v")]
    if bias or any(dx[name] is not None for name in ("q", "k", "v")):
        of_logits = options.of_logits
        base = (x[name] for name in of_logits.names())
        params = {"options": of_logits, "with_bias": bool(bias), "implementation": _of(tangent, implementation)}
        y, dlse = tangent(*base, lse, *qkv, *bias, **params)
    if dx.get("sink") is not None:
        dlse = dlse + jnp.exp(x["sink"][..., None].astype(lse.dtype) - finite(lse)) * dx["sink"][..., None]
    do = -_rows(dlse) * o
    if "gate" not in x:
        return outputs, [(do + y).astype(o.dtype), dlse]
    gate = x["gate"].astype(lse.dtype)
    do = do + jax.nn.sigmoid(gate) * y
    if dx["gate"] is not None:
        do = do + jax.nn.sigmoid(-gate) * o * dx["gate"]
    return outputs, [do.astype(o.dtype), dlse]


def _of(op, implementation):
    """The implementation named for one op, if another has it too, else that op's best."""
    return implementation if implementation in ("xla", *op.kernels) else None


def _rows(x):
    """[b, h, t] -> [b, t, h, 1]."""
    return jnp.swapaxes(x, 1, 2)[..., None]


def _tangent_transpose(cotangents, operands, *, options, with_bias, implementation):
    count = len(options.names()) + 1
    wants_bias = with_bias and operands[-1] is None
    params = {"options": options, "with_bias": wants_bias, "implementation": _of(backward, implementation)}
    cts = backward(*operands[:count], *cotangents, **params)
    linear = operands[count:]
    return [None] * count + [ct if x is None else None for ct, x in zip([*cts, None], linear, strict=False)]


def _jvp_of_lax(function):
    """The rule that differentiates an op's lax form, in the operands that have a tangent."""

    def rule(primals, tangents, *, implementation, **params):
        active = [i for i, t in enumerate(tangents) if t is not None]

        def of_active(*values):
            operands = list(primals)
            for i, value in zip(active, values, strict=True):
                operands[i] = value
            return function(*operands, **params)

        return jax.jvp(of_active, [primals[i] for i in active], [tangents[i] for i in active])

    return rule


forward = Op(
    "attention",
    xla=xla.forward,
    xla_cpu=xla_cpu.forward,
    shapes=_forward_shapes,
    operations=_operations(1, 1),
    kernels={
        "cudnn": "jaxzoo_kernels.attention.cudnn:forward",
        "pallas_gpu": "jaxzoo_kernels.attention.gpu:forward",
        "pallas_tpu": "jaxzoo_kernels.attention.tpu:forward",
    },
    jvp=_forward_jvp,
    batch=lambda *given, **params: batch(forward, *given, **params),
)
tangent = Op(
    "attention_tangent",
    xla=xla.tangent,
    shapes=_tangent_shapes,
    operations=_operations(3, 2),
    kernels={"pallas_gpu": None},  # lax, and the name lives on in the transpose
    jvp=_jvp_of_lax(xla.tangent),
    transpose=_tangent_transpose,
    batch=lambda *given, **params: batch(tangent, *given, **params),
)
backward = Op(
    "attention_backward",
    xla=xla.backward,
    xla_cpu=xla_cpu.backward,
    shapes=_backward_shapes,
    operations=_operations(3, 2),
    kernels={
        "cudnn": "jaxzoo_kernels.attention.cudnn:backward",
        "pallas_gpu": "jaxzoo_kernels.attention.gpu_backward:backward",
        "pallas_tpu": "jaxzoo_kernels.attention.tpu:backward",
    },
    jvp=_jvp_of_lax(xla.backward),
    batch=lambda *given, **params: batch(backward, *given, **params),
)
