"""Weights in safetensors files: one or shards, and every damage told by the file's name."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxzoo.data import DataError, json_file, safetensors_arrays

ARRAYS = {
    "wte.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "h.0.bias": np.ones(3, np.float16),
    "h.1.bias": np.full(2, 1.5, ml_dtypes.bfloat16),
}
INDEX = "model.safetensors.index.json"


@pytest.fixture
def net(tmp_path):
    """The folder of a network whose weights lie in two shards."""
    folder = tmp_path / "net"
    folder.mkdir()
    save_file({"wte.weight": ARRAYS["wte.weight"]}, folder / "a.safetensors")
    save_file({name: ARRAYS[name] for name in ("h.0.bias", "h.1.bias")}, folder / "b.safetensors")
    index(folder, {"wte.weight": "a.safetensors", "h.0.bias": "b.safetensors", "h.1.bias": "b.safetensors"})
    return folder


def index(folder, weight_map):
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def assert_same(found):
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_shards_and_one_file_hold_the_same(net):
    assert_same(safetensors_arrays(net.parent, "net"))
    (net / INDEX).unlink()
    save_file(ARRAYS, net / "model.safetensors")
    assert_same(safetensors_arrays(net.parent, "net"))


def test_what_is_missing_is_told_by_name(net):
    with pytest.raises(DataError, match=r"missing file: gpt2/model.safetensors or gpt2/model.safetensors.index.json"):
        safetensors_arrays(net.parent, "gpt2")
    (net / "b.safetensors").unlink()
    with pytest.raises(DataError, match=r"missing file: net/b.safetensors .* named in model.safetensors.index.json"):
        safetensors_arrays(net.parent, "net")
    index(net, {"h.3.bias": "a.safetensors"})
    with pytest.raises(DataError, match=r"a.safetensors: expected the array 'h.3.bias'"):
        safetensors_arrays(net.parent, "net")


@pytest.mark.parametrize("file", ["../a.safetensors", "a.bin", 3, "/etc/a.safetensors"])
def test_an_index_names_files_of_its_own_folder(net, file):
    index(net, {"wte.weight": file})
    with pytest.raises(DataError, match=r"'wte.weight': expected a .safetensors file of the same folder"):
        safetensors_arrays(net.parent, "net")


@pytest.mark.parametrize("content", ["{}", '{"weight_map": []}', "[1]", "{", "\udcff"])
def test_a_damaged_index_is_refused(net, content):
    (net / INDEX).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=INDEX):
        safetensors_arrays(net.parent, "net")


@pytest.mark.parametrize("cut", [0, 4, 40, -1])
def test_a_damaged_file_is_refused(net, cut):
    whole = (net / "b.safetensors").read_bytes()
    (net / "b.safetensors").write_bytes(whole[:cut])
    with pytest.raises(DataError, match=r"b.safetensors: can't be read"):
        safetensors_arrays(net.parent, "net")


def test_json_objects(tmp_path):
    (tmp_path / "config.json").write_text('{"n_layer": 12}')
    assert json_file(tmp_path, "config.json", called="sizes") == {"n_layer": 12}
    with pytest.raises(DataError, match=r"missing file: vocab.json .* It is the vocabulary"):
        json_file(tmp_path, "vocab.json", called="the vocabulary")
