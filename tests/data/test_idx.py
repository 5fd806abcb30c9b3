"""IDX files: what is read, and what is refused before memory is allocated."""

import gzip
import hashlib
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxzoo.data import DataError, mnist_idx
from jaxzoo.data.idx import read_idx


def idx(array, type_code=8):
    """The bytes of an IDX file."""
    return bytes([0, 0, type_code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 5, 4), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A small set in the format and under the names of MNIST."""
    (tmp_path / "mnist").mkdir()
    for prefix, n in (("train", 7), ("t10k", 3)):
        (tmp_path / "mnist" / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images(n)))
        (tmp_path / "mnist" / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(n, dtype=np.uint8)))
    return tmp_path


def test_mnist_is_read(folder):
    train, test = mnist_idx(folder)
    np.testing.assert_array_equal(train.x, images(7).astype(np.float32) / 255)
    np.testing.assert_array_equal(test.x, images(3).astype(np.float32) / 255)
    assert train.y.tolist() == list(range(7))
    assert (train.x.dtype, train.y.dtype) == (np.float32, np.int32)
    assert (train.name, test.name) == ("mnist/training", "mnist/test")
    content = idx(images(7)) + idx(np.arange(7, dtype=np.uint8))
    assert train.sha256 == hashlib.sha256(content).hexdigest()


def test_gzipped_files_and_other_sets_are_read(folder):
    (folder / "mnist").rename(folder / "fashion")
    for path in list((folder / "fashion").iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    train, _ = mnist_idx(folder, "fashion")
    np.testing.assert_array_equal(train.x, images(7).astype(np.float32) / 255)


def test_a_missing_file_is_named(folder):
    (folder / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    message = (
        r"missing file: mnist/t10k-labels-idx1-ubyte or mnist/t10k-labels-idx1-ubyte\.gz in the data folder .*"
        "the test set's labels of mnist, an IDX file"
    )
    with pytest.raises(DataError, match=message):
        mnist_idx(folder)


def test_images_and_labels_must_agree_in_number(folder):
    (folder / "mnist" / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(6, dtype=np.uint8)))
    with pytest.raises(DataError, match=r"holds 7 images, but .* 6 labels"):
        mnist_idx(folder)


HOSTILE = {
    "nothing": (b"", "got nothing"),
    "another type": (idx(images(2), type_code=13), "expected the first bytes 00 00 08 03"),
    "labels for images": (idx(np.arange(9, dtype=np.uint8)), "expected the first bytes"),
    "header cut off": (idx(images(2))[:10], "cut off in its header"),
    "one byte short": (idx(images(2))[:-1], r"declares \(2, 5, 4\)"),
    "one byte more": (idx(images(2)) + b"\0", r"declares \(2, 5, 4\)"),
    "a huge count": (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**32 - 1, 28, 28) + bytes(100), "declares"),
    "a negative count": (bytes([0, 0, 8, 3]) + struct.pack(">3i", -1, 28, 28) + bytes(100), "declares"),
    "no images": (bytes([0, 0, 8, 3]) + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1), "declares"),
}


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path, case, compressed):
    content, message = HOSTILE[case]
    path = tmp_path / f"images{'.gz' if compressed else ''}"
    path.write_bytes(gzip.compress(content) if compressed else content)
    with pytest.raises(DataError, match=message) as error:
        read_idx(path, 3)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_no_memory_is_allocated_for_what_is_not_there(tmp_path, compressed):
    content = bytes([0, 0, 8, 3]) + struct.pack(">3I", 60_000, 10_000, 10_000) + bytes(1000)
    path = tmp_path / f"images{'.gz' if compressed else ''}"
    path.write_bytes(gzip.compress(content) if compressed else content)
    tracemalloc.start()
    with pytest.raises(DataError, match="declares"):
        read_idx(path, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


def test_a_decompression_bomb_is_refused(tmp_path):
    bomb = idx(np.zeros((1000, 100, 100), np.uint8))
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(bomb))
    assert path.stat().st_size < len(bomb) / 500
    with pytest.raises(DataError, match="does not fit the file"):
        read_idx(path, 3)


def test_a_damaged_gzip_file_is_told(tmp_path):
    content = bytearray(gzip.compress(idx(images(200))))
    path = tmp_path / "images.gz"
    path.write_bytes(content[:-20])
    with pytest.raises(DataError, match="damaged or cut off"):
        read_idx(path, 3)
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_idx(path, 3)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("idx")


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6),
    end=st.integers(0, 200),
    compressed=st.booleans(),
    unpacked_first=st.booleans(),
)
def test_no_input_does_more_than_raise_data_error(scratch, changes, end, compressed, unpacked_first):
    valid = idx(images(3))
    content = bytearray(valid if unpacked_first or not compressed else gzip.compress(valid, mtime=0))
    for place, value in changes:
        content[place % len(content)] = value
    content = bytes(content[: max(0, len(content) - end // 2)])
    path = scratch / ("fuzz.gz" if compressed else "fuzz")
    path.write_bytes(gzip.compress(content, mtime=0) if compressed and unpacked_first else content)
    refusal = None
    try:
        array = read_idx(path, 3)
    except DataError as error:
        refusal = str(error)
    if refusal is None:
        assert array.size <= 100 * path.stat().st_size
    else:
        assert str(path) in refusal
