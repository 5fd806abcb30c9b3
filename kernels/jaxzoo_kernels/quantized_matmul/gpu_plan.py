"""How the Mosaic GPU kernel (gpu.py) cuts a quantised product, what it refuses, and its operands as TMA takes them."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from .xla import EIGHT_BITS, INTEGERS

FLOATS = ("bfloat16", "float16")
GROUPS = 2  # warpgroups that compute
ROWS = 64  # the height of a tensor-core product
WORD = 16  # bits
SMS = 132  # blocks of threads that run at a time; fewer make k be split among several
BAND = 16  # tiles of x that neighbours in time have, so that they read about as much of x as of w
STAGES = {"int4": 6, "int8": 5, "float8_e4m3fn": 3, "float8_e5m2": 3}  # tiles of x and w in flight
MOST_ROWS = {"int4": 48, "int8": 96, "float8_e4m3fn": 96, "float8_e5m2": 96}  # of x: what registers hold


class Plan(NamedTuple):
    """How the work is cut: a block of threads has m rows of x by `planes * columns` columns of w.

    Column `planes * c + p` of w is entry c of plane p. k: terms of one tile. parts: products of 64 columns that one
    warpgroup has, each of another plane, or of other columns of the only one. steps: tiles of k. per_group: those of
    one group, or 0. splits: blocks that share k. tiles_m, tiles_n: blocks beside each other. band: blocks along m that
    come before the next ones along n.
    """

    m: int
    k: int
    planes: int
    columns: int
    parts: int
    stages: int
    steps: int
    per_group: int
    splits: int
    tiles_m: int
    tiles_n: int
    band: int


def refuse(x, w, x_scale, w_scale, *, out_dtype):
    """Why these operands can't run, or None."""
    of_x, of_w = jnp.dtype(x.dtype).name, jnp.dtype(w.dtype).name
    if jnp.float64 in (x.dtype, x_scale.dtype, w_scale.dtype, out_dtype):
        return "sums are float32, and an operand or the result is float64"
    if of_w in INTEGERS and of_x in INTEGERS:
        return "Pallas has no product of integers for Hopper's tensor cores; XLA's, by cuBLAS, is exact in int32"
    if of_w in INTEGERS and of_x not in FLOATS:
        return f"tensor cores multiply {' or '.join(FLOATS)} exactly, not {of_x}"
    if of_w in EIGHT_BITS and of_x != of_w:
        return f"8-bit floats are multiplied by their own dtype alone, not {of_w} by {of_x}"
    if 0 in x.shape + w.shape:
        return "an empty product"
    groups = _groups(x_scale, w_scale)
    if groups > 1 and x.shape[2] // groups % 32:
        return f"groups of {x.shape[2] // groups} terms, which are not a multiple of 32"
    lead = _lead(x, w, x_scale, w_scale)
    return f"a grid has at most 65535 examples, got {lead}" if lead > 65535 else None


def _groups(x_scale, w_scale):
    return max(x_scale.shape[2], w_scale.shape[1])


def _lead(*operands):
    return max(z.shape[0] for z in operands)


def plan_of(x, w, x_scale, w_scale):
    (_, m, k), n, name = x.shape, w.shape[2], jnp.dtype(w.dtype).name
    most, groups = MOST_ROWS[name], _groups(x_scale, w_scale)
    rows = pl.cdiv(pl.cdiv(m, pl.cdiv(m, most)), 8) * 8
    planes, columns, terms = 1, 2 * GROUPS * ROWS, 128
    if name in INTEGERS:
        planes, columns, terms = WORD // jnp.iinfo(w.dtype).bits, GROUPS * ROWS, 64
    terms = terms if groups == 1 else math.gcd(k // groups, terms)
    steps, tiles_m, tiles_n = pl.cdiv(k, terms), pl.cdiv(m, rows), pl.cdiv(n, planes * columns)
    return Plan(
        m=rows,
        k=terms,
        planes=planes,
        columns=columns,
        parts=planes * columns // ROWS // GROUPS,
        stages=STAGES[name],
        steps=steps,
        per_group=k // groups // terms if groups > 1 else 0,
        splits=max(1, min(SMS // (_lead(x, w, x_scale, w_scale) * tiles_m * tiles_n), steps // 4)),
        tiles_m=tiles_m,
        tiles_n=tiles_n,
        band=pl.cdiv(tiles_m, pl.cdiv(tiles_m, BAND)),
    )


def operands(x, w, x_scale, w_scale, plan):
    """x and w as TMA takes them, 8 rows by up to 128 bytes at a time, and the scales cut into tiles."""
    planes, columns = plan.planes, plan.tiles_n * plan.columns
    x_scale = jnp.swapaxes(x_scale.astype(jnp.float32), 1, 2)  # [g, groups, m]
    x_scale = jnp.broadcast_to(x_scale, (*x_scale.shape[:2], x.shape[1]))
    w_scale = _padded(w_scale.astype(jnp.float32), 1, planes * columns)
    w_scale = jnp.moveaxis(w_scale.reshape(*w_scale.shape[:2], columns, planes), 3, 2)
    if planes > 1:
        w = _padded(w, 8, ROWS * planes)
        w = lax.bitcast_convert_type(w.reshape(*w.shape[:2], -1, planes), jnp.int16)
        units = jnp.array([unit_of(plane, WORD // planes) for plane in range(planes)], jnp.float32)
        w_scale = w_scale / units[None, None, :, None]
    else:
        w = _padded(jnp.swapaxes(w, 1, 2), 8, plan.k)
    x_scale = _padded(x_scale, 1, plan.tiles_m * plan.m)
    return {"x": _padded(x, 8, plan.k), "w": w, "x_scale": x_scale, "w_scale": w_scale}


def _padded(x, rows, columns):
    missing = [(0, 0), (0, -x.shape[1] % rows), (0, -x.shape[2] % columns)]
    return jnp.pad(x, missing) if any(end for _, end in missing) else x


def unit_of(plane, bits):
    """The worth of the lowest bit of a plane in its byte, by which the widened numbers are too large."""
    return 1 << plane * bits % 8
