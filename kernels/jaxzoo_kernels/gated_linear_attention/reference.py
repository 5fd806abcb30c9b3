"""Gated linear attention as it is written on paper, for tests: numpy, float64, one step at a time."""

import numpy as np


def gated_linear_attention(q, k, v, log_a=None, *, initial_state=None, segment_ids=None, scale=None):
    """Arguments and results as the public op's, in float64."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    *lead, t, h, dk = q.shape
    dv = v.shape[-1]
    scale = dk**-0.5 if scale is None else scale
    a = np.ones_like(q) if log_a is None else np.exp(np.asarray(log_a, np.float64))
    a = np.broadcast_to(a[..., None] if a.ndim < q.ndim else a, q.shape).copy()
    if segment_ids is not None:
        segment_ids = np.broadcast_to(segment_ids, (*lead, t))
        a[..., 1:, :, :] *= (segment_ids[..., 1:] == segment_ids[..., :-1])[..., None, None]
    state = np.zeros((*lead, h, dk, dv)) if initial_state is None else np.asarray(initial_state, np.float64)
    o = np.empty(v.shape)
    for i in range(t):
        state = a[..., i, :, :, None] * state + k[..., i, :, :, None] * v[..., i, :, None, :]
        o[..., i, :, :] = scale * np.einsum("...hk,...hkv->...hv", q[..., i, :, :], state)
    return o, state
