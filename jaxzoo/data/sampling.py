"""Batches for training, drawn inside compiled code: every batch is a pure function of a key."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def sampler(x, y, batch: int) -> Callable:
    """Batches drawn uniformly with replacement.

    Args:
      x: [n, ...] inputs.
      y: [n, ...] targets.
      batch: examples in a batch, b.

    Returns:
      `sample(key) -> (x [b, ...], y [b, ...])`, for `jaxzoo.train.supervised`.
    """
    x, y = _pairs(x, y)
    if batch < 1:
        raise ValueError(f"batch: expected at least 1, got {batch}")

    def sample(key):
        chosen = jax.random.randint(key, (batch,), 0, len(x))
        return x[chosen], y[chosen]

    return sample


def minibatches(x, y, batch: int) -> Callable:
    """Batches of shuffled epochs: each example comes once before any comes again, in a new order every epoch.

    Where `batch` does not divide n, a batch takes the last of one epoch and the first of the next; none is lost.

    Args:
      x: [n, ...] inputs.
      y: [n, ...] targets.
      batch: examples in a batch, b <= n.

    Returns:
      `batch_at(key, step) -> (x [b, ...], y [b, ...])`: a pure function of the run's key (the same at every step) and
      of the step, so that a resumed run continues the epoch where it was.
    """
    x, y = _pairs(x, y)
    n = len(x)
    if not 1 <= batch <= n:
        raise ValueError(f"batch: expected 1 to {n} (the number of examples), got {batch}")

    def order(key, epoch):
        return jax.random.permutation(jax.random.fold_in(key, epoch), n)

    def batch_at(key, step):
        if n % batch == 0:
            per_epoch = n // batch
            start = step % per_epoch * batch
            chosen = jax.lax.dynamic_slice_in_dim(order(key, step // per_epoch), start, batch)
        else:
            epoch, start = _position(step, batch, n)
            both = jnp.concatenate([order(key, epoch), order(key, epoch + 1)])  # [2n]
            chosen = jax.lax.dynamic_slice_in_dim(both, start, batch)
        return x[chosen], y[chosen]

    return batch_at


def _pairs(x, y):
    x, y = jnp.asarray(x), jnp.asarray(y)
    if not len(x) or len(x) != len(y):
        raise ValueError(f"x, y: expected as many inputs as targets, got {len(x)} and {len(y)}")
    return x, y


def _position(step, batch: int, n: int):
    """Epoch of a step's first example, and its place there: divmod(step * batch, n), but no int32 overflow."""
    # After n steps exactly `batch` epochs have gone by.
    rounds, step = step // n, step % n
    return rounds * batch + step * batch // n, step * batch % n


def windows(key, tokens, batch: int, length: int):
    """Random stretches of a text, with the next token as the target at every place.

    Args:
      key: a PRNG key.
      tokens: [n] integers.
      batch: stretches, b.
      length: tokens in a stretch, t < n.

    Returns:
      x: [b, t] int32, tokens[s : s + t], s uniform over all places where it fits.
      y: [b, t] int32, tokens[s + 1 : s + t + 1].
    """
    tokens = jnp.asarray(tokens)
    _check_length(length, len(tokens))
    start = jax.random.randint(key, (batch, 1), 0, len(tokens) - length)
    stretch = tokens[start + jnp.arange(length + 1)[None]].astype(jnp.int32)  # [b, t + 1]
    return stretch[:, :-1], stretch[:, 1:]


def all_windows(tokens, length: int):
    """The text cut into consecutive stretches without overlap, for evaluation: every target counts once.

    Args:
      tokens: [n] integers.
      length: tokens in a stretch, t < n.

    Returns:
      x: [(n - 1) // t, t] int32; the rest of the text, shorter than a stretch, is left out.
      y: [(n - 1) // t, t] int32, the next tokens.
    """
    tokens = jnp.asarray(tokens, jnp.int32)
    _check_length(length, len(tokens))
    count = (len(tokens) - 1) // length
    return tokens[: count * length].reshape(count, length), tokens[1 : count * length + 1].reshape(count, length)


def _check_length(length: int, n: int) -> None:
    if not 1 <= length < n:
        raise ValueError(
            f"length: expected 1 to {n - 1} (the text has {n} tokens, and the last is a target), got {length}"
        )
