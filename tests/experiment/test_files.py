import errno
import json
import math
import os
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.experiment.files import StorageError, encode, read_json, write_json


def test_a_value_comes_back(tmp_path):
    value = {"a": [1, 2.5, None, True, "é\u2028\x00"], "b": {"c": []}, "big": 2**70, "tiny": 5e-324, "third": 1 / 3}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_arrays_tuples_and_numpy_numbers_become_lists_and_numbers():
    value = {"a": np.arange(4.0).reshape(2, 2), "b": (np.int64(3), np.bool_(True)), "c": jnp.ones(2, jnp.bfloat16)}
    assert json.loads(encode(value)) == {"a": [[0.0, 1.0], [2.0, 3.0]], "b": [3, True], "c": [1.0, 1.0]}


def test_numbers_that_are_not_finite_become_strings_that_float_reads():
    value = [math.nan, math.inf, -math.inf, np.float32("nan"), np.array([np.inf])]
    text = json.loads(encode(value))
    assert text == ["nan", "inf", "-inf", "nan", ["inf"]]
    assert math.isnan(float(text[0]))
    assert float(text[2]) == -math.inf


def test_a_name_that_is_no_utf_8_comes_back():
    name = os.fsdecode(b"caf\xe9")
    assert json.loads(encode([name])) == [name]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {2}]}, r"value\.a\[1\]: .* got set"),
        ({"a": {3: 1}}, r"value\.a: expected string keys, got 3"),
        ([1j], r"value\[0\]: .* got complex"),
        ([b"x"], r"value\[0\]: .* got bytes"),
        ([np.array([1j])], r"value\[0\]\[0\]: .* got complex"),
    ],
)
def test_what_json_does_not_know_is_refused_and_named(tmp_path, value, message):
    with pytest.raises(TypeError, match=message):
        write_json(tmp_path / "x.json", value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n "b" 2}', "expected strict JSON: .*line 2 column 6"),
        (b"[NaN]", "NaN is not a number of JSON"),
        (b"[-Infinity]", "-Infinity is not a number of JSON"),
        (b"\xff\xfe", "expected strict JSON: .*utf-8"),
        (b"", "expected strict JSON: .*line 1 column 1"),
        (b"[" * 200_000, "nested too deeply"),
        (b"9" * 10_000, "expected strict JSON: .*4300 digits"),
    ],
)
def test_what_is_no_strict_json_is_refused(tmp_path, content, message):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(StorageError, match=f"could not read .*x.json: .*{message}"):
        read_json(tmp_path / "x.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"could not read .*none\.json: No such file"):
        read_json(tmp_path / "none.json")


def test_a_file_above_the_limit_is_not_read(tmp_path):
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(StorageError, match="expected at most 268435456 bytes, got 1099511627776"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_failed_write_leaves_the_file_that_was_there(tmp_path, monkeypatch, call, code):
    path = tmp_path / "x.json"
    write_json(path, 1)

    def fail(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError, match=f"could not write .*x.json: {os.strerror(code)}; .* is untouched"):
        write_json(path, 2)
    with pytest.raises(StorageError, match="there was no such file before"):
        write_json(tmp_path / "y.json", 2)
    monkeypatch.undo()
    assert read_json(path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_what_a_killed_writer_left_is_overwritten(tmp_path):
    (tmp_path / ".x.json.tmp").write_text("half a va")
    write_json(tmp_path / "x.json", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"could not write .*none/x\.json: No such file or directory"):
        write_json(tmp_path / "none" / "x.json", 1)


def test_the_module_does_not_import_jax():
    source = pathlib.Path(encode.__code__.co_filename).read_text()
    assert not [line for line in source.splitlines() if line.startswith(("import jax", "from jax"))]


def test_the_layout_is_json_with_lists_of_numbers_on_one_line():
    value = {"a": [1, 2.5, None], "b": {"c": [[1, 2], [3, 4]], "d": [], "e": {}}, "f": [{"g": True}, "h"]}
    text = encode(value).decode()
    assert json.loads(text) == value
    assert text == (
        '{\n  "a": [1, 2.5, null],\n  "b": {\n    "c": [\n      [1, 2],\n      [3, 4]\n    ],\n    "d": [],\n'
        '    "e": {}\n  },\n  "f": [\n    {\n      "g": true\n    },\n    "h"\n  ]\n}\n'
    )
