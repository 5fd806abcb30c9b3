"""Flow attention as it is written on paper, for tests: all pairs of a query and a key, in the arguments' dtype."""

import jax
import jax.numpy as jnp


def flow_attention(q, k, v, *, causal=False, seen=None, clip=1.0, competition=True, allocation=True, eps=1e-6):
    """As the public op; `seen` [..., t, s] booleans of one head says which query and key may meet (t = s if causal)."""
    sinks, sources = jax.nn.sigmoid(q), jax.nn.sigmoid(k)
    t, s = q.shape[-3], k.shape[-3]
    pairs = jnp.tril(jnp.ones((t, s), bool)) if causal else jnp.ones((t, s), bool)
    pairs = pairs if seen is None else pairs & seen
    weights = pairs.astype(q.dtype)
    n, m = weights.sum(-2), weights.sum(-1)  # of the queries that a key meets, of the keys that a query meets
    if causal:
        n = m  # of the steps so far
    over_keys = lambda x: jnp.einsum("...ts,...shc->...thc", weights, x)  # noqa: E731
    # A causal source sums over the queries before it, as a sink does over the keys before it.
    of_queries = weights if causal else jnp.swapaxes(weights, -2, -1)
    over_queries = lambda x: jnp.einsum("...st,...thc->...shc", of_queries, x)  # noqa: E731
    flow = lambda x, total: ((x + eps) * (total + eps)).sum(-1)  # noqa: E731
    n_mean, m_mean = (n[..., None], m[..., None]) if causal else (1, 1)
    received, sent = flow(sinks, over_keys(sources)), flow(sources, over_queries(sinks))
    through = flow(sinks, over_keys(sources * (m_mean / sent)[..., None])) / m_mean
    offered = flow(sources, over_queries(sinks * (n_mean / received)[..., None])) / n_mean
    if competition:
        offered = offered if clip is None else jnp.clip(offered, -clip, clip)
        e = jnp.exp(offered - jax.lax.stop_gradient(offered.max(-2, keepdims=True)))
        if causal:
            w = m[..., None] * e / over_keys(e[..., None])[..., 0]
        else:
            # All queries that a key meets meet the same keys, so any row of theirs will do.
            together = (jnp.swapaxes(weights, -2, -1) @ weights > 0).astype(q.dtype)
            w = together.sum(-1)[..., None] * e / jnp.einsum("...su,...uh->...sh", together, e)
        v = v * w[..., None]
    capacity = jnp.einsum("...thd,...shd->...hts", sinks / received[..., None], sources) * weights[..., None, :, :]
    o = jnp.einsum("...hts,...shv->...thv", capacity, v)
    if not allocation:
        return o
    ratio = 1 if causal else (jnp.einsum("...ts,...s->...t", weights / m[..., None], n) / m)[..., None]
    return o * jax.nn.sigmoid(through * ratio)[..., None]
