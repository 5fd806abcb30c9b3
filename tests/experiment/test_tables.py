"""Numbers and tables for people."""

import io
import math

import pytest
from rich.console import Console

from jaxzoo.experiment.tables import claims_table, estimate, needed, number, verdict_text
from jaxzoo.experiment.verdict import Verdict


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (None, None, "–"),
        ("nan", None, "nan"),
        (math.inf, 2, "inf"),
        (0, None, "0"),
        (-0.0, None, "0"),
        (0.12345, None, "0.123"),
        (0.12345, 4, "0.1235"),
        (-12.0, 1, "-12.0"),
        (99999.0, None, "99999"),
        (999.4, None, "999"),
        (999.6, None, "1000"),
        (1e-3, None, "0.001"),
        (1e6, None, "1.00e+06"),
        (2.5e6, None, "2.50e+06"),
        (0.0005, None, "5.00e-04"),
        (0.0005, 2, "0.00"),
        (2.5e6, 2, "2.50e+06"),
    ],
)
def test_number(value, decimals, text):
    assert number(value, decimals) == text


@pytest.mark.parametrize(
    ("measured", "interval", "text"),
    [
        (0.41234, (0.372, 0.451), "0.412 [0.372, 0.451]"),
        (98.7612, (98.7412, 98.7812), "98.761 [98.741, 98.781]"),
        (1234.5, (1100.0, 1400.0), "1234 [1100, 1400]"),
        (0.5, (0.5, 0.5), "0.5 [0.5, 0.5]"),
        (2.0, (1.0, "inf"), "2 [1, inf]"),
        (9.5e-4, (-0.023, 0.025), "0.001 [-0.023, 0.025]"),
        (2e-7, (1e-7, 3e-7), "2.00e-07 [1.00e-07, 3.00e-07]"),
        (0.5, (0.5 - 1e-9, 0.5 + 1e-9), "0.500000 [0.500000, 0.500000]"),
        (-1.5, (-1.5003, -1.4997), "-1.50000 [-1.50030, -1.49970]"),
    ],
)
def test_an_estimate_is_as_precise_as_its_interval(measured, interval, text):
    assert estimate({"measured": measured, "interval": interval}) == text


def test_an_estimate_of_a_ratio_is_as_precise_at_both_ends():
    assert estimate({"measured": 1.0345, "interval": (0.0094, 114.2), "log": True}) == "1.03 [0.0094, 114]"


def test_an_estimate_without_an_interval_shows_the_values():
    nothing = {"measured": None, "interval": None}
    assert estimate(nothing) == "–"
    assert estimate(nothing | {"values": [0.5, "nan"]}) == "0.5, nan"


@pytest.mark.parametrize(
    ("bound", "log", "mde", "text"),
    [
        ({"at_least": 0.2}, False, 0.05, "needs ≥ 0.2, detects 0.05"),
        ({"at_most": 0.35}, True, math.log(1.25), "needs ≤ 0.35, detects ×1.25"),
        ({"between": (2.5, 6)}, True, 1e4, "needs 2.5 to 6, detects nothing"),
        ({"at_least": 0.2}, False, None, "needs ≥ 0.2"),
    ],
)
def test_what_is_needed(bound, log, mde, text):
    assert needed({"bound": bound, "log": log, "mde": mde}) == text


def test_each_verdict_has_a_symbol_and_a_meaning_of_its_own():
    assert len({v.symbol for v in Verdict}) == len({v.meaning for v in Verdict}) == len(Verdict) == 7
    assert [verdict_text(v).plain for v in Verdict] == [f"{v.symbol} {v}" for v in Verdict]


@pytest.mark.parametrize("width", [60, 120])
def test_claims_table(paper_record, width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(claims_table(paper_record()["claims"]))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).replace("│", " ").split())
    for part in ("✓ reproduced", "△ full scale only"):
        assert part in text
    if width == 120:
        for part in (
            "14.8 against 23.2",
            "Table 4, row <340M>",
            "C2 its error is a third [or less]",
            "needs ≥ 0.2, detects",
        ):
            assert part in text
