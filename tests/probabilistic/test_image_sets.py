"""Image sets and their parts; training of a density on images of each seed's own."""

import gzip
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo import data
from jaxzoo.model import Model
from jaxzoo.probabilistic.image_density import image_density
from jaxzoo.probabilistic.image_sets import ImageSet, image_set, split_images
from jaxzoo.train import fit


def write_idx(path, array):
    content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_digits_are_the_integers_of_the_source():
    images = image_set("digits")
    assert images.pool.shape == (1797, 64)
    assert (images.levels, images.shape, images.test) == (17, (8, 8), None)
    np.testing.assert_array_equal(images.pool.reshape(-1, 8, 8) / np.float32(16), data.digits().x)


def test_files_in_mnists_format_give_back_their_bytes(tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "fashion"
    folder.mkdir()
    images = {"train": rng.integers(0, 256, (5, 4, 3)), "t10k": rng.integers(0, 256, (2, 4, 3))}
    for part, pixels in images.items():
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", pixels.astype(np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte", np.zeros(len(pixels), np.uint8))
    found = image_set("fashion", tmp_path)
    np.testing.assert_array_equal(found.pool, images["train"].reshape(5, 12))
    np.testing.assert_array_equal(found.test, images["t10k"].reshape(2, 12))
    assert (found.levels, found.shape) == (256, (4, 3))
    parts = split_images(jax.random.key(0), found, (3, 2, 1))
    np.testing.assert_array_equal(parts["test"], found.test[:1])
    together = np.concatenate([parts["train"], parts["valid"]])
    np.testing.assert_array_equal(np.sort(together, 0), np.sort(found.pool, 0))


def test_imagenet_scaled_down_gives_the_batches_that_are_needed(tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "imagenet32"
    folder.mkdir()
    planes = {name: rng.integers(0, 256, (3, 3, 32, 32), dtype=np.uint8) for name in ("train_data_batch_1", "val_data")}
    for name, x in planes.items():
        np.savez(folder / name, data=x.reshape(3, -1), labels=np.arange(1, 4))
    found = image_set("imagenet32", tmp_path, wanted=2)
    assert (found.levels, found.shape) == (256, (32, 96))
    for x, expected in ((found.pool, planes["train_data_batch_1"][:2]), (found.test, planes["val_data"])):
        np.testing.assert_array_equal(x.reshape(-1, 32, 32, 3), np.moveaxis(expected, 1, 3))
    parts = split_images(jax.random.key(0), found, (1, 1, 2))
    assert [len(x) for x in parts.values()] == [1, 1, 2]


@pytest.mark.parametrize("name", ["mnist", "cifar10", "imagenet64"])
def test_a_missing_file_is_named_with_its_place(name, tmp_path):
    with pytest.raises(data.DataError, match="put it there"):
        image_set(name, tmp_path)


def test_permuting_keeps_the_pixels_and_breaks_the_images():
    pool = np.repeat(np.arange(200, dtype=np.uint8)[:, None], 3, 1)
    images = ImageSet(pool, None, 200, (1, 3))
    key = jax.random.key(1)
    whole, broken = (split_images(key, images, (100, 60, 40), permuted=p) for p in (False, True))
    for parts in (whole, broken):
        together = np.concatenate(list(parts.values()))
        np.testing.assert_array_equal(np.sort(together, 0), pool)
    assert (whole["train"][:, 0] == whole["train"][:, 1]).all()
    assert (broken["train"][:, 0] == broken["train"][:, 1]).mean() < 0.1


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="name: expected one of"):
        image_set("svhn")
    with pytest.raises(ValueError, match="sizes: expected three"):
        split_images(jax.random.key(0), image_set("digits"), (1700, 97, 1))


def test_a_density_is_fitted_and_validation_chooses():
    model = Model(
        lambda key, x: {"mean": jnp.zeros(x.shape)},
        lambda params, x, *, key=None: jnp.square(x - params["mean"]).sum(),
    )
    train, valid = jnp.full((20, 2), 4, jnp.uint8), jnp.full((3, 2), 2, jnp.uint8)
    state = fit(image_density(model, 400, batch=5, rate=0.05, every=10), jax.random.key(0), 400, train, valid).state
    assert jnp.abs(state.state.fit.params["mean"] - 4).max() < 0.2
    assert jnp.abs(state.best.fit.params["mean"] - 2).max() < 0.4
