"""A whole run: its folder, its record, going on with it, publishing it."""

import json
import signal

import numpy as np
import pytest

from jaxzoo.experiment import discover, record
from jaxzoo.experiment.declare import ContractError
from jaxzoo.experiment.interrupt import stop_on_signal
from jaxzoo.experiment.progress import Silent
from jaxzoo.experiment.run import Interrupted, as_results, publish, read_plan, run_experiment

SOURCE = '''
"""Noise (2020): adds noise. Claimed: its mean is 1. Simplified: all of it."""

import dataclasses

import jax

from jaxzoo.experiment import Claim, Oracle, Paper, setting
from jaxzoo.train import Task

PAPER = Paper(title="Noise", authors="Nobody", year=2020)
SCALE = 1.0


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = setting(4, "walks", low=1)
    steps: int = setting(40, "updates", low=1)


PRESETS = {"smoke": Config(2, 5), "default": Config(), "paper": Config(steps=400)}


def run(config, runner):
    def update(x, key):
        x = x + SCALE * jax.random.normal(key)
        return x, {"x": x}

    trained = runner.train("walk", Task(jax.random.normal, update), config.steps)
    return {"x": trained.history["x"], "mean": runner.map("mean", lambda key, x: x.mean(), trained.history["x"])}


CLAIMS = (
    Claim(id="C1", says="It stays.", source="Sec. 1", paper_value="0", measure=lambda r: r["mean"], at_least=-100.0),
    Claim(id="C2", says="It scales.", source="Sec. 2", paper_value="1", full_scale_only="too small here"),
)
ORACLES = (Oracle(says="finite", holds=lambda r: abs(r["x"]) < 1e6),)


def plot(results, figure):
    figure.subplots().plot(results["x"].T)
'''


@pytest.fixture
def experiment(tmp_path):
    """Writes the experiment, with one text replaced by another, and reads its head."""

    def write(old="", new=""):
        assert old in SOURCE
        path = tmp_path / "experiments" / "tests" / "noise.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SOURCE.strip().replace(old, new, 1) if old else SOURCE.strip())
        return discover.find("noise", path.parents[1])

    return write


def default(head, out, **options):
    return run_experiment(head, head.presets["default"], out=out, **options)


class StopAfter(Silent):
    """A progress that asks for a stop by a signal when the training has begun."""

    def __init__(self):
        self.notes = []

    def stage(self, name, total=None, **options):
        handle = super().stage(name, total, **options)
        running = handle.running

        def signalled(step, scalars=None):
            running(step, scalars)
            if name == "walk" and step < total:
                signal.raise_signal(signal.SIGTERM)

        handle.running = signalled
        return handle

    def note(self, text):
        self.notes.append(text)


def test_a_run_leaves_record_metrics_figure_and_plan(experiment, tmp_path):
    head = experiment()
    finished = default(head, tmp_path / "runs", key=7)
    made = record.read(finished.folder / "record.json")
    assert made == finished.record
    assert finished.folder.parent == tmp_path / "runs" / "noise"
    assert made["config"] == {"seeds": 4, "steps": 40}
    assert made["seeds"] == {"n": 4, "key": 7}
    assert [claim["verdict"] for claim in made["claims"]] == ["reproduced", "full scale only"]
    assert [stage["name"] for stage in made["stages"]] == ["walk", "mean"]
    assert np.asarray(made["measured"]["x"]).shape == (4, 40)
    assert read_plan(finished.folder)["key"] == 7
    assert (finished.folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    lines = [json.loads(line) for line in (finished.folder / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 4 * 40
    assert lines[-1]["x"] == made["measured"]["x"][3][39]


def test_a_stopped_run_goes_on_to_the_same_results(experiment, tmp_path):
    head, stop = experiment(), StopAfter()
    with pytest.raises(Interrupted) as interrupted:
        default(head, tmp_path / "runs", progress=stop)
    assert stop.notes == ["stopping at the end of this chunk; once more to stop at once"]
    folder = interrupted.value.folder
    assert not (folder / "record.json").exists()
    resumed = default(head, tmp_path / "runs", resume=folder)
    whole = default(head, tmp_path / "whole")
    assert resumed.folder == folder
    assert resumed.record["measured"] == whole.record["measured"]
    assert resumed.record["claims"] == whole.record["claims"]
    assert (folder / "metrics.jsonl").read_text() == (whole.folder / "metrics.jsonl").read_text()


def test_signals_are_handled_as_before_after_a_run(experiment, tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    default(experiment(), tmp_path)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_the_first_signal_asks_and_the_second_stops_at_once():
    notes = []
    with stop_on_signal(notes.append) as stop_requested:
        assert not stop_requested()
        signal.raise_signal(signal.SIGINT)
        assert stop_requested()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [({"key": 1}, "was begun with key 0, this run has 1"), ({"preset": "paper"}, "was begun with preset default")],
)
def test_a_run_is_only_resumed_with_what_it_was_begun_with(experiment, tmp_path, options, says):
    head = experiment()
    folder = default(head, tmp_path).folder
    with pytest.raises(ContractError, match=says):
        default(head, tmp_path, resume=folder, **options)


def test_a_run_is_not_resumed_with_other_code_but_with_other_comments(experiment, tmp_path):
    first = default(experiment(), tmp_path / "runs")
    again = default(experiment("SCALE = 1.0", "# a comment\nSCALE = 1.0"), tmp_path / "runs", resume=first.folder)
    assert again.record["measured"] == first.record["measured"]
    with pytest.raises(ContractError, match=r"noise.py changed since .* was begun; run afresh"):
        default(experiment("SCALE = 1.0", "SCALE = 2.0"), tmp_path / "runs", resume=first.folder)


def test_a_folder_that_is_no_run_is_refused(experiment, tmp_path):
    with pytest.raises(ContractError, match="expected the folder of a run"):
        default(experiment(), tmp_path, resume=tmp_path)


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ([1, 2], "expected a dict of arrays"),
        ({}, "expected a dict of arrays"),
        ({"x": np.zeros(3)}, r"x: expected numbers with a leading axis of 2 seeds, got float64 \(3,\)"),
        ({"x": [None, 1]}, "x: expected numbers .* got object"),
    ],
)
def test_results_that_break_the_contract_are_refused(returned, says):
    with pytest.raises(ContractError, match=says):
        as_results(returned, 2)


def test_a_failed_oracle_voids_every_claim(experiment, tmp_path):
    finished = default(experiment("< 1e6", "< 0"), tmp_path)
    assert finished.record["claims"][0]["verdict"] == "void"


def test_the_record_is_kept_when_the_plot_fails(experiment, tmp_path):
    with pytest.raises(ZeroDivisionError):
        default(experiment("    figure.subplots()", "    1 / 0\n    figure.subplots()"), tmp_path)
    (folder,) = (tmp_path / "noise").iterdir()
    assert record.read(folder / "record.json")["claims"][0]["verdict"] == "reproduced"


def test_only_a_default_run_is_published(experiment, tmp_path):
    head = experiment()
    finished = default(head, tmp_path / "runs")
    path = publish(finished, head, tmp_path / "results")
    assert path == tmp_path / "results" / "tests" / "noise.json"
    command = f"jaxzoo run {head.slug} --publish"  # and not with folders of this machine
    assert record.read(path) == finished.record | {"command": command}
    assert path.with_suffix(".png").exists()
    other = default(head, tmp_path / "runs", key=1)
    with pytest.raises(ContractError, match="publish"):
        publish(other, head, tmp_path / "results")
