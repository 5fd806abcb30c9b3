"""The usual variations of training images."""

import jax
import jax.numpy as jnp


def shifted_and_flipped(key, x, *, shift=4):
    """Each image moved by up to `shift` pixels along both axes, zeros coming in, and mirrored left to right by chance.

    Args:
      key: of the draw.
      x: [b, h, w, c].
      shift: the most pixels of a move.

    Returns:
      [b, h, w, c].
    """
    key_shift, key_flip = jax.random.split(key)
    starts = jax.random.randint(key_shift, (x.shape[0], 2), 0, 2 * shift + 1)
    flips = jax.random.bernoulli(key_flip, 0.5, (x.shape[0],))

    def vary(x, start, flip):
        padded = jnp.pad(x, ((shift, shift), (shift, shift), (0, 0)))
        cut = jax.lax.dynamic_slice(padded, (start[0], start[1], 0), x.shape)
        return jnp.where(flip, cut[:, ::-1], cut)

    return jax.vmap(vary)(x, starts, flips)
