"""Tables of numbers in text, such as lists of edges, read without trust."""

from pathlib import Path

import numpy as np

from jaxzoo.data.dataset import DataError
from jaxzoo.data.folder import find_file, reading
from jaxzoo.data.geom_gcn import undirected

MAX_BYTES = 256 << 20


def number_table(path: Path, dtype: type, *, delimiter: str | None = None) -> np.ndarray:
    """The numbers in a file, as many in every line.

    Args:
      path: of the file.
      dtype: of the numbers.
      delimiter: between two numbers of a line; None for white space.

    Returns:
      [lines, columns].

    Raises:
      DataError: the file is empty, has more than `MAX_BYTES`, or holds anything else.
    """
    with reading(path):
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: expected at most {MAX_BYTES} bytes, got {size}")
        with path.open("rb") as file:
            if not file.read(1 << 16).strip():
                raise DataError(f"{path}: expected numbers in every line, got nothing")
        table = np.loadtxt(path, dtype, delimiter=delimiter, comments=None, ndmin=2, encoding="utf-8")
    if not np.isfinite(table).all():
        raise DataError(f"{path}: expected finite numbers")
    return table


def edge_list(folder: Path, *places: str, nodes: int, called: str) -> np.ndarray:
    """A graph from a file with two nodes in every line and a space between them.

    Args:
      folder: the data folder, as from `data_folder`.
      *places: where the file may be, as for `find_file`.
      nodes: n; they are numbered from 0.
      called: what the file is called where it comes from.

    Returns:
      [e, 2] int32, each edge once, smaller node first, in sorted order; directions and loops are dropped.

    Raises:
      DataError: the file is missing or damaged, or a node is out of range.
    """
    path = find_file(folder, *places, called=called)
    edges = number_table(path, np.int64)
    if edges.shape[1] != 2 or edges.min() < 0 or edges.max() >= nodes:
        raise DataError(f"{path}: expected two nodes of 0 to {nodes - 1} in a line")
    return undirected(edges)
