"""The folder of the user's own data: how it is named, and how a missing file is told."""

import pytest

from jaxzoo.data import DataError, data_folder, find_file


def test_the_argument_counts_before_the_variable(tmp_path, monkeypatch):
    argument, variable = tmp_path / "argument", tmp_path / "variable"
    argument.mkdir()
    variable.mkdir()
    monkeypatch.setenv("JAXZOO_DATA", str(variable))
    assert data_folder(str(argument)) == argument
    assert data_folder() == variable


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_folder_the_error_says_how_to_name_one(monkeypatch, value):
    monkeypatch.delenv("JAXZOO_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("JAXZOO_DATA", value)
    with pytest.raises(DataError, match="--data DIR, or set JAXZOO_DATA=DIR"):
        data_folder()


def test_a_folder_that_is_none_is_told_with_its_origin(tmp_path, monkeypatch):
    missing = tmp_path / "missing"
    with pytest.raises(DataError, match=f"--data: expected an existing folder, got {missing}"):
        data_folder(missing)
    monkeypatch.setenv("JAXZOO_DATA", str(missing))
    with pytest.raises(DataError, match=f"JAXZOO_DATA: expected an existing folder, got {missing}"):
        data_folder()


def test_the_first_candidate_that_exists_is_found(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "b").write_text("b")
    assert find_file(tmp_path, "set/a", "set/b", called="x") == tmp_path / "set" / "b"
    (tmp_path / "set" / "a").write_text("a")
    assert find_file(tmp_path, "set/a", "set/b", called="x") == tmp_path / "set" / "a"


def test_a_missing_file_is_told_with_its_place_and_what_it_is(tmp_path):
    with pytest.raises(
        DataError, match=rf"missing file: set/a or set/b in the data folder {tmp_path}\. It is the test set;"
    ):
        find_file(tmp_path, "set/a", "set/b", called="the test set")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "set/../../secret", "set\\..\\..\\secret", "a\0b"])
def test_paths_that_lead_out_are_refused(tmp_path, name):
    (tmp_path / "secret").write_text("secret")
    inside = tmp_path / "folder"
    inside.mkdir()
    with pytest.raises(DataError, match="expected a path inside the data folder"):
        find_file(inside, name, called="x")
