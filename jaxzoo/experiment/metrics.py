"""The curve of a run, as JSON lines that any tool can read while it grows."""

import json
from pathlib import Path

import numpy as np

POINTS = 100
"""About how many updates of a stage are written; the stored history has them all."""


def append(path: Path, stage: str, steps: np.ndarray, scalars: dict, start: int, stop: int) -> None:
    """Appends the values that were measured after more than `start` and at most `stop` updates.

    A line is `{"stage", "seed", "step", <scalar>...}`; a non-finite number is written as a string.

    Args:
      path: the file.
      stage: its name.
      steps: [n] after how many updates each column was measured.
      scalars: name -> [s, n].
      start, stop: numbers of updates.
    """
    lines = [
        json.dumps(
            {"stage": stage, "seed": seed, "step": int(steps[n])} | {k: plain(v[seed, n]) for k, v in scalars.items()}
        )
        for n in np.flatnonzero((start < steps) & (steps <= stop))
        for seed in range(len(next(iter(scalars.values()), ())))
    ]
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def plain(value: np.generic) -> float | int | str:
    """A number as strict JSON can hold it."""
    return value.item() if np.isfinite(value) else str(value)


def grid(steps: int) -> np.ndarray:
    """The updates of a stage that are written: about `POINTS` and the last, however the run was cut in chunks."""
    every = -(-steps // POINTS)
    return np.unique(np.append(np.arange(every, steps + 1, every), steps))
