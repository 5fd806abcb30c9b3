"""Batch norm with its running statistics passed in and returned."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxzoo.ops.norms import accumulator, check_affine


class BatchState(NamedTuple):
    """Running statistics of a batch norm.

    Attributes:
      mean: [c] running mean.
      var: [c] running unbiased variance.
      count: number of batches seen, an int32 scalar.
    """

    mean: jax.Array
    var: jax.Array
    count: jax.Array


def batch_state(channels):
    """The statistics before the first batch: mean 0, variance 1, count 0."""
    return BatchState(jnp.zeros(channels), jnp.ones(channels), jnp.zeros((), jnp.int32))


def batch_norm(x, scale, bias, state, *, train, momentum=0.1, axis_name=None, eps=1e-5):
    """Normalises each channel over the batch and all positions.

    train: y = (x - mean_B) / sqrt(var_B + eps) * scale + bias, with mean and biased variance of the batch B, and
      running = (1 - momentum) * running + momentum * batch, where the running variance is fed the unbiased one.
    not train: the same with the running statistics, which stay as they are.

    `momentum` is the weight of the new batch, as in PyTorch (default 0.1). flax calls momentum the weight of the old
    statistics (default 0.99, here `momentum=0.01`), and keeps the biased variance.

    Args:
      x: [..., c]. Statistics are taken over all axes but the last: give a batch [b, ..., c], or one example under
        `jax.vmap(..., axis_name=axis_name)`, which also spans shards of a device mesh.
      scale: [c] factor, or None for 1.
      bias: [c] offset, or None for 0.
      state: a `BatchState` of c channels.
      train: normalise by the batch and update the state; a Python bool.
      momentum: weight of the new batch in the running statistics, or None for their plain average over all batches.
      axis_name: name, or names, of mapped axes that statistics are also taken over.
      eps: added to the variance.

    Returns:
      y [..., c] of x's dtype, and the `BatchState`. Statistics are taken in float32 or better. Under `vmap` the state
      is the same for all examples: `out_axes=(0, None)`.

    Raises:
      ValueError: shapes do not fit, or the batch has one value per channel when training, whose variance is nothing.

    Source: Ioffe, Szegedy, "Batch Normalization" (arXiv 1502.03167), Algs. 1 and 2.
    """
    check_affine(scale, bias, x.shape[-1])
    check_affine(state.mean, state.var, x.shape[-1], ("state.mean", "state.var"))
    wide = x.astype(accumulator(x.dtype))
    mean, var = state.mean, state.var
    if train:
        mean, var, number = _statistics(wide, axis_name)
        weight = 1 / (state.count + 1) if momentum is None else momentum
        unbiased = var * (number / (number - 1))
        state = BatchState(_toward(state.mean, mean, weight), _toward(state.var, unbiased, weight), state.count + 1)
    factor = lax.rsqrt(var + eps)
    factor = factor if scale is None else factor * scale
    y = _scaled(wide, mean, factor, jnp.zeros_like(mean) if bias is None else bias.astype(wide.dtype))
    return y.astype(x.dtype), state


def _statistics(x, axis_name):
    """Mean [c] and biased variance [c] over all axes but the last, and the number of values behind them."""
    number = x.size // x.shape[-1] * (1 if axis_name is None else lax.axis_size(axis_name))
    if number < 2:
        raise ValueError(
            f"x: expected at least 2 values per channel to train on, got {x.shape} with axis_name={axis_name}"
        )
    if axis_name is None:
        return *_moments(x), number
    axes = tuple(range(x.ndim - 1))
    mean = lax.pmean(x.mean(axes), axis_name)
    return mean, lax.pmean(jnp.square(x - _channel(mean, x)).mean(axes), axis_name), number


# The derivatives of these two are written so that their transposes sum over the batch twice, for the gradients of scale
# and bias, where differentiating as it stands sums five times; sums are what a batch norm costs.


@jax.custom_jvp
def _moments(x):
    """Mean and biased variance over all axes but the last."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    return mean, jnp.square(x - _channel(mean, x)).mean(axes)


@_moments.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    axes = tuple(range(x.ndim - 1))
    mean, var = _moments(x)
    return (mean, var), (dx.mean(axes), 2 * ((x - _channel(mean, x)) * dx).mean(axes))


@jax.custom_jvp
def _scaled(x, mean, factor, bias):
    """(x - mean) * factor + bias by channel."""
    return (x - _channel(mean, x)) * _channel(factor, x) + _channel(bias, x)


@_scaled.defjvp
def _(primals, tangents):
    (x, mean, factor, _), (dx, dmean, dfactor, dbias) = primals, tangents
    change = (x - _channel(mean, x)) * _channel(dfactor, x) + _channel(dbias - dmean * factor, x)
    return _scaled(*primals), dx * _channel(factor, x) + change


def _channel(v, x):
    return v.reshape((1,) * (x.ndim - 1) + (-1,))


def _toward(old, new, weight):
    return (old + weight * (lax.stop_gradient(new).astype(old.dtype) - old)).astype(old.dtype)
