"""The record that a paper is shown with. Never imports jax."""

import dataclasses
from pathlib import Path
from typing import Any

from jaxzoo.experiment import code_hash, record
from jaxzoo.experiment.discover import Head, experiments_folder, results_folder
from jaxzoo.experiment.files import StorageError
from jaxzoo.experiment.verdict import Verdict


@dataclasses.dataclass(frozen=True)
class Shown:
    """A paper's record, or why there is none.

    Attributes:
      path: of the record; None if there is none.
      record: its content; None if there is none or it can't be read.
      problem: why it can't be read, or "".
      stale: why it no longer belongs to the code, or "".
    """

    path: Path | None = None
    record: dict[str, Any] | None = None
    problem: str = ""
    stale: str = ""

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """claim id -> verdict."""
        return {claim["id"]: Verdict(claim["verdict"]) for claim in self.record["claims"]} if self.record else {}


def last_record(head: Head, out: Path) -> Shown:
    """The committed record of a paper that comes with jaxzoo; else of the newest run below `out` that finished."""
    committed = results_folder() / head.field / f"{head.slug}.json"
    if head.path.is_relative_to(experiments_folder()) and committed.is_file():
        return _read(committed, head)
    runs = sorted((out / head.slug).glob("*/record.json"), key=lambda path: path.stat().st_mtime)
    return _read(runs[-1], head) if runs else Shown()


def _read(path: Path, head: Head) -> Shown:
    try:
        content = record.read(path)
    except StorageError as error:
        return Shown(path=path, problem=str(error))
    return Shown(path=path, record=content, stale=code_hash.stale(content, head.path) or "")
