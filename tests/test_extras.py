"""Optional dependencies: a missing one is named with its extra; a broken one is not hidden."""

import json.decoder

import pytest

from jaxzoo import extras


def test_require_returns_the_module():
    assert extras.require("json.decoder", "data") is json.decoder


@pytest.mark.parametrize("name", ["no_such_package", "no_such_package.part", "json.no_such_part"])
def test_require_names_the_extra(name):
    with pytest.raises(ImportError, match=r'this needs pip install "jaxzoo\[data\]"'):
        extras.require(name, "data")


def test_require_does_not_hide_a_broken_module(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("import something_it_lacks")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="something_it_lacks"):
        extras.require("broken_module", "data")


def test_folder_does_not_import(tmp_path, monkeypatch):
    (tmp_path / "costly_package").mkdir()
    (tmp_path / "costly_package" / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert extras.folder("costly_package", "data") == tmp_path / "costly_package"


def test_folder_names_the_extra():
    with pytest.raises(ImportError, match=r'no_such_package is not installed: this needs pip install "jaxzoo\[data\]"'):
        extras.folder("no_such_package", "data")
