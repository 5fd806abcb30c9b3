"""What an experiment hands its heavy work to: named stages over a leading seed axis, stored when they end.

Everything that a run needs beside the paper is here: seeds, devices, chunks, progress, checkpoints, resume.
"""

import re
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.experiment import metrics
from jaxzoo.experiment.progress import Silent
from jaxzoo.experiment.seeds import over_seeds, seed_count, take
from jaxzoo.experiment.stage import Stage
from jaxzoo.experiment.training import train_seeds
from jaxzoo.train.loop import Trained, hoist, milestones
from jaxzoo.train.task import Task

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*(/[a-z0-9][a-z0-9_.-]*)?")


class Runner:
    """Runs the stages of one experiment.

    A stage's key depends on the run's key, the seed and the part of the stage's name before "/". Arms that are to be
    compared, "recall/none" and "recall/full", so share initial key and data order, seed by seed.

    Attributes:
      seeds: how many; the size of every leading axis.
      data_dir: the folder of the paper's own data that the user named, or None.
      stages: the `Stage`s that ended, in order.
    """

    def __init__(
        self,
        seeds: int,
        key: jax.Array,
        *,
        folder: Path | None = None,
        data_dir: Path | None = None,
        way: str | None = None,
        progress: Any = None,
        save_seconds: float = 30.0,
        stop_requested: Callable[[], bool] = lambda: False,
    ):
        """Prepares a run.

        Args:
          seeds: how many, at least 1.
          key: the run's key.
          folder: where stages and metrics are stored, and found again on resume; by default nothing is stored.
          data_dir: the folder of the paper's own data.
          way: how to map over seeds, one of `seeds.WAYS`; by default the fastest one for the backend.
          progress: told of stages and steps; by default nobody is.
          save_seconds: least time between two checkpoints inside a training.
          stop_requested: asked between chunks; on True the training is stored and KeyboardInterrupt raised.
        """
        if seeds < 1:
            raise ValueError(f"seeds: expected at least 1, got {seeds}")
        self.seeds, self.data_dir, self.stages = seeds, data_dir, []
        self._key, self._way, self._folder = key, way, folder
        self._progress = Silent() if progress is None else progress
        self._save_seconds, self._stop_requested = save_seconds, stop_requested
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "metrics.jsonl").write_text("")

    def train(self, name: str, task: Task, steps: int, *inputs: Any, evaluate_every: int | None = None) -> Trained:
        """Trains every seed of one arm.

        Args:
          name: of the stage, "group/arm".
          task: what to train; arrays that its functions close over become arguments of the compiled program.
          steps: number of updates.
          *inputs: pytrees with a leading seed axis, passed to `task.init`.
          evaluate_every: updates between two evaluations; by default only after the last.

        Returns:
          `Trained`: state [s, ...], history [s, steps], evaluations [s, n] and their "step" [n]. A seed whose scalars
          left the finite numbers is all NaN from that update on, and stands in its stage's `failures`.

        Raises:
          TypeError, ValueError: the task, its inputs or the numbers of steps break the contract.
        """
        stops = milestones(steps, evaluate_every)
        stage = self._open(name, "train", steps, inputs)
        saved = time.perf_counter()

        def between_chunks(trained, start):
            nonlocal saved
            if self._folder is not None:
                at = metrics.grid(steps)
                history = {k: v[:, at - 1] for k, v in trained.history.items()}
                evaluations = {f"evaluate/{k}": v for k, v in trained.evaluations.items()}
                path = self._folder / "metrics.jsonl"
                metrics.append(path, name, start, stage.step, (at, history), (stops, evaluations))
            stopping = self._stop_requested()
            if stage.step < steps and (stopping or time.perf_counter() - saved >= self._save_seconds):
                stage.save(trained)
                saved = time.perf_counter()
            if stopping and stage.step < steps:
                raise KeyboardInterrupt

        with self._progress.stage(name, steps) as bar:
            known = len(stage.failures)
            trained = train_seeds(
                stage, task, self._keys(name), inputs, stops, way=self._way, bar=bar, between_chunks=between_chunks
            )
            for failure in stage.failures[known:]:
                self._progress.note(
                    "{stage}: seed {seed} left the finite numbers: {scalar} at step {step}".format(**failure)
                )
            self._close(stage, trained, bar)
        self._stop_if_requested()
        return trained._replace(evaluations={"step": stops, **trained.evaluations})

    def map(self, name: str, function: Callable, *inputs: Any) -> Any:
        """Computes `function(key, *inputs)` for every seed, compiled.

        Args:
          name: of the stage, "group/arm".
          function: traceable; returns a pytree of arrays. Arrays that it closes over become arguments.
          *inputs: pytrees with a leading seed axis.

        Returns:
          The pytree with a leading seed axis.
        """
        stage = self._open(name, "map", 1, inputs)
        arguments = (self._keys(name), *inputs)
        pure, constants, shape = hoist(function, *jax.eval_shape(take, arguments, 0))
        with self._progress.stage(name, 1) as bar:
            out = stage.restore(jax.tree.map(lambda x: jax.ShapeDtypeStruct((self.seeds, *x.shape), x.dtype), shape))
            if out is None:
                bar.compiling()
                mapped, stage.compile_seconds = over_seeds(pure, (constants,), arguments, way=self._way)
                begin = time.perf_counter()
                bar.running(0, {})
                out = jax.block_until_ready(mapped((constants,), arguments))
                stage.run_seconds, stage.step = time.perf_counter() - begin, 1
            self._close(stage, out, bar)
        self._stop_if_requested()
        return out

    def each(self, name: str, function: Callable, *inputs: Any) -> dict[str, np.ndarray]:
        """Computes `function(key, *inputs)` for every seed in plain Python, for what can't be traced.

        Args:
          name: of the stage, "group/arm".
          function: any callable; returns a dict of arrays or numbers, alike in names and shapes for all seeds. Stored
            seed by seed.
          *inputs: pytrees with a leading seed axis.

        Returns:
          The dict, of NumPy arrays with a leading seed axis.
        """
        stage = self._open(name, "each", self.seeds, inputs)
        keys = self._keys(name)
        with self._progress.stage(name, self.seeds, unit="seeds") as bar:
            done = stage.restore(None) or {}
            while stage.step < self.seeds:
                bar.running(stage.step, {})
                begin = time.perf_counter()
                out = {k: np.asarray(v)[None] for k, v in function(keys[stage.step], *take(inputs, stage.step)).items()}
                done = {k: np.concatenate([done[k], v]) for k, v in out.items()} if done else out
                stage.run_seconds += time.perf_counter() - begin
                stage.step += 1
                if stage.step < self.seeds:
                    stage.save(done)
                    self._stop_if_requested()
            self._close(stage, done, bar)
        self._stop_if_requested()
        return done

    def _keys(self, name: str) -> jax.Array:
        """The keys [s] of a stage: of the run's key, the group that its name begins with, and the seed."""
        group = jax.random.fold_in(self._key, zlib.crc32(name.split("/")[0].encode()))
        return jax.vmap(jax.random.fold_in, (None, 0))(group, jnp.arange(self.seeds))

    def _open(self, name: str, kind: str, total: int, inputs: tuple) -> Stage:
        """Begins a stage, after checks that need no compilation."""
        if not NAME.fullmatch(name):
            raise ValueError(f'stage name: expected "group" or "group/arm" of a-z, 0-9, "_", ".", "-", got {name!r}')
        if name in {stage.name for stage in self.stages}:
            raise ValueError(f"stage name: {name!r} is used twice; results are stored by name, so each needs its own")
        if jax.tree.leaves(inputs) and seed_count(inputs) != self.seeds:
            raise ValueError(
                f"stage {name}: expected inputs with a leading axis of {self.seeds} seeds, got {seed_count(inputs)}"
            )
        return Stage(name, kind, total, self._folder and self._folder / "checkpoints" / name.replace("/", "~"))

    def _close(self, stage: Stage, tree: Any, bar: Any) -> None:
        """Stores a stage that ended, unless it was found ended."""
        if not stage.stored_whole:
            stage.save(tree)
        bar.finished()
        self.stages.append(stage)

    def _stop_if_requested(self) -> None:
        if self._stop_requested():
            raise KeyboardInterrupt
