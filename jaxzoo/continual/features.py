"""Features that a frozen backbone made, from a file of the user's own."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxzoo.data import DataError, npz

SIZES = {
    "features": (50_000, 10_000, 10_000, 384, 100),
    "cifar100-half": (50_000, 10_000, 25_000, 64, 100),
    "cifar100": (50_000, 10_000, 50_000, 384, 100),
    "imagenet-r": (24_000, 6_000, 24_000, 384, 200),
    "tiny-imagenet": (100_000, 10_000, 100_000, 384, 200),
}
"""What comes at full scale: n, m, p and f of `FrozenFeatures`, and classes; f of DeiT-S, with half of CIFAR-100 of
ResNet-32."""


class FrozenFeatures(NamedTuple):
    """Features and labels of a data set, f the backbone's width.

    Attributes:
      train_x, train_y: [n, f] float32 and [n] int32.
      test_x, test_y: [m, f] float32 and [m] int32.
      pretrain_x: [p, f] float32, features of examples the backbone was trained on; their scale is known beforehand.
    """

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    pretrain_x: np.ndarray


def frozen_features(folder: Path, name: str = "features.npz") -> FrozenFeatures:
    """The arrays train_x, train_y, test_x, test_y and pretrain_x of an archive as from `numpy.savez`.

    Args:
      folder: the data folder, as from `data_folder`.
      name: the file, a path inside it.

    Returns:
      `FrozenFeatures`.

    Raises:
      DataError: the file or an array in it is missing, or shapes and types do not fit.
    """
    arrays = npz(folder, name)
    missing = [field for field in FrozenFeatures._fields if field not in arrays]
    if missing:
        raise DataError(f"{name}: no array {', '.join(missing)}; it needs {', '.join(FrozenFeatures._fields)}")
    width = arrays["train_x"].shape[1:]
    for field in ("train_x", "test_x", "pretrain_x"):
        x = arrays[field]
        if x.ndim != 2 or x.shape[1:] != width or not np.issubdtype(x.dtype, np.floating):
            raise DataError(f"{name}: {field}: expected floats [n, f], f that of train_x, got {x.dtype}{list(x.shape)}")
    for field in ("train", "test"):
        y, n = arrays[f"{field}_y"], len(arrays[f"{field}_x"])
        if y.shape != (n,) or not np.issubdtype(y.dtype, np.integer) or y.min(initial=0) < 0:
            raise DataError(f"{name}: {field}_y: expected integers >= 0 [{n}], got {y.dtype}{list(y.shape)}")
    return FrozenFeatures(
        *(arrays[f].astype(np.int32 if f.endswith("y") else np.float32) for f in FrozenFeatures._fields)
    )
