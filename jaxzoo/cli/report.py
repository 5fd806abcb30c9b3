"""`jaxzoo report`."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from jaxzoo.cli.options import Experiments, Runs, parse
from jaxzoo.experiment.discover import read_all, results_folder
from jaxzoo.experiment.report import find_entry, write_report


@dataclasses.dataclass(frozen=True)
class Options:
    """One HTML page of all papers: verdicts claim by claim, figures, times, devices. It opens without a network."""

    out: Annotated[Path, tyro.conf.arg(metavar="FILE", help="the page")] = Path("report.html")
    experiments: Experiments = None
    runs: Runs = Path("runs")


def main(words: Sequence[str]) -> int:
    """Writes the page; returns 1 if a file breaks the contract."""
    options = parse(Options, words, "report")
    found = read_all(options.experiments)
    results = results_folder(options.experiments)
    entries = [find_entry(head.path, head.paper.title, results=results, runs=options.runs) for head in found.heads]
    problems = [str(error) for error in found.errors]
    print(write_report(entries, options.out, problems=problems))
    for problem in problems:
        print(f"jaxzoo report: {problem}", file=sys.stderr)
    return 1 if problems else 0
