"""The table of measured speeds in a Markdown file, drawn from the committed rows in results/.

    python benchmarks/kernels/table.py README.md

It stands between two comments there, `BEGIN` and `END`.
"""

import json
import sys
from itertools import groupby
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- kernels: made by benchmarks/kernels/table.py -->", "<!-- end of kernels -->"


def table(rows: list[dict]) -> list[str]:
    """Lines of Markdown: of each op, device and direction, how many times as fast it is as each baseline.

    Args:
        rows: as `run.py` writes them.
    """
    kind = lambda row: (row["op"], row["direction"], _device(row))  # noqa: E731
    lines = ["| op | | on | times as fast as |", "| --- | --- | --- | --- |"]
    for (op, direction, device), group in groupby(sorted(rows, key=kind), kind):
        lines.append(f"| `{op}` | {direction} | {device} | {_ratios(list(group))} |")
    return lines


def _device(row):
    return f"CPU, {row['cores']} cores" if row["platform"] == "cpu" else row["device"]


def _ratios(rows):
    """Every baseline's ratio, or the smallest and the largest of several shapes."""
    of = {}
    for row in rows:
        for name, baseline in row["baselines"].items():
            of.setdefault(name, []).append(baseline["ratio"])
    return "; ".join(f"{name} {_range(ratios)}" for name, ratios in of.items())


def _range(ratios):
    low, high = (f"{x:.2g}" if x < 10 else f"{x:.0f}" for x in (min(ratios), max(ratios)))
    return low if low == high else f"{low} to {high}"


def replaced(page: str, lines: list[str]) -> str:
    """The page with the lines between its comments; ValueError if it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"expected the comments {BEGIN} and {END}")
    return "\n".join([before + begin, "", *lines, "", end + after])


def rows(folder: Path = RESULTS) -> list[dict]:
    """All rows of the files in a folder."""
    return [row for path in sorted(folder.glob("*.json")) for row in json.loads(path.read_text())]


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(replaced(page.read_text(), table(rows())))
