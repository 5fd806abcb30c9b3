"""Floating-point numbers as integers: sign, and magnitude = exponent field | mantissa field."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax


class Format(NamedTuple):
    """A floating-point format: its widths and the integers that matter.

    storage: the unsigned integer of its width. lane: the unsigned integer to compute in. mantissa: stored bits.
    bias: of the exponent. sign: the sign bit, and largest: the magnitude of the largest number, both of `lane`.
    """

    storage: np.dtype
    lane: np.dtype
    mantissa: int
    bias: int
    sign: np.unsignedinteger
    largest: np.unsignedinteger


@functools.cache
def format_of(dtype) -> Format:
    """The `Format` of a dtype of 8, 16, 32 or 64 bits."""
    info = jnp.finfo(dtype)
    storage = np.dtype(f"uint{info.bits}")
    lane = np.dtype("uint64" if info.bits == 64 else "uint32")
    return Format(
        storage=storage,
        lane=lane,
        mantissa=info.nmant,
        bias=1 - int(info.minexp),
        sign=lane.type(1 << (info.bits - 1)),
        largest=lane.type(np.asarray(info.max, dtype).view(storage)),
    )


def offset_bits(mantissa_bits: int) -> int:
    """l(m): the offset is 2^-l(m). Paper, eq. 1."""
    return mantissa_bits if mantissa_bits <= 3 else 3 if mantissa_bits == 4 else 4


def split(x, mantissa_bits: int, rounding: str):
    """x of any shape as (sign bit, magnitude), unsigned: subnormals are 0, the mantissa has `mantissa_bits` left.

    A number above the largest one of so many bits becomes that one, never infinity; infinities and NaNs stay.
    """
    form = format_of(x.dtype)
    raw = lax.bitcast_convert_type(x, form.storage).astype(form.lane)
    magnitude = raw & (form.sign - 1)
    magnitude = jnp.where(magnitude < 1 << form.mantissa, jnp.zeros_like(raw), magnitude)
    drop = form.mantissa - mantissa_bits
    if drop > 0:
        lost = (1 << drop) - 1
        bump = (lost >> 1) + ((magnitude >> drop) & 1) if rounding == "nearest" else 0
        rounded = jnp.minimum((magnitude + bump) >> drop << drop, form.largest >> drop << drop)
        magnitude = jnp.where(magnitude > form.largest, magnitude, rounded)
    return raw & form.sign, magnitude


def join(raw, dtype):
    """The float whose bits are `raw`."""
    return lax.bitcast_convert_type(raw.astype(format_of(dtype).storage), dtype)


def power_of_two(sign, magnitude, dtype):
    """P(x): x with its mantissa cleared, sign times a power of two; 0 for 0, infinity for what is not finite."""
    form = format_of(dtype)
    return join(sign | (magnitude >> form.mantissa << form.mantissa), dtype)
