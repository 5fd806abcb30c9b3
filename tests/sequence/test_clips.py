"""The clips move, hide and return as they should; files of clips are read or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo import data
from jaxzoo.sequence import clips

SHAPES = jnp.asarray(np.random.default_rng(0).uniform(0.2, 1.0, (5, 3, 3)), jnp.float32)


def keys(n):
    return jax.random.split(jax.random.key(0), n)


def corner(frame):
    """Row and column of the upper left pixel of the glyph, none of whose pixels is black."""
    rows, columns = np.nonzero(np.asarray(frame[..., 0]) > -1)
    assert (rows.max() - rows.min(), columns.max() - columns.min()) == (2, 2)
    return rows.min(), columns.min()


def test_glyphs_keep_the_brightness_of_digits():
    images = data.digits().x[:50]
    small = clips.glyphs(images)
    assert small.shape == (50, 6, 6)
    assert small.dtype == jnp.float32
    np.testing.assert_allclose(small.mean(), images.mean(), atol=0.02)
    np.testing.assert_array_equal(clips.glyphs(images, side=8), images)


def test_a_bouncing_glyph_against_a_ball_in_a_box():
    made = jax.jit(jax.vmap(lambda key: clips.bouncing(key, SHAPES, 12, canvas=8)))(keys(24))
    made = np.asarray(made)
    assert made.shape == (24, 12, 8, 8, 1)
    speeds = set()
    for clip in made:
        seen = [corner(frame) for frame in clip]
        at = np.array(seen[0])
        candidates = [np.array([i, j]) for i in range(-2, 3) for j in range(-2, 3) if (i, j) != (0, 0)]
        fits = []
        for velocity in candidates:
            place, speed, path = at.copy(), velocity.copy(), [at]
            for _ in range(11):
                place = place + speed
                for axis in range(2):
                    if place[axis] < 0 or place[axis] > 5:
                        speed[axis] *= -1
                        place[axis] = -place[axis] if place[axis] < 0 else 10 - place[axis]
                path.append(place)
            if (np.array(path) == seen).all():
                fits.append(tuple(np.abs(velocity)))
        assert len(fits) >= 1, seen
        speeds.add(fits[0])
    assert len(speeds) > 4


def test_a_placed_glyph_keeps_its_pixels():
    frames = clips.place(SHAPES[0], jnp.array([[1, 4]]), 8)
    np.testing.assert_array_equal(frames[0, 1:4, 4:7, 0], 2 * SHAPES[0] - 1)
    assert (frames == -1).sum() == 64 - 9


def test_a_recall_clip_shows_distracts_asks_and_answers():
    made = jax.vmap(lambda key: clips.recall(key, SHAPES, 20, canvas=8))(keys(30))
    assert made.shape == (30, 20, 8, 8, 1)
    for clip in made:
        corner(clip[0])
        for frame in (1, 2, 3, 19):
            np.testing.assert_array_equal(clip[frame], clip[0])
    np.testing.assert_allclose(made[:, 4:18].std(), 0.3, atol=0.01)
    np.testing.assert_allclose(made[:, 4:18].mean(), 0.0, atol=0.01)
    cue = made[0, 18, ..., 0]
    assert (cue[1:-1, 1:-1] == -1).all()
    assert (cue == 1).sum() == 28
    assert len({corner(clip[0]) for clip in made}) > 10


def test_impossible_clips_are_refused():
    with pytest.raises(ValueError, match="length: expected at least 7, got 6"):
        clips.recall(jax.random.key(0), SHAPES, 6)
    with pytest.raises(ValueError, match="with a at most 2"):
        clips.bouncing(jax.random.key(0), SHAPES, 6, canvas=3)


def test_a_file_of_clips(tmp_path):
    grey = np.arange(2 * 5 * 4 * 4, dtype=np.uint8).reshape(2, 5, 4, 4)
    np.save(tmp_path / "grey.npy", grey)
    np.save(tmp_path / "colour.npy", np.stack([grey] * 3, -1))
    np.save(tmp_path / "float.npy", grey.astype(np.float32))
    np.testing.assert_array_equal(clips.clips_file(tmp_path, "grey.npy", 5), grey[..., None])
    assert clips.clips_file(tmp_path, "colour.npy", 3).shape == (2, 5, 4, 4, 3)
    for name, length in (("float.npy", 5), ("grey.npy", 6)):
        with pytest.raises(data.DataError, match=rf"{name}: expected uint8 .* t at least {length}, got "):
            clips.clips_file(tmp_path, name, length)
    with pytest.raises(data.DataError, match=r"missing file: other\.npy"):
        clips.clips_file(tmp_path, "other.npy", 5)


def test_an_archive_of_clips_with_or_without_actions(tmp_path):
    colour = np.arange(2 * 5 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 5, 4, 4, 3)
    actions = np.zeros((2, 5), np.int64)
    np.savez_compressed(tmp_path / "seen.npz", video=colour)
    np.savez_compressed(tmp_path / "acted.npz", actions=actions, video=colour)
    for name in ("seen.npz", "acted.npz"):
        np.testing.assert_array_equal(clips.clips_file(tmp_path, name, 5), colour)
    np.savez(tmp_path / "two.npz", first=colour, second=colour)
    np.savez(tmp_path / "none.npz", actions=actions)
    for name, found in (("two", "'first', 'second'"), ("none", "none")):
        with pytest.raises(data.DataError, match=rf"{name}\.npz: expected one array of type uint8, .* got {found}"):
            clips.clips_file(tmp_path, f"{name}.npz", 5)
    with pytest.raises(data.DataError, match=r"seen\.npz: expected uint8 .* with t at least 6"):
        clips.clips_file(tmp_path, "seen.npz", 6)
    with pytest.raises(data.DataError, match=r"clips\.mp4: expected a file of clips whose name ends in"):
        clips.clips_file(tmp_path, "clips.mp4", 5)


def test_pixels():
    np.testing.assert_allclose(clips.to_pixels(np.array([0, 255], np.uint8)), [-1, 1])
