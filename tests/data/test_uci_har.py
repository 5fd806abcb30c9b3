"""UCI HAR: what is read, and what is refused."""

import numpy as np
import pytest

from jaxzoo.data import DataError, uci_har
from jaxzoo.data.uci_har import LENGTH, SIGNALS


def write(folder, part, labels, seed):
    """Files in the published format: numbers with an exponent, padded by blanks."""
    root = folder / "UCI HAR Dataset" / part
    (root / "Inertial Signals").mkdir(parents=True)
    (root / f"y_{part}.txt").write_text("".join(f"{label}\n" for label in labels))
    x = np.random.default_rng(seed).normal(size=(len(labels), LENGTH, len(SIGNALS)))
    for i, signal in enumerate(SIGNALS):
        lines = ["".join(f" {value: .7e}" for value in row) + "\n" for row in x[:, :, i]]
        (root / "Inertial Signals" / f"{signal}_{part}.txt").write_text("".join(lines))
    return x


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "train", (5, 1, 6, 2), 0)
    write(tmp_path, "test", (3, 4), 1)
    return tmp_path


def test_signals_and_labels(tmp_path):
    x = write(tmp_path, "train", (5, 1, 6, 2), 0)
    write(tmp_path, "test", (3, 4), 1)
    train, test = uci_har(tmp_path)
    assert (train.x.shape, test.x.shape, train.x.dtype) == ((4, 128, 9), (2, 128, 9), np.float32)
    np.testing.assert_allclose(train.x, x, rtol=1e-6)
    assert train.y.tolist() == [4, 0, 5, 1]
    assert train.feature_names[:4] == ("body_acc_x", "body_acc_y", "body_acc_z", "body_gyro_x")


def test_two_classes(folder):
    train, test = uci_har(folder, binary=True)
    # standing, walking, laying, upstairs; downstairs, sitting
    assert train.y.tolist() == [0, 0, 1, 1]
    assert test.y.tolist() == [0, 1]
    assert len(train.target_names) == 2


def test_a_missing_file_is_named(folder):
    (folder / "UCI HAR Dataset/test/Inertial Signals/body_gyro_y_test.txt").unlink()
    with pytest.raises(DataError, match=r"missing file: UCI HAR Dataset/test/Inertial Signals/body_gyro_y_test\.txt"):
        uci_har(folder)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("y_train.txt", "1\n2\n7\n3\n", r"y_train\.txt: expected labels 1 to 6, got 7"),
        ("y_train.txt", "1\n2\n3\n", r"body_acc_x_train\.txt: expected 3 rows, as many as labels, got 4"),
        ("y_train.txt", "", r"y_train\.txt: expected rows of 1 finite numbers"),
        ("y_train.txt", "one\n", r"y_train\.txt: can't be read: could not convert"),
        ("Inertial Signals/total_acc_z_train.txt", "1 2\n", r"total_acc_z_train\.txt, row 1: expected 128 numbers"),
        ("Inertial Signals/total_acc_z_train.txt", "nan " * 128, r"expected rows of 128 finite numbers"),
    ],
)
def test_hostile_files_are_refused(folder, file, text, message):
    (folder / "UCI HAR Dataset" / "train" / file).write_text(text)
    with pytest.raises(DataError, match=message):
        uci_har(folder)
