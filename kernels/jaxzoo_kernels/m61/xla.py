"""Both functions in pure lax, on words; the TPU kernel runs the same lines on blocks."""

import jax.numpy as jnp
from jax import lax

from . import limbs


def loop(function, limbs):
    """Three applications in a loop, which is never fused with what is around it."""
    return lax.fori_loop(0, 3, lambda _, limbs: tuple(function(limbs)), tuple(limbs))


def mul_words(a, b, rounds=loop):
    """The words of a b; a and b are pairs of words."""
    return limbs.join(limbs.multiply(limbs.split(*a), limbs.split(*b), rounds))


def fold_words(low, high, u, rounds=loop):
    """The words of low + u (high - low); all are pairs of words."""
    low, high, u = (limbs.split(*words) for words in (low, high, u))
    moved = limbs.multiply(u, limbs.subtract(high, low, rounds), rounds)
    return limbs.join(limbs.add(low, moved, rounds))


def multiply(a, b):
    """[a b], a and b [g, 2, n]."""
    return [jnp.stack(mul_words(*(pair(x) for x in (a, b))), 1)]


def fold(low, high, u):
    """[low + u (high - low)], low and high [g, 2, n], u [g or 1, 2, 1]."""
    u = jnp.broadcast_to(u, low.shape)
    return [jnp.stack(fold_words(*(pair(x) for x in (low, high, u))), 1)]


def pair(x):
    """The words of [g, 2, ...], low and high."""
    return x[:, 0], x[:, 1]
