"""The benchmarks refuse to print a speed for what is wrong, and say what they measured for what is right."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "kernels"
ROOF = {"bytes_per_s": 1e9, "operations_per_s": 1e9}


@pytest.fixture
def measure(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("measure")


def case(measure, function=lambda x, implementation: 2 * x, reference=lambda x: 2 * np.float64(x)):
    x = np.arange(6, dtype=np.float32)
    return measure.Case(
        op="double",
        shape="six",
        sizes={"n": 6},
        dtype="float32",
        arguments=(x,),
        distribution="0 .. 5",
        function=function,
        implementation=None,
        reference=reference,
        bound=1e-6,
        operations=6,
        bytes=48,
        bytes_both=96,
        baselines={"plain": measure.jax_baseline(lambda x: x + x, (x,)), "absent": lambda direction: None},
    )


@pytest.mark.parametrize("direction", ["forward", "forward+backward"])
def test_a_row_holds_the_speed_the_floor_and_the_baselines(measure, direction):
    row = measure.row(case(measure), direction, 3, ROOF)
    assert row["deterministic"]
    assert row["error_rms"] == 0
    assert row["min_s"] <= row["median_s"] <= row["p80_s"]
    assert row["min_bytes"] == (48 if direction == "forward" else 96)
    assert row["bound"] == "memory"
    assert set(row["baselines"]) == {"plain"}
    json.dumps(row)


def noisy():
    """A function that adds how often it was called."""
    calls = []

    def count(x):
        calls.append(x)
        return x + np.float32(len(calls))

    return lambda x, implementation: jax.pure_callback(count, x, x)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"function": lambda x, implementation: 2.001 * x}, "relative RMS error"),
        ({"function": lambda x, implementation: jnp.where(x > 4, jnp.inf, 2 * x), "reference": None}, "not finite"),
        ({"function": noisy(), "reference": None}, "two runs differ"),
    ],
)
def test_a_failed_check_leaves_no_speed(measure, change, reason):
    row = measure.row(case(measure, **change), "forward", 3, ROOF)
    assert reason in row["failed"]
    assert not {"median_s", "gflops", "percent_of_roof", "baselines"} & row.keys()
    assert "FAILED" in measure.line(row)


def test_the_best_of_several_processes_is_taken_for_each_side(measure):
    rows = [measure.row(case(measure), "forward", 1, ROOF) for _ in range(2)]
    rows[0] |= {"median_s": 2.0, "baselines": {"plain": {"median_s": 3.0, "ratio": 1.5}}}
    rows[1] |= {"median_s": 1.0, "baselines": {"plain": {"median_s": 6.0, "ratio": 6.0}}}
    (row,) = measure.best_of([rows[:1], rows[1:]])
    assert row["median_s"] == 1.0
    assert row["baselines"] == {"plain": {"median_s": 3.0, "ratio": 3.0}}
    assert row["processes"] == 2


@pytest.mark.parametrize(("slope", "right"), [(2.0, True), (2.1, False)])
def test_a_wrong_gradient_of_a_named_kernel_leaves_no_speed(measure, slope, right):
    def function(x, implementation):
        given = jax.custom_vjp(lambda x: 2 * x)
        given.defvjp(lambda x: (2 * x, None), lambda _, ct: ((2.0 if implementation == "xla" else slope) * ct,))
        return given(x)

    named = case(measure, function=function)._replace(implementation="pallas_tpu")
    row = measure.row(named, "forward+backward", 3, ROOF)
    assert ("failed" not in row) == ("median_s" in row) == right
    assert right or "of a gradient is above" in row["failed"]
    assert "failed" not in measure.row(named, "forward", 3, ROOF)


@pytest.mark.parametrize("path", sorted((FOLDER / "ops").glob("*.py")), ids=lambda path: path.stem)
def test_every_op_file_gives_cases_of_its_op_that_pass(measure, path):
    run = importlib.import_module("run")
    first = next(iter(run.load(path).cases("TINY", None, "float32", None)))
    assert first.op == path.stem
    assert first.sizes
    with jax.numpy_rank_promotion("allow"):  # baselines are written as anybody would
        row = measure.row(first, "forward", 1, ROOF)
    assert "failed" not in row
    assert row["error_rms"] is not None
    assert row["baselines"]


def test_the_command_line_names_an_unknown_op():
    command = [sys.executable, str(FOLDER / "run.py"), "no_such_op"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "no such op: no_such_op; expected some of" in answer.stderr
