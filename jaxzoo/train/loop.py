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


def hoist(function: Callable, *example: Any) -> tuple[Callable, list[jax.Array]]:
    """Turns the arrays that `function` closes over into arguments.

    A data set closed over would become a constant of the compiled program, which costs compile time and memory in
    proportion to its size.

    Args:
      function: traceable, of positional arguments.
      *example: arguments, or their `jax.ShapeDtypeStruct`.

    Returns:
      `(pure, constants)` with `pure(constants, *arguments) == function(*arguments)`; `pure` closes over no array.
    """
    constants = jax.make_jaxpr(function)(*example).consts

    def pure(constants, *arguments):
        # Traced anew in the context of the call: a jaxpr is bound to the mesh under which it was made, and pmap has one.
        jaxpr, out = jax.make_jaxpr(function, return_shape=True)(*arguments)
        flat = jaxpr_as_fun(ClosedJaxpr(jaxpr.jaxpr, constants))(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(out), flat)

    return pure, list(constants)


def strong(tree: Any) -> Any:
    """Makes every leaf an array of a definite dtype, so that the first state has the type of every later one."""

    def leaf(x):
        x = jnp.asarray(x)
        return x if jnp.issubdtype(x.dtype, jax.dtypes.extended) else lax.convert_element_type(x, x.dtype)

    return jax.tree.map(leaf, tree)


def check_task(task: Task, key: jax.Array, *inputs: Any) -> tuple[State, dict, dict]:
    """Traces a task without compiling it and refuses one whose loop could not be compiled.

    Args:
      task: the task.
      key: a key or its shape.
      *inputs: the inputs of `task.init`, or their shapes.

    Returns:
      Shapes and dtypes of the state, of `update`'s scalars and of `evaluate`'s scalars.

    Raises:
      TypeError: `update` changes the state's structure, shapes or dtypes, or a scalar is not a scalar.
    """
    state = jax.eval_shape(lambda key, *inputs: strong(task.init(key, *inputs)), key, *inputs)
    out = jax.eval_shape(task.update, state, key)
    if not (isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], dict)):
        raise TypeError(f"task.update: expected (state, scalars), the latter a dict, got {type(out).__name__}")
    after, scalars = jax.eval_shape(lambda state, key: strong(task.update(state, key)), state, key)
    if jax.tree.structure(after) != jax.tree.structure(state):
        raise TypeError(
            "task.update: expected a state of the structure that task.init made, "
            f"{jax.tree.structure(state)}, got {jax.tree.structure(after)}"
        )
    for (path, a), b in zip(jax.tree.leaves_with_path(state), jax.tree.leaves(after), strict=True):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise TypeError(
                f"task.update: state{jax.tree_util.keystr(path)} was {a.dtype}{list(a.shape)} from task.init "
                f"and came back {b.dtype}{list(b.shape)}; keep shapes and dtypes fixed"
            )
    evaluated = jax.eval_shape(task.evaluate, state)
    if not isinstance(evaluated, dict):
        raise TypeError(f"task.evaluate: expected a dict of scalars, got {type(evaluated).__name__}")
    for source, names in (("update", scalars), ("evaluate", evaluated)):
        for name, value in names.items():
            if getattr(value, "shape", ()) != ():
                raise TypeError(f"task.{source}: scalar {name!r}: expected shape (), got {value.shape}")
    if "step" in evaluated:
        raise TypeError("task.evaluate: the name 'step' is taken by the number of updates; rename that scalar")
    return state, scalars, evaluated


def make_advance(update: Callable, scalars: dict, capacity: int) -> Callable:
    """Compiles to a loop over steps whose length is data, so that chunks of any length share one program.

    The key of step i is `fold_in(key, i)` and never sits in the carry: any chunking gives the same stream.

    Args:
      update: `update(constants, state, key) -> (state, scalars)`.
      scalars: their shapes and dtypes, from `check_task`.
      capacity: the most steps of one call.

    Returns:
      `advance(constants, start, count, state, key) -> (state, scalars)`; scalars [capacity], of which the first `count`
      are meant.
    """

    def advance(constants, start, count, state, key):
        def step(i, carry):
            state, history = carry
            state, values = update(constants, state, jax.random.fold_in(key, start + i))
            return strong(state), {name: history[name].at[i].set(value) for name, value in values.items()}

        history = {name: jnp.zeros(capacity, value.dtype) for name, value in scalars.items()}
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
      TypeError: the task breaks its contract (`check_task`).
      ValueError: `steps` or `evaluate_every` below 1.
    """
    stops = milestones(steps, evaluate_every)
    key_init, key_run = jax.random.split(key)
    shape, scalars, _ = check_task(task, key_init, *inputs)
    update, constants = hoist(task.update, shape, key_run)
    evaluate, measured = hoist(task.evaluate, shape)
    evaluate = jax.jit(evaluate)
    advance = jax.jit(make_advance(update, scalars, int(np.diff(stops, prepend=0).max())), donate_argnums=3)
    state = jax.jit(lambda key, *inputs: strong(task.init(key, *inputs)))(key_init, *inputs)
    history, evaluations = [], []
    for start, stop in zip((0, *stops[:-1]), stops, strict=True):
        state, values = advance(constants, start, stop - start, state, key_run)
        history.append({name: np.asarray(value)[: stop - start] for name, value in values.items()})
        evaluations.append({name: np.asarray(value) for name, value in evaluate(measured, state).items()})
    history = jax.tree.map(lambda *parts: np.concatenate(parts), *history)
    evaluations = jax.tree.map(lambda *values: np.stack(values), *evaluations)
    return Trained(state, history, {"step": stops, **evaluations})
