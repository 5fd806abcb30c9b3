"""Arrays of the user's own in .npy and .npz files, read without trust.

The header of every array is parsed here, by one strict pattern, and held against the size of the file before memory is
allocated; numpy's reader allocates first. Python objects are never loaded.
"""

import math
import re
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxzoo.data.dataset import DataError
from jaxzoo.data.folder import MAX_RATIO, find_file, reading

MAGIC = b"\x93NUMPY"
HEADER = re.compile(
    r"\{\s*'descr':\s*'([<>|=]?[a-zA-Z]\d{1,9})',\s*'fortran_order':\s*(True|False),"
    r"\s*'shape':\s*\(([\d, ]*)\),?\s*\}\s*",
    re.ASCII,
)
FREE_BYTES = 1 << 20
"""An archive that declares no more than this may be compressed as much as it likes: a megabyte of zeros is no bomb."""


def _dtype(name: str) -> np.dtype | None:
    """The type of that name if it is a plain one: booleans, numbers, bytes or text of a fixed length above 0."""
    if name.lstrip("<>|=")[0] not in "biufcSU":
        return None
    try:
        dtype = np.dtype(name)
    except (TypeError, ValueError):
        return None
    return dtype if dtype.itemsize else None


def _parse(header: str, where: str) -> tuple[np.dtype, bool, tuple[int, ...]]:
    match = HEADER.fullmatch(header)
    if match is None:
        raise DataError(f"{where}: expected a plain array of numbers, got one described as {header.strip()[:100]!r}")
    sizes = [size.strip() for size in match[3].split(",") if size.strip()]
    dtype = _dtype(match[1])
    if dtype is None:
        raise DataError(f"{where}: expected numbers, booleans or text, got the type {match[1]!r}")
    if len(sizes) > 32 or not all(size.isdigit() and len(size) < 19 for size in sizes):
        raise DataError(f"{where}: not a shape: ({match[3][:100]})")
    return dtype, match[2] == "True", tuple(int(size) for size in sizes)


def _read_array(file: BinaryIO, size: int, where: str) -> np.ndarray:
    """One array in numpy's format, from a stream of `size` bytes; in native byte order, which jax needs."""
    start = file.read(8)
    if start[:6] != MAGIC or start[6:] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        raise DataError(f"{where}: not a numpy array: it starts with {start.hex(' ') or 'nothing'}")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > min(size, 1 << 16):
        raise DataError(f"{where}: declares a header of {length} bytes, in a file of {size}")
    dtype, fortran, shape = _parse(file.read(length).decode("utf-8"), where)
    declared, room = dtype.itemsize * math.prod(shape), size - 8 - width - length
    # Where one side is 0 the others are not held back by the file, and numpy has its own limit.
    if declared != room or dtype.itemsize * math.prod(max(side, 1) for side in shape) >= 1 << 62:
        raise DataError(f"{where}: its header declares {shape} of {dtype}, {declared} bytes, but it holds {room}")
    content = file.read(declared)
    if len(content) != declared:
        raise DataError(f"{where}: cut off: expected {declared} bytes after the header, got {len(content)}")
    if dtype.kind == "U" and np.frombuffer(content, dtype.byteorder.replace("|", "=") + "u4").max(initial=0) > 0x10FFFF:
        raise DataError(f"{where}: its text holds numbers that are no characters")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), order="C")


def npy(folder: Path, name: str) -> np.ndarray:
    """The array in `folder/name`, a .npy file.

    Args:
      folder: the data folder, as from `data_folder`.
      name: the file, a path inside the folder with forward slashes.

    Returns:
      The array, in native byte order.

    Raises:
      DataError: the file is missing, is damaged, or holds Python objects.
    """
    path = find_file(folder, name, called="a numpy array")
    with reading(path), path.open("rb") as file:
        return _read_array(file, path.stat().st_size, str(path))


def npz(folder: Path, name: str, *, only: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays in `folder/name`, a .npz archive as from `numpy.savez` or `numpy.savez_compressed`.

    Args:
      folder: the data folder, as from `data_folder`.
      name: the file, a path inside the folder with forward slashes.
      only: names of the arrays to read; others, of Python objects even, are passed over. By default all are read.

    Returns:
      Name -> array, in native byte order.

    Raises:
      DataError: the file is missing or damaged, holds Python objects, or declares more than `MAX_RATIO` times its size.
    """
    path = find_file(folder, name, called="an archive of numpy arrays")
    with reading(path), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_archive(path, members)
        arrays = {}
        for member in members:
            array = member.filename.removesuffix(".npy")
            if only is not None and array not in only:
                continue
            with archive.open(member) as file:
                arrays[array] = _read_array(file, member.file_size, f"{path}, {member.filename!r}")
    return arrays


def _check_archive(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuses what no writer of .npz makes, before anything is decompressed."""
    for member in members:
        name = member.filename
        if not name.endswith(".npy") or name.startswith("/") or ".." in name.split("/") or "\\" in name or ":" in name:
            raise DataError(f"{path}: expected members named like 'x.npy', got {name!r}")
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{path}: {name!r} is encrypted or compressed in another way than .npz files are")
    if len({member.filename for member in members}) < len(members):
        raise DataError(f"{path}: two members have the same name")
    size = path.stat().st_size
    declared = sum(member.file_size for member in members)
    if sum(member.compress_size for member in members) > size or declared > max(MAX_RATIO * size, FREE_BYTES):
        raise DataError(f"{path}: declares {declared} bytes in a file of {size}; refused as a decompression bomb")
