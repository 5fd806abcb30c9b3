"""Cluttered digits: where the digit is, what else is there, and that drawing compiles."""

import jax
import numpy as np
import pytest

from jaxzoo.data import cluttered_digits, digits

draw = jax.jit(cluttered_digits, static_argnames=("count", "canvas", "size", "distractors", "crop"))


@pytest.fixture(scope="module")
def source():
    return digits()


@pytest.fixture(scope="module")
def drawn(source):
    return jax.device_get(draw(jax.random.key(0), source.x, source.y, count=400, noise=0.1))


def test_shapes_types_and_range(drawn):
    x, y, position = drawn
    assert (x.shape, y.shape, position.shape) == ((400, 16, 16), (400,), (400, 2))
    assert (x.dtype, y.dtype, position.dtype) == (np.float32, np.int32, np.int32)
    assert (x.min(), x.max()) == (0, 1)
    assert set(y.tolist()) == set(range(10))


def test_the_digit_is_where_the_position_says(source):
    x, y, position = jax.device_get(draw(jax.random.key(1), source.x, source.y, count=50, distractors=0, noise=0.0))
    enlarged = np.asarray(jax.image.resize(source.x, (1797, 10, 10), "bilinear"))
    for image, label, (row, column) in zip(x, y, position, strict=True):
        patch = image[row : row + 10, column : column + 10]
        np.testing.assert_allclose(image.sum(), patch.sum(), rtol=1e-6)
        distance = np.abs(enlarged - patch).max((1, 2))
        assert distance.min() < 1e-6
        assert label in source.y[distance < 1e-6]


def test_every_place_comes_up(drawn):
    _, _, position = drawn
    assert {tuple(place) for place in position.tolist()} == {(row, column) for row in range(7) for column in range(7)}


ONE_DISTRACTOR = {"count": 900, "size": 8, "distractors": 1, "noise": 0.0}


def test_distractors_are_cut_from_other_examples(source):
    # Example i is of the single grey value (i + 1) / 4, so that every pixel tells where it came from.
    images = np.broadcast_to((np.arange(3, dtype=np.float32)[:, None, None] + 1) / 4, (3, 8, 8))
    x, y, position = jax.device_get(draw(jax.random.key(2), images, np.arange(3), **ONE_DISTRACTOR))
    for image, label, (row, column) in zip(x, y, position, strict=True):
        outside = image.copy()
        outside[row : row + 8, column : column + 8] = 0
        inside = image[row : row + 8, column : column + 8]
        own = np.float32((label + 1) / 4)
        assert own not in outside
        assert (inside >= own).all()
        assert len(set(image.ravel().tolist()) - {0.0, float(own)}) <= 1


def test_distractors_come_from_and_go_to_every_place():
    # The first image is empty; in the others every pixel tells its row and column.
    ramp = (np.arange(64, dtype=np.float32).reshape(8, 8) + 1) / 100
    images = np.stack([np.zeros_like(ramp), ramp, ramp])
    x, y, _ = jax.device_get(draw(jax.random.key(2), images, np.arange(3), **ONE_DISTRACTOR))
    spots, corners = [], []
    for image in x[y == 0]:
        filled = np.argwhere(image)
        first, last = filled[0], filled[-1]
        assert (last - first).tolist() == [3, 3]
        spots.append(first)
        corners.append(divmod(round(image[tuple(first)].item() * 100) - 1, 8))
    assert (np.min(spots, 0).tolist(), np.max(spots, 0).tolist()) == ([0, 0], [12, 12])
    assert {tuple(corner) for corner in corners} == {(row, column) for row in range(5) for column in range(5)}


def test_number_and_size_of_distractors():
    labels = np.arange(1797, dtype=np.int32) % 2
    images = np.broadcast_to(labels[:, None, None].astype(np.float32), (1797, 8, 8))
    x, y, _ = jax.device_get(draw(jax.random.key(3), images, labels, count=400, noise=0.0))
    area = x[y == 0].sum((1, 2))
    assert area.max() == 3 * 4 * 4
    assert set(area[area < 16].tolist()) == {0}


def test_noise_has_its_standard_deviation():
    half = np.full((1797, 8, 8), 0.5, np.float32)
    x, _, position = draw(jax.random.key(4), half, np.zeros(1797, np.int32), count=50, distractors=0, noise=0.05)
    pixels = [image[r : r + 10, c : c + 10] for image, (r, c) in zip(np.asarray(x), np.asarray(position), strict=True)]
    np.testing.assert_allclose(np.std(pixels), 0.05, rtol=0.05)
    np.testing.assert_allclose(np.mean(pixels), 0.5, atol=0.005)


def test_same_key_same_pictures_other_key_other_pictures(source, drawn):
    again, other = (draw(jax.random.key(seed), source.x, source.y, count=400, noise=0.1)[0] for seed in (0, 5))
    np.testing.assert_array_equal(again, drawn[0])
    assert (np.asarray(other) != drawn[0]).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 17}, "size: expected 1 to 16"),
        ({"crop": 9}, "crop: expected 1 to 8"),
        ({"images": np.zeros((1, 8, 8)), "labels": np.zeros(1)}, "images: distractors come from other examples"),
        ({"images": np.zeros((5, 8, 8, 1))}, r"images: expected \[n, h, w\], got \(5, 8, 8, 1\)"),
        ({"labels": np.zeros(4)}, r"labels: expected \[5\], got \(4,\)"),
    ],
)
def test_what_can_not_be_drawn(options, message):
    options = {"images": np.zeros((5, 8, 8)), "labels": np.zeros(5), "count": 2} | options
    with pytest.raises(ValueError, match=message):
        cluttered_digits(jax.random.key(0), **options)
