"""The scoreboard: what stands in it, that it is sound HTML, that nothing in it can break out or call home."""

import html.parser
import json
import math
import os
import re
import time

import numpy as np
import pytest

from jaxzoo.experiment import code_hash, record
from jaxzoo.experiment.files import StorageError
from jaxzoo.experiment.forest import EDGE, HEIGHT, WIDTH, forest
from jaxzoo.experiment.paper_html import paper_html
from jaxzoo.experiment.report import Entry, find_entry, write_report

VOID_TAGS = {"meta", "input", "img", "br", "rect", "line", "circle"}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(50_000)


class Page(html.parser.HTMLParser):
    """The tags of a page, each with its attributes; fails where they don't nest."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.tags, self.text = [], [], ""
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID_TAGS:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID_TAGS:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1] not in ("style", "script"):
            self.text += f" {data}"

    def find(self, tag, **wanted):
        return [a for t, a in self.tags if t == tag and all(a.get(k) == v for k, v in wanted.items())]


def page(tmp_path, entries, **options) -> Page:
    return Page(write_report(entries, tmp_path / "report.html", **options).read_text())


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_paper_shows_its_claims_with_figure_interval_and_verdict(tmp_path, paper_record):
    made = paper_record(effect=0.4)
    text = words(page(tmp_path, [Entry("attention", "gla", "On GLA", made)]).text)
    first = made["claims"][0]
    for part in (
        "On GLA",
        "Yang et al., 2023",
        "C1. full beats none",
        "Paper: 14.8 against 23.2 (Table 4, row <340M>)",
        "✓ reproduced",
        f"{first['measured']:.3f} [{first['interval'][0]:.3f}, {first['interval'][1]:.3f}]",
        "needs ≥ 0.2, detects",
        "5 seeds",
        "△ full scale only",
        "340M parameters",
        "3 min 20 s, 1.5 s of it compiling",
        "3 min 20 s on cpu",
        "1 × cpu, 2 CPU cores",
        "0.7 GB at most",
        "jax 0.10.2",
    ):
        assert part in text


def test_verdicts_are_counted_and_filter(tmp_path, paper_record):
    entries = [
        Entry("attention", "gla", "GLA", paper_record(effect=0.4)),
        Entry("theory", "ntk", "NTK", paper_record(effect=-0.4), stale="a.py has changed since this run"),
        Entry("theory", "none", "None"),
    ]
    found = page(tmp_path, entries)
    text = words(found.text)
    assert "3 papers, 2 of them run, 8 claims" in text
    for tally in (
        "5 ✓ reproduced",
        "1 ⇄ contradicted",
        "2 △ full scale only",
        "0 ∅ void",
        "1 ⟳ stale",
        "1 … not run yet",
    ):
        assert tally in text
    assert "%" not in text.split("Check of the rule")[0].replace("95 % Student-t", "")
    marks = {a["id"]: a["data-marks"] for a in found.find("details")}
    assert marks == {
        "gla": "reproduced;full scale only",
        "ntk": "contradicted;reproduced;full scale only;stale",
        "none": "not run",
    }
    assert {a["data-mark"] for a in found.find("button")} >= {m for value in marks.values() for m in value.split(";")}
    assert [a["value"] for a in found.find("option")] == ["", "attention", "theory"]


def test_a_verdict_is_never_told_by_colour_alone(tmp_path, paper_record):
    chips = words(page(tmp_path, [Entry("theory", "ntk", "NTK", paper_record(effect=-0.4))]).text)
    assert "C1 ⇄ contradicted C2 ✓ reproduced" in chips


def test_the_page_reports_its_own_a_a_rate(tmp_path, paper_record):
    made = paper_record()
    made["claims"][0]["a_a"], made["claims"][1]["a_a"] = 0.01, 0.03
    text = words(page(tmp_path, [Entry("theory", "ntk", "NTK", made)]).text)
    assert "both arms of the 2 comparisons been the same, relabelled at random seed by seed, 2 % would" in text


def test_stale_void_and_other_presets_are_said(tmp_path, paper_record):
    made = paper_record(results={"full": np.array([1.0, 1.0, math.nan, 1.0, 1.0])}, preset="smoke")
    made["oracles"][0]["holds"] = False
    text = words(page(tmp_path, [Entry("theory", "ntk", "NTK", made, stale="a.py has changed since this run")]).text)
    assert "Stale: a.py has changed since this run." in text
    assert "This is a run of the smoke preset." in text
    assert "Failed: both forms agree" in text
    assert "the measured value is not finite in seeds 2" in text
    assert "nan" in text


def test_a_full_scale_verdict_stands_beside_the_other(tmp_path, paper_record):
    text = words(page(tmp_path, [Entry("theory", "ntk", "NTK", paper_record(full_scale=True))]).text)
    assert "full scale: reproduced" in text


def test_hostile_text_stays_text(tmp_path, paper_record):
    evil = '"><script>alert(1)</script><img src=x onerror="x">'
    made = paper_record()
    made["command"] = made["paper"]["authors"] = made["claims"][0]["says"] = made["claims"][0]["reason"] = evil
    found = page(
        tmp_path,
        [Entry("theory", "ntk", evil, made, stale=evil), Entry("theory", "b", "B", problem=evil)],
        problems=[evil],
    )
    assert len(found.find("script")) == 1
    assert found.find("img") == []
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert found.text.count("alert(1)") >= 6


def test_nothing_is_loaded_from_anywhere(tmp_path, paper_record):
    (tmp_path / "ntk.png").write_bytes(PNG)
    found = page(tmp_path, [Entry("theory", "ntk", "NTK", paper_record(), figure=tmp_path / "ntk.png")])
    assert found.find("link") == []
    assert all("src" not in a for a in found.find("script"))
    (image,) = found.find("img")
    assert image["src"].startswith("data:image/png;base64,iVBORw0KGgo")
    assert (image["alt"], image["loading"]) == ("Figure of NTK", "lazy")
    assert [a["href"] for a in found.find("a")] == ["https://arxiv.org/abs/2312.06635"]
    assert not re.search(r"url\(|@import", (tmp_path / "report.html").read_text())


def test_it_is_quick_and_small_at_182_papers(tmp_path, paper_record):
    (tmp_path / "figure.png").write_bytes(PNG)
    made = paper_record()
    entries = [Entry("theory", f"p{i}", f"Paper {i}", made, figure=tmp_path / "figure.png") for i in range(182)]
    begin = time.process_time()
    path = write_report(entries, tmp_path / "report.html")
    assert time.process_time() - begin < 1.0
    assert path.stat().st_size < 182 * (len(PNG) * 4 / 3 + 12_000)


def test_no_papers_at_all(tmp_path):
    assert "0 papers, 0 of them run, 0 claims" in words(page(tmp_path, []).text)


def test_a_place_that_cant_be_written_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "report.html", tmp_path / "folder"):
        with pytest.raises(StorageError, match="could not write"):
            write_report([], path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


@pytest.fixture
def places(tmp_path, paper_record):
    """An experiment's file, the folders of results and of runs, and `put(folder, file, record, figure)`."""
    path = tmp_path / "experiments/theory/ntk.py"
    path.parent.mkdir(parents=True)
    path.write_text("x = 1\n")

    def put(name, figure, **changes):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        record.write(file, paper_record(slug="ntk", field="theory", code=code_hash.code(path), **changes))
        (file.parent / figure).write_bytes(PNG)
        return file

    return path, tmp_path, put


def test_the_committed_record_comes_before_runs_and_the_newest_run_before_others(places):
    path, root, put = places

    def find():
        return find_entry(path, "NTK", results=root / "results", runs=root / "runs")

    assert find() == Entry("theory", "ntk", "NTK")
    old = put("runs/ntk/b-old/record.json", "figure.png", rng_seed=1)
    os.utime(old, (1, 1))
    assert find().figure == root / "runs/ntk/b-old/figure.png"
    put("runs/ntk/a-new/record.json", "figure.png", rng_seed=2)
    assert find().figure == root / "runs/ntk/a-new/figure.png"
    committed = put("results/theory/ntk.json", "ntk.png", rng_seed=3)
    found = find()
    assert (found.record, found.figure) == (json.loads(committed.read_text()), root / "results/theory/ntk.png")
    assert (found.stale, found.problem) == (None, None)
    assert find_entry(path, "NTK", results=root / "elsewhere").record is None


def test_a_record_of_other_code_is_stale_and_its_figure_may_be_missing(places):
    path, root, put = places
    put("results/theory/ntk.json", "ntk.png")
    path.write_text("x = 2\n")
    (root / "results/theory/ntk.png").unlink()
    found = find_entry(path, "NTK", results=root / "results")
    assert found.stale == "experiments/theory/ntk.py has changed since this run"
    assert found.figure is None


def test_a_record_that_cant_be_read_is_a_problem_and_hides_no_other(places, paper_record):
    path, root, put = places
    put("results/theory/ntk.json", "ntk.png").write_text('{"schema": 9}')
    found = find_entry(path, "NTK", results=root / "results")
    assert "schema: expected 1, got 9" in found.problem
    text = words(page(root, [found, Entry("theory", "b", "B", paper_record())]).text)
    assert "record can't be read" in text
    assert "C1. full beats none" in text


def claim(**changes):
    about = {"bound": {"at_least": 0.2}, "no_effect": 0.0, "log": False, "measured": 0.3, "interval": [0.1, 0.5]}
    return about | {"values": [0.2, 0.4]} | changes


def shapes(claim):
    found = Page(forest(claim))
    return {
        tag: [{k: v for k, v in a.items() if k != "fill"} for a in found.find(tag)]
        for tag in ("rect", "line", "circle")
    }


def test_the_picture_of_a_claim_is_to_scale():
    drawn = shapes(claim())
    zone, bar = drawn["rect"]
    (dot,) = drawn["circle"]
    bound, nothing, *seeds = (float(line["x1"]) for line in drawn["line"])
    left, right = float(bar["x"]), float(bar["x"]) + float(bar["width"])
    assert nothing < left < bound < float(dot["cx"]) < right
    assert float(dot["cx"]) == pytest.approx((left + right) / 2, abs=0.1)
    assert (bound - nothing) / (right - left) == pytest.approx(0.2 / 0.4, abs=0.01)
    assert seeds == pytest.approx([bound, (left + 3 * right) / 4], abs=0.1)
    assert float(zone["x"]) == bound
    assert float(zone["x"]) + float(zone["width"]) == pytest.approx(WIDTH, abs=0.1)


@pytest.mark.parametrize("bound", [{"at_least": 0.9}, {"at_most": -0.9}, {"between": [-9.0, 9.0]}])
def test_the_picture_holds_all_it_draws(bound):
    drawn = shapes(claim(bound=bound, values=[-0.4, 0.9], no_effect=None))
    across = [float(a[k]) for tag in drawn for a in drawn[tag] for k in ("x", "x1", "x2", "cx") if k in a]
    across += [float(r["x"]) + float(r["width"]) for r in drawn["rect"]]
    down = [float(a[k]) for tag in drawn for a in drawn[tag] for k in ("y", "y1", "y2", "cy") if k in a]
    down += [float(r["y"]) + float(r["height"]) for r in drawn["rect"]]
    assert (min(across), min(down), max(down)) == (pytest.approx(0, abs=EDGE), 0.0, HEIGHT)
    assert max(across) <= WIDTH
    dot, bar = drawn["circle"][0], drawn["rect"][1]
    assert float(dot["cy"]) == float(bar["y"]) + float(bar["height"]) / 2 == HEIGHT / 2
    ends = [float(line["x1"]) for line in drawn["line"]]
    assert (min(ends), max(ends)) == (EDGE, WIDTH - EDGE)


def test_the_shaded_side_is_the_one_asked_for():
    below = shapes(claim(bound={"at_most": 0.2}))["rect"][0]
    assert (below["x"], float(below["height"])) == ("0.0", HEIGHT)
    inside = shapes(claim(bound={"between": [0.2, 0.4]}, no_effect=None))
    low, high = (float(line["x1"]) for line in inside["line"][:2])
    assert float(inside["rect"][0]["x"]) == low
    assert float(inside["rect"][0]["width"]) == pytest.approx(high - low, abs=0.11)


def test_the_axis_of_a_ratio_is_logarithmic():
    drawn = shapes(claim(bound={"at_least": 4.0}, no_effect=1.0, log=True, measured=2.0, interval=[1.0, 4.0]))
    bar, dot = drawn["rect"][1], drawn["circle"][0]
    assert float(dot["cx"]) == pytest.approx(float(bar["x"]) + float(bar["width"]) / 2, abs=0.1)


@pytest.mark.parametrize("interval", [None, ["-inf", "inf"], [0.1, "nan"]])
def test_no_interval_no_picture(interval):
    assert forest(claim(interval=interval)) == ""


def test_a_picture_of_one_point():
    assert Page(
        forest(claim(bound={"at_least": 1.0}, no_effect=None, measured=1.0, interval=[1.0, 1.0], values=[1.0]))
    ).tags


def test_a_paper_that_was_not_run_says_how():
    assert "<code>jaxzoo run ntk</code>" in paper_html(Entry("theory", "ntk", "NTK"))
