"""What compressors of everyday files make of images."""

import bz2
import io
import lzma
import zlib

import numpy as np

COMPRESSORS = {
    "zlib": lambda content: zlib.compress(content, 9),
    "bz2": lambda content: bz2.compress(content, 9),
    "lzma": lambda content: lzma.compress(content, preset=9 | lzma.PRESET_EXTREME),
}


def compressed_bits(images: np.ndarray) -> dict[str, float]:
    """Bits per dimension by zlib, bz2 and lzma, all images in one file, one byte per pixel.

    Args:
      images: [n, d] uint8.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"images: expected uint8, got {images.dtype}")
    content = np.ascontiguousarray(images).tobytes()
    return {name: 8 * len(compress(content)) / images.size for name, compress in COMPRESSORS.items()}


def png_bits(images: np.ndarray) -> float:
    """Bits per dimension by PNG, one file per image, its headers counted.

    Args:
      images: [n, height, width] uint8.
    """
    from PIL import Image

    total = 0
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG", optimize=True)
        total += file.tell()
    return 8 * total / images.size
