"""What came out, for a terminal: numbers no more precise than their interval, and the table of claims."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from jaxzoo.experiment.verdict import Verdict

STYLES = {
    Verdict.REPRODUCED: "green",
    Verdict.PARTIAL: "cyan",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_REPRODUCED: "red",
    Verdict.CONTRADICTED: "bold red",
    Verdict.FULL_SCALE_ONLY: "blue",
    Verdict.VOID: "magenta",
}


def claims_table(claims: Sequence[Mapping[str, Any]]) -> Table:
    """The claims of one record: claim, what the paper says and where, what was measured, verdict.

    Args:
      claims: `record["claims"]`.
    """
    table = Table(box=box.HORIZONTALS, show_lines=True, pad_edge=False)
    for name in ("claim", "the paper", "measured, 95 % interval"):
        table.add_column(name, overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for claim in claims:
        said = Text.assemble((claim["id"], "bold"), f" {claim['says']}")
        if claim["reason"]:
            said.append(f"\n{claim['reason']}", style="dim italic")
        paper = Text.assemble(claim["paper_value"], (f"\n{claim['source']}", "dim"))
        found = Text.assemble(estimate(claim), (f"\n{needed(claim)}" if claim["bound"] else "", "dim"))
        table.add_row(said, paper, found, verdict_text(claim["verdict"]))
    return table


def verdict_text(verdict: str) -> Text:
    """A verdict with its symbol, in its colour."""
    return Text(f"{Verdict(verdict).symbol} {verdict}", style=STYLES[Verdict(verdict)])


def estimate(claim: Mapping[str, Any]) -> str:
    """What was measured: "0.41 [0.37, 0.45]", or "–".

    Args:
      claim: of a record, or anything with "measured", "interval" and perhaps "values" and "log".
    """
    if claim["measured"] is None:
        values = claim.get("values", ())
        return ", ".join(number(float(value)) for value in values[:10]) or "–"
    numbers = [float(x) for x in (claim["measured"], *claim["interval"])]
    decimals = None if claim.get("log") else _decimals(numbers)
    mean, low, high = (number(x, decimals) for x in numbers)
    return f"{mean} [{low}, {high}]"


def needed(claim: Mapping[str, Any]) -> str:
    """What the claim asks for, and the smallest effect that so many seeds show: "needs ≥ 0.1, detects 0.02"."""
    ((kind, bound),) = claim["bound"].items()
    asked = {"at_least": "≥ {}", "at_most": "≤ {}", "between": "{} to {}"}[kind]
    text = "needs " + asked.format(*map(number, bound if kind == "between" else [bound]))
    return text if claim["mde"] is None else f"{text}, detects {detectable(claim)}"


def detectable(claim: Mapping[str, Any]) -> str:
    """The minimum detectable effect; of logarithms as a factor, "×1.2"."""
    mde = float(claim["mde"])
    if not claim["log"]:
        return number(mde)
    return f"×{number(math.exp(mde))}" if mde < 100 else "nothing"


def number(value: float | str | None, decimals: int | None = None) -> str:
    """A number to be read by people: to so many decimals, else to 3 significant digits."""
    if value is None:
        return "–"
    value = float(value) + 0.0  # no -0
    if not math.isfinite(value):
        return str(value)
    if decimals is not None and abs(value) < 1e6:
        return f"{value:.{decimals}f}"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}"
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def _decimals(numbers: Sequence[float]) -> int | None:
    """So many decimals that two digits of half an interval are seen; None where that says nothing, or all are tiny."""
    _, low, high = numbers
    if not math.isfinite(high - low) or low == high or max(map(abs, numbers)) < 1e-3:
        return None
    return min(max(1 - math.floor(math.log10((high - low) / 2)), 0), 6)
