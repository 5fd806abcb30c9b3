"""The quantised product as it is written on paper, for tests: numpy, float64, every number dequantised first."""

import numpy as np


def quantized_matmul(x, w, w_scale, x_scale=1.0):
    """x [m, k], w [k, n], w_scale [], [n] or [groups, n], x_scale [], [m] or [m, groups] -> [m, n] float64."""
    (m, k), n = x.shape, w.shape[1]
    x_scale, w_scale = np.asarray(x_scale, np.float64), np.asarray(w_scale, np.float64)
    x_scale = x_scale[:, None] if x_scale.ndim == 1 else x_scale
    x_scale = np.broadcast_to(x_scale, (m, max(x_scale.shape[1:], default=1)))
    w_scale = np.broadcast_to(w_scale, (w_scale.shape[0] if w_scale.ndim == 2 else 1, n))
    x = np.asarray(x).astype(np.float64) * np.repeat(x_scale, k // x_scale.shape[1], 1)
    return x @ (np.asarray(w).astype(np.float64) * np.repeat(w_scale, k // w_scale.shape[0], 0))
