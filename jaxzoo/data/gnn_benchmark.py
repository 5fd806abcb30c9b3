"""Node classification sets in the archives of gnn-benchmark: Amazon Computers and Photo, and others of their form."""

from pathlib import Path

import numpy as np

from jaxzoo.data.arrays import npz
from jaxzoo.data.csr import csr_dense, csr_rows
from jaxzoo.data.dataset import DataError
from jaxzoo.data.folder import find_file, sha256_of
from jaxzoo.data.geom_gcn import NodeGraph, undirected

MATRIX = ("data", "indices", "indptr", "shape")


def gnn_benchmark(folder: Path, name: str) -> NodeGraph:
    """A set from `NAME.npz`: sparse matrices "adj" and "attr" as three arrays and a shape each, and "labels".

    Args:
      folder: the data folder, as from `data_folder`.
      name: of the file: "amazon_electronics_computers" or "amazon_electronics_photo".

    Returns:
      The graph, without directions and loops; features as they are in the file.

    Raises:
      DataError: the file is missing or damaged, an array is missing, or they don't fit together.
    """
    places = (f"{name}.npz", f"data/npz/{name}.npz", f"raw/{name}.npz")
    path = find_file(folder, *places, called=f"data/npz/{name}.npz of the repository shchur/gnn-benchmark")
    wanted = [f"{matrix}_{part}" for matrix in ("adj", "attr") for part in MATRIX] + ["labels"]
    arrays = npz(path.parent, path.name, only=wanted)
    if missing := [array for array in wanted if array not in arrays]:
        raise DataError(f"{path}: expected the arrays {', '.join(wanted)}; {', '.join(missing)} are not there")
    x = csr_dense(*(arrays[f"attr_{part}"] for part in MATRIX), path)
    y, n = arrays["labels"], len(x)
    if y.shape != (n,) or y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= n:
        raise DataError(f"{path}: expected the classes of {n} nodes, got {y.shape} of {y.dtype}")
    if tuple(arrays["adj_shape"]) != (n, n):
        raise DataError(f"{path}: expected a graph of {n} nodes, got {arrays['adj_shape'][:2]}")
    indices = arrays["adj_indices"]
    rows = csr_rows(indices, arrays["adj_indptr"], arrays["adj_shape"], path)
    return NodeGraph(
        x=x,
        y=y.astype(np.int32),
        edges=undirected(np.column_stack([rows, indices]).astype(np.int64)),
        name=name,
        licence="MIT",
        source="Shchur et al.: Pitfalls of Graph Neural Network Evaluation, arXiv 1811.05868",
        sha256=sha256_of(path),
    )
