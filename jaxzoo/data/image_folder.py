"""Pictures in one folder a class, as ImageNet's usually lie: `train/<class>/*.jpg`, `val/<class>/*.jpg`."""

import hashlib
from pathlib import Path

import numpy as np

from jaxzoo.data.dataset import DataError, Dataset
from jaxzoo.data.folder import reading

ENDINGS = (".jpeg", ".jpg", ".png", ".bmp", ".webp")
RESIZED = 256 / 224
"""The shorter side is brought to so many times the size of the crop."""


def image_folder(folder: Path, part: str, *, side: int = 224, bicubic: bool = False) -> Dataset:
    """All pictures of `part`, one class for each of its folders in alphabetical order.

    Each is resized so that its shorter side is 256 / 224 of `side`, and cut out in the middle.

    Args:
      folder: the data folder, as from `data_folder`.
      part: a folder inside it, "train" or "val".
      side: of the result, in pixels.
      bicubic: resize bicubically, and not bilinearly.

    Returns:
      x [n, side, side, 3] uint8, 150 KB a picture at 224; y [n] int32. `target_names` are the folders' names, and
      `sha256` is of the files' names and sizes.

    Raises:
      DataError: there is no such folder, no class or picture in it, or a file that is no picture.
    """
    classes, files = class_files(folder, part)
    x = np.empty((len(files), side, side, 3), np.uint8)
    digest = hashlib.sha256()
    for row, (path, _) in zip(x, files, strict=True):
        row[:] = _middle(rgb_picture(path), side, bicubic)
        digest.update(f"{path.parent.name}/{path.name} {path.stat().st_size}\n".encode())
    return Dataset(
        x=x,
        y=np.array([label for _, label in files], np.int32),
        name=f"pictures of {part}",
        licence="that of the user's own files",
        source=f"folders of pictures in {part}/",
        sha256=digest.hexdigest(),
        target_names=classes,
    )


def rgb_picture(path: Path):
    """A picture file as a `PIL.Image` of red, green and blue; a `DataError` names one that is damaged or no picture."""
    from PIL import Image, UnidentifiedImageError  # comes with matplotlib

    with reading(path):
        try:
            with Image.open(path) as opened:
                return opened.convert("RGB")
        except UnidentifiedImageError:
            raise DataError(f"{path}: expected a picture, found something else") from None


def class_files(folder: Path, part: str) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    """The names of the classes of `part`, and its pictures, each with its class.

    Raises:
      DataError: there is no such folder, or no class or picture in it.
    """
    root = Path(folder) / part
    if not root.is_dir():
        raise DataError(
            f"{root}: folder not found; put pictures there, one folder a class: {part}/<class>/<picture>.jpg"
        )
    classes = tuple(sorted(path.name for path in root.iterdir() if path.is_dir()))
    files = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((root / name).iterdir())
        if path.suffix.lower() in ENDINGS
    ]
    if not files:
        raise DataError(f"{root}: expected folders of pictures ({', '.join(ENDINGS)}), found none")
    return classes, files


def _middle(picture, side: int, bicubic: bool) -> np.ndarray:
    """The middle [side, side, 3] of a resized picture."""
    from PIL import Image

    width, height = picture.size
    scale = side * RESIZED / min(width, height)
    way = Image.BICUBIC if bicubic else Image.BILINEAR
    picture = picture.resize((max(side, round(width * scale)), max(side, round(height * scale))), way)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return np.asarray(picture.crop((left, top, left + side, top + side)))
