"""Files of the user's own: the folder they lie in, and how a file is found and read there."""

import contextlib
import hashlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from jaxzoo.data.dataset import DataError

VARIABLE = "JAXZOO_DATA"

MAX_RATIO = 100
"""A compressed file may declare at most so many times its own size; more is taken for a decompression bomb."""


def data_folder(argument: str | os.PathLike | None = None) -> Path:
    """The folder that holds data sets that jaxzoo can't carry.

    Args:
      argument: what the user gave as `--data`; if None, the environment variable JAXZOO_DATA counts.

    Returns:
      The folder.

    Raises:
      DataError: neither is set, or it is not a folder.
    """
    chosen = argument if argument is not None else os.environ.get(VARIABLE) or None
    if chosen is None:
        raise DataError(f"no data folder: name the one that holds your files with --data DIR, or set {VARIABLE}=DIR")
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        origin = "--data" if argument is not None else VARIABLE
        raise DataError(f"{origin}: expected an existing folder, got {folder}")
    return folder


def find_file(folder: Path, *candidates: str, called: str) -> Path:
    """The first of some files that exists.

    Args:
      folder: the data folder.
      *candidates: paths inside it, with forward slashes, the preferred one first.
      called: what the file is called where it comes from, for the error.

    Returns:
      The path.

    Raises:
      DataError: none exists, or a candidate leads out of the folder.
    """
    for candidate in candidates:
        path = PurePosixPath(candidate)
        if path.is_absolute() or ".." in path.parts or "\\" in candidate or "\0" in candidate:
            raise DataError(f"{candidate!r}: expected a path inside the data folder {folder}")
        if (Path(folder) / path).is_file():
            return Path(folder) / path
    others = "".join(f" or {candidate}" for candidate in candidates[1:])
    raise DataError(f"missing file: {candidates[0]}{others} in the data folder {folder}. It is {called}; put it there")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a damaged file makes the standard library raise becomes a `DataError` that names the file."""
    try:
        yield
    except DataError:
        raise
    except (
        OSError,
        EOFError,
        ValueError,
        OverflowError,
        NotImplementedError,
        RuntimeError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(f"{path}: can't be read: {error}; it is damaged or cut off, so fetch it again") from error


def sha256_of(*paths: Path) -> str:
    """The hexadecimal SHA-256 of the contents of files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
