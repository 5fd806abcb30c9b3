"""One paper of the scoreboard as HTML: a line that opens to its claims, its figure and the facts of its run."""

import base64
import dataclasses
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxzoo.experiment.forest import forest
from jaxzoo.experiment.progress import duration
from jaxzoo.experiment.record import UNTESTED
from jaxzoo.experiment.tables import estimate, needed
from jaxzoo.experiment.verdict import Verdict

MARKS = {"stale": ("stale", "⟳"), "not run": ("not run yet", "…")}
"""What a paper can be beside its verdicts: a filter's name -> its text and its symbol."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One paper of the scoreboard.

    Attributes:
      field, slug, title: of the paper.
      record: of its run, or None if there is none that can be read.
      stale: why the record no longer belongs to the code, or None.
      problem: why the record can't be read, or None.
      figure: a PNG file, or None.
    """

    field: str
    slug: str
    title: str
    record: Mapping[str, Any] | None = None
    stale: str | None = None
    problem: str | None = None
    figure: Path | None = None


def paper_html(entry: Entry) -> str:
    """One paper: a line that opens."""
    record = entry.record
    chips = "".join(f"<li>{chip}</li>" for chip in _chips(entry))
    by = f'<div class="by">{escape(_authors(record))}</div>' if record else ""
    time = f'<div class="time">{escape(_cost(record))}</div>' if record else ""
    words = [entry.title, entry.slug, _authors(record) if record else ""]
    words += [claim["says"] for claim in record["claims"]] if record else []
    return (
        f'<details class="paper" id="{escape(entry.slug)}" data-field="{escape(entry.field)}" '
        f'data-marks="{";".join(marks_of(entry))}" data-text="{escape(" ".join(words).lower())}">'
        f'<summary><div><div class="title">{escape(entry.title)}</div>{by}</div>'
        f'<div class="outcome"><ul class="chips">{chips}</ul>{time}</div></summary>'
        f'<div class="body">{_body(entry)}</div></details>'
    )


def marks_of(entry: Entry) -> list[str]:
    """What the filters find a paper by: its verdicts, "stale", "not run"."""
    if entry.record is None:
        return ["not run"]
    return [*dict.fromkeys(c["verdict"] for c in entry.record["claims"]), *(["stale"] if entry.stale else [])]


def _chips(entry: Entry) -> list[str]:
    if entry.record is None:
        text = "record can't be read" if entry.problem else MARKS["not run"][0]
        return [f'<span class="pill not-run">{text}</span>']
    chips = [
        f'<span class="pill {css_class(c["verdict"])}" title="{escape(c["says"])}: {c["verdict"]}">'
        f'{escape(c["id"])} <span aria-hidden="true">{Verdict(c["verdict"]).symbol}</span>'
        f'<span class="unseen">{c["verdict"]}</span></span>'
        for c in entry.record["claims"]
    ]
    return [*chips, '<span class="pill stale">stale</span>'] if entry.stale else chips


def _body(entry: Entry) -> str:
    if entry.record is None:
        text = escape(entry.problem) if entry.problem else f"<code>jaxzoo run {escape(entry.slug)}</code> runs it."
        return f"<p>{text}</p>"
    record = entry.record
    warnings = [f"Stale: {entry.stale}. Run it again to know."] if entry.stale else []
    if record["preset"] != "default":
        warnings.append(f"This is a run of the {record['preset']} preset.")
    warnings += [f"Failed: {oracle['says']}" for oracle in record["oracles"] if not oracle["holds"]]
    warned = "".join(f'<p class="warn">{escape(warning)}</p>' for warning in warnings)
    claims = "".join(map(_claim, record["claims"]))
    picture = _picture(entry)
    more = f'<div class="more">{picture}{_facts(record)}</div>' if picture else f"<p></p>{_facts(record)}"
    return f'{warned}<ol class="claims">{claims}</ol>{more}'


def _claim(claim: Mapping[str, Any]) -> str:
    full = "" if claim["verdict_full"] == UNTESTED else f'<p class="needs">full scale: {claim["verdict_full"]}</p>'
    reason = f'<p class="reason">{escape(claim["reason"])}</p>' if claim["reason"] else ""
    return (
        f"<li><div>{pill(claim['verdict'])}{full}</div>"
        f'<div><p class="said">{escape(claim["id"])}. {escape(claim["says"])}</p>'
        f'<p class="paper-says">Paper: {escape(claim["paper_value"])} ({escape(claim["source"])})</p>{reason}</div>'
        f"<div>{_found(claim) if claim['bound'] else ''}</div></li>"
    )


def _found(claim: Mapping[str, Any]) -> str:
    mean, bracket, interval = estimate(claim).partition(" [")
    tests = "" if claim["p"] is None else f", p {_p(claim['p'])} ({_p(claim['p_holm'])} Holm)"
    control = ""
    if claim["control"] is not None:
        found = estimate(claim["control"] | {"log": claim["log"]})
        control = f'<p class="needs">control: {escape(found)}</p>'
    return (
        f'<p class="number"><b>{escape(mean)}</b>{escape(bracket + interval)}</p>{forest(claim)}'
        f'<p class="needs">{escape(needed(claim))}; {counted(claim["n"], "seed")}{tests}</p>{control}'
    )


def _p(value: Any) -> str:
    value = float(value)
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}"


def _picture(entry: Entry) -> str:
    if entry.figure is None:
        return ""
    data = base64.b64encode(entry.figure.read_bytes()).decode("ascii")
    name = escape(f"Figure of {entry.title}")
    return f'<img src="data:image/png;base64,{data}" alt="{name}" loading="lazy" decoding="async">'


def _facts(record: Mapping[str, Any]) -> str:
    paper, device, git, versions = record["paper"], record["device"], record["git"], record["versions"]
    facts = {
        "arXiv": paper["arxiv"]
        and f'<a href="https://arxiv.org/abs/{escape(paper["arxiv"])}">{escape(paper["arxiv"])}</a>',
        "official code": escape(paper["code"]),
        "time": f"{_time(record, 'wall')}, {_time(record, 'compile')} of it compiling",
        "memory": _memory(record["memory"]["host_peak_bytes"]),
        "device": escape(f"{device['count']} × {device['kind']}, {device['cpu_cores']} CPU cores"),
        "seeds": f"{record['seeds']['n']} of key {record['seeds']['key']}",
        "versions": escape(", ".join(f"{name} {version}" for name, version in versions.items())),
        "commit": git and f"<code>{escape(git['commit'][:10])}</code>{' with changes' if git['dirty'] else ''}",
        "command": f"<code>{escape(record['command'])}</code>",
        "finished": escape(record["finished"]),
    }
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items() if value)
    return f'<dl class="facts">{rows}</dl>'


def _memory(peak: int | None) -> str:
    return "" if peak is None else f"{peak / 1e9:.1f} GB at most"


def _time(record: Mapping[str, Any], kind: str) -> str:
    return duration(float(record["seconds"][kind]))


def _cost(record: Mapping[str, Any]) -> str:
    return f"{_time(record, 'wall')} on {record['device']['kind']}"


def _authors(record: Mapping[str, Any]) -> str:
    return f"{record['paper']['authors']}, {record['paper']['year']}"


def pill(verdict: str) -> str:
    """A verdict in words, with its symbol and colour."""
    symbol = f'<span aria-hidden="true">{Verdict(verdict).symbol}</span>'
    return f'<span class="pill {css_class(verdict)}">{symbol} {verdict}</span>'


def css_class(verdict: str) -> str:
    """A verdict as the name of a style."""
    return verdict.replace(" ", "-")


def counted(n: int, noun: str) -> str:
    """ "1 claim", "2 claims"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def escape(value: str) -> str:
    """Text as HTML."""
    return html.escape(value)
