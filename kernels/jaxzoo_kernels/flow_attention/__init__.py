"""Flow attention: linear attention in which keys compete for queries and queries allocate what they receive.

Keys are the sources of a flow and queries its sinks, with capacities Q_i . K_j of Q = sigmoid(q) and K = sigmoid(k).
Fixing what every sink receives at 1 says how much each source then sends, Ohat, a softmax of which makes the sources
compete; fixing what every source sends at 1 says how much each sink then receives, Ihat, which gates its output:

    I_i = Q_i . sum_j K_j          O_j = K_j . sum_i Q_i                            raw flows
    Ihat_i = Q_i . sum_j K_j / O_j   Ohat_j = K_j . sum_i Q_i / I_i                 conserved flows
    w_j = m softmax_j(clip(Ohat))  o_i = sigmoid(Ihat_i n / m) (Q_i / I_i) . sum_j K_j^T (w_j v_j)

for n queries and m keys. `causal` takes every sum over what came before, and counts n = m = t at step t.

The sums over keys and queries are vectors, prefix sums by `linear_recurrence` where causal; the sums of K_j^T (w_j v_j)
are linear attention without a gate, by `gated_linear_attention` where causal and a product of matrices otherwise. Both
bring their kernels for TPU and Hopper, their derivatives of any order and their states. Packed sequences that are not
causal are summed from both sides: each prefix sum once forwards and once in reverse.

What bounds it: memory, 2 (d + d_v) + 4 numbers per step and pass and three passes; on cpu the product K^T (w v), as in
linear attention. Everything is float32 (float64 for float64): in bfloat16 the sums of long sequences lose small flows.

Tried, and no help: the prefix sums as jnp.cumsum (log-depth passes; on cpu 3 times slower at t = 4096).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .._core import check_floating, check_shape
from ..gated_linear_attention import gated_linear_attention
from ..linear_recurrence import linear_recurrence

__all__ = ["FlowState", "flow_attention", "flow_state"]


class FlowState(NamedTuple):
    """What causal flow attention remembers of the steps before: sums over them, float32 (float64 for float64).

    Attributes:
        count: [...] number of steps.
        keys, queries: [..., h, d] sums of K and of Q.
        sources, sinks: [..., h, d] sums of K n / O and of Q n / I.
        competition: [..., h] sum of exp(clip(Ohat)).
        memory: [..., h, d, d_v] sum of K^T (w v).
    """

    count: jax.Array
    keys: jax.Array
    queries: jax.Array
    sources: jax.Array
    sinks: jax.Array
    competition: jax.Array
    memory: jax.Array


def flow_state(lead: tuple[int, ...], h: int, d: int, d_v: int, dtype=jnp.float32) -> FlowState:
    """The state before the first step, for q of shape [*lead, t, h, d] and v of [*lead, t, h, d_v]."""
    vector = jnp.zeros((*lead, h, d), dtype)
    sums = [vector] * 4
    return FlowState(jnp.zeros(lead, dtype), *sums, jnp.zeros((*lead, h), dtype), jnp.zeros((*lead, h, d, d_v), dtype))


def flow_attention(
    q,
    k,
    v,
    *,
    causal: bool = False,
    mask=None,
    segment_ids=None,
    initial_state: FlowState | None = None,
    clip: float | None = 1.0,
    competition: bool = True,
    allocation: bool = True,
    eps: float = 1e-6,
    chunk: int = 64,
    implementation: str | None = None,
):
    """Attention by conserved flows, in linear time.

    The formulas are in this module's docstring. As in the official code, eps is added to each factor of the four inner
    products, Ohat is clipped before the softmax, and Q_i . K_j / I_i uses the raw flow. A query that is masked gives 0.

    Args:
        q: [..., t, h, d] queries. float16, bfloat16, float32 or float64; k and v have the same dtype.
        k: [..., s, h, d] keys; s = t where causal.
        v: [..., s, h, d_v] values.
        causal: sums over steps up to a query's own. Strictly causal, but conserved only approximately.
        mask: [..., t] booleans where t = s, or a pair ([..., t], [..., s]): False for padding, which neither sends nor
            receives and is not counted.
        segment_ids: [..., t] integers where t = s; equal ids are adjacent, and sequences packed this way do not see
            each other.
        initial_state: causal alone: what an earlier call returned, to go on from. It belongs to the first segment.
        clip: bound of |Ohat| in the competition; None for none, with which causal or packed flows above 88 overflow.
        competition: False weighs all keys alike, w = 1.
        allocation: False leaves out the gate.
        eps: keeps the quotients finite.
        chunk: as for `gated_linear_attention`.
        implementation: as for `gated_linear_attention`; the prefix sums take it where they have one of that name.

    Returns:
        [..., t, h, d_v], v's dtype; with `initial_state`, a pair of it and the `FlowState` after the last step.

    Raises:
        ValueError: shapes or options that don't fit. TypeError: a dtype that can't be. NotImplementedError: a named
            implementation that can't run, and why.

    Source: Wu et al., "Flowformer: Linearizing Transformers with Conservation Flows" (arXiv 2202.06258), eq. 4 to 8,
    and its official code.
    """
    q, k, v = (jnp.asarray(x) for x in (q, k, v))
    _check(q, k, v, causal, segment_ids, initial_state, clip)
    of_q, of_kv = _masks(mask, q, k)
    given = {"clip": clip, "competition": competition, "allocation": allocation, "eps": eps, "chunk": chunk}
    if not causal and segment_ids is None:
        if implementation is not None and implementation != "xla":
            raise NotImplementedError(
                f"flow_attention: implementation={implementation!r}: without causal or segment_ids it is plain products"
            )
        del given["chunk"]
        return _dense(q, k, v, of_q, of_kv, **given)
    given |= {"causal": causal, "implementation": implementation}
    o, state = _summed(q, k, v, of_q, of_kv, segment_ids, initial_state, **given)
    return o if initial_state is None else (o, state)


@functools.partial(jax.jit, static_argnames=("clip", "competition", "allocation", "eps"))
def _dense(q, k, v, of_q, of_kv, *, clip, competition, allocation, eps):
    """Every sum over all keys or all queries: [..., h, d]."""
    dtype = jnp.promote_types(v.dtype, jnp.float32)
    sinks, sources = _capacity(q, of_q, dtype), _capacity(k, of_kv, dtype)
    n, m = (_count(mask, x, dtype) for mask, x in ((of_q, q), (of_kv, k)))  # [..., 1, 1]
    received = _flow(sinks, sources.sum(-3, keepdims=True), eps)  # I [..., t, h]
    sent = _flow(sources, sinks.sum(-3, keepdims=True), eps)  # O [..., s, h]
    through = _flow(sinks, (sources / sent[..., None]).sum(-3, keepdims=True), eps)  # Ihat
    values = v.astype(dtype)
    if competition:
        offered = _flow(sources, (sinks / received[..., None]).sum(-3, keepdims=True), eps)  # Ohat
        offered = offered if clip is None else jnp.clip(offered, -clip, clip)
        offered = offered if of_kv is None else jnp.where(of_kv[..., None], offered, -jnp.inf)
        values = values * (m * jax.nn.softmax(offered, -2))[..., None]
    memory = jnp.einsum("...shd,...she->...hde", sources, values, precision="highest")
    o = jnp.einsum("...thd,...hde->...the", sinks / received[..., None], memory, precision="highest")
    if allocation:
        o = o * jax.nn.sigmoid(through * (n / m))[..., None]
    return o.astype(v.dtype)


@functools.partial(
    jax.jit, static_argnames=("causal", "clip", "competition", "allocation", "eps", "chunk", "implementation")
)
def _summed(
    q, k, v, of_q, of_kv, segments, state, *, causal, clip, competition, allocation, eps, chunk, implementation
):
    """Every sum over the steps before, or over all steps of a segment."""
    dtype = jnp.promote_types(v.dtype, jnp.float32)
    sinks, sources = _capacity(q, of_q, dtype), _capacity(k, of_kv, dtype)
    state = flow_state(q.shape[:-3], *q.shape[-2:], v.shape[-1], dtype) if state is None else state
    sums = functools.partial(_sums, segments=segments, causal=causal, implementation=implementation)

    def count(mask):
        ones = jnp.ones(q.shape[:-2], dtype) if mask is None else jnp.broadcast_to(mask, q.shape[:-2]).astype(dtype)
        counted, last = sums(ones[..., None, None], state.count[..., None, None])
        return jnp.maximum(counted[..., 0], 1), last[..., 0, 0]  # [..., t, 1], [...]

    (n, steps), (m, _) = count(of_q), count(of_kv)
    # Prefixes differ in length: flows are averages over them, where whole sequences have plain sums.
    n_mean, m_mean = (n, m) if causal else (1.0, 1.0)
    all_keys, keys = sums(sources, state.keys)
    all_queries, queries = sums(sinks, state.queries)
    received, sent = _flow(sinks, all_keys, eps), _flow(sources, all_queries, eps)  # I, O [..., t, h]
    all_sent, sent_after = sums(sources * (m_mean / sent)[..., None], state.sources)
    all_received, received_after = sums(sinks * (n_mean / received)[..., None], state.sinks)
    through, offered = _flow(sinks, all_sent, eps) / m_mean, _flow(sources, all_received, eps) / n_mean  # Ihat, Ohat
    values, total = v.astype(dtype), state.competition
    if competition:
        weight = jnp.exp(offered if clip is None else jnp.clip(offered, -clip, clip))
        weight = weight if of_kv is None else weight * of_kv[..., None]
        over, total = (x[..., 0] for x in sums(weight[..., None], state.competition[..., None]))
        values = values * (m * weight / jnp.where(over == 0, 1, over))[..., None]
    read = functools.partial(gated_linear_attention, chunk=chunk, scale=1.0, implementation=implementation)
    scaled = sinks / received[..., None]
    o, memory = read(scaled, sources, values, initial_state=state.memory, segment_ids=segments)
    if not causal:
        flipped = (jnp.flip(x, -3) for x in (scaled, sources, values))
        back, _ = read(*flipped, segment_ids=jnp.flip(segments, -1))
        o = o + jnp.flip(back, -3) - (scaled * sources).sum(-1, keepdims=True) * values
    if allocation:
        o = o * jax.nn.sigmoid(through * (n / m))[..., None]
    after = FlowState(steps, keys, queries, sent_after, received_after, total, memory)
    return o.astype(v.dtype), after


def _sums(x, before, *, segments, causal, implementation):
    """(x [..., t, h, c] summed over time within its segment, the sum after the last step), from the sum `before`."""
    axis = x.ndim - 3
    run = functools.partial(linear_recurrence, axis=axis, implementation=implementation)
    stays = jnp.ones((1, 1, 1), x.dtype)
    if segments is not None:
        stays = _continues(segments).astype(x.dtype)[..., None, None]  # [..., t, 1, 1]
    total, last = run(stays, x, h0=before)
    if causal:
        return total, last
    return total + run(jnp.roll(stays, -1, axis), x, reverse=True)[0] - x, last


def _continues(segments):
    """Where a step belongs to the segment of the one before: booleans [..., t]. The first step does."""
    before = jnp.concatenate([segments[..., :1], segments[..., :-1]], -1)
    return segments == before


def _capacity(x, mask, dtype):
    """sigmoid(x), 0 where masked."""
    x = jax.nn.sigmoid(x.astype(dtype))
    return x if mask is None else jnp.where(mask[..., None, None], x, 0)


def _flow(x, total, eps):
    """x . total over features: [..., t, h]."""
    return ((x + eps) * (total + eps)).sum(-1)


def _count(mask, x, dtype):
    """How many steps are not masked, at least 1: [..., 1, 1]."""
    if mask is None:
        return jnp.full((1,) * (x.ndim - 1), x.shape[-3], dtype)
    return jnp.maximum(jnp.broadcast_to(mask, x.shape[:-2]).sum(-1, dtype=dtype), 1)[..., None, None]


def _masks(mask, q, k):
    """The masks of queries and of keys, (None, None) without."""
    if mask is None:
        return None, None
    pair = mask if isinstance(mask, tuple) else (mask, mask)
    of_q, of_kv = (jnp.asarray(x) for x in pair)
    for x, like in ((of_q, q), (of_kv, k)):
        full = like.shape[:-2]
        if x.dtype != jnp.bool_:
            raise TypeError(f"mask: expected booleans, got {x.dtype}")
        fits = x.ndim <= len(full) and all(a in (1, b) for a, b in zip(x.shape[::-1], full[::-1], strict=False))
        check_shape("mask", x, f"a shape broadcastable to {full}", fits and x.ndim > 0)
    return tuple(x.reshape((1,) * (q.ndim - 2 - x.ndim) + x.shape) for x in (of_q, of_kv))


def _check(q, k, v, causal, segment_ids, initial_state, clip):
    for name, x in (("q", q), ("k", k), ("v", v)):
        check_floating(name, x)
        if x.dtype != q.dtype:
            raise TypeError(f"{name}: expected q's dtype {q.dtype}, got {x.dtype}; cast one of them")
    check_shape("q", q, "[..., t, h, d]", q.ndim >= 3)
    lead, (t, h, d) = q.shape[:-3], q.shape[-3:]
    fits = k.ndim == q.ndim and k.shape[:-3] == lead and k.shape[-2:] == (h, d)
    check_shape("k", k, f"{(*lead, 's', h, d)}", fits)
    check_shape("v", v, f"{k.shape[:-1]} and a feature axis", v.ndim == k.ndim and v.shape[:-1] == k.shape[:-1])
    if causal or segment_ids is not None:
        check_shape("k", k, f"as many keys as queries, {t}, where causal or with segment_ids", k.shape[-3] == t)
    if segment_ids is not None:
        check_shape("segment_ids", segment_ids, f"{q.shape[:-2]}", segment_ids.shape == q.shape[:-2])
        if not jnp.issubdtype(segment_ids.dtype, jnp.integer):
            raise TypeError(f"segment_ids: expected an integer dtype, got {segment_ids.dtype}")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip: expected a number above 0 or None, got {clip}")
    if initial_state is None:
        return
    if not causal:
        raise ValueError("initial_state: expected none unless causal, for what comes later counts as well")
    expected = jax.eval_shape(lambda: flow_state(lead, h, d, v.shape[-1]))
    for name, x, like in zip(FlowState._fields, initial_state, expected, strict=True):
        check_shape(f"initial_state.{name}", x, f"{like.shape}", x.shape == like.shape)
