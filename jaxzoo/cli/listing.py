"""`jaxzoo list`."""

import collections
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxzoo.cli.errors import UsageError
from jaxzoo.cli.markdown import papers_table, put_into
from jaxzoo.cli.options import Experiments, Runs, option, parse
from jaxzoo.cli.text import UNBOUNDED, console, table
from jaxzoo.experiment.discover import Head, read_all, results_folder
from jaxzoo.experiment.report import Entry, find_entry
from jaxzoo.experiment.settings import did_you_mean
from jaxzoo.experiment.verdict import Verdict

SLUGS = {verdict.replace(" ", "-"): verdict for verdict in Verdict}


@dataclasses.dataclass(frozen=True)
class Options:
    """The papers, one a line: name, field, what came out of the claims, title.

    A record is marked stale when code that it depends on has changed since that run.
    """

    words: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        option("[WORD ...]", "only papers whose name, field, title, authors or description have all of these"),
    ] = ()
    field: Annotated[str | None, option("FIELD", "only papers of this field")] = None
    verdict: Annotated[
        Literal[("any", *SLUGS, "stale", "none")],
        tyro.conf.arg(help="only papers with a claim of this verdict, with a stale record, or with no record"),
    ] = "any"
    markdown: Annotated[
        Path | None,
        option("FILE", "put them into FILE as a table of committed records, where it has the comments for it"),
    ] = None
    experiments: Experiments = None
    runs: Runs = Path("runs")


def main(words: Sequence[str]) -> int:
    """Prints the list; returns 1 if a file breaks the contract."""
    options = parse(Options, words, "list")
    found = read_all(options.experiments)
    fields = {head.field for head in found.heads}
    if options.field is not None and options.field not in fields:
        near = did_you_mean(options.field, fields)
        raise UsageError(f"--field: no field {options.field!r}{near}; the fields are {', '.join(sorted(fields))}")
    results, shown = results_folder(options.experiments), []
    runs = options.runs if options.markdown is None else None
    for head in found.heads:
        if options.field in (None, head.field) and _matches(head, options.words):
            entry = find_entry(head.path, head.paper.title, results=results, runs=runs)
            if _has(entry, options.verdict):
                shown.append((head, entry))
    if options.markdown is None:
        _print(shown)
    else:
        put_into(options.markdown, papers_table(shown))
        print(options.markdown)
    for error in found.errors:
        print(f"jaxzoo list: {error}", file=sys.stderr)
    return 1 if found.errors else 0


def _matches(head: Head, words: Sequence[str]) -> bool:
    text = " ".join((head.slug, head.field, head.paper.title, head.paper.authors, head.docstring)).lower()
    return all(word.lower() in text for word in words)


def _verdicts(entry: Entry) -> collections.Counter:
    """How often each verdict came out."""
    return collections.Counter(claim["verdict"] for claim in entry.record["claims"]) if entry.record else {}


def _has(entry: Entry, verdict: str) -> bool:
    if verdict == "stale":
        return entry.stale is not None
    if verdict == "none":
        return entry.record is None
    return verdict == "any" or SLUGS[verdict] in _verdicts(entry)


def _print(shown: list[tuple[Head, Entry]]) -> None:
    used, rows = set(), []
    for head, entry in shown:
        counts = _verdicts(entry)
        used |= counts.keys()
        marks = [f"{verdict.symbol}{counts[verdict]}" for verdict in Verdict if verdict in counts]
        marks = marks or ["record can't be read" if entry.problem else "no record"]
        marks += ["stale"] if entry.stale else []
        rows.append((head.slug, head.field, " ".join(marks), f"{head.paper.title} ({head.paper.year})"))
    if not rows:
        print("no paper matches")
        return
    console(off_terminal=UNBOUNDED).print(table(("paper", "field", "claims", "title"), rows, cut="title"))
    if used:
        print("\n" + "  ".join(f"{verdict.symbol} {verdict}" for verdict in Verdict if verdict in used))
