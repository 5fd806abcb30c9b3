"""Two runs of one paper side by side: what differs in config and code, what in the verdicts and the numbers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from jaxzoo.experiment.progress import duration
from jaxzoo.experiment.statistics import t_interval
from jaxzoo.experiment.tables import estimate, number, verdict_text

Record = Mapping[str, Any]


class Difference(NamedTuple):
    """One result in two runs.

    Attributes:
      name: of the result.
      a, b: means over seeds, or None of a result with many values per seed.
      change: {"measured", "interval"} of b - a per seed, where seeds agree and are two or more.
      note: "identical", "missing in a", "largest difference 0.1" and so on; empty where the numbers say it.
    """

    name: str
    a: float | None = None
    b: float | None = None
    change: dict[str, Any] | None = None
    note: str = ""


class Comparison(NamedTuple):
    """What differs between two records.

    Attributes:
      slug: the paper's.
      identical: every measured value is the same, bit for bit.
      paired: seeds and key agree, so that seed i of one run is seed i of the other.
      config: (setting, a, b) where they differ.
      about: (what, a, b) of versions, code, device and time, where they differ.
      claims: (id, claim of a or None, claim of b or None), as the records have them.
      measured: a `Difference` for every result of either.
    """

    slug: str
    identical: bool
    paired: bool
    config: list[tuple[str, Any, Any]]
    about: list[tuple[str, str, str]]
    claims: list[tuple[str, Mapping | None, Mapping | None]]
    measured: list[Difference]


def compare(a: Record, b: Record) -> Comparison:
    """Compares two records of one paper.

    Raises:
      ValueError: they are of different papers.
    """
    if a["slug"] != b["slug"]:
        raise ValueError(f"compare: expected two runs of one paper, got {a['slug']} and {b['slug']}")
    paired = a["seeds"] == b["seeds"]
    claims_a, claims_b = ({c["id"]: c for c in r["claims"]} for r in (a, b))
    names = list(dict.fromkeys([*a["measured"], *b["measured"]]))
    return Comparison(
        slug=a["slug"],
        identical=paired and a["measured"] == b["measured"],
        paired=paired,
        config=_differing(a["config"], b["config"]),
        about=_differing(_about(a), _about(b)) + _code(a, b),
        claims=[(i, claims_a.get(i), claims_b.get(i)) for i in dict.fromkeys([*claims_a, *claims_b])],
        measured=[_difference(name, a["measured"].get(name), b["measured"].get(name), paired) for name in names],
    )


def _about(record: Record) -> dict[str, str]:
    git, device = record["git"], record["device"]
    return {
        "preset": record["preset"],
        "seeds": f"{record['seeds']['n']} of key {record['seeds']['key']}",
        **record["versions"],
        "prng": record["prng"]["impl"] + ("" if record["prng"]["threefry_partitionable"] else ", not partitionable"),
        "commit": "–" if git is None else git["commit"][:10] + (" with changes" if git["dirty"] else ""),
        "device": f"{device['count']} x {device['kind']} ({device['platform']}), {device['cpu_cores']} CPU cores",
        "wall time": duration(float(record["seconds"]["wall"])),
        "compile time": duration(float(record["seconds"]["compile"])),
    }


def _code(a: Record, b: Record) -> list[tuple[str, str, str]]:
    """Each file whose code differs, with the beginnings of its hashes."""
    hashes = [{name: file["code"][:10] for name, file in r["code"]["files"].items()} for r in (a, b)]
    return _differing(*hashes)


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    names = dict.fromkeys([*a, *b])
    return [(name, a.get(name, "–"), b.get(name, "–")) for name in names if a.get(name, "–") != b.get(name, "–")]


def _difference(name: str, a: Any, b: Any, paired: bool) -> Difference:
    if a is None or b is None:
        return Difference(name, note=f"missing in {'a' if a is None else 'b'}")
    note = "identical" if paired and a == b else ""
    if isinstance(a, dict) or isinstance(b, dict):
        return Difference(name, note=note or "differs")
    a, b = (np.array(values, np.float64) for values in (a, b))
    if a.ndim > 1 or b.ndim > 1:
        same = a.shape == b.shape and np.isfinite(a).all() and np.isfinite(b).all()
        found = f"largest difference {number(abs(a - b).max())}" if same else "differs in shape, or is not finite"
        return Difference(name, note=note or found)
    with np.errstate(invalid="ignore"):
        means = float(a.mean()), float(b.mean())
    if note or not paired or a.size < 2 or not np.isfinite(b - a).all():
        return Difference(name, *means, note=note)
    mean, half = map(float, t_interval(b - a))
    return Difference(name, *means, change={"measured": mean, "interval": (mean - half, mean + half)})


def render(comparison: Comparison) -> Group:
    """A comparison for a terminal."""
    parts: list[Any] = [Text(comparison.slug, style="bold"), _summary(comparison)]
    for title, rows in (("config", comparison.config), ("about the runs", comparison.about)):
        if rows:
            parts.append(_table(title, ("", "a", "b"), [[name, _shown(x), _shown(y)] for name, x, y in rows]))
    parts.append(
        _table("claims", ("claim", "a", "b"), [[i, _outcome(x), _outcome(y)] for i, x, y in comparison.claims])
    )
    if not comparison.identical:
        rows = [[d.name, number(d.a), number(d.b), d.note or _change(d)] for d in comparison.measured]
        parts.append(_table("measured", ("result", "a", "b", "b - a, 95 % interval"), rows))
    return Group(*parts)


def _summary(comparison: Comparison) -> Text:
    if comparison.identical:
        return Text("bit-identical: every measured value is the same", style="green")
    if comparison.paired:
        return Text("the same seeds: differences are taken seed by seed")
    return Text("different seeds: means only, no interval of the difference", style="yellow")


def _table(title: str, columns: tuple[str, ...], rows: list[list[Any]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return table


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _outcome(claim: Mapping | None) -> Text:
    return Text("–") if claim is None else Text.assemble(verdict_text(claim["verdict"]), f"\n{estimate(claim)}")


def _change(difference: Difference) -> str:
    return estimate(difference.change) if difference.change is not None else "–"
