"""Sparse matrices that files give as three arrays.

Row i holds data[j] in column indices[j], for the j from indptr[i] to indptr[i + 1], that one left out.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jaxzoo.data.dataset import DataError

MAX_ELEMENTS = 1 << 28
"""Of a dense matrix: a GB in float32. The largest of the usual sets, Squirrel's features, has 11 million."""


def csr_rows(indices: np.ndarray, indptr: np.ndarray, shape: Any, path: Path) -> np.ndarray:
    """[e] the row of each entry, after everything was checked.

    Args:
      indices: [e] the column of each entry.
      indptr: [n + 1] where each row begins and ends.
      shape: (n, f), of the matrix.
      path: of the file, for the error.

    Raises:
      DataError: sizes or places that no sparse matrix has.
    """
    sides = np.asarray(shape)
    if sides.shape != (2,) or not np.issubdtype(sides.dtype, np.integer) or sides.min() < 1:
        raise DataError(f"{path}: expected the shape of a matrix, got one of {sides.shape}")
    n, f = map(int, sides)
    vectors = all(a.ndim == 1 and np.issubdtype(a.dtype, np.integer) for a in (indices, indptr))
    if (
        not vectors
        or len(indptr) != n + 1
        or indptr[0] != 0
        or indptr[-1] != len(indices)
        or (np.diff(indptr) < 0).any()
    ):
        raise DataError(f"{path}: expected where {n} rows begin and end, among {len(indices)} entries")
    if indices.size and not (indices.min() >= 0 and indices.max() < f):
        raise DataError(f"{path}: expected columns 0 to {f - 1}, got {indices.min()} to {indices.max()}")
    return np.repeat(np.arange(n), np.diff(indptr))


def csr_dense(data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: Any, path: Path) -> np.ndarray:
    """[n, f] float32, the matrix.

    Args:
      data: [e] the entries, finite.
      indices, indptr, shape, path: as in `csr_rows`.

    Raises:
      DataError: as in `csr_rows`, or more than `MAX_ELEMENTS`.
    """
    rows = csr_rows(indices, indptr, shape, path)
    n, f = map(int, shape)
    if n * f > MAX_ELEMENTS:
        raise DataError(f"{path}: expected at most {MAX_ELEMENTS} elements, got {n} rows of {f}")
    if data.shape != indices.shape or data.dtype.kind not in "biuf":
        raise DataError(f"{path}: expected {len(indices)} numbers, got {data.shape} of {data.dtype}")
    with np.errstate(over="ignore"):
        entries = data.astype(np.float32)
    if not np.isfinite(entries).all():
        raise DataError(f"{path}: expected finite entries")
    dense = np.zeros((n, f), np.float32)
    np.add.at(dense, (rows, indices), entries)
    return dense
