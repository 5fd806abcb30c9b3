"""What a real data set is: arrays, and where they come from; and how its bytes are checked before they are used."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np


class DataError(ValueError):
    """A file that is missing, damaged or not what it should be; the message names it and says how to mend it."""


class Dataset(NamedTuple):
    """Examples and their targets, in memory.

    Attributes:
      x: [n, ...] inputs: images float32 in [0, 1], tables float32 in the units of the source.
      y: [n] int32 classes or float32 targets, or [n, outputs].
      name: what it is called here.
      licence: terms of use of the data.
      source: who made it and where it comes from.
      sha256: of the bytes of the file that was read.
      feature_names: names of the columns of x, where they have names.
      target_names: names of the classes, or of the columns of y.
    """

    x: np.ndarray
    y: np.ndarray
    name: str
    licence: str
    source: str
    sha256: str
    feature_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()


def read_checked(path: Path, sha256: str) -> bytes:
    """The bytes of a file whose content is known.

    Args:
      path: the file.
      sha256: the hexadecimal SHA-256 that its bytes must have.

    Returns:
      The bytes.

    Raises:
      DataError: the file is missing, or its bytes are others.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: file not found; install the package that carries it again") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"{path}: its content is not the one this version of jaxzoo knows: expected sha256 {sha256}, got {found}; "
            "install the package that carries it again, at a version that jaxzoo was tested with"
        )
    return content
