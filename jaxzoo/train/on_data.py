"""Trainings whose data differs from seed to seed."""

from collections.abc import Callable

from jaxzoo.train.task import Task


def on_data(make: Callable) -> Task:
    """A task whose data is an input of each seed, and stays in its state.

    Args:
      make: `make(data) -> Task`; called while tracing, with arrays that differ from seed to seed.

    Returns:
      A task with `init(key, data)` and the state `(state of make(data), data)`. Arms whose data has equal shapes share
      one compiled program, so that options, as arrays in the data, cost no compilation.
    """

    def init(key, inputs):
        return make(inputs).init(key), inputs

    def update(state, key):
        inner, inputs = state
        inner, scalars = make(inputs).update(inner, key)
        return (inner, inputs), scalars

    def evaluate(state):
        inner, inputs = state
        return make(inputs).evaluate(inner)

    return Task(init, update, evaluate)
