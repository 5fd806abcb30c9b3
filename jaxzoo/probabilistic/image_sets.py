"""Images as integers, in the parts that a compressor needs: to train on, to select on, to test on."""

from typing import NamedTuple

import jax
import numpy as np

from jaxzoo import data
from jaxzoo.probabilistic.glyphs import glyphs

IMAGENET = {"imagenet32": 32, "imagenet64": 64}
"""Names of ImageNet scaled down, with the side of its images."""
NAMES = ("digits", "glyphs", "mnist", "emnist", "fashion", "cifar10", *IMAGENET)


class ImageSet(NamedTuple):
    """Images that are not split yet.

    Attributes:
      pool: [n, d] uint8 in 0..levels-1.
      test: [m, d], those of the set's authors; None where they are taken from the pool.
      levels: k.
      shape: (height, width); a pixel's colours stand beside each other.
    """

    pool: np.ndarray
    test: np.ndarray | None
    levels: int
    shape: tuple[int, int]


def image_set(name: str, data_dir=None, *, side: int = 16, levels: int = 8, wanted: int | None = None) -> ImageSet:
    """A set by its name.

    Args:
      name: "digits" or "glyphs", which need no download; "mnist", "emnist" or "fashion", four IDX files in the folder
        of that name; "cifar10", its binary version; "imagenet32" or "imagenet64", as `data.downsampled_imagenet` reads.
      data_dir: the data folder, where one is needed.
      side, levels: of a glyph.
      wanted: images of ImageNet's pool; files that are not needed for so many are not read. None for all.

    Raises:
      DataError: no data folder, or a file is missing.
    """
    if name not in NAMES:
        raise ValueError(f"name: expected one of {', '.join(NAMES)}, got {name!r}")
    if name in ("digits", "glyphs"):
        known = name == "digits"
        images = np.rint(data.digits().x * 16).astype(np.uint8) if known else glyphs(side, levels)
        return ImageSet(images.reshape(len(images), -1), None, 17 if known else levels, images.shape[1:])
    folder = data.data_folder(data_dir)
    if name in IMAGENET:
        both = [part.x for part in data.downsampled_imagenet(folder, IMAGENET[name], rows=wanted)]
    else:
        parts = data.cifar_binary(folder) if name == "cifar10" else data.mnist_idx(folder, name)
        both = [np.rint(part.x * 255).astype(np.uint8) for part in parts]
    height, *rest = both[0].shape[1:]
    pool, test = (x.reshape(len(x), -1) for x in both)
    return ImageSet(pool, test, 256, (height, int(np.prod(rest))))


def split_images(key, images: ImageSet, sizes, *, permuted: bool = False) -> dict[str, np.ndarray]:
    """Draws disjoint parts.

    Args:
      key: of the order.
      images: to draw from.
      sizes: of the three parts.
      permuted: each pixel gets an order of its own: its distribution stays, what it says of the others goes.

    Returns:
      "train", "valid" and "test": [n, d] uint8.

    Raises:
      ValueError: more images asked for than there are.
    """
    wanted = sum(sizes[:2]) if images.test is not None else sum(sizes)
    if len(sizes) != 3 or wanted > len(images.pool):
        raise ValueError(f"sizes: expected three of sum <= {len(images.pool)}, got {tuple(sizes)}")
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    # The order first: the pool itself may be too large to be copied.
    ends = np.cumsum(sizes)
    x = rng.permuted(images.pool, axis=0) if permuted else images.pool[rng.permutation(len(images.pool))[: ends[-1]]]
    train, valid, test = np.split(x, ends)[:3]
    return {"train": train, "valid": valid, "test": test if images.test is None else images.test[: sizes[2]]}
