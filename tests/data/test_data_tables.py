"""The small real sets, against the packages they come from; and refusal of changed bytes."""

import hashlib

import numpy as np
import pytest

from jaxzoo.data import DataError, breast_cancer, diabetes, digits, iris, linnerud, wine
from jaxzoo.data.dataset import read_checked
from jaxzoo.data.tables import FILES

TABLES = (breast_cancer, diabetes, iris, linnerud, wine)


@pytest.fixture(scope="module")
def peer():
    return pytest.importorskip("sklearn.datasets")


def test_digits_equal_scikit_learn(peer):
    ours, theirs = digits(), peer.load_digits()
    np.testing.assert_array_equal(ours.x * 16, theirs.images)
    np.testing.assert_array_equal(ours.y, theirs.target)
    assert ours.x.dtype == np.float32
    assert ours.y.dtype == np.int32
    assert (ours.x.min(), ours.x.max()) == (0, 1)


@pytest.mark.parametrize("load", TABLES, ids=lambda load: load.__name__)
def test_tables_equal_scikit_learn(peer, load):
    options = {"scaled": False} if load is diabetes else {}
    ours, theirs = load(), getattr(peer, f"load_{load.__name__}")(**options)
    np.testing.assert_array_equal(ours.x, theirs.data.astype(np.float32))
    np.testing.assert_array_equal(ours.y, theirs.target)
    assert ours.feature_names == tuple(theirs.feature_names)
    assert ours.x.dtype == np.float32
    assert ours.y.dtype == (np.float32 if load in (diabetes, linnerud) else np.int32)


@pytest.mark.parametrize("load", [digits, *TABLES], ids=lambda load: load.__name__)
def test_provenance(load):
    dataset = load()
    assert dataset.name == load.__name__
    assert dataset.licence
    assert dataset.source
    assert dataset.sha256 == hashlib.sha256((FILES / f"{dataset.name}.npz").read_bytes()).hexdigest()


def test_arrays_may_be_written_to_without_changing_the_next_load():
    dataset = iris()
    dataset.x[:] = -1
    assert iris().x.min() > 0


def test_changed_bytes_are_refused_by_name(tmp_path):
    path = tmp_path / "table.npz"
    path.write_bytes(b"content")
    expected = hashlib.sha256(b"content").hexdigest()
    assert read_checked(path, expected) == b"content"
    path.write_bytes(b"c0ntent")
    found = hashlib.sha256(b"c0ntent").hexdigest()
    with pytest.raises(DataError, match=rf"table\.npz.*expected sha256 {expected}, got {found}"):
        read_checked(path, expected)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"table\.npz: file not found"):
        read_checked(tmp_path / "table.npz", "00")


def test_carried_files_stay_small_and_have_a_licence():
    files = [path for path in FILES.iterdir() if not path.name.startswith("LICENCE")]
    assert sum(path.stat().st_size for path in files) < 400_000
    notice = (FILES / "LICENCES.md").read_text()
    assert [path.name for path in files if path.name not in notice] == []
