"""Checks of static facts at an op's public entry: what was expected, what came."""

from __future__ import annotations

import jax.numpy as jnp

FLOATING = ("float16", "bfloat16", "float32", "float64")


def check_shape(name: str, x, expected: str, fits: bool) -> None:
    """Raises ValueError naming the argument, the expected shape and the given one, unless `fits`."""
    if not fits:
        raise ValueError(f"{name}: expected {expected}, got {tuple(x.shape)}")


def check_floating(name: str, x, also: tuple[str, ...] = ()) -> None:
    """Raises TypeError unless x's dtype is a real floating one that the ops compute in, or one of `also`."""
    if jnp.dtype(x.dtype).name not in FLOATING + also:
        allowed = ", ".join(FLOATING + also)
        raise TypeError(f"{name}: expected dtype {allowed}, got {x.dtype}; cast it, e.g. {name}.astype('float32')")
