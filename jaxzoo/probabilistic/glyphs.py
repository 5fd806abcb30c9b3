"""Small grey images of characters, drawn from the fonts in matplotlib's wheel: real shapes that need no download."""

from pathlib import Path

import numpy as np

SIZE = 12
"""Font size in pixels, of which capitals take about nine."""
LETTERS = [*range(0x30, 0x3A), *range(0x41, 0x5B), *range(0x61, 0x7B), *range(0xC0, 0x180), *range(0x391, 0x3CA)]
"""Code points of digits and of Latin and Greek letters."""
LEFT_OUT = "LastResort"
"""A font of placeholder boxes."""


def glyphs(side: int = 16, levels: int = 8) -> np.ndarray:
    """All different images of the letters of all fonts; the same on every machine with the same matplotlib.

    Args:
      side: height and width in pixels; characters are drawn 16 pixels wide and averaged down.
      levels: of grey, at least 2; 0 is blank.

    Returns:
      [n, side, side] uint8 in 0..levels-1, sorted.

    Raises:
      ValueError: `side` does not divide 16, or there are fewer than 2 levels.
    """
    if side < 1 or 16 % side or levels < 2:
        raise ValueError(f"side, levels: expected a divisor of 16 and at least 2, got {side} and {levels}")
    import matplotlib

    fonts = sorted(Path(matplotlib.get_data_path(), "fonts", "ttf").glob("*.ttf"))
    drawn = [image for font in fonts if not font.name.startswith(LEFT_OUT) for image in draw_font(font)]
    images = np.stack(drawn).reshape(-1, side, 16 // side, side, 16 // side).mean((2, 4))
    return np.unique(np.floor(images * levels / 256).astype(np.uint8), axis=0)


def draw_font(path: Path) -> list[np.ndarray]:
    """The letters of one font that fit 16 x 16 pixels, centred: [16, 16] uint8 each."""
    from matplotlib.ft2font import FT2Font

    font = FT2Font(str(path))
    font.set_size(SIZE, 72)
    out = []
    for character in sorted(set(LETTERS) & set(font.get_charmap())):
        font.clear()
        font.set_text(chr(character))
        font.draw_glyphs_to_bitmap(antialiased=True)
        image = np.asarray(font.get_image())
        image = image[np.ix_(image.any(1), image.any(0))]
        height, width = image.shape
        if 3 <= height <= 16 and 3 <= width <= 16:
            top, left = (16 - height) // 2, (16 - width) // 2
            out.append(np.pad(image, ((top, 16 - height - top), (left, 16 - width - left))))
    return out
