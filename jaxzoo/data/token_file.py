"""Text as token ids, as large corpora are prepared for training: nothing but the ids, one after the other."""

from pathlib import Path

import numpy as np

from jaxzoo.data.dataset import DataError
from jaxzoo.data.folder import find_file, reading


def token_file(folder: Path, name: str, *, vocabulary: int | None = None, most: int | None = None) -> np.ndarray:
    """The token ids in `folder/name.bin` (uint16, little-endian, no header) or `folder/name.npy`, mapped from disk.

    OpenWebText as it is usually prepared is `train.bin` of 9 billion ids and `val.bin` of 4 million.

    Args:
      folder: the data folder, as from `data_folder`.
      name: of the file, without its ending.
      vocabulary: if given, ids have to be below it; those that are returned are checked.
      most: the first so many; None for all.

    Returns:
      [n] integers, read-only; what is not looked at is not read.

    Raises:
      DataError: the file is missing, damaged or empty, holds other things than a row of integers, or an id too large.
    """
    path = find_file(folder, f"{name}.bin", f"{name}.npy", called="a text as token ids (uint16, or a numpy array)")
    with reading(path):
        size = path.stat().st_size
        if path.suffix == ".npy":
            tokens = np.load(path, mmap_mode="r", allow_pickle=False)
        elif size == 0 or size % 2:
            raise DataError(f"{path}: expected ids of 2 bytes each, got {size} bytes; fetch it again")
        else:
            tokens = np.memmap(path, "<u2", mode="r")
    if tokens.ndim != 1 or not len(tokens) or not np.issubdtype(tokens.dtype, np.integer):
        raise DataError(f"{path}: expected integers [n], got {tokens.dtype} of shape {tokens.shape}")
    tokens = tokens[:most]
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or (vocabulary is not None and high >= vocabulary):
        least = f"0 to {vocabulary - 1}" if vocabulary is not None else "0 or more"
        raise DataError(f"{path}: expected token ids of {least}, got {low if low < 0 else high}: of another tokenizer?")
    return tokens
