"""Tiny-ImageNet: pictures of 64x64 pixels in 200 classes, in the folders of its archive."""

import hashlib
from pathlib import Path

import numpy as np

from jaxzoo.data.dataset import DataError, Dataset
from jaxzoo.data.folder import find_file, reading
from jaxzoo.data.image_folder import rgb_picture

ROOT = "tiny-imagenet-200"
SIDE = 64
CALLED = f"part of Tiny-ImageNet ({ROOT}.zip), unpacked"


def tiny_imagenet(folder: Path) -> tuple[Dataset, Dataset]:
    """Tiny-ImageNet from `tiny-imagenet-200` inside the data folder; its test part has no labels, so that val is used.

    Files: `wnids.txt`, the classes; `train/<wnid>/images/*.JPEG`; `val/images/*.JPEG` with `val/val_annotations.txt`,
    whose rows begin with a picture and its class.

    Args:
      folder: the data folder, as from `data_folder`.

    Returns:
      Training and validation set: x [n, 64, 64, 3] uint8, y [n] int32, the row of the class in `wnids.txt`;
      `target_names` are those rows, and `sha256` is of the files' names and sizes.

    Raises:
      DataError: a file or folder is missing, a picture is damaged or of another size, or a class is unknown.
    """
    listed = find_file(folder, f"{ROOT}/wnids.txt", called=CALLED)
    with reading(listed):
        classes = tuple(listed.read_text("ascii").split())
    if not classes or len(set(classes)) < len(classes):
        raise DataError(f"{listed}: expected classes, one a row and none twice")
    return _part(folder, "train", classes, _train(folder, classes)), _part(
        folder, "val", classes, _val(folder, classes)
    )


def _train(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Pictures and their labels."""
    files = []
    for label, wnid in enumerate(classes):
        images = Path(folder) / ROOT / "train" / wnid / "images"
        found = sorted(images.glob("*.JPEG"))
        if not found:
            raise DataError(f"{images}: expected pictures (*.JPEG), found none. They are {CALLED}; put them there")
        files += [(path, label) for path in found]
    return files


def _val(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    labels = {wnid: label for label, wnid in enumerate(classes)}
    table = find_file(folder, f"{ROOT}/val/val_annotations.txt", called=CALLED)
    with reading(table):
        rows = [row.split() for row in table.read_text("ascii").splitlines() if row.strip()]
    if not rows:
        raise DataError(f"{table}: expected rows of a picture and its class, found none")
    for number, row in enumerate(rows, start=1):
        if len(row) < 2 or row[1] not in labels:
            raise DataError(f"{table}, row {number}: expected a picture and a class of wnids.txt, got {row}")
    return [(find_file(folder, f"{ROOT}/val/images/{row[0]}", called=CALLED), labels[row[1]]) for row in rows]


def _part(folder: Path, part: str, classes: tuple[str, ...], files: list[tuple[Path, int]]) -> Dataset:
    x = np.empty((len(files), SIDE, SIDE, 3), np.uint8)
    digest = hashlib.sha256()
    for row, (path, _) in zip(x, files, strict=True):
        picture = rgb_picture(path)
        if picture.size != (SIDE, SIDE):
            raise DataError(f"{path}: expected {SIDE} x {SIDE} pixels, got {picture.width} x {picture.height}")
        row[:] = np.asarray(picture)
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
    return Dataset(
        x=x,
        y=np.array([label for _, label in files], np.int32),
        name=f"tiny_imagenet/{part}",
        licence="that of ImageNet: research and teaching",
        source=f"Le, Yang: Tiny ImageNet Visual Recognition Challenge (2015), from {ROOT}/{part}",
        sha256=digest.hexdigest(),
        target_names=classes,
    )
