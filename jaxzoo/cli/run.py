"""`jaxzoo run`: everything that can be wrong with the command line is refused before jax is imported."""

import dataclasses
import re
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxzoo.cli.errors import UsageError
from jaxzoo.cli.options import Experiments, config_options, option, paper, parse
from jaxzoo.cli.prepare import prepare
from jaxzoo.cli.text import console
from jaxzoo.experiment.contract import PRESETS
from jaxzoo.experiment.declare import ContractError
from jaxzoo.experiment.discover import Head, results_folder
from jaxzoo.experiment.files import StorageError, read_json
from jaxzoo.experiment.settings import build, from_json

OPTION = re.compile(r"-(?![\d.])")
FLAGS = ("-h", "--help", "--publish", "--recompile")
LARGEST_KEY = 2**32 - 1


@dataclasses.dataclass(frozen=True)
class Options:
    """Runs one paper's experiment and judges its claims.

    `jaxzoo run SLUG` needs nothing else. Any setting of the paper can be given as `--config.FIELD VALUE`;
    `jaxzoo run SLUG --help` lists them. Ctrl-C stops between two steps and says how to go on.
    """

    preset: Annotated[
        Literal[PRESETS], tyro.conf.arg(help="smoke: seconds, to see that it runs; default: minutes; paper: full scale")
    ] = "default"
    seeds: Annotated[int | None, option("N", "number of seeds; short for --config.seeds")] = None
    key: Annotated[int, tyro.conf.arg(metavar="K", help="the integer that all randomness is made of")] = 0
    out: Annotated[Path, tyro.conf.arg(metavar="DIR", help="runs are kept in DIR/SLUG/")] = Path("runs")
    data: Annotated[
        Path | None, option("DIR", "folder of the paper's own data; otherwise the environment's JAXZOO_DATA")
    ] = None
    resume: Annotated[Path | None, option("RUNDIR", "go on with a run that was stopped, with its own settings")] = None
    experiments: Experiments = None
    publish: Annotated[
        bool, option("", "make this default run the committed one: copy its record and figure to results/FIELD/")
    ] = False
    recompile: Annotated[
        bool, option("", "compile everything anew; otherwise programs are kept in the user's cache folder")
    ] = False


def main(words: Sequence[str]) -> int:
    """Parses, runs, and prints what came out."""
    slug, given, rest = _scan(words)
    if slug is None:
        if not {"-h", "--help"} & set(words):
            raise UsageError("which paper? jaxzoo run SLUG; jaxzoo list shows all")
        parse(Options, ["--help"], "run SLUG")
    head = paper(slug, given.get("--experiments"))
    options = _parse(head, given, rest)
    try:
        plan = _plan(head, options) if options.resume is None else _resumed(head, options.resume)
    except (ContractError, StorageError) as error:
        raise UsageError(str(error)) from None
    return _run(head, plan, options)


def _scan(words: Sequence[str]) -> tuple[str | None, dict[str, str], list[str]]:
    """The slug, the options that are given with the first word after each, and all words but the slug."""
    slug, given, rest, waiting = None, {}, [], None
    for word in words:
        if OPTION.match(word):
            name, has_value, value = word.partition("=")
            given[name] = value
            waiting = None if has_value or word in FLAGS else name
        elif waiting is not None:
            given[waiting], waiting = word, None
        elif slug is None:
            slug = word
            continue
        rest.append(word)
    return slug, given, rest


def _parse(head: Head, given: dict[str, str], rest: list[str]) -> Any:
    """The `Options` with the paper's settings as `config`, by default those of the preset that is asked for."""
    defaults = head.presets.get(given.get("--preset"), head.presets["default"])
    config_class = config_options(defaults, head.settings)
    config = ("config", config_class, dataclasses.field(default_factory=config_class))
    options_class = dataclasses.make_dataclass("Run", [config], bases=(Options,), frozen=True)
    options_class.__doc__ = _title(head)
    options = parse(options_class, rest, f"run {head.slug}")
    _check(options, given)
    return options


def _check(options: Options, given: dict[str, str]) -> None:
    """Refuses options that can't be meant."""
    if not 0 <= options.key <= LARGEST_KEY:
        raise UsageError(f"--key: expected an integer from 0 to {LARGEST_KEY}, got {options.key}")
    if options.data is not None and not options.data.is_dir():
        raise UsageError(f"--data: {options.data} is not a folder")
    if options.out.exists() and not options.out.is_dir():
        raise UsageError(f"--out: {options.out} is not a folder")
    if options.seeds is not None and "--config.seeds" in given:
        raise UsageError("--seeds and --config.seeds are the same setting; give one of them")
    if options.resume is not None:
        fixed = [name for name in given if name in ("--preset", "--seeds", "--key") or name.startswith("--config.")]
        if fixed:
            raise UsageError(f"--resume goes on with the settings of that run; leave out {', '.join(fixed)}")


def _plan(head: Head, options: Any) -> dict[str, Any]:
    """What to run, as the options have it.

    Raises:
      ContractError: a setting is not legal.
    """
    values = vars(options.config)
    if options.seeds is not None:
        values = values | {"seeds": head.settings["seeds"].check(options.seeds)}
    plan = {"config": build(head.config_class, values), "preset": options.preset, "key": options.key}
    default = {"config": head.presets["default"], "preset": "default", "key": 0}
    if options.publish and plan != default:
        raise ContractError("--publish: expected the preset default with its own settings and key 0")
    return plan


def _resumed(head: Head, folder: Path) -> dict[str, Any]:
    """What the run in a folder was begun with.

    Raises:
      ContractError: the folder is not that of a run of this paper, or its settings are no longer legal.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ContractError(f"--resume: expected the folder of a run, with a config.json in it, got {folder}")
    begun = read_json(path)
    if not isinstance(begun, dict) or not {"slug", "config", "preset", "key"} <= set(begun):
        raise ContractError(f"--resume: {path} is not what a run was begun with")
    if begun["slug"] != head.slug:
        raise ContractError(f"--resume: {folder} is a run of {begun['slug']}, not of {head.slug}")
    config = from_json(head.config_class, begun["config"])
    return {"config": config, "preset": begun["preset"], "key": begun["key"]}


def _run(head: Head, plan: dict[str, Any], options: Any) -> int:
    """Runs it under the display that fits the terminal, and prints what came out. From here on jax is loaded."""
    prepare(cache=not options.recompile, quick=plan["preset"] == "smoke")
    from jaxzoo.data.dataset import DataError
    from jaxzoo.experiment.progress import for_stream
    from jaxzoo.experiment.run import Interrupted, publish, run_experiment
    from jaxzoo.experiment.tables import claims_table

    try:
        with warnings.catch_warnings(), for_stream(sys.stderr) as display:
            warnings.showwarning = lambda message, *_, **__: display.note(f"warning: {message}")
            display.note(f"{_title(head)}: preset {plan['preset']}, {plan['config'].seeds} seeds, key {plan['key']}")
            finished = run_experiment(
                head, out=options.out, data_dir=options.data, resume=options.resume, progress=display, **plan
            )
    except DataError as error:
        print(f"jaxzoo run: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        if "pip install" not in str(error):  # an extra that is missing says how to install it; else it is a mistake
            raise
        print(f"jaxzoo run: {error}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        print(f"stopped; to go on: {_resume_line(head, stop.folder, options)}", file=sys.stderr)
        return 130
    console().print(claims_table(finished.record["claims"]))
    print(f"record  {finished.folder / 'record.json'}\nfigure  {finished.folder / 'figure.png'}")
    if options.publish:
        print(f"published  {publish(finished, head, results_folder())}")
    return 0


def _title(head: Head) -> str:
    return f"{head.paper.title} ({head.paper.year})"


def _resume_line(head: Head, folder: Path, options: Any) -> str:
    words = ["jaxzoo", "run", head.slug, "--resume", str(folder)]
    for name in ("experiments", "data"):
        if getattr(options, name) is not None:
            words += [f"--{name}", str(getattr(options, name))]
    return shlex.join(words)
