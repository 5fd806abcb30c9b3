"""Pictures in one file on disk, made here of small class folders."""

import numpy as np
import pytest
from PIL import Image

from jaxzoo import data


def write(path, color, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "train" / "b" / "one.png", (255, 0, 0), (40, 20))
    write(tmp_path / "train" / "a" / "one.jpg", (0, 0, 255), (16, 32))
    write(tmp_path / "train" / "a" / "two.png", (0, 255, 0), (9, 9))
    return tmp_path


def test_whole_pictures_are_squeezed_and_their_shape_remembered(folder):
    found = data.image_store(folder, "train", side=8)
    assert (found.x.shape, found.x.dtype) == ((3, 8, 8, 3), np.uint8)
    assert isinstance(found.x, np.memmap)
    assert found.y.tolist() == [0, 0, 1]
    assert found.aspect.tolist() == [0.5, 1, 2]
    assert found.target_names == ("a", "b")
    red, green = found.x[np.array([2, 1])]
    assert (red == [255, 0, 0]).all()
    assert (green == [0, 255, 0]).all()


def test_the_file_is_made_once_and_whole(folder):
    first = data.image_store(folder, "train", side=8)
    for path in sorted((folder / "train").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    again = data.image_store(folder, "train", side=8)
    np.testing.assert_array_equal(again.x, first.x)
    assert sorted(path.name for path in folder.iterdir()) == ["train", "train-8.npy", "train-8.npz"]
    with pytest.raises(data.DataError, match="found none"):
        data.image_store(folder, "train", side=9)


def test_damaged_files_are_named(folder):
    (folder / "train" / "a" / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(data.DataError, match=r"broken.jpg: expected a picture"):
        data.image_store(folder, "train", side=8)
    assert not list(folder.glob("train-8*"))
    (folder / "train" / "a" / "broken.jpg").unlink()
    data.image_store(folder, "train", side=8)
    np.save(folder / "train-8.npy", np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(data.DataError, match=r"expected 3 pictures of 8x8 uint8, got uint8\[2, 8, 8, 3\]; delete it"):
        data.image_store(folder, "train", side=8)
    (folder / "train-8.npy").write_bytes(b"cut off")
    with pytest.raises(data.DataError, match=r"train-8.npy: can't be read"):
        data.image_store(folder, "train", side=8)
    with pytest.raises(data.DataError, match=r"val: folder not found; put pictures there"):
        data.image_store(folder, "val")
