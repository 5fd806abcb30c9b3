"""The only shape of training in the project."""

from collections.abc import Callable
from typing import Any, NamedTuple

State = Any
"""A pytree of arrays: parameters, optimiser state, whatever one update carries to the next."""


def no_evaluation(state: State) -> dict:
    """Evaluates nothing."""
    return {}


class Task(NamedTuple):
    """A training as three pure functions of one seed.

    Attributes:
      init: `init(key, *inputs) -> state`.
      update: `update(state, key) -> (state, scalars)`: one step; `scalars` maps names to shape-() arrays.
      evaluate: `evaluate(state) -> scalars`, without randomness.
    """

    init: Callable[..., State]
    update: Callable[[State, Any], tuple[State, dict]]
    evaluate: Callable[[State], dict] = no_evaluation
