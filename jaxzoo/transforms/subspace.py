"""Models restricted to a random affine subspace of their parameters."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial


class Subspace(NamedTuple):
    """A model whose parameters are coordinates theta [dim] in a subspace; theta = 0 is its origin.

    Both functions are pytrees (`jax.tree_util.Partial`) that hold the origin and the basis: given to a compiled
    function as arguments, instead of closed over, they are no constants of the program.

    Attributes:
      apply: `apply(theta, x, ...) -> y`.
      lift: `lift(theta) -> params`.
    """

    apply: Callable
    lift: Callable


def in_subspace(apply, params0, key, dim):
    """Restricts a model to params0 + P theta, where the columns of P are a random orthonormal basis.

    P [D, dim], for D parameters, is the Q factor of a Gaussian matrix: its span is uniformly distributed, and a step in
    theta has the same length in the parameters. It is stored: D * dim numbers.

    Args:
      apply: `apply(params, x, ...) -> y`.
      params0: the origin, a pytree of floating arrays.
      key: PRNG key of the basis.
      dim: dimension of the subspace, 1 to D.

    Returns:
      A `Subspace`. Training starts from `jnp.zeros(dim)`.

    Raises:
      ValueError: dim is out of range, or a parameter is not floating.

    Source: Li et al., "Measuring the Intrinsic Dimension of Objective Landscapes" (arXiv 1804.08838), eq. 2.
    """
    not_floating = [leaf.dtype for leaf in jax.tree.leaves(params0) if not jnp.issubdtype(leaf.dtype, jnp.floating)]
    if not_floating:
        raise ValueError(f"params0: expected floating parameters, got {not_floating[0]}")
    flat, unravel = ravel_pytree(params0)
    if not 1 <= dim <= flat.size:
        raise ValueError(f"dim: expected 1 to {flat.size}, the number of parameters, got {dim}")
    columns, _ = jnp.linalg.qr(jax.random.normal(key, (flat.size, dim), flat.dtype))  # [D, dim]
    basis = jax.vmap(unravel, 1)(columns)  # leaves [dim, ...]
    return Subspace(Partial(partial(_apply, apply), params0, basis), Partial(_lift, params0, basis))


def _apply(apply, params0, basis, theta, *inputs, **options):
    return apply(_lift(params0, basis, theta), *inputs, **options)


def _lift(params0, basis, theta):
    return jax.tree.map(lambda p, b: p + jnp.tensordot(theta, b, 1).astype(p.dtype), params0, basis)
