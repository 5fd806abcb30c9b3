"""ImageNet at 8, 16, 32 or 64 pixels a side (Chrabaszcz, Loshchilov, Hutter, arXiv 1707.08819): .npz, or pickles."""

from pathlib import Path

import numpy as np

from jaxzoo.data.arrays import npz
from jaxzoo.data.dataset import DataError, Dataset
from jaxzoo.data.folder import find_file, sha256_of
from jaxzoo.data.old_pickles import old_fields

SIDES = (8, 16, 32, 64)
BATCHES = 10
CLASSES = 1000
MAX_BYTES = 2 << 30
"""Of one file: a batch at 64 pixels has 1.6 GB."""


def downsampled_imagenet(folder: Path, side: int = 32, *, rows: int | None = None) -> tuple[Dataset, Dataset]:
    """The images of ILSVRC 2012 scaled down, from `imagenet32` (or 8, 16, 64) inside the data folder.

    There lie `train_data_batch_1.npz` to `train_data_batch_10.npz` and `val_data.npz`, or the pickles of the same names
    without a suffix.

    Args:
      folder: the data folder, as from `data_folder`.
      side: height and width of the images, 8, 16, 32 or 64.
      rows: training images that are wanted; batches are read until there are so many. None for all 1 281 167.

    Returns:
      Training and validation set: x [n, side, side, 3] uint8, for floats would take four times 16 GB at 64 pixels;
      y [n] int32 in 0..999, one less than in the files.

    Raises:
      DataError: a file is missing, damaged, or not the one expected; all batches have fewer images than are wanted.
    """
    if side not in SIDES:
        raise ValueError(f"side: expected one of {', '.join(map(str, SIDES))}, got {side!r}")
    train = []
    for i in range(1, BATCHES + 1):
        train.append(_batch(folder, side, f"train_data_batch_{i}", "training"))
        if rows is not None and sum(len(labels) for _, _, labels in train) >= rows:
            break
    found = sum(len(labels) for _, _, labels in train)
    if rows is not None and found < rows:
        raise DataError(f"{train[0][0].parent}: expected {rows} training images, its {BATCHES} batches have {found}")
    return _dataset(train, side, "training", rows), _dataset(
        [_batch(folder, side, "val_data", "validation")], side, "validation", None
    )


def _dataset(parts: list, side: int, role: str, rows: int | None) -> Dataset:
    paths, images, labels = zip(*parts, strict=True)
    return Dataset(
        x=np.concatenate(images)[:rows],
        y=np.concatenate(labels)[:rows],
        name=f"imagenet{side}/{role}",
        licence="terms of access of image-net.org",
        source=f"Chrabaszcz, Loshchilov, Hutter: A Downsampled Variant of ImageNet (2017), from {paths[0].parent}",
        sha256=sha256_of(*paths),
    )


def _batch(folder: Path, side: int, stem: str, role: str) -> tuple[Path, np.ndarray, np.ndarray]:
    """`(path, images [n, side, side, 3] uint8, labels [n] int32)`; a row of a file is a red, a green, a blue plane."""
    name = f"imagenet{side}/{stem}"
    called = f"part of the {role} set of Imagenet{side}, from image-net.org, unpacked"
    path = find_file(folder, f"{name}.npz", name, called=called)
    content = npz(folder, f"{name}.npz") if path.suffix else old_fields(path, MAX_BYTES)
    missing = {"data", "labels"} - set(content)
    if missing:
        raise DataError(f"{path}: expected 'data' and 'labels' in it, got {', '.join(map(repr, content)) or 'nothing'}")
    images, labels = content["data"], np.asarray(content["labels"])
    width = 3 * side**2
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (width,):
        raise DataError(f"{path}: expected 'data' to be uint8 [n, {width}], got {_described(images)}")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{path}: expected {len(images)} whole numbers as 'labels', got {_described(labels)}")
    if len(labels) and not 1 <= labels.min() <= labels.max() <= CLASSES:
        raise DataError(f"{path}: expected labels 1 to {CLASSES}, got {labels.min()} to {labels.max()}")
    return path, images.reshape(-1, 3, side, side).transpose(0, 2, 3, 1), (labels - 1).astype(np.int32)


def _described(x) -> str:
    return f"{x.dtype} {list(x.shape)}" if isinstance(x, np.ndarray) else type(x).__name__
