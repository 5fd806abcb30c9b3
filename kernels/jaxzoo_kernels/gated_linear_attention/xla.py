"""The chunked op in pure lax: forward, and backward with the chunks' first states computed again."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from . import chunk as one

# With vector gates the decays between pairs cost more per step than a smaller chunk adds to products with the state.
VECTOR_CHUNK_FORWARD, VECTOR_CHUNK_BACKWARD = 16, 32
SMALL_STATES = 1 << 17  # with gates, states of this many numbers in all stay in cache: step by step is faster


def split(operands, gate: str):
    """(q, k, v, gates, rest): gates is () where there is none, and rest begins with the initial state."""
    q, k, v, *rest = operands
    count = 0 if gate == "none" else 1
    return q, k, v, tuple(rest[:count]), rest[count:]


def forward(*operands, gate: str, chunk: int, scale: float, in_place: bool = True):
    """[o, last state]."""
    q, k, v, gates, (state,) = split(operands, gate)
    size, precision = plan(q, gate, chunk, VECTOR_CHUNK_FORWARD)
    if q.shape[1] == 0:
        return [v, state]
    if in_place and gate != "none" and state.size <= SMALL_STATES:
        return _step_by_step(q, k, v, *gates, state, scale)
    run = _per_head(functools.partial(one.forward, precision=precision))

    def body(state, inputs):
        q, k, v, *gates = (x.astype(state.dtype) for x in inputs)
        o, state = run(q * scale, k, v, tuple(gates), state)
        return state, (o.astype(inputs[2].dtype),)

    state, (o,) = _over_chunks(body, state, (q, k, v, *gates), (v,), size, False, in_place)
    return [o, state]


def backward(*operands, gate: str, chunk: int, scale: float, in_place: bool = True):
    """[cotangents of q, k, v, the gate if there is one, and of the initial state]."""
    q, k, v, gates, (state, ct_o, ct_last) = split(operands, gate)
    size, precision = plan(q, gate, chunk, VECTOR_CHUNK_BACKWARD)
    if q.shape[1] == 0:
        return [q, k, v, *gates, ct_last]
    inputs, dtype = (q, k, v, *gates), state.dtype
    advance = _per_head(functools.partial(one.next_state, precision=precision))
    pull = _per_head(functools.partial(one.backward, precision=precision))

    def states(state, inputs):
        k, v, *gates = (x.astype(dtype) for x in inputs)
        return advance(k, v, tuple(gates), state), state

    first_states = _states_before(states, state, (k, v, *gates), size, in_place)

    def body(ct_state, given):
        (*inputs, ct_o), state = given
        q, k, v, *gates = (x.astype(dtype) for x in inputs)
        ct_q, *cts, ct_gates, ct_state = pull(q * scale, k, v, tuple(gates), state, ct_o.astype(dtype), ct_state)
        cts = (ct_q * scale, *cts, *ct_gates)
        return ct_state, tuple(ct.astype(x.dtype) for ct, x in zip(cts, inputs, strict=True))

    ct_state, cts = _over_chunks(body, ct_last, (*inputs, ct_o), inputs, size, True, in_place, per_chunk=first_states)
    return [*cts, ct_state]


def tangent(*operands, gate: str, chunk: int, scale: float, in_place: bool = True):
    """[tangents of o and of the last state]: the operands of `forward`, then as many tangents."""
    count = len(operands) // 2
    run = functools.partial(forward, gate=gate, chunk=chunk, scale=scale, in_place=in_place)
    return jax.jvp(lambda *args: run(*args), tuple(operands[:count]), tuple(operands[count:]))[1]


def _step_by_step(q, k, v, log_a, state, scale):
    """The forward pass with gates, one step after another."""
    if log_a.ndim == 3:
        log_a = log_a[..., None]  # [b, t, h, 1 or dk]

    def step(i, carry):
        state, o = carry
        now = (lax.dynamic_index_in_dim(x, i, 1, keepdims=False).astype(state.dtype) for x in (q, k, v, log_a))
        q_now, k_now, v_now, log_a_now = now  # [b, h, d]
        state = jnp.exp(log_a_now)[..., None] * state + k_now[..., None] * v_now[..., None, :]
        o_now = scale * jnp.einsum("bhd,bhdv->bhv", q_now, state, precision=lax.Precision.HIGHEST)
        return state, lax.dynamic_update_index_in_dim(o, o_now.astype(o.dtype), i, 1)

    state, o = lax.fori_loop(0, q.shape[1], step, (state, lax.empty(v.shape, v.dtype)))
    return [o, state]


def plan(q, gate, chunk, vector_chunk):
    """The chunk to use, a power of two no longer than needed, and the precision of the products."""
    limit = min(chunk, vector_chunk) if gate == "vector" else chunk
    size = min(limit, 1 << max(q.shape[1] - 1, 0).bit_length())
    exact = q.dtype in (jnp.float32, jnp.float64)
    return size, lax.Precision.HIGHEST if exact else lax.Precision.DEFAULT


def _per_head(function):
    return jax.vmap(jax.vmap(function))


def padded(x, size):
    """Zeros after the end: a gate of log 0 keeps the state, a key of 0 adds nothing to it."""
    missing = -x.shape[1] % size
    return jnp.pad(x, [(0, missing if axis == 1 else 0) for axis in range(x.ndim)]) if missing else x


def _heads_first(x):
    return jnp.moveaxis(x, 2, 1)  # [b, c, h, ..] <-> [b, h, c, ..]


def _over_chunks(body, carry, inputs, likes, size, reverse, in_place, per_chunk=None):
    """Runs `body(carry, inputs of a chunk [b, h, c, ..]) -> (carry, outputs)` over time; outputs shaped as `likes`.

    In place, each chunk is cut from the operands and written into the results where it lies, which keeps it in cache
    from its first use to its last. A scan over arrays cut up beforehand is what differentiates well.
    """
    inputs, t = tuple(padded(x, size) for x in inputs), likes[0].shape[1]
    count = inputs[0].shape[1] // size

    def given(chunks, extra):
        return chunks if per_chunk is None else (chunks, extra)

    if not in_place:
        pieces = tuple(cut(x, size) for x in inputs)
        carry, outputs = lax.scan(lambda c, x: body(c, given(*x)), carry, (pieces, per_chunk), reverse=reverse)
        return carry, tuple(heads_last(x)[:, :t] for x in outputs)

    def step(i, state):
        carry, outputs = state
        i = count - 1 - i if reverse else i
        chunks = tuple(_heads_first(lax.dynamic_slice_in_dim(x, i * size, size, 1)) for x in inputs)
        extra = None if per_chunk is None else lax.dynamic_index_in_dim(per_chunk, i, 0, keepdims=False)
        carry, new = body(carry, given(chunks, extra))
        write = lambda out, x: lax.dynamic_update_slice_in_dim(out, _heads_first(x), i * size, 1)  # noqa: E731
        return carry, tuple(write(out, x) for out, x in zip(outputs, new, strict=True))

    empty = tuple(lax.empty((x.shape[0], count * size, *x.shape[2:]), x.dtype) for x in likes)
    carry, outputs = lax.fori_loop(0, count, step, (carry, empty))
    return carry, tuple(x[:, :t] for x in outputs)


def _states_before(body, state, inputs, size, in_place):
    """The state before every chunk, [chunks, b, h, dk, dv]."""
    inputs = tuple(padded(x, size) for x in inputs)
    count = inputs[0].shape[1] // size
    if not in_place:
        return lax.scan(body, state, tuple(cut(x, size) for x in inputs))[1]

    def step(i, carried):
        state, states = carried
        states = lax.dynamic_update_index_in_dim(states, state, i, 0)
        chunks = tuple(_heads_first(lax.dynamic_slice_in_dim(x, i * size, size, 1)) for x in inputs)
        return body(state, chunks)[0], states

    return lax.fori_loop(0, count, step, (state, lax.empty((count, *state.shape), state.dtype)))[1]


def cut(x, size):
    """[b, t, h, ..] -> [chunks, b, h, size, ..]."""
    b, t, h, *rest = x.shape
    return jnp.moveaxis(x.reshape(b, t // size, size, h, *rest), (1, 3), (0, 2))


def heads_last(x):
    """[chunks, b, h, size, ..] -> [b, t, h, ..]."""
    count, b, h, size, *rest = x.shape
    return jnp.moveaxis(x, (0, 2), (1, 3)).reshape(b, count * size, h, *rest)
