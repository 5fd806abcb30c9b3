"""Sums of products of vectors, one per axis, as a dense table."""

import jax
import numpy as np

from jaxzoo.robustness.m61 import m61_add, m61_mul
from jaxzoo.robustness.multilinear import outer

SMALL = 2**16
"""Entries up to which NumPy is faster than to compile."""


def tensor_sum(scales, factors):
    """sum_i scales[i] factors[i][0] x factors[i][1] x ...

    Args:
      scales: k integers below p.
      factors: k lists of vectors [n_0], [n_1] .., uint64 below p.

    Returns:
      [n_0, n_1, ...] uint64 below p, NumPy.
    """
    scales = np.array(scales, np.uint64)[:, None]  # [k, 1]
    heads = np.stack([outer([s, *f[:-1]]).reshape(-1) for s, f in zip(scales, factors, strict=True)])
    tails = np.stack([f[-1] for f in factors])
    shape = [len(v) for v in factors[0]]
    if heads[0].size * shape[-1] <= SMALL:
        return _sum(heads, tails).reshape(shape)
    rows = SMALL // shape[-1]
    with jax.enable_x64(True):
        parts = [_compiled(heads[:, i : i + rows], tails) for i in range(0, heads.shape[1], rows)]
    return np.concatenate(parts).reshape(shape)


def _sum(heads, tails):
    total = m61_mul(heads[0][:, None], tails[0][None])
    for head, tail in zip(heads[1:], tails[1:], strict=True):
        total = m61_add(total, m61_mul(head[:, None], tail[None]))
    return total


_compiled = jax.jit(_sum)
