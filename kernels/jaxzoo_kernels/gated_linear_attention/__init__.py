"""Gated linear attention: S_t = Diag(a_t) S_{t-1} + k_t v_t^T, o_t = S_t^T q_t, in chunks.

Inside a chunk all pairs of steps meet in matrix products, A = (q k^T) * decays under the causal mask; between chunks
only the state passes. A scalar gate weighs A elementwise. A vector gate decays every channel by itself: a tree over
the chunk lets the second half of each block of 2, 4, 8 .. steps look at the first half, queries scaled by the gates
from the middle on and keys by those up to it (chunk.py). No exponent is ever positive, nothing is divided, no long
sums are subtracted, so gates from 0 to -1e4 side by side cost no digits.

What bounds it: on accelerators memory, at about 75 operations per byte with chunks of 64; on cpu the small products.

Paths. cpu goes over chunks in place, or step by step where the states are small and there is a gate (xla.py); other
platforms run all chunks at once (parallel.py); the TPU kernel keeps the state in VMEM over a grid of chunks, forward
and backward (tpu.py, dense.py); the Hopper kernels pass the state through the chunks in registers, forward and backward
(gpu.py, gpu_backward.py), and do what needs no state for all chunks at once (gpu_inside.py, gpu_inside_backward.py).
Gradients keep nothing but the operands: the states before each chunk are computed again. The TPU and Hopper kernels
have been interpreted and compiled, not run; until they have, implementation="pallas_gpu" alone takes the Hopper ones.

Tried, and no help on cpu: chunks of 64 for a vector gate (1.3 times slower than 16 forward; 32 is best backward), all
pairs of a block of 4 or 8 steps by elementwise sums instead of the tree's lowest levels, cutting all chunks out
beforehand (up to 2 times slower than in place), differentiating the vector form by JAX (2 times slower than by hand).
"""

import functools
import math

import jax
import jax.numpy as jnp

from .._core import check_floating, check_shape
from .chunk import FLOOR
from .op import forward

__all__ = ["gated_linear_attention", "gated_linear_attention_step"]


def gated_linear_attention(
    q,
    k,
    v,
    log_a=None,
    *,
    initial_state=None,
    segment_ids=None,
    chunk: int = 64,
    scale: float | None = None,
    implementation: str | None = None,
):
    """Linear attention with a forgetting gate, causal, in linear time, from an initial state to a final one.

        S_t = Diag(exp(log_a_t)) S_{t-1} + k_t v_t^T,   o_t = scale * S_t^T q_t,   per head.

    Products are accumulated, and the state kept, in float32 (float64 for float64); o is cast back to v's dtype.

    Args:
        q: [..., t, h, dk] queries. float16, bfloat16, float32 or float64.
        k: [..., t, h, dk] keys.
        v: [..., t, h, dv] values.
        log_a: None for no gate, [..., t, h] one gate per head, or [..., t, h, dk] one per key channel: the logarithm of
            the gate, <= 0 (not checked). Below -1e4 it counts as -1e4, which forgets everything.
        initial_state: [..., h, dk, dv] state before the first step; zero if None.
        segment_ids: [..., t] integers: the state is set to zero wherever the id differs from the one before, so that
            packed sequences do not see each other. The initial state enters the first segment, and the final state is
            that of the last.
        chunk: steps that are computed in parallel, a power of two; the result depends on it by rounding alone. With a
            vector gate the cpu path uses 16 of it at most, 32 in the backward pass.
        scale: factor of o; dk^-0.5 if None.
        implementation: None takes the best for each platform the program is compiled for, "pallas_tpu" on TPU and "xla"
            elsewhere; "xla", "pallas_gpu" (Hopper: 16-bit q, k and v, dk of 64 or 128, dv a multiple of 64, chunks of
            64), "pallas_tpu" take that one or raise.

    Returns:
        o: [..., t, h, dv], v's dtype.
        state: [..., h, dk, dv], float32 (float64 for float64): S_t after the last step.

    Raises:
        ValueError: shapes that don't fit. TypeError: a dtype that is not floating. NotImplementedError: a named
            implementation that can't run, and why.

    Source: Yang et al., "Gated Linear Attention Transformers with Hardware-Efficient Training", eq. 3 and section 4.
    """
    q, k, v = (jnp.asarray(x) for x in (q, k, v))
    _check(q, k, v, log_a, initial_state, segment_ids, chunk)
    scale = q.shape[-1] ** -0.5 if scale is None else float(scale)
    return _gated_linear_attention(
        q, k, v, log_a, initial_state, segment_ids, chunk=chunk, scale=scale, implementation=implementation
    )


def gated_linear_attention_step(state, q, k, v, log_a=None, *, scale: float | None = None):
    """One step of `gated_linear_attention`, for decoding.

    Args:
        state: [..., h, dk, dv] float32 state.
        q, k: [..., h, dk]. v: [..., h, dv]. log_a: None, [..., h] or [..., h, dk].
        scale: factor of o; dk^-0.5 if None.

    Returns:
        state: [..., h, dk, dv] the next state. o: [..., h, dv], v's dtype.
    """
    q, k, v = (jnp.asarray(x) for x in (q, k, v))
    check_shape("k", k, f"q's shape {q.shape}", k.shape == q.shape)
    check_shape("v", v, f"{q.shape[:-1]} and a feature axis", v.shape[:-1] == q.shape[:-1])
    check_shape("state", state, f"{(*q.shape, v.shape[-1])}", state.shape == (*q.shape, v.shape[-1]))
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    dtype = state.dtype
    if log_a is not None:
        check_shape("log_a", log_a, f"{q.shape[:-1]} or {q.shape}", log_a.shape in (q.shape[:-1], q.shape))
        gate = jnp.exp(log_a.astype(dtype))
        state = (gate[..., None, None] if log_a.ndim < q.ndim else gate[..., None]) * state
    state = state + k.astype(dtype)[..., None] * v.astype(dtype)[..., None, :]
    o = scale * jnp.einsum("...k,...kv->...v", q.astype(dtype), state)
    return state, o.astype(v.dtype)


def _check(q, k, v, log_a, initial_state, segment_ids, chunk):
    for name, x in (("q", q), ("k", k), ("v", v), ("log_a", log_a), ("initial_state", initial_state)):
        if x is not None:
            check_floating(name, x)
    check_shape("q", q, "[..., t, h, dk]", q.ndim >= 3)
    check_shape("k", k, f"q's shape {q.shape}", k.shape == q.shape)
    check_shape("v", v, f"{q.shape[:-1]} and a feature axis", v.ndim == q.ndim and v.shape[:-1] == q.shape[:-1])
    if log_a is not None:
        check_shape("log_a", log_a, f"{q.shape[:-1]} or {q.shape}", log_a.shape in (q.shape[:-1], q.shape))
    if initial_state is not None:
        expected = (*q.shape[:-3], *q.shape[-2:], v.shape[-1])
        check_shape("initial_state", initial_state, f"{expected}", initial_state.shape == expected)
    if segment_ids is not None:
        check_shape("segment_ids", segment_ids, f"{q.shape[:-2]}", segment_ids.shape == q.shape[:-2])
        if not jnp.issubdtype(segment_ids.dtype, jnp.integer):
            raise TypeError(f"segment_ids: expected an integer dtype, got {segment_ids.dtype}")
    if chunk < 1 or chunk & (chunk - 1):
        raise ValueError(f"chunk: expected a power of two, got {chunk}")


@functools.partial(jax.jit, static_argnames=("chunk", "scale", "implementation"))
def _gated_linear_attention(q, k, v, log_a, initial_state, segment_ids, *, chunk, scale, implementation):
    lead, (t, h, dk), dv = q.shape[:-3], q.shape[-3:], v.shape[-1]
    b = math.prod(lead)
    dtype = jnp.promote_types(v.dtype, jnp.float32)
    if segment_ids is not None:
        log_a = _forget_at_boundaries(log_a, segment_ids, h, dtype)
    operands = [q.reshape(b, t, h, dk), k.reshape(b, t, h, dk), v.reshape(b, t, h, dv)]
    if log_a is not None:
        operands.append(log_a.reshape(b, t, h, *log_a.shape[len(lead) + 2 :]))
    gate = "none" if log_a is None else "scalar" if log_a.ndim < q.ndim else "vector"
    state = jnp.zeros((b, h, dk, dv), dtype)
    if initial_state is not None:
        state = initial_state.reshape(b, h, dk, dv).astype(dtype)
    o, state = forward(*operands, state, gate=gate, chunk=chunk, scale=scale, implementation=implementation)
    return o.reshape(*lead, t, h, dv), state.reshape(*lead, h, dk, dv)


def _forget_at_boundaries(log_a, segment_ids, h, dtype):
    """The gate with everything forgotten where a new segment starts; a scalar gate where there was none."""
    before = jnp.concatenate([segment_ids[..., :1], segment_ids[..., :-1]], -1)
    starts = (segment_ids != before)[..., None]  # [..., t, 1]
    if log_a is None:
        return jnp.broadcast_to(jnp.where(starts, FLOOR, 0.0).astype(dtype), (*segment_ids.shape, h))
    starts = starts if log_a.ndim == starts.ndim else starts[..., None]
    return jnp.where(jnp.broadcast_to(starts, log_a.shape), jnp.asarray(FLOOR, log_a.dtype), log_a)
