"""The curve of a run, as JSON lines that any tool can read while it grows."""

import json
from pathlib import Path

import numpy as np

POINTS = 100
"""About how many updates of a stage are written; the stored history has them all."""


def append(path: Path, stage: str, start: int, stop: int, *curves: tuple[np.ndarray, dict]) -> None:
    """Appends what was measured after more than `start` and at most `stop` updates.

    A line is `{"stage", "seed", "step", <scalar>...}`; a non-finite number is written as a string.

    Args:
      path: the file.
      stage: its name.
      start, stop: numbers of updates.
      *curves: `(steps, scalars)`: after how many updates each column was measured [n], and name -> [s, n].
    """
    lines = {}
    for steps, scalars in curves:
        for n in np.flatnonzero((start < steps) & (steps <= stop)):
            for name, values in scalars.items():
                for seed, value in enumerate(values[:, n]):
                    lines.setdefault((int(steps[n]), seed), {})[name] = plain(value)
    with path.open("a") as file:
        for step, seed in sorted(lines):
            file.write(json.dumps({"stage": stage, "seed": seed, "step": step, **lines[step, seed]}) + "\n")


def plain(value: np.generic) -> float | int | str:
    """A number as strict JSON can hold it."""
    return value.item() if np.isfinite(value) else str(value)


def grid(steps: int) -> np.ndarray:
    """The updates of a stage that are written: about `POINTS` and the last, however the run was cut in chunks."""
    every = -(-steps // POINTS)
    return np.unique(np.append(np.arange(every, steps + 1, every), steps))
