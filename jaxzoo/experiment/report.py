"""The scoreboard: one HTML file of all papers and their claims, that opens from the file system with no network."""

import collections
import datetime
import os
import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from jaxzoo.experiment import record as records
from jaxzoo.experiment.code_hash import stale
from jaxzoo.experiment.files import StorageError
from jaxzoo.experiment.paper_html import MARKS, Entry, counted, css_class, escape, marks_of, paper_html, pill
from jaxzoo.experiment.tables import number
from jaxzoo.experiment.verdict import Verdict

__all__ = ["Entry", "find_entry", "write_report"]

TEMPLATE = Path(__file__).with_name("report.html")


def find_entry(path: str | os.PathLike, title: str, *, results: Path, runs: Path | None = None) -> Entry:
    """Looks up what there is of one paper: its committed record, else that of the newest run that ended.

    Args:
      path: of the experiment's file.
      title: of the paper.
      results: folder of the committed records, `<field>/<slug>.json`, with `<field>/<slug>.png` beside them.
      runs: folder of runs, `<slug>/<run>/record.json`, with `figure.png` beside it.
    """
    path = Path(path)
    field, slug = path.parent.name, path.stem
    found = [(results / field / f"{slug}.json", results / field / f"{slug}.png")]
    if runs is not None:
        folders = sorted((runs / slug).glob("*/record.json"), key=lambda f: f.stat().st_mtime, reverse=True)
        found += [(file, file.with_name("figure.png")) for file in folders]
    for file, figure in found:
        if not file.is_file():
            continue
        try:
            record = records.read(file)
        except StorageError as error:
            return Entry(field, slug, title, problem=str(error))
        return Entry(field, slug, title, record, stale=stale(record, path), figure=figure if figure.is_file() else None)
    return Entry(field, slug, title)


def write_report(entries: Iterable[Entry], path: str | os.PathLike, *, problems: Sequence[str] = ()) -> Path:
    """Writes the scoreboard.

    Args:
      entries: of all papers.
      path: of the HTML file; its folder is made if need be.
      problems: what to say at the top, of experiment files that could not be read say.

    Returns:
      The path.

    Raises:
      StorageError: the file can't be written.
    """
    entries = sorted(entries, key=lambda e: (e.field, e.title.lower()))
    marks = collections.Counter(mark for e in entries for mark in set(marks_of(e)) & set(MARKS))
    verdicts = collections.Counter(c["verdict"] for e in entries if e.record for c in e.record["claims"])
    page = string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        lede=_lede(entries, verdicts.total()),
        problems="".join(f'<p class="warn">{escape(p)}</p>' for p in problems),
        share=_share(verdicts),
        tally=_tally(verdicts, marks),
        fields="".join(f'<option value="{escape(f)}">{escape(f)}</option>' for f in _by_field(entries)),
        papers="\n".join(_section(field, group) for field, group in _by_field(entries).items()),
        legend="".join(f"<dt>{pill(v)}</dt><dd>{escape(v.meaning)}</dd>" for v in Verdict),
        harness=_harness(entries),
    )
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(page, encoding="utf-8")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"could not write {path}: {error.strerror}") from error
    return path


def _by_field(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.field, []).append(entry)
    return groups


def _lede(entries: Sequence[Entry], claims: int) -> str:
    run = sum(entry.record is not None for entry in entries)
    today = datetime.date.today().isoformat()
    return (
        f"What papers claim, held against what came out: {counted(len(entries), 'paper')}, {run} of them run, "
        f"{counted(claims, 'claim')}. Made on {today}."
    )


def _share(verdicts: Mapping[str, int]) -> str:
    parts = (f'<i class="{css_class(v)}" style="flex:{verdicts[v]}"></i>' for v in Verdict if verdicts[v])
    return f'<div class="share" aria-hidden="true">{"".join(parts)}</div>'


def _tally(verdicts: Mapping[str, int], marks: Mapping[str, int]) -> str:
    buttons = [_button(v, v, v.symbol, verdicts[v], v.meaning) for v in Verdict]
    buttons += [_button(m, text, symbol, marks[m], "") for m, (text, symbol) in MARKS.items() if marks[m]]
    return "".join(buttons)


def _button(mark: str, text: str, symbol: str, count: int, title: str) -> str:
    return (
        f'<button type="button" aria-pressed="false" data-mark="{mark}" title="{escape(title)}"><b>{count}</b>'
        f'<span class="mark" aria-hidden="true">{symbol}</span> {text}</button>'
    )


def _section(field: str, entries: Sequence[Entry]) -> str:
    papers = "\n".join(map(paper_html, entries))
    name = escape(field.replace("_", " "))
    return f"<section><h2>{name}<small>{counted(len(entries), 'paper')}</small></h2>\n{papers}\n</section>"


def _harness(entries: Sequence[Entry]) -> str:
    """What the A/A check says over all papers."""
    rates = [c["a_a"] for e in entries if e.record for c in e.record["claims"] if c["a_a"] is not None]
    if not rates:
        return ""
    rate = number(100 * sum(rates) / len(rates))
    return (
        f"Check of the rule itself: had both arms of the {counted(len(rates), 'comparison')} been the same, relabelled "
        f"at random seed by seed, {rate} % would have come out reproduced; 2.5 % may."
    )
