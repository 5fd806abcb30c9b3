"""Says which implementation every op in a function gets, why, and what it can't be faster than."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from . import choice
from .op import OPS


class Explanation(NamedTuple):
    """One op of a traced function.

    op: its name. operands: shapes and dtypes. operations: arithmetic ones. bytes: operands and outputs, each once.
    choices: platform -> implementation. refusals: implementation -> why it was not taken. blocks: implementation ->
    its block sizes, for those that can run.
    """

    op: str
    operands: tuple[str, ...]
    operations: int
    bytes: int
    choices: dict[str, str]
    refusals: dict[str, str]
    blocks: dict[str, dict[str, int]]


def explain(function, *args, **kwargs) -> list[Explanation]:
    """The ops of this package that `function(*args, **kwargs)` runs, in order; nothing is computed.

    Args:
        function: any JAX function: an op of this package, a model, a gradient of either.
        *args, **kwargs: its arguments: arrays or `jax.ShapeDtypeStruct`s by position; keywords are taken as they are.

    Returns:
        list of `Explanation`, the operations and bytes being those of one call (a loop around it is not counted).
    """
    jaxpr = jax.make_jaxpr(lambda *a: function(*a, **kwargs))(*args)
    return [_explain(eqn) for eqn in _equations(jaxpr.jaxpr) if eqn.primitive in OPS]


def _equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in jaxprs_in_params(eqn.params):
            yield from _equations(inner)


def _explain(eqn) -> Explanation:
    op, avals = OPS[eqn.primitive], [v.aval for v in eqn.invars]
    params = {name: value for name, value in eqn.params.items() if name != "implementation"}
    everything = avals + [v.aval for v in eqn.outvars]
    refusals = {name: choice.refusal(address, avals, params) for name, address in op.kernels.items() if address}
    able = [name for name, reason in refusals.items() if reason is None]
    choices = {}
    for platform in ("cpu", "cuda", "tpu"):
        try:
            choices[platform] = op.choose(platform, avals, eqn.params)
        except NotImplementedError as error:
            choices[platform] = f"none: {error}"
    return Explanation(
        op=op.name,
        operands=tuple(a.str_short() for a in avals),
        operations=int(op.operations(*avals, **params)),
        bytes=sum(math.ceil(math.prod(a.shape) * _bits(a.dtype) / 8) for a in everything),
        choices=choices,
        refusals={name: reason for name, reason in refusals.items() if reason is not None},
        blocks={name: choice.load(op.kernels[name]).blocks(*avals, **params) for name in able},
    )


def _bits(dtype) -> int:
    """Of one element, two of int4 lying in a byte."""
    return jnp.iinfo(dtype).bits if jnp.issubdtype(dtype, jnp.integer) else 8 * jnp.dtype(dtype).itemsize
