"""MNIST and the sets in its format: IDX files, gzipped or not."""

import gzip
import math
import struct
from pathlib import Path

import numpy as np

from jaxzoo.data.dataset import DataError, Dataset
from jaxzoo.data.folder import MAX_RATIO, find_file, reading, sha256_of

UNSIGNED_BYTE = 0x08


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """One IDX file of unsigned bytes: magic number 0 0 8 d, d sizes of 4 bytes (big-endian), then the values.

    Args:
      path: the file; a name that ends in .gz is decompressed.
      dimensions: how many it must have: 3 for images, 1 for labels.

    Returns:
      uint8 array of that many dimensions.

    Raises:
      DataError: another magic number, or sizes that don't fit the length of the file; found before memory is allocated.
    """
    compressed = path.suffix == ".gz"
    start = 4 + 4 * dimensions
    with reading(path), gzip.open(path, "rb") if compressed else path.open("rb") as file:
        header = file.read(start)
        magic = bytes((0, 0, UNSIGNED_BYTE, dimensions))
        if header[:4] != magic:
            raise DataError(
                f"{path}: expected the first bytes {magic.hex(' ')} of an IDX file of unsigned bytes in {dimensions} "
                f"dimensions, got {header[:4].hex(' ') or 'nothing'}"
            )
        if len(header) < start:
            raise DataError(f"{path}: cut off in its header of {start} bytes; fetch it again")
        shape = struct.unpack(f">{dimensions}I", header[4:])
        size = math.prod(shape)
        room = MAX_RATIO * path.stat().st_size if compressed else path.stat().st_size - start
        if size == 0 or size > room or (size < room and not compressed):
            raise DataError(f"{path}: its header declares {shape} values, which does not fit the file; fetch it again")
        content = file.read(size + 1)
    if len(content) != size:
        found = "fewer" if len(content) < size else "more"
        raise DataError(f"{path}: its header declares {shape}, {size} values, but it holds {found}; fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def mnist_idx(folder: Path, name: str = "mnist") -> tuple[Dataset, Dataset]:
    """MNIST, or a set in its format (Fashion-MNIST, KMNIST, ...), from four IDX files in `folder/name`.

    Args:
      folder: the data folder, as from `data_folder`.
      name: the subfolder of the set; Fashion-MNIST and MNIST have the same file names.

    Returns:
      Training and test set: x [n, h, w] float32 in [0, 1], y [n] int32.

    Raises:
      DataError: a file is missing or damaged, or images and labels differ in number.
    """
    return _part(folder, name, "train", "training"), _part(folder, name, "t10k", "test")


def _part(folder: Path, name: str, prefix: str, role: str) -> Dataset:
    def find(kind: str, content: str) -> Path:
        stem = f"{name}/{prefix}-{kind}-ubyte"
        return find_file(folder, stem, f"{stem}.gz", called=f"the {role} set's {content} of {name}, an IDX file")

    image_path, label_path = find("images-idx3", "images"), find("labels-idx1", "labels")
    images, labels = read_idx(image_path, 3), read_idx(label_path, 1)
    if len(images) != len(labels):
        raise DataError(f"{image_path} holds {len(images)} images, but {label_path} {len(labels)} labels")
    return Dataset(
        x=np.divide(images, np.float32(255)),
        y=labels.astype(np.int32),
        name=f"{name}/{role}",
        licence="as its authors state",
        source=str(image_path),
        sha256=sha256_of(image_path, label_path),
    )
