"""The one training loop of the project: many steps in one compiled call, any chunking giving the same numbers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jaxzoo.train.task import State, Task


class Trained(NamedTuple):
    """What a training leaves behind. Under the runner every array has a leading seed axis.

    Attributes:
      state: the state after the last step.
      history: scalar name -> [steps] (runner: [s, steps]), one value for every update.
      evaluations: scalar name -> [n] (runner: [s, n]) from `task.evaluate`; `"step"` [n] says after how many updates.
    """

    state: State
    history: dict[str, Any]
    evaluations: dict[str, Any]


class Hoisted(NamedTuple):
    """A function whose closed-over arrays have become arguments.

    Attributes:
      pure: `pure(constants, *arguments)`; closes over no array.
      constants: the arrays.
      out: shapes and dtypes of what it returns.
    """

    pure: Callable
    constants: list[jax.Array]
    out: Any


def hoist(function: Callable, *example: Any) -> Hoisted:
    """Turns the arrays that `function` closes over into arguments; traces it once.

    A data set closed over would become a constant of the compiled program, which costs compile time and memory in
    proportion to its size.

    Args:
      function: traceable, of positional arguments.
      *example: arguments, or their `jax.ShapeDtypeStruct`.

    Returns:
      `Hoisted`, with `pure(constants, *arguments) == function(*arguments)`.
    """
    jaxpr, out = jax.make_jaxpr(function, return_shape=True)(*example)
    mesh = jax.sharding.get_abstract_mesh()

    def pure(constants, *arguments):
        # A jaxpr is bound to the mesh under which it was made, and pmap has one of its own.
        same = jax.sharding.get_abstract_mesh() == mesh
        here = jaxpr if same else jax.make_jaxpr(function)(*arguments)
        flat = jaxpr_as_fun(ClosedJaxpr(here.jaxpr, constants))(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(out), flat)

    return Hoisted(pure, list(jaxpr.consts), out)


def strong(tree: Any) -> Any:
    """Makes every leaf an array of a definite dtype, so that the first state has the type of every later one."""

    def leaf(x):
        x = jnp.asarray(x)
        return x if jnp.issubdtype(x.dtype, jax.dtypes.extended) else lax.convert_element_type(x, x.dtype)

    return jax.tree.map(leaf, tree)


class Traced(NamedTuple):
    """A task's three functions, traced and hoisted; `update.out` is (state, scalars), `evaluate.out` scalars."""

    init: Hoisted
    update: Hoisted
    evaluate: Hoisted


def trace_task(task: Task, key: jax.Array, *inputs: Any) -> Traced:
    """Traces a task without compiling it and refuses one whose loop could not be compiled.

    Args:
      task: the task.
      key: a key or its shape.
      *inputs: the inputs of `task.init`, or their shapes.

    Returns:
      `Traced`.

    Raises:
      TypeError: `update` changes the state's structure, shapes or dtypes, or a scalar is not a scalar.
    """
    init = hoist(lambda key, *inputs: strong(task.init(key, *inputs)), key, *inputs)
    update = hoist(lambda state, key: strong(task.update(state, key)), init.out, key)
    evaluate = hoist(lambda state: strong(task.evaluate(state)), init.out)
    if not (isinstance(update.out, tuple) and len(update.out) == 2 and isinstance(update.out[1], dict)):
        raise TypeError(f"task.update: expected (state, scalars), the latter a dict, got {type(update.out).__name__}")
    if not isinstance(evaluate.out, dict):
        raise TypeError(f"task.evaluate: expected a dict of scalars, got {type(evaluate.out).__name__}")
    _check_state(init.out, update.out[0])
    for source, scalars in (("update", update.out[1]), ("evaluate", evaluate.out)):
        for name, value in scalars.items():
            if getattr(value, "shape", None) != ():
                raise TypeError(
                    f"task.{source}: scalar {name!r}: expected shape (), got {jax.tree.map(jnp.shape, value)}"
                )
    if "step" in evaluate.out:
        raise TypeError("task.evaluate: the name 'step' is taken by the number of updates; rename that scalar")
    return Traced(init, update, evaluate)


def _check_state(before: State, after: State) -> None:
    """Refuses an update that does not return a state like the one it got."""
    if jax.tree.structure(after) != jax.tree.structure(before):
        raise TypeError(
            "task.update: expected a state of the structure that task.init made, "
            f"{jax.tree.structure(before)}, got {jax.tree.structure(after)}"
        )
    for (path, a), b in zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise TypeError(
                f"task.update: state{jax.tree_util.keystr(path)} was {a.dtype}{list(a.shape)} from task.init "
                f"and came back {b.dtype}{list(b.shape)}; keep shapes and dtypes fixed"
            )


def make_advance(update: Hoisted, capacity: int) -> Callable:
    """Compiles to a loop over steps whose length is data, so that chunks of any length share one program.

    The key of step i is `fold_in(key, i)` and never sits in the carry: any chunking gives the same stream.

    Args:
      update: of a task.
      capacity: the most steps of one call.

    Returns:
      `advance(constants, start, count, state, key) -> (state, scalars)`; scalars [capacity], of which the first `count`
      are meant.
    """

    def advance(constants, start, count, state, key):
        def step(i, carry):
            state, history = carry
            state, values = update.pure(constants, state, jax.random.fold_in(key, start + i))
            return state, {name: history[name].at[i].set(value) for name, value in values.items()}

        history = {name: jnp.zeros(capacity, value.dtype) for name, value in update.out[1].items()}
        return lax.fori_loop(0, count, step, (state, history))

    return advance


def milestones(steps: int, evaluate_every: int | None) -> np.ndarray:
    """The numbers of updates after which a training is evaluated: every multiple of `evaluate_every`, and the end.

    Raises:
      ValueError: `steps` or `evaluate_every` below 1.
    """
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    every = steps if evaluate_every is None else evaluate_every
    if every < 1:
        raise ValueError(f"evaluate_every: expected at least 1, got {evaluate_every}")
    return np.unique(np.append(np.arange(every, steps + 1, every), steps))


def fit(task: Task, key: jax.Array, steps: int, *inputs: Any, evaluate_every: int | None = None) -> Trained:
    """Trains one seed; for notebooks and scripts. Experiments train through the runner.

    Args:
      task: what to train.
      key: the seed's key.
      steps: number of updates.
      *inputs: passed to `task.init`.
      evaluate_every: updates between two evaluations; by default only after the last.

    Returns:
      `Trained`, without a seed axis.

    Raises:
      TypeError: the task breaks its contract (`trace_task`).
      ValueError: `steps` or `evaluate_every` below 1.
    """
    stops = milestones(steps, evaluate_every)
    key_init, key_run = jax.random.split(key)
    traced = trace_task(task, key_init, *inputs)
    constants, measured = traced.update.constants, traced.evaluate.constants
    advance = jax.jit(make_advance(traced.update, int(np.diff(stops, prepend=0).max())), donate_argnums=3)
    evaluate = jax.jit(traced.evaluate.pure)
    state = jax.jit(traced.init.pure)(traced.init.constants, key_init, *inputs)
    history, evaluations = [], []
    for start, stop in zip((0, *stops[:-1]), stops, strict=True):
        state, values = advance(constants, start, stop - start, state, key_run)
        history.append({name: np.asarray(value)[: stop - start] for name, value in values.items()})
        evaluations.append({name: np.asarray(value) for name, value in evaluate(measured, state).items()})
    history = jax.tree.map(lambda *parts: np.concatenate(parts), *history)
    evaluations = jax.tree.map(lambda *values: np.stack(values), *evaluations)
    return Trained(state, history, {"step": stops, **evaluations})
