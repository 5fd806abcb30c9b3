"""`jaxzoo show`."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxzoo.cli.options import Experiments, Runs, paper, parse
from jaxzoo.cli.text import console, table
from jaxzoo.experiment.contract import PRESETS, shown
from jaxzoo.experiment.declare import BOUNDS, Claim
from jaxzoo.experiment.discover import Head, results_folder
from jaxzoo.experiment.progress import duration
from jaxzoo.experiment.report import Entry, find_entry
from jaxzoo.experiment.tables import estimate, number
from jaxzoo.experiment.verdict import Verdict


@dataclasses.dataclass(frozen=True)
class Options:
    """One paper: what it claims and how that is checked, its settings, what came out of its last run."""

    slug: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SLUG", help="the paper's name in jaxzoo list")]
    experiments: Experiments = None
    runs: Runs = Path("runs")


def main(words: Sequence[str]) -> int:
    """Prints the paper."""
    options = parse(Options, words, "show")
    head = paper(options.slug, options.experiments)
    results = results_folder(options.experiments)
    entry = find_entry(head.path, head.paper.title, results=results, runs=options.runs)
    for line in (*_paper(head), *_claims(head, entry), *_record(entry)):
        print(line)
    print("\nSettings (--config.FIELD VALUE)")
    console().print(_settings(head))
    return 0


def _paper(head: Head) -> Iterator[str]:
    about = head.paper
    links = [f"https://arxiv.org/abs/{about.arxiv}" if about.arxiv else "", about.code and f"code: {about.code}"]
    yield f"{about.title}"
    yield ", ".join(filter(None, [about.authors, str(about.year), *links]))
    yield f"{head.field}/{head.slug}, {shown(head.path)}"
    yield ""
    yield head.docstring.strip()


def _claims(head: Head, entry: Entry) -> Iterator[str]:
    results = {claim["id"]: claim for claim in entry.record["claims"]} if entry.record else {}
    yield "\nClaims"
    for claim in head.claims:
        yield f"  {claim.id:<4} {claim.says}"
        yield f"       paper: {claim.paper_value} ({claim.source})"
        yield f"       check: {check_of(claim)}"
        if claim.id in results:
            yield f"       found: {_found(results[claim.id])}"
    for oracle in head.oracles:
        yield f"  must hold: {oracle.says}"


def check_of(claim: Claim) -> str:
    """How a claim is checked, in words: "at least 0.02 (no effect: 0)"."""
    if claim.full_scale_only:
        return f"none at this scale: {claim.full_scale_only}"
    kind = next(name for name in BOUNDS if getattr(claim, name) is not None)
    bound = getattr(claim, kind)
    words = kind.replace("_", " ")
    text = f"{words} {' and '.join(map(number, bound if kind == 'between' else [bound]))}"
    more = [f"no effect: {number(claim.no_effect)}"] if claim.no_effect is not None else []
    more += ["on logarithms"] if claim.log else []
    more += ["with a negative control"] if claim.control is not None else []
    return f"{text} ({', '.join(more)})" if more else text


def _found(claim: dict[str, Any]) -> str:
    """What came out of a claim: "✓ reproduced, 0.31 [0.28, 0.34]"."""
    verdict = Verdict(claim["verdict"])
    measured = "" if claim["measured"] is None else f", {estimate(claim)}"
    reason = f"; {claim['reason']}" if claim["reason"] else ""
    return f"{verdict.symbol} {verdict}{measured}{reason}"


def _record(entry: Entry) -> Iterator[str]:
    if entry.record is None:
        yield f"\n{entry.problem or 'No record yet'}"
        return
    record = entry.record
    seconds, device, seeds = record["seconds"], record["device"], record["seeds"]
    yield f"\nLast record: {record['finished']}, preset {record['preset']}, {seeds['n']} seeds, key {seeds['key']}"
    yield (
        f"  {duration(float(seconds['wall']))}, of that {duration(float(seconds['compile']))} compiling, "
        f"on {device['count']} {device['kind']}, {device['cpu_cores']} CPU cores, jax {record['versions']['jax']}"
    )
    if entry.figure is not None:
        yield f"  {shown(entry.figure.absolute())}"
    if entry.stale:
        yield f"  stale: {entry.stale}"


def _settings(head: Head) -> Any:
    presets = [head.presets[name] for name in PRESETS]
    rows = [
        (f"  {name}", *(_value(getattr(config, name)) for config in presets), s.doc, s.legal)
        for name, s in head.settings.items()
    ]
    return table(("  name", *PRESETS, "meaning", "legal"), rows)


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_value, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
