"""The record of a run: one JSON file with all that came out of it and all that it depended on.

`record.json` in the run's folder; `results/<field>/<slug>.json` is the committed one of the default run. Numbers that
are not finite are the strings "nan", "inf" and "-inf", which `float` reads back.
"""

import dataclasses
import datetime
import hashlib
import os
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

from jaxzoo.experiment.declare import Paper, Results
from jaxzoo.experiment.files import StorageError, plain, read_json, write_json
from jaxzoo.experiment.schema import check
from jaxzoo.experiment.verdict import Verdict

VERSION = 1
"""Of the record's form; a reader refuses any other."""
WHOLE = 256
"""The most values per seed of one result that a record holds whole."""
UNTESTED = "untested"

NUMBER = (float, int, frozenset({"nan", "inf", "-inf"}))
INTERVAL = ([NUMBER], NoneType)
FILE = {"sha256": str, "code": str}
CLAIM = {
    "id": str,
    "says": str,
    "source": str,
    "paper_value": str,
    "verdict": frozenset(Verdict),
    "verdict_full": frozenset({*Verdict, UNTESTED}),
    "reason": str,
    "bound": dict,
    "no_effect": (*NUMBER, NoneType),
    "log": bool,
    "measured": (*NUMBER, NoneType),
    "interval": INTERVAL,
    "values": [NUMBER],
    "margin": (*NUMBER, NoneType),
    "n": int,
    "p": (*NUMBER, NoneType),
    "p_holm": (*NUMBER, NoneType),
    "mde": (*NUMBER, NoneType),
    "a_a": (*NUMBER, NoneType),
    "control": (
        {"verdict": frozenset(Verdict), "measured": (*NUMBER, NoneType), "interval": INTERVAL},
        NoneType,
    ),
}
SCHEMA = {
    "schema": frozenset({VERSION}),
    "slug": str,
    "field": str,
    "paper": {"title": str, "authors": str, "year": int, "arxiv": str, "code": str},
    "preset": str,
    "full_scale": bool,
    "config": dict,
    "seeds": {"n": int, "key": int},
    "prng": {"impl": str, "threefry_partitionable": bool},
    "versions": dict,
    "git": ({"commit": str, "dirty": bool}, NoneType),
    "code": {"hash": str, "files": dict},
    "device": {"platform": str, "kind": str, "count": int, "cpu_cores": int},
    "seconds": {"wall": NUMBER, "compile": NUMBER},
    "memory": {"host_peak_bytes": (int, NoneType), "device_peak_bytes": (int, NoneType)},
    "stages": [{"name": str, "kind": str, "total": int, "compile_seconds": NUMBER, "run_seconds": NUMBER}],
    "command": str,
    "finished": str,
    "measured": dict,
    "claims": [CLAIM],
    "oracles": [{"says": str, "holds": bool, "seeds": [int]}],
    "failures": [{"stage": str, "seed": int, "step": int, "scalar": str}],
}
SUMMARY = {"shape": [int], "dtype": str, "sha256": str, "mean": [NUMBER], "sd": [NUMBER]}


def make_record(
    *,
    slug: str,
    field: str,
    paper: Paper,
    preset: str,
    config: Mapping[str, Any],
    key: int,
    code: Mapping[str, Any],
    environment: Mapping[str, Any],
    results: Results,
    judged: Sequence[Any],
    oracles: Sequence[Any],
    failures: Sequence[Mapping[str, Any]],
    stages: Sequence[Mapping[str, Any]],
    wall_seconds: float,
    memory: Mapping[str, int | None],
    full_scale: bool = False,
) -> dict[str, Any]:
    """Puts a record together and checks it.

    Args:
      slug, field, paper, preset: of the experiment.
      config: every setting, as JSON can hold it.
      key: the integer that the run's key was made of.
      code: as `code_hash.code` returned it when the run began.
      environment: as `environment.environment` returned it when the run began.
      results: what `run` returned, name -> [s, ...].
      judged: of `claims.judge_all`.
      oracles: of `claims.check_oracles`.
      failures: {"stage", "seed", "step", "scalar"} of each arm that left the finite numbers.
      stages: {"name", "kind", "total", "compile_seconds", "run_seconds"} of each.
      wall_seconds: of the whole run, earlier parts of a resumed run counted in.
      memory: of `environment.peak_memory`.
      full_scale: the run is of the paper's own size: its verdicts are `verdict_full` too, which else is "untested".

    Returns:
      The record, of JSON's own types only.
    """
    measured = {name: _measured(name, value) for name, value in results.items()}
    record = {
        "schema": VERSION,
        "slug": slug,
        "field": field,
        "paper": dataclasses.asdict(paper),
        "preset": preset,
        "full_scale": full_scale,
        "config": config,
        "seeds": {"n": len(next(iter(results.values()))), "key": key},
        **environment,
        "code": code,
        "seconds": {"wall": wall_seconds, "compile": sum(stage["compile_seconds"] for stage in stages)},
        "memory": memory,
        "stages": stages,
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "measured": measured,
        "claims": [_claim(j, full_scale) for j in judged],
        "oracles": [dataclasses.asdict(oracle) for oracle in oracles],
        "failures": failures,
    }
    record = plain({name: record[name] for name in SCHEMA})
    validate(record)
    return record


def _claim(judged: Any, full_scale: bool) -> dict[str, Any]:
    entry = dataclasses.asdict(judged) | {"verdict_full": judged.verdict if full_scale else UNTESTED}
    return {name: entry[name] for name in CLAIM}


def _measured(name: str, value: Any) -> Any:
    """A result [s, ...] as the record holds it: nested lists, or a summary where a seed has more than `WHOLE`."""
    import numpy as np  # not at the top: listing records needs no arrays

    array = np.asarray(value)
    if array.dtype.kind in "OcSUmM":
        raise TypeError(f"results[{name!r}]: expected real numbers or booleans, got {array.dtype}")
    if array[0].size <= WHOLE:
        return array.tolist()
    flat = array.reshape(len(array), -1).astype(np.float64)
    with np.errstate(all="ignore"):
        mean, sd = flat.mean(1), flat.std(1)
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"shape": array.shape, "dtype": str(array.dtype), "sha256": digest, "mean": mean, "sd": sd}


def write(path: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Writes a record, atomically.

    Raises:
      ValueError: it is not a record; says which field is wrong.
      StorageError: the disk is full, the folder read-only, and so on.
    """
    validate(record)
    write_json(path, record)


def read(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a record and checks it.

    Raises:
      StorageError: there is no such file, or it is not a record; says which field is wrong.
    """
    record = read_json(path)
    try:
        validate(record)
    except ValueError as error:
        raise StorageError(f"could not read {path}: it is not a record: {error}") from None
    return record


def validate(record: Any) -> None:
    """Checks that a record has every field, of the right type, and that its parts agree.

    Raises:
      ValueError: "claims[0].verdict: expected one of ..., got 'fine'", for the first field that is wrong.
    """
    if isinstance(record, dict) and record.get("schema") != VERSION:
        raise ValueError(f"schema: expected {VERSION}, got {record.get('schema')!r}; another version of jaxzoo made it")
    check(record, SCHEMA, "")
    for name, file in record["code"]["files"].items():
        names = {"names": [str]} if "names" in file else {}
        check(file, FILE | names, f"code.files.{name}")
    n = record["seeds"]["n"]
    for name, value in record["measured"].items():
        at = f"measured.{name}"
        if isinstance(value, dict):
            check(value, SUMMARY, at)
            lengths = {value["shape"][0] if value["shape"] else 0, len(value["mean"]), len(value["sd"])}
        else:
            check(value, list, at)
            lengths = {len(value)}
        if lengths != {n}:
            raise ValueError(f"{at}: expected values of {n} seeds, got {sorted(lengths)}")
    ids = [claim["id"] for claim in record["claims"]]
    if len(set(ids)) != len(ids):
        raise ValueError(f"claims: expected each id once, got {', '.join(ids)}")
