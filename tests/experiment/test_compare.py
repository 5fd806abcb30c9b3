"""Two runs side by side."""

import io
import math

import numpy as np
import pytest
import scipy.stats
from rich.console import Console

from jaxzoo.experiment.compare import compare, render


def shown(comparison) -> str:
    console = Console(file=io.StringIO(), width=140, color_system=None)
    console.print(render(comparison))
    return console.file.getvalue()


def test_the_same_run_twice_is_bit_identical(paper_record):
    found = compare(paper_record(), paper_record(wall_seconds=90.0))
    assert found.identical
    assert (found.config, found.about) == ([], [("wall time", "3 min 20 s", "1 min 30 s")])
    assert {d.note for d in found.measured} == {"identical"}
    assert "bit-identical: every measured value is the same" in shown(found)
    assert "b - a" not in shown(found)
    assert "config" not in shown(found)


def test_equal_numbers_of_other_seeds_are_not_called_identical(paper_record):
    found = compare(paper_record(), paper_record(key=1))
    assert not found.identical
    assert not found.paired
    assert all(d.change is None for d in found.measured)
    assert ("seeds", "5 of key 0", "5 of key 1") in found.about
    assert "different seeds: means only" in shown(found)


def test_one_last_bit_is_a_difference(paper_record):
    a = paper_record()
    full = np.array(a["measured"]["full"])
    full[3] = np.nextafter(full[3], 1)
    found = compare(a, paper_record(results={"full": full}))
    assert not found.identical
    assert [d.name for d in found.measured if d.note != "identical"] == ["full"]


def test_differences_are_taken_seed_by_seed(paper_record):
    a, b = paper_record(), paper_record(effect=0.6, rng_seed=3)
    change = next(d for d in compare(a, b).measured if d.name == "full").change
    d = np.array(b["measured"]["full"]) - np.array(a["measured"]["full"])
    expected = scipy.stats.t.interval(0.95, 4, d.mean(), scipy.stats.sem(d))
    assert change["measured"] == pytest.approx(d.mean())
    assert change["interval"] == pytest.approx(expected)
    text = shown(compare(a, b))
    assert "the same seeds: differences are taken seed by seed" in text
    assert "b - a, 95 % interval" in text
    assert f"{d.mean():.3f} [{expected[0]:.3f}, {expected[1]:.3f}]" in text


def test_two_seeds_give_an_interval_and_one_does_not(paper_record):
    two = compare(paper_record(n=2), paper_record(n=2, rng_seed=1))
    assert all(d.change["interval"] for d in two.measured if d.name in ("full", "none", "ratio", "slope"))
    one = compare(paper_record(n=1), paper_record(n=1, rng_seed=1))
    assert all(d.change is None for d in one.measured)


def test_config_versions_and_code(paper_record):
    a = paper_record(config={"width": 64, "rates": (0.1, 0.2)})
    b = paper_record(config={"width": 128, "rates": (0.1, 0.2), "depth": 2})
    b["versions"] = b["versions"] | {"jax": "0.11.0"}
    b["code"]["files"]["jaxzoo/ops/norms.py"]["code"] = "2"
    b["git"] = None
    found = compare(a, b)
    text = " ".join(shown(found).split())
    assert "width 64 128" in text
    assert "jax 0.10.2 0.11.0" in text
    assert found.config == [("width", 64, 128), ("depth", "–", 2)]
    assert found.about == [
        ("jax", "0.10.2", "0.11.0"),
        ("commit", "0123456789", "–"),
        ("jaxzoo/ops/norms.py", "1", "2"),
    ]


def test_verdicts_stand_side_by_side(paper_record):
    a, b = paper_record(), paper_record(effect=-0.4)
    b["claims"] = [c for c in b["claims"] if c["id"] != "C3"]
    pairs = [(i, x and x["verdict"], y and y["verdict"]) for i, x, y in compare(a, b).claims]
    assert pairs[0] == ("C1", "reproduced", "contradicted")
    assert pairs[2] == ("C3", "reproduced", None)
    assert "⇄ contradicted" in shown(compare(a, b))


def test_arrays_summaries_and_what_is_missing(paper_record):
    a = paper_record()
    curve = np.array(a["measured"]["curve"])
    curve[2, 5] += 0.25
    others = {"curve": curve, "weights": np.ones((5, 400)), "more": np.ones(5)}
    notes = {d.name: d.note for d in compare(a, paper_record(results=others)).measured}
    assert notes["curve"] == "largest difference 0.25"
    assert notes["weights"] == "differs"
    assert notes["more"] == "missing in a"
    other = compare(a, paper_record(results={"curve": np.ones((5, 3))}))
    assert next(d for d in other.measured if d.name == "curve").note == "differs in shape, or is not finite"


def test_values_that_are_not_finite_give_no_interval(paper_record):
    a, b = paper_record(), paper_record(results={"full": np.array([1.0, math.nan, 1.0, math.inf, -math.inf])})
    full = next(d for d in compare(a, b).measured if d.name == "full")
    assert math.isnan(full.b)
    assert full.change is None
    assert "nan" in shown(compare(a, b))


def test_two_papers_are_refused(paper_record):
    with pytest.raises(ValueError, match="expected two runs of one paper, got gla and ntk"):
        compare(paper_record(), paper_record(slug="ntk"))
