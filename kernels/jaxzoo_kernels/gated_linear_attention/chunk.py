"""One chunk of one head, in three forms of the gate: none, a scalar per step, a vector per step.

With P_t the product of the gates of the chunk up to and with step t, R_s that of the steps after s, G that of all, and
E_ts that of the steps s+1 .. t (1 for s = t, 0 for s > t):

    A_ts = sum_d q_td k_sd E_tsd,   o = A v + (q P) S,   S' = G S + (k R)^T v

Every decay is a product of gates in [0, 1], or the exponential of a sum of non-positive logarithms: nothing is divided
and no two sums are subtracted, so a gate of 0 to -1e4 (or -inf) in log space loses no digits of its neighbours.

q, k [c, dk], v [c, dv], log gates None, [c] or [c, dk], state [dk, dv], all in the precision of the state. q is scaled.
"""

import jax
import jax.numpy as jnp
from jax import lax

FLOOR = -1e4  # exp of it is 0 in float64; a sum of a few hundred is finite, as a matrix product with zeros needs


def halves(x, width):
    """[c, ...] -> (first, second) halves of its blocks of 2 * width rows, each [c / (2 width), width, ...]."""
    x = x.reshape(-1, 2, width, *x.shape[1:])
    return x[:, 0], x[:, 1]


def joined(first, second):
    """The inverse of `halves`."""
    return jnp.stack([first, second], 1).reshape(-1, *first.shape[2:])


def decays(log_a):
    """Per block width w = 1, 2, .. c: (prefix [c, dk], suffix [c, dk], total [c / w, dk]) products inside the blocks.

    A prefix is that of the steps of the block up to and with its own, a suffix that of the steps after its own. A block
    twice as wide takes two multiplications of half its rows.
    """
    a = jnp.exp(log_a)
    prefix, suffix, total, width = a, jnp.ones_like(a), a, 1
    levels = [(prefix, suffix, total)]
    while width < len(a):
        (p1, p2), (s1, s2), (t1, t2) = halves(prefix, width), halves(suffix, width), halves(total, 1)
        prefix, suffix, total = joined(p1, p2 * t1), joined(s1 * t2, s2), (t1 * t2)[:, 0]
        width *= 2
        levels.append((prefix, suffix, total))
    return levels


def vector_scores(q, k, levels, precision):
    """A [c, c]: at each width, second halves of blocks look at first halves, through decays that meet between."""
    blocks, width = jnp.sum(q * k, 1)[:, None, None], 1
    for prefix, suffix, _ in levels[:-1]:
        later, earlier = halves(q * prefix, width)[1], halves(k * suffix, width)[0]
        if width == 1:  # products of single rows are sums, slow as matrix products
            across = jnp.sum(later * earlier, 2, keepdims=True)
        else:
            across = jnp.einsum("nwd,nsd->nws", later, earlier, precision=precision)
        first, second = blocks[0::2], blocks[1::2]
        upper = jnp.concatenate([first, jnp.zeros_like(first)], 2)
        blocks = jnp.concatenate([upper, jnp.concatenate([across, second], 2)], 1)
        width *= 2
    return blocks[0]


def scalar_decays(log_a):
    """(E [c, c], P [c], R [c], G []) of scalar gates.

    An error in a sum of logarithms is a relative one of what it decays: the sums are few, and in full precision
    whatever the other products are rounded to.
    """
    c, precision = len(log_a), lax.Precision.HIGHEST
    below = jnp.tril(jnp.ones((c, c), log_a.dtype), -1)
    upto = jnp.tril(jnp.ones((c, c), log_a.dtype))
    log_a = jnp.maximum(log_a, FLOOR)
    # log E_ts as the sum over j <= t of the gates at j > s: each sum holds its own terms only.
    pairs = jnp.dot(upto, log_a[:, None] * below, precision=precision)
    prefix = jnp.exp(jnp.dot(upto, log_a, precision=precision))
    suffix = jnp.exp(jnp.dot(log_a, below, precision=precision))
    # Masked before exp and after: what is above the diagonal has no finite derivative to leak.
    return jnp.exp(jnp.where(upto > 0, pairs, 0)) * upto, prefix, suffix, jnp.exp(jnp.sum(log_a))


def inside(q, k, gates, precision):
    """What does not need the state: A [c, c], q P, k R, and G ([dk, 1], [] or None without a gate)."""
    if not gates:
        return jnp.tril(jnp.einsum("td,sd->ts", q, k, precision=precision)), q, k, None
    (log_a,) = gates
    if log_a.ndim == 1:
        between, prefix, suffix, total = scalar_decays(log_a)
        scores = jnp.einsum("td,sd->ts", q, k, precision=precision) * between
        return scores, q * prefix[:, None], k * suffix[:, None], total
    levels = decays(log_a)
    prefix, suffix, total = levels[-1]
    return vector_scores(q, k, levels, precision), q * prefix, k * suffix, total[0][:, None]


def forward(q, k, v, gates, state, precision):
    """(o [c, dv], next state)."""
    mm = lambda spec, x, y: jnp.einsum(spec, x, y, precision=precision)  # noqa: E731
    scores, seen, left, total = inside(q, k, gates, precision)
    kept = state if total is None else total * state
    return mm("ts,sv->tv", scores, v) + mm("td,dv->tv", seen, state), kept + mm("sd,sv->dv", left, v)


def next_state(k, v, gates, state, precision):
    """The next state alone: what only the scores need is never computed."""
    return forward(k, k, v, gates, state, precision)[1]


def backward(q, k, v, gates, state, ct_o, ct_state, precision):
    """Cotangents (q, k, v, gates, state) from those of o and of the next state."""
    if gates and gates[0].ndim == 2:
        return _vector_backward(q, k, v, gates[0], state, ct_o, ct_state, precision)
    _, pull = jax.vjp(lambda *args: forward(*args, precision), q, k, v, gates, state)
    return pull((ct_o, ct_state))


def _vector_backward(q, k, v, log_a, state, ct_o, ct_state, precision):
    """By hand, twice as fast as differentiating `forward`: the tree of decays is walked down again, in log space.

    ct_p and ct_r are the cotangents of log prefix and log suffix of the blocks of one width, ct_g of their log totals;
    each level hands them to the two halves, as `decays` built the block's from the halves'. All are sums of terms that
    a gate takes part in, none a difference of two long sums.
    """
    mm = lambda spec, x, y: jnp.einsum(spec, x, y, precision=precision)  # noqa: E731
    levels, c = decays(log_a), len(q)
    prefix, suffix, total = levels[-1]
    scores = vector_scores(q, k, levels, precision)
    ct_scores = mm("tv,sv->ts", ct_o, v)
    q_seen, k_left = q * prefix, k * suffix
    from_state, to_state = mm("tv,dv->td", ct_o, state), mm("sv,dv->sd", v, ct_state)
    ct_v = mm("ts,tv->sv", scores, ct_o) + mm("sd,dv->sv", k_left, ct_state)
    ct_before = total[0][:, None] * ct_state + mm("td,tv->dv", q_seen, ct_o)
    own = jnp.diagonal(ct_scores)[:, None]
    ct_q, ct_k = prefix * from_state + own * k, suffix * to_state + own * q
    ct_p, ct_r, ct_g = q_seen * from_state, k_left * to_state, total * jnp.sum(state * ct_state, 1)[None]
    width = c
    for prefix, suffix, _ in reversed(levels[:-1]):
        width //= 2
        count = c // (2 * width)
        tiles = ct_scores.reshape(count, 2, width, count, 2, width)[:, 1, :, :, 0]
        tiles = jnp.moveaxis(jnp.diagonal(tiles, 0, 0, 2), -1, 0)  # [count, w, w]
        (_, p2), (r1, _) = halves(prefix, width), halves(suffix, width)
        later, earlier = halves(q, width)[1] * p2, halves(k, width)[0] * r1
        to_later, to_earlier = mm("nws,nsd->nwd", tiles, earlier), mm("nws,nwd->nsd", tiles, later)
        nothing = jnp.zeros_like(later)
        ct_q += joined(nothing, to_later * p2)
        ct_k += joined(to_earlier * r1, nothing)
        ct_g = joined(
            ct_g[:, None] + jnp.sum(halves(ct_p, width)[1], 1, keepdims=True),
            ct_g[:, None] + jnp.sum(halves(ct_r, width)[0], 1, keepdims=True),
        )
        ct_p += joined(nothing, later * to_later)
        ct_r += joined(earlier * to_earlier, nothing)
    return ct_q, ct_k, ct_v, (ct_p + ct_g,), ct_before
