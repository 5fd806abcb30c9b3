"""`jaxzoo compare`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxzoo.cli.errors import UsageError
from jaxzoo.cli.options import parse
from jaxzoo.cli.text import console
from jaxzoo.experiment import record
from jaxzoo.experiment.discover import results_folder
from jaxzoo.experiment.files import StorageError

Run = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="RUN", help="a run's folder, a record.json, or a paper's name for its committed record"),
]


@dataclasses.dataclass(frozen=True)
class Options:
    """Two runs of one paper side by side: settings, versions, code, verdicts, and the differences seed by seed."""

    a: Run
    b: Run


def main(words: Sequence[str]) -> int:
    """Prints the comparison."""
    options = parse(Options, words, "compare")
    a, b = _record(options.a), _record(options.b)
    from jaxzoo.experiment.compare import compare, render

    try:
        compared = compare(a, b)
    except ValueError as error:
        raise UsageError(str(error)) from None
    console().print(render(compared))
    return 0


def _record(run: str) -> dict[str, Any]:
    committed = [path for path in results_folder().glob("*/*.json") if path.stem == run]
    path = Path(run)
    if not path.exists() and committed:
        path = committed[0]
    try:
        return record.read(path / "record.json" if path.is_dir() else path)
    except StorageError as error:
        raise UsageError(str(error)) from None
