"""The sets of pictures that continual learning is measured on, as bytes, from the user's own files."""

from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxzoo import data


class Pictures(NamedTuple):
    """A set of pictures.

    Attributes:
      train: to learn from: (x [n, h, w, 3] uint8, y [n] int32).
      test: to test on, alike.
      mean, deviation: of each channel, in [0, 1]; constants that are known beforehand.
    """

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]

    def scaled(self, x):
        """Bytes [..., 3] to float32 of mean 0 and deviation 1 over such a set."""
        channel = (1,) * (x.ndim - 1) + (3,)
        mean, deviation = (jnp.reshape(jnp.float32(v), channel) for v in (self.mean, self.deviation))
        return (x.astype(jnp.float32) / 255 - mean) / deviation


STATISTICS = {
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "imagenet-r": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "tiny-imagenet": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),
}
"""Means and deviations of the channels, as they are usual."""


def picture_set(folder: Path, name: str) -> Pictures:
    """One of the sets, whole, in memory: 0.2, 4.5 and 1.4 GB, and while it is read 0.9, 9 and 2.6 GB.

    cifar100: `cifar-100-binary/`, fine labels. imagenet-r: class folders in `imagenet-r/`, pictures resized and cut to
    224, a fifth of each class to test on, drawn once and for all. tiny-imagenet: `tiny-imagenet-200/`, tested on its
    validation part.

    Args:
      folder: the data folder, as from `data_folder`.
      name: one of `STATISTICS`.

    Returns:
      `Pictures`.

    Raises:
      DataError: a file is missing or damaged. ValueError: an unknown name.
    """
    if name not in STATISTICS:
        raise ValueError(f"name: expected one of {', '.join(STATISTICS)}, got {name!r}")
    if name == "cifar100":
        parts = [(np.round(255 * part.x).astype(np.uint8), part.y) for part in data.cifar_binary(folder, 100)]
    elif name == "tiny-imagenet":
        train, test = data.tiny_imagenet(folder)
        (train,) = data.split(train, 0, (len(train.y),))  # out of the order of classes
        parts = [(part.x, part.y) for part in (train, test)]
    else:
        whole = data.image_folder(folder, "imagenet-r")
        n = len(whole.y) * 4 // 5
        if n < 1:
            raise data.DataError(
                f"{Path(folder) / 'imagenet-r'}: expected pictures to learn from and to test on, got 1"
            )
        parts = [(part.x, part.y) for part in data.split(whole, 0, (n, len(whole.y) - n))]
    return Pictures(*parts, *STATISTICS[name])
