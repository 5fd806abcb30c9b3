"""Pictures in class folders, written here in that form."""

import numpy as np
import pytest
from PIL import Image

from jaxzoo import data


def write(path, color, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def test_pictures_come_resized_by_class(tmp_path):
    write(tmp_path / "train" / "b" / "one.png", (255, 0, 0))
    write(tmp_path / "train" / "a" / "two.jpg", (0, 0, 255), (16, 64))
    write(tmp_path / "train" / "a" / "one.png", (0, 255, 0), (9, 9))
    (tmp_path / "train" / "a" / "notes.txt").write_text("not a picture")
    found = data.image_folder(tmp_path, "train", side=16)
    assert found.x.shape == (3, 16, 16, 3)
    assert found.x.dtype == np.uint8
    assert found.y.tolist() == [0, 0, 1]
    assert found.target_names == ("a", "b")
    np.testing.assert_array_equal(found.x[0], np.broadcast_to([0, 255, 0], (16, 16, 3)))
    np.testing.assert_array_equal(found.x[2], np.broadcast_to([255, 0, 0], (16, 16, 3)))


def test_the_middle_is_cut_out(tmp_path):
    path = tmp_path / "val" / "x" / "wide.png"
    write(path, (0, 0, 0), (100, 32))
    with Image.open(path) as picture:
        picture.paste((255, 255, 255), (40, 0, 60, 32))
        picture.save(path)
    (row,) = data.image_folder(tmp_path, "val", side=28).x
    assert row[:, 10:18].min() > 200
    assert row[:, :3].max() < 50


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(data.DataError, match=r"train: folder not found; put pictures there"):
        data.image_folder(tmp_path, "train")
    (tmp_path / "train" / "empty").mkdir(parents=True)
    with pytest.raises(data.DataError, match="found none"):
        data.image_folder(tmp_path, "train")
    (tmp_path / "train" / "empty" / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(data.DataError, match=r"broken.jpg: expected a picture"):
        data.image_folder(tmp_path, "train")
