"""Files that are whole or absent: atomic writing, strict JSON, and errors that say what happened to what.

Nothing here imports jax, so that records can be listed in milliseconds.
"""

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

JSON_BYTES = 256 * 2**20
"""The largest JSON file that is read: far above any record, far below what would fill the memory."""


class StorageError(RuntimeError):
    """Something could not be written or read; the message says what, why, and what is left of it."""


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes one value as strict JSON, atomically: after a crash the file is the old one or the new one.

    Numbers that are not finite become the strings "nan", "inf" and "-inf", which `float` reads back. Arrays and NumPy
    numbers become lists and numbers; tuples become lists. A file has one writer at a time.

    Args:
      path: of the file; its folder must exist.
      value: dicts with string keys, lists, tuples, strings, numbers, booleans, None, and arrays of those.

    Raises:
      TypeError: the value holds something that JSON does not know; the message says where.
      StorageError: the disk is full, the folder is read-only, and so on. The file that was there is untouched.
    """
    path = Path(path)
    content = encode(value)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        left = "the file that was there is untouched" if path.exists() else "there was no such file before"
        raise StorageError(f"could not write {path}: {error.strerror}; {left}") from error
    sync_names(path.parent)


def read_json(path: str | os.PathLike, *, limit: int = JSON_BYTES) -> Any:
    """Reads a file of strict JSON; nothing is read of a file above `limit` bytes.

    Raises:
      StorageError: there is no such file, it can't be read, it is too large, or it is no strict JSON (with the line).
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise StorageError(f"could not read {path}: expected at most {limit} bytes, got {size}")
            return decode(file.read())
    except OSError as error:
        raise StorageError(f"could not read {path}: {error.strerror}") from error
    except ValueError as error:
        raise StorageError(f"could not read {path}: {error}") from error


def encode(value: Any) -> bytes:
    """The value as strict JSON in UTF-8, as `write_json` writes it."""
    text = _layout(plain(value))
    # A lone surrogate, as in the name of a file that is not UTF-8, becomes its JSON escape.
    return f"{text}\n".encode(errors="backslashreplace")


def _layout(value: Any, indent: str = "\n") -> str:
    """JSON with a line for each entry of a dict, and a list of plain values on one line: short, and easy to compare."""
    inner = f"{indent}  "
    if isinstance(value, dict) and value:
        lines = [f"{_layout(key)}: {_layout(item, inner)}" for key, item in value.items()]
        return f"{{{inner}{f',{inner}'.join(lines)}{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return f"[{inner}{f',{inner}'.join(_layout(item, inner) for item in value)}{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def decode(content: bytes) -> Any:
    """The value of strict JSON in UTF-8; ValueError if it is none."""
    try:
        return json.loads(content.decode(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("expected strict JSON, got one that is nested too deeply") from None
    except ValueError as error:  # of UTF-8, of JSON, of an integer with thousands of digits
        raise ValueError(f"expected strict JSON: {error}") from error


def plain(value: Any, at: str = "value") -> Any:
    """The value as strict JSON can hold it; `at` is the name of its place, for the error."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{at}: expected string keys, got {key!r}")
        return {key: plain(item, f"{at}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{at}[{i}]") for i, item in enumerate(value)]
    if hasattr(value, "tolist"):
        return plain(value.tolist(), at)
    raise TypeError(f"{at}: expected a dict, list, string, number, boolean, None or array, got {type(value).__name__}")


def sync_names(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, where the file system can do that.

    Where it can't (Windows, some network drives) the files are safe from a crash of the program all the same; what a
    loss of power may take is the latest renaming.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _refuse(token: str) -> None:
    raise ValueError(f"{token} is not a number of JSON")
