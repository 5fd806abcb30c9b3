"""Speed of the kernels beside their baselines, one JSON row per op, shape and direction.

    python benchmarks/kernels/run.py                                      # every op on its cpu shapes
    python benchmarks/kernels/run.py linear_recurrence --shapes long --directions forward --out rows.json
    python benchmarks/kernels/run.py linear_recurrence --group GPU --dtype bfloat16
    python benchmarks/kernels/run.py --best-of rows1.json rows2.json rows3.json --out rows.json    # of three processes

An op is a file in ops/: see `Case` in measure.py for what it provides. Every row is checked before it is timed: against
the float64 reference, and for equal bits on a second run. A failed check prints the error, no speed, and exits with 1.
"""

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
# Without these, every result of a few megabytes is fresh memory of the system's, and its page faults cost more than the
# op: what is timed would be the allocator. They are read when a process starts.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}
if __name__ == "__main__" and not KEEP_MEMORY.keys() <= os.environ.keys():
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEEP_MEMORY)
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "kernels")]

import measure  # noqa: E402


def load(path: Path):
    """The module at `path`."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    available = sorted(path.stem for path in (HERE / "ops").glob("*.py"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ops", nargs="*", help=f"any of {', '.join(available)}; all if none is named")
    parser.add_argument("--group", default="CPU", help="which group of named shapes (CPU, GPU, TINY)")
    parser.add_argument("--shapes", nargs="*", help="names of shapes of the group; all if none is named")
    parser.add_argument("--directions", nargs="*", default=["forward", "forward+backward"])
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--implementation", default=None)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, help="also write the rows to this file, as a JSON list")
    parser.add_argument("--best-of", nargs="+", type=Path, help="measure nothing, make one file of these")
    args = parser.parse_args()
    if args.best_of:
        rows = measure.best_of([json.loads(path.read_text()) for path in args.best_of])
        for row in rows:
            print(json.dumps(row))
        return _written(rows, args.out)
    if unknown := set(args.ops) - set(available):
        parser.error(f"no such op: {', '.join(sorted(unknown))}; expected some of {', '.join(available)}")

    roof = measure.roof()
    rows = []
    for name in args.ops or available:
        for case in load(HERE / "ops" / f"{name}.py").cases(args.group, args.shapes, args.dtype, args.implementation):
            for direction in args.directions[:1] if case.narrow else args.directions:
                row = measure.row(case, direction, args.repeats, roof)
                rows.append(row)
                print(json.dumps(row), flush=True)
                print(measure.line(row), file=sys.stderr, flush=True)
    return _written(rows, args.out)


def _written(rows, out) -> int:
    if out:
        out.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any("failed" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
