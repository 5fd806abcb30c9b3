"""The primitives behind `gated_linear_attention`: forward, its tangent, and the tangent's transpose, the backward pass.

Operands q, k [b, t, h, dk], v [b, t, h, dv], a gate [b, t, h] or [b, t, h, dk] unless `gate` is "none", and an initial
state [b, h, dk, dv]. The backward pass takes the cotangents of o and of the last state besides, and computes the states
again: what lives between the two passes is the operands alone. Derivatives of the tangent and of the backward pass, the
second order and above, are those of their lax form.
"""

import functools

import jax
import jax.numpy as jnp

from .._core import Op
from . import parallel, xla


def _forward_shapes(*operands, gate, chunk, scale):
    _, _, v, _, (state,) = xla.split(operands, gate)
    return [v, state]


def _tangent_shapes(*operands, gate, **params):
    return _forward_shapes(*operands[: len(operands) // 2], gate=gate, **params)


def _backward_shapes(*operands, gate, chunk, scale):
    return operands[:-2]


def _operations(*operands, gate, chunk, scale):
    """Multiplications and additions of the chunked form: two products with the state, two inside the chunk."""
    q, _, v, *_ = operands
    dk, dv = q.shape[-1], v.shape[-1]
    return q.size // dk * (4 * dk * dv + chunk * (dk + dv))


def _filled(tangents, primals):
    return tuple(jnp.zeros_like(p) if t is None else t for t, p in zip(tangents, primals, strict=True))


def _forward_jvp(primals, tangents, **params):
    return forward(*primals, **params), tangent(*primals, *_filled(tangents, primals), **params)


def _tangent_transpose(cotangents, operands, **params):
    count = len(operands) // 2
    cts = backward(*operands[:count], *cotangents, **params)
    return [None] * count + [ct if x is None else None for ct, x in zip(cts, operands[count:], strict=True)]


def _jvp_of_lax(function):
    """The rule that differentiates an op's lax form."""

    def rule(primals, tangents, *, implementation, **params):
        return jax.jvp(functools.partial(function, in_place=False, **params), primals, _filled(tangents, primals))

    return rule


forward = Op(
    "gated_linear_attention",
    xla=parallel.forward,
    xla_cpu=xla.forward,
    shapes=_forward_shapes,
    operations=_operations,
    kernels={
        "pallas_gpu": "jaxzoo_kernels.gated_linear_attention.gpu:forward",
        "pallas_tpu": "jaxzoo_kernels.gated_linear_attention.tpu:forward",
    },
    jvp=_forward_jvp,
)
tangent = Op(
    "gated_linear_attention_tangent",
    xla=xla.tangent,
    shapes=_tangent_shapes,
    operations=lambda *operands, **params: 3 * _operations(*operands, **params),
    kernels={"pallas_gpu": None, "pallas_tpu": None},
    jvp=_jvp_of_lax(xla.tangent),
    transpose=_tangent_transpose,
)
backward = Op(
    "gated_linear_attention_backward",
    xla=parallel.backward,
    xla_cpu=xla.backward,
    shapes=_backward_shapes,
    operations=lambda *operands, **params: 3 * _operations(*operands, **params),
    kernels={
        "pallas_gpu": "jaxzoo_kernels.gated_linear_attention.gpu_backward:backward",
        "pallas_tpu": "jaxzoo_kernels.gated_linear_attention.tpu:backward",
    },
    jvp=_jvp_of_lax(xla.backward),
)
