"""Every paper keeps the contract: its parts are there, and its smoke run is finite, repeatable and short.

One smoke run per paper and key, shared by the tests; the persistent compilation cache makes the repeats cheap.
"""

import math
import re
import time
from typing import Any, NamedTuple

import jax
import pytest

from jaxzoo.experiment import record, settings
from jaxzoo.experiment.discover import experiments_folder, load, read_all, results_folder
from jaxzoo.experiment.head import Head
from jaxzoo.experiment.run import Finished, run_experiment
from jaxzoo.train import needs

FOUND = read_all()
CPU_SECONDS = 45.0
"""15 s on two cores, 30 s of the processor; half as much again since on a busy machine even that time grows: by half,
where other programs share its caches."""
DOCSTRING = {
    "what is claimed": r"\bclaim(s|ed)?\b",
    "what came out": r"\bc(a|o)me(s)? out\b|\bcame of it\b|\boutcome\b",
    "time of the default run": r"\d[\d.]* ?(s|min|minutes?|seconds?|h|hours?)\b",
    "what is simplified": r"\bsimplified\b",
}


class Smoke(NamedTuple):
    """Smoke runs of one paper: of key 0, how much CPU that took, of key 0 again, and of key 1."""

    head: Head
    first: Finished
    cpu_seconds: float
    again: Finished
    other: Finished


@pytest.fixture(scope="module", params=FOUND.heads, ids=lambda head: head.slug)
def smoke(request, tmp_path_factory):
    """Runs one paper; its tests come one after the other, so that its programs can be dropped with them."""
    head = request.param

    def run(key):
        out = tmp_path_factory.mktemp("runs")
        return run_experiment(head, head.presets["smoke"], preset="smoke", key=key, out=out)

    begin = time.process_time()
    first = run(0)
    yield Smoke(head, first, time.process_time() - begin, run(0), run(1))
    jax.clear_caches()


def test_no_file_breaks_the_contract():
    assert [str(error) for error in FOUND.errors] == []


every_paper = pytest.mark.parametrize("head", FOUND.heads, ids=lambda head: head.slug)


@every_paper
def test_docstring_says_what_a_reader_needs(head):
    text = " ".join(head.docstring.split())
    wanted = {"title": head.paper.title, "year": str(head.paper.year), "arXiv": head.paper.arxiv}
    missing = [name for name, words in wanted.items() if words.lower() not in text.lower()]
    missing += [name for name, pattern in DOCSTRING.items() if not re.search(pattern, text, re.IGNORECASE)]
    assert missing == []


@every_paper
def test_paper_has_method_and_tests_at_the_same_address(head):
    root = experiments_folder().parent
    assert (root / "jaxzoo" / head.field / f"{head.slug}.py").is_file()
    assert (root / "tests" / head.field / f"test_{head.slug}.py").is_file()


@every_paper
def test_committed_record_is_of_the_default_run(head):
    committed = record.read(results_folder() / head.field / f"{head.slug}.json")
    assert committed["config"] == settings.to_json(head.presets["default"])
    assert [claim["id"] for claim in committed["claims"]] == [claim.id for claim in head.claims]


MEMORY = re.compile(r"about ([\d.]+) (KB|MB|GB|TB) of memory")
UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
BUILT = [head for head in FOUND.heads if "\ndef full_scale(config):" in head.path.read_text()]


@pytest.mark.parametrize("head", BUILT, ids=lambda head: head.slug)
def test_paper_preset_builds_and_takes_the_memory_that_the_docstring_says(head):
    works = load(head.path).full_scale(head.presets["paper"])
    peak = max(needs(work).peak for work in works.values())
    said = MEMORY.search(" ".join(head.docstring.split()))
    assert said is not None, f"the docstring does not say: takes about {peak / 1e9:.2g} GB of memory"
    assert peak == pytest.approx(float(said[1]) * UNITS[said[2]], rel=0.25)


def test_smoke_run_is_finite(smoke):
    made = smoke.first.record
    assert made["failures"] == []
    assert [name for name, value in made["measured"].items() if not finite(value)] == []


def finite(value: Any) -> bool:
    if isinstance(value, dict):
        return finite(value["mean"]) and finite(value["sd"])
    return all(map(finite, value)) if isinstance(value, list) else math.isfinite(float(value))


def test_smoke_run_judges_every_claim(smoke):
    assert [judged.id for judged in smoke.first.judged] == [claim.id for claim in smoke.head.claims]
    assert [o for o in smoke.first.record["oracles"] if not o["holds"]] == []


def test_smoke_run_draws_its_figure(smoke):
    assert (smoke.first.folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_same_key_gives_the_same_result(smoke):
    assert of_key(smoke.first) == of_key(smoke.again)


def test_other_key_gives_another_result(smoke):
    assert of_key(smoke.first) != of_key(smoke.other)


def of_key(finished: Finished) -> dict[str, Any]:
    """What the key determines: all results but times, which have "seconds" in their names."""
    return {name: value for name, value in finished.record["measured"].items() if "seconds" not in name}


def test_smoke_run_is_short(smoke):
    assert smoke.cpu_seconds < CPU_SECONDS
