"""ImageNet scaled down: both kinds of file give the same images, and a pickle can't do harm."""

import os
import pickle

import numpy as np
import pytest

from jaxzoo.data import DataError, downsampled_imagenet
from jaxzoo.data.old_pickles import old_fields

SIDE, ROWS = 8, 4


def batch(seed, n=ROWS):
    random = np.random.default_rng(seed)
    planes = random.integers(0, 256, (n, 3 * SIDE**2), dtype=np.uint8)
    return {"data": planes, "labels": random.integers(1, 1001, n).tolist(), "mean": planes.mean(0)}


NAMES = (*(f"train_data_batch_{i}" for i in range(1, 11)), "val_data")


def write(folder, protocol=None):
    (folder / f"imagenet{SIDE}").mkdir()
    for seed, name in enumerate(NAMES):
        path = folder / f"imagenet{SIDE}" / name
        if protocol is None:
            np.savez(path, **batch(seed))
        else:
            path.write_bytes(pickle.dumps(batch(seed), protocol=protocol))
    return folder


@pytest.mark.parametrize("protocol", [None, 2, 3, 4])
def test_archives_and_pickles_give_the_images(tmp_path, protocol):
    train, valid = downsampled_imagenet(write(tmp_path, protocol), SIDE)
    assert (train.x.shape, valid.x.shape) == ((10 * ROWS, SIDE, SIDE, 3), (ROWS, SIDE, SIDE, 3))
    assert (train.x.dtype, train.y.dtype) == (np.uint8, np.int32)
    for seed, part in ((2, slice(2 * ROWS, 3 * ROWS)), (10, slice(None))):
        found, expected = valid if seed == 10 else train, batch(seed)
        np.testing.assert_array_equal(np.moveaxis(found.x[part], 3, 1).reshape(ROWS, -1), expected["data"])
        np.testing.assert_array_equal(found.y[part] + 1, expected["labels"])
    assert (train.name, valid.name) == ("imagenet8/training", "imagenet8/validation")


def test_batches_are_read_until_there_are_enough_images(tmp_path):
    folder = write(tmp_path)
    (folder / f"imagenet{SIDE}" / "train_data_batch_3.npz").unlink()
    train, _ = downsampled_imagenet(folder, SIDE, rows=2 * ROWS - 1)
    assert len(train.x) == len(train.y) == 2 * ROWS - 1
    with pytest.raises(DataError, match=r"missing file: imagenet8/train_data_batch_3\.npz or imagenet8/train_data_ba"):
        downsampled_imagenet(folder, SIDE, rows=2 * ROWS + 1)


def test_too_few_images_are_an_error(tmp_path):
    with pytest.raises(DataError, match="expected 41 training images, its 10 batches have 40"):
        downsampled_imagenet(write(tmp_path), SIDE, rows=41)


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


DAMAGED = {
    "a call": (pickle.dumps({"data": Harm()}), r"it names \w+\.mkdir"),
    "cut off": (pickle.dumps(batch(0), 2)[:500], "can't be read"),
    "no pickle": (b"\x89PNG", "can't be read"),
    "a list": (pickle.dumps([1, 2]), "expected a dict, got list"),
    "no labels": (pickle.dumps({"data": 1}), "expected 'data' and 'labels' in it, got 'data'"),
    "floats": (pickle.dumps(batch(0) | {"data": np.zeros((4, 192))}, 4), r"expected 'data' to be uint8 \[n, 192\]"),
    "other side": (pickle.dumps(batch(0) | {"data": np.zeros((4, 27), np.uint8)}, 4), r"got uint8 \[4, 27\]"),
    "few labels": (pickle.dumps(batch(0) | {"labels": [1]}, 4), "expected 4 whole numbers as 'labels'"),
    "a label 0": (pickle.dumps(batch(0) | {"labels": [0, 1, 2, 3]}, 4), "expected labels 1 to 1000, got 0 to 3"),
}


@pytest.mark.parametrize(("content", "says"), DAMAGED.values(), ids=DAMAGED)
def test_what_is_not_a_batch_is_refused(tmp_path, monkeypatch, content, says):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, 4) / f"imagenet{SIDE}" / "train_data_batch_1"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"train_data_batch_1: .*{says}"):
        downsampled_imagenet(tmp_path, SIDE)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("seed", range(8))
def test_no_damage_does_more_than_raise_data_error(tmp_path, seed):
    random, path = np.random.default_rng(seed), tmp_path / "batch"
    whole = pickle.dumps(batch(0), protocol=2 + seed % 3)
    refused = 0
    for _ in range(40):
        content = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            content[place] = random.integers(0, 256)
        path.write_bytes(bytes(content[: random.integers(1, 2 * len(whole))]))
        try:
            old_fields(path, 1 << 20)  # any other error fails the test
        except DataError:
            refused += 1
    assert refused > 0


def test_a_file_too_large_is_not_read(tmp_path):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps(batch(0), protocol=4))
    with pytest.raises(DataError, match=f"batch: expected at most 100 bytes, got {path.stat().st_size}"):
        old_fields(path, 100)


def test_there_is_no_side_of_20(tmp_path):
    with pytest.raises(ValueError, match="side: expected one of 8, 16, 32, 64, got 20"):
        downsampled_imagenet(tmp_path, 20)
