"""One chunk of one head as whole [c, c] products under masks: the form for matrix units, without reshapes.

The same tree as in chunk.py. At width w, the second half of a block of 2w steps looks at the first: with P_w, R_w the
products of the gates inside a block of w, from its start up to a step and from after a step to its end,

    A = diag(q . k) + sum over w of M_w * ((q P_w) (k R_w)^T),   M_w = 1 where t, s are in the halves of one block.

P_2w and R_2w are P_w and R_w times the total of the sibling block, which is P_w R_w moved by w rows. `roll(x, by)`
moves the rows of x down, around the end.
"""

import jax.numpy as jnp
from jax import lax


def grids(c):
    """Row and column numbers of a [c, c] array."""
    return (lax.broadcasted_iota(jnp.int32, (c, c), axis) for axis in (0, 1))


def widths(c):
    return [1 << i for i in range(c.bit_length() - 1)]


def halves_mask(c, width):
    """[c, c] bool: row in the second half and column in the first half of one block of 2 * width."""
    t, s = grids(c)
    return ((t ^ s) < 2 * width) & (t & width != 0) & (s & width == 0)


def vector_levels(log_a, roll):
    """[(P_w, R_w)] for w = 1, 2, .. c, each [c, dk]."""
    c = log_a.shape[0]
    row = lax.broadcasted_iota(jnp.int32, log_a.shape, 0)
    prefix = jnp.exp(log_a)
    suffix = jnp.ones_like(prefix)
    levels = [(prefix, suffix)]
    for width in widths(c):
        total, second = prefix * suffix, row & width != 0
        prefix, suffix = (
            jnp.where(second, prefix * roll(total, width), prefix),
            jnp.where(second, suffix, suffix * roll(total, c - width)),
        )
        levels.append((prefix, suffix))
    return levels


def scalar_levels(log_a, dk, dot):
    """(E [c, c], P [c, dk], R [c, dk]) of a gate [c, 1]."""
    t, s = grids(log_a.shape[0])
    upto, below = (t >= s).astype(log_a.dtype), (t > s).astype(log_a.dtype)
    wide = jnp.broadcast_to(log_a, (log_a.shape[0], dk))
    between = jnp.where(t >= s, jnp.exp(dot(upto, log_a * below)), 0.0)
    return between, jnp.exp(dot(upto, wide)), jnp.exp(dot((t < s).astype(log_a.dtype), wide))


def scores(q, k, gate, dot_t, dot, roll):
    """(A [c, c], P, R, inner): P and R are None without a gate; inner is E of a scalar gate, the levels of a vector."""
    c = q.shape[0]
    t, s = grids(c)
    if gate is None:
        return jnp.where(t >= s, dot_t(q, k), 0.0), None, None, None
    if gate.shape[1] == 1:
        between, prefix, suffix = scalar_levels(gate, q.shape[1], dot)
        return dot_t(q, k) * between, prefix, suffix, between
    levels = vector_levels(gate, roll)
    own = jnp.sum(q * k, 1, keepdims=True)
    a = jnp.where(t == s, jnp.broadcast_to(own, (c, c)), 0.0)
    for width, (prefix, suffix) in zip(widths(c), levels[:-1], strict=True):
        a += jnp.where(halves_mask(c, width), dot_t(q * prefix, k * suffix), 0.0)
    return a, *levels[-1], levels


def forward(q, k, v, gate, state, dot, dot_t, t_dot, roll):
    """(o [c, dv], next state [dk, dv]).

    q, k [c, dk], v [c, dv]; gate None, [c, 1] or [c, dk]; dot(x, y) = x y, dot_t(x, y) = x y^T, t_dot(x, y) = x^T y.
    """
    a, prefix, suffix, _ = scores(q, k, gate, dot_t, dot, roll)
    if gate is not None:
        q, k = q * prefix, k * suffix
    return dot(a, v) + dot(q, state), decayed(state, prefix) + t_dot(k, v)


def decayed(state, prefix):
    """The state through the whole chunk: P of the last row is the total."""
    if prefix is None:
        return state
    return state * column(prefix[-1:])


def column(row):
    """[1, d] -> [d, 1]."""
    d = row.shape[1]
    i, j = grids(d)
    return jnp.sum(jnp.where(i == j, jnp.broadcast_to(row, (d, d)), 0.0), 1, keepdims=True)


def backward(q, k, v, gate, state, ct_o, ct_state, dot, dot_t, t_dot, roll):
    """Cotangents (q, k, v, gate or None, state); no two long sums are subtracted, as in chunk.py."""
    c = q.shape[0]
    t, s = grids(c)
    a, prefix, suffix, inner = scores(q, k, gate, dot_t, dot, roll)
    ct_a = jnp.where(t >= s, dot_t(ct_o, v), 0.0)
    from_state, to_state = dot_t(ct_o, state), dot_t(v, ct_state)
    if gate is None:
        ct_v, ct_before = t_dot(a, ct_o) + dot(k, ct_state), ct_state + t_dot(q, ct_o)
        return dot(ct_a, k) + from_state, t_dot(ct_a, q) + to_state, ct_v, None, ct_before
    seen, left = q * prefix, k * suffix
    ct_v = t_dot(a, ct_o) + dot(left, ct_state)
    ct_before = decayed(ct_state, prefix) + t_dot(seen, ct_o)
    # The gate of step j is in P_t for t >= j, in R_s for s < j, and in what the state keeps.
    kept = prefix[-1:] * dot_t(jnp.ones((1, state.shape[1]), state.dtype), state * ct_state)
    ct_gate = dot(as_float(t <= s, q), seen * from_state) + dot(as_float(t > s, q), left * to_state) + kept
    within = _scalar_pairs if gate.shape[1] == 1 else _vector_pairs
    ct_q, ct_k, of_pairs = within(q, k, a, ct_a, inner, dot, t_dot)
    ct_gate = jnp.sum(ct_gate, 1, keepdims=True) if gate.shape[1] == 1 else ct_gate
    return ct_q + prefix * from_state, ct_k + suffix * to_state, ct_v, ct_gate + of_pairs, ct_before


def as_float(mask, like):
    return jnp.where(mask, jnp.ones((), like.dtype), jnp.zeros((), like.dtype))


def _scalar_pairs(q, k, a, ct_a, between, dot, t_dot):
    """Cotangents of q, k and the gate [c, 1] from the pairs of the chunk: gate j is in E_ts for s < j <= t."""
    t, s = grids(q.shape[0])
    pairs = ct_a * between
    since = dot(as_float(t <= s, q), ct_a * a)  # [j, s]: the sum over t >= j
    return dot(pairs, k), t_dot(pairs, q), jnp.sum(jnp.where(t > s, since, 0.0), 1, keepdims=True)


def _vector_pairs(q, k, a, ct_a, levels, dot, t_dot):
    """The same for a gate [c, dk], level by level of the tree."""
    c = q.shape[0]
    t, s = grids(c)
    own = jnp.sum(jnp.where(t == s, ct_a, 0.0), 1, keepdims=True)
    ct_q, ct_k, ct_gate = own * k, own * q, jnp.zeros_like(q)
    for width, (prefix, suffix) in zip(widths(c), levels[:-1], strict=True):
        tile = jnp.where(halves_mask(c, width), ct_a, 0.0)
        later, earlier = q * prefix, k * suffix
        to_later, to_earlier = dot(tile, earlier), t_dot(tile, later)
        ct_q += to_later * prefix
        ct_k += to_earlier * suffix
        # Rows j: in P of the second half for t >= j, in R of the first half for s < j.
        same, second = (t ^ s) < width, t & width != 0
        ct_gate += dot(as_float(same & second & (t <= s), q), later * to_later)
        ct_gate += dot(as_float(same & ~second & (t > s), q), earlier * to_earlier)
    return ct_q, ct_k, ct_gate
