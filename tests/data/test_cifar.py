"""CIFAR's binary version: what is read, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxzoo.data import DataError, cifar_binary
from jaxzoo.data.cifar import read_batch

ROWS = 4


def batch(label_bytes, classes, rows=ROWS, seed=0):
    """Rows in the binary format: labels, then the red, green and blue plane of a 32 x 32 image."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, (rows, label_bytes), dtype=np.uint8)
    planes = random.integers(0, 256, (rows, 3, 32, 32), dtype=np.uint8)
    return labels, planes, np.concatenate([labels, planes.reshape(rows, -1)], axis=1).tobytes()


@pytest.fixture
def folder(tmp_path):
    for name in ("cifar-10-batches-bin", "cifar-100-binary"):
        (tmp_path / name).mkdir()
    for i, name in enumerate([f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]):
        (tmp_path / "cifar-10-batches-bin" / f"{name}.bin").write_bytes(batch(1, 10, seed=i)[2])
    (tmp_path / "cifar-100-binary" / "train.bin").write_bytes(batch(2, 100, 5 * ROWS, seed=6)[2])
    (tmp_path / "cifar-100-binary" / "test.bin").write_bytes(batch(2, 100, seed=7)[2])
    return tmp_path


def test_cifar10_is_read_batch_after_batch(folder):
    train, test = cifar_binary(folder, 10, rows=ROWS)
    assert (train.x.shape, test.x.shape) == ((20, 32, 32, 3), (4, 32, 32, 3))
    assert (train.x.dtype, train.y.dtype) == (np.float32, np.int32)
    for i in range(5):
        labels, planes, _ = batch(1, 10, seed=i)
        part = slice(i * ROWS, (i + 1) * ROWS)
        np.testing.assert_array_equal(train.y[part], labels[:, 0])
        np.testing.assert_array_equal(np.moveaxis(train.x[part], 3, 1), planes.astype(np.float32) / 255)
    assert (train.name, test.name) == ("cifar10/training", "cifar10/test")


def test_cifar100_has_the_fine_labels(folder):
    train, test = cifar_binary(folder, 100, rows=ROWS)
    np.testing.assert_array_equal(train.y, batch(2, 100, 5 * ROWS, seed=6)[0][:, 1])
    np.testing.assert_array_equal(np.moveaxis(test.x, 3, 1), batch(2, 100, seed=7)[1].astype(np.float32) / 255)


def test_other_sizes_than_the_published_are_refused_unless_asked_for(folder):
    with pytest.raises(
        DataError, match=r"data_batch_1\.bin: expected 10000 rows of 3073 bytes, 30730000 in all, got 12292"
    ):
        cifar_binary(folder, 10)


def test_a_missing_batch_is_named(folder):
    (folder / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    with pytest.raises(
        DataError, match=r"missing file: cifar-10-batches-bin/data_batch_3\.bin .*cifar-10-binary\.tar\.gz"
    ):
        cifar_binary(folder, 10, rows=ROWS)


def test_a_label_too_large_is_refused(tmp_path):
    content = bytearray(batch(1, 10)[2])
    content[0] = 10
    path = tmp_path / "batch.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"batch\.bin: expected labels 0 to 9, got 10"):
        read_batch(path, 1, 10, ROWS)


def test_there_is_no_cifar_20(folder):
    with pytest.raises(ValueError, match="which: expected 10 or 100, got 20"):
        cifar_binary(folder, 20)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("cifar") / "batch.bin"


@settings(derandomize=True, max_examples=200, deadline=None)
@given(label=st.integers(0, 255), size=st.one_of(st.integers(0, 3 * 3073), st.just(2 * 3073)))
def test_no_input_does_more_than_raise_data_error(scratch, label, size):
    scratch.write_bytes((bytes([label]) + batch(1, 10, 3)[2][1:])[:size])
    if size == 2 * 3073 and label < 10:
        assert read_batch(scratch, 1, 10, 2)[1][0] == label
    else:
        with pytest.raises(DataError, match=r"batch\.bin: expected"):
            read_batch(scratch, 1, 10, 2)
