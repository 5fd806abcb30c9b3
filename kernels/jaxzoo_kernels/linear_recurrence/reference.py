"""The recurrence as it is written on paper, for tests: numpy, float64 or complex128, one step at a time."""

import numpy as np


def linear_recurrence(a, b, *, h0=None, reverse=False, axis=0):
    """h_t = a_t h_{t-1} + b_t along `axis`; arguments and results as the public op's, complex as complex arrays."""
    a, b = np.asarray(a), np.asarray(b)
    h0 = np.zeros(np.delete(b.shape, axis)) if h0 is None else np.asarray(h0)
    dtype = np.result_type(a, b, h0, np.float64)
    a = np.moveaxis(np.broadcast_to(a, b.shape), axis, 0).astype(dtype)
    b = np.moveaxis(b, axis, 0).astype(dtype)
    state = h0.astype(dtype)
    h = np.empty(b.shape, dtype)
    for t in reversed(range(len(b))) if reverse else range(len(b)):
        state = a[t] * state + b[t]
        h[t] = state
    return np.moveaxis(h, 0, axis), state
