"""Short clips of small real digits: one that bounces, and one that has to be recalled after a long distraction.

Pixels lie in [-1, 1]. Both draw one clip from a key; a batch is `jax.vmap` over keys.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo import data

GLYPH_FRAMES = 4
"""Frames that show the glyph at the beginning of a recall clip."""


@partial(jax.jit, static_argnames="side")
def glyphs(images, *, side=6):
    """Images [n, h, w] resized to [n, side, side] float32, bilinearly with averaging."""
    images = images.astype(jnp.float32)
    return jax.image.resize(images, (len(images), side, side), "bilinear", antialias=True)


def place(glyph, corner, canvas):
    """A glyph on an empty canvas at every one of some places.

    Args:
      glyph: [a, a] in [0, 1].
      corner: [t, 2] integers, row and column of the upper left pixel.
      canvas: side of the frame.

    Returns:
      [t, canvas, canvas, 1] in [-1, 1].
    """
    pixel, part = jnp.arange(canvas)[None, :, None], jnp.arange(glyph.shape[0])[None, None]
    rows, columns = (pixel - corner[:, axis, None, None] == part for axis in range(2))  # [t, canvas, a]
    # The products select: exact, at the highest precision.
    one_hot = (rows.astype(glyph.dtype), columns.astype(glyph.dtype))
    frames = jnp.einsum("tia,ab,tjb->tij", one_hot[0], glyph, one_hot[1], precision="highest")
    return 2 * frames[..., None] - 1


def bouncing(key, shapes, length, *, canvas=12, speed=2):
    """A digit that moves with a constant integer velocity and is reflected at the borders.

    The velocity is uniform over {-speed .. speed}^2 without standing still, the first place uniform.

    Args:
      key: a PRNG key.
      shapes: [n, a, a] glyphs in [0, 1], of which one is drawn.
      length: frames.
      canvas: side of a frame, more than a.
      speed: largest velocity along an axis, in pixels per frame.

    Returns:
      [length, canvas, canvas, 1].

    Raises:
      ValueError: the glyph has no room to move.
    """
    room = _room(shapes, canvas, least=1)
    chosen, row, column, turn = jax.random.uniform(key, (4,))
    wide = 2 * speed + 1
    velocity = _integer(turn, wide**2 - 1)
    velocity = velocity + (velocity >= wide**2 // 2)  # the middle one stands still
    velocity = jnp.stack([velocity // wide, velocity % wide]) - speed
    start = jnp.stack([_integer(row, room + 1), _integer(column, room + 1)])
    straight = start[None] + velocity[None] * jnp.arange(length)[:, None]
    corner = room - jnp.abs(straight % (2 * room) - room)  # a path folded at 0 and at `room`
    return place(shapes[_integer(chosen, len(shapes))], corner, canvas)


def recall(key, shapes, length, *, canvas=12, noise=0.3):
    """A digit is shown, noise follows, a frame with a border asks for the digit, and it comes again.

    Frames 0 to 3 show the digit at one random place; then noise around grey; frame length - 2 is empty but for a border
    of ones; frame length - 1 is the digit again.

    Args:
      key: a PRNG key.
      shapes: [n, a, a] glyphs in [0, 1], of which one is drawn.
      length: frames, at least 7.
      canvas: side of a frame, at least a.
      noise: standard deviation of the noise.

    Returns:
      [length, canvas, canvas, 1].

    Raises:
      ValueError: a clip too short, or a canvas too small.
    """
    room = _room(shapes, canvas)
    if length < GLYPH_FRAMES + 3:
        raise ValueError(f"length: expected at least {GLYPH_FRAMES + 3}, got {length}")
    key_place, key_noise = jax.random.split(key)
    chosen, row, column = jax.random.uniform(key_place, (3,))
    corner = jnp.stack([_integer(row, room + 1), _integer(column, room + 1)])
    shown = place(shapes[_integer(chosen, len(shapes))], corner[None], canvas)  # [1, canvas, canvas, 1]
    # Drawn along one axis: the same numbers, but a program with several draws of many axes takes long to compile.
    distraction = noise * jax.random.normal(key_noise, (length - GLYPH_FRAMES - 2) * canvas**2)
    distraction = distraction.reshape(-1, canvas, canvas, 1)
    cue = jnp.ones((1, canvas, canvas, 1)).at[:, 1:-1, 1:-1].set(-1.0)
    return jnp.concatenate([jnp.repeat(shown, GLYPH_FRAMES, 0), distraction, cue, shown])


def clips_file(folder, name, length):
    """Clips of the user's own, such as long Moving-MNIST, DMLab, Minecraft or Habitat, grey or in colour.

    Args:
      folder: the data folder.
      name: the file: .npy, an array uint8 [n, t, h, w] or [n, t, h, w, c] with t at least `length`; or .npz with one
        such array of unsigned bytes in it. Arrays of other types, such as the actions of an agent, are left aside.
      length: frames that are needed.

    Returns:
      uint8 [n, t, h, w, c], to be scaled by `to_pixels` as it is sampled: floats would take four times the memory.

    Raises:
      jaxzoo.data.DataError: the file is missing, or is something else.
    """
    if not name.endswith((".npy", ".npz")):
        raise data.DataError(f"{name}: expected a file of clips whose name ends in .npy or .npz")
    if name.endswith(".npz"):
        arrays = {key: x for key, x in data.npz(folder, name).items() if x.dtype == np.uint8}
        if len(arrays) != 1:
            found = ", ".join(map(repr, arrays)) or "none"
            raise data.DataError(f"{folder / name}: expected one array of type uint8, the clips, got {found}")
        (clips,) = arrays.values()
    else:
        clips = data.npy(folder, name)
    if clips.dtype != np.uint8 or clips.ndim not in (4, 5) or clips.shape[1] < length:
        expected = f"uint8 [n, t, h, w] or [n, t, h, w, c] with t at least {length}"
        raise data.DataError(f"{folder / name}: expected {expected}, got {clips.dtype} {list(clips.shape)}")
    return clips if clips.ndim == 5 else clips[..., None]


def to_pixels(clip):
    """uint8 0 to 255 -> float32 in [-1, 1]."""
    return jnp.asarray(clip, jnp.float32) / 127.5 - 1


def _room(shapes, canvas, least=0):
    if shapes.ndim != 3 or shapes.shape[1] != shapes.shape[2] or canvas - shapes.shape[1] < least:
        raise ValueError(f"shapes: expected [n, a, a] with a at most {canvas - least}, got {shapes.shape}")
    return canvas - shapes.shape[1]


def _integer(uniform, stop):
    """An integer 0 to stop - 1 from a number in [0, 1)."""
    return (uniform * stop).astype(jnp.int32)
