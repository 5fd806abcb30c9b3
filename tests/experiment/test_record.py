"""The record: what it holds, that it is strict, and what is said of a bad one."""

import copy
import json
import math
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.experiment import environment, record
from jaxzoo.experiment.claims import OracleChecked, judge_all
from jaxzoo.experiment.declare import Claim, Paper
from jaxzoo.experiment.files import StorageError

CLAIMS = (
    Claim(
        id="C1",
        says="full beats none",
        source="Table 4",
        paper_value="14.8 against 23.2",
        measure=lambda r: r["full"] - r["none"],
        at_least=0.1,
        no_effect=0.0,
        control=lambda r: r["none"] - r["none"],
    ),
    Claim(id="C2", says="big", source="Table 5", paper_value="28.4", full_scale_only="340M parameters"),
)
RESULTS = {
    "full": np.array([0.9, 0.91, 0.92], np.float32),
    "none": jnp.array([0.5, 0.52, 0.51], jnp.bfloat16),
    "curve": np.arange(3 * 256).reshape(3, 16, 16),
    "weights": np.ones((3, 257), np.float32) * np.array([[1.0], [2.0], [math.nan]], np.float32),
    "done": np.array([True, False, True]),
}
STAGE = {"name": "recall/full", "kind": "train", "total": 100, "compile_seconds": 1.5, "run_seconds": 8.0}


def made(**changes):
    results = changes.pop("results", RESULTS)
    about = {
        "slug": "gla",
        "field": "attention",
        "paper": Paper(title="GLA", authors="Yang et al.", year=2023, arxiv="2312.06635"),
        "preset": "default",
        "config": {"seeds": 3, "widths": (32, 64)},
        "key": 7,
        "code": {"hash": "ab", "files": {"jaxzoo/ops/__init__.py": {"sha256": "0", "code": "1", "names": ["norm"]}}},
        "environment": environment.environment(__file__),
        "results": results,
        "judged": judge_all(CLAIMS, results),
        "oracles": [OracleChecked(says="forms agree", holds=True)],
        "failures": [],
        "stages": [STAGE, STAGE | {"name": "recall/none", "compile_seconds": 0.5}],
        "wall_seconds": 20.5,
        "memory": environment.peak_memory(),
    }
    return record.make_record(**about | changes)


def test_what_it_says_of_the_run():
    made_record = made()
    assert made_record["schema"] == 1
    assert made_record["seeds"] == {"n": 3, "key": 7}
    assert made_record["config"] == {"seeds": 3, "widths": [32, 64]}
    assert made_record["seconds"] == {"wall": 20.5, "compile": 2.0}
    assert made_record["paper"]["arxiv"] == "2312.06635"
    assert list(made_record) == list(record.SCHEMA)


def test_what_it_says_of_a_claim():
    first, second = made()["claims"]
    assert (first["id"], first["verdict"], first["verdict_full"]) == ("C1", "reproduced", "untested")
    assert (first["paper_value"], first["bound"], first["margin"]) == ("14.8 against 23.2", {"at_least": 0.1}, 0.1)
    assert first["measured"] == pytest.approx(np.mean(first["values"]))
    assert first["interval"][0] < first["measured"] < first["interval"][1]
    assert first["control"]["verdict"] == "not reproduced"
    assert (second["verdict"], second["reason"], second["interval"]) == ("full scale only", "340M parameters", None)


def test_at_full_scale_the_verdict_is_of_full_scale():
    assert [c["verdict_full"] for c in made(full_scale=True)["claims"]] == ["reproduced", "full scale only"]


def test_every_value_is_kept_to_the_last_bit_unless_it_is_large():
    measured = made()["measured"]
    for name in ("full", "none", "curve", "done"):
        np.testing.assert_array_equal(np.array(measured[name], RESULTS[name].dtype), RESULTS[name])
    weights = measured["weights"]
    assert (weights["shape"], weights["dtype"]) == ([3, 257], "float32")
    assert (weights["mean"], weights["sd"]) == ([1.0, 2.0, "nan"], [0.0, 0.0, "nan"])
    assert len(weights["sha256"]) == 64


def test_the_hash_of_a_large_result_tells_it_apart():
    def digest(array):
        return made(results=RESULTS | {"weights": array})["measured"]["weights"]["sha256"]

    a = np.arange(3 * 300, dtype=np.float32).reshape(3, 300)
    b = a.copy()
    b[2, 299] = np.nextafter(b[2, 299], 0)
    assert digest(a) == digest(np.asfortranarray(a)) != digest(b)


def test_one_seed_is_a_record_too():
    made_record = made(results={name: np.asarray(value)[:1] for name, value in RESULTS.items()})
    assert made_record["seeds"]["n"] == len(made_record["measured"]["full"]) == 1
    assert made_record["claims"][0]["verdict"] == "inconclusive"


@pytest.mark.parametrize("bad", [np.array([1j, 2j, 3j]), np.array(["a", "b", "c"]), np.array([None, 1, 2])])
def test_results_that_are_no_numbers_are_refused(bad):
    with pytest.raises(TypeError, match=r"results\['x'\]: expected real numbers or booleans"):
        record._measured("x", bad)


def test_it_is_strict_json_and_the_same_when_read_back(tmp_path):
    results = RESULTS | {"full": np.array([0.9, math.inf, 0.9], np.float32)}
    written = made(results=results, failures=[{"stage": "recall/full", "seed": 1, "step": 3, "scalar": "loss"}])
    record.write(tmp_path / "record.json", written)
    strict = json.loads((tmp_path / "record.json").read_text(), parse_constant=pytest.fail)
    assert record.read(tmp_path / "record.json") == strict == written
    assert written["measured"]["full"][1] == "inf"
    assert written["claims"][0]["values"][1] == "inf"
    assert written["claims"][0]["verdict"] == "void"


def at(path, value):
    """A change of one place in a record: "claims.0.verdict" to a value, or away where the value is `KeyError`."""

    def change(r):
        *folders, last = [int(p) if p.isdigit() else p for p in path.split(".")]
        for folder in folders:
            r = r[folder]
        if value is KeyError:
            del r[last]
        else:
            r[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (at("schema", 2), "schema: expected 1, got 2; another version of jaxzoo made it"),
        (at("slug", KeyError), "^missing slug$"),
        (at("extra", 1), "^unknown 'extra'$"),
        (at("seeds", [3]), r"seeds: expected a dict of n, key, got \[3\]"),
        (at("seeds.n", "3"), "seeds.n: expected int, got '3'"),
        (at("seeds.n", True), "seeds.n: expected int, got True"),
        (at("git", {"commit": "a"}), "git: missing dirty"),
        (at("seconds.wall", "long"), "seconds.wall: expected float or int or one of '-inf', 'inf', 'nan', got 'long'"),
        (at("claims", {}), "claims: expected a list of a dict of id, says"),
        (at("claims.0.verdict", "fine"), r"claims\[0\].verdict: expected one of 'contradicted', .*, got 'fine'"),
        (at("claims.0.verdict_full", None), r"claims\[0\].verdict_full: expected one of .*'untested'.*, got None"),
        (at("claims.1.p", "x"), r"claims\[1\].p: expected float or int or .* or null, got 'x'"),
        (at("claims.0.interval", [0, None]), r"claims\[0\].interval\[1\]: expected float"),
        (at("claims.0.control.verdict", 1), r"claims\[0\].control.verdict: expected one of"),
        (at("claims.1.id", "C1"), "claims: expected each id once, got C1, C1"),
        (at("stages.1.kind", None), r"stages\[1\].kind: expected str, got None"),
        (at("measured.full", [1.0]), r"measured.full: expected values of 3 seeds, got \[1\]"),
        (at("measured.full", 1.0), "measured.full: expected list, got 1.0"),
        (at("measured.weights.mean", [1.0]), r"measured.weights: expected values of 3 seeds, got \[1, 3\]"),
        (at("measured.weights.sd", KeyError), "measured.weights: missing sd"),
        (at("code.files", {"a.py": {"sha256": "0"}}), "code.files.a.py: missing code"),
    ],
)
def test_a_bad_record_is_refused_with_the_place(tmp_path, change, message):
    bad = copy.deepcopy(made())
    change(bad)
    with pytest.raises(ValueError, match=message):
        record.write(tmp_path / "record.json", bad)
    assert not (tmp_path / "record.json").exists()


@pytest.mark.parametrize(
    ("text", "message"), [("[]", "expected a dict"), ('{"schema": 1}', "missing slug"), ("{", "JSON")]
)
def test_a_file_that_is_no_record(tmp_path, text, message):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(StorageError, match=f"could not read .*record.json: .*{message}"):
        record.read(tmp_path / "record.json")


def test_environment():
    env = environment.environment(__file__)
    assert env["versions"]["jax"] == jax.__version__
    assert env["versions"]["numpy"] == np.__version__
    assert env["prng"] == {"impl": "threefry2x32", "threefry_partitionable": True}
    assert env["device"]["count"] == 4
    assert environment.peak_memory()["host_peak_bytes"] > 50e6


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["/opt/bin/jaxzoo", "run", "gla", "--out", "my runs"], "jaxzoo run gla --out 'my runs'"),
        (["/opt/lib/jaxzoo/__main__.py", "run", "gla"], "python -m jaxzoo run gla"),
    ],
)
def test_command(monkeypatch, argv, text):
    monkeypatch.setattr("sys.argv", argv)
    assert environment.command() == text


def test_git_state(tmp_path):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", tmp_path, *who, *words], check=True, capture_output=True)

    file = tmp_path / "ntk.py"
    file.write_text("x = 1\n")
    assert environment.git_state(file) is None
    git("init")
    assert environment.git_state(file) is None  # no commit yet
    git("add", ".")
    git("commit", "-m", "a")
    clean = environment.git_state(file)
    assert (len(clean["commit"]), clean["dirty"]) == (40, False)
    file.write_text("x = 2\n")
    assert environment.git_state(file) == clean | {"dirty": True}
    (tmp_path / ".gitignore").write_text("env/\n")
    (tmp_path / "env").mkdir()
    assert environment.git_state(tmp_path / "env/ntk.py") is None
