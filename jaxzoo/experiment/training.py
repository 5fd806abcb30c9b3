"""A training over seeds, chunk by chunk; all input and output happens on the host between two chunks."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.experiment.seeds import over_seeds, take
from jaxzoo.experiment.stage import Stage
from jaxzoo.train.loop import Traced, Trained, make_advance, trace_task
from jaxzoo.train.task import Task

CHUNK_SECONDS = 1.0
"""Time between two visits of the host: short enough for Ctrl-C, long enough to cost nothing."""
CAPACITY = 4096
"""The most updates of one compiled call."""


def train_seeds(
    stage: Stage,
    task: Task,
    keys: jax.Array,
    inputs: tuple,
    stops: np.ndarray,
    *,
    way: str | None,
    bar: Any,
    between_chunks: Callable[[Trained, int], None],
) -> Trained:
    """Trains all seeds of one arm, from where the stage's checkpoint left off.

    Args:
      stage: where to store; `stage.total` is the number of updates.
      task: what to train.
      keys: [s] one for each seed.
      inputs: pytrees with a leading seed axis, for `task.init`.
      stops: [n] after how many updates to evaluate; the last is `stage.total`.
      way: how to map over seeds, one of `seeds.WAYS`.
      bar: told of the compile phase and of steps.
      between_chunks: called with the training so far and the step at which its latest chunk began; may raise to stop.

    Returns:
      `Trained` with history [s, steps] and evaluations [s, n], "step" not among them. A seed whose scalars left the
      finite numbers is NaN from that update on, its final state too.
    """
    pairs = jax.vmap(jax.random.split)(keys)  # [s, 2]
    first, run_keys = (pairs[:, 0], *inputs), pairs[:, 1]
    traced = trace_task(task, *jax.eval_shape(take, first, 0))
    like = shapes(traced, keys.shape[0], stage.total, len(stops))
    trained = stage.restore(like)
    if trained is not None:
        trained = Trained(trained.state, *jax.tree.map(np.array, trained[1:]))
        between_chunks(trained, 0)
        if stage.step == stage.total:
            return trained
        bar.note(f"goes on from step {stage.step}")
    bar.compiling()
    begin = time.perf_counter()
    if trained is None:
        trained = Trained(initial(traced, first, way), *jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like[1:]))
    chunk = compile_chunk(traced, trained.state, run_keys, stops, way)
    stage.compile_seconds += time.perf_counter() - begin
    length = 1
    while stage.step < stage.total:
        start, begin = stage.step, time.perf_counter()
        stage.step = min(start + length, int(stops[np.searchsorted(stops, start, side="right")]))
        trained = trained._replace(state=chunk(trained, start, stage.step))
        seconds = time.perf_counter() - begin
        stage.run_seconds += seconds
        length = int(np.clip(CHUNK_SECONDS / seconds * (stage.step - start), 1, min(8 * length, CAPACITY)))
        mark_failures(stage, trained, stops, start)
        if len(stage.failures) == keys.shape[0]:
            stage.step = stage.total
        bar.running(
            stage.step, {name: finite_mean(values[:, stage.step - 1]) for name, values in trained.history.items()}
        )
        between_chunks(trained, start)
    return trained._replace(state=poison(trained.state, [failure["seed"] for failure in stage.failures]))


def shapes(traced: Traced, seeds: int, steps: int, evaluations: int) -> Trained:
    """Shapes and dtypes of the whole training."""
    return Trained(
        jax.tree.map(lambda x: jax.ShapeDtypeStruct((seeds, *x.shape), x.dtype), traced.init.out),
        {name: jax.ShapeDtypeStruct((seeds, steps), x.dtype) for name, x in traced.update.out[1].items()},
        {name: jax.ShapeDtypeStruct((seeds, evaluations), x.dtype) for name, x in traced.evaluate.out.items()},
    )


def initial(traced: Traced, first: tuple, way: str | None) -> Any:
    """The initial states, leaves [s, ...]."""
    shared = (traced.init.constants,)
    return over_seeds(traced.init.pure, shared, first, way=way)[0](shared, first)


def compile_chunk(traced: Traced, states: Any, run_keys: jax.Array, stops: np.ndarray, way: str | None) -> Callable:
    """Compiles update and evaluation; returns `chunk(trained, start, stop) -> states`, which fills in the scalars."""
    constants, measured = traced.update.constants, traced.evaluate.constants
    capacity = min(int(np.diff(stops, prepend=0).max()), CAPACITY)
    bounds = (jnp.int32(0), jnp.int32(0))
    advance, _ = over_seeds(make_advance(traced.update, capacity), (constants, *bounds), (states, run_keys), way=way)
    evaluate, _ = over_seeds(traced.evaluate.pure, (measured,), (states,), way=way)

    def chunk(trained, start, stop):
        count = stop - start
        states, scalars = advance((constants, jnp.int32(start), jnp.int32(count)), (trained.state, run_keys))
        for name, values in scalars.items():
            trained.history[name][:, start:stop] = values[:, :count]
        if stop in stops:
            for name, values in evaluate((measured,), (states,)).items():
                trained.evaluations[name][:, np.searchsorted(stops, stop)] = values
        return states

    return chunk


def mark_failures(stage: Stage, trained: Trained, stops: np.ndarray, start: int) -> None:
    """Lists the seeds whose scalars left the finite numbers after update `start`; theirs are NaN from there on."""
    failed = {failure["seed"]: failure["step"] for failure in stage.failures}
    measured = [(name, values, np.arange(1, stage.total + 1)) for name, values in trained.history.items()]
    measured += [(name, values, stops) for name, values in trained.evaluations.items()]
    for name, values, steps in measured:
        fresh = (steps > start) & (steps <= stage.step)
        for seed, column in np.argwhere(~np.isfinite(values[:, fresh])):
            step = int(steps[fresh][column])
            if step < failed.get(int(seed), stage.total + 1):
                failed[int(seed)] = step
                stage.failures[:] = [f for f in stage.failures if f["seed"] != seed]
                stage.failures.append({"stage": stage.name, "seed": int(seed), "step": step, "scalar": name})
    for seed, step in failed.items():
        for _, values, steps in measured:
            if np.issubdtype(values.dtype, np.inexact):
                values[seed, steps >= step] = np.nan


def poison(states: Any, seeds: list[int]) -> Any:
    """Makes every number of the given seeds NaN, so that no later stage can average them in."""
    if not seeds:
        return states
    bad = np.asarray(seeds)
    return jax.tree.map(lambda x: x.at[bad].set(jnp.nan) if jnp.issubdtype(x.dtype, jnp.inexact) else x, states)


def finite_mean(values: np.ndarray) -> float:
    """The mean over the seeds that are still finite; NaN if none is."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
