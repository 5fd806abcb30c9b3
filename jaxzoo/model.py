"""The one shape of a model: a pair of pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

Params = Any
"""A pytree of arrays."""


class Model(NamedTuple):
    """A model as two pure functions; all that trains, measures or transforms sees only this.

    Both act on one example. A batch is `jax.vmap(model.apply, (None, 0))(params, x)`.

    Attributes:
      init: `init(key, x) -> params`, where `x` is one example; only its shape and dtype matter.
      apply: `apply(params, x, *, key=None) -> y`; `key` feeds dropout and sampling, and may be left out without them.
    """

    init: Callable[..., Params]
    apply: Callable[..., Any]
