"""Products of packed signs in pure lax: exclusive or and population count, or int8 for a matrix unit."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from .._core.products import outer_sum, product

WORD = 32


def pack(x, axis):
    """The signs of x along `axis`, 32 to a word: bit i of word j is 1 where x at 32 j + i is negative."""
    negative = jnp.moveaxis(x < 0, axis, -1)
    padding = [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[axis] % WORD)]
    bits = jnp.pad(negative, padding).reshape(*negative.shape[:-1], -1, WORD)
    places = lax.broadcasted_iota(jnp.uint32, bits.shape, bits.ndim - 1)
    words = jnp.sum(bits.astype(jnp.uint32) << places, -1, dtype=jnp.uint32)
    return jnp.moveaxis(words, -1, axis)


def unpack(words, k, axis):
    """The inverse of `pack`: -1 or 1 in int8, k of them along `axis`."""
    words = jnp.moveaxis(words, axis, -1)
    spread = jnp.broadcast_to(words[..., None], (*words.shape, WORD))
    bits = spread >> lax.broadcasted_iota(jnp.uint32, spread.shape, spread.ndim - 1) & 1
    signs = 1 - 2 * bits.reshape(*words.shape[:-1], -1)[..., :k].astype(jnp.int8)
    return jnp.moveaxis(signs, -1, axis)


def matrix_unit(x, w, *, k):
    """[x @ w] with the signs unpacked to int8: 8 times the bytes, and a matrix unit does the rest."""
    return [product(unpack(x, k, 2), unpack(w, k, 1), jnp.int32)]


def popcount(x, w, *, k):
    """[k - 2 sum of the bits that differ], word by word; bits past k are cleared."""
    used = np.full(x.shape[2], 2**WORD - 1, np.uint32)
    used[-1:] >>= np.uint32(-k % WORD)
    x, w = x & used[None, None, :], w & used[None, :, None]
    differing = outer_sum(lambda x, w: lax.population_count(x ^ w).astype(jnp.int32), (x,), (w,), jnp.int32)
    return [k - 2 * differing]
