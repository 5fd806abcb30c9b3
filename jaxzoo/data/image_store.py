"""Whole pictures at one size in one file, made once from class folders and read from the disk as they are needed.

A set of pictures that no memory holds: ImageNet takes 252 GB of disk at 256x256, and a batch of 128 reads 25 MB.
"""

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxzoo.data.dataset import DataError
from jaxzoo.data.folder import reading
from jaxzoo.data.image_folder import class_files, rgb_picture

BLOCK = 1024
"""Pictures that are under way at once while the file is made."""


class ImageStore(NamedTuple):
    """Pictures on disk.

    Attributes:
      x: [n, side, side, 3] uint8, mapped from the file and not in memory; `x[chosen]` reads.
      y: [n] int32 classes.
      aspect: [n] float32, width over height of each picture before it was brought to a square.
      target_names: the classes.
    """

    x: np.ndarray
    y: np.ndarray
    aspect: np.ndarray
    target_names: tuple[str, ...]


def image_store(folder: Path, part: str, *, side: int = 256) -> ImageStore:
    """The pictures of `part`, from `<part>-<side>.npy` in the data folder, which is made if it is not there.

    It is made of class folders as `image_folder` reads them, each picture whole, squeezed or stretched to a square
    bicubically; `<part>-<side>.npz` beside it has the rest. The class folders are not needed afterwards.

    Args:
      folder: the data folder, as from `data_folder`.
      part: a folder inside it, "train" or "val".
      side: of the squares, in pixels.

    Returns:
      `ImageStore`.

    Raises:
      DataError: a folder, a picture or one of the two files is missing or damaged, or there is no room for them.
    """
    pixels, rest = (Path(folder) / f"{part}-{side}.{ending}" for ending in ("npy", "npz"))
    if not pixels.is_file() or not rest.is_file():
        _make(folder, part, side, pixels, rest)
    with reading(pixels):
        x = np.load(pixels, mmap_mode="r")
    with reading(rest), np.load(rest) as file:
        y, aspect, names = (file[name] for name in ("y", "aspect", "names"))
    if x.dtype != np.uint8 or x.shape != (len(y), side, side, 3) or aspect.shape != y.shape:
        raise DataError(
            f"{pixels}: expected {len(y)} pictures of {side}x{side} uint8, got {x.dtype}{list(x.shape)}; delete it and "
            f"{rest.name}, and they are made anew"
        )
    return ImageStore(x, y, aspect, tuple(map(str, names)))


def _make(folder: Path, part: str, side: int, pixels: Path, rest: Path) -> None:
    """Writes both files; either is whole or not there."""
    from PIL import Image  # comes with matplotlib

    classes, files = class_files(folder, part)
    partial = pixels.with_suffix(".part")
    aspect = np.empty(len(files), np.float32)

    def put(i):
        picture = rgb_picture(files[i][0])
        aspect[i] = picture.width / picture.height
        x[i] = np.asarray(picture.resize((side, side), Image.BICUBIC))

    with contextlib.ExitStack() as stack:
        stack.callback(partial.unlink, missing_ok=True)
        with reading(pixels):
            x = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(files), side, side, 3))
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(files), BLOCK):
                list(pool.map(put, range(start, min(start + BLOCK, len(files)))))
        with reading(pixels):
            x.flush()
            np.savez(rest, y=np.array([label for _, label in files], np.int32), aspect=aspect, names=np.array(classes))
            os.replace(partial, pixels)
