"""Kills a run at random moments and resumes it until it ends: `python benchmarks/kill_resume.py --kills 100`.

Every run that got to its end is compared with one that nobody disturbed: the bytes of every stored array (parameters,
optimiser state, histories), the metrics, what was measured and the verdicts. A kill is SIGKILL, at a moment drawn
uniformly from the time that a whole run takes. The last line is JSON; the exit status is 1 if anything differs.
"""

import argparse
import collections
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

EXPERIMENT = Path(__file__).with_name("adam_against_sgd.py")


def child(out: Path) -> None:
    """Begins the run in `out`, or goes on with it; stores at every opportunity."""
    from jaxzoo.experiment.head import read_head
    from jaxzoo.experiment.run import run_experiment

    begun = [path.parent for path in out.glob("*/*/config.json")]
    head = read_head(EXPERIMENT)
    run_experiment(head, head.presets["default"], out=out, resume=begun[0] if begun else None, save_seconds=0.0)


def start(out: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, __file__, "--child", str(out)], stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    """Waits for the end of a run that is not to be killed."""
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"the run failed:\n{errors}")


def content(out: Path) -> dict[str, object]:
    """All of a finished run that must not depend on how often it was killed."""
    (folder,) = [path.parent for path in out.glob("*/*/record.json")]
    record = json.loads((folder / "record.json").read_text())
    found = {name: record[name] for name in ("measured", "claims", "oracles", "failures")}
    found["metrics"] = (folder / "metrics.jsonl").read_bytes()
    for stage in (folder / "checkpoints").iterdir():
        last = max(int(step.name) for step in stage.iterdir())
        for file in (stage / str(last) / "arrays").rglob("*"):
            if file.is_file():
                found[f"{stage.name}/{last}/{file.relative_to(stage / str(last))}"] = file.read_bytes()
    return found


def half_written(out: Path) -> set[tuple[Path, int]]:
    """The steps that a kill in the midst of a save or of a removal has left, and when."""
    return {(path, path.stat().st_ctime_ns) for path in out.glob("*/*/checkpoints/*/*.tmp")}


def place(out: Path, litter: set) -> str:
    """Where a kill hit: in the midst of a save, or else how many stages had stored something."""
    if half_written(out) - litter:
        return "in a save"
    begun = len(list(out.glob("*/*/checkpoints/*")))
    return f"between saves, {begun} stages stored"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child)
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        finish(start(whole))
        begin = time.perf_counter()
        finish(start(Path(folder, "timed")))
        seconds, expected = time.perf_counter() - begin, content(whole)
        kills, runs, different, places = 0, 0, [], collections.Counter()
        while kills < options.kills:
            out = Path(folder, str(runs))
            while True:
                litter, process = half_written(out), start(out)
                try:
                    process.wait(rng.uniform(0, seconds) if kills < options.kills else None)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    kills += 1
                    places[place(out, litter)] += 1
                else:
                    finish(process)
                    break
            found = content(out)
            different += [f"{runs}: {name}" for name in expected | found if expected.get(name) != found.get(name)]
            runs += 1
            print(f"{kills} kills, {runs} runs ended, {len(different)} differences", flush=True)
    print(*different, sep="\n")
    summary = {"kills": kills, "runs": runs, "seconds_of_a_run": round(seconds, 1), "kills_hit": places}
    print(json.dumps({**summary, "compared_in_each": len(expected), "differences": len(different)}))
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
