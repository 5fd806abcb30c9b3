"""CIFAR-10 and CIFAR-100 in their binary version."""

from pathlib import Path

import numpy as np

from jaxzoo.data.dataset import DataError, Dataset
from jaxzoo.data.folder import find_file, reading, sha256_of

SIDE = 32
PIXELS = 3 * SIDE * SIDE


def read_batch(path: Path, label_bytes: int, classes: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """One binary batch. A row is its labels, then 1024 red, 1024 green and 1024 blue values.

    Args:
      path: the file.
      label_bytes: 1 for CIFAR-10; 2 for CIFAR-100, the coarse label and the fine one, which counts.
      classes: labels must be smaller.
      rows: how many rows the file must have.

    Returns:
      images: [rows, 32, 32, 3] uint8.
      labels: [rows] uint8.

    Raises:
      DataError: the file has another length, or a label is too large.
    """
    width = label_bytes + PIXELS
    with reading(path):
        size = path.stat().st_size
        if size != rows * width:
            raise DataError(f"{path}: expected {rows} rows of {width} bytes, {rows * width} in all, got {size}")
        table = np.fromfile(path, np.uint8).reshape(rows, width)
    labels = table[:, label_bytes - 1]
    if labels.max() >= classes:
        raise DataError(f"{path}: expected labels 0 to {classes - 1}, got {labels.max()}; is it another file?")
    return table[:, label_bytes:].reshape(rows, 3, SIDE, SIDE).transpose(0, 2, 3, 1), labels


def cifar_binary(folder: Path, which: int = 10, *, rows: int = 10_000) -> tuple[Dataset, Dataset]:
    """CIFAR from its binary version, in `cifar-10-batches-bin` or `cifar-100-binary` inside the data folder.

    Args:
      folder: the data folder, as from `data_folder`.
      which: 10, or 100 with the fine labels.
      rows: images in one batch; the training set is five of them. Not 10 000 only for cut-down files of your own.

    Returns:
      Training and test set: x [n, 32, 32, 3] float32 in [0, 1], y [n] int32.

    Raises:
      DataError: a file is missing or is not the one expected.
    """
    if which not in (10, 100):
        raise ValueError(f"which: expected 10 or 100, got {which!r}")
    if which == 10:
        train = {f"cifar-10-batches-bin/data_batch_{i}.bin": rows for i in range(1, 6)}
        test = {"cifar-10-batches-bin/test_batch.bin": rows}
    else:
        train, test = {"cifar-100-binary/train.bin": 5 * rows}, {"cifar-100-binary/test.bin": rows}
    return _part(folder, which, "training", train), _part(folder, which, "test", test)


def _part(folder: Path, which: int, role: str, files: dict[str, int]) -> Dataset:
    called = f"part of the {role} set of CIFAR-{which}, binary version (cifar-{which}-binary.tar.gz), unpacked"
    paths = [find_file(folder, file, called=called) for file in files]
    n = sum(files.values())
    x, y = np.empty((n, SIDE, SIDE, 3), np.float32), np.empty(n, np.int32)
    start = 0
    for path, rows in zip(paths, files.values(), strict=True):
        images, labels = read_batch(path, 1 if which == 10 else 2, which, rows)
        np.divide(images, np.float32(255), out=x[start : start + rows])
        y[start : start + rows] = labels
        start += rows
    return Dataset(
        x=x,
        y=y,
        name=f"cifar{which}/{role}",
        licence="no licence stated by its authors",
        source=f"Krizhevsky: Learning Multiple Layers of Features from Tiny Images (2009), from {paths[0].parent}",
        sha256=sha256_of(*paths),
    )
