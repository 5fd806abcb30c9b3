"""The command line, on a small experiment: what it prints, what it refuses, and that it is quick about it."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jaxzoo.cli import main

ROOT = Path(__file__).parents[1]
TINY = '''"""Uniform means (2020): the mean of uniform numbers is a half. It is."""

import dataclasses
import time

import jax

from jaxzoo import extras
from jaxzoo.data.dataset import DataError
from jaxzoo.experiment import Claim, Paper, setting

PAPER = Paper(title="Uniform means", authors="Doe et al.", year=2020, arxiv="2001.00001")


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = setting(4, "number of seeds", low=2)
    numbers: int = setting(1000, "numbers in a mean (Sec. 2)", low=1, high=10_000)
    scale: float = setting(1.0, "largest number", low=0.0)
    kind: str = setting("mean", "what to compute", choices=("mean", "slow", "extra", "data"))

    def drawn(self, key):
        return self.scale * jax.random.uniform(key, (self.numbers,))

    def __post_init__(self):
        if self.kind == "slow" and self.numbers > 5000:
            raise ValueError("kind=slow is for at most 5000 numbers")


PRESETS = {"smoke": Config(numbers=100), "default": Config(), "paper": Config(numbers=10_000)}


def mean(key, config):
    return config.drawn(key).mean()


def run(config, runner):
    if config.kind == "extra":
        extras.require("no_such_module", "data")
    if config.kind == "data":
        raise DataError("train.idx: file not found; put it in the data folder")
    results = {"mean": runner.map("mean", lambda key: mean(key, config))}
    if config.kind == "slow":
        def slow(key):
            time.sleep(0.3)
            return {"slow": mean(key, config)}

        results |= runner.each("slow", slow)
    return results


CLAIMS = (
    Claim(id="C1", says="above 0.4", source="Table 1", paper_value="0.5", measure=lambda r: r["mean"], at_least=0.4),
    Claim(id="C2", says="above 0.9", source="Fig. 2", paper_value="1", measure=lambda r: r["mean"], at_least=0.9),
    Claim(id="C3", says="for all", source="Sec. 9", paper_value="all", full_scale_only="needs all numbers"),
)


def plot(results, figure):
    figure.subplots().plot(results["mean"])
'''
PROBE = "import sys\nfrom jaxzoo.cli import main\ncode = main()\nprint('jax' in sys.modules)\nsys.exit(code)"


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "experiments" / "theory"
    folder.mkdir(parents=True)
    (folder / "uniform_means.py").write_text(TINY)
    return folder.parent


@pytest.fixture(scope="module")
def runs(experiments, tmp_path_factory):
    """A folder of two runs of the smoke preset, and what the second printed."""
    out = tmp_path_factory.mktemp("runs")
    words = ["run", "uniform_means", "--preset", "smoke", "--experiments", str(experiments), "--out", str(out)]
    for _ in range(2):
        printed = call(*words)
        assert printed.returncode == 0, printed.stderr
    return out, printed


def start(*words, cwd=None, code=("-m", "jaxzoo")):
    """Starts the command line in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *code, *words], cwd=cwd, env=environment, **pipes)


def call(*words, cwd=None, probe=False):
    """Runs the command line in a process of its own."""
    with start(*words, cwd=cwd, code=("-c", PROBE) if probe else ("-m", "jaxzoo")) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(words, process.returncode, out, err)


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("list",),
        ("list", "--help"),
        ("show", "uniform_means"),
        ("run", "--help"),
        ("run", "uniform_means", "--help"),
        ("compare", "--help"),
        ("report", "--help"),
        ("doctor", "--help"),
    ],
    ids=" ".join,
)
def test_answers_without_jax_in_half_a_second_of_cpu(experiments, words):
    own = ("--experiments", str(experiments)) if {"list", "show", "uniform_means"} & set(words) else ()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = call(*words, *own, probe=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("False\n")
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 0.5


REFUSED = {
    "verb": (["rnu"], "no verb 'rnu'; did you mean run?"),
    "no paper": (["run"], "which paper?"),
    "paper": (["run", "uniform_maens"], "no paper named 'uniform_maens'; did you mean uniform_means?"),
    "show": (["show", "uniform_maens"], "did you mean uniform_means?"),
    "field": (["run", "uniform_means", "--config.numbres", "3"], "--config.numbers INT"),
    "type": (["run", "uniform_means", "--config.numbers", "x"], "expected an integer from 1 to 10000, got 'x'"),
    "range": (["run", "uniform_means", "--config.numbers=0"], "expected an integer from 1 to 10000, got 0"),
    "choice": (["run", "uniform_means", "--config.kind", "meen"], "got 'meen'; did you mean mean?"),
    "together": (["run", "uniform_means", "--config.kind", "slow", "--config.numbers", "6000"], "at most 5000 numbers"),
    "preset": (["run", "uniform_means", "--preset", "smok"], "'smoke', 'default', 'paper'"),
    "seeds": (["run", "uniform_means", "--seeds", "1"], "config.seeds: expected an integer >= 2, got 1"),
    "seeds twice": (["run", "uniform_means", "--seeds", "3", "--config.seeds", "3"], "are the same setting"),
    "key": (["run", "uniform_means", "--key", "-1"], "--key: expected an integer from 0 to 4294967295, got -1"),
    "data": (["run", "uniform_means", "--data", "nowhere"], "--data: nowhere is not a folder"),
    "resume": (["run", "uniform_means", "--resume", "nowhere"], "--resume: expected the folder of a run"),
    "resume with": (["run", "uniform_means", "--resume", "x", "--config.numbers", "3"], "leave out --config.numbers"),
    "list field": (["list", "--field", "thoery"], "no field 'thoery'; did you mean theory?"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_wrong_input_is_refused_before_jax_without_a_traceback(experiments, tmp_path, words, message):
    own = [] if words[0] == "rnu" else ["--experiments", str(experiments)]
    done = call(*words, *own, cwd=tmp_path, probe=True)
    unboxed = re.sub(r"[│╭╮╰╯─\s]+", " ", done.stderr)
    assert message in unboxed
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert list(tmp_path.iterdir()) == []


def test_run_prints_claims_beside_what_came_out_and_the_paths(runs):
    out, printed = runs
    folder = max((out / "uniform_means").iterdir(), key=lambda path: path.stat().st_mtime)
    lines = printed.stdout.splitlines()
    c1 = next(line for line in lines if line.strip().startswith("C1"))
    assert re.search(r"above 0\.4 +0\.5 +0\.\d+ \[0\.\d+, 0\.\d+\] +✓ reproduced", c1)
    assert "Table 1" in lines[lines.index(c1) + 1]
    assert "✗ not reproduced" in next(line for line in lines if line.strip().startswith("C2"))
    assert "△ full scale only" in next(line for line in lines if line.strip().startswith("C3"))
    assert lines[-2:] == [f"record  {folder / 'record.json'}", f"figure  {folder / 'figure.png'}"]
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_run_tells_its_stages_in_plain_lines_off_a_terminal(runs):
    _, printed = runs
    lines = printed.stderr.splitlines()
    assert lines[0] == "Uniform means (2020): preset smoke, 4 seeds, key 0"
    assert lines[1] == "mean: compiling"
    assert lines[-1].startswith("mean: done in ")


def test_run_takes_settings_and_key_from_the_command_line(experiments, tmp_path, monkeypatch, capsys):
    own_environment(monkeypatch)
    words = ["--preset", "smoke", "--seeds", "3", "--key", "7", "--config.scale", "2", "--out", str(tmp_path)]
    assert main(["run", *words, "uniform_means", "--experiments", str(experiments)]) == 0
    record = json.loads(next(tmp_path.glob("uniform_means/*/record.json")).read_text())
    assert record["config"] == {"seeds": 3, "numbers": 100, "scale": 2.0, "kind": "mean"}
    assert record["seeds"] == {"n": 3, "key": 7}
    assert "preset smoke, 3 seeds, key 7" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("extra", 'no_such_module is not installed: this needs pip install "jaxzoo[data]"'),
        ("data", "train.idx: file not found; put it in the data folder"),
    ],
)
def test_what_a_machine_lacks_is_one_line(experiments, tmp_path, monkeypatch, capsys, kind, message):
    own_environment(monkeypatch)
    words = ["run", "uniform_means", "--config.kind", kind, "--out", str(tmp_path), "--experiments", str(experiments)]
    assert main(words) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"jaxzoo run: {message}"


def own_environment(monkeypatch):
    """Keeps what `jaxzoo run` sets for jax from later tests."""
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def test_interrupted_run_says_how_to_go_on_and_loses_nothing(experiments, tmp_path):
    words = ["uniform_means", "--config.kind", "slow", "--experiments", str(experiments)]
    with start("run", *words, cwd=tmp_path) as process:
        while not process.stderr.readline().startswith("slow: 0/4"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    resume = rest.splitlines()[-1].removeprefix("stopped; to go on: jaxzoo ").split()
    assert resume[:3] == ["run", "uniform_means", "--resume"]
    resumed = call(*resume, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "mean: done before, taken from its checkpoint" in resumed.stderr
    assert "slow: 0/4" not in resumed.stderr
    record = json.loads((tmp_path / resume[3] / "record.json").read_text())
    assert len(set(record["measured"]["slow"])) == 4


def test_list_filters_by_word_field_and_verdict(experiments, runs, capsys):
    own = ["--experiments", str(experiments), "--runs", str(runs[0])]

    def listed(*words):
        assert main(["list", *words, *own]) == 0
        return capsys.readouterr().out

    assert listed().splitlines()[1].split() == [
        "uniform_means",
        "theory",
        "✓1",
        "✗1",
        "△1",
        "Uniform",
        "means",
        "(2020)",
    ]
    for words in (["UNIFORM", "half"], ["--field", "theory"], ["--verdict", "not-reproduced"]):
        assert "uniform_means" in listed(*words)
    for words in (["vision"], ["--verdict", "contradicted"], ["--verdict", "stale"], ["--verdict", "none"]):
        assert listed(*words) == "no paper matches\n"


def test_list_marks_a_record_whose_code_has_changed(experiments, runs, tmp_path, capsys):
    changed = tmp_path / "experiments" / "theory" / "uniform_means.py"
    changed.parent.mkdir(parents=True)
    changed.write_text(TINY.replace("self.scale * jax", "self.scale + jax"))
    assert main(["list", "--experiments", str(changed.parents[1]), "--runs", str(runs[0])]) == 0
    assert "stale" in capsys.readouterr().out


def test_list_shows_the_others_beside_a_broken_file(experiments, tmp_path, capsys):
    (tmp_path / "broken.py").write_text("PAPER = ")
    (tmp_path / "uniform_means.py").write_text(TINY)
    assert main(["list", "--experiments", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "uniform_means" in out
    assert re.fullmatch(r"jaxzoo list: .*broken\.py:1: not valid Python: .*\n", err)


def test_list_into_a_closed_pipe_is_quiet(experiments):
    with start("list", "--experiments", str(experiments)) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_show_has_paper_claims_settings_and_last_record(experiments, runs, capsys):
    assert main(["show", "uniform_means", "--experiments", str(experiments), "--runs", str(runs[0])]) == 0
    text = capsys.readouterr().out
    for part in (
        "Doe et al., 2020, https://arxiv.org/abs/2001.00001",
        "the mean of uniform numbers is a half. It is.",
        "paper: 0.5 (Table 1)",
        "check: at least 0.4",
        "found: ✓ reproduced, 0.",
        "check: none at this scale: needs all numbers",
        "preset smoke, 4 seeds, key 0",
    ):
        assert part in text
    numbers = next(line for line in text.splitlines() if line.startswith("  numbers"))
    assert re.split(r" {2,}", numbers.strip()) == [
        "numbers", "100", "1000", "10000", "numbers in a mean (Sec. 2)", "an integer from 1 to 10000",
    ]  # fmt: skip


def test_compare_says_that_two_runs_of_one_key_are_identical(runs, capsys):
    a, b = sorted((runs[0] / "uniform_means").iterdir())
    assert main(["compare", str(a), str(b / "record.json")]) == 0
    assert "bit-identical" in capsys.readouterr().out


def test_compare_refuses_what_is_no_run(tmp_path, capsys):
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 2
    assert "could not read" in capsys.readouterr().err


def test_report_is_one_page_of_all_papers(experiments, runs, tmp_path, capsys):
    page = tmp_path / "pages" / "report.html"
    own = ["--experiments", str(experiments), "--runs", str(runs[0])]
    assert main(["report", "--out", str(page), *own]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert "Uniform means" in page.read_text()


def test_doctor_names_versions_devices_and_tries_the_cache():
    done = call("doctor")
    assert "Traceback" not in done.stderr
    for part in ("jaxlib", "cpu 0", "jax_enable_x64", "JAXZOO_DATA", "free", "XLA_PYTHON_CLIENT_PREALLOCATE"):
        assert part in done.stdout
    assert re.search(r"two processes  (works: missed, then hit|does not work)", done.stdout)


def test_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"jaxzoo \d+\.\d+\.\d+\n", capsys.readouterr().out)
