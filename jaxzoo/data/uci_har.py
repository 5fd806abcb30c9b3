"""UCI HAR, human activity recognition with a phone: the raw signals, as text."""

from pathlib import Path

import numpy as np

from jaxzoo.data.dataset import DataError, Dataset
from jaxzoo.data.folder import find_file, reading, sha256_of

ROOT = "UCI HAR Dataset"
SIGNALS = tuple(f"{kind}_{axis}" for kind in ("body_acc", "body_gyro", "total_acc") for axis in "xyz")
LENGTH = 128
ACTIVITIES = ("walking", "walking upstairs", "walking downstairs", "sitting", "standing", "laying")
BINARY = np.array([0, 1, 0, 1, 0, 1], np.int32)
"""HAR-2: {walking upstairs, sitting, laying} against the other three."""


def uci_har(folder: Path, *, binary: bool = False) -> tuple[Dataset, Dataset]:
    """Nine signals of 2.56 s at 50 Hz, from `UCI HAR Dataset/train` and `/test` inside the data folder.

    Args:
      folder: the data folder, as from `data_folder`.
      binary: merge the six activities to two, as FastGRNN's HAR-2 does.

    Returns:
      Training and test set: x [n, 128, 9] float32 in the units of the files (g, rad/s), y [n] int32.

    Raises:
      DataError: a file is missing, or has another number of rows or columns, or something else than finite numbers.
    """
    return _part(folder, "train", binary), _part(folder, "test", binary)


def _part(folder: Path, part: str, binary: bool) -> Dataset:
    called = "from the UCI HAR Dataset (Human Activity Recognition Using Smartphones), unpacked"
    names = [f"Inertial Signals/{signal}_{part}.txt" for signal in SIGNALS]
    paths = [find_file(folder, f"{ROOT}/{part}/{name}", called=called) for name in (f"y_{part}.txt", *names)]
    labels = _numbers(paths[0], 1)[:, 0]
    if not np.isin(labels, np.arange(1, 7)).all():
        raise DataError(f"{paths[0]}: expected labels 1 to 6, got {labels[~np.isin(labels, np.arange(1, 7))][0]}")
    signals = [_numbers(path, LENGTH) for path in paths[1:]]
    for path, signal in zip(paths[1:], signals, strict=True):
        if len(signal) != len(labels):
            raise DataError(f"{path}: expected {len(labels)} rows, as many as labels, got {len(signal)}")
    y = labels.astype(np.int32) - 1
    return Dataset(
        x=np.stack(signals, -1),
        y=BINARY[y] if binary else y,
        name=f"uci_har/{part}",
        licence="CC BY 4.0",
        source="Anguita, Ghio, Oneto, Parra, Reyes-Ortiz: A Public Domain Dataset for HAR Using Smartphones (2013)",
        sha256=sha256_of(*paths),
        feature_names=SIGNALS,
        target_names=("moving or standing", "upstairs, sitting or laying") if binary else ACTIVITIES,
    )


def _numbers(path: Path, columns: int) -> np.ndarray:
    """[n, columns] float32 of a text file, at least one row."""
    with reading(path):
        lines = [line.split() for line in path.read_text("ascii").splitlines() if line.strip()]
        for number, cells in enumerate(lines, start=1):
            if len(cells) != columns:
                raise DataError(f"{path}, row {number}: expected {columns} numbers, got {len(cells)}")
        table = np.array(lines, np.float64).astype(np.float32)
    if not table.size or not np.isfinite(table).all():
        raise DataError(f"{path}: expected rows of {columns} finite numbers")
    return table
