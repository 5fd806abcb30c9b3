"""Token ids: both formats, mapped, and every damage told by the file's name."""

import numpy as np
import pytest

from jaxzoo.data import DataError, token_file

IDS = np.array([5, 50256, 0, 7, 65535], np.uint16)


def test_raw_ids_are_mapped_little_endian(tmp_path):
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "train.bin").write_bytes(b"\x05\x00\x50\xc4\x00\x00")
    tokens = token_file(tmp_path, "gpt2/train")
    assert isinstance(tokens, np.memmap)
    np.testing.assert_array_equal(tokens, [5, 50256, 0])


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, ">u2"])
def test_numpy_files_hold_the_same(tmp_path, dtype):
    np.save(tmp_path / "val.npy", IDS.astype(dtype))
    tokens = token_file(tmp_path, "val", most=4)
    assert isinstance(tokens, np.memmap)
    np.testing.assert_array_equal(tokens, IDS[:4])


def test_only_what_is_returned_is_held_against_the_vocabulary(tmp_path):
    IDS.tofile(tmp_path / "train.bin")
    assert len(token_file(tmp_path, "train", vocabulary=50257, most=4)) == 4
    with pytest.raises(DataError, match=r"train.bin: expected token ids of 0 to 50256, got 65535"):
        token_file(tmp_path, "train", vocabulary=50257)


def test_a_missing_file_is_told_with_its_place(tmp_path):
    with pytest.raises(DataError, match=r"missing file: gpt2/train.bin or gpt2/train.npy in the data folder"):
        token_file(tmp_path, "gpt2/train")


@pytest.mark.parametrize("content", [b"", b"\x01\x02\x03"])
def test_half_an_id_is_refused(tmp_path, content):
    (tmp_path / "train.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"train.bin: (expected ids of 2 bytes|can't be read)"):
        token_file(tmp_path, "train")


@pytest.mark.parametrize("array", [np.zeros((2, 3), np.int32), np.zeros(3), np.zeros(0, np.int32), np.array([-1])])
def test_other_arrays_are_refused(tmp_path, array):
    np.save(tmp_path / "train.npy", array)
    with pytest.raises(DataError, match=r"train.npy: expected"):
        token_file(tmp_path, "train")


@pytest.mark.parametrize("cut", [5, 60, -1])
def test_a_damaged_numpy_file_is_refused(tmp_path, cut):
    np.save(tmp_path / "whole.npy", IDS)
    (tmp_path / "train.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:cut])
    with pytest.raises(DataError, match=r"train.npy: can't be read"):
        token_file(tmp_path, "train")
