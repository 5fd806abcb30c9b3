"""A whole run: from a config to a folder with stages, metrics, record and figure.

<out>/<slug>/<time>-<hash>/   config.json  metrics.jsonl  checkpoints/  record.json  figure.png
"""

import datetime
import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

from jaxzoo.experiment import claims, code_hash, discover, record, settings
from jaxzoo.experiment.declare import ContractError
from jaxzoo.experiment.environment import environment, peak_memory
from jaxzoo.experiment.files import read_json, write_json
from jaxzoo.experiment.head import Head
from jaxzoo.experiment.interrupt import stop_on_signal
from jaxzoo.experiment.progress import Silent
from jaxzoo.experiment.runner import Runner

FIGURE_INCHES = (10.0, 4.8)
FIGURE_DPI = 130


class Finished(NamedTuple):
    """A run that ended.

    Attributes:
      record: as in `record.json`.
      judged: what came out of each claim.
      folder: where everything of the run is.
    """

    record: dict[str, Any]
    judged: list[claims.Judged]
    folder: Path


class Interrupted(KeyboardInterrupt):
    """A run that was asked to stop; `folder` is what to resume from."""

    def __init__(self, folder: Path):
        super().__init__(f"stopped; resume from {folder}")
        self.folder = folder


def run_experiment(
    head: Head,
    config: Any,
    *,
    preset: str = "default",
    key: int = 0,
    out: Path = Path("runs"),
    data_dir: Path | None = None,
    resume: Path | None = None,
    way: str | None = None,
    progress: Any = None,
    save_seconds: float = 30.0,
) -> Finished:
    """Runs one experiment and judges its claims.

    Args:
      head: of the experiment's file.
      config: an instance of `head.config_class`; its field `seeds` is the number of seeds.
      preset: the one that `config` was made from.
      key: the integer that the run's key is made of.
      out: the run's folder is made in `out/<slug>/`.
      data_dir: the folder of the paper's own data.
      resume: the folder of a run that was stopped, to go on with; it must be of this experiment, config, key and code.
      way: how to map over seeds, one of `seeds.WAYS`; by default the fastest one for the backend.
      progress: told how it gets on.
      save_seconds: least time between two checkpoints inside a training.

    Returns:
      `Finished`.

    Raises:
      ContractError: the config is out of range, the experiment breaks the contract, or `resume` does not fit.
      Interrupted: Ctrl-C or SIGTERM came.
    """
    begin = time.perf_counter()
    config = settings.check(config)
    progress = Silent() if progress is None else progress
    plan = {
        "slug": head.slug,
        "preset": preset,
        "key": key,
        "config": settings.to_json(config),
        "code": code_hash.code(head.path),
    }
    surroundings = environment(head.path)
    module = discover.load(head.path)
    folder = open_folder(plan, out, resume)
    with stop_on_signal(progress.note) as stop_requested:
        runner = Runner(
            config.seeds,
            jax.random.key(key),
            folder=folder,
            data_dir=data_dir,
            way=way,
            progress=progress,
            save_seconds=save_seconds,
            stop_requested=stop_requested,
        )
        try:
            # The head's Config knows the head's imports alone; its methods may need those of the file.
            own_config = settings.from_json(module.Config, plan["config"])
            results = as_results(module.run(own_config, runner), config.seeds)
        except KeyboardInterrupt:
            raise Interrupted(folder) from None
    seconds = time.perf_counter() - begin + sum(stage.earlier_seconds for stage in runner.stages)
    verdicts = judge(module, results, runner)
    made = record.make_record(
        **plan,
        **verdicts,
        field=head.field,
        paper=head.paper,
        environment=surroundings,
        results=results,
        stages=[stage.summary() for stage in runner.stages],
        wall_seconds=seconds,
        memory=peak_memory(),
        full_scale=plan["config"] == settings.to_json(head.presets["paper"]),
    )
    record.write(folder / "record.json", made)
    draw(module, results, folder / "figure.png")
    return Finished(made, verdicts["judged"], folder)


def judge(module: ModuleType, results: claims.Results, runner: Runner) -> dict[str, list]:
    """What came out of an experiment's oracles, arms and claims: {"oracles", "failures", "judged"}."""
    oracles = claims.check_oracles(getattr(module, "ORACLES", ()), results)
    failures = [failure for stage in runner.stages for failure in stage.failures]
    judged = claims.judge_all(module.CLAIMS, results, oracles=oracles, failures=failures)
    return {"oracles": oracles, "failures": failures, "judged": judged}


def draw(module: ModuleType, results: claims.Results, path: Path) -> None:
    """Draws the experiment's figure."""
    figure = Figure(FIGURE_INCHES, dpi=FIGURE_DPI, layout="constrained")
    module.plot(results, figure)
    figure.savefig(path)


def open_folder(plan: Mapping[str, Any], out: Path, resume: Path | None) -> Path:
    """Makes the folder of a run, or checks that the one to resume was begun with the same plan.

    Raises:
      ContractError: `resume` is no run's folder, or what it was begun with differs; says in what.
    """
    if resume is not None:
        begun = read_plan(resume)
        for name in ("slug", "preset", "key", "config"):
            if begun[name] != plan[name]:
                raise ContractError(f"resume: {resume} was begun with {name} {begun[name]}, this run has {plan[name]}")
        if begun["code"]["hash"] != plan["code"]["hash"]:
            files = begun["code"]["files"].keys() | plan["code"]["files"].keys()
            changed = [f for f in sorted(files) if begun["code"]["files"].get(f) != plan["code"]["files"].get(f)]
            raise ContractError(f"resume: {', '.join(changed)} changed since {resume} was begun; run afresh")
        return Path(resume)
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = Path(out) / plan["slug"] / f"{stamp}-{digest[:8]}"
    folder.mkdir(parents=True)
    write_json(folder / "config.json", plan)
    return folder


def read_plan(folder: Path) -> dict[str, Any]:
    """What a run was begun with: slug, preset, key, config and code.

    Raises:
      ContractError: the folder is not that of a run.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise ContractError(f"resume: expected the folder of a run, with a config.json in it, got {folder}")
    return read_json(path)


def as_results(returned: Any, seeds: int) -> dict[str, np.ndarray]:
    """What `run` returned, as NumPy arrays.

    Raises:
      ContractError: it is not a dict of numeric arrays with a leading axis of `seeds`.
    """
    if not isinstance(returned, Mapping) or not returned:
        raise ContractError(f"run: expected a dict of arrays [s, ...], got {type(returned).__name__}")
    results = {}
    for name, value in returned.items():
        results[name] = np.asarray(value)
        if results[name].shape[:1] != (seeds,) or results[name].dtype == object:
            shape, dtype = results[name].shape, results[name].dtype
            raise ContractError(
                f"run: {name}: expected numbers with a leading axis of {seeds} seeds, got {dtype} {shape}"
            )
    return results


def publish(finished: Finished, head: Head, results: Path) -> Path:
    """Copies the record and the figure of a default run to where the committed ones are.

    The command in it becomes the one that anybody would give: options such as `--out` have no bearing on the result,
    and name folders of one machine.

    Args:
      finished: a run with the preset "default", its settings unchanged, and key 0.
      head: of its experiment.
      results: the folder of committed records.

    Returns:
      The path of the record.

    Raises:
      ContractError: the run is not the default one.
    """
    made = finished.record
    default = settings.to_json(head.presets["default"])
    if made["preset"] != "default" or made["config"] != default or made["seeds"]["key"] != 0:
        raise ContractError("publish: expected a run of the preset default with its own settings and key 0")
    target = Path(results) / head.field / f"{head.slug}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    record.write(target, made | {"command": f"jaxzoo run {head.slug} --publish"})
    shutil.copyfile(finished.folder / "figure.png", target.with_suffix(".png"))
    return target
