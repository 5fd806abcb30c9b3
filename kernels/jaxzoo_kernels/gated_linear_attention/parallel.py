"""The chunked op with all chunks at once: for accelerators, where a loop over chunks would wait on every small product.

Only the states pass from chunk to chunk, by `linear_recurrence` (on TPU its kernel, on GPUs an associative scan) over
arrays [chunks, states]; all else is batched products. The price against a fused kernel is the states' traffic: dk dv
numbers in float32 per head and chunk, written and read twice.
"""

import functools

import jax
import jax.numpy as jnp

from ..linear_recurrence.op import OPS
from . import chunk as one
from .xla import cut, heads_last, padded, plan, split


def _over_everything(function):
    return jax.vmap(jax.vmap(jax.vmap(function)))


def _chunks(arrays, size, dtype):
    return tuple(cut(padded(x, size), size).astype(dtype) for x in arrays)


def _passed_on(totals, added, first, reverse):
    """(state before every chunk [chunks, b, h, dk, dv], state after the last), in the direction of time."""
    count, *shape = added.shape
    decay = jnp.ones((1, *shape), added.dtype) if totals is None else jnp.broadcast_to(_wide(totals), added.shape)
    states, last = OPS[1](
        decay.reshape(1, len(decay), -1),
        added.reshape(1, count, -1),
        first.reshape(1, -1),
        reverse=reverse,
        after=False,
        conjugate=False,
        implementation=None,
    )
    states, first = states.reshape(added.shape), first[None]
    before = jnp.concatenate([states[1:], first] if reverse else [first, states[:-1]])
    return before, last.reshape(shape)


def _wide(totals):
    """Scalar totals [chunks, b, h] to [chunks, b, h, 1, 1]."""
    return totals[..., None, None] if totals.ndim == 3 else totals


def forward(*operands, gate: str, chunk: int, scale: float):
    """[o, last state]."""
    q, k, v, gates, (state,) = split(operands, gate)
    size, precision = plan(q, gate, chunk, chunk)
    t = q.shape[1]
    if t == 0:
        return [v, state]
    mm = functools.partial(jnp.einsum, precision=precision)
    q_cut, k_cut, v_cut, *gates = _chunks((q, k, v, *gates), size, state.dtype)
    inside = _over_everything(functools.partial(one.inside, precision=precision))
    scores, seen, left, totals = inside(q_cut * scale, k_cut, tuple(gates))
    before, last = _passed_on(totals, mm("nbhsd,nbhsv->nbhdv", left, v_cut), state, False)
    o = mm("nbhts,nbhsv->nbhtv", scores, v_cut) + mm("nbhtd,nbhdv->nbhtv", seen, before)
    return [heads_last(o)[:, :t].astype(v.dtype), last]


def backward(*operands, gate: str, chunk: int, scale: float):
    """[cotangents of q, k, v, the gate if there is one, and of the initial state]."""
    q, k, v, gates, (state, ct_o, ct_last) = split(operands, gate)
    size, precision = plan(q, gate, chunk, chunk)
    inputs, t = (q, k, v, *gates), q.shape[1]
    if t == 0:
        return [*inputs, ct_last]
    mm = functools.partial(jnp.einsum, precision=precision)
    q_cut, k_cut, v_cut, *gates_cut, ct_cut = _chunks((*inputs, ct_o), size, state.dtype)
    q_cut, gates_cut = q_cut * scale, tuple(gates_cut)
    inside = _over_everything(functools.partial(one.inside, precision=precision))
    _, seen, left, totals = inside(q_cut, k_cut, gates_cut)
    before, _ = _passed_on(totals, mm("nbhsd,nbhsv->nbhdv", left, v_cut), state, False)
    ct_after, ct_state = _passed_on(totals, mm("nbhtd,nbhtv->nbhdv", seen, ct_cut), ct_last, True)
    pull = _over_everything(functools.partial(one.backward, precision=precision))
    ct_q, ct_k, ct_v, ct_gates, _ = pull(q_cut, k_cut, v_cut, gates_cut, before, ct_cut, ct_after)
    cts = (ct_q * scale, ct_k, ct_v, *ct_gates)
    return [*(heads_last(ct)[:, :t].astype(x.dtype) for ct, x in zip(cts, inputs, strict=True)), ct_state]
