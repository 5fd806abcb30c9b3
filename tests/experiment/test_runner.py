"""The runner: keys, stages, chunks, resume, and seeds that leave the finite numbers."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.experiment.progress import Silent
from jaxzoo.experiment.runner import Runner
from jaxzoo.experiment.seeds import WAYS
from jaxzoo.train import Task, fit


def walk(update=None):
    """A random walk: its state shows every key of the stream."""

    def init(key, start=0.0):
        return {"x": jax.random.normal(key) + start}

    def step(state, key):
        x = state["x"] + jax.random.normal(key)
        return {"x": x}, {"x": x}

    return Task(init, update or step, lambda state: {"square": state["x"] ** 2})


def runner(folder=None, seeds=3, **options):
    return Runner(seeds, jax.random.key(0), folder=folder, **options)


def test_each_seed_is_fit_with_its_own_key():
    trained = runner().train("walk", walk(), 9, evaluate_every=4)
    keys = runner()._keys("walk")
    for s in range(3):
        alone = fit(walk(), keys[s], 9, evaluate_every=4)
        np.testing.assert_array_equal(trained.history["x"][s], alone.history["x"])
        np.testing.assert_array_equal(trained.evaluations["square"][s], alone.evaluations["square"])
    np.testing.assert_array_equal(trained.evaluations["step"], [4, 8, 9])


def test_arms_of_a_group_share_their_key_and_groups_do_not():
    r = runner()
    draw = partial(jax.random.normal, shape=(2,))
    a, b, c = (r.map(name, draw) for name in ("group/a", "group/b", "other/a"))
    np.testing.assert_array_equal(a, b)
    assert not np.isin(a, c).any()
    assert len(np.unique(a)) == 6


def test_a_seed_does_not_depend_on_how_many_there_are():
    few, many = runner(seeds=2).train("walk", walk(), 5), runner(seeds=4).train("walk", walk(), 5)
    np.testing.assert_array_equal(few.history["x"], many.history["x"][:2])


@pytest.mark.parametrize("way", WAYS)
def test_a_task_that_evaluates_nothing_trains_by_every_way(way):
    trained = runner(way=way).train("walk", Task(walk().init, walk().update), 3)
    assert trained.evaluations.keys() == {"step"}
    np.testing.assert_allclose(trained.history["x"], runner().train("walk", walk(), 3).history["x"], rtol=1e-6)


def test_inputs_reach_their_seed():
    start = jnp.array([0.0, 10.0, 20.0])
    trained = runner().train("walk", walk(), 2, start)
    moved = trained.history["x"] - runner().train("walk", walk(), 2).history["x"]
    np.testing.assert_allclose(moved, np.broadcast_to(start[:, None], (3, 2)), atol=1e-5)


def test_map_and_each_agree():
    def measure(key, x):
        return {"y": jnp.sin(x).sum() + jax.random.normal(key)}

    x = jnp.arange(6.0).reshape(3, 2)
    mapped, each = runner().map("m", measure, x), runner().each("m", measure, x)
    np.testing.assert_allclose(mapped["y"], each["y"], rtol=1e-6)
    assert mapped["y"].shape == (3,)


class Stop(Exception):
    pass


class StopAt(Silent):
    """A progress that breaks the run off when a stage has come to a step."""

    def __init__(self, stage, step):
        super().__init__()
        self.at = stage, step

    def stage(self, name, total=None, **options):
        handle = super().stage(name, total, **options)
        running = handle.running

        def broken(step, scalars=None):
            running(step, scalars)
            if self.at[0] == name and step >= self.at[1]:
                raise Stop

        handle.running = broken
        return handle


def three_stages(r):
    trained = r.train("walk", walk(), 60, evaluate_every=7)
    mapped = r.map("map", lambda key, state: state["x"] * 2 + jax.random.normal(key), trained.state)
    each = r.each("each", lambda key, x: {"y": np.asarray(x) + np.asarray(jax.random.normal(key))}, mapped)
    return {"history": trained.history["x"], "square": trained.evaluations["square"], "map": mapped, "each": each["y"]}


@pytest.mark.parametrize("at", [("walk", 1), ("walk", 40), ("walk", 60), ("map", 0), ("each", 0), ("each", 2)])
def test_a_run_that_was_broken_off_and_resumed_equals_one_that_was_not(tmp_path, at):
    whole = three_stages(runner(tmp_path / "whole", save_seconds=0.0))
    with pytest.raises(Stop):
        three_stages(runner(tmp_path / "cut", save_seconds=0.0, progress=StopAt(*at)))
    resumed = three_stages(runner(tmp_path / "cut", save_seconds=0.0))
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
    metrics = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert metrics[0] == metrics[1]


def test_a_finished_stage_is_not_computed_again(tmp_path):
    calls = []

    def measure(key):
        calls.append(1)
        return {"y": 1.0}

    first = runner(tmp_path)
    first.each("each", measure)
    first.train("walk", walk(), 5)
    again = runner(tmp_path)
    again.each("each", measure)
    again.train("walk", walk(), 5)
    assert len(calls) == 3
    assert [s.run_seconds for s in again.stages] == [s.run_seconds for s in first.stages]


def test_a_requested_stop_stores_the_training(tmp_path):
    asked = iter([False, True])
    with pytest.raises(KeyboardInterrupt):
        runner(tmp_path, stop_requested=lambda: next(asked, True)).train("walk", walk(), 500)
    stored = [int(p.name) for p in (tmp_path / "checkpoints" / "walk").iterdir() if p.name.isdigit()]
    assert len(stored) == 1
    assert 0 < stored[0] < 500
    np.testing.assert_array_equal(
        runner(tmp_path).train("walk", walk(), 500).history["x"], runner().train("walk", walk(), 500).history["x"]
    )


def breaks(bad):
    """A walk whose scalar becomes NaN in update `bad` of the seed whose input is 1."""

    def init(key, marked):
        return {"x": jax.random.normal(key), "marked": marked, "n": 0}

    def update(state, key):
        value = jnp.where((state["marked"] > 0) & (state["n"] + 1 == bad), jnp.nan, jax.random.normal(key))
        return state | {"x": state["x"] + value, "n": state["n"] + 1}, {"loss": value}

    return Task(init, update, lambda state: {"loss": state["x"]})


def test_a_non_finite_loss_is_reported_and_never_averaged(tmp_path):
    marked = jnp.array([0.0, 1.0, 0.0])
    r = runner(tmp_path)
    trained = r.train("walk", breaks(13), 40, marked, evaluate_every=10)
    assert r.stages[0].failures == [{"stage": "walk", "seed": 1, "step": 13, "scalar": "loss"}]
    finite = np.isfinite(trained.history["loss"])
    assert finite[[0, 2]].all()
    np.testing.assert_array_equal(finite[1], np.arange(1, 41) < 13)
    np.testing.assert_array_equal(np.isfinite(trained.evaluations["loss"]), [[1] * 4, [1, 0, 0, 0], [1] * 4])
    np.testing.assert_array_equal(np.isfinite(trained.state["x"]), [True, False, True])
    others = runner().train("walk", breaks(13), 40, jnp.zeros(3), evaluate_every=10)
    np.testing.assert_array_equal(trained.history["loss"][[0, 2]], others.history["loss"][[0, 2]])
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {(line["seed"], line["step"] >= 13) for line in lines if "nan" in line.values()} == {(1, True)}


def test_a_stage_whose_seeds_all_failed_stops_and_says_so(tmp_path):
    r = runner(tmp_path)
    trained = r.train("walk", breaks(3), 1_000_000, jnp.ones(3))
    assert [f["step"] for f in r.stages[0].failures] == [3, 3, 3]
    assert np.isnan(trained.history["loss"][:, 2:]).all()
    assert r.stages[0].run_seconds < 10
    resumed = runner(tmp_path)
    assert np.isnan(resumed.train("walk", breaks(3), 1_000_000, jnp.ones(3)).state["x"]).all()
    assert resumed.stages[0].failures == r.stages[0].failures


@pytest.mark.parametrize("name", ["", "Walk", "a/b/c", "a b", "../x", "a/"])
def test_a_stage_name_that_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match="stage name: expected"):
        runner().map(name, jax.random.normal)


def test_a_stage_name_is_used_once():
    r = runner()
    r.map("a", jax.random.normal)
    with pytest.raises(ValueError, match="'a' is used twice"):
        r.map("a", jax.random.normal)


def test_inputs_with_another_number_of_seeds_are_refused():
    with pytest.raises(ValueError, match="expected inputs with a leading axis of 3 seeds, got 2"):
        runner().train("walk", walk(), 2, jnp.zeros(2))


def test_no_seeds_are_refused():
    with pytest.raises(ValueError, match="seeds: expected at least 1, got 0"):
        runner(seeds=0)
