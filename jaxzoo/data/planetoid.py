"""Cora, Citeseer and Pubmed in the form of Planetoid: eight files a set, most of them pickles of Python 2."""

from pathlib import Path

import numpy as np

from jaxzoo.data.dataset import DataError
from jaxzoo.data.folder import find_file, reading, sha256_of
from jaxzoo.data.geom_gcn import NodeGraph, undirected
from jaxzoo.data.old_pickles import old_array, old_matrix, old_neighbours

PARTS = ("allx", "ally", "tx", "ty", "graph", "test.index")
"""The other two, x and y, are the first rows of allx and ally: the training part of the public split."""


def planetoid(folder: Path, name: str) -> NodeGraph:
    """A set from `ind.NAME.allx`, `ally`, `tx`, `ty`, `graph` and `test.index` in the data folder, or in `data/` there.

    The rows of tx belong to the nodes of test.index, in its order. Citeseer's test nodes leave out 15 that have no
    features and no class: they stay in the graph with features 0 and, as usual, class 0.

    Args:
      folder: the data folder, as from `data_folder`.
      name: "cora", "citeseer" or "pubmed".

    Returns:
      The graph, features as they are in the files.

    Raises:
      DataError: a file is missing or damaged, or they don't fit together.
    """
    paths = {
        part: find_file(
            folder,
            f"ind.{name}.{part}",
            f"data/ind.{name}.{part}",
            f"{name}/raw/ind.{name}.{part}",
            called=f"part of the folder data of the repository kimiyoung/planetoid, which has ind.{name}.{part}",
        )
        for part in PARTS
    }
    test = _test_nodes(paths["test.index"])
    features, one_hot = (
        [read(paths[part]) for part in parts]
        for read, parts in ((old_matrix, ("allx", "tx")), (old_array, ("ally", "ty")))
    )
    known, n = len(features[0]), max(len(features[0]), test.max() + 1)
    fits = features[0].shape[1] == features[1].shape[1] and all(
        y.ndim == 2 and len(y) == len(x) and y.shape[1] == one_hot[0].shape[1] > 0
        for x, y in zip(features, one_hot, strict=True)
    )
    if not fits or len(test) != len(features[1]) or test.min() < known or n > 2 * known + len(test):
        shapes = ", ".join(str(a.shape) for a in (*features, *one_hot, test))
        raise DataError(f"{paths['allx']}: its parts allx, tx, ally, ty and test.index don't fit together: {shapes}")
    x, y = np.zeros((n, features[0].shape[1]), np.float32), np.zeros(n, np.int32)
    for nodes, part, classes in zip((np.arange(known), test), features, one_hot, strict=True):
        x[nodes], y[nodes] = part, classes.argmax(1)
    return NodeGraph(
        x=x,
        y=y,
        edges=_edges(paths["graph"], n),
        name=name,
        licence="no licence stated by the source",
        source="Yang et al.: Revisiting Semi-Supervised Learning with Graph Embeddings, arXiv 1603.08861",
        sha256=sha256_of(*paths.values()),
    )


def _test_nodes(path: Path) -> np.ndarray:
    """[t] the numbers in the file, one on a line."""
    with reading(path):
        if path.stat().st_size > 1 << 20:
            raise DataError(f"{path}: expected at most a MB, got {path.stat().st_size} bytes")
        nodes = np.array([int(line) for line in path.read_text("utf-8").split()], np.int64)
    if not len(nodes) or nodes.min() < 0 or len(np.unique(nodes)) < len(nodes):
        raise DataError(f"{path}: expected the numbers of the test nodes, each once")
    return nodes


def _edges(path: Path, n: int) -> np.ndarray:
    neighbours = old_neighbours(path)
    ends = [(a, b) for a, others in neighbours.items() for b in others]
    if any(not 0 <= node < n for pair in ends for node in pair):
        raise DataError(f"{path}: expected nodes 0 to {n - 1}")
    return undirected(np.array(ends, np.int64).reshape(-1, 2))
