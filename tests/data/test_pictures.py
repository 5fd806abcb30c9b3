"""Pictures, against the packages they come from."""

import hashlib

import numpy as np
import pytest

from jaxzoo import extras
from jaxzoo.data import PICTURES, DataError, lfw_subset, picture


def peer(name):
    if name in ("china", "flower"):
        return pytest.importorskip("sklearn.datasets").load_sample_image(f"{name}.jpg")
    data = pytest.importorskip("skimage.data")
    if name.startswith("motorcycle"):
        return data.stereo_motorcycle()[name == "motorcycle_right"]
    return getattr(data, name)()


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_equal_their_packages(name):
    ours, theirs = picture(name), peer(name)
    theirs = theirs / 255 if theirs.dtype == np.uint8 else theirs.astype(float)
    np.testing.assert_allclose(ours.image, theirs, rtol=0, atol=1e-7)
    assert ours.image.dtype == np.float32
    assert ours.image.min() >= 0
    assert ours.image.max() <= 1
    assert ours.licence
    assert ours.source


def test_faces_and_background():
    faces = lfw_subset()
    np.testing.assert_allclose(faces.x, pytest.importorskip("skimage.data").lfw_subset(), rtol=1e-6)
    assert faces.y.tolist() == [1] * 100 + [0] * 100
    assert faces.x.dtype == np.float32


def test_a_picture_that_is_not_there():
    with pytest.raises(ValueError, match=r"name: expected one of astronaut, .*text; got 'lena'"):
        picture("lena")


def test_another_file_than_the_known_one_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "data" / "camera.png"
    path.parent.mkdir()
    path.write_bytes(b"another picture")
    monkeypatch.setattr(extras, "folder", lambda package, extra: tmp_path)
    with pytest.raises(DataError, match=rf"camera\.png.*got {hashlib.sha256(b'another picture').hexdigest()}"):
        picture("camera")
