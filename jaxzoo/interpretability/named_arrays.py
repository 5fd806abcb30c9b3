"""Arrays of a published network, taken by name: nothing is missing, nothing has another shape, nothing is left over."""

import re

import jax.numpy as jnp


def take(arrays, name, *shape):
    """Takes an array out of a dictionary, as float32.

    Args:
      arrays: name -> array; the array is removed.
      name: of the array.
      *shape: that it must have.

    Returns:
      The array.

    Raises:
      ValueError: it is missing or has another shape.
    """
    if name not in arrays:
        raise ValueError(f"weights: expected an array {name!r} of shape {shape}, got none of that name")
    array = arrays.pop(name)
    if array.shape != shape:
        raise ValueError(f"weights: {name!r}: expected shape {shape}, got {array.shape}")
    return jnp.asarray(array, jnp.float32)


def refuse_rest(arrays, *buffers):
    """Refuses what nobody took: a deeper network, or another one.

    Args:
      arrays: what is left.
      *buffers: regular expressions of whole names that carry no weights, such as causal masks.

    Raises:
      ValueError: an array is left that is no buffer.
    """
    left = sorted(name for name in arrays if not any(re.fullmatch(buffer, name) for buffer in buffers))
    if left:
        raise ValueError(f"weights: {left[0]!r} has no place in a network of these sizes; {len(left)} such arrays")


def take_norm(arrays, name, d):
    """The learned scale and bias [d] of the norm called `name`, taken out of the arrays."""
    return {"scale": take(arrays, f"{name}.weight", d), "bias": take(arrays, f"{name}.bias", d)}
