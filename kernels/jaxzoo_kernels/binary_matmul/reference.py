"""The product of signs as it is written on paper, for tests: numpy."""

import numpy as np


def binary_matmul(x, w):
    """sign(x) @ sign(w) of real x [..., m, k] and w [..., k, n], the sign of 0 being 1; int64."""
    return np.where(x < 0, -1, 1) @ np.where(w < 0, -1, 1)
