"""Old pickles of arrays, sparse matrices and neighbour lists, mostly of Python 2, read without trust.

A pickle is a program that may call anything. Here it can name a handful of types, and what it builds in their place are
stand-ins that hold arguments and state and run nothing; arrays are made from those after every size was checked.
"""

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from jaxzoo.data.csr import csr_dense
from jaxzoo.data.dataset import DataError

MAX_BYTES = 64 << 20
"""The largest of Planetoid's files, Pubmed's features, has 5.5 MB."""
NUMBERS = {"f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"}


class _Held:
    """What stands in for an object: the arguments it was made with and the state that it was given."""

    arguments: tuple = ()
    state: Any = None

    def __init__(self, *arguments: Any):
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Held):
    pass


class _Dtype(_Held):
    pass


class _Matrix(_Held):
    pass


ALLOWED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): lambda *arguments: _Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *arguments: _Array(),
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),  # how Python 3 writes bytes for Python 2
    ("scipy.sparse.csr", "csr_matrix"): _Matrix,
    ("collections", "defaultdict"): lambda *arguments: {},
    ("__builtin__", "list"): lambda *arguments: [],
}


class _Unpickler(pickle._Unpickler):
    # The one in Python: that in C allocates as much memory as a hostile file asks for.

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no such data set needs")
        return ALLOWED[module, name]


def _load(path: Path, most: int = MAX_BYTES) -> Any:
    """What a file holds, of built-in types and stand-ins."""
    try:
        if path.stat().st_size > most:
            raise DataError(f"{path}: expected at most {most} bytes, got {path.stat().st_size}")
        with path.open("rb") as file:
            return _Unpickler(file, encoding="latin1").load()
    except DataError:
        raise
    except Exception as error:
        # A damaged pickle can fail in any way.
        raise DataError(f"{path}: can't be read: {type(error).__name__}: {error}; fetch it again") from error


def old_array(path: Path) -> np.ndarray:
    """The array in a file, of numbers and in native byte order.

    Raises:
      DataError: the file is damaged, names anything else, or holds another object.
    """
    return _array(_load(path), path)


def old_fields(path: Path, most: int) -> dict[str, Any]:
    """The dict in a file, its arrays of numbers as from `old_array`; what is not an array is left as it is.

    Args:
      path: the file, of Python 2 or 3.
      most: bytes that it may have.

    Raises:
      DataError: the file is larger or damaged, names anything else than arrays, or holds another object.
    """
    found = _load(path, most)
    if type(found) is not dict:
        raise DataError(f"{path}: expected a dict, got {_kind(found)}")
    return {name: _array(value, path) if isinstance(value, _Held) else value for name, value in found.items()}


def old_matrix(path: Path) -> np.ndarray:
    """The sparse matrix (scipy's csr_matrix) in a file: dense, [n, f] float32.

    Raises:
      DataError: likewise.
    """
    matrix = _load(path)
    if type(matrix) is not _Matrix or type(matrix.state) is not dict:
        raise DataError(f"{path}: expected a sparse matrix in rows, got {_kind(matrix)}")
    shape = matrix.state.get("_shape")
    if type(shape) is not tuple or not all(type(side) is int for side in shape):
        raise DataError(f"{path}: expected the shape of a matrix, got {_kind(shape)}")
    return csr_dense(*(_array(matrix.state.get(name), path) for name in ("data", "indices", "indptr")), shape, path)


def old_neighbours(path: Path) -> dict[int, list[int]]:
    """The neighbours of each node in a file, {node: [nodes]}.

    Raises:
      DataError: likewise.
    """
    found = _load(path)
    if type(found) is not dict or not all(type(nodes) is list for nodes in found.values()):
        raise DataError(f"{path}: expected lists of neighbours by node, got {_kind(found)}")
    # An entry takes a byte or more; one list that stands for many nodes could ask for any number.
    too_many = sum(map(len, found.values())) > path.stat().st_size
    if too_many or not all(type(node) is int for nodes in ([*found], *found.values()) for node in nodes):
        raise DataError(f"{path}: expected lists of neighbours by node, all of integers")
    return found


def _kind(found: Any) -> str:
    return type(found).__name__.strip("_").lower()


def _array(held: Any, path: Path) -> np.ndarray:
    if type(held) is not _Array or type(held.state) is not tuple or len(held.state) != 5:
        raise DataError(f"{path}: expected an array, got {_kind(held)}")
    _, shape, dtype, fortran, content = held.state
    is_plain = type(dtype) is _Dtype and type(dtype.state) is tuple and len(dtype.state) > 1
    name, order = (dtype.arguments[:1], dtype.state[1]) if is_plain else ((), None)
    if len(name) != 1 or type(name[0]) is not str or name[0] not in NUMBERS or order not in ["<", ">", "|"]:
        raise DataError(f"{path}: expected an array of numbers")
    if type(shape) is not tuple or not all(type(side) is int and side >= 0 for side in shape) or len(shape) > 2:
        raise DataError(f"{path}: expected an array of one dimension or two")
    kind = np.dtype(order + name[0])
    if type(content) not in (str, bytes) or len(content) != kind.itemsize * math.prod(shape):
        raise DataError(f"{path}: an array's shape and the length of its content don't fit; it is cut off")
    content = content.encode("latin1") if type(content) is str else content
    array = np.frombuffer(content, kind).reshape(shape, order="F" if fortran is True else "C")
    return array.astype(kind.newbyteorder("="), order="C")
