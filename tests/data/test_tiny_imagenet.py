"""Tiny-ImageNet's folders, written here in that form."""

import numpy as np
import pytest
from PIL import Image

from jaxzoo.data import DataError, tiny_imagenet

WNIDS = ("n02", "n01", "n03")


def write(path, color, mode="RGB", side=64):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (side, side), color).save(path, "JPEG")


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    for label, wnid in enumerate(WNIDS):
        for i in range(2):
            write(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", (80 * label, 0, 120 * i))
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t9\t9\n")
    write(root / "val" / "images" / "val_0.JPEG", 200, "L")
    write(root / "val" / "images" / "val_1.JPEG", (0, 255, 0))
    rows = ["val_1.JPEG\tn01\t0\t0\t9\t9", "val_0.JPEG\tn03\t1\t1\t9\t9"]
    (root / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
    (root / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    return tmp_path


def test_both_parts_have_the_classes_in_the_order_of_the_list(folder):
    train, val = tiny_imagenet(folder)
    assert (train.x.shape, train.x.dtype, val.x.shape) == ((6, 64, 64, 3), np.uint8, (2, 64, 64, 3))
    assert train.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert val.y.tolist() == [1, 2]
    assert train.target_names == WNIDS
    np.testing.assert_allclose(
        train.x[:, 5, 5].astype(int), [[80 * (i // 2), 0, 120 * (i % 2)] for i in range(6)], atol=4
    )
    np.testing.assert_array_equal(val.x[1], np.full((64, 64, 3), 200))  # a grey picture has three equal channels
    assert val.x[0, 0, 0, 1] > 250


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("wnids.txt", r"missing file: tiny-imagenet-200/wnids\.txt .*tiny-imagenet-200\.zip"),
        ("val/val_annotations.txt", r"missing file: tiny-imagenet-200/val/val_annotations\.txt"),
        ("val/images/val_0.JPEG", r"missing file: tiny-imagenet-200/val/images/val_0\.JPEG"),
    ],
)
def test_a_missing_file_is_named(folder, path, message):
    (folder / "tiny-imagenet-200" / path).unlink()
    with pytest.raises(DataError, match=message):
        tiny_imagenet(folder)


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("wnids.txt", b"n01\nn01\n", r"wnids\.txt: expected classes, one a row and none twice"),
        ("wnids.txt", b"n01\nn09\n", r"train.n09.images: expected pictures \(\*\.JPEG\), found none"),
        ("val/val_annotations.txt", b"val_0.JPEG\tn09\n", r"row 1: expected a picture and a class of wnids\.txt"),
        ("val/val_annotations.txt", b"\n", "expected rows of a picture and its class, found none"),
        ("val/val_annotations.txt", b"../../x\tn01\n", "expected a path inside the data folder"),
        ("val/images/val_1.JPEG", b"no picture", r"val_1\.JPEG: expected a picture"),
    ],
)
def test_a_damaged_file_is_named(folder, path, content, message):
    (folder / "tiny-imagenet-200" / path).write_bytes(content)
    with pytest.raises(DataError, match=message):
        tiny_imagenet(folder)


def test_a_picture_of_another_size_is_refused(folder):
    write(folder / "tiny-imagenet-200" / "train" / "n01" / "images" / "n01_0.JPEG", 0, side=32)
    with pytest.raises(DataError, match=r"n01_0\.JPEG: expected 64 x 64 pixels, got 32 x 32"):
        tiny_imagenet(folder)
