"""Weights of trained networks in safetensors files, in one or in shards, as Hugging Face keeps them."""

import json
from pathlib import Path, PurePosixPath

import numpy as np

from jaxzoo.data.dataset import DataError
from jaxzoo.data.folder import find_file, reading


def safetensors_arrays(folder: Path, name: str) -> dict[str, np.ndarray]:
    """All arrays of `folder/name/model.safetensors`, or of the shards that `model.safetensors.index.json` lists.

    Args:
      folder: the data folder, as from `data_folder`.
      name: the subfolder of the network.

    Returns:
      Name -> array, of the type in the file; bfloat16 as that of ml_dtypes.

    Raises:
      DataError: a file is missing or damaged, or a shard lacks an array that the index says it holds.
    """
    single, index = f"{name}/model.safetensors", f"{name}/model.safetensors.index.json"
    path = find_file(folder, single, index, called=f"the weights of {name}, or the index of their shards")
    if path.suffix == ".safetensors":
        return _read(path)
    shard_of = _weight_map(path)
    arrays = {}
    for shard in sorted(set(shard_of.values())):
        wanted = [array for array, file in shard_of.items() if file == shard]
        called = f"a shard of the weights of {name}, named in {path.name}"
        part_path = find_file(folder, f"{name}/{shard}", called=called)
        part = _read(part_path)
        missing = sorted(set(wanted) - set(part))
        if missing:
            raise DataError(f"{part_path}: expected the array {missing[0]!r}, which {path.name} says it holds")
        arrays |= {array: part[array] for array in wanted}
    return arrays


def json_file(folder: Path, name: str, *, called: str) -> dict:
    """The object in `folder/name`, a JSON file.

    Raises:
      DataError: the file is missing or damaged, or holds something else than an object.
    """
    path = find_file(folder, name, called=called)
    with reading(path):
        content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _read(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    with reading(path):
        try:
            return load_file(path)
        except (SafetensorError, KeyError, TypeError) as error:  # the last two for a type that NumPy lacks
            raise ValueError(error) from error


def _weight_map(path: Path) -> dict[str, str]:
    """Array -> file, from the index of shards."""
    found = json_file(path.parent, path.name, called="the index of the shards").get("weight_map")
    if not isinstance(found, dict) or not found:
        raise DataError(f"{path}: expected 'weight_map', the file of every array")
    for array, file in found.items():
        if not isinstance(file, str) or PurePosixPath(file).name != file or not file.endswith(".safetensors"):
            raise DataError(f"{path}: {array!r}: expected a .safetensors file of the same folder, got {file!r}")
    return found
